//! OffsetForLeaderEpoch (key 23): where a leader epoch ended, for a client that wants to know whether it read what was lost.
//!
//! In: epochs. Out: for each the largest epoch up to it that the log knows, and the offset at which the next one began
//! (KIP-101, KIP-279, KIP-320).

use crate::api::admin::Context;
use crate::api::partition_questions::Asked;
use crate::metadata::{Answer, Question};
use crate::wire::error_code::ErrorCode;
use crate::wire::message::Message;
use crate::wire::message::offset_for_leader_epoch::{
    OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, OffsetForLeaderEpochResponseTopic,
    OffsetForLeaderEpochResponseTopicPartition,
};

pub fn plan(ctx: &Context<'_>, request: &OffsetForLeaderEpochRequest<'_>) -> Asked {
    let mut asked = Asked::default();
    for topic in &request.topics {
        asked.topic(topic.topic);
        for partition in &topic.partitions {
            let question = Question::EndOfEpoch {
                current: partition.current_leader_epoch,
                epoch: partition.leader_epoch,
            };
            asked.partition(ctx, partition.partition, |_| Ok(question));
        }
    }
    asked
}

pub fn respond(asked: &Asked, answers: &[Answer], version: i16) -> Vec<u8> {
    let topics = asked.rows(answers, |partition, answer| {
        let (error, leader_epoch, end_offset) = match answer {
            Answer::EndOfEpoch { epoch, end } => (ErrorCode::None, *epoch, end.0),
            Answer::Refused(code) => (*code, -1, -1),
            Answer::LowWatermark(_) | Answer::Producers(_) | Answer::Extent { .. } => {
                (ErrorCode::UnknownServerError, -1, -1)
            }
        };
        OffsetForLeaderEpochResponseTopicPartition {
            error_code: error as i16,
            partition,
            leader_epoch,
            end_offset,
        }
    });
    let topics = topics
        .map(|(topic, partitions)| OffsetForLeaderEpochResponseTopic { topic: topic.into(), partitions });
    let response = OffsetForLeaderEpochResponse { throttle_time_ms: 0, topics: topics.collect() };
    let mut body = Vec::new();
    response.encode(&mut body, version);
    body
}
