//! Under which path the settings of a broker, user, client or address are kept: Kafka's own layout below `/config`.
//!
//! In: names as clients say them. Out: a path, and back. Names are escaped as Kafka escapes them (`java.net.URLEncoder`), so that
//! no name is mistaken for `<default>` or cuts a path.

use std::fmt::Write;

use crate::ids::BrokerId;
use crate::wire::primitive::Uuid;

/// Stands for everyone who has no settings of his own.
pub const DEFAULT: &str = "<default>";
pub const ALL_BROKERS: &str = "brokers/<default>";

/// The path of one broker.
pub fn broker(id: BrokerId) -> String {
    format!("brokers/{id}")
}

/// What a broker's copy of the metadata says of itself; in the copy alone.
pub const COPY: &str = "copy";

/// The one key below [`spread`].
pub const SPREAD_OVER: &str = "partitions";

/// Where it is kept how many partitions of an internal topic were there before it grew. Kafka has no such place: it spreads
/// groups over the partitions that it finds when it starts, so that after a growth and a restart their offsets are lost.
pub fn spread(topic: &Uuid) -> String {
    let mut path = String::from("spread/");
    for byte in topic.0 {
        // Writing to a String cannot fail.
        let _ = write!(path, "{byte:02x}");
    }
    path
}

/// A name as a part of a path; `None` is the default.
pub fn escape(name: Option<&str>) -> String {
    let Some(name) = name else { return DEFAULT.to_owned() };
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' => out.push(char::from(byte)),
            // Writing to a String cannot fail.
            _ => drop(write!(out, "%{byte:02X}")),
        }
    }
    out
}

/// The name behind a part of a path; `None` is the default. What cannot be read is taken as it stands.
pub fn unescape(part: &str) -> Option<String> {
    if part == DEFAULT {
        return None;
    }
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        let hex = more.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = &more[2..];
            }
            _ => {
                bytes.push(*first);
                rest = more;
            }
        }
    }
    Some(String::from_utf8(bytes).unwrap_or_else(|_| part.to_owned()))
}

/// What a part of an entity of clients names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    User,
    ClientId,
    Address,
}

/// The parts of the entity of clients whose settings are kept under `path`, each with its name; `None` is the default.
pub fn entity(path: &str) -> Option<Vec<(Kind, Option<String>)>> {
    let parts: Vec<&str> = path.split('/').collect();
    let parts = match parts.as_slice() {
        ["users", user] => vec![(Kind::User, *user)],
        ["users", user, "clients", client] => vec![(Kind::User, *user), (Kind::ClientId, *client)],
        ["clients", client] => vec![(Kind::ClientId, *client)],
        ["ips", ip] => vec![(Kind::Address, *ip)],
        _ => return None,
    };
    Some(parts.into_iter().map(|(kind, name)| (kind, unescape(name))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_comes_back_and_none_is_the_default() {
        for name in ["alice", "CN=a,O=b/c", "<default>", "größe", "%41", "", "a b*~"] {
            let part = escape(Some(name));
            assert!(part != DEFAULT && !part.contains('/'), "{part}");
            assert_eq!(unescape(&part).as_deref(), Some(name));
        }
        assert_eq!(unescape(&escape(None)), None);
        assert_eq!(escape(Some("a b*~")), "a%20b%2A%7E");
    }
}
