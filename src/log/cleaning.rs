//! A pass of compaction over the files of one log (contract 3.5, 3.6), by a thread that does not own the log.
//!
//! In: a plan, made by the owner: closed segments, which nobody appends to, and what bounds the pass. Out: for each group
//! of segments one new segment, handed to the owner, who takes it in memory and goes on; and how far the pass came.
//!
//! The order of a swap, so that a crash at any point leaves a whole log: the new files are written as `.cleaned` and
//! flushed; they become `.swap`, the directory is flushed; the owner reads from them; the old files become `.deleted`,
//! oldest first, the directory is flushed; the owner gives the new ones their names. From the second step on the next
//! start completes the swap, before it the new files are thrown away.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::batch_file::{BatchFile, Placed};
use super::compaction::{
    CleaningLimits, ClosedSegment, Dirty, GroupedSegment, Keep, LastOfProducer, Left, Scratch, Transactions,
    Unreadable, dirty, group, is_due, note_batch, note_legacy_entry,
};
use super::files::{FileKind, Stage, file_name};
use super::offset_index::OffsetEntry;
use super::offset_map::OffsetMap;
use super::scan::{Scan, Seen};
use super::segment::{Largest, Segment, remove_if_there};
use super::settings::LogConfig;
use super::time_index::TimeEntry;
use super::transaction_index::{self, AbortedTransaction};
use super::{Log, LogError};
use crate::clock::WallMs;
use crate::reactor::{Disk, File, OpenMode};
use crate::wire::batch::Batch;

/// The files of a segment that a pass makes, in the order in which they change their names.
const KINDS: [FileKind; 4] =
    [FileKind::Log, FileKind::OffsetIndex, FileKind::TimeIndex, FileKind::TransactionIndex];

/// What a pass needs to know of a closed segment.
#[derive(Clone, Copy, Debug)]
struct Planned {
    base_offset: i64,
    end_offset: i64,
    bytes: u32,
    index_bytes: u64,
    time_index_bytes: u64,
}

/// A pass to be made. While it is made the log deletes no segments.
#[derive(Debug)]
pub struct CleaningPlan {
    pub directory: Arc<Path>,
    pub dirty: Dirty,
    config: Arc<LogConfig>,
    segments: Vec<Planned>,
    /// Closed segments behind them: transactions may end there.
    later: Vec<i64>,
    aborted_in_active: Vec<AbortedTransaction>,
    producers: HashMap<i64, LastOfProducer>,
}

/// What a pass may use.
#[derive(Clone, Copy, Debug)]
pub struct CleaningMeans {
    /// Memory of the offset map.
    pub map_bytes: usize,
    pub load_factor: f64,
    /// Read and written at once.
    pub io_bytes: usize,
}

/// Told of every piece read or written, in bytes; false ends the pass.
pub type Pace<'a> = &'a mut dyn FnMut(u64) -> bool;

/// A segment that takes the place of a group of segments.
#[derive(Clone, Debug)]
pub struct CleanedGroup {
    pub base_offset: i64,
    /// Base offsets of the segments it replaces, in order.
    pub replaced: Vec<i64>,
    bytes: u32,
    index_bytes: u64,
    time_index_bytes: u64,
    largest: Largest,
    modified_ms: i64,
}

/// What the pass asks the log's owner to do.
pub trait Owner {
    /// `Log::take_cleaned`; false when the log no longer is what the plan says.
    fn take(&mut self, group: &CleanedGroup) -> bool;
    /// `Log::name_cleaned`; false when the log is gone.
    fn name(&mut self, group: &CleanedGroup) -> bool;
}

/// What a pass came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Pass {
    /// The first offset the next pass has to look at for new keys.
    pub first_dirty: i64,
    pub read_bytes: u64,
    pub written_bytes: u64,
    pub keys: usize,
    pub map_bytes: usize,
    pub segments_before: usize,
    pub segments_after: usize,
}

