//! The settings of a broker, checked one by one and against each other.
//!
//! In: a file and `--override` arguments. Out: `Config`, with a plain field for each key the broker acts
//! on, named as the key with `_` for `.`; or every problem at once. A `Config` that exists is valid.

use std::path::{Path, PathBuf};

use crate::config::listener::{self, Listener, ProtocolMap, SecurityProtocol};
use crate::config::load::{ConfigErrors, Findings, Given, Note};
use crate::config::setting::{self, Part};
use crate::config::topic::{self, Durability, TopicConfig};
use crate::config::version::Version;

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
    pub request_timeout_ms: u32,

    /// As asked for; the broker caps both at the usable cores.
    pub num_network_threads: usize,
    pub num_io_threads: usize,
    pub num_recovery_threads_per_data_dir: usize,

    pub auto_create_topics_enable: bool,
    pub delete_topic_enable: bool,
    pub num_partitions: i32,
    pub default_replication_factor: i32,
    pub max_request_partition_size_limit: u32,

    /// Never empty, no directory twice.
    pub log_dirs: Vec<PathBuf>,
    pub log_retention_check_interval_ms: u64,
    pub log_flush_scheduler_interval_ms: u64,
    pub log_flush_offset_checkpoint_interval_ms: u64,
    pub log_flush_start_offset_checkpoint_interval_ms: u64,
    pub replica_high_watermark_checkpoint_interval_ms: u64,
    pub log_initial_task_delay_ms: u64,
    pub producer_id_expiration_ms: u64,
    pub producer_id_expiration_check_interval_ms: u64,
    pub fetch_max_bytes: u32,
    pub max_incremental_fetch_session_cache_slots: u32,

    /// `None`: the embedded store.
    pub zookeeper: Option<ZooKeeper>,

    pub reactor_engine: ReactorEngine,
    pub reactor_spin_us: u32,
    /// Empty: all cores the process may use.
    pub reactor_cores: Vec<usize>,
    pub log_append_engine: AppendEngine,
    pub fetch_engine: FetchEngine,
    /// `None` in these four: auto.
    pub log_window_dirty_bytes: Option<u64>,
    pub log_window_resident_bytes: Option<u64>,
    pub log_headroom_bytes: Option<u64>,
    pub memory_budget_bytes: Option<u64>,

    /// What a topic without overrides has; `durability` in it is the broker's mode.
    pub topic_defaults: TopicConfig,

    pub(super) given: Given,
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
    Ring,
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
        let given = Given::read(path, overrides, &mut findings);
        let checked = Checked::new(&given, &mut findings);
        findings.sort();
        if !findings.errors.is_empty() {
            return Err(ConfigErrors { errors: findings.errors, notes: findings.notes });
        }
        Ok((Config::new(given, checked), findings.notes))
    }

    /// The defaults, for tests and for tools that need no file.
    pub fn with_overrides(overrides: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
        let overrides: Vec<String> = overrides.iter().map(|(key, value)| format!("{key}={value}")).collect();
        Config::load(None, &overrides).map(|(config, _)| config)
    }

    pub fn durability(&self) -> Durability {
        self.topic_defaults.durability
    }

    fn new(given: Given, checked: Checked) -> Config {
        let count = |key: &str| u64::try_from(given.whole(key)).unwrap_or(0);
        let count_u32 = |key: &str| u32::try_from(given.whole(key)).unwrap_or(0);
        let threads = |key: &str| usize::try_from(given.whole(key)).unwrap_or(1);
        let bytes_or_auto = |key: &str| given.string(key).and_then(|text| text.parse::<u64>().ok());
        let whole_i32 = |key: &str| given.whole(key) as i32; // the row's type keeps it in range
        let word = |key: &str| given.string(key).unwrap_or_default();
        Config {
            broker_id: checked.broker_id,
            broker_id_generation_enable: given.flag("broker.id.generation.enable"),
            reserved_broker_max_id: whole_i32("reserved.broker.max.id"),
            broker_rack: given.string("broker.rack").filter(|rack| !rack.is_empty()),
            listeners: checked.listeners,
            advertised_listeners: checked.advertised_listeners,
            inter_broker_listener_name: checked.inter_broker_listener_name,
            socket_send_buffer_bytes: u32::try_from(given.whole("socket.send.buffer.bytes")).ok(),
            socket_receive_buffer_bytes: u32::try_from(given.whole("socket.receive.buffer.bytes")).ok(),
            socket_request_max_bytes: count_u32("socket.request.max.bytes"),
            socket_listen_backlog_size: count_u32("socket.listen.backlog.size"),
            connections_max_idle_ms: u64::try_from(given.whole("connections.max.idle.ms")).ok(),
            queued_max_requests: count_u32("queued.max.requests"),
            queued_max_request_bytes: u64::try_from(given.whole("queued.max.request.bytes"))
                .ok()
                .filter(|&n| n > 0),
            request_timeout_ms: count_u32("request.timeout.ms"),
            num_network_threads: threads("num.network.threads"),
            num_io_threads: threads("num.io.threads"),
            num_recovery_threads_per_data_dir: threads("num.recovery.threads.per.data.dir"),
            auto_create_topics_enable: given.flag("auto.create.topics.enable"),
            delete_topic_enable: given.flag("delete.topic.enable"),
            num_partitions: whole_i32("num.partitions"),
            default_replication_factor: whole_i32("default.replication.factor"),
            max_request_partition_size_limit: count_u32("max.request.partition.size.limit"),
            log_dirs: checked.log_dirs,
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
            producer_id_expiration_ms: count("producer.id.expiration.ms"),
            producer_id_expiration_check_interval_ms: count("producer.id.expiration.check.interval.ms"),
            fetch_max_bytes: count_u32("fetch.max.bytes"),
            max_incremental_fetch_session_cache_slots: count_u32("max.incremental.fetch.session.cache.slots"),
            zookeeper: checked.zookeeper,
            reactor_engine: match word("reactor.engine").as_str() {
                "io_uring" => ReactorEngine::IoUring,
                "epoll" => ReactorEngine::Epoll,
                _ => ReactorEngine::Auto,
            },
            reactor_spin_us: count_u32("reactor.spin.us"),
            reactor_cores: setting::cores(&given.list("reactor.cores")).unwrap_or_default(),
            log_append_engine: match word("log.append.engine").as_str() {
                "pwrite" => AppendEngine::Pwrite,
                "ring" => AppendEngine::Ring,
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
            memory_budget_bytes: bytes_or_auto("memory.budget.bytes"),
            topic_defaults: TopicConfig::defaults(&given),
            given,
        }
    }
}

