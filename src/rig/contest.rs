//! From pairs of blocks to verdicts: what two subjects showed in one row, and what may be said of it.
//!
//! In: for each row, the figures of its pairs. Out: [`Comparison`]s with estimate, interval, floor, corrected p and
//! sentence. Pure. A pair with a void member counts nowhere but in the number of voids. Rates and costs are compared
//! pair by pair; percentiles are taken from merged histograms, and their intervals from resampled blocks.

use crate::load::Histogram;
use crate::report::pairs::{self, Claim};
use crate::report::run::{
    Cell, Comparison, E2E_RESPONSE, Effect, Loop, Outcome, PRODUCE_RESPONSE, Percentiles, Versus,
};
use crate::report::statistics::Quantile;
use crate::report::verdict;

/// One member of a pair: its block alone, as a cell.
#[derive(Clone, Debug, Default)]
pub struct Member {
    pub cell: Cell,
    /// From exec to the first answer.
    pub ready_ns: Option<u64>,
    /// Produce and end-to-end response, of open loops.
    pub histograms: [Option<Histogram>; 2],
}

#[derive(Clone, Debug)]
pub struct Pair {
    pub number: u64,
    pub a_first: bool,
    pub void: bool,
    pub a: Member,
    pub b: Member,
}

/// One point of the comparison: two subjects, one workload, one set of cores.
#[derive(Clone, Debug)]
pub struct Row {
    pub view: String,
    /// `floor` for a subject against itself.
    pub pairing: String,
    /// `1 partition at saturation`.
    pub place: String,
    /// The same for a row and the floor that belongs to it.
    pub point: usize,
    pub a: String,
    pub b: String,
    /// Cells that add up all blocks, by id.
    pub cell_a: String,
    pub loop_kind: Loop,
    pub partitions: u64,
    pub offered_records_per_s: Option<f64>,
    /// Whether this row also reports the time from start to first answer.
    pub reports_start: bool,
    pub pairs: Vec<Pair>,
}

enum Of {
    Value(fn(&Member) -> Option<f64>),
    /// A percentile of one of the two histograms.
    Percentile(usize, Quantile),
}

struct Metric {
    name: &'static str,
    what: &'static str,
    unit: &'static str,
    lower_is_better: bool,
    loop_kind: Option<Loop>,
    of: Of,
}

const METRICS: [Metric; 9] = [
    Metric {
        name: "records_per_s",
        what: "records/s",
        unit: "1/s",
        lower_is_better: false,
        loop_kind: Some(Loop::Closed),
        of: Of::Value(|member| member.cell.records_per_s),
    },
    Metric {
        name: PRODUCE_RESPONSE,
        what: "produce p50",
        unit: "ns",
        lower_is_better: true,
        loop_kind: Some(Loop::Open),
        of: Of::Percentile(0, Quantile::P50),
    },
    Metric {
        name: PRODUCE_RESPONSE,
        what: "produce p99",
        unit: "ns",
        lower_is_better: true,
        loop_kind: Some(Loop::Open),
        of: Of::Percentile(0, Quantile::P99),
    },
    Metric {
        name: PRODUCE_RESPONSE,
        what: "produce p99.9",
        unit: "ns",
        lower_is_better: true,
        loop_kind: Some(Loop::Open),
        of: Of::Percentile(0, Quantile::P99_9),
    },
    Metric {
        name: E2E_RESPONSE,
        what: "end-to-end p99",
        unit: "ns",
        lower_is_better: true,
        loop_kind: Some(Loop::Open),
        of: Of::Percentile(1, Quantile::P99),
    },
    Metric {
        name: "broker_cpu_ns_per_record",
        what: "CPU per record",
        unit: "ns/record",
        lower_is_better: true,
        loop_kind: None,
        of: Of::Value(|member| member.cell.broker_cpu_ns_per_record),
    },
    Metric {
        name: "system_cpu_ns_per_record",
        what: "system CPU per record",
        unit: "ns/record",
        lower_is_better: true,
        loop_kind: None,
        of: Of::Value(|member| member.cell.system_cpu_ns_per_record),
    },
    Metric {
        name: "rss_bytes_max",
        what: "resident memory",
        unit: "B",
        lower_is_better: true,
        loop_kind: None,
        of: Of::Value(|member| member.cell.rss_bytes_max.map(|bytes| bytes as f64)),
    },
    Metric {
        name: "ready_ns",
        what: "time to first answer",
        unit: "ns",
        lower_is_better: true,
        loop_kind: None,
        of: Of::Value(|member| member.ready_ns.map(|ns| ns as f64)),
    },
];

