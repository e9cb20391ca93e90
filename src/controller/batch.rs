//! The requests of one step of the controller, gathered per broker.
//!
//! In: decisions, one after the other. Out: at most one LeaderAndIsr, one UpdateMetadata and one StopReplica for each broker
//! (two below version 3 of the last), in this order, because a follower must know of its leader before it follows, and hear
//! of the new leader before it stops (contract 5.2). What is meant for a broker that is gone is dropped.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::controller::context::{Assignment, Context, Lead, Member, TopicPartition};
use crate::controller::request::{
    ControlRequest, DURING_DELETION, Decision, LeaderAndIsr, NO_EPOCH, NO_LEADER, Shown, Stop, StopReplica,
    UpdateMetadata,
};
use crate::ids::BrokerId;
use crate::wire::primitive::Uuid;

/// A request on its way. Requests to one broker are sent in the order they stand in, one at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    pub to: BrokerId,
    pub request: ControlRequest,
}

/// What does not change while the controller is in office.
#[derive(Clone, Debug)]
pub(super) struct Sender {
    pub controller_id: BrokerId,
    pub controller_epoch: i32,
    pub inter_broker_listener: Arc<str>,
    /// StopReplica says per partition whether it is to be deleted.
    pub stops_per_partition: bool,
}

#[derive(Debug, Default)]
pub(super) struct Batch {
    leader_and_isr: BTreeMap<BrokerId, BTreeMap<TopicPartition, (Arc<Decision>, bool)>>,
    metadata_to: BTreeSet<BrokerId>,
    metadata: BTreeMap<TopicPartition, Shown>,
    stop: BTreeMap<BrokerId, BTreeMap<TopicPartition, Stop>>,
}

fn decision(context: &Context, at: &TopicPartition, lead: &Lead, assignment: &Assignment) -> Decision {
    Decision {
        at: at.clone(),
        topic_id: context.topic(&at.topic).and_then(|topic| topic.id).unwrap_or(Uuid::ZERO),
        controller_epoch: lead.controller_epoch,
        leader: lead.leader.map_or(NO_LEADER, |id| id.0),
        leader_epoch: lead.leader_epoch,
        isr: lead.isr.clone(),
        partition_epoch: lead.version,
        replicas: assignment.replicas.clone(),
        adding: assignment.adding.clone(),
        removing: assignment.removing.clone(),
        recovering: lead.recovering,
    }
}

impl Batch {
    /// Tells `to` who leads, and everybody what clients shall be told.
    pub fn leader_and_isr(&mut self, context: &Context, to: &[BrokerId], at: &TopicPartition, is_new: bool) {
        let Some((lead, known)) =
            context.partition(at).and_then(|known| known.lead.as_ref().map(|lead| (lead, known)))
        else {
            return;
        };
        let decision = Arc::new(decision(context, at, lead, &known.assignment));
        for id in to {
            let there = self.leader_and_isr.entry(*id).or_default();
            let was_new = there.get(at).is_some_and(|(_, was_new)| *was_new);
            there.insert(at.clone(), (decision.clone(), is_new || was_new));
        }
        self.metadata_to.extend(context.brokers().keys());
        self.show(context, at, decision);
    }

