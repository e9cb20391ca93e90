//! Fetch: who reads what, when the answer is due, and how file bytes get into it (contract 1.3, KIP-227).
//!
//! In: a request and its session. Out: one command per owner; when enough has come together, the response, as bytes with
//! file ranges between them. Several owners are joined here: each reports what it has, and once that is enough, or the
//! time is up, all are asked to answer.

use crate::api::command::{Command, Fetch, FetchSetId, Fetched, FetchedPart, Piece, Records, ReplyTo};
use crate::api::fetch_session::{Entry, FetchSet, Opened, Sessions};
use crate::clock::Instant;
use crate::config::CompressionType;
use crate::config::FetchEngine;
use crate::ids::{BrokerId, ReactorId};
use crate::metadata::Image;
use crate::reactor::Disk;
use crate::wire::convert::Converter;
use crate::wire::error_code::ErrorCode;
use crate::wire::header::{RequestHeader, put_response};
use crate::wire::message::Message;
use crate::wire::message::fetch::{
    FetchRequest, FetchResponse, FetchResponseAbortedTransaction, FetchResponseDivergingEpoch,
    FetchResponseHead, FetchResponsePartition, FetchResponseWriter, Hole, RecordsFrom, TopicKey,
};
use crate::wire::primitive::{DecodeError, Reader};

/// Ranges up to this long are copied into the response: the round trip of a send costs more than the copy
/// (`MEASURED.md`, sending file bytes).
pub const COPY_BYTES_MAX: u32 = 64 * 1024;

/// Up to what length a range is copied, by the setting `fetch.engine`.
pub fn copy_bytes_max(engine: FetchEngine) -> u32 {
    match engine {
        FetchEngine::Auto | FetchEngine::Ring => COPY_BYTES_MAX,
        FetchEngine::Copy => u32::MAX,
        FetchEngine::Sendfile => 0,
    }
}
/// Versions below get nothing where the first batch is larger than they allow.
const AT_LEAST_ONE_VERSION: i16 = 3;
/// Versions below get records in the formats before magic 2.
const MAGIC_2_VERSION: i16 = 4;
/// Versions below get magic 0.
const MAGIC_1_VERSION: i16 = 2;
/// Versions below get nothing of a topic that keeps zstd.
const ZSTD_VERSION: i16 = 10;

/// The set a pending fetch reads by.
#[derive(Debug)]
enum Reads {
    Session(i32),
    Alone(Box<FetchSet>),
}

/// A fetch that waits for its owners.
#[derive(Debug)]
pub struct PendingFetch {
    version: i16,
    correlation_id: i32,
    reads: Reads,
    set: FetchSetId,
    min_bytes: u64,
    max_bytes: u64,
    owners: Vec<Owner>,
    parts: Vec<FetchedPart>,
    collecting: bool,
    of_replica: bool,
    /// What the answer tells the client to wait.
    pub throttle_time_ms: i32,
}

#[derive(Debug)]
struct Owner {
    id: ReactorId,
    available: u64,
    answered: bool,
}

/// What the loop knows about the request.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    pub reply_to: ReplyTo,
    pub now: Instant,
    pub random: u64,
    /// `fetch.max.bytes` of the broker.
    pub max_bytes: u64,
}

/// A fetch, under way or answered at once.
#[derive(Debug)]
pub enum Started {
    Pending(PendingFetch, Vec<(ReactorId, Command)>),
    /// An error of the session: the response is all there is.
    Answered(Vec<u8>, Vec<(ReactorId, Command)>),
}

