//! The state of the page cache around a block (RIG section 10): how the machine is brought into it and what it is.
//!
//! In: the directory under test. Out: bytes free, cached and dirty, and a growth probe: what a byte costs that makes
//! the page cache grow. Every file made here is removed again.
//!
//! `window_write` and `growing_write` are also two of the physical limits, so they take any number of files.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::environment::Meminfo;
use crate::reactor::process::thread_cpu_ns;
use crate::reactor::{Disk, File, OpenMode, OsDisk};
use crate::report::run::CacheState;

/// Written before every block, those of the null broker included.
pub const WARM_UP_BYTES: u64 = 512 << 20;
/// Write-out starts after this many bytes of a file ...
const WRITE_OUT_BYTES: u64 = 8 << 20;
/// ... and pages this far behind are dropped.
const WINDOW_BYTES: u64 = 64 << 20;

/// What a piece of work moved, took and cost.
#[derive(Clone, Copy, Debug, Default)]
pub struct Moved {
    pub bytes: u64,
    pub elapsed: Duration,
    /// Of the threads whose cost is the question.
    pub cpu_ns: u64,
}

impl Moved {
    pub fn bytes_per_s(&self) -> Option<f64> {
        let seconds = self.elapsed.as_secs_f64();
        (seconds > 0.0 && self.bytes > 0).then(|| self.bytes as f64 / seconds)
    }

    pub fn cpu_ns_per_kib(&self) -> Option<f64> {
        (self.bytes > 0).then(|| self.cpu_ns as f64 / (self.bytes as f64 / 1024.0))
    }
}

/// Files that disappear with the value.
pub struct ScratchFiles {
    files: Vec<File>,
    directory: PathBuf,
}

impl ScratchFiles {
    pub fn create(parent: &Path, name: &str, count: usize) -> io::Result<ScratchFiles> {
        let directory = parent.join(name);
        OsDisk.create_directory(&directory)?;
        let mut scratch = ScratchFiles { files: Vec::new(), directory };
        for number in 0..count {
            let path = scratch.directory.join(number.to_string());
            scratch.files.push(OsDisk.open(&path, OpenMode::CreateNew)?);
        }
        Ok(scratch)
    }

    pub fn path(&self, number: usize) -> PathBuf {
        self.directory.join(number.to_string())
    }
}

impl Drop for ScratchFiles {
    fn drop(&mut self) {
        self.files.clear();
        // What stays behind is in the run's data directory, whose removal reports it.
        let _ = OsDisk.remove_directory(&self.directory);
    }
}

/// Where a write ends: at so many bytes, or when the time is over.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    pub bytes: u64,
    pub time: Duration,
}

/// Appends pieces of `piece_bytes` round robin over the files, letting the page cache grow.
pub fn growing_write(scratch: &ScratchFiles, piece_bytes: usize, bound: Bound) -> io::Result<Moved> {
    write(scratch, piece_bytes, bound, |_, _| Ok(()))
}

/// The same through a bounded window shared by all files: write-out starts early, written pages are dropped behind.
pub fn window_write(scratch: &ScratchFiles, piece_bytes: usize, bound: Bound) -> io::Result<Moved> {
    let files = scratch.files.len() as u64;
    // A file gets its share of the window, in whole pieces; below that the calls cost more than they save.
    let write_out = (WRITE_OUT_BYTES / files).max(piece_bytes as u64);
    let window = (WINDOW_BYTES / files).max(2 * write_out);
    let mut started = vec![0u64; scratch.files.len()];
    let mut dropped = vec![0u64; scratch.files.len()];
    write(scratch, piece_bytes, bound, |number, end| {
        let file = &scratch.files[number];
        if end - started[number] >= write_out {
            OsDisk.start_write_out(file, started[number], end - started[number])?;
            started[number] = end;
        }
        if started[number] - dropped[number] > window {
            let until = started[number] - window;
            OsDisk.wait_write_out(file, dropped[number], until - dropped[number])?;
            OsDisk.drop_pages(file, dropped[number], until - dropped[number])?;
            dropped[number] = until;
        }
        Ok(())
    })
}

fn write(
    scratch: &ScratchFiles,
    piece_bytes: usize,
    bound: Bound,
    mut after: impl FnMut(usize, u64) -> io::Result<()>,
) -> io::Result<Moved> {
    let piece = vec![0x5a; piece_bytes];
    let mut ends = vec![0u64; scratch.files.len()];
    let mut bytes = 0;
    let started = Instant::now();
    let cpu = thread_cpu_ns();
    'all: loop {
        for (number, file) in scratch.files.iter().enumerate() {
            if bytes >= bound.bytes || started.elapsed() >= bound.time {
                break 'all;
            }
            let count = OsDisk.write_at(file, ends[number], &[IoSlice::new(&piece)])?;
            if count == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            ends[number] += count as u64;
            bytes += count as u64;
            after(number, ends[number])?;
        }
    }
    Ok(Moved { bytes, elapsed: started.elapsed(), cpu_ns: thread_cpu_ns() - cpu })
}

