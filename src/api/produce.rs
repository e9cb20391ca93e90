//! Produce: who appends what, and what the client is told (contract 1.3, 2.4, 2.6).
//!
//! In: a whole frame, whose batches are checked here, while their bytes are in the cache. Out: one command per owner with
//! the batches cut out of the frame, and, when all owners have answered, the response. Records are not decoded unless
//! the topic's settings ask for it, which is decided once per batch from its header (`wire::convert`).

use std::borrow::Cow;
use std::sync::Arc;

use crate::api::command::{Produce, ProducePart, Produced, ProducedPart, ReplyTo};
use crate::clock::{Instant, WallMs};
use crate::config::{CompressionType, TimestampType, TopicConfig};
use crate::ids::{Offset, ReactorId};
use crate::metadata::Image;
use crate::reactor::Lease;
use crate::wire::batch::{self, BatchHeader};
use crate::wire::compression::Codec;
use crate::wire::convert::{Accepted, Converter, Rejection, TopicRules};
use crate::wire::error_code::ErrorCode;
use crate::wire::header::{RequestHeader, put_response};
use crate::wire::message::Message;
use crate::wire::message::produce::{
    ProduceRequest, ProduceResponse, ProduceResponsePartitionResponse, ProduceResponseRecordError,
    ProduceResponseResult,
};
use crate::wire::primitive::{DecodeError, Reader};

/// A produce request whose owners have not all answered.
#[derive(Debug)]
pub struct PendingProduce {
    version: i16,
    correlation_id: i32,
    acks: i16,
    topics: Vec<Topic>,
    answers: Vec<Option<ProducedPart>>,
    owners_left: usize,
}

#[derive(Debug)]
struct Topic {
    name: Arc<str>,
    /// Partition numbers; their answers stand one after another in `answers`.
    partitions: Vec<i32>,
}

/// A request, taken apart.
#[derive(Debug)]
pub struct Started {
    pub pending: PendingProduce,
    pub commands: Vec<(ReactorId, Produce)>,
}

/// What the loop knows about the request.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    pub reply_to: ReplyTo,
    pub peer: std::net::SocketAddr,
    pub now: Instant,
    /// The time that producers' timestamps are measured against; asked for by few topics.
    pub wall: &'a dyn Fn() -> WallMs,
}

/// What of the header outlives the frame being cut.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    version: i16,
    correlation_id: i32,
}

impl Facts {
    pub fn of(header: &RequestHeader<'_>) -> Facts {
        Facts { version: header.version, correlation_id: header.correlation_id }
    }
}

