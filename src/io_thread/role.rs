//! What this broker is to its replicas: terms begin, followers are heard of, what all in sync have is committed (contract 5.6, 5.7).
//!
//! In: decisions of the controller, fetches of followers, the time. Out: the high watermark with what it lets happen, and proposals
//! for in-sync sets, handed to the control thread. `replication` holds the rules; here they meet the log and whoever waits.

use std::sync::Arc;

use crate::api::command::{FetchUpdate, ProducedPart};
use crate::clock::Instant;
use crate::ids::{BrokerId, Home, LeaderEpoch, Offset};
use crate::io_thread::partition::{Partition, Role};
use crate::io_thread::{IoLoop, partition_mut};
use crate::metadata::topic_name;
use crate::reactor::Engine;
use crate::replication::{Answered, Duty, InSyncProposal, Leader, Proposal, Rules, Term};
use crate::wire::error_code::ErrorCode;
use crate::wire::primitive::Uuid;

/// Takes proposals for in-sync sets; called on the IO thread and must not block.
pub type ProposalTaker = Box<dyn Fn(Vec<InSyncProposal>) + Send>;

/// What an IO loop knows of the cluster.
pub(super) struct Cluster {
    pub this: BrokerId,
    pub lag_ms_max: i64,
    /// Brokers that are alive.
    pub live: Vec<BrokerId>,
    pub propose: ProposalTaker,
    /// Of this turn.
    pub proposals: Vec<InSyncProposal>,
}

impl Cluster {
    fn rules(&self, partition: &Partition) -> Rules {
        Rules { lag_ms_max: self.lag_ms_max, min_insync: partition.config.min_insync_replicas as usize }
    }

    fn lives(&self) -> impl Fn(BrokerId) -> bool + '_ {
        |id| self.live.contains(&id)
    }
}

impl IoLoop {
    /// Replicas become what the controller says. Whoever waits for something that a replica no longer does is told.
    pub(super) fn begin_terms(&mut self, terms: Vec<(u32, Term)>, engine: &mut dyn Engine) {
        let now = engine.now();
        for (slot, Term { epoch, topic_id, duty }) in terms {
            self.name_topic(slot, topic_id, engine);
            match duty {
                Duty::Lead { replicas, isr, partition_epoch } => {
                    self.fetchers.leave(slot);
                    self.lead(slot, epoch, &replicas, &isr, partition_epoch, engine);
                }
                Duty::Follow { leader } => {
                    self.step_down(slot, epoch);
                    self.follow(slot, epoch, leader, engine);
                }
                Duty::Wait => {
                    self.fetchers.leave(slot);
                    self.step_down(slot, epoch);
                }
            }
        }
        self.fetchers.nudge(now);
    }

    /// Replicas of topics that had no ids are given them (contract 3.2).
    fn name_topic(&mut self, slot: u32, id: Uuid, engine: &mut dyn Engine) {
        let Some(partition) = partition_mut(&mut self.partitions, slot) else { return };
        if id.is_zero() || partition.log.topic_id().is_some() || partition.log.has_failed() {
            return;
        }
        let directory = partition.directory;
        if let Err(error) = partition.log.set_topic_id(engine.disk(), id.0) {
            self.directory_failed(directory, &error);
        }
    }

    fn lead(
        &mut self,
        slot: u32,
        epoch: LeaderEpoch,
        replicas: &Arc<[BrokerId]>,
        isr: &Arc<[BrokerId]>,
        partition_epoch: i32,
        engine: &mut dyn Engine,
    ) {
        let now = engine.now();
        let Some(partition) = partition_mut(&mut self.partitions, slot) else { return };
        let led_before = partition.leads();
        partition.leader_epoch = epoch;
        partition.log.begin_epoch(epoch);
        if replicas.len() == 1 {
            partition.role = Role::Alone;
        } else {
            let start = partition.log.end_offset();
            let (replicas, isr) = (replicas.to_vec(), isr.to_vec());
            let leader = Leader::new(self.cluster.this, epoch, start, replicas, isr, partition_epoch, now);
            partition.role = Role::Leads(Box::new(leader));
        }
        let coordinates = *partition.topic == *topic_name::OFFSETS;
        self.advance(slot, now);
        self.flag_watchers(slot);
        if coordinates && !led_before {
            self.begin_coordinating(slot, engine);
        }
    }

