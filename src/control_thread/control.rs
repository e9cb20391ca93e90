//! How a command becomes a change: checked against the image, committed, followed by the replicas, published, answered.
//!
//! In: a command. Out: the body of its response. The order never varies, so a stop at any point leaves either no
//! trace or a commit that the next start carries out. What the replicas cannot follow is taken back by another commit.

use std::ops::Range;
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::api::admin::{Command, Context, Refusal};
use crate::api::alter_configs::Target;
use crate::api::create_partitions::Growth;
use crate::api::create_topics::NewTopic;
use crate::api::{
    alter_configs, client_quotas, create_partitions, create_topics, delete_records, delete_topics,
    describe_log_dirs, describe_producers, find_coordinator, init_producer_id, metadata,
    offset_for_leader_epoch, scram_credentials,
};
use crate::config::{Config, Overrides, TopicConfig};
use crate::control_thread::hand_over::{HandingOver, TriedSender};
use crate::control_thread::in_sync::{Concluded, InSync};
use crate::control_thread::office::{self, Office};
use crate::control_thread::peers;
use crate::control_thread::told::Memory;
use crate::ids::{BrokerId, Home, LeaderEpoch, ProducerId};
use crate::metadata::fresh_id::{Random, told};
use crate::metadata::publish::{self, TopicConfigs};
use crate::metadata::zookeeper::jute::ZkError;
use crate::metadata::zookeeper::znode;
use crate::metadata::{
    Answer, Change, Cluster, Difference, Event, NewReplica, Question, Replicas, SharedImage, Store,
    StoreError, StoredTopic, Topic, settings_path, topic_name,
};
use crate::wire::error_code::ErrorCode;
use crate::wire::message::Message;
use crate::wire::message::alter_client_quotas::AlterClientQuotasRequest;
use crate::wire::message::alter_configs::AlterConfigsRequest;
use crate::wire::message::alter_user_scram_credentials::AlterUserScramCredentialsRequest;
use crate::wire::message::create_partitions::CreatePartitionsRequest;
use crate::wire::message::create_topics::CreateTopicsRequest;
use crate::wire::message::delete_records::DeleteRecordsRequest;
use crate::wire::message::delete_topics::DeleteTopicsRequest;
use crate::wire::message::describe_client_quotas::DescribeClientQuotasRequest;
use crate::wire::message::describe_log_dirs::DescribeLogDirsRequest;
use crate::wire::message::describe_producers::DescribeProducersRequest;
use crate::wire::message::describe_user_scram_credentials::DescribeUserScramCredentialsRequest;
use crate::wire::message::find_coordinator::FindCoordinatorRequest;
use crate::wire::message::incremental_alter_configs::IncrementalAlterConfigsRequest;
use crate::wire::message::metadata::MetadataRequest;
use crate::wire::message::offset_for_leader_epoch::OffsetForLeaderEpochRequest;
use crate::wire::primitive::{Reader, Uuid};
use crate::wire::version::ApiKey;

/// Where work reports that goes on beside the control thread's own.
pub(super) struct Reports {
    pub conclude: mpsc::UnboundedSender<Concluded>,
    pub answered: mpsc::UnboundedSender<peers::Answered>,
    pub tried: TriedSender,
}

pub struct Control<S> {
    pub(super) store: S,
    pub(super) image: SharedImage,
    pub(super) config: Arc<Config>,
    pub(super) topic_configs: TopicConfigs,
    pub(super) replicas: Box<dyn Replicas>,
    pub(super) memory: Memory,
    pub(super) in_sync: InSync,
    pub(super) random: Random,
    /// What is left of the block that the store gave away. A stop loses it.
    producer_ids: Range<i64>,
    /// While this broker controls the cluster.
    pub(super) office: Option<Box<Office>>,
    pub(super) answered: mpsc::UnboundedSender<peers::Answered>,
    /// While this broker is about to stop.
    pub(super) handing_over: Option<HandingOver>,
    pub(super) tried: TriedSender,
}

impl<S: Store> Control<S> {
    pub fn new(
        store: S,
        image: SharedImage,
        config: Arc<Config>,
        replicas: Box<dyn Replicas>,
        random: Random,
        reports: Reports,
    ) -> Control<S> {
        let Reports { conclude, answered, tried } = reports;
        let topic_configs = TopicConfigs::new(config.clone());
        let producer_ids = 0..0;
        let memory = if S::SHARED { Memory::of(&image.load()) } else { Memory::default() };
        Control {
            store,
            image,
            config,
            topic_configs,
            replicas,
            memory,
            in_sync: InSync::new(conclude),
            random,
            producer_ids,
            office: None,
            answered,
            handing_over: None,
            tried,
        }
    }

