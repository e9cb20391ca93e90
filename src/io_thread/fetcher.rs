//! Connections to the leaders of the replicas that follow: one for each other broker and IO loop, with a fetch session.
//!
//! In: which replicas follow whom, completions of the engine. Out: requests, and whole answers for `follow`, which alone knows
//! logs. A request names only what has moved since the last one, so a fetch costs what it brings and not what is followed
//! (KIP-227). One request is under way at a time; nothing is negotiated (contract 5.9).

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;

use hashbrown::{HashMap, HashSet};

use crate::clock::Instant;
use crate::config::version::Version;
use crate::config::{Config, inter_broker};
use crate::ids::{BrokerId, LeaderEpoch, Offset, ReactorId};
use crate::io_thread::tokens;
use crate::reactor::{Engine, Operation, Socket, Token};
use crate::wire::frame::{self, Front};
use crate::wire::header::put_request;
use crate::wire::message::Message;
use crate::wire::primitive::Uuid;

/// After an error the first rest is short: at an election the follower is often told before its leader. It doubles up to
/// `replica.fetch.backoff.ms`.
const REST_MS_MIN: i64 = 20;
/// A connection that is waited on by replicas newly told to follow is made anew at most this often.
const NUDGE_MS_MIN: i64 = 100;
/// What one answer may hold beyond the bytes asked for: one batch is always given whole.
const ANSWER_SLACK_BYTES: usize = 128 << 20;
const INPUT_BYTES_MIN: usize = 64 << 10;

/// The settings of followers.
pub(super) struct Terms {
    pub fetch_version: i16,
    pub lists_version: i16,
    pub epochs_version: i16,
    /// The fetch itself says where the logs part (KIP-595).
    pub truncates_by_fetch: bool,
    /// Brokers of this protocol know leader epochs at all (KIP-101).
    pub knows_epochs: bool,
    pub partition_bytes_max: i32,
    pub bytes_min: i32,
    pub bytes_max: i32,
    pub wait_ms_max: i32,
    backoff_ms: i64,
    timeout_ms: i64,
    receive_buffer_bytes: u32,
    client_id: String,
}

/// What a replica that follows asks its leader for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    Fetching,
    /// Where its last epoch ended.
    Epochs,
    /// Where the leader's log ends; it is not what this replica thought.
    Latest,
    /// Where the leader's log begins.
    Earliest,
    Resting {
        until: Instant,
        then: Wanted,
    },
}

/// What goes on after a rest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wanted {
    Fetching,
    Epochs,
}

#[derive(Clone, Debug)]
pub(super) struct Following {
    pub leader: BrokerId,
    pub epoch: LeaderEpoch,
    pub stage: Stage,
    /// What the request that is under way says, if it names this replica: an answer to something else is not taken.
    pub asked: Option<(LeaderEpoch, Offset)>,
    rests: u32,
}

/// What a request is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum About {
    Fetch,
    Epochs,
    Offsets,
}

#[derive(Debug)]
enum Line {
    Down {
        retry: Instant,
    },
    Connecting,
    Idle,
    /// A request is under way, until this instant at the latest.
    Asking {
        about: About,
        until: Instant,
    },
}

#[derive(Debug)]
pub(super) struct Connection {
    pub leader: BrokerId,
    line: Line,
    socket: Option<Socket>,
    /// Tells this connection from an earlier one, whose completions may still come.
    generation: u32,
    correlation: i32,
    failures: u32,
    connected_at: Instant,
    pub slots: BTreeSet<u32>,
    /// To be named by the next fetch.
    pub moved: BTreeSet<u32>,
    /// In the session, by the names it has there; only these need to be taken out of it.
    pub in_session: HashMap<u32, (TopicPlace, i32)>,
    pub gone: Vec<(TopicPlace, i32)>,
    /// 0 and 0: a new session is asked for.
    pub session_id: i32,
    pub session_epoch: i32,
    pub version: i16,
    /// By what the answer names them.
    pub names: HashMap<(TopicPlace, i32), u32>,
    input: Vec<u8>,
    filled: usize,
    output: Vec<u8>,
    /// Replicas whose last answer is being flushed: asking for more tells the leader that it is.
    unflushed: HashSet<u32>,
    nudged: bool,
}

