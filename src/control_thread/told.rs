//! What the controller tells this broker, carried out: LeaderAndIsr, UpdateMetadata, StopReplica (contract 5.6).
//!
//! In: those requests, from another broker's controller or our own. Out: replicas made, led, followed or removed, the image that
//! clients see, and the answer. The state follows what was told, never what ZooKeeper shows meanwhile: a broker whose controller
//! is cut off from ZooKeeper must not know more than its controller.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::api::create_topics::PARTITIONS_MAX;
use crate::api::told::{self, DURING_DELETION, Stopped, ToldPartition, ToldTopic, Voice};
use crate::config::Overrides;
use crate::control_thread::control::Control;
use crate::ids::{BrokerId, Home};
use crate::metadata::fresh_id::{stand_in_id, told as told_id};
use crate::metadata::publish;
use crate::metadata::topic_name;
use crate::metadata::{
    Broker, Change, Cluster, Difference, Endpoint, Image, Led, NewLead, NewReplica, Placement, Store,
    StoredTopic,
};
use crate::replication::{Duty, Term};
use crate::wire::error_code::ErrorCode;
use crate::wire::message::Message;
use crate::wire::message::leader_and_isr::LeaderAndIsrRequest;
use crate::wire::message::stop_replica::StopReplicaRequest;
use crate::wire::message::update_metadata::UpdateMetadataRequest;
use crate::wire::primitive::{Reader, Uuid};
use crate::wire::version::ApiKey;

/// A host name that is not resolved in this time is tried again with the next news of the brokers.
const RESOLUTION_MAX: Duration = Duration::from_secs(2);
const DECODED: &str = "the body was decoded before it became a command";

/// What a broker of a cluster remembers of what it was told, beside the state.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// The highest that was heard.
    controller_epoch: i32,
    /// The replicas here, also those of topics that are no longer shown.
    homes: HashMap<(Arc<str>, i32), Home>,
    /// The leader epochs under which LeaderAndIsr told what each replica here is. Before the first one it is nothing.
    terms: HashMap<(Arc<str>, i32), i32>,
    addresses: HashMap<(Arc<str>, u16), SocketAddr>,
    /// Where the other brokers were last.
    reached: Vec<(BrokerId, SocketAddr)>,
}

impl Memory {
    pub fn of(image: &Image) -> Memory {
        let mut memory = Memory::default();
        for topic in image.topics() {
            for (number, partition) in (0..).zip(topic.partitions.iter()) {
                if let Some(home) = partition.replica {
                    memory.homes.insert((topic.name.clone(), number), home);
                }
            }
        }
        memory
    }
}

impl<S: Store> Control<S> {
    /// Carries out one of the three requests and gives back the body of its answer.
    pub(super) async fn obey(&mut self, key: ApiKey, version: i16, body: &[u8]) -> Vec<u8> {
        let mut r = Reader::new(body);
        match key {
            ApiKey::LeaderAndIsr => {
                let request = LeaderAndIsrRequest::decode(&mut r, version).expect(DECODED);
                let (voice, topics) = told::leader_and_isr(&request);
                match self.listen_to(voice) {
                    Ok(()) => {
                        let outcomes = self.take_decisions(&topics).await;
                        told::answer_leader_and_isr(version, ErrorCode::None, &topics, &outcomes)
                    }
                    Err(error) => told::answer_leader_and_isr(version, error, &[], &[]),
                }
            }
            ApiKey::UpdateMetadata => {
                let request = UpdateMetadataRequest::decode(&mut r, version).expect(DECODED);
                let (voice, brokers, topics) = told::update_metadata(&request);
                let error = match self.listen_to(voice) {
                    Ok(()) => {
                        self.take_brokers(voice.controller, brokers).await;
                        self.take_metadata(&topics).await;
                        ErrorCode::None
                    }
                    Err(error) => error,
                };
                told::answer_update_metadata(version, error)
            }
            ApiKey::StopReplica => {
                let request = StopReplicaRequest::decode(&mut r, version).expect(DECODED);
                let (voice, stopped) = told::stop_replica(&request);
                match self.listen_to(voice) {
                    Ok(()) => {
                        let outcomes = self.take_stops(&stopped).await;
                        told::answer_stop_replica(version, ErrorCode::None, &stopped, &outcomes)
                    }
                    Err(error) => told::answer_stop_replica(version, error, &[], &[]),
                }
            }
            other => unreachable!("{other:?} is not said by a controller"),
        }
    }