    #[cfg(test)]
    pub fn state(&self) -> &crate::metadata::State {
        self.store.state()
    }

    #[cfg(test)]
    pub fn into_store(self) -> S {
        self.store
    }

    /// Waits until something happened elsewhere; may be dropped.
    pub async fn stirred(&mut self) {
        self.store.stirred().await;
    }

    /// Follows what happened elsewhere.
    pub async fn follow_news(&mut self) {
        for event in self.store.news().await {
            match event {
                Event::Controller(controller) => self.follow_controller(controller),
                Event::Changed(changes) => {
                    self.follow(&changes, Failed::Stays).await;
                    self.tell_controller_of(&changes).await;
                }
                Event::Elected => self.take_office().await,
                Event::Resigned => self.leave_office(),
                Event::Fired(paths) => self.on_fired(&paths).await,
            }
        }
    }

    /// The end: the others are told that this broker goes.
    pub async fn leave(&mut self) {
        self.leave_office();
        self.store.leave().await;
    }

    fn follow_controller(&mut self, controller: Option<BrokerId>) {
        let image = self.image.load();
        let cluster = Cluster { controller, ..image.cluster().clone() };
        self.image.store(Arc::new(image.with([Difference::Cluster(cluster)])));
    }

    pub async fn carry_out(&mut self, command: &Command) -> Vec<u8> {
        const DECODED: &str = "the body was decoded before it became a command";
        let (image, config) = (self.image.load_full(), self.config.clone());
        let ctx = Context { image: &image, config: &config, listener: &command.listener };
        let (version, mut r) = (command.version, Reader::new(&command.body));
        if S::SHARED && office::is_for_controller(command.key) {
            return self.govern_by(command).await;
        }
        if S::SHARED && office::changes_topics(command.key) && !self.governs() {
            return office::not_controller(command);
        }
        match command.key {
            ApiKey::CreateTopics => {
                let request = CreateTopicsRequest::decode(&mut r, version).expect(DECODED);
                let plan = create_topics::plan(&ctx, &request);
                let made = if request.validate_only {
                    vec![Ok(Uuid::ZERO); plan.topics.len()]
                } else {
                    self.create(&plan.topics).await
                };
                plan.respond(&ctx, version, &made)
            }
            ApiKey::Metadata => {
                let request = MetadataRequest::decode(&mut r, version).expect(DECODED);
                let names = metadata::names_to_create(&ctx, &request, version);
                let plan = create_topics::plan_defaults(&ctx, names);
                let made = self.create(&plan.topics).await;
                let mut not_created = metadata::NotCreated::default();
                plan.failures(&made).for_each(|(name, code)| not_created.insert(name, code));
                let after = self.image.load_full();
                metadata::respond(&Context { image: &after, ..ctx }, &request, version, &not_created)
            }
            ApiKey::FindCoordinator => {
                let request = FindCoordinatorRequest::decode(&mut r, version).expect(DECODED);
                let plan = create_topics::plan_defaults(&ctx, std::iter::once(topic_name::OFFSETS));
                let made = self.create(&plan.topics).await;
                let refusal = plan.refusal(&made);
                if let Some(Refusal { message: Some(why), .. }) = &refusal {
                    tracing::warn!(
                        topic = topic_name::OFFSETS,
                        why,
                        "the topic that keeps groups cannot be made"
                    );
                }
                let after = self.image.load_full();
                let ctx = Context { image: &after, ..ctx };
                find_coordinator::respond(&ctx, &request, version, refusal.as_ref())
            }
            ApiKey::DeleteTopics => {
                let request = DeleteTopicsRequest::decode(&mut r, version).expect(DECODED);
                let plan = delete_topics::plan(&ctx, &request, version);
                let deleted = self.delete(&plan.topics).await;
                plan.respond(version, &deleted)
            }
            ApiKey::CreatePartitions => {
                let request = CreatePartitionsRequest::decode(&mut r, version).expect(DECODED);
                let plan = create_partitions::plan(&ctx, &request);
                let made = if request.validate_only {
                    vec![Ok(()); plan.topics.len()]
                } else {
                    self.grow(&plan.topics).await
                };
                plan.respond(version, &made)
            }
            ApiKey::AlterConfigs => {
                let request = AlterConfigsRequest::decode(&mut r, version).expect(DECODED);
                let plan = alter_configs::plan(&ctx, &request);
                let stored = self.alter(&plan.targets).await;
                plan.respond(version, &stored)
            }
            ApiKey::IncrementalAlterConfigs => {
                let request = IncrementalAlterConfigsRequest::decode(&mut r, version).expect(DECODED);
                let plan = alter_configs::plan_incremental(&ctx, &request);
                let stored = self.alter(&plan.targets).await;
                plan.respond_incremental(version, &stored)
            }
            ApiKey::DeleteRecords => {
                let request = DeleteRecordsRequest::decode(&mut r, version).expect(DECODED);
                let asked = delete_records::plan(&ctx, &request);
                let answers = self.ask(&asked.questions).await;
                delete_records::respond(&asked, &answers, version)
            }
            ApiKey::OffsetForLeaderEpoch => {
                let request = OffsetForLeaderEpochRequest::decode(&mut r, version).expect(DECODED);
                let asked = offset_for_leader_epoch::plan(&ctx, &request);
                let answers = self.ask(&asked.questions).await;
                offset_for_leader_epoch::respond(&asked, &answers, version)
            }
            ApiKey::DescribeProducers => {
                let request = DescribeProducersRequest::decode(&mut r, version).expect(DECODED);
                let asked = describe_producers::plan(&ctx, &request);
                let answers = self.ask(&asked.questions).await;
                describe_producers::respond(&asked, &answers, version)
            }
            ApiKey::DescribeLogDirs => {
                let request = DescribeLogDirsRequest::decode(&mut r, version).expect(DECODED);
                let plan = describe_log_dirs::plan(&ctx, &request);
                let answers = self.ask(&plan.questions).await;
                describe_log_dirs::respond(&plan, &answers, &self.replicas.directories(), version)
            }
            ApiKey::DescribeClientQuotas => {
                let request = DescribeClientQuotasRequest::decode(&mut r, version).expect(DECODED);
                client_quotas::describe(self.store.state(), &request, version)
            }
            ApiKey::AlterClientQuotas => {
                let request = AlterClientQuotasRequest::decode(&mut r, version).expect(DECODED);
                let plan = client_quotas::plan(self.store.state(), &request);
                let stored = self.store_each(&plan.changes).await;
                plan.respond(version, &stored)
            }
            ApiKey::DescribeUserScramCredentials => {
                let request = DescribeUserScramCredentialsRequest::decode(&mut r, version).expect(DECODED);
                scram_credentials::describe(self.store.state(), &request, version)
            }
            ApiKey::AlterUserScramCredentials => {
                let request = AlterUserScramCredentialsRequest::decode(&mut r, version).expect(DECODED);
                let plan = scram_credentials::plan(self.store.state(), &request);
                let stored = self.store_each(&plan.changes).await;
                plan.respond(version, &stored)
            }
            ApiKey::LeaderAndIsr | ApiKey::UpdateMetadata | ApiKey::StopReplica => {
                self.obey(command.key, version, &command.body).await
            }
            ApiKey::AlterPartition | ApiKey::ControlledShutdown | ApiKey::AllocateProducerIds => {
                office::not_controller(command)
            }
            ApiKey::InitProducerId => init_producer_id::respond(version, self.producer_id().await),
            other => unreachable!("{other:?} never becomes a command"),
        }
    }

