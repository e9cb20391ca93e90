//! A session with a ZooKeeper ensemble: one thread that connects, reconnects, pings, and makes a new session when one expires.
//!
//! In: calls, in order. Out: their outcomes, and events: a watch that fired, the session's end, a new session.
//! Calls are sent in the order they came and answered in that order. A call whose connection broke is sent again, and its
//! outcome says so (`resent`): it may have been done the first time. When a session expires, every call that waits fails,
//! and watches are forgotten. The thread does nothing else, so that a long recovery of logs never costs a session.
//!
//! Not built on the crate `zookeeper-client` 0.11: it brings a second event loop and a pool of blocking threads (async-io)
//! beside tokio's, some sixty packages, and does not tell whether a call was sent twice.

use std::collections::{HashSet, VecDeque};
use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::metadata::zookeeper::jute::{
    self, In, Malformed, Out, Request, Response, WatchKind, XID_PING, XID_SET_WATCHES, XID_WATCH, ZkError,
};

/// A reply larger than this is taken for damage: the children of a directory with a million topics are smaller.
const FRAME_BYTES_MAX: usize = 128 << 20;
/// Paths of watches that go into one request: ZooKeeper refuses requests above 1 MiB.
const SET_WATCHES_BYTES_MAX: usize = 128 << 10;
const ROUND_PAUSE_MIN: Duration = Duration::from_millis(100);
const ROUND_PAUSE_MAX: Duration = Duration::from_secs(1);

/// How to reach the ensemble.
#[derive(Clone, Debug)]
pub struct Options {
    /// `host:port` each.
    pub servers: Vec<String>,
    /// Empty or `/path`; stripped from the paths of events.
    pub chroot: String,
    /// What is asked for; ZooKeeper clamps it to 2 to 20 of its ticks.
    pub session_timeout: Duration,
    /// Requests that may be on their way at once.
    pub in_flight_max: usize,
    /// Spreads brokers over the servers.
    pub seed: u64,
}

/// What happened without being asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A session was made: the first, or the one after an expiry. Not sent for a mere reconnection.
    Session { id: i64 },
    /// The session is over: its ephemeral nodes are gone, and so are its watches.
    Expired,
    /// A watch fired; it fires once.
    Node { kind: WatchKind, path: String },
}

/// Where the session stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// No connection; `why` is the last failure.
    Connecting {
        why: String,
    },
    Connected {
        session: i64,
        timeout: Duration,
    },
    Closed,
}

/// The outcome of a call; `resent`: it was sent more than once, so that "exists already" may be our own doing.
#[derive(Debug)]
pub struct Outcome {
    pub result: Result<Response, ZkError>,
    pub resent: bool,
}

pub(super) struct Call {
    pub request: Request,
    pub reply: oneshot::Sender<Outcome>,
    resent: bool,
}

impl Call {
    pub fn new(request: Request, reply: oneshot::Sender<Outcome>) -> Call {
        Call { request, reply, resent: false }
    }

    fn answer(self, result: Result<Response, ZkError>) {
        // Nobody waits any more where the receiver is gone.
        let _ = self.reply.send(Outcome { result, resent: self.resent });
    }
}

/// The thread's ends.
pub(super) struct Running {
    pub calls: mpsc::UnboundedSender<Call>,
    pub status: watch::Receiver<Status>,
    pub thread: JoinHandle<()>,
}

pub(super) fn start(options: Options, events: mpsc::UnboundedSender<Event>) -> io::Result<Running> {
    let (calls, received) = mpsc::unbounded_channel();
    let (status_sender, status) =
        watch::channel(Status::Connecting { why: "no server was asked yet".to_owned() });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    let thread = std::thread::Builder::new().name("zookeeper".to_owned()).spawn(move || {
        let session = Session {
            next_server: (options.seed % options.servers.len().max(1) as u64) as usize,
            timeout: options.session_timeout,
            options,
            events,
            status: status_sender,
            id: 0,
            password: vec![0; 16],
            last_zxid: 0,
            next_xid: 1,
            waiting: VecDeque::new(),
            in_flight: VecDeque::new(),
            watches: Watches::default(),
            turned_away: None,
        };
        runtime.block_on(session.run(received));
        // A resolver that hangs must not keep the process.
        runtime.shutdown_background();
    })?;
    Ok(Running { calls, status, thread })
}

/// What this session watches, so that a new server can be told. Absolute paths.
#[derive(Debug, Default)]
struct Watches {
    data: HashSet<String>,
    exists: HashSet<String>,
    children: HashSet<String>,
}

