//! What a broker does with bytes no client should send: an error code or a closed connection, one log line, and nothing
//! that another connection notices (`FAULTS.md` 5.3, contract 1.1, 1.3 and 9).
//!
//! In: frames made by hand, sent to a real broker. Each test is named after the hole it stands for.

mod outside;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use outside::Folder;
use outside::batch::{NOBODY, build};
use outside::process::Broker;

const PATIENCE: Duration = Duration::from_secs(20);

/// A broker, and a client that must never notice anything.
struct Scene {
    broker: Broker,
    witness: outside::client::Client,
    _folder: Folder,
}

impl Scene {
    fn new(name: &str) -> Scene {
        let folder = Folder::new(name);
        let broker = Broker::start(folder.path(), &[("socket.request.max.bytes", "1000000")]);
        let mut witness = broker.client().expect("a connection");
        assert_eq!(witness.create_topic("t", 2, &[]).expect("an answer"), 0);
        Scene { broker, witness, _folder: folder }
    }

    fn address(&self) -> SocketAddr {
        self.broker.address
    }

    /// Sends raw bytes on a connection of their own.
    fn send(&self, bytes: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.address()).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.write_all(bytes).expect("a send");
        stream
    }

    /// The bytes end the connection that sent them, without an answer; the broker says so once and lives.
    fn closes(mut self, bytes: &[u8], said: &str) {
        let mut stream = self.send(bytes);
        let mut rest = Vec::new();
        match stream.read_to_end(&mut rest) {
            Ok(_) => assert!(rest.is_empty(), "no answer was due, but {} bytes came", rest.len()),
            Err(e) => {
                assert_eq!(e.kind(), std::io::ErrorKind::ConnectionReset, "the connection stays open: {e}")
            }
        }
        self.witness.api_versions().expect("the other connection is untouched");
        let log = self.broker.log();
        assert!(log.contains(said), "the log does not say {said:?}:\n{log}");
        assert!(!log.contains("panicked"), "{log}");
        self.broker.stop();
    }

    fn end(mut self) {
        self.witness.api_versions().expect("the other connection is untouched");
        let log = self.broker.log();
        assert!(!log.contains("panicked"), "{log}");
        self.broker.stop();
    }
}

fn batch_of(values: &[&str]) -> Vec<u8> {
    let values: Vec<Vec<u8>> = values.iter().map(|value| value.as_bytes().to_vec()).collect();
    build(NOBODY, 1_700_000_000_000, &values)
}

fn frame(parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    [&(body.len() as i32).to_be_bytes()[..], &body].concat()
}

fn header(key: i16, version: i16, correlation: i32) -> Vec<u8> {
    let mut bytes = [key.to_be_bytes(), version.to_be_bytes()].concat();
    bytes.extend_from_slice(&correlation.to_be_bytes());
    bytes.extend_from_slice(&(-1i16).to_be_bytes());
    bytes
}

fn answer(stream: &mut TcpStream) -> Vec<u8> {
    let mut size = [0; 4];
    stream.read_exact(&mut size).expect("an answer");
    let mut bytes = vec![0; i32::from_be_bytes(size) as usize];
    stream.read_exact(&mut bytes).expect("the rest of the answer");
    bytes
}

fn correlation(answer: &[u8]) -> i32 {
    i32::from_be_bytes(answer[..4].try_into().expect("four bytes"))
}

#[test]
fn size_zero() {
    Scene::new("size-zero").closes(&0i32.to_be_bytes(), "connection closed");
}

#[test]
fn size_negative() {
    Scene::new("size-negative").closes(&(-5i32).to_be_bytes(), "-5");
}

#[test]
fn size_above_the_limit() {
    Scene::new("size-large").closes(&1_000_001i32.to_be_bytes(), "socket.request.max.bytes");
}

#[test]
fn http_get() {
    Scene::new("http-get").closes(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "connection closed");
}

