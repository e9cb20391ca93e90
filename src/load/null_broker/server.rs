//! The null broker's loop: connections, requests, answers.
//!
//! In: completions of one engine. Out: answers in the order of the requests of each connection.
//! Offsets are assigned while a request is read; its answer leaves after the one write per partition that ends the
//! turn. A fetch that waits holds up the requests behind it, as in every Kafka broker.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hashbrown::HashMap;
use slab::Slab;

use crate::clock::Instant;
use crate::load::null_broker::store::{Bytes, Store};
use crate::load::null_broker::{Fault, NullBrokerError, Options, failed};
use crate::load::random::Random;
use crate::reactor::choice;
use crate::reactor::ring::RingOptions;
use crate::reactor::{Completion, Done, Engine, File, Operation, OsDisk, Socket, Token, Wait};
use crate::wire::error_code::ErrorCode;
use crate::wire::frame::{self, Front};
use crate::wire::header::{RequestHeader, begin_response, put_response};
use crate::wire::message::Message;
use crate::wire::message::api_versions::{ApiVersionsResponse, ApiVersionsResponseApiKey};
use crate::wire::message::create_topics::{
    CreateTopicsRequest, CreateTopicsResponse, CreateTopicsResponseTopic,
};
use crate::wire::message::delete_topics::{
    DeleteTopicsRequest, DeleteTopicsResponse, DeleteTopicsResponseResult,
};
use crate::wire::message::fetch::FetchRequest;
use crate::wire::message::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use crate::wire::message::list_offsets::{
    ListOffsetsRequest, ListOffsetsResponse, ListOffsetsResponsePartition, ListOffsetsResponseTopic,
};
use crate::wire::message::metadata::{
    MetadataRequest, MetadataResponse, MetadataResponseBroker, MetadataResponsePartition,
    MetadataResponseTopic,
};
use crate::wire::message::produce::ProduceRequest;
use crate::wire::primitive::{DecodeError, Reader, Sink};
use crate::wire::version::ApiKey;

/// What we serve. Produce and Fetch stay below their flexible versions: the layout below is written for those.
const SERVED: [(ApiKey, i16, i16); 8] = [
    (ApiKey::Produce, 3, 8),
    (ApiKey::Fetch, 4, 11),
    (ApiKey::ListOffsets, 1, 5),
    (ApiKey::Metadata, 0, 8),
    (ApiKey::ApiVersions, 0, 3),
    (ApiKey::CreateTopics, 0, 4),
    (ApiKey::DeleteTopics, 0, 3),
    (ApiKey::InitProducerId, 0, 1),
];

const BROKER_ID: i32 = 0;
const INPUT_BYTES: usize = 256 << 10;
/// `socket.request.max.bytes` as Kafka has it.
const REQUEST_BYTES_MAX: usize = 100 << 20;
/// Batches per partition that `ack-then-lose` keeps in memory.
const HELD_BACK_BATCHES: usize = 64;
const PARTITIONS_MAX: i32 = 200_000;
const ACCEPT: Token = Token(u64::MAX - 1);
const HEADER_BYTES: usize = 61;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
enum What {
    Receive = 1,
    Send = 2,
    Writable = 3,
}

fn token(what: What, key: usize, generation: u32) -> Token {
    Token((what as u64) << 60 | u64::from(generation & 0x0fff_ffff) << 32 | key as u64)
}

/// What still has to be sent, in order; plain bytes are the next ones of `Connection::out`.
#[derive(Debug)]
enum Piece {
    Bytes(usize),
    File { file: File, place: u64, left: usize },
}

struct Connection {
    socket: Socket,
    generation: u32,
    /// Empty while the engine receives into it.
    input: Vec<u8>,
    filled: usize,
    /// Bytes of `input` that were handled.
    used: usize,
    out: Vec<u8>,
    out_at: usize,
    pieces: VecDeque<Piece>,
    /// A send, or a wait for room, is under way.
    busy: bool,
    waiting: Option<Waiting>,
    session: Option<Session>,
    /// A planted delay: nothing leaves before.
    hold_until: Instant,
    closing: bool,
}

/// A fetch without data yet.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    correlation_id: i32,
    version: i16,
    until: Instant,
    bytes_max: usize,
    /// Of a request outside any session: forget what was asked after the answer.
    sessionless: bool,
}

struct Session {
    id: i32,
    epoch: i32,
    entries: Vec<Entry>,
    places: HashMap<(usize, u32), usize>,
}

struct Entry {
    topic: usize,
    partition: u32,
    offset: i64,
    /// Where `offset` lies, when it came from the fetch before.
    place: Option<u64>,
    bytes_max: u64,
}

/// A batch that `reorder` stores behind the next one.
struct Swapped {
    connection: usize,
    topic: usize,
    partition: u32,
    bytes: Vec<u8>,
    records: i64,
}

pub struct Server {
    options: Options,
    listener: Socket,
    address: SocketAddr,
    engine: Box<dyn Engine>,
    store: Store,
    connections: Slab<Connection>,
    generation: u32,
    readable: Vec<usize>,
    /// Connections with answers to send.
    ready: Vec<usize>,
    session_last: i32,
    producer_id_last: i64,
    batches: u64,
    swapped: Option<Swapped>,
    /// Batches with the offset after them, by topic and partition.
    held_back: HashMap<(usize, u32), HeldBack>,
    /// Turns since something was written that waiting fetches have not been told.
    untold_turns: u32,
    random: Random,
    scratch: Scratch,
    now: Instant,
}

