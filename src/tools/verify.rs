//! `ringdaw verify DIR`: everything in a log directory read and checked, with no broker running and nothing changed.
//!
//! In: a log directory. Out: a line for each thing that is wrong, with its path and place, and for each that the next
//! start will deal with; a sum at the end. Exit code 0: nothing is wrong; 1: something is; 2: it could not be checked.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::log::batch_file::BatchFile;
use crate::log::checkpoint::{self, Checkpoint, Offsets};
use crate::log::directory::MetaProperties;
use crate::log::epoch_history::EpochHistory;
use crate::log::files::{
    FileKind, ReplicaDirectory, Stage, file_name, parse_directory_name, parse_file_name,
};
use crate::log::offset_index::OffsetEntry;
use crate::log::time_index::TimeEntry;
use crate::log::{LogError, directory_facts, transaction_index};
use crate::producer::Producers;
use crate::reactor::{Disk, File, OsDisk};
use crate::wire::batch::Batch;
use crate::wire::compression::Decompressor;
use crate::wire::record::Records;

/// Check a log directory while no broker uses it: every batch, index, snapshot and checkpoint
#[derive(clap::Args)]
pub struct VerifyArgs {
    /// The log directory, one of log.dirs
    directory: PathBuf,
    /// Open every batch and read its records too
    #[arg(long)]
    records: bool,
}

pub fn run(args: VerifyArgs) -> ExitCode {
    ExitCode::from(verify(&args.directory, args.records, &mut io::stdout().lock(), &mut io::stderr().lock()))
}

/// Checks `directory`; the exit code. `records`: open every batch.
pub fn verify(directory: &Path, records: bool, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let lock = directory.join(".lock");
    // Held until the end: a broker that starts meanwhile is told.
    let _lock = match OsDisk.exists(&lock) {
        Ok(true) => match lock_after_its_owner(&lock) {
            Ok(lock) => Some(lock),
            Err(error) => {
                let what = match error.kind() {
                    io::ErrorKind::WouldBlock => "in use by a broker".to_owned(),
                    _ => error.to_string(),
                };
                let _ = writeln!(err, "{}: {what}", lock.display());
                return 2;
            }
        },
        Ok(false) | Err(_) => None,
    };
    let mut check = Check { out, findings: Findings::default(), records };
    match check.directory(directory) {
        Ok(()) => {}
        Err(error) => {
            let _ = writeln!(err, "{}: {error}", directory.display());
            return 2;
        }
    }
    let Findings { replicas, segments, bytes, problems, notes } = check.findings;
    let sum = format!(
        "{replicas} replicas, {segments} segments, {bytes} bytes checked: {problems} problems, {notes} notes"
    );
    let _ = writeln!(check.out, "{sum}");
    u8::from(problems > 0)
}

/// Takes the lock. What a broker that has just ended had under way holds it a moment longer (H07).
fn lock_after_its_owner(path: &Path) -> io::Result<File> {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        match OsDisk.lock(path) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(50));
            }
            result => return result,
        }
    }
}

#[derive(Default)]
struct Findings {
    replicas: usize,
    segments: usize,
    bytes: u64,
    problems: usize,
    notes: usize,
}

struct Check<'a> {
    out: &'a mut dyn Write,
    findings: Findings,
    records: bool,
}

/// What the directory's own files say of a replica.
#[derive(Clone, Copy)]
struct Promised {
    clean: bool,
    recovery_point: i64,
    log_start: i64,
    high_watermark: i64,
}

/// A batch, as far as indexes are compared with it.
#[derive(Clone, Copy)]
struct Known {
    position: u64,
    base_offset: i64,
    last_offset: i64,
    max_timestamp: i64,
}

/// Bytes read at once.
const IO_BYTES: usize = 1 << 20;
const PLAIN_BYTES_MAX: usize = 1 << 30;