#[test]
fn tls_to_plain() {
    // The start of a TLS ClientHello, read as a frame size of 369 MB.
    Scene::new("tls-to-plain")
        .closes(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc], "connection closed");
}

#[test]
fn bad_api_key() {
    Scene::new("bad-api-key").closes(&frame(&[&header(999, 0, 1)]), "999");
}

#[test]
fn unlisted_api_key() {
    // LeaderAndIsr is Kafka's, but not for clients of this broker.
    Scene::new("unlisted-key").closes(&frame(&[&header(4, 0, 1)]), "LeaderAndIsr");
}

#[test]
fn bad_version() {
    Scene::new("bad-version").closes(&frame(&[&header(3, 99, 1)]), "99");
}

#[test]
fn header_only() {
    // A Metadata request that ends with its header.
    Scene::new("header-only").closes(&frame(&[&header(3, 1, 1)]), "Metadata version 1");
}

#[test]
fn header_cut_short() {
    Scene::new("header-cut").closes(&frame(&[&[0, 3, 0]]), "header");
}

#[test]
fn metadata_array_54m() {
    let lie = 54_000_000i32.to_be_bytes();
    Scene::new("array-54m").closes(&frame(&[&header(3, 1, 1), &lie]), "array");
}

#[test]
fn tagged_20m() {
    // A flexible Metadata header that announces twenty million tagged fields.
    let many = [0x80, 0xda, 0xc4, 0x09];
    let fields: Vec<u8> = (0..4000).flat_map(|_| [1u8, 0]).collect();
    Scene::new("tagged-20m").closes(&frame(&[&header(3, 9, 1), &many, &fields]), "tagged");
}

#[test]
fn apiversions_unknown_version() {
    let scene = Scene::new("apiversions-99");
    // The body at an unknown version cannot be known: garbage in it must not matter.
    let mut stream = scene.send(&frame(&[&header(18, 99, 7), &[0, 0xff, 0xff, 0xff, 0xff, 0xff]]));
    let bytes = answer(&mut stream);
    assert_eq!(correlation(&bytes), 7);
    assert_eq!(&bytes[4..6], &35i16.to_be_bytes(), "UNSUPPORTED_VERSION in a version-0 body");
    assert_eq!(&bytes[6..10], &1i32.to_be_bytes(), "one entry");
    assert_eq!(&bytes[10..16], &[0, 18, 0, 0, 0, 4], "ApiVersions 0 to 4");
    assert_eq!(bytes.len(), 16);
    // The connection goes on.
    stream.write_all(&frame(&[&header(18, 0, 8)])).expect("a send");
    assert_eq!(correlation(&answer(&mut stream)), 8);
    scene.end();
}

#[test]
fn null_client_id_and_trailing_bytes() {
    let scene = Scene::new("null-client-id");
    let mut stream = scene.send(&frame(&[&header(18, 0, 3), b"bytes behind the body"]));
    let bytes = answer(&mut stream);
    assert_eq!((correlation(&bytes), &bytes[4..6]), (3, &[0u8, 0][..]));
    scene.end();
}

#[test]
fn negative_array_count_reads_as_null() {
    let scene = Scene::new("negative-count");
    let mut stream = scene.send(&frame(&[&header(3, 1, 3), &(-2i32).to_be_bytes()]));
    let bytes = answer(&mut stream);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    assert!(text.contains('t'), "all topics are listed");
    scene.end();
}

#[test]
fn frames_byte_by_byte_are_answered() {
    let scene = Scene::new("byte-by-byte");
    let mut stream = scene.send(&[]);
    stream.set_nodelay(true).expect("no delay");
    for request in 0..3 {
        for byte in frame(&[&header(18, 0, request)]) {
            stream.write_all(&[byte]).expect("a send");
        }
        assert_eq!(correlation(&answer(&mut stream)), request);
    }
    scene.end();
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let scene = Scene::new("pipelined");
    let batch = batch_of(&["a", "b"]);
    let mut bytes = Vec::new();
    let mut expected = Vec::new();
    for number in 0..300 {
        expected.push(number);
        match number % 3 {
            0 => bytes.extend(frame(&[&header(18, 0, number)])),
            // Metadata for one topic that does not exist.
            1 => bytes.extend(frame(&[&header(3, 1, number), &[0, 0, 0, 1, 0, 2, b'n', b'o']])),
            _ => bytes.extend(frame(&[&header(0, 3, number), &produce_body("t", number % 2, -1, &batch)])),
        }
    }
    let mut stream = scene.send(&bytes);
    for number in expected {
        assert_eq!(correlation(&answer(&mut stream)), number);
    }
    scene.end();
}

