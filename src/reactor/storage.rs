//! Ways of appending to many files, side by side behind one trait: what the storage bench compares.
//!
//! In: a directory, sizes, and one block that is appended again and again. Out: files that hold nothing but whole
//! blocks, the same ones whichever way wrote them. An engine keeps the block's memory until all that was handed over is
//! done. The broker itself writes through `Disk`; this is where another way shows whether it would be better.

use std::collections::VecDeque;
use std::io;
use std::mem::ManuallyDrop;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;

use io_uring::{IoUring, opcode, types};

use crate::reactor::{Disk, File, OsDisk, probe};

/// Files that hold appended blocks. Made and used on one thread.
pub trait Storage {
    /// Appends the block to a file; may return before the bytes are there. An error may be one of an earlier append.
    fn append(&mut self, file: usize) -> io::Result<()>;

    /// Waits until every block handed over is in the page cache or, where that is passed by, on the device.
    fn settle(&mut self) -> io::Result<()>;

    /// Everything appended is on the device when this returns Ok.
    fn flush(&mut self) -> io::Result<()>;
}

/// A way of appending.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// `pwrite(2)`; the file grows with each call.
    Grow,
    /// `pwrite(2)` into reserved blocks.
    Preallocate,
    /// `pwrite(2)`, steady write-out, and pages dropped behind a window that all files share.
    Window,
    /// The ring, through the page cache, into reserved blocks.
    RingBuffered,
    /// The same from memory that the ring knows beforehand.
    RingRegistered,
    /// The ring, O_DIRECT, into reserved blocks that were never written.
    RingDirect,
    /// The ring, O_DIRECT, over blocks that held data before, as in a segment that is used again.
    RingDirectRecycled,
    /// The ring, through the page cache, which lets go of each page once it is on the device (kernel 6.14).
    RingDontCache,
    /// Copies into a shared mapping of reserved blocks.
    Map,
}

impl Way {
    pub const ALL: [Way; 9] = [
        Way::Grow,
        Way::Preallocate,
        Way::Window,
        Way::RingBuffered,
        Way::RingRegistered,
        Way::RingDontCache,
        Way::RingDirect,
        Way::RingDirectRecycled,
        Way::Map,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Way::Grow => "pwrite, file grows",
            Way::Preallocate => "pwrite, preallocated",
            Way::Window => "pwrite, bounded window",
            Way::RingBuffered => "ring, buffered",
            Way::RingRegistered => "ring, registered buffer",
            Way::RingDirect => "ring, O_DIRECT, fresh blocks",
            Way::RingDirectRecycled => "ring, O_DIRECT, recycled blocks",
            Way::RingDontCache => "ring, RWF_DONTCACHE",
            Way::Map => "mmap",
        }
    }

    /// Makes the files in `directory`, which must not have them yet, and all that can be done before the first append.
    pub fn open(self, directory: &Path, plan: Plan, block: Block) -> Result<Box<dyn Storage>, OpenError> {
        let buffered = || Files::create(directory, plan, &block, 0);
        Ok(match self {
            Way::Grow => Box::new(Plain { files: buffered()?, block }),
            Way::Preallocate => {
                let files = buffered()?;
                files.reserve()?;
                Box::new(Plain { files, block })
            }
            Way::Window => Box::new(Window::new(buffered()?, block)),
            Way::RingBuffered | Way::RingRegistered => {
                let files = buffered()?;
                files.reserve()?;
                let mut ring = Ring::new(files, plan.depth, block, 0)?;
                ring.is_registered = self == Way::RingRegistered;
                Box::new(ring)
            }
            Way::RingDontCache => {
                let files = buffered()?;
                files.reserve()?;
                let mut ring = Ring::new(files, plan.depth, block, RWF_DONTCACHE)?;
                ring.try_one_block()?;
                Box::new(ring)
            }
            Way::RingDirect | Way::RingDirectRecycled => {
                if !block.bytes().len().is_multiple_of(PAGE_BYTES) {
                    let reason = format!("O_DIRECT takes multiples of {PAGE_BYTES} bytes");
                    return Err(OpenError::Refused { reason });
                }
                let files = Files::create(directory, plan, &block, libc::O_DIRECT)?;
                files.reserve()?;
                let mut ring = Ring::new(files, plan.depth, block, 0)?;
                if self == Way::RingDirectRecycled {
                    ring.fill_once()?;
                }
                Box::new(ring)
            }
            Way::Map => {
                let files = buffered()?;
                files.reserve()?;
                Box::new(Map::new(files, block)?)
            }
        })
    }
}

