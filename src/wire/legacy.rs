//! Old message sets, magic 0 and 1 (contract 2.2): what brokers before 0.11 left on disk and older clients send.
//!
//! In: one entry whose bytes are all there. Out: its fields, and the messages inside, one level deep and no deeper.
//!
//! | bytes  | field        | magic |                                                                  |
//! |--------|--------------|-------|------------------------------------------------------------------|
//! | 0..8   | `offset`     | 0, 1  | of a compressed entry: that of the last message inside           |
//! | 8..12  | `size`       | 0, 1  | bytes after this field                                           |
//! | 12..16 | `crc`        | 0, 1  | CRC-32 of bytes 16 to the end                                    |
//! | 16     | `magic`      | 0, 1  |                                                                  |
//! | 17     | `attributes` | 0, 1  | bits 0-2 codec; magic 1: bit 3 log append time                   |
//! | 18..26 | `timestamp`  | 1     |                                                                  |
//! | then   | key, value   | 0, 1  | each i32 length, -1 null, and its bytes; compressed: the value   |
//! |        |              |       | holds entries, whose offsets are absolute (0) or relative (1)    |

use crate::checksum::{crc32, xxh32};
use crate::wire::batch::{BatchError, LENGTH_END, MAGIC_AT, front};
use crate::wire::compression::{Codec, CompressionError, Decompressor, compress};
use crate::wire::error_code::ErrorCode;

const ATTRIBUTES_AT: usize = 17;
/// In the attributes of magic 1.
pub const LOG_APPEND_TIME: u8 = 0x08;

/// Key and value of a message, each of which may be null.
pub type KeyAndValue<'a> = (Option<&'a [u8]>, Option<&'a [u8]>);

/// One entry of an old message set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LegacyEntry<'a>(&'a [u8]);

/// Why the messages inside an entry cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LegacyError {
    #[error("a key or value reaches beyond its message")]
    FieldLength,
    #[error("a message has CRC {found:#010x}, its bytes give {computed:#010x}")]
    Crc { found: u32, computed: u32 },
    #[error("codec {number} does not exist in magic {magic}")]
    Codec { number: u8, magic: u8 },
    #[error("a compressed message without a value")]
    NoValue,
    #[error("a compressed message without a message inside")]
    Empty,
    #[error("a compressed message inside a compressed one")]
    Nested,
    #[error("a message of magic {inner} inside one of magic {outer}")]
    MixedMagic { inner: u8, outer: u8 },
    #[error(transparent)]
    Batch(#[from] BatchError),
    #[error(transparent)]
    Compression(#[from] CompressionError),
}

impl LegacyError {
    /// What the client is told.
    pub fn code(&self) -> ErrorCode {
        match self {
            LegacyError::Crc { .. } => ErrorCode::CorruptMessage,
            LegacyError::Batch(error) => error.code(),
            LegacyError::Compression(error) => error.code(),
            LegacyError::FieldLength
            | LegacyError::Codec { .. }
            | LegacyError::NoValue
            | LegacyError::Empty
            | LegacyError::Nested
            | LegacyError::MixedMagic { .. } => ErrorCode::InvalidRecord,
        }
    }
}

/// One message, whether it stood alone or inside a compressed entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LegacyMessage<'a> {
    pub offset: i64,
    /// -1 in magic 0.
    pub timestamp: i64,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    /// As it was read; what is written gets its own.
    pub crc: u32,
}

impl<'a> LegacyEntry<'a> {
    /// The smallest `size` of each magic: crc, magic, attributes, (timestamp,) two lengths.
    pub const MAGIC_0_BYTES: usize = 14;
    pub const MAGIC_1_BYTES: usize = 22;

    /// An entry of exactly these bytes, of which `batch::front` has read length and magic.
    pub(crate) fn new(bytes: &'a [u8]) -> LegacyEntry<'a> {
        LegacyEntry(bytes)
    }

    pub fn bytes(&self) -> &'a [u8] {
        self.0
    }

