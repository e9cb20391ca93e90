//! Metadata (key 3): brokers, topics and who leads their partitions (contract 1.3).
//!
//! In: the topics asked for, by name or by id, all of them, or none. Out: what the image says of each, once however
//! often it was asked for. Names that do not exist yet and may be created go to the control thread first; the answer
//! then names their leaders, so that the client need not ask again.

use hashbrown::{HashMap, HashSet};

use crate::api::admin::Context;
use crate::ids::BrokerId;
use crate::metadata::fresh_id::told;
use crate::metadata::{Cluster, Partition, Topic, topic_name};
use crate::wire::error_code::ErrorCode;
use crate::wire::message::Message;
use crate::wire::message::metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataResponseBroker,
    MetadataResponsePartition, MetadataResponseTopic,
};
use crate::wire::primitive::Uuid;

/// Without an authorizer everybody may do all there is to do, as bits of the operations' numbers:
/// read 3, write 4, create 5, delete 6, alter 7, describe 8, describe configs 10, alter configs 11.
pub const TOPIC_OPERATIONS: i32 = 0b1101_1111_1000;
/// Create 5, alter 7, describe 8, cluster action 9, describe configs 10, alter configs 11, idempotent write 12.
pub const CLUSTER_OPERATIONS: i32 = 0b1_1111_1010_0000;

/// Why names that do not exist were not created.
#[derive(Clone, Debug, Default)]
pub struct NotCreated {
    by_name: HashMap<String, ErrorCode>,
    all: Option<ErrorCode>,
}

impl NotCreated {
    /// The same reason for every name that could have been created.
    pub fn all(code: ErrorCode) -> NotCreated {
        NotCreated { by_name: HashMap::new(), all: Some(code) }
    }

    pub fn insert(&mut self, name: &str, code: ErrorCode) {
        self.by_name.insert(name.to_owned(), code);
    }

    fn of(&self, name: &str) -> ErrorCode {
        self.by_name.get(name).copied().or(self.all).unwrap_or(ErrorCode::UnknownTopicOrPartition)
    }
}

/// True when an answer should wait for the control thread to create something.
pub fn creates_topics(ctx: &Context<'_>, request: &MetadataRequest<'_>, version: i16) -> bool {
    names_to_create(ctx, request, version).next().is_some()
}

/// The names asked for that do not exist and may be created by asking, as often as they were asked for. The topic that keeps
/// groups is made whatever `auto.create.topics.enable` says (contract 1.3); that of transactions is left to its coordinator.
pub fn names_to_create<'s, 'a: 's>(
    ctx: &'s Context<'_>,
    request: &'s MetadataRequest<'a>,
    version: i16,
) -> impl Iterator<Item = &'a str> + 's {
    let may =
        request.allow_auto_topic_creation && !asks_by_id(request) && malformed(request, version).is_none();
    let topics = request.topics.as_ref().filter(|_| may);
    topics.into_iter().flat_map(|topics| topics.iter()).filter_map(|topic| topic.name).filter(|name| {
        let wanted = match *name {
            topic_name::OFFSETS => true,
            topic_name::TRANSACTIONS => false,
            _ => ctx.config.auto_create_topics_enable,
        };
        wanted && ctx.image.topic(name).is_none() && topic_name::check(name).is_ok()
    })
}

pub fn respond(
    ctx: &Context<'_>,
    request: &MetadataRequest<'_>,
    version: i16,
    not_created: &NotCreated,
) -> Vec<u8> {
    let response = match malformed(request, version) {
        Some(code) => refused(request, code),
        None => answer(ctx, request, version, not_created),
    };
    let mut body = Vec::with_capacity(response.size(version));
    response.encode(&mut body, version);
    body
}

/// Ids and null names have a place in versions 10 and 11, but no meaning yet.
fn malformed(request: &MetadataRequest<'_>, version: i16) -> Option<ErrorCode> {
    let topics = request.topics.as_ref()?;
    let wrong = version < 12 && topics.iter().any(|topic| topic.name.is_none() || !topic.topic_id.is_zero());
    wrong.then_some(ErrorCode::InvalidRequest)
}

/// One id is enough: names beside it are not looked at, as in Kafka.
fn asks_by_id(request: &MetadataRequest<'_>) -> bool {
    request.topics.as_ref().is_some_and(|topics| topics.iter().any(|topic| !topic.topic_id.is_zero()))
}

fn refused<'a>(request: &MetadataRequest<'a>, code: ErrorCode) -> MetadataResponse<'a> {
    let topics = request.topics.iter().flat_map(|topics| topics.iter());
    let refused = |topic: MetadataRequestTopic<'a>| MetadataResponseTopic {
        error_code: code as i16,
        name: Some(topic.name.unwrap_or("").into()),
        topic_id: topic.topic_id,
        ..Default::default()
    };
    MetadataResponse { topics: topics.map(refused).collect(), ..Default::default() }
}

