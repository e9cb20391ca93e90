//! Partition states and topics in ZooKeeper: read many at once, written under the fence.
//!
//! In: partitions, and the leads to write. Out: which were written; the context follows what was written or read. Writes go
//! in multis of many partitions, all sent before the first is answered. Where one partition's version does not fit, those
//! of its multi are tried alone, and the one that failed is read again: a write that was done and whose answer was lost
//! then counts as done.

use std::sync::Arc;

use crate::controller::Controller;
use crate::controller::context::{Lead, PartitionState, TopicPartition};
use crate::controller::ensemble::{Ensemble, Lost, Node, Outcome};
use crate::ids::BrokerId;
use crate::metadata::zookeeper::jute::{Mode, Operation, ZkError};
use crate::metadata::zookeeper::znode::{self, StateNode, TopicNode};

/// Partitions whose states go into one multi: ZooKeeper refuses requests above 1 MiB.
const STATES_PER_MULTI: usize = 200;

/// What became of a write that depends on a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    Done,
    /// Somebody else wrote it; the context shows what.
    Stale,
    /// There is no such node any more.
    Missing,
}

fn path_of(at: &TopicPartition) -> String {
    znode::partition_state(&at.topic, at.partition)
}

fn node_of(lead: &Lead) -> StateNode {
    StateNode {
        controller_epoch: lead.controller_epoch,
        leader: lead.leader.map_or(-1, |id| id.0),
        leader_epoch: lead.leader_epoch,
        isr: lead.isr.iter().map(|id| id.0).collect(),
        recovering: lead.recovering,
    }
}

fn lead_of(node: &StateNode, read: &Node) -> Lead {
    let plain = node.encode();
    Lead {
        leader: (node.leader >= 0).then_some(BrokerId(node.leader)),
        leader_epoch: node.leader_epoch,
        isr: node.isr.iter().copied().map(BrokerId).collect(),
        recovering: node.recovering,
        controller_epoch: node.controller_epoch,
        version: read.version,
        raw: (plain != read.data).then(|| read.data.as_slice().into()),
    }
}

/// The bytes of a state: keys of others, and their order, stay.
fn bytes_of(path: &str, lead: &Lead) -> Vec<u8> {
    let node = node_of(lead);
    let over = lead.raw.as_ref().and_then(|raw| node.onto(path, raw).ok());
    over.unwrap_or_else(|| node.encode())
}

fn same(one: &Lead, other: &Lead) -> bool {
    let key = |lead: &Lead| (lead.leader, lead.leader_epoch, lead.recovering, lead.controller_epoch);
    key(one) == key(other) && one.isr == other.isr
}

impl<Z: Ensemble> Controller<Z> {
    /// The check that comes first in everything the controller writes.
    pub(super) fn fence(&self) -> Operation {
        Operation::Check { path: znode::CONTROLLER_EPOCH.to_owned(), version: self.fence.version }
    }

    /// Each multi under the fence. The index of an operation that failed does not count the fence.
    pub(super) async fn write(&mut self, multis: Vec<Vec<Operation>>) -> Result<Vec<Outcome>, Lost> {
        if multis.is_empty() {
            return Ok(Vec::new());
        }
        let fence = self.fence();
        let fenced = multis.into_iter().map(|multi| std::iter::once(fence.clone()).chain(multi).collect());
        let outcomes = self.ensemble.multi(fenced.collect()).await?;
        let outcomes = outcomes.into_iter().map(|outcome| match outcome {
            Ok(()) => Ok(Ok(())),
            Err((0, ZkError::BadVersion | ZkError::NoNode)) => Err(Lost::Deposed),
            Err((_, why @ (ZkError::SessionExpired | ZkError::Closed))) => {
                Err(Lost::Away { why: why.to_string() })
            }
            Err((index, error)) => Ok(Err((index.saturating_sub(1), error))),
        });
        outcomes.collect()
    }

    /// One multi that must succeed, but for the errors in `accepted`; true if it was done.
    pub(super) async fn write_one(
        &mut self,
        path: &str,
        operations: Vec<Operation>,
        accepted: &[ZkError],
    ) -> Result<bool, Lost> {
        match self.write(vec![operations]).await?.pop() {
            Some(Err((_, error))) if accepted.contains(&error) => Ok(false),
            Some(Err((_, source))) => Err(Lost::Node { path: path.to_owned(), source }),
            Some(Ok(())) | None => Ok(true),
        }
    }

