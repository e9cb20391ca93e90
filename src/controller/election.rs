//! Who leads a partition, and who stays in its in-sync set (contract 5.3, 5.4).
//!
//! In: the assignment in its order, the in-sync set, who lives. Out: the new leader and in-sync set, or none. A clean election
//! takes a leader from the in-sync set alone, so nothing acknowledged is lost; an unclean one says so. A replica lives here when
//! its broker does and its log directory is not offline. The caller raises the leader epoch by one for whatever comes out.

use crate::ids::BrokerId;

/// What the state node shall say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leadership {
    pub leader: Option<BrokerId>,
    pub isr: Vec<BrokerId>,
    /// The leader comes from outside the in-sync set: records may be lost.
    pub unclean: bool,
}

impl Leadership {
    fn clean(leader: BrokerId, isr: Vec<BrokerId>) -> Leadership {
        Leadership { leader: Some(leader), isr, unclean: false }
    }
}

/// Of a new partition: the first that lives, and with it all that live. `None`: it stays new.
pub fn first(assignment: &[BrokerId], lives: impl Fn(BrokerId) -> bool) -> Option<Leadership> {
    let isr: Vec<BrokerId> = assignment.iter().copied().filter(|id| lives(*id)).collect();
    Some(Leadership::clean(*isr.first()?, isr))
}

/// Of a partition whose leader is gone. `None`: it stays without one, and its in-sync set as it is.
pub fn offline(
    assignment: &[BrokerId],
    isr: &[BrokerId],
    lives: impl Fn(BrokerId) -> bool,
    unclean_allowed: bool,
) -> Option<Leadership> {
    if let Some(leader) = assignment.iter().copied().find(|id| lives(*id) && isr.contains(id)) {
        return Some(Leadership::clean(leader, isr.iter().copied().filter(|id| lives(*id)).collect()));
    }
    let leader = assignment.iter().copied().find(|id| unclean_allowed && lives(*id))?;
    Some(Leadership { leader: Some(leader), isr: vec![leader], unclean: true })
}

/// Of a partition that moves to `target`: the in-sync set stays.
pub fn reassign(
    target: &[BrokerId],
    isr: &[BrokerId],
    lives: impl Fn(BrokerId) -> bool,
) -> Option<Leadership> {
    let leader = target.iter().copied().find(|id| lives(*id) && isr.contains(id))?;
    Some(Leadership::clean(leader, isr.to_vec()))
}

/// Back to the first of the assignment; `None` (PREFERRED_LEADER_NOT_AVAILABLE) if it cannot lead.
pub fn preferred(
    assignment: &[BrokerId],
    isr: &[BrokerId],
    lives: impl Fn(BrokerId) -> bool,
) -> Option<Leadership> {
    reassign(assignment.get(..1)?, isr, lives)
}

/// Away from brokers that are about to stop, which still live. `None`: nobody else is in sync, and it leads to the end.
pub fn controlled_shutdown(
    assignment: &[BrokerId],
    isr: &[BrokerId],
    lives: impl Fn(BrokerId) -> bool,
    stops: impl Fn(BrokerId) -> bool,
) -> Option<Leadership> {
    let may_lead = |id: &BrokerId| lives(*id) && !stops(*id) && isr.contains(id);
    let leader = assignment.iter().copied().find(may_lead)?;
    Some(Leadership::clean(leader, isr.iter().copied().filter(|id| !stops(*id)).collect()))
}

/// After a replica went offline. `None`: it was neither leader nor in sync, and nothing changes. The last one in sync stays in
/// the set, because it alone has every acknowledged record.
pub fn without(leader: Option<BrokerId>, isr: &[BrokerId], replica: BrokerId) -> Option<Leadership> {
    if leader != Some(replica) && !isr.contains(&replica) {
        return None;
    }
    let leader = leader.filter(|id| *id != replica);
    let isr = match isr {
        [_] => isr.to_vec(),
        _ => isr.iter().copied().filter(|id| *id != replica).collect(),
    };
    Some(Leadership { leader, isr, unclean: false })
}

