//! A disk in memory with the faults of a real one: what was written and not flushed may be lost, whole or in part.
//!
//! In: `Disk` calls, and what is to go wrong. Out: the answers, and after `power_cut` what is left. The cache and the
//! device are two copies of each file: a flush copies from one to the other, a power cut keeps any subset of the
//! unflushed 512-byte sectors, and names live only once their directory was flushed (`FAULTS.md` 4.2).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::random::Random;
use crate::reactor::disk::{CloseGuard, Entry, Residency, Space};
use crate::reactor::{Disk, File, OpenMode};

/// A device writes a sector whole or not at all.
const SECTOR_BYTES: usize = 512;
const PAGE_BYTES: u64 = 4096;
/// Linux's number for an error of the device.
const EIO: i32 = 5;
const ENOSPC: i32 = 28;

/// What goes wrong at a chosen call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The call fails. Of a flush: its pages count as clean from then on, and the next flush succeeds (H08).
    Eio,
    /// No room; of a write, after half of its bytes.
    NoSpace,
    /// The machine or the process stops here: a write may have done half its work, all later calls fail.
    Stop,
}

/// The disk. Clones share it.
#[derive(Clone, Debug)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    random: Random,
    inodes: Vec<Inode>,
    /// Names as programs see them.
    names: BTreeMap<PathBuf, usize>,
    /// Names as they are on the device.
    durable_names: BTreeMap<PathBuf, usize>,
    /// Changes of names that their directory's flush has not covered yet, in order.
    pending: Vec<NameChange>,
    open: HashMap<u64, usize>,
    locked: BTreeSet<PathBuf>,
    next_handle: u64,
    calls: u64,
    fault: Option<(u64, Fault)>,
    stopped: bool,
    short_counts: bool,
    cold: bool,
    missing: u64,
    /// Pages that have been read, by inode.
    in_memory: BTreeSet<(usize, u64)>,
    free_bytes: Option<u64>,
    now_ms: i64,
}

#[derive(Clone, Debug)]
enum NameChange {
    Made { path: PathBuf, inode: usize },
    Renamed { from: PathBuf, to: PathBuf, inode: usize },
    Removed { path: PathBuf },
}

impl NameChange {
    fn touches(&self, directory: &Path) -> bool {
        match self {
            NameChange::Made { path, .. } | NameChange::Removed { path } => path.parent() == Some(directory),
            NameChange::Renamed { from, to, .. } => {
                from.parent() == Some(directory) || to.parent() == Some(directory)
            }
        }
    }

    fn apply(&self, names: &mut BTreeMap<PathBuf, usize>) {
        match self {
            NameChange::Made { path, inode } => {
                names.insert(path.clone(), *inode);
            }
            NameChange::Removed { path } => {
                names.remove(path);
            }
            NameChange::Renamed { from, to, inode } => rename_tree(names, from, to, *inode),
        }
    }
}

fn rename_tree(names: &mut BTreeMap<PathBuf, usize>, from: &Path, to: &Path, inode: usize) {
    let moved: Vec<PathBuf> =
        names.keys().filter(|path| path.starts_with(from) && path.as_path() != from).cloned().collect();
    names.remove(from);
    names.insert(to.to_path_buf(), inode);
    for path in moved {
        let inode = names.remove(&path).expect("listed a moment ago");
        let inside = path.strip_prefix(from).expect("it starts with it");
        names.insert(to.join(inside), inode);
    }
}

#[derive(Clone, Debug, Default)]
struct Inode {
    is_directory: bool,
    /// What programs read.
    cached: Vec<u8>,
    /// What the device holds; may be longer or shorter than `durable_length`.
    durable: Vec<u8>,
    durable_length: usize,
    dirty: BTreeSet<usize>,
    modified_ms: i64,
}

impl Inode {
    fn write_back(&mut self, sectors: impl IntoIterator<Item = usize>) {
        for sector in sectors {
            let from = sector * SECTOR_BYTES;
            let to = (from + SECTOR_BYTES).min(self.cached.len());
            if from >= to {
                continue;
            }
            if self.durable.len() < to {
                self.durable.resize(to, 0);
            }
            self.durable[from..to].copy_from_slice(&self.cached[from..to]);
        }
    }

    fn flush(&mut self) {
        let dirty = std::mem::take(&mut self.dirty);
        self.write_back(dirty);
        self.durable_length = self.cached.len();
        self.durable.resize(self.durable_length, 0);
    }

