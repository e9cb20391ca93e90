//! In-sync sets that leaders here ask for, on their way to the controller or to ZooKeeper (contract 4.4, 5.7).
//!
//! In: proposals of IO loops. Out: what became of each, back to the loop. From protocol 2.7 on the controller decides
//! (AlterPartition, one request under way at a time); below, the leader writes the partition's state itself and leaves a note for
//! the controller, several changes to a note.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use crate::config::inter_broker;
use crate::control_thread::control::Control;
use crate::control_thread::peers::Line;
use crate::ids::BrokerId;
use crate::metadata::{Change, NewLead, Store};
use crate::replication::{Answered, InSyncProposal};
use crate::wire::array::Array;
use crate::wire::error_code::ErrorCode;
use crate::wire::message::Message;
use crate::wire::message::alter_partition::{
    AlterPartitionRequest, AlterPartitionRequestBrokerState, AlterPartitionRequestPartition,
    AlterPartitionRequestTopic, AlterPartitionResponse,
};
use crate::wire::message::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use crate::wire::primitive::{Reader, Uuid};
use crate::wire::version::ApiKey;

/// After a request that nobody answered.
const RETRY: Duration = Duration::from_millis(50);
/// From this version of AlterPartition on topics go by ids, and from the next on members have epochs.
const IDS_VERSION: i16 = 2;
const EPOCHS_VERSION: i16 = 3;
/// A note is left when nothing has changed for so long, or none was left for so long (contract 4.3).
const NOTE_AFTER_QUIET: Duration = Duration::from_secs(5);
const NOTE_AFTER_LONG: Duration = Duration::from_secs(60);
const NOTE_CHECK: Duration = Duration::from_millis(2500);

/// What a request came to: the connection for the next one, and the answer to each proposal, `None` if nobody answered.
pub(super) struct Concluded {
    line: Option<Line>,
    outcomes: Vec<(InSyncProposal, Option<Answered>)>,
}

/// Proposals on their way.
pub(super) struct InSync {
    waiting: Vec<InSyncProposal>,
    under_way: bool,
    line: Option<Line>,
    conclude: mpsc::UnboundedSender<Concluded>,
    /// Changes that no note tells of yet.
    unnoted: BTreeSet<(String, i32)>,
    last_change: Instant,
    last_note: Instant,
    pub next_check: Option<Instant>,
}

impl InSync {
    pub fn new(conclude: mpsc::UnboundedSender<Concluded>) -> InSync {
        let now = Instant::now();
        InSync {
            waiting: Vec::new(),
            under_way: false,
            line: None,
            conclude,
            unnoted: BTreeSet::new(),
            last_change: now,
            last_note: now,
            next_check: None,
        }
    }
}

impl<S: Store> Control<S> {
    /// Leaders here ask for in-sync sets.
    pub(super) async fn propose(&mut self, proposals: Vec<InSyncProposal>) {
        if inter_broker::alters_partitions(self.config.inter_broker_protocol_version) {
            // A later proposal of a partition stands for the earlier one.
            for proposal in proposals {
                self.in_sync.waiting.retain(|other| other.home != proposal.home);
                self.in_sync.waiting.push(proposal);
            }
            self.ask_controller().await;
        } else {
            self.write_proposals(&proposals).await;
        }
    }

    /// Sends what waits, unless a request is under way.
    pub(super) async fn ask_controller(&mut self) {
        if self.in_sync.under_way || self.in_sync.waiting.is_empty() {
            return;
        }
        let proposals = std::mem::take(&mut self.in_sync.waiting);
        let this = self.store.state().broker_id();
        let controller = self.image.load().cluster().controller;
        let address = controller.and_then(|id| self.address_of(id));
        let line = self.in_sync.line.take().filter(|line| Some(line.address) == address);
        let ids: BTreeMap<Arc<str>, Uuid> = proposals
            .iter()
            .filter_map(|proposal| {
                let topic = self.store.state().topic_named(&proposal.topic)?;
                Some((proposal.topic.clone(), crate::metadata::fresh_id::told(topic.id)))
            })
            .collect();
        let request = Request { this, broker_epoch: self.broker_epoch(), ids };
        let conclude = self.in_sync.conclude.clone();
        let patience = Duration::from_millis(self.config.controller_socket_timeout_ms.max(1));
        self.in_sync.under_way = true;
        if controller == Some(this) {
            let outcomes = self.ask_ourselves(request, proposals).await;
            let _ = conclude.send(Concluded { line: None, outcomes });
            return;
        }
        tokio::spawn(async move {
            let line = line.or_else(|| Some(Line::new(address?, this.to_string(), patience)));
            let concluded = match line {
                Some(line) => ask(line, &request, proposals).await,
                None => Concluded { line: None, outcomes: unanswered(proposals) },
            };
            if concluded.outcomes.iter().any(|(_, answered)| answered.is_none()) {
                sleep(RETRY).await;
            }
            // Nobody listens when the broker stops.
            let _ = conclude.send(concluded);
        });
    }

