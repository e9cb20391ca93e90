//! Walks the batches of a segment file, reading as little as the question needs.
//!
//! In: a file and a range. Out: what is known of each batch, in order; with `verify` the CRC of each was computed, else
//! only headers were read. The walk ends at the first bytes that are no batch, and says why.

use std::io;

use crate::checksum::crc32c_append;
use crate::reactor::{Disk, File};
use crate::wire::batch::{Batch, BatchError, BatchHeader, CRC_COVERS, HEADER_BYTES, LENGTH_END, front};

/// Bytes read ahead when batches are small and only headers are wanted.
const HEADERS_CHUNK_BYTES: usize = 4096;
/// Bytes read at once when everything is read.
const VERIFY_CHUNK_BYTES: usize = 1 << 20;

/// What the log knows of one batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub position: u32,
    pub total_bytes: u32,
    /// The first offset; of an old compressed entry, whose first offset is inside, the last one.
    pub base_offset: i64,
    pub last_offset: i64,
    /// Of its records: -1 where they have none, and where a compaction has left the header alone.
    pub max_timestamp: i64,
    /// Of magic 2.
    pub header: Option<BatchHeader>,
}

impl Seen {
    /// What is known of a batch that stands, or is to stand, at `position`.
    pub fn of(position: u32, batch: &Batch<'_>) -> Seen {
        let header = match batch {
            Batch::Current { header, .. } => Some(*header),
            Batch::Legacy(_) => None,
        };
        let is_empty = header.is_some_and(|header| header.record_count() == 0);
        Seen {
            position,
            total_bytes: batch.bytes().len() as u32,
            base_offset: batch.base_offset(),
            last_offset: batch.last_offset(),
            max_timestamp: if is_empty { -1 } else { batch.max_timestamp() },
            header,
        }
    }

    pub fn end(&self) -> u32 {
        self.position + self.total_bytes
    }

    pub fn next_offset(&self) -> i64 {
        self.last_offset.saturating_add(1)
    }
}

#[derive(Debug)]
pub(super) enum ScanError {
    Io { position: u64, source: io::Error },
    Bad { position: u64, reason: BatchError },
}

/// The walk. `next` gives one batch after the other until `end`.
pub(super) struct Scan<'a> {
    disk: &'a dyn Disk,
    file: &'a File,
    position: u64,
    end: u64,
    verify: bool,
    chunk: Vec<u8>,
    chunk_at: u64,
    large: bool,
}