    /// Tells `to` about the brokers, and about these partitions.
    pub fn metadata<'a>(
        &mut self,
        context: &Context,
        to: impl IntoIterator<Item = BrokerId>,
        partitions: impl IntoIterator<Item = &'a TopicPartition>,
    ) {
        self.metadata_to.extend(to);
        for at in partitions {
            let Some(known) = context.partition(at) else { continue };
            let Some(lead) = &known.lead else { continue };
            self.show(context, at, Arc::new(decision(context, at, lead, &known.assignment)));
        }
    }

    fn show(&mut self, context: &Context, at: &TopicPartition, decision: Arc<Decision>) {
        let is_offline = |id: &BrokerId| !context.is_online(*id, at);
        let offline = decision.replicas.iter().copied().filter(is_offline).collect();
        let decision = match context.is_to_be_deleted(&at.topic) {
            true => {
                let during = Decision {
                    leader: DURING_DELETION,
                    leader_epoch: 0,
                    partition_epoch: 0,
                    ..(*decision).clone()
                };
                Arc::new(during)
            }
            false => decision,
        };
        self.metadata.insert(at.clone(), Shown { decision, offline });
    }

    pub fn stop_replica(&mut self, context: &Context, to: BrokerId, at: &TopicPartition, delete: bool) {
        let leader_epoch = match context.is_to_be_deleted(&at.topic) {
            true => DURING_DELETION,
            false => context.lead(at).map_or(NO_EPOCH, |lead| lead.leader_epoch),
        };
        let there = self.stop.entry(to).or_default();
        let deleted = there.get(at).is_some_and(|stop| stop.delete);
        there.insert(at.clone(), Stop { leader_epoch, delete: delete || deleted });
    }

    /// Puts what was gathered into the outbox, and begins anew.
    pub fn send(&mut self, context: &Context, sender: &Sender, outbox: &mut Vec<Outgoing>) {
        let Batch { leader_and_isr, metadata_to, metadata, stop } = std::mem::take(self);
        let (controller_id, controller_epoch) = (sender.controller_id, sender.controller_epoch);
        let epoch_of = |id: BrokerId| context.brokers().get(&id).map(|member| member.epoch);
        for (to, partitions) in leader_and_isr {
            let Some(broker_epoch) = epoch_of(to) else { continue };
            let partitions: Vec<(Arc<Decision>, bool)> = partitions.into_values().collect();
            let leaders = live_leaders(context, &partitions, &sender.inter_broker_listener);
            let request = ControlRequest::LeaderAndIsr(LeaderAndIsr {
                controller_id,
                controller_epoch,
                broker_epoch,
                partitions,
                leaders,
            });
            outbox.push(Outgoing { to, request });
        }
        if !metadata_to.is_empty() {
            let partitions: Arc<[Shown]> = metadata.into_values().collect();
            let brokers: Arc<[Member]> = context.brokers().values().cloned().collect();
            for to in metadata_to {
                let Some(broker_epoch) = epoch_of(to) else { continue };
                let request = ControlRequest::UpdateMetadata(UpdateMetadata {
                    controller_id,
                    controller_epoch,
                    broker_epoch,
                    partitions: partitions.clone(),
                    brokers: brokers.clone(),
                    inter_broker_listener: sender.inter_broker_listener.clone(),
                });
                outbox.push(Outgoing { to, request });
            }
        }
        for (to, partitions) in stop {
            let Some(broker_epoch) = epoch_of(to) else { continue };
            let all: Vec<(TopicPartition, Stop)> = partitions.into_iter().collect();
            let parts = match sender.stops_per_partition {
                true => vec![all],
                false => {
                    let (deleted, kept) = all.into_iter().partition(|(_, stop)| stop.delete);
                    vec![deleted, kept]
                }
            };
            for partitions in parts.into_iter().filter(|part| !part.is_empty()) {
                let request = ControlRequest::StopReplica(StopReplica {
                    controller_id,
                    controller_epoch,
                    broker_epoch,
                    partitions,
                });
                outbox.push(Outgoing { to, request });
            }
        }
    }
}

fn live_leaders(
    context: &Context,
    partitions: &[(Arc<Decision>, bool)],
    listener: &str,
) -> Vec<(BrokerId, Arc<str>, i32)> {
    let leaders: BTreeSet<i32> = partitions.iter().map(|(decision, _)| decision.leader).collect();
    let members = leaders.into_iter().filter_map(|id| context.brokers().get(&BrokerId(id)));
    let reached = members.filter_map(|member| {
        let at = member.listeners.iter().find(|known| &*known.name == listener)?;
        Some((member.id, at.host.clone(), at.port))
    });
    reached.collect()
}
