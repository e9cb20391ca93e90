//! CreateAcls (key 30), contract 1.3: request and response as tables of fields.

use std::borrow::Cow;

use crate::wire::array::Array;
use crate::wire::message::{api, message};

api!(30, CreateAclsRequest<'a>, CreateAclsResponse<'a>, versions 0..=3, flexible 2);

message! {
    pub struct CreateAclsRequest<'a> {
        creations: Array<'a, CreateAclsRequestCreation<'a>> [..];
    }

    pub struct CreateAclsRequestCreation<'a> {
        resource_type: i8 [..];
        resource_name: &'a str [..];
        resource_pattern_type: i8 [1.., default 3];
        principal: &'a str [..];
        host: &'a str [..];
        operation: i8 [..];
        permission_type: i8 [..];
    }

    pub struct CreateAclsResponse<'a> {
        throttle_time_ms: i32 [..];
        results: Vec<CreateAclsResponseResult<'a>> [..];
    }

    pub struct CreateAclsResponseResult<'a> {
        error_code: i16 [..];
        error_message: Option<Cow<'a, str>> [.., null ..];
    }
}
