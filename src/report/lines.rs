//! The cells of a run, joined for reading: which of them form one line of a chart or one row of the table.
//!
//! In: a run. Out: lines over the partition count, rows of cells that differ only in their loop, and the drift of
//! repeated cells.
//! Every output goes through here, so the table, the page and the pictures cannot disagree about what belongs
//! together. A cell that failed verification has no throughput anywhere: [`shown_records_per_s`] is the only door.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::figures::{bytes, count};
use super::run::{Cell, Loop, Parameters, Role, Run};

/// One subject under one set of parameters, over partition counts.
#[derive(Debug)]
pub struct Line<'a> {
    pub subject: &'a str,
    /// What else tells this line from the others of its subject: `100 B records`. Empty when nothing does.
    pub traits: String,
    /// The subject and its traits.
    pub label: String,
    /// The traits alone where every tested line has the same subject, else the label.
    pub short: String,
    pub is_null_broker: bool,
    /// By partition count.
    pub closed: Vec<&'a Cell>,
    /// By partition count, then by offered rate.
    pub open: Vec<&'a Cell>,
}

/// One line of the final table.
#[derive(Debug)]
pub struct Row<'a> {
    pub label: &'a str,
    pub partitions: Option<u64>,
    pub saturation: Option<&'a Cell>,
    pub at_rate: Option<&'a Cell>,
}

/// A cell that was run again to show how far the machine moved meanwhile.
#[derive(Debug)]
pub struct Drift<'a> {
    pub first: &'a Cell,
    pub again: &'a Cell,
    /// Records per second, later over earlier; of an open cell, p99 of the produce response.
    pub ratio: f64,
}

/// The parameters that tell cells apart, partitions aside, as texts.
fn traits_of(cell: &Cell) -> BTreeMap<String, String> {
    let Parameters { partitions: _, arrivals: _, more, .. } = &cell.parameters;
    let mut all = match serde_json::to_value(&cell.parameters) {
        Ok(Value::Object(all)) => all,
        _ => serde_json::Map::new(),
    };
    for key in ["partitions", "arrivals", "more"] {
        all.remove(key);
    }
    all.into_iter()
        .chain(more.clone())
        .filter(|(_, value)| !value.is_null())
        .map(|(key, value)| {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            (key, text)
        })
        .collect()
}

/// The parameters that differ between cells. One that follows from another (bytes of a batch from bytes of a
/// record) is left out: it would say the same thing twice.
fn varied(cells: &[&Cell]) -> Vec<String> {
    let all: Vec<BTreeMap<String, String>> = cells.iter().map(|cell| traits_of(cell)).collect();
    let keys: BTreeSet<&String> = all.iter().flat_map(|traits| traits.keys()).collect();
    let groups = |key: &str| -> Vec<Option<&String>> { all.iter().map(|traits| traits.get(key)).collect() };
    let same_split = |a: &[Option<&String>], b: &[Option<&String>]| {
        (0..a.len()).all(|i| (0..i).all(|j| (a[i] == a[j]) == (b[i] == b[j])))
    };
    let mut keys: Vec<&String> = keys.into_iter().collect();
    // The one a person would have set stands first and stays.
    keys.sort_by_key(|key| (matches!(key.as_str(), "batch_bytes" | "batch_records"), key.as_str()));
    let mut chosen: Vec<String> = Vec::new();
    for key in keys {
        let mine = groups(key);
        let differs = mine.iter().collect::<BTreeSet<_>>().len() > 1;
        if differs && !chosen.iter().any(|known| same_split(&mine, &groups(known))) {
            chosen.push(key.clone());
        }
    }
    chosen
}

fn trait_text(key: &str, value: &str) -> String {
    let number = value.parse::<u64>().ok();
    match (key, number) {
        ("record_bytes", Some(n)) => format!("{} records", bytes(n as f64)),
        ("batch_bytes", Some(n)) => format!("{} batches", bytes(n as f64)),
        ("batch_records", Some(n)) => format!("{n} per batch"),
        ("producers" | "consumers" | "topics" | "replicas", Some(n)) => format!("{} {key}", count(n)),
        ("in_flight", Some(n)) => format!("{n} in flight"),
        _ => format!("{}={value}", key.replace('_', " ")),
    }
}

