//! The one table of settings: every key of Kafka 3.9, those it has dropped since 1.0, and Ringdaw's own.
//!
//! One row says all there is to say about a key; reading, checking, describing and the messages at start
//! come from it. A setting that starts to have an effect loses its `waits` here and nowhere else.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::config::setting::{Allowed, Effect, Importance, Kind, Part, Setting, Update};

/// The broker's row of this key.
pub fn broker(key: &str) -> Option<&'static Setting> {
    static ROWS: LazyLock<HashMap<&str, &Setting>> = LazyLock::new(|| by_key(BROKER));
    ROWS.get(key).copied()
}

/// The topic's row of this key.
pub fn topic(key: &str) -> Option<&'static Setting> {
    static ROWS: LazyLock<HashMap<&str, &Setting>> = LazyLock::new(|| by_key(TOPIC));
    ROWS.get(key).copied()
}

fn by_key(rows: &'static [Setting]) -> HashMap<&'static str, &'static Setting> {
    rows.iter().map(|setting| (setting.key, setting)).collect()
}

const MAX_INT: &str = "2147483647";
const MAX_LONG: &str = "9223372036854775807";

const NO_JAVA: &str = "it names a Java class, and Ringdaw loads none";
const NO_KRAFT: &str =
    "it belongs to KRaft; Ringdaw keeps its metadata in ZooKeeper or in its own log directory";
const NO_TIERS: &str = "Ringdaw has no tiered storage";
const ONE_LZ4_LEVEL: &str = "lz4 compresses at one level, its fast one";
const NO_PURGATORY: &str = "waiting requests are dropped as they end, so there is nothing to purge";

const NO_QUEUE: &str =
    "requests do not queue: a connection has one in work, or sixteen when all are produce requests";

const NO_JAVA_CRYPTO: &str = "it tunes Java's own cryptography, which Ringdaw does not use";
const NO_JAVA_METRICS: &str = "it shapes figures that Java keeps; Ringdaw's are counters and histograms";
const NO_NEW_GROUPS: &str =
    "it belongs to newer kinds of groups, which a broker with ZooKeeper does not offer";
const NO_SHARE_GROUPS: &str = "it belongs to share groups, which a broker with ZooKeeper does not offer";

const CODECS: &[&str] = &["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"];
const POLICIES: &[&str] = &["compact", "delete"];
const TIMESTAMP_TYPES: &[&str] = &["CreateTime", "LogAppendTime"];
const DURABILITY: &[&str] = &["replicated", "interval", "group-commit"];
const PROTOCOLS: &[&str] = &["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"];

const fn new(key: &'static str, kind: Kind, default: &'static str) -> Setting {
    Setting {
        key,
        kind,
        default: Some(default),
        allowed: Allowed::Any,
        update: Update::ReadOnly,
        importance: Importance::Medium,
        effect: Effect::Works,
        internal: false,
        synonyms: &[],
        meaning: "",
    }
}

const fn flag(key: &'static str, default: &'static str) -> Setting {
    new(key, Kind::Boolean, default)
}

const fn text(key: &'static str, default: &'static str) -> Setting {
    new(key, Kind::String, default)
}

const fn int(key: &'static str, default: &'static str) -> Setting {
    new(key, Kind::Int, default)
}

const fn short(key: &'static str, default: &'static str) -> Setting {
    new(key, Kind::Short, default)
}

const fn long(key: &'static str, default: &'static str) -> Setting {
    new(key, Kind::Long, default)
}

const fn double(key: &'static str, default: &'static str) -> Setting {
    new(key, Kind::Double, default)
}

const fn list(key: &'static str, default: &'static str) -> Setting {
    new(key, Kind::List, default)
}

const fn class(key: &'static str) -> Setting {
    new(key, Kind::Class, "").null().nothing(NO_JAVA)
}

const fn secret(key: &'static str) -> Setting {
    new(key, Kind::Password, "").null().waits(Part::Security)
}

impl Setting {
    const fn null(mut self) -> Setting {
        self.default = None;
        self
    }

    const fn least(mut self, least: i64) -> Setting {
        self.allowed = Allowed::AtLeast(least);
        self
    }

    const fn between(mut self, least: i64, most: i64) -> Setting {
        self.allowed = Allowed::Between(least, most);
        self
    }

    const fn default(mut self, default: &'static str) -> Setting {
        self.default = Some(default);
        self
    }

    const fn allows(mut self, allowed: Allowed) -> Setting {
        self.allowed = allowed;
        self
    }

    const fn high(mut self) -> Setting {
        self.importance = Importance::High;
        self
    }

    const fn low(mut self) -> Setting {
        self.importance = Importance::Low;
        self
    }

    const fn live(mut self) -> Setting {
        self.update = Update::ClusterWide;
        self
    }

    const fn live_per_broker(mut self) -> Setting {
        self.update = Update::PerBroker;
        self
    }

    const fn waits(mut self, part: Part) -> Setting {
        self.effect = Effect::Waits(part);
        self
    }

    const fn nothing(mut self, why: &'static str) -> Setting {
        self.effect = Effect::Nothing(why);
        self
    }

    const fn removed(mut self, why: &'static str) -> Setting {
        self.effect = Effect::Removed(why);
        self
    }

    const fn internal(mut self) -> Setting {
        self.internal = true;
        self
    }

    const fn same_as(mut self, synonyms: &'static [&'static str]) -> Setting {
        self.synonyms = synonyms;
        self
    }

    const fn says(mut self, meaning: &'static str) -> Setting {
        self.meaning = meaning;
        self
    }
}

const RETENTION: &[&str] = &["log.retention.ms", "log.retention.minutes", "log.retention.hours"];
const ROLL: &[&str] = &["log.roll.ms", "log.roll.hours"];
const ROLL_JITTER: &[&str] = &["log.roll.jitter.ms", "log.roll.jitter.hours"];
const FLUSH_MS: &[&str] = &["log.flush.interval.ms", "log.flush.scheduler.interval.ms"];

