//! A broker's copy of the cluster's metadata, beside its logs: what is left when ZooKeeper has lost everything.
//!
//! In: the state at the start, and each change as it is followed. Out: a file in the format of the embedded store, checksummed and
//! flushed record by record, which `ringdaw metadata` exports, compares and writes back. It is read by that tool alone: a broker
//! believes ZooKeeper. When a copy knows topics that ZooKeeper no longer has, it is set aside before a new one replaces it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::Overrides;
use crate::metadata::embedded::Embedded;
use crate::metadata::settings_path;
use crate::metadata::state::{Change, State};
use crate::metadata::store::StoreError;
use crate::reactor::direct;
use crate::reactor::disk::Disk;

/// In the first log directory. Java brokers ignore plain files there.
pub const FILE_NAME: &str = "metadata.copy";
/// The copy before the last start, if it knew topics that ZooKeeper did not have then.
pub const BEFORE_FILE_NAME: &str = "metadata.copy.before";

const WRITTEN_MS: &str = "written.ms";
const CONTROLLER_EPOCH: &str = "controller.epoch";

/// What a copy says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// ms since 1970.
    pub written_ms: i64,
    /// The highest that this broker had heard of.
    pub controller_epoch: i32,
}

impl About {
    pub fn of(state: &State) -> About {
        let number = |key: &str| state.settings(settings_path::COPY).and_then(|all| all.get(key));
        About {
            written_ms: number(WRITTEN_MS).and_then(|text| text.parse().ok()).unwrap_or(0),
            controller_epoch: number(CONTROLLER_EPOCH).and_then(|text| text.parse().ok()).unwrap_or(0),
        }
    }

    pub fn change(self) -> Change {
        let settings: Overrides = [
            (WRITTEN_MS.to_owned(), self.written_ms.to_string()),
            (CONTROLLER_EPOCH.to_owned(), self.controller_epoch.to_string()),
        ]
        .into();
        Change::SettingsSet { path: settings_path::COPY.into(), settings }
    }

    fn now(controller_epoch: i32) -> About {
        About { written_ms: direct::wall().0, controller_epoch }
    }
}

/// The file, open for more.
pub struct Copy {
    store: Embedded,
    /// An error was said; the next start begins anew.
    stopped: bool,
}

impl Copy {
    /// Begins a new copy with what the cluster is now.
    pub fn begin(
        disk: Arc<dyn Disk>,
        directory: &Path,
        state: &State,
        controller_epoch: i32,
    ) -> Result<Copy, StoreError> {
        let path = directory.join(FILE_NAME);
        set_aside(&*disk, &path, &directory.join(BEFORE_FILE_NAME), state)?;
        let mut state = state.clone();
        let _ = state.apply(&About::now(controller_epoch).change())?;
        Ok(Copy { store: Embedded::replace(disk, path, state)?, stopped: false })
    }

    /// Follows changes that were made. An error stops the copy, not the broker, and is said once.
    pub fn follow(&mut self, changes: &[Change], controller_epoch: i32) {
        if self.stopped {
            return;
        }
        let mut changes = changes.to_vec();
        changes.push(About::now(controller_epoch).change());
        if let Err(error) = self.store.commit_now(&changes) {
            tracing::error!(%error, "the copy of the metadata is no longer kept; the next start begins a new one");
            self.stopped = true;
        }
    }
}

/// Keeps the last copy by another name where it knows of topics that are no longer there, or cannot be read.
fn set_aside(disk: &dyn Disk, path: &Path, aside: &Path, state: &State) -> Result<(), StoreError> {
    let io = |action| {
        let path = path.to_path_buf();
        move |source| StoreError::Io { path, action, source }
    };
    if !disk.exists(path).map_err(io("cannot be looked for"))? {
        return Ok(());
    }
    let why = match Embedded::peek(disk, path) {
        Ok(before) => {
            let lost = before.topics().filter(|topic| state.topic(&topic.id).is_none()).count();
            if lost == 0 {
                return Ok(());
            }
            format!("it knows {lost} topics that ZooKeeper does not have")
        }
        Err(error) => format!("it cannot be read: {error}"),
    };
    tracing::warn!(path = %aside.display(), "the last copy of the metadata is set aside: {why}");
    disk.rename(path, aside).map_err(io("cannot be renamed"))
}

/// Reads the copy of a log directory, or a copy by its own path.
pub fn read(disk: &dyn Disk, place: &Path) -> Result<(PathBuf, State), StoreError> {
    let path = if place.is_dir() { place.join(FILE_NAME) } else { place.to_path_buf() };
    let state = Embedded::peek(disk, &path)?;
    Ok((path, state))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::BrokerId;
    use crate::metadata::StoredTopic;
    use crate::reactor::OsDisk;
    use crate::wire::primitive::Uuid;

    fn topic(id: u8) -> Change {
        Change::TopicAdded(Arc::new(StoredTopic {
            id: Uuid([id; 16]),
            name: format!("t{id}").into(),
            leader_epochs: vec![0],
            since: 0,
            overrides: Overrides::new(),
            placements: Vec::new(),
        }))
    }

    fn state(topics: &[u8]) -> State {
        let mut state = State::default();
        let identity = Change::Identity { cluster_id: "c".into(), broker_id: BrokerId(1) };
        let _ = state.apply(&identity).unwrap();
        for id in topics {
            let _ = state.apply(&topic(*id)).unwrap();
        }
        state
    }

    #[test]
    fn a_copy_follows_and_is_set_aside_only_when_topics_are_missing() {
        let dir = tempfile::tempdir().unwrap();
        let (here, aside) = (dir.path().join(FILE_NAME), dir.path().join(BEFORE_FILE_NAME));
        let begin = |topics: &[u8]| Copy::begin(Arc::new(OsDisk), dir.path(), &state(topics), 4).unwrap();
        let mut copy = begin(&[1]);
        copy.follow(&[topic(2)], 7);
        let (path, read_back) = read(&OsDisk, dir.path()).unwrap();
        assert_eq!((path, read_back.topics().len()), (here.clone(), 2));
        assert_eq!(About::of(&read_back).controller_epoch, 7);
        drop(begin(&[1, 2, 3]));
        assert!(!aside.exists());
        drop(begin(&[3]));
        assert_eq!(Embedded::peek(&OsDisk, &aside).unwrap().topics().len(), 3);
        assert_eq!(Embedded::peek(&OsDisk, &here).unwrap().topics().len(), 1);
        std::fs::write(&here, "no copy").unwrap();
        drop(begin(&[3]));
        assert_eq!(std::fs::read(&aside).unwrap(), b"no copy");
    }
}
