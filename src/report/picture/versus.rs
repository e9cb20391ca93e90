//! Two subjects side by side: every pair as a dot beside its estimate and the noise floor, all ratios as one map,
//! and latency over offered load.
//!
//! Ratios are A over B on a logarithmic axis, so twice and half are equally far from 1. A row that shows no
//! difference is grey, whatever its ratio; void pairs are hollow and count nowhere.

use super::super::figures::{count, ms, or_missing, si, significant, tick};
use super::super::run::{Cell, Comparison, Outcome, Versus};
use super::super::svg::{Anchor, Canvas, Scale, text_width};
use super::super::verdict;
use super::{Frame, HEAD, Picture, Scene, Section, WIDTH, colour, head, x_unit, y_axis};

const ROW: f64 = 32.0;
/// Rows of one picture; a longer plot is no longer read.
const ROWS_MAX: usize = 40;

type Shown<'a> = (&'a Comparison, &'a Versus);

/// The rows of one measure, for pictures of it: floors last.
fn measures<'a>(scene: &Scene<'a>) -> Vec<(&'a str, Vec<Shown<'a>>)> {
    let mut out: Vec<(&str, Vec<Shown>)> = Vec::new();
    for (comparison, versus) in verdict::rows(scene.run) {
        match out.iter_mut().find(|(what, _)| *what == versus.what) {
            Some((_, rows)) => rows.push((comparison, versus)),
            None => out.push((&versus.what, vec![(comparison, versus)])),
        }
    }
    out.iter_mut().for_each(|(_, rows)| rows.sort_by_key(|(_, versus)| verdict::is_floor(versus)));
    out
}

fn label(versus: &Versus) -> String {
    let (place, settings) = label_lines(versus);
    format!("{place}, {settings}")
}

fn label_lines(versus: &Versus) -> (String, String) {
    let settings = if verdict::is_floor(versus) { "A against A" } else { &versus.pairing };
    (versus.place.clone(), format!("{} cores, {settings}", versus.view))
}

/// One picture per measure.
pub(super) fn pairs(scene: &Scene) -> Vec<Picture> {
    measures(scene).into_iter().filter_map(|(what, rows)| pair_plot(scene, what, &rows)).collect()
}

