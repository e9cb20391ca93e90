//! The controller in office: fed with what happens, its decisions sent to every broker, this one among them (contract 5.2).
//!
//! In: elections won and lost, watches that fired, requests for the controller, answers of brokers. Out: requests in the order they
//! were decided, answers to whoever asked. What is meant for this broker goes the same way through `told`, without a socket.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::api::admin::{Command, Refusal};
use crate::api::create_partitions::Growth;
use crate::api::create_topics::NewTopic;
use crate::api::{create_partitions, create_topics, delete_topics};
use crate::control_thread::control::{Control, store_refusal};
use crate::control_thread::peers::{Answered, Channels, Outgoing};
use crate::controller::assignment::{self, Begin, Candidate};
use crate::controller::{self, ControlRequest, Controller, Event, Lost, Member, ZooKeeperSession};
use crate::ids::BrokerId;
use crate::metadata::fresh_id::told;
use crate::metadata::{Change, Endpoint, Placement, Store, StoredTopic};
use crate::wire::error_code::ErrorCode;
use crate::wire::message::Message;
use crate::wire::message::allocate_producer_ids::{AllocateProducerIdsRequest, AllocateProducerIdsResponse};
use crate::wire::message::alter_partition::{AlterPartitionRequest, AlterPartitionResponse};
use crate::wire::message::alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse,
};
use crate::wire::message::controlled_shutdown::{ControlledShutdownRequest, ControlledShutdownResponse};
use crate::wire::message::create_partitions::CreatePartitionsRequest;
use crate::wire::message::create_topics::CreateTopicsRequest;
use crate::wire::message::delete_topics::DeleteTopicsRequest;
use crate::wire::message::elect_leaders::{ElectLeadersRequest, ElectLeadersResponse};
use crate::wire::message::list_partition_reassignments::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
};
use crate::wire::primitive::{Reader, Uuid};
use crate::wire::version::ApiKey;

const DECODED: &str = "the body was decoded before it became a command";
/// From the election to the first look at who leads where (contract 5.5).
const FIRST_BALANCE: Duration = Duration::from_secs(5);

/// How long one step of the controller may wait for ZooKeeper. Then the office is given up: another broker may reach it.
const PATIENCE: Duration = Duration::from_secs(8);
/// No step begins while there is no connection for so long.
const RECONNECTION: Duration = Duration::from_millis(500);

/// What a controller in office keeps.
pub(super) struct Office {
    controller: Controller<ZooKeeperSession>,
    channels: Channels,
    /// The epoch of each broker that has a channel.
    epochs: BTreeMap<BrokerId, i64>,
    /// Requests on their way, by their tags.
    pending: BTreeMap<u64, (BrokerId, ControlRequest)>,
    next_tag: u64,
    next_balance: Option<Instant>,
    /// Watches that fired while ZooKeeper was away.
    missed: Vec<String>,
}

/// Requests that only a controller carries out; those for topics are planned before.
pub(super) fn is_for_controller(key: ApiKey) -> bool {
    matches!(
        key,
        ApiKey::ElectLeaders
            | ApiKey::AlterPartitionReassignments
            | ApiKey::ListPartitionReassignments
            | ApiKey::AlterPartition
            | ApiKey::ControlledShutdown
            | ApiKey::AllocateProducerIds
    )
}

/// The same of requests for topics.
pub(super) fn changes_topics(key: ApiKey) -> bool {
    matches!(key, ApiKey::CreateTopics | ApiKey::DeleteTopics | ApiKey::CreatePartitions)
}

/// NOT_CONTROLLER, as each of these requests is told it.
pub(super) fn not_controller(command: &Command) -> Vec<u8> {
    const CODE: i16 = ErrorCode::NotController as i16;
    let refusal = Refusal::plain(ErrorCode::NotController);
    let (version, mut r) = (command.version, Reader::new(&command.body));
    match command.key {
        ApiKey::CreateTopics => {
            let request = CreateTopicsRequest::decode(&mut r, version).expect(DECODED);
            create_topics::refuse_all(&request, version, &refusal)
        }
        ApiKey::DeleteTopics => {
            let request = DeleteTopicsRequest::decode(&mut r, version).expect(DECODED);
            delete_topics::refuse_all(&request, version, &refusal)
        }
        ApiKey::CreatePartitions => {
            let request = CreatePartitionsRequest::decode(&mut r, version).expect(DECODED);
            create_partitions::refuse_all(&request, version, &refusal)
        }
        ApiKey::ElectLeaders => {
            encoded(version, &ElectLeadersResponse { error_code: CODE, ..Default::default() })
        }
        ApiKey::AlterPartitionReassignments => {
            encoded(version, &AlterPartitionReassignmentsResponse { error_code: CODE, ..Default::default() })
        }
        ApiKey::ListPartitionReassignments => {
            encoded(version, &ListPartitionReassignmentsResponse { error_code: CODE, ..Default::default() })
        }
        ApiKey::AlterPartition => {
            encoded(version, &AlterPartitionResponse { error_code: CODE, ..Default::default() })
        }
        ApiKey::ControlledShutdown => {
            encoded(version, &ControlledShutdownResponse { error_code: CODE, ..Default::default() })
        }
        ApiKey::AllocateProducerIds => {
            encoded(version, &AllocateProducerIdsResponse { error_code: CODE, ..Default::default() })
        }
        other => unreachable!("{other:?} is not for a controller"),
    }
}

