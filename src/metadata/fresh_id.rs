//! New ids for clusters and topics: random version-4 UUIDs, as Kafka makes them.
//!
//! In: a source of random numbers. Out: an id whose text form starts with a letter or a digit: Kafka leaves out a
//! leading `-` because command lines take it for an option.

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

#[cfg(test)]
mod tests {
    use super::*;

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
