//! What an IO loop does now and then: retention, checkpoints, forgetting silent producers, looking for what to compact,
//! and at free space.
//!
//! In: the time. Out: work done a slice at a time, so that no turn waits for all partitions; what the checkpoint files
//! should say goes to their one writer by a call.

use std::sync::Arc;

use crate::clock::Instant;
use crate::config::Config;
use crate::ids::Offset;
use crate::io_thread::order::{CleaningOffer, OfferTaker};
use crate::io_thread::{IoLoop, partition_mut};
use crate::log::window::SegmentKey;
use crate::reactor::Engine;

/// A slice ends after this much time.
const SLICE_US: u64 = 1500;
/// Pause between two slices of one round.
const SLICE_PAUSE_MS: i64 = 2;
const SPACE_CHECK_MS: i64 = 1000;

/// What the checkpoint files should say of one partition. Offsets that did not change since the last time are `None`.
#[derive(Clone, Debug)]
pub struct CheckpointNote {
    pub directory: u16,
    pub topic: Arc<str>,
    pub partition: i32,
    pub high_watermark: i64,
    pub recovery_point: Option<i64>,
    /// `Some(None)`: equal to the first segment's base offset, so the file has no line.
    pub log_start: Option<Option<i64>>,
}

/// Takes notes for the checkpoint files; called on the IO thread and must not block.
pub type NoteTaker = Box<dyn Fn(Vec<CheckpointNote>) + Send>;

/// The rounds an IO loop makes over its partitions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Round {
    /// Segments past their time or size.
    Retention,
    /// High watermarks.
    Watermarks,
    /// Recovery points.
    Points,
    /// Log starts.
    Starts,
    /// Producers that have been silent for long.
    Producers,
    /// Logs that compaction should look at.
    Dirt,
    /// Followers that have been behind for too long.
    InSync,
}

#[derive(Debug)]
struct Schedule {
    round: Round,
    every_ms: i64,
    next: Instant,
    /// The slot to go on with while a round is under way.
    cursor: Option<u32>,
}

pub(super) struct Housekeeping {
    schedules: [Schedule; 7],
    next_space_check: Instant,
    notes: NoteTaker,
    /// Logs found due in the round under way.
    pub offers: Vec<CleaningOffer>,
    offer_taker: Option<OfferTaker>,
}

impl Housekeeping {
    pub fn new(config: &Config, notes: NoteTaker, now: Instant) -> Housekeeping {
        let schedule = |round, every_ms: u64, delay_ms: u64| Schedule {
            round,
            every_ms: every_ms.min(i64::MAX as u64) as i64,
            next: now.after_ms(delay_ms.min(i64::MAX as u64) as i64),
            cursor: None,
        };
        let watermarks = config.replica_high_watermark_checkpoint_interval_ms;
        let points = config.log_flush_offset_checkpoint_interval_ms;
        let in_sync = (config.replica_lag_time_max_ms.max(2) / 2) as u64;
        let starts = config.log_flush_start_offset_checkpoint_interval_ms;
        let producers = config.producer_id_expiration_check_interval_ms;
        Housekeeping {
            schedules: [
                schedule(
                    Round::Retention,
                    config.log_retention_check_interval_ms,
                    config.log_initial_task_delay_ms,
                ),
                schedule(Round::Watermarks, watermarks, watermarks),
                schedule(Round::Points, points, points),
                schedule(Round::Starts, starts, starts),
                schedule(Round::Producers, producers, producers),
                // Until somebody takes offers.
                Schedule { next: Instant(u64::MAX), ..schedule(Round::Dirt, 0, 0) },
                schedule(Round::InSync, in_sync, in_sync),
            ],
            next_space_check: now,
            notes,
            offers: Vec::new(),
            offer_taker: None,
        }
    }

    /// Looks for what to compact from now on.
    pub fn offer_cleaning(&mut self, every_ms: i64, take: OfferTaker, now: Instant) {
        self.offer_taker = Some(take);
        if let Some(round) = self.schedules.iter_mut().find(|schedule| schedule.round == Round::Dirt) {
            (round.every_ms, round.next) = (every_ms, now);
        }
    }

    /// When there is something to do next.
    pub fn next(&self) -> Instant {
        let rounds = self.schedules.iter().map(|schedule| schedule.next).min().expect("there are rounds");
        rounds.min(self.next_space_check)
    }
}

