//! Random lives of a log against a plain model: a list of batches.

use std::path::Path;
use std::sync::Arc;

use ringdaw::ids::Offset;
use ringdaw::log::{CloseFlush, FlushScope, Log, LogConfig, Outcome, Read};
use ringdaw::reactor::Disk;
use ringdaw::sim::{Random, SimDisk};
use ringdaw::wire::batch;

use crate::support::*;

const PATH: &str = "/data/t-0";

/// What a log is, to somebody who does not care for files.
struct Model {
    /// (base offset, last offset, bytes as they are read)
    batches: Vec<(i64, i64, Vec<u8>)>,
    start: i64,
    end: i64,
    flushed: i64,
    next_sequence: i32,
    /// Base offset of the newest batch.
    last_sent: Option<i64>,
}

fn config() -> Arc<LogConfig> {
    Arc::new(LogConfig {
        segment_bytes: 1500,
        index_interval_bytes: 150,
        retention_bytes: 6000,
        file_delete_delay_ms: 0,
        ..LogConfig::default()
    })
}

fn stamped(bytes: &[u8], base: i64) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    batch::stamp(&mut bytes, base, 0);
    bytes
}

impl Model {
    fn append(&mut self, log: &mut Log, disk: &SimDisk, random: &mut Random) {
        let mut sent = Vec::new();
        let mut expected = Vec::new();
        for _ in 0..=random.below(4) {
            let count = 1 + random.below(4) as usize;
            let value = "v".repeat(random.below(200) as usize);
            let values = vec![value.as_str(); count];
            let repeat = self.last_sent.filter(|_| random.one_in(5));
            if let Some(base) = repeat {
                let (_, last, bytes) = self.batches.iter().find(|b| b.0 == base).unwrap().clone();
                let mut bytes = bytes;
                batch::stamp(&mut bytes, 0, -1);
                sent.push(bytes);
                expected.push(Outcome::Duplicate {
                    base_offset: Offset(base),
                    last_offset: Offset(last),
                    timestamp: NOW.0,
                });
                continue;
            }
            let bytes = idempotent(4, 0, self.next_sequence, &values);
            let (base, last) = (self.end, self.end + count as i64 - 1);
            self.batches.push((base, last, stamped(&bytes, base)));
            self.last_sent = Some(base);
            self.next_sequence += count as i32;
            self.end = last + 1;
            expected.push(appended(base, last));
            sent.push(bytes);
        }
        assert_eq!(append(log, disk, sent), expected);
    }

    fn read(&self, log: &mut Log, disk: &SimDisk, random: &mut Random) {
        let offset = self.start + random.below((self.end - self.start + 1) as u64) as i64;
        let limit = offset + random.below((self.end - offset + 1) as u64) as i64;
        let bytes_max = random.below(2000) as u32;
        let read =
            Read { offset: Offset(offset), bytes_max, limit: Offset(limit), at_least_one: random.coin() };
        let place = log.read(disk, read).unwrap();
        let bytes = bytes_of(disk, &place);
        let mut wanted = self.batches.iter().filter(|(_, last, _)| *last >= offset);
        let mut used = 0;
        for item in batch::batches(&bytes) {
            let (_, batch) = item.unwrap();
            let (_, last, expected) = wanted.next().unwrap();
            assert_eq!(batch.bytes(), expected);
            assert!(*last < limit, "{read:?}");
            used += expected.len();
        }
        assert_eq!(used, bytes.len());
        if let Some((_, last, next)) = wanted.next().filter(|(_, last, _)| *last < limit) {
            // It ended early: for want of room, or at the end of a segment.
            let room = used == 0 && read.at_least_one || used + next.len() <= bytes_max as usize;
            let file_ends = place.position + place.length == disk.length(&place.file).unwrap() as u32;
            assert!(!room || file_ends, "{read:?} ended before {last}");
        }
    }

    fn cut(&mut self, log: &mut Log, disk: &SimDisk, random: &mut Random) {
        let offset = self.start + 1 + random.below((self.end - self.start) as u64) as i64;
        if offset >= self.end {
            return;
        }
        let end = log.truncate_to(disk, Offset(offset), NOW).unwrap().0;
        self.batches.retain(|(_, last, _)| *last < offset);
        self.end = self.batches.last().map_or(self.start, |(_, last, _)| last + 1);
        assert_eq!(end, self.end);
        self.after_loss(log);
    }

