//! What a consumer says it reads: the part of its metadata that every version has (contract 6.3).
//!
//! In: a member's metadata for its protocol. Out: topic names, or nothing when the bytes are not what consumers send.

use crate::wire::primitive::{DecodeError, Reader, Version};

/// The kind of groups whose metadata this is.
pub const CONSUMER: &str = "consumer";

/// Hands each topic of a subscription to `each`.
///
/// | bytes | field    |                                                            |
/// |-------|----------|------------------------------------------------------------|
/// | 0..2  | version  | what versions after 0 add stands behind and is not read    |
/// | 2..   | topics   | an array of strings, as in messages that are not flexible  |
pub fn topics(metadata: &[u8], mut each: impl FnMut(&str)) -> Result<(), DecodeError> {
    let v = Version { number: 0, flexible: false };
    let mut r = Reader::new(metadata);
    if r.i16()? < 0 {
        return Err(r.error("a negative version"));
    }
    let Some(count) = r.count(v, 2)? else { return Err(r.error("no topics")) };
    for _ in 0..count {
        match r.string(v)? {
            Some(topic) => each(topic),
            None => return Err(r.error("a topic without a name")),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(metadata: &[u8]) -> Result<Vec<String>, DecodeError> {
        let mut found = Vec::new();
        topics(metadata, |topic| found.push(topic.to_owned())).map(|()| found)
    }

    #[test]
    fn topics_are_read_whatever_stands_behind_them() {
        let bytes = [0, 3, 0, 0, 0, 2, 0, 1, b'a', 0, 2, b'b', b'c', 255, 255, 255, 255, 9];
        assert_eq!(read(&bytes).unwrap(), ["a", "bc"]);
    }

    #[test]
    fn lengths_that_lie_are_refused() {
        for cut in 0..9 {
            assert!(read(&[0, 0, 0, 0, 0, 1, 0, 1, b'a'][..cut]).is_err(), "{cut}");
        }
        assert!(read(&[0, 0, 0x7f, 255, 255, 255, 0, 1, b'a']).is_err());
        assert!(read(&[0, 0, 0, 0, 0, 1, 0x7f, 255, b'a']).is_err());
        assert!(read(&[255, 255, 0, 0, 0, 0]).is_err());
    }
}
