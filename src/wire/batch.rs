//! Record batches (contract 2.1, 2.4): what a producer sends, the log keeps and a consumer receives, as it is.
//!
//! In: bytes of one batch or of several in a row. Out: their headers, whether they may be appended, and the few fields
//! a leader stamps. Records are neither decoded nor copied here; `record` does that where it has to be.
//! A `BatchHeader` exists only where all of its batch's bytes were there, except by `BatchHeader::peek`.

use std::fmt;

use crate::checksum::crc32c;
use crate::wire::compression::Codec;
use crate::wire::error_code::ErrorCode;
use crate::wire::legacy::LegacyEntry;
use crate::wire::record;

/// Bytes of a magic-2 batch without any record.
pub const HEADER_BYTES: usize = 61;
/// Bytes in front of what `batch_length` counts; every format, old and new, begins with offset and length.
pub const LENGTH_END: usize = 12;
/// Where the magic byte stands, in all formats.
pub const MAGIC_AT: usize = 16;
/// Where the bytes begin that the CRC covers.
pub const CRC_COVERS: usize = 21;
/// "No producer": batches that are neither idempotent nor transactional.
pub const NO_PRODUCER_ID: i64 = -1;
/// "No timestamp."
pub const NO_TIMESTAMP: i64 = -1;

const CODEC_BITS: i16 = 0x07;
const LOG_APPEND_TIME: i16 = 0x08;
const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;
const DELETE_HORIZON: i16 = 0x40;

/// The header of a magic-2 batch, as its 61 bytes.
///
/// | bytes  | field                    |                                                              |
/// |--------|--------------------------|--------------------------------------------------------------|
/// | 0..8   | `base_offset`            | 0 from a producer, stamped by the leader, outside the CRC    |
/// | 8..12  | `batch_length`           | bytes after this field                                       |
/// | 12..16 | `partition_leader_epoch` | -1 from a producer, stamped by the leader, outside the CRC   |
/// | 16     | `magic`                  | 2                                                            |
/// | 17..21 | `crc`                    | CRC-32C of bytes 21 to the end                               |
/// | 21..23 | `attributes`             | bits 0-2 codec, 3 log append time, 4 transactional,          |
/// |        |                          | 5 control, 6 delete horizon                                  |
/// | 23..27 | `last_offset_delta`      | survives compaction                                          |
/// | 27..35 | `base_timestamp`         | of the first record; with bit 6 the delete horizon           |
/// | 35..43 | `max_timestamp`          | with bit 3 the time of the append                            |
/// | 43..51 | `producer_id`            | -1 none                                                      |
/// | 51..53 | `producer_epoch`         | -1 none                                                      |
/// | 53..57 | `base_sequence`          | -1 none                                                      |
/// | 57..61 | `record_count`           | 0 only in compacted logs                                     |
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader([u8; HEADER_BYTES]);

// The picture and the getters below agree about where the header ends.
const _: () = assert!(57 + size_of::<i32>() == HEADER_BYTES);

impl BatchHeader {
    fn field<const N: usize>(&self, at: usize) -> [u8; N] {
        *self.0[at..].first_chunk().expect("every field lies inside the 61 bytes")
    }

    /// Reads a header without asking whether the rest of its batch is there; `None` if the header itself is not, or is
    /// of another magic, or announces less than itself.
    pub fn peek(bytes: &[u8]) -> Option<BatchHeader> {
        let header = BatchHeader(*bytes.first_chunk()?);
        (header.0[MAGIC_AT] == 2 && header.batch_length() >= (HEADER_BYTES - LENGTH_END) as i32)
            .then_some(header)
    }

    /// Reads the header of the magic-2 batch at the start of `bytes`, all of which must be there.
    pub fn parse(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
        let front = front(bytes)?;
        if front.magic != 2 {
            return Err(BatchError::OldMagic { magic: front.magic });
        }
        if bytes.len() < front.total_bytes {
            return Err(BatchError::Incomplete { announced: front.total_bytes, present: bytes.len() });
        }
        Ok(BatchHeader(*bytes.first_chunk().expect("front() refuses batches shorter than their header")))
    }

    pub fn base_offset(&self) -> i64 {
        i64::from_be_bytes(self.field(0))
    }

    pub fn batch_length(&self) -> i32 {
        i32::from_be_bytes(self.field(8))
    }

