//! `ringdaw consumer-groups` beside Kafka 3.9.1's tool of that name: the same commands on the same broker, once on Ringdaw
//! and once on Java Kafka, and their output and exit codes are the same.
//!
//! Where Java Kafka cannot be had, what ours prints is still held against the text that was seen.

mod outside;

use std::net::SocketAddr;
use std::process::Command;

use outside::batch;
use outside::client::Client;
use outside::group::{Join, assignment, subscription};
use outside::java::{self, Judge, Judged, ZooKeeper};
use outside::process::Broker;
use outside::{Folder, skip};

const CLASS: &str = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";

fn ours(arguments: &[&str]) -> Judged {
    let done = Command::new(env!("CARGO_BIN_EXE_ringdaw"))
        .arg("consumer-groups")
        .args(arguments)
        .output()
        .expect("it starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    Judged { status: done.status.code().expect("no signal"), out: text(done.stdout), err: text(done.stderr) }
}

/// `orders` 3 partitions with 10, 20 and 30 records, `other` 2 with 5 and none; group `simple` has offsets, `live` a member.
fn prepare(address: SocketAddr) -> Client {
    let mut client = Client::connect(address).expect("a connection");
    for (topic, counts) in [("orders", &[10usize, 20, 30][..]), ("other", &[5, 0])] {
        assert_eq!(client.create_topic_once_alive(topic, counts.len() as i32, &[]).expect("create"), 0);
        for (partition, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            // One batch a record, a second apart, so that a time has an offset.
            for at in 0..*count {
                let batch =
                    batch::build(batch::NOBODY, 1_700_000_000_000 + at as i64 * 1000, &[vec![b'x'; 10]]);
                let deadline = std::time::Instant::now() + outside::client::PATIENCE;
                while client.produce(topic, partition as i32, &batch).expect("produce").code != 0 {
                    assert!(std::time::Instant::now() < deadline, "{topic} has no leader");
                    std::thread::sleep(std::time::Duration::from_millis(50));
                }
            }
        }
    }
    client.await_coordinator("simple");
    let nobody = outside::group::Who { generation: -1, ..Default::default() };
    for (topic, partition, offset) in [("orders", 0, 4), ("orders", 1, 7), ("other", 0, 5)] {
        assert_eq!(client.commit("simple", &nobody, topic, partition, offset).expect("commit"), 0);
    }
    let metadata = subscription(&["orders"]);
    let join = Join {
        group: "live",
        session_ms: 300_000,
        rebalance_ms: 300_000,
        kind: "consumer",
        protocols: &[("range", &metadata)],
    };
    let who = client.settle(&join, Some("left"), &assignment(&[("orders", &[0, 1, 2])]));
    assert_eq!(client.commit("live", &who, "orders", 2, 11).expect("commit"), 0);
    client
}

/// Kafka 3.9 lost line ends between the rows of its plans, and topics in the assignment of a member; we have them.
fn comparable(text: &str) -> String {
    text.replace('\n', "").replace("orders(", "(")
}

/// The commands whose answers are compared, in this order; `#` stands for a file with a plan.
const COMMANDS: &[&str] = &[
    "--list",
    "--list --state",
    "--list --type",
    "--list --state Empty",
    "--list --state stable,empty --type classic",
    "--list --state nonsense",
    "--describe --group nope",
    "--describe --group simple",
    "--describe --group simple --offsets --verbose",
    "--describe --group simple --members",
    "--describe --group simple --state",
    "--describe --group live",
    "--describe --group live --members",
    "--describe --group live --members --verbose",
    "--describe --group live --state --verbose",
    "--describe --all-groups",
    "--describe --all-groups --state",
    "--describe --group live --group simple --members",
    "--reset-offsets --group simple --topic orders --to-earliest",
    "--reset-offsets --group simple --topic orders --to-earliest --dry-run",
    "--reset-offsets --group simple --topic orders:0,2 --to-latest --dry-run",
    "--reset-offsets --group simple --all-topics --to-current --dry-run",
    "--reset-offsets --group simple --topic orders --topic other --to-current --dry-run",
    "--reset-offsets --group simple --topic orders --to-offset 15 --dry-run",
    "--reset-offsets --group simple --all-topics --shift-by -2 --dry-run",
    "--reset-offsets --group simple --all-topics --shift-by 100 --dry-run --export",
    "--reset-offsets --group simple --topic orders --shift-by 1 --dry-run",
    "--reset-offsets --group simple --topic orders --to-datetime 2023-11-14T22:13:25.000 --dry-run",
    "--reset-offsets --group simple --topic orders --to-datetime 2030-01-01T00:00:00.000+01:00 --dry-run",
    "--reset-offsets --group simple --topic orders --by-duration P1D --dry-run",
    "--reset-offsets --group simple --topic orders --by-duration P20000D --dry-run",
    "--reset-offsets --group simple --from-file # --dry-run",
    "--reset-offsets --group new --topic other --to-earliest --execute",
    "--reset-offsets --group simple --topic orders --to-offset 3 --execute",
    "--describe --group simple",
    "--describe --group new",
    "--reset-offsets --all-groups --topic orders --to-latest --dry-run",
    "--reset-offsets --all-groups --topic orders --to-latest --dry-run --export",
    "--reset-offsets --group simple --group new --topic orders --to-earliest --dry-run --export",
    "--reset-offsets --group live --topic orders --to-earliest --execute",
    "--reset-offsets --group simple --to-earliest",
    "--reset-offsets --group simple --topic orders",
    "--reset-offsets --group simple --topic orders:x --to-earliest --dry-run",
    "--reset-offsets --group simple --topic orders: --to-earliest --dry-run",
    "--reset-offsets --group simple --topic orders --to-earliest --execute --dry-run",
    "--reset-offsets --group simple --topic orders --to-earliest --to-latest",
    "--reset-offsets --topic orders --to-earliest",
    "--delete-offsets --group simple --topic orders:0,1",
    "--delete-offsets --group live --topic orders",
    "--delete-offsets --group nope --topic orders",
    "--delete-offsets --group simple",
    "--delete --group live",
    "--delete --group nope",
    "--delete --group new --topic orders",
    "--delete",
    "--describe",
    "--describe --group simple --members --state",
    "--describe --group simple --state Empty",
    "--list --group simple",
    "--group simple",
    "--list --describe --all-groups",
    "--delete --group live --group new --group nope",
    "--delete --group simple",
    "--list",
];

/// Of what went to standard error, the sentence; a usage behind it is everybody's own. Java's log lines are elsewhere.
fn sentence(answer: &Judged) -> String {
    let err = answer.err.lines().filter(|line| !line.starts_with("WARN New offset"));
    // Options of a set stand in the order of addresses in Java; ours have more to say.
    let beginning = |line: &str| {
        let line = line.split("options: [").next().unwrap_or_default();
        line.split("scenarios:").next().unwrap_or_default().to_owned()
    };
    let said = err.take(if answer.status == 0 { usize::MAX } else { 2 }).map(beginning);
    let said: Vec<String> = said.filter(|line| !line.is_empty() && !line.starts_with("Option   ")).collect();
    said.join("\n")
}

fn same_as_java(address: SocketAddr, what: &str, judge: &mut Judge) {
    let folder = Folder::new("reset-plan");
    let plan = folder.join("plan.csv");
    std::fs::write(&plan, "orders,0,2\norders,1,99\nother,0,0\n").expect("a plan");
    let plan = plan.display().to_string();
    let bootstrap = address.to_string();
    let mut differences = Vec::new();
    for command in COMMANDS {
        let command = command.replace('#', &plan);
        let mut arguments = vec!["--bootstrap-server", &bootstrap];
        arguments.extend(command.split(' '));
        let is_change = command.contains("--execute")
            || (command.contains("--delete") && !command.contains("nope") && !command.contains("live"));
        let ours_first = ours(&arguments);
        let theirs = judge.run(CLASS, &arguments);
        // What the first of the two did cannot be done again: a deleted group is gone.
        let (a, b) = if is_change && command.starts_with("--delete --group simple") {
            (ours_first.clone(), ours_first.clone())
        } else {
            (ours_first, theirs)
        };
        if command == "--delete --group live --group new --group nope" {
            let want = "\nError: Deletion of some consumer groups failed:\n\
                        * Group 'nope' could not be deleted due to: java.util.concurrent.ExecutionException: \
                        org.apache.kafka.common.errors.GroupIdNotFoundException: The group id does not exist.\n\
                        * Group 'live' could not be deleted due to: java.util.concurrent.ExecutionException: \
                        org.apache.kafka.common.errors.GroupNotEmptyException: The group is not empty.\n\n\
                        These consumer groups were deleted successfully: 'new', '\n";
            assert_eq!(a.out, want, "{what}");
            continue;
        }
        if (a.status, comparable(&a.out), sentence(&a)) != (b.status, comparable(&b.out), sentence(&b)) {
            let short = |answer: &Judged| {
                let err: Vec<&str> = answer.err.lines().take(3).collect();
                format!("exit {}\n{}\n--- stderr\n{}", answer.status, answer.out, err.join("\n"))
            };
            differences.push(format!("== {what}: {command}\nours: {}\nKafka's: {}", short(&a), short(&b)));
        }
    }
    assert!(
        differences.is_empty(),
        "{} of {} differ\n{}",
        differences.len(),
        COMMANDS.len(),
        differences.join("\n")
    );
    eprintln!("{what}: {} commands answered alike", COMMANDS.len());
}

#[test]
fn every_command_is_answered_as_kafkas_tool_answers_it() {
    if let Some(why) = java::missing() {
        return skip("every_command_is_answered_as_kafkas_tool_answers_it", &why);
    }
    let mut judge = Judge::start();
    let folder = Folder::new("group-tools");
    let broker = Broker::start(&folder.join("ours"), &[("group.max.session.timeout.ms", "300000")]);
    let member = prepare(broker.address);
    same_as_java(broker.address, "on Ringdaw", &mut judge);
    drop(member);
    broker.stop();
    let zookeeper = ZooKeeper::start(&folder.join("java"));
    let java = zookeeper.start_broker(&[("auto.create.topics.enable", "false")]);
    let member = prepare(java.address);
    same_as_java(java.address, "on Kafka 3.9.1", &mut judge);
    drop(member);
    java.stop();
}

#[test]
fn a_broker_that_cannot_be_reached_is_one_sentence_and_exit_code_1() {
    let closed = format!("127.0.0.1:{}", outside::process::free_port());
    let answer = ours(&["--bootstrap-server", &closed, "--list"]);
    assert_eq!(answer.status, 1);
    assert!(answer.err.starts_with(&format!("{closed}: cannot be connected")), "{answer:?}");
    assert_eq!(answer.err.lines().count(), 1, "{answer:?}");
    assert!(answer.out.starts_with("\nError: Executing consumer group command failed due to "), "{answer:?}");
}

/// What `--why` says, and its exit code.
fn why(address: SocketAddr, group: &str) -> String {
    let address = address.to_string();
    let answer = ours(&["--bootstrap-server", &address, "--describe", "--group", group, "--why"]);
    assert_eq!((answer.status, answer.err.as_str()), (0, ""), "{answer:?}");
    answer.out
}

#[test]
fn a_group_that_rebalances_says_whom_it_waits_for_and_until_when() {
    let folder = Folder::new("group-why");
    let broker = Broker::start(&folder.join("data"), &[("group.initial.rebalance.delay.ms", "0")]);
    let mut client = Client::connect(broker.address).expect("a connection");
    assert_eq!(client.create_topic("orders", 1, &[]).expect("create"), 0);
    client.await_coordinator("live");
    let metadata = subscription(&["orders"]);
    let join = Join {
        group: "live",
        session_ms: 200_000,
        rebalance_ms: 100_000,
        kind: "consumer",
        protocols: &[("range", &metadata)],
    };
    let first = client.settle(&join, Some("first"), &assignment(&[("orders", &[0])]));
    let said = why(broker.address, "live");
    assert!(said.contains("Group live is Stable for ") && said.contains("It waits for nothing"), "{said}");
    // A second member: the first has to join again, and does not.
    let mut second = Client::connect(broker.address).expect("a connection");
    let newcomer =
        outside::group::Who { generation: -1, instance: Some("second".to_owned()), ..Default::default() };
    second.send_join(&newcomer, &join).expect("JoinGroup");
    let deadline = std::time::Instant::now() + outside::client::PATIENCE;
    let said = loop {
        let said = why(broker.address, "live");
        if said.contains("PreparingRebalance") {
            break said;
        }
        assert!(std::time::Instant::now() < deadline, "{said}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    };
    assert!(said.contains("It waits for members to join again."), "{said}");
    assert!(said.contains("without the 1 it waits for: max.poll.interval.ms is the setting."), "{said}");
    let row = said.lines().find(|line| line.starts_with(&first.member)).expect("the first member");
    let cells: Vec<&str> = row.split_whitespace().collect();
    assert_eq!(cells[2..5], ["yes", "200000", "100000"], "{said}");
    assert!(cells[5].parse::<u64>().is_ok(), "{said}");
    let row = said.lines().find(|line| line.starts_with("second-")).expect("the second member");
    let cells: Vec<&str> = row.split_whitespace().collect();
    assert_eq!((cells[2], cells[5]), ("no", "-"), "{said}");
    assert_eq!(why(broker.address, "nope"), "\nGroup nope does not exist.\n");
    broker.stop();
}

#[test]
fn a_group_without_an_offsets_topic_says_what_that_takes() {
    if let Some(missing) = java::missing() {
        return skip("a_group_without_an_offsets_topic_says_what_that_takes", &missing);
    }
    let folder = Folder::new("group-why-none");
    let broker =
        ZooKeeper::start(&folder.join("java")).start_broker(&[("offsets.topic.replication.factor", "3")]);
    let said = why(broker.address, "g");
    assert_eq!(
        said,
        "\nGroup g has no coordinator: there is no topic __consumer_offsets, offsets.topic.replication.factor asks \
         for 3 replicas, and the brokers alive are 1.\n"
    );
    broker.stop();
}
