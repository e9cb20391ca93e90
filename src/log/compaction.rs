//! What compaction keeps, as rules (contract 3.5): which part of a log is due, which segments become one, and what is
//! left of a batch.
//!
//! In: facts of segments, batches, the newest offset of each key, the time. Out: offsets, groups, batches in their new
//! form. Offsets never change. Nothing here reads or writes a file: `cleaning` does.
//!
//! A batch keeps its header: base and last offset, producer, epoch, sequence. Tombstones, and markers of transactions
//! of which nothing is left, are first given a time to go (the delete horizon), and go in a later pass after it. The last
//! batch of a live producer stays even when it is empty, and so does the last batch of a group: the files of a log
//! then always say how far they reach, whatever a crash leaves of a swap.

use std::collections::{HashMap, HashSet, VecDeque};

use super::offset_map::OffsetMap;
use super::transaction_index::AbortedTransaction;
use crate::wire::batch::{self, BatchHeader, HEADER_BYTES, LENGTH_END, NO_TIMESTAMP};
use crate::wire::compression::{Codec, Decompressor, compress};
use crate::wire::legacy::{Compressed, LegacyEntry, LegacyError, LegacyMessage};
use crate::wire::record::{RecordError, Records, put_record};

/// The most that the records of one batch may become when they are looked at.
const PLAIN_BYTES_MAX: usize = 256 << 20;

/// What the choice of a log to clean needs to know of one closed segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClosedSegment {
    pub base_offset: i64,
    pub bytes: u64,
    /// -1 where its records have none.
    pub newest_ms: i64,
}

/// What bounds cleaning.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct CleaningLimits {
    pub now_ms: i64,
    /// Of the last pass; `None` when there was none.
    pub checkpoint: Option<i64>,
    pub start_offset: i64,
    pub end_offset: i64,
    /// Nothing at or beyond is cleaned: the last stable offset, and what is flushed.
    pub bound: i64,
    pub active_base: i64,
    pub min_lag_ms: i64,
    pub max_lag_ms: i64,
    pub dirty_ratio_min: f64,
}

/// A part of a log that can be cleaned.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Dirty {
    pub first_dirty: i64,
    /// The base offset of the first segment that stays as it is.
    pub end: i64,
    pub clean_bytes: u64,
    pub dirty_bytes: u64,
}

impl Dirty {
    /// Share of the dirty bytes in all that a pass would read.
    pub fn ratio(&self) -> f64 {
        let total = self.clean_bytes + self.dirty_bytes;
        if total == 0 { 0.0 } else { self.dirty_bytes as f64 / total as f64 }
    }
}

/// The dirty part of a log, due or not. `segments` are the closed ones in order.
pub fn dirty(segments: &[ClosedSegment], limits: &CleaningLimits) -> Dirty {
    let first_dirty = limits
        .checkpoint
        .filter(|offset| (limits.start_offset..=limits.end_offset).contains(offset))
        .unwrap_or(limits.start_offset);
    let mut bound = limits.bound.min(limits.active_base);
    let first = segments.partition_point(|segment| segment.base_offset <= first_dirty).saturating_sub(1);
    if limits.min_lag_ms > 0 {
        let horizon = limits.now_ms.saturating_sub(limits.min_lag_ms);
        let young = segments[first.min(segments.len())..].iter().find(|segment| segment.newest_ms > horizon);
        bound = young.map_or(bound, |segment| bound.min(segment.base_offset));
    }
    // The segment that holds the bound stays as it is.
    let end = match segments.partition_point(|segment| segment.base_offset <= bound) {
        count if bound >= limits.active_base || count == 0 => bound.min(limits.active_base),
        count => segments[count - 1].base_offset,
    };
    let sum = |from: i64, to: i64| -> u64 {
        let inside = segments.iter().filter(|segment| (from..to).contains(&segment.base_offset));
        inside.map(|segment| segment.bytes).sum()
    };
    // The segment that holds the first dirty offset counts as dirty.
    let dirty_base = segments.get(first).map_or(first_dirty, |segment| segment.base_offset).min(first_dirty);
    Dirty {
        first_dirty,
        end,
        clean_bytes: sum(i64::MIN, dirty_base.min(end)),
        dirty_bytes: sum(dirty_base, end),
    }
}

/// Whether a log is due. `oldest_dirty_ms` is the time of the first record of the dirty segments, where known.
pub fn is_due(dirty: &Dirty, limits: &CleaningLimits, oldest_dirty_ms: Option<i64>) -> bool {
    let overdue = oldest_dirty_ms
        .is_some_and(|oldest| oldest > 0 && oldest < limits.now_ms.saturating_sub(limits.max_lag_ms));
    dirty.first_dirty < dirty.end
        && dirty.dirty_bytes > 0
        && (overdue || dirty.ratio() > limits.dirty_ratio_min)
}

