//! A latency histogram of fixed memory, cheap enough to record every request of a broker.
//!
//! In: durations in ns from the owning thread. Out: snapshots that can be added and subtracted, and their
//! quantiles.
//! Buckets are log-linear: 16 per power of two, so a bucket is at most 1/16 of its value wide. Durations are
//! counted in units of 64 ns; what is longer than 2^36 ns (69 s) lands in the last bucket. 3.6 KB each.
//!
//! The rig publishes latencies from HdrHistograms with three digits; this one is for a broker's own page.

use super::counter::Counter;

/// log2 of the unit in ns.
const UNIT_BITS: u32 = 6;
/// log2 of the buckets per power of two.
const SUB_BITS: u32 = 4;
const SUB: usize = 1 << SUB_BITS;
/// log2 of the first duration that no longer has a bucket of its own.
const RANGE_BITS: u32 = 36;
pub const BUCKETS: usize = ((RANGE_BITS - UNIT_BITS - SUB_BITS) as usize + 1) * SUB;

const _: () = assert!(bucket_of((1 << RANGE_BITS) - 1) == BUCKETS - 1);
const _: () = assert!(bucket_of(0) == 0);

/// The bucket that counts a duration.
#[inline]
const fn bucket_of(ns: u64) -> usize {
    let units = ns >> UNIT_BITS;
    if units < SUB as u64 {
        return units as usize;
    }
    if ns >> RANGE_BITS != 0 {
        return BUCKETS - 1;
    }
    let octave = units.ilog2() - SUB_BITS;
    // The top bit of `units >> octave` is always set, so the octaves follow each other without a gap.
    octave as usize * SUB + (units >> octave) as usize
}

/// The first duration that is beyond a bucket.
const fn upper_bound_ns(bucket: usize) -> u64 {
    if bucket < SUB {
        return (bucket as u64 + 1) << UNIT_BITS;
    }
    let octave = bucket / SUB - 1;
    ((bucket - octave * SUB) as u64 + 1) << octave << UNIT_BITS
}

/// Written by one thread.
#[derive(Debug)]
pub struct Histogram {
    buckets: [Counter; BUCKETS],
    sum_ns: Counter,
    max_ns: super::Maximum,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram {
            buckets: [const { Counter::new() }; BUCKETS],
            sum_ns: Counter::new(),
            max_ns: super::Maximum::new(),
        }
    }
}

impl Histogram {
    #[inline]
    pub fn record(&self, ns: u64) {
        self.buckets[bucket_of(ns)].increment();
        self.sum_ns.add(ns);
        self.max_ns.raise(ns);
    }

    /// Adds what this histogram holds to `into`. The writer goes on meanwhile, so the buckets may be of
    /// slightly different instants; no count is ever lost or doubled.
    pub fn add_to(&self, into: &mut Snapshot) {
        for (to, from) in into.buckets.iter_mut().zip(&self.buckets) {
            *to += from.get();
        }
        into.sum_ns += self.sum_ns.get();
        into.max_ns = into.max_ns.max(self.max_ns.get());
    }
}

/// A sum of histograms at one instant, or the difference of two such sums.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    buckets: Vec<u64>,
    sum_ns: u64,
    max_ns: u64,
}

impl Default for Snapshot {
    fn default() -> Snapshot {
        Snapshot { buckets: vec![0; BUCKETS], sum_ns: 0, max_ns: 0 }
    }
}

impl Snapshot {
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    pub fn sum_ns(&self) -> u64 {
        self.sum_ns
    }

    /// Exact, and since the start: a difference keeps the later maximum.
    pub fn max_ns(&self) -> u64 {
        self.max_ns
    }

    /// What was recorded after `earlier` was taken.
    pub fn since(&self, earlier: &Snapshot) -> Snapshot {
        let buckets = self.buckets.iter().zip(&earlier.buckets).map(|(b, a)| b.saturating_sub(*a)).collect();
        Snapshot { buckets, sum_ns: self.sum_ns.saturating_sub(earlier.sum_ns), max_ns: self.max_ns }
    }

    /// A duration that a share `q` of the samples did not exceed, at most 1/16 too large. `None` when empty.
    pub fn quantile_ns(&self, q: f64) -> Option<u64> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let rank = ((q * count as f64).ceil() as u64).clamp(1, count);
        let mut below = 0;
        for (bucket, n) in self.buckets.iter().enumerate() {
            below += n;
            if below >= rank {
                return Some(if bucket == BUCKETS - 1 { self.max_ns } else { upper_bound_ns(bucket) - 1 });
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn buckets_follow_each_other_without_gap_or_overlap() {
        let mut ns = 0;
        for bucket in 0..BUCKETS {
            assert_eq!(bucket_of(ns), bucket, "first duration of the bucket");
            assert_eq!(bucket_of(upper_bound_ns(bucket) - 1), bucket, "last duration of the bucket");
            ns = upper_bound_ns(bucket);
        }
        assert_eq!(ns, 1 << RANGE_BITS);
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    proptest! {
        #[test]
        fn a_quantile_is_never_too_small_and_at_most_a_sixteenth_too_large(
            mut samples in proptest::collection::vec(0u64..(1 << 34), 1..200),
            q in 0.0f64..=1.0,
        ) {
            let histogram = Histogram::default();
            samples.iter().for_each(|ns| histogram.record(*ns));
            let mut snapshot = Snapshot::default();
            histogram.add_to(&mut snapshot);
            samples.sort_unstable();
            let rank = ((q * samples.len() as f64).ceil() as usize).clamp(1, samples.len());
            let exact = samples[rank - 1];
            let shown = snapshot.quantile_ns(q).expect("there are samples");
            prop_assert!(shown >= exact, "{shown} for {exact}");
            prop_assert!(shown <= exact + exact / 16 + 64, "{shown} for {exact}");
        }

        #[test]
        fn snapshots_of_two_threads_equal_one_histogram_of_all_samples(
            a in proptest::collection::vec(any::<u64>().prop_map(|v| v >> 20), 0..100),
            b in proptest::collection::vec(any::<u64>().prop_map(|v| v >> 20), 0..100),
        ) {
            let (one, two, both) = (Histogram::default(), Histogram::default(), Histogram::default());
            a.iter().for_each(|ns| one.record(*ns));
            b.iter().for_each(|ns| two.record(*ns));
            a.iter().chain(&b).for_each(|ns| both.record(*ns));
            let (mut merged, mut whole) = (Snapshot::default(), Snapshot::default());
            one.add_to(&mut merged);
            two.add_to(&mut merged);
            both.add_to(&mut whole);
            prop_assert_eq!(merged, whole);
        }
    }

    #[test]
    fn a_difference_holds_only_what_came_later() {
        let histogram = Histogram::default();
        histogram.record(1_000);
        let mut before = Snapshot::default();
        histogram.add_to(&mut before);
        histogram.record(5_000_000);
        let mut after = Snapshot::default();
        histogram.add_to(&mut after);
        let window = after.since(&before);
        assert_eq!((window.count(), window.sum_ns()), (1, 5_000_000));
        assert!(window.quantile_ns(0.01).expect("one sample") >= 5_000_000);
        assert_eq!(before.since(&after).quantile_ns(0.5), None);
    }
}
