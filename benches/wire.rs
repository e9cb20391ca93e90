//! What bytes on the wire cost: checking a producer's batch, CRC-32C, decoding Produce, writing Fetch responses.
//!
//! In: batches of 1 KiB records, as a producer sends them. Out: times, and bytes per second of the records concerned.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

use ringdaw::checksum::crc32c;
use ringdaw::wire::batch::{self, BatchHeader};
use ringdaw::wire::batch_builder::BatchBuilder;
use ringdaw::wire::compression::Codec;
use ringdaw::wire::header::{RequestHeader, put_request};
use ringdaw::wire::message::Message;
use ringdaw::wire::message::fetch::{
    FetchResponseHead, FetchResponsePartition, FetchResponseWriter, RecordsFrom, TopicKey,
};
use ringdaw::wire::message::produce::{ProduceRequest, ProduceRequestPartitionData, ProduceRequestTopicData};
use ringdaw::wire::primitive::{Reader, Uuid};

const RECORD_BYTES: usize = 1000;
const PRODUCE_VERSION: i16 = 9;
const FETCH_VERSION: i16 = 12;

/// A sealed batch of at most `bytes` bytes.
fn batch_of(bytes: usize) -> Vec<u8> {
    let value: Vec<u8> = (0..RECORD_BYTES).map(|i| (i * 31) as u8).collect();
    let mut builder = BatchBuilder::new(Codec::None);
    while builder.plain_bytes() + RECORD_BYTES + 32 <= bytes {
        builder.append(1_700_000_000_000, Some(b"key"), Some(&value), &[]);
    }
    builder.build()
}

fn kib(bytes: usize) -> String {
    if bytes < 1 << 20 { format!("{} KiB", bytes >> 10) } else { format!("{} MiB", bytes >> 20) }
}

fn crc(c: &mut Criterion) {
    let mut group = c.benchmark_group("crc32c");
    for bytes in [1 << 10, 16 << 10, 64 << 10, 1 << 20] {
        let content = vec![0x5a; bytes];
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(kib(bytes), |b| b.iter(|| crc32c(black_box(&content))));
    }
    group.finish();
}

fn check_batch(c: &mut Criterion) {
    let mut group = c.benchmark_group("batch");
    for bytes in [16 << 10, 1 << 20] {
        let records = batch_of(bytes);
        group.throughput(Throughput::Bytes(records.len() as u64));
        group.bench_function(BenchmarkId::new("header", kib(bytes)), |b| {
            b.iter(|| BatchHeader::parse(black_box(&records)).expect("our own batch"));
        });
        group.bench_function(BenchmarkId::new("validate_client", kib(bytes)), |b| {
            b.iter(|| batch::validate_client(black_box(&records)).expect("our own batch"));
        });
    }
    let mut records = batch_of(16 << 10);
    group.bench_function("stamp", |b| b.iter(|| batch::stamp(black_box(&mut records), 4711, 3)));
    group.finish();
}

/// One request with `partitions` batches of 16 KiB: from the frame to the place of each batch in it.
fn decode_produce(c: &mut Criterion) {
    let mut group = c.benchmark_group("decode produce request");
    let records = batch_of(16 << 10);
    for partitions in [1, 16, 128] {
        let frame = produce_frame(&records, partitions);
        group.throughput(Throughput::Elements(partitions as u64));
        group.bench_function(format!("{partitions} partitions"), |b| {
            b.iter(|| {
                let mut reader = Reader::new(black_box(&frame));
                let header = RequestHeader::decode(&mut reader).expect("our own header");
                let request = ProduceRequest::decode(&mut reader, header.version).expect("our own request");
                let found = request.partitions(&frame).filter(|partition| partition.records.is_some());
                assert_eq!(found.map(black_box).count(), partitions);
            });
        });
    }
    group.finish();
}

/// Without the size field in front, as the network loop hands it on.
fn produce_frame(records: &[u8], partitions: usize) -> Vec<u8> {
    let data: Vec<ProduceRequestPartitionData<'_>> = (0..partitions)
        .map(|index| ProduceRequestPartitionData { index: index as i32, records: Some(records) })
        .collect();
    let topic = ProduceRequestTopicData { name: "orders", partition_data: data.into() };
    let request =
        ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data: [topic].into(), ..Default::default() };
    let mut frame = Vec::new();
    put_request(&mut frame, PRODUCE_VERSION, 1, Some("bench"), &request);
    frame.split_off(4)
}

/// One response with holes for the records of all partitions, as the network loop writes it in front of file ranges.
fn write_fetch(c: &mut Criterion) {
    let mut group = c.benchmark_group("write fetch response");
    for partitions in [1, 16, 128] {
        let (mut out, mut holes) = (Vec::new(), Vec::new());
        group.throughput(Throughput::Elements(partitions as u64));
        group.bench_function(format!("{partitions} partitions"), |b| {
            b.iter(|| {
                out.clear();
                holes.clear();
                let head = FetchResponseHead { topic_count: 1, ..Default::default() };
                let mut writer =
                    FetchResponseWriter::begin(&mut out, &mut holes, FETCH_VERSION, black_box(7), head);
                writer.topic(TopicKey { name: "orders", id: Uuid::default() }, partitions);
                for index in 0..partitions {
                    let answer = FetchResponsePartition {
                        partition_index: index as i32,
                        high_watermark: 1_000_000,
                        last_stable_offset: 1_000_000,
                        log_start_offset: 0,
                        ..Default::default()
                    };
                    writer.partition(&answer, RecordsFrom::Elsewhere(16 << 10));
                }
                let bytes = writer.end(&[]);
                assert!(bytes > partitions * (16 << 10) && holes.len() == partitions);
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    targets = crc, check_batch, decode_produce, write_fetch
}
criterion_main!(benches);