/// While more requests are there, waiting fetches hear of what was written after this many turns: a broker that answers
/// a fetch after every write makes its reader ask once per batch, and is no roof.
const UNTOLD_TURNS_MAX: u32 = 4;

type HeldBack = VecDeque<(Vec<u8>, i64)>;

/// What a produce request is taken apart into; kept, so that a request allocates nothing.
#[derive(Default)]
struct Scratch {
    /// Topic, partition, start and length of each batch.
    found: Vec<(usize, i32, usize, usize)>,
    /// Start and end of each topic's name, and its partitions.
    names: Vec<(usize, usize, u32)>,
    answers: Vec<(i32, (ErrorCode, i64))>,
}

/// One partition of a fetch answer.
struct Part {
    topic: usize,
    partition: u32,
    error: ErrorCode,
    end: i64,
    range: Option<Range>,
}

/// Bytes of a file.
struct Range {
    file: File,
    place: u64,
    length: usize,
}

/// Why a connection is closed: its peer breaks the protocol, or is gone.
struct Close;

impl From<DecodeError> for Close {
    fn from(_: DecodeError) -> Close {
        Close
    }
}

impl Server {
    pub fn new(options: Options, listener: Socket, address: SocketAddr) -> Result<Server, NullBrokerError> {
        let ring = RingOptions { entries: 1024, receive_slots: 2, receive_slot_bytes: 4096, workers_max: 2 };
        let kind = choice::choose(None, 1).map_err(|e| failed("the engine")(std::io::Error::other(e)))?.kind;
        let engine = kind.engine(ring).map_err(failed("the engine"))?;
        let store = Store::open(options.variant.kind, &options.data_dir, &OsDisk)
            .map_err(failed(options.data_dir.display().to_string()))?;
        Ok(Server {
            random: Random::new(options.seed, 99),
            now: engine.now(),
            options,
            listener,
            address,
            engine,
            store,
            connections: Slab::new(),
            generation: 0,
            readable: Vec::new(),
            ready: Vec::new(),
            session_last: 0,
            producer_id_last: 0,
            batches: 0,
            swapped: None,
            held_back: HashMap::new(),
            untold_turns: 0,
            scratch: Scratch::default(),
        })
    }

    pub fn serve(mut self, stop: &AtomicBool) -> Result<(), NullBrokerError> {
        self.engine.submit(ACCEPT, Operation::Accept { listener: self.listener.clone() });
        let mut completions = Vec::with_capacity(1024);
        while !stop.load(Ordering::Acquire) {
            let until = self.next_deadline();
            self.engine.turn(Wait::Until(until), &mut completions).map_err(failed("the engine"))?;
            self.now = self.engine.now();
            for completion in completions.drain(..) {
                self.on_completion(completion);
            }
            self.turn()?;
        }
        self.listener.shutdown();
        for (_, connection) in &self.connections {
            connection.socket.shutdown();
        }
        let deadline = self.engine.now().after(Duration::from_secs(1));
        while self.engine.in_flight() > 0 && self.engine.now() < deadline {
            let soon = self.engine.now().after_ms(20);
            self.engine.turn(Wait::Until(soon), &mut completions).map_err(failed("the engine"))?;
            completions.clear();
        }
        Ok(())
    }

    /// The next fetch that has waited long enough, the next delayed answer, or a look at `stop`.
    fn next_deadline(&self) -> Instant {
        let mut until = self.now.after_ms(200);
        for (_, connection) in &self.connections {
            if let Some(waiting) = connection.waiting {
                until = until.min(waiting.until);
            }
            if connection.hold_until > self.now {
                until = until.min(connection.hold_until);
            }
        }
        until
    }

    fn on_completion(&mut self, completion: Completion) {
        if completion.token == ACCEPT {
            if let Done::Accepted { result, last } = completion.done {
                if let Ok(socket) = result {
                    self.on_accepted(socket);
                }
                if last {
                    self.engine.submit(ACCEPT, Operation::Accept { listener: self.listener.clone() });
                }
            }
            return;
        }
        let key = (completion.token.0 & 0xffff_ffff) as usize;
        let generation = (completion.token.0 >> 32) as u32 & 0x0fff_ffff;
        let Some(connection) = self
            .connections
            .get_mut(key)
            .filter(|connection| connection.generation & 0x0fff_ffff == generation)
        else {
            return;
        };
        match completion.done {
            Done::ReceivedInto { into, result } => {
                connection.input = into;
                match result {
                    Ok(count) if count > 0 => {
                        connection.filled += count;
                        self.readable.push(key);
                    }
                    Ok(_) | Err(_) => self.close(key),
                }
            }
            Done::Sent { bytes, result } => {
                connection.busy = false;
                // The vector with the larger capacity is kept for the next answers.
                if connection.out.is_empty() && connection.out.capacity() < bytes.capacity() {
                    connection.out = bytes;
                    connection.out.clear();
                }
                match result {
                    Ok(()) => self.ready.push(key),
                    Err(_) => self.close(key),
                }
            }
            Done::Writable(result) => {
                connection.busy = false;
                match result {
                    Ok(()) => self.ready.push(key),
                    Err(_) => self.close(key),
                }
            }
            _ => {}
        }
    }