impl Metric {
    fn belongs_to(&self, row: &Row) -> bool {
        self.loop_kind.is_none_or(|kind| kind == row.loop_kind)
            && (self.name != "ready_ns" || row.reports_start)
    }

    /// Of one block.
    fn alone(&self, member: &Member) -> Option<f64> {
        let value = match &self.of {
            Of::Value(of) => of(member),
            Of::Percentile(which, quantile) => {
                let percentiles: &Percentiles = match which {
                    0 => &member.cell.produce_response_ns,
                    _ => &member.cell.e2e_response_ns,
                };
                let ns = match *quantile {
                    Quantile::P50 => percentiles.p50,
                    Quantile::P99 => percentiles.p99,
                    _ => percentiles.p99_9,
                };
                ns.map(|ns| ns as f64)
            }
        };
        value.filter(|value| *value > 0.0)
    }
}

/// Histograms of the chosen pairs on one side, merged, and their percentile if it has support.
fn merged(pairs: &[&Pair], chosen: &[usize], which: usize, quantile: Quantile, a: bool) -> Option<f64> {
    let mut sum = crate::load::outcome::histogram();
    for place in chosen {
        let member = if a { &pairs[*place].a } else { &pairs[*place].b };
        sum.add(member.histograms[which].as_ref()?).ok()?;
    }
    quantile.of(&sum).map(|ns| ns as f64)
}

/// What one metric shows in one row, before floor and correction.
struct Shown {
    comparison: Comparison,
    /// Logarithms of A over B, one per valid pair.
    effects: Vec<f64>,
    estimate: Option<f64>,
    interval: Option<(f64, f64)>,
}

fn show(row: &Row, metric: &Metric, resamples: usize, seed: u64) -> Shown {
    let effect = |pair: &Pair| Some((metric.alone(&pair.a)? / metric.alone(&pair.b)?).ln());
    let valid: Vec<&Pair> = row.pairs.iter().filter(|pair| !pair.void && effect(pair).is_some()).collect();
    let effects: Vec<f64> = valid.iter().filter_map(|pair| effect(pair)).collect();
    let all: Vec<usize> = (0..valid.len()).collect();
    let (estimate, interval, values) = match metric.of {
        Of::Value(_) => {
            let middle = |a: bool| {
                let of = |pair: &&Pair| metric.alone(if a { &pair.a } else { &pair.b });
                pairs::median(&mut valid.iter().filter_map(of).collect::<Vec<_>>())
            };
            (
                pairs::hodges_lehmann(&effects),
                pairs::interval(&effects, resamples, seed),
                (middle(true), middle(false)),
            )
        }
        Of::Percentile(which, quantile) => {
            let of = |chosen: &[usize], a| merged(&valid, chosen, which, quantile, a);
            let figure = |chosen: &[usize]| Some((of(chosen, true)? / of(chosen, false)?).ln());
            (
                figure(&all).filter(|_| !all.is_empty()),
                // Merging histograms is dear; a quarter of the resamples moves the ends by little.
                pairs::interval_of(&effects, resamples / 4, seed, figure),
                (of(&all, true), of(&all, false)),
            )
        }
    };
    let versus = Versus {
        view: row.view.clone(),
        pairing: row.pairing.clone(),
        place: row.place.clone(),
        what: metric.what.to_owned(),
        unit: metric.unit.to_owned(),
        lower_is_better: metric.lower_is_better,
        a_value: values.0,
        b_value: values.1,
        p: pairs::signed_rank_p(&effects),
        outcome: Outcome::NoClaim,
        effects: row
            .pairs
            .iter()
            .map(|pair| Effect {
                pair: pair.number,
                ratio: effect(pair).map(f64::exp),
                a_first: pair.a_first,
                void: pair.void,
            })
            .collect(),
        partitions: Some(row.partitions),
        offered_records_per_s: row.offered_records_per_s,
    };
    let comparison = Comparison {
        metric: metric.name.to_owned(),
        cell: row.cell_a.clone(),
        a: Some(row.a.clone()),
        b: Some(row.b.clone()),
        ratio: estimate.map(f64::exp),
        ci_low: interval.map(|(low, _)| low.exp()),
        ci_high: interval.map(|(_, high)| high.exp()),
        pairs: Some(valid.len() as u64),
        voids: Some(row.pairs.iter().filter(|pair| pair.void).count() as u64),
        versus: Some(versus),
        ..Comparison::default()
    };
    Shown { comparison, effects, estimate, interval }
}

