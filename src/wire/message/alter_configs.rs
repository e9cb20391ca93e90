//! AlterConfigs (key 33), contract 1.3: request and response as tables of fields.

use std::borrow::Cow;

use crate::wire::array::Array;
use crate::wire::message::{api, message};

api!(33, AlterConfigsRequest<'a>, AlterConfigsResponse<'a>, versions 0..=2, flexible 2);

message! {
    pub struct AlterConfigsRequest<'a> {
        resources: Array<'a, AlterConfigsRequestResource<'a>> [..];
        validate_only: bool [..];
    }

    pub struct AlterConfigsRequestResource<'a> {
        resource_type: i8 [..];
        resource_name: &'a str [..];
        configs: Array<'a, AlterConfigsRequestResourceConfig<'a>> [..];
    }

    pub struct AlterConfigsRequestResourceConfig<'a> {
        name: &'a str [..];
        value: Option<&'a str> [.., null ..];
    }

    pub struct AlterConfigsResponse<'a> {
        throttle_time_ms: i32 [..];
        responses: Vec<AlterConfigsResponseResponse<'a>> [..];
    }

    pub struct AlterConfigsResponseResponse<'a> {
        error_code: i16 [..];
        error_message: Option<Cow<'a, str>> [.., null ..];
        resource_type: i8 [..];
        resource_name: Cow<'a, str> [..];
    }
}
