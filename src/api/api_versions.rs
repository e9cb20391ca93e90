//! ApiVersions (key 18): which APIs and versions this broker speaks.
//!
//! In: a request of any version. Out: the table of `wire::version`; at a version we do not know, an answer of version
//! 0 that names the versions of this API, so that the client can ask again.
//! The client's software name is not checked: Kafka 3.9 takes any (contract 9).

use crate::wire::error_code::ErrorCode;
use crate::wire::message::Message;
use crate::wire::message::api_versions::{
    ApiVersionsRequest, ApiVersionsResponse, ApiVersionsResponseApiKey,
};
use crate::wire::primitive::{DecodeError, Reader};
use crate::wire::version::{self, ApiKey};

pub fn respond(version: i16, r: &mut Reader<'_>) -> Result<Vec<u8>, DecodeError> {
    ApiVersionsRequest::decode(r, version)?;
    let response = ApiVersionsResponse {
        api_keys: version::advertised().map(row).collect(),
        finalized_features_epoch: 0,
        ..Default::default()
    };
    let mut body = Vec::with_capacity(response.size(version));
    response.encode(&mut body, version);
    Ok(body)
}

pub fn unknown_version() -> Vec<u8> {
    let own = version::advertised().find(|(key, _)| *key == ApiKey::ApiVersions);
    let response = ApiVersionsResponse {
        error_code: ErrorCode::UnsupportedVersion as i16,
        api_keys: own.map(row).into_iter().collect(),
        ..Default::default()
    };
    let mut body = Vec::new();
    response.encode(&mut body, 0);
    body
}

fn row((key, versions): (ApiKey, &std::ops::RangeInclusive<i16>)) -> ApiVersionsResponseApiKey {
    ApiVersionsResponseApiKey {
        api_key: key as i16,
        min_version: *versions.start(),
        max_version: *versions.end(),
    }
}