/// How a topic is named: its id where ids are used.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) enum TopicPlace {
    Name(std::sync::Arc<str>),
    Id(Uuid),
}

pub(super) struct Fetchers {
    reactor: ReactorId,
    pub this: BrokerId,
    pub terms: Terms,
    addresses: BTreeMap<BrokerId, SocketAddr>,
    pub leaders: BTreeMap<BrokerId, Connection>,
    pub following: HashMap<u32, Following>,
    /// Replicas that rest, by when they go on.
    resting: BTreeSet<(Instant, u32)>,
    generation: u32,
    next: Instant,
}

fn token(kind: u8, leader: BrokerId, generation: u32) -> Token {
    // Half of the key is the leader, 24 bits the generation.
    super::token(kind, (generation as usize & 0x00ff_ffff) << 32 | leader.0 as u32 as usize)
}

impl Fetchers {
    pub fn new(config: &Config, this: BrokerId, reactor: ReactorId) -> Fetchers {
        let protocol = config.inter_broker_protocol_version;
        let since = |first: &str| Version::parse(first).is_some_and(|first| protocol >= first);
        let terms = Terms {
            fetch_version: inter_broker::fetch(protocol),
            lists_version: inter_broker::list_offsets(protocol),
            epochs_version: inter_broker::offset_for_leader_epoch(protocol),
            truncates_by_fetch: inter_broker::truncates_by_fetch(protocol),
            knows_epochs: since("0.11.0-IV2"),
            partition_bytes_max: config.replica_fetch_max_bytes,
            bytes_min: config.replica_fetch_min_bytes,
            bytes_max: config.replica_fetch_response_max_bytes,
            wait_ms_max: config.replica_fetch_wait_max_ms,
            backoff_ms: config.replica_fetch_backoff_ms,
            timeout_ms: config.replica_socket_timeout_ms,
            receive_buffer_bytes: config.replica_socket_receive_buffer_bytes,
            client_id: format!("broker-{this}-fetcher-{}", reactor.0),
        };
        Fetchers {
            reactor,
            this,
            terms,
            addresses: BTreeMap::new(),
            leaders: BTreeMap::new(),
            following: HashMap::new(),
            resting: BTreeSet::new(),
            generation: 0,
            next: Instant(u64::MAX),
        }
    }

    /// When `begin_turn` has something to do next.
    pub fn next_deadline(&self) -> Instant {
        self.next
    }

    /// A replica follows from now on. It is named by the next fetch, unless something else is asked first.
    pub fn join(&mut self, slot: u32, leader: BrokerId, epoch: LeaderEpoch, stage: Stage, now: Instant) {
        if self.following.get(&slot).is_some_and(|following| following.leader != leader) {
            self.leave(slot);
        }
        let connection = self.leaders.entry(leader).or_insert_with(|| Connection::new(leader, now));
        connection.slots.insert(slot);
        connection.moved.insert(slot);
        connection.nudged = true;
        self.following.insert(slot, Following { leader, epoch, stage, asked: None, rests: 0 });
        self.next = now;
    }

    /// A replica follows no more.
    pub fn leave(&mut self, slot: u32) {
        let Some(following) = self.following.remove(&slot) else { return };
        if let Some(connection) = self.leaders.get_mut(&following.leader) {
            connection.slots.remove(&slot);
            connection.moved.remove(&slot);
            connection.unflushed.remove(&slot);
            connection.forget(slot);
            if connection.slots.is_empty() {
                connection.hang_up(Instant(0));
                self.leaders.remove(&following.leader);
            }
        }
    }

    /// Replicas that were told to follow while an answer is held back would wait for it: a new connection asks for all at once.
    pub fn nudge(&mut self, now: Instant) {
        for connection in self.leaders.values_mut().filter(|connection| connection.nudged) {
            let held_back = matches!(connection.line, Line::Asking { about: About::Fetch, .. });
            if held_back && connection.connected_at.after_ms(NUDGE_MS_MIN) <= now {
                connection.hang_up(now);
            }
            connection.nudged = held_back && connection.socket.is_some();
        }
        self.next = self.next.min(now.after_ms(NUDGE_MS_MIN));
    }

