//! CreateTopics (key 19), contract 1.3: request and response as tables of fields.

use std::borrow::Cow;

use crate::wire::array::Array;
use crate::wire::message::{api, message};
use crate::wire::primitive::Uuid;

api!(19, CreateTopicsRequest<'a>, CreateTopicsResponse<'a>, versions 0..=7, flexible 5);

message! {
    pub struct CreateTopicsRequest<'a> {
        topics: Array<'a, CreateTopicsRequestTopic<'a>> [..];
        timeout_ms: i32 [.., default 60000];
        validate_only: bool [1..];
    }

    pub struct CreateTopicsRequestTopic<'a> {
        name: &'a str [..];
        num_partitions: i32 [..];
        replication_factor: i16 [..];
        assignments: Array<'a, CreateTopicsRequestAssignment<'a>> [..];
        configs: Array<'a, CreateTopicsRequestConfig<'a>> [..];
    }

    pub struct CreateTopicsRequestAssignment<'a> {
        partition_index: i32 [..];
        broker_ids: Array<'a, i32> [..];
    }

    pub struct CreateTopicsRequestConfig<'a> {
        name: &'a str [..];
        value: Option<&'a str> [.., null ..];
    }

    pub struct CreateTopicsResponse<'a> {
        throttle_time_ms: i32 [2..];
        topics: Vec<CreateTopicsResponseTopic<'a>> [..];
    }

    pub struct CreateTopicsResponseTopic<'a> {
        name: Cow<'a, str> [..];
        topic_id: Uuid [7..];
        error_code: i16 [..];
        error_message: Option<Cow<'a, str>> [1.., null ..];
        topic_config_error_code: i16 [5.., tag 0];
        num_partitions: i32 [5.., default -1];
        replication_factor: i16 [5.., default -1];
        configs: Option<Vec<CreateTopicsResponseConfig<'a>>> [5.., null ..];
    }

    pub struct CreateTopicsResponseConfig<'a> {
        name: Cow<'a, str> [..];
        value: Option<Cow<'a, str>> [.., null ..];
        read_only: bool [..];
        config_source: i8 [.., default -1];
        is_sensitive: bool [..];
    }
}
