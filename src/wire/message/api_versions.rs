//! ApiVersions (key 18), contract 1.3: request and response as tables of fields.

use std::borrow::Cow;

use crate::wire::message::{api, message};

api!(18, ApiVersionsRequest<'a>, ApiVersionsResponse<'a>, versions 0..=4, flexible 3);

message! {
    pub struct ApiVersionsRequest<'a> {
        client_software_name: &'a str [3..];
        client_software_version: &'a str [3..];
    }

    pub struct ApiVersionsResponse<'a> {
        error_code: i16 [..];
        api_keys: Vec<ApiVersionsResponseApiKey> [..];
        throttle_time_ms: i32 [1..];
        supported_features: Vec<ApiVersionsResponseSupportedFeature<'a>> [3.., tag 0];
        finalized_features_epoch: i64 [3.., default -1, tag 1];
        finalized_features: Vec<ApiVersionsResponseFinalizedFeature<'a>> [3.., tag 2];
        zk_migration_ready: bool [3.., tag 3];
    }

    pub struct ApiVersionsResponseApiKey {
        api_key: i16 [..];
        min_version: i16 [..];
        max_version: i16 [..];
    }

    pub struct ApiVersionsResponseSupportedFeature<'a> {
        name: Cow<'a, str> [..];
        min_version: i16 [..];
        max_version: i16 [..];
    }

    pub struct ApiVersionsResponseFinalizedFeature<'a> {
        name: Cow<'a, str> [..];
        max_version_level: i16 [..];
        min_version_level: i16 [..];
    }
}
