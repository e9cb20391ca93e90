//! The network loop of a reactor: connections, requests in, responses out.
//!
//! In: completions of its sockets, outcomes of IO loops, answers of the control thread. Out: commands to IO loops and
//! requests to the control thread, gathered over a turn. Reading order: `on_completion`, `read_frames`, `on_request`, then
//! the way back: `on_outcome`, `respond`, `pump`.
//!
//! A connection's requests are taken one at a time, as in Kafka, but for produce requests: up to `PRODUCE_IN_WORK_MAX` of
//! one connection are in work together, so that what a producer has in flight is appended with one write. Their order is
//! kept, because a connection's commands reach an owner in order, and so is that of the responses.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::sync::Arc;

use crate::api::admin::{self, Handled};
use crate::api::command::{Command, Outcome, Piece, ReplyTo};
use crate::api::fetch::{self, PendingFetch};
use crate::api::fetch_session::Sessions;
use crate::api::groups::{self, PendingGroups};
use crate::api::list_offsets::{self, PendingListOffsets};
use crate::api::produce::{self, PendingProduce};
use crate::clock::Instant;
use crate::config::Config;
use crate::control_thread::{ControlHandle, Reply, Request};
use crate::ids::ReactorId;
use crate::metadata::{Image, SharedImage};
use crate::metrics::{ThreadMetrics, Timed};
use crate::network_thread::connection::{Connection, Pending, Receiving, Response};
use crate::quota::Direction;
use crate::reactor::buffer::Recycler;
use crate::reactor::{Completion, Done, Engine, Lease, Operation, Socket, Token};
use crate::wire::convert::Converter;
use crate::wire::header::{RequestHeader, begin_response};
use crate::wire::primitive::Reader;
use crate::wire::version::ApiKey;

pub mod connection;
mod quiet;
pub mod throttle;

use quiet::RateLimit;
use throttle::Limited;

/// Produce requests of one connection that may be in work together.
const PRODUCE_IN_WORK_MAX: usize = 16;
/// With more pieces than this waiting behind the one being sent, no request is taken.
const OUT_PIECES_MAX: usize = 2;
/// How often idle connections are looked for.
const IDLE_CHECK_MS: i64 = 1000;
/// Bytes of large-frame memory kept for the next large frame.
const RECYCLED_BYTES_MAX: usize = 16 << 20;
/// After a failed accept (too many open files) the listener rests this long.
const ACCEPT_REST_MS: i64 = 100;

/// The upper byte of this loop's tokens; the rest is slot and generation of the connection.
pub mod tokens {
    pub const ACCEPT: u8 = 1;
    pub const RECEIVE: u8 = 2;
    pub const SEND: u8 = 3;
    pub const WRITABLE: u8 = 4;
}

/// Makes what the control thread answers a request by.
pub type ReplyMaker = Box<dyn Fn(ReplyTo, ApiKey, i16, i32) -> Box<dyn Reply> + Send>;

/// What a request in work waits for.
#[derive(Debug)]
enum State {
    Produce(PendingProduce),
    Fetch(PendingFetch),
    ListOffsets(PendingListOffsets),
    Groups(PendingGroups),
    /// The control thread.
    Control,
    /// Answered; waits for its turn.
    Done,
}

struct Listener {
    /// On the reactor that accepts.
    socket: Option<Socket>,
    name: Arc<str>,
    /// Accepting again after a rest.
    rest_until: Option<Instant>,
}

