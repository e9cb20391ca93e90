//! Whether every acknowledged record was read once, in order, unchanged and at the offset it was acknowledged with.
//!
//! In: what was acknowledged and what was read, batch by batch, each side in any order relative to the other. Out:
//! counts of anomalies and the first ten of them.
//! Sequences are kept as intervals, so memory grows with gaps, not with records; places (offsets) are kept only
//! between acknowledgement and reading, as runs in which offsets rise evenly.

use std::collections::VecDeque;

use crate::load::outcome::{Anomaly, AnomalyKind, Verification};

/// Anomalies kept with their particulars.
const ANOMALIES_MAX: usize = 10;

/// Numbers as sorted, disjoint, non-adjacent half-open intervals.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Intervals(Vec<(u32, u32)>);

/// How a number entered a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// New, and the largest so far.
    Rising,
    /// New, but larger ones were there before.
    Late,
    /// It was there already.
    Again,
}

impl Intervals {
    pub fn insert(&mut self, number: u32) -> Entry {
        match self.0.last_mut() {
            None => {
                self.0.push((number, number + 1));
                return Entry::Rising;
            }
            Some((_, end)) if *end == number => {
                *end += 1;
                return Entry::Rising;
            }
            Some((_, end)) if *end < number => {
                self.0.push((number, number + 1));
                return Entry::Rising;
            }
            Some(_) => {}
        }
        // The first interval that ends at or behind the number exists: the last one does.
        let at = self.0.partition_point(|(_, end)| *end < number);
        let (start, end) = self.0[at];
        if start <= number && number < end {
            return Entry::Again;
        }
        if end == number {
            self.0[at].1 += 1;
            if self.0.get(at + 1).is_some_and(|next| next.0 == number + 1) {
                self.0[at].1 = self.0[at + 1].1;
                self.0.remove(at + 1);
            }
        } else if start == number + 1 {
            self.0[at].0 = number;
        } else {
            self.0.insert(at, (number, number + 1));
        }
        Entry::Late
    }

    pub fn contains(&self, number: u32) -> bool {
        let at = self.0.partition_point(|(_, end)| *end <= number);
        self.0.get(at).is_some_and(|(start, _)| *start <= number)
    }

    pub fn len(&self) -> u64 {
        self.0.iter().map(|(start, end)| u64::from(end - start)).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is in `self` and not in `other`.
    pub fn minus(&self, other: &Intervals) -> Intervals {
        let mut rest = Vec::new();
        let mut others = other.0.iter().copied().peekable();
        for &(mut start, end) in &self.0 {
            while let Some(&(other_start, other_end)) = others.peek() {
                if other_end <= start {
                    others.next();
                    continue;
                }
                if other_start >= end {
                    break;
                }
                if other_start > start {
                    rest.push((start, other_start));
                }
                start = other_end.min(end);
                if other_end >= end {
                    break;
                }
                others.next();
            }
            if start < end {
                rest.push((start, end));
            }
        }
        Intervals(rest)
    }

    /// Every number, rising.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().flat_map(|(start, end)| *start..*end)
    }

    fn add(&mut self, other: &Intervals) {
        for (start, end) in &other.0 {
            for number in *start..*end {
                self.insert(number);
            }
        }
    }
}

/// Sequences with their offsets, as runs in which both rise evenly.
#[derive(Clone, Debug, Default)]
struct Places(VecDeque<Run>);

#[derive(Clone, Copy, Debug)]
struct Run {
    sequence: u32,
    offset: i64,
    count: u32,
    /// From one sequence to the next; means nothing while `count` is 1.
    stride: i64,
}

impl Run {
    fn end(&self) -> u32 {
        self.sequence + self.count
    }

    fn offset_of(&self, sequence: u32) -> i64 {
        self.offset + i64::from(sequence - self.sequence) * self.stride
    }
}

