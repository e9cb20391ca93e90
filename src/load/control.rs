//! The blocking side of a run: versions, topics, producer ids and offsets, before and after the load.
//!
//! In: one request at a time. Out: its answer, or which step of which topic failed and why.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::load::LoadError;
use crate::load::plan::{Plan, Topic};
use crate::wire::array::Array;
use crate::wire::error_code::ErrorCode;
use crate::wire::header::{ResponseHeader, put_request};
use crate::wire::message::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use crate::wire::message::create_topics::{
    CreateTopicsRequest, CreateTopicsRequestConfig, CreateTopicsRequestTopic, CreateTopicsResponse,
};
use crate::wire::message::delete_topics::{
    DeleteTopicsRequest, DeleteTopicsRequestTopic, DeleteTopicsResponse,
};
use crate::wire::message::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use crate::wire::message::list_offsets::{
    ListOffsetsRequest, ListOffsetsRequestPartition, ListOffsetsRequestTopic, ListOffsetsResponse,
};
use crate::wire::message::metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponse};
use crate::wire::message::{Message, Request};
use crate::wire::primitive::Reader;
use crate::wire::version::ApiKey;

/// The client id of all our connections.
pub const CLIENT_ID: &str = "ringdaw-load";

/// How long a topic may take to appear or to get its leaders.
const TOPIC_READY_MAX: Duration = Duration::from_secs(60);
/// An answer longer than this is none.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// One connection, one request at a time.
#[derive(Debug)]
pub struct Control {
    stream: TcpStream,
    correlation_id: i32,
    versions: Versions,
}

/// What the broker speaks of what we use.
#[derive(Clone, Debug, Default)]
pub struct Versions(Vec<(i16, i16, i16)>);

impl Versions {
    /// The highest version of `key` that the broker serves within `ours`.
    pub fn pick(&self, key: ApiKey, ours: std::ops::RangeInclusive<i16>) -> Result<i16, LoadError> {
        let found = self.0.iter().find(|(number, ..)| *number == key as i16);
        let Some((_, min, max)) = found else {
            return Err(LoadError::Protocol {
                what: "ApiVersions".into(),
                reason: format!("the broker does not serve {}", key.api().name),
            });
        };
        let version = *ours.end().min(max);
        if version < *ours.start() || version < *min {
            return Err(LoadError::Protocol {
                what: "ApiVersions".into(),
                reason: format!(
                    "the broker serves {} {min} to {max}, the generator speaks {} to {}",
                    key.api().name,
                    ours.start(),
                    ours.end()
                ),
            });
        }
        Ok(version)
    }
}

fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> LoadError {
    let what = what.into();
    move |source| LoadError::Io { what, source }
}

fn refused(api: &'static str, what: &str, code: i16) -> LoadError {
    LoadError::Refused { api, what: what.into(), code: ErrorCode::from_code(code) }
}

impl Control {
    /// Connects and learns the broker's versions.
    pub fn connect(address: SocketAddr, answer_max: Duration) -> Result<Control, LoadError> {
        let stream = TcpStream::connect_timeout(&address, answer_max)
            .map_err(io(format!("connecting to {address}")))?;
        stream.set_nodelay(true).map_err(io("TCP_NODELAY"))?;
        // Creating thousands of partitions takes a broker longer than any answer within the load.
        let patience = Some(answer_max.max(TOPIC_READY_MAX));
        stream.set_read_timeout(patience).map_err(io("a read timeout"))?;
        stream.set_write_timeout(patience).map_err(io("a write timeout"))?;
        let mut control = Control { stream, correlation_id: 0, versions: Versions::default() };
        // Version 0 is understood by every broker, and its answer says all we need.
        let frame = control.ask(0, &ApiVersionsRequest::default())?;
        let answer: ApiVersionsResponse<'_> = decode(&frame, ApiKey::ApiVersions, 0)?;
        if answer.error_code != 0 {
            return Err(refused("ApiVersions", &address.to_string(), answer.error_code));
        }
        let versions = answer.api_keys.iter().map(|key| (key.api_key, key.min_version, key.max_version));
        control.versions = Versions(versions.collect());
        Ok(control)
    }

    pub fn versions(&self) -> &Versions {
        &self.versions
    }

    fn ask<'r, R: Request<'r>>(&mut self, version: i16, request: &R) -> Result<Vec<u8>, LoadError> {
        let name = ApiKey::from_key(R::KEY).map_or("a request", |key| key.api().name);
        self.correlation_id += 1;
        let mut out = Vec::new();
        put_request(&mut out, version, self.correlation_id, Some(CLIENT_ID), request);
        self.stream.write_all(&out).map_err(io(format!("sending {name}")))?;
        let mut size = [0; 4];
        self.stream.read_exact(&mut size).map_err(io(format!("waiting for the answer to {name}")))?;
        let size = i32::from_be_bytes(size);
        let length =
            usize::try_from(size).ok().filter(|length| *length <= ANSWER_BYTES_MAX).ok_or_else(|| {
                LoadError::Protocol {
                    what: name.into(),
                    reason: format!("the answer announces {size} bytes"),
                }
            })?;
        let mut frame = vec![0; length];
        self.stream.read_exact(&mut frame).map_err(io(format!("reading the answer to {name}")))?;
        let found = frame.first_chunk().map(|bytes| i32::from_be_bytes(*bytes));
        if found != Some(self.correlation_id) {
            return Err(LoadError::Protocol {
                what: name.into(),
                reason: format!(
                    "the answer has correlation id {found:?}, asked with {}",
                    self.correlation_id
                ),
            });
        }
        Ok(frame)
    }