impl IoLoop {
    /// Does what is due, at most a slice of each round.
    pub(super) fn keep_house(&mut self, now: Instant, engine: &mut dyn Engine) {
        if self.housekeeping.next_space_check <= now {
            self.housekeeping.next_space_check = now.after_ms(SPACE_CHECK_MS);
            for directory in &self.directories {
                // A directory that cannot be asked is found out by its next write.
                if let Ok(space) = engine.disk().space(&directory.path) {
                    directory.set_free(space.free);
                }
            }
        }
        for index in 0..self.housekeeping.schedules.len() {
            let schedule = &mut self.housekeeping.schedules[index];
            if schedule.next > now {
                continue;
            }
            let (round, from) = (schedule.round, schedule.cursor.unwrap_or(0));
            let (done_to, finished) = self.slice(round, from, now, engine);
            let schedule = &mut self.housekeeping.schedules[index];
            if finished {
                schedule.cursor = None;
                schedule.next = now.after_ms(schedule.every_ms);
            } else {
                schedule.cursor = Some(done_to);
                schedule.next = now.after_ms(SLICE_PAUSE_MS);
            }
        }
    }

    /// Works on partitions from slot `from` on, for the time of a slice.
    fn slice(&mut self, round: Round, from: u32, began: Instant, engine: &mut dyn Engine) -> (u32, bool) {
        let mut notes = Vec::new();
        let mut slot = from;
        let end = self.partitions.len() as u32;
        let until = engine.now().0 + SLICE_US * 1000;
        let _ = began;
        while slot < end {
            self.keep(round, slot, engine, &mut notes);
            slot += 1;
            if slot.is_multiple_of(8) && engine.now().0 >= until {
                break;
            }
        }
        if !notes.is_empty() {
            (self.housekeeping.notes)(notes);
        }
        let offers = std::mem::take(&mut self.housekeeping.offers);
        if let Some(take) = self.housekeeping.offer_taker.as_ref().filter(|_| !offers.is_empty()) {
            take(offers);
        }
        (slot, slot >= end)
    }

    fn keep(&mut self, round: Round, slot: u32, engine: &mut dyn Engine, notes: &mut Vec<CheckpointNote>) {
        let wall = engine.wall();
        let Some(partition) = partition_mut(&mut self.partitions, slot) else { return };
        if partition.log.has_failed() {
            return;
        }
        let directory = partition.directory;
        let note = |high_watermark| CheckpointNote {
            directory,
            topic: Arc::clone(&partition.topic),
            partition: partition.number,
            high_watermark,
            recovery_point: None,
            log_start: None,
        };
        match round {
            Round::Retention => {
                let disk = engine.disk();
                let start_before = partition.log.start_offset();
                let segments_before: Vec<Offset> = partition.log.segments().map(|(base, _)| base).collect();
                let result = partition
                    .log
                    .delete_old_segments(disk, wall)
                    .and_then(|_| partition.log.remove_expired(disk, wall));
                let start = partition.log.start_offset();
                let first = partition.log.segments().next().map_or(start, |(base, _)| base);
                for base in segments_before.into_iter().filter(|base| *base < first) {
                    let key = SegmentKey { log: u64::from(slot), segment_base: base };
                    self.windows[usize::from(directory)].forget(key);
                }
                if start != start_before {
                    tracing::info!(topic = %partition.topic, partition = partition.number, log_start = start.0, "old segments were deleted");
                    partition.show();
                    for (set, entry) in partition.watchers.clone() {
                        self.flag(set, entry);
                    }
                }
                if let Err(error) = result {
                    self.directory_failed(directory, &error);
                }
            }
            Round::Watermarks => {
                let high_watermark = partition.log.high_watermark().0;
                if partition.noted_high_watermark != high_watermark {
                    notes.push(note(high_watermark));
                    partition.noted_high_watermark = high_watermark;
                }
            }
            Round::Points => {
                let high_watermark = partition.log.high_watermark().0;
                let mut note = note(high_watermark);
                match partition.log.recovery_point(engine.disk()) {
                    Ok(point) => {
                        note.recovery_point = Some(point.0);
                        if partition.noted_recovery_point != point.0 {
                            notes.push(note);
                            partition.noted_recovery_point = point.0;
                        }
                    }
                    Err(error) => self.directory_failed(directory, &error),
                }
            }
            Round::Starts => {
                let log_start = partition.log.start_for_checkpoint().map(|offset| offset.0);
                if partition.noted_log_start != log_start {
                    let mut note = note(partition.log.high_watermark().0);
                    note.log_start = Some(log_start);
                    notes.push(note);
                    partition.noted_log_start = log_start;
                }
            }
            Round::Producers => partition.log.expire_producers(wall),
            Round::Dirt => self.look_for_dirt(slot, engine),
            Round::InSync => self.look_for_laggards(slot, engine.now()),
        }
    }
}
