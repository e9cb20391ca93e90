//! The settings of one topic: its own overrides over the broker's values.
//!
//! In: the broker's `Config` and a map of overrides. Out: a `TopicConfig` with a plain field for each key,
//! named as the key. What Kafka refuses is refused, in Kafka's words.

use std::collections::BTreeMap;
use std::fmt;

use crate::config::load::Given;
use crate::config::setting::{Effect, Value};
use crate::config::{Config, settings};

pub type Overrides = BTreeMap<String, String>;

/// What an acknowledgement promises; `flush_ms` and `flush_messages` say how far `Interval` may lag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// In the page cache of the leader or of every in-sync replica, as Kafka.
    Replicated,
    /// The same, and flushed when the oldest unflushed record is `flush_ms` old or `flush_messages` wait.
    Interval,
    /// Flushed before the reply.
    GroupCommit,
}

impl Durability {
    pub fn as_str(self) -> &'static str {
        match self {
            Durability::Replicated => "replicated",
            Durability::Interval => "interval",
            Durability::GroupCommit => "group-commit",
        }
    }

    fn named(name: &str) -> Durability {
        match name {
            "interval" => Durability::Interval,
            "group-commit" => Durability::GroupCommit,
            _ => Durability::Replicated,
        }
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The codec a topic keeps its batches in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompressionType {
    /// Each batch stays as it came.
    Producer,
    Uncompressed,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl CompressionType {
    fn named(name: &str) -> CompressionType {
        match name {
            "uncompressed" => CompressionType::Uncompressed,
            "gzip" => CompressionType::Gzip,
            "snappy" => CompressionType::Snappy,
            "lz4" => CompressionType::Lz4,
            "zstd" => CompressionType::Zstd,
            _ => CompressionType::Producer,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampType {
    CreateTime,
    LogAppendTime,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CleanupPolicy {
    pub delete: bool,
    pub compact: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct TopicConfig {
    pub cleanup_policy: CleanupPolicy,
    pub compression_type: CompressionType,
    pub compression_gzip_level: i32,
    pub compression_lz4_level: i32,
    pub compression_zstd_level: i32,
    pub delete_retention_ms: u64,
    pub durability: Durability,
    pub file_delete_delay_ms: u64,
    /// `i64::MAX` as u64 means never; so for `flush_ms`.
    pub flush_messages: u64,
    pub flush_ms: u64,
    pub index_interval_bytes: u32,
    pub max_compaction_lag_ms: u64,
    pub max_message_bytes: u32,
    pub message_downconversion_enable: bool,
    pub message_timestamp_type: TimestampType,
    /// `i64::MAX` as u64 means any; so for `message_timestamp_after_max_ms`.
    pub message_timestamp_before_max_ms: u64,
    pub message_timestamp_after_max_ms: u64,
    pub min_cleanable_dirty_ratio: f64,
    pub min_compaction_lag_ms: u64,
    pub min_insync_replicas: u32,
    pub preallocate: bool,
    /// `None`: no limit.
    pub retention_bytes: Option<u64>,
    /// `None`: for ever.
    pub retention_ms: Option<u64>,
    pub segment_bytes: u32,
    pub segment_index_bytes: u32,
    pub segment_jitter_ms: u64,
    pub segment_ms: u64,
    pub unclean_leader_election_enable: bool,
}

/// An override that cannot be; the text is what the client is told beside INVALID_CONFIG (40).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicConfigError {
    pub key: String,
    pub message: String,
}

impl fmt::Display for TopicConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for TopicConfigError {}

impl TopicConfig {
    /// For a request to create or alter: the first override that cannot be is the answer.
    pub fn resolve(broker: &Config, overrides: &Overrides) -> Result<TopicConfig, TopicConfigError> {
        if overrides.is_empty() {
            return Ok(broker.topic_defaults.clone());
        }
        let unknown = overrides.keys().find(|key| settings::topic(key).is_none());
        if let Some(key) = unknown {
            return Err(TopicConfigError {
                key: key.clone(),
                message: format!("Unknown topic config name: {key}"),
            });
        }
        let mut own = BTreeMap::new();
        for (key, text) in overrides {
            own.insert(key.as_str(), parse_override(key, text)?);
        }
        let values = Values { given: &broker.given, own: &own };
        values.check()?;
        Ok(values.to_topic_config())
    }

    /// For overrides read back from a store: what is unknown or wrong is left out and said, as Kafka leaves
    /// out what other releases wrote, because a topic must not disappear over a setting.
    pub fn resolve_stored(broker: &Config, overrides: &Overrides) -> (TopicConfig, Vec<TopicConfigError>) {
        if overrides.is_empty() {
            return (broker.topic_defaults.clone(), Vec::new());
        }
        let mut own = BTreeMap::new();
        let mut left_out = Vec::new();
        for (key, text) in overrides {
            match settings::topic(key).map(|_| parse_override(key, text)) {
                Some(Ok(value)) => {
                    own.insert(key.as_str(), value);
                }
                Some(Err(error)) => left_out.push(error),
                None => {
                    let message = format!("Unknown topic config name: {key}");
                    left_out.push(TopicConfigError { key: key.clone(), message });
                }
            }
        }
        while let Err(error) = (Values { given: &broker.given, own: &own }).check() {
            let was_own = own.remove(error.key.as_str()).is_some();
            left_out.push(error);
            if !was_own {
                break; // the broker's own value is in the way, and that one stays
            }
        }
        let values = Values { given: &broker.given, own: &own };
        (values.to_topic_config(), left_out)
    }

    pub(super) fn defaults(given: &Given) -> TopicConfig {
        Values { given, own: &BTreeMap::new() }.to_topic_config()
    }

    /// A topic without overrides on a broker without a file.
    pub fn kafka_default() -> TopicConfig {
        TopicConfig::defaults(&Given::default())
    }
}

fn parse_override(key: &str, text: &str) -> Result<Value, TopicConfigError> {
    let setting = settings::topic(key).expect("the caller knows the key");
    setting.parse(text).map_err(|message| TopicConfigError { key: key.to_owned(), message })
}

/// The value a topic inherits from the broker: the most specific key of the family that is set, in the
/// topic's unit.
pub(super) fn inherited(given: &Given, key: &str) -> Option<Value> {
    let setting =
        settings::topic(key).unwrap_or_else(|| panic!("{key} has no row in the table of topic settings"));
    let whole = |n: i64| Some(Value::Whole(n));
    match key {
        "retention.ms" => whole(retention_ms(given)),
        "segment.ms" => whole(family_ms(given, "log.roll.ms", "log.roll.hours")),
        "segment.jitter.ms" => whole(family_ms(given, "log.roll.jitter.ms", "log.roll.jitter.hours")),
        "flush.ms" => whole(
            given
                .whole_or_null("log.flush.interval.ms")
                .unwrap_or_else(|| given.whole("log.flush.scheduler.interval.ms")),
        ),
        "message.timestamp.before.max.ms" | "message.timestamp.after.max.ms" => {
            // The older key still counts when only it is set.
            let both = "log.message.timestamp.difference.max.ms";
            let own = setting.synonyms[0];
            given.value(if given.is_given(both) && !given.is_given(own) { both } else { own })
        }
        "durability" => Some(Value::Text(durability(given).as_str().to_owned())),
        _ => match setting.synonyms.first() {
            Some(broker_key) => given.value(broker_key),
            None => setting.default_value(),
        },
    }
}

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;

/// -1 for ever.
pub(super) fn retention_ms(given: &Given) -> i64 {
    let ms = given.whole_or_null("log.retention.ms");
    let minutes = given.whole_or_null("log.retention.minutes").map(|minutes| minutes * MINUTE_MS);
    let ms = ms.or(minutes).unwrap_or_else(|| given.whole("log.retention.hours") * HOUR_MS);
    ms.max(-1)
}

pub(super) fn family_ms(given: &Given, ms_key: &str, hours_key: &str) -> i64 {
    given.whole_or_null(ms_key).unwrap_or_else(|| given.whole(hours_key) * HOUR_MS)
}

/// The broker's mode: its own key if somebody set it, else what Kafka's flush keys amount to.
pub(super) fn durability(given: &Given) -> Durability {
    if let Some(named) = given.text("durability") {
        return Durability::named(named);
    }
    let scheduler_ms = given.whole("log.flush.scheduler.interval.ms");
    let ms = given.whole_or_null("log.flush.interval.ms").unwrap_or(scheduler_ms);
    by_flush_keys(given.whole("log.flush.interval.messages"), ms, scheduler_ms < i64::MAX)
}

/// Kafka looks at flush times only every scheduler interval, which is never unless it is set.
fn by_flush_keys(messages: i64, ms: i64, scheduled: bool) -> Durability {
    if messages == 1 {
        Durability::GroupCommit
    } else if messages < i64::MAX || (scheduled && ms < i64::MAX) {
        Durability::Interval
    } else {
        Durability::Replicated
    }
}

struct Values<'a> {
    given: &'a Given,
    own: &'a BTreeMap<&'a str, Value>,
}

impl Values<'_> {
    fn value(&self, key: &str) -> Value {
        let own = self.own.get(key).cloned();
        own.or_else(|| inherited(self.given, key)).unwrap_or_else(|| panic!("{key} has no default"))
    }

    fn whole(&self, key: &str) -> i64 {
        match self.value(key) {
            Value::Whole(n) => n,
            other => panic!("{key} is no whole number but {other:?}"),
        }
    }

    /// A number that its row keeps from being negative.
    fn count(&self, key: &str) -> u64 {
        u64::try_from(self.whole(key)).unwrap_or(0)
    }

    fn count_u32(&self, key: &str) -> u32 {
        u32::try_from(self.whole(key)).unwrap_or(0)
    }

    fn flag(&self, key: &str) -> bool {
        match self.value(key) {
            Value::Boolean(flag) => flag,
            other => panic!("{key} is no boolean but {other:?}"),
        }
    }

    fn text(&self, key: &str) -> String {
        match self.value(key) {
            Value::Text(text) => text,
            other => panic!("{key} is no text but {other:?}"),
        }
    }

    fn durability(&self) -> Durability {
        if let Some(Value::Text(named)) = self.own.get("durability") {
            return Durability::named(named);
        }
        if self.own.contains_key("flush.messages") || self.own.contains_key("flush.ms") {
            let scheduled = self.given.whole("log.flush.scheduler.interval.ms") < i64::MAX;
            return by_flush_keys(self.whole("flush.messages"), self.whole("flush.ms"), scheduled);
        }
        durability(self.given)
    }

    fn check(&self) -> Result<(), TopicConfigError> {
        let (min, max) = (self.whole("min.compaction.lag.ms"), self.whole("max.compaction.lag.ms"));
        if min > max {
            return Err(TopicConfigError {
                key: "min.compaction.lag.ms".to_owned(),
                message: format!(
                    "conflict topic config setting min.compaction.lag.ms ({min}) > max.compaction.lag.ms ({max})"
                ),
            });
        }
        for key in ["remote.storage.enable", "remote.log.copy.disable", "remote.log.delete.on.disable"] {
            if self.flag(key) {
                let setting = settings::topic(key).expect("named in the table");
                let why = match setting.effect {
                    Effect::Nothing(why) => why,
                    Effect::Works | Effect::Waits(_) | Effect::Removed(_) => "",
                };
                let message = format!("Invalid value true for configuration {key}: {why}");
                return Err(TopicConfigError { key: key.to_owned(), message });
            }
        }
        let asks_interval =
            matches!(self.own.get("durability"), Some(Value::Text(named)) if named == "interval");
        if asks_interval && self.whole("flush.ms") == i64::MAX && self.whole("flush.messages") == i64::MAX {
            return Err(TopicConfigError {
                key: "durability".to_owned(),
                message:
                    "Invalid value interval for configuration durability: set flush.ms or flush.messages too"
                        .to_owned(),
            });
        }
        Ok(())
    }

    fn to_topic_config(&self) -> TopicConfig {
        let policy = match self.value("cleanup.policy") {
            Value::List(elements) => elements,
            other => panic!("cleanup.policy is no list but {other:?}"),
        };
        // The older key still counts when a topic sets only it.
        let timestamp_max = |key: &str| {
            let both = "message.timestamp.difference.max.ms";
            let of = if self.own.contains_key(both) && !self.own.contains_key(key) { both } else { key };
            self.count(of)
        };
        TopicConfig {
            cleanup_policy: CleanupPolicy {
                delete: policy.iter().any(|word| word == "delete"),
                compact: policy.iter().any(|word| word == "compact"),
            },
            compression_type: CompressionType::named(&self.text("compression.type")),
            compression_gzip_level: self.whole("compression.gzip.level") as i32,
            compression_lz4_level: self.whole("compression.lz4.level") as i32,
            compression_zstd_level: self.whole("compression.zstd.level") as i32,
            delete_retention_ms: self.count("delete.retention.ms"),
            durability: self.durability(),
            file_delete_delay_ms: self.count("file.delete.delay.ms"),
            flush_messages: self.count("flush.messages"),
            flush_ms: self.count("flush.ms"),
            index_interval_bytes: self.count_u32("index.interval.bytes"),
            max_compaction_lag_ms: self.count("max.compaction.lag.ms"),
            max_message_bytes: self.count_u32("max.message.bytes"),
            message_downconversion_enable: self.flag("message.downconversion.enable"),
            message_timestamp_type: match self.text("message.timestamp.type").as_str() {
                "LogAppendTime" => TimestampType::LogAppendTime,
                _ => TimestampType::CreateTime,
            },
            message_timestamp_before_max_ms: timestamp_max("message.timestamp.before.max.ms"),
            message_timestamp_after_max_ms: timestamp_max("message.timestamp.after.max.ms"),
            min_cleanable_dirty_ratio: match self.value("min.cleanable.dirty.ratio") {
                Value::Double(ratio) => ratio,
                other => panic!("min.cleanable.dirty.ratio is no number but {other:?}"),
            },
            min_compaction_lag_ms: self.count("min.compaction.lag.ms"),
            min_insync_replicas: self.count_u32("min.insync.replicas"),
            preallocate: self.flag("preallocate"),
            retention_bytes: u64::try_from(self.whole("retention.bytes")).ok(),
            retention_ms: u64::try_from(self.whole("retention.ms")).ok(),
            segment_bytes: self.count_u32("segment.bytes"),
            segment_index_bytes: self.count_u32("segment.index.bytes"),
            segment_jitter_ms: self.count("segment.jitter.ms"),
            segment_ms: self.count("segment.ms"),
            unclean_leader_election_enable: self.flag("unclean.leader.election.enable"),
        }
    }
}
