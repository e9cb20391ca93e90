//! What a log is told of its topic's settings.
//!
//! In: the resolved settings of broker and topic. Out: the log's plain values.

use crate::config::{Config, Durability, TimestampType, TopicConfig};
use crate::log::{self, LogConfig};

fn or_never(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// The settings of one topic's logs.
pub fn log_config(broker: &Config, topic: &TopicConfig) -> LogConfig {
    LogConfig {
        segment_bytes: topic.segment_bytes,
        // What has to be compacted in time has to be in a closed segment by then.
        segment_ms: match topic.cleanup_policy.compact {
            true => or_never(topic.segment_ms.min(topic.max_compaction_lag_ms)),
            false => or_never(topic.segment_ms),
        },
        segment_jitter_ms: or_never(topic.segment_jitter_ms),
        segment_index_bytes: topic.segment_index_bytes,
        index_interval_bytes: topic.index_interval_bytes,
        retention_ms: topic.retention_ms.map_or(-1, or_never),
        retention_bytes: topic.retention_bytes.map_or(-1, or_never),
        cleanup_delete: topic.cleanup_policy.delete,
        cleanup_compact: topic.cleanup_policy.compact,
        min_cleanable_dirty_ratio: topic.min_cleanable_dirty_ratio,
        min_compaction_lag_ms: or_never(topic.min_compaction_lag_ms),
        max_compaction_lag_ms: or_never(topic.max_compaction_lag_ms),
        delete_retention_ms: or_never(topic.delete_retention_ms),
        file_delete_delay_ms: or_never(topic.file_delete_delay_ms),
        flush_messages: or_never(topic.flush_messages),
        flush_ms: or_never(topic.flush_ms),
        preallocate: topic.preallocate,
        preallocate_ahead_bytes: broker.log_preallocate_ahead_bytes,
        durability: match topic.durability {
            Durability::Replicated => log::Durability::Replicated,
            Durability::Interval => log::Durability::Interval,
            Durability::GroupCommit => log::Durability::GroupCommit,
        },
        max_message_bytes: topic.max_message_bytes,
        log_append_time: topic.message_timestamp_type == TimestampType::LogAppendTime,
        producer_id_expiration_ms: or_never(broker.producer_id_expiration_ms),
    }
}
