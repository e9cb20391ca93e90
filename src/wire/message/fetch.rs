//! Fetch (key 1), contract 1.3: request and response as tables of fields.

use std::borrow::Cow;

use crate::wire::array::Array;
use crate::wire::message::{api, message};
use crate::wire::primitive::Uuid;

api!(1, FetchRequest<'a>, FetchResponse<'a>, versions 0..=17, flexible 12);

message! {
    pub struct FetchRequest<'a> {
        cluster_id: Option<&'a str> [12.., null .., tag 0];
        replica_id: i32 [0..=14, default -1];
        replica_state: FetchRequestReplicaState [15.., tag 1];
        max_wait_ms: i32 [..];
        min_bytes: i32 [..];
        max_bytes: i32 [3.., default 0x7fffffff];
        isolation_level: i8 [4..];
        session_id: i32 [7..];
        session_epoch: i32 [7.., default -1];
        topics: Array<'a, FetchRequestTopic<'a>> [..];
        forgotten_topics_data: Array<'a, FetchRequestForgottenTopicsData<'a>> [7..];
        rack_id: &'a str [11..];
    }

    pub struct FetchRequestReplicaState {
        replica_id: i32 [.., default -1];
        replica_epoch: i64 [.., default -1];
    }

    pub struct FetchRequestTopic<'a> {
        topic: &'a str [0..=12];
        topic_id: Uuid [13..];
        partitions: Array<'a, FetchRequestPartition> [..];
    }

    pub struct FetchRequestPartition {
        partition: i32 [..];
        current_leader_epoch: i32 [9.., default -1];
        fetch_offset: i64 [..];
        last_fetched_epoch: i32 [12.., default -1];
        log_start_offset: i64 [5.., default -1];
        partition_max_bytes: i32 [..];
        replica_directory_id: Uuid [17.., tag 0];
    }

    pub struct FetchRequestForgottenTopicsData<'a> {
        topic: &'a str [7..=12];
        topic_id: Uuid [13..];
        partitions: Array<'a, i32> [..];
    }

    pub struct FetchResponse<'a> {
        throttle_time_ms: i32 [1..];
        error_code: i16 [7..];
        session_id: i32 [7..];
        responses: Vec<FetchResponseResult<'a>> [..];
        node_endpoints: Vec<FetchResponseNodeEndpoint<'a>> [16.., tag 0];
    }

    pub struct FetchResponseResult<'a> {
        topic: Cow<'a, str> [0..=12];
        topic_id: Uuid [13..];
        partitions: Vec<FetchResponsePartition<'a>> [..];
    }

    pub struct FetchResponsePartition<'a> {
        partition_index: i32 [..];
        error_code: i16 [..];
        high_watermark: i64 [..];
        last_stable_offset: i64 [4.., default -1];
        log_start_offset: i64 [5.., default -1];
        diverging_epoch: FetchResponseDivergingEpoch [12.., tag 0];
        current_leader: FetchResponseCurrentLeader [12.., tag 1];
        snapshot_id: FetchResponseSnapshotId [12.., tag 2];
        aborted_transactions: Option<Vec<FetchResponseAbortedTransaction>> [4.., null ..];
        preferred_read_replica: i32 [11.., default -1];
        records: Option<&'a [u8]> [.., null ..];
    }

    pub struct FetchResponseDivergingEpoch {
        epoch: i32 [.., default -1];
        end_offset: i64 [.., default -1];
    }

    pub struct FetchResponseCurrentLeader {
        leader_id: i32 [.., default -1];
        leader_epoch: i32 [.., default -1];
    }

    pub struct FetchResponseSnapshotId {
        end_offset: i64 [.., default -1];
        epoch: i32 [.., default -1];
    }

    pub struct FetchResponseAbortedTransaction {
        producer_id: i64 [..];
        first_offset: i64 [..];
    }

    pub struct FetchResponseNodeEndpoint<'a> {
        node_id: i32 [..];
        host: Cow<'a, str> [..];
        port: i32 [..];
        rack: Option<Cow<'a, str>> [.., null ..];
    }
}
