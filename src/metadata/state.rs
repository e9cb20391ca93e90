//! What a metadata store keeps, and how it advances: a value and the changes of it.
//!
//! In: changes, in the order they were committed. Out: the state; or why a change does not fit, and then the state
//! stays as it was. The same changes give the same state, on the day they happen and when they are read back.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::config::Overrides;
use crate::ids::{BrokerId, LeaderEpoch};
use crate::metadata::settings_path;
use crate::wire::primitive::Uuid;

/// A topic as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredTopic {
    pub id: Uuid,
    pub name: Arc<str>,
    /// Of each partition, at the incarnation in `since`. See `State::leader_epoch`.
    pub leader_epochs: Vec<i32>,
    pub since: i32,
    pub overrides: Overrides,
    /// Of each partition, in a store of a cluster. Empty in that of a single broker, which leads them all.
    pub placements: Vec<Placement>,
}

impl StoredTopic {
    pub fn partition_count(&self) -> i32 {
        self.leader_epochs.len() as i32
    }

    pub fn placement(&self, partition: i32) -> Option<&Placement> {
        self.placements.get(usize::try_from(partition).ok()?)
    }
}

/// Where a partition of a cluster lives, and who leads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The preferred leader first.
    pub replicas: Arc<[BrokerId]>,
    /// `None`: nobody was elected yet.
    pub led: Option<Led>,
}

/// Who leads a partition since when; its leader epoch stands in `StoredTopic::leader_epochs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Led {
    /// `None`: nobody can.
    pub leader: Option<BrokerId>,
    pub isr: Arc<[BrokerId]>,
    /// Of the controller that decided it, or that the leader knew when it changed the in-sync set.
    pub controller_epoch: i32,
    /// The leader came from outside the in-sync set (KIP-704).
    pub recovering: bool,
    /// Of the node that says so: a write that expects another version is refused. The store sets it.
    pub version: i32,
}

/// What an election or a change of the in-sync set makes of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewLead {
    pub partition: i32,
    pub leader_epoch: i32,
    pub led: Led,
}

/// One step of the state.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Whose metadata this is; the first change of every store, and the only one of its kind.
    Identity {
        cluster_id: Arc<str>,
        broker_id: BrokerId,
    },
    /// The broker came up after a stop that was not clean: every partition's leader epoch rises by one, so that a
    /// client that saw a lost tail finds out. One number, however many partitions there are.
    Incarnation(i32),
    /// Producer ids below this one are given away. Only rises.
    ProducerIdsBelow(i64),
    TopicAdded(Arc<StoredTopic>),
    /// The leader epochs of the partitions behind the existing ones.
    PartitionsAdded {
        id: Uuid,
        leader_epochs: Vec<i32>,
        /// As in `StoredTopic`: empty in the store of a single broker.
        placements: Vec<Placement>,
    },
    /// Partitions of a cluster's topic have these leaders and in-sync sets now.
    LeadsSet {
        id: Uuid,
        leads: Vec<NewLead>,
    },
    /// Takes back partitions that could not be made.
    PartitionsTakenBack {
        id: Uuid,
        partition_count: i32,
    },
    OverridesSet {
        id: Uuid,
        overrides: Overrides,
    },
    /// The settings kept under a path, all of them: `brokers/1`, `users/alice/clients/c`, with `<default>` for everyone and
    /// other names escaped, as Kafka lays them out below `/config`. None left: the path goes.
    SettingsSet {
        path: Arc<str>,
        settings: Overrides,
    },
    /// From here on the topic is gone for clients, and its name is free; its directories go next.
    DeleteBegun {
        id: Uuid,
    },
    /// No directory of it is left.
    DeleteDone {
        id: Uuid,
    },
}

/// A change that does not fit the state it was made for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unfit(pub String);

