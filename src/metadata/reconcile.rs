//! What a start makes of two witnesses: the stored state and the replica directories that are there.
//!
//! In: the state, and each directory's name, topic id and last leader epoch. Out: which directories to open, which
//! to remove for a deletion that a stop interrupted, which nobody knows, and the topics that a store made today
//! takes over from an earlier broker. Where the witnesses contradict each other the start is refused, naming both.
//! Partitions without a directory are not listed: they are made as on the day they were asked for.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::config::Overrides;
use crate::ids::LeaderEpoch;
use crate::metadata::fresh_id::{fresh_id, told};
use crate::metadata::publish;
use crate::metadata::state::{Change, State, StoredTopic};
use crate::metadata::topic_name;
use crate::wire::primitive::Uuid;

/// A replica directory in one of the log directories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub topic: String,
    pub partition: i32,
    /// From `partition.metadata`; brokers before 2.8 wrote none.
    pub topic_id: Option<Uuid>,
    /// The last one in `leader-epoch-checkpoint`, if there is one.
    pub last_epoch: Option<LeaderEpoch>,
    /// For messages.
    pub path: String,
}

/// What to do, by the place of each directory in the list.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Commit these before anything is opened: topics taken over from the directories.
    pub adopt: Vec<Change>,
    pub open: Vec<usize>,
    /// Left by an interrupted deletion: rename them away, then commit `deleted`.
    pub remove: Vec<usize>,
    pub deleted: Vec<Change>,
    /// No topic of ours: left alone, one line each.
    pub unknown: Vec<usize>,
    /// Reasons not to start; each names paths and both values.
    pub conflicts: Vec<String>,
    /// Directories of another topic of the same name; each sentence names the path and both ids. A reason not to start where
    /// the metadata is this broker's own; in a cluster the topic may have been made anew while this broker was away.
    pub foreign: Vec<String>,
}

/// `adopt`: the store is new, so what is in the directories was not lost by it but comes from before.
pub fn reconcile(state: &State, found: &[Found], adopt: bool, random: &mut dyn FnMut() -> u64) -> Plan {
    let mut plan = Plan::default();
    let mut seen: HashMap<(&str, i32), usize> = HashMap::new();
    let mut strangers: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, replica) in found.iter().enumerate() {
        let live = state.topic_named(&replica.topic);
        if is_being_deleted(state, live, replica) {
            plan.remove.push(index);
            continue;
        }
        if let Some(first) = seen.insert((&replica.topic, replica.partition), index) {
            plan.conflicts.push(format!(
                "{} and {} are both partition {} of topic {}; remove the one that is not wanted",
                found[first].path, replica.path, replica.partition, replica.topic
            ));
            continue;
        }
        match live {
            None if adopt && topic_name::check(&replica.topic).is_ok() => {
                strangers.entry(&replica.topic).or_default().push(index);
            }
            None => plan.unknown.push(index),
            Some(topic) => match replica.topic_id {
                Some(id) if id != told(topic.id) && !told(topic.id).is_zero() => {
                    plan.foreign.push(format!(
                        "{} belongs to topic id {id}, but the metadata says {} for topic {}",
                        replica.path, topic.id, topic.name
                    ));
                }
                Some(_) | None
                    if replica.partition >= topic.partition_count()
                        || !publish::is_here(state, topic, replica.partition) =>
                {
                    plan.unknown.push(index);
                }
                Some(_) | None => plan.open.push(index),
            },
        }
    }
    for (name, replicas) in strangers {
        match adopted(name, found, &replicas, state, random) {
            Ok(topic) => {
                plan.adopt.push(Change::TopicAdded(Arc::new(topic)));
                plan.open.extend(replicas);
            }
            Err(conflict) => plan.conflicts.push(conflict),
        }
    }
    plan.open.sort_unstable();
    plan.deleted = state.deleting().map(|topic| Change::DeleteDone { id: topic.id }).collect();
    plan
}

/// A directory without an id belongs to the deleted topic only if no live one has the name: a live topic's
/// directories got their ids when they were made.
fn is_being_deleted(state: &State, live: Option<&Arc<StoredTopic>>, replica: &Found) -> bool {
    match replica.topic_id {
        Some(id) => state.deleting_topic(&id).is_some(),
        None => live.is_none() && state.deleting().any(|topic| *topic.name == replica.topic),
    }
}

fn adopted(
    name: &str,
    found: &[Found],
    replicas: &[usize],
    state: &State,
    random: &mut dyn FnMut() -> u64,
) -> Result<StoredTopic, String> {
    let mut id: Option<(Uuid, &str)> = None;
    let mut partition_count = 0;
    for replica in replicas.iter().map(|&index| &found[index]) {
        partition_count = partition_count.max(replica.partition as usize + 1);
        match (id, replica.topic_id) {
            (Some((first, path)), Some(other)) if first != other => {
                return Err(format!(
                    "{path} belongs to topic id {first}, but {} to {other}: topic {name} cannot be both",
                    replica.path
                ));
            }
            (None, Some(other)) => id = Some((other, &replica.path)),
            (_, _) => {}
        }
    }
    if partition_count > PARTITIONS_ADOPTED_MAX {
        return Err(format!(
            "topic {name} would have {partition_count} partitions, more than can be taken over"
        ));
    }
    let mut topic = StoredTopic {
        id: id.map(|(id, _)| id).unwrap_or_else(|| fresh_id(random)),
        name: name.into(),
        leader_epochs: Vec::new(),
        since: state.incarnation(),
        overrides: Overrides::new(),
        placements: Vec::new(),
    };
    topic.leader_epochs = vec![0; partition_count];
    for replica in replicas.iter().map(|&index| &found[index]) {
        // The earlier broker's last epoch may not have reached the file, so the next one is taken.
        let epoch = replica.last_epoch.map_or(0, |last| last.0.saturating_add(1));
        topic.leader_epochs[replica.partition as usize] = epoch;
    }
    Ok(topic)
}

