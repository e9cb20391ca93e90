//! DeleteGroups (key 42), contract 6.4: request and response as tables of fields.

use std::borrow::Cow;

use crate::wire::array::Array;
use crate::wire::message::{api, message};

api!(42, DeleteGroupsRequest<'a>, DeleteGroupsResponse<'a>, versions 0..=2, flexible 2);

message! {
    pub struct DeleteGroupsRequest<'a> {
        groups_names: Array<'a, &'a str> [..];
    }

    pub struct DeleteGroupsResponse<'a> {
        throttle_time_ms: i32 [..];
        results: Vec<DeleteGroupsResponseResult<'a>> [..];
    }

    pub struct DeleteGroupsResponseResult<'a> {
        group_id: Cow<'a, str> [..];
        error_code: i16 [..];
    }
}