    /// Reads the states of these partitions. One that is not there leaves its partition new; one that cannot be read is
    /// complained of, and its partition left alone.
    pub(super) async fn read_states(&mut self, partitions: &[TopicPartition]) -> Result<(), Lost> {
        let nodes = self.ensemble.data(partitions.iter().map(path_of).collect(), false).await?;
        for (at, node) in partitions.iter().zip(nodes) {
            let Some(node) = node else { continue };
            let path = path_of(at);
            match StateNode::decode(&path, &node.data) {
                Ok(state) if state.controller_epoch > self.fence.epoch => {
                    tracing::warn!(
                        "{path} was written by the controller of epoch {}",
                        state.controller_epoch
                    );
                    return Err(Lost::Deposed);
                }
                Ok(state) => {
                    self.context.set_lead(at, lead_of(&state, &node));
                    if self.context.partition(at).is_some_and(|it| it.state == PartitionState::Damaged) {
                        self.context.set_state(at, PartitionState::Offline);
                    }
                }
                Err(wrong) => {
                    tracing::error!("{wrong}; nobody is elected for {at} until it can be read");
                    self.context.set_state(at, PartitionState::Damaged);
                }
            }
        }
        Ok(())
    }

    /// Where leaders change in-sync sets in ZooKeeper themselves, what is known of them may be behind.
    pub(super) async fn refresh_states(&mut self, partitions: &[TopicPartition]) -> Result<(), Lost> {
        if self.alters_partitions {
            return Ok(());
        }
        self.read_states(partitions).await
    }

    /// Writes each lead over the one the context holds. What is written says this controller's epoch.
    pub(super) async fn write_states(
        &mut self,
        leads: Vec<(TopicPartition, Lead)>,
    ) -> Result<Vec<(TopicPartition, Written)>, Lost> {
        let mut results = Vec::with_capacity(leads.len());
        let mut alone = Vec::new();
        let leads: Vec<(TopicPartition, Lead)> = leads
            .into_iter()
            .map(|(at, lead)| (at, Lead { controller_epoch: self.fence.epoch, ..lead }))
            .collect();
        let set = |(at, lead): &(TopicPartition, Lead)| {
            let path = path_of(at);
            let data = Some(bytes_of(&path, lead));
            Operation::SetData { path, data, version: lead.version }
        };
        let groups: Vec<&[(TopicPartition, Lead)]> = leads.chunks(STATES_PER_MULTI).collect();
        let multis = groups.iter().map(|group| group.iter().map(set).collect()).collect();
        let outcomes = self.write(multis).await?;
        for (group, outcome) in groups.into_iter().zip(outcomes) {
            match outcome {
                Ok(()) => {
                    for (at, lead) in group {
                        self.took(at, lead);
                        results.push((at.clone(), Written::Done));
                    }
                }
                Err(_) => alone.extend_from_slice(group),
            }
        }
        if alone.is_empty() {
            return Ok(results);
        }
        let outcomes = self.write(alone.iter().map(|lead| vec![set(lead)]).collect()).await?;
        let mut failed = Vec::new();
        for ((at, lead), outcome) in alone.into_iter().zip(outcomes) {
            match outcome {
                Ok(()) => {
                    self.took(&at, &lead);
                    results.push((at, Written::Done));
                }
                Err((_, ZkError::BadVersion)) => failed.push((at, lead)),
                Err((_, ZkError::NoNode)) => results.push((at, Written::Missing)),
                Err((_, source)) => return Err(Lost::Node { path: path_of(&at), source }),
            }
        }
        let again: Vec<TopicPartition> = failed.iter().map(|(at, _)| at.clone()).collect();
        self.read_states(&again).await?;
        for (at, wanted) in failed {
            let found = self.context.lead(&at);
            let ours = found.is_some_and(|found| found.version == wanted.version + 1 && same(found, &wanted));
            results.push((at, if ours { Written::Done } else { Written::Stale }));
        }
        Ok(results)
    }

    fn took(&mut self, at: &TopicPartition, lead: &Lead) {
        let raw = lead.raw.as_ref().map(|_| Arc::from(bytes_of(&path_of(at), lead)));
        self.context.set_lead(at, Lead { version: lead.version.saturating_add(1), raw, ..lead.clone() });
    }

