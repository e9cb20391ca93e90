//! The metadata store of a cluster: Kafka's nodes in ZooKeeper, seen as a state and its changes.
//!
//! In: changes to write, watches that fired. Out: the state, and what others changed. Nothing is believed that was not read
//! back or acknowledged: a write whose answer did not come marks everything as stale, and the next look finds out. A look
//! compares nodes with the state, so our own writes, which fire watches too, are no news.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use crate::config::Overrides;
use crate::config::version::Version;
use crate::ids::BrokerId;
use crate::metadata::copy::Copy;
use crate::metadata::fresh_id::{Random, fresh_id, stand_in_id};
use crate::metadata::state::{Change, Led, NewLead, Placement, State, StoredTopic, Unfit};
use crate::metadata::store::{Event, Members, PRODUCER_ID_BLOCK, Store, StoreError};
use crate::metadata::zookeeper::client::Client;
use crate::metadata::zookeeper::jute::{Mode, Operation, ZkError};
use crate::metadata::zookeeper::session;
use crate::metadata::zookeeper::znode::{self, BrokerNode, ProducerIdBlock, StateNode, TopicNode};
use crate::wire::primitive::Uuid;

/// How long one piece of work may wait for answers; a client that asked is told to try again.
const PATIENCE: Duration = Duration::from_secs(8);
/// How long a lost connection may take to come back before work is refused without having begun.
const RECONNECTION: Duration = Duration::from_secs(1);
/// Between two looks when the first one failed.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// Partitions whose nodes are written by one multi: ZooKeeper refuses requests above 1 MiB.
const PARTITIONS_PER_MULTI: usize = 500;

/// What the store needs to know of this broker and its settings.
pub struct Terms {
    pub protocol: Version,
    pub delete_topic_enable: bool,
    /// As it will be registered.
    pub node: BrokerNode,
    /// `zookeeper.session.timeout.ms`.
    pub session_timeout: Duration,
    pub random: Random,
    /// The directory in which a copy of the metadata is kept.
    pub copy_in: Option<PathBuf>,
}

/// The right to write as controller: refused as soon as another one was elected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fence {
    pub epoch: i32,
    /// Of `/controller_epoch`.
    pub version: i32,
}

impl Fence {
    pub(super) fn check(self) -> Operation {
        Operation::Check { path: znode::CONTROLLER_EPOCH.to_owned(), version: self.version }
    }
}

/// What the state may be behind.
#[derive(Debug, Default)]
pub(super) struct Stale {
    /// A session began: registration, election and every watch are to be made anew.
    pub session: bool,
    pub members: bool,
    pub controller: bool,
    pub topics: bool,
    pub topic: BTreeSet<String>,
    pub deletions: bool,
    pub configs: bool,
    pub isr_changes: bool,
    pub log_dir_events: bool,
    pub preferred_election: bool,
    pub reassignment: bool,
}

impl Stale {
    fn is_any(&self) -> bool {
        let Stale { session, members, controller, topics, topic, deletions, configs, .. } = self;
        let Stale { isr_changes, log_dir_events, preferred_election, reassignment, .. } = self;
        !topic.is_empty()
            || [session, members, controller, topics, deletions, configs].into_iter().any(|flag| *flag)
            || [isr_changes, log_dir_events, preferred_election, reassignment].into_iter().any(|flag| *flag)
    }

    /// What asks the controller for something.
    pub(super) fn requests(&mut self) {
        self.deletions = true;
        self.isr_changes = true;
        self.log_dir_events = true;
        self.preferred_election = true;
        self.reassignment = true;
    }

    /// All that is watched, but for the topics that are known.
    pub(super) fn everything(&mut self) {
        self.requests();
        self.members = true;
        self.controller = true;
        self.topics = true;
        self.configs = true;
    }

