//! One pinned thread of the generator: producer and consumer connections on one engine.
//!
//! In: roles, the shared schedule of phases. Out: a `Part` per second, a `Total` at the end, events for the ledger.
//! One turn takes all completions, reads the clock once, applies them, hands over everything that is due, and locks the
//! ledger once. That reading is the time of every sample of the turn; the longest turn bounds their error.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Mutex, OnceLock};

use crate::clock::Instant;
use crate::load::batch_pool::{BatchPool, Fields, Stamp};
use crate::load::consumer::{self, Consumer, Judge, Reading, Sample};
use crate::load::outcome::{Ended, Histogram, Phase, histogram};
use crate::load::plan::{Plan, VerifyMode};
use crate::load::producer::{self, Producer};
use crate::load::schedule::Schedule;
use crate::load::verify::{Event, Ledger};
use crate::metrics::slow::SlowSamples;
use crate::reactor::{Completion, Done, Engine, Operation, Socket, Token, Wait, Waker};
use crate::wire::frame::{self, Front};

const SECOND_NS: u64 = 1_000_000_000;
/// More schedule waiting than this ends the run as overloaded.
const WAITING_MAX_NS: u64 = 10 * SECOND_NS;
/// After an error of a fetch.
const RETRY_NS: u64 = 20_000_000;
/// Slow requests kept to tell stalls apart.
const SLOW_KEPT: usize = 16 * 1024;
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// What all workers and the thread that started them share.
pub struct Shared {
    pub plan: Plan,
    pub pool: BatchPool,
    pub run: u32,
    pub produce_version: i16,
    pub fetch_version: i16,
    /// The zero of all times; set when every worker is ready.
    pub start: OnceLock<Instant>,
    pub window_start_ns: u64,
    /// Moves forward only: to an early end.
    pub window_end_ns: AtomicU64,
    /// The window was cut short: what is due and not written is left out.
    pub cut: AtomicBool,
    /// Everybody stops at once.
    pub give_up: AtomicBool,
    pub ended: Mutex<Option<Ended>>,
    /// Where each partition ends, once nobody writes any more.
    pub ends: OnceLock<Vec<i64>>,
    pub ledger: Mutex<Ledger>,
    /// Batches of other runs are passed over.
    pub tolerate_foreign: bool,
}

impl Shared {
    /// Ends the window early. The first reason stays.
    pub fn cut(&self, at_ns: u64, why: Ended) {
        let mut ended = self.ended.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if ended.is_none() {
            self.window_end_ns.fetch_min(at_ns.max(self.window_start_ns), Ordering::AcqRel);
            self.cut.store(true, Ordering::Release);
            *ended = Some(why);
        }
    }
}

/// What a worker tells the thread that started it.
pub enum Report {
    /// All connections stand.
    Ready(Waker),
    Part(Box<Part>),
    /// Every request has been written and answered.
    Written,
    Done(Box<Total>),
}

/// One second, or the rest of a phase, of one worker.
pub struct Part {
    pub phase: Phase,
    pub start_ns: u64,
    pub end_ns: u64,
    pub sent_records: u64,
    pub acked_records: u64,
    pub consumed_records: u64,
    pub errors: u64,
    pub in_flight: u64,
    /// Requests written since the start, of the first loop's connections to the last.
    pub issued_requests: u64,
    pub produce: Histogram,
    pub e2e: Histogram,
    pub cpu_ns: Option<u64>,
}

/// The measured window of one worker.
pub struct Total {
    pub produce_response: Histogram,
    pub produce_service: Histogram,
    pub schedule_lag: Histogram,
    pub own_lag: Histogram,
    pub e2e_response: Histogram,
    pub e2e_service: Histogram,
    pub slow: SlowSamples,
    pub acked_requests: u64,
    pub acked_batches: u64,
    pub produce_wire_bytes: u64,
    /// By all groups together.
    pub consumed_records: u64,
    pub fetch_wire_bytes: u64,
    pub fetches: u64,
    pub fetches_empty: u64,
    pub errors: BTreeMap<i16, u64>,
    pub cpu_ns: Option<u64>,
    pub spin_ns: u64,
    pub turns: u64,
    pub turn_ns_max: u64,
    /// All of this worker's readers reached the end.
    pub complete: bool,
}