/// The body of Produce version 3 to 7 with one batch.
fn produce_body(topic: &str, partition: i32, acks: i16, batch: &[u8]) -> Vec<u8> {
    let mut body = (-1i16).to_be_bytes().to_vec();
    body.extend(acks.to_be_bytes());
    body.extend(5000i32.to_be_bytes());
    body.extend(1i32.to_be_bytes());
    body.extend((topic.len() as i16).to_be_bytes());
    body.extend(topic.as_bytes());
    body.extend(1i32.to_be_bytes());
    body.extend(partition.to_be_bytes());
    body.extend((batch.len() as i32).to_be_bytes());
    body.extend(batch);
    body
}

/// Sends one Produce version 3 and returns the partition's error code.
fn produced_code(scene: &Scene, topic: &str, partition: i32, acks: i16, batch: &[u8]) -> i16 {
    let mut stream = scene.send(&frame(&[&header(0, 3, 1), &produce_body(topic, partition, acks, batch)]));
    let bytes = answer(&mut stream);
    // correlation 4, topics 4, name 2 + n, partitions 4, index 4, then the code
    let at = 4 + 4 + 2 + topic.len() + 4 + 4;
    i16::from_be_bytes(bytes[at..at + 2].try_into().expect("two bytes"))
}

#[test]
fn damaged_batches_get_the_codes_of_the_contract() {
    let mut scene = Scene::new("damaged-batches");
    let good = batch_of(&["value one", "value two"]);
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut batch = good.clone();
        change(&mut batch);
        batch
    };
    let sealed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut batch = with(change);
        let crc = crc32c::crc32c(&batch[21..]);
        batch[17..21].copy_from_slice(&crc.to_be_bytes());
        batch
    };
    let code = |batch: &[u8]| produced_code(&scene, "t", 0, -1, batch);
    assert_eq!(code(&good), 0);
    assert_eq!(code(&[]), 87, "no batch");
    assert_eq!(code(&with(&|b| b[17..21].fill(0))), 2, "crc-zero");
    assert_eq!(code(&with(&|b| *b.last_mut().expect("bytes") ^= 1)), 2, "a flipped bit");
    assert_eq!(code(&sealed(&|b| b[22] |= 0x20)), 87, "control-batch-from-client");
    assert_eq!(code(&sealed(&|b| b[26] = 9)), 87, "last-offset-delta-lie");
    assert_eq!(
        code(&sealed(&|b| b[57..61].copy_from_slice(&i32::MAX.to_be_bytes()))),
        87,
        "records-count-lie"
    );
    assert_eq!(code(&[&good[..], &good[..]].concat()), 87, "two batches");
    assert_ne!(
        code(&with(&|b| b[8..12].copy_from_slice(&(-1i32).to_be_bytes()))),
        0,
        "batch-length-negative"
    );
    assert_ne!(code(&good[..good.len() - 3]), 0, "a cut batch");
    assert_ne!(code(&good[..30]), 0, "a cut header");
    assert_eq!(code(&sealed(&|b| b[22] |= 0x10)), 53, "transactional without an id");
    assert_eq!(produced_code(&scene, "t", 7, -1, &good), 3, "no such partition");
    assert_eq!(produced_code(&scene, "nope", 0, -1, &good), 3, "no such topic");
    assert_eq!(produced_code(&scene, "t", 0, 7, &good), 21, "acks 7");
    // Exactly what was good is there.
    let read = scene.witness.read_batches("t", 0, 0).expect("the log");
    assert_eq!(read.len(), 1);
    scene.end();
}

