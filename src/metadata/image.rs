//! What requests are answered from: topics by name and by id, their partitions, the brokers and where to reach them.
//!
//! In: differences. Out: a new image that shares all else with the old one; readers keep theirs as long as they like.
//! Topics live in 256 shards of two tables, one by name and one by id: a difference copies the shards it touches
//! and nothing that grows with partitions. A look-up hashes once and allocates nothing.

use std::hash::BuildHasher;
use std::sync::Arc;

use arc_swap::ArcSwap;
use hashbrown::HashTable;

use crate::config::{Config, Overrides, TopicConfig};
use crate::ids::{BrokerId, Home, LeaderEpoch};
use crate::metadata::topic_name;
use crate::quota::Limits;
use crate::wire::error_code::ErrorCode;
use crate::wire::primitive::Uuid;

/// The image in force: the control thread swaps it, everybody else loads it.
pub type SharedImage = Arc<ArcSwap<Image>>;

/// One address of a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The listener's name, in capitals.
    pub listener: Arc<str>,
    pub host: Arc<str>,
    pub port: u16,
}

/// A broker that is alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    pub id: BrokerId,
    pub rack: Option<Arc<str>>,
    pub endpoints: Vec<Endpoint>,
}

impl Broker {
    /// Where clients of this listener reach it.
    pub fn endpoint(&self, listener: &str) -> Option<&Endpoint> {
        self.endpoints.iter().find(|endpoint| &*endpoint.listener == listener)
    }
}

/// Who is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    pub id: Arc<str>,
    pub this_broker: BrokerId,
    /// `None` while there is no controller.
    pub controller: Option<BrokerId>,
    /// By id.
    pub brokers: Arc<[Broker]>,
}