    pub fn on_brokers(&mut self, brokers: &[(BrokerId, SocketAddr)], now: Instant) {
        let addresses: BTreeMap<BrokerId, SocketAddr> = brokers.iter().copied().collect();
        for (id, connection) in &mut self.leaders {
            if self.addresses.get(id) != addresses.get(id) {
                connection.failures = 0;
                connection.hang_up(now);
            }
        }
        self.addresses = addresses;
        self.next = now;
    }

    /// Connects, gives up on answers that do not come, ends rests. Connections that may ask something next.
    pub fn begin_turn(&mut self, now: Instant, engine: &mut dyn Engine) -> Vec<BrokerId> {
        if self.next > now && !self.leaders.values().any(Connection::may_ask) {
            return Vec::new();
        }
        self.next = Instant(u64::MAX);
        let mut ready = Vec::new();
        if self.leaders.values().any(|connection| connection.nudged) {
            self.nudge(now);
        }
        while let Some((until, slot)) = self.resting.first().copied() {
            if until > now {
                self.next = self.next.min(until);
                break;
            }
            self.resting.pop_first();
            let Some(following) = self.following.get_mut(&slot) else { continue };
            match following.stage {
                Stage::Resting { until: its, then } if its == until => {
                    following.stage = match then {
                        Wanted::Fetching => Stage::Fetching,
                        Wanted::Epochs => Stage::Epochs,
                    };
                }
                // It began to follow anew meanwhile.
                Stage::Resting { .. } | Stage::Fetching | Stage::Epochs | Stage::Latest | Stage::Earliest => {
                    continue;
                }
            }
            if let Some(connection) = self.leaders.get_mut(&following.leader) {
                connection.moved.insert(slot);
            }
        }
        let ids: Vec<BrokerId> = self.leaders.keys().copied().collect();
        for id in ids {
            let Some(connection) = self.leaders.get_mut(&id) else { continue };
            match connection.line {
                Line::Down { retry } if retry <= now => {
                    let Some(address) = self.addresses.get(&id).copied() else { continue };
                    self.generation = self.generation.wrapping_add(1) & 0x00ff_ffff;
                    connection.generation = self.generation;
                    let bytes = Some(self.terms.receive_buffer_bytes as usize);
                    match Socket::tcp(&address, None, bytes) {
                        Ok(socket) => {
                            let token = token(tokens::CONNECT, id, connection.generation);
                            engine.submit(token, Operation::Connect { socket: socket.clone(), address });
                            connection.socket = Some(socket);
                            connection.line = Line::Connecting;
                            connection.connected_at = now;
                        }
                        Err(error) => connection.failed(&format!("a socket: {error}"), &self.terms, now),
                    }
                }
                Line::Asking { until, .. } if until <= now => {
                    connection.failed("no answer in time", &self.terms, now);
                }
                Line::Down { .. } | Line::Connecting | Line::Idle | Line::Asking { .. } => {}
            }
            match connection.line {
                Line::Down { retry } if self.addresses.contains_key(&id) => self.next = self.next.min(retry),
                Line::Asking { until, .. } => self.next = self.next.min(until),
                Line::Idle if connection.unflushed.is_empty() => ready.push(id),
                Line::Down { .. } | Line::Connecting | Line::Idle => {}
            }
        }
        ready
    }

    /// Sends a request; its answer comes through `on_received`.
    pub fn ask<'m, M: Message<'m>>(
        &mut self,
        leader: BrokerId,
        about: About,
        version: i16,
        request: &M,
        now: Instant,
        engine: &mut dyn Engine,
    ) {
        let Some(connection) = self.leaders.get_mut(&leader) else { return };
        let Some(socket) = connection.socket.clone() else { return };
        connection.correlation = connection.correlation.wrapping_add(1) & i32::MAX;
        let mut bytes = std::mem::take(&mut connection.output);
        bytes.clear();
        put_request(&mut bytes, version, connection.correlation, Some(&self.terms.client_id), request);
        let sent = token(tokens::SEND, leader, connection.generation);
        engine.submit(sent, Operation::Send { socket: socket.clone(), bytes, from: 0 });
        let mut into = std::mem::take(&mut connection.input);
        if into.len() < INPUT_BYTES_MIN {
            into.resize(INPUT_BYTES_MIN, 0);
        }
        let received = token(tokens::RECEIVE, leader, connection.generation);
        engine.submit(received, Operation::ReceiveInto { socket, into, filled: 0 });
        connection.filled = 0;
        let until = now.after_ms(self.terms.timeout_ms.max(1));
        connection.line = Line::Asking { about, until };
        self.next = self.next.min(until);
    }

