//! What a leader knows of its followers: how far each is, who is in sync, what is committed (contract 5.6, 5.7).
//!
//! In: fetches of followers, answers to proposals, the time. Out: the high watermark, and proposals for the in-sync set, one at a
//! time. A proposal to grow counts for the high watermark at once, one to shrink only when it is confirmed: whatever the
//! controller decides, no record is committed that a set it may choose does not have (KIP-497).

use crate::clock::Instant;
use crate::ids::{BrokerId, LeaderEpoch, Offset};

/// Settings that the rules depend on.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// `replica.lag.time.max.ms`.
    pub lag_ms_max: i64,
    /// `min.insync.replicas` of the topic.
    pub min_insync: usize,
}

/// A follower, as its fetches show it.
#[derive(Clone, Copy, Debug)]
struct Follower {
    id: BrokerId,
    /// The end of its log; `None` until it has fetched in this leader's term.
    end: Option<Offset>,
    log_start: Offset,
    /// When it last had all there was.
    caught_up_at: Option<Instant>,
    fetched_at: Instant,
    /// The leader's end when it last fetched.
    end_when_fetched: Offset,
}

impl Follower {
    fn lags(&self, leader_end: Offset, now: Instant, lag_ms_max: i64) -> bool {
        let behind = self.end != Some(leader_end);
        behind && self.caught_up_at.is_none_or(|at| at.after_ms(lag_ms_max) < now)
    }
}

/// An in-sync set to ask the controller for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proposal {
    /// In the order of the assignment.
    pub isr: Vec<BrokerId>,
    /// The version of the partition's state that it changes.
    pub partition_epoch: i32,
}

/// What became of a proposal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answered {
    /// This is the set now.
    Set { isr: Vec<BrokerId>, partition_epoch: i32 },
    /// One of its members is not eligible: the set stays as it was.
    Refused,
    /// This leader's view is old: nothing is asked for until the next decision of the controller comes.
    Outdated,
    /// Nobody has decided; it is asked for again.
    Failed,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("broker {0} has no replica of this partition")]
pub struct NotAReplica(pub BrokerId);

/// The leader's side of a partition, for one term.
#[derive(Clone, Debug)]
pub struct Leader {
    pub epoch: LeaderEpoch,
    /// The end of the log when the term began: who is not that far may lack what earlier terms committed.
    epoch_start: Offset,
    /// In the order of the assignment, this broker among them.
    replicas: Vec<BrokerId>,
    followers: Vec<Follower>,
    isr: Vec<BrokerId>,
    partition_epoch: i32,
    proposed: Option<Vec<BrokerId>>,
    is_outdated: bool,
}

impl Leader {
    /// A term begins. Members of the set have until `lag_ms_max` from now to show that they follow.
    pub fn new(
        this: BrokerId,
        epoch: LeaderEpoch,
        epoch_start: Offset,
        replicas: Vec<BrokerId>,
        isr: Vec<BrokerId>,
        partition_epoch: i32,
        now: Instant,
    ) -> Leader {
        let follower = |id: &BrokerId| Follower {
            id: *id,
            end: None,
            log_start: Offset(-1),
            caught_up_at: isr.contains(id).then_some(now),
            fetched_at: now,
            end_when_fetched: Offset(-1),
        };
        let followers = replicas.iter().filter(|id| **id != this).map(follower).collect();
        let (proposed, is_outdated) = (None, false);
        Leader { epoch, epoch_start, replicas, followers, isr, partition_epoch, proposed, is_outdated }
    }

    /// The committed set, in the order of the assignment.
    pub fn isr(&self) -> &[BrokerId] {
        &self.isr
    }

    /// Everyone who is in the set, or will be if the controller agrees.
    fn maximal_isr(&self) -> &[BrokerId] {
        self.proposed.as_deref().filter(|proposed| proposed.len() > self.isr.len()).unwrap_or(&self.isr)
    }

    /// Whether as many replicas are in sync as `min.insync.replicas` asks for, of those there are.
    pub fn is_enough(&self, rules: &Rules) -> bool {
        self.isr.len() >= rules.min_insync.min(self.replicas.len())
    }

    /// A follower asks for what stands at `offset`: so far is its log.
    pub fn on_fetch(
        &mut self,
        from: BrokerId,
        offset: Offset,
        log_start: Offset,
        leader_end: Offset,
        now: Instant,
    ) -> Result<(), NotAReplica> {
        let follower = self.followers.iter_mut().find(|follower| follower.id == from);
        let follower = follower.ok_or(NotAReplica(from))?;
        if offset >= leader_end {
            follower.caught_up_at = follower.caught_up_at.max(Some(now));
        } else if offset >= follower.end_when_fetched && follower.end.is_some() {
            // It has what there was when it asked before.
            follower.caught_up_at = follower.caught_up_at.max(Some(follower.fetched_at));
        }
        follower.end = Some(offset);
        follower.log_start = log_start;
        follower.fetched_at = now;
        follower.end_when_fetched = leader_end;
        Ok(())
    }

