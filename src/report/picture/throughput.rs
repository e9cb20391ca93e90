//! Records and bytes per second at saturation, over partition counts, with the null broker and the limits.
//!
//! The axis starts at zero. A point the generator limited is hollow: the subject could do more. A cell that failed
//! its audit has no point, only the word. Limits above the axis are named with their value instead of drawn.

use super::super::figures::{bytes_per_s, count, or_missing, si, significant};
use super::super::lines::{self, is_client_bound, shown_bytes_per_s, shown_records_per_s};
use super::super::run::{Block, Cell};
use super::super::svg::{Anchor, Canvas, Scale, spread, text_width};
use super::super::table::limits;
use super::{
    Frame, HEAD, Picture, Scene, Section, WIDTH, cell_flags, colour, head, partitions_axis, partitions_scale,
    partitions_text, write_flags, y_axis,
};

const HEIGHT: f64 = 388.0;

pub(super) fn draw(scene: &Scene) -> Option<Picture> {
    let counts = scene.partition_counts();
    let cells: Vec<&Cell> = scene.lines.iter().flat_map(|line| &line.closed).copied().collect();
    let rates: Vec<f64> = cells.iter().filter_map(|cell| shown_records_per_s(cell)).collect();
    let high = rates.iter().copied().fold(0.0, f64::max);
    if counts.is_empty() || cells.is_empty() {
        return None;
    }
    let title = format!("Throughput over partitions, records/s ({})", scene.class);
    let mut picture = Picture::new("throughput", title.clone(), Section::Throughput);
    let mut canvas = Canvas::default();
    head(&mut canvas, &title, "at saturation, closed loop, acknowledged and read back; higher is better");

    let frame = Frame { left: 66.0, right: WIDTH - 136.0, top: HEAD + 44.0, bottom: HEIGHT - 52.0 };
    let y = Scale::from_zero(high * 1.04, frame.bottom, frame.top);
    let x = partitions_scale(frame, &counts);
    y_axis(&mut canvas, frame, &y, "records/s", si);
    partitions_axis(&mut canvas, frame, &x, &counts);

    // One factor turns records into bytes when all cells have it; then the same line reads on both axes.
    let factors: Vec<f64> =
        cells.iter().filter_map(|c| Some(c.bytes_per_s? / c.records_per_s.filter(|v| *v > 0.0)?)).collect();
    let factor = factors.first().copied().filter(|f| factors.iter().all(|g| (g / f - 1.0).abs() < 0.01));
    if let Some(factor) = factor {
        for tick in y.ticks() {
            let text = super::super::figures::tick(tick * factor / 1e6);
            canvas.text(frame.right + 7.0, y.at(tick) + 4.0, Anchor::Start, "tick", &text);
        }
        canvas.text(frame.right + 7.0, frame.top - 9.0, Anchor::Start, "unit", "MB/s");
    }

    let mut beyond = Vec::new();
    if let Some(factor) = factor {
        for limit in limits(scene.run).iter().filter(|limit| limit.unit == "B/s") {
            let records = limit.value() / factor;
            if records <= y.high {
                let at = y.at(records);
                canvas.line((frame.left, at), (frame.right, at), "roof");
                canvas.text(frame.left + 4.0, at - 4.0, Anchor::Start, "note", &limit.title());
            } else {
                beyond.push(format!("{} {}", limit.name, bytes_per_s(limit.value())));
            }
        }
    }
    above_the_axis(&mut canvas, &beyond);

    let mut labels = Vec::new();
    for (place, line) in scene.lines.iter().enumerate().filter(|(_, line)| !line.closed.is_empty()) {
        let tint = if line.is_null_broker { "n".to_owned() } else { colour(place).to_string() };
        let at = |cell: &Cell| {
            let records = shown_records_per_s(cell)?;
            Some((x.at(cell.parameters.partitions? as f64), y.at(records)))
        };
        let ranges: Vec<(f64, f64, f64)> = line
            .closed
            .iter()
            .filter_map(|cell| {
                let interval = lines::rate_interval(scene.run, cell);
                let (low, high) = interval.or_else(|| range_of_blocks(scene.run.blocks_of(&cell.id)))?;
                Some((at(cell)?.0, y.at(low), y.at(high)))
            })
            .collect();
        canvas.band(&ranges, &format!("band f{tint}"));
        let points: Vec<_> = line.closed.iter().map(|cell| at(cell)).collect();
        let dash = if line.is_null_broker { " dash thin" } else { "" };
        canvas.path(&points, &format!("line l{tint}{dash}"));
        for cell in &line.closed {
            point(&mut canvas, cell, at(cell), &tint, &line.label);
        }
        if let Some((_, last)) = points.iter().flatten().next_back() {
            labels.push((*last, line.short.clone(), tint));
        }
        for cell in &line.closed {
            picture.rows.push(vec![
                line.label.clone(),
                or_missing(cell.parameters.partitions, count),
                or_missing(shown_records_per_s(cell), |v| format!("{v:.0}")),
                or_missing(shown_bytes_per_s(cell), |v| format!("{:.2}", v / 1e6)),
                or_missing(cell.headroom_ratio, |v| significant(v, 3)),
                cell_flags(cell).join(" "),
            ]);
        }
    }
    write_flags(&mut canvas, &cells, &x, frame, frame.bottom - 7.0, -12.0);
    let offset = if factor.is_some() { 44.0 } else { 10.0 };
    let parts: Vec<Vec<String>> =
        labels.iter().map(|(_, label, _)| wrapped(label, WIDTH - frame.right - offset - 4.0)).collect();
    let tallest = parts.iter().map(Vec::len).max().unwrap_or(1) as f64;
    let wanted: Vec<f64> = labels.iter().map(|(y, _, _)| *y).collect();
    let lowest = frame.bottom + 8.0 - 13.0 * (tallest - 1.0);
    let places = spread(&wanted, 2.0 + 13.0 * tallest, frame.top - 6.0, lowest);
    for (((_, _, tint), parts), at) in labels.iter().zip(&parts).zip(places) {
        for (i, part) in parts.iter().enumerate() {
            let class = format!("label f{tint}");
            canvas.text(frame.right + offset, at + 4.0 + 13.0 * i as f64, Anchor::Start, &class, part);
        }
    }
    picture.head = ["line", "partitions", "records/s", "MB/s", "headroom", "flags"].map(str::to_owned).into();
    Some(picture.drawn(canvas, HEIGHT))
}

