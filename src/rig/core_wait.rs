//! How long the subject's working threads were ready to run while something else had their core.
//!
//! In: process ids, looked at every few milliseconds of the measured window. Out: the time that others had, and the
//! stretches of it that are long enough to be seen in a percentile. A block is void for the CPU that other *processes*
//! use; a kernel thread on a reactor's core (write-back, memory scanning) is in no such account, and its 50 ms stand in
//! p99 as if the broker had been slow. Nothing here voids a block: what the kernel does for a broker's writes may be
//! the broker's own doing. It is named beside the figure instead.
//!
//! Source: `/proc/PID/task/TID/schedstat`, whose second field is the time a thread waited runnable. The kernel adds a
//! wait when it ends, so one that is longer than the distance of two looks still comes in one piece. Threads of the
//! subject itself also wait for each other: what the others of the process used meanwhile on cores that the thread may
//! run on is taken off, all of it, so that the figure is rather too small than too large.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::sampler;
use crate::metrics::slow::Sample;
use crate::reactor::process::monotonic_ns;

/// Between two looks.
const EVERY: Duration = Duration::from_millis(5);
/// The busiest threads are looked at; a thread that does nothing cannot be kept from it.
const THREADS_MAX: usize = 16;
/// A shorter wait is in the sum and no stretch.
const STRETCH_NS_MIN: u64 = 1_000_000;
/// Stretches kept of a block, the longest.
const STRETCHES_MAX: usize = 256;
/// Stretches of one thread that are closer than this had one cause.
const GAP_NS: u64 = 5_000_000;
/// A request is explained by a stretch of at least this share of its response time.
const SHARE_MIN: f64 = 0.5;

/// What others had of the subject's cores in one window.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CoreWait {
    /// Of the thread that lost most: threads wait at the same time, so a sum could be longer than the window. `None` where
    /// the kernel does not say.
    pub others_ns: Option<u64>,
    /// The longest single wait, as far as two looks tell waits apart.
    pub others_ns_max: Option<u64>,
    /// By their start.
    pub stretches: Vec<Stretch>,
}

/// A thread was ready and others had its core.
#[derive(Clone, Debug, PartialEq)]
pub struct Stretch {
    /// Monotonic; known to the distance of two looks.
    pub start_ns: u64,
    pub duration_ns: u64,
    pub thread: String,
}

impl Stretch {
    fn end_ns(&self) -> u64 {
        self.start_ns + self.duration_ns
    }
}

/// One thread's account.
struct Thread {
    name: String,
    schedstat: File,
    /// Bit set of cores in the kernel's words, to tell whether two threads can be in each other's way.
    cores: String,
    cpu_ns: u64,
    delay_ns: u64,
    /// CPU of the subject's other threads since this one's account last moved.
    siblings_ns: u64,
    looked_ns: u64,
    /// What others had of its core since the window began.
    others_ns: u64,
}

impl Thread {
    fn open(task: &Path) -> Option<Thread> {
        let name = fs::read_to_string(task.join("comm")).ok()?.trim().to_owned();
        let status = fs::read_to_string(task.join("status")).ok()?;
        let cores =
            status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?.trim().to_owned();
        let schedstat = File::open(task.join("schedstat")).ok()?;
        let (cpu_ns, delay_ns) = read(&schedstat)?;
        let looked_ns = monotonic_ns();
        Some(Thread { name, schedstat, cores, cpu_ns, delay_ns, siblings_ns: 0, looked_ns, others_ns: 0 })
    }
}

