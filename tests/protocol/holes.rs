//! Named regressions (the list of known holes): what once broke somebody's decoder is refused by ours, within the
//! budget, with a reason that names it.

use ringdaw::checksum::{crc32, xxh32};
use ringdaw::wire::batch::{self, Batch, BatchError, BatchHeader, HEADER_BYTES, seal};
use ringdaw::wire::batch_builder::BatchBuilder;
use ringdaw::wire::compression::{Codec, CompressionError, Decompressor, compress};
use ringdaw::wire::error_code::ErrorCode;
use ringdaw::wire::frame::{FrameError, front};
use ringdaw::wire::header::{HeaderError, RequestHeader};
use ringdaw::wire::legacy::LegacyError;
use ringdaw::wire::message::Message;
use ringdaw::wire::message::fetch::{FetchRequest, FetchRequestPartition, FetchRequestTopic};
use ringdaw::wire::message::metadata::MetadataRequest;
use ringdaw::wire::primitive::{DecodeError, Reader, put_uvarint};
use ringdaw::wire::record::{RecordError, RecordRejection, RecordRules, Records, put_varint, validate};
use ringdaw::wire::version::{ApiKey, Support, advertised};

use crate::targets::{Kind, ReEncode, dispatch, within_budget};

const OUTPUT_MAX: usize = 1 << 20;

fn refused<'a, M: Message<'a> + std::fmt::Debug>(body: &'a [u8], version: i16) -> DecodeError {
    within_budget(body.len(), || M::decode(&mut Reader::new(body), version)).unwrap_err()
}

fn header_error(frame: &[u8]) -> HeaderError {
    within_budget(frame.len(), || RequestHeader::decode(&mut Reader::new(frame))).unwrap_err()
}

/// A request header of version 2 up to its tagged fields.
fn header_2(key: i16, version: i16) -> Vec<u8> {
    [&key.to_be_bytes()[..], &version.to_be_bytes(), &[0, 0, 0, 1], &[0xff, 0xff]].concat()
}

/// An honest batch of plain records.
fn plain_batch() -> Vec<u8> {
    let mut builder = BatchBuilder::new(Codec::None);
    builder.append(1, Some(b"key"), Some(b"value"), &[("h", Some(b"v"))]);
    builder.append(2, None, Some(b"value"), &[]);
    builder.build()
}

/// A batch whose records are `body`, whatever that is.
fn batch_of(codec: Codec, record_count: i32, body: &[u8]) -> Vec<u8> {
    let mut batch = BatchBuilder::new(codec).build();
    batch.truncate(HEADER_BYTES);
    batch.extend_from_slice(body);
    let length = (batch.len() - 12) as i32;
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    batch[23..27].copy_from_slice(&(record_count - 1).to_be_bytes());
    batch[57..61].copy_from_slice(&record_count.to_be_bytes());
    seal(&mut batch);
    batch
}

fn walked(batch: &[u8]) -> Result<(), RecordError> {
    let header = BatchHeader::parse(batch).unwrap();
    let rules = RecordRules {
        key_required: false,
        timestamp_min: i64::MIN,
        timestamp_max: i64::MAX,
        output_max: OUTPUT_MAX,
    };
    match validate(batch, &header, &rules, &mut Decompressor::new()) {
        Ok(_) => Ok(()),
        Err(RecordRejection::Unreadable(error)) => Err(error),
        Err(other) => panic!("{other:?}"),
    }
}

fn decompress(codec: Codec, input: &[u8], output_max: usize) -> Result<Vec<u8>, CompressionError> {
    let mut out = Vec::new();
    Decompressor::new().into_vec(codec, input, output_max, &mut out).map(|()| out)
}

