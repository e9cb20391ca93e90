//! The controller of a cluster in ZooKeeper mode: who leads which partition, on which brokers it lives, and what brokers are
//! told (contract 5.2 to 5.5).
//!
//! In: what happened in ZooKeeper, what brokers ask and answer. Out: nodes written under the controller's fence, and requests
//! to brokers, its own among them: a broker knows topics and leaders from LeaderAndIsr, UpdateMetadata and StopReplica
//! alone. There is no clock, socket or thread in here: `Ensemble` is ZooKeeper, and whoever drives the controller sends what
//! it says.
//!
//! **How it is driven.** One caller, one call at a time, each awaited to its end:
//!
//! * This broker was elected (`/controller` is ours): `Controller::elected(ensemble, terms, fence)`. A controller is in
//!   office as long as the value lives; to resign, drop it.
//! * A watch fired: `Event::of_path(path)`, and where that is something, `handle(event)`. All watches are armed by the
//!   controller's own reads. Watches of other paths (`/controller`, settings) are the caller's.
//! * A request for the controller: `controlled_shutdown`, `alter_partition`, `elect_leaders`, `alter_reassignments`,
//!   `list_reassignments`, `allocate_producer_ids` take the request as decoded and return the response to encode. A broker
//!   that is not the controller answers NOT_CONTROLLER without asking here.
//! * Time: `check_balance` 5 s after the election, then every `leader.imbalance.check.interval.seconds`.
//! * Settings: `topic_settings_changed` and `settings_changed`, because `unclean.leader.election.enable` may now allow a
//!   leader.
//! * After each of these: `take_outbox()`, and every `Outgoing` goes to the end of its broker's queue. One request to a
//!   broker at a time, sent again every 100 ms until it is answered. A queue belongs to one broker epoch
//!   (`request.broker_epoch()`): when a request of another one arrives, or the broker is in `brokers()` no more, the queue
//!   before it is dropped with what is in it, as is every queue when the controller resigns.
//! * A response to one: `request.answer(body, protocol)`, then `answered(broker, epoch, answer)`, then the outbox again.
//!
//! `Err(Lost)` from any call: the office is lost, or what is known is not what is written. Drop the controller. After
//! `Lost::Deposed` another one is in office; after the others, give `/controller` up (or let the session end) and stand again.
//! A call that is not awaited to its end leaves the same behind.
//!
//! | file | what |
//! |---|---|
//! | `assignment` | on which brokers the partitions of a topic live |
//! | `election` | who leads a partition, and who stays in its in-sync set |
//! | `ensemble` | what is needed of ZooKeeper |
//! | `context` | what the controller knows |
//! | `request` | what brokers are told, as bytes |
//! | `batch` | the requests of one step, gathered per broker |
//! | `states` | partition states and topics, read and written |
//! | `machines` | the states partitions and replicas go through |
//! | `start` | taking office |
//! | `brokers` | brokers come, go, stop, lose directories |
//! | `topics` | topics come, grow; in-sync sets change; leaders go home |
//! | `deletion` | topics on their way out |
//! | `reassignment` | partitions that move |
//! | `requests` | elections and producer ids that are asked for |
//! | `zookeeper` | a session as an `Ensemble` |

pub mod assignment;
pub mod election;

mod batch;
mod brokers;
pub mod context;
mod deletion;
pub mod ensemble;
mod machines;
mod reassignment;
pub mod request;
mod requests;
mod start;
mod states;
mod topics;
mod zookeeper;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::inter_broker;
use crate::config::version::Version;
use crate::controller::batch::{Batch, Sender};
use crate::controller::context::{Context, Lead};
use crate::ids::BrokerId;
use crate::metadata::fresh_id::Random;

pub use batch::Outgoing;
pub use context::{Member, TopicPartition};
pub use ensemble::{Ensemble, Event, Lost, Node, Outcome};
pub use request::{Answer, ControlRequest};
pub use requests::Elected;
pub use zookeeper::ZooKeeperSession;

/// What a controller needs to know of its broker and its settings.
pub struct Terms {
    pub broker_id: BrokerId,
    /// `inter.broker.protocol.version`
    pub protocol: Version,
    /// `inter.broker.listener.name`, in capitals.
    pub inter_broker_listener: Arc<str>,
    /// `delete.topic.enable`
    pub delete_topic_enable: bool,
    /// `unclean.leader.election.enable` of the broker, for topics that do not say.
    pub unclean_leader_election: bool,
    /// `leader.imbalance.per.broker.percentage`
    pub imbalance_percentage: u32,
    /// Makes ids for topics that lack one.
    pub random: Random,
}

/// The right to write as controller: refused as soon as another one was elected.
pub use crate::metadata::zookeeper::store::Fence;

pub(crate) type PartitionsAndLeads = Vec<(TopicPartition, Lead)>;

