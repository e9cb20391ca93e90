//! Reading: places in files for fetches, and offsets for timestamps.
//!
//! In: an offset and limits. Out: a range of whole batches of one segment. A reader at the tail and one that goes on
//! where its last read ended are answered from memory; others search the index and a few batch headers.

use std::io;

use super::files::FileKind;
use super::scan::{Scan, ScanError, Seen};
use super::transaction_index::{self, AbortedTransaction};
use super::{COLD_FILES_MAX, Hint, Log, LogError};
use crate::ids::Offset;
use crate::reactor::{Disk, File};
use crate::wire::batch::{Batch, BatchError, BatchHeader};
use crate::wire::compression::Decompressor;
use crate::wire::legacy::LegacyMessage;
use crate::wire::record::Records;

/// What a fetch asks of a partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Read {
    pub offset: Offset,
    pub bytes_max: u32,
    /// Nothing at or beyond is given: the high watermark, the last stable offset, or the end for a follower.
    pub limit: Offset,
    /// Give the first batch even when it is larger than `bytes_max`.
    pub at_least_one: bool,
}

/// Whole batches in one segment file. `length` 0: nothing to read at that offset now.
#[derive(Clone, Debug)]
pub struct Place {
    pub file: File,
    pub segment_base: Offset,
    pub position: u32,
    pub length: u32,
}

#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("offset {offset} is outside {start} to {end}")]
    OutOfRange { offset: Offset, start: Offset, end: Offset },
    #[error(transparent)]
    Log(#[from] LogError),
}

/// Where a timestamp look-up ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimestampOffset {
    pub timestamp: i64,
    pub offset: Offset,
    pub leader_epoch: Option<i32>,
}

/// A place inside a segment while a read is worked out.
struct Found {
    segment: usize,
    position: u32,
    /// Known when headers were read to find it.
    first: Option<Seen>,
}

impl Log {
    /// Whole batches from the one that holds `offset` on.
    pub fn read(&mut self, disk: &dyn Disk, read: Read) -> Result<Place, ReadError> {
        self.check_alive()?;
        let (offset, limit) = (read.offset.0, read.limit.0.min(self.end));
        if offset < self.start || offset > self.end {
            return Err(ReadError::OutOfRange {
                offset: read.offset,
                start: Offset(self.start),
                end: Offset(self.end),
            });
        }
        if offset >= limit {
            return self.nothing(disk);
        }
        let Some(found) = self.find(disk, offset)? else { return self.nothing(disk) };
        if found.first.is_some_and(|first| first.base_offset >= limit) {
            return self.nothing(disk);
        }
        let end = self.position_of_limit(disk, &found, limit)?;
        let length = self.cut_to(disk, &found, end, read.bytes_max, read.at_least_one)?;
        let end_position = found.position + length;
        let base = self.segments[found.segment].base_offset;
        let file = self.file_for_reading(disk, found.segment)?;
        if length > 0 && end_position == self.segments[found.segment].bytes {
            // The reader will ask next for what follows the segment's last batch.
            let offset = self.segment_end(found.segment);
            if found.segment + 1 == self.segments.len() {
                self.recent_reads.add(Hint { offset, segment_base: base, position: end_position });
            }
        } else if length > 0 && end_position == end {
            self.recent_reads.add(Hint { offset: limit, segment_base: base, position: end_position });
        }
        Ok(Place { file, segment_base: Offset(base), position: found.position, length })
    }

    fn nothing(&mut self, disk: &dyn Disk) -> Result<Place, ReadError> {
        let index = self.segments.len() - 1;
        let file = self.file_for_reading(disk, index)?;
        let active = &self.segments[index];
        Ok(Place { file, segment_base: Offset(active.base_offset), position: active.bytes, length: 0 })
    }