/// Sizes of a measurement.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub files: usize,
    /// What is reserved of each file, and its limit: a multiple of the block.
    pub file_bytes: u64,
    /// Appends that a ring has in flight at most.
    pub depth: usize,
}

impl Plan {
    /// The name of a file in the plan's directory.
    pub fn file_name(file: usize) -> String {
        format!("{file:05}.data")
    }
}

/// Why a way cannot be measured here.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The kernel or the file system does not have it; the other ways are not touched by that.
    #[error("refused: {reason}")]
    Refused { reason: String },
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

impl OpenError {
    fn io(path: &Path) -> impl FnOnce(io::Error) -> OpenError {
        let path = path.to_path_buf();
        move |source| OpenError::Io { path, source }
    }
}

const PAGE_BYTES: usize = 4096;

#[derive(Clone)]
#[repr(align(4096))]
struct Page([u8; PAGE_BYTES]);

// `Block` counts on pages that lie side by side without a gap.
const _: () = assert!(size_of::<Page>() == PAGE_BYTES);

/// The bytes of one append, at an address that O_DIRECT takes.
#[derive(Clone)]
pub struct Block {
    pages: Vec<Page>,
    bytes: usize,
}

impl Block {
    /// A block of `bytes` bytes, which are a multiple of 512; no two of its pages are equal.
    pub fn new(bytes: usize) -> Block {
        assert!(bytes > 0 && bytes.is_multiple_of(512), "a block of {bytes} bytes");
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        let mut pages = vec![Page([0; PAGE_BYTES]); bytes.div_ceil(PAGE_BYTES)];
        for word in pages.iter_mut().flat_map(|page| page.0.as_chunks_mut::<8>().0) {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            *word = state.to_le_bytes();
        }
        Block { pages, bytes }
    }

    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the pages lie side by side (asserted above), hold `bytes` bytes at least, and are borrowed for as long as
        // the slice.
        unsafe { std::slice::from_raw_parts(self.pages.as_ptr().cast(), self.bytes) }
    }
}

/// The files of a plan and where each one ends.
struct Files {
    directory: PathBuf,
    files: Vec<File>,
    ends: Vec<u64>,
    file_bytes: u64,
    block_bytes: u64,
}

impl Files {
    fn create(directory: &Path, plan: Plan, block: &Block, flags: libc::c_int) -> Result<Files, OpenError> {
        let block_bytes = block.bytes().len() as u64;
        assert!(plan.files > 0 && plan.file_bytes.is_multiple_of(block_bytes), "{plan:?} of {block_bytes}");
        let mut files = Vec::with_capacity(plan.files);
        for number in 0..plan.files {
            let path = directory.join(Plan::file_name(number));
            let mut options = std::fs::OpenOptions::new();
            options.read(true).write(true).create_new(true).custom_flags(flags);
            match options.open(&path) {
                Ok(file) => files.push(File::from(file)),
                Err(e) if flags != 0 && e.raw_os_error() == Some(libc::EINVAL) => {
                    return Err(OpenError::Refused { reason: "the file system has no O_DIRECT".to_owned() });
                }
                Err(source) => return Err(OpenError::Io { path, source }),
            }
        }
        let ends = vec![0; plan.files];
        Ok(Files {
            directory: directory.to_path_buf(),
            files,
            ends,
            file_bytes: plan.file_bytes,
            block_bytes,
        })
    }