fn pair_plot(scene: &Scene, what: &str, rows: &[Shown]) -> Option<Picture> {
    let rows = &rows[..rows.len().min(ROWS_MAX)];
    let values = rows.iter().flat_map(|(comparison, versus)| {
        let ends = [comparison.ratio, comparison.ci_low, comparison.ci_high];
        versus.effects.iter().map(|effect| effect.ratio).chain(ends)
    });
    let values: Vec<f64> = values.flatten().filter(|v| v.is_finite() && *v > 0.0).collect();
    let (low, high) = (values.iter().copied().reduce(f64::min)?, values.iter().copied().reduce(f64::max)?);
    let name = format!("pairs-{}", slug(what));
    let title = format!("Pairs: {what}, A/B ({})", scene.class);
    let mut picture = Picture::new(&name, title.clone(), Section::Verdict);
    let mut canvas = Canvas::default();
    let lower = rows.first().is_some_and(|(_, versus)| versus.lower_is_better);
    let better = if lower { "left of 1 A is better" } else { "right of 1 A is better" };
    head(
        &mut canvas,
        &title,
        &format!("dots: pairs (hollow: void); bar: 95 % interval; band: noise floor; {better}"),
    );
    let bottom = HEAD + 14.0 + ROW * rows.len() as f64;
    let frame = Frame { left: 238.0, right: WIDTH - 24.0, top: HEAD + 10.0, bottom };
    let x = Scale::log10(low.min(0.9), high.max(1.1), frame.left, frame.right);
    for value in x.small_ticks() {
        let at = x.at(value);
        canvas.line((at, frame.top), (at, frame.bottom), "faint");
    }
    let mut free_from = f64::NEG_INFINITY;
    for value in x.ticks() {
        let at = x.at(value);
        canvas.line((at, frame.top), (at, frame.bottom), "grid");
        let text = format!("{}x", tick(value));
        let half = text_width(&text, 11.5) / 2.0;
        if at - half >= free_from {
            canvas.text(at, frame.bottom + 16.0, Anchor::Middle, "tick", &text);
            free_from = at + half + 6.0;
        }
    }
    let one = x.at(1.0);
    canvas.line((one, frame.top), (one, frame.bottom), "axis");
    for (place, (comparison, versus)) in rows.iter().enumerate() {
        let middle = frame.top + 4.0 + ROW * (place as f64 + 0.5);
        let (place_text, settings) = label_lines(versus);
        let left = frame.left - 8.0;
        canvas.text(left, middle - 1.0, Anchor::End, "label", &fitted(&place_text, "label", 214.0));
        canvas.text(left, middle + 12.0, Anchor::End, "tick small", &settings);
        if let Some(floor) = comparison.floor_ratio {
            let (from, to) = (x.at(1.0 / (1.0 + floor)), x.at(1.0 + floor));
            canvas.rect(
                from,
                middle - 9.0,
                to - from,
                18.0,
                "fs pale",
                Some(&format!("noise floor {:.2} %", floor * 100.0)),
            );
        }
        let tint = tint(versus.outcome);
        for effect in &versus.effects {
            let Some(ratio) = effect.ratio else { continue };
            let first = if effect.a_first { "A first" } else { "B first" };
            let state = if effect.void { ", void" } else { "" };
            let hover = format!("pair {}, {first}: {}{state}", effect.pair + 1, times(ratio));
            let (class, radius) =
                if effect.void { ("hollow ln".to_owned(), 2.5) } else { (format!("{tint} medium"), 2.8) };
            canvas.dot(x.at(ratio), middle - 3.0, radius, &class, Some(&hover));
        }
        if let (Some(low), Some(high)) = (comparison.ci_low, comparison.ci_high) {
            canvas.rect(
                x.at(low),
                middle + 4.0,
                (x.at(high) - x.at(low)).max(1.5),
                3.0,
                tint,
                Some("95 % interval"),
            );
        }
        if let Some(ratio) = comparison.ratio {
            let text = comparison.claim.as_deref().unwrap_or("no claim");
            canvas.rect(x.at(ratio) - 1.5, middle - 8.0, 3.0, 16.0, tint, Some(text));
        }
        let shown = |v: Option<f64>| or_missing(v, |v| significant(v, 4));
        let dots: Vec<String> = versus.effects.iter().filter(|e| !e.void).map(|e| shown(e.ratio)).collect();
        picture.rows.push(vec![
            label(versus),
            shown(comparison.ratio),
            shown(comparison.ci_low),
            shown(comparison.ci_high),
            or_missing(comparison.pairs, count),
            or_missing(comparison.floor_ratio, |v| format!("{:.2} %", v * 100.0)),
            or_missing(comparison.p_holm, |p| significant(p, 2)),
            dots.join(" "),
        ]);
    }
    picture.head =
        ["row", "A/B", "low", "high", "pairs", "floor", "p (Holm)", "valid pairs"].map(str::to_owned).into();
    Some(picture.drawn(canvas, bottom + 30.0))
}

