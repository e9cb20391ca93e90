//! What an engine behind the seam does, as one list of facts that every engine is held against: the ring, epoll, and, as
//! far as it has the part, the double that seeds drive.
//!
//! In: operations on real sockets and files, or on the double's. Out: one test per fact and engine.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;

use ringdaw::reactor::epoll::{EpollEngine, EpollOptions};
use ringdaw::reactor::ring::{RingEngine, RingOptions};
use ringdaw::reactor::{
    Completion, Disk as _, Done, Engine, File, OpenMode, Operation, OsDisk, Socket, Token, WAKE, Wait,
};
use ringdaw::sim::{SimDisk, SimEngine};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Ring,
    Epoll,
    Double,
}

/// Few buffers, so that facts about too few of them are cheap to show.
const SLOTS: usize = 4;
const SLOT_BYTES: usize = 4096;
/// Fewer than what is submitted at once (H03), and a completion queue of four times as many (H20).
const RING_ENTRIES: u32 = 4;
/// Threads that may wait for the disk, of the kernel's or of ours (H22).
const WORKERS_MAX: u32 = 2;
/// Turns after which something has not happened; each waits at most `TURN_MS`.
const TURNS_MAX: usize = 2000;
const TURN_MS: i64 = 20;

/// An engine, and what is needed to play the other side of the world.
struct World {
    engine: Box<dyn Engine>,
    double: Option<SimEngine>,
    folder: Option<tempfile::TempDir>,
    /// Taken from the engine, not asked for yet.
    seen: Vec<Completion>,
}

/// The far end of a connection.
enum Far {
    Kernel(TcpStream),
    Double(SimEngine, Socket),
}

impl Far {
    fn send(&mut self, bytes: &[u8]) {
        match self {
            Far::Kernel(stream) => stream.write_all(bytes).expect("a send"),
            Far::Double(engine, socket) => engine.send(socket, bytes),
        }
    }

    fn end(&mut self) {
        match self {
            Far::Kernel(stream) => stream.shutdown(std::net::Shutdown::Write).expect("an end"),
            Far::Double(engine, socket) => engine.end(socket),
        }
    }

    /// What has come so far, without waiting.
    fn take(&mut self, into: &mut Vec<u8>) {
        match self {
            Far::Kernel(stream) => {
                stream.set_nonblocking(true).expect("a socket");
                let mut bytes = [0; 65_536];
                loop {
                    match stream.read(&mut bytes) {
                        Ok(0) => break,
                        Ok(count) => into.extend_from_slice(&bytes[..count]),
                        Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                        Err(e) => panic!("{e}"),
                    }
                }
                stream.set_nonblocking(false).expect("a socket");
            }
            Far::Double(engine, socket) => into.extend(engine.take_sent(socket)),
        }
    }

    fn kernel(self) -> TcpStream {
        match self {
            Far::Kernel(stream) => stream,
            Far::Double(..) => unreachable!("this fact is one of the kernel's"),
        }
    }
}

fn kernel_engine(kind: Kind) -> io::Result<Box<dyn Engine>> {
    Ok(match kind {
        Kind::Ring => Box::new(RingEngine::new(RingOptions {
            entries: RING_ENTRIES,
            receive_slots: SLOTS,
            receive_slot_bytes: SLOT_BYTES,
            workers_max: WORKERS_MAX,
        })?),
        Kind::Epoll => Box::new(EpollEngine::new(EpollOptions {
            receive_slots: SLOTS,
            receive_slot_bytes: SLOT_BYTES,
            threads_max: WORKERS_MAX as usize,
        })?),
        Kind::Double => unreachable!("not of the kernel"),
    })
}

