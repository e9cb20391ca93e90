//! DeleteRecords (key 21): the start of a partition moves up to an offset, and what lies before is gone for readers.
//!
//! In: offsets, -1 for the high watermark. Out: where each log starts now, or why not (contract 1.3).

use crate::api::admin::Context;
use crate::api::partition_questions::Asked;
use crate::ids::Offset;
use crate::metadata::{Answer, Question, topic_name};
use crate::wire::error_code::ErrorCode;
use crate::wire::message::Message;
use crate::wire::message::delete_records::{
    DeleteRecordsRequest, DeleteRecordsResponse, DeleteRecordsResponseTopic,
    DeleteRecordsResponseTopicPartition,
};

const HIGH_WATERMARK: i64 = -1;

pub fn plan(ctx: &Context<'_>, request: &DeleteRecordsRequest<'_>) -> Asked {
    let mut asked = Asked::default();
    for topic in &request.topics {
        asked.topic(topic.name);
        for partition in &topic.partitions {
            asked.partition(ctx, partition.partition_index, |topic| {
                if topic_name::is_internal(&topic.name) {
                    return Err(ErrorCode::InvalidTopicException);
                }
                // Records of a topic that is only compacted are not deleted by offset.
                if !topic.config.cleanup_policy.delete {
                    return Err(ErrorCode::PolicyViolation);
                }
                let before = match partition.offset {
                    HIGH_WATERMARK => None,
                    offset if offset < 0 => return Err(ErrorCode::OffsetOutOfRange),
                    offset => Some(Offset(offset)),
                };
                Ok(Question::DeleteRecords { before })
            });
        }
    }
    asked
}

pub fn respond(asked: &Asked, answers: &[Answer], version: i16) -> Vec<u8> {
    let topics = asked.rows(answers, |partition_index, answer| {
        let (low_watermark, error) = match answer {
            Answer::LowWatermark(start) => (start.0, ErrorCode::None),
            Answer::Refused(code) => (-1, *code),
            Answer::EndOfEpoch { .. } | Answer::Producers(_) | Answer::Extent { .. } => {
                (-1, ErrorCode::UnknownServerError)
            }
        };
        DeleteRecordsResponseTopicPartition { partition_index, low_watermark, error_code: error as i16 }
    });
    let topics =
        topics.map(|(name, partitions)| DeleteRecordsResponseTopic { name: name.into(), partitions });
    let response = DeleteRecordsResponse { throttle_time_ms: 0, topics: topics.collect() };
    let mut body = Vec::new();
    response.encode(&mut body, version);
    body
}