/// Whether a broker leads so few of the partitions that prefer it that they shall be moved back:
/// `leader.imbalance.per.broker.percentage`.
pub fn is_imbalanced(preferring: usize, led_by_others: usize, percentage: u32) -> bool {
    preferring > 0 && led_by_others as u64 * 100 > u64::from(percentage) * preferring as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ids(all: &[i32]) -> Vec<BrokerId> {
        all.iter().copied().map(BrokerId).collect()
    }

    #[test]
    fn the_order_of_the_assignment_decides_not_that_of_the_in_sync_set() {
        let found = offline(&ids(&[3, 1, 2]), &ids(&[2, 1]), |_| true, false).unwrap();
        assert_eq!((found.leader, found.isr), (Some(BrokerId(1)), ids(&[2, 1])));
        let found = first(&ids(&[3, 1, 2]), |id| id != BrokerId(3)).unwrap();
        assert_eq!((found.leader, found.isr), (Some(BrokerId(1)), ids(&[1, 2])));
    }

    #[test]
    fn without_the_in_sync_set_only_an_unclean_election_finds_somebody() {
        let lives = |id| id == BrokerId(2);
        assert_eq!(offline(&ids(&[1, 2]), &ids(&[1]), lives, false), None);
        let found = offline(&ids(&[1, 2]), &ids(&[1]), lives, true).unwrap();
        assert_eq!(found, Leadership { leader: Some(BrokerId(2)), isr: ids(&[2]), unclean: true });
    }

    #[test]
    fn the_last_in_sync_replica_stays_in_the_set_when_it_goes() {
        let one = BrokerId(1);
        let gone = without(Some(one), &ids(&[1]), one).unwrap();
        assert_eq!((gone.leader, gone.isr), (None, ids(&[1])));
        let gone = without(Some(one), &ids(&[1, 2]), one).unwrap();
        assert_eq!((gone.leader, gone.isr), (None, ids(&[2])));
        let gone = without(Some(one), &ids(&[1, 2]), BrokerId(2)).unwrap();
        assert_eq!((gone.leader, gone.isr), (Some(one), ids(&[1])));
        assert_eq!(without(Some(one), &ids(&[1]), BrokerId(2)), None);
    }

    #[test]
    fn a_stopping_broker_leads_to_the_end_when_nobody_else_is_in_sync() {
        let stops = |id| id == BrokerId(1);
        assert_eq!(controlled_shutdown(&ids(&[1, 2]), &ids(&[1]), |_| true, stops), None);
        let moved = controlled_shutdown(&ids(&[1, 2]), &ids(&[1, 2]), |_| true, stops).unwrap();
        assert_eq!((moved.leader, moved.isr), (Some(BrokerId(2)), ids(&[2])));
    }

    #[test]
    fn imbalance_is_more_than_the_percentage() {
        assert!(!is_imbalanced(10, 1, 10) && is_imbalanced(10, 2, 10));
        assert!(!is_imbalanced(0, 0, 0) && is_imbalanced(1, 1, 0));
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Dies(i32),
        Returns(i32),
        Stops(i32),
        CatchesUp(i32),
        Lags(i32),
        Preferred,
    }

    fn step() -> impl Strategy<Value = Step> {
        (0u8..6, 0i32..4).prop_map(|(kind, id)| match kind {
            0 => Step::Dies(id),
            1 => Step::Returns(id),
            2 => Step::Stops(id),
            3 => Step::CatchesUp(id),
            4 => Step::Lags(id),
            _ => Step::Preferred,
        })
    }

    proptest! {
        /// A partition through any series of events. Whoever is in the in-sync set has every acknowledged record; without
        /// unclean elections a leader always comes from that set, so there is always somebody who has them all.
        #[test]
        fn acknowledged_records_outlive_every_series_of_clean_elections(steps in proptest::collection::vec(step(), 0..80)) {
            let assignment = ids(&[0, 1, 2, 3]);
            let mut alive = [true; 4];
            let mut state = first(&assignment, |_| true).unwrap();
            for step in steps {
                let before = state.clone();
                let lives = |alive: &[bool; 4], id: BrokerId| alive[id.0 as usize];
                let mut elected = None;
                match step {
                    Step::Dies(id) => {
                        alive[id as usize] = false;
                        if let Some(next) = without(state.leader, &state.isr, BrokerId(id)) {
                            state = next;
                        }
                        if state.leader.is_none() {
                            elected = offline(&assignment, &state.isr, |id| lives(&alive, id), false);
                        }
                    }
                    Step::Returns(id) => {
                        alive[id as usize] = true;
                        if state.leader.is_none() {
                            elected = offline(&assignment, &state.isr, |id| lives(&alive, id), false);
                        }
                    }
                    Step::Stops(id) => {
                        if state.leader == Some(BrokerId(id)) {
                            elected = controlled_shutdown(&assignment, &state.isr, |id| lives(&alive, id), |other| other.0 == id);
                        }
                    }
                    Step::CatchesUp(id) => {
                        if state.leader.is_some() && alive[id as usize] && !state.isr.contains(&BrokerId(id)) {
                            state.isr.push(BrokerId(id));
                        }
                    }
                    Step::Lags(id) => {
                        if state.leader.is_some_and(|leader| leader.0 != id) {
                            state.isr.retain(|other| other.0 != id);
                        }
                    }
                    Step::Preferred => {
                        if state.leader.is_some() {
                            elected = preferred(&assignment, &state.isr, |id| lives(&alive, id));
                        }
                    }
                }
                if let Some(next) = elected {
                    prop_assert!(!next.unclean);
                    let leader = next.leader.unwrap();
                    prop_assert!(before.isr.contains(&leader), "{leader} had not every record");
                    prop_assert!(next.isr.iter().all(|id| before.isr.contains(id)));
                    state = next;
                }
                prop_assert!(!state.isr.is_empty());
                if let Some(leader) = state.leader {
                    prop_assert!(state.isr.contains(&leader) && lives(&alive, leader));
                    prop_assert!(state.isr.iter().all(|id| lives(&alive, *id)));
                } else {
                    prop_assert!(state.isr.iter().all(|id| !lives(&alive, *id)), "somebody in sync lives, and nobody leads");
                }
            }
        }
    }
}
