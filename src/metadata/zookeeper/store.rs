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
use crate::metadata::store::{Event, PRODUCER_ID_BLOCK, Store, StoreError};
use crate::metadata::zookeeper::client::Client;
use crate::metadata::zookeeper::jute::{Mode, ZkError};
use crate::metadata::zookeeper::session;
use crate::metadata::zookeeper::znode::{self, BrokerNode, ProducerIdBlock, StateNode, TopicNode};
use crate::replication::{Answered, InSyncProposal};
use crate::wire::primitive::Uuid;

/// How long one piece of work may wait for answers; a client that asked is told to try again.
const PATIENCE: Duration = Duration::from_secs(8);
/// How long a lost connection may take to come back before work is refused without having begun.
const RECONNECTION: Duration = Duration::from_secs(1);
/// Between two looks when the first one failed.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

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

/// What is to be looked at.
#[derive(Debug, Default)]
pub(super) struct Stale {
    /// A session began: registration, election and every watch are to be made anew.
    pub session: bool,
    pub controller: bool,
    pub configs: bool,
}

impl Stale {
    fn is_any(&self) -> bool {
        self.session || self.controller || self.configs
    }
}

pub struct ZooKeeper {
    pub(super) client: Client,
    pub(super) events: mpsc::UnboundedReceiver<session::Event>,
    pub(super) terms: Terms,
    pub(super) state: State,
    /// Who was elected.
    pub(super) controller: Option<BrokerId>,
    /// As it was last told.
    pub(super) controller_told: Option<Option<BrokerId>>,
    /// While this broker is the controller.
    pub(super) fence: Option<Fence>,
    /// The transaction that made our registration (KIP-380).
    pub(super) broker_epoch: i64,
    /// The session of that registration.
    pub(super) registered_in: Option<i64>,
    /// Producer ids that were claimed at the start and not asked for yet.
    claimed: Option<Range<i64>>,
    /// Whether the election was won since it was last told.
    pub(super) elected: bool,
    /// Whether the office was lost since it was last told.
    pub(super) resigned: bool,
    /// Watches that fired while this broker controls, other than its own.
    fired: BTreeSet<String>,
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
            controller: None,
            controller_told: None,
            fence: None,
            broker_epoch: -1,
            registered_in: None,
            claimed: None,
            elected: false,
            resigned: false,
            fired: BTreeSet::new(),
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

