//! What stands in front of every request and response (contract 1.1).
//!
//! In: the start of a frame. Out: the API, its version, the correlation id and the client id, and a reader that
//! stands at the body; or the reason why the connection must be closed.
//! The client id is taken as clients send it: any negative length is null, and it need not be UTF-8 (contract 9).
//!
//! | request field    | type            | header version                |
//! |------------------|-----------------|-------------------------------|
//! | `api_key`        | i16             | all                           |
//! | `api_version`    | i16             | all                           |
//! | `correlation_id` | i32             | all                           |
//! | `client_id`      | nullable string | 1, 2; never compact           |
//! | tagged fields    |                 | 2                             |
//!
//! A response has the correlation id, and tagged fields in header version 1.

use std::borrow::Cow;

use crate::wire::frame::{self, FrameStart};
use crate::wire::message::Message;
use crate::wire::primitive::{DecodeError, Reader, Sink, put_uvarint};
use crate::wire::version::{ApiKey, Support};

/// The header of a request, read or to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestHeader<'a> {
    pub key: ApiKey,
    pub version: i16,
    pub correlation_id: i32,
    /// The bytes as sent: clients name themselves in encodings of their own.
    pub client_id: Option<&'a [u8]>,
}

/// Why a request cannot be answered, not even with an error; the connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    #[error("api key {key} (version {version}) is not one of Kafka's")]
    UnknownKey { key: i16, version: i16 },
    #[error("{} (key {}) version {version} is not served", .key.api().name, *.key as i16)]
    UnsupportedVersion { key: ApiKey, version: i16 },
    #[error("request header: {0}")]
    Malformed(DecodeError),
}

impl From<DecodeError> for HeaderError {
    fn from(error: DecodeError) -> HeaderError {
        HeaderError::Malformed(error)
    }
}

impl<'a> RequestHeader<'a> {
    /// Reads the header at the start of a frame and leaves `r` at the body. A request that we answer with an error
    /// (`Support::Refused`) is no error here; look at `support`.
    pub fn decode(r: &mut Reader<'a>) -> Result<RequestHeader<'a>, HeaderError> {
        let (number, version) = (r.i16()?, r.i16()?);
        let Some(key) = ApiKey::from_key(number) else {
            return Err(HeaderError::UnknownKey { key: number, version });
        };
        if key.api().support(version) == Support::None {
            return Err(HeaderError::UnsupportedVersion { key, version });
        }
        let header_version = key.api().request_header_version(version);
        let correlation_id = r.i32()?;
        let client_id = if header_version >= 1 {
            match usize::try_from(r.i16()?) {
                Ok(length) => Some(r.take(length)?),
                Err(_) => None,
            }
        } else {
            None
        };
        if header_version >= 2 {
            r.tagged(|_, _| Ok(false))?;
        }
        Ok(RequestHeader { key, version, correlation_id, client_id })
    }

    /// Whether the request is served, or only answered with an error.
    pub fn support(&self) -> Support {
        self.key.api().support(self.version)
    }

    /// The client id for people: what is not UTF-8 is replaced, no client id is empty.
    pub fn client_id_text(&self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.client_id.unwrap_or_default())
    }

    /// Appends the header.
    pub fn encode(&self, out: &mut impl Sink) {
        out.put(&(self.key as i16).to_be_bytes());
        out.put(&self.version.to_be_bytes());
        out.put(&self.correlation_id.to_be_bytes());
        let header_version = self.key.api().request_header_version(self.version);
        if header_version >= 1 {
            match self.client_id {
                Some(id) => {
                    let id = &id[..id.len().min(i16::MAX as usize)];
                    out.put(&(id.len() as i16).to_be_bytes());
                    out.put(id);
                }
                None => out.put(&(-1i16).to_be_bytes()),
            }
        }
        if header_version >= 2 {
            put_uvarint(out, 0);
        }
    }
}

/// The header of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseHeader {
    pub correlation_id: i32,
}

impl ResponseHeader {
    /// Reads the header of an answer to a request of this key and version.
    pub fn decode(r: &mut Reader<'_>, key: ApiKey, version: i16) -> Result<ResponseHeader, DecodeError> {
        let correlation_id = r.i32()?;
        if key.api().response_header_version(version) >= 1 {
            r.tagged(|_, _| Ok(false))?;
        }
        Ok(ResponseHeader { correlation_id })
    }

    /// Appends the header of an answer to a request of this key and version.
    pub fn encode(&self, out: &mut impl Sink, key: ApiKey, version: i16) {
        out.put(&self.correlation_id.to_be_bytes());
        if key.api().response_header_version(version) >= 1 {
            put_uvarint(out, 0);
        }
    }
}

