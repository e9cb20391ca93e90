//! Batches in another form: what a topic's settings ask of a producer's batch, and what old clients send and read
//! (contract 2.2, 2.4; KIP-467).
//!
//! In: a checked batch, or an old message set, and the rules of its topic; or stored batches and the format a reader
//! understands. Out: nothing to do, as nearly always, or the bytes in their new form, or which records break a rule.
//! Records are looked at only where a rule asks for it, and decompressed at most once, to at most `PLAIN_BYTES_MAX`.

use crate::wire::batch::{self, Batch, BatchError, BatchHeader, HEADER_BYTES, NO_TIMESTAMP};
use crate::wire::batch_builder::BatchBuilder;
use crate::wire::compression::{Codec, Decompressor, compress};
use crate::wire::error_code::ErrorCode;
use crate::wire::legacy::{self, LegacyEntry, LegacyError, LegacyMessage};
use crate::wire::record::{
    KEY_MISSING, RecordError, RecordRejection, RecordRules, Records, Rejected, TIMESTAMP_OUTSIDE, put_record,
    validate, validate_plain,
};

/// The most that the records of one batch may become when they are looked at.
pub const PLAIN_BYTES_MAX: usize = 128 << 20;

/// What a topic asks of a producer's batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicRules {
    /// The codec batches are kept in; `None`: each as it came.
    pub codec: Option<Codec>,
    /// The codec's own level; `None` its default.
    pub level: Option<i32>,
    /// The topic is compacted.
    pub key_required: bool,
    /// Records get the time of the append, which the log stamps; producers' timestamps are not looked at.
    pub log_append_time: bool,
    /// Where producers' timestamps must lie; ms since 1970.
    pub timestamp_min: i64,
    pub timestamp_max: i64,
    /// Of a batch, before and after it is rewritten.
    pub batch_bytes_max: usize,
}

impl TopicRules {
    fn of_records(&self) -> RecordRules {
        let (timestamp_min, timestamp_max) = if self.log_append_time {
            (i64::MIN, i64::MAX)
        } else {
            (self.timestamp_min, self.timestamp_max)
        };
        RecordRules {
            key_required: self.key_required,
            timestamp_min,
            timestamp_max,
            output_max: PLAIN_BYTES_MAX,
        }
    }

    fn look_at_records(&self) -> bool {
        let bounded = self.timestamp_min > i64::MIN || self.timestamp_max < i64::MAX;
        self.key_required || (bounded && !self.log_append_time)
    }
}

/// How an accepted batch goes on.
#[derive(Debug, PartialEq, Eq)]
pub enum Accepted {
    AsSent,
    /// As sent, but its header does not tell the newest timestamp of its records: `batch::stamp_create_time`.
    NewestTimestamp(i64),
    Rewritten(Vec<u8>),
}

/// Why a batch is not taken, in the words the client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    pub code: ErrorCode,
    pub message: String,
    /// Place in the batch and what is wrong, of the first `RecordRejection::REJECTED_LISTED` records.
    pub records: Vec<(i32, &'static str)>,
}

impl Rejection {
    fn whole(code: ErrorCode, message: impl Into<String>) -> Rejection {
        Rejection { code, message: message.into(), records: Vec::new() }
    }
}

impl From<BatchError> for Rejection {
    fn from(error: BatchError) -> Rejection {
        Rejection::whole(error.code(), error.to_string())
    }
}

impl From<LegacyError> for Rejection {
    fn from(error: LegacyError) -> Rejection {
        Rejection::whole(error.code(), error.to_string())
    }
}

