//! Settings from whole files: what loads, what is refused, and what the operator is told.

use std::path::{Path, PathBuf};

use ringdaw::config::{Config, Durability};

fn file(name: &str) -> PathBuf {
    Path::new("tests/config").join(name)
}

#[test]
fn the_seed_file_loads_as_it_stands() {
    let (config, notes) = Config::load(Some(&file("seed.properties")), &[]).expect("the seed file is valid");
    assert_eq!(config.broker_id, Some(1));
    assert_eq!((config.num_network_threads, config.num_io_threads), (16, 48));
    assert_eq!(config.listeners[0].to_string(), "PLAINTEXT://:9092");
    assert_eq!(config.log_dirs, [PathBuf::from("/data/kafka/kafka-logs")]);
    assert_eq!(config.topic_defaults.retention_ms, Some(360 * 3_600_000));
    assert_eq!(config.topic_defaults.max_message_bytes, 2_000_000);
    assert_eq!(config.topic_defaults.min_insync_replicas, 2);
    assert_eq!(config.durability(), Durability::Replicated);
    let zookeeper = config.zookeeper.as_ref().expect("zookeeper.connect is set");
    assert_eq!(zookeeper.servers, ["172.16.84.21:2181", "172.16.84.22:2181", "172.16.84.23:2181"]);
    assert_eq!((zookeeper.session_timeout_ms, zookeeper.connection_timeout_ms), (6000, 6000));
    for note in notes {
        println!("{note}");
    }
}
