//! Record batches of version 2, written and read for tests.
//!
//! In: values. Out: the 61-byte header and the records behind it, as a producer sends them; and back, with the
//! checksum verified. Reading also takes a log file, because a log file is batches one after another.

use std::io::{Read, Write};

pub const HEADER: usize = 61;

/// Who writes, for idempotence; -1 in all three is nobody.
#[derive(Clone, Copy)]
pub struct Writer {
    pub id: i64,
    pub epoch: i16,
    pub sequence: i32,
}

pub const NOBODY: Writer = Writer { id: -1, epoch: -1, sequence: -1 };

/// One uncompressed batch of records without keys.
pub fn build(writer: Writer, timestamp: i64, values: &[Vec<u8>]) -> Vec<u8> {
    build_with(0, writer, timestamp, values)
}

/// The same in one of the codecs 0 to 4.
pub fn build_with(codec: i16, writer: Writer, timestamp: i64, values: &[Vec<u8>]) -> Vec<u8> {
    let mut records = Vec::new();
    for (delta, value) in values.iter().enumerate() {
        let mut record = vec![0u8]; // attributes
        put_varint(&mut record, 0);
        put_varint(&mut record, delta as i64);
        put_varint(&mut record, -1); // no key
        put_varint(&mut record, value.len() as i64);
        record.extend_from_slice(value);
        put_varint(&mut record, 0); // no headers
        put_varint(&mut records, record.len() as i64);
        records.extend_from_slice(&record);
    }
    let records = compress(codec, records);
    let last_delta = values.len() as i32 - 1;
    let mut checked = Vec::with_capacity(records.len() + 40);
    checked.extend_from_slice(&codec.to_be_bytes()); // attributes: create time, no transaction
    checked.extend_from_slice(&last_delta.to_be_bytes());
    checked.extend_from_slice(&timestamp.to_be_bytes());
    checked.extend_from_slice(&timestamp.to_be_bytes());
    checked.extend_from_slice(&writer.id.to_be_bytes());
    checked.extend_from_slice(&writer.epoch.to_be_bytes());
    checked.extend_from_slice(&writer.sequence.to_be_bytes());
    checked.extend_from_slice(&(values.len() as i32).to_be_bytes());
    checked.extend_from_slice(&records);

    let mut batch = Vec::with_capacity(checked.len() + 21);
    batch.extend_from_slice(&0i64.to_be_bytes()); // base offset
    batch.extend_from_slice(&(checked.len() as i32 + 9).to_be_bytes());
    batch.extend_from_slice(&(-1i32).to_be_bytes()); // leader epoch
    batch.push(2);
    batch.extend_from_slice(&crc32c::crc32c(&checked).to_be_bytes());
    batch.extend_from_slice(&checked);
    batch
}

#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    pub offset: i64,
    pub timestamp: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

/// What a whole batch says of itself.
#[derive(Clone, Debug)]
pub struct Batch {
    pub base_offset: i64,
    pub last_offset: i64,
    pub size: usize,
    pub control: bool,
    pub records: Vec<Record>,
}

/// All whole batches; an incomplete one at the end is left out, as a consumer does. Anything else is an error.
pub fn parse_all(mut bytes: &[u8]) -> Result<Vec<Batch>, String> {
    let mut batches = Vec::new();
    while bytes.len() >= 12 {
        let length = i32_at(bytes, 8);
        let base = i64_at(bytes, 0);
        if length < 49 {
            return Err(format!("batch at offset {base}: length {length}"));
        }
        let size = 12 + length as usize;
        if bytes.len() < size {
            break;
        }
        batches.push(parse(&bytes[..size])?);
        bytes = &bytes[size..];
    }
    Ok(batches)
}

