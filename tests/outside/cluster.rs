//! A cluster of brokers as child processes on a real ZooKeeper: Ringdaw's, or Java Kafka's by the same steps.
//!
//! In: how many of each, settings. Out: brokers that are killed, stopped, paused and started again by their own pids, and
//! what ZooKeeper says of leaders and in-sync sets. A broker keeps its port and its directory over its restarts.

use super::batch;
use super::client::Client;
use super::network::Network;
use super::process::{binary, free_port, pause, resume, terminate, write_properties};
use super::zookeeper::Ensemble;
use ringdaw::metadata::zookeeper::client::Client as Nodes;
use ringdaw::metadata::zookeeper::session::Options as SessionOptions;
use serde_json::Value;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

/// A Java broker on a busy machine takes its time.
const START: Duration = Duration::from_secs(120);
const STOP: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    Ringdaw,
    /// This release of Java Kafka.
    Java(&'static str),
}

impl Subject {
    pub fn text(self) -> String {
        match self {
            Subject::Ringdaw => "ringdaw".to_string(),
            Subject::Java(version) => format!("java {version}"),
        }
    }
}

/// What ZooKeeper says of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// -1: none.
    pub leader: i32,
    pub leader_epoch: i32,
    pub in_sync: Vec<i32>,
    /// Of the node.
    pub version: i32,
}

/// Looks into ZooKeeper for as long as it takes, at most two seconds: it may be gone.
pub struct Glass {
    runtime: Runtime,
    nodes: Nodes,
}

impl Glass {
    pub fn new(connect: &str) -> Glass {
        let (servers, chroot) = connect.split_once('/').unwrap_or((connect, ""));
        let chroot = if chroot.is_empty() { String::new() } else { format!("/{chroot}") };
        let options = SessionOptions {
            servers: servers.split(',').map(str::to_owned).collect(),
            chroot,
            session_timeout: Duration::from_secs(10),
            in_flight_max: 100,
            seed: 3,
        };
        let (events, _) = mpsc::unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        Glass { runtime, nodes: Nodes::start(options, events).expect("a session") }
    }

    /// The data and version of a node; `None` where it is not there, or cannot be asked.
    pub fn get(&self, path: &str) -> Option<(String, i32)> {
        let asked =
            async { tokio::time::timeout(Duration::from_secs(2), self.nodes.data(path, false)).await };
        let (data, stat) = self.runtime.block_on(asked).ok()?.ok()?;
        Some((String::from_utf8(data.unwrap_or_default()).ok()?, stat.version))
    }

    pub fn json(&self, path: &str) -> Option<(Value, i32)> {
        let (text, version) = self.get(path)?;
        Some((serde_json::from_str(&text).ok()?, version))
    }

    pub fn state(&self, topic: &str, partition: i32) -> Option<State> {
        let (node, version) = self.json(&format!("/brokers/topics/{topic}/partitions/{partition}/state"))?;
        let in_sync = node["isr"].as_array()?.iter().filter_map(|id| id.as_i64().map(|id| id as i32));
        Some(State {
            leader: node["leader"].as_i64()? as i32,
            leader_epoch: node["leader_epoch"].as_i64()? as i32,
            in_sync: in_sync.collect(),
            version,
        })
    }

    pub fn controller(&self) -> Option<i32> {
        self.json("/controller")?.0["brokerid"].as_i64().map(|id| id as i32)
    }

    pub fn registered(&self) -> Vec<i32> {
        let asked = async {
            tokio::time::timeout(Duration::from_secs(2), self.nodes.children("/brokers/ids", false)).await
        };
        let names = self.runtime.block_on(asked).ok().and_then(Result::ok).unwrap_or_default();
        let mut ids: Vec<i32> = names.iter().filter_map(|name| name.parse().ok()).collect();
        ids.sort_unstable();
        ids
    }
}

