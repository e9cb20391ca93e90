//! Partitions that move to other brokers (KIP-455, contract 5.4).
//!
//! In: `/admin/reassign_partitions`, AlterPartitionReassignments, in-sync sets that grew. Out: the topic's node with what is
//! being added and removed, new replicas, and, once all of the target are in sync, the old ones stopped and deleted. The
//! move stands in the topic's node, so a new controller goes on where the old one stopped. The latest request wins.

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::controller::Controller;
use crate::controller::context::{Assignment, PartitionState, ReplicaState, TopicPartition};
use crate::controller::ensemble::{Ensemble, Lost};
use crate::controller::machines::Rule;
use crate::controller::states::Written;
use crate::ids::BrokerId;
use crate::metadata::zookeeper::jute::{Operation, ZkError};
use crate::metadata::zookeeper::znode;
use crate::wire::error_code::ErrorCode;
use crate::wire::message::alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse,
    AlterPartitionReassignmentsResponseResponse, AlterPartitionReassignmentsResponseResponsePartition,
};
use crate::wire::message::list_partition_reassignments::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
    ListPartitionReassignmentsResponseTopic, ListPartitionReassignmentsResponseTopicPartition,
};

impl<Z: Ensemble> Controller<Z> {
    /// What the node asks for, then what was begun otherwise.
    pub(super) async fn start_reassignments(&mut self) -> Result<(), Lost> {
        let by_node = self.on_reassignment().await?;
        for at in self.context.moving.clone() {
            if !by_node.contains(&at) {
                self.go_on(&at).await?;
            }
        }
        Ok(())
    }

    /// Goes on with those moves that `may` be able to.
    pub(super) async fn resume_reassignments(
        &mut self,
        may: impl Fn(&Assignment) -> bool,
    ) -> Result<(), Lost> {
        for at in self.context.moving.clone() {
            if self.context.assignment(&at).is_some_and(&may) {
                self.go_on(&at).await?;
            }
        }
        Ok(())
    }

    /// Ends those moves whose target is in sync now.
    pub(super) async fn complete_reassignments(&mut self, partitions: &[TopicPartition]) -> Result<(), Lost> {
        for at in partitions {
            if self.context.moving.contains(at) && self.is_target_in_sync(at).await? {
                self.go_on(at).await?;
            }
        }
        Ok(())
    }

    /// The in-sync set of a partition that moves was changed by its leader.
    pub(super) async fn on_state(&mut self, topic: &str, partition: i32) -> Result<(), Lost> {
        let Some(topic) = self.context.name(topic) else { return Ok(()) };
        let at = TopicPartition { topic, partition };
        if self.context.moving.contains(&at) {
            self.watch_state(&at).await?;
            self.complete_reassignments(&[at]).await?;
        }
        Ok(())
    }

    /// Below protocol 2.7-IV2 a leader writes its in-sync set itself, and this tells of it.
    async fn watch_state(&mut self, at: &TopicPartition) -> Result<(), Lost> {
        if !self.alters_partitions {
            let path = znode::partition_state(&at.topic, at.partition);
            self.ensemble.data(vec![path], true).await?;
        }
        Ok(())
    }

    async fn go_on(&mut self, at: &TopicPartition) -> Result<(), Lost> {
        match self.context.assignment(at).cloned() {
            Some(assignment) => self.reassign(at, assignment).await,
            None => Ok(()),
        }
    }

