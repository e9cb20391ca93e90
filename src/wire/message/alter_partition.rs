//! AlterPartition (key 56; AlterIsr at version 0), contract 1.3 and 5.7: request and response as tables of fields. The leader
//! of partitions writes it to change their in-sync sets, the controller answers.

use std::borrow::Cow;

use crate::wire::array::Array;
use crate::wire::message::{api, message};
use crate::wire::primitive::Uuid;

api!(56, AlterPartitionRequest<'a>, AlterPartitionResponse<'a>, versions 0..=3, flexible 0);

message! {
    pub struct AlterPartitionRequest<'a> {
        broker_id: i32 [..];
        broker_epoch: i64 [.., default -1];
        topics: Array<'a, AlterPartitionRequestTopic<'a>> [..];
    }

    pub struct AlterPartitionRequestTopic<'a> {
        topic_name: &'a str [..=1];
        topic_id: Uuid [2..];
        partitions: Array<'a, AlterPartitionRequestPartition<'a>> [..];
    }

    pub struct AlterPartitionRequestPartition<'a> {
        partition_index: i32 [..];
        leader_epoch: i32 [..];
        new_isr: Array<'a, i32> [..=2];
        new_isr_with_epochs: Array<'a, AlterPartitionRequestBrokerState> [3..];
        leader_recovery_state: i8 [1..];
        partition_epoch: i32 [..];
    }

    pub struct AlterPartitionRequestBrokerState {
        broker_id: i32 [..];
        broker_epoch: i64 [.., default -1];
    }

    pub struct AlterPartitionResponse<'a> {
        throttle_time_ms: i32 [..];
        error_code: i16 [..];
        topics: Vec<AlterPartitionResponseTopic<'a>> [..];
    }

    pub struct AlterPartitionResponseTopic<'a> {
        topic_name: Cow<'a, str> [..=1];
        topic_id: Uuid [2..];
        partitions: Vec<AlterPartitionResponsePartition> [..];
    }

    pub struct AlterPartitionResponsePartition {
        partition_index: i32 [..];
        error_code: i16 [..];
        leader_id: i32 [..];
        leader_epoch: i32 [..];
        isr: Vec<i32> [..];
        leader_recovery_state: i8 [1..];
        partition_epoch: i32 [..];
    }
}