#[rustfmt::skip] // a table reads as a table: one row, one line or two
pub const BROKER: &[Setting] = &[
    // Who the broker is.
    int("broker.id", "-1").high().says("The broker's number in the cluster; -1 takes the one in meta.properties or makes one up."),
    int("node.id", "-1").high().says("Another name for broker.id."),
    flag("broker.id.generation.enable", "true").says("Whether a broker without an id may be given one."),
    int("reserved.broker.max.id", "1000").least(0).says("The highest id that may be chosen by hand; made-up ids start above it."),
    text("broker.rack", "").null().says("The rack of this broker, told to clients and used when replicas are placed."),

    // Listeners and sockets.
    text("listeners", "PLAINTEXT://:9092").high().live_per_broker().says("The addresses to accept connections on, each NAME://host:port; no host means all interfaces."),
    text("advertised.listeners", "").null().high().live_per_broker().says("The addresses clients are told to connect to; unset means the listeners themselves."),
    text("listener.security.protocol.map", "SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT").low().live_per_broker().says("Which security protocol each listener name stands for, as NAME:PROTOCOL pairs."),
    text("inter.broker.listener.name", "").null().says("The listener that brokers use among themselves."),
    text("security.inter.broker.protocol", "PLAINTEXT").allows(Allowed::OneOf(PROTOCOLS)).waits(Part::Cluster).says("The protocol brokers use among themselves when no listener is named for it."),
    text("control.plane.listener.name", "").null().high().waits(Part::Cluster).says("A listener kept apart for what the controller sends."),
    int("socket.send.buffer.bytes", "102400").high().says("Send buffer of a socket; -1 leaves it to the system."),
    int("socket.receive.buffer.bytes", "102400").high().says("Receive buffer of a socket; -1 leaves it to the system."),
    int("socket.request.max.bytes", "104857600").least(1).high().says("The largest request; a larger one ends its connection."),
    int("socket.listen.backlog.size", "50").least(1).says("How many connections may wait to be accepted."),
    long("connections.max.idle.ms", "600000").says("How long a connection may be silent before it is closed; negative means for ever."),
    int("queued.max.requests", "500").least(1).high().nothing(NO_QUEUE).says("How many requests may wait for work before no more are read."),
    long("queued.max.request.bytes", "-1").waits(Part::MemoryBudget).says("How many bytes of requests may wait for work; zero or less sets no limit."),
    int("request.timeout.ms", "30000").high().waits(Part::Cluster).says("How long the broker waits for an answer to a request of its own."),
    long("socket.connection.setup.timeout.ms", "10000").waits(Part::Cluster).says("How long a connection to another broker may take to come up at first."),
    long("socket.connection.setup.timeout.max.ms", "30000").waits(Part::Cluster).says("The longest time a connection to another broker may take to come up."),
    int("max.connections.per.ip", MAX_INT).least(0).live().waits(Part::ConnectionLimits).says("How many connections one address may hold."),
    text("max.connections.per.ip.overrides", "").live().waits(Part::ConnectionLimits).says("Connection limits of single addresses, as address:number pairs."),
    int("max.connections", MAX_INT).least(0).live().waits(Part::ConnectionLimits).says("How many connections the broker holds at once."),
    int("max.connection.creation.rate", MAX_INT).least(0).live().waits(Part::ConnectionLimits).says("How many new connections a second are accepted."),

    // Threads.
    int("num.network.threads", "3").least(1).high().live().says("How many threads take connections; capped at the usable cores."),
    int("num.io.threads", "8").least(1).high().live().says("How many threads own partitions and their files; capped at the usable cores."),
    int("background.threads", "10").least(1).high().live().nothing("housekeeping runs on the threads that own the partitions").says("Threads for housekeeping."),
    int("num.recovery.threads.per.data.dir", "1").least(1).high().live().says("How many threads a log directory gets to load and recover its partitions at start."),
    int("num.replica.fetchers", "1").high().live().waits(Part::Cluster).says("How many fetchers copy from each other broker."),
    int("num.replica.alter.log.dirs.threads", "").null().high().waits(Part::Cluster).says("How many threads move partitions between log directories."),

    // Topics.
    flag("auto.create.topics.enable", "true").high().says("Whether asking for the metadata of an unknown topic creates it."),
    flag("delete.topic.enable", "true").high().says("Whether topics may be deleted."),
    int("num.partitions", "1").least(1).says("Partitions of a topic that is created without saying how many."),
    int("default.replication.factor", "1").says("Replicas of a topic that is created without saying how many."),
    int("max.request.partition.size.limit", "2000").least(1).nothing("the request it limits is not served").says("How many partitions one answer of DescribeTopicPartitions may list."),
    class("create.topic.policy.class.name").low().says("A Java class that judges new topics."),
    class("alter.config.policy.class.name").low().says("A Java class that judges changes of settings."),

    // The log.
    text("log.dir", "/tmp/kafka-logs").high().says("Where the log is kept when log.dirs is not set."),
    text("log.dirs", "").null().high().says("The directories the log is kept in, separated by commas."),
    int("log.segment.bytes", "1073741824").least(14).high().live().says("The size at which a segment is closed and the next one begun."),
    long("log.roll.ms", "").null().high().live().same_as(ROLL).says("The age at which a segment is closed even if it is not full."),
    int("log.roll.hours", "168").least(1).high().same_as(ROLL).says("As log.roll.ms, in hours."),
    long("log.roll.jitter.ms", "").null().high().live().same_as(ROLL_JITTER).says("Up to how much earlier a segment may be closed, by chance, so that not all close at once."),
    int("log.roll.jitter.hours", "0").least(0).high().same_as(ROLL_JITTER).says("As log.roll.jitter.ms, in hours."),
    long("log.retention.ms", "").null().high().live().same_as(RETENTION).says("How long a closed segment is kept; -1 keeps it for ever."),
    int("log.retention.minutes", "").null().high().same_as(RETENTION).says("As log.retention.ms, in minutes."),
    int("log.retention.hours", "168").high().same_as(RETENTION).says("As log.retention.ms, in hours."),
    long("log.retention.bytes", "-1").high().live().says("How many bytes of a partition are kept; -1 sets no limit."),
    long("log.retention.check.interval.ms", "300000").least(1).says("How often the broker looks for segments to delete."),
    long("log.segment.delete.delay.ms", "60000").least(0).high().live().says("How long the files of a deleted segment stay on disk."),
    list("log.cleanup.policy", "delete").allows(Allowed::EachOf(POLICIES)).live().says("Whether old segments are deleted, compacted, or both."),
    int("log.index.size.max.bytes", "10485760").least(4).live().says("The largest size of an index file."),
    int("log.index.interval.bytes", "4096").least(0).live().says("How many bytes of log lie between two entries of an index."),
    long("log.flush.interval.messages", MAX_LONG).least(1).high().live().says("How many records may be unflushed; 1 flushes before every acknowledgement, as durability=group-commit."),
    long("log.flush.interval.ms", "").null().high().live().same_as(FLUSH_MS).says("How long a record may stay unflushed; needs log.flush.scheduler.interval.ms."),
    long("log.flush.scheduler.interval.ms", MAX_LONG).high().says("How often the broker looks for partitions to flush."),
    int("log.flush.offset.checkpoint.interval.ms", "60000").least(0).high().says("How often the recovery points are written down."),
    int("log.flush.start.offset.checkpoint.interval.ms", "60000").least(0).high().says("How often the log start offsets are written down."),
    flag("log.preallocate", "false").live().says("Whether a new segment reserves its space at once."),
    int("message.max.bytes", "1048588").least(0).high().live().says("The largest record batch a topic accepts."),
    text("compression.type", "producer").high().allows(Allowed::OneOf(CODECS)).live().says("The codec batches are kept in; producer keeps each as it came."),
    int("compression.gzip.level", "-1").allows(Allowed::GzipLevel).live().says("Level when the broker compresses with gzip."),
    int("compression.lz4.level", "9").between(1, 17).live().nothing(ONE_LZ4_LEVEL).says("Level when the broker compresses with lz4."),
    int("compression.zstd.level", "3").between(-131072, 22).live().says("Level when the broker compresses with zstd."),
    text("log.message.timestamp.type", "CreateTime").allows(Allowed::OneOf(TIMESTAMP_TYPES)).live().says("Whether records keep the producer's time or get the broker's."),
    long("log.message.timestamp.difference.max.ms", MAX_LONG).least(0).live().says("How far a producer's time may be from the broker's; replaced by before.max and after.max."),
    long("log.message.timestamp.before.max.ms", MAX_LONG).least(0).live().says("How far a producer's time may lie before the broker's."),
    long("log.message.timestamp.after.max.ms", MAX_LONG).least(0).live().says("How far a producer's time may lie after the broker's."),
    text("log.message.format.version", "3.0-IV1").allows(Allowed::Version).nothing("every record is kept in the current format, as Kafka 3 does").says("The record format of older releases."),
    flag("log.message.downconversion.enable", "true").low().live().says("Whether old consumers get records converted to their format."),
    long("log.initial.task.delay.ms", "30000").least(0).low().internal().says("How long after start the first housekeeping runs."),
    long("log.dir.failure.timeout.ms", "30000").least(1).low().nothing(NO_KRAFT).says("How long a failed log directory may go unreported."),
    int("min.insync.replicas", "1").least(1).high().live().says("How many replicas must be in sync for acks=all to succeed."),
    flag("unclean.leader.election.enable", "false").high().live().says("Whether a replica that is not in sync may lead when no other is left."),
    long("unclean.leader.election.interval.ms", "300000").least(1).internal().nothing(NO_KRAFT).says("How often partitions without a leader are looked for."),

    // Compaction.
    flag("log.cleaner.enable", "true").says("Whether compacted topics are compacted."),
    int("log.cleaner.threads", "1").least(0).live().says("How many partitions are compacted at once."),
    long("log.cleaner.dedupe.buffer.size", "134217728").live().says("Memory for the keys of all compactions."),
    int("log.cleaner.io.buffer.size", "524288").least(0).live().says("Memory for the bytes of all compactions."),
    double("log.cleaner.io.buffer.load.factor", "0.9").live().says("How full the memory for keys may get."),
    double("log.cleaner.io.max.bytes.per.second", "1.7976931348623157E308").live().says("How many bytes a second compaction may read and write."),
    long("log.cleaner.backoff.ms", "15000").least(0).live().says("How long compaction rests when there is nothing to do."),
    double("log.cleaner.min.cleanable.ratio", "0.5").allows(Allowed::Fraction(0.0, 1.0)).live().says("How much of a log must be uncompacted before it is compacted."),
    long("log.cleaner.delete.retention.ms", "86400000").least(0).live().says("How long compaction keeps the mark of a deleted key."),
    long("log.cleaner.min.compaction.lag.ms", "0").least(0).live().says("How long a record is safe from compaction."),
    long("log.cleaner.max.compaction.lag.ms", MAX_LONG).least(1).live().says("After how long a record must have been compacted."),

    // Ringdaw's own.
    text("reactor.engine", "auto").allows(Allowed::OneOf(&["auto", "io_uring", "epoll"])).says("How the threads do their input and output; auto asks the kernel at start."),
    int("reactor.spin.us", "0").between(0, 10_000).says("How long an idle thread looks for work before it sleeps, in microseconds."),
    list("reactor.cores", "").allows(Allowed::Cores).says("The cores the threads are pinned to; empty means all that the process may use."),
    text("log.append.engine", "auto").allows(Allowed::OneOf(&["auto", "pwrite"])).waits(Part::AppendEngines).says("How batches are written to the log; auto chooses, and there is only the plain call so far."),
    text("fetch.engine", "auto").allows(Allowed::OneOf(&["auto", "copy", "sendfile", "ring"])).says("How fetched bytes reach the socket; auto copies what is short, sends what is in memory from its file and reads the rest on the ring."),
    text("durability", "replicated").allows(Allowed::OneOf(DURABILITY)).high().live().says("What an acknowledgement promises: replicated (page cache and replicas), interval, or group-commit (flushed)."),
    text("log.window.dirty.bytes", "auto").allows(Allowed::AutoOrBytes(1 << 20)).says("How many written bytes a log directory may hold back from the disk."),
    text("log.window.resident.bytes", "auto").allows(Allowed::AutoOrBytes(1 << 20)).says("How many recent bytes of a log directory stay in the page cache."),
    int("log.preallocate.ahead.bytes", "4194304").between(0, 1 << 30).says("How far ahead of the appends a segment reserves disk blocks, at most; as much as it holds, from 64 KiB on. 0 reserves none."),
    text("log.headroom.bytes", "auto").allows(Allowed::AutoOrBytes(0)).says("How much disk space stays free; below it produce is refused. auto is two segments or 1 %."),
    text("metrics.listener", "").null().allows(Allowed::Address).says("Where the metrics page is served over HTTP, as host:port: /metrics, /livez and /readyz; unset serves none."),
    text("memory.budget.bytes", "auto").allows(Allowed::AutoOrBytes(16 << 20)).waits(Part::MemoryBudget).says("How much memory the broker may use for requests and answers."),

    // Fetch and produce.
    int("fetch.max.bytes", "57671680").least(1024).says("The most bytes one fetch is given, whatever it asks for."),
    int("max.incremental.fetch.session.cache.slots", "1000").least(0).says("How many fetch sessions are remembered."),
    int("fetch.purgatory.purge.interval.requests", "1000").nothing(NO_PURGATORY).says("How often ended fetches are purged."),
    int("producer.purgatory.purge.interval.requests", "1000").nothing(NO_PURGATORY).says("How often ended produces are purged."),
    int("delete.records.purgatory.purge.interval.requests", "1").nothing(NO_PURGATORY).says("How often ended record deletions are purged."),
    int("producer.id.expiration.ms", "86400000").least(1).low().live().says("How long the numbers of a silent idempotent producer are remembered."),
    int("producer.id.expiration.check.interval.ms", "600000").least(1).low().internal().says("How often silent producers are looked for."),

    // Replication and the controller.
    text("inter.broker.protocol.version", "3.9-IV0").allows(Allowed::Version).says("The release whose protocol brokers use among themselves."),
    long("replica.lag.time.max.ms", "30000").high().says("How long a follower may lag before it leaves the in-sync set."),
    int("replica.socket.timeout.ms", "30000").high().says("How long a follower waits for an answer of its leader."),
    int("replica.socket.receive.buffer.bytes", "65536").high().says("Receive buffer of a follower's socket."),
    int("replica.fetch.max.bytes", "1048576").least(0).says("How many bytes of one partition a follower asks for."),
    int("replica.fetch.wait.max.ms", "500").high().says("How long a leader may hold back an answer to a follower."),
    int("replica.fetch.min.bytes", "1").high().says("How many bytes an answer to a follower should hold."),
    int("replica.fetch.response.max.bytes", "10485760").least(0).says("How many bytes a follower asks for at once."),
    int("replica.fetch.backoff.ms", "1000").least(0).says("How long a follower rests after an error."),
    long("replica.high.watermark.checkpoint.interval.ms", "5000").high().says("How often the high watermarks are written down."),
    text("replica.selector.class", "").null().nothing(NO_JAVA).says("A Java class that chooses the replica a consumer reads from."),
    flag("auto.leader.rebalance.enable", "true").high().says("Whether leadership goes back to the preferred replicas by itself."),
    int("leader.imbalance.per.broker.percentage", "10").high().says("How much of a broker's leadership may be elsewhere before it is called back."),
    long("leader.imbalance.check.interval.seconds", "300").least(1).high().says("How often misplaced leadership is looked for."),
    int("controller.socket.timeout.ms", "30000").says("How long the controller waits for a broker's answer."),
    flag("controlled.shutdown.enable", "true").says("Whether leadership is handed over before the broker stops."),
    int("controlled.shutdown.max.retries", "3").says("How often handing over is tried."),
    long("controlled.shutdown.retry.backoff.ms", "5000").says("How long to rest between two tries of handing over."),

    // ZooKeeper.
    text("zookeeper.connect", "").null().high().says("The ZooKeeper servers and, after the last one, the path to live under; unset keeps the metadata in the log directory."),
    int("zookeeper.connection.timeout.ms", "").null().high().says("How long to wait for ZooKeeper at start."),
    int("zookeeper.session.timeout.ms", "18000").high().says("After what silence ZooKeeper declares this broker gone."),
    int("zookeeper.max.in.flight.requests", "10").least(1).high().says("How many requests to ZooKeeper may be under way at once."),
    flag("zookeeper.set.acl", "false").high().waits(Part::Security).says("Whether nodes in ZooKeeper are guarded against other users."),

    // Groups and offsets.
    int("group.min.session.timeout.ms", "6000").says("The shortest session a member may ask for."),
    int("group.max.session.timeout.ms", "1800000").says("The longest session a member may ask for."),
    int("group.initial.rebalance.delay.ms", "3000").says("How long a new group waits for more members."),
    int("group.max.size", MAX_INT).least(1).says("How many members a group may have."),
    int("offset.metadata.max.bytes", "4096").high().says("How much text may be kept beside an offset."),
    int("offsets.load.buffer.size", "5242880").least(1).high().says("How much of the offsets topic is read at once when it is loaded."),
    short("offsets.topic.replication.factor", "3").least(1).high().says("Replicas of the offsets topic."),
    int("offsets.topic.num.partitions", "50").least(1).high().says("Partitions of the offsets topic."),
    int("offsets.topic.segment.bytes", "104857600").least(1).high().says("Segment size of the offsets topic."),
    int("offsets.topic.compression.codec", "0").between(0, 4).high().says("Codec of the offsets topic: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd."),
    int("offsets.retention.minutes", "10080").least(1).high().says("How long the offsets of an empty group are kept."),
    long("offsets.retention.check.interval.ms", "600000").least(1).high().says("How often offsets that have had their time are looked for."),
    int("offsets.commit.timeout.ms", "5000").least(1).high().says("How long a commit may wait for the replicas."),
    short("offsets.commit.required.acks", "-1").high().says("How many replicas must have a commit; -1 means all in sync."),

    // Transactions.
    int("transactional.id.expiration.ms", "604800000").least(1).high().waits(Part::Transactions).says("How long a silent transactional id is remembered."),
    int("transaction.max.timeout.ms", "900000").least(1).high().waits(Part::Transactions).says("The longest time a transaction may ask for."),
    int("transaction.state.log.min.isr", "2").least(1).high().waits(Part::Transactions).says("How many replicas of the transaction topic must be in sync."),
    short("transaction.state.log.replication.factor", "3").least(1).high().waits(Part::Transactions).says("Replicas of the transaction topic."),
    int("transaction.state.log.num.partitions", "50").least(1).high().waits(Part::Transactions).says("Partitions of the transaction topic."),
    int("transaction.state.log.segment.bytes", "104857600").least(1).high().waits(Part::Transactions).says("Segment size of the transaction topic."),
    int("transaction.state.log.load.buffer.size", "5242880").least(1).high().waits(Part::Transactions).says("How much of the transaction topic is read at once when it is loaded."),
    int("transaction.abort.timed.out.transaction.cleanup.interval.ms", "10000").least(1).low().waits(Part::Transactions).says("How often transactions past their time are looked for."),
    int("transaction.remove.expired.transaction.cleanup.interval.ms", "3600000").least(1).low().waits(Part::Transactions).says("How often silent transactional ids are looked for."),
    flag("transaction.partition.verification.enable", "true").low().live().waits(Part::Transactions).says("Whether a partition asks the coordinator before it joins a transaction."),

    // Security: who may connect, and how.
    text("authorizer.class.name", "").low().waits(Part::Security).says("Which authorizer decides who may do what; empty lets everyone do everything."),
    text("super.users", "").waits(Part::Security).says("Principals that may do everything, separated by semicolons."),
    flag("allow.everyone.if.no.acl.found", "false").waits(Part::Security).says("Whether what no rule speaks of is allowed."),
    class("principal.builder.class").default("org.apache.kafka.common.security.authenticator.DefaultKafkaPrincipalBuilder").live_per_broker().says("A Java class that names the user of a connection."),
    list("config.providers", "").waits(Part::Security).says("Where values written as ${provider:path:key} are read from."),
    text("security.providers", "").null().low().nothing(NO_JAVA_CRYPTO).says("Java classes that bring more cryptography."),
    int("connection.failed.authentication.delay.ms", "100").least(0).low().waits(Part::Security).says("How long a failed login waits for its answer."),
    long("connections.max.reauth.ms", "0").waits(Part::Security).says("After how long a client must show again who it is; 0 never asks again."),
    text("ssl.protocol", "TLSv1.3").live_per_broker().waits(Part::Security).says("The TLS version to aim for."),
    text("ssl.provider", "").null().live_per_broker().nothing(NO_JAVA_CRYPTO).says("The Java provider of TLS."),
    list("ssl.enabled.protocols", "TLSv1.2,TLSv1.3").live_per_broker().waits(Part::Security).says("The TLS versions a client may use."),
    list("ssl.cipher.suites", "").live_per_broker().waits(Part::Security).says("The cipher suites a client may use; empty leaves it to the library."),
    text("ssl.keystore.type", "JKS").live_per_broker().waits(Part::Security).says("The format of the key store."),
    text("ssl.keystore.location", "").null().live_per_broker().waits(Part::Security).says("The file with the broker's key and certificates."),
    secret("ssl.keystore.password").live_per_broker().says("The password of the key store."),
    secret("ssl.key.password").live_per_broker().says("The password of the key itself."),
    secret("ssl.keystore.key").live_per_broker().says("The broker's key as PEM text."),
    secret("ssl.keystore.certificate.chain").live_per_broker().says("The broker's certificates as PEM text."),
    text("ssl.truststore.type", "JKS").live_per_broker().waits(Part::Security).says("The format of the trust store."),
    text("ssl.truststore.location", "").null().live_per_broker().waits(Part::Security).says("The file with the certificates that are trusted."),
    secret("ssl.truststore.password").live_per_broker().says("The password of the trust store."),
    secret("ssl.truststore.certificates").live_per_broker().says("The trusted certificates as PEM text."),
    text("ssl.keymanager.algorithm", "SunX509").live_per_broker().nothing(NO_JAVA_CRYPTO).says("How Java picks a key."),
    text("ssl.trustmanager.algorithm", "PKIX").live_per_broker().nothing(NO_JAVA_CRYPTO).says("How Java judges a certificate."),
    text("ssl.secure.random.implementation", "").null().low().live_per_broker().nothing(NO_JAVA_CRYPTO).says("Where Java takes random numbers from."),
    text("ssl.endpoint.identification.algorithm", "https").low().live_per_broker().waits(Part::Security).says("Whether a certificate must carry the name of its host; empty does not look."),
    text("ssl.client.auth", "none").allows(Allowed::OneOf(&["required", "requested", "none"])).live_per_broker().waits(Part::Security).says("Whether clients must show a certificate."),
    text("ssl.principal.mapping.rules", "DEFAULT").low().waits(Part::Security).says("How the name in a certificate becomes the name of a user."),
    class("ssl.engine.factory.class").low().live_per_broker().says("A Java class that makes TLS engines."),
    flag("ssl.allow.dn.changes", "false").low().waits(Part::Security).says("Whether a renewed certificate may carry another name."),
    flag("ssl.allow.san.changes", "false").low().waits(Part::Security).says("Whether a renewed certificate may carry other host names."),
    text("sasl.mechanism.inter.broker.protocol", "GSSAPI").live_per_broker().waits(Part::Security).says("How brokers log in to each other."),
    secret("sasl.jaas.config").live_per_broker().says("The login module and its options, in JAAS form."),
    list("sasl.enabled.mechanisms", "GSSAPI").live_per_broker().waits(Part::Security).says("The ways in which clients may log in."),
    class("sasl.server.callback.handler.class").says("A Java class that judges logins."),
    class("sasl.client.callback.handler.class").says("A Java class that gives the answers of a login between brokers."),
    class("sasl.login.class").says("A Java class that logs in."),
    class("sasl.login.callback.handler.class").says("A Java class that gives a login its answers."),
    int("sasl.server.max.receive.size", "524288").waits(Part::Security).says("The largest message of a login."),
    text("sasl.kerberos.service.name", "").null().live_per_broker().waits(Part::Security).says("The name of the broker's service in Kerberos."),
    text("sasl.kerberos.kinit.cmd", "/usr/bin/kinit").live_per_broker().waits(Part::Security).says("The command that gets a Kerberos ticket."),
    double("sasl.kerberos.ticket.renew.window.factor", "0.8").live_per_broker().waits(Part::Security).says("How far into its life a ticket is renewed."),
    double("sasl.kerberos.ticket.renew.jitter", "0.05").live_per_broker().waits(Part::Security).says("How much chance the time of renewal has."),
    long("sasl.kerberos.min.time.before.relogin", "60000").live_per_broker().waits(Part::Security).says("How long to rest between two renewals."),
    list("sasl.kerberos.principal.to.local.rules", "DEFAULT").live_per_broker().waits(Part::Security).says("How a Kerberos name becomes the name of a user."),
    double("sasl.login.refresh.window.factor", "0.8").live_per_broker().waits(Part::Security).says("How far into its life a token is renewed."),
    double("sasl.login.refresh.window.jitter", "0.05").live_per_broker().waits(Part::Security).says("How much chance the time of renewal has."),
    short("sasl.login.refresh.min.period.seconds", "60").live_per_broker().waits(Part::Security).says("How long to rest between two renewals of a token."),
    short("sasl.login.refresh.buffer.seconds", "300").live_per_broker().waits(Part::Security).says("How long before its end a token must be renewed."),
    int("sasl.login.connect.timeout.ms", "").null().low().waits(Part::Security).says("How long to wait for a connection to the giver of tokens."),
    int("sasl.login.read.timeout.ms", "").null().low().waits(Part::Security).says("How long to wait for its answer."),
    long("sasl.login.retry.backoff.ms", "100").low().waits(Part::Security).says("How long to rest after a failed try at first."),
    long("sasl.login.retry.backoff.max.ms", "10000").low().waits(Part::Security).says("How long to rest after a failed try at most."),
    text("sasl.oauthbearer.token.endpoint.url", "").null().waits(Part::Security).says("Where tokens are given out."),
    text("sasl.oauthbearer.jwks.endpoint.url", "").null().waits(Part::Security).says("Where the keys are that sign tokens."),
    long("sasl.oauthbearer.jwks.endpoint.refresh.ms", "3600000").low().waits(Part::Security).says("How often those keys are fetched again."),
    long("sasl.oauthbearer.jwks.endpoint.retry.backoff.ms", "100").low().waits(Part::Security).says("How long to rest after a failed fetch at first."),
    long("sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms", "10000").low().waits(Part::Security).says("How long to rest after a failed fetch at most."),
    text("sasl.oauthbearer.scope.claim.name", "scope").low().waits(Part::Security).says("The field of a token that says what it is for."),
    text("sasl.oauthbearer.sub.claim.name", "sub").low().waits(Part::Security).says("The field of a token that says whose it is."),
    int("sasl.oauthbearer.clock.skew.seconds", "30").low().waits(Part::Security).says("How far two clocks may differ when a token is judged."),
    list("sasl.oauthbearer.expected.audience", "").null().low().waits(Part::Security).says("Whom a token must be meant for."),
    text("sasl.oauthbearer.expected.issuer", "").null().low().waits(Part::Security).says("Who must have given a token out."),
    secret("delegation.token.master.key").says("The older name of delegation.token.secret.key."),
    secret("delegation.token.secret.key").says("The secret that signs delegation tokens."),
    long("delegation.token.max.lifetime.ms", "604800000").least(1).waits(Part::Security).says("How long a delegation token can be renewed."),
    long("delegation.token.expiry.time.ms", "86400000").least(1).waits(Part::Security).says("How long a delegation token is good until it is renewed."),
    long("delegation.token.expiry.check.interval.ms", "3600000").least(1).low().waits(Part::Security).says("How often ended delegation tokens are looked for."),
    secret("password.encoder.secret").says("The secret that guards passwords kept in ZooKeeper."),
    secret("password.encoder.old.secret").says("The secret before the present one, while passwords are rewritten."),
    text("password.encoder.keyfactory.algorithm", "").null().low().waits(Part::Security).says("How the guarding key is made from the secret."),
    text("password.encoder.cipher.algorithm", "AES/CBC/PKCS5Padding").low().waits(Part::Security).says("The cipher that guards passwords."),
    int("password.encoder.key.length", "128").least(8).low().waits(Part::Security).says("The length of the guarding key, in bits."),
    int("password.encoder.iterations", "4096").least(1024).low().waits(Part::Security).says("How many rounds the guarding key takes to make."),
    flag("zookeeper.ssl.client.enable", "false").waits(Part::Security).says("Whether connections to ZooKeeper use TLS."),
    text("zookeeper.clientCnxnSocket", "").null().nothing(NO_JAVA).says("The Java class of the connection to ZooKeeper."),
    text("zookeeper.ssl.keystore.location", "").null().waits(Part::Security).says("The file with the key shown to ZooKeeper."),
    secret("zookeeper.ssl.keystore.password").says("The password of that file."),
    text("zookeeper.ssl.keystore.type", "").null().waits(Part::Security).says("The format of that file."),
    text("zookeeper.ssl.truststore.location", "").null().waits(Part::Security).says("The file with the certificates ZooKeeper may show."),
    secret("zookeeper.ssl.truststore.password").says("The password of that file."),
    text("zookeeper.ssl.truststore.type", "").null().waits(Part::Security).says("The format of that file."),
    text("zookeeper.ssl.protocol", "TLSv1.2").low().waits(Part::Security).says("The TLS version to aim for with ZooKeeper."),
    list("zookeeper.ssl.enabled.protocols", "").null().low().waits(Part::Security).says("The TLS versions to use with ZooKeeper."),
    list("zookeeper.ssl.cipher.suites", "").null().low().waits(Part::Security).says("The cipher suites to use with ZooKeeper."),
    text("zookeeper.ssl.endpoint.identification.algorithm", "HTTPS").low().waits(Part::Security).says("Whether ZooKeeper's certificate must carry the name of its host."),
    flag("zookeeper.ssl.crl.enable", "false").low().waits(Part::Security).says("Whether lists of revoked certificates are looked up."),
    flag("zookeeper.ssl.ocsp.enable", "false").low().waits(Part::Security).says("Whether each certificate is asked after with its issuer."),

    // Quotas.
    int("quota.window.num", "11").least(1).low().says("How many windows a client's rate is measured over."),
    int("quota.window.size.seconds", "1").least(1).low().says("How long such a window is."),
    int("replication.quota.window.num", "11").least(1).low().waits(Part::Quotas).says("How many windows the rate of copying is measured over."),
    int("replication.quota.window.size.seconds", "1").least(1).low().waits(Part::Quotas).says("How long such a window is."),
    int("alter.log.dirs.replication.quota.window.num", "11").least(1).low().waits(Part::Quotas).says("How many windows the rate of moving between directories is measured over."),
    int("alter.log.dirs.replication.quota.window.size.seconds", "1").least(1).low().waits(Part::Quotas).says("How long such a window is."),
    int("controller.quota.window.num", "11").least(1).low().waits(Part::Quotas).says("How many windows the rate of changes to topics is measured over."),
    int("controller.quota.window.size.seconds", "1").least(1).low().waits(Part::Quotas).says("How long such a window is."),
    class("client.quota.callback.class").low().says("A Java class that sets quotas."),

    // Figures.
    int("metrics.num.samples", "2").least(1).low().nothing(NO_JAVA_METRICS).says("How many samples a figure is made from."),
    long("metrics.sample.window.ms", "30000").least(1).low().nothing(NO_JAVA_METRICS).says("How long a sample is taken."),
    list("metric.reporters", "").low().live().nothing(NO_JAVA).says("Java classes that are given the figures."),
    text("metrics.recording.level", "INFO").low().nothing(NO_JAVA_METRICS).says("How fine the figures are."),
    flag("auto.include.jmx.reporter", "true").low().nothing(NO_JAVA_METRICS).says("Whether figures are shown through JMX."),
    list("kafka.metrics.reporters", "").low().nothing(NO_JAVA).says("Java classes that are given the older kind of figures."),
    int("kafka.metrics.polling.interval.secs", "10").least(1).low().nothing(NO_JAVA_METRICS).says("How often those are given."),
    int("telemetry.max.bytes", "1048576").least(1).low().nothing("clients are not asked for their figures").says("The largest report of figures taken from a client."),

    // Newer kinds of groups.
    list("group.coordinator.rebalance.protocols", "classic").allows(Allowed::EachOf(&["consumer", "classic", "share", "unknown"])).nothing(NO_NEW_GROUPS).says("The kinds of groups that are offered."),
    int("group.coordinator.threads", "1").least(1).nothing(NO_NEW_GROUPS).says("Threads of the newer coordinator."),
    int("group.coordinator.append.linger.ms", "10").least(0).nothing(NO_NEW_GROUPS).says("How long the newer coordinator gathers writes."),
    flag("group.coordinator.new.enable", "false").internal().nothing(NO_NEW_GROUPS).says("Whether the newer coordinator is used."),
    int("group.consumer.session.timeout.ms", "45000").least(1).nothing(NO_NEW_GROUPS).says("The session of a member."),
    int("group.consumer.min.session.timeout.ms", "45000").least(1).nothing(NO_NEW_GROUPS).says("The shortest session a group may set."),
    int("group.consumer.max.session.timeout.ms", "60000").least(1).nothing(NO_NEW_GROUPS).says("The longest session a group may set."),
    int("group.consumer.heartbeat.interval.ms", "5000").least(1).nothing(NO_NEW_GROUPS).says("How often a member reports."),
    int("group.consumer.min.heartbeat.interval.ms", "5000").least(1).nothing(NO_NEW_GROUPS).says("The shortest interval a group may set."),
    int("group.consumer.max.heartbeat.interval.ms", "15000").least(1).nothing(NO_NEW_GROUPS).says("The longest interval a group may set."),
    int("group.consumer.max.size", MAX_INT).least(1).nothing(NO_NEW_GROUPS).says("How many members a group may have."),
    list("group.consumer.assignors", "org.apache.kafka.coordinator.group.assignor.UniformAssignor,org.apache.kafka.coordinator.group.assignor.RangeAssignor").nothing(NO_NEW_GROUPS).says("The Java classes that share out partitions."),
    text("group.consumer.migration.policy", "disabled").allows(Allowed::OneOfAnyCase(&["DISABLED", "DOWNGRADE", "UPGRADE", "BIDIRECTIONAL"])).internal().nothing(NO_NEW_GROUPS).says("Whether a group may change its kind."),
    flag("group.share.enable", "false").internal().nothing(NO_SHARE_GROUPS).says("Whether share groups are offered."),
    int("group.share.delivery.count.limit", "5").between(2, 10).nothing(NO_SHARE_GROUPS).says("How often a record is handed out."),
    short("group.share.max.groups", "10").between(1, 100).nothing(NO_SHARE_GROUPS).says("How many share groups there may be."),
    short("group.share.max.size", "200").between(10, 1000).nothing(NO_SHARE_GROUPS).says("How many members a share group may have."),
    int("group.share.session.timeout.ms", "45000").least(1).nothing(NO_SHARE_GROUPS).says("The session of a member."),
    int("group.share.min.session.timeout.ms", "45000").least(1).nothing(NO_SHARE_GROUPS).says("The shortest session a group may set."),
    int("group.share.max.session.timeout.ms", "60000").least(1).nothing(NO_SHARE_GROUPS).says("The longest session a group may set."),
    int("group.share.heartbeat.interval.ms", "5000").least(1).nothing(NO_SHARE_GROUPS).says("How often a member reports."),
    int("group.share.min.heartbeat.interval.ms", "5000").least(1).nothing(NO_SHARE_GROUPS).says("The shortest interval a group may set."),
    int("group.share.max.heartbeat.interval.ms", "15000").least(1).nothing(NO_SHARE_GROUPS).says("The longest interval a group may set."),
    int("group.share.partition.max.record.locks", "200").between(100, 10_000).nothing(NO_SHARE_GROUPS).says("How many records of a partition may be handed out at once."),
    int("group.share.record.lock.duration.ms", "30000").between(1000, 60_000).nothing(NO_SHARE_GROUPS).says("How long a record stays handed out."),
    int("group.share.min.record.lock.duration.ms", "15000").between(1000, 30_000).nothing(NO_SHARE_GROUPS).says("The shortest such time a group may set."),
    int("group.share.max.record.lock.duration.ms", "60000").between(30_000, 3_600_000).nothing(NO_SHARE_GROUPS).says("The longest such time a group may set."),

    // KRaft.
    list("process.roles", "").high().allows(Allowed::EachOf(&["broker", "controller"])).nothing(NO_KRAFT).says("The roles of a process in KRaft."),
    list("controller.quorum.voters", "").high().nothing(NO_KRAFT).says("The voters of the metadata quorum."),
    list("controller.quorum.bootstrap.servers", "").high().nothing(NO_KRAFT).says("Where to ask for the metadata quorum."),
    text("controller.listener.names", "").null().high().nothing("it belongs to KRaft; the listeners it names are not opened").says("The listeners of KRaft's controllers."),
    int("controller.quorum.election.timeout.ms", "1000").high().nothing(NO_KRAFT).says("After what silence a voter calls an election."),
    int("controller.quorum.election.backoff.max.ms", "1000").high().nothing(NO_KRAFT).says("How long a voter rests between elections."),
    int("controller.quorum.fetch.timeout.ms", "2000").high().nothing(NO_KRAFT).says("After what silence the leader counts as gone."),
    int("controller.quorum.request.timeout.ms", "2000").nothing(NO_KRAFT).says("How long a voter waits for an answer."),
    int("controller.quorum.retry.backoff.ms", "20").low().nothing(NO_KRAFT).says("How long a voter rests after an error."),
    int("controller.quorum.append.linger.ms", "25").nothing(NO_KRAFT).says("How long the leader gathers writes."),
    text("sasl.mechanism.controller.protocol", "GSSAPI").high().nothing(NO_KRAFT).says("How to log in to KRaft's controllers."),
    text("early.start.listeners", "").null().high().nothing(NO_KRAFT).says("The listeners that open before the rest."),
    text("metadata.log.dir", "").null().high().nothing(NO_KRAFT).says("The directory of the metadata log."),
    int("metadata.log.segment.bytes", "1073741824").least(12).high().nothing(NO_KRAFT).says("Segment size of the metadata log."),
    int("metadata.log.segment.min.bytes", "8388608").least(12).high().internal().nothing(NO_KRAFT).says("The least segment size of the metadata log."),
    long("metadata.log.segment.ms", "604800000").high().nothing(NO_KRAFT).says("Segment age of the metadata log."),
    long("metadata.max.retention.bytes", "104857600").high().nothing(NO_KRAFT).says("How many bytes of metadata are kept."),
    long("metadata.max.retention.ms", "604800000").high().nothing(NO_KRAFT).says("How long metadata is kept."),
    int("metadata.max.idle.interval.ms", "500").least(0).low().nothing(NO_KRAFT).says("How long the metadata log may be silent."),
    long("metadata.log.max.record.bytes.between.snapshots", "20971520").least(1).high().nothing(NO_KRAFT).says("After how many bytes the metadata is summed up."),
    long("metadata.log.max.snapshot.interval.ms", "3600000").least(0).high().nothing(NO_KRAFT).says("After how long the metadata is summed up."),
    int("initial.broker.registration.timeout.ms", "60000").nothing(NO_KRAFT).says("How long a broker tries to register."),
    int("broker.heartbeat.interval.ms", "2000").nothing(NO_KRAFT).says("How often a broker reports."),
    int("broker.session.timeout.ms", "9000").nothing(NO_KRAFT).says("After what silence a broker counts as gone."),
    long("server.max.startup.time.ms", MAX_LONG).least(0).internal().nothing(NO_KRAFT).says("How long a start may take."),
    flag("eligible.leader.replicas.enable", "false").high().nothing(NO_KRAFT).says("Whether replicas that may still lead are remembered."),
    flag("zookeeper.metadata.migration.enable", "false").high().nothing(NO_KRAFT).says("Whether metadata moves from ZooKeeper to KRaft."),
    int("zookeeper.metadata.migration.min.batch.size", "200").least(1).internal().nothing(NO_KRAFT).says("How much of it moves at once."),
    flag("unstable.api.versions.enable", "false").high().internal().nothing("versions that are not final are never offered").says("Whether versions of the protocol that are not final are offered."),
    flag("unstable.feature.versions.enable", "false").high().internal().nothing(NO_KRAFT).says("Whether features that are not final are offered."),

    // Tiered storage.
    flag("remote.log.storage.system.enable", "false").nothing(NO_TIERS).says("Whether old segments may move to a remote tier."),
    text("remote.log.storage.manager.class.name", "").null().allows(Allowed::NotEmpty).nothing(NO_TIERS).says("The Java class that reaches the remote tier."),
    text("remote.log.storage.manager.class.path", "").null().nothing(NO_TIERS).says("Where that class is."),
    text("remote.log.storage.manager.impl.prefix", "rsm.config.").allows(Allowed::NotEmpty).nothing(NO_TIERS).says("How that class's own keys begin."),
    text("remote.log.metadata.manager.class.name", "org.apache.kafka.server.log.remote.metadata.storage.TopicBasedRemoteLogMetadataManager").allows(Allowed::NotEmpty).nothing(NO_TIERS).says("The Java class that remembers what is in the remote tier."),
    text("remote.log.metadata.manager.class.path", "").null().nothing(NO_TIERS).says("Where that class is."),
    text("remote.log.metadata.manager.impl.prefix", "rlmm.config.").allows(Allowed::NotEmpty).nothing(NO_TIERS).says("How that class's own keys begin."),
    text("remote.log.metadata.manager.listener.name", "").null().allows(Allowed::NotEmpty).nothing(NO_TIERS).says("The listener that class connects to."),
    int("remote.log.metadata.custom.metadata.max.bytes", "128").least(0).low().nothing(NO_TIERS).says("How much that class may remember of its own."),
    long("remote.log.index.file.cache.total.size.bytes", "1073741824").least(1).low().live().nothing(NO_TIERS).says("How much of the remote indexes is kept here."),
    int("remote.log.manager.thread.pool.size", "10").least(1).nothing(NO_TIERS).says("Threads for the remote tier."),
    int("remote.log.manager.copier.thread.pool.size", "-1").nothing(NO_TIERS).says("Threads that copy to the remote tier."),
    int("remote.log.manager.expiration.thread.pool.size", "-1").nothing(NO_TIERS).says("Threads that delete from the remote tier."),
    long("remote.log.manager.task.interval.ms", "30000").least(1).low().nothing(NO_TIERS).says("How often segments to move are looked for."),
    long("remote.log.manager.task.retry.backoff.ms", "500").least(1).low().internal().nothing(NO_TIERS).says("How long to rest after an error at first."),
    long("remote.log.manager.task.retry.backoff.max.ms", "30000").least(1).low().internal().nothing(NO_TIERS).says("How long to rest after an error at most."),
    double("remote.log.manager.task.retry.jitter", "0.2").allows(Allowed::Fraction(0.0, 0.5)).low().internal().nothing(NO_TIERS).says("How much chance that rest has."),
    long("remote.log.manager.copy.max.bytes.per.second", MAX_LONG).least(1).live().nothing(NO_TIERS).says("How fast to copy to the remote tier."),
    int("remote.log.manager.copy.quota.window.num", "11").least(1).nothing(NO_TIERS).says("How many windows that rate is measured over."),
    int("remote.log.manager.copy.quota.window.size.seconds", "1").least(1).nothing(NO_TIERS).says("How long such a window is."),
    long("remote.log.manager.fetch.max.bytes.per.second", MAX_LONG).least(1).live().nothing(NO_TIERS).says("How fast to read from the remote tier."),
    int("remote.log.manager.fetch.quota.window.num", "11").least(1).nothing(NO_TIERS).says("How many windows that rate is measured over."),
    int("remote.log.manager.fetch.quota.window.size.seconds", "1").least(1).nothing(NO_TIERS).says("How long such a window is."),
    int("remote.log.reader.threads", "10").least(1).nothing(NO_TIERS).says("Threads that read from the remote tier."),
    int("remote.log.reader.max.pending.tasks", "100").least(1).nothing(NO_TIERS).says("How many such reads may wait."),
    int("remote.fetch.max.wait.ms", "500").least(1).live().nothing(NO_TIERS).says("How long a fetch waits for the remote tier."),
    long("log.local.retention.ms", "-2").least(-2).live().nothing(NO_TIERS).says("How long a segment stays here when older ones are in a remote tier."),
    long("log.local.retention.bytes", "-2").least(-2).live().nothing(NO_TIERS).says("How many bytes stay here when older ones are in a remote tier."),

    // Keys that Kafka has dropped.
    text("host.name", "").high().removed("Kafka dropped it in 3.0: write the address into listeners, as PLAINTEXT://host:9092").says("The address of the only listener, before there were several."),
    int("port", "9092").high().removed("Kafka dropped it in 3.0: write the port into listeners, as PLAINTEXT://:9092").says("The port of the only listener, before there were several."),
    text("advertised.host.name", "").null().high().removed("Kafka dropped it in 3.0: use advertised.listeners").says("The address told to clients, before there were several."),
    int("advertised.port", "").null().high().removed("Kafka dropped it in 3.0: use advertised.listeners").says("The port told to clients, before there were several."),
    int("zookeeper.sync.time.ms", "2000").low().removed("Kafka dropped it in 3.3; no broker has used it, only the consumer before 0.9").says("How far a ZooKeeper follower may lag."),
    long("quota.producer.default", MAX_LONG).least(1).high().removed("Kafka dropped it in 3.0: set producer_byte_rate of the default client with the configs tool").says("Bytes a second of a producer without a quota of its own."),
    long("quota.consumer.default", MAX_LONG).least(1).high().removed("Kafka dropped it in 3.0: set consumer_byte_rate of the default client with the configs tool").says("Bytes a second of a consumer without a quota of its own."),
];

