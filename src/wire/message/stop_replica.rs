//! StopReplica (key 5), contract 1.3 and 5.6: request and response as tables of fields. A controller writes it, a broker
//! answers.

use std::borrow::Cow;

use crate::wire::array::Array;
use crate::wire::message::{api, message};

api!(5, StopReplicaRequest<'a>, StopReplicaResponse<'a>, versions 0..=4, flexible 2);

message! {
    pub struct StopReplicaRequest<'a> {
        controller_id: i32 [..];
        is_kraft_controller: bool [4..];
        controller_epoch: i32 [..];
        broker_epoch: i64 [1.., default -1];
        delete_partitions: bool [..=2];
        ungrouped_partitions: Array<'a, StopReplicaRequestPartition<'a>> [..=0];
        topics: Array<'a, StopReplicaRequestTopic<'a>> [1..=2];
        topic_states: Array<'a, StopReplicaRequestTopicState<'a>> [3..];
    }

    pub struct StopReplicaRequestPartition<'a> {
        topic_name: &'a str [..];
        partition_index: i32 [..];
    }

    pub struct StopReplicaRequestTopic<'a> {
        name: &'a str [..];
        partition_indexes: Array<'a, i32> [..];
    }

    pub struct StopReplicaRequestTopicState<'a> {
        topic_name: &'a str [..];
        partition_states: Array<'a, StopReplicaRequestPartitionState> [..];
    }

    pub struct StopReplicaRequestPartitionState {
        partition_index: i32 [..];
        /// -1: not checked; -2: the topic is being deleted.
        leader_epoch: i32 [.., default -1];
        delete_partition: bool [..];
    }

    pub struct StopReplicaResponse<'a> {
        error_code: i16 [..];
        partition_errors: Vec<StopReplicaResponsePartitionError<'a>> [..];
    }

    pub struct StopReplicaResponsePartitionError<'a> {
        topic_name: Cow<'a, str> [..];
        partition_index: i32 [..];
        error_code: i16 [..];
    }
}
