//! One consumer connection: positions, an incremental fetch session (KIP-227), and the checks on what it reads.
//!
//! In: the bytes of its socket. Out: fetch requests that name only partitions whose position changed, and an event per
//! batch read.

use crate::load::batch_pool::{BatchPool, Stamp};
use crate::load::control::CLIENT_ID;
use crate::load::fetch_stream::{BatchRead, FetchStream, Sink, StreamError};
use crate::load::plan::{Plan, VerifyMode};
use crate::load::verify::{BatchId, Corruption, Event};
use crate::reactor::Socket;
use crate::wire::error_code::ErrorCode;
use crate::wire::frame;
use crate::wire::primitive::Sink as _;

/// Which part of which group a connection is.
#[derive(Clone, Debug)]
pub struct Role {
    pub group: u16,
    /// Partitions and the offsets to begin at.
    pub partitions: Vec<(u32, i64)>,
}

/// Bytes a receive may bring: large enough for few operations, small enough for the second-level cache.
const INPUT_BYTES: usize = 128 << 10;

#[derive(Clone, Copy, Debug)]
pub struct Cursor {
    pub partition: u32,
    /// The next offset to read.
    pub offset: i64,
    /// Named in `changed`.
    listed: bool,
}

/// What the reader needs to judge a batch.
#[derive(Clone, Copy, Debug)]
pub struct Judge<'a> {
    pub pool: &'a BatchPool,
    pub run: u32,
    pub verify: VerifyMode,
    /// Batches of other runs are passed over instead of being taken as corrupt.
    pub tolerate_foreign: bool,
}

pub struct Consumer {
    pub group: u16,
    pub socket: Socket,
    pub cursors: Vec<Cursor>,
    /// By partition; `u32::MAX` where it is not ours.
    cursor_of: Vec<u32>,
    changed: Vec<u32>,
    session_id: i32,
    session_epoch: i32,
    correlation_id: i32,
    stream: FetchStream,
    arriving: Arriving,
    version: i16,
    pub input: Vec<u8>,
    /// Request bytes, when they are not with the engine.
    pub request: Vec<u8>,
    pub asked_ns: u64,
    pub waiting: bool,
    /// Asks again then: after errors, so that a broker in trouble is not flooded.
    pub retry_ns: Option<u64>,
}

/// What a piece of a response brought.
#[derive(Debug)]
pub struct Reading<'a> {
    pub judge: Judge<'a>,
    pub now_ns: u64,
    pub events: &'a mut Vec<Event>,
    pub batches: &'a mut Vec<Sample>,
    /// Responses that ended.
    pub responses: u32,
    pub response_bytes: u64,
    /// Of responses that ended without a batch.
    pub empty: u32,
    /// The first error of a response that ended, its own or a partition's.
    pub error: Option<i16>,
}

/// The response that is arriving; it may take many pieces.
#[derive(Clone, Copy, Debug, Default)]
struct Arriving {
    correlation_id: i32,
    session_id: i32,
    session_lost: bool,
    /// At least one batch.
    brought: bool,
    error: Option<i16>,
}

/// The times of one batch read, and its size.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    pub intended_ns: u64,
    pub written_ns: u64,
    pub records: u32,
}

impl<'a> Reading<'a> {
    pub fn new(
        judge: Judge<'a>,
        now_ns: u64,
        events: &'a mut Vec<Event>,
        batches: &'a mut Vec<Sample>,
    ) -> Reading<'a> {
        Reading { judge, now_ns, events, batches, responses: 0, response_bytes: 0, empty: 0, error: None }
    }
}

struct Place<'r, 'a> {
    reading: &'r mut Reading<'a>,
    arriving: &'r mut Arriving,
    cursors: &'r mut [Cursor],
    cursor_of: &'r [u32],
    changed: &'r mut Vec<u32>,
    group: u16,
}

impl Place<'_, '_> {
    fn cursor(&mut self, partition: i32) -> Option<u32> {
        let at = *self.cursor_of.get(usize::try_from(partition).ok()?)?;
        (at != u32::MAX).then_some(at)
    }

    fn list(&mut self, at: u32) {
        let cursor = &mut self.cursors[at as usize];
        if !cursor.listed {
            cursor.listed = true;
            self.changed.push(at);
        }
    }
}

impl Sink for Place<'_, '_> {
    fn response(&mut self, correlation_id: i32, error: i16, session_id: i32) {
        *self.arriving = Arriving { correlation_id, session_id, ..Arriving::default() };
        if error != 0 {
            self.arriving.session_lost = true;
            // A lost session is the broker's right and costs one full request.
            let lost = [ErrorCode::FetchSessionIdNotFound.code(), ErrorCode::InvalidFetchSessionEpoch.code()];
            if !lost.contains(&error) {
                self.arriving.error.get_or_insert(error);
            }
        }
    }

