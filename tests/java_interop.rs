//! Data directories, both ways: Java Kafka judges, takes over and gives back ours, and we read what it wrote.
//!
//! `java/directories.tar.gz` holds what unmodified Java brokers 1.0.0, 2.8.2 and 3.9.1 left behind after a clean
//! stop and after kill -9, without their groups, transactions, compacted topics and old message formats. Records
//! are read from those files by the tests' own reader and compared with what the broker serves.

mod outside;

use outside::batch::{self, Batch, Record, Writer};
use outside::client::{Client, PATIENCE};
use outside::java::{self, ZooKeeper};
use outside::process::Broker;
use outside::{Folder, skip};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

// ---- what we wrote, judged by Java ------------------------------------------------------------

/// An hour ago, by the wall clock: brokers forget idle producers and old segments by the records' own times.
fn start_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    now.as_millis() as i64 - 3_600_000
}

/// Several segments, every codec, an idempotent producer, batches of one record and of many.
fn write_something_of_everything(broker: &Broker, start_ms: i64) -> BTreeMap<String, Vec<Record>> {
    let mut client = broker.client().expect("a connection");
    assert_eq!(client.create_topic("rolling", 2, &[("segment.bytes", "60000")]).expect("create"), 0);
    assert_eq!(client.create_topic("codecs", 1, &[]).expect("create"), 0);
    let producer_id = client.new_producer_id().expect("a producer id");
    let mut sequence = 0;
    for n in 0..200i64 {
        let values: Vec<Vec<u8>> =
            (0..=n % 7).map(|k| format!("record {n} {k} {}", "x".repeat(500)).into_bytes()).collect();
        // Times that go back and forth: the time index holds the largest so far.
        let timestamp = start_ms + n * 1000 - (n % 3) * 5000;
        let writer = Writer { id: producer_id, epoch: 0, sequence };
        let batch = batch::build(writer, timestamp, &values);
        assert_eq!(client.produce("rolling", 0, &batch).expect("produce").code, 0);
        sequence += values.len() as i32;
    }
    for codec in 0..5i16 {
        for n in 0..20i64 {
            let values: Vec<Vec<u8>> =
                (0..30).map(|k| format!("codec {codec} {n} {k} {}", "y".repeat(100)).into_bytes()).collect();
            let batch = batch::build_with(codec, batch::NOBODY, start_ms + n, &values);
            assert_eq!(client.produce("codecs", 0, &batch).expect("produce").code, 0, "codec {codec}");
        }
    }
    let mut all = BTreeMap::new();
    for (topic, partition) in [("rolling", 0), ("rolling", 1), ("codecs", 0)] {
        all.insert(format!("{topic}-{partition}"), records(&mut client, topic, partition, 0));
    }
    assert_eq!((all["rolling-1"].len(), all["codecs-0"].len()), (0, 3000));
    all
}

#[test]
fn the_dump_tool_of_java_kafka_finds_nothing_wrong_in_what_we_wrote() {
    if let Some(why) = java::missing() {
        return skip("the_dump_tool_of_java_kafka_finds_nothing_wrong_in_what_we_wrote", &why);
    }
    for ending in ["clean stop", "kill -9"] {
        let folder = Folder::new("dump");
        let broker = Broker::start(folder.path(), &[("log.index.interval.bytes", "1000")]);
        write_something_of_everything(&broker, start_ms());
        if ending == "kill -9" {
            broker.kill();
        } else {
            broker.stop();
        }
        let data = folder.join("data");
        expect_clean_dump(&data, &format!("after {ending}"));
        let segments = files_of(&data.join("rolling-0"), "log");
        assert!(segments.len() > 5, "{ending}: 60000-byte segments: {segments:?}");
        if ending == "clean stop" {
            for segment in &segments {
                let index =
                    fs::metadata(segment.with_extension("index")).expect("an index per segment").len();
                let times = fs::metadata(segment.with_extension("timeindex"))
                    .expect("a time index per segment")
                    .len();
                assert!(
                    index % 8 == 0 && times % 12 == 0 && times > 0,
                    "{}: {index} and {times} bytes",
                    segment.display()
                );
            }
            let full = fs::metadata(segments[0].with_extension("index")).expect("an index").len();
            assert!(full > 0, "a segment of 60000 bytes has entries each 1000 bytes");
            assert!(data.join(".kafka_cleanshutdown").exists(), "the mark of a clean stop");
        }
    }
}