impl Places {
    fn put(&mut self, sequence: u32, offset: i64) {
        let one = Run { sequence, offset, count: 1, stride: 0 };
        match self.0.back_mut() {
            Some(run) if run.end() == sequence => {
                if run.count == 1 {
                    (run.stride, run.count) = (offset - run.offset, 2);
                } else if run.offset_of(sequence) == offset {
                    run.count += 1;
                } else {
                    self.0.push_back(one);
                }
            }
            Some(run) if run.end() > sequence => {
                let at = self.0.partition_point(|run| run.end() <= sequence);
                self.0.insert(at, one);
            }
            Some(_) | None => self.0.push_back(one),
        }
    }

    fn take(&mut self, sequence: u32) -> Option<i64> {
        if let Some(run) = self.0.front_mut()
            && run.sequence == sequence
        {
            let offset = run.offset;
            run.sequence += 1;
            run.offset += run.stride;
            run.count -= 1;
            if run.count == 0 {
                self.0.pop_front();
            }
            return Some(offset);
        }
        let at = self.0.partition_point(|run| run.end() <= sequence);
        let run = *self.0.get(at).filter(|run| run.sequence <= sequence)?;
        let offset = run.offset_of(sequence);
        let before = Run { count: sequence - run.sequence, ..run };
        let after = Run {
            sequence: sequence + 1,
            offset: offset + run.stride,
            count: run.end() - sequence - 1,
            ..run
        };
        self.0.remove(at);
        for part in [after, before] {
            if part.count > 0 {
                self.0.insert(at, part);
            }
        }
        Some(offset)
    }

    fn get(&self, sequence: u32) -> Option<i64> {
        let at = self.0.partition_point(|run| run.end() <= sequence);
        Some(self.0.get(at).filter(|run| run.sequence <= sequence)?.offset_of(sequence))
    }

    fn count(&self) -> u64 {
        self.0.iter().map(|run| u64::from(run.count)).sum()
    }
}

/// What one producer did in one partition.
#[derive(Clone, Debug, Default)]
struct Written {
    acked: Intervals,
}

/// What one group saw of one producer in one partition.
#[derive(Clone, Debug, Default)]
struct Seen {
    read: Intervals,
    /// Acknowledged and not yet read.
    pending: Places,
    /// Read and not yet acknowledged.
    early: Places,
}

/// A batch by its identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchId {
    pub partition: u32,
    pub producer: u16,
    pub sequence: u32,
}

/// Something that happened to a batch; gathered during a turn and applied at its end.
#[derive(Clone, Copy, Debug)]
pub enum Event {
    Acked {
        batch: BatchId,
        base_offset: i64,
    },
    Read {
        group: u16,
        batch: BatchId,
        base_offset: i64,
    },
    /// Offset `found` came where `expected` was due.
    Position {
        group: u16,
        partition: u32,
        expected: i64,
        found: i64,
    },
    Corrupt {
        group: u16,
        batch: Option<BatchId>,
        partition: u32,
        base_offset: i64,
        why: Corruption,
    },
    NegativeLatency,
}

/// In which way a batch read is not the one that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Corruption {
    /// The CRC in its header is not that of its bytes.
    Checksum { stated: u32, computed: u32 },
    /// Its CRC is right, and its bytes are not those of the pool.
    Content { expected: u32, computed: u32 },
    /// It carries no stamp of this run.
    Foreign,
    /// The stamp names a producer or partition that does not exist.
    Stamp,
}

/// Acknowledged batches by number, without their offsets.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Acknowledged {
    pub batch_records: u64,
    pub producers: u32,
    /// Stream (partition times producers plus producer), first sequence, end.
    pub sequences: Vec<(u64, u32, u32)>,
}

/// What was acknowledged and read so far, per partition and producer.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    batch_records: u64,
    producers: u32,
    written: Vec<Written>,
    groups: Vec<Vec<Seen>>,
    /// Batches read per group, unacknowledged ones included.
    read_batches: Vec<u64>,
    acked_batches: u64,
    counts: Verification,
}

