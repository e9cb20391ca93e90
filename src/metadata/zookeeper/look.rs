//! What the nodes say against what the state says: everything at the start, and what became stale later.
//!
//! In: nodes, read with watches. Out: the changes that lead from the state to them. A node that cannot be read is complained of
//! and left as it was: a topic must not vanish, nor a leader be elected, over damage. A topic whose node is gone without a
//! request to delete it is kept and served: losing metadata must not lose records.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::join_all;

use crate::config::Overrides;
use crate::ids::BrokerId;
use crate::metadata::copy::Copy;
use crate::metadata::fresh_id::stand_in_id;
use crate::metadata::state::{Change, Led, NewLead, Placement, StoredTopic};
use crate::metadata::store::{Event, StoreError};
use crate::metadata::topic_name;
use crate::metadata::zookeeper::jute::{Mode, ZkError};
use crate::metadata::zookeeper::store::{ZooKeeper, failed, lead_of};
use crate::metadata::zookeeper::znode::{self, ProducerIdBlock, StateNode, TopicNode};
use crate::reactor::{OsDisk, direct};

/// Notes of changed settings are removed by whoever finds them older than this (contract 4.3).
const CONFIG_CHANGE_AGE_MS_MAX: i64 = 15 * 60 * 1000;
/// How many topics are read at once.
const TOPICS_AT_ONCE: usize = 256;

/// A topic's nodes.
struct Read {
    name: String,
    node: TopicNode,
    /// By partition; `None` where there is no state node.
    leads: Vec<Option<NewLead>>,
    overrides: Overrides,
}

