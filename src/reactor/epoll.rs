//! The second engine: epoll and plain system calls, for where a sandbox forbids the ring, and to measure what the ring buys.
//!
//! In: operations. Out: completions, with the meaning they have on the ring. A socket is registered once, edge-triggered,
//! for both directions; its operations wait in two queues, in order, and are tried when they are submitted and when an
//! edge comes. What may wait for a disk goes to the threads of `blocking`. Nothing the kernel keeps points into our
//! memory: a call borrows it and has let go when it returns.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use crate::clock::{Instant, WallMs};
use crate::random::SplitMix64;
use crate::reactor::blocking::{Blocking, Job};
use crate::reactor::buffer::{Lease, Pool};
use crate::reactor::socket::SocketName;
use crate::reactor::{
    Completion, Disk, Done, Engine, File, Operation, OsDisk, Socket, Token, WAKE, Wait, Waker, direct,
};

/// Sizes of the engine's memory, and how many calls may wait for a disk at once.
#[derive(Clone, Copy, Debug)]
pub struct EpollOptions {
    /// Receive buffers, a power of two.
    pub receive_slots: usize,
    /// Bytes in one receive buffer.
    pub receive_slot_bytes: usize,
    /// Threads for calls that may wait for a disk; started as they are needed.
    pub threads_max: usize,
}

impl Default for EpollOptions {
    fn default() -> EpollOptions {
        EpollOptions { receive_slots: 64, receive_slot_bytes: 128 * 1024, threads_max: 8 }
    }
}

/// Events taken with one system call; what is left comes with the next turn, in turn.
const EVENTS_MAX: usize = 256;
/// Connections that one listener may bring in a turn.
const ACCEPTS_MAX: usize = 64;
/// The end of a queue.
const NONE: u32 = u32::MAX;
/// What a socket is registered for. An edge of the writing side comes only after a call that found no room.
const INTEREST: u32 =
    (libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLPRI | libc::EPOLLET) as u32;
const READ_EVENTS: u32 = (libc::EPOLLIN | libc::EPOLLPRI) as u32 | END_EVENTS;
const WRITE_EVENTS: u32 = (libc::EPOLLOUT | libc::EPOLLHUP | libc::EPOLLERR) as u32;
/// After these a short count no longer says that the next call would find nothing: the end of the stream, an error, or
/// what lies behind an urgent byte may be there, and no further edge announces it.
const END_EVENTS: u32 = (libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR) as u32;
const PAST_SHORT_EVENTS: u32 = END_EVENTS | libc::EPOLLPRI as u32;
/// The event of the waker; sockets have their generation in the upper half, which starts at 1.
const WAKE_EVENT: u64 = 0;

/// An operation that has not completed.
#[derive(Debug)]
struct InFlight {
    token: Token,
    work: Work,
    /// The next one of the same queue.
    next: u32,
}

#[derive(Debug)]
enum Work {
    Accept {
        listener: Socket,
    },
    Connect {
        socket: Socket,
        address: Box<socket2::SockAddr>,
    },
    Receive {
        socket: Socket,
    },
    ReceiveInto {
        socket: Socket,
        into: Vec<u8>,
        filled: usize,
    },
    Send {
        socket: Socket,
        bytes: Vec<u8>,
        from: usize,
    },
    WaitWritable {
        socket: Socket,
    },
    /// With a thread of `blocking`, which has what it uses.
    OnThread,
}

/// One direction of a socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Side {
    Read,
    Write,
}

#[derive(Debug)]
struct Queue {
    first: u32,
    last: u32,
    /// A call may find something; false until the next edge.
    able: bool,
}

impl Queue {
    fn new() -> Queue {
        Queue { first: NONE, last: NONE, able: true }
    }
}

/// What is known of the socket behind a descriptor number.
#[derive(Debug)]
struct Watched {
    socket: SocketName,
    generation: u32,
    registered: bool,
    /// See `PAST_SHORT_EVENTS`.
    past_short: bool,
    read: Queue,
    write: Queue,
}

/// What one call for an operation came to.
enum Tried {
    /// It has completed.
    Done(Done),
    /// A listener brought a connection and goes on.
    Accepted(Socket),
    /// It waits for an edge.
    Wait,
    /// It waits for a receive buffer.
    NoBuffer,
}

