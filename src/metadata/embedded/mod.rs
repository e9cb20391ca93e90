//! One broker's own store: a file in its first log directory, to which every commit appends one flushed record.
//!
//! In: changes. Out: `Ok` when they are on the device. Opening reads the file back: a record that the last stop
//! tore is cut off and reported, anything else that is not whole is refused with its position, because what stands
//! behind it was acknowledged. When the records outgrow the state, a snapshot replaces the file in one step.
//! The first error of a flush stops the store (`FAULTS.md` H08): nobody knows any more what is on the device.

mod record;

use std::future::{Future, pending};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::ids::BrokerId;
use crate::metadata::fresh_id::fresh_id;
use crate::metadata::state::{Change, State, Unfit};
use crate::metadata::store::{Event, PRODUCER_ID_BLOCK, Store, StoreError};
use crate::reactor::disk::{Disk, File, OpenMode};

/// The file's name. Java brokers ignore plain files in a log directory, so it can stay when one takes over.
pub const FILE_NAME: &str = "metadata.store";

/// A snapshot is due when the records behind the last one are larger than this and than the snapshot itself.
const TAIL_BYTES_MIN: u64 = 1 << 20;
/// A snapshot is cut into records of about so many changes, so that no record is as large as the state.
const SNAPSHOT_CHANGES_PER_RECORD: usize = 1024;

/// Whose store it is to be, as the settings and `meta.properties` say; `None` leaves it to the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    pub broker_id: Option<BrokerId>,
    pub cluster_id: Option<String>,
    /// Who says so, for the message when the store says otherwise: `server.properties`, a path.
    pub said_by: String,
    /// The file that names the cluster, if one does.
    pub cluster_said_by: String,
    /// The broker id of a new store when nobody names one.
    pub broker_id_default: i32,
}

/// What opening found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    /// There was no store; this one is new.
    New,
    Read {
        /// Bytes of a torn last record that were cut off, and where the file ends now. Nothing that was
        /// acknowledged was in them.
        cut: Option<Cut>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    pub position: u64,
    pub bytes: u64,
}

pub struct Embedded {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    file: File,
    state: State,
    /// Where the next record goes.
    end: u64,
    next_sequence: u64,
    snapshot_bytes: u64,
    /// Why nothing can be committed any more.
    stopped: Option<String>,
}

