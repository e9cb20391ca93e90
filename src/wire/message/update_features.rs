//! UpdateFeatures (key 57), contract 1.3: request and response as tables of fields.

use std::borrow::Cow;

use crate::wire::array::Array;
use crate::wire::message::{api, message};

api!(57, UpdateFeaturesRequest<'a>, UpdateFeaturesResponse<'a>, versions 0..=1, flexible 0);

message! {
    pub struct UpdateFeaturesRequest<'a> {
        timeout_ms: i32 [.., default 60_000];
        feature_updates: Array<'a, UpdateFeaturesRequestFeatureUpdate<'a>> [..];
        validate_only: bool [1..];
    }

    pub struct UpdateFeaturesRequestFeatureUpdate<'a> {
        feature: &'a str [..];
        max_version_level: i16 [..];
        allow_downgrade: bool [0..=0];
        upgrade_type: i8 [1.., default 1];
    }

    pub struct UpdateFeaturesResponse<'a> {
        throttle_time_ms: i32 [..];
        error_code: i16 [..];
        error_message: Option<Cow<'a, str>> [.., null ..];
        results: Vec<UpdateFeaturesResponseResult<'a>> [..];
    }

    pub struct UpdateFeaturesResponseResult<'a> {
        feature: Cow<'a, str> [..];
        error_code: i16 [..];
        error_message: Option<Cow<'a, str>> [.., null ..];
    }
}
