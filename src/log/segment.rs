//! One segment: a file of record batches and the sparse indexes beside it (contract 3.2).
//!
//! In: batches that have their offsets, after they were written. Out: index entries, and look-ups by offset, position
//! and time. Batches are contiguous; `bytes` counts whole ones, whatever the file holds behind them.

use std::io;
use std::path::{Path, PathBuf};

use super::files::{FileKind, Stage, file_name};
use super::offset_index::{OffsetEntry, OffsetIndex};
use super::scan::{Scan, ScanError, Seen};
use super::settings::LogConfig;
use super::time_index::{TimeEntry, TimeIndex};
use crate::reactor::{Disk, File, OpenMode};

/// The largest timestamp of a segment and the last offset of the batch that has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Largest {
    pub timestamp: i64,
    pub offset: i64,
}

/// A segment that has less in it grows block by block: thousands of small logs would hold more than they need.
const RESERVE_FROM_BYTES: u32 = 64 << 10;

#[derive(Debug)]
pub(super) struct Segment {
    pub base_offset: i64,
    /// Of whole batches.
    pub bytes: u32,
    /// Bytes below are flushed, if the segment was not already when it was opened.
    pub flushed_bytes: u32,
    /// The file has blocks of its own up to here, as far as this process knows: it asked for them ahead of the appends.
    pub reserved: u32,
    /// Open while the segment is active, not flushed, or read now and then.
    pub file: Option<File>,
    pub offsets: OffsetIndex,
    pub times: TimeIndex,
    /// `None` until the time index was asked.
    pub largest: Option<Largest>,
    /// Timestamp of the first batch; `None` until it was read.
    pub first_timestamp: Option<i64>,
    pub created_ms: i64,
    /// Its transaction index has entries that no flush has covered.
    pub transactions_are_unsynced: bool,
    /// What its files are called: a compacted segment is served before it has its lasting names.
    pub stage: Stage,
    bytes_since_entry: u32,
}

impl Segment {
    pub fn new(base_offset: i64, file: File, created_ms: i64) -> Segment {
        Segment {
            base_offset,
            bytes: 0,
            flushed_bytes: 0,
            reserved: 0,
            file: Some(file),
            offsets: OffsetIndex::new(),
            times: TimeIndex::new(),
            largest: Some(Largest { timestamp: -1, offset: base_offset }),
            first_timestamp: None,
            created_ms,
            transactions_are_unsynced: false,
            stage: Stage::Live,
            bytes_since_entry: 0,
        }
    }

    /// A segment that the listing of the directory shows; nothing of it is opened yet.
    pub fn found(
        base_offset: i64,
        bytes: u32,
        index_bytes: u64,
        time_index_bytes: u64,
        modified_ms: i64,
    ) -> Segment {
        Segment {
            base_offset,
            bytes,
            flushed_bytes: bytes,
            reserved: 0,
            file: None,
            offsets: OffsetIndex::on_disk(index_bytes),
            times: TimeIndex::on_disk(time_index_bytes),
            largest: None,
            first_timestamp: None,
            created_ms: modified_ms,
            transactions_are_unsynced: false,
            stage: Stage::Live,
            bytes_since_entry: 0,
        }
    }

    pub fn path(&self, directory: &Path, kind: FileKind) -> PathBuf {
        directory.join(file_name(self.base_offset, kind, self.stage))
    }

    pub fn relative(&self, offset: i64) -> u32 {
        u32::try_from(offset - self.base_offset).unwrap_or(if offset < self.base_offset {
            0
        } else {
            u32::MAX
        })
    }

    /// Has blocks reserved for an append that ends at `until`, and for as much again as the segment holds, so that few
    /// appends wait for the file system to find them one by one. The length of the file stays what was written.
    pub fn reserve(
        &mut self,
        disk: &dyn Disk,
        file: &File,
        until: u32,
        config: &LogConfig,
    ) -> io::Result<()> {
        if until <= self.reserved || self.bytes < RESERVE_FROM_BYTES || config.preallocate_ahead_bytes == 0 {
            return Ok(());
        }
        let ahead = self.bytes.min(config.preallocate_ahead_bytes);
        let end = until.saturating_add(ahead).min(config.segment_bytes).max(until);
        let from = self.reserved.max(self.bytes);
        match disk.allocate(file, u64::from(from), u64::from(end - from)) {
            Ok(()) => {}
            // It can do without until then: whether there is room for the append itself, the write will tell.
            Err(e) if e.kind() == io::ErrorKind::Unsupported || super::is_no_space(&e) => {}
            Err(e) => return Err(e),
        }
        self.reserved = end;
        Ok(())
    }