impl From<RecordRejection> for Rejection {
    fn from(rejection: RecordRejection) -> Rejection {
        match rejection {
            RecordRejection::Unreadable(error) => Rejection::whole(error.code(), error.to_string()),
            RecordRejection::Rules { code: code @ ErrorCode::InvalidTimestamp, records, .. } => Rejection {
                code,
                message: "One or more records have been rejected due to invalid timestamp".to_owned(),
                records,
            },
            RecordRejection::Rules { code, records, total } => {
                let first: Vec<String> =
                    records.iter().take(3).map(|(index, what)| format!("{index}: {what}")).collect();
                let message = format!(
                    "One or more records have been rejected due to {total} record errors in total, and only showing \
                     the first three errors at most: [{}]",
                    first.join(", ")
                );
                Rejection { code, message, records }
            }
        }
    }
}

/// Why stored batches cannot be given to an old reader.
#[derive(Debug, thiserror::Error)]
pub enum Unconvertible {
    #[error("a batch is compressed with zstd, which formats before magic 2 do not know")]
    Zstd,
    #[error(transparent)]
    Batch(#[from] BatchError),
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error(transparent)]
    Legacy(#[from] LegacyError),
}

impl Unconvertible {
    /// What the reader is told.
    pub fn code(&self) -> ErrorCode {
        match self {
            Unconvertible::Zstd => ErrorCode::UnsupportedCompressionType,
            Unconvertible::Batch(_) | Unconvertible::Record(_) | Unconvertible::Legacy(_) => {
                ErrorCode::CorruptMessage
            }
        }
    }
}

/// Converts one thing at a time and keeps its memory for the next: one per thread that needs it.
#[derive(Default)]
pub struct Converter {
    decompressor: Decompressor,
    plain: Vec<u8>,
    inner: Vec<u8>,
}

/// Memory that is kept from one use to the next.
const KEPT_BYTES: usize = 1 << 20;

impl Converter {
    pub fn new() -> Converter {
        Converter::default()
    }

    /// Decides about a batch that `batch::validate_client` has passed.
    pub fn accept(
        &mut self,
        batch: &[u8],
        header: &BatchHeader,
        rules: &TopicRules,
    ) -> Result<Accepted, Rejection> {
        let codec = header.codec().ok_or(BatchError::Codec { number: (header.attributes() & 7) as u8 })?;
        let claims_append_time = header.is_log_append_time();
        if claims_append_time && rules.log_append_time {
            return Err(append_time_claimed(header.record_count()));
        }
        let target = rules.codec.unwrap_or(codec);
        if target == codec {
            if !rules.look_at_records() && !claims_append_time {
                return Ok(Accepted::AsSent);
            }
            batch::check_bytes(header, rules.batch_bytes_max)?;
            let facts = validate(batch, header, &rules.of_records(), &mut self.decompressor)?;
            let is_true = !claims_append_time && header.max_timestamp() == facts.max_timestamp;
            return Ok(if rules.log_append_time || is_true {
                Accepted::AsSent
            } else {
                Accepted::NewestTimestamp(facts.max_timestamp)
            });
        }
        batch::check_bytes(header, rules.batch_bytes_max)?;
        let body = &batch[HEADER_BYTES..header.total_bytes()];
        let plain = if codec == Codec::None {
            body
        } else {
            self.plain.clear();
            self.decompressor
                .into_vec(codec, body, PLAIN_BYTES_MAX, &mut self.plain)
                .map_err(|error| RecordRejection::Unreadable(error.into()))?;
            &self.plain
        };
        let facts = validate_plain(plain, header, &rules.of_records(), &mut self.decompressor)?;
        if !facts.offsets_count_up {
            return Err(Rejection::whole(
                ErrorCode::InvalidRecord,
                "the offset deltas of the records do not count up from 0",
            ));
        }
        let mut out =
            Vec::with_capacity(HEADER_BYTES + plain.len() / if target == Codec::None { 1 } else { 2 });
        out.extend_from_slice(&batch[..HEADER_BYTES]);
        if claims_append_time {
            // Every record has had that one time so far, and keeps it.
            let (records, record) = (&mut self.inner, &mut Vec::new());
            records.clear();
            let delta = header.max_timestamp().wrapping_sub(header.base_timestamp());
            for item in Records::new(plain, header.record_count()) {
                let item = item.map_err(RecordRejection::Unreadable)?;
                put_record(records, record, &item, delta);
            }
            compress(target, rules.level, records, &mut out);
        } else {
            compress(target, rules.level, plain, &mut out);
        }
        batch::restamp(&mut out, target, facts.max_timestamp);
        self.plain.shrink_to(KEPT_BYTES);
        Ok(Accepted::Rewritten(out))
    }

