//! One run from plan to outcome: topic, workers, phases, drain, verification.
//!
//! In: a `Plan`. Out: an `Outcome`. This thread never touches a sample while the window is open: it sleeps, merges one
//! part per second and worker, and counts what the schedule called for.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use crate::clock::Instant;
use crate::load::batch_pool::{BatchPool, Shape};
use crate::load::control::{self, Control};
use crate::load::outcome::{
    Counts, Ended, Generator, Outcome, Phase, Progress, Second, Verification, histogram,
};
use crate::load::plan::{Acks, Consumers, Plan, VerifyMode};
use crate::load::random::Random;
use crate::load::schedule::Schedule;
use crate::load::verify::Ledger;
use crate::load::worker::{self, Part, Report, Roles, Shared, Total, Worker};
use crate::load::{LoadError, consumer, producer, steady};
use crate::reactor::{Waker, direct, pin};
use crate::wire::version::ApiKey;

/// From the readiness of the last worker to the start of the schedule.
const START_DELAY: Duration = Duration::from_millis(20);
/// On cores of its own the generator goes before all else there.
const GENERATOR_NICE: i32 = -20;
const PRODUCE_VERSIONS: std::ops::RangeInclusive<i16> = 3..=7;
const FETCH_VERSIONS: std::ops::RangeInclusive<i16> = 4..=11;
/// Without an acknowledgement the end of a partition is known when it has not moved for this long.
const SETTLE: Duration = Duration::from_millis(200);

/// Runs the plan to its end: creates the topic, loads, drains, verifies, deletes the topic.
///
/// `progress` is called on the calling thread, when a phase begins and once a second; `Break` ends the run early and
/// in order. The broker's misbehaviour is in the outcome; an error means that there is no outcome.
pub fn run(plan: &Plan, mut progress: impl FnMut(Progress) -> ControlFlow<()>) -> Result<Outcome, LoadError> {
    plan.check()?;
    // A caller that breaks off here gets a short run in order: there is no half-made topic to clean up then.
    let interrupted = progress(Progress::Phase { phase: Phase::Prepare, at_ns: 0 }).is_break();
    let mut control = control::prepare(plan)?;
    let starts = control.offsets(&plan.topic, true)?;
    let mut producers = Vec::with_capacity(plan.producers.connections as usize);
    for id in 0..plan.producers.connections as u16 {
        let (producer_id, producer_epoch) =
            if plan.producers.idempotent { control.producer_id()? } else { (-1, -1) };
        producers.push(producer::Role { id, producer_id, producer_epoch });
    }
    let shared = shared(
        plan,
        &control,
        Ledger::new(
            plan.topic.partitions,
            plan.producers.connections.max(1),
            plan.consumers.groups,
            plan.producers.batch_records,
        ),
        false,
    )?;
    let roles = deal(plan, &producers, &starts);
    let mut run = Run::new(&shared, roles.len());
    run.interrupted = interrupted;
    let result = run.drive(roles, &mut control, &mut progress);
    let Run { seconds, totals, started, steady, .. } = run;
    result?;
    let mut outcome = gather(&shared, seconds, totals, started);
    outcome.steady = plan.until_steady.then_some(steady);
    let read = plan.consumers.connections > 0;
    outcome.effective = effective(&shared);
    let disconnected = matches!(outcome.ended, Ended::Disconnected(_));
    if plan.verify != VerifyMode::None && !read && !disconnected && plan.producers.connections > 0 {
        // Nobody read during the run: everything is read now.
        let _ = progress(Progress::Phase {
            phase: Phase::Audit,
            at_ns: direct::now().since(started).as_nanos() as u64,
        });
        let (verification, ledger) = read_again(plan, &outcome.ledger, &starts, false)?;
        (outcome.verification, outcome.ledger) = (verification, ledger);
    }
    if plan.topic.delete && !disconnected {
        outcome.left_behind = control.delete_topic(&plan.topic.name).err().map(|error| error.to_string());
    }
    Ok(outcome)
}

