//! From blocks to the figures of a cell, and from two cells to a share of the roof.
//!
//! In: what the blocks of one cell measured. Out: `report::run::Cell`. Rates and costs are sums over sums, never
//! averages of averages; percentiles come from merged histograms. Void blocks count only when there is nothing else,
//! and then the cell says so.

use super::block::{Ran, Window};
use super::core_wait;
use super::counting::Counts;
use super::plan::{CellSpec, Point, Slo, SloMetric};
use super::sustain::{self, Around, Limit};
use crate::load::{self, Ended, Outcome};
use crate::report::run::{Anomaly, Cell, Loop, Percentiles, Stall, Verification};
use crate::report::statistics::{self, Quantile};

/// Below this share of the null broker's rate the generator was the limit.
pub const HEADROOM_MIN: f64 = 1.2;
const HEADROOM_GOOD: f64 = 2.0;
const BUSY: f64 = 0.95;
/// A rate that moves further than this within its window had not settled.
const DRIFT_MAX: f64 = 0.2;

/// What remains of a block once its histograms are merged: enough to add blocks up.
#[derive(Clone, Debug)]
pub struct Sums {
    records: u64,
    record_bytes: u64,
    consumed_records: u64,
    catch_up_records: u64,
    offered_records: Option<u64>,
    requests: u64,
    wire_bytes: u64,
    window_s: f64,
    broker_busy: Option<f64>,
    generator_busy: Option<f64>,
    window: Window,
    generator_cpu_ns: Option<u64>,
    void: bool,
}

/// The figures of a cell while its blocks come in.
#[derive(Debug)]
pub struct Collected {
    spec: CellSpec,
    sums: Vec<Sums>,
    histograms: [load::Histogram; 5],
    /// The same of void blocks, for a cell that has no others.
    void_histograms: [load::Histogram; 5],
    stalls: Vec<Stall>,
    verification: Verification,
    flags: Vec<String>,
    counts: Option<(Counts, u64)>,
    passed: bool,
    broken: bool,
    /// Windows in which everything was read back, and the records that were.
    readbacks: Vec<(Window, u64)>,
    broker_cores: usize,
    ceilings: Ceilings,
    /// Of each block at a fixed rate.
    failed_first: Vec<Option<Limit>>,
}

/// What the machine can do, where it was measured.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ceilings {
    pub disk_bytes_per_s: Option<f64>,
    pub network_bytes_per_s: Option<f64>,
}

/// A null broker's cell, and whether its own core set its rate.
#[derive(Clone, Debug)]
pub struct Roof {
    pub cell: Cell,
    /// Of the null broker, where nobody read during the window.
    pub readback: Option<Cell>,
    pub subject_is_full: bool,
}

fn five() -> [load::Histogram; 5] {
    std::array::from_fn(|_| load::outcome::histogram())
}

impl Collected {
    pub fn new(spec: &CellSpec, broker_cores: usize) -> Collected {
        Collected {
            spec: spec.clone(),
            sums: Vec::new(),
            histograms: five(),
            void_histograms: five(),
            stalls: Vec::new(),
            verification: Verification::default(),
            flags: Vec::new(),
            counts: None,
            passed: true,
            broken: false,
            readbacks: Vec::new(),
            broker_cores: broker_cores.max(1),
            ceilings: Ceilings::default(),
            failed_first: Vec::new(),
        }
    }

    pub fn below(mut self, ceilings: Ceilings) -> Collected {
        self.ceilings = ceilings;
        self
    }

    /// What kept the first block that did not keep up with its schedule.
    pub fn failed_first(&self) -> Option<Limit> {
        self.failed_first.iter().flatten().next().copied()
    }

    pub fn spec(&self) -> &CellSpec {
        &self.spec
    }

    /// False once a block of this cell failed verification.
    pub fn passed(&self) -> bool {
        self.passed
    }

    /// True once the subject ended a connection.
    pub fn broken(&self) -> bool {
        self.broken
    }

    pub fn is_void(&self) -> bool {
        self.sums.iter().all(|sums| sums.void)
    }

