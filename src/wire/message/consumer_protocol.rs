//! What consumers say to each other through their group (contract 6.3): subscription and assignment, tables of fields
//! behind a version of their own.
//!
//! In: a member's metadata or assignment. Out: its fields, or the reverse. The broker passes these bytes on unread; a
//! version we do not know is read as the newest we do, because later ones only add behind it.

use std::borrow::Cow;

use crate::wire::message::message;
use crate::wire::primitive::{DecodeError, Field, Reader, Version};

/// The newest version of both that is known here.
const VERSION: i16 = 3;

message! {
    pub struct Subscription<'a> {
        topics: Vec<Cow<'a, str>> [..];
        user_data: Option<&'a [u8]> [.., null ..];
        owned_partitions: Vec<ConsumerPartitions<'a>> [1..];
        generation_id: i32 [2.., default -1];
        rack_id: Option<Cow<'a, str>> [3.., null 3..];
    }

    pub struct Assignment<'a> {
        assigned_partitions: Vec<ConsumerPartitions<'a>> [..];
        user_data: Option<&'a [u8]> [.., null ..];
    }

    /// What a member of the sticky way remembers in its user data.
    pub struct StickyUserData<'a> {
        previous: Vec<ConsumerPartitions<'a>> [..];
        generation: i32 [.., default -1];
    }

    pub struct ConsumerPartitions<'a> {
        topic: Cow<'a, str> [..];
        partitions: Vec<i32> [..];
    }
}

fn decode<'a, T: Field<'a>>(bytes: &'a [u8]) -> Result<T, DecodeError> {
    let mut r = Reader::new(bytes);
    let number = r.i16()?;
    if number < 0 {
        return Err(r.error("a negative version"));
    }
    T::read(&mut r, Version { number: number.min(VERSION), flexible: false }, false)
}

fn encode<'a, T: Field<'a>>(value: &T, number: i16) -> Vec<u8> {
    let mut out = number.to_be_bytes().to_vec();
    value.write(&mut out, Version { number, flexible: false }, false);
    out
}

impl<'a> Subscription<'a> {
    pub fn decode(bytes: &'a [u8]) -> Result<Subscription<'a>, DecodeError> {
        decode(bytes)
    }

    pub fn encode(&self) -> Vec<u8> {
        encode(self, VERSION)
    }
}

impl<'a> StickyUserData<'a> {
    /// It has no version of its own.
    const PLAIN: Version = Version { number: 0, flexible: false };

    pub fn decode(bytes: &'a [u8]) -> Result<StickyUserData<'a>, DecodeError> {
        Self::read(&mut Reader::new(bytes), Self::PLAIN, false)
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out, Self::PLAIN, false);
        out
    }
}

impl<'a> Assignment<'a> {
    /// Nothing at all is an empty assignment.
    pub fn decode(bytes: &'a [u8]) -> Result<Assignment<'a>, DecodeError> {
        if bytes.is_empty() { Ok(Assignment::default()) } else { decode(bytes) }
    }

    pub fn encode(&self) -> Vec<u8> {
        encode(self, VERSION)
    }

    /// Topic and partition, one by one.
    pub fn partitions(&self) -> impl Iterator<Item = (&str, i32)> {
        let topics = self.assigned_partitions.iter();
        topics.flat_map(|topic| topic.partitions.iter().map(|partition| (&*topic.topic, *partition)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_older_and_newer_versions_are_read_too() {
        let topics =
            |name: &'static str, partitions| vec![ConsumerPartitions { topic: name.into(), partitions }];
        let subscription = Subscription {
            topics: vec!["a".into(), "b".into()],
            user_data: Some(b"u"),
            owned_partitions: topics("a", vec![1, 2]),
            generation_id: 7,
            rack_id: None,
        };
        let mut bytes = subscription.encode();
        assert_eq!(Subscription::decode(&bytes).unwrap(), subscription);
        bytes[1] = 9;
        bytes.extend_from_slice(b"more");
        assert_eq!(Subscription::decode(&bytes).unwrap(), subscription);
        let first = Subscription::decode(&[0, 0, 0, 0, 0, 1, 0, 1, b'a', 255, 255, 255, 255]).unwrap();
        assert_eq!((first.topics, first.generation_id), (vec!["a".into()], -1));
        let assignment = Assignment { assigned_partitions: topics("t", vec![0, 5]), user_data: None };
        let bytes = assignment.encode();
        let decoded = Assignment::decode(&bytes).unwrap();
        assert_eq!(decoded.partitions().collect::<Vec<_>>(), [("t", 0), ("t", 5)]);
        assert_eq!(Assignment::decode(&[]).unwrap(), Assignment::default());
        assert!(Assignment::decode(&bytes[..9]).is_err() && Subscription::decode(&[255, 255]).is_err());
    }
}
