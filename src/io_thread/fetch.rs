//! Reading: from a fetch command to its outcome.
//!
//! In: sets of partitions, and news of them. Out: places in files where they are resident, bytes read and checked where they
//! are not. A fetch without enough waits in its set; an append or the high watermark looks at it again.

use std::cmp::Reverse;

use crate::api::command::{
    AbortedTransaction, Fetch, FetchSetId, Fetched, FetchedPart, Outcome, Records, ReplyTo,
};
use crate::clock::Instant;
use crate::config::FetchEngine;
use crate::ids::{BrokerId, Offset};
use crate::io_thread::answer::end_of_epoch;
use crate::io_thread::fetch_set::{self, FetchSet, Reading, Waiting};
use crate::io_thread::lookup::{self, InMemory, LookUp, Missing};
use crate::io_thread::partition::Role;
use crate::io_thread::{
    COLD_BYTES_MAX, Due, IoLoop, LOOKUPS_MAX, directory, epoch_error, partition_mut, token, tokens,
};
use crate::log::{self, ReadError};
use crate::reactor::{Disk, Engine, File, Operation};
use crate::wire::batch;
use crate::wire::error_code::ErrorCode;

/// Who reads, and so how far.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reader {
    /// All there is, if the broker has a replica.
    Follower(BrokerId),
    /// To the last stable offset.
    Committed,
    /// To the high watermark.
    Consumer,
}

/// What a broker is told that fetches as a follower and has no replica (contract 5.7).
fn not_a_replica(reader: Reader, role: &Role, leader_epoch: i32) -> Option<ErrorCode> {
    let Reader::Follower(id) = reader else { return None };
    let follows = matches!(role, Role::Leads(leader) if leader.has_follower(id));
    let error =
        if leader_epoch >= 0 { ErrorCode::UnknownLeaderEpoch } else { ErrorCode::NotLeaderOrFollower };
    (!follows).then_some(error)
}

/// Whether a log whose last epoch is `epoch` and that ends at `end` has what this one does not (KIP-595, contract 5.7).
pub(super) fn parts_from(log: &log::Log, epoch: i32, end: Offset) -> bool {
    end_of_epoch(log, epoch).is_none_or(|(known, ended)| known < epoch || ended < end)
}

/// A cold range of a fetch being read.
#[derive(Debug)]
pub(super) struct ColdRead {
    set: FetchSetId,
    reply_to: ReplyTo,
    part: usize,
    slot: u32,
    file: File,
    position: u64,
    /// Bytes there are; a first read may take fewer.
    whole: u32,
}

impl IoLoop {
    pub(super) fn flag(&mut self, id: FetchSetId, entry: u32) {
        // Also one that was flagged before: what waits may have been too little until now.
        if let Some(set) = self.sets.get_mut(&id)
            && (set.flag(entry) || set.waiting.is_some())
        {
            self.wake(id);
        }
    }

    pub(super) fn wake(&mut self, id: FetchSetId) {
        if let Some(set) = self.sets.get_mut(&id)
            && !std::mem::replace(&mut set.woken, true)
        {
            self.woken.push(id);
        }
    }

    pub(super) fn forget(&mut self, id: FetchSetId) {
        let Some(set) = self.sets.remove(&id) else { return };
        for (entry, slot) in set.live() {
            self.unwatch(id, slot, entry);
        }
    }

    pub(super) fn unwatch(&mut self, id: FetchSetId, slot: u32, entry: u32) {
        if let Some(partition) = partition_mut(&mut self.partitions, slot)
            && let Some(at) = partition.watchers.iter().position(|watcher| *watcher == (id, entry))
        {
            partition.watchers.swap_remove(at);
        }
    }

    pub(super) fn on_fetch(&mut self, fetch: &Fetch, now: Instant) {
        let id = fetch.set;
        self.waits += 1;
        let set = self.sets.entry(id).or_default();
        set.session = fetch.session;
        set.replica = fetch.replica;
        set.asked_at = now;
        let (watch, unwatch) = set.apply(fetch);
        set.waiting = Some(Waiting {
            reply_to: fetch.reply_to,
            deadline: fetch.deadline,
            min_bytes: fetch.min_bytes,
            max_bytes: fetch.max_bytes,
            full: fetch.full,
            alone: fetch.alone,
            read_committed: fetch.read_committed,
            at_least_one: fetch.at_least_one,
            number: self.waits,
            told_bytes: 0,
        });
        self.due.push(Reverse((
            fetch.deadline,
            Due::Fetch { set: (id.reactor.0, id.number), number: self.waits },
        )));
        for (slot, entry) in unwatch {
            self.unwatch(id, slot, entry);
        }
        for (slot, entry) in watch {
            if let Some(partition) = partition_mut(&mut self.partitions, slot) {
                partition.watchers.push((id, entry));
            }
        }
        if let Some(replica) = fetch.replica {
            for update in &fetch.updates {
                self.on_follower(update, replica, now);
            }
        }
        self.wake(id);
    }