    /// `started_ns` is the run's monotonic start.
    pub fn add(&mut self, ran: &Ran, started_ns: u64) {
        let outcome = &ran.outcome;
        let void = !ran.block.void_reasons.is_empty();
        let producing = self.spec.load.producers.connections > 0;
        let counts = &outcome.counts;
        let window_s = outcome.window_ns as f64 / 1e9;
        let broker_busy = ran
            .window
            .subject
            .cpu_ns
            .filter(|_| ran.window.seconds > 0.0)
            .map(|ns| ns as f64 / 1e9 / ran.window.seconds / self.broker_cores as f64);
        self.sums.push(Sums {
            records: if producing { counts.acked_records } else { counts.consumed_records },
            record_bytes: if producing { counts.acked_bytes } else { counts.consumed_bytes },
            consumed_records: counts.consumed_records,
            catch_up_records: counts.catch_up_records,
            offered_records: counts.offered_records,
            requests: if producing { counts.acked_requests } else { counts.fetches },
            wire_bytes: if producing { counts.produce_wire_bytes } else { counts.fetch_wire_bytes },
            window_s,
            broker_busy,
            generator_busy: outcome.generator.busy_ratio(outcome.window_ns),
            window: ran.window.clone(),
            generator_cpu_ns: outcome.generator.cpu_ns,
            void,
        });
        let share = |bytes: Option<u64>, ceiling: Option<f64>| {
            Some(bytes? as f64 / window_s / ceiling.filter(|_| window_s > 0.0)?)
        };
        let around = Around {
            broker_busy,
            generator_busy: outcome.generator.busy_ratio(outcome.window_ns),
            disk_share: share(ran.window.device.written_bytes, self.ceilings.disk_bytes_per_s),
            network_share: share(
                Some(counts.produce_wire_bytes + counts.fetch_wire_bytes),
                self.ceilings.network_bytes_per_s,
            ),
            slo_missed: false,
            generator_late: ran.block.void_reasons.iter().any(|reason| reason.contains("generator was late")),
        };
        self.failed_first.push(sustain::failed_first(outcome, &around));
        let into = if void { &mut self.void_histograms } else { &mut self.histograms };
        for (sum, new) in into.iter_mut().zip(five_of(outcome)) {
            sum.add(new).expect("a histogram that resizes takes every value of another");
        }
        let zero_ns = outcome.started.0.saturating_sub(started_ns);
        self.stalls.extend(
            stalls(outcome).into_iter().map(|stall| Stall { start_ns: zero_ns + stall.start_ns, ..stall }),
        );
        self.verification.add(&verification(&outcome.verification, &self.spec.id, &ran.topic));
        if let Some(window) = &ran.readback {
            self.readbacks.push((window.clone(), outcome.verification.read));
        }
        self.note_core_wait(ran);
        let broken = matches!(outcome.ended, Ended::Disconnected(_));
        self.broken |= broken;
        // What a broken connection kept from being read is the subject's failure, not a loss that was proven.
        self.passed &=
            if broken { outcome.verification.anomalies() == 0 } else { outcome.verification.passed() };
        self.note(outcome, &ran.block.void_reasons);
    }

    /// Says where p99 is the story of what else ran on the broker's core (the rule is at `core_wait::explained`). A flag and
    /// never a void: the figure is what a client saw, and the kernel's work may be the broker's own doing.
    fn note_core_wait(&mut self, ran: &Ran) {
        let (outcome, waited) = (&ran.outcome, &ran.window.core_wait);
        let response = &outcome.produce_response;
        let (Some(p99), Some(others)) = (Quantile::P99.of(response), waited.others_ns) else { return };
        let ms = |ns: u64| ns as f64 / 1e6;
        let explained = core_wait::explained(
            &waited.stretches,
            p99,
            response.len(),
            &outcome.slow,
            outcome.slow_complete_above_ns,
            outcome.started.0,
        );
        if let Some(requests) = explained {
            self.flags.push(format!(
                "core taken: p99 of {:.1} ms is explained by others on the broker's core, who had it for {:.0} ms, at most {:.1} ms at a time; \
                 without the {requests} requests that met it, p99 is at most {:.1} ms",
                ms(p99),
                ms(others),
                ms(waited.others_ns_max.unwrap_or(0)),
                ms(p99 / 2)
            ));
        }
    }