#[rustfmt::skip] // as above
pub const TOPIC: &[Setting] = &[
    list("cleanup.policy", "delete").allows(Allowed::EachOf(POLICIES)).same_as(&["log.cleanup.policy"]).says("Whether old segments are deleted, compacted, or both."),
    text("compression.type", "producer").allows(Allowed::OneOf(CODECS)).same_as(&["compression.type"]).says("The codec batches are kept in; producer keeps each as it came."),
    int("compression.gzip.level", "-1").allows(Allowed::GzipLevel).same_as(&["compression.gzip.level"]).says("Level when the broker compresses with gzip."),
    int("compression.lz4.level", "9").between(1, 17).same_as(&["compression.lz4.level"]).nothing(ONE_LZ4_LEVEL).says("Level when the broker compresses with lz4."),
    int("compression.zstd.level", "3").between(-131072, 22).same_as(&["compression.zstd.level"]).says("Level when the broker compresses with zstd."),
    long("delete.retention.ms", "86400000").least(0).same_as(&["log.cleaner.delete.retention.ms"]).says("How long compaction keeps the mark of a deleted key."),
    text("durability", "replicated").allows(Allowed::OneOf(DURABILITY)).same_as(&["durability"]).says("What an acknowledgement promises: replicated (page cache and replicas), interval, or group-commit (flushed)."),
    long("file.delete.delay.ms", "60000").least(0).same_as(&["log.segment.delete.delay.ms"]).says("How long the files of a deleted segment stay on disk."),
    long("flush.messages", MAX_LONG).least(1).same_as(&["log.flush.interval.messages"]).says("How many records may be unflushed; 1 flushes before every acknowledgement."),
    long("flush.ms", MAX_LONG).least(0).same_as(FLUSH_MS).says("How long a record may stay unflushed."),
    list("follower.replication.throttled.replicas", "").allows(Allowed::ThrottledReplicas).waits(Part::Quotas).says("Replicas whose copying is throttled at the follower."),
    int("index.interval.bytes", "4096").least(0).same_as(&["log.index.interval.bytes"]).says("How many bytes of log lie between two entries of an index."),
    list("leader.replication.throttled.replicas", "").allows(Allowed::ThrottledReplicas).waits(Part::Quotas).says("Replicas whose copying is throttled at the leader."),
    long("local.retention.bytes", "-2").least(-2).same_as(&["log.local.retention.bytes"]).nothing(NO_TIERS).says("How many bytes stay here when older ones are in a remote tier."),
    long("local.retention.ms", "-2").least(-2).same_as(&["log.local.retention.ms"]).nothing(NO_TIERS).says("How long a segment stays here when older ones are in a remote tier."),
    long("max.compaction.lag.ms", MAX_LONG).least(1).same_as(&["log.cleaner.max.compaction.lag.ms"]).says("After how long a record must have been compacted."),
    int("max.message.bytes", "1048588").least(0).same_as(&["message.max.bytes"]).says("The largest record batch the topic accepts."),
    flag("message.downconversion.enable", "true").low().same_as(&["log.message.downconversion.enable"]).says("Whether old consumers get records converted to their format."),
    text("message.format.version", "3.0-IV1").allows(Allowed::Version).same_as(&["log.message.format.version"]).nothing("every record is kept in the current format, as Kafka 3 does").says("The record format of older releases."),
    long("message.timestamp.after.max.ms", MAX_LONG).least(0).same_as(&["log.message.timestamp.after.max.ms"]).says("How far a producer's time may lie after the broker's."),
    long("message.timestamp.before.max.ms", MAX_LONG).least(0).same_as(&["log.message.timestamp.before.max.ms"]).says("How far a producer's time may lie before the broker's."),
    long("message.timestamp.difference.max.ms", MAX_LONG).least(0).same_as(&["log.message.timestamp.difference.max.ms"]).says("How far a producer's time may be from the broker's; replaced by before.max and after.max."),
    text("message.timestamp.type", "CreateTime").allows(Allowed::OneOf(TIMESTAMP_TYPES)).same_as(&["log.message.timestamp.type"]).says("Whether records keep the producer's time or get the broker's."),
    double("min.cleanable.dirty.ratio", "0.5").allows(Allowed::Fraction(0.0, 1.0)).same_as(&["log.cleaner.min.cleanable.ratio"]).says("How much of a log must be uncompacted before it is compacted."),
    long("min.compaction.lag.ms", "0").least(0).same_as(&["log.cleaner.min.compaction.lag.ms"]).says("How long a record is safe from compaction."),
    int("min.insync.replicas", "1").least(1).same_as(&["min.insync.replicas"]).says("How many replicas must be in sync for acks=all to succeed."),
    flag("preallocate", "false").same_as(&["log.preallocate"]).says("Whether a new segment reserves its space at once."),
    flag("remote.log.copy.disable", "false").nothing(NO_TIERS).says("Whether segments stop moving to a remote tier."),
    flag("remote.log.delete.on.disable", "false").nothing(NO_TIERS).says("Whether leaving the remote tier deletes what is in it."),
    flag("remote.storage.enable", "false").nothing(NO_TIERS).says("Whether old segments move to a remote tier."),
    long("retention.bytes", "-1").same_as(&["log.retention.bytes"]).says("How many bytes of a partition are kept; -1 sets no limit."),
    long("retention.ms", "604800000").least(-1).same_as(RETENTION).says("How long a closed segment is kept; -1 keeps it for ever."),
    int("segment.bytes", "1073741824").least(14).same_as(&["log.segment.bytes"]).says("The size at which a segment is closed and the next one begun."),
    int("segment.index.bytes", "10485760").least(4).same_as(&["log.index.size.max.bytes"]).says("The largest size of an index file."),
    long("segment.jitter.ms", "0").least(0).same_as(ROLL_JITTER).says("Up to how much earlier a segment may be closed, by chance."),
    long("segment.ms", "604800000").least(1).same_as(ROLL).says("The age at which a segment is closed even if it is not full."),
    flag("unclean.leader.election.enable", "false").same_as(&["unclean.leader.election.enable"]).says("Whether a replica that is not in sync may lead when no other is left."),
];
