//! A log on real files: what was appended is read back, before and after every kind of stop.

use std::path::PathBuf;
use std::sync::Arc;

use ringdaw::ids::Offset;
use ringdaw::log::{AppendRefusal, CloseFlush, FlushScope, Log, LogConfig, Outcome, Read, ReadError};
use ringdaw::producer::Refusal;
use ringdaw::reactor::{Disk, OpenMode, OsDisk};

use crate::support::*;

struct Place {
    _directory: tempfile::TempDir,
    path: PathBuf,
}

fn place() -> Place {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("t-0");
    Place { _directory: directory, path }
}

fn small_segments() -> Arc<LogConfig> {
    Arc::new(LogConfig { segment_bytes: 600, index_interval_bytes: 100, ..LogConfig::default() })
}

#[test]
fn what_is_appended_is_read_back_in_order() {
    let place = place();
    let mut log = create(&OsDisk, &place.path, &config());
    let outcomes = append(&mut log, &OsDisk, vec![batch(&["a", "b"]), batch(&["c"])]);
    assert_eq!(outcomes, [appended(0, 1), appended(2, 2)]);
    assert_eq!(append_one(&mut log, &OsDisk, batch(&["d"])), appended(3, 3));
    assert_eq!(values(&mut log, &OsDisk), ["a", "b", "c", "d"]);
    assert_eq!(log.end_offset(), Offset(4));
}

#[test]
fn a_clean_stop_and_start_reads_no_more_than_the_tail() {
    let place = place();
    let config = small_segments();
    let mut log = create(&OsDisk, &place.path, &config);
    for i in 0..40 {
        append_one(&mut log, &OsDisk, batch(&[&format!("value-{i}")]));
    }
    log.close(&OsDisk, CloseFlush::Each, NOW).unwrap();
    let (mut log, recovered) = open(&OsDisk, &place.path, &config, facts(true, 40));
    assert_eq!(recovered, ringdaw::log::Recovered::default());
    assert_eq!((log.end_offset(), log.topic_id()), (Offset(40), Some([7; 16])));
    assert!(log.segment_count() > 5);
    let expected: Vec<String> = (0..40).map(|i| format!("value-{i}")).collect();
    assert_eq!(values(&mut log, &OsDisk), expected);
    assert_eq!(append_one(&mut log, &OsDisk, batch(&["more"])), appended(40, 40));
}

/// Whether the file system here can reserve blocks behind the end of a file.
fn can_reserve(place: &Place) -> bool {
    let file = OsDisk.open(&place._directory.path().join("probe"), OpenMode::CreateNew).unwrap();
    OsDisk.allocate(&file, 0, 1 << 20).is_ok()
}

#[test]
fn blocks_are_reserved_ahead_of_a_log_that_grows_and_given_back_when_it_stops_or_rolls() {
    use std::os::unix::fs::MetadataExt;
    let place = place();
    let config = Arc::new(LogConfig { segment_bytes: 1 << 20, ..LogConfig::default() });
    let mut log = create(&OsDisk, &place.path, &config);
    let reserved = |base: u64| {
        let file = std::fs::metadata(place.path.join(format!("{base:020}.log"))).unwrap();
        (file.blocks() * 512).saturating_sub(file.len().next_multiple_of(64 << 10))
    };
    let big = "x".repeat(30_000);
    append_one(&mut log, &OsDisk, batch(&[&big]));
    assert_eq!(reserved(0), 0, "a small log holds no more than it needs");
    for _ in 0..3 {
        append_one(&mut log, &OsDisk, batch(&[&big]));
    }
    if can_reserve(&place) {
        assert!(reserved(0) >= 30_000, "{}", reserved(0));
    }
    // A kill leaves what was reserved; the next start gives it back, and reserves again.
    drop(log);
    let (mut log, _) = open(&OsDisk, &place.path, &config, facts(false, 0));
    assert_eq!((reserved(0), log.end_offset()), (0, Offset(4)));
    append_one(&mut log, &OsDisk, batch(&[&big]));
    log.close(&OsDisk, CloseFlush::Each, NOW).unwrap();
    assert_eq!(reserved(0), 0);
    let (mut log, _) = open(&OsDisk, &place.path, &config, facts(true, 5));
    while log.segment_count() == 1 {
        append_one(&mut log, &OsDisk, batch(&[&big]));
    }
    assert_eq!(reserved(0), 0);
    assert!(std::fs::metadata(place.path.join("00000000000000000000.log")).unwrap().len() <= 1 << 20);
    assert!(values(&mut log, &OsDisk).iter().all(|value| *value == big));
}