    /// What a reader must know beside the figures.
    fn note(&mut self, outcome: &Outcome, void_reasons: &[String]) {
        let mut say = |text: String| {
            if !self.flags.contains(&text) {
                self.flags.push(text);
            }
        };
        for reason in void_reasons {
            say(format!("void: {reason}"));
        }
        match &outcome.ended {
            Ended::Completed | Ended::WorkDone | Ended::Interrupted => {}
            Ended::BytesMax => say("short: the window ended at the limit of bytes".to_owned()),
            Ended::Overloaded => say("overloaded: more than 10 s of schedule was waiting".to_owned()),
            Ended::Disconnected(why) => say(format!("disconnected: {why}")),
        }
        for (code, count) in &outcome.counts.errors {
            let name = crate::wire::error_code::ErrorCode::from_code(*code).name();
            say(format!("errors: {count} batches refused with {code} {name}"));
        }
        if let Some(drift) = drift(outcome).filter(|drift| drift.abs() > DRIFT_MAX) {
            say(format!("not-steady: the rate moved by {:+.0} % within the window", drift * 100.0));
        }
        if outcome.steady == Some(false) {
            say("not-steady: the warm-up reached its limit".to_owned());
        }
        if !outcome.verification.complete && outcome.verification.mode != "none" {
            say("not everything could be read back".to_owned());
        }
        if self.spec.load.verify == load::VerifyMode::None {
            say("UNVERIFIED".to_owned());
        }
    }

    /// The counting pass: counts of a window of its own, and the requests in it.
    pub fn count(&mut self, counts: Counts, requests: u64) {
        self.counts = (requests > 0).then_some((counts, requests));
    }

    fn counted(&self) -> Vec<&Sums> {
        let good: Vec<&Sums> = self.sums.iter().filter(|sums| !sums.void).collect();
        if good.is_empty() { self.sums.iter().collect() } else { good }
    }

    /// Records per second of each block that counts: what an interval is made of.
    pub fn rates(&self) -> Vec<f64> {
        let rate = |sums: &&Sums| (sums.window_s > 0.0).then(|| sums.records as f64 / sums.window_s);
        self.counted().iter().filter_map(rate).collect()
    }

