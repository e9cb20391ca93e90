//! Appending: from a produce command to its outcome.
//!
//! In: batches, gathered over a turn. Out: one vectored write per partition, and for each request one outcome, when its last
//! batch is decided: at once, with the write, with the flush, or when the client has waited long enough.

use std::cmp::Reverse;

use crate::api::command::{Outcome, Produce, ProducePart, Produced, ProducedPart, ReplyTo};
use crate::clock::{Instant, WallMs};
use crate::config::Durability;
use crate::ids::Offset;
use crate::io_thread::partition::{PendingBatch, Role, Unacknowledged};
use crate::io_thread::{Due, IoLoop, partition_mut};
use crate::log::{self, AppendBatch, AppendRefusal, FlushScope};
use crate::producer::Refusal;
use crate::reactor::Engine;
use crate::wire::error_code::ErrorCode;

/// A produce request with batches here.
#[derive(Debug)]
pub(super) struct WaitingProduce {
    asker: Asker,
    acks: i16,
    left: usize,
    parts: Vec<ProducedPart>,
    /// Partitions that acknowledge after a flush or when others have the records, where the answer to a part may still wait when
    /// the time is up.
    slots: Vec<u32>,
}

/// Who wants batches appended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Asker {
    /// A client, by way of its network loop.
    Client(ReplyTo),
    /// The coordinator that lives in the partition, and its number for the append.
    Coordinator { slot: u32, append: u32 },
}

impl IoLoop {
    pub(super) fn on_produce(&mut self, produce: Produce) {
        let Produce { reply_to, acks, deadline, parts, .. } = produce;
        self.queue(Asker::Client(reply_to), acks, deadline, parts);
    }

    /// Takes batches for this turn's writes. Who asks is told when the last of them is decided.
    pub(super) fn queue(&mut self, asker: Asker, acks: i16, deadline: Instant, parts: Vec<ProducePart>) {
        let left = parts.len();
        let waiting =
            WaitingProduce { asker, acks, left, parts: Vec::with_capacity(left), slots: Vec::new() };
        let key = self.produces.insert(waiting) as u32;
        let mut slots = Vec::new();
        for part in parts {
            let quorum = acks != -1 || self.has_quorum(part.slot);
            let refusal = match partition_mut(&mut self.partitions, part.slot) {
                None => (ErrorCode::UnknownTopicOrPartition, None),
                Some(partition) if !partition.leads() => (ErrorCode::NotLeaderOrFollower, None),
                Some(partition) if !quorum => {
                    partition.topic_metrics.produce_requests_failed.increment();
                    (ErrorCode::NotEnoughReplicas, None)
                }
                Some(partition) => match self.directories[usize::from(partition.directory)].refuses_produce()
                {
                    Some(message) => {
                        partition.topic_metrics.produce_requests_failed.increment();
                        (ErrorCode::KafkaStorageError, Some(message))
                    }
                    None => {
                        if partition.pending.is_empty() {
                            self.dirty.push(part.slot);
                        }
                        let waits = matches!(partition.role, Role::Leads(_)) && acks == -1;
                        if waits || partition.config.durability == Durability::GroupCommit {
                            slots.push(part.slot);
                        }
                        partition.pending.push(PendingBatch {
                            produce: key,
                            entry: part.entry,
                            batch: part.batch,
                        });
                        continue;
                    }
                },
            };
            self.produced(key, ProducedPart::refused(part.entry, refusal.0, refusal.1));
        }
        if !slots.is_empty()
            && let Some(waiting) = self.produces.get_mut(key as usize)
        {
            waiting.slots = slots;
            self.due.push(Reverse((deadline, Due::Produce { key, reply: identity(asker) })));
        }
    }

    /// One part of a produce request is decided; with the last one the outcome goes out.
    pub(super) fn produced(&mut self, key: u32, part: ProducedPart) {
        let Some(waiting) = self.produces.get_mut(key as usize) else { return };
        waiting.parts.push(part);
        waiting.left -= 1;
        if waiting.left == 0 {
            let WaitingProduce { asker, mut parts, .. } = self.produces.remove(key as usize);
            match asker {
                Asker::Client(reply_to) => {
                    self.outcomes.push((reply_to.reactor, Outcome::Produced(Produced { reply_to, parts })));
                }
                Asker::Coordinator { slot, append } => {
                    let part = parts.pop().expect("a coordinator appends one batch at a time");
                    self.coordinators.appended(slot, append, &part);
                }
            }
        }
    }

