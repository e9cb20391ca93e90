//! The drop-ins for Kafka's performance tools: what Java's print and what ours print goes through one parser.
//!
//! Both run against the same broker. Where Java Kafka cannot be had, ours are still held against the lines that the rig's
//! specification names.

mod outside;

use std::path::Path;
use std::process::{Command, Output};

use outside::process::Broker;
use outside::{Folder, java, skip};

/// One line of a tool's stdout, as a user's script would take it apart: words that must be there, numbers between them.
/// `Some` are the numbers. A pattern is text with `<i>` for a whole number, `<f>` for one with a fraction, `<f1>`, `<f2>`,
/// `<f4>` for one with so many digits, and `<t>` for a time.
fn numbers(pattern: &str, line: &str) -> Option<Vec<f64>> {
    let mut found = Vec::new();
    let (mut pattern, mut line) = (pattern, line);
    loop {
        let Some((before, rest)) = pattern.split_once('<') else {
            return (pattern == line).then_some(found);
        };
        line = line.strip_prefix(before)?;
        let (kind, after) = rest.split_once('>')?;
        pattern = after;
        let end = match after.chars().next() {
            Some(stop) if kind != "t" => line.find(stop).filter(|_| stop != '.').or_else(|| {
                // A sentence ends with a point, and so may a number go on with one.
                line.rfind(stop)
            })?,
            Some(_) => line.find(", ")?,
            None => line.len(),
        };
        let (value, rest) = line.split_at(end);
        line = rest;
        if kind == "t" {
            let shape: String =
                value.chars().map(|letter| if letter.is_ascii_digit() { '0' } else { letter }).collect();
            if shape != "0000-00-00 00:00:00:000" {
                return None;
            }
            continue;
        }
        let digits = value.split_once('.').map_or(0, |(_, fraction)| fraction.len());
        let fits = match kind {
            "i" => digits == 0,
            "f" => digits > 0,
            _ => digits == kind[1..].parse::<usize>().ok()?,
        };
        found.push(value.parse().ok().filter(|_| fits)?);
    }
}

const WINDOW: &str =
    "<i> records sent, <f1> records/sec (<f2> MB/sec), <f1> ms avg latency, <f1> ms max latency.";
const TOTAL: &str = "<i> records sent, <f> records/sec (<f2> MB/sec), <f2> ms avg latency, <f2> ms max latency, \
                     <i> ms 50th, <i> ms 95th, <i> ms 99th, <i> ms 99.9th.";
const CONSUMER_HEADER: &str = "start.time, end.time, data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, nMsg.sec, \
                               rebalance.time.ms, fetch.time.ms, fetch.MB.sec, fetch.nMsg.sec";
const CONSUMER: &str = "<t>, <t>, <f4>, <f4>, <i>, <f4>, <i>, <i>, <f4>, <f4>";
const RUNNING: &str = "<i>\t<f>";
const AVERAGE: &str = "Avg latency: <f4> ms";
const PERCENTILES: &str = "Percentiles: 50th = <i>, 99th = <i>, 99.9th = <i>";

fn ours(tool: &str, arguments: &[&str]) -> String {
    let done: Output =
        Command::new(env!("CARGO_BIN_EXE_ringdaw")).arg(tool).args(arguments).output().expect("it starts");
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{tool} {arguments:?}: {}\n{said}", done.status);
    String::from_utf8(done.stdout).expect("text")
}

fn broker(folder: &Path, topics: &[(&str, i32)]) -> (Broker, String) {
    let broker = Broker::start(folder, &[]);
    let mut client = broker.client().expect("a connection");
    for (topic, partitions) in topics {
        assert_eq!(client.create_topic(topic, *partitions, &[]).expect("create"), 0);
    }
    let address = broker.address.to_string();
    (broker, address)
}

