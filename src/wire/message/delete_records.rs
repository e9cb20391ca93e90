//! DeleteRecords (key 21), contract 1.3: request and response as tables of fields.

use std::borrow::Cow;

use crate::wire::array::Array;
use crate::wire::message::{api, message};

api!(21, DeleteRecordsRequest<'a>, DeleteRecordsResponse<'a>, versions 0..=2, flexible 2);

message! {
    pub struct DeleteRecordsRequest<'a> {
        topics: Array<'a, DeleteRecordsRequestTopic<'a>> [..];
        timeout_ms: i32 [..];
    }

    pub struct DeleteRecordsRequestTopic<'a> {
        name: &'a str [..];
        partitions: Array<'a, DeleteRecordsRequestTopicPartition> [..];
    }

    pub struct DeleteRecordsRequestTopicPartition {
        partition_index: i32 [..];
        offset: i64 [..];
    }

    pub struct DeleteRecordsResponse<'a> {
        throttle_time_ms: i32 [..];
        topics: Vec<DeleteRecordsResponseTopic<'a>> [..];
    }

    pub struct DeleteRecordsResponseTopic<'a> {
        name: Cow<'a, str> [..];
        partitions: Vec<DeleteRecordsResponseTopicPartition> [..];
    }

    pub struct DeleteRecordsResponseTopicPartition {
        partition_index: i32 [..];
        low_watermark: i64 [..];
        error_code: i16 [..];
    }
}