/// Takes a request apart.
pub fn start(
    header: &RequestHeader<'_>,
    reader: &mut Reader<'_>,
    image: &Image,
    sessions: &mut Sessions,
    context: Context,
) -> Result<Started, DecodeError> {
    let request = FetchRequest::decode(reader, header.version)?;
    let mut closed = Vec::new();
    let opened = sessions.open(header.version, &request, context.now, context.random, &mut closed);
    let mut commands: Vec<(ReactorId, Command)> = Vec::new();
    for set in &closed {
        commands.extend(set.owners().iter().map(|owner| (*owner, Command::Forget(set.id))));
    }
    let opened = match opened {
        Ok(opened) => opened,
        Err(error) => {
            let response = FetchResponse { error_code: error as i16, ..Default::default() };
            let mut out = Vec::new();
            put_response(&mut out, header.version, header.correlation_id, &response);
            return Ok(Started::Answered(out, commands));
        }
    };
    let replica = if header.version >= 15 { request.replica_state.replica_id } else { request.replica_id };
    let mut alone: Option<Box<FetchSet>> = None;
    let (set, session, full) = match opened {
        Opened::Alone(set) => (&mut **alone.insert(Box::new(set)), None, true),
        Opened::New(id) => (&mut sessions.get_mut(id).expect("just made").set, Some(id), true),
        Opened::Known(id) => (&mut sessions.get_mut(id).expect("just found").set, Some(id), false),
    };
    let changes = set.apply(&request, image);
    let mut owners: Vec<ReactorId> = set.owners().to_vec();
    let unresolved = set.unresolved().next().is_some();
    let max_wait = if unresolved { 0 } else { request.max_wait_ms };
    let deadline = context.now.after_ms(i64::from(max_wait));
    // What a follower may be given is its broker's setting (contract 5.7).
    let bytes_max = if replica >= 0 { u64::MAX } else { context.max_bytes };
    let max_bytes = (request.max_bytes.max(0) as u64).min(bytes_max);
    // Not to wait for more than it may be given.
    let min_bytes = (request.min_bytes.max(0) as u64).min(max_bytes);
    let mut changes: Vec<_> = changes.into_iter().map(Some).collect();
    owners.retain(|owner| session.is_some() || changes.iter().flatten().any(|change| change.owner == *owner));
    for owner in &owners {
        let change =
            changes.iter_mut().find(|c| c.as_ref().is_some_and(|c| c.owner == *owner)).and_then(Option::take);
        let (updates, removed) = change.map_or_else(Default::default, |c| (c.updates, c.removed));
        commands.push((
            *owner,
            Command::Fetch(Fetch {
                reply_to: context.reply_to,
                set: set.id,
                replica: (replica >= 0).then_some(BrokerId(replica)),
                session: session.is_some(),
                full,
                updates,
                removed,
                deadline,
                min_bytes,
                max_bytes,
                read_committed: request.isolation_level == 1,
                alone: owners.len() == 1,
                at_least_one: header.version >= AT_LEAST_ONE_VERSION,
            }),
        ));
    }
    let pending = PendingFetch {
        version: header.version,
        correlation_id: header.correlation_id,
        set: set.id,
        reads: match (session, alone) {
            (Some(id), _) => Reads::Session(id),
            (None, Some(set)) => Reads::Alone(set),
            (None, None) => unreachable!("a fetch has a session or a set of its own"),
        },
        min_bytes,
        max_bytes,
        owners: owners.iter().map(|id| Owner { id: *id, available: 0, answered: false }).collect(),
        parts: Vec::new(),
        collecting: false,
        of_replica: replica >= 0,
        throttle_time_ms: 0,
    };
    Ok(Started::Pending(pending, commands))
}

impl PendingFetch {
    /// A follower asks: it is no client, and has limits of its own.
    pub fn is_of_replica(&self) -> bool {
        self.of_replica
    }

    /// About how long the answer is; its records, which are nearly all of it, to the byte.
    pub fn response_bytes(&self) -> u64 {
        const HEAD: u64 = 24;
        const OF_PARTITION: u64 = 56;
        HEAD + self.parts.iter().map(|part| OF_PARTITION + part.records.length() as u64).sum::<u64>()
    }

    pub fn set(&self) -> FetchSetId {
        self.set
    }

    /// True when every owner has answered.
    pub fn is_complete(&self) -> bool {
        self.owners.iter().all(|owner| owner.answered)
    }

    /// One of several owners has something; the owners to ask for their answers when that is enough for the client.
    pub fn available(&mut self, from: ReactorId, bytes: u64) -> Vec<ReactorId> {
        if let Some(owner) = self.owners.iter_mut().find(|owner| owner.id == from) {
            owner.available = bytes;
        }
        let enough = self.owners.iter().map(|owner| owner.available).sum::<u64>() >= self.min_bytes;
        if enough { self.collect() } else { Vec::new() }
    }

    /// Takes one owner's answer; the other owners to ask for theirs.
    pub fn take(&mut self, from: ReactorId, fetched: Fetched) -> Vec<ReactorId> {
        self.parts.extend(fetched.parts);
        if let Some(owner) = self.owners.iter_mut().find(|owner| owner.id == from) {
            owner.answered = true;
        }
        self.collect()
    }