/// What one change replaced.
#[derive(Debug)]
#[must_use = "without it the change cannot be taken back"]
pub enum Undo {
    Identity,
    Incarnation(i32),
    ProducerIdsBelow(i64),
    Settings { path: Arc<str>, before: Option<Overrides> },
    Topic { id: Uuid, live: Option<Arc<StoredTopic>>, deleting: Option<Arc<StoredTopic>> },
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    cluster_id: Arc<str>,
    broker_id: Option<BrokerId>,
    incarnation: i32,
    producer_ids_below: i64,
    by_name: HashMap<Arc<str>, Uuid>,
    topics: BTreeMap<Uuid, Arc<StoredTopic>>,
    /// Of brokers, users, clients and addresses, by path. None is empty.
    settings: BTreeMap<Arc<str>, Overrides>,
    /// Topics whose deletion was begun, by id: a new topic may have the name already.
    deleting: BTreeMap<Uuid, Arc<StoredTopic>>,
}

impl State {
    /// Empty until the store has an identity.
    pub fn cluster_id(&self) -> &Arc<str> {
        &self.cluster_id
    }

    /// -1 until the store has an identity.
    pub fn broker_id(&self) -> BrokerId {
        self.broker_id.unwrap_or(BrokerId(-1))
    }

    pub fn incarnation(&self) -> i32 {
        self.incarnation
    }

    pub fn producer_ids_below(&self) -> i64 {
        self.producer_ids_below
    }

    pub fn topic(&self, id: &Uuid) -> Option<&Arc<StoredTopic>> {
        self.topics.get(id)
    }

    pub fn topic_named(&self, name: &str) -> Option<&Arc<StoredTopic>> {
        self.topics.get(self.by_name.get(name)?)
    }

    /// All topics, by id.
    pub fn topics(&self) -> impl ExactSizeIterator<Item = &Arc<StoredTopic>> {
        self.topics.values()
    }

    /// Topics whose directories are still to be removed, by id.
    pub fn deleting(&self) -> impl ExactSizeIterator<Item = &Arc<StoredTopic>> {
        self.deleting.values()
    }

    pub fn deleting_topic(&self, id: &Uuid) -> Option<&Arc<StoredTopic>> {
        self.deleting.get(id)
    }

    /// The settings kept under a path.
    pub fn settings(&self, path: &str) -> Option<&Overrides> {
        self.settings.get(path)
    }

    /// The number of partitions that groups were spread over when the topic that keeps them first grew; `None` if it never did.
    pub fn spread_over(&self, topic: &Uuid) -> Option<i32> {
        self.settings(&settings_path::spread(topic))?.get(settings_path::SPREAD_OVER)?.parse().ok()
    }

