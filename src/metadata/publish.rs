//! From stored topics to replicas and image: what a stored topic means on this broker.
//!
//! In: the state, a topic of it, the broker's settings. Out: the replicas that must exist here, and, once they do, the topic
//! as the image shows it. A single broker leads every partition whose replica works; in a cluster the state says who leads.

use std::ops::Range;
use std::sync::Arc;

use crate::config::{Config, TopicConfig};
use crate::ids::{BrokerId, Home, LeaderEpoch};
use crate::metadata::fresh_id::told;
use crate::metadata::image::{Partition, Topic};
use crate::metadata::replicas::NewReplica;
use crate::metadata::settings_path;
use crate::metadata::state::{Placement, State, StoredTopic};
use crate::quota::{Limits, Part, Rates, Windows};
use crate::replication::{Duty, Term};

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

/// What clients are limited to, as the state has it.
pub fn limits(state: &State, config: &Config, before: Option<&Limits>) -> Option<Limits> {
    let windows = Windows {
        count: config.quota_window_num,
        length_ms: i64::from(config.quota_window_size_seconds) * 1000,
    };
    let of_clients = ["users/", "clients/"].into_iter().flat_map(|kind| state.settings_under(kind));
    let entities = of_clients.filter_map(|(path, set)| {
        let parts = settings_path::entity(path)?;
        let part = |wanted| {
            let (_, name) = parts.iter().find(|(kind, _)| *kind == wanted)?;
            Some(name.as_deref().map_or(Part::Default, |name| Part::Named(name.into())))
        };
        let rate = |key: &str| set.get(key)?.parse().ok().filter(|rate: &f64| *rate > 0.0);
        let rates = Rates { producer: rate("producer_byte_rate"), consumer: rate("consumer_byte_rate") };
        Some((part(settings_path::Kind::User), part(settings_path::Kind::ClientId), rates))
    });
    Limits::new(windows, entities, before)
}

/// The replicas of these partitions of a topic that belong on this broker.
pub fn replicas(
    state: &State,
    topic: &StoredTopic,
    config: &Arc<TopicConfig>,
    partitions: Range<i32>,
) -> impl Iterator<Item = NewReplica> {
    partitions.filter(|partition| is_here(state, topic, *partition)).map(move |partition| NewReplica {
        topic: topic.name.clone(),
        partition,
        topic_id: told(topic.id),
        leader_epoch: state.leader_epoch(topic, partition),
        config: config.clone(),
    })
}

/// Whether this broker is to have a replica of it.
pub fn is_here(state: &State, topic: &StoredTopic, partition: i32) -> bool {
    topic.placement(partition).is_none_or(|placement| placement.replicas.contains(&state.broker_id()))
}

/// The topic as clients see it. `replicas` has one entry for each partition, `None` where this broker has no replica, or one
/// that does not work.
pub fn topic(
    state: &State,
    topic: &StoredTopic,
    config: &Arc<TopicConfig>,
    replicas: impl IntoIterator<Item = Option<Home>>,
) -> Topic {
    let this = state.broker_id();
    let alone: Arc<[BrokerId]> = [this].into();
    let partitions = (0..).zip(replicas).map(|(number, replica)| {
        let leader_epoch = state.leader_epoch(topic, number);
        match topic.placement(number) {
            None => {
                let (leader, all) = (replica.map(|_| this), || alone.clone());
                Partition { replica, home: replica, leader, leader_epoch, replicas: all(), isr: all() }
            }
            Some(placement) => placed(this, placement, replica, leader_epoch),
        }
    });
    let overrides = Arc::new(topic.overrides.clone());
    let mut shown = Topic::new(topic.name.clone(), topic.id, partitions.collect(), overrides, config.clone());
    shown.spread_over = state.spread_over(&topic.id).unwrap_or(shown.spread_over);
    shown
}

/// A leader whose replica does not work is none: nobody could be served there.
fn placed(
    this: BrokerId,
    placement: &Placement,
    replica: Option<Home>,
    leader_epoch: LeaderEpoch,
) -> Partition {
    let led = placement.led.as_ref();
    let leader = led.and_then(|led| led.leader).filter(|leader| *leader != this || replica.is_some());
    let replicas = placement.replicas.clone();
    let isr = led.map_or_else(|| [].into(), |led| led.isr.clone());
    Partition { replica, home: replica.filter(|_| leader == Some(this)), leader, leader_epoch, replicas, isr }
}

/// What this broker is to its replica of a partition of a cluster.
pub fn term(state: &State, topic: &StoredTopic, partition: i32) -> Term {
    let this = state.broker_id();
    let placement = topic.placement(partition);
    let led = placement.and_then(|placement| placement.led.as_ref());
    let duty = match (placement, led) {
        (Some(placement), Some(led)) => match led.leader {
            Some(leader) if leader == this => Duty::Lead {
                replicas: placement.replicas.clone(),
                isr: led.isr.clone(),
                partition_epoch: led.version,
            },
            Some(leader) => Duty::Follow { leader },
            None => Duty::Wait,
        },
        (_, _) => Duty::Wait,
    };
    Term { epoch: state.leader_epoch(topic, partition), topic_id: told(topic.id), duty }
}
