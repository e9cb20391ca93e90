//! The three requests by which a controller tells brokers what to do, and what brokers answer.
//!
//! In: decisions. Out: bytes at the version the protocol dictates (contract 5.9); an answer read back, by names. Requests
//! to several brokers share what they have in common, because all of them go to every broker.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::inter_broker;
use crate::config::version::Version;
use crate::controller::context::{Member, TopicPartition};
use crate::ids::BrokerId;
use crate::wire::array::Array;
use crate::wire::message::Message;
use crate::wire::message::leader_and_isr::{
    LeaderAndIsrRequest, LeaderAndIsrRequestLiveLeader, LeaderAndIsrRequestPartitionState,
    LeaderAndIsrRequestTopicState, LeaderAndIsrResponse,
};
use crate::wire::message::stop_replica::{
    StopReplicaRequest, StopReplicaRequestPartition, StopReplicaRequestPartitionState,
    StopReplicaRequestTopic, StopReplicaRequestTopicState, StopReplicaResponse,
};
use crate::wire::message::update_metadata::{
    UpdateMetadataRequest, UpdateMetadataRequestEndpoint, UpdateMetadataRequestLiveBroker,
    UpdateMetadataRequestPartitionState, UpdateMetadataRequestTopicState, UpdateMetadataResponse,
};
use crate::wire::primitive::{DecodeError, Reader, Uuid};

/// In place of a leader: none.
pub const NO_LEADER: i32 = -1;
/// In place of a leader: the topic is being deleted. Also in place of a leader epoch in StopReplica.
pub const DURING_DELETION: i32 = -2;
/// In place of a leader epoch: not to be checked.
pub const NO_EPOCH: i32 = -1;

/// What was decided about a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub at: TopicPartition,
    /// Zero below protocol 2.8.
    pub topic_id: Uuid,
    /// Of the controller that wrote the state.
    pub controller_epoch: i32,
    /// Or `NO_LEADER`, or `DURING_DELETION`.
    pub leader: i32,
    pub leader_epoch: i32,
    pub isr: Arc<[BrokerId]>,
    /// The version of the state node.
    pub partition_epoch: i32,
    pub replicas: Arc<[BrokerId]>,
    pub adding: Arc<[BrokerId]>,
    pub removing: Arc<[BrokerId]>,
    pub recovering: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaderAndIsr {
    pub controller_id: BrokerId,
    pub controller_epoch: i32,
    pub broker_epoch: i64,
    /// By topic and number; `true`: the broker shall make the replica where it has none.
    pub partitions: Vec<(Arc<Decision>, bool)>,
    /// The leaders of those partitions that live, and where brokers reach them.
    pub leaders: Vec<(BrokerId, Arc<str>, i32)>,
}

