//! Storage engines side by side: the same appends by every way of writing there is, and what a GB costs.
//!
//! In: a directory, an engine, a number of files and a size of block. Out: figures, or why the engine cannot run here.
//! Each engine appends the same block round robin to all files, from the calling thread. What was written is looked at
//! afterwards: a figure of writes that are not there is none. Before each cell as much memory is touched and freed again
//! as the cell can need, so that no engine pays for memory that a virtual machine's host has to find first.

use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use super::counting::Counting;
use crate::load;
use crate::reactor::process::own_cpu_ns;
use crate::reactor::storage::{Block, OpenError, Plan, Storage, Way};
use crate::report::run::EngineCell;

/// Appends that a ring has in flight.
pub const IN_FLIGHT: usize = 4;
const GB: f64 = 1e9;
const MIB: u64 = 1 << 20;
/// System calls are counted over a part of the work.
const COUNTED_APPENDS_MAX: u64 = 20_000;

/// What appends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    Ours(Way),
    /// Present in builds with the feature `tokio-uring`.
    TokioUring,
}

impl Engine {
    pub fn all() -> Vec<Engine> {
        Way::ALL.into_iter().map(Engine::Ours).chain([Engine::TokioUring]).collect()
    }

    pub fn name(self) -> &'static str {
        match self {
            Engine::Ours(way) => way.name(),
            Engine::TokioUring => "tokio-uring 0.5, buffered",
        }
    }

    fn open(self, directory: &Path, plan: Plan, block: Block) -> Result<Box<dyn Work>, OpenError> {
        match self {
            Engine::Ours(way) => {
                way.open(directory, plan, block).map(|storage| Box::new(Ours(storage)) as Box<dyn Work>)
            }
            #[cfg(feature = "tokio-uring")]
            Engine::TokioUring => rival::TokioUring::open(directory, plan, block)
                .map(|rival| Box::new(rival) as Box<dyn Work>)
                .map_err(|source| OpenError::Io { path: directory.to_owned(), source }),
            #[cfg(not(feature = "tokio-uring"))]
            Engine::TokioUring => Err(OpenError::Refused {
                reason: "this build is without it: build with --features tokio-uring".to_owned(),
            }),
        }
    }
}

/// One point of the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    pub files: usize,
    pub block_bytes: usize,
}

impl Point {
    /// `cell_bytes` in whole rounds over all files, at least one round.
    pub fn plan(self, cell_bytes: u64) -> Plan {
        let round = self.files as u64 * self.block_bytes as u64;
        let rounds = (cell_bytes / round).max(1);
        Plan { files: self.files, file_bytes: rounds * self.block_bytes as u64, depth: IN_FLIGHT }
    }
}

/// What can be measured: all appends of a cell at once, because a runtime has a price for each time it is entered.
trait Work {
    /// Appends round robin; records how long each append kept its caller.
    fn append_all(&mut self, appends: usize, files: usize, took: &mut load::Histogram) -> io::Result<()>;
    fn flush(&mut self) -> io::Result<()>;
}

/// Runs one cell in `directory`, which is made here and is gone afterwards. `is_counted` adds the pass for system calls.
pub fn measure(
    engine: Engine,
    directory: &Path,
    point: Point,
    cell_bytes: u64,
    is_counted: bool,
) -> io::Result<EngineCell> {
    let plan = point.plan(cell_bytes);
    let block = Block::new(point.block_bytes);
    let mut cell = EngineCell {
        engine: engine.name().to_owned(),
        files: point.files as u64,
        block_bytes: point.block_bytes as u64,
        ..EngineCell::default()
    };
    touch_memory(plan.files as u64 * plan.file_bytes + 64 * MIB);
    let named = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", engine.name()));
    let whole = in_directory(directory, || match engine.open(directory, plan, block.clone()) {
        Ok(mut work) => {
            run(work.as_mut(), plan, &block, &mut cell)?;
            drop(work);
            check_content(directory, plan, &block)
        }
        Err(OpenError::Refused { reason }) => {
            cell.refused = Some(reason);
            Ok(())
        }
        Err(error @ OpenError::Io { .. }) => Err(io::Error::other(error.to_string())),
    });
    whole.map_err(named)?;
    if is_counted && cell.refused.is_none() {
        let bytes = (COUNTED_APPENDS_MAX * block.bytes().len() as u64).min(cell_bytes);
        let counted = in_directory(directory, || count(engine, directory, point.plan(bytes), &block));
        cell.syscalls_per_append = counted.map_err(named)?;
    }
    Ok(cell)
}