impl World {
    /// `None`, said by name, where the machine refuses the ring.
    fn new(kind: Kind) -> Option<World> {
        if kind == Kind::Double {
            let disk = SimDisk::new(7);
            disk.create_directory(&PathBuf::from("/data")).expect("a directory");
            let double = SimEngine::new(7, disk).expect("an event");
            let engine = Box::new(double.clone());
            return Some(World { engine, double: Some(double), folder: None, seen: Vec::new() });
        }
        match kernel_engine(kind) {
            Ok(engine) => {
                let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
                Some(World { engine, double: None, folder: Some(folder), seen: Vec::new() })
            }
            Err(error) if kind == Kind::Ring => {
                eprintln!("skipped the facts of the ring: {error}");
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// A connected pair: the engine's end and the far one.
    fn connect(&mut self) -> (Socket, Far) {
        if let Some(double) = &self.double {
            let socket = double.connect();
            return (socket.clone(), Far::Double(double.clone(), socket));
        }
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let far = TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection");
        let (near, _) = listener.accept().expect("a connection");
        // As an accepted one of the engine's own.
        near.set_nonblocking(true).expect("a socket");
        (Socket::from_fd(near.into()), Far::Kernel(far))
    }

    fn file(&self, name: &str, content: &[u8]) -> File {
        let folder =
            self.folder.as_ref().map_or(PathBuf::from("/data"), |folder| folder.path().to_path_buf());
        let disk = self.engine.disk();
        let file = disk.open(&folder.join(name), OpenMode::CreateNew).expect("a file");
        disk.write_all_at(&file, 0, content).expect("a write");
        file
    }

    fn submit(&mut self, token: u64, operation: Operation) {
        self.engine.submit(Token(token), operation);
    }

    fn turn(&mut self) {
        let until = self.engine.now().after_ms(TURN_MS);
        self.engine.turn(Wait::Until(until), &mut self.seen).expect("an engine");
    }

    /// What an operation has come to, if it has.
    fn done(&mut self, token: u64) -> Option<Done> {
        let at = self.seen.iter().position(|completion| completion.token == Token(token))?;
        Some(self.seen.remove(at).done)
    }

    fn run(&mut self, token: u64) -> Done {
        for _ in 0..TURNS_MAX {
            if let Some(done) = self.done(token) {
                return done;
            }
            self.turn();
        }
        panic!("operation {token} never completed; {} are in flight", self.engine.in_flight());
    }

    /// A few turns in which nothing is expected of `token`.
    fn expect_pending(&mut self, token: u64) {
        for _ in 0..3 {
            self.engine.turn(Wait::Poll, &mut self.seen).expect("an engine");
        }
        if let Some(done) = self.done(token) {
            panic!("operation {token} completed with {done:?}");
        }
    }

    fn receive(&mut self, socket: &Socket) -> Vec<u8> {
        self.submit(90, Operation::Receive { socket: socket.clone() });
        match self.run(90) {
            Done::Received(Ok(lease)) => lease.to_vec(),
            other => panic!("{other:?}"),
        }
    }

    /// What comes until the stream ends.
    fn receive_all(&mut self, socket: &Socket) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            let more = self.receive(socket);
            if more.is_empty() {
                return all;
            }
            all.extend(more);
        }
    }
}

fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

/// One test per fact and engine.
macro_rules! facts {
    ($module:ident, $kind:expr, $($fact:ident),* $(,)?) => {
        mod $module {
            use super::*;
            $(
                #[test]
                fn $fact() {
                    if let Some(world) = World::new($kind) {
                        super::$fact(world);
                    }
                }
            )*
        }
    };
}

/// Facts of every engine, then those that need a kernel.
macro_rules! on_every_engine {
    ($($fact:ident),* ; $($kernel_fact:ident),* $(,)?) => {
        facts!(ring, Kind::Ring, $($fact,)* $($kernel_fact,)*);
        facts!(epoll, Kind::Epoll, $($fact,)* $($kernel_fact,)*);
        facts!(double, Kind::Double, $($fact,)*);
    };
}

on_every_engine!(
    each_operation_completes_once_with_its_token,
    bytes_arrive_in_order_however_they_are_cut,
    a_receive_waits_for_bytes_and_the_end_of_a_stream_is_empty,
    a_receive_into_keeps_what_was_there,
    all_of_a_send_goes_out_and_its_memory_comes_back,
    direct_sends_and_files_go_out_in_order_through_a_full_socket,
    files_are_flushed_written_out_and_read_to_their_end,
    a_turn_that_may_not_wait_does_not;
    a_listener_brings_each_connection_once_until_it_is_shut_down,
    more_connections_than_a_turn_takes_all_come,
    a_connection_is_made_or_refused,
    shutting_a_socket_down_completes_what_is_pending,
    a_reset_is_an_error_and_no_signal,
    a_socket_stays_open_while_an_operation_uses_it,
    a_reused_descriptor_brings_nothing_of_the_old_connection,
    without_a_buffer_receives_wait_and_the_buffers_all_return,
    an_urgent_byte_hides_nothing_behind_it,
    a_send_that_waits_holds_up_no_other_socket,
    both_directions_of_a_socket_wait_at_once,
    wakes_are_never_lost_and_end_a_wait,
    engines_of_either_kind_wake_each_other,
    a_deadline_ends_a_wait_and_not_earlier,
    readiness_is_seen_without_a_turn,
    errors_of_files_reach_their_operation,
    many_flushes_take_no_more_threads_than_allowed,
    wakes_beyond_every_queue_lose_nothing,
    a_held_lock_is_free_once_the_engine_has_gone,
    dropping_an_engine_with_work_under_way_frees_its_sockets,
);

// ---- facts of every engine --------------------------------------------------------------------

fn each_operation_completes_once_with_its_token(mut world: World) {
    let file = world.file("file", &pattern(10_000));
    let (socket, mut far) = world.connect();
    far.send(b"here");
    for token in 0..20 {
        world.submit(token, Operation::SyncData { file: file.clone() });
        world.submit(100 + token, Operation::Read { file: file.clone(), position: token, into: vec![0; 8] });
    }
    world.submit(200, Operation::Receive { socket: socket.clone() });
    world.submit(201, Operation::Send { socket: socket.clone(), bytes: b"there".to_vec(), from: 0 });
    assert_eq!(world.engine.in_flight(), 42);
    assert!(world.seen.is_empty(), "nothing completes before a turn");
    let mut counts: BTreeMap<u64, usize> = BTreeMap::new();
    for _ in 0..TURNS_MAX {
        world.turn();
        for completion in world.seen.drain(..).filter(|completion| completion.token != WAKE) {
            *counts.entry(completion.token.0).or_default() += 1;
        }
        if world.engine.in_flight() == 0 {
            break;
        }
    }
    let expected: BTreeMap<u64, usize> =
        (0..20).chain(100..120).chain(200..202).map(|token| (token, 1)).collect();
    assert_eq!(counts, expected);
}

fn bytes_arrive_in_order_however_they_are_cut(mut world: World) {
    let content = pattern(300_000);
    let (socket, mut far) = world.connect();
    let mut got = Vec::new();
    let mut rest = &content[..];
    let mut number = 0;
    while got.len() < content.len() {
        // Pieces of many sizes; never more than a socket buffer takes while nobody reads.
        if rest.len() + got.len() == content.len() && !rest.is_empty() {
            let piece = (1 + number * 7919 % 30_000).min(rest.len());
            far.send(&rest[..piece]);
            rest = &rest[piece..];
        }
        number += 1;
        if number % 3 == 0 {
            let into = vec![0; 1 + number * 104_729 % 9_000];
            world.submit(1, Operation::ReceiveInto { socket: socket.clone(), into, filled: 0 });
            let Done::ReceivedInto { into, result: Ok(count) } = world.run(1) else { panic!() };
            got.extend_from_slice(&into[..count]);
        } else {
            got.extend(world.receive(&socket));
        }
    }
    assert!(got == content);
}

fn a_receive_waits_for_bytes_and_the_end_of_a_stream_is_empty(mut world: World) {
    let (socket, mut far) = world.connect();
    world.submit(1, Operation::Receive { socket: socket.clone() });
    world.expect_pending(1);
    far.send(b"x");
    let Done::Received(Ok(lease)) = world.run(1) else { panic!() };
    assert_eq!(&lease[..], b"x");
    // Bytes and the end at once: both are seen, in order.
    far.send(b"last");
    far.end();
    assert_eq!(world.receive_all(&socket), b"last");
    // And the end stays the end.
    world.submit(2, Operation::ReceiveInto { socket: socket.clone(), into: vec![0; 9], filled: 3 });
    let Done::ReceivedInto { into, result: Ok(0) } = world.run(2) else { panic!() };
    assert_eq!(into.len(), 9);
    assert!(world.receive(&socket).is_empty());
}

fn a_receive_into_keeps_what_was_there(mut world: World) {
    let (socket, mut far) = world.connect();
    world.submit(
        1,
        Operation::ReceiveInto { socket: socket.clone(), into: b"head______".to_vec(), filled: 4 },
    );
    world.expect_pending(1);
    far.send(b"body and more");
    let mut into = Vec::new();
    let mut filled = 4;
    while filled < 10 {
        let Done::ReceivedInto { into: back, result } = world.run(1) else { panic!() };
        filled += result.expect("bytes");
        into = back;
        if filled < 10 {
            world.submit(1, Operation::ReceiveInto { socket: socket.clone(), into: into.clone(), filled });
        }
    }
    assert_eq!(into, b"headbody a");
    let mut rest = Vec::new();
    while rest.len() < 7 {
        rest.extend(world.receive(&socket));
    }
    assert_eq!(rest, b"nd more");
}

fn all_of_a_send_goes_out_and_its_memory_comes_back(mut world: World) {
    let (socket, mut far) = world.connect();
    let content = pattern(6 << 20);
    world.submit(1, Operation::Send { socket: socket.clone(), bytes: content.clone(), from: 1000 });
    let mut got = Vec::new();
    let mut back = None;
    for _ in 0..TURNS_MAX {
        world.turn();
        far.take(&mut got);
        if let Some(done) = world.done(1) {
            back = Some(done);
        }
        if back.is_some() && got.len() == content.len() - 1000 {
            break;
        }
    }
    let Some(Done::Sent { bytes, result: Ok(()) }) = back else { panic!("{back:?}") };
    assert!(bytes == content);
    assert!(got == content[1000..]);
    world.submit(2, Operation::Send { socket, bytes: Vec::new(), from: 0 });
    assert!(matches!(world.run(2), Done::Sent { result: Ok(()), .. }), "nothing to send is sent");
}

fn direct_sends_and_files_go_out_in_order_through_a_full_socket(mut world: World) {
    let (socket, mut far) = world.connect();
    let content = pattern(4 << 20);
    let file = world.file("file", &content);
    let head = pattern(50_000);
    let mut got = Vec::new();
    let (mut sent, mut waits) = (0, 0);
    while sent < head.len() + content.len() {
        let result = match head.get(sent..).filter(|rest| !rest.is_empty()) {
            Some(rest) => world.engine.send_now(&socket, rest, true),
            None => {
                let at = sent - head.len();
                world.engine.send_file(&socket, &file, at as u64, content.len() - at)
            }
        };
        match result {
            Ok(0) => panic!("the file ended early"),
            Ok(count) => sent += count,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                waits += 1;
                if world.double.is_none() {
                    // The far end takes nothing yet, so the wait is a real one.
                    world.submit(1, Operation::WaitWritable { socket: socket.clone() });
                    world.expect_pending(1);
                    far.take(&mut got);
                } else {
                    world.submit(1, Operation::WaitWritable { socket: socket.clone() });
                }
                assert!(matches!(world.run(1), Done::Writable(Ok(()))));
            }
            Err(e) => panic!("{e}"),
        }
    }
    assert!(waits > 0, "4 MiB fit no socket buffer");
    for _ in 0..TURNS_MAX {
        far.take(&mut got);
        if got.len() == sent {
            break;
        }
        world.turn();
    }
    assert!(got == [head, content].concat());
    let end = world.engine.disk().length(&file).expect("a length");
    if let Ok(count) = world.engine.send_file(&socket, &file, end, 10) {
        assert_eq!(count, 0, "0 says that the file ends there");
    }
}

