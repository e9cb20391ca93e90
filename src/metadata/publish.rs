//! From stored topics to replicas and image: what a stored topic means on this broker.
//!
//! In: the state, a topic of it, the broker's settings. Out: the replicas that must exist for it, and, once they have
//! homes, the topic as the image shows it. With one broker, it leads every partition that has a home.

use std::ops::Range;
use std::sync::Arc;

use crate::config::{Config, TopicConfig};
use crate::ids::{BrokerId, Home, LeaderEpoch};
use crate::metadata::image::{Partition, Topic};
use crate::metadata::replicas::NewReplica;
use crate::metadata::state::{State, StoredTopic};

/// Resolves the settings of topics; those without overrides share one value.
#[derive(Clone, Debug)]
pub struct TopicConfigs {
    broker: Arc<Config>,
    plain: Arc<TopicConfig>,
}

impl TopicConfigs {
    pub fn new(broker: Arc<Config>) -> TopicConfigs {
        let plain = Arc::new(broker.topic_defaults.clone());
        TopicConfigs { broker, plain }
    }

    /// What cannot be read of a stored topic's overrides is left out and logged: a topic must not vanish over it.
    pub fn of(&self, topic: &StoredTopic) -> Arc<TopicConfig> {
        if topic.overrides.is_empty() {
            return self.plain.clone();
        }
        let (config, left_out) = TopicConfig::resolve_stored(&self.broker, &topic.overrides);
        for error in left_out {
            tracing::warn!(topic = %topic.name, %error, "a stored setting of the topic is left out");
        }
        Arc::new(config)
    }
}

/// The replicas of these partitions of a topic.
pub fn replicas(
    state: &State,
    topic: &StoredTopic,
    config: &Arc<TopicConfig>,
    partitions: Range<i32>,
) -> impl Iterator<Item = NewReplica> {
    partitions.map(move |partition| NewReplica {
        topic: topic.name.clone(),
        partition,
        topic_id: topic.id,
        leader_epoch: state.leader_epoch(topic, partition),
        config: config.clone(),
    })
}

/// The topic as clients see it; `homes` has one entry for each partition, `None` where the replica does not work.
pub fn topic(
    state: &State,
    topic: &StoredTopic,
    config: &Arc<TopicConfig>,
    homes: impl IntoIterator<Item = Option<Home>>,
) -> Topic {
    let this = state.broker_id();
    let all: Arc<[BrokerId]> = [this].into();
    let partitions = (0..).zip(homes).map(|(number, home)| {
        let leader = home.map(|_| this);
        partition(home, leader, state.leader_epoch(topic, number), &all)
    });
    let overrides = Arc::new(topic.overrides.clone());
    let mut shown = Topic::new(topic.name.clone(), topic.id, partitions.collect(), overrides, config.clone());
    shown.spread_over = state.spread_over(&topic.id).unwrap_or(shown.spread_over);
    shown
}

fn partition(
    home: Option<Home>,
    leader: Option<BrokerId>,
    leader_epoch: LeaderEpoch,
    all: &Arc<[BrokerId]>,
) -> Partition {
    Partition { home, leader, leader_epoch, replicas: all.clone(), isr: all.clone() }
}