/// The producer tool: any number of window lines, then the total; the records that it says were sent.
fn check_producer(who: &str, out: &str, records: f64) {
    let lines: Vec<&str> = out.lines().filter(|line| line.contains("records sent")).collect();
    let (total, windows) = lines.split_last().unwrap_or_else(|| panic!("{who} printed nothing:\n{out}"));
    let total = numbers(TOTAL, total).unwrap_or_else(|| panic!("{who}: {total}"));
    assert_eq!(total[0], records, "{who}");
    assert!(total[1] > 0.0 && total[4] >= total[3], "{who}: {total:?}");
    assert!(total[5] <= total[6] && total[6] <= total[7] && total[7] <= total[8], "{who}: {total:?}");
    for window in windows {
        assert!(numbers(WINDOW, window).is_some(), "{who}: {window}");
    }
}

fn check_consumer(who: &str, out: &str, records: f64, bytes: f64) {
    let lines: Vec<&str> = out.lines().collect();
    let header = lines.iter().position(|line| *line == CONSUMER_HEADER);
    let header = header.unwrap_or_else(|| panic!("{who}: no header:\n{out}"));
    let line = lines[header + 1];
    let found = numbers(CONSUMER, line).unwrap_or_else(|| panic!("{who}: {line}"));
    assert!(found[2] >= records, "{who}: {found:?}");
    assert!(
        (found[0] - found[2] * bytes / 1_048_576.0).abs() < 0.001,
        "{who}: MB are of keys and values: {found:?}"
    );
}

fn check_latency(who: &str, out: &str, records: usize) {
    let running: Vec<Vec<f64>> = out.lines().filter_map(|line| numbers(RUNNING, line)).collect();
    assert_eq!(running.len(), records.div_ceil(1000), "{who}:\n{out}");
    assert_eq!(running[0][0], 0.0, "{who}");
    let average: Vec<Vec<f64>> = out.lines().filter_map(|line| numbers(AVERAGE, line)).collect();
    let percentiles: Vec<Vec<f64>> = out.lines().filter_map(|line| numbers(PERCENTILES, line)).collect();
    assert_eq!((average.len(), percentiles.len()), (1, 1), "{who}:\n{out}");
    assert!(percentiles[0][0] <= percentiles[0][1] && percentiles[0][1] <= percentiles[0][2], "{who}");
}

#[test]
fn our_lines_are_those_that_the_specification_names() {
    let folder = Folder::new("perf-tools-ours");
    let (_broker, address) = broker(folder.path(), &[("wide", 4), ("narrow", 1)]);
    let props = format!("bootstrap.servers={address}");
    let old = ["--topic", "wide", "--num-records", "20000", "--record-size", "100", "--throughput", "-1"];
    let out = ours(
        "producer-perf-test",
        &[&old[..], &["--producer-props", &props, "acks=1", "linger.ms=5"]].concat(),
    );
    check_producer("the old spelling", &out, 20_000.0);
    assert!(out.lines().all(|line| line.contains("records sent")), "nothing else on stdout:\n{out}");
    let new = [
        "--topic",
        "wide",
        "--num-records",
        "3000",
        "--record-size",
        "1000",
        "--throughput",
        "1500",
        "--bootstrap-server",
        &address,
        "--command-property",
        "compression.type=lz4",
        "--reporting-interval",
        "500",
        "--warmup-records",
        "1000",
    ];
    let out = ours("producer-perf-test", &new);
    check_producer("the new spelling", &out, 2_000.0);
    assert!(out.lines().count() >= 3, "windows of half a second in more than one:\n{out}");

    let read =
        ["--bootstrap-server", &address, "--topic", "wide", "--num-records", "23000", "--timeout", "5000"];
    let out = ours("consumer-perf-test", &read);
    let found = numbers(CONSUMER, out.lines().nth(1).expect("a line")).expect("the line");
    assert_eq!(found[2], 23_000.0, "everything that was written, idempotent or not");
    assert_eq!(out.lines().count(), 2, "{out}");
    let detailed =
        ours("consumer-perf-test", &[&read[..], &["--show-detailed-stats", "--hide-header"]].concat());
    assert!(detailed.lines().all(|line| line.contains(", 0, ")), "{detailed}");

    let out = ours("end-to-end-latency", &[&address, "narrow", "1500", "all", "100"]);
    check_latency("the old order", &out, 1500);
    let named = [
        "--bootstrap-server",
        &address,
        "--topic",
        "narrow",
        "--num-records",
        "20",
        "--producer-acks",
        "1",
        "--record-size",
        "10",
        "--record-key-size",
        "5",
        "--num-headers",
        "2",
    ];
    check_latency("by name", &ours("end-to-end-latency", &named), 20);
}

