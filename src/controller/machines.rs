//! The two machines of the controller: the states partitions and replicas go through, with what is written and sent on the
//! way (contract 5.3, 5.4).
//!
//! In: partitions or replicas, and the state they shall take. Out: leads written, the context changed, requests in the
//! outbox. One call is one batch of requests. What cannot go there from where it is stays where it is, with a line in the
//! log: an event that comes twice does no harm.

use std::collections::{BTreeMap, BTreeSet};

use crate::controller::context::{Lead, PartitionState, ReplicaState, TopicPartition};
use crate::controller::election;
use crate::controller::ensemble::{Ensemble, Lost};
use crate::controller::states::Written;
use crate::controller::{Controller, PartitionsAndLeads};
use crate::ids::BrokerId;
use crate::metadata::zookeeper::znode;

/// By which rule a leader is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// The leader is gone. `unclean`: from outside the in-sync set, if need be, whatever the topic says.
    Offline { unclean: bool },
    /// The partition moves to the replicas of its target.
    Reassigned,
    /// The first of the assignment.
    Preferred,
    /// Leaders on stopping brokers.
    ControlledShutdown,
}

/// Why a partition has no other leader than before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unelected {
    /// Nobody that may lead lives.
    NobodyMayLead,
    /// The topic or its state is gone, or cannot be read.
    NoState,
}

impl<Z: Ensemble> Controller<Z> {
    /// Partitions that have no leader any more.
    pub(super) fn partitions_offline(&mut self, partitions: &[TopicPartition]) {
        for at in partitions {
            match self.context.partition(at).map(|partition| partition.state) {
                Some(PartitionState::Online | PartitionState::New | PartitionState::Offline) => {
                    self.context.set_state(at, PartitionState::Offline);
                }
                Some(PartitionState::Damaged | PartitionState::Gone) | None => {}
            }
        }
    }

    /// New partitions get their first leader, others the one that `rule` finds.
    pub(super) async fn partitions_online(
        &mut self,
        partitions: Vec<TopicPartition>,
        rule: Rule,
    ) -> Result<BTreeMap<TopicPartition, Result<(), Unelected>>, Lost> {
        let mut results = BTreeMap::new();
        let (mut new, mut led) = (Vec::new(), Vec::new());
        for at in partitions {
            match self.context.partition(&at).map(|partition| partition.state) {
                Some(PartitionState::New) => new.push(at),
                Some(PartitionState::Online | PartitionState::Offline) => led.push(at),
                Some(PartitionState::Damaged | PartitionState::Gone) | None => {
                    results.insert(at, Err(Unelected::NoState));
                }
            }
        }
        self.first_leaders(new, &mut results).await?;
        self.elect(led, rule, &mut results).await?;
        self.send();
        Ok(results)
    }

    async fn first_leaders(
        &mut self,
        partitions: Vec<TopicPartition>,
        results: &mut BTreeMap<TopicPartition, Result<(), Unelected>>,
    ) -> Result<(), Lost> {
        let mut leads: PartitionsAndLeads = Vec::with_capacity(partitions.len());
        for at in partitions {
            let Some(assignment) = self.context.assignment(&at) else { continue };
            let found = election::first(&assignment.replicas, |id| self.context.is_online(id, &at));
            let Some(found) = found else {
                tracing::warn!("{at} stays new: none of its replicas lives");
                results.insert(at, Err(Unelected::NobodyMayLead));
                continue;
            };
            let lead = Lead {
                leader: found.leader,
                leader_epoch: 0,
                isr: found.isr.into(),
                recovering: false,
                controller_epoch: self.fence.epoch,
                version: 0,
                raw: None,
            };
            leads.push((at, lead));
        }
        let mut outcomes = self.make_states(leads).await?;
        outcomes.sort_by(|one, other| one.0.cmp(&other.0));
        for (at, written) in outcomes {
            match written {
                Written::Done => {
                    self.context.set_state(&at, PartitionState::Online);
                    let isr = self.context.lead(&at).map_or_else(|| [].into(), |lead| lead.isr.clone());
                    self.batch.leader_and_isr(&self.context, &isr, &at, true);
                    results.insert(at, Ok(()));
                }
                Written::Stale => {
                    // A state nobody here had seen: it is taken for what it is.
                    tracing::warn!("{at} has a state already");
                    self.context.set_state(&at, PartitionState::Offline);
                    self.elect(vec![at], Rule::Offline { unclean: false }, results).await?;
                }
                Written::Missing => {
                    results.insert(at, Err(Unelected::NoState));
                }
            }
        }
        Ok(())
    }