    /// Blocks for the whole of each file; a file system that cannot reserve still can grow.
    fn reserve(&self) -> Result<(), OpenError> {
        for file in &self.files {
            match OsDisk.allocate(file, 0, self.file_bytes) {
                Err(e) if e.kind() == io::ErrorKind::Unsupported => break,
                result => result.map_err(OpenError::io(&self.directory))?,
            }
        }
        Ok(())
    }

    /// Takes the place of the next block of `file`.
    fn take_place(&mut self, file: usize) -> io::Result<u64> {
        let position = self.ends[file];
        if position + self.block_bytes > self.file_bytes {
            let what = format!("{} is full at {position} bytes", Plan::file_name(file));
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        self.ends[file] = position + self.block_bytes;
        Ok(position)
    }

    fn flush(&self) -> io::Result<()> {
        flush_files(&self.files, self.file_bytes)
    }
}

/// Flushes the first `bytes` of each file. All write-out runs before the first wait, so that the device sees it as one
/// stream. Then comes one flush: file by file it would be the journal that is measured, once for each file.
pub fn flush_files(files: &[File], bytes: u64) -> io::Result<()> {
    for file in files {
        OsDisk.start_write_out(file, 0, bytes)?;
    }
    for file in files {
        OsDisk.wait_write_out(file, 0, bytes)?;
    }
    match files {
        [] => Ok(()),
        [file] => OsDisk.sync_data(file),
        [file, ..] => OsDisk.sync_file_system(file),
    }
}

struct Plain {
    files: Files,
    block: Block,
}

impl Storage for Plain {
    fn append(&mut self, file: usize) -> io::Result<()> {
        let position = self.files.take_place(file)?;
        OsDisk.write_all_at(&self.files.files[file], position, self.block.bytes())
    }

    fn settle(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.files.flush()
    }
}

/// Dirty bytes of all files at which write-out starts; it goes on down to the half.
const WINDOW_DIRTY_BYTES: u64 = 8 << 20;
/// Bytes that stay in memory behind the start of their write-out.
const WINDOW_KEPT_BYTES: u64 = 64 << 20;

/// Each file is written out up to `written_out`, has begun to be dirty when it is in `dirty`, and its pages are
/// dropped in the order in which their write-out started.
struct Window {
    files: Files,
    block: Block,
    written_out: Vec<u64>,
    dirty: Vec<usize>,
    dirty_bytes: u64,
    kept: VecDeque<Range>,
    kept_bytes: u64,
}

struct Range {
    file: usize,
    position: u64,
    length: u64,
}

impl Window {
    fn new(files: Files, block: Block) -> Window {
        let written_out = vec![0; files.files.len()];
        Window {
            files,
            block,
            written_out,
            dirty: Vec::new(),
            dirty_bytes: 0,
            kept: VecDeque::new(),
            kept_bytes: 0,
        }
    }

    fn dirty_of(&self, file: usize) -> u64 {
        self.files.ends[file] - self.written_out[file]
    }

