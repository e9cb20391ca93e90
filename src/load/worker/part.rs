//! What a worker tells: a part per second, a total at its end, and what its core cost.
//!
//! In: samples of the worker's turns. Out: plain values over a channel; the thread that started the workers merges them.

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;

use crate::load::outcome::{Histogram, Phase, histogram};
use crate::metrics::slow::SlowSamples;
use crate::reactor::Waker;

/// Slow requests kept to tell stalls apart.
const SLOW_KEPT: usize = 16 * 1024;

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
    pub catch_up_records: u64,
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
    /// By all groups that follow together.
    pub consumed_records: u64,
    pub catch_up_records: u64,
    pub fetch_wire_bytes: u64,
    pub fetches: u64,
    pub fetches_empty: u64,
    pub errors: BTreeMap<i16, u64>,
    pub cpu_ns: Option<u64>,
    /// Ready to run, and the core was with somebody else.
    pub core_wait_ns: Option<u64>,
    pub spin_ns: u64,
    pub turns: u64,
    pub turn_ns_max: u64,
    /// All of this worker's readers reached the end.
    pub complete: bool,
}

impl Total {
    pub fn new() -> Total {
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
            catch_up_records: 0,
            fetch_wire_bytes: 0,
            fetches: 0,
            fetches_empty: 0,
            errors: BTreeMap::new(),
            cpu_ns: None,
            core_wait_ns: None,
            spin_ns: 0,
            turns: 0,
            turn_ns_max: 0,
            complete: false,
        }
    }
}

/// The part that is under way.
pub struct PartSums {
    pub start_ns: u64,
    pub sent: u64,
    pub acked: u64,
    pub consumed: u64,
    pub catch_up: u64,
    pub errors: u64,
    pub produce: Histogram,
    pub e2e: Histogram,
    pub cpu_ns: Option<u64>,
}

impl PartSums {
    pub fn new(start_ns: u64, cpu_ns: Option<u64>) -> PartSums {
        PartSums {
            start_ns,
            sent: 0,
            acked: 0,
            consumed: 0,
            catch_up: 0,
            errors: 0,
            produce: histogram(),
            e2e: histogram(),
            cpu_ns,
        }
    }
}

/// What the scheduler says about the calling thread.
pub struct CoreTime(Option<std::fs::File>);

impl CoreTime {
    pub fn new() -> CoreTime {
        CoreTime(std::fs::File::open("/proc/thread-self/schedstat").ok())
    }

    /// Since the thread began: ns on a core, and ns in which it could have run and others had its core.
    pub fn ns(&self) -> Option<(u64, u64)> {
        let mut text = [0u8; 96];
        let count = self.0.as_ref()?.read_at(&mut text, 0).ok()?;
        let mut fields = std::str::from_utf8(&text[..count]).ok()?.split_ascii_whitespace();
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    }
}

pub fn record(histogram: &mut Histogram, ns: u64) {
    histogram.record(ns).expect("a histogram that resizes itself takes every value");
}