/// The engine of epoll and plain system calls.
pub struct EpollEngine {
    epoll: OwnedFd,
    waker: Waker,
    pool: Pool,
    /// Receive buffers that nobody uses.
    free: Vec<u16>,
    in_flight: slab::Slab<InFlight>,
    /// By descriptor number.
    watched: Vec<Option<Watched>>,
    generation: u32,
    /// Descriptors whose queues are tried at the start of the next turn.
    touched: Vec<RawFd>,
    /// Descriptors whose receives found no buffer; tried again when one returns (H18).
    starved: VecDeque<RawFd>,
    blocking: Blocking,
    /// Operations with it, and those whose results wait in `finished`.
    on_threads: usize,
    finished: Vec<(usize, Done)>,
    events: Vec<libc::epoll_event>,
    /// The kernel has waits in nanoseconds (5.11), and a sandbox allows them.
    fine_waits: bool,
    random: SplitMix64,
    disk: OsDisk,
}

impl EpollEngine {
    /// Errors are the kernel's: too many open files, no memory.
    pub fn new(options: EpollOptions) -> io::Result<EpollEngine> {
        let epoll = create()?;
        let waker = Waker::by_event()?;
        // Edge-triggered: each write to the event is an edge, so it need not be read.
        let edge = (libc::EPOLLIN | libc::EPOLLET) as u32;
        register(&epoll, libc::EPOLL_CTL_ADD, waker.0.event.as_raw_fd(), edge, WAKE_EVENT)?;
        let pool = Pool::new(options.receive_slots, options.receive_slot_bytes)?;
        Ok(EpollEngine {
            epoll,
            free: (0..options.receive_slots as u16).collect(),
            pool,
            in_flight: slab::Slab::with_capacity(256),
            watched: Vec::new(),
            generation: 0,
            touched: Vec::new(),
            starved: VecDeque::new(),
            on_threads: 0,
            blocking: Blocking::new(waker.clone(), options.threads_max),
            waker,
            finished: Vec::new(),
            events: Vec::with_capacity(EVENTS_MAX),
            fine_waits: true,
            random: direct::numbers()?,
            disk: OsDisk,
        })
    }

    /// Receive buffers that nobody uses; equal to the number of slots when nothing is being handled (H19).
    pub fn receive_buffers_free(&self) -> usize {
        self.free.len()
    }

    /// Puts an operation at the end of its socket's queue; the socket's descriptor.
    fn enqueue(&mut self, token: Token, side: Side, work: Work) -> RawFd {
        let fd = work.socket().raw();
        self.watch(fd, work.socket());
        let key = self.in_flight.insert(InFlight { token, work, next: NONE }) as u32;
        let queue = queue_of(&mut self.watched, fd, side);
        let last = std::mem::replace(&mut queue.last, key);
        if last == NONE {
            queue.first = key;
        } else {
            self.in_flight[last as usize].next = key;
        }
        self.touched.push(fd);
        fd
    }

    /// Forgets what was known of a descriptor number when another socket has it now: the kernel has taken the old one out
    /// of the epoll set when it was closed, and none of its operations are left, because each holds its socket.
    fn watch(&mut self, fd: RawFd, socket: &Socket) {
        let at = usize::try_from(fd).expect("a socket of the kernel's");
        if self.watched.len() <= at {
            self.watched.resize_with(at + 1, || None);
        }
        if self.watched[at].as_ref().is_some_and(|watched| watched.socket.is_of(socket)) {
            return;
        }
        if let Some(old) = &self.watched[at] {
            assert!(old.read.first == NONE && old.write.first == NONE, "an operation outlived its socket");
        }
        self.generation = self.generation.wrapping_add(1).max(1);
        self.watched[at] = Some(Watched {
            socket: SocketName::of(socket),
            generation: self.generation,
            registered: false,
            past_short: false,
            read: Queue::new(),
            write: Queue::new(),
        });
    }

