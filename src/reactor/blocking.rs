//! Threads for the calls that may wait for a disk: flushes, waits for write-out, reads of what is not in memory.
//!
//! In: jobs, each under a key, with everything it uses. Out: their results, and a wake of the engine that asked. Threads
//! are started as they are needed. A flush may wait for seconds, so at least one thread is left for reads.
//!
//! Write-out has a thread of its own, below the reactors: a kernel worker of the ring takes the reactor's core for as long
//! as a range lasts (2.5 ms for 8 MiB, thirty times a second at 260 MB/s), and a reader would wait for it here.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::reactor::{Disk, Done, File, OsDisk, Waker, pin};

/// The share of a busy core that write-out may take: about a tenth of a reactor's.
const WRITE_OUT_NICE: i32 = 10;

/// A call that may wait.
#[derive(Debug)]
pub(super) enum Job {
    /// Goes on behind the first `done` bytes.
    Read {
        file: File,
        position: u64,
        into: Vec<u8>,
        done: usize,
    },
    SyncData {
        file: File,
    },
    SyncFileSystem {
        file: File,
    },
    WriteOut {
        file: File,
        position: u64,
        length: u64,
        /// Wait for its end and, only where that succeeded, let go of the pages (H10).
        drop: bool,
    },
}

impl Job {
    /// Does it, on whatever thread this is.
    pub fn run(self) -> Done {
        match self {
            Job::Read { file, position, mut into, done } => {
                let result = OsDisk.read_full_at(&file, position + done as u64, &mut into[done..]);
                let result = result.map(|more| done + more);
                into.truncate(*result.as_ref().unwrap_or(&done));
                Done::Read { into, result }
            }
            Job::SyncData { file } => Done::Flushed(until_done(|| OsDisk.sync_data(&file))),
            Job::SyncFileSystem { file } => Done::Flushed(until_done(|| OsDisk.sync_file_system(&file))),
            Job::WriteOut { file, position, length, drop } => Done::WrittenOut(until_done(|| {
                if !drop {
                    return OsDisk.start_write_out(&file, position, length);
                }
                OsDisk.wait_write_out(&file, position, length)?;
                OsDisk.drop_pages(&file, position, length)
            })),
        }
    }
}

