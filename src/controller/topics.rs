//! Topics that come, go and grow, in-sync sets that leaders changed, and leaders that are not where they are preferred
//! (contract 4.4, 5.3, 5.7).
//!
//! In: watches that fired, AlterPartition. Out: new leads, requests, answers. A topic whose node is gone without a request to
//! delete it is forgotten here and told to nobody: brokers keep serving it, because losing metadata must not lose records.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::controller::context::{Lead, ReplicaState, TopicPartition};
use crate::controller::election;
use crate::controller::ensemble::{Ensemble, Lost};
use crate::controller::machines::Rule;
use crate::controller::start::assignment;
use crate::controller::states::Written;
use crate::controller::{Controller, PartitionsAndLeads};
use crate::ids::BrokerId;
use crate::metadata::zookeeper::znode::{self, TopicNode};
use crate::wire::error_code::ErrorCode;
use crate::wire::message::alter_partition::{
    AlterPartitionRequest, AlterPartitionRequestPartition, AlterPartitionResponse,
    AlterPartitionResponsePartition, AlterPartitionResponseTopic,
};

impl<Z: Ensemble> Controller<Z> {
    pub(super) async fn on_topics(&mut self) -> Result<(), Lost> {
        let names: BTreeSet<String> =
            self.ensemble.children(znode::TOPICS, true).await?.into_iter().collect();
        let gone: Vec<Arc<str>> =
            self.context.topics().keys().filter(|name| !names.contains(&***name)).cloned().collect();
        for name in gone {
            tracing::error!(topic = &*name, "a topic's node is gone, but nobody asked for it to be deleted");
            self.context.remove_topic(&name);
        }
        let new = names.into_iter().filter(|name| self.context.topic(name).is_none()).collect();
        let added = self.read_topics(new).await?;
        self.new_partitions(added).await
    }

    /// A topic's node changed: it grew, unless it is on its way out.
    pub(super) async fn on_topic(&mut self, name: &str) -> Result<(), Lost> {
        let Some(topic) = self.context.name(name) else { return Ok(()) };
        let path = znode::topic(name);
        let Some(Some(read)) = self.ensemble.data(vec![path.clone()], true).await?.pop() else {
            return Ok(()); // the list of topics tells
        };
        let mut node = match TopicNode::decode(&path, &read.data) {
            Ok(node) => node,
            Err(wrong) => {
                tracing::error!("{wrong}; topic {name} is known as it was");
                return Ok(());
            }
        };
        let known = self.context.topic(name).map_or(0, |topic| topic.partitions.len() as i32);
        let added: Vec<i32> = node.partitions.keys().copied().filter(|number| *number >= known).collect();
        if added.is_empty() {
            return Ok(());
        }
        if self.context.is_to_be_deleted(name) {
            tracing::warn!(topic = name, "a topic that is being deleted was extended; that is undone");
            self.rewrite_topic(name, |node| node.partitions.retain(|number, _| *number < known)).await?;
            return Ok(());
        }
        self.give_id(name, &mut node).await?;
        self.context.put_topic(topic.clone(), node.topic_id);
        let mut partitions = Vec::with_capacity(added.len());
        for partition in added {
            let at = TopicPartition { topic: topic.clone(), partition };
            self.context.add_partition(&at, assignment(&node, partition));
            partitions.push(at);
        }
        self.new_partitions(partitions).await
    }

    async fn new_partitions(&mut self, partitions: Vec<TopicPartition>) -> Result<(), Lost> {
        if partitions.is_empty() {
            return Ok(());
        }
        let replicas: Vec<(BrokerId, TopicPartition)> = partitions
            .iter()
            .flat_map(|at| {
                let ids = self.context.assignment(at).map_or_else(|| [].into(), |it| it.replicas.clone());
                ids.iter().map(|id| (*id, at.clone())).collect::<Vec<_>>()
            })
            .collect();
        self.replicas_to(replicas.clone(), ReplicaState::New).await?;
        self.partitions_online(partitions, Rule::Offline { unclean: false }).await?;
        self.replicas_to(replicas, ReplicaState::Online).await
    }