    /// Notes that a side has nothing for us until the next edge, which from here on will come.
    fn await_edge(&mut self, fd: RawFd, side: Side) -> io::Result<()> {
        let watched = self.watched[fd as usize].as_mut().expect("watched since its first operation");
        if !watched.registered {
            let data = u64::from(watched.generation) << 32 | fd as u64;
            match register(&self.epoll, libc::EPOLL_CTL_ADD, fd, INTEREST, data) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                    register(&self.epoll, libc::EPOLL_CTL_MOD, fd, INTEREST, data)?;
                }
                other => other?,
            }
            watched.registered = true;
        }
        match side {
            Side::Read => watched.read.able = false,
            Side::Write => watched.write.able = false,
        }
        Ok(())
    }

    /// Tries the operations of a queue, in order, as far as they go.
    fn drain(&mut self, fd: RawFd, side: Side, out: &mut Vec<Completion>) {
        let mut accepts = 0;
        loop {
            let queue = queue_of(&mut self.watched, fd, side);
            let key = queue.first;
            if key == NONE || !queue.able {
                return;
            }
            let token = self.in_flight[key as usize].token;
            let done = match self.attempt(key as usize, fd) {
                Tried::Done(done) => done,
                Tried::Accepted(socket) => {
                    out.push(Completion { token, done: Done::Accepted { result: Ok(socket), last: false } });
                    accepts += 1;
                    if accepts == ACCEPTS_MAX {
                        return self.touched.push(fd);
                    }
                    continue;
                }
                Tried::Wait => match self.await_edge(fd, side) {
                    Ok(()) => return,
                    Err(error) => self.in_flight[key as usize].work.failed(error),
                },
                Tried::NoBuffer => return self.starved.push_back(fd),
            };
            let next = self.in_flight.remove(key as usize).next;
            let queue = queue_of(&mut self.watched, fd, side);
            queue.first = next;
            if next == NONE {
                queue.last = NONE;
            }
            out.push(Completion { token, done });
        }
    }

    /// One call, or as many as it takes to find no room, for the operation under `key`.
    fn attempt(&mut self, key: usize, fd: RawFd) -> Tried {
        match &mut self.in_flight[key].work {
            Work::Accept { listener } => match uninterrupted(|| direct::accept(listener)) {
                Ok(socket) => Tried::Accepted(socket),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => Tried::Wait,
                Err(e) => Tried::Done(Done::Accepted { result: Err(e), last: true }),
            },
            Work::Connect { socket, address } => match uninterrupted(|| direct::connect(socket, address)) {
                Err(e) if matches!(e.raw_os_error(), Some(libc::EINPROGRESS | libc::EALREADY)) => Tried::Wait,
                Err(e) if e.raw_os_error() == Some(libc::EISCONN) => Tried::Done(Done::Connected(Ok(()))),
                result => Tried::Done(Done::Connected(result)),
            },
            Work::Receive { socket } => {
                let Some(slot) = self.free.pop() else { return Tried::NoBuffer };
                let (at, room) = (self.pool.address(slot), self.pool.slot_bytes());
                // SAFETY: the slot is on no lease and was not among the free ones when this call began, so its memory,
                // which the pool never moves, is this call's alone.
                match uninterrupted(|| unsafe { direct::receive(socket, at, room) }) {
                    Ok(count) if count > 0 => {
                        self.after_receive(fd, count < room);
                        Tried::Done(Done::Received(Ok(self.pool.lease(slot, count))))
                    }
                    other => {
                        self.free.push(slot);
                        match other {
                            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Tried::Wait,
                            other => Tried::Done(Done::Received(other.map(|_| Lease::from(Vec::new())))),
                        }
                    }
                }
            }
            Work::ReceiveInto { socket, into, filled } => {
                let rest = &mut into[*filled..];
                let (at, room) = (rest.as_mut_ptr(), rest.len());
                // SAFETY: `rest` is exclusively borrowed until the call has returned.
                let result = uninterrupted(|| unsafe { direct::receive(socket, at, room) });
                if matches!(&result, Err(e) if e.kind() == io::ErrorKind::WouldBlock) {
                    return Tried::Wait;
                }
                let into = std::mem::take(into);
                if let Ok(count) = result {
                    self.after_receive(fd, count > 0 && count < room);
                }
                Tried::Done(Done::ReceivedInto { into, result })
            }
            Work::Send { socket, bytes, from } => {
                let result = loop {
                    match uninterrupted(|| direct::send(socket, &bytes[*from..], false)) {
                        Ok(count) => {
                            *from += count;
                            if *from == bytes.len() {
                                break Ok(());
                            }
                            if count == 0 {
                                break Err(io::ErrorKind::WriteZero.into());
                            }
                        }
                        Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Tried::Wait,
                        Err(e) => break Err(e),
                    }
                };
                Tried::Done(Done::Sent { bytes: std::mem::take(bytes), result })
            }
            // Asked of the kernel each time: the caller's direct calls may have filled the socket without our knowing.
            Work::WaitWritable { socket } => match uninterrupted(|| direct::is_writable(socket)) {
                Ok(false) => Tried::Wait,
                result => Tried::Done(Done::Writable(result.map(|_| ()))),
            },
            Work::OnThread => unreachable!("in no queue"),
        }
    }

    /// A receive that did not fill its room has emptied the socket, which saves the call that would say so.
    fn after_receive(&mut self, fd: RawFd, short: bool) {
        let watched = self.watched[fd as usize].as_ref().expect("watched since its first operation");
        if short && !watched.past_short {
            // Not registered is not fatal here: the next receive asks again and reports it.
            let _ = self.await_edge(fd, Side::Read);
        }
    }

    /// Takes an event of epoll.
    fn on_event(&mut self, event: libc::epoll_event, out: &mut Vec<Completion>) {
        let (events, data) = (event.events, event.u64);
        if data == WAKE_EVENT {
            return out.push(Completion { token: WAKE, done: Done::Woken });
        }
        let (fd, generation) = ((data & 0xffff_ffff) as RawFd, (data >> 32) as u32);
        let Some(Some(watched)) = self.watched.get_mut(fd as usize) else { return };
        if watched.generation != generation {
            return;
        }
        watched.past_short |= events & PAST_SHORT_EVENTS != 0;
        watched.read.able |= events & READ_EVENTS != 0;
        watched.write.able |= events & WRITE_EVENTS != 0;
        self.drain(fd, Side::Read, out);
        self.drain(fd, Side::Write, out);
    }

    /// Waits for events and takes them; true when the wait has ended without one.
    fn take_events(&mut self, wait: Wait, out: &mut Vec<Completion>) -> io::Result<bool> {
        let timeout = match wait {
            Wait::Poll => Some(std::time::Duration::ZERO),
            Wait::Forever => None,
            Wait::Until(deadline) => Some(deadline.since(self.now())),
        };
        self.events.clear();
        match wait_for_events(&self.epoll, &mut self.events, timeout, &mut self.fine_waits) {
            Ok(()) => {}
            // A signal is an ordinary end of a wait.
            Err(e) if e.kind() == io::ErrorKind::Interrupted => return Ok(true),
            Err(e) => return Err(e),
        }
        for at in 0..self.events.len() {
            self.on_event(self.events[at], out);
        }
        Ok(self.events.is_empty())
    }

    /// Tries what was submitted since, and what a returned buffer lets go on.
    fn start_queued(&mut self, out: &mut Vec<Completion>) {
        while let Some(slot) = self.pool.take_returned() {
            self.free.push(slot);
        }
        // Those that have waited come first, each at most once.
        for _ in 0..self.starved.len().min(self.free.len()) {
            let Some(fd) = self.starved.pop_front() else { break };
            self.drain(fd, Side::Read, out);
        }
        // A listener with more connections than one turn takes goes to the end of the list, for the next turn.
        let count = self.touched.len();
        for at in 0..count {
            let fd = self.touched[at];
            self.drain(fd, Side::Read, out);
            self.drain(fd, Side::Write, out);
        }
        self.touched.drain(..count);
    }

    /// Starts a job on a thread.
    fn start_job(&mut self, token: Token, job: Job) {
        let key = self.in_flight.insert(InFlight { token, work: Work::OnThread, next: NONE });
        self.on_threads += 1;
        self.blocking.start(key, job);
    }

    /// Reads what is in memory here; a thread goes on where the disk, or an error, must be waited for.
    fn start_read(&mut self, token: Token, file: File, position: u64, mut into: Vec<u8>) {
        let mut done = 0;
        while done < into.len() {
            match direct::read_resident(&file, position + done as u64, &mut into[done..]) {
                Ok(count) if count > 0 => done += count,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => return self.start_job(token, Job::Read { file, position, into, done }),
            }
        }
        let key = self.in_flight.insert(InFlight { token, work: Work::OnThread, next: NONE });
        self.on_threads += 1;
        self.finished.push((key, Done::Read { into, result: Ok(done) }));
    }

    fn reap_blocking(&mut self, out: &mut Vec<Completion>) {
        self.blocking.take(&mut self.finished);
        for (key, done) in self.finished.drain(..) {
            let token = self.in_flight.remove(key).token;
            self.on_threads -= 1;
            out.push(Completion { token, done });
        }
    }
}

