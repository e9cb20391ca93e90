//! Compaction of whole logs against a plain model (the last value of each key), and crashes at every call of a pass.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use ringdaw::clock::WallMs;
use ringdaw::ids::Offset;
use ringdaw::log::cleaning::{CleanedGroup, CleaningError, CleaningMeans, Owner, Pass};
use ringdaw::log::{FlushScope, Log, LogConfig, Outcome};
use ringdaw::reactor::Disk;
use ringdaw::sim::{Fault, Random, SimDisk};
use ringdaw::wire::batch::{BatchHeader, HEADER_BYTES};
use ringdaw::wire::batch_builder::BatchBuilder;
use ringdaw::wire::compression::{Codec, Decompressor};
use ringdaw::wire::record::Records;

use crate::support::*;

const PATH: &str = "/data/t-0";
const MEANS: CleaningMeans = CleaningMeans { map_bytes: 1 << 16, load_factor: 0.9, io_bytes: 4096 };
const RETENTION_MS: i64 = 1_000;

fn config() -> Arc<LogConfig> {
    Arc::new(LogConfig {
        segment_bytes: 1_500,
        index_interval_bytes: 150,
        cleanup_compact: true,
        cleanup_delete: false,
        min_cleanable_dirty_ratio: 0.0,
        delete_retention_ms: RETENTION_MS,
        file_delete_delay_ms: 0,
        ..LogConfig::default()
    })
}

/// The owner of the log, without a thread between.
struct Direct<'a> {
    log: &'a mut Log,
    disk: &'a dyn Disk,
}

impl Owner for Direct<'_> {
    fn take(&mut self, group: &CleanedGroup) -> bool {
        self.log.take_cleaned(group)
    }

    fn name(&mut self, group: &CleanedGroup) -> bool {
        self.log.name_cleaned(self.disk, group.base_offset).is_ok()
    }
}

fn flush(disk: &dyn Disk, log: &mut Log) {
    let mut files = Vec::new();
    if log.begin_flush(disk, FlushScope::All, &mut files).unwrap().is_some() {
        let result = files.iter().try_for_each(|file| disk.sync_data(file));
        log.on_flushed(result, NOW).unwrap();
    }
    disk.sync_directory(Path::new(PATH)).unwrap();
}

fn clean_with(
    log: &mut Log,
    disk: &dyn Disk,
    now: WallMs,
    means: CleaningMeans,
) -> Result<Option<Pass>, CleaningError> {
    let Some(plan) = log.plan_cleaning(disk, now)? else { return Ok(None) };
    let result = plan.run(disk, means, now, &mut |_| true, &mut Direct { log, disk });
    log.end_cleaning(result.as_ref().ok().map(|pass| pass.first_dirty));
    result.map(Some)
}

fn clean(log: &mut Log, disk: &dyn Disk, now: WallMs) -> Option<Pass> {
    clean_with(log, disk, now, MEANS).unwrap()
}

type Entry = (String, Option<String>);

/// What was sent, by offset: key and value, and what became of its transaction.
#[derive(Default)]
struct Model {
    sent: BTreeMap<i64, Entry>,
    aborted: Vec<(i64, i64)>,
    open: BTreeMap<i64, Vec<(i64, i64)>>,
    sequences: BTreeMap<i64, i32>,
}

impl Model {
    fn is_aborted(&self, offset: i64) -> bool {
        self.aborted.iter().any(|(from, to)| (*from..=*to).contains(&offset))
    }

    /// The last value of each key; keys that ended in a tombstone have none.
    fn newest(&self) -> BTreeMap<String, (i64, String)> {
        let mut newest = BTreeMap::new();
        for (offset, (key, value)) in self.sent.iter().filter(|(offset, _)| !self.is_aborted(**offset)) {
            match value {
                Some(value) => newest.insert(key.clone(), (*offset, value.clone())),
                None => newest.remove(key),
            };
        }
        newest
    }