fn in_directory<T>(directory: &Path, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    std::fs::create_dir_all(directory)?;
    let result = work();
    std::fs::remove_dir_all(directory)?;
    result
}

fn appends_of(plan: Plan, block: &Block) -> usize {
    plan.files * (plan.file_bytes / block.bytes().len() as u64) as usize
}

fn run(work: &mut dyn Work, plan: Plan, block: &Block, cell: &mut EngineCell) -> io::Result<()> {
    let appends = appends_of(plan, block);
    let mut took = load::outcome::histogram();
    let (started, cpu_before) = (Instant::now(), own_cpu_ns());
    work.append_all(appends, plan.files, &mut took)?;
    let (taken, cpu_taken) = (started.elapsed(), own_cpu_ns());
    work.flush()?;
    let (flushed, cpu_flushed) = (started.elapsed(), own_cpu_ns());
    let bytes = plan.files as u64 * plan.file_bytes;
    let cpu_s_per_gb = |until: u64| Some((until - cpu_before) as f64 / 1e9 / (bytes as f64 / GB));
    let rate = |time: Duration| Some(bytes as f64 / time.as_secs_f64());
    cell.bytes = Some(bytes);
    (cell.bytes_per_s, cell.cpu_s_per_gb) = (rate(taken), cpu_s_per_gb(cpu_taken));
    (cell.flushed_bytes_per_s, cell.flushed_cpu_s_per_gb) = (rate(flushed), cpu_s_per_gb(cpu_flushed));
    let quantile = |q| Some(took.value_at_quantile(q));
    (cell.append_ns_p50, cell.append_ns_max) = (quantile(0.5), Some(took.max()));
    // As everywhere: not without ten samples above it.
    cell.append_ns_p99 = quantile(0.99).filter(|_| took.len() >= 1_000);
    Ok(())
}

/// System calls per append, flush and opening apart; `None` where they cannot be counted.
fn count(engine: Engine, directory: &Path, plan: Plan, block: &Block) -> io::Result<Option<f64>> {
    let mut work =
        engine.open(directory, plan, block.clone()).map_err(|e| io::Error::other(e.to_string()))?;
    let Ok(counting) = Counting::start(&[std::process::id()]) else { return Ok(None) };
    let appends = appends_of(plan, block);
    let done = work.append_all(appends, plan.files, &mut load::outcome::histogram());
    let counts = counting.stop();
    done?;
    work.flush()?;
    Ok(counts.syscalls.map(|calls| calls as f64 / appends as f64))
}

fn since_ns(started: Instant) -> u64 {
    started.elapsed().as_nanos() as u64
}

fn note(took: &mut load::Histogram, ns: u64) {
    took.record(ns).expect("a histogram that resizes itself takes every value");
}

struct Ours(Box<dyn Storage>);

impl Work for Ours {
    fn append_all(&mut self, appends: usize, files: usize, took: &mut load::Histogram) -> io::Result<()> {
        for append in 0..appends {
            let started = Instant::now();
            self.0.append(append % files)?;
            note(took, since_ns(started));
        }
        self.0.settle()
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(feature = "tokio-uring")]
mod rival {
    //! The rival: its own runtime and ring, buffered writes into reserved blocks, as many tasks as ours has in flight.
    //! A task waits for its own write, so what an append takes is the time until it is done.

    use std::cell::{Cell, RefCell};
    use std::rc::Rc;