    /// One batch of magic 2 from the messages of an old message set (Produce 0 to 2). A message cut at the end of the
    /// set is left out; `None` where nothing else is in it.
    pub fn accept_message_set(
        &mut self,
        set: &[u8],
        rules: &TopicRules,
    ) -> Result<Option<Vec<u8>>, Rejection> {
        let mut builder = BatchBuilder::new(rules.codec.unwrap_or_default());
        builder.level = rules.level;
        let record_rules = rules.of_records();
        let mut rejected = Rejected::default();
        let (mut magic, mut compressed, mut entries) = (None, false, 0);
        for item in batch::batches(set) {
            let entry = match item {
                Ok((_, Batch::Legacy(entry))) => entry,
                Ok((_, Batch::Current { .. })) => return Err(mixed()),
                Err(BatchError::Incomplete { .. } | BatchError::Empty) => break,
                Err(error) => return Err(error.into()),
            };
            entries += 1;
            if *magic.get_or_insert(entry.magic()) != entry.magic() {
                return Err(mixed());
            }
            let bytes = entry.bytes().len();
            if bytes > rules.batch_bytes_max {
                return Err(BatchError::TooLarge { bytes, bytes_max: rules.batch_bytes_max }.into());
            }
            compressed |= entry.is_compressed();
            if compressed && entries > 1 {
                return Err(Rejection::whole(
                    ErrorCode::InvalidRecord,
                    "a compressed message must be the only one of its set",
                ));
            }
            if entry.is_log_append_time() {
                return Err(append_time_claimed(1));
            }
            if compressed && rules.codec.is_none() {
                builder.codec = entry.codec()?;
            }
            let Converter { decompressor, plain, .. } = self;
            entry.messages(decompressor, plain, PLAIN_BYTES_MAX, |message| {
                let (index, timestamp) = (builder.record_count(), message.timestamp);
                if record_rules.key_required && message.key.is_none() {
                    rejected.add(index, ErrorCode::InvalidRecord, KEY_MISSING);
                }
                let range = record_rules.timestamp_min..=record_rules.timestamp_max;
                if timestamp != NO_TIMESTAMP && !range.contains(&timestamp) {
                    rejected.add(index, ErrorCode::InvalidTimestamp, TIMESTAMP_OUTSIDE);
                }
                builder.append(timestamp, message.key, message.value, &[]);
            })?;
        }
        rejected.into_result()?;
        self.plain.shrink_to(KEPT_BYTES);
        Ok((!builder.is_empty()).then(|| builder.build()))
    }

    /// Appends stored batches in the format of `magic`, 0 or 1, for a reader at `from_offset`: markers and headers do not
    /// exist there and are left out, records below `from_offset` are left out where that is free, offsets stay.
    pub fn for_old_reader(
        &mut self,
        batches: &[u8],
        magic: u8,
        from_offset: i64,
        out: &mut Vec<u8>,
    ) -> Result<(), Unconvertible> {
        for item in batch::batches(batches) {
            match item {
                Ok((_, Batch::Legacy(entry))) if entry.magic() <= magic => {
                    out.extend_from_slice(entry.bytes())
                }
                Ok((_, Batch::Legacy(entry))) => {
                    self.legacy_for_old_reader(&entry, magic, from_offset, out)?
                }
                Ok((_, Batch::Current { header, bytes })) => {
                    match self.batch_for_old_reader(&header, bytes, magic, from_offset, out) {
                        // The reader gets what comes before, and is told when it asks for more.
                        Err(Unconvertible::Zstd) if !out.is_empty() => break,
                        result => result?,
                    }
                }
                // The range may end inside a batch.
                Err(BatchError::Incomplete { .. }) => break,
                Err(error) => return Err(error.into()),
            }
        }
        self.plain.shrink_to(KEPT_BYTES);
        self.inner.shrink_to(KEPT_BYTES);
        Ok(())
    }

