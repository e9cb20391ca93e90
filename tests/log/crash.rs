//! Crashes, errors and full disks at every single call that changes something, on the simulated disk.

use std::path::Path;
use std::sync::Arc;

use ringdaw::ids::Offset;
use ringdaw::log::checkpoint::{self, Checkpoint};
use ringdaw::log::directory::LogDirectory;
use ringdaw::log::{
    AppendRefusal, CloseFlush, FlushScope, Log, LogConfig, LogError, Outcome, Read, Recovered,
};
use ringdaw::reactor::Disk;
use ringdaw::sim::{Fault, SimDisk};

use crate::support::*;

const DIRECTORY: &str = "/data";

/// A disk whose log directory is there to stay.
fn disk_with_directory(seed: u64) -> SimDisk {
    let disk = SimDisk::new(seed);
    disk.create_directory(Path::new(DIRECTORY)).unwrap();
    disk.sync_directory(Path::new("/")).unwrap();
    disk
}

fn config() -> Arc<LogConfig> {
    Arc::new(LogConfig { segment_bytes: 400, index_interval_bytes: 100, ..LogConfig::default() })
}

/// What a client and an operator know when the run has ended.
#[derive(Default, Debug)]
struct Known {
    /// Values sent, the last ones perhaps without an answer.
    sent: Vec<String>,
    acknowledged: usize,
    flushed: usize,
    stopped_cleanly: bool,
}

/// A broker's life with one partition: start, appends with rolls, flushes, checkpoints, clean stop.
fn live(disk: &SimDisk, known: &mut Known, appends: usize) -> Result<(), Box<dyn std::error::Error>> {
    let mut directory = LogDirectory::open(disk, Path::new(DIRECTORY))?;
    directory.claim(disk, 1, "cluster", NOW)?;
    let path = directory.replica_path("t", 0);
    let mut log = match directory.replicas.first() {
        Some(replica) => Log::open(disk, &path, config(), replica.facts(directory.clean, NOW))?.0,
        None => Log::create(disk, &path, Some([7; 16]), config(), NOW)?,
    };
    for i in 0..appends {
        let value = format!("value-{}", known.sent.len());
        known.sent.push(value.clone());
        let sequence = i32::try_from(known.sent.len())? - 1;
        let (result, outcomes) = try_append(&mut log, disk, vec![idempotent(4, 0, sequence, &[&value])]);
        result?;
        assert!(matches!(outcomes[0], Outcome::Appended { .. }), "{outcomes:?}");
        known.acknowledged = known.sent.len();
        log.advance_high_watermark(log.end_offset());
        if i % 5 == 4 {
            flush(disk, &mut log)?;
            known.flushed = log.flushed_offset().0 as usize;
        }
        if i % 10 == 9 {
            let point = log.recovery_point(disk)?.0;
            let mark = log.high_watermark().0;
            let at = Path::new(DIRECTORY);
            checkpoint::write(disk, at, Checkpoint::RecoveryPoint, [("t", 0, point)].into_iter())?;
            checkpoint::write(disk, at, Checkpoint::HighWatermark, [("t", 0, mark)].into_iter())?;
        }
    }
    log.close(disk, CloseFlush::ByCaller, NOW)?;
    let end = log.end_offset().0;
    let ends = || [("t", 0, end)].into_iter();
    directory.stop_clean(disk, ends(), ends(), [].into_iter())?;
    known.stopped_cleanly = true;
    known.flushed = known.acknowledged;
    Ok(())
}

fn flush(disk: &dyn Disk, log: &mut Log) -> Result<(), LogError> {
    let mut files = Vec::new();
    if log.begin_flush(disk, FlushScope::All, &mut files)?.is_some() {
        let result = files.iter().try_for_each(|file| disk.sync_data(file));
        log.on_flushed(result, NOW)?;
    }
    Ok(())
}

/// Opens what is left and checks that it is a beginning of what was sent, at least `at_least` long.
fn check(disk: &SimDisk, known: &Known, at_least: usize, context: &str) {
    let directory = LogDirectory::open(disk, Path::new(DIRECTORY)).unwrap();
    let path = directory.replica_path("t", 0);
    let (mut log, recovered) = match directory.replicas.first() {
        Some(replica) => Log::open(disk, &path, config(), replica.facts(directory.clean, NOW)).unwrap(),
        None => {
            assert_eq!(at_least, 0, "{context}: the partition is gone");
            (Log::create(disk, &path, None, config(), NOW).unwrap(), Recovered::default())
        }
    };
    assert_eq!(recovered.lost_below_recovery_point, None, "{context}: {recovered:?}");
    let found = values(&mut log, disk);
    assert!(found.len() >= at_least, "{context}: {} of {at_least} values left, {recovered:?}", found.len());
    assert_eq!(found, known.sent[..found.len()], "{context}");
    assert!(log.epochs().latest().is_none_or(|epoch| epoch.start_offset == 0), "{context}");
    if !found.is_empty() {
        assert_eq!(log.epochs().entries().len(), 1, "{context}");
        let last = log.producers().get(4).unwrap().last_batch().unwrap().last_offset;
        assert_eq!(last, found.len() as i64 - 1, "{context}: producer state is that of the log");
    }
    // Life goes on: appended, stopped, started, all there.
    let sequence = found.len() as i32;
    let outcome = append_one(&mut log, disk, idempotent(4, 0, sequence, &["after"]));
    assert_eq!(outcome, appended(found.len() as i64, found.len() as i64), "{context}");
    log.close(disk, CloseFlush::Each, NOW).unwrap();
    let end = log.end_offset().0;
    let (mut log, recovered) = open(disk, &path, &config(), facts(true, end));
    assert_eq!((recovered.cut_bytes, log.end_offset().0), (0, end), "{context}: {recovered:?}");
    let mut expected = found;
    expected.push("after".to_owned());
    assert_eq!(values(&mut log, disk), expected, "{context}");
}

