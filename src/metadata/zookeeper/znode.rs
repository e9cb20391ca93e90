//! Kafka's nodes in ZooKeeper: their paths, and their JSON byte for byte as 3.9 writes it (contract 4.3).
//!
//! In: the bytes of a node, or a value. Out: the value, or a sentence that names the path; the bytes for the configured
//! `inter.broker.protocol.version`. Reading is by key and lenient, as Java's: unknown keys are ignored. `onto` rewrites a node
//! that others wrote: its keys keep their places, and keys this build does not know stay.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::config::version::Version;
use crate::wire::primitive::Uuid;

pub const BROKER_IDS: &str = "/brokers/ids";
pub const BROKER_SEQUENCE: &str = "/brokers/seqid";
pub const TOPICS: &str = "/brokers/topics";
pub const CONTROLLER: &str = "/controller";
pub const CONTROLLER_EPOCH: &str = "/controller_epoch";
pub const CLUSTER_ID: &str = "/cluster/id";
pub const DELETE_TOPICS: &str = "/admin/delete_topics";
pub const REASSIGN_PARTITIONS: &str = "/admin/reassign_partitions";
pub const PREFERRED_ELECTION: &str = "/admin/preferred_replica_election";
pub const ISR_CHANGES: &str = "/isr_change_notification";
pub const LOG_DIR_EVENTS: &str = "/log_dir_event_notification";
pub const CONFIG_CHANGES: &str = "/config/changes";
pub const PRODUCER_ID_BLOCK: &str = "/latest_producer_id_block";
pub const FEATURE: &str = "/feature";

/// What a broker makes at its start where it is missing, in this order (contract 4.2).
pub const PERSISTENT: [&str; 14] = [
    "/consumers",
    BROKER_IDS,
    TOPICS,
    CONFIG_CHANGES,
    DELETE_TOPICS,
    BROKER_SEQUENCE,
    ISR_CHANGES,
    PRODUCER_ID_BLOCK,
    LOG_DIR_EVENTS,
    "/config/topics",
    "/config/clients",
    "/config/users",
    "/config/brokers",
    "/config/ips",
];

pub fn broker(id: i32) -> String {
    format!("{BROKER_IDS}/{id}")
}

pub fn topic(name: &str) -> String {
    format!("{TOPICS}/{name}")
}

pub fn topic_config(name: &str) -> String {
    format!("/config/topics/{name}")
}

pub fn partition_state(topic: &str, partition: i32) -> String {
    format!("{TOPICS}/{topic}/partitions/{partition}/state")
}

/// A node that does not hold what its path promises.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("ZooKeeper node {path}: {what}")]
pub struct NodeError {
    pub path: String,
    pub what: String,
}

/// A node's JSON object, read by key.
pub struct Document<'a> {
    path: &'a str,
    pub keys: Map<String, Value>,
}

