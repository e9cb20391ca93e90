//! DescribeProducers (key 61): the idempotent producers that a partition remembers (KIP-664).
//!
//! In: partitions. Out: for each its producers, by id, with their epochs, last sequences and open transactions.

use crate::api::admin::Context;
use crate::api::partition_questions::Asked;
use crate::metadata::{Answer, Question};
use crate::wire::error_code::ErrorCode;
use crate::wire::message::Message;
use crate::wire::message::describe_producers::{
    DescribeProducersRequest, DescribeProducersResponse, DescribeProducersResponseTopic,
    DescribeProducersResponseTopicPartition, DescribeProducersResponseTopicPartitionActiveProducer,
};

pub fn plan(ctx: &Context<'_>, request: &DescribeProducersRequest<'_>) -> Asked {
    let mut asked = Asked::default();
    for topic in &request.topics {
        asked.topic(topic.name);
        for partition in &topic.partition_indexes {
            asked.partition(ctx, partition, |_| Ok(Question::Producers));
        }
    }
    asked
}

pub fn respond(asked: &Asked, answers: &[Answer], version: i16) -> Vec<u8> {
    let topics = asked.rows(answers, |partition_index, answer| {
        let (error, producers) = match answer {
            Answer::Producers(producers) => (ErrorCode::None, producers.as_slice()),
            Answer::Refused(code) => (*code, &[][..]),
            Answer::LowWatermark(_) | Answer::EndOfEpoch { .. } | Answer::Extent { .. } => {
                (ErrorCode::UnknownServerError, &[][..])
            }
        };
        let active_producers =
            producers.iter().map(|producer| DescribeProducersResponseTopicPartitionActiveProducer {
                producer_id: producer.id,
                producer_epoch: producer.epoch.into(),
                last_sequence: producer.last_sequence,
                last_timestamp: producer.last_timestamp,
                coordinator_epoch: producer.coordinator_epoch,
                current_txn_start_offset: producer.transaction_first,
            });
        DescribeProducersResponseTopicPartition {
            partition_index,
            error_code: error as i16,
            error_message: (error != ErrorCode::None).then(|| error.message().into()),
            active_producers: active_producers.collect(),
        }
    });
    let topics =
        topics.map(|(name, partitions)| DescribeProducersResponseTopic { name: name.into(), partitions });
    let response = DescribeProducersResponse { throttle_time_ms: 0, topics: topics.collect() };
    let mut body = Vec::new();
    response.encode(&mut body, version);
    body
}
