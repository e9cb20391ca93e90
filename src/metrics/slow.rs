//! The slowest samples of a measured window, with the time they belong to.
//!
//! In: every sample of a load thread. Out: at least the `keep` slowest ones, from which separate stalls are told
//! apart (`report::statistics`). Histograms forget when a sample was; this keeps the few that matter.
//! Memory is fixed at twice `keep`, taken at the start; a sample costs one comparison, and a selection runs once
//! per `keep` kept samples.

/// One request that took long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// When it was due.
    pub intended_ns: u64,
    /// Completion minus intended time.
    pub latency_ns: u64,
}

#[derive(Debug)]
pub struct SlowSamples {
    samples: Vec<Sample>,
    keep: usize,
    /// Samples at or below this are known not to be among the slowest.
    floor_ns: u64,
}

impl SlowSamples {
    pub fn new(keep: usize) -> SlowSamples {
        let keep = keep.max(1);
        SlowSamples { samples: Vec::with_capacity(2 * keep), keep, floor_ns: 0 }
    }

    #[inline]
    pub fn record(&mut self, intended_ns: u64, latency_ns: u64) {
        if latency_ns > self.floor_ns {
            self.keep_one(Sample { intended_ns, latency_ns });
        }
    }

    fn keep_one(&mut self, sample: Sample) {
        self.samples.push(sample);
        if self.samples.len() == 2 * self.keep {
            let place = self.keep - 1;
            self.samples.select_nth_unstable_by(place, |a, b| b.latency_ns.cmp(&a.latency_ns));
            self.samples.truncate(self.keep);
            self.floor_ns = self.samples[place].latency_ns;
        }
    }

    /// What is kept, in no order. Every sample slower than [`SlowSamples::complete_above_ns`] is in it.
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// No sample above this was dropped.
    pub fn complete_above_ns(&self) -> u64 {
        self.floor_ns
    }

    pub fn clear(&mut self) {
        self.samples.clear();
        self.floor_ns = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_are_kept_whatever_their_order() {
        let mut slow = SlowSamples::new(10);
        // 1000 different latencies in a scrambled but fixed order.
        (0..1000u64).map(|i| i * 617 % 1000).for_each(|latency| slow.record(latency, latency + 1));
        let mut kept: Vec<u64> = slow.samples().iter().map(|s| s.latency_ns).collect();
        kept.sort_unstable_by(|a, b| b.cmp(a));
        assert_eq!(kept[..10], [1000, 999, 998, 997, 996, 995, 994, 993, 992, 991]);
        assert!(slow.samples().len() < 20);
        assert!(slow.complete_above_ns() <= 991);
    }
}