    /// `/admin/reassign_partitions`: the partitions whose moves were begun by it.
    pub(super) async fn on_reassignment(&mut self) -> Result<BTreeSet<TopicPartition>, Lost> {
        let path = znode::REASSIGN_PARTITIONS;
        let mut begun = BTreeSet::new();
        let Some(Some(node)) = self.ensemble.data(vec![path.to_owned()], true).await?.pop() else {
            return Ok(begun);
        };
        let moves = match znode::decode_reassignment(&node.data) {
            Ok(moves) => moves,
            Err(wrong) => {
                tracing::error!("{wrong}; the request is dropped");
                let delete = Operation::Delete { path: path.to_owned(), version: -1 };
                self.write_one(path, vec![delete], &[ZkError::NoNode]).await?;
                self.ensemble.data(vec![path.to_owned()], true).await?;
                return Ok(begun);
            }
        };
        let mut refused: BTreeSet<(String, i32)> = BTreeSet::new();
        for ((topic, partition), replicas) in moves {
            let at = TopicPartition::new(topic.as_str(), partition);
            let replicas: Vec<BrokerId> = replicas.into_iter().map(BrokerId).collect();
            let wanted = match self.movable(&at) {
                // Nothing to move to, or a broker twice: no tool of Kafka's writes that.
                Ok(_) if replicas.is_empty() || has_twice(&replicas) => {
                    Err(ErrorCode::InvalidReplicaAssignment)
                }
                Ok(assignment) => {
                    let wanted = assignment.moved_to(&replicas);
                    if wanted == assignment && self.context.moving.contains(&at) {
                        continue; // in work: this is our own change of the node, or somebody's of another entry
                    }
                    match self.keeps_a_leader(&at, &wanted) {
                        true => Ok(wanted),
                        false => Err(ErrorCode::InvalidReplicaAssignment),
                    }
                }
                Err(error) => Err(error),
            };
            match wanted {
                Ok(assignment) => {
                    self.reassign(&at, assignment).await?;
                    begun.insert(at);
                }
                Err(error) => {
                    tracing::warn!(%error, "{at} is not moved, as {path} asks for");
                    refused.insert((topic, partition));
                }
            }
        }
        if !refused.is_empty() {
            self.forget_requests(|topic, partition, _| refused.contains(&(topic.to_owned(), partition)))
                .await?;
        }
        Ok(begun)
    }

    /// Whether somebody in sync is left, and alive if the leader goes, when a move is superseded: what it had begun to add
    /// goes at once. Java does not ask, and deletes the only replica that has everything.
    fn keeps_a_leader(&self, at: &TopicPartition, wanted: &Assignment) -> bool {
        let Some(lead) = self.context.lead(at) else { return true };
        let leader_goes = lead.leader.is_some_and(|leader| !wanted.replicas.contains(&leader));
        let mut in_sync = wanted.replicas.iter().filter(|id| lead.isr.contains(id));
        in_sync.any(|id| !leader_goes || self.context.is_online(*id, at))
    }

    fn movable(&self, at: &TopicPartition) -> Result<Assignment, ErrorCode> {
        match self.context.partition(at) {
            Some(partition) if !self.context.is_to_be_deleted(&at.topic) => match partition.state {
                PartitionState::Damaged => Err(ErrorCode::UnknownServerError),
                _ => Ok(partition.assignment.clone()),
            },
            Some(_) | None => Err(ErrorCode::UnknownTopicOrPartition),
        }
    }

    /// One step of a move: its beginning, or its end.
    async fn reassign(&mut self, at: &TopicPartition, wanted: Assignment) -> Result<(), Lost> {
        if self.context.is_to_be_deleted(&at.topic) {
            self.context.deletion.blocked.insert(at.topic.clone());
        }
        self.put_assignment_down(at, &wanted).await?;
        if !self.is_target_in_sync(at).await? {
            self.raise_epoch(at, &wanted, true).await?;
            let adding = wanted.adding.iter().map(|id| (*id, at.clone()));
            return self.replicas_to(adding, ReplicaState::New).await;
        }
        let adding = wanted.adding.iter().map(|id| (*id, at.clone()));
        self.replicas_to(adding, ReplicaState::Online).await?;
        let done = Assignment::still(wanted.target());
        self.context.set_assignment(at, done.clone());
        let leader = self.context.lead(at).and_then(|lead| lead.leader);
        match leader {
            Some(leader) if done.replicas.contains(&leader) && self.context.is_online(leader, at) => {
                self.raise_epoch(at, &done, false).await?;
            }
            Some(_) | None => {
                self.partitions_online(vec![at.clone()], Rule::Reassigned).await?;
            }
        }
        self.delete_replicas(at, &wanted.removing).await?;
        self.write_assignment(at, &done).await?;
        let is_this = |topic: &str, partition, replicas: &[i32]| {
            topic == &*at.topic
                && partition == at.partition
                && replicas.iter().copied().eq(done.replicas.iter().map(|id| id.0))
        };
        self.context.moving.remove(at);
        self.forget_requests(is_this).await?;
        self.tell_everybody(std::slice::from_ref(at));
        self.resume_deletions_of([at.topic.clone()].into()).await
    }