/// What grouping needs to know of a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GroupedSegment {
    pub base_offset: i64,
    pub end_offset: i64,
    pub bytes: u64,
    pub index_bytes: u64,
    pub time_index_bytes: u64,
}

/// Neighbours that fit one segment together: each group is the number of segments in it.
pub fn group(segments: &[GroupedSegment], segment_bytes_max: u64, index_bytes_max: u64) -> Vec<usize> {
    let mut groups = Vec::new();
    let mut rest = segments;
    while let Some(first) = rest.first() {
        let (mut bytes, mut index, mut times) = (first.bytes, first.index_bytes, first.time_index_bytes);
        let mut count = 1;
        for segment in &rest[1..] {
            bytes += segment.bytes;
            index += segment.index_bytes;
            times += segment.time_index_bytes;
            let span = segment.end_offset - 1 - first.base_offset;
            if bytes > segment_bytes_max
                || index > index_bytes_max
                || times > index_bytes_max
                || span > i64::from(i32::MAX)
            {
                break;
            }
            count += 1;
        }
        groups.push(count);
        rest = &rest[count..];
    }
    groups
}

/// Why the records of a batch cannot be looked at: the log is left as it is.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error(transparent)]
    Legacy(#[from] LegacyError),
}

/// Which transactions a pass has met, in the order of the log.
#[derive(Debug, Default)]
pub struct Transactions {
    /// By first offset.
    aborted: VecDeque<AbortedTransaction>,
    /// Aborted ones under way, and whether a batch of theirs was met.
    open_aborted: HashMap<i64, (AbortedTransaction, bool)>,
    /// Producers of batches of committed ones whose marker has not come yet.
    open_committed: HashSet<i64>,
    /// Aborted ones whose marker stays because something of them was still there: entries of the new index.
    pub kept: Vec<AbortedTransaction>,
}

impl Transactions {
    pub fn new(mut aborted: Vec<AbortedTransaction>) -> Transactions {
        aborted.sort_unstable_by_key(|transaction| transaction.first_offset);
        Transactions { aborted: aborted.into(), ..Transactions::default() }
    }

    fn reach(&mut self, offset: i64) {
        while let Some(next) = self.aborted.front().copied().filter(|next| next.first_offset <= offset) {
            self.aborted.pop_front();
            self.open_aborted.entry(next.producer_id).or_insert((next, false));
        }
    }

    /// Takes note of a batch; true when it is a part of an aborted transaction, or a marker of one of which nothing was
    /// met any more.
    pub fn discards(&mut self, header: &BatchHeader, batch: &[u8]) -> bool {
        self.reach(header.last_offset());
        let producer = header.producer_id();
        if !header.is_control() {
            if !header.is_transactional() {
                return false;
            }
            return match self.open_aborted.get_mut(&producer) {
                Some((_, met)) => {
                    *met = true;
                    true
                }
                None => {
                    self.open_committed.insert(producer);
                    false
                }
            };
        }
        match marker_type(header, batch) {
            Some(MarkerType::Abort) => match self.open_aborted.remove(&producer) {
                Some((transaction, true)) => {
                    self.kept.push(transaction);
                    false
                }
                Some((_, false)) | None => true,
            },
            Some(MarkerType::Commit) => !self.open_committed.remove(&producer),
            // A kind of control batch that is not about transactions.
            Some(MarkerType::Other) => false,
            // Emptied by an earlier pass.
            None => true,
        }
    }
}

enum MarkerType {
    Abort,
    Commit,
    Other,
}

fn marker_type(header: &BatchHeader, batch: &[u8]) -> Option<MarkerType> {
    let record = Records::new(batch.get(HEADER_BYTES..)?, header.record_count()).next()?.ok()?;
    Some(match record.key.and_then(|key| key.first_chunk::<4>()) {
        Some([_, _, 0, 0]) => MarkerType::Abort,
        Some([_, _, 0, 1]) => MarkerType::Commit,
        Some(_) | None => MarkerType::Other,
    })
}

/// The newest batch of a live producer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LastOfProducer {
    pub producer_id: i64,
    pub epoch: i16,
    /// `None`: a marker.
    pub last_offset: Option<i64>,
}

/// What a pass compares batches with.
pub struct Keep<'a> {
    pub newest: &'a OffsetMap,
    pub producers: &'a HashMap<i64, LastOfProducer>,
    pub now_ms: i64,
    pub delete_retention_ms: i64,
    /// Tombstones of formats that know no delete horizon stay, for the segment at hand.
    pub old_tombstones_stay: bool,
    /// The last offset of the group: its batch stays, if need be without records.
    pub group_last_offset: i64,
}

