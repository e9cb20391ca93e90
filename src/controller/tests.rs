//! The controller against a modelled ZooKeeper and modelled brokers.
//!
//! `Cluster` plays all that is around a controller: sessions that register brokers, watches that fire, and brokers that take
//! requests in order, keep the epochs they were told, and answer.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::context::ReplicaState;
use super::request::{ControlRequest, DURING_DELETION};
use super::*;
use crate::metadata::zookeeper::jute::{Mode, Operation};
use crate::metadata::zookeeper::znode::{self, StateNode, TopicNode};
use crate::sim::zookeeper::{ModelledZooKeeper, now};
use crate::wire::error_code::ErrorCode;
use crate::wire::message::Message;
use crate::wire::message::allocate_producer_ids::AllocateProducerIdsRequest;
use crate::wire::message::alter_partition::{
    AlterPartitionRequest, AlterPartitionRequestBrokerState, AlterPartitionRequestPartition,
    AlterPartitionRequestTopic, AlterPartitionResponse,
};
use crate::wire::message::alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsRequestTopic,
    AlterPartitionReassignmentsRequestTopicPartition,
};
use crate::wire::message::controlled_shutdown::ControlledShutdownRequest;
use crate::wire::message::elect_leaders::{ElectLeadersRequest, ElectLeadersRequestTopicPartition};
use crate::wire::message::leader_and_isr::LeaderAndIsrRequest;
use crate::wire::message::list_partition_reassignments::ListPartitionReassignmentsRequest;
use crate::wire::message::stop_replica::StopReplicaRequest;
use crate::wire::message::update_metadata::UpdateMetadataRequest;
use crate::wire::primitive::Reader;

/// The session of tools and of the test itself; brokers have their ids.
const TOOL: i64 = 1000;

/// What a broker was told of its replicas.
#[derive(Debug, Default)]
struct Broker {
    /// Leader and leader epoch of each replica it has.
    replicas: BTreeMap<TopicPartition, (i32, i32)>,
    /// Leader and offline replicas of each partition clients are told of.
    shown: BTreeMap<TopicPartition, (i32, Vec<i32>)>,
    live: Vec<i32>,
    /// Replicas on a lost directory.
    lost: BTreeSet<TopicPartition>,
}

struct Cluster {
    zookeeper: ModelledZooKeeper,
    protocol: Version,
    controller: Option<Controller<ModelledZooKeeper>>,
    brokers: BTreeMap<i32, Broker>,
    /// What was sent since it was last looked at.
    sent: Vec<Outgoing>,
    unclean: bool,
    deletes: bool,
}

impl Cluster {
    fn new(protocol: &str, brokers: &[i32]) -> Cluster {
        let zookeeper = ModelledZooKeeper::new(TOOL);
        for path in znode::PERSISTENT {
            zookeeper.tree().put(TOOL, path, b"");
        }
        let protocol = Version::parse(protocol).unwrap();
        let mut cluster = Cluster {
            zookeeper,
            protocol,
            controller: None,
            brokers: BTreeMap::new(),
            sent: Vec::new(),
            unclean: false,
            deletes: true,
        };
        brokers.iter().for_each(|id| cluster.register(*id));
        cluster
    }

    /// As `new`, with the first broker in office.
    fn led(protocol: &str, brokers: &[i32]) -> Cluster {
        let mut cluster = Cluster::new(protocol, brokers);
        cluster.elect(brokers[0]);
        cluster
    }

    fn register(&mut self, id: i32) {
        let path = znode::broker(id);
        let port = 9000 + id;
        let data = format!(
            r#"{{"version":5,"host":"h{id}","port":{port},"jmx_port":-1,"timestamp":"1","endpoints":["PLAINTEXT://h{id}:{port}"],"rack":"r{id}","features":{{}},"listener_security_protocol_map":{{"PLAINTEXT":"PLAINTEXT"}}}}"#
        );
        let mut tree = self.zookeeper.tree();
        tree.create(id.into(), &path, Some(data.as_bytes()), Mode::Ephemeral).unwrap();
        drop(tree);
        self.brokers.insert(id, Broker::default());
    }

    /// The broker comes, and everything that follows from it.
    fn comes(&mut self, id: i32) {
        self.register(id);
        self.settle();
    }

    /// The broker's session ends, and everything that follows from it.
    fn goes(&mut self, id: i32) {
        self.brokers.remove(&id);
        self.zookeeper.tree().end(id.into());
        self.settle();
    }

    fn elect(&mut self, id: i32) {
        let outcome = self.try_elect(id);
        outcome.unwrap_or_else(|why| panic!("{why}"));
        self.settle();
    }

    fn try_elect(&mut self, id: i32) -> Result<(), Lost> {
        let read = self.zookeeper.tree().get(znode::CONTROLLER_EPOCH);
        let (epoch, version) = match read {
            Some(node) => (znode::decode_controller_epoch(&node.data).unwrap(), node.version),
            None => {
                self.zookeeper.tree().put(TOOL, znode::CONTROLLER_EPOCH, b"0");
                (0, 0)
            }
        };
        let _ = self.zookeeper.tree().delete(TOOL, znode::CONTROLLER);
        let data = Some((epoch + 1).to_string().into_bytes());
        let operations = [
            Operation::Create {
                path: znode::CONTROLLER.to_owned(),
                data: Some(Vec::new()),
                mode: Mode::Ephemeral,
            },
            Operation::SetData { path: znode::CONTROLLER_EPOCH.to_owned(), data, version },
        ];
        self.zookeeper.tree().multi(id.into(), &operations).unwrap();
        let fence = Fence { epoch: epoch + 1, version: version + 1 };
        let session = self.zookeeper.session(id.into());
        self.controller = None;
        self.controller = Some(now(Controller::elected(session, self.terms(id), fence))?);
        Ok(())
    }

    fn terms(&self, id: i32) -> Terms {
        let mut next = 1;
        Terms {
            broker_id: BrokerId(id),
            protocol: self.protocol,
            inter_broker_listener: "PLAINTEXT".into(),
            delete_topic_enable: self.deletes,
            unclean_leader_election: self.unclean,
            imbalance_percentage: 10,
            random: Box::new(move || {
                next += 1;
                next
            }),
        }
    }

    fn controller(&mut self) -> &mut Controller<ModelledZooKeeper> {
        self.controller.as_mut().expect("a controller in office")
    }

