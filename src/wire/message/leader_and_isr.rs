//! LeaderAndIsr (key 4), contract 1.3 and 5.6: request and response as tables of fields. A controller writes it, a broker
//! answers.

use std::borrow::Cow;

use crate::wire::array::Array;
use crate::wire::message::{api, message};
use crate::wire::primitive::Uuid;

api!(4, LeaderAndIsrRequest<'a>, LeaderAndIsrResponse<'a>, versions 0..=7, flexible 4);

message! {
    pub struct LeaderAndIsrRequest<'a> {
        controller_id: i32 [..];
        is_kraft_controller: bool [7..];
        controller_epoch: i32 [..];
        broker_epoch: i64 [2.., default -1];
        /// Of a ZooKeeper controller always 0.
        r#type: i8 [5..];
        ungrouped_partition_states: Array<'a, LeaderAndIsrRequestPartitionState<'a>> [..=1];
        topic_states: Array<'a, LeaderAndIsrRequestTopicState<'a>> [2..];
        live_leaders: Array<'a, LeaderAndIsrRequestLiveLeader<'a>> [..];
    }

    pub struct LeaderAndIsrRequestTopicState<'a> {
        topic_name: &'a str [..];
        topic_id: Uuid [5..];
        partition_states: Array<'a, LeaderAndIsrRequestPartitionState<'a>> [..];
    }

    pub struct LeaderAndIsrRequestPartitionState<'a> {
        topic_name: &'a str [..=1];
        partition_index: i32 [..];
        controller_epoch: i32 [..];
        leader: i32 [..];
        leader_epoch: i32 [..];
        isr: Array<'a, i32> [..];
        partition_epoch: i32 [..];
        replicas: Array<'a, i32> [..];
        adding_replicas: Array<'a, i32> [3..];
        removing_replicas: Array<'a, i32> [3..];
        is_new: bool [1..];
        leader_recovery_state: i8 [6..];
    }

    pub struct LeaderAndIsrRequestLiveLeader<'a> {
        broker_id: i32 [..];
        host_name: &'a str [..];
        port: i32 [..];
    }

    pub struct LeaderAndIsrResponse<'a> {
        error_code: i16 [..];
        partition_errors: Vec<LeaderAndIsrResponsePartitionError<'a>> [..=4];
        topics: Vec<LeaderAndIsrResponseTopic<'a>> [5..];
    }

    pub struct LeaderAndIsrResponseTopic<'a> {
        topic_id: Uuid [..];
        partition_errors: Vec<LeaderAndIsrResponsePartitionError<'a>> [..];
    }

    pub struct LeaderAndIsrResponsePartitionError<'a> {
        topic_name: Cow<'a, str> [..=4];
        partition_index: i32 [..];
        error_code: i16 [..];
    }
}
