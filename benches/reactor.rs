//! What a turn of the reactor costs: a hop between threads, a round trip through the ring, an echo over loopback.
//!
//! In: nothing but the machine; the two-thread benches pin to the first two usable cores and say so when there is only
//! one. Out: times. A hop is there and back, two crossings.

use std::cell::RefCell;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};

use ringdaw::reactor::mailbox::{Receiver, Sender, Sleeper, mailbox};
use ringdaw::reactor::ring::{RingEngine, RingOptions};
use ringdaw::reactor::{
    Completion, Disk, Done, Engine, OpenMode, Operation, OsDisk, Socket, Token, Wait, pin,
};

fn engine() -> RingEngine {
    let options = RingOptions { entries: 64, receive_slots: 8, ..RingOptions::default() };
    RingEngine::new(options).expect("a ring; `ringdaw bench limits` says what to change where there is none")
}

/// How a thread learns of a message.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Notice {
    /// It looks all the time.
    Spin,
    /// It sleeps; the sender writes to its event.
    Event,
    /// It sleeps; the sender's ring posts to its ring.
    RingMessage,
}

/// A message on its way round; `Stop` ends the echo.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Message {
    Ping(u64),
    Stop,
}

/// One side of a pair of threads.
struct Side {
    engine: RingEngine,
    sleeper: std::sync::Arc<Sleeper>,
    notice: Notice,
    out: Vec<Completion>,
}

impl Side {
    fn new(notice: Notice) -> Side {
        let engine = engine();
        let sleeper = Sleeper::new(engine.waker());
        Side { engine, sleeper, notice, out: Vec::new() }
    }

    fn send(&mut self, to: &mut Sender<Message>, message: Message) {
        to.push(message);
        match self.notice {
            // Nobody sleeps, so neither makes a system call.
            Notice::Spin | Notice::Event => to.flush_by_call(),
            Notice::RingMessage => {
                to.flush(&mut self.engine);
                self.turn(Wait::Poll);
            }
        }
    }

    fn receive(&mut self, from: &mut Receiver<Message>) -> Message {
        loop {
            if let Some(message) = from.pop() {
                return message;
            }
            if self.notice == Notice::Spin {
                std::hint::spin_loop();
                continue;
            }
            self.sleeper.fall_asleep();
            if from.is_empty() {
                self.turn(Wait::Forever);
            }
            self.sleeper.awake();
        }
    }

    fn turn(&mut self, wait: Wait) {
        self.engine.turn(wait, &mut self.out).expect("a turn");
        self.out.clear();
    }
}

fn hop(c: &mut Criterion) {
    let mut group = c.benchmark_group("mailbox hop");
    group.bench_function("same thread", |b| {
        let mut side = Side::new(Notice::Spin);
        let (mut there, mut here) = mailbox(64, std::sync::Arc::clone(&side.sleeper));
        b.iter(|| {
            side.send(&mut there, Message::Ping(1));
            side.receive(&mut here)
        });
    });
    let cores = pin::usable_cores();
    let [first, second, ..] = cores[..] else {
        eprintln!("one usable core: no hop between two threads");
        return group.finish();
    };
    for (name, notice) in [
        ("two threads, spinning", Notice::Spin),
        ("two threads, asleep, eventfd", Notice::Event),
        ("two threads, asleep, ring message", Notice::RingMessage),
    ] {
        group.bench_function(name, |b| {
            b.iter_custom(|round_trips| ping_pong(notice, round_trips, first, second))
        });
    }
    group.finish();
}

/// Time for `round_trips` there and back between two pinned threads.
fn ping_pong(notice: Notice, round_trips: u64, first: usize, second: usize) -> Duration {
    let (sleeper_to, sleeper_from) = std::sync::mpsc::channel();
    let (senders_to, senders_from) = std::sync::mpsc::channel::<(Sender<Message>, Receiver<Message>)>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            pin::pin_to(second);
            let mut side = Side::new(notice);
            sleeper_to.send(std::sync::Arc::clone(&side.sleeper)).expect("the other side waits for it");
            let (mut to, mut from) = senders_from.recv().expect("the other side sends it");
            loop {
                match side.receive(&mut from) {
                    Message::Stop => break,
                    ping @ Message::Ping(_) => side.send(&mut to, ping),
                }
            }
        });
        let pinging = scope.spawn(move || {
            pin::pin_to(first);
            let mut side = Side::new(notice);
            let echo = sleeper_from.recv().expect("the echo starts");
            let (mut to, echo_from) = mailbox(64, echo);
            let (echo_to, mut from) = mailbox(64, std::sync::Arc::clone(&side.sleeper));
            senders_to.send((echo_to, echo_from)).expect("the echo waits for it");
            let mut time = Duration::ZERO;
            // The first ones find caches and clocks cold.
            for (count, counts) in [(10, false), (round_trips, true)] {
                let started = Instant::now();
                for number in 0..count {
                    side.send(&mut to, Message::Ping(number));
                    assert_eq!(side.receive(&mut from), Message::Ping(number));
                }
                if counts {
                    time = started.elapsed();
                }
            }
            side.send(&mut to, Message::Stop);
            time
        });
        pinging.join().expect("neither side panics")
    })
}

