//! A producer snapshot as bytes (`.snapshot`, contract 2.5): the state that is valid at the offset in the file's name.
//!
//! In: all producers, or the bytes of a file. Out: the other one. Only the newest batch of each producer is kept.

use super::{NO_BATCH, NO_SEQUENCE, Producer, Producers, RememberedBatch};
use crate::checksum::crc32c;

/// | bytes | field    |                                   |
/// |-------|----------|-----------------------------------|
/// | 0..2  | version  | 1                                 |
/// | 2..6  | crc      | CRC-32C of all after this field   |
/// | 6..10 | count    | of entries                        |
/// | 10..  | entries  | 46 bytes each, see `write_entry`  |
const HEAD_BYTES: usize = 10;
const ENTRY_BYTES: usize = 46;
const VERSION: i16 = 1;
const CRC_COVERS: usize = 6;

/// Why bytes are not a snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error("a snapshot of {bytes} bytes")]
    Length { bytes: usize },
    #[error("snapshot version {version}")]
    Version { version: i16 },
    #[error("a snapshot with CRC {found:#010x} whose bytes give {computed:#010x}")]
    Crc { found: u32, computed: u32 },
}

impl Producers {
    pub fn to_snapshot(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD_BYTES + self.len() * ENTRY_BYTES);
        bytes.extend(VERSION.to_be_bytes());
        bytes.extend([0; 4]);
        bytes.extend((self.len() as i32).to_be_bytes());
        for (id, producer) in self.sorted() {
            write_entry(&mut bytes, id, producer);
        }
        let crc = crc32c(&bytes[CRC_COVERS..]);
        bytes[2..CRC_COVERS].copy_from_slice(&crc.to_be_bytes());
        bytes
    }

    pub fn from_snapshot(bytes: &[u8]) -> Result<Producers, SnapshotError> {
        let mut producers = Producers::default();
        for (id, producer) in snapshot_entries(bytes)? {
            if let Some(first) = producer.transaction_first {
                producers.open.insert(first, id);
            }
            producers.producers.insert(id, producer);
        }
        Ok(producers)
    }
}

/// The entries of a snapshot, in the order of the file.
pub fn snapshot_entries(bytes: &[u8]) -> Result<Vec<(i64, Producer)>, SnapshotError> {
    let length = SnapshotError::Length { bytes: bytes.len() };
    let head: &[u8; HEAD_BYTES] = bytes.first_chunk().ok_or(length)?;
    let version = i16::from_be_bytes([head[0], head[1]]);
    if version != VERSION {
        return Err(SnapshotError::Version { version });
    }
    let found = u32::from_be_bytes([head[2], head[3], head[4], head[5]]);
    let computed = crc32c(&bytes[CRC_COVERS..]);
    if found != computed {
        return Err(SnapshotError::Crc { found, computed });
    }
    let count = i32::from_be_bytes([head[6], head[7], head[8], head[9]]);
    let (entries, rest) = bytes[HEAD_BYTES..].as_chunks::<ENTRY_BYTES>();
    if !rest.is_empty() || usize::try_from(count) != Ok(entries.len()) {
        return Err(length);
    }
    Ok(entries.iter().map(read_entry).collect())
}

/// | bytes  | field               |                              |
/// |--------|---------------------|------------------------------|
/// | 0..8   | producer id         |                              |
/// | 8..10  | epoch               |                              |
/// | 10..14 | last sequence       |                              |
/// | 14..22 | last offset         | -1: no batch is remembered   |
/// | 22..26 | offset delta        |                              |
/// | 26..34 | timestamp           |                              |
/// | 34..38 | coordinator epoch   |                              |
/// | 38..46 | transaction's first | -1: no transaction is open   |
fn write_entry(bytes: &mut Vec<u8>, id: i64, producer: &Producer) {
    let last = producer.last_batch().unwrap_or(&NO_BATCH);
    bytes.extend(id.to_be_bytes());
    bytes.extend(producer.epoch.to_be_bytes());
    bytes.extend(last.last_sequence.to_be_bytes());
    bytes.extend(last.last_offset.to_be_bytes());
    bytes.extend(last.offset_delta.to_be_bytes());
    bytes.extend(producer.last_timestamp.to_be_bytes());
    bytes.extend(producer.coordinator_epoch.to_be_bytes());
    bytes.extend(producer.transaction_first.unwrap_or(-1).to_be_bytes());
}

fn read_entry(entry: &[u8; ENTRY_BYTES]) -> (i64, Producer) {
    let long = |at: usize| i64::from_be_bytes(*entry[at..].first_chunk().expect("inside the entry"));
    let int = |at: usize| i32::from_be_bytes(*entry[at..].first_chunk().expect("inside the entry"));
    let mut producer = Producer::new(i16::from_be_bytes([entry[8], entry[9]]));
    producer.last_timestamp = long(26);
    producer.coordinator_epoch = int(34);
    producer.transaction_first = (long(38) >= 0).then(|| long(38));
    let (last_sequence, last_offset, offset_delta) = (int(10), long(14), int(22));
    if last_offset >= 0 && last_sequence > NO_SEQUENCE && offset_delta >= 0 {
        producer.remember(RememberedBatch { last_sequence, last_offset, offset_delta, timestamp: long(26) });
    }
    (long(0), producer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn producers() -> Producers {
        let mut producers = Producers::default();
        for id in 0..40i64 {
            let mut producer = Producer::new(id as i16);
            producer.last_timestamp = 1_700_000_000_000 + id;
            producer.coordinator_epoch = -1;
            if id % 3 != 0 {
                producer.remember(RememberedBatch {
                    last_sequence: 9,
                    last_offset: 100 + id,
                    offset_delta: 4,
                    timestamp: 1_700_000_000_000 + id,
                });
            }
            if id % 5 == 0 {
                producer.transaction_first = Some(id);
                producers.open.insert(id, id);
            }
            producers.producers.insert(id, producer);
        }
        producers
    }

    #[test]
    fn a_snapshot_reads_back_as_it_was() {
        let producers = producers();
        let read = Producers::from_snapshot(&producers.to_snapshot()).unwrap();
        assert_eq!(read.sorted(), producers.sorted());
        assert_eq!(read.first_unstable(), Some(0));
    }

    #[test]
    fn an_empty_state_is_ten_bytes() {
        let bytes = Producers::default().to_snapshot();
        assert_eq!(bytes.len(), 10);
        assert!(Producers::from_snapshot(&bytes).unwrap().is_empty());
    }

    #[test]
    fn every_damaged_byte_and_every_cut_is_noticed() {
        let bytes = producers().to_snapshot();
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x40;
            assert!(Producers::from_snapshot(&damaged).is_err(), "byte {at}");
            assert!(Producers::from_snapshot(&bytes[..at]).is_err(), "cut at {at}");
        }
    }
}
