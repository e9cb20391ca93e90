//! The pictures of a run, each an SVG with the figures behind it.
//!
//! In: a run. Out: [`Picture`]s. Every one is drawn by the same rules: the title names unit and durability class,
//! latency is logarithmic, bars and rates start at zero, lines are broken where a value is missing, flags stand on
//! the picture, and all cells of one kind share their axes. A picture whose figures were not measured is not drawn.

mod cost;
mod engines;
mod heat_map;
mod latency;
mod limits;
mod memory;
mod spectrum;
mod throughput;
mod timeline;
mod versus;

use std::path::Path;

use hdrhistogram::Histogram as Hdr;

use super::figures;
use super::lines::{self, Audit, Line, audit, is_client_bound, partitions_text};
use super::run::{Cell, Loop, METRICS, Role, Run, RunError};
use super::statistics;
use super::style;
use super::svg::{Anchor, Canvas, Scale};

/// Width of every picture, in px.
const WIDTH: f64 = 560.0;

/// Cells that get pictures of their own; more would make the page too large, and nobody looks at them all.
const DETAIL_CELLS: usize = 24;

#[derive(Debug, Clone)]
pub struct Picture {
    /// A short word for files and links, unlike any other in the run.
    pub name: String,
    pub title: String,
    pub section: Section,
    canvas: String,
    height: f64,
    /// The figures drawn: names of columns, then rows.
    pub head: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Section {
    Verdict,
    Throughput,
    Latency,
    Cost,
    Time,
}

impl Picture {
    fn new(name: &str, title: String, section: Section) -> Picture {
        Picture {
            name: name.to_owned(),
            title,
            section,
            canvas: String::new(),
            height: 0.0,
            head: Vec::new(),
            rows: Vec::new(),
        }
    }

    fn drawn(mut self, canvas: Canvas, height: f64) -> Picture {
        self.canvas = canvas.finish(WIDTH, height, &self.title, "");
        self.height = height;
        self
    }

    /// For the page, which has the style.
    pub fn inline(&self) -> &str {
        &self.canvas
    }

    /// For a file of its own.
    pub fn standalone(&self) -> String {
        let (head, body) = self.canvas.split_once('>').expect("a picture begins with its tag");
        format!("{head}><style>{}</style>{body}\n", style::picture())
    }
}

/// What every picture needs of a run, decoded once.
struct Scene<'a> {
    run: &'a Run,
    lines: Vec<Line<'a>>,
    class: &'a str,
    /// Cells with pictures of their own, each with its merged histograms in the order of [`METRICS`].
    details: Vec<Detail<'a>>,
}

struct Detail<'a> {
    cell: &'a Cell,
    /// What tells this cell from the others, for titles.
    label: String,
    /// The same without the load.
    place: String,
    /// `Line::short` of its line.
    short: String,
    histograms: Vec<Option<Hdr<u64>>>,
}

impl Detail<'_> {
    fn histogram(&self, metric: &str) -> Option<&Hdr<u64>> {
        let place = METRICS.iter().position(|m| *m == metric)?;
        self.histograms[place].as_ref().filter(|hdr| !hdr.is_empty())
    }
}

impl<'a> Scene<'a> {
    fn of(run: &'a Run, source: &Path) -> Result<Scene<'a>, RunError> {
        let lines = lines::lines(run);
        let tested = lines.iter().filter(|line| !line.is_null_broker);
        let several = tested.clone().count() > 1;
        let mut details = Vec::new();
        for line in tested {
            // Open cells first: their latency is what a reader came for.
            for cell in line.open.iter().chain(&line.closed).take(DETAIL_CELLS) {
                let mut histograms = Vec::new();
                for metric in METRICS {
                    let hdr = statistics::merged(run.blocks_of(&cell.id), metric).map_err(|reason| {
                        RunError::Histogram {
                            path: source.to_owned(),
                            cell: cell.id.clone(),
                            metric: metric.to_owned(),
                            reason,
                        }
                    })?;
                    histograms.push(hdr);
                }
                let who = if several { format!("{}, ", line.short) } else { String::new() };
                let place = format!("{who}{}", partitions_text(cell));
                details.push(Detail {
                    cell,
                    label: format!("{place}{}", load(cell)),
                    place,
                    short: line.short.clone(),
                    histograms,
                });
            }
        }
        details.sort_by_key(|detail| detail.cell.loop_kind == Loop::Closed);
        details.truncate(DETAIL_CELLS);
        Ok(Scene { run, lines, class: run.durability_class(), details })
    }

    fn tested(&self) -> impl Iterator<Item = &Line<'a>> {
        self.lines.iter().filter(|line| !line.is_null_broker)
    }

