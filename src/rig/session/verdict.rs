//! What a finished run says: intervals, verdict lines, one line per cell, and the code it ends with.

use super::{Session, Settings};
use crate::report::figures;
use crate::report::run::{self, Cell, Comparison, Role, Run};
use crate::rig::cell::Collected;
use crate::rig::durability::{Durability, Seen};
use crate::rig::exit::{Exit, Failure};

impl Session<'_> {
    /// With several blocks, the 95 % interval of the rate: Student's t over blocks.
    pub(super) fn interval(&mut self, collected: &Collected, cell: &Cell) {
        let rates = collected.rates();
        let Some((low, high)) = interval95(&rates) else { return };
        let mean = rates.iter().sum::<f64>() / rates.len() as f64;
        self.run.comparisons.push(Comparison {
            metric: "records_per_s".to_owned(),
            cell: cell.id.clone(),
            a: Some(cell.subject.clone()),
            ci_low: Some(low),
            ci_high: Some(high),
            pairs: Some(rates.len() as u64),
            claim: Some(format!(
                "{}: {} records/s [{}, {}], {} blocks",
                cell.id,
                figures::si(mean),
                figures::si(low),
                figures::si(high),
                rates.len()
            )),
            ..Comparison::default()
        });
    }

    /// Holds what a counting window saw against the class that the subject claims.
    pub(super) fn judge_durability(&mut self, subject: &str, seen: &Seen) {
        let class = self.settings.durability;
        let kept = class.is_kept(seen);
        let Some(entry) = self.run.subjects.iter_mut().find(|entry| entry.name == subject) else { return };
        let durability = &mut entry.durability;
        if let Some(fsyncs) = seen.fsyncs {
            durability.fsyncs = Some(durability.fsyncs.unwrap_or(0) + fsyncs);
        }
        // One window that refutes the class is enough; one that says nothing changes nothing.
        durability.verified = match (durability.verified, kept) {
            (before, None) => before,
            (before, Some(kept)) => Some(before.unwrap_or(true) && kept),
        };
        if kept == Some(false) {
            self.undurable = true;
            let count = |n: Option<u64>| n.map_or_else(|| "?".to_owned(), |n| n.to_string());
            let verdict = format!(
                "NOT VALID: {subject} claims {class} and acknowledged {} requests with {} flush calls and {} device flushes",
                seen.acked_requests,
                count(seen.fsyncs),
                count(seen.device_flushes),
            );
            if !self.run.verdicts.contains(&verdict) {
                self.run.verdicts.push(verdict);
            }
        } else if kept.is_none() && class != Durability::PageCache {
            self.flag(format!("durability {class}: declared, not verified"));
        }
    }

    /// 3 before 5 before 4 before 1; an interruption says nothing about the rest.
    pub(super) fn exit(&self, failure: Option<&Failure>) -> Exit {
        if self.unverified {
            return Exit::VerificationFailed;
        }
        match failure.map(|failure| failure.exit) {
            Some(exit) => exit,
            None if self.broken => Exit::SubjectFailed,
            None if self.undurable || self.unanswered || self.self_tests_failed() => Exit::NotValid,
            None if self.settings.strict && self.doubtful > 0 => Exit::NotValid,
            None if self.missed_slo => Exit::SloMissed,
            None => Exit::Done,
        }
    }

    fn self_tests_failed(&self) -> bool {
        self.run.self_tests.as_ref().is_some_and(|tests| tests.failed.is_some_and(|failed| failed > 0))
    }

    pub(super) fn verdicts(&mut self) {
        if self.self_tests_failed() {
            let verdict =
                "NOT VALID: the rig fails its own self-tests (tests/rig); nothing here is to be published";
            self.run.verdicts.insert(0, verdict.to_owned());
        }
        if self.unverified {
            let first = self.run.verification.first_anomalies.first().map(anomaly_text).unwrap_or_default();
            self.run.verdicts.insert(0, format!("FAIL: verification found anomalies; the first: {first}"));
        }
        let claims: Vec<String> = self
            .run
            .comparisons
            .iter()
            .filter(|c| c.versus.is_none())
            .filter_map(|c| c.claim.clone())
            .collect();
        self.run.verdicts.extend(claims);
        let missed = self.run.cells.iter().flat_map(|cell| {
            let missed = cell.flags.iter().filter(|flag| flag.starts_with("SLO missed"));
            missed.map(|flag| format!("{}: {flag}", cell.id))
        });
        let missed: Vec<String> = missed.collect();
        self.run.verdicts.extend(missed);
        let bound =
            self.run.cells.iter().filter(|c| c.client_bound == Some(true) && c.role == Role::Sweep).count();
        if bound > 0 {
            self.flag(format!(
                "client-bound: in {bound} cells the generator was the limit, so rates read \">=\""
            ));
        }
    }
}