    fn watch_fired(&mut self, path: &str) {
        match path {
            znode::CONTROLLER => self.controller = true,
            znode::TOPICS => self.topics = true,
            znode::DELETE_TOPICS => self.deletions = true,
            znode::CONFIG_CHANGES => self.configs = true,
            znode::ISR_CHANGES => self.isr_changes = true,
            znode::LOG_DIR_EVENTS => self.log_dir_events = true,
            znode::PREFERRED_ELECTION => self.preferred_election = true,
            znode::REASSIGN_PARTITIONS => self.reassignment = true,
            path if path.starts_with(znode::BROKER_IDS) => self.members = true,
            path => {
                if let Some(topic) = path.strip_prefix(znode::TOPICS).and_then(|rest| rest.strip_prefix('/'))
                {
                    self.topic.insert(topic.to_owned());
                }
            }
        }
    }
}

pub struct ZooKeeper {
    pub(super) client: Client,
    pub(super) events: mpsc::UnboundedReceiver<session::Event>,
    pub(super) terms: Terms,
    pub(super) state: State,
    pub(super) members: Members,
    /// As they were last told.
    pub(super) members_told: Option<Members>,
    /// While this broker is the controller.
    pub(super) fence: Option<Fence>,
    /// The transaction that made our registration (KIP-380).
    pub(super) broker_epoch: i64,
    /// Producer ids that were claimed at the start and not asked for yet.
    claimed: Option<Range<i64>>,
    /// Whether the election was won since it was last told.
    pub(super) elected: bool,
    /// Number of the last node below `/config/changes` that was followed.
    pub(super) config_change_seen: i64,
    /// The highest controller epoch this broker has heard of.
    pub(super) controller_epoch: i32,
    pub(super) copy: Option<Copy>,
    /// What was complained of, so that it is said once.
    pub(super) complaints: BTreeMap<String, String>,
    pub(super) stale: Stale,
    look_again: Option<Instant>,
}

impl std::fmt::Debug for ZooKeeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ZooKeeper({:?}, broker {})", self.client, self.state.broker_id())
    }
}

impl ZooKeeper {
    pub(super) fn new(
        client: Client,
        events: mpsc::UnboundedReceiver<session::Event>,
        terms: Terms,
    ) -> ZooKeeper {
        ZooKeeper {
            client,
            events,
            terms,
            state: State::default(),
            members: Members { controller: None, brokers: [].into() },
            members_told: None,
            fence: None,
            broker_epoch: -1,
            claimed: None,
            elected: false,
            config_change_seen: -1,
            controller_epoch: 0,
            copy: None,
            complaints: BTreeMap::new(),
            stale: Stale::default(),
            look_again: None,
        }
    }

    /// From 2.8 on topics have ids.
    pub(super) fn has_topic_ids(&self) -> bool {
        Version::parse("2.8-IV0").is_some_and(|first| self.terms.protocol >= first)
    }

    pub(super) fn fence(&self) -> Result<Fence, StoreError> {
        self.fence.ok_or(StoreError::NotController)
    }

    pub fn broker_epoch(&self) -> i64 {
        self.broker_epoch
    }

    /// Says what is wrong with a node, once for each wrong.
    pub(super) fn complain(&mut self, path: &str, what: String) {
        if self.complaints.get(path) != Some(&what) {
            tracing::error!("{what}");
            self.complaints.insert(path.to_owned(), what);
        }
    }