pub struct Node {
    pub id: i32,
    pub address: SocketAddr,
    pub folder: PathBuf,
    start: Start,
    /// What its command begins with: where it runs.
    place: Vec<String>,
    child: Option<Child>,
    paused: bool,
    /// Lines of the log that a panic is looked for behind.
    starts: u32,
}

/// How it is started.
enum Start {
    Ringdaw,
    Java { classpath: String, words: Vec<String> },
}

impl Node {
    pub fn is_up(&self) -> bool {
        self.child.is_some()
    }

    pub fn log_path(&self) -> PathBuf {
        self.folder.join("broker.log")
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn launch(&mut self) {
        assert!(self.child.is_none(), "broker {} runs already", self.id);
        let log = File::options().create(true).append(true).open(self.log_path()).expect("the broker's log");
        let mut words = self.place.clone();
        let mut classpath = None;
        match &self.start {
            Start::Ringdaw => {
                words.extend([binary().display().to_string(), "broker".to_string()]);
                words.push(self.folder.join("server.properties").display().to_string());
            }
            Start::Java { classpath: jars, words: java } => {
                words.extend(java.iter().cloned());
                classpath = Some(jars);
            }
        }
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        if let Some(classpath) = classpath {
            command.env("CLASSPATH", classpath);
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("broker {}: {error}", self.id));
        self.child = Some(child);
        self.paused = false;
        self.starts += 1;
    }

    fn child(&mut self) -> &mut Child {
        let id = self.id;
        self.child.as_mut().unwrap_or_else(|| panic!("broker {id} is down"))
    }

    /// kill -9.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("a signal to our own child");
            child.wait().expect("its end");
        }
    }

    /// SIGTERM, as an operator stops it.
    pub fn stop(&mut self) {
        if self.paused {
            self.resume();
        }
        let id = self.id;
        let pid = self.child().id();
        terminate(pid);
        let until = Instant::now() + STOP;
        loop {
            if let Some(status) = self.child().try_wait().expect("its status") {
                self.child = None;
                // A JVM that is asked to end says so with 143.
                let fine = status.success() || matches!(self.start, Start::Java { .. });
                assert!(
                    fine,
                    "broker {id} ended with {status} on SIGTERM; its log is {}",
                    self.log_path().display()
                );
                return;
            }
            assert!(
                Instant::now() < until,
                "broker {id} does not end; its log is {}",
                self.log_path().display()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn pause(&mut self) {
        pause(self.child().id());
        self.paused = true;
    }

    pub fn resume(&mut self) {
        resume(self.child().id());
        self.paused = false;
    }

    pub fn resume_if_paused(&mut self) {
        if self.paused && self.is_up() {
            self.resume();
        }
    }

    /// Whether it ended without being told to.
    fn has_died(&mut self) -> Option<String> {
        let status = self.child.as_mut()?.try_wait().ok()??;
        self.child = None;
        let log = self.log();
        let tail: Vec<&str> = log.lines().rev().take(20).collect();
        let tail: Vec<&str> = tail.into_iter().rev().collect();
        Some(format!("broker {} ended with {status}:\n{}", self.id, tail.join("\n")))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

pub struct Cluster {
    pub subject: Subject,
    pub nodes: Vec<Node>,
    /// Of its own, else all is on loopback.
    pub network: Option<Network>,
    /// Without one the single broker keeps its metadata itself.
    pub ensemble: Option<Ensemble>,
    pub connect: String,
}

impl Cluster {
    /// Everything is up, registered, and answers.
    pub fn start(
        folder: &Path,
        subject: Subject,
        brokers: usize,
        zookeepers: usize,
        own_network: bool,
        settings: &[(String, String)],
    ) -> Cluster {
        let network = own_network.then(|| {
            let brokers = (1..=brokers).map(|id| format!("b{id}"));
            Network::new(&brokers.chain((1..=zookeepers).map(|n| format!("z{n}"))).collect::<Vec<_>>())
        });
        let ensemble = (zookeepers > 0).then(|| Ensemble::start_in(folder, zookeepers, network.as_ref()));
        let connect =
            ensemble.as_ref().map_or(String::new(), |ensemble| format!("{}/kafka", ensemble.connect()));
        let nodes = (1..=brokers as i32)
            .map(|id| {
                let folder = folder.join(format!("broker-{id}"));
                let port = free_port();
                let at = format!("b{id}");
                let host = network.as_ref().map_or(Ipv4Addr::LOCALHOST, |network| network.address(&at));
                let place = network.as_ref().map_or(Vec::new(), |network| network.words(&at));
                let mut settings = settings.to_vec();
                settings.push(("listeners".to_string(), format!("PLAINTEXT://{host}:{port}")));
                let start = prepare(&folder, subject, id, port, &connect, &settings);
                let address = SocketAddr::from((host, port));
                Node { id, address, folder, start, place, child: None, paused: false, starts: 0 }
            })
            .collect();
        let mut cluster = Cluster { subject, nodes, network, ensemble, connect };
        // The first makes the nodes that all share.
        for index in 0..brokers {
            cluster.nodes[index].launch();
            cluster.wait_until_it_answers(index);
        }
        cluster
    }

    pub fn glass(&self) -> Option<Glass> {
        self.ensemble.is_some().then(|| Glass::new(&self.connect))
    }

    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(|node| node.address).collect()
    }

    fn index(&self, id: i32) -> usize {
        self.nodes.iter().position(|node| node.id == id).unwrap_or_else(|| panic!("there is no broker {id}"))
    }

    pub fn node(&mut self, id: i32) -> &mut Node {
        let index = self.index(id);
        &mut self.nodes[index]
    }

    pub fn up(&self) -> Vec<i32> {
        self.nodes.iter().filter(|node| node.is_up()).map(|node| node.id).collect()
    }

    /// Started, and not waited for.
    pub fn launch(&mut self, id: i32) {
        self.node(id).launch();
    }

    pub fn wait_for_answer(&mut self, id: i32) {
        let index = self.index(id);
        self.wait_until_it_answers(index);
    }

    fn wait_until_it_answers(&mut self, index: usize) {
        let until = Instant::now() + START;
        loop {
            let node = &mut self.nodes[index];
            if let Some(why) = node.has_died() {
                // Java does not wait for the registration that a killed broker left behind: its supervisor does.
                let is_early =
                    matches!(node.start, Start::Java { .. }) && why.contains("NodeExistsException");
                assert!(is_early && Instant::now() < until, "{why}");
                std::thread::sleep(Duration::from_millis(500));
                node.launch();
            }
            let asked = Client::connect_within(node.address, Duration::from_secs(2));
            if asked.and_then(|mut client| client.api_versions()).is_ok() {
                return;
            }
            assert!(Instant::now() < until, "broker {} does not answer:\n{}", node.id, node.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// A broker that ended by itself is a finding, whatever the clients saw.
    pub fn complaints(&mut self) -> Vec<String> {
        let mut complaints: Vec<String> = self.nodes.iter_mut().filter_map(Node::has_died).collect();
        for node in &self.nodes {
            if let Some(line) = node.log().lines().find(|line| line.contains("panicked at")) {
                complaints.push(format!("broker {} panicked: {line}", node.id));
            }
        }
        complaints
    }

    /// The replicas of a partition hold the same batches, byte for byte. The brokers are down.
    pub fn compare_replicas(&self, topic: &str, partitions: i32) -> Vec<String> {
        let mut differences = Vec::new();
        for partition in 0..partitions {
            let logs: Vec<(i32, Vec<u8>)> = self
                .nodes
                .iter()
                .filter_map(|node| {
                    Some((node.id, log_of(&node.folder.join(format!("data/{topic}-{partition}")))?))
                })
                .collect();
            let Some(((first_id, first), rest)) = logs.split_first() else {
                differences.push(format!("{topic}-{partition}: no replica has files"));
                continue;
            };
            for (id, log) in rest.iter().filter(|(_, log)| log != first) {
                let at =
                    first.iter().zip(log).position(|(a, b)| a != b).unwrap_or(first.len().min(log.len()));
                differences.push(format!(
                    "{topic}-{partition}: broker {first_id} has {} bytes, broker {id} has {}, they differ at {at} (offset {})",
                    first.len(),
                    log.len(),
                    offset_at(first, at)
                ));
            }
        }
        differences
    }
}

/// The batches of a partition's segments, one after another, without what is reserved behind them.
fn log_of(folder: &Path) -> Option<Vec<u8>> {
    let mut segments: Vec<PathBuf> = fs::read_dir(folder)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .collect();
    segments.sort();
    let mut all = Vec::new();
    for segment in segments {
        let bytes = fs::read(&segment).ok()?;
        all.extend_from_slice(&bytes[..whole(&bytes)]);
    }
    Some(all)
}

/// How many of the bytes are batches.
fn whole(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(head) = bytes.get(at..at + 12) {
        let length = i32::from_be_bytes(head[8..12].try_into().expect("four bytes"));
        if length < (batch::HEADER as i32 - 12) || at + 12 + length as usize > bytes.len() {
            break;
        }
        at += 12 + length as usize;
    }
    at
}

/// The base offset of the batch that holds the byte.
fn offset_at(log: &[u8], position: usize) -> i64 {
    let (mut at, mut offset) = (0, -1);
    while at <= position {
        let Some(head) = log.get(at..at + 12) else { break };
        offset = i64::from_be_bytes(head[..8].try_into().expect("eight bytes"));
        at += 12 + i32::from_be_bytes(head[8..12].try_into().expect("four bytes")) as usize;
    }
    offset
}

fn prepare(
    folder: &Path,
    subject: Subject,
    id: i32,
    port: u16,
    connect: &str,
    settings: &[(String, String)],
) -> Start {
    fs::create_dir_all(folder).expect("the broker's folder");
    let id = id.to_string();
    match subject {
        Subject::Ringdaw => {
            let mut all: Vec<(&str, &str)> = vec![("broker.id", &id)];
            if !connect.is_empty() {
                all.push(("zookeeper.connect", connect));
            }
            all.extend(settings.iter().map(|(key, value)| (key.as_str(), value.as_str())));
            write_properties(folder, port, &all);
            Start::Ringdaw
        }
        Subject::Java(version) => {
            assert!(!connect.is_empty(), "a Java broker of {version} needs ZooKeeper");
            let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/java-kafka.sh"));
            command.args(["command", version]).arg(folder);
            command.args(["--port", &port.to_string(), "--zookeeper", connect]);
            command.args(["--override", &format!("broker.id={id}")]);
            command.args(["--override", "auto.create.topics.enable=false"]);
            for (key, value) in settings {
                command.args(["--override", &format!("{key}={value}")]);
            }
            // Three of them share a small machine, and start often.
            command.env("KAFKA_HEAP_OPTS", "-Xmx256m -Xms64m");
            command.env(
                "KAFKA_JVM_PERFORMANCE_OPTS",
                "-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xshare:auto -Djava.awt.headless=true",
            );
            let done = command.output().expect("scripts/java-kafka.sh");
            let said = String::from_utf8_lossy(&done.stdout);
            assert!(done.status.success(), "{said}{}", String::from_utf8_lossy(&done.stderr));
            let field = |name: &'static str| {
                let start = format!("{name}=");
                said.lines()
                    .filter_map(move |line| line.strip_prefix(&start).map(str::to_string))
                    .collect::<Vec<_>>()
            };
            Start::Java { classpath: field("classpath").remove(0), words: field("word") }
        }
    }
}