fn files_are_flushed_written_out_and_read_to_their_end(mut world: World) {
    let content = pattern(100_000);
    let file = world.file("file", &content);
    world.submit(1, Operation::SyncData { file: file.clone() });
    assert!(matches!(world.run(1), Done::Flushed(Ok(()))));
    world.submit(2, Operation::SyncFileSystem { file: file.clone() });
    assert!(matches!(world.run(2), Done::Flushed(Ok(()))));
    for wait in [false, true] {
        world.submit(
            3,
            Operation::WriteOut { file: file.clone(), position: 4096, length: 65_536, drop: wait },
        );
        assert!(matches!(world.run(3), Done::WrittenOut(Ok(()))));
    }
    for (position, wanted, there) in
        [(0, 100_000, 100_000), (5, 70_000, 70_000), (99_990, 500, 10), (100_000, 8, 0), (200_000, 8, 0)]
    {
        world.submit(4, Operation::Read { file: file.clone(), position, into: vec![9; wanted] });
        let Done::Read { into, result } = world.run(4) else { panic!() };
        assert_eq!((result.expect("a read"), into.len()), (there, there), "{wanted} bytes at {position}");
        let position = (position as usize).min(content.len());
        assert!(into == content[position..position + there]);
    }
    // What has left memory comes from the disk.
    world.engine.disk().drop_pages(&file, 0, 100_000).expect("a drop");
    world.submit(5, Operation::Read { file, position: 0, into: vec![0; 100_000] });
    let Done::Read { into, result: Ok(100_000) } = world.run(5) else { panic!() };
    assert!(into == content);
}