fn anomaly_text(anomaly: &run::Anomaly) -> String {
    let field =
        |name: &str, value: Option<String>| value.map(|value| format!(" {name} {value}")).unwrap_or_default();
    format!(
        "{} in {}:{}{}{}{}{}",
        anomaly.kind,
        anomaly.cell.as_deref().unwrap_or("?"),
        field("partition", anomaly.partition.map(|n| n.to_string())),
        field("offset", anomaly.offset.map(|n| n.to_string())),
        field("producer", anomaly.producer.map(|n| n.to_string())),
        field("sequence", anomaly.sequence.map(|n| n.to_string())),
        anomaly.text.as_ref().map(|text| format!(" ({text})")).unwrap_or_default(),
    )
}

pub fn flags_of_the_machine(run: &mut Run, environment: &run::Environment, settings: &Settings) {
    let mut flag = |text: String| run.validity_flags.push(text);
    if environment.binary.profile.as_deref() == Some("debug") {
        flag("debug-build: the figures say nothing about a release build".to_owned());
    }
    if settings.short {
        flag("short: windows too small to quote".to_owned());
    }
    if settings.cores.overlap() {
        flag("shared-core: broker and generator take time from each other".to_owned());
    }
    if environment.storage.filesystem.as_deref() == Some("tmpfs") {
        flag("tmpfs: nothing is written to a disk".to_owned());
    }
    if environment.machine.pmu == Some(false) {
        flag("no PMU: cycles and cache misses are not measured".to_owned());
    }
}

/// One line for the screen when a cell is done.
pub fn summary(cell: &Cell) -> String {
    let rate =
        cell.records_per_s.map_or("no records".to_owned(), |rate| format!("{} records/s", figures::si(rate)));
    let bytes = cell.bytes_per_s.map(|b| format!(", {}", figures::bytes_per_s(b))).unwrap_or_default();
    let cpu = cell.broker_cpu_ns_per_record.map(|ns| format!(", {ns:.0} ns CPU/record")).unwrap_or_default();
    let percentiles = match cell.loop_kind {
        run::Loop::Open => cell.produce_response_ns,
        run::Loop::Closed => cell.produce_service_ns,
    };
    let p99 = percentiles.p99.map(|ns| format!(", p99 {} ms", figures::ms(ns as f64))).unwrap_or_default();
    let flags = if cell.flags.is_empty() { String::new() } else { format!("  ({})", cell.flags.join("; ")) };
    format!("{:14} {:11} {rate}{bytes}{cpu}{p99}{flags}", cell.id, cell.subject)
}

/// Mean plus and minus Student's t, 95 %; needs two blocks.
pub fn interval95(values: &[f64]) -> Option<(f64, f64)> {
    const T: [f64; 30] = [
        12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145,
        2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048,
        2.045, 2.042,
    ];
    let n = values.len();
    if n < 2 {
        return None;
    }
    let mean = values.iter().sum::<f64>() / n as f64;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1) as f64;
    let t = T.get(n - 2).copied().unwrap_or(1.96);
    let half = t * (variance / n as f64).sqrt();
    Some((mean - half, mean + half))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_needs_two_blocks_and_covers_their_mean() {
        assert_eq!(interval95(&[1.0]), None);
        let (low, high) = interval95(&[9.0, 10.0, 11.0]).unwrap();
        assert!(low < 10.0 && high > 10.0 && (high - 10.0 - 2.484).abs() < 0.01, "{low} {high}");
    }
}