    fn batch_for_old_reader(
        &mut self,
        header: &BatchHeader,
        bytes: &[u8],
        magic: u8,
        from_offset: i64,
        out: &mut Vec<u8>,
    ) -> Result<(), Unconvertible> {
        if header.is_control() {
            return Ok(());
        }
        let codec = header.codec().ok_or(RecordError::Codec { number: (header.attributes() & 7) as u8 })?;
        if codec == Codec::Zstd {
            return Err(Unconvertible::Zstd);
        }
        let time = if header.is_log_append_time() && magic == 1 { legacy::LOG_APPEND_TIME } else { 0 };
        let Converter { decompressor, plain, inner } = self;
        inner.clear();
        let mut wrapper = legacy::Compressed::default();
        for record in Records::of(bytes, header, decompressor, plain, PLAIN_BYTES_MAX)? {
            let record = record?;
            let message = LegacyMessage {
                offset: record.offset(header),
                timestamp: record.timestamp(header),
                key: record.key,
                value: record.value,
                crc: 0,
            };
            if codec == Codec::None {
                if message.offset >= from_offset {
                    legacy::put_entry(out, magic, time, &message);
                }
            } else {
                wrapper.put(inner, magic, time, message);
            }
        }
        wrapper.finish(out, magic, codec, header.is_log_append_time(), inner);
        Ok(())
    }