/// A single directory `t-2147483647` must not make two thousand million partitions.
const PARTITIONS_ADOPTED_MAX: usize = 200_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> Uuid {
        Uuid([n; 16])
    }

    fn found(topic: &str, partition: i32, topic_id: Option<Uuid>) -> Found {
        let path = format!("/d/{topic}-{partition}");
        Found { topic: topic.into(), partition, topic_id, last_epoch: None, path }
    }

    fn state(changes: &[Change]) -> State {
        let mut state = State::default();
        let _ = state.apply_all(changes).unwrap();
        state
    }

    fn topic(n: u8, name: &str, partitions: usize) -> Change {
        Change::TopicAdded(Arc::new(StoredTopic {
            id: id(n),
            name: name.into(),
            leader_epochs: vec![0; partitions],
            since: 0,
            overrides: Overrides::new(),
            placements: Vec::new(),
        }))
    }

    fn plan(state: &State, found: &[Found], adopt: bool) -> Plan {
        let mut next = 0;
        reconcile(state, found, adopt, &mut || {
            next += 1;
            next
        })
    }

    #[test]
    fn a_new_store_takes_over_topics_with_their_ids_and_epochs() {
        let mut two = found("a", 2, Some(id(7)));
        two.last_epoch = Some(LeaderEpoch(4));
        let all = [found("a", 0, Some(id(7))), two, found("old-topic", 0, None)];
        let plan = plan(&State::default(), &all, true);
        assert_eq!(plan.open, [0, 1, 2]);
        assert_eq!(plan.conflicts, [""; 0]);
        let topics: Vec<&StoredTopic> = plan
            .adopt
            .iter()
            .map(|change| match change {
                Change::TopicAdded(topic) => &**topic,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!((topics[0].id, &topics[0].leader_epochs), (id(7), &vec![0, 0, 5]));
        assert!(!topics[1].id.is_zero());
    }

    #[test]
    fn a_store_with_a_past_takes_nothing_over() {
        let plan = plan(&State::default(), &[found("a", 0, Some(id(7)))], false);
        assert_eq!((plan.unknown, plan.adopt), (vec![0], vec![]));
    }

    #[test]
    fn an_interrupted_deletion_is_finished_and_spares_the_new_topic_of_the_name() {
        let state = state(&[topic(1, "t", 2), Change::DeleteBegun { id: id(1) }, topic(2, "t", 2)]);
        let all = [found("t", 0, Some(id(2))), found("t", 1, Some(id(1)))];
        let plan = plan(&state, &all, false);
        assert_eq!((plan.open, plan.remove), (vec![0], vec![1]));
        assert_eq!(plan.deleted, [Change::DeleteDone { id: id(1) }]);
        assert_eq!(plan.conflicts, [""; 0]);
    }

    #[test]
    fn a_directory_without_an_id_follows_the_name() {
        let gone = state(&[topic(1, "t", 1), Change::DeleteBegun { id: id(1) }]);
        assert_eq!(plan(&gone, &[found("t", 0, None)], false).remove, [0]);
        let back = state(&[topic(1, "t", 1), Change::DeleteBegun { id: id(1) }, topic(2, "t", 1)]);
        assert_eq!(plan(&back, &[found("t", 0, None)], false).open, [0]);
    }

    #[test]
    fn contradictions_are_named_with_paths_and_both_values() {
        let state = state(&[topic(1, "t", 1)]);
        let all = [found("t", 0, Some(id(9)))];
        let conflicts = plan(&state, &all, false).foreign;
        assert!(conflicts[0].contains("/d/t-0") && conflicts[0].contains(&id(9).to_string()));
        assert!(conflicts[0].contains(&id(1).to_string()), "{conflicts:?}");
        let mut twice = [found("t", 0, Some(id(1))), found("t", 0, Some(id(1)))];
        twice[1].path = "/e/t-0".into();
        let conflicts = plan(&state, &twice, false).conflicts;
        assert!(conflicts[0].contains("/d/t-0 and /e/t-0"), "{conflicts:?}");
        let mixed = [found("u", 0, Some(id(3))), found("u", 1, Some(id(4)))];
        let conflicts = plan(&State::default(), &mixed, true).conflicts;
        assert!(conflicts[0].contains("/d/u-0") && conflicts[0].contains("/d/u-1"), "{conflicts:?}");
    }

    #[test]
    fn a_partition_number_out_of_this_world_is_refused() {
        let plan = plan(&State::default(), &[found("t", i32::MAX, None)], true);
        assert_eq!(plan.adopt, []);
        assert!(plan.conflicts[0].contains("2147483648 partitions"), "{:?}", plan.conflicts);
    }
}
