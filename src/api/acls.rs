//! DescribeAcls, CreateAcls and DeleteAcls (keys 29 to 31) on a broker without an authorizer: SECURITY_DISABLED.
//!
//! In: filters and rules. Out: the words of Kafka's broker when `authorizer.class.name` is not set.

use crate::wire::error_code::ErrorCode;
use crate::wire::message::Message;
use crate::wire::message::create_acls::{CreateAclsRequest, CreateAclsResponse, CreateAclsResponseResult};
use crate::wire::message::delete_acls::{
    DeleteAclsRequest, DeleteAclsResponse, DeleteAclsResponseFilterResult,
};
use crate::wire::message::describe_acls::DescribeAclsResponse;

const CODE: i16 = ErrorCode::SecurityDisabled as i16;
const NO_AUTHORIZER: &str = "No Authorizer is configured.";

pub fn describe(version: i16) -> Vec<u8> {
    let response = DescribeAclsResponse {
        error_code: CODE,
        error_message: Some("No Authorizer is configured on the broker".into()),
        ..Default::default()
    };
    let mut body = Vec::new();
    response.encode(&mut body, version);
    body
}

pub fn create(request: &CreateAclsRequest<'_>, version: i16) -> Vec<u8> {
    let result = || CreateAclsResponseResult { error_code: CODE, error_message: Some(NO_AUTHORIZER.into()) };
    let results = request.creations.iter().map(|_| result()).collect();
    let mut body = Vec::new();
    CreateAclsResponse { throttle_time_ms: 0, results }.encode(&mut body, version);
    body
}

pub fn delete(request: &DeleteAclsRequest<'_>, version: i16) -> Vec<u8> {
    let result = || DeleteAclsResponseFilterResult {
        error_code: CODE,
        error_message: Some(NO_AUTHORIZER.into()),
        ..Default::default()
    };
    let filter_results = request.filters.iter().map(|_| result()).collect();
    let mut body = Vec::new();
    DeleteAclsResponse { throttle_time_ms: 0, filter_results }.encode(&mut body, version);
    body
}
