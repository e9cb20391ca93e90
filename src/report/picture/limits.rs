//! How far the subject is from what the machine allows: the share of the null broker, and the physical limits.
//!
//! With three or more batch sizes the limits are drawn over the batch size (a roofline); with fewer that picture
//! would be a single column, so they become a ladder: one rung per limit, results among them, on one axis.

use super::super::figures::{bytes, change, count, or_missing, percent, si, significant, tick, with_unit};
use super::super::lines::shown_bytes_per_s;
use super::super::run::{Cell, Role};
use super::super::svg::{Anchor, Canvas, Scale, spread};
use super::super::table::{LimitLine, limits};
use super::{
    Frame, HEAD, Picture, Scene, Section, WIDTH, cell_flags, colour, head, partitions_text, x_unit, y_axis,
};

pub(super) fn efficiency(scene: &Scene) -> Option<Picture> {
    let cells: Vec<(usize, &str, &Cell)> = scene
        .tested()
        .enumerate()
        .flat_map(|(place, line)| line.closed.iter().map(move |cell| (place, line.short.as_str(), *cell)))
        .filter(|(_, _, cell)| cell.rate_efficiency.is_some() || cell.cpu_efficiency.is_some())
        .collect();
    if cells.is_empty() {
        return None;
    }
    let variant =
        cells.iter().find_map(|(_, _, cell)| cell.null_variant.as_deref()).unwrap_or("variant not named");
    let title = format!("Share of the null broker, % ({})", scene.class);
    let mut picture = Picture::new("efficiency", title.clone(), Section::Throughput);
    let mut canvas = Canvas::default();
    head(
        &mut canvas,
        &title,
        &format!("null broker {variant} = 100 %, same cell, same cores; higher is better"),
    );
    canvas.rect(16.0, HEAD + 2.0, 11.0, 11.0, "f0", None);
    canvas.text(32.0, HEAD + 11.5, Anchor::Start, "tick", "CPU per record");
    canvas.rect(150.0, HEAD + 2.0, 11.0, 11.0, "f0 pale", None);
    canvas.text(166.0, HEAD + 11.5, Anchor::Start, "tick", "records/s (≤: the null broker was client-bound)");

    let several = scene.tested().count() > 1;
    let frame = Frame {
        left: if several { 176.0 } else { 58.0 },
        right: WIDTH - 96.0,
        top: HEAD + 30.0,
        bottom: HEAD + 30.0 + 44.0 * cells.len() as f64 + 6.0,
    };
    let high = cells
        .iter()
        .flat_map(|(_, _, c)| [c.rate_efficiency, c.cpu_efficiency])
        .flatten()
        .fold(1.0, f64::max);
    let x = Scale::from_zero(high * 100.0, frame.left, frame.right);
    for value in x.ticks() {
        let class = if value == 0.0 || value == 100.0 { "axis" } else { "grid" };
        canvas.line((x.at(value), frame.top), (x.at(value), frame.bottom), class);
        canvas.text(x.at(value), frame.bottom + 15.0, Anchor::Middle, "tick", &tick(value));
    }
    for (i, (place, label, cell)) in cells.iter().enumerate() {
        let top = frame.top + 8.0 + 44.0 * i as f64;
        let partitions = or_missing(cell.parameters.partitions, count);
        let text = if several { format!("{label}, {partitions}") } else { partitions.clone() };
        let text = super::throughput::wrapped(&text, frame.left - 20.0)[0].clone();
        canvas.text(frame.left - 8.0, top + 20.0, Anchor::End, "tick", &text);
        let upper = cell.rate_efficiency_is_upper_bound == Some(true);
        let tint = colour(*place);
        for (offset, value, class, sign) in [
            (0.0, cell.cpu_efficiency, format!("f{tint}"), ""),
            (17.0, cell.rate_efficiency, format!("f{tint} pale"), if upper { "≤ " } else { "" }),
        ] {
            let Some(value) = value else { continue };
            let width = x.at(value * 100.0) - frame.left;
            let text = format!("{sign}{}", percent(value));
            canvas.rect(frame.left, top + offset, width, 14.0, &class, Some(&text));
            canvas.text(frame.left + width + 6.0, top + offset + 11.0, Anchor::Start, "label", &text);
        }
        canvas.text(WIDTH - 12.0, top + 20.0, Anchor::End, "flag small", &cell_flags(cell).join(", "));
        picture.rows.push(vec![
            (*label).to_owned(),
            partitions,
            or_missing(cell.cpu_efficiency, percent),
            or_missing(cell.rate_efficiency, percent),
            (if upper { "yes" } else { "no" }).to_owned(),
        ]);
    }
    picture.head = ["line", "partitions", "CPU", "rate", "rate is an upper bound"].map(str::to_owned).into();
    let bottom = frame.bottom;
    Some(picture.drawn(canvas, bottom + 28.0))
}

