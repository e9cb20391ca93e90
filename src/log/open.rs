//! Opening a replica's directory: the list of its files, recovery after an unclean stop, producer state (contract 3.6).
//!
//! In: the directory and what the checkpoints say. Out: a log, and what had to be repaired. After a clean stop only the
//! tail of the active segment is looked at; after an unclean one everything from the recovery point on is read and
//! checked, the first bytes that are no batch end the log, and indexes, epochs and producer state are built anew.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::append::note_producer;
use super::epoch_history::EpochHistory;
use super::files::{FileKind, Stage, file_name, parse_file_name};
use super::offset_index::OffsetEntry;
use super::scan::{Scan, ScanError, Seen};
use super::segment::{Largest, Segment, remove_if_there};
use super::settings::LogConfig;
use super::time_index::TimeEntry;
use super::{EPOCH_FILE, Log, LogError, METADATA_FILE, create_segment, parse_topic_id, transaction_index};
use crate::clock::WallMs;
use crate::ids::Offset;
use crate::producer::Producers;
use crate::reactor::Disk;

/// What is known of a replica before its files are opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OpenFacts {
    /// The log directory was stopped cleanly.
    pub clean: bool,
    /// Of the checkpoint file; 0 when it says nothing.
    pub recovery_point: Offset,
    pub log_start: Offset,
    pub high_watermark: Offset,
    pub now: WallMs,
}

/// What opening a log came to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Recovered {
    /// Bytes read and checked.
    pub checked_bytes: u64,
    /// Bytes cut off behind the last whole batch, those of later segments included.
    pub cut_bytes: u64,
    /// The end of the log is below the recovery point: flushed records are gone.
    pub lost_below_recovery_point: Option<Offset>,
    /// Closed segments whose indexes were built anew.
    pub indexes_rebuilt: usize,
    /// What an operator should know, each with a path.
    pub warnings: Vec<String>,
}

/// The files of one segment, as the listing shows them.
#[derive(Clone, Copy, Default)]
struct Listed {
    log: Option<(u64, i64)>,
    offset_index: Option<u64>,
    time_index: Option<u64>,
    transaction_index: bool,
}

impl Log {
    pub fn open(
        disk: &dyn Disk,
        directory: &Path,
        config: Arc<LogConfig>,
        facts: OpenFacts,
    ) -> Result<(Log, Recovered), LogError> {
        let mut recovered = Recovered::default();
        let listing = Listing::read(disk, directory, &mut recovered)?;
        let mut segments = listing.segments(disk, directory, &config, facts, &mut recovered)?;
        let log_start = facts.log_start.0.max(segments.first().map_or(0, |first| first.base_offset));
        if segments.is_empty() {
            segments.push(create_segment(disk, directory, &config, log_start, facts.now)?);
        }
        let topic_id = listing.topic_id(disk, directory, &mut recovered)?;
        let mut log = Log::with_segments(directory, topic_id, config, segments, log_start, facts.now);
        let epochs = listing.epochs(disk, directory, &mut recovered)?;
        // After a crash an empty file may also be one that was never flushed.
        let mut epochs_are_known =
            epochs.as_ref().is_some_and(|epochs| facts.clean || epochs.latest().is_some());
        log.epochs = epochs.unwrap_or_default();

        let mut snapshots = listing.snapshots;
        // A transaction index that cannot be read is built anew with everything behind its segment's base.
        let damaged = listing_damage(disk, directory, &listing.segments, &mut recovered)?;
        let recover_from = damaged.map_or(facts.recovery_point.0, |base| base.min(facts.recovery_point.0));
        let looks_clean = facts.clean && damaged.is_none();
        let clean_end = if looks_clean { log.find_clean_end(disk, &mut recovered)? } else { None };
        match clean_end {
            Some(end) => {
                log.end = end;
                log.load_producers(disk, &mut snapshots, end, true, facts.now, &mut recovered)?;
            }
            None => {
                let first = log.recover(disk, facts, recover_from, &mut snapshots, &mut recovered)?;
                epochs_are_known |= first == 0;
            }
        }
        if log.end < log.start {
            recovered.warnings.push(format!(
                "{}: the log ends at {} below its start at {}; it begins anew there",
                directory.display(),
                log.end,
                log.start
            ));
            log.restart_at(disk, log.start, facts.now)?;
        }
        if !epochs_are_known {
            log.rebuild_epochs(disk)?;
        }
        log.epochs.truncate_from_end(log.end);
        if log.start > 0 {
            log.epochs.truncate_from_start(log.start);
        }
        if log.end < facts.recovery_point.0 {
            recovered.lost_below_recovery_point = Some(Offset(log.end));
            recovered.warnings.push(format!(
                "{}: the log ends at {} below its recovery point {}: flushed records are lost",
                directory.display(),
                log.end,
                facts.recovery_point
            ));
        }
        log.remove_old_snapshots(disk, &snapshots)?;
        log.high_watermark = facts.high_watermark.0.clamp(log.start, log.end);
        log.producers.on_high_watermark(log.high_watermark);
        let flushed =
            if clean_end.is_some() { log.end } else { facts.recovery_point.0.clamp(log.start, log.end) };
        log.flush.set_flushed(flushed);
        // The process that made these names may have ended before it flushed them.
        log.flush.directory_is_unsynced |= clean_end.is_none();
        log.flush.parent_is_unsynced = clean_end.is_none();
        Ok((log, recovered))
    }