    /// It does not lead any more: appends that wait are answered so, and readers.
    fn step_down(&mut self, slot: u32, epoch: LeaderEpoch) {
        let Some(partition) = partition_mut(&mut self.partitions, slot) else { return };
        partition.leader_epoch = epoch;
        if std::mem::replace(&mut partition.role, Role::Follows).is_follower() {
            return;
        }
        let pending = std::mem::take(&mut partition.pending);
        let waiting = std::mem::take(&mut partition.unacknowledged);
        let asked = pending.iter().map(|pending| (pending.produce, pending.entry));
        let asked = asked.chain(waiting.iter().map(|waiting| (waiting.produce, waiting.entry)));
        for (produce, entry) in asked.collect::<Vec<_>>() {
            self.produced(produce, ProducedPart::refused(entry, ErrorCode::NotLeaderOrFollower, None));
        }
        self.stop_coordinating(slot);
        self.flag_watchers(slot);
    }

    /// Whoever reads there has news.
    pub(super) fn flag_watchers(&mut self, slot: u32) {
        let Some(partition) = partition_mut(&mut self.partitions, slot) else { return };
        let watchers = std::mem::take(&mut partition.watchers);
        for (set, entry) in &watchers {
            self.flag(*set, *entry);
        }
        if let Some(partition) = partition_mut(&mut self.partitions, slot) {
            partition.watchers = watchers;
        }
    }

    /// A follower's fetch says how far it is.
    pub(super) fn on_follower(&mut self, update: &FetchUpdate, from: BrokerId, now: Instant) {
        let Some(partition) = partition_mut(&mut self.partitions, update.slot) else { return };
        let Role::Leads(leader) = &mut partition.role else { return };
        // What an older or newer term says is not believed; the answer tells.
        if update.leader_epoch >= 0 && update.leader_epoch != leader.epoch.0 {
            return;
        }
        let end = partition.log.end_offset();
        // A follower whose log parts from this one does not have what stands here below its end.
        let parts = update.last_fetched_epoch >= 0
            && crate::io_thread::fetch::parts_from(&partition.log, update.last_fetched_epoch, update.offset);
        if parts
            || update.offset > end
            || leader.on_fetch(from, update.offset, update.log_start, end, now).is_err()
        {
            return;
        }
        let high_watermark = partition.log.high_watermark();
        let proposal = leader.propose_growth(from, high_watermark, self.cluster.lives());
        self.propose(update.slot, proposal);
        self.advance(update.slot, now);
    }

    /// Followers that had everything until now, as what is appended next makes them be behind.
    pub(super) fn note_caught_up(&mut self, slot: u32, end_before: Offset) {
        let Some(partition) = partition_mut(&mut self.partitions, slot) else { return };
        let Role::Leads(leader) = &mut partition.role else { return };
        for (set, _) in &partition.watchers {
            let Some(set) = self.sets.get(set) else { continue };
            if let Some(replica) = set.replica {
                leader.on_idle_until(replica, end_before, set.asked_at);
            }
        }
    }

    /// Moves the high watermark as far as the in-sync set allows.
    pub(super) fn advance(&mut self, slot: u32, now: Instant) {
        let Some(partition) = partition_mut(&mut self.partitions, slot) else { return };
        let own_end = partition.own_end();
        let upto = match &partition.role {
            Role::Alone => own_end,
            Role::Leads(leader) => leader.high_watermark(
                own_end,
                partition.log.high_watermark(),
                &self.cluster.rules(partition),
                now,
                self.cluster.lives(),
            ),
            Role::Follows => return,
        };
        self.commit(slot, upto);
    }

    /// What this replica has of it is flushed up to `upto`: who waits for nothing else is answered.
    pub(super) fn settle_alone(&mut self, slot: u32, upto: Offset) {
        let Some(partition) = partition_mut(&mut self.partitions, slot) else { return };
        let log_start = partition.log.start_offset();
        let mut answers = Vec::new();
        partition.unacknowledged.retain(|waiting| {
            let due = waiting.alone && waiting.upto <= upto;
            if due {
                let (base, time) = (waiting.base_offset, waiting.append_time_ms);
                answers
                    .push((waiting.produce, super::produce::appended(waiting.entry, base, time, log_start)));
            }
            !due
        });
        for (produce, part) in answers {
            self.produced(produce, part);
        }
    }