    /// Its offset; of a compressed entry that of the last message inside.
    pub fn offset(&self) -> i64 {
        i64::from_be_bytes(*self.0.first_chunk().expect("an entry has at least 26 bytes"))
    }

    pub fn magic(&self) -> u8 {
        self.0[MAGIC_AT]
    }

    pub fn crc(&self) -> u32 {
        u32::from_be_bytes(*self.0[LENGTH_END..].first_chunk().expect("an entry has at least 26 bytes"))
    }

    pub fn crc_matches(&self) -> bool {
        crc32(&self.0[MAGIC_AT..]) == self.crc()
    }

    /// -1 in magic 0.
    pub fn timestamp(&self) -> i64 {
        match self.magic() {
            0 => -1,
            _ => i64::from_be_bytes(*self.0[18..].first_chunk().expect("magic 1 has at least 34 bytes")),
        }
    }

    pub fn is_compressed(&self) -> bool {
        self.0[ATTRIBUTES_AT] & 0x07 != 0
    }

    /// The codec; zstd does not exist here.
    pub fn codec(&self) -> Result<Codec, LegacyError> {
        let number = self.0[ATTRIBUTES_AT] & 0x07;
        match Codec::from_number(number) {
            Some(Codec::Zstd) | None => Err(LegacyError::Codec { number, magic: self.magic() }),
            Some(codec) => Ok(codec),
        }
    }

    /// True when messages inside carry the time of the append; magic 0 knows no time.
    pub fn is_log_append_time(&self) -> bool {
        self.magic() == 1 && self.0[ATTRIBUTES_AT] & LOG_APPEND_TIME != 0
    }

    /// Key and value as they stand in the entry.
    pub fn key_and_value(&self) -> Result<KeyAndValue<'a>, LegacyError> {
        let mut rest = &self.0[if self.magic() == 0 { 18 } else { 26 }..];
        let mut field = || -> Result<Option<&'a [u8]>, LegacyError> {
            let (length, after) = rest.split_first_chunk::<4>().ok_or(LegacyError::FieldLength)?;
            let Ok(length) = usize::try_from(i32::from_be_bytes(*length)) else {
                rest = after;
                return Ok(None);
            };
            let field = after.get(..length).ok_or(LegacyError::FieldLength)?;
            rest = &after[length..];
            Ok(Some(field))
        };
        Ok((field()?, field()?))
    }

    /// Hands each message to `each`: the entry itself, or those inside it, CRCs checked. Decompresses into
    /// `decompressed`, at most `output_max` bytes.
    pub fn messages(
        &self,
        decompressor: &mut Decompressor,
        decompressed: &mut Vec<u8>,
        output_max: usize,
        mut each: impl FnMut(LegacyMessage<'_>),
    ) -> Result<(), LegacyError> {
        self.check_crc()?;
        let (key, value) = self.key_and_value()?;
        let codec = self.codec()?;
        if codec == Codec::None {
            each(LegacyMessage {
                offset: self.offset(),
                timestamp: self.timestamp(),
                key,
                value,
                crc: self.crc(),
            });
            return Ok(());
        }
        decompressed.clear();
        let value = value.ok_or(LegacyError::NoValue)?;
        decompressor.lz4_header_unchecked(self.magic() == 0).into_vec(
            codec,
            value,
            output_max,
            decompressed,
        )?;

        // Relative offsets count from the first message; only the last one's absolute offset is known.
        let last = entries(decompressed).last().ok_or(LegacyError::Empty)??;
        let shift = if self.magic() == 1 { self.offset().wrapping_sub(last.offset()) } else { 0 };
        for entry in entries(decompressed) {
            let entry = entry?;
            if entry.magic() != self.magic() {
                return Err(LegacyError::MixedMagic { inner: entry.magic(), outer: self.magic() });
            }
            if entry.is_compressed() {
                return Err(LegacyError::Nested);
            }
            entry.check_crc()?;
            let (key, value) = entry.key_and_value()?;
            let timestamp = if self.is_log_append_time() { self.timestamp() } else { entry.timestamp() };
            each(LegacyMessage {
                offset: entry.offset().wrapping_add(shift),
                timestamp,
                key,
                value,
                crc: entry.crc(),
            });
        }
        Ok(())
    }

    fn check_crc(&self) -> Result<(), LegacyError> {
        let computed = crc32(&self.0[MAGIC_AT..]);
        if computed == self.crc() { Ok(()) } else { Err(LegacyError::Crc { found: self.crc(), computed }) }
    }
}