/// The lines of a run: tested subjects first, in the order of their first cell, then null brokers.
pub fn lines(run: &Run) -> Vec<Line<'_>> {
    let cells: Vec<&Cell> = run.cells.iter().filter(|cell| cell.role != Role::Anchor).collect();
    let varied = varied(&cells);
    let mut lines: Vec<Line> = Vec::new();
    for cell in cells {
        let all = traits_of(cell);
        let is_null_broker = cell.role == Role::NullBroker;
        let texts: Vec<String> =
            varied.iter().filter_map(|key| Some(trait_text(key, all.get(key)?))).collect();
        let traits = texts.join(", ");
        let mut label = cell.subject.clone();
        if let (true, Some(variant)) = (is_null_broker, &cell.null_variant)
            && !label.contains(variant.as_str())
        {
            label = format!("{label} {variant}");
        }
        if !traits.is_empty() {
            label = format!("{label}, {traits}");
        }
        let known =
            lines.iter().position(|line| line.label == label && line.is_null_broker == is_null_broker);
        let place = known.unwrap_or_else(|| {
            lines.push(Line {
                subject: &cell.subject,
                traits,
                short: label.clone(),
                label,
                is_null_broker,
                closed: Vec::new(),
                open: Vec::new(),
            });
            lines.len() - 1
        });
        match cell.loop_kind {
            Loop::Closed => lines[place].closed.push(cell),
            Loop::Open => lines[place].open.push(cell),
        }
    }
    let subjects: BTreeSet<&str> =
        lines.iter().filter(|line| !line.is_null_broker).map(|line| line.subject).collect();
    let one_subject = subjects.len() <= 1;
    for line in &mut lines {
        if one_subject && !line.traits.is_empty() {
            let who = if line.is_null_broker { "null, " } else { "" };
            line.short = format!("{who}{}", line.traits);
        }
        line.closed.sort_by_key(|cell| cell.parameters.partitions);
        line.open.sort_by(|a, b| {
            let by_rate = a.offered_records_per_s.partial_cmp(&b.offered_records_per_s);
            let by_count = a.parameters.partitions.cmp(&b.parameters.partitions);
            by_count.then(by_rate.unwrap_or(std::cmp::Ordering::Equal))
        });
    }
    lines.sort_by_key(|line| line.is_null_broker);
    lines
}

/// The rows of the final table: null brokers only appear as a share.
pub fn rows<'a>(lines: &'a [Line<'a>]) -> Vec<Row<'a>> {
    let mut rows = Vec::new();
    for line in lines.iter().filter(|line| !line.is_null_broker) {
        let counts: BTreeSet<Option<u64>> =
            line.closed.iter().chain(&line.open).map(|cell| cell.parameters.partitions).collect();
        for partitions in counts {
            let closed: Vec<_> =
                line.closed.iter().filter(|c| c.parameters.partitions == partitions).collect();
            let open: Vec<_> = line.open.iter().filter(|c| c.parameters.partitions == partitions).collect();
            for i in 0..closed.len().max(open.len()) {
                rows.push(Row {
                    label: &line.label,
                    partitions,
                    saturation: closed.get(i).map(|c| **c),
                    at_rate: open.get(i).map(|c| **c),
                });
            }
        }
    }
    rows
}

/// Each anchor cell beside the first cell of the same kind.
pub fn drifts(run: &Run) -> Vec<Drift<'_>> {
    let anchors = run.cells.iter().filter(|cell| cell.role == Role::Anchor);
    anchors
        .filter_map(|again| {
            let first = run.cells.iter().find(|cell| {
                cell.role == Role::Sweep
                    && cell.subject == again.subject
                    && cell.loop_kind == again.loop_kind
                    && cell.parameters == again.parameters
            })?;
            let figure = |cell: &Cell| match cell.loop_kind {
                Loop::Closed => cell.records_per_s,
                Loop::Open => cell.produce_response_ns.p99.map(|ns| ns as f64),
            };
            let (before, after) = (figure(first)?, figure(again)?);
            (before > 0.0).then(|| Drift { first, again, ratio: after / before })
        })
        .collect()
}

/// The interval of a cell's rate over its blocks, where the run computed one.
pub fn rate_interval(run: &Run, cell: &Cell) -> Option<(f64, f64)> {
    let alone =
        run.comparisons.iter().find(|c| c.metric == "records_per_s" && c.cell == cell.id && c.b.is_none())?;
    Some((alone.ci_low?, alone.ci_high?))
}

/// What the audit said about a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audit {
    /// Every acknowledged record came back once and in order.
    Verified,
    Failed,
    /// Nobody looked.
    Unverified,
}

