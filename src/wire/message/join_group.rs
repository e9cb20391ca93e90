//! JoinGroup (key 11), contract 6.1: request and response as tables of fields.

use std::borrow::Cow;

use crate::wire::array::Array;
use crate::wire::message::{api, message};

api!(11, JoinGroupRequest<'a>, JoinGroupResponse<'a>, versions 0..=9, flexible 6);

message! {
    pub struct JoinGroupRequest<'a> {
        group_id: &'a str [..];
        session_timeout_ms: i32 [..];
        rebalance_timeout_ms: i32 [1.., default -1];
        member_id: &'a str [..];
        group_instance_id: Option<&'a str> [5.., null 5..];
        protocol_type: &'a str [..];
        protocols: Array<'a, JoinGroupRequestProtocol<'a>> [..];
        reason: Option<&'a str> [8.., null 8..];
    }

    pub struct JoinGroupRequestProtocol<'a> {
        name: &'a str [..];
        metadata: &'a [u8] [..];
    }

    pub struct JoinGroupResponse<'a> {
        throttle_time_ms: i32 [2..];
        error_code: i16 [..];
        generation_id: i32 [.., default -1];
        protocol_type: Option<Cow<'a, str>> [7.., null 7..];
        protocol_name: Option<Cow<'a, str>> [.., null 7..];
        leader: Cow<'a, str> [..];
        skip_assignment: bool [9..];
        member_id: Cow<'a, str> [..];
        members: Vec<JoinGroupResponseMember<'a>> [..];
    }

    pub struct JoinGroupResponseMember<'a> {
        member_id: Cow<'a, str> [..];
        group_instance_id: Option<Cow<'a, str>> [5.., null 5..];
        metadata: Cow<'a, [u8]> [..];
    }
}
