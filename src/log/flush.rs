//! Flushing, the recovery point, and the clean stop.
//!
//! In: what the owner's flushes came to. Out: the files a flush must cover, and the offset that is safe after it.
//! The flush itself is the owner's, so that it can run on the ring while appends go on. The recovery point moves only
//! after the data is flushed (H26); the first error is final (H08).

use std::io;

use super::files::{FileKind, Stage, file_name};
use super::{EPOCH_FILE, Log, LogError, write_and_rename};
use crate::clock::WallMs;
use crate::ids::Offset;
use crate::reactor::{Disk, File, OpenMode};

/// What a flush is to cover.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FlushScope {
    /// All that was appended so far.
    All,
    /// Closed segments: what a roll leaves behind.
    ClosedSegments,
}

/// Who flushes at a clean stop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CloseFlush {
    /// The log, file by file.
    Each,
    /// The caller, by one flush of the whole file system when all logs are closed: what 10,000 logs can afford.
    ByCaller,
}

#[derive(Clone, Copy, Debug)]
struct InFlight {
    upto: i64,
    /// The last segment covered, and its bytes when the flush began.
    last_base: i64,
    last_bytes: u32,
    covers_directory: bool,
}

#[derive(Debug)]
pub(super) struct FlushState {
    flushed: i64,
    in_flight: Option<InFlight>,
    /// A file was made, renamed or removed since the directory was flushed (H25).
    pub directory_is_unsynced: bool,
    /// Segments that were never flushed went away: until the directory is flushed, a power cut brings them back.
    pub deletion_is_unsynced: bool,
    /// The directory itself is new.
    pub parent_is_unsynced: bool,
    last_ms: i64,
}

impl FlushState {
    pub fn new(flushed: i64, now: WallMs) -> FlushState {
        FlushState {
            flushed,
            in_flight: None,
            directory_is_unsynced: false,
            deletion_is_unsynced: false,
            parent_is_unsynced: false,
            last_ms: now.0,
        }
    }

    pub fn set_flushed(&mut self, offset: i64) {
        self.flushed = offset;
    }

    pub fn flushed(&self) -> i64 {
        self.flushed
    }

    /// What lay beyond `end` was cut off: a flush that is under way counts up to there.
    pub fn cut(&mut self, end: i64) {
        self.flushed = self.flushed.min(end);
        if let Some(flight) = &mut self.in_flight {
            flight.upto = flight.upto.min(end);
        }
    }
}

impl Log {
    /// Records below are flushed: the recovery point in memory.
    pub fn flushed_offset(&self) -> Offset {
        Offset(self.flush.flushed)
    }

    /// What the settings ask to be flushed now. Group commit is not asked here: its owner flushes before it replies.
    pub fn flush_due(&self, now: WallMs) -> Option<FlushScope> {
        if self.failed || self.flush.in_flight.is_some() || self.end <= self.flush.flushed {
            return None;
        }
        let waited = now.0.saturating_sub(self.flush.last_ms);
        if self.end - self.flush.flushed >= self.config.flush_messages || waited >= self.config.flush_ms {
            return Some(FlushScope::All);
        }
        let active_base = self.segments.last().map_or(0, |active| active.base_offset);
        (active_base > self.flush.flushed).then_some(FlushScope::ClosedSegments)
    }

    /// Adds to `files` what has to be flushed, directories included, and says which offset is safe when all of them
    /// have been. `None`: nothing to flush, or a flush is under way. `on_flushed` must follow.
    pub fn begin_flush(
        &mut self,
        disk: &dyn Disk,
        scope: FlushScope,
        files: &mut Vec<File>,
    ) -> Result<Option<Offset>, LogError> {
        self.check_alive()?;
        if self.flush.in_flight.is_some() {
            return Ok(None);
        }
        let last = match scope {
            FlushScope::All => self.segments.len(),
            FlushScope::ClosedSegments => self.segments.len() - 1,
        };
        let Some(last_segment) = last.checked_sub(1).map(|index| &self.segments[index]) else {
            return Ok(None);
        };
        let upto = self.segment_end(last - 1);
        if upto <= self.flush.flushed && !self.flush.directory_is_unsynced {
            return Ok(None);
        }
        let flight = InFlight {
            upto,
            last_base: last_segment.base_offset,
            last_bytes: last_segment.bytes,
            covers_directory: self.flush.directory_is_unsynced,
        };
        let directory = self.directory.clone();
        let before = files.len();
        for segment in self.segments[..last].iter_mut().rev() {
            if segment.flushed_bytes >= segment.bytes {
                if segment.base_offset < self.flush.flushed {
                    break;
                }
                continue;
            }
            let path = segment.path(&directory, FileKind::Log);
            files.push(segment.file(disk, &directory).map_err(LogError::io(&path, "open", 0))?);
            // Recovery builds this index anew only from the recovery point on.
            if std::mem::take(&mut segment.transactions_are_unsynced) {
                let path = segment.path(&directory, FileKind::TransactionIndex);
                files.push(disk.open(&path, OpenMode::Write).map_err(LogError::io(&path, "open", 0))?);
            }
        }
        if self.flush.directory_is_unsynced {
            let open = |path: &std::path::Path| {
                disk.open(path, OpenMode::Read).map_err(LogError::io(path, "open directory", 0))
            };
            files.push(open(&directory)?);
            if let Some(parent) = directory.parent().filter(|_| self.flush.parent_is_unsynced) {
                files.push(open(parent)?);
            }
            self.flush.directory_is_unsynced = false;
        }
        self.flush.in_flight = Some(flight);
        debug_assert!(files.len() > before, "a flush covers something");
        Ok(Some(Offset(upto)))
    }