    /// Bytes of the whole batch, header included.
    pub fn total_bytes(&self) -> usize {
        LENGTH_END + self.batch_length().max(0) as usize
    }

    pub fn partition_leader_epoch(&self) -> i32 {
        i32::from_be_bytes(self.field(12))
    }

    pub fn crc(&self) -> u32 {
        u32::from_be_bytes(self.field(17))
    }

    pub fn attributes(&self) -> i16 {
        i16::from_be_bytes(self.field(21))
    }

    /// The codec of the records; `None` for the three numbers that name none.
    pub fn codec(&self) -> Option<Codec> {
        Codec::from_number((self.attributes() & CODEC_BITS) as u8)
    }

    pub fn is_compressed(&self) -> bool {
        self.attributes() & CODEC_BITS != 0
    }

    /// True when the records carry the time of the append instead of the producer's.
    pub fn is_log_append_time(&self) -> bool {
        self.attributes() & LOG_APPEND_TIME != 0
    }

    pub fn is_transactional(&self) -> bool {
        self.attributes() & TRANSACTIONAL != 0
    }

    /// True for transaction markers, which only coordinators write.
    pub fn is_control(&self) -> bool {
        self.attributes() & CONTROL != 0
    }

    /// When tombstones of this batch may go, once a compaction has set it (ms).
    pub fn delete_horizon(&self) -> Option<i64> {
        (self.attributes() & DELETE_HORIZON != 0).then(|| i64::from_be_bytes(self.field(27)))
    }

    pub fn last_offset_delta(&self) -> i32 {
        i32::from_be_bytes(self.field(23))
    }

    /// The offset of the last record. Header fields are not trusted: the sum saturates.
    pub fn last_offset(&self) -> i64 {
        self.base_offset().saturating_add(i64::from(self.last_offset_delta()))
    }

    /// The offset after the last record.
    pub fn next_offset(&self) -> i64 {
        self.last_offset().saturating_add(1)
    }

    /// The timestamp record deltas count from; with a delete horizon set, that horizon.
    pub fn base_timestamp(&self) -> i64 {
        i64::from_be_bytes(self.field(27))
    }

    pub fn max_timestamp(&self) -> i64 {
        i64::from_be_bytes(self.field(35))
    }

    pub fn producer_id(&self) -> i64 {
        i64::from_be_bytes(self.field(43))
    }

    pub fn has_producer_id(&self) -> bool {
        self.producer_id() > NO_PRODUCER_ID
    }

    pub fn producer_epoch(&self) -> i16 {
        i16::from_be_bytes(self.field(51))
    }

    pub fn base_sequence(&self) -> i32 {
        i32::from_be_bytes(self.field(53))
    }

    /// The sequence of the last record: sequences wrap from 2^31-1 to 0. `None` where the batch has no sequence.
    pub fn last_sequence(&self) -> Option<i32> {
        (self.base_sequence() >= 0).then(|| advance_sequence(self.base_sequence(), self.last_offset_delta()))
    }

    pub fn record_count(&self) -> i32 {
        i32::from_be_bytes(self.field(57))
    }

    /// Whether the CRC is that of `batch`, which is the whole batch of this header.
    pub fn crc_matches(&self, batch: &[u8]) -> bool {
        batch.get(CRC_COVERS..self.total_bytes()).is_some_and(|covered| crc32c(covered) == self.crc())
    }
}

impl fmt::Debug for BatchHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchHeader")
            .field("base_offset", &self.base_offset())
            .field("total_bytes", &self.total_bytes())
            .field("leader_epoch", &self.partition_leader_epoch())
            .field("crc", &self.crc())
            .field("attributes", &self.attributes())
            .field("last_offset_delta", &self.last_offset_delta())
            .field("base_timestamp", &self.base_timestamp())
            .field("max_timestamp", &self.max_timestamp())
            .field("producer_id", &self.producer_id())
            .field("producer_epoch", &self.producer_epoch())
            .field("base_sequence", &self.base_sequence())
            .field("record_count", &self.record_count())
            .finish()
    }
}

/// `sequence` moved forward by `by` records, wrapping from 2^31-1 to 0.
pub fn advance_sequence(sequence: i32, by: i32) -> i32 {
    ((i64::from(sequence) + i64::from(by)) & i64::from(i32::MAX)) as i32
}