    fn on_accepted(&mut self, socket: Socket) {
        if socket.set_no_delay().is_err() {
            return;
        }
        self.generation = self.generation.wrapping_add(1);
        let connection = Connection {
            socket: socket.clone(),
            generation: self.generation,
            input: Vec::new(),
            filled: 0,
            used: 0,
            out: Vec::new(),
            out_at: 0,
            pieces: VecDeque::new(),
            busy: false,
            waiting: None,
            session: None,
            hold_until: Instant(0),
            closing: false,
        };
        let key = self.connections.insert(connection);
        let into = vec![0; INPUT_BYTES];
        let token = token(What::Receive, key, self.generation);
        self.engine.submit(token, Operation::ReceiveInto { socket, into, filled: 0 });
    }

    fn close(&mut self, key: usize) {
        // Pending batches may still name this connection's input: it goes at the end of the turn.
        if let Some(connection) = self.connections.get_mut(key) {
            connection.socket.shutdown();
            connection.closing = true;
            self.ready.push(key);
        }
    }

    /// Everything that has arrived: read, written once, answered.
    fn turn(&mut self) -> Result<(), NullBrokerError> {
        // A fetch that is answered lets the requests behind it in: they are read within the same turn.
        loop {
            let readable = std::mem::take(&mut self.readable);
            for &key in &readable {
                self.read_requests(key);
            }
            let connections = &self.connections;
            let sync = self.options.sync && !self.options.fault.contains(&Fault::SkipFsync);
            let wrote = self
                .store
                .write(&OsDisk, sync, |key| &connections[key].input)
                .map_err(failed("writing a partition"))?;
            for key in readable {
                self.receive_more(key);
            }
            self.untold_turns += u32::from(wrote || self.untold_turns > 0);
            let tell = self.untold_turns > UNTOLD_TURNS_MAX || self.untold_turns > 0 && !self.engine.ready();
            if tell {
                self.untold_turns = 0;
            }
            let answerable = |waiting: Waiting| tell || waiting.until <= self.now;
            let waiting: Vec<usize> = self
                .connections
                .iter()
                .filter(|(_, connection)| connection.waiting.is_some_and(answerable))
                .map(|(key, _)| key)
                .collect();
            for key in waiting {
                self.answer_fetch(key).map_err(failed("reading a partition"))?;
                if self.connections[key].waiting.is_none() {
                    self.readable.push(key);
                }
            }
            if self.readable.is_empty() {
                break;
            }
        }
        if !self.options.fault.is_empty() {
            let now = self.now;
            let due = self.connections.iter().filter(|(_, connection)| {
                connection.hold_until.0 > 0 && connection.hold_until <= now && !connection.pieces.is_empty()
            });
            self.ready.extend(due.map(|(key, _)| key));
        }
        for key in std::mem::take(&mut self.ready) {
            self.send(key);
        }
        Ok(())
    }

    fn read_requests(&mut self, key: usize) {
        loop {
            let connection = &mut self.connections[key];
            if connection.closing || connection.waiting.is_some() || connection.input.is_empty() {
                return;
            }
            // Taken out while a request is handled: handlers look at other connections too.
            let mut input = std::mem::take(&mut connection.input);
            let (used, filled) = (connection.used, connection.filled);
            let result = match frame::front(&input[used..filled], REQUEST_BYTES_MAX) {
                Ok(Front::Whole { frame, used: bytes }) => {
                    let start = used + bytes - frame.len();
                    let (end, result) = (used + bytes, self.on_request(key, &mut input, start, used + bytes));
                    self.connections[key].used = end;
                    result.map(|()| true)
                }
                Ok(Front::Partial { size, .. }) => {
                    if used + size + frame::SIZE_BYTES > input.len() && used == 0 {
                        input.resize(size + frame::SIZE_BYTES, 0);
                    }
                    Ok(false)
                }
                Ok(Front::Unknown) => Ok(false),
                Err(_) => Err(Close),
            };
            self.connections[key].input = input;
            match result {
                Ok(true) => {}
                Ok(false) => return,
                Err(Close) => return self.close(key),
            }
        }
    }

