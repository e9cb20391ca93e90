//! Settings from whole files: what loads, what is refused, and what the operator is told.

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use ringdaw::config::{
    CompressionType, Config, Described, Durability, Note, Overrides, ReactorEngine, Source, TimestampType,
    TopicConfig, settings,
};

fn file(name: &str) -> PathBuf {
    Path::new("tests/config").join(name)
}

fn load(name: &str) -> (Config, Vec<Note>) {
    Config::load(Some(&file(name)), &[]).unwrap_or_else(|errors| panic!("{name}:\n{errors}"))
}

fn config(pairs: &[(&str, &str)]) -> Config {
    Config::with_overrides(pairs).unwrap_or_else(|errors| panic!("{errors}"))
}

fn topic(pairs: &[(&str, &str)]) -> Overrides {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn find<'a>(all: &'a [Described], name: &str) -> &'a Described {
    all.iter().find(|one| one.name == name).unwrap_or_else(|| panic!("{name} is not described"))
}

#[test]
fn the_seed_file_loads_as_it_stands() {
    let (config, notes) = load("seed.properties");
    assert_eq!(config.broker_id, Some(1));
    assert!(config.delete_topic_enable && config.auto_create_topics_enable);
    assert_eq!((config.num_network_threads, config.num_io_threads), (16, 48));
    assert_eq!(config.listeners[0].to_string(), "PLAINTEXT://:9092");
    assert_eq!(config.advertised_listeners, config.listeners);
    assert_eq!(config.socket_send_buffer_bytes, Some(102_400));
    assert_eq!(config.queued_max_requests, 5000);
    assert_eq!(config.connections_max_idle_ms, Some(600_000));
    assert_eq!((config.num_partitions, config.default_replication_factor), (1, 3));
    assert_eq!(config.log_dirs, [PathBuf::from("/data/kafka/kafka-logs")]);
    assert_eq!(config.num_recovery_threads_per_data_dir, 8);
    let topics = &config.topic_defaults;
    assert_eq!(topics.retention_ms, Some(360 * 3_600_000));
    assert_eq!(topics.segment_ms, 168 * 3_600_000);
    assert_eq!(topics.segment_bytes, 1 << 30);
    assert_eq!(topics.max_message_bytes, 2_000_000);
    assert_eq!(topics.min_insync_replicas, 2);
    assert_eq!(topics.file_delete_delay_ms, 60_000);
    assert_eq!(config.durability(), Durability::Replicated);
    let zookeeper = config.zookeeper.as_ref().expect("zookeeper.connect is set");
    assert_eq!(zookeeper.servers, ["172.16.84.21:2181", "172.16.84.22:2181", "172.16.84.23:2181"]);
    assert_eq!((zookeeper.session_timeout_ms, zookeeper.connection_timeout_ms), (6000, 6000));

    // Each key of the file acts, or is spoken of once.
    let text = std::fs::read(file("seed.properties")).expect("the file is there");
    for entry in ringdaw::config::properties::Properties::parse(&text).entries {
        let acts = settings::broker(&entry.key)
            .is_some_and(|setting| matches!(setting.effect, ringdaw::config::setting::Effect::Works));
        let said = notes.iter().filter(|note| note.key == entry.key).count();
        assert_eq!(said, usize::from(!acts), "{}", entry.key);
    }
    let said: Vec<String> = notes.iter().map(Note::to_string).collect();
    let place = "tests/config/seed.properties";
    for line in [
        format!("{place}:4: 或者用listener = : unknown, and ignored as Kafka does"),
        format!(
            "{place}:5: host.name = 172.16.84.21: has no effect: Kafka dropped it in 3.0: write the address into \
             listeners, as PLAINTEXT://host:9092"
        ),
        format!(
            "{place}:56: max.in.flight.requests.per.connection = 5: a setting of a producer, without effect on a \
             broker, here as in Kafka"
        ),
    ] {
        assert!(said.contains(&line), "{line}\nis not among\n{}", said.join("\n"));
    }
}

#[test]
fn the_file_that_kafka_ships_loads() {
    let (config, notes) = load("server.properties");
    assert_eq!(config.broker_id, Some(0));
    assert_eq!(config.log_dirs, [PathBuf::from("/tmp/kafka-logs")]);
    assert_eq!(config.zookeeper.expect("it is set").servers, ["localhost:2181"]);
    assert!(notes.iter().all(|note| note.text.contains("waits for")), "{notes:?}");
}