pub fn audit(cell: &Cell) -> Audit {
    match cell.verification.anomalies() {
        Some(0) if cell.verification.mode.as_deref() != Some("none") => Audit::Verified,
        None | Some(0) => Audit::Unverified,
        Some(_) => Audit::Failed,
    }
}

/// Records per second, unless verification failed: then there is no throughput to speak of.
pub fn shown_records_per_s(cell: &Cell) -> Option<f64> {
    (audit(cell) != Audit::Failed).then_some(cell.records_per_s).flatten()
}

/// Records per second or, beside it, bytes per second: the same door.
pub fn shown_bytes_per_s(cell: &Cell) -> Option<f64> {
    (audit(cell) != Audit::Failed).then_some(cell.bytes_per_s).flatten()
}

/// The generator, not the subject, set the pace.
pub fn is_client_bound(cell: &Cell) -> bool {
    cell.client_bound.unwrap_or_else(|| cell.headroom_ratio.is_some_and(|ratio| ratio < 1.2))
}

/// `1 partition` or `16 partitions`; the cell's id when it has no count.
pub fn partitions_text(cell: &Cell) -> String {
    match cell.parameters.partitions {
        Some(1) => "1 partition".to_owned(),
        Some(n) => format!("{} partitions", count(n)),
        None => cell.id.clone(),
    }
}

/// The one offered rate of the open cells, when they share one.
pub fn shared_rate(rows: &[Row]) -> Option<f64> {
    let mut rates = rows.iter().filter_map(|row| row.at_rate?.offered_records_per_s);
    let first = rates.next()?;
    rates.all(|rate| rate == first).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::super::run::Verification;
    use super::*;

    fn cell(id: &str, partitions: u64, loop_kind: Loop, role: Role) -> Cell {
        Cell {
            id: id.into(),
            subject: if role == Role::NullBroker { "null-broker".into() } else { "ringdaw".into() },
            role,
            loop_kind,
            records_per_s: Some(100.0),
            parameters: Parameters { partitions: Some(partitions), ..Default::default() },
            ..Default::default()
        }
    }

    #[test]
    fn cells_that_differ_only_in_their_loop_share_a_row() {
        let run = Run {
            cells: vec![
                cell("n", 16, Loop::Closed, Role::NullBroker),
                cell("a", 16, Loop::Closed, Role::Sweep),
                cell("b", 1, Loop::Open, Role::Sweep),
                cell("c", 1, Loop::Closed, Role::Sweep),
                cell("d", 16, Loop::Open, Role::Sweep),
                cell("e", 16, Loop::Closed, Role::Anchor),
            ],
            ..Default::default()
        };
        let lines = lines(&run);
        assert_eq!(lines.iter().map(|l| l.label.as_str()).collect::<Vec<_>>(), ["ringdaw", "null-broker"]);
        let joined: Vec<_> = rows(&lines)
            .iter()
            .map(|r| (r.saturation.map(|c| c.id.clone()), r.at_rate.map(|c| c.id.clone())))
            .collect();
        let id = |text: &str| Some(text.to_owned());
        assert_eq!(joined, [(id("c"), id("b")), (id("a"), id("d"))]);
        assert_eq!(drifts(&run)[0].first.id, "a");
    }

    #[test]
    fn a_second_varied_parameter_makes_its_own_line() {
        let sized = |bytes| {
            let mut cell = cell("s", 1, Loop::Closed, Role::Sweep);
            cell.parameters.record_bytes = Some(bytes);
            cell.parameters.batch_bytes = Some(16 * bytes); // follows, so it is not named
            cell
        };
        let (small, large) = (sized(100), sized(1024));
        let run = Run { cells: vec![small, large], ..Default::default() };
        let labels: Vec<_> = lines(&run).into_iter().map(|line| line.label).collect();
        assert_eq!(labels, ["ringdaw, 100 B records", "ringdaw, 1 KiB records"]);
    }

    #[test]
    fn a_cell_that_failed_its_audit_has_no_throughput() {
        let mut cell = cell("a", 1, Loop::Closed, Role::Sweep);
        assert_eq!(audit(&cell), Audit::Unverified);
        cell.verification = Verification { lost: Some(0), ..Default::default() };
        assert_eq!(audit(&cell), Audit::Verified);
        assert_eq!(shown_records_per_s(&cell), Some(100.0));
        cell.verification.corrupt = Some(1);
        assert_eq!(audit(&cell), Audit::Failed);
        assert_eq!(shown_records_per_s(&cell), None);
    }
}
