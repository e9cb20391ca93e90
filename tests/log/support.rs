//! Batches to append and logs to append them to.

use std::path::Path;
use std::sync::Arc;

use ringdaw::clock::WallMs;
use ringdaw::ids::{LeaderEpoch, Offset};
use ringdaw::log::{
    AppendBatch, AppendScratch, Log, LogConfig, LogError, OpenFacts, Outcome, Place, Read, Recovered,
};
use ringdaw::reactor::Disk;
use ringdaw::wire::batch::{self, BatchHeader};
use ringdaw::wire::batch_builder::BatchBuilder;
use ringdaw::wire::compression::Codec;

pub const NOW: WallMs = WallMs(1_700_000_000_000);

/// A batch of these values, with one timestamp.
pub fn batch_at(timestamp: i64, values: &[&str]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Codec::None);
    for value in values {
        builder.append(timestamp, None, Some(value.as_bytes()), &[]);
    }
    builder.build()
}

pub fn batch(values: &[&str]) -> Vec<u8> {
    batch_at(NOW.0, values)
}

pub fn idempotent(producer_id: i64, epoch: i16, sequence: i32, values: &[&str]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Codec::None).producer(producer_id, epoch, sequence);
    for value in values {
        builder.append(NOW.0, None, Some(value.as_bytes()), &[]);
    }
    builder.build()
}

pub fn transactional(producer_id: i64, epoch: i16, sequence: i32, values: &[&str]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Codec::None).producer(producer_id, epoch, sequence);
    builder.transactional = true;
    for value in values {
        builder.append(NOW.0, None, Some(value.as_bytes()), &[]);
    }
    builder.build()
}

/// A coordinator's marker.
pub fn marker(producer_id: i64, epoch: i16, coordinator_epoch: i32, commit: bool) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Codec::None).producer(producer_id, epoch, -1);
    (builder.transactional, builder.control) = (true, true);
    let mut value = vec![0, 0];
    value.extend(coordinator_epoch.to_be_bytes());
    builder.append(NOW.0, Some(&[0, 0, 0, u8::from(commit)]), Some(&value), &[]);
    builder.build()
}

pub fn try_append(
    log: &mut Log,
    disk: &dyn Disk,
    mut batches: Vec<Vec<u8>>,
) -> (Result<(), LogError>, Vec<Outcome>) {
    let mut scratch = AppendScratch::default();
    let mut wanted: Vec<AppendBatch<'_>> = batches.iter_mut().map(|bytes| AppendBatch::new(bytes)).collect();
    let result = log.append(disk, &mut wanted, LeaderEpoch(0), NOW, &mut scratch);
    (result, wanted.iter().map(|batch| batch.outcome).collect())
}

pub fn append(log: &mut Log, disk: &dyn Disk, batches: Vec<Vec<u8>>) -> Vec<Outcome> {
    let (result, outcomes) = try_append(log, disk, batches);
    result.expect("the append succeeds");
    let end = log.end_offset();
    log.advance_high_watermark(end);
    outcomes
}

pub fn append_one(log: &mut Log, disk: &dyn Disk, bytes: Vec<u8>) -> Outcome {
    append(log, disk, vec![bytes])[0]
}

pub fn appended(base: i64, last: i64) -> Outcome {
    Outcome::Appended { base_offset: Offset(base), last_offset: Offset(last), append_time: None }
}

pub fn bytes_of(disk: &dyn Disk, place: &Place) -> Vec<u8> {
    let mut bytes = vec![0; place.length as usize];
    let count = disk.read_full_at(&place.file, u64::from(place.position), &mut bytes).unwrap();
    assert_eq!(count, bytes.len(), "a place is inside its file");
    bytes
}

/// Reads from `from` to the end: (offset of the batch, bytes), each batch checked.
pub fn read_all(log: &mut Log, disk: &dyn Disk, from: i64, bytes_max: u32) -> Vec<(i64, Vec<u8>)> {
    let mut all = Vec::new();
    let mut offset = from;
    loop {
        let limit = log.end_offset();
        let read = Read { offset: Offset(offset), bytes_max, limit, at_least_one: true };
        let place = log.read(disk, read).unwrap();
        if place.length == 0 {
            assert!(offset >= log.end_offset().0, "nothing at {offset} below the end {}", log.end_offset());
            return all;
        }
        let bytes = bytes_of(disk, &place);
        for item in batch::batches(&bytes) {
            let (_, batch) = item.expect("a place holds whole batches");
            assert!(batch.crc_matches());
            assert!(batch.last_offset() >= offset);
            all.push((batch.base_offset(), batch.bytes().to_vec()));
            offset = batch.last_offset() + 1;
        }
    }
}

pub fn values(log: &mut Log, disk: &dyn Disk) -> Vec<String> {
    let mut values = Vec::new();
    let start = log.start_offset().0;
    for (_, bytes) in read_all(log, disk, start, 1 << 20) {
        let header = BatchHeader::parse(&bytes).unwrap();
        if header.is_control() {
            continue;
        }
        for record in ringdaw::wire::record::Records::new(&bytes[61..], header.record_count()) {
            values.push(String::from_utf8(record.unwrap().value.unwrap().to_vec()).unwrap());
        }
    }
    values
}

pub fn config() -> Arc<LogConfig> {
    Arc::new(LogConfig::default())
}

pub fn facts(clean: bool, recovery_point: i64) -> OpenFacts {
    OpenFacts {
        clean,
        recovery_point: Offset(recovery_point),
        log_start: Offset(0),
        high_watermark: Offset(0),
        now: NOW,
    }
}

pub fn create(disk: &dyn Disk, directory: &Path, config: &Arc<LogConfig>) -> Log {
    Log::create(disk, directory, Some([7; 16]), config.clone(), NOW).unwrap()
}

pub fn open(
    disk: &dyn Disk,
    directory: &Path,
    config: &Arc<LogConfig>,
    facts: OpenFacts,
) -> (Log, Recovered) {
    Log::open(disk, directory, config.clone(), facts).unwrap()
}
