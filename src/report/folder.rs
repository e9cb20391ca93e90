//! The run folder: what a run leaves behind, and how to rebuild it.
//!
//! ```text
//! results/<UTC time>-<kind>-<short id>/
//!   plan.json      cells, order, seeds: written before the first block
//!   run.json       everything; all other files can be rebuilt from it
//!   cells.csv      one value a line
//!   series.csv     one row per second
//!   hdr/           <cell>-<subject>-<metric>.hlog and .hgrm
//!   report.html    one file
//!   config/        effective configuration of each subject, and the workloads
//!   logs/          what subjects and probes printed
//! ```
//!
//! In: a plan, then runs as they grow. Out: files.
//! `run.json` is replaced whole, so an interrupted run leaves the last complete one. Every other file is made from
//! what was read back from it, never from memory: that is why rebuilding gives the same bytes.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hdrhistogram::Histogram as Hdr;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};

use super::run::{Block, Cell, METRICS, Plan, Run, RunError, SCHEMA};
use crate::random;

use super::{csv, engines, figures, page, picture, statistics, table};

#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    #[error("{path}: {source}", path = .path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Run(#[from] RunError),
}

/// The folder of a run that is going on.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    run_id: String,
}

impl Folder {
    /// Makes the folder under `results` and writes the plan. Fills `schema`, `run_id` and `started_at_utc` of the
    /// plan; the run takes them over from there.
    pub fn create(results: &Path, plan: &mut Plan, now: SystemTime) -> Result<Folder, FolderError> {
        plan.schema = SCHEMA;
        plan.started_at_utc = figures::utc(now);
        let stamp = plan.started_at_utc.replace(':', "");
        fs::create_dir_all(results).map_err(io_at(results))?;
        let mut attempt = 0;
        let path = loop {
            plan.run_id = format!("{stamp}-{}-{}", file_name(&plan.kind), short_id(now, plan.seed, attempt));
            let path = results.join(&plan.run_id);
            match fs::create_dir(&path) {
                Ok(()) => break path,
                // Two runs of one instant and seed: the next id is as good.
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists && attempt < 1000 => attempt += 1,
                Err(source) => return Err(FolderError::Io { path, source }),
            }
        };
        for part in ["config", "hdr", "logs"] {
            let part = path.join(part);
            fs::create_dir(&part).map_err(io_at(&part))?;
        }
        write_whole(&path.join("plan.json"), plan.to_json().as_bytes(), true)?;
        Ok(Folder { path, run_id: plan.run_id.clone() })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn run_id(&self) -> &str {
        &self.run_id
    }

    pub fn page(&self) -> PathBuf {
        self.path.join("report.html")
    }

    /// Where a subject or probe may write what it prints.
    pub fn log(&self, name: &str) -> PathBuf {
        self.path.join("logs").join(format!("{}.log", file_name(name)))
    }

    /// Replaces `run.json`. Cheap enough after every block: an interrupted run is then complete up to there.
    pub fn save(&self, run: &Run) -> Result<(), FolderError> {
        write_whole(&self.path.join("run.json"), run.to_json().as_bytes(), true)
    }

    /// Replaces `run.json` and writes everything that follows from it.
    pub fn finish(&self, run: &Run) -> Result<(), FolderError> {
        self.save(run)?;
        rebuild(&self.path).map(|_| ())
    }
}

/// Writes every file that follows from the `run.json` of a folder, and gives back the run.
pub fn rebuild(folder: &Path) -> Result<Run, FolderError> {
    let run = Run::read(folder)?;
    for (name, bytes) in derived(&run, &folder.join("run.json"))? {
        let path = folder.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(io_at(parent))?;
        }
        write_whole(&path, &bytes, false)?;
    }
    Ok(run)
}