    /// Makes the state nodes of new partitions, and the nodes above them: first `partitions` of each topic, then the
    /// numbers, then the states (contract 4.3). The context follows those that were made.
    pub(super) async fn make_states(
        &mut self,
        leads: Vec<(TopicPartition, Lead)>,
    ) -> Result<Vec<(TopicPartition, Written)>, Lost> {
        let create = |path: String, data| Operation::Create { path, data, mode: Mode::Persistent };
        let mut tops: Vec<String> =
            leads.iter().map(|(at, _)| format!("{}/partitions", znode::topic(&at.topic))).collect();
        tops.dedup();
        let tops = tops.into_iter().map(|path| vec![create(path, None)]).collect();
        self.make_each(tops).await?;
        let numbers = leads.iter().map(|(at, _)| {
            vec![create(format!("{}/partitions/{}", znode::topic(&at.topic), at.partition), None)]
        });
        self.make_each(numbers.collect()).await?;
        let leads: Vec<(TopicPartition, Lead)> = leads
            .into_iter()
            .map(|(at, lead)| (at, Lead { controller_epoch: self.fence.epoch, ..lead }))
            .collect();
        let states = leads.iter().map(|(at, lead)| vec![create(path_of(at), Some(node_of(lead).encode()))]);
        let outcomes = self.write(states.collect()).await?;
        let mut results = Vec::with_capacity(leads.len());
        let mut there_already = Vec::new();
        for ((at, lead), outcome) in leads.into_iter().zip(outcomes) {
            match outcome {
                Ok(()) => {
                    self.context.set_lead(&at, lead);
                    results.push((at, Written::Done));
                }
                Err((_, ZkError::NodeExists)) => there_already.push((at, lead)),
                Err((_, ZkError::NoNode)) => results.push((at, Written::Missing)),
                Err((_, source)) => return Err(Lost::Node { path: path_of(&at), source }),
            }
        }
        let again: Vec<TopicPartition> = there_already.iter().map(|(at, _)| at.clone()).collect();
        self.read_states(&again).await?;
        for (at, wanted) in there_already {
            let ours = self.context.lead(&at).is_some_and(|found| found.version == 0 && same(found, &wanted));
            results.push((at, if ours { Written::Done } else { Written::Stale }));
        }
        Ok(results)
    }

    /// Creations, some of which may have been made before.
    async fn make_each(&mut self, multis: Vec<Vec<Operation>>) -> Result<(), Lost> {
        let path = match multis.first().map(|multi| multi.as_slice()) {
            Some([Operation::Create { path, .. }, ..]) => path.clone(),
            _ => return Ok(()),
        };
        for outcome in self.write(multis).await? {
            match outcome {
                // Where the topic itself is gone, so will be the state.
                Ok(()) | Err((_, ZkError::NodeExists | ZkError::NoNode)) => {}
                Err((_, source)) => return Err(Lost::Node { path, source }),
            }
        }
        Ok(())
    }

    /// Changes a topic's node, whatever else was put into it meanwhile. False if it is gone.
    pub(super) async fn rewrite_topic(
        &mut self,
        topic: &str,
        change: impl Fn(&mut TopicNode),
    ) -> Result<bool, Lost> {
        let path = znode::topic(topic);
        let mut is_first = true;
        loop {
            let Some(Some(read)) = self.ensemble.data(vec![path.clone()], true).await?.pop() else {
                return Ok(false);
            };
            let Ok(mut node) = TopicNode::decode(&path, &read.data) else {
                tracing::error!("{path} cannot be read any more: what was to be written into it is not");
                return Ok(false);
            };
            change(&mut node);
            let data = node.onto(&path, &read.data).unwrap_or_else(|_| node.encode());
            if !is_first && data == read.data {
                return Ok(true); // it was written, and the answer lost
            }
            is_first = false;
            let set = Operation::SetData { path: path.clone(), data: Some(data), version: read.version };
            match self.write(vec![vec![set]]).await?.pop() {
                Some(Err((_, ZkError::BadVersion))) => {} // changed since it was read
                Some(Err((_, ZkError::NoNode))) => return Ok(false),
                Some(Err((_, source))) => return Err(Lost::Node { path, source }),
                Some(Ok(())) | None => return Ok(true),
            }
        }
    }
}