impl Embedded {
    /// Opens the store of these log directories, or makes one in the first of them.
    pub fn open(
        disk: Arc<dyn Disk>,
        log_dirs: &[PathBuf],
        owner: &Owner,
        random: &mut dyn FnMut() -> u64,
    ) -> Result<(Embedded, Opened), StoreError> {
        match find(&*disk, log_dirs)? {
            Some(path) => {
                let (store, cut) = Embedded::read(disk, path)?;
                store.check_owner(owner)?;
                Ok((store, Opened::Read { cut }))
            }
            None => Embedded::new(disk, log_dirs[0].join(FILE_NAME), owner, random)
                .map(|store| (store, Opened::New)),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    fn new(
        disk: Arc<dyn Disk>,
        path: PathBuf,
        owner: &Owner,
        random: &mut dyn FnMut() -> u64,
    ) -> Result<Embedded, StoreError> {
        let cluster_id = owner.cluster_id.clone().unwrap_or_else(|| fresh_id(random).to_string());
        let broker_id = owner.broker_id.unwrap_or(BrokerId(owner.broker_id_default));
        let mut state = State::default();
        let _ = state.apply(&Change::Identity { cluster_id: cluster_id.into(), broker_id })?;
        Embedded::replace(disk, path, state)
    }

    /// A file that holds `state`, whatever was there before.
    pub(in crate::metadata) fn replace(
        disk: Arc<dyn Disk>,
        path: PathBuf,
        state: State,
    ) -> Result<Embedded, StoreError> {
        let (bytes, next_sequence) = snapshot(&state, 0);
        disk.replace_file(&path, &bytes).map_err(|e| io_error(&path, "cannot be made", e))?;
        let file = disk.open(&path, OpenMode::Write).map_err(|e| io_error(&path, "cannot be opened", e))?;
        let length = bytes.len() as u64;
        Ok(Embedded {
            disk,
            path,
            file,
            state,
            end: length,
            next_sequence,
            snapshot_bytes: length,
            stopped: None,
        })
    }

    /// What a file holds, which may be somebody else's and growing: nothing is written, and a torn end is left out.
    pub(in crate::metadata) fn peek(disk: &dyn Disk, path: &Path) -> Result<State, StoreError> {
        let bytes = disk.read_file(path).map_err(|e| io_error(path, "cannot be read", e))?;
        Ok(replay(path, &bytes)?.state)
    }

    fn read(disk: Arc<dyn Disk>, path: PathBuf) -> Result<(Embedded, Option<Cut>), StoreError> {
        let file = disk.open(&path, OpenMode::Write).map_err(|e| io_error(&path, "cannot be opened", e))?;
        // What is read must be durable, or a later stop could take back what this start relied on (H07).
        disk.sync_data(&file).map_err(|e| io_error(&path, "cannot be flushed", e))?;
        disk.sync_directory(directory(&path)).map_err(|e| io_error(&path, "cannot be flushed", e))?;
        let bytes = disk.read_file(&path).map_err(|e| io_error(&path, "cannot be read", e))?;
        let Replayed { state, end, next_sequence, snapshot_bytes } = replay(&path, &bytes)?;
        let torn = bytes.len() as u64 - end;
        if torn > 0 {
            disk.truncate(&file, end).map_err(|e| io_error(&path, "cannot be cut", e))?;
            disk.sync_data(&file).map_err(|e| io_error(&path, "cannot be flushed", e))?;
        }
        let cut = (torn > 0).then_some(Cut { position: end, bytes: torn });
        let store = Embedded { disk, path, file, state, end, next_sequence, snapshot_bytes, stopped: None };
        Ok((store, cut))
    }

    fn check_owner(&self, owner: &Owner) -> Result<(), StoreError> {
        let foreign = |what, stored: String, asked: String| StoreError::Foreign {
            path: self.path.clone(),
            what,
            stored,
            asked_by: owner.said_by.clone(),
            asked,
        };
        if let Some(asked) = owner.broker_id.filter(|asked| *asked != self.state.broker_id()) {
            return Err(foreign("broker.id", self.state.broker_id().to_string(), asked.to_string()));
        }
        match &owner.cluster_id {
            Some(asked) if **asked != **self.state.cluster_id() => {
                Err(foreign("cluster.id", self.state.cluster_id().to_string(), asked.clone()))
            }
            Some(_) | None => Ok(()),
        }
    }

    pub(in crate::metadata) fn commit_now(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        if let Some(why) = &self.stopped {
            return Err(StoreError::Stopped { path: self.path.clone(), why: why.clone() });
        }
        if changes.is_empty() {
            return Ok(());
        }
        let undos = self.state.apply_all(changes)?;
        let mut bytes = Vec::new();
        record::put_record(&mut bytes, self.next_sequence, changes);
        if let Err(error) = self.append(&bytes) {
            self.state.take_back(undos);
            return Err(error);
        }
        self.end += bytes.len() as u64;
        self.next_sequence += 1;
        if self.end - self.snapshot_bytes > TAIL_BYTES_MIN.max(self.snapshot_bytes) {
            self.compact();
        }
        Ok(())
    }

    /// Writes and flushes a record; after an error nothing of it is in the file, or the store stops.
    fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let written = self.disk.write_all_at(&self.file, self.end, bytes);
        if let Err(error) = written {
            // Half a record would be cut at the next start, but the next commit must not be written behind it.
            let undone =
                self.disk.truncate(&self.file, self.end).and_then(|()| self.disk.sync_data(&self.file));
            if let Err(undone) = undone {
                self.stopped = Some(format!("{error}; and taking it back: {undone}"));
            }
            return Err(io_error(&self.path, "cannot be written", error));
        }
        self.disk.sync_data(&self.file).map_err(|error| {
            self.stopped = Some(error.to_string());
            io_error(&self.path, "cannot be flushed", error)
        })
    }

    /// Replaces the file by a snapshot. What was committed is durable with or without it, so an error before the
    /// replacement costs nothing but room; one after it leaves no file to append to, and stops the store.
    fn compact(&mut self) {
        let (bytes, next_sequence) = snapshot(&self.state, self.next_sequence);
        if let Err(error) = self.disk.replace_file(&self.path, &bytes) {
            // The rename may have happened, and then `file` is no longer the file of this name.
            self.stopped = Some(format!("a snapshot could not be written: {error}"));
            tracing::error!(path = %self.path.display(), %error, "metadata store: no snapshot, no more changes");
            return;
        }
        match self.disk.open(&self.path, OpenMode::Write) {
            Ok(file) => {
                self.file = file;
                self.end = bytes.len() as u64;
                self.snapshot_bytes = self.end;
                self.next_sequence = next_sequence;
            }
            Err(error) => {
                self.stopped = Some(format!("the snapshot cannot be opened: {error}"));
                tracing::error!(path = %self.path.display(), %error, "metadata store: no more changes");
            }
        }
    }
}

impl Store for Embedded {
    const WHOLE: bool = true;
    const SHARED: bool = false;

    fn state(&self) -> &State {
        &self.state
    }

    async fn commit(&mut self, changes: Vec<Change>) -> Result<(), StoreError> {
        self.commit_now(&changes)
    }

