//! One producer connection: preformed requests, an in-flight window, and what is due next.
//!
//! In: due instants, completions of its socket. Out: requests stamped in place and handed over whole; acknowledgements
//! as events.
//! A request's bytes belong either to its slot or to the engine, never to both; a slot is free again when its bytes are
//! back and it has been answered.

use std::collections::VecDeque;

use crate::load::Acks;
use crate::load::batch_pool::{BatchPool, Fields, Stamp};
use crate::load::control::CLIENT_ID;
use crate::load::plan::Plan;
use crate::load::schedule::Schedule;
use crate::load::verify::BatchId;
use crate::reactor::Socket;
use crate::wire::array::Array;
use crate::wire::header::put_request;
use crate::wire::message::produce::{ProduceRequest, ProduceRequestPartitionData, ProduceRequestTopicData};
use crate::wire::primitive::{DecodeError, Reader};

/// Which producer a connection is.
#[derive(Clone, Copy, Debug)]
pub struct Role {
    pub id: u16,
    /// -1 without idempotence.
    pub producer_id: i64,
    pub producer_epoch: i16,
}

/// One request that can be in flight.
#[derive(Debug)]
pub struct Slot {
    /// The whole request; empty while the engine has it.
    pub bytes: Vec<u8>,
    /// The batches of the pool it carries, in order.
    payloads: Box<[u32]>,
    /// Where they went this time.
    pub batches: Box<[BatchId]>,
    pub intended_ns: u64,
    pub written_ns: u64,
    correlation_id: i32,
    answered: bool,
}

/// Its bytes with the engine, and since which turn.
#[derive(Clone, Copy, Debug)]
pub struct Sending {
    pub slot: u16,
    pub turn: u64,
}

pub struct Producer {
    pub role: Role,
    pub socket: Socket,
    pub schedule: Schedule,
    pub slots: Vec<Slot>,
    pub free: Vec<u16>,
    /// Slots in the order they were sent.
    pub outstanding: VecDeque<u16>,
    pub sending: Option<Sending>,
    /// Answers received and not yet whole.
    pub input: Vec<u8>,
    pub filled: usize,
    /// When the in-flight window or the socket last stopped being full: lag from before it is the broker's.
    pub unblocked_ns: u64,
    /// True while the worker's heap of due requests names this connection.
    pub queued: bool,
    partition_next: u32,
    sequences: Vec<u32>,
    correlation_id: i32,
    request_bytes: usize,
}

/// Where the correlation id stands in a request: behind size, key and version.
const CORRELATION_AT: usize = 8;
/// Partition index and length in front of each batch.
const FRONT_BYTES: usize = 8;

impl Producer {
    pub fn new(
        role: Role,
        socket: Socket,
        schedule: Schedule,
        plan: &Plan,
        pool: &BatchPool,
        version: i16,
    ) -> Producer {
        let producers = &plan.producers;
        let batches = producers.batches_per_request;
        let slots: Vec<Slot> = (0..producers.in_flight)
            .map(|slot| {
                let first = (u32::from(role.id) * producers.in_flight + slot) * batches;
                let payloads: Box<[u32]> = (first..first + batches).map(|n| n % pool.payloads()).collect();
                Slot {
                    bytes: request(plan, pool, version, &payloads),
                    batches: vec![BatchId { partition: 0, producer: role.id, sequence: 0 }; batches as usize]
                        .into(),
                    payloads,
                    intended_ns: 0,
                    written_ns: 0,
                    correlation_id: 0,
                    answered: false,
                }
            })
            .collect();
        let request_bytes = slots[0].bytes.len();
        // Connections begin apart, so that few of them do not walk through the partitions in step.
        let apart = u64::from(plan.topic.partitions) * u64::from(role.id) / u64::from(producers.connections);
        Producer {
            role,
            socket,
            schedule,
            free: (0..producers.in_flight as u16).rev().collect(),
            slots,
            outstanding: VecDeque::with_capacity(producers.in_flight as usize),
            sending: None,
            input: vec![0; 4096],
            filled: 0,
            unblocked_ns: 0,
            queued: false,
            partition_next: apart as u32 % plan.topic.partitions,
            sequences: vec![0; plan.topic.partitions as usize],
            correlation_id: 0,
            request_bytes,
        }
    }

    /// Bytes of each request, its size field included.
    pub fn request_bytes(&self) -> usize {
        self.request_bytes
    }

