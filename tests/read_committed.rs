//! `read_committed` fetches from directories that Java brokers wrote with transactions, committed, aborted and left open.
//!
//! What is committed is worked out from the markers in the log; what a consumer would see from the answer's list of
//! aborted transactions. Both must agree, and nothing at or beyond the last stable offset may be sent.

mod outside;

use std::collections::{BTreeMap, BTreeSet};

use outside::Folder;
use outside::client::Client;
use outside::java::unpack;
use outside::process::Broker;
use ringdaw::producer::Marker;
use ringdaw::wire::batch::{Batch, batches};
use ringdaw::wire::message::Message;
use ringdaw::wire::message::fetch::{FetchRequest, FetchRequestPartition, FetchRequestTopic, FetchResponse};
use ringdaw::wire::primitive::Reader;

struct Fetched {
    records: Vec<u8>,
    last_stable: i64,
    /// Producer and first offset; `None` for `read_uncommitted`.
    aborted: Option<Vec<(i64, i64)>>,
}

fn fetch(client: &mut Client, isolation_level: i8, offset: i64) -> Fetched {
    const VERSION: i16 = 11;
    let partition =
        FetchRequestPartition { fetch_offset: offset, partition_max_bytes: 1 << 20, ..Default::default() };
    let topic = FetchRequestTopic { topic: "txn", partitions: [partition].into(), ..Default::default() };
    let request = FetchRequest {
        max_wait_ms: 100,
        max_bytes: 1 << 20,
        isolation_level,
        topics: [topic].into(),
        ..Default::default()
    };
    let mut body = Vec::new();
    request.encode(&mut body, VERSION);
    client.send(1, VERSION, &body).expect("a request");
    let answer = client.receive().expect("an answer");
    let response = FetchResponse::decode(&mut Reader::new(&answer), VERSION).expect("a response");
    let part = &response.responses[0].partitions[0];
    assert_eq!(part.error_code, 0);
    Fetched {
        records: part.records.unwrap_or_default().to_vec(),
        last_stable: part.last_stable_offset,
        aborted: part
            .aborted_transactions
            .as_ref()
            .map(|all| all.iter().map(|one| (one.producer_id, one.first_offset)).collect()),
    }
}

/// Fetches until there is nothing more: an answer never spans two segments.
fn fetch_all(client: &mut Client, isolation_level: i8, from: i64) -> Vec<Fetched> {
    let (mut all, mut offset) = (Vec::new(), from);
    loop {
        let fetched = fetch(client, isolation_level, offset);
        let next = batches(&fetched.records).flatten().map(|(_, batch)| batch.last_offset() + 1).max();
        all.push(fetched);
        match next {
            Some(next) => offset = next,
            None => return all,
        }
    }
}

/// Offsets of data that no marker has aborted and no open transaction holds, and where the first open one begins.
fn committed_by_markers(records: &[u8]) -> (BTreeSet<i64>, Option<i64>) {
    let mut committed = BTreeSet::new();
    let mut open: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    for item in batches(records) {
        let Ok((_, Batch::Current { header, bytes })) = item else { panic!("a batch of magic 2") };
        let offsets = header.base_offset()..=header.last_offset();
        if header.is_control() {
            let marker = Marker::parse(&header, bytes).expect("a marker");
            let ended = open.remove(&marker.producer_id).unwrap_or_default();
            if marker.is_commit {
                committed.extend(ended);
            }
        } else if header.is_transactional() {
            open.entry(header.producer_id()).or_default().extend(offsets);
        } else {
            committed.extend(offsets);
        }
    }
    (committed, open.values().flatten().min().copied())
}

/// Offsets that a `read_committed` consumer hands on.
fn seen_by_a_consumer(fetched: &Fetched) -> BTreeSet<i64> {
    let mut aborted = fetched.aborted.clone().expect("a list of aborted transactions");
    aborted.sort_by_key(|(_, first)| *first);
    let mut aborted = aborted.into_iter().peekable();
    let (mut skipped, mut seen) = (BTreeSet::new(), BTreeSet::new());
    for item in batches(&fetched.records) {
        let Ok((_, Batch::Current { header, bytes })) = item else { panic!("a batch of magic 2") };
        while let Some((producer, _)) = aborted.next_if(|(_, first)| *first <= header.last_offset()) {
            skipped.insert(producer);
        }
        if header.is_control() {
            if Marker::parse(&header, bytes).is_some_and(|marker| !marker.is_commit) {
                skipped.remove(&header.producer_id());
            }
        } else if !header.is_transactional() || !skipped.contains(&header.producer_id()) {
            seen.extend(header.base_offset()..=header.last_offset());
        }
    }
    seen
}

#[test]
fn what_java_has_aborted_or_left_open_is_not_seen_from_any_offset_on() {
    let (mut aborted, mut open) = (0, 0);
    for release in ["k100", "k282", "k391"] {
        for ending in ["clean", "kill9"] {
            let folder = Folder::new("read-committed");
            let data = unpack(&format!("disk-{release}-{ending}.tar.gz"), folder.path());
            let data = data.display().to_string();
            let broker =
                Broker::start(folder.path(), &[("log.dirs", data.as_str()), ("log.retention.ms", "-1")]);
            let mut client = broker.client().expect("a connection");
            let all = fetch_all(&mut client, 0, 0);
            assert!(
                all.iter().all(|one| one.aborted.is_none()),
                "read_uncommitted is told of no aborted ones"
            );
            let records: Vec<u8> = all.iter().flat_map(|one| one.records.clone()).collect();
            let (committed, first_open) = committed_by_markers(&records);
            let ends = batches(&records).flatten().map(|(_, batch)| batch.last_offset() + 1);
            let end = ends.max().expect("data");
            let context = format!("{release} {ending}");
            let last_stable = all[0].last_stable;
            assert_eq!(last_stable, first_open.unwrap_or(end), "{context}");
            for from in 0..end {
                let mut seen = BTreeSet::new();
                for fetched in fetch_all(&mut client, 1, from) {
                    aborted += fetched.aborted.as_ref().expect("a list").len();
                    let last =
                        batches(&fetched.records).flatten().map(|(_, batch)| batch.last_offset()).max();
                    assert!(last.is_none_or(|last| last < last_stable), "{context} from {from}: {last:?}");
                    // What a consumer knows of aborted producers, it knows from this answer.
                    seen.extend(seen_by_a_consumer(&fetched).into_iter().filter(|offset| *offset >= from));
                }
                let below = committed.range(from.min(last_stable)..last_stable);
                assert_eq!(seen, below.copied().collect(), "{context} from {from}");
            }
            open += usize::from(first_open.is_some());
            broker.stop();
        }
    }
    assert!(aborted > 100 && open >= 3, "{aborted} listed, {open} directories with an open transaction");
}