#[test]
fn acks_0_gets_no_answer_and_an_error_ends_the_connection() {
    let mut scene = Scene::new("acks-0");
    let batch = batch_of(&["x"]);
    let good = frame(&[&header(0, 3, 1), &produce_body("t", 0, 0, &batch)]);
    let mut stream = scene.send(&[good, frame(&[&header(18, 0, 2)])].concat());
    assert_eq!(correlation(&answer(&mut stream)), 2, "the first answer is the second request's");
    stream.write_all(&frame(&[&header(0, 3, 3), &produce_body("nope", 0, 0, &batch)])).expect("a send");
    let mut rest = Vec::new();
    let closed = stream.read_to_end(&mut rest);
    assert!(closed.is_err() || rest.is_empty(), "an error under acks=0 closes the connection");
    assert_eq!(scene.witness.read_batches("t", 0, 0).expect("the log").len(), 1);
    scene.end();
}

#[test]
fn an_empty_message_set_of_produce_2_appends_nothing_and_is_no_error() {
    let scene = Scene::new("produce-2");
    let mut body = (-1i16).to_be_bytes().to_vec();
    body.extend(5000i32.to_be_bytes());
    body.extend([0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 1, 0, 0, 0, 0]);
    body.extend(0i32.to_be_bytes());
    let mut stream = scene.send(&frame(&[&header(0, 2, 9), &body]));
    let bytes = answer(&mut stream);
    assert_eq!(correlation(&bytes), 9);
    let at = 4 + 4 + 2 + 1 + 4 + 4;
    assert_eq!(&bytes[at..at + 2], &0i16.to_be_bytes());
    assert_eq!(&bytes[at + 2..at + 10], &(-1i64).to_be_bytes());
    scene.end();
}

#[test]
fn fetch_same_partition_10k() {
    let mut scene = Scene::new("fetch-10k");
    let batch = batch_of(&["only once"]);
    scene.witness.produce("t", 0, &batch).expect("an answer");
    let mut body = (-1i32).to_be_bytes().to_vec(); // replica
    body.extend(0i32.to_be_bytes()); // max wait
    body.extend(1i32.to_be_bytes()); // min bytes
    body.extend(1_000_000i32.to_be_bytes());
    body.push(0);
    body.extend([0, 0, 0, 1, 0, 1, b't']);
    body.extend(10_000i32.to_be_bytes());
    for _ in 0..10_000 {
        body.extend(0i32.to_be_bytes());
        body.extend(0i64.to_be_bytes());
        body.extend(1_000_000i32.to_be_bytes());
    }
    let mut stream = scene.send(&frame(&[&header(1, 4, 5), &body]));
    let bytes = answer(&mut stream);
    assert_eq!(correlation(&bytes), 5);
    assert!(
        bytes.len() < 1000,
        "a partition named ten thousand times is answered once, not in {} bytes",
        bytes.len()
    );
    scene.end();
}

#[test]
fn ten_thousand_announced_megabytes_cost_nothing() {
    let scene = Scene::new("announced");
    let resident = |pid: u32| -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the broker's status");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS").to_owned();
        line.split_whitespace().nth(1).expect("a number").parse().expect("a number")
    };
    let before = resident(scene.broker.pid());
    // 500 connections announce 900 kB each and send one byte of it.
    let streams: Vec<TcpStream> =
        (0..500).map(|_| scene.send(&[&900_000i32.to_be_bytes()[..], &[0]].concat())).collect();
    let mut stream = scene.send(&frame(&[&header(18, 0, 1)]));
    assert_eq!(correlation(&answer(&mut stream)), 1);
    let growth = resident(scene.broker.pid()).saturating_sub(before);
    assert!(growth <= 16 * 500, "{growth} KiB for {} connections", streams.len());
    drop(streams);
    scene.end();
}
