//! OffsetForLeaderEpoch (key 23), contract 1.3: request and response as tables of fields.

use std::borrow::Cow;

use crate::wire::array::Array;
use crate::wire::message::{api, message};

api!(23, OffsetForLeaderEpochRequest<'a>, OffsetForLeaderEpochResponse<'a>, versions 0..=4, flexible 4);

message! {
    pub struct OffsetForLeaderEpochRequest<'a> {
        replica_id: i32 [3.., default -2];
        topics: Array<'a, OffsetForLeaderEpochRequestTopic<'a>> [..];
    }

    pub struct OffsetForLeaderEpochRequestTopic<'a> {
        topic: &'a str [..];
        partitions: Array<'a, OffsetForLeaderEpochRequestTopicPartition> [..];
    }

    pub struct OffsetForLeaderEpochRequestTopicPartition {
        partition: i32 [..];
        current_leader_epoch: i32 [2.., default -1];
        leader_epoch: i32 [..];
    }

    pub struct OffsetForLeaderEpochResponse<'a> {
        throttle_time_ms: i32 [2..];
        topics: Vec<OffsetForLeaderEpochResponseTopic<'a>> [..];
    }

    pub struct OffsetForLeaderEpochResponseTopic<'a> {
        topic: Cow<'a, str> [..];
        partitions: Vec<OffsetForLeaderEpochResponseTopicPartition> [..];
    }

    pub struct OffsetForLeaderEpochResponseTopicPartition {
        error_code: i16 [..];
        partition: i32 [..];
        leader_epoch: i32 [1.., default -1];
        end_offset: i64 [.., default -1];
    }
}
