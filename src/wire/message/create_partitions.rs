//! CreatePartitions (key 37), contract 1.3: request and response as tables of fields.

use std::borrow::Cow;

use crate::wire::array::Array;
use crate::wire::message::{api, message};

api!(37, CreatePartitionsRequest<'a>, CreatePartitionsResponse<'a>, versions 0..=3, flexible 2);

message! {
    pub struct CreatePartitionsRequest<'a> {
        topics: Array<'a, CreatePartitionsRequestTopic<'a>> [..];
        timeout_ms: i32 [..];
        validate_only: bool [..];
    }

    pub struct CreatePartitionsRequestTopic<'a> {
        name: &'a str [..];
        count: i32 [..];
        assignments: Option<Array<'a, CreatePartitionsRequestAssignment<'a>>> [.., null ..];
    }

    pub struct CreatePartitionsRequestAssignment<'a> {
        broker_ids: Array<'a, i32> [..];
    }

    pub struct CreatePartitionsResponse<'a> {
        throttle_time_ms: i32 [..];
        results: Vec<CreatePartitionsResponseResult<'a>> [..];
    }

    pub struct CreatePartitionsResponseResult<'a> {
        name: Cow<'a, str> [..];
        error_code: i16 [..];
        error_message: Option<Cow<'a, str>> [.., null ..];
    }
}
