//! DescribeClientQuotas (key 48), contract 1.3: request and response as tables of fields.

use std::borrow::Cow;

use crate::wire::array::Array;
use crate::wire::message::{api, message};

api!(48, DescribeClientQuotasRequest<'a>, DescribeClientQuotasResponse<'a>, versions 0..=1, flexible 1);

message! {
    pub struct DescribeClientQuotasRequest<'a> {
        components: Array<'a, DescribeClientQuotasRequestComponent<'a>> [..];
        strict: bool [..];
    }

    pub struct DescribeClientQuotasRequestComponent<'a> {
        entity_type: &'a str [..];
        match_type: i8 [..];
        r#match: Option<&'a str> [.., null ..];
    }

    pub struct DescribeClientQuotasResponse<'a> {
        throttle_time_ms: i32 [..];
        error_code: i16 [..];
        error_message: Option<Cow<'a, str>> [.., null ..];
        entries: Option<Vec<DescribeClientQuotasResponseEntry<'a>>> [.., null ..];
    }

    pub struct DescribeClientQuotasResponseEntry<'a> {
        entity: Vec<DescribeClientQuotasResponseEntryEntity<'a>> [..];
        values: Vec<DescribeClientQuotasResponseEntryValue<'a>> [..];
    }

    pub struct DescribeClientQuotasResponseEntryEntity<'a> {
        entity_type: Cow<'a, str> [..];
        entity_name: Option<Cow<'a, str>> [.., null ..];
    }

    pub struct DescribeClientQuotasResponseEntryValue<'a> {
        key: Cow<'a, str> [..];
        value: f64 [..];
    }
}
