//! Records inside a batch (contract 2.1): read in place, or walked through as they are decompressed.
//!
//! In: the bytes behind a batch header, plain or compressed. Out: records that borrow from them, or the facts a leader
//! needs where a topic's settings demand a look inside (`validate`): never on the usual path.
//! Every length is checked against the record it stands in, every count against the bytes left, and all the bytes
//! must be used up by exactly the announced number of records.
//!
//! | field             | type    |                                         |
//! |-------------------|---------|-----------------------------------------|
//! | `length`          | varint  | bytes after this field                  |
//! | `attributes`      | i8      | unused                                  |
//! | `timestamp_delta` | varlong | to the base timestamp of the batch      |
//! | `offset_delta`    | varint  | to the base offset of the batch         |
//! | `key`             | varint  | length, negative for null, then bytes   |
//! | `value`           | varint  | length, negative for null, then bytes   |
//! | `header_count`    | varint  | then each: key (not null) and value     |

use crate::wire::batch::{BatchHeader, HEADER_BYTES, NO_TIMESTAMP};
use crate::wire::compression::{Codec, CompressionError, Decompression, Decompressor};
use crate::wire::error_code::ErrorCode;

/// Why bytes are not the records they claim to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    #[error("record {index}: the batch ends inside it")]
    Truncated { index: i32 },
    #[error("record {index}: a varint is too long")]
    Varint { index: i32 },
    #[error("record {index}: a field reaches beyond its length")]
    Length { index: i32 },
    #[error("record {index}: {count} headers cannot be in the bytes it has")]
    HeaderCount { index: i32, count: i32 },
    #[error("record {index}: a header without a key")]
    HeaderKey { index: i32 },
    #[error("record {index}: bytes are left behind its last header")]
    Unused { index: i32 },
    #[error("bytes are left behind the {record_count} announced records")]
    Trailing { record_count: i32 },
    #[error("codec {number} does not exist")]
    Codec { number: u8 },
    #[error(transparent)]
    Compression(#[from] CompressionError),
}

impl RecordError {
    /// What the client is told.
    pub fn code(&self) -> ErrorCode {
        match self {
            RecordError::Compression(error) => error.code(),
            _ => ErrorCode::InvalidRecord,
        }
    }
}

/// One record; its offset and timestamp follow from its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    pub timestamp_delta: i64,
    pub offset_delta: i32,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: Headers<'a>,
}

impl Record<'_> {
    pub fn offset(&self, batch: &BatchHeader) -> i64 {
        batch.base_offset().wrapping_add(i64::from(self.offset_delta))
    }

    pub fn timestamp(&self, batch: &BatchHeader) -> i64 {
        if batch.is_log_append_time() {
            batch.max_timestamp()
        } else {
            batch.base_timestamp().wrapping_add(self.timestamp_delta)
        }
    }
}

/// The headers of a record, which were checked when the record was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Headers<'a> {
    bytes: &'a [u8],
    count: usize,
}

impl<'a> Headers<'a> {
    pub fn len(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Keys and values; keys are UTF-8 by convention only.
    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + use<'a> {
        let mut cursor = Cursor { bytes: self.bytes, index: 0 };
        (0..self.count).map(move |_| {
            let key = cursor.field().expect("checked when the record was read");
            (key.unwrap_or_default(), cursor.field().expect("checked when the record was read"))
        })
    }
}

/// Bytes of one record, read front to back.
struct Cursor<'a> {
    bytes: &'a [u8],
    index: i32,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], RecordError> {
        let (front, rest) =
            self.bytes.split_at_checked(length).ok_or(RecordError::Length { index: self.index })?;
        self.bytes = rest;
        Ok(front)
    }

    fn varlong(&mut self) -> Result<i64, RecordError> {
        let (value, used) = varlong(self.bytes, self.index)?;
        self.bytes = &self.bytes[used..];
        Ok(value)
    }

    fn varint(&mut self) -> Result<i32, RecordError> {
        let (value, used) = varint(self.bytes, self.index)?;
        self.bytes = &self.bytes[used..];
        Ok(value)
    }

    /// A nullable field; any negative length is null, as Java reads it.
    fn field(&mut self) -> Result<Option<&'a [u8]>, RecordError> {
        match usize::try_from(self.varint()?) {
            Ok(length) => self.take(length).map(Some),
            Err(_) => Ok(None),
        }
    }
}

