//! The final table, for a terminal and as Markdown.
//!
//! In: a run. Out: text. One row per partition count; under it the limits, the cost against the null broker, the
//! drift of repeated cells, the audit and the flags.
//! What was not measured is a dash. A cell whose audit failed says FAIL where its throughput would stand; a rate
//! that the generator limited is written as `>=`, a share of a roof that is itself client-bound as `<=`.

use std::path::Path;

use super::figures::{
    bytes, change, count, duration, mib, ms, or_missing, percent, si, significant, whole, with_unit,
};
use super::lines::{
    self, Audit, Line, Row, audit, drifts, is_client_bound, partitions_text, shared_rate, shown_bytes_per_s,
    shown_records_per_s,
};
use super::run::{Limit, Loop, Percentiles, Run, Verification};

struct Column {
    /// Columns of one group stand next to each other; its title is written over the first of them.
    group: String,
    name: &'static str,
    left: bool,
}

/// The table before it is laid out: the terminal, Markdown and the page write the same cells.
pub(super) struct Table {
    columns: Vec<Column>,
    pub(super) rows: Vec<Vec<String>>,
}

impl Table {
    /// `None` when the run has no points of a sweep.
    pub(super) fn of(run: &Run) -> Option<Table> {
        let lines = lines::lines(run);
        let rows = lines::rows(&lines);
        if rows.is_empty() {
            return None;
        }
        let several = lines.iter().filter(|line| !line.is_null_broker).count() > 1;
        let column = |group: &str, name, left| Column { group: group.to_owned(), name, left };
        let mut columns = Vec::new();
        if several {
            columns.push(column("", "subject", true));
        }
        columns.push(column("", "partitions", false));
        for name in ["records/s", "MB/s", "CPU ns/rec"] {
            columns.push(column("at saturation", name, false));
        }
        let rate = shared_rate(&rows);
        let produce = match rate {
            Some(rate) => format!("at {} records/s: produce ms", si(rate)),
            None => "at a fixed rate: produce ms".to_owned(),
        };
        if rate.is_none() && rows.iter().any(|row| row.at_rate.is_some()) {
            columns.push(column("", "offered/s", false));
        }
        for name in ["p50", "p99", "p99.9", "max", "CPU ns/rec"] {
            columns.push(column(&produce, name, false));
        }
        for name in ["p50", "p99", "p99.9", "max"] {
            columns.push(column("end-to-end ms", name, false));
        }
        columns.push(column("", "stalls", false));
        // How long others had the broker's core while it was ready to run.
        let waits = rows.iter().any(|row| row.at_rate.is_some_and(|cell| cell.core_wait_ns.is_some()));
        if waits {
            columns.push(column("others had its core", "ms", false));
        }
        columns.push(column("memory", "RSS MiB", false));
        columns.push(column("of null broker", "rate", false));
        columns.push(column("of null broker", "CPU", false));
        columns.push(column("", "verified", false));
        let offered = columns.iter().any(|column| column.name == "offered/s");
        let rows = rows.iter().map(|row| cells(row, several, offered, waits)).collect();
        Some(Table { columns, rows })
    }

