//! What Java wrote is read, field by field, and written again byte by byte.

use std::collections::BTreeSet;
use std::fmt::Debug;

use base64::Engine as _;
use ringdaw::wire::header::{HeaderError, RequestHeader, ResponseHeader};
use ringdaw::wire::message::Message;
use ringdaw::wire::primitive::Reader;
use ringdaw::wire::version::{Support, advertised};
use serde_json::Value;

use crate::corpus::{GoldenMessage, messages};
use crate::debug_text;
use crate::targets::{Kind, Use, dispatch, within_budget};

/// Decodes within the budget, shows the values, encodes again.
struct ShowAndEncode {
    frame_bytes: usize,
}

impl Use for ShowAndEncode {
    type Out = (String, Vec<u8>);

    fn with<'a, M: Message<'a> + Debug>(self, r: &mut Reader<'a>, version: i16) -> Self::Out {
        let message = within_budget(self.frame_bytes, || M::decode(r, version)).expect("Java wrote it");
        let mut bytes = Vec::new();
        message.encode(&mut bytes, version);
        assert_eq!(message.size(version), bytes.len());
        (format!("{message:?}"), bytes)
    }
}

fn name(golden: &GoldenMessage) -> String {
    format!("{:?} {:?} version {} case {}", golden.key, golden.kind, golden.version, golden.case)
}

/// A reader at the body, and the bytes that our header for it has.
pub fn body(golden: &GoldenMessage) -> (Reader<'_>, Vec<u8>) {
    let mut r = Reader::new(&golden.bytes);
    let mut header = Vec::new();
    match golden.kind {
        Kind::Request if golden.key.api().support(golden.version) == Support::None => {
            // The tables know more than this build serves: ListOffsets 0, and what brokers say to each other.
            assert!(matches!(
                RequestHeader::decode(&mut r.clone()),
                Err(HeaderError::UnsupportedVersion { .. })
            ));
            r.take(8).unwrap();
            let header_version = golden.key.api().request_header_version(golden.version);
            if header_version >= 1 {
                let client_id = usize::try_from(r.i16().unwrap()).unwrap_or(0);
                r.take(client_id).unwrap();
            }
            if header_version >= 2 {
                r.tagged(|_, _| Ok(false)).unwrap();
            }
            header.extend_from_slice(r.since(0));
        }
        Kind::Request => {
            let read = RequestHeader::decode(&mut r).unwrap();
            assert_eq!((read.key, read.version), (golden.key, golden.version));
            assert_eq!(read.correlation_id, golden.correlation_id);
            // The oldest header has none (ControlledShutdown 0).
            let has_client_id =
                golden.case != "least" && golden.key.api().request_header_version(golden.version) > 0;
            assert_eq!(read.client_id, has_client_id.then_some(golden.case.as_bytes()));
            read.encode(&mut header);
        }
        Kind::Response => {
            let read = ResponseHeader::decode(&mut r, golden.key, golden.version).unwrap();
            assert_eq!(read.correlation_id, golden.correlation_id);
            read.encode(&mut header, golden.key, golden.version);
        }
    }
    (r, header)
}

#[test]
fn every_frame_of_java_is_read_and_written_again_byte_by_byte() {
    for golden in messages() {
        let (mut r, mut again) = body(golden);
        let user = ShowAndEncode { frame_bytes: golden.bytes.len() };
        let (_, encoded) = dispatch(golden.key, golden.kind, golden.version, &mut r, user).expect("a table");
        assert_eq!(r.remaining(), 0, "{}", name(golden));
        again.extend(encoded);
        assert!(again == golden.bytes, "{}", name(golden));
    }
}

#[test]
fn every_field_has_the_value_that_java_shows() {
    let mut compared = 0;
    for golden in messages() {
        let (mut r, _) = body(golden);
        let user = ShowAndEncode { frame_bytes: golden.bytes.len() };
        let (shown, _) = dispatch(golden.key, golden.kind, golden.version, &mut r, user).expect("a table");
        compare(&golden.values, &debug_text::parse(&shown), &name(golden), &mut compared);
    }
    assert!(compared > 10_000, "only {compared} values were compared");
}

/// Java's value against ours; Java leaves out fields that a version does not have.
fn compare(java: &Value, ours: &Value, place: &str, compared: &mut usize) {
    match (java, ours) {
        (Value::Object(java), Value::Object(ours)) => {
            for (field, value) in java {
                // Java shows the length of records at most; their bytes are compared with the whole frame.
                if field == "records" {
                    continue;
                }
                let field = snake(field);
                let ours = ours.get(&field).unwrap_or_else(|| panic!("{place}: we have no {field}"));
                compare(value, ours, &format!("{place}.{field}"), compared);
            }
        }
        // Java shows bytes as base64.
        (Value::String(java), Value::Array(ours)) => {
            let ours: Vec<u8> = ours.iter().map(|byte| byte.as_u64().expect("a byte") as u8).collect();
            assert_eq!(java, &base64::engine::general_purpose::STANDARD.encode(ours), "{place}");
        }
        (Value::Array(java), Value::Array(ours)) => {
            assert_eq!(java.len(), ours.len(), "{place}");
            for (at, (java, ours)) in java.iter().zip(ours).enumerate() {
                compare(java, ours, &format!("{place}[{at}]"), compared);
            }
        }
        _ => assert_eq!(java, ours, "{place}"),
    }
    *compared += 1;
}

fn snake(camel: &str) -> String {
    let camel = camel.replace("KRaft", "Kraft");
    let mut out = String::new();
    for c in camel.chars() {
        if c.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

#[test]
fn every_advertised_version_has_golden_bytes_in_both_directions() {
    let have: BTreeSet<(i16, i16, bool)> =
        messages().iter().map(|m| (m.key as i16, m.version, m.kind == Kind::Request)).collect();
    for (key, versions) in advertised() {
        for version in versions.clone() {
            for request in [true, false] {
                assert!(
                    have.contains(&(key as i16, version, request)),
                    "{key:?} {version} request: {request}"
                );
            }
        }
    }
}