impl Ledger {
    pub fn new(partitions: u32, producers: u32, groups: u32, batch_records: u32) -> Ledger {
        let streams = partitions as usize * producers as usize;
        Ledger {
            batch_records: u64::from(batch_records),
            producers,
            written: vec![Written::default(); streams],
            groups: vec![vec![Seen::default(); streams]; groups.max(1) as usize],
            read_batches: vec![0; groups.max(1) as usize],
            acked_batches: 0,
            counts: Verification::default(),
        }
    }

    /// The same acknowledgements, nothing read, one group: for reading everything again.
    ///
    /// Offsets of batches that were read before are not known any more; those of the others are.
    pub fn unread(&self) -> Ledger {
        let seen = self.groups[0].iter();
        Ledger {
            batch_records: self.batch_records,
            producers: self.producers,
            written: self.written.clone(),
            groups: vec![
                seen.map(|seen| Seen { pending: seen.pending.clone(), ..Seen::default() }).collect(),
            ],
            read_batches: vec![0],
            acked_batches: self.acked_batches,
            counts: Verification::default(),
        }
    }

    /// What was acknowledged, to be kept in a file and held against the topic later.
    pub fn acknowledged(&self) -> Acknowledged {
        let streams = self.written.iter().enumerate().flat_map(|(stream, written)| {
            written.acked.0.iter().map(move |(first, end)| (stream as u64, *first, *end))
        });
        Acknowledged {
            batch_records: self.batch_records,
            producers: self.producers,
            sequences: streams.collect(),
        }
    }

    /// The ledger of what was acknowledged to `partitions` partitions, with nothing read. `None` where it names a stream that
    /// there is none of, or sequences out of order.
    pub fn of(acknowledged: &Acknowledged, partitions: u32) -> Option<Ledger> {
        let batch_records = u32::try_from(acknowledged.batch_records).ok().filter(|records| *records > 0)?;
        if acknowledged.producers == 0 || acknowledged.producers > 60_000 {
            return None;
        }
        let mut ledger = Ledger::new(partitions, acknowledged.producers, 1, batch_records);
        for (stream, first, end) in &acknowledged.sequences {
            let written = ledger.written.get_mut(usize::try_from(*stream).ok()?)?;
            if first >= end || written.acked.0.last().is_some_and(|(_, before)| before >= first) {
                return None;
            }
            written.acked.0.push((*first, *end));
            ledger.acked_batches += u64::from(end - first);
        }
        Some(ledger)
    }

    /// Records acknowledged so far.
    pub fn acked_records(&self) -> u64 {
        self.acked_batches * self.batch_records
    }

    /// Records acknowledged that the slowest group has not read. Reads of unacknowledged ones hide as many.
    pub fn backlog_records(&self) -> u64 {
        let slowest = self.read_batches.iter().copied().min().unwrap_or(0);
        self.acked_batches.saturating_sub(slowest) * self.batch_records
    }

    /// Anomalies so far, in records.
    pub fn anomalies(&self) -> u64 {
        self.counts.anomalies()
    }

    fn stream(&self, batch: BatchId) -> Option<usize> {
        if u32::from(batch.producer) >= self.producers {
            return None;
        }
        let stream = batch.partition as usize * self.producers as usize + usize::from(batch.producer);
        (stream < self.written.len()).then_some(stream)
    }

