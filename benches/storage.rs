//! The storage engines side by side: ways of appending blocks to 1, 16 and 1,024 files, and what a GB costs.
//!
//! In: nothing but the machine; `BENCH_QUICK=1` measures 32 MiB per cell instead of 256 MiB. Out: a table on stdout.
//! `GB/s` counts until the bytes are taken, `to disk` until they are flushed; `CPU s/GB` is this process with its kernel
//! workers, without the flush and without the kernel's own write-out threads. The measurement itself is that of
//! `ringdaw bench engines`; `tokio-uring` takes part with `--features tokio-uring`.
//! Data goes to `bench-data/storage` in the working directory and is removed again.

use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ringdaw::reactor::{direct, pin};
use ringdaw::rig::engines::{Engine, IN_FLIGHT, Point, measure};

const GB: f64 = 1e9;
const MIB: u64 = 1 << 20;
const FILES: [usize; 3] = [1, 16, 1024];
/// No cell starts later than this.
const TIME_MAX: Duration = Duration::from_secs(150);

fn main() -> io::Result<()> {
    direct::raise_open_files_limit()?;
    let cores = pin::usable_cores();
    pin::pin_to(cores[0]);
    let place = Place::make()?;
    let started = Instant::now();
    // As criterion: without `--bench` this is a test run, which shows that everything works and measures nothing.
    if !std::env::args().any(|argument| argument == "--bench") {
        let effort = Effort { cell_bytes: MIB / 2, rounds: 1 };
        Table::measure(&place, &effort, 16 << 10, started)?.print_what_works();
        return Ok(());
    }
    let is_quick = std::env::var_os("BENCH_QUICK").is_some_and(|value| value != "0" && !value.is_empty());
    let effort = if is_quick {
        Effort { cell_bytes: 32 * MIB, rounds: 1 }
    } else {
        Effort { cell_bytes: 256 * MIB, rounds: 2 }
    };
    print_surroundings(&effort, cores.len());
    for block_bytes in [16 << 10, 256 << 10] {
        Table::measure(&place, &effort, block_bytes, started)?.print();
    }
    println!("\nload average at the end: {}", load_average());
    Ok(())
}

struct Effort {
    cell_bytes: u64,
    rounds: usize,
}

/// The directory of a run; goes away with it.
struct Place(PathBuf);

impl Place {
    fn make() -> io::Result<Place> {
        let path = PathBuf::from("bench-data/storage");
        if path.exists() {
            // A run that was killed left it.
            std::fs::remove_dir_all(&path)?;
        }
        std::fs::create_dir_all(&path)?;
        Ok(Place(path))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("{}: {error}", self.0.display());
        }
    }
}

/// What one cell came to.
#[derive(Clone, Copy)]
struct Figures {
    gb_per_s: f64,
    cpu_s_per_gb: f64,
    to_disk_gb_per_s: f64,
}

impl Figures {
    /// The better of two runs, figure by figure: what disturbs a run only ever makes it worse.
    fn better(self, other: Figures) -> Figures {
        Figures {
            gb_per_s: self.gb_per_s.max(other.gb_per_s),
            cpu_s_per_gb: self.cpu_s_per_gb.min(other.cpu_s_per_gb),
            to_disk_gb_per_s: self.to_disk_gb_per_s.max(other.to_disk_gb_per_s),
        }
    }
}

enum Outcome {
    /// Time was over.
    Missing,
    Measured(Figures),
    Refused(String),
}

struct Table {
    block_bytes: usize,
    files: Vec<usize>,
    rows: Vec<(Engine, Vec<Outcome>)>,
}

impl Table {
    fn measure(place: &Place, effort: &Effort, block_bytes: usize, started: Instant) -> io::Result<Table> {
        let blocks = (effort.cell_bytes / block_bytes as u64) as usize;
        let mut files = FILES.map(|files| files.min(blocks)).to_vec();
        files.dedup();
        let rows = Engine::all()
            .into_iter()
            .map(|engine| (engine, files.iter().map(|_| Outcome::Missing).collect()))
            .collect();
        let mut table = Table { block_bytes, files, rows };
        for round in 0..effort.rounds {
            for column in 0..table.files.len() {
                eprintln!(
                    "{} KiB blocks, {} files, round {} of {}",
                    block_bytes >> 10,
                    table.files[column],
                    round + 1,
                    effort.rounds
                );
                let mut order: Vec<usize> = (0..table.rows.len()).collect();
                if round % 2 == 1 {
                    // What an engine leaves behind for the next one is not always the same engine's burden.
                    order.reverse();
                }
                for row in order {
                    if started.elapsed() < TIME_MAX {
                        table.run_cell(place, effort, row, column)?;
                    }
                }
            }
        }
        Ok(table)
    }

