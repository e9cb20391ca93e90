//! Which leader wrote what (`leader-epoch-checkpoint`, contract 3.2): the first offset of each leader epoch.
//!
//! In: (epoch, offset) as batches are appended. Out: where an epoch ended, which is what a follower asks before it
//! truncates. Epochs and offsets both rise strictly.

use super::checkpoint::BadFile;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EpochEntry {
    pub epoch: i32,
    pub start_offset: i64,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct EpochHistory {
    entries: Vec<EpochEntry>,
    dirty: bool,
}

impl EpochHistory {
    pub fn latest(&self) -> Option<EpochEntry> {
        self.entries.last().copied()
    }

    pub fn entries(&self) -> &[EpochEntry] {
        &self.entries
    }

    /// True when the file does not say what this says.
    pub fn is_dirty(&self) -> bool {
        self.dirty
    }

    pub fn mark_clean(&mut self) {
        self.dirty = false;
    }

    /// Notes that `epoch` writes at `offset`. Entries that contradict it are from a log that was cut: they go.
    pub fn assign(&mut self, epoch: i32, offset: i64) {
        if epoch < 0 || self.entries.last().is_some_and(|last| last.epoch == epoch) {
            return;
        }
        while self.entries.last().is_some_and(|last| last.epoch >= epoch || last.start_offset >= offset) {
            self.entries.pop();
        }
        self.entries.push(EpochEntry { epoch, start_offset: offset });
        self.dirty = true;
    }

    /// The largest epoch at or below `epoch`, and the offset where it ended; `log_end` for the latest one.
    pub fn end_offset_of(&self, epoch: i32, log_end: i64) -> Option<EpochEntry> {
        let after = self.entries.partition_point(|entry| entry.epoch <= epoch);
        let found = self.entries.get(after.checked_sub(1)?)?;
        let end = self.entries.get(after).map_or(log_end, |next| next.start_offset);
        Some(EpochEntry { epoch: found.epoch, start_offset: end })
    }

    /// The epoch that wrote `offset`.
    pub fn epoch_at(&self, offset: i64) -> Option<i32> {
        let after = self.entries.partition_point(|entry| entry.start_offset <= offset);
        Some(self.entries.get(after.checked_sub(1)?)?.epoch)
    }

    /// Forgets what was written from `offset` on.
    pub fn truncate_from_end(&mut self, offset: i64) {
        let keep = self.entries.partition_point(|entry| entry.start_offset < offset);
        self.dirty |= keep < self.entries.len();
        self.entries.truncate(keep);
    }

    /// Forgets what was written below `offset`; the epoch that reaches across it now begins there.
    pub fn truncate_from_start(&mut self, offset: i64) {
        let after = self.entries.partition_point(|entry| entry.start_offset <= offset);
        let Some(floor) = after.checked_sub(1) else { return };
        self.dirty |= floor > 0 || self.entries[floor].start_offset != offset;
        self.entries.drain(..floor);
        self.entries[0].start_offset = offset;
    }

    /// The file's content: nothing at all while no epoch is known, as Kafka's followers without data leave it.
    pub fn to_text(&self) -> String {
        use std::fmt::Write;
        if self.entries.is_empty() {
            return String::new();
        }
        let mut text = format!("0\n{}\n", self.entries.len());
        for entry in &self.entries {
            writeln!(text, "{} {}", entry.epoch, entry.start_offset).expect("a String takes all");
        }
        text
    }

    pub fn from_text(text: &str) -> Result<EpochHistory, BadFile> {
        if text.is_empty() {
            return Ok(EpochHistory::default());
        }
        let mut entries: Vec<EpochEntry> = Vec::new();
        for (line, fields) in super::checkpoint::lines(text)? {
            let mut fields = fields.split(' ');
            let entry = match (
                fields.next().and_then(|f| f.parse().ok()),
                fields.next().and_then(|f| f.parse().ok()),
                fields.next(),
            ) {
                (Some(epoch), Some(start_offset), None) if epoch >= 0 && start_offset >= 0 => {
                    EpochEntry { epoch, start_offset }
                }
                _ => return Err(BadFile { line, reason: "is not an epoch and an offset" }),
            };
            if entries
                .last()
                .is_some_and(|last| last.epoch >= entry.epoch || last.start_offset > entry.start_offset)
            {
                return Err(BadFile { line, reason: "does not come after the line before" });
            }
            entries.push(entry);
        }
        Ok(EpochHistory { entries, dirty: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(entries: &[(i32, i64)]) -> EpochHistory {
        let mut history = EpochHistory::default();
        for &(epoch, offset) in entries {
            history.assign(epoch, offset);
        }
        history
    }

    #[test]
    fn the_file_reads_back_and_an_empty_one_knows_no_epoch() {
        let history = history(&[(0, 0), (3, 10), (4, 25)]);
        assert_eq!(history.to_text(), "0\n3\n0 0\n3 10\n4 25\n");
        assert_eq!(EpochHistory::from_text(&history.to_text()).unwrap().entries(), history.entries());
        assert_eq!(EpochHistory::from_text("").unwrap().entries(), []);
        assert_eq!(EpochHistory::default().to_text(), "");
    }

    #[test]
    fn a_bad_file_is_refused_with_its_line() {
        for (text, line) in [("1\n0\n", 1), ("0\nx\n", 2), ("0\n2\n0 0\n", 2), ("0\n1\n0 0 0\n", 3)] {
            assert_eq!(EpochHistory::from_text(text).unwrap_err().line, line, "{text:?}");
        }
        assert_eq!(EpochHistory::from_text("0\n2\n4 9\n3 10\n").unwrap_err().line, 4);
    }

    #[test]
    fn an_epoch_ends_where_the_next_begins() {
        let history = history(&[(1, 0), (3, 10)]);
        assert_eq!(history.end_offset_of(0, 99), None);
        assert_eq!(history.end_offset_of(1, 99), Some(EpochEntry { epoch: 1, start_offset: 10 }));
        assert_eq!(history.end_offset_of(2, 99), Some(EpochEntry { epoch: 1, start_offset: 10 }));
        assert_eq!(history.end_offset_of(7, 99), Some(EpochEntry { epoch: 3, start_offset: 99 }));
        assert_eq!((history.epoch_at(9), history.epoch_at(10)), (Some(1), Some(3)));
    }

    #[test]
    fn cutting_forgets_epochs_at_both_ends() {
        let mut cut = history(&[(1, 0), (3, 10), (5, 20)]);
        cut.truncate_from_end(20);
        assert_eq!(cut.latest(), Some(EpochEntry { epoch: 3, start_offset: 10 }));
        cut.truncate_from_start(15);
        assert_eq!(cut.entries(), [EpochEntry { epoch: 3, start_offset: 15 }]);
    }

    #[test]
    fn an_older_epoch_that_writes_again_removes_what_contradicts_it() {
        assert_eq!(history(&[(1, 0), (5, 20), (3, 20)]).entries(), history(&[(1, 0), (3, 20)]).entries());
    }
}