    async fn put_assignment_down(&mut self, at: &TopicPartition, wanted: &Assignment) -> Result<(), Lost> {
        let Some(before) = self.context.assignment(at).cloned() else { return Ok(()) };
        if before != *wanted {
            tracing::info!("{at} moves from {:?} to {:?}", before.origin(), wanted.target());
            self.write_assignment(at, wanted).await?;
            self.context.set_assignment(at, wanted.clone());
            // Replicas a request before this one had begun to add.
            let unneeded: Vec<BrokerId> =
                before.replicas.iter().copied().filter(|id| !wanted.replicas.contains(id)).collect();
            let leader = self.context.lead(at).and_then(|lead| lead.leader);
            if leader.is_some_and(|leader| unneeded.contains(&leader)) {
                self.partitions_online(vec![at.clone()], Rule::Offline { unclean: false }).await?;
            }
            self.delete_replicas(at, &unneeded).await?;
        }
        self.context.moving.insert(at.clone());
        self.watch_state(at).await
    }

    async fn write_assignment(&mut self, at: &TopicPartition, wanted: &Assignment) -> Result<(), Lost> {
        let numbers = |ids: &[BrokerId]| -> Vec<i32> { ids.iter().map(|id| id.0).collect() };
        let put = |all: &mut std::collections::BTreeMap<i32, Vec<i32>>, ids: &[BrokerId]| {
            if ids.is_empty() {
                all.remove(&at.partition);
            } else {
                all.insert(at.partition, numbers(ids));
            }
        };
        self.rewrite_topic(&at.topic, |node| {
            node.partitions.insert(at.partition, numbers(&wanted.replicas));
            put(&mut node.adding, &wanted.adding);
            put(&mut node.removing, &wanted.removing);
        })
        .await
        .map(|_| ())
    }

    async fn is_target_in_sync(&mut self, at: &TopicPartition) -> Result<bool, Lost> {
        self.refresh_states(std::slice::from_ref(at)).await?;
        let Some(partition) = self.context.partition(at) else { return Ok(false) };
        if !partition.assignment.is_moving() {
            return Ok(true);
        }
        let Some(lead) = &partition.lead else { return Ok(false) };
        Ok(partition.assignment.target().iter().all(|id| lead.isr.contains(id)))
    }

    /// The next leader epoch, with everything else as it is, told to all replicas. `makes`: those that are added shall be
    /// made, wherever their broker has room.
    async fn raise_epoch(
        &mut self,
        at: &TopicPartition,
        assignment: &Assignment,
        makes: bool,
    ) -> Result<(), Lost> {
        loop {
            let Some(lead) = self.context.lead(at) else { return Ok(()) };
            let next = lead.next(lead.leader, &lead.isr);
            let outcome = self.write_states(vec![(at.clone(), next)]).await?.pop();
            match outcome.map(|(_, written)| written) {
                Some(Written::Done) => break,
                Some(Written::Stale) => {}
                Some(Written::Missing) | None => return Ok(()),
            }
        }
        let (added, others): (Vec<BrokerId>, Vec<BrokerId>) =
            assignment.replicas.iter().partition(|id| makes && assignment.adding.contains(id));
        self.batch.leader_and_isr(&self.context, &others, at, false);
        self.batch.leader_and_isr(&self.context, &added, at, true);
        self.send();
        Ok(())
    }