    /// Goes on receiving behind what is left of the input.
    fn receive_more(&mut self, key: usize) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.closing || connection.waiting.is_some() || connection.input.is_empty() {
            return;
        }
        if connection.used == connection.filled {
            (connection.used, connection.filled) = (0, 0);
        } else if connection.input.len() - connection.filled < INPUT_BYTES / 4 {
            connection.input.copy_within(connection.used..connection.filled, 0);
            connection.filled -= connection.used;
            connection.used = 0;
        }
        if let Ok(Front::Partial { size, .. }) =
            frame::front(&connection.input[connection.used..connection.filled], REQUEST_BYTES_MAX)
        {
            let needed = connection.used + size + frame::SIZE_BYTES;
            if needed > connection.input.len() {
                connection.input.resize(needed, 0);
            }
        }
        let into = std::mem::take(&mut connection.input);
        let token = token(What::Receive, key, connection.generation);
        let operation =
            Operation::ReceiveInto { socket: connection.socket.clone(), into, filled: connection.filled };
        self.engine.submit(token, operation);
    }

    /// Handles the request at `start..end` of the connection's input.
    fn on_request(&mut self, key: usize, input: &mut [u8], start: usize, end: usize) -> Result<(), Close> {
        let mut r = Reader::new(&input[start..end]);
        let header = RequestHeader::decode(&mut r).map_err(|_| Close)?;
        let (version, correlation_id) = (header.version, header.correlation_id);
        let served = SERVED.iter().find(|(api, ..)| *api == header.key).ok_or(Close)?;
        if header.key == ApiKey::ApiVersions {
            return self.api_versions(key, version, correlation_id);
        }
        if version < served.1 || version > served.2 {
            return Err(Close);
        }
        match header.key {
            ApiKey::Produce => {
                let body = start + r.position();
                return self.produce(key, input, body, end, version, correlation_id);
            }
            ApiKey::Fetch => {
                let request = FetchRequest::decode(&mut r, version)?;
                self.fetch(key, &request, version, correlation_id);
                return self.answer_fetch(key).map_err(|_| Close);
            }
            ApiKey::Metadata => {
                let request = MetadataRequest::decode(&mut r, version)?;
                self.metadata(key, &request, version, correlation_id);
            }
            ApiKey::ListOffsets => {
                let request = ListOffsetsRequest::decode(&mut r, version)?;
                self.list_offsets(key, &request, version, correlation_id);
            }
            ApiKey::CreateTopics => {
                let request = CreateTopicsRequest::decode(&mut r, version)?;
                self.create_topics(key, &request, version, correlation_id);
            }
            ApiKey::DeleteTopics => {
                let request = DeleteTopicsRequest::decode(&mut r, version)?;
                self.delete_topics(key, &request, version, correlation_id);
            }
            _ => {
                InitProducerIdRequest::decode(&mut r, version)?;
                self.producer_id_last += 1;
                let body =
                    InitProducerIdResponse { producer_id: self.producer_id_last, ..Default::default() };
                self.respond(key, version, correlation_id, &body);
            }
        }
        Ok(())
    }

    /// Appends an answer to what the connection has to send.
    fn respond<'m, M: Message<'m>>(&mut self, key: usize, version: i16, correlation_id: i32, body: &M) {
        self.append(key, |out| put_response(out, version, correlation_id, body));
    }

    fn append(&mut self, key: usize, write: impl FnOnce(&mut Vec<u8>)) {
        let connection = &mut self.connections[key];
        let before = connection.out.len();
        write(&mut connection.out);
        let bytes = connection.out.len() - before;
        match connection.pieces.back_mut() {
            Some(Piece::Bytes(length)) => *length += bytes,
            Some(Piece::File { .. }) | None => connection.pieces.push_back(Piece::Bytes(bytes)),
        }
        self.ready.push(key);
    }

    fn api_versions(&mut self, key: usize, version: i16, correlation_id: i32) -> Result<(), Close> {
        let api_keys = SERVED
            .iter()
            .map(|(api, min, max)| ApiVersionsResponseApiKey {
                api_key: *api as i16,
                min_version: *min,
                max_version: *max,
            })
            .collect();
        let known = (0..=3).contains(&version);
        let error_code = if known { 0 } else { ErrorCode::UnsupportedVersion.code() };
        let body = ApiVersionsResponse { error_code, api_keys, ..Default::default() };
        self.respond(key, if known { version } else { 0 }, correlation_id, &body);
        Ok(())
    }

    fn metadata(&mut self, key: usize, request: &MetadataRequest<'_>, version: i16, correlation_id: i32) {
        let described = |name: String, topic: Option<&crate::load::null_broker::store::Topic>| {
            let partitions = topic.map_or(0, |topic| topic.partitions.len());
            MetadataResponseTopic {
                error_code: if topic.is_some() { 0 } else { ErrorCode::UnknownTopicOrPartition.code() },
                name: Some(name.into()),
                partitions: (0..partitions as i32)
                    .map(|partition_index| MetadataResponsePartition {
                        partition_index,
                        leader_id: BROKER_ID,
                        leader_epoch: 0,
                        replica_nodes: vec![BROKER_ID],
                        isr_nodes: vec![BROKER_ID],
                        ..Default::default()
                    })
                    .collect(),
                ..Default::default()
            }
        };
        let all =
            request.topics.is_none() || version == 0 && request.topics.as_ref().is_some_and(|t| t.is_empty());
        let topics = if all {
            self.store
                .topics
                .iter()
                .flatten()
                .map(|topic| described(topic.name.clone(), Some(topic)))
                .collect()
        } else {
            let names = request.topics.iter().flatten().filter_map(|topic| topic.name);
            names
                .map(|name| {
                    let found = self.store.number(name).and_then(|number| self.store.topics[number].as_ref());
                    described(name.to_owned(), found)
                })
                .collect()
        };
        let body = MetadataResponse {
            brokers: vec![MetadataResponseBroker {
                node_id: BROKER_ID,
                host: self.address.ip().to_string().into(),
                port: i32::from(self.address.port()),
                rack: None,
            }],
            cluster_id: Some("null-broker".into()),
            controller_id: BROKER_ID,
            topics,
            ..Default::default()
        };
        self.respond(key, version, correlation_id, &body);
    }

    fn list_offsets(
        &mut self,
        key: usize,
        request: &ListOffsetsRequest<'_>,
        version: i16,
        correlation_id: i32,
    ) {
        let mut topics = Vec::new();
        for topic in &request.topics {
            let number = self.store.number(topic.name);
            let partitions = topic.partitions.iter().map(|asked| {
                let index = asked.partition_index;
                let found =
                    number.and_then(|number| self.store.partition(number, usize::try_from(index).ok()?));
                ListOffsetsResponsePartition {
                    partition_index: index,
                    error_code: if found.is_some() { 0 } else { ErrorCode::UnknownTopicOrPartition.code() },
                    offset: match (found, asked.timestamp) {
                        (None, _) => -1,
                        (Some(_), -2) => 0,
                        (Some(partition), _) => partition.end(),
                    },
                    leader_epoch: 0,
                    ..Default::default()
                }
            });
            let partitions = partitions.collect();
            topics.push(ListOffsetsResponseTopic { name: topic.name.into(), partitions });
        }
        let body = ListOffsetsResponse { topics, ..Default::default() };
        self.respond(key, version, correlation_id, &body);
    }

    fn create_topics(
        &mut self,
        key: usize,
        request: &CreateTopicsRequest<'_>,
        version: i16,
        correlation_id: i32,
    ) {
        let mut topics = Vec::new();
        for topic in &request.topics {
            let partitions = if topic.num_partitions == -1 { 1 } else { topic.num_partitions };
            let legal = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            let error = if self.store.number(topic.name).is_some() {
                ErrorCode::TopicAlreadyExists
            } else if topic.name.is_empty()
                || topic.name.len() > 249
                || topic.name.starts_with('.')
                || !topic.name.chars().all(legal)
            {
                ErrorCode::InvalidTopicException
            } else if !(1..=PARTITIONS_MAX).contains(&partitions) {
                ErrorCode::InvalidPartitions
            } else {
                match self.store.create(topic.name, partitions as u32, &OsDisk) {
                    Ok(_) => ErrorCode::None,
                    Err(error) => {
                        eprintln!("null broker: creating {}: {error}", topic.name);
                        ErrorCode::KafkaStorageError
                    }
                }
            };
            topics.push(CreateTopicsResponseTopic {
                name: topic.name.into(),
                error_code: error.code(),
                ..Default::default()
            });
        }
        let body = CreateTopicsResponse { topics, ..Default::default() };
        self.respond(key, version, correlation_id, &body);
    }

    fn delete_topics(
        &mut self,
        key: usize,
        request: &DeleteTopicsRequest<'_>,
        version: i16,
        correlation_id: i32,
    ) {
        let mut responses = Vec::new();
        for name in &request.topic_names {
            let error = match self.store.number(name) {
                None => ErrorCode::UnknownTopicOrPartition,
                Some(number) => match self.store.delete(number, &OsDisk) {
                    Ok(()) => ErrorCode::None,
                    Err(error) => {
                        eprintln!("null broker: deleting {name}: {error}");
                        ErrorCode::KafkaStorageError
                    }
                },
            };
            responses.push(DeleteTopicsResponseResult {
                name: Some(name.into()),
                error_code: error.code(),
                ..Default::default()
            });
        }
        let body = DeleteTopicsResponse { responses, ..Default::default() };
        self.respond(key, version, correlation_id, &body);
    }

    // ---- produce --------------------------------------------------------------------------------------------------

    fn produce(
        &mut self,
        key: usize,
        input: &mut [u8],
        body: usize,
        end: usize,
        version: i16,
        correlation_id: i32,
    ) -> Result<(), Close> {
        // First where each batch is, then, with the request no longer borrowed, its offset into it.
        let Scratch { mut found, mut names, mut answers } = std::mem::take(&mut self.scratch);
        found.clear();
        names.clear();
        answers.clear();
        let acks;
        {
            let bytes = &input[body..end];
            let mut r = Reader::new(bytes);
            let request = ProduceRequest::decode(&mut r, version)?;
            acks = request.acks;
            let place = |part: &[u8]| body + (part.as_ptr() as usize - bytes.as_ptr() as usize);
            for topic in &request.topic_data {
                let number = self.store.number(topic.name).unwrap_or(usize::MAX);
                let name = place(topic.name.as_bytes());
                names.push((name, name + topic.name.len(), topic.partition_data.len() as u32));
                for data in &topic.partition_data {
                    let records = data.records.unwrap_or_default();
                    found.push((number, data.index, place(records), records.len()));
                }
            }
        }
        for &(topic, partition, start, length) in &found {
            answers.push((partition, self.batch(key, input, topic, partition, start, length)));
        }
        if let Some(Fault::Delay { share, by }) =
            self.options.fault.iter().find(|fault| matches!(fault, Fault::Delay { .. }))
            && self.random.unit() <= *share
        {
            let until = self.now.after(*by);
            let connection = &mut self.connections[key];
            connection.hold_until = connection.hold_until.max(until);
        }
        if acks != 0 {
            self.append(key, |out| put_answer(out, version, correlation_id, input, &names, &answers));
        }
        self.scratch = Scratch { found, names, answers };
        Ok(())
    }

    /// Assigns offsets to the batch at `start` and has it written. Answers with its error and base offset.
    fn batch(
        &mut self,
        key: usize,
        input: &mut [u8],
        topic: usize,
        partition: i32,
        start: usize,
        length: usize,
    ) -> (ErrorCode, i64) {
        let batch = &mut input[start..start + length];
        let stated = batch.get(8..12).map(|bytes| i32::from_be_bytes(bytes.try_into().expect("four bytes")));
        if length < HEADER_BYTES || stated != Some(length as i32 - 12) || batch[16] != 2 {
            return (ErrorCode::InvalidRecord, -1);
        }
        let crc = u32::from_be_bytes(batch[17..21].try_into().expect("four bytes"));
        if self.options.variant.crc && crc32c::crc32c(&batch[21..]) != crc {
            return (ErrorCode::CorruptMessage, -1);
        }
        let records = i64::from(i32::from_be_bytes(batch[57..61].try_into().expect("four bytes")));
        let index = partition as u32;
        let Some(found) = usize::try_from(partition).ok().and_then(|at| self.store.partition(topic, at))
        else {
            return (ErrorCode::UnknownTopicOrPartition, -1);
        };
        let base_offset = found.next_offset;
        self.batches += 1;
        if !self.options.fault.is_empty() {
            return (ErrorCode::None, self.faulty_batch(key, batch, topic, index, records));
        }
        found.next_offset += records;
        let end = found.next_offset;
        batch[0..8].copy_from_slice(&base_offset.to_be_bytes());
        batch[12..16].copy_from_slice(&0i32.to_be_bytes());
        found.pending.push((Bytes::Input { connection: key, start, length }, end));
        self.store.touch(topic, index as usize);
        (ErrorCode::None, base_offset)
    }

    /// The slow way, with faults. Returns the offset to acknowledge.
    fn faulty_batch(&mut self, key: usize, batch: &[u8], topic: usize, partition: u32, records: i64) -> i64 {
        let number = self.batches;
        let struck = |fault: Fault| self.options.fault.contains(&fault);
        let (lost, twice) =
            (struck(Fault::Drop { batch: number }), struck(Fault::Duplicate { batch: number }));
        let (swapped, wrong) =
            (struck(Fault::Reorder { batch: number }), struck(Fault::WrongOffset { batch: number }));
        let corrupt = struck(Fault::Corrupt { batch: number });
        let mut bytes = batch.to_vec();
        if corrupt {
            // The last payload byte: behind it stands the header count of the last record.
            let at = bytes.len() - 2;
            bytes[at] ^= 0x20;
            let crc = crc32c::crc32c(&bytes[21..]);
            bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        }
        let next = self.store.partition(topic, partition as usize).map_or(0, |found| found.next_offset);
        if lost {
            return next;
        }
        if swapped {
            // It comes behind the next batch, which has as many records in every workload of ours.
            self.swapped = Some(Swapped { connection: key, topic, partition, bytes, records });
            return next + records;
        }
        if twice {
            self.store_own(topic, partition, bytes.clone(), records);
        }
        self.store_own(topic, partition, bytes, records);
        if let Some(held) = self
            .swapped
            .take_if(|held| (held.connection, held.topic, held.partition) == (key, topic, partition))
        {
            self.store_own(topic, partition, held.bytes, held.records);
        }
        next + i64::from(wrong)
    }

    fn store_own(&mut self, topic: usize, partition: u32, mut bytes: Vec<u8>, records: i64) {
        let lose = self.options.fault.contains(&Fault::AckThenLose);
        let Some(found) = self.store.partition(topic, partition as usize) else { return };
        bytes[0..8].copy_from_slice(&found.next_offset.to_be_bytes());
        bytes[12..16].copy_from_slice(&0i32.to_be_bytes());
        found.next_offset += records;
        let end = found.next_offset;
        if !lose {
            found.pending.push((Bytes::Own(bytes), end));
            return self.store.touch(topic, partition as usize);
        }
        let held = self.held_back.entry((topic, partition)).or_default();
        held.push_back((bytes, end));
        if held.len() > HELD_BACK_BATCHES
            && let Some((bytes, end)) = held.pop_front()
        {
            found.pending.push((Bytes::Own(bytes), end));
            self.store.touch(topic, partition as usize);
        }
    }

    // ---- fetch ----------------------------------------------------------------------------------------------------

    /// Notes what a fetch asks for.
    fn fetch(&mut self, key: usize, request: &FetchRequest<'_>, version: i16, correlation_id: i32) {
        let until = self.now.after_ms(i64::from(request.max_wait_ms));
        let connection = &mut self.connections[key];
        let running = version >= 7 && request.session_epoch > 0;
        let mut waiting = Waiting {
            correlation_id,
            version,
            until,
            bytes_max: usize::try_from(request.max_bytes).unwrap_or(0),
            sessionless: version < 7 || request.session_epoch == -1,
        };
        if running {
            let session = connection.session.as_mut().filter(|session| session.id == request.session_id);
            let error = match session {
                None => Some(ErrorCode::FetchSessionIdNotFound),
                Some(session) if session.epoch != request.session_epoch => {
                    Some(ErrorCode::InvalidFetchSessionEpoch)
                }
                Some(session) => {
                    session.epoch = if session.epoch == i32::MAX { 1 } else { session.epoch + 1 };
                    None
                }
            };
            if let Some(error) = error {
                return self.append(key, |out| {
                    let start = begin_response(out, ApiKey::Fetch as i16, version, correlation_id);
                    out.put(&0i32.to_be_bytes());
                    out.put(&error.code().to_be_bytes());
                    out.put(&0i32.to_be_bytes());
                    out.put(&0i32.to_be_bytes());
                    start.end(out, 0);
                });
            }
        } else {
            self.session_last = self.session_last.wrapping_add(1).max(1);
            let id = if waiting.sessionless { 0 } else { self.session_last };
            connection.session = Some(Session { id, epoch: 1, entries: Vec::new(), places: HashMap::new() });
        }
        let Some(session) = &mut connection.session else { return };
        for topic in &request.topics {
            let number = self.store.number(topic.topic).unwrap_or(usize::MAX);
            for asked in &topic.partitions {
                let partition = asked.partition as u32;
                let bytes_max = u64::try_from(asked.partition_max_bytes).unwrap_or(0);
                match session.places.get(&(number, partition)) {
                    Some(at) => {
                        let entry = &mut session.entries[*at];
                        if entry.offset != asked.fetch_offset {
                            (entry.offset, entry.place) = (asked.fetch_offset, None);
                        }
                        entry.bytes_max = bytes_max;
                    }
                    None => {
                        session.places.insert((number, partition), session.entries.len());
                        session.entries.push(Entry {
                            topic: number,
                            partition,
                            offset: asked.fetch_offset,
                            place: None,
                            bytes_max,
                        });
                    }
                }
            }
        }
        for topic in &request.forgotten_topics_data {
            let number = self.store.number(topic.topic).unwrap_or(usize::MAX);
            for partition in &topic.partitions {
                if let Some(at) = session.places.remove(&(number, partition as u32)) {
                    session.entries.swap_remove(at);
                    if let Some(moved) = session.entries.get(at) {
                        session.places.insert((moved.topic, moved.partition), at);
                    }
                }
            }
        }
        if request.min_bytes <= 0 {
            waiting.until = self.now;
        }
        connection.waiting = Some(waiting);
    }

    /// Answers a connection's fetch if there is something to say, or it has waited long enough.
    fn answer_fetch(&mut self, key: usize) -> std::io::Result<()> {
        let connection = &mut self.connections[key];
        let Some(waiting) = connection.waiting else { return Ok(()) };
        let Some(session) = &mut connection.session else { return Ok(()) };
        let mut left = waiting.bytes_max;
        let mut parts: Vec<Part> = Vec::new();
        for entry in &mut session.entries {
            let mut part = Part {
                topic: entry.topic,
                partition: entry.partition,
                error: ErrorCode::None,
                end: -1,
                range: None,
            };
            let Some(found) = self.store.partition(entry.topic, entry.partition as usize) else {
                part.error = ErrorCode::UnknownTopicOrPartition;
                parts.push(part);
                continue;
            };
            part.end = found.end();
            if entry.offset > found.next_offset || entry.offset < 0 {
                part.error = ErrorCode::OffsetOutOfRange;
                parts.push(part);
                continue;
            }
            if entry.offset >= part.end || left == 0 && !parts.is_empty() {
                continue;
            }
            let Some(file) = found.file.clone() else { continue };
            let place = match entry.place {
                Some(place) => place,
                None => found.place_of(&OsDisk, entry.offset)?,
            };
            let (offset, stop) = found.cut(place, entry.bytes_max.min(left as u64));
            let length = (stop - place) as usize;
            part.range = Some(Range { file, place, length });
            parts.push(part);
            left = left.saturating_sub(length);
            (entry.offset, entry.place) = (offset, Some(stop));
        }
        if parts.is_empty() && waiting.until > self.now {
            return Ok(());
        }
        let session_id = session.id;
        if waiting.sessionless {
            connection.session = None;
        }
        connection.waiting = None;
        let file_bytes: usize =
            parts.iter().filter_map(|part| part.range.as_ref()).map(|range| range.length).sum();
        // Parts of one topic stand together.
        let mut topics: Vec<(usize, usize)> = Vec::new();
        parts.sort_by_key(|part| part.topic);
        for part in &parts {
            match topics.last_mut() {
                Some((topic, count)) if *topic == part.topic => *count += 1,
                _ => topics.push((part.topic, 1)),
            }
        }
        let mut out = std::mem::take(&mut connection.out);
        let version = waiting.version;
        let mut mark = out.len();
        let start = begin_response(&mut out, ApiKey::Fetch as i16, version, waiting.correlation_id);
        out.put(&0i32.to_be_bytes());
        if version >= 7 {
            out.put(&0i16.to_be_bytes());
            out.put(&session_id.to_be_bytes());
        }
        out.put(&(topics.len() as i32).to_be_bytes());
        let mut pieces = std::mem::take(&mut connection.pieces);
        let mut parts = parts.into_iter();
        for (topic, count) in topics {
            let name = self.store.topics.get(topic).and_then(Option::as_ref).map_or("", |topic| &topic.name);
            out.put(&(name.len() as i16).to_be_bytes());
            out.put(name.as_bytes());
            out.put(&(count as i32).to_be_bytes());
            for Part { partition, error, end, range, .. } in parts.by_ref().take(count) {
                out.put(&partition.to_be_bytes());
                out.put(&error.code().to_be_bytes());
                out.put(&end.to_be_bytes());
                out.put(&end.to_be_bytes());
                if version >= 5 {
                    out.put(&0i64.to_be_bytes());
                }
                out.put(&(-1i32).to_be_bytes());
                if version >= 11 {
                    out.put(&(-1i32).to_be_bytes());
                }
                let length = range.as_ref().map_or(0, |range| range.length);
                out.put(&(length as i32).to_be_bytes());
                if let Some(Range { file, place, length: left }) = range {
                    push_bytes(&mut pieces, out.len() - mark);
                    mark = out.len();
                    pieces.push_back(Piece::File { file, place, left });
                }
            }
        }
        push_bytes(&mut pieces, out.len() - mark);
        start.end(&mut out, file_bytes);
        let connection = &mut self.connections[key];
        (connection.out, connection.pieces) = (out, pieces);
        self.ready.push(key);
        Ok(())
    }

    // ---- sending --------------------------------------------------------------------------------------------------

    fn send(&mut self, key: usize) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.closing {
            // Completions of this connection that are still to come find a newer generation, or nobody.
            self.connections.remove(key);
            return;
        }
        if connection.busy || connection.hold_until > self.now {
            return;
        }
        let generation = connection.generation;
        if let [Piece::Bytes(_)] = connection.pieces.make_contiguous() {
            connection.pieces.clear();
            let from = std::mem::take(&mut connection.out_at);
            let bytes = std::mem::take(&mut connection.out);
            connection.busy = true;
            let operation = Operation::Send { socket: connection.socket.clone(), bytes, from };
            return self.engine.submit(token(What::Send, key, generation), operation);
        }
        while let Some(piece) = connection.pieces.front_mut() {
            let sent = match piece {
                Piece::Bytes(left) => {
                    let bytes = &connection.out[connection.out_at..connection.out_at + *left];
                    let more = connection.pieces.len() > 1;
                    self.engine.send_now(&connection.socket, bytes, more)
                }
                Piece::File { file, place, left } => {
                    self.engine.send_file(&connection.socket, file, *place, *left)
                }
            };
            match sent {
                Ok(0) => return self.close(key),
                Ok(count) => {
                    let done = match connection.pieces.front_mut() {
                        Some(Piece::Bytes(left)) => {
                            connection.out_at += count;
                            *left -= count;
                            *left == 0
                        }
                        Some(Piece::File { place, left, .. }) => {
                            *place += count as u64;
                            *left -= count;
                            *left == 0
                        }
                        None => false,
                    };
                    if done {
                        connection.pieces.pop_front();
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    connection.busy = true;
                    let socket = connection.socket.clone();
                    let token = token(What::Writable, key, generation);
                    return self.engine.submit(token, Operation::WaitWritable { socket });
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => return self.close(key),
            }
        }
        connection.out.clear();
        connection.out_at = 0;
    }
}