impl<'a> Document<'a> {
    pub fn parse(path: &'a str, bytes: &[u8]) -> Result<Document<'a>, NodeError> {
        match serde_json::from_slice(bytes) {
            Ok(Value::Object(keys)) => Ok(Document { path, keys }),
            Ok(_) => Err(bad(path, "its JSON is no object".to_owned())),
            Err(error) => Err(bad(path, format!("it is not JSON: {error}"))),
        }
    }

    fn bad(&self, what: String) -> NodeError {
        bad(self.path, what)
    }

    fn get(&self, key: &str) -> Result<&Value, NodeError> {
        self.keys.get(key).ok_or_else(|| self.bad(format!("`{key}` is missing")))
    }

    /// A number, also one in quotes: Kafka quotes those beyond 32 bits.
    fn long(&self, key: &str) -> Result<i64, NodeError> {
        let value = self.get(key)?;
        let number = value.as_i64().or_else(|| value.as_str().and_then(|text| text.parse().ok()));
        number.ok_or_else(|| self.bad(format!("`{key}` is no number: {value}")))
    }

    fn int(&self, key: &str) -> Result<i32, NodeError> {
        let number = self.long(key)?;
        i32::try_from(number).map_err(|_| self.bad(format!("`{key}` is out of range: {number}")))
    }

    fn text(&self, key: &str) -> Result<String, NodeError> {
        let value = self.get(key)?;
        value.as_str().map(str::to_owned).ok_or_else(|| self.bad(format!("`{key}` is no text: {value}")))
    }

    /// Of 1 or more; what a newer Kafka adds is read by its keys.
    fn version(&self) -> Result<i32, NodeError> {
        match self.int("version")? {
            version @ 1.. => Ok(version),
            version => Err(self.bad(format!("version {version} is unknown"))),
        }
    }

    fn object(&self, key: &str) -> Result<&Map<String, Value>, NodeError> {
        let value = self.get(key)?;
        value.as_object().ok_or_else(|| self.bad(format!("`{key}` is no object: {value}")))
    }

    fn ids(&self, key: &str, value: &Value) -> Result<Vec<i32>, NodeError> {
        let id = |value: &Value| value.as_i64().and_then(|id| i32::try_from(id).ok());
        let ids = value.as_array().and_then(|ids| ids.iter().map(id).collect());
        ids.ok_or_else(|| self.bad(format!("`{key}` is no list of broker ids: {value}")))
    }

    fn assignment(&self, key: &str) -> Result<BTreeMap<i32, Vec<i32>>, NodeError> {
        let read = |(number, value): (&String, &Value)| match number.parse::<i32>() {
            Ok(number @ 0..) => Ok((number, self.ids(key, value)?)),
            Ok(_) | Err(_) => Err(self.bad(format!("`{key}`: `{number}` is no partition"))),
        };
        self.object(key)?.iter().map(read).collect()
    }
}

fn bad(path: &str, what: String) -> NodeError {
    NodeError { path: path.to_owned(), what }
}

fn bytes(keys: &Map<String, Value>) -> Vec<u8> {
    Value::Object(keys.clone()).to_string().into_bytes()
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(keys) => keys,
        _ => Map::new(),
    }
}

/// New keys over those that are there: places and unknown keys stay.
fn onto(old: &Map<String, Value>, new: Map<String, Value>) -> Vec<u8> {
    let mut keys = old.clone();
    keys.extend(new);
    bytes(&keys)
}

fn from(release: &str, protocol: Version) -> bool {
    Version::parse(release).is_some_and(|first| protocol >= first)
}

/// `/brokers/ids/N`.
#[derive(Clone, Debug, PartialEq)]
pub struct BrokerNode {
    /// Of the first endpoint whose protocol is PLAINTEXT; `None` and -1 without one.
    pub host: Option<String>,
    pub port: i32,
    pub jmx_port: i32,
    /// ms since 1970.
    pub timestamp: i64,
    /// `NAME://host:port` each.
    pub endpoints: Vec<String>,
    /// Listener name and protocol, in the endpoints' order.
    pub protocols: Vec<(String, String)>,
    pub rack: Option<String>,
    pub features: Map<String, Value>,
}

impl BrokerNode {
    pub fn decode(path: &str, data: &[u8]) -> Result<BrokerNode, NodeError> {
        let node = Document::parse(path, data)?;
        let version = node.version()?;
        let optional = |key: &str| node.keys.get(key).and_then(Value::as_str).map(str::to_owned);
        let (host, port) = (optional("host"), node.int("port")?);
        let mut broker = BrokerNode {
            endpoints: Vec::new(),
            protocols: Vec::new(),
            jmx_port: node.int("jmx_port").unwrap_or(-1),
            timestamp: node.long("timestamp").unwrap_or(-1),
            rack: optional("rack"),
            features: node.object("features").cloned().unwrap_or_default(),
            host,
            port,
        };
        if version == 1 {
            let host = node.text("host")?;
            broker.endpoints = vec![format!("PLAINTEXT://{host}:{port}")];
            broker.protocols = vec![("PLAINTEXT".to_owned(), "PLAINTEXT".to_owned())];
            return Ok(broker);
        }
        let endpoints = node.get("endpoints")?;
        let texts =
            endpoints.as_array().and_then(|all| all.iter().map(Value::as_str).collect::<Option<Vec<_>>>());
        let texts = texts.ok_or_else(|| node.bad(format!("`endpoints` is no list of texts: {endpoints}")))?;
        for endpoint in texts {
            let Some((name, _)) = endpoint.split_once("://") else {
                return Err(node.bad(format!("`{endpoint}` is no endpoint")));
            };
            let protocols = node.object("listener_security_protocol_map").ok();
            let protocol = protocols.and_then(|map| map.get(name)).and_then(Value::as_str).unwrap_or(name);
            broker.protocols.push((name.to_owned(), protocol.to_owned()));
            broker.endpoints.push(endpoint.to_owned());
        }
        Ok(broker)
    }

