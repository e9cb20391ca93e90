//! What one run of the generator does: a topic, who writes to it and how fast, who reads it, for how long.
//!
//! In: values from a workload file or a command line. Out: the same, checked by `Plan::check`.
//! Rates are records per second over all producers together; times are since the start of the schedule.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::load::LoadError;
use crate::load::batch_pool::STAMP_BYTES;
use crate::load::outcome::Phase;
use crate::reactor::choice::Kind;

/// One run against one topic of one broker.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where the broker listens. It must lead all partitions of the topic.
    pub address: SocketAddr,
    pub topic: Topic,
    pub producers: Producers,
    pub consumers: Consumers,
    /// Runs before the measured window on the same schedule; its samples are in the series, not in the totals.
    pub warmup: Duration,
    /// `warmup` is a limit: the window begins when three seconds of warm-up show no trend (`load::steady`).
    pub until_steady: bool,
    /// The measured window.
    pub duration: Duration,
    /// Ends the window early when this many bytes of records have been sent, warm-up included.
    pub bytes_max: Option<u64>,
    /// Ends the window when this many bytes of records have been sent in it: the same work for every subject.
    pub window_bytes: Option<u64>,
    /// How long readers may take, after the last acknowledgement, to see everything.
    pub drain_max: Duration,
    /// How long one request may go unanswered before the broker counts as hung.
    pub answer_max: Duration,
    /// Drives payloads, arrivals and the run's identity.
    pub seed: u64,
    pub verify: VerifyMode,
    /// Cores to pin one worker each to. Empty: one worker, not pinned.
    pub cores: Vec<usize>,
    /// What the workers do their input and output by.
    pub io: Kind,
    /// The broker does not run on `cores`: the workers may be preferred there to whatever else comes by.
    pub own_cores: bool,
    /// Each turn of a worker lasts at least this long: a generator too slow on purpose, to prove that a run notices.
    pub turn_delay: Duration,
    /// How long before a due request the worker stops sleeping and polls. Sleeping threads wake 20 to 60 us late.
    pub spin: Duration,
}

impl Default for Plan {
    /// The default workload of `bench`: 16 records of 1 KiB per batch, 4 connections with 5 requests in flight,
    /// acks=all, one reader, as fast as answers come.
    fn default() -> Plan {
        Plan {
            address: SocketAddr::from(([127, 0, 0, 1], 9092)),
            topic: Topic::default(),
            producers: Producers::default(),
            consumers: Consumers::default(),
            warmup: Duration::from_secs(2),
            until_steady: false,
            duration: Duration::from_secs(5),
            bytes_max: None,
            window_bytes: None,
            drain_max: Duration::from_secs(60),
            answer_max: Duration::from_secs(30),
            seed: 42,
            verify: VerifyMode::Full,
            cores: Vec::new(),
            io: Kind::IoUring,
            own_cores: false,
            turn_delay: Duration::ZERO,
            spin: Duration::from_micros(40),
        }
    }
}

/// The topic the run writes and reads.
#[derive(Clone, Debug)]
pub struct Topic {
    pub name: String,
    pub partitions: u32,
    pub replicas: i16,
    /// Topic settings for CreateTopics, Kafka's names.
    pub config: Vec<(String, String)>,
    /// Create it before the run; it must not exist. `false`: it must exist, and hold nothing if `verify` is on.
    pub create: bool,
    /// Delete it after verification.
    pub delete: bool,
}

impl Default for Topic {
    fn default() -> Topic {
        Topic {
            name: "bench".into(),
            partitions: 1,
            replicas: 1,
            config: Vec::new(),
            create: true,
            delete: true,
        }
    }
}

/// Who writes.
#[derive(Clone, Debug)]
pub struct Producers {
    /// Connections; 0 is allowed: the run then only reads.
    pub connections: u32,
    /// Requests each connection may have unanswered.
    pub in_flight: u32,
    pub batch_records: u32,
    /// Each to a partition of its own, round robin.
    pub batches_per_request: u32,
    /// Bytes of a record's value. There are no keys.
    pub record_bytes: u32,
    pub acks: Acks,
    /// Numbers batches with a producer id of the broker, so that it drops repeated ones.
    pub idempotent: bool,
    pub arrivals: Arrivals,
    /// Different payloads, shared by all connections.
    pub pool: u32,
    /// Part of the payload that is random; the rest is zero bytes.
    pub random: f64,
}