fn encoded<'m>(version: i16, response: &impl Message<'m>) -> Vec<u8> {
    let mut body = Vec::new();
    response.encode(&mut body, version);
    body
}

/// Everything else that this thread does waits for ZooKeeper meanwhile.
async fn patiently<T>(work: impl Future<Output = Result<T, Lost>>) -> Result<T, Lost> {
    match timeout(PATIENCE, work).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Lost::Away { why: format!("no answer within {} s", PATIENCE.as_secs()) }),
    }
}

impl<S: Store> Control<S> {
    pub(super) fn broker_epoch(&mut self) -> i64 {
        self.store.cluster().map_or(-1, |cluster| cluster.broker_epoch())
    }

    pub(super) fn governs(&self) -> bool {
        self.office.is_some()
    }

    /// This broker was elected.
    pub(super) async fn take_office(&mut self) {
        let this = self.store.state().broker_id();
        let Some(cluster) = self.store.cluster() else { return };
        let Some(fence) = cluster.fence() else { return };
        let nodes = ZooKeeperSession(cluster.client().clone());
        let mut seed = (self.random)();
        let terms = controller::Terms {
            broker_id: this,
            protocol: self.config.inter_broker_protocol_version,
            inter_broker_listener: self.config.inter_broker_listener_name.as_str().into(),
            delete_topic_enable: self.config.delete_topic_enable,
            unclean_leader_election: self.config.topic_defaults.unclean_leader_election_enable,
            imbalance_percentage: self.config.leader_imbalance_per_broker_percentage,
            random: Box::new(move || {
                seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
                crate::random::mix(seed)
            }),
        };
        let began = Instant::now();
        match patiently(Controller::elected(nodes, terms, fence)).await {
            Ok(controller) => {
                tracing::info!(
                    epoch = fence.epoch,
                    ms = began.elapsed().as_millis() as u64,
                    "the controller is in office"
                );
                let patience = Duration::from_millis(self.config.controller_socket_timeout_ms.max(1));
                let balances = self.config.auto_leader_rebalance_enable;
                self.office = Some(Box::new(Office {
                    controller,
                    channels: Channels::new(this, patience, self.answered.clone()),
                    epochs: BTreeMap::new(),
                    pending: BTreeMap::new(),
                    next_tag: 0,
                    next_balance: balances.then(|| Instant::now() + FIRST_BALANCE),
                    missed: Vec::new(),
                }));
                self.tell_brokers().await;
            }
            Err(lost) => self.give_up_office(&lost).await,
        }
    }

    pub(super) fn leave_office(&mut self) {
        if self.office.take().is_some() {
            tracing::info!("this broker is not the controller any more");
        }
    }

    async fn give_up_office(&mut self, lost: &Lost) {
        tracing::warn!(%lost, "the controller leaves office");
        self.office = None;
        if let Some(cluster) = self.store.cluster() {
            cluster.resign().await;
        }
    }

    /// Lets the controller do something, and sends what comes of it. `None`: there is none here, or it has just left office.
    async fn govern<T>(
        &mut self,
        act: impl AsyncFnOnce(&mut Controller<ZooKeeperSession>) -> Result<T, Lost>,
    ) -> Option<T> {
        self.office.as_ref()?;
        // The office is kept while the session may still live.
        self.store.cluster()?.client().connected(RECONNECTION).await.ok()?;
        let office = self.office.as_mut()?;
        match patiently(act(&mut office.controller)).await {
            Ok(value) => {
                self.tell_brokers().await;
                Some(value)
            }
            Err(lost) => {
                self.give_up_office(&lost).await;
                None
            }
        }
    }