    /// Writes one change; the state follows when it is written.
    async fn write(&mut self, change: Change) -> Result<(), StoreError> {
        let change = match change {
            Change::TopicAdded(topic) => self.add_topic(topic).await?,
            Change::PartitionsAdded { id, leader_epochs, placements } => {
                self.add_partitions(id, leader_epochs, placements).await?
            }
            Change::PartitionsTakenBack { id, partition_count } => {
                self.take_partitions_back(id, partition_count).await?
            }
            Change::LeadsSet { id, leads } => return self.set_leads(id, leads).await,
            Change::OverridesSet { id, overrides } => {
                let name = self.topic(&id)?.name.clone();
                self.write_settings(&format!("topics/{name}"), &overrides).await?;
                Change::OverridesSet { id, overrides }
            }
            Change::SettingsSet { path, settings } => {
                self.write_settings(&path, &settings).await?;
                Change::SettingsSet { path, settings }
            }
            Change::DeleteBegun { id } => {
                let path = format!("{}/{}", znode::DELETE_TOPICS, self.topic(&id)?.name);
                self.fence()?;
                match self.client.create(&path, None, Mode::Persistent).await {
                    Ok(_) | Err(ZkError::NodeExists) => {}
                    Err(error) => return Err(failed(&path, "it cannot be made")(error)),
                }
                Change::DeleteBegun { id }
            }
            Change::DeleteDone { id } => {
                self.remove_topic(&id).await?;
                Change::DeleteDone { id }
            }
            Change::Identity { .. } | Change::Incarnation(_) | Change::ProducerIdsBelow(_) => {
                return Err(Unfit("ZooKeeper keeps no such thing".to_owned()).into());
            }
        };
        self.apply(&change)
    }

    /// The state and the copy of it follow a change that is written, or was found.
    pub(super) fn apply(&mut self, change: &Change) -> Result<(), StoreError> {
        let _ = self.state.apply(change)?;
        if let Some(copy) = &mut self.copy {
            copy.follow(std::slice::from_ref(change), self.controller_epoch);
        }
        Ok(())
    }

    fn topic(&self, id: &Uuid) -> Result<&Arc<StoredTopic>, Unfit> {
        let topic = self.state.topic(id).or_else(|| self.state.deleting_topic(id));
        topic.ok_or_else(|| Unfit(format!("there is no topic of id {id}")))
    }

    /// Settings first, so that nobody sees the topic without them (contract 4.4).
    async fn add_topic(&mut self, topic: Arc<StoredTopic>) -> Result<Change, StoreError> {
        self.fence()?;
        let name = &topic.name;
        if self.state.deleting().any(|deleting| deleting.name == *name) {
            return Err(Unfit(format!("topic {name} is being deleted")).into());
        }
        let (path, config_path) = (znode::topic(name), znode::topic_config(name));
        if self.client.exists(&path, false).await.map_err(failed(&path, "it cannot be read"))?.is_some() {
            self.stale.topics = true;
            return Err(StoreError::Node { path, action: "it cannot be made", source: ZkError::NodeExists });
        }
        self.set_or_create(&config_path, &znode::encode_config(&topic.overrides)).await?;
        let node = self.topic_node(&topic);
        self.client
            .create(&path, Some(&node.encode()), Mode::Persistent)
            .await
            .map_err(failed(&path, "it cannot be made"))?;
        // Arms the watch: others may change it.
        self.client.data(&path, true).await.map_err(failed(&path, "it cannot be read"))?;
        Ok(Change::TopicAdded(topic))
    }

    fn topic_node(&self, topic: &StoredTopic) -> TopicNode {
        let replicas = |placement: &Placement| placement.replicas.iter().map(|id| id.0).collect();
        TopicNode {
            partitions: (0..).zip(topic.placements.iter().map(replicas)).collect(),
            topic_id: self.has_topic_ids().then_some(topic.id),
            ..TopicNode::default()
        }
    }

    async fn set_or_create(&self, path: &str, data: &[u8]) -> Result<(), StoreError> {
        match self.client.set_data(path, Some(data), -1).await {
            Err(ZkError::NoNode) => {}
            outcome => return outcome.map(|_| ()).map_err(failed(path, "it cannot be written")),
        }
        self.ensure_parents(path).await?;
        let made = self.client.create(path, Some(data), Mode::Persistent).await;
        made.map(|_| ()).map_err(failed(path, "it cannot be made"))
    }

