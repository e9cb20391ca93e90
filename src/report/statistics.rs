//! The few statistics a single run needs: which percentiles its samples support, and how many separate stalls
//! stand behind the slowest of them.
//!
//! In: histograms and slow samples. Out: [`Percentiles`], [`Stall`]s, and histograms as text and back.
//! Percentiles are never averaged: histograms are merged first. A percentile is given only when at least ten
//! requests lie above it; with fewer it would be the story of a single accident.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hdrhistogram::Histogram as Hdr;
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};

use super::run::{Block, Histogram, Percentiles, Stall};
use crate::metrics::slow::Sample;

/// Requests that must lie above a percentile before it is printed.
pub const SUPPORT: u64 = 10;

/// Three digits, no upper limit: a value that would not fit makes the histogram grow.
pub fn new_hdr() -> Hdr<u64> {
    let mut hdr = Hdr::new(3).expect("three digits are within the range of the format");
    hdr.auto(true);
    hdr
}

/// A quantile as an exact fraction of 10,000, so that support is decided without rounding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quantile(pub u32);

impl Quantile {
    pub const P50: Quantile = Quantile(5_000);
    pub const P90: Quantile = Quantile(9_000);
    pub const P99: Quantile = Quantile(9_900);
    pub const P99_9: Quantile = Quantile(9_990);
    pub const P99_99: Quantile = Quantile(9_999);

    /// The place of the quantile among `count` sorted samples, from 1.
    fn rank(self, count: u64) -> u64 {
        let rank = (u128::from(count) * u128::from(self.0)).div_ceil(10_000);
        u64::try_from(rank).expect("not above count").max(1)
    }

    /// Enough samples lie above.
    pub fn is_supported_by(self, count: u64) -> bool {
        count > 0 && count - self.rank(count) >= SUPPORT
    }

    /// `None` without support.
    pub fn of(self, hdr: &Hdr<u64>) -> Option<u64> {
        self.is_supported_by(hdr.len()).then(|| hdr.value_at_quantile(f64::from(self.0) / 10_000.0))
    }
}

impl Percentiles {
    pub fn of(hdr: &Hdr<u64>) -> Percentiles {
        let count = hdr.len();
        Percentiles {
            p50: Quantile::P50.of(hdr),
            p90: Quantile::P90.of(hdr),
            p99: Quantile::P99.of(hdr),
            p99_9: Quantile::P99_9.of(hdr),
            p99_99: Quantile::P99_99.of(hdr),
            max: (count > 0).then(|| hdr.max()),
            mean: (count > 0).then(|| hdr.mean()),
            count: (count > 0).then_some(count),
        }
    }
}

/// As it stands in `run.json`.
pub fn encode(metric: &str, hdr: &Hdr<u64>) -> Histogram {
    let mut bytes = Vec::new();
    V2DeflateSerializer::new().serialize(hdr, &mut bytes).expect("writing to memory cannot fail");
    Histogram { metric: metric.to_owned(), hdr_v2_deflate: BASE64.encode(bytes) }
}

/// The reason is a text: it is only ever shown beside the path of the file.
pub fn decode(histogram: &Histogram) -> Result<Hdr<u64>, String> {
    let bytes = BASE64.decode(&histogram.hdr_v2_deflate).map_err(|e| e.to_string())?;
    let mut hdr: Hdr<u64> =
        Deserializer::new().deserialize(&mut bytes.as_slice()).map_err(|e| format!("{e:?}"))?;
    hdr.auto(true);
    Ok(hdr)
}

/// All blocks' histograms of one metric in one; `None` when there is none. Void blocks count only when there is
/// nothing else; the cell's flags say so then.
pub fn merged<'a>(blocks: impl Iterator<Item = &'a Block>, metric: &str) -> Result<Option<Hdr<u64>>, String> {
    let blocks: Vec<&Block> = blocks.collect();
    let all_void = blocks.iter().all(|block| !block.void_reasons.is_empty());
    let mut sum: Option<Hdr<u64>> = None;
    for block in blocks.into_iter().filter(|block| all_void || block.void_reasons.is_empty()) {
        for histogram in block.histograms.iter().filter(|h| h.metric == metric) {
            let hdr = decode(histogram)?;
            match &mut sum {
                Some(sum) => sum.add(&hdr).map_err(|e| format!("{e:?}"))?,
                None => sum = Some(hdr),
            }
        }
    }
    Ok(sum)
}

/// Separate episodes among the samples slower than `threshold_ns`. A request is in flight from its intended
/// time to its completion; slow requests whose flights overlap, or are less than `gap_ns` apart, had one cause.
pub fn stalls(samples: &[Sample], threshold_ns: u64, gap_ns: u64) -> Vec<Stall> {
    let mut slow: Vec<Sample> = samples.iter().copied().filter(|s| s.latency_ns > threshold_ns).collect();
    slow.sort_unstable_by_key(|sample| (sample.intended_ns, sample.latency_ns));
    let mut stalls: Vec<Stall> = Vec::new();
    for sample in slow {
        let end_ns = sample.intended_ns.saturating_add(sample.latency_ns);
        match stalls.last_mut() {
            Some(stall)
                if sample.intended_ns <= (stall.start_ns + stall.duration_ns).saturating_add(gap_ns) =>
            {
                stall.duration_ns = stall.duration_ns.max(end_ns - stall.start_ns);
                stall.requests += 1;
            }
            _ => stalls.push(Stall {
                start_ns: sample.intended_ns,
                duration_ns: sample.latency_ns,
                requests: 1,
            }),
        }
    }
    stalls
}

