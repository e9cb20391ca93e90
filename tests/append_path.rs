//! The append path beside Java Kafka: the same requests of every age to topics of every setting, and what each broker
//! answers, keeps and gives back to readers of every age.
//!
//! `golden/append_path.txt.gz` is what Java Kafka 3.9.1 said, line by line; ours must say the same. Where Java can be
//! had, the file itself is checked too (`RINGDAW_TEST_WRITE_GOLDEN=1` writes it).

mod outside;

use outside::client::Client;
use outside::java::{self, ZooKeeper};
use outside::process::Broker;
use outside::{Folder, skip};
use ringdaw::wire::batch::{Batch, batches, seal, stamp_log_append_time};
use ringdaw::wire::batch_builder::BatchBuilder;
use ringdaw::wire::compression::{Codec, Decompressor};
use ringdaw::wire::legacy::{Compressed, LegacyMessage, put_entry};
use ringdaw::wire::message::Message;
use ringdaw::wire::message::fetch::{FetchRequest, FetchRequestPartition, FetchRequestTopic, FetchResponse};
use ringdaw::wire::message::produce::{
    ProduceRequest, ProduceRequestPartitionData, ProduceRequestTopicData, ProduceResponse,
};
use ringdaw::wire::primitive::Reader;
use ringdaw::wire::record::Records;
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::path::Path;

const TIME: i64 = 1_700_000_000_000;
/// Years that reach from 2023 to any day these tests may run, and not to 1970.
const FIFTY_YEARS_MS: &str = "1576800000000";

const TOPICS: &[(&str, &[(&str, &str)])] = &[
    ("plain", &[]),
    ("uncompressed", &[("compression.type", "uncompressed")]),
    ("gzip", &[("compression.type", "gzip")]),
    ("snappy", &[("compression.type", "snappy")]),
    ("lz4", &[("compression.type", "lz4")]),
    ("zstd", &[("compression.type", "zstd")]),
    ("append-time", &[("message.timestamp.type", "LogAppendTime")]),
    ("append-time-lz4", &[("message.timestamp.type", "LogAppendTime"), ("compression.type", "lz4")]),
    ("compacted", &[("cleanup.policy", "compact")]),
    ("compacted-gzip", &[("cleanup.policy", "compact"), ("compression.type", "gzip")]),
    (
        "bounded",
        &[("message.timestamp.before.max.ms", FIFTY_YEARS_MS), ("message.timestamp.after.max.ms", "3600000")],
    ),
    ("small", &[("max.message.bytes", "400")]),
    ("small-uncompressed", &[("max.message.bytes", "400"), ("compression.type", "uncompressed")]),
    ("no-old-readers", &[("message.downconversion.enable", "false")]),
];

fn batch(codec: Codec, make: impl FnOnce(&mut BatchBuilder)) -> Vec<u8> {
    let mut builder = BatchBuilder::new(codec);
    make(&mut builder);
    builder.build()
}

fn three(codec: Codec) -> Vec<u8> {
    batch(codec, |b| {
        b.append(TIME, Some(b"k0"), Some(&[b'v'; 90]), &[("h", Some(b"1")), ("n", None)]);
        b.append(TIME + 20, Some(b"k1"), None, &[]);
        b.append(TIME + 10, Some(b""), Some(b""), &[]);
    })
}

fn message_set(magic: u8, codec: Codec) -> Vec<u8> {
    let (mut plain, mut inner, mut out) = (Vec::new(), Vec::new(), Vec::new());
    let mut wrapper = Compressed::default();
    for n in 0..3i64 {
        let (key, value) = ([b'a' + n as u8], [b'0' + n as u8; 40]);
        let value = (n != 1).then_some(&value[..]);
        let message = LegacyMessage { offset: n, timestamp: TIME + n, key: Some(&key), value, crc: 0 };
        put_entry(&mut plain, magic, 0, &message);
        wrapper.put(&mut inner, magic, 0, message);
    }
    if codec == Codec::None {
        return plain;
    }
    wrapper.finish(&mut out, magic, codec, false, &inner);
    out
}

