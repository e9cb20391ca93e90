//! DescribeGroups (key 15), contract 6.4: request and response as tables of fields.

use std::borrow::Cow;

use crate::wire::array::Array;
use crate::wire::message::{api, message};

api!(15, DescribeGroupsRequest<'a>, DescribeGroupsResponse<'a>, versions 0..=5, flexible 5);

message! {
    pub struct DescribeGroupsRequest<'a> {
        groups: Array<'a, &'a str> [..];
        include_authorized_operations: bool [3..];
    }

    pub struct DescribeGroupsResponse<'a> {
        throttle_time_ms: i32 [1..];
        groups: Vec<DescribeGroupsResponseGroup<'a>> [..];
    }

    pub struct DescribeGroupsResponseGroup<'a> {
        error_code: i16 [..];
        group_id: Cow<'a, str> [..];
        group_state: Cow<'a, str> [..];
        protocol_type: Cow<'a, str> [..];
        protocol_data: Cow<'a, str> [..];
        members: Vec<DescribeGroupsResponseMember<'a>> [..];
        authorized_operations: i32 [3.., default -2147483648];
    }

    pub struct DescribeGroupsResponseMember<'a> {
        member_id: Cow<'a, str> [..];
        group_instance_id: Option<Cow<'a, str>> [4.., null 4..];
        client_id: Cow<'a, str> [..];
        client_host: Cow<'a, str> [..];
        member_metadata: Cow<'a, [u8]> [..];
        member_assignment: Cow<'a, [u8]> [..];
    }
}