impl Default for Producers {
    fn default() -> Producers {
        Producers {
            connections: 4,
            in_flight: 5,
            batch_records: 16,
            batches_per_request: 1,
            record_bytes: 1024,
            acks: Acks::All,
            idempotent: false,
            arrivals: Arrivals::Closed,
            pool: 32,
            random: 1.0,
        }
    }
}

impl Producers {
    /// Records one request carries.
    pub fn request_records(&self) -> u64 {
        u64::from(self.batch_records) * u64::from(self.batches_per_request)
    }
}

/// When a write counts as done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acks {
    None,
    Leader,
    All,
}

impl Acks {
    /// The number on the wire.
    pub fn number(self) -> i16 {
        match self {
            Acks::None => 0,
            Acks::Leader => 1,
            Acks::All => -1,
        }
    }

    /// As Kafka's setting spells it.
    pub fn text(self) -> &'static str {
        match self {
            Acks::None => "0",
            Acks::Leader => "1",
            Acks::All => "all",
        }
    }
}

/// When requests are due. All but `Closed` are absolute: the broker's answers do not move them.
#[derive(Clone, Debug, PartialEq)]
pub enum Arrivals {
    /// As fast as answers come, `in_flight` open per connection. For saturation; has no response time.
    Closed,
    /// Evenly spaced.
    Constant { records_per_s: f64 },
    /// Exponential gaps.
    Poisson { records_per_s: f64 },
    /// Nothing during `off`; during `on` fast enough that the average is `records_per_s`.
    Burst { records_per_s: f64, on: Duration, off: Duration },
    /// From one rate to another, linearly over warm-up and window.
    Ramp { from_records_per_s: f64, to_records_per_s: f64 },
    /// One rate after another, each for its time; the last one stays.
    Step { steps: Vec<(Duration, f64)> },
    /// The instants at which requests are due, rising; dealt to the connections in turn.
    Trace { due: Arc<[Duration]> },
}

impl Arrivals {
    pub fn is_closed(&self) -> bool {
        matches!(self, Arrivals::Closed)
    }

    /// As a workload file spells it.
    pub fn name(&self) -> &'static str {
        match self {
            Arrivals::Closed => "closed",
            Arrivals::Constant { .. } => "constant",
            Arrivals::Poisson { .. } => "poisson",
            Arrivals::Burst { .. } => "burst",
            Arrivals::Ramp { .. } => "ramp",
            Arrivals::Step { .. } => "step",
            Arrivals::Trace { .. } => "trace",
        }
    }
}

/// Who reads. Every group reads every partition once; its connections share the partitions.
#[derive(Clone, Debug)]
pub struct Consumers {
    /// Connections per group; 0: nobody reads during the run, and verification reads everything afterwards.
    pub connections: u32,
    pub groups: u32,
    /// `fetch.max.wait.ms`
    pub max_wait: Duration,
    /// `fetch.min.bytes`
    pub min_bytes: u32,
    /// `fetch.max.bytes`
    pub max_bytes: u32,
    /// `max.partition.fetch.bytes`
    pub partition_max_bytes: u32,
    /// The last so many groups do not read from the beginning of the run, but from `held_until` on: they catch up.
    pub held_groups: u32,
    pub held_until: Phase,
}

impl Consumers {
    /// Groups that read all the time, at least one for dividing by.
    pub fn following_groups(&self) -> u32 {
        self.groups.saturating_sub(self.held_groups).max(1)
    }
}

impl Default for Consumers {
    fn default() -> Consumers {
        Consumers {
            connections: 1,
            groups: 1,
            max_wait: Duration::from_millis(500),
            min_bytes: 1,
            max_bytes: 50 << 20,
            partition_max_bytes: 1 << 20,
            held_groups: 0,
            held_until: Phase::Measure,
        }
    }
}

/// How much of what is read is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerifyMode {
    /// Everything.
    Full,
    /// Payload bytes of one batch in so many; sequences and offsets of all.
    Sampled(u32),
    /// Nothing: the result is stamped UNVERIFIED.
    None,
}

impl VerifyMode {
    /// `full`, `sampled:1/64`, `none`.
    pub fn text(self) -> String {
        match self {
            VerifyMode::Full => "full".into(),
            VerifyMode::Sampled(one_in) => format!("sampled:1/{one_in}"),
            VerifyMode::None => "none".into(),
        }
    }
}