    /// After a clean stop: the end of the active segment, from its index and the headers behind the last entry. `None`
    /// when the tail is not what a clean stop leaves.
    fn find_clean_end(
        &mut self,
        disk: &dyn Disk,
        recovered: &mut Recovered,
    ) -> Result<Option<i64>, LogError> {
        let directory = self.directory.clone();
        let active = self.active();
        let path = active.path(&directory, FileKind::Log);
        if active.bytes == 0 {
            active.largest = Some(Largest { timestamp: -1, offset: active.base_offset });
            return Ok(Some(active.base_offset));
        }
        let file = active.file(disk, &directory).map_err(LogError::io(&path, "open", 0))?;
        let index_path = active.path(&directory, FileKind::OffsetIndex);
        let floor = active
            .offsets
            .last(disk, &index_path)
            .map_err(LogError::io(&index_path, "read index", 0))?
            .map_or(0, |entry| entry.position);
        let mut scan = Scan::headers(disk, &file, if floor < active.bytes { floor } else { 0 }, active.bytes);
        let mut end = None;
        let mut largest = Largest { timestamp: -1, offset: active.base_offset };
        let stopped = loop {
            match scan.next() {
                Ok(Some(seen)) if seen.base_offset >= end.unwrap_or(active.base_offset) => {
                    if seen.max_timestamp > largest.timestamp {
                        largest = Largest { timestamp: seen.max_timestamp, offset: seen.last_offset };
                    }
                    end = Some(seen.next_offset());
                }
                Ok(None) => break None,
                Ok(Some(seen)) => break Some(format!("offset {} out of order", seen.base_offset)),
                Err(ScanError::Bad { position, reason }) => break Some(format!("at {position}: {reason}")),
                Err(error @ ScanError::Io { .. }) => return Err(LogError::scan(&path)(error)),
            }
        };
        if let Some(reason) = stopped {
            recovered.warnings.push(format!(
                "{}: a clean stop left a bad tail ({reason}); the log is checked as after a crash",
                path.display()
            ));
            return Ok(None);
        }
        let time_path = active.path(&directory, FileKind::TimeIndex);
        let known =
            active.largest(disk, &directory).map_err(LogError::io(&time_path, "read time index", 0))?;
        if largest.timestamp > known.timestamp {
            active.largest = Some(largest);
        }
        Ok(end)
    }

