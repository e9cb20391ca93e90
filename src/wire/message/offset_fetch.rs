//! OffsetFetch (key 9), contract 6.2: request and response as tables of fields.

use std::borrow::Cow;

use crate::wire::array::Array;
use crate::wire::message::{api, message};

api!(9, OffsetFetchRequest<'a>, OffsetFetchResponse<'a>, versions 0..=9, flexible 6);

message! {
    pub struct OffsetFetchRequest<'a> {
        group_id: &'a str [0..=7];
        topics: Option<Array<'a, OffsetFetchRequestTopic<'a>>> [0..=7, null 2..=7];
        groups: Array<'a, OffsetFetchRequestGroup<'a>> [8..];
        require_stable: bool [7..];
    }

    pub struct OffsetFetchRequestTopic<'a> {
        name: &'a str [..];
        partition_indexes: Array<'a, i32> [..];
    }

    pub struct OffsetFetchRequestGroup<'a> {
        group_id: &'a str [..];
        member_id: Option<&'a str> [9.., null 9..];
        member_epoch: i32 [9.., default -1];
        topics: Option<Array<'a, OffsetFetchRequestTopic<'a>>> [.., null ..];
    }

    pub struct OffsetFetchResponse<'a> {
        throttle_time_ms: i32 [3..];
        topics: Vec<OffsetFetchResponseTopic<'a>> [0..=7];
        error_code: i16 [2..=7];
        groups: Vec<OffsetFetchResponseGroup<'a>> [8..];
    }

    pub struct OffsetFetchResponseTopic<'a> {
        name: Cow<'a, str> [..];
        partitions: Vec<OffsetFetchResponsePartition<'a>> [..];
    }

    pub struct OffsetFetchResponsePartition<'a> {
        partition_index: i32 [..];
        committed_offset: i64 [..];
        committed_leader_epoch: i32 [5.., default -1];
        metadata: Option<Cow<'a, str>> [.., null ..];
        error_code: i16 [..];
    }

    pub struct OffsetFetchResponseGroup<'a> {
        group_id: Cow<'a, str> [..];
        topics: Vec<OffsetFetchResponseTopic<'a>> [..];
        error_code: i16 [..];
    }
}