/// A zig-zag varint of at most 5 bytes at the start of `bytes`, and how many it takes.
#[inline]
fn varint(bytes: &[u8], index: i32) -> Result<(i32, usize), RecordError> {
    let mut value = 0u32;
    for (at, byte) in bytes.iter().take(5).enumerate() {
        if at == 4 && *byte > 0x0f {
            return Err(RecordError::Varint { index });
        }
        value |= u32::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Ok(((value >> 1) as i32 ^ -((value & 1) as i32), at + 1));
        }
    }
    Err(RecordError::Truncated { index })
}

/// A zig-zag varint of at most 10 bytes at the start of `bytes`, and how many it takes.
#[inline]
fn varlong(bytes: &[u8], index: i32) -> Result<(i64, usize), RecordError> {
    let mut value = 0u64;
    for (at, byte) in bytes.iter().take(10).enumerate() {
        if at == 9 && *byte > 0x01 {
            return Err(RecordError::Varint { index });
        }
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Ok(((value >> 1) as i64 ^ -((value & 1) as i64), at + 1));
        }
    }
    Err(RecordError::Truncated { index })
}

/// How many records fill `bytes` exactly, told by their lengths alone; `None` where the lengths do not add up.
pub fn count(mut bytes: &[u8]) -> Option<usize> {
    let mut count = 0;
    while !bytes.is_empty() {
        let (length, used) = varint(bytes, 0).ok()?;
        bytes = bytes.get(used.checked_add(usize::try_from(length).ok()?)?..)?;
        count += 1;
    }
    Some(count)
}

/// Walks the records of a batch whose plain bytes are there.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    bytes: &'a [u8],
    index: i32,
    record_count: i32,
    failed: bool,
}

impl<'a> Records<'a> {
    /// `record_count` records that fill `bytes` exactly. The walk ends with an error where they do not.
    pub fn new(bytes: &'a [u8], record_count: i32) -> Records<'a> {
        Records { bytes, index: 0, record_count, failed: false }
    }

    /// The records of `batch`; compressed ones are decompressed into `plain`, at most `output_max` bytes.
    pub fn of(
        batch: &'a [u8],
        header: &BatchHeader,
        decompressor: &mut Decompressor,
        plain: &'a mut Vec<u8>,
        output_max: usize,
    ) -> Result<Records<'a>, RecordError> {
        let body =
            batch.get(HEADER_BYTES..header.total_bytes()).ok_or(RecordError::Truncated { index: 0 })?;
        match header.codec() {
            Some(Codec::None) => Ok(Records::new(body, header.record_count())),
            Some(codec) => {
                plain.clear();
                decompressor.into_vec(codec, body, output_max, plain)?;
                Ok(Records::new(plain, header.record_count()))
            }
            None => Err(RecordError::Codec { number: (header.attributes() & 7) as u8 }),
        }
    }

    fn read(&mut self) -> Result<Record<'a>, RecordError> {
        let index = self.index;
        let (length, used) = varint(self.bytes, index)?;
        let length = usize::try_from(length).map_err(|_| RecordError::Length { index })?;
        let rest = &self.bytes[used..];
        let (record, rest) = rest.split_at_checked(length).ok_or(RecordError::Truncated { index })?;
        self.bytes = rest;
        let mut cursor = Cursor { bytes: record, index };
        cursor.take(1)?; // attributes: nothing is defined
        let timestamp_delta = cursor.varlong()?;
        let offset_delta = cursor.varint()?;
        let (key, value) = (cursor.field()?, cursor.field()?);
        let count = cursor.varint()?;
        let headers = match usize::try_from(count) {
            Ok(announced) if announced <= cursor.bytes.len() / HEADER_FIELD_BYTES_MIN => {
                Headers { bytes: cursor.bytes, count: announced }
            }
            _ => return Err(RecordError::HeaderCount { index, count }),
        };
        for _ in 0..headers.count {
            cursor.field()?.ok_or(RecordError::HeaderKey { index })?;
            cursor.field()?;
        }
        if !cursor.bytes.is_empty() {
            return Err(RecordError::Unused { index });
        }
        Ok(Record { timestamp_delta, offset_delta, key, value, headers })
    }
}