    fn open(&self) -> impl Iterator<Item = &Detail<'a>> {
        self.details.iter().filter(|detail| detail.cell.loop_kind == Loop::Open)
    }

    /// Partition counts of any cell, rising.
    fn partition_counts(&self) -> Vec<u64> {
        let cells = self.run.cells.iter().filter(|cell| cell.role != Role::Anchor);
        let mut counts: Vec<u64> = cells.filter_map(|cell| cell.parameters.partitions).collect();
        counts.sort_unstable();
        counts.dedup();
        counts
    }

    /// ` at 210 k records/s` where all open cells share a rate.
    fn at_rate(&self) -> String {
        let rows = lines::rows(&self.lines);
        lines::shared_rate(&rows).map_or(String::new(), |rate| format!(" at {} records/s", figures::si(rate)))
    }
}

/// How a cell was loaded, to be read after its place.
fn load(cell: &Cell) -> String {
    match (cell.loop_kind, cell.offered_records_per_s) {
        (Loop::Closed, _) => " at saturation".to_owned(),
        (Loop::Open, Some(rate)) => format!(" at {} records/s", figures::si(rate)),
        (Loop::Open, None) => String::new(),
    }
}

/// All pictures in the order of the page.
pub fn pictures(run: &Run, source: &Path) -> Result<Vec<Picture>, RunError> {
    let scene = Scene::of(run, source)?;
    let mut out = Vec::new();
    out.extend(versus::map(&scene));
    out.extend(versus::pairs(&scene));
    out.extend(throughput::draw(&scene));
    out.extend(limits::efficiency(&scene));
    out.extend(limits::roofs(&scene));
    out.extend(latency::draw(&scene));
    out.extend(versus::loads(&scene));
    out.extend(spectrum::draw(&scene));
    out.extend(cost::cpu(&scene));
    out.extend(memory::draw(&scene));
    out.extend(cost::operations(&scene));
    out.extend(engines::draw(&scene));
    out.extend(timeline::draw(&scene));
    out.extend(heat_map::draw(&scene)?);
    Ok(out)
}

/// The same as files: `headline` for a README, and each picture by its name.
pub fn all(run: &Run, source: &Path) -> Result<Vec<(String, String)>, RunError> {
    let pictures = pictures(run, source)?;
    let mut files = Vec::new();
    if let Some(svg) = headline(run, source)? {
        files.push(("headline".to_owned(), svg));
    }
    files.extend(pictures.iter().map(|picture| (picture.name.clone(), picture.standalone())));
    Ok(files)
}

/// Throughput and latency over partitions side by side, as one file. `None` when the run has neither.
pub fn headline(run: &Run, source: &Path) -> Result<Option<String>, RunError> {
    let scene = Scene::of(run, source)?;
    let parts: Vec<Picture> =
        throughput::draw(&scene).into_iter().chain(latency::draw(&scene).into_iter().take(1)).collect();
    if parts.is_empty() {
        return Ok(None);
    }
    let height = parts.iter().map(|part| part.height).fold(0.0, f64::max);
    let width = WIDTH * parts.len() as f64;
    let mut body = String::new();
    for (i, part) in parts.iter().enumerate() {
        body.push_str(&format!("<svg x=\"{}\"{}", WIDTH * i as f64, &part.canvas["<svg".len()..]));
    }
    let label = svg_escape(&parts.iter().map(|part| part.title.as_str()).collect::<Vec<_>>().join("; "));
    Ok(Some(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" role=\"img\" aria-label=\"{label}\"><style>{}</style><rect class=\"paper\" \
         width=\"{width}\" height=\"{height}\"/>{body}</svg>\n",
        style::picture()
    )))
}

fn svg_escape(text: &str) -> String {
    super::svg::escape(text)
}

/// The rectangle inside the axes.
#[derive(Debug, Clone, Copy)]
struct Frame {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
}

/// Title and the line under it. The space they take ends at [`HEAD`].
fn head(canvas: &mut Canvas, title: &str, sub: &str) {
    let fits = |text: &str, size| super::svg::text_width(text, size) <= WIDTH - 32.0;
    let class = if fits(title, 15.5) { "title" } else { "title tight" };
    canvas.text(16.0, 25.0, Anchor::Start, class, title);
    let class = if fits(sub, 12.0) { "sub" } else { "sub tight" };
    canvas.text(16.0, 43.0, Anchor::Start, class, sub);
}

const HEAD: f64 = 56.0;

/// Labels and lines across. `unit` stands above the labels.
fn y_axis(canvas: &mut Canvas, frame: Frame, scale: &Scale, unit: &str, label: impl Fn(f64) -> String) {
    for tick in scale.small_ticks() {
        let y = scale.at(tick);
        canvas.line((frame.left, y), (frame.right, y), "faint");
    }
    for tick in scale.ticks() {
        let y = scale.at(tick);
        canvas.line((frame.left, y), (frame.right, y), if tick == 0.0 { "axis" } else { "grid" });
        canvas.text(frame.left - 7.0, y + 4.0, Anchor::End, "tick", &label(tick));
    }
    canvas.text(frame.left - 7.0, frame.top - 9.0, Anchor::End, "unit", unit);
}