impl<'a> Scan<'a> {
    pub fn headers(disk: &'a dyn Disk, file: &'a File, position: u32, end: u32) -> Scan<'a> {
        Scan::new(disk, file, position, end, false)
    }

    pub fn verified(disk: &'a dyn Disk, file: &'a File, position: u32, end: u32) -> Scan<'a> {
        Scan::new(disk, file, position, end, true)
    }

    fn new(disk: &'a dyn Disk, file: &'a File, position: u32, end: u32, verify: bool) -> Scan<'a> {
        let (position, end) = (u64::from(position), u64::from(end));
        Scan { disk, file, position, end, verify, chunk: Vec::new(), chunk_at: position, large: false }
    }

    pub fn next(&mut self) -> Result<Option<Seen>, ScanError> {
        if self.position >= self.end {
            return Ok(None);
        }
        let left = self.end - self.position;
        self.fill(left.min(HEADER_BYTES as u64) as usize)?;
        let bytes = self.buffered();
        let head = match front(bytes) {
            Ok(front) => front,
            Err(reason) => return Err(self.bad(reason)),
        };
        let total = head.total_bytes;
        if total as u64 > left {
            return Err(self.bad(BatchError::Incomplete { announced: total, present: left as usize }));
        }
        let header = (head.magic == 2).then(|| BatchHeader::peek(bytes)).flatten();
        let max_timestamp = match (&header, head.magic) {
            (Some(header), _) if header.record_count() == 0 => -1,
            (Some(header), _) => header.max_timestamp(),
            (None, 1) => i64::from_be_bytes(*bytes[18..].first_chunk().expect("front() asks for 34 bytes")),
            (None, _) => -1,
        };
        let last_offset = header.as_ref().map_or(head.offset, BatchHeader::last_offset);
        if head.offset < 0 || last_offset < head.offset {
            let (record_count, last_offset_delta) =
                header.as_ref().map_or((0, -1), |h| (h.record_count(), h.last_offset_delta()));
            return Err(self.bad(BatchError::Count { record_count, last_offset_delta }));
        }
        if self.verify {
            self.check_crc(header.as_ref(), total)?;
        }
        let seen = Seen {
            position: self.position as u32,
            total_bytes: total as u32,
            base_offset: head.offset,
            last_offset,
            max_timestamp,
            header,
        };
        self.large = total > HEADERS_CHUNK_BYTES / 2;
        self.position += total as u64;
        Ok(Some(seen))
    }

    /// The bytes of the batch that `next` has just given, as far as they are buffered; all of a small one's.
    pub fn read_batch(&self, seen: &Seen) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; seen.total_bytes as usize];
        let count = self.disk.read_full_at(self.file, u64::from(seen.position), &mut bytes)?;
        if count < bytes.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(bytes)
    }

    fn bad(&self, reason: BatchError) -> ScanError {
        ScanError::Bad { position: self.position, reason }
    }

    fn buffered(&self) -> &[u8] {
        &self.chunk[(self.position - self.chunk_at) as usize..]
    }

    /// Makes sure that `want` bytes from `position` on are buffered.
    fn fill(&mut self, want: usize) -> Result<(), ScanError> {
        let have = (self.chunk_at + self.chunk.len() as u64).saturating_sub(self.position);
        if self.position >= self.chunk_at && have >= want as u64 {
            return Ok(());
        }
        let ahead = match (self.verify, self.large) {
            (true, _) => VERIFY_CHUNK_BYTES,
            (false, false) => HEADERS_CHUNK_BYTES,
            (false, true) => HEADER_BYTES,
        };
        let bytes = (self.end - self.position).min(want.max(ahead) as u64) as usize;
        self.chunk.resize(bytes, 0);
        self.chunk_at = self.position;
        let count = self
            .disk
            .read_full_at(self.file, self.position, &mut self.chunk)
            .map_err(|source| ScanError::Io { position: self.position, source })?;
        self.chunk.truncate(count);
        if count < want {
            let reason = BatchError::Incomplete { announced: want, present: count };
            return Err(ScanError::Bad { position: self.position, reason });
        }
        Ok(())
    }

    fn check_crc(&mut self, header: Option<&BatchHeader>, total: usize) -> Result<(), ScanError> {
        let Some(header) = header else {
            self.fill(total)?;
            return match Batch::parse(&self.buffered()[..total]) {
                Ok(batch) if batch.crc_matches() => Ok(()),
                Ok(_) => Err(self.bad(BatchError::Crc { found: 0, computed: 0 })),
                Err(reason) => Err(self.bad(reason)),
            };
        };
        let computed = if total <= VERIFY_CHUNK_BYTES {
            self.fill(total)?;
            crc32c_append(0, &self.buffered()[CRC_COVERS..total])
        } else {
            // A length nobody has vouched for yet decides how much is read, not how much is held.
            self.crc_in_pieces(total)?
        };
        if computed != header.crc() {
            return Err(self.bad(BatchError::Crc { found: header.crc(), computed }));
        }
        Ok(())
    }

    fn crc_in_pieces(&mut self, total: usize) -> Result<u32, ScanError> {
        let mut piece = vec![0; VERIFY_CHUNK_BYTES];
        let (mut at, end) = (self.position + CRC_COVERS as u64, self.position + total as u64);
        let mut crc = 0;
        while at < end {
            let bytes = (end - at).min(piece.len() as u64) as usize;
            let count = self
                .disk
                .read_full_at(self.file, at, &mut piece[..bytes])
                .map_err(|source| ScanError::Io { position: at, source })?;
            if count < bytes {
                return Err(self.bad(BatchError::Incomplete { announced: total, present: count }));
            }
            crc = crc32c_append(crc, &piece[..bytes]);
            at += bytes as u64;
        }
        Ok(crc)
    }
}

// `front` reads no further than a whole header reaches.
const _: () = assert!(LENGTH_END < HEADER_BYTES);
