//! How the leader of a group shares partitions out: Kafka's four ways (KIP-54, KIP-341, KIP-429).
//!
//! In: members with what they read and what they hold, and how many partitions each topic has. Out: partitions of each
//! member. Pure. Each partition goes to one member that reads its topic; with equal subscriptions no member gets two more
//! than another, with `range` per topic.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::tools::cluster::TopicPartition;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assignor {
    Range,
    RoundRobin,
    Sticky,
    CooperativeSticky,
}

impl Assignor {
    #[cfg(test)]
    const ALL: [Assignor; 4] =
        [Assignor::Range, Assignor::RoundRobin, Assignor::Sticky, Assignor::CooperativeSticky];

    /// What members call it among themselves.
    pub fn protocol(self) -> &'static str {
        match self {
            Assignor::Range => "range",
            Assignor::RoundRobin => "roundrobin",
            Assignor::Sticky => "sticky",
            Assignor::CooperativeSticky => "cooperative-sticky",
        }
    }

    /// By the class a `partition.assignment.strategy` names, with or without its package, or by its protocol.
    pub fn from_class(name: &str) -> Option<Assignor> {
        Some(match name.rsplit('.').next().unwrap_or_default() {
            "RangeAssignor" | "range" => Assignor::Range,
            "RoundRobinAssignor" | "roundrobin" => Assignor::RoundRobin,
            "StickyAssignor" | "sticky" => Assignor::Sticky,
            "CooperativeStickyAssignor" | "cooperative-sticky" => Assignor::CooperativeSticky,
            _ => return None,
        })
    }

    /// A member may keep its partitions while the group rebalances.
    pub fn is_cooperative(self) -> bool {
        self == Assignor::CooperativeSticky
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    pub id: String,
    pub instance_id: Option<String>,
    pub topics: Vec<String>,
    /// What it holds, and since which generation; believed only of the newest that anybody names.
    pub owned: Vec<TopicPartition>,
    pub generation: i32,
}

/// Partitions by member id; every member is in it.
pub type Shares = BTreeMap<String, Vec<TopicPartition>>;

pub fn assign(assignor: Assignor, members: &[Member], partition_counts: &BTreeMap<String, i32>) -> Shares {
    let mut members: Vec<&Member> = members.iter().collect();
    // Static members first, by their name, as Java sorts them: who restarts gets what it had.
    members
        .sort_by_key(|member| (member.instance_id.is_none(), member.instance_id.clone(), member.id.clone()));
    match assignor {
        Assignor::Range => range(&members, partition_counts),
        Assignor::RoundRobin => round_robin(&members, partition_counts),
        Assignor::Sticky => sticky(&members, partition_counts).0,
        Assignor::CooperativeSticky => {
            let (mut shares, owners) = sticky(&members, partition_counts);
            // Who holds a partition has to let go of it before another may have it: that is the next rebalance.
            for (member, share) in &mut shares {
                share.retain(|at| owners.get(at).is_none_or(|owner| *owner == member));
            }
            shares
        }
    }
}

fn empty_shares(members: &[&Member]) -> Shares {
    members.iter().map(|member| (member.id.clone(), Vec::new())).collect()
}

fn partitions<'c>(counts: &'c BTreeMap<String, i32>) -> impl Iterator<Item = TopicPartition> + 'c {
    counts.iter().flat_map(|(topic, count)| (0..*count).map(move |number| TopicPartition::new(topic, number)))
}

fn range(members: &[&Member], counts: &BTreeMap<String, i32>) -> Shares {
    let mut shares = empty_shares(members);
    for (topic, count) in counts {
        let readers: Vec<&&Member> = members.iter().filter(|member| member.topics.contains(topic)).collect();
        if readers.is_empty() {
            continue;
        }
        let (each, more) = (*count as usize / readers.len(), *count as usize % readers.len());
        let mut next = 0;
        for (at, reader) in readers.iter().enumerate() {
            let end = next + each + usize::from(at < more);
            let share = shares.get_mut(&reader.id).expect("every member is in it");
            share.extend((next..end).map(|number| TopicPartition::new(topic, number as i32)));
            next = end;
        }
    }
    shares
}