/// Why a pass ended early. What it has swapped by then stays.
#[derive(Debug, thiserror::Error)]
pub enum CleaningError {
    #[error("the pass was stopped")]
    Stopped,
    #[error("the log is no longer what it was when the pass began")]
    Gone,
    /// The offset map cannot hold the keys of a single batch.
    #[error("{}: the memory for keys ({map_bytes} bytes) is full within one batch at offset {offset}", path.display())]
    MapTooSmall { path: PathBuf, map_bytes: usize, offset: i64 },
    #[error("{}: a batch at {position} cannot be read: {reason}", path.display())]
    Unreadable { path: PathBuf, position: u64, reason: Unreadable },
    #[error(transparent)]
    Log(#[from] LogError),
}

impl Log {
    /// Where compaction has come to, of the checkpoint file.
    pub fn set_first_dirty(&mut self, offset: i64) {
        self.first_dirty = Some(offset);
    }

    /// The part of the log that compaction should look at, when it is due.
    pub fn due_for_cleaning(&mut self, disk: &dyn Disk, now: WallMs) -> Result<Option<Dirty>, LogError> {
        self.check_alive()?;
        if !self.config.cleanup_compact || self.cleaning || self.segments.len() < 2 {
            return Ok(None);
        }
        let directory = self.directory.clone();
        let config = self.config.clone();
        let active = self.segments.len() - 1;
        let mut closed = Vec::with_capacity(active);
        for segment in &mut self.segments[..active] {
            let newest_ms = if config.min_compaction_lag_ms > 0 {
                let path = segment.path(&directory, FileKind::TimeIndex);
                segment.newest_ms(disk, &directory).map_err(LogError::io(&path, "read time index", 0))?
            } else {
                -1
            };
            let (base_offset, bytes) = (segment.base_offset, u64::from(segment.bytes));
            closed.push(ClosedSegment { base_offset, bytes, newest_ms });
        }
        let limits = CleaningLimits {
            now_ms: now.0,
            checkpoint: self.first_dirty,
            start_offset: self.start,
            end_offset: self.end,
            // A record that is flushed must not go for one that is not.
            bound: self.last_stable_offset().0.min(self.flush.flushed()),
            active_base: self.segments[active].base_offset,
            min_lag_ms: config.min_compaction_lag_ms,
            max_lag_ms: config.max_compaction_lag_ms,
            dirty_ratio_min: config.min_cleanable_dirty_ratio,
        };
        let dirty = dirty(&closed, &limits);
        let mut oldest = None;
        if config.max_compaction_lag_ms < i64::MAX {
            for segment in &mut self.segments[..active] {
                if segment.base_offset >= dirty.end || segment.base_offset < dirty.first_dirty {
                    continue;
                }
                let path = segment.path(&directory, FileKind::Log);
                let first = segment.first_timestamp(disk, &directory).map_err(LogError::scan(&path))?;
                oldest = oldest.into_iter().chain(first).min();
            }
        }
        Ok(is_due(&dirty, &limits, oldest).then_some(dirty))
    }

    /// A plan for a pass that is due. Until `end_cleaning` no segment of the log is deleted by retention.
    pub fn plan_cleaning(&mut self, disk: &dyn Disk, now: WallMs) -> Result<Option<CleaningPlan>, LogError> {
        let Some(dirty) = self.due_for_cleaning(disk, now)? else { return Ok(None) };
        if self.segments.iter().any(|segment| segment.stage != Stage::Live) {
            // A swap was cut short by an error. The next start completes it; until then it is served as it is.
            return Ok(None);
        }
        let active = self.segments.len() - 1;
        let path = self.segments[active].path(&self.directory, FileKind::TransactionIndex);
        let aborted_in_active =
            transaction_index::read(disk, &path).map_err(LogError::io(&path, "read transaction index", 0))?;
        let planned = |index: usize| {
            let segment = &self.segments[index];
            Planned {
                base_offset: segment.base_offset,
                end_offset: self.segment_end(index),
                bytes: segment.bytes,
                index_bytes: (segment.offsets.len() * OffsetEntry::BYTES) as u64,
                time_index_bytes: (segment.times.len() * TimeEntry::BYTES) as u64,
            }
        };
        let count = self.segments[..active].partition_point(|segment| segment.base_offset < dirty.end);
        let producers = self.producers.sorted().into_iter().map(|(producer_id, producer)| {
            let last_offset = producer.last_batch().map(|batch| batch.last_offset);
            (producer_id, LastOfProducer { producer_id, epoch: producer.epoch, last_offset })
        });
        let plan = CleaningPlan {
            directory: self.directory.clone(),
            config: self.config.clone(),
            dirty,
            segments: (0..count).map(planned).collect(),
            later: self.segments[count..active].iter().map(|segment| segment.base_offset).collect(),
            aborted_in_active,
            producers: producers.collect(),
        };
        self.cleaning = true;
        Ok(Some(plan))
    }