    /// Sends what the controller has to say; what is meant for this broker is carried out here, and may make it say more.
    async fn tell_brokers(&mut self) {
        let this = self.store.state().broker_id();
        let protocol = self.config.inter_broker_protocol_version;
        loop {
            self.renew_channels().await;
            let Some(office) = &mut self.office else { return };
            let outbox = office.controller.take_outbox();
            if outbox.is_empty() {
                return;
            }
            let mut own = Vec::new();
            for controller::Outgoing { to, request } in outbox {
                if to == this {
                    own.push(request);
                    continue;
                }
                let mut body = Vec::new();
                request.encode(&mut body, protocol);
                let key = ApiKey::from_key(request.api_key()).expect("control requests have keys");
                let tag = office.next_tag;
                office.next_tag += 1;
                let version = request.version(protocol);
                if office.channels.send(to, Outgoing { key, version, body, tag }) {
                    office.pending.insert(tag, (to, request));
                }
            }
            for request in own {
                let mut body = Vec::new();
                request.encode(&mut body, protocol);
                let key = ApiKey::from_key(request.api_key()).expect("control requests have keys");
                let answer = self.obey(key, request.version(protocol), &body).await;
                self.take_answer(this, &request, &answer).await;
            }
        }
    }

    /// A broker, or a new life of one, gets a channel; one that is gone loses it, with what waits there.
    async fn renew_channels(&mut self) {
        let this = self.store.state().broker_id();
        let Some(office) = &mut self.office else { return };
        let members = office.controller.brokers();
        let gone: Vec<BrokerId> = office
            .epochs
            .iter()
            .filter(|(id, epoch)| members.get(id).is_none_or(|member| member.epoch != **epoch))
            .map(|(id, _)| *id)
            .collect();
        let new: Vec<Member> = members
            .values()
            .filter(|member| member.id != this && office.epochs.get(&member.id) != Some(&member.epoch))
            .cloned()
            .collect();
        for id in gone {
            office.channels.close(id);
            office.epochs.remove(&id);
            office.pending.retain(|_, (to, _)| *to != id);
        }
        for member in new {
            let name = self.config.inter_broker_listener_name.clone();
            let Some(listener) = member.listeners.iter().find(|listener| *listener.name == *name) else {
                tracing::error!(
                    broker = member.id.0,
                    listener = name,
                    "a broker has no such listener (inter.broker.listener.name): it cannot be told anything"
                );
                continue;
            };
            let endpoint = Endpoint {
                listener: listener.name.clone(),
                host: listener.host.clone(),
                port: u16::try_from(listener.port).unwrap_or(0),
            };
            let Some(address) = self.address(&endpoint).await else { continue };
            if let Some(office) = &mut self.office {
                office.channels.open(member.id, address);
                office.epochs.insert(member.id, member.epoch);
            }
        }
    }

    /// A broker has answered.
    pub(super) async fn on_answered(&mut self, answered: Answered) {
        let Some(office) = &mut self.office else { return };
        if !office.channels.is_open(&answered) {
            return;
        }
        let Some((broker, request)) = office.pending.remove(&answered.tag) else { return };
        self.take_answer(broker, &request, &answered.body).await;
        self.tell_brokers().await;
    }

    async fn take_answer(&mut self, broker: BrokerId, request: &ControlRequest, body: &[u8]) {
        let protocol = self.config.inter_broker_protocol_version;
        let Some(office) = &mut self.office else { return };
        let answer = match request.answer(body, protocol) {
            Ok(answer) => answer,
            Err(error) => {
                tracing::error!(broker = broker.0, key = request.api_key(), %error, "a broker's answer to its controller cannot be read");
                return;
            }
        };
        let taken = patiently(office.controller.answered(broker, request.broker_epoch(), answer)).await;
        if let Err(lost) = taken {
            self.give_up_office(&lost).await;
        }
    }

    pub(super) async fn on_fired(&mut self, paths: &[String]) {
        let missed = self.office.as_mut().map(|office| std::mem::take(&mut office.missed));
        let mut paths: Vec<String> =
            missed.unwrap_or_default().into_iter().chain(paths.iter().cloned()).collect();
        paths.dedup();
        for path in paths {
            let Some(event) = Event::of_path(&path) else { continue };
            if self.govern(async |controller| controller.handle(event).await).await.is_none()
                && let Some(office) = &mut self.office
            {
                office.missed.push(path);
            }
        }
    }

    /// When watches that fired while ZooKeeper was away are followed.
    pub(super) fn next_missed(&self) -> Option<Instant> {
        let office = self.office.as_ref()?;
        (!office.missed.is_empty()).then(|| Instant::now() + RECONNECTION)
    }

