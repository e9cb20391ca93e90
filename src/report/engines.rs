//! The storage engines of a run as rows, as text and as sentences.
//!
//! In: a run of `bench engines`. Out: a table for terminal, page and CSV, and which engine each point is best served by.
//! The choice is the least CPU per GB, flush included, among the engines that reach nine tenths of the best rate to disk.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use comfy_table::{CellAlignment, Table, presets};

use super::figures::{bytes, bytes_per_s, count, duration, or_missing, significant};
use super::run::{EngineCell, Run};

/// Of the best rate to disk: an engine below it is not chosen, however little CPU it takes.
const RATE_SHARE_MIN: f64 = 0.9;

pub const HEAD: [&str; 12] = [
    "engine",
    "block",
    "files",
    "taken",
    "CPU s/GB",
    "append p50",
    "p99",
    "max",
    "to disk",
    "CPU s/GB to disk",
    "calls/append",
    "",
];

/// `16 KiB, 1,024 files`.
pub fn place(files: u64, block_bytes: u64) -> String {
    let files = if files == 1 { "1 file".to_owned() } else { format!("{} files", count(files)) };
    format!("{}, {files}", bytes(block_bytes as f64))
}

/// One row per cell, in the columns of [`HEAD`].
pub fn rows(run: &Run) -> Vec<Vec<String>> {
    let chosen = choices(run);
    let row = |cell: &EngineCell| {
        let figure = |value: Option<f64>| or_missing(value, |v| significant(v, 3));
        let time = |ns: Option<u64>| or_missing(ns, |ns| duration(ns as f64));
        let is_chosen =
            chosen.get(&(cell.block_bytes, cell.files)).is_some_and(|engine| *engine == cell.engine);
        vec![
            cell.engine.clone(),
            bytes(cell.block_bytes as f64),
            count(cell.files),
            or_missing(cell.bytes_per_s, bytes_per_s),
            figure(cell.cpu_s_per_gb),
            time(cell.append_ns_p50),
            time(cell.append_ns_p99),
            time(cell.append_ns_max),
            or_missing(cell.flushed_bytes_per_s, bytes_per_s),
            figure(cell.flushed_cpu_s_per_gb),
            figure(cell.syscalls_per_append),
            match &cell.refused {
                Some(_) => "refused".to_owned(),
                None if is_chosen => "best served".to_owned(),
                None => String::new(),
            },
        ]
    };
    run.engines.iter().map(row).collect()
}

/// The engine that each point (block bytes, files) is best served by.
pub fn choices(run: &Run) -> BTreeMap<(u64, u64), &str> {
    let mut points: BTreeMap<(u64, u64), Vec<&EngineCell>> = BTreeMap::new();
    for cell in &run.engines {
        points.entry((cell.block_bytes, cell.files)).or_default().push(cell);
    }
    let mut chosen = BTreeMap::new();
    for (point, cells) in points {
        let best = cells.iter().filter_map(|cell| cell.flushed_bytes_per_s).fold(0.0, f64::max);
        let fast =
            cells.iter().filter(|cell| cell.flushed_bytes_per_s.is_some_and(|r| r >= RATE_SHARE_MIN * best));
        let costs = fast.filter_map(|cell| Some((cell.flushed_cpu_s_per_gb?, cell.engine.as_str())));
        if let Some((_, engine)) = costs.min_by(|a, b| a.0.total_cmp(&b.0)) {
            chosen.insert(point, engine);
        }
    }
    chosen
}

/// Which engines to choose here, and which cannot run.
pub fn verdicts(run: &Run) -> Vec<String> {
    let chosen = choices(run);
    let mut times: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for ((block_bytes, files), engine) in &chosen {
        times.entry(engine).or_default().push(place(*files, *block_bytes));
    }
    let mut sentences: Vec<(usize, String)> = times
        .into_iter()
        .map(|(engine, places)| {
            let text = format!(
                "{engine}: least CPU per GB among the fast at {} of {} points ({})",
                places.len(),
                chosen.len(),
                places.join("; ")
            );
            (places.len(), text)
        })
        .collect();
    sentences.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    let mut out: Vec<String> = sentences.into_iter().map(|(_, text)| text).collect();
    let mut refused: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for cell in &run.engines {
        if let Some(reason) = &cell.refused {
            *refused.entry((&cell.engine, reason)).or_default() += 1;
        }
    }
    out.extend(refused.into_iter().map(|((engine, reason), points)| {
        format!("{engine}: refused at {points} {}: {reason}", if points == 1 { "point" } else { "points" })
    }));
    out
}

/// The table for a terminal; empty for a run of another kind.
pub fn text(run: &Run) -> String {
    if run.engines.is_empty() {
        return String::new();
    }
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(HEAD);
    for row in rows(run) {
        table.add_row(row);
    }
    for column in table.column_iter_mut().skip(1).take(HEAD.len() - 2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    format!("{table}\n")
}

/// `engines.csv`: one row per cell, figures in full.
pub fn csv(run: &Run) -> String {
    let mut out = "run,engine,block_bytes,files,bytes,bytes_per_s,cpu_s_per_gb,append_ns_p50,append_ns_p99,append_ns_max,\
                   flushed_bytes_per_s,flushed_cpu_s_per_gb,syscalls_per_append,refused\n"
        .to_owned();
    for cell in &run.engines {
        let float = |value: Option<f64>| value.map_or(String::new(), |v| v.to_string());
        let whole = |value: Option<u64>| value.map_or(String::new(), |v| v.to_string());
        let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
        let fields = [
            run.run_id.clone(),
            quoted(&cell.engine),
            cell.block_bytes.to_string(),
            cell.files.to_string(),
            whole(cell.bytes),
            float(cell.bytes_per_s),
            float(cell.cpu_s_per_gb),
            whole(cell.append_ns_p50),
            whole(cell.append_ns_p99),
            whole(cell.append_ns_max),
            float(cell.flushed_bytes_per_s),
            float(cell.flushed_cpu_s_per_gb),
            float(cell.syscalls_per_append),
            cell.refused.as_deref().map_or(String::new(), quoted),
        ];
        let _ = writeln!(out, "{}", fields.join(","));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(engine: &str, rate: f64, cpu: f64) -> EngineCell {
        EngineCell {
            engine: engine.to_owned(),
            files: 16,
            block_bytes: 16_384,
            flushed_bytes_per_s: Some(rate),
            flushed_cpu_s_per_gb: Some(cpu),
            ..EngineCell::default()
        }
    }

    #[test]
    fn the_cheapest_of_the_fast_is_chosen_and_refusals_are_told() {
        let refused = EngineCell {
            refused: Some("no, \"never\"".to_owned()),
            flushed_bytes_per_s: None,
            ..cell("odd", 0.0, 0.0)
        };
        let cells = [cell("fast", 1e9, 0.5), cell("frugal", 0.95e9, 0.2), cell("slow", 0.5e9, 0.1), refused];
        let run = Run { engines: cells.into(), ..Run::default() };
        assert_eq!(choices(&run)[&(16_384, 16)], "frugal");
        let said = verdicts(&run);
        assert!(said[0].starts_with("frugal: least CPU") && said[0].contains("1 of 1"), "{said:?}");
        assert!(said[1].starts_with("odd: refused at 1 point"), "{said:?}");
        assert!(text(&run).contains("best served"));
        assert!(csv(&run).contains("\"no, \"\"never\"\"\""));
        assert_eq!(text(&Run::default()), "");
    }
}