    fn terminal(&self) -> String {
        let mut widths: Vec<usize> = self
            .columns
            .iter()
            .enumerate()
            .map(|(i, column)| {
                let cells = self.rows.iter().map(|row| row[i].chars().count());
                cells.chain([column.name.chars().count()]).max().unwrap_or(0)
            })
            .collect();
        let starts_group: Vec<bool> = (0..self.columns.len())
            .map(|i| {
                i > 0
                    && (self.columns[i].group.is_empty()
                        || self.columns[i - 1].group != self.columns[i].group)
            })
            .collect();
        let gap = |i: usize| {
            if i == 0 {
                0
            } else if starts_group[i] {
                4
            } else {
                2
            }
        };
        // A group's title may be wider than its columns: the first one takes the rest.
        for i in (0..self.columns.len()).filter(|i| starts_group[*i] || *i == 0) {
            let group = &self.columns[i].group;
            let last = (i..self.columns.len())
                .take_while(|j| *j == i || !group.is_empty() && !starts_group[*j])
                .last()
                .unwrap_or(i);
            let width: usize = (i..=last).map(|j| widths[j] + if j > i { gap(j) } else { 0 }).sum();
            widths[i] += group.chars().count().saturating_sub(width);
        }

        let mut titles = String::new();
        let mut place = 0;
        for (i, column) in self.columns.iter().enumerate() {
            place += gap(i);
            if (starts_group[i] || i == 0) && !column.group.is_empty() {
                let there = titles.chars().count();
                titles.push_str(&" ".repeat(place - there));
                titles.push_str(&column.group);
            }
            place += widths[i];
        }
        let line = |texts: Vec<&str>| {
            let mut line = String::new();
            for (i, text) in texts.into_iter().enumerate() {
                let pad = " ".repeat(widths[i].saturating_sub(text.chars().count()));
                line.push_str(&" ".repeat(gap(i)));
                if self.columns[i].left {
                    line.push_str(text);
                    line.push_str(&pad);
                } else {
                    line.push_str(&pad);
                    line.push_str(text);
                }
            }
            line.trim_end().to_owned() + "\n"
        };
        let mut out = titles.trim_end().to_owned() + "\n";
        out.push_str(&line(self.columns.iter().map(|column| column.name).collect()));
        for row in &self.rows {
            out.push_str(&line(row.iter().map(String::as_str).collect()));
        }
        out
    }

    fn markdown(&self) -> String {
        let names: Vec<String> = self
            .columns
            .iter()
            .map(|column| match column.group.as_str() {
                "" => column.name.to_owned(),
                group => format!("{group}: {}", column.name),
            })
            .collect();
        let rule: Vec<&str> = self.columns.iter().map(|c| if c.left { ":--" } else { "--:" }).collect();
        let mut out = format!("| {} |\n|{}|\n", names.join(" | "), rule.join("|"));
        for row in &self.rows {
            out.push_str(&format!(
                "| {} |\n",
                row.iter().map(|cell| cell.replace('|', "\\|")).collect::<Vec<_>>().join(" | ")
            ));
        }
        out
    }

    pub(super) fn is_text(&self, column: usize) -> bool {
        self.columns[column].left
    }

    /// Titles of groups with the number of columns under each, then the columns' names: for an HTML head.
    pub(super) fn head(&self) -> (Vec<(&str, usize)>, Vec<&'static str>) {
        let mut groups: Vec<(&str, usize)> = Vec::new();
        for column in &self.columns {
            match groups.last_mut() {
                Some((group, n)) if *group == column.group => *n += 1,
                _ => groups.push((&column.group, 1)),
            }
        }
        (groups, self.columns.iter().map(|column| column.name).collect())
    }
}