/// The network loop.
pub struct NetworkLoop {
    id: ReactorId,
    config: Arc<Config>,
    image: arc_swap::Cache<SharedImage, Arc<Image>>,
    control: ControlHandle,
    reply: ReplyMaker,
    metrics: Arc<crossbeam_utils::CachePadded<ThreadMetrics>>,
    listeners: Vec<Listener>,
    connections: slab::Slab<Connection<State>>,
    generation: u32,
    sessions: Sessions,
    converter: Converter,
    recycler: Recycler,
    /// Ranges of files up to this long are copied into their response.
    copy_bytes_max: u32,
    /// Connections with something to send or to read, this turn.
    dirty: Vec<u32>,
    /// Connections that are silent, by the end of it; with slot and generation.
    muted: BinaryHeap<Reverse<(Instant, u32, u32)>>,
    commands: Vec<(ReactorId, Command)>,
    /// Reactors that take connections, this one first if it does.
    takers: Vec<ReactorId>,
    next_taker: usize,
    handovers: Vec<(ReactorId, u16, Socket)>,
    next_idle_check: Instant,
    refusals: RateLimit,
    stopped: bool,
}

fn token(kind: u8, slot: u32, generation: u32) -> Token {
    // 24 bits of generation are enough to tell a late completion from the next owner of a slot: the socket handle that
    // the operation holds already keeps the descriptor from being reused.
    Token(u64::from(kind) << 56 | u64::from(generation & 0xff_ffff) << 32 | u64::from(slot))
}

/// The kind of a token of either loop.
pub fn token_kind(token: Token) -> u8 {
    (token.0 >> 56) as u8
}

impl NetworkLoop {
    /// A loop for already bound listeners, each with its name. One reactor accepts for all `takers` and deals connections
    /// out in turn, so that they are spread evenly however they arrive.
    pub fn new(
        id: ReactorId,
        config: Arc<Config>,
        image: SharedImage,
        control: ControlHandle,
        reply: ReplyMaker,
        metrics: Arc<crossbeam_utils::CachePadded<ThreadMetrics>>,
        listeners: Vec<(Option<Socket>, Arc<str>)>,
        takers: Vec<ReactorId>,
        session_slots: usize,
    ) -> NetworkLoop {
        NetworkLoop {
            id,
            copy_bytes_max: fetch::copy_bytes_max(config.fetch_engine),
            config,
            image: arc_swap::Cache::new(image),
            control,
            reply,
            metrics,
            listeners: listeners
                .into_iter()
                .map(|(socket, name)| Listener { socket, name, rest_until: None })
                .collect(),
            connections: slab::Slab::new(),
            generation: 0,
            sessions: Sessions::new(id, session_slots),
            converter: Converter::new(),
            recycler: Recycler::new(RECYCLED_BYTES_MAX),
            dirty: Vec::new(),
            muted: BinaryHeap::new(),
            commands: Vec::new(),
            takers,
            next_taker: 0,
            handovers: Vec::new(),
            next_idle_check: Instant(0),
            refusals: RateLimit::default(),
            stopped: false,
        }
    }

    /// Starts to accept.
    pub fn start(&mut self, engine: &mut dyn Engine) {
        for (number, listener) in self.listeners.iter().enumerate() {
            if let Some(socket) = &listener.socket {
                let accept = Operation::Accept { listener: socket.clone() };
                engine.submit(token(tokens::ACCEPT, number as u32, 0), accept);
            }
        }
    }

    /// Takes no more connections or requests; what is in work is answered.
    pub fn stop(&mut self) {
        self.stopped = true;
        for listener in &self.listeners {
            if let Some(socket) = &listener.socket {
                socket.shutdown();
            }
        }
        for (slot, connection) in &mut self.connections {
            connection.closing = true;
            self.dirty.push(slot as u32);
        }
    }

    /// True when the last connection has gone.
    pub fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// Commands gathered since the last call, each for one IO loop.
    pub fn take_commands(&mut self, into: &mut Vec<(ReactorId, Command)>) {
        into.append(&mut self.commands);
    }

    /// When `on_time` has something to do next.
    pub fn next_deadline(&self) -> Instant {
        let rest = self.listeners.iter().filter_map(|listener| listener.rest_until).min();
        let unmute = self.muted.peek().map(|Reverse((until, ..))| *until);
        [rest, unmute].into_iter().flatten().fold(self.next_idle_check, Instant::min)
    }