/// A signal is no answer of the disk.
fn until_done(mut call: impl FnMut() -> io::Result<()>) -> io::Result<()> {
    loop {
        match call() {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// The threads, seen from their engine.
#[derive(Debug)]
pub(super) struct Blocking {
    shared: Arc<Shared>,
    threads_max: usize,
}

#[derive(Debug)]
struct Shared {
    queues: Mutex<Queues>,
    work: Condvar,
    write_out_work: Condvar,
    results: Mutex<Vec<(usize, Done)>>,
    /// Results were added since they were last taken.
    ready: AtomicBool,
    waker: Waker,
}

#[derive(Debug, Default)]
struct Queues {
    reads: VecDeque<(usize, Job)>,
    others: VecDeque<(usize, Job)>,
    write_outs: VecDeque<(usize, Job)>,
    has_write_out_thread: bool,
    /// Threads there are, that of write-out aside, those of them that wait for a job, and those that do something other than a read.
    threads: usize,
    idle: usize,
    at_others: usize,
    ended: bool,
    /// Open for as long as any of these threads may touch the disk (H07).
    held: Vec<File>,
}

impl Blocking {
    /// No thread is started yet. `threads_max` is at least 1.
    pub fn new(waker: Waker, threads_max: usize) -> Blocking {
        assert!(threads_max > 0, "without threads nothing would be done");
        let shared = Shared {
            queues: Mutex::default(),
            work: Condvar::new(),
            write_out_work: Condvar::new(),
            results: Mutex::default(),
            ready: AtomicBool::new(false),
            waker,
        };
        Blocking { shared: Arc::new(shared), threads_max }
    }

    /// Does a job on a thread; its result comes under `key`. Without a thread to be had it is done here: late, but done.
    pub fn start(&self, key: usize, job: Job) {
        let mut queues = lock(&self.shared.queues);
        match job {
            Job::Read { .. } => queues.reads.push_back((key, job)),
            Job::SyncData { .. } | Job::SyncFileSystem { .. } => queues.others.push_back((key, job)),
            Job::WriteOut { .. } => {
                queues.write_outs.push_back((key, job));
                return self.start_write_out(queues);
            }
        }
        let waiting = queues.reads.len() + queues.others.len();
        if queues.idle >= waiting || queues.threads >= self.threads_max {
            drop(queues);
            return self.shared.work.notify_one();
        }
        queues.threads += 1;
        let number = queues.threads;
        drop(queues);
        let shared = Arc::clone(&self.shared);
        let others_max = others_max(self.threads_max);
        let name = format!("blocking-{number}");
        let started = std::thread::Builder::new().name(name).spawn(move || shared.serve(others_max));
        if started.is_ok() {
            return;
        }
        let mut queues = lock(&self.shared.queues);
        queues.threads -= 1;
        if queues.threads > 0 {
            return; // Those there are will come to it.
        }
        let jobs: Vec<(usize, Job)> = std::mem::take(&mut queues.reads).into_iter().collect();
        let others = std::mem::take(&mut queues.others);
        drop(queues);
        for (key, job) in jobs.into_iter().chain(others) {
            self.shared.finish(key, job.run());
        }
    }

    fn start_write_out(&self, mut queues: MutexGuard<'_, Queues>) {
        if queues.has_write_out_thread {
            drop(queues);
            return self.shared.write_out_work.notify_one();
        }
        let shared = Arc::clone(&self.shared);
        let thread = std::thread::Builder::new().name("write-out".to_owned());
        queues.has_write_out_thread = thread.spawn(move || shared.serve_write_outs()).is_ok();
        if !queues.has_write_out_thread {
            let jobs = std::mem::take(&mut queues.write_outs);
            drop(queues);
            jobs.into_iter().for_each(|(key, job)| self.shared.finish(key, job.run()));
        }
    }

    /// True when `take` finds something. Costs no lock.
    pub fn is_ready(&self) -> bool {
        self.shared.ready.load(Ordering::Acquire)
    }

    /// Results since the last call.
    pub fn take(&self, into: &mut Vec<(usize, Done)>) {
        if self.is_ready() && self.shared.ready.swap(false, Ordering::AcqRel) {
            into.append(&mut lock(&self.shared.results));
        }
    }

    /// Keeps `file` open until the last thread has ended.
    pub fn hold(&self, file: &File) {
        let mut queues = lock(&self.shared.queues);
        if !queues.held.contains(file) {
            queues.held.push(file.clone());
        }
    }
}

impl Drop for Blocking {
    /// Nobody waits for what has not begun. Threads in a call end after it; waiting for them could take as long as a
    /// broken disk does.
    fn drop(&mut self) {
        let mut queues = lock(&self.shared.queues);
        queues.ended = true;
        queues.reads.clear();
        queues.others.clear();
        queues.write_outs.clear();
        drop(queues);
        self.shared.work.notify_all();
        self.shared.write_out_work.notify_all();
    }
}

/// Threads that may be at something other than a read at once.
fn others_max(threads_max: usize) -> usize {
    (threads_max - 1).max(1)
}

impl Shared {
    /// The life of a thread.
    fn serve(&self, others_max: usize) {
        let mut queues = lock(&self.queues);
        while !queues.ended {
            let read = queues.reads.pop_front();
            let is_read = read.is_some();
            let free = queues.at_others < others_max;
            let next = read.or_else(|| if free { queues.others.pop_front() } else { None });
            let Some((key, job)) = next else {
                queues.idle += 1;
                queues = self.work.wait(queues).unwrap_or_else(PoisonError::into_inner);
                queues.idle -= 1;
                continue;
            };
            queues.at_others += usize::from(!is_read);
            drop(queues);
            let done = job.run();
            self.finish(key, done);
            queues = lock(&self.queues);
            queues.at_others -= usize::from(!is_read);
        }
    }

    /// The life of the write-out thread.
    fn serve_write_outs(&self) {
        pin::roam();
        pin::set_nice(WRITE_OUT_NICE);
        let mut queues = lock(&self.queues);
        while !queues.ended {
            let Some((key, job)) = queues.write_outs.pop_front() else {
                queues = self.write_out_work.wait(queues).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            drop(queues);
            self.finish(key, job.run());
            queues = lock(&self.queues);
        }
    }

    fn finish(&self, key: usize, done: Done) {
        lock(&self.results).push((key, done));
        // One wake for all results until they are taken.
        if !self.ready.swap(true, Ordering::AcqRel) {
            self.waker.wake();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reactor::OpenMode;

    #[test]
    fn more_jobs_than_threads_are_all_done_and_each_comes_back_once() {
        let directory = tempfile::tempdir_in(".").unwrap();
        let file = OsDisk.open(&directory.path().join("file"), OpenMode::CreateNew).unwrap();
        OsDisk.write_all_at(&file, 0, &[7; 10_000]).unwrap();
        let blocking = Blocking::new(Waker::by_event().unwrap(), 2);
        for key in 0..300 {
            let job = match key % 3 {
                0 => Job::Read { file: file.clone(), position: 9_000, into: vec![0; 2_000], done: 500 },
                1 => Job::SyncData { file: file.clone() },
                _ => Job::WriteOut { file: file.clone(), position: 0, length: 4096, drop: key % 2 == 0 },
            };
            blocking.start(key, job);
        }
        let mut done = Vec::new();
        while done.len() < 300 {
            blocking.take(&mut done);
            std::thread::yield_now();
        }
        assert!(lock(&blocking.shared.queues).threads <= 2);
        done.sort_by_key(|(key, _)| *key);
        for (index, (key, done)) in done.iter().enumerate() {
            assert_eq!(index, *key);
            match done {
                Done::Read { into, result } => {
                    assert_eq!(*result.as_ref().unwrap(), 1_000);
                    assert!(into.len() == 1_000 && into[500..].iter().all(|byte| *byte == 7));
                }
                Done::Flushed(result) | Done::WrittenOut(result) => assert!(result.is_ok(), "{result:?}"),
                other => panic!("{other:?}"),
            }
        }
    }
}