    /// Looks whether a follower of this partition has been behind for too long.
    pub(super) fn look_for_laggards(&mut self, slot: u32, now: Instant) {
        let Some(partition) = partition_mut(&mut self.partitions, slot) else { return };
        let rules = self.cluster.rules(partition);
        let Role::Leads(leader) = &mut partition.role else { return };
        let proposal = leader
            .propose_shrinkage(partition.log.end_offset(), &rules, now)
            .or_else(|| leader.propose_growth_of_any(partition.log.high_watermark(), self.cluster.lives()));
        self.propose(slot, proposal);
        // Who lags no longer counts among those that may join.
        self.advance(slot, now);
    }

    fn propose(&mut self, slot: u32, proposal: Option<Proposal>) {
        let Some(Proposal { isr, partition_epoch }) = proposal else { return };
        let Some(partition) = partition_mut(&mut self.partitions, slot) else { return };
        let (topic, number) = (Arc::clone(&partition.topic), partition.number);
        self.cluster.proposals.push(InSyncProposal {
            home: Home { reactor: self.reactor, slot },
            topic,
            partition: number,
            leader_epoch: partition.leader_epoch,
            isr,
            partition_epoch,
        });
    }

    /// Hands over what this turn proposed.
    pub(super) fn send_proposals(&mut self) {
        if !self.cluster.proposals.is_empty() {
            (self.cluster.propose)(std::mem::take(&mut self.cluster.proposals));
        }
    }

    pub(super) fn on_proposal_answered(
        &mut self,
        slot: u32,
        term: LeaderEpoch,
        answered: Answered,
        now: Instant,
    ) {
        let Some(partition) = partition_mut(&mut self.partitions, slot) else { return };
        let Role::Leads(leader) = &mut partition.role else { return };
        if leader.epoch != term {
            return;
        }
        if let Answered::Set { isr, .. } = &answered {
            tracing::info!(topic = %partition.topic, partition = partition.number, isr = ?isr.iter().map(|id| id.0).collect::<Vec<_>>(), "the in-sync set is now");
        }
        let is_set = matches!(answered, Answered::Set { .. });
        leader.on_answer(answered);
        self.advance(slot, now);
        if is_set
            && let Some(partition) = partition_mut(&mut self.partitions, slot)
            && let Role::Leads(leader) = &mut partition.role
        {
            let next = leader.propose_growth_of_any(partition.log.high_watermark(), self.cluster.lives());
            self.propose(slot, next);
        }
        // Who was not enough in sync for acks=all is now, or is not any more; who is far enough may ask again with its next fetch.
        self.refuse_without_quorum(slot);
    }

    /// Appends that wait although fewer are in sync than `min.insync.replicas` asks for would wait until their time is up.
    fn refuse_without_quorum(&mut self, slot: u32) {
        let Some(partition) = partition_mut(&mut self.partitions, slot) else { return };
        let Role::Leads(leader) = &partition.role else { return };
        if leader.is_enough(&self.cluster.rules(partition)) {
            return;
        }
        let mut refused = Vec::new();
        partition.unacknowledged.retain(|waiting| {
            if !waiting.alone {
                refused.push((waiting.produce, waiting.entry));
            }
            waiting.alone
        });
        for (produce, entry) in refused {
            let error = ErrorCode::NotEnoughReplicasAfterAppend;
            self.produced(produce, ProducedPart::refused(entry, error, None));
        }
    }

    /// Whether acks=all can be promised now.
    pub(super) fn has_quorum(&self, slot: u32) -> bool {
        let Some(Some(partition)) = self.partitions.get(slot as usize) else { return true };
        match &partition.role {
            Role::Leads(leader) => leader.is_enough(&self.cluster.rules(partition)),
            Role::Alone | Role::Follows => true,
        }
    }

    pub(super) fn on_brokers(&mut self, brokers: &[(BrokerId, std::net::SocketAddr)], now: Instant) {
        self.cluster.live = brokers.iter().map(|(id, _)| *id).collect();
        self.fetchers.on_brokers(brokers, now);
    }
}

impl Role {
    fn is_follower(&self) -> bool {
        matches!(self, Role::Follows)
    }
}
