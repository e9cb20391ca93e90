//! When each request of a connection is due: absolute instants, fixed by the seed before the first one is sent.
//!
//! In: how arrivals are distributed, which of how many connections this is. Out: rising instants in ns since the start
//! of the schedule. Nothing that happens later moves, skips or resets one.

use std::sync::Arc;
use std::time::Duration;

use crate::load::plan::{Arrivals, Producers};
use crate::load::random::Random;

const SECOND: f64 = 1e9;

/// One connection's schedule.
#[derive(Clone, Debug)]
pub struct Schedule {
    shape: Shape,
    /// Number of the next request among those of all connections.
    number: u64,
    step: u64,
    horizon_ns: u64,
    next: Option<u64>,
}

/// Rates are requests per ns over all connections.
#[derive(Clone, Debug)]
enum Shape {
    Closed,
    Constant { rate: f64 },
    Poisson { rate: f64, random: Random, at_ns: f64 },
    Burst { rate_on: f64, on_ns: f64, off_ns: f64 },
    Ramp { from: f64, to: f64, over_ns: f64 },
    Step { steps: Vec<StepFrom> },
    Trace { due: Arc<[Duration]> },
}

/// From here on: the instant, the requests due before it, and the rate.
#[derive(Clone, Copy, Debug)]
struct StepFrom {
    at_ns: f64,
    requests: f64,
    rate: f64,
}

impl Schedule {
    /// The schedule of connection `connection` (from 0). No request is due at or after `horizon`.
    pub fn new(producers: &Producers, connection: u32, horizon: Duration, seed: u64) -> Schedule {
        let records = producers.request_records() as f64;
        let rate = |records_per_s: f64| records_per_s / records / SECOND;
        let shape = match &producers.arrivals {
            Arrivals::Closed => Shape::Closed,
            Arrivals::Constant { records_per_s } => Shape::Constant { rate: rate(*records_per_s) },
            Arrivals::Poisson { records_per_s } => Shape::Poisson {
                rate: rate(*records_per_s) / f64::from(producers.connections),
                random: Random::new(seed, 1 << 32 | u64::from(connection)),
                at_ns: 0.0,
            },
            Arrivals::Burst { records_per_s, on, off } => {
                let (on_ns, off_ns) = (on.as_nanos() as f64, off.as_nanos() as f64);
                Shape::Burst { rate_on: rate(*records_per_s) * (on_ns + off_ns) / on_ns, on_ns, off_ns }
            }
            Arrivals::Ramp { from_records_per_s, to_records_per_s } => Shape::Ramp {
                from: rate(*from_records_per_s),
                to: rate(*to_records_per_s),
                over_ns: horizon.as_nanos() as f64,
            },
            Arrivals::Step { steps } => {
                let (mut at_ns, mut requests) = (0.0, 0.0);
                let steps = steps.iter().map(|(duration, records_per_s)| {
                    let step = StepFrom { at_ns, requests, rate: rate(*records_per_s) };
                    at_ns += duration.as_nanos() as f64;
                    requests += duration.as_nanos() as f64 * step.rate;
                    step
                });
                Shape::Step { steps: steps.collect() }
            }
            Arrivals::Trace { due } => Shape::Trace { due: Arc::clone(due) },
        };
        let mut schedule = Schedule {
            shape,
            number: u64::from(connection),
            step: u64::from(producers.connections.max(1)),
            horizon_ns: horizon.as_nanos().min(u128::from(u64::MAX)) as u64,
            next: None,
        };
        schedule.next = schedule.instant();
        schedule
    }

    /// When the next request is due. `None`: there is no further one, or arrivals are closed.
    pub fn peek(&self) -> Option<u64> {
        self.next
    }

    /// Takes the next request.
    pub fn take(&mut self) -> Option<u64> {
        let due = self.next?;
        self.number += self.step;
        self.next = self.instant();
        Some(due)
    }