    /// The flush of everything that `begin_flush` named has ended. The offset below which all is flushed.
    pub fn on_flushed(&mut self, result: io::Result<()>, now: WallMs) -> Result<Offset, LogError> {
        let flight = self.flush.in_flight.take();
        if let Err(source) = result {
            // Pages of the failed flush may be marked clean: a second flush would lie (H08).
            self.failed = true;
            return Err(LogError::Io {
                path: self.directory.to_path_buf(),
                what: "flush",
                position: 0,
                source,
            });
        }
        self.check_alive()?;
        let Some(flight) = flight else { return Ok(Offset(self.flush.flushed)) };
        if flight.covers_directory {
            self.flush.parent_is_unsynced = false;
        }
        self.flush.last_ms = now.0;
        let active_base = self.segments.last().map_or(0, |active| active.base_offset);
        for segment in self.segments.iter_mut().rev() {
            if segment.base_offset > flight.last_base {
                continue;
            }
            if segment.base_offset < self.flush.flushed && segment.flushed_bytes >= segment.bytes {
                break;
            }
            segment.flushed_bytes = if segment.base_offset == flight.last_base {
                flight.last_bytes.min(segment.bytes)
            } else {
                segment.bytes
            };
            let is_closed = segment.base_offset < active_base && segment.flushed_bytes == segment.bytes;
            if is_closed && !self.cold_files.contains(&segment.base_offset) {
                segment.file = None;
            }
        }
        self.flush.flushed = self.flush.flushed.max(flight.upto.min(self.end));
        Ok(Offset(self.flush.flushed))
    }

    /// The recovery point for the checkpoint file. Epochs are written first: recovery finds those at or beyond the
    /// recovery point in the batches, those below only in the file (H26).
    pub fn recovery_point(&mut self, disk: &dyn Disk) -> Result<Offset, LogError> {
        self.check_alive()?;
        if self.flush.deletion_is_unsynced {
            let path = self.directory.clone();
            disk.sync_directory(&path)
                .map_err(LogError::io(&path, "flush directory", 0))
                .map_err(|error| self.on_write_error(error))?;
            self.flush.deletion_is_unsynced = false;
        }
        if self.epochs.is_dirty() {
            let path = self.directory.join(EPOCH_FILE);
            disk.replace_file(&path, self.epochs.to_text().as_bytes())
                .map_err(LogError::io(&path, "write", 0))
                .map_err(|error| self.on_write_error(error))?;
            self.epochs.mark_clean();
        }
        if self.flush.flushed < self.start && self.flush.in_flight.is_none() {
            // A Kafka of 1.0 refuses to start from a point below the start of the log (contract 3.6). Records deleted
            // before they were flushed are rare enough to wait for.
            let mut files = Vec::new();
            if self.begin_flush(disk, FlushScope::All, &mut files)?.is_some() {
                let result = files.iter().try_for_each(|file| disk.sync_data(file));
                self.on_flushed(result, WallMs(self.flush.last_ms))?;
            }
        }
        Ok(Offset(self.flush.flushed))
    }

    /// The clean stop: indexes with their last entries, epochs, a producer snapshot at the end, trimmed files. With
    /// `CloseFlush::ByCaller` the data is safe only after the caller's flush. Nothing may be appended afterwards.
    pub fn close(&mut self, disk: &dyn Disk, flush: CloseFlush, now: WallMs) -> Result<(), LogError> {
        self.check_alive()?;
        self.close_files(disk).map_err(|error| self.on_write_error(error))?;
        match flush {
            CloseFlush::ByCaller => {
                self.flush.in_flight = None;
                for segment in &mut self.segments {
                    segment.flushed_bytes = segment.bytes;
                }
            }
            CloseFlush::Each => {
                let mut files = Vec::new();
                self.flush.in_flight = None;
                self.flush.directory_is_unsynced = true;
                self.begin_flush(disk, FlushScope::All, &mut files)?;
                let result = files.iter().try_for_each(|file| disk.sync_data(file));
                self.on_flushed(result, now)?;
            }
        }
        self.flush.set_flushed(self.end);
        for segment in &mut self.segments {
            segment.file = None;
        }
        self.cold_files.clear();
        Ok(())
    }

    fn close_files(&mut self, disk: &dyn Disk) -> Result<(), LogError> {
        let directory = self.directory.clone();
        let tail_is_dirty = self.tail_is_dirty;
        let active = self.active();
        let path = active.path(&directory, FileKind::Log);
        active.write_indexes(disk, &directory).map_err(LogError::io(&path, "write indexes", 0))?;
        active.release(disk, &directory, tail_is_dirty).map_err(LogError::io(&path, "trim", 0))?;
        if tail_is_dirty {
            // Counts as not flushed, so that the flush of the stop covers the trimmed end too.
            active.flushed_bytes = 0;
        }
        self.tail_is_dirty = false;
        if self.epochs.is_dirty() {
            let path = directory.join(EPOCH_FILE);
            write_and_rename(disk, &path, self.epochs.to_text().as_bytes())
                .map_err(LogError::io(&path, "write", 0))?;
            self.epochs.mark_clean();
        }
        let snapshot = directory.join(file_name(self.end, FileKind::Snapshot, Stage::Live));
        write_and_rename(disk, &snapshot, &self.producers.to_snapshot()).map_err(LogError::io(
            &snapshot,
            "write producer snapshot",
            0,
        ))
    }
}