/// A partition as brokers show it to clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    pub decision: Arc<Decision>,
    pub offline: Arc<[BrokerId]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateMetadata {
    pub controller_id: BrokerId,
    pub controller_epoch: i32,
    pub broker_epoch: i64,
    /// By topic and number.
    pub partitions: Arc<[Shown]>,
    /// Stopping ones too.
    pub brokers: Arc<[Member]>,
    /// How brokers reach each other, for version 0, which knows one endpoint.
    pub inter_broker_listener: Arc<str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stop {
    /// Or `NO_EPOCH`, or `DURING_DELETION`.
    pub leader_epoch: i32,
    pub delete: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StopReplica {
    pub controller_id: BrokerId,
    pub controller_epoch: i32,
    pub broker_epoch: i64,
    /// By topic and number. Below version 3 they are all of one kind.
    pub partitions: Vec<(TopicPartition, Stop)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlRequest {
    LeaderAndIsr(LeaderAndIsr),
    UpdateMetadata(UpdateMetadata),
    StopReplica(StopReplica),
}

/// What a broker said to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Of the request, then of each partition: error codes.
    LeaderAndIsr {
        error: i16,
        partitions: Vec<(TopicPartition, i16)>,
    },
    UpdateMetadata {
        error: i16,
    },
    /// The partitions that were to be deleted, and no others. Where the request failed, all of them carry its error.
    StopReplica {
        error: i16,
        deleted: Vec<(TopicPartition, i16)>,
    },
}

impl ControlRequest {
    pub fn api_key(&self) -> i16 {
        match self {
            ControlRequest::LeaderAndIsr(_) => LeaderAndIsrRequest::KEY,
            ControlRequest::UpdateMetadata(_) => UpdateMetadataRequest::KEY,
            ControlRequest::StopReplica(_) => StopReplicaRequest::KEY,
        }
    }

    pub fn version(&self, protocol: Version) -> i16 {
        match self {
            ControlRequest::LeaderAndIsr(_) => inter_broker::leader_and_isr(protocol),
            ControlRequest::UpdateMetadata(_) => inter_broker::update_metadata(protocol),
            ControlRequest::StopReplica(_) => inter_broker::stop_replica(protocol),
        }
    }

    /// The epoch of the broker it is meant for.
    pub fn broker_epoch(&self) -> i64 {
        match self {
            ControlRequest::LeaderAndIsr(request) => request.broker_epoch,
            ControlRequest::UpdateMetadata(request) => request.broker_epoch,
            ControlRequest::StopReplica(request) => request.broker_epoch,
        }
    }

    /// Appends the body, without a header.
    pub fn encode(&self, out: &mut Vec<u8>, protocol: Version) {
        let version = self.version(protocol);
        match self {
            ControlRequest::LeaderAndIsr(request) => request.message(version).encode(out, version),
            ControlRequest::UpdateMetadata(request) => request.message(version).encode(out, version),
            ControlRequest::StopReplica(request) => request.message(version).encode(out, version),
        }
    }

    /// Reads the body of the response to this request.
    pub fn answer(&self, body: &[u8], protocol: Version) -> Result<Answer, DecodeError> {
        let version = self.version(protocol);
        let mut reader = Reader::new(body);
        match self {
            ControlRequest::LeaderAndIsr(request) => {
                let response = LeaderAndIsrResponse::decode(&mut reader, version)?;
                Ok(request.answer(&response))
            }
            ControlRequest::UpdateMetadata(_) => {
                let response = UpdateMetadataResponse::decode(&mut reader, version)?;
                Ok(Answer::UpdateMetadata { error: response.error_code })
            }
            ControlRequest::StopReplica(request) => {
                let response = StopReplicaResponse::decode(&mut reader, version)?;
                Ok(request.answer(&response))
            }
        }
    }
}

fn numbers<'a>(ids: &[BrokerId]) -> Array<'a, i32> {
    ids.iter().map(|id| id.0).collect()
}

/// Runs of entries of one topic, in entries that are sorted by it.
fn by_topic<T>(entries: &[T], topic: impl Fn(&T) -> &Arc<str>) -> impl Iterator<Item = &[T]> {
    entries.chunk_by(move |one, next| topic(one) == topic(next))
}

impl LeaderAndIsr {
    fn message(&self, version: i16) -> LeaderAndIsrRequest<'_> {
        let state = |(decision, is_new): &(Arc<Decision>, bool)| LeaderAndIsrRequestPartitionState {
            topic_name: "",
            partition_index: decision.at.partition,
            controller_epoch: decision.controller_epoch,
            leader: decision.leader,
            leader_epoch: decision.leader_epoch,
            isr: numbers(&decision.isr),
            partition_epoch: decision.partition_epoch,
            replicas: numbers(&decision.replicas),
            adding_replicas: numbers(&decision.adding),
            removing_replicas: numbers(&decision.removing),
            is_new: *is_new,
            leader_recovery_state: i8::from(decision.recovering),
        };
        let mut request = LeaderAndIsrRequest {
            controller_id: self.controller_id.0,
            controller_epoch: self.controller_epoch,
            broker_epoch: self.broker_epoch,
            ..LeaderAndIsrRequest::default()
        };
        request.live_leaders = self
            .leaders
            .iter()
            .map(|(id, host, port)| LeaderAndIsrRequestLiveLeader {
                broker_id: id.0,
                host_name: host,
                port: *port,
            })
            .collect();
        if version < 2 {
            let named = self.partitions.iter().map(|entry| LeaderAndIsrRequestPartitionState {
                topic_name: &entry.0.at.topic,
                ..state(entry)
            });
            request.ungrouped_partition_states = named.collect();
        } else {
            let topics = by_topic(&self.partitions, |(decision, _)| &decision.at.topic);
            request.topic_states = topics
                .map(|entries| LeaderAndIsrRequestTopicState {
                    topic_name: &entries[0].0.at.topic,
                    topic_id: entries[0].0.topic_id,
                    partition_states: entries.iter().map(state).collect(),
                })
                .collect();
        }
        request
    }

    fn answer(&self, response: &LeaderAndIsrResponse<'_>) -> Answer {
        let named = response.partition_errors.iter().map(|partition| {
            let at = TopicPartition::new(&*partition.topic_name, partition.partition_index);
            (at, partition.error_code)
        });
        let mut partitions: Vec<(TopicPartition, i16)> = named.collect();
        let names: BTreeMap<Uuid, &Arc<str>> =
            self.partitions.iter().map(|(decision, _)| (decision.topic_id, &decision.at.topic)).collect();
        for topic in &response.topics {
            let Some(name) = names.get(&topic.topic_id) else { continue };
            partitions.extend(topic.partition_errors.iter().map(|partition| {
                let topic = (*name).clone();
                (TopicPartition { topic, partition: partition.partition_index }, partition.error_code)
            }));
        }
        Answer::LeaderAndIsr { error: response.error_code, partitions }
    }
}

impl UpdateMetadata {
    fn message(&self, version: i16) -> UpdateMetadataRequest<'_> {
        let state = |shown: &Shown| {
            let decision = &shown.decision;
            UpdateMetadataRequestPartitionState {
                topic_name: "",
                partition_index: decision.at.partition,
                controller_epoch: decision.controller_epoch,
                leader: decision.leader,
                leader_epoch: decision.leader_epoch,
                isr: numbers(&decision.isr),
                zk_version: decision.partition_epoch,
                replicas: numbers(&decision.replicas),
                offline_replicas: numbers(&shown.offline),
            }
        };
        let broker = |member| live_broker(member, &self.inter_broker_listener);
        let mut request = UpdateMetadataRequest {
            controller_id: self.controller_id.0,
            controller_epoch: self.controller_epoch,
            broker_epoch: self.broker_epoch,
            live_brokers: self.brokers.iter().map(broker).collect(),
            ..UpdateMetadataRequest::default()
        };
        if version < 5 {
            let named = self.partitions.iter().map(|shown| UpdateMetadataRequestPartitionState {
                topic_name: &shown.decision.at.topic,
                ..state(shown)
            });
            request.ungrouped_partition_states = named.collect();
        } else {
            let topics = by_topic(&self.partitions, |shown| &shown.decision.at.topic);
            request.topic_states = topics
                .map(|entries| UpdateMetadataRequestTopicState {
                    topic_name: &entries[0].decision.at.topic,
                    topic_id: entries[0].decision.topic_id,
                    partition_states: entries.iter().map(state).collect(),
                })
                .collect();
        }
        request
    }
}