pub(super) fn roofs(scene: &Scene) -> Option<Picture> {
    let limits: Vec<LimitLine> =
        limits(scene.run).into_iter().filter(|l| l.unit == "B/s" && l.value() > 0.0).collect();
    if limits.is_empty() {
        return None;
    }
    let mut sizes: Vec<u64> = results(scene).iter().filter_map(|(_, cell)| batch_bytes(cell)).collect();
    sizes.sort_unstable();
    sizes.dedup();
    let title = if sizes.len() >= 3 { "Roofline: MB/s over batch bytes" } else { "Roofs and results, MB/s" };
    let title = format!("{title} ({})", scene.class);
    let mut picture = Picture::new("roofs", title.clone(), Section::Throughput);
    picture.head =
        ["limit or result", "bytes", "files", "value", "CPU ns/KiB", "drift"].map(str::to_owned).into();
    for limit in &limits {
        picture.rows.push(vec![
            limit.name.clone(),
            or_missing(limit.bytes, count),
            or_missing(limit.files, count),
            with_unit(limit.value(), &limit.unit),
            or_missing(limit.cpu_ns_per_kib, |v| significant(v, 3)),
            or_missing(limit.drift(), change),
        ]);
    }
    for (label, cell) in results(scene) {
        picture.rows.push(vec![
            format!("{label}, {}", partitions_text(cell)),
            or_missing(batch_bytes(cell), count),
            or_missing(cell.parameters.partitions, count),
            or_missing(shown_bytes_per_s(cell), |v| with_unit(v, "B/s")),
            String::new(),
            String::new(),
        ]);
    }
    Some(if sizes.len() >= 3 {
        roofline(scene, picture, &title, &limits)
    } else {
        ladder(scene, picture, &title, &limits)
    })
}

/// Saturated cells that may show a throughput, with the label of their line.
fn results<'a>(scene: &'a Scene<'a>) -> Vec<(&'a str, &'a Cell)> {
    let lines = scene.lines.iter();
    lines
        .flat_map(|line| line.closed.iter().map(move |cell| (line.label.as_str(), *cell)))
        .filter(|(_, cell)| shown_bytes_per_s(cell).is_some_and(|v| v > 0.0))
        .collect()
}

fn batch_bytes(cell: &Cell) -> Option<u64> {
    let p = &cell.parameters;
    p.batch_bytes.or_else(|| Some(p.batch_records? * p.record_bytes?))
}

fn tint(scene: &Scene, label: &str) -> String {
    match scene.lines.iter().position(|line| line.label == label) {
        Some(place) if !scene.lines[place].is_null_broker => colour(place).to_string(),
        _ => "n".to_owned(),
    }
}