/// All rows over all measures: ratios, coloured where a difference is claimed.
pub(super) fn map(scene: &Scene) -> Option<Picture> {
    let measures = measures(scene);
    let mut places: Vec<(String, &Versus)> = Vec::new();
    for (_, versus) in verdict::rows(scene.run).filter(|(_, versus)| !verdict::is_floor(versus)) {
        let text = label(versus);
        if !places.iter().any(|(known, _)| *known == text) {
            places.push((text, versus));
        }
    }
    if places.is_empty() {
        return None;
    }
    let title = format!("Ratio per cell, A/B ({})", scene.class);
    let mut picture = Picture::new("ratios", title.clone(), Section::Verdict);
    let mut canvas = Canvas::default();
    head(
        &mut canvas,
        &title,
        "green: A is better; orange: A is worse; grey: no difference shown, or no claim",
    );
    let (left, top) = (190.0, HEAD + 48.0);
    let width = (WIDTH - left - 16.0) / measures.len().max(1) as f64;
    for (column, (what, _)) in measures.iter().enumerate() {
        let middle = left + width * (column as f64 + 0.5);
        let lines = wrapped(what, 9);
        for (line, text) in lines.iter().enumerate() {
            let up = 11.0 * (lines.len() - line) as f64;
            canvas.text(middle, top + 4.0 - up, Anchor::Middle, "tick small", text);
        }
    }
    for (row, (place, versus)) in places.iter().enumerate() {
        let y = top + ROW * row as f64;
        let (first, second) = label_lines(versus);
        canvas.text(left - 8.0, y + 14.0, Anchor::End, "label small", &fitted(&first, "small", left - 16.0));
        canvas.text(left - 8.0, y + 26.0, Anchor::End, "tick small", &second);
        let mut figures = vec![place.clone()];
        for (column, (_, rows)) in measures.iter().enumerate() {
            let found = rows.iter().find(|(_, versus)| !verdict::is_floor(versus) && label(versus) == *place);
            let text = found.and_then(|(comparison, _)| comparison.ratio).map(|ratio| significant(ratio, 2));
            figures.push(text.clone().unwrap_or_default());
            let Some((comparison, versus)) = found else { continue };
            let x = left + width * column as f64;
            let strength = comparison.ratio.map_or(0.0, |ratio| ratio.ln().abs());
            let class = match versus.outcome {
                Outcome::Better | Outcome::Worse if strength > 10f64.ln() => {
                    format!("{} medium", tint(versus.outcome))
                }
                Outcome::Better | Outcome::Worse => format!("{} pale", tint(versus.outcome)),
                Outcome::NotShown | Outcome::NoClaim => "fg pale".to_owned(),
            };
            let hover = comparison.claim.as_deref().unwrap_or("no claim");
            canvas.rect(x + 1.0, y + 1.0, width - 2.0, ROW - 2.0, &class, Some(hover));
            let text = text.unwrap_or_else(|| "–".to_owned());
            canvas.text(x + width / 2.0, y + ROW / 2.0 + 4.0, Anchor::Middle, "label small", &text);
        }
        picture.rows.push(figures);
    }
    picture.head =
        std::iter::once("row").chain(measures.iter().map(|(what, _)| *what)).map(str::to_owned).collect();
    Some(picture.drawn(canvas, top + ROW * places.len() as f64 + 16.0))
}

/// p99 and p50 over offered load, where a subject has more than one load; dotted lines are its saturation.
pub(super) fn loads(scene: &Scene) -> Vec<Picture> {
    scene.partition_counts().into_iter().filter_map(|partitions| load_curve(scene, partitions)).collect()
}

