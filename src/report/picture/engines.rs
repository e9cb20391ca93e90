//! Storage engines over the number of files: one picture per size of block, CPU per GB with the flush included.

use super::super::engines::place;
use super::super::figures::{bytes, bytes_per_s, count, significant, tick};
use super::super::run::EngineCell;
use super::super::svg::{Anchor, Canvas, Scale, spread};
use super::{
    Frame, HEAD, Picture, Scene, Section, WIDTH, colour, counts_axis, head, partitions_scale, y_axis,
};

const HEIGHT: f64 = 360.0;

pub(super) fn draw(scene: &Scene) -> Vec<Picture> {
    let mut sizes: Vec<u64> = scene.run.engines.iter().map(|cell| cell.block_bytes).collect();
    sizes.sort_unstable();
    sizes.dedup();
    // All sizes share one axis, or the eye compares what does not compare.
    let high = scene.run.engines.iter().filter_map(|cell| cell.flushed_cpu_s_per_gb).fold(0.0, f64::max);
    if high <= 0.0 {
        return Vec::new();
    }
    let mut engines: Vec<&str> = Vec::new();
    for cell in &scene.run.engines {
        if !engines.contains(&cell.engine.as_str()) {
            engines.push(&cell.engine);
        }
    }
    sizes.into_iter().filter_map(|size| of_size(scene, size, &engines, high)).collect()
}

fn of_size(scene: &Scene, block_bytes: u64, engines: &[&str], high: f64) -> Option<Picture> {
    let cells: Vec<&EngineCell> = scene
        .run
        .engines
        .iter()
        .filter(|cell| cell.block_bytes == block_bytes && cell.flushed_cpu_s_per_gb.is_some())
        .collect();
    let low = scene.run.engines.iter().filter_map(|cell| cell.flushed_cpu_s_per_gb).fold(high, f64::min);
    let mut counts: Vec<u64> = cells.iter().map(|cell| cell.files).collect();
    counts.sort_unstable();
    counts.dedup();
    if counts.is_empty() {
        return None;
    }
    let title = format!("CPU seconds per GB on disk, appends of {}", bytes(block_bytes as f64));
    let mut picture = Picture::new(&format!("engines-{block_bytes}"), title.clone(), Section::Cost);
    let mut canvas = Canvas::default();
    head(&mut canvas, &title, "one thread, flush included; lower is better; logarithmic");
    let frame = Frame { left: 58.0, right: WIDTH - 206.0, top: HEAD + 28.0, bottom: HEIGHT - 52.0 };
    let y = Scale::log10(low, high, frame.bottom, frame.top);
    let x = partitions_scale(frame, &counts);
    y_axis(&mut canvas, frame, &y, "s/GB", tick);
    counts_axis(&mut canvas, frame, &x, &counts, "files (logarithmic)");
    let mut labels = Vec::new();
    for (number, engine) in engines.iter().enumerate() {
        let tint = colour(number);
        let own: Vec<&&EngineCell> = cells.iter().filter(|cell| cell.engine == *engine).collect();
        let at = |cell: &EngineCell| Some((x.at(cell.files as f64), y.at(cell.flushed_cpu_s_per_gb?)));
        let points: Vec<_> = own.iter().map(|cell| at(cell)).collect();
        // There are more engines than colours.
        let look = if number < super::style::DATA_COLOURS { "" } else { " thin dash" };
        canvas.path(&points, &format!("line l{tint}{look}"));
        for (cell, point) in own.iter().zip(&points) {
            let (Some((left, top)), Some(cpu)) = (point, cell.flushed_cpu_s_per_gb) else { continue };
            let rate =
                cell.flushed_bytes_per_s.map_or(String::new(), |rate| format!(", {}", bytes_per_s(rate)));
            let hover =
                format!("{engine}, {}: {} s/GB{rate}", place(cell.files, block_bytes), significant(cpu, 3));
            canvas.dot(*left, *top, 3.5, &format!("f{tint}"), Some(&hover));
            picture.rows.push(vec![
                (*engine).to_owned(),
                count(cell.files),
                significant(cpu, 3),
                cell.flushed_bytes_per_s.map_or(String::new(), bytes_per_s),
            ]);
        }
        if let Some((_, last)) = points.iter().flatten().next_back() {
            labels.push((*last, *engine, tint));
        }
    }
    let places =
        spread(&labels.iter().map(|(y, _, _)| *y).collect::<Vec<_>>(), 13.5, frame.top, frame.bottom);
    for ((_, label, tint), at) in labels.iter().zip(places) {
        canvas.text(frame.right + 4.0, at + 4.0, Anchor::Start, &format!("label f{tint}"), label);
    }
    picture.head = ["engine", "files", "CPU s/GB", "to disk"].map(str::to_owned).into();
    Some(picture.drawn(canvas, HEIGHT))
}