/// One rung per limit, the best first, results between them.
fn ladder(scene: &Scene, picture: Picture, title: &str, limits: &[LimitLine]) -> Picture {
    struct Rung {
        label: String,
        first: f64,
        last: f64,
        tint: Option<String>,
        flags: String,
    }
    let mut rungs: Vec<Rung> = limits
        .iter()
        .map(|limit| Rung {
            label: limit.title(),
            first: limit.value(),
            last: limit.values[limit.values.len() - 1].1,
            tint: None,
            flags: String::new(),
        })
        .collect();
    // A line is one rung from its lowest to its highest cell; the figures under the picture have each.
    for line in scene.lines.iter().filter(|line| !line.closed.is_empty()) {
        let values = || line.closed.iter().filter_map(|cell| shown_bytes_per_s(cell)).filter(|v| *v > 0.0);
        let (Some(low), Some(high)) = (values().reduce(f64::min), values().reduce(f64::max)) else {
            continue;
        };
        let mut flags: Vec<String> = line.closed.iter().flat_map(|cell| cell_flags(cell)).collect();
        flags.sort();
        flags.dedup();
        rungs.push(Rung {
            label: line.short.clone(),
            first: high,
            last: low,
            tint: Some(tint(scene, &line.label)),
            flags: flags.join(", "),
        });
    }
    rungs.sort_by(|a, b| b.first.total_cmp(&a.first));

    let mut canvas = Canvas::default();
    head(
        &mut canvas,
        title,
        "logarithmic; second dots: a limit's last pass, a subject's lowest partition count",
    );
    let frame = Frame {
        left: 222.0,
        right: WIDTH - 84.0,
        top: HEAD + 16.0,
        bottom: HEAD + 24.0 + 19.0 * rungs.len() as f64,
    };
    let values = || rungs.iter().flat_map(|rung| [rung.first, rung.last]).map(|v| v / 1e6);
    let (low, high) = (values().fold(f64::INFINITY, f64::min), values().fold(0.0, f64::max));
    let x = Scale::log10(low, high, frame.left, frame.right);
    for tick in x.ticks() {
        canvas.line((x.at(tick), frame.top), (x.at(tick), frame.bottom), "grid");
        canvas.text(x.at(tick), frame.bottom + 15.0, Anchor::Middle, "tick", &si(tick));
    }
    canvas.text(frame.right + 12.0, frame.bottom + 15.0, Anchor::Start, "unit", "MB/s");
    for (i, rung) in rungs.iter().enumerate() {
        let y = frame.top + 14.0 + 19.0 * i as f64;
        let (fill, look, label) = match &rung.tint {
            Some(tint) => (format!("f{tint}"), format!("line thin l{tint}"), format!("label f{tint}")),
            None => ("fn".to_owned(), "roof".to_owned(), "tick".to_owned()),
        };
        let text = super::throughput::wrapped(&rung.label, frame.left - 20.0)[0].clone();
        canvas.text(frame.left - 10.0, y + 4.0, Anchor::End, &label, &text);
        let (first, last) = (x.at(rung.first / 1e6), x.at(rung.last / 1e6));
        canvas.line((frame.left, y), (first, y), &look);
        let (one, other) =
            if rung.tint.is_some() { ("highest", "lowest") } else { ("first pass", "last pass") };
        let hover = format!("{}, {one}: {}", rung.label, with_unit(rung.first, "B/s"));
        if rung.last != rung.first {
            let hover = format!("{}, {other}: {}", rung.label, with_unit(rung.last, "B/s"));
            canvas.dot(last, y, 3.5, &format!("{fill} medium"), Some(&hover));
        }
        canvas.dot(first, y, if rung.tint.is_some() { 4.5 } else { 3.5 }, &fill, Some(&hover));
        let end = first.max(last) + 8.0;
        let value = significant(rung.first / 1e6, 3);
        canvas.text(end, y + 4.0, Anchor::Start, &label, &value);
        if !rung.flags.is_empty() {
            let at = end + super::super::svg::text_width(&value, 11.5) + 8.0;
            canvas.text(at, y + 4.0, Anchor::Start, "flag small", &rung.flags);
        }
    }
    let bottom = frame.bottom;
    picture.drawn(canvas, bottom + 28.0)
}

