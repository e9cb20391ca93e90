//! Reads a segment file front to back in large pieces, batch after batch: for whoever wants all of its bytes.
//!
//! In: a file and how much of it counts. Out: places of whole batches and the batches themselves. A batch that is not
//! whole, or bytes that are none, end the walk with an error that says where; nothing is trusted beyond that.

use std::ops::Range;
use std::path::{Path, PathBuf};

use super::LogError;
use crate::reactor::{Disk, File, OpenMode};
use crate::wire::batch::{Batch, BatchError, front};

pub struct BatchFile<'a> {
    disk: &'a dyn Disk,
    file: File,
    path: PathBuf,
    io_bytes: usize,
    /// Bytes of the file from `chunk_at` on.
    chunk: Vec<u8>,
    chunk_at: u64,
    /// Where the next batch begins in `chunk`.
    next: usize,
    end: u64,
}

/// A whole batch, as `BatchFile::next` has found it.
#[derive(Clone, Debug)]
pub struct Placed {
    /// In the file.
    pub position: u64,
    in_chunk: Range<usize>,
}

impl Placed {
    pub fn bytes(&self) -> usize {
        self.in_chunk.len()
    }
}

impl<'a> BatchFile<'a> {
    /// `end`: bytes of the file that count; `None` all of them. `io_bytes` are read at once.
    pub fn open(
        disk: &'a dyn Disk,
        path: &Path,
        end: Option<u64>,
        io_bytes: usize,
    ) -> Result<BatchFile<'a>, LogError> {
        let file = disk.open(path, OpenMode::Read).map_err(LogError::io(path, "open", 0))?;
        let length = disk.length(&file).map_err(LogError::io(path, "length", 0))?;
        Ok(BatchFile {
            disk,
            file,
            path: path.to_path_buf(),
            io_bytes: io_bytes.max(4096),
            chunk: Vec::new(),
            chunk_at: 0,
            next: 0,
            end: end.unwrap_or(length),
        })
    }

    /// Goes on at `position`, which must be the start of a batch.
    pub fn seek(&mut self, position: u64) {
        self.chunk.clear();
        (self.chunk_at, self.next) = (position, 0);
    }

    pub fn position(&self) -> u64 {
        self.chunk_at + self.next as u64
    }

    /// Bytes of the file that count.
    pub fn end(&self) -> u64 {
        self.end
    }

    fn corrupt(&self, position: u64, reason: BatchError) -> LogError {
        LogError::Corrupt { path: self.path.clone(), position, reason }
    }

    /// The next batch. `on_read` is told of every piece read.
    pub fn next(&mut self, on_read: &mut dyn FnMut(u64)) -> Result<Option<Placed>, LogError> {
        loop {
            let position = self.position();
            if position >= self.end {
                return Ok(None);
            }
            let have = self.chunk.len() - self.next;
            let want = match front(&self.chunk[self.next..]) {
                Ok(front) if front.total_bytes <= have => {
                    let in_chunk = self.next..self.next + front.total_bytes;
                    self.next = in_chunk.end;
                    return Ok(Some(Placed { position, in_chunk }));
                }
                Ok(front) => front.total_bytes,
                Err(BatchError::Empty) => 1,
                Err(BatchError::Incomplete { announced, .. }) => announced,
                Err(reason) => return Err(self.corrupt(position, reason)),
            };
            let left = self.end - position;
            if want as u64 > left {
                let reason = BatchError::Incomplete { announced: want, present: left as usize };
                return Err(self.corrupt(position, reason));
            }
            self.chunk.drain(..self.next);
            (self.chunk_at, self.next) = (position, 0);
            let more = ((want - have).max(self.io_bytes) as u64).min(left - have as u64) as usize;
            self.chunk.resize(have + more, 0);
            let at = position + have as u64;
            let count = self
                .disk
                .read_full_at(&self.file, at, &mut self.chunk[have..])
                .map_err(LogError::io(&self.path, "read", at))?;
            if count < more {
                let reason = BatchError::Incomplete { announced: want, present: have + count };
                return Err(self.corrupt(position, reason));
            }
            on_read(more as u64);
        }
    }

    /// The batch at a place that `next` has just given.
    pub fn batch(&self, placed: &Placed) -> Result<Batch<'_>, LogError> {
        Batch::parse(&self.chunk[placed.in_chunk.clone()])
            .map_err(|reason| self.corrupt(placed.position, reason))
    }

    /// The same, and its CRC is true.
    pub fn checked_batch(&self, placed: &Placed) -> Result<Batch<'_>, LogError> {
        let batch = self.batch(placed)?;
        match batch.computed_crc() {
            computed if computed == batch.crc() => Ok(batch),
            computed => Err(self.corrupt(placed.position, BatchError::Crc { found: batch.crc(), computed })),
        }
    }
}