impl Plan {
    /// Refuses what cannot be run, naming the field.
    pub fn check(&self) -> Result<(), LoadError> {
        let refuse = |what: String| Err(LoadError::Plan(what));
        let (topic, producers, consumers) = (&self.topic, &self.producers, &self.consumers);
        if topic.partitions == 0 || topic.partitions > 1_000_000 {
            return refuse(format!("topic.partitions is {}: 1 to 1000000 are possible", topic.partitions));
        }
        if producers.connections > 60_000 {
            return refuse(format!("producers.connections is {}: at most 60000", producers.connections));
        }
        if producers.connections > 0 {
            for (name, value) in [
                ("in_flight", producers.in_flight),
                ("batch_records", producers.batch_records),
                ("batches_per_request", producers.batches_per_request),
                ("pool", producers.pool),
            ] {
                if value == 0 || value > 1 << 16 {
                    return refuse(format!("producers.{name} is {value}: 1 to 65536 are possible"));
                }
            }
            if (producers.record_bytes as usize) < STAMP_BYTES {
                return refuse(format!(
                    "producers.record_bytes is {}: a batch needs {STAMP_BYTES} for its identity",
                    producers.record_bytes
                ));
            }
            let batch_bytes =
                u64::from(producers.batch_records) * (u64::from(producers.record_bytes) + 24) + 61;
            if batch_bytes * u64::from(producers.batches_per_request) > 512 << 20 {
                return refuse("one produce request would exceed 512 MiB".into());
            }
            if producers.batches_per_request > topic.partitions {
                return refuse(format!(
                    "producers.batches_per_request is {}, but there are only {} partitions",
                    producers.batches_per_request, topic.partitions
                ));
            }
            if !(0.0..=1.0).contains(&producers.random) {
                return refuse(format!("producers.random is {}: 0 to 1 are possible", producers.random));
            }
            if producers.idempotent && producers.in_flight > 5 {
                return refuse(
                    "producers.in_flight is above 5 with idempotence: a broker remembers 5".into(),
                );
            }
            if producers.idempotent && producers.acks != Acks::All {
                return refuse("producers.idempotent needs acks=all".into());
            }
            self.check_arrivals()?;
        }
        if consumers.connections > 0 && consumers.groups == 0 {
            return refuse("consumers.groups is 0".into());
        }
        if consumers.held_groups > 0 && consumers.held_groups >= consumers.groups {
            return refuse("consumers.held_groups leaves no group that follows".into());
        }
        if consumers.groups > 64 {
            return refuse(format!("consumers.groups is {}: at most 64", consumers.groups));
        }
        if matches!(self.verify, VerifyMode::Sampled(0)) {
            return refuse("verify is sampled:1/0".into());
        }
        if self.duration.is_zero() {
            return refuse("duration is 0".into());
        }
        Ok(())
    }

    fn check_arrivals(&self) -> Result<(), LoadError> {
        let rates: Vec<f64> = match &self.producers.arrivals {
            Arrivals::Closed => Vec::new(),
            Arrivals::Constant { records_per_s }
            | Arrivals::Poisson { records_per_s }
            | Arrivals::Burst { records_per_s, .. } => vec![*records_per_s],
            Arrivals::Ramp { from_records_per_s, to_records_per_s } => {
                vec![*from_records_per_s, *to_records_per_s]
            }
            Arrivals::Step { steps } if steps.is_empty() => {
                return Err(LoadError::Plan("producers.arrivals is step without a step".into()));
            }
            Arrivals::Step { steps } => steps.iter().map(|(_, rate)| *rate).collect(),
            Arrivals::Trace { due } => {
                if !due.is_sorted() {
                    return Err(LoadError::Plan("the trace of arrivals goes back in time".into()));
                }
                Vec::new()
            }
        };
        for rate in rates {
            if !rate.is_finite() || rate <= 0.0 || rate > 1e10 {
                return Err(LoadError::Plan(format!("a rate of {rate} records/s cannot be offered")));
            }
        }
        if let Arrivals::Burst { on, .. } = &self.producers.arrivals
            && on.is_zero()
        {
            return Err(LoadError::Plan("producers.arrivals is burst with nothing on".into()));
        }
        Ok(())
    }
}