    /// Creates the topic and waits until all its partitions are led by this broker.
    pub fn create_topic(&mut self, topic: &Topic) -> Result<(), LoadError> {
        let version = self.versions.pick(ApiKey::CreateTopics, 0..=4)?;
        let configs: Vec<CreateTopicsRequestConfig<'_>> = topic
            .config
            .iter()
            .map(|(name, value)| CreateTopicsRequestConfig { name, value: Some(value) })
            .collect();
        let request = CreateTopicsRequest {
            topics: Array::from([CreateTopicsRequestTopic {
                name: &topic.name,
                num_partitions: topic.partitions as i32,
                replication_factor: topic.replicas,
                configs: configs.into(),
                ..Default::default()
            }]),
            timeout_ms: TOPIC_READY_MAX.as_millis() as i32,
            validate_only: false,
        };
        let frame = self.ask(version, &request)?;
        let answer: CreateTopicsResponse<'_> = decode(&frame, ApiKey::CreateTopics, version)?;
        match answer.topics.first() {
            Some(answer) if answer.error_code == 0 => Ok(()),
            // The topic exists then, and its leaders come: `wait_for_leaders` sees them.
            Some(answer) if answer.error_code == ErrorCode::RequestTimedOut.code() => Ok(()),
            Some(answer) => Err(refused("CreateTopics", &topic.name, answer.error_code)),
            None => {
                Err(LoadError::Protocol { what: "CreateTopics".into(), reason: "an empty answer".into() })
            }
        }
    }

