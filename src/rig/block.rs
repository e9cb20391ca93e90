//! One block: memory warm-up, warm-up, measured window, drain, verification, and what it cost meanwhile.
//!
//! In: a running subject and a cell. Out: the block as `run.json` keeps it, and the figures of the window. The order
//! of events is `run`'s; costs are the difference of two readings, taken when the generator says that the window
//! begins and ends. A block is void for what came from outside, never for being slow.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::client::Client;
use super::core_wait::{self, CoreWait};
use super::counting::{Counting, Counts};
use super::interrupt;
use super::live::{Live, Status};
use super::page_cache;
use super::plan::{CellSpec, Fault};
use super::profile::Recording;
use super::sampler::{self, Device, DeviceCounts, System, Usage};
use super::segments::Segments;
use super::subject::{Subject, SubjectError};
use crate::load::{self, Ended, LoadError, Outcome, Phase, Progress};
use crate::reactor::process::monotonic_ns;
use crate::report::figures;
use crate::report::run::{self, Block, Mark, Second};
use crate::report::statistics;

/// Own lag of the generator up to this is never held against a block.
const OWN_LAG_NS_FREE: u64 = 1_000_000;
/// Above it, own lag makes a block void when it is more than this share of the response time that it is part of: then
/// the percentile speaks of the generator. Beside a response of 60 ms, 3 ms of lag change nothing that is said about
/// the broker, and to drop the block would be to drop it for being slow.
const OWN_LAG_SHARE_MAX: f64 = 0.1;
/// Of the generator's time in an open loop, polling aside: above it, response times are its own.
const BUSY_RATIO_MAX: f64 = 0.95;
const STEAL_RATIO_MAX: f64 = 0.01;
/// Cores used by processes that are neither subject nor generator.
const STRANGERS_CORES_MAX: f64 = 0.05;
/// A step of the date against the monotonic clock within one block.
const CLOCK_STEP_MAX: Duration = Duration::from_millis(500);

/// What is the same for all blocks of a run.
pub struct Surroundings<'a> {
    /// The run's monotonic start: all times in `run.json` count from here.
    pub started_ns: u64,
    pub data_directory: PathBuf,
    /// Where the subject keeps its partitions; None for one that somebody else looks after.
    pub subject_directory: Option<PathBuf>,
    pub device: Device,
    /// Bytes of the growth probe; 0 for none.
    pub probe_bytes: u64,
    pub warm_up_bytes: u64,
    pub live: &'a mut dyn Live,
}

/// The measured window of one block.
#[derive(Clone, Debug, Default)]
pub struct Window {
    pub seconds: f64,
    pub subject: Usage,
    pub generator: Usage,
    pub system: System,
    pub device: DeviceCounts,
    /// Cores used by processes that are neither, over the whole block, where that could be read.
    pub strangers_cores: Option<f64>,
    pub rss_bytes_max: Option<u64>,
    /// While the subject's threads were ready to run.
    pub core_wait: CoreWait,
}

/// A block that ran.
pub struct Ran {
    pub block: Block,
    pub topic: String,
    pub window: Window,
    pub outcome: Outcome,
    /// Where nobody read during the run: what reading everything back cost.
    pub readback: Option<Window>,
}