impl ZooKeeper {
    /// Reads everything there is. To be called once, before the broker is registered.
    pub async fn load(&mut self) -> Result<(), StoreError> {
        // The notes first: what changes while the settings are read is read again.
        self.config_change_seen = self.read_config_changes().await?.last_key_value().map_or(-1, |(n, _)| *n);
        let mut changes = self.read_all_settings().await?;
        let names = self.children(znode::TOPICS, true).await?;
        let names: Vec<String> = names.into_iter().filter(|name| topic_name::check(name).is_ok()).collect();
        for names in names.chunks(TOPICS_AT_ONCE) {
            let reads = join_all(names.iter().map(|name| self.read_topic(name))).await;
            for (name, read) in names.iter().zip(reads) {
                match read {
                    Ok(Some(read)) => {
                        changes.push(Change::TopicAdded(Arc::new(self.new_topic(read))));
                    }
                    Ok(None) => {}
                    Err(StoreError::BadNode(wrong)) => {
                        self.complain(
                            name,
                            format!("{wrong}; topic {name} is not served until it can be read"),
                        );
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        let _ = self.state.apply_all(&changes)?;
        self.read_producer_ids().await?;
        if let Some(directory) = self.terms.copy_in.clone() {
            let epoch = self.client.data(znode::CONTROLLER_EPOCH, false).await;
            let epoch = epoch
                .ok()
                .and_then(|(data, _)| znode::decode_controller_epoch(&data.unwrap_or_default()).ok());
            self.controller_epoch = epoch.unwrap_or(0);
            self.copy = Some(Copy::begin(Arc::new(OsDisk), &directory, &self.state, self.controller_epoch)?);
        }
        Ok(())
    }

    /// How far producer ids are given away, by whichever broker.
    async fn read_producer_ids(&mut self) -> Result<(), StoreError> {
        let path = znode::PRODUCER_ID_BLOCK;
        match self.client.data(path, false).await {
            Ok((None, _)) | Err(ZkError::NoNode) => Ok(()),
            Ok((Some(data), _)) if data.is_empty() => Ok(()),
            Ok((Some(data), _)) => match ProducerIdBlock::decode(&data) {
                Ok(block) => {
                    let below = block.last.saturating_add(1).max(self.state.producer_ids_below());
                    let _ = self.state.apply(&Change::ProducerIdsBelow(below))?;
                    Ok(())
                }
                Err(wrong) => {
                    self.complain(
                        path,
                        format!("{wrong}; no producer ids are given away until it can be read"),
                    );
                    Ok(())
                }
            },
            Err(error) => Err(failed(path, "it cannot be read")(error)),
        }
    }

    async fn children(&self, path: &str, watch: bool) -> Result<Vec<String>, StoreError> {
        match self.client.children(path, watch).await {
            Err(ZkError::NoNode) => Ok(Vec::new()),
            outcome => outcome.map_err(failed(path, "it cannot be read")),
        }
    }

    async fn read_topic(&self, name: &str) -> Result<Option<Read>, StoreError> {
        let path = znode::topic(name);
        let data = match self.client.data(&path, true).await {
            Ok((data, _)) => data.unwrap_or_default(),
            Err(ZkError::NoNode) => return Ok(None),
            Err(error) => return Err(failed(&path, "it cannot be read")(error)),
        };
        let node = TopicNode::decode(&path, &data)?;
        let overrides = self.read_settings(&format!("topics/{name}")).await?;
        let leads = self.read_leads(name, 0..node.partitions.len() as i32).await?;
        Ok(Some(Read { name: name.to_owned(), node, leads, overrides }))
    }

    /// The state nodes of some partitions. One that cannot be read has no leader and nobody in sync: nobody is elected there.
    async fn read_leads(
        &self,
        topic: &str,
        partitions: impl IntoIterator<Item = i32>,
    ) -> Result<Vec<Option<NewLead>>, StoreError> {
        let partitions: Vec<i32> = partitions.into_iter().collect();
        let paths: Vec<String> = partitions.iter().map(|n| znode::partition_state(topic, *n)).collect();
        let reads = join_all(paths.iter().map(|path| self.client.data(path, false))).await;
        let leads = partitions.into_iter().zip(&paths).zip(reads).map(|((partition, path), read)| {
            let (data, stat) = match read {
                Ok(read) => read,
                Err(ZkError::NoNode) => return Ok(None),
                Err(error) => return Err(failed(path, "it cannot be read")(error)),
            };
            Ok(Some(match StateNode::decode(path, &data.unwrap_or_default()) {
                Ok(node) => lead_of(partition, &node, stat.version),
                Err(wrong) => {
                    tracing::error!(
                        "{wrong}; partition {topic}-{partition} has no leader until it can be read"
                    );
                    let isr = [].into();
                    let led = Led {
                        leader: None,
                        isr,
                        controller_epoch: 0,
                        recovering: false,
                        version: stat.version,
                    };
                    NewLead { partition, leader_epoch: 0, led }
                }
            }))
        });
        leads.collect()
    }

    /// A topic nobody here knew. One that must have an id and has none is given it by the controller, who then tells of it.
    fn new_topic(&self, read: Read) -> StoredTopic {
        let Read { name, node, leads, overrides } = read;
        let id = node.topic_id.unwrap_or_else(|| stand_in_id(&name));
        let placements = node.partitions.values().zip(leads.iter()).map(|(replicas, lead)| Placement {
            replicas: replicas.iter().copied().map(BrokerId).collect(),
            led: lead.as_ref().map(|lead| lead.led.clone()),
        });
        StoredTopic {
            id,
            name: name.as_str().into(),
            leader_epochs: leads
                .iter()
                .map(|lead| lead.as_ref().map_or(0, |lead| lead.leader_epoch))
                .collect(),
            since: 0,
            overrides,
            placements: placements.collect(),
        }
    }

    /// What `/config/ENTITY` says; nothing where it is not there, or cannot be read.
    pub(super) async fn read_settings(&self, entity: &str) -> Result<Overrides, StoreError> {
        let path = format!("/config/{entity}");
        match self.client.data(&path, false).await {
            Ok((data, _)) => match data.as_deref() {
                None | Some([]) => Ok(Overrides::new()),
                Some(data) => Ok(znode::decode_config(&path, data).unwrap_or_else(|wrong| {
                    tracing::error!("{wrong}; its settings are left out until it can be read");
                    Overrides::new()
                })),
            },
            Err(ZkError::NoNode) => Ok(Overrides::new()),
            Err(error) => Err(failed(&path, "it cannot be read")(error)),
        }
    }

    /// Of brokers, clients, users and addresses; users have clients of their own below them.
    async fn read_all_settings(&self) -> Result<Vec<Change>, StoreError> {
        let mut entities = Vec::new();
        for kind in ["brokers", "clients", "users", "ips", "spread"] {
            for name in self.children(&format!("/config/{kind}"), false).await? {
                if kind == "users" {
                    for client in self.children(&format!("/config/users/{name}/clients"), false).await? {
                        entities.push(format!("users/{name}/clients/{client}"));
                    }
                }
                entities.push(format!("{kind}/{name}"));
            }
        }
        let reads = join_all(entities.iter().map(|entity| self.read_settings(entity))).await;
        let mut changes = Vec::new();
        for (path, settings) in entities.into_iter().zip(reads) {
            let settings = settings?;
            if !settings.is_empty() {
                changes.push(Change::SettingsSet { path: path.into(), settings });
            }
        }
        Ok(changes)
    }

    /// The notes of changed settings, by number, and their names.
    async fn read_config_changes(&self) -> Result<BTreeMap<i64, String>, StoreError> {
        let names = self.children(znode::CONFIG_CHANGES, true).await?;
        let numbered = |name: String| Some((name.strip_prefix("config_change_")?.parse().ok()?, name));
        Ok(names.into_iter().filter_map(numbered).collect())
    }

    /// Looks at everything that is stale. What was looked at is stale no more, and what follows from it is in `news`.
    pub(super) async fn look(&mut self, news: &mut Vec<Event>) -> Result<(), StoreError> {
        if self.stale.session {
            self.begin_session().await?;
            self.stale.session = false;
        }
        if self.stale.controller {
            self.elect().await?;
            self.stale.controller = false;
        }
        if self.controller_told != Some(self.controller) {
            self.controller_told = Some(self.controller);
            news.push(Event::Controller(self.controller));
        }
        if self.stale.configs {
            self.follow_config_changes(news).await?;
            self.stale.configs = false;
        }
        if self.elected {
            self.make_feature_node().await?;
            self.elected = false;
            if std::mem::take(&mut self.resigned) {
                news.push(Event::Resigned);
            }
            news.push(Event::Elected);
        }
        Ok(())
    }

    /// After an expiry: the registration and the office are gone with the old session, and so are all watches.
    async fn begin_session(&mut self) -> Result<(), StoreError> {
        self.lose_office();
        self.check_cluster().await?;
        if !self.register().await? {
            let path = znode::broker(self.state.broker_id().0);
            return Err(StoreError::Refused(format!(
                "{path} is registered by another session: broker.id {} is taken, or our old session is not gone yet",
                self.state.broker_id()
            )));
        }
        self.complaints.remove("look");
        (self.stale.controller, self.stale.configs) = (true, true);
        Ok(())
    }

    /// An ensemble may come back without its data, and then a broker that runs must not begin a new cluster in it either.
    async fn check_cluster(&self) -> Result<(), StoreError> {
        let path = znode::CLUSTER_ID;
        let ours = self.state.cluster_id();
        let found = match self.client.data(path, false).await {
            Ok((data, _)) => znode::decode_cluster_id(&data.unwrap_or_default())?,
            Err(ZkError::NoNode) => {
                return Err(StoreError::Refused(format!(
                    "ZooKeeper has lost cluster {ours} ({path} is gone): this broker serves what it has, and joins \
                     again when `ringdaw metadata restore` has written the metadata back from the brokers' copies"
                )));
            }
            Err(error) => return Err(failed(path, "it cannot be read")(error)),
        };
        if *found != **ours {
            return Err(StoreError::Refused(format!(
                "ZooKeeper holds cluster {found} now, but this broker is of cluster {ours}: it serves what it has, \
                 and does not join"
            )));
        }
        Ok(())
    }

    async fn make_feature_node(&mut self) -> Result<(), StoreError> {
        let data = znode::encode_feature(self.terms.protocol);
        match self.client.create(znode::FEATURE, Some(&data), Mode::Persistent).await {
            Ok(_) | Err(ZkError::NodeExists) => Ok(()),
            Err(error) => Err(failed(znode::FEATURE, "it cannot be made")(error)),
        }
    }

    fn changed(&mut self, change: Change, news: &mut Vec<Event>) -> Result<(), StoreError> {
        self.apply(&change)?;
        news.push(Event::Changed(vec![change]));
        Ok(())
    }

    /// Notes in the order of their numbers; each broker follows each once, and old ones are removed by whoever comes by.
    async fn follow_config_changes(&mut self, news: &mut Vec<Event>) -> Result<(), StoreError> {
        let notes = self.read_config_changes().await?;
        let mut entities: Vec<String> = Vec::new();
        for name in notes.range(self.config_change_seen + 1..).map(|(_, name)| name) {
            let path = format!("{}/{name}", znode::CONFIG_CHANGES);
            match self.client.data(&path, false).await {
                Ok((data, _)) => match znode::decode_config_change(&path, &data.unwrap_or_default()) {
                    Ok(entity) if !entities.contains(&entity) => entities.push(entity),
                    Ok(_) => {}
                    Err(wrong) => tracing::error!("{wrong}; the note is passed over"),
                },
                Err(ZkError::NoNode) => {}
                Err(error) => return Err(failed(&path, "it cannot be read")(error)),
            }
        }
        for entity in entities {
            self.follow_settings(&entity, news).await?;
        }
        if let Some((last, _)) = notes.last_key_value() {
            self.config_change_seen = self.config_change_seen.max(*last);
        }
        let oldest = direct::wall().0 - CONFIG_CHANGE_AGE_MS_MAX;
        for name in notes.values() {
            let path = format!("{}/{name}", znode::CONFIG_CHANGES);
            match self.client.exists(&path, false).await {
                Ok(Some(stat)) if stat.ctime_ms < oldest => {
                    // Another broker may have been faster.
                    let _ = self.client.delete(&path, -1).await;
                }
                // The rest is younger.
                Ok(Some(_)) => break,
                Ok(None) => {}
                Err(error) => return Err(failed(&path, "it cannot be read")(error)),
            }
        }
        Ok(())
    }

    async fn follow_settings(&mut self, entity: &str, news: &mut Vec<Event>) -> Result<(), StoreError> {
        let kinds = ["topics/", "brokers/", "clients/", "users/", "ips/"];
        if !kinds.iter().any(|kind| entity.starts_with(kind)) || entity.contains("//") {
            tracing::error!(entity, "a note names settings of an unknown kind; it is passed over");
            return Ok(());
        }
        let settings = self.read_settings(entity).await?;
        if let Some(topic) = entity.strip_prefix("topics/") {
            let Some(known) = self.state.topic_named(topic) else { return Ok(()) };
            let (id, is_same) = (known.id, known.overrides == settings);
            return match is_same {
                true => Ok(()),
                false => self.changed(Change::OverridesSet { id, overrides: settings }, news),
            };
        }
        if self.state.settings(entity).unwrap_or(&Overrides::new()) == &settings {
            return Ok(());
        }
        self.changed(Change::SettingsSet { path: entity.into(), settings }, news)
    }
}