    /// Longest dirty range first: few large requests instead of many small ones.
    fn write_out(&mut self) -> io::Result<()> {
        let mut dirty = std::mem::take(&mut self.dirty);
        dirty.sort_by_key(|file| self.dirty_of(*file));
        while self.dirty_bytes > WINDOW_DIRTY_BYTES / 2 {
            let file = dirty.pop().expect("dirty bytes belong to dirty files");
            let range = Range { file, position: self.written_out[file], length: self.dirty_of(file) };
            OsDisk.start_write_out(&self.files.files[file], range.position, range.length)?;
            self.written_out[file] += range.length;
            self.dirty_bytes -= range.length;
            self.kept_bytes += range.length;
            self.kept.push_back(range);
        }
        self.dirty = dirty;
        while self.kept_bytes > WINDOW_KEPT_BYTES {
            let range = self.kept.pop_front().expect("kept bytes belong to kept ranges");
            let file = &self.files.files[range.file];
            // A page whose write-out failed must stay: the error ends the measurement before the drop.
            OsDisk.wait_write_out(file, range.position, range.length)?;
            OsDisk.drop_pages(file, range.position, range.length)?;
            self.kept_bytes -= range.length;
        }
        Ok(())
    }
}

impl Storage for Window {
    fn append(&mut self, file: usize) -> io::Result<()> {
        if self.dirty_of(file) == 0 {
            self.dirty.push(file);
        }
        let position = self.files.take_place(file)?;
        OsDisk.write_all_at(&self.files.files[file], position, self.block.bytes())?;
        self.dirty_bytes += self.files.block_bytes;
        if self.dirty_bytes >= WINDOW_DIRTY_BYTES { self.write_out() } else { Ok(()) }
    }

    fn settle(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.files.flush()
    }
}

const RWF_DONTCACHE: i32 = 0x80;

/// One append that the kernel has.
#[derive(Clone, Copy)]
struct Appending {
    file: usize,
    position: u64,
    /// Bytes of the block that are done: counts may be short.
    done: usize,
}

/// A ring of its own that knows the block as a registered buffer, and writes from it as such if `is_registered`.
struct Ring {
    ring: IoUring,
    files: Files,
    /// Freed only when nothing is in flight.
    block: ManuallyDrop<Block>,
    rw_flags: i32,
    is_registered: bool,
    slots: Vec<Appending>,
    free: Vec<usize>,
}

impl Ring {
    fn new(files: Files, depth: usize, block: Block, rw_flags: i32) -> Result<Ring, OpenError> {
        let refused = |error: io::Error| OpenError::Refused { reason: probe::explain(&error).to_string() };
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .build(depth as u32)
            .map_err(refused)?;
        let bytes = block.bytes();
        let buffer = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
        // SAFETY: the kernel only reads from it (every operation here is a write to a file), and `Ring` keeps the
        // block's memory, which moves with no `Vec`, until nothing is in flight; registration pins the pages besides.
        unsafe { ring.submitter().register_buffers(&[buffer]) }.map_err(refused)?;
        let idle = Appending { file: 0, position: 0, done: 0 };
        let (slots, free) = (vec![idle; depth], (0..depth).collect());
        Ok(Ring { ring, files, block: ManuallyDrop::new(block), rw_flags, is_registered: true, slots, free })
    }

    /// Appends one block and takes it back: a kernel that does not know the flag says so now.
    fn try_one_block(&mut self) -> Result<(), OpenError> {
        match self.append(0).and_then(|()| self.settle()) {
            Ok(()) => {}
            Err(e) if matches!(e.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EINVAL)) => {
                return Err(OpenError::Refused { reason: format!("the kernel or the file system: {e}") });
            }
            Err(source) => return Err(OpenError::io(&self.files.directory)(source)),
        }
        self.files.ends[0] = 0;
        OsDisk.truncate(&self.files.files[0], 0).map_err(OpenError::io(&self.files.directory))?;
        self.files.reserve()
    }

    /// Writes each file full once and starts again at its beginning.
    fn fill_once(&mut self) -> Result<(), OpenError> {
        let directory = self.files.directory.clone();
        self.fill_all().map_err(OpenError::io(&directory))?;
        self.files.ends.fill(0);
        Ok(())
    }

    fn fill_all(&mut self) -> io::Result<()> {
        for file in 0..self.files.files.len() {
            for _ in 0..self.files.file_bytes / self.files.block_bytes {
                self.append(file)?;
            }
        }
        self.settle()?;
        self.files.flush()
    }

