//! Brokers that come, go, come back, change where they listen, ask to be let go, or lose a directory (contract 5.5).
//!
//! In: what is registered, and what brokers answered. Out: leaders for what they led, replicas on or off, and requests. A
//! broker that registered anew between two looks is taken for gone and come: its epoch tells.

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::controller::Controller;
use crate::controller::context::{Member, ReplicaState, TopicPartition};
use crate::controller::ensemble::{Ensemble, Lost};
use crate::controller::machines::Rule;
use crate::ids::BrokerId;
use crate::metadata::zookeeper::znode::{self, BrokerNode};
use crate::wire::error_code::ErrorCode;
use crate::wire::message::controlled_shutdown::{
    ControlledShutdownRequest, ControlledShutdownResponse, ControlledShutdownResponsePartition,
};

impl<Z: Ensemble> Controller<Z> {
    pub(super) async fn on_brokers(&mut self) -> Result<(), Lost> {
        let found = self.read_brokers().await?;
        let (mut new, mut bounced) = (Vec::new(), Vec::new());
        let mut gone: BTreeSet<BrokerId> = self.context.brokers().keys().copied().collect();
        for member in found {
            gone.remove(&member.id);
            match self.context.brokers().get(&member.id) {
                None => new.push(member),
                Some(known) if known.epoch != member.epoch => bounced.push(member),
                Some(known) if *known != member => self.broker_changed(member),
                Some(_) => {}
            }
        }
        if !new.is_empty() {
            let ids: Vec<BrokerId> = new.iter().map(|member| member.id).collect();
            tracing::info!(brokers = ?ids, "brokers came");
            new.into_iter().for_each(|member| self.context.put_broker(member));
            self.brokers_came(&ids).await?;
        }
        if !bounced.is_empty() {
            let ids: Vec<BrokerId> = bounced.iter().map(|member| member.id).collect();
            tracing::info!(brokers = ?ids, "brokers came back before they were seen to be gone");
            self.brokers_went(&ids).await?;
            bounced.into_iter().for_each(|member| self.context.put_broker(member));
            self.brokers_came(&ids).await?;
        }
        if !gone.is_empty() {
            let ids: Vec<BrokerId> = gone.into_iter().collect();
            tracing::info!(brokers = ?ids, "brokers went");
            self.brokers_went(&ids).await?;
        }
        Ok(())
    }

    /// One broker's registration was rewritten: it listens elsewhere.
    pub(super) async fn on_broker(&mut self, id: i32) -> Result<(), Lost> {
        if !self.context.brokers().contains_key(&BrokerId(id)) {
            return Ok(()); // it has come or gone: the list of brokers tells
        }
        let path = znode::broker(id);
        let Some(Some(node)) = self.ensemble.data(vec![path.clone()], true).await?.pop() else {
            return Ok(());
        };
        match BrokerNode::decode(&path, &node.data) {
            Ok(read) => {
                let member = super::start::member(id, node.czxid, &read);
                let known = self.context.brokers().get(&member.id);
                if known.is_some_and(|known| known.epoch == member.epoch && *known != member) {
                    self.broker_changed(member);
                }
            }
            Err(wrong) => tracing::error!("{wrong}; the broker is known as it was"),
        }
        Ok(())
    }

    fn broker_changed(&mut self, member: Member) {
        tracing::info!(broker = member.id.0, "a broker listens elsewhere");
        self.context.put_broker(member);
        let everybody = self.context.broker_ids();
        self.batch.metadata(&self.context, everybody, []);
        self.send();
    }

    async fn brokers_came(&mut self, ids: &[BrokerId]) -> Result<(), Lost> {
        for id in ids {
            self.context.on_lost_directories.remove(id);
        }
        let mut others = self.context.broker_ids();
        others.retain(|id| !ids.contains(id));
        self.batch.metadata(&self.context, others, []);
        self.send();
        let all: Vec<TopicPartition> = self
            .context
            .all_partitions()
            .map(|(at, _)| at)
            .filter(|at| !self.context.is_to_be_deleted(&at.topic))
            .collect();
        self.batch.metadata(&self.context, ids.iter().copied(), &all);
        self.send();
        let replicas: Vec<(BrokerId, TopicPartition)> =
            ids.iter().flat_map(|id| self.context.on_broker(*id).into_iter().map(|at| (*id, at))).collect();
        self.replicas_to(replicas.clone(), ReplicaState::Online).await?;
        self.leaders_for_leaderless().await?;
        self.resume_reassignments(|assignment| ids.iter().any(|id| assignment.target().contains(id))).await?;
        let topics = replicas.into_iter().map(|(_, at)| at.topic).collect();
        self.resume_deletions_of(topics).await
    }

    async fn brokers_went(&mut self, ids: &[BrokerId]) -> Result<(), Lost> {
        let mut replicas = Vec::new();
        for id in ids {
            self.context.remove_broker(*id);
            replicas.extend(self.context.on_broker(*id).into_iter().map(|at| (*id, at)));
        }
        self.replicas_went(replicas).await
    }