    /// A controller of an older epoch, or who means an earlier life of this broker, is not believed.
    fn listen_to(&mut self, voice: Voice) -> Result<(), ErrorCode> {
        if !S::SHARED {
            return Err(ErrorCode::StaleControllerEpoch); // a broker that is alone has no controller
        }
        let ours = self.store.cluster().map_or(-1, |cluster| cluster.broker_epoch());
        if voice.broker_epoch >= 0 && voice.broker_epoch < ours {
            tracing::warn!(
                controller = voice.controller.0,
                meant = voice.broker_epoch,
                ours,
                "a controller means an earlier life of this broker"
            );
            return Err(ErrorCode::StaleBrokerEpoch);
        }
        let highest = self.memory.controller_epoch;
        if voice.controller_epoch < highest {
            tracing::warn!(
                controller = voice.controller.0,
                epoch = voice.controller_epoch,
                highest,
                "a controller that was replaced is not believed"
            );
            return Err(ErrorCode::StaleControllerEpoch);
        }
        self.memory.controller_epoch = voice.controller_epoch;
        Ok(())
    }

    /// LeaderAndIsr: what each replica here is from now on. An outcome for each partition.
    async fn take_decisions(&mut self, topics: &[ToldTopic]) -> Vec<Vec<ErrorCode>> {
        let this = self.store.state().broker_id();
        let mut outcomes: Vec<Vec<ErrorCode>> =
            topics.iter().map(|topic| vec![ErrorCode::None; topic.partitions.len()]).collect();
        let mut accepted: Vec<ToldTopic> = Vec::new();
        for (topic, outcomes) in topics.iter().zip(&mut outcomes) {
            let known = self.store.state().topic_named(&topic.name).map(|known| told_id(known.id));
            let is_other = known.is_some_and(|id| !id.is_zero() && !topic.id.is_zero() && id != topic.id)
                && topic.partitions.iter().any(|told| self.term_of(&topic.name, told.partition).is_some());
            let mut partitions = Vec::new();
            for (told, outcome) in topic.partitions.iter().zip(outcomes) {
                let term = self.term_of(&topic.name, told.partition);
                *outcome = if topic_name::check(&topic.name).is_err() {
                    // It would be the name of a directory.
                    ErrorCode::InvalidTopicException
                } else if is_other {
                    ErrorCode::InconsistentTopicId
                } else if !told.replicas.contains(&this) || !can_be(told.partition) {
                    ErrorCode::UnknownTopicOrPartition
                } else if term.is_some_and(|term| told.leader_epoch <= term) {
                    ErrorCode::StaleControllerEpoch
                } else {
                    partitions.push(told.clone());
                    ErrorCode::None
                };
            }
            if !partitions.is_empty() {
                accepted.push(ToldTopic { name: topic.name.clone(), id: topic.id, partitions });
            }
        }
        self.learn(&accepted).await;
        let failed = self.make_replicas(&accepted).await;
        let mut terms = Vec::new();
        for topic in &accepted {
            let Some(stored) = self.store.state().topic_named(&topic.name).cloned() else { continue };
            for told in &topic.partitions {
                let at = (topic.name.clone(), told.partition);
                let Some(home) = self.memory.homes.get(&at).copied() else { continue };
                self.memory.terms.insert(at, told.leader_epoch);
                terms.push((home, publish::term(self.store.state(), &stored, told.partition)));
            }
        }
        // Replicas first, then the clients that are sent to them.
        if !terms.is_empty() && self.replicas.begin_terms(terms).await.is_err() {
            tracing::error!("the IO threads ended before they began the new terms");
        }
        self.show(accepted.iter().map(|topic| &topic.name));
        for (topic, outcomes) in topics.iter().zip(&mut outcomes) {
            for (told, outcome) in topic.partitions.iter().zip(outcomes) {
                if *outcome == ErrorCode::None && failed.contains_key(&(topic.name.clone(), told.partition)) {
                    *outcome = ErrorCode::KafkaStorageError;
                }
            }
        }
        outcomes
    }

