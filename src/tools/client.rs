//! A small blocking client of Kafka's protocol, for command-line tools: one request at a time.
//!
//! In: a list of brokers to start from, requests of the message tables. Out: their responses, at the highest version
//! that both sides know; every broker from 1.0 on is understood, Java's as well as this one.
//! Only PLAINTEXT is spoken. Nothing is sent again by itself except where the caller says so.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use crate::wire::error_code::ErrorCode;
use crate::wire::frame;
use crate::wire::header::{ResponseHeader, put_request};
use crate::wire::message::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use crate::wire::message::metadata::{MetadataRequest, MetadataResponse};
use crate::wire::message::{Message, Request};
use crate::wire::primitive::{DecodeError, Reader};
use crate::wire::version::ApiKey;

/// No answer of an administrative request comes near it; a larger size means that this is no Kafka broker.
const RESPONSE_BYTES_MAX: usize = 512 << 20;
const CLIENT_ID: &str = "ringdaw-tools";

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("`{0}` is not host:port")]
    Address(String),
    #[error("{address}: {action}: {source}")]
    Io { address: String, action: &'static str, source: io::Error },
    #[error("{address}: {what}")]
    Protocol { address: String, what: String },
    #[error("{address} does not serve {} at a version this tool speaks ({ours:?}; it has {theirs})", .key.api().name)]
    Unsupported { address: String, key: ApiKey, ours: RangeInclusive<i16>, theirs: String },
    #[error("no broker could be reached: {}", Joined(.0))]
    NoBroker(Vec<ClientError>),
    #[error("the cluster has no controller at the moment")]
    NoController,
    #[error("{what}: {} ({})", .code.name(), .code.message())]
    Refused { what: String, code: ErrorCode },
}

struct Joined<'a>(&'a [ClientError]);

impl fmt::Display for Joined<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            write!(f, "{}{error}", if index > 0 { "; " } else { "" })?;
        }
        Ok(())
    }
}

/// One broker, connected.
pub struct Connection {
    address: String,
    stream: TcpStream,
    correlation_id: i32,
    client_id: String,
    versions: HashMap<i16, RangeInclusive<i16>>,
}

impl Connection {
    /// Connects to `host:port` and learns which versions are spoken there.
    pub fn open(address: &str, timeout: Duration) -> Result<Connection, ClientError> {
        let failed = |action: &'static str| {
            move |source| ClientError::Io { address: address.to_owned(), action, source }
        };
        if address.rsplit_once(':').is_none_or(|(host, port)| host.is_empty() || port.parse::<u16>().is_err())
        {
            return Err(ClientError::Address(address.to_owned()));
        }
        let all = address.to_socket_addrs().map_err(failed("cannot be resolved"))?;
        let mut stream = Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
        for each in all {
            stream = TcpStream::connect_timeout(&each, timeout);
            if stream.is_ok() {
                break;
            }
        }
        let stream = stream.map_err(failed("cannot be connected"))?;
        let configured = stream
            .set_nodelay(true)
            .and_then(|()| stream.set_read_timeout(Some(timeout)))
            .and_then(|()| stream.set_write_timeout(Some(timeout)));
        configured.map_err(failed("cannot be configured"))?;
        let mut connection = Connection {
            address: address.to_owned(),
            stream,
            correlation_id: 0,
            client_id: CLIENT_ID.to_owned(),
            versions: HashMap::new(),
        };
        connection.learn_versions()?;
        Ok(connection)
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    /// How long an answer may take from now on.
    pub fn set_patience(&mut self, timeout: Duration) -> Result<(), ClientError> {
        let set = self.stream.set_read_timeout(Some(timeout));
        set.map_err(|source| self.io_error("cannot be configured", source))
    }