    /// Looks at a set that has news: answers its fetch when there is enough, or the time has come.
    pub(super) fn look(&mut self, id: FetchSetId, now: Instant, engine: &mut dyn Engine) {
        let Some(mut set) = self.sets.remove(&id) else { return };
        set.woken = false;
        let mut keep = true;
        if let Some(waiting) = set.waiting
            && set.reading.is_none()
        {
            keep = self.answer(id, &mut set, waiting, now, engine);
        }
        if keep {
            self.sets.insert(id, set);
        } else {
            for (entry, slot) in set.live() {
                self.unwatch(id, slot, entry);
            }
        }
    }

    /// False when the set has ended with its answer.
    pub(super) fn answer(
        &mut self,
        id: FetchSetId,
        set: &mut FetchSet,
        waiting: Waiting,
        now: Instant,
        engine: &mut dyn Engine,
    ) -> bool {
        let due = waiting.deadline <= now;
        let mut parts = Vec::new();
        let mut cold = Vec::new();
        let mut bytes = 0u64;
        let mut urgent = false;
        let mut again = Vec::new();
        // A full fetch answers every partition, so every one is looked at once.
        if waiting.full {
            let live: Vec<u32> = set.live().map(|(entry, _)| entry).collect();
            for entry in live {
                set.flag(entry);
            }
        }
        for _ in 0..set.flagged() {
            let Some(number) = set.next_flagged() else { break };
            let room = waiting.max_bytes.saturating_sub(bytes);
            if room == 0 && bytes > 0 && !waiting.full {
                again.push(number);
                break;
            }
            let entry = set.entry_mut(number).clone();
            if entry.looking_up {
                again.push(number);
                continue;
            }
            let first = bytes == 0 && waiting.at_least_one;
            let reader = match set.replica {
                Some(id) => Reader::Follower(id),
                None if waiting.read_committed => Reader::Committed,
                None => Reader::Consumer,
            };
            let (part, is_cold) = match self.read(&entry, number, room, first, reader, engine.disk()) {
                Ok(found) => found,
                Err(missing) => {
                    set.look_up(number);
                    self.look_up(LookUp::Fetch { set: id, entry: number }, missing, engine);
                    again.push(number);
                    continue;
                }
            };
            set.entry_mut(number).lookups = 0;
            let length = part.records.length() as u64;
            bytes += length;
            urgent |= part.error != ErrorCode::None || part.diverging.is_some();
            let news = length > 0
                || part.error != ErrorCode::None
                || part.diverging.is_some()
                || part.high_watermark != entry.told_high_watermark
                || part.log_start_offset != entry.told_log_start;
            let readable = match reader {
                // Whatever of it there is was found.
                Reader::Follower(_) => entry.offset.plus(i64::from(length > 0)),
                Reader::Committed => part.last_stable_offset,
                Reader::Consumer => part.high_watermark,
            };
            if part.error != ErrorCode::None || part.diverging.is_some() || entry.offset < readable {
                // Its place is behind the others until the client has moved on, also when its next batch did not fit.
                again.push(number);
            }
            if news || waiting.full {
                parts.push((part, entry.slot, is_cold));
            }
        }
        let is_whole = set.looking_up == 0;
        let enough = (bytes >= waiting.min_bytes || urgent) && (is_whole || !waiting.full);
        if !(enough || due && is_whole) {
            for (part, _, _) in &parts {
                set.flag(part.entry);
            }
            for number in again {
                set.flag(number);
            }
            if !waiting.alone && bytes > waiting.told_bytes {
                let waiting = set.waiting.as_mut().expect("just looked at");
                waiting.told_bytes = bytes;
                let outcome = Outcome::Available { reply_to: waiting.reply_to, set: id, bytes };
                self.outcomes.push((id.reactor, outcome));
            }
            return true;
        }
        set.waiting = None;
        for number in again {
            set.flag(number);
        }
        for (part, slot, is_cold) in &mut parts {
            if part.error == ErrorCode::None {
                set.told(part.entry, part.high_watermark, part.log_start_offset);
            } else {
                // It is told again with the next answer, whatever changed.
                set.told(part.entry, Offset(-1), Offset(-1));
            }
            if let Some(partition) = partition_mut(&mut self.partitions, *slot) {
                let metrics = &partition.topic_metrics;
                metrics.fetch_requests.increment();
                metrics.fetch_requests_failed.add(u64::from(part.error != ErrorCode::None));
                metrics.bytes_out.add(part.records.length() as u64);
            }
            if let Records::Place { file, position, length, .. } = &part.records
                && *is_cold
            {
                cold.push((part.entry, *slot, file.clone(), *position, *length));
            }
        }
        let mut parts: Vec<FetchedPart> = parts.into_iter().map(|(part, _, _)| part).collect();
        if cold.is_empty() {
            let fetched = Fetched { reply_to: waiting.reply_to, set: id, parts };
            self.outcomes.push((id.reactor, Outcome::Fetched(fetched)));
            return set.session;
        }
        for (entry, slot, file, position, length) in &cold {
            let part = parts.iter().position(|part| part.entry == *entry).expect("it came from there");
            parts[part].records = Records::None;
            let read = ColdRead {
                set: id,
                reply_to: waiting.reply_to,
                part,
                slot: *slot,
                file: file.clone(),
                position: *position,
                whole: *length,
            };
            self.start_cold_read(read, (*length).min(COLD_BYTES_MAX), engine);
        }
        set.reading = Some(Reading { reply_to: waiting.reply_to, parts, left: cold.len() });
        true
    }

