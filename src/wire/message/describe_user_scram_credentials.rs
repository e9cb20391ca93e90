//! DescribeUserScramCredentials (key 50), contract 1.3: request and response as tables of fields.

use std::borrow::Cow;

use crate::wire::array::Array;
use crate::wire::message::{api, message};

api!(50, DescribeUserScramCredentialsRequest<'a>, DescribeUserScramCredentialsResponse<'a>, versions 0..=0, flexible 0);

message! {
    pub struct DescribeUserScramCredentialsRequest<'a> {
        users: Option<Array<'a, DescribeUserScramCredentialsRequestUser<'a>>> [.., null ..];
    }

    pub struct DescribeUserScramCredentialsRequestUser<'a> {
        name: &'a str [..];
    }

    pub struct DescribeUserScramCredentialsResponse<'a> {
        throttle_time_ms: i32 [..];
        error_code: i16 [..];
        error_message: Option<Cow<'a, str>> [.., null ..];
        results: Vec<DescribeUserScramCredentialsResponseResult<'a>> [..];
    }

    pub struct DescribeUserScramCredentialsResponseResult<'a> {
        user: Cow<'a, str> [..];
        error_code: i16 [..];
        error_message: Option<Cow<'a, str>> [.., null ..];
        credential_infos: Vec<DescribeUserScramCredentialsResponseResultCredentialInfo> [..];
    }

    pub struct DescribeUserScramCredentialsResponseResultCredentialInfo {
        mechanism: i8 [..];
        iterations: i32 [..];
    }
}