    fn push(&mut self, slot: usize) {
        let Appending { file, position, done } = self.slots[slot];
        let rest = &self.block.bytes()[done..];
        let fd = types::Fd(self.files.files[file].raw());
        let (at, length, position) = (rest.as_ptr(), rest.len() as u32, position + done as u64);
        let entry = if self.is_registered {
            opcode::WriteFixed::new(fd, at, length, 0).offset(position).rw_flags(self.rw_flags).build()
        } else {
            opcode::Write::new(fd, at, length).offset(position).rw_flags(self.rw_flags).build()
        };
        let entry = entry.user_data(slot as u64);
        // SAFETY: `rest` is part of the block, and it and the file stay until this slot is free again.
        let pushed = unsafe { self.ring.submission().push(&entry) };
        pushed.expect("there are as many entries as slots, and each slot has at most one");
    }

    /// Submits what is queued, waits for one completion and takes all there are.
    fn advance(&mut self) -> io::Result<()> {
        match self.ring.submit_and_wait(1) {
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
        let mut first_error = None;
        loop {
            let entry = self.ring.completion().next();
            let Some(entry) = entry else { break };
            let slot = entry.user_data() as usize;
            let result = entry.result();
            if result > 0 {
                self.slots[slot].done += result as usize;
            }
            let is_short = result > 0 && self.slots[slot].done < self.block.bytes().len();
            if is_short || result == -libc::EINTR || result == -libc::EAGAIN {
                self.push(slot);
                continue;
            }
            self.free.push(slot);
            if result <= 0 {
                first_error.get_or_insert(match result {
                    0 => io::ErrorKind::WriteZero.into(),
                    error => io::Error::from_raw_os_error(-error),
                });
            }
        }
        first_error.map_or(Ok(()), Err)
    }
}

impl Storage for Ring {
    fn append(&mut self, file: usize) -> io::Result<()> {
        while self.free.is_empty() {
            self.advance()?;
        }
        let position = self.files.take_place(file)?;
        let slot = self.free.pop().expect("a slot is free");
        self.slots[slot] = Appending { file, position, done: 0 };
        self.push(slot);
        Ok(())
    }

    fn settle(&mut self) -> io::Result<()> {
        while self.free.len() < self.slots.len() {
            self.advance()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.settle()?;
        self.files.flush()
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // Each error is one append's; what counts is that the slots come back. Without them the memory is leaked,
        // because the kernel may still read it.
        for _ in 0..self.slots.len() {
            if self.settle().is_ok() {
                break;
            }
        }
        if self.free.len() == self.slots.len() {
            // SAFETY: nothing is in flight, and the block is not touched again: this is its only drop.
            unsafe { ManuallyDrop::drop(&mut self.block) };
        }
    }
}

struct Map {
    files: Files,
    block: Block,
    /// One mapping of `file_bytes` for each file.
    maps: Vec<NonNull<u8>>,
}

impl Map {
    fn new(files: Files, block: Block) -> Result<Map, OpenError> {
        let mut map = Map { files, block, maps: Vec::new() };
        for file in &map.files.files {
            let failed = || OpenError::io(&map.files.directory);
            OsDisk.truncate(file, map.files.file_bytes).map_err(failed())?;
            // SAFETY: a new mapping at an address of the kernel's choice aliases nothing in this process, and nobody
            // else knows the file, which was just made.
            let memory = unsafe {
                libc::mmap(
                    std::ptr::null_mut(),
                    map.files.file_bytes as usize,
                    libc::PROT_READ | libc::PROT_WRITE,
                    libc::MAP_SHARED,
                    file.raw(),
                    0,
                )
            };
            if memory == libc::MAP_FAILED {
                return Err(failed()(io::Error::last_os_error()));
            }
            map.maps
                .push(NonNull::new(memory.cast()).expect("mmap without MAP_FIXED never returns page zero"));
        }
        Ok(map)
    }
}

impl Storage for Map {
    fn append(&mut self, file: usize) -> io::Result<()> {
        let position = self.files.take_place(file)?;
        let bytes = self.block.bytes();
        // SAFETY: `take_place` keeps the block inside the mapping of `file_bytes`, the file has that length, its blocks
        // are reserved, so no page is missing, and the block is memory of its own.
        unsafe {
            let to = self.maps[file].as_ptr().add(position as usize);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len());
        }
        Ok(())
    }