impl Engine for EpollEngine {
    fn submit(&mut self, token: Token, operation: Operation) {
        match operation {
            Operation::Accept { listener } => {
                // A blocking one would hold the thread; a listener that is none of ours any more says so when asked.
                let _ = listener.set_non_blocking();
                self.enqueue(token, Side::Read, Work::Accept { listener });
            }
            Operation::Connect { socket, address } => {
                let _ = socket.set_non_blocking();
                let address = Box::new(address.into());
                self.enqueue(token, Side::Write, Work::Connect { socket, address });
            }
            Operation::Receive { socket } => {
                self.enqueue(token, Side::Read, Work::Receive { socket });
            }
            Operation::ReceiveInto { socket, into, filled } => {
                self.enqueue(token, Side::Read, Work::ReceiveInto { socket, into, filled });
            }
            Operation::Send { socket, bytes, from } => {
                self.enqueue(token, Side::Write, Work::Send { socket, bytes, from });
            }
            Operation::WaitWritable { socket } => {
                // The kernel is asked, whatever is remembered.
                let fd = self.enqueue(token, Side::Write, Work::WaitWritable { socket });
                queue_of(&mut self.watched, fd, Side::Write).able = true;
            }
            Operation::Read { file, position, into } => self.start_read(token, file, position, into),
            Operation::SyncData { file } => self.start_job(token, Job::SyncData { file }),
            Operation::SyncFileSystem { file } => self.start_job(token, Job::SyncFileSystem { file }),
            Operation::WriteOut { file, position, length, drop } => {
                self.start_job(token, Job::WriteOut { file, position, length, drop });
            }
        }
    }

