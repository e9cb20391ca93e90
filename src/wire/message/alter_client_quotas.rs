//! AlterClientQuotas (key 49), contract 1.3: request and response as tables of fields.

use std::borrow::Cow;

use crate::wire::array::Array;
use crate::wire::message::{api, message};

api!(49, AlterClientQuotasRequest<'a>, AlterClientQuotasResponse<'a>, versions 0..=1, flexible 1);

message! {
    pub struct AlterClientQuotasRequest<'a> {
        entries: Array<'a, AlterClientQuotasRequestEntry<'a>> [..];
        validate_only: bool [..];
    }

    pub struct AlterClientQuotasRequestEntry<'a> {
        entity: Array<'a, AlterClientQuotasRequestEntryEntity<'a>> [..];
        ops: Array<'a, AlterClientQuotasRequestEntryOp<'a>> [..];
    }

    pub struct AlterClientQuotasRequestEntryEntity<'a> {
        entity_type: &'a str [..];
        entity_name: Option<&'a str> [.., null ..];
    }

    pub struct AlterClientQuotasRequestEntryOp<'a> {
        key: &'a str [..];
        value: f64 [..];
        remove: bool [..];
    }

    pub struct AlterClientQuotasResponse<'a> {
        throttle_time_ms: i32 [..];
        entries: Vec<AlterClientQuotasResponseEntry<'a>> [..];
    }

    pub struct AlterClientQuotasResponseEntry<'a> {
        error_code: i16 [..];
        error_message: Option<Cow<'a, str>> [.., null ..];
        entity: Vec<AlterClientQuotasResponseEntryEntity<'a>> [..];
    }

    pub struct AlterClientQuotasResponseEntryEntity<'a> {
        entity_type: Cow<'a, str> [..];
        entity_name: Option<Cow<'a, str>> [.., null ..];
    }
}