    pub fn encode(&self, protocol: Version) -> Vec<u8> {
        let has_features = from("2.7-IV0", protocol);
        let mut keys = Map::new();
        if has_features {
            keys.insert("features".into(), Value::Object(self.features.clone()));
        }
        let protocols: Map<String, Value> =
            self.protocols.iter().map(|(name, protocol)| (name.clone(), json!(protocol))).collect();
        keys.insert("listener_security_protocol_map".into(), Value::Object(protocols));
        keys.insert("endpoints".into(), json!(self.endpoints));
        if let Some(rack) = &self.rack {
            keys.insert("rack".into(), json!(rack));
        }
        keys.insert("jmx_port".into(), json!(self.jmx_port));
        keys.insert("port".into(), json!(self.port));
        keys.insert("host".into(), json!(self.host));
        keys.insert("version".into(), json!(if has_features { 5 } else { 4 }));
        keys.insert("timestamp".into(), json!(self.timestamp.to_string()));
        bytes(&keys)
    }
}

/// `/brokers/topics/T`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicNode {
    /// The preferred leader first.
    pub partitions: BTreeMap<i32, Vec<i32>>,
    pub adding: BTreeMap<i32, Vec<i32>>,
    pub removing: BTreeMap<i32, Vec<i32>>,
    /// From protocol 2.8 on.
    pub topic_id: Option<Uuid>,
}

impl TopicNode {
    pub fn decode(path: &str, data: &[u8]) -> Result<TopicNode, NodeError> {
        let node = Document::parse(path, data)?;
        node.version()?;
        let optional = |key: &str| match node.keys.contains_key(key) {
            true => node.assignment(key),
            false => Ok(BTreeMap::new()),
        };
        let topic_id = match node.keys.get("topic_id") {
            None => None,
            Some(text) => {
                let id = text.as_str().and_then(Uuid::parse);
                Some(id.ok_or_else(|| node.bad(format!("`topic_id` is no id: {text}")))?)
            }
        };
        let partitions = node.assignment("partitions")?;
        if let Some((gap, _)) = (0..).zip(partitions.keys()).find(|(number, found)| *number != **found) {
            return Err(node.bad(format!("partition {gap} is missing")));
        }
        Ok(TopicNode {
            partitions,
            adding: optional("adding_replicas")?,
            removing: optional("removing_replicas")?,
            topic_id,
        })
    }

    fn keys(&self) -> Map<String, Value> {
        let map = |all: &BTreeMap<i32, Vec<i32>>| {
            Value::Object(all.iter().map(|(number, ids)| (number.to_string(), json!(ids))).collect())
        };
        let mut keys = Map::new();
        keys.insert("partitions".into(), map(&self.partitions));
        if let Some(id) = &self.topic_id {
            keys.insert("topic_id".into(), json!(id.to_string()));
        }
        keys.insert("adding_replicas".into(), map(&self.adding));
        keys.insert("removing_replicas".into(), map(&self.removing));
        keys.insert("version".into(), json!(3));
        keys
    }

    pub fn encode(&self) -> Vec<u8> {
        bytes(&self.keys())
    }

    /// Over what is there; Java drops unknown keys here, this build keeps them.
    pub fn onto(&self, path: &str, old: &[u8]) -> Result<Vec<u8>, NodeError> {
        Ok(onto(&Document::parse(path, old)?.keys, self.keys()))
    }
}

/// `/brokers/topics/T/partitions/P/state`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateNode {
    pub controller_epoch: i32,
    /// -1: none.
    pub leader: i32,
    pub leader_epoch: i32,
    pub isr: Vec<i32>,
    /// The leader was elected from outside the in-sync set and has not caught up with its loss (3.2 and later).
    pub recovering: bool,
}

