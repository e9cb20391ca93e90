//! What one run of the generator found out, and what it tells while it runs.
//!
//! In: the parts the workers hand over once a second and at their end. Out: plain values for tables and files.
//! Times are ns since the start of the schedule (`Outcome::started`), on the monotonic clock.
//! Histograms hold ns, grow by themselves and clamp nothing; requests are counted, not records.

use std::collections::BTreeMap;

use crate::clock::Instant;
use crate::load::verify::Ledger;
use crate::metrics::slow::Sample;

/// A distribution in ns with three significant digits.
pub type Histogram = hdrhistogram::Histogram<u64>;

/// An empty one that grows with its values.
pub fn histogram() -> Histogram {
    let mut histogram = Histogram::new(3).expect("three significant digits are possible");
    histogram.auto(true);
    histogram
}

/// Where a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Topic, connections, batches.
    Prepare,
    Warmup,
    /// The window whose samples are published.
    Measure,
    /// No new requests; open answers and everything unread come in.
    Drain,
    /// Everything the drain did not read is read again, and the end is compared.
    Audit,
}

impl Phase {
    /// As `run.json` spells it.
    pub fn text(self) -> &'static str {
        match self {
            Phase::Prepare => "prepare",
            Phase::Warmup => "warmup",
            Phase::Measure => "measure",
            Phase::Drain => "drain",
            Phase::Audit => "audit",
        }
    }
}

/// What `run` tells while it runs, on the thread that called it.
#[derive(Clone, Debug)]
pub enum Progress {
    /// A phase begins now. Sample the subject's counters here.
    Phase { phase: Phase, at_ns: u64 },
    /// A second has ended in every worker.
    Second(Box<Second>),
}

/// One second of all workers.
#[derive(Clone, Debug)]
pub struct Second {
    pub phase: Phase,
    pub start_ns: u64,
    /// Usually 10^9; the last one of a phase is shorter.
    pub duration_ns: u64,
    /// Records due by the schedule; for the closed loop what was sent.
    pub offered_records: u64,
    pub acked_records: u64,
    pub consumed_records: u64,
    /// By groups that were held back and now catch up; not in `consumed_records`, nor in `e2e`.
    pub catch_up_records: u64,
    /// Bytes of values, without framing.
    pub acked_bytes: u64,
    pub errors: u64,
    /// Requests unanswered at the end of the second.
    pub in_flight: u64,
    /// Records due and not written at the end of the second.
    pub waiting_records: u64,
    /// Records acknowledged and not yet read by the slowest group, at the end of the second; `None` without readers.
    pub backlog_records: Option<u64>,
    /// Anomalies found so far.
    pub anomalies: u64,
    /// By time of completion. The closed loop has no response time: this is then service time.
    pub produce: Histogram,
    pub e2e: Histogram,
    /// CPU the workers used in this second, ns.
    pub generator_cpu_ns: Option<u64>,
}

/// Why a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The whole window.
    Completed,
    /// `Plan::bytes_max` was reached.
    BytesMax,
    /// `Plan::window_bytes` were sent in the window.
    WorkDone,
    /// More than 10 s of schedule was waiting.
    Overloaded,
    /// The caller broke it off.
    Interrupted,
    /// A connection ended: which, and why. The ledger says what had been acknowledged.
    Disconnected(String),
}

/// One run.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub ended: Ended,
    /// The zero of all times here.
    pub started: Instant,
    pub window_start_ns: u64,
    /// Whether the warm-up ended because nothing moved any more; `None` where its length was given.
    pub steady: Option<bool>,
    pub window_ns: u64,
    /// Completions within the window.
    pub counts: Counts,
    /// From the intended time to the answer, for requests due in the window. Empty for the closed loop.
    pub produce_response: Histogram,
    /// From the first byte written to the answer.
    pub produce_service: Histogram,
    /// From the intended time to the first byte written. Empty for the closed loop.
    pub schedule_lag: Histogram,
    /// The part of it that is the generator's own fault: the in-flight window and the socket were free.
    pub own_lag: Histogram,
    /// From the intended time to the last byte of the batch read. Empty for the closed loop.
    pub e2e_response: Histogram,
    /// From the first byte written to the last byte of the batch read.
    pub e2e_service: Histogram,
    /// All seconds, warm-up and drain included.
    pub series: Vec<Second>,
    /// The slowest requests due in the window (closed loop: written in it), from which stalls are told apart.
    pub slow: Vec<Sample>,
    /// Every request slower than this is in `slow`.
    pub slow_complete_above_ns: u64,
    pub generator: Generator,
    pub verification: Verification,
    /// What was acknowledged and read; `load::audit` reads the topic again and compares.
    pub ledger: Ledger,
    /// Connections, versions and settings as used.
    pub effective: Vec<(String, String)>,
    /// Why the topic was to be deleted and is still there.
    pub left_behind: Option<String>,
}

