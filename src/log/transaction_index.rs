//! The transaction index of a segment (`.txnindex`, contract 3.2): the aborted transactions that ended in it.
//!
//! In: aborted transactions in the order of their markers. Out: those that overlap a range of offsets. The file is
//! made with the first one; most segments have none.

use std::io;
use std::path::Path;

use crate::reactor::{Disk, OpenMode};

/// | bytes  | field                |                                           |
/// |--------|----------------------|-------------------------------------------|
/// | 0..2   | version              | 0                                         |
/// | 2..10  | `producer_id`        |                                           |
/// | 10..18 | `first_offset`       | of the transaction's first record         |
/// | 18..26 | `last_offset`        | of its abort marker                       |
/// | 26..34 | `last_stable_offset` | of the log when the marker was written    |
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AbortedTransaction {
    pub producer_id: i64,
    pub first_offset: i64,
    pub last_offset: i64,
    pub last_stable_offset: i64,
}

impl AbortedTransaction {
    pub const BYTES: usize = 34;
    const VERSION: i16 = 0;

    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..2].copy_from_slice(&Self::VERSION.to_be_bytes());
        bytes[2..10].copy_from_slice(&self.producer_id.to_be_bytes());
        bytes[10..18].copy_from_slice(&self.first_offset.to_be_bytes());
        bytes[18..26].copy_from_slice(&self.last_offset.to_be_bytes());
        bytes[26..34].copy_from_slice(&self.last_stable_offset.to_be_bytes());
        bytes
    }

    /// `None` for an entry of another version or with offsets out of order.
    pub fn from_bytes(bytes: &[u8; Self::BYTES]) -> Option<AbortedTransaction> {
        let field =
            |at: usize| i64::from_be_bytes(*bytes[at..].first_chunk().expect("34 bytes hold 4 fields"));
        let entry = AbortedTransaction {
            producer_id: field(2),
            first_offset: field(10),
            last_offset: field(18),
            last_stable_offset: field(26),
        };
        let version = i16::from_be_bytes([bytes[0], bytes[1]]);
        (version == Self::VERSION && 0 <= entry.first_offset && entry.first_offset <= entry.last_offset)
            .then_some(entry)
    }
}

/// All entries of a transaction index; no file, no entries. A bad entry is an error that names it.
pub fn read(disk: &dyn Disk, path: &Path) -> io::Result<Vec<AbortedTransaction>> {
    let bytes = match disk.read_file(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let (entries, rest) = bytes.as_chunks::<{ AbortedTransaction::BYTES }>();
    let bad = |index: usize| {
        let text = format!("{}: entry {index} is no aborted transaction", path.display());
        io::Error::new(io::ErrorKind::InvalidData, text)
    };
    if !rest.is_empty() {
        return Err(bad(entries.len()));
    }
    entries
        .iter()
        .enumerate()
        .map(|(i, entry)| AbortedTransaction::from_bytes(entry).ok_or_else(|| bad(i)))
        .collect()
}

/// Adds an entry at the end of the file, made when missing.
pub fn append(disk: &dyn Disk, path: &Path, entry: AbortedTransaction) -> io::Result<()> {
    let file = disk.open(path, OpenMode::Create)?;
    let whole = disk.length(&file)? / AbortedTransaction::BYTES as u64;
    disk.write_all_at(&file, whole * AbortedTransaction::BYTES as u64, &entry.to_bytes())
}
