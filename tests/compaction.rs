//! Compaction by a broker process: beside Java Kafka, with the same batches, until both keep the same records; and alone,
//! through kill -9 and restarts.

mod outside;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use outside::client::{Client, PATIENCE};
use outside::java::{self, ZooKeeper};
use outside::process::Broker;
use outside::{Folder, skip};
use ringdaw::tools::verify;
use ringdaw::wire::batch::BatchHeader;
use ringdaw::wire::batch_builder::BatchBuilder;
use ringdaw::wire::compression::Codec;

const SETTINGS: &[(&str, &str)] =
    &[("log.cleaner.backoff.ms", "100"), ("log.segment.delete.delay.ms", "1000")];
const TOPIC: &[(&str, &str)] = &[
    ("cleanup.policy", "compact"),
    ("segment.bytes", "20000"),
    ("min.cleanable.dirty.ratio", "0.0"),
    ("delete.retention.ms", "3600000"),
];
const BATCHES: usize = 400;
const KEYS: u64 = 60;

/// Batches of every codec, of nobody and of one idempotent producer, with values and tombstones.
fn batches(producer_id: i64) -> Vec<Vec<u8>> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_millis() as i64;
    let mut state = 88u64;
    let mut below = move |limit: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % limit
    };
    let mut sequence = 0;
    (0..BATCHES)
        .map(|number| {
            let mut builder = BatchBuilder::new(Codec::ALL[below(5) as usize]);
            if below(3) == 0 {
                builder = builder.producer(producer_id, 0, sequence);
            }
            let count = 1 + below(5);
            for n in 0..count {
                let key = format!("key-{}", below(KEYS));
                let value =
                    (below(6) > 0).then(|| format!("{number} {n} {}", "v".repeat(below(300) as usize)));
                let time = now + number as i64;
                builder.append(time, Some(key.as_bytes()), value.as_deref().map(str::as_bytes), &[]);
            }
            if builder.producer_id >= 0 {
                sequence += count as i32;
            }
            builder.build()
        })
        .collect()
}

type Kept = BTreeMap<i64, (Option<Vec<u8>>, Option<Vec<u8>>)>;

fn kept(client: &mut Client, topic: &str) -> Kept {
    let batches = client.read_batches(topic, 0, 0).expect("the log");
    let records = batches.into_iter().flat_map(|batch| batch.records);
    records.map(|record| (record.offset, (record.key, record.value))).collect()
}

/// The last value of each key.
fn newest(kept: &Kept) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut newest = BTreeMap::new();
    for (key, value) in kept.values() {
        let key = key.clone().expect("a key");
        match value {
            Some(value) => newest.insert(key, value.clone()),
            None => newest.remove(&key),
        };
    }
    newest
}

