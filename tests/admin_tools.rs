//! The smaller administrative tools beside Kafka 3.9.1's: the same commands on the same broker, once on Ringdaw and once on
//! Java Kafka, and their output, their sentences and their exit codes are the same.

mod outside;

use std::net::SocketAddr;
use std::process::Command;

use outside::batch;
use outside::client::Client;
use outside::java::{self, Judge, Judged, ZooKeeper};
use outside::process::Broker;
use outside::{Folder, skip};

fn class(tool: &str) -> &'static str {
    match tool {
        "get-offsets" => "org.apache.kafka.tools.GetOffsetShell",
        "delete-records" => "org.apache.kafka.tools.DeleteRecordsCommand",
        "leader-election" => "org.apache.kafka.tools.LeaderElectionCommand",
        "log-dirs" => "org.apache.kafka.tools.LogDirsCommand",
        "cluster" => "org.apache.kafka.tools.ClusterTool",
        "broker-api-versions" => "kafka.admin.BrokerApiVersionsCommand",
        other => panic!("no tool is called {other}"),
    }
}

fn ours(tool: &str, arguments: &[&str]) -> Judged {
    let done =
        Command::new(env!("CARGO_BIN_EXE_ringdaw")).arg(tool).args(arguments).output().expect("it starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    Judged { status: done.status.code().expect("no signal"), out: text(done.stdout), err: text(done.stderr) }
}

/// `orders` with 10, 20 and 30 records, `other` with 5 and none, each record a second after the one before.
fn prepare(address: SocketAddr) {
    let mut client = Client::connect(address).expect("a connection");
    for (topic, counts) in [("orders", &[10usize, 20, 30][..]), ("other", &[5, 0])] {
        assert_eq!(client.create_topic_once_alive(topic, counts.len() as i32, &[]).expect("create"), 0);
        for (partition, count) in counts.iter().enumerate() {
            for at in 0..*count {
                let time = 1_700_000_000_000 + at as i64 * 1000;
                let batch = batch::build(batch::NOBODY, time, &[vec![b'x'; 10]]);
                let deadline = std::time::Instant::now() + outside::client::PATIENCE;
                while client.produce(topic, partition as i32, &batch).expect("produce").code != 0 {
                    assert!(std::time::Instant::now() < deadline, "{topic} has no leader");
                    std::thread::sleep(std::time::Duration::from_millis(50));
                }
            }
        }
    }
}

/// What is compared, in this order; `@` stands for the broker, `#name` for a file of `FILES`.
const COMMANDS: &[&str] = &[
    "get-offsets @",
    "get-offsets @ --topic orders",
    "get-offsets @ --topic o.*r.*",
    "get-offsets @ --topic orders,other --partitions 0,1",
    "get-offsets @ --time earliest",
    "get-offsets @ --time -2 --exclude-internal-topics",
    "get-offsets @ --topic orders --time 1700000005000",
    "get-offsets @ --topic orders --time 1700000015000",
    "get-offsets @ --time max-timestamp",
    "get-offsets @ --time -4",
    "get-offsets @ --time latest-tiered --topic other",
    "get-offsets @ --topic-partitions orders:1,other",
    "get-offsets @ --topic-partitions :1-2",
    "get-offsets @ --topic-partitions ord.*:1-",
    "get-offsets @ --topic-partitions orders:-2",
    "get-offsets @ --topic-partitions orders --topic orders",
    "get-offsets @ --topic nope",
    "get-offsets @ --partitions x",
    "get-offsets @ --time yesterday",
    "get-offsets @ --nonsense",
    "get-offsets --topic orders",
    "delete-records @ --offset-json-file #some",
    "get-offsets @ --time earliest",
    "delete-records @ --offset-json-file #all",
    "delete-records @ --offset-json-file #beyond",
    "delete-records @ --offset-json-file #twice",
    "delete-records @ --offset-json-file #text",
    "delete-records @ --offset-json-file #empty",
    "delete-records @ --offset-json-file #version",
    "delete-records @",
    "delete-records --offset-json-file #some",
    "get-offsets @ --time -2",
    "leader-election @ --election-type preferred --topic orders --partition 1",
    "leader-election @ --election-type PREFERRED --path-to-json-file #some",
    "leader-election @ --election-type unclean --topic orders --partition 1",
    "leader-election @ --election-type preferred --topic nope --partition 0",
    "leader-election @ --election-type preferred --all-topic-partitions",
    "leader-election @ --election-type preferred --topic orders",
    "leader-election @ --election-type preferred --partition 1 --all-topic-partitions",
    "leader-election @ --election-type preferred",
    "leader-election @ --election-type preferred --path-to-json-file #empty",
    "leader-election @ --all-topic-partitions",
    "leader-election --all-topic-partitions",
    "leader-election @ --election-type preferred --topic orders --partition x",
    "log-dirs @ --describe",
    "log-dirs @ --describe --topic-list orders --broker-list 0",
    "log-dirs @ --describe --topic-list nope",
    "log-dirs @ --describe --broker-list 0,7,9",
    "log-dirs @",
    "cluster cluster-id @",
    "cluster unregister @ --id 7",
    "broker-api-versions @",
    "broker-api-versions",
];

const FILES: [(&str, &str); 7] = [
    (
        "some",
        r#"{"partitions": [{"topic": "orders", "partition": 0, "offset": 3}, {"topic": "orders", "partition": 2,
            "offset": 7}, {"topic": "other", "partition": 1, "offset": 0}], "version": 1}"#,
    ),
    ("all", r#"{"partitions": [{"topic": "orders", "partition": 1, "offset": -1}]}"#),
    (
        "beyond",
        r#"{"partitions": [{"topic": "orders", "partition": 0, "offset": 11},
            {"topic": "orders", "partition": 2, "offset": 8}]}"#,
    ),
    (
        "twice",
        r#"{"partitions": [{"topic": "orders", "partition": 0, "offset": 1},
            {"topic": "orders", "partition": 0, "offset": 2}]}"#,
    ),
    ("text", "nonsense"),
    ("empty", "{}"),
    ("version", r#"{"partitions": [], "version": 2}"#),
];

