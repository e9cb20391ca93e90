//! AlterPartitionReassignments (key 45), contract 1.3: request and response as tables of fields.

use std::borrow::Cow;

use crate::wire::array::Array;
use crate::wire::message::{api, message};

api!(45, AlterPartitionReassignmentsRequest<'a>, AlterPartitionReassignmentsResponse<'a>, versions 0..=0, flexible 0);

message! {
    pub struct AlterPartitionReassignmentsRequest<'a> {
        timeout_ms: i32 [.., default 60000];
        topics: Array<'a, AlterPartitionReassignmentsRequestTopic<'a>> [..];
    }

    pub struct AlterPartitionReassignmentsRequestTopic<'a> {
        name: &'a str [..];
        partitions: Array<'a, AlterPartitionReassignmentsRequestTopicPartition<'a>> [..];
    }

    pub struct AlterPartitionReassignmentsRequestTopicPartition<'a> {
        partition_index: i32 [..];
        replicas: Option<Array<'a, i32>> [.., null ..];
    }

    pub struct AlterPartitionReassignmentsResponse<'a> {
        throttle_time_ms: i32 [..];
        error_code: i16 [..];
        error_message: Option<Cow<'a, str>> [.., null ..];
        responses: Vec<AlterPartitionReassignmentsResponseResponse<'a>> [..];
    }

    pub struct AlterPartitionReassignmentsResponseResponse<'a> {
        name: Cow<'a, str> [..];
        partitions: Vec<AlterPartitionReassignmentsResponseResponsePartition<'a>> [..];
    }

    pub struct AlterPartitionReassignmentsResponseResponsePartition<'a> {
        partition_index: i32 [..];
        error_code: i16 [..];
        error_message: Option<Cow<'a, str>> [.., null ..];
    }
}
