//! Response time over partition counts: p50, p99, p99.9 and the maximum, for produce and end to end.
//!
//! Logarithmic, one axis for both panels and all subjects. A percentile without support has no point.

use super::super::figures::{ms, or_missing, tick};
use super::super::run::{Cell, Percentiles};
use super::super::svg::{Anchor, Canvas, Scale, spread};
use super::{
    Frame, HEAD, Picture, Scene, Section, WIDTH, colour, head, partitions_axis, partitions_scale,
    partitions_text, write_flags, y_axis,
};

const HEIGHT: f64 = 372.0;

type Part = (&'static str, &'static str, fn(&Percentiles) -> Option<u64>);

/// Name, look and value.
const PARTS: [Part; 4] = [
    ("max", " thin dots", |p| p.max),
    ("p99.9", " thin dash", |p| p.p99_9),
    ("p99", "", |p| p.p99),
    ("p50", " thin light", |p| p.p50),
];

type Panel = (&'static str, &'static str, fn(&Cell) -> &Percentiles);

const PANELS: [Panel; 2] = [
    ("latency-produce", "Produce response", |cell| &cell.produce_response_ns),
    ("latency-end-to-end", "End-to-end response", |cell| &cell.e2e_response_ns),
];

pub(super) fn draw(scene: &Scene) -> Vec<Picture> {
    let counts = scene.partition_counts();
    let values: Vec<f64> = scene
        .tested()
        .flat_map(|line| &line.open)
        .flat_map(|cell| PANELS.map(|(_, _, of)| of(cell)))
        .flat_map(|p| PARTS.map(|(_, _, value)| value(p)))
        .flatten()
        .map(|ns| ns as f64 / 1e6)
        .filter(|ms| *ms > 0.0)
        .collect();
    if counts.is_empty() || values.is_empty() {
        return Vec::new();
    }
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(0.0, f64::max);
    PANELS.iter().filter_map(|panel| one(scene, panel, &counts, low, high)).collect()
}

fn one(scene: &Scene, panel: &Panel, counts: &[u64], low: f64, high: f64) -> Option<Picture> {
    let (name, what, of) = panel;
    if !scene.tested().flat_map(|line| &line.open).any(|cell| of(cell).count.is_some()) {
        return None;
    }
    let title = format!("{what} over partitions, ms ({})", scene.class);
    let mut picture = Picture::new(name, title.clone(), Section::Latency);
    let mut canvas = Canvas::default();
    let rate = scene.at_rate();
    let rate = if rate.is_empty() { " at a fixed rate".to_owned() } else { rate };
    head(&mut canvas, &title, &format!("open loop{rate}, from the intended time; lower is better"));

    let several = scene.tested().count() > 1;
    if several {
        let legend = "thick p99, thin p50, dashed p99.9, dotted the maximum";
        canvas.text(16.0, HEAD + 5.0, Anchor::Start, "note", legend);
    }
    let frame = Frame {
        left: 58.0,
        right: WIDTH - if several { 130.0 } else { 84.0 },
        top: HEAD + if several { 44.0 } else { 28.0 },
        bottom: HEIGHT - 52.0,
    };
    let y = Scale::log10(low, high, frame.bottom, frame.top);
    let x = partitions_scale(frame, counts);
    y_axis(&mut canvas, frame, &y, "ms", tick);
    partitions_axis(&mut canvas, frame, &x, counts);

    let mut labels = Vec::new();
    for (place, line) in scene.tested().enumerate() {
        let tint = colour(place);
        for (part, look, value) in PARTS {
            let at = |cell: &Cell| {
                let ms = value(of(cell))? as f64 / 1e6;
                Some((x.at(cell.parameters.partitions? as f64), y.at(ms)))
            };
            let points: Vec<_> = line.open.iter().map(|cell| at(cell)).collect();
            canvas.path(&points, &format!("line l{tint}{look}"));
            for cell in &line.open {
                if let (Some((left, top)), Some(ns)) = (at(cell), value(of(cell))) {
                    let hover =
                        format!("{}, {}: {part} {} ms", line.label, partitions_text(cell), ms(ns as f64));
                    let radius = if part == "p99" { 4.0 } else { 2.5 };
                    canvas.dot(left, top, radius, &format!("f{tint}"), Some(&hover));
                }
            }
            if let Some((_, last)) = points.iter().flatten().next_back() {
                // Of several lines only p99 is named; the others are known by their look.
                match (several, part) {
                    (false, _) => labels.push((*last, part.to_owned(), tint)),
                    (true, "p99") => labels.push((*last, line.short.clone(), tint)),
                    (true, _) => {}
                }
            }
        }
        for cell in &line.open {
            let p = of(cell);
            let mut row = vec![line.label.clone(), partitions_text(cell)];
            row.extend(
                [p.p50, p.p90, p.p99, p.p99_9, p.p99_99, p.max].map(|ns| or_missing(ns, |ns| ms(ns as f64))),
            );
            row.push(or_missing(p.count, |n| n.to_string()));
            picture.rows.push(row);
        }
    }
    let cells: Vec<&Cell> = scene.tested().flat_map(|line| &line.open).copied().collect();
    write_flags(&mut canvas, &cells, &x, frame, frame.top + 2.0, 12.0);
    let places =
        spread(&labels.iter().map(|(y, _, _)| *y).collect::<Vec<_>>(), 13.5, frame.top, frame.bottom);
    for ((_, label, tint), at) in labels.iter().zip(places) {
        canvas.text(frame.right + 4.0, at + 4.0, Anchor::Start, &format!("label f{tint}"), label);
    }
    let head = ["line", "partitions", "p50", "p90", "p99", "p99.9", "p99.99", "max", "requests"];
    picture.head = head.map(str::to_owned).into();
    Some(picture.drawn(canvas, HEIGHT))
}
