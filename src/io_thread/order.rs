//! What the control thread orders an IO loop to do with replicas.
//!
//! In: opened logs, settings, the end. Out: acknowledgements by the calls given with the orders.

use std::net::SocketAddr;
use std::sync::Arc;

use hashbrown::HashSet;

use crate::config::TopicConfig;
pub use crate::group::TopicPartition;
use crate::ids::{BrokerId, LeaderEpoch};
use crate::log::cleaning::{CleanedGroup, CleaningPlan};
use crate::log::{Log, LogConfig};
use crate::metadata::{Answer, Question};
use crate::replication::{Answered, Term};

/// A replica, opened and handed over.
#[derive(Debug)]
pub struct Replica {
    pub slot: u32,
    pub topic: Arc<str>,
    pub partition: i32,
    pub leader_epoch: LeaderEpoch,
    /// One replica is all there ever is; otherwise somebody has to say what this one is.
    pub alone: bool,
    pub config: Arc<TopicConfig>,
    /// Number of its log directory.
    pub directory: u16,
    pub log: Log,
}

/// Called once, on the IO thread, when an order has been carried out.
pub type Acknowledge<T> = Box<dyn FnOnce(T) + Send>;

/// From the control thread to an IO loop.
pub enum Order {
    /// Serve these replicas from now on.
    Adopt {
        replicas: Vec<Replica>,
        done: Acknowledge<()>,
    },
    /// Serve this replica no more and give its log back.
    Release {
        slot: u32,
        done: Acknowledge<Option<Log>>,
    },
    /// These partitions are gone: the offsets in them are too.
    Forget {
        partitions: Arc<HashSet<TopicPartition>>,
    },
    /// New settings of a topic.
    Reconfigure {
        slots: Vec<u32>,
        config: Arc<TopicConfig>,
        log: Arc<LogConfig>,
        done: Acknowledge<()>,
    },
    /// What replicas are from now on.
    BeginTerms {
        terms: Vec<(u32, Term)>,
        done: Acknowledge<()>,
    },
    /// Who is alive, and where followers reach each.
    Brokers(Arc<[(BrokerId, SocketAddr)]>),
    /// What became of the in-sync set that a leader asked for in its term.
    AnswerProposal {
        slot: u32,
        term: LeaderEpoch,
        answered: Answered,
    },
    /// Look for compacted logs that are due, every so often, and tell of them.
    OfferCleaning {
        every_ms: i64,
        take: OfferTaker,
    },
    /// What follows is one pass of compaction over one log, in this order.
    PlanCleaning {
        slot: u32,
        done: Acknowledge<Option<CleaningPlan>>,
    },
    TakeCleaned {
        slot: u32,
        group: CleanedGroup,
        done: Acknowledge<bool>,
    },
    NameCleaned {
        slot: u32,
        base_offset: i64,
        done: Acknowledge<bool>,
    },
    EndCleaning {
        slot: u32,
        first_dirty: Option<i64>,
        done: Acknowledge<()>,
    },
    /// Answer questions about replicas.
    Ask {
        questions: Vec<(u32, Question)>,
        done: Acknowledge<Vec<Answer>>,
    },
    /// The end: flush and close everything. Told: for each log directory whether all its logs closed without error, and
    /// what its checkpoints should say.
    Stop {
        done: Acknowledge<Vec<Closed>>,
    },
}

/// A log that compaction should look at.
#[derive(Clone, Debug)]
pub struct CleaningOffer {
    pub slot: u32,
    pub topic: Arc<str>,
    pub partition: i32,
    /// Number of its log directory.
    pub directory: u16,
    /// Share of the dirty bytes, 0 to 1.
    pub ratio: f64,
}

/// Takes the offers of a look around; called on the IO thread and must not block.
pub type OfferTaker = Box<dyn Fn(Vec<CleaningOffer>) + Send>;

/// A replica closed at the end.
#[derive(Clone, Debug)]
pub struct Closed {
    pub directory: u16,
    pub topic: Arc<str>,
    pub partition: i32,
    pub clean: bool,
    pub recovery_point: i64,
    pub high_watermark: i64,
    /// Set only where it differs from the first segment's base offset.
    pub log_start: Option<i64>,
}
