//! The storage engines side by side: ways of appending blocks to 1, 16 and 1,024 files, and what a GB costs.
//!
//! In: nothing but the machine; `BENCH_QUICK=1` measures 32 MiB per cell instead of 256 MiB. Out: a table on stdout.
//! Each engine appends the same block round robin to all files, from one pinned thread. `GB/s` counts until the bytes
//! are taken, `to disk` until they are flushed; `CPU s/GB` is this process with its kernel workers, without the flush and
//! without the kernel's own write-out threads. Before each cell as much memory is touched and freed again as the cell
//! can need, so that no engine pays for memory that a virtual machine's host has to find first.
//! Data goes to `bench-data/storage` in the working directory and is removed again.

use std::cell::Cell;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use ringdaw::reactor::process::own_cpu_ns;
use ringdaw::reactor::storage::{Block, OpenError, Plan, Storage, Way, flush_files};
use ringdaw::reactor::{Disk, File, OsDisk, direct, pin};

const GB: f64 = 1e9;
const MIB: u64 = 1 << 20;
const IN_FLIGHT: usize = 4;
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

#[derive(Clone, Copy)]
enum Engine {
    Ours(Way),
    TokioUring,
}

impl Engine {
    fn all() -> Vec<Engine> {
        Way::ALL.into_iter().map(Engine::Ours).chain([Engine::TokioUring]).collect()
    }

