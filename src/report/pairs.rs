//! Statistics of pairs: two subjects measured next to each other, again and again.
//!
//! In: one effect per pair, the logarithm of A over B. Out: an estimate, an interval, a p-value, a noise floor, and
//! the number of pairs that a claim needs. Pure: the seed of every resampling is an argument.
//! The pair is the unit: what disturbs the machine for minutes disturbs both members, and their ratio stays.

use crate::random::SplitMix64;

/// Two-sided.
const LEVEL: f64 = 0.95;
/// Below this many pairs the bootstrap alone is too sure of itself.
const BOOTSTRAP_ALONE: usize = 20;
/// Resamplings behind an interval and a floor.
pub const RESAMPLES: usize = 2000;

/// Hodges-Lehmann: the median of the means of all pairs of effects, each with itself included. One odd pair does
/// not move it far. `None` without effects.
pub fn hodges_lehmann(effects: &[f64]) -> Option<f64> {
    median(&mut walsh(effects))
}

fn walsh(effects: &[f64]) -> Vec<f64> {
    let mut means = Vec::with_capacity(effects.len() * (effects.len() + 1) / 2);
    for (i, a) in effects.iter().enumerate() {
        means.extend(effects[i..].iter().map(|b| f64::midpoint(*a, *b)));
    }
    means
}

