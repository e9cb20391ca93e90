//! Settings that change while the broker runs: the same attempts on Ringdaw and on Java Kafka 3.9.1, and the same codes and words;
//! what was taken is in force at once and outlives kill -9.
//!
//! `golden/alter_configs.txt` holds what Java answered; where Java can be had, it is asked again.

mod outside;

use outside::client::{Answer, Client, put_i16, put_i32, put_string};
use outside::java::{self, ZooKeeper};
use outside::process::Broker;
use outside::{Folder, batch, skip};
use std::collections::BTreeMap;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/alter_configs.txt");
const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

/// Every key of a topic that concerns its log, with a value that is not the default.
const OF_TOPICS: &[(&str, &str)] = &[
    ("cleanup.policy", "compact,delete"),
    ("compression.type", "lz4"),
    ("delete.retention.ms", "1000"),
    ("file.delete.delay.ms", "1001"),
    ("flush.messages", "1002"),
    ("flush.ms", "1003"),
    ("follower.replication.throttled.replicas", "*"),
    ("index.interval.bytes", "1004"),
    ("leader.replication.throttled.replicas", "0:1"),
    ("max.compaction.lag.ms", "1000000"),
    ("max.message.bytes", "2000"),
    ("message.downconversion.enable", "false"),
    ("message.timestamp.after.max.ms", "1005"),
    ("message.timestamp.before.max.ms", "9223372036854775806"),
    ("message.timestamp.type", "LogAppendTime"),
    ("min.cleanable.dirty.ratio", "0.25"),
    ("min.compaction.lag.ms", "1006"),
    ("min.insync.replicas", "2"),
    ("preallocate", "true"),
    ("retention.bytes", "1000000"),
    ("retention.ms", "86400001"),
    ("segment.bytes", "1048576"),
    ("segment.index.bytes", "4096"),
    ("segment.jitter.ms", "1007"),
    ("segment.ms", "60001"),
    ("unclean.leader.election.enable", "true"),
];

/// Every key of brokers that concerns the log and changes while they run, with a value that is not the default.
const OF_BROKERS: &[(&str, &str)] = &[
    ("compression.type", "zstd"),
    ("log.cleaner.delete.retention.ms", "86400001"),
    ("log.cleaner.max.compaction.lag.ms", "1000001"),
    ("log.cleaner.min.cleanable.ratio", "0.75"),
    ("log.cleaner.min.compaction.lag.ms", "1"),
    ("log.cleanup.policy", "compact"),
    ("log.flush.interval.messages", "1000"),
    ("log.flush.interval.ms", "1000"),
    ("log.index.interval.bytes", "4097"),
    ("log.index.size.max.bytes", "10485752"),
    ("log.message.downconversion.enable", "false"),
    ("log.message.timestamp.type", "LogAppendTime"),
    ("log.preallocate", "true"),
    ("log.retention.bytes", "1000000"),
    ("log.retention.ms", "86400001"),
    ("log.roll.jitter.ms", "1000"),
    ("log.roll.ms", "86400001"),
    ("log.segment.bytes", "1048576"),
    ("log.segment.delete.delay.ms", "60001"),
    ("message.max.bytes", "3000"),
    ("min.insync.replicas", "2"),
    ("num.recovery.threads.per.data.dir", "2"),
    ("unclean.leader.election.enable", "true"),
];

type Attempt<'a> = (i8, &'a str, &'a str, i8, Option<&'a str>);