impl Outcome {
    /// Records acknowledged per second of the window.
    pub fn records_per_s(&self) -> f64 {
        per_second(self.counts.acked_records, self.window_ns)
    }

    /// Records read per second of the window, by one group.
    pub fn consumed_records_per_s(&self) -> f64 {
        per_second(self.counts.consumed_records, self.window_ns)
    }

    /// Acknowledged over offered; `None` for the closed loop.
    pub fn achieved_ratio(&self) -> Option<f64> {
        let offered = self.counts.offered_records?;
        (offered > 0).then(|| self.counts.acked_records as f64 / offered as f64)
    }
}

fn per_second(count: u64, ns: u64) -> f64 {
    if ns == 0 { 0.0 } else { count as f64 * 1e9 / ns as f64 }
}

/// What happened within the window, by time of completion.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counts {
    /// Records the schedule called for; `None` for the closed loop.
    pub offered_records: Option<u64>,
    pub acked_requests: u64,
    pub acked_batches: u64,
    pub acked_records: u64,
    /// Bytes of values acknowledged, without framing.
    pub acked_bytes: u64,
    /// Bytes of whole produce requests acknowledged.
    pub produce_wire_bytes: u64,
    /// Read by all groups that follow, divided by their number.
    pub consumed_records: u64,
    /// Read by groups that were held back, all together.
    pub catch_up_records: u64,
    pub consumed_bytes: u64,
    /// Bytes of whole fetch responses.
    pub fetch_wire_bytes: u64,
    pub fetches: u64,
    /// Fetches that brought nothing.
    pub fetches_empty: u64,
    /// Batches that were refused, by Kafka's error code, over the whole run.
    pub errors: BTreeMap<i16, u64>,
}

impl Counts {
    /// Records per produce request, as seen on the wire.
    pub fn records_per_request(&self) -> Option<f64> {
        (self.acked_requests > 0).then(|| self.acked_records as f64 / self.acked_requests as f64)
    }
}

/// What the generator itself did within the window.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Generator {
    pub workers: u64,
    /// CPU of the workers, polling included; `None` where the kernel does not say.
    pub cpu_ns: Option<u64>,
    /// Time in which a worker was ready to run and something else had its core.
    pub core_wait_ns: Option<u64>,
    /// The part of the CPU spent waiting for the next due request without sleeping.
    pub spin_ns: u64,
    pub turns: u64,
    /// The longest turn: it bounds the error of every sample.
    pub turn_ns_max: u64,
}

impl Generator {
    /// Share of the workers' time that was work.
    pub fn busy_ratio(&self, window_ns: u64) -> Option<f64> {
        let available = self.workers.checked_mul(window_ns).filter(|ns| *ns > 0)?;
        Some(self.cpu_ns?.saturating_sub(self.spin_ns) as f64 / available as f64)
    }

    /// The same of the time in which the workers had their cores: a generator that is kept from its core is not idle.
    pub fn busy_ratio_of_own_time(&self, window_ns: u64) -> Option<f64> {
        let window_ns = self.workers.checked_mul(window_ns)?;
        let own_ns = window_ns.saturating_sub(self.core_wait_ns.unwrap_or(0));
        Some(self.cpu_ns?.saturating_sub(self.spin_ns) as f64 / own_ns.max(window_ns / 100).max(1) as f64)
    }
}