    async fn elect(
        &mut self,
        partitions: Vec<TopicPartition>,
        rule: Rule,
        results: &mut BTreeMap<TopicPartition, Result<(), Unelected>>,
    ) -> Result<(), Lost> {
        self.refresh_states(&partitions).await?;
        let mut left = partitions;
        while !left.is_empty() {
            let unclean = self.may_be_unclean(&left, rule).await?;
            let mut leads: PartitionsAndLeads = Vec::with_capacity(left.len());
            let mut tell: BTreeMap<TopicPartition, Vec<BrokerId>> = BTreeMap::new();
            for at in std::mem::take(&mut left) {
                match self.find_leader(&at, rule, unclean.contains(&*at.topic)) {
                    Ok((lead, recipients)) => {
                        tell.insert(at.clone(), recipients);
                        leads.push((at, lead));
                    }
                    Err(why) => {
                        results.insert(at, Err(why));
                    }
                }
            }
            let mut outcomes = self.write_states(leads).await?;
            outcomes.sort_by(|one, other| one.0.cmp(&other.0));
            for (at, written) in outcomes {
                match written {
                    Written::Done => {
                        self.context.set_state(&at, PartitionState::Online);
                        let recipients = tell.remove(&at).unwrap_or_default();
                        self.batch.leader_and_isr(&self.context, &recipients, &at, false);
                        results.insert(at, Ok(()));
                    }
                    Written::Stale => left.push(at),
                    Written::Missing => {
                        results.insert(at, Err(Unelected::NoState));
                    }
                }
            }
        }
        Ok(())
    }

    /// Who shall lead, and who is to be told.
    fn find_leader(
        &self,
        at: &TopicPartition,
        rule: Rule,
        unclean: bool,
    ) -> Result<(Lead, Vec<BrokerId>), Unelected> {
        let partition = self.context.partition(at).ok_or(Unelected::NoState)?;
        let lead = partition.lead.as_ref().ok_or(Unelected::NoState)?;
        if partition.state == PartitionState::Damaged {
            return Err(Unelected::NoState);
        }
        let replicas = &partition.assignment.replicas;
        let lives = |id| self.context.is_online(id, at);
        let lives_or_stops = |id| self.context.is_online_or_stopping(id, at);
        let that = |may: &dyn Fn(BrokerId) -> bool| replicas.iter().copied().filter(|id| may(*id)).collect();
        let (found, recipients): (_, Vec<BrokerId>) = match rule {
            Rule::Offline { .. } => (election::offline(replicas, &lead.isr, lives, unclean), that(&lives)),
            Rule::Reassigned => {
                let target = partition.assignment.target();
                (election::reassign(&target, &lead.isr, lives), target)
            }
            Rule::Preferred => (election::preferred(replicas, &lead.isr, lives), replicas.to_vec()),
            Rule::ControlledShutdown => {
                let stops = |id| self.context.stopping.contains(&id);
                let found = election::controlled_shutdown(replicas, &lead.isr, lives_or_stops, stops);
                (found, that(&lives_or_stops))
            }
        };
        let found = found.ok_or(Unelected::NobodyMayLead)?;
        let mut next = lead.next(found.leader, &found.isr);
        if found.unclean {
            tracing::warn!("{at} is led from outside its in-sync set {:?}: records may be lost", lead.isr);
            next.recovering |= self.leaders_recover;
        }
        Ok((next, recipients))
    }