    /// Waits until every partition of the topic has a leader, and that leader is one broker.
    pub fn wait_for_leaders(&mut self, topic: &Topic) -> Result<(), LoadError> {
        let version = self.versions.pick(ApiKey::Metadata, 1..=8)?;
        let began = Instant::now();
        loop {
            let name = MetadataRequestTopic { name: Some(&topic.name), ..Default::default() };
            let request = MetadataRequest {
                topics: Some(Array::from([name])),
                allow_auto_topic_creation: false,
                ..Default::default()
            };
            let frame = self.ask(version, &request)?;
            let answer: MetadataResponse<'_> = decode(&frame, ApiKey::Metadata, version)?;
            let found = answer.topics.first();
            let code = found.map_or(ErrorCode::UnknownTopicOrPartition.code(), |found| found.error_code);
            let led = found.map_or(0, |found| {
                found.partitions.iter().filter(|p| p.error_code == 0 && p.leader_id >= 0).count()
            });
            if code == 0 && led >= topic.partitions as usize {
                let partitions = &found.expect("a topic was counted").partitions;
                if partitions.len() != topic.partitions as usize {
                    return Err(LoadError::Plan(format!(
                        "topic {} has {} partitions, the plan says {}",
                        topic.name,
                        partitions.len(),
                        topic.partitions
                    )));
                }
                let leader = partitions[0].leader_id;
                if let Some(other) = partitions.iter().find(|partition| partition.leader_id != leader) {
                    return Err(LoadError::Plan(format!(
                        "topic {} is led by brokers {leader} and {}: the generator loads one broker",
                        topic.name, other.leader_id
                    )));
                }
                return Ok(());
            }
            let lasting = !ErrorCode::from_code(code).is_retriable() && code != 0;
            if lasting {
                return Err(refused("Metadata", &topic.name, code));
            }
            if began.elapsed() > TOPIC_READY_MAX {
                return Err(LoadError::Timeout {
                    what: format!(
                        "topic {}: {led} of {} partitions have a leader",
                        topic.name, topic.partitions
                    ),
                    seconds: TOPIC_READY_MAX.as_secs(),
                });
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Deletes the topic and waits until the broker knows nothing of it.
    pub fn delete_topic(&mut self, name: &str) -> Result<(), LoadError> {
        let version = self.versions.pick(ApiKey::DeleteTopics, 0..=5)?;
        let request = DeleteTopicsRequest {
            topics: Array::from([DeleteTopicsRequestTopic { name: Some(name), ..Default::default() }]),
            topic_names: Array::from([name]),
            timeout_ms: TOPIC_READY_MAX.as_millis() as i32,
        };
        let frame = self.ask(version, &request)?;
        let answer: DeleteTopicsResponse<'_> = decode(&frame, ApiKey::DeleteTopics, version)?;
        let code = answer.responses.first().map_or(0, |answer| answer.error_code);
        let gone = [0, ErrorCode::UnknownTopicOrPartition.code(), ErrorCode::RequestTimedOut.code()];
        if !gone.contains(&code) {
            return Err(refused("DeleteTopics", name, code));
        }
        let began = Instant::now();
        let version = self.versions.pick(ApiKey::Metadata, 1..=8)?;
        while began.elapsed() < TOPIC_READY_MAX {
            let topic = MetadataRequestTopic { name: Some(name), ..Default::default() };
            let request = MetadataRequest {
                topics: Some(Array::from([topic])),
                allow_auto_topic_creation: false,
                ..Default::default()
            };
            let frame = self.ask(version, &request)?;
            let answer: MetadataResponse<'_> = decode(&frame, ApiKey::Metadata, version)?;
            match answer.topics.first() {
                Some(found) if found.error_code == 0 && !found.partitions.is_empty() => {}
                _ => return Ok(()),
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(LoadError::Timeout { what: format!("deleting topic {name}"), seconds: TOPIC_READY_MAX.as_secs() })
    }

    /// A producer id and its epoch.
    pub fn producer_id(&mut self) -> Result<(i64, i16), LoadError> {
        let version = self.versions.pick(ApiKey::InitProducerId, 0..=4)?;
        let request = InitProducerIdRequest {
            transactional_id: None,
            transaction_timeout_ms: 60_000,
            producer_id: -1,
            producer_epoch: -1,
        };
        let began = Instant::now();
        loop {
            let frame = self.ask(version, &request)?;
            let answer: InitProducerIdResponse = decode(&frame, ApiKey::InitProducerId, version)?;
            let code = ErrorCode::from_code(answer.error_code);
            match answer.error_code {
                0 => return Ok((answer.producer_id, answer.producer_epoch)),
                _ if code.is_retriable() && began.elapsed() < TOPIC_READY_MAX => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                code => return Err(refused("InitProducerId", "the generator", code)),
            }
        }
    }

    /// The next offset of every partition (`latest`), or the first one there is. A broker whose metadata name a new
    /// leader before the leader knows is asked again for a while.
    pub fn offsets(&mut self, topic: &Topic, latest: bool) -> Result<Vec<i64>, LoadError> {
        let began = Instant::now();
        loop {
            match self.offsets_once(topic, latest) {
                Err(LoadError::Refused { code, .. })
                    if code.is_retriable() && began.elapsed() < TOPIC_READY_MAX =>
                {
                    std::thread::sleep(Duration::from_millis(20));
                }
                answered => return answered,
            }
        }
    }

    fn offsets_once(&mut self, topic: &Topic, latest: bool) -> Result<Vec<i64>, LoadError> {
        let version = self.versions.pick(ApiKey::ListOffsets, 1..=5)?;
        let mut offsets = vec![-1; topic.partitions as usize];
        let timestamp = if latest { -1 } else { -2 };
        // Pieces, so that no broker's limit on one request is met with very many partitions.
        for first in (0..topic.partitions).step_by(2_000) {
            let partitions = (first..topic.partitions.min(first + 2_000))
                .map(|partition| ListOffsetsRequestPartition {
                    partition_index: partition as i32,
                    timestamp,
                    ..Default::default()
                })
                .collect();
            let request = ListOffsetsRequest {
                replica_id: -1,
                isolation_level: 0,
                topics: Array::from([ListOffsetsRequestTopic { name: &topic.name, partitions }]),
            };
            let frame = self.ask(version, &request)?;
            let answer: ListOffsetsResponse<'_> = decode(&frame, ApiKey::ListOffsets, version)?;
            for partition in answer.topics.iter().flat_map(|topic| &topic.partitions) {
                let place =
                    usize::try_from(partition.partition_index).ok().and_then(|at| offsets.get_mut(at));
                match place {
                    Some(place) if partition.error_code == 0 => *place = partition.offset,
                    Some(_) => return Err(refused("ListOffsets", &topic.name, partition.error_code)),
                    None => {}
                }
            }
        }
        if let Some(missing) = offsets.iter().position(|offset| *offset < 0) {
            return Err(LoadError::Protocol {
                what: format!("ListOffsets of {}", topic.name),
                reason: format!("the answer lacks partition {missing}"),
            });
        }
        Ok(offsets)
    }
}

/// Creates and opens the topic of a plan; returns the connection.
pub fn prepare(plan: &Plan) -> Result<Control, LoadError> {
    let mut control = Control::connect(plan.address, plan.answer_max)?;
    if plan.topic.create {
        control.create_topic(&plan.topic)?;
    }
    control.wait_for_leaders(&plan.topic)?;
    Ok(control)
}

fn decode<'a, M: Message<'a>>(frame: &'a [u8], key: ApiKey, version: i16) -> Result<M, LoadError> {
    let mut reader = Reader::new(frame);
    let body =
        ResponseHeader::decode(&mut reader, key, version).and_then(|_| M::decode(&mut reader, version));
    body.map_err(|error| LoadError::Protocol {
        what: format!("the answer to {} {version}", key.api().name),
        reason: error.to_string(),
    })
}