#[test]
fn java_kafka_starts_on_our_directory_serves_it_and_gives_it_back() {
    if let Some(why) = java::missing() {
        return skip("java_kafka_starts_on_our_directory_serves_it_and_gives_it_back", &why);
    }
    for ending in ["clean stop", "kill -9"] {
        let folder = Folder::new("hand-over");
        let broker = Broker::start(folder.path(), &[("log.index.interval.bytes", "1000")]);
        let start_ms = start_ms();
        let mut written = write_something_of_everything(&broker, start_ms);
        if ending == "kill -9" {
            broker.kill();
        } else {
            broker.stop();
        }
        let data = folder.join("data");
        let last_batch = last_batch_as_sent(&data.join("rolling-0"));

        let zookeeper = ZooKeeper::start(folder.path());
        zookeeper.create(&nodes_for(&data));
        let java = zookeeper.start_broker(&[("broker.id", "1"), ("auto.create.topics.enable", "false")]);
        let mut client = Client::connect(java.address).expect("a connection");
        await_served(&mut client, &replicas_of(&data));
        for (replica, expected) in &written {
            let (topic, partition) = split(replica);
            assert_same(
                &format!("Java after our {ending}: {replica}"),
                &records(&mut client, topic, partition, 0),
                expected,
            );
        }
        let all = &written["rolling-0"];
        let (code, offset) =
            client.offset_at("rolling", 0, start_ms + 100_000).expect("an offset by timestamp");
        let first = all.iter().find(|record| record.timestamp >= start_ms + 100_000).expect("such a record");
        assert_eq!((code, offset), (0, first.offset), "Java's look-up by time in our indexes");
        let again = client.produce("rolling", 0, &last_batch).expect("produce");
        let whole = batch::parse_all(&last_batch).expect("a batch")[0].records.len() as i64;
        assert_eq!(
            (again.code, again.base_offset),
            (0, all.len() as i64 - whole),
            "our producer state makes it a duplicate"
        );
        let more = batch::build(batch::NOBODY, start_ms + 900_000, &[b"written by Java".to_vec()]);
        assert_eq!(client.produce("rolling", 0, &more).expect("produce").base_offset, all.len() as i64);
        drop(client);
        let log = java.log();
        java.stop();
        if ending == "clean stop" {
            for bad in ["Rebuilding", "corrupt", "Recovering unflushed"] {
                assert!(
                    !log.contains(bad),
                    "Java found {bad} after our clean stop:\n{}",
                    lines_with(&log, bad)
                );
            }
        }

        let ours = Broker::start(folder.path(), &[("log.index.interval.bytes", "1000")]);
        let mut client = ours.client().expect("a connection");
        let expected = written.get_mut("rolling-0").expect("it was written");
        expected.push(Record {
            offset: expected.len() as i64,
            timestamp: start_ms + 900_000,
            key: None,
            value: Some(b"written by Java".to_vec()),
            headers: Vec::new(),
        });
        for (replica, expected) in &written {
            let (topic, partition) = split(replica);
            assert_same(
                &format!("back from Java: {replica}"),
                &records(&mut client, topic, partition, 0),
                expected,
            );
        }
        ours.stop();
    }
}

// ---- what Java wrote --------------------------------------------------------------------------