    pub fn on_completion(&mut self, completion: Completion, now: Instant, engine: &mut dyn Engine) {
        let Completion { token, done } = completion;
        let slot = (token.0 & 0xffff_ffff) as u32;
        let generation = (token.0 >> 32 & 0xff_ffff) as u32;
        if let Done::Accepted { result, last } = done {
            return self.on_accept(slot, result, last, now);
        }
        let Some(connection) = self.connections.get_mut(slot as usize) else { return };
        if connection.generation & 0xff_ffff != generation {
            return;
        }
        match done {
            Done::Received(result) => {
                connection.receiving = Receiving::Nothing;
                match result {
                    Ok(lease) if lease.is_empty() => return self.close(slot, None),
                    Ok(lease) => connection.take(lease),
                    Err(_) => return self.close(slot, None),
                }
                connection.last_active = now;
                self.read_frames(slot, now, engine);
            }
            Done::ReceivedInto { into, result } => {
                connection.receiving = Receiving::Nothing;
                match result {
                    Ok(0) | Err(_) => return self.close(slot, None),
                    Ok(count) => connection.take_into(into, count),
                }
                connection.last_active = now;
                self.read_frames(slot, now, engine);
            }
            Done::Sent { result, .. } => {
                connection.sending = false;
                connection.last_active = now;
                if result.is_err() {
                    return self.close(slot, None);
                }
                self.dirty.push(slot);
            }
            Done::Writable(result) => {
                connection.sending = false;
                if result.is_err() {
                    return self.close(slot, None);
                }
                self.dirty.push(slot);
            }
            // Not operations of this loop.
            Done::Accepted { .. }
            | Done::Connected(_)
            | Done::Read { .. }
            | Done::Flushed(_)
            | Done::WrittenOut(_)
            | Done::Woken => {}
        }
    }

    fn on_accept(&mut self, number: u32, result: io::Result<Socket>, last: bool, now: Instant) {
        if self.stopped {
            return;
        }
        // An accept may end with a good connection, when the engine had no room for the next one (H18).
        let rest_ms = if result.is_ok() { 0 } else { ACCEPT_REST_MS };
        match result {
            Ok(socket) => {
                let taker = self.takers[self.next_taker % self.takers.len()];
                self.next_taker = self.next_taker.wrapping_add(1);
                if taker == self.id {
                    self.add_connection(number as u16, socket, now);
                } else {
                    self.handovers.push((taker, number as u16, socket));
                }
            }
            Err(e) => {
                if let Some(more) = self.refusals.pass("accept", now) {
                    tracing::warn!(error = %e, suppressed = more, "a connection could not be accepted");
                }
            }
        }
        if last {
            self.listeners[number as usize].rest_until = Some(now.after_ms(rest_ms));
        }
    }

    /// Connections accepted here for other reactors.
    pub fn take_handovers(&mut self) -> Vec<(ReactorId, u16, Socket)> {
        std::mem::take(&mut self.handovers)
    }

    /// True when commands wait to be taken.
    pub fn has_commands(&self) -> bool {
        !self.commands.is_empty()
    }

    /// Serves a connection that came by listener `listener`.
    pub fn add_connection(&mut self, listener: u16, socket: Socket, now: Instant) {
        let Ok(peer) = socket.peer() else { return };
        // The buffer sizes come with the listener; a failure here costs latency, not correctness.
        let _ = socket.set_no_delay();
        let _ = socket.set_keep_alive(std::time::Duration::from_secs(30));
        self.generation = self.generation.wrapping_add(1);
        self.metrics.connections_accepted.increment();
        self.metrics.connections.add(1);
        let connection = Connection::new(socket, self.generation, peer, listener, now);
        let slot = self.connections.insert(connection) as u32;
        self.dirty.push(slot);
    }

