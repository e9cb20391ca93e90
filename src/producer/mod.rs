//! Idempotence (contract 2.5): what a partition remembers of each producer, and what it therefore makes of a batch.
//!
//! In: headers of batches in the order of the log, and transaction markers. Out: new, duplicate or refused; the first
//! offset that no transaction holds back. Pure: `snapshot` turns the state into bytes, the log stores them.

mod snapshot;

use std::collections::BTreeMap;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

pub use snapshot::{SnapshotError, snapshot_entries};

use crate::wire::batch::{BatchHeader, HEADER_BYTES, advance_sequence};
use crate::wire::record::Records;

/// Batches remembered per producer: as many as a producer may have in flight.
const BATCHES_MAX: usize = 5;
const NO_SEQUENCE: i32 = -1;

/// One remembered batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RememberedBatch {
    pub last_sequence: i32,
    pub last_offset: i64,
    pub offset_delta: i32,
    pub timestamp: i64,
}

impl RememberedBatch {
    pub fn first_offset(&self) -> i64 {
        self.last_offset - i64::from(self.offset_delta)
    }

    pub fn first_sequence(&self) -> i32 {
        ((i64::from(self.last_sequence) - i64::from(self.offset_delta)) & i64::from(i32::MAX)) as i32
    }
}

/// What is remembered of one producer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Producer {
    pub epoch: i16,
    pub coordinator_epoch: i32,
    pub last_timestamp: i64,
    /// First offset of its open transaction.
    pub transaction_first: Option<i64>,
    batches: [RememberedBatch; BATCHES_MAX],
    batch_count: u8,
}

const NO_BATCH: RememberedBatch =
    RememberedBatch { last_sequence: NO_SEQUENCE, last_offset: -1, offset_delta: 0, timestamp: -1 };

impl Producer {
    fn new(epoch: i16) -> Producer {
        Producer {
            epoch,
            coordinator_epoch: -1,
            last_timestamp: -1,
            transaction_first: None,
            batches: [NO_BATCH; BATCHES_MAX],
            batch_count: 0,
        }
    }

    /// The remembered batches, oldest first.
    pub fn batches(&self) -> &[RememberedBatch] {
        &self.batches[..usize::from(self.batch_count)]
    }

    pub fn last_batch(&self) -> Option<&RememberedBatch> {
        self.batches().last()
    }

    fn remember(&mut self, batch: RememberedBatch) {
        if usize::from(self.batch_count) == BATCHES_MAX {
            self.batches.rotate_left(1);
            self.batches[BATCHES_MAX - 1] = batch;
        } else {
            self.batches[usize::from(self.batch_count)] = batch;
            self.batch_count += 1;
        }
    }

    fn set_epoch(&mut self, epoch: i16) {
        if self.epoch != epoch {
            self.epoch = epoch;
            self.batches = [NO_BATCH; BATCHES_MAX];
            self.batch_count = 0;
        }
    }
}

/// What a batch is to the partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// To be appended.
    New,
    /// It is in the log: the producer asks for the answer it did not get.
    Duplicate {
        base_offset: i64,
        last_offset: i64,
        timestamp: i64,
    },
    Refused(Refusal),
}

/// Why a batch or a marker may not be appended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    #[error("sequence {found} of producer {producer_id} where {expected} comes next")]
    OutOfOrder { producer_id: i64, expected: i32, found: i32 },
    #[error("epoch {found} of producer {producer_id} is older than {current}")]
    StaleEpoch { producer_id: i64, current: i16, found: i16 },
    #[error("producer {producer_id} sends outside the transaction it has open")]
    OutsideTransaction { producer_id: i64 },
    #[error("coordinator epoch {found} for producer {producer_id} is older than {current}")]
    StaleCoordinator { producer_id: i64, current: i32, found: i32 },
}

/// A transaction marker, as the coordinator wrote it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Marker {
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub coordinator_epoch: i32,
    pub timestamp: i64,
    pub is_commit: bool,
}

