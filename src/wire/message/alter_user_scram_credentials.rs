//! AlterUserScramCredentials (key 51), contract 1.3: request and response as tables of fields.

use std::borrow::Cow;

use crate::wire::array::Array;
use crate::wire::message::{api, message};

api!(51, AlterUserScramCredentialsRequest<'a>, AlterUserScramCredentialsResponse<'a>, versions 0..=0, flexible 0);

message! {
    pub struct AlterUserScramCredentialsRequest<'a> {
        deletions: Array<'a, AlterUserScramCredentialsRequestDeletion<'a>> [..];
        upsertions: Array<'a, AlterUserScramCredentialsRequestUpsertion<'a>> [..];
    }

    pub struct AlterUserScramCredentialsRequestDeletion<'a> {
        name: &'a str [..];
        mechanism: i8 [..];
    }

    pub struct AlterUserScramCredentialsRequestUpsertion<'a> {
        name: &'a str [..];
        mechanism: i8 [..];
        iterations: i32 [..];
        salt: &'a [u8] [..];
        salted_password: &'a [u8] [..];
    }

    pub struct AlterUserScramCredentialsResponse<'a> {
        throttle_time_ms: i32 [..];
        results: Vec<AlterUserScramCredentialsResponseResult<'a>> [..];
    }

    pub struct AlterUserScramCredentialsResponseResult<'a> {
        user: Cow<'a, str> [..];
        error_code: i16 [..];
        error_message: Option<Cow<'a, str>> [.., null ..];
    }
}