    /// Reads and checks everything from the segment that holds `from_offset`, the recovery point or an offset before it, on;
    /// the index of that segment.
    fn recover(
        &mut self,
        disk: &dyn Disk,
        facts: OpenFacts,
        from_offset: i64,
        snapshots: &mut Vec<i64>,
        recovered: &mut Recovered,
    ) -> Result<usize, LogError> {
        let from =
            self.segments.partition_point(|segment| segment.base_offset <= from_offset).saturating_sub(1);
        let first_base = self.segments[from].base_offset;
        self.end = first_base;
        let mut usable: Vec<i64> = snapshots.iter().copied().filter(|offset| *offset <= first_base).collect();
        let before = usable.clone();
        self.load_producers(disk, &mut usable, first_base, false, facts.now, recovered)?;
        snapshots.retain(|offset| !before.contains(offset) || usable.contains(offset));

        let mut index = from;
        while index < self.segments.len() {
            if index > from && !self.joins_on(index, facts.recovery_point.0) {
                break;
            }
            let is_whole = self.recover_segment(disk, index, recovered)?;
            index += 1;
            if !is_whole {
                break;
            }
        }
        for segment in self.segments.split_off(index) {
            recovered.cut_bytes += u64::from(segment.bytes);
            recovered.warnings.push(format!(
                "{}: removed, the log ends before it",
                segment.path(&self.directory, FileKind::Log).display()
            ));
            remove_segment_files(disk, &self.directory, segment.base_offset)?;
        }
        let end = self.end;
        for offset in snapshots.extract_if(.., |offset| *offset > end) {
            let path = self.directory.join(file_name(offset, FileKind::Snapshot, Stage::Live));
            remove_if_there(disk, &path).map_err(LogError::io(&path, "remove", 0))?;
        }
        Ok(from)
    }

    /// Whether the segment at `index` may follow what ends at `end`. A file that a power cut has shortened at the edge of
    /// a batch looks whole: only the next segment's base shows what is missing. Compaction leaves such gaps too, but
    /// not behind an empty segment, and what is below the recovery point was flushed as it is.
    fn joins_on(&self, index: usize, recovery_point: i64) -> bool {
        let base_offset = self.segments[index].base_offset;
        base_offset <= self.end
            || base_offset <= recovery_point
            || self.config.cleanup_compact && self.segments[index - 1].bytes > 0
    }

    /// Checks one segment and builds its indexes anew. False when it was cut.
    fn recover_segment(
        &mut self,
        disk: &dyn Disk,
        index: usize,
        recovered: &mut Recovered,
    ) -> Result<bool, LogError> {
        let directory = self.directory.clone();
        let config = self.config.clone();
        let is_last = index + 1 == self.segments.len();
        let segment = &mut self.segments[index];
        let path = segment.path(&directory, FileKind::Log);
        let file = segment.file(disk, &directory).map_err(LogError::io(&path, "open", 0))?;
        let file_bytes = segment.bytes;
        segment.reset_indexes(disk, &directory).map_err(LogError::io(&path, "reset indexes", 0))?;
        let transaction_path = segment.path(&directory, FileKind::TransactionIndex);
        remove_if_there(disk, &transaction_path).map_err(LogError::io(&transaction_path, "remove", 0))?;

        let mut scan = Scan::verified(disk, &file, 0, file_bytes);
        // A segment begins at its base, behind a gap when records before it were compacted away.
        let mut next_offset = self.end.max(segment.base_offset);
        let base_offset = segment.base_offset;
        let stopped = loop {
            let seen = match scan.next() {
                Ok(Some(seen)) => seen,
                Ok(None) => break None,
                Err(ScanError::Bad { position, reason }) => break Some((position, reason.to_string())),
                Err(error @ ScanError::Io { .. }) => return Err(LogError::scan(&path)(error)),
            };
            let span = seen.last_offset - base_offset;
            if seen.base_offset < next_offset && seen.header.is_some()
                || seen.last_offset < next_offset
                || span > i64::from(i32::MAX)
            {
                let reason = format!("offsets {} to {} out of order", seen.base_offset, seen.last_offset);
                break Some((u64::from(seen.position), reason));
            }
            replay(&mut self.producers, &scan, &seen, |aborted| {
                segment.transactions_are_unsynced = true;
                self.flush.directory_is_unsynced = true;
                transaction_index::append(disk, &transaction_path, aborted)
            })
            .map_err(LogError::io(&path, "read batch", u64::from(seen.position)))?;
            if let Some(header) = &seen.header {
                let epoch = header.partition_leader_epoch();
                if self.epochs.latest().is_none_or(|latest| epoch > latest.epoch) {
                    self.epochs.assign(epoch, seen.base_offset);
                }
            }
            segment.note(disk, &directory, &config, &seen).map_err(LogError::io(
                &path,
                "write index",
                u64::from(seen.position),
            ))?;
            next_offset = seen.next_offset();
        };
        recovered.checked_bytes += u64::from(segment.bytes);
        self.end = next_offset;
        let is_whole = stopped.is_none();
        if let Some((position, reason)) = stopped {
            let cut = file_bytes - segment.bytes;
            recovered.cut_bytes += u64::from(cut);
            recovered.warnings.push(format!(
                "{}: cut at {} ({cut} bytes), the log ends at offset {next_offset}: at {position}: {reason}",
                path.display(),
                segment.bytes
            ));
            disk.truncate(&file, u64::from(segment.bytes)).map_err(LogError::io(&path, "cut", 0))?;
            // The next append may begin a new segment; a second crash must not bring the tail back before it.
            disk.sync_data(&file).map_err(LogError::io(&path, "flush", 0))?;
        } else if is_last {
            // What the broker before reserved and could not give back.
            disk.truncate(&file, u64::from(segment.bytes)).map_err(LogError::io(&path, "trim", 0))?;
        }
        segment.flushed_bytes = 0;
        let segment = &mut self.segments[index];
        if !is_last && is_whole {
            segment.write_indexes(disk, &directory).map_err(LogError::io(&path, "write indexes", 0))?;
        }
        Ok(is_whole)
    }