    /// Carries watches and requests until nothing moves any more.
    fn settle(&mut self) {
        loop {
            let Some(controller) = self.controller.as_mut() else { return };
            let fired = controller.ensemble.take_fired();
            let outgoing = controller.take_outbox();
            if fired.is_empty() && outgoing.is_empty() {
                return;
            }
            for path in fired {
                let Some(event) = Event::of_path(&path) else { continue };
                now(self.controller().handle(event)).unwrap_or_else(|why| panic!("{path}: {why}"));
            }
            for outgoing in outgoing {
                self.deliver(outgoing);
            }
        }
    }

    /// The request goes over the wire both ways.
    fn deliver(&mut self, outgoing: Outgoing) {
        self.sent.push(outgoing.clone());
        let Outgoing { to, request } = outgoing;
        let mut body = Vec::new();
        request.encode(&mut body, self.protocol);
        let version = request.version(self.protocol);
        let Some(broker) = self.brokers.get_mut(&to.0) else { return };
        let reply = broker.serve(&body, &request, version);
        let answer = request.answer(&reply, self.protocol).unwrap();
        let epoch = request.broker_epoch();
        now(self.controller().answered(to, epoch, answer)).unwrap();
    }

    fn make_topic(&mut self, name: &str, replicas: &[&[i32]]) {
        let node = TopicNode {
            partitions: (0..).zip(replicas.iter().map(|ids| ids.to_vec())).collect(),
            topic_id: None,
            ..TopicNode::default()
        };
        self.zookeeper.tree().put(TOOL, &znode::topic(name), &node.encode());
        self.settle();
    }

    fn put(&mut self, path: &str, data: &str) {
        self.zookeeper.tree().put(TOOL, path, data.as_bytes());
        self.settle();
    }

    fn state(&self, topic: &str, partition: i32) -> (StateNode, i32) {
        let path = znode::partition_state(topic, partition);
        let node = self.zookeeper.tree().get(&path).unwrap_or_else(|| panic!("{path} is missing"));
        (StateNode::decode(&path, &node.data).unwrap(), node.version)
    }

    /// Leader, leader epoch, in-sync set, version.
    fn lead(&self, topic: &str, partition: i32) -> (i32, i32, Vec<i32>, i32) {
        let (node, version) = self.state(topic, partition);
        (node.leader, node.leader_epoch, node.isr, version)
    }

    fn exists(&self, path: &str) -> bool {
        self.zookeeper.tree().get(path).is_some()
    }

    /// What was sent since the last call, in short: `L1` LeaderAndIsr to broker 1, `M` UpdateMetadata, `S` StopReplica.
    fn sent(&mut self) -> Vec<String> {
        let short = |outgoing: &Outgoing| {
            let (letter, count) = match &outgoing.request {
                ControlRequest::LeaderAndIsr(request) => ('L', request.partitions.len()),
                ControlRequest::UpdateMetadata(request) => ('M', request.partitions.len()),
                ControlRequest::StopReplica(request) => ('S', request.partitions.len()),
            };
            format!("{letter}{}:{count}", outgoing.to)
        };
        std::mem::take(&mut self.sent).iter().map(short).collect()
    }

    fn alter(
        &mut self,
        leader: i32,
        topic: &str,
        partition: i32,
        isr: &[i32],
    ) -> AlterPartitionResponse<'static> {
        let (state, version) = self.state(topic, partition);
        self.alter_at(leader, topic, partition, isr, state.leader_epoch, version)
    }

    fn alter_at(
        &mut self,
        leader: i32,
        topic: &str,
        partition: i32,
        isr: &[i32],
        leader_epoch: i32,
        partition_epoch: i32,
    ) -> AlterPartitionResponse<'static> {
        let broker_epoch = self.zookeeper.tree().get(&znode::broker(leader)).unwrap().czxid;
        let topic_id = self.controller().context.topic(topic).and_then(|topic| topic.id).unwrap_or_default();
        let state = |id: &i32| AlterPartitionRequestBrokerState { broker_id: *id, broker_epoch: -1 };
        let request = AlterPartitionRequest {
            broker_id: leader,
            broker_epoch,
            topics: [AlterPartitionRequestTopic {
                topic_name: topic,
                topic_id,
                partitions: [AlterPartitionRequestPartition {
                    partition_index: partition,
                    leader_epoch,
                    partition_epoch,
                    new_isr: isr.to_vec().into(),
                    new_isr_with_epochs: isr.iter().map(state).collect(),
                    leader_recovery_state: 0,
                }]
                .into(),
            }]
            .into(),
        };
        let version = if topic_id.is_zero() { 1 } else { 3 };
        let response = now(self.controller().alter_partition(&request, version)).unwrap();
        self.settle();
        response
    }

    /// What must hold whenever nothing moves.
    fn check(&mut self) {
        let controller = self.controller.as_ref().expect("a controller in office");
        for (at, partition) in controller.context.all_partitions() {
            if controller.context.is_to_be_deleted(&at.topic) {
                continue;
            }
            let Some(lead) = &partition.lead else {
                assert!(partition.assignment.replicas.iter().all(|id| !self.brokers.contains_key(&id.0)));
                continue;
            };
            let (node, version) = self.state(&at.topic, at.partition);
            assert_eq!(node.leader, lead.leader.map_or(-1, |id| id.0), "{at}");
            assert_eq!((node.leader_epoch, version), (lead.leader_epoch, lead.version), "{at}");
            assert_eq!(node.isr, lead.isr.iter().map(|id| id.0).collect::<Vec<_>>(), "{at}");
            assert!(!node.isr.is_empty(), "{at}");
            let online = |id: &i32| controller.context.is_online_or_stopping(BrokerId(*id), &at);
            match node.leader {
                -1 => {
                    let waits = node.isr.iter().all(|id| !online(id));
                    assert!(waits, "{at}: somebody in sync lives, and nobody leads: {node:?}");
                }
                leader => {
                    assert!(node.isr.contains(&leader) && online(&leader), "{at}: {node:?}");
                    assert!(node.isr.iter().all(online), "{at}: {node:?}");
                }
            }
            // Brokers know the same.
            for (id, broker) in &self.brokers {
                assert_eq!(broker.shown.get(&at).map(|shown| shown.0), Some(node.leader), "{at} at {id}");
                if partition.assignment.replicas.contains(&BrokerId(*id)) && !broker.lost.contains(&at) {
                    let told = broker.replicas.get(&at);
                    if !controller.context.stopping.contains(&BrokerId(*id)) {
                        assert_eq!(told, Some(&(node.leader, node.leader_epoch)), "{at} at {id}");
                    }
                }
                assert_eq!(broker.live, self.brokers.keys().copied().collect::<Vec<_>>(), "at {id}");
            }
        }
    }
}