    /// The end has moved back: the producer goes on where the log says it stands.
    fn after_loss(&mut self, log: &Log) {
        self.flushed = self.flushed.min(self.end);
        let last = log.producers().get(4).and_then(|producer| producer.last_batch().copied());
        self.next_sequence = last.map_or(0, |last| last.last_sequence + 1);
        self.last_sent = last.map(|last| last.first_offset());
        if self.last_sent.is_some_and(|base| !self.batches.iter().any(|b| b.0 == base)) {
            self.last_sent = None;
        }
    }
}

fn flush(log: &mut Log, disk: &SimDisk) {
    let mut files = Vec::new();
    if log.begin_flush(disk, FlushScope::All, &mut files).unwrap().is_some() {
        files.iter().for_each(|file| disk.sync_data(file).unwrap());
        log.on_flushed(Ok(()), NOW).unwrap();
    }
}

fn life(seed: u64) {
    let mut random = Random::new(seed);
    let disk = SimDisk::new(seed ^ 0xd15c);
    disk.create_directory(Path::new("/data")).unwrap();
    disk.sync_directory(Path::new("/")).unwrap();
    let mut log = create(&disk, Path::new(PATH), &config());
    let mut model =
        Model { batches: Vec::new(), start: 0, end: 0, flushed: 0, next_sequence: 0, last_sent: None };
    for _ in 0..120 {
        match random.below(20) {
            0..9 => model.append(&mut log, &disk, &mut random),
            9..14 => model.read(&mut log, &disk, &mut random),
            14 => {
                flush(&mut log, &disk);
                model.flushed = model.end;
            }
            15 => {
                log.delete_old_segments(&disk, NOW).unwrap();
                log.remove_expired(&disk, NOW).unwrap();
                model.start = log.start_offset().0;
                model.batches.retain(|(base, ..)| *base >= model.start);
                model.after_loss(&log);
            }
            16 => model.cut(&mut log, &disk, &mut random),
            17 => {
                log.close(&disk, CloseFlush::Each, NOW).unwrap();
                let facts = ringdaw::log::OpenFacts {
                    log_start: Offset(model.start),
                    high_watermark: Offset(model.end),
                    ..facts(true, model.end)
                };
                let (opened, recovered) = open(&disk, Path::new(PATH), &config(), facts);
                assert_eq!(recovered, ringdaw::log::Recovered::default());
                log = opened;
                model.flushed = model.end;
            }
            18 => {
                let point = log.recovery_point(&disk).unwrap();
                drop(log);
                disk.restart_process();
                log = open(&disk, Path::new(PATH), &config(), facts(false, point.0)).0;
                assert_eq!(log.end_offset().0, model.end, "a killed process loses nothing");
                log.advance_high_watermark(log.end_offset());
            }
            _ => {
                let point = log.recovery_point(&disk).unwrap();
                drop(log);
                disk.power_cut();
                let there = disk.exists(Path::new(PATH)).unwrap();
                assert!(there || model.flushed == 0);
                log = if there {
                    open(&disk, Path::new(PATH), &config(), facts(false, point.0)).0
                } else {
                    create(&disk, Path::new(PATH), &config())
                };
                let end = log.end_offset().0;
                assert!(
                    end >= model.flushed && end <= model.end,
                    "{end} of {}..{}",
                    model.flushed,
                    model.end
                );
                if log.topic_id().is_none() {
                    log.set_topic_id(&disk, [7; 16]).unwrap();
                }
                // What was being deleted may be there again.
                model.start = log.start_offset().0.max(model.start);
                log.advance_high_watermark(log.end_offset());
                log.delete_records_before(Offset(model.start.min(end))).unwrap();
                model.start = log.start_offset().0;
                model.batches.retain(|(base, last, _)| *last < end && *base >= model.start);
                model.end = end;
                model.after_loss(&log);
            }
        }
        assert_eq!((log.start_offset().0, log.end_offset().0), (model.start, model.end));
        let all = read_all(&mut log, &disk, model.start, 1000);
        let expected: Vec<_> = model.batches.iter().map(|(base, _, bytes)| (*base, bytes.clone())).collect();
        let shape = |batches: &[(i64, Vec<u8>)]| -> Vec<(i64, usize)> {
            batches.iter().map(|(base, bytes)| (*base, bytes.len())).collect()
        };
        assert_eq!(shape(&all), shape(&expected));
        assert!(all == expected, "bytes differ");
    }
}

/// All seeds, or the one in `SEED`.
#[test]
fn a_log_is_what_a_list_of_batches_would_be() {
    let one = std::env::var("SEED").ok().and_then(|seed| seed.parse::<u64>().ok());
    for seed in one.map_or(0..150, |seed| seed..seed + 1) {
        let result = std::panic::catch_unwind(|| life(seed));
        assert!(result.is_ok(), "again with: SEED={seed} cargo test --test log model");
    }
}