    /// Fills a free slot and gives out its bytes. The caller has seen that there is one, and that nothing is being sent.
    pub fn fill(
        &mut self,
        pool: &BatchPool,
        fields: Fields,
        stamp: Stamp,
        intended_ns: u64,
        written_ns: u64,
        turn: u64,
    ) -> Vec<u8> {
        let number = self.free.pop().expect("the caller looked for a free slot");
        let slot = &mut self.slots[usize::from(number)];
        let mut bytes = std::mem::take(&mut slot.bytes);
        self.correlation_id = self.correlation_id.wrapping_add(1) & i32::MAX;
        slot.correlation_id = self.correlation_id;
        (slot.intended_ns, slot.written_ns, slot.answered) = (intended_ns, written_ns, false);
        bytes[CORRELATION_AT..CORRELATION_AT + 4].copy_from_slice(&self.correlation_id.to_be_bytes());
        let batch_bytes = pool.batch_bytes();
        let mut at = bytes.len() - slot.payloads.len() * (FRONT_BYTES + batch_bytes);
        for (payload, batch) in slot.payloads.iter().zip(&mut slot.batches) {
            let partition = self.partition_next;
            self.partition_next =
                if partition + 1 == self.sequences.len() as u32 { 0 } else { partition + 1 };
            let sequence = &mut self.sequences[partition as usize];
            (batch.partition, batch.sequence) = (partition, *sequence);
            let fields = Fields {
                producer_id: self.role.producer_id,
                producer_epoch: self.role.producer_epoch,
                base_sequence: if self.role.producer_id < 0 {
                    -1
                } else {
                    (u64::from(*sequence) * u64::from(pool.shape().records) % (1 << 31)) as i32
                },
                ..fields
            };
            let stamp = Stamp { producer: self.role.id, payload: *payload, sequence: *sequence, ..stamp };
            *sequence += 1;
            bytes[at..at + 4].copy_from_slice(&(partition as i32).to_be_bytes());
            pool.stamp(&mut bytes[at + FRONT_BYTES..at + FRONT_BYTES + batch_bytes], &fields, &stamp);
            at += FRONT_BYTES + batch_bytes;
        }
        self.outstanding.push_back(number);
        self.sending = Some(Sending { slot: number, turn });
        bytes
    }

    /// The engine gives the bytes back.
    pub fn on_sent(&mut self, bytes: Vec<u8>) -> Sending {
        let sending = self.sending.take().expect("one send at a time, and this one has ended");
        self.slots[usize::from(sending.slot)].bytes = bytes;
        if self.slots[usize::from(sending.slot)].answered {
            self.free.push(sending.slot);
        }
        sending
    }

    /// Takes the oldest request as answered.
    pub fn on_answered(&mut self) -> Option<&Slot> {
        let number = self.outstanding.pop_front()?;
        let slot = &mut self.slots[usize::from(number)];
        slot.answered = true;
        if self.sending.is_none_or(|sending| sending.slot != number) {
            self.free.push(number);
        }
        Some(&self.slots[usize::from(number)])
    }

    /// The correlation id that the next answer must have.
    pub fn expected_correlation(&self) -> Option<i32> {
        self.outstanding.front().map(|slot| self.slots[usize::from(*slot)].correlation_id)
    }

    /// When the oldest unanswered request was written.
    pub fn oldest_written_ns(&self) -> Option<u64> {
        self.outstanding.front().map(|slot| self.slots[usize::from(*slot)].written_ns)
    }

    /// Whether a request could be written now.
    pub fn is_able(&self) -> bool {
        self.sending.is_none() && !self.free.is_empty()
    }
}

/// A whole request with the batches of the pool; partitions, identities and correlation id come with each send.
fn request(plan: &Plan, pool: &BatchPool, version: i16, payloads: &[u32]) -> Vec<u8> {
    let partitions: Vec<_> = payloads
        .iter()
        .map(|payload| ProduceRequestPartitionData { index: 0, records: Some(pool.body(*payload)) })
        .collect();
    let body = ProduceRequest {
        transactional_id: None,
        acks: plan.producers.acks.number(),
        timeout_ms: plan.answer_max.as_millis().min(i32::MAX as u128) as i32,
        topic_data: Array::from([ProduceRequestTopicData {
            name: &plan.topic.name,
            partition_data: partitions.into(),
        }]),
    };
    let mut out = Vec::new();
    put_request(&mut out, version, 0, Some(CLIENT_ID), &body);
    out
}

/// Reads an answer of versions 3 to 7 and hands out `(partition, error, base offset)`. Returns its correlation id.
pub fn read_answer(
    frame: &[u8],
    version: i16,
    mut on_partition: impl FnMut(i32, i16, i64),
) -> Result<i32, DecodeError> {
    let mut r = Reader::new(frame);
    let correlation_id = r.i32()?;
    for _ in 0..r.i32()? {
        let name = r.i16()?;
        r.take(usize::try_from(name).unwrap_or(0))?;
        for _ in 0..r.i32()? {
            let (partition, error, base_offset) = (r.i32()?, r.i16()?, r.i64()?);
            r.i64()?;
            if version >= 5 {
                r.i64()?;
            }
            on_partition(partition, error, base_offset);
        }
    }
    Ok(correlation_id)
}