    fn legacy_for_old_reader(
        &mut self,
        entry: &LegacyEntry<'_>,
        magic: u8,
        from_offset: i64,
        out: &mut Vec<u8>,
    ) -> Result<(), Unconvertible> {
        let codec = entry.codec()?;
        let Converter { decompressor, plain, inner } = self;
        inner.clear();
        let mut wrapper = legacy::Compressed::default();
        entry.messages(decompressor, plain, PLAIN_BYTES_MAX, |message| {
            if codec != Codec::None {
                wrapper.put(inner, magic, 0, message);
            } else if message.offset >= from_offset {
                legacy::put_entry(out, magic, 0, &message);
            }
        })?;
        wrapper.finish(out, magic, codec, entry.is_log_append_time(), inner);
        Ok(())
    }
}

/// A producer has set the timestamp type that only the broker sets.
fn append_time_claimed(record_count: i32) -> Rejection {
    const WHAT: &str = "Invalid timestamp type: a producer does not set LogAppendTime.";
    let mut rejected = Rejected::default();
    for index in 0..record_count.min(RecordRejection::REJECTED_LISTED as i32) {
        rejected.add(index, ErrorCode::InvalidTimestamp, WHAT);
    }
    match rejected.into_result() {
        Err(rejection) => rejection.into(),
        Ok(()) => Rejection::whole(ErrorCode::InvalidTimestamp, WHAT),
    }
}

fn mixed() -> Rejection {
    Rejection::whole(ErrorCode::InvalidRecord, "messages of different formats in one set")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: TopicRules = TopicRules {
        codec: None,
        level: None,
        key_required: false,
        log_append_time: false,
        timestamp_min: i64::MIN,
        timestamp_max: i64::MAX,
        batch_bytes_max: 1 << 20,
    };

    fn batch(codec: Codec) -> Vec<u8> {
        let mut builder = BatchBuilder::new(codec).producer(77, 3, 5);
        builder.append(1_000, Some(b"a"), Some(&[1; 3_000]), &[("h", Some(b"x"))]);
        builder.append(3_000, None, Some(b"two"), &[]);
        builder.append(2_000, Some(b"c"), None, &[]);
        builder.build()
    }

    fn accept(bytes: &[u8], rules: &TopicRules) -> Result<Accepted, Rejection> {
        Converter::new().accept(bytes, &batch::validate_client(bytes).unwrap(), rules)
    }

    type Kept = (i64, i64, Option<Vec<u8>>, Option<Vec<u8>>, usize);

    /// Offset, timestamp, key, value and number of headers of each record.
    fn records(bytes: &[u8]) -> Vec<Kept> {
        let header = BatchHeader::parse(bytes).unwrap();
        assert!(header.crc_matches(bytes));
        let (mut decompressor, mut plain) = (Decompressor::new(), Vec::new());
        Records::of(bytes, &header, &mut decompressor, &mut plain, 1 << 20)
            .unwrap()
            .map(|record| {
                let record = record.unwrap();
                (
                    record.offset(&header),
                    record.timestamp(&header),
                    record.key.map(<[u8]>::to_vec),
                    record.value.map(<[u8]>::to_vec),
                    record.headers.len(),
                )
            })
            .collect()
    }

    fn messages(bytes: &[u8]) -> Vec<(u8, Kept)> {
        let mut all = Vec::new();
        for item in batch::batches(bytes) {
            let (_, Batch::Legacy(entry)) = item.unwrap() else { panic!("an old format expected") };
            entry
                .messages(&mut Decompressor::new(), &mut Vec::new(), 1 << 20, |message| {
                    let owned = |field: Option<&[u8]>| field.map(<[u8]>::to_vec);
                    let kept =
                        (message.offset, message.timestamp, owned(message.key), owned(message.value), 0);
                    all.push((entry.magic(), kept));
                })
                .unwrap();
        }
        all
    }

    #[test]
    fn a_topic_without_wishes_takes_every_codec_as_it_is() {
        for codec in Codec::ALL {
            assert_eq!(accept(&batch(codec), &ANY), Ok(Accepted::AsSent), "{codec}");
        }
    }

    #[test]
    fn every_codec_becomes_every_other_and_records_producer_and_sequence_stay() {
        for from in Codec::ALL {
            for to in Codec::ALL {
                let sent = batch(from);
                let accepted = accept(&sent, &TopicRules { codec: Some(to), ..ANY }).unwrap();
                if from == to {
                    assert_eq!(accepted, Accepted::AsSent);
                    continue;
                }
                let Accepted::Rewritten(kept) = accepted else { panic!("{from} to {to}: {accepted:?}") };
                let header = batch::validate_client(&kept).unwrap();
                assert_eq!(header.codec(), Some(to));
                assert_eq!((header.producer_id(), header.producer_epoch()), (77, 3));
                assert_eq!((header.base_sequence(), header.last_offset_delta()), (5, 2));
                assert_eq!(header.max_timestamp(), 3_000);
                assert_eq!(records(&kept), records(&sent), "{from} to {to}");
            }
        }
    }

    #[test]
    fn rules_break_for_the_records_they_name() {
        for codec in [None, Some(Codec::Gzip), Some(Codec::Lz4)] {
            let compacted = TopicRules { codec, key_required: true, ..ANY };
            let keys = accept(&batch(Codec::Lz4), &compacted).unwrap_err();
            assert_eq!((keys.code, keys.records), (ErrorCode::InvalidRecord, vec![(1, KEY_MISSING)]));
            assert!(keys.message.contains("1 record errors in total"), "{}", keys.message);

            let bounded = TopicRules { codec, timestamp_min: 1_500, timestamp_max: 2_500, ..ANY };
            let time = accept(&batch(Codec::Lz4), &bounded).unwrap_err();
            assert_eq!(time.code, ErrorCode::InvalidTimestamp);
            assert_eq!(time.records, [(0, TIMESTAMP_OUTSIDE), (1, TIMESTAMP_OUTSIDE)]);

            let stamped = TopicRules { log_append_time: true, ..bounded };
            assert!(accept(&batch(Codec::Lz4), &stamped).is_ok());
        }
    }

    #[test]
    fn a_wrong_newest_timestamp_is_found_where_records_are_looked_at() {
        let mut sent = batch(Codec::Zstd);
        batch::stamp_timestamps(&mut sent, 1_000, 9_999);
        batch::seal(&mut sent);
        assert_eq!(accept(&sent, &ANY), Ok(Accepted::AsSent));
        let bounded = TopicRules { timestamp_min: 0, ..ANY };
        assert_eq!(accept(&sent, &bounded), Ok(Accepted::NewestTimestamp(3_000)));
        let Ok(Accepted::Rewritten(kept)) = accept(&sent, &TopicRules { codec: Some(Codec::None), ..ANY })
        else {
            panic!("rewritten")
        };
        assert_eq!(BatchHeader::parse(&kept).unwrap().max_timestamp(), 3_000);
    }

    #[test]
    fn a_producer_does_not_set_log_append_time() {
        let mut sent = batch(Codec::None);
        batch::stamp_log_append_time(&mut sent, 5_000);
        assert_eq!(accept(&sent, &ANY), Ok(Accepted::NewestTimestamp(5_000)));
        let refused = accept(&sent, &TopicRules { log_append_time: true, ..ANY }).unwrap_err();
        assert_eq!(refused.code, ErrorCode::InvalidTimestamp);
    }

    #[test]
    fn a_batch_larger_than_the_topic_takes_is_refused_before_it_is_opened() {
        let small = TopicRules { codec: Some(Codec::Zstd), batch_bytes_max: 1_000, ..ANY };
        assert_eq!(accept(&batch(Codec::None), &small).unwrap_err().code, ErrorCode::MessageTooLarge);
    }

    fn message_set(magic: u8, codec: Codec) -> Vec<u8> {
        let (mut plain, mut inner, mut out) = (Vec::new(), Vec::new(), Vec::new());
        let mut wrapper = legacy::Compressed::default();
        for n in 0..3i64 {
            let key = [b'0' + n as u8];
            let message = LegacyMessage {
                offset: n,
                timestamp: 100 + n,
                key: Some(&key),
                value: Some(b"value"),
                crc: 0,
            };
            legacy::put_entry(&mut plain, magic, 0, &message);
            wrapper.put(&mut inner, magic, 0, message);
        }
        if codec == Codec::None {
            return plain;
        }
        wrapper.finish(&mut out, magic, codec, false, &inner);
        out
    }

    #[test]
    fn old_message_sets_become_one_batch_of_their_codec_or_the_topics() {
        for magic in [0, 1] {
            for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4] {
                for wanted in [None, Some(Codec::None), Some(Codec::Zstd)] {
                    let rules = TopicRules { codec: wanted, key_required: true, ..ANY };
                    let kept = Converter::new().accept_message_set(&message_set(magic, codec), &rules);
                    let kept = kept.unwrap().unwrap();
                    let header = batch::validate_client(&kept).unwrap();
                    assert_eq!(header.codec(), Some(wanted.unwrap_or(codec)));
                    assert_eq!(header.producer_id(), -1);
                    let time = |n: i64| if magic == 0 { -1 } else { 100 + n };
                    let expected: Vec<Kept> = (0..3)
                        .map(|n| (n, time(n), Some(vec![b'0' + n as u8]), Some(b"value".to_vec()), 0))
                        .collect();
                    assert_eq!(records(&kept), expected, "magic {magic} {codec} {wanted:?}");
                }
            }
        }
    }