/// What is left of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Left {
    All,
    /// In its new form at the end of the output.
    Rewritten,
    Nothing,
}

/// Memory that a pass uses again and again.
#[derive(Default)]
pub struct Scratch {
    decompressor: Decompressor,
    plain: Vec<u8>,
    records: Vec<u8>,
    record: Vec<u8>,
    kept: Vec<bool>,
}

impl Keep<'_> {
    fn keeps(&self, offset: i64, key: Option<&[u8]>, has_value: bool, tombstones_stay: bool) -> bool {
        if offset > self.newest.latest() {
            return true;
        }
        let Some(key) = key else { return false };
        self.newest.get(key).is_none_or(|newest| offset >= newest) && (has_value || tombstones_stay)
    }

    /// Decides about a batch of magic 2, and appends its new form to `out` where it gets one.
    pub fn batch(
        &self,
        header: &BatchHeader,
        batch: &[u8],
        transactions: &mut Transactions,
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
    ) -> Result<Left, Unreadable> {
        let is_spent = transactions.discards(header, batch);
        let horizon = header.delete_horizon();
        let horizon_passed = horizon.is_some_and(|horizon| horizon <= self.now_ms);
        let drop_all = is_spent && (!header.is_control() || horizon_passed);
        let stays_empty = self.is_last_of_producer(header) || header.last_offset() >= self.group_last_offset;
        if drop_all || header.record_count() == 0 {
            return Ok(self.empty(header, batch, stays_empty, out));
        }
        let Scratch { decompressor, plain, records, record: one, kept } = scratch;
        let codec = header.codec().ok_or(RecordError::Codec { number: (header.attributes() & 7) as u8 })?;
        kept.clear();
        let (mut count, mut tombstones) = (0, false);
        let walk = Records::of(batch, header, decompressor, plain, PLAIN_BYTES_MAX)?;
        for item in walk.clone() {
            let item = item?;
            let stays = header.is_control()
                || self.keeps(item.offset(header), item.key, item.value.is_some(), !horizon_passed);
            kept.push(stays);
            count += i32::from(stays);
            tombstones |= stays && item.value.is_none();
        }
        if count == 0 {
            return Ok(self.empty(header, batch, stays_empty, out));
        }
        let sets_horizon = horizon.is_none() && (tombstones || header.is_control() && is_spent);
        if count == header.record_count() && !sets_horizon {
            return Ok(Left::All);
        }
        let new_horizon =
            if sets_horizon { Some(self.now_ms.saturating_add(self.delete_retention_ms)) } else { horizon };
        records.clear();
        let (mut base, mut newest) = (new_horizon, NO_TIMESTAMP);
        for (item, _) in walk.zip(&*kept).filter(|(_, stays)| **stays) {
            let item = item?;
            let timestamp =
                if header.is_log_append_time() { header.max_timestamp() } else { item.timestamp(header) };
            newest = newest.max(timestamp);
            let base = *base.get_or_insert(timestamp);
            put_record(records, one, &item, timestamp.wrapping_sub(base));
        }
        let start = out.len();
        out.extend_from_slice(&batch[..HEADER_BYTES]);
        compress(codec, None, records, out);
        let fields = Fields {
            codec,
            base_timestamp: base.unwrap_or(NO_TIMESTAMP),
            max_timestamp: newest,
            record_count: count,
            has_delete_horizon: new_horizon.is_some(),
        };
        fields.stamp(&mut out[start..]);
        Ok(Left::Rewritten)
    }

    fn is_last_of_producer(&self, header: &BatchHeader) -> bool {
        header.has_producer_id()
            && self.producers.get(&header.producer_id()).is_some_and(|last| match last.last_offset {
                Some(offset) => header.last_offset() == offset,
                None => header.is_control() && header.producer_epoch() == last.epoch,
            })
    }

    /// The header alone, where it has to stay.
    fn empty(&self, header: &BatchHeader, batch: &[u8], stays: bool, out: &mut Vec<u8>) -> Left {
        if !stays {
            return Left::Nothing;
        }
        if header.record_count() == 0 {
            return Left::All;
        }
        let start = out.len();
        out.extend_from_slice(&batch[..HEADER_BYTES]);
        let fields = Fields {
            codec: Codec::None,
            base_timestamp: NO_TIMESTAMP,
            max_timestamp: header.max_timestamp(),
            record_count: 0,
            has_delete_horizon: false,
        };
        fields.stamp(&mut out[start..]);
        Left::Rewritten
    }

    /// Decides about an entry of magic 0 or 1.
    pub fn legacy_entry(
        &self,
        entry: &LegacyEntry<'_>,
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
    ) -> Result<Left, Unreadable> {
        let codec = entry.codec()?;
        let Scratch { decompressor, plain, records, .. } = scratch;
        records.clear();
        let (magic, append_time) = (entry.magic(), entry.is_log_append_time());
        let (mut all, mut count) = (0, 0);
        let mut kept = Compressed::default();
        entry.messages(decompressor, plain, PLAIN_BYTES_MAX, |message| {
            all += 1;
            let has_value = message.value.is_some();
            if self.keeps(message.offset, message.key, has_value, self.old_tombstones_stay) {
                count += 1;
                let attributes = if append_time { crate::wire::legacy::LOG_APPEND_TIME } else { 0 };
                kept.put(records, magic, attributes, message);
            }
        })?;
        if count == all {
            return Ok(Left::All);
        }
        if count > 0 {
            kept.finish(out, magic, codec, append_time, records);
            return Ok(Left::Rewritten);
        }
        if entry.offset() >= self.group_last_offset {
            // This format has no empty batch; the next one says the same.
            put_empty_batch(out, entry.offset(), entry.timestamp());
            return Ok(Left::Rewritten);
        }
        Ok(Left::Nothing)
    }
}