    /// All settings whose path begins so, by path.
    pub fn settings_under<'a>(
        &'a self,
        prefix: &'a str,
    ) -> impl Iterator<Item = (&'a Arc<str>, &'a Overrides)> {
        let from = (std::ops::Bound::Included(prefix), std::ops::Bound::Unbounded);
        self.settings.range::<str, _>(from).take_while(move |(path, _)| path.starts_with(prefix))
    }

    /// A partition's leader epoch: as stored, plus the incarnations since then.
    pub fn leader_epoch(&self, topic: &StoredTopic, partition: i32) -> LeaderEpoch {
        let stored = topic.leader_epochs.get(partition as usize).copied().unwrap_or(0);
        LeaderEpoch(stored.wrapping_add(self.incarnation.wrapping_sub(topic.since)))
    }

    /// What must be stored for a new partition of `topic` so that its leader epoch is `epoch` now.
    pub fn stored_epoch(&self, topic: &StoredTopic, epoch: LeaderEpoch) -> i32 {
        epoch.0.wrapping_sub(self.incarnation.wrapping_sub(topic.since))
    }

    /// Advances by one change; what comes back takes it back.
    pub fn apply(&mut self, change: &Change) -> Result<Undo, Unfit> {
        let undo = match change {
            Change::Identity { .. } => Undo::Identity,
            Change::Incarnation(_) => Undo::Incarnation(self.incarnation),
            Change::ProducerIdsBelow(_) => Undo::ProducerIdsBelow(self.producer_ids_below),
            Change::SettingsSet { path, .. } => {
                Undo::Settings { path: path.clone(), before: self.settings.get(path).cloned() }
            }
            Change::TopicAdded(topic) => self.undo_topic(&topic.id),
            Change::PartitionsAdded { id, .. }
            | Change::LeadsSet { id, .. }
            | Change::PartitionsTakenBack { id, .. }
            | Change::OverridesSet { id, .. }
            | Change::DeleteBegun { id }
            | Change::DeleteDone { id } => self.undo_topic(id),
        };
        self.advance(change)?;
        Ok(undo)
    }

    /// All of `changes`, or none.
    pub fn apply_all(&mut self, changes: &[Change]) -> Result<Vec<Undo>, Unfit> {
        let mut undos = Vec::with_capacity(changes.len());
        for change in changes {
            match self.apply(change) {
                Ok(undo) => undos.push(undo),
                Err(unfit) => {
                    self.take_back(undos);
                    return Err(unfit);
                }
            }
        }
        Ok(undos)
    }

    /// Takes the latest changes back, of which these are the undos in the order they were made.
    pub fn take_back(&mut self, undos: Vec<Undo>) {
        for undo in undos.into_iter().rev() {
            match undo {
                Undo::Identity => (self.broker_id, self.cluster_id) = (None, Arc::default()),
                Undo::Incarnation(before) => self.incarnation = before,
                Undo::ProducerIdsBelow(before) => self.producer_ids_below = before,
                Undo::Settings { path, before: Some(settings) } => {
                    self.settings.insert(path, settings);
                }
                Undo::Settings { path, before: None } => {
                    self.settings.remove(&path);
                }
                Undo::Topic { id, live, deleting } => {
                    self.deleting.remove(&id);
                    if let Some(topic) = self.topics.remove(&id) {
                        self.by_name.remove(&topic.name);
                    }
                    if let Some(topic) = live {
                        self.by_name.insert(topic.name.clone(), id);
                        self.topics.insert(id, topic);
                    }
                    if let Some(topic) = deleting {
                        self.deleting.insert(id, topic);
                    }
                }
            }
        }
    }

    fn undo_topic(&self, id: &Uuid) -> Undo {
        Undo::Topic { id: *id, live: self.topics.get(id).cloned(), deleting: self.deleting.get(id).cloned() }
    }

    fn advance(&mut self, change: &Change) -> Result<(), Unfit> {
        match change {
            Change::Identity { cluster_id, broker_id } => {
                if self.broker_id.is_some() {
                    return Err(Unfit(format!(
                        "a second identity: cluster {cluster_id}, broker {broker_id}"
                    )));
                }
                self.cluster_id = cluster_id.clone();
                self.broker_id = Some(*broker_id);
            }
            Change::Incarnation(incarnation) => {
                if *incarnation < self.incarnation {
                    return Err(Unfit(format!(
                        "incarnation {incarnation}, but {} has been already",
                        self.incarnation
                    )));
                }
                self.incarnation = *incarnation;
            }
            Change::ProducerIdsBelow(below) => {
                if *below < self.producer_ids_below {
                    return Err(Unfit(format!(
                        "producer ids below {below}, but those below {} are given away",
                        self.producer_ids_below
                    )));
                }
                self.producer_ids_below = *below;
            }
            Change::TopicAdded(topic) => {
                if topic.leader_epochs.is_empty() {
                    return Err(Unfit(format!("topic {} has no partition", topic.name)));
                }
                check_placements(&topic.name, topic.leader_epochs.len(), topic.placements.len())?;
                if self.topics.contains_key(&topic.id) || self.deleting.contains_key(&topic.id) {
                    return Err(Unfit(format!("a second topic of id {}", topic.id)));
                }
                if self.by_name.contains_key(&topic.name) {
                    return Err(Unfit(format!("a second topic {}", topic.name)));
                }
                self.by_name.insert(topic.name.clone(), topic.id);
                self.topics.insert(topic.id, topic.clone());
            }
            Change::PartitionsAdded { id, leader_epochs, placements } => {
                let topic = self.topic_mut(id)?;
                let after = topic.placements.len() + placements.len();
                check_placements(&topic.name, topic.leader_epochs.len() + leader_epochs.len(), after)?;
                topic.leader_epochs.extend_from_slice(leader_epochs);
                topic.placements.extend_from_slice(placements);
            }
            Change::LeadsSet { id, leads } => {
                let topic = self.topic_mut(id)?;
                let missing = leads.iter().find(|lead| topic.placement(lead.partition).is_none());
                if let Some(NewLead { partition, .. }) = missing {
                    return Err(Unfit(format!(
                        "topic {} has no place for partition {partition}",
                        topic.name
                    )));
                }
                for NewLead { partition, leader_epoch, led } in leads {
                    topic.leader_epochs[*partition as usize] = *leader_epoch;
                    topic.placements[*partition as usize].led = Some(led.clone());
                }
            }
            Change::PartitionsTakenBack { id, partition_count } => {
                let topic = self.topic_mut(id)?;
                let count = usize::try_from(*partition_count).unwrap_or(0);
                if count == 0 || count > topic.leader_epochs.len() {
                    let (name, now) = (topic.name.clone(), topic.leader_epochs.len());
                    return Err(Unfit(format!("topic {name} of {now} partitions taken back to {count}")));
                }
                topic.leader_epochs.truncate(count);
                topic.placements.truncate(count);
            }
            Change::OverridesSet { id, overrides } => self.topic_mut(id)?.overrides = overrides.clone(),
            Change::SettingsSet { path, settings } if settings.is_empty() => {
                self.settings.remove(path);
            }
            Change::SettingsSet { path, settings } => {
                self.settings.insert(path.clone(), settings.clone());
            }
            Change::DeleteBegun { id } => {
                let topic = self.topics.remove(id).ok_or_else(|| no_topic(id))?;
                self.by_name.remove(&topic.name);
                self.deleting.insert(*id, topic);
            }
            Change::DeleteDone { id } => {
                self.deleting.remove(id).ok_or_else(|| no_topic(id))?;
            }
        }
        Ok(())
    }

    fn topic_mut(&mut self, id: &Uuid) -> Result<&mut StoredTopic, Unfit> {
        self.topics.get_mut(id).map(Arc::make_mut).ok_or_else(|| no_topic(id))
    }

    /// The fewest changes that lead from nothing to this state: what a snapshot holds.
    pub fn as_changes(&self) -> Vec<Change> {
        let mut changes = Vec::with_capacity(3 + self.topics.len() + 2 * self.deleting.len());
        if let Some(broker_id) = self.broker_id {
            changes.push(Change::Identity { cluster_id: self.cluster_id.clone(), broker_id });
        }
        changes.push(Change::Incarnation(self.incarnation));
        changes.push(Change::ProducerIdsBelow(self.producer_ids_below));
        changes.extend(
            self.settings.iter().map(|(path, settings)| Change::SettingsSet {
                path: path.clone(),
                settings: settings.clone(),
            }),
        );
        // Deleted topics first: a live one may have the name of one of them.
        for topic in self.deleting.values() {
            changes.push(Change::TopicAdded(topic.clone()));
            changes.push(Change::DeleteBegun { id: topic.id });
        }
        changes.extend(self.topics.values().map(|topic| Change::TopicAdded(topic.clone())));
        changes
    }
}

