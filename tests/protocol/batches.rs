//! Batches that Java wrote: every header field and record is read as Java reads it, in all formats and codecs.

use ringdaw::checksum::crc32c;
use ringdaw::wire::batch::{self, Batch, BatchHeader};
use ringdaw::wire::compression::Decompressor;
use ringdaw::wire::record::{RecordRules, Records, validate};
use serde_json::{Value, json};

use crate::corpus::{self, GoldenBatches, number};

const OUTPUT_MAX: usize = 1 << 20;

/// One record as the golden file has it.
fn record(
    offset: i64,
    timestamp: i64,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: Vec<Value>,
) -> Value {
    use base64::Engine;
    let base64 = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
    json!({
        "offset": offset,
        "timestamp": timestamp,
        "key": key.map(base64),
        "value_crc32c": value.map(crc32c),
        "headers": headers,
    })
}

/// What we read in a batch, in the form of the golden file.
fn read(found: &Batch<'_>) -> Vec<Value> {
    use base64::Engine;
    let base64 = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
    let (mut decompressor, mut plain) = (Decompressor::new(), Vec::new());
    let mut out = Vec::new();
    match found {
        Batch::Current { header, bytes } => {
            let records = Records::of(bytes, header, &mut decompressor, &mut plain, OUTPUT_MAX).unwrap();
            for one in records {
                let one = one.unwrap();
                let headers = one
                    .headers
                    .iter()
                    .flat_map(|(key, value)| [json!(base64(key)), json!(value.map(base64))])
                    .collect();
                out.push(record(one.offset(header), one.timestamp(header), one.key, one.value, headers));
            }
        }
        Batch::Legacy(entry) => entry
            .messages(&mut decompressor, &mut plain, OUTPUT_MAX, |one| {
                out.push(record(one.offset, one.timestamp, one.key, one.value, Vec::new()));
            })
            .unwrap(),
    }
    out
}

/// Holds each batch of `golden` to what Java reads in it.
fn compare(golden: &GoldenBatches) {
    let name = &golden.name;
    let expected = golden.batches.as_array().expect("a list of batches");
    let found: Vec<Batch<'_>> = batch::batches(&golden.bytes).map(|item| item.unwrap().1).collect();
    assert_eq!(found.len(), expected.len(), "{name}");
    for (found, java) in found.iter().zip(expected) {
        assert!(found.crc_matches(), "{name}");
        assert_eq!(i64::from(found.magic()), number(&java["magic"]), "{name}");
        assert_eq!(found.bytes().len() as i64, number(&java["bytes"]), "{name}");
        assert_eq!(found.last_offset(), number(&java["last_offset"]), "{name}");
        assert_eq!(found.max_timestamp(), number(&java["max_timestamp"]), "{name}");
        assert_eq!(&Value::from(read(found)), &java["records"], "{name}");
        let Batch::Current { header, .. } = found else { continue };
        assert_eq!(header.base_offset(), number(&java["base_offset"]), "{name}");
        assert_eq!(header.codec().unwrap().name(), java["codec"], "{name}");
        assert_eq!(i64::from(header.crc()), number(&java["crc"]), "{name}");
        assert_eq!(i64::from(header.partition_leader_epoch()), number(&java["leader_epoch"]), "{name}");
        assert_eq!(header.producer_id(), number(&java["producer_id"]), "{name}");
        assert_eq!(i64::from(header.producer_epoch()), number(&java["producer_epoch"]), "{name}");
        assert_eq!(i64::from(header.base_sequence()), number(&java["base_sequence"]), "{name}");
        let last_sequence = header.last_sequence().unwrap_or(-1);
        assert_eq!(i64::from(last_sequence), number(&java["last_sequence"]), "{name}");
        assert_eq!(header.is_transactional(), java["transactional"], "{name}");
        assert_eq!(header.is_control(), java["control"], "{name}");
        assert_eq!(i64::from(header.record_count()), number(&java["count"]), "{name}");
    }
}

#[test]
fn every_batch_of_java_is_read_as_java_reads_it() {
    corpus::batches().iter().for_each(compare);
}

#[test]
fn segments_of_real_brokers_are_read_as_java_reads_them() {
    corpus::segments().iter().for_each(compare);
    for release in ["k100/", "k282/", "k391/"] {
        assert!(corpus::segments().iter().any(|segment| segment.name.starts_with(release)), "{release}");
    }
}

#[test]
fn a_compaction_leaves_empty_batches_and_delete_horizons_which_are_no_error() {
    let batches = || corpus::segments().iter().flat_map(|segment| batch::batches(&segment.bytes));
    let headers: Vec<BatchHeader> = batches()
        .filter_map(|item| match item.unwrap().1 {
            Batch::Current { header, .. } => Some(header),
            Batch::Legacy(_) => None,
        })
        .collect();
    assert!(headers.iter().any(|header| header.record_count() == 0));
    assert!(headers.iter().any(|header| header.delete_horizon().is_some()));
    assert!(headers.iter().any(|header| header.record_count() < header.last_offset_delta() + 1));
}

#[test]
fn the_newest_timestamp_is_found_by_walking_the_records() {
    for golden in corpus::batches() {
        for item in batch::batches(&golden.bytes) {
            let Batch::Current { header, bytes } = item.unwrap().1 else { continue };
            let rules = RecordRules {
                key_required: false,
                timestamp_min: i64::MIN,
                timestamp_max: i64::MAX,
                output_max: OUTPUT_MAX,
            };
            let facts = validate(bytes, &header, &rules, &mut Decompressor::new()).unwrap();
            assert_eq!(facts.max_timestamp, header.max_timestamp(), "{}", golden.name);
        }
    }
}

#[test]
fn a_producer_may_send_those_of_magic_2_that_begin_at_0_and_are_no_marker() {
    for golden in corpus::batches() {
        let first = &golden.batches[0];
        let honest = first["magic"] == 2 && first["base_offset"] == 0 && first["control"] == false;
        assert_eq!(batch::validate_client(&golden.bytes).is_ok(), honest, "{}", golden.name);
    }
}

#[test]
fn the_files_hold_every_format_with_every_codec() {
    let names: Vec<&str> = corpus::batches().iter().map(|golden| golden.name.as_str()).collect();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        for magic in 0..=2 {
            let name = format!("magic-{magic}-{codec}");
            assert_eq!(names.contains(&name.as_str()), magic == 2 || codec != "zstd", "{name}");
        }
    }
}