#[test]
fn directories_of_java_brokers_are_opened_and_read_right() {
    let folder = Folder::new("java-wrote");
    unpack(folder.path());
    for name in ["k391-clean", "k391-kill9", "k282-clean", "k282-kill9", "k100-clean", "k100-kill9"] {
        let data = folder.join(name);
        let replicas = replicas_of(&data);
        let clean = name.ends_with("clean");
        assert_eq!(
            replicas.len(),
            9 + usize::from(clean) + usize::from(!name.starts_with("k100")),
            "{name}: {replicas:?}"
        );
        let mut expected = BTreeMap::new();
        for replica in &replicas {
            expected.insert(replica.clone(), records_in_files(&data.join(replica)));
        }
        // What the producers were told when these directories were made.
        let acknowledged = [
            ("codec-none-0", if clean { 10 } else { 5 }),
            ("codec-lz4-0", 5),
            ("appendtime-0", 10),
            ("recompress-0", 5),
            ("roll-0", 50),
            ("roll-idem-0", 50),
        ];
        for (replica, count) in acknowledged {
            assert_eq!(expected[replica].len(), count, "{name}: {replica}");
        }
        let starts = fs::read_to_string(data.join("log-start-offset-checkpoint")).expect("a checkpoint");
        assert!(starts.contains("\ndelrec 0 12\n"), "{name}: the records before 12 were deleted: {starts}");

        let work = folder.join(&format!("{name}-run"));
        let data_setting = data.display().to_string();
        // The records are of 2023, and retention goes by their times.
        let settings: &[(&str, &str)] = &[("log.dirs", &data_setting), ("log.retention.ms", "-1")];
        let broker = Broker::start(&work, settings);
        let mut client = broker.client().expect("a connection");
        let topics: Vec<String> =
            client.topics().expect("topics").into_keys().map(|topic| topic + "-0").collect();
        assert_eq!(topics, replicas, "{name}: a deleted topic is no topic, and nothing else is missing");
        for (replica, expected) in &expected {
            let (topic, partition) = split(replica);
            let from = if topic == "delrec" { 12 } else { 0 };
            let visible: Vec<Record> =
                expected.iter().filter(|record| record.offset >= from).cloned().collect();
            let found = records(&mut client, topic, partition, from);
            assert_same(&format!("{name}: {replica}"), &found, &visible);
            assert_eq!(
                client.offset_at(topic, partition, -2).expect("start").1,
                from,
                "{name}: start of {replica}"
            );
        }
        let [first, .., last] = &expected["roll-0"][..] else { panic!("roll-0 has records") };
        for time in [first.timestamp, first.timestamp + 1, last.timestamp - 1500, last.timestamp] {
            let wanted = expected["roll-0"]
                .iter()
                .find(|record| record.timestamp >= time)
                .expect("such a record")
                .offset;
            let found = client.offset_at("roll", 0, time).expect("an offset by timestamp");
            assert_eq!(found, (0, wanted), "{name}: roll at time {time}");
        }
        let more = batch::build(batch::NOBODY, 1_700_000_900_000, &[b"ours".to_vec()]);
        assert_eq!(client.produce("roll", 0, &more).expect("produce").base_offset, 50, "{name}");
        broker.stop();

        // Once more, over our own clean stop.
        let broker = Broker::start(&work, settings);
        let mut client = broker.client().expect("a connection");
        let found = records(&mut client, "roll", 0, 0);
        assert_same(&format!("{name}: roll"), &found[..50], &expected["roll-0"]);
        assert_eq!(found[50].value.as_deref(), Some(&b"ours"[..]), "{name}");
        assert_eq!(records(&mut client, "roll-idem", 0, 0).len(), 50, "{name}");
        broker.stop();
        if name.starts_with("k391") && java::missing().is_none() {
            expect_clean_dump(&data, &format!("{name}, then ours"));
        }
    }
}

#[test]
fn the_dump_tool_accepts_what_java_wrote_and_is_heard_when_it_finds_a_fault() {
    if let Some(why) = java::missing() {
        return skip("the_dump_tool_accepts_what_java_wrote_and_is_heard_when_it_finds_a_fault", &why);
    }
    let folder = Folder::new("judge");
    unpack(folder.path());
    let data = folder.join("k391-clean");
    expect_clean_dump(&data, "as Java left it");
    let log = data.join("roll-0/00000000000000000018.log");
    let mut bytes = fs::read(&log).expect("a segment");
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    fs::write(&log, bytes).expect("a segment");
    let heard = std::panic::catch_unwind(|| expect_clean_dump(&data, "with one bit turned"));
    assert!(heard.is_err(), "a turned bit in a segment went unnoticed");

    let data = folder.join("k391-kill9");
    let index = data.join("roll-0/00000000000000000000.index");
    let mut entries = fs::read(&index).expect("an index");
    entries[7] ^= 1; // the position of the first entry
    fs::write(&index, entries).expect("an index");
    let heard = std::panic::catch_unwind(|| expect_clean_dump(&data, "with one index entry moved"));
    assert!(heard.is_err(), "a moved index entry went unnoticed");
}