fn round_robin(members: &[&Member], counts: &BTreeMap<String, i32>) -> Shares {
    let mut shares = empty_shares(members);
    let mut next = 0;
    for at in partitions(counts) {
        let found = (0..members.len())
            .map(|step| (next + step) % members.len())
            .find(|place| members[*place].topics.contains(&at.topic));
        if let Some(place) = found {
            shares.get_mut(&members[place].id).expect("every member is in it").push(at);
            next = (place + 1) % members.len();
        }
    }
    shares
}

/// Everybody keeps what it holds as far as the shares stay even; the rest goes to who has least. The owners before, too.
fn sticky<'m>(
    members: &[&'m Member],
    counts: &BTreeMap<String, i32>,
) -> (Shares, HashMap<TopicPartition, &'m str>) {
    let newest = members.iter().map(|member| member.generation).max().unwrap_or(-1);
    let exists =
        |at: &TopicPartition| counts.get(&at.topic).is_some_and(|count| (0..*count).contains(&at.partition));
    let mut owners: HashMap<TopicPartition, &str> = HashMap::new();
    let mut contested = BTreeSet::new();
    for member in members.iter().filter(|member| member.generation == newest) {
        for at in member.owned.iter().filter(|at| exists(at) && member.topics.contains(&at.topic)) {
            if owners.insert(at.clone(), &member.id).is_some() {
                contested.insert(at.clone());
            }
        }
    }
    // Two that claim the same partition in the same generation are both wrong.
    owners.retain(|at, _| !contested.contains(at));
    let mut held: BTreeMap<&str, BTreeSet<TopicPartition>> =
        members.iter().map(|member| (member.id.as_str(), BTreeSet::new())).collect();
    for (at, owner) in &owners {
        held.get_mut(owner).expect("every member is in it").insert(at.clone());
    }
    for at in partitions(counts).filter(|at| !owners.contains_key(at)) {
        let least = members
            .iter()
            .filter(|member| member.topics.contains(&at.topic))
            .min_by_key(|member| held[member.id.as_str()].len());
        if let Some(member) = least {
            held.get_mut(member.id.as_str()).expect("every member is in it").insert(at);
        }
    }
    // Each move makes the shares more even, so there is an end to them.
    while let Some((from, to, at)) = one_move(members, &held) {
        held.get_mut(from).expect("a member").remove(&at);
        held.get_mut(to).expect("a member").insert(at);
    }
    let shares = held.into_iter().map(|(id, share)| (id.to_owned(), share.into_iter().collect())).collect();
    (shares, owners)
}