/// Reads the whole topic again, for instance after the broker was killed and started again, and holds it against what
/// was acknowledged. `complete` in the answer says whether the end was reached.
pub fn audit(plan: &Plan, ledger: &Ledger) -> Result<Verification, LoadError> {
    plan.check()?;
    let mut control = Control::connect(plan.address, plan.answer_max)?;
    control.wait_for_leaders(&plan.topic)?;
    let starts = control.offsets(&plan.topic, false)?;
    drop(control);
    read_again(plan, &ledger.unread(), &starts, true).map(|(verification, _)| verification)
}

/// One group of one connection reads everything from `starts` on.
fn read_again(
    plan: &Plan,
    ledger: &Ledger,
    starts: &[i64],
    tolerate_foreign: bool,
) -> Result<(Verification, Ledger), LoadError> {
    let mut reading = plan.clone();
    reading.topic.create = false;
    (reading.warmup, reading.until_steady) = (Duration::ZERO, false);
    reading.consumers = Consumers { connections: 1, groups: 1, ..Consumers::default() };
    let producers = std::mem::take(&mut reading.producers.connections);
    debug_assert!(producers > 0 || ledger.acked_records() == 0);
    let mut control = Control::connect(plan.address, plan.answer_max)?;
    let shared = shared(&reading, &control, ledger.clone(), tolerate_foreign)?;
    shared.window_end_ns.store(0, Ordering::Release);
    let roles = deal(&reading, &[], starts);
    let mut run = Run::new(&shared, roles.len());
    let result = run.drive(roles, &mut control, &mut |_| ControlFlow::Continue(()));
    let Run { totals, .. } = run;
    result?;
    let complete = is_complete(&totals, &shared);
    let mut ledger = take_ledger(&shared);
    Ok((ledger.finish(plan.verify.text(), complete), ledger))
}

/// The identity of a run on its topic: of the seed and the name, so that an audit by another process finds it.
fn run_number(plan: &Plan) -> u32 {
    let name = plan
        .topic
        .name
        .bytes()
        .fold(0u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    Random::new(plan.seed, name).number() as u32
}

fn shared(
    plan: &Plan,
    control: &Control,
    ledger: Ledger,
    tolerate_foreign: bool,
) -> Result<Shared, LoadError> {
    let producers = &plan.producers;
    let shape = Shape {
        records: producers.batch_records,
        record_bytes: producers.record_bytes,
        random: producers.random,
    };
    let versions = control.versions();
    let window_start_ns = plan.warmup.as_nanos() as u64;
    Ok(Shared {
        pool: BatchPool::new(shape, producers.pool, plan.seed),
        run: run_number(plan),
        produce_version: versions.pick(ApiKey::Produce, PRODUCE_VERSIONS)?,
        fetch_version: if plan.consumers.connections > 0 {
            versions.pick(ApiKey::Fetch, FETCH_VERSIONS)?
        } else {
            *FETCH_VERSIONS.end()
        },
        start: OnceLock::new(),
        window_start_ns: AtomicU64::new(window_start_ns),
        window_end_ns: AtomicU64::new(window_start_ns + plan.duration.as_nanos() as u64),
        cut: AtomicBool::new(false),
        give_up: AtomicBool::new(false),
        ended: Mutex::new(None),
        ends: OnceLock::new(),
        ledger: Mutex::new(ledger),
        tolerate_foreign,
        plan: plan.clone(),
    })
}

/// Deals producers and readers to the workers.
fn deal(plan: &Plan, producers: &[producer::Role], starts: &[i64]) -> Vec<Roles> {
    let workers = plan.cores.len().max(1);
    let mut roles = vec![Roles::default(); workers];
    for (number, producer) in producers.iter().enumerate() {
        roles[number % workers].producers.push(*producer);
    }
    let connections = plan.consumers.connections.min(plan.topic.partitions);
    for group in 0..if connections == 0 { 0 } else { plan.consumers.groups } {
        for connection in 0..connections {
            let partitions = (connection..plan.topic.partitions)
                .step_by(connections as usize)
                .map(|partition| (partition, starts[partition as usize]))
                .collect();
            let number = producers.len() + (group * connections + connection) as usize;
            roles[number % workers].consumers.push(consumer::Role { group: group as u16, partitions });
        }
    }
    roles
}

/// The thread that watches the workers.
struct Run<'a> {
    shared: &'a Shared,
    workers: usize,
    parts: BTreeMap<u64, Vec<Part>>,
    seconds: Vec<Second>,
    totals: Vec<Total>,
    /// What the schedules called for, counted here and not on the load cores.
    schedules: Vec<Schedule>,
    offered: u64,
    started: Instant,
    interrupted: bool,
    /// The warm-up ended because it showed no trend.
    steady: bool,
}