    /// Settings were changed that the controller decides by.
    pub(super) async fn tell_controller_of(&mut self, changes: &[Change]) {
        for change in changes {
            match change {
                Change::OverridesSet { id, .. } => {
                    let Some(name) = self.store.state().topic(id).map(|topic| topic.name.clone()) else {
                        continue;
                    };
                    self.govern(async |controller| controller.topic_settings_changed(&name).await).await;
                }
                Change::SettingsSet { path, .. } if path.starts_with("brokers/") => {
                    let unclean = self.config.topic_defaults.unclean_leader_election_enable;
                    let percentage = self.config.leader_imbalance_per_broker_percentage;
                    self.govern(async |controller| controller.settings_changed(unclean, percentage).await)
                        .await;
                }
                _ => {}
            }
        }
    }

    pub(super) fn next_balance(&self) -> Option<Instant> {
        self.office.as_ref()?.next_balance
    }

    /// Leadership goes back to the preferred replicas where too much of it is elsewhere.
    pub(super) async fn balance(&mut self) {
        let interval = Duration::from_secs(self.config.leader_imbalance_check_interval_seconds.max(1));
        if let Some(office) = &mut self.office {
            office.next_balance = Some(Instant::now() + interval);
        }
        self.govern(async |controller| controller.check_balance().await).await;
    }

    /// A request that only the controller carries out.
    pub(super) async fn govern_by(&mut self, command: &Command) -> Vec<u8> {
        let (version, mut r) = (command.version, Reader::new(&command.body));
        let answer = match command.key {
            ApiKey::ElectLeaders => {
                let request = ElectLeadersRequest::decode(&mut r, version).expect(DECODED);
                let elected = self.govern(async |it| it.elect_leaders(&request, version).await).await;
                elected.map(|elected| encoded(version, &elected.response))
            }
            ApiKey::AlterPartitionReassignments => {
                let request = AlterPartitionReassignmentsRequest::decode(&mut r, version).expect(DECODED);
                let answer = self.govern(async |it| it.alter_reassignments(&request).await).await;
                answer.map(|answer| encoded(version, &answer))
            }
            ApiKey::ListPartitionReassignments => {
                let request = ListPartitionReassignmentsRequest::decode(&mut r, version).expect(DECODED);
                let answer = self.govern(async |it| Ok(it.list_reassignments(&request))).await;
                answer.map(|answer| encoded(version, &answer))
            }
            ApiKey::AlterPartition => self.alter_partition(version, &command.body).await,
            ApiKey::ControlledShutdown => {
                let request = ControlledShutdownRequest::decode(&mut r, version).expect(DECODED);
                let answer = self.govern(async |it| it.controlled_shutdown(&request).await).await;
                answer.map(|answer| encoded(version, &answer))
            }
            ApiKey::AllocateProducerIds => {
                let request = AllocateProducerIdsRequest::decode(&mut r, version).expect(DECODED);
                let answer = self.govern(async |it| it.allocate_producer_ids(&request).await).await;
                answer.map(|answer| encoded(version, &answer))
            }
            other => unreachable!("{other:?} is not for a controller"),
        };
        answer.unwrap_or_else(|| not_controller(command))
    }

    /// AlterPartition; `None` while this broker is not the controller.
    pub(super) async fn alter_partition(&mut self, version: i16, body: &[u8]) -> Option<Vec<u8>> {
        let request = AlterPartitionRequest::decode(&mut Reader::new(body), version).expect(DECODED);
        let answer = self.govern(async |it| it.alter_partition(&request, version).await).await?;
        Some(encoded(version, &answer))
    }

    /// Makes the nodes of topics; where this broker controls, they are led and served when this returns.
    pub(super) async fn create_in_cluster(&mut self, topics: &[NewTopic]) -> Vec<Result<Uuid, Refusal>> {
        let candidates = self.candidates();
        let mut made = Vec::with_capacity(topics.len());
        for topic in topics {
            let begin =
                Begin { index: (self.random)() as usize, shift: (self.random)() as usize, partition: 0 };
            let (partitions, replicas) = (topic.partition_count as usize, topic.replication_factor as usize);
            let spread = match &topic.assigned {
                Some(assigned) => Ok(assigned.clone()),
                None => assignment::assign(&candidates, partitions, replicas, bounded(begin, &candidates)),
            };
            let spread = match spread {
                Ok(spread) => spread,
                Err(why) => {
                    made.push(Err(Refusal::new(ErrorCode::InvalidReplicationFactor, why.to_string())));
                    continue;
                }
            };
            let placements =
                spread.into_iter().map(|replicas| Placement { replicas: replicas.into(), led: None });
            let stored = StoredTopic {
                id: self.store.topic_id(&topic.name, &mut self.random),
                name: topic.name.clone(),
                leader_epochs: vec![0; partitions],
                since: self.store.state().incarnation(),
                overrides: topic.overrides.clone(),
                placements: placements.collect(),
            };
            let Some(cluster) = self.store.cluster() else { continue };
            let outcome = cluster.make_topic(&stored).await.map_err(|error| {
                tracing::error!(topic = %topic.name, %error, "a topic cannot be made");
                store_refusal(&error)
            });
            made.push(outcome.map(|()| told(stored.id)));
        }
        if made.iter().any(Result::is_ok) {
            self.govern(async |controller| controller.handle(Event::Topics).await).await;
        }
        made
    }