/// Why bytes are not a batch, or not one that may be appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    #[error("there is no record batch")]
    Empty,
    #[error("the batch announces {announced} bytes, {present} are there")]
    Incomplete { announced: usize, present: usize },
    #[error("the batch announces a length of {length}, magic {magic} needs at least {length_min}")]
    Length { length: i32, magic: u8, length_min: usize },
    #[error("the batch has magic {magic}, the formats there are have 0, 1 and 2")]
    Magic { magic: u8 },
    #[error("the batch has the old magic {magic}, and only magic 2 is taken here")]
    OldMagic { magic: u8 },
    #[error("the batch ends after {total} bytes, {trailing} more follow it; exactly one batch is allowed")]
    Trailing { total: usize, trailing: usize },
    #[error("the batch begins at offset {base_offset}, a producer's must begin at 0")]
    BaseOffset { base_offset: i64 },
    #[error("the batch of {bytes} bytes exceeds the {bytes_max} allowed (max.message.bytes)")]
    TooLarge { bytes: usize, bytes_max: usize },
    #[error("the batch has CRC {found:#010x}, its bytes give {computed:#010x}")]
    Crc { found: u32, computed: u32 },
    #[error("codec {number} does not exist")]
    Codec { number: u8 },
    #[error("{codec} needs version {version_min} of the request or later")]
    CodecVersion { codec: Codec, version_min: i16 },
    #[error("the batch announces {record_count} records and a last offset delta of {last_offset_delta}")]
    Count { record_count: i32, last_offset_delta: i32 },
    #[error("the batch announces {record_count} records, its bytes hold {found}")]
    CountLie { record_count: i32, found: usize },
    #[error("the lengths of the records do not add up to the {bytes} bytes of the batch")]
    RecordLengths { bytes: usize },
    #[error("a control batch, which only the broker writes")]
    Control,
    #[error("producer id {producer_id} without a sequence (base sequence {base_sequence})")]
    Sequence { producer_id: i64, base_sequence: i32 },
}

impl BatchError {
    /// What the client is told.
    pub fn code(&self) -> ErrorCode {
        match self {
            BatchError::TooLarge { .. } => ErrorCode::MessageTooLarge,
            // Old magics are understood and refused; higher ones are not understood.
            BatchError::Crc { .. } | BatchError::Length { .. } | BatchError::Magic { .. } => {
                ErrorCode::CorruptMessage
            }
            BatchError::CodecVersion { .. } => ErrorCode::UnsupportedCompressionType,
            BatchError::Empty
            | BatchError::Incomplete { .. }
            | BatchError::OldMagic { .. }
            | BatchError::Trailing { .. }
            | BatchError::BaseOffset { .. }
            | BatchError::Codec { .. }
            | BatchError::Count { .. }
            | BatchError::CountLie { .. }
            | BatchError::RecordLengths { .. }
            | BatchError::Control
            | BatchError::Sequence { .. } => ErrorCode::InvalidRecord,
        }
    }
}

/// What all formats have in common at their start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Front {
    pub offset: i64,
    pub total_bytes: usize,
    pub magic: u8,
}

/// Reads offset, length and magic at the start of `bytes`, and refuses a length no batch of that magic can have.
/// `Incomplete` means: come back with more bytes.
pub fn front(bytes: &[u8]) -> Result<Front, BatchError> {
    if bytes.is_empty() {
        return Err(BatchError::Empty);
    }
    let Some(head) = bytes.first_chunk::<{ MAGIC_AT + 1 }>() else {
        return Err(BatchError::Incomplete { announced: MAGIC_AT + 1, present: bytes.len() });
    };
    let offset = i64::from_be_bytes(*head.first_chunk().expect("17 bytes are there"));
    let length = i32::from_be_bytes(*head[8..].first_chunk().expect("17 bytes are there"));
    let magic = head[MAGIC_AT];
    let length_min = match magic {
        0 => LegacyEntry::MAGIC_0_BYTES,
        1 => LegacyEntry::MAGIC_1_BYTES,
        2 => HEADER_BYTES - LENGTH_END,
        _ => return Err(BatchError::Magic { magic }),
    };
    match usize::try_from(length) {
        Ok(length) if length >= length_min => Ok(Front { offset, total_bytes: LENGTH_END + length, magic }),
        _ => Err(BatchError::Length { length, magic, length_min }),
    }
}

