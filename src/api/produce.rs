//! Produce: who appends what, and what the client is told (contract 1.3, 2.4, 2.6).
//!
//! In: a whole frame, whose batches are checked here, while their bytes are in the cache. Out: one command per owner with
//! the batches cut out of the frame, and, when all owners have answered, the response. Records are not decoded.

use std::borrow::Cow;
use std::sync::Arc;

use crate::api::command::{Produce, ProducePart, Produced, ProducedPart, ReplyTo};
use crate::clock::Instant;
use crate::ids::{Offset, ReactorId};
use crate::metadata::Image;
use crate::reactor::Lease;
use crate::wire::batch;
use crate::wire::error_code::ErrorCode;
use crate::wire::header::{RequestHeader, put_response};
use crate::wire::message::Message;
use crate::wire::message::produce::{
    ProduceRequest, ProduceResponse, ProduceResponsePartitionResponse, ProduceResponseResult,
};
use crate::wire::primitive::{DecodeError, Reader};
use crate::wire::version::Support;

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
#[derive(Clone, Copy, Debug)]
pub struct Context {
    pub reply_to: ReplyTo,
    pub peer: std::net::SocketAddr,
    pub now: Instant,
}

/// What of the header outlives the frame being cut.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    version: i16,
    correlation_id: i32,
    refused: bool,
}

impl Facts {
    pub fn of(header: &RequestHeader<'_>) -> Facts {
        Facts {
            version: header.version,
            correlation_id: header.correlation_id,
            refused: header.support() == Support::Refused,
        }
    }
}

/// Takes a request apart. `body` is the position of the body in the frame.
pub fn start(
    facts: Facts,
    frame: &mut Lease,
    body: usize,
    image: &Image,
    context: Context,
) -> Result<Started, DecodeError> {
    let version = facts.version;
    let base = frame.as_ptr() as usize;
    let mut cuts: Vec<(ReactorId, u32, u32, usize, usize)> = Vec::new();
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
        let refused = if !matches!(request.acks, -1..=1) {
            Some((ErrorCode::InvalidRequiredAcks, None))
        } else if facts.refused {
            Some((ErrorCode::UnsupportedVersion, None))
        } else {
            None
        };
        for topic in request.topic_data.iter() {
            let known = image.topic(topic.name);
            let name = known.map_or_else(|| Arc::from(topic.name), |topic| Arc::clone(&topic.name));
            let mut partitions = Vec::with_capacity(topic.partition_data.len());
            for data in topic.partition_data.iter() {
                let entry = answers.len() as u32;
                let home = known.and_then(|topic| topic.partition(data.index)?.home);
                let checked = match &refused {
                    Some((error, message)) => Err((*error, message.clone())),
                    None => check(data.records, version, transactional),
                };
                answers.push(match (home, checked) {
                    (_, Err((error, message))) => Some(ProducedPart::refused(entry, error, message)),
                    (None, Ok(_)) => {
                        Some(ProducedPart::refused(entry, ErrorCode::UnknownTopicOrPartition, None))
                    }
                    (Some(home), Ok(records)) => {
                        let start = records.as_ptr() as usize - base;
                        cuts.push((home.reactor, home.slot, entry, start, start + records.len()));
                        None
                    }
                });
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
    for (reactor, slot, entry, from, to) in cuts {
        drop(frame.split_to(from - taken));
        let batch = frame.split_to(to - from);
        taken = to;
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

/// Everything about a partition's records that needs neither the topic's settings nor the log.
fn check(
    records: Option<&[u8]>,
    version: i16,
    transactional: bool,
) -> Result<&[u8], (ErrorCode, Option<String>)> {
    let records = records.unwrap_or_default();
    if records.is_empty() {
        return Err((
            ErrorCode::InvalidRecord,
            Some("Produce requests with version 3 or later carry exactly one record batch per partition, found none".to_owned()),
        ));
    }
    let header = batch::validate_client(records).map_err(|e| (e.code(), Some(e.to_string())))?;
    batch::check_codec(&header, version).map_err(|e| (e.code(), Some(e.to_string())))?;
    if header.is_transactional() {
        return Err(if transactional {
            (ErrorCode::InvalidTxnState, Some("Transactions are not served by this broker".to_owned()))
        } else {
            (ErrorCode::TransactionalIdAuthorizationFailed, None)
        });
    }
    Ok(records)
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
    pub fn encode(&self, out: &mut Vec<u8>) {
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
        let response = ProduceResponse { responses, ..Default::default() };
        put_response(out, self.version, self.correlation_id, &response);
    }
}