impl Total {
    fn new() -> Total {
        Total {
            produce_response: histogram(),
            produce_service: histogram(),
            schedule_lag: histogram(),
            own_lag: histogram(),
            e2e_response: histogram(),
            e2e_service: histogram(),
            slow: SlowSamples::new(SLOW_KEPT),
            acked_requests: 0,
            acked_batches: 0,
            produce_wire_bytes: 0,
            consumed_records: 0,
            fetch_wire_bytes: 0,
            fetches: 0,
            fetches_empty: 0,
            errors: BTreeMap::new(),
            cpu_ns: None,
            spin_ns: 0,
            turns: 0,
            turn_ns_max: 0,
            complete: false,
        }
    }
}

/// What connects a worker's completions with its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    ProducerConnect,
    ProducerReceive,
    ProducerSend,
    ConsumerConnect,
    ConsumerReceive,
    ConsumerSend,
}

const WHATS: [What; 6] = [
    What::ProducerConnect,
    What::ProducerReceive,
    What::ProducerSend,
    What::ConsumerConnect,
    What::ConsumerReceive,
    What::ConsumerSend,
];

fn token(what: What, index: usize) -> Token {
    Token((what as u64) << 32 | index as u64)
}

fn named(token: Token) -> Option<(What, usize)> {
    Some((*WHATS.get((token.0 >> 32) as usize)?, (token.0 & 0xffff_ffff) as usize))
}

/// Why a worker cannot go on. It ends the whole run.
pub type Broken = String;

pub struct Worker<'a> {
    shared: &'a Shared,
    engine: &'a mut dyn Engine,
    reports: Sender<Report>,
    start: Instant,
    producers: Vec<Producer>,
    consumers: Vec<Consumer>,
    /// Connections that could write and have nothing due, by when they have.
    due: BinaryHeap<Reverse<(u64, u32)>>,
    events: Vec<Event>,
    samples: Vec<Sample>,
    total: Total,
    /// Since the start of the worker, window or not.
    errors: BTreeMap<i16, u64>,
    part: PartSums,
    phase: Phase,
    boundary_ns: u64,
    phase_start_ns: u64,
    turn: u64,
    sent_bytes: u64,
    sent_bytes_max: u64,
    issued: u64,
    in_flight: u64,
    spin_ns: u64,
    turns: u64,
    turn_ns_max: u64,
    cpu: Cpu,
    cpu_at_window_start: Option<u64>,
    spin_at_window_start: u64,
    written_reported: bool,
}

struct PartSums {
    start_ns: u64,
    sent: u64,
    acked: u64,
    consumed: u64,
    errors: u64,
    produce: Histogram,
    e2e: Histogram,
    cpu_ns: Option<u64>,
}

impl PartSums {
    fn new(start_ns: u64, cpu_ns: Option<u64>) -> PartSums {
        PartSums {
            start_ns,
            sent: 0,
            acked: 0,
            consumed: 0,
            errors: 0,
            produce: histogram(),
            e2e: histogram(),
            cpu_ns,
        }
    }
}

/// CPU time of the calling thread, from the scheduler's own count.
struct Cpu(Option<std::fs::File>);

impl Cpu {
    fn new() -> Cpu {
        Cpu(std::fs::File::open("/proc/thread-self/schedstat").ok())
    }

    fn ns(&self) -> Option<u64> {
        let mut text = [0u8; 96];
        let count = self.0.as_ref()?.read_at(&mut text, 0).ok()?;
        std::str::from_utf8(&text[..count]).ok()?.split_ascii_whitespace().next()?.parse().ok()
    }
}

