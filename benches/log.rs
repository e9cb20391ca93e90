//! What the log costs: appending a batch to one of many logs, and finding an offset in a large index.
//!
//! In: batches of 16 KiB, and of one small record for the index. Out: times; appends go through the page cache, as the
//! IO loop's do, and are not flushed. Data goes to `bench-data/log` in the working directory, at most 256 MiB at a time.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};

use ringdaw::clock::WallMs;
use ringdaw::ids::{LeaderEpoch, Offset};
use ringdaw::log::{AppendBatch, AppendScratch, Log, LogConfig, Outcome, Read};
use ringdaw::reactor::{OsDisk, direct};
use ringdaw::wire::batch_builder::BatchBuilder;
use ringdaw::wire::compression::Codec;

const NOW: WallMs = WallMs(1_700_000_000_000);
const EPOCH: LeaderEpoch = LeaderEpoch(0);
const BATCH_BYTES: usize = 16 << 10;
/// Appended bytes after which the logs are made anew.
const BYTES_MAX: u64 = 256 << 20;

/// A directory for one bench; goes away with it.
struct Place(PathBuf);

impl Place {
    fn make(name: &str) -> Place {
        let path = Path::new("bench-data/log").join(name);
        if path.exists() {
            std::fs::remove_dir_all(&path).expect("left by a run that was killed");
        }
        std::fs::create_dir_all(&path).expect("bench-data in the working directory");
        Place(path)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("{}: {error}", self.0.display());
        }
    }
}

fn batch_of(records: usize, record_bytes: usize) -> Vec<u8> {
    let value = vec![0x5a; record_bytes];
    let mut builder = BatchBuilder::new(Codec::None);
    for _ in 0..records {
        builder.append(NOW.0, None, Some(&value), &[]);
    }
    builder.build()
}

/// Logs that are appended to in turn, made anew when they have taken `BYTES_MAX`.
struct Logs {
    place: Place,
    logs: Vec<Log>,
    next: usize,
    bytes: u64,
}

impl Logs {
    fn make(count: usize) -> Logs {
        let mut logs = Logs { place: Place::make("append"), logs: Vec::new(), next: 0, bytes: 0 };
        logs.fill(count);
        logs
    }

    fn fill(&mut self, count: usize) {
        let config = Arc::new(LogConfig::default());
        for number in 0..count {
            let path = self.place.0.join(format!("orders-{number}"));
            self.logs.push(Log::create(&OsDisk, &path, None, Arc::clone(&config), NOW).expect("a new log"));
        }
    }

    fn make_anew(&mut self) {
        let count = self.logs.len();
        for log in self.logs.drain(..) {
            std::fs::remove_dir_all(log.directory()).expect("a log's directory");
        }
        self.fill(count);
        self.bytes = 0;
    }

    /// Appends the batches to the next log, in one write.
    fn append(&mut self, batches: &mut [AppendBatch<'_>], scratch: &mut AppendScratch) {
        self.logs[self.next].append(&OsDisk, batches, EPOCH, NOW, scratch).expect("a write to bench-data");
        assert!(matches!(batches[0].outcome, Outcome::Appended { .. }), "{:?}", batches[0].outcome);
        self.next = (self.next + 1) % self.logs.len();
    }
}

fn append(c: &mut Criterion) {
    direct::raise_open_files_limit().expect("the soft limit may go up to the hard one");
    let mut group = c.benchmark_group("append");
    let batch = batch_of(16, 1000);
    assert!(batch.len() <= BATCH_BYTES);
    for (count, batches_per_turn) in [(1, 1), (16, 1), (1024, 1), (1, 16)] {
        let turn_bytes = batch.len() as u64 * batches_per_turn as u64;
        group.throughput(Throughput::Bytes(turn_bytes));
        let name = format!("{batches_per_turn} x 16 KiB a turn, logs: {count}");
        let mut logs = Logs::make(count);
        let mut scratch = AppendScratch::default();
        let mut turn = vec![batch.clone(); batches_per_turn];
        group.bench_function(name, |b| {
            b.iter_custom(|turns| {
                let mut time = Duration::ZERO;
                for _ in 0..turns {
                    if logs.bytes + turn_bytes > BYTES_MAX {
                        logs.make_anew();
                    }
                    let started = Instant::now();
                    let mut batches: Vec<_> = turn.iter_mut().map(|bytes| AppendBatch::new(bytes)).collect();
                    logs.append(&mut batches, &mut scratch);
                    time += started.elapsed();
                    logs.bytes += turn_bytes;
                }
                time
            });
        });
    }
    group.finish();
}

/// One segment with one index entry for each batch of one record.
fn find_offset(c: &mut Criterion) {
    let is_measured = std::env::args().any(|argument| argument == "--bench");
    let entries: i64 = if is_measured { 1_000_000 } else { 2_000 };
    let place = Place::make("index");
    let config = Arc::new(LogConfig { index_interval_bytes: 0, ..LogConfig::default() });
    let mut log = Log::create(&OsDisk, &place.0.join("orders-0"), None, config, NOW).expect("a new log");
    let mut turn = vec![batch_of(1, 10); 500];
    let mut scratch = AppendScratch::default();
    while log.end_offset().0 < entries {
        let mut batches: Vec<_> = turn.iter_mut().map(|bytes| AppendBatch::new(bytes)).collect();
        log.append(&OsDisk, &mut batches, EPOCH, NOW, &mut scratch).expect("a write to bench-data");
    }
    assert_eq!((log.segment_count(), log.end_offset().0), (1, entries));
    let limit = log.end_offset();
    let read = |offset| Read { offset: Offset(offset), bytes_max: 1 << 20, limit, at_least_one: true };

    let mut group = c.benchmark_group("find an offset");
    let mut random = 1u64;
    group.bench_function(format!("anywhere in an index of {entries}"), |b| {
        b.iter(|| {
            random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            let offset = ((random >> 33) % (entries as u64 - 1)) as i64;
            let place = log.read(&OsDisk, read(offset)).expect("an offset of the log");
            assert!(place.length > 0);
        });
    });
    group.bench_function("where the last read ended", |b| {
        let mut offset = 0;
        b.iter(|| {
            let place = log.read(&OsDisk, Read { bytes_max: 64 << 10, ..read(offset) }).expect("an offset");
            offset += i64::from(place.length) / turn[0].len() as i64;
            if offset >= entries {
                offset = 0;
            }
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    targets = append, find_offset
}
criterion_main!(benches);
