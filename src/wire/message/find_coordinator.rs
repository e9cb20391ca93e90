//! FindCoordinator (key 10), contract 1.3: request and response as tables of fields.

use std::borrow::Cow;

use crate::wire::array::Array;
use crate::wire::message::{api, message};

api!(10, FindCoordinatorRequest<'a>, FindCoordinatorResponse<'a>, versions 0..=6, flexible 3);

message! {
    pub struct FindCoordinatorRequest<'a> {
        key: &'a str [0..=3];
        key_type: i8 [1..];
        coordinator_keys: Array<'a, &'a str> [4..];
    }

    pub struct FindCoordinatorResponse<'a> {
        throttle_time_ms: i32 [1..];
        error_code: i16 [0..=3];
        error_message: Option<Cow<'a, str>> [1..=3, null ..];
        node_id: i32 [0..=3];
        host: Cow<'a, str> [0..=3];
        port: i32 [0..=3];
        coordinators: Vec<FindCoordinatorResponseCoordinator<'a>> [4..];
    }

    pub struct FindCoordinatorResponseCoordinator<'a> {
        key: Cow<'a, str> [..];
        node_id: i32 [..];
        host: Cow<'a, str> [..];
        port: i32 [..];
        error_code: i16 [..];
        error_message: Option<Cow<'a, str>> [.., null ..];
    }
}