/// Roofs over the batch size, results as points.
fn roofline(scene: &Scene, picture: Picture, title: &str, limits: &[LimitLine]) -> Picture {
    const HEIGHT: f64 = 372.0;
    let mut canvas = Canvas::default();
    head(
        &mut canvas,
        title,
        "both axes logarithmic; grey are limits of the machine, coloured are results at saturation",
    );
    let frame = Frame { left: 62.0, right: WIDTH - 150.0, top: HEAD + 28.0, bottom: HEIGHT - 52.0 };
    let found = results(scene);
    let sizes = || {
        let cells = found.iter().filter_map(|(_, cell)| batch_bytes(cell));
        cells.chain(limits.iter().filter_map(|l| l.bytes)).map(|b| b as f64)
    };
    let values = || {
        let results = found.iter().filter_map(|(_, cell)| shown_bytes_per_s(cell));
        results.chain(limits.iter().map(LimitLine::value)).map(|v| v / 1e6)
    };
    let x = Scale::log2(
        sizes().fold(f64::INFINITY, f64::min),
        sizes().fold(1.0, f64::max),
        frame.left + 8.0,
        frame.right - 8.0,
    );
    let y = Scale::log10(
        values().fold(f64::INFINITY, f64::min),
        values().fold(0.0, f64::max),
        frame.bottom,
        frame.top,
    );
    y_axis(&mut canvas, frame, &y, "MB/s", si);
    canvas.line((frame.left, frame.bottom), (frame.right, frame.bottom), "axis");
    let ticks = x.ticks();
    // About 60 px hold the longest label.
    let every = (ticks.len() as f64 * 60.0 / (frame.right - frame.left)).ceil().max(1.0) as usize;
    for tick in ticks.into_iter().step_by(every) {
        canvas.text(x.at(tick), frame.bottom + 17.0, Anchor::Middle, "tick", &bytes(tick));
    }
    x_unit(&mut canvas, frame, "batch bytes");

    let mut labels: Vec<(f64, String, String)> = Vec::new();
    let mut names: Vec<&str> = limits.iter().map(|limit| limit.name.as_str()).collect();
    names.dedup();
    for name in names {
        let mut points: Vec<(f64, f64)> = limits
            .iter()
            .filter(|limit| limit.name == name)
            .filter_map(|limit| Some((limit.bytes? as f64, limit.value() / 1e6)))
            .collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        let Some(last) = points.last().copied() else { continue };
        // A limit measured at one size is a roof over all of them.
        let line: Vec<_> = match points.len() {
            1 => vec![Some((frame.left, y.at(last.1))), Some((frame.right, y.at(last.1)))],
            _ => points.iter().map(|(b, v)| Some((x.at(*b), y.at(*v)))).collect(),
        };
        canvas.path(&line, "line ln thin dash");
        labels.push((y.at(last.1), name.to_owned(), "note".to_owned()));
    }
    for line in &scene.lines {
        let tint = tint(scene, &line.label);
        for cell in &line.closed {
            let (Some(size), Some(value)) = (batch_bytes(cell), shown_bytes_per_s(cell)) else { continue };
            let (left, top) = (x.at(size as f64), y.at(value / 1e6));
            let hover = format!("{}, {}: {}", line.label, partitions_text(cell), with_unit(value, "B/s"));
            let radius = if cell.role == Role::NullBroker { 3.0 } else { 4.5 };
            canvas.dot(left, top, radius, &format!("f{tint}"), Some(&hover));
        }
    }
    let places = spread(&labels.iter().map(|(y, ..)| *y).collect::<Vec<_>>(), 13.0, frame.top, frame.bottom);
    for ((_, text, class), at) in labels.iter().zip(places) {
        canvas.text(frame.right + 6.0, at + 4.0, Anchor::Start, class, text);
    }
    picture.drawn(canvas, HEIGHT)
}
