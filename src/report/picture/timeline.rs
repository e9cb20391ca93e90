//! One cell second by second: rates, response time, backlog, CPU and dirty memory, one strip each.
//!
//! All cells of one loop share the axes of each strip. Long runs are drawn in bins: rates as their mean, everything
//! that can spike as its maximum.

use super::super::figures::{MISSING, ms, si, significant, tick};
use super::super::run::{Block, CORE_WAIT, Cell, Loop, Run, Second};
use super::super::svg::{Anchor, Canvas, Scale};
use super::super::table::stall_text;
use super::{Detail, Frame, HEAD, Picture, Scene, Section, WIDTH, head};

/// Most points of a line.
const BINS: usize = 280;

type Value = fn(&Second) -> Option<f64>;

struct Strip {
    name: &'static str,
    unit: &'static str,
    height: f64,
    logarithmic: bool,
    lines: &'static [(&'static str, &'static str, Value)],
    label: fn(f64) -> String,
}

const STRIPS: [Strip; 5] = [
    Strip {
        name: "rate",
        unit: "records/s",
        height: 66.0,
        logarithmic: false,
        lines: &[
            ("offered", "ln thin dash", |s| s.offered_records_per_s),
            ("read", "l2 thin", |s| s.consumed_records_per_s),
            ("catch-up", "l3 thin", |s| s.catch_up_records_per_s),
            ("achieved", "l0", |s| s.achieved_records_per_s),
        ],
        label: si,
    },
    Strip {
        name: "response",
        unit: "ms",
        height: 84.0,
        logarithmic: true,
        lines: &[
            ("max", "l0 thin dots", |s| s.response_max_ns.map(|ns| ns as f64 / 1e6)),
            ("p99", "l0", |s| s.response_p99_ns.map(|ns| ns as f64 / 1e6)),
            ("p50", "l0 thin light", |s| s.response_p50_ns.map(|ns| ns as f64 / 1e6)),
        ],
        label: tick,
    },
    Strip {
        name: "backlog",
        unit: "records",
        height: 44.0,
        logarithmic: false,
        lines: &[("backlog", "l3", |s| s.backlog_records.map(|n| n as f64))],
        label: si,
    },
    Strip {
        name: "CPU",
        unit: "cores",
        height: 52.0,
        logarithmic: false,
        lines: &[
            ("broker", "l0", |s| s.broker_cpu_cores),
            ("generator", "ln thin dash", |s| s.generator_cpu_cores),
            ("steal", "l1 thin", |s| s.steal_ratio),
        ],
        label: tick,
    },
    Strip {
        name: "dirty",
        unit: "MiB",
        height: 44.0,
        logarithmic: false,
        lines: &[("dirty", "l4", |s| s.dirty_bytes.map(|n| n as f64 / f64::from(1 << 20)))],
        label: tick,
    },
];

pub(super) fn draw(scene: &Scene) -> Vec<Picture> {
    let details: Vec<&Detail> = scene
        .details
        .iter()
        .filter(|d| scene.run.blocks_of(&d.cell.id).any(|b| !b.series.is_empty()))
        .collect();
    details.iter().map(|detail| one(scene, detail, &details)).collect()
}

