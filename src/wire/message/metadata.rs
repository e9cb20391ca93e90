//! Metadata (key 3), contract 1.3: request and response as tables of fields.

use std::borrow::Cow;

use crate::wire::array::Array;
use crate::wire::message::{api, message};
use crate::wire::primitive::Uuid;

api!(3, MetadataRequest<'a>, MetadataResponse<'a>, versions 0..=12, flexible 9);

message! {
    pub struct MetadataRequest<'a> {
        topics: Option<Array<'a, MetadataRequestTopic<'a>>> [.., null 1..];
        allow_auto_topic_creation: bool [4.., default true];
        include_cluster_authorized_operations: bool [8..=10];
        include_topic_authorized_operations: bool [8..];
    }

    pub struct MetadataRequestTopic<'a> {
        topic_id: Uuid [10..];
        name: Option<&'a str> [.., null 10..];
    }

    pub struct MetadataResponse<'a> {
        throttle_time_ms: i32 [3..];
        brokers: Vec<MetadataResponseBroker<'a>> [..];
        cluster_id: Option<Cow<'a, str>> [2.., null ..];
        controller_id: i32 [1.., default -1];
        topics: Vec<MetadataResponseTopic<'a>> [..];
        cluster_authorized_operations: i32 [8..=10, default -2147483648];
    }

    pub struct MetadataResponseBroker<'a> {
        node_id: i32 [..];
        host: Cow<'a, str> [..];
        port: i32 [..];
        rack: Option<Cow<'a, str>> [1.., null ..];
    }

    pub struct MetadataResponseTopic<'a> {
        error_code: i16 [..];
        name: Option<Cow<'a, str>> [.., null 12..];
        topic_id: Uuid [10..];
        is_internal: bool [1..];
        partitions: Vec<MetadataResponsePartition> [..];
        topic_authorized_operations: i32 [8.., default -2147483648];
    }

    pub struct MetadataResponsePartition {
        error_code: i16 [..];
        partition_index: i32 [..];
        leader_id: i32 [..];
        leader_epoch: i32 [7.., default -1];
        replica_nodes: Vec<i32> [..];
        isr_nodes: Vec<i32> [..];
        offline_replicas: Vec<i32> [5..];
    }
}
