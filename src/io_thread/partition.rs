//! One partition on the IO loop that owns it: its log, the batches of this turn, who waits for what.
//!
//! In: batches, flush results, readers. Out: what to answer. Kept small: an idle partition costs little beyond its log.

use std::collections::VecDeque;
use std::sync::Arc;

use crossbeam_utils::CachePadded;

use crate::api::command::FetchSetId;
use crate::config::{Durability, TopicConfig};
use crate::ids::{LeaderEpoch, Offset};
use crate::log::Log;
use crate::metrics::{PartitionMetrics, TopicMetrics};
use crate::reactor::Lease;
use crate::replication::Leader;

/// A batch that came this turn.
#[derive(Debug)]
pub struct PendingBatch {
    /// The produce request it belongs to.
    pub produce: u32,
    pub entry: u32,
    pub batch: Lease,
}

/// An appended batch whose reply waits for the high watermark.
#[derive(Clone, Copy, Debug)]
pub struct Unacknowledged {
    pub produce: u32,
    pub entry: u32,
    /// The reply is due when the high watermark has reached this; or, where `alone`, the flushed part of this replica.
    pub upto: Offset,
    /// acks=1: the other replicas are not waited for.
    pub alone: bool,
    pub base_offset: Offset,
    pub append_time_ms: i64,
}

/// What this broker is to the partition.
#[derive(Debug)]
pub enum Role {
    /// It has the only replica: what is appended is committed.
    Alone,
    Leads(Box<Leader>),
    /// Another broker leads, or none: nothing is appended here for clients, and what there is, is read from the leader.
    Follows,
}

/// One replica.
#[derive(Debug)]
pub struct Partition {
    pub topic: Arc<str>,
    pub number: i32,
    pub leader_epoch: LeaderEpoch,
    pub role: Role,
    pub config: Arc<TopicConfig>,
    pub directory: u16,
    pub log: Log,
    /// Batches of this turn.
    pub pending: Vec<PendingBatch>,
    /// In the order of their offsets.
    pub unacknowledged: VecDeque<Unacknowledged>,
    /// Fetch sets that read here, and which of their entries this is.
    pub watchers: Vec<(FetchSetId, u32)>,
    /// Queued for the next round of flushes.
    pub flush_wanted: bool,
    /// What the checkpoint files were last told.
    pub noted_high_watermark: i64,
    pub noted_recovery_point: i64,
    pub noted_log_start: Option<i64>,
    pub topic_metrics: Arc<CachePadded<TopicMetrics>>,
    pub metrics: Arc<CachePadded<PartitionMetrics>>,
}

impl Partition {
    /// Whether clients may append, read and ask here.
    pub fn leads(&self) -> bool {
        !matches!(self.role, Role::Follows)
    }

    /// Up to where this replica counts as having the log: in group commit, what is flushed.
    pub fn own_end(&self) -> Offset {
        match self.config.durability {
            Durability::GroupCommit => self.log.flushed_offset(),
            Durability::Replicated | Durability::Interval => self.log.end_offset(),
        }
    }

    /// Puts the extent of the log on the metrics page.
    pub fn show(&self) {
        self.metrics.log_start_offset.set(self.log.start_offset().0);
        self.metrics.log_end_offset.set(self.log.end_offset().0);
        self.metrics.log_bytes.set(self.log.bytes() as i64);
        self.metrics.segments.set(self.log.segment_count() as i64);
    }
}
