//! DeleteTopics (key 20), contract 1.3: request and response as tables of fields.

use std::borrow::Cow;

use crate::wire::array::Array;
use crate::wire::message::{api, message};
use crate::wire::primitive::Uuid;

api!(20, DeleteTopicsRequest<'a>, DeleteTopicsResponse<'a>, versions 0..=6, flexible 4);

message! {
    pub struct DeleteTopicsRequest<'a> {
        topics: Array<'a, DeleteTopicsRequestTopic<'a>> [6..];
        topic_names: Array<'a, &'a str> [0..=5];
        timeout_ms: i32 [..];
    }

    pub struct DeleteTopicsRequestTopic<'a> {
        name: Option<&'a str> [.., null ..];
        topic_id: Uuid [..];
    }

    pub struct DeleteTopicsResponse<'a> {
        throttle_time_ms: i32 [1..];
        responses: Vec<DeleteTopicsResponseResult<'a>> [..];
    }

    pub struct DeleteTopicsResponseResult<'a> {
        name: Option<Cow<'a, str>> [.., null 6..];
        topic_id: Uuid [6..];
        error_code: i16 [..];
        error_message: Option<Cow<'a, str>> [5.., null ..];
    }
}