#[test]
fn recovery_keeps_whole_batches_and_drops_the_torn_one_at_every_byte() {
    let place = place();
    let mut log = create(&OsDisk, &place.path, &config());
    append(&mut log, &OsDisk, vec![batch(&["a"]), batch(&["b"])]);
    let whole = log.bytes();
    let last = batch(&["c", "d"]);
    append_one(&mut log, &OsDisk, last.clone());
    drop(log);
    let file = place.path.join("00000000000000000000.log");
    let bytes = std::fs::read(&file).unwrap();
    for cut in 0..=last.len() {
        std::fs::write(&file, &bytes[..whole as usize + cut]).unwrap();
        let (mut log, recovered) = open(&OsDisk, &place.path, &config(), facts(false, 0));
        if cut == last.len() {
            assert_eq!((log.end_offset(), recovered.cut_bytes), (Offset(4), 0));
        } else {
            assert_eq!((log.end_offset(), recovered.cut_bytes), (Offset(2), cut as u64));
            assert_eq!(values(&mut log, &OsDisk), ["a", "b"]);
            assert_eq!(std::fs::metadata(&file).unwrap().len(), whole);
        }
    }
}

#[test]
fn a_damaged_batch_ends_the_log_and_later_segments_go() {
    let place = place();
    let config = small_segments();
    let mut log = create(&OsDisk, &place.path, &config);
    for i in 0..40 {
        append_one(&mut log, &OsDisk, batch(&[&format!("value-{i}")]));
    }
    let bases: Vec<i64> = log.segments().map(|(base, _)| base.0).collect();
    drop(log);
    let file = place.path.join(format!("{:020}.log", bases[2]));
    let mut bytes = std::fs::read(&file).unwrap();
    let at = bytes.len() - 1;
    bytes[at] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let (mut log, recovered) = open(&OsDisk, &place.path, &config, facts(false, 0));
    assert_eq!(log.end_offset(), Offset(bases[3] - 1));
    assert_eq!(log.segment_count(), 3);
    assert!(recovered.cut_bytes > 0);
    let expected: Vec<String> = (0..bases[3] - 1).map(|i| format!("value-{i}")).collect();
    assert_eq!(values(&mut log, &OsDisk), expected);
}

#[test]
fn every_offset_and_every_limit_gives_whole_batches() {
    let place = place();
    let config = small_segments();
    let mut log = create(&OsDisk, &place.path, &config);
    for i in 0..30 {
        append_one(&mut log, &OsDisk, batch(&["x", &"y".repeat(i), "z"]));
    }
    for offset in 0..=90 {
        for bytes_max in [1, 80, 200, 1000] {
            let all = read_all(&mut log, &OsDisk, offset, bytes_max);
            let bases: Vec<i64> = all.iter().map(|(base, _)| *base).collect();
            let expected: Vec<i64> = (0..30).map(|i| i * 3).filter(|base| base + 2 >= offset).collect();
            assert_eq!(bases, expected, "from {offset} by {bytes_max}");
        }
    }
    for limit in 0..=90i64 {
        let read = Read { offset: Offset(0), bytes_max: 1 << 20, limit: Offset(limit), at_least_one: true };
        let place = log.read(&OsDisk, read).unwrap();
        let bytes = bytes_of(&OsDisk, &place);
        let last = ringdaw::wire::batch::batches(&bytes).last().map(|b| b.unwrap().1.last_offset());
        assert!(last.is_none_or(|last| last < limit), "limit {limit}, last {last:?}");
    }
}