/// `None` when there are no values. Leaves `values` partly sorted.
pub fn median(values: &mut [f64]) -> Option<f64> {
    let middle = values.len() / 2;
    if values.is_empty() {
        return None;
    }
    let even = values.len().is_multiple_of(2);
    let (below, upper, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    let upper = *upper;
    if !even {
        return Some(upper);
    }
    let lower = below.iter().copied().max_by(f64::total_cmp)?;
    Some(f64::midpoint(lower, upper))
}

/// Probabilities of twice the signed-rank sum under "no difference", from 0 upward. `ranks` are doubled, so that the
/// middle of tied ranks is whole.
fn signed_rank_distribution(ranks: &[usize]) -> Vec<f64> {
    let mut chance = vec![1.0];
    for rank in ranks {
        let mut next = vec![0.0; chance.len() + rank];
        for (sum, p) in chance.iter().enumerate() {
            next[sum] += p / 2.0;
            next[sum + rank] += p / 2.0;
        }
        chance = next;
    }
    chance
}

/// Wilcoxon's signed-rank test, exact, two-sided; ties get the middle of their ranks, zeros are left out as he did.
/// `None` when nothing is left.
pub fn signed_rank_p(effects: &[f64]) -> Option<f64> {
    let mut sorted: Vec<f64> = effects.iter().copied().filter(|e| *e != 0.0).collect();
    sorted.sort_unstable_by(|a, b| a.abs().total_cmp(&b.abs()));
    if sorted.is_empty() {
        return None;
    }
    let mut ranks = Vec::with_capacity(sorted.len());
    while ranks.len() < sorted.len() {
        let first = ranks.len();
        let size = sorted[first].abs();
        let ties = sorted[first..].iter().take_while(|e| e.abs() == size).count();
        // Ranks first+1 ..= first+ties: twice their middle.
        ranks.extend(std::iter::repeat_n(2 * first + ties + 1, ties));
    }
    let positive: usize = sorted.iter().zip(&ranks).filter(|(e, _)| **e > 0.0).map(|(_, r)| r).sum();
    let total: usize = ranks.iter().sum();
    let tail = positive.min(total - positive);
    let p: f64 = signed_rank_distribution(&ranks).iter().take(tail + 1).sum();
    Some((2.0 * p).min(1.0))
}

/// The effects that the exact signed-rank test does not reject at 95 %. `None` below six pairs, where it rejects
/// nothing at all.
pub fn signed_rank_interval(effects: &[f64]) -> Option<(f64, f64)> {
    let n = effects.len();
    let chance = signed_rank_distribution(&(1..=n).collect::<Vec<_>>());
    let mut sum = 0.0;
    // The largest k with P(sum < k) within half of what the level leaves.
    let outside = chance.iter().take_while(|p| {
        sum += **p;
        sum <= (1.0 - LEVEL) / 2.0
    });
    let k = outside.count();
    let mut means = walsh(effects);
    if k == 0 {
        return None;
    }
    means.sort_unstable_by(f64::total_cmp);
    Some((means[k - 1], means[means.len() - k]))
}

/// Bias-corrected and accelerated bootstrap, 95 %, of any figure made from some of `n` pairs. `figure` gets the
/// places of the pairs, repeated as drawn. `None` when it has no value for all of them, or fewer than two pairs.
pub fn bca(
    n: usize,
    resamples: usize,
    seed: u64,
    mut figure: impl FnMut(&[usize]) -> Option<f64>,
) -> Option<(f64, f64)> {
    if n < 2 || resamples == 0 {
        return None;
    }
    let whole: Vec<usize> = (0..n).collect();
    let estimate = figure(&whole)?;
    let mut draws = SplitMix64::new(seed);
    let mut drawn = whole.clone();
    let mut values = Vec::with_capacity(resamples);
    for _ in 0..resamples {
        drawn.iter_mut().for_each(|place| *place = draws.below(n));
        values.extend(figure(&drawn));
    }
    values.sort_unstable_by(f64::total_cmp);
    let count = values.len() as f64;
    let below = values.iter().filter(|v| **v < estimate).count() as f64;
    let equal = values.iter().filter(|v| **v == estimate).count() as f64;
    // Kept off 0 and 1, where the bias would be infinite.
    let share = ((below + equal / 2.0) / count).clamp(0.5 / count, 1.0 - 0.5 / count);
    let bias = normal_quantile(share);

    let without: Vec<f64> = whole
        .iter()
        .filter_map(|left_out| {
            let rest: Vec<usize> = whole.iter().copied().filter(|place| place != left_out).collect();
            figure(&rest)
        })
        .collect();
    let mean = without.iter().sum::<f64>() / without.len().max(1) as f64;
    let (squares, cubes) = without.iter().fold((0.0, 0.0), |(squares, cubes), value| {
        let d = mean - value;
        (squares + d * d, cubes + d * d * d)
    });
    let acceleration = if squares > 0.0 { cubes / (6.0 * squares.powf(1.5)) } else { 0.0 };

    let end = |tail: f64| {
        let z = bias + normal_quantile(tail);
        let p = normal(bias + z / (1.0 - acceleration * z));
        values[((p * count) as usize).min(values.len() - 1)]
    };
    let (low, high) = (end((1.0 - LEVEL) / 2.0), end(f64::midpoint(1.0, LEVEL)));
    Some((low.min(high), low.max(high)))
}

/// The interval of the Hodges-Lehmann estimate: BCa, and below twenty pairs the wider of it and the exact
/// signed-rank interval. `None` below six pairs: no interval of 95 % exists that assumes nothing.
pub fn interval(effects: &[f64], resamples: usize, seed: u64) -> Option<(f64, f64)> {
    let mut chosen = Vec::with_capacity(effects.len());
    let bootstrap = bca(effects.len(), resamples, seed, |places| {
        chosen.clear();
        chosen.extend(places.iter().map(|place| effects[*place]));
        hodges_lehmann(&chosen)
    })?;
    if effects.len() >= BOOTSTRAP_ALONE {
        return Some(bootstrap);
    }
    let exact = signed_rank_interval(effects)?;
    Some((bootstrap.0.min(exact.0), bootstrap.1.max(exact.1)))
}

/// The interval of a ratio of percentiles, wide as the pairs allow: the same rule for a figure that is not an
/// average of effects. `effects` are those of the single blocks, `figure` the one of merged histograms.
pub fn interval_of(
    effects: &[f64],
    resamples: usize,
    seed: u64,
    figure: impl FnMut(&[usize]) -> Option<f64>,
) -> Option<(f64, f64)> {
    let bootstrap = bca(effects.len(), resamples, seed, figure)?;
    if effects.len() >= BOOTSTRAP_ALONE {
        return Some(bootstrap);
    }
    let exact = signed_rank_interval(effects)?;
    Some((bootstrap.0.min(exact.0), bootstrap.1.max(exact.1)))
}

/// Holm's step-down correction, in the order of the input.
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|a, b| p[*a].total_cmp(&p[*b]));
    let mut corrected = vec![0.0; p.len()];
    let mut least: f64 = 0.0;
    for (place, index) in order.iter().enumerate() {
        least = least.max((p[*index] * (p.len() - place) as f64).min(1.0));
        corrected[*index] = least;
    }
    corrected
}

/// What a subject against itself shows: the 95th percentile of the absolute estimate over resampled series of
/// `pairs` effects, as a ratio above 1 minus 1. `None` below two pairs.
/// Which of two equal subjects is called A is arbitrary, so every drawn effect gets a sign by chance: a floor that
/// kept the offset of its own few pairs would be as uncertain as what it guards.
pub fn floor(same: &[f64], pairs: usize, resamples: usize, seed: u64) -> Option<f64> {
    if same.len() < 2 || pairs == 0 || resamples == 0 {
        return None;
    }
    let mut draws = SplitMix64::new(seed);
    let mut series = vec![0.0; pairs];
    let mut sizes: Vec<f64> = (0..resamples)
        .filter_map(|_| {
            for effect in &mut series {
                let drawn = same[draws.below(same.len())];
                *effect = if draws.below(2) == 0 { drawn } else { -drawn };
            }
            hodges_lehmann(&series).map(f64::abs)
        })
        .collect();
    sizes.sort_unstable_by(f64::total_cmp);
    let place = (sizes.len() * 95).div_ceil(100).max(1) - 1;
    Some(sizes[place].exp() - 1.0)
}

