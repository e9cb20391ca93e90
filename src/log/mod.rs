//! A partition's log: Kafka's own files from the first byte (contract sections 2 and 3).
//!
//! In: batches, offsets, the time, and a `Disk` through which every effect goes. Out: places in files, and what became
//! of each batch. One IO thread owns a log; nothing in here knows a thread, a ring or a clock.
//!
//! Reading order: `Log` (here: state), `open` (start and recovery), `append` (as a leader), `follow` (as a follower), `read`, `flush` (and clean stop),
//! `truncate`, `cleanup` (retention), `cleaning` with the rules in `compaction`; under them `segment` with its indexes, `scan`, `epoch_history`; beside them, for
//! a whole log directory, `directory`, `checkpoint` and `window`.
//!
//! What always holds: batches of a log have rising offsets; nothing at or beyond `end` is ever given out; bytes once
//! written below `end` are never written again in place; the recovery point never passes what is flushed.

mod append;
pub mod batch_file;
pub mod checkpoint;
pub mod cleaning;
pub mod cleanup;
pub mod compaction;
pub mod directory;
mod entry_file;
pub mod epoch_history;
pub mod files;
mod flush;
mod follow;
pub mod offset_index;
pub mod offset_map;
mod open;
mod read;
mod scan;
mod segment;
mod settings;
pub mod time_index;
pub mod transaction_index;
mod truncate;
pub mod window;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use append::{AppendBatch, AppendRefusal, AppendScratch, Outcome, Written};
pub use flush::{CloseFlush, FlushScope};
pub use follow::{FollowError, Followed};
pub use open::{OpenFacts, Recovered};
pub use read::{Place, Read, ReadError, TimestampOffset};
pub use settings::{Durability, LogConfig};

use crate::clock::WallMs;
use crate::ids::{LeaderEpoch, Offset};
use crate::producer::Producers;
use crate::reactor::{Disk, OpenMode};
use crate::wire::batch::BatchError;

use base64::Engine as _;
use epoch_history::EpochHistory;
use scan::ScanError;
use segment::Segment;

/// A topic's id, as its 16 bytes.
pub type TopicId = [u8; 16];