impl Broker {
    fn serve(&mut self, body: &[u8], request: &ControlRequest, version: i16) -> Vec<u8> {
        let mut reader = Reader::new(body);
        let mut reply = Vec::new();
        match request {
            ControlRequest::LeaderAndIsr(typed) => {
                let request = LeaderAndIsrRequest::decode(&mut reader, version).unwrap();
                let mut errors = Vec::new();
                let count: usize =
                    request.topic_states.iter().map(|topic| topic.partition_states.len()).sum();
                assert_eq!(count + request.ungrouped_partition_states.len(), typed.partitions.len());
                let grouped = request.topic_states.iter().flat_map(|topic| {
                    let name = topic.topic_name;
                    topic.partition_states.into_iter().map(move |state| (name, topic.topic_id, state))
                });
                let ungrouped = request
                    .ungrouped_partition_states
                    .iter()
                    .map(|state| (state.topic_name, Default::default(), state));
                for (name, id, state) in grouped.chain(ungrouped) {
                    let at = TopicPartition::new(name, state.partition_index);
                    let known = self.replicas.get(&at).map_or(-1, |(_, epoch)| *epoch);
                    let error = if self.lost.contains(&at) {
                        ErrorCode::KafkaStorageError
                    } else if state.leader_epoch <= known {
                        ErrorCode::StaleControllerEpoch
                    } else {
                        assert!(state.is_new || self.replicas.contains_key(&at) || known == -1);
                        self.replicas.insert(at, (state.leader, state.leader_epoch));
                        ErrorCode::None
                    };
                    errors.push((name, id, state.partition_index, error.code()));
                }
                use crate::wire::message::leader_and_isr as message;
                let error = |(name, _, partition_index, error_code): &(&str, _, i32, i16)| {
                    message::LeaderAndIsrResponsePartitionError {
                        topic_name: (*name).to_owned().into(),
                        partition_index: *partition_index,
                        error_code: *error_code,
                    }
                };
                let mut response = message::LeaderAndIsrResponse::default();
                if version >= 5 {
                    response.topics = errors
                        .iter()
                        .map(|entry| message::LeaderAndIsrResponseTopic {
                            topic_id: entry.1,
                            partition_errors: vec![error(entry)],
                        })
                        .collect();
                } else {
                    response.partition_errors = errors.iter().map(error).collect();
                }
                response.encode(&mut reply, version);
            }
            ControlRequest::UpdateMetadata(_) => {
                let request = UpdateMetadataRequest::decode(&mut reader, version).unwrap();
                self.live = request.live_brokers.iter().map(|broker| broker.id).collect();
                let grouped = request.topic_states.iter().flat_map(|topic| {
                    let name = topic.topic_name;
                    topic.partition_states.into_iter().map(move |state| (name, state))
                });
                let ungrouped =
                    request.ungrouped_partition_states.iter().map(|state| (state.topic_name, state));
                for (name, state) in grouped.chain(ungrouped) {
                    let at = TopicPartition::new(name, state.partition_index);
                    if state.leader == DURING_DELETION {
                        self.shown.remove(&at);
                    } else {
                        self.shown.insert(at, (state.leader, state.offline_replicas.iter().collect()));
                    }
                }
                crate::wire::message::update_metadata::UpdateMetadataResponse::default()
                    .encode(&mut reply, version);
            }
            ControlRequest::StopReplica(typed) => {
                StopReplicaRequest::decode(&mut reader, version).unwrap();
                for (at, stop) in &typed.partitions {
                    if stop.delete {
                        self.replicas.remove(at);
                    }
                }
                crate::wire::message::stop_replica::StopReplicaResponse::default()
                    .encode(&mut reply, version);
            }
        }
        reply
    }
}

const PROTOCOLS: [&str; 4] = ["1.0", "2.6", "2.8", "3.9"];

#[test]
fn a_new_topic_gets_nodes_leaders_and_requests_in_this_order() {
    for protocol in PROTOCOLS {
        let mut cluster = Cluster::led(protocol, &[1, 2, 3]);
        cluster.sent();
        cluster.zookeeper.tree().take_log();
        cluster.make_topic("t", &[&[1, 2, 3], &[2, 3, 1]]);
        assert_eq!(cluster.lead("t", 0), (1, 0, vec![1, 2, 3], 0));
        assert_eq!(cluster.lead("t", 1), (2, 0, vec![2, 3, 1], 0));
        assert_eq!(cluster.sent(), ["L1:2", "L2:2", "L3:2", "M1:2", "M2:2", "M3:2"], "{protocol}");
        let log = cluster.zookeeper.tree().take_log();
        let made: Vec<&str> = log
            .iter()
            .filter_map(|done| match &done.operation {
                Operation::Create { path, .. } => path.strip_prefix("/brokers/topics/t"),
                _ => None,
            })
            .collect();
        let wanted = [
            "",
            "/partitions",
            "/partitions/0",
            "/partitions/1",
            "/partitions/0/state",
            "/partitions/1/state",
        ];
        assert_eq!(made, wanted);
        let node = cluster.zookeeper.tree().get("/brokers/topics/t").unwrap();
        let node = TopicNode::decode("/t", &node.data).unwrap();
        assert_eq!(node.topic_id.is_some(), protocol >= "2.8", "{protocol}");
        cluster.check();
    }
}

#[test]
fn a_broker_that_dies_loses_its_leaders_in_one_write_each_under_a_living_controller() {
    for protocol in PROTOCOLS {
        let mut cluster = Cluster::led(protocol, &[1, 2, 3]);
        cluster.make_topic("t", &[&[1, 2, 3], &[2, 3, 1], &[3, 1, 2]]);
        cluster.sent();
        cluster.goes(2);
        // One batch for the leader that is elected, one for the in-sync sets.
        assert_eq!(cluster.sent(), ["L1:1", "L3:1", "M1:1", "M3:1", "L1:3", "L3:3", "M1:3", "M3:3"]);
        assert_eq!(cluster.lead("t", 0), (1, 1, vec![1, 3], 1));
        assert_eq!(cluster.lead("t", 1), (3, 1, vec![3, 1], 1));
        assert_eq!(cluster.lead("t", 2), (3, 1, vec![3, 1], 1));
        assert_eq!(cluster.brokers[&1].shown[&TopicPartition::new("t", 0)], (1, vec![2]));
        cluster.check();
        cluster.comes(2);
        let sent = cluster.sent();
        assert_eq!(sent, ["M1:0", "M3:0", "M2:3", "L2:3", "M1:3", "M2:3", "M3:3"], "{protocol}");
        cluster.check();
    }
}