impl Default for Config {
    fn default() -> Config {
        Config::with_overrides(&[]).expect("the defaults are valid")
    }
}

/// What several keys say together.
#[derive(Default)]
struct Checked {
    broker_id: Option<i32>,
    listeners: Vec<Listener>,
    advertised_listeners: Vec<Listener>,
    inter_broker_listener_name: String,
    log_dirs: Vec<PathBuf>,
    zookeeper: Option<ZooKeeper>,
}

impl Checked {
    fn new(given: &Given, findings: &mut Findings) -> Checked {
        let mut checked = Checked { broker_id: check_broker_id(given, findings), ..Checked::default() };
        checked.check_listeners(given, findings);
        checked.log_dirs = check_log_dirs(given, findings);
        checked.zookeeper = check_zookeeper(given, findings);
        check_times_and_sizes(given, findings);
        check_durability(given, findings);
        check_replication(given, findings);
        checked
    }

    fn check_listeners(&mut self, given: &Given, findings: &mut Findings) {
        const MAP: &str = "listener.security.protocol.map";
        const LISTENERS: &str = "listeners";
        const ADVERTISED: &str = "advertised.listeners";
        let map = match listener::parse_protocol_map(&given.string(MAP).unwrap_or_default()) {
            Ok(map) => map,
            Err(what) => return given.error(&[MAP], what, findings),
        };
        if given.is_wrong(LISTENERS) || given.is_wrong(ADVERTISED) {
            return;
        }
        let Some(listeners) = read_listeners(given, LISTENERS, &map, findings) else { return };
        if listeners.is_empty() {
            return given.error(&[LISTENERS], "at least one NAME://host:port", findings);
        }
        if let Err(what) = listener::check_ports(&listeners) {
            given.error(&[LISTENERS], what, findings);
        }
        for listener in &listeners {
            match listener.protocol {
                SecurityProtocol::Plaintext => {}
                SecurityProtocol::Ssl | SecurityProtocol::SaslPlaintext | SecurityProtocol::SaslSsl => {
                    let text = format!(
                        "{} needs {}, which there is not yet; only PLAINTEXT listeners can be served",
                        listener.name,
                        Part::Security
                    );
                    given.error(&[LISTENERS], text, findings);
                }
            }
        }
        let advertised = if given.string(ADVERTISED).is_none_or(|text| text.is_empty()) {
            listeners.clone()
        } else {
            let Some(advertised) = read_listeners(given, ADVERTISED, &map, findings) else { return };
            advertised
        };
        for listener in &advertised {
            if !listeners.iter().any(|known| known.name == listener.name) {
                let text = format!("{} is not among the names in listeners", listener.name);
                given.error(&[ADVERTISED], text, findings);
            }
        }
        self.check_advertised_hosts(given, &advertised, findings);
        self.listeners = listeners;
        self.advertised_listeners = advertised;
        self.check_inter_broker(given, findings);
    }