    /// A stop loses the rest of the block.
    async fn claim_producer_ids(&mut self) -> Result<Range<i64>, StoreError> {
        let first = self.state.producer_ids_below();
        let below = first
            .checked_add(PRODUCER_ID_BLOCK)
            .ok_or_else(|| Unfit("there are no producer ids left".to_owned()))?;
        self.commit_now(&[Change::ProducerIdsBelow(below)])?;
        Ok(first..below)
    }

    async fn enlist(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    fn stirred(&mut self) -> impl Future<Output = ()> {
        pending()
    }

    async fn news(&mut self) -> Vec<Event> {
        Vec::new()
    }

    async fn leave(&mut self) {}
}

/// Where the store is: in the first directory, unless somebody changed the order of `log.dirs`.
fn find(disk: &dyn Disk, log_dirs: &[PathBuf]) -> Result<Option<PathBuf>, StoreError> {
    let mut found: Option<PathBuf> = None;
    for path in log_dirs.iter().map(|directory| directory.join(FILE_NAME)) {
        if disk.exists(&path).map_err(|e| io_error(&path, "cannot be looked for", e))? {
            match found {
                Some(first) => return Err(StoreError::Twice { first, second: path }),
                None => found = Some(path),
            }
        }
    }
    Ok(found)
}

/// The whole file of a snapshot, and the sequence behind it.
fn snapshot(state: &State, mut sequence: u64) -> (Vec<u8>, u64) {
    let mut bytes = vec![0; record::HEADER_BYTES];
    for changes in state.as_changes().chunks(SNAPSHOT_CHANGES_PER_RECORD) {
        record::put_record(&mut bytes, sequence, changes);
        sequence += 1;
    }
    let header = record::header(bytes.len() as u64);
    bytes[..record::HEADER_BYTES].copy_from_slice(&header);
    (bytes, sequence)
}

struct Replayed {
    state: State,
    end: u64,
    next_sequence: u64,
    snapshot_bytes: u64,
}

fn replay(path: &Path, bytes: &[u8]) -> Result<Replayed, StoreError> {
    let corrupt = |position: usize, what: String| StoreError::Corrupt {
        path: path.to_owned(),
        position: position as u64,
        what,
    };
    let snapshot_bytes = match record::read_header(bytes) {
        record::Header::Known { snapshot_bytes } => snapshot_bytes,
        record::Header::OtherVersion(found) => {
            return Err(StoreError::Version { path: path.to_owned(), found, known: record::VERSION });
        }
        record::Header::Broken(what) => return Err(corrupt(0, what.to_owned())),
    };
    let mut state = State::default();
    let mut at = record::HEADER_BYTES;
    let mut next_sequence: Option<u64> = None;
    while at < bytes.len() {
        let Some(record) = record::read_record(&bytes[at..]) else { break };
        if next_sequence.is_some_and(|expected| record.sequence != expected) {
            let what =
                format!("record {} where {} is expected", record.sequence, next_sequence.unwrap_or_default());
            return Err(corrupt(at, what));
        }
        let changes = record::read_changes(record.payload).map_err(|e| corrupt(at, e.to_string()))?;
        let _ = state.apply_all(&changes).map_err(|unfit| corrupt(at, unfit.to_string()))?;
        at += record.bytes;
        next_sequence = Some(record.sequence + 1);
    }
    if (at as u64) < snapshot_bytes {
        return Err(corrupt(at, "a record of the snapshot is damaged".to_owned()));
    }
    if let Some(whole) = whole_record_behind(&bytes[at..], next_sequence.unwrap_or(0)) {
        return Err(corrupt(
            at,
            format!("a record is damaged, and a whole one follows at byte {}", at + whole),
        ));
    }
    let Some(next_sequence) = next_sequence else {
        return Err(corrupt(at, "there is no record".to_owned()));
    };
    Ok(Replayed { state, end: at as u64, next_sequence, snapshot_bytes })
}

/// Only the last record can be torn, for each is flushed before the next one is written; so a whole record behind a
/// bad one means damage, and what is damaged had been acknowledged.
fn whole_record_behind(tail: &[u8], expected: u64) -> Option<usize> {
    (1..tail.len()).find(|&at| {
        let rest = &tail[at..];
        let sequence = rest.get(8..16).and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes);
        // The sequence is looked at first: it keeps the checksum from being computed at every byte.
        sequence.is_some_and(|sequence| sequence > expected && sequence - expected < 1 << 32)
            && record::read_record(rest).is_some()
    })
}

fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    }
}

fn io_error(path: &Path, action: &'static str, source: io::Error) -> StoreError {
    StoreError::Io { path: path.to_owned(), action, source }
}

#[cfg(test)]
mod tests;
