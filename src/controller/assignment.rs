//! On which brokers the partitions of a topic live: Kafka's spread over brokers and racks, number for number.
//!
//! In: live brokers, how many partitions and replicas, where to begin. Out: each partition's replicas, the preferred leader
//! first. Leaders go round; each round shifts the followers by one, so that those of a broker's partitions differ. With
//! racks, brokers are taken rack by rack in turn, and no rack gets a second replica before each has one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::ids::BrokerId;

/// A broker that may be given partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub id: BrokerId,
    pub rack: Option<Arc<str>>,
}

/// Where to begin. Drawn at random for a new topic, so that topics of one partition do not all land on one broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begin {
    /// Which broker, in their order, leads partition 0.
    pub index: usize,
    /// How far its first follower is from it.
    pub shift: usize,
    /// The number of the first partition that is assigned.
    pub partition: usize,
}

/// Why there is no assignment, in the words Kafka's tools know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unassignable {
    #[error("Number of partitions must be larger than 0.")]
    NoPartitions,
    #[error("Replication factor must be larger than 0.")]
    NoReplicas,
    #[error("Replication factor: {replicas} larger than available brokers: {brokers}.")]
    TooFewBrokers { replicas: usize, brokers: usize },
    #[error("Not all brokers have rack information for replica rack aware assignment.")]
    SomeRacks,
}

/// The replicas of `partitions` new partitions, `replicas` of each.
pub fn assign(
    candidates: &[Candidate],
    partitions: usize,
    replicas: usize,
    begin: Begin,
) -> Result<Vec<Vec<BrokerId>>, Unassignable> {
    let brokers = candidates.len();
    if partitions == 0 {
        return Err(Unassignable::NoPartitions);
    }
    if replicas == 0 {
        return Err(Unassignable::NoReplicas);
    }
    if replicas > brokers {
        return Err(Unassignable::TooFewBrokers { replicas, brokers });
    }
    let by_id: BTreeMap<BrokerId, Option<&str>> =
        candidates.iter().map(|candidate| (candidate.id, candidate.rack.as_deref())).collect();
    let racks: BTreeSet<&str> = by_id.values().copied().flatten().collect();
    if racks.is_empty() {
        let order: Vec<BrokerId> = by_id.keys().copied().collect();
        return Ok(spread(&order, partitions, replicas, begin, |chosen, first, shift| {
            chosen.extend((0..replicas - 1).map(|n| order[follower(first, shift, n, order.len())]));
        }));
    }
    if by_id.values().any(Option::is_none) {
        return Err(Unassignable::SomeRacks);
    }
    let order = alternated(&by_id);
    let rack_of = |id: BrokerId| by_id.get(&id).copied().flatten();
    Ok(spread(&order, partitions, replicas, begin, |chosen, first, shift| {
        let mut racks_used: BTreeSet<Option<&str>> = chosen.iter().map(|id| rack_of(*id)).collect();
        let mut step = 0;
        while chosen.len() < replicas {
            let id = order[follower(first, shift * racks.len(), step, order.len())];
            step += 1;
            let rack = rack_of(id);
            let rack_may = !racks_used.contains(&rack) || racks_used.len() == racks.len();
            if rack_may && !chosen.contains(&id) {
                racks_used.insert(rack);
                chosen.push(id);
            }
        }
    }))
}

/// Where the partitions begin that are added to a topic: beside its partition 0, as if they had been made with it.
pub fn begin_of_growth(candidates: &[Candidate], first_leader: BrokerId, existing: usize) -> Begin {
    let mut ids: Vec<BrokerId> = candidates.iter().map(|candidate| candidate.id).collect();
    ids.sort_unstable();
    let index = ids.iter().position(|id| *id >= first_leader).unwrap_or(0);
    Begin { index, shift: index, partition: existing }
}

fn spread(
    order: &[BrokerId],
    partitions: usize,
    replicas: usize,
    begin: Begin,
    mut followers: impl FnMut(&mut Vec<BrokerId>, usize, usize),
) -> Vec<Vec<BrokerId>> {
    let mut shift = begin.shift;
    let mut all = Vec::with_capacity(partitions);
    for partition in begin.partition..begin.partition + partitions {
        if partition > 0 && partition.is_multiple_of(order.len()) {
            shift += 1;
        }
        let first = (partition + begin.index) % order.len();
        let mut chosen = Vec::with_capacity(replicas);
        chosen.push(order[first]);
        if replicas > 1 {
            followers(&mut chosen, first, shift);
        }
        all.push(chosen);
    }
    all
}