    fn check_advertised_hosts(&self, given: &Given, advertised: &[Listener], findings: &mut Findings) {
        for listener in advertised {
            if listener.host == "0.0.0.0" {
                let text = "no client can connect to 0.0.0.0: advertised.listeners must name a host clients can reach";
                given.error(&["advertised.listeners", "listeners"], text, findings);
            }
        }
    }

    fn check_inter_broker(&mut self, given: &Given, findings: &mut Findings) {
        const NAME: &str = "inter.broker.listener.name";
        const PROTOCOL: &str = "security.inter.broker.protocol";
        let named = given.string(NAME).filter(|name| !name.is_empty());
        if named.is_some() && given.is_given(PROTOCOL) {
            let text = format!("only one of {NAME} and {PROTOCOL} may be set");
            return given.error(&[NAME], text, findings);
        }
        let name = match named {
            Some(name) => name.to_uppercase(),
            None => given.string(PROTOCOL).unwrap_or_default(),
        };
        if !self.advertised_listeners.iter().any(|listener| listener.name == name) {
            let text =
                format!("the listener between brokers, {name}, must be among the advertised listeners");
            given.error(&[NAME, PROTOCOL, "advertised.listeners", "listeners"], text, findings);
        }
        self.inter_broker_listener_name = name;
    }
}

fn read_listeners(
    given: &Given,
    key: &str,
    map: &ProtocolMap,
    findings: &mut Findings,
) -> Option<Vec<Listener>> {
    match listener::parse_listeners(&given.string(key).unwrap_or_default(), map) {
        Ok(listeners) => Some(listeners),
        Err(wrong) => {
            for what in wrong {
                given.error(&[key], what, findings);
            }
            None
        }
    }
}

fn check_broker_id(given: &Given, findings: &mut Findings) -> Option<i32> {
    let (broker, node) = (given.whole("broker.id"), given.whole("node.id"));
    let key = if broker < 0 && node >= 0 { "node.id" } else { "broker.id" };
    if broker >= 0 && node >= 0 && broker != node {
        given.error(&["node.id"], format!("the same as broker.id, which is {broker}"), findings);
    }
    let id = broker.max(node);
    let reserved = given.whole("reserved.broker.max.id");
    if given.flag("broker.id.generation.enable") {
        if id < -1 || id > reserved {
            let text = format!(
                "from -1 to reserved.broker.max.id ({reserved}), or any while broker.id.generation.enable=false"
            );
            given.error(&[key], text, findings);
        }
    } else if id < 0 {
        given.error(&[key], "0 or more, because broker.id.generation.enable=false", findings);
    }
    i32::try_from(id).ok().filter(|id| *id >= 0)
}