    fn partition(&mut self, partition: i32, error: i16, _high_watermark: i64) {
        if error != 0 {
            self.arriving.error.get_or_insert(error);
            if let Some(at) = self.cursor(partition) {
                self.list(at);
            }
        }
    }

    fn batch(&mut self, partition: i32, batch: &BatchRead<'_>) {
        let Some(at) = self.cursor(partition) else {
            self.arriving.error.get_or_insert(ErrorCode::UnknownTopicOrPartition.code());
            return;
        };
        self.arriving.brought = true;
        self.list(at);
        let cursor = &mut self.cursors[at as usize];
        let (expected, partition) = (cursor.offset, cursor.partition);
        cursor.offset = batch.next_offset().max(expected);
        let judge = self.reading.judge;
        let (group, base_offset) = (self.group, batch.base_offset);
        let checked = judge.verify != VerifyMode::None;
        if checked && base_offset != expected {
            let found = base_offset;
            self.reading.events.push(Event::Position { group, partition, expected, found });
        }
        let found = judge.pool.expected(batch.head).filter(|(_, stamp)| stamp.run == judge.run);
        let Some((crc, Stamp { producer, sequence, intended_ns, written_ns, .. })) = found else {
            if checked && !judge.tolerate_foreign {
                let why = Corruption::Foreign;
                self.reading.events.push(Event::Corrupt { group, batch: None, partition, base_offset, why });
            }
            return;
        };
        self.reading.batches.push(Sample { intended_ns, written_ns, records: judge.pool.shape().records });
        if !checked {
            return;
        }
        let id = BatchId { partition, producer, sequence };
        if self.reading.now_ns < written_ns {
            self.reading.events.push(Event::NegativeLatency);
        }
        if let Some(computed) = batch.computed_crc {
            let stated = batch.stated_crc;
            let why = if computed != stated {
                Some(Corruption::Checksum { stated, computed })
            } else if computed != crc || batch.bytes != judge.pool.batch_bytes() {
                Some(Corruption::Content { expected: crc, computed })
            } else {
                None
            };
            if let Some(why) = why {
                let batch = Some(id);
                self.reading.events.push(Event::Corrupt { group, batch, partition, base_offset, why });
            }
        }
        self.reading.events.push(Event::Read { group, batch: id, base_offset });
    }

    fn end(&mut self, bytes: usize) {
        self.reading.responses += 1;
        self.reading.response_bytes += bytes as u64;
        if !self.arriving.brought {
            self.reading.empty += 1;
        }
        self.reading.error = self.reading.error.or(self.arriving.error);
    }
}

impl Consumer {
    pub fn new(role: Role, socket: Socket, plan: &Plan, pool: &BatchPool, version: i16) -> Consumer {
        let mut cursor_of = vec![u32::MAX; plan.topic.partitions as usize];
        let cursors: Vec<Cursor> = role
            .partitions
            .iter()
            .map(|(partition, offset)| Cursor { partition: *partition, offset: *offset, listed: false })
            .collect();
        for (at, cursor) in cursors.iter().enumerate() {
            cursor_of[cursor.partition as usize] = at as u32;
        }
        Consumer {
            group: role.group,
            socket,
            cursors,
            cursor_of,
            changed: Vec::new(),
            session_id: 0,
            session_epoch: 0,
            correlation_id: 0,
            stream: FetchStream::new(version, pool.stamp_end(), i32::MAX as usize),
            arriving: Arriving::default(),
            version,
            input: vec![0; INPUT_BYTES],
            request: Vec::new(),
            asked_ns: 0,
            waiting: false,
            retry_ns: None,
        }
    }