    /// Reads from a finished segment instead of those it replaces. False, and nothing changed, when they are not there.
    pub fn take_cleaned(&mut self, group: &CleanedGroup) -> bool {
        let Some(first) = group.replaced.first() else { return false };
        let Ok(first) = self.segments.binary_search_by_key(first, |segment| segment.base_offset) else {
            return false;
        };
        let range = first..first + group.replaced.len();
        let still_there = range.end < self.segments.len()
            && self.segments[range.clone()].iter().map(|s| s.base_offset).eq(group.replaced.iter().copied());
        if !still_there || self.failed || !self.cleaning {
            return false;
        }
        let mut segment = Segment::found(
            group.base_offset,
            group.bytes,
            group.index_bytes,
            group.time_index_bytes,
            group.modified_ms,
        );
        segment.stage = Stage::Swap;
        segment.largest = Some(group.largest);
        self.segments.splice(range, [segment]);
        self.recent_appends.clear();
        self.recent_reads.clear();
        self.cold_files.retain(|base| !group.replaced.contains(base));
        true
    }

    /// Gives the files of a segment that was taken their lasting names. The old ones are out of the way by now.
    pub fn name_cleaned(&mut self, disk: &dyn Disk, base_offset: i64) -> Result<(), LogError> {
        self.check_alive()?;
        let directory = self.directory.clone();
        let Ok(index) = self.segments.binary_search_by_key(&base_offset, |segment| segment.base_offset)
        else {
            return Ok(());
        };
        let segment = &mut self.segments[index];
        if segment.stage != Stage::Swap {
            return Ok(());
        }
        let name = |kind: FileKind, stage| directory.join(file_name(base_offset, kind, stage));
        let mut renamed = Vec::new();
        for kind in KINDS.into_iter().rev() {
            let from = name(kind, Stage::Swap);
            match disk.rename(&from, &name(kind, Stage::Live)) {
                Ok(()) => renamed.push(kind),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound && kind == FileKind::TransactionIndex => {}
                Err(e) => {
                    // All or none: the segment's files are found by one name.
                    let undone = renamed
                        .into_iter()
                        .try_for_each(|kind| disk.rename(&name(kind, Stage::Live), &name(kind, Stage::Swap)));
                    self.failed |= undone.is_err();
                    return Err(self.on_write_error(LogError::io(&from, "rename", 0)(e)));
                }
            }
        }
        segment.stage = Stage::Live;
        self.flush.directory_is_unsynced = true;
        Ok(())
    }