    fn device_bytes(&self, sector: usize) -> Vec<u8> {
        let from = sector * SECTOR_BYTES;
        let mut bytes: Vec<u8> = self.durable.iter().skip(from).take(SECTOR_BYTES).copied().collect();
        bytes.resize(SECTOR_BYTES, 0);
        bytes
    }
}

#[derive(Debug)]
struct Guard {
    state: Weak<Mutex<State>>,
    handle: u64,
    unlock: Option<PathBuf>,
}

impl CloseGuard for Guard {}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(state) = self.state.upgrade() {
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            state.open.remove(&self.handle);
            if let Some(path) = &self.unlock {
                state.locked.remove(path);
            }
        }
    }
}

impl SimDisk {
    /// An empty disk; `seed` decides everything that chance decides.
    pub fn new(seed: u64) -> SimDisk {
        let root = Inode { is_directory: true, ..Inode::default() };
        let names = BTreeMap::from([(PathBuf::from("/"), 0)]);
        let state = State {
            random: Random::new(seed),
            inodes: vec![root],
            durable_names: names.clone(),
            names,
            pending: Vec::new(),
            open: HashMap::new(),
            locked: BTreeSet::new(),
            next_handle: 0,
            calls: 0,
            fault: None,
            stopped: false,
            short_counts: false,
            cold: false,
            missing: 0,
            in_memory: BTreeSet::new(),
            free_bytes: None,
            now_ms: 0,
        };
        SimDisk { state: Arc::new(Mutex::new(state)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls so far that change something on the disk.
    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    /// Lets the `call`-th changing call from the beginning go wrong.
    pub fn fail_at(&self, call: u64, fault: Fault) {
        self.state().fault = Some((call, fault));
    }

    /// Whether the planned fault has happened.
    pub fn has_failed(&self) -> bool {
        self.state().fault.is_none()
    }

    /// Half of what was not read yet is not in memory.
    pub fn set_cold(&self, cold: bool) {
        self.state().cold = cold;
    }

    /// How often something asked for from memory was not there.
    pub fn missing(&self) -> u64 {
        self.state().missing
    }

    /// Reads and writes come back short, down to one byte.
    pub fn set_short_counts(&self, short: bool) {
        self.state().short_counts = short;
    }

    /// The room that is left; `None` is endless.
    pub fn set_free_bytes(&self, free: Option<u64>) {
        self.state().free_bytes = free;
    }

    /// The process ends and starts again: files are as they were, nothing is open or locked.
    pub fn restart_process(&self) {
        let mut state = self.state();
        state.stopped = false;
        state.fault = None;
        state.open.clear();
        state.locked.clear();
    }

    /// The power goes and comes back: of what was not flushed any subset is there.
    pub fn power_cut(&self) {
        let mut state = self.state();
        let state = &mut *state;
        let random = &mut state.random;
        for inode in &mut state.inodes {
            let longest = inode.cached.len().max(inode.durable_length);
            let shortest = inode.cached.len().min(inode.durable_length);
            let survivors: Vec<usize> = inode.dirty.iter().copied().filter(|_| random.coin()).collect();
            inode.write_back(survivors);
            inode.dirty.clear();
            // A size is on its way like a sector: the old one, the new one, or one in between.
            let length = match random.below(4) {
                0 => inode.durable_length,
                1 => inode.cached.len(),
                _ => shortest + random.below((longest - shortest + 1) as u64) as usize,
            };
            inode.durable.resize(length, 0);
            inode.durable_length = length;
            inode.cached = inode.durable.clone();
        }
        // Names go through a journal: for each directory a beginning of what happened in it survives.
        let pending = std::mem::take(&mut state.pending);
        let keep = random.below(pending.len() as u64 + 1) as usize;
        for change in &pending[..keep] {
            change.apply(&mut state.durable_names);
        }
        let names = state.durable_names.clone();
        state.durable_names.retain(|path, _| path.ancestors().all(|above| names.contains_key(above)));
        state.names = state.durable_names.clone();
        state.stopped = false;
        state.fault = None;
        state.open.clear();
        state.locked.clear();
    }

    /// The content of a file as programs see it.
    pub fn content(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.state();
        state.names.get(path).map(|inode| state.inodes[*inode].cached.clone())
    }

    /// Changes a file behind everybody's back, on the device too.
    pub fn corrupt(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state();
        if let Some(inode) = state.names.get(path).copied() {
            let inode = &mut state.inodes[inode];
            change(&mut inode.cached);
            inode.dirty.clear();
            inode.durable = inode.cached.clone();
            inode.durable_length = inode.cached.len();
        }
    }
}

impl State {
    /// Counts a changing call and says what goes wrong with it.
    fn change(&mut self) -> io::Result<Option<Fault>> {
        self.alive()?;
        self.calls += 1;
        match self.fault {
            Some((at, fault)) if at == self.calls => {
                self.fault = None;
                self.stopped = fault == Fault::Stop;
                Ok(Some(fault))
            }
            Some(_) | None => Ok(None),
        }
    }

    /// The same for calls that happen whole or not at all.
    fn change_or_fail(&mut self) -> io::Result<()> {
        match self.change()? {
            None => Ok(()),
            Some(Fault::Eio) => Err(io::Error::from_raw_os_error(EIO)),
            Some(Fault::NoSpace) => Err(io::Error::from_raw_os_error(ENOSPC)),
            // Done or not done when the machine stopped: nobody can tell.
            Some(Fault::Stop) if self.random.coin() => Ok(()),
            Some(Fault::Stop) => Err(stopped()),
        }
    }

    fn alive(&self) -> io::Result<()> {
        if self.stopped { Err(stopped()) } else { Ok(()) }
    }

    fn inode_of(&mut self, file: &File) -> io::Result<&mut Inode> {
        let number = self.number_of(file)?;
        Ok(&mut self.inodes[number])
    }

    fn number_of(&self, file: &File) -> io::Result<usize> {
        let handle = file.double().ok_or_else(|| io::Error::other("not a file of this disk"))?;
        self.open.get(&handle).copied().ok_or_else(|| io::Error::other("the file was open before a restart"))
    }

    fn lookup(&self, path: &Path) -> io::Result<usize> {
        self.names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn apply(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.pending.push(change);
    }

    fn make(&mut self, path: &Path, is_directory: bool) -> io::Result<usize> {
        let parent = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        self.lookup(parent)?;
        self.inodes.push(Inode { is_directory, modified_ms: self.now_ms, ..Inode::default() });
        let inode = self.inodes.len() - 1;
        self.apply(NameChange::Made { path: path.to_path_buf(), inode });
        Ok(inode)
    }

    fn shorten(&mut self, count: usize) -> usize {
        if self.short_counts && count > 1 && self.random.coin() {
            1 + self.random.below(count as u64 - 1) as usize
        } else {
            count
        }
    }

    fn flush_names_of(&mut self, directory: &Path) {
        let (covered, left): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.pending).into_iter().partition(|change| change.touches(directory));
        for change in covered {
            change.apply(&mut self.durable_names);
        }
        self.pending = left;
    }
}

fn stopped() -> io::Error {
    io::Error::other("the machine has stopped")
}

fn sectors(position: u64, length: u64) -> std::ops::Range<usize> {
    position as usize / SECTOR_BYTES..(position + length).div_ceil(SECTOR_BYTES as u64) as usize
}

impl Disk for SimDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<File> {
        let mut state = self.state();
        state.alive()?;
        let existing = state.names.get(path).copied();
        let inode = match (existing, mode) {
            (Some(_), OpenMode::CreateNew) => return Err(io::ErrorKind::AlreadyExists.into()),
            (Some(inode), OpenMode::Read | OpenMode::Write | OpenMode::Create) => inode,
            (None, OpenMode::Read | OpenMode::Write) => return Err(io::ErrorKind::NotFound.into()),
            (None, OpenMode::Create | OpenMode::CreateNew) => {
                state.change_or_fail()?;
                state.make(path, false)?
            }
        };
        let handle = state.next_handle;
        state.next_handle += 1;
        state.open.insert(handle, inode);
        let guard = Guard { state: Arc::downgrade(&self.state), handle, unlock: None };
        drop(state);
        Ok(File::from_double(handle, Box::new(guard)))
    }

    fn length(&self, file: &File) -> io::Result<u64> {
        let mut state = self.state();
        state.alive()?;
        Ok(state.inode_of(file)?.cached.len() as u64)
    }

    fn write_at(&self, file: &File, position: u64, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut state = self.state();
        let number = state.number_of(file)?;
        let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        let mut count = state.shorten(bytes.len());
        let mut error = None;
        match state.change()? {
            None => {}
            Some(Fault::Eio) => return Err(io::Error::from_raw_os_error(EIO)),
            Some(Fault::NoSpace) if count < 2 => return Err(io::Error::from_raw_os_error(ENOSPC)),
            Some(Fault::NoSpace) => {
                count /= 2;
                // The rest of the write finds no room either, until somebody makes some.
                state.fault = Some((state.calls + 1, Fault::NoSpace));
            }
            Some(Fault::Stop) => {
                count = state.random.below(count as u64 + 1) as usize;
                error = Some(stopped());
            }
        }
        let length = state.inodes[number].cached.len() as u64;
        let grows = (position + count as u64).saturating_sub(length);
        if let Some(free) = state.free_bytes {
            let short = grows.saturating_sub(free) as usize;
            if short > 0 && short >= count {
                return Err(io::Error::from_raw_os_error(ENOSPC));
            }
            count -= short;
            state.free_bytes = Some(free - (grows - short as u64));
        }
        let now_ms = state.now_ms;
        let inode = &mut state.inodes[number];
        let end = position as usize + count;
        if inode.cached.len() < end {
            inode.cached.resize(end, 0);
        }
        inode.cached[position as usize..end].copy_from_slice(&bytes[..count]);
        inode.dirty.extend(sectors(position, count as u64));
        inode.modified_ms = now_ms;
        error.map_or(Ok(count), Err)
    }

    fn read_at(&self, file: &File, position: u64, into: &mut [u8]) -> io::Result<usize> {
        let mut state = self.state();
        state.alive()?;
        let number = state.number_of(file)?;
        let length = state.inodes[number].cached.len();
        let there = length.saturating_sub(position as usize).min(into.len());
        let count = state.shorten(there);
        let pages = position / PAGE_BYTES..(position + count as u64).div_ceil(PAGE_BYTES);
        state.in_memory.extend(pages.map(|page| (number, page)));
        let from = position as usize;
        into[..count].copy_from_slice(&state.inodes[number].cached[from.min(length)..][..count]);
        Ok(count)
    }

    fn read_resident_at(&self, file: &File, position: u64, into: &mut [u8]) -> io::Result<usize> {
        let is_there = {
            let mut state = self.state();
            let page = (state.number_of(file)?, position / PAGE_BYTES);
            let is_there = !state.cold || state.in_memory.contains(&page) || state.random.coin();
            state.missing += u64::from(!is_there);
            is_there
        };
        if is_there { self.read_at(file, position, into) } else { Err(io::ErrorKind::WouldBlock.into()) }
    }

    fn truncate(&self, file: &File, length: u64) -> io::Result<()> {
        let mut state = self.state();
        state.change_or_fail()?;
        let inode = state.inode_of(file)?;
        inode.cached.resize(length as usize, 0);
        let last = (length as usize).div_ceil(SECTOR_BYTES);
        inode.dirty.retain(|sector| *sector < last);
        if !(length as usize).is_multiple_of(SECTOR_BYTES) {
            inode.dirty.insert(length as usize / SECTOR_BYTES);
        }
        Ok(())
    }

    fn allocate(&self, file: &File, _position: u64, _length: u64) -> io::Result<()> {
        let mut state = self.state();
        state.change_or_fail()?;
        state.inode_of(file).map(|_| ())
    }

    fn sync_data(&self, file: &File) -> io::Result<()> {
        let mut state = self.state();
        let number = state.number_of(file)?;
        let fault = state.change()?;
        if fault == Some(Fault::Stop) {
            return Err(stopped());
        }
        if state.inodes[number].is_directory {
            if fault.is_some() {
                return Err(io::Error::from_raw_os_error(EIO));
            }
            let paths: Vec<PathBuf> =
                state.names.iter().filter(|(_, n)| **n == number).map(|(path, _)| path.clone()).collect();
            for path in paths {
                state.flush_names_of(&path);
            }
            return Ok(());
        }
        let inode = &mut state.inodes[number];
        match fault {
            None => {
                inode.flush();
                Ok(())
            }
            Some(fault) => {
                inode.dirty.clear();
                let number = if fault == Fault::NoSpace { ENOSPC } else { EIO };
                Err(io::Error::from_raw_os_error(number))
            }
        }
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.change_or_fail()?;
        state.lookup(directory)?;
        state.flush_names_of(directory);
        Ok(())
    }

    fn sync_file_system(&self, _file: &File) -> io::Result<()> {
        let mut state = self.state();
        state.change_or_fail()?;
        for inode in &mut state.inodes {
            inode.flush();
        }
        state.pending.clear();
        state.durable_names = state.names.clone();
        Ok(())
    }

    fn start_write_out(&self, file: &File, _position: u64, _length: u64) -> io::Result<()> {
        let mut state = self.state();
        state.change_or_fail()?;
        state.inode_of(file).map(|_| ())
    }

    fn wait_write_out(&self, file: &File, position: u64, length: u64) -> io::Result<()> {
        let mut state = self.state();
        let number = state.number_of(file)?;
        let fault = state.change()?;
        let inode = &mut state.inodes[number];
        let range = sectors(position, length);
        let written: Vec<usize> = inode.dirty.range(range.clone()).copied().collect();
        inode.dirty.retain(|sector| !range.contains(sector));
        match fault {
            // The data, not the size: that is what a flush is for.
            None => {
                inode.write_back(written);
                Ok(())
            }
            Some(Fault::Stop) => Err(stopped()),
            Some(Fault::Eio) => Err(io::Error::from_raw_os_error(EIO)),
            Some(Fault::NoSpace) => Err(io::Error::from_raw_os_error(ENOSPC)),
        }
    }

    fn drop_pages(&self, file: &File, position: u64, length: u64) -> io::Result<()> {
        let mut state = self.state();
        state.alive()?;
        let inode = state.inode_of(file)?;
        for sector in sectors(position, length) {
            let from = sector * SECTOR_BYTES;
            if inode.dirty.contains(&sector) || from >= inode.cached.len() {
                continue;
            }
            // What is read next comes from the device, old bytes where a write-out has failed (H10).
            let to = (from + SECTOR_BYTES).min(inode.cached.len());
            let bytes = inode.device_bytes(sector);
            inode.cached[from..to].copy_from_slice(&bytes[..to - from]);
        }
        Ok(())
    }

    fn residency(&self, file: &File, position: u64, length: u64) -> io::Result<Option<Residency>> {
        let mut state = self.state();
        state.alive()?;
        let inode = state.inode_of(file)?;
        let dirty = inode.dirty.range(sectors(position, length)).count() * SECTOR_BYTES;
        Ok(Some(Residency { cached: length, dirty: dirty as u64, writeback: 0 }))
    }

    fn modified_ms(&self, file: &File) -> io::Result<i64> {
        let mut state = self.state();
        state.alive()?;
        Ok(state.inode_of(file)?.modified_ms)
    }

    fn set_modified_ms(&self, file: &File, ms: i64) -> io::Result<()> {
        let mut state = self.state();
        state.change_or_fail()?;
        state.inode_of(file)?.modified_ms = ms;
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        let inode = state.lookup(from)?;
        state.change_or_fail()?;
        state.apply(NameChange::Renamed { from: from.to_path_buf(), to: to.to_path_buf(), inode });
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.alive()?;
        state.lookup(path)?;
        state.change_or_fail()?;
        state.apply(NameChange::Removed { path: path.to_path_buf() });
        Ok(())
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.alive()?;
        state.lookup(path)?;
        state.change_or_fail()?;
        let inside: Vec<PathBuf> =
            state.names.keys().filter(|name| name.starts_with(path)).rev().cloned().collect();
        for path in inside {
            state.apply(NameChange::Removed { path });
        }
        Ok(())
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.alive()?;
        let missing: Vec<&Path> =
            path.ancestors().take_while(|above| !state.names.contains_key(*above)).collect();
        for path in missing.into_iter().rev() {
            state.change_or_fail()?;
            state.make(path, true)?;
        }
        Ok(())
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<Entry>> {
        let state = self.state();
        state.alive()?;
        state.lookup(directory)?;
        let entries = state.names.iter().filter(|(path, _)| path.parent() == Some(directory));
        Ok(entries
            .filter_map(|(path, number)| {
                let inode = &state.inodes[*number];
                Some(Entry {
                    name: path.file_name()?.to_str()?.to_owned(),
                    is_directory: inode.is_directory,
                    bytes: inode.cached.len() as u64,
                    modified_ms: inode.modified_ms,
                })
            })
            .collect())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let state = self.state();
        state.alive()?;
        Ok(state.names.contains_key(path))
    }

    fn space(&self, _directory: &Path) -> io::Result<Space> {
        let state = self.state();
        state.alive()?;
        let total = 1 << 40;
        Ok(Space { free: state.free_bytes.unwrap_or(total), total })
    }

    fn lock(&self, path: &Path) -> io::Result<File> {
        {
            let mut state = self.state();
            state.alive()?;
            if !state.locked.insert(path.to_path_buf()) {
                return Err(io::ErrorKind::WouldBlock.into());
            }
        }
        let opened = self.open(path, OpenMode::Create);
        let mut state = self.state();
        match opened {
            Ok(file) => {
                let inode = state.number_of(&file)?;
                let handle = state.next_handle;
                state.next_handle += 1;
                state.open.insert(handle, inode);
                let unlock = Some(path.to_path_buf());
                let guard = Guard { state: Arc::downgrade(&self.state), handle, unlock };
                drop(state);
                Ok(File::from_double(handle, Box::new(guard)))
            }
            Err(error) => {
                state.locked.remove(path);
                Err(error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(disk: &SimDisk, bytes: &[u8]) -> File {
        let file = disk.open(Path::new("/f"), OpenMode::Create).unwrap();
        disk.write_all_at(&file, 0, bytes).unwrap();
        file
    }

    #[test]
    fn a_power_cut_keeps_what_was_flushed_and_any_part_of_the_rest() {
        let mut kinds = BTreeSet::new();
        for seed in 0..50 {
            let disk = SimDisk::new(seed);
            let file = written(&disk, &[1; 2048]);
            disk.sync_data(&file).unwrap();
            disk.sync_directory(Path::new("/")).unwrap();
            disk.write_all_at(&file, 1024, &[2; 4096]).unwrap();
            drop(file);
            disk.power_cut();
            let content = disk.content(Path::new("/f")).unwrap();
            assert_eq!(content[..1024], [1; 1024]);
            assert!(content.chunks(SECTOR_BYTES).all(|sector| sector.iter().all(|b| *b == sector[0])));
            kinds.insert(content);
        }
        assert!(kinds.len() > 10, "chance has a say: {} outcomes", kinds.len());
    }

    #[test]
    fn a_name_is_there_after_a_power_cut_only_when_its_directory_was_flushed() {
        let outcomes: BTreeSet<bool> = (0..20)
            .map(|seed| {
                let disk = SimDisk::new(seed);
                let file = written(&disk, b"x");
                disk.sync_data(&file).unwrap();
                drop(file);
                disk.power_cut();
                disk.exists(Path::new("/f")).unwrap()
            })
            .collect();
        assert_eq!(outcomes.len(), 2, "with luck it is there, without it is not");
        let disk = SimDisk::new(3);
        drop(written(&disk, b"x"));
        disk.sync_directory(Path::new("/")).unwrap();
        disk.power_cut();
        assert!(disk.exists(Path::new("/f")).unwrap());
    }

    #[test]
    fn a_failed_flush_fails_once_and_its_pages_are_lost() {
        let disk = SimDisk::new(1);
        let file = written(&disk, &[7; 512]);
        disk.fail_at(disk.calls() + 1, Fault::Eio);
        assert!(disk.sync_data(&file).is_err());
        disk.sync_data(&file).unwrap();
        let mut bytes = [0; 512];
        disk.read_at(&file, 0, &mut bytes).unwrap();
        assert_eq!(bytes, [7; 512], "the cache still has them");
        disk.drop_pages(&file, 0, 512).unwrap();
        disk.read_at(&file, 0, &mut bytes).unwrap();
        assert_eq!(bytes, [0; 512], "the device never got them");
    }

    #[test]
    fn no_room_comes_after_a_part_and_ends_when_there_is_room() {
        let disk = SimDisk::new(1);
        let file = written(&disk, b"");
        disk.set_free_bytes(Some(10));
        assert_eq!(disk.write_at(&file, 0, &[IoSlice::new(&[1; 16])]).unwrap(), 10);
        let error = disk.write_at(&file, 10, &[IoSlice::new(&[1; 6])]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        disk.set_free_bytes(None);
        assert_eq!(disk.write_at(&file, 10, &[IoSlice::new(&[1; 6])]).unwrap(), 6);
    }

    #[test]
    fn a_lock_is_one_at_a_time() {
        let disk = SimDisk::new(1);
        let lock = disk.lock(Path::new("/l")).unwrap();
        assert_eq!(disk.lock(Path::new("/l")).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(lock);
        disk.lock(Path::new("/l")).unwrap();
    }

    #[test]
    fn the_same_seed_gives_the_same_disk() {
        let run = |seed| {
            let disk = SimDisk::new(seed);
            disk.set_short_counts(true);
            let file = written(&disk, &[5; 10_000]);
            drop(file);
            disk.sync_directory(Path::new("/")).unwrap();
            disk.power_cut();
            (disk.calls(), disk.content(Path::new("/f")))
        };
        assert_eq!(run(42), run(42));
        assert_ne!(run(42), run(43));
    }
}