impl<'a> Run<'a> {
    fn new(shared: &'a Shared, workers: usize) -> Run<'a> {
        let plan = &shared.plan;
        let horizon = plan.warmup + plan.duration;
        let schedules = (0..plan.producers.connections)
            .map(|connection| Schedule::new(&plan.producers, connection, horizon, plan.seed))
            .collect();
        Run {
            shared,
            workers,
            parts: BTreeMap::new(),
            seconds: Vec::new(),
            totals: Vec::new(),
            schedules,
            offered: 0,
            started: direct::now(),
            interrupted: false,
            steady: false,
        }
    }

    fn drive(
        &mut self,
        roles: Vec<Roles>,
        control: &mut Control,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<(), LoadError> {
        let shared = self.shared;
        let workers = roles.len() as u64;
        let (sender, receiver) = channel();
        std::thread::scope(|scope| {
            let mut threads = Vec::new();
            for (number, roles) in roles.into_iter().enumerate() {
                let sender: Sender<Report> = sender.clone();
                let core = shared.plan.cores.get(number).copied();
                let thread = std::thread::Builder::new().name(format!("load-{number}"));
                let spawned = thread.spawn_scoped(scope, move || work(shared, roles, workers, core, sender));
                match spawned {
                    Ok(thread) => threads.push(thread),
                    Err(source) => {
                        shared.give_up.store(true, Ordering::Release);
                        return Err(LoadError::Io { what: "starting a worker".into(), source });
                    }
                }
            }
            drop(sender);
            let watched = self.watch(&receiver, control, progress);
            shared.give_up.store(true, Ordering::Release);
            for thread in threads {
                if let Err(panic) = thread.join() {
                    let text = panic.downcast_ref::<String>().map(String::as_str);
                    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
                    return Err(LoadError::Panic(text.into()));
                }
            }
            for report in receiver.try_iter() {
                self.on_report(report);
            }
            watched
        })?;
        self.merge(progress, true);
        Ok(())
    }

    /// Follows the phases until every worker is done.
    fn watch(
        &mut self,
        receiver: &Receiver<Report>,
        control: &mut Control,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<(), LoadError> {
        let shared = self.shared;
        let mut wakers: Vec<Waker> = Vec::new();
        while wakers.len() < self.workers {
            match receiver.recv() {
                Ok(Report::Ready(waker)) => wakers.push(waker),
                Ok(other) => self.on_report(other),
                // All workers have ended before they began: why is in `ended`.
                Err(_) => return self.not_begun(),
            }
        }
        if self.interrupted {
            shared.cut(0, Ended::Interrupted);
        }
        self.started = direct::now().after(START_DELAY);
        shared.start.set(self.started).expect("only this thread starts a run, and once");
        let mut phase = if shared.window_start_ns() > 0 { Phase::Warmup } else { Phase::Measure };
        self.tell(progress, phase);
        let mut written = 0;
        let mut drain_began = None;
        loop {
            let window_end_ns = shared.window_end_ns.load(Ordering::Acquire);
            let now_ns = direct::now().since(self.started).as_nanos() as u64;
            let until_ns = match phase {
                Phase::Prepare | Phase::Warmup => shared.window_start_ns(),
                Phase::Measure => window_end_ns,
                Phase::Drain | Phase::Audit => u64::MAX,
            };
            if now_ns >= until_ns {
                phase = if phase == Phase::Warmup { Phase::Measure } else { Phase::Drain };
                if phase == Phase::Drain {
                    drain_began = Some(now_ns);
                }
                self.tell(progress, phase);
                continue;
            }
            let wait = Duration::from_nanos((until_ns - now_ns).min(100_000_000));
            match receiver.recv_timeout(wait) {
                Ok(Report::Written) => {
                    written += 1;
                    if written == self.workers {
                        match self.ends(control) {
                            Ok(ends) => {
                                shared.ends.set(ends).expect("only this thread knows the ends, and once");
                            }
                            // A broker that is gone now is one that went during the run: what it did is kept.
                            Err(error) => {
                                let now_ns = direct::now().since(self.started).as_nanos() as u64;
                                shared.cut(now_ns, Ended::Disconnected(error.to_string()));
                                shared.give_up.store(true, Ordering::Release);
                            }
                        }
                        wakers.iter().for_each(Waker::wake);
                    }
                }
                Ok(report) => self.on_report(report),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
            self.merge(progress, false);
            if phase == Phase::Warmup && shared.plan.until_steady && !self.steady {
                self.begin_if_steady();
            }
            if self.interrupted {
                shared.cut(direct::now().since(self.started).as_nanos() as u64, Ended::Interrupted);
            }
            let drain_max_ns = shared.plan.drain_max.as_nanos() as u64;
            if drain_began.is_some_and(|began| now_ns.saturating_sub(began) > drain_max_ns) {
                shared.give_up.store(true, Ordering::Release);
                wakers.iter().for_each(Waker::wake);
            }
        }
    }

    /// Moves the window forward once the warm-up shows no trend, to a second that no worker has begun to close.
    fn begin_if_steady(&mut self) {
        /// Longer than a worker's turn lasts.
        const MARGIN_NS: u64 = 300_000_000;
        const SECOND_NS: u64 = 1_000_000_000;
        if !steady::is_steady(&self.seconds) {
            return;
        }
        let now_ns = direct::now().since(self.started).as_nanos() as u64;
        let start_ns = (now_ns + MARGIN_NS).next_multiple_of(SECOND_NS);
        if start_ns >= self.shared.window_start_ns() {
            return;
        }
        let end_ns = start_ns + self.shared.plan.duration.as_nanos() as u64;
        // The end first: a worker that sees the new start must not see the old end.
        self.shared.window_end_ns.fetch_min(end_ns, Ordering::AcqRel);
        self.shared.window_start_ns.store(start_ns, Ordering::Release);
        self.schedules.iter_mut().for_each(|schedule| schedule.end_at(end_ns));
        self.steady = true;
    }

    fn tell(&mut self, progress: &mut dyn FnMut(Progress) -> ControlFlow<()>, phase: Phase) {
        let at_ns = direct::now().since(self.started).as_nanos() as u64;
        if progress(Progress::Phase { phase, at_ns }).is_break() {
            self.interrupted = true;
        }
    }

    fn not_begun(&self) -> Result<(), LoadError> {
        let ended = self.shared.ended.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let reason = match &*ended {
            Some(Ended::Disconnected(reason)) => reason.clone(),
            _ => "a worker ended before it began".into(),
        };
        Err(LoadError::Protocol { what: "starting the load".into(), reason })
    }

    /// Where every partition ends now that nobody writes.
    fn ends(&self, control: &mut Control) -> Result<Vec<i64>, LoadError> {
        let plan = &self.shared.plan;
        let mut ends = control.offsets(&plan.topic, true)?;
        if plan.producers.acks == Acks::None {
            loop {
                std::thread::sleep(SETTLE);
                let again = control.offsets(&plan.topic, true)?;
                if again == ends {
                    break;
                }
                ends = again;
            }
        }
        Ok(ends)
    }

    fn on_report(&mut self, report: Report) {
        match report {
            Report::Part(part) => self.parts.entry(part.start_ns).or_default().push(*part),
            Report::Done(total) => self.totals.push(*total),
            Report::Ready(_) | Report::Written => {}
        }
    }

    /// Merges the seconds that all workers have delivered; at the `end`, whatever there is.
    fn merge(&mut self, progress: &mut dyn FnMut(Progress) -> ControlFlow<()>, end: bool) {
        while let Some((_, parts)) = self.parts.first_key_value()
            && (end || parts.len() >= self.workers)
        {
            let (_, parts) = self.parts.pop_first().expect("the map was just looked at");
            let second = self.second(parts);
            if progress(Progress::Second(Box::new(second.clone()))).is_break() {
                self.interrupted = true;
            }
            self.seconds.push(second);
        }
    }

    fn second(&mut self, parts: Vec<Part>) -> Second {
        let plan = &self.shared.plan;
        let end_ns = parts.iter().map(|part| part.end_ns).max().unwrap_or(0);
        let sum = |field: fn(&Part) -> u64| parts.iter().map(field).sum::<u64>();
        let sent = sum(|part| part.sent_records);
        let records = plan.producers.request_records();
        let mut second = Second {
            phase: parts[0].phase,
            start_ns: parts[0].start_ns,
            duration_ns: end_ns - parts[0].start_ns,
            offered_records: sent,
            acked_records: sum(|part| part.acked_records),
            consumed_records: sum(|part| part.consumed_records)
                / u64::from(plan.consumers.following_groups()),
            catch_up_records: sum(|part| part.catch_up_records),
            acked_bytes: sum(|part| part.acked_records) * u64::from(plan.producers.record_bytes),
            errors: sum(|part| part.errors),
            in_flight: sum(|part| part.in_flight),
            waiting_records: 0,
            backlog_records: None,
            anomalies: 0,
            produce: histogram(),
            e2e: histogram(),
            generator_cpu_ns: parts.iter().map(|part| part.cpu_ns).sum(),
        };
        for part in &parts {
            for (into, from) in [(&mut second.produce, &part.produce), (&mut second.e2e, &part.e2e)] {
                into.add(from).expect("a histogram that resizes itself takes every other one");
            }
        }
        if !plan.producers.arrivals.is_closed() {
            let due: u64 = self.schedules.iter_mut().map(|schedule| schedule.take_before(end_ns)).sum();
            self.offered += due;
            second.offered_records = due * records;
            let issued = sum(|part| part.issued_requests);
            second.waiting_records = self.offered.saturating_sub(issued) * records;
        }
        let ledger = self.shared.ledger.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        second.anomalies = ledger.anomalies();
        if plan.consumers.connections > 0 && plan.verify != VerifyMode::None {
            second.backlog_records = Some(ledger.backlog_records());
        }
        second
    }
}

/// A worker thread from its first to its last line.
fn work(shared: &Shared, roles: Roles, workers: u64, core: Option<usize>, reports: Sender<Report>) {
    let broken = |why: String| {
        let now_ns = shared.start.get().map_or(0, |start| direct::now().since(*start).as_nanos() as u64);
        shared.cut(now_ns, Ended::Disconnected(why));
        shared.give_up.store(true, Ordering::Release);
    };
    if let Some(core) = core {
        // A refused pin costs accuracy, not correctness; the rig reports the cores a run really had.
        pin::pin_to(core);
    }
    pin::take_short_slices();
    if shared.plan.own_cores {
        // Refused without privilege: then others are served in turn with the generator, and its lag says so.
        pin::set_nice(GENERATOR_NICE);
    }
    let kind = shared.plan.io;
    let mut engine = match worker::engine(kind) {
        Ok(engine) => engine,
        Err(error) => return broken(kind.explain(&error)),
    };
    let result = std::panic::catch_unwind(AssertUnwindSafe(|| {
        Worker::connect(shared, engine.as_mut(), roles, workers, reports).and_then(Worker::run)
    }));
    match result {
        Ok(Ok(())) => {}
        Ok(Err(why)) => broken(why),
        Err(panic) => {
            // The others must not wait for a thread that is gone.
            shared.give_up.store(true, Ordering::Release);
            std::panic::resume_unwind(panic);
        }
    }
}

fn is_complete(totals: &[Total], shared: &Shared) -> bool {
    let workers = shared.plan.cores.len().max(1);
    totals.len() == workers && totals.iter().all(|total| total.complete)
}

fn take_ledger(shared: &Shared) -> Ledger {
    std::mem::take(&mut *shared.ledger.lock().unwrap_or_else(|poisoned| poisoned.into_inner()))
}

fn gather(shared: &Shared, seconds: Vec<Second>, totals: Vec<Total>, started: Instant) -> Outcome {
    let plan = &shared.plan;
    let complete = is_complete(&totals, shared) && plan.consumers.connections > 0;
    let mut ledger = take_ledger(shared);
    let ended = shared.ended.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone();
    let window_ns = shared.window_end_ns.load(Ordering::Acquire).saturating_sub(shared.window_start_ns());
    let mut outcome = Outcome {
        ended: ended.unwrap_or(Ended::Completed),
        started,
        window_start_ns: shared.window_start_ns(),
        steady: None,
        window_ns,
        counts: Counts::default(),
        produce_response: histogram(),
        produce_service: histogram(),
        schedule_lag: histogram(),
        own_lag: histogram(),
        e2e_response: histogram(),
        e2e_service: histogram(),
        series: Vec::new(),
        slow: Vec::new(),
        slow_complete_above_ns: 0,
        generator: Generator {
            workers: plan.cores.len().max(1) as u64,
            cpu_ns: Some(0),
            core_wait_ns: Some(0),
            ..Generator::default()
        },
        verification: Verification::default(),
        ledger: Ledger::default(),
        effective: Vec::new(),
        left_behind: None,
    };
    let (counts, generator) = (&mut outcome.counts, &mut outcome.generator);
    for total in totals {
        for (into, from) in [
            (&mut outcome.produce_response, &total.produce_response),
            (&mut outcome.produce_service, &total.produce_service),
            (&mut outcome.schedule_lag, &total.schedule_lag),
            (&mut outcome.own_lag, &total.own_lag),
            (&mut outcome.e2e_response, &total.e2e_response),
            (&mut outcome.e2e_service, &total.e2e_service),
        ] {
            into.add(from).expect("a histogram that resizes itself takes every other one");
        }
        outcome.slow.extend_from_slice(total.slow.samples());
        outcome.slow_complete_above_ns = outcome.slow_complete_above_ns.max(total.slow.complete_above_ns());
        counts.acked_requests += total.acked_requests;
        counts.acked_batches += total.acked_batches;
        counts.produce_wire_bytes += total.produce_wire_bytes;
        counts.consumed_records += total.consumed_records;
        counts.catch_up_records += total.catch_up_records;
        counts.fetch_wire_bytes += total.fetch_wire_bytes;
        counts.fetches += total.fetches;
        counts.fetches_empty += total.fetches_empty;
        for (code, count) in total.errors {
            *counts.errors.entry(code).or_default() += count;
        }
        generator.cpu_ns = generator.cpu_ns.zip(total.cpu_ns).map(|(sum, ns)| sum + ns);
        generator.core_wait_ns = generator.core_wait_ns.zip(total.core_wait_ns).map(|(sum, ns)| sum + ns);
        generator.spin_ns += total.spin_ns;
        generator.turns += total.turns;
        generator.turn_ns_max = generator.turn_ns_max.max(total.turn_ns_max);
    }
    let record_bytes = u64::from(plan.producers.record_bytes);
    counts.acked_records = counts.acked_batches * u64::from(plan.producers.batch_records);
    counts.acked_bytes = counts.acked_records * record_bytes;
    counts.consumed_records /= u64::from(plan.consumers.following_groups());
    counts.consumed_bytes = counts.consumed_records * record_bytes;
    if !plan.producers.arrivals.is_closed() {
        let measured = seconds.iter().filter(|second| second.phase == Phase::Measure);
        counts.offered_records = Some(measured.map(|second| second.offered_records).sum());
    }
    outcome.verification = ledger.finish(plan.verify.text(), complete);
    outcome.ledger = ledger;
    outcome.series = seconds;
    outcome
}

/// What was really used, in Kafka's names where Kafka has one.
fn effective(shared: &Shared) -> Vec<(String, String)> {
    let (producers, consumers) = (&shared.plan.producers, &shared.plan.consumers);
    let settings: [(&str, String); 14] = [
        ("produce.version", shared.produce_version.to_string()),
        ("fetch.version", shared.fetch_version.to_string()),
        ("acks", producers.acks.text().into()),
        ("batch.size", shared.pool.batch_bytes().to_string()),
        ("linger.ms", "0".into()),
        ("max.in.flight.requests.per.connection", producers.in_flight.to_string()),
        ("compression.type", "none".into()),
        ("enable.idempotence", producers.idempotent.to_string()),
        ("retries", "0".into()),
        ("fetch.min.bytes", consumers.min_bytes.to_string()),
        ("fetch.max.wait.ms", consumers.max_wait.as_millis().to_string()),
        ("fetch.max.bytes", consumers.max_bytes.to_string()),
        ("max.partition.fetch.bytes", consumers.partition_max_bytes.to_string()),
        ("check.crcs", (shared.plan.verify != VerifyMode::None).to_string()),
    ];
    settings.into_iter().map(|(name, value)| (name.to_string(), value)).collect()
}
