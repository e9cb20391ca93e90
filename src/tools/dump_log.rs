//! `ringdaw dump-log`: the files of a log as text, as kafka-dump-log.sh of Kafka 3.9 does.
//!
//! In: Kafka's arguments. Out: Kafka's output on the same streams; what an index says that the log does not is told at
//! the end, on stderr. Exit code 0, or 1 where a file cannot be read. The files are only read: a broker may be running.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;

use crate::log::batch_file::BatchFile;
use crate::log::files::{FileKind, Stage, file_name};
use crate::log::offset_index::OffsetEntry;
use crate::log::time_index::TimeEntry;
use crate::log::{LogError, transaction_index};
use crate::producer::{Marker, snapshot_entries};
use crate::reactor::OsDisk;
use crate::tools::coordinator_records::{group_record, transaction_record};
use crate::wire::batch::{Batch, BatchError, BatchHeader};
use crate::wire::compression::Decompressor;
use crate::wire::legacy::{LegacyEntry, LegacyMessage};
use crate::wire::record::{Record, Records};

/// Show the files of a log (the arguments of kafka-dump-log.sh)
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub struct DumpLogArgs {
    /// See `dump-log --help`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTION")]
    arguments: Vec<OsString>,
}

pub fn run(args: DumpLogArgs) -> ExitCode {
    let code = run_with(&args.arguments, &mut io::stdout().lock(), &mut io::stderr().lock());
    ExitCode::from(code)
}

/// Show segments, indexes, producer snapshots and transaction indexes as text, and check them against each other.
#[derive(Parser, Debug)]
#[command(
    name = "dump-log",
    no_binary_name = true,
    infer_long_args = true,
    args_override_self = true,
    version,
    disable_version_flag = true,
    override_usage = "dump-log --files FILE[,FILE...] [OPTIONS]",
    max_term_width = 100
)]
struct Options {
    /// The files, with commas between them: .log, .index, .timeindex, .snapshot, .txnindex
    #[arg(long, value_name = "FILE,FILE,...", value_delimiter = ',', required = true)]
    files: Vec<PathBuf>,
    /// Show keys and values too
    #[arg(long)]
    print_data_log: bool,
    /// Show each record, not only each batch; any decoder and --print-data-log do so too
    #[arg(long)]
    deep_iteration: bool,
    /// Of records show only key and value
    #[arg(long)]
    skip_record_metadata: bool,
    /// Check an index against its log and do not show it
    #[arg(long)]
    verify_index_only: bool,
    /// Make of an index only the check that a broker makes at its start
    #[arg(long)]
    index_sanity_check: bool,
    /// The largest batch an entry of an index may lead to
    #[arg(long, value_name = "BYTES", default_value_t = 5 * 1024 * 1024)]
    max_message_size: u64,
    /// Show only the first bytes of a .log file
    #[arg(long, value_name = "BYTES")]
    max_bytes: Option<u64>,
    /// Read values and keys as records of the consumer groups (__consumer_offsets)
    #[arg(long)]
    offsets_decoder: bool,
    /// Read values and keys as records of the transactions (__transaction_state)
    #[arg(long)]
    transaction_log_decoder: bool,
    /// Accepted; keys are shown as text
    #[arg(long, value_name = "CLASS")]
    key_decoder_class: Option<String>,
    /// Accepted; values are shown as text
    #[arg(long, value_name = "CLASS")]
    value_decoder_class: Option<String>,
}

impl Options {
    fn shows_data(&self) -> bool {
        let classes = self.key_decoder_class.is_some() || self.value_decoder_class.is_some();
        self.print_data_log || self.offsets_decoder || self.transaction_log_decoder || classes
    }
}

/// Why a file cannot be shown.
#[derive(Debug, thiserror::Error)]
enum DumpError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{}: {reason}", path.display())]
    Unreadable { path: PathBuf, reason: String },
    /// The reader of the output has gone.
    #[error(transparent)]
    Output(#[from] io::Error),
}