#[test]
fn the_file_that_kafka_ships_for_kraft_runs_as_one_broker_without_the_controllers_listener() {
    let (config, notes) = load("kraft.properties");
    assert_eq!(config.broker_id, Some(1));
    assert_eq!(config.zookeeper, None);
    let listeners: Vec<String> = config.listeners.iter().map(|listener| listener.to_string()).collect();
    assert_eq!(listeners, ["PLAINTEXT://:9092"]);
    assert_eq!(config.advertised_listeners[0].to_string(), "PLAINTEXT://localhost:9092");
    assert!(notes.iter().any(|note| note.key == "process.roles"));
    let described = config.describe_broker();
    assert_eq!(find(&described, "broker.id").value.as_deref(), Some("1"));
    assert_eq!(find(&described, "node.id").value.as_deref(), Some("1"));
}

#[test]
fn no_file_at_all_is_one_broker_with_kafkas_defaults() {
    let config = Config::default();
    assert_eq!((config.broker_id, config.zookeeper.as_ref()), (None, None));
    assert_eq!((config.num_network_threads, config.num_io_threads), (3, 8));
    assert_eq!(config.log_dirs, [PathBuf::from("/tmp/kafka-logs")]);
    assert_eq!(config.reactor_engine, ReactorEngine::Auto);
    assert_eq!(config.log_window_dirty_bytes, None);
    assert_eq!(config.topic_defaults, TopicConfig::kafka_default());
    let topics = TopicConfig::kafka_default();
    assert_eq!(topics.retention_ms, Some(7 * 24 * 3_600_000));
    assert_eq!((topics.retention_bytes, topics.segment_jitter_ms), (None, 0));
    assert_eq!(topics.max_message_bytes, 1_048_588);
    assert_eq!((topics.segment_bytes, topics.segment_index_bytes), (1 << 30, 10 << 20));
    assert_eq!(topics.compression_type, CompressionType::Producer);
    assert_eq!(topics.message_timestamp_type, TimestampType::CreateTime);
    assert_eq!(topics.message_timestamp_before_max_ms, i64::MAX as u64);
    assert!(topics.cleanup_policy.delete && !topics.cleanup_policy.compact);
}

/// The cases of `bad.txt`; with `BLESS` set the messages are written anew instead of compared.
#[test]
fn bad_files_are_refused_with_every_problem_at_its_line() {
    let path = file("bad.txt");
    let text = std::fs::read_to_string(&path).expect("the file is there");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let properties = folder.path().join("server.properties");
    let mut parts = text.split("\n=== ");
    let mut found = parts.next().expect("the opening").trim_end().to_owned() + "\n";
    let mut refusals = 0;
    for case in parts {
        let (name, body) = case.split_once('\n').expect("a name and a body");
        let input: Vec<&str> = body
            .trim_end()
            .split('\n')
            .filter(|line| !line.starts_with("error ") && !line.starts_with("note ") && *line != "loads")
            .collect();
        let is_argument = |line: &&&str| line.starts_with("--override");
        let lines: String =
            input.iter().filter(|line| !is_argument(line)).map(|line| format!("{line}\n")).collect();
        let arguments =
            input.iter().filter(is_argument).map(|line| line.trim_start_matches("--override ").to_owned());
        std::fs::write(&properties, lines).expect("the folder can be written");
        let loaded = Config::load(Some(&properties), &arguments.collect::<Vec<_>>());
        found += &format!("\n=== {name}\n{}\n", input.join("\n"));
        match loaded {
            Ok(_) => found += "loads\n",
            Err(refused) => {
                for (kind, notes) in [("error", &refused.errors), ("note", &refused.notes)] {
                    for note in notes {
                        let path = properties.display().to_string();
                        found +=
                            &format!("{kind} {}\n", note.to_string().replace(&path, "server.properties"));
                    }
                }
                refusals += 1;
            }
        }
    }
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &found).expect("the file can be written");
    }
    assert!(refusals >= 80, "{refusals}");
    assert!(!found.contains("hunter2\nerror") && !found.contains("= hunter2"), "a secret is shown");
    similar(&found, &std::fs::read_to_string(&path).expect("the file is there"));
}

