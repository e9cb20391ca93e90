//! DescribeLogDirs (key 35): what lies in which log directory, and how much room its file system has.
//!
//! In: partitions, or all. Out: one entry for each directory, also for one with nothing in it. Partitions that are not here are
//! left out, as Kafka leaves them out.

use std::collections::BTreeMap;

use crate::api::admin::Context;
use crate::ids::Home;
use crate::metadata::{Answer, DirectoryFacts, Question};
use crate::wire::error_code::ErrorCode;
use crate::wire::message::Message;
use crate::wire::message::describe_log_dirs::{
    DescribeLogDirsRequest, DescribeLogDirsResponse, DescribeLogDirsResponseResult,
    DescribeLogDirsResponseResultTopic, DescribeLogDirsResponseResultTopicPartition,
};

/// Each partition that is asked, and its question.
#[derive(Debug, Default)]
pub struct Plan {
    partitions: Vec<(String, i32)>,
    pub questions: Vec<(Home, Question)>,
}

pub fn plan(ctx: &Context<'_>, request: &DescribeLogDirsRequest<'_>) -> Plan {
    let mut plan = Plan::default();
    let mut add = |topic: &str, partition: i32| {
        let home =
            ctx.image.topic(topic).and_then(|topic| topic.partition(partition)).and_then(|p| p.replica);
        if let Some(home) = home {
            plan.partitions.push((topic.to_owned(), partition));
            plan.questions.push((home, Question::Extent));
        }
    };
    match &request.topics {
        None => {
            for topic in ctx.image.topics() {
                (0..topic.partitions.len() as i32).for_each(|partition| add(&topic.name, partition));
            }
        }
        Some(topics) => {
            for topic in topics {
                topic.partitions.iter().for_each(|partition| add(topic.topic, partition));
            }
        }
    }
    plan
}

pub fn respond(plan: &Plan, answers: &[Answer], directories: &[DirectoryFacts], version: i16) -> Vec<u8> {
    type Partitions = Vec<DescribeLogDirsResponseResultTopicPartition>;
    let mut found: Vec<BTreeMap<&str, Partitions>> = directories.iter().map(|_| BTreeMap::new()).collect();
    for ((topic, partition), answer) in plan.partitions.iter().zip(answers) {
        // A partition that has gone meanwhile, or is in a failed directory, is not listed.
        let Answer::Extent { directory, bytes } = answer else { continue };
        let Some(topics) = found.get_mut(usize::from(*directory)) else { continue };
        topics.entry(topic).or_default().push(DescribeLogDirsResponseResultTopicPartition {
            partition_index: *partition,
            partition_size: i64::try_from(*bytes).unwrap_or(i64::MAX),
            // One replica is all there is: nothing lags.
            offset_lag: 0,
            is_future_key: false,
        });
    }
    let results = directories.iter().zip(found).map(|(directory, topics)| {
        let error = if directory.has_failed { ErrorCode::KafkaStorageError } else { ErrorCode::None };
        let topics = topics
            .into_iter()
            .map(|(name, partitions)| DescribeLogDirsResponseResultTopic { name: name.into(), partitions });
        DescribeLogDirsResponseResult {
            error_code: error as i16,
            log_dir: directory.path.as_str().into(),
            topics: topics.collect(),
            total_bytes: directory.total_bytes,
            usable_bytes: directory.usable_bytes,
        }
    });
    let response = DescribeLogDirsResponse { throttle_time_ms: 0, error_code: 0, results: results.collect() };
    let mut body = Vec::new();
    response.encode(&mut body, version);
    body
}