#[test]
fn a_new_controller_writes_twice_where_the_dead_one_led() {
    let mut cluster = Cluster::led("3.9", &[1, 2, 3]);
    cluster.make_topic("t", &[&[1, 2, 3], &[2, 3, 1]]);
    cluster.controller = None;
    cluster.brokers.remove(&1);
    cluster.zookeeper.tree().end(1);
    cluster.elect(2);
    assert_eq!(cluster.lead("t", 0), (2, 2, vec![2, 3], 2));
    assert_eq!(cluster.lead("t", 1), (2, 1, vec![2, 3], 1));
    assert_eq!(cluster.state("t", 0).0.controller_epoch, 2);
    cluster.check();
}

#[test]
fn a_broker_that_came_back_before_it_was_missed_is_gone_and_come() {
    let mut cluster = Cluster::led("3.9", &[1, 2]);
    cluster.make_topic("t", &[&[2, 1], &[1, 2]]);
    cluster.zookeeper.tree().end(2);
    cluster.register(2);
    cluster.settle();
    assert_eq!(cluster.lead("t", 0), (1, 1, vec![1], 1));
    cluster.check();
    let epoch = cluster.zookeeper.tree().get(&znode::broker(2)).unwrap().czxid;
    assert_eq!(cluster.controller().brokers()[&BrokerId(2)].epoch, epoch);
}

#[test]
fn a_broker_that_listens_elsewhere_is_told_to_all() {
    let mut cluster = Cluster::led("3.9", &[1, 2]);
    cluster.sent();
    let node = cluster.zookeeper.tree().get(&znode::broker(2)).unwrap();
    let moved = String::from_utf8(node.data).unwrap().replace("//h2:", "//elsewhere:");
    cluster.put(&znode::broker(2), &moved);
    assert_eq!(cluster.sent(), ["M1:0", "M2:0"]);
    assert_eq!(&*cluster.controller().brokers()[&BrokerId(2)].listeners[0].host, "elsewhere");
}