    /// Loads the newest good snapshot at or below `upto` and replays the headers from there to `upto`.
    pub(super) fn load_producers(
        &mut self,
        disk: &dyn Disk,
        snapshots: &mut Vec<i64>,
        upto: i64,
        clean: bool,
        now: WallMs,
        recovered: &mut Recovered,
    ) -> Result<(), LogError> {
        let directory = self.directory.clone();
        let mut found_bad = false;
        let mut from = self.start.min(self.segments[0].base_offset);
        let mut found = false;
        while let Some(offset) = snapshots.iter().copied().filter(|offset| *offset <= upto).max() {
            let path = directory.join(file_name(offset, FileKind::Snapshot, Stage::Live));
            let bytes = disk.read_file(&path).map_err(LogError::io(&path, "read", 0))?;
            match Producers::from_snapshot(&bytes) {
                Ok(producers) => {
                    self.producers = producers;
                    from = offset;
                    found = true;
                    break;
                }
                Err(reason) => {
                    found_bad = true;
                    recovered.warnings.push(format!("{}: {reason}; rebuilt from the log", path.display()));
                    remove_if_there(disk, &path).map_err(LogError::io(&path, "remove", 0))?;
                    snapshots.retain(|other| *other != offset);
                }
            }
        }
        // A clean stop leaves a snapshot. Where there is none at all, nobody kept producer state, as Kafka has it.
        if found || found_bad || !clean {
            self.replay_headers(disk, from, upto)?;
        }
        self.producers.expire(now.0, self.config.producer_id_expiration_ms);
        Ok(())
    }

    fn replay_headers(&mut self, disk: &dyn Disk, from: i64, upto: i64) -> Result<(), LogError> {
        if from >= upto {
            return Ok(());
        }
        let directory = self.directory.clone();
        let first = self.segments.partition_point(|s| s.base_offset <= from).saturating_sub(1);
        for segment in &mut self.segments[first..] {
            if segment.base_offset >= upto {
                break;
            }
            let path = segment.path(&directory, FileKind::Log);
            let was_open = segment.file.is_some();
            let file = segment.file(disk, &directory).map_err(LogError::io(&path, "open", 0))?;
            let floor = segment.floor_of_offset(disk, &directory, from).map_err(LogError::io(
                &path,
                "read index",
                0,
            ))?;
            let mut scan = Scan::headers(disk, &file, floor, segment.bytes);
            while let Some(seen) = scan.next().map_err(LogError::scan(&path))? {
                if seen.last_offset < from {
                    continue;
                }
                if seen.base_offset >= upto {
                    break;
                }
                replay(&mut self.producers, &scan, &seen, |_| Ok(())).map_err(LogError::io(
                    &path,
                    "read batch",
                    u64::from(seen.position),
                ))?;
            }
            if !was_open {
                segment.file = None;
            }
        }
        Ok(())
    }

    /// The epoch file was missing or bad: the batches say which leader wrote them.
    fn rebuild_epochs(&mut self, disk: &dyn Disk) -> Result<(), LogError> {
        let directory = self.directory.clone();
        let mut epochs = EpochHistory::default();
        for segment in &mut self.segments {
            let path = segment.path(&directory, FileKind::Log);
            let was_open = segment.file.is_some();
            let file = segment.file(disk, &directory).map_err(LogError::io(&path, "open", 0))?;
            let mut scan = Scan::headers(disk, &file, 0, segment.bytes);
            while let Some(seen) = scan.next().map_err(LogError::scan(&path))? {
                let epoch = seen.header.as_ref().map_or(-1, |header| header.partition_leader_epoch());
                if epochs.latest().is_none_or(|latest| epoch > latest.epoch) {
                    epochs.assign(epoch, seen.base_offset);
                }
            }
            if !was_open {
                segment.file = None;
            }
        }
        self.epochs = epochs;
        Ok(())
    }