/// The answer to a produce request, whose topic names are still where they arrived.
fn put_answer(
    out: &mut Vec<u8>,
    version: i16,
    correlation_id: i32,
    input: &[u8],
    names: &[(usize, usize, u32)],
    answers: &[(i32, (ErrorCode, i64))],
) {
    let start = begin_response(out, ApiKey::Produce as i16, version, correlation_id);
    out.put(&(names.len() as i32).to_be_bytes());
    let mut answers = answers.iter();
    for &(from, to, partitions) in names {
        out.put(&((to - from) as i16).to_be_bytes());
        out.put(&input[from..to]);
        out.put(&(partitions as i32).to_be_bytes());
        for (partition, (error, base_offset)) in answers.by_ref().take(partitions as usize) {
            out.put(&partition.to_be_bytes());
            out.put(&error.code().to_be_bytes());
            out.put(&base_offset.to_be_bytes());
            out.put(&(-1i64).to_be_bytes());
            if version >= 5 {
                out.put(&0i64.to_be_bytes());
            }
            if version >= 8 {
                out.put(&0i32.to_be_bytes());
                out.put(&(-1i16).to_be_bytes());
            }
        }
    }
    out.put(&0i32.to_be_bytes());
    start.end(out, 0);
}

fn push_bytes(pieces: &mut VecDeque<Piece>, bytes: usize) {
    match pieces.back_mut() {
        _ if bytes == 0 => {}
        Some(Piece::Bytes(length)) => *length += bytes,
        Some(Piece::File { .. }) | None => pieces.push_back(Piece::Bytes(bytes)),
    }
}
