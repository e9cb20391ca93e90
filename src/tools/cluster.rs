//! A cluster as the tools see it: its brokers, topics, leaders and coordinators, and what is asked again.
//!
//! In: a client. Out: facts, each from the broker that knows it. An answer that says "not yet" or "not here" is asked for
//! again until the client's timeout ends; all others are final.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::{Duration, Instant};

use super::client::{Client, ClientError, Connection};
use crate::wire::error_code::ErrorCode;
use crate::wire::message::find_coordinator::FindCoordinatorRequest;
use crate::wire::message::list_offsets::{
    ListOffsetsRequest, ListOffsetsRequestPartition, ListOffsetsRequestTopic,
};
use crate::wire::message::metadata::{MetadataRequest, MetadataRequestTopic};
use crate::wire::message::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use crate::wire::message::offset_fetch::{OffsetFetchRequest, OffsetFetchRequestGroup};
use crate::wire::primitive::Uuid;

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(50);

/// Special timestamps of ListOffsets.
pub const LATEST: i64 = -1;
pub const EARLIEST: i64 = -2;

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    pub topic: String,
    pub partition: i32,
}

impl TopicPartition {
    pub fn new(topic: impl Into<String>, partition: i32) -> TopicPartition {
        TopicPartition { topic: topic.into(), partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    pub id: i32,
    pub host: String,
    pub port: i32,
}

impl Broker {
    /// `host:port`
    pub fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

/// Of each partition, by number, the leader's address; none while it has no leader.
pub type Leaders = BTreeMap<i32, Option<String>>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    pub id: Uuid,
    pub leaders: Leaders,
}

/// Which kind of coordinator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Group = 0,
}

/// Groups what is asked of each topic, in the order topics come first.
pub fn by_topic<T>(items: impl IntoIterator<Item = (TopicPartition, T)>) -> Vec<(String, Vec<(i32, T)>)> {
    let mut topics: Vec<(String, Vec<(i32, T)>)> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for (at, item) in items {
        let place = *places.entry(at.topic.clone()).or_insert_with(|| {
            topics.push((at.topic, Vec::new()));
            topics.len() - 1
        });
        topics[place].1.push((at.partition, item));
    }
    topics
}

fn refused(what: impl Into<String>, code: i16) -> ClientError {
    ClientError::Refused { what: what.into(), code: ErrorCode::from_code(code) }
}

/// In whose name offsets are committed.
pub struct Committer<'a> {
    pub group: &'a str,
    /// -1 and an empty id: nobody's, which only a group without members takes.
    pub generation: i32,
    pub member: &'a str,
    pub instance: Option<&'a str>,
}

impl Committer<'_> {
    /// Asks the coordinator to keep offsets; the first error code of its answer, or 0.
    pub fn commit(
        &self,
        connection: &mut Connection,
        offsets: &[(TopicPartition, i64)],
    ) -> Result<i16, ClientError> {
        let topics = by_topic(offsets.iter().cloned());
        let topics = topics.iter().map(|(name, partitions)| OffsetCommitRequestTopic {
            name,
            partitions: partitions
                .iter()
                .map(|(partition_index, offset)| OffsetCommitRequestPartition {
                    partition_index: *partition_index,
                    committed_offset: *offset,
                    committed_leader_epoch: -1,
                    commit_timestamp: -1,
                    committed_metadata: Some(""),
                })
                .collect(),
        });
        let request = OffsetCommitRequest {
            group_id: self.group,
            generation_id_or_member_epoch: self.generation,
            member_id: self.member,
            group_instance_id: self.instance,
            retention_time_ms: -1,
            topics: topics.collect(),
        };
        connection.call(&request, |response| {
            let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
            partitions.map(|partition| partition.error_code).find(|code| *code != 0).unwrap_or(0)
        })
    }
}

impl Client {
    /// Asks until `ask` has an answer, or fails with what stood in its way last.
    pub fn until_answered<T>(
        &mut self,
        mut ask: impl FnMut(&mut Client) -> Result<Result<T, ClientError>, ClientError>,
    ) -> Result<T, ClientError> {
        let deadline = Instant::now() + self.timeout;
        loop {
            match ask(self)? {
                Ok(answer) => return Ok(answer),
                Err(not_yet) if Instant::now() >= deadline => return Err(not_yet),
                Err(_) => std::thread::sleep(PAUSE),
            }
        }
    }