impl Watches {
    /// A watch is set by the reply, not by the request: a failed read leaves none, except that of a node to come.
    fn note(&mut self, request: &Request, result: &Result<Response, ZkError>) {
        match (request, result) {
            (Request::Exists { path, watch: true }, Err(ZkError::NoNode)) => {
                self.exists.insert(path.clone());
            }
            (Request::Exists { path, watch: true } | Request::Data { path, watch: true }, Ok(_)) => {
                self.data.insert(path.clone());
            }
            (Request::Children { path, watch: true }, Ok(_)) => {
                self.children.insert(path.clone());
            }
            (_, _) => {}
        }
    }

    fn fired(&mut self, kind: WatchKind, path: &str) {
        match kind {
            WatchKind::Created | WatchKind::DataChanged => {
                self.data.remove(path);
                self.exists.remove(path);
            }
            WatchKind::ChildrenChanged => {
                self.children.remove(path);
            }
            WatchKind::Deleted => {
                self.data.remove(path);
                self.exists.remove(path);
                self.children.remove(path);
            }
        }
    }

    /// The requests that set all of them again.
    fn frames(&self, zxid: i64) -> Vec<Vec<u8>> {
        let all = |set: &'static str, paths: &HashSet<String>| {
            paths.iter().map(|path| (set, path.clone())).collect::<Vec<_>>()
        };
        let mut paths = all("data", &self.data);
        paths.extend(all("exists", &self.exists));
        paths.extend(all("children", &self.children));
        let mut frames = Vec::new();
        let mut rest = &paths[..];
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = rest.iter().take_while(|(_, path)| {
                bytes += path.len() + 4;
                bytes <= SET_WATCHES_BYTES_MAX
            });
            let (now, later) = rest.split_at(fits.count().max(1));
            let of = |set| now.iter().filter(|p| p.0 == set).map(|p| p.1.as_str()).collect::<Vec<_>>();
            frames.push(jute::set_watches(zxid, &of("data"), &of("exists"), &of("children")));
            rest = later;
        }
        frames
    }
}

struct Session {
    options: Options,
    events: mpsc::UnboundedSender<Event>,
    status: watch::Sender<Status>,
    next_server: usize,
    /// As ZooKeeper granted it.
    timeout: Duration,
    /// 0 until there is one.
    id: i64,
    password: Vec<u8>,
    last_zxid: i64,
    next_xid: i32,
    waiting: VecDeque<Call>,
    in_flight: VecDeque<(i32, Call)>,
    watches: Watches,
    /// Since when servers that are there do not take the session.
    turned_away: Option<Instant>,
}

/// Why a connection is over.
enum Over {
    Lost(String),
    /// Closed by us, or nobody is left who could call.
    Closed,
}

impl Session {
    async fn run(mut self, mut calls: mpsc::UnboundedReceiver<Call>) {
        let mut failures = 0;
        loop {
            let (stream, server) = match self.connect(&mut calls, &mut failures).await {
                Some(connected) => connected,
                None => break,
            };
            match self.serve(stream, &mut calls).await {
                Over::Closed => break,
                Over::Lost(why) => {
                    tracing::warn!(server, why, "the connection to ZooKeeper is lost");
                    self.status.send_replace(Status::Connecting { why: format!("{server}: {why}") });
                }
            }
            // Sent again first, in their order, by the next connection.
            while let Some((_, mut call)) = self.in_flight.pop_back() {
                call.resent = true;
                self.waiting.push_front(call);
            }
        }
        self.status.send_replace(Status::Closed);
        self.fail_all(ZkError::Closed);
        calls.close();
        while let Some(call) = calls.recv().await {
            call.answer(Err(ZkError::Closed));
        }
    }

    fn fail_all(&mut self, error: ZkError) {
        let in_flight = std::mem::take(&mut self.in_flight).into_iter().map(|(_, call)| call);
        for call in in_flight.chain(std::mem::take(&mut self.waiting)) {
            call.answer(Err(error));
        }
    }