    async fn ask(&self, questions: &[(Home, Question)]) -> Vec<Answer> {
        match self.replicas.ask(questions.to_vec()).await {
            Ok(answers) => answers,
            Err(_) => vec![Answer::Refused(ErrorCode::KafkaStorageError); questions.len()],
        }
    }

    /// Stores new settings of topics and brokers, each by itself, and lets them take effect.
    async fn alter(&mut self, targets: &[Target]) -> Vec<Result<(), Refusal>> {
        let broker_id = self.store.state().broker_id();
        let changes = targets.iter().map(|target| match target {
            Target::Topic { id, overrides } => Change::OverridesSet { id: *id, overrides: overrides.clone() },
            Target::Broker { own, settings } => {
                let path = match own {
                    true => settings_path::broker(broker_id).into(),
                    false => settings_path::ALL_BROKERS.into(),
                };
                Change::SettingsSet { path, settings: settings.clone() }
            }
        });
        let changes: Vec<Change> = changes.collect();
        let stored = self.store_each(&changes).await;
        self.tell_controller_of(&changes).await;
        stored
    }

    /// Commits changes that do not depend on each other.
    async fn store_each(&mut self, changes: &[Change]) -> Vec<Result<(), Refusal>> {
        if changes.is_empty() {
            return Vec::new();
        }
        self.commit_and_follow(changes.to_vec()).await
    }