    /// Appends what came this turn: one vectored write per partition.
    pub(super) fn append_pending(&mut self, now: Instant, engine: &mut dyn Engine) {
        let wall = engine.wall();
        for slot in std::mem::take(&mut self.dirty) {
            self.append_to(slot, now, wall, engine);
        }
    }

    pub(super) fn append_to(&mut self, slot: u32, now: Instant, wall: WallMs, engine: &mut dyn Engine) {
        let Some(partition) = partition_mut(&mut self.partitions, slot) else { return };
        let mut pending = std::mem::take(&mut partition.pending);
        let end_before = partition.log.end_offset();
        let active_before = partition.log.active_segment().0;
        let mut batches: Vec<AppendBatch<'_>> =
            pending.iter_mut().map(|pending| AppendBatch::new(&mut pending.batch)).collect();
        let result = partition.log.append(
            engine.disk(),
            &mut batches,
            partition.leader_epoch,
            wall,
            &mut self.scratch,
        );
        self.metrics.direct_calls.add(self.scratch.written.len() as u64);
        let log_start = partition.log.start_offset();
        let end = partition.log.end_offset();
        let group_commit = partition.config.durability == Durability::GroupCommit;
        let alone = matches!(partition.role, Role::Alone);
        if alone && !group_commit {
            partition.log.advance_high_watermark(end);
        }
        let committed = partition.log.high_watermark();
        let own_end = partition.own_end();
        let mut done = Vec::with_capacity(batches.len());
        let mut messages = 0;
        let mut bytes = 0;
        for (batch, pending) in batches.iter().zip(0..) {
            let (upto, base_offset, append_time_ms) = match batch.outcome {
                log::Outcome::Appended { base_offset, last_offset, append_time } => {
                    messages += (last_offset.0 - base_offset.0 + 1) as u64;
                    bytes += batch.bytes.len() as u64;
                    (last_offset.plus(1), base_offset, append_time.map_or(-1, |time| time.0))
                }
                log::Outcome::Duplicate { base_offset, last_offset, timestamp } => {
                    (last_offset.plus(1), base_offset, timestamp)
                }
                log::Outcome::Refused(refusal) => {
                    partition.topic_metrics.bytes_rejected.add(batch.bytes.len() as u64);
                    partition.topic_metrics.produce_requests_failed.increment();
                    done.push((pending, Err(refusal)));
                    continue;
                }
                log::Outcome::Pending => {
                    done.push((pending, Err(AppendRefusal::Failed)));
                    continue;
                }
            };
            done.push((pending, Ok((upto, base_offset, append_time_ms))));
        }
        drop(batches);
        partition.topic_metrics.messages_in.add(messages);
        partition.topic_metrics.bytes_in.add(bytes);
        partition.topic_metrics.produce_requests.add(pending.len() as u64);
        partition.metrics.log_end_offset.set(end.0);
        partition.metrics.log_bytes.add(bytes as i64);
        let wrote = end > end_before;
        let closed = wrote && active_before != partition.log.active_segment().0;
        if closed {
            partition.metrics.segments.set(partition.log.segment_count() as i64);
        }
        if wrote {
            let rolled = self.scratch.written.len() > 1
                || self.scratch.written.first().is_some_and(|written| written.segment_base == end_before);
            let due = group_commit || rolled || partition.log.flush_due(wall).is_some();
            if due && !std::mem::replace(&mut partition.flush_wanted, true) {
                let scope = if group_commit {
                    FlushScope::All
                } else {
                    partition.log.flush_due(wall).unwrap_or(FlushScope::ClosedSegments)
                };
                self.flush_queue.push((slot, scope));
            } else if partition.config.durability == Durability::Interval && !partition.flush_wanted {
                partition.flush_wanted = true;
                let at = now.after_ms(partition.log.config().flush_ms);
                self.due.push(Reverse((at, Due::Flush { slot })));
            }
            // Followers read what is not committed yet.
            if committed >= end || !alone {
                for (set, entry) in &partition.watchers {
                    if let Some(set_state) = self.sets.get_mut(set)
                        && (set_state.flag(*entry) || set_state.waiting.is_some())
                        && !std::mem::replace(&mut set_state.woken, true)
                    {
                        self.woken.push(*set);
                    }
                }
            }
        }
        let directory = partition.directory;
        let mut answers = Vec::with_capacity(done.len());
        for (index, decided) in done {
            let PendingBatch { produce, entry, .. } = pending[index];
            match decided {
                Ok((upto, base_offset, append_time_ms)) if upto <= committed => {
                    answers.push((produce, appended(entry, base_offset, append_time_ms, log_start)));
                }
                Ok((upto, base_offset, append_time_ms)) => {
                    let acks = self.produces.get(produce as usize).map_or(0, |produce| produce.acks);
                    if acks == 0 || acks == 1 && upto <= own_end {
                        answers.push((produce, appended(entry, base_offset, append_time_ms, log_start)));
                    } else {
                        let alone = acks == 1;
                        let waiting =
                            Unacknowledged { produce, entry, upto, alone, base_offset, append_time_ms };
                        partition.unacknowledged.push_back(waiting);
                    }
                }
                Err(refusal) => answers.push((produce, refused(entry, &refusal))),
            }
        }
        // The leases of this turn go back to the pool here.
        pending.clear();
        partition.pending = pending;
        if wrote {
            self.note_written(slot, directory);
        }
        if wrote && !alone {
            self.note_caught_up(slot, end_before);
            self.advance(slot, now);
        }
        if closed {
            self.note_closed(slot, directory, active_before);
        }
        for (produce, part) in answers {
            self.produced(produce, part);
        }
        if let Err(error) = result {
            self.directory_failed(directory, &error);
        }
    }