fn a_turn_that_may_not_wait_does_not(mut world: World) {
    let (socket, _far) = world.connect();
    world.submit(1, Operation::Receive { socket });
    // Would hang here for ever if it waited.
    for _ in 0..10 {
        world.engine.turn(Wait::Poll, &mut world.seen).expect("an engine");
    }
    let past = world.engine.now();
    world.engine.turn(Wait::Until(past), &mut world.seen).expect("an engine");
    assert!(world.done(1).is_none());
    assert_eq!(world.engine.in_flight(), 1);
}

// ---- facts that need a kernel -----------------------------------------------------------------

fn listen(world: &mut World, token: u64) -> (Socket, SocketAddr) {
    let listener =
        Socket::listen("127.0.0.1:0".parse().unwrap(), 512, None, None, false).expect("a listener");
    let address = listener.local().expect("an address");
    world.submit(token, Operation::Accept { listener: listener.clone() });
    (listener, address)
}

fn accepted(world: &mut World, token: u64) -> Socket {
    match world.run(token) {
        Done::Accepted { result: Ok(socket), last: false } => socket,
        other => panic!("{other:?}"),
    }
}

fn a_listener_brings_each_connection_once_until_it_is_shut_down(mut world: World) {
    let (listener, address) = listen(&mut world, 1);
    world.expect_pending(1);
    let mut ports = Vec::new();
    for _ in 0..3 {
        let far = TcpStream::connect(address).expect("a connection");
        let near = accepted(&mut world, 1);
        assert_eq!(near.peer().expect("a peer"), far.local_addr().expect("an address"));
        ports.push(near);
    }
    assert_eq!(world.engine.in_flight(), 1, "the accept goes on");
    listener.shutdown();
    let Done::Accepted { result: Err(_), last: true } = world.run(1) else { panic!("the accept goes on") };
    assert_eq!(world.engine.in_flight(), 0);
}

