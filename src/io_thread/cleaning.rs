//! Compaction, as far as the owner of a log has a part in it: which logs are due, and swaps that a cleaner thread has
//! prepared.
//!
//! In: orders of the cleaner threads. Out: offers, plans, and logs that read from new segments. Only memory changes here,
//! and four names: what reads, writes and waits is the cleaner's.

use super::*;
use crate::ids::Offset;
use crate::io_thread::order::{CleaningOffer, OfferTaker};
use crate::log::FlushScope;
use crate::log::cleaning::{CleanedGroup, CleaningPlan};
use crate::log::window::SegmentKey;

impl IoLoop {
    pub(super) fn offer_cleaning(&mut self, every_ms: i64, take: OfferTaker, now: Instant) {
        self.housekeeping.offer_cleaning(every_ms, take, now);
    }

    /// Adds the log at `slot` to the offers when it is due.
    pub(super) fn look_for_dirt(&mut self, slot: u32, engine: &mut dyn Engine) {
        let wall = engine.wall();
        let Some(partition) = partition_mut(&mut self.partitions, slot) else { return };
        if !partition.log.config().cleanup_compact {
            return;
        }
        // Only what is flushed is compacted: what supersedes a record must not be lost where the record was safe.
        if partition.log.flush_due(wall).is_some() && !std::mem::replace(&mut partition.flush_wanted, true) {
            self.flush_queue.push((slot, FlushScope::ClosedSegments));
        }
        match partition.log.due_for_cleaning(engine.disk(), wall) {
            Ok(Some(dirty)) => self.housekeeping.offers.push(CleaningOffer {
                slot,
                topic: Arc::clone(&partition.topic),
                partition: partition.number,
                directory: partition.directory,
                ratio: dirty.ratio(),
            }),
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(topic = %partition.topic, partition = partition.number, %error, "cannot be looked at for compaction");
            }
        }
    }

    pub(super) fn plan_cleaning(&mut self, slot: u32, engine: &mut dyn Engine) -> Option<CleaningPlan> {
        let wall = engine.wall();
        let partition = partition_mut(&mut self.partitions, slot)?;
        match partition.log.plan_cleaning(engine.disk(), wall) {
            Ok(plan) => plan,
            Err(error) => {
                tracing::warn!(topic = %partition.topic, partition = partition.number, %error, "cannot be compacted");
                None
            }
        }
    }

    pub(super) fn take_cleaned(&mut self, slot: u32, group: &CleanedGroup) -> bool {
        let Some(partition) = partition_mut(&mut self.partitions, slot) else { return false };
        if !partition.log.take_cleaned(group) {
            return false;
        }
        for base in &group.replaced {
            let key = SegmentKey { log: u64::from(slot), segment_base: Offset(*base) };
            self.windows[usize::from(partition.directory)].forget(key);
        }
        true
    }

    pub(super) fn name_cleaned(&mut self, slot: u32, base_offset: i64, engine: &mut dyn Engine) -> bool {
        let Some(partition) = partition_mut(&mut self.partitions, slot) else { return false };
        let directory = partition.directory;
        match partition.log.name_cleaned(engine.disk(), base_offset) {
            Ok(()) => true,
            Err(error) => {
                self.directory_failed(directory, &error);
                false
            }
        }
    }

    pub(super) fn end_cleaning(&mut self, slot: u32, first_dirty: Option<i64>) {
        if let Some(partition) = partition_mut(&mut self.partitions, slot) {
            partition.log.end_cleaning(first_dirty);
        }
    }
}
