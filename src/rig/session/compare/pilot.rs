//! Before the pairs: what each subject reaches, how long it takes to get there, what it serves, and whether it flushes
//! as its durability class says.
//!
//! In: contenders and points. Out: [`Pilot`]s, and a refusal where a class is not what was counted. Nothing measured
//! here is published as a result: it only decides how much work a block is, and how long a subject is warmed up.

use std::time::Duration;

use super::{Session, open, subject_name};
use crate::load::{self, Outcome, Phase};
use crate::report::run::Role;
use crate::rig::ballast::Ballast;
use crate::rig::block;
use crate::rig::cell::{Collected, Roof};
use crate::rig::client::Client;
use crate::rig::contenders::{Contender, Contest, Load, Point, View};
use crate::rig::durability::Seen;
use crate::rig::exit::{Exit, Failure};
use crate::rig::plan::CellSpec;
use crate::rig::subject::{Kind, Subject};
use crate::rig::warmup::{self, Warm};
use crate::wire::error_code::ErrorCode;
use crate::wire::version::ApiKey;

/// What a pilot block told.
#[derive(Clone, Debug)]
pub(super) struct Pilot {
    pub(super) view: &'static str,
    pub(super) point: usize,
    pub(super) contender: String,
    pub(super) records_per_s: f64,
    /// How long it takes until the rate has no trend, where that was looked for.
    pub(super) warmup: Option<Duration>,
}

/// What a pilot counted beside its rate.
#[derive(Clone, Debug, Default)]
pub(super) struct Counted {
    seen: Seen,
    /// Keys of the APIs it serves.
    apis: Vec<i16>,
}

impl Session<'_> {
    /// A null broker at every point that saturates, once per view.
    pub(super) fn roofs_of(
        &mut self,
        contest: &Contest,
        ballast: &mut Option<Ballast>,
    ) -> Result<Vec<(String, usize, Roof)>, Failure> {
        let mut roofs = Vec::new();
        let Some(variant) = self.settings.null_variant.clone() else { return Ok(roofs) };
        let null = Contender {
            name: "null-broker".to_owned(),
            kind: Kind::NullBroker(variant.clone()),
            overrides: Vec::new(),
            pid: None,
            faults: Vec::new(),
        };
        let windows = self.settings.windows;
        for view in &contest.views {
            for (number, point) in contest.points.iter().enumerate() {
                if matches!(point.load, Load::Share(_)) {
                    continue;
                }
                let mut row = open(view, "roof", number, point, &null, &null);
                let spec = &mut row.specs[0];
                spec.role = Role::NullBroker;
                spec.load.producers.arrivals = load::Arrivals::Closed;
                (spec.load.warmup, spec.load.duration) = (windows.null_warmup, windows.null);
                let spec = spec.clone();
                let mut collected = Collected::new(&spec, view.cores.broker.len());
                let (ran, _) = self.member(contest, &null, view, &spec, ballast, None, true)?;
                collected.add(&ran, self.started_ns);
                self.run.blocks.push(ran.block);
                let roof = collected.as_roof(&variant);
                self.run.cells.push(roof.cell.clone());
                roofs.push((view.name.to_owned(), number, roof));
                self.save()?;
            }
        }
        Ok(roofs)
    }

    pub(super) fn count_flushes(
        &mut self,
        subject: &mut Subject,
        spec: &CellSpec,
        counted: &mut Counted,
    ) -> Result<(), Failure> {
        counted.apis = Client::connect(subject.address(), Duration::from_secs(5))
            .and_then(|mut client| client.api_versions())
            .map(|versions| versions.into_iter().map(|(key, ..)| key).collect())
            .unwrap_or_default();
        let window = self.settings.windows.counting;
        if window.is_zero() {
            return Ok(());
        }
        let ran = block::count(subject, spec, self.position, window, &self.device)?;
        self.position += 1;
        let fsyncs = match ran.counts {
            Ok(counts) => counts.fsyncs,
            Err(reason) => {
                self.flag(format!("flush calls not counted: {reason}"));
                None
            }
        };
        let producers = &spec.load.producers;
        counted.seen = Seen {
            window: Duration::from_nanos(ran.outcome.window_ns),
            acked_requests: ran.outcome.counts.acked_requests,
            requests_per_flush_max: u64::from(producers.connections) * u64::from(producers.in_flight),
            fsyncs,
            device_flushes: ran.device_flushes,
        };
        Ok(())
    }

    /// Rates of every contender at every point that is no share of another; what was counted is judged at once.
    pub(super) fn pilots(
        &mut self,
        contest: &Contest,
        contenders: &[&Contender],
        ballast: &mut Option<Ballast>,
        pilots: &mut Vec<Pilot>,
        parity: &mut Vec<String>,
    ) -> Result<(), Failure> {
        let mut served: Vec<(String, Vec<i16>)> = Vec::new();
        for (place, view) in contest.views.iter().enumerate() {
            for (number, point) in contest.points.iter().enumerate() {
                if matches!(point.load, Load::Share(_)) {
                    continue;
                }
                for side in contenders {
                    let mut spec = self.pilot_spec(view, number, point, side);
                    if let Some(longest) = contest.warmup_max.filter(|_| compiles(contest, side)) {
                        spec.load.duration = longest;
                    }
                    let mut counted = Counted::default();
                    let (ran, _) =
                        self.member(contest, side, view, &spec, ballast, Some(&mut counted), false)?;
                    serves(side, &ran.outcome)?;
                    // The rate of an open loop is the schedule's and says nothing of the subject.
                    let closed = spec.load.producers.arrivals.is_closed();
                    let warm = warm(&ran.outcome).filter(|_| closed && compiles(contest, side));
                    let rate = warm.map_or(ran.outcome.records_per_s(), |warm| warm.records_per_s);
                    let warmup = match warm {
                        Some(warm) => Some(spec.load.warmup + warm.after),
                        None => contest.warmup_max.filter(|_| !closed && compiles(contest, side)),
                    };
                    if let Some(warm) = warm.filter(|warm| !warm.steady) {
                        self.flag(format!(
                            "not-steady: {} still moved after {:.0} s of load at {}",
                            side.name,
                            (spec.load.warmup + warm.after).as_secs_f64(),
                            point.place()
                        ));
                    }
                    let took = warmup
                        .map_or(String::new(), |time| format!(", warm after {:.0} s", time.as_secs_f64()));
                    self.live.note(&format!(
                        "pilot {:22} {}: {} records/s{took}",
                        subject_name(side, view),
                        point.place(),
                        crate::report::figures::si(rate)
                    ));
                    pilots.push(Pilot {
                        view: view.name,
                        point: number,
                        contender: side.name.clone(),
                        records_per_s: rate,
                        warmup,
                    });
                    self.judge_class(contest, side, view, &counted.seen)?;
                    if place == 0 && !served.iter().any(|(name, _)| *name == side.name) {
                        served.push((side.name.clone(), counted.apis.clone()));
                    }
                }
            }
        }
        if let [(a, of_a), (b, of_b)] = &served[..] {
            parity.extend(only(a, of_a, of_b));
            parity.extend(only(b, of_b, of_a));
        }
        Ok(())
    }

    pub(super) fn pilot_spec(&self, view: &View, number: usize, point: &Point, side: &Contender) -> CellSpec {
        let mut spec = open(view, "pilot", number, point, side, side).specs[0].clone();
        spec.id = format!("pilot-{}", spec.id);
        let windows = self.settings.windows;
        spec.load.duration = spec.load.duration.min(windows.saturation).min(Duration::from_secs(4));
        spec
    }

    /// Refuses a side whose flushes do not bear its class out.
    fn judge_class(
        &mut self,
        contest: &Contest,
        side: &Contender,
        view: &View,
        seen: &Seen,
    ) -> Result<(), Failure> {
        let class = side.durability(self.settings.durability);
        let kept = class.is_kept(seen);
        let name = subject_name(side, view);
        if let Some(entry) = self.run.subjects.iter_mut().find(|known| known.name == name) {
            let plus = |a: Option<u64>, b: Option<u64>| match (a, b) {
                (None, None) => None,
                (a, b) => Some(a.unwrap_or(0) + b.unwrap_or(0)),
            };
            let known = &mut entry.durability;
            known.fsyncs = plus(known.fsyncs, seen.fsyncs);
            known.device_flushes = plus(known.device_flushes, seen.device_flushes);
            known.verified = match (known.verified, kept) {
                (before, None) => before,
                (before, Some(kept)) => Some(before.unwrap_or(true) && kept),
            };
        }
        if kept != Some(false) {
            return Ok(());
        }
        let count = |n: Option<u64>| n.map_or_else(|| "?".to_owned(), |n| n.to_string());
        let text = format!(
            "durability class not verified: {} claims {class} and acknowledged {} requests with {} flush calls and {} \
             device flushes",
            side.name,
            seen.acked_requests,
            count(seen.fsyncs),
            count(seen.device_flushes),
        );
        if contest.allow_unequal {
            self.flag(text);
            return Ok(());
        }
        Err(Failure { exit: Exit::NotValid, text })
    }
}

