//! A fetch response read while it arrives: no copy of the records, no allocation, whatever its size.
//!
//! In: the bytes of a connection, cut anywhere. Out: the response's head, each partition's head, and each batch with
//! the bytes up to the end of its stamp and the CRC of all its covered bytes, at the moment its last byte is there.
//! A response that contradicts itself ends the connection: after it nothing of the stream can be trusted.
//!
//! Written for the fixed layout of versions 4 to 11 (contract 1.3):
//! `size, correlation, throttle, [error, session (7+)], [topic name, [partition head, aborted[], [preferred (11+)],
//! records]]`.

use crate::load::batch_pool::{COVERED_AT, be32, be64};

/// What a response consists of, in the order it arrives.
pub trait Sink {
    fn response(&mut self, correlation_id: i32, error: i16, session_id: i32);
    fn partition(&mut self, partition: i32, error: i16, high_watermark: i64);
    fn batch(&mut self, partition: i32, batch: &BatchRead<'_>);
    /// The response is complete; `bytes` counts its size field.
    fn end(&mut self, bytes: usize);
}

/// One whole batch.
#[derive(Clone, Copy, Debug)]
pub struct BatchRead<'a> {
    pub base_offset: i64,
    pub bytes: usize,
    /// The first bytes up to the end of the stamp, or all of a batch that is shorter.
    pub head: &'a [u8],
    /// As its header states it.
    pub stated_crc: u32,
    /// Of its bytes; `None` when the caller did not ask for it.
    pub computed_crc: Option<u32>,
}

impl BatchRead<'_> {
    /// The offset after its last one.
    pub fn next_offset(&self) -> i64 {
        let last_delta = if self.head.len() >= 27 { be32(self.head, 23) as i32 } else { 0 };
        self.base_offset + i64::from(last_delta.max(0)) + 1
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size,
    Head,
    TopicLength,
    Topic {
        length: usize,
    },
    Partition,
    Aborted {
        left: usize,
    },
    RecordsLength,
    /// At the start of a batch, or of the rest of one that was cut.
    Batch,
    BatchHead {
        bytes: usize,
    },
    BatchBody {
        left: usize,
    },
    Skip {
        left: usize,
    },
}

/// The parser of one connection.
#[derive(Debug)]
pub struct FetchStream {
    version: i16,
    head_bytes: usize,
    state: State,
    /// A fixed part that came in pieces.
    scratch: Vec<u8>,
    frame_bytes: usize,
    frame_left: usize,
    topics_left: u32,
    partitions_left: u32,
    partition: i32,
    records_left: usize,
    /// The head of the batch whose body is still arriving.
    head: Vec<u8>,
    batch_bytes: usize,
    crc: Option<u32>,
    /// A response may be as long as this.
    size_max: usize,
}