fn similar(found: &str, expected: &str) {
    for (number, (found, expected)) in found.lines().zip(expected.lines()).enumerate() {
        assert_eq!(found, expected, "line {} of bad.txt", number + 1);
    }
    assert_eq!(found.lines().count(), expected.lines().count());
}

#[test]
fn a_file_that_cannot_be_read_says_so_with_its_path() {
    let errors = Config::load(Some(Path::new("no/such.properties")), &[]).expect_err("there is no such file");
    let said = errors.to_string();
    assert!(said.starts_with("no/such.properties: cannot be read: "), "{said}");
}

#[test]
fn arguments_beat_the_file_and_a_later_argument_the_earlier() {
    let overrides = ["num.partitions=5", "num.partitions = 7 ", "broker.rack=a=b"].map(str::to_owned);
    let (config, _) = Config::load(Some(&file("server.properties")), &overrides).expect("valid");
    assert_eq!((config.num_partitions, config.broker_rack.as_deref()), (7, Some("a=b")));
}

#[test]
fn of_a_family_the_finest_unit_counts() {
    let retention = |pairs: &[(&str, &str)]| config(pairs).topic_defaults.retention_ms;
    let (ms, minutes, hours) = ("log.retention.ms", "log.retention.minutes", "log.retention.hours");
    assert_eq!(retention(&[(hours, "2")]), Some(7_200_000));
    assert_eq!(retention(&[(hours, "2"), (minutes, "3")]), Some(180_000));
    assert_eq!(retention(&[(hours, "2"), (minutes, "3"), (ms, "4")]), Some(4));
    assert_eq!(retention(&[(hours, "-9")]), None);
    assert_eq!(retention(&[(hours, "2147483647")]), Some(2_147_483_647 * 3_600_000));
    let roll = |pairs: &[(&str, &str)]| config(pairs).topic_defaults.segment_ms;
    assert_eq!(roll(&[("log.roll.hours", "1"), ("log.roll.ms", "5")]), 5);
    let jitter = |pairs: &[(&str, &str)]| config(pairs).topic_defaults.segment_jitter_ms;
    assert_eq!(jitter(&[("log.roll.jitter.hours", "1")]), 3_600_000);
}

#[test]
fn kafkas_flush_keys_name_a_durability() {
    let mode = |pairs: &[(&str, &str)]| config(pairs).durability();
    let (messages, ms, scheduler) =
        ("log.flush.interval.messages", "log.flush.interval.ms", "log.flush.scheduler.interval.ms");
    assert_eq!(mode(&[]), Durability::Replicated);
    assert_eq!(mode(&[(messages, "1")]), Durability::GroupCommit);
    assert_eq!(mode(&[(messages, "1000")]), Durability::Interval);
    assert_eq!(mode(&[(ms, "1000")]), Durability::Replicated);
    assert_eq!(mode(&[(ms, "1000"), (scheduler, "500")]), Durability::Interval);
    assert_eq!(mode(&[(scheduler, "500")]), Durability::Interval);
    assert_eq!(mode(&[("durability", "interval"), (ms, "1000")]), Durability::Interval);
    assert_eq!(mode(&[("durability", "replicated"), (messages, "1")]), Durability::Replicated);
    assert_eq!(mode(&[("durability", "group-commit")]), Durability::GroupCommit);
    assert_eq!(config(&[(scheduler, "500")]).topic_defaults.flush_ms, 500);
}

#[test]
fn a_topic_chooses_its_own_durability() {
    let strict = config(&[("durability", "group-commit"), ("log.flush.scheduler.interval.ms", "500")]);
    let plain = Config::default();
    let mode = |broker: &Config, pairs: &[(&str, &str)]| {
        TopicConfig::resolve(broker, &topic(pairs))
            .map(|topic| topic.durability)
            .map_err(|error| error.message)
    };
    assert_eq!(mode(&strict, &[]), Ok(Durability::GroupCommit));
    assert_eq!(mode(&strict, &[("retention.ms", "5")]), Ok(Durability::GroupCommit));
    assert_eq!(mode(&strict, &[("durability", "replicated")]), Ok(Durability::Replicated));
    assert_eq!(mode(&strict, &[("flush.ms", "100")]), Ok(Durability::Interval));
    assert_eq!(mode(&plain, &[("flush.messages", "1")]), Ok(Durability::GroupCommit));
    assert_eq!(mode(&plain, &[("flush.ms", "100")]), Ok(Durability::Replicated)); // no scheduler, as in Kafka
    assert_eq!(mode(&plain, &[("durability", "interval"), ("flush.ms", "100")]), Ok(Durability::Interval));
    assert_eq!(
        mode(&plain, &[("durability", "interval")]),
        Err("Invalid value interval for configuration durability: set flush.ms or flush.messages too"
            .to_owned())
    );
}