    /// Removes all segments and begins a new one at `offset`.
    pub(super) fn restart_at(&mut self, disk: &dyn Disk, offset: i64, now: WallMs) -> Result<(), LogError> {
        let directory = self.directory.clone();
        for segment in std::mem::take(&mut self.segments) {
            remove_segment_files(disk, &directory, segment.base_offset)?;
        }
        // After a power cut the old ones must not be there again beside the new one.
        disk.sync_directory(&directory).map_err(LogError::io(&directory, "flush directory", 0))?;
        let segment = create_segment(disk, &directory, &self.config, offset, now)?;
        self.segments.push(segment);
        (self.start, self.end) = (offset, offset);
        self.epochs.truncate_from_end(offset);
        self.producers = Producers::default();
        self.flush.set_flushed(offset);
        self.flush.directory_is_unsynced = true;
        Ok(())
    }

    /// Keeps the snapshots that begin a segment, and the newest (contract 2.5).
    fn remove_old_snapshots(&self, disk: &dyn Disk, snapshots: &[i64]) -> Result<(), LogError> {
        let newest = snapshots.iter().max();
        for offset in snapshots {
            let begins_segment =
                self.segments.binary_search_by_key(offset, |segment| segment.base_offset).is_ok();
            if Some(offset) != newest && !begins_segment {
                let path = self.directory.join(file_name(*offset, FileKind::Snapshot, Stage::Live));
                remove_if_there(disk, &path).map_err(LogError::io(&path, "remove", 0))?;
            }
        }
        Ok(())
    }
}

/// Tells the producer state of a batch that is in the log.
fn replay(
    producers: &mut Producers,
    scan: &Scan<'_>,
    seen: &Seen,
    on_aborted: impl FnOnce(transaction_index::AbortedTransaction) -> std::io::Result<()>,
) -> std::io::Result<()> {
    let Some(header) = seen.header.as_ref().filter(|header| header.has_producer_id()) else { return Ok(()) };
    let bytes = if header.is_control() { scan.read_batch(seen)? } else { Vec::new() };
    match note_producer(producers, header, &bytes, seen.base_offset).1 {
        Some(aborted) => on_aborted(aborted),
        None => Ok(()),
    }
}

/// Removes a segment's files, its producer snapshot too.
pub(super) fn remove_segment_files(
    disk: &dyn Disk,
    directory: &Path,
    base_offset: i64,
) -> Result<(), LogError> {
    // The log goes last: what a crash leaves is then a segment without indexes, not indexes without a segment.
    for kind in [
        FileKind::Snapshot,
        FileKind::TransactionIndex,
        FileKind::TimeIndex,
        FileKind::OffsetIndex,
        FileKind::Log,
    ] {
        let path = directory.join(file_name(base_offset, kind, Stage::Live));
        remove_if_there(disk, &path).map_err(LogError::io(&path, "remove", 0))?;
    }
    Ok(())
}

/// The directory's entries, leftovers dealt with.
struct Listing {
    segments: BTreeMap<i64, Listed>,
    snapshots: Vec<i64>,
    has_epochs: bool,
    has_topic_id: bool,
}

