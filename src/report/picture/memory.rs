//! Resident memory over partition counts, from zero, with what one more partition costs.

use super::super::figures::{bytes, count, mib, or_missing, tick};
use super::super::run::Cell;
use super::super::statistics::slope;
use super::super::svg::{Anchor, Canvas, Scale, spread};
use super::{
    Frame, HEAD, Picture, Scene, Section, WIDTH, cell_flags, colour, head, partitions_axis, partitions_scale,
    partitions_text, y_axis,
};

const HEIGHT: f64 = 340.0;

type Part = (&'static str, &'static str, fn(&Cell) -> Option<u64>);

const PARTS: [Part; 3] = [
    ("peak", " thin dots", |cell| cell.rss_bytes_max),
    ("RSS", "", |cell| cell.rss_bytes),
    ("PSS", " thin dash light", |cell| cell.pss_bytes),
];

pub(super) fn draw(scene: &Scene) -> Option<Picture> {
    let counts = scene.partition_counts();
    // At the fixed rate, where every cell does the same work; at saturation when there is no such cell.
    let cells_of = |line: &super::Line<'_>| -> Vec<Cell> {
        let has = |cells: &[&Cell]| cells.iter().any(|cell| cell.rss_bytes.is_some());
        let chosen = if has(&line.open) { &line.open } else { &line.closed };
        chosen.iter().map(|cell| (*cell).clone()).collect()
    };
    let values = scene.tested().flat_map(cells_of).flat_map(|cell| PARTS.map(|(_, _, value)| value(&cell)));
    let high = values.flatten().max()? as f64;
    if counts.is_empty() {
        return None;
    }
    let title = format!("Resident memory over partitions, MiB ({})", scene.class);
    let mut picture = Picture::new("memory", title.clone(), Section::Cost);
    let mut canvas = Canvas::default();
    head(
        &mut canvas,
        &title,
        "of the subject's process, page cache aside; dotted peak, dashed PSS; lower is better",
    );
    let frame = Frame {
        left: 58.0,
        right: WIDTH - if scene.tested().count() > 1 { 130.0 } else { 84.0 },
        top: HEAD + 28.0,
        bottom: HEIGHT - 52.0,
    };
    let y = Scale::from_zero(high / f64::from(1 << 20), frame.bottom, frame.top);
    let x = partitions_scale(frame, &counts);
    y_axis(&mut canvas, frame, &y, "MiB", tick);
    partitions_axis(&mut canvas, frame, &x, &counts);

    let several = scene.tested().count() > 1;
    let mut labels = Vec::new();
    for (place, line) in scene.tested().enumerate() {
        let tint = colour(place);
        let cells = cells_of(line);
        for (part, look, value) in PARTS {
            let at = |cell: &Cell| {
                let mib = value(cell)? as f64 / f64::from(1 << 20);
                Some((x.at(cell.parameters.partitions? as f64), y.at(mib)))
            };
            let points: Vec<_> = cells.iter().map(at).collect();
            canvas.path(&points, &format!("line l{tint}{look}"));
            if let Some((_, last)) = points.iter().flatten().next_back() {
                match (several, part) {
                    (false, _) => labels.push((*last, part.to_owned(), tint)),
                    (true, "RSS") => labels.push((*last, line.short.clone(), tint)),
                    (true, _) => {}
                }
            }
            for (cell, point) in cells.iter().zip(&points) {
                if let (Some((left, top)), true) = (point, part == "RSS") {
                    let text = or_missing(value(cell), |v| mib(v as f64));
                    let hover = format!("{}, {}: {text} MiB", line.label, partitions_text(cell));
                    canvas.dot(*left, *top, 4.0, &format!("f{tint}"), Some(&hover));
                }
            }
        }
        for cell in &cells {
            let value = |v: Option<u64>| or_missing(v, |v| mib(v as f64));
            picture.rows.push(vec![
                line.label.clone(),
                or_missing(cell.parameters.partitions, count),
                value(cell.rss_bytes),
                value(cell.rss_bytes_max),
                value(cell.pss_bytes),
                cell_flags(cell).join(" "),
            ]);
        }
        let points: Vec<(f64, f64)> = cells
            .iter()
            .filter_map(|cell| Some((cell.parameters.partitions? as f64, cell.rss_bytes? as f64)))
            .collect();
        if let Some(slope) = slope(&points) {
            let amount = if slope < 0.0 { "no growth seen".to_owned() } else { bytes(slope) };
            let who = if several { format!("{}: ", line.short) } else { String::new() };
            let text = format!(
                "{who}{amount} per partition{}",
                if several { "" } else { " (median slope over the sweep)" }
            );
            let top = frame.top + 12.0 + 15.0 * place as f64;
            canvas.text(frame.left + 6.0, top, Anchor::Start, &format!("label f{tint}"), &text);
        }
    }
    let places =
        spread(&labels.iter().map(|(y, _, _)| *y).collect::<Vec<_>>(), 13.5, frame.top, frame.bottom);
    for ((_, label, tint), at) in labels.iter().zip(places) {
        canvas.text(frame.right + 4.0, at + 4.0, Anchor::Start, &format!("label f{tint}"), label);
    }
    picture.head = ["line", "partitions", "RSS", "peak", "PSS", "flags"].map(str::to_owned).into();
    Some(picture.drawn(canvas, HEIGHT))
}