    fn name(self) -> &'static str {
        match self {
            Engine::Ours(way) => way.name(),
            Engine::TokioUring => "tokio-uring 0.5, buffered",
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
        let engine = self.rows[row].0;
        let file_bytes = effort.cell_bytes / self.files[column] as u64;
        let plan = Plan { files: self.files[column], file_bytes, depth: IN_FLIGHT };
        let directory = place.0.join("cell");
        std::fs::create_dir(&directory)?;
        touch_memory(effort.cell_bytes + 64 * MIB);
        let result = match engine {
            Engine::Ours(way) => run_ours(way, &directory, plan, self.block_bytes),
            Engine::TokioUring => TokioUring::open(&directory, plan, self.block_bytes)
                .and_then(|mut engine| run(&mut engine, plan, self.block_bytes))
                .map(Outcome::Measured),
        };
        let outcome = result.map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", engine.name())))?;
        if matches!(outcome, Outcome::Measured(_)) {
            check_content(&directory, plan, &Block::new(self.block_bytes))?;
        }
        std::fs::remove_dir_all(&directory)?;
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

fn run_ours(way: Way, directory: &Path, plan: Plan, block_bytes: usize) -> io::Result<Outcome> {
    match way.open(directory, plan, Block::new(block_bytes)) {
        Ok(storage) => run(&mut Ours(storage), plan, block_bytes).map(Outcome::Measured),
        Err(OpenError::Refused { reason }) => Ok(Outcome::Refused(reason)),
        Err(error @ OpenError::Io { .. }) => Err(io::Error::other(error.to_string())),
    }
}

/// What can be measured: all appends of a cell at once, because a runtime has a price for each time it is entered.
trait Subject {
    fn append_all(&mut self, appends: usize, files: usize) -> io::Result<()>;
    fn flush(&mut self) -> io::Result<()>;
}

fn run(subject: &mut dyn Subject, plan: Plan, block_bytes: usize) -> io::Result<Figures> {
    let bytes = plan.file_bytes * plan.files as u64;
    let appends = (bytes / block_bytes as u64) as usize;
    let (started, cpu_before) = (Instant::now(), own_cpu_ns());
    subject.append_all(appends, plan.files)?;
    let (taken, cpu_after) = (started.elapsed(), own_cpu_ns());
    subject.flush()?;
    let flushed = started.elapsed();
    let gb = bytes as f64 / GB;
    Ok(Figures {
        gb_per_s: gb / taken.as_secs_f64(),
        cpu_s_per_gb: (cpu_after - cpu_before) as f64 / 1e9 / gb,
        to_disk_gb_per_s: gb / flushed.as_secs_f64(),
    })
}

struct Ours(Box<dyn Storage>);

impl Subject for Ours {
    fn append_all(&mut self, appends: usize, files: usize) -> io::Result<()> {
        for append in 0..appends {
            self.0.append(append % files)?;
        }
        self.0.settle()
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// The rival: its own runtime and ring, buffered writes into reserved blocks, as many tasks as we have in flight.
struct TokioUring {
    runtime: tokio_uring::Runtime,
    files: Vec<Rc<tokio_uring::fs::File>>,
    for_flush: Vec<File>,
    file_bytes: u64,
    block: Block,
}

impl TokioUring {
    fn open(directory: &Path, plan: Plan, block_bytes: usize) -> io::Result<TokioUring> {
        let runtime = tokio_uring::Runtime::new(&tokio_uring::builder())?;
        let (mut files, mut for_flush) = (Vec::new(), Vec::new());
        for number in 0..plan.files {
            let path = directory.join(Plan::file_name(number));
            let file = std::fs::OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
            for_flush.push(File::from(file.try_clone()?));
            OsDisk.allocate(&for_flush[number], 0, plan.file_bytes)?;
            files.push(Rc::new(tokio_uring::fs::File::from_std(file)));
        }
        let (block, file_bytes) = (Block::new(block_bytes), plan.file_bytes);
        Ok(TokioUring { runtime, files, for_flush, file_bytes, block })
    }
}

impl Subject for TokioUring {
    fn append_all(&mut self, appends: usize, files: usize) -> io::Result<()> {
        let next = Rc::new(Cell::new(0));
        self.runtime.block_on(async {
            let mut tasks = Vec::new();
            for _ in 0..IN_FLIGHT {
                let (next, open, mut block) =
                    (Rc::clone(&next), self.files.clone(), self.block.bytes().to_vec());
                tasks.push(tokio_uring::spawn(async move {
                    while next.get() < appends {
                        let append = next.replace(next.get() + 1);
                        let position = (append / files * block.len()) as u64;
                        let (result, returned) = open[append % files].write_all_at(block, position).await;
                        result?;
                        block = returned;
                    }
                    Ok::<(), io::Error>(())
                }));
            }
            for task in tasks {
                task.await.map_err(io::Error::other)??;
            }
            Ok(())
        })
    }

    /// The same calls as for the others: what is measured is how the bytes came in.
    fn flush(&mut self) -> io::Result<()> {
        flush_files(&self.for_flush, self.file_bytes)
    }
}

/// A figure of writes that are not there is none: looks at all lengths, and at both ends of the last file.
fn check_content(directory: &Path, plan: Plan, block: &Block) -> io::Result<()> {
    let wrong = |path: &Path, what: &str| Err(io::Error::other(format!("{}: {what}", path.display())));
    for file in 0..plan.files {
        let path = directory.join(Plan::file_name(file));
        let length = std::fs::metadata(&path)?.len();
        if length != plan.file_bytes {
            return wrong(&path, &format!("{length} bytes where {} were written", plan.file_bytes));
        }
    }
    let path = directory.join(Plan::file_name(plan.files - 1));
    let file = std::fs::File::open(&path)?;
    let mut content = vec![0; block.bytes().len()];
    for position in [0, plan.file_bytes - content.len() as u64] {
        file.read_exact_at(&mut content, position)?;
        if content != block.bytes() {
            return wrong(&path, &format!("the block at {position} is not what was written"));
        }
    }
    Ok(())
}

/// Makes the host give this machine memory that is then free, and soon the page cache's.
fn touch_memory(bytes: u64) {
    let mut memory = vec![0u8; bytes as usize];
    for page in memory.chunks_mut(4096) {
        page[0] = 1;
    }
    std::hint::black_box(&memory);
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
