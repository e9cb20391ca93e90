//! What a run is going to do: cells, their order, windows, and how long all of it takes.
//!
//! In: options and the seed. Out: cell specifications, and `plan.json` that is written before the first block, so that
//! nothing can be left out later. Pure: no clock, no file.

use std::time::Duration;

use crate::load;
use crate::random::SplitMix64;
use crate::report::run::{Loop, Parameters, PlannedCell, Role};

/// One point: what runs, against whom, and what it is for.
#[derive(Clone, Debug)]
pub struct CellSpec {
    pub id: String,
    pub role: Role,
    /// Name of the subject; also in `Cell::subject`.
    pub subject: String,
    /// The topic's name and the broker's address are filled in for each block.
    pub load: load::Plan,
    /// Parameters of a sweep that have no field of their own in `run.json`.
    pub more: Vec<(String, String)>,
    pub memory: String,
    pub durability: String,
    pub faults: Vec<Fault>,
    pub slo: Vec<Slo>,
    /// Shortly before the window everything that was written is let go of by the page cache.
    pub evict: bool,
    /// Topics that only lie there: how many, with how many partitions.
    pub idle_topics: Vec<(String, u32)>,
    pub workload_sha256: Option<String>,
    pub blocks: u64,
}

/// Something done to the subject at a time within the measured window.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// SIGSTOP for so long.
    Pause { at: Duration, duration: Duration },
    /// SIGKILL, then a start on the same directory.
    Kill { at: Duration },
}

/// One clause of a service level: `e2e_p99 < 5ms`, `errors == 0`.
#[derive(Clone, Debug, PartialEq)]
pub struct Slo {
    pub metric: SloMetric,
    pub comparison: Comparison,
    pub value: f64,
    pub text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SloMetric {
    /// Of the produce response; ns.
    Produce(Point),
    E2e(Point),
    /// Refused batches.
    Errors,
    /// Acknowledged records per second.
    Rate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    P50,
    P90,
    P99,
    P99_9,
    P99_99,
    Max,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    Less,
    AtMost,
    Equal,
    AtLeast,
    More,
}

impl Comparison {
    pub fn holds(self, left: f64, right: f64) -> bool {
        match self {
            Comparison::Less => left < right,
            Comparison::AtMost => left <= right,
            Comparison::Equal => left == right,
            Comparison::AtLeast => left >= right,
            Comparison::More => left > right,
        }
    }
}

impl CellSpec {
    pub fn loop_kind(&self) -> Loop {
        if self.load.producers.arrivals.is_closed() { Loop::Closed } else { Loop::Open }
    }

    /// Whether segments are what this cell is about: then their beginnings and ends are marked.
    pub fn rolls(&self) -> bool {
        self.load.topic.config.iter().any(|(key, _)| key == "segment.bytes")
    }

    /// The rate the schedule asks for, averaged over the window.
    pub fn offered_records_per_s(&self) -> Option<f64> {
        use load::Arrivals;
        match &self.load.producers.arrivals {
            Arrivals::Constant { records_per_s }
            | Arrivals::Poisson { records_per_s }
            | Arrivals::Burst { records_per_s, .. } => Some(*records_per_s),
            Arrivals::Ramp { .. } | Arrivals::Step { .. } | Arrivals::Trace { .. } | Arrivals::Closed => None,
        }
    }

    /// The null broker at this point: one short block, as fast as it answers.
    pub fn roof(&self, variant: &str, windows: &Windows) -> CellSpec {
        let mut roof = self.clone();
        roof.id = format!("null-{}", self.id);
        roof.role = Role::NullBroker;
        roof.subject = "null-broker".to_owned();
        roof.blocks = 1;
        (roof.load.warmup, roof.load.duration) = (windows.null_warmup, windows.null);
        roof.load.until_steady = false;
        roof.load.producers.arrivals = load::Arrivals::Closed;
        roof.evict = false;
        roof.faults.clear();
        roof.slo.clear();
        if variant.starts_with("discard") {
            // What is dropped cannot be read, neither during the window nor after it.
            roof.load.consumers.connections = 0;
            roof.load.verify = load::VerifyMode::None;
        }
        roof
    }

    /// The same point once more, to show drift.
    pub fn anchor(&self, id: String) -> CellSpec {
        CellSpec { id, role: Role::Anchor, blocks: 1, ..self.clone() }
    }