fn more_connections_than_a_turn_takes_all_come(mut world: World) {
    let (listener, address) = listen(&mut world, 1);
    let far: Vec<TcpStream> = (0..300).map(|_| TcpStream::connect(address).expect("a connection")).collect();
    let mut near: Vec<Socket> = Vec::new();
    while near.len() < 300 {
        let Done::Accepted { result: Ok(socket), last } = world.run(1) else { panic!() };
        near.push(socket);
        // A ring that had no room for one more completion ends the accept with a good one (H18).
        if last {
            world.submit(1, Operation::Accept { listener: listener.clone() });
        }
    }
    let mut ours: Vec<SocketAddr> = near.iter().map(|socket| socket.peer().expect("a peer")).collect();
    let mut theirs: Vec<SocketAddr> = far.iter().map(|far| far.local_addr().expect("an address")).collect();
    ours.sort_unstable();
    theirs.sort_unstable();
    assert_eq!(ours, theirs);
}

fn a_connection_is_made_or_refused(mut world: World) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let socket = Socket::tcp(&address, None, None).expect("a socket");
    world.submit(1, Operation::Connect { socket: socket.clone(), address });
    assert!(matches!(world.run(1), Done::Connected(Ok(()))));
    let (mut far, _) = listener.accept().expect("a connection");
    far.write_all(b"hello").expect("a send");
    assert_eq!(world.receive(&socket), b"hello");
    drop(listener);
    let socket = Socket::tcp(&address, None, None).expect("a socket");
    world.submit(2, Operation::Connect { socket, address });
    let Done::Connected(Err(error)) = world.run(2) else { panic!() };
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
}

fn shutting_a_socket_down_completes_what_is_pending(mut world: World) {
    let (socket, _far) = world.connect();
    world.submit(1, Operation::Receive { socket: socket.clone() });
    world.submit(2, Operation::Send { socket: socket.clone(), bytes: pattern(16 << 20), from: 0 });
    world.expect_pending(1);
    world.expect_pending(2);
    let (other, _other_far) = world.connect();
    world.submit(3, Operation::ReceiveInto { socket: other.clone(), into: vec![0; 10], filled: 2 });
    while world.engine.send_now(&other, &[0; 65_536], false).is_ok() {}
    world.submit(4, Operation::WaitWritable { socket: other.clone() });
    world.expect_pending(3);
    world.expect_pending(4);
    socket.shutdown();
    other.shutdown();
    assert!(matches!(world.run(1), Done::Received(Ok(lease)) if lease.is_empty()));
    let Done::Sent { bytes, result: Err(error) } = world.run(2) else { panic!() };
    assert_eq!((bytes.len(), error.kind()), (16 << 20, io::ErrorKind::BrokenPipe));
    assert!(matches!(world.run(3), Done::ReceivedInto { into, result: Ok(0) } if into.len() == 10));
    assert!(matches!(world.run(4), Done::Writable(Ok(()))), "the next send says what is wrong");
    assert!(world.engine.send_now(&other, b"x", false).is_err());
    assert_eq!(world.engine.in_flight(), 0);
}

fn a_reset_is_an_error_and_no_signal(mut world: World) {
    let (socket, far) = world.connect();
    world.submit(1, Operation::Receive { socket: socket.clone() });
    world.expect_pending(1);
    let far = socket2::Socket::from(far.kernel());
    far.set_linger(Some(std::time::Duration::ZERO)).expect("a socket");
    drop(far);
    let Done::Received(Err(error)) = world.run(1) else { panic!() };
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    // SIGPIPE would end this process.
    world.submit(2, Operation::Send { socket: socket.clone(), bytes: b"late".to_vec(), from: 0 });
    let Done::Sent { result: Err(_), bytes } = world.run(2) else { panic!() };
    assert_eq!(bytes, b"late");
    assert!(world.engine.send_now(&socket, b"later", false).is_err());
}

fn a_socket_stays_open_while_an_operation_uses_it(mut world: World) {
    let (socket, mut far) = world.connect();
    world.submit(1, Operation::Receive { socket });
    world.expect_pending(1);
    // The engine's is the last handle now.
    far.send(b"still here");
    let Done::Received(Ok(lease)) = world.run(1) else { panic!() };
    assert_eq!(&lease[..], b"still here");
    // With the completion it has closed.
    let mut stream = far.kernel();
    assert_eq!(stream.read(&mut [0; 8]).expect("the end"), 0);
}

fn a_reused_descriptor_brings_nothing_of_the_old_connection(mut world: World) {
    // Numbers are given lowest first, so each round's socket most likely has the number of the one before.
    for round in 0..200u64 {
        let (socket, mut far) = world.connect();
        world.submit(round, Operation::Receive { socket: socket.clone() });
        world.engine.turn(Wait::Poll, &mut world.seen).expect("an engine");
        if round % 2 == 0 {
            // Ended from this side while it waits, with bytes on the way.
            far.send(b"too late, perhaps");
            socket.shutdown();
            drop(socket);
            let Done::Received(Ok(_)) = world.run(round) else { panic!() };
        } else {
            let own = round.to_be_bytes();
            far.send(&own);
            let Done::Received(Ok(lease)) = world.run(round) else { panic!() };
            assert_eq!(&lease[..], own);
        }
    }
    assert_eq!(world.engine.in_flight(), 0);
}

