//! Where metadata is kept: one trait, so that one broker's own file and a ZooKeeper ensemble look alike.
//!
//! In: changes, in commits that happen whole or not at all. Out: the state they lead to, and events when somebody
//! else changed it. When `commit` returns Ok, the changes survive whatever happens next (G18).

use std::future::Future;
use std::io;
use std::path::PathBuf;

use crate::metadata::state::{Change, State, Unfit};

/// Something that changed without our asking.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Others made these changes; `Store::state` shows them already.
    Changed(Vec<Change>),
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
}

/// The keeper of metadata. The control thread owns it.
pub trait Store {
    /// What has been committed.
    fn state(&self) -> &State;

    /// Makes all of `changes` durable, or none; after an error the state is what it was.
    fn commit(&mut self, changes: Vec<Change>) -> impl Future<Output = Result<(), StoreError>>;

    /// The next change that somebody else made; never, where nobody else can. Dropping the future loses nothing.
    fn event(&mut self) -> impl Future<Output = Event>;
}
