//! OffsetDelete (key 47), contract 6.4: request and response as tables of fields.

use std::borrow::Cow;

use crate::wire::array::Array;
use crate::wire::message::{api, message};

api!(47, OffsetDeleteRequest<'a>, OffsetDeleteResponse<'a>, versions 0..=0, flexible i16::MAX);

message! {
    pub struct OffsetDeleteRequest<'a> {
        group_id: &'a str [..];
        topics: Array<'a, OffsetDeleteRequestTopic<'a>> [..];
    }

    pub struct OffsetDeleteRequestTopic<'a> {
        name: &'a str [..];
        partitions: Array<'a, OffsetDeleteRequestPartition> [..];
    }

    pub struct OffsetDeleteRequestPartition {
        partition_index: i32 [..];
    }

    pub struct OffsetDeleteResponse<'a> {
        error_code: i16 [..];
        throttle_time_ms: i32 [..];
        topics: Vec<OffsetDeleteResponseTopic<'a>> [..];
    }

    pub struct OffsetDeleteResponseTopic<'a> {
        name: Cow<'a, str> [..];
        partitions: Vec<OffsetDeleteResponsePartition> [..];
    }

    pub struct OffsetDeleteResponsePartition {
        partition_index: i32 [..];
        error_code: i16 [..];
    }
}