/// Pairs that show an effect of this size against this spread, both as shares: power 80 %, level 5 %.
pub fn pairs_for(spread: f64, effect: f64) -> u64 {
    (2.8 * spread / effect).powi(2).ceil() as u64
}

/// Below this many pairs no cell among `cells` could pass Holm's correction, whatever it showed.
pub fn pairs_min(cells: usize) -> u64 {
    (40.0 * cells.max(1) as f64).log2().ceil() as u64
}

/// What one row may say.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Claim {
    /// The interval excludes 1, the estimate lies beyond the floor, and the corrected p passes.
    Difference,
    NotShown,
    /// Without a floor, or without an interval, nothing is claimed.
    NoFloor,
    TooFewPairs,
}

/// `estimate` and `interval` are logarithms; `floor` as [`floor`] gives it.
pub fn claim(estimate: f64, interval: Option<(f64, f64)>, floor: Option<f64>, p_holm: Option<f64>) -> Claim {
    let Some(floor) = floor else { return Claim::NoFloor };
    let (Some((low, high)), Some(p)) = (interval, p_holm) else { return Claim::TooFewPairs };
    let beyond = estimate.abs() > (1.0 + floor).ln();
    let excluded = low > 0.0 || high < 0.0;
    if beyond && excluded && p <= 1.0 - LEVEL + 1e-12 { Claim::Difference } else { Claim::NotShown }
}

/// The standard normal distribution.
fn normal(x: f64) -> f64 {
    libm::erfc(-x / std::f64::consts::SQRT_2) / 2.0
}