    /// The topics of partitions with nobody in sync alive that may be led by somebody else all the same.
    async fn may_be_unclean(
        &mut self,
        partitions: &[TopicPartition],
        rule: Rule,
    ) -> Result<BTreeSet<String>, Lost> {
        let Rule::Offline { unclean } = rule else { return Ok(BTreeSet::new()) };
        let is_stuck = |at: &&TopicPartition| {
            let lead = self.context.lead(at);
            lead.is_some_and(|lead| !lead.isr.iter().any(|id| self.context.is_online(*id, at)))
        };
        let stuck: BTreeSet<String> =
            partitions.iter().filter(is_stuck).map(|at| at.topic.to_string()).collect();
        if unclean || stuck.is_empty() {
            return Ok(stuck);
        }
        let paths = stuck.iter().map(|topic| znode::topic_config(topic)).collect();
        let nodes = self.ensemble.data(paths, false).await?;
        let may = stuck.into_iter().zip(nodes).filter(|(topic, node)| {
            let config = node.as_ref().filter(|node| !node.data.is_empty());
            let config = config.map(|node| znode::decode_config(&znode::topic_config(topic), &node.data));
            match config {
                Some(Ok(config)) => match config.get("unclean.leader.election.enable") {
                    Some(value) => value.trim().eq_ignore_ascii_case("true"),
                    None => self.terms.unclean_leader_election,
                },
                None => self.terms.unclean_leader_election,
                Some(Err(wrong)) => {
                    tracing::error!("{wrong}; {topic} is led from its in-sync set alone");
                    false
                }
            }
        });
        Ok(may.map(|(topic, _)| topic).collect())
    }

    /// All partitions without a leader that are not on their way out.
    pub(super) async fn leaders_for_leaderless(&mut self) -> Result<(), Lost> {
        let partitions = self.context.leaderless();
        self.leaders_for(partitions).await
    }

    /// Those of `partitions` that are new or offline and are not on their way out.
    pub(super) async fn leaders_for(&mut self, mut partitions: Vec<TopicPartition>) -> Result<(), Lost> {
        partitions.retain(|at| {
            let state = self.context.partition(at).map(|partition| partition.state);
            matches!(state, Some(PartitionState::New | PartitionState::Offline))
                && !self.context.is_to_be_deleted(&at.topic)
        });
        let results = self.partitions_online(partitions, Rule::Offline { unclean: false }).await?;
        let stuck = results.values().filter(|result| result.is_err()).count();
        if stuck > 0 {
            tracing::warn!(partitions = stuck, "no leader can be found: nobody in sync lives");
        }
        Ok(())
    }

    /// Moves replicas to `target`, each broker's together, and sends one batch.
    pub(super) async fn replicas_to(
        &mut self,
        replicas: impl IntoIterator<Item = (BrokerId, TopicPartition)>,
        target: ReplicaState,
    ) -> Result<(), Lost> {
        let mut by_broker: BTreeMap<BrokerId, Vec<TopicPartition>> = BTreeMap::new();
        for (id, at) in replicas {
            by_broker.entry(id).or_default().push(at);
        }
        for (id, mut partitions) in by_broker {
            partitions.retain(|at| self.may_go(id, at, target));
            match target {
                ReplicaState::New => self.replicas_new(id, partitions),
                ReplicaState::Online => self.replicas_online(id, partitions),
                ReplicaState::Offline => self.replicas_offline(id, partitions).await?,
                ReplicaState::DeletionStarted => {
                    for at in partitions {
                        self.context.set_replica(&at, id, Some(target));
                        self.batch.stop_replica(&self.context, id, &at, true);
                    }
                }
                ReplicaState::DeletionSuccessful | ReplicaState::DeletionIneligible => {
                    for at in partitions {
                        self.context.set_replica(&at, id, Some(target));
                    }
                }
            }
        }
        self.send();
        Ok(())
    }