    pub(super) async fn create(&mut self, topics: &[NewTopic]) -> Vec<Result<Uuid, Refusal>> {
        if S::SHARED {
            return self.create_in_cluster(topics).await;
        }
        let since = self.store.state().incarnation();
        let changes: Vec<Change> = topics
            .iter()
            .map(|topic| {
                Change::TopicAdded(Arc::new(StoredTopic {
                    id: self.store.topic_id(&topic.name, &mut self.random),
                    name: topic.name.clone(),
                    leader_epochs: vec![0; topic.partition_count as usize],
                    since,
                    overrides: topic.overrides.clone(),
                    placements: Vec::new(),
                }))
            })
            .collect();
        let results = self.commit_and_follow(changes.clone()).await;
        let ids = changes.iter().map(|change| match change {
            Change::TopicAdded(topic) => topic.id,
            other => unreachable!("{other:?} was not asked for"),
        });
        let made: Vec<(Uuid, Result<(), Refusal>)> = ids.zip(results).collect();
        let failed = made.iter().filter(|(_, result)| result.is_err()).map(|(id, _)| *id);
        let failed: Vec<Uuid> = failed.filter(|id| self.store.state().topic(id).is_some()).collect();
        self.forget(&failed).await;
        made.into_iter().map(|(id, result)| result.map(|()| told(id))).collect()
    }

    /// Deletes topics that could not be made whole. Their replicas that were made are gone already.
    async fn forget(&mut self, ids: &[Uuid]) {
        let begun = ids.iter().map(|id| Change::DeleteBegun { id: *id });
        let changes: Vec<Change> = begun.chain(ids.iter().map(|id| Change::DeleteDone { id: *id })).collect();
        if let Err(error) = self.store.commit(changes).await {
            tracing::error!(%error, "topics that could not be made come back at the next start");
        }
    }

    pub(super) async fn delete(&mut self, ids: &[Uuid]) -> Vec<Result<(), Refusal>> {
        if S::SHARED {
            return self.delete_in_cluster(ids).await;
        }
        let changes: Vec<Change> = ids.iter().map(|id| Change::DeleteBegun { id: *id }).collect();
        let results = self.commit_and_follow(changes).await;
        let done: Vec<Uuid> =
            ids.iter().zip(&results).filter(|(_, result)| result.is_ok()).map(|(id, _)| *id).collect();
        self.finish_deletions(&done).await;
        results
    }

    /// No replica of these topics is left here: nothing of them is.
    async fn finish_deletions(&mut self, ids: &[Uuid]) {
        let spread = ids.iter().filter(|id| self.store.state().spread_over(id).is_some());
        let forgotten = spread.map(|id| Change::SettingsSet {
            path: settings_path::spread(id).into(),
            settings: Overrides::new(),
        });
        let done: Vec<Change> =
            ids.iter().map(|id| Change::DeleteDone { id: *id }).chain(forgotten).collect();
        if let Err(error) = self.store.commit(done).await {
            // The deletion itself is durable; the next start finds nothing left to remove and says so here.
            tracing::error!(%error, "the end of a deletion is not stored");
        }
    }