fn cells(row: &Row, several: bool, offered: bool, waits: bool) -> Vec<String> {
    let mut out = Vec::new();
    if several {
        out.push(row.label.to_owned());
    }
    out.push(or_missing(row.partitions, count));

    let saturation = row.saturation;
    let bound = if saturation.is_some_and(is_client_bound) { ">= " } else { "" };
    let failed = saturation.is_some_and(|cell| audit(cell) == Audit::Failed);
    let throughput = |value: Option<f64>, text: fn(f64) -> String| {
        if failed { "FAIL".to_owned() } else { or_missing(value, |v| format!("{bound}{}", text(v))) }
    };
    out.push(throughput(saturation.and_then(shown_records_per_s), |v| significant(v, 4)));
    out.push(throughput(saturation.and_then(shown_bytes_per_s), |v| significant(v / 1e6, 3)));
    let cpu = |value: Option<f64>| or_missing(value, |v| significant(v, 3));
    out.push(cpu(saturation.and_then(|cell| cell.broker_cpu_ns_per_record)));

    let at_rate = row.at_rate;
    if offered {
        out.push(or_missing(at_rate.and_then(|cell| cell.offered_records_per_s), si));
    }
    let percentiles = |p: Option<Percentiles>| {
        let p = p.unwrap_or_default();
        [p.p50, p.p99, p.p99_9, p.max].map(|ns| or_missing(ns, |ns| ms(ns as f64)))
    };
    out.extend(percentiles(at_rate.map(|cell| cell.produce_response_ns)));
    out.push(cpu(at_rate.and_then(|cell| cell.broker_cpu_ns_per_record)));
    out.extend(percentiles(at_rate.map(|cell| cell.e2e_response_ns)));
    // Episodes are counted above p99.9: without that percentile there is nothing to count.
    let stalls =
        at_rate.filter(|cell| cell.produce_response_ns.p99_9.is_some()).map(|cell| cell.stalls.len());
    out.push(or_missing(stalls, |n| n.to_string()));
    if waits {
        out.push(or_missing(at_rate.and_then(|cell| cell.core_wait_ns), |ns| ms(ns as f64)));
    }

    let rss = at_rate.and_then(|cell| cell.rss_bytes).or(saturation.and_then(|cell| cell.rss_bytes));
    out.push(or_missing(rss, |v| mib(v as f64)));
    let upper = saturation.and_then(|cell| cell.rate_efficiency_is_upper_bound) == Some(true);
    let share = if upper { "<= " } else { "" };
    let efficiency = saturation.filter(|_| !failed).and_then(|cell| cell.rate_efficiency);
    out.push(or_missing(efficiency, |v| format!("{share}{}", percent(v))));
    out.push(or_missing(saturation.and_then(|cell| cell.cpu_efficiency), percent));

    let mut sum = Verification::default();
    let mut audits = Vec::new();
    for cell in [saturation, at_rate].into_iter().flatten() {
        sum.add(&cell.verification);
        audits.push(audit(cell));
    }
    out.push(if audits.contains(&Audit::Failed) {
        format!("FAIL: {} anomalies", or_missing(sum.anomalies(), count))
    } else if audits.contains(&Audit::Unverified) {
        "UNVERIFIED".to_owned()
    } else {
        format!("{} of {}", or_missing(sum.read, count), or_missing(sum.acked, count))
    });
    out
}

/// What the run prints at its end. `page` is named last when there is one.
pub fn terminal(run: &Run, page: Option<&Path>) -> String {
    let mut out = String::new();
    if let Some(table) = Table::of(run) {
        out.push_str(&table.terminal());
        out.push('\n');
    }
    out.push_str(&super::engines::text(run));
    let verdicts = super::verdict::terminal(run);
    if !verdicts.is_empty() {
        out.push_str(&verdicts);
        out.push('\n');
    }
    let mut notes = notes(run);
    if let Some(page) = page {
        notes.push(("page", page.display().to_string()));
    }
    let mut last = "";
    for (word, text) in &notes {
        let shown = if *word == last { "" } else { word };
        out.push_str(&format!("{shown:<9} {text}\n"));
        last = word;
    }
    out
}

pub fn markdown(run: &Run) -> String {
    let mut out = format!("## {}, {}\n\n", run.kind, run.started_at_utc);
    if let Some(table) = Table::of(run) {
        out.push_str(&table.markdown());
        out.push('\n');
    }
    let verdicts = super::verdict::markdown(run);
    if !verdicts.is_empty() {
        out.push_str(&verdicts);
        out.push('\n');
    }
    for (word, text) in notes(run) {
        out.push_str(&format!("- **{word}**: {text}\n"));
    }
    if !run.command.is_empty() {
        out.push_str(&format!("\n```\n{}\n```\n", shell_line(&run.command)));
    }
    out
}