/// Takes a request apart. `body` is the position of the body in the frame.
pub fn start(
    facts: Facts,
    frame: &mut Lease,
    body: usize,
    image: &Image,
    converter: &mut Converter,
    context: Context<'_>,
) -> Result<Started, DecodeError> {
    let version = facts.version;
    let base = frame.as_ptr() as usize;
    let mut cuts: Vec<(ReactorId, u32, u32, usize, usize, Accepted)> = Vec::new();
    let pending;
    let deadline;
    {
        let mut reader = Reader::new(frame);
        reader.take(body)?;
        let request = ProduceRequest::decode(&mut reader, version)?;
        deadline = context.now.after_ms(i64::from(request.timeout_ms));
        let mut topics = Vec::with_capacity(request.topic_data.len());
        let mut answers = Vec::with_capacity(request.topic_data.len());
        let transactional = request.transactional_id.is_some();
        let acks_known = matches!(request.acks, -1..=1);
        for topic in request.topic_data.iter() {
            let known = image.topic(topic.name);
            let name = known.map_or_else(|| Arc::from(topic.name), |topic| Arc::clone(&topic.name));
            let mut partitions = Vec::with_capacity(topic.partition_data.len());
            for data in topic.partition_data.iter() {
                let entry = answers.len() as u32;
                let served = match known {
                    _ if !acks_known => Err(ErrorCode::InvalidRequiredAcks),
                    None => Err(ErrorCode::UnknownTopicOrPartition),
                    Some(topic) => image.home(topic, data.index).map(|home| (topic, home)),
                };
                let (topic, home) = match served {
                    Ok(served) => served,
                    Err(error) => {
                        answers.push(Some(ProducedPart::refused(entry, error, None)));
                        partitions.push(data.index);
                        continue;
                    }
                };
                let records = data.records.unwrap_or_default();
                answers.push(
                    match check(records, version, transactional, &topic.config, converter, context.wall) {
                        Ok(Some(accepted)) => {
                            let start = records.as_ptr() as usize - base;
                            let end = start + records.len();
                            cuts.push((home.reactor, home.slot, entry, start, end, accepted));
                            None
                        }
                        Ok(None) => Some(ProducedPart::refused(entry, ErrorCode::None, None)),
                        Err(Rejection { code, message, records }) => Some(ProducedPart {
                            record_errors: records,
                            ..ProducedPart::refused(entry, code, Some(message))
                        }),
                    },
                );
                partitions.push(data.index);
            }
            topics.push(Topic { name, partitions });
        }
        pending = PendingProduce {
            version,
            correlation_id: facts.correlation_id,
            acks: request.acks,
            topics,
            answers,
            owners_left: 0,
        };
    }
    let mut started = Started { pending, commands: Vec::new() };
    // The records stand in the frame in the order of the request, so the cuts ascend.
    let mut taken = 0;
    for (reactor, slot, entry, from, to, accepted) in cuts {
        drop(frame.split_to(from - taken));
        let mut batch = frame.split_to(to - from);
        taken = to;
        match accepted {
            Accepted::AsSent => {}
            Accepted::NewestTimestamp(newest) => batch::stamp_create_time(&mut batch, newest),
            Accepted::Rewritten(bytes) => batch = bytes.into(),
        }
        let part = ProducePart { entry, slot, batch };
        match started.commands.iter_mut().find(|(owner, _)| *owner == reactor) {
            Some((_, command)) => command.parts.push(part),
            None => started.commands.push((
                reactor,
                Produce {
                    reply_to: context.reply_to,
                    acks: started.pending.acks,
                    deadline,
                    peer: context.peer,
                    parts: vec![part],
                },
            )),
        }
    }
    started.pending.owners_left = started.commands.len();
    Ok(started)
}

/// The usual topic: each batch stays as it came.
fn asks_nothing_of_records(config: &TopicConfig) -> bool {
    const ANY: u64 = i64::MAX as u64;
    config.compression_type == CompressionType::Producer
        && !config.cleanup_policy.compact
        && config.message_timestamp_before_max_ms >= ANY
        && config.message_timestamp_after_max_ms >= ANY
}

/// What the topic's settings ask of a batch.
fn topic_rules(config: &TopicConfig, wall: WallMs) -> TopicRules {
    let bound = |ms: u64| i64::try_from(ms).ok().filter(|ms| *ms < i64::MAX);
    let (codec, level) = match config.compression_type {
        CompressionType::Producer => (None, None),
        CompressionType::Uncompressed => (Some(Codec::None), None),
        CompressionType::Gzip => (Some(Codec::Gzip), Some(config.compression_gzip_level)),
        CompressionType::Snappy => (Some(Codec::Snappy), None),
        CompressionType::Lz4 => (Some(Codec::Lz4), None),
        CompressionType::Zstd => (Some(Codec::Zstd), Some(config.compression_zstd_level)),
    };
    TopicRules {
        codec,
        level,
        key_required: config.cleanup_policy.compact,
        log_append_time: config.message_timestamp_type == TimestampType::LogAppendTime,
        timestamp_min: bound(config.message_timestamp_before_max_ms)
            .map_or(i64::MIN, |ms| wall.0.saturating_sub(ms)),
        timestamp_max: bound(config.message_timestamp_after_max_ms)
            .map_or(i64::MAX, |ms| wall.0.saturating_add(ms)),
        batch_bytes_max: config.max_message_bytes as usize,
    }
}

