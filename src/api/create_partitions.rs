//! CreatePartitions (key 37): more partitions for topics that exist, checked as Kafka checks it, and the answer.
//!
//! In: a request and the image. Out: for each topic a refusal or its new count; and, when the control thread has
//! made them, the response. A count can only grow.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::api::admin::{Context, Refusal, code_and_message, refusal_of};
use crate::api::create_topics::{PARTITIONS_MAX, PARTITIONS_PER_REQUEST_MAX, check_replicas};
use crate::ids::BrokerId;
use crate::metadata::Topic;
use crate::wire::array::Array;
use crate::wire::error_code::ErrorCode;
use crate::wire::message::Message;
use crate::wire::message::create_partitions::{
    CreatePartitionsRequest, CreatePartitionsRequestTopic, CreatePartitionsResponse,
    CreatePartitionsResponseResult,
};

/// A topic that is to have `partition_count` partitions.
#[derive(Clone, Debug)]
pub struct Growth {
    pub topic: Arc<Topic>,
    pub partition_count: i32,
    /// Where the new partitions shall live, if somebody said so; otherwise they are spread.
    pub assigned: Option<Vec<Vec<BrokerId>>>,
}

#[derive(Debug, Default)]
pub struct Plan {
    entries: Vec<(String, Result<usize, Refusal>)>,
    /// The topics to extend; the entries point into it.
    pub topics: Vec<Growth>,
}

pub fn plan(ctx: &Context<'_>, request: &CreatePartitionsRequest<'_>) -> Plan {
    let mut counts: HashMap<&str, u32> = HashMap::new();
    for topic in &request.topics {
        *counts.entry(topic.name).or_default() += 1;
    }
    let mut plan = Plan::default();
    let mut planned: i64 = 0;
    for topic in &request.topics {
        let growth = if counts[topic.name] > 1 {
            Err(Refusal::new(ErrorCode::InvalidRequest, "Duplicate topic in request."))
        } else {
            growth(ctx, &topic, &mut planned)
        };
        let result = growth.map(|growth| {
            plan.topics.push(growth);
            plan.topics.len() - 1
        });
        plan.entries.push((topic.name.to_owned(), result));
    }
    plan
}

fn growth(
    ctx: &Context<'_>,
    request: &CreatePartitionsRequestTopic<'_>,
    planned: &mut i64,
) -> Result<Growth, Refusal> {
    let name = request.name;
    let Some(topic) = ctx.image.topic(name) else {
        let why = format!("The topic '{name}' does not exist.");
        return Err(Refusal::new(ErrorCode::UnknownTopicOrPartition, why));
    };
    let (now, asked) = (topic.partitions.len() as i32, request.count);
    let invalid = |why: String| Err(Refusal::new(ErrorCode::InvalidPartitions, why));
    if asked < now {
        return invalid(format!(
            "Topic currently has {now} partitions, which is higher than the requested {asked}."
        ));
    }
    if asked == now {
        return invalid(format!("Topic already has {now} partitions."));
    }
    let more = asked - now;
    if let Some(assignments) = &request.assignments {
        if assignments.len() != more as usize {
            let why = format!(
                "Increasing the number of partitions by {more} but {} assignments provided.",
                assignments.len()
            );
            return Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, why));
        }
        let replica_count = topic.partitions[0].replicas.len();
        for (number, assignment) in (now..).zip(assignments) {
            check_replicas(ctx.image.cluster(), number, &assignment.broker_ids)?;
            if assignment.broker_ids.len() != replica_count {
                let why = format!(
                    "Inconsistent replication factor between partitions, partition 0 has {replica_count} \
                     while partitions [{number}] have replication factors [{}], respectively.",
                    assignment.broker_ids.len()
                );
                return Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, why));
            }
        }
    }
    let (in_request, in_all) =
        (*planned + i64::from(more), ctx.image.partition_count() as i64 + *planned + i64::from(more));
    if in_request > PARTITIONS_PER_REQUEST_MAX || in_all > PARTITIONS_MAX {
        let why = format!(
            "One request can create {PARTITIONS_PER_REQUEST_MAX} partitions and a broker can have \
             {PARTITIONS_MAX}; this would make {in_request} and {in_all}."
        );
        return Err(Refusal::new(ErrorCode::PolicyViolation, why));
    }
    *planned = in_request;
    let assigned = request.assignments.as_ref().map(|assignments| {
        let brokers = |ids: &Array<'_, i32>| ids.iter().map(BrokerId).collect();
        assignments.iter().map(|one| brokers(&one.broker_ids)).collect()
    });
    Ok(Growth { topic: topic.clone(), partition_count: asked, assigned })
}

impl Plan {
    /// The answer; `made` has a result for each of `topics`.
    pub fn respond(&self, version: i16, made: &[Result<(), Refusal>]) -> Vec<u8> {
        let results = self.entries.iter().map(|(name, entry)| result(name, refusal_of(entry, made)));
        encode(results.collect(), version)
    }
}

/// The same answer for every topic.
pub fn refuse_all(request: &CreatePartitionsRequest<'_>, version: i16, refusal: &Refusal) -> Vec<u8> {
    encode(request.topics.iter().map(|topic| result(topic.name, Some(refusal))).collect(), version)
}

fn result(name: &str, refusal: Option<&Refusal>) -> CreatePartitionsResponseResult<'static> {
    let (error_code, message) = code_and_message(refusal);
    CreatePartitionsResponseResult {
        name: name.to_owned().into(),
        error_code,
        error_message: message.map(|message| message.to_owned().into()),
    }
}

fn encode(results: Vec<CreatePartitionsResponseResult<'static>>, version: i16) -> Vec<u8> {
    let response = CreatePartitionsResponse { throttle_time_ms: 0, results };
    let mut body = Vec::new();
    response.encode(&mut body, version);
    body
}