    /// The pass is over; `first_dirty` is where the next one begins, if this one came to its end.
    pub fn end_cleaning(&mut self, first_dirty: Option<i64>) {
        self.cleaning = false;
        self.first_dirty = first_dirty.or(self.first_dirty);
    }
}

impl CleaningPlan {
    /// Makes the pass.
    pub fn run(
        &self,
        disk: &dyn Disk,
        means: CleaningMeans,
        now: WallMs,
        pace: Pace<'_>,
        owner: &mut dyn Owner,
    ) -> Result<Pass, CleaningError> {
        let mut pass = Pass { segments_before: self.segments.len(), ..Pass::default() };
        let aborted = self.aborted(disk)?;
        let mut scratch = Scratch::default();
        let map = self.build_map(disk, means, &aborted, pace, &mut pass, &mut scratch)?;
        pass.first_dirty = map.latest() + 1;
        (pass.keys, pass.map_bytes) = (map.len(), map.bytes());

        let upto = self.segments.partition_point(|segment| segment.base_offset <= map.latest());
        let horizon_ms = self.old_tombstone_horizon(disk)?;
        let grouped: Vec<GroupedSegment> = self.segments[..upto]
            .iter()
            .map(|segment| GroupedSegment {
                base_offset: segment.base_offset,
                end_offset: segment.end_offset,
                bytes: u64::from(segment.bytes),
                index_bytes: segment.index_bytes,
                time_index_bytes: segment.time_index_bytes,
            })
            .collect();
        let index_max = u64::from(self.config.segment_index_bytes);
        let mut transactions = Transactions::new(aborted);
        let mut from = 0;
        for count in group(&grouped, u64::from(self.config.segment_bytes), index_max) {
            let segments = &self.segments[from..from + count];
            from += count;
            pass.segments_after += 1;
            let mut work = GroupWork { plan: self, disk, means, now, map: &map, horizon_ms, pass: &mut pass };
            let Some(group) = work.clean(segments, &mut transactions, &mut scratch, pace)? else { continue };
            if !owner.take(&group) {
                self.remove(disk, group.base_offset, Stage::Swap)?;
                return Err(CleaningError::Gone);
            }
            self.put_away(disk, &group)?;
            if !owner.name(&group) {
                return Err(CleaningError::Gone);
            }
        }
        pass.segments_after += self.segments.len() - upto;
        Ok(pass)
    }

    fn path(&self, base_offset: i64, kind: FileKind, stage: Stage) -> PathBuf {
        self.directory.join(file_name(base_offset, kind, stage))
    }

    /// Aborted transactions that reach into the segments of the plan.
    fn aborted(&self, disk: &dyn Disk) -> Result<Vec<AbortedTransaction>, LogError> {
        let Some(first) = self.segments.first() else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        let bases = self.segments.iter().map(|segment| segment.base_offset).chain(self.later.iter().copied());
        for base_offset in bases {
            let path = self.path(base_offset, FileKind::TransactionIndex, Stage::Live);
            found.extend(transaction_index::read(disk, &path).map_err(LogError::io(
                &path,
                "read transaction index",
                0,
            ))?);
        }
        found.extend(&self.aborted_in_active);
        found.retain(|transaction| transaction.last_offset >= first.base_offset);
        Ok(found)
    }

    fn build_map(
        &self,
        disk: &dyn Disk,
        means: CleaningMeans,
        aborted: &[AbortedTransaction],
        pace: Pace<'_>,
        pass: &mut Pass,
        scratch: &mut Scratch,
    ) -> Result<OffsetMap, CleaningError> {
        let from = self.dirty.first_dirty;
        let first = self.segments.partition_point(|segment| segment.end_offset <= from);
        let offsets = u64::try_from(self.dirty.end - from).unwrap_or(0);
        let mut map = OffsetMap::new(means.map_bytes, means.load_factor, offsets);
        let begin = self.segments.get(first).map_or(from, |segment| segment.base_offset);
        let mut transactions =
            Transactions::new(aborted.iter().copied().filter(|t| t.last_offset >= begin).collect());
        for segment in &self.segments[first..] {
            let mut batches = self.batches(disk, segment, means)?;
            while let Some(placed) = next(&mut batches, pace, pass)? {
                let unreadable = |reason| self.unreadable(segment, placed.position, reason);
                let (fits, offset) = match batches.checked_batch(&placed)? {
                    Batch::Current { header, bytes } => {
                        let fits = note_batch(&mut map, &header, bytes, from, &mut transactions, scratch);
                        (fits.map_err(unreadable)?, header.base_offset())
                    }
                    Batch::Legacy(entry) => {
                        let fits = note_legacy_entry(&mut map, &entry, from, scratch);
                        (fits.map_err(unreadable)?, entry.offset())
                    }
                };
                if !fits && map.latest() < from {
                    let path = self.path(segment.base_offset, FileKind::Log, Stage::Live);
                    return Err(CleaningError::MapTooSmall { path, map_bytes: map.bytes(), offset });
                }
                if !fits {
                    return Ok(map);
                }
            }
            // Whatever gap there is behind the last batch belongs to the segment.
            map.set_latest(segment.end_offset - 1);
        }
        Ok(map)
    }