/// CPU time and time waited, both ns. None once the thread is gone.
fn read(schedstat: &File) -> Option<(u64, u64)> {
    let mut text = [0; 96];
    let count = schedstat.read_at(&mut text, 0).ok()?;
    let text = std::str::from_utf8(&text[..count]).ok()?;
    let mut fields = text.split_whitespace();
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

/// The threads that are looked at, from before the warm-up to the end of the window.
pub struct Watch {
    pids: Vec<u32>,
    /// Of each thread before the warm-up: who is busy shows by the time the window begins.
    before: Vec<(u32, u64)>,
    threads: Vec<Thread>,
    used_ns: u64,
    found: CoreWait,
}

impl Watch {
    pub fn new(pids: &[u32]) -> Watch {
        let before = tasks(pids).into_iter().filter_map(|(tid, task)| {
            let (cpu_ns, _) = read(&File::open(task.join("schedstat")).ok()?)?;
            Some((tid, cpu_ns))
        });
        Watch {
            pids: pids.to_vec(),
            before: before.collect(),
            threads: Vec::new(),
            used_ns: 0,
            found: CoreWait::default(),
        }
    }

    /// Looks until `over`; for a thread of its own.
    pub fn run(mut self, over: &AtomicBool) -> CoreWait {
        self.begin();
        while !self.threads.is_empty() && !over.load(Ordering::Relaxed) {
            std::thread::sleep(EVERY);
            self.look();
        }
        self.end()
    }

    /// The window begins: the busiest threads so far are the ones that work.
    fn begin(&mut self) {
        let mut threads: Vec<(u64, Thread)> = tasks(&self.pids)
            .into_iter()
            .filter_map(|(tid, task)| {
                let thread = Thread::open(&task)?;
                let before = self.before.iter().find(|(known, _)| *known == tid).map_or(0, |(_, ns)| *ns);
                Some((thread.cpu_ns.saturating_sub(before), thread))
            })
            .collect();
        threads.sort_by_key(|(used, _)| std::cmp::Reverse(*used));
        // A thread that used next to nothing of the warm-up waits for nobody.
        let most = threads.first().map_or(0, |(used, _)| *used);
        threads.retain(|(used, _)| *used * 100 >= most);
        threads.truncate(THREADS_MAX);
        self.threads = threads.into_iter().map(|(_, thread)| thread).collect();
        self.used_ns = sampler::cpu_ns(&self.pids).unwrap_or(0);
        if !self.threads.is_empty() {
            (self.found.others_ns, self.found.others_ns_max) = (Some(0), Some(0));
        }
    }

    fn look(&mut self) {
        let now_ns = monotonic_ns();
        let used_ns = sampler::cpu_ns(&self.pids).unwrap_or(self.used_ns);
        let all_ns = used_ns.saturating_sub(self.used_ns);
        self.used_ns = used_ns;
        let readings: Vec<Option<(u64, u64)>> =
            self.threads.iter().map(|thread| read(&thread.schedstat)).collect();
        let moved: Vec<u64> = self
            .threads
            .iter()
            .zip(&readings)
            .map(|(thread, reading)| reading.map_or(0, |(cpu_ns, _)| cpu_ns.saturating_sub(thread.cpu_ns)))
            .collect();
        let places: Vec<String> = self.threads.iter().map(|thread| thread.cores.clone()).collect();
        for (at, reading) in readings.into_iter().enumerate() {
            let Some((cpu_ns, delay_ns)) = reading else { continue };
            // Pinned to one other core each, two threads cannot be in each other's way.
            let single = |cores: &str| cores.parse::<u32>().is_ok();
            let apart: u64 = (0..places.len())
                .filter(|other| {
                    single(&places[*other]) && single(&places[at]) && places[*other] != places[at]
                })
                .map(|other| moved[other])
                .sum();
            let thread = &mut self.threads[at];
            thread.siblings_ns += all_ns.saturating_sub(moved[at]).saturating_sub(apart);
            let waited = delay_ns.saturating_sub(thread.delay_ns);
            if waited > 0 || moved[at] > 0 {
                let others = waited.saturating_sub(thread.siblings_ns);
                thread.others_ns += others;
                self.found.others_ns = self.found.others_ns.max(Some(thread.others_ns));
                self.found.add(others, thread.looked_ns, now_ns, &thread.name);
                (thread.cpu_ns, thread.delay_ns, thread.siblings_ns) = (cpu_ns, delay_ns, 0);
            }
            thread.looked_ns = now_ns;
        }
    }

    fn end(mut self) -> CoreWait {
        let stretches = &mut self.found.stretches;
        stretches.sort_by_key(|stretch| std::cmp::Reverse(stretch.duration_ns));
        stretches.truncate(STRETCHES_MAX);
        stretches.sort_by_key(|stretch| stretch.start_ns);
        self.found
    }
}

impl CoreWait {
    /// A wait of `others_ns` that ended between two looks.
    fn add(&mut self, others_ns: u64, before_ns: u64, now_ns: u64, thread: &str) {
        self.others_ns_max = self.others_ns_max.map(|max| max.max(others_ns));
        if others_ns < STRETCH_NS_MIN {
            return;
        }
        let start_ns = now_ns.saturating_sub(others_ns).min(before_ns);
        match self.stretches.iter_mut().rev().find(|known| known.thread == thread) {
            Some(known) if start_ns <= known.end_ns() + GAP_NS => {
                known.duration_ns = now_ns.max(known.end_ns()) - known.start_ns;
            }
            _ => self.stretches.push(Stretch { start_ns, duration_ns: others_ns, thread: thread.to_owned() }),
        }
    }
}

/// Threads of all processes, with their folders.
fn tasks(pids: &[u32]) -> Vec<(u32, std::path::PathBuf)> {
    pids.iter()
        .flat_map(|pid| fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten())
        .filter_map(|task| Some((task.file_name().to_str()?.parse().ok()?, task.path())))
        .collect()
}

/// How many of the slow requests `stretches` explain, or `None` where they do not explain p99.
///
/// The rule: a request is explained when others had a working thread's core for at least half as long as the request
/// took, in a stretch that the request's time touches, or within as long again after it, while the queue that the
/// stretch left behind was worked off. p99 is explained when fewer than one percent of all requests remain above half of
/// it once the explained ones are left out: without them it would be at most half of what it is. `slow` must hold every
/// request above half of p99 (`complete_above_ns`), or nothing is said. All times of `slow` count from `zero_ns`.
pub fn explained(
    stretches: &[Stretch],
    p99_ns: u64,
    requests: u64,
    slow: &[Sample],
    complete_above_ns: u64,
    zero_ns: u64,
) -> Option<u64> {
    let half = p99_ns / 2;
    if stretches.is_empty() || complete_above_ns > half {
        return None;
    }
    let is_explained = |sample: &Sample| {
        let start = zero_ns + sample.intended_ns;
        let end = start + sample.latency_ns;
        stretches.iter().any(|stretch| {
            stretch.duration_ns as f64 >= SHARE_MIN * sample.latency_ns as f64
                && start <= stretch.end_ns() + stretch.duration_ns
                && end + EVERY.as_nanos() as u64 >= stretch.start_ns
        })
    };
    let above: Vec<&Sample> = slow.iter().filter(|sample| sample.latency_ns > half).collect();
    let hit = above.iter().filter(|sample| is_explained(sample)).count();
    let remain = above.len() - hit;
    (hit > 0 && (remain as u64) * 100 < requests).then_some(hit as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn stretch(start_ms: u64, length_ms: u64) -> Stretch {
        Stretch { start_ns: start_ms * MS, duration_ns: length_ms * MS, thread: "io".to_owned() }
    }

    fn requests(of: &[(u64, u64, u64)]) -> Vec<Sample> {
        let each = |(first, count, latency): &(u64, u64, u64)| {
            let (first, latency_ns) = (*first, latency * MS);
            (first..first + count)
                .map(move |at| Sample { intended_ns: at * MS, latency_ns })
                .collect::<Vec<_>>()
        };
        of.iter().flat_map(each).collect()
    }

    #[test]
    fn p99_is_explained_by_a_stretch_as_long_as_its_requests_and_by_nothing_shorter() {
        let slow = requests(&[(1000, 50, 50)]);
        let said = |stretches: &[Stretch]| explained(stretches, 50 * MS, 4000, &slow, 0, 0);
        assert_eq!(said(&[stretch(1000, 50)]), Some(50));
        assert_eq!(said(&[stretch(1000, 20)]), None, "20 ms do not make 50");
        assert_eq!(said(&[stretch(3000, 50)]), None, "another time");
        assert_eq!(said(&[]), None);
        assert_eq!(
            explained(&[stretch(1000, 50)], 50 * MS, 4000, &slow, 30 * MS, 0),
            None,
            "not all are known"
        );
    }

    #[test]
    fn what_remains_slow_without_the_stretch_keeps_p99_unexplained() {
        let stretches = [stretch(1000, 50)];
        let slow = requests(&[(1000, 50, 50), (9000, 50, 50)]);
        assert_eq!(explained(&stretches, 50 * MS, 4000, &slow, 0, 0), None, "50 of 4,000 are still slow");
        assert_eq!(
            explained(&stretches, 50 * MS, 6000, &slow, 0, 0),
            Some(50),
            "50 of 6,000 are not one percent"
        );
    }

    #[test]
    fn the_queue_behind_a_stretch_counts_with_it() {
        let slow = requests(&[(1040, 60, 40)]);
        assert_eq!(explained(&[stretch(1000, 50)], 40 * MS, 5000, &slow, 0, 0), Some(60));
        // Times of requests count from the schedule's start, those of stretches from the machine's.
        assert_eq!(explained(&[stretch(8000, 50)], 40 * MS, 5000, &slow, 0, 7000 * MS), Some(60));
    }

    #[test]
    fn waits_close_together_are_one_stretch_and_short_ones_none() {
        let mut found = CoreWait { others_ns: Some(0), others_ns_max: Some(0), stretches: Vec::new() };
        found.add(MS / 2, 95 * MS, 100 * MS, "io");
        found.add(30 * MS, 195 * MS, 200 * MS, "io");
        found.add(4 * MS, 200 * MS, 205 * MS, "io");
        found.add(2 * MS, 200 * MS, 205 * MS, "network");
        found.add(9 * MS, 495 * MS, 500 * MS, "io");
        assert_eq!(found.others_ns_max, Some(30 * MS));
        let spans: Vec<(u64, u64)> =
            found.stretches.iter().map(|s| (s.start_ns / MS, s.duration_ns / MS)).collect();
        assert_eq!(spans, [(170, 35), (200, 2), (491, 9)]);
    }

    #[test]
    fn an_idle_subject_waits_for_nobody_and_one_that_is_gone_has_no_figure() {
        let over = AtomicBool::new(true);
        let mut child = std::process::Command::new("sleep").arg("30").spawn().expect("sleep");
        let waited = Watch::new(&[child.id()]).run(&over);
        assert!(waited.others_ns.is_some() && waited.stretches.is_empty(), "{waited:?}");
        child.kill().expect("our child");
        child.wait().expect("our child");
        assert_eq!(Watch::new(&[child.id()]).run(&over), CoreWait::default());
    }
}