    fn file_for_reading(&mut self, disk: &dyn Disk, index: usize) -> Result<File, LogError> {
        let directory = self.directory.clone();
        let is_closed = index + 1 < self.segments.len();
        let segment = &mut self.segments[index];
        let (base, was_open) = (segment.base_offset, segment.file.is_some());
        let path = || segment.path(&directory, FileKind::Log);
        let file = match &segment.file {
            Some(file) => file.clone(),
            None => {
                let path = path();
                segment.file(disk, &directory).map_err(LogError::io(&path, "open", 0))?
            }
        };
        if is_closed && !was_open {
            self.cold_files.push(base);
            if self.cold_files.len() > COLD_FILES_MAX {
                let oldest = self.cold_files.remove(0);
                let unflushed = |segment: &super::Segment| segment.flushed_bytes < segment.bytes;
                if let Some(segment) = self.segments.iter_mut().find(|s| s.base_offset == oldest)
                    && !unflushed(segment)
                {
                    segment.file = None;
                }
            }
        }
        Ok(file)
    }

    /// The segment that could hold `offset`: the last whose base is at or below it.
    fn segment_of(&self, offset: i64) -> usize {
        self.segments.partition_point(|segment| segment.base_offset <= offset).saturating_sub(1)
    }

    /// The batch that holds `offset`, or the first behind it where compaction has left a gap.
    fn find(&mut self, disk: &dyn Disk, offset: i64) -> Result<Option<Found>, LogError> {
        let index = self.segment_of(offset);
        let hint = self.recent_appends.find(offset).or_else(|| self.recent_reads.find(offset));
        if let Some(hint) = hint {
            let segment = &self.segments[index];
            if segment.base_offset == hint.segment_base && hint.position < segment.bytes {
                return Ok(Some(Found { segment: index, position: hint.position, first: None }));
            }
        }
        Ok(self.batch_at_or_after(disk, offset)?.map(|(segment, seen)| Found {
            segment,
            position: seen.position,
            first: Some(seen),
        }))
    }

    /// The batch that holds `offset` or the first behind it, and its segment.
    pub(super) fn batch_at_or_after(
        &mut self,
        disk: &dyn Disk,
        offset: i64,
    ) -> Result<Option<(usize, Seen)>, LogError> {
        for index in self.segment_of(offset)..self.segments.len() {
            if let Some(seen) = self.find_in(disk, index, offset)? {
                return Ok(Some((index, seen)));
            }
        }
        Ok(None)
    }

    fn find_in(&mut self, disk: &dyn Disk, index: usize, offset: i64) -> Result<Option<Seen>, LogError> {
        let directory = self.directory.clone();
        self.file_for_reading(disk, index)?;
        let segment = &mut self.segments[index];
        if segment.bytes == 0 {
            return Ok(None);
        }
        let path = segment.path(&directory, FileKind::Log);
        let floor = segment.floor_of_offset(disk, &directory, offset).map_err(LogError::io(
            &segment.path(&directory, FileKind::OffsetIndex),
            "read index",
            0,
        ))?;
        match segment.find_from(disk, &directory, floor, offset) {
            // An index that points into nowhere must not hide records: look at all batches.
            Err(ScanError::Bad { .. }) if floor > 0 => segment.find_from(disk, &directory, 0, offset),
            result => result,
        }
        .map_err(LogError::scan(&path))
    }

    /// Where in the segment of `found` the batches below `limit` end.
    fn position_of_limit(&mut self, disk: &dyn Disk, found: &Found, limit: i64) -> Result<u32, LogError> {
        if limit >= self.segment_end(found.segment) {
            return Ok(self.segments[found.segment].bytes);
        }
        let base = self.segments[found.segment].base_offset;
        let hint = self.recent_appends.find(limit).or_else(|| self.recent_reads.find(limit));
        if let Some(hint) = hint.filter(|hint| hint.segment_base == base) {
            return Ok(hint.position.max(found.position));
        }
        Ok(match self.find_in(disk, found.segment, limit)? {
            Some(seen) => seen.position,
            None => self.segments[found.segment].bytes,
        })
    }