    fn turn(&mut self, wait: Wait, out: &mut Vec<Completion>) -> io::Result<()> {
        let before = out.len();
        loop {
            self.reap_blocking(out);
            self.start_queued(out);
            let has_work = out.len() > before || !self.touched.is_empty();
            let ended = self.take_events(if has_work { Wait::Poll } else { wait }, out)?;
            self.reap_blocking(out);
            // An edge of a socket that nobody waits for ends no wait.
            if ended || has_work || wait == Wait::Poll || out.len() > before {
                return Ok(());
            }
        }
    }

    fn ready(&self) -> bool {
        !self.touched.is_empty()
            || !self.finished.is_empty()
            || self.blocking.is_ready()
            // An error of asking shows in the turn.
            || direct::poll(self.epoll.as_raw_fd(), libc::POLLIN).unwrap_or(true)
    }

    fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    fn waker(&self) -> Waker {
        self.waker.clone()
    }

    fn wake(&mut self, target: &Waker) {
        target.wake();
    }

    fn hold(&mut self, file: &File) -> io::Result<()> {
        self.blocking.hold(file);
        Ok(())
    }

    fn send_now(&mut self, socket: &Socket, bytes: &[u8], more: bool) -> io::Result<usize> {
        direct::send(socket, bytes, more)
    }

    fn send_file(&mut self, socket: &Socket, file: &File, position: u64, length: usize) -> io::Result<usize> {
        direct::send_file(socket, file, position, length)
    }

    fn disk(&self) -> &dyn Disk {
        &self.disk
    }

    fn now(&self) -> Instant {
        direct::now()
    }

    fn wall(&self) -> WallMs {
        direct::wall()
    }

    fn random(&mut self) -> u64 {
        self.random.next_u64()
    }
}