    /// Replicas that are no longer part of the partition: out of the in-sync set, stopped, deleted. Whether their broker
    /// does that now or when it is back is not waited for.
    async fn delete_replicas(&mut self, at: &TopicPartition, ids: &[BrokerId]) -> Result<(), Lost> {
        let replicas: Vec<(BrokerId, TopicPartition)> = ids.iter().map(|id| (*id, at.clone())).collect();
        self.replicas_to(replicas.clone(), ReplicaState::Offline).await?;
        self.replicas_to(replicas.clone(), ReplicaState::DeletionStarted).await?;
        for (id, at) in replicas {
            self.context.set_replica(&at, id, None);
        }
        Ok(())
    }

    /// Takes entries out of `/admin/reassign_partitions`, and the node away with the last one.
    async fn forget_requests(&mut self, done: impl Fn(&str, i32, &[i32]) -> bool) -> Result<(), Lost> {
        let path = znode::REASSIGN_PARTITIONS;
        loop {
            let Some(Some(node)) = self.ensemble.data(vec![path.to_owned()], true).await?.pop() else {
                return Ok(());
            };
            let Ok(mut moves) = znode::decode_reassignment(&node.data) else { return Ok(()) };
            let before = moves.len();
            moves.retain(|((topic, partition), replicas)| !done(topic, *partition, replicas));
            if moves.len() == before {
                return Ok(());
            }
            let operation = match moves.is_empty() {
                true => Operation::Delete { path: path.to_owned(), version: node.version },
                false => Operation::SetData {
                    path: path.to_owned(),
                    data: Some(znode::encode_reassignment(&moves)),
                    version: node.version,
                },
            };
            let accepted = [ZkError::BadVersion, ZkError::NoNode];
            if self.write_one(path, vec![operation], &accepted).await? {
                // Hears of the next request.
                self.ensemble.data(vec![path.to_owned()], true).await?;
                return Ok(());
            }
        }
    }