/// Partition counts on their logarithmic axis; labels that would touch are left out.
fn partitions_axis(canvas: &mut Canvas, frame: Frame, scale: &Scale, counts: &[u64]) {
    counts_axis(canvas, frame, scale, counts, "partitions (logarithmic)");
}

/// The same for counts of anything.
fn counts_axis(canvas: &mut Canvas, frame: Frame, scale: &Scale, counts: &[u64], unit: &str) {
    canvas.line((frame.left, frame.bottom), (frame.right, frame.bottom), "axis");
    let mut free_from = f64::NEG_INFINITY;
    for count in counts {
        let x = scale.at(*count as f64);
        canvas.line((x, frame.bottom), (x, frame.bottom + 4.0), "axis");
        let text = figures::count(*count);
        let half = super::svg::text_width(&text, 11.5) / 2.0;
        if x - half >= free_from {
            canvas.text(x, frame.bottom + 17.0, Anchor::Middle, "tick", &text);
            free_from = x + half + 6.0;
        }
    }
    x_unit(canvas, frame, unit);
}

/// What the horizontal axis counts, below the labels of its ticks.
fn x_unit(canvas: &mut Canvas, frame: Frame, unit: &str) {
    let middle = f64::midpoint(frame.left, frame.right);
    canvas.text(middle, frame.bottom + 33.0, Anchor::Middle, "unit", unit);
}

/// The axis itself: a little room beside the first and last count.
fn partitions_scale(frame: Frame, counts: &[u64]) -> Scale {
    let (low, high) = (counts.first().copied().unwrap_or(1), counts.last().copied().unwrap_or(1));
    Scale::log2(low.max(1) as f64, high.max(1) as f64, frame.left + 14.0, frame.right - 14.0)
}

/// The words that stand at a point of a picture because they limit what it means.
fn cell_flags(cell: &Cell) -> Vec<String> {
    let mut flags = Vec::new();
    match audit(cell) {
        Audit::Failed => flags.push("FAIL".to_owned()),
        Audit::Unverified if cell.role == Role::Sweep => flags.push("unverified".to_owned()),
        Audit::Unverified | Audit::Verified => {}
    }
    if is_client_bound(cell) && cell.role == Role::Sweep {
        flags.push("client-bound".to_owned());
    }
    for flag in &cell.flags {
        // A flag may carry its reason after a colon; on the picture the word is enough.
        let word = flag.split(':').next().unwrap_or(flag).trim();
        if !flags.iter().any(|known| known == word) {
            flags.push(word.to_owned());
        }
    }
    flags
}

/// Writes the flags of cells at their partition counts, stacked from `from` by `step`. A flag that all cells share
/// is written once for all of them. Cells stand at one place when they have one partition count.
fn write_flags(canvas: &mut Canvas, cells: &[&Cell], x: &Scale, frame: Frame, from: f64, step: f64) {
    let mut places: std::collections::BTreeMap<u64, Vec<String>> = std::collections::BTreeMap::new();
    let mut common: Option<Vec<String>> = None;
    for cell in cells {
        let Some(partitions) = cell.parameters.partitions else { continue };
        let null = cell.role == Role::NullBroker;
        let flags =
            cell_flags(cell).into_iter().map(|flag| if null { format!("null: {flag}") } else { flag });
        places.entry(partitions).or_default().extend(flags);
    }
    for flags in places.values_mut() {
        flags.sort();
        flags.dedup();
        match &mut common {
            Some(common) => common.retain(|flag| flags.contains(flag)),
            None => common = Some(flags.clone()),
        }
    }
    let class = |flag: &str| if flag.ends_with("FAIL") { "fail small" } else { "flag small" };
    let mut line = 0.0;
    let common = common.filter(|_| places.len() > 1).unwrap_or_default();
    if !common.is_empty() {
        let text = format!("every point: {}", common.join(", "));
        let middle = f64::midpoint(frame.left, frame.right);
        canvas.text(middle, from, Anchor::Middle, class(&text), &text);
        line = 1.0;
    }
    for (partitions, flags) in &places {
        let left = x.at(*partitions as f64);
        // At the ends a centred word would run over the labels beside the axis.
        let anchor = match () {
            () if left - frame.left < 30.0 => Anchor::Start,
            () if frame.right - left < 30.0 => Anchor::End,
            () => Anchor::Middle,
        };
        for (i, flag) in flags.iter().filter(|flag| !common.contains(flag)).enumerate() {
            canvas.text(left, from + step * (i as f64 + line), anchor, class(flag), flag);
        }
    }
}

fn colour(place: usize) -> usize {
    place % style::DATA_COLOURS
}