#[test]
fn a_topic_grows_by_its_node() {
    let mut cluster = Cluster::led("3.9", &[1, 2]);
    cluster.make_topic("t", &[&[1, 2]]);
    cluster.put("/brokers/topics/t", r#"{"version":3,"partitions":{"0":[1,2],"1":[2]},"mine":1}"#);
    assert_eq!(cluster.lead("t", 1), (2, 0, vec![2], 0));
    let node = cluster.zookeeper.tree().get("/brokers/topics/t").unwrap();
    let text = String::from_utf8(node.data).unwrap();
    assert!(text.contains("\"mine\":1") && text.contains("topic_id"), "{text}");
    cluster.check();
}

#[test]
fn a_broker_that_asks_to_stop_leads_nothing_that_others_can_lead() {
    for protocol in PROTOCOLS {
        let mut cluster = Cluster::led(protocol, &[1, 2, 3]);
        cluster.make_topic("t", &[&[3, 1, 2], &[1, 3], &[3]]);
        cluster.sent();
        let ask = |cluster: &mut Cluster, id: i32| {
            let broker_epoch = cluster.zookeeper.tree().get(&znode::broker(id)).map_or(0, |node| node.czxid);
            let request = ControlledShutdownRequest { broker_id: id, broker_epoch };
            let response = now(cluster.controller().controlled_shutdown(&request)).unwrap();
            cluster.settle();
            response
        };
        let response = ask(&mut cluster, 3);
        assert_eq!((response.error_code, response.remaining_partitions.len()), (0, 0));
        assert_eq!(cluster.lead("t", 0), (1, 1, vec![1, 2], 1));
        assert_eq!(cluster.lead("t", 1), (1, 1, vec![1], 1));
        assert_eq!(cluster.lead("t", 2), (3, 0, vec![3], 0), "nobody else has it");
        let sent = cluster.sent();
        let wanted =
            ["L1:1", "L2:1", "L3:1", "M1:1", "M2:1", "M3:1", "S3:1", "L1:1", "M1:1", "M2:1", "M3:1", "S3:1"];
        assert_eq!(sent, wanted);
        // The last one in sync leads to the end, and says so.
        let response = ask(&mut cluster, 1);
        let left: Vec<i32> = response.remaining_partitions.iter().map(|it| it.partition_index).collect();
        assert_eq!(left, [1]);
        let stale = ControlledShutdownRequest { broker_id: 1, broker_epoch: 0 };
        let response = now(cluster.controller().controlled_shutdown(&stale)).unwrap();
        assert_eq!(response.error_code, ErrorCode::StaleBrokerEpoch.code());
        assert_eq!(ask(&mut cluster, 9).error_code, ErrorCode::BrokerNotAvailable.code());
    }
}

#[test]
fn in_sync_sets_change_as_their_leaders_ask() {
    let mut cluster = Cluster::led("3.9", &[1, 2, 3]);
    cluster.make_topic("t", &[&[1, 2, 3]]);
    cluster.sent();
    let response = cluster.alter(1, "t", 0, &[1, 2]);
    let partition = &response.topics[0].partitions[0];
    assert_eq!((partition.error_code, partition.leader_epoch, partition.partition_epoch), (0, 0, 1));
    assert_eq!(cluster.lead("t", 0), (1, 0, vec![1, 2], 1));
    assert_eq!(cluster.sent(), ["M1:1", "M2:1", "M3:1"]);
    let error = |response: AlterPartitionResponse<'_>| response.topics[0].partitions[0].error_code;
    // The same again changes nothing, also with the version before it: the answer was lost.
    assert_eq!(error(cluster.alter_at(1, "t", 0, &[1, 2], 0, 0)), 0);
    assert_eq!(cluster.lead("t", 0).3, 1);
    assert_eq!(error(cluster.alter_at(1, "t", 0, &[1], 0, 0)), ErrorCode::InvalidUpdateVersion.code());
    assert_eq!(error(cluster.alter_at(1, "t", 0, &[1], 0, 2)), ErrorCode::NotController.code());
    assert_eq!(error(cluster.alter_at(2, "t", 0, &[2], 0, 1)), ErrorCode::InvalidRequest.code());
    assert_eq!(error(cluster.alter(1, "t", 0, &[1, 2, 9])), ErrorCode::IneligibleReplica.code());
    cluster.goes(2);
    assert_eq!(error(cluster.alter_at(1, "t", 0, &[1, 3], 0, 1)), ErrorCode::FencedLeaderEpoch.code());
    assert_eq!(error(cluster.alter(1, "t", 0, &[1, 2])), ErrorCode::IneligibleReplica.code());
    assert_eq!(error(cluster.alter(1, "t", 0, &[1, 3])), 0);
    cluster.check();
}

#[test]
fn in_sync_sets_that_leaders_wrote_themselves_are_found_by_their_notes() {
    let mut cluster = Cluster::led("2.6", &[1, 2, 3]);
    cluster.make_topic("t", &[&[1, 2, 3]]);
    cluster.sent();
    let (mut state, _) = cluster.state("t", 0);
    state.isr = vec![1, 3];
    let path = znode::partition_state("t", 0);
    cluster.zookeeper.tree().put(1, &path, &state.encode());
    cluster.put(
        "/isr_change_notification/isr_change_0000000000",
        r#"{"version":1,"partitions":[{"topic":"t","partition":0},{"topic":"none","partition":4}]}"#,
    );
    assert_eq!(cluster.sent(), ["M1:1", "M2:1", "M3:1"]);
    assert!(!cluster.exists("/isr_change_notification/isr_change_0000000000"));
    cluster.check();
}

/// A leader that wrote its in-sync set and has not said so yet: nobody is elected on what was known before.
#[test]
fn what_leaders_wrote_themselves_is_read_before_anybody_is_elected() {
    let mut cluster = Cluster::led("2.6", &[1, 2, 3]);
    cluster.make_topic("t", &[&[2, 1, 3]]);
    let (mut state, _) = cluster.state("t", 0);
    state.isr = vec![2, 3];
    cluster.zookeeper.tree().put(2, &znode::partition_state("t", 0), &state.encode());
    cluster.goes(2);
    assert_eq!(cluster.lead("t", 0), (3, 1, vec![3], 2));
    cluster.check();
}

#[test]
fn a_state_somebody_else_changed_meanwhile_is_read_again_and_written_once() {
    for protocol in PROTOCOLS {
        let mut cluster = Cluster::led(protocol, &[1, 2, 3]);
        cluster.make_topic("t", &[&[2, 1, 3], &[2, 1, 3]]);
        let (mut state, _) = cluster.state("t", 0);
        state.isr = vec![2, 3];
        let session = cluster.controller().ensemble.clone();
        session.before_each_multi(move |tree, number| {
            if number == 0 {
                tree.put(2, &znode::partition_state("t", 0), &state.encode());
            }
        });
        cluster.goes(2);
        assert_eq!(cluster.lead("t", 0), (3, 1, vec![3], 2), "{protocol}");
        assert_eq!(cluster.lead("t", 1), (1, 1, vec![1, 3], 1), "{protocol}");
        cluster.check();
    }
}

#[test]
fn a_write_whose_answer_was_lost_counts_once() {
    let mut cluster = Cluster::led("3.9", &[1, 2, 3]);
    cluster.zookeeper.resend_each(1);
    cluster.make_topic("t", &[&[2, 1, 3], &[1, 2, 3]]);
    assert_eq!(cluster.lead("t", 0), (2, 0, vec![2, 1, 3], 0));
    cluster.goes(2);
    assert_eq!(cluster.lead("t", 0), (1, 1, vec![1, 3], 1));
    assert_eq!(cluster.lead("t", 1), (1, 1, vec![1, 3], 1));
    assert_eq!(cluster.alter(1, "t", 0, &[1]).topics[0].partitions[0].error_code, 0);
    assert_eq!(cluster.lead("t", 0), (1, 1, vec![1], 2));
    cluster.check();
}

#[test]
fn a_deposed_controller_writes_nothing_and_says_so() {
    let mut cluster = Cluster::led("3.9", &[1, 2, 3]);
    cluster.make_topic("t", &[&[2, 1, 3]]);
    let mut old = cluster.controller.take().expect("a controller");
    cluster.elect(3);
    cluster.goes(2);
    let after = cluster.lead("t", 0);
    assert_eq!(after, (1, 1, vec![1, 3], 1));
    assert_eq!(now(old.handle(Event::Brokers)), Err(Lost::Deposed));
    assert_eq!(cluster.lead("t", 0), after);
}

#[test]
fn preferred_leaders_come_back_by_node_by_request_and_by_balance() {
    let mut cluster = Cluster::led("3.9", &[1, 2, 3]);
    cluster.make_topic("t", &[&[2, 1, 3], &[2, 3, 1], &[2, 1, 3], &[1, 2, 3]]);
    cluster.goes(2);
    cluster.comes(2);
    for partition in 0..4 {
        let (leader, ..) = cluster.lead("t", partition);
        assert_eq!(cluster.alter(leader, "t", partition, &[1, 2, 3]).topics[0].partitions[0].error_code, 0);
    }
    cluster.put(
        znode::PREFERRED_ELECTION,
        r#"{"version":1,"partitions":[{"topic":"t","partition":0},{"topic":"none","partition":0}]}"#,
    );
    assert_eq!((cluster.lead("t", 0).0, cluster.lead("t", 1).0), (2, 3));
    assert!(!cluster.exists(znode::PREFERRED_ELECTION));
    let ask = |cluster: &mut Cluster, partitions: Option<&[i32]>, election_type| {
        let topic =
            |ids: &[i32]| ElectLeadersRequestTopicPartition { topic: "t", partitions: ids.to_vec().into() };
        let topic_partitions = partitions.map(|ids| [topic(ids)].into());
        let request = ElectLeadersRequest { election_type, topic_partitions, timeout_ms: 1 };
        let elected = now(cluster.controller().elect_leaders(&request, 2)).unwrap();
        cluster.settle();
        let results =
            elected.response.replica_election_results.into_iter().flat_map(|it| it.partition_result);
        let results: Vec<(i32, i16)> = results.map(|it| (it.partition_id, it.error_code)).collect();
        (results, elected.leaders.len())
    };
    let needless = ErrorCode::ElectionNotNeeded.code();
    let unknown = ErrorCode::UnknownTopicOrPartition.code();
    let answer = ask(&mut cluster, Some(&[0, 1, 7]), 0);
    assert_eq!(answer, (vec![(0, needless), (1, 0), (7, unknown)], 1));
    assert_eq!(ask(&mut cluster, Some(&[1]), 1), (vec![(1, needless)], 0));
    now(cluster.controller().check_balance()).unwrap();
    cluster.settle();
    assert_eq!(cluster.lead("t", 2).0, 2);
    assert_eq!(ask(&mut cluster, None, 0), (vec![], 0));
    cluster.check();
}

#[test]
fn a_partition_without_anybody_in_sync_waits_unless_somebody_allows_a_loss() {
    let mut cluster = Cluster::led("3.9", &[1, 2]);
    cluster.make_topic("t", &[&[2, 1]]);
    assert_eq!(cluster.alter(2, "t", 0, &[2]).error_code, 0);
    cluster.goes(2);
    assert_eq!(cluster.lead("t", 0), (-1, 1, vec![2], 2));
    cluster.check();
    cluster.put("/config/topics/t", r#"{"version":1,"config":{"unclean.leader.election.enable":"true"}}"#);
    now(cluster.controller().topic_settings_changed("t")).unwrap();
    cluster.settle();
    assert_eq!(cluster.lead("t", 0), (1, 2, vec![1], 3));
    assert!(cluster.state("t", 0).0.recovering);
    cluster.check();
}

#[test]
fn a_topic_is_deleted_when_every_replica_is_and_not_before() {
    for protocol in PROTOCOLS {
        let mut cluster = Cluster::led(protocol, &[1, 2, 3]);
        cluster.make_topic("t", &[&[1, 2], &[2, 3]]);
        cluster.put("/config/topics/t", r#"{"version":1,"config":{}}"#);
        cluster.goes(3);
        cluster.put("/admin/delete_topics/t", "");
        cluster.put("/admin/delete_topics/none", "");
        assert!(!cluster.exists("/admin/delete_topics/none"));
        assert!(cluster.exists("/brokers/topics/t") && cluster.exists("/admin/delete_topics/t"));
        assert!(cluster.brokers[&1].shown.is_empty(), "clients are told at once");
        cluster.comes(3);
        for path in ["/brokers/topics/t", "/config/topics/t", "/admin/delete_topics/t"] {
            assert!(!cluster.exists(path), "{path} at {protocol}");
        }
        assert!(cluster.brokers.values().all(|broker| broker.replicas.is_empty()), "{protocol}");
        assert!(cluster.controller().context.topics().is_empty());
    }
}

#[test]
fn nothing_is_deleted_where_deletion_is_switched_off() {
    let mut cluster = Cluster::new("3.9", &[1]);
    cluster.deletes = false;
    cluster.elect(1);
    cluster.make_topic("t", &[&[1]]);
    cluster.put("/admin/delete_topics/t", "");
    assert!(cluster.exists("/brokers/topics/t") && !cluster.exists("/admin/delete_topics/t"));
    cluster.check();
}

#[test]
fn a_new_controller_ends_a_deletion_that_was_begun() {
    let mut cluster = Cluster::led("3.9", &[1, 2]);
    cluster.make_topic("t", &[&[1, 2]]);
    // The request stands, and the controller is gone before it hears of it.
    cluster.controller = None;
    cluster.zookeeper.tree().put(TOOL, "/admin/delete_topics/t", b"");
    cluster.elect(2);
    assert!(!cluster.exists("/brokers/topics/t") && !cluster.exists("/admin/delete_topics/t"));
}

#[test]
fn a_partition_moves_and_its_old_replicas_go() {
    for protocol in PROTOCOLS {
        let mut cluster = Cluster::led(protocol, &[1, 2, 3]);
        cluster.make_topic("t", &[&[1, 2]]);
        let moves = r#"{"version":1,"partitions":[{"topic":"t","partition":0,"replicas":[2,3]},{"topic":"none","partition":0,"replicas":[1]}]}"#;
        cluster.put(znode::REASSIGN_PARTITIONS, moves);
        let node = cluster.zookeeper.tree().get(znode::REASSIGN_PARTITIONS).expect("a request in work");
        assert_eq!(znode::decode_reassignment(&node.data).unwrap().len(), 1, "the unknown one is dropped");
        assert_eq!(cluster.lead("t", 0), (1, 1, vec![1, 2], 1));
        let listed = cluster.controller().list_reassignments(&ListPartitionReassignmentsRequest::default());
        let listed = &listed.topics[0].partitions[0];
        assert_eq!((&*listed.replicas, &*listed.adding_replicas), (&[2, 3, 1][..], &[3][..]));
        // The new one has caught up.
        if protocol >= "2.8" {
            cluster.alter(1, "t", 0, &[1, 2, 3]);
        } else {
            let (mut state, _) = cluster.state("t", 0);
            state.isr = vec![1, 2, 3];
            cluster.zookeeper.tree().put(1, &znode::partition_state("t", 0), &state.encode());
            cluster.settle();
        }
        assert_eq!(cluster.lead("t", 0), (2, 3, vec![2, 3], 4), "{protocol}");
        let node = cluster.zookeeper.tree().get("/brokers/topics/t").unwrap();
        let node = TopicNode::decode("/t", &node.data).unwrap();
        assert_eq!(node.partitions[&0], [2, 3]);
        assert!(node.adding.is_empty() && node.removing.is_empty());
        assert!(!cluster.exists(znode::REASSIGN_PARTITIONS));
        assert!(cluster.brokers[&1].replicas.is_empty());
        assert!(cluster.controller().context.moving.is_empty());
        cluster.check();
    }
}

#[test]
fn a_move_can_be_called_off_and_survives_its_controller() {
    let mut cluster = Cluster::led("3.9", &[1, 2, 3]);
    cluster.make_topic("t", &[&[1, 2]]);
    let ask = |cluster: &mut Cluster, target: Option<&[i32]>| {
        let partition = AlterPartitionReassignmentsRequestTopicPartition {
            partition_index: 0,
            replicas: target.map(|ids| ids.to_vec().into()),
        };
        let topic = AlterPartitionReassignmentsRequestTopic { name: "t", partitions: [partition].into() };
        let request = AlterPartitionReassignmentsRequest { timeout_ms: 1, topics: [topic].into() };
        let response = now(cluster.controller().alter_reassignments(&request)).unwrap();
        cluster.settle();
        response.responses[0].partitions[0].error_code
    };
    let invalid = ErrorCode::InvalidReplicaAssignment.code();
    assert_eq!(ask(&mut cluster, None), ErrorCode::NoReassignmentInProgress.code());
    for wrong in [&[][..], &[1, 1], &[-1], &[1, 9]] {
        assert_eq!(ask(&mut cluster, Some(wrong)), invalid, "{wrong:?}");
    }
    assert_eq!(ask(&mut cluster, Some(&[3, 2])), 0);
    // Another target, before the first is in sync: what was added for the first goes again.
    assert_eq!(ask(&mut cluster, Some(&[2, 1])), 0);
    assert!(cluster.brokers[&3].replicas.is_empty());
    cluster.check();
    assert_eq!(ask(&mut cluster, Some(&[3, 2])), 0);
    assert!(cluster.brokers[&3].replicas.contains_key(&TopicPartition::new("t", 0)));
    cluster.elect(2);
    assert_eq!(cluster.controller().context.moving.len(), 1);
    assert_eq!(ask(&mut cluster, None), 0);
    assert!(cluster.brokers[&3].replicas.is_empty(), "what was begun is undone");
    let (leader, _, isr, _) = cluster.lead("t", 0);
    assert_eq!((leader, isr), (1, vec![1, 2]));
    let node = cluster.zookeeper.tree().get("/brokers/topics/t").unwrap();
    let node = TopicNode::decode("/t", &node.data).unwrap();
    assert_eq!(node.partitions[&0].iter().collect::<BTreeSet<_>>(), BTreeSet::from([&1, &2]));
    assert!(node.adding.is_empty() && node.removing.is_empty());
    cluster.check();
}

/// Java would delete the only replica that is in sync and alive.
#[test]
fn a_move_that_supersedes_another_never_deletes_the_last_replica_in_sync() {
    let mut cluster = Cluster::led("3.9", &[1, 2, 3]);
    cluster.make_topic("t", &[&[2]]);
    cluster.put(
        znode::REASSIGN_PARTITIONS,
        r#"{"version":1,"partitions":[{"topic":"t","partition":0,"replicas":[1,3]}]}"#,
    );
    assert_eq!(cluster.alter(2, "t", 0, &[2, 1]).topics[0].partitions[0].error_code, 0);
    cluster.goes(2);
    assert_eq!(cluster.lead("t", 0).0, 1);
    cluster.put(
        znode::REASSIGN_PARTITIONS,
        r#"{"version":1,"partitions":[{"topic":"t","partition":0,"replicas":[3]}]}"#,
    );
    assert!(cluster.brokers[&1].replicas.contains_key(&TopicPartition::new("t", 0)));
    assert_eq!(cluster.lead("t", 0).0, 1);
    cluster.check();
}

#[test]
fn replicas_on_a_lost_directory_lead_nothing() {
    let mut cluster = Cluster::led("3.9", &[1, 2, 3]);
    cluster.make_topic("t", &[&[3, 1], &[1, 3], &[3, 2]]);
    let lost = [TopicPartition::new("t", 0), TopicPartition::new("t", 1)];
    cluster.brokers.get_mut(&3).unwrap().lost.extend(lost.clone());
    cluster
        .put("/log_dir_event_notification/log_dir_event_0000000000", r#"{"version":1,"broker":3,"event":1}"#);
    assert!(!cluster.exists("/log_dir_event_notification/log_dir_event_0000000000"));
    assert_eq!(cluster.lead("t", 0), (1, 1, vec![1], 1));
    assert_eq!(cluster.lead("t", 1), (1, 1, vec![1], 1));
    assert_eq!(cluster.lead("t", 2), (3, 0, vec![3, 2], 0));
    assert_eq!(cluster.brokers[&1].shown[&lost[0]], (1, vec![3]));
    assert_eq!(
        cluster.controller().context.partition(&lost[0]).unwrap().replica(BrokerId(3)),
        Some(ReplicaState::Offline)
    );
    cluster.check();
    // It comes back with the directory.
    cluster.goes(3);
    cluster.comes(3);
    assert_eq!(cluster.alter(1, "t", 0, &[1, 3]).topics[0].partitions[0].error_code, 0);
    cluster.check();
}

#[test]
fn producer_ids_are_given_in_blocks() {
    let mut cluster = Cluster::led("3.9", &[1, 2]);
    let broker_epoch = cluster.zookeeper.tree().get(&znode::broker(2)).unwrap().czxid;
    let mut ask = |broker_id, broker_epoch| {
        let request = AllocateProducerIdsRequest { broker_id, broker_epoch };
        now(cluster.controller().allocate_producer_ids(&request)).unwrap()
    };
    assert_eq!((ask(2, broker_epoch).producer_id_start, ask(2, broker_epoch).producer_id_start), (0, 1000));
    assert_eq!(ask(2, broker_epoch).producer_id_len, 1000);
    assert_eq!(ask(2, 0).error_code, ErrorCode::StaleBrokerEpoch.code());
    assert_eq!(ask(7, 0).error_code, ErrorCode::BrokerIdNotRegistered.code());
    let node = cluster.zookeeper.tree().get(znode::PRODUCER_ID_BLOCK).unwrap();
    assert_eq!(node.data, br#"{"version":1,"broker":2,"block_start":"2000","block_end":"2999"}"#);
}

#[test]
fn damaged_nodes_are_left_alone_and_the_rest_is_served() {
    let mut cluster = Cluster::led("3.9", &[1, 2]);
    cluster.make_topic("good", &[&[2, 1]]);
    cluster.make_topic("half", &[&[2, 1], &[2, 1]]);
    cluster.put("/brokers/topics/half/partitions/1/state", "{not json");
    cluster.put("/brokers/topics/bad", "[]");
    cluster.put("/admin/reassign_partitions", "{}");
    cluster.put("/admin/preferred_replica_election", "nothing");
    cluster.put("/isr_change_notification/isr_change_0000000001", "?");
    cluster.put("/log_dir_event_notification/log_dir_event_0000000001", "?");
    cluster.elect(1);
    cluster.goes(2);
    assert_eq!(cluster.lead("good", 0).0, 1);
    assert_eq!(cluster.lead("half", 0).0, 1);
    let node = cluster.zookeeper.tree().get("/brokers/topics/half/partitions/1/state").unwrap();
    assert_eq!(node.data, b"{not json");
    for gone in [znode::REASSIGN_PARTITIONS, znode::PREFERRED_ELECTION] {
        assert!(!cluster.exists(gone));
    }
}

#[derive(Clone, Debug)]
enum Step {
    Goes(i32),
    Comes(i32),
    Bounces(i32),
    Stops(i32),
    Elected(i32),
    Made,
    Grown,
    Moved(Vec<i32>),
    CalledOff,
    CatchesUp,
    Lags(i32),
    Deleted,
    Balanced,
}

fn step() -> impl Strategy<Value = Step> {
    let target = proptest::sample::subsequence(vec![1, 2, 3, 4], 1..=3).prop_shuffle();
    (0u8..15, 1i32..5, target).prop_map(|(kind, id, target)| match kind {
        0 | 1 => Step::Goes(id),
        2 | 3 => Step::Comes(id),
        4 => Step::Bounces(id),
        5 => Step::Stops(id),
        6 => Step::Elected(id),
        7 => Step::Made,
        8 => Step::Grown,
        9 => Step::Moved(target),
        10 => Step::CalledOff,
        11 | 12 => Step::CatchesUp,
        13 => Step::Lags(id),
        _ => {
            if id == 1 {
                Step::Deleted
            } else {
                Step::Balanced
            }
        }
    })
}

proptest! {
    /// Through any series of events, and with answers of ZooKeeper lost on the way, the controller's knowledge, ZooKeeper's and the brokers' agree once nothing moves, a
    /// leader is always in sync and alive, and no in-sync set is ever empty.
    #[test]
    fn everybody_agrees_after_any_series_of_events(
        steps in proptest::collection::vec(step(), 0..60),
        protocol in 0usize..4,
        resend_each in 0usize..4,
    ) {
        let mut cluster = Cluster::led(PROTOCOLS[protocol], &[1, 2, 3, 4]);
        cluster.zookeeper.resend_each(resend_each);
        let alters = cluster.protocol >= Version::parse("2.7-IV2").unwrap();
        cluster.make_topic("a", &[&[1, 2, 3], &[2, 3, 4], &[3, 4, 1], &[4, 1]]);
        for step in steps {
            let alive: Vec<i32> = cluster.brokers.keys().copied().collect();
            let in_office = cluster.controller().terms.broker_id.0;
            match step {
                Step::Goes(id) if alive.contains(&id) && alive.len() > 1 => {
                    let next = alive.iter().copied().find(|other| *other != id).unwrap();
                    if id == in_office {
                        cluster.controller = None;
                    }
                    cluster.goes(id);
                    if id == in_office {
                        cluster.elect(next);
                    }
                }
                Step::Comes(id) if !alive.contains(&id) => cluster.comes(id),
                Step::Bounces(id) if alive.contains(&id) && id != in_office => {
                    cluster.zookeeper.tree().end(id.into());
                    cluster.register(id);
                    cluster.settle();
                }
                Step::Stops(id) if alive.contains(&id) && id != in_office => {
                    let request = ControlledShutdownRequest { broker_id: id, broker_epoch: -1 };
                    now(cluster.controller().controlled_shutdown(&request)).unwrap();
                    cluster.settle();
                    cluster.goes(id);
                }
                Step::Elected(id) if alive.contains(&id) => {
                    let before = cluster.controller().epoch();
                    cluster.elect(id);
                    prop_assert!(cluster.controller().epoch() > before);
                }
                Step::Made if !cluster.exists("/brokers/topics/b") => cluster.make_topic("b", &[&[2, 1, 4]]),
                Step::Grown if cluster.exists("/brokers/topics/b") => {
                    let node = cluster.zookeeper.tree().get("/brokers/topics/b").unwrap();
                    let mut node = TopicNode::decode("/b", &node.data).unwrap();
                    let next = node.partitions.len() as i32;
                    node.partitions.insert(next, vec![4, 2]);
                    cluster.zookeeper.tree().put(TOOL, "/brokers/topics/b", &node.encode());
                    cluster.settle();
                }
                Step::Moved(target) => {
                    let entry = format!(r#"{{"topic":"a","partition":0,"replicas":{target:?}}}"#);
                    cluster.put(znode::REASSIGN_PARTITIONS, &format!(r#"{{"version":1,"partitions":[{entry}]}}"#));
                }
                Step::CalledOff => {
                    let partition = AlterPartitionReassignmentsRequestTopicPartition { partition_index: 0, replicas: None };
                    let topic = AlterPartitionReassignmentsRequestTopic { name: "a", partitions: [partition].into() };
                    let request = AlterPartitionReassignmentsRequest { timeout_ms: 1, topics: [topic].into() };
                    now(cluster.controller().alter_reassignments(&request)).unwrap();
                    cluster.settle();
                }
                Step::CatchesUp | Step::Lags(_) => {
                    let led: Vec<(TopicPartition, Lead, Vec<BrokerId>)> = cluster
                        .controller()
                        .context
                        .all_partitions()
                        .filter_map(|(at, it)| Some((at, it.lead.clone()?, it.assignment.replicas.to_vec())))
                        .collect();
                    for (at, lead, replicas) in led {
                        let Some(leader) = lead.leader else { continue };
                        if cluster.controller().context.is_to_be_deleted(&at.topic) {
                            continue;
                        }
                        let stays = |id: &BrokerId| match step {
                            Step::Lags(lagging) => lead.isr.contains(id) && (id.0 != lagging || *id == leader),
                            _ => alive.contains(&id.0),
                        };
                        let isr: Vec<i32> = replicas.iter().filter(|id| stays(id)).map(|id| id.0).collect();
                        if alters {
                            cluster.alter(leader.0, &at.topic, at.partition, &isr);
                        } else if cluster.exists(&znode::partition_state(&at.topic, at.partition)) {
                            let (mut state, _) = cluster.state(&at.topic, at.partition);
                            state.isr = isr;
                            let path = znode::partition_state(&at.topic, at.partition);
                            cluster.zookeeper.tree().put(leader.0.into(), &path, &state.encode());
                            let (topic, partition) = (at.topic.to_string(), at.partition);
                            let note = znode::encode_partitions(&[(topic, partition)]);
                            let path = "/isr_change_notification/isr_change_";
                            cluster
                                .zookeeper
                                .tree()
                                .create(leader.0.into(), path, Some(&note), Mode::PersistentSequential)
                                .unwrap();
                            cluster.settle();
                        }
                    }
                }
                Step::Deleted if cluster.exists("/brokers/topics/b") => {
                    cluster.put("/admin/delete_topics/b", "");
                }
                Step::Balanced => {
                    now(cluster.controller().check_balance()).unwrap();
                    cluster.settle();
                }
                _ => continue,
            }
            cluster.check();
        }
    }
}