/// What verification found. Counts are records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verification {
    /// `full`, `sampled:1/64`, `none`.
    pub mode: String,
    /// False when not everything could be read: the run was disconnected, or the drain took too long.
    pub complete: bool,
    pub acked: u64,
    /// Read by all groups together, divided by the number of groups; not acknowledged ones included.
    pub read: u64,
    pub lost: u64,
    pub duplicated: u64,
    pub reordered: u64,
    pub corrupt: u64,
    pub wrong_offset: u64,
    /// Offsets that went back or were left out within one poll position.
    pub nonmonotonic: u64,
    /// Read by one group and not by another.
    pub unseen: u64,
    /// Read but never acknowledged: allowed, at most once.
    pub unacked_seen: u64,
    /// Samples that would have been negative: clocks that disagree.
    pub negative_latencies: u64,
    /// The first ten.
    pub first_anomalies: Vec<Anomaly>,
}

impl Verification {
    /// Records with any anomaly.
    pub fn anomalies(&self) -> u64 {
        self.lost
            + self.duplicated
            + self.reordered
            + self.corrupt
            + self.wrong_offset
            + self.nonmonotonic
            + self.unseen
            + self.negative_latencies
    }

    /// True when everything was read and nothing was wrong, or nothing was asked for.
    pub fn passed(&self) -> bool {
        self.mode == "none" || (self.complete && self.anomalies() == 0)
    }
}

/// What is wrong with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AnomalyKind {
    LostWrite,
    Duplicate,
    Reordered,
    NonmonotonicPoll,
    PollSkip,
    WrongOffset,
    Corrupt,
    Unseen,
}

impl AnomalyKind {
    /// As it is printed.
    pub fn text(self) -> &'static str {
        match self {
            AnomalyKind::LostWrite => "lost-write",
            AnomalyKind::Duplicate => "duplicate",
            AnomalyKind::Reordered => "reordered",
            AnomalyKind::NonmonotonicPoll => "nonmonotonic-poll",
            AnomalyKind::PollSkip => "poll-skip",
            AnomalyKind::WrongOffset => "wrong-offset",
            AnomalyKind::Corrupt => "corrupt",
            AnomalyKind::Unseen => "unseen",
        }
    }
}

/// One of the first anomalies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anomaly {
    pub kind: AnomalyKind,
    pub partition: i32,
    pub offset: Option<i64>,
    pub producer: Option<u32>,
    /// Of the batch, within its producer and partition.
    pub sequence: Option<u64>,
    /// What was expected, what was found.
    pub text: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::random::Random;

    #[test]
    fn merged_histograms_equal_one_of_all_samples() {
        let mut random = Random::new(1, 1);
        let mut parts = [histogram(), histogram(), histogram()];
        let mut whole = histogram();
        for number in 0..30_000 {
            // Over nine orders of magnitude, zero included.
            let ns = random.number() >> (20 + random.number() % 44);
            parts[number % 3].record(ns).unwrap();
            whole.record(ns).unwrap();
        }
        let mut merged = histogram();
        parts.iter().for_each(|part| merged.add(part).unwrap());
        assert_eq!(merged, whole);
        assert_eq!((merged.len(), merged.max()), (30_000, whole.max()));
    }

    #[test]
    fn nothing_is_clamped() {
        let mut histogram = histogram();
        let hour_ns = 3_600_000_000_000;
        histogram.record(hour_ns).unwrap();
        assert!(histogram.max() >= hour_ns && histogram.max() < hour_ns + hour_ns / 1000);
        histogram.record(0).unwrap();
        assert_eq!(histogram.min(), 0);
    }

    #[test]
    fn polling_is_not_work() {
        let generator = Generator { workers: 2, cpu_ns: Some(1_500), spin_ns: 500, ..Generator::default() };
        assert_eq!(generator.busy_ratio(1_000), Some(0.5));
        assert_eq!(generator.busy_ratio_of_own_time(1_000), Some(0.5));
        let kept_away = Generator { core_wait_ns: Some(1_000), ..generator.clone() };
        assert_eq!(kept_away.busy_ratio_of_own_time(1_000), Some(1.0));
        assert_eq!(Generator { cpu_ns: None, ..generator }.busy_ratio(1_000), None);
    }
}
