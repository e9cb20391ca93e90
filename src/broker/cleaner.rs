//! The cleaner threads: compaction beside the reactors (contract 3.5).
//!
//! In: offers of the IO loops, each a log that is due. Out: passes over the dirtiest ones, at most `log.cleaner.threads`
//! at a time, no faster together than `log.cleaner.io.max.bytes.per.second`; and `cleaner-offset-checkpoint`.
//! A thread reads closed segments and writes new ones by itself, and waits for the disk as long as it must: the owner of
//! the log is asked for nothing but a look in memory and a few renames.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::mpsc;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::broker::background::{DirectiveSender, direct_to};
use crate::broker::reactor_thread::Directive;
use crate::config::Config;
use crate::ids::{Home, ReactorId};
use crate::io_thread::DirectoryState;
use crate::io_thread::order::{Acknowledge, CleaningOffer, Order};
use crate::log::checkpoint::{self, Checkpoint, Offsets};
use crate::log::cleaning::{CleanedGroup, CleaningError, CleaningMeans, CleaningPlan, Owner};
use crate::log::{self, LogError};
use crate::reactor::{Disk, OsDisk, direct, pin};

/// A pass that waits for its share of the disk looks this often whether it has been stopped.
const STOP_CHECK: Duration = Duration::from_millis(50);
/// What compaction has time for, requests do not wait for: it gets what they leave of a core.
const NICE: i32 = 10;
/// Nothing to remove and nothing offered: an offer ends the wait.
const IDLE: Duration = Duration::from_secs(3600);

/// How far each log has been compacted: the content of the checkpoint files, and their one writer. And which logs are at
/// work, because a log must not be deleted under a pass: one of the same name may come after it.
pub struct CleanerPoints {
    directories: Vec<Arc<DirectoryState>>,
    offsets: Mutex<Vec<Offsets>>,
    at_work: Mutex<AtWork>,
    done: Condvar,
}

#[derive(Default)]
struct AtWork {
    busy: BTreeSet<Home>,
    /// Of the busy ones, those that are to be left.
    unwanted: BTreeSet<Home>,
}

impl CleanerPoints {
    pub fn new(directories: Vec<Arc<DirectoryState>>, offsets: Vec<Offsets>) -> Arc<CleanerPoints> {
        Arc::new(CleanerPoints {
            directories,
            offsets: Mutex::new(offsets),
            at_work: Mutex::new(AtWork::default()),
            done: Condvar::new(),
        })
    }

    fn at_work(&self) -> MutexGuard<'_, AtWork> {
        self.at_work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_busy(&self, home: Home) -> bool {
        self.at_work().busy.contains(&home)
    }

    fn is_unwanted(&self, home: Home) -> bool {
        self.at_work().unwanted.contains(&home)
    }

    fn begin(&self, home: Home) {
        self.at_work().busy.insert(home);
    }

    fn end(&self, home: Home) {
        let mut at_work = self.at_work();
        at_work.busy.remove(&home);
        at_work.unwanted.remove(&home);
        drop(at_work);
        self.done.notify_all();
    }

    /// Ends passes over these logs, which their owners have let go of; none is under way when this returns.
    pub fn leave(&self, homes: &[Home]) {
        let mut at_work = self.at_work();
        loop {
            let busy: Vec<Home> = homes.iter().copied().filter(|home| at_work.busy.contains(home)).collect();
            if busy.is_empty() {
                return;
            }
            at_work.unwanted.extend(busy);
            at_work = self.done.wait(at_work).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn set(&self, directory: u16, topic: &str, partition: i32, offset: i64) {
        let mut offsets = self.offsets.lock().unwrap_or_else(PoisonError::into_inner);
        offsets[usize::from(directory)].insert((topic.to_owned(), partition), offset);
        self.write(directory, &offsets);
    }

    /// These replicas are gone: one of the same name begins anew.
    pub fn forget<'a>(&self, replicas: impl Iterator<Item = (u16, &'a str, i32)>) {
        let mut offsets = self.offsets.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changed = BTreeSet::new();
        for (directory, topic, partition) in replicas {
            if offsets[usize::from(directory)].remove(&(topic.to_owned(), partition)).is_some() {
                changed.insert(directory);
            }
        }
        for directory in changed {
            self.write(directory, &offsets);
        }
    }

    fn write(&self, directory: u16, offsets: &[Offsets]) {
        let state = &self.directories[usize::from(directory)];
        if state.has_failed() {
            return;
        }
        let lines: Vec<(&str, i32, i64)> = offsets[usize::from(directory)]
            .iter()
            .map(|((topic, partition), offset)| (topic.as_str(), *partition, *offset))
            .collect();
        let written = checkpoint::write(&OsDisk, &state.path, Checkpoint::Cleaner, lines.into_iter());
        match written {
            Err(error) if !log::is_no_space(&error) => {
                state.fail(&format!("cleaner checkpoint: {error}"));
            }
            // What is not noted is cleaned once more after the next start.
            Err(error) => {
                tracing::warn!(directory = %state.path.display(), %error, "no room for the cleaner's checkpoint")
            }
            Ok(()) => {}
        }
    }
}

