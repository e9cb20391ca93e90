//! The settings of a broker, together one by one and against each other.
//!
//! In: a file and `--override` arguments. Out: `Config`, with a plain field for each key the broker acts
//! on, named as the key with `_` for `.`; or every problem at once. A `Config` that exists is valid.

use std::path::{Path, PathBuf};

use crate::config::listener::Listener;
use crate::config::live::Layers;
use crate::config::load::{ConfigErrors, Findings, Given, Note};
use crate::config::setting;
use crate::config::together::Together;
use crate::config::topic::{Durability, TopicConfig};
use crate::config::version::Version;

/// What auto means for a log directory's window.
pub const LOG_WINDOW_DIRTY_BYTES: u64 = 64 << 20;
pub const LOG_WINDOW_RESIDENT_BYTES: u64 = 1 << 30;

#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `None`: the one in meta.properties, or a made-up one.
    pub broker_id: Option<i32>,
    pub broker_id_generation_enable: bool,
    pub reserved_broker_max_id: i32,
    pub broker_rack: Option<String>,

    pub listeners: Vec<Listener>,
    /// An empty host stands for the name of the machine.
    pub advertised_listeners: Vec<Listener>,
    pub inter_broker_listener_name: String,
    /// `None`: the system's choice; so for `socket_receive_buffer_bytes`.
    pub socket_send_buffer_bytes: Option<u32>,
    pub socket_receive_buffer_bytes: Option<u32>,
    pub socket_request_max_bytes: u32,
    pub socket_listen_backlog_size: u32,
    /// `None`: never.
    pub connections_max_idle_ms: Option<u64>,
    pub queued_max_requests: u32,
    /// `None`: no limit.
    pub queued_max_request_bytes: Option<u64>,

    /// As asked for; the broker caps both at the usable cores.
    pub num_network_threads: usize,
    pub num_io_threads: usize,
    pub num_recovery_threads_per_data_dir: usize,

    pub auto_create_topics_enable: bool,
    pub delete_topic_enable: bool,
    pub num_partitions: i32,
    pub default_replication_factor: i32,

    /// How many windows the rate of a client is measured over, and how long each is.
    pub quota_window_num: u32,
    pub quota_window_size_seconds: u32,

    /// Never empty, no directory twice.
    pub log_dirs: Vec<PathBuf>,
    pub log_retention_check_interval_ms: u64,
    pub log_flush_scheduler_interval_ms: u64,
    pub log_flush_offset_checkpoint_interval_ms: u64,
    pub log_flush_start_offset_checkpoint_interval_ms: u64,
    pub replica_high_watermark_checkpoint_interval_ms: u64,
    pub log_initial_task_delay_ms: u64,
    pub log_cleaner_enable: bool,
    pub log_cleaner_threads: usize,
    /// Of all threads together; so for `log_cleaner_io_buffer_size` and the bytes per second.
    pub log_cleaner_dedupe_buffer_size: usize,
    pub log_cleaner_io_buffer_size: usize,
    pub log_cleaner_io_buffer_load_factor: f64,
    pub log_cleaner_io_max_bytes_per_second: f64,
    pub log_cleaner_backoff_ms: u64,
    pub producer_id_expiration_ms: u64,
    pub producer_id_expiration_check_interval_ms: u64,
    pub fetch_max_bytes: u32,
    pub max_incremental_fetch_session_cache_slots: u32,

    pub group_min_session_timeout_ms: i32,
    pub group_max_session_timeout_ms: i32,
    pub group_initial_rebalance_delay_ms: i32,
    pub group_max_size: u32,
    pub offset_metadata_max_bytes: u32,
    pub offsets_load_buffer_size: u32,
    pub offsets_retention_minutes: i32,
    pub offsets_retention_check_interval_ms: u64,
    pub offsets_commit_timeout_ms: u32,
    pub offsets_commit_required_acks: i16,
    pub offsets_topic_num_partitions: i32,
    pub offsets_topic_replication_factor: i32,
    pub offsets_topic_segment_bytes: u32,
    /// 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd.
    pub offsets_topic_compression_codec: u8,

    /// `None`: the embedded store.
    pub zookeeper: Option<ZooKeeper>,
    /// Decides in which form nodes are written and which requests brokers send each other.
    pub inter_broker_protocol_version: Version,
    /// How long a follower may lag before it leaves the in-sync set.
    pub replica_lag_time_max_ms: i64,
    pub replica_socket_timeout_ms: i64,
    pub replica_socket_receive_buffer_bytes: u32,
    /// What a follower asks for: bytes of one partition, bytes at least and at most in one answer, and how long that may be held
    /// back.
    pub replica_fetch_max_bytes: i32,
    pub replica_fetch_min_bytes: i32,
    pub replica_fetch_response_max_bytes: i32,
    pub replica_fetch_wait_max_ms: i32,
    pub replica_fetch_backoff_ms: i64,
    pub auto_leader_rebalance_enable: bool,
    pub leader_imbalance_per_broker_percentage: u32,
    pub leader_imbalance_check_interval_seconds: u64,
    pub controller_socket_timeout_ms: u64,
    pub controlled_shutdown_enable: bool,
    pub controlled_shutdown_max_retries: u32,
    pub controlled_shutdown_retry_backoff_ms: u64,

    pub reactor_engine: ReactorEngine,
    pub log_preallocate_ahead_bytes: u32,
    pub reactor_spin_us: u32,
    /// Empty: all cores the process may use.
    pub reactor_cores: Vec<usize>,
    pub log_append_engine: AppendEngine,
    pub fetch_engine: FetchEngine,
    /// `None` in these four: auto, which for the window is `LOG_WINDOW_DIRTY_BYTES` and `LOG_WINDOW_RESIDENT_BYTES`.
    pub log_window_dirty_bytes: Option<u64>,
    pub log_window_resident_bytes: Option<u64>,
    pub log_headroom_bytes: Option<u64>,
    pub memory_budget_bytes: Option<u64>,
    /// Host, which may be empty, and port.
    pub metrics_listener: Option<(String, u16)>,

    /// What a topic without overrides has; `durability` in it is the broker's mode.
    pub topic_defaults: TopicConfig,

    /// All that is in force.
    pub(super) given: Given,
    /// Where it comes from.
    pub(super) layers: Layers,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZooKeeper {
    /// As it was written, chroot included.
    pub connect: String,
    /// `host:port` each.
    pub servers: Vec<String>,
    /// Empty or `/path`.
    pub chroot: String,
    pub session_timeout_ms: u32,
    pub connection_timeout_ms: u32,
    pub max_in_flight_requests: u32,
    pub set_acl: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReactorEngine {
    Auto,
    IoUring,
    Epoll,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendEngine {
    Auto,
    Pwrite,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchEngine {
    Auto,
    Copy,
    Sendfile,
    Ring,
}

impl Config {
    /// Reads a file, if there is one, and lays the `key=value` overrides over it.
    pub fn load(path: Option<&Path>, overrides: &[String]) -> Result<(Config, Vec<Note>), ConfigErrors> {
        let mut findings = Findings::default();
        let mut given = Given::read(path, overrides, &mut findings);
        let together = Together::new(&given, &mut findings);
        findings.sort();
        if !findings.errors.is_empty() {
            return Err(ConfigErrors { errors: findings.errors, notes: findings.notes });
        }
        given.share_ids();
        let layers = Layers { file: given.clone(), ..Layers::default() };
        Ok((Config::new(given, together, layers), findings.notes))
    }

    /// The defaults, for tests and for tools that need no file.
    pub fn with_overrides(overrides: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
        let overrides: Vec<String> = overrides.iter().map(|(key, value)| format!("{key}={value}")).collect();
        Config::load(None, &overrides).map(|(config, _)| config)
    }

    pub fn durability(&self) -> Durability {
        self.topic_defaults.durability
    }

    pub(super) fn new(given: Given, together: Together, layers: Layers) -> Config {
        let count = |key: &str| u64::try_from(given.whole(key)).unwrap_or(0);
        let count_u32 = |key: &str| u32::try_from(given.whole(key)).unwrap_or(0);
        let threads = |key: &str| usize::try_from(given.whole(key)).unwrap_or(1);
        let bytes_or_auto = |key: &str| given.string(key).and_then(|text| text.parse::<u64>().ok());
        let whole_i32 = |key: &str| given.whole(key) as i32; // the row's type keeps it in range
        let word = |key: &str| given.string(key).unwrap_or_default();
        Config {
            broker_id: together.broker_id,
            broker_id_generation_enable: given.flag("broker.id.generation.enable"),
            reserved_broker_max_id: whole_i32("reserved.broker.max.id"),
            broker_rack: given.string("broker.rack").filter(|rack| !rack.is_empty()),
            listeners: together.listeners,
            advertised_listeners: together.advertised_listeners,
            inter_broker_listener_name: together.inter_broker_listener_name,
            socket_send_buffer_bytes: u32::try_from(given.whole("socket.send.buffer.bytes")).ok(),
            socket_receive_buffer_bytes: u32::try_from(given.whole("socket.receive.buffer.bytes")).ok(),
            socket_request_max_bytes: count_u32("socket.request.max.bytes"),
            socket_listen_backlog_size: count_u32("socket.listen.backlog.size"),
            connections_max_idle_ms: u64::try_from(given.whole("connections.max.idle.ms")).ok(),
            queued_max_requests: count_u32("queued.max.requests"),
            queued_max_request_bytes: u64::try_from(given.whole("queued.max.request.bytes"))
                .ok()
                .filter(|&n| n > 0),
            num_network_threads: threads("num.network.threads"),
            num_io_threads: threads("num.io.threads"),
            num_recovery_threads_per_data_dir: threads("num.recovery.threads.per.data.dir"),
            auto_create_topics_enable: given.flag("auto.create.topics.enable"),
            delete_topic_enable: given.flag("delete.topic.enable"),
            num_partitions: whole_i32("num.partitions"),
            default_replication_factor: whole_i32("default.replication.factor"),
            quota_window_num: count_u32("quota.window.num"),
            quota_window_size_seconds: count_u32("quota.window.size.seconds"),
            log_dirs: together.log_dirs,
            log_retention_check_interval_ms: count("log.retention.check.interval.ms"),
            log_flush_scheduler_interval_ms: count("log.flush.scheduler.interval.ms"),
            log_flush_offset_checkpoint_interval_ms: count("log.flush.offset.checkpoint.interval.ms"),
            log_flush_start_offset_checkpoint_interval_ms: count(
                "log.flush.start.offset.checkpoint.interval.ms",
            ),
            replica_high_watermark_checkpoint_interval_ms: count(
                "replica.high.watermark.checkpoint.interval.ms",
            ),
            log_initial_task_delay_ms: count("log.initial.task.delay.ms"),
            log_cleaner_enable: given.flag("log.cleaner.enable"),
            log_cleaner_threads: usize::try_from(given.whole("log.cleaner.threads")).unwrap_or(0),
            log_cleaner_dedupe_buffer_size: usize::try_from(given.whole("log.cleaner.dedupe.buffer.size"))
                .unwrap_or(0),
            log_cleaner_io_buffer_size: usize::try_from(given.whole("log.cleaner.io.buffer.size"))
                .unwrap_or(0),
            log_cleaner_io_buffer_load_factor: given.double("log.cleaner.io.buffer.load.factor"),
            log_cleaner_io_max_bytes_per_second: given.double("log.cleaner.io.max.bytes.per.second"),
            log_cleaner_backoff_ms: count("log.cleaner.backoff.ms"),
            producer_id_expiration_ms: count("producer.id.expiration.ms"),
            producer_id_expiration_check_interval_ms: count("producer.id.expiration.check.interval.ms"),
            fetch_max_bytes: count_u32("fetch.max.bytes"),
            max_incremental_fetch_session_cache_slots: count_u32("max.incremental.fetch.session.cache.slots"),
            group_min_session_timeout_ms: whole_i32("group.min.session.timeout.ms"),
            group_max_session_timeout_ms: whole_i32("group.max.session.timeout.ms"),
            group_initial_rebalance_delay_ms: whole_i32("group.initial.rebalance.delay.ms"),
            group_max_size: count_u32("group.max.size"),
            offset_metadata_max_bytes: count_u32("offset.metadata.max.bytes"),
            offsets_load_buffer_size: count_u32("offsets.load.buffer.size"),
            offsets_retention_minutes: whole_i32("offsets.retention.minutes"),
            offsets_retention_check_interval_ms: count("offsets.retention.check.interval.ms"),
            offsets_commit_timeout_ms: count_u32("offsets.commit.timeout.ms"),
            offsets_commit_required_acks: whole_i32("offsets.commit.required.acks") as i16,
            offsets_topic_num_partitions: whole_i32("offsets.topic.num.partitions"),
            offsets_topic_replication_factor: whole_i32("offsets.topic.replication.factor"),
            offsets_topic_segment_bytes: count_u32("offsets.topic.segment.bytes"),
            offsets_topic_compression_codec: whole_i32("offsets.topic.compression.codec") as u8,
            zookeeper: together.zookeeper,
            inter_broker_protocol_version: Version::parse(&word("inter.broker.protocol.version"))
                .expect("its kind was checked"),
            replica_lag_time_max_ms: given.whole("replica.lag.time.max.ms"),
            replica_socket_timeout_ms: given.whole("replica.socket.timeout.ms"),
            replica_socket_receive_buffer_bytes: count_u32("replica.socket.receive.buffer.bytes"),
            replica_fetch_max_bytes: whole_i32("replica.fetch.max.bytes"),
            replica_fetch_min_bytes: whole_i32("replica.fetch.min.bytes"),
            replica_fetch_response_max_bytes: whole_i32("replica.fetch.response.max.bytes"),
            replica_fetch_wait_max_ms: whole_i32("replica.fetch.wait.max.ms"),
            replica_fetch_backoff_ms: given.whole("replica.fetch.backoff.ms"),
            auto_leader_rebalance_enable: given.flag("auto.leader.rebalance.enable"),
            leader_imbalance_per_broker_percentage: count_u32("leader.imbalance.per.broker.percentage"),
            leader_imbalance_check_interval_seconds: count("leader.imbalance.check.interval.seconds"),
            controller_socket_timeout_ms: count("controller.socket.timeout.ms"),
            controlled_shutdown_enable: given.flag("controlled.shutdown.enable"),
            controlled_shutdown_max_retries: count_u32("controlled.shutdown.max.retries"),
            controlled_shutdown_retry_backoff_ms: count("controlled.shutdown.retry.backoff.ms"),
            reactor_engine: match word("reactor.engine").as_str() {
                "io_uring" => ReactorEngine::IoUring,
                "epoll" => ReactorEngine::Epoll,
                _ => ReactorEngine::Auto,
            },
            log_preallocate_ahead_bytes: count_u32("log.preallocate.ahead.bytes"),
            reactor_spin_us: count_u32("reactor.spin.us"),
            reactor_cores: setting::cores(&given.list("reactor.cores")).unwrap_or_default(),
            log_append_engine: match word("log.append.engine").as_str() {
                "pwrite" => AppendEngine::Pwrite,
                _ => AppendEngine::Auto,
            },
            fetch_engine: match word("fetch.engine").as_str() {
                "copy" => FetchEngine::Copy,
                "sendfile" => FetchEngine::Sendfile,
                "ring" => FetchEngine::Ring,
                _ => FetchEngine::Auto,
            },
            log_window_dirty_bytes: bytes_or_auto("log.window.dirty.bytes"),
            log_window_resident_bytes: bytes_or_auto("log.window.resident.bytes"),
            log_headroom_bytes: bytes_or_auto("log.headroom.bytes"),
            metrics_listener: setting::address(&word("metrics.listener")),
            memory_budget_bytes: bytes_or_auto("memory.budget.bytes"),
            topic_defaults: TopicConfig::defaults(&given),
            given,
            layers,
        }
    }
}

impl Default for Config {
    fn default() -> Config {
        Config::with_overrides(&[]).expect("the defaults are valid")
    }
}
