//! How many bytes passed in the last windows of time, and how long a client has to be silent for having sent too many.
//!
//! In: bytes and the time. Out: milliseconds. The windows are those of Kafka's `SampledStat`: each begins with the first bytes
//! after the one before has ended, and while there are fewer than all of them the time counts as if there were.

use std::collections::VecDeque;

/// `quota.window.num` windows of `quota.window.size.seconds` each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Windows {
    pub count: u32,
    pub length_ms: i64,
}

impl Windows {
    /// What may pass in all windows but the one that is not over: more than that in one answer could never be allowed.
    pub fn bytes_max(self, bytes_per_second: f64) -> u64 {
        let ms = i64::from(self.count.max(2) - 1) * self.length_ms;
        (bytes_per_second * ms as f64 / 1000.0) as u64
    }
}

#[derive(Clone, Copy, Debug)]
struct Window {
    since_ms: i64,
    bytes: f64,
}

/// What one client has sent, or was sent.
#[derive(Clone, Debug, Default)]
pub struct Meter {
    /// The oldest first.
    windows: VecDeque<Window>,
}

impl Meter {
    /// Counts `bytes`, and says for how long, in milliseconds, there must be silence until the rate is `bytes_per_second` again.
    pub fn pass(&mut self, bytes: u64, bytes_per_second: f64, windows: Windows, now_ms: i64) -> u32 {
        match self.windows.back_mut() {
            Some(last) if now_ms - last.since_ms < windows.length_ms => last.bytes += bytes as f64,
            Some(_) | None => self.windows.push_back(Window { since_ms: now_ms, bytes: bytes as f64 }),
        }
        let all_ms = i64::from(windows.count) * windows.length_ms;
        while self.windows.front().is_some_and(|window| now_ms - window.since_ms >= all_ms) {
            self.windows.pop_front();
        }
        let bytes: f64 = self.windows.iter().map(|window| window.bytes).sum();
        let oldest_ms = self.windows.front().map_or(now_ms, |window| window.since_ms);
        let whole_min = i64::from(windows.count) - 1;
        let mut elapsed_ms = now_ms - oldest_ms;
        elapsed_ms += (whole_min - elapsed_ms / windows.length_ms).max(0) * windows.length_ms;
        // The time in which these bytes would have been allowed, less the time they took.
        let excess_ms = bytes * 1000.0 / bytes_per_second - elapsed_ms.max(1) as f64;
        excess_ms.round().clamp(0.0, f64::from(u32::MAX)) as u32
    }

    /// True when nothing of what passed counts any more.
    pub fn is_idle(&self, windows: Windows, now_ms: i64) -> bool {
        let all_ms = i64::from(windows.count) * windows.length_ms;
        self.windows.back().is_none_or(|last| now_ms - last.since_ms >= all_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SplitMix64;

    const WINDOWS: Windows = Windows { count: 11, length_ms: 1000 };

    #[test]
    fn a_tenth_below_the_rate_nobody_waits() {
        let mut meter = Meter::default();
        assert!((0..100_000).step_by(100).all(|ms| meter.pass(90, 1000.0, WINDOWS, ms) == 0));
    }

    #[test]
    fn the_first_burst_may_take_what_the_windows_allow_and_waits_for_the_rest() {
        let mut meter = Meter::default();
        assert_eq!(meter.pass(10_000, 1000.0, WINDOWS, 5), 0);
        assert_eq!(meter.pass(500, 1000.0, WINDOWS, 5), 500);
        assert_eq!(WINDOWS.bytes_max(1000.0), 10_000);
    }

    #[test]
    fn what_passed_long_ago_counts_no_more() {
        let mut meter = Meter::default();
        assert_eq!(meter.pass(100_000, 1000.0, WINDOWS, 0), 90_000);
        assert!(!meter.is_idle(WINDOWS, 10_999));
        assert!(meter.is_idle(WINDOWS, 11_000));
        assert_eq!(meter.pass(1, 1000.0, WINDOWS, 11_000), 0);
    }

    /// A client that waits as it is told comes to its rate, whatever it sends and whenever.
    #[test]
    fn who_waits_as_told_comes_to_the_rate() {
        for seed in 0..50 {
            let mut random = SplitMix64::new(seed);
            let mut below = |bound: u64| random.next_u64() % bound;
            let (mut meter, mut now, mut sent) = (Meter::default(), 0, 0);
            let rate = 1000.0 + below(1_000_000) as f64;
            while now < 600_000 {
                let bytes = below(rate as u64);
                sent += bytes;
                now += i64::from(meter.pass(bytes, rate, WINDOWS, now)) + below(50) as i64;
            }
            let reached = sent as f64 * 1000.0 / now as f64;
            // A client may be ahead by what the first windows allow.
            assert!(reached < rate * 1.05, "seed {seed}: {reached} of {rate}");
            assert!(reached > rate * 0.8, "seed {seed}: {reached} of {rate}");
        }
    }

    /// The same arithmetic written as Kafka describes it: a rate, and by how much it exceeds the bound.
    #[test]
    fn the_wait_is_the_excess_over_the_bound_times_the_time_measured() {
        for seed in 0..200 {
            let mut random = SplitMix64::new(seed);
            let mut below = |bound: u64| random.next_u64() % bound;
            let windows = Windows { count: 1 + below(12) as u32, length_ms: 1000 * (1 + below(3) as i64) };
            let bound = 1.0 + below(100_000) as f64;
            let mut meter = Meter::default();
            let mut samples: Vec<(i64, f64)> = Vec::new();
            let mut now = 0;
            for _ in 0..200 {
                now += below(1500) as i64;
                let bytes = below(200_000);
                let told = meter.pass(bytes, bound, windows, now);

                if samples.last().is_none_or(|(since, _)| now - since >= windows.length_ms) {
                    samples.push((now, 0.0));
                }
                samples.last_mut().expect("just made").1 += bytes as f64;
                samples.retain(|(since, _)| now - since < windows.length_ms * i64::from(windows.count));
                let mut elapsed = now - samples[0].0;
                let whole = elapsed / windows.length_ms;
                if whole < i64::from(windows.count) - 1 {
                    elapsed += (i64::from(windows.count) - 1 - whole) * windows.length_ms;
                }
                let elapsed = elapsed.max(1) as f64;
                let rate = samples.iter().map(|(_, bytes)| bytes).sum::<f64>() / (elapsed / 1000.0);
                let wanted = if rate > bound { (rate - bound) / bound * elapsed } else { 0.0 };
                assert!((f64::from(told) - wanted).abs() <= 1.0, "seed {seed}: {told} and {wanted}");
            }
        }
    }
}