/// All rows, metric by metric, in the order of the rows.
pub fn comparisons(rows: &[Row], resamples: usize, seed: u64) -> Vec<Comparison> {
    let mut out: Vec<(usize, Comparison)> = Vec::new();
    for metric in &METRICS {
        let mut shown: Vec<(usize, Shown)> = rows
            .iter()
            .enumerate()
            .filter(|(_, row)| metric.belongs_to(row))
            .map(|(place, row)| (place, show(row, metric, resamples, seed)))
            .collect();
        let floor_of = |row: &Row, pairs: usize| {
            let same = shown
                .iter()
                .find(|(place, _)| rows[*place].pairing == "floor" && rows[*place].point == row.point)?;
            // The floor of a series as long as the one it guards.
            pairs::floor(&same.1.effects, pairs, resamples, seed)
        };
        let floors: Vec<Option<f64>> =
            shown.iter().map(|(place, one)| floor_of(&rows[*place], one.effects.len())).collect();
        // Subjects against themselves are no hypotheses of the comparison, so they do not weigh on it.
        for floor_rows in [false, true] {
            let family: Vec<usize> =
                (0..shown.len()).filter(|i| (rows[shown[*i].0].pairing == "floor") == floor_rows).collect();
            let p_of = |i: &usize| shown[*i].1.comparison.versus.as_ref().and_then(|versus| versus.p);
            let tested: Vec<usize> = family.iter().copied().filter(|i| p_of(i).is_some()).collect();
            let corrected = pairs::holm(&tested.iter().filter_map(p_of).collect::<Vec<_>>());
            for (i, p) in tested.iter().zip(corrected) {
                shown[*i].1.comparison.p_holm = Some(p);
            }
        }
        for ((place, one), floor) in shown.iter_mut().zip(floors) {
            judge(&mut one.comparison, one.estimate, one.interval, floor, metric.lower_is_better);
            out.push((*place, one.comparison.clone()));
        }
    }
    out.sort_by_key(|(place, _)| *place);
    out.into_iter().map(|(_, comparison)| comparison).collect()
}