    /// Gives back what was reserved and not written to; and cuts off what was written and not taken note of, if
    /// `tail_is_dirty`.
    pub fn release(&mut self, disk: &dyn Disk, directory: &Path, tail_is_dirty: bool) -> io::Result<()> {
        if tail_is_dirty || self.reserved > self.bytes {
            let file = self.file(disk, directory)?;
            disk.truncate(&file, u64::from(self.bytes))?;
        }
        self.reserved = 0;
        Ok(())
    }

    pub fn file(&mut self, disk: &dyn Disk, directory: &Path) -> io::Result<File> {
        match &self.file {
            Some(file) => Ok(file.clone()),
            None => {
                let file = disk.open(&self.path(directory, FileKind::Log), OpenMode::Write)?;
                self.file = Some(file.clone());
                Ok(file)
            }
        }
    }

    pub fn largest(&mut self, disk: &dyn Disk, directory: &Path) -> io::Result<Largest> {
        if let Some(largest) = self.largest {
            return Ok(largest);
        }
        let largest = match self.times.last(disk, &self.path(directory, FileKind::TimeIndex))? {
            Some(entry) => Largest {
                timestamp: entry.timestamp,
                offset: self.base_offset + i64::from(entry.relative_offset),
            },
            None => Largest { timestamp: -1, offset: self.base_offset },
        };
        self.largest = Some(largest);
        Ok(largest)
    }

    /// The largest timestamp in it, or the last change of its file when its records have none.
    pub fn newest_ms(&mut self, disk: &dyn Disk, directory: &Path) -> io::Result<i64> {
        match self.largest(disk, directory)? {
            Largest { timestamp, .. } if timestamp >= 0 => Ok(timestamp),
            Largest { .. } => self.file(disk, directory).and_then(|file| disk.modified_ms(&file)),
        }
    }

    /// The timestamp of the first batch, when there is one and it has one.
    pub fn first_timestamp(&mut self, disk: &dyn Disk, directory: &Path) -> Result<Option<i64>, ScanError> {
        if self.bytes == 0 {
            return Ok(None);
        }
        if self.first_timestamp.is_none() {
            let file = self.file(disk, directory).map_err(|source| ScanError::Io { position: 0, source })?;
            let first = Scan::headers(disk, &file, 0, self.bytes).next()?;
            self.first_timestamp = first.map(|seen| seen.max_timestamp);
        }
        Ok(self.first_timestamp.filter(|timestamp| *timestamp >= 0))
    }

    /// Notes a batch that now stands at the end of the file: this is the rule for index entries, one place for appends
    /// and recovery.
    pub fn note(
        &mut self,
        disk: &dyn Disk,
        directory: &Path,
        config: &LogConfig,
        seen: &Seen,
    ) -> io::Result<()> {
        let largest = self.largest(disk, directory)?;
        if self.bytes == 0 && self.first_timestamp.is_none() {
            self.first_timestamp = Some(seen.max_timestamp);
        }
        if seen.max_timestamp > largest.timestamp {
            self.largest = Some(Largest { timestamp: seen.max_timestamp, offset: seen.last_offset });
        }
        if self.bytes_since_entry > config.index_interval_bytes {
            self.offsets.push(OffsetEntry {
                relative_offset: self.relative(seen.last_offset),
                position: seen.position,
            });
            self.push_time_entry(disk, directory)?;
            self.bytes_since_entry = 0;
            if self.offsets.tail_is_full() {
                let written = self.offsets.write_out(disk, &self.path(directory, FileKind::OffsetIndex));
                unless_no_space(written)?;
            }
            if self.times.tail_is_full() {
                let written = self.times.write_out(disk, &self.path(directory, FileKind::TimeIndex));
                unless_no_space(written)?;
            }
        }
        self.bytes_since_entry = self.bytes_since_entry.saturating_add(seen.total_bytes);
        self.bytes = seen.end();
        Ok(())
    }

