//! LeaveGroup (key 13), contract 6.1: request and response as tables of fields.

use std::borrow::Cow;

use crate::wire::array::Array;
use crate::wire::message::{api, message};

api!(13, LeaveGroupRequest<'a>, LeaveGroupResponse<'a>, versions 0..=5, flexible 4);

message! {
    pub struct LeaveGroupRequest<'a> {
        group_id: &'a str [..];
        member_id: &'a str [0..=2];
        members: Array<'a, LeaveGroupRequestMember<'a>> [3..];
    }

    pub struct LeaveGroupRequestMember<'a> {
        member_id: &'a str [..];
        group_instance_id: Option<&'a str> [.., null ..];
        reason: Option<&'a str> [5.., null 5..];
    }

    pub struct LeaveGroupResponse<'a> {
        throttle_time_ms: i32 [1..];
        error_code: i16 [..];
        members: Vec<LeaveGroupResponseMember<'a>> [3..];
    }

    pub struct LeaveGroupResponseMember<'a> {
        member_id: Cow<'a, str> [..];
        group_instance_id: Option<Cow<'a, str>> [.., null ..];
        error_code: i16 [..];
    }
}