    /// A client has waited as long as it said: what is not committed is answered as timed out (contract 2.6).
    pub(super) fn on_produce_late(&mut self, key: u32, reply: (u32, u32, u32)) {
        let Some(waiting) = self.produces.get_mut(key as usize) else { return };
        if identity(waiting.asker) != reply {
            return;
        }
        let mut late = Vec::new();
        for slot in std::mem::take(&mut waiting.slots) {
            let Some(partition) = partition_mut(&mut self.partitions, slot) else { continue };
            partition.unacknowledged.retain(|unacknowledged| {
                let this = unacknowledged.produce == key;
                if this {
                    late.push(unacknowledged.entry);
                }
                !this
            });
        }
        for entry in late {
            self.produced(key, ProducedPart::refused(entry, ErrorCode::RequestTimedOut, None));
        }
    }
}

/// Tells one request from another that has its place in the table later.
fn identity(asker: Asker) -> (u32, u32, u32) {
    match asker {
        Asker::Client(reply_to) => (reply_to.connection, reply_to.generation, reply_to.request),
        // No connection has this number.
        Asker::Coordinator { slot, append } => (u32::MAX, slot, append),
    }
}

pub(super) fn appended(
    entry: u32,
    base_offset: Offset,
    append_time_ms: i64,
    log_start: Offset,
) -> ProducedPart {
    ProducedPart {
        entry,
        error: ErrorCode::None,
        message: None,
        record_errors: Vec::new(),
        base_offset,
        log_append_time_ms: append_time_ms,
        log_start_offset: log_start,
    }
}

pub(super) fn refused(entry: u32, refusal: &AppendRefusal) -> ProducedPart {
    let error = match refusal {
        AppendRefusal::Producer(Refusal::OutOfOrder { .. }) => ErrorCode::OutOfOrderSequenceNumber,
        AppendRefusal::Producer(Refusal::StaleEpoch { .. }) => ErrorCode::InvalidProducerEpoch,
        AppendRefusal::Producer(Refusal::OutsideTransaction { .. }) => ErrorCode::InvalidTxnState,
        AppendRefusal::Producer(Refusal::StaleCoordinator { .. }) => ErrorCode::TransactionCoordinatorFenced,
        AppendRefusal::NotABatch => ErrorCode::InvalidRecord,
        AppendRefusal::TooLarge { .. } => ErrorCode::MessageTooLarge,
        AppendRefusal::LargerThanSegment { .. } => ErrorCode::RecordListTooLarge,
        AppendRefusal::NoSpace | AppendRefusal::Failed => ErrorCode::KafkaStorageError,
    };
    ProducedPart::refused(entry, error, Some(refusal.to_string()))
}