    /// What one partition has for a reader: the place of whole batches, or why not; and whether they are cold. An error is
    /// the range that has to be in memory before that can be said.
    pub(super) fn read(
        &mut self,
        entry: &fetch_set::Entry,
        number: u32,
        room: u64,
        first: bool,
        reader: Reader,
        disk: &dyn Disk,
    ) -> Result<(FetchedPart, bool), Missing> {
        let in_memory = InMemory(disk);
        let search: &dyn Disk = if entry.lookups < LOOKUPS_MAX { &in_memory } else { disk };
        let mut cold = false;
        let read_committed = reader == Reader::Committed;
        let mut part = FetchedPart::empty(number);
        let Some(partition) = partition_mut(&mut self.partitions, entry.slot) else {
            part.error = ErrorCode::UnknownTopicOrPartition;
            return Ok((part, false));
        };
        let refusal = epoch_error(entry.leader_epoch, partition.leader_epoch)
            .or_else(|| (!partition.leads()).then_some(ErrorCode::NotLeaderOrFollower))
            .or_else(|| not_a_replica(reader, &partition.role, entry.leader_epoch));
        if let Some(error) = refusal {
            part.error = error;
            return Ok((part, false));
        }
        if partition.log.has_failed() {
            part.error = ErrorCode::KafkaStorageError;
            return Ok((part, false));
        }
        let log = &mut partition.log;
        part.high_watermark = log.high_watermark();
        part.last_stable_offset = log.last_stable_offset();
        part.log_start_offset = log.start_offset();
        if entry.max_bytes < 0 {
            part.error = ErrorCode::UnknownServerError;
            return Ok((part, false));
        }
        // First where the logs part: a follower that has more than this one is cut there, not at this one's end.
        if entry.last_fetched_epoch >= 0 && parts_from(log, entry.last_fetched_epoch, entry.offset) {
            part.diverging = end_of_epoch(log, entry.last_fetched_epoch);
            if part.diverging.is_none() {
                part.error = ErrorCode::OffsetOutOfRange;
            }
            return Ok((part, false));
        }
        if entry.offset < log.start_offset() || entry.offset > log.end_offset() {
            part.error = ErrorCode::OffsetOutOfRange;
            return Ok((part, false));
        }
        let limit = match reader {
            Reader::Follower(_) => log.end_offset(),
            Reader::Committed => part.last_stable_offset,
            Reader::Consumer => part.high_watermark,
        };
        if read_committed {
            part.aborted = Some(Vec::new());
        }
        if entry.offset >= limit {
            return Ok((part, false));
        }
        let max_bytes = u64::from(entry.max_bytes as u32).min(room) as u32;
        // Only the first partition with records may exceed the limit, by its first batch (KIP-74).
        let wanted = log::Read { offset: entry.offset, bytes_max: max_bytes, limit, at_least_one: first };
        let found = log.read(search, wanted).and_then(|place| {
            if read_committed && place.length > 0 {
                let aborted = log.aborted_transactions(search, entry.offset, limit)?;
                let of = |a: &log::transaction_index::AbortedTransaction| AbortedTransaction {
                    producer_id: a.producer_id,
                    first_offset: Offset(a.first_offset),
                };
                part.aborted = Some(aborted.iter().map(of).collect());
            }
            Ok(place)
        });
        match found {
            Ok(place) if place.length > 0 => {
                let (position, length) = (u64::from(place.position), place.length);
                let window = &mut self.windows[usize::from(partition.directory)];
                let reading = match self.fetch_engine {
                    FetchEngine::Auto | FetchEngine::Copy | FetchEngine::Sendfile => {
                        directory::resident(disk, window, entry.slot, &place)
                    }
                    FetchEngine::Ring => None,
                };
                cold = reading.is_none();
                part.records =
                    Records::Place { file: place.file, position, length, reading: reading.flatten() };
            }
            Ok(_) => {}
            Err(ReadError::OutOfRange { .. }) => part.error = ErrorCode::OffsetOutOfRange,
            Err(error) => {
                if let Some(missing) = lookup::missing(&error) {
                    return Err(missing.clone());
                }
                tracing::error!(topic = %partition.topic, partition = partition.number, offset = entry.offset.0, %error, "a read failed");
                part.error = ErrorCode::KafkaStorageError;
            }
        }
        Ok((part, cold))
    }