    /// As `run.json` lists them.
    pub fn parameters(&self) -> Parameters {
        let (topic, producers, consumers) = (&self.load.topic, &self.load.producers, &self.load.consumers);
        let batch_bytes = u64::from(producers.batch_records) * u64::from(producers.record_bytes);
        Parameters {
            topics: Some(1 + self.idle_topics.len() as u64),
            partitions: Some(u64::from(topic.partitions)),
            record_bytes: Some(u64::from(producers.record_bytes)),
            batch_records: Some(u64::from(producers.batch_records)),
            batch_bytes: Some(batch_bytes),
            batches_per_request: Some(u64::from(producers.batches_per_request)),
            producers: Some(u64::from(producers.connections)),
            consumers: Some(u64::from(consumers.connections) * u64::from(consumers.groups)),
            in_flight: Some(u64::from(producers.in_flight)),
            acks: Some(producers.acks.text().to_owned()),
            compression: Some("none".to_owned()),
            arrivals: Some(producers.arrivals.name().to_owned()),
            replicas: Some(topic.replicas as u64),
            durability: Some(self.durability.clone()),
            memory: Some(self.memory.clone()),
            more: self.more.iter().map(|(path, value)| (path.clone(), value.as_str().into())).collect(),
        }
    }

    pub fn planned(&self) -> PlannedCell {
        PlannedCell {
            id: self.id.clone(),
            subject: self.subject.clone(),
            role: self.role,
            loop_kind: self.loop_kind(),
            parameters: self.parameters(),
            blocks: self.blocks,
            warmup_s: Some(self.load.warmup.as_secs_f64()),
            duration_s: Some(self.load.duration.as_secs_f64()),
        }
    }

    /// Window, warm-up and what surrounds a block.
    pub fn duration_s(&self) -> f64 {
        /// Warm-up write, topic, drain, verification, removal.
        const AROUND_S: f64 = 1.2;
        self.blocks as f64 * (self.load.warmup.as_secs_f64() + self.load.duration.as_secs_f64() + AROUND_S)
    }
}

/// The windows of `bench`.
#[derive(Clone, Copy, Debug)]
pub struct Windows {
    pub null_warmup: Duration,
    pub null: Duration,
    pub saturation_warmup: Duration,
    pub saturation: Duration,
    pub latency_warmup: Duration,
    pub latency: Duration,
    pub counting: Duration,
    pub limits_start: Duration,
    pub limits_end: Duration,
}

impl Windows {
    /// The time plan of RIG section 6.1: two minutes with everything.
    pub fn full() -> Windows {
        Windows {
            null_warmup: Duration::from_secs(1),
            null: Duration::from_secs(2),
            saturation_warmup: Duration::from_secs(2),
            saturation: Duration::from_secs(5),
            latency_warmup: Duration::from_secs(2),
            latency: Duration::from_secs(6),
            counting: Duration::from_millis(700),
            limits_start: Duration::from_secs(8),
            limits_end: Duration::from_secs(5),
        }
    }

    /// About twenty seconds: enough to see that everything works, not enough to quote.
    pub fn quick() -> Windows {
        Windows {
            null_warmup: Duration::from_millis(200),
            null: Duration::from_millis(500),
            saturation_warmup: Duration::from_millis(300),
            saturation: Duration::from_secs(1),
            latency_warmup: Duration::from_millis(300),
            latency: Duration::from_millis(1200),
            counting: Duration::from_millis(300),
            limits_start: Duration::from_millis(1500),
            limits_end: Duration::ZERO,
        }
    }
}

/// A sequence of its own for each `purpose` of one seed: for orders.
pub fn sequence(seed: u64, purpose: &str) -> SplitMix64 {
    let mixed = purpose.bytes().fold(seed ^ 0x9e37_79b9_7f4a_7c15, |mix, byte| {
        (mix ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    SplitMix64::new(mixed)
}

/// The one rate at which latencies are compared: half of the lowest saturation, rounded down to two digits.
pub fn common_rate(saturation_records_per_s: impl Iterator<Item = f64>) -> Option<f64> {
    let lowest = saturation_records_per_s.filter(|rate| *rate > 0.0).min_by(f64::total_cmp)?;
    Some(round_down(lowest / 2.0))
}

/// To two digits, at least 1.
pub fn round_down(rate: f64) -> f64 {
    let unit = 10f64.powi(rate.max(1.0).log10().floor() as i32 - 1);
    ((rate / unit).floor() * unit).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_common_rate_is_half_of_the_lowest_in_two_digits() {
        assert_eq!(common_rate([1_000_000.0, 438_912.0].into_iter()), Some(210_000.0));
        assert_eq!(common_rate([21.9, 20.0].into_iter()), Some(10.0));
        assert_eq!(common_rate(std::iter::empty()), None);
        assert_eq!(common_rate([0.0].into_iter()), None);
    }

    #[test]
    fn an_order_follows_from_its_seed_and_purpose() {
        let shuffled = |seed, purpose| {
            let mut items: Vec<u32> = (0..20).collect();
            sequence(seed, purpose).shuffle(&mut items);
            items
        };
        assert_eq!(shuffled(42, "order"), shuffled(42, "order"));
        assert_ne!(shuffled(42, "order"), shuffled(43, "order"));
        assert_ne!(shuffled(42, "order"), shuffled(42, "payload"));
        let mut sorted = shuffled(42, "order");
        sorted.sort_unstable();
        assert_eq!(sorted, (0..20).collect::<Vec<_>>());
    }
}
