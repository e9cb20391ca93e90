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
        "configs" => "kafka.admin.ConfigCommand",
        "features" => "org.apache.kafka.tools.FeatureCommand",
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

/// The same for settings. `before ;; command`: what ours does before each of the two, so that both find the same.
const SETTINGS: &[&str] = &[
    "configs",
    "configs @",
    "configs @ --describe",
    "configs @ --describe --entity-type topics",
    "configs @ --describe --entity-type nonsense",
    "configs @ --describe --alter --entity-type topics",
    "configs @ --describe --entity-type topics --add-config a=b",
    "configs @ --alter --entity-type topics --entity-name nope --add-config retention.ms=1",
    "configs @ --describe --entity-type topics --entity-name nope",
    "configs @ --describe --topic bad/name",
    "configs @ --alter --entity-type topics --add-config retention.ms=1",
    "configs @ --alter --topic orders --add-config retention.ms=86400000,cleanup.policy=[compact,delete]",
    "configs @ --alter --topic orders --add-config-file #properties",
    "configs @ --describe --topic orders",
    "configs @ --describe --topic orders --all",
    "configs @ --describe --entity-type topics",
    "configs @ --alter --topic orders --add-config retention.ms=x",
    "configs @ --alter --topic orders --add-config nonsense=1",
    "configs @ --alter --topic orders --add-config message.format.version=2.0",
    "configs @ --alter --topic orders --add-config segment.ms=5000 ;; configs @ --alter --topic orders --delete-config segment.ms",
    "configs @ --alter --topic orders --delete-config segment.ms",
    "configs @ --alter --topic orders --add-config x --delete-config y",
    "configs @ --alter --topic orders --add-config a=b=c",
    "configs @ --alter --topic orders --add-config a@b=c",
    "configs @ --describe --entity-type brokers",
    "configs @ --describe --entity-type brokers --entity-name 0",
    "configs @ --describe --entity-type brokers --entity-name x",
    "configs @ --describe --broker-defaults",
    "configs @ --alter --broker 0 --add-config num.io.threads=9,background.threads=11",
    "configs @ --describe --broker 0",
    "configs @ --alter --broker-defaults --add-config log.retention.ms=100000000,message.max.bytes=2000000",
    "configs @ --describe --broker-defaults",
    "configs @ --describe --entity-type brokers",
    "configs @ --describe --entity-type brokers --entity-default",
    "configs @ --alter --broker 0 --add-config background.threads=11 ;; configs @ --alter --broker 0 --delete-config background.threads",
    "configs @ --alter --broker 0 --delete-config background.threads",
    "configs @ --alter --broker 0 --add-config num.io.threads=1000",
    "configs @ --alter --broker 0 --add-config broker.id=1",
    "configs @ --alter --broker-defaults --add-config listeners=PLAINTEXT://:1",
    "configs @ --alter --broker 0 --add-config nonsense=1",
    "configs @ --alter --broker 0 --add-config num.io.threads=9",
    "configs @ --describe --broker 0",
    "configs @ --alter --broker 0",
    "configs @ --describe --entity-type broker-loggers",
    "configs @ --alter --broker-logger 0 --add-config nope.x=DEBUG",
    "configs @ --describe --entity-type users",
    "configs @ --alter --user alice --add-config producer_byte_rate=20000000,consumer_byte_rate=2000,request_percentage=12.5,controller_mutation_rate=3",
    "configs @ --alter --user alice --add-config SCRAM-SHA-256=[iterations=4096,password=x],SCRAM-SHA-512=[password=y]",
    "configs @ --describe --user alice",
    "configs @ --describe --entity-type users",
    "configs @ --alter --user alice --client c1 --add-config producer_byte_rate=5",
    "configs @ --alter --client c1 --user bob --add-config producer_byte_rate=5",
    "configs @ --alter --entity-type clients --entity-name c2 --entity-type users --entity-name carl --add-config consumer_byte_rate=7",
    "configs @ --alter --entity-type users --entity-default --entity-type clients --entity-name dd --add-config consumer_byte_rate=8",
    "configs @ --alter --user-defaults --client-defaults --add-config consumer_byte_rate=9",
    "configs @ --alter --user-defaults --add-config consumer_byte_rate=10",
    "configs @ --alter --client-defaults --add-config consumer_byte_rate=11",
    "configs @ --alter --client c9 --add-config request_percentage=200",
    "configs @ --describe --entity-type users",
    "configs @ --describe --entity-type clients",
    "configs @ --describe --entity-type users --entity-type clients",
    "configs @ --describe --entity-type users --entity-name alice --entity-type clients",
    "configs @ --describe --user alice --client c1",
    "configs @ --describe --user-defaults",
    "configs @ --describe --client-defaults",
    "configs @ --describe --user nobody",
    "configs @ --describe --user-defaults --client-defaults",
    "configs @ --describe --entity-type users --entity-name a --entity-name b",
    "configs @ --alter --entity-type users --entity-name a --entity-type clients --add-config producer_byte_rate=5",
    "configs @ --alter --user alice --add-config nonsense=5",
    "configs @ --alter --user alice --add-config producer_byte_rate=x",
    "configs @ --alter --user alice --add-config producer_byte_rate=1.5",
    "configs @ --alter --user alice --delete-config nope",
    "configs @ --alter --user alice --add-config request_percentage=1 ;; configs @ --alter --user alice --delete-config request_percentage",
    "configs @ --alter --user dora --delete-config consumer_byte_rate",
    "configs @ --alter --user alice --add-config SCRAM-SHA-256=[iterations=4095,password=x]",
    "configs @ --alter --user alice --add-config SCRAM-SHA-256=[iterations=20000,password=x]",
    "configs @ --alter --user alice --add-config SCRAM-SHA-256=x",
    "configs @ --alter --user alice --add-config SCRAM-SHA-256=[password=]",
    "configs @ --alter --user alice --add-config SCRAM-SHA-256=[password=x],producer_byte_rate=5",
    "configs @ --alter --user-defaults --add-config SCRAM-SHA-256=[password=x]",
    "configs @ --alter --client alice --add-config SCRAM-SHA-256=[password=x]",
    "configs @ --alter --client alice --add-config nonsense=1",
    "configs @ --alter --client alice --delete-config nonsense",
    "configs @ --alter --user alice --add-config SCRAM-SHA-256=[password=x] ;; configs @ --alter --user alice --delete-config SCRAM-SHA-256",
    "configs @ --alter --user alice --delete-config SCRAM-SHA-256",
    "configs @ --describe --user alice",
    "configs @ --alter --ip 127.0.0.1 --add-config connection_creation_rate=1000",
    "configs @ --alter --ip-defaults --add-config connection_creation_rate=2000",
    "configs @ --alter --ip 127.0.0.1 --add-config nonsense=10",
    "configs @ --describe --ip 127.0.0.1",
    "configs @ --describe --entity-type ips",
    "configs @ --describe --ip-defaults",
    "configs @ --describe --ip no_such_host",
    "configs @ --describe --entity-type client-metrics",
    "configs @ --alter --entity-type client-metrics --entity-name m --add-config interval.ms=1000",
    "configs @ --describe --entity-type users --entity-type topics",
    "configs @ --describe --entity-type users --entity-type users",
    "configs @ --describe --topic a --entity-type topics",
    "configs @ --describe --topic a --entity-name b",
    "configs --describe --topic a",
    "configs --describe --entity-type users",
    "configs --zookeeper y --describe --entity-type clients",
    "configs --zookeeper y --describe --entity-type brokers --all",
    "configs @ --zookeeper y --describe --topic a",
    "configs @ --describe --topic a --zk-tls-config-file x",
    "configs @ --alter --topic a --add-config x=y --add-config-file z",
    "configs @ --alter --topic a",
    "configs @ --alter --entity-type users --add-config producer_byte_rate=1",
    "configs @ --nonsense",
    "configs --bootstrap-server",
    "configs @ --describe --topic a --topic b",
    "features @ describe",
    "features @ upgrade",
    "features @ upgrade --metadata 3.7",
    "features @ upgrade --metadata x",
    "features @ upgrade --metadata 2.8",
    "features @ upgrade --feature x=1",
    "features @ upgrade --feature x=1 --dry-run",
    "features @ upgrade --feature x",
    "features @ upgrade --feature x=y",
    "features @ upgrade --feature x=1 --feature x=2",
    "features @ upgrade --feature x=1 --feature b=2",
    "features @ upgrade --feature x=0",
    "features @ upgrade --feature =1",
    "features @ downgrade --feature x=1",
    "features @ downgrade --feature x=0 --unsafe",
    "features @ downgrade --metadata 3.5-IV2",
    "features @ disable --feature x",
    "features @ disable --feature x --dry-run",
    "features @ disable",
];