    /// Makes the nodes above `path` that are missing, without data.
    pub(super) async fn ensure_parents(&self, path: &str) -> Result<(), StoreError> {
        for (end, _) in path.match_indices('/').skip(1) {
            let parent = &path[..end];
            match self.client.create(parent, None, Mode::Persistent).await {
                Ok(_) | Err(ZkError::NodeExists) => {}
                Err(error) => return Err(failed(parent, "it cannot be made")(error)),
            }
        }
        Ok(())
    }

    async fn add_partitions(
        &mut self,
        id: Uuid,
        leader_epochs: Vec<i32>,
        placements: Vec<Placement>,
    ) -> Result<Change, StoreError> {
        self.fence()?;
        let topic = self.topic(&id)?.clone();
        let path = znode::topic(&topic.name);
        let (data, stat) = self.client.data(&path, true).await.map_err(failed(&path, "it cannot be read"))?;
        let data = data.unwrap_or_default();
        let mut node = TopicNode::decode(&path, &data)?;
        if node.partitions.len() != topic.leader_epochs.len() {
            self.stale.topic.insert(topic.name.to_string());
            return Err(StoreError::Node {
                path,
                action: "it cannot be extended",
                source: ZkError::BadVersion,
            });
        }
        for (number, placement) in (topic.partition_count()..).zip(&placements) {
            node.partitions.insert(number, placement.replicas.iter().map(|id| id.0).collect());
        }
        let data = node.onto(&path, &data)?;
        self.client
            .set_data(&path, Some(&data), stat.version)
            .await
            .map_err(failed(&path, "it cannot be extended"))?;
        Ok(Change::PartitionsAdded { id, leader_epochs, placements })
    }

    async fn take_partitions_back(&mut self, id: Uuid, partition_count: i32) -> Result<Change, StoreError> {
        let fence = self.fence()?;
        let topic = self.topic(&id)?.clone();
        let path = znode::topic(&topic.name);
        let (data, stat) = self.client.data(&path, true).await.map_err(failed(&path, "it cannot be read"))?;
        let data = data.unwrap_or_default();
        let mut node = TopicNode::decode(&path, &data)?;
        node.partitions.retain(|number, _| *number < partition_count);
        let data = Some(node.onto(&path, &data)?);
        let mut operations =
            vec![fence.check(), Operation::SetData { path: path.clone(), data, version: stat.version }];
        for number in partition_count..topic.partition_count() {
            operations.extend(self.removal(&topic, number).into_iter().map(delete));
        }
        self.multi(&path, operations).await?;
        Ok(Change::PartitionsTakenBack { id, partition_count })
    }

    /// The nodes of one partition, the lowest first.
    fn removal(&self, topic: &StoredTopic, number: i32) -> Vec<String> {
        let is_led = topic.placement(number).is_some_and(|placement| placement.led.is_some());
        let state = znode::partition_state(&topic.name, number);
        let parent = state.trim_end_matches("/state").to_owned();
        if is_led { vec![state, parent] } else { Vec::new() }
    }

