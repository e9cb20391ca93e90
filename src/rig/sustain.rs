//! Whether a block kept up with its schedule, and what stopped it if it did not (RIG section 11).
//!
//! In: what one block at a fixed rate did. Out: sustained, or the first thing that failed. Pure.
//! A backlog that stands still is no failure, however long it is; one that grows is, however short.

use crate::load::{Ended, Outcome, Phase};

/// Of what was offered.
const ACHIEVED_MIN: f64 = 0.999;
const BUSY: f64 = 0.95;
const Z95: f64 = 1.959_964;

/// What failed first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    BrokerCpu,
    Disk,
    Network,
    Generator,
    /// Requests wait in front of the broker, or readers fall behind, and no resource is full.
    Lag,
    Slo,
    Errors,
    Verification,
}

impl Limit {
    pub fn text(self) -> &'static str {
        match self {
            Limit::BrokerCpu => "broker CPU",
            Limit::Disk => "disk",
            Limit::Network => "network",
            Limit::Generator => "generator",
            Limit::Lag => "lag",
            Limit::Slo => "SLO",
            Limit::Errors => "errors",
            Limit::Verification => "verification",
        }
    }
}

/// What surrounds an outcome.
#[derive(Clone, Copy, Debug, Default)]
pub struct Around {
    pub broker_busy: Option<f64>,
    pub generator_busy: Option<f64>,
    /// Bytes written to the disk per second, of what it can take by the limits of this run.
    pub disk_share: Option<f64>,
    /// The same of the loopback or the network.
    pub network_share: Option<f64>,
    pub slo_missed: bool,
    pub generator_late: bool,
}

/// `None`: sustained.
pub fn failed_first(outcome: &Outcome, around: &Around) -> Option<Limit> {
    if !outcome.counts.errors.is_empty() || matches!(outcome.ended, Ended::Disconnected(_)) {
        return Some(Limit::Errors);
    }
    if !outcome.verification.passed() {
        return Some(Limit::Verification);
    }
    if around.generator_late {
        return Some(Limit::Generator);
    }
    let behind = outcome.ended == Ended::Overloaded
        || outcome.achieved_ratio().is_some_and(|ratio| ratio < ACHIEVED_MIN)
        || grows(outcome, |second| Some(second.waiting_records))
        || grows(outcome, |second| second.backlog_records);
    if !behind {
        return around.slo_missed.then_some(Limit::Slo);
    }
    let full = |busy: Option<f64>| busy.is_some_and(|busy| busy > BUSY);
    Some(if full(around.generator_busy) && !full(around.broker_busy) {
        Limit::Generator
    } else if full(around.broker_busy) {
        Limit::BrokerCpu
    } else if full(around.disk_share) {
        Limit::Disk
    } else if full(around.network_share) {
        Limit::Network
    } else {
        Limit::Lag
    })
}

fn grows(outcome: &Outcome, of: impl Fn(&crate::load::Second) -> Option<u64>) -> bool {
    let measured = outcome.series.iter().filter(|s| s.phase == Phase::Measure && s.duration_ns > 900_000_000);
    let points: Option<Vec<(f64, f64)>> =
        measured.map(|second| Some((second.start_ns as f64 / 1e9, of(second)? as f64))).collect();
    points.is_some_and(|points| slope_low(&points).is_some_and(|low| low > 0.0))
}

/// The lower end of the 95 % interval of Theil-Sen's slope (Sen 1968). `None` below five points: fewer cannot show one.
fn slope_low(points: &[(f64, f64)]) -> Option<f64> {
    let n = points.len() as f64;
    if points.len() < 5 {
        return None;
    }
    let mut slopes: Vec<f64> = Vec::new();
    for (i, a) in points.iter().enumerate() {
        slopes.extend(points[i + 1..].iter().map(|b| (b.1 - a.1) / (b.0 - a.0)));
    }
    slopes.sort_unstable_by(f64::total_cmp);
    let spread = Z95 * (n * (n - 1.0) * (2.0 * n + 5.0) / 18.0).sqrt();
    let low = (slopes.len() as f64 - spread) / 2.0;
    slopes.get(low.max(0.0).floor() as usize).copied()
}

/// The rates of a search: an upper bound, then halving of the gap on a scale of ratios.
#[derive(Clone, Debug)]
pub struct Search {
    low: f64,
    high: f64,
    /// Bounds this close end the search.
    precision: f64,
    steps: u32,
}

/// A search that has found nothing after so many steps has nothing to find.
const STEPS_MAX: u32 = 16;

impl Search {
    /// `saturation` is what a closed loop reached.
    pub fn new(saturation: f64) -> Search {
        Search { low: 0.0, high: saturation * 1.1, precision: 1.03, steps: 0 }
    }

    /// The next rate to try; `None` when the bounds are close enough, or nothing was sustained at all.
    pub fn next(&self) -> Option<f64> {
        if self.steps >= STEPS_MAX || (self.low > 0.0 && self.high / self.low <= self.precision) {
            return None;
        }
        // Until something held, each try is well below the last one.
        Some(if self.low > 0.0 { (self.low * self.high).sqrt() } else { self.high * 0.7 })
    }

    pub fn tried(&mut self, rate: f64, sustained: bool) {
        self.steps += 1;
        if sustained {
            self.low = rate;
        } else {
            self.high = rate;
        }
    }

    /// The highest rate that held.
    pub fn found(&self) -> Option<f64> {
        (self.low > 0.0).then_some(self.low)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_closes_in_on_what_a_broker_can_sustain() {
        for capacity in [900.0, 500.0, 90.0] {
            let mut search = Search::new(1000.0);
            while let Some(rate) = search.next() {
                search.tried(rate, rate <= capacity);
            }
            let found = search.found().unwrap();
            assert!(found <= capacity && found > capacity / 1.03, "{found} of {capacity}");
        }
        let mut never = Search::new(1000.0);
        while let Some(rate) = never.next() {
            never.tried(rate, false);
        }
        assert_eq!(never.found(), None);
    }

    #[test]
    fn growth_is_a_slope_that_chance_does_not_explain() {
        let points =
            |values: &[f64]| values.iter().enumerate().map(|(x, y)| (x as f64, *y)).collect::<Vec<_>>();
        let grows = |values: &[f64]| slope_low(&points(values)).is_some_and(|low| low > 0.0);
        assert!(grows(&[0.0, 100.0, 210.0, 290.0, 400.0, 520.0]));
        assert!(!grows(&[500.0, 480.0, 510.0, 490.0, 505.0, 500.0]), "long, and standing still");
        assert!(!grows(&[0.0, 0.0, 16.0, 0.0, 0.0, 0.0]));
        assert!(!grows(&[0.0, 100.0, 200.0]), "three points show nothing");
    }
}