#[test]
fn array_count_lie() {
    const WHAT: &str = "an array announces more elements than the frame can hold";
    for (key, versions) in advertised() {
        for version in versions.clone() {
            let flexible = version >= key.api().flexible;
            for kind in [Kind::Request, Kind::Response] {
                // Wherever the first array stands: every prefix of zeros, then the largest count, then some bytes.
                for zeros in 0..40 {
                    let mut body = vec![0u8; zeros];
                    let count: &[u8] =
                        if flexible { &[0xff, 0xff, 0xff, 0xff, 0x0f] } else { &[0x7f, 255, 255, 255] };
                    body.extend_from_slice(count);
                    body.extend_from_slice(&[1; 20]);
                    let user = ReEncode { frame_bytes: body.len() };
                    // Held to the budget inside; where the count was read as something else it may even be valid.
                    drop(dispatch(key, kind, version, &mut Reader::new(&body), user));
                }
            }
        }
    }
    let error = refused::<MetadataRequest<'_>>(&[0x7f, 0xff, 0xff, 0xff, 0, 1, b'a'], 1);
    assert_eq!((error.what, error.position), (WHAT, 4));
    let error = refused::<MetadataRequest<'_>>(&[0xff, 0xff, 0xff, 0xff, 0x0f, 2, b'a', 0], 9);
    assert_eq!((error.what, error.position), (WHAT, 5));
}

#[test]
fn metadata_array_54m() {
    let body = 54_000_000i32.to_be_bytes();
    for version in 0..=8 {
        refused::<MetadataRequest<'_>>(&body, version);
    }
    let mut body = Vec::new();
    put_uvarint(&mut body, 54_000_001);
    body.extend([0; 3]);
    for version in 9..=12 {
        refused::<MetadataRequest<'_>>(&body, version);
    }
}

#[test]
fn count_times_smallest_element_must_fit() {
    // 20 bytes left would hold 20 elements of one byte, but a topic of version 12 takes 18.
    let body = [[21u8].as_slice(), &[0; 20]].concat();
    let error = refused::<MetadataRequest<'_>>(&body, 12);
    assert_eq!(error.what, "an array announces more elements than the frame can hold");
}

#[test]
fn tagged_20m() {
    let mut frame = header_2(18, 3);
    put_uvarint(&mut frame, 20_000_000);
    for tag in 0..1000 {
        put_uvarint(&mut frame, tag);
        frame.push(0);
    }
    let error = header_error(&frame);
    assert!(error.to_string().contains("more than 64 tagged fields"), "{error}");

    let mut body = vec![0, 1, 0, 0]; // Metadata 12: null topics, two flags, then the tagged fields
    body.pop();
    put_uvarint(&mut body, 65);
    for tag in 0..65 {
        body.extend([tag, 0]);
    }
    let error = refused::<MetadataRequest<'_>>(&body, 12);
    assert_eq!(error.what, "more than 64 tagged fields in one struct");
}

#[test]
fn sixty_four_unknown_tagged_fields_are_skipped_in_place() {
    let mut frame = header_2(18, 3);
    put_uvarint(&mut frame, 64);
    for tag in 0..64u8 {
        frame.extend([tag, 1, 0xaa]);
    }
    frame.push(42);
    let mut r = Reader::new(&frame);
    let used = allocation_counter::measure(|| assert!(RequestHeader::decode(&mut r).is_ok()));
    assert_eq!((r.remaining(), used.bytes_total), (1, 0));
}

#[test]
fn tagged_dup() {
    let mut frame = header_2(18, 3);
    frame.extend([2, 5, 0, 5, 0]);
    assert!(header_error(&frame).to_string().contains("do not strictly ascend"));
}

#[test]
fn tagged_descending() {
    let mut frame = header_2(18, 3);
    frame.extend([2, 5, 0, 4, 0]);
    assert!(header_error(&frame).to_string().contains("do not strictly ascend"));
}

#[test]
fn tagged_longer_than_the_frame() {
    let mut frame = header_2(18, 3);
    frame.extend([1, 5, 0xff, 0xff, 0xff, 0xff, 0x0f]);
    assert!(header_error(&frame).to_string().contains("a tagged field is longer than the frame"));
}

