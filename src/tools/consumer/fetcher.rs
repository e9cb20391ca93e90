//! Reads partitions: from which offset on, at which leader, and what of a batch is shown.
//!
//! In: partitions with offsets. Out: records, in the order of each partition; those of aborted transactions and control
//! records are left out where read_committed is asked for. A partition whose leader moved is looked for again.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::{Duration, Instant};

use super::ConsumerSettings;
use crate::tools::client::{Client, ClientError};
use crate::tools::cluster::{EARLIEST, LATEST, TopicPartition, by_topic};
use crate::tools::{Ended, failed, java};
use crate::wire::batch::{self, Batch, BatchHeader};
use crate::wire::compression::Decompressor;
use crate::wire::error_code::ErrorCode;
use crate::wire::message::fetch::{
    FetchRequest, FetchRequestPartition, FetchRequestTopic, FetchResponsePartition,
};
use crate::wire::primitive::Uuid;
use crate::wire::record::{Record, Records};

/// What a batch may become when it is decompressed.
const PLAIN_BYTES_MAX: usize = 1 << 30;
/// How long a partition may be without a leader before that is an error.
const LEADER_MAX: Duration = Duration::from_secs(60);

/// A record with its place.
pub struct Fetched<'a> {
    pub partition: i32,
    pub batch: &'a BatchHeader,
    pub record: &'a Record<'a>,
}

/// Whether the next record is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    More,
    Enough,
}

struct Place {
    position: i64,
    leader: Option<String>,
    topic_id: Uuid,
    /// Since when it has no leader.
    lost: Option<Instant>,
}

pub struct Fetcher {
    places: BTreeMap<TopicPartition, Place>,
    wait: Duration,
    bytes_min: i32,
    bytes_max: i32,
    partition_bytes_max: i32,
    read_committed: bool,
    reset: Option<i64>,
    decompressor: Decompressor,
    plain: Vec<u8>,
    /// Which leader is asked next.
    turn: usize,
}

/// What an answer asks for besides its records.
#[derive(Default)]
struct Notes {
    moved: Vec<TopicPartition>,
    out_of_range: Vec<TopicPartition>,
    enough: bool,
}