    /// The owners that have not answered, once.
    pub fn collect(&mut self) -> Vec<ReactorId> {
        if std::mem::replace(&mut self.collecting, true) {
            return Vec::new();
        }
        self.owners.iter().filter(|owner| !owner.answered).map(|owner| owner.id).collect()
    }

    /// Owners that hold state for this fetch alone and must drop it when the client is gone.
    pub fn owners_left(&self) -> impl Iterator<Item = ReactorId> {
        self.owners.iter().filter(|owner| !owner.answered).map(|owner| owner.id)
    }

    /// Writes the response, with ranges up to `copy_bytes_max` between its bytes: pieces to send one after another. An error is one of reading a resident range, and leaves no
    /// way to answer: the connection has to be closed.
    pub fn encode(
        mut self,
        sessions: &mut Sessions,
        copy_bytes_max: u32,
        image: &Image,
        converter: &mut Converter,
        disk: &dyn Disk,
    ) -> std::io::Result<Vec<Piece>> {
        let mut alone;
        let (session_id, set) = match self.reads {
            Reads::Session(id) => match sessions.get_mut(id) {
                Some(session) => (id, &mut session.set),
                // Evicted while it waited: the client finds out now.
                None => return Ok(vec![Piece::Bytes(self.refusal(ErrorCode::FetchSessionIdNotFound))]),
            },
            Reads::Alone(set) => {
                alone = set;
                (0, &mut *alone)
            }
        };
        // A partition that its owner no longer has is answered with the unresolved ones.
        self.parts.retain(|part| {
            let lost = part.error == ErrorCode::UnknownTopicOrPartition;
            if lost {
                set.lost(part.entry);
            }
            !lost
        });
        self.parts.extend(set.unresolved().map(|(entry, error)| FetchedPart {
            error,
            aborted: Some(Vec::new()),
            ..FetchedPart::empty(entry)
        }));
        if self.owners.len() > 1 {
            // Several owners were each allowed the whole size: what is too much is left for the next request.
            limit(&mut self.parts, self.max_bytes);
        }
        if self.version < ZSTD_VERSION {
            for part in &mut self.parts {
                for_old_client(part, self.version, set.entry(part.entry), image, converter, disk)?;
            }
        }
        self.parts.sort_by(|a, b| set.entry(a.entry).topic.cmp(&set.entry(b.entry).topic));

        let mut out = Vec::with_capacity(64 + self.parts.len() * 64);
        let mut holes = Vec::new();
        let same_topic =
            |a: &FetchedPart, b: &FetchedPart| set.entry(a.entry).topic == set.entry(b.entry).topic;
        let head = FetchResponseHead {
            throttle_time_ms: self.throttle_time_ms,
            session_id,
            topic_count: self.parts.chunk_by(same_topic).count(),
            ..Default::default()
        };
        let mut writer =
            FetchResponseWriter::begin(&mut out, &mut holes, self.version, self.correlation_id, head);
        for parts in self.parts.chunk_by(same_topic) {
            let topic = set.entry(parts[0].entry);
            writer.topic(TopicKey { name: &topic.topic, id: topic.topic_id }, parts.len());
            for part in parts {
                let answer = FetchResponsePartition {
                    partition_index: set.entry(part.entry).partition,
                    error_code: part.error as i16,
                    high_watermark: part.high_watermark.0,
                    last_stable_offset: part.last_stable_offset.0,
                    log_start_offset: part.log_start_offset.0,
                    aborted_transactions: part.aborted.as_ref().map(|aborted| {
                        let of =
                            |a: &crate::api::command::AbortedTransaction| FetchResponseAbortedTransaction {
                                producer_id: a.producer_id,
                                first_offset: a.first_offset.0,
                            };
                        aborted.iter().map(of).collect()
                    }),
                    diverging_epoch: part.diverging.map_or_else(Default::default, |(epoch, end)| {
                        FetchResponseDivergingEpoch { epoch, end_offset: end.0 }
                    }),
                    ..Default::default()
                };
                writer.partition(&answer, RecordsFrom::Elsewhere(part.records.length()));
            }
        }
        writer.end(&[]);
        let records = self.parts.into_iter().map(|part| part.records).filter(|records| records.length() > 0);
        assemble(&out, &holes, records, copy_bytes_max, disk)
    }