/// The place of a follower: never that of `first`. Only asked where there are two brokers or more.
fn follower(first: usize, shift: usize, number: usize, brokers: usize) -> usize {
    (first + 1 + (shift + number) % (brokers - 1)) % brokers
}

/// One broker of each rack in turn, racks by name and brokers by id: of a: 0, 3 and b: 1 it makes 0, 1, 3.
fn alternated(by_id: &BTreeMap<BrokerId, Option<&str>>) -> Vec<BrokerId> {
    let mut racks: BTreeMap<Option<&str>, Vec<BrokerId>> = BTreeMap::new();
    for (id, rack) in by_id {
        racks.entry(*rack).or_default().push(*id);
    }
    let longest = racks.values().map(Vec::len).max().unwrap_or(0);
    (0..longest).flat_map(|n| racks.values().filter_map(move |ids| ids.get(n).copied())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn candidates(racks: &[Option<u8>]) -> Vec<Candidate> {
        let rack = |rack: Option<u8>| rack.map(|n| Arc::from(format!("r{n}")));
        (0..).zip(racks).map(|(id, r)| Candidate { id: BrokerId(id), rack: rack(*r) }).collect()
    }

    #[test]
    fn what_cannot_be_assigned_is_said_in_kafkas_words() {
        let begin = Begin { index: 0, shift: 0, partition: 0 };
        let refused = |racks: &[Option<u8>], partitions, replicas| {
            assign(&candidates(racks), partitions, replicas, begin).unwrap_err().to_string()
        };
        assert_eq!(refused(&[None], 1, 2), "Replication factor: 2 larger than available brokers: 1.");
        assert_eq!(refused(&[None], 0, 1), "Number of partitions must be larger than 0.");
        assert_eq!(refused(&[None], 1, 0), "Replication factor must be larger than 0.");
        assert!(refused(&[None, Some(1)], 1, 1).starts_with("Not all brokers have rack information"));
        assert!(refused(&[], 1, 1).ends_with("available brokers: 0."));
    }

    proptest! {
        #[test]
        fn replicas_differ_racks_are_covered_and_leaders_are_even(
            racks in proptest::collection::vec(0u8..4, 1..9),
            has_racks in any::<bool>(),
            partitions in 1usize..60,
            replicas in 1usize..9,
            (index, shift) in (0usize..9, 0usize..9),
            first in 0usize..20,
        ) {
            prop_assume!(replicas <= racks.len());
            let racks: Vec<Option<u8>> = racks.into_iter().map(|rack| has_racks.then_some(rack)).collect();
            let candidates = candidates(&racks);
            let begin = Begin { index: index % racks.len(), shift: shift % racks.len(), partition: first };
            let all = assign(&candidates, partitions, replicas, begin).unwrap();
            prop_assert_eq!(all.len(), partitions);
            let rack_count = racks.iter().collect::<BTreeSet<_>>().len();
            let mut led = vec![0usize; racks.len()];
            for chosen in &all {
                prop_assert_eq!(chosen.iter().collect::<BTreeSet<_>>().len(), replicas);
                let used: BTreeSet<_> = chosen.iter().map(|id| racks[id.0 as usize]).collect();
                prop_assert_eq!(used.len(), rack_count.min(replicas));
                led[chosen[0].0 as usize] += 1;
            }
            let (least, most) = (led.iter().min().unwrap(), led.iter().max().unwrap());
            prop_assert!(most - least <= 1);
            // Growth goes on where creation would have.
            let whole = assign(&candidates, first + partitions, replicas, Begin { partition: 0, ..begin }).unwrap();
            let shifted = begin.shift + (1..first).filter(|n| n.is_multiple_of(racks.len())).count();
            let grown = assign(&candidates, partitions, replicas, Begin { shift: shifted, ..begin }).unwrap();
            prop_assert_eq!(&whole[first..], &grown[..]);
        }
    }
}