impl Fetcher {
    pub fn new(settings: &ConsumerSettings) -> Fetcher {
        Fetcher {
            places: BTreeMap::new(),
            wait: settings.fetch_wait,
            bytes_min: settings.fetch_bytes_min,
            bytes_max: settings.fetch_bytes_max,
            partition_bytes_max: settings.partition_bytes_max,
            read_committed: settings.read_committed,
            reset: settings.reset,
            decompressor: Decompressor::new(),
            plain: Vec::new(),
            turn: 0,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    pub fn partitions(&self) -> Vec<TopicPartition> {
        self.places.keys().cloned().collect()
    }

    /// Forgets all partitions but these.
    pub fn keep(&mut self, kept: &BTreeSet<TopicPartition>) {
        self.places.retain(|at, _| kept.contains(at));
    }

    /// The next offset of each partition: also where nothing was read yet, so that who comes next begins there too.
    pub fn consumed(&self) -> Vec<(TopicPartition, i64)> {
        self.places.iter().map(|(at, place)| (at.clone(), place.position)).collect()
    }

    /// Adds partitions; `EARLIEST` and `LATEST` are looked up.
    pub fn assign(&mut self, client: &mut Client, begin: &[(TopicPartition, i64)]) -> Result<(), Ended> {
        let asked: Vec<(TopicPartition, i64)> =
            begin.iter().filter(|(_, from)| matches!(*from, EARLIEST | LATEST)).cloned().collect();
        let found = client.offsets(&asked, i8::from(self.read_committed))?;
        for (at, from) in begin {
            let position = match found.get(at) {
                Some(Ok(offset)) => *offset,
                Some(Err(code)) => return failed(format!("{at}: {}", java::exception(*code))),
                None => *from,
            };
            let place = Place { position, leader: None, topic_id: Uuid::ZERO, lost: None };
            self.places.insert(at.clone(), place);
        }
        Ok(())
    }

    fn find_leaders(&mut self, client: &mut Client) -> Result<(), Ended> {
        let mut names: Vec<&str> = self
            .places
            .iter()
            .filter(|(_, place)| place.leader.is_none())
            .map(|(at, _)| &*at.topic)
            .collect();
        names.dedup();
        if names.is_empty() {
            return Ok(());
        }
        let topics = client.leaders(&names, false)?;
        for (at, place) in self.places.iter_mut().filter(|(_, place)| place.leader.is_none()) {
            let topic = topics.get(&at.topic).and_then(|topic| topic.as_ref().ok());
            place.leader = topic.and_then(|topic| topic.leaders.get(&at.partition).cloned().flatten());
            match topic {
                Some(topic) if place.leader.is_some() => (place.topic_id, place.lost) = (topic.id, None),
                _ => {
                    let since = *place.lost.get_or_insert_with(Instant::now);
                    if since.elapsed() > LEADER_MAX {
                        return failed(format!("{at} has had no leader for {} s", LEADER_MAX.as_secs()));
                    }
                }
            }
        }
        Ok(())
    }

    /// One fetch at the next leader in turn.
    pub fn poll(
        &mut self,
        client: &mut Client,
        at_most: Duration,
        each: &mut dyn FnMut(&Fetched<'_>) -> Result<Flow, Ended>,
    ) -> Result<(), Ended> {
        self.find_leaders(client)?;
        let mut leaders: Vec<&String> =
            self.places.values().filter_map(|place| place.leader.as_ref()).collect();
        leaders.sort();
        leaders.dedup();
        if leaders.is_empty() {
            std::thread::sleep(at_most.min(Duration::from_millis(50)));
            return Ok(());
        }
        self.turn = (self.turn + 1) % leaders.len();
        // Waiting at one leader keeps the others waiting.
        let share = leaders.len() as u32;
        let address = leaders[self.turn].clone();
        let wanted = self
            .places
            .iter()
            .filter(|(_, place)| place.leader.as_ref() == Some(&address))
            .map(|(at, place)| (at.clone(), (place.position, place.topic_id)));
        let topics = by_topic(wanted);
        let names: HashMap<Uuid, &str> =
            topics.iter().map(|(name, partitions)| (partitions[0].1.1, name.as_str())).collect();
        let request = FetchRequest {
            max_wait_ms: (self.wait.min(at_most) / share).as_millis() as i32,
            min_bytes: self.bytes_min,
            max_bytes: self.bytes_max,
            isolation_level: i8::from(self.read_committed),
            session_epoch: -1,
            topics: topics
                .iter()
                .map(|(name, partitions)| FetchRequestTopic {
                    topic: name,
                    topic_id: partitions[0].1.1,
                    partitions: partitions
                        .iter()
                        .map(|(partition, (position, _))| FetchRequestPartition {
                            partition: *partition,
                            fetch_offset: *position,
                            partition_max_bytes: self.partition_bytes_max,
                            ..FetchRequestPartition::default()
                        })
                        .collect(),
                })
                .collect(),
            ..FetchRequest::default()
        };
        let (places, decompressor, plain) = (&mut self.places, &mut self.decompressor, &mut self.plain);
        let read_committed = self.read_committed;
        let mut notes = Notes::default();
        let answered = client.to(&address).and_then(|connection| {
            connection.call(&request, |response| {
                if response.error_code != 0 {
                    return failed(format!("fetching: {}", java::exception(response.error_code)));
                }
                for topic in &response.responses {
                    let name = if topic.topic.is_empty() {
                        names.get(&topic.topic_id).copied().unwrap_or_default()
                    } else {
                        &*topic.topic
                    };
                    for partition in &topic.partitions {
                        let at = TopicPartition::new(name, partition.partition_index);
                        let Some(place) = places.get_mut(&at) else {
                            return failed(format!("the broker sent {at}, which nobody asked for"));
                        };
                        if !note_error(&at, partition.error_code, &mut notes)? {
                            continue;
                        }
                        let mut reading = Reading { at: &at, place, decompressor, plain, read_committed };
                        if reading.partition(partition, each)? == Flow::Enough {
                            notes.enough = true;
                            return Ok(());
                        }
                    }
                }
                Ok(())
            })
        });
        match answered {
            Ok(outcome) => outcome?,
            Err(ClientError::Io { .. }) => {
                // The leader may be gone; metadata says where its partitions are now.
                client.forget(&address);
                for place in self.places.values_mut().filter(|p| p.leader.as_ref() == Some(&address)) {
                    place.leader = None;
                    place.lost.get_or_insert_with(Instant::now);
                }
                std::thread::sleep(Duration::from_millis(100));
                client.reconnect()?;
            }
            Err(other) => return Err(other.into()),
        }
        for at in notes.moved {
            if let Some(place) = self.places.get_mut(&at) {
                place.leader = None;
            }
        }
        for at in notes.out_of_range {
            let Some(from) = self.reset else {
                return failed(format!(
                    "Fetch position of partition {at} is out of range and there is no reset policy"
                ));
            };
            self.assign(client, &[(at.clone(), from)])?;
        }
        Ok(())
    }
}

/// Whether a partition's answer holds records.
fn note_error(at: &TopicPartition, code: i16, notes: &mut Notes) -> Result<bool, Ended> {
    match ErrorCode::from_code(code) {
        ErrorCode::None => return Ok(true),
        ErrorCode::OffsetOutOfRange => notes.out_of_range.push(at.clone()),
        ErrorCode::NotLeaderOrFollower
        | ErrorCode::UnknownTopicOrPartition
        | ErrorCode::UnknownTopicId
        | ErrorCode::InconsistentTopicId
        | ErrorCode::LeaderNotAvailable
        | ErrorCode::ReplicaNotAvailable
        | ErrorCode::FencedLeaderEpoch
        | ErrorCode::UnknownLeaderEpoch
        | ErrorCode::OffsetNotAvailable
        | ErrorCode::KafkaStorageError => notes.moved.push(at.clone()),
        _ => return failed(format!("fetching {at}: {}", java::exception(code))),
    }
    Ok(false)
}

/// One partition's answer, being read.
struct Reading<'r> {
    at: &'r TopicPartition,
    place: &'r mut Place,
    decompressor: &'r mut Decompressor,
    plain: &'r mut Vec<u8>,
    read_committed: bool,
}

impl Reading<'_> {
    fn partition(
        &mut self,
        answer: &FetchResponsePartition<'_>,
        each: &mut dyn FnMut(&Fetched<'_>) -> Result<Flow, Ended>,
    ) -> Result<Flow, Ended> {
        let mut aborted = answer.aborted_transactions.clone().unwrap_or_default();
        aborted.sort_by_key(|transaction| std::cmp::Reverse(transaction.first_offset));
        let mut aborting: HashSet<i64> = HashSet::new();
        for found in batch::batches(answer.records.unwrap_or_default()) {
            // The last batch may be cut off where the answer was full.
            let Ok((_, found)) = found else { break };
            let Batch::Current { header, bytes } = found else {
                return failed(format!(
                    "{} at {}: records of a format before Kafka 0.11",
                    self.at, self.place.position
                ));
            };
            if !found.crc_matches() {
                return failed(format!(
                    "{} at {}: the batch does not fit its checksum",
                    self.at,
                    header.base_offset()
                ));
            }
            while aborted.last().is_some_and(|one| one.first_offset <= header.last_offset()) {
                aborting.extend(aborted.pop().map(|one| one.producer_id));
            }
            let is_aborted = self.read_committed
                && header.is_transactional()
                && !header.is_control()
                && aborting.contains(&header.producer_id());
            if header.is_control() {
                // A marker ends the transaction of its producer.
                aborting.remove(&header.producer_id());
            } else if !is_aborted && self.batch(&header, bytes, each)? == Flow::Enough {
                return Ok(Flow::Enough);
            }
            self.place.position = self.place.position.max(header.next_offset());
        }
        Ok(Flow::More)
    }

    fn batch(
        &mut self,
        header: &BatchHeader,
        bytes: &[u8],
        each: &mut dyn FnMut(&Fetched<'_>) -> Result<Flow, Ended>,
    ) -> Result<Flow, Ended> {
        let at = self.at;
        let unreadable = |error: &dyn std::fmt::Display| {
            Ended::Failed(format!("{at} at {}: {error}", header.base_offset()))
        };
        let records = Records::of(bytes, header, self.decompressor, self.plain, PLAIN_BYTES_MAX)
            .map_err(|error| unreadable(&error))?;
        for record in records {
            let record = record.map_err(|error| unreadable(&error))?;
            // A batch can begin before what was asked for.
            let offset = record.offset(header);
            if offset < self.place.position {
                continue;
            }
            let shown = Fetched { partition: at.partition, batch: header, record: &record };
            let flow = each(&shown)?;
            self.place.position = offset + 1;
            if flow == Flow::Enough {
                return Ok(Flow::Enough);
            }
        }
        Ok(Flow::More)
    }
}
