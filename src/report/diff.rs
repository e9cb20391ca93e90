//! Two stored runs, cell by cell: which figures moved, and whether more than chance moves them.
//!
//! In: two runs. Out: rows and their text. A difference is claimed only where the interval excludes 1 and a noise floor is
//! known that it exceeds; without a floor the row says that the blocks are apart, and no more.

use std::fmt::Write as _;

use comfy_table::{CellAlignment, Table, presets};

use super::figures;
use super::run::{self, Block, Cell, Role, Run};
use super::statistics;
use super::unpaired::{self, Ratio};

/// One figure of one cell in both runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub cell: String,
    pub metric: &'static str,
    /// Medians over blocks.
    pub a: f64,
    pub b: f64,
    pub blocks: (usize, usize),
    /// B over A.
    pub ratio: Ratio,
    pub p: Option<f64>,
    pub floor: Option<f64>,
}

/// What a row says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    Differs,
    /// The interval excludes 1, and no noise floor is known.
    Apart,
    NotShown,
    /// Too few blocks for an interval.
    NoInterval,
}

impl Row {
    pub fn said(&self) -> Said {
        let Some((low, high)) = self.ratio.interval else { return Said::NoInterval };
        if (low..=high).contains(&1.0) {
            return Said::NotShown;
        }
        match self.floor {
            Some(floor) if self.ratio.estimate.ln().abs() > (1.0 + floor).ln() => Said::Differs,
            Some(_) => Said::NotShown,
            None => Said::Apart,
        }
    }
}

/// Figures that a block has by itself, and how they are read off it.
const METRICS: [&str; 4] = ["records_per_s", "broker_cpu_ns_per_record", "produce_p99_ns", "e2e_p99_ns"];

fn measured(block: &Block) -> impl Iterator<Item = &run::Second> {
    block.series.iter().filter(|second| second.phase == "measure")
}

fn value(block: &Block, metric: &str) -> Option<f64> {
    let seconds: f64 = measured(block).map(|second| second.duration_ns as f64 / 1e9).sum();
    let records: f64 =
        measured(block).filter_map(|s| Some(s.achieved_records_per_s? * s.duration_ns as f64 / 1e9)).sum();
    let p99 = |names: [&str; 2]| {
        let histogram = names.iter().find_map(|name| block.histograms.iter().find(|h| h.metric == *name))?;
        statistics::Quantile::P99.of(&statistics::decode(histogram).ok()?).map(|ns| ns as f64)
    };
    let value = match metric {
        "records_per_s" => (seconds > 0.0).then(|| records / seconds),
        "broker_cpu_ns_per_record" => {
            let cpu: Option<f64> =
                measured(block).map(|s| Some(s.broker_cpu_cores? * s.duration_ns as f64)).sum();
            cpu.map(|ns| ns / records)
        }
        "produce_p99_ns" => p99([run::PRODUCE_RESPONSE, run::PRODUCE_SERVICE]),
        _ => p99([run::E2E_RESPONSE, run::E2E_SERVICE]),
    };
    value.filter(|value| value.is_finite() && *value > 0.0)
}

fn values(run: &Run, cell: &Cell, metric: &str) -> Vec<f64> {
    let blocks = run.blocks.iter().filter(|block| block.cell == cell.id && block.void_reasons.is_empty());
    blocks.filter_map(|block| value(block, metric)).collect()
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// Why two runs should not stand side by side, if so.
pub fn differing_machines(a: &Run, b: &Run) -> Option<String> {
    let (a, b) = (&a.environment, &b.environment);
    if a.fingerprint.is_some() && a.fingerprint == b.fingerprint {
        return None;
    }
    let fields = [
        ("kernel", &a.machine.kernel, &b.machine.kernel),
        ("cpu", &a.machine.cpu_model, &b.machine.cpu_model),
        ("file system", &a.storage.filesystem, &b.storage.filesystem),
        ("device", &a.storage.device, &b.storage.device),
    ];
    let shown = |text: &Option<String>| text.clone().unwrap_or_else(|| "unknown".to_owned());
    let apart: Vec<String> = fields
        .iter()
        .filter(|(_, a, b)| a != b)
        .map(|(name, a, b)| format!("{name} {} and {}", shown(a), shown(b)))
        .collect();
    Some(if apart.is_empty() { "their fingerprints differ".to_owned() } else { apart.join(", ") })
}

/// The cell of `run` that asks the same.
fn counterpart<'a>(cell: &Cell, run: &'a Run) -> Option<&'a Cell> {
    let same =
        |other: &&Cell| other.role == Role::Sweep && other.id == cell.id && other.loop_kind == cell.loop_kind;
    run.cells.iter().find(same)
}

/// Every figure of every cell that both runs have at the same parameters.
pub fn rows(a: &Run, b: &Run) -> Vec<Row> {
    let mut rows = Vec::new();
    for cell in a.cells.iter().filter(|cell| cell.role == Role::Sweep) {
        let Some(other) = counterpart(cell, b) else { continue };
        for metric in METRICS {
            // At a fixed rate the rate says nothing.
            if metric == "records_per_s" && cell.loop_kind == run::Loop::Open {
                continue;
            }
            let (of_a, of_b) = (values(a, cell, metric), values(b, other, metric));
            let Some(ratio) = unpaired::ratio(&of_b, &of_a) else { continue };
            let floor = [a, b].into_iter().filter_map(|run| run.calibration.as_ref());
            let floor = floor
                .filter(|known| known.metric.as_deref() == Some(metric))
                .find_map(|known| known.floor_ratio);
            rows.push(Row {
                cell: cell.id.clone(),
                metric,
                a: median(&of_a),
                b: median(&of_b),
                blocks: (of_a.len(), of_b.len()),
                ratio,
                p: unpaired::mann_whitney_p(&of_a, &of_b),
                floor,
            });
        }
    }
    rows
}