    /// The bare connection, for a caller that keeps several requests under way.
    pub fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// A broker that does not know our version answers with version 0, and the one before 2.4 without a list.
    fn learn_versions(&mut self) -> Result<(), ClientError> {
        let request = ApiVersionsRequest {
            client_software_name: CLIENT_ID,
            client_software_version: env!("CARGO_PKG_VERSION"),
        };
        for version in [*ApiVersionsRequest::VERSIONS.end(), 0] {
            let frame = self.exchange(version, &request)?;
            let unsupported = (ErrorCode::UnsupportedVersion as i16).to_be_bytes();
            if version > 0 && frame.get(4..6) == Some(&unsupported[..]) {
                continue;
            }
            let response = self.decode::<ApiVersionsResponse<'_>>(&frame, version)?;
            self.check(response.error_code)?;
            let rows = response.api_keys.iter();
            self.versions = rows.map(|row| (row.api_key, row.min_version..=row.max_version)).collect();
            return Ok(());
        }
        Err(self.protocol_error("it does not say which versions it speaks".to_owned()))
    }

    fn check(&self, code: i16) -> Result<(), ClientError> {
        match ErrorCode::known(code) {
            Some(ErrorCode::None) => Ok(()),
            Some(known) => Err(self.protocol_error(format!("{}: {}", known.name(), known.message()))),
            None => Err(self.protocol_error(format!("error {code}"))),
        }
    }

    /// What the broker says it serves, by key.
    pub fn versions(&self) -> impl Iterator<Item = (i16, &RangeInclusive<i16>)> {
        self.versions.iter().map(|(key, versions)| (*key, versions))
    }

    /// The highest version of an API that both sides speak, if there is one.
    pub fn version<'a, Q: Request<'a>>(&self) -> Result<i16, ClientError> {
        let (ours, theirs) = (Q::VERSIONS, self.versions.get(&Q::KEY));
        let both = theirs.map(|theirs| (*ours.start().max(theirs.start()), *ours.end().min(theirs.end())));
        match both {
            Some((least, most)) if least <= most => Ok(most),
            Some(_) | None => Err(ClientError::Unsupported {
                address: self.address.clone(),
                key: ApiKey::from_key(Q::KEY).expect("a message table names an API of the version table"),
                ours,
                theirs: theirs.map_or("none".to_owned(), |theirs| format!("{theirs:?}")),
            }),
        }
    }