impl Marker {
    /// Reads the marker in a control batch; `None` for control batches of other kinds. Larger versions than 0 have
    /// more fields, the known ones come first.
    pub fn parse(header: &BatchHeader, batch: &[u8]) -> Option<Marker> {
        let record = Records::new(batch.get(HEADER_BYTES..)?, 1).next()?.ok()?;
        let key: &[u8; 4] = record.key?.first_chunk()?;
        let value: &[u8; 6] = record.value?.first_chunk()?;
        let is_commit = match i16::from_be_bytes([key[2], key[3]]) {
            0 => false,
            1 => true,
            _ => return None,
        };
        Some(Marker {
            producer_id: header.producer_id(),
            producer_epoch: header.producer_epoch(),
            coordinator_epoch: i32::from_be_bytes(*value.last_chunk()?),
            timestamp: header.max_timestamp(),
            is_commit,
        })
    }
}

/// A transaction that a marker has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EndedTransaction {
    pub producer_id: i64,
    pub first_offset: i64,
    /// Of the marker.
    pub last_offset: i64,
    pub is_aborted: bool,
}

/// What to put back when a batch that was recorded did not reach the disk.
#[derive(Clone, Copy, Debug)]
pub struct Before {
    producer_id: i64,
    state: Option<Producer>,
    ended_marker: Option<i64>,
}

/// All producers of a partition.
#[derive(Clone, Debug, Default)]
pub struct Producers {
    producers: HashMap<i64, Producer, FixedState>,
    /// Open transactions by their first offset.
    open: BTreeMap<i64, i64>,
    /// Ended transactions by the offset of their marker, while that is not below the high watermark.
    ended: BTreeMap<i64, i64>,
}

impl Producers {
    pub fn len(&self) -> usize {
        self.producers.len()
    }

    pub fn is_empty(&self) -> bool {
        self.producers.is_empty()
    }

    pub fn get(&self, producer_id: i64) -> Option<&Producer> {
        self.producers.get(&producer_id)
    }

    /// In the order of their ids.
    pub fn sorted(&self) -> Vec<(i64, &Producer)> {
        let mut all: Vec<(i64, &Producer)> = self.producers.iter().map(|(id, p)| (*id, p)).collect();
        all.sort_unstable_by_key(|(id, _)| *id);
        all
    }

    /// What `header`'s batch is to this partition; changes nothing.
    pub fn admit(&self, header: &BatchHeader) -> Verdict {
        let producer_id = header.producer_id();
        if producer_id < 0 {
            return Verdict::New;
        }
        // Of an unknown producer any sequence is taken: its state may have expired, or been deleted with its records.
        let Some(producer) = self.producers.get(&producer_id) else { return Verdict::New };
        let (first, last) = (header.base_sequence(), header.last_sequence().unwrap_or(NO_SEQUENCE));
        let epoch = header.producer_epoch();
        if epoch == producer.epoch {
            let same =
                |batch: &&RememberedBatch| batch.last_sequence == last && batch.first_sequence() == first;
            if let Some(batch) = producer.batches().iter().rev().find(same) {
                return Verdict::Duplicate {
                    base_offset: batch.first_offset(),
                    last_offset: batch.last_offset,
                    timestamp: batch.timestamp,
                };
            }
        }
        if epoch < producer.epoch {
            return Verdict::Refused(Refusal::StaleEpoch {
                producer_id,
                current: producer.epoch,
                found: epoch,
            });
        }
        let expected = match producer.last_batch() {
            Some(batch) if epoch == producer.epoch => advance_sequence(batch.last_sequence, 1),
            Some(_) | None => 0,
        };
        if first != expected && producer.epoch >= 0 {
            return Verdict::Refused(Refusal::OutOfOrder { producer_id, expected, found: first });
        }
        if producer.transaction_first.is_some() && !header.is_transactional() {
            return Verdict::Refused(Refusal::OutsideTransaction { producer_id });
        }
        Verdict::New
    }

