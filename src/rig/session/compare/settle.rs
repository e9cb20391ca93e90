//! After the pairs: cells, comparisons, the parity box, and what makes the whole run not valid.
//!
//! In: rows with their blocks. Out: the run, ready to be written. It also runs when the pairs ended early.

use super::{Open, Session, place, subject_name, view_number};
use crate::report::pairs;
use crate::report::run::{self, E2E_RESPONSE, PRODUCE_RESPONSE};
use crate::report::{statistics, verdict};
use crate::rig::cell::Roof;
use crate::rig::contenders::{Contender, Contest};
use crate::rig::contest::{self, Row};
use crate::rig::subject::Kind;

/// More void pairs than this, and the run is not valid.
const VOID_SHARE_MAX: f64 = 0.25;
/// Requests and their bytes must agree this well between the sides.
const QUESTIONS_APART_MAX: f64 = 0.01;

impl Session<'_> {
    /// Cells, comparisons and verdicts of what ran.
    pub(super) fn settle_rows(
        &mut self,
        contest: &Contest,
        rows: Vec<Open>,
        roofs: &[(String, usize, Roof)],
        mut parity: Vec<String>,
    ) {
        let mut finished: Vec<Row> = Vec::new();
        let (mut pairs, mut voids) = (0u64, 0u64);
        let mut first_of: Vec<(&'static str, &'static str)> = Vec::new();
        let mut apart: Vec<String> = Vec::new();
        for mut row in rows.into_iter().filter(|row| !row.pairs.is_empty()) {
            pairs += row.pairs.len() as u64;
            voids += row.pairs.iter().filter(|pair| pair.void).count() as u64;
            let roof = roofs.iter().find(|(view, point, _)| {
                let same = &contest.points[*point].spec.load.topic;
                *view == row.view.name
                    && same.partitions == contest.points[row.point].spec.load.topic.partitions
            });
            let cells: Vec<run::Cell> = row
                .collected
                .iter()
                .map(|collected| collected.against(roof.map(|(.., roof)| roof)))
                .collect();
            if let Some(text) = questions_apart(&cells[0], &cells[1]) {
                apart.push(format!("{}: {text}", place(contest, &row)));
            }
            for (collected, cell) in row.collected.iter().zip(cells) {
                self.keep(collected, cell);
            }
            let key = (row.view.name, row.pairing);
            let reports_start = row.pairing == "floor" || !first_of.contains(&key);
            if !first_of.contains(&key) {
                first_of.push(key);
            }
            if row.specs[0].loop_kind() == run::Loop::Open {
                self.attach_histograms(&mut row);
            }
            finished.push(Row {
                view: row.view.name.to_owned(),
                pairing: row.pairing.to_owned(),
                place: place(contest, &row),
                // The floor of a point belongs to its own view.
                point: row.point + contest.points.len() * view_number(contest, &row.view),
                a: row.sides[0].name.clone(),
                b: row.sides[1].name.clone(),
                cell_a: row.specs[0].id.clone(),
                loop_kind: row.specs[0].loop_kind(),
                partitions: u64::from(row.specs[0].load.topic.partitions),
                offered_records_per_s: row.specs[0].offered_records_per_s(),
                reports_start,
                pairs: row.pairs,
            });
        }
        // The rows have intervals of their own; those of single cells would only stand in their way.
        self.run.comparisons.iter_mut().for_each(|alone| alone.claim = None);
        parity.extend(self.parity(contest, &apart));
        let mut found = contest::comparisons(&finished, pairs::RESAMPLES, self.settings.seed);
        if let Some(first) = found.first_mut() {
            first.parity = parity;
        }
        self.run.comparisons.extend(found);
        let summary = verdict::summary(&self.run);
        self.run.verdicts.extend(summary);
        for text in apart {
            self.flag(format!("unequal questions: {text}"));
        }
        if contest.floor_pairs == 0 {
            self.flag("no noise floor: nothing is claimed");
        }
        // Here doubt is no footnote: a comparison that cannot be trusted is not valid.
        self.settings.strict = !self.settings.short;
        if pairs > 0 && voids as f64 > VOID_SHARE_MAX * pairs as f64 {
            self.flag(format!("{voids} of {pairs} pairs void: more than a quarter"));
            self.doubtful += 1;
        }
    }

    /// The histograms of single blocks, from what was kept of them.
    fn attach_histograms(&self, row: &mut Open) {
        for side in 0..2 {
            let id = &row.specs[side].id;
            for pair in &mut row.pairs {
                let block = self.run.blocks_of(id).find(|block| block.pair == Some(pair.number));
                let find = |metric: &str| {
                    let found = block?.histograms.iter().find(|histogram| histogram.metric == metric)?;
                    statistics::decode(found).ok()
                };
                let member = if side == 0 { &mut pair.a } else { &mut pair.b };
                member.histograms = [find(PRODUCE_RESPONSE), find(E2E_RESPONSE)];
            }
        }
    }

    /// What one side did that the other did not, and what was equal.
    fn parity(&mut self, contest: &Contest, apart: &[String]) -> Vec<String> {
        let mut out = Vec::new();
        let entry = |side: &Contender| {
            contest.views.iter().find_map(|view| self.run.subject(&subject_name(side, view)))
        };
        let mode = |side: &Contender| entry(side).and_then(|entry| entry.metadata_mode.clone());
        let (a, b) = (&contest.a, &contest.b);
        let mut flags = Vec::new();
        match (mode(a), mode(b)) {
            (Some(of_a), Some(of_b)) if of_a != of_b => {
                out.push(format!("Metadata: {} {of_a}, {} {of_b}.", a.name, b.name));
                if of_b == "zookeeper" || of_a == "zookeeper" {
                    flags.push(format!("metadata mismatch: {} {of_a}, {} {of_b}", a.name, b.name));
                }
            }
            (Some(of_a), Some(_)) => out.push(format!("Metadata: {of_a} on both sides.")),
            _ => {}
        }
        if self.companion_cpu_ns > 0 {
            out.push(format!(
                "ZooKeeper used {:.1} s of CPU over all blocks, start and stop included; its share of a window counts as \
                 the broker's, and so does its memory.",
                self.companion_cpu_ns as f64 / 1e9
            ));
        }
        for side in [a, b] {
            if let Some(entry) = entry(side) {
                let durability = &entry.durability;
                let seen = match durability.verified {
                    Some(true) => "verified by counting flushes",
                    Some(false) => "NOT what was counted",
                    None => "declared, not verified",
                };
                out.push(format!(
                    "An acknowledgement of {} means {} ({seen}).",
                    side.name,
                    durability.class.as_deref().unwrap_or("something undeclared")
                ));
            }
        }
        let plan = &contest.points[0].spec.load;
        out.push(format!(
            "Equal on both sides: replication factor {}, acks={}, no compression, no TLS, message format 2, the same \
             generator, seed, batches and schedule{}.",
            plan.topic.replicas,
            plan.producers.acks.text(),
            if apart.is_empty() { "; requests and their bytes agree within 1 %" } else { "" }
        ));
        for side in [a, b] {
            match &side.kind {
                Kind::JavaKafka(_) => out.push(format!(
                    "{} keeps JMX metrics of every request, runs a log cleaner with nothing to compact, and has \
                     authorizer, quotas and replication built in and not in use. It checks the CRC of each batch and \
                     writes offset and time indexes.",
                    side.name
                )),
                Kind::Ringdaw => out.push(format!(
                    "{} checks the CRC of each batch and writes offset and time indexes. It runs a log \
                     cleaner with nothing to compact, has quotas built in and not in use, and has no authorizer and \
                     no replication yet.",
                    side.name
                )),
                Kind::NullBroker(variant) => out.push(format!(
                    "{} has no index, replication, quota, group or recovery{}.",
                    side.name,
                    if variant.contains("+crc") { "" } else { ", and checks no CRC" }
                )),
                Kind::Address(_) | Kind::Command(_) => {}
            }
        }
        flags.into_iter().for_each(|flag| self.flag(flag));
        out
    }
}

/// Records and bytes per request, when they differ by more than a hundredth.
fn questions_apart(a: &run::Cell, b: &run::Cell) -> Option<String> {
    let per_request =
        |cell: &run::Cell, of: Option<f64>| Some(of? / cell.requests_per_s.filter(|n| *n > 0.0)?);
    let differ = |a: f64, b: f64| (a / b - 1.0).abs() > QUESTIONS_APART_MAX;
    let records = per_request(a, a.records_per_s).zip(per_request(b, b.records_per_s));
    let bytes = per_request(a, a.wire_bytes_per_s).zip(per_request(b, b.wire_bytes_per_s));
    let mut out = Vec::new();
    for (what, found) in [("records", records), ("bytes", bytes)] {
        if let Some((of_a, of_b)) = found.filter(|(a, b)| differ(*a, *b)) {
            out.push(format!("{of_a:.1} and {of_b:.1} {what} per request"));
        }
    }
    (!out.is_empty()).then(|| out.join(", "))
}