/// Turns until something other than a starting operation has completed.
fn complete(engine: &mut RingEngine, out: &mut Vec<Completion>) -> Done {
    loop {
        engine.turn(Wait::Forever, out).expect("a turn");
        if let Some(completion) = out.pop() {
            return completion.done;
        }
    }
}

fn ring_round_trip(c: &mut Criterion) {
    let mut group = c.benchmark_group("ring round trip");
    let (mut engine, mut out) = (engine(), Vec::new());
    let waker = engine.waker();
    group.bench_function("own event", |b| {
        b.iter(|| {
            waker.wake();
            assert!(matches!(complete(&mut engine, &mut out), Done::Woken));
        });
    });
    group.bench_function("turn with nothing to do", |b| {
        b.iter(|| engine.turn(Wait::Poll, &mut out).expect("a turn"));
    });
    let path = std::path::Path::new("bench-data/reactor");
    std::fs::create_dir_all(path).expect("bench-data in the working directory");
    let path = path.join("cached");
    OsDisk.replace_file(&path, &[7; 64 << 10]).expect("a small file in bench-data");
    let file = OsDisk.open(&path, OpenMode::Read).expect("the file just made");
    for bytes in [4 << 10, 64 << 10] {
        let mut buffer = Some(vec![0; bytes]);
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(format!("read of {} KiB cached", bytes >> 10), |b| {
            b.iter(|| {
                let into = buffer.take().expect("came back with the last completion");
                engine.submit(Token(1), Operation::Read { file: file.clone(), position: 0, into });
                match complete(&mut engine, &mut out) {
                    Done::Read { into, result: Ok(count) } if count == bytes => buffer = Some(into),
                    other => panic!("{other:?}"),
                }
            });
        });
    }
    std::fs::remove_dir_all("bench-data/reactor").expect("made above");
    group.finish();
}

/// A connection whose one end is driven by the engine and the other by plain calls of the same thread: no wake in it,
/// only the cost of both ends.
fn connect(engine: &mut RingEngine, out: &mut Vec<Completion>) -> (Socket, TcpStream) {
    let any_port = "127.0.0.1:0".parse().expect("an address");
    let listener = Socket::listen(any_port, 1, None, None, false).expect("a free port");
    let address = listener.local().expect("bound above");
    engine.submit(Token(1), Operation::Accept { listener: listener.clone() });
    let client = TcpStream::connect(address).expect("a listener on loopback");
    client.set_nodelay(true).expect("an open socket");
    let Done::Accepted { result: Ok(socket), .. } = complete(engine, out) else { panic!("no connection") };
    listener.shutdown();
    while !matches!(complete(engine, out), Done::Accepted { last: true, .. }) {}
    (socket, client)
}

fn echo(c: &mut Criterion) {
    let mut group = c.benchmark_group("loopback echo");
    for bytes in [64, 16 << 10] {
        let request = vec![1u8; bytes];
        let answer = RefCell::new(vec![0u8; bytes]);
        group.throughput(Throughput::Bytes(2 * bytes as u64));
        group.bench_function(format!("ring, {bytes} B"), |b| {
            let (mut engine, mut out) = (engine(), Vec::new());
            let (socket, mut client) = connect(&mut engine, &mut out);
            let mut reply = Some(Vec::with_capacity(bytes));
            b.iter(|| {
                client.write_all(&request).expect("an open socket");
                let mut bytes_back = reply.take().expect("came back with the last send");
                bytes_back.clear();
                while bytes_back.len() < bytes {
                    engine.submit(Token(2), Operation::Receive { socket: socket.clone() });
                    match complete(&mut engine, &mut out) {
                        Done::Received(Ok(lease)) if !lease.is_empty() => {
                            bytes_back.extend_from_slice(&lease)
                        }
                        other => panic!("{other:?}"),
                    }
                }
                let socket = socket.clone();
                engine.submit(Token(3), Operation::Send { socket, bytes: bytes_back, from: 0 });
                match complete(&mut engine, &mut out) {
                    Done::Sent { bytes, result: Ok(()) } => reply = Some(bytes),
                    other => panic!("{other:?}"),
                }
                client.read_exact(&mut answer.borrow_mut()).expect("an open socket");
            });
            assert_eq!(answer.borrow()[..], request[..]);
        });
        group.bench_function(format!("plain calls, {bytes} B"), |b| {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
            let mut client =
                TcpStream::connect(listener.local_addr().expect("bound above")).expect("a listener");
            let (mut server, _) = listener.accept().expect("a connection waits");
            client.set_nodelay(true).expect("an open socket");
            server.set_nodelay(true).expect("an open socket");
            let mut held = vec![0u8; bytes];
            b.iter(|| {
                client.write_all(&request).expect("an open socket");
                server.read_exact(&mut held).expect("an open socket");
                server.write_all(&held).expect("an open socket");
                client.read_exact(&mut answer.borrow_mut()).expect("an open socket");
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    targets = hop, ring_round_trip, echo
}
criterion_main!(benches);