/// Why a log cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A write, flush or read failed. Of a write or flush it is final for the whole log directory (`FAULTS.md` 8).
    #[error("{}: {what}, at {position}: {source}", path.display())]
    Io { path: PathBuf, what: &'static str, position: u64, source: io::Error },
    /// No room. Not a failure: it ends by itself when there is room again.
    #[error("{}: no space left: {what}: {source}", path.display())]
    NoSpace { path: PathBuf, what: &'static str, source: io::Error },
    /// Bytes below the recovery point are no batches. The replica is bad, not the directory.
    #[error("{}: not a batch at {position}: {reason}", path.display())]
    Corrupt { path: PathBuf, position: u64, reason: BatchError },
    /// An earlier write or flush failed.
    #[error("{}: an earlier write or flush failed", path.display())]
    Failed { path: PathBuf },
}

impl LogError {
    fn io(path: &Path, what: &'static str, position: u64) -> impl FnOnce(io::Error) -> LogError {
        move |source| {
            let path = path.to_path_buf();
            if is_no_space(&source) {
                LogError::NoSpace { path, what, source }
            } else {
                LogError::Io { path, what, position, source }
            }
        }
    }

    fn scan(path: &Path) -> impl FnOnce(ScanError) -> LogError {
        move |error| {
            let path = path.to_path_buf();
            match error {
                ScanError::Io { position, source } => LogError::Io { path, what: "read", position, source },
                ScanError::Bad { position, reason } => LogError::Corrupt { path, position, reason },
            }
        }
    }
}

/// ENOSPC and EDQUOT: refusals that end by themselves (`FAULTS.md` 8).
pub fn is_no_space(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Where an offset stands, remembered to spare a look-up.
#[derive(Clone, Copy, Debug, Default)]
struct Hint {
    offset: i64,
    segment_base: i64,
    position: u32,
}

/// The last few hints, oldest overwritten first.
#[derive(Debug)]
struct Hints<const N: usize> {
    ring: [Hint; N],
    next: usize,
}

impl<const N: usize> Hints<N> {
    fn new() -> Hints<N> {
        Hints { ring: [Hint { offset: -1, segment_base: 0, position: 0 }; N], next: 0 }
    }

    fn add(&mut self, hint: Hint) {
        if self.find(hint.offset).is_none() {
            self.ring[self.next] = hint;
            self.next = (self.next + 1) % N;
        }
    }

    fn find(&self, offset: i64) -> Option<Hint> {
        self.ring.iter().find(|hint| hint.offset == offset).copied()
    }

    fn clear(&mut self) {
        *self = Hints::new();
    }
}

/// Starts of appends remembered: where high watermarks and readers at the tail are found without a look-up.
const APPEND_HINTS: usize = 8;
/// Ends of reads remembered: where readers in order go on.
const READ_HINTS: usize = 4;
/// Files of closed segments that stay open for readers.
const COLD_FILES_MAX: usize = 4;

/// One partition's log.
#[derive(Debug)]
pub struct Log {
    directory: Arc<Path>,
    config: Arc<LogConfig>,
    topic_id: Option<TopicId>,
    /// In the order of their base offsets, at least one; the last is the active one.
    segments: Vec<Segment>,
    start: i64,
    end: i64,
    high_watermark: i64,
    flush: flush::FlushState,
    epochs: EpochHistory,
    producers: Producers,
    /// A write or flush has failed: final.
    failed: bool,
    /// A refused write has left bytes behind the end of the active segment.
    tail_is_dirty: bool,
    recent_appends: Hints<APPEND_HINTS>,
    recent_reads: Hints<READ_HINTS>,
    /// Base offsets of closed segments whose files are open for readers, oldest first.
    cold_files: Vec<i64>,
    /// The first offset that compaction has not seen, when it has seen any.
    first_dirty: Option<i64>,
    /// A pass of compaction is being made: no segment is deleted.
    cleaning: bool,
    /// Renamed files that wait for their removal, in the order of their time.
    doomed: Vec<cleanup::Doomed>,
}

pub(in crate::log) const EPOCH_FILE: &str = "leader-epoch-checkpoint";
pub(in crate::log) const METADATA_FILE: &str = "partition.metadata";

impl Log {
    /// Makes the directory and the first segment of a new partition.
    pub fn create(
        disk: &dyn Disk,
        directory: &Path,
        topic_id: Option<TopicId>,
        config: Arc<LogConfig>,
        now: WallMs,
    ) -> Result<Log, LogError> {
        disk.create_directory(directory).map_err(LogError::io(directory, "create directory", 0))?;
        if let Some(id) = topic_id {
            write_topic_id(disk, directory, &id).map_err(LogError::io(
                directory,
                "write partition.metadata",
                0,
            ))?;
        }
        let first = create_segment(disk, directory, &config, 0, now)?;
        let mut log = Log::with_segments(directory, topic_id, config, vec![first], 0, now);
        log.flush.directory_is_unsynced = true;
        log.flush.parent_is_unsynced = true;
        Ok(log)
    }

    fn with_segments(
        directory: &Path,
        topic_id: Option<TopicId>,
        config: Arc<LogConfig>,
        segments: Vec<Segment>,
        start: i64,
        now: WallMs,
    ) -> Log {
        Log {
            directory: directory.into(),
            config,
            topic_id,
            segments,
            start,
            end: start,
            high_watermark: start,
            flush: flush::FlushState::new(start, now),
            epochs: EpochHistory::default(),
            producers: Producers::default(),
            failed: false,
            tail_is_dirty: false,
            recent_appends: Hints::new(),
            recent_reads: Hints::new(),
            cold_files: Vec::new(),
            first_dirty: None,
            cleaning: false,
            doomed: Vec::new(),
        }
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    pub fn topic_id(&self) -> Option<TopicId> {
        self.topic_id
    }

    /// Gives a log that has none its topic's id (directories of brokers before 2.8).
    pub fn set_topic_id(&mut self, disk: &dyn Disk, id: TopicId) -> Result<(), LogError> {
        write_topic_id(disk, &self.directory, &id).map_err(LogError::io(
            &self.directory,
            "write partition.metadata",
            0,
        ))?;
        self.topic_id = Some(id);
        self.flush.directory_is_unsynced = true;
        Ok(())
    }

    pub fn config(&self) -> &Arc<LogConfig> {
        &self.config
    }

    pub fn set_config(&mut self, config: Arc<LogConfig>) {
        self.config = config;
    }

    /// The first offset there is to read.
    pub fn start_offset(&self) -> Offset {
        Offset(self.start)
    }

    /// The offset the next record gets.
    pub fn end_offset(&self) -> Offset {
        Offset(self.end)
    }

    /// Records below are committed. The owner moves it: with one replica to the end after a write, in group commit
    /// after a flush.
    pub fn high_watermark(&self) -> Offset {
        Offset(self.high_watermark)
    }

    /// Moves the high watermark forward, never past the end. True when it moved.
    pub fn advance_high_watermark(&mut self, offset: Offset) -> bool {
        let offset = offset.0.min(self.end);
        if offset <= self.high_watermark {
            return false;
        }
        self.high_watermark = offset;
        self.producers.on_high_watermark(offset);
        true
    }

    /// What `read_committed` may read to: the high watermark, or the first offset an open transaction holds back.
    pub fn last_stable_offset(&self) -> Offset {
        let unstable = self.producers.first_unstable().unwrap_or(i64::MAX);
        Offset(unstable.min(self.high_watermark).max(self.start))
    }

    /// A leader's term begins at the end of the log, also if nothing is ever appended in it (contract 5.6).
    pub fn begin_epoch(&mut self, epoch: LeaderEpoch) {
        self.epochs.assign(epoch.0, self.end);
    }

    pub fn epochs(&self) -> &EpochHistory {
        &self.epochs
    }

    pub fn producers(&self) -> &Producers {
        &self.producers
    }

    /// Bytes of batches in all segments.
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| u64::from(segment.bytes)).sum()
    }

    pub fn segment_count(&self) -> usize {
        self.segments.len()
    }

    /// Base offset and bytes of each segment.
    pub fn segments(&self) -> impl Iterator<Item = (Offset, u32)> {
        self.segments.iter().map(|segment| (Offset(segment.base_offset), segment.bytes))
    }

    /// Base offset and bytes of the active segment.
    pub fn active_segment(&self) -> (Offset, u32) {
        self.segments
            .last()
            .map_or((Offset(self.end), 0), |active| (Offset(active.base_offset), active.bytes))
    }

    /// True after a write or flush error, of this log or, told by `fail`, of its directory.
    pub fn has_failed(&self) -> bool {
        self.failed
    }

    /// The directory has failed: nothing is appended, read or flushed any more.
    pub fn fail(&mut self) {
        self.failed = true;
    }

    /// Producers silent for longer than `producer.id.expiration.ms` are forgotten.
    pub fn expire_producers(&mut self, now: WallMs) {
        if !self.producers.is_empty() {
            self.producers.expire(now.0, self.config.producer_id_expiration_ms);
        }
    }

    fn active(&mut self) -> &mut Segment {
        self.segments.last_mut().expect("a log has at least one segment")
    }

    fn check_alive(&self) -> Result<(), LogError> {
        if self.failed { Err(LogError::Failed { path: self.directory.to_path_buf() }) } else { Ok(()) }
    }

    /// The first offset behind the segment at `index`.
    fn segment_end(&self, index: usize) -> i64 {
        self.segments.get(index + 1).map_or(self.end, |next| next.base_offset)
    }

    /// A write failed: no room is a refusal, all else is final.
    fn on_write_error(&mut self, error: LogError) -> LogError {
        match &error {
            LogError::NoSpace { .. } => {}
            LogError::Io { .. } | LogError::Corrupt { .. } | LogError::Failed { .. } => self.failed = true,
        }
        error
    }
}

/// Makes the file of a new segment, and reserves its blocks if the topic wants that.
fn create_segment(
    disk: &dyn Disk,
    directory: &Path,
    config: &LogConfig,
    base_offset: i64,
    now: WallMs,
) -> Result<Segment, LogError> {
    let path = directory.join(files::file_name(base_offset, files::FileKind::Log, files::Stage::Live));
    let file = disk.open(&path, OpenMode::CreateNew).map_err(LogError::io(&path, "create", 0))?;
    if config.preallocate {
        match disk.allocate(&file, 0, u64::from(config.segment_bytes)) {
            Ok(()) => {}
            // A file system that cannot reserve still can grow.
            Err(e) if e.kind() == io::ErrorKind::Unsupported => {}
            Err(e) => {
                // The empty file must not stand in the way of the next attempt.
                disk.remove_file(&path).map_err(LogError::io(&path, "remove", 0))?;
                return Err(LogError::io(&path, "preallocate", 0)(e));
            }
        }
    }
    let mut segment = Segment::new(base_offset, file, now.0);
    segment.reserved = if config.preallocate { config.segment_bytes } else { 0 };
    Ok(segment)
}

/// `partition.metadata`, without a newline at its end, as Kafka writes it. Its flush comes with the log's first one.
fn write_topic_id(disk: &dyn Disk, directory: &Path, id: &TopicId) -> io::Result<()> {
    let text =
        format!("version: 0\ntopic_id: {}", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(id));
    write_and_rename(disk, &directory.join(METADATA_FILE), text.as_bytes())
}

/// What a replica's directory says about itself without being opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DirectoryFacts {
    /// Of `partition.metadata`, if there is a readable one.
    pub topic_id: Option<TopicId>,
    /// The last epoch of `leader-epoch-checkpoint`, if there is a readable one.
    pub last_epoch: Option<i32>,
}