/// Attempts that are checked only; the broker has id 1, and topic `t` exists.
fn attempts() -> Vec<Attempt<'static>> {
    let mut all: Vec<Attempt<'static>> = Vec::new();
    all.extend(OF_TOPICS.iter().map(|(key, value)| (TOPIC, "t", *key, SET, Some(*value))));
    all.extend(OF_BROKERS.iter().map(|(key, value)| (BROKER, "", *key, SET, Some(*value))));
    all.extend(OF_BROKERS.iter().map(|(key, value)| (BROKER, "1", *key, SET, Some(*value))));
    for (key, value) in [
        ("cleanup.policy", "wrong"),
        ("compression.type", "brotli"),
        ("delete.retention.ms", "-1"),
        ("flush.messages", "0"),
        ("flush.ms", "x"),
        ("index.interval.bytes", "-1"),
        ("max.compaction.lag.ms", "0"),
        ("max.message.bytes", "-1"),
        ("message.timestamp.type", "Never"),
        ("min.cleanable.dirty.ratio", "2"),
        ("min.insync.replicas", "0"),
        ("no.such", "1"),
        ("preallocate", "perhaps"),
        ("retention.bytes", "1.5"),
        ("retention.ms", "-2"),
        ("retention.ms", "soon"),
        ("segment.bytes", "13"),
        ("segment.index.bytes", "3"),
        ("segment.ms", "0"),
        ("unclean.leader.election.enable", "1"),
    ] {
        all.push((TOPIC, "t", key, SET, Some(value)));
    }
    all.extend([
        (TOPIC, "none", "retention.ms", SET, Some("1")),
        (TOPIC, "", "retention.ms", SET, Some("1")),
        (TOPIC, "t", "retention.ms", SET, None),
        (TOPIC, "t", "retention.ms", DELETE, None),
        (TOPIC, "t", "no.such", DELETE, None),
        (TOPIC, "t", "retention.ms", APPEND, Some("1")),
        (TOPIC, "t", "retention.ms", SUBTRACT, Some("1")),
        (TOPIC, "t", "cleanup.policy", APPEND, Some("compact")),
        (TOPIC, "t", "cleanup.policy", SUBTRACT, Some("compact")),
        (TOPIC, "t", "cleanup.policy", APPEND, Some("wrong")),
        (BROKER, "1", "broker.id", SET, Some("2")),
        (BROKER, "", "log.dirs", SET, Some("/tmp")),
        (BROKER, "1", "num.partitions", SET, Some("2")),
        (BROKER, "", "listeners", SET, Some("PLAINTEXT://:1")),
        (BROKER, "9", "log.retention.ms", SET, Some("1")),
        (BROKER, "x", "log.retention.ms", SET, Some("1")),
        (BROKER, "1", "log.retention.ms", SET, Some("0")),
        (BROKER, "1", "log.retention.ms", SET, Some("x")),
        (BROKER, "1", "log.segment.bytes", SET, Some("13")),
        (BROKER, "", "log.cleaner.backoff.ms", SET, Some("15001")),
        (BROKER, "", "log.cleaner.io.buffer.size", SET, Some("524289")),
        (BROKER, "", "log.cleaner.io.max.bytes.per.second", SET, Some("1000000.0")),
        (BROKER, "", "log.cleaner.threads", SET, Some("2")),
        (BROKER, "1", "log.cleaner.threads", SET, Some("3")),
        (BROKER, "1", "num.io.threads", SET, Some("100")),
        (BROKER, "1", "log.cleanup.policy", SET, Some("wrong")),
        (BROKER, "1", "log.cleaner.min.cleanable.ratio", SET, Some("1.5")),
        (BROKER, "1", "message.max.bytes", SET, Some("-1")),
        (BROKER, "", "no.such", SET, Some("1")),
        (BROKER, "1", "log.cleanup.policy", APPEND, Some("compact")),
        (BROKER, "1", "log.retention.ms", APPEND, Some("1")),
        (32, "g", "k", SET, Some("1")),
    ]);
    all
}

fn put_nullable(out: &mut Vec<u8>, text: Option<&str>) {
    match text {
        Some(text) => put_string(out, text),
        None => put_i16(out, -1),
    }
}

/// IncrementalAlterConfigs 0 of one resource: code and message.
fn alter(
    client: &mut Client,
    kind: i8,
    name: &str,
    steps: &[(&str, i8, Option<&str>)],
    validate_only: bool,
) -> (i16, Option<String>) {
    let mut body = Vec::new();
    put_i32(&mut body, 1);
    body.push(kind as u8);
    put_string(&mut body, name);
    put_i32(&mut body, steps.len() as i32);
    for (key, operation, value) in steps {
        put_string(&mut body, key);
        body.push(*operation as u8);
        put_nullable(&mut body, *value);
    }
    body.push(u8::from(validate_only));
    let answer = client.call(44, 0, &body).expect("IncrementalAlterConfigs");
    let mut answer = Answer(&answer);
    answer.i32().expect("throttle time");
    assert_eq!(answer.count().expect("results"), 1);
    (answer.i16().expect("a code"), answer.nullable().expect("a message"))
}