#[derive(Debug, thiserror::Error)]
pub enum BlockError {
    #[error("{0}")]
    Load(#[from] LoadError),
    #[error("{0}")]
    Subject(#[from] SubjectError),
    #[error("{0}")]
    Crashed(String),
    #[error("{0}")]
    Directory(String),
    #[error("interrupted")]
    Interrupted,
}

/// One reading of everything a window costs.
struct Reading {
    at_ns: u64,
    wall: SystemTime,
    subject: Usage,
    generator: Usage,
    system: System,
    device: DeviceCounts,
}

impl Reading {
    fn take(pids: &[u32], device: &Device) -> Reading {
        Reading {
            at_ns: monotonic_ns(),
            wall: SystemTime::now(),
            subject: Usage::of(pids).unwrap_or_default(),
            generator: Usage::of(&[std::process::id()]).unwrap_or_default(),
            system: System::read(),
            device: device.counts(),
        }
    }

    fn until(&self, end: &Reading) -> Window {
        Window {
            seconds: (end.at_ns - self.at_ns) as f64 / 1e9,
            subject: end.subject.since(&self.subject),
            generator: end.generator.since(&self.generator),
            system: end.system.since(&self.system),
            device: end.device.since(&self.device),
            strangers_cores: None,
            rss_bytes_max: None,
            core_wait: CoreWait::default(),
        }
    }

    /// How far the date moved against the monotonic clock.
    fn clock_step(&self, end: &Reading) -> Duration {
        let date = |wall: SystemTime| wall.duration_since(UNIX_EPOCH).unwrap_or_default();
        let monotonic = Duration::from_nanos(end.at_ns - self.at_ns);
        let wall = date(end.wall).saturating_sub(date(self.wall));
        wall.abs_diff(monotonic)
    }
}

/// What a second cost, by the second's start on the schedule.
struct SecondSample {
    broker_cpu_ns: Option<u64>,
    system: System,
    rss_bytes: Option<u64>,
    dirty_bytes: Option<u64>,
}

/// Runs one block of `cell` against `subject`. `position` is its place in the run.
pub fn run(
    subject: &mut Subject,
    cell: &CellSpec,
    position: u64,
    around: &mut Surroundings<'_>,
) -> Result<Ran, BlockError> {
    around.live.begin(&cell.id, subject.name());
    let warmed = page_cache::warm_up(&around.data_directory, around.warm_up_bytes).map_err(|error| {
        BlockError::Directory(format!(
            "{}: the warm-up write failed: {error}",
            around.data_directory.display()
        ))
    })?;
    let before = page_cache::state(&around.data_directory, around.probe_bytes);

    let mut plan = cell.load.clone();
    plan.address = subject.address();
    plan.topic.name = format!("{}-{position}", cell.id);
    if !cell.idle_topics.is_empty() {
        Client::connect(subject.address(), Duration::from_secs(60))
            .and_then(|mut client| client.create_topics(&cell.idle_topics))
            .map_err(|error| BlockError::Crashed(error.to_string()))?;
    }
    // Looking at every process takes milliseconds of the generator's core, so it is done outside the window.
    let pids = subject.pids();
    let strangers = (monotonic_ns(), sampler::Strangers::read(&pids, std::process::id()));
    let watched = watch(subject, cell, &plan, around)?;
    let strangers_cores = sampler::Strangers::read(&pids, std::process::id())
        .since(&strangers.1)
        // A subject whose process nobody named would count as its own competitor.
        .filter(|_| !pids.is_empty())
        .map(|ns| ns as f64 / (monotonic_ns() - strangers.0).max(1) as f64);
    let Watched { outcome, start, end, audit, samples, rss_bytes_max, marks, core_wait } = watched;
    if let Some(text) = subject.crashed() {
        return Err(BlockError::Crashed(text));
    }
    if matches!(outcome.ended, Ended::Interrupted) && interrupt::requested() {
        return Err(BlockError::Interrupted);
    }

    let (window, step) = match (&start, &end) {
        (Some(start), Some(end)) => {
            (Window { rss_bytes_max, strangers_cores, core_wait, ..start.until(end) }, start.clock_step(end))
        }
        // The run ended before its window began; the outcome says why.
        _ => (Window::default(), Duration::ZERO),
    };
    let after = page_cache::state(&around.data_directory, around.probe_bytes);
    let zero_ns = outcome.started.0.saturating_sub(around.started_ns);
    let void_reasons = void_reasons(&window, step, &outcome);
    let block = Block {
        cell: cell.id.clone(),
        pair: None,
        position: Some(position),
        void_reasons,
        warmup_s: Some(outcome.window_start_ns as f64 / 1e9),
        memory_state: Some(memory_state(&warmed, &before).unwrap_or(&cell.memory).to_owned()),
        start_ns: Some(zero_ns + outcome.window_start_ns),
        duration_ns: Some(outcome.window_ns),
        page_cache: run::PageCache { before, after },
        steal_ratio: window.system.steal_ratio(),
        cpu_pressure_ratio: window
            .system
            .cpu_pressure_ns
            .filter(|_| window.seconds > 0.0)
            .map(|ns| ns as f64 / 1e9 / window.seconds),
        generator_turn_ns_max: Some(outcome.generator.turn_ns_max),
        core_wait_ns: window.core_wait.others_ns,
        core_wait_ns_max: window.core_wait.others_ns_max,
        series: series(&outcome, &samples, zero_ns, plan.consumers.held_groups > 0),
        marks: marks
            .into_iter()
            .map(|(at, kind, text)| mark(at, around.started_ns, kind, text))
            .chain(window.core_wait.stretches.iter().map(|stretch| taken(stretch, around.started_ns)))
            .collect(),
        histograms: histograms(&outcome),
    };
    let readback = audit.map(|(before, after)| before.until(&after));
    Ok(Ran { block, topic: plan.topic.name, window, outcome, readback })
}

/// Runs the plan for the counts of its window alone: nothing of it is timed.
pub fn count(
    subject: &mut Subject,
    cell: &CellSpec,
    position: u64,
    window: Duration,
    device: &Device,
) -> Result<Counted, BlockError> {
    let mut plan = cell.load.clone();
    plan.address = subject.address();
    plan.topic.name = format!("{}-count-{position}", cell.id);
    plan.warmup = Duration::from_millis(200).min(window);
    plan.until_steady = false;
    plan.duration = window;
    let pids = subject.pids();
    let mut counting = None;
    let mut counts = None;
    let (mut device_before, mut device_used) = (DeviceCounts::default(), DeviceCounts::default());
    let outcome = load::run(&plan, |progress| {
        match progress {
            Progress::Phase { phase: Phase::Measure, .. } => {
                counting = Some(Counting::start(&pids));
                device_before = device.counts();
            }
            Progress::Phase { phase: Phase::Drain, .. } => {
                device_used = device.counts().since(&device_before);
                counts = counting.take().map(|counting| counting.map(Counting::stop));
            }
            Progress::Phase { .. } | Progress::Second(_) => {}
        }
        if interrupt::requested() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    if let Some(text) = subject.crashed() {
        return Err(BlockError::Crashed(text));
    }
    let counts = match counts {
        Some(counts) => counts,
        None => Err("the counting pass ended before its window began".to_owned()),
    };
    Ok(Counted { counts, device_flushes: device_used.flushes, outcome })
}

/// Runs the cell under perf, for the picture alone. The inner error says why there is none.
pub fn profile(
    subject: &mut Subject,
    cell: &CellSpec,
    position: u64,
    folder: &std::path::Path,
) -> Result<Result<PathBuf, String>, BlockError> {
    let mut plan = cell.load.clone();
    plan.address = subject.address();
    plan.topic.name = format!("{}-profile-{position}", cell.id);
    plan.until_steady = false;
    let pids = subject.pids();
    if pids.is_empty() {
        return Ok(Err("the subject's process is not known".to_owned()));
    }
    let mut recording = None;
    let mut drawn = Err("the block ended before its window began".to_owned());
    let title = format!("{} of {}, one window, cpu-clock", cell.id, subject.name());
    load::run(&plan, |progress| {
        match progress {
            Progress::Phase { phase: Phase::Measure, .. } => {
                recording = Some(Recording::start(&pids, folder, &cell.id));
            }
            Progress::Phase { phase: Phase::Drain, .. } => {
                if let Some(recording) = recording.take() {
                    drawn = recording.and_then(|recording| recording.finish(&title));
                }
            }
            Progress::Phase { .. } | Progress::Second(_) => {}
        }
        if interrupt::requested() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    match subject.crashed() {
        Some(text) => Err(BlockError::Crashed(text)),
        None => Ok(drawn),
    }
}

/// Loads the cell, optionally kills the broker on the way and starts it again, then reads everything back from the
/// start and holds it against what was acknowledged.
pub fn audit(
    subject: &mut Subject,
    cell: &CellSpec,
    position: u64,
    crash: Option<Duration>,
    live: &mut dyn Live,
) -> Result<Audited, BlockError> {
    live.begin(&cell.id, subject.name());
    let mut plan = cell.load.clone();
    plan.address = subject.address();
    plan.topic.name = format!("{}-{position}", cell.id);
    plan.topic.delete = false;
    let over = std::sync::atomic::AtomicBool::new(false);
    let outcome = std::thread::scope(|scope| {
        let watched = &*subject;
        let outcome = load::run(&plan, |progress| {
            match progress {
                Progress::Phase { phase, .. } => {
                    live.phase(phase.text());
                    if let (Phase::Measure, Some(at)) = (phase, crash) {
                        let over = &over;
                        scope.spawn(move || {
                            let zero = std::time::Instant::now();
                            while zero.elapsed() < at && !over.load(std::sync::atomic::Ordering::Relaxed) {
                                std::thread::sleep(Duration::from_millis(1));
                            }
                            watched.kill_now();
                        });
                    }
                }
                Progress::Second(second) => {
                    let sample = SecondSample {
                        broker_cpu_ns: None,
                        system: System::default(),
                        rss_bytes: None,
                        dirty_bytes: None,
                    };
                    live.second(&status(&second, &sample));
                }
            }
            if interrupt::requested() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        over.store(true, std::sync::atomic::Ordering::Relaxed);
        outcome
    })?;
    if interrupt::requested() {
        return Err(BlockError::Interrupted);
    }
    if crash.is_some() {
        subject.crash_and_restart()?;
        plan.address = subject.address();
    } else if let Some(text) = subject.crashed() {
        return Err(BlockError::Crashed(text));
    }
    live.phase("audit");
    let verification = load::audit(&plan, &outcome.ledger)?;
    Ok(Audited { verification, topic: plan.topic.name, acked_records: outcome.counts.acked_records })
}

pub struct Audited {
    pub verification: load::Verification,
    pub topic: String,
    pub acked_records: u64,
}

pub struct Counted {
    pub counts: Result<Counts, String>,
    /// Of the whole machine.
    pub device_flushes: Option<u64>,
    pub outcome: Outcome,
}

struct Watched {
    outcome: Outcome,
    start: Option<Reading>,
    end: Option<Reading>,
    /// Around the reading of everything, when that happens after the run.
    audit: Option<(Reading, Reading)>,
    samples: Vec<(u64, SecondSample)>,
    rss_bytes_max: Option<u64>,
    marks: Vec<(u64, &'static str, String)>,
    core_wait: CoreWait,
}

/// The generator's run, with a reading at each end of the window and a small one every second.
fn watch(
    subject: &Subject,
    cell: &CellSpec,
    plan: &load::Plan,
    around: &mut Surroundings<'_>,
) -> Result<Watched, BlockError> {
    let pids = subject.pids();
    let (mut start, mut end, mut audit) = (None, None, None);
    let mut samples = Vec::new();
    let mut rss_bytes_max = None;
    let mut last = (sampler::cpu_ns(&pids), System::read());
    let marks = std::sync::Mutex::new(Vec::new());
    let (over, window_over) =
        (std::sync::atomic::AtomicBool::new(false), std::sync::atomic::AtomicBool::new(false));
    let directory = around.subject_directory.as_deref();
    let mut segments = directory.filter(|_| cell.rolls()).map(|directory| Segments::of(directory, plan));
    let mut threads = Some(core_wait::Watch::new(&pids));
    let mut core_wait = CoreWait::default();
    let outcome = std::thread::scope(|scope| {
        let mut watching = None;
        let outcome = load::run(plan, |progress| {
            match progress {
                Progress::Phase { phase, .. } => {
                    around.live.phase(phase.text());
                    match phase {
                        Phase::Measure => {
                            let window_over = &window_over;
                            watching =
                                threads.take().map(|watch| scope.spawn(move || watch.run(window_over)));
                            start = Some(Reading::take(&pids, &around.device));
                            if !cell.faults.is_empty() {
                                let (marks, over) = (&marks, &over);
                                scope.spawn(move || inflict(subject, &cell.faults, marks, over));
                            }
                        }
                        Phase::Drain => {
                            end = Some(Reading::take(&pids, &around.device));
                            window_over.store(true, std::sync::atomic::Ordering::Relaxed);
                        }
                        Phase::Audit => audit = Some(Reading::take(&pids, &around.device)),
                        Phase::Warmup => {
                            if let Some(directory) = directory.filter(|_| cell.evict) {
                                let (marks, over) = (&marks, &over);
                                scope.spawn(move || evict(directory, plan.warmup, marks, over));
                            }
                        }
                        Phase::Prepare => {}
                    }
                }
                Progress::Second(second) => {
                    let now = (sampler::cpu_ns(&pids), System::read());
                    let sample = SecondSample {
                        broker_cpu_ns: now.0.zip(last.0).map(|(now, last)| now.saturating_sub(last)),
                        system: now.1.since(&last.1),
                        rss_bytes: sampler::rss_bytes(&pids),
                        dirty_bytes: sampler::dirty_bytes(),
                    };
                    last = now;
                    if second.phase == Phase::Measure {
                        rss_bytes_max = rss_bytes_max.max(sample.rss_bytes);
                    }
                    if let Some(segments) = &mut segments
                        && let Ok(mut marks) = marks.lock()
                    {
                        marks.extend(
                            segments.changes().into_iter().map(|(kind, text)| (monotonic_ns(), kind, text)),
                        );
                    }
                    around.live.second(&status(&second, &sample));
                    samples.push((second.start_ns, sample));
                }
            }
            if interrupt::requested() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        over.store(true, std::sync::atomic::Ordering::Relaxed);
        window_over.store(true, std::sync::atomic::Ordering::Relaxed);
        if let Some(watching) = watching {
            core_wait = watching.join().expect("looking at threads does not panic");
        }
        outcome
    })?;
    let audit = audit.map(|before| (before, Reading::take(&pids, &around.device)));
    let marks = marks.into_inner().expect("the fault thread does not panic while it holds the list");
    Ok(Watched { outcome, start, end, audit, samples, rss_bytes_max, marks, core_wait })
}

/// Lets the page cache go of all that the subject has written, shortly before the warm-up ends, so that what is read again
/// comes from the disk.
fn evict(
    directory: &Path,
    warmup: Duration,
    marks: &std::sync::Mutex<Vec<(u64, &'static str, String)>>,
    over: &std::sync::atomic::AtomicBool,
) {
    /// Long enough for files of some GB whose dirty part is small.
    const BEFORE: Duration = Duration::from_millis(700);
    let until = std::time::Instant::now() + warmup.saturating_sub(BEFORE);
    while std::time::Instant::now() < until {
        if over.load(std::sync::atomic::Ordering::Relaxed) {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let text = match page_cache::evict(directory) {
        Ok(page_cache::Evicted { bytes, left: Some(left) }) => {
            format!("{} of {} are left in memory", figures::bytes(left as f64), figures::bytes(bytes as f64))
        }
        Ok(page_cache::Evicted { bytes, left: None }) => {
            format!("{} let go of, not proved: this kernel does not say", figures::bytes(bytes as f64))
        }
        Err(error) => format!("could not be let go of: {error}"),
    };
    if let Ok(mut marks) = marks.lock() {
        marks.push((monotonic_ns(), "evict", text));
    }
}

/// Pauses the subject at its time, on a thread of its own: the generator must not notice in any other way.
fn inflict(
    subject: &Subject,
    faults: &[Fault],
    marks: &std::sync::Mutex<Vec<(u64, &'static str, String)>>,
    over: &std::sync::atomic::AtomicBool,
) {
    let zero = std::time::Instant::now();
    let wait_until = |at: Duration| {
        while zero.elapsed() < at && !over.load(std::sync::atomic::Ordering::Relaxed) {
            std::thread::sleep((at - zero.elapsed().min(at)).min(Duration::from_millis(50)));
        }
        !over.load(std::sync::atomic::Ordering::Relaxed)
    };
    for fault in faults {
        let (at, duration) = match fault {
            Fault::Pause { at, duration } => (*at, *duration),
            // Refused before the run begins: `bench verify --crash` is where a kill belongs.
            Fault::Kill { .. } => continue,
        };
        if !wait_until(at) {
            return;
        }
        let begun = monotonic_ns();
        let paused = subject.pause(true);
        // Slept in one piece, so that the pause is as long as it says.
        std::thread::sleep(duration);
        let continued = subject.pause(false);
        let text = match paused.and(continued) {
            Ok(()) => format!("paused for {} ms", (monotonic_ns() - begun) / 1_000_000),
            Err(error) => format!("could not be paused: {error}"),
        };
        if let Ok(mut marks) = marks.lock() {
            marks.push((begun, "pause", text));
        }
    }
}

fn mark(at_ns: u64, started_ns: u64, kind: &str, text: String) -> Mark {
    let at_ns = at_ns.saturating_sub(started_ns);
    Mark { at_ns, kind: kind.to_owned(), text: Some(text), ..Mark::default() }
}

/// A stretch in which others had a core of the subject.
fn taken(stretch: &core_wait::Stretch, started_ns: u64) -> Mark {
    Mark {
        at_ns: stretch.start_ns.saturating_sub(started_ns),
        kind: run::CORE_WAIT.to_owned(),
        text: Some(format!(
            "others had the core of thread {} for {:.1} ms",
            stretch.thread,
            stretch.duration_ns as f64 / 1e6
        )),
        duration_ns: Some(stretch.duration_ns),
    }
}

/// Growing the page cache costs about as much as a bounded window where the host backs the memory already. None where
/// one of the two was not measured.
fn memory_state(warmed: &page_cache::Moved, before: &run::CacheState) -> Option<&'static str> {
    let (growing, window) = (before.growth_probe_bytes_per_s?, warmed.bytes_per_s()?);
    Some(if growing >= 0.8 * window { "resident" } else { "not-resident" })
}

/// What came from outside and makes the figures mean nothing.
fn void_reasons(window: &Window, clock_step: Duration, outcome: &Outcome) -> Vec<String> {
    let mut reasons = Vec::new();
    if let Some(steal) = window.system.steal_ratio().filter(|steal| *steal > STEAL_RATIO_MAX) {
        reasons.push(format!("steal {:.1} %", steal * 100.0));
    }
    if let Some(cores) = window.strangers_cores.filter(|cores| *cores > STRANGERS_CORES_MAX) {
        reasons.push(format!("other processes used {cores:.2} cores"));
    }
    if window.system.swapped_pages.is_some_and(|pages| pages > 0) {
        reasons.push("swap was used".to_owned());
    }
    if clock_step > CLOCK_STEP_MAX {
        reasons.push(format!("the clock was set ({} ms)", clock_step.as_millis()));
    }
    let late = late(&outcome.own_lag, &outcome.produce_response, outcome.generator.core_wait_ns);
    // Its answers lie unread while it works: then even its full in-flight window, and the lag behind it, is its own.
    reasons.extend(late.or_else(|| {
        let busy = outcome.generator.busy_ratio_of_own_time(outcome.window_ns)?;
        let open = !outcome.produce_response.is_empty();
        (open && busy > BUSY_RATIO_MAX)
            .then(|| format!("the generator was late: it worked {:.0} % of its time", busy.min(1.0) * 100.0))
    }));
    reasons
}

/// Whether the generator's own lag is a part of the response time that matters. With fewer than ten samples above it,
/// p99.9 is the story of one accident: then p99 is judged.
fn late(own_lag: &load::Histogram, response: &load::Histogram, core_wait_ns: Option<u64>) -> Option<String> {
    let (quantile, name) = if own_lag.len() >= 10_000 { (0.999, "p99.9") } else { (0.99, "p99") };
    if own_lag.is_empty() {
        return None;
    }
    let (lag, whole) = (own_lag.value_at_quantile(quantile), response.value_at_quantile(quantile));
    if lag <= OWN_LAG_NS_FREE || (lag as f64) <= OWN_LAG_SHARE_MAX * whole as f64 {
        return None;
    }
    let ms = |ns: u64| ns as f64 / 1e6;
    let waited =
        core_wait_ns.map(|ns| format!("; others had its core for {:.0} ms", ms(ns))).unwrap_or_default();
    Some(format!(
        "the generator was late: {name} of its own lag {:.1} ms, of a response of {:.1} ms{waited}",
        ms(lag),
        ms(whole)
    ))
}

fn status(second: &load::Second, sample: &SecondSample) -> Status {
    let seconds = second.duration_ns as f64 / 1e9;
    let per_second = |count: u64| if seconds > 0.0 { count as f64 / seconds } else { 0.0 };
    let quantile = |q: f64| (!second.produce.is_empty()).then(|| second.produce.value_at_quantile(q));
    Status {
        phase: second.phase.text(),
        offered_records_per_s: per_second(second.offered_records),
        achieved_records_per_s: per_second(second.acked_records),
        bytes_per_s: per_second(second.acked_bytes),
        consumed_records_per_s: per_second(second.consumed_records),
        in_flight: second.in_flight,
        waiting_records: second.waiting_records,
        backlog_records: second.backlog_records,
        p50_ns: quantile(0.5),
        p99_ns: quantile(0.99),
        p99_9_ns: quantile(0.999),
        max_ns: (!second.produce.is_empty()).then(|| second.produce.max()),
        broker_cores: sample.broker_cpu_ns.map(|ns| ns as f64 / second.duration_ns.max(1) as f64),
        generator_cores: second.generator_cpu_ns.map(|ns| ns as f64 / second.duration_ns.max(1) as f64),
        rss_bytes: sample.rss_bytes,
        steal_ratio: sample.system.steal_ratio(),
        anomalies: second.anomalies,
        errors: second.errors,
    }
}

fn series(outcome: &Outcome, samples: &[(u64, SecondSample)], zero_ns: u64, catches_up: bool) -> Vec<Second> {
    let seconds = outcome.series.iter().map(|second| {
        let sample = samples.iter().find(|(start, _)| *start == second.start_ns).map(|(_, sample)| sample);
        let ns = second.duration_ns.max(1) as f64;
        let rate = |count: u64| Some(count as f64 * 1e9 / ns);
        let some = !second.produce.is_empty();
        let mut histograms = Vec::new();
        // The closed loop has no response time: what it reports per second is service time.
        let closed = outcome.produce_response.is_empty();
        let pairs = if closed {
            [(run::PRODUCE_SERVICE, &second.produce), (run::E2E_SERVICE, &second.e2e)]
        } else {
            [(run::PRODUCE_RESPONSE, &second.produce), (run::E2E_RESPONSE, &second.e2e)]
        };
        for (metric, histogram) in pairs {
            if !histogram.is_empty() {
                histograms.push(statistics::encode(metric, histogram));
            }
        }
        Second {
            start_ns: zero_ns + second.start_ns,
            duration_ns: second.duration_ns,
            phase: second.phase.text().to_owned(),
            offered_records_per_s: rate(second.offered_records),
            achieved_records_per_s: rate(second.acked_records),
            consumed_records_per_s: rate(second.consumed_records),
            catch_up_records_per_s: catches_up.then(|| rate(second.catch_up_records)).flatten(),
            response_p50_ns: some.then(|| second.produce.value_at_quantile(0.5)),
            response_p99_ns: some.then(|| second.produce.value_at_quantile(0.99)),
            response_max_ns: some.then(|| second.produce.max()),
            backlog_records: second.backlog_records,
            broker_cpu_cores: sample.and_then(|s| s.broker_cpu_ns).map(|cpu| cpu as f64 / ns),
            generator_cpu_cores: second.generator_cpu_ns.map(|cpu| cpu as f64 / ns),
            rss_bytes: sample.and_then(|s| s.rss_bytes),
            steal_ratio: sample.and_then(|s| s.system.steal_ratio()),
            dirty_bytes: sample.and_then(|s| s.dirty_bytes),
            histograms,
        }
    });
    seconds.collect()
}

fn histograms(outcome: &Outcome) -> Vec<run::Histogram> {
    let all = [
        (run::PRODUCE_RESPONSE, &outcome.produce_response),
        (run::PRODUCE_SERVICE, &outcome.produce_service),
        (run::SCHEDULE_LAG, &outcome.schedule_lag),
        (run::E2E_RESPONSE, &outcome.e2e_response),
        (run::E2E_SERVICE, &outcome.e2e_service),
    ];
    all.into_iter().filter(|(_, h)| !h.is_empty()).map(|(metric, h)| statistics::encode(metric, h)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[(u64, u64)]) -> load::Histogram {
        let mut histogram = load::outcome::histogram();
        for (ms, count) in values {
            histogram.record_n(ms * 1_000_000, *count).unwrap();
        }
        histogram
    }

    #[test]
    fn lag_is_held_against_a_block_where_it_is_part_of_what_the_block_says() {
        let lag = of(&[(0, 19_900), (3, 100)]);
        assert_eq!(late(&lag, &of(&[(1, 19_000), (60, 1_000)]), None), None, "the broker was slow");
        let said = late(&lag, &of(&[(0, 19_900), (4, 100)]), Some(61_000_000)).unwrap();
        assert!(said.contains("p99.9 of its own lag 3.0 ms, of a response of 4.0 ms"), "{said}");
        assert!(said.contains("others had its core for 61 ms"), "{said}");
        assert_eq!(late(&of(&[(0, 19_995), (3, 5)]), &of(&[(0, 20_000)]), None), None, "five of 20,000");
        assert!(late(&of(&[(0, 900), (3, 100)]), &of(&[(3, 1_000)]), None).unwrap().contains(": p99 of"));
        assert_eq!(late(&of(&[]), &of(&[]), None), None, "a closed loop has no lag");
    }
}
