//! The whole distribution: latency over 1/(1-p), so that each further nine takes the same width.
//!
//! Response time is solid, service time dashed: the distance between them is what waiting cost. A line ends where
//! fewer than ten requests remain above it.

use hdrhistogram::Histogram as Hdr;

use super::super::figures::{count, ms, or_missing, si, tick};
use super::super::run::{E2E_RESPONSE, E2E_SERVICE, PRODUCE_RESPONSE, PRODUCE_SERVICE};
use super::super::statistics::SUPPORT;
use super::super::style::DATA_COLOURS;
use super::super::svg::{Anchor, Canvas, Kind, Scale, spread};
use super::{Detail, Frame, HEAD, Picture, Scene, Section, WIDTH, colour, head, x_unit, y_axis};

const HEIGHT: f64 = 372.0;

/// Places per factor of ten along the axis.
const STEPS: i32 = 16;

const PANELS: [(&str, &str, &str, &str); 2] = [
    ("spectrum-produce", "Produce percentiles", PRODUCE_RESPONSE, PRODUCE_SERVICE),
    ("spectrum-end-to-end", "End-to-end percentiles", E2E_RESPONSE, E2E_SERVICE),
];

pub(super) fn draw(scene: &Scene) -> Vec<Picture> {
    let mut all: Vec<f64> = Vec::new();
    let mut most = 0;
    for (_, _, response, service) in PANELS {
        for hdr in scene.open().flat_map(|d| [d.histogram(response), d.histogram(service)]).flatten() {
            all.extend(curve(hdr).iter().map(|(_, ms)| *ms));
            most = most.max(hdr.len());
        }
    }
    if all.is_empty() {
        return Vec::new();
    }
    let low = all.iter().copied().fold(f64::INFINITY, f64::min);
    let high = all.iter().copied().fold(0.0, f64::max);
    PANELS.iter().filter_map(|panel| one(scene, panel, low, high, most)).collect()
}

fn one(scene: &Scene, panel: &(&str, &str, &str, &str), low: f64, high: f64, most: u64) -> Option<Picture> {
    let (name, what, response, service) = panel;
    if !scene.open().any(|d| d.histogram(response).is_some()) {
        return None;
    }
    let title = format!("{what}, ms ({})", scene.class);
    let mut picture = Picture::new(name, title.clone(), Section::Latency);
    let mut canvas = Canvas::default();
    let sub = "response solid, service dashed; lines end where fewer than 10 requests remain";
    head(&mut canvas, &title, sub);
    let (few, all) = (shown(scene).len(), scene.open().count());
    if few < all {
        let note = format!("{few} of {all} cells: the most partitions of each line, or a spread of them");
        canvas.text(16.0, HEAD + 5.0, Anchor::Start, "note", &note);
    }

    let several = scene.tested().count() > 1;
    let right = WIDTH - if several { 150.0 } else { 84.0 };
    let frame = Frame {
        left: 58.0,
        right,
        top: HEAD + 28.0 + if few < all { 14.0 } else { 0.0 },
        bottom: HEIGHT - 52.0,
    };
    let y = Scale::log10(low, high, frame.bottom, frame.top);
    let x = Scale {
        kind: Kind::Log10,
        low: 1.0,
        high: (most as f64 / SUPPORT as f64).max(100.0),
        from: frame.left,
        to: frame.right,
    };
    y_axis(&mut canvas, frame, &y, "ms", tick);
    canvas.line((frame.left, frame.bottom), (frame.right, frame.bottom), "axis");
    for (inverse, label) in
        [(1.0, "0"), (2.0, "50"), (10.0, "90"), (100.0, "99"), (1e3, "99.9"), (1e4, "99.99"), (1e5, "99.999")]
    {
        if inverse <= x.high {
            canvas.line((x.at(inverse), frame.top), (x.at(inverse), frame.bottom), "grid");
            canvas.text(x.at(inverse), frame.bottom + 17.0, Anchor::Middle, "tick", label);
        }
    }
    x_unit(&mut canvas, frame, "percentile, on the scale of 1/(1-p)");

    let mut labels = Vec::new();
    for (place, detail) in shown(scene).into_iter().enumerate() {
        let tint = colour(place);
        for (metric, look) in [(service, " thin dash light"), (response, "")] {
            let Some(hdr) = detail.histogram(metric) else { continue };
            let curve = curve(hdr);
            let points: Vec<_> =
                curve.iter().map(|(inverse, ms)| Some((x.at(*inverse), y.at(*ms)))).collect();
            canvas.path(&points, &format!("line l{tint}{look}"));
            if let (true, Some(Some(end))) = (metric == response, points.last()) {
                labels.push((*end, short_label(scene, detail), tint));
            }
        }
        for (inverse, value) in detail.histogram(response).map(curve).unwrap_or_default() {
            let label = detail.label.clone();
            picture.rows.push(vec![label, format!("{:.4}", 100.0 * (1.0 - 1.0 / inverse)), ms(value * 1e6)]);
        }
    }
    let what = match (several, several_rates(scene)) {
        (true, _) => "line, partitions",
        (false, true) => "records/s",
        (false, false) => "partitions",
    };
    canvas.text(frame.right + 5.0, frame.top - 9.0, Anchor::Start, "unit", what);
    let places =
        spread(&labels.iter().map(|((_, y), ..)| *y).collect::<Vec<_>>(), 13.5, frame.top, frame.bottom);
    for ((_, text, tint), at) in labels.iter().zip(places) {
        canvas.text(frame.right + 5.0, at + 4.0, Anchor::Start, &format!("label f{tint}"), text);
    }
    picture.head = ["cell", "percentile", "response ms"].map(str::to_owned).into();
    Some(picture.drawn(canvas, HEIGHT))
}

