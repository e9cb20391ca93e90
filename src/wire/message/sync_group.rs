//! SyncGroup (key 14), contract 6.1: request and response as tables of fields.

use std::borrow::Cow;

use crate::wire::array::Array;
use crate::wire::message::{api, message};

api!(14, SyncGroupRequest<'a>, SyncGroupResponse<'a>, versions 0..=5, flexible 4);

message! {
    pub struct SyncGroupRequest<'a> {
        group_id: &'a str [..];
        generation_id: i32 [..];
        member_id: &'a str [..];
        group_instance_id: Option<&'a str> [3.., null 3..];
        protocol_type: Option<&'a str> [5.., null 5..];
        protocol_name: Option<&'a str> [5.., null 5..];
        assignments: Array<'a, SyncGroupRequestAssignment<'a>> [..];
    }

    pub struct SyncGroupRequestAssignment<'a> {
        member_id: &'a str [..];
        assignment: &'a [u8] [..];
    }

    pub struct SyncGroupResponse<'a> {
        throttle_time_ms: i32 [1..];
        error_code: i16 [..];
        protocol_type: Option<Cow<'a, str>> [5.., null 5..];
        protocol_name: Option<Cow<'a, str>> [5.., null 5..];
        assignment: Cow<'a, [u8]> [..];
    }
}