    /// Notes that `header`'s batch stands at `base_offset`. A batch that is known already (a snapshot of 1.0 may hold
    /// the batch that caused it) changes nothing.
    pub fn record(&mut self, header: &BatchHeader, base_offset: i64) -> Option<Before> {
        let producer_id = header.producer_id();
        if producer_id < 0 {
            return None;
        }
        let before = self.producers.get(&producer_id).copied();
        let mut producer = before.unwrap_or_else(|| Producer::new(header.producer_epoch()));
        let last_offset = base_offset + i64::from(header.last_offset_delta());
        if producer.last_batch().is_some_and(|known| known.last_offset >= last_offset) {
            return None;
        }
        producer.set_epoch(header.producer_epoch());
        producer.remember(RememberedBatch {
            last_sequence: header.last_sequence().unwrap_or(NO_SEQUENCE),
            last_offset,
            offset_delta: header.last_offset_delta(),
            timestamp: header.max_timestamp(),
        });
        producer.last_timestamp = header.max_timestamp();
        if header.is_transactional() && producer.transaction_first.is_none() {
            producer.transaction_first = Some(base_offset);
            self.open.insert(base_offset, producer_id);
        }
        self.producers.insert(producer_id, producer);
        Some(Before { producer_id, state: before, ended_marker: None })
    }

    /// Whether the coordinator may write `marker` here.
    pub fn admit_marker(&self, marker: &Marker) -> Result<(), Refusal> {
        let Some(producer) = self.producers.get(&marker.producer_id) else { return Ok(()) };
        let producer_id = marker.producer_id;
        if marker.producer_epoch < producer.epoch {
            let (current, found) = (producer.epoch, marker.producer_epoch);
            return Err(Refusal::StaleEpoch { producer_id, current, found });
        }
        if marker.coordinator_epoch < producer.coordinator_epoch {
            let (current, found) = (producer.coordinator_epoch, marker.coordinator_epoch);
            return Err(Refusal::StaleCoordinator { producer_id, current, found });
        }
        Ok(())
    }

    /// Notes that `marker` stands at `offset`; the transaction it has ended, when one was open.
    pub fn record_marker(&mut self, marker: &Marker, offset: i64) -> (Before, Option<EndedTransaction>) {
        let before = self.producers.get(&marker.producer_id).copied();
        let mut producer = before.unwrap_or_else(|| Producer::new(marker.producer_epoch));
        producer.set_epoch(marker.producer_epoch);
        producer.coordinator_epoch = marker.coordinator_epoch;
        producer.last_timestamp = marker.timestamp;
        let ended = producer.transaction_first.take().map(|first_offset| {
            self.open.remove(&first_offset);
            self.ended.insert(offset, first_offset);
            EndedTransaction {
                producer_id: marker.producer_id,
                first_offset,
                last_offset: offset,
                is_aborted: !marker.is_commit,
            }
        });
        self.producers.insert(marker.producer_id, producer);
        let ended_marker = ended.as_ref().map(|_| offset);
        (Before { producer_id: marker.producer_id, state: before, ended_marker }, ended)
    }

    /// Takes back a `record` or `record_marker`. Several are taken back from the newest on.
    pub fn undo(&mut self, before: Before) {
        let now = self.producers.get(&before.producer_id).and_then(|p| p.transaction_first);
        if let Some(first) = now {
            self.open.remove(&first);
        }
        if let Some(marker) = before.ended_marker {
            self.ended.remove(&marker);
        }
        match before.state {
            Some(state) => {
                if let Some(first) = state.transaction_first {
                    self.open.insert(first, before.producer_id);
                }
                self.producers.insert(before.producer_id, state);
            }
            None => {
                self.producers.remove(&before.producer_id);
            }
        }
    }

    /// The first offset of the oldest transaction that is open, or whose marker is not below the high watermark.
    pub fn first_unstable(&self) -> Option<i64> {
        let open = self.open.keys().next().copied();
        let ended = self.ended.values().min().copied();
        open.into_iter().chain(ended).min()
    }

    /// The first offset of the oldest open transaction that is not of `producer_id`.
    pub fn first_open_except(&self, producer_id: i64) -> Option<i64> {
        self.open.iter().find(|(_, id)| **id != producer_id).map(|(first, _)| *first)
    }

    /// Transactions whose marker is now below the high watermark hold nothing back any more.
    pub fn on_high_watermark(&mut self, high_watermark: i64) {
        while let Some(first) = self.ended.first_entry() {
            if *first.key() >= high_watermark {
                break;
            }
            first.remove();
        }
    }