/// As `run`, with streams to write to; the exit code.
pub fn run_with(arguments: &[OsString], out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let options = match Options::try_parse_from(arguments) {
        Ok(options) => options,
        Err(error) => {
            let text = error.render().to_string();
            // Help goes to stdout and is no error. Nobody is left to tell when it cannot be written.
            if error.use_stderr() {
                let _ = err.write_all(text.as_bytes());
                return 1;
            }
            let _ = out.write_all(text.as_bytes());
            return 0;
        }
    };
    let mut dump = Dump { options: &options, out, found: Found::default() };
    for file in &options.files {
        match dump.file(file, err) {
            Ok(()) => {}
            Err(DumpError::Output(_)) => return 0,
            Err(error) => {
                let _ = writeln!(err, "{error}");
                return 1;
            }
        }
    }
    let found = std::mem::take(&mut dump.found);
    // Nobody is left to tell when this cannot be written.
    let _ = found.print(err);
    0
}

/// What files say of each other that does not agree, by file.
#[derive(Default)]
struct Found {
    index_mismatches: Vec<(PathBuf, Vec<(i64, i64)>)>,
    timestamp_mismatches: Vec<(PathBuf, Vec<(i64, i64)>)>,
    out_of_order: Vec<(PathBuf, Vec<(i64, i64)>)>,
    not_found: Vec<(PathBuf, Vec<(i64, i64)>)>,
    gaps: Vec<(PathBuf, Vec<(i64, i64)>)>,
}

fn add(list: &mut Vec<(PathBuf, Vec<(i64, i64)>)>, file: &Path, pair: (i64, i64)) {
    match list.last_mut() {
        Some((known, pairs)) if known == file => pairs.push(pair),
        Some(_) | None => list.push((file.to_path_buf(), vec![pair])),
    }
}

impl Found {
    fn print(&self, err: &mut dyn Write) -> io::Result<()> {
        // Kafka gathers them front first and so tells the last one first.
        let mut each = |list: &[(PathBuf, Vec<(i64, i64)>)], head: &str, first: &str, second: &str| {
            for (file, pairs) in list {
                writeln!(err, "{head}{}", file.display())?;
                for (a, b) in pairs.iter().rev() {
                    writeln!(err, "{first}{a}{second}{b}")?;
                }
            }
            io::Result::Ok(())
        };
        each(&self.index_mismatches, "Mismatches in :", "  Index offset: ", ", log offset: ")?;
        each(
            &self.timestamp_mismatches,
            "Found timestamp mismatch in :",
            "  Index timestamp: ",
            ", log timestamp: ",
        )?;
        each(
            &self.out_of_order,
            "Found out of order timestamp in :",
            "  Index timestamp: ",
            ", Previously indexed timestamp: ",
        )?;
        each(
            &self.not_found,
            "The following indexed offsets are not found in the log.\n",
            "Indexed offset: ",
            ", found log offset: ",
        )?;
        each(&self.gaps, "Non-consecutive offsets in ", "  ", " is followed by ")
    }
}

/// Bytes read at once; a batch may be larger.
const IO_BYTES: usize = 1 << 20;
/// Read at once where one batch is wanted.
const LOOK_BYTES: usize = 4096;
/// The most the records of one batch may become.
const PLAIN_BYTES_MAX: usize = 1 << 30;

/// Key and value of a record, as far as they are to be shown.
type Data = (Option<String>, Option<String>);

struct Dump<'a> {
    options: &'a Options,
    out: &'a mut dyn Write,
    found: Found,
}

/// What Kafka prints of an `OptionalLong`.
fn optional(value: Option<i64>) -> String {
    value.map_or_else(|| "OptionalLong.empty".to_owned(), |value| format!("OptionalLong[{value}]"))
}

fn size(field: Option<&[u8]>) -> i64 {
    field.map_or(-1, |field| field.len() as i64)
}