impl StateNode {
    pub fn decode(path: &str, data: &[u8]) -> Result<StateNode, NodeError> {
        let node = Document::parse(path, data)?;
        Ok(StateNode {
            controller_epoch: node.int("controller_epoch")?,
            leader: node.int("leader")?,
            leader_epoch: node.int("leader_epoch")?,
            isr: node.ids("isr", node.get("isr")?)?,
            recovering: node.keys.contains_key("leader_recovery_state")
                && node.int("leader_recovery_state")? == 1,
        })
    }

    fn keys(&self) -> Map<String, Value> {
        let mut keys = object(json!({
            "controller_epoch": self.controller_epoch,
            "leader": self.leader,
            "version": 1,
            "leader_epoch": self.leader_epoch,
            "isr": self.isr,
        }));
        if self.recovering {
            keys.insert("leader_recovery_state".into(), json!(1));
        }
        keys
    }

    pub fn encode(&self) -> Vec<u8> {
        bytes(&self.keys())
    }

    /// Over what is there, unknown keys kept.
    pub fn onto(&self, path: &str, old: &[u8]) -> Result<Vec<u8>, NodeError> {
        let mut keys = Document::parse(path, old)?.keys;
        if !self.recovering {
            keys.shift_remove("leader_recovery_state");
        }
        Ok(onto(&keys, self.keys()))
    }
}

/// `/controller`. `timestamp` in ms since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ControllerNode {
    pub broker_id: i32,
    pub timestamp: i64,
}

impl ControllerNode {
    /// A controller of KRaft, which a migration puts here, is refused: this build cannot serve under one.
    pub fn decode(data: &[u8]) -> Result<ControllerNode, NodeError> {
        let node = Document::parse(CONTROLLER, data)?;
        if node.keys.contains_key("kraftControllerEpoch") && node.int("kraftControllerEpoch")? >= 0 {
            return Err(node.bad("a KRaft controller owns the cluster".to_owned()));
        }
        Ok(ControllerNode {
            broker_id: node.int("brokerid")?,
            timestamp: node.long("timestamp").unwrap_or(-1),
        })
    }

    pub fn encode(&self) -> Vec<u8> {
        let (broker_id, timestamp) = (self.broker_id, self.timestamp.to_string());
        bytes(&object(
            json!({"version": 2, "brokerid": broker_id, "timestamp": timestamp, "kraftControllerEpoch": -1}),
        ))
    }
}

/// `/config/...`: settings as somebody set them.
pub fn decode_config(path: &str, data: &[u8]) -> Result<BTreeMap<String, String>, NodeError> {
    let node = Document::parse(path, data)?;
    node.version()?;
    let read = |(key, value): (&String, &Value)| match value.as_str() {
        Some(text) => Ok((key.clone(), text.to_owned())),
        None => Err(node.bad(format!("`{key}` is no text: {value}"))),
    };
    node.object("config")?.iter().map(read).collect()
}

/// In the order Java's `Properties` has: that of the buckets of its hash table.
pub fn encode_config(config: &BTreeMap<String, String>) -> Vec<u8> {
    let mut buckets = 16;
    while config.len() >= buckets / 4 * 3 {
        buckets *= 2;
    }
    let mut entries: Vec<(&String, &String)> = config.iter().collect();
    entries.sort_by_key(|(key, _)| {
        let hash =
            key.encode_utf16().fold(0u32, |hash, unit| hash.wrapping_mul(31).wrapping_add(unit.into()));
        (hash ^ hash >> 16) as usize & (buckets - 1)
    });
    let config: Map<String, Value> = entries.into_iter().map(|(k, v)| (k.clone(), json!(v))).collect();
    bytes(&object(json!({"version": 1, "config": config})))
}

/// `/config/changes/config_change_N`: `topics/T`, `brokers/<default>`, `users/U/clients/C`.
pub fn decode_config_change(path: &str, data: &[u8]) -> Result<String, NodeError> {
    let node = Document::parse(path, data)?;
    match node.version()? {
        1 => Ok(format!("{}/{}", node.text("entity_type")?, node.text("entity_name")?)),
        2 => node.text("entity_path"),
        version => Err(node.bad(format!("version {version} is unknown"))),
    }
}

pub fn encode_config_change(entity_path: &str) -> Vec<u8> {
    bytes(&object(json!({"version": 2, "entity_path": entity_path})))
}