    pub fn apply(&mut self, event: Event) {
        match event {
            Event::Acked { batch, base_offset } => self.on_acked(batch, base_offset),
            Event::Read { group, batch, base_offset } => self.on_read(group, batch, base_offset),
            Event::Position { group, partition, expected, found } => {
                let kind =
                    if found < expected { AnomalyKind::NonmonotonicPoll } else { AnomalyKind::PollSkip };
                self.counts.nonmonotonic += self.batch_records;
                let text =
                    format!("group {group} was at offset {expected}, the next batch begins at {found}");
                self.note(Anomaly {
                    kind,
                    partition: partition as i32,
                    offset: Some(found),
                    producer: None,
                    sequence: None,
                    text,
                });
            }
            Event::Corrupt { group, batch, partition, base_offset, why } => {
                self.counts.corrupt += self.batch_records;
                let text = match why {
                    Corruption::Checksum { stated, computed } => format!(
                        "group {group}: the header says CRC {stated:08x}, the bytes have {computed:08x}"
                    ),
                    Corruption::Content { expected, computed } => format!(
                        "group {group}: the bytes have CRC {computed:08x}, what was sent has {expected:08x}"
                    ),
                    Corruption::Foreign => format!("group {group}: not a batch of this run"),
                    Corruption::Stamp => format!("group {group}: the identity is of another partition"),
                };
                self.note(Anomaly {
                    kind: AnomalyKind::Corrupt,
                    partition: partition as i32,
                    offset: Some(base_offset),
                    producer: batch.map(|batch| u32::from(batch.producer)),
                    sequence: batch.map(|batch| u64::from(batch.sequence)),
                    text,
                });
            }
            Event::NegativeLatency => self.counts.negative_latencies += self.batch_records,
        }
    }

    fn on_acked(&mut self, batch: BatchId, base_offset: i64) {
        let stream = self.stream(batch).expect("only batches of this run are acknowledged");
        self.acked_batches += 1;
        self.written[stream].acked.insert(batch.sequence);
        for group in 0..self.groups.len() {
            let seen = &mut self.groups[group][stream];
            match seen.early.take(batch.sequence) {
                Some(read) if read == base_offset => {}
                Some(read) => self.wrong_offset(group, batch, base_offset, read),
                None => seen.pending.put(batch.sequence, base_offset),
            }
        }
    }

    fn on_read(&mut self, group: u16, batch: BatchId, base_offset: i64) {
        let group = usize::from(group);
        let Some(stream) = self.stream(batch) else {
            return self.apply(Event::Corrupt {
                group: group as u16,
                batch: Some(batch),
                partition: batch.partition,
                base_offset,
                why: Corruption::Stamp,
            });
        };
        let seen = &mut self.groups[group][stream];
        match seen.read.insert(batch.sequence) {
            Entry::Rising => {}
            Entry::Late => {
                self.counts.reordered += self.batch_records;
                self.note_batch(AnomalyKind::Reordered, batch, base_offset, || {
                    format!("group {group} had read a later sequence of this producer before")
                });
            }
            Entry::Again => {
                self.counts.duplicated += self.batch_records;
                return self.note_batch(AnomalyKind::Duplicate, batch, base_offset, || {
                    format!("group {group} had read this batch before")
                });
            }
        }
        self.read_batches[group] += 1;
        let seen = &mut self.groups[group][stream];
        match seen.pending.take(batch.sequence) {
            Some(acked) if acked == base_offset => {}
            Some(acked) => self.wrong_offset(group, batch, acked, base_offset),
            // After an audit began anew the offset of an acknowledged batch may be unknown; then it is not early.
            None if self.written[stream].acked.contains(batch.sequence) => {}
            None => seen.early.put(batch.sequence, base_offset),
        }
    }

    fn wrong_offset(&mut self, group: usize, batch: BatchId, acked: i64, read: i64) {
        self.counts.wrong_offset += self.batch_records;
        self.note_batch(AnomalyKind::WrongOffset, batch, read, || {
            format!("acknowledged at offset {acked}, read by group {group} at {read}")
        });
    }

    fn note_batch(&mut self, kind: AnomalyKind, batch: BatchId, offset: i64, text: impl FnOnce() -> String) {
        if self.counts.first_anomalies.len() < ANOMALIES_MAX {
            self.note(Anomaly {
                kind,
                partition: batch.partition as i32,
                offset: Some(offset),
                producer: Some(u32::from(batch.producer)),
                sequence: Some(u64::from(batch.sequence)),
                text: text(),
            });
        }
    }