/// A partition whose holder has at least two more than another who reads its topic.
fn one_move<'m>(
    members: &[&'m Member],
    held: &BTreeMap<&'m str, BTreeSet<TopicPartition>>,
) -> Option<(&'m str, &'m str, TopicPartition)> {
    let mut by_load: Vec<&&Member> = members.iter().collect();
    by_load.sort_by_key(|member| held[member.id.as_str()].len());
    for to in &by_load {
        let few = held[to.id.as_str()].len();
        for from in by_load.iter().rev() {
            let theirs = &held[from.id.as_str()];
            if theirs.len() < few + 2 {
                break;
            }
            if let Some(at) = theirs.iter().rev().find(|at| to.topics.contains(&at.topic)) {
                return Some((&from.id, &to.id, at.clone()));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SplitMix64;

    fn member(id: &str, topics: &[&str]) -> Member {
        let topics = topics.iter().map(|topic| (*topic).to_owned()).collect();
        Member { id: id.to_owned(), topics, generation: -1, ..Member::default() }
    }

    fn counts(topics: &[(&str, i32)]) -> BTreeMap<String, i32> {
        topics.iter().map(|(topic, count)| ((*topic).to_owned(), *count)).collect()
    }

    fn text(shares: &Shares) -> Vec<String> {
        let texts = shares.iter().map(|(id, share)| {
            let share: Vec<String> = share.iter().map(TopicPartition::to_string).collect();
            format!("{id}: {}", share.join(" "))
        });
        texts.collect()
    }

    #[test]
    fn range_gives_each_a_run_of_every_topic_and_static_members_come_first() {
        let mut members = vec![member("a", &["t", "u"]), member("b", &["t", "u"])];
        let counts = counts(&[("t", 3), ("u", 3)]);
        assert_eq!(text(&assign(Assignor::Range, &members, &counts)), ["a: t-0 t-1 u-0 u-1", "b: t-2 u-2"]);
        members[1].instance_id = Some("z".to_owned());
        assert_eq!(text(&assign(Assignor::Range, &members, &counts)), ["a: t-2 u-2", "b: t-0 t-1 u-0 u-1"]);
    }

    #[test]
    fn round_robin_deals_out_one_by_one_and_passes_over_who_does_not_read() {
        let members = [member("a", &["t"]), member("b", &["t", "u"]), member("c", &["u"])];
        let counts = counts(&[("t", 3), ("u", 2)]);
        assert_eq!(
            text(&assign(Assignor::RoundRobin, &members, &counts)),
            ["a: t-0 t-2", "b: t-1 u-0", "c: u-1"]
        );
    }

    #[test]
    fn sticky_moves_only_what_must_move_and_cooperative_takes_before_it_gives() {
        let counts = counts(&[("t", 5)]);
        let mut old = member("a", &["t"]);
        old.owned = (0..5).map(|number| TopicPartition::new("t", number)).collect();
        old.generation = 4;
        let members = [old, member("b", &["t"])];
        let eager = assign(Assignor::Sticky, &members, &counts);
        assert_eq!(text(&eager), ["a: t-0 t-1 t-2", "b: t-3 t-4"]);
        let first = assign(Assignor::CooperativeSticky, &members, &counts);
        assert_eq!(text(&first), ["a: t-0 t-1 t-2", "b: "]);
        let mut after = members.clone();
        after[0].owned = first["a"].clone();
        (after[0].generation, after[1].generation) = (5, 5);
        assert_eq!(text(&assign(Assignor::CooperativeSticky, &after, &counts)), text(&eager));
    }

    #[test]
    fn by_any_way_each_partition_has_one_reader_and_sticky_shares_are_even() {
        for seed in 0..300 {
            let mut random = SplitMix64::new(seed);
            let names = ["t", "u", "v"];
            let counts: BTreeMap<String, i32> =
                names.iter().map(|name| ((*name).to_owned(), random.below(9) as i32)).collect();
            let same = random.below(2) == 0;
            let mut members: Vec<Member> = Vec::new();
            for at in 0..1 + random.below(6) {
                let topics: Vec<&str> =
                    names.iter().filter(|_| same || random.below(3) > 0).copied().collect();
                let mut one = member(&format!("m{at}"), &topics);
                for topic in names {
                    for number in 0..9 {
                        if random.below(3) == 0 {
                            one.owned.push(TopicPartition::new(topic, number));
                        }
                    }
                }
                one.generation = random.below(3) as i32;
                members.push(one);
            }
            for assignor in Assignor::ALL {
                let shares = assign(assignor, &members, &counts);
                let mut seen = BTreeSet::new();
                for (id, share) in &shares {
                    let member = members.iter().find(|member| member.id == *id).expect("a member");
                    for at in share {
                        assert!(seen.insert(at.clone()), "seed {seed}, {assignor:?}: {at} twice");
                        assert!(member.topics.contains(&at.topic), "seed {seed}, {assignor:?}: {at} to {id}");
                    }
                }
                let read =
                    partitions(&counts).filter(|at| members.iter().any(|m| m.topics.contains(&at.topic)));
                if !assignor.is_cooperative() {
                    assert_eq!(seen.len(), read.count(), "seed {seed}, {assignor:?}");
                }
                if same && matches!(assignor, Assignor::Sticky | Assignor::RoundRobin) {
                    let sizes = shares.values().map(Vec::len);
                    let (least, most) = (sizes.clone().min().unwrap(), sizes.max().unwrap());
                    assert!(most - least <= 1, "seed {seed}, {assignor:?}: {least} to {most}");
                }
            }
        }
    }
}
