//! Flushes, and what the end of one lets happen.
//!
//! In: partitions that want one. Out: rounds of flushes, the high watermark of group commit, and, with the first error, the
//! end of the log directory (`FAULTS.md` section 8).

use crate::clock::Instant;
use crate::config::Durability;
use crate::ids::Offset;
use crate::io_thread::produce::{appended, refused};
use crate::io_thread::{FLUSH_FILES_MAX, IoLoop, partition_mut, token, tokens};
use crate::log::{AppendRefusal, LogError};
use crate::reactor::{Engine, File, Operation};

/// One round of flushes of one directory: everything that wanted one when it began shares it.
#[derive(Debug)]
pub(super) struct FlushRound {
    directory: u16,
    slots: Vec<u32>,
    /// Operations not completed.
    left: usize,
    error: Option<std::io::Error>,
    began: Instant,
}

impl IoLoop {
    /// The first write or flush error is final for a log directory (`FAULTS.md` section 8).
    pub(super) fn directory_failed(&mut self, directory: u16, error: &LogError) {
        if !self.directories[usize::from(directory)].fail(&error.to_string()) {
            return;
        }
        self.metrics.flush_errors.increment();
        let mut refused_parts = Vec::new();
        let mut watchers = Vec::new();
        for partition in self.partitions.iter_mut().flatten().filter(|p| p.directory == directory) {
            partition.log.fail();
            for waiting in std::mem::take(&mut partition.unacknowledged) {
                refused_parts.push((waiting.produce, waiting.entry));
            }
            watchers.extend_from_slice(&partition.watchers);
        }
        for (produce, entry) in refused_parts {
            self.produced(produce, refused(entry, &AppendRefusal::Failed));
        }
        for (set, entry) in watchers {
            self.flag(set, entry);
        }
    }

    /// Starts a round of flushes for each directory that has none under way: what comes meanwhile shares the next one. A
    /// few files are flushed one by one on the ring; many by one flush of their file system, whose cost does not grow with
    /// their number.
    pub(super) fn start_flushes(&mut self, now: Instant, engine: &mut dyn Engine) {
        if self.flush_queue.is_empty() {
            return;
        }
        let busy: Vec<u16> = self.rounds.iter().map(|(_, round)| round.directory).collect();
        let mut later = Vec::new();
        let mut begun: Vec<(FlushRound, Vec<File>)> = Vec::new();
        for (slot, scope) in std::mem::take(&mut self.flush_queue) {
            let Some(partition) = partition_mut(&mut self.partitions, slot) else { continue };
            let directory = partition.directory;
            if busy.contains(&directory) {
                later.push((slot, scope));
                continue;
            }
            partition.flush_wanted = false;
            let at = match begun.iter().position(|(round, _)| round.directory == directory) {
                Some(at) => at,
                None => {
                    let round = FlushRound { directory, slots: Vec::new(), left: 0, error: None, began: now };
                    begun.push((round, Vec::new()));
                    begun.len() - 1
                }
            };
            let (round, files) = &mut begun[at];
            match partition.log.begin_flush(engine.disk(), scope, files) {
                Ok(Some(_)) => round.slots.push(slot),
                Ok(None) => {}
                Err(error) => self.directory_failed(directory, &error),
            }
        }
        self.flush_queue = later;
        for (mut round, files) in begun {
            if round.slots.is_empty() {
                continue;
            }
            let shared = files.len() > FLUSH_FILES_MAX;
            round.left = if shared { 1 } else { files.len() };
            let token = token(tokens::FLUSH, self.rounds.insert(round));
            if shared {
                let file = files[0].clone();
                engine.submit(token, Operation::SyncFileSystem { file });
            } else {
                for file in files {
                    engine.submit(token, Operation::SyncData { file });
                }
            }
        }
    }

    pub(super) fn on_flushed(&mut self, key: usize, result: std::io::Result<()>, engine: &mut dyn Engine) {
        let round = &mut self.rounds[key];
        round.left -= 1;
        if let Err(error) = result {
            round.error.get_or_insert(error);
        }
        if round.left > 0 {
            return;
        }
        let FlushRound { directory, slots, error, began, .. } = self.rounds.remove(key);
        self.metrics.flush.record(engine.now().since(began).as_nanos() as u64);
        let wall = engine.wall();
        for slot in slots {
            let Some(partition) = partition_mut(&mut self.partitions, slot) else { continue };
            let result = match &error {
                None => Ok(()),
                Some(error) => Err(std::io::Error::new(error.kind(), error.to_string())),
            };
            match partition.log.on_flushed(result, wall) {
                Ok(flushed) => {
                    if partition.config.durability == Durability::GroupCommit {
                        self.advance(slot, engine.now());
                        self.settle_alone(slot, flushed);
                        self.fetchers.on_flushed(slot);
                    }
                }
                Err(error) => self.directory_failed(directory, &error),
            }
        }
    }

    /// The high watermark has come to `upto`: replies are due and readers have news.
    pub(super) fn commit(&mut self, slot: u32, upto: Offset) {
        let Some(partition) = partition_mut(&mut self.partitions, slot) else { return };
        if !partition.log.advance_high_watermark(upto) {
            return;
        }
        let log_start = partition.log.start_offset();
        let mut answers = Vec::new();
        while let Some(waiting) = partition.unacknowledged.front() {
            if waiting.upto > upto {
                break;
            }
            let waiting = partition.unacknowledged.pop_front().expect("just looked at");
            let part = appended(waiting.entry, waiting.base_offset, waiting.append_time_ms, log_start);
            answers.push((waiting.produce, part));
        }
        let watchers = std::mem::take(&mut partition.watchers);
        for (set, entry) in &watchers {
            self.flag(*set, *entry);
        }
        if let Some(partition) = partition_mut(&mut self.partitions, slot) {
            partition.watchers = watchers;
        }
        for (produce, part) in answers {
            self.produced(produce, part);
        }
    }
}