    fn unreadable(&self, segment: &Planned, position: u64, reason: Unreadable) -> CleaningError {
        let path = self.path(segment.base_offset, FileKind::Log, Stage::Live);
        CleaningError::Unreadable { path, position, reason }
    }

    fn batches<'a>(
        &self,
        disk: &'a dyn Disk,
        segment: &Planned,
        means: CleaningMeans,
    ) -> Result<BatchFile<'a>, LogError> {
        let path = self.path(segment.base_offset, FileKind::Log, Stage::Live);
        BatchFile::open(disk, &path, Some(segment.bytes.into()), means.io_bytes)
    }

    /// Tombstones of magic 0 and 1 stay in segments that changed after this time.
    fn old_tombstone_horizon(&self, disk: &dyn Disk) -> Result<i64, LogError> {
        let clean = self.segments.partition_point(|segment| segment.base_offset < self.dirty.first_dirty);
        let Some(last) = clean.checked_sub(1).map(|index| &self.segments[index]) else { return Ok(0) };
        let modified = self.modified_ms(disk, last.base_offset)?;
        Ok(modified.saturating_sub(self.config.delete_retention_ms))
    }

    fn modified_ms(&self, disk: &dyn Disk, base_offset: i64) -> Result<i64, LogError> {
        let path = self.path(base_offset, FileKind::Log, Stage::Live);
        let file = disk.open(&path, OpenMode::Read).map_err(LogError::io(&path, "open", 0))?;
        disk.modified_ms(&file).map_err(LogError::io(&path, "read time", 0))
    }

    fn remove(&self, disk: &dyn Disk, base_offset: i64, stage: Stage) -> Result<(), LogError> {
        for kind in KINDS {
            let path = self.path(base_offset, kind, stage);
            remove_if_there(disk, &path).map_err(LogError::io(&path, "remove", 0))?;
        }
        Ok(())
    }

    /// Renames the files of replaced segments, oldest first: what a crash leaves of them is then never without what
    /// superseded it.
    fn put_away(&self, disk: &dyn Disk, group: &CleanedGroup) -> Result<(), LogError> {
        for base_offset in &group.replaced {
            for kind in FileKind::ALL {
                if kind == FileKind::Snapshot && *base_offset == group.base_offset {
                    continue;
                }
                let from = self.path(*base_offset, kind, Stage::Live);
                match disk.rename(&from, &self.path(*base_offset, kind, Stage::Deleted)) {
                    Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                        return Err(LogError::io(&from, "rename", 0)(e));
                    }
                    Ok(()) | Err(_) => {}
                }
            }
        }
        disk.sync_directory(&self.directory).map_err(LogError::io(&self.directory, "flush directory", 0))
    }

    /// Files of replaced segments that wait for their removal.
    pub fn doomed(&self, group: &CleanedGroup) -> Vec<PathBuf> {
        let all = group.replaced.iter().flat_map(|base| FileKind::ALL.map(|kind| (*base, kind)));
        all.map(|(base, kind)| self.path(base, kind, Stage::Deleted)).collect()
    }

    /// How long they wait, in ms.
    pub fn delete_delay_ms(&self) -> i64 {
        self.config.file_delete_delay_ms
    }
}

/// The next batch, as fast as the pass may read.
fn next(
    batches: &mut BatchFile<'_>,
    pace: Pace<'_>,
    pass: &mut Pass,
) -> Result<Option<Placed>, CleaningError> {
    let mut goes_on = true;
    let placed = batches.next(&mut |bytes| {
        pass.read_bytes += bytes;
        goes_on &= pace(bytes);
    })?;
    if goes_on { Ok(placed) } else { Err(CleaningError::Stopped) }
}

