//! What the controller needs of ZooKeeper, and how it names the nodes.
//!
//! In: paths and operations. Out: nodes, and what became of each multi. The trait has no clock, socket or thread in it, so
//! that a modelled ZooKeeper can stand behind it. Many reads, or many multis, go in one call: an implementation sends them
//! all before it waits for the first answer.

use std::future::Future;

use crate::metadata::zookeeper::jute::{Operation, ZkError};
use crate::metadata::zookeeper::znode;

/// A node that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Empty where the node has none.
    pub data: Vec<u8>,
    pub version: i32,
    /// The transaction that made it; of `/brokers/ids/N` it is the broker epoch.
    pub czxid: i64,
}

/// Why the controller cannot go on. What it knows may be behind from here on: it leaves office, and whoever is elected next
/// reads everything again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// `/controller_epoch` was raised by another controller: nothing of ours is written any more.
    #[error("another controller was elected")]
    Deposed,
    /// The session is over, or nobody answers.
    #[error("ZooKeeper cannot be reached: {why}")]
    Away { why: String },
    #[error("ZooKeeper node {path}: {source}")]
    Node { path: String, source: ZkError },
}

/// What became of one multi; an error names the operation that failed by its index.
pub type Outcome = Result<(), (usize, ZkError)>;

/// ZooKeeper, as the controller uses it. Calls are carried out in the order they are made.
pub trait Ensemble {
    /// What the nodes hold, in the order of `paths`; `None` where there is no node. `watch`: each one that changes, goes, or
    /// is made where it was not there, is told once to whoever hears the watches.
    fn data(
        &mut self,
        paths: Vec<String>,
        watch: bool,
    ) -> impl Future<Output = Result<Vec<Option<Node>>, Lost>>;

    /// The names below a node, in no order; none where it is not there.
    fn children(&mut self, path: &str, watch: bool) -> impl Future<Output = Result<Vec<String>, Lost>>;

    /// Carries out each multi whole or not at all, one after the other whatever became of those before it.
    fn multi(&mut self, multis: Vec<Vec<Operation>>) -> impl Future<Output = Result<Vec<Outcome>, Lost>>;
}

/// Something that happened in ZooKeeper: a watch that fired.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Event {
    /// Brokers came, went, or came back with a new epoch.
    Brokers,
    /// What one broker registered was changed.
    Broker(i32),
    /// Topics came or went.
    Topics,
    /// A topic's node was changed.
    Topic(String),
    /// Topics are asked to be deleted.
    Deletions,
    /// Leaders changed in-sync sets in ZooKeeper themselves.
    IsrChanges,
    /// A partition's leader changed its in-sync set; watched only while the partition is being moved.
    State(String, i32),
    /// Brokers lost log directories.
    LogDirs,
    /// Partitions are asked to move, by a node.
    Reassignment,
    /// Preferred leaders are asked for, by a node.
    PreferredElection,
}

impl Event {
    /// What it means for the controller that the watch of this path fired; `None`: nothing.
    pub fn of_path(path: &str) -> Option<Event> {
        match path {
            znode::BROKER_IDS => return Some(Event::Brokers),
            znode::TOPICS => return Some(Event::Topics),
            znode::DELETE_TOPICS => return Some(Event::Deletions),
            znode::ISR_CHANGES => return Some(Event::IsrChanges),
            znode::LOG_DIR_EVENTS => return Some(Event::LogDirs),
            znode::REASSIGN_PARTITIONS => return Some(Event::Reassignment),
            znode::PREFERRED_ELECTION => return Some(Event::PreferredElection),
            _ => {}
        }
        if let Some(id) = below(path, znode::BROKER_IDS) {
            return Some(Event::Broker(id.parse().ok()?));
        }
        let topic = below(path, znode::TOPICS)?;
        match topic.split('/').collect::<Vec<_>>()[..] {
            [topic] => Some(Event::Topic(topic.to_owned())),
            [topic, "partitions", partition, "state"] => {
                Some(Event::State(topic.to_owned(), partition.parse().ok()?))
            }
            _ => None,
        }
    }
}

fn below<'a>(path: &'a str, parent: &str) -> Option<&'a str> {
    path.strip_prefix(parent)?.strip_prefix('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_means_what_its_path_says() {
        let of = |path: &str| Event::of_path(path);
        assert_eq!(of("/brokers/ids"), Some(Event::Brokers));
        assert_eq!(of("/brokers/ids/7"), Some(Event::Broker(7)));
        assert_eq!(of("/brokers/topics/a"), Some(Event::Topic("a".to_owned())));
        assert_eq!(of("/brokers/topics/a/partitions/3/state"), Some(Event::State("a".to_owned(), 3)));
        assert_eq!(of("/admin/reassign_partitions"), Some(Event::Reassignment));
        for other in ["/controller", "/brokers/ids/x", "/brokers/topics/a/partitions", "/config/changes", ""]
        {
            assert_eq!(of(other), None, "{other}");
        }
    }
}