fn answer<'a>(
    ctx: &Context<'a>,
    request: &MetadataRequest<'a>,
    version: i16,
    not_created: &NotCreated,
) -> MetadataResponse<'a> {
    let cluster = ctx.image.cluster();
    let writer = Writer { ctx, version, with_operations: request.include_topic_authorized_operations };
    let wanted = request.topics.as_ref().filter(|topics| version > 0 || !topics.is_empty());
    let topics = match wanted {
        None => ctx.image.topics().map(|topic| writer.topic(topic)).collect(),
        Some(topics) if asks_by_id(request) => {
            let mut seen: HashSet<Uuid> = HashSet::new();
            let ids = topics.iter().map(|topic| topic.topic_id).filter(|id| !id.is_zero());
            ids.filter(|id| seen.insert(*id)).map(|id| writer.topic_by_id(id)).collect()
        }
        Some(topics) => {
            let mut seen: HashSet<&str> = HashSet::new();
            let names = topics.iter().filter_map(|topic| topic.name);
            names.filter(|name| seen.insert(name)).map(|name| writer.topic_named(name, not_created)).collect()
        }
    };
    let brokers = cluster.brokers.iter().filter_map(|broker| {
        let endpoint = broker.endpoint(ctx.listener)?;
        Some(MetadataResponseBroker {
            node_id: broker.id.0,
            host: (&*endpoint.host).into(),
            port: endpoint.port.into(),
            rack: broker.rack.as_deref().map(Into::into),
        })
    });
    MetadataResponse {
        throttle_time_ms: 0,
        brokers: brokers.collect(),
        cluster_id: Some((&*cluster.id).into()),
        controller_id: cluster.controller.map_or(-1, |id| id.0),
        topics,
        cluster_authorized_operations: if request.include_cluster_authorized_operations {
            CLUSTER_OPERATIONS
        } else {
            i32::MIN
        },
    }
}

struct Writer<'s, 'a> {
    ctx: &'s Context<'a>,
    version: i16,
    with_operations: bool,
}

impl<'a> Writer<'_, 'a> {
    fn topic_named(&self, name: &'a str, not_created: &NotCreated) -> MetadataResponseTopic<'a> {
        if let Some(topic) = self.ctx.image.topic(name) {
            return self.topic(topic);
        }
        let code = match topic_name::check(name) {
            Ok(()) => not_created.of(name),
            Err(_) => ErrorCode::InvalidTopicException,
        };
        MetadataResponseTopic {
            error_code: code as i16,
            name: Some(name.into()),
            is_internal: topic_name::is_internal(name),
            ..Default::default()
        }
    }

    fn topic_by_id(&self, id: Uuid) -> MetadataResponseTopic<'a> {
        match self.ctx.image.topic_by_id(&id) {
            Some(topic) => self.topic(topic),
            None => MetadataResponseTopic {
                error_code: ErrorCode::UnknownTopicId as i16,
                name: None,
                topic_id: id,
                ..Default::default()
            },
        }
    }

    fn topic(&self, topic: &'a Topic) -> MetadataResponseTopic<'a> {
        let numbered = topic.partitions.iter().enumerate();
        MetadataResponseTopic {
            error_code: 0,
            name: Some((&*topic.name).into()),
            topic_id: told(topic.id),
            is_internal: topic.is_internal,
            partitions: numbered
                .map(|(number, partition)| self.partition(number as i32, partition))
                .collect(),
            topic_authorized_operations: if self.with_operations { TOPIC_OPERATIONS } else { i32::MIN },
        }
    }

    fn partition(&self, number: i32, partition: &Partition) -> MetadataResponsePartition {
        let cluster = self.ctx.image.cluster();
        let leader_here = partition.leader.map(|leader| is_reachable(cluster, leader, self.ctx.listener));
        let (code, leader) = match (leader_here, partition.leader) {
            (Some(true), Some(leader)) => (ErrorCode::None, leader.0),
            (Some(false), _) if self.version >= 6 => (ErrorCode::ListenerNotFound, -1),
            (_, _) => (ErrorCode::LeaderNotAvailable, -1),
        };
        let alive = |id: &BrokerId| is_reachable(cluster, *id, self.ctx.listener);
        let ids = |ids: &[BrokerId], only_alive: bool| -> Vec<i32> {
            ids.iter().filter(|id| !only_alive || alive(id)).map(|id| id.0).collect()
        };
        // Version 0 has no place for replicas that are away, so it leaves them out and says so.
        let v0 = self.version == 0;
        let (replicas, isr) = (ids(&partition.replicas, v0), ids(&partition.isr, v0));
        let missing = replicas.len() < partition.replicas.len() || isr.len() < partition.isr.len();
        let code = if code == ErrorCode::None && missing { ErrorCode::ReplicaNotAvailable } else { code };
        let is_offline =
            |id: &&BrokerId| !alive(id) || (**id == cluster.this_broker && partition.replica.is_none());
        MetadataResponsePartition {
            error_code: code as i16,
            partition_index: number,
            leader_id: leader,
            leader_epoch: partition.leader_epoch.0,
            replica_nodes: replicas,
            isr_nodes: isr,
            offline_replicas: partition.replicas.iter().filter(is_offline).map(|id| id.0).collect(),
        }
    }
}

fn is_reachable(cluster: &Cluster, id: BrokerId, listener: &str) -> bool {
    cluster.broker(id).is_some_and(|broker| broker.endpoint(listener).is_some())
}
