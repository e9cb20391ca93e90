//! When a warm-up is over: three seconds in a row whose rate and p99 do not go one way.
//!
//! In: the seconds of a warm-up. Out: yes or no. A step up or down that has ended does not count, and neither does
//! noise around a level: only a movement that all three seconds share, and that is large enough to matter.

use crate::load::outcome::{Phase, Second};

/// Seconds that are looked at.
pub const SECONDS: usize = 3;
/// A rate that rose or fell by less than this over the three has settled.
const RATE_CHANGE_MAX: f64 = 0.05;
/// A p99 is an unsteady thing in one second.
const P99_CHANGE_MAX: f64 = 0.5;

/// Whether the last seconds show no trend.
pub fn is_steady(seconds: &[Second]) -> bool {
    let whole = |second: &&Second| second.phase == Phase::Warmup && second.duration_ns > 900_000_000;
    let last: Vec<&Second> = seconds.iter().rev().take_while(whole).take(SECONDS).collect();
    if last.len() < SECONDS {
        return false;
    }
    let rate = |second: &&Second| (second.acked_records + second.consumed_records) as f64;
    let p99 = |second: &&Second| second.produce.value_at_quantile(0.99) as f64;
    let moves = |values: Vec<f64>, change_max: f64| {
        // The newest is first.
        let rises = values.windows(2).all(|pair| pair[0] > pair[1]);
        let falls = values.windows(2).all(|pair| pair[0] < pair[1]);
        let (newest, oldest) = (values[0], values[SECONDS - 1]);
        (rises || falls) && (newest - oldest).abs() > change_max * newest.max(oldest)
    };
    let rates: Vec<f64> = last.iter().map(rate).collect();
    rates.iter().all(|rate| *rate > 0.0)
        && !moves(rates, RATE_CHANGE_MAX)
        && !moves(last.iter().map(p99).collect(), P99_CHANGE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::outcome::histogram;

    fn seconds(of: &[(u64, u64)]) -> Vec<Second> {
        let second = |(number, (acked, p99_us)): (usize, &(u64, u64))| {
            let mut produce = histogram();
            produce.record_n(p99_us * 1000, 100).unwrap();
            Second {
                phase: Phase::Warmup,
                start_ns: number as u64 * 1_000_000_000,
                duration_ns: 1_000_000_000,
                offered_records: *acked,
                acked_records: *acked,
                consumed_records: 0,
                catch_up_records: 0,
                acked_bytes: 0,
                errors: 0,
                in_flight: 0,
                waiting_records: 0,
                backlog_records: None,
                anomalies: 0,
                produce,
                e2e: histogram(),
                generator_cpu_ns: None,
            }
        };
        of.iter().enumerate().map(second).collect()
    }

    #[test]
    fn a_level_with_noise_is_steady_and_a_climb_is_not() {
        assert!(is_steady(&seconds(&[(10, 9000), (1000, 500), (1010, 530), (990, 480)])));
        assert!(is_steady(&seconds(&[(1000, 500), (1010, 500), (1020, 500)])), "two percent is no trend");
        assert!(!is_steady(&seconds(&[(500, 500), (700, 500), (900, 500)])), "the rate climbs");
        assert!(!is_steady(&seconds(&[(1000, 9000), (1000, 3000), (1000, 900)])), "p99 falls");
        assert!(!is_steady(&seconds(&[(1000, 500), (1000, 500)])), "two seconds are not three");
        assert!(!is_steady(&seconds(&[(0, 0), (0, 0), (0, 0)])), "nothing is no level");
    }
}