/// With ZooKeeper, `%`, while broker 0 runs and broker 7 does not.
const IN_ZOOKEEPER: &[&str] = &[
    "configs % --describe --entity-type users",
    "configs % --describe --user alice",
    "configs % --describe --user-defaults",
    "configs % --alter --user eve --add-config producer_byte_rate=5",
    "configs % --alter --user eve --delete-config producer_byte_rate",
    "configs % --alter --user eve --add-config SCRAM-SHA-256=[iterations=5000,password=x]",
    "configs @ --describe --user eve",
    "configs % --describe --user eve",
    "configs % --alter --user eve --add-config SCRAM-SHA-512=[iterations=100,password=x]",
    "configs % --alter --user eve --add-config SCRAM-SHA-512=x",
    "configs % --alter --user eve --delete-config SCRAM-SHA-512",
    "configs % --alter --user eve --add-config SCRAM-SHA-512=[password=x],SCRAM-SHA-256=[password=x] ;; configs % --alter --user eve --delete-config SCRAM-SHA-256,SCRAM-SHA-512",
    "configs % --describe --user eve",
    "configs % --describe --entity-type users",
    "configs % --describe --entity-type brokers --entity-name 0",
    "configs % --describe --entity-type brokers --entity-name 7",
    "configs % --describe --entity-type brokers",
    "configs % --alter --broker 0 --add-config log.cleaner.threads=3",
    "configs % --alter --broker 7 --add-config log.cleaner.threads=3,num.network.threads=2,nonsense=x",
    "configs % --alter --broker 7 --add-config broker.id=3",
    "configs % --alter --broker 7 --add-config num.io.threads=x",
    "configs % --alter --broker 7 --add-config nonsense=x ;; configs % --alter --broker 7 --delete-config nonsense",
    "configs % --alter --broker 7 --delete-config nonsense",
    "configs % --describe --broker 7",
    "configs % --alter --broker-defaults --add-config log.cleaner.threads=3",
    "configs % --describe --broker-defaults",
    "configs % --alter --user a --client b --add-config producer_byte_rate=5",
];