/// Rows as a table, with a line under it that says what they allow to be said.
pub fn text(a: &Run, b: &Run, rows: &[Row]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(["cell", "figure", "A", "B", "B/A", "95 %", "p", "blocks", "says"]);
    for row in rows {
        let interval = row
            .ratio
            .interval
            .map_or(figures::MISSING.to_owned(), |(low, high)| format!("[{low:.3}, {high:.3}]"));
        table.add_row([
            row.cell.clone(),
            row.metric.to_owned(),
            figures::significant(row.a, 3),
            figures::significant(row.b, 3),
            format!("{:.3}", row.ratio.estimate),
            interval,
            figures::or_missing(row.p, |p| format!("{p:.3}")),
            format!("{}+{}", row.blocks.0, row.blocks.1),
            match row.said() {
                Said::Differs => "differs",
                Said::Apart => "apart; no floor, no claim",
                Said::NotShown => "no difference shown",
                Said::NoInterval => "too few blocks",
            }
            .to_owned(),
        ]);
    }
    for column in table.column_iter_mut().skip(2).take(6) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let mut out =
        format!("A  {}  {}\nB  {}  {}\n{table}\n", a.run_id, a.started_at_utc, b.run_id, b.started_at_utc);
    for cell in a.cells.iter().filter(|cell| cell.role == Role::Sweep && counterpart(cell, b).is_some()) {
        for (name, run) in [("A", a), ("B", b)] {
            let mut blocks = run.blocks.iter().filter(|block| block.cell == cell.id).peekable();
            if blocks.peek().is_some() && blocks.all(|block| !block.void_reasons.is_empty()) {
                let _ = writeln!(out, "{}: every block of {name} is void, so nothing is compared", cell.id);
            }
        }
    }
    if !a.cells.iter().any(|cell| cell.role == Role::Sweep && counterpart(cell, b).is_some()) {
        out.push_str("the two runs have no cell in common\n");
    }
    if rows.iter().any(|row| row.said() == Said::NoInterval) {
        out.push_str("an interval needs four blocks on both sides: run with --repeat 4 or more\n");
    }
    out.push_str(
        "runs of different times: what changed on the machine between them is in these ratios too\n",
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run_of(rates: &[f64]) -> Run {
        let mut run = Run { run_id: "r".to_owned(), ..Run::default() };
        run.cells.push(Cell { id: "c".to_owned(), loop_kind: run::Loop::Closed, ..Cell::default() });
        for rate in rates {
            let second = run::Second {
                duration_ns: 1_000_000_000,
                phase: "measure".to_owned(),
                achieved_records_per_s: Some(*rate),
                broker_cpu_cores: Some(1.0),
                ..run::Second::default()
            };
            run.blocks.push(Block { cell: "c".to_owned(), series: vec![second], ..Block::default() });
        }
        run
    }

    #[test]
    fn a_claim_needs_an_interval_and_a_floor() {
        let a = run_of(&[100.0, 101.0, 102.0, 103.0]);
        let b = run_of(&[110.0, 111.0, 112.0, 113.0]);
        let found = rows(&a, &b);
        assert_eq!(found.len(), 2, "rate and CPU: {found:?}");
        assert!((found[0].ratio.estimate - 1.098).abs() < 0.01);
        assert_eq!(found[0].said(), Said::Apart);
        let mut with_floor = a.clone();
        with_floor.calibration = Some(run::Calibration {
            metric: Some("records_per_s".to_owned()),
            floor_ratio: Some(0.02),
            ..run::Calibration::default()
        });
        assert_eq!(rows(&with_floor, &b)[0].said(), Said::Differs);
        with_floor.calibration.as_mut().unwrap().floor_ratio = Some(0.2);
        assert_eq!(rows(&with_floor, &b)[0].said(), Said::NotShown);
        assert_eq!(rows(&a, &a)[0].said(), Said::NotShown);
        assert_eq!(rows(&run_of(&[1.0]), &b)[0].said(), Said::NoInterval);
        let page = text(&a, &b, &found);
        assert!(page.contains("no floor, no claim") && page.contains("different times"), "{page}");
    }

    #[test]
    fn void_blocks_do_not_count_and_machines_must_be_the_same() {
        let mut a = run_of(&[100.0, 1.0]);
        a.blocks[1].void_reasons.push("steal".to_owned());
        assert_eq!(rows(&a, &run_of(&[100.0]))[0].blocks, (1, 1));
        a.blocks[0].void_reasons.push("steal".to_owned());
        let other = run_of(&[100.0]);
        let none = text(&other, &a, &rows(&other, &a));
        assert!(none.contains("c: every block of B is void") && !none.contains("in common"), "{none}");
        let mut b = a.clone();
        a.environment.machine.kernel = Some("6.1".to_owned());
        b.environment.machine.kernel = Some("6.18".to_owned());
        assert_eq!(differing_machines(&a, &b).unwrap(), "kernel 6.1 and 6.18");
        a.environment.fingerprint = Some("x".to_owned());
        b.environment.fingerprint = Some("x".to_owned());
        assert_eq!(differing_machines(&a, &b), None);
    }
}