    /// The next fetch request, whole: everything in a new session, what changed in a running one.
    pub fn ask(&mut self, plan: &Plan, now_ns: u64) -> Vec<u8> {
        self.correlation_id = self.correlation_id.wrapping_add(1) & i32::MAX;
        let mut out = std::mem::take(&mut self.request);
        out.clear();
        let start = frame::begin(&mut out);
        let consumers = &plan.consumers;
        out.put(&1i16.to_be_bytes());
        out.put(&self.version.to_be_bytes());
        out.put(&self.correlation_id.to_be_bytes());
        put_text(&mut out, CLIENT_ID);
        out.put(&(-1i32).to_be_bytes());
        out.put(&(consumers.max_wait.as_millis().min(i32::MAX as u128) as i32).to_be_bytes());
        out.put(&(consumers.min_bytes.min(i32::MAX as u32) as i32).to_be_bytes());
        out.put(&(consumers.max_bytes.min(i32::MAX as u32) as i32).to_be_bytes());
        out.put(&[0]);
        if self.version >= 7 {
            out.put(&self.session_id.to_be_bytes());
            out.put(&self.session_epoch.to_be_bytes());
        }
        let whole = self.session_epoch == 0 || self.version < 7;
        let count = if whole { self.cursors.len() } else { self.changed.len() };
        out.put(&i32::from(count > 0).to_be_bytes());
        if count > 0 {
            put_text(&mut out, &plan.topic.name);
            out.put(&(count as i32).to_be_bytes());
        }
        let partition_max = consumers.partition_max_bytes.min(i32::MAX as u32) as i32;
        for place in 0..count {
            let at = if whole { place } else { self.changed[place] as usize };
            let cursor = &mut self.cursors[at];
            cursor.listed = false;
            out.put(&(cursor.partition as i32).to_be_bytes());
            if self.version >= 9 {
                out.put(&(-1i32).to_be_bytes());
            }
            out.put(&cursor.offset.to_be_bytes());
            if self.version >= 5 {
                out.put(&(-1i64).to_be_bytes());
            }
            out.put(&partition_max.to_be_bytes());
        }
        if self.version >= 7 {
            out.put(&0i32.to_be_bytes());
        }
        if self.version >= 11 {
            put_text(&mut out, "");
        }
        start.end(&mut out, 0);
        self.changed.clear();
        self.asked_ns = now_ns;
        self.waiting = true;
        self.retry_ns = None;
        out
    }

    /// Takes received bytes. `reading.responses` says how many responses ended: after one, it is time to ask again.
    pub fn on_bytes(&mut self, bytes: &[u8], reading: &mut Reading<'_>) -> Result<(), StreamError> {
        let verify = reading.judge.verify;
        let (pool, ended_before) = (reading.judge.pool, reading.responses);
        let check = |head: &[u8]| match verify {
            VerifyMode::Full => true,
            VerifyMode::None => false,
            VerifyMode::Sampled(one_in) => {
                pool.expected(head).is_none_or(|(_, stamp)| stamp.sequence % one_in == 0)
            }
        };
        let mut place = Place {
            reading,
            arriving: &mut self.arriving,
            cursors: &mut self.cursors,
            cursor_of: &self.cursor_of,
            changed: &mut self.changed,
            group: self.group,
        };
        self.stream.feed(bytes, check, &mut place)?;
        if reading.responses > ended_before {
            if reading.responses > ended_before + 1 || self.arriving.correlation_id != self.correlation_id {
                return Err(StreamError("it answers a request that was not asked"));
            }
            self.waiting = false;
            self.on_session();
        }
        Ok(())
    }

    fn on_session(&mut self) {
        let arriving = self.arriving;
        if arriving.session_lost || arriving.session_id == 0 {
            (self.session_id, self.session_epoch) = (0, 0);
        } else if self.session_epoch == 0 {
            (self.session_id, self.session_epoch) = (arriving.session_id, 1);
        } else {
            self.session_epoch = if self.session_epoch == i32::MAX { 1 } else { self.session_epoch + 1 };
        }
    }