/// The threads. Dropping it does not end them; `stop` does.
pub struct Cleaner {
    shared: Arc<Shared>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

struct Shared {
    means: CleaningMeans,
    bytes_per_second: f64,
    reactors: Vec<(ReactorId, DirectiveSender)>,
    directories: Vec<Arc<DirectoryState>>,
    points: Arc<CleanerPoints>,
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    offers: BTreeMap<Home, CleaningOffer>,
    /// Logs that cannot be compacted, until the next start.
    given_up: BTreeSet<Home>,
    /// Files of replaced segments, and when they go.
    doomed: Vec<(Instant, Vec<PathBuf>)>,
    /// When what was read and written so far may have been, at the allowed speed.
    paid_until: Option<Instant>,
    stopped: bool,
}

enum Work {
    Clean(Home, CleaningOffer),
    Remove(Vec<PathBuf>),
    End,
}

impl Cleaner {
    /// Starts the threads and asks the IO loops for offers. Without `log.cleaner.enable` there is nothing to start.
    pub fn start(
        config: &Config,
        reactors: Vec<(ReactorId, DirectiveSender)>,
        directories: Vec<Arc<DirectoryState>>,
        points: Arc<CleanerPoints>,
    ) -> std::io::Result<Option<Cleaner>> {
        let count = config.log_cleaner_threads;
        if !config.log_cleaner_enable || count == 0 {
            return Ok(None);
        }
        let shared = Arc::new(Shared {
            means: CleaningMeans {
                map_bytes: config.log_cleaner_dedupe_buffer_size / count,
                load_factor: config.log_cleaner_io_buffer_load_factor,
                // Half for what is read, half for what is written.
                io_bytes: config.log_cleaner_io_buffer_size / count / 2,
            },
            bytes_per_second: config.log_cleaner_io_max_bytes_per_second,
            reactors,
            directories,
            points,
            state: Mutex::new(State::default()),
            wake: Condvar::new(),
        });
        let mut threads = Vec::new();
        for number in 0..count {
            let shared = Arc::clone(&shared);
            let thread = std::thread::Builder::new().name(format!("cleaner-{number}"));
            threads.push(thread.spawn(move || {
                pin::set_nice(NICE);
                shared.run();
            })?);
        }
        let every_ms = i64::try_from(config.log_cleaner_backoff_ms).unwrap_or(i64::MAX).max(1);
        for (reactor, sender) in &shared.reactors {
            let (shared, reactor) = (Arc::clone(&shared), *reactor);
            let take = Box::new(move |offers| shared.offered(reactor, offers));
            direct_to(sender, Directive::Order(Order::OfferCleaning { every_ms, take }));
        }
        Ok(Some(Cleaner { shared, threads }))
    }

