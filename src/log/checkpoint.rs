//! The checkpoint files of a log directory (contract 3.1): one offset per partition, as text.
//!
//! In: what the logs of a directory say, or the text of a file. Out: the other one. A file that is no checkpoint is
//! named and counts as empty: more is read at the next start, nothing is lost (`FAULTS.md` 8).

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io;
use std::path::Path;

use crate::reactor::Disk;

/// The four files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Checkpoint {
    /// Offsets below are flushed.
    RecoveryPoint,
    /// High watermarks.
    HighWatermark,
    /// Log start offsets, of the logs that begin inside a segment.
    LogStart,
    /// First offsets that compaction has not seen.
    Cleaner,
}

impl Checkpoint {
    pub fn file_name(self) -> &'static str {
        match self {
            Checkpoint::RecoveryPoint => "recovery-point-offset-checkpoint",
            Checkpoint::HighWatermark => "replication-offset-checkpoint",
            Checkpoint::LogStart => "log-start-offset-checkpoint",
            Checkpoint::Cleaner => "cleaner-offset-checkpoint",
        }
    }
}

/// Offsets by topic and partition.
pub type Offsets = BTreeMap<(String, i32), i64>;

/// Why a text file of ours is not what its name says, and in which line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("line {line} {reason}")]
pub struct BadFile {
    pub line: usize,
    pub reason: &'static str,
}

/// The numbered lines behind version and count, which must agree with them.
pub(super) fn lines(text: &str) -> Result<impl Iterator<Item = (usize, &str)>, BadFile> {
    if !text.ends_with('\n') {
        // A number that was cut off in the middle is another number.
        return Err(BadFile { line: text.lines().count().max(1), reason: "does not end with a newline" });
    }
    let mut lines = text.split_terminator('\n').enumerate().map(|(i, line)| (i + 1, line));
    match lines.next() {
        Some((_, "0")) => {}
        Some(_) | None => return Err(BadFile { line: 1, reason: "is not version 0" }),
    }
    let count: usize = lines
        .next()
        .and_then(|(_, line)| line.parse().ok())
        .ok_or(BadFile { line: 2, reason: "is not a count" })?;
    if lines.clone().count() != count {
        return Err(BadFile { line: 2, reason: "is not the count of the lines below" });
    }
    Ok(lines)
}

/// The content of a checkpoint file. Topic names hold no spaces.
pub fn to_text<'a>(offsets: impl ExactSizeIterator<Item = (&'a str, i32, i64)>) -> String {
    let mut text = String::with_capacity(16 + offsets.len() * 32);
    writeln!(text, "0\n{}", offsets.len()).expect("a String takes all");
    for (topic, partition, offset) in offsets {
        writeln!(text, "{topic} {partition} {offset}").expect("a String takes all");
    }
    text
}

pub fn from_text(text: &str) -> Result<Offsets, BadFile> {
    let mut offsets = Offsets::new();
    for (line, fields) in lines(text)? {
        let mut fields = fields.split(' ');
        match (
            fields.next(),
            fields.next().and_then(|f| f.parse::<i32>().ok()),
            fields.next().and_then(|f| f.parse::<i64>().ok()),
            fields.next(),
        ) {
            (Some(topic), Some(partition), Some(offset), None) if partition >= 0 && offset >= 0 => {
                if offsets.insert((topic.to_owned(), partition), offset).is_some() {
                    return Err(BadFile { line, reason: "names a partition again" });
                }
            }
            _ => return Err(BadFile { line, reason: "is not a topic, a partition and an offset" }),
        }
    }
    Ok(offsets)
}

/// Reads a checkpoint of `directory`. A missing file is empty; a bad one is empty and says why in `warnings`.
pub fn read(
    disk: &dyn Disk,
    directory: &Path,
    checkpoint: Checkpoint,
    warnings: &mut Vec<String>,
) -> io::Result<Offsets> {
    let path = directory.join(checkpoint.file_name());
    let bytes = match disk.read_file(&path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Offsets::new()),
        Err(e) => return Err(e),
    };
    let parsed = match std::str::from_utf8(&bytes) {
        Ok(text) => from_text(text),
        Err(_) => Err(BadFile { line: 1, reason: "is not text" }),
    };
    Ok(parsed.unwrap_or_else(|bad| {
        warnings
            .push(format!("{}: {bad}; the file counts as empty, more is read at this start", path.display()));
        Offsets::new()
    }))
}

/// Replaces a checkpoint of `directory`; a crash leaves the old or the new one.
pub fn write<'a>(
    disk: &dyn Disk,
    directory: &Path,
    checkpoint: Checkpoint,
    offsets: impl ExactSizeIterator<Item = (&'a str, i32, i64)>,
) -> io::Result<()> {
    disk.replace_file(&directory.join(checkpoint.file_name()), to_text(offsets).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_reads_back_as_it_was_written() {
        let text = to_text([("a-b", 0, 12), ("c", 3, i64::MAX)].into_iter());
        assert_eq!(text, format!("0\n2\na-b 0 12\nc 3 {}\n", i64::MAX));
        let offsets = from_text(&text).unwrap();
        assert_eq!(offsets[&("a-b".to_owned(), 0)], 12);
        assert_eq!(offsets[&("c".to_owned(), 3)], i64::MAX);
        assert_eq!(to_text([].into_iter()), "0\n0\n");
    }

    #[test]
    fn a_bad_checkpoint_is_refused_with_its_line() {
        for (text, line) in [
            ("", 1),
            ("1\n0\n", 1),
            ("0\n", 2),
            ("0\n-1\n", 2),
            ("0\n2\na 0 1\n", 2),
            ("0\n1\na 0 123", 3),
            ("0\n1\na 0\n", 3),
            ("0\n1\na 0 1 2\n", 3),
            ("0\n1\na x 1\n", 3),
            ("0\n2\na 0 1\na 0 2\n", 4),
            ("0\n1\na 0 -1\n", 3),
        ] {
            assert_eq!(from_text(text).unwrap_err().line, line, "{text:?}");
        }
    }
}