/// `/latest_producer_id_block`; both ends belong to the block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerIdBlock {
    pub broker_id: i32,
    pub first: i64,
    pub last: i64,
}

impl ProducerIdBlock {
    pub fn decode(data: &[u8]) -> Result<ProducerIdBlock, NodeError> {
        let node = Document::parse(PRODUCER_ID_BLOCK, data)?;
        let (first, last) = (node.long("block_start")?, node.long("block_end")?);
        if first < 0 || last < first {
            return Err(node.bad(format!("{first} to {last} is no block")));
        }
        Ok(ProducerIdBlock { broker_id: node.int("broker")?, first, last })
    }

    pub fn encode(&self) -> Vec<u8> {
        let (first, last) = (self.first.to_string(), self.last.to_string());
        bytes(&object(
            json!({"version": 1, "broker": self.broker_id, "block_start": first, "block_end": last}),
        ))
    }
}

/// `/cluster/id`.
pub fn decode_cluster_id(data: &[u8]) -> Result<String, NodeError> {
    Document::parse(CLUSTER_ID, data)?.text("id")
}

/// The version is a text here, and only here.
pub fn encode_cluster_id(id: &str) -> Vec<u8> {
    bytes(&object(json!({"version": "1", "id": id})))
}

/// `/feature` of a controller that finds none: no features, enabled from protocol 2.7 on.
pub fn encode_feature(protocol: Version) -> Vec<u8> {
    let version = if from("3.3-IV0", protocol) { 2 } else { 1 };
    let status = i32::from(from("2.7-IV0", protocol));
    bytes(&object(json!({"features": {}, "version": version, "status": status})))
}

/// `/controller_epoch`: plain decimal text.
pub fn decode_controller_epoch(data: &[u8]) -> Result<i32, NodeError> {
    let text = String::from_utf8_lossy(data);
    text.parse().map_err(|_| bad(CONTROLLER_EPOCH, format!("`{text}` is no number")))
}

/// A topic and a partition, as lists of them name it.
pub type TopicPartition = (String, i32);

/// `/admin/reassign_partitions`: where each partition shall live.
pub fn decode_reassignment(data: &[u8]) -> Result<Vec<(TopicPartition, Vec<i32>)>, NodeError> {
    let node = Document::parse(REASSIGN_PARTITIONS, data)?;
    node.version()?;
    let read = |entry: Document<'_>| {
        let replicas = entry.ids("replicas", entry.get("replicas")?)?;
        Ok(((entry.text("topic")?, entry.int("partition")?), replicas))
    };
    partitions(&node)?.map(|entry| entry.and_then(read)).collect()
}

pub fn encode_reassignment(moves: &[(TopicPartition, Vec<i32>)]) -> Vec<u8> {
    let moves: Vec<Value> = moves
        .iter()
        .map(|((topic, partition), replicas)| json!({"topic": topic, "partition": partition, "replicas": replicas}))
        .collect();
    bytes(&object(json!({"version": 1, "partitions": moves})))
}

/// `/admin/preferred_replica_election` and `/isr_change_notification/isr_change_N`: a list of partitions.
pub fn decode_partitions(path: &str, data: &[u8]) -> Result<Vec<TopicPartition>, NodeError> {
    let node = Document::parse(path, data)?;
    node.version()?;
    let read = |entry: Document<'_>| Ok((entry.text("topic")?, entry.int("partition")?));
    partitions(&node)?.map(|entry| entry.and_then(read)).collect()
}

pub fn encode_partitions(all: &[TopicPartition]) -> Vec<u8> {
    let all: Vec<Value> =
        all.iter().map(|(topic, partition)| json!({"topic": topic, "partition": partition})).collect();
    bytes(&object(json!({"version": 1, "partitions": all})))
}

fn partitions<'a>(
    node: &'a Document<'a>,
) -> Result<impl Iterator<Item = Result<Document<'a>, NodeError>>, NodeError> {
    let value = node.get("partitions")?;
    let entries = value.as_array().ok_or_else(|| node.bad(format!("`partitions` is no list: {value}")))?;
    Ok(entries.iter().map(|entry| match entry.as_object() {
        Some(keys) => Ok(Document { path: node.path, keys: keys.clone() }),
        None => Err(node.bad(format!("`partitions` holds {entry}"))),
    }))
}