impl Dump<'_> {
    fn file(&mut self, path: &Path, err: &mut dyn Write) -> Result<(), DumpError> {
        writeln!(self.out, "Dumping {}", path.display())?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (stem, suffix) = name.rsplit_once('.').unwrap_or((&name, ""));
        let base_offset = || {
            stem.split('.').next().and_then(|digits| digits.parse::<i64>().ok()).ok_or_else(|| {
                let reason = "its name does not begin with an offset".to_owned();
                DumpError::Unreadable { path: path.to_path_buf(), reason }
            })
        };
        match suffix {
            "log" => self.log(path, base_offset()?),
            "index" => self.offset_index(path, base_offset()?),
            "timeindex" => self.time_index(path, base_offset()?),
            "snapshot" => self.snapshot(path, err),
            "txnindex" => self.transaction_index(path),
            _ => {
                writeln!(err, "Ignoring unknown file {}", path.display())?;
                Ok(())
            }
        }
    }

    fn log(&mut self, path: &Path, base_offset: i64) -> Result<(), DumpError> {
        writeln!(self.out, "Log starting offset: {base_offset}")?;
        let mut batches = BatchFile::open(&OsDisk, path, None, IO_BYTES)?;
        let end = self.options.max_bytes.unwrap_or(u64::MAX).min(batches.end());
        let (mut last_offset, mut valid) = (None, 0);
        loop {
            let placed = match batches.next(&mut |_| {}) {
                Ok(Some(placed)) if placed.position + placed.bytes() as u64 <= end => placed,
                // What goes on behind the end of the file is told below.
                Ok(_) | Err(LogError::Corrupt { reason: BatchError::Incomplete { .. }, .. }) => break,
                Err(error) => return Err(error.into()),
            };
            let batch = batches.batch(&placed)?;
            self.batch_line(&batch, placed.position)?;
            if self.options.deep_iteration || self.options.shows_data() {
                self.records(path, &batch, &mut last_offset)?;
            }
            valid = placed.position + placed.bytes() as u64;
        }
        let trailing = batches.end() - valid;
        if trailing > 0 && self.options.max_bytes.is_none() {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            writeln!(self.out, "Found {trailing} invalid bytes at the end of {name}")?;
        }
        Ok(())
    }

    fn batch_line(&mut self, batch: &Batch<'_>, position: u64) -> Result<(), DumpError> {
        let (codec, time_type) = match batch {
            Batch::Current { header, .. } => {
                let last_sequence = header.last_sequence().unwrap_or(-1);
                write!(
                    self.out,
                    "baseOffset: {} lastOffset: {} count: {} baseSequence: {} lastSequence: {last_sequence} \
                     producerId: {} producerEpoch: {} partitionLeaderEpoch: {} isTransactional: {} isControl: {} \
                     deleteHorizonMs: {}",
                    header.base_offset(),
                    header.last_offset(),
                    header.record_count(),
                    header.base_sequence(),
                    header.producer_id(),
                    header.producer_epoch(),
                    header.partition_leader_epoch(),
                    header.is_transactional(),
                    header.is_control(),
                    optional(header.delete_horizon()),
                )?;
                (header.codec().map(|codec| codec.name()), time_type(header.is_log_append_time()))
            }
            Batch::Legacy(entry) => {
                write!(self.out, "offset: {}", entry.offset())?;
                (entry.codec().ok().map(|codec| codec.name()), legacy_time_type(entry))
            }
        };
        writeln!(
            self.out,
            " position: {position} {time_type}: {} size: {} magic: {} compresscodec: {} crc: {} isvalid: {}",
            batch.max_timestamp(),
            batch.bytes().len(),
            batch.magic(),
            codec.unwrap_or("unknown"),
            batch.crc(),
            batch.crc_matches(),
        )?;
        Ok(())
    }

    fn records(
        &mut self,
        path: &Path,
        batch: &Batch<'_>,
        last_offset: &mut Option<i64>,
    ) -> Result<(), DumpError> {
        let unreadable = |reason: String| DumpError::Unreadable {
            path: path.to_path_buf(),
            reason: format!("the batch at offset {}: {reason}", batch.base_offset()),
        };
        let mut plain = Vec::new();
        match batch {
            Batch::Current { header, bytes } => {
                let records =
                    Records::of(bytes, header, &mut Decompressor::new(), &mut plain, PLAIN_BYTES_MAX)
                        .map_err(|error| unreadable(error.to_string()))?;
                for record in records {
                    let record = record.map_err(|error| unreadable(error.to_string()))?;
                    self.note_offset(path, record.offset(header), last_offset);
                    self.record_line(header, bytes, &record)?;
                }
                Ok(())
            }
            Batch::Legacy(entry) => {
                let mut messages: Vec<(i64, String)> = Vec::new();
                let mut failed = None;
                let time_type = legacy_time_type(entry);
                let shows = self.options.shows_data();
                let read = entry.messages(
                    &mut Decompressor::new(),
                    &mut plain,
                    PLAIN_BYTES_MAX,
                    |message: LegacyMessage<'_>| {
                        let metadata = format!(
                            "offset: {} {time_type}: {} keySize: {} valueSize: {} isValid: true crc: {}}}",
                            message.offset,
                            message.timestamp,
                            size(message.key),
                            size(message.value),
                            message.crc,
                        );
                        match self.data(message.offset, message.key, message.value) {
                            Ok(data) => {
                                messages.push((message.offset, self.line(&metadata, data.filter(|_| shows))));
                            }
                            Err(error) => failed = Some(error),
                        }
                    },
                );
                read.map_err(|error| unreadable(error.to_string()))?;
                if let Some(error) = failed {
                    return Err(error);
                }
                for (offset, line) in messages {
                    self.note_offset(path, offset, last_offset);
                    writeln!(self.out, "{line}")?;
                }
                Ok(())
            }
        }
    }

    fn note_offset(&mut self, path: &Path, offset: i64, last_offset: &mut Option<i64>) {
        if let Some(last) = last_offset.filter(|last| offset != last + 1) {
            add(&mut self.found.gaps, path, (last, offset));
        }
        *last_offset = Some(offset);
    }

    fn record_line(
        &mut self,
        header: &BatchHeader,
        batch: &[u8],
        record: &Record<'_>,
    ) -> Result<(), DumpError> {
        let sequence = match header.base_sequence() {
            base if base < 0 => -1,
            base => crate::wire::batch::advance_sequence(base, record.offset_delta),
        };
        let keys: Vec<String> =
            record.headers.iter().map(|(key, _)| String::from_utf8_lossy(key).into_owned()).collect();
        let mut metadata = format!(
            "offset: {} {}: {} keySize: {} valueSize: {} sequence: {sequence} headerKeys: [{}]",
            record.offset(header),
            time_type(header.is_log_append_time()),
            record.timestamp(header),
            size(record.key),
            size(record.value),
            keys.join(","),
        );
        if header.is_control() {
            match Marker::parse(header, batch) {
                Some(marker) => {
                    let kind = if marker.is_commit { "COMMIT" } else { "ABORT" };
                    let epoch = marker.coordinator_epoch;
                    metadata.push_str(&format!(" endTxnMarker: {kind} coordinatorEpoch: {epoch}"));
                }
                None => {
                    let kind = record.key.and_then(|key| key.first_chunk::<4>());
                    let number = kind.map_or(-1, |key| i16::from_be_bytes([key[2], key[3]]));
                    metadata.push_str(&format!(" controlType: UNKNOWN({number})"));
                }
            }
        }
        let data = match self.options.shows_data() && !header.is_control() {
            true => self.data(record.offset(header), record.key, record.value)?,
            false => None,
        };
        let line = self.line(&metadata, data);
        writeln!(self.out, "{line}")?;
        Ok(())
    }

    /// One record's line of metadata and data, either of which may be left out.
    fn line(&self, metadata: &str, data: Option<Data>) -> String {
        let mut line = "| ".to_owned();
        let mut parts = Vec::new();
        if !self.options.skip_record_metadata {
            parts.push(metadata.to_owned());
        }
        if let Some((key, value)) = data {
            parts.extend(key.map(|key| format!("key: {key}")));
            parts.extend(value.map(|value| format!("payload: {value}")));
        }
        line.push_str(&parts.join(" "));
        line
    }

    fn data(&self, offset: i64, key: Option<&[u8]>, value: Option<&[u8]>) -> Result<Option<Data>, DumpError> {
        let decoder = match (self.options.offsets_decoder, self.options.transaction_log_decoder) {
            (true, _) => "offset topic",
            (false, true) => "transaction log",
            (false, false) => {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                return Ok(Some((key.map(text), value.map(text))));
            }
        };
        let Some(key) = key else {
            return Err(DumpError::Unreadable {
                path: PathBuf::from(format!("offset {offset}")),
                reason: format!("no key, which the {decoder} decoder needs"),
            });
        };
        let decoded = if self.options.offsets_decoder {
            group_record(key, value, offset)
        } else {
            transaction_record(key, value)
        };
        Ok(Some(match decoded {
            Ok((key, value)) => (Some(key), value),
            Err(error) => (Some(format!("Error at offset {offset}, skipping. {error}")), None),
        }))
    }

    /// The last offset of the first batch at a position, and its newest record.
    fn batch_at(&self, log: &Path, position: u64) -> Result<Option<(i64, i64)>, DumpError> {
        let mut batches = BatchFile::open(&OsDisk, log, None, LOOK_BYTES)?;
        if position >= batches.end() {
            return Ok(None);
        }
        batches.seek(position);
        let Some(placed) = batches.next(&mut |_| {})? else { return Ok(None) };
        let batch = batches.batch(&placed)?;
        Ok(Some((batch.last_offset(), newest(&batch))))
    }

    fn read(path: &Path) -> Result<Vec<u8>, DumpError> {
        std::fs::read(path).map_err(|source| DumpError::Io { path: path.to_path_buf(), source })
    }

    fn offset_index(&mut self, path: &Path, base_offset: i64) -> Result<(), DumpError> {
        let bytes = Dump::read(path)?;
        let (entries, _) = bytes.as_chunks::<{ OffsetEntry::BYTES }>();
        if entries.is_empty() {
            writeln!(self.out, "{} is empty.", path.display())?;
            return Ok(());
        }
        let entries: Vec<OffsetEntry> = entries.iter().map(OffsetEntry::from_bytes).collect();
        if self.options.index_sanity_check {
            let whole = bytes.len().is_multiple_of(OffsetEntry::BYTES);
            return self.sanity(path, whole);
        }
        let log = log_of(path, base_offset);
        for (number, entry) in entries.iter().enumerate() {
            // A crash leaves a file of its full size, zeros behind the last entry.
            if entry.relative_offset == 0 && number > 0 {
                break;
            }
            let offset = base_offset + i64::from(entry.relative_offset);
            let found = self.batch_at(&log, u64::from(entry.position))?.map_or(-1, |(last, _)| last);
            if found != offset {
                add(&mut self.found.index_mismatches, path, (offset, found));
            }
            if !self.options.verify_index_only {
                writeln!(self.out, "offset: {offset} position: {}", entry.position)?;
            }
        }
        Ok(())
    }

    fn sanity(&mut self, path: &Path, passes: bool) -> Result<(), DumpError> {
        if !passes {
            let reason = "Corrupt index found: its length is no multiple of its entries'".to_owned();
            return Err(DumpError::Unreadable { path: path.to_path_buf(), reason });
        }
        writeln!(self.out, "{} passed sanity check.", path.display())?;
        Ok(())
    }

    fn time_index(&mut self, path: &Path, base_offset: i64) -> Result<(), DumpError> {
        let bytes = Dump::read(path)?;
        let (entries, _) = bytes.as_chunks::<{ TimeEntry::BYTES }>();
        if entries.is_empty() {
            writeln!(self.out, "{} is empty.", path.display())?;
            return Ok(());
        }
        let entries: Vec<TimeEntry> = entries.iter().map(TimeEntry::from_bytes).collect();
        if self.options.index_sanity_check {
            let rises = entries.last().map(|e| e.timestamp) >= entries.first().map(|e| e.timestamp);
            return self.sanity(path, bytes.len().is_multiple_of(TimeEntry::BYTES) && rises);
        }
        let log = log_of(path, base_offset);
        let index = path.with_file_name(file_name(base_offset, FileKind::OffsetIndex, Stage::Live));
        let positions: Vec<OffsetEntry> = match std::fs::read(&index) {
            Ok(bytes) => {
                bytes.as_chunks::<{ OffsetEntry::BYTES }>().0.iter().map(OffsetEntry::from_bytes).collect()
            }
            Err(_) => Vec::new(),
        };
        let mut previous = -1;
        for (number, entry) in entries.iter().enumerate() {
            if entry.timestamp == 0 && entry.relative_offset == 0 && number > 0 {
                break;
            }
            let offset = base_offset + i64::from(entry.relative_offset);
            let below = |e: &&OffsetEntry| {
                e.relative_offset <= entry.relative_offset && (e.relative_offset > 0 || e.position == 0)
            };
            let from = positions.iter().filter(below).map(|e| e.position).max().unwrap_or(0);
            match find(&log, u64::from(from), offset)? {
                None => add(&mut self.found.not_found, path, (offset, -1)),
                Some((last, _)) if last != offset => add(&mut self.found.not_found, path, (offset, last)),
                Some((_, newest)) => {
                    if newest != entry.timestamp {
                        add(&mut self.found.timestamp_mismatches, path, (entry.timestamp, newest));
                    }
                    if previous >= entry.timestamp {
                        add(&mut self.found.out_of_order, path, (entry.timestamp, previous));
                    }
                }
            }
            if !self.options.verify_index_only {
                writeln!(self.out, "timestamp: {} offset: {offset}", entry.timestamp)?;
            }
            previous = entry.timestamp;
        }
        Ok(())
    }

    fn snapshot(&mut self, path: &Path, err: &mut dyn Write) -> Result<(), DumpError> {
        let producers = match snapshot_entries(&Dump::read(path)?) {
            Ok(producers) => producers,
            Err(reason) => {
                writeln!(err, "{}: {reason}", path.display())?;
                return Ok(());
            }
        };
        for (id, producer) in producers {
            write!(
                self.out,
                "producerId: {id} producerEpoch: {} coordinatorEpoch: {} currentTxnFirstOffset: {} lastTimestamp: {} ",
                producer.epoch,
                producer.coordinator_epoch,
                optional(producer.transaction_first),
                producer.last_timestamp,
            )?;
            if let Some(batch) = producer.batches().first() {
                write!(
                    self.out,
                    "firstSequence: {} lastSequence: {} lastOffset: {} offsetDelta: {} timestamp: {}",
                    batch.first_sequence(),
                    batch.last_sequence,
                    batch.last_offset,
                    batch.offset_delta,
                    batch.timestamp,
                )?;
            }
            writeln!(self.out)?;
        }
        Ok(())
    }

    fn transaction_index(&mut self, path: &Path) -> Result<(), DumpError> {
        let entries = transaction_index::read(&OsDisk, path)
            .map_err(|source| DumpError::Io { path: path.to_path_buf(), source })?;
        for entry in entries {
            writeln!(
                self.out,
                "version: 0 producerId: {} firstOffset: {} lastOffset: {} lastStableOffset: {}",
                entry.producer_id, entry.first_offset, entry.last_offset, entry.last_stable_offset
            )?;
        }
        Ok(())
    }
}

