//! The one table of settings: every key of Kafka 3.9, those it has dropped since 1.0, and Ringdaw's own.
//!
//! One row says all there is to say about a key; reading, checking, describing and the messages at start
//! come from it. A setting that starts to have an effect loses its `waits` here and nowhere else.

use crate::config::setting::{Allowed, Effect, Importance, Kind, Part, Setting, Update};

/// The broker's row of this key.
pub fn broker(key: &str) -> Option<&'static Setting> {
    BROKER.iter().find(|setting| setting.key == key)
}

/// The topic's row of this key.
pub fn topic(key: &str) -> Option<&'static Setting> {
    TOPIC.iter().find(|setting| setting.key == key)
}

const MAX_INT: &str = "2147483647";
const MAX_LONG: &str = "9223372036854775807";

const NO_JAVA: &str = "it names a Java class, and Ringdaw loads none";
const NO_KRAFT: &str =
    "it belongs to KRaft; Ringdaw keeps its metadata in ZooKeeper or in its own log directory";
const NO_TIERS: &str = "Ringdaw has no tiered storage";
const NO_PURGATORY: &str = "waiting requests are dropped as they end, so there is nothing to purge";

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
    int("node.id", "-1").high().same_as(&["node.id", "broker.id"]).says("Another name for broker.id."),
    flag("broker.id.generation.enable", "true").says("Whether a broker without an id may be given one."),
    int("reserved.broker.max.id", "1000").least(0).says("The highest id that may be chosen by hand; made-up ids start above it."),
    text("broker.rack", "").null().says("The rack of this broker, told to clients and used when replicas are placed."),

    // Listeners and sockets.
    text("listeners", "PLAINTEXT://:9092").high().live_per_broker().says("The addresses to accept connections on, each NAME://host:port; no host means all interfaces."),
    text("advertised.listeners", "").null().high().live_per_broker().says("The addresses clients are told to connect to; unset means the listeners themselves."),
    text("listener.security.protocol.map", "SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT").low().live_per_broker().says("Which security protocol each listener name stands for, as NAME:PROTOCOL pairs."),
    text("inter.broker.listener.name", "").null().says("The listener that brokers use among themselves."),
    text("security.inter.broker.protocol", "PLAINTEXT").allows(Allowed::OneOf(PROTOCOLS)).says("The protocol brokers use among themselves when no listener is named for it."),
    text("control.plane.listener.name", "").null().high().waits(Part::Cluster).says("A listener kept apart for what the controller sends."),
    int("socket.send.buffer.bytes", "102400").high().says("Send buffer of a socket; -1 leaves it to the system."),
    int("socket.receive.buffer.bytes", "102400").high().says("Receive buffer of a socket; -1 leaves it to the system."),
    int("socket.request.max.bytes", "104857600").least(1).high().says("The largest request; a larger one ends its connection."),
    int("socket.listen.backlog.size", "50").least(1).says("How many connections may wait to be accepted."),
    long("connections.max.idle.ms", "600000").says("How long a connection may be silent before it is closed; negative means for ever."),
    int("queued.max.requests", "500").least(1).high().says("How many requests may wait for work before no more are read."),
    long("queued.max.request.bytes", "-1").says("How many bytes of requests may wait for work; zero or less sets no limit."),
    int("request.timeout.ms", "30000").high().says("How long the broker waits for an answer to a request of its own."),
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
    int("max.request.partition.size.limit", "2000").least(1).says("How many partitions one answer of DescribeTopicPartitions may list."),
    class("create.topic.policy.class.name").low().says("A Java class that judges new topics."),
    class("alter.config.policy.class.name").low().says("A Java class that judges changes of settings."),

    // The log.
    text("log.dir", "/tmp/kafka-logs").high().says("Where the log is kept when log.dirs is not set."),
    text("log.dirs", "").null().high().says("The directories the log is kept in, separated by commas."),
    int("log.segment.bytes", "1073741824").least(14).high().live().says("The size at which a segment is closed and the next one begun."),
    long("log.roll.ms", "").null().high().live().same_as(ROLL).says("The age at which a segment is closed even if it is not full."),
    int("log.roll.hours", "168").least(1).high().says("As log.roll.ms, in hours."),
    long("log.roll.jitter.ms", "").null().high().live().same_as(ROLL_JITTER).says("Up to how much earlier a segment may be closed, by chance, so that not all close at once."),
    int("log.roll.jitter.hours", "0").least(0).high().says("As log.roll.jitter.ms, in hours."),
    long("log.retention.ms", "").null().high().live().same_as(RETENTION).says("How long a closed segment is kept; -1 keeps it for ever."),
    int("log.retention.minutes", "").null().high().says("As log.retention.ms, in minutes."),
    int("log.retention.hours", "168").high().says("As log.retention.ms, in hours."),
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
    int("compression.gzip.level", "-1").allows(Allowed::GzipLevel).live().waits(Part::BrokerCompression).says("Level when the broker compresses with gzip."),
    int("compression.lz4.level", "9").between(1, 17).live().waits(Part::BrokerCompression).says("Level when the broker compresses with lz4."),
    int("compression.zstd.level", "3").between(-131072, 22).live().waits(Part::BrokerCompression).says("Level when the broker compresses with zstd."),
    text("log.message.timestamp.type", "CreateTime").allows(Allowed::OneOf(TIMESTAMP_TYPES)).live().says("Whether records keep the producer's time or get the broker's."),
    long("log.message.timestamp.difference.max.ms", MAX_LONG).least(0).live().says("How far a producer's time may be from the broker's; replaced by before.max and after.max."),
    long("log.message.timestamp.before.max.ms", MAX_LONG).least(0).live().says("How far a producer's time may lie before the broker's."),
    long("log.message.timestamp.after.max.ms", MAX_LONG).least(0).live().says("How far a producer's time may lie after the broker's."),
    text("log.message.format.version", "3.0-IV1").allows(Allowed::Version).nothing("every record is kept in the current format, as Kafka 3 does").says("The record format of older releases."),
    flag("log.message.downconversion.enable", "true").low().live().says("Whether old consumers get records converted to their format."),
    long("log.initial.task.delay.ms", "30000").least(0).low().internal().says("How long after start the first housekeeping runs."),
    long("log.dir.failure.timeout.ms", "30000").least(1).low().nothing(NO_KRAFT).says("How long a failed log directory may go unreported."),
    int("min.insync.replicas", "1").least(1).high().live().says("How many replicas must be in sync for acks=all to succeed."),
    flag("unclean.leader.election.enable", "false").high().live().waits(Part::Cluster).says("Whether a replica that is not in sync may lead when no other is left."),
    long("unclean.leader.election.interval.ms", "300000").least(1).internal().nothing(NO_KRAFT).says("How often partitions without a leader are looked for."),

    // Compaction.
    flag("log.cleaner.enable", "true").waits(Part::Compaction).says("Whether compacted topics are compacted."),
    int("log.cleaner.threads", "1").least(0).live().waits(Part::Compaction).says("How many partitions are compacted at once."),
    long("log.cleaner.dedupe.buffer.size", "134217728").live().waits(Part::Compaction).says("Memory for the keys of all compactions."),
    int("log.cleaner.io.buffer.size", "524288").least(0).live().waits(Part::Compaction).says("Memory for the bytes of all compactions."),
    double("log.cleaner.io.buffer.load.factor", "0.9").live().waits(Part::Compaction).says("How full the memory for keys may get."),
    double("log.cleaner.io.max.bytes.per.second", "1.7976931348623157E308").live().waits(Part::Compaction).says("How many bytes a second compaction may read and write."),
    long("log.cleaner.backoff.ms", "15000").least(0).live().waits(Part::Compaction).says("How long compaction rests when there is nothing to do."),
    double("log.cleaner.min.cleanable.ratio", "0.5").allows(Allowed::Fraction(0.0, 1.0)).live().waits(Part::Compaction).says("How much of a log must be uncompacted before it is compacted."),
    long("log.cleaner.delete.retention.ms", "86400000").least(0).live().waits(Part::Compaction).says("How long compaction keeps the mark of a deleted key."),
    long("log.cleaner.min.compaction.lag.ms", "0").least(0).live().waits(Part::Compaction).says("How long a record is safe from compaction."),
    long("log.cleaner.max.compaction.lag.ms", MAX_LONG).least(1).live().waits(Part::Compaction).says("After how long a record must have been compacted."),

    // Ringdaw's own.
    text("reactor.engine", "auto").allows(Allowed::OneOf(&["auto", "io_uring", "epoll"])).says("How the threads do their input and output; auto asks the kernel at start."),
    int("reactor.spin.us", "0").between(0, 10_000).says("How long an idle thread looks for work before it sleeps, in microseconds."),
    list("reactor.cores", "").allows(Allowed::Cores).says("The cores the threads are pinned to; empty means all that the process may use."),
    text("log.append.engine", "auto").allows(Allowed::OneOf(&["auto", "pwrite", "ring"])).says("How batches are written to the log: by a plain call or through the ring."),
    text("fetch.engine", "auto").allows(Allowed::OneOf(&["auto", "copy", "sendfile", "ring"])).says("How fetched bytes reach the socket; auto chooses for each answer."),
    text("durability", "replicated").allows(Allowed::OneOf(DURABILITY)).high().live().says("What an acknowledgement promises: replicated (page cache and replicas), interval, or group-commit (flushed)."),
    text("log.window.dirty.bytes", "auto").allows(Allowed::AutoOrBytes(1 << 20)).says("How many written bytes a log directory may hold back from the disk."),
    text("log.window.resident.bytes", "auto").allows(Allowed::AutoOrBytes(1 << 20)).says("How many recent bytes of a log directory stay in the page cache."),
    text("log.headroom.bytes", "auto").allows(Allowed::AutoOrBytes(0)).says("How much disk space stays free; below it produce is refused. auto is two segments or 1 %."),
    text("memory.budget.bytes", "auto").allows(Allowed::AutoOrBytes(16 << 20)).says("How much memory the broker may use for requests and answers."),

    // Fetch and produce.
    int("fetch.max.bytes", "57671680").least(1024).says("The most bytes one fetch is given, whatever it asks for."),
    int("max.incremental.fetch.session.cache.slots", "1000").least(0).says("How many fetch sessions are remembered."),
    int("fetch.purgatory.purge.interval.requests", "1000").nothing(NO_PURGATORY).says("How often ended fetches are purged."),
    int("producer.purgatory.purge.interval.requests", "1000").nothing(NO_PURGATORY).says("How often ended produces are purged."),
    int("delete.records.purgatory.purge.interval.requests", "1").nothing(NO_PURGATORY).says("How often ended record deletions are purged."),
    int("producer.id.expiration.ms", "86400000").least(1).low().live().says("How long the numbers of a silent idempotent producer are remembered."),
    int("producer.id.expiration.check.interval.ms", "600000").least(1).low().internal().says("How often silent producers are looked for."),

    // Replication and the controller.
    text("inter.broker.protocol.version", "3.9-IV0").allows(Allowed::Version).waits(Part::Cluster).says("The release whose protocol brokers use among themselves."),
    long("replica.lag.time.max.ms", "30000").high().waits(Part::Cluster).says("How long a follower may lag before it leaves the in-sync set."),
    int("replica.socket.timeout.ms", "30000").high().waits(Part::Cluster).says("How long a follower waits for an answer of its leader."),
    int("replica.socket.receive.buffer.bytes", "65536").high().waits(Part::Cluster).says("Receive buffer of a follower's socket."),
    int("replica.fetch.max.bytes", "1048576").least(0).waits(Part::Cluster).says("How many bytes of one partition a follower asks for."),
    int("replica.fetch.wait.max.ms", "500").high().waits(Part::Cluster).says("How long a leader may hold back an answer to a follower."),
    int("replica.fetch.min.bytes", "1").high().waits(Part::Cluster).says("How many bytes an answer to a follower should hold."),
    int("replica.fetch.response.max.bytes", "10485760").least(0).waits(Part::Cluster).says("How many bytes a follower asks for at once."),
    int("replica.fetch.backoff.ms", "1000").least(0).waits(Part::Cluster).says("How long a follower rests after an error."),
    long("replica.high.watermark.checkpoint.interval.ms", "5000").high().says("How often the high watermarks are written down."),
    text("replica.selector.class", "").null().nothing(NO_JAVA).says("A Java class that chooses the replica a consumer reads from."),
    flag("auto.leader.rebalance.enable", "true").high().waits(Part::Cluster).says("Whether leadership goes back to the preferred replicas by itself."),
    int("leader.imbalance.per.broker.percentage", "10").high().waits(Part::Cluster).says("How much of a broker's leadership may be elsewhere before it is called back."),
    long("leader.imbalance.check.interval.seconds", "300").least(1).high().waits(Part::Cluster).says("How often misplaced leadership is looked for."),
    int("controller.socket.timeout.ms", "30000").waits(Part::Cluster).says("How long the controller waits for a broker's answer."),
    flag("controlled.shutdown.enable", "true").waits(Part::Cluster).says("Whether leadership is handed over before the broker stops."),
    int("controlled.shutdown.max.retries", "3").waits(Part::Cluster).says("How often handing over is tried."),
    long("controlled.shutdown.retry.backoff.ms", "5000").waits(Part::Cluster).says("How long to rest between two tries of handing over."),

    // ZooKeeper.
    text("zookeeper.connect", "").null().high().says("The ZooKeeper servers and, after the last one, the path to live under; unset keeps the metadata in the log directory."),
    int("zookeeper.connection.timeout.ms", "").null().high().waits(Part::Cluster).says("How long to wait for ZooKeeper at start."),
    int("zookeeper.session.timeout.ms", "18000").high().waits(Part::Cluster).says("After what silence ZooKeeper declares this broker gone."),
    int("zookeeper.max.in.flight.requests", "10").least(1).high().waits(Part::Cluster).says("How many requests to ZooKeeper may be under way at once."),
    flag("zookeeper.set.acl", "false").high().waits(Part::Security).says("Whether nodes in ZooKeeper are guarded against other users."),

    // Groups and offsets.
    int("group.min.session.timeout.ms", "6000").waits(Part::Groups).says("The shortest session a member may ask for."),
    int("group.max.session.timeout.ms", "1800000").waits(Part::Groups).says("The longest session a member may ask for."),
    int("group.initial.rebalance.delay.ms", "3000").waits(Part::Groups).says("How long a new group waits for more members."),
    int("group.max.size", MAX_INT).least(1).waits(Part::Groups).says("How many members a group may have."),
    int("offset.metadata.max.bytes", "4096").high().waits(Part::Groups).says("How much text may be kept beside an offset."),
    int("offsets.load.buffer.size", "5242880").least(1).high().waits(Part::Groups).says("How much of the offsets topic is read at once when it is loaded."),
    short("offsets.topic.replication.factor", "3").least(1).high().waits(Part::Groups).says("Replicas of the offsets topic."),
    int("offsets.topic.num.partitions", "50").least(1).high().waits(Part::Groups).says("Partitions of the offsets topic."),
    int("offsets.topic.segment.bytes", "104857600").least(1).high().waits(Part::Groups).says("Segment size of the offsets topic."),
    int("offsets.topic.compression.codec", "0").between(0, 4).high().waits(Part::Groups).says("Codec of the offsets topic: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd."),
    int("offsets.retention.minutes", "10080").least(1).high().waits(Part::Groups).says("How long the offsets of an empty group are kept."),
    long("offsets.retention.check.interval.ms", "600000").least(1).high().waits(Part::Groups).says("How often offsets that have had their time are looked for."),
    int("offsets.commit.timeout.ms", "5000").least(1).high().waits(Part::Groups).says("How long a commit may wait for the replicas."),
    short("offsets.commit.required.acks", "-1").high().waits(Part::Groups).says("How many replicas must have a commit; -1 means all in sync."),

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
    int("compression.gzip.level", "-1").allows(Allowed::GzipLevel).same_as(&["compression.gzip.level"]).waits(Part::BrokerCompression).says("Level when the broker compresses with gzip."),
    int("compression.lz4.level", "9").between(1, 17).same_as(&["compression.lz4.level"]).waits(Part::BrokerCompression).says("Level when the broker compresses with lz4."),
    int("compression.zstd.level", "3").between(-131072, 22).same_as(&["compression.zstd.level"]).waits(Part::BrokerCompression).says("Level when the broker compresses with zstd."),
    long("delete.retention.ms", "86400000").least(0).same_as(&["log.cleaner.delete.retention.ms"]).waits(Part::Compaction).says("How long compaction keeps the mark of a deleted key."),
    text("durability", "replicated").allows(Allowed::OneOf(DURABILITY)).same_as(&["durability"]).says("What an acknowledgement promises: replicated (page cache and replicas), interval, or group-commit (flushed)."),
    long("file.delete.delay.ms", "60000").least(0).same_as(&["log.segment.delete.delay.ms"]).says("How long the files of a deleted segment stay on disk."),
    long("flush.messages", MAX_LONG).least(1).same_as(&["log.flush.interval.messages"]).says("How many records may be unflushed; 1 flushes before every acknowledgement."),
    long("flush.ms", MAX_LONG).least(0).same_as(FLUSH_MS).says("How long a record may stay unflushed."),
    list("follower.replication.throttled.replicas", "").allows(Allowed::ThrottledReplicas).waits(Part::Quotas).says("Replicas whose copying is throttled at the follower."),
    int("index.interval.bytes", "4096").least(0).same_as(&["log.index.interval.bytes"]).says("How many bytes of log lie between two entries of an index."),
    list("leader.replication.throttled.replicas", "").allows(Allowed::ThrottledReplicas).waits(Part::Quotas).says("Replicas whose copying is throttled at the leader."),
    long("local.retention.bytes", "-2").least(-2).same_as(&["log.local.retention.bytes"]).nothing(NO_TIERS).says("How many bytes stay here when older ones are in a remote tier."),
    long("local.retention.ms", "-2").least(-2).same_as(&["log.local.retention.ms"]).nothing(NO_TIERS).says("How long a segment stays here when older ones are in a remote tier."),
    long("max.compaction.lag.ms", MAX_LONG).least(1).same_as(&["log.cleaner.max.compaction.lag.ms"]).waits(Part::Compaction).says("After how long a record must have been compacted."),
    int("max.message.bytes", "1048588").least(0).same_as(&["message.max.bytes"]).says("The largest record batch the topic accepts."),
    flag("message.downconversion.enable", "true").low().same_as(&["log.message.downconversion.enable"]).says("Whether old consumers get records converted to their format."),
    text("message.format.version", "3.0-IV1").allows(Allowed::Version).same_as(&["log.message.format.version"]).nothing("every record is kept in the current format, as Kafka 3 does").says("The record format of older releases."),
    long("message.timestamp.after.max.ms", MAX_LONG).least(0).same_as(&["log.message.timestamp.after.max.ms"]).says("How far a producer's time may lie after the broker's."),
    long("message.timestamp.before.max.ms", MAX_LONG).least(0).same_as(&["log.message.timestamp.before.max.ms"]).says("How far a producer's time may lie before the broker's."),
    long("message.timestamp.difference.max.ms", MAX_LONG).least(0).same_as(&["log.message.timestamp.difference.max.ms"]).says("How far a producer's time may be from the broker's; replaced by before.max and after.max."),
    text("message.timestamp.type", "CreateTime").allows(Allowed::OneOf(TIMESTAMP_TYPES)).same_as(&["log.message.timestamp.type"]).says("Whether records keep the producer's time or get the broker's."),
    double("min.cleanable.dirty.ratio", "0.5").allows(Allowed::Fraction(0.0, 1.0)).same_as(&["log.cleaner.min.cleanable.ratio"]).waits(Part::Compaction).says("How much of a log must be uncompacted before it is compacted."),
    long("min.compaction.lag.ms", "0").least(0).same_as(&["log.cleaner.min.compaction.lag.ms"]).waits(Part::Compaction).says("How long a record is safe from compaction."),
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
    flag("unclean.leader.election.enable", "false").same_as(&["unclean.leader.election.enable"]).waits(Part::Cluster).says("Whether a replica that is not in sync may lead when no other is left."),
];
