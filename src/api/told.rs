//! What a controller tells a broker: LeaderAndIsr, UpdateMetadata and StopReplica taken apart, whatever their version, and
//! answered (contract 5.6).
//!
//! In: requests. Out: plain values, partition by partition; the body of the answer from what became of each.

use std::borrow::Cow;
use std::sync::Arc;

use crate::ids::BrokerId;
use crate::metadata::{Broker, Endpoint};
use crate::wire::error_code::ErrorCode;
use crate::wire::message::Message;
use crate::wire::message::leader_and_isr::{
    LeaderAndIsrRequest, LeaderAndIsrRequestPartitionState, LeaderAndIsrResponse,
    LeaderAndIsrResponsePartitionError, LeaderAndIsrResponseTopic,
};
use crate::wire::message::stop_replica::{
    StopReplicaRequest, StopReplicaResponse, StopReplicaResponsePartitionError,
};
use crate::wire::message::update_metadata::{
    UpdateMetadataRequest, UpdateMetadataRequestLiveBroker, UpdateMetadataRequestPartitionState,
    UpdateMetadataResponse,
};
use crate::wire::primitive::Uuid;

/// In place of a leader: the topic is being deleted. In place of a leader epoch: the replica goes whatever its epoch is.
pub const DURING_DELETION: i32 = -2;
/// From this version of LeaderAndIsr on the answer is grouped by topic ids.
const IDS_VERSION: i16 = 5;

/// Who speaks, and to whom.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Voice {
    pub controller: BrokerId,
    pub controller_epoch: i32,
    /// Of the broker it is meant for; -1: not said.
    pub broker_epoch: i64,
}

/// What was decided about a partition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ToldPartition {
    pub partition: i32,
    /// -1: nobody; or `DURING_DELETION`.
    pub leader: i32,
    pub leader_epoch: i32,
    pub isr: Arc<[BrokerId]>,
    pub replicas: Arc<[BrokerId]>,
    pub controller_epoch: i32,
    /// The version of its state.
    pub partition_epoch: i32,
    pub recovering: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ToldTopic {
    pub name: Arc<str>,
    /// Zero where the protocol has none.
    pub id: Uuid,
    pub partitions: Vec<ToldPartition>,
}

/// A replica that is not to serve any more.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stopped {
    pub topic: Arc<str>,
    pub partition: i32,
    /// -1: not to be checked; or `DURING_DELETION`.
    pub leader_epoch: i32,
    pub delete: bool,
}

fn ids(array: &crate::wire::array::Array<'_, i32>) -> Arc<[BrokerId]> {
    array.iter().map(BrokerId).collect()
}

/// Partitions that name their topic each, grouped in the order of their first sight.
fn grouped(partitions: impl Iterator<Item = (String, ToldPartition)>) -> Vec<ToldTopic> {
    let mut topics: Vec<ToldTopic> = Vec::new();
    for (name, partition) in partitions {
        match topics.last_mut().filter(|topic| *topic.name == *name) {
            Some(topic) => topic.partitions.push(partition),
            None => match topics.iter_mut().find(|topic| *topic.name == *name) {
                Some(topic) => topic.partitions.push(partition),
                None => {
                    topics.push(ToldTopic { name: name.into(), id: Uuid::ZERO, partitions: vec![partition] })
                }
            },
        }
    }
    topics
}

pub fn leader_and_isr(request: &LeaderAndIsrRequest<'_>) -> (Voice, Vec<ToldTopic>) {
    let voice = Voice {
        controller: BrokerId(request.controller_id),
        controller_epoch: request.controller_epoch,
        broker_epoch: request.broker_epoch,
    };
    let one = |state: LeaderAndIsrRequestPartitionState<'_>| ToldPartition {
        partition: state.partition_index,
        leader: state.leader,
        leader_epoch: state.leader_epoch,
        isr: ids(&state.isr),
        replicas: ids(&state.replicas),
        controller_epoch: state.controller_epoch,
        partition_epoch: state.partition_epoch,
        recovering: state.leader_recovery_state == 1,
    };
    let named =
        request.ungrouped_partition_states.iter().map(|state| (state.topic_name.to_owned(), one(state)));
    let mut topics = grouped(named);
    topics.extend(request.topic_states.iter().map(|topic| ToldTopic {
        name: topic.topic_name.into(),
        id: topic.topic_id,
        partitions: topic.partition_states.iter().map(one).collect(),
    }));
    (voice, topics)
}