/// True when the broker answers at all.
pub fn is_answered(acks: Acks) -> bool {
    acks != Acks::None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::batch_pool::Shape;
    use crate::load::plan::Producers;
    use crate::wire::header::{RequestHeader, put_response};
    use crate::wire::message::Message;
    use crate::wire::message::produce::{
        ProduceResponse, ProduceResponsePartitionResponse, ProduceResponseResult,
    };

    fn producer(batches: u32, partitions: u32) -> (Producer, BatchPool, Plan) {
        let mut plan = Plan::default();
        plan.topic.partitions = partitions;
        plan.producers =
            Producers { batches_per_request: batches, record_bytes: 100, ..Producers::default() };
        let shape = Shape { records: 16, record_bytes: 100, random: 1.0 };
        let pool = BatchPool::new(shape, 8, 1);
        let schedule = Schedule::new(&plan.producers, 1, plan.duration, 1);
        let role = Role { id: 1, producer_id: 500, producer_epoch: 3 };
        let socket = Socket::from_double(1);
        (Producer::new(role, socket, schedule, &plan, &pool, 7), pool, plan)
    }

    const FIELDS: Fields =
        Fields { timestamp_ms: 99, producer_id: -1, producer_epoch: -1, base_sequence: -1 };

    #[test]
    fn a_filled_request_is_one_that_a_broker_reads_and_partitions_take_turns() {
        let (mut producer, pool, plan) = producer(2, 3);
        let mut places = Vec::new();
        for round in 0..4 {
            let stamp = Stamp { run: 7, intended_ns: 11, written_ns: 12, ..Stamp::default() };
            let bytes = producer.fill(&pool, FIELDS, stamp, 11, 12, 1);
            let mut r = Reader::new(&bytes[4..]);
            assert_eq!(i32::from_be_bytes(bytes[..4].try_into().unwrap()) as usize, bytes.len() - 4);
            let header = RequestHeader::decode(&mut r).unwrap();
            assert_eq!((header.version, header.correlation_id), (7, round + 1));
            let request = ProduceRequest::decode(&mut r, 7).unwrap();
            assert_eq!(r.remaining(), 0);
            let topic = request.topic_data.first().unwrap();
            assert_eq!((request.acks, topic.name), (-1, plan.topic.name.as_str()));
            for data in &topic.partition_data {
                let batch = data.records.unwrap();
                let (crc, stamp) = pool.expected(&batch[..pool.stamp_end()]).unwrap();
                assert_eq!(crc32c::crc32c(&batch[21..]), crc);
                assert_eq!((stamp.producer, stamp.run, stamp.intended_ns, stamp.written_ns), (1, 7, 11, 12));
                let base_sequence = i32::from_be_bytes(batch[53..57].try_into().unwrap());
                assert_eq!(base_sequence, stamp.sequence as i32 * 16);
                places.push((data.index, stamp.sequence));
            }
            producer.on_sent(bytes);
        }
        assert_eq!(places, [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1), (0, 2), (1, 2)]);
    }

    #[test]
    fn a_slot_is_free_when_its_bytes_are_back_and_its_answer_is_there_in_any_order() {
        let (mut producer, pool, _) = producer(1, 1);
        for _ in 0..5 {
            let bytes = producer.fill(&pool, FIELDS, Stamp::default(), 0, 0, 1);
            assert!(!producer.is_able());
            producer.on_sent(bytes);
        }
        assert!(!producer.is_able(), "the window is full");
        producer.on_answered().unwrap();
        assert!(producer.is_able());
        let bytes = producer.fill(&pool, FIELDS, Stamp::default(), 0, 0, 1);
        (0..5).for_each(|_| assert!(producer.on_answered().is_some()));
        assert_eq!(producer.free.len(), 4, "one answer came before its bytes were back");
        producer.on_sent(bytes);
        assert_eq!(producer.free.len(), 5);
        assert!(producer.on_answered().is_none());
    }

    #[test]
    fn answers_are_read_at_every_version_we_speak() {
        for version in 3..=7 {
            let partition = |index, error_code, base_offset| ProduceResponsePartitionResponse {
                index,
                error_code,
                base_offset,
                ..Default::default()
            };
            let body = ProduceResponse {
                responses: vec![ProduceResponseResult {
                    name: "topic".into(),
                    partition_responses: vec![partition(3, 0, 160), partition(4, 6, -1)],
                }],
                ..Default::default()
            };
            let mut out = Vec::new();
            put_response(&mut out, version, 42, &body);
            let mut seen = Vec::new();
            let correlation = read_answer(&out[4..], version, |p, e, o| seen.push((p, e, o))).unwrap();
            assert_eq!((correlation, seen), (42, vec![(3, 0, 160), (4, 6, -1)]));
            for length in 4..out.len() - 8 {
                assert!(read_answer(&out[4..length], version, |_, _, _| {}).is_err(), "cut to {length}");
            }
        }
    }
}