/// Checks all that can be checked of a producer's batch without decoding its records (contract 2.4, 1 to 3): exactly
/// one batch of magic 2, at offset 0, with a true CRC, a count that fits its offsets and its records, no marker, and a
/// sequence where there is a producer id. Size and codec depend on topic and request: `check_bytes`, `check_codec`.
pub fn validate_client(records: &[u8]) -> Result<BatchHeader, BatchError> {
    let header = BatchHeader::parse(records)?;
    let total = header.total_bytes();
    if header.base_offset() != 0 {
        return Err(BatchError::BaseOffset { base_offset: header.base_offset() });
    }
    let computed = crc32c(&records[CRC_COVERS..total]);
    if computed != header.crc() {
        return Err(BatchError::Crc { found: header.crc(), computed });
    }
    if records.len() > total {
        return Err(BatchError::Trailing { total, trailing: records.len() - total });
    }
    let (record_count, last_offset_delta) = (header.record_count(), header.last_offset_delta());
    if record_count <= 0 || last_offset_delta != record_count - 1 {
        return Err(BatchError::Count { record_count, last_offset_delta });
    }
    match header.codec() {
        None => return Err(BatchError::Codec { number: (header.attributes() & CODEC_BITS) as u8 }),
        // A false count poisons the partition for every consumer that believes it. Java finds it by decoding; from
        // length to length is enough, and costs some nanoseconds a record while the bytes are in cache. Compressed
        // records would have to be decompressed for it.
        Some(Codec::None) => {
            let body = &records[HEADER_BYTES..total];
            match record::count(body) {
                Some(found) if found == record_count as usize => {}
                Some(found) => return Err(BatchError::CountLie { record_count, found }),
                None => return Err(BatchError::RecordLengths { bytes: body.len() }),
            }
        }
        Some(_) => {}
    }
    if header.is_control() {
        return Err(BatchError::Control);
    }
    if header.has_producer_id() && header.base_sequence() < 0 {
        return Err(BatchError::Sequence {
            producer_id: header.producer_id(),
            base_sequence: header.base_sequence(),
        });
    }
    Ok(header)
}

/// Refuses a batch that is larger than the topic's `max.message.bytes`.
pub fn check_bytes(header: &BatchHeader, bytes_max: usize) -> Result<(), BatchError> {
    let bytes = header.total_bytes();
    if bytes > bytes_max { Err(BatchError::TooLarge { bytes, bytes_max }) } else { Ok(()) }
}

/// Refuses zstd below Produce 7: its consumers of that age could not read it.
pub fn check_codec(header: &BatchHeader, produce_version: i16) -> Result<(), BatchError> {
    const ZSTD_PRODUCE_VERSION: i16 = 7;
    match header.codec() {
        Some(codec @ Codec::Zstd) if produce_version < ZSTD_PRODUCE_VERSION => {
            Err(BatchError::CodecVersion { codec, version_min: ZSTD_PRODUCE_VERSION })
        }
        Some(_) => Ok(()),
        None => Err(BatchError::Codec { number: (header.attributes() & CODEC_BITS) as u8 }),
    }
}

/// Stamps what the leader decides about an appended batch. Neither field is covered by the CRC.
pub fn stamp(batch: &mut [u8], base_offset: i64, leader_epoch: i32) {
    batch[0..8].copy_from_slice(&base_offset.to_be_bytes());
    batch[12..16].copy_from_slice(&leader_epoch.to_be_bytes());
}

/// Gives all records of the batch the time of the append, and the batch a new CRC.
pub fn stamp_log_append_time(batch: &mut [u8], now_ms: i64) {
    set_attribute(batch, LOG_APPEND_TIME, true);
    batch[35..43].copy_from_slice(&now_ms.to_be_bytes());
    seal(batch);
}

/// Makes the batch one of producer timestamps with the given newest one. The CRC is renewed only if that changes
/// anything; an honest producer's batch stays as it is.
pub fn stamp_create_time(batch: &mut [u8], max_timestamp: i64) {
    let header = BatchHeader(*batch.first_chunk().expect("a batch has a header"));
    if header.is_log_append_time() || header.max_timestamp() != max_timestamp {
        set_attribute(batch, LOG_APPEND_TIME, false);
        batch[35..43].copy_from_slice(&max_timestamp.to_be_bytes());
        seal(batch);
    }
}