    /// New leaders, written under the fence: each conditional on the version of its node, or made.
    async fn set_leads(&mut self, id: Uuid, leads: Vec<NewLead>) -> Result<(), StoreError> {
        let fence = self.fence()?;
        let topic = self.topic(&id)?.clone();
        let mut is_first = topic.placements.iter().all(|placement| placement.led.is_none());
        for leads in leads.chunks(PARTITIONS_PER_MULTI) {
            let mut operations = vec![fence.check()];
            let create = |path: String, data| Operation::Create { path, data, mode: Mode::Persistent };
            if is_first {
                operations.push(create(format!("{}/partitions", znode::topic(&topic.name)), None));
                is_first = false;
            }
            let before = |lead: &NewLead| topic.placement(lead.partition).and_then(|place| place.led.clone());
            let path = |lead: &NewLead| znode::partition_state(&topic.name, lead.partition);
            // What others put into a node stays in it.
            let old: Vec<String> = leads.iter().filter(|lead| before(lead).is_some()).map(path).collect();
            let old = futures_util::future::join_all(old.iter().map(|path| self.client.data(path, false)));
            let mut old = old.await.into_iter();
            let mut written = Vec::with_capacity(leads.len());
            for lead in leads {
                let path = path(lead);
                let mut lead = lead.clone();
                lead.led.controller_epoch = fence.epoch;
                let node = state_node(&lead);
                match before(&lead) {
                    None => {
                        operations.push(create(path.trim_end_matches("/state").to_owned(), None));
                        operations.push(create(path, Some(node.encode())));
                        lead.led.version = 0;
                    }
                    Some(before) => {
                        let read = old.next().unwrap_or(Err(ZkError::NoNode));
                        let (data, _) = read.map_err(failed(&path, "it cannot be read"))?;
                        let data = Some(node.onto(&path, &data.unwrap_or_default())?);
                        operations.push(Operation::SetData { path, data, version: before.version });
                        lead.led.version = before.version + 1;
                    }
                }
                written.push(lead);
            }
            self.multi(&znode::topic(&topic.name), operations).await?;
            self.apply(&Change::LeadsSet { id, leads: written })?;
        }
        Ok(())
    }

    /// A multi under the fence. When it was sent twice, its nodes may stand already; the next look finds out.
    pub(super) async fn multi(&mut self, path: &str, operations: Vec<Operation>) -> Result<(), StoreError> {
        let fenced =
            matches!(&operations[0], Operation::Check { path, .. } if path == znode::CONTROLLER_EPOCH);
        let outcome = self.client.multi(operations).await;
        let resent = outcome.resent;
        match outcome.all() {
            Ok(_) => Ok(()),
            Err((0, ZkError::BadVersion | ZkError::NoNode)) if fenced => {
                tracing::warn!("another controller was elected: what this one began is left to it");
                self.fence = None;
                self.stale.controller = true;
                Err(StoreError::NotController)
            }
            Err((_, error)) => {
                if resent {
                    self.stale.everything();
                }
                Err(failed(path, "it cannot be written")(error))
            }
        }
    }

    /// The node, then the note that makes every broker read it (contract 4.3).
    pub(super) async fn write_settings(
        &mut self,
        entity: &str,
        settings: &Overrides,
    ) -> Result<(), StoreError> {
        let path = format!("/config/{entity}");
        // Quotas and passwords leave no empty node behind, brokers and topics do (contract 9).
        let leaves_nothing = !entity.starts_with("topics/") && !entity.starts_with("brokers/");
        if settings.is_empty() && leaves_nothing {
            match self.client.delete(&path, -1).await {
                Ok(()) | Err(ZkError::NoNode) => {}
                Err(ZkError::NotEmpty) => self.set_or_create(&path, &znode::encode_config(settings)).await?,
                Err(error) => return Err(failed(&path, "it cannot be removed")(error)),
            }
        } else {
            self.set_or_create(&path, &znode::encode_config(settings)).await?;
        }
        if entity.starts_with("spread/") {
            return Ok(()); // no broker of Kafka's knows these
        }
        let note = format!("{}/config_change_", znode::CONFIG_CHANGES);
        let data = znode::encode_config_change(entity);
        let made = self.client.create(&note, Some(&data), Mode::PersistentSequential).await;
        made.map(|_| ()).map_err(failed(&note, "it cannot be made"))
    }