    /// Handles every frame that may be handled now.
    fn read_frames(&mut self, slot: u32, now: Instant, engine: &mut dyn Engine) {
        let size_max = self.config.socket_request_max_bytes as usize;
        loop {
            let connection = &mut self.connections[slot as usize];
            if connection.closing {
                break;
            }
            match connection.frame(size_max, &self.recycler) {
                Ok(Some(frame)) => {
                    if !self.may_start(slot, &frame) {
                        self.connections[slot as usize].hold_frame(frame);
                        break;
                    }
                    if let Err(reason) = self.on_request(slot, frame, now, engine) {
                        return self.close(slot, Some(&reason));
                    }
                    if !self.connections.contains(slot as usize) {
                        return;
                    }
                }
                Ok(None) => break,
                Err(e) => return self.close(slot, Some(&e.to_string())),
            }
        }
        self.dirty.push(slot);
    }

    /// One request at a time, produce requests aside (see the module's opening).
    fn may_start(&self, slot: u32, frame: &Lease) -> bool {
        let connection = &self.connections[slot as usize];
        let requests = &connection.requests;
        // A client that does not read its answers gets no more of them.
        if connection.out.len() > OUT_PIECES_MAX || connection.muted_until.is_some() {
            return false;
        }
        let Some(last) = requests.back() else { return true };
        let produce = frame.first_chunk::<2>() == Some(&(ApiKey::Produce as i16).to_be_bytes());
        produce
            && requests.len() < PRODUCE_IN_WORK_MAX
            && matches!(last.state, State::Produce(_) | State::Done)
    }