    /// True when everything before `ends` (by partition) has been read.
    pub fn has_reached(&self, ends: &[i64]) -> bool {
        self.cursors.iter().all(|cursor| cursor.offset >= ends[cursor.partition as usize])
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.put(&(text.len() as i16).to_be_bytes());
    out.put(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::batch_pool::Shape;
    use crate::wire::header::{RequestHeader, put_response};
    use crate::wire::message::Message;
    use crate::wire::message::fetch::{
        FetchRequest, FetchResponse, FetchResponsePartition, FetchResponseResult,
    };
    use crate::wire::primitive::Reader;

    fn consumer(version: i16) -> (Consumer, BatchPool, Plan) {
        let mut plan = Plan::default();
        plan.topic.partitions = 4;
        let pool = BatchPool::new(Shape { records: 16, record_bytes: 100, random: 1.0 }, 1, 1);
        let role = Role { group: 0, partitions: vec![(0, 0), (1, 0), (3, 48)] };
        (Consumer::new(role, Socket::from_double(1), &plan, &pool, version), pool, plan)
    }

    type Asked = (i32, i32, Vec<(i32, i64)>);

    fn asked(consumer: &mut Consumer, plan: &Plan, version: i16) -> Asked {
        let bytes = consumer.ask(plan, 0);
        let mut r = Reader::new(&bytes[4..]);
        let header = RequestHeader::decode(&mut r).unwrap();
        assert_eq!(header.version, version);
        let request = FetchRequest::decode(&mut r, version).unwrap();
        assert_eq!(r.remaining(), 0);
        assert_eq!((request.max_wait_ms, request.min_bytes, request.max_bytes), (500, 1, 50 << 20));
        let partitions = request.topics.iter().flat_map(|topic| {
            assert_eq!(topic.topic, "bench");
            topic.partitions.iter().map(|p| (p.partition, p.fetch_offset)).collect::<Vec<_>>()
        });
        (request.session_id, request.session_epoch, partitions.collect())
    }

    fn answer(
        consumer: &mut Consumer,
        pool: &BatchPool,
        session_id: i32,
        error: i16,
        batches: &[(i32, i64)],
    ) -> Vec<Event> {
        let records: Vec<Vec<u8>> = batches
            .iter()
            .map(|(_, offset)| {
                let mut batch = pool.body(0).to_vec();
                let fields = crate::load::batch_pool::Fields {
                    timestamp_ms: 1,
                    producer_id: -1,
                    producer_epoch: -1,
                    base_sequence: -1,
                };
                pool.stamp(&mut batch, &fields, &Stamp { run: 5, ..Stamp::default() });
                batch[..8].copy_from_slice(&offset.to_be_bytes());
                batch
            })
            .collect();
        let partitions = batches
            .iter()
            .zip(&records)
            .map(|((partition, _), records)| FetchResponsePartition {
                partition_index: *partition,
                records: Some(records),
                ..Default::default()
            })
            .collect();
        let body = FetchResponse {
            error_code: error,
            session_id,
            responses: vec![FetchResponseResult { topic: "bench".into(), partitions, ..Default::default() }],
            ..Default::default()
        };
        let mut out = Vec::new();
        put_response(&mut out, consumer.version, consumer.correlation_id, &body);
        let (mut events, mut samples) = (Vec::new(), Vec::new());
        let judge = Judge { pool, run: 5, verify: VerifyMode::Full, tolerate_foreign: false };
        let mut responses = 0;
        for piece in out.chunks(97) {
            assert_eq!(responses, 0, "a response ends with its last piece");
            let mut reading = Reading::new(judge, 9, &mut events, &mut samples);
            consumer.on_bytes(piece, &mut reading).unwrap();
            responses += reading.responses;
        }
        assert_eq!(responses, 1);
        events
    }

    #[test]
    fn requests_are_those_of_the_table_at_every_version() {
        for version in 4..=11 {
            let (mut consumer, _, plan) = consumer(version);
            let (_, _, partitions) = asked(&mut consumer, &plan, version);
            assert_eq!(partitions, [(0, 0), (1, 0), (3, 48)]);
        }
    }

    #[test]
    fn a_session_names_only_what_changed_and_begins_anew_when_it_is_lost() {
        let (mut consumer, pool, plan) = consumer(11);
        assert_eq!(asked(&mut consumer, &plan, 11), (0, 0, vec![(0, 0), (1, 0), (3, 48)]));
        answer(&mut consumer, &pool, 77, 0, &[(3, 48)]);
        assert_eq!(asked(&mut consumer, &plan, 11), (77, 1, vec![(3, 64)]));
        answer(&mut consumer, &pool, 77, 0, &[]);
        assert_eq!(asked(&mut consumer, &plan, 11), (77, 2, vec![]));
        answer(&mut consumer, &pool, 77, 0, &[(1, 0), (0, 0)]);
        assert_eq!(asked(&mut consumer, &plan, 11), (77, 3, vec![(1, 16), (0, 16)]));
        answer(&mut consumer, &pool, 0, 70, &[]);
        assert_eq!(asked(&mut consumer, &plan, 11), (0, 0, vec![(0, 16), (1, 16), (3, 64)]));
        answer(&mut consumer, &pool, 0, 0, &[(0, 16)]);
        assert_eq!(
            asked(&mut consumer, &plan, 11),
            (0, 0, vec![(0, 32), (1, 16), (3, 64)]),
            "no sessions here"
        );
    }

    #[test]
    fn offsets_that_go_back_or_are_left_out_are_seen() {
        let (mut consumer, pool, plan) = consumer(11);
        consumer.ask(&plan, 0);
        let events = answer(&mut consumer, &pool, 1, 0, &[(0, 0), (1, 16), (3, 32)]);
        let positions: Vec<(u32, i64, i64)> = events
            .iter()
            .filter_map(|event| match event {
                Event::Position { partition, expected, found, .. } => Some((*partition, *expected, *found)),
                _ => None,
            })
            .collect();
        assert_eq!(positions, [(1, 0, 16), (3, 48, 32)]);
        assert_eq!(consumer.cursors[2].offset, 48, "a position never goes back");
    }
}