    /// Ends the passes under way and the threads. What a pass has swapped stays; the rest is begun anew another time.
    pub fn stop(self) {
        self.shared.lock().stopped = true;
        self.shared.wake.notify_all();
        for thread in self.threads {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Called on an IO thread, with all that is due there.
    fn offered(&self, reactor: ReactorId, offers: Vec<CleaningOffer>) {
        let mut state = self.lock();
        for offer in offers {
            let home = Home { reactor, slot: offer.slot };
            if !state.given_up.contains(&home) {
                state.offers.insert(home, offer);
            }
        }
        drop(state);
        self.wake.notify_all();
    }

    fn run(&self) {
        loop {
            match self.next() {
                Work::Clean(home, offer) => {
                    self.clean(home, &offer);
                    self.points.end(home);
                }
                Work::Remove(paths) => remove(&paths),
                Work::End => return,
            }
        }
    }

    fn next(&self) -> Work {
        let mut state = self.lock();
        loop {
            if state.stopped {
                return Work::End;
            }
            let now = Instant::now();
            if let Some(due) = state.doomed.iter().position(|(when, _)| *when <= now) {
                return Work::Remove(state.doomed.swap_remove(due).1);
            }
            let dirtiest = state
                .offers
                .iter()
                .filter(|(home, _)| !self.points.is_busy(**home))
                .max_by(|(_, a), (_, b)| a.ratio.total_cmp(&b.ratio))
                .map(|(home, _)| *home);
            if let Some(home) = dirtiest
                && let Some(offer) = state.offers.remove(&home)
            {
                self.points.begin(home);
                return Work::Clean(home, offer);
            }
            let next = state.doomed.iter().map(|(when, _)| when.saturating_duration_since(now)).min();
            let wait = next.unwrap_or(IDLE);
            state = self.wake.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// One log, until it is no longer due.
    fn clean(&self, home: Home, offer: &CleaningOffer) {
        let Some((_, sender)) = self.reactors.iter().find(|(id, _)| *id == home.reactor) else { return };
        let slot = home.slot;
        let (topic, partition) = (&offer.topic, offer.partition);
        loop {
            let plan = ask(sender, |done| Order::PlanCleaning { slot, done }).flatten();
            let Some(plan) = plan.filter(|_| !self.lock().stopped) else {
                ask(sender, |done| Order::EndCleaning { slot, first_dirty: None, done });
                return;
            };
            let began = Instant::now();
            let mut owner = Remote { shared: self, sender, slot, plan: &plan };
            let result = plan.run(
                &OsDisk,
                self.means,
                direct::wall(),
                &mut |bytes| self.pace(home, bytes),
                &mut owner,
            );
            let first_dirty = result.as_ref().ok().map(|pass| pass.first_dirty);
            ask(sender, |done| Order::EndCleaning { slot, first_dirty, done });
            match result {
                Ok(pass) => {
                    self.points.set(offer.directory, topic, partition, pass.first_dirty);
                    tracing::info!(
                        %topic,
                        partition,
                        from = plan.dirty.first_dirty,
                        to = pass.first_dirty,
                        read_bytes = pass.read_bytes,
                        written_bytes = pass.written_bytes,
                        keys = pass.keys,
                        map_bytes = pass.map_bytes,
                        segments_before = pass.segments_before,
                        segments_after = pass.segments_after,
                        ms = began.elapsed().as_millis() as u64,
                        "compacted"
                    );
                }
                Err(CleaningError::Stopped | CleaningError::Gone) => return,
                Err(error) => return self.failed(home, offer, &error),
            }
        }
    }

    fn failed(&self, home: Home, offer: &CleaningOffer, error: &CleaningError) {
        let (topic, partition) = (&offer.topic, offer.partition);
        match error {
            // The replica has been deleted under the pass.
            CleaningError::Log(LogError::Io { source, .. })
                if source.kind() == std::io::ErrorKind::NotFound => {}
            CleaningError::Log(LogError::NoSpace { .. }) => {
                tracing::warn!(%topic, partition, %error, "not compacted for now");
            }
            CleaningError::Log(LogError::Io { .. }) => {
                self.directories[usize::from(offer.directory)].fail(&format!("compaction: {error}"));
            }
            CleaningError::Stopped
            | CleaningError::Gone
            | CleaningError::MapTooSmall { .. }
            | CleaningError::Unreadable { .. }
            | CleaningError::Log(LogError::Corrupt { .. } | LogError::Failed { .. }) => {
                self.lock().given_up.insert(home);
                tracing::error!(%topic, partition, %error, "not compacted until the next start");
            }
        }
    }

    /// Waits until `bytes` more fit the allowed speed. False when the pass is to end.
    fn pace(&self, home: Home, bytes: u64) -> bool {
        if self.points.is_unwanted(home) {
            return false;
        }
        let mut state = self.lock();
        if self.bytes_per_second >= 1e15 {
            return !state.stopped;
        }
        let now = Instant::now();
        let seconds = bytes as f64 / self.bytes_per_second.max(1.0);
        let paid = state.paid_until.filter(|paid| *paid > now).unwrap_or(now);
        let paid = paid + Duration::try_from_secs_f64(seconds).unwrap_or(IDLE);
        state.paid_until = Some(paid);
        loop {
            if state.stopped || self.points.is_unwanted(home) {
                return false;
            }
            let left = paid.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            let wait = left.min(STOP_CHECK);
            state = self.wake.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// The owner of a log, on its IO thread.
struct Remote<'a> {
    shared: &'a Shared,
    sender: &'a DirectiveSender,
    slot: u32,
    plan: &'a CleaningPlan,
}

impl Owner for Remote<'_> {
    fn take(&mut self, group: &CleanedGroup) -> bool {
        let slot = self.slot;
        ask(self.sender, |done| Order::TakeCleaned { slot, group: group.clone(), done }) == Some(true)
    }

    fn name(&mut self, group: &CleanedGroup) -> bool {
        let (slot, base_offset) = (self.slot, group.base_offset);
        // The old files are out of the way by now, and go when nobody can be reading them any more.
        let delay = Duration::from_millis(u64::try_from(self.plan.delete_delay_ms()).unwrap_or(0));
        let when = Instant::now() + delay.min(IDLE * 24 * 365);
        self.shared.lock().doomed.push((when, self.plan.doomed(group)));
        ask(self.sender, |done| Order::NameCleaned { slot, base_offset, done }) == Some(true)
    }
}

/// Sends an order and waits for its acknowledgement; `None` when the reactor has ended.
fn ask<T: Send + 'static>(
    sender: &DirectiveSender,
    order: impl FnOnce(Acknowledge<T>) -> Order,
) -> Option<T> {
    let (reply, wait) = mpsc::channel();
    let done = Box::new(move |answer| {
        let _ = reply.send(answer);
    });
    direct_to(sender, Directive::Order(order(done)));
    wait.recv().ok()
}

fn remove(paths: &[PathBuf]) {
    for path in paths {
        match OsDisk.remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(path = %path.display(), %error, "a replaced segment could not be removed");
            }
            Ok(()) | Err(_) => {}
        }
    }
}
