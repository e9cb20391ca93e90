//! A worker in simulated time: the engine is a broker with a given capacity that pauses once.

use super::*;
use crate::clock::WallMs;
use crate::load::batch_pool::Shape;
use crate::load::outcome::Histogram;
use crate::load::plan::{Arrivals, Consumers};
use crate::reactor::Waker;
use crate::reactor::{Disk, File, OsDisk};
use crate::wire::header::put_response;
use crate::wire::message::produce::{
    ProduceResponse, ProduceResponsePartitionResponse, ProduceResponseResult,
};
use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::mpsc::channel;
use std::time::Duration;

const START_NS: u64 = 1_000_000_000;
/// Where the schedule begins.
const ZERO_NS: u64 = START_NS + 1_000_000;

struct Simulated {
    now_ns: Cell<u64>,
    submitted: Vec<(Token, Operation)>,
    receives: Vec<Option<(Token, Vec<u8>, usize)>>,
    /// When, for which connection, with what.
    answers: VecDeque<(u64, usize, Vec<u8>)>,
    free_ns: u64,
    service_ns: u64,
    pause: std::ops::Range<u64>,
    base_offset: i64,
    waker: Waker,
}

impl Simulated {
    fn new(connections: usize, per_second: u64, pause: std::ops::Range<u64>) -> Simulated {
        Simulated {
            now_ns: Cell::new(START_NS),
            submitted: Vec::new(),
            receives: (0..connections).map(|_| None).collect(),
            answers: VecDeque::new(),
            free_ns: 0,
            service_ns: SECOND_NS / per_second,
            pause: ZERO_NS + pause.start..ZERO_NS + pause.end,
            base_offset: 0,
            waker: Waker::by_event().unwrap(),
        }
    }

    fn on_request(&mut self, index: usize, bytes: &[u8]) {
        let mut done_ns = self.free_ns.max(self.now_ns.get()) + self.service_ns;
        if self.pause.contains(&done_ns) {
            done_ns = self.pause.end + self.service_ns;
        }
        self.free_ns = done_ns;
        let answer = ProduceResponsePartitionResponse { base_offset: self.base_offset, ..Default::default() };
        self.base_offset += 16;
        let body = ProduceResponse {
            responses: vec![ProduceResponseResult {
                name: "bench".into(),
                partition_responses: vec![answer],
            }],
            ..Default::default()
        };
        let mut out = Vec::new();
        let correlation_id = i32::from_be_bytes(bytes[8..12].try_into().unwrap());
        put_response(&mut out, 7, correlation_id, &body);
        self.answers.push_back((done_ns, index, out));
    }
}

impl Engine for Simulated {
    fn submit(&mut self, token: Token, operation: Operation) {
        self.submitted.push((token, operation));
    }

    fn turn(&mut self, wait: Wait, out: &mut Vec<Completion>) -> io::Result<()> {
        for (token, operation) in std::mem::take(&mut self.submitted) {
            let index = (token.0 & 0xffff_ffff) as usize;
            match operation {
                Operation::Connect { .. } => out.push(Completion { token, done: Done::Connected(Ok(())) }),
                Operation::Send { bytes, .. } => {
                    self.on_request(index, &bytes);
                    out.push(Completion { token, done: Done::Sent { bytes, result: Ok(()) } });
                }
                Operation::ReceiveInto { into, filled, .. } => {
                    self.receives[index] = Some((token, into, filled))
                }
                other => panic!("not simulated: {other:?}"),
            }
        }
        if out.is_empty() {
            let next = self.answers.front().map_or(u64::MAX, |answer| answer.0);
            match wait {
                Wait::Poll => {}
                Wait::Until(until) => self.now_ns.set(self.now_ns.get().max(next.min(until.0))),
                Wait::Forever => self.now_ns.set(self.now_ns.get().max(next)),
            }
        }
        while let Some((at, index, _)) = self.answers.front()
            && *at <= self.now_ns.get()
            && let Some((token, mut into, filled)) = self.receives[*index].take()
        {
            let (_, _, bytes) = self.answers.pop_front().unwrap();
            into[filled..filled + bytes.len()].copy_from_slice(&bytes);
            out.push(Completion { token, done: Done::ReceivedInto { into, result: Ok(bytes.len()) } });
        }
        Ok(())
    }

    fn ready(&self) -> bool {
        self.answers.front().is_some_and(|answer| answer.0 <= self.now_ns.get())
    }

    fn in_flight(&self) -> usize {
        0
    }

    fn waker(&self) -> Waker {
        self.waker.clone()
    }

    fn wake(&mut self, target: &Waker) {
        target.wake();
    }

    fn hold(&mut self, _: &File) -> io::Result<()> {
        Ok(())
    }

    fn send_now(&mut self, _: &Socket, _: &[u8], _: bool) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn send_file(&mut self, _: &Socket, _: &File, _: u64, _: usize) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn disk(&self) -> &dyn Disk {
        &OsDisk
    }