    /// A follower that had everything up to `end`, which is about to grow, still had it when it last asked.
    pub fn on_idle_until(&mut self, of: BrokerId, end: Offset, asked_at: Instant) {
        let follower = self.followers.iter_mut().find(|follower| follower.id == of);
        if let Some(follower) = follower.filter(|follower| follower.end == Some(end)) {
            follower.caught_up_at = follower.caught_up_at.max(Some(asked_at));
        }
    }

    pub fn has_follower(&self, id: BrokerId) -> bool {
        self.followers.iter().any(|follower| follower.id == id)
    }

    /// The end of the log when the term began.
    pub fn epoch_start(&self) -> Offset {
        self.epoch_start
    }

    /// How far records are committed. It never goes back within a term. Who follows closely and may join the set holds it back
    /// too, so that joining loses nothing.
    pub fn high_watermark(
        &self,
        leader_end: Offset,
        before: Offset,
        rules: &Rules,
        now: Instant,
        is_live: impl Fn(BrokerId) -> bool,
    ) -> Offset {
        if !self.is_enough(rules) {
            return before;
        }
        let counts = |follower: &&Follower| {
            let joins = !follower.lags(leader_end, now, rules.lag_ms_max) && is_live(follower.id);
            self.maximal_isr().contains(&follower.id) || joins
        };
        let followers = self.followers.iter().filter(counts);
        let lowest = followers.map(|follower| follower.end.unwrap_or(Offset(-1))).min().unwrap_or(leader_end);
        lowest.min(leader_end).max(before)
    }

    /// The lowest start of a log among those that are alive: what all have deleted (DeleteRecords answers with it).
    pub fn low_watermark(&self, leader_start: Offset, is_live: impl Fn(BrokerId) -> bool) -> Offset {
        let live = self.followers.iter().filter(|follower| is_live(follower.id));
        live.map(|follower| follower.log_start).chain([leader_start]).min().unwrap_or(leader_start)
    }

    /// Asks for a set with this follower, once it has all that is committed.
    pub fn propose_growth(
        &mut self,
        of: BrokerId,
        high_watermark: Offset,
        is_live: impl Fn(BrokerId) -> bool,
    ) -> Option<Proposal> {
        let follower = self.followers.iter().find(|follower| follower.id == of)?;
        let end = follower.end?;
        let may_join = end >= high_watermark && end >= self.epoch_start && is_live(of);
        if !may_join || self.isr.contains(&of) {
            return None;
        }
        let isr = self.replicas.iter().copied().filter(|id| *id == of || self.isr.contains(id)).collect();
        self.propose(isr)
    }

    /// The same for whichever follower may join: one that came up to the end while another proposal was under way, and has had nothing
    /// to fetch since, is not heard of again.
    pub fn propose_growth_of_any(
        &mut self,
        high_watermark: Offset,
        is_live: impl Fn(BrokerId) -> bool,
    ) -> Option<Proposal> {
        let outside = |id: &BrokerId| !self.isr.contains(id);
        let outside: Vec<BrokerId> =
            self.followers.iter().map(|follower| follower.id).filter(outside).collect();
        outside.into_iter().find_map(|id| self.propose_growth(id, high_watermark, &is_live))
    }

    /// Asks for a set without those that have not been as far as this leader for too long. To be called every half of
    /// `lag_ms_max`.
    pub fn propose_shrinkage(&mut self, leader_end: Offset, rules: &Rules, now: Instant) -> Option<Proposal> {
        let lags = |id: BrokerId| {
            let follower = self.followers.iter().find(|follower| follower.id == id);
            follower.is_some_and(|follower| follower.lags(leader_end, now, rules.lag_ms_max))
        };
        if !self.isr.iter().any(|id| lags(*id)) {
            return None;
        }
        let isr = self.replicas.iter().copied().filter(|id| self.isr.contains(id) && !lags(*id)).collect();
        self.propose(isr)
    }

    /// One proposal at a time, and none while this leader knows that its view is old.
    fn propose(&mut self, isr: Vec<BrokerId>) -> Option<Proposal> {
        if self.proposed.is_some() || self.is_outdated {
            return None;
        }
        self.proposed = Some(isr.clone());
        Some(Proposal { isr, partition_epoch: self.partition_epoch })
    }

