//! What the controller knows: brokers, topics, where each partition lives, who leads it, and what state each replica is in.
//!
//! In: what was read from ZooKeeper, written to it, or answered by brokers. Out: look-ups that cost what they return, never
//! a walk over all partitions: which replicas a broker has, which partitions have no leader, which are being moved.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use crate::ids::BrokerId;
use crate::wire::primitive::Uuid;

/// One partition of one topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    pub topic: Arc<str>,
    pub partition: i32,
}

impl TopicPartition {
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> TopicPartition {
        TopicPartition { topic: topic.into(), partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// Where a broker listens, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    pub name: Arc<str>,
    pub host: Arc<str>,
    pub port: i32,
    /// 0 PLAINTEXT, 1 SSL, 2 SASL_PLAINTEXT, 3 SASL_SSL.
    pub security_protocol: i16,
}

/// A registered broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub id: BrokerId,
    /// The czxid of its registration: it rises with each one (KIP-380).
    pub epoch: i64,
    pub listeners: Vec<Listener>,
    pub rack: Option<Arc<str>>,
}

/// Where a partition lives: KIP-455's three lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// All of them, the preferred leader first; while the partition moves, the target's first.
    pub replicas: Arc<[BrokerId]>,
    pub adding: Arc<[BrokerId]>,
    pub removing: Arc<[BrokerId]>,
}

impl Assignment {
    pub fn still(replicas: impl Into<Arc<[BrokerId]>>) -> Assignment {
        Assignment { replicas: replicas.into(), adding: [].into(), removing: [].into() }
    }

    /// Where it lived before it began to move.
    pub fn origin(&self) -> Vec<BrokerId> {
        self.replicas.iter().copied().filter(|id| !self.adding.contains(id)).collect()
    }

    /// Where it will live.
    pub fn target(&self) -> Vec<BrokerId> {
        self.replicas.iter().copied().filter(|id| !self.removing.contains(id)).collect()
    }

    pub fn is_moving(&self) -> bool {
        !self.adding.is_empty() || !self.removing.is_empty()
    }

    /// The move from where it lived to `target`.
    pub fn moved_to(&self, target: &[BrokerId]) -> Assignment {
        let origin = self.origin();
        let mut replicas: Vec<BrokerId> = Vec::with_capacity(target.len() + origin.len());
        for id in target.iter().chain(&origin) {
            if !replicas.contains(id) {
                replicas.push(*id);
            }
        }
        let adding = replicas.iter().copied().filter(|id| !origin.contains(id)).collect();
        let removing = replicas.iter().copied().filter(|id| !target.contains(id)).collect();
        Assignment { adding, removing, replicas: replicas.into() }
    }

    pub fn without(&self, replica: BrokerId) -> Assignment {
        let rest = |ids: &[BrokerId]| ids.iter().copied().filter(|id| *id != replica).collect();
        Assignment {
            replicas: rest(&self.replicas),
            adding: rest(&self.adding),
            removing: rest(&self.removing),
        }
    }
}

/// What a partition's state node says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lead {
    pub leader: Option<BrokerId>,
    pub leader_epoch: i32,
    pub isr: Arc<[BrokerId]>,
    /// The leader came from outside the in-sync set and has not said yet that it is done with it (KIP-704).
    pub recovering: bool,
    /// Of the controller that wrote it last.
    pub controller_epoch: i32,
    /// Of the node.
    pub version: i32,
    /// The node as it stands, where it holds keys this build does not know or has them in another order.
    pub raw: Option<Arc<[u8]>>,
}

impl Lead {
    /// The next epoch with this leader and in-sync set.
    pub fn next(&self, leader: Option<BrokerId>, isr: &[BrokerId]) -> Lead {
        let isr = if *isr == *self.isr { self.isr.clone() } else { isr.into() };
        Lead { leader, isr, leader_epoch: self.leader_epoch.saturating_add(1), ..self.clone() }
    }
}

/// New --first leader--> Online --leader gone--> Offline --election--> Online; Offline --deleted--> Gone
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartitionState {
    /// It has replicas and no state node.
    New,
    Online,
    Offline,
    /// Its topic is being deleted.
    Gone,
    /// Its state node cannot be read: nobody is elected over damage.
    Damaged,
}