    fn run_cell(&mut self, place: &Place, effort: &Effort, row: usize, column: usize) -> io::Result<()> {
        let point = Point { files: self.files[column], block_bytes: self.block_bytes };
        let measured = measure(self.rows[row].0, &place.0.join("cell"), point, effort.cell_bytes, false)?;
        let figures = measured.bytes_per_s.zip(measured.cpu_s_per_gb).zip(measured.flushed_bytes_per_s);
        let outcome = match (measured.refused, figures) {
            (Some(reason), _) => Outcome::Refused(reason),
            (None, Some(((rate, cpu_s_per_gb), to_disk))) => Outcome::Measured(Figures {
                gb_per_s: rate / GB,
                cpu_s_per_gb,
                to_disk_gb_per_s: to_disk / GB,
            }),
            (None, None) => Outcome::Missing,
        };
        let cell = &mut self.rows[row].1[column];
        *cell = match (std::mem::replace(cell, Outcome::Missing), outcome) {
            (Outcome::Measured(before), Outcome::Measured(now)) => Outcome::Measured(before.better(now)),
            (_, now) => now,
        };
        Ok(())
    }

    fn print_what_works(&self) {
        for (engine, cells) in &self.rows {
            for (cell, files) in cells.iter().zip(&self.files) {
                let result = match cell {
                    Outcome::Measured(_) => "works",
                    Outcome::Missing => "not run",
                    Outcome::Refused(reason) => reason,
                };
                println!("storage/{}/{files} files: {result}", engine.name());
            }
        }
    }

    fn print(&self) {
        let (name_width, column_width) = (32, 28);
        println!("\n{} KiB blocks", self.block_bytes >> 10);
        print!("{:name_width$}", "");
        for files in &self.files {
            let plural = if *files == 1 { "file" } else { "files" };
            print!("{:>column_width$}", format!("{} {plural}", thousands(*files)));
        }
        print!("\n{:name_width$}", "engine");
        for _ in &self.files {
            print!("{:>10}{:>9}{:>9}", "GB/s", "CPU s/GB", "to disk");
        }
        println!();
        let mut refusals: Vec<String> = Vec::new();
        for (engine, cells) in &self.rows {
            print!("{:name_width$}", engine.name());
            for cell in cells {
                match cell {
                    Outcome::Measured(figures) => print!(
                        "{:>10.2}{:>9.2}{:>9.2}",
                        figures.gb_per_s, figures.cpu_s_per_gb, figures.to_disk_gb_per_s
                    ),
                    Outcome::Missing => print!("{:>column_width$}", "no time left"),
                    Outcome::Refused(reason) => {
                        print!("{:>column_width$}", "refused");
                        refusals.push(format!("{}: {reason}", engine.name()));
                    }
                }
            }
            println!();
        }
        refusals.dedup();
        for refusal in refusals {
            println!("{refusal}");
        }
    }
}

fn thousands(number: usize) -> String {
    if number < 1000 { number.to_string() } else { format!("{},{:03}", number / 1000, number % 1000) }
}

fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().unwrap_or("unknown").to_owned()
}

fn print_surroundings(effort: &Effort, cores: usize) {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    println!(
        "storage engines: kernel {}, {cores} cores, {} here, load average {}",
        kernel.trim(),
        file_system(),
        load_average()
    );
    println!(
        "{} MiB per cell, {}, one pinned writer, rings with {IN_FLIGHT} in flight; GB = 10^9 bytes",
        effort.cell_bytes / MIB,
        if effort.rounds == 1 { "one round".to_owned() } else { format!("best of {} rounds", effort.rounds) }
    );
    println!("GB/s until taken, to disk: GB/s until flushed; CPU of the process until taken");
}

/// The type of the file system that holds the working directory.
fn file_system() -> String {
    let here = std::env::current_dir().unwrap_or_default();
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    let mut best = (0, "unknown file system");
    for line in mounts.lines() {
        let mut fields = line.split(' ').skip(1);
        if let (Some(at), Some(kind)) = (fields.next(), fields.next())
            && here.starts_with(at)
            && at.len() >= best.0
        {
            best = (at.len(), kind);
        }
    }
    best.1.to_owned()
}