#[test]
fn a_known_tagged_field_cannot_read_into_its_neighbour() {
    // Fetch 12, tag 0 (cluster id): two bytes long, holding a string of ten.
    let mut body = Vec::new();
    FetchRequest::default().encode(&mut body, 12);
    assert_eq!(body.pop(), Some(0));
    body.extend([1, 0, 2, 11, b'x', b'y', b'z', b'y', b'z', b'y', b'z', b'y', b'z', b'y', b'z']);
    assert_eq!(refused::<FetchRequest<'_>>(&body, 12).what, "the frame ends inside a field");
    // And it has to fill its announced size.
    let mut body = Vec::new();
    FetchRequest::default().encode(&mut body, 12);
    body.pop();
    body.extend([1, 0, 3, 2, b'x', 0]);
    assert_eq!(
        refused::<FetchRequest<'_>>(&body, 12).what,
        "a tagged field does not fill its announced size"
    );
}

#[test]
fn header_only() {
    for (key, versions) in advertised() {
        for version in versions.clone() {
            let mut frame = Vec::new();
            RequestHeader { key, version, correlation_id: 1, client_id: None }.encode(&mut frame);
            let mut r = Reader::new(&frame);
            RequestHeader::decode(&mut r).unwrap();
            let user = ReEncode { frame_bytes: frame.len() };
            let body = dispatch(key, Kind::Request, version, &mut r, user).expect("a table");
            let has_no_body = matches!(key, ApiKey::ApiVersions | ApiKey::ListGroups) && version < 3;
            assert_eq!(body.is_ok(), has_no_body, "{key:?} {version}");
        }
    }
}

#[test]
fn null_client_id() {
    let frame = [0, 3, 0, 1, 0, 0, 0, 9, 0xff, 0xff];
    let header = RequestHeader::decode(&mut Reader::new(&frame)).unwrap();
    assert_eq!((header.client_id, header.correlation_id), (None, 9));
    assert_eq!(header.client_id_text(), "");
}

#[test]
fn client_id_longer_than_the_frame() {
    let frame = [0, 3, 0, 1, 0, 0, 0, 9, 0x7f, 0xff, b'x'];
    assert!(matches!(header_error(&frame), HeaderError::Malformed(_)));
}

#[test]
fn bad_api_key() {
    for key in [-1i16, 52, 68, 69, 999, i16::MAX, i16::MIN] {
        let frame = [&key.to_be_bytes()[..], &[0; 8]].concat();
        assert_eq!(header_error(&frame), HeaderError::UnknownKey { key, version: 0 });
    }
}

#[test]
fn bad_version() {
    for version in [-1i16, 13, i16::MAX, i16::MIN] {
        let frame = [&[0, 3][..], &version.to_be_bytes(), &[0; 8]].concat();
        assert_eq!(header_error(&frame), HeaderError::UnsupportedVersion { key: ApiKey::Metadata, version });
    }
}

#[test]
fn apiversions_unknown_version() {
    let mut frame = header_2(18, 99);
    frame.extend([0, 0xde, 0xad]);
    let header = RequestHeader::decode(&mut Reader::new(&frame)).unwrap();
    assert_eq!((header.support(), header.correlation_id), (Support::Refused, 1));
}

#[test]
fn size_zero() {
    assert_eq!(front(&[0, 0, 0, 0, 1, 2], 100), Err(FrameError::Zero));
}

#[test]
fn size_negative() {
    for size in [-1i32, i32::MIN] {
        assert_eq!(front(&size.to_be_bytes(), 100), Err(FrameError::Negative { size }));
    }
}

#[test]
fn size_one_above_the_limit() {
    let size_max = 104_857_600;
    assert!(front(&(size_max as i32).to_be_bytes(), size_max).is_ok());
    let size = size_max + 1;
    assert_eq!(front(&(size as i32).to_be_bytes(), size_max), Err(FrameError::TooLarge { size, size_max }));
}

#[test]
fn http_get() {
    // "GET " read as a size: a browser on the wrong port.
    assert!(matches!(front(b"GET / HTTP/1.1\r\n", 104_857_600), Err(FrameError::TooLarge { .. })));
}

#[test]
fn records_count_lie() {
    for count in [1, 3, 1_000_000, i32::MAX] {
        let mut bytes = plain_batch();
        bytes[23..27].copy_from_slice(&(count - 1i32).to_be_bytes());
        bytes[57..61].copy_from_slice(&count.to_be_bytes());
        seal(&mut bytes);
        let read = within_budget(0, || {
            Records::new(&bytes[HEADER_BYTES..], count).find_map(Result::err).map(|error| error.code())
        });
        assert_eq!(read, Some(ErrorCode::InvalidRecord), "{count}");
        assert!(walked(&bytes).is_err(), "{count}");
        let lie = BatchError::CountLie { record_count: count, found: 2 };
        assert_eq!(batch::validate_client(&bytes), Err(lie));
    }
}

#[test]
fn records_count_lie_compressed() {
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let mut body = Vec::new();
        compress(codec, None, &plain_batch()[HEADER_BYTES..], &mut body);
        assert_eq!(walked(&batch_of(codec, 2, &body)), Ok(()));
        assert_eq!(walked(&batch_of(codec, 1, &body)), Err(RecordError::Trailing { record_count: 1 }));
        assert_eq!(walked(&batch_of(codec, i32::MAX, &body)), Err(RecordError::Truncated { index: 2 }));
    }
}

