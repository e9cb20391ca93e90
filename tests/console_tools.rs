//! `ringdaw console-producer` and `console-consumer` on Ringdaw and on Java Kafka, and beside Kafka's own; and the commands
//! of the notes the project started from, word for word.

mod outside;

use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use outside::java::{self, Judge, Judged, ZooKeeper};
use outside::process::Broker;
use outside::{Folder, skip};

const CONSUMER: &str = "org.apache.kafka.tools.consumer.ConsoleConsumer";

fn start(tool: &str, bootstrap: &str, arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_ringdaw"))
        .args([tool, "--bootstrap-server", bootstrap])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts")
}

fn ended(child: Child) -> Judged {
    let done = child.wait_with_output().expect("it ends");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    Judged { status: done.status.code().unwrap_or(-1), out: text(done.stdout), err: text(done.stderr) }
}

fn run(tool: &str, bootstrap: &str, arguments: &[&str], input: &str) -> Judged {
    let mut child = start(tool, bootstrap, arguments);
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("its input");
    ended(child)
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < deadline, "not within a minute: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

/// Writes and reads by our tools, and compares what is read with what Kafka's consumer prints of it.
fn written_and_read(bootstrap: &str, judge: Option<&mut Judge>) {
    let input: String = (0..1000).map(|n| format!("h{n}:v,e:\tkey-{n}\tvalue {n}\n")).collect();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let arguments = [
            "--topic",
            "lines",
            "--property",
            "parse.key=true",
            "--property",
            "parse.headers=true",
            "--compression-codec",
            codec,
        ];
        let done = run("console-producer", bootstrap, &arguments, &input);
        assert_eq!((done.status, done.err.as_str()), (0, ""), "{codec}");
    }
    let printed = [
        "--property",
        "print.key=true",
        "--property",
        "print.partition=true",
        "--property",
        "print.offset=true",
        "--property",
        "print.headers=true",
        "--property",
        "print.timestamp=true",
    ];
    let mut seen = Vec::new();
    for partition in ["0", "1", "2"] {
        let one =
            ["--topic", "lines", "--partition", partition, "--offset", "earliest", "--timeout-ms", "3000"];
        let arguments: Vec<&str> = one.into_iter().chain(printed).collect();
        let ours = run("console-consumer", bootstrap, &arguments, "");
        assert_eq!(ours.status, 0, "{ours:?}");
        seen.push(ours.out);
    }
    let lines: Vec<&str> = seen.iter().flat_map(|text| text.lines()).collect();
    assert_eq!(lines.len(), 5000);
    assert!(lines.iter().all(|line| line.starts_with("CreateTime:1")), "{}", lines[0]);
    if let Some(judge) = judge {
        for (partition, ours) in ["0", "1", "2"].into_iter().zip(&seen) {
            let count = ours.lines().count().to_string();
            let one = [
                "--topic",
                "lines",
                "--partition",
                partition,
                "--offset",
                "earliest",
                "--max-messages",
                &count,
            ];
            let mut arguments = vec!["--bootstrap-server", bootstrap];
            arguments.extend(one.into_iter().chain(printed));
            let theirs = judge.run(CONSUMER, &arguments);
            assert_eq!(theirs.out, *ours, "partition {partition}");
        }
    }
    // A group: what one reads is committed, and the next begins behind it.
    let arguments = ["--topic", "lines", "--group", "readers", "--from-beginning", "--max-messages", "300"];
    let first = run("console-consumer", bootstrap, &arguments, "");
    assert_eq!((first.status, first.out.lines().count()), (0, 300), "{}", first.err);
    assert_eq!(first.err, "Processed a total of 300 messages\n");
    let arguments = ["--topic", "lines", "--group", "readers", "--timeout-ms", "3000"];
    let rest = run("console-consumer", bootstrap, &arguments, "");
    assert_eq!(rest.out.lines().count(), 4700, "{}", rest.err);
    assert!(
        rest.err.contains("TimeoutException") && rest.err.ends_with("Processed a total of 4700 messages\n")
    );
    let all = format!("{}{}", first.out, rest.out);
    let values: String = (0..1000).flat_map(|n| (0..5).map(move |_| format!("value {n}\n"))).collect();
    assert_eq!(sorted(&all), sorted(&values));
}

/// Two of our members share the topic, by each way there is; one is killed, and the other gets all of it.
fn members_share(bootstrap: &str, strategy: &str) {
    let group = format!("shared-{strategy}");
    let property = format!("partition.assignment.strategy={strategy}");
    let arguments = [
        "--topic",
        "lines",
        "--group",
        &group,
        "--consumer-property",
        &property,
        "--consumer-property",
        "session.timeout.ms=6000",
        "--consumer-property",
        "heartbeat.interval.ms=300",
    ];
    let members = || {
        let described = run(
            "consumer-groups",
            bootstrap,
            &["--describe", "--group", &group, "--members", "--verbose"],
            "",
        );
        let rows: Vec<String> = described
            .out
            .lines()
            .filter(|line| line.starts_with(&group))
            .map(|line| line.split_whitespace().skip(4).collect::<Vec<_>>().join(" "))
            .collect();
        rows
    };
    let one = start("console-consumer", bootstrap, &arguments);
    until("one member has all", || members() == ["3 lines(0,1,2)"]);
    let mut other = start("console-consumer", bootstrap, &arguments);
    until("two members share", || {
        let rows = members();
        rows.len() == 2 && rows.iter().all(|row| row.starts_with("1 ") || row.starts_with("2 "))
    });
    other.kill().expect("kill -9");
    other.wait().expect("it ends");
    until("the one that is left has all again", || members() == ["3 lines(0,1,2)"]);
    outside::process::terminate(one.id());
    let done = ended(one);
    assert_eq!(done.status, 143, "{done:?}");
    assert!(done.err.ends_with("Processed a total of 0 messages\n"), "{done:?}");
    until("it has left", || members().is_empty());
}