#[test]
fn a_topics_overrides_lie_over_the_brokers_values() {
    let broker = config(&[
        ("log.segment.bytes", "1000000"),
        ("compression.type", "lz4"),
        ("log.retention.hours", "1"),
    ]);
    let overrides = topic(&[
        ("segment.bytes", "20000"),
        ("cleanup.policy", "compact,delete"),
        ("retention.ms", "-1"),
        ("retention.bytes", "5000"),
        ("message.timestamp.type", "LogAppendTime"),
        ("preallocate", "TRUE"),
    ]);
    let resolved = TopicConfig::resolve(&broker, &overrides).expect("valid");
    assert_eq!(
        (resolved.segment_bytes, resolved.retention_ms, resolved.retention_bytes),
        (20_000, None, Some(5000))
    );
    assert!(resolved.cleanup_policy.compact && resolved.cleanup_policy.delete && resolved.preallocate);
    assert_eq!(resolved.compression_type, CompressionType::Lz4);
    assert_eq!(resolved.message_timestamp_type, TimestampType::LogAppendTime);
    let other = TopicConfig::resolve(&broker, &topic(&[])).expect("valid");
    assert_eq!((other.segment_bytes, other.retention_ms), (1_000_000, Some(3_600_000)));
}

#[test]
fn the_older_timestamp_key_stands_for_both_newer_ones() {
    let older = "log.message.timestamp.difference.max.ms";
    let topics = config(&[(older, "5000"), ("log.message.timestamp.after.max.ms", "7")]).topic_defaults;
    assert_eq!((topics.message_timestamp_before_max_ms, topics.message_timestamp_after_max_ms), (5000, 7));
    let own = topic(&[("message.timestamp.difference.max.ms", "3")]);
    let topics = TopicConfig::resolve(&Config::default(), &own).expect("valid");
    assert_eq!((topics.message_timestamp_before_max_ms, topics.message_timestamp_after_max_ms), (3, 3));
}

#[test]
fn stored_overrides_that_cannot_be_are_left_out_and_named() {
    let stored = topic(&[
        ("segment.bytes", "20000"),
        ("retention.ms", "soon"),
        ("from.the.future", "1"),
        ("min.compaction.lag.ms", "10"),
        ("max.compaction.lag.ms", "5"),
        ("remote.storage.enable", "true"),
        ("durability", "interval"),
    ]);
    let (resolved, left_out) = TopicConfig::resolve_stored(&Config::default(), &stored);
    assert_eq!(resolved.segment_bytes, 20_000);
    assert_eq!(resolved.retention_ms, TopicConfig::kafka_default().retention_ms);
    assert_eq!((resolved.min_compaction_lag_ms, resolved.max_compaction_lag_ms), (0, 5));
    let keys: Vec<&str> = left_out.iter().map(|error| error.key.as_str()).collect();
    assert_eq!(
        keys,
        ["from.the.future", "retention.ms", "min.compaction.lag.ms", "remote.storage.enable", "durability"]
    );
    assert_eq!(resolved.durability, Durability::Replicated);
}

#[test]
fn a_broker_is_described_with_source_and_synonyms() {
    let config = config(&[
        ("log.retention.hours", "5"),
        ("num.io.threads", "8"),
        ("ssl.keystore.password", "hunter2"),
        ("nobody.knows.it", "1"),
    ]);
    let all = config.describe_broker();
    assert!(all.windows(2).all(|pair| pair[0].name < pair[1].name));
    let hours = find(&all, "log.retention.hours");
    assert_eq!(
        (hours.value.as_deref(), hours.source, hours.read_only),
        (Some("5"), Source::StaticBroker, true)
    );
    let said: Vec<_> =
        hours.synonyms.iter().map(|one| (one.name.as_str(), one.value.as_deref(), one.source)).collect();
    let (set, default) = (Source::StaticBroker, Source::Default);
    assert_eq!(
        said,
        [("log.retention.hours", Some("5"), set), ("log.retention.hours", Some("168"), default)]
    );
    // A value that equals its default is static all the same, as Kafka shows it.
    let threads = find(&all, "num.io.threads");
    assert_eq!((threads.source, threads.read_only, threads.kind_code), (Source::StaticBroker, false, 3));
    let ms = find(&all, "log.retention.ms");
    assert_eq!((ms.value.as_deref(), ms.source, ms.synonyms.len()), (None, Source::Default, 0));
    let password = find(&all, "ssl.keystore.password");
    assert_eq!((password.value.as_deref(), password.sensitive), (None, true));
    let unknown = find(&all, "nobody.knows.it");
    assert_eq!((unknown.value.as_deref(), unknown.sensitive, unknown.kind_code), (None, true, 0));
    assert!(!format!("{all:?}").contains("hunter2"));
    assert!(!all.iter().any(|one| one.name == "host.name" || one.name == "log.initial.task.delay.ms"));
}