// ---- ways to look -----------------------------------------------------------------------------

fn records(client: &mut Client, topic: &str, partition: i32, from: i64) -> Vec<Record> {
    let batches =
        client.read_batches(topic, partition, from).unwrap_or_else(|e| panic!("{topic}-{partition}: {e}"));
    batches
        .into_iter()
        .filter(|batch| !batch.control)
        .flat_map(|batch| batch.records)
        .filter(|r| r.offset >= from)
        .collect()
}

fn batches_in_files(replica: &Path) -> Vec<Batch> {
    let mut all = Vec::new();
    for segment in files_of(replica, "log") {
        let bytes = fs::read(&segment).expect("a segment");
        all.extend(batch::parse_all(&bytes).unwrap_or_else(|why| panic!("{}: {why}", segment.display())));
    }
    all
}

fn records_in_files(replica: &Path) -> Vec<Record> {
    batches_in_files(replica).into_iter().flat_map(|batch| batch.records).collect()
}

/// A broker in ZooKeeper mode hears from its controller a moment after it started.
fn await_served(client: &mut Client, replicas: &[String]) {
    let deadline = Instant::now() + PATIENCE;
    for replica in replicas {
        let (topic, partition) = split(replica);
        // First it leads, then it learns that everyone may know.
        while client.offset_at(topic, partition, -1).expect("an answer").0 != 0
            || !client.topics().expect("an answer").contains_key(topic)
        {
            assert!(Instant::now() < deadline, "{replica} is not served");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// The last batch of the log with the offset and the leader epoch that a producer sends.
fn last_batch_as_sent(replica: &Path) -> Vec<u8> {
    let segments = files_of(replica, "log");
    let with_data = segments.iter().rev().find(|segment| fs::metadata(segment).expect("a segment").len() > 0);
    let bytes = fs::read(with_data.expect("a segment with data")).expect("a segment");
    let batches = batch::parse_all(&bytes).expect("batches");
    let end: usize = batches.iter().map(|batch| batch.size).sum();
    let mut last = bytes[end - batches.last().expect("a batch").size..end].to_vec();
    last[..8].copy_from_slice(&0i64.to_be_bytes());
    last[12..16].copy_from_slice(&(-1i32).to_be_bytes());
    last
}

fn assert_same(what: &str, found: &[Record], expected: &[Record]) {
    assert_eq!(found.len(), expected.len(), "{what}: number of records");
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found, expected, "{what}");
    }
}

fn files_of(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|end| end == extension))
        .collect();
    files.sort();
    files
}

/// Folders named `topic-partition`, sorted; not deleted ones.
fn replicas_of(data: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(data)
        .expect("a data directory")
        .map(|entry| entry.expect("an entry"))
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().expect("text"))
        .filter(|name| !name.ends_with("-delete"))
        .filter(|name| name.rsplit_once('-').is_some_and(|(_, end)| end.parse::<u32>().is_ok()))
        .collect();
    names.sort();
    names
}

fn split(replica: &str) -> (&str, i32) {
    let (topic, partition) = replica.rsplit_once('-').expect("topic-partition");
    (topic, partition.parse().expect("a partition"))
}