    /// One server after the other until one takes the session; `None` when nobody wants it any more.
    async fn connect(
        &mut self,
        calls: &mut mpsc::UnboundedReceiver<Call>,
        failures: &mut usize,
    ) -> Option<(TcpStream, String)> {
        loop {
            let server = self.options.servers[self.next_server % self.options.servers.len()].clone();
            self.next_server += 1;
            let patience = (self.timeout / self.options.servers.len() as u32).max(Duration::from_millis(500));
            let hello = self.hello();
            let outcome = {
                let mut greeting = pin!(timeout(patience, greet(&server, hello)));
                loop {
                    tokio::select! {
                        outcome = &mut greeting => break outcome,
                        call = calls.recv() => if self.take_call(call) { return None },
                    }
                }
            };
            let why = match outcome {
                Ok(Ok((stream, welcome))) => {
                    self.turned_away = None;
                    if self.settle(&server, welcome) {
                        *failures = 0;
                        return Some((stream, server));
                    }
                    continue;
                }
                Ok(Err(error)) => {
                    if error.kind() == io::ErrorKind::UnexpectedEof {
                        self.on_turned_away();
                    }
                    error.to_string()
                }
                Err(_) => format!("no answer within {} ms", patience.as_millis()),
            };
            tracing::debug!(server, why, "ZooKeeper cannot be reached");
            self.status.send_replace(Status::Connecting { why: format!("{server}: {why}") });
            *failures += 1;
            if failures.is_multiple_of(self.options.servers.len()) {
                let rounds = (*failures / self.options.servers.len()).min(10) as u32;
                let mut pause = pin!(sleep((ROUND_PAUSE_MIN * rounds).min(ROUND_PAUSE_MAX)));
                loop {
                    tokio::select! {
                        () = &mut pause => break,
                        call = calls.recv() => if self.take_call(call) { return None },
                    }
                }
            }
        }
    }

    /// A server that lost its data is behind what this session saw, and turns it away for ever. After twice the session's time
    /// it is given up; if it lives after all, its nodes go when it has ended.
    fn on_turned_away(&mut self) {
        let since = *self.turned_away.get_or_insert_with(Instant::now);
        if self.id != 0 && since.elapsed() > self.timeout * 2 {
            tracing::error!(
                session = format_args!("{:#x}", self.id),
                "no server takes the session with ZooKeeper any more: it is given up"
            );
            self.turned_away = None;
            self.last_zxid = 0;
            self.expire();
        }
    }

    fn expire(&mut self) {
        self.id = 0;
        self.password = vec![0; 16];
        self.watches = Watches::default();
        self.timeout = self.options.session_timeout;
        self.fail_all(ZkError::SessionExpired);
        let _ = self.events.send(Event::Expired);
    }

    /// Puts a call in the queue; true when there is nothing left to connect for.
    fn take_call(&mut self, call: Option<Call>) -> bool {
        match call {
            Some(Call { request: Request::Close, .. }) | None => true,
            Some(call) => {
                self.waiting.push_back(call);
                false
            }
        }
    }

    fn hello(&self) -> Vec<u8> {
        let mut out = Out::frame();
        out.int(0); // protocol version
        out.long(self.last_zxid);
        out.int(i32::try_from(self.options.session_timeout.as_millis()).unwrap_or(i32::MAX));
        out.long(self.id);
        out.buffer(Some(&self.password));
        out.bool(false); // a server without a quorum is of no use
        out.finish()
    }

    /// True when the server took the session; false when it has expired, and the next connection asks for a new one.
    fn settle(&mut self, server: &str, welcome: Welcome) -> bool {
        if welcome.timeout_ms <= 0 {
            tracing::error!(
                server,
                session = format_args!("{:#x}", self.id),
                "the session with ZooKeeper has expired"
            );
            self.expire();
            // The same server may make the new one.
            self.next_server += self.options.servers.len() - 1;
            return false;
        }
        let is_new = self.id != welcome.session;
        self.id = welcome.session;
        self.password = welcome.password;
        self.timeout = Duration::from_millis(welcome.timeout_ms as u64);
        tracing::info!(
            server,
            session = format_args!("{:#x}", self.id),
            timeout_ms = welcome.timeout_ms,
            is_new,
            "connected to ZooKeeper"
        );
        self.status.send_replace(Status::Connected { session: self.id, timeout: self.timeout });
        if is_new {
            let _ = self.events.send(Event::Session { id: self.id });
        }
        true
    }

    async fn serve(&mut self, mut stream: TcpStream, calls: &mut mpsc::UnboundedReceiver<Call>) -> Over {
        let (ping_every, silence_max) = (self.timeout / 3, self.timeout * 2 / 3);
        let (mut sent, mut heard) = (Instant::now(), Instant::now());
        let mut input = Vec::with_capacity(16 << 10);
        let mut output: Vec<u8> = self.watches.frames(self.last_zxid).concat();
        loop {
            while self.in_flight.len() < self.options.in_flight_max
                && let Some(call) = self.waiting.pop_front()
            {
                let xid = self.next_xid;
                self.next_xid = self.next_xid.checked_add(1).unwrap_or(1);
                output.extend(jute::encode(xid, &call.request));
                self.in_flight.push_back((xid, call));
            }
            if output.is_empty() && sent.elapsed() >= ping_every {
                output = jute::ping();
            }
            if !output.is_empty() {
                match timeout(silence_max, stream.write_all(&output)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => return Over::Lost(error.to_string()),
                    Err(_) => return Over::Lost("it takes no more requests".to_owned()),
                }
                output.clear();
                sent = Instant::now();
            }
            tokio::select! {
                read = stream.read_buf(&mut input) => match read {
                    Ok(0) => return Over::Lost("it closed the connection".to_owned()),
                    Ok(_) => {
                        heard = Instant::now();
                        match self.take_frames(&mut input) {
                            Ok(false) => {}
                            Ok(true) => return Over::Closed,
                            Err(why) => return Over::Lost(why),
                        }
                    }
                    Err(error) => return Over::Lost(error.to_string()),
                },
                call = calls.recv() => match call {
                    Some(call) => self.waiting.push_back(call),
                    None => return Over::Closed,
                },
                () = sleep_until(sent + ping_every) => {}
                () = sleep_until(heard + silence_max) => {
                    return Over::Lost(format!("not heard from for {} ms", silence_max.as_millis()));
                }
            }
        }
    }