const FAST: [(&str, &str); 2] = [("group.initial.rebalance.delay.ms", "0"), ("num.partitions", "3")];

#[test]
fn what_our_tools_write_and_read_is_what_kafkas_consumer_prints() {
    let folder = Folder::new("console-tools");
    let mut judge = match java::missing() {
        None => Some(Judge::start()),
        Some(why) => {
            skip("what_our_tools_write_and_read_is_what_kafkas_consumer_prints (beside Java)", &why);
            None
        }
    };
    let broker = Broker::start(&folder.join("ours"), &FAST);
    let bootstrap = broker.address.to_string();
    assert_eq!(broker.client().expect("a connection").create_topic("lines", 3, &[]).expect("create"), 0);
    written_and_read(&bootstrap, judge.as_mut());
    for strategy in ["range", "roundrobin", "sticky", "cooperative-sticky"] {
        members_share(&bootstrap, strategy);
    }
    broker.stop();
    if let Some(judge) = &mut judge {
        let zookeeper = ZooKeeper::start(&folder.join("java"));
        let java = zookeeper.start_broker(&[("auto.create.topics.enable", "false")]);
        let bootstrap = java.address.to_string();
        let mut client = outside::client::Client::connect(java.address).expect("a connection");
        assert_eq!(client.create_topic_once_alive("lines", 3, &[]).expect("create"), 0);
        written_and_read(&bootstrap, Some(judge));
        for strategy in ["range", "cooperative-sticky"] {
            members_share(&bootstrap, strategy);
        }
        java.stop();
    }
}

#[test]
fn the_commands_of_the_first_notes_do_what_they_say() {
    let folder = Folder::new("notes");
    let broker = Broker::start(folder.path(), &FAST);
    let bootstrap = broker.address.to_string();
    assert_eq!(broker.client().expect("a connection").create_topic("s2", 3, &[]).expect("create"), 0);
    let input: String = (0..30).map(|n| format!("{n}\n")).collect();
    assert_eq!(run("console-producer", &bootstrap, &["--topic", "s2"], &input).status, 0);

    // --lists was never an option: the answer names the right one.
    let lists = run("consumer-groups", &bootstrap, &["--lists"], "");
    assert_eq!(lists.status, 1);
    assert_eq!(
        lists.err.lines().next(),
        Some("lists is not a recognized option; --list shows all groups"),
        "{lists:?}"
    );

    let group = "console-consumer-16754";
    let arguments = ["--group", group, "--topic", "s2"];
    let reader = start("console-consumer", &bootstrap, &arguments);
    let state = || run("consumer-groups", &bootstrap, &["--describe", "--group", group, "--state"], "").out;
    until("the group is stable", || state().contains("Stable"));
    let reset = ["--group", group, "--topic", "s2", "--execute", "--reset-offsets", "--to-earliest"];
    let refused = run("consumer-groups", &bootstrap, &reset, "");
    assert!(
        refused.out.starts_with(&format!(
            "\nError: Assignments can only be reset if the group '{group}' is inactive, but the current state is \
             Stable.\n"
        )),
        "{refused:?}"
    );
    outside::process::terminate(reader.id());
    ended(reader);
    let done = run("consumer-groups", &bootstrap, &reset, "");
    assert_eq!((done.status, done.err.as_str()), (0, ""));
    let rows: Vec<String> =
        done.out.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let row = |partition: i32| format!("{group} s2 {partition} 0");
    assert_eq!(rows, ["GROUP TOPIC PARTITION NEW-OFFSET".to_owned(), row(0), row(2), row(1)]);
    // "To read as a test": from where the reset put it.
    let arguments = ["--group", group, "--topic", "s2", "--max-messages", "30"];
    let read = run("console-consumer", &bootstrap, &arguments, "");
    assert_eq!(sorted(&read.out), sorted(&input));

    // "When there is no --group": by property, and by file.
    let arguments =
        ["--topic", "s2", "--consumer-property", "group.id=1", "--from-beginning", "--max-messages", "30"];
    let read = run("console-consumer", &bootstrap, &arguments, "");
    assert_eq!(sorted(&read.out), sorted(&input));
    let file = folder.join("config.file");
    std::fs::write(&file, "group.id=by-file\n").expect("a file");
    let file = file.display().to_string();
    let arguments = ["--topic", "s2", "--consumer.config", &file, "--from-beginning", "--max-messages", "30"];
    let read = run("console-consumer", &bootstrap, &arguments, "");
    assert_eq!(sorted(&read.out), sorted(&input));
    let listed = run("consumer-groups", &bootstrap, &["--list"], "");
    assert_eq!(sorted(&listed.out), ["1", "by-file", group]);

    let described = run("consumer-groups", &bootstrap, &["--describe", "--group", "1"], "");
    assert_eq!(described.err, "\nConsumer group '1' has no active members.\n");
    let lags: Vec<&str> =
        described.out.lines().skip(2).map(|line| line.split_whitespace().nth(5).expect("LAG")).collect();
    assert_eq!(lags, ["0", "0", "0"], "{described:?}");
    // enable.idempotence, as the last line of the notes has it.
    let arguments = ["--topic", "s2", "--producer-property", "enable.idempotence=true"];
    assert_eq!(run("console-producer", &bootstrap, &arguments, "once\n").status, 0);
    broker.stop();
}