    /// Sends a request, at the version `version` says, and hands the response to `read`.
    pub fn call<'a, Q: Request<'a>, T>(
        &mut self,
        request: &Q,
        read: impl FnOnce(Q::Response<'_>) -> T,
    ) -> Result<T, ClientError> {
        let version = self.version::<Q>()?;
        let frame = self.exchange(version, request)?;
        Ok(read(self.decode::<Q::Response<'_>>(&frame, version)?))
    }

    fn decode<'f, M: Message<'f>>(&self, frame: &'f [u8], version: i16) -> Result<M, ClientError> {
        let key = ApiKey::from_key(M::KEY).expect("a message table names an API of the version table");
        let broken = |error: DecodeError| {
            self.protocol_error(format!("its {} response cannot be read: {error}", key.api().name))
        };
        let mut r = Reader::response(frame);
        let header = ResponseHeader::decode(&mut r, key, version).map_err(broken)?;
        if header.correlation_id != self.correlation_id {
            return Err(self.protocol_error(format!(
                "it answered request {} when {} was asked",
                header.correlation_id, self.correlation_id
            )));
        }
        M::decode(&mut r, version).map_err(broken)
    }

    fn exchange<'a, Q: Request<'a>>(&mut self, version: i16, request: &Q) -> Result<Vec<u8>, ClientError> {
        self.correlation_id += 1;
        let mut bytes = Vec::new();
        put_request(&mut bytes, version, self.correlation_id, Some(&self.client_id), request);
        self.stream.write_all(&bytes).map_err(|source| self.io_error("cannot be written to", source))?;
        let mut size = [0; frame::SIZE_BYTES];
        self.stream.read_exact(&mut size).map_err(|source| self.io_error("sent no answer", source))?;
        let size = frame::checked_size(i32::from_be_bytes(size), RESPONSE_BYTES_MAX)
            .map_err(|error| self.protocol_error(format!("this is no Kafka broker: {error}")))?;
        // What is kept grows with what arrives, not with what a stranger announces.
        let mut frame = Vec::new();
        let read = (&mut self.stream).take(size as u64).read_to_end(&mut frame);
        read.map_err(|source| self.io_error("did not send all of its answer", source))?;
        if frame.len() < size {
            return Err(self.protocol_error(format!("it ended after {} of {size} bytes", frame.len())));
        }
        Ok(frame)
    }

    fn io_error(&self, action: &'static str, source: io::Error) -> ClientError {
        ClientError::Io { address: self.address.clone(), action, source }
    }

    fn protocol_error(&self, what: String) -> ClientError {
        ClientError::Protocol { address: self.address.clone(), what }
    }
}

/// A cluster, reached through the first broker of a list that answers. `cluster` adds leaders and coordinators.
pub struct Client {
    any: Connection,
    pub(super) timeout: Duration,
    /// Brokers that were asked before, by `host:port`.
    peers: HashMap<String, Connection>,
    bootstrap: String,
    client_id: String,
}

impl Client {
    /// `bootstrap`: `host:port`, separated by commas.
    pub fn connect(bootstrap: &str, timeout: Duration) -> Result<Client, ClientError> {
        let mut errors = Vec::new();
        for address in bootstrap.split(',').map(str::trim).filter(|address| !address.is_empty()) {
            match Connection::open(address, timeout) {
                Ok(any) => {
                    return Ok(Client {
                        any,
                        timeout,
                        peers: HashMap::new(),
                        bootstrap: bootstrap.to_owned(),
                        client_id: CLIENT_ID.to_owned(),
                    });
                }
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() {
            errors.push(ClientError::Address(bootstrap.to_owned()));
        }
        // One address is the usual case, and then its own error says all.
        if errors.len() == 1 { Err(errors.remove(0)) } else { Err(ClientError::NoBroker(errors)) }
    }

    /// The broker that answered first.
    pub fn any(&mut self) -> &mut Connection {
        &mut self.any
    }

    /// Under which name brokers know this client.
    pub fn set_client_id(&mut self, client_id: &str) {
        self.client_id = client_id.to_owned();
        self.any.client_id = client_id.to_owned();
    }

    /// Another connection to a broker, `host:port`, for the caller alone.
    pub fn open(&self, address: &str) -> Result<Connection, ClientError> {
        let mut connection = Connection::open(address, self.timeout)?;
        connection.client_id = self.client_id.clone();
        Ok(connection)
    }

    /// Asks the next broker of the list that answers from now on, when the one that did may be gone.
    pub fn reconnect(&mut self) -> Result<(), ClientError> {
        let deadline = Instant::now() + self.timeout;
        loop {
            match Client::connect(&self.bootstrap, self.timeout) {
                Ok(fresh) => {
                    self.any = fresh.any;
                    self.any.client_id = self.client_id.clone();
                    return Ok(());
                }
                Err(error) if Instant::now() >= deadline => return Err(error),
                Err(_) => std::thread::sleep(Duration::from_millis(100)),
            }
        }
    }

    /// The connection to a broker, `host:port`; opened when it is needed first.
    pub fn to(&mut self, address: &str) -> Result<&mut Connection, ClientError> {
        if !self.peers.contains_key(address) {
            let connection = self.open(address)?;
            self.peers.insert(address.to_owned(), connection);
        }
        Ok(self.peers.get_mut(address).expect("it was put there"))
    }

    /// Forgets a connection that broke, so that `to` opens another one.
    pub fn forget(&mut self, address: &str) {
        self.peers.remove(address);
    }

    /// A connection to the controller, where topics are made and deleted. Waits for one to be elected.
    pub fn controller(&mut self) -> Result<Connection, ClientError> {
        let deadline = Instant::now() + self.timeout;
        loop {
            let none = MetadataRequest { topics: Some(Default::default()), ..Default::default() };
            let address = self.any.call(&none, |response| controller_address(&response))?;
            match address {
                Some(address) => return Connection::open(&address, self.timeout),
                None if Instant::now() >= deadline => return Err(ClientError::NoController),
                None => std::thread::sleep(Duration::from_millis(100)),
            }
        }
    }
}

fn controller_address(response: &MetadataResponse<'_>) -> Option<String> {
    let broker = response.brokers.iter().find(|broker| broker.node_id == response.controller_id)?;
    Some(format!("{}:{}", broker.host, broker.port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::header::RequestHeader;
    use std::net::TcpListener;

    /// A broker that answers each connection's requests by `answer`, which returns the frame without its size.
    fn broker(answer: impl Fn(i16, i16, i32) -> Vec<u8> + Send + 'static) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            loop {
                let mut size = [0; 4];
                if stream.read_exact(&mut size).is_err() {
                    return;
                }
                let mut frame = vec![0; i32::from_be_bytes(size) as usize];
                stream.read_exact(&mut frame).unwrap();
                let word = |at: usize| i16::from_be_bytes([frame[at], frame[at + 1]]);
                let id = i32::from_be_bytes(frame[4..8].try_into().unwrap());
                let body = answer(word(0), word(2), id);
                stream.write_all(&(body.len() as i32).to_be_bytes()).unwrap();
                stream.write_all(&body).unwrap();
            }
        });
        address
    }

    fn versions_0(id: i32, code: i16, rows: &[(i16, i16, i16)]) -> Vec<u8> {
        let mut out = [&id.to_be_bytes()[..], &code.to_be_bytes()].concat();
        out.extend_from_slice(&(rows.len() as i32).to_be_bytes());
        for (key, min, max) in rows {
            [key, min, max].iter().for_each(|n| out.extend_from_slice(&n.to_be_bytes()));
        }
        out
    }

    const TIMEOUT: Duration = Duration::from_secs(10);

    #[test]
    fn an_old_broker_that_refuses_our_version_is_asked_again_at_version_0() {
        let address = broker(|key, version, id| {
            assert_eq!(key, 18);
            if version > 1 { versions_0(id, 35, &[]) } else { versions_0(id, 0, &[(3, 0, 5)]) }
        });
        let connection = Connection::open(&address, TIMEOUT).map_err(|e| e.to_string()).unwrap();
        assert_eq!(connection.version::<MetadataRequest<'_>>().unwrap(), 5);
        let missing = connection.version::<crate::wire::message::fetch::FetchRequest<'_>>().unwrap_err();
        assert!(missing.to_string().contains("does not serve Fetch"), "{missing}");
    }

    #[test]
    fn a_stranger_that_is_no_broker_is_named_and_nothing_is_reserved_for_it() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        });
        let error = Connection::open(&address, TIMEOUT).map(|_| ()).unwrap_err().to_string();
        assert!(error.starts_with(&address) && error.contains("this is no Kafka broker"), "{error}");
    }

    #[test]
    fn the_first_address_that_answers_is_taken_and_all_that_fail_are_named() {
        let good = broker(|_, version, id| {
            if version > 0 { versions_0(id, 35, &[(18, 0, 0)]) } else { versions_0(id, 0, &[(18, 0, 0)]) }
        });
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let client = Client::connect(&format!("{closed}, {good}"), TIMEOUT);
        assert_eq!(client.map_err(|e| e.to_string()).unwrap().any().address(), good);
        let error =
            Client::connect(&format!("{closed},nonsense"), TIMEOUT).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(&closed) && error.contains("`nonsense` is not host:port"), "{error}");
    }

    #[test]
    fn an_answer_to_another_request_is_refused() {
        let address = broker(|_, _, id| versions_0(id + 1, 0, &[]));
        let error = Connection::open(&address, TIMEOUT).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("it answered request 2 when 1 was asked"), "{error}");
    }

    #[test]
    fn what_is_sent_starts_with_a_header_that_a_broker_reads() {
        let mut bytes = Vec::new();
        let request = MetadataRequest { topics: None, ..Default::default() };
        put_request(&mut bytes, 12, 7, Some(CLIENT_ID), &request);
        let header = RequestHeader::decode(&mut Reader::new(&bytes[4..])).unwrap();
        assert_eq!((header.key, header.version, header.correlation_id), (ApiKey::Metadata, 12, 7));
    }
}