#[test]
fn javas_lines_and_ours_go_through_the_same_parser() {
    if let Some(reason) = java::missing() {
        return skip("javas_lines_and_ours_go_through_the_same_parser", &reason);
    }
    let folder = Folder::new("perf-tools-java");
    let (_broker, address) = broker(folder.path(), &[("p", 3), ("e", 1)]);
    let props = format!("bootstrap.servers={address}");
    let arguments = ["--topic", "p", "--num-records", "5000", "--record-size", "200", "--throughput", "-1"];
    let arguments = [&arguments[..], &["--producer-props", &props, "acks=all"]].concat();
    check_producer("Java", &java::run("org.apache.kafka.tools.ProducerPerformance", &arguments, ""), 5000.0);
    check_producer("ours", &ours("producer-perf-test", &arguments), 5000.0);
    let arguments = [address.as_str(), "e", "1001", "all", "64"];
    check_latency("ours", &ours("end-to-end-latency", &arguments), 1001);
    // Java's prints its lines and then commits offsets, which waits where the broker has no coordinator.
    match java_lines("EndToEndLatency", &arguments, |out| out.contains("Percentiles: ")) {
        Some(out) => check_latency("Java", &out, 1001),
        None => skip("Java's EndToEndLatency", "the broker has no group coordinator"),
    }
    let read = ["--bootstrap-server", &address, "--topic", "p", "--messages", "10000", "--timeout", "10000"];
    check_consumer("ours", &ours("consumer-perf-test", &read), 10_000.0, 200.0);
    // Java's reads with a group: where the broker has no coordinator yet, it cannot run.
    let is_read = |line: &str| numbers(CONSUMER, line).is_some_and(|found| found[2] > 0.0);
    match java_lines("ConsumerPerformance", &read, |out| out.lines().any(is_read)) {
        Some(out) => check_consumer("Java", &out, 10_000.0, 200.0),
        None => skip("Java's ConsumerPerformance", "the broker has no group coordinator"),
    }
}

/// What one of Java's tools printed within half a minute, whether or not it ended well; `None` where `whole` says that its
/// lines are not there.
fn java_lines(class: &str, arguments: &[&str], whole: impl Fn(&str) -> bool) -> Option<String> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/java-kafka.sh");
    let mut command = Command::new("timeout");
    command.args(["30", script, "run", java::VERSION, &format!("org.apache.kafka.tools.{class}")]);
    let done = command.args(arguments).output().expect("timeout and the script");
    let out = String::from_utf8_lossy(&done.stdout).into_owned();
    whole(&out).then_some(out)
}

#[test]
fn the_parser_tells_kinds_of_numbers_apart() {
    assert_eq!(numbers("<i> of <f2> ms.", "3 of 4.25 ms."), Some(vec![3.0, 4.25]));
    assert_eq!(numbers("<i> of <f2> ms.", "3 of 4.2 ms."), None);
    assert_eq!(numbers("<i> of <f2> ms.", "3.0 of 4.25 ms."), None);
    assert_eq!(numbers("<t>, <i>", "2026-11-25 04:05:06:007, 9"), Some(vec![9.0]));
    assert_eq!(numbers("<t>, <i>", "25.11.2026, 9"), None);
}