    /// Takes whole frames off the front; true when our close was answered.
    fn take_frames(&mut self, input: &mut Vec<u8>) -> Result<bool, String> {
        let mut at = 0;
        let mut closed = false;
        while let Some(head) = input[at..].first_chunk::<4>() {
            let length = usize::try_from(i32::from_be_bytes(*head)).unwrap_or(usize::MAX);
            if length > FRAME_BYTES_MAX {
                return Err(format!("it sent a frame of {length} bytes"));
            }
            let Some(frame) = input.get(at + 4..at + 4 + length) else { break };
            closed |= self.take_frame(frame).map_err(|malformed| malformed.to_string())?;
            at += 4 + length;
        }
        input.drain(..at);
        Ok(closed)
    }

    fn take_frame(&mut self, frame: &[u8]) -> Result<bool, Malformed> {
        let mut r = In(frame);
        let header = jute::reply_header(&mut r)?;
        match header.xid {
            XID_PING | XID_SET_WATCHES => return Ok(false),
            XID_WATCH => {
                if let Some((kind, path)) = jute::watch_event(&mut r)? {
                    self.watches.fired(kind, &path);
                    if let Some(path) = path.strip_prefix(&self.options.chroot) {
                        let path = if path.is_empty() { "/" } else { path }.to_owned();
                        let _ = self.events.send(Event::Node { kind, path });
                    }
                }
                return Ok(false);
            }
            _ => {}
        }
        if header.zxid > 0 {
            self.last_zxid = header.zxid;
        }
        match self.in_flight.front() {
            Some((xid, _)) if *xid == header.xid => {}
            Some(_) | None => return Err(Malformed("a reply to nothing that was asked")),
        }
        let Some((_, call)) = self.in_flight.pop_front() else { return Ok(false) };
        let result = match jute::decode(&mut r, header.error, &call.request) {
            Ok(result) => result,
            Err(malformed) => {
                self.in_flight.push_front((header.xid, call));
                return Err(malformed);
            }
        };
        self.watches.note(&call.request, &result);
        let closed = result == Ok(Response::Closed);
        call.answer(result);
        Ok(closed)
    }
}

struct Welcome {
    timeout_ms: i32,
    session: i64,
    password: Vec<u8>,
}

async fn greet(server: &str, hello: Vec<u8>) -> io::Result<(TcpStream, Welcome)> {
    let mut stream = TcpStream::connect(server).await?;
    stream.set_nodelay(true)?;
    stream.write_all(&hello).await?;
    let length = stream.read_u32().await.map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => io::Error::new(
            error.kind(),
            "it closed the connection: it has no quorum, or it is behind what we saw",
        ),
        _ => error,
    })?;
    if length > 1024 {
        return Err(io::Error::other("it does not speak ZooKeeper's protocol"));
    }
    let mut frame = vec![0; length as usize];
    stream.read_exact(&mut frame).await?;
    let welcome = welcome(&frame).map_err(|malformed| io::Error::other(malformed.to_string()))?;
    Ok((stream, welcome))
}

fn welcome(frame: &[u8]) -> Result<Welcome, Malformed> {
    let mut r = In(frame);
    let _protocol = r.int()?;
    let (timeout_ms, session) = (r.int()?, r.long()?);
    Ok(Welcome { timeout_ms, session, password: r.buffer()?.unwrap_or_default().to_vec() })
}

/// Ends the thread from a value that may be dropped anywhere.
pub(super) struct Joined(Mutex<Option<JoinHandle<()>>>);

impl Joined {
    pub fn new(thread: JoinHandle<()>) -> Arc<Joined> {
        Arc::new(Joined(Mutex::new(Some(thread))))
    }

    pub fn join(&self) {
        if let Some(thread) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}