fn without_a_buffer_receives_wait_and_the_buffers_all_return(mut world: World) {
    let mut pairs: Vec<(Socket, Far)> = (0..SLOTS * 3).map(|_| world.connect()).collect();
    for round in 0..3u8 {
        for (number, (socket, far)) in pairs.iter_mut().enumerate() {
            far.send(&[round, number as u8]);
            let socket = socket.clone();
            world.submit(number as u64, Operation::Receive { socket });
        }
        let mut left: Vec<usize> = (0..pairs.len()).collect();
        while !left.is_empty() {
            for _ in 0..3 {
                world.turn();
            }
            let arrived: Vec<Completion> = std::mem::take(&mut world.seen);
            assert!(arrived.len() <= SLOTS, "{} leases of {SLOTS} buffers", arrived.len());
            assert_eq!(arrived.len(), left.len().min(SLOTS), "every buffer is used");
            for Completion { token, done } in arrived {
                let Done::Received(Ok(lease)) = done else { panic!("{done:?}") };
                assert_eq!(&lease[..], [round, token.0 as u8]);
                left.retain(|number| *number as u64 != token.0);
                // Given back by another thread, as requests are.
                std::thread::spawn(move || drop(lease)).join().expect("a thread");
            }
        }
    }
    assert_eq!(world.engine.in_flight(), 0);
}

fn an_urgent_byte_hides_nothing_behind_it(mut world: World) {
    let (socket, far) = world.connect();
    let far = socket2::Socket::from(far.kernel());
    for _ in 0..5 {
        far.send(b"before").expect("a send");
        far.send_out_of_band(b"!").expect("a send");
        far.send(b"behind").expect("a send");
    }
    far.shutdown(std::net::Shutdown::Write).expect("an end");
    let mut got = world.receive_all(&socket);
    // Older urgent bytes become ordinary ones when a newer one comes; the last stays out of the stream.
    got.retain(|byte| *byte != b'!');
    assert_eq!(got, b"beforebehind".repeat(5));
}

fn a_send_that_waits_holds_up_no_other_socket(mut world: World) {
    let (slow, slow_far) = world.connect();
    let (quick, mut quick_far) = world.connect();
    let content = pattern(16 << 20);
    world.submit(1, Operation::Send { socket: slow.clone(), bytes: content.clone(), from: 0 });
    world.expect_pending(1);
    for number in 0..50u8 {
        quick_far.send(&[number]);
        assert_eq!(world.receive(&quick), [number]);
        world.submit(2, Operation::Send { socket: quick.clone(), bytes: vec![number; 100], from: 0 });
        assert!(matches!(world.run(2), Done::Sent { result: Ok(()), .. }));
    }
    assert!(world.done(1).is_none());
    let mut stream = slow_far.kernel();
    let reader = std::thread::spawn(move || {
        let mut got = vec![0; 16 << 20];
        stream.read_exact(&mut got).expect("all of it");
        got
    });
    assert!(matches!(world.run(1), Done::Sent { result: Ok(()), .. }));
    assert!(reader.join().expect("the reader") == content);
}

fn both_directions_of_a_socket_wait_at_once(mut world: World) {
    let (socket, far) = world.connect();
    let content = pattern(8 << 20);
    world.submit(1, Operation::Receive { socket: socket.clone() });
    world.submit(2, Operation::Send { socket: socket.clone(), bytes: content.clone(), from: 0 });
    world.expect_pending(1);
    world.expect_pending(2);
    let mut stream = far.kernel();
    stream.write_all(b"question").expect("a send");
    let Done::Received(Ok(lease)) = world.run(1) else { panic!() };
    assert_eq!(&lease[..], b"question");
    world.expect_pending(2);
    world.submit(3, Operation::Receive { socket: socket.clone() });
    let reader = std::thread::spawn(move || {
        let mut got = vec![0; 8 << 20];
        stream.read_exact(&mut got).expect("all of it");
        (stream, got)
    });
    assert!(matches!(world.run(2), Done::Sent { result: Ok(()), .. }));
    let (stream, got) = reader.join().expect("the reader");
    assert!(got == content);
    assert!(world.done(3).is_none());
    drop(stream);
    assert!(matches!(world.run(3), Done::Received(Ok(lease)) if lease.is_empty()));
}

fn woken(world: &mut World) {
    let Done::Woken = world.run(WAKE.0) else { panic!() };
}

fn wakes_are_never_lost_and_end_a_wait(mut world: World) {
    // Before the wait.
    world.engine.waker().wake();
    woken(&mut world);
    // During it, by another thread that waits until this one most likely sleeps.
    for _ in 0..20 {
        let waker = world.engine.waker();
        let other = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(2));
            waker.wake();
        });
        world.seen.clear();
        while !world.seen.iter().any(|completion| matches!(completion.done, Done::Woken)) {
            world.engine.turn(Wait::Forever, &mut world.seen).expect("an engine");
        }
        other.join().expect("a thread");
    }
    // Many at once may be one; the engine may be gone before its wakers.
    let waker = world.engine.waker();
    for _ in 0..10_000 {
        waker.wake();
    }
    world.seen.clear();
    woken(&mut world);
    drop(world);
    waker.wake();
}