    pub fn cell(&self) -> Cell {
        let counted = self.counted();
        let add = |of: &dyn Fn(&Sums) -> u64| counted.iter().map(|sums| of(sums)).sum::<u64>();
        let all = |of: &dyn Fn(&Sums) -> Option<u64>| -> Option<u64> {
            counted.iter().map(|sums| of(sums)).try_fold(0, |sum, value| Some(sum + value?))
        };
        let seconds: f64 = counted.iter().map(|sums| sums.window_s).sum();
        let per_s = |count: u64| (seconds > 0.0 && !counted.is_empty()).then(|| count as f64 / seconds);
        let records = add(&|s| s.records);
        let per_record = |ns: Option<u64>| ns.filter(|_| records > 0).map(|ns| ns as f64 / records as f64);
        let subject_cpu = all(&|s| s.window.subject.cpu_ns);
        let system_cpu = all(&|s| Some(s.window.system.busy_ns?.saturating_sub(s.window.generator.cpu_ns?)));
        let offered = all(&|s| s.offered_records);
        let [produce_response, produce_service, schedule_lag, e2e_response, e2e_service] =
            if self.is_void() { &self.void_histograms } else { &self.histograms };
        let record_bytes = add(&|s| s.record_bytes);
        let written = all(&|s| s.window.subject.disk_written_bytes.or(s.window.device.written_bytes));
        let last = counted.last();
        let per_request = |count: Option<u64>| {
            self.counts.zip(count).map(|((_, requests), count)| count as f64 / requests as f64)
        };
        Cell {
            id: self.spec.id.clone(),
            subject: self.spec.subject.clone(),
            role: self.spec.role,
            parameters: self.spec.parameters(),
            workload_sha256: self.spec.workload_sha256.clone(),
            client_model: Some("batch".to_owned()),
            loop_kind: self.spec.loop_kind(),
            records_per_s: per_s(records),
            bytes_per_s: per_s(record_bytes),
            wire_bytes_per_s: per_s(add(&|s| s.wire_bytes)),
            requests_per_s: per_s(add(&|s| s.requests)),
            consumed_records_per_s: per_s(add(&|s| s.consumed_records)),
            catch_up_records_per_s: per_s(add(&|s| s.catch_up_records))
                .filter(|_| self.spec.load.consumers.held_groups > 0),
            offered_records_per_s: self.spec.offered_records_per_s().or_else(|| offered.and_then(per_s)),
            achieved_ratio: offered.filter(|n| *n > 0).map(|offered| records as f64 / offered as f64),
            produce_response_ns: Percentiles::of(produce_response),
            produce_service_ns: Percentiles::of(produce_service),
            schedule_lag_ns: Percentiles::of(schedule_lag),
            e2e_response_ns: Percentiles::of(e2e_response),
            e2e_service_ns: Percentiles::of(e2e_service),
            stalls: self.stalls.clone(),
            broker_cpu_ns_per_record: per_record(subject_cpu),
            broker_user_cpu_ns_per_record: per_record(all(&|s| s.window.subject.user_ns)),
            broker_kernel_cpu_ns_per_record: per_record(all(&|s| s.window.subject.kernel_ns)),
            system_cpu_ns_per_record: per_record(system_cpu),
            generator_cpu_ns_per_record: per_record(all(&|s| s.generator_cpu_ns)),
            syscalls_per_request: per_request(self.counts.and_then(|(counts, _)| counts.syscalls)),
            ring_operations_per_request: per_request(
                self.counts.and_then(|(counts, _)| counts.ring_operations),
            ),
            switches_per_1000_records: per_record(all(&|s| s.window.subject.switches)).map(|n| n * 1000.0),
            disk_bytes_per_byte: written
                .filter(|_| record_bytes > 0)
                .map(|written| written as f64 / record_bytes as f64),
            rss_bytes: last.and_then(|s| s.window.subject.rss_bytes),
            rss_bytes_max: counted
                .iter()
                .filter_map(|s| s.window.rss_bytes_max.max(s.window.subject.rss_bytes))
                .max(),
            pss_bytes: last.and_then(|s| s.window.subject.pss_bytes),
            core_wait_ns: all(&|s| s.window.core_wait.others_ns),
            core_wait_ns_max: counted.iter().filter_map(|s| s.window.core_wait.others_ns_max).max(),
            verification: self.verification.clone(),
            flags: self.flags.clone(),
            ..Cell::default()
        }
    }

    /// What reading everything back after the windows cost, as a cell of its own. None where readers were attached.
    /// It includes what surrounds the reading: connecting, and the removal of the topic.
    pub fn readback(&self) -> Option<Cell> {
        let records = self.readbacks.iter().map(|(_, records)| records).sum::<u64>();
        let seconds = self.readbacks.iter().map(|(window, _)| window.seconds).sum::<f64>();
        if records == 0 || seconds <= 0.0 {
            return None;
        }
        let per_record = |of: &dyn Fn(&Window) -> Option<u64>| {
            let sum = self.readbacks.iter().try_fold(0, |sum, (window, _)| Some(sum + of(window)?));
            sum.map(|ns: u64| ns as f64 / records as f64)
        };
        let mut parameters = self.spec.parameters();
        (parameters.producers, parameters.consumers) = (Some(0), Some(1));
        let rate = records as f64 / seconds;
        Some(Cell {
            id: format!("{}-read-back", self.spec.id),
            subject: self.spec.subject.clone(),
            role: self.spec.role,
            workload_sha256: self.spec.workload_sha256.clone(),
            client_model: Some("batch".to_owned()),
            loop_kind: Loop::Closed,
            records_per_s: Some(rate),
            bytes_per_s: parameters.record_bytes.map(|bytes| rate * bytes as f64),
            consumed_records_per_s: Some(rate),
            broker_cpu_ns_per_record: per_record(&|w| w.subject.cpu_ns),
            broker_user_cpu_ns_per_record: per_record(&|w| w.subject.user_ns),
            broker_kernel_cpu_ns_per_record: per_record(&|w| w.subject.kernel_ns),
            system_cpu_ns_per_record: per_record(&|w| {
                Some(w.system.busy_ns?.saturating_sub(w.generator.cpu_ns?))
            }),
            parameters,
            verification: self.verification.clone(),
            ..Cell::default()
        })
    }

