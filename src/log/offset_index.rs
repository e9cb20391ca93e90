//! The offset index of a segment (`.index`, contract 3.2): where in the file to begin looking for an offset.
//!
//! In: one entry at some batch boundaries, the batch's last offset and its start. Out: the greatest entry at or below
//! an offset or a position. Spacing is never assumed: other releases leave wide gaps.

use std::io;
use std::path::Path;

use super::entry_file::EntryFile;
use crate::reactor::Disk;

/// | bytes | field             |                                                  |
/// |-------|-------------------|--------------------------------------------------|
/// | 0..4  | `relative_offset` | last offset of the batch minus the segment's base |
/// | 4..8  | `position`        | where the batch starts in the segment file       |
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct OffsetEntry {
    pub relative_offset: u32,
    pub position: u32,
}

impl OffsetEntry {
    pub const BYTES: usize = 8;

    fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..4].copy_from_slice(&self.relative_offset.to_be_bytes());
        bytes[4..].copy_from_slice(&self.position.to_be_bytes());
        bytes
    }

    pub fn from_bytes(bytes: &[u8; Self::BYTES]) -> OffsetEntry {
        OffsetEntry {
            relative_offset: u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]),
            position: u32::from_be_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct OffsetIndex {
    entries: EntryFile<{ OffsetEntry::BYTES }>,
}

impl OffsetIndex {
    pub fn new() -> OffsetIndex {
        OffsetIndex { entries: EntryFile::new() }
    }

    pub fn on_disk(bytes: u64) -> OffsetIndex {
        OffsetIndex { entries: EntryFile::on_disk(bytes) }
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_full(&self, index_bytes_max: u32) -> bool {
        self.len() >= index_bytes_max as usize / OffsetEntry::BYTES
    }

    pub fn push(&mut self, entry: OffsetEntry) {
        self.entries.push(entry.to_bytes());
    }

    pub fn tail_is_full(&self) -> bool {
        self.entries.tail_is_full()
    }

    pub fn write_out(&mut self, disk: &dyn Disk, path: &Path) -> io::Result<()> {
        self.entries.write_out(disk, path)
    }

    pub fn last(&mut self, disk: &dyn Disk, path: &Path) -> io::Result<Option<OffsetEntry>> {
        Ok(self.entries.last(disk, path)?.as_ref().map(OffsetEntry::from_bytes))
    }

    /// The greatest entry whose offset is at most `relative_offset`; the start of the file when there is none.
    pub fn at_or_below_offset(
        &self,
        disk: &dyn Disk,
        path: &Path,
        relative_offset: u32,
    ) -> io::Result<OffsetEntry> {
        self.floor(disk, path, |entry| entry.relative_offset <= relative_offset)
    }

    /// The greatest entry whose position is at most `position`; the start of the file when there is none.
    pub fn at_or_below_position(
        &self,
        disk: &dyn Disk,
        path: &Path,
        position: u32,
    ) -> io::Result<OffsetEntry> {
        self.floor(disk, path, |entry| entry.position <= position)
    }

    fn floor(
        &self,
        disk: &dyn Disk,
        path: &Path,
        at_or_below: impl Fn(&OffsetEntry) -> bool,
    ) -> io::Result<OffsetEntry> {
        let count =
            self.entries.partition_point(disk, path, |bytes| at_or_below(&OffsetEntry::from_bytes(bytes)))?;
        match count.checked_sub(1) {
            Some(index) => Ok(OffsetEntry::from_bytes(&self.entries.get(disk, path, index)?)),
            None => Ok(OffsetEntry::default()),
        }
    }

    /// Forgets the entries at or beyond `position`.
    pub fn truncate_to_position(&mut self, disk: &dyn Disk, path: &Path, position: u32) -> io::Result<()> {
        let keep = self
            .entries
            .partition_point(disk, path, |bytes| OffsetEntry::from_bytes(bytes).position < position)?;
        self.entries.truncate(disk, path, keep)
    }
}