impl Cluster {
    pub fn broker(&self, id: BrokerId) -> Option<&Broker> {
        self.brokers.iter().find(|broker| broker.id == id)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Where its replica lives on this broker; `None` when this broker has none that works.
    pub replica: Option<Home>,
    /// Where requests for it are served: `replica`, while this broker leads it.
    pub home: Option<Home>,
    pub leader: Option<BrokerId>,
    pub leader_epoch: LeaderEpoch,
    /// The preferred leader first.
    pub replicas: Arc<[BrokerId]>,
    pub isr: Arc<[BrokerId]>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Topic {
    pub name: Arc<str>,
    pub id: Uuid,
    /// The index is the partition's number.
    pub partitions: Arc<[Partition]>,
    /// As somebody set them; `config` is what they amount to over the broker's values.
    pub overrides: Arc<Overrides>,
    pub config: Arc<TopicConfig>,
    pub is_internal: bool,
    /// Over how many partitions groups are spread, if this is the topic that keeps them. More partitions than it was
    /// made with get no groups: one that moved would leave its offsets behind.
    pub spread_over: i32,
}

impl Topic {
    pub fn new(
        name: Arc<str>,
        id: Uuid,
        partitions: Vec<Partition>,
        overrides: Arc<Overrides>,
        config: Arc<TopicConfig>,
    ) -> Topic {
        let is_internal = topic_name::is_internal(&name);
        let spread_over = i32::try_from(partitions.len()).unwrap_or(i32::MAX);
        Topic { name, id, partitions: partitions.into(), overrides, config, is_internal, spread_over }
    }

    pub fn partition(&self, number: i32) -> Option<&Partition> {
        self.partitions.get(usize::try_from(number).ok()?)
    }
}

/// A step from one image to the next.
#[derive(Clone, Debug)]
pub enum Difference {
    /// A topic is new, or is no longer what it was; the one of this name or id goes.
    Put(Arc<Topic>),
    Remove(Uuid),
    Cluster(Cluster),
}

#[derive(Clone, Debug)]
pub struct Image {
    cluster: Cluster,
    hashing: foldhash::fast::RandomState,
    by_name: Shards,
    by_id: Shards,
    topic_count: usize,
    partition_count: usize,
    /// `None`: as at the start.
    settings: Option<Arc<Config>>,
    /// `None`: no client is limited.
    limits: Option<Arc<Limits>>,
}

const SHARD_COUNT: usize = 256;

#[derive(Clone, Debug)]
struct Shards(Box<[Arc<HashTable<Arc<Topic>>>]>);

impl Shards {
    fn new() -> Shards {
        let empty = Arc::new(HashTable::new());
        Shards(vec![empty; SHARD_COUNT].into())
    }

    fn of(&self, hash: u64) -> &HashTable<Arc<Topic>> {
        &self.0[shard(hash)]
    }

    /// This shard, copied if another image shares it.
    fn of_mut(&mut self, hash: u64) -> &mut HashTable<Arc<Topic>> {
        Arc::make_mut(&mut self.0[shard(hash)])
    }
}

/// The table itself uses the lowest and the highest bits of a hash; these are neither.
fn shard(hash: u64) -> usize {
    (hash >> 40) as usize % SHARD_COUNT
}

impl Image {
    /// An image without topics.
    pub fn new(cluster: Cluster) -> Image {
        Image {
            cluster,
            hashing: foldhash::fast::RandomState::default(),
            by_name: Shards::new(),
            by_id: Shards::new(),
            topic_count: 0,
            partition_count: 0,
            settings: None,
            limits: None,
        }
    }

    /// The image after the broker's settings have changed.
    pub fn with_settings(&self, settings: Arc<Config>) -> Image {
        Image { settings: Some(settings), ..self.clone() }
    }

    /// The broker's settings, if they have changed since it started.
    pub fn settings(&self) -> Option<&Arc<Config>> {
        self.settings.as_ref()
    }

    /// The image after the limits of clients have changed.
    pub fn with_limits(&self, limits: Option<Arc<Limits>>) -> Image {
        Image { limits, ..self.clone() }
    }

    /// What clients are limited to; `None` if none is.
    pub fn limits(&self) -> Option<&Arc<Limits>> {
        self.limits.as_ref()
    }

    pub fn shared(self) -> SharedImage {
        Arc::new(ArcSwap::from_pointee(self))
    }

    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    pub fn topic_count(&self) -> usize {
        self.topic_count
    }

    pub fn partition_count(&self) -> usize {
        self.partition_count
    }

    pub fn topic(&self, name: &str) -> Option<&Arc<Topic>> {
        let hash = self.hashing.hash_one(name);
        self.by_name.of(hash).find(hash, |topic| &*topic.name == name)
    }

    pub fn topic_by_id(&self, id: &Uuid) -> Option<&Arc<Topic>> {
        let hash = self.hashing.hash_one(id);
        self.by_id.of(hash).find(hash, |topic| topic.id == *id)
    }

    /// Where requests for a partition of this topic are served here; or what a client is told that asks for it (contract 1.4).
    pub fn home(&self, topic: &Topic, partition: i32) -> Result<Home, ErrorCode> {
        let found = topic.partition(partition).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        let this = self.cluster.this_broker;
        match found.home {
            Some(home) => Ok(home),
            // It is here and cannot be served, and nobody else has it.
            None if found.replica.is_none() && found.leader.is_none() && found.replicas.contains(&this) => {
                Err(ErrorCode::KafkaStorageError)
            }
            None => Err(ErrorCode::NotLeaderOrFollower),
        }
    }

    /// All topics, in no order.
    pub fn topics(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.by_name.0.iter().flat_map(|shard| shard.iter())
    }

    /// The image after `differences`, in their order. A shard is copied once, however many of them touch it.
    pub fn with(&self, differences: impl IntoIterator<Item = Difference>) -> Image {
        let mut next = self.clone();
        for difference in differences {
            match difference {
                Difference::Put(topic) => {
                    if let Some(id) = next.topic(&topic.name).map(|old| old.id) {
                        next.remove(&id);
                    }
                    next.remove(&topic.id);
                    next.put(topic);
                }
                Difference::Remove(id) => next.remove(&id),
                Difference::Cluster(cluster) => next.cluster = cluster,
            }
        }
        next
    }

    fn put(&mut self, topic: Arc<Topic>) {
        let hashing = self.hashing.clone();
        self.topic_count += 1;
        self.partition_count += topic.partitions.len();
        let hash = hashing.hash_one(topic.id);
        self.by_id.of_mut(hash).insert_unique(hash, topic.clone(), |topic| hashing.hash_one(topic.id));
        let hash = hashing.hash_one(&*topic.name);
        self.by_name.of_mut(hash).insert_unique(hash, topic, |topic| hashing.hash_one(&*topic.name));
    }

    fn remove(&mut self, id: &Uuid) {
        let Some(topic) = self.topic_by_id(id).cloned() else { return };
        self.topic_count -= 1;
        self.partition_count -= topic.partitions.len();
        let hash = self.hashing.hash_one(id);
        if let Ok(entry) = self.by_id.of_mut(hash).find_entry(hash, |other| other.id == *id) {
            entry.remove();
        }
        let hash = self.hashing.hash_one(&*topic.name);
        if let Ok(entry) = self.by_name.of_mut(hash).find_entry(hash, |other| other.name == topic.name) {
            entry.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ReactorId;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    pub(crate) fn cluster() -> Cluster {
        let endpoint = Endpoint { listener: "PLAINTEXT".into(), host: "h".into(), port: 9092 };
        let broker = Broker { id: BrokerId(1), rack: None, endpoints: vec![endpoint] };
        Cluster {
            id: "cluster".into(),
            this_broker: BrokerId(1),
            controller: Some(BrokerId(1)),
            brokers: [broker].into(),
        }
    }

    fn topic(name: &str, id: u8, partitions: u32) -> Arc<Topic> {
        let all: Arc<[BrokerId]> = [BrokerId(1)].into();
        let partition = |slot| Partition {
            replica: Some(Home { reactor: ReactorId(0), slot }),
            home: Some(Home { reactor: ReactorId(0), slot }),
            leader: Some(BrokerId(1)),
            leader_epoch: LeaderEpoch(0),
            replicas: all.clone(),
            isr: all.clone(),
        };
        let config = Arc::new(TopicConfig::kafka_default());
        let partitions = (0..partitions).map(partition).collect();
        Arc::new(Topic::new(name.into(), Uuid([id; 16]), partitions, Arc::default(), config))
    }

    #[test]
    fn a_difference_copies_two_shards_and_shares_the_rest() {
        let names: Vec<String> = (0..2000).map(|i| format!("topic-{i}")).collect();
        let many = names.iter().enumerate().map(|(i, name)| {
            let mut topic = (*topic(name, 0, 1)).clone();
            topic.id = Uuid((i as u128 + 1).to_be_bytes());
            Difference::Put(Arc::new(topic))
        });
        let before = Image::new(cluster()).with(many);
        let after = before.with([Difference::Put(topic("one-more", 255, 4))]);
        let copied =
            |a: &Shards, b: &Shards| a.0.iter().zip(&b.0).filter(|(a, b)| !Arc::ptr_eq(a, b)).count();
        assert_eq!(copied(&before.by_name, &after.by_name), 1);
        assert_eq!(copied(&before.by_id, &after.by_id), 1);
        assert_eq!((before.topic_count(), after.topic_count()), (2000, 2001));
        assert_eq!(after.partition_count(), 2004);
        assert!(before.topic("one-more").is_none() && after.topic("one-more").is_some());
        for name in &names {
            assert_eq!(&*after.topic(name).unwrap().name, name);
        }
    }

    #[test]
    fn a_partition_outside_the_topic_is_none() {
        let topic = topic("t", 1, 2);
        assert_eq!(topic.partition(1).unwrap().home.unwrap().slot, 1);
        assert!(topic.partition(2).is_none() && topic.partition(-1).is_none());
    }

    proptest! {
        #[test]
        fn an_image_is_what_its_differences_say(steps in proptest::collection::vec((0u8..12, 0u8..8, 1u32..4, any::<bool>()), 0..60)) {
            let mut image = Image::new(cluster());
            let mut model: BTreeMap<u8, (String, u32)> = BTreeMap::new();
            for (id, name, partitions, put) in steps {
                let name = format!("t{name}");
                if put {
                    model.retain(|_, (other, _)| *other != name);
                    model.insert(id, (name.clone(), partitions));
                    image = image.with([Difference::Put(topic(&name, id, partitions))]);
                } else {
                    model.remove(&id);
                    image = image.with([Difference::Remove(Uuid([id; 16]))]);
                }
                prop_assert_eq!(image.topic_count(), model.len());
                prop_assert_eq!(image.topics().count(), model.len());
                prop_assert_eq!(image.partition_count(), model.values().map(|(_, n)| *n as usize).sum::<usize>());
                for (id, (name, partitions)) in &model {
                    let topic = image.topic(name).unwrap();
                    prop_assert_eq!(topic.id, Uuid([*id; 16]));
                    prop_assert_eq!(topic.partitions.len(), *partitions as usize);
                    prop_assert!(Arc::ptr_eq(topic, image.topic_by_id(&topic.id).unwrap()));
                }
            }
        }
    }
}