    pub(super) async fn delete_in_cluster(&mut self, ids: &[Uuid]) -> Vec<Result<(), Refusal>> {
        let mut asked = Vec::with_capacity(ids.len());
        let mut names = Vec::with_capacity(ids.len());
        for id in ids {
            let name = self.image.load().topic_by_id(id).map(|topic| topic.name.clone());
            let outcome = match (name, self.store.cluster()) {
                (Some(name), Some(cluster)) => {
                    let outcome = cluster.ask_deletion(&name).await;
                    names.push(Some(name));
                    outcome.map_err(|error| store_refusal(&error))
                }
                (_, _) => {
                    names.push(None);
                    Err(Refusal::plain(ErrorCode::UnknownTopicOrPartition))
                }
            };
            asked.push(outcome);
        }
        self.govern(async |controller| controller.handle(Event::Deletions).await).await;
        // What cannot be deleted now, because a replica is out of reach, is deleted when it can be; the client is told so.
        let image = self.image.load();
        for (outcome, id) in asked.iter_mut().zip(ids) {
            if outcome.is_ok() && image.topic_by_id(id).is_some() {
                *outcome = Err(Refusal::plain(ErrorCode::RequestTimedOut));
            }
        }
        asked
    }

    pub(super) async fn grow_in_cluster(&mut self, topics: &[Growth]) -> Vec<Result<(), Refusal>> {
        let candidates = self.candidates();
        let mut grown = Vec::with_capacity(topics.len());
        for growth in topics {
            let now = growth.topic.partitions.len();
            let more = growth.partition_count as usize - now;
            let first = growth.topic.partitions.first().map(|partition| partition.replicas.clone());
            let first = first.unwrap_or_else(|| [].into());
            let leader = first.first().copied().unwrap_or(self.store.state().broker_id());
            let added = match &growth.assigned {
                Some(assigned) => Ok(assigned.clone()),
                None => {
                    let begin = assignment::begin_of_growth(&candidates, leader, now);
                    assignment::assign(&candidates, more, first.len(), begin)
                }
            };
            let added = match added {
                Ok(added) => added,
                Err(why) => {
                    grown.push(Err(Refusal::new(ErrorCode::InvalidReplicationFactor, why.to_string())));
                    continue;
                }
            };
            let name = growth.topic.name.clone();
            let Some(cluster) = self.store.cluster() else { continue };
            let outcome = cluster.grow_topic(&name, now as i32, &added).await.map_err(|error| {
                tracing::error!(topic = %name, %error, "partitions cannot be added");
                store_refusal(&error)
            });
            if outcome.is_ok() {
                let event = Event::Topic(name.to_string());
                self.govern(async |controller| controller.handle(event).await).await;
            }
            grown.push(outcome);
        }
        grown
    }

    /// Brokers that may be given partitions.
    fn candidates(&self) -> Vec<Candidate> {
        let image = self.image.load();
        let brokers = image.cluster().brokers.iter();
        brokers.map(|broker| Candidate { id: broker.id, rack: broker.rack.clone() }).collect()
    }

    /// This broker is about to stop: others lead in its place first. True when nothing is left that only it can lead. `None`: the
    /// controller does not answer.
    pub(super) async fn hand_over_as_controller(&mut self) -> Option<usize> {
        let request = ControlledShutdownRequest {
            broker_id: self.store.state().broker_id().0,
            broker_epoch: self.broker_epoch(),
        };
        let answer = self.govern(async |it| it.controlled_shutdown(&request).await).await?;
        (answer.error_code == 0).then_some(answer.remaining_partitions.len())
    }

    /// Whether everything that the controller has said has been answered.
    pub(super) fn is_heard(&self) -> bool {
        self.office.as_ref().is_none_or(|office| office.pending.is_empty())
    }
}

/// Random numbers, as places in a list.
fn bounded(begin: Begin, candidates: &[Candidate]) -> Begin {
    let count = candidates.len().max(1);
    Begin { index: begin.index % count, shift: begin.shift % count, ..begin }
}
