//! Produce (key 0), contract 1.3: request and response as tables of fields.

use std::borrow::Cow;

use crate::wire::array::Array;
use crate::wire::message::{api, message};

api!(0, ProduceRequest<'a>, ProduceResponse<'a>, versions 0..=11, flexible 9);

message! {
    pub struct ProduceRequest<'a> {
        transactional_id: Option<&'a str> [3.., null ..];
        acks: i16 [..];
        timeout_ms: i32 [..];
        topic_data: Array<'a, ProduceRequestTopicData<'a>> [..];
    }

    pub struct ProduceRequestTopicData<'a> {
        name: &'a str [..];
        partition_data: Array<'a, ProduceRequestPartitionData<'a>> [..];
    }

    pub struct ProduceRequestPartitionData<'a> {
        index: i32 [..];
        records: Option<&'a [u8]> [.., null ..];
    }

    pub struct ProduceResponse<'a> {
        responses: Vec<ProduceResponseResult<'a>> [..];
        throttle_time_ms: i32 [1..];
        node_endpoints: Vec<ProduceResponseNodeEndpoint<'a>> [10.., tag 0];
    }

    pub struct ProduceResponseResult<'a> {
        name: Cow<'a, str> [..];
        partition_responses: Vec<ProduceResponsePartitionResponse<'a>> [..];
    }

    pub struct ProduceResponsePartitionResponse<'a> {
        index: i32 [..];
        error_code: i16 [..];
        base_offset: i64 [..];
        log_append_time_ms: i64 [2.., default -1];
        log_start_offset: i64 [5.., default -1];
        record_errors: Vec<ProduceResponseRecordError<'a>> [8..];
        error_message: Option<Cow<'a, str>> [8.., null ..];
        current_leader: ProduceResponseCurrentLeader [10.., tag 0];
    }

    pub struct ProduceResponseRecordError<'a> {
        batch_index: i32 [..];
        batch_index_error_message: Option<Cow<'a, str>> [.., null ..];
    }

    pub struct ProduceResponseCurrentLeader {
        leader_id: i32 [.., default -1];
        leader_epoch: i32 [.., default -1];
    }

    pub struct ProduceResponseNodeEndpoint<'a> {
        node_id: i32 [..];
        host: Cow<'a, str> [..];
        port: i32 [..];
        rack: Option<Cow<'a, str>> [.., null ..];
    }
}