/// The same short write before every block, so that each finds the memory as the one before it did.
pub fn warm_up(directory: &Path, bytes: u64) -> io::Result<Moved> {
    let scratch = ScratchFiles::create(directory, "warm-up", 1)?;
    window_write(&scratch, 1 << 20, Bound { bytes, time: Duration::from_secs(5) })
}

/// What letting go of a directory's pages left.
pub struct Evicted {
    /// In all its files.
    pub bytes: u64,
    /// In memory afterwards; None where the kernel cannot tell (before 6.5).
    pub left: Option<u64>,
}

/// Writes out and lets go of every page of the files below `directory`. A file that goes away meanwhile is passed over.
pub fn evict(directory: &Path) -> io::Result<Evicted> {
    let mut evicted = Evicted { bytes: 0, left: Some(0) };
    for entry in OsDisk.list(directory)? {
        let path = directory.join(&entry.name);
        if entry.is_directory {
            let inner = evict(&path)?;
            evicted.bytes += inner.bytes;
            evicted.left = evicted.left.zip(inner.left).map(|(sum, left)| sum + left);
            continue;
        }
        let Ok(file) = OsDisk.open(&path, OpenMode::Read) else { continue };
        let length = OsDisk.length(&file)?;
        OsDisk.start_write_out(&file, 0, length)?;
        OsDisk.wait_write_out(&file, 0, length)?;
        OsDisk.drop_pages(&file, 0, length)?;
        let left = OsDisk.residency(&file, 0, length)?;
        evicted.bytes += length;
        evicted.left = evicted.left.zip(left).map(|(sum, left)| sum + left.cached);
    }
    Ok(evicted)
}

/// Memory as it is, with a growth probe of `probe_bytes` if that is not 0.
pub fn state(directory: &Path, probe_bytes: u64) -> CacheState {
    let memory = Meminfo::read();
    let bytes = |name| memory.as_ref().and_then(|m| m.bytes(name));
    let mut state = CacheState {
        free_bytes: bytes("MemFree"),
        cached_bytes: bytes("Cached"),
        dirty_bytes: bytes("Dirty"),
        writeback_bytes: bytes("Writeback"),
        ..CacheState::default()
    };
    if probe_bytes > 0 {
        let probe = ScratchFiles::create(directory, "growth-probe", 1).and_then(|scratch| {
            growing_write(&scratch, 256 << 10, Bound { bytes: probe_bytes, time: Duration::from_secs(5) })
        });
        if let Ok(moved) = probe {
            state.growth_probe_bytes_per_s = moved.bytes_per_s();
            state.growth_probe_cpu_ns_per_kib = moved.cpu_ns_per_kib();
        }
    }
    state
}

/// Waits until little dirty data is left, so that a block does not pay for the one before it. False at the deadline.
pub fn settle(limit_bytes: u64, deadline: Duration) -> bool {
    let until = Instant::now() + deadline;
    loop {
        let dirty = Meminfo::read().and_then(|m| Some(m.bytes("Dirty")? + m.bytes("Writeback")?));
        match dirty {
            Some(bytes) if bytes > limit_bytes => {}
            Some(_) | None => return true,
        }
        if Instant::now() >= until || super::interrupt::requested() {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_write_what_they_say_and_leave_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let bound = Bound { bytes: 3 << 20, time: Duration::from_secs(60) };
        for way in [growing_write, window_write] {
            let scratch = ScratchFiles::create(folder.path(), "files", 3).unwrap();
            let moved = way(&scratch, 16 << 10, bound).unwrap();
            let lengths: Vec<u64> =
                (0..3).map(|number| std::fs::metadata(scratch.path(number)).unwrap().len()).collect();
            assert_eq!(moved.bytes, 3 << 20);
            assert_eq!(lengths.iter().sum::<u64>(), 3 << 20);
            drop(scratch);
            assert!(!folder.path().join("files").exists());
        }
    }

    #[test]
    fn the_state_names_memory_and_the_probe() {
        let folder = tempfile::tempdir().unwrap();
        let state = state(folder.path(), 1 << 20);
        assert!(state.free_bytes.is_some() && state.growth_probe_bytes_per_s.is_some());
        assert_eq!(super::state(folder.path(), 0).growth_probe_bytes_per_s, None);
    }
}
