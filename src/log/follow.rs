//! Appending as a follower: batches that a leader has, with the offsets and epochs it gave them (contract 5.7).
//!
//! In: the record bytes of a fetch response. Out: the same bytes at the end of the log, one write per segment, and no byte
//! of them changed. All batches are checked before the first is written: a leader that sends one bad batch has nothing of
//! its answer appended.

use std::io::IoSlice;

use super::append::{AppendScratch, Next, Run};
use super::scan::Seen;
use super::{Log, LogError};
use crate::clock::WallMs;
use crate::ids::Offset;
use crate::reactor::Disk;
use crate::wire::batch::{BatchError, batches};

/// What an answer of the leader came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Followed {
    /// Bytes appended. What is left of the answer is a cut batch at its end, which the next fetch brings whole.
    pub bytes: usize,
    pub batches: usize,
    /// Offsets appended, those between them that compaction has emptied included.
    pub offsets: u64,
}

/// Why nothing of an answer was appended.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    #[error("at byte {position} of the leader's answer: {reason}")]
    Batch { position: usize, reason: BatchError },
    /// The leader answered what was not asked for, or its batches overlap.
    #[error("the leader's answer has offsets {first} to {last} where {expected} is next")]
    OutOfOrder { first: i64, last: i64, expected: i64 },
    #[error(transparent)]
    Log(#[from] LogError),
}

impl Log {
    /// Appends the whole batches at the start of `bytes`, which is what the leader answered to a fetch from the end of this
    /// log. Its size limits do not count here: a batch that the leader has is a batch of this partition, and one that is
    /// larger than a segment gets a segment of its own. No space is an error that ends by itself; every other error of the
    /// disk is final for the log directory. After an error of the disk, batches of segments already filled are in the
    /// log: its end says so.
    pub fn append_as_follower(
        &mut self,
        disk: &dyn Disk,
        bytes: &[u8],
        now: WallMs,
        scratch: &mut AppendScratch,
    ) -> Result<Followed, FollowError> {
        scratch.written.clear();
        scratch.undo.clear();
        scratch.aborted.clear();
        self.check_alive()?;
        let checked = match check(bytes, self.end) {
            // Begun at the leader's start, which is inside a batch.
            Err(FollowError::OutOfOrder { first, last, expected })
                if self.start == self.end && first < expected && expected <= last =>
            {
                let checked = check(bytes, first)?;
                self.restart_from(disk, Offset(first), now)?;
                (self.start, self.high_watermark) = (expected, expected);
                checked
            }
            checked => checked?,
        };
        let from = self.end;
        match self.append_checked(disk, bytes, &checked, now, scratch) {
            Ok(()) => {
                self.epochs.truncate_from_start(self.start);
                Ok(Followed {
                    bytes: checked.last().map_or(0, |last| last.end() as usize),
                    batches: checked.len(),
                    offsets: (self.end - from) as u64,
                })
            }
            Err(error) => {
                self.forget_unwritten(scratch);
                Err(self.on_write_error(error).into())
            }
        }
    }

    fn append_checked(
        &mut self,
        disk: &dyn Disk,
        bytes: &[u8],
        checked: &[Seen],
        now: WallMs,
        scratch: &mut AppendScratch,
    ) -> Result<(), LogError> {
        let mut run = Run::starting(0, self.end);
        for (index, seen) in checked.iter().enumerate() {
            let next = Next {
                last_offset: seen.last_offset,
                bytes: seen.total_bytes as usize,
                timestamp: seen.max_timestamp,
            };
            if self.must_roll(disk, &run, next, now)? {
                self.write_checked(disk, bytes, &checked[run.from..index], run, scratch)?;
                // A segment begins where the one before ends, unless its offsets could not be counted from there.
                let far = seen.last_offset - self.end > i64::from(i32::MAX);
                let base_offset = if far { seen.base_offset } else { self.end };
                self.roll(disk, base_offset, now)?;
                run = Run::starting(index, self.end);
            }
            if run.bytes == 0 {
                run.first_timestamp = seen.max_timestamp;
                run.base_offset = seen.base_offset;
            }
            run.bytes += seen.total_bytes;
            run.next_offset = seen.next_offset();
            if let Some(header) = &seen.header {
                let batch = &bytes[seen.position as usize..seen.end() as usize];
                self.note_producer(header, batch, seen.base_offset, scratch);
            }
        }
        self.write_checked(disk, bytes, &checked[run.from..], run, scratch)
    }

    fn write_checked(
        &mut self,
        disk: &dyn Disk,
        bytes: &[u8],
        checked: &[Seen],
        run: Run,
        scratch: &mut AppendScratch,
    ) -> Result<(), LogError> {
        let Some(first) = checked.first() else { return Ok(()) };
        let from = first.position;
        let slice = IoSlice::new(&bytes[from as usize..][..run.bytes as usize]);
        let seen = checked.iter().map(|seen| Seen { position: seen.position - from, ..*seen });
        self.write_run(disk, run, std::iter::once(slice), seen, scratch)
    }
}

/// All whole batches at the start of `bytes`, at least one unless there is nothing, each with a good CRC, in rising order
/// from `expected` on.
fn check(bytes: &[u8], mut expected: i64) -> Result<Vec<Seen>, FollowError> {
    let mut checked: Vec<Seen> = Vec::new();
    let mut walk = batches(bytes);
    while let Some(found) = walk.next() {
        let (position, batch) = match found {
            Ok(found) => found,
            // The answer ends inside a batch. Its first one is always whole (KIP-74).
            Err(BatchError::Incomplete { .. }) if !checked.is_empty() => break,
            Err(reason) => return Err(FollowError::Batch { position: walk.position(), reason }),
        };
        let (found, computed) = (batch.crc(), batch.computed_crc());
        if found != computed {
            return Err(FollowError::Batch { position, reason: BatchError::Crc { found, computed } });
        }
        let seen = Seen::of(u32::try_from(position).unwrap_or(u32::MAX), &batch);
        // The first offset of an old compressed entry is inside it: its last one must do.
        let first = if seen.header.is_some() { seen.base_offset } else { seen.last_offset };
        if first < expected || seen.last_offset < first {
            return Err(FollowError::OutOfOrder { first, last: seen.last_offset, expected });
        }
        expected = seen.next_offset();
        checked.push(seen);
    }
    Ok(checked)
}
