//! Offsets by time, or by the ends of a log.
//!
//! In: partitions and timestamps. Out: offsets. Look-ups may read index and segment; they run after the turn's appends.

use crate::api::command::{ListOffsets, ListOffsetsPart, Outcome};
use crate::api::list_offsets;
use crate::ids::{LeaderEpoch, Offset};
use crate::io_thread::{IoLoop, epoch_error, partition_mut};
use crate::log;
use crate::reactor::{Disk, Engine};
use crate::wire::error_code::ErrorCode;

impl IoLoop {
    pub(super) fn pending_lists(&mut self) -> &mut Vec<ListOffsets> {
        &mut self.housekeeping.lists
    }

    pub(super) fn answer_lists(&mut self, engine: &mut dyn Engine) {
        for mut request in std::mem::take(&mut self.housekeeping.lists) {
            for part in &mut request.parts {
                self.list(part, engine.disk());
            }
            let outcome = Outcome::ListedOffsets { reply_to: request.reply_to, parts: request.parts };
            self.outcomes.push((request.reply_to.reactor, outcome));
        }
    }

    pub(super) fn list(&mut self, part: &mut ListOffsetsPart, disk: &dyn Disk) {
        let Some(partition) = partition_mut(&mut self.partitions, part.slot) else {
            part.answer.error = ErrorCode::UnknownTopicOrPartition;
            return;
        };
        if let Some(error) = epoch_error(part.leader_epoch, partition.leader_epoch) {
            part.answer.error = error;
            return;
        }
        if partition.log.has_failed() {
            part.answer.error = ErrorCode::KafkaStorageError;
            return;
        }
        let log = &mut partition.log;
        let limit = if part.read_committed { log.last_stable_offset() } else { log.high_watermark() };
        let epoch = |offset: Offset, log: &log::Log| {
            log.epochs().epoch_at(offset.0).map_or(LeaderEpoch(-1), LeaderEpoch)
        };
        let found = match part.timestamp {
            list_offsets::LATEST => {
                part.answer.offset = limit;
                part.answer.leader_epoch = partition.leader_epoch;
                return;
            }
            list_offsets::EARLIEST | list_offsets::EARLIEST_LOCAL => {
                part.answer.offset = log.start_offset();
                part.answer.leader_epoch = epoch(log.start_offset(), log);
                return;
            }
            list_offsets::LATEST_TIERED => return,
            list_offsets::MAX_TIMESTAMP => log.offset_of_max_timestamp(disk, limit),
            timestamp => log.offset_for_timestamp(disk, timestamp, limit),
        };
        match found {
            Ok(Some(found)) => {
                part.answer.offset = found.offset;
                part.answer.timestamp = found.timestamp;
                part.answer.leader_epoch = LeaderEpoch(found.leader_epoch.unwrap_or(-1));
            }
            Ok(None) => {}
            Err(error) => {
                tracing::error!(topic = %partition.topic, partition = partition.number, timestamp = part.timestamp, %error, "a look-up by time failed");
                part.answer.error = ErrorCode::KafkaStorageError;
            }
        }
    }
}