    use super::*;
    use crate::reactor::storage::flush_files;
    use crate::reactor::{Disk, File, OsDisk};

    pub struct TokioUring {
        runtime: tokio_uring::Runtime,
        files: Vec<Rc<tokio_uring::fs::File>>,
        for_flush: Vec<File>,
        file_bytes: u64,
        block: Block,
    }

    impl TokioUring {
        pub fn open(directory: &Path, plan: Plan, block: Block) -> io::Result<TokioUring> {
            let runtime = tokio_uring::Runtime::new(&tokio_uring::builder())?;
            let (mut files, mut for_flush) = (Vec::new(), Vec::new());
            for number in 0..plan.files {
                let path = directory.join(Plan::file_name(number));
                let file = std::fs::OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
                for_flush.push(File::from(file.try_clone()?));
                OsDisk.allocate(&for_flush[number], 0, plan.file_bytes)?;
                files.push(Rc::new(tokio_uring::fs::File::from_std(file)));
            }
            Ok(TokioUring { runtime, files, for_flush, file_bytes: plan.file_bytes, block })
        }
    }

    impl Work for TokioUring {
        fn append_all(&mut self, appends: usize, files: usize, took: &mut load::Histogram) -> io::Result<()> {
            let next = Rc::new(Cell::new(0));
            let times = Rc::new(RefCell::new(load::outcome::histogram()));
            self.runtime.block_on(async {
                let mut tasks = Vec::new();
                for _ in 0..IN_FLIGHT {
                    let (next, times) = (Rc::clone(&next), Rc::clone(&times));
                    let (open, mut block) = (self.files.clone(), self.block.bytes().to_vec());
                    tasks.push(tokio_uring::spawn(async move {
                        while next.get() < appends {
                            let append = next.replace(next.get() + 1);
                            let position = (append / files * block.len()) as u64;
                            let started = Instant::now();
                            let (result, returned) = open[append % files].write_all_at(block, position).await;
                            result?;
                            note(&mut times.borrow_mut(), since_ns(started));
                            block = returned;
                        }
                        Ok::<(), io::Error>(())
                    }));
                }
                for task in tasks {
                    task.await.map_err(io::Error::other)??;
                }
                Ok::<(), io::Error>(())
            })?;
            took.add(&*times.borrow()).expect("a histogram that resizes takes every value of another");
            Ok(())
        }

        /// The same calls as for the others: what is measured is how the bytes came in.
        fn flush(&mut self) -> io::Result<()> {
            flush_files(&self.for_flush, self.file_bytes)
        }
    }
}

/// Looks at all lengths, and at both ends of the last file.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_engine_writes_what_its_figures_say_or_says_why_not() {
        let directory = tempfile::tempdir_in(".").unwrap();
        for engine in Engine::all() {
            for point in [Point { files: 3, block_bytes: 4096 }, Point { files: 1, block_bytes: 1024 }] {
                let cell = measure(engine, &directory.path().join("cell"), point, 64 << 10, false).unwrap();
                assert_eq!(cell.bytes_per_s.is_some(), cell.refused.is_none(), "{cell:?}");
                if cell.refused.is_none() {
                    assert!(cell.bytes.unwrap() >= 60 << 10, "{cell:?}");
                    assert!(cell.flushed_bytes_per_s.unwrap() <= cell.bytes_per_s.unwrap(), "{cell:?}");
                    assert!(cell.flushed_cpu_s_per_gb.unwrap() >= cell.cpu_s_per_gb.unwrap(), "{cell:?}");
                }
            }
        }
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "nothing is left");
    }

    #[test]
    fn a_cell_gives_every_file_the_same() {
        let plan = Point { files: 10_000, block_bytes: 65_536 }.plan(1 << 20);
        assert_eq!((plan.files, plan.file_bytes), (10_000, 65_536), "one block each, whatever was asked for");
        assert_eq!(Point { files: 3, block_bytes: 1024 }.plan(10_000).file_bytes, 3 * 1024);
    }
}