/// Of what went to standard error, the sentence: Java adds a usage or a stack trace, and we a usage of our own.
fn sentence(answer: &Judged) -> &str {
    answer.err.lines().find(|line| !line.is_empty()).unwrap_or_default()
}

fn same_as_java(address: SocketAddr, what: &str, judge: &mut Judge) {
    let folder = Folder::new("admin-tools-files");
    for (name, text) in FILES {
        std::fs::write(folder.join(name), text).expect("a file");
    }
    let bootstrap = address.to_string();
    let mut differences = Vec::new();
    for command in COMMANDS {
        let words: Vec<String> = command
            .split(' ')
            .flat_map(|word| match word.strip_prefix('#') {
                Some(name) => vec![folder.join(name).display().to_string()],
                None if word == "@" => vec!["--bootstrap-server".to_owned(), bootstrap.clone()],
                None => vec![word.to_owned()],
            })
            .collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let a = ours(words[0], &words[1..]);
        let b = judge.run(class(words[0]), &words[1..]);
        if (a.status, &a.out, sentence(&a)) != (b.status, &b.out, sentence(&b)) {
            let short = |answer: &Judged| {
                let err: Vec<&str> = answer.err.lines().take(3).collect();
                format!("exit {}\n{}\n--- stderr\n{}", answer.status, answer.out, err.join("\n"))
            };
            differences.push(format!("== {what}: {command}\nours: {}\nKafka's: {}", short(&a), short(&b)));
        }
    }
    let count = COMMANDS.len();
    assert!(differences.is_empty(), "{} of {count} differ\n{}", differences.len(), differences.join("\n"));
    eprintln!("{what}: {count} commands answered alike");
}

#[test]
fn every_command_is_answered_as_kafkas_tools_answer_it() {
    if let Some(why) = java::missing() {
        return skip("every_command_is_answered_as_kafkas_tools_answer_it", &why);
    }
    let mut judge = Judge::start();
    let folder = Folder::new("admin-tools");
    let broker = Broker::start(&folder.join("ours"), &[]);
    prepare(broker.address);
    same_as_java(broker.address, "on Ringdaw", &mut judge);
    broker.stop();
    let zookeeper = ZooKeeper::start(&folder.join("java"));
    let java = zookeeper.start_broker(&[("auto.create.topics.enable", "false")]);
    prepare(java.address);
    same_as_java(java.address, "on Kafka 3.9.1", &mut judge);
    java.stop();
}

#[test]
fn a_broker_that_cannot_be_reached_is_one_sentence_and_exit_code_1() {
    let closed = format!("127.0.0.1:{}", outside::process::free_port());
    for (tool, rest) in [
        ("get-offsets", &[][..]),
        ("leader-election", &["--election-type", "preferred", "--all-topic-partitions"]),
        ("broker-api-versions", &[]),
    ] {
        let mut arguments = vec!["--bootstrap-server", &closed];
        arguments.extend(rest);
        let answer = ours(tool, &arguments);
        assert_eq!((answer.status, answer.out.as_str()), (1, ""), "{answer:?}");
        assert!(answer.err.contains(&format!("{closed}: cannot be connected")), "{answer:?}");
        assert_eq!(answer.err.lines().count(), 1, "{answer:?}");
    }
}