    pub fn on_connected(&mut self, key: u64, result: io::Result<()>, engine: &mut dyn Engine) {
        let now = engine.now();
        let Some(connection) = connection_of(&mut self.leaders, key) else { return };
        self.next = now;
        match result {
            Ok(()) => {
                connection.line = Line::Idle;
                connection.new_session();
            }
            Err(error) => connection.failed(&format!("connecting: {error}"), &self.terms, now),
        }
    }

    pub fn on_sent(&mut self, key: u64, bytes: Vec<u8>, result: io::Result<()>, now: Instant) {
        let Some(connection) = connection_of(&mut self.leaders, key) else { return };
        connection.output = bytes;
        if let Err(error) = result {
            self.next = now;
            connection.failed(&format!("sending: {error}"), &self.terms, now);
        }
    }

    /// The leader, what was asked, and the whole answer behind its size, once it is there. The buffer goes back by `give_back`.
    pub fn on_received(
        &mut self,
        key: u64,
        mut into: Vec<u8>,
        result: io::Result<usize>,
        engine: &mut dyn Engine,
    ) -> Option<Answer> {
        let now = engine.now();
        let limit = usize::try_from(self.terms.bytes_max).unwrap_or(0) + ANSWER_SLACK_BYTES;
        let connection = connection_of(&mut self.leaders, key)?;
        let failure = match result {
            Ok(0) => "the leader closed the connection".to_owned(),
            Err(error) => format!("receiving: {error}"),
            Ok(count) => {
                connection.filled += count;
                let (missing, failure) = match frame::front(&into[..connection.filled], limit) {
                    Ok(Front::Whole { used, .. }) => {
                        let Line::Asking { about, .. } = connection.line else { return None };
                        connection.line = Line::Idle;
                        self.next = now;
                        return Some(Answer {
                            leader: connection.leader,
                            about,
                            correlation: connection.correlation,
                            bytes: into,
                            used,
                        });
                    }
                    Ok(Front::Partial { missing, .. }) => (missing, None),
                    Ok(Front::Unknown) => (0, None),
                    Err(error) => (0, Some(error.to_string())),
                };
                match (failure, connection.socket.clone()) {
                    (None, Some(socket)) => {
                        if into.len() < connection.filled + missing {
                            into.resize(connection.filled + missing, 0);
                        }
                        let filled = connection.filled;
                        let token = token(tokens::RECEIVE, connection.leader, connection.generation);
                        engine.submit(token, Operation::ReceiveInto { socket, into, filled });
                        return None;
                    }
                    (failure, _) => failure.unwrap_or_default(),
                }
            }
        };
        self.next = now;
        connection.input = into;
        connection.failed(&failure, &self.terms, now);
        None
    }

    pub fn give_back(&mut self, leader: BrokerId, buffer: Vec<u8>) {
        if let Some(connection) = self.leaders.get_mut(&leader) {
            // One large answer must not hold its memory for ever.
            if buffer.capacity() <= 2 * usize::try_from(self.terms.bytes_max).unwrap_or(0) + INPUT_BYTES_MIN {
                connection.input = buffer;
            }
            connection.failures = 0;
        }
    }

    /// The answer makes no sense: there is nothing more to be had of this connection.
    pub fn give_up(&mut self, leader: BrokerId, why: &str, now: Instant) {
        if let Some(connection) = self.leaders.get_mut(&leader) {
            connection.failed(why, &self.terms, now);
            self.next = now;
        }
    }

    /// A replica rests before it asks again, longer each time in a row.
    pub fn rest(&mut self, slot: u32, now: Instant) {
        let Some(following) = self.following.get_mut(&slot) else { return };
        let then = match following.stage {
            Stage::Epochs => Wanted::Epochs,
            Stage::Fetching | Stage::Latest | Stage::Earliest | Stage::Resting { .. } => Wanted::Fetching,
        };
        let until = now.after_ms(rest_ms(following.rests, self.terms.backoff_ms));
        following.rests = following.rests.saturating_add(1);
        following.stage = Stage::Resting { until, then };
        self.resting.insert((until, slot));
        self.next = self.next.min(until);
        if let Some(connection) = self.leaders.get_mut(&following.leader) {
            connection.moved.remove(&slot);
            connection.forget(slot);
        }
    }

