//! What Java brokers wrote into ZooKeeper is read, and written again byte by byte.
//!
//! `golden/znodes.jsonl.gz` holds every create and setData that brokers of 1.0.0, 2.8.2 and 3.9.1 sent in a series of 35 steps
//! (at protocols 1.0, 2.6, 2.8 and 3.9), once each. Topic ids are replaced by numbered ones, times by one fixed time.

use std::collections::BTreeMap;
use std::io::Read;

use ringdaw::config::version::Version;
use ringdaw::metadata::zookeeper::znode::{
    self, BrokerNode, ControllerNode, ProducerIdBlock, StateNode, TopicNode,
};
use serde_json::Value;

struct Golden {
    release: String,
    protocol: Version,
    path: String,
    data: String,
}

fn golden() -> Vec<Golden> {
    let mut text = String::new();
    flate2::read::GzDecoder::new(&include_bytes!("golden/znodes.jsonl.gz")[..])
        .read_to_string(&mut text)
        .unwrap();
    let line = |line: &str| {
        let value: Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| value[key].as_str().unwrap().to_owned();
        let protocol = Version::parse(&text("protocol")).unwrap();
        Golden { release: text("release"), protocol, path: text("path"), data: text("data") }
    };
    text.lines().map(line).collect()
}

/// The kind of a node, and its data decoded and encoded again.
fn again(node: &Golden) -> (&'static str, Vec<u8>) {
    let (path, data) = (node.path.as_str(), node.data.as_bytes());
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    match parts[..] {
        ["cluster", "id"] => {
            ("cluster id", znode::encode_cluster_id(&znode::decode_cluster_id(data).unwrap()))
        }
        ["brokers", "ids", _] => ("broker", BrokerNode::decode(path, data).unwrap().encode(node.protocol)),
        ["brokers", "topics", _] => ("topic", TopicNode::decode(path, data).unwrap().encode()),
        ["brokers", "topics", _, "partitions", _, "state"] => {
            ("state", StateNode::decode(path, data).unwrap().encode())
        }
        ["controller"] => ("controller", ControllerNode::decode(data).unwrap().encode()),
        ["controller_epoch"] => {
            ("controller epoch", znode::decode_controller_epoch(data).unwrap().to_string().into_bytes())
        }
        ["feature"] => ("feature", znode::encode_feature(node.protocol)),
        ["latest_producer_id_block"] => ("producer ids", ProducerIdBlock::decode(data).unwrap().encode()),
        ["config", "changes", _] => {
            let changed = znode::decode_config_change(path, data).unwrap();
            ("config change", znode::encode_config_change(&changed))
        }
        ["config", ..] => ("config", znode::encode_config(&znode::decode_config(path, data).unwrap())),
        ["isr_change_notification", _] => {
            ("isr change", znode::encode_partitions(&znode::decode_partitions(path, data).unwrap()))
        }
        ["log_dir_event_notification", _] => {
            let broker = znode::decode_log_dir_event(path, data).unwrap();
            ("log dir event", znode::encode_log_dir_event(broker))
        }
        ["admin", "reassign_partitions"] => {
            ("reassignment", znode::encode_reassignment(&znode::decode_reassignment(data).unwrap()))
        }
        // Offsets of consumers before 0.9: plain numbers.
        ["consumers", ..] => ("consumer", data.to_vec()),
        _ => panic!("no kind of node is known for {path}"),
    }
}

#[test]
fn every_node_of_3_9_is_read_and_written_again_byte_by_byte() {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for node in golden().iter().filter(|node| node.release == "391") {
        let (kind, bytes) = again(node);
        assert_eq!(String::from_utf8(bytes).unwrap(), node.data, "{} at {}", node.path, node.protocol);
        *counts.entry(kind).or_default() += 1;
    }
    for kind in [
        "broker",
        "cluster id",
        "config",
        "config change",
        "controller",
        "controller epoch",
        "feature",
        "isr change",
        "log dir event",
        "producer ids",
        "reassignment",
        "state",
        "topic",
    ] {
        assert!(counts.get(kind).is_some_and(|count| *count > 0), "no {kind} in the golden file: {counts:?}");
    }
}

/// Older releases order keys differently, and readers must not care: what they wrote means the same to us after
/// we have written it.
#[test]
fn every_node_of_older_releases_keeps_its_meaning() {
    let mut compared = 0;
    for node in golden().iter().filter(|node| node.release != "391") {
        let (kind, bytes) = again(node);
        let after = Golden {
            data: String::from_utf8(bytes).unwrap(),
            release: node.release.clone(),
            path: node.path.clone(),
            ..*node
        };
        assert_eq!(again(&after), (kind, after.data.clone().into_bytes()), "{}", node.path);
        let path = node.path.as_str();
        let same = match kind {
            "broker" => {
                BrokerNode::decode(path, node.data.as_bytes())
                    == BrokerNode::decode(path, after.data.as_bytes())
            }
            "topic" => {
                TopicNode::decode(path, node.data.as_bytes())
                    == TopicNode::decode(path, after.data.as_bytes())
            }
            "controller" => {
                ControllerNode::decode(node.data.as_bytes()) == ControllerNode::decode(after.data.as_bytes())
            }
            // The same keys and values, in any order.
            _ => {
                serde_json::from_str::<Value>(&node.data).unwrap()
                    == serde_json::from_str::<Value>(&after.data).unwrap()
            }
        };
        assert!(same, "{path}: {} became {}", node.data, after.data);
        compared += 1;
    }
    assert!(compared > 100, "only {compared} nodes of older releases");
}

/// A state that is written over an older release's, unchanged, is the same bytes: its order of keys stays.
#[test]
fn a_node_written_over_an_older_releases_keeps_its_order() {
    let mut compared = 0;
    for node in golden().iter().filter(|node| node.protocol >= Version::parse("2.8").unwrap()) {
        let (path, data) = (node.path.as_str(), node.data.as_bytes());
        let over = if path.ends_with("/state") {
            StateNode::decode(path, data).unwrap().onto(path, data).unwrap()
        } else if path.starts_with(znode::TOPICS) {
            TopicNode::decode(path, data).unwrap().onto(path, data).unwrap()
        } else {
            continue;
        };
        let (was, is): (Value, Value) =
            (serde_json::from_slice(data).unwrap(), serde_json::from_slice(&over).unwrap());
        assert_eq!(was, is, "{path}");
        let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(keys(&was), keys(&is), "{path}");
        compared += 1;
    }
    assert!(compared > 50, "only {compared} nodes");
}