    /// Reading the clock takes 100 ns.
    fn now(&self) -> Instant {
        self.now_ns.set(self.now_ns.get() + 100);
        Instant(self.now_ns.get())
    }

    fn wall(&self) -> WallMs {
        WallMs(1)
    }

    fn random(&mut self) -> u64 {
        4
    }
}

/// A 10 s window on a broker that does 10,000 requests a second and pauses from 5.0 to 5.2 s.
fn paused(arrivals: Arrivals) -> (Total, Vec<Part>, u64) {
    let mut plan = Plan { warmup: Duration::ZERO, duration: Duration::from_secs(10), ..Plan::default() };
    plan.producers.record_bytes = 32;
    plan.producers.arrivals = arrivals;
    plan.consumers = Consumers { connections: 0, ..Consumers::default() };
    let shape = Shape { records: 16, record_bytes: 32, random: 1.0 };
    let shared = Shared {
        pool: BatchPool::new(shape, 4, 1),
        run: 1,
        produce_version: 7,
        fetch_version: 11,
        start: OnceLock::from(Instant(ZERO_NS)),
        window_start_ns: AtomicU64::new(0),
        window_end_ns: AtomicU64::new(10 * SECOND_NS),
        cut: AtomicBool::new(false),
        give_up: AtomicBool::new(false),
        ended: Mutex::new(None),
        ends: OnceLock::from(vec![0]),
        ledger: Mutex::new(Ledger::new(1, 4, 1, 16)),
        tolerate_foreign: false,
        plan,
    };
    let role = |id| producer::Role { id, producer_id: -1, producer_epoch: -1 };
    let roles = Roles { producers: (0..4).map(role).collect(), consumers: Vec::new() };
    let mut engine = Simulated::new(4, 10_000, 5 * SECOND_NS..5 * SECOND_NS + 200_000_000);
    let (sender, receiver) = channel();
    Worker::connect(&shared, &mut engine, roles, 1, sender).unwrap().run().unwrap();
    let (mut parts, mut total) = (Vec::new(), None);
    for report in receiver.try_iter() {
        match report {
            Report::Part(part) => parts.push(*part),
            Report::Done(done) => total = Some(*done),
            Report::Ready(_) | Report::Written => {}
        }
    }
    assert_eq!(*shared.ended.lock().unwrap(), None);
    let acked = shared.ledger.lock().unwrap().acked_records();
    (total.unwrap(), parts, acked)
}

fn ms(histogram: &Histogram, quantile: f64) -> f64 {
    histogram.value_at_quantile(quantile) as f64 / 1e6
}

#[test]
fn a_pause_shows_in_the_response_time_as_long_as_it_kept_requests_waiting() {
    // A tenth of the capacity. At quantile q the response is S - (1 - q) T (1 - R/C).
    let (total, parts, acked) = paused(Arrivals::Constant { records_per_s: 16_000.0 });
    assert_eq!((total.produce_response.len(), acked), (10_000, 160_000));
    assert!((ms(&total.produce_response, 0.99) - 110.0).abs() < 2.0, "{}", ms(&total.produce_response, 0.99));
    assert!((ms(&total.produce_response, 0.999) - 191.0).abs() < 2.0);
    assert!(total.produce_response.max() >= 199_000_000);
    // The broker was slow, not the generator.
    assert!(ms(&total.schedule_lag, 0.99) > 50.0);
    assert!(ms(&total.own_lag, 0.999) < 1.0, "{}", ms(&total.own_lag, 0.999));
    // All waited for the same instant: 5.2 s.
    let threshold = total.produce_response.value_at_quantile(0.99);
    for sample in total.slow.samples().iter().filter(|sample| sample.latency_ns > threshold) {
        let end_ns = sample.intended_ns + sample.latency_ns;
        assert!((5_190_000_000..5_260_000_000).contains(&end_ns), "{sample:?}");
    }
    let seconds: Vec<(u64, u64, u64)> =
        parts.iter().map(|part| (part.start_ns / SECOND_NS, part.sent_records, part.errors)).collect();
    assert_eq!(seconds.len(), 11, "ten of the window, and the drain");
    assert!(seconds[..10].iter().enumerate().all(|(n, second)| second.0 == n as u64 && second.2 == 0));
    assert_eq!(seconds.iter().map(|second| second.1).sum::<u64>(), 160_000);
}

#[test]
fn the_closed_loop_hides_the_pause_in_its_maximum() {
    let (total, _, acked) = paused(Arrivals::Closed);
    assert!(acked > 1_500_000, "close to the capacity: {acked}");
    assert!(total.produce_response.is_empty());
    assert!(ms(&total.produce_service, 0.999) < 5.0, "{}", ms(&total.produce_service, 0.999));
    assert!(total.produce_service.max() >= 199_000_000);
}