    /// Whether a replica may go there from where it is; `None`: it is not known yet, or no more.
    fn may_go(&self, id: BrokerId, at: &TopicPartition, target: ReplicaState) -> bool {
        use ReplicaState::{DeletionIneligible, DeletionStarted, DeletionSuccessful, New, Offline, Online};
        let Some(partition) = self.context.partition(at) else { return false };
        let from = partition.replica(id);
        let may = match target {
            New => from.is_none(),
            Online | Offline => matches!(from, Some(New | Online | Offline | DeletionIneligible)),
            DeletionStarted => from == Some(Offline),
            DeletionSuccessful => from == Some(DeletionStarted),
            DeletionIneligible => matches!(from, Some(Offline | DeletionStarted)),
        };
        if !may {
            tracing::debug!(?from, ?target, "replica {id} of {at} stays as it is");
        }
        may
    }

    fn replicas_new(&mut self, id: BrokerId, partitions: Vec<TopicPartition>) {
        for at in partitions {
            match self.context.lead(&at) {
                Some(lead) if lead.leader == Some(id) => {
                    tracing::error!("replica {id} of {at} leads it, so it cannot be new");
                    continue;
                }
                Some(_) => self.batch.leader_and_isr(&self.context, &[id], &at, true),
                None => {}
            }
            self.context.set_replica(&at, id, Some(ReplicaState::New));
        }
    }

    fn replicas_online(&mut self, id: BrokerId, partitions: Vec<TopicPartition>) {
        for at in partitions {
            let was = self.context.partition(&at).and_then(|partition| partition.replica(id));
            if was != Some(ReplicaState::New) {
                self.batch.leader_and_isr(&self.context, &[id], &at, false);
            }
            self.context.set_replica(&at, id, Some(ReplicaState::Online));
        }
    }

    /// They stop, and leave the in-sync sets.
    async fn replicas_offline(&mut self, id: BrokerId, partitions: Vec<TopicPartition>) -> Result<(), Lost> {
        for at in &partitions {
            self.batch.stop_replica(&self.context, id, at, false);
        }
        let (led, never_led): (Vec<_>, Vec<_>) =
            partitions.into_iter().partition(|at| self.context.lead(at).is_some());
        self.leave_in_sync_sets(id, &led).await?;
        for at in led {
            if !self.context.is_to_be_deleted(&at.topic) {
                let replicas =
                    self.context.assignment(&at).map_or_else(|| [].into(), |it| it.replicas.clone());
                let others: Vec<BrokerId> = replicas.iter().copied().filter(|other| *other != id).collect();
                self.batch.leader_and_isr(&self.context, &others, &at, false);
            }
            self.context.set_replica(&at, id, Some(ReplicaState::Offline));
        }
        if !never_led.is_empty() {
            let everybody = self.context.broker_ids();
            self.batch.metadata(&self.context, everybody, &never_led);
        }
        for at in never_led {
            self.context.set_replica(&at, id, Some(ReplicaState::Offline));
        }
        Ok(())
    }

    /// A replica that does not live any more is not in sync, and does not lead. The last one in sync stays in the set.
    async fn leave_in_sync_sets(&mut self, id: BrokerId, partitions: &[TopicPartition]) -> Result<(), Lost> {
        self.refresh_states(partitions).await?;
        let mut left = partitions.to_vec();
        while !left.is_empty() {
            let mut leads: PartitionsAndLeads = Vec::with_capacity(left.len());
            for at in std::mem::take(&mut left) {
                let Some(partition) = self.context.partition(&at) else { continue };
                let Some(lead) = partition.lead.as_ref() else { continue };
                if partition.state == PartitionState::Damaged {
                    continue;
                }
                match election::without(lead.leader, &lead.isr, id) {
                    Some(rest) => {
                        let next = lead.next(rest.leader, &rest.isr);
                        leads.push((at, next));
                    }
                    // Brokers hear of it as from this controller, which has nothing to write.
                    None => {
                        let known = Lead { controller_epoch: self.fence.epoch, ..lead.clone() };
                        self.context.set_lead(&at, known);
                    }
                }
            }
            for (at, written) in self.write_states(leads).await? {
                match written {
                    Written::Done | Written::Missing => {}
                    Written::Stale => left.push(at),
                }
            }
        }
        Ok(())
    }
}