    fn term_of(&self, topic: &Arc<str>, partition: i32) -> Option<i32> {
        self.memory.terms.get(&(topic.clone(), partition)).copied()
    }

    /// Makes the replicas that are to be here and are not. Those that could not be made, and why.
    async fn make_replicas(&mut self, topics: &[ToldTopic]) -> BTreeMap<(Arc<str>, i32), String> {
        let mut wanted: Vec<NewReplica> = Vec::new();
        for topic in topics {
            let Some(stored) = self.store.state().topic_named(&topic.name).cloned() else { continue };
            let config = self.topic_configs.of(&stored);
            for told in &topic.partitions {
                if self.memory.homes.contains_key(&(topic.name.clone(), told.partition)) {
                    continue;
                }
                let one = told.partition..told.partition + 1;
                wanted.extend(publish::replicas(self.store.state(), &stored, &config, one));
            }
        }
        let mut failed = BTreeMap::new();
        if wanted.is_empty() {
            return failed;
        }
        let made = self.make(wanted.clone()).await;
        for (replica, made) in wanted.into_iter().zip(made) {
            let at = (replica.topic, replica.partition);
            match made {
                Ok(home) => {
                    self.memory.homes.insert(at, home);
                }
                Err(why) => {
                    tracing::error!(topic = %at.0, partition = at.1, why, "a replica cannot be made");
                    failed.insert(at, why);
                }
            }
        }
        failed
    }

    /// UpdateMetadata: partitions as clients are to see them.
    async fn take_metadata(&mut self, topics: &[ToldTopic]) {
        let gone = |told: &ToldPartition| told.leader == DURING_DELETION;
        let deleted: Vec<Arc<str>> = topics
            .iter()
            .filter(|topic| topic.partitions.iter().any(gone))
            .map(|topic| topic.name.clone())
            .collect();
        self.forget_topics(&deleted);
        let shown: Vec<ToldTopic> = topics
            .iter()
            .filter(|topic| !deleted.contains(&topic.name))
            .map(|topic| ToldTopic {
                name: topic.name.clone(),
                id: topic.id,
                partitions: topic
                    .partitions
                    .iter()
                    .filter(|told| self.is_news(&topic.name, told))
                    .cloned()
                    .collect(),
            })
            .filter(|topic| !topic.partitions.is_empty())
            .collect();
        self.learn(&shown).await;
        self.show(shown.iter().map(|topic| &topic.name));
    }

    /// Requests to several brokers overtake what leaders do themselves: only what is later counts.
    fn is_news(&self, topic: &Arc<str>, told: &ToldPartition) -> bool {
        if !can_be(told.partition) || topic_name::check(topic).is_err() {
            return false;
        }
        let Some(stored) = self.store.state().topic_named(topic) else { return true };
        let Some(placement) = stored.placement(told.partition) else { return true };
        let Some(led) = &placement.led else { return true };
        let known = (stored.leader_epochs[told.partition as usize], led.version);
        (told.leader_epoch, told.partition_epoch) > known
            || placement.replicas != told.replicas
            || (told.leader_epoch, told.partition_epoch) == known
                && (led.isr != told.isr || led.leader != leader_of(told))
    }

    /// Topics that are being deleted are no longer shown. Their replicas stay until they are told to go.
    fn forget_topics(&mut self, names: &[Arc<str>]) {
        let mut changes = Vec::new();
        let mut gone = Vec::new();
        for name in names {
            if let Some(topic) = self.store.state().topic_named(name) {
                changes.extend([Change::DeleteBegun { id: topic.id }, Change::DeleteDone { id: topic.id }]);
                gone.push(Difference::Remove(topic.id));
            }
        }
        self.note(changes);
        self.image.store(Arc::new(self.image.load().with(gone)));
    }