    /// The generator's core was full and the subject's was not.
    fn generator_is_full(&self) -> bool {
        let (broker, generator) = self.busy();
        generator.is_some_and(|busy| busy > BUSY) && broker.is_some_and(|busy| busy < BUSY)
    }

    /// The subject's core was full and the generator's was not: what was measured is the subject.
    fn subject_is_full(&self) -> bool {
        let (broker, generator) = self.busy();
        broker.is_some_and(|busy| busy > BUSY) && generator.is_some_and(|busy| busy < BUSY)
    }

    /// Mean share of the cores' time that subject and generator used.
    fn busy(&self) -> (Option<f64>, Option<f64>) {
        let mean = |of: &dyn Fn(&Sums) -> Option<f64>| {
            let values: Vec<f64> = self.counted().into_iter().filter_map(of).collect();
            (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
        };
        (mean(&|s| s.broker_busy), mean(&|s| s.generator_busy))
    }

    /// The cell beside the null broker's at the same point. `roof` may be missing: then nothing is claimed.
    ///
    /// A null broker whose own core was full while the generator's was not proves that the generator can do more: a
    /// subject near that roof is near its core's limit, not the client's.
    pub fn against(&self, roof: Option<&Roof>) -> Cell {
        let mut cell = self.cell();
        let asked = match cell.loop_kind {
            Loop::Closed => cell.records_per_s,
            // An open cell does not ask for more than its schedule; the roof is held against that.
            Loop::Open => cell.offered_records_per_s,
        };
        if let Some(Roof { cell: roof, .. }) = roof {
            cell.null_variant = roof.null_variant.clone();
            cell.headroom_ratio = ratio(roof.records_per_s, asked);
            if cell.loop_kind == Loop::Closed {
                cell.rate_efficiency = ratio(cell.records_per_s, roof.records_per_s);
                cell.rate_efficiency_is_upper_bound = roof.client_bound;
                cell.cpu_efficiency = ratio(roof.broker_cpu_ns_per_record, cell.broker_cpu_ns_per_record);
            }
        }
        let starved = cell.loop_kind == Loop::Closed && self.generator_is_full();
        let low = cell.headroom_ratio.is_some_and(|headroom| headroom < HEADROOM_MIN);
        let proven = roof.is_some_and(|roof| roof.subject_is_full);
        cell.client_bound = Some(starved || (low && !proven));
        if let Some(headroom) = cell.headroom_ratio.filter(|_| !proven) {
            if low {
                cell.flags.push(format!("client-bound: headroom {headroom:.2}"));
            } else if headroom < HEADROOM_GOOD && cell.loop_kind == Loop::Closed {
                cell.flags.push(format!("little headroom: {headroom:.2}"));
            }
        }
        if starved && !low {
            cell.flags.push("client-bound: the generator's core was full, the subject's was not".to_owned());
        }
        let missed: Vec<&Slo> =
            self.spec.slo.iter().filter(|clause| !holds(clause, &cell, &self.spec)).collect();
        for clause in missed {
            cell.failed_first.get_or_insert_with(|| clause.text.clone());
            cell.flags.push(format!("SLO missed: {}", clause.text));
        }
        cell
    }

    /// The null broker's own cell: nothing stands above it, it can only be limited by the client.
    pub fn as_roof(&self, variant: &str) -> Roof {
        let mut cell = self.cell();
        cell.null_variant = Some(variant.to_owned());
        cell.client_bound = Some(self.generator_is_full());
        let readback = self.readback().map(|cell| Cell { null_variant: Some(variant.to_owned()), ..cell });
        Roof { cell, readback, subject_is_full: self.subject_is_full() }
    }
}

/// How far the acknowledged rate moved over the window, as a share of its mean, by the median of slopes; one odd
/// second does not count. None with fewer than five whole seconds.
fn drift(outcome: &Outcome) -> Option<f64> {
    let points: Vec<(f64, f64)> = outcome
        .series
        .iter()
        .filter(|second| second.phase == load::Phase::Measure && second.duration_ns > 900_000_000)
        .map(|second| {
            (second.start_ns as f64 / 1e9, second.acked_records as f64 * 1e9 / second.duration_ns as f64)
        })
        .collect();
    let (first, last) = (points.first()?, points.last()?);
    let mean = points.iter().map(|(_, rate)| rate).sum::<f64>() / points.len() as f64;
    if points.len() < 5 || mean <= 0.0 {
        return None;
    }
    Some(statistics::slope(&points)? * (last.0 - first.0) / mean)
}

/// Separate episodes of requests slower than p99.9; none where p99.9 itself has no support.
fn stalls(outcome: &Outcome) -> Vec<Stall> {
    /// Slow requests closer than this had one cause.
    const GAP_NS: u64 = 5_000_000;
    let whole = if outcome.produce_response.is_empty() {
        &outcome.produce_service
    } else {
        &outcome.produce_response
    };
    match Quantile::P99_9.of(whole) {
        Some(p99_9) => statistics::stalls(&outcome.slow, p99_9.max(outcome.slow_complete_above_ns), GAP_NS),
        None => Vec::new(),
    }
}

pub fn ratio(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    let b = b.filter(|b| *b > 0.0)?;
    Some(a? / b)
}

fn holds(clause: &Slo, cell: &Cell, spec: &CellSpec) -> bool {
    let point = |percentiles: &Percentiles, point: Point| {
        let ns = match point {
            Point::P50 => percentiles.p50,
            Point::P90 => percentiles.p90,
            Point::P99 => percentiles.p99,
            Point::P99_9 => percentiles.p99_9,
            Point::P99_99 => percentiles.p99_99,
            Point::Max => percentiles.max,
        };
        ns.map(|ns| ns as f64)
    };
    let closed = spec.load.producers.arrivals.is_closed();
    let value = match clause.metric {
        SloMetric::Produce(at) if closed => point(&cell.produce_service_ns, at),
        SloMetric::Produce(at) => point(&cell.produce_response_ns, at),
        SloMetric::E2e(at) if closed => point(&cell.e2e_service_ns, at),
        SloMetric::E2e(at) => point(&cell.e2e_response_ns, at),
        SloMetric::Errors => {
            let refused = cell.flags.iter().filter(|flag| flag.starts_with("errors:")).count();
            Some(refused as f64)
        }
        SloMetric::Rate => cell.records_per_s,
    };
    // A level that was not measured is not met.
    value.is_some_and(|value| clause.comparison.holds(value, clause.value))
}

fn five_of(outcome: &Outcome) -> [&load::Histogram; 5] {
    [
        &outcome.produce_response,
        &outcome.produce_service,
        &outcome.schedule_lag,
        &outcome.e2e_response,
        &outcome.e2e_service,
    ]
}

/// As `run.json` counts: what a poll did wrong stands with the order, what one group did not see with the losses.
pub fn verification(v: &load::Verification, cell: &str, topic: &str) -> Verification {
    let counted = v.mode != "none";
    let count = |n: u64| counted.then_some(n);
    let mut first_anomalies: Vec<Anomaly> = v
        .first_anomalies
        .iter()
        .map(|anomaly| Anomaly {
            kind: anomaly.kind.text().to_owned(),
            cell: Some(cell.to_owned()),
            topic: Some(topic.to_owned()),
            partition: Some(anomaly.partition),
            offset: anomaly.offset,
            producer: anomaly.producer.map(u64::from),
            sequence: anomaly.sequence,
            text: Some(anomaly.text.clone()),
        })
        .collect();
    if counted && !v.complete && first_anomalies.is_empty() {
        first_anomalies.push(Anomaly {
            kind: "unseen".to_owned(),
            cell: Some(cell.to_owned()),
            topic: Some(topic.to_owned()),
            text: Some("not everything that was acknowledged could be read back".to_owned()),
            ..Anomaly::default()
        });
    }
    Verification {
        mode: Some(v.mode.clone()),
        acked: Some(v.acked),
        read: count(v.read),
        // What could not be read back counts as missing, or an aborted drain would look verified.
        lost: count(v.lost + v.unseen + if v.complete { 0 } else { v.acked.saturating_sub(v.read).max(1) }),
        duplicated: count(v.duplicated),
        reordered: count(v.reordered + v.nonmonotonic),
        corrupt: count(v.corrupt + v.negative_latencies),
        wrong_offset: count(v.wrong_offset),
        unacked_seen: count(v.unacked_seen),
        first_anomalies,
    }
}