fn time_type(is_log_append_time: bool) -> &'static str {
    if is_log_append_time { "LogAppendTime" } else { "CreateTime" }
}

fn legacy_time_type(entry: &LegacyEntry<'_>) -> &'static str {
    if entry.magic() == 0 { "NoTimestampType" } else { time_type(entry.is_log_append_time()) }
}

fn log_of(index: &Path, base_offset: i64) -> PathBuf {
    index.with_file_name(file_name(base_offset, FileKind::Log, Stage::Live))
}

/// The newest timestamp of the records of a batch; of one that cannot be opened what its header says.
fn newest(batch: &Batch<'_>) -> i64 {
    let mut newest = -1;
    let mut plain = Vec::new();
    let opened = match batch {
        Batch::Current { header, bytes } => {
            Records::of(bytes, header, &mut Decompressor::new(), &mut plain, PLAIN_BYTES_MAX)
                .ok()
                .and_then(|records| {
                    records
                        .map(|record| record.ok().map(|record| record.timestamp(header)))
                        .try_fold(-1, |newest, timestamp| Some(timestamp?.max(newest)))
                })
                .map(|found| newest = found)
        }
        Batch::Legacy(entry) => entry
            .messages(&mut Decompressor::new(), &mut plain, PLAIN_BYTES_MAX, |message| {
                newest = newest.max(message.timestamp);
            })
            .ok(),
    };
    if opened.is_some() { newest } else { batch.max_timestamp() }
}

/// The first batch from `position` on that reaches `offset`: its last offset and newest timestamp.
fn find(log: &Path, position: u64, offset: i64) -> Result<Option<(i64, i64)>, DumpError> {
    let mut batches = BatchFile::open(&OsDisk, log, None, IO_BYTES)?;
    batches.seek(position);
    loop {
        let placed = match batches.next(&mut |_| {}) {
            Ok(Some(placed)) => placed,
            Ok(None) | Err(LogError::Corrupt { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let batch = batches.batch(&placed)?;
        if batch.last_offset() >= offset {
            return Ok(Some((batch.last_offset(), newest(&batch))));
        }
    }
}