fn check_log_dirs(given: &Given, findings: &mut Findings) -> Vec<PathBuf> {
    let key = if given.text("log.dirs").is_some() { "log.dirs" } else { "log.dir" };
    let dirs = setting::list(&given.string(key).unwrap_or_default());
    if dirs.is_empty() || dirs.iter().any(String::is_empty) {
        given.error(&[key], "at least one directory, and none empty", findings);
    }
    let dirs: Vec<PathBuf> = dirs.into_iter().map(PathBuf::from).collect();
    for (index, dir) in dirs.iter().enumerate() {
        if dirs[..index].contains(dir) {
            given.error(&[key], format!("{} is there twice", dir.display()), findings);
        }
    }
    dirs
}

fn check_zookeeper(given: &Given, findings: &mut Findings) -> Option<ZooKeeper> {
    const CONNECT: &str = "zookeeper.connect";
    let connect = given.string(CONNECT).filter(|connect| !connect.is_empty())?;
    let (hosts, chroot) = match connect.find('/') {
        Some(slash) => connect.split_at(slash),
        None => (connect.as_str(), ""),
    };
    let chroot = chroot.trim_end_matches('/');
    if chroot.contains(',') || chroot.contains("//") {
        given.error(&[CONNECT], "host:port,host:port/path with the path once, at the end", findings);
    }
    let mut servers = Vec::new();
    for server in setting::list(hosts) {
        let (host, port) = server.rsplit_once(':').unwrap_or((&server, "2181"));
        match port.parse::<u16>() {
            Ok(port) if port > 0 && !host.is_empty() => servers.push(format!("{host}:{port}")),
            Ok(_) | Err(_) => given.error(&[CONNECT], format!("`{server}` is not host:port"), findings),
        }
    }
    if servers.is_empty() {
        given.error(&[CONNECT], "at least one host:port", findings);
    }
    let positive = |key: &str, findings: &mut Findings| match given.whole_or_null(key).map(u32::try_from) {
        None => None,
        Some(Ok(ms)) if ms > 0 => Some(ms),
        Some(_) => {
            given.error(&[key], "1 or more", findings);
            None
        }
    };
    let session_timeout_ms = positive("zookeeper.session.timeout.ms", findings).unwrap_or(1);
    let connection_timeout_ms =
        positive("zookeeper.connection.timeout.ms", findings).unwrap_or(session_timeout_ms);
    Some(ZooKeeper {
        chroot: chroot.to_owned(),
        servers,
        session_timeout_ms,
        connection_timeout_ms,
        max_in_flight_requests: u32::try_from(given.whole("zookeeper.max.in.flight.requests")).unwrap_or(1),
        set_acl: given.flag("zookeeper.set.acl"),
        connect,
    })
}

