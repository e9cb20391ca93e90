//! Appending: all batches of a turn for this partition, one vectored write per segment.
//!
//! In: batches that the network thread has checked. Out: for each, where it stands or why it does not; the ranges
//! written. Offsets and epoch are stamped in place, outside the CRC. Nothing here costs anything per record.

use std::io::{self, IoSlice};
use std::path::Path;

use super::files::{FileKind, Stage, file_name};
use super::scan::{ScanError, Seen};
use super::segment::Segment;
use super::settings::LogConfig;
use super::transaction_index::{self, AbortedTransaction};
use super::{Hint, Log, LogError, create_segment};
use crate::clock::WallMs;
use crate::ids::{LeaderEpoch, Offset};
use crate::producer::{Before, Marker, Refusal, Verdict};
use crate::reactor::{Disk, File};
use crate::wire::batch::{self, BatchHeader};

/// One batch to append: exactly one of magic 2, its CRC checked. A control batch is a coordinator's marker.
#[derive(Debug)]
pub struct AppendBatch<'a> {
    pub bytes: &'a mut [u8],
    pub outcome: Outcome,
}

impl<'a> AppendBatch<'a> {
    pub fn new(bytes: &'a mut [u8]) -> AppendBatch<'a> {
        AppendBatch { bytes, outcome: Outcome::Pending }
    }
}

/// What became of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Not looked at.
    Pending,
    /// Written. `append_time` is set where the topic stamps it.
    Appended {
        base_offset: Offset,
        last_offset: Offset,
        append_time: Option<WallMs>,
    },
    /// It was in the log already; `timestamp` is the batch's largest.
    Duplicate {
        base_offset: Offset,
        last_offset: Offset,
        timestamp: i64,
    },
    Refused(AppendRefusal),
}

/// Why a batch was not appended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AppendRefusal {
    #[error(transparent)]
    Producer(#[from] Refusal),
    #[error("not exactly one batch of magic 2")]
    NotABatch,
    #[error("a batch of {bytes} bytes where {bytes_max} are allowed (max.message.bytes)")]
    TooLarge { bytes: usize, bytes_max: usize },
    #[error("a batch of {bytes} bytes does not fit a segment of {segment_bytes}")]
    LargerThanSegment { bytes: usize, segment_bytes: u32 },
    /// Retriable; nothing of the batch is in the log.
    #[error("no space left on the log directory")]
    NoSpace,
    /// A write or flush of the log directory has failed.
    #[error("the log directory has failed")]
    Failed,
}

/// A range that an append has written: what the resident window is told.
#[derive(Clone, Debug)]
pub struct Written {
    pub file: File,
    pub segment_base: Offset,
    pub position: u32,
    pub length: u32,
}

/// Vectors that appends reuse; one per IO thread serves all its logs.
#[derive(Debug, Default)]
pub struct AppendScratch {
    /// What the last append wrote.
    pub written: Vec<Written>,
    pub(super) undo: Vec<Before>,
    pub(super) aborted: Vec<AbortedTransaction>,
}

/// Accepted batches that are not written yet, the first of them number `from`; they go behind what the active segment has.
#[derive(Clone, Copy)]
pub(super) struct Run {
    pub from: usize,
    pub base_offset: i64,
    pub next_offset: i64,
    pub bytes: u32,
    pub first_timestamp: i64,
}

/// What decides whether a batch still goes into the active segment.
#[derive(Clone, Copy)]
pub(super) struct Next {
    pub last_offset: i64,
    pub bytes: usize,
    pub timestamp: i64,
}

impl Run {
    pub fn starting(from: usize, offset: i64) -> Run {
        Run { from, base_offset: offset, next_offset: offset, bytes: 0, first_timestamp: -1 }
    }
}