/// Makes a whole batch of a header and records that are compressed with another codec than it says: length, codec, newest
/// producer timestamp, CRC.
pub fn restamp(batch: &mut [u8], codec: Codec, max_timestamp: i64) {
    let length = (batch.len() - LENGTH_END) as i32;
    batch[8..LENGTH_END].copy_from_slice(&length.to_be_bytes());
    let attributes = i16::from_be_bytes([batch[21], batch[22]]);
    let attributes = attributes & !(CODEC_BITS | LOG_APPEND_TIME) | codec as i16;
    batch[21..23].copy_from_slice(&attributes.to_be_bytes());
    batch[35..43].copy_from_slice(&max_timestamp.to_be_bytes());
    seal(batch);
}

/// Stamps the producer's fields; the caller seals the batch when it has changed all it wants to.
pub fn stamp_producer(batch: &mut [u8], producer_id: i64, producer_epoch: i16, base_sequence: i32) {
    batch[43..51].copy_from_slice(&producer_id.to_be_bytes());
    batch[51..53].copy_from_slice(&producer_epoch.to_be_bytes());
    batch[53..57].copy_from_slice(&base_sequence.to_be_bytes());
}

/// Moves the batch in time: record timestamps are deltas, so they all move with it. The caller seals the batch.
pub fn stamp_timestamps(batch: &mut [u8], base_timestamp: i64, max_timestamp: i64) {
    batch[27..35].copy_from_slice(&base_timestamp.to_be_bytes());
    batch[35..43].copy_from_slice(&max_timestamp.to_be_bytes());
}

/// Renews the CRC of a whole batch.
pub fn seal(batch: &mut [u8]) {
    let crc = crc32c(&batch[CRC_COVERS..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
}

/// Renews the CRC from that of the records, `records_crc`, which have not changed: the cost does not grow with them.
pub fn seal_header(batch: &mut [u8], records_crc: u32) {
    let header_crc = crc32c(&batch[CRC_COVERS..HEADER_BYTES]);
    let crc = crate::checksum::crc32c_combine(header_crc, records_crc, batch.len() - HEADER_BYTES);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
}

fn set_attribute(batch: &mut [u8], bit: i16, on: bool) {
    let attributes = i16::from_be_bytes([batch[21], batch[22]]);
    let attributes = if on { attributes | bit } else { attributes & !bit };
    batch[21..23].copy_from_slice(&attributes.to_be_bytes());
}

/// One batch of any format among others: magic 2, or an entry of an old message set.
#[derive(Clone, Copy, Debug)]
pub enum Batch<'a> {
    Current { header: BatchHeader, bytes: &'a [u8] },
    Legacy(LegacyEntry<'a>),
}

impl<'a> Batch<'a> {
    /// Reads the batch at the start of `bytes`. `Incomplete` means that it goes on behind them.
    pub fn parse(bytes: &'a [u8]) -> Result<Batch<'a>, BatchError> {
        let front = front(bytes)?;
        let Some(whole) = bytes.get(..front.total_bytes) else {
            return Err(BatchError::Incomplete { announced: front.total_bytes, present: bytes.len() });
        };
        match front.magic {
            2 => Ok(Batch::Current { header: BatchHeader::parse(whole)?, bytes: whole }),
            _ => Ok(Batch::Legacy(LegacyEntry::new(whole))),
        }
    }

    pub fn bytes(&self) -> &'a [u8] {
        match self {
            Batch::Current { bytes, .. } => bytes,
            Batch::Legacy(entry) => entry.bytes(),
        }
    }

    pub fn magic(&self) -> u8 {
        self.bytes()[MAGIC_AT]
    }

    /// The first offset. An old compressed entry says only its last one; its first is inside (`legacy`).
    pub fn base_offset(&self) -> i64 {
        match self {
            Batch::Current { header, .. } => header.base_offset(),
            Batch::Legacy(entry) => entry.offset(),
        }
    }

    pub fn last_offset(&self) -> i64 {
        match self {
            Batch::Current { header, .. } => header.last_offset(),
            Batch::Legacy(entry) => entry.offset(),
        }
    }

    /// The newest timestamp; -1 where the format knows none.
    pub fn max_timestamp(&self) -> i64 {
        match self {
            Batch::Current { header, .. } => header.max_timestamp(),
            Batch::Legacy(entry) => entry.timestamp(),
        }
    }

    /// The CRC it has: CRC-32C in magic 2, CRC-32 before.
    pub fn crc(&self) -> u32 {
        match self {
            Batch::Current { header, .. } => header.crc(),
            Batch::Legacy(entry) => entry.crc(),
        }
    }

    /// The CRC its bytes give.
    pub fn computed_crc(&self) -> u32 {
        match self {
            Batch::Current { bytes, .. } => crc32c(&bytes[CRC_COVERS..]),
            Batch::Legacy(entry) => crate::checksum::crc32(&entry.bytes()[MAGIC_AT..]),
        }
    }

    pub fn crc_matches(&self) -> bool {
        match self {
            Batch::Current { header, bytes } => header.crc_matches(bytes),
            Batch::Legacy(entry) => entry.crc_matches(),
        }
    }
}

/// The batches in `bytes`, one after the other; the walk ends at the first that is not one. No CRC is computed.
pub fn batches(bytes: &[u8]) -> Batches<'_> {
    Batches { bytes, position: 0, failed: false }
}

/// The walk over `batches`; its items say where each one begins.
#[derive(Clone, Debug)]
pub struct Batches<'a> {
    bytes: &'a [u8],
    position: usize,
    failed: bool,
}

impl Batches<'_> {
    /// Where the next batch begins: after a failed item, where the bytes stop being batches.
    pub fn position(&self) -> usize {
        self.position
    }
}