    /// Its nodes, then its settings, then the request (contract 4.4).
    async fn remove_topic(&mut self, id: &Uuid) -> Result<(), StoreError> {
        let fence = self.fence()?;
        let name = self.topic(id)?.name.clone();
        self.remove_tree(fence, &znode::topic(&name)).await?;
        for path in [znode::topic_config(&name), format!("{}/{name}", znode::DELETE_TOPICS)] {
            match self.multi(&path, vec![fence.check(), delete(path.clone())]).await {
                Ok(()) | Err(StoreError::Node { source: ZkError::NoNode, .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// A node and everything below it, the lowest first. Looked at again where somebody removes them too.
    async fn remove_tree(&mut self, fence: Fence, root: &str) -> Result<(), StoreError> {
        'look: loop {
            let found = self.tree(root).await?;
            for some in found.chunks(2 * PARTITIONS_PER_MULTI) {
                let deletes = some.iter().cloned().map(delete);
                match self.multi(root, std::iter::once(fence.check()).chain(deletes).collect()).await {
                    Ok(()) => {}
                    Err(StoreError::Node { source: ZkError::NoNode | ZkError::NotEmpty, .. }) => {
                        continue 'look;
                    }
                    Err(error) => return Err(error),
                }
            }
            return Ok(());
        }
    }

    /// The paths of a node and of all below it, the lowest first. Empty if it is not there.
    async fn tree(&self, root: &str) -> Result<Vec<String>, StoreError> {
        let mut found = Vec::new();
        let mut level = vec![root.to_owned()];
        while !level.is_empty() {
            let children =
                futures_util::future::join_all(level.iter().map(|path| self.client.children(path, false)))
                    .await;
            let mut next = Vec::new();
            for (path, names) in level.into_iter().zip(children) {
                match names {
                    Ok(names) => next.extend(names.into_iter().map(|name| format!("{path}/{name}"))),
                    Err(ZkError::NoNode) => continue,
                    Err(error) => return Err(failed(&path, "it cannot be read")(error)),
                }
                found.push(path);
            }
            level = next;
        }
        found.reverse();
        Ok(found)
    }

    async fn claim_block(&mut self) -> Result<Range<i64>, StoreError> {
        let path = znode::PRODUCER_ID_BLOCK;
        loop {
            let (data, stat) =
                self.client.data(path, false).await.map_err(failed(path, "it cannot be read"))?;
            let first = match data.as_deref() {
                None | Some([]) => 0,
                Some(data) => ProducerIdBlock::decode(data)?
                    .last
                    .checked_add(1)
                    .filter(|first| first.checked_add(PRODUCER_ID_BLOCK).is_some())
                    .ok_or_else(|| Unfit(format!("{path}: there are no producer ids left")))?,
            };
            let last = first + PRODUCER_ID_BLOCK - 1;
            let block = ProducerIdBlock { broker_id: self.state.broker_id().0, first, last };
            match self.client.set_data(path, Some(&block.encode()), stat.version).await {
                Ok(_) => {
                    self.apply(&Change::ProducerIdsBelow(last + 1))?;
                    return Ok(first..last + 1);
                }
                Err(ZkError::BadVersion) => {} // another broker was faster
                Err(error) => return Err(failed(path, "it cannot be written")(error)),
            }
        }
    }

    pub(super) fn take_events(&mut self) {
        while let Ok(event) = self.events.try_recv() {
            self.take_event(event);
        }
    }

    fn take_event(&mut self, event: session::Event) {
        match event {
            session::Event::Node { path, .. } => self.stale.watch_fired(&path),
            session::Event::Expired => {
                self.fence = None;
                self.stale.session = true;
            }
            session::Event::Session { .. } => self.stale.session = true,
        }
    }
}

impl Store for ZooKeeper {
    const WHOLE: bool = false;
    const SHARED: bool = true;

    fn state(&self) -> &State {
        &self.state
    }

    async fn commit(&mut self, changes: Vec<Change>) -> Result<(), StoreError> {
        for change in changes {
            let client = self.client.clone();
            if let Err(error) = within(&client, self.write(change)).await {
                if matches!(error, StoreError::Away { .. }) {
                    self.stale.everything(); // it may have been done, or be done yet
                }
                return Err(error);
            }
        }
        Ok(())
    }

    fn topic_id(&self, name: &str, random: &mut dyn FnMut() -> u64) -> Uuid {
        if self.has_topic_ids() { fresh_id(random) } else { stand_in_id(name) }
    }

    async fn claim_producer_ids(&mut self) -> Result<Range<i64>, StoreError> {
        if let Some(block) = self.claimed.take() {
            return Ok(block);
        }
        let client = self.client.clone();
        within(&client, self.claim_block()).await
    }

    async fn enlist(&mut self) -> Result<(), StoreError> {
        let mut outcome = self.join().await;
        // Brokers before 3.0 take a block at every start (contract 4.2).
        let claims = Version::parse("3.0-IV0").is_some_and(|first| self.terms.protocol < first);
        if claims && outcome.is_ok() {
            outcome = self.claim_block().await.map(|block| self.claimed = Some(block));
        }
        if outcome.is_err() {
            self.leave().await; // not to be waited for by the next try
        }
        outcome
    }

    fn controls(&self) -> bool {
        self.fence.is_some()
    }

    async fn stirred(&mut self) {
        self.take_events();
        if !self.stale.is_any() {
            match self.events.recv().await {
                Some(event) => self.take_event(event),
                None => std::future::pending().await,
            }
        } else if let Some(at) = self.look_again {
            tokio::select! {
                () = sleep_until(at) => {}
                event = self.events.recv() => match event {
                    Some(event) => self.take_event(event),
                    None => std::future::pending().await,
                }
            }
        }
    }

    async fn news(&mut self) -> Vec<Event> {
        self.take_events();
        self.look_again = None;
        let client = self.client.clone();
        let mut news = Vec::new();
        if let Err(error) = within(&client, self.look(&mut news)).await {
            match error {
                StoreError::Away { why } => {
                    tracing::warn!("ZooKeeper cannot be asked what has changed: {why}");
                }
                other => self.complain("look", other.to_string()),
            }
            self.look_again = Some(Instant::now() + LOOK_AGAIN);
        }
        news
    }

    async fn leave(&mut self) {
        // Without an answer the session ends by its timeout.
        let _ = timeout(PATIENCE, self.client.close()).await;
    }
}

/// Work that waits for ZooKeeper, but not for ever.
pub(super) async fn within<T>(
    client: &Client,
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    client.connected(RECONNECTION).await.map_err(|why| StoreError::Away { why })?;
    match timeout(PATIENCE, work).await {
        Ok(outcome) => outcome,
        Err(_) => Err(StoreError::Away { why: format!("no answer within {} s", PATIENCE.as_secs()) }),
    }
}

/// What an error of ZooKeeper means for whoever wanted something of a node.
pub(super) fn failed(path: &str, action: &'static str) -> impl FnOnce(ZkError) -> StoreError {
    let path = path.to_owned();
    move |source| match source {
        ZkError::SessionExpired | ZkError::Closed => StoreError::Away { why: source.to_string() },
        _ => StoreError::Node { path, action, source },
    }
}

pub(super) fn delete(path: String) -> Operation {
    Operation::Delete { path, version: -1 }
}

fn state_node(lead: &NewLead) -> StateNode {
    StateNode {
        controller_epoch: lead.led.controller_epoch,
        leader: lead.led.leader.map_or(-1, |leader| leader.0),
        leader_epoch: lead.leader_epoch,
        isr: lead.led.isr.iter().map(|id| id.0).collect(),
        recovering: lead.led.recovering,
    }
}

/// A state node as the state knows it.
pub(super) fn lead_of(partition: i32, node: &StateNode, version: i32) -> NewLead {
    let led = Led {
        leader: (node.leader >= 0).then_some(BrokerId(node.leader)),
        isr: node.isr.iter().copied().map(BrokerId).collect(),
        controller_epoch: node.controller_epoch,
        recovering: node.recovering,
        version,
    };
    NewLead { partition, leader_epoch: node.leader_epoch, led }
}
