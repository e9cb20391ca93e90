//! IncrementalAlterConfigs (key 44), contract 1.3: request and response as tables of fields.

use std::borrow::Cow;

use crate::wire::array::Array;
use crate::wire::message::{api, message};

api!(44, IncrementalAlterConfigsRequest<'a>, IncrementalAlterConfigsResponse<'a>, versions 0..=1, flexible 1);

message! {
    pub struct IncrementalAlterConfigsRequest<'a> {
        resources: Array<'a, IncrementalAlterConfigsRequestResource<'a>> [..];
        validate_only: bool [..];
    }

    pub struct IncrementalAlterConfigsRequestResource<'a> {
        resource_type: i8 [..];
        resource_name: &'a str [..];
        configs: Array<'a, IncrementalAlterConfigsRequestResourceConfig<'a>> [..];
    }

    pub struct IncrementalAlterConfigsRequestResourceConfig<'a> {
        name: &'a str [..];
        config_operation: i8 [..];
        value: Option<&'a str> [.., null ..];
    }

    pub struct IncrementalAlterConfigsResponse<'a> {
        throttle_time_ms: i32 [..];
        responses: Vec<IncrementalAlterConfigsResponseResponse<'a>> [..];
    }

    pub struct IncrementalAlterConfigsResponseResponse<'a> {
        error_code: i16 [..];
        error_message: Option<Cow<'a, str>> [.., null ..];
        resource_type: i8 [..];
        resource_name: Cow<'a, str> [..];
    }
}