    /// All brokers, by id.
    pub fn brokers(&mut self) -> Result<Vec<Broker>, ClientError> {
        let none = MetadataRequest { topics: Some(Default::default()), ..Default::default() };
        let mut brokers = self.any().call(&none, |response| {
            let brokers = response.brokers.iter();
            brokers
                .map(|b| Broker { id: b.node_id, host: b.host.clone().into_owned(), port: b.port })
                .collect::<Vec<_>>()
        })?;
        brokers.sort_by_key(|broker| broker.id);
        Ok(brokers)
    }

    /// Partitions and leaders of topics, or the error code of a topic.
    pub fn leaders(
        &mut self,
        topics: &[&str],
        create: bool,
    ) -> Result<HashMap<String, Result<Topic, i16>>, ClientError> {
        let asked = topics.iter().map(|name| MetadataRequestTopic { name: Some(name), ..Default::default() });
        let request = MetadataRequest {
            topics: Some(asked.collect()),
            allow_auto_topic_creation: create,
            ..Default::default()
        };
        self.any().call(&request, |response| {
            let addresses: HashMap<i32, String> =
                response.brokers.iter().map(|b| (b.node_id, format!("{}:{}", b.host, b.port))).collect();
            let topics = response.topics.iter().filter_map(|topic| {
                let found = if topic.error_code == 0 {
                    let partitions = topic.partitions.iter();
                    {
                        let leaders =
                            partitions.map(|p| (p.partition_index, addresses.get(&p.leader_id).cloned()));
                        Ok(Topic { id: topic.topic_id, leaders: leaders.collect() })
                    }
                } else {
                    Err(topic.error_code)
                };
                Some((topic.name.as_deref()?.to_owned(), found))
            });
            topics.collect()
        })
    }

    /// Every topic, and whether it is one of Kafka's own; by name.
    pub fn all_topics(&mut self) -> Result<Vec<(String, bool)>, ClientError> {
        // Version 0 knows no null list; its empty one means all.
        let none = self.any().version::<MetadataRequest<'_>>()? == 0;
        let request = MetadataRequest {
            topics: none.then(Default::default),
            allow_auto_topic_creation: false,
            ..Default::default()
        };
        let mut topics: Vec<(String, bool)> = self.any().call(&request, |response| {
            let topics = response.topics.iter();
            topics.filter_map(|t| Some((t.name.as_deref()?.to_owned(), t.is_internal))).collect()
        })?;
        topics.sort();
        Ok(topics)
    }

    /// The committed offsets of a group, in the order the coordinator gave them, or the group's error code.
    pub fn committed(&mut self, group: &str) -> Result<Result<Vec<(TopicPartition, i64)>, i16>, ClientError> {
        let (code, offsets) = self.at_coordinator(group, |connection| {
            let all = OffsetFetchRequestGroup { group_id: group, ..Default::default() };
            let request = OffsetFetchRequest {
                group_id: group,
                topics: None,
                groups: vec![all].into(),
                require_stable: false,
            };
            connection.call(&request, |response| {
                let (code, topics) = match response.groups.first() {
                    Some(found) => (found.error_code, &found.topics),
                    None => (response.error_code, &response.topics),
                };
                let rows = topics.iter().flat_map(|topic| {
                    let kept =
                        topic.partitions.iter().filter(|p| p.error_code == 0 && p.committed_offset >= 0);
                    kept.map(|p| (TopicPartition::new(&*topic.name, p.partition_index), p.committed_offset))
                });
                (code, rows.collect::<Vec<_>>())
            })
        })?;
        Ok(if code == 0 { Ok(offsets) } else { Err(code) })
    }

    /// The broker that keeps `key`, such as a group.
    pub fn coordinator(&mut self, key: &str, kind: Kind) -> Result<Broker, ClientError> {
        self.until_answered(|client| {
            let request =
                FindCoordinatorRequest { key, key_type: kind as i8, coordinator_keys: vec![key].into() };
            let (code, found) =
                client.any().call(&request, |response| match response.coordinators.first() {
                    Some(c) => (
                        c.error_code,
                        Broker { id: c.node_id, host: c.host.clone().into_owned(), port: c.port },
                    ),
                    None => {
                        let host = response.host.clone().into_owned();
                        (response.error_code, Broker { id: response.node_id, host, port: response.port })
                    }
                })?;
            Ok(match ErrorCode::from_code(code) {
                ErrorCode::None => Ok(found),
                again @ (ErrorCode::CoordinatorNotAvailable | ErrorCode::CoordinatorLoadInProgress) => {
                    Err(ClientError::Refused { what: format!("the coordinator of '{key}'"), code: again })
                }
                _ => return Err(refused(format!("the coordinator of '{key}'"), code)),
            })
        })
    }