/// Its inverse, by halving: 60 steps are below the resolution of any bootstrap here.
fn normal_quantile(p: f64) -> f64 {
    let (mut low, mut high) = (-9.0, 9.0);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if normal(middle) < p { low = middle } else { high = middle }
    }
    f64::midpoint(low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9
    }

    #[test]
    fn the_estimate_is_the_median_of_walsh_averages() {
        // 1, 2, 10: means 1, 1.5, 5.5, 2, 6, 10.
        assert_eq!(hodges_lehmann(&[1.0, 2.0, 10.0]), Some(3.75));
        assert_eq!(hodges_lehmann(&[7.0]), Some(7.0));
        assert_eq!(hodges_lehmann(&[]), None);
    }

    #[test]
    fn the_signed_rank_test_agrees_with_its_tables() {
        // All of n positive: 2 / 2^n.
        for n in 1..=20 {
            let effects: Vec<f64> = (1..=n).map(f64::from).collect();
            assert!(close(signed_rank_p(&effects).unwrap(), 2.0 / 2f64.powi(n)), "{n}");
        }
        // n = 10, W = 8: 2 * 25/1024, the last sum within 5 % in Wilcoxon's table.
        let mut effects: Vec<f64> = (1..=10).map(f64::from).collect();
        effects[7] = -8.0;
        assert!(close(signed_rank_p(&effects).unwrap(), 50.0 / 1024.0));
        // The same turned round.
        let turned: Vec<f64> = effects.iter().map(|e| -e).collect();
        assert!(close(signed_rank_p(&turned).unwrap(), 50.0 / 1024.0));
        // Ties share a rank: 1, 1, -1 has ranks 2, 2, 2; sums 0, 2, 4, 6 with chances 1, 3, 3, 1 of 8.
        assert!(close(signed_rank_p(&[1.0, 1.0, -1.0]).unwrap(), 1.0));
        assert!(close(signed_rank_p(&[1.0, 1.0, 1.0, 0.0]).unwrap(), 0.25));
        assert_eq!(signed_rank_p(&[0.0]), None);
    }

    #[test]
    fn the_exact_interval_leaves_out_as_many_averages_as_the_table_says() {
        // n = 8: the critical sum is 3, so the fourth smallest and fourth largest of 36 averages.
        let effects: Vec<f64> = (0..8).map(|i| f64::from(1 << i)).collect();
        let mut means = walsh(&effects);
        means.sort_unstable_by(f64::total_cmp);
        assert_eq!(signed_rank_interval(&effects), Some((means[3], means[32])));
        assert_eq!(signed_rank_interval(&effects[..6]), Some((1.0, 32.0)));
        assert_eq!(signed_rank_interval(&effects[..5]), None, "with five pairs nothing is rejected");
    }

    #[test]
    fn holm_multiplies_the_smallest_by_all_and_never_falls() {
        let corrected = holm(&[0.01, 0.04, 0.03, 0.005]);
        let expected = [0.03, 0.06, 0.06, 0.02];
        assert!(corrected.iter().zip(expected).all(|(a, b)| close(*a, b)), "{corrected:?}");
        assert_eq!(holm(&[0.9, 0.8]), vec![1.0, 1.0]);
        assert!(holm(&[]).is_empty());
    }

    #[test]
    fn pairs_are_planned_by_effect_and_by_cells() {
        assert_eq!(pairs_for(0.04, 0.02), 32);
        assert_eq!(pairs_min(1), 6);
        assert_eq!(pairs_min(8), 9);
        // With one pair fewer the best possible p fails the correction; with these it passes.
        for cells in 1..40usize {
            let best = |pairs: u64| 2.0 / 2f64.powi(pairs as i32) * cells as f64;
            assert!(best(pairs_min(cells)) <= 0.05 && best(pairs_min(cells) - 1) > 0.05, "{cells}");
        }
    }

    #[test]
    fn the_normal_distribution_and_its_inverse_agree_with_the_tables() {
        for (x, p) in [(0.0, 0.5), (1.959_963_984_540_054, 0.975), (-2.326_347_874_040_841, 0.01)] {
            assert!((normal(x) - p).abs() < 1e-12);
            assert!((normal_quantile(p) - x).abs() < 1e-9);
        }
    }

    #[test]
    fn the_bootstrap_of_a_mean_is_near_the_interval_of_normal_theory() {
        let values: Vec<f64> = (0..40).map(|i| normal_quantile((f64::from(i) + 0.5) / 40.0)).collect();
        let mean =
            |places: &[usize]| Some(places.iter().map(|p| values[*p]).sum::<f64>() / places.len() as f64);
        let (low, high) = bca(values.len(), 5000, 1, mean).unwrap();
        // Standard error of the mean: about 0.98 / sqrt(40).
        assert!((low + 0.304).abs() < 0.03 && (high - 0.304).abs() < 0.03, "{low} {high}");
        assert_eq!(bca(1, 100, 1, |_| Some(1.0)), None);
        assert_eq!(bca(8, 100, 1, |_| Some(2.5)), Some((2.5, 2.5)));
    }

    #[test]
    fn a_claim_needs_interval_floor_and_correction() {
        let effect = 1.1f64.ln();
        let apart = Some((0.02, 0.2));
        assert_eq!(claim(effect, apart, Some(0.05), Some(0.01)), Claim::Difference);
        assert_eq!(claim(-effect, Some((-0.2, -0.02)), Some(0.05), Some(0.01)), Claim::Difference);
        assert_eq!(claim(effect, apart, Some(0.12), Some(0.01)), Claim::NotShown, "within the floor");
        assert_eq!(claim(effect, Some((-0.01, 0.2)), Some(0.05), Some(0.01)), Claim::NotShown);
        assert_eq!(claim(effect, apart, Some(0.05), Some(0.06)), Claim::NotShown);
        assert_eq!(claim(effect, apart, None, Some(0.01)), Claim::NoFloor);
        assert_eq!(claim(effect, None, Some(0.05), Some(0.01)), Claim::TooFewPairs);
    }

    /// Normal effects of the given centre and spread.
    fn series(seed: &mut SplitMix64, n: usize, centre: f64, spread: f64) -> Vec<f64> {
        let mut uniform = || (seed.below(1 << 52) as f64 + 0.5) / (1u64 << 52) as f64;
        (0..n).map(|_| centre + spread * normal_quantile(uniform())).collect()
    }

    /// RIG section 20, with fewer resamples than a run makes: a thousand series each.
    fn simulated(centre: f64, resamples: usize) -> (usize, usize) {
        const PAIRS: usize = 32;
        let mut draws = SplitMix64::new(42);
        let (mut claimed, mut covered) = (0, 0);
        for round in 0..1000 {
            let same = series(&mut draws, PAIRS, 0.0, 0.04);
            let effects = series(&mut draws, PAIRS, centre, 0.04);
            let interval = interval(&effects, resamples, round).unwrap();
            let found = claim(
                hodges_lehmann(&effects).unwrap(),
                Some(interval),
                floor(&same, PAIRS, resamples, round),
                signed_rank_p(&effects),
            );
            claimed += usize::from(found == Claim::Difference);
            covered += usize::from(interval.0 <= centre && centre <= interval.1);
        }
        (claimed, covered)
    }

    #[test]
    fn a_subject_against_itself_is_told_apart_in_at_most_70_of_1000_series() {
        let (claimed, _) = simulated(0.0, 400);
        assert!(claimed <= 70, "{claimed}");
    }

    #[test]
    fn an_effect_of_3_percent_is_found_in_900_of_1000_series_and_covered_in_915() {
        let (claimed, covered) = simulated(1.03f64.ln(), 400);
        assert!(claimed >= 900 && covered >= 915, "claimed {claimed}, covered {covered}");
    }
}