/// One group on its way to a new segment.
struct GroupWork<'a> {
    plan: &'a CleaningPlan,
    disk: &'a dyn Disk,
    means: CleaningMeans,
    now: WallMs,
    map: &'a OffsetMap,
    horizon_ms: i64,
    pass: &'a mut Pass,
}

impl GroupWork<'_> {
    /// `None` when the group is one segment that stays as it is.
    fn clean(
        &mut self,
        segments: &[Planned],
        transactions: &mut Transactions,
        scratch: &mut Scratch,
        pace: Pace<'_>,
    ) -> Result<Option<CleanedGroup>, CleaningError> {
        let (plan, disk) = (self.plan, self.disk);
        let first = segments[0];
        for stage in [Stage::Cleaned, Stage::Swap] {
            plan.remove(disk, first.base_offset, stage)?;
        }
        let mut output = Output::create(disk, plan, first.base_offset, self.means)?;
        let group_last_offset = self.last_batch_of(segments)?;
        let mut changed = segments.len() > 1;
        let mut modified_ms = 0;
        for segment in segments {
            modified_ms = plan.modified_ms(disk, segment.base_offset)?;
            let keep = Keep {
                newest: self.map,
                producers: &plan.producers,
                now_ms: self.now.0,
                delete_retention_ms: plan.config.delete_retention_ms,
                old_tombstones_stay: modified_ms > self.horizon_ms,
                group_last_offset,
            };
            let mut batches = plan.batches(disk, segment, self.means)?;
            while let Some(placed) = next(&mut batches, pace, self.pass)? {
                let batch = batches.checked_batch(&placed)?;
                let left = match &batch {
                    Batch::Current { header, bytes } => {
                        keep.batch(header, bytes, transactions, scratch, &mut output.rewritten)
                    }
                    Batch::Legacy(entry) => keep.legacy_entry(entry, scratch, &mut output.rewritten),
                }
                .map_err(|reason| plan.unreadable(segment, placed.position, reason))?;
                changed |= left != Left::All;
                match left {
                    Left::All => output.put(batch.bytes(), &batch)?,
                    Left::Rewritten => output.put_rewritten()?,
                    Left::Nothing => {}
                }
            }
            if !pace(output.take_written(self.pass)) {
                return Err(CleaningError::Stopped);
            }
        }
        let kept = std::mem::take(&mut transactions.kept);
        if !changed {
            plan.remove(disk, first.base_offset, Stage::Cleaned)?;
            return Ok(None);
        }
        Ok(Some(output.finish(segments, &kept, modified_ms)?))
    }

    /// The last offset of the last batch of a group.
    fn last_batch_of(&self, segments: &[Planned]) -> Result<i64, CleaningError> {
        for segment in segments.iter().rev().filter(|segment| segment.bytes > 0) {
            let path = self.plan.path(segment.base_offset, FileKind::Log, Stage::Live);
            let file = self.disk.open(&path, OpenMode::Read).map_err(LogError::io(&path, "open", 0))?;
            let found = Segment::found(segment.base_offset, segment.bytes, segment.index_bytes, 0, 0);
            let floor = found.floor_of_offset(self.disk, &self.plan.directory, i64::MAX).unwrap_or(0);
            let mut scan = Scan::headers(self.disk, &file, floor, segment.bytes);
            let mut last = None;
            while let Some(seen) = scan.next().map_err(LogError::scan(&path))? {
                last = Some(seen.last_offset);
            }
            if let Some(last) = last {
                return Ok(last);
            }
        }
        Ok(i64::MAX)
    }
}

/// A segment being written, as `.cleaned`.
struct Output<'a> {
    disk: &'a dyn Disk,
    plan: &'a CleaningPlan,
    segment: Segment,
    file: File,
    path: PathBuf,
    buffer: Vec<u8>,
    written: u64,
    told: u64,
    io_bytes: usize,
    /// One batch in its new form.
    rewritten: Vec<u8>,
}

