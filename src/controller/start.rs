//! Taking office: everything is read, brokers are told, and what was left undone is done (contract 5.2).
//!
//! In: the right to write, from the election. Out: a context that says what ZooKeeper says, watches on all that changes, and
//! the requests that bring every broker to it. The order is Kafka's: watches first, then what they watch; brokers hear who
//! lives before they hear who leads.

use std::sync::Arc;

use crate::controller::Controller;
use crate::controller::context::{
    Assignment, Listener, Member, PartitionState, ReplicaState, TopicPartition,
};
use crate::controller::ensemble::{Ensemble, Lost};
use crate::ids::BrokerId;
use crate::metadata::fresh_id::fresh_id;
use crate::metadata::topic_name;
use crate::metadata::zookeeper::jute::{Mode, Operation, ZkError};
use crate::metadata::zookeeper::znode::{self, BrokerNode, TopicNode};

/// How many topics are read at once.
const TOPICS_AT_ONCE: usize = 1000;

impl<Z: Ensemble> Controller<Z> {
    pub(super) async fn start(&mut self) -> Result<(), Lost> {
        self.make_feature_node().await?;
        for parent in [znode::LOG_DIR_EVENTS, znode::ISR_CHANGES] {
            let names = self.ensemble.children(parent, true).await?;
            self.drop_notes(parent, &names).await?;
        }
        for member in self.read_brokers().await? {
            self.context.put_broker(member);
        }
        let names = self.ensemble.children(znode::TOPICS, true).await?;
        let added = self.read_topics(names).await?;
        self.read_states(&added).await?;
        self.find_deletions().await?;
        let everybody = self.context.broker_ids();
        self.batch.metadata(&self.context, everybody, []);
        self.send();
        self.start_replicas().await?;
        self.start_partitions().await?;
        self.start_reassignments().await?;
        self.resume_deletions().await?;
        self.preferred_leaders_by_node(true).await?;
        tracing::info!(
            epoch = self.fence.epoch,
            brokers = self.context.brokers().len(),
            topics = self.context.topics().len(),
            "this controller is in office"
        );
        Ok(())
    }

    /// Made by whichever controller finds none (contract 4.3).
    async fn make_feature_node(&mut self) -> Result<(), Lost> {
        let path = znode::FEATURE.to_owned();
        if let Some(None) = self.ensemble.data(vec![path.clone()], false).await?.pop() {
            let data = Some(znode::encode_feature(self.terms.protocol));
            let create = Operation::Create { path: path.clone(), data, mode: Mode::Persistent };
            match self.ensemble.multi(vec![vec![create]]).await?.pop() {
                Some(Err((_, ZkError::NodeExists))) | Some(Ok(())) | None => {}
                Some(Err((_, source))) => return Err(Lost::Node { path, source }),
            }
        }
        Ok(())
    }

    /// Removes notes that were read, or need not be.
    pub(super) async fn drop_notes(&mut self, parent: &str, names: &[String]) -> Result<(), Lost> {
        let delete =
            |name: &String| vec![Operation::Delete { path: format!("{parent}/{name}"), version: -1 }];
        for outcome in self.write(names.iter().map(delete).collect()).await? {
            match outcome {
                Ok(()) | Err((_, ZkError::NoNode)) => {}
                Err((_, source)) => return Err(Lost::Node { path: parent.to_owned(), source }),
            }
        }
        Ok(())
    }

    /// Who is registered; one that cannot be read is complained of, and known as it was or taken for absent.
    pub(super) async fn read_brokers(&mut self) -> Result<Vec<Member>, Lost> {
        let names = self.ensemble.children(znode::BROKER_IDS, true).await?;
        let mut ids: Vec<i32> = names.iter().filter_map(|name| name.parse().ok()).collect();
        ids.sort_unstable();
        let paths: Vec<String> = ids.iter().map(|id| znode::broker(*id)).collect();
        let nodes = self.ensemble.data(paths.clone(), true).await?;
        let mut members = Vec::with_capacity(ids.len());
        for ((id, path), node) in ids.into_iter().zip(paths).zip(nodes) {
            let Some(node) = node else { continue };
            match BrokerNode::decode(&path, &node.data) {
                Ok(read) => members.push(member(id, node.czxid, &read)),
                Err(wrong) => match self.context.brokers().get(&BrokerId(id)) {
                    Some(known) if known.epoch == node.czxid => {
                        tracing::error!("{wrong}; the broker is known as it was");
                        members.push(known.clone());
                    }
                    Some(_) | None => tracing::error!("{wrong}; the broker is taken for absent"),
                },
            }
        }
        Ok(members)
    }

    /// Takes topics into the context and gives ids to those that lack one; the partitions that are new to it.
    pub(super) async fn read_topics(&mut self, names: Vec<String>) -> Result<Vec<TopicPartition>, Lost> {
        let mut names: Vec<String> =
            names.into_iter().filter(|name| topic_name::check(name).is_ok()).collect();
        names.sort_unstable();
        let mut added = Vec::new();
        for names in names.chunks(TOPICS_AT_ONCE) {
            let paths: Vec<String> = names.iter().map(|name| znode::topic(name)).collect();
            let nodes = self.ensemble.data(paths.clone(), true).await?;
            for ((name, path), node) in names.iter().zip(&paths).zip(nodes) {
                let Some(node) = node else { continue };
                match TopicNode::decode(path, &node.data) {
                    Ok(node) => added.extend(self.take_topic(name, node).await?),
                    Err(wrong) => {
                        tracing::error!("{wrong}; topic {name} is left alone until it can be read");
                    }
                }
            }
        }
        Ok(added)
    }