/// The first version of Produce that carries batches of magic 2 and nothing else.
const BATCHES_ONLY_VERSION: i16 = 3;

/// Everything about a partition's records that does not need the log. `None`: nothing to append and nothing wrong.
fn check(
    records: &[u8],
    version: i16,
    transactional: bool,
    config: &TopicConfig,
    converter: &mut Converter,
    wall: &dyn Fn() -> WallMs,
) -> Result<Option<Accepted>, Rejection> {
    let refused = |code, message: &str| Rejection { code, message: message.to_owned(), records: Vec::new() };
    if version < BATCHES_ONLY_VERSION {
        if records.is_empty() {
            return Ok(None);
        }
        if BatchHeader::peek(records).is_none() {
            return Ok(converter
                .accept_message_set(records, &topic_rules(config, wall()))?
                .map(Accepted::Rewritten));
        }
    } else if records.is_empty() {
        return Err(refused(
            ErrorCode::InvalidRecord,
            "Produce requests with version 3 or later carry exactly one record batch per partition, found none",
        ));
    }
    let header = batch::validate_client(records)?;
    batch::check_codec(&header, version)?;
    if header.is_transactional() {
        return Err(if transactional {
            refused(ErrorCode::InvalidTxnState, "Transactions are not served by this broker")
        } else {
            refused(
                ErrorCode::TransactionalIdAuthorizationFailed,
                "a transactional batch in a request without a transactional id",
            )
        });
    }
    if asks_nothing_of_records(config) && !header.is_log_append_time() {
        return Ok(Some(Accepted::AsSent));
    }
    converter.accept(records, &header, &topic_rules(config, wall())).map(Some)
}

impl PendingProduce {
    /// True when nothing is outstanding.
    pub fn is_complete(&self) -> bool {
        self.owners_left == 0
    }

    /// Takes one owner's answer.
    pub fn take(&mut self, produced: Produced) {
        for part in produced.parts {
            let place = part.entry as usize;
            self.answers[place] = Some(part);
        }
        self.owners_left -= 1;
    }

    /// For acks=0: nothing is sent, and an error ends the connection.
    pub fn without_answer(&self) -> Option<Result<(), ErrorCode>> {
        if self.acks != 0 {
            return None;
        }
        let error =
            self.answers.iter().flatten().map(|part| part.error).find(|error| *error != ErrorCode::None);
        Some(error.map_or(Ok(()), Err))
    }

    /// Appends the response, frame and all.
    pub fn encode(&self, out: &mut Vec<u8>, throttle_time_ms: i32) {
        let mut answers = self.answers.iter();
        let responses = self
            .topics
            .iter()
            .map(|topic| ProduceResponseResult {
                name: Cow::Borrowed(&*topic.name),
                partition_responses: topic
                    .partitions
                    .iter()
                    .map(|index| match answers.next() {
                        Some(Some(part)) => ProduceResponsePartitionResponse {
                            index: *index,
                            error_code: part.error as i16,
                            base_offset: part.base_offset.0,
                            log_append_time_ms: part.log_append_time_ms,
                            log_start_offset: part.log_start_offset.0,
                            record_errors: part
                                .record_errors
                                .iter()
                                .map(|(batch_index, what)| ProduceResponseRecordError {
                                    batch_index: *batch_index,
                                    batch_index_error_message: Some(Cow::Borrowed(*what)),
                                })
                                .collect(),
                            error_message: part.message.as_deref().map(Cow::Borrowed),
                            ..Default::default()
                        },
                        Some(None) | None => ProduceResponsePartitionResponse {
                            index: *index,
                            error_code: ErrorCode::UnknownServerError as i16,
                            base_offset: Offset(-1).0,
                            ..Default::default()
                        },
                    })
                    .collect(),
            })
            .collect();
        let response = ProduceResponse { responses, throttle_time_ms, ..Default::default() };
        put_response(out, self.version, self.correlation_id, &response);
    }
}