/// The cells to draw: no more than there are colours.
fn shown<'a, 'b>(scene: &'b Scene<'a>) -> Vec<&'b Detail<'a>> {
    let all: Vec<&Detail> = scene.open().collect();
    if all.len() <= DATA_COLOURS {
        return all;
    }
    let mut last: Vec<&Detail> = Vec::new();
    for detail in &all {
        match last.iter_mut().find(|known| known.short == detail.short) {
            Some(known) => *known = detail,
            None => last.push(detail),
        }
    }
    if last.len() > 1 {
        last.truncate(DATA_COLOURS);
        return last;
    }
    (0..DATA_COLOURS).map(|i| all[i * (all.len() - 1) / (DATA_COLOURS - 1)]).collect()
}

/// The lines are of one partition count and several rates.
fn several_rates(scene: &Scene) -> bool {
    let mut cells = scene.open().map(|detail| detail.cell);
    let Some(first) = cells.next() else { return false };
    let mut differ = false;
    for cell in cells {
        if cell.parameters.partitions != first.parameters.partitions {
            return false;
        }
        differ |= cell.offered_records_per_s != first.offered_records_per_s;
    }
    differ
}

/// What tells a line from the others, as short as it can be.
fn short_label(scene: &Scene, detail: &Detail) -> String {
    if scene.tested().count() > 1 {
        let partitions = or_missing(detail.cell.parameters.partitions, count);
        return format!("{}, {partitions}", detail.short);
    }
    if several_rates(scene) {
        return or_missing(detail.cell.offered_records_per_s, si);
    }
    or_missing(detail.cell.parameters.partitions, count)
}

/// `(1/(1-p), ms)` from the median's side up to the last place with support.
fn curve(hdr: &Hdr<u64>) -> Vec<(f64, f64)> {
    let end = hdr.len() as f64 / SUPPORT as f64;
    let mut out = Vec::new();
    for step in 0.. {
        let inverse = 10f64.powf(f64::from(step) / f64::from(STEPS));
        if inverse > end {
            break;
        }
        let ns = hdr.value_at_quantile(1.0 - 1.0 / inverse);
        out.push((inverse, ns.max(1) as f64 / 1e6));
    }
    out
}
