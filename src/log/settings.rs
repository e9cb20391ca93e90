//! What a log is told about itself: the topic's settings, as plain values.
//!
//! In: numbers already checked against their ranges. The defaults are Kafka's.

/// When a record counts as kept (`FAULTS.md` 1.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Durability {
    /// In the page cache of the in-sync replicas, as Kafka.
    #[default]
    Replicated,
    /// The same, and flushed at most `flush_ms` later.
    Interval,
    /// Flushed before the reply, by one flush for all that came meanwhile.
    GroupCommit,
}

/// The settings of one log. Shared by all partitions of a topic; replaced as a whole when one changes.
#[derive(Clone, PartialEq, Debug)]
pub struct LogConfig {
    pub segment_bytes: u32,
    pub segment_ms: i64,
    pub segment_jitter_ms: i64,
    pub segment_index_bytes: u32,
    pub index_interval_bytes: u32,
    /// -1: no limit.
    pub retention_ms: i64,
    /// -1: no limit.
    pub retention_bytes: i64,
    /// `cleanup.policy` contains delete.
    pub cleanup_delete: bool,
    /// `cleanup.policy` contains compact.
    pub cleanup_compact: bool,
    /// How much of a log must be dirty before it is compacted, 0 to 1.
    pub min_cleanable_dirty_ratio: f64,
    /// Compaction leaves records alone that are younger.
    pub min_compaction_lag_ms: i64,
    /// And does not wait for the ratio when some are older.
    pub max_compaction_lag_ms: i64,
    /// How long compaction keeps tombstones and markers that nothing needs any more.
    pub delete_retention_ms: i64,
    pub file_delete_delay_ms: i64,
    pub flush_messages: i64,
    pub flush_ms: i64,
    pub preallocate: bool,
    /// How far ahead of the appends blocks are reserved, at most; 0: not at all.
    pub preallocate_ahead_bytes: u32,
    pub durability: Durability,
    pub max_message_bytes: u32,
    /// `message.timestamp.type` is LogAppendTime.
    pub log_append_time: bool,
    pub producer_id_expiration_ms: i64,
}

impl Default for LogConfig {
    fn default() -> LogConfig {
        const DAY_MS: i64 = 24 * 60 * 60 * 1000;
        LogConfig {
            segment_bytes: 1 << 30,
            segment_ms: 7 * DAY_MS,
            segment_jitter_ms: 0,
            segment_index_bytes: 10 * 1024 * 1024,
            index_interval_bytes: 4096,
            retention_ms: 7 * DAY_MS,
            retention_bytes: -1,
            cleanup_delete: true,
            cleanup_compact: false,
            min_cleanable_dirty_ratio: 0.5,
            min_compaction_lag_ms: 0,
            max_compaction_lag_ms: i64::MAX,
            delete_retention_ms: DAY_MS,
            file_delete_delay_ms: 60_000,
            flush_messages: i64::MAX,
            flush_ms: i64::MAX,
            preallocate: false,
            preallocate_ahead_bytes: 4 << 20,
            durability: Durability::Replicated,
            max_message_bytes: 1_048_588,
            log_append_time: false,
            producer_id_expiration_ms: DAY_MS,
        }
    }
}