/// Header fields that a rewritten batch gets.
struct Fields {
    codec: Codec,
    base_timestamp: i64,
    max_timestamp: i64,
    record_count: i32,
    has_delete_horizon: bool,
}

impl Fields {
    fn stamp(&self, batch: &mut [u8]) {
        const CODEC_BITS: i16 = 0x07;
        const DELETE_HORIZON: i16 = 0x40;
        let length = (batch.len() - LENGTH_END) as i32;
        batch[8..LENGTH_END].copy_from_slice(&length.to_be_bytes());
        let attributes = i16::from_be_bytes([batch[21], batch[22]]) & !(CODEC_BITS | DELETE_HORIZON);
        let horizon = if self.has_delete_horizon { DELETE_HORIZON } else { 0 };
        batch[21..23].copy_from_slice(&(attributes | self.codec as i16 | horizon).to_be_bytes());
        batch::stamp_timestamps(batch, self.base_timestamp, self.max_timestamp);
        batch[57..61].copy_from_slice(&self.record_count.to_be_bytes());
        batch::seal(batch);
    }
}

/// A batch without records at one offset, of nobody.
fn put_empty_batch(out: &mut Vec<u8>, offset: i64, max_timestamp: i64) {
    let start = out.len();
    out.resize(start + HEADER_BYTES, 0);
    let batch = &mut out[start..];
    batch[16] = 2;
    batch::stamp(batch, offset, -1);
    batch::stamp_producer(batch, -1, -1, -1);
    let fields = Fields {
        codec: Codec::None,
        base_timestamp: NO_TIMESTAMP,
        max_timestamp,
        record_count: 0,
        has_delete_horizon: false,
    };
    fields.stamp(batch);
}

/// Notes the keys of a batch of magic 2 from `from` on. False when the map is full: the batch is not in it as a whole.
pub fn note_batch(
    map: &mut OffsetMap,
    header: &BatchHeader,
    batch: &[u8],
    from: i64,
    transactions: &mut Transactions,
    scratch: &mut Scratch,
) -> Result<bool, Unreadable> {
    if !transactions.discards(header, batch) && !header.is_control() {
        let Scratch { decompressor, plain, .. } = scratch;
        for record in Records::of(batch, header, decompressor, plain, PLAIN_BYTES_MAX)? {
            let record = record?;
            let offset = record.offset(header);
            if let Some(key) = record.key.filter(|_| offset >= from)
                && !map.put(key, offset)
            {
                return Ok(false);
            }
        }
    }
    if header.last_offset() >= from {
        map.set_latest(header.last_offset());
    }
    Ok(true)
}

/// The same for an entry of magic 0 or 1.
pub fn note_legacy_entry(
    map: &mut OffsetMap,
    entry: &LegacyEntry<'_>,
    from: i64,
    scratch: &mut Scratch,
) -> Result<bool, Unreadable> {
    let mut fits = true;
    let Scratch { decompressor, plain, .. } = scratch;
    entry.messages(decompressor, plain, PLAIN_BYTES_MAX, |message: LegacyMessage<'_>| {
        if let Some(key) = message.key.filter(|_| fits && message.offset >= from) {
            fits = map.put(key, message.offset);
        }
    })?;
    if fits && entry.offset() >= from {
        map.set_latest(entry.offset());
    }
    Ok(fits)
}
