//! The time index of a segment (`.timeindex`, contract 3.2): the largest timestamp seen up to an offset.
//!
//! In: (timestamp, offset) pairs; only one with a larger timestamp than the last becomes an entry. Out: look-ups.

use std::io;
use std::path::Path;

use super::entry_file::EntryFile;
use crate::reactor::Disk;

/// | bytes | field             |                                                          |
/// |-------|-------------------|----------------------------------------------------------|
/// | 0..8  | `timestamp`       | largest up to here                                       |
/// | 8..12 | `relative_offset` | last offset of the batch that has it, minus the base     |
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimeEntry {
    pub timestamp: i64,
    pub relative_offset: u32,
}

impl TimeEntry {
    pub const BYTES: usize = 12;

    fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&self.timestamp.to_be_bytes());
        bytes[8..].copy_from_slice(&self.relative_offset.to_be_bytes());
        bytes
    }

    pub fn from_bytes(bytes: &[u8; Self::BYTES]) -> TimeEntry {
        TimeEntry {
            timestamp: i64::from_be_bytes(*bytes.first_chunk().expect("12 bytes hold 8")),
            relative_offset: u32::from_be_bytes(*bytes.last_chunk().expect("12 bytes hold 4")),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct TimeIndex {
    entries: EntryFile<{ TimeEntry::BYTES }>,
}

impl TimeIndex {
    pub fn new() -> TimeIndex {
        TimeIndex { entries: EntryFile::new() }
    }

    pub fn on_disk(bytes: u64) -> TimeIndex {
        TimeIndex { entries: EntryFile::on_disk(bytes) }
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// One slot stays free for the entry that closes the segment.
    pub fn is_full(&self, index_bytes_max: u32) -> bool {
        self.len() + 1 >= index_bytes_max as usize / TimeEntry::BYTES
    }

    /// False until the last entry on disk was read: `last` does that.
    pub fn knows_last(&self) -> bool {
        self.entries.knows_last()
    }

    /// Adds the entry when its timestamp is larger than the last one's, which must be known.
    pub fn push_if_later(&mut self, entry: TimeEntry) {
        let later = match self.entries.known_last().map(TimeEntry::from_bytes) {
            Some(last) => entry.timestamp > last.timestamp && entry.relative_offset >= last.relative_offset,
            None => entry.timestamp >= 0,
        };
        if later {
            self.entries.push(entry.to_bytes());
        }
    }

    pub fn tail_is_full(&self) -> bool {
        self.entries.tail_is_full()
    }

    pub fn write_out(&mut self, disk: &dyn Disk, path: &Path) -> io::Result<()> {
        self.entries.write_out(disk, path)
    }

    pub fn last(&mut self, disk: &dyn Disk, path: &Path) -> io::Result<Option<TimeEntry>> {
        Ok(self.entries.last(disk, path)?.as_ref().map(TimeEntry::from_bytes))
    }

    /// The greatest entry whose timestamp is below `timestamp`: the first record at or after it comes later.
    pub fn below(&self, disk: &dyn Disk, path: &Path, timestamp: i64) -> io::Result<Option<TimeEntry>> {
        let count = self
            .entries
            .partition_point(disk, path, |bytes| TimeEntry::from_bytes(bytes).timestamp < timestamp)?;
        count
            .checked_sub(1)
            .map(|index| Ok(TimeEntry::from_bytes(&self.entries.get(disk, path, index)?)))
            .transpose()
    }

    /// Forgets the entries at or beyond `relative_offset`.
    pub fn truncate_to_offset(
        &mut self,
        disk: &dyn Disk,
        path: &Path,
        relative_offset: u32,
    ) -> io::Result<()> {
        let keep = self.entries.partition_point(disk, path, |bytes| {
            TimeEntry::from_bytes(bytes).relative_offset < relative_offset
        })?;
        self.entries.truncate(disk, path, keep)
    }
}