    #[test]
    fn a_message_cut_at_the_end_of_a_set_is_left_out() {
        let set = message_set(1, Codec::None);
        let kept = Converter::new().accept_message_set(&set[..set.len() - 1], &ANY).unwrap().unwrap();
        assert_eq!(records(&kept).len(), 2);
        assert_eq!(Converter::new().accept_message_set(&set[..20], &ANY), Ok(None));
    }

    #[test]
    fn what_is_wrong_in_an_old_set_is_told() {
        let mut converter = Converter::new();
        let mut code = |set: &[u8], rules: &TopicRules| {
            converter.accept_message_set(set, rules).map_err(|rejection| rejection.code).unwrap_err()
        };
        let mut damaged = message_set(1, Codec::None);
        *damaged.last_mut().unwrap() ^= 1;
        assert_eq!(code(&damaged, &ANY), ErrorCode::CorruptMessage);
        let two = [message_set(0, Codec::None), message_set(1, Codec::None)].concat();
        assert_eq!(code(&two, &ANY), ErrorCode::InvalidRecord);
        let wrappers = [message_set(1, Codec::Gzip), message_set(1, Codec::Gzip)].concat();
        assert_eq!(code(&wrappers, &ANY), ErrorCode::InvalidRecord);
        let with_batch = [message_set(1, Codec::None), batch(Codec::None)].concat();
        assert_eq!(code(&with_batch, &ANY), ErrorCode::InvalidRecord);
        let late = TopicRules { timestamp_max: 101, ..ANY };
        assert_eq!(code(&message_set(1, Codec::Gzip), &late), ErrorCode::InvalidTimestamp);
        let small = TopicRules { batch_bytes_max: 30, ..ANY };
        assert_eq!(code(&message_set(1, Codec::None), &small), ErrorCode::MessageTooLarge);
    }

