//! DeleteAcls (key 31), contract 1.3: request and response as tables of fields.

use std::borrow::Cow;

use crate::wire::array::Array;
use crate::wire::message::{api, message};

api!(31, DeleteAclsRequest<'a>, DeleteAclsResponse<'a>, versions 0..=3, flexible 2);

message! {
    pub struct DeleteAclsRequest<'a> {
        filters: Array<'a, DeleteAclsRequestFilter<'a>> [..];
    }

    pub struct DeleteAclsRequestFilter<'a> {
        resource_type_filter: i8 [..];
        resource_name_filter: Option<&'a str> [.., null ..];
        pattern_type_filter: i8 [1.., default 3];
        principal_filter: Option<&'a str> [.., null ..];
        host_filter: Option<&'a str> [.., null ..];
        operation: i8 [..];
        permission_type: i8 [..];
    }

    pub struct DeleteAclsResponse<'a> {
        throttle_time_ms: i32 [..];
        filter_results: Vec<DeleteAclsResponseFilterResult<'a>> [..];
    }

    pub struct DeleteAclsResponseFilterResult<'a> {
        error_code: i16 [..];
        error_message: Option<Cow<'a, str>> [.., null ..];
        matching_acls: Vec<DeleteAclsResponseFilterResultMatchingAcl<'a>> [..];
    }

    pub struct DeleteAclsResponseFilterResultMatchingAcl<'a> {
        error_code: i16 [..];
        error_message: Option<Cow<'a, str>> [.., null ..];
        resource_type: i8 [..];
        resource_name: Cow<'a, str> [..];
        pattern_type: i8 [1.., default 3];
        principal: Cow<'a, str> [..];
        host: Cow<'a, str> [..];
        operation: i8 [..];
        permission_type: i8 [..];
    }
}