    /// The length of the whole batches from `found` on that end at or before `end` and fit `bytes_max`.
    fn cut_to(
        &mut self,
        disk: &dyn Disk,
        found: &Found,
        end: u32,
        bytes_max: u32,
        at_least_one: bool,
    ) -> Result<u32, LogError> {
        let whole = end.saturating_sub(found.position);
        if whole <= bytes_max {
            return Ok(whole);
        }
        let directory = self.directory.clone();
        let file = self.file_for_reading(disk, found.segment)?;
        let segment = &mut self.segments[found.segment];
        let path = segment.path(&directory, FileKind::Log);
        let first = match found.first {
            Some(first) => first,
            None => {
                let mut scan = Scan::headers(disk, &file, found.position, end);
                let first = scan.next().map_err(LogError::scan(&path))?;
                first.ok_or_else(|| LogError::Corrupt {
                    path: path.clone(),
                    position: u64::from(found.position),
                    reason: BatchError::Empty,
                })?
            }
        };
        if first.total_bytes > bytes_max {
            return Ok(if at_least_one { first.total_bytes } else { 0 });
        }
        let goal = found.position.saturating_add(bytes_max);
        let floor = segment.floor_of_position(disk, &directory, goal).map_err(LogError::io(
            &segment.path(&directory, FileKind::OffsetIndex),
            "read index",
            0,
        ))?;
        let mut cut = first.end();
        let mut scan = Scan::headers(disk, &file, floor.max(cut), end);
        cut = cut.max(floor);
        let mut next_offset = None;
        while cut < goal {
            match scan.next().map_err(LogError::scan(&path))? {
                Some(seen) if seen.end() <= goal => {
                    cut = seen.end();
                    next_offset = Some(seen.next_offset());
                }
                Some(_) | None => break,
            }
        }
        if let Some(offset) = next_offset {
            self.recent_reads.add(Hint { offset, segment_base: segment.base_offset, position: cut });
        }
        Ok(cut - found.position)
    }

    /// Aborted transactions that a `read_committed` reader of [`from`, `to`) has to know.
    pub fn aborted_transactions(
        &self,
        disk: &dyn Disk,
        from: Offset,
        to: Offset,
    ) -> Result<Vec<AbortedTransaction>, LogError> {
        let mut found = Vec::new();
        for segment in &self.segments[self.segment_of(from.0)..] {
            let path = segment.path(&self.directory, FileKind::TransactionIndex);
            let entries = transaction_index::read(disk, &path).map_err(LogError::io(
                &path,
                "read transaction index",
                0,
            ))?;
            let mut complete = false;
            for entry in entries {
                if entry.last_offset >= from.0 && entry.first_offset < to.0 {
                    found.push(entry);
                }
                // Later markers end transactions that began at or beyond this point.
                complete |= entry.last_stable_offset >= to.0;
            }
            if complete {
                break;
            }
        }
        Ok(found)
    }

    /// The first record whose timestamp is at or after `timestamp`, below `limit`.
    pub fn offset_for_timestamp(
        &mut self,
        disk: &dyn Disk,
        timestamp: i64,
        limit: Offset,
    ) -> Result<Option<TimestampOffset>, LogError> {
        self.check_alive()?;
        let directory = self.directory.clone();
        for index in self.segment_of(self.start)..self.segments.len() {
            let segment = &mut self.segments[index];
            let time_path = segment.path(&directory, FileKind::TimeIndex);
            let read_index = || LogError::io(&time_path, "read time index", 0);
            if segment.bytes == 0
                || segment.largest(disk, &directory).map_err(read_index())?.timestamp < timestamp
            {
                continue;
            }
            let below = segment.times.below(disk, &time_path, timestamp).map_err(read_index())?;
            let from = below
                .map_or(segment.base_offset, |entry| segment.base_offset + i64::from(entry.relative_offset));
            let Some(start) = self.find_in(disk, index, from.max(self.start))? else { continue };
            let found = self.scan_for(
                disk,
                index,
                start.position,
                |seen| seen.max_timestamp >= timestamp,
                |t, o| t >= timestamp && o >= self.start,
            )?;
            if let Some(found) = found {
                return Ok(Some(found).filter(|found| found.offset < limit));
            }
        }
        Ok(None)
    }