/// Every log, index, time index and snapshot under `data` through Java's dump tool, in its two modes.
fn expect_clean_dump(data: &Path, when: &str) {
    let mut files = Vec::new();
    let mut batches = 0;
    for replica in replicas_of(data) {
        let replica = data.join(replica);
        batches += batches_in_files(&replica).len();
        for extension in ["log", "index", "timeindex", "snapshot"] {
            // An index without entries is a fresh one; the tool cannot map an empty file.
            let files_here = files_of(&replica, extension).into_iter();
            files.extend(
                files_here.filter(|file| extension == "log" || fs::metadata(file).expect("a file").len() > 0),
            );
        }
    }
    let list = |wanted: fn(&str) -> bool| -> String {
        let chosen =
            files.iter().filter(|file| wanted(&file.extension().unwrap_or_default().to_string_lossy()));
        chosen.map(|file| file.display().to_string()).collect::<Vec<_>>().join(",")
    };
    let said =
        java::run("kafka.tools.DumpLogSegments", &["--deep-iteration", "--files", &list(|_| true)], "");
    for bad in [
        "ismatch",
        "isvalid: false",
        "out of order",
        "Non-consecutive",
        "Invalid",
        "Exception",
        "invalid",
        "corrupt",
    ] {
        assert!(!said.contains(bad), "{when}: the dump tool says:\n{}", lines_with(&said, bad));
    }
    let dumped = said.lines().filter(|line| line.starts_with("Dumping ")).count();
    assert_eq!(dumped, files.len(), "{when}: every file was dumped:\n{said}");
    let valid = said.matches("isvalid: true").count();
    assert_eq!(valid, batches, "{when}: batches the dump tool found valid");

    let indexes = list(|extension| extension.ends_with("index"));
    let said = java::run("kafka.tools.DumpLogSegments", &["--index-sanity-check", "--files", &indexes], "");
    let passed = said.matches("passed sanity check").count();
    assert_eq!(passed, indexes.split(',').count(), "{when}: indexes that pass the sanity check:\n{said}");
}

fn lines_with(text: &str, part: &str) -> String {
    text.lines().filter(|line| line.contains(part)).take(20).collect::<Vec<_>>().join("\n")
}

fn unpack(into: &Path) {
    let archive = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/java/directories.tar.gz");
    let done = Command::new("tar").arg("xzf").arg(archive).arg("-C").arg(into).status().expect("tar");
    assert!(done.success(), "tar: {done}");
}

/// What ZooKeeper holds of a cluster whose one broker owns this directory.
fn nodes_for(data: &Path) -> Vec<(String, String)> {
    let mut nodes = Vec::new();
    let mut node = |path: &str, value: String| nodes.push((path.to_string(), value));
    let meta = fs::read_to_string(data.join("meta.properties")).expect("meta.properties");
    if let Some(id) = meta.lines().find_map(|line| line.strip_prefix("cluster.id=")) {
        node("/cluster", String::new());
        node("/cluster/id", format!(r#"{{"version":"1","id":"{id}"}}"#));
    }
    node("/brokers", String::new());
    node("/brokers/topics", String::new());
    let mut topics: BTreeMap<String, Vec<i32>> = BTreeMap::new();
    for replica in replicas_of(data) {
        let (topic, partition) = split(&replica);
        topics.entry(topic.to_string()).or_default().push(partition);
    }
    for (topic, mut partitions) in topics {
        partitions.sort_unstable();
        let metadata = fs::read_to_string(data.join(format!("{topic}-0/partition.metadata")))
            .expect("partition.metadata");
        let id = metadata.lines().find_map(|line| line.strip_prefix("topic_id: ")).expect("a topic id");
        let replicas: Vec<String> = partitions.iter().map(|p| format!(r#""{p}":[1]"#)).collect();
        let replicas = replicas.join(",");
        let path = format!("/brokers/topics/{topic}");
        let value = format!(
            r#"{{"removing_replicas":{{}},"partitions":{{{replicas}}},"topic_id":"{id}","adding_replicas":{{}},"version":3}}"#
        );
        node(&path, value);
        node(&format!("{path}/partitions"), String::new());
        for partition in partitions {
            let epoch = last_epoch(&data.join(format!("{topic}-{partition}/leader-epoch-checkpoint")));
            node(&format!("{path}/partitions/{partition}"), String::new());
            node(
                &format!("{path}/partitions/{partition}/state"),
                format!(
                    r#"{{"controller_epoch":1,"leader":1,"version":1,"leader_epoch":{epoch},"isr":[1]}}"#
                ),
            );
        }
    }
    nodes
}

/// 0 where no record was ever written: then there may be no file.
fn last_epoch(checkpoint: &Path) -> i32 {
    let text = fs::read_to_string(checkpoint).unwrap_or_default();
    let last = text.lines().skip(2).last();
    last.map_or(0, |line| line.split(' ').next().expect("a field").parse().expect("an epoch"))
}