    #[test]
    fn old_readers_get_every_record_at_its_offset_without_markers_and_headers() {
        for magic in [0, 1] {
            for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4] {
                let mut stored = batch(codec);
                batch::stamp(&mut stored, 500, 9);
                let mut marker = BatchBuilder::new(Codec::None);
                (marker.control, marker.transactional, marker.base_offset) = (true, true, 503);
                marker.append(5, Some(&[0; 4]), Some(&[0; 6]), &[]);
                stored.extend(marker.build());
                let mut out = Vec::new();
                Converter::new().for_old_reader(&stored, magic, 501, &mut out).unwrap();
                let time = |time| if magic == 0 { -1 } else { time };
                let mut expected = vec![
                    (magic, (500, time(1_000), Some(b"a".to_vec()), Some(vec![1; 3_000]), 0)),
                    (magic, (501, time(3_000), None, Some(b"two".to_vec()), 0)),
                    (magic, (502, time(2_000), Some(b"c".to_vec()), None, 0)),
                ];
                if codec == Codec::None {
                    expected.remove(0);
                }
                assert_eq!(messages(&out), expected, "magic {magic} {codec}");
                let mut again = Vec::new();
                Converter::new().for_old_reader(&out, magic, 0, &mut again).unwrap();
                assert_eq!(out, again, "what is old enough stays as it is");
            }
        }
    }

    #[test]
    fn log_append_time_and_magic_1_reach_old_readers() {
        let mut stored = batch(Codec::Gzip);
        batch::stamp_log_append_time(&mut stored, 7_777);
        let (mut out, mut oldest) = (Vec::new(), Vec::new());
        Converter::new().for_old_reader(&stored, 1, 0, &mut out).unwrap();
        assert!(messages(&out).iter().all(|(_, kept)| kept.1 == 7_777));
        assert_eq!(Batch::parse(&out).unwrap().max_timestamp(), 7_777);
        Converter::new().for_old_reader(&out, 0, 0, &mut oldest).unwrap();
        let keys = |bytes: &[u8]| -> Vec<_> { messages(bytes).into_iter().map(|(_, kept)| kept.2).collect() };
        assert_eq!(keys(&oldest), keys(&out));
        assert!(messages(&oldest).iter().all(|(magic, kept)| (*magic, kept.1) == (0, -1)));
    }

    #[test]
    fn zstd_has_no_older_form() {
        let error = Converter::new().for_old_reader(&batch(Codec::Zstd), 1, 0, &mut Vec::new()).unwrap_err();
        assert_eq!(error.code(), ErrorCode::UnsupportedCompressionType);
    }
}
