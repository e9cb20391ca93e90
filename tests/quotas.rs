//! Clients that are too fast: told how long to wait, and silent until then, while others go on.
//!
//! The windows are two of a second, so that a second's worth may pass at once. Times are only ever asserted from below.

mod outside;

use std::time::{Duration, Instant};

use outside::Folder;
use outside::batch::{NOBODY, build};
use outside::client::{Client, put_i32, put_string};
use outside::process::Broker;

const WINDOWS: [(&str, &str); 2] = [("quota.window.num", "2"), ("quota.window.size.seconds", "1")];
/// Bytes per second.
const RATE: f64 = 100_000.0;
/// In one batch: half a second more than may pass at once.
const BYTES: usize = 150_000;

/// AlterClientQuotas 0 of one client id (`None`: every other one): its code.
fn limit(client: &mut Client, id: Option<&str>, key: &str, rate: Option<f64>) -> i16 {
    let mut body = Vec::new();
    put_i32(&mut body, 1);
    put_i32(&mut body, 1);
    put_string(&mut body, "client-id");
    match id {
        Some(id) => put_string(&mut body, id),
        None => body.extend_from_slice(&(-1i16).to_be_bytes()),
    }
    put_i32(&mut body, 1);
    put_string(&mut body, key);
    body.extend_from_slice(&rate.unwrap_or(0.0).to_be_bytes());
    body.push(u8::from(rate.is_none()));
    body.push(0);
    let answer = client.call(49, 0, &body).expect("AlterClientQuotas");
    i16::from_be_bytes([answer[8], answer[9]])
}

/// Produces so many bytes; the throttle time it is told, at the end of the answer.
fn produce(client: &mut Client, bytes: usize) -> i32 {
    let batch = build(NOBODY, 1_700_000_000_000, &[vec![7; bytes]]);
    client.send_produce("t", 0, -1, &batch).expect("sent");
    throttle_of_produce(client)
}

fn throttle_of_produce(client: &mut Client) -> i32 {
    let answer = client.receive().expect("answered");
    let code = i16::from_be_bytes(answer[4 + 2 + 1 + 4 + 4..][..2].try_into().expect("a code"));
    assert_eq!(code, 0);
    i32::from_be_bytes(*answer.last_chunk().expect("a throttle time"))
}

/// The throttle time of a fetch of the first batch, at the start of the answer.
fn fetch(client: &mut Client) -> i32 {
    client.send_fetch("t", 0, 0, 0).expect("sent");
    let answer = client.receive().expect("answered");
    assert!(answer.len() > BYTES);
    i32::from_be_bytes(*answer.first_chunk().expect("a throttle time"))
}

/// The next answer comes no earlier than `throttle_ms` after `since`, a moment before the broker answered.
fn expect_silence(client: &mut Client, since: Instant, throttle_ms: i32) {
    produce(client, 1);
    let waited = since.elapsed();
    assert!(waited >= Duration::from_millis(throttle_ms as u64), "{waited:?} of {throttle_ms} ms");
}

#[test]
fn a_fast_client_is_told_to_wait_and_kept_waiting_and_nobody_else_is() {
    let folder = Folder::new("quotas");
    let broker = Broker::start(folder.path(), &WINDOWS);
    let mut admin = broker.client().expect("a connection");
    assert_eq!(admin.create_topic("t", 1, &[]).expect("CreateTopics"), 0);
    let connect = |id| Client::connect_as(id, broker.address).expect("a connection");
    let (mut fast, mut other) = (connect("fast"), connect("other"));
    assert_eq!((produce(&mut fast, BYTES), fetch(&mut fast)), (0, 0), "nobody is limited yet");

    assert_eq!(limit(&mut admin, Some("fast"), "producer_byte_rate", Some(RATE)), 0);
    let since = Instant::now();
    let throttle_ms = produce(&mut fast, BYTES);
    assert!((1..=600).contains(&throttle_ms), "{throttle_ms}");
    assert_eq!(produce(&mut other, BYTES), 0, "another client id");
    expect_silence(&mut fast, since, throttle_ms);

    // What is in flight when the silence begins is answered in order, the rest of it after the silence.
    let since = Instant::now();
    let batch = build(NOBODY, 1_700_000_000_000, &[vec![7; BYTES]]);
    for _ in 0..3 {
        fast.send_produce("t", 0, -1, &batch).expect("sent");
    }
    let told: Vec<i32> = (0..3).map(|_| throttle_of_produce(&mut fast)).collect();
    assert!(told.iter().all(|ms| *ms > 0), "{told:?}");
    expect_silence(&mut fast, since, told[2]);

    assert_eq!(fetch(&mut fast), 0, "fetching is not limited");
    assert_eq!(limit(&mut admin, None, "consumer_byte_rate", Some(RATE)), 0);
    let since = Instant::now();
    let throttle_ms = fetch(&mut other);
    assert!((1..=600).contains(&throttle_ms), "{throttle_ms}");
    expect_silence(&mut other, since, throttle_ms);
    assert_eq!(produce(&mut other, BYTES), 0, "producing is not limited by that");

    assert_eq!(limit(&mut admin, Some("fast"), "producer_byte_rate", None), 0);
    assert_eq!(limit(&mut admin, None, "consumer_byte_rate", None), 0);
    assert_eq!((produce(&mut fast, BYTES), fetch(&mut other)), (0, 0), "the limits are gone");
    broker.stop();
}

#[test]
fn a_limit_is_in_force_after_a_restart() {
    let folder = Folder::new("quotas-restart");
    let broker = Broker::start(folder.path(), &WINDOWS);
    let mut admin = broker.client().expect("a connection");
    assert_eq!(admin.create_topic("t", 1, &[]).expect("CreateTopics"), 0);
    assert_eq!(limit(&mut admin, Some("fast"), "producer_byte_rate", Some(RATE)), 0);
    broker.kill();
    let broker = Broker::start(folder.path(), &WINDOWS);
    let mut fast = Client::connect_as("fast", broker.address).expect("a connection");
    assert!(produce(&mut fast, BYTES) > 0);
    broker.stop();
}