    /// A replica has got what it asked for.
    pub fn went_well(&mut self, slot: u32) {
        if let Some(following) = self.following.get_mut(&slot) {
            following.rests = 0;
        }
    }

    /// A replica is named by the next fetch.
    pub fn moved(&mut self, slot: u32) {
        if let Some(following) = self.following.get(&slot)
            && let Some(connection) = self.leaders.get_mut(&following.leader)
        {
            connection.moved.insert(slot);
        }
    }

    /// Nothing more is asked of this leader until the replica's log is flushed.
    pub fn wait_for_flush(&mut self, slot: u32) {
        if let Some(following) = self.following.get(&slot)
            && let Some(connection) = self.leaders.get_mut(&following.leader)
        {
            connection.unflushed.insert(slot);
        }
    }

    pub fn on_flushed(&mut self, slot: u32) {
        if let Some(following) = self.following.get(&slot)
            && let Some(connection) = self.leaders.get_mut(&following.leader)
        {
            connection.unflushed.remove(&slot);
        }
    }
}

/// A whole answer.
pub(super) struct Answer {
    pub leader: BrokerId,
    pub about: About,
    pub correlation: i32,
    pub bytes: Vec<u8>,
    /// The frame, its size included.
    pub used: usize,
}

fn rest_ms(times: u32, backoff_ms: i64) -> i64 {
    REST_MS_MIN.saturating_mul(1 << times.min(10)).min(backoff_ms.max(1))
}

/// The connection a completion is for, if it is still that one.
fn connection_of(leaders: &mut BTreeMap<BrokerId, Connection>, key: u64) -> Option<&mut Connection> {
    let (leader, generation) = (BrokerId(key as u32 as i32), (key >> 32) as u32 & 0x00ff_ffff);
    leaders
        .get_mut(&leader)
        .filter(|connection| connection.generation == generation && connection.socket.is_some())
}

impl Connection {
    fn new(leader: BrokerId, now: Instant) -> Connection {
        Connection {
            leader,
            line: Line::Down { retry: now },
            socket: None,
            generation: 0,
            correlation: 0,
            failures: 0,
            connected_at: now,
            slots: BTreeSet::new(),
            moved: BTreeSet::new(),
            in_session: HashMap::new(),
            gone: Vec::new(),
            session_id: 0,
            session_epoch: 0,
            version: 0,
            names: HashMap::new(),
            input: Vec::new(),
            filled: 0,
            output: Vec::new(),
            unflushed: HashSet::new(),
            nudged: false,
        }
    }

    fn may_ask(&self) -> bool {
        matches!(self.line, Line::Idle) && self.unflushed.is_empty()
    }

    /// The next fetch names everything and asks for a session.
    pub fn new_session(&mut self) {
        (self.session_id, self.session_epoch) = (0, 0);
        self.in_session.clear();
        self.gone.clear();
        self.names.clear();
        self.moved.extend(&self.slots);
    }

    /// Takes a replica out of the session.
    fn forget(&mut self, slot: u32) {
        if let Some(name) = self.in_session.remove(&slot) {
            self.names.remove(&name);
            self.gone.push(name);
        }
    }

    fn hang_up(&mut self, retry: Instant) {
        if let Some(socket) = self.socket.take() {
            socket.shutdown();
        }
        self.line = Line::Down { retry };
    }

    fn failed(&mut self, why: &str, terms: &Terms, now: Instant) {
        let rest = rest_ms(self.failures, terms.backoff_ms);
        if self.failures == 0 {
            tracing::warn!(
                leader = self.leader.0,
                replicas = self.slots.len(),
                "replicas cannot be fetched: {why}"
            );
        }
        self.failures = self.failures.saturating_add(1);
        self.hang_up(now.after_ms(rest));
    }
}

impl std::fmt::Debug for Fetchers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Fetchers({:?}, {} replicas of {} leaders)",
            self.reactor,
            self.following.len(),
            self.leaders.len()
        )
    }
}