    fn note(&mut self, anomaly: Anomaly) {
        if self.counts.first_anomalies.len() < ANOMALIES_MAX {
            self.counts.first_anomalies.push(anomaly);
        }
    }

    /// The result. `complete` says that every group has read to the end: only then is what was not read lost.
    pub fn finish(&mut self, mode: String, complete: bool) -> Verification {
        let mut result = self.counts.clone();
        let groups = self.groups.len() as u64;
        result.mode = mode;
        result.complete = complete;
        result.acked = self.acked_records();
        result.read = self.read_batches.iter().sum::<u64>() * self.batch_records / groups;
        let mut found = Vec::new();
        for stream in 0..self.written.len() {
            let id = |sequence| BatchId {
                partition: (stream / self.producers as usize) as u32,
                producer: (stream % self.producers as usize) as u16,
                sequence,
            };
            let acked = &self.written[stream].acked;
            let mut union = Intervals::default();
            if groups > 1 {
                self.groups.iter().for_each(|group| union.add(&group[stream].read));
            }
            for (number, group) in self.groups.iter().enumerate() {
                let seen = &group[stream];
                result.unacked_seen += seen.early.count() * self.batch_records;
                if !complete {
                    continue;
                }
                let lost = acked.minus(&seen.read);
                result.lost += lost.len() * self.batch_records;
                for sequence in lost.iter().take(ANOMALIES_MAX) {
                    let offset = seen.pending.get(sequence);
                    found.push((
                        AnomalyKind::LostWrite,
                        id(sequence),
                        offset,
                        format!("acknowledged, and not read by group {number}"),
                    ));
                }
                let unseen = union.minus(&seen.read).minus(acked);
                result.unseen += unseen.len() * self.batch_records;
                for sequence in unseen.iter().take(ANOMALIES_MAX) {
                    found.push((
                        AnomalyKind::Unseen,
                        id(sequence),
                        None,
                        format!("read by another group, and not by group {number}"),
                    ));
                }
            }
        }
        for (kind, batch, offset, text) in found {
            if result.first_anomalies.len() >= ANOMALIES_MAX {
                break;
            }
            result.first_anomalies.push(Anomaly {
                kind,
                partition: batch.partition as i32,
                offset,
                producer: Some(u32::from(batch.producer)),
                sequence: Some(u64::from(batch.sequence)),
                text,
            });
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::random::Random;
    use std::collections::BTreeSet;

    fn id(sequence: u32) -> BatchId {
        BatchId { partition: 1, producer: 1, sequence }
    }

    fn ledger(groups: u32) -> Ledger {
        Ledger::new(2, 2, groups, 10)
    }

    /// Sequences acknowledged at `10 * sequence`, read as given.
    fn verdict(acked: &[u32], read: &[(u32, i64)]) -> Verification {
        let mut ledger = ledger(1);
        for sequence in acked {
            ledger.apply(Event::Acked { batch: id(*sequence), base_offset: i64::from(*sequence) * 10 });
        }
        for (sequence, offset) in read {
            ledger.apply(Event::Read { group: 0, batch: id(*sequence), base_offset: *offset });
        }
        ledger.finish("full".into(), true)
    }

    fn only(result: &Verification, kind: AnomalyKind) {
        assert!(!result.first_anomalies.is_empty(), "{result:?}");
        assert!(result.first_anomalies.iter().all(|anomaly| anomaly.kind == kind), "{result:?}");
        assert!(!result.passed());
    }

    #[test]
    fn intervals_equal_a_plain_set_for_random_numbers() {
        for seed in 0..50 {
            let mut random = Random::new(seed, 1);
            let (mut a, mut b) = (Intervals::default(), Intervals::default());
            let (mut plain_a, mut plain_b) = (BTreeSet::new(), BTreeSet::new());
            for _ in 0..300 {
                let number = (random.number() % 200) as u32;
                let expected = if plain_a.contains(&number) {
                    Entry::Again
                } else if plain_a.last().is_some_and(|last| *last > number) {
                    Entry::Late
                } else {
                    Entry::Rising
                };
                assert_eq!(a.insert(number), expected, "seed {seed}");
                plain_a.insert(number);
                let number = (random.number() % 200) as u32;
                b.insert(number);
                plain_b.insert(number);
                assert!(a.0.windows(2).all(|pair| pair[0].1 < pair[1].0), "seed {seed}: {a:?}");
            }
            assert!(a.iter().eq(plain_a.iter().copied()));
            assert!((0..200).all(|number| a.contains(number) == plain_a.contains(&number)));
            assert!(a.minus(&b).iter().eq(plain_a.difference(&plain_b).copied()), "seed {seed}");
            assert_eq!(a.len(), plain_a.len() as u64);
        }
    }

    #[test]
    fn places_equal_a_plain_map_for_random_order() {
        for seed in 0..50 {
            let mut random = Random::new(seed, 2);
            let mut places = Places::default();
            let mut plain = std::collections::BTreeMap::new();
            for _ in 0..500 {
                let sequence = (random.number() % 100) as u32;
                if random.number().is_multiple_of(2) && !plain.contains_key(&sequence) {
                    let offset = if random.number().is_multiple_of(4) { 5 } else { i64::from(sequence) * 16 };
                    places.put(sequence, offset);
                    plain.insert(sequence, offset);
                } else {
                    assert_eq!(places.get(sequence), plain.get(&sequence).copied(), "seed {seed}");
                    assert_eq!(places.take(sequence), plain.remove(&sequence), "seed {seed}");
                }
                assert_eq!(places.count(), plain.len() as u64, "seed {seed}");
            }
        }
    }

    #[test]
    fn evenly_rising_places_take_one_run_however_many_they_are() {
        let mut places = Places::default();
        (0..1_000_000u32).for_each(|sequence| places.put(sequence, i64::from(sequence) * 64));
        assert_eq!(places.0.len(), 1);
    }

    #[test]
    fn what_is_read_once_in_order_passes_whichever_side_is_first() {
        let result = verdict(&[0, 1, 2], &[(0, 0), (1, 10), (2, 20)]);
        assert!(result.passed(), "{result:?}");
        assert_eq!((result.acked, result.read, result.unacked_seen), (30, 30, 0));
        let mut ledger = ledger(1);
        for sequence in 0..3 {
            ledger.apply(Event::Read { group: 0, batch: id(sequence), base_offset: 7 });
            ledger.apply(Event::Acked { batch: id(sequence), base_offset: 7 });
        }
        assert!(ledger.finish("full".into(), true).passed());
    }

    #[test]
    fn a_missing_batch_is_lost_with_its_offset() {
        let result = verdict(&[0, 1, 2], &[(0, 0), (2, 20)]);
        only(&result, AnomalyKind::LostWrite);
        assert_eq!(result.lost, 10);
        let first = &result.first_anomalies[0];
        assert_eq!(
            (first.partition, first.offset, first.producer, first.sequence),
            (1, Some(10), Some(1), Some(1))
        );
    }

    #[test]
    fn a_batch_read_twice_is_a_duplicate_and_one_read_late_is_reordered() {
        let result = verdict(&[0, 1], &[(0, 0), (1, 10), (1, 20)]);
        only(&result, AnomalyKind::Duplicate);
        assert_eq!((result.duplicated, result.read), (10, 20));
        let result = verdict(&[0, 1, 2], &[(0, 0), (2, 20), (1, 10)]);
        only(&result, AnomalyKind::Reordered);
        assert_eq!(result.reordered, 10);
    }

    #[test]
    fn another_offset_than_acknowledged_is_wrong_whichever_side_is_first() {
        let result = verdict(&[0, 1], &[(0, 0), (1, 11)]);
        only(&result, AnomalyKind::WrongOffset);
        let mut ledger = ledger(1);
        ledger.apply(Event::Read { group: 0, batch: id(0), base_offset: 3 });
        ledger.apply(Event::Acked { batch: id(0), base_offset: 4 });
        only(&ledger.finish("full".into(), true), AnomalyKind::WrongOffset);
    }

    #[test]
    fn what_was_not_acknowledged_may_be_seen_once_or_never() {
        let result = verdict(&[0, 2], &[(0, 0), (1, 10), (2, 20)]);
        assert!(result.passed());
        assert_eq!(result.unacked_seen, 10);
        assert!(verdict(&[0, 2], &[(0, 0), (2, 20)]).passed(), "a gap that nobody acknowledged is no loss");
        only(&verdict(&[0], &[(0, 0), (1, 10), (1, 20)]), AnomalyKind::Duplicate);
    }

    #[test]
    fn groups_are_held_against_each_other() {
        let mut ledger = ledger(2);
        for sequence in 0..3 {
            ledger.apply(Event::Read { group: 0, batch: id(sequence), base_offset: 0 });
        }
        ledger.apply(Event::Read { group: 1, batch: id(0), base_offset: 0 });
        ledger.apply(Event::Read { group: 1, batch: id(2), base_offset: 0 });
        let result = ledger.finish("full".into(), true);
        only(&result, AnomalyKind::Unseen);
        assert_eq!((result.unseen, result.first_anomalies[0].sequence), (10, Some(1)));
    }

    #[test]
    fn an_unfinished_reading_loses_nothing_and_does_not_pass() {
        let mut ledger = ledger(1);
        ledger.apply(Event::Acked { batch: id(0), base_offset: 0 });
        let result = ledger.finish("full".into(), false);
        assert_eq!(result.lost, 0);
        assert!(!result.passed());
    }

    #[test]
    fn an_audit_expects_everything_acknowledged_again() {
        let mut ledger = ledger(1);
        for sequence in 0..3 {
            ledger.apply(Event::Acked { batch: id(sequence), base_offset: 7 });
        }
        ledger.apply(Event::Read { group: 0, batch: id(0), base_offset: 7 });
        let mut again = ledger.unread();
        for sequence in [0, 2] {
            again.apply(Event::Read { group: 0, batch: id(sequence), base_offset: 7 });
        }
        let result = again.finish("full".into(), true);
        only(&result, AnomalyKind::LostWrite);
        assert_eq!((result.lost, result.unacked_seen), (10, 0));
    }

    #[test]
    fn what_was_acknowledged_survives_a_file_and_is_held_against_the_topic() {
        let mut first = ledger(1);
        for sequence in [0, 1, 2, 5] {
            first.apply(Event::Acked { batch: id(sequence), base_offset: i64::from(sequence) * 10 });
        }
        let text = serde_json::to_string(&first.acknowledged()).unwrap();
        let kept: Acknowledged = serde_json::from_str(&text).unwrap();
        let mut again = Ledger::of(&kept, 2).unwrap();
        assert_eq!(again.acked_records(), 40);
        for sequence in [0, 1, 2] {
            again.apply(Event::Read { group: 0, batch: id(sequence), base_offset: i64::from(sequence) * 10 });
        }
        let result = again.finish("full".into(), true);
        assert_eq!((result.lost, result.read), (10, 30));
        only(&result, AnomalyKind::LostWrite);
        let broken = |sequences| Ledger::of(&Acknowledged { sequences, ..kept.clone() }, 2).is_none();
        assert!(broken(vec![(9, 0, 1)]) && broken(vec![(0, 5, 5)]) && broken(vec![(0, 3, 9), (0, 8, 10)]));
    }
}