fn parse(batch: &[u8]) -> Result<Batch, String> {
    let base_offset = i64_at(batch, 0);
    let fail = |what: &str| Err(format!("batch at offset {base_offset}: {what}"));
    if batch[16] != 2 {
        return fail(&format!("magic {}", batch[16]));
    }
    let crc = u32::from_be_bytes(batch[17..21].try_into().expect("four bytes"));
    if crc32c::crc32c(&batch[21..]) != crc {
        return fail("wrong checksum");
    }
    let attributes = i16::from_be_bytes([batch[21], batch[22]]);
    let last_delta = i32_at(batch, 23);
    let (base_timestamp, max_timestamp) = (i64_at(batch, 27), i64_at(batch, 35));
    let count = i32_at(batch, 57);
    let plain = decompress(attributes & 7, &batch[HEADER..])
        .map_err(|why| format!("batch at {base_offset}: {why}"))?;
    let mut rest = Cursor { bytes: &plain, at: 0 };
    let mut records = Vec::new();
    for _ in 0..count {
        let Some(mut record) = record(&mut rest) else {
            return fail("a record is cut short");
        };
        record.offset += base_offset;
        record.timestamp =
            if attributes & 8 != 0 { max_timestamp } else { record.timestamp + base_timestamp };
        records.push(record);
    }
    if rest.at != plain.len() {
        return fail("bytes behind the last record");
    }
    let last_offset = base_offset + i64::from(last_delta);
    Ok(Batch { base_offset, last_offset, size: batch.len(), control: attributes & 32 != 0, records })
}

fn record(rest: &mut Cursor<'_>) -> Option<Record> {
    rest.varint()?; // length
    rest.take(1)?; // attributes
    let timestamp = rest.varint()?;
    let offset = rest.varint()?;
    let key = rest.nullable()?;
    let value = rest.nullable()?;
    let mut headers = Vec::new();
    for _ in 0..rest.varint()? {
        let name = String::from_utf8(rest.nullable()??).ok()?;
        headers.push((name, rest.nullable()?));
    }
    Some(Record { offset, timestamp, key, value, headers })
}

fn compress(codec: i16, plain: Vec<u8>) -> Vec<u8> {
    let written = "memory takes every write";
    match codec {
        0 => plain,
        1 => {
            let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            out.write_all(&plain).expect(written);
            out.finish().expect(written)
        }
        2 => {
            let block = snap::raw::Encoder::new().compress_vec(&plain).expect("less than 4 GiB");
            let mut out = vec![0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1];
            out.extend_from_slice(&(block.len() as i32).to_be_bytes());
            out.extend(block);
            out
        }
        3 => {
            let mut out = lz4_flex::frame::FrameEncoder::new(Vec::new()); // independent blocks
            out.write_all(&plain).expect(written);
            out.finish().expect(written)
        }
        4 => zstd::stream::encode_all(&plain[..], 3).expect(written),
        other => panic!("no codec {other}"),
    }
}

fn decompress(codec: i16, bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    let done = match codec {
        0 => return Ok(bytes.to_vec()),
        1 => flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut out).map_err(|e| e.to_string()),
        2 => return unframe_snappy(bytes),
        3 => lz4_flex::frame::FrameDecoder::new(bytes).read_to_end(&mut out).map_err(|e| e.to_string()),
        4 => return zstd::stream::decode_all(bytes).map_err(|e| e.to_string()),
        other => Err(format!("codec {other}")),
    };
    done.map(|_| out)
}

/// The xerial stream: a 16-byte header, then blocks behind their lengths.
fn unframe_snappy(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let raw = |block: &[u8]| snap::raw::Decoder::new().decompress_vec(block).map_err(|e| e.to_string());
    if !bytes.starts_with(&[0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0]) {
        return raw(bytes);
    }
    let mut out = Vec::new();
    let mut at = 16;
    while at + 4 <= bytes.len() {
        let length = i32_at(bytes, at) as usize;
        let block = bytes.get(at + 4..at + 4 + length).ok_or("a snappy block is cut short")?;
        out.extend(raw(block)?);
        at += 4 + length;
    }
    Ok(out)
}

fn i32_at(bytes: &[u8], at: usize) -> i32 {
    i32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn i64_at(bytes: &[u8], at: usize) -> i64 {
    i64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

fn put_varint(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(taken)
    }

    fn varint(&mut self) -> Option<i64> {
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
        None
    }

    fn nullable(&mut self) -> Option<Option<Vec<u8>>> {
        match self.varint()? {
            -1 => Some(None),
            length => Some(Some(self.take(usize::try_from(length).ok()?)?.to_vec())),
        }
    }
}