fn load_curve(scene: &Scene, partitions: u64) -> Option<Picture> {
    let at = |cells: &[&'_ Cell]| -> Vec<Cell> {
        let here = cells.iter().filter(|cell| cell.parameters.partitions == Some(partitions));
        here.map(|cell| (*cell).clone()).collect()
    };
    let lines: Vec<(usize, &str, Vec<Cell>, Vec<Cell>)> = scene
        .tested()
        .enumerate()
        .map(|(place, line)| (place, line.short.as_str(), at(&line.open), at(&line.closed)))
        .filter(|(_, _, open, _)| open.len() > 1)
        .collect();
    let latencies: Vec<f64> = lines
        .iter()
        .flat_map(|(_, _, open, _)| open)
        .flat_map(|cell| [cell.produce_response_ns.p50, cell.produce_response_ns.p99])
        .flatten()
        .map(|ns| ns as f64 / 1e6)
        .collect();
    let saturation = |closed: &[Cell]| closed.first().and_then(super::super::lines::shown_records_per_s);
    let rates: Vec<f64> = lines
        .iter()
        .flat_map(|(_, _, open, closed)| {
            open.iter().map(|cell| cell.offered_records_per_s).chain([saturation(closed)])
        })
        .flatten()
        .collect();
    let ends = |values: &[f64]| {
        Some((values.iter().copied().reduce(f64::min)?, values.iter().copied().reduce(f64::max)?))
    };
    let ((low, high), (slow, fast)) = (ends(&latencies)?, ends(&rates)?);
    let word = if partitions == 1 { "partition" } else { "partitions" };
    let title =
        format!("Produce latency over offered load, {} {word}, ms ({})", count(partitions), scene.class);
    let mut picture = Picture::new(&format!("load-{partitions}"), title.clone(), Section::Latency);
    let mut canvas = Canvas::default();
    head(
        &mut canvas,
        &title,
        "open loop; thick p99, thin p50; dotted where the subject saturates; lower is better",
    );
    let frame = Frame { left: 58.0, right: WIDTH - 130.0, top: HEAD + 28.0, bottom: 300.0 };
    let y = Scale::log10(low, high, frame.bottom, frame.top);
    let x = Scale::log10(slow, fast, frame.left + 8.0, frame.right - 8.0);
    y_axis(&mut canvas, frame, &y, "ms", tick);
    canvas.line((frame.left, frame.bottom), (frame.right, frame.bottom), "axis");
    for value in x.ticks() {
        canvas.text(x.at(value), frame.bottom + 17.0, Anchor::Middle, "tick", &si(value));
    }
    x_unit(&mut canvas, frame, "offered records/s");
    let mut labels = Vec::new();
    for (place, name, open, closed) in &lines {
        let tint = colour(*place);
        for (part, look) in [("p99", ""), ("p50", " thin light")] {
            let value = |cell: &Cell| {
                let p = &cell.produce_response_ns;
                if part == "p99" { p.p99 } else { p.p50 }
            };
            let point =
                |cell: &Cell| Some((x.at(cell.offered_records_per_s?), y.at(value(cell)? as f64 / 1e6)));
            let points: Vec<_> = open.iter().map(point).collect();
            canvas.path(&points, &format!("line l{tint}{look}"));
            for cell in open {
                if let (Some((left, top)), Some(ns)) = (point(cell), value(cell)) {
                    let hover = format!("{name}: {part} {} ms", ms(ns as f64));
                    canvas.dot(left, top, 3.0, &format!("f{tint}"), Some(&hover));
                }
            }
            if let (Some((_, last)), "p99") = (points.iter().flatten().next_back(), part) {
                labels.push((*last, (*name).to_owned(), tint));
            }
        }
        if let Some(rate) = saturation(closed) {
            canvas.line((x.at(rate), frame.top), (x.at(rate), frame.bottom), &format!("l{tint} dots"));
        }
        for cell in open {
            let p = &cell.produce_response_ns;
            let shown = |ns: Option<u64>| or_missing(ns, |ns| ms(ns as f64));
            picture.rows.push(vec![
                (*name).to_owned(),
                or_missing(cell.offered_records_per_s, si),
                shown(p.p50),
                shown(p.p99),
                shown(p.p99_9),
                shown(p.max),
            ]);
        }
    }
    let wanted: Vec<f64> = labels.iter().map(|(y, ..)| *y).collect();
    let places = super::super::svg::spread(&wanted, 13.5, frame.top, frame.bottom);
    for ((_, name, tint), at) in labels.iter().zip(places) {
        canvas.text(
            frame.right + 4.0,
            at + 4.0,
            Anchor::Start,
            &format!("label f{tint}"),
            &fitted(name, "label", 124.0),
        );
    }
    picture.head = ["line", "offered", "p50", "p99", "p99.9", "max"].map(str::to_owned).into();
    Some(picture.drawn(canvas, 344.0))
}

/// Green, orange, grey.
fn tint(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Better => "f2",
        Outcome::Worse => "f1",
        Outcome::NotShown | Outcome::NoClaim => "fn",
    }
}

fn times(ratio: f64) -> String {
    format!("{}x", significant(ratio, 3))
}

fn slug(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect()
}

/// Lines of whole words, about so many letters each.
fn wrapped(text: &str, letters: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= letters => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Cut at the end where it would run over what stands beside it.
fn fitted(text: &str, class: &str, width: f64) -> String {
    let size = if class.ends_with("small") { 10.5 } else { 11.5 };
    if text_width(text, size) <= width {
        return text.to_owned();
    }
    let mut out = String::new();
    for c in text.chars() {
        if text_width(&out, size) + 2.0 * size > width {
            break;
        }
        out.push(c);
    }
    out.push('…');
    out
}
