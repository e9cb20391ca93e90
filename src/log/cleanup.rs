//! Retention and deletion (contract 3.4): which segments go, and how their files go.
//!
//! In: the settings and the time. Out: files renamed to `.deleted` at once and removed when their delay is over, so
//! that a reader that has just been sent there still finds its bytes. `deletable` is the rule alone.

use std::path::PathBuf;

use super::files::{FileKind, Stage, file_name};
use super::segment::remove_if_there;
use super::{Log, LogError, ReadError};
use crate::clock::WallMs;
use crate::ids::Offset;
use crate::reactor::Disk;

/// What the rule needs to know of a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SegmentFacts {
    /// The first offset behind it.
    pub end_offset: i64,
    pub bytes: u64,
    /// The largest timestamp in it, or the last change of its file when its records have none.
    pub newest_ms: i64,
}

/// What segments are measured against.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RetentionLimits {
    pub now_ms: i64,
    pub start_offset: i64,
    pub high_watermark: i64,
    /// Of all segments.
    pub bytes: u64,
    /// `None`: no limit, or the topic is only compacted.
    pub retention_bytes: Option<u64>,
    pub retention_ms: Option<i64>,
}

/// How many segments go, counted from the oldest: the first that has to stay ends the count. `segments` are asked for
/// one after the other, because the newest timestamp of each may cost a read.
pub fn deletable<E>(
    segments: impl IntoIterator<Item = Result<SegmentFacts, E>>,
    limits: &RetentionLimits,
) -> Result<usize, E> {
    let mut excess = limits.retention_bytes.and_then(|keep| limits.bytes.checked_sub(keep)).unwrap_or(0);
    let mut count = 0;
    for segment in segments {
        let segment = segment?;
        let before_start = segment.end_offset <= limits.start_offset;
        let too_much = segment.bytes > 0 && excess >= segment.bytes;
        let too_old = limits.retention_ms.is_some_and(|keep| limits.now_ms - segment.newest_ms > keep);
        if segment.end_offset > limits.high_watermark || !(before_start || too_much || too_old) {
            break;
        }
        excess = excess.saturating_sub(segment.bytes);
        count += 1;
    }
    Ok(count)
}

/// A file that waits for its removal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Doomed {
    path: PathBuf,
    due_ms: i64,
}

/// What a retention check came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Deleted {
    pub segments: usize,
    pub bytes: u64,
}

impl Log {
    /// Raises the start of the log to `offset`, which must not lie beyond the high watermark (DeleteRecords).
    pub fn delete_records_before(&mut self, offset: Offset) -> Result<(), ReadError> {
        self.check_alive()?;
        if offset.0 > self.high_watermark || offset.0 < 0 {
            return Err(ReadError::OutOfRange {
                offset,
                start: Offset(self.start),
                end: Offset(self.high_watermark),
            });
        }
        self.raise_start(offset.0);
        Ok(())
    }

    fn raise_start(&mut self, offset: i64) {
        if offset > self.start {
            self.start = offset;
            self.epochs.truncate_from_start(offset);
        }
    }

    /// The start offset for its checkpoint file, which lists only logs that begin inside a segment.
    pub fn start_for_checkpoint(&self) -> Option<Offset> {
        let first = self.segments.first().map_or(0, |segment| segment.base_offset);
        (self.start > first).then_some(Offset(self.start))
    }

    /// Applies the retention settings: renames the files of segments that go.
    pub fn delete_old_segments(&mut self, disk: &dyn Disk, now: WallMs) -> Result<Deleted, LogError> {
        self.check_alive()?;
        if self.cleaning {
            // The pass reads these files, and what it makes takes their place.
            return Ok(Deleted::default());
        }
        let result = self.delete_old(disk, now);
        result.map_err(|error| self.on_write_error(error))
    }

