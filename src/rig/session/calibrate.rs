//! What the machine shows of a subject against itself: the floor below which no difference is claimed (RIG 12.4).
//!
//! In: one workload, a number of pairs. Out: per figure the A/A floor, the spread of pairs, and how many pairs a difference of 2 %
//! would need; and how far the generator is from its limit. Kept with the machine's fingerprint in `calibration.jsonl`.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;

use super::Session;
use crate::load;
use crate::report::pairs;
use crate::report::run::{Calibration, Cell, Comparison, Loop, Role};
use crate::rig::exit::Failure;
use crate::rig::plan::{CellSpec, common_rate};

/// The effect that the advised number of pairs is for.
const EFFECT: f64 = 0.02;
const FILE: &str = "calibration.jsonl";

type Figure = (&'static str, fn(&Cell) -> Option<f64>);

/// What a pair is compared by.
const FIGURES: [Figure; 4] = [
    ("records_per_s", |cell| cell.records_per_s.filter(|_| cell.loop_kind == Loop::Closed)),
    ("broker_cpu_ns_per_record", |cell| cell.broker_cpu_ns_per_record),
    ("produce_p99_ns", |cell| cell.produce_response_ns.p99.map(|ns| ns as f64)),
    ("e2e_p99_ns", |cell| cell.e2e_response_ns.p99.map(|ns| ns as f64)),
];

/// Logarithms of ratios, by cell and figure.
type Effects = BTreeMap<(String, &'static str), Vec<f64>>;

impl Session<'_> {
    /// Pairs of one subject against itself, at saturation and at half of it.
    pub fn calibrate(&mut self, base: &CellSpec, pairs: u64) -> Result<(), Failure> {
        let windows = self.settings.windows;
        let cell_of = |id: &str, arrivals, (warmup, duration)| {
            let mut cell = CellSpec { id: id.to_owned(), role: Role::Sweep, blocks: 1, ..base.clone() };
            cell.load.producers.arrivals = arrivals;
            (cell.load.warmup, cell.load.duration, cell.load.until_steady) = (warmup, duration, false);
            cell
        };
        let closed = load::Arrivals::Closed;
        let saturation = cell_of("saturate", closed, (windows.saturation_warmup, windows.saturation));
        let mut at_rate = cell_of(
            "at-rate",
            load::Arrivals::Constant { records_per_s: 1.0 },
            (windows.latency_warmup, windows.latency),
        );
        let variant = self.settings.null_variant.clone();
        let roofs: Vec<CellSpec> = variant.iter().map(|variant| saturation.roof(variant, &windows)).collect();
        let planned = |cell: &CellSpec| CellSpec { blocks: 2 * pairs, ..cell.clone() };
        let (of_saturation, of_rate) = (planned(&saturation), planned(&at_rate));
        let all: Vec<&CellSpec> = roofs.iter().chain([&of_saturation, &of_rate]).collect();
        self.open(&all, 0.0)?;
        self.limits(std::slice::from_ref(base), "start", windows.limits_start);
        let roofs = match &variant {
            Some(variant) => self.roofs(variant, &roofs)?,
            None => Vec::new(),
        };
        let mut effects = Effects::new();
        let mut voids = 0;
        let rates = self.same_pairs(&saturation, pairs, roofs.first(), &mut effects, &mut voids)?;
        let Some(rate) = common_rate(rates.into_iter()) else {
            self.flag("no rate: nothing was acknowledged at saturation");
            return Ok(());
        };
        at_rate.load.producers.arrivals = load::Arrivals::Constant { records_per_s: rate };
        self.same_pairs(&at_rate, pairs, roofs.first(), &mut effects, &mut voids)?;
        self.limits(std::slice::from_ref(base), "end", windows.limits_end);
        if voids * 4 > 2 * pairs {
            self.unanswered = true;
            self.run.verdicts.push(format!("NOT VALID: {voids} of {} pairs are void", 2 * pairs));
        }
        self.write_floors(base, &effects, pairs, voids);
        Ok(())
    }

    /// Blocks two by two; the records per second of each.
    fn same_pairs(
        &mut self,
        cell: &CellSpec,
        pairs: u64,
        roof: Option<&crate::rig::cell::Roof>,
        effects: &mut Effects,
        voids: &mut u64,
    ) -> Result<Vec<f64>, Failure> {
        let subject = self.settings.subject.clone();
        let mut rates = Vec::new();
        for pair in 0..pairs {
            let mut sides = Vec::new();
            for side in ["a", "b"] {
                let step = CellSpec { id: format!("{}-{pair}{side}", cell.id), ..cell.clone() };
                let collected = self.collect(&subject, &step)?;
                let measured = collected.against(roof);
                rates.extend(measured.records_per_s);
                sides.push((measured.clone(), collected.is_void()));
                self.keep(&collected, measured);
            }
            let [(a, a_void), (b, b_void)] = &sides[..] else { continue };
            if *a_void || *b_void {
                *voids += 1;
                continue;
            }
            for (metric, of) in FIGURES {
                if let (Some(a), Some(b)) = (of(a).filter(|v| *v > 0.0), of(b).filter(|v| *v > 0.0)) {
                    effects.entry((cell.id.clone(), metric)).or_default().push((a / b).ln());
                }
            }
        }
        Ok(rates)
    }

    fn write_floors(&mut self, base: &CellSpec, effects: &Effects, planned: u64, voids: u64) {
        let seed = self.settings.seed;
        let mut lines = String::new();
        for ((cell, metric), effects) in effects {
            let floor = pairs::floor(effects, effects.len(), pairs::RESAMPLES, seed);
            let mean = effects.iter().sum::<f64>() / effects.len() as f64;
            let variance = effects.iter().map(|effect| (effect - mean).powi(2)).sum::<f64>()
                / (effects.len() as f64 - 1.0).max(1.0);
            let spread = variance.sqrt();
            let advised = pairs::pairs_for(spread, EFFECT).max(pairs::pairs_min(1));
            let text = floor.map_or_else(
                || "no floor: too few pairs".to_owned(),
                |f| format!("A/A floor {:.1} %", f * 100.0),
            );
            self.run.comparisons.push(Comparison {
                metric: (*metric).to_owned(),
                cell: cell.clone(),
                a: Some(base.subject.clone()),
                b: Some(base.subject.clone()),
                ratio: pairs::hodges_lehmann(effects).map(f64::exp),
                pairs: Some(effects.len() as u64),
                voids: Some(voids),
                floor_ratio: floor,
                claim: Some(format!(
                    "{cell}, {metric}: {text} over {} pairs, spread {:.1} %; a difference of {:.0} % needs {advised} pairs",
                    effects.len(),
                    spread * 100.0,
                    EFFECT * 100.0
                )),
                ..Comparison::default()
            });
            let known = Calibration {
                metric: Some((*metric).to_owned()),
                floor_ratio: floor,
                pairs: Some(effects.len() as u64),
                machine: self.run.environment.fingerprint.clone(),
            };
            let line = serde_json::json!({
                "at_utc": self.run.started_at_utc, "run": self.run.run_id, "workload_sha256": base.workload_sha256,
                "subject": base.subject, "cell": cell, "metric": metric, "floor_ratio": floor,
                "spread": spread, "pairs": effects.len(), "machine": known.machine,
            });
            lines.push_str(&format!("{line}\n"));
            if self.run.calibration.is_none() || *metric == "records_per_s" {
                self.run.calibration = Some(known);
            }
        }
        if effects.is_empty() {
            self.unanswered = true;
            self.run.verdicts.push(format!("NOT VALID: none of {planned} pairs could be compared"));
        }
        let path = self.settings.out.join(FILE);
        let written = fs::File::options().create(true).append(true).open(&path);
        if let Err(error) = written.and_then(|mut file| file.write_all(lines.as_bytes())) {
            self.flag(format!("{} could not be written: {error}", path.display()));
        }
    }
}