    /// The record with the largest timestamp, below `limit`; the first of several.
    pub fn offset_of_max_timestamp(
        &mut self,
        disk: &dyn Disk,
        limit: Offset,
    ) -> Result<Option<TimestampOffset>, LogError> {
        self.check_alive()?;
        let directory = self.directory.clone();
        let mut best: Option<(usize, super::segment::Largest)> = None;
        for (index, segment) in self.segments.iter_mut().enumerate() {
            let path = segment.path(&directory, FileKind::TimeIndex);
            let largest =
                segment.largest(disk, &directory).map_err(LogError::io(&path, "read time index", 0))?;
            let better = best.is_none_or(|(_, best)| largest.timestamp > best.timestamp);
            if segment.bytes > 0 && largest.timestamp >= 0 && better {
                best = Some((index, largest));
            }
        }
        let Some((index, largest)) = best else { return Ok(None) };
        let Some(start) = self.find_in(disk, index, largest.offset)? else { return Ok(None) };
        let found = self.scan_for(
            disk,
            index,
            start.position,
            |seen| seen.max_timestamp >= largest.timestamp,
            |t, _| t >= largest.timestamp,
        )?;
        Ok(found.filter(|found| found.offset < limit))
    }

    /// The first record from `position` on that `record` accepts (timestamp, offset), in a batch that `batch` accepts.
    fn scan_for(
        &self,
        disk: &dyn Disk,
        index: usize,
        position: u32,
        batch: impl Fn(&Seen) -> bool,
        record: impl Fn(i64, i64) -> bool,
    ) -> Result<Option<TimestampOffset>, LogError> {
        let segment = &self.segments[index];
        let path = segment.path(&self.directory, FileKind::Log);
        let Some(file) = &segment.file else { return Ok(None) };
        let mut scan = Scan::headers(disk, file, position, segment.bytes);
        while let Some(seen) = scan.next().map_err(LogError::scan(&path))? {
            if !batch(&seen) {
                continue;
            }
            let at = u64::from(seen.position);
            let bytes = scan.read_batch(&seen).map_err(LogError::io(&path, "read", at))?;
            let found = first_record(&bytes, seen.header.as_ref(), &record).map_err(LogError::io(
                &path,
                "read records",
                at,
            ))?;
            if let Some((timestamp, offset)) = found {
                return Ok(Some(TimestampOffset {
                    timestamp,
                    offset: Offset(offset),
                    leader_epoch: self.epochs.epoch_at(offset),
                }));
            }
        }
        Ok(None)
    }
}

/// The most a batch may grow to when its records are looked at.
const PLAIN_BYTES_MAX: usize = 256 << 20;

fn first_record(
    bytes: &[u8],
    header: Option<&BatchHeader>,
    wanted: impl Fn(i64, i64) -> bool,
) -> io::Result<Option<(i64, i64)>> {
    let bad = |text: String| io::Error::new(io::ErrorKind::InvalidData, text);
    let (mut decompressor, mut plain) = (Decompressor::new(), Vec::new());
    let Some(header) = header else {
        let entry = match Batch::parse(bytes) {
            Ok(Batch::Legacy(entry)) => entry,
            Ok(Batch::Current { .. }) => return Ok(None),
            Err(error) => return Err(bad(error.to_string())),
        };
        let mut found = None;
        let mut each = |message: LegacyMessage<'_>| {
            if found.is_none() && wanted(message.timestamp, message.offset) {
                found = Some((message.timestamp, message.offset));
            }
        };
        entry
            .messages(&mut decompressor, &mut plain, PLAIN_BYTES_MAX, &mut each)
            .map_err(|error| bad(error.to_string()))?;
        return Ok(found);
    };
    let records = Records::of(bytes, header, &mut decompressor, &mut plain, PLAIN_BYTES_MAX)
        .map_err(|error| bad(error.to_string()))?;
    for record in records {
        let record = record.map_err(|error| bad(error.to_string()))?;
        let (timestamp, offset) = (record.timestamp(header), record.offset(header));
        if wanted(timestamp, offset) {
            return Ok(Some((timestamp, offset)));
        }
    }
    Ok(None)
}