    fn delete_old(&mut self, disk: &dyn Disk, now: WallMs) -> Result<Deleted, LogError> {
        let directory = self.directory.clone();
        let config = self.config.clone();
        let limits = RetentionLimits {
            now_ms: now.0,
            start_offset: self.start,
            high_watermark: self.high_watermark,
            bytes: self.bytes(),
            retention_bytes: u64::try_from(config.retention_bytes).ok().filter(|_| config.cleanup_delete),
            retention_ms: Some(config.retention_ms).filter(|ms| *ms >= 0 && config.cleanup_delete),
        };
        let ends: Vec<i64> = (0..self.segments.len()).map(|index| self.segment_end(index)).collect();
        let active = self.segments.len() - 1;
        let facts =
            self.segments.iter_mut().zip(ends).enumerate().map_while(|(index, (segment, end_offset))| {
                if index == active && segment.bytes == 0 {
                    return None;
                }
                let path = segment.path(&directory, FileKind::TimeIndex);
                let newest_ms = segment.newest_ms(disk, &directory);
                Some(
                    newest_ms.map_err(LogError::io(&path, "read time index", 0)).map(|newest_ms| {
                        SegmentFacts { end_offset, bytes: u64::from(segment.bytes), newest_ms }
                    }),
                )
            });
        let count = deletable(facts, &limits)?;
        if count == 0 {
            return Ok(Deleted::default());
        }
        if count == self.segments.len() {
            // There is always an active segment, and its file is never one that is going away.
            self.roll(disk, self.end, now)?;
        }
        let mut deleted = Deleted::default();
        for segment in self.segments.drain(..count) {
            deleted.segments += 1;
            deleted.bytes += u64::from(segment.bytes);
            // The log goes first: indexes without their log are removed at the next start.
            for kind in FileKind::ALL {
                let from = segment.path(&directory, kind);
                let to = directory.join(file_name(segment.base_offset, kind, Stage::Deleted));
                match disk.rename(&from, &to) {
                    Ok(()) => self
                        .doomed
                        .push(Doomed { path: to, due_ms: now.0.saturating_add(config.file_delete_delay_ms) }),
                    Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                    Err(e) => return Err(LogError::io(&from, "rename", 0)(e)),
                }
            }
        }
        let first = self.segments[0].base_offset;
        self.raise_start(first);
        if first > self.flush.flushed() {
            self.flush.set_flushed(first);
            self.flush.deletion_is_unsynced = true;
        }
        self.flush.directory_is_unsynced = true;
        self.cold_files.retain(|base| *base >= first);
        self.recent_reads.clear();
        Ok(deleted)
    }

    /// Removes the files whose delay is over; how many.
    pub fn remove_expired(&mut self, disk: &dyn Disk, now: WallMs) -> Result<usize, LogError> {
        let mut removed = 0;
        while let Some(doomed) = self.doomed.first().filter(|doomed| doomed.due_ms <= now.0) {
            remove_if_there(disk, &doomed.path).map_err(LogError::io(&doomed.path, "remove", 0))?;
            self.doomed.remove(0);
            removed += 1;
        }
        Ok(removed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    const LIMITS: RetentionLimits = RetentionLimits {
        now_ms: 10_000,
        start_offset: 0,
        high_watermark: 1000,
        bytes: 500,
        retention_bytes: None,
        retention_ms: None,
    };

    /// Five segments of 100 bytes and 10 offsets; the n-th is newest at n seconds.
    fn count(limits: RetentionLimits) -> usize {
        let segment = |n: i64| SegmentFacts { end_offset: n * 10 + 10, bytes: 100, newest_ms: n * 1000 };
        let Ok(count) = deletable((0..5).map(|n| Ok::<_, Infallible>(segment(n))), &limits);
        count
    }

    #[test]
    fn without_limits_everything_stays() {
        assert_eq!(count(LIMITS), 0);
    }

    #[test]
    fn segments_below_the_start_of_the_log_go() {
        assert_eq!(count(RetentionLimits { start_offset: 29, ..LIMITS }), 2);
        assert_eq!(count(RetentionLimits { start_offset: 30, ..LIMITS }), 3);
    }

    #[test]
    fn size_removes_only_whole_segments_of_excess() {
        for (keep, expected) in [(500, 0), (401, 0), (400, 1), (399, 1), (100, 4), (0, 5)] {
            assert_eq!(
                count(RetentionLimits { retention_bytes: Some(keep), ..LIMITS }),
                expected,
                "keep {keep}"
            );
        }
    }

    #[test]
    fn time_removes_what_is_older_than_allowed() {
        for (keep, expected) in [(10_000, 0), (9_999, 1), (8_000, 2), (0, 5)] {
            assert_eq!(
                count(RetentionLimits { retention_ms: Some(keep), ..LIMITS }),
                expected,
                "keep {keep}"
            );
        }
    }

    #[test]
    fn nothing_above_the_high_watermark_goes() {
        let limits = RetentionLimits { retention_ms: Some(0), high_watermark: 29, ..LIMITS };
        assert_eq!(count(limits), 2);
    }
}