    /// The right to write as controller, while this broker is it.
    pub fn fence(&self) -> Option<Fence> {
        self.fence
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The transaction that registered this broker (KIP-380).
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

    /// Writes one change; the state follows when it is written. Topics and leaders are told by the controller instead.
    async fn write(&mut self, change: Change) -> Result<(), StoreError> {
        match &change {
            Change::OverridesSet { id, overrides } => {
                let name = self.topic(id)?.name.clone();
                self.write_settings(&format!("topics/{name}"), overrides).await?;
            }
            Change::SettingsSet { path, settings } => self.write_settings(path, settings).await?,
            Change::Identity { .. }
            | Change::Incarnation(_)
            | Change::ProducerIdsBelow(_)
            | Change::TopicAdded(_)
            | Change::PartitionsAdded { .. }
            | Change::LeadsSet { .. }
            | Change::PartitionsTakenBack { .. }
            | Change::DeleteBegun { .. }
            | Change::DeleteDone { .. } => {
                return Err(Unfit("the controller of the cluster decides that".to_owned()).into());
            }
        }
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

    /// Makes a topic's nodes: its settings first, so that nobody sees the topic without them (contract 4.4). The controller takes
    /// it from there. What is to live where stands in `placements`.
    pub async fn make_topic(&mut self, topic: &StoredTopic) -> Result<(), StoreError> {
        let client = self.client.clone();
        within(&client, self.make_topic_nodes(topic)).await
    }

    async fn make_topic_nodes(&self, topic: &StoredTopic) -> Result<(), StoreError> {
        let name = &topic.name;
        let (path, config_path) = (znode::topic(name), znode::topic_config(name));
        if self.client.exists(&path, false).await.map_err(failed(&path, "it cannot be read"))?.is_some() {
            return Err(StoreError::Node { path, action: "it cannot be made", source: ZkError::NodeExists });
        }
        self.set_or_create(&config_path, &znode::encode_config(&topic.overrides)).await?;
        let replicas = |placement: &Placement| placement.replicas.iter().map(|id| id.0).collect();
        let node = TopicNode {
            partitions: (0..).zip(topic.placements.iter().map(replicas)).collect(),
            topic_id: self.has_topic_ids().then_some(topic.id),
            ..TopicNode::default()
        };
        let made = self.client.create(&path, Some(&node.encode()), Mode::Persistent).await;
        made.map(|_| ()).map_err(failed(&path, "it cannot be made"))
    }

    /// Adds partitions to a topic's node. `from`: how many there are, as far as we know.
    pub async fn grow_topic(
        &mut self,
        name: &str,
        from: i32,
        added: &[Vec<BrokerId>],
    ) -> Result<(), StoreError> {
        let client = self.client.clone();
        within(&client, self.grow_topic_node(name, from, added)).await
    }

    async fn grow_topic_node(
        &self,
        name: &str,
        from: i32,
        added: &[Vec<BrokerId>],
    ) -> Result<(), StoreError> {
        let path = znode::topic(name);
        let (data, stat) =
            self.client.data(&path, false).await.map_err(failed(&path, "it cannot be read"))?;
        let data = data.unwrap_or_default();
        let mut node = TopicNode::decode(&path, &data)?;
        if node.partitions.len() != from as usize {
            return Err(StoreError::Node {
                path,
                action: "it cannot be extended",
                source: ZkError::BadVersion,
            });
        }
        for (number, replicas) in (from..).zip(added) {
            node.partitions.insert(number, replicas.iter().map(|id| id.0).collect());
        }
        let data = node.onto(&path, &data)?;
        let written = self.client.set_data(&path, Some(&data), stat.version).await;
        written.map(|_| ()).map_err(failed(&path, "it cannot be extended"))
    }

    /// Asks for a topic to be deleted.
    pub async fn ask_deletion(&mut self, name: &str) -> Result<(), StoreError> {
        let path = format!("{}/{name}", znode::DELETE_TOPICS);
        let made = self.client.create(&path, None, Mode::Persistent);
        within(&self.client, async {
            match made.await {
                Ok(_) | Err(ZkError::NodeExists) => Ok(()),
                Err(error) => Err(failed(&path, "it cannot be made")(error)),
            }
        })
        .await
    }

    /// The office is given up: the node goes, if it is ours, and everybody may stand for election.
    pub async fn resign(&mut self) {
        self.fence = None;
        self.fired.clear();
        self.stale.controller = true;
        self.look_again = Some(Instant::now() + LOOK_AGAIN);
        let client = self.client.clone();
        let gone = within(&client, async {
            let path = znode::CONTROLLER;
            match client.exists(path, false).await.map_err(failed(path, "it cannot be read"))? {
                Some(stat) if Some(stat.ephemeral_owner) == client.session() => {
                    client.delete(path, stat.version).await.map_err(failed(path, "it cannot be removed"))
                }
                Some(_) | None => Ok(()),
            }
        });
        if let Err(error) = gone.await {
            tracing::warn!(%error, "the office of controller cannot be given up; it ends with the session");
        }
    }

    /// The state follows what the controller told, which is written down already; it has this epoch.
    pub fn learn(&mut self, changes: &[Change], controller_epoch: i32) -> Result<(), StoreError> {
        self.controller_epoch = self.controller_epoch.max(controller_epoch);
        let _ = self.state.apply_all(changes)?;
        if let Some(copy) = &mut self.copy {
            copy.follow(changes, self.controller_epoch);
        }
        Ok(())
    }

    /// What is set for a topic.
    pub async fn topic_settings(&self, topic: &str) -> Result<Overrides, StoreError> {
        within(&self.client, self.read_settings(&format!("topics/{topic}"))).await
    }

    /// Writes in-sync sets into the states of partitions that this broker leads, each on the version its leader knows (contract
    /// 4.4). An answer for each.
    pub async fn write_in_sync(&mut self, proposals: &[InSyncProposal]) -> Vec<Answered> {
        let client = self.client.clone();
        let writes = proposals.iter().map(|proposal| self.write_one_in_sync(proposal));
        let written = within(&client, async { Ok(futures_util::future::join_all(writes).await) }).await;
        written.unwrap_or_else(|_| vec![Answered::Failed; proposals.len()])
    }

    /// Leaves a note for the controller of partitions whose in-sync sets were written.
    pub async fn note_in_sync(&mut self, partitions: &[(String, i32)]) -> Result<(), StoreError> {
        let path = format!("{}/isr_change_", znode::ISR_CHANGES);
        let data = znode::encode_partitions(partitions);
        let made = self.client.create(&path, Some(&data), Mode::PersistentSequential);
        within(&self.client, async { made.await.map(|_| ()).map_err(failed(&path, "it cannot be made")) })
            .await
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

    /// A write whose version does not fit may be our own, the answer to which was lost: then the node says what we wrote.
    async fn write_one_in_sync(&self, proposal: &InSyncProposal) -> Answered {
        let InSyncProposal { topic, partition, leader_epoch, isr, partition_epoch, .. } = proposal;
        let known = self.state.topic_named(topic);
        let led = known.and_then(|topic| topic.placement(*partition)?.led.as_ref());
        let Some(led) = led.filter(|led| led.leader == Some(self.state.broker_id())) else {
            return Answered::Outdated;
        };
        let path = znode::partition_state(topic, *partition);
        let node = StateNode {
            controller_epoch: led.controller_epoch,
            leader: self.state.broker_id().0,
            leader_epoch: leader_epoch.0,
            isr: isr.iter().map(|id| id.0).collect(),
            recovering: led.recovering,
        };
        let set = |version| Answered::Set { isr: isr.clone(), partition_epoch: version };
        match self.client.set_data(&path, Some(&node.encode()), *partition_epoch).await {
            Ok(stat) => return set(stat.version),
            Err(ZkError::BadVersion) => {}
            Err(ZkError::NoNode) => return Answered::Outdated,
            Err(error) => {
                tracing::warn!(path, %error, "an in-sync set cannot be written; it is asked for again");
                return Answered::Failed;
            }
        }
        match self.client.data(&path, false).await {
            Ok((data, stat)) => {
                let found = StateNode::decode(&path, &data.unwrap_or_default());
                let ours = found.is_ok_and(|found| {
                    (found.leader, found.leader_epoch, &found.isr)
                        == (node.leader, node.leader_epoch, &node.isr)
                });
                if ours {
                    return set(stat.version);
                }
                tracing::info!(
                    path,
                    known = partition_epoch,
                    found = stat.version,
                    "the controller has changed the partition: its decision is waited for"
                );
                Answered::Outdated
            }
            Err(_) => Answered::Failed,
        }
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
            session::Event::Node { path, .. } => match &*path {
                znode::CONTROLLER => self.stale.controller = true,
                znode::CONFIG_CHANGES => self.stale.configs = true,
                _ => {
                    if self.fence.is_some() {
                        self.fired.insert(path);
                    }
                }
            },
            session::Event::Expired => {
                self.lose_office();
                self.stale.session = true;
            }
            // It may be the one that this broker has registered in already.
            session::Event::Session { id } => self.stale.session |= self.registered_in != Some(id),
        }
    }

    /// This broker is not the controller any more.
    pub(super) fn lose_office(&mut self) {
        self.resigned |= self.fence.take().is_some();
        self.elected = false;
        self.fired.clear();
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
                    self.stale.configs = true; // it may have been done, or be done yet
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

    fn cluster(&mut self) -> Option<&mut ZooKeeper> {
        Some(self)
    }

    async fn stirred(&mut self) {
        self.take_events();
        if !self.stale.is_any() && self.fired.is_empty() && !self.elected && !self.resigned {
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
        if std::mem::take(&mut self.resigned) {
            news.push(Event::Resigned);
        }
        if let Err(error) = within(&client, self.look(&mut news)).await {
            match error {
                StoreError::Away { why } => {
                    tracing::warn!("ZooKeeper cannot be asked what has changed: {why}");
                }
                other => self.complain("look", other.to_string()),
            }
            self.look_again = Some(Instant::now() + LOOK_AGAIN);
        }
        if self.fence.is_some() && !self.fired.is_empty() {
            news.push(Event::Fired(std::mem::take(&mut self.fired).into_iter().collect()));
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
