//! What a broker says it speaks, key by key and bound by bound, against what Java Kafka 3.9.1 said in ZooKeeper mode.
//!
//! `golden/api_versions.txt` holds Java's answer; where Java can be had, it is asked again. What is not there yet, or is left out for
//! good, is listed here by key with its reason, and a row that has come to be needless fails the test.

mod outside;

use outside::java::{self, ZooKeeper};
use outside::process::Broker;
use outside::{Folder, skip};
use std::collections::BTreeMap;
use std::fmt::Write;

type Table = BTreeMap<i16, (i16, i16)>;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/api_versions.txt");

/// Keys that Java lists and we do not.
const ABSENT: &[(&[i16], &str)] = &[
    (&[58], "Envelope: no request is forwarded where ZooKeeper is"),
    (&[17, 36], "SASL"),
    (&[24, 25, 26, 27, 28, 65, 66], "transactions"),
    (&[34], "AlterReplicaLogDirs"),
    (&[38, 39, 40, 41], "delegation tokens"),
    (&[68, 69], "Java answers both with UNSUPPORTED_VERSION, and franz-go takes the listing for a promise"),
];

/// Keys where a bound differs: ours, and why.
const NARROWER: &[(i16, (i16, i16), &str)] =
    &[(2, (1, 9), "ListOffsets 0 lists the first offsets of segments; no client of this century asks so")];

fn golden() -> Table {
    let text = std::fs::read_to_string(GOLDEN).expect("the table");
    let rows = text.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let numbers: Vec<i16> = line.split(' ').map(|word| word.parse().expect("a number")).collect();
        (numbers[0], (numbers[1], numbers[2]))
    });
    rows.collect()
}

#[test]
fn the_table_is_javas_but_for_what_is_listed_here() {
    let folder = Folder::new("api-versions");
    let broker = Broker::start(folder.path(), &[]);
    let ours = broker.client().expect("a connection").api_versions().expect("ApiVersions");
    broker.stop();
    let java = golden();
    assert_eq!(java.len(), 62, "contract 9: 62 keys");
    let mut expected = java.clone();
    for (keys, why) in ABSENT {
        for key in *keys {
            assert!(expected.remove(key).is_some(), "{key} ({why}) is not in Java's table");
        }
    }
    for (key, versions, why) in NARROWER {
        let at = expected.get_mut(key).expect("a key of Java's table");
        assert!(*at != *versions && at.0 <= versions.0 && versions.1 <= at.1, "{key}: {why}");
        *at = *versions;
    }
    assert_eq!(ours, expected);
}

#[test]
fn the_golden_table_is_what_java_kafka_answers() {
    if let Some(why) = java::missing() {
        return skip("the_golden_table_is_what_java_kafka_answers", &why);
    }
    let folder = Folder::new("java-api-versions");
    let zookeeper = ZooKeeper::start(folder.path());
    let broker = zookeeper.start_broker(&[("broker.id", "1")]);
    let mut client = outside::client::Client::connect(broker.address).expect("a connection");
    let answered = client.api_versions().expect("ApiVersions");
    drop(client);
    broker.stop();
    if std::env::var_os("RINGDAW_WRITE_GOLDEN").is_some() {
        let old = std::fs::read_to_string(GOLDEN).expect("the table");
        let mut text: String =
            old.lines().filter(|line| line.starts_with('#')).map(|line| format!("{line}\n")).collect();
        for (key, (first, last)) in &answered {
            writeln!(text, "{key} {first} {last}").expect("a String takes it");
        }
        std::fs::write(GOLDEN, text).expect("the table");
    }
    assert_eq!(answered, golden());
}