impl<'a> Iterator for Batches<'a> {
    type Item = Result<(usize, Batch<'a>), BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = &self.bytes[self.position..];
        if self.failed || rest.is_empty() {
            return None;
        }
        match Batch::parse(rest) {
            Ok(batch) => {
                let position = self.position;
                self.position += batch.bytes().len();
                Some(Ok((position, batch)))
            }
            Err(error) => {
                self.failed = true;
                Some(Err(error))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::batch_builder::BatchBuilder;

    fn batch(records: usize) -> Vec<u8> {
        let mut builder = BatchBuilder::new(Codec::None).producer(7, 1, 100);
        for i in 0..records {
            builder.append(1_000 + i as i64, Some(b"key"), Some(b"some value"), &[("h", None)]);
        }
        builder.build()
    }

    fn refused(change: impl FnOnce(&mut Vec<u8>)) -> BatchError {
        let mut bytes = batch(3);
        change(&mut bytes);
        validate_client(&bytes).unwrap_err()
    }

    fn resealed(change: impl FnOnce(&mut Vec<u8>)) -> BatchError {
        refused(|bytes| {
            change(bytes);
            seal(bytes);
        })
    }

    #[test]
    fn an_honest_batch_passes_and_says_what_it_is() {
        let header = validate_client(&batch(3)).unwrap();
        assert_eq!((header.base_offset(), header.last_offset(), header.next_offset()), (0, 2, 3));
        assert_eq!((header.record_count(), header.partition_leader_epoch()), (3, -1));
        assert_eq!((header.base_timestamp(), header.max_timestamp()), (1_000, 1_002));
        assert_eq!((header.producer_id(), header.producer_epoch()), (7, 1));
        assert_eq!((header.base_sequence(), header.last_sequence()), (100, Some(102)));
        assert_eq!(header.codec(), Some(Codec::None));
        assert!(!header.is_control() && !header.is_transactional() && header.delete_horizon().is_none());
    }

    #[test]
    fn what_kafka_refuses_is_refused_with_its_code() {
        use ErrorCode::{CorruptMessage, InvalidRecord};
        let cases = [
            (refused(|b| b.clear()), InvalidRecord),
            (refused(|b| b.truncate(b.len() - 1)), InvalidRecord),
            (refused(|b| b.extend_from_slice(&batch(1))), InvalidRecord),
            (refused(|b| b[7] = 1), InvalidRecord),
            (refused(|b| b[16] = 1), InvalidRecord),
            (refused(|b| b[16] = 3), CorruptMessage),
            (refused(|b| b[8..12].copy_from_slice(&48i32.to_be_bytes())), CorruptMessage),
            (refused(|b| b[70] ^= 1), CorruptMessage),
            (resealed(|b| b[60] = 4), InvalidRecord),
            (resealed(|b| b[26] = 3), InvalidRecord),
            (resealed(|b| b[57..61].copy_from_slice(&0i32.to_be_bytes())), InvalidRecord),
            (resealed(|b| b[22] |= 0x20), InvalidRecord),
            (resealed(|b| b[22] |= 5), InvalidRecord),
            (resealed(|b| b[53..57].copy_from_slice(&(-1i32).to_be_bytes())), InvalidRecord),
        ];
        for (error, code) in cases {
            assert_eq!(error.code(), code, "{error}");
        }
    }

    #[test]
    fn messages_name_both_numbers() {
        let error = resealed(|b| b[60] = 4);
        assert_eq!(error.to_string(), "the batch announces 4 records and a last offset delta of 2");
        let error = refused(|b| b[17..21].copy_from_slice(&[0, 0, 0, 1]));
        assert!(error.to_string().starts_with("the batch has CRC 0x00000001, its bytes give 0x"), "{error}");
    }

    #[test]
    fn the_count_of_plain_records_must_be_true() {
        let error = resealed(|b| {
            b[23..27].copy_from_slice(&999_999i32.to_be_bytes());
            b[57..61].copy_from_slice(&1_000_000i32.to_be_bytes());
        });
        assert_eq!(error, BatchError::CountLie { record_count: 1_000_000, found: 3 });
        let error = resealed(|b| b[HEADER_BYTES] += 2);
        assert!(matches!(error, BatchError::RecordLengths { .. }), "{error}");
    }

    #[test]
    fn size_and_codec_are_checked_against_topic_and_request() {
        let plain = validate_client(&batch(1)).unwrap();
        assert_eq!(check_bytes(&plain, plain.total_bytes()), Ok(()));
        let error = check_bytes(&plain, plain.total_bytes() - 1).unwrap_err();
        assert_eq!(error.code(), ErrorCode::MessageTooLarge);
        let mut builder = BatchBuilder::new(Codec::Zstd);
        builder.append(0, None, Some(b"v"), &[]);
        let zstd = validate_client(&builder.build()).unwrap();
        assert_eq!(check_codec(&zstd, 7), Ok(()));
        assert_eq!(check_codec(&zstd, 6).unwrap_err().code(), ErrorCode::UnsupportedCompressionType);
    }

    #[test]
    fn stamping_offset_and_epoch_leaves_the_crc_true() {
        let mut bytes = batch(2);
        stamp(&mut bytes, 1 << 40, 9);
        let header = BatchHeader::parse(&bytes).unwrap();
        assert_eq!((header.base_offset(), header.partition_leader_epoch()), (1 << 40, 9));
        assert!(header.crc_matches(&bytes));
    }

    #[test]
    fn stamping_time_renews_the_crc_only_where_something_changes() {
        let mut bytes = batch(2);
        let before = bytes.clone();
        stamp_create_time(&mut bytes, 1_001);
        assert_eq!(bytes, before);
        stamp_log_append_time(&mut bytes, 5_000);
        let header = BatchHeader::parse(&bytes).unwrap();
        assert!(header.is_log_append_time() && header.crc_matches(&bytes));
        assert_eq!(header.max_timestamp(), 5_000);
        stamp_create_time(&mut bytes, 1_001);
        assert_eq!(bytes, before);
    }

    #[test]
    fn a_header_sealed_from_the_crc_of_its_records_is_sealed() {
        let mut bytes = batch(5);
        let records_crc = crc32c(&bytes[HEADER_BYTES..]);
        stamp_producer(&mut bytes, 99, 3, 1_000);
        stamp_timestamps(&mut bytes, 77, 81);
        seal_header(&mut bytes, records_crc);
        assert!(validate_client(&bytes).is_ok());
    }

    #[test]
    fn sequences_wrap_to_zero() {
        assert_eq!(advance_sequence(i32::MAX, 1), 0);
        assert_eq!(advance_sequence(i32::MAX - 1, 3), 1);
        assert_eq!(advance_sequence(5, 2), 7);
    }

    #[test]
    fn a_walk_ends_at_the_first_bytes_that_are_no_batch_and_says_where() {
        let mut bytes = batch(1);
        let first = bytes.len();
        bytes.extend(batch(2));
        let whole = bytes.len();
        bytes.extend(&batch(3)[..40]);
        let mut walk = batches(&bytes);
        let places: Vec<usize> = walk.by_ref().map_while(Result::ok).map(|(place, _)| place).collect();
        assert_eq!(places, [0, first]);
        assert_eq!(walk.position(), whole);
        assert!(walk.next().is_none());
    }

    #[test]
    fn a_batch_length_of_any_value_is_refused_or_within_the_bytes() {
        for length in [i32::MIN, -1, 0, 48, 49, i32::MAX] {
            let mut bytes = batch(1);
            bytes[8..12].copy_from_slice(&length.to_be_bytes());
            assert!(validate_client(&bytes).is_err(), "{length}");
        }
    }
}