/// Where a replica stands (contract 5.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplicaState {
    New,
    Online,
    Offline,
    DeletionStarted,
    DeletionSuccessful,
    DeletionIneligible,
}

#[derive(Clone, Debug)]
pub struct Partition {
    pub assignment: Assignment,
    pub lead: Option<Lead>,
    pub state: PartitionState,
    replicas: Vec<(BrokerId, ReplicaState)>,
}

impl Partition {
    pub fn replica(&self, broker: BrokerId) -> Option<ReplicaState> {
        self.replicas.iter().find(|(id, _)| *id == broker).map(|(_, state)| *state)
    }

    pub fn replicas_in(&self, state: ReplicaState) -> impl Iterator<Item = BrokerId> {
        self.replicas.iter().filter(move |(_, is)| *is == state).map(|(id, _)| *id)
    }
}

#[derive(Clone, Debug, Default)]
pub struct Topic {
    /// `None` below protocol 2.8.
    pub id: Option<Uuid>,
    /// By number.
    pub partitions: Vec<Partition>,
}

/// See the file's head. Readers see its fields; what has an index is changed through methods.
#[derive(Debug, Default)]
pub struct Context {
    brokers: BTreeMap<BrokerId, Member>,
    /// Brokers that live and are about to stop.
    pub stopping: BTreeSet<BrokerId>,
    topics: BTreeMap<Arc<str>, Topic>,
    names: BTreeMap<Uuid, Arc<str>>,
    /// Which partitions have a replica there.
    on_broker: BTreeMap<BrokerId, BTreeSet<TopicPartition>>,
    /// New and offline ones.
    leaderless: BTreeSet<TopicPartition>,
    pub moving: BTreeSet<TopicPartition>,
    /// Replicas whose log directory is lost, by broker.
    pub on_lost_directories: BTreeMap<BrokerId, BTreeSet<TopicPartition>>,
    pub deletion: Deletion,
}

/// Topics on their way out.
#[derive(Debug, Default)]
pub struct Deletion {
    /// All that are asked for.
    pub asked: BTreeSet<Arc<str>>,
    /// Not now: a replica is not alive, or the topic is being moved.
    pub blocked: BTreeSet<Arc<str>>,
    /// Their partitions were taken from service.
    pub begun: BTreeSet<Arc<str>>,
}

impl Context {
    pub fn brokers(&self) -> &BTreeMap<BrokerId, Member> {
        &self.brokers
    }

    /// Ids of those that live, stopping ones too.
    pub fn broker_ids(&self) -> Vec<BrokerId> {
        self.brokers.keys().copied().collect()
    }

    pub fn is_live(&self, id: BrokerId) -> bool {
        self.brokers.contains_key(&id) && !self.stopping.contains(&id)
    }

    pub fn put_broker(&mut self, member: Member) {
        self.brokers.insert(member.id, member);
    }

    pub fn remove_broker(&mut self, id: BrokerId) {
        self.brokers.remove(&id);
        self.stopping.remove(&id);
        self.on_lost_directories.remove(&id);
    }

    pub fn topics(&self) -> &BTreeMap<Arc<str>, Topic> {
        &self.topics
    }

    pub fn topic(&self, name: &str) -> Option<&Topic> {
        self.topics.get(name)
    }

    /// The name as the context holds it, so that it need not be copied.
    pub fn name(&self, name: &str) -> Option<Arc<str>> {
        self.topics.get_key_value(name).map(|(name, _)| name.clone())
    }

    pub fn name_of(&self, id: Uuid) -> Option<&Arc<str>> {
        self.names.get(&id)
    }

    pub fn partitions_of(&self, topic: &Arc<str>) -> Vec<TopicPartition> {
        let count = self.topics.get(topic).map_or(0, |topic| topic.partitions.len());
        (0..count as i32).map(|partition| TopicPartition { topic: topic.clone(), partition }).collect()
    }

    pub fn all_partitions(&self) -> impl Iterator<Item = (TopicPartition, &Partition)> {
        self.topics.iter().flat_map(|(name, topic)| {
            (0..)
                .zip(&topic.partitions)
                .map(|(partition, known)| (TopicPartition { topic: name.clone(), partition }, known))
        })
    }