/// Every file that follows from a run, by its path in the folder. `source` is named in errors.
pub fn derived(run: &Run, source: &Path) -> Result<Vec<(PathBuf, Vec<u8>)>, RunError> {
    let mut files: Vec<(PathBuf, Vec<u8>)> = vec![
        ("cells.csv".into(), csv::cells(run).into_bytes()),
        ("series.csv".into(), csv::series(run).into_bytes()),
        ("report.html".into(), page::html(run, source)?.into_bytes()),
    ];
    if !run.engines.is_empty() {
        files.push(("engines.csv".into(), engines::csv(run).into_bytes()));
    }
    for subject in &run.subjects {
        if let Some(config) = &subject.config {
            let name = format!("config/{}.properties", file_name(&subject.name));
            files.push((name.into(), config.clone().into_bytes()));
        }
    }
    for workload in &run.workloads {
        let short: String = workload.sha256.chars().take(12).collect();
        let name = file_name(workload.name.as_deref().unwrap_or("workload"));
        files.push((format!("config/{name}-{short}.yaml").into(), workload.text.clone().into_bytes()));
    }
    for cell in &run.cells {
        for metric in METRICS {
            let bad = |reason| RunError::Histogram {
                path: source.to_owned(),
                cell: cell.id.clone(),
                metric: metric.to_owned(),
                reason,
            };
            let Some(hdr) = statistics::merged(run.blocks_of(&cell.id), metric).map_err(bad)? else {
                continue;
            };
            let name = format!("hdr/{}-{}-{metric}", file_name(&cell.id), file_name(&cell.subject));
            let log = interval_log(run, cell, metric).map_err(bad)?;
            files.push((format!("{name}.hlog").into(), log));
            files.push((format!("{name}.hgrm").into(), percentile_text(&hdr).into_bytes()));
        }
    }
    Ok(files)
}

/// What `bench report` can be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Form {
    /// Every file of the folder again, and the table as on the terminal.
    Rebuild,
    Markdown,
    Csv,
    /// One SVG file per picture into a directory.
    Svg(PathBuf),
}

/// `bench report RUN... [--md | --csv | --svg DIR]`: the text to print.
pub fn report(runs: &[PathBuf], form: &Form) -> Result<String, FolderError> {
    let mut out = String::new();
    for path in runs {
        let folder =
            if path.is_dir() { path.clone() } else { path.parent().map(Path::to_owned).unwrap_or_default() };
        match form {
            Form::Rebuild => {
                let run = rebuild(&folder)?;
                out.push_str(&table::terminal(&run, Some(&folder.join("report.html"))));
            }
            Form::Markdown => out.push_str(&table::markdown(&Run::read(path)?)),
            Form::Csv => {
                let text = csv::cells(&Run::read(path)?);
                // One head for all runs: the first column tells them apart.
                let skip = if out.is_empty() { 0 } else { text.find('\n').map_or(0, |end| end + 1) };
                out.push_str(&text[skip..]);
            }
            Form::Svg(directory) => {
                let run = Run::read(path)?;
                fs::create_dir_all(directory).map_err(io_at(directory))?;
                for (name, svg) in picture::all(&run, path)? {
                    let name =
                        if runs.len() > 1 { format!("{}-{name}", file_name(&run.run_id)) } else { name };
                    let file = directory.join(format!("{name}.svg"));
                    write_whole(&file, svg.as_bytes(), false)?;
                    out.push_str(&format!("{}\n", file.display()));
                }
            }
        }
    }
    Ok(out)
}

/// The interval log of HdrHistogram: one line per second where the run kept them, else one per block. Times are
/// seconds since the run's start, values ns, tagged with the subject.
fn interval_log(run: &Run, cell: &Cell, metric: &str) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    let mut serializer = V2DeflateSerializer::new();
    let tag = file_name(&cell.subject);
    let mut write = |out: &mut Vec<u8>| -> Result<(), String> {
        let mut log = IntervalLogWriterBuilder::new()
            .add_comment(&format!("{metric} of cell {} in run {}", cell.id, run.run_id))
            .with_max_value_divisor(1.0)
            .begin_log_with(out, &mut serializer)
            .map_err(|e| format!("{e:?}"))?;
        let mut line = |start_ns: u64, duration_ns: u64, hdr: &Hdr<u64>| {
            let (start, length) = (Duration::from_nanos(start_ns), Duration::from_nanos(duration_ns));
            log.write_histogram(hdr, start, length, Tag::new(&tag)).map_err(|e| format!("{e:?}"))
        };
        for block in run.blocks_of(&cell.id) {
            let of = |histograms: &[super::run::Histogram]| {
                histograms.iter().find(|h| h.metric == metric).map(statistics::decode).transpose()
            };
            let mut seconds = 0;
            for second in block.series.iter().filter(|second| second.phase == "measure") {
                if let Some(hdr) = of(&second.histograms)? {
                    line(second.start_ns, second.duration_ns, &hdr)?;
                    seconds += 1;
                }
            }
            if let (0, Some(hdr)) = (seconds, of(&block.histograms)?) {
                let Block { start_ns, duration_ns, .. } = block;
                line(start_ns.unwrap_or(0), duration_ns.unwrap_or(0), &hdr)?;
            }
        }
        Ok(())
    };
    write(&mut out)?;
    Ok(out)
}

