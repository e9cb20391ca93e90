//! Offsets by time, or by the ends of a log.
//!
//! In: partitions and timestamps. Out: offsets. Look-ups run after the turn's appends; one that needs more of index or
//! segment than is in memory goes on when that has been read, and holds up nobody but its own request.

use crate::api::command::{ListOffsets, ListOffsetsPart, Outcome};
use crate::api::list_offsets;
use crate::ids::{LeaderEpoch, Offset};
use crate::io_thread::lookup::{self, InMemory, LookUp, Missing};
use crate::io_thread::partition::Role;
use crate::io_thread::{IoLoop, LOOKUPS_MAX, epoch_error, partition_mut};
use crate::log;
use crate::reactor::{Disk, Engine};
use crate::wire::error_code::ErrorCode;

/// A request for offsets that is being answered, one partition after the other.
#[derive(Debug)]
pub(super) struct Listing {
    request: ListOffsets,
    /// The partition that is looked at.
    at: usize,
    /// How often something was missing there.
    lookups: usize,
}

impl IoLoop {
    pub(super) fn on_list_offsets(&mut self, request: ListOffsets) {
        let listing = self.listings.insert(Listing { request, at: 0, lookups: 0 });
        self.lists.push(listing);
    }

    pub(super) fn answer_lists(&mut self, engine: &mut dyn Engine) {
        for key in std::mem::take(&mut self.lists) {
            let mut listing = self.listings.remove(key);
            match self.list_all(&mut listing, engine.disk()) {
                Ok(()) => {
                    let ListOffsets { reply_to, parts } = listing.request;
                    self.outcomes.push((reply_to.reactor, Outcome::ListedOffsets { reply_to, parts }));
                }
                Err(missing) => {
                    let listing = self.listings.insert(listing);
                    self.look_up(LookUp::List { listing }, missing, engine);
                }
            }
        }
    }

    /// Goes on with a request; an error is what has to be in memory first.
    fn list_all(&mut self, listing: &mut Listing, disk: &dyn Disk) -> Result<(), Missing> {
        while let Some(part) = listing.request.parts.get_mut(listing.at) {
            self.list(part, listing.lookups, disk).inspect_err(|_| listing.lookups += 1)?;
            listing.at += 1;
            listing.lookups = 0;
        }
        Ok(())
    }

    fn list(&mut self, part: &mut ListOffsetsPart, lookups: usize, disk: &dyn Disk) -> Result<(), Missing> {
        let Some(partition) = partition_mut(&mut self.partitions, part.slot) else {
            part.answer.error = ErrorCode::UnknownTopicOrPartition;
            return Ok(());
        };
        let refusal = epoch_error(part.leader_epoch, partition.leader_epoch)
            .or_else(|| (!partition.leads()).then_some(ErrorCode::NotLeaderOrFollower));
        if let Some(error) = refusal {
            part.answer.error = error;
            return Ok(());
        }
        if partition.log.has_failed() {
            part.answer.error = ErrorCode::KafkaStorageError;
            return Ok(());
        }
        let log = &mut partition.log;
        // A search by time asks each segment for the largest it holds, and remembers the answer.
        let patience = usize::from(LOOKUPS_MAX) + log.segment_count();
        let in_memory = InMemory(disk);
        let search: &dyn Disk = if lookups < patience { &in_memory } else { disk };
        let limit = match part.of_replica {
            true => log.end_offset(),
            false if part.read_committed => log.last_stable_offset(),
            false => log.high_watermark(),
        };
        // A new leader does not know yet how much of the log is committed (KIP-207).
        if let Role::Leads(leader) = &partition.role
            && !part.of_replica
            && part.timestamp != list_offsets::EARLIEST
            && leader.epoch_start() > log.high_watermark()
        {
            part.answer.error = ErrorCode::OffsetNotAvailable;
            return Ok(());
        }
        let epoch = |offset: Offset, log: &log::Log| {
            log.epochs().epoch_at(offset.0).map_or(LeaderEpoch(-1), LeaderEpoch)
        };
        let found = match part.timestamp {
            list_offsets::LATEST => {
                part.answer.offset = limit;
                part.answer.leader_epoch = partition.leader_epoch;
                return Ok(());
            }
            list_offsets::EARLIEST | list_offsets::EARLIEST_LOCAL => {
                part.answer.offset = log.start_offset();
                part.answer.leader_epoch = epoch(log.start_offset(), log);
                return Ok(());
            }
            list_offsets::LATEST_TIERED => return Ok(()),
            list_offsets::MAX_TIMESTAMP => log.offset_of_max_timestamp(search, limit),
            timestamp => log.offset_for_timestamp(search, timestamp, limit),
        };
        match found {
            Ok(Some(found)) => {
                part.answer.offset = found.offset;
                part.answer.timestamp = found.timestamp;
                part.answer.leader_epoch = LeaderEpoch(found.leader_epoch.unwrap_or(-1));
            }
            Ok(None) => {}
            Err(error) => {
                if let Some(missing) = lookup::missing_of_log(&error) {
                    return Err(missing.clone());
                }
                tracing::error!(topic = %partition.topic, partition = partition.number, timestamp = part.timestamp, %error, "a look-up by time failed");
                part.answer.error = ErrorCode::KafkaStorageError;
            }
        }
        Ok(())
    }
}
