//! DescribeAcls (key 29), contract 1.3: request and response as tables of fields.

use std::borrow::Cow;

use crate::wire::message::{api, message};

api!(29, DescribeAclsRequest<'a>, DescribeAclsResponse<'a>, versions 0..=3, flexible 2);

message! {
    pub struct DescribeAclsRequest<'a> {
        resource_type_filter: i8 [..];
        resource_name_filter: Option<&'a str> [.., null ..];
        pattern_type_filter: i8 [1.., default 3];
        principal_filter: Option<&'a str> [.., null ..];
        host_filter: Option<&'a str> [.., null ..];
        operation: i8 [..];
        permission_type: i8 [..];
    }

    pub struct DescribeAclsResponse<'a> {
        throttle_time_ms: i32 [..];
        error_code: i16 [..];
        error_message: Option<Cow<'a, str>> [.., null ..];
        resources: Vec<DescribeAclsResponseResource<'a>> [..];
    }

    pub struct DescribeAclsResponseResource<'a> {
        resource_type: i8 [..];
        resource_name: Cow<'a, str> [..];
        pattern_type: i8 [1.., default 3];
        acls: Vec<DescribeAclsResponseResourceAcl<'a>> [..];
    }

    pub struct DescribeAclsResponseResourceAcl<'a> {
        principal: Cow<'a, str> [..];
        host: Cow<'a, str> [..];
        operation: i8 [..];
        permission_type: i8 [..];
    }
}