/// HdrHistogram's percentile text. Values in ms.
fn percentile_text(hdr: &Hdr<u64>) -> String {
    let mut out = String::from("       Value     Percentile TotalCount 1/(1-Percentile)\n\n");
    for value in hdr.iter_quantiles(5) {
        let quantile = value.quantile_iterated_to();
        let ms = value.value_iterated_to() as f64 / 1e6;
        let below = hdr.count_between(0, value.value_iterated_to());
        let inverse =
            if quantile < 1.0 { format!("{:.2}", 1.0 / (1.0 - quantile)) } else { "inf".to_owned() };
        out.push_str(&format!("{ms:12.6} {quantile:14.12} {below:10} {inverse:>14}\n"));
    }
    let (mean, deviation) = (hdr.mean() / 1e6, hdr.stdev() / 1e6);
    out.push_str(&format!("#[Mean    = {mean:12.6}, StdDeviation   = {deviation:12.6}]\n"));
    out.push_str(&format!(
        "#[Max     = {:12.6}, Total count    = {:12}]\n",
        hdr.max() as f64 / 1e6,
        hdr.len()
    ));
    out
}

/// A name that any file system takes and no shell trips over.
pub(super) fn file_name(text: &str) -> String {
    let name: String = text
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "-_.=+".contains(c) { c } else { '-' })
        .take(100)
        .collect();
    match name.trim_start_matches('.') {
        "" => "unnamed".to_owned(),
        name => name.to_owned(),
    }
}

fn short_id(now: SystemTime, seed: u64, attempt: u64) -> String {
    let ns = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_nanos() as u64;
    let mixed = random::mix(ns ^ seed.rotate_left(32) ^ attempt.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    format!("{:06x}", mixed & 0xff_ffff)
}

/// A file that a reader sees either as it was or as it will be. What can be rebuilt need not be `lasting`.
fn write_whole(path: &Path, bytes: &[u8], lasting: bool) -> Result<(), FolderError> {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let write = || -> io::Result<()> {
        let mut file = fs::File::create(&part)?;
        file.write_all(bytes)?;
        if lasting {
            file.sync_all()?;
        }
        fs::rename(&part, path)
    };
    write().map_err(io_at(path))
}

fn io_at(path: &Path) -> impl Fn(io::Error) -> FolderError {
    let path = path.to_owned();
    move |source| FolderError::Io { path: path.clone(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_from_outside_cannot_leave_the_folder() {
        assert_eq!(file_name("../../etc/passwd"), "-..-etc-passwd");
        assert_eq!(file_name("java-kafka:3.9.1"), "java-kafka-3.9.1");
        assert_eq!(file_name(".."), "unnamed");
    }

    #[test]
    fn two_runs_of_one_instant_get_two_folders() {
        let results = tempfile::tempdir().expect("a directory");
        let now = UNIX_EPOCH + Duration::from_secs(1_788_444_306);
        let mut plan = Plan { kind: "bench".into(), seed: 42, ..Plan::default() };
        let first = Folder::create(results.path(), &mut plan, now).expect("created");
        let second = Folder::create(results.path(), &mut plan, now).expect("created");
        assert_ne!(first.path(), second.path());
        assert!(first.run_id().starts_with("2026-09-03T140506Z-bench-"), "{}", first.run_id());
        assert!(first.path().join("plan.json").is_file());
    }
}
