//! The highest rate that a subject sustains, what fails first above it, and the latency below it (RIG section 11).
//!
//! In: one workload, whose rate is the question. Out: a verdict with an interval, and cells at shares of the rate found.
//! Nothing that was measured during the search is published as latency; its steps stand in `logs/rate.txt`.

use std::fmt::Write as _;
use std::fs;

use super::{Session, verdict};
use crate::load;
use crate::report::figures;
use crate::report::run::Role;
use crate::rig::cell::{Ceilings, Collected};
use crate::rig::exit::{Exit, Failure};
use crate::rig::plan::CellSpec;
use crate::rig::sustain::{Limit, Search};

/// Shares of the rate found at which latency is measured, in percent.
const SHARES: [u32; 7] = [10, 25, 50, 75, 90, 95, 99];
/// Blocks at the rate found and above it.
const CONFIRMATIONS: usize = 3;
/// What must fail.
const ABOVE: f64 = 1.05;
/// How often a rate that did not hold a second time is lowered, first by this share of it, then by twice as much each time.
const LOWERED_MAX: u32 = 4;
const LOWER_BY: f64 = 0.03;
/// How often a rate above which nothing failed is raised.
const RAISED_MAX: u32 = 4;
/// A block that did not hold while something else disturbed it is tried again, so often in all.
const TRIES_MAX: u32 = 3;

/// What the blocks of a rate that held did, and those above it.
struct Confirmed {
    rates: Vec<f64>,
    above: Vec<Option<Limit>>,
}

/// The cell at another rate, with the shape of its arrivals where that shape has one rate.
fn at_rate(base: &CellSpec, id: String, records_per_s: f64) -> CellSpec {
    let mut cell = CellSpec { id, role: Role::Sweep, blocks: 1, ..base.clone() };
    cell.load.producers.arrivals = match &base.load.producers.arrivals {
        load::Arrivals::Poisson { .. } => load::Arrivals::Poisson { records_per_s },
        load::Arrivals::Burst { on, off, .. } => load::Arrivals::Burst { records_per_s, on: *on, off: *off },
        load::Arrivals::Closed
        | load::Arrivals::Constant { .. }
        | load::Arrivals::Ramp { .. }
        | load::Arrivals::Step { .. }
        | load::Arrivals::Trace { .. } => load::Arrivals::Constant { records_per_s },
    };
    cell
}