const FILES: [(&str, &str); 8] = [
    ("properties", "# of a topic\nmin.insync.replicas = 1\nmax.message.bytes:2000000\n"),
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

/// Where Java goes on with a stack trace, its first line without the wrapping; ours has nothing behind it.
fn cause(answer: &Judged) -> Option<&str> {
    sentence(answer).starts_with("Error while executing").then(|| {
        let line = answer.err.lines().nth(1).unwrap_or_default();
        line.trim_start_matches("java.util.concurrent.ExecutionException: ")
    })
}

/// All that is compared.
fn seen(answer: &Judged) -> (i32, &str, &str, Option<&str>) {
    (answer.status, &answer.out, sentence(answer), cause(answer))
}

const SETTLING: std::time::Duration = std::time::Duration::from_secs(3);

fn same_as_java(
    commands: &[&str],
    address: SocketAddr,
    zookeeper: Option<&str>,
    what: &str,
    judge: &mut Judge,
) {
    let folder = Folder::new("admin-tools-files");
    for (name, text) in FILES {
        std::fs::write(folder.join(name), text).expect("a file");
    }
    let bootstrap = address.to_string();
    let mut differences = Vec::new();
    let words_of = |command: &str| -> Vec<String> {
        let words = command.split(' ').flat_map(|word| match word.strip_prefix('#') {
            Some(name) => vec![folder.join(name).display().to_string()],
            None if word == "@" => vec!["--bootstrap-server".to_owned(), bootstrap.clone()],
            None if word == "%" => {
                vec!["--zookeeper".to_owned(), zookeeper.expect("a ZooKeeper").to_owned()]
            }
            None => vec![word.to_owned()],
        });
        words.collect()
    };
    for command in commands {
        let (before, command) = match command.split_once(" ;; ") {
            Some((before, command)) => (Some(words_of(before)), command),
            None => (None, *command),
        };
        let prepare = || {
            if let Some(words) = &before {
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                assert_eq!(ours(words[0], &words[1..]).status, 0, "{words:?}");
                if words.contains(&"--broker") {
                    std::thread::sleep(std::time::Duration::from_millis(300));
                }
            }
        };
        let words = words_of(command);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut both = || {
            prepare();
            let a = ours(words[0], &words[1..]);
            prepare();
            (a, judge.run(class(words[0]), &words[1..]))
        };
        let (mut a, mut b) = both();
        // One of Java's brokers follows what was set for it a little later.
        let deadline = std::time::Instant::now() + SETTLING;
        while seen(&a) != seen(&b) && words.contains(&"--describe") && std::time::Instant::now() < deadline {
            std::thread::sleep(std::time::Duration::from_millis(100));
            (a, b) = both();
        }
        if seen(&a) != seen(&b) {
            let short = |answer: &Judged| {
                let err: Vec<&str> = answer.err.lines().take(3).collect();
                format!("exit {}\n{}\n--- stderr\n{}", answer.status, answer.out, err.join("\n"))
            };
            differences.push(format!("== {what}: {command}\nours: {}\nKafka's: {}", short(&a), short(&b)));
        }
    }
    let count = commands.len();
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
    let broker = Broker::start(&folder.join("ours"), &[("broker.id", "0")]);
    prepare(broker.address);
    same_as_java(COMMANDS, broker.address, None, "on Ringdaw", &mut judge);
    same_as_java(SETTINGS, broker.address, None, "settings on Ringdaw", &mut judge);
    broker.stop();
    let zookeeper = ZooKeeper::start(&folder.join("java"));
    let ensemble = zookeeper.address.clone();
    let java = zookeeper.start_broker(&[("auto.create.topics.enable", "false")]);
    prepare(java.address);
    same_as_java(COMMANDS, java.address, None, "on Kafka 3.9.1", &mut judge);
    same_as_java(SETTINGS, java.address, None, "settings on Kafka 3.9.1", &mut judge);
    same_as_java(IN_ZOOKEEPER, java.address, Some(&ensemble), "in ZooKeeper", &mut judge);
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