#[test]
fn headers_count_lie() {
    for count in [-1, 1, 1_000_000, i32::MAX] {
        let mut record = vec![0, 0, 0, 1, 1]; // attributes, two deltas, null key, null value
        put_varint(&mut record, count);
        let mut body = Vec::new();
        put_varint(&mut body, record.len() as i32);
        body.extend(record);
        let bytes = batch_of(Codec::None, 1, &body);
        let error = RecordError::HeaderCount { index: 0, count };
        assert_eq!(within_budget(0, || Records::new(&body, 1).next().unwrap()), Err(error));
        assert_eq!(walked(&bytes), Err(error));
    }
}

#[test]
fn last_offset_delta_lie() {
    for delta in [-1, 0, 2, i32::MAX, i32::MIN] {
        let mut bytes = plain_batch();
        bytes[23..27].copy_from_slice(&i32::to_be_bytes(delta));
        seal(&mut bytes);
        let error = batch::validate_client(&bytes).unwrap_err();
        assert_eq!(error, BatchError::Count { record_count: 2, last_offset_delta: delta });
        // A log may hold anything: the sums saturate.
        let header = BatchHeader::parse(&bytes).unwrap();
        let _: i64 = header.next_offset();
    }
}

#[test]
fn varint_11_bytes() {
    let mut record = vec![0];
    record.extend([0xff; 10]);
    record.extend([0x01, 0, 1, 1, 0]);
    let mut body = Vec::new();
    put_varint(&mut body, record.len() as i32);
    body.extend(record);
    assert_eq!(Records::new(&body, 1).next().unwrap(), Err(RecordError::Varint { index: 0 }));
    assert_eq!(walked(&batch_of(Codec::None, 1, &body)), Err(RecordError::Varint { index: 0 }));
    let six = [0x80, 0x80, 0x80, 0x80, 0x80, 0x01, 0];
    assert_eq!(Records::new(&six, 1).next().unwrap(), Err(RecordError::Varint { index: 0 }));
    let error = refused::<MetadataRequest<'_>>(&[0xff; 11], 9);
    assert_eq!(error.what, "a varint is longer than 5 bytes or exceeds 32 bits");
}

#[test]
fn batch_length_negative() {
    for length in [-1i32, i32::MIN, 0, 48] {
        let mut bytes = plain_batch();
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        let error = batch::validate_client(&bytes).unwrap_err();
        assert_eq!(error, BatchError::Length { length, magic: 2, length_min: 49 });
        assert_eq!(error.code(), ErrorCode::CorruptMessage);
        assert!(BatchHeader::peek(&bytes).is_none());
        assert_eq!(batch::batches(&bytes).next().unwrap().unwrap_err(), error);
    }
}

#[test]
fn crc_zero() {
    let mut bytes = plain_batch();
    bytes[17..21].copy_from_slice(&[0; 4]);
    let error = batch::validate_client(&bytes).unwrap_err();
    assert!(matches!(error, BatchError::Crc { found: 0, .. }));
    assert_eq!(error.code(), ErrorCode::CorruptMessage);
}