/// DescribeConfigs 1: value and source of each key.
fn describe(client: &mut Client, kind: i8, name: &str) -> BTreeMap<String, (Option<String>, u8)> {
    let mut body = Vec::new();
    put_i32(&mut body, 1);
    body.push(kind as u8);
    put_string(&mut body, name);
    put_i32(&mut body, -1);
    body.push(0);
    let answer = client.call(32, 1, &body).expect("DescribeConfigs");
    let mut answer = Answer(&answer);
    answer.i32().expect("throttle time");
    answer.count().expect("results");
    assert_eq!(answer.i16().expect("a code"), 0);
    answer.nullable().expect("a message");
    answer.take(1).expect("a type");
    answer.string().expect("a name");
    let mut found = BTreeMap::new();
    for _ in 0..answer.count().expect("settings") {
        let (key, value) = (answer.string().expect("a key"), answer.nullable().expect("a value"));
        let source = answer.take(3).expect("read only, source, sensitive")[1];
        for _ in 0..answer.count().expect("synonyms") {
            answer.string().expect("a key");
            answer.nullable().expect("a value");
            answer.take(1).expect("a source");
        }
        found.insert(key, (value, source));
    }
    found
}

/// One line for each attempt.
fn transcript(client: &mut Client) -> Vec<String> {
    let created = client.create_topic_once_alive("t", 1, &[]).expect("create");
    assert_ne!(created, 38, "no broker is alive for the controller");
    let lines = attempts().into_iter().map(|(kind, name, key, operation, value)| {
        let (code, message) = alter(client, kind, name, &[(key, operation, value)], true);
        let message = message.unwrap_or_default().replace('\n', " ");
        let value = value.unwrap_or("(null)");
        format!("{kind} '{name}' {key} {operation} {value} -> {code} {message}").trim_end().to_owned()
    });
    lines.collect()
}