impl<'a> Output<'a> {
    fn create(
        disk: &'a dyn Disk,
        plan: &'a CleaningPlan,
        base_offset: i64,
        means: CleaningMeans,
    ) -> Result<Output<'a>, LogError> {
        let path = plan.path(base_offset, FileKind::Log, Stage::Cleaned);
        let file = disk.open(&path, OpenMode::CreateNew).map_err(LogError::io(&path, "create", 0))?;
        let mut segment = Segment::new(base_offset, file.clone(), 0);
        segment.stage = Stage::Cleaned;
        Ok(Output {
            disk,
            plan,
            segment,
            file,
            path,
            buffer: Vec::new(),
            written: 0,
            told: 0,
            io_bytes: means.io_bytes.max(4096),
            rewritten: Vec::new(),
        })
    }

    fn put_rewritten(&mut self) -> Result<(), LogError> {
        let rewritten = std::mem::take(&mut self.rewritten);
        let position = self.segment.bytes;
        let batch = Batch::parse(&rewritten).map_err(|reason| LogError::Corrupt {
            path: self.path.clone(),
            position: position.into(),
            reason,
        })?;
        self.put(&rewritten, &batch)?;
        self.rewritten = rewritten;
        self.rewritten.clear();
        Ok(())
    }

    fn put(&mut self, bytes: &[u8], batch: &Batch<'_>) -> Result<(), LogError> {
        let seen = Seen::of(self.segment.bytes, batch);
        let index = |source| LogError::io(&self.path, "write index", u64::from(seen.position))(source);
        self.segment.note(self.disk, &self.plan.directory, &self.plan.config, &seen).map_err(index)?;
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= self.io_bytes { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<(), LogError> {
        self.disk.write_all_at(&self.file, self.written, &self.buffer).map_err(LogError::io(
            &self.path,
            "write",
            self.written,
        ))?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Bytes written since the last call.
    fn take_written(&mut self, pass: &mut Pass) -> u64 {
        let new = self.written - self.told;
        self.told = self.written;
        pass.written_bytes += new;
        new
    }

    /// Everything is on the device and named `.swap` when this returns.
    fn finish(
        mut self,
        segments: &[Planned],
        kept: &[AbortedTransaction],
        modified_ms: i64,
    ) -> Result<CleanedGroup, LogError> {
        self.write()?;
        let (disk, plan, base_offset) = (self.disk, self.plan, self.segment.base_offset);
        let directory = plan.directory.clone();
        self.segment.write_indexes(disk, &directory).map_err(LogError::io(&self.path, "write indexes", 0))?;
        let transactions = plan.path(base_offset, FileKind::TransactionIndex, Stage::Cleaned);
        for transaction in kept {
            transaction_index::append(disk, &transactions, *transaction).map_err(LogError::io(
                &transactions,
                "write transaction index",
                0,
            ))?;
        }
        let largest = self.segment.largest(disk, &directory).map_err(LogError::io(&self.path, "index", 0))?;
        disk.set_modified_ms(&self.file, modified_ms).map_err(LogError::io(&self.path, "set time", 0))?;
        let made = KINDS.into_iter().filter(|kind| *kind != FileKind::TransactionIndex || !kept.is_empty());
        for kind in made.clone() {
            let path = plan.path(base_offset, kind, Stage::Cleaned);
            let flushed = match kind {
                FileKind::Log => disk.sync_data(&self.file),
                _ => disk.open(&path, OpenMode::Write).and_then(|file| disk.sync_data(&file)),
            };
            flushed.map_err(LogError::io(&path, "flush", 0))?;
        }
        for kind in made {
            let from = plan.path(base_offset, kind, Stage::Cleaned);
            disk.rename(&from, &plan.path(base_offset, kind, Stage::Swap))
                .map_err(LogError::io(&from, "rename", 0))?;
        }
        disk.sync_directory(&directory).map_err(LogError::io(&directory, "flush directory", 0))?;
        Ok(CleanedGroup {
            base_offset,
            replaced: segments.iter().map(|segment| segment.base_offset).collect(),
            bytes: self.segment.bytes,
            index_bytes: (self.segment.offsets.len() * OffsetEntry::BYTES) as u64,
            time_index_bytes: (self.segment.times.len() * TimeEntry::BYTES) as u64,
            largest,
            modified_ms,
        })
    }
}