    /// Takes all requests due before `ns` and says how many there were.
    pub fn take_before(&mut self, ns: u64) -> u64 {
        let mut count = 0;
        while self.next.is_some_and(|due| due < ns) {
            self.take();
            count += 1;
        }
        count
    }

    /// Brings the horizon forward: nothing is due at or after `ns`.
    pub fn end_at(&mut self, ns: u64) {
        self.horizon_ns = self.horizon_ns.min(ns);
        self.next = self.next.filter(|due| *due < ns);
    }

    fn instant(&mut self) -> Option<u64> {
        let number = self.number as f64;
        let at_ns = match &mut self.shape {
            Shape::Closed => return None,
            Shape::Constant { rate } => number / *rate,
            Shape::Poisson { rate, random, at_ns } => {
                *at_ns -= random.unit().ln() / *rate;
                *at_ns
            }
            Shape::Burst { rate_on, on_ns, off_ns } => {
                let on = number / *rate_on;
                // A request on the edge belongs to the next burst, also when rounding puts it just before.
                let cycle = (on / *on_ns + 1e-9).floor();
                cycle * (*on_ns + *off_ns) + (on - cycle * *on_ns).max(0.0)
            }
            Shape::Ramp { from, to, over_ns } => {
                // Requests due until t: from t + (to - from) t^2 / (2 over). Solved for t in the form that does not
                // cancel when both rates are nearly equal.
                let slope = (*to - *from) / *over_ns;
                2.0 * number / (*from + (*from * *from + 2.0 * slope * number).max(0.0).sqrt())
            }
            Shape::Step { steps } => {
                let at = steps.partition_point(|step| step.requests <= number).saturating_sub(1);
                let step = &steps[at];
                step.at_ns + (number - step.requests) / step.rate
            }
            Shape::Trace { due } => due.get(self.number as usize)?.as_nanos() as f64,
        };
        let at_ns = at_ns.round() as u64;
        (at_ns < self.horizon_ns).then_some(at_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(arrivals: Arrivals, connections: u32, seconds: u64, seed: u64) -> Vec<u64> {
        let producers = Producers { connections, batch_records: 10, arrivals, ..Producers::default() };
        let mut due: Vec<u64> = Vec::new();
        for connection in 0..connections {
            let mut schedule = Schedule::new(&producers, connection, Duration::from_secs(seconds), seed);
            let mut last = 0;
            while let Some(at) = schedule.take() {
                assert!(at >= last, "connection {connection} goes back");
                last = at;
                due.push(at);
            }
        }
        due.sort_unstable();
        due
    }

    #[test]
    fn constant_arrivals_of_all_connections_are_evenly_spaced() {
        let due = all(Arrivals::Constant { records_per_s: 10_000.0 }, 4, 10, 1);
        assert_eq!(due.len(), 10_000);
        assert!(due.windows(2).all(|pair| pair[1] - pair[0] == 1_000_000));
    }

    #[test]
    fn constant_arrivals_do_not_drift_over_a_day() {
        let producers = Producers {
            connections: 1,
            batch_records: 1,
            arrivals: Arrivals::Constant { records_per_s: 30_000.0 },
            ..Producers::default()
        };
        let mut schedule = Schedule::new(&producers, 0, Duration::from_secs(100_000), 1);
        schedule.number = 30_000 * 86_400;
        schedule.take();
        schedule.number = 30_000 * 86_400;
        assert_eq!(schedule.instant(), Some(86_400_000_000_000));
    }

    #[test]
    fn poisson_arrivals_have_the_rate_and_the_spread_of_a_poisson_process() {
        let due = all(Arrivals::Poisson { records_per_s: 100_000.0 }, 4, 10, 5);
        // 100,000 expected, standard deviation 316.
        assert!((98_700..101_300).contains(&due.len()), "{}", due.len());
        let gaps: Vec<f64> = due.windows(2).map(|pair| (pair[1] - pair[0]) as f64).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((variance.sqrt() / mean - 1.0).abs() < 0.03, "gaps are exponential: deviation equals mean");
        assert_eq!(due, all(Arrivals::Poisson { records_per_s: 100_000.0 }, 4, 10, 5));
        assert_ne!(due, all(Arrivals::Poisson { records_per_s: 100_000.0 }, 4, 10, 6));
    }

    #[test]
    fn bursts_keep_the_average_and_are_silent_between() {
        let (on, off) = (Duration::from_millis(100), Duration::from_millis(400));
        let due = all(Arrivals::Burst { records_per_s: 10_000.0, on, off }, 2, 10, 1);
        assert_eq!(due.len(), 10_000);
        assert!(due.iter().all(|at| at % 500_000_000 <= 100_000_000));
    }

    #[test]
    fn a_ramp_ends_at_its_rate_and_a_falling_one_stays_finite() {
        let due = all(Arrivals::Ramp { from_records_per_s: 1_000.0, to_records_per_s: 20_000.0 }, 3, 10, 1);
        assert!((10_490..=10_510).contains(&due.len()), "average of both rates: {}", due.len());
        let last_second = due.iter().filter(|at| **at >= 9_000_000_000).count();
        assert!((1_890..1_920).contains(&last_second), "{last_second}");
        let falling =
            all(Arrivals::Ramp { from_records_per_s: 20_000.0, to_records_per_s: 1_000.0 }, 3, 10, 1);
        assert!((10_490..=10_510).contains(&falling.len()), "{}", falling.len());
    }

    #[test]
    fn steps_follow_each_other_and_the_last_one_stays() {
        let second = Duration::from_secs(1);
        let due = all(Arrivals::Step { steps: vec![(second, 1_000.0), (second, 5_000.0)] }, 2, 4, 1);
        let per_second: Vec<usize> = (0..4)
            .map(|s| {
                due.iter().filter(|at| (s * 1_000_000_000..(s + 1) * 1_000_000_000).contains(*at)).count()
            })
            .collect();
        assert_eq!(per_second, [100, 500, 500, 500]);
    }

    #[test]
    fn a_trace_is_dealt_to_the_connections_and_nothing_of_it_is_lost() {
        let trace: Arc<[Duration]> = (0..1000u64).map(|i| Duration::from_micros(i * i)).collect();
        let due = all(Arrivals::Trace { due: Arc::clone(&trace) }, 3, 10, 1);
        assert_eq!(due, trace.iter().map(|at| at.as_nanos() as u64).collect::<Vec<_>>());
    }

    #[test]
    fn a_request_that_is_due_stays_due() {
        let producers =
            Producers { arrivals: Arrivals::Constant { records_per_s: 16_000.0 }, ..Producers::default() };
        let mut schedule = Schedule::new(&producers, 2, Duration::from_secs(100), 1);
        assert_eq!(schedule.peek(), Some(2_000_000));
        // However late it is taken, it is the same instant, and so is the one after it.
        assert_eq!(schedule.take(), Some(2_000_000));
        assert_eq!(schedule.take(), Some(6_000_000));
        assert_eq!(schedule.take_before(50_000_000), 10);
    }

    #[test]
    fn a_schedule_that_ends_early_is_the_same_until_then() {
        let producers =
            Producers { arrivals: Arrivals::Constant { records_per_s: 16_000.0 }, ..Producers::default() };
        let mut schedule = Schedule::new(&producers, 2, Duration::from_secs(100), 1);
        schedule.end_at(10_000_001);
        assert_eq!(
            [schedule.take(), schedule.take(), schedule.take()],
            [2, 6, 10].map(|ms| Some(ms * 1_000_000))
        );
        assert_eq!((schedule.peek(), schedule.take()), (None, None));
        let mut early = Schedule::new(&producers, 2, Duration::from_secs(100), 1);
        early.end_at(1);
        assert_eq!(early.peek(), None);
    }

    #[test]
    fn closed_arrivals_have_no_schedule() {
        assert!(all(Arrivals::Closed, 2, 10, 1).is_empty());
    }
}
