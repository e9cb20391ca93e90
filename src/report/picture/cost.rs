//! What a record costs: CPU time by who spent it, and system calls and ring operations per request.
//!
//! Bars start at zero. A broker that moves work into kernel threads looks cheap by its own CPU time alone, so the
//! CPU outside both processes is part of the same bar.

use super::super::figures::{MISSING, count, or_missing, significant, tick};
use super::super::lines::Line;
use super::super::run::{Cell, Loop, Role};
use super::super::svg::{Anchor, Canvas, Scale};
use super::{Frame, HEAD, Picture, Scene, Section, WIDTH, cell_flags, head};

/// A bar with its parts, from the axis outward: `(class, value, what)`.
struct Bar {
    label: String,
    parts: Vec<(&'static str, f64, &'static str)>,
    end: String,
    flags: String,
    thin: bool,
}

struct Group {
    title: String,
    bars: Vec<Bar>,
}

pub(super) fn cpu(scene: &Scene) -> Option<Picture> {
    let title = format!("CPU per record, ns ({})", scene.class);
    let mut picture = Picture::new("cpu", title.clone(), Section::Cost);
    let mut groups = Vec::new();
    for (loop_kind, name, cells) in grouped(scene) {
        let mut bars = Vec::new();
        for cell in cells {
            let Some(total) = cell.broker_cpu_ns_per_record else { continue };
            let outside = cell.system_cpu_ns_per_record.map(|system| (system - total).max(0.0));
            let null = cell.role == Role::NullBroker;
            let split = cell.broker_user_cpu_ns_per_record.zip(cell.broker_kernel_cpu_ns_per_record);
            let mut parts = match split {
                Some((user, kernel)) => vec![("f0", user, "user"), ("f0 medium", kernel, "kernel")],
                None => vec![("f0", total, "user and kernel")],
            };
            if null {
                parts = vec![("fn", total, "null broker")];
            }
            if let Some(outside) = outside {
                parts.push((if null { "fn pale" } else { "f0 pale" }, outside, "outside both processes"));
            }
            let end = match outside {
                Some(outside) => format!("{} + {}", significant(total, 3), significant(outside, 2)),
                None => significant(total, 3),
            };
            bars.push(Bar { label: bar_label(cell), parts, end, flags: flags(cell), thin: null });
            picture.rows.push(vec![
                cell.subject.clone(),
                or_missing(cell.parameters.partitions, count),
                loop_word(loop_kind).to_owned(),
                or_missing(cell.broker_user_cpu_ns_per_record, |v| significant(v, 4)),
                or_missing(cell.broker_kernel_cpu_ns_per_record, |v| significant(v, 4)),
                significant(total, 4),
                or_missing(cell.system_cpu_ns_per_record, |v| significant(v, 4)),
                or_missing(cell.generator_cpu_ns_per_record, |v| significant(v, 4)),
                or_missing(cell.switches_per_1000_records, |v| significant(v, 3)),
                or_missing(cell.disk_bytes_per_byte, |v| significant(v, 3)),
            ]);
        }
        groups.push(Group { title: name, bars });
    }
    picture.head = [
        "subject",
        "partitions",
        "loop",
        "user",
        "kernel",
        "subject",
        "with outside",
        "generator",
        "switches per 1000",
        "disk bytes per byte",
    ]
    .map(str::to_owned)
    .into();
    let legend = [
        ("f0", "user"),
        ("f0 medium", "kernel"),
        ("f0 pale", "outside both processes"),
        ("fn", "null broker"),
    ];
    let sub = "rows by partitions; subject + CPU outside both processes; lower is better";
    bars(picture, &title, sub, groups, &legend)
}

pub(super) fn operations(scene: &Scene) -> Option<Picture> {
    let title = format!("Operations per request, count ({})", scene.class);
    let mut picture = Picture::new("operations", title.clone(), Section::Cost);
    let mut groups = Vec::new();
    for (loop_kind, name, cells) in grouped(scene) {
        let mut bars = Vec::new();
        for cell in cells.into_iter().filter(|cell| cell.role == Role::Sweep) {
            for (value, class, what) in [
                (cell.syscalls_per_request, "f0", "system calls"),
                (cell.ring_operations_per_request, "f2", "ring operations"),
            ] {
                let Some(value) = value else { continue };
                let first = bars.last().is_none_or(|bar: &Bar| bar.label != bar_label(cell));
                bars.push(Bar {
                    label: if first { bar_label(cell) } else { String::new() },
                    parts: vec![(class, value, what)],
                    end: significant(value, 3),
                    flags: if first { flags(cell) } else { String::new() },
                    thin: false,
                });
            }
            if cell.syscalls_per_request.is_some() || cell.ring_operations_per_request.is_some() {
                let number = |v: Option<f64>| v.map_or_else(|| MISSING.to_owned(), |v| significant(v, 4));
                picture.rows.push(vec![
                    cell.subject.clone(),
                    or_missing(cell.parameters.partitions, count),
                    loop_word(loop_kind).to_owned(),
                    number(cell.syscalls_per_request),
                    number(cell.ring_operations_per_request),
                ]);
            }
        }
        groups.push(Group { title: name, bars });
    }
    picture.head =
        ["subject", "partitions", "loop", "system calls", "ring operations"].map(str::to_owned).into();
    let sub = "system calls and ring operations, counted outside the timed window; rows by partitions";
    bars(picture, &title, sub, groups, &[("f0", "system calls"), ("f2", "ring operations")])
}

