//! The table of settings against what Kafka's own broker says of its settings.
//!
//! `config/kafka-3.9.1.tsv` was printed by `config/Settings.java` with the libraries of Kafka 3.9.1: one
//! line for each broker key, each topic key, and each topic override it was asked to judge.

use std::collections::BTreeSet;

use ringdaw::config::setting::{Allowed, Effect, Importance, Kind, Setting, Update};
use ringdaw::config::{Config, Overrides, TopicConfig, settings};

const KAFKA: &str = include_str!("config/kafka-3.9.1.tsv");

fn lines(of: &str) -> Vec<Vec<&'static str>> {
    let lines = KAFKA.lines().map(|line| line.split('\t').collect::<Vec<_>>());
    lines.filter(|fields| fields[0] == of).collect()
}

/// What Kafka prints for the values a row allows.
fn as_kafka_prints(setting: &Setting) -> String {
    match setting.allowed {
        Allowed::Any => String::new(),
        Allowed::AtLeast(least) => format!("[{least},...]"),
        Allowed::Between(least, most) => format!("[{least},...,{most}]"),
        Allowed::Fraction(least, most) => format!("[{least},...,{most}]"),
        Allowed::GzipLevel => "[1,...,9] or -1".to_owned(),
        Allowed::OneOf(words) | Allowed::EachOf(words) => format!("[{}]", words.join(", ")),
        Allowed::OneOfAnyCase(words) => format!("(case insensitive) [{}]", words.join(", ")),
        Allowed::NotEmpty => "non-empty string".to_owned(),
        Allowed::Version => "release".to_owned(),
        Allowed::ThrottledReplicas => "[partitionId]:[brokerId],[partitionId]:[brokerId],...".to_owned(),
        Allowed::AutoOrBytes(_) | Allowed::Cores | Allowed::Address => {
            unreachable!("no key of Kafka has this")
        }
    }
}

/// Where Ringdaw's rule and Kafka's printed rule differ in words and not in what they allow here.
fn differs_on_purpose(key: &str) -> bool {
    let checked_between_keys =
        ["authorizer.class.name", "controller.quorum.bootstrap.servers", "controller.quorum.voters"];
    let numbers_of_kafka = ["offsets.topic.compression.codec"];
    let thread_pools =
        ["remote.log.manager.copier.thread.pool.size", "remote.log.manager.expiration.thread.pool.size"];
    checked_between_keys.contains(&key) || numbers_of_kafka.contains(&key) || thread_pools.contains(&key)
}

fn check_row(setting: &Setting, fields: &[&str]) {
    let key = setting.key;
    let kind = match setting.kind {
        Kind::Boolean => "BOOLEAN",
        Kind::String => "STRING",
        Kind::Int => "INT",
        Kind::Short => "SHORT",
        Kind::Long => "LONG",
        Kind::Double => "DOUBLE",
        Kind::List => "LIST",
        Kind::Class => "CLASS",
        Kind::Password => "PASSWORD",
    };
    assert_eq!(kind, fields[2], "type of {key}");
    assert_eq!(setting.default.unwrap_or("<null>"), fields[3], "default of {key}");
    if !differs_on_purpose(key) {
        assert_eq!(as_kafka_prints(setting), fields[4], "values of {key}");
    }
    assert_eq!(if setting.internal { "internal" } else { "" }, fields[6], "visibility of {key}");
}

#[test]
fn every_broker_key_of_kafka_has_its_row_with_kafkas_type_default_range_and_mode() {
    for fields in lines("broker") {
        let setting = settings::broker(fields[1]).unwrap_or_else(|| panic!("no row for {}", fields[1]));
        check_row(setting, &fields);
        let importance = match setting.importance {
            Importance::High => "HIGH",
            Importance::Medium => "MEDIUM",
            Importance::Low => "LOW",
        };
        assert_eq!(importance, fields[5], "importance of {}", setting.key);
        let update = match setting.update {
            Update::ReadOnly => "read-only",
            Update::PerBroker => "per-broker",
            Update::ClusterWide => "cluster-wide",
        };
        assert_eq!(update, fields[7], "mode of {}", setting.key);
        let synonyms =
            if setting.synonyms.is_empty() { setting.key.to_owned() } else { setting.synonyms.join(",") };
        assert_eq!(synonyms, fields[8], "synonyms of {}", setting.key);
    }
}

#[test]
fn every_topic_key_of_kafka_has_its_row_with_kafkas_type_default_range_and_broker_keys() {
    for fields in lines("topic") {
        let setting = settings::topic(fields[1]).unwrap_or_else(|| panic!("no row for {}", fields[1]));
        check_row(setting, &fields);
        assert_eq!(setting.synonyms.join(","), fields[8], "broker keys of {}", setting.key);
    }
}