    pub fn partition(&self, at: &TopicPartition) -> Option<&Partition> {
        self.topics.get(&at.topic)?.partitions.get(usize::try_from(at.partition).ok()?)
    }

    fn partition_mut(&mut self, at: &TopicPartition) -> Option<&mut Partition> {
        self.topics.get_mut(&at.topic)?.partitions.get_mut(usize::try_from(at.partition).ok()?)
    }

    pub fn lead(&self, at: &TopicPartition) -> Option<&Lead> {
        self.partition(at)?.lead.as_ref()
    }

    pub fn assignment(&self, at: &TopicPartition) -> Option<&Assignment> {
        Some(&self.partition(at)?.assignment)
    }

    /// Whether the replica can serve: its broker lives, is not about to stop, and has the directory.
    pub fn is_online(&self, id: BrokerId, at: &TopicPartition) -> bool {
        self.is_live(id) && !self.is_on_lost_directory(id, at)
    }

    /// As `is_online`, of a broker that may be about to stop.
    pub fn is_online_or_stopping(&self, id: BrokerId, at: &TopicPartition) -> bool {
        self.brokers.contains_key(&id) && !self.is_on_lost_directory(id, at)
    }

    fn is_on_lost_directory(&self, id: BrokerId, at: &TopicPartition) -> bool {
        self.on_lost_directories.get(&id).is_some_and(|lost| lost.contains(at))
    }

    /// The partitions that have a replica there.
    pub fn on_broker(&self, id: BrokerId) -> Vec<TopicPartition> {
        self.on_broker.get(&id).map_or_else(Vec::new, |all| all.iter().cloned().collect())
    }

    /// New and offline partitions.
    pub fn leaderless(&self) -> Vec<TopicPartition> {
        self.leaderless.iter().cloned().collect()
    }

    pub fn is_to_be_deleted(&self, topic: &str) -> bool {
        self.deletion.asked.contains(topic)
    }

    pub fn put_topic(&mut self, name: Arc<str>, id: Option<Uuid>) {
        if let Some(id) = id {
            self.names.insert(id, name.clone());
        }
        self.topics.entry(name).or_default().id = id;
    }

    pub fn remove_topic(&mut self, name: &str) {
        let Some((name, topic)) = self.topics.remove_entry(name) else { return };
        if let Some(id) = topic.id {
            self.names.remove(&id);
        }
        for (partition, known) in (0..).zip(&topic.partitions) {
            let at = TopicPartition { topic: name.clone(), partition };
            for id in known.assignment.replicas.iter() {
                self.forget_replica(*id, &at);
            }
            self.leaderless.remove(&at);
            self.moving.remove(&at);
            for lost in self.on_lost_directories.values_mut() {
                lost.remove(&at);
            }
        }
        self.deletion.asked.remove(&name);
        self.deletion.blocked.remove(&name);
        self.deletion.begun.remove(&name);
    }

    fn forget_replica(&mut self, id: BrokerId, at: &TopicPartition) {
        if let Some(there) = self.on_broker.get_mut(&id) {
            there.remove(at);
            if there.is_empty() {
                self.on_broker.remove(&id);
            }
        }
    }

    /// A partition nobody knew, the next of its topic.
    pub fn add_partition(&mut self, at: &TopicPartition, assignment: Assignment) {
        for id in assignment.replicas.iter() {
            self.on_broker.entry(*id).or_default().insert(at.clone());
        }
        if assignment.is_moving() {
            self.moving.insert(at.clone());
        }
        let Some(topic) = self.topics.get_mut(&at.topic) else { return };
        assert_eq!(topic.partitions.len(), at.partition as usize, "{at} is not the topic's next partition");
        topic.partitions.push(Partition {
            assignment,
            lead: None,
            state: PartitionState::New,
            replicas: Vec::new(),
        });
        self.leaderless.insert(at.clone());
    }

    pub fn set_assignment(&mut self, at: &TopicPartition, assignment: Assignment) {
        let Some(partition) = self.partition_mut(at) else { return };
        let before = std::mem::replace(&mut partition.assignment, assignment.clone());
        for id in before.replicas.iter().filter(|id| !assignment.replicas.contains(id)) {
            self.forget_replica(*id, at);
        }
        for id in assignment.replicas.iter() {
            self.on_broker.entry(*id).or_default().insert(at.clone());
        }
    }

