//! Statistics of two runs that were not made side by side: blocks of one against blocks of the other.
//!
//! In: one value per block, of each run. Out: Mann-Whitney's p, and the ratio of the two with an interval. Pure.
//! What changed between the runs beside the subject is in the ratio too: this is weaker than pairs, and its words say so.

/// Up to so many blocks together the distribution of U is counted out.
const EXACT_MAX: usize = 40;
const Z95: f64 = 1.959_964;

/// Two-sided p of Mann-Whitney's U. `None` where one side is empty, or all values are the same.
pub fn mann_whitney_p(a: &[f64], b: &[f64]) -> Option<f64> {
    let (m, n) = (a.len(), b.len());
    if m == 0 || n == 0 {
        return None;
    }
    // Ties count half on both sides.
    let twice_u: usize =
        a.iter().flat_map(|a| b.iter().map(move |b| if a > b { 2 } else { usize::from(a == b) })).sum();
    let ties = has_ties(a, b);
    if m + n <= EXACT_MAX && !ties {
        let counts = distribution(m, n);
        let total: f64 = counts.iter().sum();
        let u = twice_u / 2;
        let tail = |end: &[f64]| end.iter().sum::<f64>() / total;
        return Some((2.0 * tail(&counts[..=u]).min(tail(&counts[u..]))).min(1.0));
    }
    let variance = variance(a, b)?;
    let distance = (twice_u as f64 / 2.0 - (m * n) as f64 / 2.0).abs();
    Some(two_sided((distance - 0.5).max(0.0) / variance.sqrt()))
}

fn has_ties(a: &[f64], b: &[f64]) -> bool {
    let mut all: Vec<f64> = a.iter().chain(b).copied().collect();
    all.sort_unstable_by(f64::total_cmp);
    all.windows(2).any(|pair| pair[0] == pair[1])
}

/// Of U, corrected for ties.
fn variance(a: &[f64], b: &[f64]) -> Option<f64> {
    let mut all: Vec<f64> = a.iter().chain(b).copied().collect();
    all.sort_unstable_by(f64::total_cmp);
    let (m, n, whole) = (a.len() as f64, b.len() as f64, all.len() as f64);
    let tied: f64 =
        all.chunk_by(|x, y| x == y).map(|group| (group.len() as f64).powi(3) - group.len() as f64).sum();
    let variance = m * n / 12.0 * ((whole + 1.0) - tied / (whole * (whole - 1.0)));
    (variance > 0.0).then_some(variance)
}

/// How many arrangements have each value of U: the coefficients of a Gaussian binomial.
fn distribution(m: usize, n: usize) -> Vec<f64> {
    let mut counts = vec![0.0; m * n + 1];
    counts[0] = 1.0;
    for i in 1..=m {
        // times (1 - q^(n + i)), then divided by (1 - q^i)
        for u in (n + i..counts.len()).rev() {
            counts[u] -= counts[u - n - i];
        }
        for u in i..counts.len() {
            counts[u] += counts[u - i];
        }
    }
    counts
}

/// Beyond `z` on both sides of the normal distribution.
fn two_sided(z: f64) -> f64 {
    // Abramowitz and Stegun 7.1.26, on erfc(z / sqrt 2): good to 1.5e-7.
    let x = z / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * x);
    let poly = ((((1.061_405_429 * t - 1.453_152_027) * t + 1.421_413_741) * t - 0.284_496_736) * t
        + 0.254_829_592)
        * t;
    (poly * (-x * x).exp()).clamp(0.0, 1.0)
}

/// A over B.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio {
    /// The median of the ratios of all blocks of A to all of B.
    pub estimate: f64,
    /// 95 %; `None` where the blocks are too few for any interval of that level.
    pub interval: Option<(f64, f64)>,
}

/// Of values above zero; `None` where one side has none.
pub fn ratio(a: &[f64], b: &[f64]) -> Option<Ratio> {
    let positive = |values: &[f64]| values.iter().all(|value| *value > 0.0 && value.is_finite());
    if a.is_empty() || b.is_empty() || !positive(a) || !positive(b) {
        return None;
    }
    let mut shifts: Vec<f64> = a.iter().flat_map(|a| b.iter().map(move |b| (a / b).ln())).collect();
    shifts.sort_unstable_by(f64::total_cmp);
    let middle = shifts.len() / 2;
    let median = if !shifts.len().is_multiple_of(2) {
        shifts[middle]
    } else {
        f64::midpoint(shifts[middle - 1], shifts[middle])
    };
    let interval = cut(a.len(), b.len()).map(|cut| (shifts[cut].exp(), shifts[shifts.len() - 1 - cut].exp()));
    Some(Ratio { estimate: median.exp(), interval })
}

/// How many shifts lie outside the interval on each side.
fn cut(m: usize, n: usize) -> Option<usize> {
    if m + n <= EXACT_MAX {
        let counts = distribution(m, n);
        let total: f64 = counts.iter().sum();
        let mut below = 0.0;
        let mut cut = None;
        for (u, count) in counts.iter().enumerate() {
            below += count;
            if below / total > 0.025 {
                break;
            }
            cut = Some(u);
        }
        // With P(U <= u) at most 2.5 %, shifts u + 1 and its mirror bound the interval.
        return cut;
    }
    let (m, n) = (m as f64, n as f64);
    let cut = m * n / 2.0 - Z95 * (m * n * (m + n + 1.0) / 12.0).sqrt();
    (cut >= 1.0).then_some(cut.floor() as usize - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn u_has_the_known_tails() {
        // Of 4 and 4 without overlap: 2 / C(8,4).
        let p = mann_whitney_p(&[1.0, 2.0, 3.0, 4.0], &[5.0, 6.0, 7.0, 8.0]).unwrap();
        assert!((p - 2.0 / 70.0).abs() < 1e-12, "{p}");
        assert_eq!(distribution(2, 2), [1.0, 1.0, 2.0, 1.0, 1.0]);
        assert!((distribution(8, 8).iter().sum::<f64>() - 12_870.0).abs() < 1e-6);
        assert_eq!(mann_whitney_p(&[1.0], &[]), None);
        assert_eq!(mann_whitney_p(&[1.0, 1.0], &[1.0, 1.0]), None, "nothing can be said of one value");
        assert!((two_sided(1.959_964) - 0.05).abs() < 1e-5);
    }

    #[test]
    fn an_interval_needs_four_blocks_on_both_sides_and_covers_the_ratio() {
        assert_eq!(ratio(&[2.0, 2.1, 2.2], &[1.0, 1.1, 1.2]).unwrap().interval, None);
        let found = ratio(&[2.0, 2.1, 2.2, 2.3], &[1.0, 1.05, 1.1, 1.15]).unwrap();
        let (low, high) = found.interval.unwrap();
        assert!((low..=high).contains(&found.estimate) && low > 1.5 && high < 2.4, "{found:?}");
        assert_eq!(ratio(&[0.0], &[1.0]), None);
    }

    #[test]
    fn the_same_distribution_seldom_seems_different() {
        let mut state = 9u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            1.0 + (state >> 40) as f64 / f64::from(1 << 24)
        };
        let mut outside = 0;
        for _ in 0..1000 {
            let a: Vec<f64> = (0..8).map(|_| next()).collect();
            let b: Vec<f64> = (0..8).map(|_| next()).collect();
            let (low, high) = ratio(&a, &b).unwrap().interval.unwrap();
            outside += u32::from(low > 1.0 || high < 1.0);
        }
        assert!(outside <= 70, "{outside} of 1000 at a level of 5 %");
    }
}