    /// Leaders changed in-sync sets themselves: their states are read again, and everybody is told.
    pub(super) async fn on_isr_changes(&mut self) -> Result<(), Lost> {
        let parent = znode::ISR_CHANGES;
        let mut names = self.ensemble.children(parent, true).await?;
        names.sort_unstable();
        let paths: Vec<String> = names.iter().map(|name| format!("{parent}/{name}")).collect();
        let nodes = self.ensemble.data(paths.clone(), false).await?;
        let mut changed = BTreeSet::new();
        for (path, node) in paths.iter().zip(nodes) {
            let Some(node) = node else { continue };
            match znode::decode_partitions(path, &node.data) {
                Ok(partitions) => changed.extend(partitions.into_iter().filter_map(|(topic, partition)| {
                    Some(TopicPartition { topic: self.context.name(&topic)?, partition })
                })),
                Err(wrong) => tracing::error!("{wrong}; the note is passed over"),
            }
        }
        let changed: Vec<TopicPartition> =
            changed.into_iter().filter(|at| self.context.partition(at).is_some()).collect();
        if !changed.is_empty() {
            self.read_states(&changed).await?;
            self.tell_everybody(&changed);
            self.complete_reassignments(&changed).await?;
        }
        self.drop_notes(parent, &names).await
    }

    pub(super) fn tell_everybody(&mut self, partitions: &[TopicPartition]) {
        let everybody = self.context.broker_ids();
        self.batch.metadata(&self.context, everybody, partitions);
        self.send();
    }