/// Every request: what it is, the version of Produce, the records.
fn requests() -> Vec<(String, i16, Vec<u8>)> {
    let mut all = Vec::new();
    for codec in Codec::ALL {
        let versions: &[i16] = if codec == Codec::Zstd { &[3, 7] } else { &[2, 3, 8] };
        for version in versions {
            all.push((format!("batch {codec}"), *version, three(codec)));
        }
    }
    for magic in [0u8, 1] {
        for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4] {
            let version = if magic == 0 { 1 } else { 2 };
            all.push((format!("magic {magic} {codec}"), version, message_set(magic, codec)));
        }
    }
    let mut cut = message_set(1, Codec::None);
    cut.truncate(cut.len() - 3);
    all.push(("magic 1 cut".to_owned(), 2, cut));
    all.push(("magic 1 cut in the first".to_owned(), 2, message_set(1, Codec::None)[..30].to_vec()));
    all.push(("empty set".to_owned(), 2, Vec::new()));
    all.push(("magic 1 in version 3".to_owned(), 3, message_set(1, Codec::None)));
    let mixed = [message_set(1, Codec::None), message_set(0, Codec::None)].concat();
    all.push(("mixed magics".to_owned(), 2, mixed));
    let two = [message_set(1, Codec::Gzip), message_set(1, Codec::Gzip)].concat();
    all.push(("two wrappers".to_owned(), 2, two));
    let mut damaged = message_set(1, Codec::None);
    *damaged.last_mut().expect("bytes") ^= 1;
    all.push(("damaged".to_owned(), 2, damaged));
    for codec in [Codec::None, Codec::Lz4] {
        let keyless = batch(codec, |b| {
            b.append(TIME, None, Some(b"no key"), &[]);
            b.append(TIME, Some(b"k"), Some(b"a key"), &[]);
            b.append(TIME, None, Some(b"no key either"), &[]);
        });
        all.push((format!("keyless {codec}"), 8, keyless));
        let times = batch(codec, |b| {
            b.append(TIME, Some(b"k"), Some(b"now"), &[]);
            b.append(1_000, Some(b"k"), Some(b"long ago"), &[]);
            b.append(9_000_000_000_000, Some(b"k"), Some(b"far away"), &[]);
            b.append(-1, Some(b"k"), Some(b"never"), &[]);
        });
        all.push((format!("times {codec}"), 8, times));
        let both = batch(codec, |b| {
            b.append(1_000, None, Some(b"long ago and no key"), &[]);
            b.append(TIME, None, Some(b"no key"), &[]);
        });
        all.push((format!("times and keys {codec}"), 8, both));
        let mut wrong_newest = three(codec);
        wrong_newest[35..43].copy_from_slice(&(TIME + 999).to_be_bytes());
        seal(&mut wrong_newest);
        all.push((format!("wrong newest timestamp {codec}"), 8, wrong_newest));
        let mut append_time = three(codec);
        stamp_log_append_time(&mut append_time, TIME + 500);
        all.push((format!("claims append time {codec}"), 8, append_time));
    }
    for bytes in [100, 5_000] {
        let large = batch(Codec::Zstd, |b| b.append(TIME, Some(b"k"), Some(&vec![b'x'; bytes]), &[]));
        all.push((format!("{bytes} in zstd"), 8, large));
        let large = batch(Codec::None, |b| b.append(TIME, Some(b"k"), Some(&vec![b'x'; bytes]), &[]));
        all.push((format!("{bytes} plain"), 8, large));
    }
    all
}