fn open_title(scene: &Scene) -> String {
    let rate = scene.at_rate();
    if rate.is_empty() { "at a fixed rate".to_owned() } else { rate.trim_start().to_owned() }
}

fn loop_word(loop_kind: Loop) -> &'static str {
    match loop_kind {
        Loop::Open => "open",
        Loop::Closed => "closed",
    }
}

/// One group per loop and line, null brokers beside the cells they belong to, by partition count.
fn grouped<'a>(scene: &Scene<'a>) -> Vec<(Loop, String, Vec<&'a Cell>)> {
    let mut groups = Vec::new();
    for (loop_kind, name) in [(Loop::Closed, "at saturation".to_owned()), (Loop::Open, open_title(scene))] {
        for line in scene.tested() {
            let of = |line: &Line<'a>| match loop_kind {
                Loop::Open => line.open.clone(),
                Loop::Closed => line.closed.clone(),
            };
            let mut cells = of(line);
            let roofs = scene.lines.iter().filter(|roof| roof.is_null_broker && roof.traits == line.traits);
            cells.extend(roofs.flat_map(of));
            cells.sort_by_key(|cell| cell.parameters.partitions);
            let several = scene.tested().count() > 1;
            let title = if several { format!("{}, {name}", line.short) } else { name.clone() };
            groups.push((loop_kind, title, cells));
        }
    }
    groups
}

fn bar_label(cell: &Cell) -> String {
    if cell.role == Role::NullBroker {
        return String::new();
    }
    or_missing(cell.parameters.partitions, count)
}

fn flags(cell: &Cell) -> String {
    // CPU per record stays valid when the generator was the limit, so that flag says nothing here.
    cell_flags(cell).into_iter().filter(|flag| flag != "client-bound").collect::<Vec<_>>().join(", ")
}

fn bars(
    picture: Picture,
    title: &str,
    sub: &str,
    groups: Vec<Group>,
    legend: &[(&str, &str)],
) -> Option<Picture> {
    let groups: Vec<Group> = groups.into_iter().filter(|group| !group.bars.is_empty()).collect();
    let total = |bar: &Bar| bar.parts.iter().map(|(_, value, _)| value).sum::<f64>();
    let high = groups.iter().flat_map(|group| &group.bars).map(total).fold(0.0, f64::max);
    if groups.is_empty() {
        return None;
    }
    let mut canvas = Canvas::default();
    head(&mut canvas, title, sub);
    let mut at = 16.0;
    for (class, text) in legend {
        canvas.rect(at, HEAD + 2.0, 11.0, 11.0, class, None);
        canvas.text(at + 16.0, HEAD + 11.5, Anchor::Start, "tick", text);
        at += 34.0 + super::super::svg::text_width(text, 11.5);
    }

    let mut y = HEAD + 44.0;
    let height_of = |bar: &Bar| if bar.thin { 9.0 } else { 15.0 };
    let content: f64 =
        groups.iter().map(|g| 20.0 + g.bars.iter().map(|b| height_of(b) + 3.0).sum::<f64>() + 12.0).sum();
    let frame = Frame { left: 58.0, right: WIDTH - 96.0, top: y, bottom: y + content };
    let x = Scale::from_zero(high, frame.left, frame.right);
    for value in x.ticks() {
        canvas.text(x.at(value), frame.bottom + 15.0, Anchor::Middle, "tick", &tick(value));
    }
    for group in &groups {
        canvas.text(16.0, y + 12.0, Anchor::Start, "label", &group.title);
        y += 20.0;
        let end = y + group.bars.iter().map(|bar| height_of(bar) + 3.0).sum::<f64>();
        for value in x.ticks() {
            let class = if value == 0.0 { "axis" } else { "grid" };
            canvas.line((x.at(value), y - 3.0), (x.at(value), end), class);
        }
        for bar in &group.bars {
            let height = height_of(bar);
            canvas.text(frame.left - 8.0, y + height / 2.0 + 4.0, Anchor::End, "tick", &bar.label);
            let mut from = 0.0;
            for (class, value, what) in &bar.parts {
                let hover = format!("{what}: {}", significant(*value, 4));
                let width = x.at(from + value) - x.at(from);
                canvas.rect(x.at(from), y, width, height, class, Some(&hover));
                from += value;
            }
            let class = if bar.thin { "note small" } else { "label" };
            canvas.text(x.at(from) + 6.0, y + height / 2.0 + 4.0, Anchor::Start, class, &bar.end);
            if !bar.flags.is_empty() {
                canvas.text(WIDTH - 12.0, y + height / 2.0 + 4.0, Anchor::End, "flag small", &bar.flags);
            }
            y += height + 3.0;
        }
        y += 12.0;
    }
    Some(picture.drawn(canvas, frame.bottom + 28.0))
}
