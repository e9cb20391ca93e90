//! The page of a run: one HTML file that needs nothing else.
//!
//! In: a run. Out: HTML with style, pictures and figures inside. It names no address outside itself, and a
//! content-security policy would stop it if it did. It reads whole without script; script adds a readout under the
//! pointer and saving of each picture as SVG or CSV.
//! Everything that came from outside (names, configurations, kernel texts) passes through `escape`.

mod verdict;

use std::path::Path;

use super::figures::{
    MISSING, bytes, bytes_per_s, change, count, duration, or_missing, percent, si, significant, with_unit,
};
use super::lines::{self, Audit, audit, drifts, partitions_text, shown_records_per_s};
use super::picture::{self, Picture, Section};
use super::run::{Block, Cell, Loop, Run, RunError, Subject};
use super::style;
use super::svg::escape;
use super::table::{Table, audit_sentence, limits, shell_line, stall_text};

const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; form-action 'none'";

const SCRIPT: &str = include_str!("page.js");

/// Rows a list on the page has at most; the files beside it have them all.
const ROWS: usize = 400;

/// The page. `source` is named in errors.
pub fn html(run: &Run, source: &Path) -> Result<String, RunError> {
    let pictures = picture::pictures(run, source)?;
    let mut out = String::with_capacity(512 * 1024);
    out.push_str("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    out.push_str(&format!("<meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n"));
    out.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    out.push_str("<link rel=\"icon\" href=\"data:,\">\n");
    out.push_str(&format!("<title>{}</title>\n", escape(&format!("{}: {}", run.run_id, headline(run)))));
    out.push_str(&format!("<style>\n{}</style>\n", style::page()));
    out.push_str(&format!("<style id=\"picture-style\">\n{}</style>\n", style::picture()));
    out.push_str("</head>\n<body>\n<main>\n");
    top(&mut out, run);
    verdict::section(&mut out, run, &pictures);
    results(&mut out, run);
    for (section, layout, title, intro) in [
        (
            Section::Throughput,
            "stack",
            "Throughput",
            "What the subject reached, and how far that is from a null broker and from the machine itself.",
        ),
        (
            Section::Latency,
            "grid",
            "Latency",
            "Response time counts from the instant at which the schedule said a request was due, so a stalled \
             subject cannot slow the questions down. A percentile is shown only with ten requests above it.",
        ),
        (
            Section::Cost,
            "stack",
            "Cost",
            "CPU, calls and memory travel better between machines than rates do.",
        ),
        (
            Section::Time,
            "grid",
            "Over time",
            "Each cell second by second. Triangles mark the longest stalls and what the run noted; rest the pointer \
             on one to read it.",
        ),
    ] {
        gallery(&mut out, layout, title, intro, pictures.iter().filter(|picture| picture.section == section));
    }
    evidence(&mut out, run);
    machine(&mut out, run);
    footer(&mut out, run);
    out.push_str(&format!("</main>\n<script>\n{SCRIPT}</script>\n</body>\n</html>\n"));
    Ok(out)
}

/// The run in one sentence.
fn headline(run: &Run) -> String {
    if run.verification.anomalies().is_some_and(|n| n > 0) {
        return audit_sentence(&run.verification);
    }
    if let Some(sides) = super::verdict::headline(run) {
        return sides;
    }
    let lines = lines::lines(run);
    let rows = lines::rows(&lines);
    let points: Vec<(u64, f64)> = rows
        .iter()
        .filter_map(|row| Some((row.partitions?, shown_records_per_s(row.saturation?)?)))
        .collect();
    let best = rows
        .iter()
        .filter_map(|row| Some((row, shown_records_per_s(row.saturation?)?)))
        .max_by(|a, b| a.1.total_cmp(&b.1));
    if let (Some((row, rate)), true) = (best, rows.iter().any(|row| row.label != rows[0].label)) {
        let at = row.saturation.map_or(String::new(), partitions_text);
        return format!("{}: up to {} records/s at {at}", row.label, si(rate));
    }
    if !run.engines.is_empty() {
        return "Storage engines side by side".to_owned();
    }
    let who = run.tested().next().map_or("the run", |subject| subject.name.as_str());
    let at = |n: u64| if n == 1 { "1 partition".to_owned() } else { format!("{} partitions", count(n)) };
    match (points.first(), points.last()) {
        (Some((few, a)), Some((many, b))) if few != many => {
            format!("{who}: {} records/s at {}, {} at {}", si(*a), at(*few), si(*b), count(*many))
        }
        (Some((few, a)), _) => format!("{who}: {} records/s at {}", si(*a), at(*few)),
        _ => format!("{who}: {}", run.kind),
    }
}

/// The latency half of the headline: the worst p99 over the partition counts.
fn lead(run: &Run) -> Option<String> {
    // The worst of two subjects says nothing about either.
    if super::verdict::headline(run).is_some() {
        return None;
    }
    let lines = lines::lines(run);
    let rows = lines::rows(&lines);
    let worst = |of: fn(&Cell) -> Option<u64>| rows.iter().filter_map(|row| of(row.at_rate?)).max();
    let mut parts = Vec::new();
    if let Some(ns) = worst(|cell| cell.produce_response_ns.p99) {
        parts.push(format!("Produce p99 <b>{}</b>", escape(&duration(ns as f64))));
    }
    if let Some(ns) = worst(|cell| cell.e2e_response_ns.p99) {
        parts.push(format!("end-to-end p99 <b>{}</b>", escape(&duration(ns as f64))));
    }
    if parts.is_empty() {
        return None;
    }
    let rate = lines::shared_rate(&rows).map_or(String::new(), |r| format!(" at {} records/s", si(r)));
    let cpu: Vec<f64> = rows.iter().filter_map(|row| row.at_rate?.broker_cpu_ns_per_record).collect();
    let cpu = cpu.iter().copied().reduce(f64::max).map_or(String::new(), |ns| {
        format!("; <b>{} ns</b> of CPU per record at the most", significant(ns, 3))
    });
    Some(format!("{}{rate}, the worst of all partition counts{cpu}.", parts.join(" and ")))
}

fn top(out: &mut String, run: &Run) {
    out.push_str("<header>\n");
    let kicker =
        format!("Ringdaw rig, {} {}", run.kind, run.started_at_utc.replace('T', " ").replace('Z', " UTC"));
    out.push_str(&format!(
        "<p class=\"kicker\">{}</p>\n<h1>{}</h1>\n",
        escape(&kicker),
        escape(&headline(run))
    ));
    if let Some(lead) = lead(run) {
        out.push_str(&format!("<p class=\"lead\">{lead}</p>\n"));
    }
    let (class, word) = match (run.verification.anomalies(), run.verification.mode.as_deref()) {
        (Some(0), Some("none")) | (None, _) => ("open", "Unverified"),
        (Some(0), _) => ("good", "Verified"),
        (Some(_), _) => ("bad", "Failed"),
    };
    let sentence = audit_sentence(&run.verification);
    let sentence =
        sentence.split_once(": ").filter(|_| class != "good").map_or(sentence.as_str(), |(_, rest)| rest);
    let mut shown = sentence.to_owned();
    if let Some(first) = shown.get(..1) {
        shown = first.to_uppercase() + &shown[1..];
    }
    // Engines have no records to audit.
    if run.engines.is_empty() {
        out.push_str(&format!(
            "<p class=\"verdict {class}\"><b>{word}</b><span>{}.</span></p>\n",
            escape(&shown)
        ));
    }
    for verdict in &run.verdicts {
        out.push_str(&format!("<p class=\"verdict\"><span>{}</span></p>\n", escape(verdict)));
    }
    let mut flags: Vec<String> = run.validity_flags.clone();
    if run.exit_code.is_none() {
        flags.insert(0, "not finished: this is what was saved".to_owned());
    }
    let voids = run.blocks.iter().filter(|block| !block.void_reasons.is_empty()).count();
    if voids > 0 {
        flags.push(format!("{voids} of {} blocks void", run.blocks.len()));
    }
    if !flags.is_empty() {
        out.push_str("<ul class=\"flags\" aria-label=\"Validity flags\">");
        for flag in &flags {
            out.push_str(&format!("<li>{}</li>", escape(flag)));
        }
        out.push_str("</ul>\n");
    }
    out.push_str("<dl class=\"facts\">\n");
    for (name, value) in facts(run) {
        out.push_str(&format!("<div><dt>{}</dt><dd>{}</dd></div>\n", escape(&name), escape(&value)));
    }
    out.push_str("</dl>\n</header>\n");
}

fn facts(run: &Run) -> Vec<(String, String)> {
    let mut facts: Vec<(String, String)> = Vec::new();
    for subject in run.tested() {
        facts.push((format!("Durability, {}", subject.name), durability(subject)));
    }
    let m = &run.environment.machine;
    let mut machine = Vec::new();
    machine.extend(m.cpu_model.clone());
    machine.extend(m.cores.map(|n| format!("{n} core{}", if n == 1 { "" } else { "s" })));
    machine.extend(m.memory_bytes.map(|b| bytes(b as f64)));
    machine.extend(m.hypervisor.clone().map(|h| format!("hypervisor {h}")));
    facts.push(("Machine".into(), or_dash(machine.join(", "))));
    facts.push(("Kernel".into(), or_dash(m.kernel.clone().unwrap_or_default())));
    let s = &run.environment.storage;
    let storage: Vec<String> = [
        s.filesystem.clone(),
        s.device.clone().map(|device| format!("on {device}")),
        s.free_bytes.map(|free| format!("{} free", bytes(free as f64))),
    ]
    .into_iter()
    .flatten()
    .collect();
    facts.push(("Storage".into(), or_dash(storage.join(", "))));
    if let Some(cell) = run.cells.first() {
        facts.push(("Workload".into(), workload(cell)));
    }
    let b = &run.environment.binary;
    let build: Vec<String> =
        [b.git.as_ref().map(|git| git.chars().take(12).collect()), b.profile.clone(), b.target_cpu.clone()]
            .into_iter()
            .flatten()
            .collect();
    facts.push(("Build".into(), or_dash(build.join(", "))));
    let took = run.duration_s.map_or(String::new(), |s| format!(", {} s", significant(s, 3)));
    facts.push(("Seed and duration".into(), format!("{}{took}", run.seed)));
    facts
}

fn durability(subject: &Subject) -> String {
    let d = &subject.durability;
    let class = d.class.as_deref().unwrap_or("undeclared");
    match d.verified {
        Some(true) => {
            let fsyncs = or_missing(d.fsyncs, count);
            let flushes = or_missing(d.device_flushes, count);
            format!("{class}, verified ({fsyncs} fsyncs, {flushes} device flushes)")
        }
        Some(false) => format!("{class} declared, NOT what was counted"),
        None => format!("{class} (declared, not verified)"),
    }
}

fn workload(cell: &Cell) -> String {
    let p = &cell.parameters;
    let parts = [
        p.record_bytes.map(|n| format!("records of {} B", count(n))),
        p.batch_records.map(|n| format!("{} per batch", count(n))),
        p.producers.map(|n| format!("{} producers", count(n))),
        p.in_flight.map(|n| format!("{} in flight", count(n))),
        p.consumers.map(|n| format!("{} consumer{}", count(n), if n == 1 { "" } else { "s" })),
        p.acks.as_ref().map(|acks| format!("acks={acks}")),
        p.compression.as_ref().map(|c| format!("compression {c}")),
        cell.client_model.as_ref().map(|model| format!("client model {model}")),
    ];
    or_dash(parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
}

fn or_dash(text: String) -> String {
    if text.is_empty() { MISSING.to_owned() } else { text }
}

fn results(out: &mut String, run: &Run) {
    let Some(table) = Table::of(run) else { return };
    out.push_str("<section class=\"results\">\n<h2>Results</h2>\n");
    let intro = format!(
        "Durability class {}. At saturation the loop is closed; latencies come from the open loop at one offered rate, \
         the same in every cell.",
        run.durability_class()
    );
    out.push_str(&format!(
        "<p class=\"intro\">{}</p>\n<div class=\"scroll\"><table>\n<thead><tr>",
        escape(&intro)
    ));
    let (groups, names) = table.head();
    let mut starts = Vec::new();
    for (title, n) in &groups {
        let class = if starts.is_empty() { "group" } else { "group starts" };
        out.push_str(&format!(
            "<th class=\"{class}\" colspan=\"{n}\" scope=\"colgroup\">{}</th>",
            escape(title)
        ));
        starts.extend((0..*n).map(|i| i == 0));
    }
    out.push_str("</tr><tr>");
    let starts_group = |i: usize| i > 0 && starts[i];
    for (i, name) in names.iter().enumerate() {
        let class = match (starts_group(i), table.is_text(i)) {
            (true, _) => " class=\"starts\"",
            (false, true) => " class=\"text\"",
            (false, false) => "",
        };
        out.push_str(&format!("<th{class} scope=\"col\">{}</th>", escape(name)));
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for row in &table.rows {
        out.push_str("<tr>");
        for (i, cell) in row.iter().enumerate() {
            let mut class = Vec::new();
            if starts_group(i) {
                class.push("starts");
            }
            if i == 0 {
                class.push("key");
            }
            if table.is_text(i) {
                class.push("text");
            }
            if cell.starts_with("FAIL") {
                class.push("bad");
            } else if cell == "UNVERIFIED" {
                class.push("warn");
            }
            out.push_str(&format!(
                "<td class=\"{}\">{}</td>",
                class.join(" "),
                escape(cell).replace("&gt;= ", "≥ ").replace("&lt;= ", "≤ ")
            ));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table></div>\n");
    for drift in drifts(run) {
        let text = format!(
            "Drift: {} at {}, repeated at the end, differs by {}.",
            drift.first.subject,
            partitions_text(drift.first),
            change(drift.ratio)
        );
        out.push_str(&format!("<p class=\"intro\">{}</p>\n", escape(&text)));
    }
    for claim in run.comparisons.iter().filter(|c| c.versus.is_none()).filter_map(|c| c.claim.as_deref()) {
        out.push_str(&format!("<p class=\"intro\">{}</p>\n", escape(claim)));
    }
    out.push_str("</section>\n");
}

fn gallery<'a>(
    out: &mut String,
    layout: &str,
    title: &str,
    intro: &str,
    pictures: impl Iterator<Item = &'a Picture>,
) {
    let mut pictures = pictures.peekable();
    if pictures.peek().is_none() {
        return;
    }
    out.push_str(&format!(
        "<section>\n<h2>{title}</h2>\n<p class=\"intro\">{intro}</p>\n<div class=\"{layout}\">\n"
    ));
    for picture in pictures {
        out.push_str(&format!(
            "<figure id=\"{}\"><div class=\"scroll\">{}</div>\n",
            escape(&picture.name),
            picture.inline()
        ));
        out.push_str("<details><summary>Figures</summary><div class=\"scroll data\">");
        rows(out, "data", &picture.head, picture.rows.iter().take(ROWS));
        out.push_str("</div></details></figure>\n");
    }
    out.push_str("</div>\n</section>\n");
}

fn rows<'a>(out: &mut String, class: &str, head: &[String], rows: impl Iterator<Item = &'a Vec<String>>) {
    out.push_str(&format!("<table class=\"{class}\"><thead><tr>"));
    for (i, name) in head.iter().enumerate() {
        let class = if i == 0 { " class=\"text\"" } else { "" };
        out.push_str(&format!("<th{class} scope=\"col\">{}</th>", escape(name)));
    }
    out.push_str("</tr></thead><tbody>");
    for row in rows {
        out.push_str("<tr>");
        for (i, cell) in row.iter().enumerate() {
            let class = if i == 0 { " class=\"text\"" } else { "" };
            out.push_str(&format!("<td{class}>{}</td>", escape(cell)));
        }
        out.push_str("</tr>");
    }
    out.push_str("</tbody></table>\n");
}

fn titled(out: &mut String, title: &str, head: &[&str], body: &[Vec<String>]) {
    if body.is_empty() {
        return;
    }
    out.push_str(&format!("<h3>{title}</h3>\n<div class=\"scroll wide\">"));
    let head: Vec<String> = head.iter().map(|name| (*name).to_owned()).collect();
    rows(out, "list", &head, body.iter().take(ROWS));
    out.push_str("</div>\n");
    if body.len() > ROWS {
        out.push_str(&format!(
            "<p class=\"intro\">{} more in the CSV beside this page.</p>\n",
            body.len() - ROWS
        ));
    }
}

/// What the figures rest on: audit, limits, blocks and their memory state, stalls.
fn evidence(out: &mut String, run: &Run) {
    out.push_str(
        "<section>\n<h2>Evidence</h2>\n<p class=\"intro\">What the figures rest on, cell by cell.</p>\n",
    );
    let audits: Vec<Vec<String>> = run
        .cells
        .iter()
        .filter(|cell| cell.verification.acked.is_some() || cell.verification.anomalies().is_some())
        .map(|cell| {
            let v = &cell.verification;
            let word = match audit(cell) {
                Audit::Verified => "verified",
                Audit::Failed => "FAIL",
                Audit::Unverified => "unverified",
            };
            let mut row =
                vec![cell.id.clone(), word.to_owned(), v.mode.clone().unwrap_or_else(|| MISSING.into())];
            let counts = [
                v.acked,
                v.read,
                v.lost,
                v.duplicated,
                v.reordered,
                v.corrupt,
                v.wrong_offset,
                v.unacked_seen,
            ];
            row.extend(counts.map(|n| or_missing(n, count)));
            row
        })
        .collect();
    titled(
        out,
        "Audit",
        &[
            "cell",
            "result",
            "mode",
            "acknowledged",
            "read",
            "lost",
            "duplicated",
            "reordered",
            "corrupt",
            "wrong offset",
            "unacknowledged seen",
        ],
        &audits,
    );
    let anomalies: Vec<Vec<String>> = run
        .verification
        .first_anomalies
        .iter()
        .map(|a| {
            vec![
                a.kind.clone(),
                a.cell.clone().unwrap_or_default(),
                a.topic.clone().unwrap_or_default(),
                or_missing(a.partition, |v| v.to_string()),
                or_missing(a.offset, |v| v.to_string()),
                or_missing(a.producer, |v| v.to_string()),
                or_missing(a.sequence, |v| v.to_string()),
                a.text.clone().unwrap_or_default(),
            ]
        })
        .collect();
    let head = ["anomaly", "cell", "topic", "partition", "offset", "producer", "sequence", "what"];
    titled(out, "First anomalies", &head, &anomalies);

    let measured: Vec<Vec<String>> = limits(run)
        .iter()
        .map(|limit| {
            let passes: Vec<String> = limit
                .values
                .iter()
                .map(|(pass, value)| {
                    let value = with_unit(*value, &limit.unit);
                    pass.as_ref().map_or(value.clone(), |pass| format!("{pass} {value}"))
                })
                .collect();
            vec![
                limit.name.clone(),
                or_missing(limit.bytes, |b| bytes(b as f64)),
                or_missing(limit.files, count),
                passes.join(", "),
                or_missing(limit.drift(), change),
                or_missing(limit.cpu_ns_per_kib, |v| significant(v, 3)),
            ]
        })
        .collect();
    let engines = super::engines::rows(run);
    titled(out, "Storage engines", &super::engines::HEAD, &engines);
    titled(
        out,
        "Physical limits",
        &["limit", "bytes", "files", "value by pass", "drift", "CPU ns/KiB"],
        &measured,
    );

    let blocks: Vec<Vec<String>> = run.blocks.iter().map(block_row).collect();
    titled(
        out,
        "Blocks and memory state",
        &[
            "cell",
            "position",
            "warm-up s",
            "memory",
            "growth probe before",
            "after",
            "free before",
            "dirty before",
            "steal",
            "CPU pressure",
            "generator turn max",
            "void",
        ],
        &blocks,
    );

    let mut stalls: Vec<(&str, &super::run::Stall)> =
        run.cells.iter().flat_map(|cell| cell.stalls.iter().map(|stall| (cell.id.as_str(), stall))).collect();
    stalls.sort_by_key(|(_, stall)| std::cmp::Reverse(stall.duration_ns));
    let stalls: Vec<Vec<String>> = stalls
        .iter()
        .take(20)
        .map(|(cell, stall)| {
            vec![
                (*cell).to_owned(),
                duration(stall.duration_ns as f64),
                count(stall.requests),
                stall_text(stall),
            ]
        })
        .collect();
    titled(out, "Longest stalls", &["cell", "length", "requests", "what"], &stalls);
    out.push_str("</section>\n");
}

fn block_row(block: &Block) -> Vec<String> {
    let cache = &block.page_cache;
    vec![
        block.cell.clone(),
        or_missing(block.position, count),
        or_missing(block.warmup_s, |s| significant(s, 2)),
        block.memory_state.clone().unwrap_or_else(|| MISSING.to_owned()),
        or_missing(cache.before.growth_probe_bytes_per_s, bytes_per_s),
        or_missing(cache.after.growth_probe_bytes_per_s, bytes_per_s),
        or_missing(cache.before.free_bytes, |b| bytes(b as f64)),
        or_missing(cache.before.dirty_bytes, |b| bytes(b as f64)),
        or_missing(block.steal_ratio, |v| format!("{:.2} %", v * 100.0)),
        or_missing(block.cpu_pressure_ratio, percent),
        or_missing(block.generator_turn_ns_max, |ns| duration(ns as f64)),
        if block.void_reasons.is_empty() { "no".to_owned() } else { block.void_reasons.join("; ") },
    ]
}

/// Environment, configurations, and how to repeat the run.
fn machine(out: &mut String, run: &Run) {
    out.push_str("<section>\n<h2>Environment</h2>\n");
    out.push_str("<p class=\"intro\">The command that repeats this run:</p>\n");
    out.push_str(&format!("<pre>{}</pre>\n", escape(&shell_line(&run.command))));
    if let Some(fingerprint) = &run.environment.fingerprint {
        let text = format!("Machine fingerprint {fingerprint}. A dash means that a value could not be had.");
        out.push_str(&format!("<p class=\"intro\">{}</p>\n", escape(&text)));
    }
    out.push_str("<div class=\"columns\">\n");
    for (title, value) in [
        ("Machine", serde_json::to_value(&run.environment.machine)),
        ("Storage", serde_json::to_value(&run.environment.storage)),
        ("Limits of the system", serde_json::to_value(&run.environment.limits)),
        ("Build", serde_json::to_value(&run.environment.binary)),
    ] {
        let value = value.expect("plain data with text keys always has a JSON form");
        out.push_str(&format!("<div><h3>{title}</h3><table><tbody>"));
        for (key, value) in value.as_object().into_iter().flatten() {
            let text = match value {
                serde_json::Value::Null => MISSING.to_owned(),
                serde_json::Value::String(text) => text.clone(),
                serde_json::Value::Number(n) if key.ends_with("_bytes") => {
                    n.as_u64().map_or_else(|| n.to_string(), |n| bytes(n as f64))
                }
                other => other.to_string(),
            };
            let key = key.trim_end_matches("_bytes").replace('_', " ");
            out.push_str(&format!(
                "<tr><th scope=\"row\">{}</th><td>{}</td></tr>",
                escape(&key),
                escape(&text)
            ));
        }
        out.push_str("</tbody></table></div>\n");
    }
    out.push_str("</div>\n<h3>Subjects</h3>\n");
    let subjects: Vec<Vec<String>> = run
        .subjects
        .iter()
        .map(|s| {
            let text = |v: &Option<String>| v.clone().unwrap_or_else(|| MISSING.to_owned());
            vec![
                s.name.clone(),
                text(&s.version),
                text(&s.cores),
                text(&s.metadata_mode),
                durability(s),
                or_missing(s.ready_ns, |ns| duration(ns as f64)),
            ]
        })
        .collect();
    out.push_str("<div class=\"scroll wide\">");
    let head = ["subject", "version", "cores", "metadata", "durability", "start to first answer"];
    rows(out, "list", &head.map(str::to_owned), subjects.iter());
    out.push_str("</div>\n");
    for subject in &run.subjects {
        if let Some(command) = &subject.command {
            folded(out, &format!("{}: command", subject.name), command);
        }
        if let Some(flags) = &subject.jvm_flags {
            folded(out, &format!("{}: JVM flags", subject.name), flags);
        }
        if let Some(config) = &subject.config {
            folded(out, &format!("{}: effective configuration", subject.name), config);
        }
    }
    for workload in &run.workloads {
        let short: String = workload.sha256.chars().take(12).collect();
        let name = workload.name.as_deref().unwrap_or("unnamed");
        folded(out, &format!("workload {name}, sha256 {short}"), &workload.text);
    }
    out.push_str("</section>\n");
}

fn folded(out: &mut String, title: &str, text: &str) {
    out.push_str(&format!(
        "<details><summary>{}</summary><pre>{}</pre></details>\n",
        escape(title),
        escape(text)
    ));
}

fn footer(out: &mut String, run: &Run) {
    let mut parts = vec![format!("Run {}, schema {}.", run.run_id, run.schema)];
    if let Some(tests) = &run.self_tests {
        let at = tests.at_utc.as_deref().unwrap_or("an unknown time");
        parts.push(format!(
            "Self-tests of the rig: {} passed, {} failed, at {at}{}.",
            or_missing(tests.passed, count),
            or_missing(tests.failed, count),
            tests.git.as_ref().map_or(String::new(), |git| format!(", {git}")),
        ));
    } else {
        parts.push("Self-tests of the rig: no result is kept with this run.".to_owned());
    }
    let open = run.cells.iter().any(|cell| cell.loop_kind == Loop::Open);
    if open {
        parts.push("Percentiles are of merged histograms; none is an average.".to_owned());
    }
    parts.push("Everything here can be rebuilt from run.json beside this file.".to_owned());
    out.push_str(&format!("<footer>{}</footer>\n", escape(&parts.join(" "))));
}