#[test]
fn a_topic_is_described_with_source_and_synonyms() {
    let config = config(&[("log.retention.hours", "5"), ("log.segment.bytes", "5000")]);
    let all =
        config.describe_topic(&topic(&[("segment.bytes", "6000"), ("cleanup.policy", "delete, compact")]));
    let segment = find(&all, "segment.bytes");
    assert_eq!((segment.value.as_deref(), segment.source), (Some("6000"), Source::Topic));
    let said: Vec<_> = segment.synonyms.iter().map(|one| (one.name.as_str(), one.value.as_deref())).collect();
    let broker = "log.segment.bytes";
    assert_eq!(said, [("segment.bytes", Some("6000")), (broker, Some("5000")), (broker, Some("1073741824"))]);
    assert_eq!(find(&all, "cleanup.policy").value.as_deref(), Some("delete,compact"));
    // In another unit the broker's value counts, and yet shows no synonym: so does Kafka.
    let retention = find(&all, "retention.ms");
    assert_eq!((retention.value.as_deref(), retention.source), (Some("18000000"), Source::Default));
    assert_eq!(retention.synonyms, []);
    let ratio = find(&all, "min.cleanable.dirty.ratio");
    assert_eq!((ratio.value.as_deref(), ratio.kind_code), (Some("0.5"), 6));
    assert_eq!(find(&all, "flush.ms").value.as_deref(), Some("9223372036854775807"));
    assert_eq!(all.len(), settings::TOPIC.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever stands in the file or in a topic, the answer is a config or a message.
    #[test]
    fn no_value_of_any_key_makes_it_panic(
        picks in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), ".{0,12}"), 1..6)
    ) {
        const VALUES: &[&str] = &[
            "", "0", "1", "-1", "-2", "2147483647", "-2147483648", "9223372036854775807", "-9223372036854775808",
            "true", "FALSE", "0.5", "1e308", "inf", "-0", "auto", "a,b", ",", "*", "1:2", "PLAINTEXT://:0", "[::1]:1",
            "PLAINTEXT://[::1]:9092", "interval", "group-commit", "/", "a:2181/b", "0-3", "3-0", "compact,delete",
            "2.8", "0.10", "zstd", "${a:b}",
        ];
        let value = |random: &prop::sample::Index, other: &String| match random.index(VALUES.len() + 1) {
            last if last == VALUES.len() => other.clone(),
            index => VALUES[index].to_owned(),
        };
        let pairs: Vec<String> = picks
            .iter()
            .map(|(key, random, other)| format!("{}={}", key.get(settings::BROKER).key, value(random, other)))
            .collect();
        let broker = match Config::load(None, &pairs) {
            Ok((broker, _)) => broker,
            Err(refused) => {
                prop_assert!(!refused.errors.is_empty() && !refused.to_string().is_empty());
                Config::default()
            }
        };
        prop_assert!(!broker.describe_broker().is_empty());
        let overrides: Overrides = picks
            .iter()
            .map(|(key, random, other)| (key.get(settings::TOPIC).key.to_owned(), value(random, other)))
            .collect();
        let (stored, left_out) = TopicConfig::resolve_stored(&broker, &overrides);
        match TopicConfig::resolve(&broker, &overrides) {
            Ok(resolved) => prop_assert!(left_out.is_empty() && resolved == stored),
            Err(_) => prop_assert!(!left_out.is_empty()),
        }
        prop_assert_eq!(broker.describe_topic(&overrides).len(), settings::TOPIC.len());
    }
}