    /// StopReplica: replicas serve no more; some go for good.
    async fn take_stops(&mut self, stopped: &[Stopped]) -> Vec<ErrorCode> {
        let mut outcomes = Vec::with_capacity(stopped.len());
        let mut waiting: Vec<(Home, Term)> = Vec::new();
        let mut removed: Vec<(Arc<str>, i32)> = Vec::new();
        for stop in stopped {
            let at = (stop.topic.clone(), stop.partition);
            let term = self.memory.terms.get(&at).copied();
            let is_fenced = stop.leader_epoch >= 0 && term.is_some_and(|term| stop.leader_epoch < term);
            outcomes.push(if is_fenced { ErrorCode::FencedLeaderEpoch } else { ErrorCode::None });
            let Some(home) = self.memory.homes.get(&at).copied().filter(|_| !is_fenced) else { continue };
            let epoch = crate::ids::LeaderEpoch(term.unwrap_or(-1).max(stop.leader_epoch));
            waiting.push((home, Term { epoch, topic_id: Uuid::ZERO, duty: Duty::Wait }));
            if stop.delete {
                removed.push(at);
            }
        }
        if !waiting.is_empty() && self.replicas.begin_terms(waiting).await.is_err() {
            tracing::error!("the IO threads ended before they stopped replicas");
        }
        let homes: Vec<Home> = removed.iter().filter_map(|at| self.memory.homes.get(at).copied()).collect();
        let results = self.remove(homes).await;
        for (at, result) in removed.iter().zip(results) {
            self.memory.terms.remove(at);
            match result {
                Ok(()) => {
                    self.memory.homes.remove(at);
                }
                Err(why) => {
                    tracing::error!(topic = %at.0, partition = at.1, why, "a replica could not be removed");
                    let place = stopped.iter().position(|stop| stop.topic == at.0 && stop.partition == at.1);
                    if let Some(place) = place {
                        outcomes[place] = ErrorCode::KafkaStorageError;
                    }
                }
            }
        }
        self.show(removed.iter().map(|(topic, _)| topic));
        outcomes
    }

    /// The state becomes what was told of these partitions.
    async fn learn(&mut self, topics: &[ToldTopic]) {
        let mut changes = Vec::new();
        for told in topics {
            let existing = self.store.state().topic_named(&told.name).cloned();
            let same = existing.filter(|known| told.id.is_zero() || known.id == told.id);
            let overrides = match &same {
                Some(known) => known.overrides.clone(),
                None => self.settings_of(&told.name).await,
            };
            changes.extend(self.changes_for(told, same, overrides));
        }
        self.note(changes);
    }

    async fn settings_of(&mut self, topic: &str) -> Overrides {
        let Some(cluster) = self.store.cluster() else { return Overrides::new() };
        match cluster.topic_settings(topic).await {
            Ok(overrides) => overrides,
            Err(error) => {
                tracing::error!(topic, %error, "the topic's settings cannot be read: the broker's are taken until they change");
                Overrides::new()
            }
        }
    }

    fn changes_for(
        &self,
        told: &ToldTopic,
        known: Option<Arc<StoredTopic>>,
        overrides: Overrides,
    ) -> Vec<Change> {
        let fits = known.as_ref().is_some_and(|known| {
            told.partitions.iter().all(|told| {
                known.placement(told.partition).is_some_and(|place| place.replicas == told.replicas)
            })
        });
        if let (true, Some(known)) = (fits, &known) {
            let leads = told.partitions.iter().map(|told| NewLead {
                partition: told.partition,
                leader_epoch: told.leader_epoch,
                led: led(told),
            });
            return vec![Change::LeadsSet { id: known.id, leads: leads.collect() }];
        }
        let mut topic = match &known {
            Some(known) => (**known).clone(),
            None => StoredTopic {
                id: if told.id.is_zero() { stand_in_id(&told.name) } else { told.id },
                name: told.name.clone(),
                leader_epochs: Vec::new(),
                since: self.store.state().incarnation(),
                overrides,
                placements: Vec::new(),
            },
        };
        for told in &told.partitions {
            // Of partitions that are elsewhere nothing is known until UpdateMetadata comes.
            let place = told.partition as usize;
            if topic.placements.len() <= place {
                topic.placements.resize(place + 1, Placement { replicas: [].into(), led: None });
                topic.leader_epochs.resize(place + 1, 0);
            }
            topic.placements[place] = Placement { replicas: told.replicas.clone(), led: Some(led(told)) };
            topic.leader_epochs[place] = told.leader_epoch;
        }
        let mut changes = Vec::new();
        if let Some(old) = self.store.state().topic_named(&told.name) {
            changes.extend([Change::DeleteBegun { id: old.id }, Change::DeleteDone { id: old.id }]);
        }
        changes.push(Change::TopicAdded(Arc::new(topic)));
        changes
    }

