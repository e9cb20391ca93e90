//! ListGroups (key 16), contract 6.4: request and response as tables of fields.

use std::borrow::Cow;

use crate::wire::array::Array;
use crate::wire::message::{api, message};

api!(16, ListGroupsRequest<'a>, ListGroupsResponse<'a>, versions 0..=5, flexible 3);

message! {
    pub struct ListGroupsRequest<'a> {
        states_filter: Array<'a, &'a str> [4..];
        types_filter: Array<'a, &'a str> [5..];
    }

    pub struct ListGroupsResponse<'a> {
        throttle_time_ms: i32 [1..];
        error_code: i16 [..];
        groups: Vec<ListGroupsResponseGroup<'a>> [..];
    }

    pub struct ListGroupsResponseGroup<'a> {
        group_id: Cow<'a, str> [..];
        protocol_type: Cow<'a, str> [..];
        group_state: Cow<'a, str> [4..];
        group_type: Cow<'a, str> [5..];
    }
}