#[test]
fn keys_beyond_kafkas_are_ringdaws_own_or_kafkas_past() {
    let of_kafka: BTreeSet<&str> = lines("broker").iter().map(|fields| fields[1]).collect();
    let beyond: BTreeSet<&str> = settings::BROKER
        .iter()
        .filter(|setting| !of_kafka.contains(setting.key) && !matches!(setting.effect, Effect::Removed(_)))
        .map(|setting| setting.key)
        .collect();
    let expected = [
        "allow.everyone.if.no.acl.found",
        "config.providers",
        "durability",
        "fetch.engine",
        "log.append.engine",
        "log.headroom.bytes",
        "log.preallocate.ahead.bytes",
        "log.window.dirty.bytes",
        "log.window.resident.bytes",
        "memory.budget.bytes",
        "metrics.listener",
        "reactor.cores",
        "reactor.engine",
        "reactor.spin.us",
        "super.users",
    ];
    assert_eq!(beyond, expected.into());
    let topics: BTreeSet<&str> = lines("topic").iter().map(|fields| fields[1]).collect();
    let beyond: Vec<&str> =
        settings::TOPIC.iter().map(|setting| setting.key).filter(|key| !topics.contains(key)).collect();
    assert_eq!(beyond, ["durability"]);
}

#[test]
fn every_row_has_one_meaning_one_key_and_a_default_it_allows() {
    for rows in [settings::BROKER, settings::TOPIC] {
        let mut keys = BTreeSet::new();
        for setting in rows {
            assert!(keys.insert(setting.key), "{} has two rows", setting.key);
            assert!(setting.meaning.ends_with('.'), "{} does not say what it means", setting.key);
            setting.default_value();
            for synonym in setting.synonyms {
                assert!(settings::broker(synonym).is_some(), "{} names {synonym}", setting.key);
            }
        }
    }
}

#[test]
fn topic_overrides_are_judged_in_kafkas_words() {
    let broker = Config::default();
    let cases = lines("override");
    assert!(cases.len() > 50);
    for fields in cases {
        let pairs = fields[1].split('&').map(|pair| pair.split_once('=').expect("key=value"));
        let overrides: Overrides = pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        let said = match TopicConfig::resolve(&broker, &overrides) {
            Ok(_) => "ok".to_owned(),
            Err(error) => error.message,
        };
        if fields[1] == "remote.storage.enable=true" {
            assert!(said.contains("no tiered storage"), "{said}"); // refused here, whatever the broker's keys say
        } else {
            assert_eq!(said, fields[2], "{}", fields[1]);
        }
    }
}

/// Where a key that works ends up when no field of `Config` carries its name: what `together` makes of it.
const READ_AS: &[(&str, &str)] = &[
    ("node.id", "broker_id"),
    ("listener.security.protocol.map", "listeners"),
    ("log.dir", "log_dirs"),
    ("zookeeper.connect", "zookeeper"),
    ("zookeeper.connection.timeout.ms", "connection_timeout_ms"),
    ("zookeeper.session.timeout.ms", "session_timeout_ms"),
    ("zookeeper.max.in.flight.requests", "max_in_flight_requests"),
    // Of the three bounds of a timestamp the configuration makes two.
    ("message.timestamp.difference.max.ms", "message_timestamp_before_max_ms"),
];

/// The code of the broker behind the settings.
fn code_of_the_broker() -> String {
    fn gather(folder: &std::path::Path, into: &mut String) {
        for entry in std::fs::read_dir(folder).expect("a folder of the source tree") {
            let path = entry.expect("an entry of it").path();
            if path.is_dir() {
                gather(&path, into);
            } else {
                into.push_str(&std::fs::read_to_string(&path).expect("source text"));
            }
        }
    }
    let mut code = String::new();
    for folder in ["api", "broker", "control_thread", "io_thread", "log", "metadata", "network_thread"] {
        gather(&std::path::Path::new("src").join(folder), &mut code);
    }
    code
}

#[test]
fn every_key_that_works_is_read_somewhere() {
    let code = code_of_the_broker();
    let is_read = |field: &str| {
        let access = format!(".{field}");
        code.match_indices(&access).any(|(at, _)| {
            let next = code[at + access.len()..].chars().next();
            next.is_some_and(|c| !c.is_alphanumeric() && c != '_')
        })
    };
    let works = |setting: &&Setting| setting.effect == Effect::Works;
    let field_of = |key: &str| match READ_AS.iter().find(|(named, _)| *named == key) {
        Some((_, field)) => (*field).to_owned(),
        None => key.replace('.', "_"),
    };
    let mut by_topic: BTreeSet<&str> = BTreeSet::new();
    for setting in settings::TOPIC.iter().filter(works) {
        let field = field_of(setting.key);
        assert!(is_read(&field), "the topic setting {} works, but nothing reads .{field}", setting.key);
        by_topic.extend(setting.synonyms);
    }
    for setting in settings::BROKER.iter().filter(works) {
        let field = field_of(setting.key);
        assert!(
            by_topic.contains(setting.key) || is_read(&field),
            "the setting {} works, but nothing reads .{field}",
            setting.key
        );
    }
}