impl Listing {
    /// Lists, removes `.deleted` and `.cleaned`, and completes or undoes interrupted swaps (contract 3.6, 2).
    fn read(disk: &dyn Disk, directory: &Path, recovered: &mut Recovered) -> Result<Listing, LogError> {
        let mut listing = Listing {
            segments: BTreeMap::new(),
            snapshots: Vec::new(),
            has_epochs: false,
            has_topic_id: false,
        };
        let entries = disk.list(directory).map_err(LogError::io(directory, "list", 0))?;
        let remove = |name: &str| {
            let path = directory.join(name);
            remove_if_there(disk, &path).map_err(LogError::io(&path, "remove", 0))
        };
        let mut swaps: BTreeMap<i64, Vec<FileKind>> = BTreeMap::new();
        let mut lowest_cleaned: Option<i64> = None;
        let mut live = Vec::new();
        for entry in entries.iter().filter(|entry| !entry.is_directory) {
            match parse_file_name(&entry.name) {
                Some((offset, _, Stage::Cleaned)) => {
                    lowest_cleaned = Some(lowest_cleaned.map_or(offset, |lowest| lowest.min(offset)));
                    remove(&entry.name)?;
                }
                Some((_, _, Stage::Deleted)) => remove(&entry.name)?,
                Some((offset, kind, Stage::Swap)) => swaps.entry(offset).or_default().push(kind),
                Some((offset, kind, Stage::Live)) => {
                    live.push((offset, kind, entry.bytes, entry.modified_ms));
                }
                None if entry.name == EPOCH_FILE => listing.has_epochs = true,
                None if entry.name == METADATA_FILE => listing.has_topic_id = true,
                None if entry.name.ends_with(".tmp") => remove(&entry.name)?,
                None => {}
            }
        }
        if let Some(lowest) = lowest_cleaned {
            // The cleaner was still writing: swaps from there on belong to an unfinished group.
            for (offset, kinds) in swaps.split_off(&lowest) {
                for kind in kinds {
                    remove(&file_name(offset, kind, Stage::Swap))?;
                }
            }
        }
        if !swaps.is_empty() {
            complete_swaps(disk, directory, &swaps, &live, recovered)?;
            return Listing::read(disk, directory, recovered);
        }
        for (offset, kind, bytes, modified_ms) in live {
            let listed = || Listed::default();
            match kind {
                FileKind::Log => {
                    listing.segments.entry(offset).or_insert_with(listed).log = Some((bytes, modified_ms))
                }
                FileKind::OffsetIndex => {
                    listing.segments.entry(offset).or_insert_with(listed).offset_index = Some(bytes);
                }
                FileKind::TimeIndex => {
                    listing.segments.entry(offset).or_insert_with(listed).time_index = Some(bytes);
                }
                FileKind::TransactionIndex => {
                    listing.segments.entry(offset).or_insert_with(listed).transaction_index = true;
                }
                FileKind::Snapshot => listing.snapshots.push(offset),
            }
        }
        Ok(listing)
    }

    /// The segments in order; indexes without a log are removed, bad indexes of closed segments built anew.
    fn segments(
        &self,
        disk: &dyn Disk,
        directory: &Path,
        config: &LogConfig,
        facts: OpenFacts,
        recovered: &mut Recovered,
    ) -> Result<Vec<Segment>, LogError> {
        let mut segments = Vec::with_capacity(self.segments.len());
        let with_log =
            || self.segments.iter().filter(|(_, listed)| listed.log.is_some()).map(|(base, _)| *base);
        let active = with_log().next_back();
        // Recovery builds these anew, whatever their indexes are like.
        let recovered_from = match facts.clean {
            true => i64::MAX,
            false => with_log().take_while(|base| *base <= facts.recovery_point.0).last().unwrap_or(i64::MIN),
        };
        for (&base_offset, listed) in &self.segments {
            let Some((bytes, modified_ms)) = listed.log else {
                recovered.warnings.push(format!(
                    "{}: an index without its log, removed",
                    directory.join(file_name(base_offset, FileKind::OffsetIndex, Stage::Live)).display()
                ));
                // A snapshot of this offset is right whether or not a segment begins there.
                for kind in [FileKind::TransactionIndex, FileKind::TimeIndex, FileKind::OffsetIndex] {
                    let path = directory.join(file_name(base_offset, kind, Stage::Live));
                    remove_if_there(disk, &path).map_err(LogError::io(&path, "remove", 0))?;
                }
                continue;
            };
            let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
            let index_bytes = listed.offset_index.unwrap_or(0);
            let time_bytes = listed.time_index.unwrap_or(0);
            let mut segment = Segment::found(base_offset, bytes, index_bytes, time_bytes, modified_ms);
            let is_usable = bytes == 0
                || base_offset >= recovered_from
                || listed.offset_index.is_some()
                    && listed.time_index.is_some()
                    && index_bytes.is_multiple_of(OffsetEntry::BYTES as u64)
                    && time_bytes.is_multiple_of(TimeEntry::BYTES as u64)
                    // After a clean stop the indexes of closed segments are not even opened.
                    && (facts.clean && active != Some(base_offset)
                        || segment.indexes_are_sane(disk, directory));
            if !is_usable {
                segment.rebuild_indexes(disk, directory, config)?;
                recovered.indexes_rebuilt += 1;
            }
            segments.push(segment);
        }
        Ok(segments)
    }

