//! ListPartitionReassignments (key 46), contract 1.3: request and response as tables of fields.

use std::borrow::Cow;

use crate::wire::array::Array;
use crate::wire::message::{api, message};

api!(46, ListPartitionReassignmentsRequest<'a>, ListPartitionReassignmentsResponse<'a>, versions 0..=0, flexible 0);

message! {
    pub struct ListPartitionReassignmentsRequest<'a> {
        timeout_ms: i32 [.., default 60000];
        topics: Option<Array<'a, ListPartitionReassignmentsRequestTopic<'a>>> [.., null ..];
    }

    pub struct ListPartitionReassignmentsRequestTopic<'a> {
        name: &'a str [..];
        partition_indexes: Array<'a, i32> [..];
    }

    pub struct ListPartitionReassignmentsResponse<'a> {
        throttle_time_ms: i32 [..];
        error_code: i16 [..];
        error_message: Option<Cow<'a, str>> [.., null ..];
        topics: Vec<ListPartitionReassignmentsResponseTopic<'a>> [..];
    }

    pub struct ListPartitionReassignmentsResponseTopic<'a> {
        name: Cow<'a, str> [..];
        partitions: Vec<ListPartitionReassignmentsResponseTopicPartition> [..];
    }

    pub struct ListPartitionReassignmentsResponseTopicPartition {
        partition_index: i32 [..];
        replicas: Vec<i32> [..];
        adding_replicas: Vec<i32> [..];
        removing_replicas: Vec<i32> [..];
    }
}