    pub(super) fn start_cold_read(&mut self, read: ColdRead, length: u32, engine: &mut dyn Engine) {
        let (file, position) = (read.file.clone(), read.position);
        let key = self.cold_reads.insert(read);
        let into = vec![0; length as usize];
        engine.submit(token(tokens::COLD_READ, key), Operation::Read { file, position, into });
    }

    pub(super) fn on_cold_read(
        &mut self,
        key: usize,
        into: Vec<u8>,
        result: std::io::Result<usize>,
        engine: &mut dyn Engine,
    ) {
        let read = self.cold_reads.remove(key);
        // One batch may be longer than what is read at first.
        let first = batch::front(&into).map_or(0, |front| front.total_bytes);
        if result.is_ok() && first > into.len() && into.len() < read.whole as usize {
            let whole = read.whole;
            return self.start_cold_read(read, whole, engine);
        }
        let Some(set) = self.sets.get_mut(&read.set) else { return };
        let Some(reading) = &mut set.reading else { return };
        if reading.reply_to != read.reply_to {
            return;
        }
        let part = &mut reading.parts[read.part];
        match result {
            Ok(_) => match checked(into) {
                Ok(bytes) => part.records = Records::Bytes(bytes),
                Err(reason) => {
                    part.error = ErrorCode::CorruptMessage;
                    if let Some(partition) = partition_mut(&mut self.partitions, read.slot) {
                        tracing::error!(topic = %partition.topic, partition = partition.number, position = read.position, "a batch on disk is damaged and is not served: {reason}");
                    }
                }
            },
            Err(error) => {
                part.error = ErrorCode::KafkaStorageError;
                if let Some(partition) = partition_mut(&mut self.partitions, read.slot) {
                    tracing::error!(topic = %partition.topic, partition = partition.number, position = read.position, %error, "a read failed");
                }
            }
        }
        reading.left -= 1;
        if reading.left > 0 {
            return;
        }
        let Reading { reply_to, parts, .. } = set.reading.take().expect("just looked at");
        self.outcomes.push((read.set.reactor, Outcome::Fetched(Fetched { reply_to, set: read.set, parts })));
        let ended = !set.session && set.waiting.is_none();
        if ended {
            self.forget(read.set);
        } else if self.sets.get(&read.set).is_some_and(|set| set.waiting.is_some()) {
            self.wake(read.set);
        }
    }
}

/// Whole batches of a cold range, each with a good CRC; a cut batch at the end is left out unless it is the first, which
/// then is sent as it is and cut, as Kafka does.
pub(super) fn checked(mut bytes: Vec<u8>) -> Result<Vec<u8>, String> {
    let mut good = 0;
    for batch in batch::batches(&bytes) {
        let (_, batch) = match batch {
            Ok(batch) => batch,
            // The range ends inside a batch.
            Err(_) if good > 0 => break,
            Err(error) => return Err(error.to_string()),
        };
        if !batch.crc_matches() {
            return Err(format!("CRC of the batch at offset {} does not match", batch.base_offset()));
        }
        good += batch.bytes().len();
    }
    bytes.truncate(good);
    Ok(bytes)
}
