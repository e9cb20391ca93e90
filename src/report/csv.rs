//! `cells.csv` and `series.csv`: the figures for other programs.
//!
//! In: a run. Out: CSV (RFC 4180, line ends `\n`). `cells.csv` is tidy, one value a line; `series.csv` has one row
//! per second. Units are named; a missing value is a line left out of the first, an empty field in the second.
//! Numbers are written in full, the shortest text that reads back as the same number.

use super::run::{Block, CacheState, Cell, Loop, Percentiles, Run};

const CELLS_HEAD: &str = "run,cell,block,subject,metric,unit,value\n";

const SERIES_HEAD: &str = "run,cell,block,subject,phase,start_s,duration_s,offered_records_per_s,\
achieved_records_per_s,consumed_records_per_s,response_p50_ns,response_p99_ns,response_max_ns,backlog_records,\
broker_cpu_cores,generator_cpu_cores,rss_bytes,steal_ratio,dirty_bytes\n";

struct Tidy<'a> {
    out: String,
    run: &'a str,
}

impl Tidy<'_> {
    fn value(&mut self, cell: &Cell, block: &str, metric: &str, unit: &str, value: Option<f64>) {
        if let Some(value) = value {
            let fields = [self.run, &cell.id, block, &cell.subject, metric, unit];
            self.out.push_str(&fields.map(field).join(","));
            self.out.push_str(&format!(",{value}\n"));
        }
    }
}

/// `cells.csv`.
pub fn cells(run: &Run) -> String {
    let mut tidy = Tidy { out: CELLS_HEAD.to_owned(), run: &run.run_id };
    for cell in &run.cells {
        one_cell(&mut tidy, cell);
        for (i, block) in run.blocks_of(&cell.id).enumerate() {
            one_block(&mut tidy, cell, &i.to_string(), block);
        }
    }
    tidy.out
}

fn one_cell(tidy: &mut Tidy, cell: &Cell) {
    let p = &cell.parameters;
    let whole = |v: Option<u64>| v.map(|v| v as f64);
    let flag = |v: Option<bool>| v.map(|v| f64::from(u8::from(v)));
    // A loop is a property, not a measure: 1 is open. It is here so that the file can be used alone.
    let open = Some(f64::from(u8::from(cell.loop_kind == Loop::Open)));
    let rows: [(&str, &str, Option<f64>); 42] = [
        ("open_loop", "bool", open),
        ("topics", "count", whole(p.topics)),
        ("partitions", "count", whole(p.partitions)),
        ("record_bytes", "B", whole(p.record_bytes)),
        ("batch_records", "count", whole(p.batch_records)),
        ("batch_bytes", "B", whole(p.batch_bytes)),
        ("producers", "count", whole(p.producers)),
        ("consumers", "count", whole(p.consumers)),
        ("in_flight", "count", whole(p.in_flight)),
        ("records_per_s", "1/s", super::lines::shown_records_per_s(cell)),
        ("bytes_per_s", "B/s", super::lines::shown_bytes_per_s(cell)),
        ("wire_bytes_per_s", "B/s", cell.wire_bytes_per_s),
        ("requests_per_s", "1/s", cell.requests_per_s),
        ("consumed_records_per_s", "1/s", cell.consumed_records_per_s),
        ("catch_up_records_per_s", "1/s", cell.catch_up_records_per_s),
        ("offered_records_per_s", "1/s", cell.offered_records_per_s),
        ("achieved_ratio", "ratio", cell.achieved_ratio),
        ("headroom_ratio", "ratio", cell.headroom_ratio),
        ("client_bound", "bool", flag(cell.client_bound)),
        ("broker_cpu_ns_per_record", "ns", cell.broker_cpu_ns_per_record),
        ("broker_user_cpu_ns_per_record", "ns", cell.broker_user_cpu_ns_per_record),
        ("broker_kernel_cpu_ns_per_record", "ns", cell.broker_kernel_cpu_ns_per_record),
        ("system_cpu_ns_per_record", "ns", cell.system_cpu_ns_per_record),
        ("generator_cpu_ns_per_record", "ns", cell.generator_cpu_ns_per_record),
        ("syscalls_per_request", "count", cell.syscalls_per_request),
        ("ring_operations_per_request", "count", cell.ring_operations_per_request),
        ("switches_per_1000_records", "count", cell.switches_per_1000_records),
        ("disk_bytes_per_byte", "ratio", cell.disk_bytes_per_byte),
        ("rss_bytes", "B", whole(cell.rss_bytes)),
        ("rss_bytes_max", "B", whole(cell.rss_bytes_max)),
        ("pss_bytes", "B", whole(cell.pss_bytes)),
        ("core_wait", "ns", whole(cell.core_wait_ns)),
        ("core_wait_max", "ns", whole(cell.core_wait_ns_max)),
        ("rate_efficiency", "ratio", cell.rate_efficiency),
        ("rate_efficiency_is_upper_bound", "bool", flag(cell.rate_efficiency_is_upper_bound)),
        ("cpu_efficiency", "ratio", cell.cpu_efficiency),
        (
            "stalls",
            "count",
            Some(cell.stalls.len() as f64).filter(|_| cell.produce_response_ns.p99_9.is_some()),
        ),
        ("verified_acked", "count", whole(cell.verification.acked)),
        ("verified_read", "count", whole(cell.verification.read)),
        ("verified_lost", "count", whole(cell.verification.lost)),
        ("verified_duplicated", "count", whole(cell.verification.duplicated)),
        ("verified_anomalies", "count", whole(cell.verification.anomalies())),
    ];
    for (metric, unit, value) in rows {
        tidy.value(cell, "", metric, unit, value);
    }
    for (metric, percentiles) in cell.latencies() {
        let Percentiles { p50, p90, p99, p99_9, p99_99, max, mean, count } = percentiles;
        let name = metric.trim_end_matches("_ns");
        for (part, value) in
            [("p50", p50), ("p90", p90), ("p99", p99), ("p99.9", p99_9), ("p99.99", p99_99), ("max", max)]
        {
            tidy.value(cell, "", &format!("{name}.{part}"), "ns", whole(value));
        }
        tidy.value(cell, "", &format!("{name}.mean"), "ns", mean);
        tidy.value(cell, "", &format!("{name}.count"), "count", whole(count));
    }
}

