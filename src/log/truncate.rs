//! Cutting the end of a log off, as a follower does when a new leader has less (contract 5.7, `FAULTS.md` H15).
//!
//! In: the offset to keep below. Out: a log that ends there. A cut never goes below the high watermark unless an
//! unclean election ordered it; the caller decides that. The cut file is not written again: what comes next goes into
//! a new segment, because pages of the old one may still be on their way to a reader. A cut that fails half-way leaves
//! nothing to go on with: any error here is final, also one of no space.

use super::files::{FileKind, Stage, file_name};
use super::open::{Recovered, remove_segment_files};
use super::segment::remove_if_there;
use super::{Log, LogError, create_segment};
use crate::clock::WallMs;
use crate::ids::Offset;
use crate::reactor::Disk;

impl Log {
    /// Removes the records at and beyond `offset`; a batch that holds it goes whole. The end of the log afterwards.
    pub fn truncate_to(&mut self, disk: &dyn Disk, offset: Offset, now: WallMs) -> Result<Offset, LogError> {
        self.check_alive()?;
        if offset.0 >= self.end {
            return Ok(Offset(self.end));
        }
        let result = if offset.0 <= self.start {
            self.restart_at(disk, offset.0.max(0), now)
        } else {
            self.cut_at(disk, offset.0, now)
        };
        self.recent_appends.clear();
        self.recent_reads.clear();
        result.inspect_err(|_| self.failed = true)?;
        self.high_watermark = self.high_watermark.min(self.end).max(self.start);
        Ok(Offset(self.end))
    }

    /// Removes all records and begins anew at `offset`: the leader no longer has what comes before.
    pub fn restart_from(&mut self, disk: &dyn Disk, offset: Offset, now: WallMs) -> Result<(), LogError> {
        self.check_alive()?;
        self.recent_appends.clear();
        self.recent_reads.clear();
        self.restart_at(disk, offset.0, now).inspect_err(|_| self.failed = true)?;
        self.high_watermark = offset.0;
        Ok(())
    }

    fn cut_at(&mut self, disk: &dyn Disk, offset: i64, now: WallMs) -> Result<(), LogError> {
        let directory = self.directory.clone();
        let Some((index, seen)) = self.batch_at_or_after(disk, offset)? else { return Ok(()) };
        let end = seen.base_offset.min(offset);
        // Later segments go first, newest before oldest: a crash in between leaves a log without holes.
        let goes_whole = seen.position == 0;
        let later = self.segments.split_off(if goes_whole { index } else { index + 1 });
        for segment in later.iter().rev() {
            remove_segment_files(disk, &directory, segment.base_offset)?;
        }
        if !later.is_empty() {
            // After a power cut they must not be there again, behind a shorter segment or in place of a new one.
            disk.sync_directory(&directory).map_err(LogError::io(&directory, "flush directory", 0))?;
        }
        if !goes_whole {
            let segment = &mut self.segments[index];
            let path = segment.path(&directory, FileKind::Log);
            let relative = segment.relative(seen.base_offset);
            let index_path = segment.path(&directory, FileKind::OffsetIndex);
            let time_path = segment.path(&directory, FileKind::TimeIndex);
            segment.offsets.truncate_to_position(disk, &index_path, seen.position).map_err(LogError::io(
                &index_path,
                "cut",
                0,
            ))?;
            segment
                .times
                .truncate_to_offset(disk, &time_path, relative)
                .map_err(LogError::io(&time_path, "cut", 0))?;
            segment.bytes = seen.position;
            segment.reserved = 0;
            segment.flushed_bytes = segment.flushed_bytes.min(seen.position);
            segment.find_largest(disk, &directory).map_err(LogError::scan(&path))?;
            segment.write_indexes(disk, &directory).map_err(LogError::io(&path, "write indexes", 0))?;
            let file = segment.file(disk, &directory).map_err(LogError::io(&path, "open", 0))?;
            disk.truncate(&file, u64::from(seen.position)).map_err(LogError::io(&path, "cut", 0))?;
            // Nothing may come back behind new records after a power cut.
            disk.sync_data(&file).map_err(LogError::io(&path, "flush", 0))?;
            self.cut_transaction_index(disk, index, end)?;
        }
        self.end = end;
        let next = create_segment(disk, &directory, &self.config, end, now)?;
        self.segments.push(next);
        self.tail_is_dirty = false;
        self.flush.cut(end);
        self.flush.directory_is_unsynced = true;
        self.epochs.truncate_from_end(end);
        self.reload_producers(disk, end, now)
    }

    fn cut_transaction_index(&mut self, disk: &dyn Disk, index: usize, end: i64) -> Result<(), LogError> {
        let segment = &mut self.segments[index];
        let path = segment.path(&self.directory, FileKind::TransactionIndex);
        let entries = super::transaction_index::read(disk, &path).map_err(LogError::io(&path, "read", 0))?;
        if entries.iter().all(|entry| entry.last_offset < end) {
            return Ok(());
        }
        remove_if_there(disk, &path).map_err(LogError::io(&path, "remove", 0))?;
        segment.transactions_are_unsynced = entries.iter().any(|entry| entry.last_offset < end);
        for entry in entries.into_iter().filter(|entry| entry.last_offset < end) {
            super::transaction_index::append(disk, &path, entry).map_err(LogError::io(&path, "write", 0))?;
        }
        Ok(())
    }

    /// Producer state as of `end`: from the newest snapshot at or below it and the batches behind that.
    fn reload_producers(&mut self, disk: &dyn Disk, end: i64, now: WallMs) -> Result<(), LogError> {
        let directory = self.directory.clone();
        let mut snapshots = Vec::new();
        for entry in disk.list(&directory).map_err(LogError::io(&directory, "list", 0))? {
            let Some((offset, FileKind::Snapshot, Stage::Live)) = super::files::parse_file_name(&entry.name)
            else {
                continue;
            };
            if offset > end {
                let path = directory.join(&entry.name);
                remove_if_there(disk, &path).map_err(LogError::io(&path, "remove", 0))?;
            } else {
                snapshots.push(offset);
            }
        }
        self.producers = Default::default();
        self.load_producers(disk, &mut snapshots, end, false, now, &mut Recovered::default())?;
        self.producers.on_high_watermark(self.high_watermark);
        let path = directory.join(file_name(end, FileKind::Snapshot, Stage::Live));
        super::write_and_rename(disk, &path, &self.producers.to_snapshot()).map_err(LogError::io(
            &path,
            "write producer snapshot",
            0,
        ))
    }
}