fn judge(
    comparison: &mut Comparison,
    estimate: Option<f64>,
    interval: Option<(f64, f64)>,
    floor: Option<f64>,
    lower_is_better: bool,
) {
    comparison.floor_ratio = floor;
    let claim = match estimate {
        Some(estimate) => pairs::claim(estimate, interval, floor, comparison.p_holm),
        None => Claim::TooFewPairs,
    };
    let outcome = match (claim, estimate) {
        (Claim::Difference, Some(estimate)) if (estimate < 0.0) == lower_is_better => Outcome::Better,
        (Claim::Difference, Some(_)) => Outcome::Worse,
        (Claim::NotShown, _) => Outcome::NotShown,
        (Claim::NoFloor | Claim::TooFewPairs | Claim::Difference, _) => Outcome::NoClaim,
    };
    if let Some(versus) = &mut comparison.versus {
        versus.outcome = outcome;
    }
    comparison.claim = Some(verdict::sentence(comparison, claim));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(rate: f64, p99_ns: u64) -> Member {
        let mut histogram = crate::load::outcome::histogram();
        for i in 0..2000u64 {
            histogram.record(if i < 1900 { 1000 } else { p99_ns }).unwrap();
        }
        Member {
            cell: Cell {
                records_per_s: Some(rate),
                produce_response_ns: Percentiles::of(&histogram),
                ..Cell::default()
            },
            ready_ns: Some(5),
            histograms: [Some(histogram), None],
        }
    }

    fn row(pairing: &str, loop_kind: Loop, pairs: &[(f64, f64)], void: &[u64]) -> Row {
        Row {
            view: "split".into(),
            pairing: pairing.into(),
            place: "1 partition".into(),
            point: 0,
            a: "a".into(),
            b: "b".into(),
            cell_a: "cell".into(),
            loop_kind,
            partitions: 1,
            offered_records_per_s: None,
            reports_start: false,
            pairs: pairs
                .iter()
                .zip(0..)
                .map(|((a, b), number)| Pair {
                    number,
                    a_first: number % 2 == 0,
                    void: void.contains(&number),
                    a: member(*a, (*a * 1000.0) as u64),
                    b: member(*b, (*b * 1000.0) as u64),
                })
                .collect(),
        }
    }

    /// A hundred, give or take a percent.
    fn noise(i: u32) -> f64 {
        100.0 + [0.3, -0.9, 1.0, -0.2, 0.6, -0.7, 0.1, -0.4, 0.8, -1.0][i as usize % 10]
    }

    fn rate(rows: &[Row]) -> Vec<Comparison> {
        let all = comparisons(rows, 500, 7);
        all.into_iter().filter(|c| c.metric == "records_per_s").collect()
    }

    fn outcome(comparison: &Comparison) -> Outcome {
        comparison.versus.as_ref().unwrap().outcome
    }

    #[test]
    fn a_subject_that_does_twice_as_much_is_better_and_one_that_needs_twice_as_long_is_worse() {
        let same: Vec<(f64, f64)> = (0..8).map(|i| (noise(i), noise(i + 3))).collect();
        let twice: Vec<(f64, f64)> = (0..8).map(|i| (2.0 * noise(i), noise(i + 5))).collect();
        let found =
            rate(&[row("default", Loop::Closed, &twice, &[]), row("floor", Loop::Closed, &same, &[])]);
        assert_eq!(outcome(&found[0]), Outcome::Better);
        assert!((found[0].ratio.unwrap() - 2.0).abs() < 0.02, "{:?}", found[0].ratio);
        assert_eq!(outcome(&found[1]), Outcome::NotShown, "a subject against itself claims nothing");
        assert!(found[0].floor_ratio.unwrap() < 0.02);

        let all = comparisons(
            &[row("default", Loop::Open, &twice, &[]), row("floor", Loop::Open, &same, &[])],
            500,
            7,
        );
        let p99 = all.iter().find(|c| c.versus.as_ref().unwrap().what == "produce p99").unwrap();
        assert_eq!(outcome(p99), Outcome::Worse, "{:?}", p99.claim);
        assert!((p99.ratio.unwrap() - 2.0).abs() < 0.05);
        assert!(all.iter().all(|c| c.metric != "records_per_s"), "an open loop has no rate to compare");
    }

    #[test]
    fn void_pairs_count_nowhere_and_without_a_floor_nothing_is_claimed() {
        let mut pairs: Vec<(f64, f64)> = (0..10).map(|i| (2.0 * noise(i), noise(i + 5))).collect();
        pairs[3].0 = 1.0;
        pairs[7].0 = 1e6;
        let found = rate(&[row("default", Loop::Closed, &pairs, &[3, 7])]);
        assert_eq!((found[0].pairs, found[0].voids), (Some(8), Some(2)));
        assert!((found[0].ratio.unwrap() - 2.0).abs() < 0.02);
        assert_eq!(outcome(&found[0]), Outcome::NoClaim);
        assert!(found[0].claim.as_ref().unwrap().contains("no noise floor"), "{:?}", found[0].claim);
    }

    #[test]
    fn with_three_pairs_there_is_no_interval_and_no_claim() {
        let few: Vec<(f64, f64)> = (0..3).map(|i| (2.0 * noise(i), noise(i + 5))).collect();
        let found = rate(&[row("default", Loop::Closed, &few, &[]), row("floor", Loop::Closed, &few, &[])]);
        assert_eq!((found[0].ci_low, outcome(&found[0])), (None, Outcome::NoClaim));
        assert!(found[0].claim.as_ref().unwrap().contains("too few pairs"), "{:?}", found[0].claim);
    }

    #[test]
    fn many_rows_at_eight_pairs_cannot_pass_the_correction() {
        let twice: Vec<(f64, f64)> = (0..8).map(|i| (2.0 * noise(i), noise(i + 5))).collect();
        let same: Vec<(f64, f64)> = (0..8).map(|i| (noise(i), noise(i + 3))).collect();
        let mut rows = vec![row("default", Loop::Closed, &twice, &[]); 8];
        rows.push(row("floor", Loop::Closed, &same, &[]));
        assert!(rate(&rows).iter().all(|c| outcome(c) == Outcome::NotShown));
    }
}