/// Appends a whole request frame: size, header, body.
pub fn put_request<'m, M: Message<'m>>(
    out: &mut Vec<u8>,
    version: i16,
    correlation_id: i32,
    client_id: Option<&str>,
    body: &M,
) {
    let start = frame::begin(out);
    let key = ApiKey::from_key(M::KEY).expect("a message table names an API of the version table");
    RequestHeader { key, version, correlation_id, client_id: client_id.map(str::as_bytes) }.encode(out);
    body.encode(out, version);
    start.end(out, 0);
}

/// Appends a whole response frame: size, header, body.
pub fn put_response<'m, M: Message<'m>>(out: &mut Vec<u8>, version: i16, correlation_id: i32, body: &M) {
    let start = begin_response(out, M::KEY, version, correlation_id);
    body.encode(out, version);
    start.end(out, 0);
}

/// Starts a response frame whose body the caller writes; `FrameStart::end` fills in its size.
pub fn begin_response(out: &mut Vec<u8>, key: i16, version: i16, correlation_id: i32) -> FrameStart {
    let start = frame::begin(out);
    let key = ApiKey::from_key(key).expect("a message table names an API of the version table");
    ResponseHeader { correlation_id }.encode(out, key, version);
    start
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header_bytes(key: i16, version: i16, rest: &[u8]) -> Vec<u8> {
        let mut bytes = [key.to_be_bytes(), version.to_be_bytes()].concat();
        bytes.extend_from_slice(&77i32.to_be_bytes());
        bytes.extend_from_slice(rest);
        bytes
    }

    #[test]
    fn every_served_key_and_version_reads_back_what_was_written() {
        for (key, versions) in crate::wire::version::advertised() {
            for version in versions.clone() {
                for client_id in [None, Some(&b""[..]), Some(b"client \xff\x00")] {
                    // The oldest header has no client id.
                    let has_id = key.api().request_header_version(version) > 0;
                    let client_id = client_id.filter(|_| has_id);
                    let header = RequestHeader { key, version, correlation_id: -5, client_id };
                    let mut bytes = Vec::new();
                    header.encode(&mut bytes);
                    bytes.push(42);
                    let mut r = Reader::new(&bytes);
                    assert_eq!(RequestHeader::decode(&mut r), Ok(header));
                    assert_eq!(r.remaining(), 1);
                }
            }
        }
    }

    #[test]
    fn a_client_id_of_length_minus_2_is_null_and_one_that_is_not_utf_8_is_accepted() {
        let bytes = header_bytes(3, 1, &[0xff, 0xfe]);
        assert_eq!(RequestHeader::decode(&mut Reader::new(&bytes)).unwrap().client_id, None);
        let bytes = header_bytes(3, 1, &[0, 2, 0xc3, 0x28]);
        let header = RequestHeader::decode(&mut Reader::new(&bytes)).unwrap();
        assert_eq!(header.client_id, Some(&[0xc3, 0x28][..]));
        assert_eq!(header.client_id_text(), "\u{fffd}(");
    }

    #[test]
    fn api_versions_99_needs_the_tag_byte_of_header_2() {
        let bytes = header_bytes(18, 99, &[0xff, 0xff, 0]);
        let header = RequestHeader::decode(&mut Reader::new(&bytes)).unwrap();
        assert_eq!(header.support(), Support::Refused);
        let bytes = header_bytes(18, 99, &[0xff, 0xff]);
        assert!(matches!(RequestHeader::decode(&mut Reader::new(&bytes)), Err(HeaderError::Malformed(_))));
    }

    #[test]
    fn errors_name_key_and_version() {
        let bytes = header_bytes(999, 4, &[]);
        let error = RequestHeader::decode(&mut Reader::new(&bytes)).unwrap_err();
        assert_eq!(error.to_string(), "api key 999 (version 4) is not one of Kafka's");
        let bytes = header_bytes(3, 13, &[]);
        let error = RequestHeader::decode(&mut Reader::new(&bytes)).unwrap_err();
        assert_eq!(error.to_string(), "Metadata (key 3) version 13 is not served");
        let error = RequestHeader::decode(&mut Reader::new(&[0, 3, 0])).unwrap_err();
        assert_eq!(error.to_string(), "request header: the frame ends inside a field at byte 2");
    }

    #[test]
    fn the_answer_to_api_versions_has_header_0_at_every_version() {
        let mut bytes = Vec::new();
        ResponseHeader { correlation_id: 1 }.encode(&mut bytes, ApiKey::ApiVersions, 4);
        assert_eq!(bytes, [0, 0, 0, 1]);
        ResponseHeader { correlation_id: 1 }.encode(&mut bytes, ApiKey::Metadata, 9);
        assert_eq!(bytes[4..], [0, 0, 0, 1, 0]);
    }
}