impl Drop for EpollEngine {
    /// Waits for calls that threads are in, where they end soon. One that goes on owns what it uses.
    fn drop(&mut self) {
        let mut out = Vec::new();
        for _ in 0..50 {
            if self.on_threads == 0 || self.turn(Wait::Until(self.now().after_ms(20)), &mut out).is_err() {
                break;
            }
            out.clear();
        }
    }
}

impl Work {
    fn socket(&self) -> &Socket {
        match self {
            Work::Accept { listener: socket }
            | Work::Connect { socket, .. }
            | Work::Receive { socket }
            | Work::ReceiveInto { socket, .. }
            | Work::Send { socket, .. }
            | Work::WaitWritable { socket } => socket,
            Work::OnThread => unreachable!("in no queue"),
        }
    }

    /// What it comes to when the engine itself cannot wait for it.
    fn failed(&mut self, error: io::Error) -> Done {
        match self {
            Work::Accept { .. } => Done::Accepted { result: Err(error), last: true },
            Work::Connect { .. } => Done::Connected(Err(error)),
            Work::Receive { .. } => Done::Received(Err(error)),
            Work::ReceiveInto { into, .. } => {
                Done::ReceivedInto { into: std::mem::take(into), result: Err(error) }
            }
            Work::Send { bytes, .. } => Done::Sent { bytes: std::mem::take(bytes), result: Err(error) },
            Work::WaitWritable { .. } => Done::Writable(Err(error)),
            Work::OnThread => unreachable!("in no queue"),
        }
    }
}

fn queue_of(watched: &mut [Option<Watched>], fd: RawFd, side: Side) -> &mut Queue {
    let watched = watched[fd as usize].as_mut().expect("watched since its first operation");
    match side {
        Side::Read => &mut watched.read,
        Side::Write => &mut watched.write,
    }
}

/// A signal is no answer.
fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

fn check(result: libc::c_long) -> io::Result<usize> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as usize) }
}

fn create() -> io::Result<OwnedFd> {
    // SAFETY: no memory is passed.
    let fd = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) }.into())?;
    Ok(direct::adopt(fd as RawFd))
}

fn register(epoll: &OwnedFd, change: libc::c_int, fd: RawFd, events: u32, data: u64) -> io::Result<()> {
    let mut event = libc::epoll_event { events, u64: data };
    // SAFETY: the kernel reads one event, a local.
    check(unsafe { libc::epoll_ctl(epoll.as_raw_fd(), change, fd, &raw mut event) }.into()).map(|_| ())
}

/// Fills `events`, which is empty, up to its capacity. `None` waits for ever. Where waits in nanoseconds are refused,
/// `fine` becomes false, and milliseconds, rounded up, take their place.
fn wait_for_events(
    epoll: &OwnedFd,
    events: &mut Vec<libc::epoll_event>,
    timeout: Option<std::time::Duration>,
    fine: &mut bool,
) -> io::Result<()> {
    let (room, into) = (events.capacity().min(EVENTS_MAX) as libc::c_int, events.as_mut_ptr());
    let timed = timeout.filter(|timeout| !timeout.is_zero());
    if let Some(left) = timed.filter(|_| *fine) {
        let time =
            libc::timespec { tv_sec: left.as_secs() as libc::time_t, tv_nsec: left.subsec_nanos().into() };
        let no_mask: *const libc::sigset_t = std::ptr::null();
        // SAFETY: the kernel writes at most `room` events, for which there is memory, and reads one local.
        let result = check(unsafe {
            let fd = epoll.as_raw_fd();
            libc::syscall(libc::SYS_epoll_pwait2, fd, into, room, &raw const time, no_mask, 0usize)
        });
        match result {
            Err(e) if matches!(e.raw_os_error(), Some(libc::ENOSYS | libc::EPERM | libc::EACCES)) => {
                *fine = false;
            }
            result => {
                // SAFETY: as many events as the kernel says were written.
                unsafe { events.set_len(result?) };
                return Ok(());
            }
        }
    }
    let ms = timeout.map_or(-1, |timeout| {
        libc::c_int::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(libc::c_int::MAX)
    });
    // SAFETY: as above.
    let count = check(unsafe { libc::epoll_wait(epoll.as_raw_fd(), into, room, ms) }.into())?;
    // SAFETY: as above.
    unsafe { events.set_len(count) };
    Ok(())
}