fn check_times_and_sizes(given: &Given, findings: &mut Findings) {
    for key in ["log.retention.ms", "log.retention.minutes", "log.retention.hours"] {
        if given.whole_or_null(key) == Some(0) {
            given.error(&[key], "1 or more, or -1 for ever", findings);
        }
    }
    for (key, least) in [("log.roll.ms", 1), ("log.roll.jitter.ms", 0), ("log.flush.interval.ms", 0)] {
        if given.whole_or_null(key).is_some_and(|ms| ms < least) {
            given.error(&[key], format!("{least} or more"), findings);
        }
    }
    for key in ["socket.send.buffer.bytes", "socket.receive.buffer.bytes"] {
        if given.whole(key) < -1 || given.whole(key) == 0 {
            given.error(&[key], "1 or more, or -1 for the system's choice", findings);
        }
    }
    if given.whole("request.timeout.ms") < 1 {
        given.error(&["request.timeout.ms"], "1 or more", findings);
    }
    let (queued, request) =
        (given.whole("queued.max.request.bytes"), given.whole("socket.request.max.bytes"));
    if queued > 0 && queued < request {
        let text = format!("0 or less, or at least socket.request.max.bytes ({request})");
        given.error(&["queued.max.request.bytes", "socket.request.max.bytes"], text, findings);
    }
    let threads = given.whole("log.cleaner.threads");
    if given.flag("log.cleaner.enable") && threads > 0 {
        const LEAST: i64 = 1024 * 1024;
        if given.whole("log.cleaner.dedupe.buffer.size") / threads <= LEAST {
            let text = format!("more than 1 MiB for each of the {threads} log.cleaner.threads");
            given.error(&["log.cleaner.dedupe.buffer.size", "log.cleaner.threads"], text, findings);
        }
    }
    if given.whole("group.max.session.timeout.ms") < given.whole("group.min.session.timeout.ms") {
        let text = format!(
            "at least group.min.session.timeout.ms ({})",
            given.whole("group.min.session.timeout.ms")
        );
        given.error(&["group.max.session.timeout.ms", "group.min.session.timeout.ms"], text, findings);
    }
    let (acks, replicas) =
        (given.whole("offsets.commit.required.acks"), given.whole("offsets.topic.replication.factor"));
    if !(-1..=replicas).contains(&acks) {
        let text = format!("from -1 to offsets.topic.replication.factor ({replicas})");
        given.error(&["offsets.commit.required.acks", "offsets.topic.replication.factor"], text, findings);
    }
    for key in ["default.replication.factor"] {
        if given.whole(key) < 1 {
            given.error(&[key], "1 or more", findings);
        }
    }
}

fn check_durability(given: &Given, findings: &mut Findings) {
    let scheduled = given.whole("log.flush.scheduler.interval.ms") < i64::MAX;
    let interval = given.whole_or_null("log.flush.interval.ms");
    let messages = given.whole("log.flush.interval.messages");
    match given.text("durability") {
        Some("interval") if interval.is_none() && !scheduled && messages == i64::MAX => {
            given.error(&["durability"], "interval needs log.flush.interval.ms", findings);
        }
        Some("interval") => {}
        Some(mode) => {
            for key in ["log.flush.interval.messages", "log.flush.interval.ms"] {
                if given.is_given(key) {
                    given.note(&[key], format!("has no effect: durability = {mode} decides"), findings);
                }
            }
        }
        None if interval.is_some() && !scheduled && topic::durability(given) == Durability::Replicated => {
            let text = "has no effect unless log.flush.scheduler.interval.ms is set too, as in Kafka; \
                        durability = interval does without it";
            given.note(&["log.flush.interval.ms"], text, findings);
        }
        None => {}
    }
}

fn check_replication(given: &Given, findings: &mut Findings) {
    let wait = given.whole("replica.fetch.wait.max.ms");
    for key in ["replica.socket.timeout.ms", "replica.lag.time.max.ms"] {
        if !given.is_wrong(key) && wait > given.whole(key) {
            let text = format!("at most {key} ({})", given.whole(key));
            given.error(&["replica.fetch.wait.max.ms", key], text, findings);
        }
    }
    let version = |key: &str| given.string(key).as_deref().and_then(Version::parse);
    if let (Some(protocol), Some(format)) =
        (version("inter.broker.protocol.version"), version("log.message.format.version"))
    {
        let ignored = Version::parse("3.0").is_some_and(|from| protocol >= from);
        if !ignored && given.is_given("log.message.format.version") && format > protocol {
            let text = format!("at most inter.broker.protocol.version ({protocol})");
            given.error(&["log.message.format.version"], text, findings);
        }
        let zstd = Version::parse("2.1-IV0").is_some_and(|from| protocol >= from);
        if given.whole("offsets.topic.compression.codec") == 4 && !zstd {
            let text = format!("zstd needs inter.broker.protocol.version 2.1, and it is {protocol}");
            given.error(&["offsets.topic.compression.codec"], text, findings);
        }
    }
}