/// Runs two lives on a new disk with `fault` at `call`; `None` when that call was never reached.
fn run(seed: u64, call: u64, fault: Fault) -> Option<(SimDisk, Known)> {
    let disk = SimDisk::new(seed);
    disk.fail_at(call, fault);
    let mut known = Known::default();
    let mut result = live(&disk, &mut known, 22);
    if result.is_ok() {
        known.stopped_cleanly = false;
        result = live(&disk, &mut known, 12);
    }
    match result {
        Ok(()) if !disk.has_failed() => None,
        _ => Some((disk, known)),
    }
}

#[test]
fn a_power_cut_at_any_call_loses_nothing_that_was_flushed() {
    let mut runs = 0;
    for seed in 0..4 {
        for call in 1.. {
            let Some((disk, known)) = run(seed, call, Fault::Stop) else { break };
            disk.power_cut();
            check(&disk, &known, known.flushed, &format!("seed {seed}, power cut at call {call}"));
            runs += 1;
        }
    }
    assert!(runs > 400, "{runs} runs");
}

#[test]
fn a_killed_process_at_any_call_loses_nothing_that_was_acknowledged() {
    for call in 1.. {
        let Some((disk, known)) = run(9, call, Fault::Stop) else { break };
        disk.restart_process();
        check(&disk, &known, known.acknowledged, &format!("killed at call {call}"));
    }
}

#[test]
fn an_error_at_any_call_loses_nothing_that_was_flushed() {
    for seed in 0..2 {
        for call in 1.. {
            let Some((disk, known)) = run(seed, call, Fault::Eio) else { break };
            disk.power_cut();
            check(&disk, &known, known.flushed, &format!("seed {seed}, EIO at call {call}"));
        }
    }
}

#[test]
fn short_counts_change_nothing() {
    for seed in 0..20 {
        let disk = SimDisk::new(seed);
        disk.set_short_counts(true);
        let mut known = Known::default();
        live(&disk, &mut known, 30).unwrap();
        check(&disk, &known, 30, &format!("seed {seed}"));
    }
}

#[test]
fn a_full_disk_refuses_and_goes_on_when_there_is_room_again() {
    let mut refused = 0;
    for call in 1.. {
        let disk = disk_with_directory(call);
        let path = Path::new("/data/t-0");
        let mut log = create(&disk, path, &config());
        let before = disk.calls();
        disk.fail_at(before + call, Fault::NoSpace);
        let mut expected = Vec::new();
        let mut sequence = 0;
        for i in 0..30 {
            let value = format!("value-{i}");
            let batches = vec![
                idempotent(4, 0, sequence, &[&value]),
                idempotent(4, 0, sequence, &[&value]),
                idempotent(4, 0, sequence + 1, &["second"]),
            ];
            let (result, outcomes) = try_append(&mut log, &disk, batches);
            result.unwrap_or_else(|e| panic!("no room is no failure: {e}"));
            match outcomes[0] {
                Outcome::Appended { .. } => {
                    expected.push(value);
                    sequence += 1;
                }
                other => {
                    assert_eq!(other, Outcome::Refused(AppendRefusal::NoSpace), "call {call}");
                    assert_eq!(outcomes[1], other, "a duplicate of what is not there");
                    refused += 1;
                }
            }
            match outcomes[2] {
                Outcome::Appended { .. } => {
                    expected.push("second".to_owned());
                    sequence += 1;
                }
                other => assert_eq!(other, Outcome::Refused(AppendRefusal::NoSpace), "call {call}"),
            }
        }
        assert!(!log.has_failed());
        assert_eq!(values(&mut log, &disk), expected, "call {call}");
        let done = !disk.has_failed();
        if let Err(error) = log.close(&disk, CloseFlush::Each, NOW) {
            assert!(disk.has_failed() && !log.has_failed(), "call {call}: {error}");
            log.close(&disk, CloseFlush::Each, NOW).unwrap();
        }
        for clean in [true, false] {
            let (mut log, _) = open(&disk, path, &config(), facts(clean, 0));
            assert_eq!(values(&mut log, &disk), expected, "call {call}, clean {clean}");
        }
        if done {
            break;
        }
    }
    assert!(refused > 30, "{refused}");
}

