//! New ids for clusters and topics: random version-4 UUIDs, as Kafka makes them.
//!
//! In: a source of random numbers. Out: an id whose text form starts with a letter or a digit: Kafka leaves out a
//! leading `-` because command lines take it for an option.

use sha2::{Digest, Sha256};

use crate::wire::primitive::Uuid;

/// Where random numbers come from: the engine's, or a seed in a test.
pub type Random = Box<dyn FnMut() -> u64 + Send>;

pub fn fresh_id(random: &mut dyn FnMut() -> u64) -> Uuid {
    loop {
        let (high, low) = (random(), random());
        let high = high & !0xf000 | 0x4000;
        let low = low & !(3 << 62) | 2 << 62;
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&high.to_be_bytes());
        bytes[8..].copy_from_slice(&low.to_be_bytes());
        let id = Uuid(bytes);
        if !id.to_string().starts_with('-') {
            return id;
        }
    }
}

/// Stands for the id of a topic in a cluster that has none yet (`inter.broker.protocol.version` below 2.8): always the same for
/// a name, and told to nobody.
pub fn stand_in_id(topic: &str) -> Uuid {
    let digest = Sha256::digest(topic.as_bytes());
    let mut bytes = [0; 16];
    bytes[8..].copy_from_slice(&digest[..8]);
    Uuid(bytes)
}

/// The id as others may know it: zero where it only stands in. Those of Kafka have a version number in their first half.
pub fn told(id: Uuid) -> Uuid {
    if id.0[..8] == [0; 8] { Uuid::ZERO } else { id }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_stands_in_is_told_to_nobody() {
        assert_ne!(stand_in_id("a"), stand_in_id("b"));
        assert_eq!((stand_in_id("a"), told(stand_in_id("a"))), (stand_in_id("a"), Uuid::ZERO));
        let mut next = 0;
        let id = fresh_id(&mut || {
            next += 1;
            next
        });
        assert_eq!(told(id), id);
    }

    #[test]
    fn ids_are_version_4_and_never_start_with_a_dash() {
        let mut next = 0xfa00_0000_0000_0000u64; // the text of the first ids would start with `-`
        let mut random = || {
            next = next.wrapping_add(0x0007_1234_5678_9abc);
            next
        };
        for _ in 0..2000 {
            let id = fresh_id(&mut random);
            assert_eq!((id.0[6] >> 4, id.0[8] >> 6), (4, 2));
            let text = id.to_string();
            assert!(text.len() == 22 && !text.starts_with('-'), "{text}");
        }
    }
}