fn wait(what: &str, mut until: impl FnMut() -> bool) {
    let deadline = Instant::now() + 2 * PATIENCE;
    while !until() {
        assert!(Instant::now() < deadline, "{what}: not in time");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Sends everything; how many records that was.
fn fill(client: &mut Client, topic: &str) -> usize {
    wait("the topic", || matches!(client.create_topic(topic, 1, TOPIC).expect("create"), 0 | 36));
    wait("its leader", || client.offset_at(topic, 0, -1).expect("ListOffsets").0 == 0);
    let mut producer_id = -1;
    // A Java broker that has just started has none to give for some hundred milliseconds.
    wait("a producer id", || client.new_producer_id().map(|id| producer_id = id).is_ok());
    let mut sent = 0;
    for batch in batches(producer_id) {
        assert_eq!(client.produce(topic, 0, &batch).expect("produce").code, 0);
        sent += BatchHeader::peek(&batch).expect("a batch").record_count() as usize;
    }
    sent
}

fn files_of(replica: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(replica).expect("the replica").map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files
}

fn expect_sound(data: &Path) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = verify::verify(data, true, &mut out, &mut err);
    assert_eq!(code, 0, "{}{}", String::from_utf8_lossy(&out), String::from_utf8_lossy(&err));
}

#[test]
fn java_and_we_keep_the_same_records_of_the_same_batches() {
    if let Some(why) = java::missing() {
        return skip("java_and_we_keep_the_same_records_of_the_same_batches", &why);
    }
    let (here, there) = (Folder::new("compaction"), Folder::new("compaction-java"));
    let ours = Broker::start(here.path(), SETTINGS);
    let java = ZooKeeper::start(there.path()).start_broker(SETTINGS);
    let (mut our_client, mut java_client) =
        (ours.client().expect("a connection"), Client::connect(java.address).expect("a connection"));
    fill(&mut our_client, "t");
    let sent = fill(&mut java_client, "t");
    let (mut mine, mut theirs) = (Kept::new(), Kept::new());
    wait("the same records", || {
        (mine, theirs) = (kept(&mut our_client, "t"), kept(&mut java_client, "t"));
        mine == theirs && mine.len() < sent / 2
    });
    java.stop();
    ours.stop();
    let data = here.join("data");
    expect_sound(&data);
    // Java's tool finds every batch and every entry of an index where it should be.
    let files: Vec<String> = files_of(&data.join("t-0"))
        .iter()
        .filter(|path| {
            path.extension().is_some_and(|end| end == "log" || end == "index" || end == "timeindex")
        })
        .map(|path| path.display().to_string())
        .collect();
    let said =
        java::run("kafka.tools.DumpLogSegments", &["--files", &files.join(","), "--deep-iteration"], "");
    for wrong in
        ["isvalid: false", "Mismatches", "mismatch", "out of order", "not found in the log", "Exception"]
    {
        assert!(!said.contains(wrong), "{wrong}:\n{said}");
    }
}

#[test]
fn kill_9_during_compaction_leaves_the_last_value_of_each_key() {
    let folder = Folder::new("compaction-kill");
    let data = folder.join("data");
    let mut broker = Broker::start(folder.path(), SETTINGS);
    let mut expected = None;
    for round in 0..6u64 {
        let topic = format!("t{round}");
        let mut client = broker.client().expect("a connection");
        let sent = fill(&mut client, &topic);
        // Somewhere in the first passes over what was just written.
        std::thread::sleep(Duration::from_millis(40 * round));
        broker.kill();
        broker = Broker::start(folder.path(), SETTINGS);
        let mut client = broker.client().expect("a connection");
        wait("a compaction", || kept(&mut client, &topic).len() < sent / 2);
        let last = newest(&kept(&mut client, &topic));
        let known = expected.get_or_insert_with(|| last.clone());
        assert_eq!(&last, known, "round {round}");
    }
    // The last pass may have ended with the process before it was noted: then it is made once more.
    wait("the checkpoint", || {
        let checkpoint = fs::read_to_string(data.join("cleaner-offset-checkpoint")).unwrap_or_default();
        (0..6).all(|round| checkpoint.lines().any(|line| line.starts_with(&format!("t{round} 0 "))))
    });
    broker.stop();
    expect_sound(&data);
    for round in 0..6 {
        let names = files_of(&data.join(format!("t{round}-0")));
        let left = |path: &&PathBuf| {
            let name = path.to_string_lossy().into_owned();
            name.ends_with(".cleaned") || name.ends_with(".swap")
        };
        assert_eq!(names.iter().filter(left).count(), 0, "{names:?}");
    }
}

#[test]
fn a_compacted_topic_is_deleted_while_it_is_compacted_and_made_anew() {
    let folder = Folder::new("compaction-delete");
    // So slow that a pass is always under way.
    let slow = [SETTINGS, &[("log.cleaner.io.max.bytes.per.second", "20000")]].concat();
    let broker = Broker::start(folder.path(), &slow);
    let mut client = broker.client().expect("a connection");
    for _ in 0..3 {
        fill(&mut client, "t");
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(client.delete_topic("t").expect("delete"), 0);
        wait("the deletion", || !client.topics().expect("topics").contains_key("t"));
    }
    fill(&mut client, "t");
    let last = newest(&kept(&mut client, "t"));
    assert!(last.len() > KEYS as usize / 2, "{} keys", last.len());
    broker.stop();
    expect_sound(&folder.join("data"));
}
