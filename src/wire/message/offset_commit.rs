//! OffsetCommit (key 8), contract 6.2: request and response as tables of fields.

use std::borrow::Cow;

use crate::wire::array::Array;
use crate::wire::message::{api, message};

api!(8, OffsetCommitRequest<'a>, OffsetCommitResponse<'a>, versions 0..=9, flexible 8);

message! {
    pub struct OffsetCommitRequest<'a> {
        group_id: &'a str [..];
        generation_id_or_member_epoch: i32 [1.., default -1];
        member_id: &'a str [1..];
        group_instance_id: Option<&'a str> [7.., null 7..];
        retention_time_ms: i64 [2..=4, default -1];
        topics: Array<'a, OffsetCommitRequestTopic<'a>> [..];
    }

    pub struct OffsetCommitRequestTopic<'a> {
        name: &'a str [..];
        partitions: Array<'a, OffsetCommitRequestPartition<'a>> [..];
    }

    pub struct OffsetCommitRequestPartition<'a> {
        partition_index: i32 [..];
        committed_offset: i64 [..];
        committed_leader_epoch: i32 [6.., default -1];
        commit_timestamp: i64 [1..=1, default -1];
        committed_metadata: Option<&'a str> [.., null ..];
    }

    pub struct OffsetCommitResponse<'a> {
        throttle_time_ms: i32 [3..];
        topics: Vec<OffsetCommitResponseTopic<'a>> [..];
    }

    pub struct OffsetCommitResponseTopic<'a> {
        name: Cow<'a, str> [..];
        partitions: Vec<OffsetCommitResponsePartition> [..];
    }

    pub struct OffsetCommitResponsePartition {
        partition_index: i32 [..];
        error_code: i16 [..];
    }
}