fn call<T>(
    client: &mut Client,
    key: i16,
    version: i16,
    request: &[u8],
    read: impl FnOnce(&mut Reader<'_>) -> T,
) -> T {
    client.send(key, version, request).expect("a request");
    let body = client.receive().expect("an answer");
    read(&mut Reader::new(&body))
}

fn produce(client: &mut Client, topic: &str, version: i16, records: &[u8]) -> String {
    let partition = ProduceRequestPartitionData { index: 0, records: Some(records) };
    let request = ProduceRequest {
        acks: -1,
        timeout_ms: 30_000,
        topic_data: [ProduceRequestTopicData { name: topic, partition_data: [partition].into() }].into(),
        ..Default::default()
    };
    let mut body = Vec::new();
    request.encode(&mut body, version);
    call(client, 0, version, &body, |reader| {
        let response = ProduceResponse::decode(reader, version).expect("an answer");
        let part = &response.responses[0].partition_responses[0];
        let stamped = if part.log_append_time_ms >= 0 { ", append time" } else { "" };
        let errors: Vec<i32> = part.record_errors.iter().map(|error| error.batch_index).collect();
        format!("code {}, offset {}{stamped}, records {errors:?}", part.error_code, part.base_offset)
    })
}

/// Code and records of one fetch.
fn fetch(client: &mut Client, topic: &str, version: i16, offset: i64, bytes_max: i32) -> (i16, Vec<u8>) {
    let partition =
        FetchRequestPartition { fetch_offset: offset, partition_max_bytes: bytes_max, ..Default::default() };
    let request = FetchRequest {
        max_wait_ms: 100,
        min_bytes: 0,
        topics: [FetchRequestTopic { topic, partitions: [partition].into(), ..Default::default() }].into(),
        ..Default::default()
    };
    let mut body = Vec::new();
    request.encode(&mut body, version);
    call(client, 1, version, &body, |reader| {
        let response = FetchResponse::decode(reader, version).expect("an answer");
        let part = &response.responses[0].partitions[0];
        (part.error_code, part.records.unwrap_or_default().to_vec())
    })
}

fn bytes(field: Option<&[u8]>) -> String {
    match field {
        None => "null".to_owned(),
        Some(bytes) if bytes.len() > 12 => format!("{} bytes", bytes.len()),
        Some(bytes) => format!("{:?}", String::from_utf8_lossy(bytes)),
    }
}

/// Kept batches and their records. Times of appends are masked.
fn describe(stored: &[u8], out: &mut String) {
    let time = |ms: i64| {
        if ms > TIME + 1_000_000_000 && ms < 9_000_000_000_000 { "now".to_owned() } else { ms.to_string() }
    };
    for item in batches(stored) {
        let Ok((_, batch)) = item else { break };
        match batch {
            Batch::Current { header, bytes: whole } => {
                assert!(header.crc_matches(whole));
                let codec = header.codec().expect("a codec");
                let attributes = header.attributes();
                let newest = time(header.max_timestamp());
                writeln!(
                    out,
                    "  {}..{} {codec} attributes {attributes} newest {newest}",
                    header.base_offset(),
                    header.last_offset()
                )
                .expect("text");
                let mut plain = Vec::new();
                let records = Records::of(whole, &header, &mut Decompressor::new(), &mut plain, 1 << 20);
                for record in records.expect("records") {
                    let record = record.expect("a record");
                    let (offset, ms) = (record.offset(&header), time(record.timestamp(&header)));
                    let (key, value, headers) =
                        (bytes(record.key), bytes(record.value), record.headers.len());
                    writeln!(out, "    {offset} at {ms} {key} {value}, {headers} headers").expect("text");
                }
            }
            // Java fills up what conversion has made smaller.
            Batch::Legacy(entry) if entry.offset() < 0 => {}
            Batch::Legacy(entry) => {
                assert!(entry.crc_matches());
                let (magic, codec) = (entry.magic(), entry.codec().expect("a codec"));
                writeln!(out, "  magic {magic} {codec} {} at {}", entry.offset(), time(entry.timestamp()))
                    .expect("text");
                if codec == Codec::None {
                    let (key, value) = entry.key_and_value().expect("key and value");
                    writeln!(out, "    {} {}", bytes(key), bytes(value)).expect("text");
                    continue;
                }
                entry
                    .messages(&mut Decompressor::new(), &mut Vec::new(), 1 << 20, |message| {
                        let (key, value) = (bytes(message.key), bytes(message.value));
                        let ms = time(message.timestamp);
                        writeln!(out, "    {} at {ms} {key} {value}", message.offset).expect("text");
                    })
                    .expect("messages");
            }
        }
    }
}

/// Everything one broker says, as text.
fn transcript(client: &mut Client) -> String {
    let mut out = String::new();
    let requests = requests();
    for (topic, configs) in TOPICS {
        // A Java broker answers before its controller knows of it, and before it knows the leader of a new topic.
        wait(|| matches!(client.create_topic(topic, 1, configs).expect("create"), 0 | 36));
        wait(|| client.offset_at(topic, 0, -1).expect("ListOffsets").0 == 0);
        writeln!(out, "# {topic}").expect("text");
        for (name, version, records) in &requests {
            let said = produce(client, topic, *version, records);
            writeln!(out, "{name}, version {version}: {said}").expect("text");
        }
        for version in [4, 10] {
            let (code, stored) = fetch(client, topic, version, 0, 1 << 20);
            writeln!(out, "fetch {version}: code {code}").expect("text");
            if version == 10 {
                describe(&stored, &mut out);
            }
        }
        let end = client.offset_at(topic, 0, -1).expect("ListOffsets").1;
        for version in 0..=3 {
            let mut offset = 1;
            writeln!(out, "old readers, fetch {version}").expect("text");
            while offset < end {
                let (code, stored) = fetch(client, topic, version, offset, 600);
                // Where an answer ends depends on how small the records were before and became after conversion.
                if code != 0 {
                    writeln!(out, " from {offset}: code {code}").expect("text");
                }
                describe(&stored, &mut out);
                let last = batches(&stored).map_while(Result::ok).map(|(_, b)| b.last_offset()).max();
                offset = last.filter(|last| *last >= offset).unwrap_or(offset) + 1;
            }
        }
        // A first batch that is larger than the reader allows.
        for version in [2, 3, 10] {
            let (code, stored) = fetch(client, topic, version, 0, 10);
            let some = if stored.is_empty() { "nothing" } else { "something" };
            writeln!(out, "fetch {version} of at most 10 bytes: code {code}, {some}").expect("text");
        }
    }
    out
}

fn wait(mut until: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + outside::client::PATIENCE;
    while !until() {
        assert!(std::time::Instant::now() < deadline, "it did not happen in time");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

fn golden_path() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/append_path.txt.gz")
}

fn read_golden() -> String {
    let mut text = String::new();
    let file = std::fs::File::open(golden_path()).expect("the golden file");
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).expect("the golden file");
    text
}

fn write_golden(text: &str) {
    let file = std::fs::File::create(golden_path()).expect("the golden file");
    let mut out = flate2::write::GzEncoder::new(file, flate2::Compression::best());
    out.write_all(text.as_bytes()).expect("the golden file");
    out.finish().expect("the golden file");
}

/// Lines that differ, each with the topic and the heading it stands under.
fn differences(ours: &str, java: &str) -> Vec<String> {
    let mut found = Vec::new();
    let topics = |text: &str| -> Vec<String> { text.split("# ").skip(1).map(str::to_owned).collect() };
    let (ours, java) = (topics(ours), topics(java));
    assert_eq!(ours.len(), java.len(), "topics");
    for (ours, java) in ours.iter().zip(&java) {
        let topic = ours.lines().next().unwrap_or_default();
        let mut heading = "";
        let pairs = ours.lines().zip(java.lines()).filter(|(ours, java)| {
            if !ours.starts_with(' ') {
                heading = ours;
            }
            ours != java
        });
        let first: Vec<String> =
            pairs.take(8).map(|(ours, java)| format!("{topic}: we say {ours:?}, Java {java:?}")).collect();
        if !first.is_empty() {
            found.push(format!("under or before {heading:?}"));
        }
        found.extend(first);
        let (many, few) = (ours.lines().count(), java.lines().count());
        if many != few {
            found.push(format!("{topic}: we say {many} lines, Java {few}"));
        }
    }
    found
}

#[test]
fn every_request_to_every_topic_ends_as_on_java_kafka() {
    let folder = Folder::new("append-path");
    let broker = Broker::start(folder.path(), &[]);
    let ours = transcript(&mut broker.client().expect("a connection"));
    broker.stop();
    let java = read_golden();
    let found = differences(&ours, &java);
    assert!(found.is_empty(), "{} lines differ:\n{}", found.len(), found[..found.len().min(60)].join("\n"));
}

#[test]
fn java_kafka_still_says_what_the_golden_file_says() {
    if let Some(why) = java::missing() {
        return skip("java_kafka_still_says_what_the_golden_file_says", &why);
    }
    let folder = Folder::new("append-path-java");
    let java = ZooKeeper::start(folder.path()).start_broker(&[]);
    let said = transcript(&mut Client::connect(java.address).expect("a connection"));
    java.stop();
    if std::env::var_os("RINGDAW_TEST_WRITE_GOLDEN").is_some() {
        write_golden(&said);
    }
    let golden = read_golden();
    let found = differences(&golden, &said);
    assert!(found.is_empty(), "{}", found.join("\n"));
}