    /// The controller is this broker.
    async fn ask_ourselves(
        &mut self,
        request: Request,
        proposals: Vec<InSyncProposal>,
    ) -> Vec<(InSyncProposal, Option<Answered>)> {
        let version = if request.ids.values().any(Uuid::is_zero) { IDS_VERSION - 1 } else { EPOCHS_VERSION };
        let body = request.encode(version, &proposals);
        match self.alter_partition(version, &body).await {
            Some(answer) => request.outcomes(version, &answer, proposals),
            None => unanswered(proposals),
        }
    }

    pub(super) async fn conclude(&mut self, concluded: Concluded) {
        self.in_sync.under_way = false;
        self.in_sync.line = concluded.line;
        for (proposal, answered) in concluded.outcomes {
            match answered {
                Some(answered) => {
                    self.replicas.answer_proposal(proposal.home, proposal.leader_epoch, answered);
                }
                // Asked again, unless the leader is not one any more.
                None if self.still_leads(&proposal) => self.in_sync.waiting.push(proposal),
                None => {}
            }
        }
        self.ask_controller().await;
    }

    fn still_leads(&self, proposal: &InSyncProposal) -> bool {
        let stored = self.store.state().topic_named(&proposal.topic);
        stored.is_some_and(|topic| {
            self.store.state().leader_epoch(topic, proposal.partition) == proposal.leader_epoch
        })
    }

    /// Below protocol 2.7: each proposal is written to the partition's state, on the version its leader knows.
    async fn write_proposals(&mut self, proposals: &[InSyncProposal]) {
        let Some(cluster) = self.store.cluster() else { return };
        let answers = cluster.write_in_sync(proposals).await;
        let mut leads: BTreeMap<Arc<str>, Vec<NewLead>> = BTreeMap::new();
        for (proposal, answered) in proposals.iter().zip(&answers) {
            let Answered::Set { isr, partition_epoch } = answered else { continue };
            self.in_sync.unnoted.insert((proposal.topic.to_string(), proposal.partition));
            self.in_sync.last_change = Instant::now();
            let stored = self.store.state().topic_named(&proposal.topic);
            let led = stored.and_then(|topic| topic.placement(proposal.partition)?.led.clone());
            let Some(mut led) = led else { continue };
            (led.isr, led.version) = (isr.clone().into(), *partition_epoch);
            let lead = NewLead { partition: proposal.partition, leader_epoch: proposal.leader_epoch.0, led };
            leads.entry(proposal.topic.clone()).or_default().push(lead);
        }
        let names: Vec<Arc<str>> = leads.keys().cloned().collect();
        let changes = leads.into_iter().filter_map(|(topic, leads)| {
            let id = self.store.state().topic_named(&topic)?.id;
            Some(Change::LeadsSet { id, leads })
        });
        let changes = changes.collect();
        self.note(changes);
        self.show(names.iter());
        for (proposal, answered) in proposals.iter().zip(answers) {
            self.replicas.answer_proposal(proposal.home, proposal.leader_epoch, answered);
        }
        if !self.in_sync.unnoted.is_empty() && self.in_sync.next_check.is_none() {
            self.in_sync.next_check = Some(Instant::now() + NOTE_CHECK);
        }
    }

    /// Leaves a note of what has changed, if it is time.
    pub(super) async fn check_notes(&mut self) {
        let now = Instant::now();
        let in_sync = &mut self.in_sync;
        in_sync.next_check = (!in_sync.unnoted.is_empty()).then_some(now + NOTE_CHECK);
        let due = now - in_sync.last_change > NOTE_AFTER_QUIET || now - in_sync.last_note > NOTE_AFTER_LONG;
        if in_sync.unnoted.is_empty() || !due {
            return;
        }
        let partitions: Vec<(String, i32)> = in_sync.unnoted.iter().cloned().collect();
        let Some(cluster) = self.store.cluster() else { return };
        match cluster.note_in_sync(&partitions).await {
            Ok(()) => {
                self.in_sync.unnoted.clear();
                self.in_sync.last_note = now;
                self.in_sync.next_check = None;
            }
            Err(error) => {
                tracing::warn!(%error, "the controller cannot be told of changed in-sync sets; it is tried again")
            }
        }
    }
}

/// What a request says beside the proposals.
struct Request {
    this: BrokerId,
    broker_epoch: i64,
    /// Zero where a topic has none.
    ids: BTreeMap<Arc<str>, Uuid>,
}

