//! Topics on their way out (contract 5.4).
//!
//! In: requests below `/admin/delete_topics`, and what brokers say of replicas they were told to delete. Out: partitions taken
//! from service, replicas stopped and deleted, and last the topic's nodes. A topic with a replica that does not live waits
//! for it, because the broker would bring the data back; one that is being moved waits for the end of the move.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::controller::Controller;
use crate::controller::context::{PartitionState, ReplicaState, TopicPartition};
use crate::controller::ensemble::{Ensemble, Lost};
use crate::ids::BrokerId;
use crate::metadata::zookeeper::jute::{Operation, ZkError};
use crate::metadata::zookeeper::znode;

/// Deletions that go into one multi.
const NODES_PER_MULTI: usize = 500;

impl<Z: Ensemble> Controller<Z> {
    pub(super) async fn on_deletions(&mut self) -> Result<(), Lost> {
        let asked = self.ensemble.children(znode::DELETE_TOPICS, true).await?;
        let (known, unknown): (Vec<String>, Vec<String>) =
            asked.into_iter().partition(|name| self.context.topic(name).is_some());
        if !unknown.is_empty() {
            tracing::warn!(topics = ?unknown, "topics that are not there are asked to be deleted");
            self.drop_notes(znode::DELETE_TOPICS, &unknown).await?;
        }
        if !self.terms.delete_topic_enable {
            if !known.is_empty() {
                tracing::warn!(topics = ?known, "topics are not deleted: delete.topic.enable is false");
            }
            return self.drop_notes(znode::DELETE_TOPICS, &known).await;
        }
        let topics: BTreeSet<Arc<str>> = known.iter().filter_map(|name| self.context.name(name)).collect();
        for topic in &topics {
            if self.context.moving.iter().any(|at| at.topic == *topic) {
                self.context.deletion.blocked.insert(topic.clone());
            }
        }
        if topics.is_empty() {
            return Ok(());
        }
        self.context.deletion.asked.extend(topics);
        self.resume_deletions().await
    }

    /// What stood in the way of these topics' deletion may be gone.
    pub(super) async fn resume_deletions_of(&mut self, topics: BTreeSet<Arc<str>>) -> Result<(), Lost> {
        let mut any = false;
        for topic in topics {
            if self.context.is_to_be_deleted(&topic) {
                self.context.deletion.blocked.remove(&topic);
                any = true;
            }
        }
        if any { self.resume_deletions().await } else { Ok(()) }
    }

    pub(super) async fn resume_deletions(&mut self) -> Result<(), Lost> {
        let (mut retry, mut begin) = (Vec::new(), BTreeSet::new());
        for topic in self.context.deletion.asked.clone() {
            let replicas = self.context.replicas_of(&topic).len();
            let deleted = self.context.replicas_in(&topic, ReplicaState::DeletionSuccessful).len();
            let in_work = !self.context.replicas_in(&topic, ReplicaState::DeletionStarted).is_empty();
            let failed = self.context.replicas_in(&topic, ReplicaState::DeletionIneligible);
            if deleted == replicas {
                self.complete_deletion(&topic).await?;
                continue;
            }
            if in_work {
                continue;
            }
            retry.extend(failed);
            if !self.context.deletion.blocked.contains(&topic) {
                begin.insert(topic);
            }
        }
        if !retry.is_empty() {
            self.replicas_to(retry, ReplicaState::Offline).await?;
        }
        if !begin.is_empty() {
            self.delete(begin).await?;
        }
        Ok(())
    }

    async fn delete(&mut self, topics: BTreeSet<Arc<str>>) -> Result<(), Lost> {
        let mut all = Vec::new();
        for topic in &topics {
            let partitions = self.context.partitions_of(topic);
            if self.context.deletion.begun.insert(topic.clone()) {
                tracing::info!(topic = &**topic, "deletion begins");
                for at in &partitions {
                    self.context.set_state(at, PartitionState::Gone);
                }
            }
            all.extend(partitions);
        }
        // Brokers stop serving them to clients.
        self.tell_everybody(&all);
        let (mut alive, mut dead) = (Vec::new(), Vec::new());
        for topic in &topics {
            for (id, at) in self.context.replicas_of(topic) {
                if !self.context.is_online(id, &at) {
                    self.context.deletion.blocked.insert(topic.clone());
                    dead.push((id, at));
                } else if self.replica_state(id, &at) != Some(ReplicaState::DeletionSuccessful) {
                    alive.push((id, at));
                }
            }
        }
        self.replicas_to(dead, ReplicaState::DeletionIneligible).await?;
        self.replicas_to(alive.clone(), ReplicaState::Offline).await?;
        self.replicas_to(alive, ReplicaState::DeletionStarted).await
    }