    fn topic_id(
        &self,
        disk: &dyn Disk,
        directory: &Path,
        recovered: &mut Recovered,
    ) -> Result<Option<super::TopicId>, LogError> {
        if !self.has_topic_id {
            return Ok(None);
        }
        let path = directory.join(METADATA_FILE);
        let bytes = disk.read_file(&path).map_err(LogError::io(&path, "read", 0))?;
        let id = std::str::from_utf8(&bytes).ok().and_then(parse_topic_id);
        if id.is_none() {
            recovered.warnings.push(format!("{}: holds no topic id; it counts as missing", path.display()));
        }
        Ok(id)
    }

    /// `None`: to be built from the batches.
    fn epochs(
        &self,
        disk: &dyn Disk,
        directory: &Path,
        recovered: &mut Recovered,
    ) -> Result<Option<EpochHistory>, LogError> {
        if !self.has_epochs {
            return Ok(None);
        }
        let path = directory.join(EPOCH_FILE);
        let bytes = disk.read_file(&path).map_err(LogError::io(&path, "read", 0))?;
        match std::str::from_utf8(&bytes).map(EpochHistory::from_text) {
            Ok(Ok(history)) => Ok(Some(history)),
            Ok(Err(bad)) => {
                recovered.warnings.push(format!("{}: {bad}; rebuilt from the log", path.display()));
                Ok(None)
            }
            Err(_) => {
                recovered.warnings.push(format!("{}: is not text; rebuilt from the log", path.display()));
                Ok(None)
            }
        }
    }
}

impl Segment {
    /// The last entries point into the log and not before its base. What lies between is not looked at.
    fn indexes_are_sane(&mut self, disk: &dyn Disk, directory: &Path) -> bool {
        let offset_path = self.path(directory, FileKind::OffsetIndex);
        let time_path = self.path(directory, FileKind::TimeIndex);
        let offset_is_sane = match self.offsets.last(disk, &offset_path) {
            Ok(Some(last)) => last.position > 0 && last.position < self.bytes && last.relative_offset > 0,
            Ok(None) => true,
            Err(_) => false,
        };
        let time_is_sane = match self.times.last(disk, &time_path) {
            Ok(Some(last)) => last.timestamp > 0,
            Ok(None) => true,
            Err(_) => false,
        };
        offset_is_sane && time_is_sane
    }

    /// Builds the indexes anew from the headers of a segment whose bytes are trusted.
    fn rebuild_indexes(
        &mut self,
        disk: &dyn Disk,
        directory: &Path,
        config: &LogConfig,
    ) -> Result<(), LogError> {
        let path = self.path(directory, FileKind::Log);
        let file = self.file(disk, directory).map_err(LogError::io(&path, "open", 0))?;
        let bytes = self.bytes;
        self.reset_indexes(disk, directory).map_err(LogError::io(&path, "reset indexes", 0))?;
        let mut scan = Scan::headers(disk, &file, 0, bytes);
        loop {
            match scan.next() {
                Ok(Some(seen)) => self.note(disk, directory, config, &seen).map_err(LogError::io(
                    &path,
                    "write index",
                    u64::from(seen.position),
                ))?,
                // A torn tail is found again, and dealt with, by whoever looks for the end of the log.
                Ok(None) | Err(ScanError::Bad { .. }) => break,
                Err(error @ ScanError::Io { .. }) => return Err(LogError::scan(&path)(error)),
            }
        }
        self.bytes = bytes;
        self.write_indexes(disk, directory).map_err(LogError::io(&path, "write indexes", 0))?;
        self.file = None;
        Ok(())
    }
}

