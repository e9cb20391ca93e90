//! Heartbeat (key 12), contract 6.1: request and response as tables of fields.

use crate::wire::message::{api, message};

api!(12, HeartbeatRequest<'a>, HeartbeatResponse, versions 0..=4, flexible 4);

message! {
    pub struct HeartbeatRequest<'a> {
        group_id: &'a str [..];
        generation_id: i32 [..];
        member_id: &'a str [..];
        group_instance_id: Option<&'a str> [3.., null 3..];
    }

    pub struct HeartbeatResponse {
        throttle_time_ms: i32 [1..];
        error_code: i16 [..];
    }
}