fn one_block(tidy: &mut Tidy, cell: &Cell, place: &str, block: &Block) {
    let whole = |v: Option<u64>| v.map(|v| v as f64);
    tidy.value(cell, place, "pair", "number", whole(block.pair));
    tidy.value(cell, place, "position", "number", whole(block.position));
    tidy.value(cell, place, "void", "bool", Some(f64::from(u8::from(!block.void_reasons.is_empty()))));
    tidy.value(cell, place, "warmup", "s", block.warmup_s);
    tidy.value(cell, place, "duration", "s", block.duration_ns.map(|ns| ns as f64 / 1e9));
    tidy.value(cell, place, "steal_ratio", "ratio", block.steal_ratio);
    tidy.value(cell, place, "cpu_pressure_ratio", "ratio", block.cpu_pressure_ratio);
    tidy.value(cell, place, "generator_turn_max", "ns", whole(block.generator_turn_ns_max));
    tidy.value(cell, place, "core_wait", "ns", whole(block.core_wait_ns));
    tidy.value(cell, place, "core_wait_max", "ns", whole(block.core_wait_ns_max));
    for (when, state) in [("before", &block.page_cache.before), ("after", &block.page_cache.after)] {
        let CacheState {
            free_bytes,
            cached_bytes,
            dirty_bytes,
            writeback_bytes,
            growth_probe_bytes_per_s,
            growth_probe_cpu_ns_per_kib,
        } = state;
        for (name, unit, value) in [
            ("free_bytes", "B", whole(*free_bytes)),
            ("cached_bytes", "B", whole(*cached_bytes)),
            ("dirty_bytes", "B", whole(*dirty_bytes)),
            ("writeback_bytes", "B", whole(*writeback_bytes)),
            ("growth_probe_bytes_per_s", "B/s", *growth_probe_bytes_per_s),
            ("growth_probe_cpu_ns_per_kib", "ns", *growth_probe_cpu_ns_per_kib),
        ] {
            tidy.value(cell, place, &format!("page_cache.{when}.{name}"), unit, value);
        }
    }
}

/// `series.csv`.
pub fn series(run: &Run) -> String {
    let mut out = SERIES_HEAD.to_owned();
    for cell in &run.cells {
        for (place, block) in run.blocks_of(&cell.id).enumerate() {
            for s in &block.series {
                let texts = [run.run_id.as_str(), &cell.id, &place.to_string(), &cell.subject, &s.phase];
                let numbers = [
                    Some(s.start_ns as f64 / 1e9),
                    Some(s.duration_ns as f64 / 1e9),
                    s.offered_records_per_s,
                    s.achieved_records_per_s,
                    s.consumed_records_per_s,
                    s.response_p50_ns.map(|v| v as f64),
                    s.response_p99_ns.map(|v| v as f64),
                    s.response_max_ns.map(|v| v as f64),
                    s.backlog_records.map(|v| v as f64),
                    s.broker_cpu_cores,
                    s.generator_cpu_cores,
                    s.rss_bytes.map(|v| v as f64),
                    s.steal_ratio,
                    s.dirty_bytes.map(|v| v as f64),
                ];
                out.push_str(&texts.map(field).join(","));
                for number in numbers {
                    out.push(',');
                    if let Some(number) = number {
                        out.push_str(&number.to_string());
                    }
                }
                out.push('\n');
            }
        }
    }
    out
}

/// Quoted when it must be.
pub(super) fn field(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::super::run::Second;
    use super::*;

    #[test]
    fn missing_values_leave_no_line_and_no_zero() {
        let cell = Cell { id: "a,\"b\"".into(), records_per_s: Some(0.5), ..Cell::default() };
        let block = Block {
            cell: cell.id.clone(),
            series: vec![Second { steal_ratio: Some(0.25), phase: "measure".into(), ..Second::default() }],
            ..Block::default()
        };
        let run = Run { run_id: "r".into(), cells: vec![cell], blocks: vec![block], ..Run::default() };
        let text = cells(&run);
        assert!(text.contains("r,\"a,\"\"b\"\"\",,,records_per_s,1/s,0.5\n"), "{text}");
        assert!(!text.contains("rss_bytes"));
        let text = series(&run);
        let last = text.lines().last().expect("one row");
        assert!(last.ends_with(",,,,,,,,,,,0.25,"), "{last}");
        assert_eq!(last.replace("\"a,\"\"b\"\"\"", "a").split(',').count(), SERIES_HEAD.split(',').count());
    }
}
