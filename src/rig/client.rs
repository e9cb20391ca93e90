//! A blocking connection to a subject, for the few questions the rig asks outside a timed window.
//!
//! In: one request at a time. Out: its answer, or one sentence that says which address did not answer, and to what.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::wire::frame;
use crate::wire::header::{RequestHeader, ResponseHeader};
use crate::wire::message::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use crate::wire::message::create_topics::{
    CreateTopicsRequest, CreateTopicsRequestTopic, CreateTopicsResponse,
};
use crate::wire::message::{Message, Request};
use crate::wire::primitive::Reader;
use crate::wire::version::ApiKey;

const RESPONSE_BYTES_MAX: usize = 64 << 20;

#[derive(Debug, thiserror::Error)]
pub enum AskError {
    #[error("{address}: {source}")]
    Io { address: SocketAddr, source: io::Error },
    #[error("{address}: the answer to {api} cannot be read: {reason}")]
    Answer { address: SocketAddr, api: &'static str, reason: String },
}

#[derive(Debug)]
pub struct Client {
    address: SocketAddr,
    stream: TcpStream,
    correlation_id: i32,
}

impl Client {
    pub fn connect(address: SocketAddr, timeout: Duration) -> Result<Client, AskError> {
        let connect = || {
            let stream = TcpStream::connect_timeout(&address, timeout)?;
            stream.set_read_timeout(Some(timeout))?;
            stream.set_write_timeout(Some(timeout))?;
            stream.set_nodelay(true)?;
            Ok(stream)
        };
        let stream = connect().map_err(|source| AskError::Io { address, source })?;
        Ok(Client { address, stream, correlation_id: 0 })
    }

    /// Sends `request` at `version` and hands its answer to `take`.
    pub fn ask<'q, Q: Request<'q>, T>(
        &mut self,
        request: &Q,
        version: i16,
        take: impl for<'r> FnOnce(Q::Response<'r>) -> T,
    ) -> Result<T, AskError> {
        let key = ApiKey::from_key(Q::KEY).expect("a message table names one of Kafka's APIs");
        let frame = self.exchange(key, request, version)?;
        let answer = |reason: String| AskError::Answer { address: self.address, api: key.api().name, reason };
        let mut reader = Reader::new(&frame);
        let header = ResponseHeader::decode(&mut reader, key, version).map_err(|e| answer(e.to_string()))?;
        if header.correlation_id != self.correlation_id {
            let reason =
                format!("it carries id {} instead of {}", header.correlation_id, self.correlation_id);
            return Err(answer(reason));
        }
        let response = Q::Response::decode(&mut reader, version).map_err(|e| answer(e.to_string()))?;
        Ok(take(response))
    }

    fn exchange<'q, Q: Request<'q>>(
        &mut self,
        key: ApiKey,
        request: &Q,
        version: i16,
    ) -> Result<Vec<u8>, AskError> {
        self.correlation_id += 1;
        let mut bytes = Vec::new();
        let start = frame::begin(&mut bytes);
        let header = RequestHeader {
            key,
            version,
            correlation_id: self.correlation_id,
            client_id: Some(b"ringdaw-rig"),
        };
        header.encode(&mut bytes);
        request.encode(&mut bytes, version);
        start.end(&mut bytes, 0);
        let mut talk = || {
            self.stream.write_all(&bytes)?;
            let mut size = [0; frame::SIZE_BYTES];
            self.stream.read_exact(&mut size)?;
            let size = frame::checked_size(i32::from_be_bytes(size), RESPONSE_BYTES_MAX)
                .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e.to_string()))?;
            let mut answer = vec![0; size];
            self.stream.read_exact(&mut answer)?;
            Ok(answer)
        };
        talk().map_err(|source| AskError::Io { address: self.address, source })
    }

    /// Creates topics that nobody will use, one request each.
    pub fn create_topics(&mut self, topics: &[(String, u32)]) -> Result<(), AskError> {
        const VERSION_MAX: i16 = 7;
        let versions = self.api_versions()?;
        let served = versions.iter().find(|(key, ..)| *key == CreateTopicsRequest::KEY);
        let answer = |reason: String| AskError::Answer { address: self.address, api: "CreateTopics", reason };
        let version = served.map_or(0, |(_, _, max)| VERSION_MAX.min(*max));
        if served.is_none_or(|(_, min, _)| version < *min) {
            return Err(answer("it is not served in a version that the rig speaks".to_owned()));
        }
        for (name, partitions) in topics {
            let topic = CreateTopicsRequestTopic {
                name,
                num_partitions: *partitions as i32,
                replication_factor: 1,
                ..CreateTopicsRequestTopic::default()
            };
            let request = CreateTopicsRequest {
                topics: vec![topic].into(),
                timeout_ms: 60_000,
                ..CreateTopicsRequest::default()
            };
            let error = self.ask(&request, version, |response: CreateTopicsResponse<'_>| {
                response.topics.first().map_or(-1, |topic| topic.error_code)
            })?;
            if error != 0 {
                let name_of = crate::wire::error_code::ErrorCode::from_code(error).name();
                return Err(AskError::Answer {
                    address: self.address,
                    api: "CreateTopics",
                    reason: format!("{name}: {error} {name_of}"),
                });
            }
        }
        Ok(())
    }

    /// The versions the subject serves of each API, by key.
    pub fn api_versions(&mut self) -> Result<Vec<(i16, i16, i16)>, AskError> {
        let (error, keys) =
            self.ask(&ApiVersionsRequest::default(), 0, |response: ApiVersionsResponse<'_>| {
                let keys =
                    response.api_keys.iter().map(|k| (k.api_key, k.min_version, k.max_version)).collect();
                (response.error_code, keys)
            })?;
        match error {
            0 => Ok(keys),
            code => Err(AskError::Answer {
                address: self.address,
                api: "ApiVersions",
                reason: format!("error code {code}"),
            }),
        }
    }
}