    fn push_time_entry(&mut self, disk: &dyn Disk, directory: &Path) -> io::Result<()> {
        let largest = self.largest(disk, directory)?;
        let entry =
            TimeEntry { timestamp: largest.timestamp, relative_offset: self.relative(largest.offset) };
        if !self.times.knows_last() {
            self.times.last(disk, &self.path(directory, FileKind::TimeIndex))?;
        }
        self.times.push_if_later(entry);
        Ok(())
    }

    /// Writes both indexes, with the entry that closes a segment; both files exist afterwards.
    pub fn write_indexes(&mut self, disk: &dyn Disk, directory: &Path) -> io::Result<()> {
        self.push_time_entry(disk, directory)?;
        self.offsets.write_out(disk, &self.path(directory, FileKind::OffsetIndex))?;
        self.times.write_out(disk, &self.path(directory, FileKind::TimeIndex))
    }

    /// Forgets all entries, here and on disk; `note` builds them anew from the first batch on.
    pub fn reset_indexes(&mut self, disk: &dyn Disk, directory: &Path) -> io::Result<()> {
        for kind in [FileKind::OffsetIndex, FileKind::TimeIndex] {
            remove_if_there(disk, &self.path(directory, kind))?;
        }
        self.offsets = OffsetIndex::new();
        self.times = TimeIndex::new();
        self.largest = Some(Largest { timestamp: -1, offset: self.base_offset });
        self.first_timestamp = None;
        self.bytes_since_entry = 0;
        self.bytes = 0;
        Ok(())
    }

    /// Works out the largest timestamp anew, from the last entry of the time index and the headers behind it.
    pub fn find_largest(&mut self, disk: &dyn Disk, directory: &Path) -> Result<(), ScanError> {
        let io = |source| ScanError::Io { position: 0, source };
        self.largest = None;
        let mut largest = self.largest(disk, directory).map_err(io)?;
        let floor = self.floor_of_offset(disk, directory, largest.offset).map_err(io)?;
        let file = self.file(disk, directory).map_err(io)?;
        let mut scan = Scan::headers(disk, &file, floor, self.bytes);
        while let Some(seen) = scan.next()? {
            if seen.max_timestamp > largest.timestamp {
                largest = Largest { timestamp: seen.max_timestamp, offset: seen.last_offset };
            }
        }
        self.largest = Some(largest);
        Ok(())
    }

    /// Where to begin looking for `offset`: the start of a batch at or below it.
    pub fn floor_of_offset(&self, disk: &dyn Disk, directory: &Path, offset: i64) -> io::Result<u32> {
        let path = self.path(directory, FileKind::OffsetIndex);
        let entry = self.offsets.at_or_below_offset(disk, &path, self.relative(offset))?;
        Ok(if entry.position < self.bytes { entry.position } else { 0 })
    }

    /// The start of a batch at or below `position`.
    pub fn floor_of_position(&self, disk: &dyn Disk, directory: &Path, position: u32) -> io::Result<u32> {
        let path = self.path(directory, FileKind::OffsetIndex);
        let entry = self.offsets.at_or_below_position(disk, &path, position)?;
        Ok(if entry.position < self.bytes { entry.position } else { 0 })
    }

    /// The first batch whose last offset is at or beyond `offset`, looked for from `floor` on.
    pub fn find_from(
        &mut self,
        disk: &dyn Disk,
        directory: &Path,
        floor: u32,
        offset: i64,
    ) -> Result<Option<Seen>, ScanError> {
        let file = self.file(disk, directory).map_err(|source| ScanError::Io { position: 0, source })?;
        let mut scan = Scan::headers(disk, &file, floor, self.bytes);
        while let Some(seen) = scan.next()? {
            if seen.last_offset >= offset {
                return Ok(Some(seen));
            }
        }
        Ok(None)
    }
}

/// The batch is in the log already: an index that finds no room stays in memory and is tried again with its next entry.
fn unless_no_space(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if !super::is_no_space(&error) => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

pub(super) fn remove_if_there(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    match disk.remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        Ok(()) | Err(_) => Ok(()),
    }
}