    pub(super) async fn grow(&mut self, topics: &[Growth]) -> Vec<Result<(), Refusal>> {
        if S::SHARED {
            return self.grow_in_cluster(topics).await;
        }
        let state = self.store.state();
        let stored = topics.iter().map(|growth| state.topic(&growth.topic.id));
        let grown: Option<Vec<Change>> = stored
            .zip(topics)
            .map(|(stored, growth)| {
                let more = growth.partition_count as usize - growth.topic.partitions.len();
                let epoch = state.stored_epoch(stored?, LeaderEpoch(0));
                Some(Change::PartitionsAdded {
                    id: growth.topic.id,
                    leader_epochs: vec![epoch; more],
                    placements: Vec::new(),
                })
            })
            .collect();
        // The image is made from the state on this very thread, so this is an answer and not a panic only out of care.
        let Some(mut changes) = grown else {
            return vec![Err(Refusal::plain(ErrorCode::UnknownTopicOrPartition)); topics.len()];
        };
        // Kafka lets these topics grow too; groups stay where their offsets are.
        let keyed = topics.iter().map(|growth| &growth.topic).filter(|topic| topic.is_internal);
        changes.extend(keyed.map(|topic| Change::SettingsSet {
            path: settings_path::spread(&topic.id).into(),
            settings: [(settings_path::SPREAD_OVER.to_owned(), topic.spread_over.to_string())].into(),
        }));
        let mut results = self.commit_and_follow(changes).await;
        results.truncate(topics.len());
        let state = self.store.state();
        let grew = |growth: &Growth| {
            state
                .topic(&growth.topic.id)
                .is_some_and(|topic| topic.partition_count() == growth.partition_count)
        };
        let failed = topics.iter().zip(&results).filter(|(growth, result)| result.is_err() && grew(growth));
        let taken_back = failed.map(|(growth, _)| Change::PartitionsTakenBack {
            id: growth.topic.id,
            partition_count: growth.topic.partitions.len() as i32,
        });
        let taken_back = taken_back.collect();
        if let Err(error) = self.store.commit(taken_back).await {
            tracing::error!(%error, "partitions that could not be made come back at the next start");
        }
        results
    }

    async fn producer_id(&mut self) -> Result<ProducerId, ErrorCode> {
        if self.producer_ids.is_empty() {
            self.producer_ids = self.store.claim_producer_ids().await.map_err(|error| {
                tracing::error!(%error, "no block of producer ids");
                match error {
                    StoreError::Unfit(_) => ErrorCode::UnknownServerError,
                    // Retriable: a full disk passes, and ZooKeeper comes back.
                    _ => ErrorCode::CoordinatorNotAvailable,
                }
            })?;
        }
        let id = ProducerId(self.producer_ids.start);
        self.producer_ids.start += 1;
        Ok(id)
    }

    /// A commit, and what it means for the replicas and the image. A result for each change.
    pub(super) async fn commit_and_follow(&mut self, changes: Vec<Change>) -> Vec<Result<(), Refusal>> {
        let mut results = Vec::with_capacity(changes.len());
        if S::WHOLE {
            results.resize(changes.len(), self.commit(changes.clone()).await);
        } else {
            for change in &changes {
                results.push(self.commit(vec![change.clone()]).await);
            }
        }
        let committed = changes.into_iter().zip(&results).filter(|(_, result)| result.is_ok());
        let committed: Vec<Change> = committed.map(|(change, _)| change).collect();
        let mut followed = self.follow(&committed, Failed::TakenBack).await.into_iter();
        for result in results.iter_mut().filter(|result| result.is_ok()) {
            *result = followed.next().unwrap_or(Ok(())).map_err(storage_refusal);
        }
        results
    }

    async fn commit(&mut self, changes: Vec<Change>) -> Result<(), Refusal> {
        self.store.commit(changes).await.map_err(|error| {
            tracing::error!(%error, "a change of metadata is refused");
            store_refusal(&error)
        })
    }

    /// Makes replicas and image follow committed changes, those that are alike in one batch.
    async fn follow(&mut self, changes: &[Change], failed: Failed) -> Vec<Result<(), String>> {
        let mut results = vec![Ok(()); changes.len()];
        self.follow_deletions(changes, &mut results).await;
        self.follow_additions(changes, failed, &mut results).await;
        self.follow_settings(changes).await;
        results
    }

    async fn follow_deletions(&mut self, changes: &[Change], results: &mut [Result<(), String>]) {
        let image = self.image.load_full();
        let mut gone: Vec<Difference> = Vec::new();
        let mut homes: Vec<Home> = Vec::new();
        let mut spans: Vec<(usize, usize)> = Vec::new();
        for (index, change) in changes.iter().enumerate() {
            let Change::DeleteBegun { id } = change else { continue };
            let Some(topic) = image.topic_by_id(id) else { continue };
            gone.push(Difference::Remove(*id));
            let before = homes.len();
            homes.extend(topic.partitions.iter().filter_map(|partition| partition.replica));
            spans.push((index, homes.len() - before));
            let this = image.cluster().this_broker;
            let expected = topic.partitions.iter().filter(|partition| partition.replicas.contains(&this));
            if homes.len() - before < expected.count() {
                results[index] =
                    Err("some of its replicas are out of reach; they go at the next start".into());
            }
        }
        if gone.is_empty() {
            return;
        }
        // First invisible, then gone: no request can find a replica that is being removed.
        self.image.store(Arc::new(image.with(gone)));
        let mut removed = self.remove(homes).await.into_iter();
        for (index, count) in spans {
            let failures = removed.by_ref().take(count).filter_map(Result::err);
            if let Some(why) = failures.last() {
                tracing::error!(why, "a replica could not be removed; it goes at the next start");
                results[index] = Err(why);
            }
        }
    }