/// Why a response cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a fetch response cannot be read: {0}")]
pub struct StreamError(pub &'static str);

const BATCH_FRONT_BYTES: usize = 12;

impl FetchStream {
    /// `head_bytes` of each batch are handed out with it; at least a header's.
    pub fn new(version: i16, head_bytes: usize, size_max: usize) -> FetchStream {
        assert!((4..=11).contains(&version) && head_bytes >= 61);
        FetchStream {
            version,
            head_bytes,
            state: State::Size,
            scratch: Vec::with_capacity(512),
            frame_bytes: 0,
            frame_left: 0,
            topics_left: 0,
            partitions_left: 0,
            partition: 0,
            records_left: 0,
            head: Vec::with_capacity(head_bytes),
            batch_bytes: 0,
            crc: None,
            size_max,
        }
    }

    /// Takes the next bytes. `check` says, from a batch's head, whether its CRC is wanted.
    pub fn feed(
        &mut self,
        mut chunk: &[u8],
        check: impl Fn(&[u8]) -> bool,
        sink: &mut impl Sink,
    ) -> Result<(), StreamError> {
        while !chunk.is_empty() {
            self.step(&mut chunk, &check, sink)?;
        }
        Ok(())
    }

    fn step(
        &mut self,
        chunk: &mut &[u8],
        check: &impl Fn(&[u8]) -> bool,
        sink: &mut impl Sink,
    ) -> Result<(), StreamError> {
        match self.state {
            State::Size => {
                let Some(part) = self.fixed(chunk, 4)? else { return Ok(()) };
                let size = be32(part.bytes(&self.scratch), 0) as i32;
                self.scratch.clear();
                let size = usize::try_from(size).map_err(|_| StreamError("its size is negative"))?;
                if size > self.size_max {
                    return Err(StreamError("it is larger than any fetch asks for"));
                }
                (self.frame_bytes, self.frame_left) = (size + 4, size);
                self.state = State::Head;
            }
            State::Head => {
                let session = self.version >= 7;
                let Some(part) = self.fixed(chunk, if session { 18 } else { 12 })? else { return Ok(()) };
                let bytes = part.bytes(&self.scratch);
                let correlation_id = be32(bytes, 0) as i32;
                let (error, session_id) = if session {
                    (i16::from_be_bytes([bytes[8], bytes[9]]), be32(bytes, 10) as i32)
                } else {
                    (0, 0)
                };
                self.topics_left = be32(bytes, bytes.len() - 4);
                self.scratch.clear();
                sink.response(correlation_id, error, session_id);
                self.next_topic(sink)?;
            }
            State::TopicLength => {
                let Some(part) = self.fixed(chunk, 2)? else { return Ok(()) };
                let bytes = part.bytes(&self.scratch);
                let length = usize::from(u16::from_be_bytes([bytes[0], bytes[1]]));
                self.scratch.clear();
                if length > 249 {
                    return Err(StreamError("a topic's name is longer than names may be"));
                }
                self.state = State::Topic { length };
            }
            State::Topic { length } => {
                let Some(part) = self.fixed(chunk, length + 4)? else { return Ok(()) };
                self.partitions_left = be32(part.bytes(&self.scratch), length);
                self.scratch.clear();
                self.next_partition(sink)?;
            }
            State::Partition => {
                // index, error, high watermark, last stable offset, log start offset (5+), aborted count
                let length = if self.version >= 5 { 34 } else { 26 };
                let Some(part) = self.fixed(chunk, length)? else { return Ok(()) };
                let bytes = part.bytes(&self.scratch);
                self.partition = be32(bytes, 0) as i32;
                let error = i16::from_be_bytes([bytes[4], bytes[5]]);
                let high_watermark = be64(bytes, 6) as i64;
                let aborted = be32(bytes, length - 4) as i32;
                self.scratch.clear();
                sink.partition(self.partition, error, high_watermark);
                let left = usize::try_from(aborted).unwrap_or(0).saturating_mul(16);
                self.state = if left > 0 { State::Aborted { left } } else { State::RecordsLength };
            }
            State::Aborted { left } => {
                let left = left - self.pass(chunk, left)?.len();
                self.state = if left > 0 { State::Aborted { left } } else { State::RecordsLength };
            }
            State::RecordsLength => {
                let Some(part) = self.fixed(chunk, if self.version >= 11 { 8 } else { 4 })? else {
                    return Ok(());
                };
                let bytes = part.bytes(&self.scratch);
                let length = be32(bytes, bytes.len() - 4) as i32;
                self.scratch.clear();
                self.records_left = usize::try_from(length).unwrap_or(0);
                self.next_batch(sink)?;
            }
            State::Batch => {
                if self.records_left < BATCH_FRONT_BYTES {
                    self.state = State::Skip { left: self.records_left };
                    return Ok(());
                }
                let Some(part) = self.fixed(chunk, BATCH_FRONT_BYTES)? else { return Ok(()) };
                let bytes = part.bytes(&self.scratch);
                let length = be32(bytes, 8) as i32;
                self.head.clear();
                self.head.extend_from_slice(bytes);
                self.scratch.clear();
                self.records_left -= BATCH_FRONT_BYTES;
                match usize::try_from(length) {
                    Ok(rest) if rest > self.records_left => {
                        self.state = State::Skip { left: self.records_left }
                    }
                    Ok(rest) if rest >= 9 => {
                        self.state = State::BatchHead { bytes: BATCH_FRONT_BYTES + rest }
                    }
                    _ => return Err(StreamError("a batch is shorter than a batch can be")),
                }
            }
            State::BatchHead { bytes } => {
                let wanted = bytes.min(self.head_bytes) - self.head.len();
                let part = self.pass(chunk, wanted)?;
                let taken = part.len();
                self.head.extend_from_slice(part);
                if taken < wanted {
                    return Ok(());
                }
                self.batch_bytes = bytes;
                self.records_left -= bytes - BATCH_FRONT_BYTES;
                self.crc = check(&self.head).then(|| crc32c::crc32c(&self.head[COVERED_AT..]));
                self.state = State::BatchBody { left: bytes - self.head.len() };
                if bytes == self.head.len() {
                    self.end_batch(sink)?;
                }
            }
            State::BatchBody { left } => {
                let part = self.pass(chunk, left)?;
                if let Some(crc) = &mut self.crc {
                    *crc = crc32c::crc32c_append(*crc, part);
                }
                let left = left - part.len();
                self.state = State::BatchBody { left };
                if left == 0 {
                    self.end_batch(sink)?;
                }
            }
            State::Skip { left } => {
                let left = left - self.pass(chunk, left)?.len();
                self.state = State::Skip { left };
                if left == 0 {
                    self.next_partition(sink)?;
                }
            }
        }
        Ok(())
    }

    fn end_batch(&mut self, sink: &mut impl Sink) -> Result<(), StreamError> {
        let batch = BatchRead {
            base_offset: be64(&self.head, 0) as i64,
            bytes: self.batch_bytes,
            head: &self.head,
            stated_crc: be32(&self.head, 17),
            computed_crc: self.crc,
        };
        sink.batch(self.partition, &batch);
        self.next_batch(sink)
    }

    fn next_batch(&mut self, sink: &mut impl Sink) -> Result<(), StreamError> {
        if self.records_left > 0 {
            self.state = State::Batch;
            return Ok(());
        }
        self.next_partition(sink)
    }

    fn next_partition(&mut self, sink: &mut impl Sink) -> Result<(), StreamError> {
        match self.partitions_left.checked_sub(1) {
            Some(left) => {
                self.partitions_left = left;
                self.state = State::Partition;
                Ok(())
            }
            None => self.next_topic(sink),
        }
    }

    fn next_topic(&mut self, sink: &mut impl Sink) -> Result<(), StreamError> {
        if let Some(left) = self.topics_left.checked_sub(1) {
            self.topics_left = left;
            self.state = State::TopicLength;
            return Ok(());
        }
        if self.frame_left != 0 {
            return Err(StreamError("bytes are left behind its last topic"));
        }
        self.state = State::Size;
        sink.end(self.frame_bytes);
        Ok(())
    }

    /// Takes up to `wanted` bytes of the frame.
    fn pass<'a>(&mut self, chunk: &mut &'a [u8], wanted: usize) -> Result<&'a [u8], StreamError> {
        if wanted > self.frame_left {
            return Err(StreamError("a part of it is longer than the whole"));
        }
        let (part, rest) = chunk.split_at(wanted.min(chunk.len()));
        *chunk = rest;
        self.frame_left -= part.len();
        Ok(part)
    }

    /// A part of `length` bytes: in place, or in `scratch` when it came in pieces. `None`: not all of it is there yet.
    fn fixed<'a>(&mut self, chunk: &mut &'a [u8], length: usize) -> Result<Option<Fixed<'a>>, StreamError> {
        if self.state != State::Size {
            if length - self.scratch.len() > self.frame_left {
                return Err(StreamError("it ends within a field"));
            }
            self.frame_left -= (length - self.scratch.len()).min(chunk.len());
        }
        if self.scratch.is_empty() && chunk.len() >= length {
            let (part, rest) = chunk.split_at(length);
            *chunk = rest;
            return Ok(Some(Fixed::InPlace(part)));
        }
        let (part, rest) = chunk.split_at((length - self.scratch.len()).min(chunk.len()));
        self.scratch.extend_from_slice(part);
        *chunk = rest;
        Ok((self.scratch.len() == length).then_some(Fixed::Gathered))
    }
}