/// A header takes at least the lengths of its key and value.
const HEADER_FIELD_BYTES_MIN: usize = 2;

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let result = if self.index < self.record_count {
            self.read()
        } else if self.bytes.is_empty() {
            return None;
        } else {
            Err(RecordError::Trailing { record_count: self.record_count })
        };
        self.failed = result.is_err();
        self.index += 1;
        Some(result)
    }
}

/// What a topic asks of the records themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordRules {
    /// Compacted topics need a key in every record.
    pub key_required: bool,
    /// Where producer timestamps must lie; records without one are exempt.
    pub timestamp_min: i64,
    pub timestamp_max: i64,
    /// The most that compressed records may become.
    pub output_max: usize,
}

/// What was found out on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordFacts {
    /// The newest timestamp, which the header ought to have.
    pub max_timestamp: i64,
    /// Offset of the first record that has it, counted from the base offset by its place in the batch.
    pub max_timestamp_index: i32,
    /// Bytes of the records when they are not compressed.
    pub plain_bytes: usize,
    /// The offset deltas are 0, 1, 2 and so on.
    pub offsets_count_up: bool,
}

/// Why a batch is refused for its records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordRejection {
    /// The records cannot be read.
    Unreadable(RecordError),
    /// They can, but some break a rule: the first of them, at most `REJECTED_LISTED`, and how many there are.
    Rules { code: ErrorCode, records: Vec<(i32, &'static str)>, total: usize },
}

impl RecordRejection {
    /// Rejected records an answer names: one batch can hold millions.
    pub const REJECTED_LISTED: usize = 64;

    pub fn code(&self) -> ErrorCode {
        match self {
            RecordRejection::Unreadable(error) => error.code(),
            RecordRejection::Rules { code, .. } => *code,
        }
    }
}

/// Reads through all records of a client's batch, decompressing piece by piece, and checks what `rules` ask. Keys,
/// values and headers are passed over, never collected. Offset deltas are stored as sent (contract 9).
pub fn validate(
    batch: &[u8],
    header: &BatchHeader,
    rules: &RecordRules,
    decompressor: &mut Decompressor,
) -> Result<RecordFacts, RecordRejection> {
    let unreadable = RecordRejection::Unreadable;
    let codec =
        header.codec().ok_or(unreadable(RecordError::Codec { number: (header.attributes() & 7) as u8 }))?;
    let body = batch
        .get(HEADER_BYTES..header.total_bytes())
        .ok_or(unreadable(RecordError::Truncated { index: 0 }))?;
    let source =
        decompressor.start(codec, body, rules.output_max).map_err(|error| unreadable(error.into()))?;
    validate_from(source, header, rules)
}

/// As `validate`, for records that are decompressed already.
pub fn validate_plain(
    plain: &[u8],
    header: &BatchHeader,
    rules: &RecordRules,
    decompressor: &mut Decompressor,
) -> Result<RecordFacts, RecordRejection> {
    let source = decompressor
        .start(Codec::None, plain, plain.len())
        .map_err(|error| RecordRejection::Unreadable(error.into()))?;
    validate_from(source, header, rules)
}

fn validate_from(
    source: Decompression<'_, '_>,
    header: &BatchHeader,
    rules: &RecordRules,
) -> Result<RecordFacts, RecordRejection> {
    let unreadable = RecordRejection::Unreadable;
    let mut walk = Walk { source, index: 0, left: 0 };
    let mut facts = RecordFacts {
        max_timestamp: NO_TIMESTAMP,
        max_timestamp_index: 0,
        plain_bytes: 0,
        offsets_count_up: true,
    };
    let mut rejected = Rejected::default();
    for index in 0..header.record_count() {
        let Passed { timestamp_delta, offset_delta, has_key } = walk.record(index).map_err(unreadable)?;
        facts.offsets_count_up &= offset_delta == index;
        if rules.key_required && !has_key {
            rejected.add(index, ErrorCode::InvalidRecord, KEY_MISSING);
        }
        let timestamp = if header.is_log_append_time() {
            header.max_timestamp()
        } else {
            header.base_timestamp().wrapping_add(timestamp_delta)
        };
        if timestamp != NO_TIMESTAMP && !(rules.timestamp_min..=rules.timestamp_max).contains(&timestamp) {
            rejected.add(index, ErrorCode::InvalidTimestamp, TIMESTAMP_OUTSIDE);
        }
        if timestamp > facts.max_timestamp {
            (facts.max_timestamp, facts.max_timestamp_index) = (timestamp, index);
        }
    }
    if !walk.source.fill().map_err(|error| unreadable(error.into()))?.is_empty() {
        return Err(unreadable(RecordError::Trailing { record_count: header.record_count() }));
    }
    facts.plain_bytes = walk.source.produced();
    rejected.into_result().map(|()| facts)
}

/// What is told of a record without a key where one is needed.
pub(crate) const KEY_MISSING: &str = "A compacted topic needs a key in every record.";
/// What is told of a record whose timestamp is too early or too late.
pub(crate) const TIMESTAMP_OUTSIDE: &str = "The timestamp lies outside the range the topic allows.";

/// Records that broke a rule. A timestamp out of range decides the code of the batch, as in Java.
#[derive(Debug)]
pub(crate) struct Rejected {
    code: ErrorCode,
    records: Vec<(i32, &'static str)>,
    total: usize,
}

impl Default for Rejected {
    fn default() -> Rejected {
        Rejected { code: ErrorCode::None, records: Vec::new(), total: 0 }
    }
}

impl Rejected {
    pub(crate) fn into_result(self) -> Result<(), RecordRejection> {
        match self.total {
            0 => Ok(()),
            total => Err(RecordRejection::Rules { code: self.code, records: self.records, total }),
        }
    }

    pub(crate) fn add(&mut self, index: i32, code: ErrorCode, what: &'static str) {
        if self.code != ErrorCode::InvalidTimestamp {
            self.code = code;
        }
        self.total += 1;
        if self.records.len() < RecordRejection::REJECTED_LISTED {
            self.records.push((index, what));
        }
    }
}

/// Passes over records piece by piece: nothing needs to be contiguous.
struct Walk<'d, 'i> {
    source: Decompression<'d, 'i>,
    index: i32,
    /// Bytes left of the current record.
    left: usize,
}

/// What is kept of a record that was passed over.
struct Passed {
    timestamp_delta: i64,
    offset_delta: i32,
    has_key: bool,
}

impl Walk<'_, '_> {
    /// Passes over one record.
    fn record(&mut self, index: i32) -> Result<Passed, RecordError> {
        self.index = index;
        // The length field itself is bounded by nothing but its own five bytes.
        self.left = usize::MAX;
        let length = self.varint(5)?;
        self.left = usize::try_from(length).map_err(|_| RecordError::Length { index })?;
        self.skip(1)?;
        let timestamp_delta = self.varint(10)?;
        let offset_delta = self.varint(5)? as i32;
        let has_key = self.field()?;
        self.field()?;
        let count = self.varint(5)?;
        if count < 0 || count as usize > self.left / HEADER_FIELD_BYTES_MIN {
            return Err(RecordError::HeaderCount { index, count: count as i32 });
        }
        for _ in 0..count {
            if !self.field()? {
                return Err(RecordError::HeaderKey { index });
            }
            self.field()?;
        }
        if self.left > 0 {
            return Err(RecordError::Unused { index });
        }
        Ok(Passed { timestamp_delta, offset_delta, has_key })
    }

    fn byte(&mut self) -> Result<u8, RecordError> {
        let index = self.index;
        self.left = self.left.checked_sub(1).ok_or(RecordError::Length { index })?;
        let byte = *self.source.fill()?.first().ok_or(RecordError::Truncated { index })?;
        self.source.consume(1);
        Ok(byte)
    }

    /// A zig-zag varint of at most `bytes_max` bytes, 5 or 10.
    fn varint(&mut self, bytes_max: usize) -> Result<i64, RecordError> {
        // Nearly always the whole number is in the piece at hand.
        let piece = self.source.fill()?;
        let mut value = 0u64;
        if let Some(at) = piece.iter().take(bytes_max.min(self.left)).position(|byte| byte & 0x80 == 0) {
            for (place, byte) in piece[..=at].iter().enumerate() {
                value |= u64::from(byte & 0x7f) << (7 * place);
            }
            let last = piece[at];
            self.source.consume(at + 1);
            self.left -= at + 1;
            return self.checked_varint(value, at, last, bytes_max);
        }
        for at in 0..bytes_max {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                return self.checked_varint(value, at, byte, bytes_max);
            }
        }
        Err(RecordError::Varint { index: self.index })
    }

    fn checked_varint(&self, value: u64, at: usize, last: u8, bytes_max: usize) -> Result<i64, RecordError> {
        let last_max = if bytes_max == 5 { 0x0f } else { 0x01 };
        if at + 1 == bytes_max && last > last_max {
            return Err(RecordError::Varint { index: self.index });
        }
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    fn skip(&mut self, mut bytes: usize) -> Result<(), RecordError> {
        let index = self.index;
        self.left = self.left.checked_sub(bytes).ok_or(RecordError::Length { index })?;
        while bytes > 0 {
            let ready = self.source.fill()?.len();
            if ready == 0 {
                return Err(RecordError::Truncated { index });
            }
            let step = ready.min(bytes);
            self.source.consume(step);
            bytes -= step;
        }
        Ok(())
    }

    /// Passes over a nullable field; true when it is not null.
    fn field(&mut self) -> Result<bool, RecordError> {
        match usize::try_from(self.varint(5)?) {
            Ok(length) => self.skip(length).map(|()| true),
            Err(_) => Ok(false),
        }
    }
}

/// Appends a record of `batch` with another timestamp delta, and all else as it is. `scratch` keeps its memory.
pub fn put_record(out: &mut Vec<u8>, scratch: &mut Vec<u8>, record: &Record<'_>, timestamp_delta: i64) {
    scratch.clear();
    scratch.push(0); // attributes
    put_varlong(scratch, timestamp_delta);
    put_varint(scratch, record.offset_delta);
    for field in [record.key, record.value] {
        match field {
            Some(bytes) => {
                put_varint(scratch, bytes.len() as i32);
                scratch.extend_from_slice(bytes);
            }
            None => put_varint(scratch, -1),
        }
    }
    put_varint(scratch, record.headers.count as i32);
    scratch.extend_from_slice(record.headers.bytes);
    put_varint(out, scratch.len() as i32);
    out.extend_from_slice(scratch);
}

/// Appends a zig-zag varint.
pub fn put_varint(out: &mut Vec<u8>, value: i32) {
    put_varlong(out, i64::from(value));
}

/// Appends a zig-zag varint of 64 bits.
pub fn put_varlong(out: &mut Vec<u8>, value: i64) {
    let mut bits = ((value << 1) ^ (value >> 63)) as u64;
    while bits >= 0x80 {
        out.push(bits as u8 | 0x80);
        bits >>= 7;
    }
    out.push(bits as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::batch::seal;
    use crate::wire::batch_builder::BatchBuilder;

    const RULES: RecordRules = RecordRules {
        key_required: false,
        timestamp_min: i64::MIN,
        timestamp_max: i64::MAX,
        output_max: 1 << 20,
    };

    fn batch(codec: Codec) -> Vec<u8> {
        let mut builder = BatchBuilder::new(codec);
        builder.append(10, Some(b"k0"), Some(b"v0"), &[]);
        builder.append(30, None, Some(&[7; 5_000]), &[("a", Some(b"b")), ("c", None)]);
        builder.append(20, Some(b""), None, &[]);
        builder.build()
    }

    fn validated(bytes: &[u8], rules: &RecordRules) -> Result<RecordFacts, RecordRejection> {
        validate(bytes, &BatchHeader::parse(bytes).unwrap(), rules, &mut Decompressor::new())
    }

    /// A plain batch of one record with these bytes behind its header.
    fn with_records(records: &[u8], count: i32) -> Vec<u8> {
        let mut bytes = BatchBuilder::new(Codec::None).build();
        bytes.extend_from_slice(records);
        let length = (bytes.len() - 12) as i32;
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        bytes[23..27].copy_from_slice(&(count - 1).to_be_bytes());
        bytes[57..61].copy_from_slice(&count.to_be_bytes());
        seal(&mut bytes);
        bytes
    }

    fn both_refuse(records: &[u8], count: i32) -> RecordError {
        let bytes = with_records(records, count);
        let in_place = Records::new(&bytes[HEADER_BYTES..], count).find_map(Result::err);
        let walked = match validated(&bytes, &RULES) {
            Err(RecordRejection::Unreadable(error)) => Some(error),
            _ => None,
        };
        assert!(in_place.is_some() && walked.is_some(), "in place {in_place:?}, walked {walked:?}");
        in_place.unwrap()
    }

    #[test]
    fn records_come_back_as_they_were_built_with_every_codec() {
        for codec in Codec::ALL {
            let bytes = batch(codec);
            let header = BatchHeader::parse(&bytes).unwrap();
            let (mut decompressor, mut plain) = (Decompressor::new(), Vec::new());
            let records: Vec<Record<'_>> =
                Records::of(&bytes, &header, &mut decompressor, &mut plain, 1 << 20)
                    .unwrap()
                    .collect::<Result<_, _>>()
                    .unwrap();
            assert_eq!(records.len(), 3, "{codec}");
            assert_eq!(records[0].key, Some(&b"k0"[..]));
            assert_eq!((records[1].key, records[1].value), (None, Some(&[7; 5_000][..])));
            assert_eq!((records[2].key, records[2].value), (Some(&b""[..]), None));
            let headers: Vec<_> = records[1].headers.iter().collect();
            assert_eq!(headers, [(&b"a"[..], Some(&b"b"[..])), (b"c", None)]);
            let times: Vec<i64> = records.iter().map(|record| record.timestamp(&header)).collect();
            assert_eq!(times, [10, 30, 20]);
            let facts = validated(&bytes, &RULES).unwrap();
            assert_eq!((facts.max_timestamp, facts.max_timestamp_index), (30, 1));
        }
    }

    #[test]
    fn a_compacted_topic_needs_keys_and_a_timestamp_its_range() {
        for codec in Codec::ALL {
            let bytes = batch(codec);
            let keys = validated(&bytes, &RecordRules { key_required: true, ..RULES }).unwrap_err();
            assert!(matches!(&keys, RecordRejection::Rules { records, total: 1, .. } if records[0].0 == 1));
            assert_eq!(keys.code(), ErrorCode::InvalidRecord);
            let time = validated(&bytes, &RecordRules { timestamp_max: 20, ..RULES }).unwrap_err();
            assert_eq!(time.code(), ErrorCode::InvalidTimestamp);
            let both = RecordRules { key_required: true, timestamp_min: 15, ..RULES };
            assert_eq!(validated(&bytes, &both).unwrap_err().code(), ErrorCode::InvalidTimestamp);
        }
    }

    #[test]
    fn broken_records_are_refused_in_place_and_when_walked() {
        // length, attributes, timestamp delta, offset delta, key length, value length, header count
        assert_eq!(both_refuse(&[12, 0, 0, 0, 1, 1], 1), RecordError::Truncated { index: 0 });
        assert_eq!(both_refuse(&[12, 0, 0, 0, 1, 20, 0], 1), RecordError::Length { index: 0 });
        assert_eq!(both_refuse(&[12, 0, 0, 0, 1, 1, 8], 1), RecordError::HeaderCount { index: 0, count: 4 });
        assert_eq!(both_refuse(&[12, 0, 0, 0, 1, 1, 1], 1), RecordError::HeaderCount { index: 0, count: -1 });
        assert_eq!(both_refuse(&[16, 0, 0, 0, 1, 1, 2, 1, 1], 1), RecordError::HeaderKey { index: 0 });
        assert_eq!(both_refuse(&[14, 0, 0, 0, 1, 1, 0, 0], 1), RecordError::Unused { index: 0 });
        assert_eq!(both_refuse(&[12, 0, 0, 0, 1, 1, 0, 9], 1), RecordError::Trailing { record_count: 1 });
        assert_eq!(both_refuse(&[1, 0, 0, 0, 1, 1, 0], 1), RecordError::Length { index: 0 });
    }

    #[test]
    fn any_negative_length_of_a_key_or_value_is_null() {
        let bytes = with_records(&[16, 0, 0, 0, 3, 5, 2, 0, 7], 1);
        let record = Records::new(&bytes[HEADER_BYTES..], 1).next().unwrap().unwrap();
        assert_eq!((record.key, record.value), (None, None));
        assert_eq!(record.headers.iter().collect::<Vec<_>>(), [(&b""[..], None)]);
        assert!(validated(&bytes, &RULES).is_ok());
    }

    #[test]
    fn numbers_of_all_sizes_come_back() {
        for value in [0, 1, -1, 63, 64, -64, -65, i32::MAX, i32::MIN] {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            assert_eq!(varint(&out, 0), Ok((value, out.len())));
        }
        for value in [0, -1, i64::MAX, i64::MIN, 1 << 40] {
            let mut out = Vec::new();
            put_varlong(&mut out, value);
            assert_eq!(varlong(&out, 0), Ok((value, out.len())));
        }
    }
}