    /// Gives a topic an id where it must have one and has none: tools before 2.8 make topics without (contract 4.3).
    pub(super) async fn give_id(&mut self, name: &str, node: &mut TopicNode) -> Result<(), Lost> {
        if node.topic_id.is_some() || !self.has_topic_ids {
            return Ok(());
        }
        let id = fresh_id(&mut self.terms.random);
        let given = std::cell::Cell::new(id);
        let written = self.rewrite_topic(name, |node| {
            given.set(*node.topic_id.get_or_insert(id));
        });
        if written.await? {
            tracing::info!(topic = name, id = %given.get(), "a topic without an id is given one");
            node.topic_id = Some(given.get());
        }
        Ok(())
    }

    async fn take_topic(&mut self, name: &str, mut node: TopicNode) -> Result<Vec<TopicPartition>, Lost> {
        self.give_id(name, &mut node).await?;
        let topic: Arc<str> = name.into();
        self.context.put_topic(topic.clone(), node.topic_id);
        let mut added = Vec::with_capacity(node.partitions.len());
        for partition in node.partitions.keys() {
            let at = TopicPartition { topic: topic.clone(), partition: *partition };
            self.context.add_partition(&at, assignment(&node, *partition));
            added.push(at);
        }
        Ok(added)
    }

    async fn find_deletions(&mut self) -> Result<(), Lost> {
        let asked = self.ensemble.children(znode::DELETE_TOPICS, true).await?;
        if !self.terms.delete_topic_enable {
            return self.drop_notes(znode::DELETE_TOPICS, &asked).await;
        }
        for name in asked {
            let Some(topic) = self.context.name(&name) else {
                // One that is not there: what an unfinished deletion left behind, or a mistake.
                self.drop_notes(znode::DELETE_TOPICS, &[name]).await?;
                continue;
            };
            let replicas = self.context.replicas_of(&topic);
            let is_blocked = replicas.iter().any(|(id, at)| !self.context.is_online(*id, at))
                || self.context.moving.iter().any(|at| at.topic == topic);
            if is_blocked {
                self.context.deletion.blocked.insert(topic.clone());
            }
            self.context.deletion.asked.insert(topic);
        }
        Ok(())
    }

    async fn start_replicas(&mut self) -> Result<(), Lost> {
        let (mut online, mut offline) = (Vec::new(), Vec::new());
        for (at, partition) in self.context.all_partitions() {
            for id in partition.assignment.replicas.iter() {
                match self.context.is_online(*id, &at) {
                    true => online.push((*id, at.clone())),
                    false => offline.push((*id, at.clone())),
                }
            }
        }
        for (id, at) in &online {
            self.context.set_replica(at, *id, Some(ReplicaState::Online));
        }
        for (id, at) in &offline {
            // Where its topic is to be deleted, it cannot be until its broker is back.
            self.context.set_replica(at, *id, Some(ReplicaState::DeletionIneligible));
        }
        self.replicas_to(online, ReplicaState::Online).await?;
        self.replicas_to(offline, ReplicaState::Offline).await
    }

    async fn start_partitions(&mut self) -> Result<(), Lost> {
        let states = self.context.all_partitions().filter_map(|(at, partition)| {
            let state = match (&partition.lead, partition.state) {
                (_, PartitionState::Damaged) => return None,
                (None, _) => PartitionState::New,
                (Some(lead), _) => match lead.leader {
                    Some(leader) if self.context.is_online(leader, &at) => PartitionState::Online,
                    Some(_) | None => PartitionState::Offline,
                },
            };
            Some((at, state))
        });
        for (at, state) in states.collect::<Vec<_>>() {
            self.context.set_state(&at, state);
        }
        self.leaders_for_leaderless().await
    }
}

/// Where a topic's node says one of its partitions lives.
pub(super) fn assignment(node: &TopicNode, partition: i32) -> Assignment {
    let ids = |all: Option<&Vec<i32>>| {
        all.map_or_else(|| [].into(), |all| all.iter().copied().map(BrokerId).collect())
    };
    Assignment {
        replicas: ids(node.partitions.get(&partition)),
        adding: ids(node.adding.get(&partition)),
        removing: ids(node.removing.get(&partition)),
    }
}

/// A broker as it registered itself: `NAME://host:port` each, the host of an IPv6 address in brackets.
pub(super) fn member(id: i32, epoch: i64, node: &BrokerNode) -> Member {
    let listener = |(text, (_, protocol)): (&String, &(String, String))| {
        let (name, address) = text.split_once("://")?;
        let (host, port) = address.rsplit_once(':')?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let security_protocol = match protocol.as_str() {
            "SSL" => 1,
            "SASL_PLAINTEXT" => 2,
            "SASL_SSL" => 3,
            _ => 0,
        };
        Some(Listener { name: name.into(), host: host.into(), port: port.parse().ok()?, security_protocol })
    };
    Member {
        id: BrokerId(id),
        epoch,
        listeners: node.endpoints.iter().zip(&node.protocols).filter_map(listener).collect(),
        rack: node.rack.as_deref().map(Into::into),
    }
}
