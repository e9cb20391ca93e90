//! DescribeConfigs (key 32), contract 1.3: request and response as tables of fields.

use std::borrow::Cow;

use crate::wire::array::Array;
use crate::wire::message::{api, message};

api!(32, DescribeConfigsRequest<'a>, DescribeConfigsResponse<'a>, versions 0..=4, flexible 4);

message! {
    pub struct DescribeConfigsRequest<'a> {
        resources: Array<'a, DescribeConfigsRequestResource<'a>> [..];
        include_synonyms: bool [1..];
        include_documentation: bool [3..];
    }

    pub struct DescribeConfigsRequestResource<'a> {
        resource_type: i8 [..];
        resource_name: &'a str [..];
        configuration_keys: Option<Array<'a, &'a str>> [.., null ..];
    }

    pub struct DescribeConfigsResponse<'a> {
        throttle_time_ms: i32 [..];
        results: Vec<DescribeConfigsResponseResult<'a>> [..];
    }

    pub struct DescribeConfigsResponseResult<'a> {
        error_code: i16 [..];
        error_message: Option<Cow<'a, str>> [.., null ..];
        resource_type: i8 [..];
        resource_name: Cow<'a, str> [..];
        configs: Vec<DescribeConfigsResponseConfig<'a>> [..];
    }

    pub struct DescribeConfigsResponseConfig<'a> {
        name: Cow<'a, str> [..];
        value: Option<Cow<'a, str>> [.., null ..];
        read_only: bool [..];
        is_default: bool [0..=0];
        config_source: i8 [1.., default -1];
        is_sensitive: bool [..];
        synonyms: Vec<DescribeConfigsResponseSynonym<'a>> [1..];
        config_type: i8 [3..];
        documentation: Option<Cow<'a, str>> [3.., null ..];
    }

    pub struct DescribeConfigsResponseSynonym<'a> {
        name: Cow<'a, str> [..];
        value: Option<Cow<'a, str>> [.., null ..];
        source: i8 [..];
    }
}