fn live_broker<'a>(member: &'a Member, inter_broker: &str) -> UpdateMetadataRequestLiveBroker<'a> {
    let between = member.listeners.iter().find(|listener| &*listener.name == inter_broker);
    UpdateMetadataRequestLiveBroker {
        id: member.id.0,
        v0_host: between.map_or("", |listener| &listener.host),
        v0_port: between.map_or(-1, |listener| listener.port),
        endpoints: member
            .listeners
            .iter()
            .map(|listener| UpdateMetadataRequestEndpoint {
                port: listener.port,
                host: &listener.host,
                listener: &listener.name,
                security_protocol: listener.security_protocol,
            })
            .collect(),
        rack: member.rack.as_deref(),
    }
}

impl StopReplica {
    fn message(&self, version: i16) -> StopReplicaRequest<'_> {
        let mut request = StopReplicaRequest {
            controller_id: self.controller_id.0,
            controller_epoch: self.controller_epoch,
            broker_epoch: self.broker_epoch,
            delete_partitions: version < 3 && self.partitions.iter().any(|(_, stop)| stop.delete),
            ..StopReplicaRequest::default()
        };
        let topics = by_topic(&self.partitions, |(at, _)| &at.topic);
        match version {
            ..=0 => {
                let all = self.partitions.iter().map(|(at, _)| StopReplicaRequestPartition {
                    topic_name: &at.topic,
                    partition_index: at.partition,
                });
                request.ungrouped_partitions = all.collect();
            }
            1..=2 => {
                let topics = topics.map(|entries| StopReplicaRequestTopic {
                    name: &entries[0].0.topic,
                    partition_indexes: entries.iter().map(|(at, _)| at.partition).collect(),
                });
                request.topics = topics.collect();
            }
            3.. => {
                let state = |(at, stop): &(TopicPartition, Stop)| StopReplicaRequestPartitionState {
                    partition_index: at.partition,
                    leader_epoch: stop.leader_epoch,
                    delete_partition: stop.delete,
                };
                let topics = topics.map(|entries| StopReplicaRequestTopicState {
                    topic_name: &entries[0].0.topic,
                    partition_states: entries.iter().map(state).collect(),
                });
                request.topic_states = topics.collect();
            }
        }
        request
    }

    fn answer(&self, response: &StopReplicaResponse<'_>) -> Answer {
        let asked = self.partitions.iter().filter(|(_, stop)| stop.delete).map(|(at, _)| at);
        let error = response.error_code;
        let said: BTreeMap<(&str, i32), i16> = response
            .partition_errors
            .iter()
            .map(|partition| ((&*partition.topic_name, partition.partition_index), partition.error_code))
            .collect();
        let deleted = asked.map(|at| {
            // A broker that says nothing of a partition has nothing against it.
            let of_partition = said.get(&(&*at.topic, at.partition)).copied().unwrap_or(0);
            (at.clone(), if error != 0 { error } else { of_partition })
        });
        Answer::StopReplica { error, deleted: deleted.collect() }
    }
}