    fn refusal(&self, error: ErrorCode) -> Vec<u8> {
        let response = FetchResponse { error_code: error as i16, ..Default::default() };
        let mut out = Vec::new();
        put_response(&mut out, self.version, self.correlation_id, &response);
        out
    }
}

/// Gives one part the form that a client of an old version understands, or tells it that there is none.
fn for_old_client(
    part: &mut FetchedPart,
    version: i16,
    entry: &Entry,
    image: &Image,
    converter: &mut Converter,
    disk: &dyn Disk,
) -> std::io::Result<()> {
    let Some(topic) = image.topic(&entry.topic).filter(|_| part.error == ErrorCode::None) else {
        return Ok(());
    };
    let magic = i8::from(version >= MAGIC_1_VERSION);
    let refusal = if topic.config.compression_type == CompressionType::Zstd {
        Some(ErrorCode::UnsupportedCompressionType)
    } else if version < MAGIC_2_VERSION && !topic.config.message_downconversion_enable {
        Some(ErrorCode::UnsupportedVersion)
    } else if version < MAGIC_2_VERSION && part.records.length() > 0 {
        let stored = match std::mem::replace(&mut part.records, Records::None) {
            Records::Bytes(bytes) => bytes,
            Records::Place { file, position, length, .. } => {
                let mut bytes = vec![0; length as usize];
                let count = disk.read_full_at(&file, position, &mut bytes)?;
                bytes.truncate(count);
                bytes
            }
            Records::None => Vec::new(),
        };
        let mut converted = Vec::with_capacity(stored.len());
        match converter.for_old_reader(&stored, magic as u8, entry.offset().0, &mut converted) {
            Ok(()) => {
                part.records = Records::Bytes(converted);
                None
            }
            Err(error) => {
                tracing::debug!(topic = %entry.topic, partition = entry.partition, offset = entry.offset().0, %error, "records have no older form");
                Some(error.code())
            }
        }
    } else {
        None
    };
    if let Some(error) = refusal {
        part.error = error;
        part.aborted = Some(Vec::new());
        part.records = Records::None;
    }
    Ok(())
}

/// Drops the records of the last parts beyond `max_bytes`; the first part with records always stays (KIP-74).
fn limit(parts: &mut [FetchedPart], max_bytes: u64) {
    let mut bytes = 0;
    for part in parts {
        let length = part.records.length() as u64;
        if length > 0 && bytes > 0 && bytes + length > max_bytes {
            part.records = Records::None;
        } else {
            bytes += length;
        }
    }
}

/// Puts the records into the holes of a response: small ranges are read straight to their place between the bytes, large
/// ones become pieces of their own.
fn assemble(
    head: &[u8],
    holes: &[Hole],
    records: impl Iterator<Item = Records>,
    copy_bytes_max: u32,
    disk: &dyn Disk,
) -> std::io::Result<Vec<Piece>> {
    let copied: usize =
        holes.iter().map(|hole| hole.bytes).filter(|bytes| *bytes <= copy_bytes_max as usize).sum();
    let mut pieces = Vec::with_capacity(1);
    let mut bytes = Vec::with_capacity(head.len() + copied);
    let mut from = 0;
    for (hole, records) in holes.iter().zip(records) {
        bytes.extend_from_slice(&head[from..hole.at]);
        from = hole.at;
        match records {
            Records::None => {}
            Records::Bytes(read) => bytes.extend_from_slice(&read),
            Records::Place { file, position, length, .. } if length <= copy_bytes_max => {
                let at = bytes.len();
                bytes.resize(at + length as usize, 0);
                if disk.read_full_at(&file, position, &mut bytes[at..])? < length as usize {
                    return Err(std::io::ErrorKind::UnexpectedEof.into());
                }
            }
            Records::Place { file, position, length, reading } => {
                pieces.push(Piece::Bytes(std::mem::take(&mut bytes)));
                pieces.push(Piece::File { file, position, length: u64::from(length), reading });
            }
        }
    }
    bytes.extend_from_slice(&head[from..]);
    if !bytes.is_empty() {
        pieces.push(Piece::Bytes(bytes));
    }
    Ok(pieces)
}