    /// The state and the copy of it follow.
    pub(super) fn note(&mut self, changes: Vec<Change>) {
        if changes.is_empty() {
            return;
        }
        let Some(cluster) = self.store.cluster() else { return };
        if let Err(error) = cluster.learn(&changes, self.memory.controller_epoch) {
            tracing::error!(%error, "what the controller told does not fit what is known");
        }
    }

    /// Puts topics into the image as the state has them.
    pub(super) fn show<'n>(&mut self, names: impl Iterator<Item = &'n Arc<str>>) {
        let image = self.image.load_full();
        let state = self.store.state();
        let mut put = Vec::new();
        for name in names {
            let Some(stored) = state.topic_named(name) else { continue };
            let config = match image.topic_by_id(&stored.id) {
                Some(topic) => topic.config.clone(),
                None => self.topic_configs.of(stored),
            };
            let homes = (0..stored.partition_count())
                .map(|number| self.memory.homes.get(&(stored.name.clone(), number)).copied());
            put.push(Difference::Put(Arc::new(publish::topic(state, stored, &config, homes))));
        }
        if !put.is_empty() {
            self.image.store(Arc::new(image.with(put)));
        }
    }

    /// Who lives, and where.
    async fn take_brokers(&mut self, controller: BrokerId, brokers: Vec<Broker>) {
        let image = self.image.load_full();
        let before = image.cluster();
        let cluster = Cluster { controller: Some(controller), brokers: brokers.into(), ..before.clone() };
        if cluster != *before {
            tracing::info!(
                controller = controller.0,
                brokers =
                    cluster.brokers.iter().map(|broker| broker.id.to_string()).collect::<Vec<_>>().join(","),
                "the cluster"
            );
            self.image.store(Arc::new(image.with([Difference::Cluster(cluster.clone())])));
        }
        let listener = self.config.inter_broker_listener_name.clone();
        let mut reached = Vec::new();
        for broker in cluster.brokers.iter() {
            let Some(endpoint) = broker.endpoint(&listener) else { continue };
            if let Some(address) = self.address(endpoint).await {
                reached.push((broker.id, address));
            }
        }
        if reached != self.memory.reached {
            self.memory.reached.clone_from(&reached);
            self.replicas.follow_brokers(reached.into());
        }
    }

    /// Where brokers reach another one.
    pub(super) fn address_of(&self, id: BrokerId) -> Option<SocketAddr> {
        self.memory.reached.iter().find(|(other, _)| *other == id).map(|(_, address)| *address)
    }

    /// Looked up once; a name that cannot be resolved is asked for again.
    pub(super) async fn address(&mut self, endpoint: &Endpoint) -> Option<SocketAddr> {
        if let Ok(ip) = endpoint.host.parse::<IpAddr>() {
            return Some(SocketAddr::new(ip, endpoint.port));
        }
        let key = (endpoint.host.clone(), endpoint.port);
        if let Some(address) = self.memory.addresses.get(&key) {
            return Some(*address);
        }
        let found =
            tokio::time::timeout(RESOLUTION_MAX, tokio::net::lookup_host((&*endpoint.host, endpoint.port)));
        match found.await {
            Ok(Ok(mut addresses)) => {
                let address = addresses.next()?;
                self.memory.addresses.insert(key, address);
                Some(address)
            }
            Ok(Err(error)) => {
                tracing::warn!(host = %endpoint.host, %error, "a broker's host name cannot be resolved");
                None
            }
            Err(_) => {
                tracing::warn!(host = %endpoint.host, "a broker's host name is not resolved in time");
                None
            }
        }
    }
}

/// Whether a topic can have a partition of this number: whoever can reach the broker can say what a controller says.
fn can_be(partition: i32) -> bool {
    (0..PARTITIONS_MAX).contains(&i64::from(partition))
}

fn leader_of(told: &ToldPartition) -> Option<BrokerId> {
    (told.leader >= 0).then_some(BrokerId(told.leader))
}

fn led(told: &ToldPartition) -> Led {
    Led {
        leader: leader_of(told),
        isr: told.isr.clone(),
        controller_epoch: told.controller_epoch,
        recovering: told.recovering,
        version: told.partition_epoch,
    }
}