/// Reads the two small files of a replica's directory that say whose it is.
pub fn directory_facts(disk: &dyn Disk, directory: &Path) -> io::Result<DirectoryFacts> {
    let text = |name: &str| match disk.read_file(&directory.join(name)) {
        Ok(bytes) => Ok(String::from_utf8(bytes).unwrap_or_default()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(e) => Err(e),
    };
    let epochs = text(EPOCH_FILE)?;
    Ok(DirectoryFacts {
        topic_id: parse_topic_id(&text(METADATA_FILE)?),
        last_epoch: EpochHistory::from_text(&epochs).ok().and_then(|epochs| Some(epochs.latest()?.epoch)),
    })
}

fn parse_topic_id(text: &str) -> Option<TopicId> {
    let mut lines = text.lines();
    if lines.next()? != "version: 0" {
        return None;
    }
    let id = lines.next()?.strip_prefix("topic_id: ")?;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(id).ok()?.try_into().ok()
}

/// Replaces a small file without waiting for the disk: a flush that must cover it comes later.
fn write_and_rename(disk: &dyn Disk, path: &Path, content: &[u8]) -> io::Result<()> {
    let mut tmp = path.as_os_str().to_owned();
    tmp.push(".tmp");
    let tmp = PathBuf::from(tmp);
    let file = disk.open(&tmp, OpenMode::Create)?;
    disk.truncate(&file, 0)?;
    disk.write_all_at(&file, 0, content)?;
    disk.rename(&tmp, path)
}