#[test]
fn control_batch_from_client() {
    let mut builder = BatchBuilder::new(Codec::None).producer(1, 0, 0);
    (builder.control, builder.transactional) = (true, true);
    builder.append(0, Some(&[0, 0, 0, 1]), Some(&[0; 6]), &[]);
    let error = batch::validate_client(&builder.build()).unwrap_err();
    assert_eq!((error, error.code()), (BatchError::Control, ErrorCode::InvalidRecord));
}

#[test]
fn producer_without_sequence() {
    let mut builder = BatchBuilder::new(Codec::None).producer(5, 0, -1);
    builder.append(0, None, None, &[]);
    let error = batch::validate_client(&builder.build()).unwrap_err();
    assert_eq!(error, BatchError::Sequence { producer_id: 5, base_sequence: -1 });
}

#[test]
fn codec_5_to_7() {
    for number in 5..=7u8 {
        let mut bytes = plain_batch();
        bytes[22] = number;
        seal(&mut bytes);
        let error = batch::validate_client(&bytes).unwrap_err();
        assert_eq!((error, error.code()), (BatchError::Codec { number }, ErrorCode::InvalidRecord));
        assert_eq!(walked(&bytes), Err(RecordError::Codec { number }));
    }
}

#[test]
fn two_batches_in_one_partition() {
    let bytes = [plain_batch(), plain_batch()].concat();
    assert!(matches!(batch::validate_client(&bytes), Err(BatchError::Trailing { .. })));
}

#[test]
fn gzip_1m_to_1g() {
    let mut member = Vec::new();
    compress(Codec::Gzip, Some(9), &vec![0; 16 << 20], &mut member);
    let bomb = member.repeat(64);
    assert!(bomb.len() < 2 << 20, "{}", bomb.len());
    let output_max = 100 << 20;
    let used = allocation_counter::measure(|| {
        let mut decompressor = Decompressor::new();
        let mut walk = decompressor.start(Codec::Gzip, &bomb, output_max).unwrap();
        let error = loop {
            match walk.fill() {
                Ok(piece) => {
                    let bytes = piece.len();
                    assert!(bytes > 0, "the limit was never reached");
                    walk.consume(bytes);
                }
                Err(error) => break error,
            }
        };
        assert_eq!(error, CompressionError::TooLarge { codec: Codec::Gzip, output_max });
        assert_eq!(error.code(), ErrorCode::MessageTooLarge);
    });
    assert!(used.bytes_max < 256 << 10, "{} bytes were held", used.bytes_max);
}

#[test]
fn bombs_of_all_codecs_stop_at_the_limit() {
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let mut body = Vec::new();
        compress(codec, None, &vec![0; 8 << 20], &mut body);
        let error = CompressionError::TooLarge { codec, output_max: OUTPUT_MAX };
        assert_eq!(walked(&batch_of(codec, 1, &body)), Err(RecordError::Length { index: 0 }), "{codec}");
        assert_eq!(decompress(codec, &body, OUTPUT_MAX), Err(error));
    }
}

#[test]
fn zstd_window_31() {
    let frame = |window_log: u8| {
        let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, (window_log - 10) << 3];
        frame.extend([0x09, 0x00, 0x00, b'x']); // one raw block of one byte, the last
        frame
    };
    assert_eq!(decompress(Codec::Zstd, &frame(27), 10).unwrap(), b"x");
    for window_log in [28, 31] {
        let error = decompress(Codec::Zstd, &frame(window_log), 10).unwrap_err();
        assert!(matches!(error, CompressionError::Broken { codec: Codec::Zstd, .. }), "{error}");
    }
}

#[test]
fn lz4_no_end() {
    let mut frame = Vec::new();
    compress(Codec::Lz4, None, b"some bytes some bytes some bytes", &mut frame);
    frame.truncate(frame.len() - 4);
    let truncated = Err(CompressionError::Truncated { codec: Codec::Lz4 });
    assert_eq!(decompress(Codec::Lz4, &frame, OUTPUT_MAX), truncated);
}