fn engines_of_either_kind_wake_each_other(mut world: World) {
    for kind in [Kind::Ring, Kind::Epoll] {
        let waker = world.engine.waker();
        let (tell, told) = std::sync::mpsc::channel();
        let other = std::thread::spawn(move || {
            let Ok(mut other) = kernel_engine(kind) else { return };
            let _ = tell.send(other.waker());
            let mut out = Vec::new();
            while !out.iter().any(|completion: &Completion| matches!(completion.done, Done::Woken)) {
                other.turn(Wait::Forever, &mut out).expect("an engine");
            }
            other.wake(&waker);
            other.turn(Wait::Poll, &mut out).expect("an engine");
        });
        // A machine without a ring has no ring to wake.
        let Ok(target) = told.recv() else { continue };
        world.engine.wake(&target);
        woken(&mut world);
        other.join().expect("the other thread");
    }
}

fn a_deadline_ends_a_wait_and_not_earlier(mut world: World) {
    let (socket, _far) = world.connect();
    world.submit(1, Operation::Receive { socket });
    for us in [1, 300, 5_000, 20_000] {
        let until = world.engine.now().after(std::time::Duration::from_micros(us));
        while world.engine.now() < until {
            world.engine.turn(Wait::Until(until), &mut world.seen).expect("an engine");
            assert!(world.seen.is_empty(), "{:?}", world.seen);
        }
    }
}

fn readiness_is_seen_without_a_turn(mut world: World) {
    let (socket, mut far) = world.connect();
    world.submit(1, Operation::Receive { socket });
    world.expect_pending(1);
    assert!(!world.engine.ready(), "nothing has come");
    far.send(b"now");
    let until = world.engine.now().after_ms(20_000);
    while !world.engine.ready() {
        assert!(world.engine.now() < until, "never ready");
        std::thread::yield_now();
    }
    world.engine.turn(Wait::Poll, &mut world.seen).expect("an engine");
    assert!(matches!(world.done(1), Some(Done::Received(Ok(lease))) if &lease[..] == b"now"));
}

fn errors_of_files_reach_their_operation(mut world: World) {
    // A directory cannot be read as a file, and a device without a disk cannot be flushed.
    let directory = File::from(std::fs::File::open("/").expect("a directory"));
    world.submit(1, Operation::Read { file: directory, position: 0, into: vec![0; 64] });
    let Done::Read { into, result: Err(error) } = world.run(1) else { panic!() };
    assert_eq!((into.len(), error.kind()), (0, io::ErrorKind::IsADirectory));
    let null = File::from(std::fs::File::open("/dev/null").expect("a device"));
    world.submit(2, Operation::SyncData { file: null.clone() });
    assert!(matches!(world.run(2), Done::Flushed(Err(error)) if error.kind() == io::ErrorKind::InvalidInput));
    world.submit(3, Operation::WriteOut { file: null, position: 0, length: 4096, drop: true });
    let Done::WrittenOut(Err(_)) = world.run(3) else { panic!() };
    assert_eq!(world.engine.in_flight(), 0);
}

/// Workers of the kernel that serve the rings of the calling thread; epoll has its own threads, which it counts itself.
fn threads_of_mine() -> usize {
    let mine = std::fs::read_link("/proc/thread-self").expect("this thread");
    let own = format!("iou-wrk-{}", mine.file_name().expect("a number").to_string_lossy());
    let tasks = std::fs::read_dir("/proc/self/task").expect("the threads of this process");
    tasks
        .flatten()
        // A thread may end between the listing and the look.
        .filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok())
        .filter(|name| name.trim() == own)
        .count()
}

fn many_flushes_take_no_more_threads_than_allowed(mut world: World) {
    let files: Vec<File> = (0..40).map(|n| world.file(&format!("{n}"), &pattern(200_000))).collect();
    let mut most = 0;
    for (token, file) in files.iter().enumerate() {
        world.submit(token as u64, Operation::SyncData { file: file.clone() });
        let out = Operation::WriteOut { file: file.clone(), position: 0, length: 200_000, drop: true };
        world.submit(1000 + token as u64, out);
    }
    while world.engine.in_flight() > 0 {
        world.turn();
        most = most.max(threads_of_mine());
    }
    // The kernel counts workers by kind, bounded and unbounded, each up to the limit.
    assert!(most <= 2 * WORKERS_MAX as usize, "{most} threads");
    let flushed = world
        .seen
        .iter()
        .filter(|completion| matches!(completion.done, Done::Flushed(Ok(())) | Done::WrittenOut(Ok(()))));
    assert_eq!(flushed.count(), 80);
}