    pub fn set_lead(&mut self, at: &TopicPartition, lead: Lead) {
        if let Some(partition) = self.partition_mut(at) {
            partition.lead = Some(lead);
        }
    }

    pub fn set_state(&mut self, at: &TopicPartition, state: PartitionState) {
        let Some(partition) = self.partition_mut(at) else { return };
        partition.state = state;
        match state {
            PartitionState::New | PartitionState::Offline => {
                self.leaderless.insert(at.clone());
            }
            PartitionState::Online | PartitionState::Gone | PartitionState::Damaged => {
                self.leaderless.remove(at);
            }
        }
    }

    /// `None`: the replica is no more.
    pub fn set_replica(&mut self, at: &TopicPartition, id: BrokerId, state: Option<ReplicaState>) {
        let Some(partition) = self.partition_mut(at) else { return };
        let place = partition.replicas.iter().position(|(known, _)| *known == id);
        match (place, state) {
            (Some(place), Some(state)) => partition.replicas[place].1 = state,
            (None, Some(state)) => partition.replicas.push((id, state)),
            (Some(place), None) => {
                partition.replicas.remove(place);
            }
            (None, None) => {}
        }
    }

    /// Of one topic, in one state.
    pub fn replicas_in(&self, topic: &Arc<str>, state: ReplicaState) -> Vec<(BrokerId, TopicPartition)> {
        let Some(known) = self.topics.get(topic) else { return Vec::new() };
        let partitions = (0..).zip(&known.partitions);
        let replicas = partitions.flat_map(|(partition, known)| {
            known.replicas_in(state).map(move |id| (id, TopicPartition { topic: topic.clone(), partition }))
        });
        replicas.collect()
    }

    pub fn replicas_of(&self, topic: &Arc<str>) -> Vec<(BrokerId, TopicPartition)> {
        let partitions = self.partitions_of(topic).into_iter();
        let replicas = partitions.flat_map(|at| {
            let ids = self.assignment(&at).map_or_else(|| [].into(), |it| it.replicas.clone());
            ids.iter().map(|id| (*id, at.clone())).collect::<Vec<_>>()
        });
        replicas.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(all: &[i32]) -> Vec<BrokerId> {
        all.iter().copied().map(BrokerId).collect()
    }

    #[test]
    fn a_move_keeps_target_first_and_knows_where_it_came_from() {
        let moving = Assignment::still(ids(&[1, 2])).moved_to(&ids(&[2, 3]));
        assert_eq!(moving.replicas[..], ids(&[2, 3, 1]));
        assert_eq!((moving.adding.to_vec(), moving.removing.to_vec()), (ids(&[3]), ids(&[1])));
        assert_eq!((moving.target(), moving.origin()), (ids(&[2, 3]), ids(&[2, 1])));
        // A second request starts from where the first one started.
        let again = moving.moved_to(&ids(&[4]));
        assert_eq!(again.replicas[..], ids(&[4, 2, 1]));
        assert_eq!((again.adding.to_vec(), again.removing.to_vec()), (ids(&[4]), ids(&[2, 1])));
        assert!(!moving.moved_to(&moving.origin()).is_moving());
        assert_eq!(moving.without(BrokerId(1)).removing[..], []);
    }

    #[test]
    fn the_indexes_follow_every_change() {
        let mut context = Context::default();
        let id = Uuid([7; 16]);
        context.put_topic("t".into(), Some(id));
        let at = TopicPartition::new("t", 0);
        context.add_partition(&at, Assignment::still(ids(&[1, 2])));
        assert_eq!(
            (context.leaderless(), context.on_broker(BrokerId(2))),
            (vec![at.clone()], vec![at.clone()])
        );
        context.set_state(&at, PartitionState::Online);
        assert_eq!(context.leaderless(), []);
        context.set_assignment(&at, Assignment::still(ids(&[3, 1])));
        assert_eq!(
            (context.on_broker(BrokerId(2)), context.on_broker(BrokerId(3))),
            (vec![], vec![at.clone()])
        );
        assert_eq!(context.name_of(id).map(|name| &**name), Some("t"));
        context.remove_topic("t");
        assert_eq!((context.on_broker(BrokerId(3)), context.name_of(id)), (vec![], None));
    }
}