/// Roles of one worker.
#[derive(Clone, Debug, Default)]
pub struct Roles {
    pub producers: Vec<producer::Role>,
    pub consumers: Vec<consumer::Role>,
}

fn record(histogram: &mut Histogram, ns: u64) {
    histogram.record(ns).expect("a histogram that resizes itself takes every value");
}

impl<'a> Worker<'a> {
    /// Connects everything.
    pub fn connect(
        shared: &'a Shared,
        engine: &'a mut dyn Engine,
        roles: Roles,
        workers: u64,
        reports: Sender<Report>,
    ) -> Result<Worker<'a>, Broken> {
        let plan = &shared.plan;
        let horizon = plan.warmup + plan.duration;
        let socket = |send: usize, receive: usize| {
            Socket::tcp(&plan.address, Some(send), Some(receive))
                .map_err(|error| format!("a socket: {error}"))
        };
        let mut producers = Vec::with_capacity(roles.producers.len());
        for role in roles.producers {
            let schedule = Schedule::new(&plan.producers, u32::from(role.id), horizon, plan.seed);
            let socket = socket(SEND_BUFFER_BYTES, 64 << 10)?;
            let producer = Producer::new(role, socket, schedule, plan, &shared.pool, shared.produce_version);
            producers.push(producer);
        }
        let mut consumers = Vec::with_capacity(roles.consumers.len());
        for role in roles.consumers {
            let socket = socket(64 << 10, RECEIVE_BUFFER_BYTES)?;
            consumers.push(Consumer::new(role, socket, plan, &shared.pool, shared.fetch_version));
        }
        let cpu = Cpu::new();
        let mut worker = Worker {
            start: engine.now(),
            shared,
            engine,
            reports,
            producers,
            consumers,
            due: BinaryHeap::new(),
            events: Vec::with_capacity(4096),
            samples: Vec::with_capacity(4096),
            total: Total::new(),
            errors: BTreeMap::new(),
            part: PartSums::new(0, cpu.ns()),
            phase: Phase::Warmup,
            boundary_ns: 0,
            phase_start_ns: 0,
            turn: 0,
            sent_bytes: 0,
            sent_bytes_max: plan.bytes_max.map_or(u64::MAX, |bytes| bytes.div_ceil(workers.max(1))),
            issued: 0,
            in_flight: 0,
            spin_ns: 0,
            turns: 0,
            turn_ns_max: 0,
            cpu,
            cpu_at_window_start: None,
            spin_at_window_start: 0,
            written_reported: false,
        };
        worker.connect_all()?;
        Ok(worker)
    }

    fn connect_all(&mut self) -> Result<(), Broken> {
        let address = self.shared.plan.address;
        let producers = self.producers.iter().map(|producer| producer.socket.clone());
        let consumers = self.consumers.iter().map(|consumer| consumer.socket.clone());
        let all =
            producers.enumerate().map(|(index, socket)| (token(What::ProducerConnect, index), socket)).chain(
                consumers.enumerate().map(|(index, socket)| (token(What::ConsumerConnect, index), socket)),
            );
        let all: Vec<(Token, Socket)> = all.collect();
        let deadline = self.engine.now().after(self.shared.plan.answer_max);
        let mut completions = Vec::new();
        // Not more at a time than a listener's queue takes.
        for group in all.chunks(64) {
            for (token, socket) in group {
                self.engine.submit(*token, Operation::Connect { socket: socket.clone(), address });
            }
            let mut left = group.len();
            while left > 0 {
                self.turn_of_engine(Wait::Until(deadline), &mut completions)?;
                for completion in completions.drain(..) {
                    match completion.done {
                        Done::Connected(Ok(())) => left -= 1,
                        Done::Connected(Err(error)) => {
                            return Err(format!("connecting to {address}: {error}"));
                        }
                        _ => {}
                    }
                }
                if left > 0 && self.engine.now() >= deadline {
                    return Err(format!("connecting to {address}: no answer"));
                }
            }
        }
        Ok(())
    }

    fn turn_of_engine(&mut self, wait: Wait, completions: &mut Vec<Completion>) -> Result<(), Broken> {
        self.engine.turn(wait, completions).map_err(|error| format!("the engine: {error}"))
    }

    /// The whole run of this worker, from the common start on.
    pub fn run(mut self) -> Result<(), Broken> {
        // Nobody may be gone: the receiver lives until all workers have ended.
        let _ = self.reports.send(Report::Ready(self.engine.waker()));
        let mut completions = Vec::with_capacity(1024);
        self.start = loop {
            if let Some(start) = self.shared.start.get() {
                break *start;
            }
            if self.shared.give_up.load(Ordering::Acquire) {
                return Ok(());
            }
            let soon = self.engine.now().after_ms(5);
            self.turn_of_engine(Wait::Until(soon), &mut completions)?;
            completions.clear();
        };
        while self.engine.now() < self.start {
            std::hint::spin_loop();
        }
        self.set_boundary(0);
        self.part = PartSums::new(0, self.cpu.ns());
        self.begin();
        let result = self.turns(&mut completions);
        // Also what was measured until a connection broke is worth keeping.
        self.end();
        result
    }

    fn turns(&mut self, completions: &mut Vec<Completion>) -> Result<(), Broken> {
        loop {
            let wait = self.wait();
            self.turn_of_engine(wait, completions)?;
            let now = self.engine.now();
            let now_ns = now.since(self.start).as_nanos() as u64;
            self.turn += 1;
            self.advance(now_ns);
            for completion in completions.drain(..) {
                self.on_completion(completion, now_ns)?;
            }
            self.issue_due(now_ns);
            self.flush_events();
            if self.is_done(now_ns)? {
                return Ok(());
            }
            let turn_ns = self.engine.now().since(now).as_nanos() as u64;
            self.turns += 1;
            self.turn_ns_max = self.turn_ns_max.max(turn_ns);
        }
    }

    fn begin(&mut self) {
        for index in 0..self.producers.len() {
            let producer = &mut self.producers[index];
            let into = std::mem::take(&mut producer.input);
            let socket = producer.socket.clone();
            if producer::is_answered(self.shared.plan.producers.acks) {
                self.engine.submit(
                    token(What::ProducerReceive, index),
                    Operation::ReceiveInto { socket, into, filled: 0 },
                );
            }
            self.try_issue(index, 0);
        }
        for index in 0..self.consumers.len() {
            let consumer = &mut self.consumers[index];
            let into = std::mem::take(&mut consumer.input);
            let socket = consumer.socket.clone();
            self.engine.submit(
                token(What::ConsumerReceive, index),
                Operation::ReceiveInto { socket, into, filled: 0 },
            );
            self.ask(index, 0);
        }
    }

    /// How long to sleep: until the next request is due, or the next second ends.
    fn wait(&mut self) -> Wait {
        let next = self.due.peek().map_or(u64::MAX, |Reverse((due, _))| *due);
        let retry = self.consumers.iter().filter_map(|consumer| consumer.retry_ns).min().unwrap_or(u64::MAX);
        let until = next.min(self.boundary_ns).min(retry);
        let at = |ns| Instant(self.start.0 + ns);
        let spin = self.shared.plan.spin.as_nanos() as u64;
        if next == until {
            let now_ns = self.engine.now().since(self.start).as_nanos() as u64;
            if now_ns.saturating_add(spin) < next {
                return Wait::Until(at(next - spin));
            }
            // A sleeping thread would wake too late for this one.
            let mut last = now_ns;
            while last < next && !self.engine.ready() {
                for _ in 0..16 {
                    std::hint::spin_loop();
                }
                last = self.engine.now().since(self.start).as_nanos() as u64;
            }
            self.spin_ns += last - now_ns;
            return Wait::Poll;
        }
        Wait::Until(at(until))
    }

    // ---- time -----------------------------------------------------------------------------------------------------

    fn window_end_ns(&self) -> u64 {
        self.shared.window_end_ns.load(Ordering::Acquire)
    }

    /// The end of the second or phase that begins at `start_ns`.
    fn set_boundary(&mut self, start_ns: u64) {
        let (window_start, window_end) = (self.shared.window_start_ns, self.window_end_ns());
        (self.phase, self.boundary_ns) = if start_ns < window_start {
            (Phase::Warmup, (start_ns + SECOND_NS).min(window_start))
        } else if start_ns < window_end {
            (Phase::Measure, (start_ns + SECOND_NS).min(window_end))
        } else {
            (Phase::Drain, start_ns + SECOND_NS)
        };
    }

    /// Closes the seconds and phases that have ended by now.
    fn advance(&mut self, now_ns: u64) {
        if self.phase == Phase::Measure {
            self.boundary_ns = self.boundary_ns.min(self.window_end_ns().max(self.part.start_ns));
        }
        while now_ns >= self.boundary_ns {
            let end_ns = self.boundary_ns;
            let cpu_ns = self.cpu.ns();
            let next = PartSums::new(end_ns, cpu_ns);
            let part = std::mem::replace(&mut self.part, next);
            let before = self.phase;
            if end_ns > part.start_ns {
                // The receiver lives until all workers have ended.
                let _ = self.reports.send(Report::Part(Box::new(Part {
                    phase: before,
                    start_ns: part.start_ns,
                    end_ns,
                    sent_records: part.sent,
                    acked_records: part.acked,
                    consumed_records: part.consumed,
                    errors: part.errors,
                    in_flight: self.in_flight,
                    issued_requests: self.issued,
                    produce: part.produce,
                    e2e: part.e2e,
                    cpu_ns: cpu_ns.zip(part.cpu_ns).map(|(now, then)| now.saturating_sub(then)),
                })));
            }
            self.set_boundary(end_ns);
            if self.phase != before {
                self.phase_start_ns = end_ns;
                self.on_phase(before, cpu_ns);
            }
        }
    }

    fn on_phase(&mut self, before: Phase, cpu_ns: Option<u64>) {
        if self.phase == Phase::Measure {
            self.cpu_at_window_start = cpu_ns;
            self.spin_at_window_start = self.spin_ns;
            (self.turns, self.turn_ns_max) = (0, 0);
        } else if before == Phase::Measure {
            self.total.cpu_ns =
                cpu_ns.zip(self.cpu_at_window_start).map(|(now, then)| now.saturating_sub(then));
            self.total.spin_ns = self.spin_ns - self.spin_at_window_start;
            (self.total.turns, self.total.turn_ns_max) = (self.turns, self.turn_ns_max);
        }
    }

    fn in_window(&self, ns: u64) -> bool {
        ns >= self.shared.window_start_ns && ns < self.window_end_ns()
    }

    // ---- completions ----------------------------------------------------------------------------------------------

    fn on_completion(&mut self, completion: Completion, now_ns: u64) -> Result<(), Broken> {
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
        for sample in std::mem::take(&mut self.samples).drain(..) {
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

    fn ask(&mut self, index: usize, now_ns: u64) {
        let consumer = &mut self.consumers[index];
        let bytes = consumer.ask(&self.shared.plan, now_ns);
        let operation = Operation::Send { socket: consumer.socket.clone(), bytes, from: 0 };
        self.engine.submit(token(What::ConsumerSend, index), operation);
    }

    // ---- requests -------------------------------------------------------------------------------------------------

    /// Hands over what has become due, and repeats fetches that met an error.
    fn issue_due(&mut self, now_ns: u64) {
        while let Some(Reverse((due, index))) = self.due.peek().copied()
            && due <= now_ns
        {
            self.due.pop();
            self.producers[index as usize].queued = false;
            self.try_issue(index as usize, now_ns);
        }
        for index in 0..self.consumers.len() {
            if self.consumers[index].retry_ns.is_some_and(|at| at <= now_ns) {
                self.ask(index, now_ns);
            }
        }
    }

    /// Writes the next request of a connection if one is due and can be written; otherwise remembers when it is due.
    fn try_issue(&mut self, index: usize, now_ns: u64) {
        let producer = &mut self.producers[index];
        if !producer.is_able() || self.shared.cut.load(Ordering::Relaxed) {
            return;
        }
        let intended_ns = if self.shared.plan.producers.arrivals.is_closed() {
            if self.phase == Phase::Drain {
                return;
            }
            now_ns
        } else {
            match producer.schedule.peek() {
                None => return,
                Some(due) if due > now_ns => {
                    if !producer.queued {
                        producer.queued = true;
                        self.due.push(Reverse((due, index as u32)));
                    }
                    return;
                }
                Some(due) => {
                    producer.schedule.take();
                    due
                }
            }
        };
        self.issue(index, intended_ns, now_ns);
    }

    fn issue(&mut self, index: usize, intended_ns: u64, now_ns: u64) {
        let closed = self.shared.plan.producers.arrivals.is_closed();
        let in_window = self.in_window(intended_ns);
        let producer = &mut self.producers[index];
        if !closed && in_window {
            let lag_ns = now_ns - intended_ns;
            record(&mut self.total.schedule_lag, lag_ns);
            if producer.unblocked_ns < intended_ns {
                record(&mut self.total.own_lag, lag_ns);
            }
        }
        let fields = Fields {
            timestamp_ms: self.engine.wall().0,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
        };
        let stamp = Stamp {
            run: self.shared.run,
            intended_ns: self.start.0 + intended_ns,
            written_ns: self.start.0 + now_ns,
            ..Stamp::default()
        };
        let bytes = producer.fill(&self.shared.pool, fields, stamp, intended_ns, now_ns, self.turn);
        let operation = Operation::Send { socket: producer.socket.clone(), bytes, from: 0 };
        self.engine.submit(token(What::ProducerSend, index), operation);
        let records = self.shared.plan.producers.request_records();
        self.part.sent += records;
        self.issued += 1;
        self.in_flight += 1;
        self.sent_bytes += records * u64::from(self.shared.plan.producers.record_bytes);
        if self.sent_bytes >= self.sent_bytes_max {
            self.shared.cut(now_ns, Ended::BytesMax);
        } else if now_ns - intended_ns > WAITING_MAX_NS {
            self.shared.cut(now_ns, Ended::Overloaded);
        }
    }

    fn flush_events(&mut self) {
        if self.events.is_empty() {
            return;
        }
        let mut ledger = self.shared.ledger.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        for event in self.events.drain(..) {
            ledger.apply(event);
        }
    }

    // ---- the end --------------------------------------------------------------------------------------------------

    /// Whether this worker has nothing left to do.
    fn is_done(&mut self, now_ns: u64) -> Result<bool, Broken> {
        if self.shared.give_up.load(Ordering::Acquire) {
            return Ok(true);
        }
        if self.phase != Phase::Drain {
            return self.check_answers(now_ns).map(|()| false);
        }
        if !self.written_reported {
            let cut = self.shared.cut.load(Ordering::Acquire);
            let written = self.in_flight == 0
                && self.producers.iter().all(|producer| {
                    producer.sending.is_none() && (cut || producer.schedule.peek().is_none())
                });
            if !written {
                return self.check_answers(now_ns).map(|()| false);
            }
            self.written_reported = true;
            // The receiver lives until all workers have ended.
            let _ = self.reports.send(Report::Written);
        }
        self.check_answers(now_ns)?;
        let Some(ends) = self.shared.ends.get() else { return Ok(false) };
        self.total.complete = self.consumers.iter().all(|consumer| consumer.has_reached(ends));
        Ok(self.total.complete)
    }

    /// A broker that has stopped answering ends the run. Looked at once a second, when the boundary has just moved.
    fn check_answers(&self, now_ns: u64) -> Result<(), Broken> {
        if now_ns - self.part.start_ns > SECOND_NS / 100 {
            return Ok(());
        }
        let max_ns = self.shared.plan.answer_max.as_nanos() as u64;
        for (index, producer) in self.producers.iter().enumerate() {
            if producer.oldest_written_ns().is_some_and(|at| now_ns - at > max_ns) {
                return Err(format!("producer {index}: no answer within {:?}", self.shared.plan.answer_max));
            }
        }
        let fetch_max_ns = max_ns + self.shared.plan.consumers.max_wait.as_nanos() as u64;
        for (index, consumer) in self.consumers.iter().enumerate() {
            if consumer.waiting && now_ns - consumer.asked_ns > fetch_max_ns {
                return Err(format!("consumer {index}: no answer within {:?}", self.shared.plan.answer_max));
            }
        }
        Ok(())
    }

    fn end(mut self) {
        self.flush_events();
        let now_ns = self.engine.now().since(self.start).as_nanos() as u64;
        // The second that is under way ends here.
        self.boundary_ns = self.boundary_ns.min(now_ns.max(self.part.start_ns + 1));
        self.advance(self.boundary_ns);
        for socket in self.sockets() {
            socket.shutdown();
        }
        // What is in flight comes back now that the sockets have ended; the engine must not be dropped before.
        let deadline = self.engine.now().after_ms(1_000);
        let mut completions = Vec::new();
        while self.engine.in_flight() > 0 && self.engine.now() < deadline {
            let until = self.engine.now().after_ms(20);
            if self.engine.turn(Wait::Until(until), &mut completions).is_err() {
                break;
            }
            completions.clear();
        }
        self.total.errors = self.errors;
        // The receiver lives until all workers have ended.
        let _ = self.reports.send(Report::Done(Box::new(self.total)));
    }

    fn sockets(&self) -> Vec<Socket> {
        let producers = self.producers.iter().map(|producer| producer.socket.clone());
        producers.chain(self.consumers.iter().map(|consumer| consumer.socket.clone())).collect()
    }
}

/// Socket buffers: whole in-flight windows of default batches fit, so that a write seldom waits for the reader's core.
const SEND_BUFFER_BYTES: usize = 512 << 10;
const RECEIVE_BUFFER_BYTES: usize = 1 << 20;

/// Makes the engine of a worker. Its own memory is small: the workers bring their buffers along.
pub fn engine() -> io::Result<crate::reactor::ring::RingEngine> {
    crate::reactor::ring::RingEngine::new(crate::reactor::ring::RingOptions {
        entries: 512,
        receive_slots: 2,
        receive_slot_bytes: 4096,
        workers_max: 2,
    })
}

#[cfg(test)]
mod tests {
    //! A worker in simulated time: the engine is a broker with a given capacity that pauses once.

    use super::*;
    use crate::clock::WallMs;
    use crate::load::batch_pool::Shape;
    use crate::load::plan::{Arrivals, Consumers};
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
                waker: engine().unwrap().waker(),
            }
        }

        fn on_request(&mut self, index: usize, bytes: &[u8]) {
            let mut done_ns = self.free_ns.max(self.now_ns.get()) + self.service_ns;
            if self.pause.contains(&done_ns) {
                done_ns = self.pause.end + self.service_ns;
            }
            self.free_ns = done_ns;
            let answer =
                ProduceResponsePartitionResponse { base_offset: self.base_offset, ..Default::default() };
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
                    Operation::Connect { .. } => {
                        out.push(Completion { token, done: Done::Connected(Ok(())) })
                    }
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
            window_start_ns: 0,
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
        assert!(
            (ms(&total.produce_response, 0.99) - 110.0).abs() < 2.0,
            "{}",
            ms(&total.produce_response, 0.99)
        );
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
}