    fn append(&mut self, log: &mut Log, disk: &dyn Disk, random: &mut Random) {
        // Producers 1 and 2 are idempotent, 3 and 4 transactional, 0 is nobody.
        let producer = random.below(5) as i64;
        if producer >= 3 && random.one_in(3) {
            self.end_transaction(log, disk, producer, random.coin());
            return;
        }
        let codec = Codec::ALL[random.below(5) as usize];
        let mut builder = BatchBuilder::new(codec);
        let sequence = self.sequences.entry(producer).or_default();
        if producer > 0 {
            builder = builder.producer(producer, 0, *sequence);
        }
        builder.transactional = producer >= 3;
        let mut entries: Vec<Entry> = Vec::new();
        for n in 0..=random.below(4) {
            let key = format!("key-{}", random.below(12));
            let value =
                (!random.one_in(5)).then(|| format!("{key} {} {n}", "v".repeat(random.below(90) as usize)));
            let time = NOW.0 + n as i64;
            builder.append(time, Some(key.as_bytes()), value.as_deref().map(str::as_bytes), &[("h", None)]);
            entries.push((key, value));
        }
        *sequence += entries.len() as i32;
        let outcome = append_one(log, disk, builder.build());
        let Outcome::Appended { base_offset, last_offset, .. } = outcome else { panic!("{outcome:?}") };
        self.sent.extend((base_offset.0..).zip(entries));
        if producer >= 3 {
            self.open.entry(producer).or_default().push((base_offset.0, last_offset.0));
        }
    }

    fn end_transaction(&mut self, log: &mut Log, disk: &dyn Disk, producer: i64, commit: bool) {
        let Some(ranges) = self.open.remove(&producer) else { return };
        append_one(log, disk, marker(producer, 0, 0, commit));
        if !commit {
            self.aborted.extend(ranges);
        }
    }

    fn end_all(&mut self, log: &mut Log, disk: &dyn Disk) {
        for producer in [3, 4] {
            self.end_transaction(log, disk, producer, producer == 3);
        }
    }
}

struct Found {
    offset: i64,
    entry: Entry,
}

/// Reads the log as a `read_committed` consumer.
fn read(log: &mut Log, disk: &dyn Disk) -> Vec<Found> {
    let (start, end) = (log.start_offset(), log.end_offset());
    let mut aborted = log.aborted_transactions(disk, start, end).unwrap();
    aborted.sort_by_key(|transaction| transaction.first_offset);
    let mut aborted = aborted.into_iter().peekable();
    let mut skipping = std::collections::BTreeSet::new();
    let mut found = Vec::new();
    for (_, bytes) in read_all(log, disk, start.0, 1 << 20) {
        let header = BatchHeader::parse(&bytes).unwrap();
        while let Some(transaction) = aborted.next_if(|t| t.first_offset <= header.last_offset()) {
            skipping.insert(transaction.producer_id);
        }
        if header.is_control() {
            if header.record_count() == 1 {
                let record = Records::new(&bytes[HEADER_BYTES..], 1).next().unwrap().unwrap();
                if record.key.unwrap()[3] == 0 {
                    skipping.remove(&header.producer_id());
                }
            }
            continue;
        }
        if header.is_transactional() && skipping.contains(&header.producer_id()) {
            continue;
        }
        let (mut decompressor, mut plain) = (Decompressor::new(), Vec::new());
        for record in Records::of(&bytes, &header, &mut decompressor, &mut plain, 1 << 20).unwrap() {
            let record = record.unwrap();
            let text = |field: &[u8]| String::from_utf8(field.to_vec()).unwrap();
            assert!((NOW.0..NOW.0 + 10).contains(&record.timestamp(&header)), "timestamps stay");
            assert_eq!(record.headers.len(), 1, "headers stay");
            let entry = (text(record.key.unwrap()), record.value.map(text));
            found.push(Found { offset: record.offset(&header), entry });
        }
    }
    found
}

fn newest(found: &[Found]) -> BTreeMap<String, (i64, String)> {
    let mut newest = BTreeMap::new();
    for Found { offset, entry: (key, value) } in found {
        match value {
            Some(value) => newest.insert(key.clone(), (*offset, value.clone())),
            None => newest.remove(key),
        };
    }
    newest
}