/// The first segment whose transaction index cannot be read.
fn listing_damage(
    disk: &dyn Disk,
    directory: &Path,
    segments: &BTreeMap<i64, Listed>,
    recovered: &mut Recovered,
) -> Result<Option<i64>, LogError> {
    let mut first = None;
    for (&base_offset, _) in
        segments.iter().filter(|(_, listed)| listed.transaction_index && listed.log.is_some())
    {
        let path = directory.join(file_name(base_offset, FileKind::TransactionIndex, Stage::Live));
        match transaction_index::read(disk, &path) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                recovered.warnings.push(format!("{error}; rebuilt from the log"));
                first = first.or(Some(base_offset));
            }
            Err(error) => return Err(LogError::io(&path, "read transaction index", 0)(error)),
        }
    }
    Ok(first)
}

/// The cleaner had finished these files: live segments they replace go, and they take their names. Indexes whose log is
/// not among them are of a swap that came no further than some names: they go, and are built anew where one is missing.
fn complete_swaps(
    disk: &dyn Disk,
    directory: &Path,
    swaps: &BTreeMap<i64, Vec<FileKind>>,
    live: &[(i64, FileKind, u64, i64)],
    recovered: &mut Recovered,
) -> Result<(), LogError> {
    for (&base_offset, kinds) in swaps {
        if kinds.contains(&FileKind::Log) {
            let swap = directory.join(file_name(base_offset, FileKind::Log, Stage::Swap));
            let (end, markers) = end_of_file(disk, &swap, base_offset)?;
            let covered = live.iter().filter(|(offset, kind, ..)| {
                *kind == FileKind::Log && *offset >= base_offset && *offset < end.max(base_offset + 1)
            });
            for (offset, ..) in covered {
                remove_segment_files(disk, directory, *offset)?;
            }
            recovered.warnings.push(format!("{}: an interrupted compaction, completed", swap.display()));
            for kind in [FileKind::OffsetIndex, FileKind::TimeIndex] {
                let path = directory.join(file_name(base_offset, kind, Stage::Live));
                remove_if_there(disk, &path).map_err(LogError::io(&path, "remove", 0))?;
            }
            for &kind in kinds {
                let from = directory.join(file_name(base_offset, kind, Stage::Swap));
                let to = directory.join(file_name(base_offset, kind, Stage::Live));
                disk.rename(&from, &to).map_err(LogError::io(&from, "rename", 0))?;
            }
            keep_aborted_of(disk, directory, base_offset, &markers)?;
            continue;
        }
        for &kind in kinds {
            let path = directory.join(file_name(base_offset, kind, Stage::Swap));
            remove_if_there(disk, &path).map_err(LogError::io(&path, "remove", 0))?;
        }
    }
    disk.sync_directory(directory).map_err(LogError::io(directory, "flush directory", 0))
}

/// Leaves those entries of a transaction index whose markers are in the log beside it. The index may be the old one, left
/// by a crash in the middle of a swap: an entry without its marker would hide what its producer wrote later.
fn keep_aborted_of(
    disk: &dyn Disk,
    directory: &Path,
    base_offset: i64,
    markers: &[i64],
) -> Result<(), LogError> {
    let path = directory.join(file_name(base_offset, FileKind::TransactionIndex, Stage::Live));
    let mut entries =
        transaction_index::read(disk, &path).map_err(LogError::io(&path, "read transaction index", 0))?;
    let before = entries.len();
    entries.retain(|entry| markers.binary_search(&entry.last_offset).is_ok());
    if entries.len() == before {
        return Ok(());
    }
    remove_if_there(disk, &path).map_err(LogError::io(&path, "remove", 0))?;
    for entry in entries {
        transaction_index::append(disk, &path, entry).map_err(LogError::io(
            &path,
            "write transaction index",
            0,
        ))?;
    }
    Ok(())
}

/// The offset behind the last batch of a file, and the offsets of the transaction markers in it.
fn end_of_file(disk: &dyn Disk, path: &Path, base_offset: i64) -> Result<(i64, Vec<i64>), LogError> {
    let file = disk.open(path, crate::reactor::OpenMode::Read).map_err(LogError::io(path, "open", 0))?;
    let bytes = disk.length(&file).map_err(LogError::io(path, "length", 0))?;
    let mut scan = Scan::headers(disk, &file, 0, u32::try_from(bytes).unwrap_or(u32::MAX));
    let (mut end, mut markers) = (base_offset, Vec::new());
    while let Some(seen) = scan.next().map_err(LogError::scan(path))? {
        end = seen.next_offset();
        if seen.header.is_some_and(|header| header.is_control()) {
            markers.push(seen.last_offset);
        }
    }
    Ok((end, markers))
}
