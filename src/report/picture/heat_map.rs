//! Where the requests of each second lay: time across, latency up, and the share of that second's requests as shade.
//!
//! It shows what percentiles of seconds hide: two humps, or a stall that only a few requests met. Cells share both
//! axes and the shades. Above it stand the marks of what happened: roll, flush, collection, pause, void.

use std::collections::BTreeMap;

use super::super::figures::{ms, si, significant, tick};
use super::super::run::{Cell, PRODUCE_RESPONSE, RunError};
use super::super::statistics;
use super::super::svg::{Anchor, Canvas, Scale};
use super::timeline::events;
use super::{Detail, Frame, HEAD, Picture, Scene, Section, WIDTH, head, y_axis};

const HEIGHT: f64 = 300.0;
/// Rows per factor of ten.
const ROWS: f64 = 12.0;
/// Most columns; longer runs join seconds.
const COLUMNS: usize = 160;
/// Lower ends of the shades, as shares of a column's requests.
const SHADES: [(f64, &str); 7] = [
    (0.3, "30 %"),
    (0.1, "10 %"),
    (0.03, "3 %"),
    (0.01, "1 %"),
    (0.003, "0.3 %"),
    (0.001, "0.1 %"),
    (0.0, "fewer"),
];

/// Requests by row, of one second or several joined.
struct Column {
    start_ns: u64,
    end_ns: u64,
    rows: BTreeMap<i64, u64>,
}

pub(super) fn draw(scene: &Scene) -> Result<Vec<Picture>, RunError> {
    let mut maps = Vec::new();
    for detail in scene.open() {
        let columns = columns(scene, detail.cell).map_err(|reason| RunError::Histogram {
            path: "run.json".into(),
            cell: detail.cell.id.clone(),
            metric: PRODUCE_RESPONSE.to_owned(),
            reason,
        })?;
        if !columns.is_empty() {
            maps.push((detail, columns));
        }
    }
    let rows = || maps.iter().flat_map(|(_, columns)| columns).flat_map(|column| column.rows.keys());
    let (Some(low), Some(high)) = (rows().min(), rows().max()) else { return Ok(Vec::new()) };
    let longest = maps
        .iter()
        .filter_map(|(_, columns)| Some(columns.last()?.end_ns - columns.first()?.start_ns))
        .max()
        .unwrap_or(1);
    let (low, high) = (row_ms(*low), row_ms(*high + 1));
    Ok(maps.iter().map(|(detail, columns)| one(scene, detail, columns, low, high, longest)).collect())
}

fn one(scene: &Scene, detail: &Detail, columns: &[Column], low: f64, high: f64, longest: u64) -> Picture {
    let cell = detail.cell;
    let title = format!("{}: produce response, ms ({})", detail.place, scene.class);
    let name = format!("heat-{}", super::super::folder::file_name(&cell.id));
    let mut picture = Picture::new(&name, title.clone(), Section::Time);
    let mut canvas = Canvas::default();
    let rate =
        cell.offered_records_per_s.map_or(String::new(), |rate| format!("at {} records/s: ", si(rate)));
    head(&mut canvas, &title, &format!("{rate}share of each second's requests; measured window only"));

    let frame = Frame { left: 58.0, right: WIDTH - 90.0, top: HEAD + 28.0, bottom: HEIGHT - 34.0 };
    let y = Scale::log10(low, high, frame.bottom, frame.top);
    let x = Scale::linear(0.0, longest as f64 / 1e9, frame.left, frame.right);
    let begin = columns[0].start_ns;
    let at = |ns: u64| ns.saturating_sub(begin) as f64 / 1e9;
    y_axis(&mut canvas, frame, &y, "ms", tick);
    for column in columns {
        let (left, right) = (x.at(at(column.start_ns)), x.at(at(column.end_ns)));
        let total: u64 = column.rows.values().sum();
        for (row, n) in &column.rows {
            let share = *n as f64 / total as f64;
            let shade =
                SHADES.iter().position(|(least, _)| share >= *least).expect("the last begins at zero");
            let (top, bottom) = (y.at(row_ms(row + 1)), y.at(row_ms(*row)));
            let class = format!("h{}", SHADES.len() - 1 - shade);
            let hover = format!(
                "{} s, {} to {} ms: {n} of {total} requests",
                significant(at(column.start_ns), 3),
                ms(row_ms(*row) * 1e6),
                ms(row_ms(row + 1) * 1e6)
            );
            // A hair wider and taller than its place, or the paper shines through between neighbours.
            canvas.rect(left, top, right - left + 0.3, bottom - top + 0.3, &class, Some(&hover));
        }
    }
    for (ns, kind, text) in events(scene.run, cell) {
        let place = x.at(at(ns));
        canvas.mark(place, frame.top - 1.0, "mark", &text);
        if kind != "stall" {
            canvas.text(place + 6.0, frame.top - 3.0, Anchor::Start, "flag small", &kind);
        }
    }
    canvas.line((frame.left, frame.bottom), (frame.right, frame.bottom), "axis");
    for second in x.ticks() {
        canvas.text(x.at(second), frame.bottom + 16.0, Anchor::Middle, "tick", &tick(second));
    }
    canvas.text(frame.right + 18.0, frame.bottom + 16.0, Anchor::Start, "unit", "s");
    for (i, (_, label)) in SHADES.iter().enumerate() {
        let top = frame.top + 16.0 * i as f64;
        canvas.rect(frame.right + 18.0, top, 12.0, 12.0, &format!("h{}", SHADES.len() - 1 - i), None);
        canvas.text(frame.right + 35.0, top + 10.0, Anchor::Start, "tick small", label);
    }

    picture.head = ["from s", "to s", "from ms", "to ms", "requests"].map(str::to_owned).into();
    for column in columns {
        for (row, n) in &column.rows {
            picture.rows.push(vec![
                significant(at(column.start_ns), 4),
                significant(at(column.end_ns), 4),
                ms(row_ms(*row) * 1e6),
                ms(row_ms(row + 1) * 1e6),
                n.to_string(),
            ]);
        }
    }
    picture.drawn(canvas, HEIGHT)
}

fn columns(scene: &Scene, cell: &Cell) -> Result<Vec<Column>, String> {
    let mut columns: Vec<Column> = Vec::new();
    for block in scene.run.blocks_of(&cell.id) {
        for second in block.series.iter().filter(|second| second.phase == "measure") {
            let Some(histogram) = second.histograms.iter().find(|h| h.metric == PRODUCE_RESPONSE) else {
                continue;
            };
            let mut rows = BTreeMap::new();
            for value in statistics::decode(histogram)?.iter_recorded() {
                let ms = value.value_iterated_to().max(1_000) as f64 / 1e6;
                *rows.entry((ms.log10() * ROWS).floor() as i64).or_insert(0) += value.count_at_value();
            }
            columns.push(Column {
                start_ns: second.start_ns,
                end_ns: second.start_ns + second.duration_ns,
                rows,
            });
        }
    }
    let joined = columns.len().div_ceil(COLUMNS).max(1);
    Ok(columns
        .chunks(joined)
        .map(|seconds| {
            let mut rows = BTreeMap::new();
            for (row, n) in seconds.iter().flat_map(|second| &second.rows) {
                *rows.entry(*row).or_insert(0) += n;
            }
            Column { start_ns: seconds[0].start_ns, end_ns: seconds[seconds.len() - 1].end_ns, rows }
        })
        .collect())
}

fn row_ms(row: i64) -> f64 {
    10f64.powf(row as f64 / ROWS)
}
