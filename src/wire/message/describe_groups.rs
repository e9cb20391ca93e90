//! DescribeGroups (key 15), contract 6.4: request and response as tables of fields.
//!
//! Tag 9000 is ours: a tool asks with it why a group waits, and a broker that knows it answers with it. Kafka's clients and
//! brokers pass tags over that they do not know (KIP-482).

use std::borrow::Cow;

use crate::wire::array::Array;
use crate::wire::message::{api, message};

api!(15, DescribeGroupsRequest<'a>, DescribeGroupsResponse<'a>, versions 0..=5, flexible 5);

message! {
    pub struct DescribeGroupsRequest<'a> {
        groups: Array<'a, &'a str> [..];
        include_authorized_operations: bool [3..];
        why: bool [5.., tag 9000];
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
        /// One, or none where nobody asked.
        why: Vec<DescribeGroupsResponseWhy<'a>> [5.., tag 9000];
    }

    pub struct DescribeGroupsResponseWhy<'a> {
        /// What the group waits for.
        reason: Cow<'a, str> [..];
        /// How long it has been in its state; -1 where nobody knows.
        for_ms: i64 [..];
        /// When the wait ends by itself; -1 where it does not.
        ends_in_ms: i64 [..];
        /// The setting that ends it.
        ends_by: Cow<'a, str> [..];
        /// Ids that were given out and have not come back.
        pending: i32 [..];
        /// In the order of the group's members.
        members: Vec<DescribeGroupsResponseWhyMember> [..];
    }

    pub struct DescribeGroupsResponseWhyMember {
        is_waited_for: bool [..];
        session_timeout_ms: i32 [..];
        rebalance_timeout_ms: i32 [..];
        /// Since it was last heard of; -1 while it waits for an answer itself.
        heard_ms_ago: i64 [..];
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