fn wakes_beyond_every_queue_lose_nothing(mut world: World) {
    // Far more than the target's completion queue holds, while it takes none; a ring's wakes are messages to its queue.
    let waker = world.engine.waker();
    std::thread::spawn(move || {
        let mut other = match kernel_engine(Kind::Ring) {
            Ok(ring) => ring,
            Err(_) => kernel_engine(Kind::Epoll).expect("an engine"),
        };
        let mut out = Vec::new();
        for _ in 0..200 {
            other.wake(&waker);
            other.turn(Wait::Poll, &mut out).expect("an engine");
        }
        while other.in_flight() > 0 {
            let until = other.now().after_ms(TURN_MS);
            other.turn(Wait::Until(until), &mut out).expect("an engine");
        }
    })
    .join()
    .expect("the other thread");
    woken(&mut world);
    // And the engine is none the worse: what comes behind is seen.
    let (socket, mut far) = world.connect();
    far.send(b"still well");
    assert_eq!(world.receive(&socket), b"still well");
}

fn a_held_lock_is_free_once_the_engine_has_gone(mut world: World) {
    let folder = world.folder.take().expect("a folder");
    let path = folder.path().join(".lock");
    let lock = OsDisk.lock(&path).expect("a lock");
    world.engine.hold(&lock).expect("a held file");
    world.engine.hold(&lock).expect("held twice is held once");
    drop(lock);
    let refused = OsDisk.lock(&path).expect_err("the engine holds it");
    assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
    drop(world);
    // A ring is taken apart by the kernel in its own time.
    let patience = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while OsDisk.lock(&path).is_err() {
        assert!(std::time::Instant::now() < patience, "never free");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}

fn dropping_an_engine_with_work_under_way_frees_its_sockets(mut world: World) {
    let file = world.file("file", &pattern(1 << 20));
    let (socket, far) = world.connect();
    world.submit(1, Operation::SyncData { file: file.clone() });
    world.submit(2, Operation::WriteOut { file, position: 0, length: 1 << 20, drop: true });
    world.submit(3, Operation::Receive { socket: socket.clone() });
    world.engine.turn(Wait::Poll, &mut world.seen).expect("an engine");
    socket.shutdown();
    drop(socket);
    drop(world);
    let mut rest = Vec::new();
    far.kernel().read_to_end(&mut rest).expect("the end");
    assert!(rest.is_empty());
}

// ---- facts that need to look inside -----------------------------------------------------------

#[test]
fn every_buffer_is_back_when_nothing_is_being_handled() {
    let mut engine = EpollEngine::new(EpollOptions {
        receive_slots: SLOTS,
        receive_slot_bytes: SLOT_BYTES,
        threads_max: 1,
    })
    .expect("an engine");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut out = Vec::new();
    for round in 0..30 {
        let mut far = TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection");
        let near = Socket::from_fd(listener.accept().expect("a connection").0.into());
        engine.submit(Token(1), Operation::Receive { socket: near.clone() });
        match round % 3 {
            0 => far.write_all(&pattern(SLOT_BYTES)).expect("a send"),
            1 => far.shutdown(std::net::Shutdown::Both).expect("an end"),
            _ => socket2::SockRef::from(&far).set_linger(Some(std::time::Duration::ZERO)).expect("a socket"),
        }
        drop(far);
        while engine.in_flight() > 0 {
            let until = engine.now().after_ms(TURN_MS);
            engine.turn(Wait::Until(until), &mut out).expect("an engine");
        }
        out.clear();
        engine.turn(Wait::Poll, &mut out).expect("an engine");
        assert_eq!(engine.receive_buffers_free(), SLOTS, "round {round}");
    }
}

#[test]
fn completions_beyond_the_queue_of_a_ring_are_kept_by_the_kernel_and_all_taken() {
    let options = RingOptions {
        entries: RING_ENTRIES,
        receive_slots: SLOTS,
        receive_slot_bytes: SLOT_BYTES,
        workers_max: WORKERS_MAX,
    };
    let Ok(mut engine) = RingEngine::new(options) else { return eprintln!("skipped: the ring is refused") };
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let mut pairs = Vec::new();
    let mut out = Vec::new();
    for token in 0..100 {
        let far = TcpStream::connect(address).expect("a connection");
        let near = Socket::from_fd(listener.accept().expect("a connection").0.into());
        engine.submit(
            Token(token),
            Operation::ReceiveInto { socket: near.clone(), into: vec![0; 8], filled: 0 },
        );
        pairs.push((near, far));
    }
    engine.turn(Wait::Poll, &mut out).expect("an engine");
    // All complete while nobody takes: six times what the queue holds.
    for (number, (_, far)) in pairs.iter_mut().enumerate() {
        far.write_all(&[number as u8]).expect("a send");
    }
    while engine.in_flight() > 0 {
        let until = engine.now().after_ms(TURN_MS);
        engine.turn(Wait::Until(until), &mut out).expect("an engine");
    }
    let mut got: Vec<(u64, u8)> = out
        .into_iter()
        .map(|completion| match completion.done {
            Done::ReceivedInto { into, result: Ok(1) } => (completion.token.0, into[0]),
            other => panic!("{other:?}"),
        })
        .collect();
    got.sort_unstable();
    assert_eq!(got, (0..100).map(|number| (number, number as u8)).collect::<Vec<_>>());
}