impl Log {
    /// Appends as the leader of `epoch`. Each batch's `outcome` says what became of it; an error means that the
    /// directory has failed and that what is not `Appended` or `Duplicate` is not in the log.
    pub fn append(
        &mut self,
        disk: &dyn Disk,
        batches: &mut [AppendBatch<'_>],
        epoch: LeaderEpoch,
        now: WallMs,
        scratch: &mut AppendScratch,
    ) -> Result<(), LogError> {
        scratch.written.clear();
        scratch.undo.clear();
        scratch.aborted.clear();
        let result = match self.check_alive() {
            Ok(()) => self.append_all(disk, batches, epoch, now, scratch),
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            let refusal = match error {
                LogError::NoSpace { .. } => AppendRefusal::NoSpace,
                LogError::Io { .. } | LogError::Corrupt { .. } | LogError::Failed { .. } => {
                    AppendRefusal::Failed
                }
            };
            self.take_back(batches, refusal, scratch);
            return match refusal {
                AppendRefusal::NoSpace => Ok(()),
                _ => Err(self.on_write_error(error)),
            };
        }
        Ok(())
    }

    fn append_all(
        &mut self,
        disk: &dyn Disk,
        batches: &mut [AppendBatch<'_>],
        epoch: LeaderEpoch,
        now: WallMs,
        scratch: &mut AppendScratch,
    ) -> Result<(), LogError> {
        let mut run = Run::starting(0, self.end);
        for index in 0..batches.len() {
            let header = match self.admit(&batches[index]) {
                Ok(header) => header,
                Err(outcome) => {
                    batches[index].outcome = outcome;
                    continue;
                }
            };
            let append_time = self.config.log_append_time.then_some(now);
            let timestamp = append_time.map_or(header.max_timestamp(), |now| now.0);
            let next = Next {
                last_offset: run.next_offset + i64::from(header.last_offset_delta()),
                bytes: header.total_bytes(),
                timestamp,
            };
            if self.must_roll(disk, &run, next, now)? {
                self.write_batches(disk, batches, run, index, scratch)?;
                run = Run::starting(index, self.end);
                self.roll(disk, self.end, now)?;
            }
            if run.bytes == 0 {
                run.first_timestamp = timestamp;
            }
            let base_offset = run.next_offset;
            let bytes = &mut *batches[index].bytes;
            batch::stamp(bytes, base_offset, epoch.0);
            if append_time.is_some() {
                batch::stamp_log_append_time(bytes, now.0);
            }
            run.bytes += bytes.len() as u32;
            run.next_offset += i64::from(header.last_offset_delta()) + 1;
            self.note_producer(&header, bytes, base_offset, scratch);
            batches[index].outcome = Outcome::Appended {
                base_offset: Offset(base_offset),
                last_offset: Offset(run.next_offset - 1),
                append_time,
            };
        }
        self.write_batches(disk, batches, run, batches.len(), scratch)
    }

    /// Writes the accepted batches of `run`, which ends before `until`.
    fn write_batches(
        &mut self,
        disk: &dyn Disk,
        batches: &[AppendBatch<'_>],
        run: Run,
        until: usize,
        scratch: &mut AppendScratch,
    ) -> Result<(), LogError> {
        let accepted = batches[run.from..until]
            .iter()
            .filter(|batch| matches!(batch.outcome, Outcome::Appended { .. }))
            .map(|batch| &*batch.bytes);
        let seen = accepted.clone().scan(0, |position, bytes| {
            let header = BatchHeader::peek(bytes).expect("admitted with this header");
            let seen = Seen {
                position: *position,
                total_bytes: bytes.len() as u32,
                base_offset: header.base_offset(),
                last_offset: header.last_offset(),
                max_timestamp: header.max_timestamp(),
                header: Some(header),
            };
            *position = seen.end();
            Some(seen)
        });
        self.write_run(disk, run, accepted.map(IoSlice::new), seen, scratch)
    }

    /// The checks that need the log. Structure and CRC were checked where the bytes came in.
    fn admit(&self, batch: &AppendBatch<'_>) -> Result<BatchHeader, Outcome> {
        let bytes = batch.bytes.len();
        let header = match BatchHeader::peek(batch.bytes) {
            Some(header) if header.total_bytes() == bytes && header.last_offset_delta() >= 0 => header,
            Some(_) | None => return Err(Outcome::Refused(AppendRefusal::NotABatch)),
        };
        let bytes_max = self.config.max_message_bytes as usize;
        if bytes > bytes_max {
            return Err(Outcome::Refused(AppendRefusal::TooLarge { bytes, bytes_max }));
        }
        let segment_bytes = self.config.segment_bytes;
        if bytes > segment_bytes as usize {
            return Err(Outcome::Refused(AppendRefusal::LargerThanSegment { bytes, segment_bytes }));
        }
        if header.is_control() {
            return match Marker::parse(&header, batch.bytes)
                .map(|marker| self.producers.admit_marker(&marker))
            {
                Some(Ok(())) => Ok(header),
                Some(Err(refusal)) => Err(Outcome::Refused(refusal.into())),
                None => Err(Outcome::Refused(AppendRefusal::NotABatch)),
            };
        }
        match self.producers.admit(&header) {
            Verdict::New => Ok(header),
            Verdict::Duplicate { base_offset, last_offset, timestamp } => Err(Outcome::Duplicate {
                base_offset: Offset(base_offset),
                last_offset: Offset(last_offset),
                timestamp,
            }),
            Verdict::Refused(refusal) => Err(Outcome::Refused(refusal.into())),
        }
    }

    pub(super) fn note_producer(
        &mut self,
        header: &BatchHeader,
        bytes: &[u8],
        base_offset: i64,
        scratch: &mut AppendScratch,
    ) {
        if !header.has_producer_id() {
            return;
        }
        let (undo, aborted) = note_producer(&mut self.producers, header, bytes, base_offset);
        scratch.undo.extend(undo);
        scratch.aborted.extend(aborted);
    }

    /// The rule of contract 3.3, for a batch that would stand behind `run`.
    pub(super) fn must_roll(
        &mut self,
        disk: &dyn Disk,
        run: &Run,
        next: Next,
        now: WallMs,
    ) -> Result<bool, LogError> {
        let directory = self.directory.clone();
        let config = self.config.clone();
        let active = self.active();
        let filled = u64::from(active.bytes) + u64::from(run.bytes);
        if next.last_offset - active.base_offset > i64::from(i32::MAX) {
            return Ok(true);
        }
        if filled == 0 {
            return Ok(false);
        }
        if filled + next.bytes as u64 > u64::from(config.segment_bytes)
            || active.offsets.is_full(config.segment_index_bytes)
            || active.times.is_full(config.segment_index_bytes)
        {
            return Ok(true);
        }
        let wait_max = config.segment_ms - jitter_ms(&directory, &config, active.base_offset);
        let first = if active.bytes > 0 {
            let base_offset = active.base_offset;
            active
                .first_timestamp(disk, &directory)
                .map_err(|error| LogError::scan(&active_path(&directory, base_offset))(error))?
        } else {
            Some(run.first_timestamp).filter(|timestamp| *timestamp >= 0)
        };
        let waited = match first {
            Some(first) => next.timestamp.saturating_sub(first),
            None => now.0.saturating_sub(active.created_ms),
        };
        Ok(waited > wait_max)
    }

    /// Writes a run and takes note of its batches. `slices` are their bytes in order, `seen` what is known of each, by its
    /// place in the run.
    pub(super) fn write_run<'a>(
        &mut self,
        disk: &dyn Disk,
        run: Run,
        slices: impl Iterator<Item = IoSlice<'a>> + Clone,
        seen: impl Iterator<Item = Seen>,
        scratch: &mut AppendScratch,
    ) -> Result<(), LogError> {
        if run.bytes == 0 {
            return Ok(());
        }
        let directory = self.directory.clone();
        let config = self.config.clone();
        let (epochs, segments) = (&mut self.epochs, &mut self.segments);
        let active = segments.last_mut().expect("a log has at least one segment");
        let segment_base = active.base_offset;
        // The path is made only when there is an error to tell.
        let failed = |what, position, source| {
            LogError::io(&active_path(&directory, segment_base), what, position)(source)
        };
        let file = active.file(disk, &directory).map_err(|source| failed("open", 0, source))?;
        let position = active.bytes;
        active
            .reserve(disk, &file, position + run.bytes, &config)
            .map_err(|source| failed("reserve", u64::from(position), source))?;
        // Until all of the run is taken note of.
        self.tail_is_dirty = true;
        write_slices(disk, &file, u64::from(position), slices)
            .map_err(|source| failed("write", u64::from(position), source))?;
        for aborted in scratch.aborted.drain(..) {
            let path = active.path(&directory, FileKind::TransactionIndex);
            transaction_index::append(disk, &path, aborted).map_err(LogError::io(
                &path,
                "write transaction index",
                0,
            ))?;
            active.transactions_are_unsynced = true;
            self.flush.directory_is_unsynced = true;
        }
        for seen in seen {
            let seen = Seen { position: position + seen.position, ..seen };
            let epoch = seen.header.as_ref().map_or(-1, BatchHeader::partition_leader_epoch);
            if epochs.latest().is_none_or(|latest| latest.epoch < epoch) {
                epochs.assign(epoch, seen.base_offset);
            }
            active
                .note(disk, &directory, &config, &seen)
                .map_err(|source| failed("write index", u64::from(seen.position), source))?;
        }
        self.recent_appends.add(Hint { offset: run.base_offset, segment_base, position });
        scratch.written.push(Written {
            file,
            segment_base: Offset(segment_base),
            position,
            length: run.bytes,
        });
        scratch.undo.clear();
        self.end = run.next_offset;
        self.tail_is_dirty = false;
        Ok(())
    }

    /// Producer state as before what was accepted and not written.
    pub(super) fn forget_unwritten(&mut self, scratch: &mut AppendScratch) {
        for before in scratch.undo.drain(..).rev() {
            self.producers.undo(before);
        }
        scratch.aborted.clear();
    }

    /// Nothing of what was accepted and not written is in the log.
    fn take_back(
        &mut self,
        batches: &mut [AppendBatch<'_>],
        refusal: AppendRefusal,
        scratch: &mut AppendScratch,
    ) {
        self.forget_unwritten(scratch);
        let written_end = self.end;
        for batch in batches {
            match batch.outcome {
                Outcome::Pending => batch.outcome = Outcome::Refused(refusal),
                Outcome::Appended { last_offset, .. } | Outcome::Duplicate { last_offset, .. }
                    if last_offset.0 >= written_end =>
                {
                    batch.outcome = Outcome::Refused(refusal);
                }
                Outcome::Appended { .. } | Outcome::Duplicate { .. } | Outcome::Refused(_) => {}
            }
        }
    }

    /// Closes the active segment and goes on in a new one that begins at `base_offset`, which is the end of the log.
    pub(super) fn roll(&mut self, disk: &dyn Disk, base_offset: i64, now: WallMs) -> Result<(), LogError> {
        let directory = self.directory.clone();
        let config = self.config.clone();
        let snapshot = directory.join(file_name(base_offset, FileKind::Snapshot, Stage::Live));
        super::write_and_rename(disk, &snapshot, &self.producers.to_snapshot()).map_err(LogError::io(
            &snapshot,
            "write producer snapshot",
            0,
        ))?;
        let tail_is_dirty = self.tail_is_dirty;
        let active = self.active();
        let path = active.path(&directory, FileKind::Log);
        active.write_indexes(disk, &directory).map_err(LogError::io(&path, "write indexes", 0))?;
        active.release(disk, &directory, tail_is_dirty).map_err(LogError::io(&path, "trim", 0))?;
        if tail_is_dirty {
            // What was refused must not come back before the next segment after a crash.
            let file = active.file(disk, &directory).map_err(LogError::io(&path, "open", 0))?;
            disk.sync_data(&file).map_err(|source| LogError::Io {
                path: path.clone(),
                what: "flush",
                position: 0,
                source,
            })?;
        }
        let next = create_segment(disk, &directory, &config, base_offset, now)?;
        self.segments.push(next);
        self.tail_is_dirty = false;
        self.flush.directory_is_unsynced = true;
        Ok(())
    }
}

/// Tells the producer state of a batch that stands at `base_offset`: what to put back if it does not reach the disk,
/// and the transaction it has aborted.
pub(super) fn note_producer(
    producers: &mut crate::producer::Producers,
    header: &BatchHeader,
    bytes: &[u8],
    base_offset: i64,
) -> (Option<Before>, Option<AbortedTransaction>) {
    if !header.is_control() {
        return (producers.record(header, base_offset), None);
    }
    let Some(marker) = Marker::parse(header, bytes) else { return (None, None) };
    let last_stable = producers.first_open_except(marker.producer_id).unwrap_or(base_offset + 1);
    let (before, ended) = producers.record_marker(&marker, base_offset);
    let aborted = ended.filter(|ended| ended.is_aborted).map(|ended| AbortedTransaction {
        producer_id: ended.producer_id,
        first_offset: ended.first_offset,
        last_offset: ended.last_offset,
        last_stable_offset: last_stable,
    });
    (Some(before), aborted)
}

fn active_path(directory: &Path, base_offset: i64) -> std::path::PathBuf {
    directory.join(file_name(base_offset, FileKind::Log, Stage::Live))
}

/// A share of `segment.jitter.ms` that is the segment's own, so that segments of one age do not all roll at once.
fn jitter_ms(directory: &Path, config: &LogConfig, base_offset: i64) -> i64 {
    let range = config.segment_jitter_ms.min(config.segment_ms);
    if range <= 0 {
        return 0;
    }
    let seed = crate::checksum::crc32c(directory.as_os_str().as_encoded_bytes());
    let mixed = (u64::from(seed) << 32 ^ base_offset as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 1) as i64 % range
}

/// Writes all slices, one after the other, with as few calls as the system allows (H01).
fn write_slices<'a>(
    disk: &dyn Disk,
    file: &File,
    position: u64,
    slices: impl Iterator<Item = IoSlice<'a>> + Clone,
) -> io::Result<()> {
    const ON_STACK: usize = 32;
    let mut on_stack = [IoSlice::new(&[]); ON_STACK];
    let mut on_heap = Vec::new();
    let mut count = 0;
    for (slot, slice) in on_stack.iter_mut().zip(slices.clone()) {
        *slot = slice;
        count += 1;
    }
    let mut left: &mut [IoSlice<'a>] = &mut on_stack[..count];
    if count == ON_STACK {
        on_heap.extend(slices);
        left = &mut on_heap;
    }
    let (mut position, mut zeros) = (position, 0);
    while !left.is_empty() {
        match disk.write_at(file, position, left) {
            Ok(0) if zeros == 1 => return Err(io::ErrorKind::WriteZero.into()),
            Ok(0) => zeros += 1,
            Ok(count) => {
                zeros = 0;
                position += count as u64;
                IoSlice::advance_slices(&mut left, count);
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

impl From<ScanError> for io::Error {
    fn from(error: ScanError) -> io::Error {
        match error {
            ScanError::Io { source, .. } => source,
            ScanError::Bad { position, reason } => {
                io::Error::new(io::ErrorKind::InvalidData, format!("not a batch at {position}: {reason}"))
            }
        }
    }
}

const _: fn() = || {
    fn sent_between_threads<T: Send>() {}
    sent_between_threads::<Log>();
    sent_between_threads::<Segment>();
};