    /// AlterPartitionReassignments. Per partition: NO_REASSIGNMENT_IN_PROGRESS (a cancellation of nothing),
    /// INVALID_REPLICA_ASSIGNMENT, UNKNOWN_TOPIC_OR_PARTITION.
    pub async fn alter_reassignments(
        &mut self,
        request: &AlterPartitionReassignmentsRequest<'_>,
    ) -> Result<AlterPartitionReassignmentsResponse<'static>, Lost> {
        type Judged = Result<Assignment, (ErrorCode, Option<String>)>;
        let mut judged: Vec<(String, Vec<(i32, Judged)>)> = Vec::new();
        for topic in &request.topics {
            let partitions = topic.partitions.iter().map(|partition| {
                let at = TopicPartition::new(topic.name, partition.partition_index);
                let target = partition.replicas.as_ref().map(|ids| ids.iter().map(BrokerId).collect());
                (partition.partition_index, self.judge_move(&at, target))
            });
            judged.push((topic.name.to_owned(), partitions.collect()));
        }
        // The latest request wins over what the node asks for.
        let superseded: BTreeSet<(&str, i32)> = judged
            .iter()
            .flat_map(|(topic, partitions)| {
                let good = partitions.iter().filter(|(_, judged)| judged.is_ok());
                good.map(|(partition, _)| (topic.as_str(), *partition))
            })
            .collect();
        self.forget_requests(|topic, partition, _| superseded.contains(&(topic, partition))).await?;
        let mut responses = Vec::with_capacity(judged.len());
        for (topic, partitions) in judged {
            let mut results = Vec::with_capacity(partitions.len());
            for (partition_index, judged) in partitions {
                let (error, message) = match judged {
                    Ok(assignment) => {
                        let at = TopicPartition::new(topic.as_str(), partition_index);
                        self.reassign(&at, assignment).await?;
                        (ErrorCode::None, None)
                    }
                    Err(refused) => refused,
                };
                results.push(AlterPartitionReassignmentsResponseResponsePartition {
                    partition_index,
                    error_code: error.code(),
                    error_message: message.map(Cow::Owned),
                });
            }
            let name = Cow::Owned(topic);
            responses.push(AlterPartitionReassignmentsResponseResponse { name, partitions: results });
        }
        Ok(AlterPartitionReassignmentsResponse {
            responses,
            ..AlterPartitionReassignmentsResponse::default()
        })
    }

    fn judge_move(
        &self,
        at: &TopicPartition,
        target: Option<Vec<BrokerId>>,
    ) -> Result<Assignment, (ErrorCode, Option<String>)> {
        let invalid = |what: String| Err((ErrorCode::InvalidReplicaAssignment, Some(what)));
        if let Some(target) = &target {
            if target.is_empty() {
                return invalid("Empty replica list specified in partition reassignment.".to_owned());
            }
            if has_twice(target) {
                return invalid(format!(
                    "Duplicate replica ids in partition reassignment replica list: {}",
                    listed(target)
                ));
            }
            if target.iter().any(|id| id.0 < 0) {
                return invalid(format!("Invalid broker id in replica list: {}", listed(target)));
            }
        }
        let assignment = match self.movable(at) {
            Ok(assignment) => assignment,
            Err(error) if self.context.is_to_be_deleted(&at.topic) => {
                return Err((error, Some("The topic is being deleted".to_owned())));
            }
            Err(error) => return Err((error, Some("The partition does not exist".to_owned()))),
        };
        let target = match target {
            Some(target) => target,
            None if assignment.is_moving() => assignment.origin(),
            None => return Err((ErrorCode::NoReassignmentInProgress, None)),
        };
        let wanted = assignment.moved_to(&target);
        if !self.keeps_a_leader(at, &wanted) {
            return invalid(format!(
                "No replica that may lead would be left of {at}, whose move to {} is under way.",
                listed(&assignment.target())
            ));
        }
        if wanted.adding.iter().any(|id| !self.context.is_live(*id)) {
            let live: Vec<BrokerId> =
                self.context.broker_ids().into_iter().filter(|id| self.context.is_live(*id)).collect();
            return invalid(format!(
                "Replica assignment has brokers that are not alive. Replica list: {}, live broker list: {}",
                listed(&wanted.adding),
                listed(&live)
            ));
        }
        Ok(wanted)
    }

    /// ListPartitionReassignments: what is moving, of what was asked about.
    pub fn list_reassignments(
        &self,
        request: &ListPartitionReassignmentsRequest<'_>,
    ) -> ListPartitionReassignmentsResponse<'static> {
        let asked: Vec<TopicPartition> = match &request.topics {
            None => self.context.moving.iter().cloned().collect(),
            Some(topics) => topics
                .iter()
                .flat_map(|topic| {
                    let at = |partition| TopicPartition::new(topic.name, partition);
                    topic.partition_indexes.iter().map(at).collect::<Vec<_>>()
                })
                .collect(),
        };
        let numbers = |ids: &[BrokerId]| ids.iter().map(|id| id.0).collect();
        let mut topics: Vec<ListPartitionReassignmentsResponseTopic<'static>> = Vec::new();
        for at in asked {
            let Some(assignment) = self.context.assignment(&at).filter(|assignment| assignment.is_moving())
            else {
                continue;
            };
            let partition = ListPartitionReassignmentsResponseTopicPartition {
                partition_index: at.partition,
                replicas: numbers(&assignment.replicas),
                adding_replicas: numbers(&assignment.adding),
                removing_replicas: numbers(&assignment.removing),
            };
            match topics.last_mut().filter(|topic| *topic.name == *at.topic) {
                Some(topic) => topic.partitions.push(partition),
                None => topics.push(ListPartitionReassignmentsResponseTopic {
                    name: Cow::Owned(at.topic.to_string()),
                    partitions: vec![partition],
                }),
            }
        }
        ListPartitionReassignmentsResponse { topics, ..ListPartitionReassignmentsResponse::default() }
    }
}

fn has_twice(ids: &[BrokerId]) -> bool {
    ids.iter().collect::<BTreeSet<_>>().len() != ids.len()
}

fn listed(ids: &[BrokerId]) -> String {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    format!("[{}]", ids.join(", "))
}