/// A controller in office. See the file's head for how to drive it.
pub struct Controller<Z> {
    ensemble: Z,
    terms: Terms,
    fence: Fence,
    context: Context,
    batch: Batch,
    outbox: Vec<Outgoing>,
    sender: Sender,
    /// Leaders ask the controller for other in-sync sets (protocol 2.7-IV2); before, they write them themselves.
    alters_partitions: bool,
    /// Topics have ids (protocol 2.8-IV0).
    has_topic_ids: bool,
    /// A leader from outside the in-sync set is marked (protocol 3.2-IV0).
    leaders_recover: bool,
}

impl<Z> std::fmt::Debug for Controller<Z> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Controller({}, epoch {})", self.terms.broker_id, self.fence.epoch)
    }
}

impl<Z: Ensemble> Controller<Z> {
    /// Takes office: reads everything, and does what was left undone. `fence` is what the election gave. Does not return
    /// before ZooKeeper was read; what brokers are told is in the outbox then.
    pub async fn elected(ensemble: Z, terms: Terms, fence: Fence) -> Result<Controller<Z>, Lost> {
        let protocol = terms.protocol;
        let reached = |release: &str| Version::parse(release).is_some_and(|first| protocol >= first);
        let sender = Sender {
            controller_id: terms.broker_id,
            controller_epoch: fence.epoch,
            inter_broker_listener: terms.inter_broker_listener.clone(),
            stops_per_partition: inter_broker::stop_replica(protocol) >= 3,
        };
        let mut controller = Controller {
            ensemble,
            terms,
            fence,
            context: Context::default(),
            batch: Batch::default(),
            outbox: Vec::new(),
            sender,
            alters_partitions: inter_broker::alters_partitions(protocol),
            has_topic_ids: reached("2.8-IV0"),
            leaders_recover: reached("3.2-IV0"),
        };
        controller.start().await?;
        Ok(controller)
    }

    /// Something happened in ZooKeeper.
    pub async fn handle(&mut self, event: Event) -> Result<(), Lost> {
        match event {
            Event::Brokers => self.on_brokers().await,
            Event::Broker(id) => self.on_broker(id).await,
            Event::Topics => self.on_topics().await,
            Event::Topic(name) => self.on_topic(&name).await,
            Event::Deletions => self.on_deletions().await,
            Event::IsrChanges => self.on_isr_changes().await,
            Event::State(topic, partition) => self.on_state(&topic, partition).await,
            Event::LogDirs => self.on_log_dirs().await,
            Event::Reassignment => self.on_reassignment().await.map(|_| ()),
            Event::PreferredElection => self.preferred_leaders_by_node(false).await,
        }
    }

    /// A broker answered a request that was sent to it under this epoch of its. An answer from an earlier life of it means
    /// nothing any more.
    pub async fn answered(&mut self, from: BrokerId, broker_epoch: i64, answer: Answer) -> Result<(), Lost> {
        if self.context.brokers().get(&from).is_none_or(|member| member.epoch != broker_epoch) {
            return Ok(());
        }
        match answer {
            Answer::LeaderAndIsr { error, partitions } => {
                self.on_leader_and_isr_answer(from, error, partitions).await
            }
            Answer::StopReplica { deleted, .. } => self.on_deleted(from, deleted).await,
            Answer::UpdateMetadata { .. } => Ok(()),
        }
    }

    /// A topic's settings were changed: it may be led from outside its in-sync sets now.
    pub async fn topic_settings_changed(&mut self, topic: &str) -> Result<(), Lost> {
        let mut partitions = self.context.leaderless();
        partitions.retain(|at| &*at.topic == topic);
        self.leaders_for(partitions).await
    }

    /// The broker's own settings were changed.
    pub async fn settings_changed(
        &mut self,
        unclean_leader_election: bool,
        imbalance_percentage: u32,
    ) -> Result<(), Lost> {
        self.terms.imbalance_percentage = imbalance_percentage;
        let was = std::mem::replace(&mut self.terms.unclean_leader_election, unclean_leader_election);
        match unclean_leader_election && !was {
            true => self.leaders_for_leaderless().await,
            false => Ok(()),
        }
    }

    /// What brokers are to be told, in the order they are to be told it; it is empty then.
    pub fn take_outbox(&mut self) -> Vec<Outgoing> {
        std::mem::take(&mut self.outbox)
    }

    /// Brokers that live, stopping ones too.
    pub fn brokers(&self) -> &BTreeMap<BrokerId, Member> {
        self.context.brokers()
    }

    pub fn epoch(&self) -> i32 {
        self.fence.epoch
    }

    /// What it knows, to be looked at.
    pub fn context(&self) -> &Context {
        &self.context
    }

    fn send(&mut self) {
        self.batch.send(&self.context, &self.sender, &mut self.outbox);
    }
}