    /// Replicas that cannot be made leave a change to be taken back without a trace, and one of others with what there is.
    async fn follow_additions(
        &mut self,
        changes: &[Change],
        failed: Failed,
        results: &mut [Result<(), String>],
    ) {
        let image = self.image.load_full();
        let state = self.store.state();
        let mut wanted: Vec<NewReplica> = Vec::new();
        let mut additions: Vec<Addition> = Vec::new();
        for (index, change) in changes.iter().enumerate() {
            let (id, first) = match change {
                Change::TopicAdded(topic) => (topic.id, 0),
                Change::PartitionsAdded { id, .. } => {
                    let Some(topic) = image.topic_by_id(id) else { continue };
                    (*id, topic.partitions.len() as i32)
                }
                Change::Identity { .. }
                | Change::Incarnation(_)
                | Change::ProducerIdsBelow(_)
                | Change::PartitionsTakenBack { .. }
                | Change::LeadsSet { .. }
                | Change::OverridesSet { .. }
                | Change::SettingsSet { .. }
                | Change::DeleteBegun { .. }
                | Change::DeleteDone { .. } => continue,
            };
            // A later change of the same commit may have deleted it again.
            let Some(stored) = state.topic(&id).cloned() else { continue };
            let config = self.topic_configs.of(&stored);
            let new = first..stored.partition_count();
            let here: Vec<bool> =
                new.clone().map(|number| publish::is_here(state, &stored, number)).collect();
            wanted.extend(publish::replicas(state, &stored, &config, new));
            additions.push(Addition { index, stored, first, here, config });
        }
        if additions.is_empty() {
            return;
        }
        let mut made = self.make(wanted).await.into_iter();
        let mut new: Vec<Difference> = Vec::new();
        let mut useless: Vec<Home> = Vec::new();
        for Addition { index, stored, first, here, config } in additions {
            let mut failure = None;
            let homes: Vec<Option<Home>> = here
                .into_iter()
                .map(|here| match here.then(|| made.next())?? {
                    Ok(home) => Some(home),
                    Err(why) => {
                        failure.get_or_insert(why);
                        None
                    }
                })
                .collect();
            if let Some(why) = failure {
                tracing::error!(topic = %stored.name, why, "replicas cannot be made");
                results[index] = Err(why);
                if failed == Failed::TakenBack {
                    useless.extend(homes.into_iter().flatten());
                    continue;
                }
            }
            let old = image.topic_by_id(&stored.id).filter(|_| first > 0);
            let old_homes = old.into_iter().flat_map(|topic| topic.partitions.iter()).map(|p| p.replica);
            let homes = old_homes.chain(homes);
            let topic = publish::topic(self.store.state(), &stored, &config, homes);
            new.push(Difference::Put(Arc::new(topic)));
        }
        self.image.store(Arc::new(image.with(new)));
        for result in self.remove(useless).await {
            if let Err(why) = result {
                tracing::error!(why, "a replica that is not needed stays behind");
            }
        }
    }