#[test]
fn an_index_without_room_does_not_take_a_batch_back() {
    // Every batch has an entry here, so the indexes are written out once in 512 batches.
    let config = Arc::new(LogConfig { index_interval_bytes: 1, ..LogConfig::default() });
    for call in 510..520 {
        let disk = disk_with_directory(call);
        let path = Path::new("/data/t-0");
        let mut log = create(&disk, path, &config);
        disk.fail_at(disk.calls() + call, Fault::NoSpace);
        let mut expected = Vec::new();
        for i in 0..600 {
            let value = format!("value-{i}");
            let bytes = batch_at(NOW.0 + i, &[&value]);
            match try_append(&mut log, &disk, vec![bytes]) {
                (Ok(()), outcomes) if matches!(outcomes[0], Outcome::Appended { .. }) => expected.push(value),
                (Ok(()), outcomes) => assert_eq!(outcomes, [Outcome::Refused(AppendRefusal::NoSpace)]),
                (Err(error), _) => panic!("call {call}: {error}"),
            }
            log.advance_high_watermark(log.end_offset());
        }
        assert!(disk.has_failed() && expected.len() >= 599, "call {call}: {}", expected.len());
        assert_eq!(values(&mut log, &disk), expected, "call {call}");
        log.close(&disk, CloseFlush::Each, NOW).unwrap();
        let (mut log, recovered) = open(&disk, path, &config, facts(true, 0));
        assert_eq!((recovered, values(&mut log, &disk)), (Recovered::default(), expected), "call {call}");
    }
}

#[test]
fn a_flush_error_is_final_though_the_next_flush_would_succeed() {
    let disk = disk_with_directory(1);
    let path = Path::new("/data/t-0");
    let mut log = create(&disk, path, &config());
    append_one(&mut log, &disk, batch(&["a"]));
    flush(&disk, &mut log).unwrap();
    append_one(&mut log, &disk, batch(&["b"]));
    disk.fail_at(disk.calls() + 1, Fault::Eio);
    assert!(flush(&disk, &mut log).is_err());
    assert!(flush(&disk, &mut log).is_err(), "no second flush is tried");
    assert!(log.recovery_point(&disk).is_err() && log.close(&disk, CloseFlush::Each, NOW).is_err());
    let read = Read { offset: Offset(0), bytes_max: 100, limit: Offset(2), at_least_one: true };
    assert!(log.read(&disk, read).is_err(), "nothing is served from the cache of a failed directory");
    drop(log);
    disk.power_cut();
    let (mut log, _) = open(&disk, path, &config(), facts(false, 1));
    assert_eq!(values(&mut log, &disk), ["a"]);
}

#[test]
fn a_power_cut_during_a_cut_leaves_no_hole() {
    for seed in 0..6 {
        for call in 1.. {
            let disk = disk_with_directory(seed);
            let path = Path::new("/data/t-0");
            let mut log = create(&disk, path, &config());
            for i in 0..20 {
                append_one(&mut log, &disk, batch(&[&format!("value-{i}")]));
            }
            flush(&disk, &mut log).unwrap();
            disk.fail_at(disk.calls() + call, Fault::Stop);
            let cut = log.truncate_to(&disk, Offset(7), NOW);
            let reached = disk.has_failed();
            drop(log);
            disk.power_cut();
            // The recovery point on disk is still the one from before the cut.
            let (mut log, _) = open(&disk, path, &config(), facts(false, 20));
            let found = values(&mut log, &disk);
            let expected: Vec<String> = (0..found.len()).map(|i| format!("value-{i}")).collect();
            assert_eq!(found, expected, "seed {seed}, call {call}");
            assert!(found.len() >= 7, "seed {seed}, call {call}: {} left", found.len());
            if !reached {
                assert!(cut.is_ok());
                break;
            }
        }
    }
}

#[test]
fn no_room_for_what_is_reserved_ahead_refuses_nothing_that_has_room() {
    let disk = disk_with_directory(7);
    let mut log = create(&disk, &Path::new(DIRECTORY).join("t-0"), &Arc::new(LogConfig::default()));
    let big = "x".repeat(30_000);
    for _ in 0..3 {
        append_one(&mut log, &disk, batch(&[&big]));
    }
    // The next append reserves first, then writes.
    disk.fail_at(disk.calls() + 1, Fault::NoSpace);
    assert_eq!(append_one(&mut log, &disk, batch(&[&big])), appended(3, 3));
    assert!(disk.has_failed());
    assert_eq!(values(&mut log, &disk).len(), 4);
}