/// What a log has to say whatever was compacted: nothing new, the last value of each key, and all that is dirty.
fn check(log: &mut Log, disk: &dyn Disk, model: &Model, first_dirty: i64, context: &str) {
    let found = read(log, disk);
    for record in &found {
        assert_eq!(Some(&record.entry), model.sent.get(&record.offset), "{context}: at {}", record.offset);
        assert!(!model.is_aborted(record.offset), "{context}: {} was aborted", record.offset);
    }
    assert!(found.is_sorted_by_key(|record| record.offset), "{context}");
    assert_eq!(newest(&found), model.newest(), "{context}");
    let dirty = model.sent.keys().filter(|offset| **offset >= first_dirty && !model.is_aborted(**offset));
    let kept: Vec<i64> = found.iter().map(|record| record.offset).filter(|o| *o >= first_dirty).collect();
    assert_eq!(kept, dirty.copied().collect::<Vec<i64>>(), "{context}: from {first_dirty} on");
    for (producer, sequence) in model.sequences.iter().filter(|(id, next)| **id > 0 && **next > 0) {
        let last = log.producers().get(*producer).and_then(|p| p.last_batch().copied());
        assert_eq!(last.map(|last| last.last_sequence), Some(sequence - 1), "{context}: producer {producer}");
    }
}

/// A log with some life behind it.
fn lived(disk: &SimDisk, seed: u64, appends: usize) -> (Log, Model, Random) {
    disk.create_directory(Path::new("/data")).unwrap();
    disk.sync_directory(Path::new("/")).unwrap();
    let mut log = create(disk, Path::new(PATH), &config());
    let (mut model, mut random) = (Model::default(), Random::new(seed));
    for _ in 0..appends {
        model.append(&mut log, disk, &mut random);
    }
    flush(disk, &mut log);
    disk.sync_directory(Path::new("/data")).unwrap();
    (log, model, random)
}

/// As after a crash: from the recovery point on, or, with `all`, as if nothing were known to be flushed.
fn reopen(disk: &SimDisk, log: &Log, all: bool) -> Log {
    let facts = facts(false, if all { 0 } else { log.flushed_offset().0 });
    let (mut reopened, recovered) = open(disk, Path::new(PATH), &config(), facts);
    assert_eq!(recovered.cut_bytes, 0, "{recovered:?}");
    assert_eq!(reopened.end_offset(), log.end_offset());
    reopened.advance_high_watermark(log.end_offset());
    reopened
}

#[test]
fn pass_after_pass_the_log_says_the_last_value_of_each_key() {
    let (mut passes, mut shrunk) = (0, 0);
    for seed in 0..60 {
        let disk = SimDisk::new(seed);
        let (mut log, mut model, mut random) = lived(&disk, seed, 60);
        let mut first_dirty = 0;
        let mut now = NOW.0;
        for round in 0..6 {
            let before = log.bytes();
            if let Some(pass) = clean(&mut log, &disk, WallMs(now)) {
                assert!(pass.first_dirty > first_dirty, "seed {seed}");
                first_dirty = pass.first_dirty;
                passes += 1;
                shrunk += usize::from(log.bytes() < before);
            }
            check(&mut log, &disk, &model, first_dirty, &format!("seed {seed}, round {round}"));
            if random.coin() {
                log = reopen(&disk, &log, random.coin());
                log.set_first_dirty(first_dirty);
                check(&mut log, &disk, &model, first_dirty, &format!("seed {seed}, round {round}, reopened"));
            }
            for _ in 0..30 {
                model.append(&mut log, &disk, &mut random);
            }
            if random.coin() {
                model.end_all(&mut log, &disk);
            }
            flush(&disk, &mut log);
            now += RETENTION_MS / 2;
        }
    }
    assert!(passes > 200 && shrunk > 150, "{passes} passes, {shrunk} made a log smaller");
}

#[test]
fn a_map_too_small_for_all_keys_cleans_part_by_part() {
    let disk = SimDisk::new(1);
    let (mut log, mut model, _) = lived(&disk, 1, 200);
    model.end_all(&mut log, &disk);
    flush(&disk, &mut log);
    let small = CleaningMeans { map_bytes: 8 * 24, ..MEANS };
    let mut first_dirty = 0;
    let mut parts = 0;
    while let Some(pass) = clean_with(&mut log, &disk, NOW, small).unwrap() {
        assert!(pass.first_dirty > first_dirty && pass.map_bytes <= small.map_bytes);
        first_dirty = pass.first_dirty;
        parts += 1;
        check(&mut log, &disk, &model, first_dirty, &format!("part {parts}"));
    }
    assert!(parts > 3, "{parts} parts");
}

