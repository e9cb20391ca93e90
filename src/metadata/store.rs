//! Where metadata is kept: one trait, so that one broker's own file and a ZooKeeper ensemble look alike.
//!
//! In: changes, in commits. Out: the state they lead to, and events when somebody else changed it. When `commit` returns Ok,
//! the changes survive whatever happens next (G18).

use std::future::Future;
use std::io;
use std::ops::Range;
use std::path::PathBuf;

use crate::ids::BrokerId;
use crate::metadata::fresh_id::fresh_id;
use crate::metadata::state::{Change, State, Unfit};
use crate::metadata::zookeeper::ZooKeeper;
use crate::metadata::zookeeper::jute::ZkError;
use crate::metadata::zookeeper::znode::NodeError;
use crate::wire::primitive::Uuid;

/// Something that happened without our asking.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Others changed settings; `Store::state` shows them already.
    Changed(Vec<Change>),
    /// Who controls the cluster now.
    Controller(Option<BrokerId>),
    /// This broker is the controller from now on.
    Elected,
    /// It is not any more.
    Resigned,
    /// Watches that the controller set have fired.
    Fired(Vec<String>),
}

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{}: {action}: {source}", .path.display())]
    Io { path: PathBuf, action: &'static str, source: io::Error },
    #[error("{}: at byte {position}: {what}", .path.display())]
    Corrupt { path: PathBuf, position: u64, what: String },
    #[error("{}: format version {found}; this build knows up to {known}", .path.display())]
    Version { path: PathBuf, found: u16, known: u16 },
    #[error("{}: {what} is {stored}, but {asked_by} says {asked}", .path.display())]
    Foreign { path: PathBuf, what: &'static str, stored: String, asked_by: String, asked: String },
    #[error("both {} and {} hold metadata of a broker; remove the one that is not wanted", .first.display(), .second.display())]
    Twice { first: PathBuf, second: PathBuf },
    /// An earlier error left it unknown what is on the disk, so nothing more is promised until a restart.
    #[error("{}: no more changes until a restart, after: {why}", .path.display())]
    Stopped { path: PathBuf, why: String },
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// Nobody answers; what was asked may happen later all the same, and an event tells if it did.
    #[error("ZooKeeper cannot be reached: {why}")]
    Away { why: String },
    /// Another broker controls the cluster, or none.
    #[error("this broker is not the controller")]
    NotController,
    #[error("ZooKeeper node {path}: {action}: {source}")]
    Node { path: String, action: &'static str, source: ZkError },
    #[error(transparent)]
    BadNode(#[from] NodeError),
    /// Why this broker cannot join, for the operator.
    #[error("{0}")]
    Refused(String),
}

/// The keeper of metadata. The control thread owns it.
pub trait Store {
    /// A commit of many changes happens whole or not at all; where it does not, changes that do not depend on each other are
    /// committed one by one.
    const WHOLE: bool;
    /// It is shared: partitions have places on brokers, and a controller elects who leads them.
    const SHARED: bool;

    /// What has been committed.
    fn state(&self) -> &State;

    /// Makes `changes` durable. After an error the state holds those that were made.
    fn commit(&mut self, changes: Vec<Change>) -> impl Future<Output = Result<(), StoreError>>;

    /// The id of a topic that is about to be made.
    fn topic_id(&self, _name: &str, random: &mut dyn FnMut() -> u64) -> Uuid {
        fresh_id(random)
    }

    /// A block of producer ids that nobody else was or will be given.
    fn claim_producer_ids(&mut self) -> impl Future<Output = Result<Range<i64>, StoreError>>;

    /// Tells the others that this broker is here and can serve. To be called once, before the first news.
    fn enlist(&mut self) -> impl Future<Output = Result<(), StoreError>>;

    /// The store of a cluster, if this is one.
    fn cluster(&mut self) -> Option<&mut ZooKeeper> {
        None
    }

    /// Waits until something happened elsewhere; for ever, where nothing can. Dropping the future loses nothing.
    fn stirred(&mut self) -> impl Future<Output = ()>;

    /// What happened. To be called when `stirred` has returned, and awaited to its end.
    fn news(&mut self) -> impl Future<Output = Vec<Event>>;

    /// Tells the others that this broker goes.
    fn leave(&mut self) -> impl Future<Output = ()>;
}

/// Producer ids come in blocks, as in Kafka: one write for a thousand producers.
pub const PRODUCER_ID_BLOCK: i64 = 1000;
