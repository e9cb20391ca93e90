//! The topic that groups are kept in, made, grown and deleted by hand: what Kafka 3.9.1 was seen to do, and no group loses an offset.
//!
//! Java lets `__consumer_offsets` grow and keeps groups where they are until it is started anew; then it spreads them over the new
//! number of partitions, and the offsets of those that moved are gone. Here they stay where they are.

mod outside;

use outside::Folder;
use outside::client::{Client, PATIENCE, put_i32, put_string};
use outside::group::Who;
use outside::process::Broker;
use std::time::Instant;

const OFFSETS: &str = "__consumer_offsets";
const GROUPS: usize = 40;

/// CreatePartitions 1: the code.
fn grow(client: &mut Client, topic: &str, count: i32) -> i16 {
    let mut body = Vec::new();
    put_i32(&mut body, 1);
    put_string(&mut body, topic);
    put_i32(&mut body, count);
    put_i32(&mut body, -1);
    put_i32(&mut body, 10_000);
    body.push(0);
    let answer = client.call(37, 1, &body).expect("CreatePartitions");
    let name_end = 4 + 4 + 2 + topic.len();
    i16::from_be_bytes([answer[name_end], answer[name_end + 1]])
}

fn nobody() -> Who {
    Who { generation: -1, ..Default::default() }
}

fn commit_all(client: &mut Client, more: i64) {
    for n in 0..GROUPS {
        let group = format!("group-{n}");
        client.await_coordinator(&group);
        assert_eq!(client.commit(&group, &nobody(), "t", 0, n as i64 + more).expect("commit"), 0, "{group}");
    }
}

fn expect_all(client: &mut Client, more: i64, when: &str) {
    for n in 0..GROUPS {
        let group = format!("group-{n}");
        client.await_coordinator(&group);
        let (code, rows) = client.committed(&group).expect("OffsetFetch");
        let found: Vec<i64> = rows.iter().map(|row| row.2).collect();
        assert_eq!((code, found), (0, vec![n as i64 + more]), "{group} {when}");
    }
    let (code, groups) = client.list_groups().expect("ListGroups");
    assert_eq!((code, groups.len()), (0, GROUPS), "{when}");
}

#[test]
fn groups_keep_their_offsets_when_their_topic_grows_and_the_broker_starts_again() {
    let folder = Folder::new("grown-offsets");
    let settings = [("offsets.topic.num.partitions", "5"), ("offsets.topic.replication.factor", "1")];
    let broker = Broker::start(folder.path(), &settings);
    let mut client = broker.client().expect("a connection");
    assert_eq!(client.create_topic("t", 1, &[]).expect("create"), 0);
    commit_all(&mut client, 0);
    assert_eq!(client.topics().expect("Metadata")[OFFSETS], 5);
    assert_eq!(grow(&mut client, OFFSETS, 3), 37, "fewer partitions are refused as for any topic");
    assert_eq!(grow(&mut client, OFFSETS, 12), 0, "Kafka 3.9.1 lets it grow");
    assert_eq!(client.topics().expect("Metadata")[OFFSETS], 12);
    expect_all(&mut client, 0, "after the growth");
    commit_all(&mut client, 100);
    broker.kill();

    let broker = Broker::start(folder.path(), &settings);
    let mut client = broker.client().expect("a connection");
    assert_eq!(client.topics().expect("Metadata")[OFFSETS], 12);
    expect_all(&mut client, 100, "after kill -9");
    assert_eq!(grow(&mut client, OFFSETS, 20), 0, "and it grows again");
    expect_all(&mut client, 100, "after the second growth");
    broker.stop();

    let broker = Broker::start(folder.path(), &settings);
    let mut client = broker.client().expect("a connection");
    expect_all(&mut client, 100, "after a clean stop");
    broker.stop();
}

#[test]
fn with_the_offsets_topic_go_its_groups_and_a_new_one_is_spread_over_all_of_its_partitions() {
    let folder = Folder::new("deleted-offsets");
    let broker = Broker::start(folder.path(), &[("offsets.topic.replication.factor", "1")]);
    let mut client = broker.client().expect("a connection");
    assert_eq!(client.create_topic("t", 1, &[]).expect("create"), 0);
    assert_eq!(
        client.create_topic(OFFSETS, 3, &[]).expect("create"),
        0,
        "Kafka 3.9.1 lets it be made by hand"
    );
    commit_all(&mut client, 0);
    assert_eq!(grow(&mut client, OFFSETS, 6), 0);
    assert_eq!(client.delete_topic(OFFSETS).expect("delete"), 0, "Kafka 3.9.1 lets it be deleted");
    let deadline = Instant::now() + PATIENCE;
    while client.topics().expect("Metadata").contains_key(OFFSETS) {
        assert!(Instant::now() < deadline, "it is still there");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    client.await_coordinator("group-1");
    assert_eq!(client.committed("group-1").expect("OffsetFetch"), (0, vec![]), "nothing of before");
    assert_eq!(client.topics().expect("Metadata")[OFFSETS], 50, "made anew, as the settings say");
    commit_all(&mut client, 7);
    broker.kill();

    let broker = Broker::start(folder.path(), &[("offsets.topic.replication.factor", "1")]);
    let mut client = broker.client().expect("a connection");
    expect_all(&mut client, 7, "after kill -9");
    broker.stop();
}

#[test]
fn the_topic_of_transactions_can_be_made_and_grown_and_that_of_controllers_cannot() {
    let folder = Folder::new("internal-topics");
    let broker = Broker::start(folder.path(), &[]);
    let mut client = broker.client().expect("a connection");
    assert_eq!(client.create_topic("__transaction_state", 2, &[]).expect("create"), 0);
    assert_eq!(grow(&mut client, "__transaction_state", 4), 0);
    assert_eq!(client.delete_topic("__transaction_state").expect("delete"), 0);
    assert_eq!(client.create_topic("__cluster_metadata", 1, &[]).expect("create"), 42);
    broker.stop();
}