enum Fixed<'a> {
    InPlace(&'a [u8]),
    Gathered,
}

impl<'a> Fixed<'a> {
    fn bytes(&self, scratch: &'a [u8]) -> &'a [u8] {
        match self {
            Fixed::InPlace(bytes) => bytes,
            Fixed::Gathered => scratch,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::batch_pool::{BatchPool, Shape};
    use crate::wire::header::put_response;
    use crate::wire::message::fetch::{
        FetchResponse, FetchResponseAbortedTransaction, FetchResponsePartition, FetchResponseResult,
    };

    #[derive(Debug, PartialEq, Clone)]
    enum Seen {
        Response(i32, i16, i32),
        Partition(i32, i16, i64),
        Batch(i32, i64, usize, Option<bool>),
        End(usize),
    }

    #[derive(Default)]
    struct Log(Vec<Seen>);

    impl Sink for Log {
        fn response(&mut self, correlation_id: i32, error: i16, session_id: i32) {
            self.0.push(Seen::Response(correlation_id, error, session_id));
        }
        fn partition(&mut self, partition: i32, error: i16, high_watermark: i64) {
            self.0.push(Seen::Partition(partition, error, high_watermark));
        }
        fn batch(&mut self, partition: i32, batch: &BatchRead<'_>) {
            let matches = batch.computed_crc.map(|crc| crc == batch.stated_crc);
            self.0.push(Seen::Batch(partition, batch.base_offset, batch.bytes, matches));
        }
        fn end(&mut self, bytes: usize) {
            self.0.push(Seen::End(bytes));
        }
    }

    fn batch(pool: &BatchPool, base_offset: i64) -> Vec<u8> {
        let mut batch = pool.body(0).to_vec();
        batch[0..8].copy_from_slice(&base_offset.to_be_bytes());
        let crc = crc32c::crc32c(&batch[COVERED_AT..]);
        batch[17..21].copy_from_slice(&crc.to_be_bytes());
        batch
    }

    fn response(pool: &BatchPool, version: i16) -> Vec<u8> {
        let two = [batch(pool, 40), batch(pool, 43)].concat();
        let cut = [batch(pool, 7), batch(pool, 10)[..100].to_vec()].concat();
        let tiny_cut = [batch(pool, 7), vec![0; 5]].concat();
        let partition = |index, records: Option<Vec<u8>>| (index, records);
        let data = [
            partition(0, Some(two)),
            partition(5, None),
            partition(6, Some(cut)),
            partition(7, Some(tiny_cut)),
        ];
        let partitions = data
            .iter()
            .map(|(index, records)| FetchResponsePartition {
                partition_index: *index,
                error_code: if records.is_none() { 6 } else { 0 },
                high_watermark: 46,
                aborted_transactions: (*index == 6)
                    .then(|| vec![FetchResponseAbortedTransaction { producer_id: 1, first_offset: 2 }; 3]),
                records: records.as_deref(),
                ..Default::default()
            })
            .collect();
        let empty = FetchResponseResult { topic: "empty".into(), ..Default::default() };
        let body = FetchResponse {
            session_id: 77,
            responses: vec![
                FetchResponseResult { topic: "bench".into(), partitions, ..Default::default() },
                empty,
            ],
            ..Default::default()
        };
        let mut out = Vec::new();
        put_response(&mut out, version, 9, &body);
        put_response(&mut out, version, 10, &FetchResponse { error_code: 70, ..Default::default() });
        out
    }

    #[test]
    fn the_same_events_come_at_every_version_however_the_stream_is_cut() {
        let pool = BatchPool::new(Shape { records: 3, record_bytes: 40, random: 1.0 }, 1, 1);
        let bytes = pool.batch_bytes();
        for version in 4..=11 {
            let stream = response(&pool, version);
            for step in (1..40).chain([100, 1000, stream.len()]) {
                let mut parser = FetchStream::new(version, pool.stamp_end(), 1 << 20);
                let mut log = Log::default();
                for chunk in stream.chunks(step) {
                    parser.feed(chunk, |_| true, &mut log).unwrap();
                }
                let session = if version >= 7 { 77 } else { 0 };
                let error = if version >= 7 { 70 } else { 0 };
                let first = log.0.iter().position(|seen| matches!(seen, Seen::End(_))).unwrap();
                let Seen::End(length) = log.0[first] else { unreachable!() };
                let expected = [
                    Seen::Response(9, 0, session),
                    Seen::Partition(0, 0, 46),
                    Seen::Batch(0, 40, bytes, Some(true)),
                    Seen::Batch(0, 43, bytes, Some(true)),
                    Seen::Partition(5, 6, 46),
                    Seen::Partition(6, 0, 46),
                    Seen::Batch(6, 7, bytes, Some(true)),
                    Seen::Partition(7, 0, 46),
                    Seen::Batch(7, 7, bytes, Some(true)),
                    Seen::End(length),
                    Seen::Response(10, error, 0),
                    Seen::End(stream.len() - length),
                ];
                assert_eq!(log.0, expected, "version {version}, cut every {step}");
            }
        }
    }

    #[test]
    fn a_changed_byte_shows_in_the_crc_and_an_unwanted_crc_is_not_computed() {
        let pool = BatchPool::new(Shape { records: 3, record_bytes: 40, random: 1.0 }, 1, 1);
        let mut stream = response(&pool, 11);
        let at = stream.windows(40).position(|window| window == &pool.body(0)[150..190]).unwrap();
        stream[at] ^= 4;
        for (wanted, found) in [(true, Some(false)), (false, None)] {
            let mut log = Log::default();
            FetchStream::new(11, pool.stamp_end(), 1 << 20).feed(&stream, |_| wanted, &mut log).unwrap();
            let first = log.0.iter().find(|seen| matches!(seen, Seen::Batch(..))).unwrap();
            assert_eq!(*first, Seen::Batch(0, 40, pool.batch_bytes(), found));
        }
    }

    #[test]
    fn no_bytes_make_it_panic_or_run_on() {
        let pool = BatchPool::new(Shape { records: 3, record_bytes: 40, random: 1.0 }, 1, 1);
        let whole = response(&pool, 11);
        let mut random = crate::load::random::Random::new(1, 1);
        for _ in 0..20_000 {
            let mut stream = whole.clone();
            for _ in 0..1 + random.number() % 3 {
                // Mostly in the first bytes of the structure, where lengths and counts are.
                let range = if random.number().is_multiple_of(2) { 90 } else { stream.len() };
                let at = (random.number() as usize) % range;
                stream[at] = random.number() as u8;
            }
            let mut parser = FetchStream::new(11, pool.stamp_end(), 1 << 20);
            let mut log = Log::default();
            for chunk in stream.chunks(1 + (random.number() as usize % 200)) {
                if parser.feed(chunk, |_| true, &mut log).is_err() {
                    break;
                }
            }
            assert!(log.0.len() < 1000);
        }
    }
}
