//! UpdateMetadata (key 6), contract 1.3 and 5.6: request and response as tables of fields. A controller writes it, a broker
//! answers.

use crate::wire::array::Array;
use crate::wire::message::{api, message};
use crate::wire::primitive::Uuid;

api!(6, UpdateMetadataRequest<'a>, UpdateMetadataResponse, versions 0..=8, flexible 6);

message! {
    pub struct UpdateMetadataRequest<'a> {
        controller_id: i32 [..];
        is_kraft_controller: bool [8..];
        /// Of a ZooKeeper controller always 0.
        r#type: i8 [8.., tag 0];
        controller_epoch: i32 [..];
        broker_epoch: i64 [5.., default -1];
        ungrouped_partition_states: Array<'a, UpdateMetadataRequestPartitionState<'a>> [..=4];
        topic_states: Array<'a, UpdateMetadataRequestTopicState<'a>> [5..];
        live_brokers: Array<'a, UpdateMetadataRequestLiveBroker<'a>> [..];
    }

    pub struct UpdateMetadataRequestTopicState<'a> {
        topic_name: &'a str [..];
        topic_id: Uuid [7..];
        partition_states: Array<'a, UpdateMetadataRequestPartitionState<'a>> [..];
    }

    pub struct UpdateMetadataRequestPartitionState<'a> {
        topic_name: &'a str [..=4];
        partition_index: i32 [..];
        controller_epoch: i32 [..];
        /// -1: none; -2: the topic is being deleted.
        leader: i32 [..];
        leader_epoch: i32 [..];
        isr: Array<'a, i32> [..];
        zk_version: i32 [..];
        replicas: Array<'a, i32> [..];
        offline_replicas: Array<'a, i32> [4..];
    }

    pub struct UpdateMetadataRequestLiveBroker<'a> {
        id: i32 [..];
        v0_host: &'a str [..=0];
        v0_port: i32 [..=0];
        endpoints: Array<'a, UpdateMetadataRequestEndpoint<'a>> [1..];
        rack: Option<&'a str> [2.., null ..];
    }

    pub struct UpdateMetadataRequestEndpoint<'a> {
        port: i32 [..];
        host: &'a str [..];
        listener: &'a str [3..];
        /// 0 PLAINTEXT, 1 SSL, 2 SASL_PLAINTEXT, 3 SASL_SSL.
        security_protocol: i16 [..];
    }

    pub struct UpdateMetadataResponse {
        error_code: i16 [..];
    }
}