/// Appends one entry. `timestamp` and `LOG_APPEND_TIME` exist in magic 1 only.
pub fn put_entry(out: &mut Vec<u8>, magic: u8, attributes: u8, message: &LegacyMessage<'_>) {
    let start = out.len();
    out.extend_from_slice(&message.offset.to_be_bytes());
    out.extend_from_slice(&[0; 8]); // size and CRC, below
    out.push(magic);
    out.push(attributes);
    if magic == 1 {
        out.extend_from_slice(&message.timestamp.to_be_bytes());
    }
    for field in [message.key, message.value] {
        match field {
            Some(bytes) => {
                out.extend_from_slice(&(bytes.len() as i32).to_be_bytes());
                out.extend_from_slice(bytes);
            }
            None => out.extend_from_slice(&(-1i32).to_be_bytes()),
        }
    }
    let size = (out.len() - start - LENGTH_END) as i32;
    out[start + 8..start + LENGTH_END].copy_from_slice(&size.to_be_bytes());
    let crc = crc32(&out[start + MAGIC_AT..]);
    out[start + LENGTH_END..start + MAGIC_AT].copy_from_slice(&crc.to_be_bytes());
}

/// A compressed entry in the making: the entries inside, and what the one around them has to know.
#[derive(Debug, Default)]
pub struct Compressed {
    first_offset: Option<i64>,
    last_offset: i64,
    newest: i64,
}

impl Compressed {
    /// Appends one message to the entries inside.
    pub fn put(&mut self, inner: &mut Vec<u8>, magic: u8, attributes: u8, message: LegacyMessage<'_>) {
        let is_first = self.first_offset.is_none();
        let first = *self.first_offset.get_or_insert(message.offset);
        self.last_offset = message.offset;
        self.newest = if is_first { message.timestamp } else { self.newest.max(message.timestamp) };
        // Offsets inside are absolute in magic 0 and count from the first one in magic 1.
        let offset = if magic == 1 { message.offset.wrapping_sub(first) } else { message.offset };
        put_entry(inner, magic, attributes, &LegacyMessage { offset, ..message });
    }

    /// Appends the entry around them; nothing where there is none inside.
    pub fn finish(self, out: &mut Vec<u8>, magic: u8, codec: Codec, log_append_time: bool, inner: &[u8]) {
        if self.first_offset.is_none() {
            return;
        }
        let mut value = Vec::with_capacity(inner.len() / 2 + 64);
        compress(codec, None, inner, &mut value);
        if magic == 0 && codec == Codec::Lz4 {
            // Readers of that age compute it over the frame's magic too.
            value[6] = (xxh32(&value[..6]) >> 8) as u8;
        }
        let time = if log_append_time && magic == 1 { LOG_APPEND_TIME } else { 0 };
        let (offset, timestamp) = (self.last_offset, self.newest);
        let message = LegacyMessage { offset, timestamp, key: None, value: Some(&value), crc: 0 };
        put_entry(out, magic, codec as u8 | time, &message);
    }
}

