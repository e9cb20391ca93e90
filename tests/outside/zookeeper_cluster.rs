//! Brokers on a real ZooKeeper: their settings, a shell that looks at nodes and writes them, records in and out.

use std::time::{Duration, Instant};

use super::batch::{NOBODY, build};
use super::client::Client;
use super::zookeeper::Ensemble;
use ringdaw::metadata::zookeeper::client::Client as Nodes;
use ringdaw::metadata::zookeeper::jute::{Mode, ZkError};
use ringdaw::metadata::zookeeper::session::Options;
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

const PATIENCE: Duration = Duration::from_secs(60);

/// Another client of the same ZooKeeper: an operator's shell, or a tool.
pub struct Shell {
    runtime: Runtime,
    nodes: Nodes,
}

impl Shell {
    pub fn new(ensemble: &Ensemble, chroot: &str) -> Shell {
        let options = Options {
            servers: ensemble.connect().split(',').map(str::to_owned).collect(),
            chroot: chroot.to_owned(),
            session_timeout: Duration::from_secs(10),
            in_flight_max: 100,
            seed: 3,
        };
        let (events, _) = mpsc::unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let nodes = Nodes::start(options, events).expect("a session");
        Shell { runtime, nodes }
    }

    pub fn get(&self, path: &str) -> Option<String> {
        match self.runtime.block_on(self.nodes.data(path, false)) {
            Ok((data, _)) => Some(String::from_utf8(data.unwrap_or_default()).expect("text")),
            Err(ZkError::NoNode) => None,
            Err(error) => panic!("{path}: {error}"),
        }
    }

    pub fn json(&self, path: &str) -> Value {
        let text = self.get(path).unwrap_or_else(|| panic!("{path} is not there"));
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}: {text}"))
    }

    pub fn set(&self, path: &str, data: &str) {
        self.runtime.block_on(self.nodes.set_data(path, Some(data.as_bytes()), -1)).expect(path);
    }

    pub fn create(&self, path: &str, data: Option<&str>, mode: Mode) {
        self.runtime.block_on(self.nodes.create(path, data.map(str::as_bytes), mode)).expect(path);
    }

    pub fn delete(&self, path: &str) {
        self.runtime.block_on(self.nodes.delete(path, -1)).expect(path);
    }

    pub fn children(&self, path: &str) -> Vec<String> {
        let mut names = self.runtime.block_on(self.nodes.children(path, false)).unwrap_or_default();
        names.sort_unstable();
        names
    }

    pub fn exists(&self, path: &str) -> bool {
        self.get(path).is_some()
    }
}

pub fn wait(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "waited for: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub fn settings<'a>(connect: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut settings = vec![
        ("zookeeper.connect", connect),
        ("zookeeper.session.timeout.ms", "2000"),
        ("zookeeper.connection.timeout.ms", "15000"),
        ("offsets.topic.num.partitions", "3"),
        ("offsets.topic.replication.factor", "1"),
    ];
    settings.extend_from_slice(more);
    settings
}

pub fn produce(client: &mut Client, topic: &str, partition: i32, value: &str) -> i64 {
    let batch = build(NOBODY, 1_700_000_000_000, &[value.as_bytes().to_vec()]);
    let until = Instant::now() + PATIENCE;
    loop {
        let produced = client.produce(topic, partition, &batch).expect("Produce");
        if produced.code == 0 {
            return produced.base_offset;
        }
        assert!(Instant::now() < until, "{topic}-{partition}: error {}", produced.code);
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub fn values(client: &mut Client, topic: &str, partition: i32) -> Vec<String> {
    let batches = client.read_batches(topic, partition, 0).expect("Fetch");
    let records = batches.into_iter().flat_map(|batch| batch.records);
    records.map(|record| String::from_utf8(record.value.unwrap_or_default()).expect("text")).collect()
}
