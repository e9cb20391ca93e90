//! What a worker does with a completion: answers become acknowledgements and samples, batches become readings.
//!
//! In: a completion and the turn's time. Out: events for the ledger, samples, and the next receive or fetch.

use super::part::record;
use super::{ANSWER_BYTES_MAX, Broken, RETRY_NS, What, Worker, named, token};
use crate::load::consumer::{Judge, Reading};
use crate::load::outcome::Phase;
use crate::load::plan::VerifyMode;
use crate::load::producer;
use crate::load::verify::Event;
use crate::reactor::{Completion, Done, Operation};
use crate::wire::frame::{self, Front};

impl Worker<'_> {
    pub(super) fn on_completion(&mut self, completion: Completion, now_ns: u64) -> Result<(), Broken> {
        let Some((what, index)) = named(completion.token) else { return Ok(()) };
        let lost = |who: &str, why: &dyn std::fmt::Display| Err(format!("{who} {index}: {why}"));
        match (what, completion.done) {
            (What::ProducerSend, Done::Sent { bytes, result }) => {
                if let Err(error) = result {
                    return lost("producer", &error);
                }
                self.on_sent(index, bytes, now_ns);
            }
            (What::ProducerReceive, Done::ReceivedInto { into, result }) => match result {
                Ok(0) => return lost("producer", &"the broker closed the connection"),
                Ok(count) => self.on_answers(index, into, count, now_ns)?,
                Err(error) => return lost("producer", &error),
            },
            (What::ConsumerSend, Done::Sent { bytes, result }) => {
                if let Err(error) = result {
                    return lost("consumer", &error);
                }
                self.consumers[index].request = bytes;
            }
            (What::ConsumerReceive, Done::ReceivedInto { into, result }) => match result {
                Ok(0) => return lost("consumer", &"the broker closed the connection"),
                Ok(count) => self.on_records(index, into, count, now_ns)?,
                Err(error) => return lost("consumer", &error),
            },
            _ => {}
        }
        Ok(())
    }

    fn on_sent(&mut self, index: usize, bytes: Vec<u8>, now_ns: u64) {
        let turn = self.turn;
        let producer = &mut self.producers[index];
        let sending = producer.on_sent(bytes);
        // A send that outlasts its turn met a full socket.
        if turn > sending.turn + 1 {
            producer.unblocked_ns = now_ns;
        }
        if !producer::is_answered(self.shared.plan.producers.acks) {
            self.answered(index, now_ns, &[]);
        }
        self.try_issue(index, now_ns);
    }

    fn on_answers(
        &mut self,
        index: usize,
        mut into: Vec<u8>,
        count: usize,
        now_ns: u64,
    ) -> Result<(), Broken> {
        let end = self.producers[index].filled + count;
        let mut at = 0;
        loop {
            match frame::front(&into[at..end], ANSWER_BYTES_MAX) {
                Ok(Front::Whole { frame, used }) => {
                    self.on_answer(index, frame, now_ns)?;
                    at += used;
                }
                Ok(Front::Partial { size, .. }) => {
                    if size + frame::SIZE_BYTES > into.len() {
                        into.resize(size + frame::SIZE_BYTES, 0);
                    }
                    break;
                }
                Ok(Front::Unknown) => break,
                Err(error) => return Err(format!("producer {index}: {error}")),
            }
        }
        into.copy_within(at..end, 0);
        let producer = &mut self.producers[index];
        producer.filled = end - at;
        let operation =
            Operation::ReceiveInto { socket: producer.socket.clone(), into, filled: producer.filled };
        self.engine.submit(token(What::ProducerReceive, index), operation);
        self.try_issue(index, now_ns);
        Ok(())
    }

    fn on_answer(&mut self, index: usize, frame: &[u8], now_ns: u64) -> Result<(), Broken> {
        let expected = self.producers[index].expected_correlation();
        let mut parts = [(0i32, 0i16, 0i64); 8];
        let mut more = Vec::new();
        let mut count = 0;
        let read = producer::read_answer(frame, self.shared.produce_version, |partition, error, offset| {
            match parts.get_mut(count) {
                Some(part) => *part = (partition, error, offset),
                None => more.push((partition, error, offset)),
            }
            count += 1;
        });
        match read {
            Ok(found) if Some(found) == expected => {}
            Ok(found) => {
                return Err(format!(
                    "producer {index}: the answer is to request {found}, due was {expected:?}"
                ));
            }
            Err(error) => return Err(format!("producer {index}: the answer cannot be read: {error}")),
        }
        if more.is_empty() {
            self.answered(index, now_ns, &parts[..count]);
        } else {
            more.splice(0..0, parts);
            self.answered(index, now_ns, &more);
        }
        Ok(())
    }

    /// The oldest request of a connection is done; `parts` is what the broker says, empty for acks=0.
    fn answered(&mut self, index: usize, now_ns: u64, parts: &[(i32, i16, i64)]) {
        let plan = &self.shared.plan;
        let (closed, verify) = (plan.producers.arrivals.is_closed(), plan.verify != VerifyMode::None);
        let batch_records = u64::from(plan.producers.batch_records);
        let producer = &mut self.producers[index];
        if producer.free.is_empty() {
            producer.unblocked_ns = now_ns;
        }
        let request_bytes = producer.request_bytes() as u64;
        let Some(slot) = producer.on_answered() else { return };
        let (intended_ns, written_ns) = (slot.intended_ns, slot.written_ns);
        let mut acked = 0;
        for batch in &slot.batches {
            let answer = parts.iter().find(|(partition, ..)| *partition == batch.partition as i32);
            let error = match answer {
                Some((_, 0, base_offset)) => {
                    if verify {
                        self.events.push(Event::Acked { batch: *batch, base_offset: *base_offset });
                    }
                    acked += 1;
                    continue;
                }
                Some((_, error, _)) => *error,
                None if parts.is_empty() => {
                    acked += 1;
                    continue;
                }
                // Left out of the answer: neither refused nor acknowledged.
                None => -1,
            };
            *self.errors.entry(error).or_default() += 1;
            self.part.errors += 1;
        }
        self.in_flight -= 1;
        self.part.acked += acked * batch_records;
        let service_ns = now_ns - written_ns;
        let latency_ns = if closed { service_ns } else { now_ns - intended_ns };
        record(&mut self.part.produce, latency_ns);
        if self.phase == Phase::Measure {
            self.total.acked_requests += u64::from(acked > 0);
            self.total.acked_batches += acked;
            self.total.produce_wire_bytes += request_bytes;
        }
        let belongs_ns = if closed { written_ns } else { intended_ns };
        if self.in_window(belongs_ns) {
            record(&mut self.total.produce_service, service_ns);
            if !closed {
                record(&mut self.total.produce_response, latency_ns);
            }
            self.total.slow.record(belongs_ns, latency_ns);
        }
    }

    fn on_records(&mut self, index: usize, into: Vec<u8>, count: usize, now_ns: u64) -> Result<(), Broken> {
        let plan = &self.shared.plan;
        let closed = plan.producers.arrivals.is_closed();
        let judge = Judge {
            pool: &self.shared.pool,
            run: self.shared.run,
            verify: plan.verify,
            tolerate_foreign: self.shared.tolerate_foreign,
        };
        let absolute_ns = self.start.0 + now_ns;
        let consumer = &mut self.consumers[index];
        let mut reading = Reading::new(judge, absolute_ns, &mut self.events, &mut self.samples);
        consumer
            .on_bytes(&into[..count], &mut reading)
            .map_err(|error| format!("consumer {index}: {error}"))?;
        let (responses, bytes) = (u64::from(reading.responses), reading.response_bytes);
        let (empty, error) = (u64::from(reading.empty), reading.error);
        let operation = Operation::ReceiveInto { socket: consumer.socket.clone(), into, filled: 0 };
        self.engine.submit(token(What::ConsumerReceive, index), operation);
        if self.phase == Phase::Measure {
            self.total.fetches += responses;
            self.total.fetches_empty += empty;
            self.total.fetch_wire_bytes += bytes;
        }
        let catches_up = self.catches_up(index);
        for sample in std::mem::take(&mut self.samples).drain(..) {
            if catches_up {
                // How old it was when it was read says how long it lay there, nothing of the broker.
                self.part.catch_up += u64::from(sample.records);
                if self.phase == Phase::Measure {
                    self.total.catch_up_records += u64::from(sample.records);
                }
                continue;
            }
            self.part.consumed += u64::from(sample.records);
            if self.phase == Phase::Measure {
                self.total.consumed_records += u64::from(sample.records);
            }
            let service_ns = absolute_ns.saturating_sub(sample.written_ns);
            let response_ns = absolute_ns.saturating_sub(sample.intended_ns);
            record(&mut self.part.e2e, if closed { service_ns } else { response_ns });
            let belongs_ns = if closed { sample.written_ns } else { sample.intended_ns };
            if self.in_window(belongs_ns.wrapping_sub(self.start.0)) {
                record(&mut self.total.e2e_service, service_ns);
                if !closed {
                    record(&mut self.total.e2e_response, response_ns);
                }
            }
        }
        if let Some(error) = error {
            *self.errors.entry(error).or_default() += 1;
            self.part.errors += 1;
        }
        if responses > 0 {
            match error {
                Some(_) => self.consumers[index].retry_ns = Some(now_ns + RETRY_NS),
                None => self.ask(index, now_ns),
            }
        }
        Ok(())
    }

    pub(super) fn ask(&mut self, index: usize, now_ns: u64) {
        let consumer = &mut self.consumers[index];
        let bytes = consumer.ask(&self.shared.plan, now_ns);
        let operation = Operation::Send { socket: consumer.socket.clone(), bytes, from: 0 };
        self.engine.submit(token(What::ConsumerSend, index), operation);
    }
}
