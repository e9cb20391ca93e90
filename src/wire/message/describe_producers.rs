//! DescribeProducers (key 61), contract 1.3: request and response as tables of fields.

use std::borrow::Cow;

use crate::wire::array::Array;
use crate::wire::message::{api, message};

api!(61, DescribeProducersRequest<'a>, DescribeProducersResponse<'a>, versions 0..=0, flexible 0);

message! {
    pub struct DescribeProducersRequest<'a> {
        topics: Array<'a, DescribeProducersRequestTopic<'a>> [..];
    }

    pub struct DescribeProducersRequestTopic<'a> {
        name: &'a str [..];
        partition_indexes: Array<'a, i32> [..];
    }

    pub struct DescribeProducersResponse<'a> {
        throttle_time_ms: i32 [..];
        topics: Vec<DescribeProducersResponseTopic<'a>> [..];
    }

    pub struct DescribeProducersResponseTopic<'a> {
        name: Cow<'a, str> [..];
        partitions: Vec<DescribeProducersResponseTopicPartition<'a>> [..];
    }

    pub struct DescribeProducersResponseTopicPartition<'a> {
        partition_index: i32 [..];
        error_code: i16 [..];
        error_message: Option<Cow<'a, str>> [.., null ..];
        active_producers: Vec<DescribeProducersResponseTopicPartitionActiveProducer> [..];
    }

    pub struct DescribeProducersResponseTopicPartitionActiveProducer {
        producer_id: i64 [..];
        producer_epoch: i32 [..];
        last_sequence: i32 [.., default -1];
        last_timestamp: i64 [.., default -1];
        coordinator_epoch: i32 [..];
        current_txn_start_offset: i64 [.., default -1];
    }
}