    fn replica_state(&self, id: BrokerId, at: &TopicPartition) -> Option<ReplicaState> {
        self.context.partition(at)?.replica(id)
    }

    /// Replicas that were to be deleted and could not be.
    pub(super) async fn deletions_failed(
        &mut self,
        mut replicas: Vec<(BrokerId, TopicPartition)>,
    ) -> Result<(), Lost> {
        replicas.retain(|(_, at)| self.context.is_to_be_deleted(&at.topic));
        if replicas.is_empty() {
            return Ok(());
        }
        for (_, at) in &replicas {
            self.context.deletion.blocked.insert(at.topic.clone());
        }
        self.replicas_to(replicas, ReplicaState::DeletionIneligible).await?;
        self.resume_deletions().await
    }

    /// What a broker says of replicas it was told to delete.
    pub(super) async fn on_deleted(
        &mut self,
        from: BrokerId,
        deleted: Vec<(TopicPartition, i16)>,
    ) -> Result<(), Lost> {
        let ours = deleted.into_iter().filter(|(at, _)| self.context.is_to_be_deleted(&at.topic));
        let (done, failed): (Vec<_>, Vec<_>) = ours.partition(|(_, error)| *error == 0);
        let replicas = |all: Vec<(TopicPartition, i16)>| -> Vec<(BrokerId, TopicPartition)> {
            all.into_iter().map(|(at, _)| (from, at)).collect()
        };
        if !failed.is_empty() {
            tracing::warn!(broker = from.0, replicas = failed.len(), "replicas could not be deleted");
            self.deletions_failed(replicas(failed)).await?;
        }
        if !done.is_empty() {
            self.replicas_to(replicas(done), ReplicaState::DeletionSuccessful).await?;
            self.resume_deletions().await?;
        }
        Ok(())
    }

    /// Its nodes, then its settings, then the request (contract 4.4).
    async fn complete_deletion(&mut self, topic: &Arc<str>) -> Result<(), Lost> {
        self.remove_tree(&znode::topic(topic)).await?;
        for path in [znode::topic_config(topic), format!("{}/{topic}", znode::DELETE_TOPICS)] {
            let delete = Operation::Delete { path: path.clone(), version: -1 };
            self.write_one(&path, vec![delete], &[ZkError::NoNode]).await?;
        }
        self.context.remove_topic(topic);
        tracing::info!(topic = &**topic, "deletion is done");
        Ok(())
    }

    /// A node and everything below it, the lowest first. Looked at again where somebody adds or removes there too.
    async fn remove_tree(&mut self, root: &str) -> Result<(), Lost> {
        'look: loop {
            let mut found = Vec::new();
            let mut level = vec![root.to_owned()];
            while !level.is_empty() {
                let mut next = Vec::new();
                for path in level {
                    let names = self.ensemble.children(&path, false).await?;
                    next.extend(names.into_iter().map(|name| format!("{path}/{name}")));
                    found.push(path);
                }
                level = next;
            }
            found.reverse();
            if self.ensemble.data(vec![root.to_owned()], false).await?.pop().flatten().is_none() {
                return Ok(());
            }
            let delete = |path: &String| Operation::Delete { path: path.clone(), version: -1 };
            for group in found.chunks(NODES_PER_MULTI) {
                match self.write(vec![group.iter().map(delete).collect()]).await?.pop() {
                    Some(Err((_, ZkError::NoNode | ZkError::NotEmpty))) => continue 'look,
                    Some(Err((_, source))) => return Err(Lost::Node { path: root.to_owned(), source }),
                    Some(Ok(())) | None => {}
                }
            }
            return Ok(());
        }
    }
}
