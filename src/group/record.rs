//! The records of `__consumer_offsets`, in Kafka's own format (contract 6.3).
//!
//! In: offsets and groups, or keys and values from a log. Out: the one from the other. A key and a value begin with their
//! version; what is read may be of any release, what is written is what releases from 2.3 on write and read.

use std::sync::Arc;

use super::offsets::Committed;
use super::request::TopicPartition;
use crate::wire::array::Array;
use crate::wire::message::message;
use crate::wire::primitive::{DecodeError, Field, Reader, Sink, Version};

const OFFSET_KEY: i16 = 1;
const GROUP_KEY: i16 = 2;
/// Offsets with a leader epoch.
const OFFSET_VALUE: i16 = 3;
/// Offsets that say themselves when they end.
const OFFSET_VALUE_EXPIRING: i16 = 1;
const GROUP_VALUE: i16 = 3;
/// From here on values are flexible; nobody writes them yet.
const FLEXIBLE: i16 = 4;
const VALUE_MAX: i16 = 4;

/// A record to append. A value of `None` takes the key's last value back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRecord {
    pub key: Vec<u8>,
    pub value: Option<Vec<u8>>,
}

message! {
    pub struct OffsetKey<'a> {
        group: &'a str [..];
        topic: &'a str [..];
        partition: i32 [..];
    }

    pub struct OffsetValue<'a> {
        offset: i64 [..];
        leader_epoch: i32 [3.., default -1];
        metadata: &'a str [..];
        commit_timestamp: i64 [..];
        expire_timestamp: i64 [1..=1, default -1];
    }

    pub struct GroupKey<'a> {
        group: &'a str [..];
    }

    pub struct GroupValue<'a> {
        protocol_type: &'a str [..];
        generation: i32 [..];
        protocol: Option<&'a str> [.., null ..];
        leader: Option<&'a str> [.., null ..];
        current_state_timestamp: i64 [2.., default -1];
        members: Array<'a, MemberValue<'a>> [..];
    }

    pub struct MemberValue<'a> {
        member_id: &'a str [..];
        group_instance_id: Option<&'a str> [3.., null 3..];
        client_id: &'a str [..];
        client_host: &'a str [..];
        rebalance_timeout: i32 [1.., default -1];
        session_timeout: i32 [..];
        subscription: &'a [u8] [..];
        assignment: &'a [u8] [..];
    }
}

/// A record of the topic, as far as we know what it means.
#[derive(Clone, Debug, PartialEq)]
pub enum Read<'a> {
    Offset(OffsetKey<'a>, Option<OffsetValue<'a>>),
    Group(GroupKey<'a>, Option<GroupValue<'a>>),
    /// Of a newer release: such keys are passed over, as Kafka does.
    Unknown,
}

fn version(number: i16) -> Version {
    Version { number, flexible: number >= FLEXIBLE }
}

fn encode<'a>(number: i16, body: &impl Field<'a>) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    out.put(&number.to_be_bytes());
    body.write(&mut out, version(number), false);
    out
}

/// Reads a key and its value.
pub fn read<'a>(key: &'a [u8], value: Option<&'a [u8]>) -> Result<Read<'a>, DecodeError> {
    fn body<'a, M: Field<'a>>(value: &'a [u8]) -> Result<M, DecodeError> {
        let mut r = Reader::new(value);
        let number = r.i16()?;
        if !(0..=VALUE_MAX).contains(&number) {
            return Err(r.error("a value of an unknown version"));
        }
        M::read(&mut r, version(number), false)
    }
    let mut r = Reader::new(key);
    Ok(match r.i16()? {
        0 | OFFSET_KEY => {
            Read::Offset(OffsetKey::read(&mut r, version(0), false)?, value.map(body).transpose()?)
        }
        GROUP_KEY => Read::Group(GroupKey::read(&mut r, version(0), false)?, value.map(body).transpose()?),
        _ => Read::Unknown,
    })
}

fn offset_key(group: &str, at: &TopicPartition) -> Vec<u8> {
    encode(OFFSET_KEY, &OffsetKey { group, topic: &at.topic, partition: at.partition })
}

pub fn offset(group: &str, at: &TopicPartition, committed: &Committed) -> NewRecord {
    let value = OffsetValue {
        offset: committed.offset,
        leader_epoch: committed.leader_epoch,
        metadata: committed.metadata.as_deref().unwrap_or(""),
        commit_timestamp: committed.committed_ms,
        expire_timestamp: committed.expires_ms.unwrap_or(-1),
    };
    let number = if committed.expires_ms.is_some() { OFFSET_VALUE_EXPIRING } else { OFFSET_VALUE };
    NewRecord { key: offset_key(group, at), value: Some(encode(number, &value)) }
}

pub fn no_offset(group: &str, at: &TopicPartition) -> NewRecord {
    NewRecord { key: offset_key(group, at), value: None }
}

pub fn group(group: &str, value: &GroupValue<'_>) -> NewRecord {
    NewRecord { key: encode(GROUP_KEY, &GroupKey { group }), value: Some(encode(GROUP_VALUE, value)) }
}

pub fn no_group(group: &str) -> NewRecord {
    NewRecord { key: encode(GROUP_KEY, &GroupKey { group }), value: None }
}

/// The offset in a record.
pub fn committed(value: &OffsetValue<'_>, log_offset: i64) -> Committed {
    Committed {
        offset: value.offset,
        leader_epoch: value.leader_epoch,
        metadata: (!value.metadata.is_empty()).then(|| Arc::from(value.metadata)),
        committed_ms: value.commit_timestamp,
        expires_ms: (value.expire_timestamp != -1).then_some(value.expire_timestamp),
        log_offset,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at() -> TopicPartition {
        TopicPartition { topic: "t".into(), partition: 7 }
    }

    #[test]
    fn an_offset_reads_back_from_what_is_written() {
        let plain = Committed {
            offset: 42,
            leader_epoch: 3,
            metadata: Some("m".into()),
            committed_ms: 1000,
            expires_ms: None,
            log_offset: 9,
        };
        let expiring = Committed { leader_epoch: -1, expires_ms: Some(2000), ..plain.clone() };
        for (wanted, number) in [(plain, 3), (expiring, 1)] {
            let record = offset("g", &at(), &wanted);
            let value = record.value.unwrap();
            assert_eq!(value[..2], [0, number]);
            let Read::Offset(key, Some(value)) = read(&record.key, Some(&value)).unwrap() else { panic!() };
            assert_eq!((key.group, key.topic, key.partition), ("g", "t", 7));
            assert_eq!(committed(&value, 9), wanted);
        }
    }

    #[test]
    fn every_version_of_an_offset_value_is_read() {
        for number in 0..=4 {
            let value = OffsetValue { offset: 5, metadata: "x", commit_timestamp: 6, ..Default::default() };
            let bytes = encode(number, &value);
            let key = offset_key("g", &at());
            let read = read(&key, Some(&bytes)).unwrap();
            assert!(matches!(read, Read::Offset(_, Some(found)) if found == value), "version {number}");
        }
    }

    #[test]
    fn keys_of_newer_releases_are_passed_over_and_damaged_records_refused() {
        assert_eq!(read(&[0, 3, 1, 2], Some(&[9])).unwrap(), Read::Unknown);
        assert!(read(&[0], None).is_err());
        assert!(read(&offset_key("g", &at()), Some(&[0, 9])).is_err());
        let bytes = offset("g", &at(), &Committed::default());
        let value = bytes.value.unwrap();
        for cut in 0..value.len() {
            assert!(read(&bytes.key, Some(&value[..cut])).is_err(), "{cut}");
        }
    }
}