/// Names of the APIs that only one side serves.
fn only(name: &str, served: &[i16], other: &[i16]) -> Option<String> {
    let names: Vec<String> = served
        .iter()
        .filter(|key| !other.contains(key))
        .map(|key| {
            ApiKey::from_key(*key).map_or_else(|| format!("key {key}"), |known| known.api().name.to_owned())
        })
        .collect();
    (!names.is_empty()).then(|| format!("Only {name} serves {}.", names.join(", ")))
}

/// Whether a subject is one that gets faster while it runs. Ours does not, and a long pilot of it would fill the disk.
fn compiles(contest: &Contest, side: &Contender) -> bool {
    contest.warmup_max.is_some() && !matches!(side.kind, Kind::Ringdaw | Kind::NullBroker(_))
}

fn warm(outcome: &Outcome) -> Option<Warm> {
    let seconds = outcome.series.iter().filter(|s| s.phase == Phase::Measure && s.duration_ns > 900_000_000);
    let rates: Vec<f64> =
        seconds.map(|second| second.acked_records as f64 * 1e9 / second.duration_ns as f64).collect();
    warmup::warm(&rates)
}

/// A subject that refuses what it is asked, or answers nothing, has no rate that could be compared.
fn serves(side: &Contender, outcome: &Outcome) -> Result<(), Failure> {
    let refused: Vec<String> = outcome
        .counts
        .errors
        .iter()
        .map(|(code, count)| format!("{count} batches with {code} {}", ErrorCode::from_code(*code).name()))
        .collect();
    // A few in a hundred may meet a leader that does not know yet that it is one.
    let few = outcome.counts.errors.values().sum::<u64>() * 100 <= outcome.counts.acked_batches;
    if few && outcome.counts.acked_records > 0 {
        return Ok(());
    }
    let what = if refused.is_empty() {
        "acknowledged nothing".to_owned()
    } else {
        format!("refused {}", refused.join(", "))
    };
    let text = format!("{} {what} in its pilot", side.name);
    Err(Failure { exit: Exit::SubjectFailed, text })
}