    /// Asks the coordinator of a group, and another one while that one is loading or was replaced. `ask` returns the
    /// error code of the group with what it read.
    pub fn at_coordinator<T>(
        &mut self,
        group: &str,
        mut ask: impl FnMut(&mut Connection) -> Result<(i16, T), ClientError>,
    ) -> Result<(i16, T), ClientError> {
        self.until_answered(|client| {
            let address = client.coordinator(group, Kind::Group)?.address();
            let (code, answer) = ask(client.to(&address)?)?;
            Ok(match ErrorCode::from_code(code) {
                again @ (ErrorCode::CoordinatorNotAvailable
                | ErrorCode::CoordinatorLoadInProgress
                | ErrorCode::NotCoordinator) => {
                    Err(ClientError::Refused { what: format!("group '{group}'"), code: again })
                }
                _ => Ok((code, answer)),
            })
        })
    }

    /// For each partition its first offset at or after `timestamp`, which may be `EARLIEST` or `LATEST`; -1 where there
    /// is none, or the error code of the partition.
    pub fn offsets(
        &mut self,
        wanted: &[(TopicPartition, i64)],
        isolation_level: i8,
    ) -> Result<HashMap<TopicPartition, Result<i64, i16>>, ClientError> {
        let mut found = HashMap::new();
        if wanted.is_empty() {
            return Ok(found);
        }
        self.until_answered(|client| {
            let left: Vec<_> = wanted.iter().filter(|(at, _)| !found.contains_key(at)).collect();
            let mut names: Vec<&str> = left.iter().map(|(at, _)| &*at.topic).collect();
            names.sort_unstable();
            names.dedup();
            let leaders = client.leaders(&names, false)?;
            let mut asked: BTreeMap<&str, Vec<(TopicPartition, i64)>> = BTreeMap::new();
            let mut missing = None;
            for (at, timestamp) in left {
                let leader = match leaders.get(&at.topic) {
                    Some(Ok(topic)) => topic.leaders.get(&at.partition),
                    Some(Err(code)) if ErrorCode::from_code(*code) == ErrorCode::LeaderNotAvailable => {
                        Some(&None)
                    }
                    Some(Err(code)) => {
                        found.insert(at.clone(), Err(*code));
                        continue;
                    }
                    None => None,
                };
                match leader {
                    Some(Some(address)) => {
                        asked.entry(address).or_default().push((at.clone(), *timestamp));
                    }
                    Some(None) => missing = Some((at.clone(), ErrorCode::LeaderNotAvailable)),
                    None => {
                        found.insert(at.clone(), Err(ErrorCode::UnknownTopicOrPartition as i16));
                    }
                }
            }
            for (address, partitions) in asked {
                let topics = by_topic(partitions);
                let topics = topics.iter().map(|(name, partitions)| ListOffsetsRequestTopic {
                    name,
                    partitions: partitions
                        .iter()
                        .map(|(partition_index, timestamp)| ListOffsetsRequestPartition {
                            partition_index: *partition_index,
                            current_leader_epoch: -1,
                            timestamp: *timestamp,
                            max_num_offsets: 1,
                        })
                        .collect(),
                });
                let request =
                    ListOffsetsRequest { replica_id: -1, isolation_level, topics: topics.collect() };
                client.to(address)?.call(&request, |response| {
                    for topic in &response.topics {
                        for partition in &topic.partitions {
                            let at = TopicPartition::new(&*topic.name, partition.partition_index);
                            let offset = partition.old_style_offsets.first().copied();
                            let code = ErrorCode::from_code(partition.error_code);
                            match code {
                                ErrorCode::None => {
                                    found.insert(at, Ok(offset.unwrap_or(partition.offset)));
                                }
                                ErrorCode::NotLeaderOrFollower
                                | ErrorCode::LeaderNotAvailable
                                | ErrorCode::OffsetNotAvailable => missing = Some((at, code)),
                                _ => {
                                    found.insert(at, Err(partition.error_code));
                                }
                            }
                        }
                    }
                })?;
            }
            Ok(match missing {
                None => Ok(()),
                Some((at, code)) => Err(ClientError::Refused { what: format!("offsets of {at}"), code }),
            })
        })?;
        Ok(found)
    }
}
