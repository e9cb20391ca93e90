//! How the control thread asks the IO threads for replicas: a trait, so that it knows neither threads nor files.
//!
//! In: batches of replicas, questions about them. Out: one answer for the whole batch, each replica's own result at its place in
//! it. An answer to a change means durable: a created directory is still there after a power cut, a removed one is not.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::config::{Config, TopicConfig};
use crate::ids::{BrokerId, Home, LeaderEpoch, Offset};
use crate::replication::{Answered, Term};
use crate::wire::error_code::ErrorCode;
use crate::wire::primitive::Uuid;

/// A replica that shall exist.
#[derive(Clone, Debug)]
pub struct NewReplica {
    pub topic: Arc<str>,
    pub partition: i32,
    pub topic_id: Uuid,
    pub leader_epoch: LeaderEpoch,
    pub config: Arc<TopicConfig>,
}

/// What an administrative request wants of one replica.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Question {
    /// Forget the records before an offset; `None`: before the high watermark.
    DeleteRecords { before: Option<Offset> },
    /// Where an epoch ended. `current` is the leader epoch that the client believes in, -1 when it does not say.
    EndOfEpoch { current: i32, epoch: i32 },
    /// The producers that are remembered.
    Producers,
    /// How large it is, and in which directory.
    Extent,
}

/// An idempotent producer, as a partition remembers it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RememberedProducer {
    pub id: i64,
    pub epoch: i16,
    /// -1: none; so for the rest.
    pub last_sequence: i32,
    /// ms since 1970.
    pub last_timestamp: i64,
    pub coordinator_epoch: i32,
    pub transaction_first: i64,
}

/// The answer to a `Question`, each to its own kind.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    Refused(ErrorCode),
    /// The log starts here now.
    LowWatermark(Offset),
    /// -1 in both: nothing is known of such an epoch.
    EndOfEpoch {
        epoch: i32,
        end: Offset,
    },
    Producers(Vec<RememberedProducer>),
    Extent {
        directory: u16,
        bytes: u64,
    },
}

/// A log directory as it is now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DirectoryFacts {
    pub path: String,
    pub has_failed: bool,
    /// Of its file system, in bytes; -1 where it cannot be asked.
    pub total_bytes: i64,
    pub usable_bytes: i64,
}

/// The IO threads, seen from the control thread. An error is a sentence for the client and the operator.
pub trait Replicas: Send {
    /// Makes each replica's directory and opens it; one that is there with the same topic id is opened as it is, one
    /// with another id is an error. What fails leaves no directory.
    fn create(&self, replicas: Vec<NewReplica>) -> oneshot::Receiver<Vec<Result<Home, String>>>;

    /// Closes each replica and renames its directory so that the name is free again; the files go later.
    fn delete(&self, replicas: Vec<Home>) -> oneshot::Receiver<Vec<Result<(), String>>>;

    /// Gives each replica its topic's new settings.
    fn reconfigure(&self, replicas: Vec<Home>, config: Arc<TopicConfig>) -> oneshot::Receiver<()>;

    /// Tells replicas what they are from now on: a leader appends under the epoch of its term, a follower follows.
    fn begin_terms(&self, terms: Vec<(Home, Term)>) -> oneshot::Receiver<()>;

    /// Who is alive, and where followers reach each.
    fn follow_brokers(&self, brokers: Arc<[(BrokerId, SocketAddr)]>);

    /// What became of the in-sync set that a leader asked for in its term.
    fn answer_proposal(&self, home: Home, term: LeaderEpoch, answered: Answered);

    /// The broker's settings from now on: what is made and reconfigured later follows them.
    fn follow_settings(&self, config: Arc<Config>);

    /// Asks replicas; one that is gone answers UNKNOWN_TOPIC_OR_PARTITION.
    fn ask(&self, questions: Vec<(Home, Question)>) -> oneshot::Receiver<Vec<Answer>>;

    /// The log directories, by their numbers.
    fn directories(&self) -> Vec<DirectoryFacts>;
}