    /// Forgets producers that have been silent for `expiration_ms` and have no open transaction.
    pub fn expire(&mut self, now_ms: i64, expiration_ms: i64) {
        self.producers.retain(|_, producer| {
            producer.transaction_first.is_some()
                || now_ms.saturating_sub(producer.last_timestamp) < expiration_ms
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header of `count` records.
    fn header(id: i64, epoch: i16, sequence: i32, count: i32, transactional: bool) -> BatchHeader {
        let mut bytes = [0u8; HEADER_BYTES];
        bytes[8..12].copy_from_slice(&49i32.to_be_bytes());
        bytes[16] = 2;
        bytes[22] = if transactional { 0x10 } else { 0 };
        bytes[23..27].copy_from_slice(&(count - 1).to_be_bytes());
        bytes[35..43].copy_from_slice(&1000i64.to_be_bytes());
        bytes[43..51].copy_from_slice(&id.to_be_bytes());
        bytes[51..53].copy_from_slice(&epoch.to_be_bytes());
        bytes[53..57].copy_from_slice(&sequence.to_be_bytes());
        bytes[57..61].copy_from_slice(&count.to_be_bytes());
        BatchHeader::peek(&bytes).expect("a whole header")
    }

    fn plain(id: i64, epoch: i16, sequence: i32, count: i32) -> BatchHeader {
        header(id, epoch, sequence, count, false)
    }

    #[test]
    fn a_repeated_batch_answers_where_the_first_one_stands() {
        let mut producers = Producers::default();
        for i in 0..5 {
            assert_eq!(producers.admit(&plain(7, 0, i * 3, 3)), Verdict::New);
            producers.record(&plain(7, 0, i * 3, 3), 100 + i64::from(i) * 3);
        }
        for i in 0..5 {
            let verdict = producers.admit(&plain(7, 0, i * 3, 3));
            let base_offset = 100 + i64::from(i) * 3;
            assert_eq!(
                verdict,
                Verdict::Duplicate { base_offset, last_offset: base_offset + 2, timestamp: 1000 }
            );
        }
    }

    #[test]
    fn a_batch_older_than_the_last_five_is_out_of_order() {
        let mut producers = Producers::default();
        for i in 0..6 {
            producers.record(&plain(7, 0, i, 1), i64::from(i));
        }
        let refusal = Refusal::OutOfOrder { producer_id: 7, expected: 6, found: 0 };
        assert_eq!(producers.admit(&plain(7, 0, 0, 1)), Verdict::Refused(refusal));
    }

    #[test]
    fn a_gap_is_refused_and_an_unknown_producer_may_start_anywhere() {
        let mut producers = Producers::default();
        assert_eq!(producers.admit(&plain(7, 0, 40, 2)), Verdict::New);
        producers.record(&plain(7, 0, 40, 2), 0);
        assert_eq!(producers.admit(&plain(7, 0, 42, 1)), Verdict::New);
        let refusal = Refusal::OutOfOrder { producer_id: 7, expected: 42, found: 43 };
        assert_eq!(producers.admit(&plain(7, 0, 43, 1)), Verdict::Refused(refusal));
    }

    #[test]
    fn sequences_wrap_to_zero() {
        let mut producers = Producers::default();
        producers.record(&plain(7, 0, i32::MAX - 1, 4), 0);
        assert_eq!(producers.get(7).unwrap().last_batch().unwrap().last_sequence, 1);
        assert_eq!(producers.get(7).unwrap().last_batch().unwrap().first_sequence(), i32::MAX - 1);
        assert!(matches!(producers.admit(&plain(7, 0, i32::MAX - 1, 4)), Verdict::Duplicate { .. }));
        assert_eq!(producers.admit(&plain(7, 0, 2, 1)), Verdict::New);
        producers.record(&plain(8, 0, i32::MAX, 1), 4);
        assert_eq!(producers.admit(&plain(8, 0, 0, 1)), Verdict::New);
    }

    #[test]
    fn an_older_epoch_is_fenced_and_a_newer_one_starts_at_zero() {
        let mut producers = Producers::default();
        producers.record(&plain(7, 3, 5, 1), 0);
        let stale = Refusal::StaleEpoch { producer_id: 7, current: 3, found: 2 };
        assert_eq!(producers.admit(&plain(7, 2, 6, 1)), Verdict::Refused(stale));
        let gap = Refusal::OutOfOrder { producer_id: 7, expected: 0, found: 6 };
        assert_eq!(producers.admit(&plain(7, 4, 6, 1)), Verdict::Refused(gap));
        assert_eq!(producers.admit(&plain(7, 4, 0, 1)), Verdict::New);
        producers.record(&plain(7, 4, 0, 1), 1);
        assert_eq!(producers.get(7).unwrap().batches().len(), 1);
    }

    #[test]
    fn a_transaction_holds_back_from_its_first_offset_until_its_marker_is_committed() {
        let mut producers = Producers::default();
        producers.record(&header(7, 0, 0, 2, true), 10);
        producers.record(&header(8, 0, 0, 1, true), 12);
        assert_eq!(producers.first_unstable(), Some(10));
        let outside = Refusal::OutsideTransaction { producer_id: 7 };
        assert_eq!(producers.admit(&plain(7, 0, 2, 1)), Verdict::Refused(outside));
        let marker = Marker {
            producer_id: 7,
            producer_epoch: 0,
            coordinator_epoch: 5,
            timestamp: 1,
            is_commit: false,
        };
        let (_, ended) = producers.record_marker(&marker, 13);
        let aborted =
            EndedTransaction { producer_id: 7, first_offset: 10, last_offset: 13, is_aborted: true };
        assert_eq!(ended, Some(aborted));
        assert_eq!(producers.first_unstable(), Some(10), "the marker is not below the high watermark");
        producers.on_high_watermark(14);
        assert_eq!(producers.first_unstable(), Some(12));
    }

    #[test]
    fn markers_of_older_epochs_and_coordinators_are_refused() {
        let mut producers = Producers::default();
        let marker =
            Marker { producer_id: 7, producer_epoch: 2, coordinator_epoch: 5, timestamp: 1, is_commit: true };
        producers.record_marker(&marker, 3);
        let stale = producers.admit_marker(&Marker { producer_epoch: 1, ..marker });
        assert_eq!(stale, Err(Refusal::StaleEpoch { producer_id: 7, current: 2, found: 1 }));
        let stale = producers.admit_marker(&Marker { coordinator_epoch: 4, ..marker });
        assert_eq!(stale, Err(Refusal::StaleCoordinator { producer_id: 7, current: 5, found: 4 }));
        assert_eq!(producers.admit_marker(&marker), Ok(()));
        let gap = Refusal::OutOfOrder { producer_id: 7, expected: 0, found: 4 };
        assert_eq!(producers.admit(&plain(7, 2, 4, 1)), Verdict::Refused(gap));
    }

    #[test]
    fn what_is_taken_back_leaves_no_trace() {
        let mut producers = Producers::default();
        producers.record(&header(7, 0, 0, 2, true), 10);
        let before = producers.clone();
        let first = producers.record(&header(7, 0, 2, 1, true), 12).unwrap();
        let second = producers.record(&header(9, 0, 0, 1, true), 13).unwrap();
        let marker = Marker {
            producer_id: 7,
            producer_epoch: 0,
            coordinator_epoch: 5,
            timestamp: 1,
            is_commit: false,
        };
        let (third, _) = producers.record_marker(&marker, 14);
        for undo in [third, second, first] {
            producers.undo(undo);
        }
        assert_eq!(producers.sorted(), before.sorted());
        assert_eq!((producers.open, producers.ended), (before.open, before.ended));
    }

    #[test]
    fn silent_producers_are_forgotten_unless_a_transaction_is_open() {
        let mut producers = Producers::default();
        producers.record(&plain(7, 0, 0, 1), 0);
        producers.record(&header(8, 0, 0, 1, true), 1);
        producers.expire(1000 + 99, 100);
        assert_eq!(producers.len(), 2);
        producers.expire(1000 + 100, 100);
        assert_eq!(producers.sorted().iter().map(|(id, _)| *id).collect::<Vec<_>>(), [8]);
    }
}