fn one(scene: &Scene, detail: &Detail, all: &[&Detail]) -> Picture {
    let cell = detail.cell;
    let title = format!("{} ({})", detail.label, scene.class);
    let name = format!("timeline-{}", super::super::folder::file_name(&cell.id));
    let mut picture = Picture::new(&name, title.clone(), Section::Time);
    let mut canvas = Canvas::default();
    let loop_kind = match cell.loop_kind {
        Loop::Open => "open loop: response from the intended time",
        Loop::Closed => "closed loop: response is service time",
    };
    let has_bands = scene.run.blocks_of(&cell.id).flat_map(|b| &b.marks).any(|mark| mark.kind == CORE_WAIT);
    let bands = if has_bands { "; bands: others had the broker's core" } else { "" };
    head(&mut canvas, &title, &format!("per second; {loop_kind}; grey is warm-up and drain{bands}"));

    let mine = seconds_of(scene.run, cell);
    let begin = mine.first().map_or(0, |s| s.start_ns);
    let length = |cell: &Cell| {
        let seconds = seconds_of(scene.run, cell);
        match (seconds.first(), seconds.last()) {
            (Some(a), Some(b)) => (b.start_ns + b.duration_ns).saturating_sub(a.start_ns) as f64 / 1e9,
            _ => 0.0,
        }
    };
    let alike: Vec<&Cell> = all.iter().map(|d| d.cell).filter(|c| c.loop_kind == cell.loop_kind).collect();
    let longest = alike.iter().map(|cell| length(cell)).fold(0.0, f64::max);

    let (left, right) = (62.0, WIDTH - 76.0);
    let x = Scale::linear(0.0, longest, left, right);
    let seconds_at = |ns: u64| ns.saturating_sub(begin) as f64 / 1e9;
    let strips: Vec<&Strip> =
        STRIPS.iter().filter(|strip| range(scene.run, &alike, strip).is_some()).collect();
    let mut top = HEAD + 22.0;
    let first_top = top;
    for strip in &strips {
        let frame = Frame { left, right, top, bottom: top + strip.height };
        let (low, high) = range(scene.run, &alike, strip).expect("strips without values are left out");
        let y = if strip.logarithmic {
            Scale::log10(low.max(1e-3), high.max(1e-3), frame.bottom, frame.top)
        } else {
            Scale::from_zero(high, frame.bottom, frame.top)
        };
        outside_the_window(&mut canvas, frame, &mine, x, &seconds_at);
        strip_axis(&mut canvas, frame, &y, strip);
        let mut labels: Vec<(f64, &str, &str)> = Vec::new();
        for (what, look, value) in strip.lines {
            let points = binned(&mine, *value, strip.name == "rate");
            let places: Vec<_> =
                points.iter().map(|p| p.map(|(ns, v)| (x.at(seconds_at(ns)), y.at(v)))).collect();
            canvas.path(&places, &format!("line {look}"));
            // Beside the last measured value: in the drain every rate falls to nothing.
            let last = mine.iter().rev().filter(|s| s.phase == "measure").find_map(|s| value(s));
            if let Some(last) = last.or_else(|| mine.iter().rev().find_map(|s| value(s))) {
                labels.push((y.at(last), what, look));
            }
        }
        let places = super::super::svg::spread(
            &labels.iter().map(|(y, ..)| *y).collect::<Vec<_>>(),
            12.0,
            frame.top + 2.0,
            frame.bottom - 1.0,
        );
        for ((_, what, look), at) in labels.iter().zip(places) {
            let tint = look.split(' ').next().unwrap_or("ln").replacen('l', "f", 1);
            canvas.text(right + 6.0, at + 4.0, Anchor::Start, &format!("label small {tint}"), what);
        }
        top = frame.bottom + 22.0;
    }
    let bottom = top - 22.0;
    taken(&mut canvas, scene.run, cell, (first_top, bottom), x, &seconds_at);
    marks(&mut canvas, scene.run, cell, first_top, bottom, x, &seconds_at);
    for second in x.ticks() {
        canvas.line((x.at(second), bottom), (x.at(second), bottom + 4.0), "axis");
        canvas.text(x.at(second), bottom + 16.0, Anchor::Middle, "tick", &tick(second));
    }
    canvas.text(right + 16.0, bottom + 16.0, Anchor::Start, "unit", "s");

    picture.head =
        ["s", "phase", "offered/s", "achieved/s", "p50 ms", "p99 ms", "max ms", "backlog", "CPU cores"]
            .map(str::to_owned)
            .into();
    for second in mine.iter().take(3_600) {
        let number = |v: Option<f64>| v.map_or_else(|| MISSING.to_owned(), |v| significant(v, 4));
        let latency = |v: Option<u64>| v.map_or_else(|| MISSING.to_owned(), |v| ms(v as f64));
        picture.rows.push(vec![
            format!("{:.1}", seconds_at(second.start_ns)),
            second.phase.clone(),
            number(second.offered_records_per_s),
            number(second.achieved_records_per_s),
            latency(second.response_p50_ns),
            latency(second.response_p99_ns),
            latency(second.response_max_ns),
            number(second.backlog_records.map(|n| n as f64)),
            number(second.broker_cpu_cores),
        ]);
    }
    picture.drawn(canvas, bottom + 30.0)
}

fn seconds_of<'a>(run: &'a Run, cell: &'a Cell) -> Vec<&'a Second> {
    run.blocks_of(&cell.id).flat_map(|block| &block.series).collect()
}

/// Lowest and highest value of a strip over cells that share it; `None` when there is none.
fn range(run: &Run, cells: &[&Cell], strip: &Strip) -> Option<(f64, f64)> {
    let mut found: Option<(f64, f64)> = None;
    for cell in cells {
        for second in run.blocks_of(&cell.id).flat_map(|block| &block.series) {
            for value in strip.lines.iter().filter_map(|(_, _, value)| value(second)) {
                if strip.logarithmic && value <= 0.0 {
                    continue;
                }
                let (low, high) = found.unwrap_or((value, value));
                found = Some((low.min(value), high.max(value)));
            }
        }
    }
    found
}