/// Theil-Sen: the median of the slopes between all pairs of points, which one odd point cannot bend.
/// `None` with fewer than two different x.
pub fn slope(points: &[(f64, f64)]) -> Option<f64> {
    let mut slopes: Vec<f64> = Vec::new();
    for (i, a) in points.iter().enumerate() {
        slopes.extend(points[i + 1..].iter().filter(|b| b.0 != a.0).map(|b| (b.1 - a.1) / (b.0 - a.0)));
    }
    if slopes.is_empty() {
        return None;
    }
    slopes.sort_unstable_by(f64::total_cmp);
    let middle = slopes.len() / 2;
    Some(if slopes.len().is_multiple_of(2) {
        (slopes[middle - 1] + slopes[middle]) / 2.0
    } else {
        slopes[middle]
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_percentile_needs_ten_requests_above_it() {
        for (quantile, enough) in [
            (Quantile::P50, 20),
            (Quantile::P90, 100),
            (Quantile::P99, 1_000),
            (Quantile::P99_9, 10_000),
            (Quantile::P99_99, 100_000),
        ] {
            assert!(quantile.is_supported_by(enough), "{quantile:?} with {enough}");
            assert!(!quantile.is_supported_by(enough - 1), "{quantile:?} with {}", enough - 1);
        }
        assert!(!Quantile::P50.is_supported_by(0));
    }

    #[test]
    fn percentiles_without_support_are_absent_and_the_maximum_stays() {
        let mut hdr = new_hdr();
        (1..=999u64).for_each(|v| hdr.record(v * 1_000).expect("grows"));
        let p = Percentiles::of(&hdr);
        assert!(p.p90.is_some());
        assert_eq!((p.p99, p.p99_9), (None, None));
        assert_eq!(p.count, Some(999));
        assert_eq!(Percentiles::of(&new_hdr()), Percentiles::default());
    }

    proptest! {
        #[test]
        fn merged_histograms_equal_one_histogram_of_all_samples(
            parts in proptest::collection::vec(proptest::collection::vec(0u64..100_000_000_000, 0..60), 1..5),
        ) {
            let mut whole = new_hdr();
            let mut blocks = Vec::new();
            for part in &parts {
                let mut hdr = new_hdr();
                for value in part {
                    hdr.record(*value).expect("grows");
                    whole.record(*value).expect("grows");
                }
                blocks.push(Block { histograms: vec![encode("m", &hdr)], ..Block::default() });
            }
            let sum = merged(blocks.iter(), "m").expect("valid").expect("at least one");
            prop_assert_eq!(Percentiles::of(&sum), Percentiles::of(&whole));
            prop_assert_eq!(sum, whole);
        }
    }

    #[test]
    fn void_blocks_count_only_when_there_is_nothing_else() {
        let block = |value: u64, void: bool| {
            let mut hdr = new_hdr();
            hdr.record(value).expect("grows");
            let void_reasons = if void { vec!["steal".to_owned()] } else { Vec::new() };
            Block { histograms: vec![encode("m", &hdr)], void_reasons, ..Block::default() }
        };
        let count =
            |blocks: &[Block]| merged(blocks.iter(), "m").expect("valid").map(|hdr| (hdr.len(), hdr.max()));
        assert_eq!(count(&[block(10, false), block(900, true)]), Some((1, 10)));
        assert_eq!(count(&[block(10, true), block(900, true)]), Some((2, 900)));
        assert_eq!(count(&[]), None);
    }

    #[test]
    fn a_damaged_histogram_is_refused() {
        let mut histogram = encode("m", &new_hdr());
        histogram.hdr_v2_deflate.truncate(8);
        assert!(decode(&histogram).is_err());
        histogram.hdr_v2_deflate = "not base64".into();
        assert!(decode(&histogram).is_err());
    }

    #[test]
    fn requests_that_wait_for_the_same_pause_are_one_stall() {
        let ms = 1_000_000;
        // A pause from 1000 to 1200 ms: what is due in it completes at its end. Another request is slow later.
        let mut samples: Vec<Sample> = (0..20)
            .map(|i| 1000 + i * 10)
            .map(|due| Sample { intended_ns: due * ms, latency_ns: (1200 - due) * ms })
            .collect();
        samples.push(Sample { intended_ns: 5000 * ms, latency_ns: 30 * ms });
        samples.push(Sample { intended_ns: 7000 * ms, latency_ns: ms });
        let found = stalls(&samples, 5 * ms, ms);
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].start_ns, found[0].duration_ns), (1000 * ms, 200 * ms));
        assert_eq!(found[0].requests, 20, "every one of the first twenty is above 5 ms");
        assert_eq!(found[1], Stall { start_ns: 5000 * ms, duration_ns: 30 * ms, requests: 1 });
    }

    #[test]
    fn one_odd_point_does_not_bend_the_slope() {
        let points = [(1.0, 10.0), (2.0, 20.0), (3.0, 300.0), (4.0, 40.0), (5.0, 50.0)];
        let slope = slope(&points).expect("five points");
        assert!((slope - 10.0).abs() < 1e-9, "{slope}");
        assert_eq!(super::slope(&[(1.0, 1.0), (1.0, 2.0)]), None);
    }
}