    /// A leader asks for other in-sync sets (KIP-497). `version` is that of the request; topics go by id from 2 on.
    ///
    /// Error codes of the request: STALE_BROKER_EPOCH. Of a partition: UNKNOWN_TOPIC_ID, UNKNOWN_TOPIC_OR_PARTITION,
    /// NOT_CONTROLLER (the leader knows more than this controller), FENCED_LEADER_EPOCH, INVALID_UPDATE_VERSION,
    /// INVALID_REQUEST, INELIGIBLE_REPLICA (OPERATION_NOT_ATTEMPTED below version 2).
    pub async fn alter_partition(
        &mut self,
        request: &AlterPartitionRequest<'_>,
        version: i16,
    ) -> Result<AlterPartitionResponse<'static>, Lost> {
        let id = BrokerId(request.broker_id);
        if self.context.brokers().get(&id).is_none_or(|member| member.epoch != request.broker_epoch) {
            return Ok(AlterPartitionResponse {
                error_code: ErrorCode::StaleBrokerEpoch.code(),
                ..AlterPartitionResponse::default()
            });
        }
        let mut asked: Vec<(TopicPartition, Result<(), ErrorCode>)> = Vec::new();
        let mut leads: PartitionsAndLeads = Vec::new();
        // Which entries of `asked` belong to which topic of the request.
        let mut topics = Vec::with_capacity(request.topics.len());
        for topic in &request.topics {
            let name = match version {
                ..=1 => Some(self.context.name(topic.topic_name).unwrap_or_else(|| topic.topic_name.into())),
                2.. => self.context.name_of(topic.topic_id).cloned(),
            };
            let first = asked.len();
            for partition in &topic.partitions {
                let Some(name) = &name else {
                    let nowhere = TopicPartition::new("", partition.partition_index);
                    asked.push((nowhere, Err(ErrorCode::UnknownTopicId)));
                    continue;
                };
                let at = TopicPartition { topic: name.clone(), partition: partition.partition_index };
                match self.judge_in_sync_set(id, &at, &partition, version) {
                    Ok(Some(lead)) => {
                        leads.push((at.clone(), lead));
                        asked.push((at, Ok(())));
                    }
                    Ok(None) => asked.push((at, Ok(()))),
                    Err(error) => asked.push((at, Err(error))),
                }
            }
            topics.push((topic.topic_name.to_owned(), topic.topic_id, first..asked.len()));
        }
        let outcomes = self.write_states(leads).await?;
        for (at, written) in outcomes {
            let error = match written {
                Written::Done => continue,
                Written::Stale => ErrorCode::InvalidUpdateVersion,
                Written::Missing => ErrorCode::UnknownTopicOrPartition,
            };
            if let Some(entry) = asked.iter_mut().find(|(known, _)| *known == at) {
                entry.1 = Err(error);
            }
        }
        let known: Vec<TopicPartition> =
            asked.iter().map(|(at, _)| at).filter(|at| self.context.lead(at).is_some()).cloned().collect();
        self.tell_everybody(&known);
        let topics = topics.into_iter().map(|(topic_name, topic_id, range)| AlterPartitionResponseTopic {
            topic_name: topic_name.into(),
            topic_id,
            partitions: asked[range].iter().map(|(at, result)| self.altered(at, *result)).collect(),
        });
        let response =
            AlterPartitionResponse { topics: topics.collect(), ..AlterPartitionResponse::default() };
        let altered: Vec<TopicPartition> =
            asked.into_iter().filter(|(_, result)| result.is_ok()).map(|(at, _)| at).collect();
        self.complete_reassignments(&altered).await?;
        Ok(response)
    }

    fn altered(&self, at: &TopicPartition, result: Result<(), ErrorCode>) -> AlterPartitionResponsePartition {
        let partition_index = at.partition;
        match (result, self.context.lead(at)) {
            (Ok(()), Some(lead)) => AlterPartitionResponsePartition {
                partition_index,
                error_code: 0,
                leader_id: lead.leader.map_or(-1, |id| id.0),
                leader_epoch: lead.leader_epoch,
                isr: lead.isr.iter().map(|id| id.0).collect(),
                leader_recovery_state: i8::from(lead.recovering),
                partition_epoch: lead.version,
            },
            (result, _) => AlterPartitionResponsePartition {
                partition_index,
                error_code: result.err().unwrap_or(ErrorCode::UnknownServerError).code(),
                ..AlterPartitionResponsePartition::default()
            },
        }
    }

    /// The lead to write; `None`: it says so already.
    fn judge_in_sync_set(
        &self,
        from: BrokerId,
        at: &TopicPartition,
        asked: &AlterPartitionRequestPartition<'_>,
        version: i16,
    ) -> Result<Option<Lead>, ErrorCode> {
        let Some(lead) = self.context.lead(at) else {
            return Err(ErrorCode::UnknownTopicOrPartition);
        };
        let isr: Vec<BrokerId> = match version {
            ..=2 => asked.new_isr.iter().map(BrokerId).collect(),
            3.. => asked.new_isr_with_epochs.iter().map(|broker| BrokerId(broker.broker_id)).collect(),
        };
        let recovering = version >= 1 && asked.leader_recovery_state == 1;
        if asked.partition_epoch > lead.version || asked.leader_epoch > lead.leader_epoch {
            return Err(ErrorCode::NotController);
        }
        if asked.leader_epoch < lead.leader_epoch {
            return Err(ErrorCode::FencedLeaderEpoch);
        }
        if lead.leader != Some(from) || isr.is_empty() {
            return Err(ErrorCode::InvalidRequest);
        }
        if *isr == *lead.isr && recovering == lead.recovering {
            return Ok(None);
        }
        if asked.partition_epoch < lead.version {
            return Err(ErrorCode::InvalidUpdateVersion);
        }
        if recovering && (isr.len() > 1 || !lead.recovering) {
            return Err(ErrorCode::InvalidRequest);
        }
        if isr.iter().any(|id| !self.context.is_live(*id)) {
            return Err(if version >= 2 {
                ErrorCode::IneligibleReplica
            } else {
                ErrorCode::OperationNotAttempted
            });
        }
        Ok(Some(Lead { isr: isr.into(), recovering, ..lead.clone() }))
    }

    /// Whether brokers lead so little of what prefers them that it shall go back to them, and if so, does that
    /// (`auto.leader.rebalance.enable`). To be called 5 s after the election and then every
    /// `leader.imbalance.check.interval.seconds`.
    pub async fn check_balance(&mut self) -> Result<(), Lost> {
        let mut by_preferred: std::collections::BTreeMap<BrokerId, (usize, Vec<TopicPartition>)> =
            std::collections::BTreeMap::new();
        for (at, partition) in self.context.all_partitions() {
            let (Some(preferred), Some(lead)) = (partition.assignment.replicas.first(), &partition.lead)
            else {
                continue;
            };
            if self.context.is_to_be_deleted(&at.topic) {
                continue;
            }
            let (preferring, elsewhere) = by_preferred.entry(*preferred).or_default();
            *preferring += 1;
            if lead.leader != Some(*preferred) {
                elsewhere.push(at);
            }
        }
        for (preferred, (preferring, mut elsewhere)) in by_preferred {
            let percentage = self.terms.imbalance_percentage;
            if !election::is_imbalanced(preferring, elsewhere.len(), percentage)
                || !self.context.moving.is_empty()
            {
                continue;
            }
            elsewhere.retain(|at| {
                self.context.is_online(preferred, at)
                    && self.context.lead(at).is_some_and(|lead| lead.isr.contains(&preferred))
            });
            if !elsewhere.is_empty() {
                tracing::info!(broker = preferred.0, partitions = elsewhere.len(), "leaders go back");
                self.partitions_online(elsewhere, Rule::Preferred).await?;
            }
        }
        Ok(())
    }
}
