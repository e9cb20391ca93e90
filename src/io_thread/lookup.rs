//! Look-ups that do not hold the loop up: what a read has to know of a file that is not in memory is fetched first.
//!
//! In: a log that is searched for a reader. Out: its answer, or the range that has to be in memory before it is asked
//! again (`FAULTS.md` F29: a slow disk harms who reads from it, and nobody else of its core).

use std::error::Error;
use std::fmt;
use std::io::{self, IoSlice};
use std::path::Path;

use crate::api::command::FetchSetId;
use crate::io_thread::{IoLoop, token, tokens};
use crate::log::{LogError, ReadError};
use crate::reactor::disk::{Entry, Residency, Space};
use crate::reactor::{Disk, Engine, File, OpenMode, Operation};

/// What one look-up fetches at once: a page of the index or the headers of a few batches are rarely alone.
const FETCH_BYTES: u64 = 32 << 10;

/// Who is looked up for.
#[derive(Clone, Copy, Debug)]
pub(super) enum LookUp {
    /// One entry of a fetch set.
    Fetch { set: FetchSetId, entry: u32 },
    /// A request for offsets, by its place in `IoLoop::listings`.
    List { listing: usize },
    /// Groups being loaded.
    Load { slot: u32, number: u32 },
}

impl IoLoop {
    /// Reads what is missing; `who` is asked to look again when it is there, or could not be read.
    pub(super) fn look_up(&mut self, who: LookUp, missing: Missing, engine: &mut dyn Engine) {
        let Missing { file, position, length } = missing;
        let token = token(tokens::LOOK_UP, self.lookups.insert(who));
        engine.submit(token, Operation::Read { file, position, into: vec![0; length] });
    }

    pub(super) fn on_looked_up(&mut self, key: usize, engine: &mut dyn Engine) {
        match self.lookups.remove(key) {
            LookUp::Fetch { set, entry } => {
                if let Some(looked_up) = self.sets.get_mut(&set) {
                    looked_up.looked_up(entry);
                    self.wake(set);
                }
            }
            LookUp::List { listing } => self.lists.push(listing),
            LookUp::Load { slot, number } => self.load_looked_up(slot, number, engine),
        }
    }
}

/// A range that is not in memory.
#[derive(Clone, Debug)]
pub(super) struct Missing {
    pub file: File,
    pub position: u64,
    pub length: usize,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes at {} are not in memory", self.length, self.position)
    }
}

impl Error for Missing {}

/// The range that kept a read from being answered, if that was all.
pub(super) fn missing(error: &ReadError) -> Option<&Missing> {
    match error {
        ReadError::Log(error) => missing_of_log(error),
        ReadError::OutOfRange { .. } => None,
    }
}

/// The same of a search in a log.
pub(super) fn missing_of_log(error: &LogError) -> Option<&Missing> {
    match error {
        LogError::Io { source, .. } => source.get_ref()?.downcast_ref(),
        LogError::NoSpace { .. } | LogError::Corrupt { .. } | LogError::Failed { .. } => None,
    }
}

/// A disk that reads from memory alone. All else it passes on.
#[derive(Clone, Copy)]
pub(super) struct InMemory<'a>(pub &'a dyn Disk);

impl Disk for InMemory<'_> {
    fn read_at(&self, file: &File, position: u64, into: &mut [u8]) -> io::Result<usize> {
        self.0.read_resident_at(file, position, into).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => {
                let from = position - position % FETCH_BYTES;
                let length = (position - from) as usize + into.len().max(FETCH_BYTES as usize);
                io::Error::new(error.kind(), Missing { file: file.clone(), position: from, length })
            }
            _ => error,
        })
    }

    fn read_resident_at(&self, file: &File, position: u64, into: &mut [u8]) -> io::Result<usize> {
        self.0.read_resident_at(file, position, into)
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<File> {
        self.0.open(path, mode)
    }

    fn length(&self, file: &File) -> io::Result<u64> {
        self.0.length(file)
    }

    fn write_at(&self, file: &File, position: u64, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.write_at(file, position, slices)
    }

    fn truncate(&self, file: &File, length: u64) -> io::Result<()> {
        self.0.truncate(file, length)
    }

    fn allocate(&self, file: &File, position: u64, length: u64) -> io::Result<()> {
        self.0.allocate(file, position, length)
    }

    fn sync_data(&self, file: &File) -> io::Result<()> {
        self.0.sync_data(file)
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        self.0.sync_directory(directory)
    }

    fn sync_file_system(&self, file: &File) -> io::Result<()> {
        self.0.sync_file_system(file)
    }

    fn start_write_out(&self, file: &File, position: u64, length: u64) -> io::Result<()> {
        self.0.start_write_out(file, position, length)
    }

    fn wait_write_out(&self, file: &File, position: u64, length: u64) -> io::Result<()> {
        self.0.wait_write_out(file, position, length)
    }

    fn drop_pages(&self, file: &File, position: u64, length: u64) -> io::Result<()> {
        self.0.drop_pages(file, position, length)
    }

    fn residency(&self, file: &File, position: u64, length: u64) -> io::Result<Option<Residency>> {
        self.0.residency(file, position, length)
    }

    fn modified_ms(&self, file: &File) -> io::Result<i64> {
        self.0.modified_ms(file)
    }

    fn set_modified_ms(&self, file: &File, ms: i64) -> io::Result<()> {
        self.0.set_modified_ms(file, ms)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.0.remove_file(path)
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        self.0.remove_directory(path)
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        self.0.create_directory(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<Entry>> {
        self.0.list(directory)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.0.exists(path)
    }

    fn space(&self, directory: &Path) -> io::Result<Space> {
        self.0.space(directory)
    }

    fn lock(&self, path: &Path) -> io::Result<File> {
        self.0.lock(path)
    }
}