#[test]
fn a_map_too_small_for_one_batch_is_named_and_changes_nothing() {
    let disk = SimDisk::new(2);
    let (mut log, ..) = lived(&disk, 2, 0);
    let mut model = Model::default();
    for n in 0..20 {
        let mut builder = BatchBuilder::new(Codec::None);
        for key in ["a", "b", "c"] {
            let value = format!("{n} {}", "x".repeat(100));
            builder.append(NOW.0, Some(key.as_bytes()), Some(value.as_bytes()), &[("h", None)]);
            model.sent.insert(model.sent.len() as i64, (key.to_owned(), Some(value)));
        }
        append_one(&mut log, &disk, builder.build());
    }
    flush(&disk, &mut log);
    let tiny = CleaningMeans { map_bytes: 1, ..MEANS };
    let error = clean_with(&mut log, &disk, NOW, tiny).unwrap_err();
    assert!(matches!(error, CleaningError::MapTooSmall { offset: 0, .. }), "{error}");
    check(&mut log, &disk, &model, 0, "nothing has changed");
    assert!(clean(&mut log, &disk, NOW).is_some());
}

#[test]
fn tombstones_go_when_their_time_has_come_and_not_before() {
    let disk = SimDisk::new(5);
    let (mut log, mut model, mut random) = lived(&disk, 5, 0);
    let mut builder = BatchBuilder::new(Codec::Lz4);
    builder.append(NOW.0, Some(b"dead"), Some(b"dead 0"), &[("h", None)]);
    builder.append(NOW.0, Some(b"dead"), None, &[("h", None)]);
    append_one(&mut log, &disk, builder.build());
    model.sent.insert(0, ("dead".into(), Some("dead 0".into())));
    model.sent.insert(1, ("dead".into(), None));
    let mut more = |log: &mut Log, model: &mut Model| {
        for _ in 0..20 {
            model.append(log, &disk, &mut random);
        }
        model.end_all(log, &disk);
        flush(&disk, log);
    };
    let has_tombstone =
        |log: &mut Log| read(log, &disk).iter().any(|found| found.entry == ("dead".into(), None));
    for (after, stays) in [(0, true), (RETENTION_MS - 1, true), (RETENTION_MS, false)] {
        more(&mut log, &mut model);
        let pass = clean(&mut log, &disk, WallMs(NOW.0 + after)).expect("there is dirt");
        assert_eq!(has_tombstone(&mut log), stays, "after {after} ms");
        check(&mut log, &disk, &model, pass.first_dirty, "tombstones");
    }
}

#[test]
fn nothing_beyond_an_open_transaction_or_the_flushed_part_is_touched() {
    let disk = SimDisk::new(6);
    let (mut log, ..) = lived(&disk, 6, 0);
    append_one(&mut log, &disk, transactional(3, 0, 0, &["open"]));
    let keyed = |n: i64| {
        let mut builder = BatchBuilder::new(Codec::None);
        builder.append(NOW.0, Some(b"k"), Some(format!("{n} {}", "x".repeat(300)).as_bytes()), &[]);
        builder.build()
    };
    for n in 0..30 {
        append_one(&mut log, &disk, keyed(n));
    }
    flush(&disk, &mut log);
    assert!(clean(&mut log, &disk, NOW).is_none(), "an open transaction holds everything");
    append_one(&mut log, &disk, marker(3, 0, 0, true));
    let flushed = log.flushed_offset();
    for n in 0..30 {
        append_one(&mut log, &disk, keyed(n));
    }
    let pass = clean(&mut log, &disk, NOW).expect("there is dirt");
    assert!(pass.first_dirty <= flushed.0, "{} is not flushed", pass.first_dirty);
}

#[test]
fn retention_waits_for_a_pass_and_a_swap_that_comes_too_late_is_refused() {
    let disk = SimDisk::new(7);
    let (mut log, mut model, _) = lived(&disk, 7, 120);
    model.end_all(&mut log, &disk);
    flush(&disk, &mut log);
    let plan = log.plan_cleaning(&disk, NOW).unwrap().expect("there is dirt");
    assert!(log.plan_cleaning(&disk, NOW).unwrap().is_none(), "one pass at a time");
    log.set_config(Arc::new(LogConfig { cleanup_delete: true, retention_bytes: 0, ..(*config()).clone() }));
    assert_eq!(log.delete_old_segments(&disk, NOW).unwrap().segments, 0);
    log.end_cleaning(None);
    assert!(log.delete_old_segments(&disk, NOW).unwrap().segments > 0);
    let end = log.end_offset();
    let result = plan.run(&disk, MEANS, NOW, &mut |_| true, &mut Direct { log: &mut log, disk: &disk });
    assert!(result.is_err());
    assert_eq!(log.end_offset(), end);
}

