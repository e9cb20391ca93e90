//! When a subject is warm: its rate shows no trend over three windows.
//!
//! In: rates of a long pilot, second by second. Out: the time it took, and the rate from there on. Pure. A broker on a
//! virtual machine that compiles while it runs needs tens of seconds on one core; one that does not needs none.

use std::time::Duration;

/// Seconds of one window.
const WINDOW: usize = 3;
/// Three windows this close to their mean have no trend.
const APART_MAX: f64 = 0.04;

/// How long it took, and what it reached then.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Warm {
    pub after: Duration,
    pub records_per_s: f64,
    /// False when the pilot ended before the rate was steady: it may still rise.
    pub steady: bool,
}

/// `rates` are of whole seconds, in order. `None` without a whole window.
pub fn warm(rates: &[f64]) -> Option<Warm> {
    let windows: Vec<f64> =
        rates.chunks_exact(WINDOW).map(|window| window.iter().sum::<f64>() / WINDOW as f64).collect();
    let mean = |windows: &[f64]| windows.iter().sum::<f64>() / windows.len() as f64;
    let flat = windows.windows(3).position(|three| {
        let mean = mean(three);
        mean > 0.0 && three.iter().all(|window| (window / mean - 1.0).abs() <= APART_MAX)
    });
    let (first, steady) = match flat {
        Some(first) => (first, true),
        None => (windows.len().checked_sub(1)?, false),
    };
    Some(Warm {
        after: Duration::from_secs((first * WINDOW) as u64),
        records_per_s: mean(&windows[first..]),
        steady,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_that_rises_for_a_while_is_warm_where_it_stops() {
        let mut rates: Vec<f64> = (0..12).map(|second| 10.0 + 7.5 * f64::from(second)).collect();
        rates.extend([100.0; 15]);
        let warm = warm(&rates).unwrap();
        assert_eq!((warm.after, warm.steady), (Duration::from_secs(12), true));
        assert!((warm.records_per_s - 100.0).abs() < 1e-9);
    }

    #[test]
    fn one_that_never_stops_rising_is_told_and_a_flat_one_needs_nothing() {
        let rising: Vec<f64> = (1..=18).map(|second| f64::from(second) * 10.0).collect();
        let found = warm(&rising).unwrap();
        assert_eq!((found.after, found.steady), (Duration::from_secs(15), false));
        assert!((found.records_per_s - 170.0).abs() < 1e-9);
        assert_eq!(warm(&[50.0; 9]).unwrap().after, Duration::ZERO);
        assert_eq!(warm(&[50.0, 50.0]), None);
    }
}
