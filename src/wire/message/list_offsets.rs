//! ListOffsets (key 2), contract 1.3: request and response as tables of fields.

use std::borrow::Cow;

use crate::wire::array::Array;
use crate::wire::message::{api, message};

api!(2, ListOffsetsRequest<'a>, ListOffsetsResponse<'a>, versions 0..=9, flexible 6);

message! {
    pub struct ListOffsetsRequest<'a> {
        replica_id: i32 [..];
        isolation_level: i8 [2..];
        topics: Array<'a, ListOffsetsRequestTopic<'a>> [..];
    }

    pub struct ListOffsetsRequestTopic<'a> {
        name: &'a str [..];
        partitions: Array<'a, ListOffsetsRequestPartition> [..];
    }

    pub struct ListOffsetsRequestPartition {
        partition_index: i32 [..];
        current_leader_epoch: i32 [4.., default -1];
        timestamp: i64 [..];
        max_num_offsets: i32 [0..=0, default 1];
    }

    pub struct ListOffsetsResponse<'a> {
        throttle_time_ms: i32 [2..];
        topics: Vec<ListOffsetsResponseTopic<'a>> [..];
    }

    pub struct ListOffsetsResponseTopic<'a> {
        name: Cow<'a, str> [..];
        partitions: Vec<ListOffsetsResponsePartition> [..];
    }

    pub struct ListOffsetsResponsePartition {
        partition_index: i32 [..];
        error_code: i16 [..];
        old_style_offsets: Vec<i64> [0..=0];
        timestamp: i64 [1.., default -1];
        offset: i64 [1.., default -1];
        leader_epoch: i32 [4.., default -1];
    }
}