    /// Takes one request. An error ends the connection and is what the log says about it.
    fn on_request(
        &mut self,
        slot: u32,
        mut frame: Lease,
        now: Instant,
        engine: &mut dyn Engine,
    ) -> Result<(), String> {
        let connection = &mut self.connections[slot as usize];
        let number = connection.requests_taken;
        connection.requests_taken = number.wrapping_add(1);
        let reply_to = ReplyTo {
            reactor: self.id,
            connection: slot,
            generation: connection.generation,
            request: number,
        };
        let bytes = frame.len();
        let pending = |state| Pending { number, received: now, bytes, state, response: None };

        // The header and the body borrow the frame; what outlives the request is copied or cut out of it.
        let mut reader = Reader::new(&frame);
        let header = match RequestHeader::decode(&mut reader) {
            Ok(header) => header,
            Err(e) => {
                self.metrics.decode_refusals.increment();
                return Err(e.to_string());
            }
        };
        let (key, version) = (header.key, header.version);
        self.metrics.count_request(key as i16);
        let decode_refusals = &self.metrics.decode_refusals;
        let at = |e: crate::wire::primitive::DecodeError| {
            decode_refusals.increment();
            format!("{} version {version}: {e}", key.api().name)
        };
        let image = self.image.load();
        if matches!(key, ApiKey::Produce | ApiKey::Fetch) {
            let known = connection.limited.take();
            connection.limited = Limited::find(known, image.limits(), header.client_id, now);
        }
        match key {
            ApiKey::Produce => {
                let wall = || engine.wall();
                let context = produce::Context { reply_to, peer: connection.peer, now, wall: &wall };
                let body = reader.position();
                let facts = produce::Facts::of(&header);
                let produce::Started { pending: state, commands } =
                    produce::start(facts, &mut frame, body, image, &mut self.converter, context)
                        .map_err(at)?;
                let complete = state.is_complete();
                connection.requests.push_back(pending(State::Produce(state)));
                self.commands.extend(commands.into_iter().map(|(to, c)| (to, Command::Produce(c))));
                if complete {
                    self.finish(slot, number, engine);
                }
            }
            ApiKey::Fetch => {
                let limit = connection.limited.as_ref().and_then(|limited| limited.fetch.as_ref());
                let allowed = limit.map_or(u64::MAX, |limit| limit.bytes_max().max(1));
                let context = fetch::Context {
                    reply_to,
                    now,
                    random: engine.random(),
                    max_bytes: u64::from(self.config.fetch_max_bytes).min(allowed),
                };
                match fetch::start(&header, &mut reader, image, &mut self.sessions, context).map_err(at)? {
                    fetch::Started::Pending(state, commands) => {
                        let complete = state.is_complete();
                        connection.requests.push_back(pending(State::Fetch(state)));
                        self.commands.extend(commands);
                        if complete {
                            self.finish(slot, number, engine);
                        }
                    }
                    fetch::Started::Answered(bytes, commands) => {
                        connection.requests.push_back(pending(State::Done));
                        self.commands.extend(commands);
                        self.respond(slot, number, Response::Pieces(vec![Piece::Bytes(bytes)]));
                    }
                }
            }
            ApiKey::ListOffsets => {
                let (state, commands) =
                    list_offsets::start(&header, &mut reader, image, reply_to).map_err(at)?;
                let complete = state.is_complete();
                connection.requests.push_back(pending(State::ListOffsets(state)));
                self.commands.extend(commands.into_iter().map(|(to, c)| (to, Command::ListOffsets(c))));
                if complete {
                    self.finish(slot, number, engine);
                }
            }
            key if groups::handles(key) => {
                let context = groups::Context { reply_to, peer: connection.peer, image };
                let (state, commands) = groups::start(&header, &mut reader, context).map_err(at)?;
                let complete = state.is_complete();
                connection.requests.push_back(pending(State::Groups(state)));
                self.commands.extend(commands);
                if complete {
                    self.finish(slot, number, engine);
                }
            }
            _ => {
                let listener = &self.listeners[usize::from(connection.listener)].name;
                let config = image.settings().unwrap_or(&self.config);
                let context = admin::Context { image, config, listener };
                match admin::handle(&context, &header, &mut reader).map_err(at)? {
                    Handled::Now(body) => {
                        if key == ApiKey::Metadata {
                            let took = engine.now().since(now).as_nanos() as u64;
                            self.metrics.times(Timed::Metadata).total.record(took);
                        }
                        connection.requests.push_back(pending(State::Done));
                        let frame = whole_frame(key, version, header.correlation_id, &body);
                        self.respond(slot, number, Response::Pieces(vec![Piece::Bytes(frame)]));
                    }
                    Handled::Later(command) => {
                        connection.requests.push_back(pending(State::Control));
                        let reply = (self.reply)(reply_to, key, version, header.correlation_id);
                        if self.control.submit(Request { command, reply }).is_err() {
                            return Err(
                                "too many administrative requests wait for the control thread".to_owned()
                            );
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// An IO loop answers.
    pub fn on_outcome(&mut self, from: ReactorId, outcome: Outcome, engine: &mut dyn Engine) {
        match outcome {
            Outcome::Produced(produced) => {
                let reply_to = produced.reply_to;
                if let Some(State::Produce(state)) = self.state(reply_to) {
                    state.take(produced);
                    if state.is_complete() {
                        self.finish(reply_to.connection, reply_to.request, engine);
                    }
                }
            }
            Outcome::Fetched(fetched) => {
                let reply_to = fetched.reply_to;
                let set = fetched.set;
                if let Some(State::Fetch(state)) = self.state(reply_to) {
                    let ask = state.take(from, fetched);
                    let complete = state.is_complete();
                    self.commands.extend(ask.into_iter().map(|owner| (owner, Command::Collect(set))));
                    if complete {
                        self.finish(reply_to.connection, reply_to.request, engine);
                    }
                }
            }
            Outcome::Available { reply_to, set, bytes } => {
                if let Some(State::Fetch(state)) = self.state(reply_to) {
                    let ask = state.available(from, bytes);
                    self.commands.extend(ask.into_iter().map(|owner| (owner, Command::Collect(set))));
                }
            }
            Outcome::Group { reply_to, entry, reply } => {
                if let Some(State::Groups(state)) = self.state(reply_to) {
                    state.take(entry, reply);
                    if state.is_complete() {
                        self.finish(reply_to.connection, reply_to.request, engine);
                    }
                }
            }
            Outcome::ListedGroups { reply_to, groups, complete } => {
                if let Some(State::Groups(state)) = self.state(reply_to) {
                    state.take_list(groups, complete);
                    if state.is_complete() {
                        self.finish(reply_to.connection, reply_to.request, engine);
                    }
                }
            }
            Outcome::ListedOffsets { reply_to, parts } => {
                if let Some(State::ListOffsets(state)) = self.state(reply_to) {
                    state.take(parts);
                    if state.is_complete() {
                        self.finish(reply_to.connection, reply_to.request, engine);
                    }
                }
            }
        }
    }

    /// The control thread answers with a whole response frame.
    pub fn on_answer(&mut self, reply_to: ReplyTo, frame: Vec<u8>) {
        if let Some(State::Control) = self.state(reply_to) {
            self.respond(reply_to.connection, reply_to.request, Response::Pieces(vec![Piece::Bytes(frame)]));
        }
    }

    /// The state of a request, unless its connection has gone.
    fn state(&mut self, reply_to: ReplyTo) -> Option<&mut State> {
        let connection = self.connections.get_mut(reply_to.connection as usize)?;
        if connection.generation != reply_to.generation {
            return None;
        }
        let first = connection.requests.front()?.number;
        let pending = connection.requests.get_mut(reply_to.request.wrapping_sub(first) as usize)?;
        Some(&mut pending.state)
    }

    /// All owners have answered: the response is written.
    fn finish(&mut self, slot: u32, number: u32, engine: &mut dyn Engine) {
        let connection = &mut self.connections[slot as usize];
        let Some(first) = connection.requests.front().map(|pending| pending.number) else { return };
        let Some(pending) = connection.requests.get_mut(number.wrapping_sub(first) as usize) else { return };
        let (received, bytes) = (pending.received, pending.bytes);
        let mut state = std::mem::replace(&mut pending.state, State::Done);
        let timed = match &state {
            State::Produce(_) => Some(Timed::Produce),
            State::Fetch(_) => Some(Timed::FetchConsumer),
            State::ListOffsets(_) | State::Groups(_) | State::Control | State::Done => None,
        };
        if let Some(timed) = timed {
            self.metrics.times(timed).total.record(engine.now().since(received).as_nanos() as u64);
        }
        let mut throttle_ms = 0;
        if connection.limited.is_some() {
            match &mut state {
                State::Produce(_) => {
                    throttle_ms = self.throttle(slot, Direction::Produce, bytes as u64, engine.now());
                }
                State::Fetch(state) if !state.is_of_replica() => {
                    let bytes = state.response_bytes();
                    state.throttle_time_ms = self.throttle(slot, Direction::Fetch, bytes, engine.now());
                }
                State::Fetch(_) | State::ListOffsets(_) | State::Groups(_) | State::Control | State::Done => {
                }
            }
        }
        let connection = &mut self.connections[slot as usize];
        let response = match state {
            State::Produce(state) => match state.without_answer() {
                Some(Ok(())) => Response::Nothing,
                Some(Err(error)) => {
                    tracing::debug!(peer = %connection.peer, %error, "acks=0: the connection is closed for an error");
                    Response::Close
                }
                None => {
                    let mut out = Vec::with_capacity(128);
                    state.encode(&mut out, throttle_ms);
                    Response::Pieces(vec![Piece::Bytes(out)])
                }
            },
            State::ListOffsets(state) => {
                let mut out = Vec::with_capacity(128);
                state.encode(&mut out);
                Response::Pieces(vec![Piece::Bytes(out)])
            }
            State::Groups(state) => {
                let mut out = Vec::with_capacity(128);
                state.encode(&mut out);
                Response::Pieces(vec![Piece::Bytes(out)])
            }
            State::Fetch(state) => {
                let (image, converter) = (self.image.load(), &mut self.converter);
                match state.encode(&mut self.sessions, self.copy_bytes_max, image, converter, engine.disk()) {
                    Ok(pieces) => Response::Pieces(pieces),
                    Err(e) => {
                        tracing::error!(peer = %connection.peer, error = %e, "a range to send could not be read");
                        Response::Close
                    }
                }
            }
            State::Control | State::Done => return,
        };
        self.respond(slot, number, response);
    }

    fn respond(&mut self, slot: u32, number: u32, response: Response) {
        if self.connections[slot as usize].respond(number, response) {
            self.dirty.push(slot);
        }
    }

    /// End of a turn: sends what is ready, reads on where a request was answered. True when frames were handled, so that
    /// their commands go out in this turn too.
    pub fn end_turn(&mut self, now: Instant, engine: &mut dyn Engine) {
        while let Some(slot) = self.dirty.pop() {
            if !self.connections.contains(slot as usize) {
                continue;
            }
            self.pump(slot, engine);
            let Some(connection) = self.connections.get_mut(slot as usize) else { continue };
            if connection.closing {
                if connection.requests.is_empty() && connection.out.is_empty() && !connection.sending {
                    self.close(slot, None);
                }
                continue;
            }
            if connection.holds_bytes() && connection.muted_until.is_none() {
                let free = connection.requests.is_empty();
                let produce = connection.requests.len() < PRODUCE_IN_WORK_MAX;
                if free || produce {
                    let before = self.connections[slot as usize].requests_taken;
                    self.read_frames_quietly(slot, now, engine, before);
                }
            }
            self.receive(slot, engine);
        }
    }

    /// Reads held frames on; the connection is looked at again only when one was taken.
    fn read_frames_quietly(&mut self, slot: u32, now: Instant, engine: &mut dyn Engine, before: u32) {
        let dirty = self.dirty.len();
        self.read_frames(slot, now, engine);
        match self.connections.get(slot as usize) {
            Some(connection) if connection.requests_taken == before => self.dirty.truncate(dirty),
            Some(_) | None => {}
        }
    }

    /// Asks for more bytes, unless the connection is muted.
    fn receive(&mut self, slot: u32, engine: &mut dyn Engine) {
        let Some(connection) = self.connections.get_mut(slot as usize) else { return };
        if connection.receiving != Receiving::Nothing || connection.holds_bytes() || connection.closing {
            return;
        }
        if connection.out.len() > OUT_PIECES_MAX || connection.muted_until.is_some() {
            return;
        }
        // Muted while a request is in work; with produce requests in work more of them may come.
        let muted = match connection.requests.back() {
            None => false,
            Some(Pending { state: State::Produce(_), .. }) => {
                connection.requests.len() >= PRODUCE_IN_WORK_MAX
            }
            Some(_) => true,
        };
        if muted {
            return;
        }
        let token = token(tokens::RECEIVE, slot, connection.generation);
        let socket = connection.socket.clone();
        match connection.receive_into() {
            Some((into, filled)) => {
                connection.receiving = Receiving::Frame;
                engine.submit(token, Operation::ReceiveInto { socket, into, filled });
            }
            None => {
                connection.receiving = Receiving::Pool;
                engine.submit(token, Operation::Receive { socket });
            }
        }
    }

    /// Sends what is ready, as far as the socket takes it.
    fn pump(&mut self, slot: u32, engine: &mut dyn Engine) {
        let Some(connection) = self.connections.get_mut(slot as usize) else { return };
        if connection.sending {
            return;
        }
        let mut failed = false;
        while let Some(piece) = connection.out.pop_front() {
            match piece {
                Piece::Bytes(bytes) if !matches!(connection.out.front(), Some(Piece::File { .. })) => {
                    connection.sending = true;
                    let token = token(tokens::SEND, slot, connection.generation);
                    let socket = connection.socket.clone();
                    engine.submit(token, Operation::Send { socket, bytes, from: 0 });
                    return;
                }
                // File bytes follow and go out by a direct call, so these must be out before it.
                Piece::Bytes(mut bytes) => match engine.send_now(&connection.socket, &bytes, true) {
                    Ok(count) if count == bytes.len() => {}
                    Ok(count) => {
                        bytes.drain(..count);
                        connection.out.push_front(Piece::Bytes(bytes));
                    }
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                        connection.out.push_front(Piece::Bytes(bytes));
                        break;
                    }
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => {
                        connection.out.push_front(Piece::Bytes(bytes));
                    }
                    Err(_) => {
                        failed = true;
                        break;
                    }
                },
                Piece::File { file, position, length, reading } => {
                    match engine.send_file(&connection.socket, &file, position, length as usize) {
                        Ok(0) => {
                            // The file is shorter than its owner said: the stream cannot be made whole any more.
                            tracing::error!(peer = %connection.peer, position, length, "a segment ended inside a range being sent");
                            failed = true;
                            break;
                        }
                        Ok(count) if count as u64 == length => {}
                        Ok(count) => {
                            let (position, length) = (position + count as u64, length - count as u64);
                            connection.out.push_front(Piece::File { file, position, length, reading });
                        }
                        Err(e) if e.kind() == io::ErrorKind::Interrupted => {
                            connection.out.push_front(Piece::File { file, position, length, reading });
                        }
                        Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                            connection.out.push_front(Piece::File { file, position, length, reading });
                            break;
                        }
                        Err(_) => {
                            failed = true;
                            break;
                        }
                    }
                }
            }
        }
        if failed {
            self.close(slot, None);
        } else if !connection.out.is_empty() {
            connection.sending = true;
            let token = token(tokens::WRITABLE, slot, connection.generation);
            engine.submit(token, Operation::WaitWritable { socket: connection.socket.clone() });
        }
    }

    /// Ends a connection; `reason` is what was wrong with what the client sent, for the log.
    fn close(&mut self, slot: u32, reason: Option<&str>) {
        let Some(connection) = self.connections.try_remove(slot as usize) else { return };
        self.metrics.connections.add(-1);
        if let Some(reason) = reason {
            self.metrics.connections_closed_for_error.increment();
            if let Some(more) = self.refusals.pass("request", connection.last_active) {
                tracing::warn!(peer = %connection.peer, suppressed = more, "connection closed: {reason}");
            }
        }
        connection.socket.shutdown();
        for pending in &connection.requests {
            if let State::Fetch(state) = &pending.state {
                let set = state.set();
                self.commands.extend(state.owners_left().map(|owner| (owner, Command::Collect(set))));
            }
        }
    }

    /// Lets muted connections speak and resting listeners accept again, and closes idle connections.
    pub fn on_time(&mut self, now: Instant, engine: &mut dyn Engine) {
        self.unmute(now);
        for number in 0..self.listeners.len() {
            let listener = &mut self.listeners[number];
            if listener.rest_until.is_some_and(|until| until <= now) {
                listener.rest_until = None;
                if let Some(socket) = &listener.socket {
                    let accept = Operation::Accept { listener: socket.clone() };
                    engine.submit(token(tokens::ACCEPT, number as u32, 0), accept);
                }
            }
        }
        if now < self.next_idle_check {
            return;
        }
        self.next_idle_check = now.after_ms(IDLE_CHECK_MS);
        let Some(idle_ms) = self.config.connections_max_idle_ms else { return };
        let idle: Vec<u32> = self
            .connections
            .iter()
            .filter(|(_, c)| c.requests.is_empty() && c.last_active.after_ms(idle_ms as i64) <= now)
            .map(|(slot, _)| slot as u32)
            .collect();
        for slot in idle {
            self.close(slot, None);
        }
    }
}

/// A response frame around a body.
pub fn whole_frame(key: ApiKey, version: i16, correlation_id: i32, body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(body.len() + 16);
    let start = begin_response(&mut frame, key as i16, version, correlation_id);
    frame.extend_from_slice(body);
    start.end(&mut frame, 0);
    frame
}