/// The entries of a message set whose bytes are all there.
fn entries(mut set: &[u8]) -> impl Iterator<Item = Result<LegacyEntry<'_>, LegacyError>> {
    std::iter::from_fn(move || {
        if set.is_empty() {
            return None;
        }
        let entry = (|| {
            let front = front(set)?;
            if front.magic > 1 {
                return Err(LegacyError::MixedMagic { inner: front.magic, outer: 1 });
            }
            let whole = set
                .get(..front.total_bytes)
                .ok_or(BatchError::Incomplete { announced: front.total_bytes, present: set.len() })?;
            set = &set[front.total_bytes..];
            Ok(LegacyEntry(whole))
        })();
        if entry.is_err() {
            set = &[];
        }
        Some(entry)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::batch::{Batch, batches};

    fn entry(magic: u8, attributes: u8, offset: i64, timestamp: i64, value: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let message = LegacyMessage { offset, timestamp, key: None, value: Some(value), crc: 0 };
        put_entry(&mut out, magic, attributes, &message);
        out
    }

    fn read(bytes: &[u8]) -> Result<Vec<(i64, i64, Vec<u8>)>, LegacyError> {
        let Batch::Legacy(entry) = Batch::parse(bytes).unwrap() else { panic!("magic 0 or 1 expected") };
        let mut out = Vec::new();
        entry.messages(&mut Decompressor::new(), &mut Vec::new(), 1 << 20, |message| {
            out.push((message.offset, message.timestamp, message.value.unwrap_or_default().to_vec()));
        })?;
        Ok(out)
    }

    #[test]
    fn plain_entries_stand_among_others_and_say_offset_size_and_crc() {
        let mut set = entry(0, 0, 5, 0, b"old");
        set.extend(entry(1, 0, 6, 123, b"newer"));
        let walked: Vec<_> = batches(&set).map(|item| item.unwrap().1).collect();
        assert_eq!(walked.iter().map(Batch::magic).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(walked.iter().map(Batch::last_offset).collect::<Vec<_>>(), [5, 6]);
        assert_eq!(walked.iter().map(Batch::max_timestamp).collect::<Vec<_>>(), [-1, 123]);
        assert!(walked.iter().all(Batch::crc_matches));
        set[28] ^= 1;
        assert!(!Batch::parse(&set).unwrap().crc_matches());
    }

    #[test]
    fn relative_offsets_of_magic_1_count_from_the_wrapper_which_has_the_last_one() {
        for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4] {
            let mut inner = entry(1, 0, 0, 10, b"a");
            inner.extend(entry(1, 0, 2, 20, b"b"));
            let mut value = Vec::new();
            compress(codec, None, &inner, &mut value);
            let create = read(&entry(1, codec as u8, 102, 20, &value)).unwrap();
            assert_eq!(create, [(100, 10, b"a".to_vec()), (102, 20, b"b".to_vec())]);
            let append = read(&entry(1, codec as u8 | 8, 102, 99, &value)).unwrap();
            assert_eq!(append.iter().map(|message| message.1).collect::<Vec<_>>(), [99, 99]);
        }
    }

    #[test]
    fn absolute_offsets_of_magic_0_stay_and_its_lz4_header_checksum_is_not_believed() {
        let mut value = Vec::new();
        compress(Codec::Lz4, None, &entry(0, 0, 41, 0, b"x"), &mut value);
        value[6] ^= 0x55;
        assert_eq!(read(&entry(0, 3, 41, 0, &value)).unwrap(), [(41, -1, b"x".to_vec())]);
    }

    #[test]
    fn what_lies_inside_is_checked() {
        let wrapped = |inner: &[u8], attributes: u8| {
            let mut value = Vec::new();
            compress(Codec::Gzip, None, inner, &mut value);
            read(&entry(1, attributes, 9, 0, &value))
        };
        let nested = entry(1, 1, 0, 0, b"whatever");
        assert!(matches!(wrapped(&nested, 1), Err(LegacyError::Nested)));
        assert!(matches!(wrapped(&entry(0, 0, 0, 0, b"v"), 1), Err(LegacyError::MixedMagic { .. })));
        assert!(matches!(wrapped(b"", 1), Err(LegacyError::Empty)));
        assert!(matches!(wrapped(&entry(1, 0, 0, 0, b"v")[..20], 1), Err(LegacyError::Batch(_))));
        assert!(matches!(wrapped(&nested, 4), Err(LegacyError::Codec { number: 4, magic: 1 })));
        let mut damaged = entry(1, 0, 0, 0, b"v");
        *damaged.last_mut().unwrap() ^= 1;
        assert!(matches!(wrapped(&damaged, 1), Err(LegacyError::Crc { .. })));
    }
}
