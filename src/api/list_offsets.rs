//! ListOffsets: offsets by time or by end of the log (contract 1.3).
//!
//! In: a request. Out: one command per owner, and the response when all have answered.

use std::borrow::Cow;
use std::sync::Arc;

use hashbrown::HashSet;

use crate::api::command::{ListOffsets, ListOffsetsPart, ListedOffset, ReplyTo};
use crate::ids::ReactorId;
use crate::metadata::Image;
use crate::wire::error_code::ErrorCode;
use crate::wire::header::{RequestHeader, put_response};
use crate::wire::message::Message;
use crate::wire::message::list_offsets::{
    ListOffsetsRequest, ListOffsetsResponse, ListOffsetsResponsePartition, ListOffsetsResponseTopic,
};
use crate::wire::primitive::{DecodeError, Reader};

/// The largest offset that a reader may see.
pub const LATEST: i64 = -1;
/// The first offset there is.
pub const EARLIEST: i64 = -2;
/// The offset of the record with the largest timestamp (version 7 and later).
pub const MAX_TIMESTAMP: i64 = -3;
/// The first offset on local disks (version 8 and later): the same as `EARLIEST` without tiered storage.
pub const EARLIEST_LOCAL: i64 = -4;
/// The last offset in tiered storage (version 9 and later): none here.
pub const LATEST_TIERED: i64 = -5;

/// A request whose owners have not all answered.
#[derive(Debug)]
pub struct PendingListOffsets {
    version: i16,
    correlation_id: i32,
    topics: Vec<(Arc<str>, Vec<i32>)>,
    answers: Vec<ListedOffset>,
    owners_left: usize,
}

/// Takes a request apart.
pub fn start(
    header: &RequestHeader<'_>,
    reader: &mut Reader<'_>,
    image: &Image,
    reply_to: ReplyTo,
) -> Result<(PendingListOffsets, Vec<(ReactorId, ListOffsets)>), DecodeError> {
    let request = ListOffsetsRequest::decode(reader, header.version)?;
    let mut pending = PendingListOffsets {
        version: header.version,
        correlation_id: header.correlation_id,
        topics: Vec::new(),
        answers: Vec::new(),
        owners_left: 0,
    };
    let mut commands: Vec<(ReactorId, ListOffsets)> = Vec::new();
    let twice = named_twice(&request);
    for topic in request.topics.iter() {
        let known = image.topic(topic.name);
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in topic.partitions.iter() {
            let entry = pending.answers.len() as u32;
            partitions.push(partition.partition_index);
            let home = known.ok_or(ErrorCode::UnknownTopicOrPartition);
            let home = home.and_then(|topic| image.home(topic, partition.partition_index));
            let error = match home {
                _ if twice.contains(&(topic.name, partition.partition_index)) => ErrorCode::InvalidRequest,
                _ if !is_served(partition.timestamp, header.version) => ErrorCode::UnsupportedVersion,
                Err(error) => error,
                Ok(home) => {
                    let part = ListOffsetsPart {
                        entry,
                        slot: home.slot,
                        timestamp: partition.timestamp,
                        leader_epoch: partition.current_leader_epoch,
                        read_committed: request.isolation_level == 1,
                        of_replica: request.replica_id >= 0,
                        answer: ListedOffset::default(),
                    };
                    match commands.iter_mut().find(|(owner, _)| *owner == home.reactor) {
                        Some((_, command)) => command.parts.push(part),
                        None => commands.push((home.reactor, ListOffsets { reply_to, parts: vec![part] })),
                    }
                    ErrorCode::None
                }
            };
            pending.answers.push(ListedOffset { error, ..Default::default() });
        }
        pending
            .topics
            .push((known.map_or_else(|| Arc::from(topic.name), |topic| Arc::clone(&topic.name)), partitions));
    }
    pending.owners_left = commands.len();
    Ok((pending, commands))
}

/// Partitions that a request names more than once: each of them is refused, as Kafka does.
fn named_twice<'a>(request: &ListOffsetsRequest<'a>) -> HashSet<(&'a str, i32)> {
    let mut seen = HashSet::new();
    let mut twice = HashSet::new();
    for topic in request.topics.iter() {
        for partition in topic.partitions.iter() {
            let this = (topic.name, partition.partition_index);
            if !seen.insert(this) {
                twice.insert(this);
            }
        }
    }
    twice
}

/// Whether this version knows this negative timestamp (contract 9).
fn is_served(timestamp: i64, version: i16) -> bool {
    match timestamp {
        LATEST | EARLIEST => true,
        MAX_TIMESTAMP => version >= 7,
        EARLIEST_LOCAL => version >= 8,
        LATEST_TIERED => version >= 9,
        _ => timestamp >= 0,
    }
}

impl PendingListOffsets {
    /// True when nothing is outstanding.
    pub fn is_complete(&self) -> bool {
        self.owners_left == 0
    }

    /// Takes one owner's answer.
    pub fn take(&mut self, parts: Vec<ListOffsetsPart>) {
        for mut part in parts {
            // Older clients do not know that the end may be unknown for a moment (KIP-207).
            if self.version < 5 && part.answer.error == ErrorCode::OffsetNotAvailable {
                part.answer.error = ErrorCode::LeaderNotAvailable;
            }
            self.answers[part.entry as usize] = part.answer;
        }
        self.owners_left -= 1;
    }

    /// Appends the response, frame and all.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut answers = self.answers.iter();
        let topics = self
            .topics
            .iter()
            .map(|(name, partitions)| ListOffsetsResponseTopic {
                name: Cow::Borrowed(&**name),
                partitions: partitions
                    .iter()
                    .zip(&mut answers)
                    .map(|(index, answer)| ListOffsetsResponsePartition {
                        partition_index: *index,
                        error_code: answer.error as i16,
                        timestamp: answer.timestamp,
                        offset: answer.offset.0,
                        leader_epoch: answer.leader_epoch.0,
                        ..Default::default()
                    })
                    .collect(),
            })
            .collect();
        let response = ListOffsetsResponse { topics, ..Default::default() };
        put_response(out, self.version, self.correlation_id, &response);
    }
}
