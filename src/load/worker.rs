//! One pinned thread of the generator: producer and consumer connections on one engine.
//!
//! In: roles, the shared schedule of phases. Out: a `Part` per second, a `Total` at the end, events for the ledger.
//! One turn takes all completions, reads the clock once, applies them, hands over everything that is due, and locks the
//! ledger once. That reading is the time of every sample of the turn; the longest turn bounds their error.

mod completion;
mod part;

pub use part::{Part, Report, Total};

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Mutex, OnceLock};

use crate::clock::Instant;
use crate::load::batch_pool::{BatchPool, Fields, Stamp};
use crate::load::consumer::{self, Consumer, Sample};
use crate::load::outcome::{Ended, Phase};
use crate::load::plan::Plan;
use crate::load::producer::{self, Producer};
use crate::load::schedule::Schedule;
use crate::load::verify::{Event, Ledger};
use crate::load::worker::part::{CoreTime, PartSums, record};
use crate::reactor::choice::Kind;
use crate::reactor::ring::RingOptions;
use crate::reactor::{Completion, Done, Engine, Operation, Socket, Token, Wait};

const SECOND_NS: u64 = 1_000_000_000;
/// More schedule waiting than this ends the run as overloaded.
const WAITING_MAX_NS: u64 = 10 * SECOND_NS;
/// After an error of a fetch.
const RETRY_NS: u64 = 20_000_000;
/// One look at the clock while polling takes well below a microsecond.
const SPIN_STEP_NS_MAX: u64 = 20_000;
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
    /// The end of the warm-up. Moves back once at most, to a boundary that no worker has reached.
    pub window_start_ns: AtomicU64,
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
    pub fn window_start_ns(&self) -> u64 {
        self.window_start_ns.load(Ordering::Acquire)
    }

    /// Ends the window early. The first reason stays.
    pub fn cut(&self, at_ns: u64, why: Ended) {
        let mut ended = self.ended.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if ended.is_none() {
            self.window_end_ns.fetch_min(at_ns.max(self.window_start_ns()), Ordering::AcqRel);
            self.cut.store(true, Ordering::Release);
            *ended = Some(why);
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
    sent_bytes_at_window_start: u64,
    window_bytes: u64,
    issued: u64,
    in_flight: u64,
    spin_ns: u64,
    turns: u64,
    turn_ns_max: u64,
    core_time: CoreTime,
    core_time_at_window_start: Option<(u64, u64)>,
    spin_at_window_start: u64,
    written_reported: bool,
}

/// Roles of one worker.
#[derive(Clone, Debug, Default)]
pub struct Roles {
    pub producers: Vec<producer::Role>,
    pub consumers: Vec<consumer::Role>,
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
        let core_time = CoreTime::new();
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
            part: PartSums::new(0, core_time.ns().map(|(cpu_ns, _)| cpu_ns)),
            phase: Phase::Warmup,
            boundary_ns: 0,
            phase_start_ns: 0,
            turn: 0,
            sent_bytes: 0,
            sent_bytes_max: plan.bytes_max.map_or(u64::MAX, |bytes| bytes.div_ceil(workers.max(1))),
            sent_bytes_at_window_start: 0,
            window_bytes: plan.window_bytes.map_or(u64::MAX, |bytes| bytes.div_ceil(workers.max(1))),
            issued: 0,
            in_flight: 0,
            spin_ns: 0,
            turns: 0,
            turn_ns_max: 0,
            core_time,
            core_time_at_window_start: None,
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
        self.part = PartSums::new(0, self.core_time.ns().map(|(cpu_ns, _)| cpu_ns));
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
            if !self.shared.plan.turn_delay.is_zero() {
                self.dawdle(now);
            }
            let turn_ns = self.engine.now().since(now).as_nanos() as u64;
            self.turns += 1;
            self.turn_ns_max = self.turn_ns_max.max(turn_ns);
        }
    }

    /// A generator that is too slow, for the rig's test of itself.
    #[cold]
    fn dawdle(&self, since: Instant) {
        while self.engine.now().since(since) < self.shared.plan.turn_delay {
            std::hint::spin_loop();
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
            if !self.is_held(index) {
                self.ask(index, 0);
            }
        }
    }

    /// Whether a reader belongs to a group that is held back for now.
    fn is_held(&self, index: usize) -> bool {
        self.catches_up(index) && self.phase < self.shared.plan.consumers.held_until
    }

    fn catches_up(&self, index: usize) -> bool {
        let consumers = &self.shared.plan.consumers;
        u32::from(self.consumers[index].group) >= consumers.groups - consumers.held_groups
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
                let now_ns = self.engine.now().since(self.start).as_nanos() as u64;
                // In a longer step something else had the core: no CPU of ours was spent on it.
                if now_ns - last < SPIN_STEP_NS_MAX {
                    self.spin_ns += now_ns - last;
                }
                last = now_ns;
            }
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
        let (window_start, window_end) = (self.shared.window_start_ns(), self.window_end_ns());
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
            let core_time = self.core_time.ns();
            let cpu_ns = core_time.map(|(cpu_ns, _)| cpu_ns);
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
                    catch_up_records: part.catch_up,
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
                self.release(before, end_ns);
                self.on_phase(before, core_time);
            }
        }
    }

    /// The groups that were held back begin to read.
    fn release(&mut self, before: Phase, now_ns: u64) {
        let until = self.shared.plan.consumers.held_until;
        if before < until && self.phase >= until {
            for index in (0..self.consumers.len()).filter(|index| self.catches_up(*index)).collect::<Vec<_>>()
            {
                self.ask(index, now_ns);
            }
        }
    }

    fn on_phase(&mut self, before: Phase, core_time: Option<(u64, u64)>) {
        if self.phase == Phase::Measure {
            self.sent_bytes_at_window_start = self.sent_bytes;
            if self.shared.plan.until_steady {
                let end_ns = self.window_end_ns();
                self.producers.iter_mut().for_each(|producer| producer.schedule.end_at(end_ns));
            }
            self.core_time_at_window_start = core_time;
            self.spin_at_window_start = self.spin_ns;
            (self.turns, self.turn_ns_max) = (0, 0);
        } else if before == Phase::Measure {
            let used = core_time.zip(self.core_time_at_window_start);
            self.total.cpu_ns = used.map(|(now, then)| now.0.saturating_sub(then.0));
            self.total.core_wait_ns = used.map(|(now, then)| now.1.saturating_sub(then.1));
            self.total.spin_ns = self.spin_ns - self.spin_at_window_start;
            (self.total.turns, self.total.turn_ns_max) = (self.turns, self.turn_ns_max);
        }
    }

    fn in_window(&self, ns: u64) -> bool {
        ns >= self.shared.window_start_ns() && ns < self.window_end_ns()
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
        } else if self.phase == Phase::Measure
            && self.sent_bytes - self.sent_bytes_at_window_start >= self.window_bytes
        {
            self.shared.cut(now_ns, Ended::WorkDone);
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
pub fn engine(kind: Kind) -> io::Result<Box<dyn Engine>> {
    let (receive_slots, receive_slot_bytes) = (2, 4096);
    kind.engine(RingOptions { entries: 512, receive_slots, receive_slot_bytes, workers_max: 2 })
}

#[cfg(test)]
mod tests;