/// The lines under the table: a word that says what it is, and a sentence.
fn notes(run: &Run) -> Vec<(&'static str, String)> {
    let mut notes: Vec<(&'static str, String)> = Vec::new();
    for verdict in &run.verdicts {
        notes.push(("verdict", verdict.clone()));
    }
    // Engines have no records; that their files hold what was written is part of each measurement.
    if run.engines.is_empty() {
        notes.push(("verified", audit_sentence(&run.verification)));
    }
    for sentence in super::verdict::sentences(run) {
        notes.push(("claim", sentence.to_owned()));
    }
    for line in super::verdict::parity(run) {
        notes.push(("parity", line.to_owned()));
    }
    for anomaly in &run.verification.first_anomalies {
        let place = [
            anomaly.topic.clone(),
            anomaly.partition.map(|v| format!("partition {v}")),
            anomaly.offset.map(|v| format!("offset {v}")),
            anomaly.producer.map(|v| format!("producer {v}")),
            anomaly.sequence.map(|v| format!("sequence {v}")),
            anomaly.text.clone(),
        ];
        let place: Vec<String> = place.into_iter().flatten().collect();
        notes.push(("anomaly", format!("{}: {}", anomaly.kind, place.join(", "))));
    }
    for line in null_broker_lines(run) {
        notes.push(("roof", line));
    }
    for limit in limits(run) {
        notes.push(("limit", limit.sentence()));
    }
    for drift in drifts(run) {
        let place = partitions_text(drift.first);
        let figure = |cell: &super::run::Cell| match cell.loop_kind {
            Loop::Closed => or_missing(shown_records_per_s(cell), |v| format!("{} records/s", whole(v))),
            Loop::Open => or_missing(cell.produce_response_ns.p99, |v| format!("p99 {} ms", ms(v as f64))),
        };
        notes.push((
            "drift",
            format!(
                "{} at {place}, again at the end: {} then {} ({})",
                drift.first.subject,
                figure(drift.first),
                figure(drift.again),
                change(drift.ratio)
            ),
        ));
    }
    for claim in run.comparisons.iter().filter(|c| c.versus.is_none()).filter_map(|c| c.claim.clone()) {
        notes.push(("interval", claim));
    }
    for cell in &run.cells {
        for flag in &cell.flags {
            notes.push(("flag", format!("{}: {flag}", cell.id)));
        }
    }
    let voids: usize = run.blocks.iter().filter(|block| !block.void_reasons.is_empty()).count();
    if voids > 0 {
        notes.push(("flag", format!("{voids} of {} blocks void", run.blocks.len())));
    }
    for flag in &run.validity_flags {
        notes.push(("flag", flag.clone()));
    }
    notes
}

/// The audit in one sentence.
pub(super) fn audit_sentence(v: &Verification) -> String {
    let acked = or_missing(v.acked, count);
    match v.anomalies() {
        None => "UNVERIFIED: nothing was audited".to_owned(),
        Some(0) if v.mode.as_deref() == Some("none") => "UNVERIFIED: the audit was off".to_owned(),
        Some(0) => format!(
            "every one of {acked} acknowledged records was read back once and in order ({}{})",
            v.mode.as_deref().unwrap_or("full"),
            v.unacked_seen
                .filter(|n| *n > 0)
                .map_or(String::new(), |n| format!("; {} written without an acknowledgement", count(n))),
        ),
        Some(_) => {
            let kinds = [
                ("lost", v.lost),
                ("duplicated", v.duplicated),
                ("reordered", v.reordered),
                ("corrupt", v.corrupt),
                ("at a wrong offset", v.wrong_offset),
            ];
            let kinds: Vec<String> = kinds
                .iter()
                .filter_map(|(name, n)| n.filter(|n| *n > 0).map(|n| format!("{} {name}", count(n))))
                .collect();
            format!("FAIL: of {acked} acknowledged records {}", kinds.join(", "))
        }
    }
}

/// CPU against the null broker, one sentence per line of cells.
fn null_broker_lines(run: &Run) -> Vec<String> {
    let lines = lines::lines(run);
    let tested = lines.iter().filter(|line| !line.is_null_broker);
    tested
        .filter_map(|line: &Line| {
            let shares = line.closed.iter().chain(&line.open).filter_map(|cell| cell.cpu_efficiency);
            let (low, high) =
                shares.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
            let variant = line.closed.iter().chain(&line.open).find_map(|cell| cell.null_variant.as_deref());
            let headroom = line.closed.iter().filter_map(|cell| cell.headroom_ratio).reduce(f64::min);
            let headroom = headroom.map_or(String::new(), |h| {
                format!("; generator headroom {} at the least", significant(h, 3))
            });
            low.is_finite().then(|| {
                let share = if percent(low) == percent(high) {
                    percent(low)
                } else {
                    format!("{} to {}", percent(low).trim_end_matches(" %"), percent(high))
                };
                format!(
                    "{}: CPU per record of the null broker ({}) is {share} of its own{headroom}",
                    line.label,
                    variant.unwrap_or("variant not named"),
                )
            })
        })
        .collect()
}

/// One physical limit with its passes side by side.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct LimitLine {
    pub(super) name: String,
    pub(super) files: Option<u64>,
    pub(super) bytes: Option<u64>,
    pub(super) unit: String,
    /// In the order they were measured.
    pub(super) values: Vec<(Option<String>, f64)>,
    pub(super) cpu_ns_per_kib: Option<f64>,
}