fn golden() -> Vec<String> {
    let text = std::fs::read_to_string(GOLDEN).expect("the answers");
    text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

/// Where we answer otherwise: the beginning of the line, and why.
const OTHERWISE: &[(&str, &str)] = &[
    ("2 't' min.cleanable.dirty.ratio 0 2 ", "the value is named as it was sent, Java names what it read"),
    ("4 '1' log.retention.ms 0 0 ", "the same code, without the words of an assertion"),
    ("4 '' log.cleaner.backoff.ms ", CLEANER),
    ("4 '' log.cleaner.io.", CLEANER),
    ("4 '' log.cleaner.threads ", CLEANER),
    ("4 '1' log.cleaner.threads ", CLEANER),
    ("4 '1' num.io.threads 0 100 ", "the same code and sentence, without the name of a Java class around it"),
];

const CLEANER: &str = "threads and buffers of the cleaner are taken from the file at the start, and say so";

#[test]
fn attempts_are_answered_with_kafkas_codes_and_words() {
    let folder = Folder::new("alter-configs");
    let broker = Broker::start(folder.path(), &[]);
    let ours = transcript(&mut broker.client().expect("a connection"));
    broker.stop();
    let java = golden();
    assert_eq!(ours.len(), java.len(), "the golden file is of other attempts");
    let mut wrong = Vec::new();
    for (ours, java) in ours.iter().zip(&java) {
        let otherwise = OTHERWISE.iter().any(|(start, _)| ours.starts_with(start));
        if ours != java && !otherwise {
            wrong.push(format!("ours {ours}\njava {java}"));
        }
    }
    for (start, why) in OTHERWISE {
        if !ours.iter().zip(&java).any(|(ours, java)| ours.starts_with(start) && ours != java) {
            wrong.push(format!("no longer different ({why}): {start}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), ours.len(), wrong.join("\n"));
}

#[test]
fn the_golden_answers_are_what_java_kafka_says() {
    if let Some(why) = java::missing() {
        return skip("the_golden_answers_are_what_java_kafka_says", &why);
    }
    let folder = Folder::new("java-alter-configs");
    let broker = ZooKeeper::start(folder.path()).start_broker(&[("broker.id", "1")]);
    let answered = transcript(&mut Client::connect(broker.address).expect("a connection"));
    broker.stop();
    if std::env::var_os("RINGDAW_WRITE_GOLDEN").is_some() {
        let head = "# What Java Kafka 3.9.1 in ZooKeeper mode answers to the attempts of tests/alter_configs.rs, \
                    which compares with a live one; with RINGDAW_WRITE_GOLDEN=1 it writes this.\n";
        std::fs::write(GOLDEN, format!("{head}{}\n", answered.join("\n"))).expect("the answers");
    }
    assert_eq!(answered, golden());
}

#[test]
fn every_key_of_topics_and_brokers_that_was_changed_is_described_so_before_and_after_kill_9() {
    let folder = Folder::new("kept-configs");
    let broker = Broker::start(folder.path(), &[]);
    let mut client = broker.client().expect("a connection");
    for topic in ["t", "plain"] {
        assert_eq!(client.create_topic(topic, 1, &[]).expect("create"), 0);
    }
    let set = |(key, value): &(&'static str, &'static str)| (*key, SET, Some(*value));
    let of_topics: Vec<_> = OF_TOPICS.iter().map(set).collect();
    assert_eq!(alter(&mut client, TOPIC, "t", &of_topics, false), (0, None));
    let of_brokers: Vec<_> = OF_BROKERS.iter().map(set).collect();
    assert_eq!(alter(&mut client, BROKER, "", &of_brokers, false), (0, None));
    let own = ("log.retention.bytes", SET, Some("7777777"));
    assert_eq!(alter(&mut client, BROKER, "1", &[own], false), (0, None));

    let expect = |client: &mut Client, when: &str| {
        let topic = describe(client, TOPIC, "t");
        for (key, value) in OF_TOPICS {
            assert_eq!(topic[*key], (Some((*value).to_owned()), 1), "{key} {when}");
        }
        let broker = describe(client, BROKER, "1");
        let all = describe(client, BROKER, "");
        for (key, value) in OF_BROKERS {
            assert_eq!(all[*key], (Some((*value).to_owned()), 3), "{key} {when}");
            if *key != own.0 {
                assert_eq!(broker[*key], (Some((*value).to_owned()), 3), "{key} {when}");
            }
        }
        assert_eq!(broker[own.0], (Some("7777777".to_owned()), 2), "{when}");
        let plain = describe(client, TOPIC, "plain");
        assert_eq!(plain["max.message.bytes"], (Some("3000".to_owned()), 3), "{when}");
        assert_eq!(plain["retention.bytes"], (Some("7777777".to_owned()), 2), "{when}");
        assert_eq!(plain["cleanup.policy"], (Some("compact".to_owned()), 3), "{when}");
    };
    expect(&mut client, "at once");
    broker.kill();
    let broker = Broker::start(folder.path(), &[]);
    expect(&mut broker.client().expect("a connection"), "after kill -9");
    broker.stop();
}

#[test]
fn a_limit_of_a_topic_or_of_all_brokers_holds_for_the_next_request_and_after_kill_9() {
    let folder = Folder::new("live-configs");
    let broker = Broker::start(folder.path(), &[]);
    let mut client = broker.client().expect("a connection");
    for topic in ["t", "plain"] {
        assert_eq!(client.create_topic(topic, 1, &[]).expect("create"), 0);
    }
    let record = batch::build(batch::NOBODY, 1_700_000_000_000, &[vec![b'x'; 5000]]);
    let produce = |client: &mut Client, topic: &str| client.produce(topic, 0, &record).expect("produce").code;
    let limit = |client: &mut Client, kind: i8, name: &str, key: &str, value: Option<&str>| {
        let operation = if value.is_some() { SET } else { DELETE };
        assert_eq!(alter(client, kind, name, &[(key, operation, value)], false), (0, None));
    };
    assert_eq!((produce(&mut client, "t"), produce(&mut client, "plain")), (0, 0));
    limit(&mut client, TOPIC, "t", "max.message.bytes", Some("4000"));
    assert_eq!((produce(&mut client, "t"), produce(&mut client, "plain")), (10, 0));
    limit(&mut client, BROKER, "", "message.max.bytes", Some("3000"));
    assert_eq!((produce(&mut client, "t"), produce(&mut client, "plain")), (10, 10));
    limit(&mut client, BROKER, "1", "message.max.bytes", Some("6000"));
    assert_eq!((produce(&mut client, "t"), produce(&mut client, "plain")), (10, 0));
    limit(&mut client, TOPIC, "t", "max.message.bytes", None);
    assert_eq!((produce(&mut client, "t"), produce(&mut client, "plain")), (0, 0));
    limit(&mut client, BROKER, "1", "message.max.bytes", None);
    assert_eq!((produce(&mut client, "t"), produce(&mut client, "plain")), (10, 10));
    broker.kill();
    let broker = Broker::start(folder.path(), &[]);
    let mut client = broker.client().expect("a connection");
    assert_eq!((produce(&mut client, "t"), produce(&mut client, "plain")), (10, 10));
    limit(&mut client, BROKER, "", "message.max.bytes", None);
    assert_eq!((produce(&mut client, "t"), produce(&mut client, "plain")), (0, 0));
    broker.stop();
}