#[test]
fn offsets_outside_the_log_are_refused_with_its_bounds() {
    let place = place();
    let mut log = create(&OsDisk, &place.path, &config());
    append_one(&mut log, &OsDisk, batch(&["a"]));
    for offset in [-1, 2] {
        let read = Read { offset: Offset(offset), bytes_max: 1, limit: Offset(1), at_least_one: true };
        match log.read(&OsDisk, read) {
            Err(ReadError::OutOfRange { start: Offset(0), end: Offset(1), .. }) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn duplicates_gaps_and_old_epochs_are_told_apart_within_one_append() {
    let place = place();
    let mut log = create(&OsDisk, &place.path, &config());
    let outcomes = append(
        &mut log,
        &OsDisk,
        vec![
            idempotent(9, 1, 0, &["a", "b"]),
            idempotent(9, 1, 0, &["a", "b"]),
            idempotent(9, 1, 5, &["gap"]),
            idempotent(9, 0, 2, &["old"]),
            idempotent(9, 1, 2, &["c"]),
            vec![0; 61],
        ],
    );
    let gap = Refusal::OutOfOrder { producer_id: 9, expected: 2, found: 5 };
    let old = Refusal::StaleEpoch { producer_id: 9, current: 1, found: 0 };
    assert_eq!(
        outcomes,
        [
            appended(0, 1),
            Outcome::Duplicate { base_offset: Offset(0), last_offset: Offset(1), timestamp: NOW.0 },
            Outcome::Refused(AppendRefusal::Producer(gap)),
            Outcome::Refused(AppendRefusal::Producer(old)),
            appended(2, 2),
            Outcome::Refused(AppendRefusal::NotABatch),
        ]
    );
    assert_eq!(values(&mut log, &OsDisk), ["a", "b", "c"]);
}

#[test]
fn producer_state_survives_a_clean_stop_and_a_crash() {
    for clean in [true, false] {
        let place = place();
        let config = small_segments();
        let mut log = create(&OsDisk, &place.path, &config);
        for i in 0..20 {
            append_one(&mut log, &OsDisk, idempotent(9, 1, i, &["value"]));
            append_one(&mut log, &OsDisk, batch(&["other"]));
        }
        if clean {
            log.close(&OsDisk, CloseFlush::Each, NOW).unwrap();
        }
        drop(log);
        let (mut log, _) = open(&OsDisk, &place.path, &config, facts(clean, if clean { 40 } else { 0 }));
        let again = append_one(&mut log, &OsDisk, idempotent(9, 1, 19, &["value"]));
        assert!(matches!(again, Outcome::Duplicate { base_offset: Offset(38), .. }), "{again:?}");
        assert_eq!(append_one(&mut log, &OsDisk, idempotent(9, 1, 20, &["value"])), appended(40, 40));
    }
}

#[test]
fn transactions_hold_back_the_stable_offset_and_aborted_ones_are_listed() {
    let place = place();
    let mut log = create(&OsDisk, &place.path, &config());
    append_one(&mut log, &OsDisk, transactional(1, 0, 0, &["a"]));
    append_one(&mut log, &OsDisk, transactional(2, 0, 0, &["b"]));
    assert_eq!(log.last_stable_offset(), Offset(0));
    append_one(&mut log, &OsDisk, marker(1, 0, 0, false));
    assert_eq!(log.last_stable_offset(), Offset(1));
    append_one(&mut log, &OsDisk, marker(2, 0, 0, true));
    assert_eq!(log.last_stable_offset(), Offset(4));
    for reopened in [false, true] {
        let aborted = log.aborted_transactions(&OsDisk, Offset(0), Offset(4)).unwrap();
        let found: Vec<_> = aborted.iter().map(|a| (a.producer_id, a.first_offset, a.last_offset)).collect();
        assert_eq!(found, [(1, 0, 2)], "reopened: {reopened}");
        log = open(&OsDisk, &place.path, &config(), facts(false, 0)).0;
    }
}

#[test]
fn a_flush_moves_the_recovery_point_and_appends_go_on_meanwhile() {
    let place = place();
    let config = small_segments();
    let mut log = create(&OsDisk, &place.path, &config);
    for _ in 0..20 {
        append_one(&mut log, &OsDisk, batch(&["value"]));
    }
    let mut files = Vec::new();
    let upto = log.begin_flush(&OsDisk, FlushScope::All, &mut files).unwrap();
    assert_eq!(upto, Some(Offset(20)));
    assert!(files.len() > 2, "all segments and the directories");
    append_one(&mut log, &OsDisk, batch(&["later"]));
    assert_eq!(log.begin_flush(&OsDisk, FlushScope::All, &mut files).unwrap(), None);
    assert_eq!(log.recovery_point(&OsDisk).unwrap(), Offset(0));
    for file in &files {
        OsDisk.sync_data(file).unwrap();
    }
    assert_eq!(log.on_flushed(Ok(()), NOW).unwrap(), Offset(20));
    assert_eq!(log.recovery_point(&OsDisk).unwrap(), Offset(20));
    files.clear();
    assert_eq!(log.begin_flush(&OsDisk, FlushScope::All, &mut files).unwrap(), Some(Offset(21)));
    assert_eq!(files.len(), 1, "only the active segment is left");
    let error = log.on_flushed(Err(std::io::Error::other("EIO")), NOW).unwrap_err();
    assert!(error.to_string().contains("flush"), "{error}");
    assert!(log.has_failed());
    let (result, outcomes) = try_append(&mut log, &OsDisk, vec![batch(&["x"])]);
    assert!(result.is_err());
    assert_eq!(outcomes, [Outcome::Refused(AppendRefusal::Failed)]);
}

#[test]
fn timestamps_find_the_first_record_at_or_after_them() {
    let place = place();
    let config = small_segments();
    let mut log = create(&OsDisk, &place.path, &config);
    for i in 0..50 {
        append_one(&mut log, &OsDisk, batch_at(1000 + i * 10, &["a", "b"]));
    }
    let limit = log.end_offset();
    for i in 0..50 {
        for timestamp in [1000 + i * 10 - 9, 1000 + i * 10] {
            let found = log.offset_for_timestamp(&OsDisk, timestamp, limit).unwrap().unwrap();
            assert_eq!((found.timestamp, found.offset), (1000 + i * 10, Offset(i * 2)));
        }
    }
    assert_eq!(log.offset_for_timestamp(&OsDisk, 1491, limit).unwrap(), None);
    let newest = log.offset_of_max_timestamp(&OsDisk, limit).unwrap().unwrap();
    assert_eq!((newest.timestamp, newest.offset), (1490, Offset(98)));
}

#[test]
fn an_idle_log_is_small() {
    assert!(size_of::<Log>() < 1024, "{}", size_of::<Log>());
}

#[test]
fn a_cut_at_every_offset_leaves_what_was_below_and_goes_on_in_a_new_file() {
    for cut in 0..=24i64 {
        for reopen in [false, true] {
            let place = place();
            let config =
                Arc::new(LogConfig { segment_bytes: 350, index_interval_bytes: 100, ..LogConfig::default() });
            let mut log = create(&OsDisk, &place.path, &config);
            for i in 0..12 {
                append_one(&mut log, &OsDisk, idempotent(5, 0, i * 2, &[&format!("a{i}"), &format!("b{i}")]));
            }
            let files = log.segment_count();
            assert!(files > 2);
            let end = log.truncate_to(&OsDisk, Offset(cut), NOW).unwrap();
            // A batch that holds the offset goes whole.
            assert_eq!(end, Offset(cut / 2 * 2), "cut at {cut}");
            assert!(log.high_watermark() <= end);
            if reopen {
                log = open(&OsDisk, &place.path, &config, facts(false, 0)).0;
                assert_eq!(log.end_offset(), end, "cut at {cut}");
            }
            let sequence = end.0 as i32;
            let outcome = append_one(&mut log, &OsDisk, idempotent(5, 0, sequence, &["new"]));
            assert_eq!(outcome, appended(end.0, end.0), "cut at {cut}, reopened: {reopen}");
            let mut expected: Vec<String> =
                (0..end.0 / 2).flat_map(|i| [format!("a{i}"), format!("b{i}")]).collect();
            expected.push("new".to_owned());
            assert_eq!(values(&mut log, &OsDisk), expected, "cut at {cut}");
            if cut < 24 && !reopen {
                let new_file = place.path.join(format!("{:020}.log", end.0));
                assert!(new_file.exists(), "cut at {cut}");
            }
        }
    }
}

#[test]
fn a_log_that_begins_anew_has_only_what_comes_next() {
    let place = place();
    let mut log = create(&OsDisk, &place.path, &small_segments());
    for _ in 0..12 {
        append_one(&mut log, &OsDisk, batch(&["value"]));
    }
    log.restart_from(&OsDisk, Offset(100), NOW).unwrap();
    assert_eq!((log.start_offset(), log.end_offset()), (Offset(100), Offset(100)));
    assert_eq!(append_one(&mut log, &OsDisk, batch(&["new"])), appended(100, 100));
    assert_eq!(values(&mut log, &OsDisk), ["new"]);
}

#[test]
fn retention_renames_at_once_and_removes_after_the_delay() {
    let place = place();
    let config = Arc::new(LogConfig { retention_bytes: 900, ..(*small_segments()).clone() });
    let mut log = create(&OsDisk, &place.path, &config);
    for i in 0..40 {
        append_one(&mut log, &OsDisk, batch(&[&format!("value-{i}")]));
    }
    let deleted = log.delete_old_segments(&OsDisk, NOW).unwrap();
    assert!(deleted.segments >= 3 && log.bytes() >= 900, "{deleted:?}");
    let start = log.start_offset();
    assert!(start > Offset(0));
    assert_eq!(values(&mut log, &OsDisk).len() as i64, 40 - start.0);
    let count = |suffix: &str| {
        OsDisk.list(&place.path).unwrap().iter().filter(|entry| entry.name.ends_with(suffix)).count()
    };
    assert!(count(".log.deleted") == deleted.segments && count(".log") == log.segment_count());
    assert_eq!(log.remove_expired(&OsDisk, NOW).unwrap(), 0);
    let later = ringdaw::clock::WallMs(NOW.0 + config.file_delete_delay_ms);
    assert!(log.remove_expired(&OsDisk, later).unwrap() >= deleted.segments * 3);
    assert_eq!(count(".deleted"), 0);
    let (mut log, _) = open(&OsDisk, &place.path, &config, facts(false, 0));
    assert_eq!((log.start_offset(), log.end_offset()), (start, Offset(40)));
    assert_eq!(append_one(&mut log, &OsDisk, batch(&["x"])), appended(40, 40));
}

#[test]
fn when_everything_is_old_a_new_segment_is_all_that_stays() {
    let place = place();
    let config = Arc::new(LogConfig { retention_ms: 1000, ..(*small_segments()).clone() });
    let mut log = create(&OsDisk, &place.path, &config);
    for i in 0..10 {
        append_one(&mut log, &OsDisk, idempotent(3, 0, i, &["value"]));
    }
    let later = ringdaw::clock::WallMs(NOW.0 + 1001);
    log.delete_old_segments(&OsDisk, later).unwrap();
    assert_eq!((log.start_offset(), log.end_offset(), log.bytes()), (Offset(10), Offset(10), 0));
    assert_eq!(log.delete_old_segments(&OsDisk, later).unwrap().segments, 0, "an empty one stays");
    assert_eq!(append_one(&mut log, &OsDisk, idempotent(3, 0, 10, &["value"])), appended(10, 10));
    let (mut log, _) = open(&OsDisk, &place.path, &config, facts(false, 0));
    assert_eq!(values(&mut log, &OsDisk), ["value"]);
}

#[test]
fn deleted_records_are_out_of_reach_and_stay_so_by_the_checkpoint() {
    let place = place();
    let mut log = create(&OsDisk, &place.path, &small_segments());
    for i in 0..20 {
        append_one(&mut log, &OsDisk, batch(&[&format!("value-{i}")]));
    }
    log.delete_records_before(Offset(7)).unwrap();
    assert!(matches!(log.delete_records_before(Offset(21)), Err(ReadError::OutOfRange { .. })));
    log.delete_old_segments(&OsDisk, NOW).unwrap();
    let start = log.start_for_checkpoint().unwrap_or(log.start_offset());
    assert_eq!(start, Offset(7));
    let facts = ringdaw::log::OpenFacts { log_start: start, ..facts(false, 7) };
    let (mut log, _) = open(&OsDisk, &place.path, &small_segments(), facts);
    assert_eq!(log.start_offset(), Offset(7));
    let read = Read { offset: Offset(6), bytes_max: 1000, limit: Offset(20), at_least_one: true };
    assert!(matches!(log.read(&OsDisk, read), Err(ReadError::OutOfRange { .. })));
}