/// `/log_dir_event_notification/log_dir_event_N`: the broker that lost a directory.
pub fn decode_log_dir_event(path: &str, data: &[u8]) -> Result<i32, NodeError> {
    Document::parse(path, data)?.int("broker")
}

pub fn encode_log_dir_event(broker_id: i32) -> Vec<u8> {
    bytes(&object(json!({"version": 1, "broker": broker_id, "event": 1})))
}

/// A name in a path below `/config/clients` and `/config/users`: URL-encoded as Java does it, but a space is `%20` and `*` is
/// `%2A`.
pub fn sanitized(name: &str) -> String {
    use std::fmt::Write;
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' => out.push(byte.into()),
            other => {
                let _ = write!(out, "%{other:02X}"); // a String takes everything
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_keys_and_their_places_stay_when_a_node_is_rewritten() {
        let old = br#"{"owner":"me","version":1,"partitions":{"0":[1]},"z":[1,{"a":null}]}"#;
        let mut topic = TopicNode::decode("/t", old).unwrap();
        topic.partitions.insert(1, vec![2, 1]);
        let new = String::from_utf8(topic.onto("/t", old).unwrap()).unwrap();
        let wanted = r#"{"owner":"me","version":3,"partitions":{"0":[1],"1":[2,1]},"z":[1,{"a":null}],"adding_replicas":{},"removing_replicas":{}}"#;
        assert_eq!(new, wanted);
        let old = br#"{"leader_recovery_state":1,"isr":[1],"x":0,"leader":1,"controller_epoch":1,"leader_epoch":4,"version":1}"#;
        let mut state = StateNode::decode("/s", old).unwrap();
        assert!(state.recovering);
        (state.recovering, state.isr) = (false, vec![1, 2]);
        let new = String::from_utf8(state.onto("/s", old).unwrap()).unwrap();
        let wanted = r#"{"isr":[1,2],"x":0,"leader":1,"controller_epoch":1,"leader_epoch":4,"version":1}"#;
        assert_eq!(new, wanted);
    }

    #[test]
    fn a_node_that_is_not_what_it_should_be_is_named_with_its_path_and_the_reason() {
        let why =
            |data: &str| TopicNode::decode("/brokers/topics/t", data.as_bytes()).unwrap_err().to_string();
        for (data, reason) in [
            ("", "not JSON"),
            ("{\"version\":1", "not JSON"),
            ("[]", "no object"),
            ("{}", "`version` is missing"),
            ("{\"version\":0,\"partitions\":{}}", "version 0 is unknown"),
            ("{\"version\":1}", "`partitions` is missing"),
            ("{\"version\":1,\"partitions\":{\"x\":[1]}}", "`x` is no partition"),
            ("{\"version\":1,\"partitions\":{\"1\":[1]}}", "partition 0 is missing"),
            ("{\"version\":1,\"partitions\":{\"0\":[99999999999]}}", "no list of broker ids"),
            ("{\"version\":3,\"partitions\":{},\"topic_id\":\"short\"}", "no id"),
        ] {
            let said = why(data);
            assert!(
                said.starts_with("ZooKeeper node /brokers/topics/t: ") && said.contains(reason),
                "{said}"
            );
        }
        assert!(decode_config_change("/c", br#"{"version":3}"#).unwrap_err().what.contains("version 3"));
        let v1 = br#"{"version":1,"entity_type":"topics","entity_name":"T"}"#;
        assert_eq!(decode_config_change("/c", v1).unwrap(), "topics/T");
    }

    #[test]
    fn a_broker_of_version_1_has_one_plain_endpoint() {
        let node = BrokerNode::decode("/b", br#"{"version":1,"host":"h","port":9092}"#).unwrap();
        assert_eq!(node.endpoints, ["PLAINTEXT://h:9092"]);
    }

    #[test]
    fn names_are_written_into_paths_as_java_does() {
        assert_eq!(sanitized("c 1*"), "c%201%2A");
        assert_eq!(sanitized("CN=u1,OU=x y"), "CN%3Du1%2COU%3Dx%20y");
        assert_eq!(sanitized("ä~+"), "%C3%A4%7E%2B");
    }
}