    fn settle(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.files.flush()
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        for map in &self.maps {
            // SAFETY: mapped with this length in `new`, and no reference into it outlives a call.
            unsafe { libc::munmap(map.as_ptr().cast(), self.files.file_bytes as usize) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: Plan = Plan { files: 3, file_bytes: 8 * 16_384, depth: 2 };

    fn open(way: Way, directory: &Path) -> Option<Box<dyn Storage>> {
        match way.open(directory, PLAN, Block::new(16_384)) {
            Ok(storage) => Some(storage),
            Err(OpenError::Refused { reason }) => {
                let everywhere = [Way::Grow, Way::Preallocate, Way::Window, Way::RingBuffered, Way::Map];
                assert!(!everywhere.contains(&way), "{}: {reason}", way.name());
                println!("{} is not tested: {reason}", way.name());
                None
            }
            Err(error) => panic!("{}: {error}", way.name()),
        }
    }

    #[test]
    fn every_way_leaves_the_same_blocks() {
        let block = Block::new(16_384);
        for way in Way::ALL {
            let directory = tempfile::tempdir_in(".").unwrap();
            let Some(mut storage) = open(way, directory.path()) else { continue };
            for append in 0..15 {
                storage.append(append % 3).unwrap();
            }
            storage.settle().unwrap();
            storage.flush().unwrap();
            drop(storage);
            for file in 0..3 {
                let content = std::fs::read(directory.path().join(Plan::file_name(file))).unwrap();
                assert!(content.len() as u64 <= PLAN.file_bytes, "{}: {} bytes", way.name(), content.len());
                assert!(content[..5 * 16_384] == block.bytes().repeat(5), "{}: file {file}", way.name());
            }
        }
    }

    #[test]
    fn a_full_file_refuses_and_the_others_go_on() {
        for way in Way::ALL {
            let directory = tempfile::tempdir_in(".").unwrap();
            let Some(mut storage) = open(way, directory.path()) else { continue };
            for _ in 0..8 {
                storage.append(1).unwrap();
            }
            let error = storage.append(1).unwrap_err();
            assert!(error.to_string().contains("00001.data is full at 131072"), "{}: {error}", way.name());
            storage.append(2).unwrap();
            storage.settle().unwrap();
        }
    }

    #[test]
    fn the_window_keeps_its_bounds_over_many_files() {
        let directory = tempfile::tempdir_in(".").unwrap();
        let plan = Plan { files: 4, file_bytes: 32 << 20, depth: 1 };
        let block = Block::new(1 << 20);
        let mut window =
            Window::new(Files::create(directory.path(), plan, &block, 0).unwrap(), block.clone());
        // First one file gets more than the others, then the others get the rest.
        let uneven = [0, 1, 0, 2, 0, 3].into_iter().cycle().take(60);
        for file in uneven.chain([1, 2, 3].into_iter().cycle().take(60)) {
            window.append(file).unwrap();
            assert!(window.dirty_bytes < WINDOW_DIRTY_BYTES);
            assert!(window.kept_bytes <= WINDOW_KEPT_BYTES);
            let dirty: u64 = (0..4).map(|file| window.dirty_of(file)).sum();
            assert_eq!(dirty, window.dirty_bytes);
        }
        assert!(window.kept_bytes > WINDOW_KEPT_BYTES / 2, "the test reached the bound");
    }

    #[test]
    fn no_two_pages_of_a_block_are_equal() {
        let block = Block::new(64 << 10);
        let mut pages: Vec<&[u8]> = block.bytes().chunks(PAGE_BYTES).collect();
        assert_eq!(block.bytes().as_ptr() as usize % PAGE_BYTES, 0);
        pages.sort_unstable();
        pages.dedup();
        assert_eq!(pages.len(), 16);
    }
}