impl Check<'_> {
    fn problem(&mut self, path: &Path, what: impl std::fmt::Display) {
        self.findings.problems += 1;
        // A reader that has gone does not change what is counted.
        let _ = writeln!(self.out, "{}: {what}", path.display());
    }

    /// Something the next start deals with by itself.
    fn note(&mut self, path: &Path, what: impl std::fmt::Display) {
        self.findings.notes += 1;
        let _ = writeln!(self.out, "{}: {what} (the next start deals with it)", path.display());
    }

    fn directory(&mut self, directory: &Path) -> io::Result<()> {
        let entries = OsDisk.list(directory)?;
        if let Err(error) = MetaProperties::read(&OsDisk, directory) {
            self.problem(&directory.join("meta.properties"), error);
        }
        let clean = entries.iter().any(|entry| entry.name == ".kafka_cleanshutdown");
        if !clean {
            self.note(directory, "not stopped cleanly");
        }
        let mut read = |file| -> io::Result<Offsets> {
            let mut warnings = Vec::new();
            let offsets = checkpoint::read(&OsDisk, directory, file, &mut warnings)?;
            for warning in warnings {
                self.findings.problems += 1;
                let _ = writeln!(self.out, "{warning}");
            }
            Ok(offsets)
        };
        let recovery_points = read(Checkpoint::RecoveryPoint)?;
        let high_watermarks = read(Checkpoint::HighWatermark)?;
        let log_starts = read(Checkpoint::LogStart)?;
        let cleaned = read(Checkpoint::Cleaner)?;
        for entry in entries.iter().filter(|entry| entry.is_directory) {
            let path = directory.join(&entry.name);
            let (topic, partition) = match parse_directory_name(&entry.name) {
                Some(ReplicaDirectory::Replica { topic, partition }) => (topic, partition),
                Some(ReplicaDirectory::Deleted) => {
                    self.note(&path, "a deleted replica");
                    continue;
                }
                Some(
                    ReplicaDirectory::Future { .. } | ReplicaDirectory::Stray | ReplicaDirectory::Foreign,
                ) => continue,
                None => {
                    self.problem(&path, "does not belong into a log directory");
                    continue;
                }
            };
            let name = (topic, partition);
            let of = |offsets: &Offsets| offsets.get(&name).copied();
            let promised = Promised {
                clean,
                recovery_point: of(&recovery_points).unwrap_or(0),
                log_start: of(&log_starts).unwrap_or(0),
                high_watermark: of(&high_watermarks).unwrap_or(0),
            };
            match self.replica(&path, promised, of(&cleaned)) {
                Ok(()) => {}
                Err(error) => self.problem(&path, error),
            }
        }
        Ok(())
    }

    fn replica(&mut self, path: &Path, promised: Promised, cleaned: Option<i64>) -> io::Result<()> {
        self.findings.replicas += 1;
        let mut segments: BTreeMap<i64, u64> = BTreeMap::new();
        let mut beside = Vec::new();
        for entry in OsDisk.list(path)? {
            let file = path.join(&entry.name);
            match parse_file_name(&entry.name) {
                Some((base, FileKind::Log, Stage::Live)) => {
                    segments.insert(base, entry.bytes);
                }
                Some((base, kind, Stage::Live)) => beside.push((base, kind, file)),
                Some((_, _, Stage::Deleted)) => self.note(&file, "waits for its removal"),
                Some((_, _, Stage::Cleaned | Stage::Swap)) => self.note(&file, "of an unfinished compaction"),
                None => {}
            }
        }
        let mut batches: BTreeMap<i64, Vec<Known>> = BTreeMap::new();
        let mut end = segments.keys().next().copied().unwrap_or(promised.log_start);
        let last = segments.keys().next_back().copied();
        for (&base, &bytes) in &segments {
            let file = path.join(file_name(base, FileKind::Log, Stage::Live));
            if base < end {
                self.problem(&file, format!("begins at offset {base}, the one before it ends at {end}"));
            }
            end = end.max(base);
            let known = self.segment(&file, base, bytes, &mut end, promised, last == Some(base));
            batches.insert(base, known);
        }
        for (base, kind, file) in beside {
            let known = batches.get(&base);
            match kind {
                FileKind::OffsetIndex => self.offset_index(&file, base, known)?,
                FileKind::TimeIndex => self.time_index(&file, base, known)?,
                FileKind::TransactionIndex => {
                    if let Err(error) = transaction_index::read(&OsDisk, &file) {
                        self.problem(&file, error);
                    }
                }
                FileKind::Snapshot => {
                    if let Err(error) = Producers::from_snapshot(&OsDisk.read_file(&file)?) {
                        self.problem(&file, error);
                    }
                }
                FileKind::Log => {}
            }
        }
        self.small_files(path, end)?;
        for (what, offset) in [
            ("recovery-point-offset-checkpoint", Some(promised.recovery_point)),
            ("replication-offset-checkpoint", Some(promised.high_watermark)),
            ("log-start-offset-checkpoint", Some(promised.log_start)),
            ("cleaner-offset-checkpoint", cleaned),
        ] {
            if let Some(offset) = offset.filter(|offset| *offset > end) {
                self.problem(path, format!("the log ends at offset {end}, {what} says {offset}"));
            }
        }
        Ok(())
    }

    /// Reads one segment; what is known of its batches.
    fn segment(
        &mut self,
        file: &Path,
        base: i64,
        bytes: u64,
        end: &mut i64,
        promised: Promised,
        is_last: bool,
    ) -> Vec<Known> {
        self.findings.segments += 1;
        let mut known = Vec::new();
        let mut batches = match BatchFile::open(&OsDisk, file, Some(bytes), IO_BYTES) {
            Ok(batches) => batches,
            Err(error) => {
                self.problem(file, error);
                return known;
            }
        };
        loop {
            let wrong = match batches.next(&mut |_| {}) {
                Ok(None) => break,
                Ok(Some(placed)) => match batches.checked_batch(&placed) {
                    Ok(batch) => match self.batch(&batch, base, *end) {
                        Ok(()) => {
                            *end = batch.last_offset().saturating_add(1);
                            self.findings.bytes += placed.bytes() as u64;
                            known.push(Known {
                                position: placed.position,
                                base_offset: batch.base_offset(),
                                last_offset: batch.last_offset(),
                                max_timestamp: batch.max_timestamp(),
                            });
                            continue;
                        }
                        Err(what) => format!("at {}: {what}", placed.position),
                    },
                    Err(error) => said(error),
                },
                Err(error) => said(error),
            };
            // What was being written when the broker ended is cut, as long as it was not flushed.
            if is_last && !promised.clean && *end >= promised.recovery_point {
                self.note(file, format!("{wrong}: the log ends at offset {end}"));
            } else {
                self.problem(file, wrong);
            }
            break;
        }
        known
    }

    fn batch(&self, batch: &Batch<'_>, base: i64, end: i64) -> Result<(), String> {
        let (first, last) = (batch.base_offset(), batch.last_offset());
        // An old compressed entry says only its last offset.
        if first < end || last < first {
            return Err(format!("offsets {first} to {last}, where {end} is the next"));
        }
        if last - base > i64::from(i32::MAX) {
            return Err(format!("offset {last} is too far from the segment's base"));
        }
        if !self.records {
            return Ok(());
        }
        let mut plain = Vec::new();
        match batch {
            Batch::Current { header, bytes } => {
                let records =
                    Records::of(bytes, header, &mut Decompressor::new(), &mut plain, PLAIN_BYTES_MAX)
                        .map_err(|error| error.to_string())?;
                for record in records {
                    let offset = record.map_err(|error| error.to_string())?.offset(header);
                    if !(first..=last).contains(&offset) {
                        return Err(format!("a record at offset {offset} outside {first} to {last}"));
                    }
                }
                Ok(())
            }
            Batch::Legacy(entry) => entry
                .messages(&mut Decompressor::new(), &mut plain, PLAIN_BYTES_MAX, |_| {})
                .map_err(|error| error.to_string()),
        }
    }

    fn offset_index(&mut self, file: &Path, base: i64, known: Option<&Vec<Known>>) -> io::Result<()> {
        let bytes = OsDisk.read_file(file)?;
        let Some(known) = known else {
            self.note(file, "an index without its log");
            return Ok(());
        };
        let (entries, rest) = bytes.as_chunks::<{ OffsetEntry::BYTES }>();
        if !rest.is_empty() {
            self.note(file, "its length is no multiple of its entries'");
        }
        let mut previous = None;
        for (number, entry) in entries.iter().map(OffsetEntry::from_bytes).enumerate() {
            if entry.relative_offset == 0 && (number > 0 || entry.position == 0) {
                break; // a file of its full size, zeros behind the last entry
            }
            let offset = base + i64::from(entry.relative_offset);
            let place = u64::from(entry.position);
            let found = known.binary_search_by_key(&place, |batch| batch.position).map(|at| known[at]);
            // 1.0 and 1.1 name the first offset, later releases the last.
            let fits = found.is_ok_and(|batch| offset == batch.last_offset || offset == batch.base_offset);
            // A look-up that starts there must not miss anything, whichever batch it is.
            let lower = found.is_ok_and(|batch| (batch.base_offset..=batch.last_offset).contains(&offset));
            let rises = previous.is_none_or(|(last, at)| offset > last && place > at);
            if !rises || !(fits || lower) {
                self.problem(file, format!("entry {number}: offset {offset} is not at {place}"));
                break;
            }
            previous = Some((offset, place));
        }
        Ok(())
    }

    fn time_index(&mut self, file: &Path, base: i64, known: Option<&Vec<Known>>) -> io::Result<()> {
        let bytes = OsDisk.read_file(file)?;
        let Some(known) = known else {
            self.note(file, "an index without its log");
            return Ok(());
        };
        let (entries, rest) = bytes.as_chunks::<{ TimeEntry::BYTES }>();
        if !rest.is_empty() {
            self.note(file, "its length is no multiple of its entries'");
        }
        let mut previous = -1;
        for (number, entry) in entries.iter().map(TimeEntry::from_bytes).enumerate() {
            if entry.timestamp == 0 && entry.relative_offset == 0 {
                break;
            }
            let offset = base + i64::from(entry.relative_offset);
            let upto = known.partition_point(|batch| batch.base_offset <= offset);
            let newest = known[..upto].iter().map(|batch| batch.max_timestamp).max().unwrap_or(-1);
            let is_empty = known.is_empty() && entry.timestamp < 0;
            if entry.timestamp < previous || entry.timestamp > newest && !is_empty {
                self.problem(
                    file,
                    format!(
                        "entry {number}: time {} at offset {offset}, the newest up to there is {newest}",
                        entry.timestamp
                    ),
                );
                break;
            }
            previous = entry.timestamp;
        }
        Ok(())
    }

    fn small_files(&mut self, path: &Path, end: i64) -> io::Result<()> {
        let metadata = path.join("partition.metadata");
        if OsDisk.exists(&metadata)? && directory_facts(&OsDisk, path)?.topic_id.is_none() {
            self.problem(&metadata, "holds no topic id");
        }
        let epochs = path.join("leader-epoch-checkpoint");
        let text = match OsDisk.read_file(&epochs) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        // An empty file: no epoch is known.
        if text.is_empty() {
            return Ok(());
        }
        match EpochHistory::from_text(&text) {
            Err(error) => self.problem(&epochs, error),
            Ok(history) => {
                if let Some(latest) = history.latest().filter(|latest| latest.start_offset > end) {
                    let what = format!("epoch {} begins at {}", latest.epoch, latest.start_offset);
                    self.problem(&epochs, format!("{what}, the log ends at {end}"));
                }
            }
        }
        Ok(())
    }
}

/// Of an error in a file that is named already, what is wrong with it.
fn said(error: LogError) -> String {
    match error {
        LogError::Corrupt { position, reason, .. } => format!("at {position}: {reason}"),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_directory_cannot_be_checked() {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        assert_eq!(verify(Path::new("/nowhere/at/all"), false, &mut out, &mut err), 2);
        assert!(String::from_utf8(err).unwrap().starts_with("/nowhere/at/all: "));
    }
}