/// One measured point: full, or hollow where the generator was the limit.
fn point(canvas: &mut Canvas, cell: &Cell, at: Option<(f64, f64)>, tint: &str, label: &str) {
    let Some((left, top)) = at else { return };
    let hover = format!(
        "{label}, {}: {}{} records/s, {} MB/s",
        partitions_text(cell),
        if is_client_bound(cell) { "at least " } else { "" },
        or_missing(cell.records_per_s, |v| format!("{v:.0}")),
        or_missing(cell.bytes_per_s, |v| significant(v / 1e6, 4)),
    );
    let shape = if is_client_bound(cell) { format!("hollow l{tint}") } else { format!("f{tint}") };
    canvas.dot(left, top, if tint == "n" { 3.0 } else { 4.5 }, &shape, Some(&hover));
}

/// Lowest and highest rate of a cell's blocks: what can be said of a few blocks without an interval.
fn range_of_blocks<'a>(blocks: impl Iterator<Item = &'a Block>) -> Option<(f64, f64)> {
    let rates: Vec<f64> = blocks
        .filter(|block| block.void_reasons.is_empty())
        .filter_map(|block| {
            let (mut records, mut seconds) = (0.0, 0.0);
            for second in block.series.iter().filter(|second| second.phase == "measure") {
                let length = second.duration_ns as f64 / 1e9;
                records += second.achieved_records_per_s? * length;
                seconds += length;
            }
            (seconds > 0.0).then_some(records / seconds)
        })
        .collect();
    if rates.len() < 2 {
        return None;
    }
    Some((rates.iter().copied().fold(f64::INFINITY, f64::min), rates.iter().copied().fold(0.0, f64::max)))
}

/// Limits that the axis does not reach, in words above it.
fn above_the_axis(canvas: &mut Canvas, beyond: &[String]) {
    let mut text = String::new();
    let mut left_out = 0;
    for limit in beyond {
        let longer = if text.is_empty() {
            format!("roofs above the axis: {limit}")
        } else {
            format!("{text}, {limit}")
        };
        if text_width(&longer, 11.0) < WIDTH - 60.0 {
            text = longer;
        } else {
            left_out += 1;
        }
    }
    if left_out > 0 {
        text.push_str(&format!(" +{left_out}"));
    }
    if !text.is_empty() {
        canvas.text(16.0, HEAD + 5.0, Anchor::Start, "note", &text);
    }
}

/// At most three lines that fit a width, broken at spaces.
pub(super) fn wrapped(text: &str, width: f64) -> Vec<String> {
    let mut out: Vec<String> = vec![String::new()];
    for word in text.split(' ') {
        let last = out.last_mut().expect("begins with one");
        let longer = if last.is_empty() { word.to_owned() } else { format!("{last} {word}") };
        if text_width(&longer, 11.5) <= width || last.is_empty() {
            *last = longer;
        } else {
            out.push(word.to_owned());
        }
    }
    out.truncate(3);
    out
}