    /// Leaders for what they led, and the rest of the in-sync sets without them.
    pub(super) async fn replicas_went(
        &mut self,
        replicas: Vec<(BrokerId, TopicPartition)>,
    ) -> Result<(), Lost> {
        let (on_their_way_out, others): (Vec<_>, Vec<_>) =
            replicas.into_iter().partition(|(_, at)| self.context.is_to_be_deleted(&at.topic));
        let lost_its_leader = |(id, at): &&(BrokerId, TopicPartition)| {
            self.context.lead(at).is_some_and(|lead| lead.leader == Some(*id))
        };
        let mut leaderless: BTreeSet<TopicPartition> =
            others.iter().filter(lost_its_leader).map(|(_, at)| at.clone()).collect();
        leaderless.extend(
            self.context
                .leaderless()
                .into_iter()
                .filter(|at| self.context.lead(at).is_some() && !self.context.is_to_be_deleted(&at.topic)),
        );
        let leaderless: Vec<TopicPartition> = leaderless.into_iter().collect();
        self.partitions_offline(&leaderless);
        let nobody_is_told = leaderless.is_empty() && others.is_empty();
        self.leaders_for(leaderless).await?;
        self.replicas_to(others, ReplicaState::Offline).await?;
        if !on_their_way_out.is_empty() {
            self.deletions_failed(on_their_way_out).await?;
        }
        // Java was never seen to say it again where replicas went too: who lives stands in those requests.
        if nobody_is_told {
            let everybody = self.context.broker_ids();
            self.batch.metadata(&self.context, everybody, []);
            self.send();
        }
        Ok(())
    }

    /// A broker wants to stop: leaders move away from it, and its other replicas leave the in-sync sets. The answer lists
    /// what it still leads because nobody else can; the broker asks again until nothing is left, or it gives up.
    ///
    /// Error codes: BROKER_NOT_AVAILABLE (it is not registered), STALE_BROKER_EPOCH (an earlier life of it asks).
    pub async fn controlled_shutdown(
        &mut self,
        request: &ControlledShutdownRequest,
    ) -> Result<ControlledShutdownResponse<'static>, Lost> {
        let refused = |error: ErrorCode| ControlledShutdownResponse {
            error_code: error.code(),
            ..ControlledShutdownResponse::default()
        };
        let id = BrokerId(request.broker_id);
        let Some(member) = self.context.brokers().get(&id) else {
            return Ok(refused(ErrorCode::BrokerNotAvailable));
        };
        // -1: a broker before 2.2, which does not know its epoch.
        if request.broker_epoch != -1 && request.broker_epoch < member.epoch {
            return Ok(refused(ErrorCode::StaleBrokerEpoch));
        }
        tracing::info!(broker = id.0, "a broker wants to stop");
        self.context.stopping.insert(id);
        let mut partitions = self.context.on_broker(id);
        partitions.retain(|at| self.is_replicated(at) && self.context.lead(at).is_some());
        let (led, followed): (Vec<_>, Vec<_>) = partitions
            .into_iter()
            .partition(|at| self.context.lead(at).is_some_and(|lead| lead.leader == Some(id)));
        self.partitions_online(led.clone(), Rule::ControlledShutdown).await?;
        for at in &followed {
            self.batch.stop_replica(&self.context, id, at, false);
        }
        self.send();
        self.replicas_to(followed.into_iter().map(|at| (id, at)), ReplicaState::Offline).await?;
        let still_leads =
            |at: &&TopicPartition| self.context.lead(at).is_some_and(|lead| lead.leader == Some(id));
        let remaining = led.iter().filter(still_leads).map(|at| ControlledShutdownResponsePartition {
            topic_name: Cow::Owned(at.topic.to_string()),
            partition_index: at.partition,
        });
        Ok(ControlledShutdownResponse { error_code: 0, remaining_partitions: remaining.collect() })
    }

    /// It has another replica, and is not on its way out.
    fn is_replicated(&self, at: &TopicPartition) -> bool {
        self.context.assignment(at).is_some_and(|assignment| assignment.replicas.len() > 1)
            && !self.context.is_to_be_deleted(&at.topic)
    }

    /// Brokers lost directories, and say in answer to LeaderAndIsr which replicas were there.
    pub(super) async fn on_log_dirs(&mut self) -> Result<(), Lost> {
        let parent = znode::LOG_DIR_EVENTS;
        let names = self.ensemble.children(parent, true).await?;
        let paths: Vec<String> = names.iter().map(|name| format!("{parent}/{name}")).collect();
        let nodes = self.ensemble.data(paths.clone(), false).await?;
        let mut ids = BTreeSet::new();
        for (path, node) in paths.iter().zip(nodes) {
            let Some(node) = node else { continue };
            match znode::decode_log_dir_event(path, &node.data) {
                Ok(id) => {
                    tracing::warn!(broker = id, "a broker has lost a log directory");
                    ids.insert(BrokerId(id));
                }
                Err(wrong) => tracing::error!("{wrong}; the note is passed over"),
            }
        }
        let replicas: Vec<(BrokerId, TopicPartition)> = ids
            .into_iter()
            .flat_map(|id| self.context.on_broker(id).into_iter().map(move |at| (id, at)).collect::<Vec<_>>())
            .collect();
        self.replicas_to(replicas, ReplicaState::Online).await?;
        self.drop_notes(parent, &names).await
    }

    /// What a broker says of replicas it was told to have.
    pub(super) async fn on_leader_and_isr_answer(
        &mut self,
        from: BrokerId,
        error: i16,
        partitions: Vec<(TopicPartition, i16)>,
    ) -> Result<(), Lost> {
        if error != 0 {
            tracing::warn!(
                broker = from.0,
                error = %ErrorCode::from_code(error),
                "a broker refused LeaderAndIsr"
            );
            return Ok(());
        }
        let mut went = Vec::new();
        let lost = self.context.on_lost_directories.entry(from).or_default();
        for (at, error) in partitions {
            match ErrorCode::from_code(error) {
                ErrorCode::None => {
                    lost.remove(&at);
                }
                ErrorCode::KafkaStorageError => {
                    if lost.insert(at.clone()) {
                        went.push((from, at));
                    }
                }
                other => tracing::debug!(broker = from.0, error = %other, "{at}: LeaderAndIsr was refused"),
            }
        }
        if lost.is_empty() {
            self.context.on_lost_directories.remove(&from);
        }
        match went.is_empty() {
            true => Ok(()),
            false => self.replicas_went(went).await,
        }
    }
}
