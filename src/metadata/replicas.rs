//! How the control thread asks the IO threads for replicas: a trait, so that it knows neither threads nor files.
//!
//! In: batches of replicas. Out: one answer for the whole batch, each replica's own result at its place in it.
//! An answer means durable: a created directory is still there after a power cut, a removed one is not.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::config::TopicConfig;
use crate::ids::{Home, LeaderEpoch};
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

/// The IO threads, seen from the control thread. An error is a sentence for the client and the operator.
pub trait Replicas: Send {
    /// Makes each replica's directory and opens it; one that is there with the same topic id is opened as it is, one
    /// with another id is an error. What fails leaves no directory.
    fn create(&self, replicas: Vec<NewReplica>) -> oneshot::Receiver<Vec<Result<Home, String>>>;

    /// Closes each replica and renames its directory so that the name is free again; the files go later.
    fn delete(&self, replicas: Vec<Home>) -> oneshot::Receiver<Vec<Result<(), String>>>;

    /// Gives each replica its topic's new settings.
    fn reconfigure(&self, replicas: Vec<Home>, config: Arc<TopicConfig>) -> oneshot::Receiver<()>;
}