    /// What the controller, or the write to ZooKeeper, answered.
    pub fn on_answer(&mut self, answered: Answered) {
        self.proposed = None;
        match answered {
            Answered::Set { isr, partition_epoch } if partition_epoch >= self.partition_epoch => {
                (self.isr, self.partition_epoch) = (isr, partition_epoch);
            }
            // An answer that a later decision has overtaken.
            Answered::Set { .. } => {}
            Answered::Refused | Answered::Failed => {}
            Answered::Outdated => self.is_outdated = true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SplitMix64;

    const RULES: Rules = Rules { lag_ms_max: 1000, min_insync: 1 };
    const ALL: [BrokerId; 3] = [BrokerId(1), BrokerId(2), BrokerId(3)];

    fn at(ms: u64) -> Instant {
        Instant(ms * 1_000_000)
    }

    fn leader(isr: &[BrokerId]) -> Leader {
        Leader::new(BrokerId(1), LeaderEpoch(5), Offset(100), ALL.to_vec(), isr.to_vec(), 7, at(0))
    }

    fn fetch(leader: &mut Leader, from: i32, offset: i64, end: i64, ms: u64) {
        leader.on_fetch(BrokerId(from), Offset(offset), Offset(0), Offset(end), at(ms)).unwrap();
    }

    fn watermark(leader: &Leader, end: i64, before: i64, ms: u64) -> i64 {
        leader.high_watermark(Offset(end), Offset(before), &RULES, at(ms), |_| true).0
    }

    #[test]
    fn what_all_in_sync_have_is_committed_and_it_never_goes_back() {
        let mut leader = leader(&ALL);
        assert_eq!(watermark(&leader, 110, 90, 1), 90, "nobody has fetched yet");
        fetch(&mut leader, 2, 110, 110, 1);
        assert_eq!(watermark(&leader, 110, 90, 1), 90);
        fetch(&mut leader, 3, 105, 110, 1);
        assert_eq!(watermark(&leader, 110, 90, 1), 105);
        fetch(&mut leader, 3, 102, 110, 2);
        assert_eq!(watermark(&leader, 110, 105, 2), 105, "a follower that was cut");
        assert_eq!(
            leader.on_fetch(BrokerId(9), Offset(0), Offset(0), Offset(110), at(2)),
            Err(NotAReplica(BrokerId(9)))
        );
    }

    #[test]
    fn who_is_behind_for_too_long_leaves_and_counts_until_that_is_confirmed() {
        let mut leader = leader(&ALL);
        fetch(&mut leader, 2, 110, 110, 100);
        fetch(&mut leader, 3, 101, 110, 100);
        assert_eq!(leader.propose_shrinkage(Offset(110), &RULES, at(900)), None);
        fetch(&mut leader, 2, 110, 110, 1200);
        let proposal = leader.propose_shrinkage(Offset(110), &RULES, at(1200)).unwrap();
        assert_eq!(proposal, Proposal { isr: vec![BrokerId(1), BrokerId(2)], partition_epoch: 7 });
        assert_eq!(watermark(&leader, 110, 90, 1200), 101, "not confirmed");
        assert_eq!(leader.propose_shrinkage(Offset(110), &RULES, at(1200)), None, "one at a time");
        leader.on_answer(Answered::Set { isr: proposal.isr, partition_epoch: 8 });
        assert_eq!(watermark(&leader, 110, 101, 1200), 110);
    }

    #[test]
    fn a_follower_that_keeps_up_with_what_there_was_when_it_asked_does_not_lag() {
        let mut leader = leader(&ALL);
        for step in 1..50u64 {
            // The end has moved on each time it comes.
            let end = 100 + 10 * step as i64;
            fetch(&mut leader, 2, end - 10, end, 100 * step);
            fetch(&mut leader, 3, end, end, 100 * step);
            assert_eq!(leader.propose_shrinkage(Offset(end), &RULES, at(100 * step)), None, "{step}");
        }
    }

    #[test]
    fn who_has_all_that_is_committed_joins_and_holds_the_watermark_at_once() {
        let mut leader = leader(&ALL[..2]);
        fetch(&mut leader, 2, 110, 110, 1);
        assert_eq!(leader.propose_growth(BrokerId(3), Offset(110), |_| true), None, "it has not fetched");
        fetch(&mut leader, 3, 99, 110, 1);
        assert_eq!(
            leader.propose_growth(BrokerId(3), Offset(90), |_| true),
            None,
            "below the start of the term"
        );
        fetch(&mut leader, 3, 110, 110, 2);
        assert_eq!(leader.propose_growth(BrokerId(3), Offset(110), |id| id.0 != 3), None, "it is not alive");
        let proposal = leader.propose_growth(BrokerId(3), Offset(110), |_| true).unwrap();
        assert_eq!(proposal.isr, ALL);
        fetch(&mut leader, 2, 120, 120, 3);
        assert_eq!(watermark(&leader, 120, 110, 3), 110, "it counts as if it were in");
        leader.on_answer(Answered::Refused);
        assert_eq!(leader.isr(), &ALL[..2]);
    }

    #[test]
    fn who_came_up_while_another_proposal_was_under_way_joins_when_that_is_answered() {
        let mut leader = leader(&ALL);
        fetch(&mut leader, 2, 101, 110, 1);
        fetch(&mut leader, 3, 101, 110, 1);
        let shrinkage = leader.propose_shrinkage(Offset(110), &RULES, at(5000)).unwrap();
        assert_eq!(shrinkage.isr, ALL[..1]);
        for follower in [2, 3] {
            fetch(&mut leader, follower, 110, 110, 5001);
            assert_eq!(leader.propose_growth(BrokerId(follower), Offset(110), |_| true), None);
        }
        leader.on_answer(Answered::Set { isr: shrinkage.isr, partition_epoch: 8 });
        for (isr, partition_epoch) in [(&ALL[..2], 9), (&ALL[..], 10)] {
            let growth = leader.propose_growth_of_any(Offset(110), |_| true).unwrap();
            assert_eq!(growth.isr, isr);
            leader.on_answer(Answered::Set { isr: growth.isr, partition_epoch });
        }
        assert_eq!(leader.propose_growth_of_any(Offset(110), |_| true), None);
    }

    #[test]
    fn an_outdated_leader_asks_for_nothing_more() {
        let mut leader = leader(&ALL);
        fetch(&mut leader, 2, 101, 110, 1);
        assert!(leader.propose_shrinkage(Offset(110), &RULES, at(5000)).is_some());
        leader.on_answer(Answered::Outdated);
        assert!(leader.propose_shrinkage(Offset(110), &RULES, at(9000)).is_none());
    }

    #[test]
    fn with_fewer_in_sync_than_asked_for_nothing_more_is_committed() {
        let rules = Rules { min_insync: 2, ..RULES };
        let mut leader = leader(&ALL[..1]);
        assert!(!leader.is_enough(&rules));
        fetch(&mut leader, 2, 110, 110, 1);
        let watermark =
            |leader: &Leader| leader.high_watermark(Offset(110), Offset(90), &rules, at(1), |_| true);
        assert_eq!(watermark(&leader), Offset(90));
        let proposal = leader.propose_growth(BrokerId(2), Offset(90), |_| true).unwrap();
        leader.on_answer(Answered::Set { isr: proposal.isr, partition_epoch: 8 });
        assert_eq!(watermark(&leader), Offset(110));
    }

    /// Whatever set the controller may have decided on by now, each of its members has what is committed.
    #[test]
    fn what_is_committed_is_in_every_set_that_may_be_in_force() {
        for seed in 0..500 {
            let mut random = SplitMix64::new(seed);
            let mut below = |bound: u64| random.next_u64() % bound;
            let mut leader = leader(&ALL);
            let mut ends = [0i64, 100, 100];
            let (mut end, mut committed, mut ms, mut version) = (100, 100, 0, 7);
            // Proposals that were sent, and not yet answered: the controller may have taken them.
            let mut asked: Option<Proposal> = None;
            for _ in 0..300 {
                ms += below(200);
                match below(6) {
                    0 => end += below(5) as i64,
                    1 | 2 => {
                        let follower = 1 + below(2) as usize;
                        ends[follower] += below((end - ends[follower] + 1) as u64) as i64;
                        fetch(&mut leader, follower as i32 + 1, ends[follower], end, ms);
                        let growth = leader.propose_growth(ALL[follower], Offset(committed), |_| true);
                        asked = asked.or(growth);
                    }
                    3 => {
                        let shrinkage = leader.propose_shrinkage(Offset(end), &RULES, at(ms));
                        asked = asked.or(shrinkage);
                    }
                    4 => {
                        if let Some(proposal) = asked.take() {
                            leader.on_answer(match below(3) {
                                0 => Answered::Refused,
                                1 => Answered::Failed,
                                _ => {
                                    version += 1;
                                    Answered::Set { isr: proposal.isr, partition_epoch: version }
                                }
                            });
                        }
                    }
                    _ => {
                        committed =
                            leader.high_watermark(Offset(end), Offset(committed), &RULES, at(ms), |_| true).0;
                    }
                }
                let in_force = [Some(leader.isr().to_vec()), asked.as_ref().map(|asked| asked.isr.clone())];
                for isr in in_force.into_iter().flatten() {
                    for member in isr.iter().filter(|id| id.0 != 1) {
                        let has = ends[member.0 as usize - 1];
                        assert!(has >= committed, "seed {seed}: {member} has {has} of {committed}");
                    }
                }
            }
        }
    }
}