/// A pass that ends at `call` of the disk: the log before it, its model, and whether the call was reached.
fn interrupted(seed: u64, call: u64, fault: Fault) -> (SimDisk, Log, Model, i64, bool) {
    let disk = SimDisk::new(seed);
    let (mut log, mut model, mut random) = lived(&disk, seed, 70);
    let first = clean(&mut log, &disk, NOW).map_or(0, |pass| pass.first_dirty);
    for _ in 0..40 {
        model.append(&mut log, &disk, &mut random);
    }
    model.end_all(&mut log, &disk);
    flush(&disk, &mut log);
    disk.fail_at(disk.calls() + call, fault);
    // Late enough for tombstones and markers of the first pass to go.
    let result = clean_with(&mut log, &disk, WallMs(NOW.0 + RETENTION_MS), MEANS);
    let reached = result.is_err() || disk.has_failed();
    (disk, log, model, first, reached)
}

#[test]
fn a_crash_at_any_call_of_a_pass_leaves_the_last_value_of_each_key() {
    let mut runs = 0;
    for seed in 0..6 {
        for call in 1.. {
            let (disk, log, model, first_dirty, reached) = interrupted(seed, call, Fault::Stop);
            if !reached {
                break;
            }
            let context = format!("seed {seed}, call {call}");
            if (seed + call).is_multiple_of(2) {
                disk.power_cut();
            } else {
                disk.restart_process();
            }
            let mut log = reopen(&disk, &log, call.is_multiple_of(3));
            log.set_first_dirty(first_dirty);
            check(&mut log, &disk, &model, i64::MAX, &context);
            clean(&mut log, &disk, WallMs(NOW.0 + 3 * RETENTION_MS));
            check(&mut log, &disk, &model, i64::MAX, &format!("{context}, cleaned again"));
            let names = disk.list(Path::new(PATH)).unwrap();
            let left = names.iter().filter(|e| e.name.ends_with(".cleaned") || e.name.ends_with(".swap"));
            assert_eq!(left.count(), 0, "{context}: {names:?}");
            runs += 1;
        }
    }
    assert!(runs > 300, "{runs} runs");
}

#[test]
fn an_error_or_no_room_at_any_call_of_a_pass_leaves_a_log_that_serves() {
    for fault in [Fault::Eio, Fault::NoSpace] {
        for call in 1.. {
            let (disk, mut log, model, first_dirty, reached) = interrupted(3, call, fault);
            if !reached {
                break;
            }
            let context = format!("{fault:?} at call {call}");
            if !log.has_failed() {
                check(&mut log, &disk, &model, i64::MAX, &context);
            }
            disk.restart_process();
            let mut log = reopen(&disk, &log, call.is_multiple_of(3));
            log.set_first_dirty(first_dirty);
            check(&mut log, &disk, &model, i64::MAX, &format!("{context}, reopened"));
        }
    }
}

#[test]
fn offsets_of_a_compacted_log_are_found_from_any_offset_on() {
    let disk = SimDisk::new(8);
    let (mut log, mut model, _) = lived(&disk, 8, 150);
    model.end_all(&mut log, &disk);
    flush(&disk, &mut log);
    clean(&mut log, &disk, NOW).expect("there is dirt");
    let all: Vec<i64> = read_all(&mut log, &disk, 0, 1 << 20)
        .iter()
        .map(|(_, bytes)| BatchHeader::parse(bytes).unwrap().last_offset())
        .collect();
    for offset in 0..log.end_offset().0 {
        let next = read_all(&mut log, &disk, offset, 300);
        let expected = all.iter().filter(|last| **last >= offset).count();
        assert_eq!(next.len(), expected, "from {offset}");
    }
    let found = log.offset_for_timestamp(&disk, NOW.0, Offset(i64::MAX)).unwrap();
    assert!(found.is_some());
}
