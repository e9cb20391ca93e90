//! An index file of entries of one size: what is on disk, and a tail in memory that is written out in pieces.
//!
//! In: entries in rising order. Out: searches over both parts. The file is opened only to write out a piece or to
//! search the part on disk, is not mapped and grows by need, so an index costs nothing before its first entry
//! (`MEASURED.md`: mapped, pre-sized index files are what slows a broker of many partitions down).

use std::io;
use std::path::Path;

use crate::reactor::{Disk, OpenMode};

/// Entries kept in memory before they are written out.
const TAIL_ENTRIES_MAX: usize = 512;
/// Entries that one read fetches at the end of a search on disk.
const BLOCK_ENTRIES: usize = 512;

#[derive(Debug, Default)]
pub(super) struct EntryFile<const N: usize> {
    on_disk: u32,
    tail: Vec<[u8; N]>,
    /// Of the last entry, wherever it is.
    last: Option<[u8; N]>,
}

impl<const N: usize> EntryFile<N> {
    pub fn new() -> EntryFile<N> {
        EntryFile { on_disk: 0, tail: Vec::new(), last: None }
    }

    /// An index whose file holds `bytes` bytes; its last entry is read when first asked for.
    pub fn on_disk(bytes: u64) -> EntryFile<N> {
        EntryFile {
            on_disk: u32::try_from(bytes / N as u64).unwrap_or(u32::MAX),
            tail: Vec::new(),
            last: None,
        }
    }

    pub fn len(&self) -> usize {
        self.on_disk as usize + self.tail.len()
    }

    pub fn push(&mut self, entry: [u8; N]) {
        self.tail.push(entry);
        self.last = Some(entry);
    }

    pub fn tail_is_full(&self) -> bool {
        self.tail.len() >= TAIL_ENTRIES_MAX
    }

    pub fn knows_last(&self) -> bool {
        self.last.is_some() || self.on_disk == 0
    }

    pub fn known_last(&self) -> Option<&[u8; N]> {
        self.last.as_ref()
    }

    pub fn last(&mut self, disk: &dyn Disk, path: &Path) -> io::Result<Option<[u8; N]>> {
        if self.last.is_none() && self.on_disk > 0 {
            let file = disk.open(path, OpenMode::Read)?;
            self.last = Some(read_entry(disk, &file, self.on_disk - 1)?);
        }
        Ok(self.last)
    }

    /// Writes the tail to the file, which afterwards exists even when the index is empty.
    pub fn write_out(&mut self, disk: &dyn Disk, path: &Path) -> io::Result<()> {
        let file = disk.open(path, OpenMode::Create)?;
        if self.on_disk == 0 {
            // What an earlier life of this name left behind is not part of the index.
            disk.truncate(&file, 0)?;
        }
        disk.write_all_at(&file, u64::from(self.on_disk) * N as u64, self.tail.as_flattened())?;
        self.on_disk += self.tail.len() as u32;
        self.tail = Vec::new();
        Ok(())
    }

    /// The number of entries, from the first on, for which `before` is true; it must not become true again.
    pub fn partition_point(
        &self,
        disk: &dyn Disk,
        path: &Path,
        before: impl Fn(&[u8; N]) -> bool,
    ) -> io::Result<usize> {
        if self.on_disk == 0 || self.tail.first().is_some_and(&before) {
            return Ok(self.on_disk as usize + self.tail.partition_point(&before));
        }
        let file = disk.open(path, OpenMode::Read)?;
        let (mut low, mut high) = (0, self.on_disk as usize);
        while high - low > BLOCK_ENTRIES {
            let middle = low + (high - low) / 2;
            if before(&read_entry(disk, &file, middle as u32)?) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let mut block = vec![[0; N]; high - low];
        let count = disk.read_full_at(&file, (low * N) as u64, block.as_flattened_mut())?;
        block.truncate(count / N);
        Ok(low + block.partition_point(&before))
    }

    /// The entry at `index`, which must be below `len`.
    pub fn get(&self, disk: &dyn Disk, path: &Path, index: usize) -> io::Result<[u8; N]> {
        match index.checked_sub(self.on_disk as usize) {
            Some(in_tail) => Ok(self.tail[in_tail]),
            None => read_entry(disk, &disk.open(path, OpenMode::Read)?, index as u32),
        }
    }

    /// Forgets all entries from `count` on, on disk too.
    pub fn truncate(&mut self, disk: &dyn Disk, path: &Path, count: usize) -> io::Result<()> {
        if count >= self.len() {
            return Ok(());
        }
        self.last = None;
        match count.checked_sub(self.on_disk as usize) {
            Some(in_tail) => {
                self.tail.truncate(in_tail);
                self.last = self.tail.last().copied();
            }
            None => {
                self.tail = Vec::new();
                let file = disk.open(path, OpenMode::Write)?;
                disk.truncate(&file, (count * N) as u64)?;
                self.on_disk = count as u32;
            }
        }
        Ok(())
    }
}

fn read_entry<const N: usize>(
    disk: &dyn Disk,
    file: &crate::reactor::File,
    index: u32,
) -> io::Result<[u8; N]> {
    let mut entry = [0; N];
    let count = disk.read_full_at(file, u64::from(index) * N as u64, &mut entry)?;
    if count < N {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the index is shorter than it was"));
    }
    Ok(entry)
}