impl Request {
    fn encode(&self, version: i16, proposals: &[InSyncProposal]) -> Vec<u8> {
        let mut by_topic: BTreeMap<&Arc<str>, Vec<&InSyncProposal>> = BTreeMap::new();
        for proposal in proposals {
            by_topic.entry(&proposal.topic).or_default().push(proposal);
        }
        let topics = by_topic.iter().map(|(topic, proposals)| {
            let partitions = proposals.iter().map(|proposal| AlterPartitionRequestPartition {
                partition_index: proposal.partition,
                leader_epoch: proposal.leader_epoch.0,
                new_isr: match version < EPOCHS_VERSION {
                    true => proposal.isr.iter().map(|id| id.0).collect(),
                    false => Array::default(),
                },
                new_isr_with_epochs: match version < EPOCHS_VERSION {
                    true => Array::default(),
                    // Members are not told apart by their epochs where ZooKeeper keeps them.
                    false => proposal
                        .isr
                        .iter()
                        .map(|id| AlterPartitionRequestBrokerState { broker_id: id.0, broker_epoch: -1 })
                        .collect(),
                },
                leader_recovery_state: 0,
                partition_epoch: proposal.partition_epoch,
            });
            AlterPartitionRequestTopic {
                topic_name: if version < IDS_VERSION { topic } else { "" },
                topic_id: if version < IDS_VERSION { Uuid::ZERO } else { self.id(topic) },
                partitions: partitions.collect(),
            }
        });
        let request = AlterPartitionRequest {
            broker_id: self.this.0,
            broker_epoch: self.broker_epoch,
            topics: topics.collect(),
        };
        let mut body = Vec::new();
        request.encode(&mut body, version);
        body
    }

    fn id(&self, topic: &str) -> Uuid {
        self.ids.get(topic).copied().unwrap_or(Uuid::ZERO)
    }

    fn outcomes(
        &self,
        version: i16,
        body: &[u8],
        proposals: Vec<InSyncProposal>,
    ) -> Vec<(InSyncProposal, Option<Answered>)> {
        let mut reader = Reader::response(body);
        let response = match AlterPartitionResponse::decode(&mut reader, version) {
            Ok(response) if response.error_code == 0 => response,
            Ok(response) => {
                let error = ErrorCode::from_code(response.error_code);
                tracing::info!(error = error.name(), "the controller does not take in-sync sets now");
                return unanswered(proposals);
            }
            Err(error) => {
                tracing::error!(%error, "the controller's answer to AlterPartition cannot be read");
                return unanswered(proposals);
            }
        };
        let answer = |proposal: &InSyncProposal| {
            let topic = response.topics.iter().find(|topic| match version < IDS_VERSION {
                true => *topic.topic_name == *proposal.topic,
                false => topic.topic_id == self.id(&proposal.topic),
            })?;
            let partition =
                topic.partitions.iter().find(|partition| partition.partition_index == proposal.partition)?;
            Some(match ErrorCode::from_code(partition.error_code) {
                ErrorCode::None => Answered::Set {
                    isr: partition.isr.iter().copied().map(BrokerId).collect(),
                    partition_epoch: partition.partition_epoch,
                },
                ErrorCode::OperationNotAttempted | ErrorCode::IneligibleReplica => Answered::Refused,
                ErrorCode::UnknownTopicOrPartition
                | ErrorCode::UnknownTopicId
                | ErrorCode::FencedLeaderEpoch
                | ErrorCode::InvalidUpdateVersion
                | ErrorCode::InvalidRequest
                | ErrorCode::NewLeaderElected => Answered::Outdated,
                error => {
                    tracing::warn!(topic = %proposal.topic, partition = proposal.partition, error = error.name(), "an in-sync set was not changed; it is asked for again");
                    Answered::Failed
                }
            })
        };
        let answers: Vec<Option<Answered>> = proposals.iter().map(answer).collect();
        proposals.into_iter().zip(answers).collect()
    }
}

fn unanswered(proposals: Vec<InSyncProposal>) -> Vec<(InSyncProposal, Option<Answered>)> {
    proposals.into_iter().map(|proposal| (proposal, None)).collect()
}

/// Which version of AlterPartition the controller takes is asked before it is used (contract 5.9).
async fn ask(mut line: Line, request: &Request, proposals: Vec<InSyncProposal>) -> Concluded {
    let version = match version_of(&mut line, request).await {
        Ok(version) => version,
        Err(error) => {
            tracing::info!(address = %line.address, %error, "the controller cannot be asked for in-sync sets now");
            return Concluded { line: None, outcomes: unanswered(proposals) };
        }
    };
    let body = request.encode(version, &proposals);
    match line.call(ApiKey::AlterPartition, version, &body).await {
        Ok(answer) => {
            let outcomes = request.outcomes(version, &answer, proposals);
            Concluded { line: Some(line), outcomes }
        }
        Err(error) => {
            tracing::info!(address = %line.address, %error, "the controller cannot be asked for in-sync sets now");
            Concluded { line: None, outcomes: unanswered(proposals) }
        }
    }
}

async fn version_of(line: &mut Line, request: &Request) -> std::io::Result<i16> {
    let mut body = Vec::new();
    ApiVersionsRequest::default().encode(&mut body, 0);
    let answer = line.call(ApiKey::ApiVersions, 0, &body).await?;
    let response =
        ApiVersionsResponse::decode(&mut Reader::response(&answer), 0).map_err(std::io::Error::other)?;
    let key = ApiKey::AlterPartition as i16;
    let theirs = response.api_keys.iter().find(|api| api.api_key == key);
    let theirs =
        theirs.ok_or_else(|| std::io::Error::other("the controller does not know AlterPartition"))?;
    let highest = if request.ids.values().any(Uuid::is_zero) { IDS_VERSION - 1 } else { EPOCHS_VERSION };
    Ok(theirs.max_version.min(highest))
}