/// A strip is low: its ends and middle are enough.
fn strip_axis(canvas: &mut Canvas, frame: Frame, y: &Scale, strip: &Strip) {
    let mut ticks = y.ticks();
    let room = (frame.bottom - frame.top) / 15.0;
    while ticks.len() as f64 > room && ticks.len() > 2 {
        // Keep the first and every other after it: still equally spaced.
        ticks = ticks.into_iter().step_by(2).collect();
    }
    for tick in ticks {
        canvas.line((frame.left, y.at(tick)), (frame.right, y.at(tick)), "grid");
        canvas.text(frame.left - 6.0, y.at(tick) + 4.0, Anchor::End, "tick small", &(strip.label)(tick));
    }
    canvas.line((frame.left, frame.bottom), (frame.right, frame.bottom), "axis");
    canvas.text(
        frame.left + 3.0,
        frame.top - 4.0,
        Anchor::Start,
        "unit",
        &format!("{}, {}", strip.name, strip.unit),
    );
}

/// Shades the seconds that are not measured.
fn outside_the_window(
    canvas: &mut Canvas,
    frame: Frame,
    seconds: &[&Second],
    x: Scale,
    at: &impl Fn(u64) -> f64,
) {
    for group in seconds.chunk_by(|a, b| a.phase == b.phase) {
        let (first, last) = (group[0], group[group.len() - 1]);
        if first.phase != "measure" {
            let (from, to) = (x.at(at(first.start_ns)), x.at(at(last.start_ns + last.duration_ns)));
            canvas.rect(from, frame.top, to - from, frame.bottom - frame.top, "warmup", Some(&first.phase));
        }
    }
}

/// The stretches in which others had a core of the broker, as bands over all strips; hover says how long.
fn taken(
    canvas: &mut Canvas,
    run: &Run,
    cell: &Cell,
    (top, bottom): (f64, f64),
    x: Scale,
    at: &impl Fn(u64) -> f64,
) {
    /// A stretch of a millisecond must be seen in a chart of minutes.
    const WIDTH_MIN: f64 = 1.5;
    let marks = run.blocks_of(&cell.id).flat_map(|block| &block.marks);
    for mark in marks.filter(|mark| mark.kind == CORE_WAIT) {
        let (from, to) = (x.at(at(mark.at_ns)), x.at(at(mark.at_ns + mark.duration_ns.unwrap_or(0))));
        canvas.rect(from, top, (to - from).max(WIDTH_MIN), bottom - top, "taken", mark.text.as_deref());
    }
}

/// Stalls and whatever the run noted, as triangles over the strips with a line through them.
fn marks(
    canvas: &mut Canvas,
    run: &Run,
    cell: &Cell,
    top: f64,
    bottom: f64,
    x: Scale,
    at: &impl Fn(u64) -> f64,
) {
    for (ns, _, text) in events(run, cell) {
        let place = x.at(at(ns));
        canvas.line((place, top), (place, bottom), "roof");
        canvas.mark(place, top, "mark", &text);
    }
}

/// What happened in a cell and when: `(instant, kind, text)`. The longest stalls, and every mark.
pub(super) fn events(run: &Run, cell: &Cell) -> Vec<(u64, String, String)> {
    let mut stalls = cell.stalls.clone();
    stalls.sort_by_key(|stall| std::cmp::Reverse(stall.duration_ns));
    let stalls = stalls.iter().take(8).map(|stall| (stall.start_ns, "stall".to_owned(), stall_text(stall)));
    let marks = run.blocks_of(&cell.id).flat_map(|block: &Block| {
        let voids = block
            .void_reasons
            .iter()
            .map(|reason| (block.start_ns.unwrap_or(0), "void".to_owned(), format!("void: {reason}")));
        // Those that last are drawn as bands.
        let marks = block.marks.iter().filter(|mark| mark.kind != CORE_WAIT).map(|mark| {
            let text = match &mark.text {
                Some(text) => format!("{}: {text}", mark.kind),
                None => mark.kind.clone(),
            };
            (mark.at_ns, mark.kind.clone(), text)
        });
        voids.chain(marks).collect::<Vec<_>>()
    });
    let mut all: Vec<_> = stalls.chain(marks).collect();
    all.sort();
    all.truncate(64);
    all
}

/// `(instant, value)` per second or bin, `None` where the line breaks.
fn binned(seconds: &[&Second], value: Value, mean: bool) -> Vec<Option<(u64, f64)>> {
    let per_bin = seconds.len().div_ceil(BINS).max(1);
    seconds
        .chunks(per_bin)
        .map(|bin| {
            let values: Vec<f64> = bin.iter().filter_map(|s| value(s)).collect();
            let middle =
                bin[0].start_ns.midpoint(bin[bin.len() - 1].start_ns + bin[bin.len() - 1].duration_ns);
            if values.is_empty() {
                return None;
            }
            let shown = if mean {
                values.iter().sum::<f64>() / values.len() as f64
            } else {
                values.iter().copied().fold(f64::NEG_INFINITY, f64::max)
            };
            Some((middle, shown))
        })
        .collect()
}