    async fn follow_settings(&mut self, changes: &[Change]) {
        let of_clients = |change: &Change| matches!(change, Change::SettingsSet { path, .. } if path.starts_with("users/") || path.starts_with("clients/"));
        if changes.iter().any(of_clients) {
            let image = self.image.load();
            let limits =
                publish::limits(self.store.state(), &self.config, image.limits().map(|limits| &**limits));
            self.image.store(Arc::new(image.with_limits(limits.map(Arc::new))));
        }
        let of_brokers = |change: &Change| matches!(change, Change::SettingsSet { path, .. } if path.starts_with("brokers/"));
        let changed: Vec<Arc<Topic>> = if changes.iter().any(of_brokers) {
            self.follow_broker_settings();
            self.image.load().topics().cloned().collect()
        } else {
            let image = self.image.load();
            let ids = changes.iter().filter_map(|change| match change {
                Change::OverridesSet { id, .. } => Some(id),
                _ => None,
            });
            ids.filter_map(|id| image.topic_by_id(id).cloned()).collect()
        };
        if changed.is_empty() {
            return;
        }
        let mut put = Vec::new();
        let mut told = Vec::new();
        for topic in changed {
            let Some(stored) = self.store.state().topic(&topic.id) else { continue };
            let config = self.topic_configs.of(stored);
            let overrides = Arc::new(stored.overrides.clone());
            let homes: Vec<Home> =
                topic.partitions.iter().filter_map(|partition| partition.replica).collect();
            told.push((topic.name.clone(), self.replicas.reconfigure(homes, config.clone())));
            put.push(Difference::Put(Arc::new(Topic { overrides, config, ..(*topic).clone() })));
        }
        self.image.store(Arc::new(self.image.load().with(put)));
        for (topic, told) in told {
            if told.await.is_err() {
                tracing::error!(%topic, "the IO threads ended before they took the new settings");
            }
        }
    }

    /// Both layers of this broker's settings are what the store says.
    fn follow_broker_settings(&mut self) {
        let state = self.store.state();
        let none = Overrides::new();
        let own = state.settings(&settings_path::broker(state.broker_id())).unwrap_or(&none);
        let of_all = state.settings(settings_path::ALL_BROKERS).unwrap_or(&none);
        let (config, left_out) = self.config.with_stored(own, of_all);
        for why in left_out {
            tracing::error!("a setting of the broker cannot be followed: {why}");
        }
        self.config = Arc::new(config);
        self.topic_configs = TopicConfigs::new(self.config.clone());
        self.replicas.follow_settings(self.config.clone());
        self.image.store(Arc::new(self.image.load().with_settings(self.config.clone())));
        tracing::info!("the settings of the broker have changed");
    }

    pub(super) async fn make(&self, wanted: Vec<NewReplica>) -> Vec<Result<Home, String>> {
        let count = wanted.len();
        match self.replicas.create(wanted).await {
            Ok(made) => made,
            Err(_) => vec![Err("the IO threads have ended".to_owned()); count],
        }
    }

    pub(super) async fn remove(&self, homes: Vec<Home>) -> Vec<Result<(), String>> {
        let count = homes.len();
        if count == 0 {
            return Vec::new();
        }
        match self.replicas.delete(homes).await {
            Ok(removed) => removed,
            Err(_) => vec![Err("the IO threads have ended".to_owned()); count],
        }
    }
}

/// A change that asks for replicas: its place in the commit, and the partitions it adds.
struct Addition {
    index: usize,
    stored: Arc<StoredTopic>,
    first: i32,
    /// Of each new partition: whether this broker is to have a replica.
    here: Vec<bool>,
    config: Arc<TopicConfig>,
}

/// What becomes of a change whose replicas cannot be made.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Failed {
    /// Whoever asked for it takes it back.
    TakenBack,
    /// Others made it; it stands, with what there is.
    Stays,
}

fn storage_refusal(why: String) -> Refusal {
    Refusal::new(ErrorCode::KafkaStorageError, why)
}

/// The paths and the system's words are for the log; the client learns whether to try again.
pub(super) fn store_refusal(error: &StoreError) -> Refusal {
    match error {
        StoreError::Io { .. } | StoreError::Stopped { .. } => Refusal::new(
            ErrorCode::KafkaStorageError,
            "The broker cannot write its metadata; its log says why.",
        ),
        StoreError::Away { .. } => Refusal::new(
            ErrorCode::RequestTimedOut,
            "ZooKeeper cannot be reached now; what was asked for may happen later.",
        ),
        StoreError::NotController => Refusal::plain(ErrorCode::NotController),
        StoreError::Node { path, source: ZkError::NodeExists, .. } if path.starts_with(znode::TOPICS) => {
            Refusal::plain(ErrorCode::TopicAlreadyExists)
        }
        StoreError::Node { .. } | StoreError::BadNode(_) | StoreError::Refused(_) => {
            Refusal::new(ErrorCode::UnknownServerError, error.to_string())
        }
        StoreError::Corrupt { .. }
        | StoreError::Version { .. }
        | StoreError::Foreign { .. }
        | StoreError::Twice { .. }
        | StoreError::Unfit(_) => Refusal::plain(ErrorCode::UnknownServerError),
    }
}