/// `outcomes`: an error of each partition, topic by topic as they were told.
pub fn answer_leader_and_isr(
    version: i16,
    error: ErrorCode,
    topics: &[ToldTopic],
    outcomes: &[Vec<ErrorCode>],
) -> Vec<u8> {
    let mut response = LeaderAndIsrResponse { error_code: error as i16, ..Default::default() };
    for (topic, outcomes) in topics.iter().zip(outcomes) {
        let row = |(told, outcome): (&ToldPartition, &ErrorCode)| LeaderAndIsrResponsePartitionError {
            topic_name: if version < IDS_VERSION { Cow::Borrowed(&*topic.name) } else { Cow::Borrowed("") },
            partition_index: told.partition,
            error_code: *outcome as i16,
        };
        let rows = topic.partitions.iter().zip(outcomes).map(row);
        if version < IDS_VERSION {
            response.partition_errors.extend(rows);
        } else {
            let partition_errors = rows.collect();
            response.topics.push(LeaderAndIsrResponseTopic { topic_id: topic.id, partition_errors });
        }
    }
    encoded(&response, version)
}

pub fn update_metadata(request: &UpdateMetadataRequest<'_>) -> (Voice, Vec<Broker>, Vec<ToldTopic>) {
    let voice = Voice {
        controller: BrokerId(request.controller_id),
        controller_epoch: request.controller_epoch,
        broker_epoch: request.broker_epoch,
    };
    let one = |state: UpdateMetadataRequestPartitionState<'_>| ToldPartition {
        partition: state.partition_index,
        leader: state.leader,
        leader_epoch: state.leader_epoch,
        isr: ids(&state.isr),
        replicas: ids(&state.replicas),
        controller_epoch: state.controller_epoch,
        partition_epoch: state.zk_version,
        recovering: false,
    };
    let named =
        request.ungrouped_partition_states.iter().map(|state| (state.topic_name.to_owned(), one(state)));
    let mut topics = grouped(named);
    topics.extend(request.topic_states.iter().map(|topic| ToldTopic {
        name: topic.topic_name.into(),
        id: topic.topic_id,
        partitions: topic.partition_states.iter().map(one).collect(),
    }));
    let mut brokers: Vec<Broker> = request.live_brokers.iter().map(broker).collect();
    brokers.sort_by_key(|broker| broker.id);
    (voice, brokers, topics)
}

fn broker(told: UpdateMetadataRequestLiveBroker<'_>) -> Broker {
    let mut endpoints: Vec<Endpoint> = told
        .endpoints
        .iter()
        .map(|endpoint| Endpoint {
            // Below version 3 a listener is named by its protocol.
            listener: match (endpoint.listener, endpoint.security_protocol) {
                ("", 1) => "SSL".into(),
                ("", 2) => "SASL_PLAINTEXT".into(),
                ("", 3) => "SASL_SSL".into(),
                ("", _) => "PLAINTEXT".into(),
                (name, _) => name.into(),
            },
            host: endpoint.host.into(),
            port: u16::try_from(endpoint.port).unwrap_or(0),
        })
        .collect();
    if endpoints.is_empty() && !told.v0_host.is_empty() {
        endpoints.push(Endpoint {
            listener: "PLAINTEXT".into(),
            host: told.v0_host.into(),
            port: u16::try_from(told.v0_port).unwrap_or(0),
        });
    }
    Broker { id: BrokerId(told.id), rack: told.rack.map(Into::into), endpoints }
}

pub fn answer_update_metadata(version: i16, error: ErrorCode) -> Vec<u8> {
    encoded(&UpdateMetadataResponse { error_code: error as i16 }, version)
}

pub fn stop_replica(request: &StopReplicaRequest<'_>) -> (Voice, Vec<Stopped>) {
    let voice = Voice {
        controller: BrokerId(request.controller_id),
        controller_epoch: request.controller_epoch,
        broker_epoch: request.broker_epoch,
    };
    let plain = |topic: &str, partition| Stopped {
        topic: topic.into(),
        partition,
        leader_epoch: -1,
        delete: request.delete_partitions,
    };
    let mut stopped: Vec<Stopped> =
        request.ungrouped_partitions.iter().map(|one| plain(one.topic_name, one.partition_index)).collect();
    for topic in request.topics.iter() {
        stopped.extend(topic.partition_indexes.iter().map(|partition| plain(topic.name, partition)));
    }
    for topic in request.topic_states.iter() {
        let name: Arc<str> = topic.topic_name.into();
        stopped.extend(topic.partition_states.iter().map(|state| Stopped {
            topic: name.clone(),
            partition: state.partition_index,
            leader_epoch: state.leader_epoch,
            delete: state.delete_partition,
        }));
    }
    (voice, stopped)
}

pub fn answer_stop_replica(
    version: i16,
    error: ErrorCode,
    stopped: &[Stopped],
    outcomes: &[ErrorCode],
) -> Vec<u8> {
    let rows = stopped.iter().zip(outcomes).map(|(stopped, outcome)| StopReplicaResponsePartitionError {
        topic_name: Cow::Borrowed(&*stopped.topic),
        partition_index: stopped.partition,
        error_code: *outcome as i16,
    });
    encoded(&StopReplicaResponse { error_code: error as i16, partition_errors: rows.collect() }, version)
}

fn encoded<'m>(response: &impl Message<'m>, version: i16) -> Vec<u8> {
    let mut body = Vec::new();
    response.encode(&mut body, version);
    body
}