/// Every partition has a place, or none has: a store is that of a cluster or that of a single broker.
fn check_placements(topic: &str, partitions: usize, placements: usize) -> Result<(), Unfit> {
    match placements {
        0 => Ok(()),
        count if count == partitions => Ok(()),
        count => Err(Unfit(format!("topic {topic} of {partitions} partitions has places for {count}"))),
    }
}

fn no_topic(id: &Uuid) -> Unfit {
    Unfit(format!("there is no topic of id {id}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(id: u8, name: &str, partitions: usize) -> Change {
        Change::TopicAdded(Arc::new(StoredTopic {
            id: Uuid([id; 16]),
            name: name.into(),
            leader_epochs: vec![0; partitions],
            since: 0,
            overrides: Overrides::new(),
            placements: Vec::new(),
        }))
    }

    fn state(changes: &[Change]) -> State {
        let mut state = State::default();
        let _ = state.apply_all(changes).unwrap();
        state
    }

    #[test]
    fn a_name_is_free_again_as_soon_as_its_deletion_has_begun() {
        let id = Uuid([1; 16]);
        let mut state = state(&[topic(1, "t", 1), Change::DeleteBegun { id }, topic(2, "t", 3)]);
        assert_eq!(state.topic_named("t").unwrap().id, Uuid([2; 16]));
        assert_eq!(state.deleting().len(), 1);
        let _ = state.apply(&Change::DeleteDone { id }).unwrap();
        assert_eq!(state.deleting().len(), 0);
        assert_eq!(state.topic_named("t").unwrap().partition_count(), 3);
    }

    #[test]
    fn a_change_that_does_not_fit_leaves_everything_as_it_was() {
        let before = state(&[topic(1, "t", 2), Change::ProducerIdsBelow(2000), Change::Incarnation(3)]);
        let unfit = [
            topic(2, "t", 1),
            topic(1, "u", 1),
            topic(3, "none", 0),
            Change::ProducerIdsBelow(1999),
            Change::Incarnation(2),
            Change::DeleteDone { id: Uuid([1; 16]) },
            Change::PartitionsTakenBack { id: Uuid([1; 16]), partition_count: 0 },
            Change::PartitionsTakenBack { id: Uuid([1; 16]), partition_count: 3 },
            Change::OverridesSet { id: Uuid([9; 16]), overrides: Overrides::new() },
        ];
        for change in unfit {
            let mut state = before.clone();
            assert!(state.apply(&change).is_err(), "{change:?}");
            assert_eq!(state, before);
            assert!(state.apply_all(&[topic(8, "first", 1), change]).is_err());
            assert_eq!(state, before);
        }
    }

    #[test]
    fn changes_that_fit_can_be_taken_back_in_turn() {
        let before = state(&[topic(1, "t", 2), topic(2, "u", 1), Change::DeleteBegun { id: Uuid([2; 16]) }]);
        let id = Uuid([1; 16]);
        let changes = [
            Change::Identity { cluster_id: "c".into(), broker_id: BrokerId(4) },
            Change::ProducerIdsBelow(1000),
            Change::Incarnation(1),
            Change::PartitionsAdded { id, leader_epochs: vec![0; 3], placements: Vec::new() },
            Change::OverridesSet { id, overrides: [("a".to_owned(), "b".to_owned())].into() },
            Change::PartitionsTakenBack { id, partition_count: 1 },
            Change::DeleteBegun { id },
            topic(3, "t", 1),
            Change::DeleteDone { id },
            Change::DeleteDone { id: Uuid([2; 16]) },
        ];
        for count in 0..=changes.len() {
            let mut state = before.clone();
            let undos = state.apply_all(&changes[..count]).unwrap();
            state.take_back(undos);
            assert_eq!(state, before, "{count} changes");
        }
    }

    #[test]
    fn leader_epochs_rise_with_incarnations_and_new_partitions_start_at_zero() {
        let mut state = state(&[topic(1, "t", 1), Change::Incarnation(2)]);
        let id = Uuid([1; 16]);
        let added = state.stored_epoch(state.topic(&id).unwrap(), LeaderEpoch(0));
        let _ = state
            .apply(&Change::PartitionsAdded { id, leader_epochs: vec![added], placements: Vec::new() })
            .unwrap();
        let now = |state: &State, partition| state.leader_epoch(state.topic(&id).unwrap(), partition);
        assert_eq!((now(&state, 0), now(&state, 1)), (LeaderEpoch(2), LeaderEpoch(0)));
        let _ = state.apply(&Change::Incarnation(3)).unwrap();
        assert_eq!((now(&state, 0), now(&state, 1)), (LeaderEpoch(3), LeaderEpoch(1)));
    }

    #[test]
    fn its_own_changes_lead_to_the_same_state() {
        let first = state(&[
            Change::Identity { cluster_id: "c".into(), broker_id: BrokerId(4) },
            topic(1, "t", 1),
            Change::DeleteBegun { id: Uuid([1; 16]) },
            topic(2, "t", 3),
            Change::ProducerIdsBelow(1000),
        ]);
        assert_eq!(state(&first.as_changes()), first);
    }
}