#[test]
fn lz4_dependent_blocks() {
    let descriptor = [0x40, 0x40];
    let mut frame = vec![0x04, 0x22, 0x4d, 0x18];
    frame.extend(descriptor);
    frame.push((xxh32(&descriptor) >> 8) as u8);
    frame.extend([0; 4]);
    let error = decompress(Codec::Lz4, &frame, OUTPUT_MAX).unwrap_err();
    assert_eq!(error.to_string(), "lz4: dependent blocks are not supported");
}

#[test]
fn lz4_block_larger_than_the_frame_allows() {
    let mut frame = Vec::new();
    compress(Codec::Lz4, None, &[7; 100], &mut frame);
    frame[7..11].copy_from_slice(&0x7fff_ffffu32.to_le_bytes());
    let error = decompress(Codec::Lz4, &frame, OUTPUT_MAX).unwrap_err();
    assert_eq!(error.to_string(), "lz4: a block is larger than the frame allows");
}

#[test]
fn xerial_repeated_header() {
    let mut stream = Vec::new();
    compress(Codec::Snappy, None, b"one ", &mut stream);
    compress(Codec::Snappy, None, b"two", &mut stream);
    assert_eq!(decompress(Codec::Snappy, &stream, OUTPUT_MAX).unwrap(), b"one two");
}

#[test]
fn snappy_chunk_lie() {
    let header = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1];
    let lie = [0xff, 0xff, 0xff, 0xff, 0x0f, 0x00, b'x'];
    let cases = [
        // The block announces 4 GiB of plain bytes, framed and bare.
        [&header[..], &[0, 0, 0, lie.len() as u8], &lie].concat(),
        lie.to_vec(),
        // The stream announces a block of 2 GiB, and one of less than nothing.
        [&header[..], &[0x7f, 0xff, 0xff, 0xff], b"x"].concat(),
        [&header[..], &[0xff, 0xff, 0xff, 0xff], b"x"].concat(),
    ];
    for input in cases {
        let error = within_budget(input.len(), || decompress(Codec::Snappy, &input, usize::MAX).unwrap_err());
        assert_eq!(error.code(), ErrorCode::InvalidRecord, "{error}");
    }
}

#[test]
fn magic_1_nested_twice() {
    fn entry(attributes: u8, value: &[u8]) -> Vec<u8> {
        let mut message = vec![1, attributes];
        message.extend([0; 8]);
        message.extend((-1i32).to_be_bytes());
        message.extend((value.len() as i32).to_be_bytes());
        message.extend(value);
        let mut out = vec![0; 8];
        out.extend((message.len() as i32 + 4).to_be_bytes());
        out.extend(crc32(&message).to_be_bytes());
        out.extend(message);
        out
    }
    fn wrap(inner: &[u8]) -> Vec<u8> {
        let mut value = Vec::new();
        compress(Codec::Gzip, None, inner, &mut value);
        entry(1, &value)
    }
    let read = |bytes: &[u8]| {
        let Batch::Legacy(outer) = Batch::parse(bytes).unwrap() else { panic!("magic 1") };
        outer.messages(&mut Decompressor::new(), &mut Vec::new(), OUTPUT_MAX, |_| {})
    };
    assert!(read(&wrap(&entry(0, b"v"))).is_ok());
    assert!(matches!(read(&wrap(&wrap(&entry(0, b"v")))), Err(LegacyError::Nested)));
}

/// The decoder walks them all and allocates nothing; that each is answered once is the rule of who answers.
#[test]
fn fetch_same_partition_10k() {
    let partitions = (0..10_000).map(|_| FetchRequestPartition { partition: 3, ..Default::default() });
    let topic = FetchRequestTopic { topic: "t", partitions: partitions.collect(), ..Default::default() };
    let request = FetchRequest { topics: [topic].into(), ..Default::default() };
    for version in 4..=12 {
        let mut body = Vec::new();
        request.encode(&mut body, version);
        let used = allocation_counter::measure(|| {
            let read = FetchRequest::decode(&mut Reader::new(&body), version).unwrap();
            assert_eq!(
                read.partitions().filter(|(key, one)| key.name == "t" && one.partition == 3).count(),
                10_000
            );
        });
        assert_eq!(used.bytes_total, 0, "version {version}");
    }
}