impl Session<'_> {
    /// Saturates, halves, confirms, and measures latency at shares of what was found.
    pub fn rate(&mut self, base: &CellSpec) -> Result<(), Failure> {
        let windows = self.settings.windows;
        let mut saturation = CellSpec { id: "saturate".to_owned(), blocks: 1, ..base.clone() };
        saturation.load.producers.arrivals = load::Arrivals::Closed;
        saturation.slo.clear();
        (saturation.load.warmup, saturation.load.duration) = (windows.saturation_warmup, windows.saturation);
        saturation.load.until_steady = false;
        // The rates are found on the way; until then the cells say what they are for.
        let shares: Vec<CellSpec> =
            SHARES.iter().map(|share| at_rate(base, format!("load-{share}"), 1.0)).collect();
        let all: Vec<&CellSpec> = std::iter::once(&saturation).chain(&shares).collect();
        let search_s = (10 + 2 * CONFIRMATIONS) as f64 * at_rate(base, String::new(), 1.0).duration_s();
        self.open(&all, search_s)?;
        self.limits(std::slice::from_ref(base), "start", windows.limits_start);
        let mut trace = String::new();
        let result = self.search_rate(base, &saturation, &mut trace);
        let path = self.opened().path().join("logs").join("rate.txt");
        if let Err(error) = fs::write(&path, &trace) {
            self.flag(format!("{} could not be written: {error}", path.display()));
        }
        let Some((rate, first)) = result? else { return Ok(()) };
        for (share, mut cell) in SHARES.iter().zip(shares) {
            cell = at_rate(base, cell.id, rate * f64::from(*share) / 100.0);
            let collected = self.collect(&self.settings.subject.clone(), &cell)?;
            let mut cell = collected.against(None);
            if *share == 99 {
                cell.failed_first = first.map(|limit| limit.text().to_owned());
            }
            self.keep(&collected, cell);
        }
        self.limits(std::slice::from_ref(base), "end", windows.limits_end);
        Ok(())
    }

    /// The rate that held three times, and what failed first above it.
    fn search_rate(
        &mut self,
        base: &CellSpec,
        saturation: &CellSpec,
        trace: &mut String,
    ) -> Result<Option<(f64, Option<Limit>)>, Failure> {
        let kind = self.settings.subject.clone();
        let collected = self.collect(&kind, saturation)?;
        let cell = collected.against(None);
        let top = cell.records_per_s.unwrap_or(0.0);
        self.keep(&collected, cell);
        let _ = writeln!(trace, "saturation {top:.0} records/s");
        let mut search = Search::new(top);
        let mut number = 0;
        while let Some(rate) = search.next() {
            number += 1;
            let (limit, _) = self.try_rate(base, format!("search-{number}"), rate)?;
            let said = limit.map_or("held", Limit::text);
            let _ = writeln!(trace, "search {rate:.0} records/s: {said}");
            self.live.note(&format!(
                "{:14} {} records/s: {said}",
                format!("search-{number}"),
                figures::si(rate)
            ));
            search.tried(rate, limit.is_none());
        }
        let Some(mut rate) = search.found() else {
            self.missed_slo |= !base.slo.is_empty();
            self.unanswered |= base.slo.is_empty();
            self.run.verdicts.push("no rate was sustained".to_owned());
            return Ok(None);
        };
        let (mut lowered, mut raised) = (0, 0);
        loop {
            let Some(Confirmed { rates, above }) = self.confirm(base, rate, lowered + raised, trace)? else {
                if lowered == LOWERED_MAX {
                    self.run.verdicts.push("no rate held three times in a row".to_owned());
                    self.unanswered = true;
                    return Ok(None);
                }
                // Further each time: a machine that has become slower is caught up with.
                rate /= 1.0 + LOWER_BY * f64::from(1 << lowered);
                lowered += 1;
                continue;
            };
            let first = most_frequent(&above);
            if first.is_none() && lowered == 0 && raised < RAISED_MAX {
                (rate, raised) = (rate * ABOVE, raised + 1);
                continue;
            }
            let interval = verdict::interval95(&rates).map_or(String::new(), |(low, high)| {
                format!(" [{}, {}]", figures::si(low), figures::si(high))
            });
            let then = match first {
                Some(limit) => format!("{} fails first at {ABOVE} times that", limit.text()),
                None => format!("{ABOVE} times that held as well"),
            };
            // What the generator could not do says nothing about the subject.
            self.unanswered |= first == Some(Limit::Generator);
            let bound = if first == Some(Limit::Generator) { ">= " } else { "" };
            self.run.verdicts.push(format!(
                "sustainable: {bound}{} records/s{interval}, {CONFIRMATIONS} blocks; {then}",
                figures::si(rate)
            ));
            return Ok(Some((rate, first)));
        }
    }

    /// Blocks at `rate` and above it in turn: the rates achieved, and what failed above. `None` once `rate` did not hold.
    fn confirm(
        &mut self,
        base: &CellSpec,
        rate: f64,
        round: u32,
        trace: &mut String,
    ) -> Result<Option<Confirmed>, Failure> {
        let (mut rates, mut above) = (Vec::new(), Vec::new());
        for turn in 0..CONFIRMATIONS {
            for (name, rate) in [("confirm", rate), ("above", rate * ABOVE)] {
                let (limit, achieved) = self.try_rate(base, format!("{name}-{round}-{turn}"), rate)?;
                let _ = writeln!(trace, "{name} {rate:.0} records/s: {}", limit.map_or("held", Limit::text));
                if name == "above" {
                    above.push(limit);
                } else if limit.is_some() {
                    return Ok(None);
                } else {
                    rates.extend(achieved);
                }
            }
        }
        Ok(Some(Confirmed { rates, above }))
    }

    /// One block that is not published: what kept it from holding, and the rate it achieved.
    fn try_rate(
        &mut self,
        base: &CellSpec,
        id: String,
        records_per_s: f64,
    ) -> Result<(Option<Limit>, Option<f64>), Failure> {
        let cell = at_rate(base, id, records_per_s);
        let mut tries = 1;
        loop {
            let mut collected =
                Collected::new(&cell, self.settings.cores.broker.len()).below(self.ceilings());
            let result = self.blocks(&self.settings.subject.clone(), &mut collected);
            self.run.blocks.retain(|block| block.cell != cell.id);
            result?;
            if !collected.passed() {
                self.unverified = true;
                return Err(Failure {
                    exit: Exit::VerificationFailed,
                    text: "verification failed".to_owned(),
                });
            }
            let missed = collected.against(None).flags.iter().any(|flag| flag.starts_with("SLO missed"));
            let limit = collected.failed_first().or_else(|| missed.then_some(Limit::Slo));
            if limit.is_none() || !collected.is_void() || tries == TRIES_MAX {
                return Ok((limit, collected.rates().first().copied()));
            }
            tries += 1;
        }
    }

    /// What disk and loopback could do at the start of this run.
    fn ceilings(&self) -> Ceilings {
        let of = |name: &str| {
            let found =
                self.run.limits.iter().filter(|limit| limit.name.starts_with(name) && limit.unit == "B/s");
            found.filter_map(|limit| limit.value).reduce(f64::max)
        };
        Ceilings { disk_bytes_per_s: of("direct-write"), network_bytes_per_s: of("loopback-one-way") }
    }
}

fn most_frequent(limits: &[Option<Limit>]) -> Option<Limit> {
    let count = |limit: &Limit| limits.iter().flatten().filter(|other| *other == limit).count();
    limits.iter().flatten().max_by_key(|limit| count(limit)).copied()
}