impl LimitLine {
    /// The first pass: the machine before the run wore on it.
    pub(super) fn value(&self) -> f64 {
        self.values[0].1
    }

    /// `loopback-one-way, 16 KiB, 4 files`.
    pub(super) fn title(&self) -> String {
        let mut title = self.name.clone();
        if let Some(b) = self.bytes {
            title.push_str(&format!(", {}", bytes(b as f64)));
        }
        if let Some(files) = self.files.filter(|n| *n > 0) {
            title.push_str(&format!(", {} file{}", count(files), if files == 1 { "" } else { "s" }));
        }
        title
    }

    /// Last over first, when there are two.
    pub(super) fn drift(&self) -> Option<f64> {
        let (first, last) = (self.values.first()?.1, self.values.last()?.1);
        (self.values.len() > 1 && first > 0.0).then(|| last / first)
    }

    fn sentence(&self) -> String {
        let mut text = format!("{:<40} {:>10}", self.title(), with_unit(self.value(), &self.unit));
        if let Some(cpu) = self.cpu_ns_per_kib {
            text.push_str(&format!("   {:>6} CPU ns/KiB", significant(cpu, 3)));
        }
        if let Some(drift) = self.drift() {
            let last = &self.values[self.values.len() - 1];
            text.push_str(&format!(
                "   {} {} ({})",
                last.0.as_deref().unwrap_or("again"),
                with_unit(last.1, &self.unit),
                change(drift)
            ));
        }
        text
    }
}

/// The limits of a run, passes joined, in the order they were first measured.
pub(super) fn limits(run: &Run) -> Vec<LimitLine> {
    let mut out: Vec<LimitLine> = Vec::new();
    for Limit { name, files, bytes, pass, value, unit, cpu_ns_per_kib } in &run.limits {
        let Some(value) = *value else { continue };
        let known = out
            .iter_mut()
            .find(|l| l.name == *name && l.files == *files && l.bytes == *bytes && l.unit == *unit);
        match known {
            Some(line) => line.values.push((pass.clone(), value)),
            None => out.push(LimitLine {
                name: name.clone(),
                files: *files,
                bytes: *bytes,
                unit: unit.clone(),
                values: vec![(pass.clone(), value)],
                cpu_ns_per_kib: *cpu_ns_per_kib,
            }),
        }
    }
    out
}

/// A command line that a shell reads back as the same arguments.
pub(super) fn shell_line(command: &[String]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@%+".contains(c);
    let quoted = command.iter().map(|argument| {
        if !argument.is_empty() && argument.chars().all(plain) {
            argument.clone()
        } else {
            format!("'{}'", argument.replace('\'', "'\\''"))
        }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

/// A stall in words, for hovering and lists.
pub(super) fn stall_text(stall: &super::run::Stall) -> String {
    format!(
        "{} requests above p99.9 within {} from {} s",
        count(stall.requests),
        duration(stall.duration_ns as f64),
        significant(stall.start_ns as f64 / 1e9, 4)
    )
}
