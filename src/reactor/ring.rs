//! The io_uring engine: one ring, one thread, no runtime.
//!
//! In: operations. Out: completions. One `turn` submits all that is queued with one system call and takes all that has
//! completed. What an operation uses lives in `in_flight` until its completion: the kernel never sees freed memory or
//! a reused descriptor. Made and used on one thread (SINGLE_ISSUER, DEFER_TASKRUN: H21).

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::{IoUring, cqueue, opcode, squeue, types};

use crate::clock::{Instant, WallMs};
use crate::random::SplitMix64;
use crate::reactor::blocking::{Blocking, Job};
use crate::reactor::buffer::Pool;
use crate::reactor::{
    Completion, Disk, Done, Engine, File, Operation, OsDisk, Socket, Token, WAKE, Wait, WakeTarget, Waker,
    direct,
};

/// Sizes of a ring and its receive memory.
#[derive(Clone, Copy, Debug)]
pub struct RingOptions {
    /// Submission queue entries; the completion queue has four times as many (H20).
    pub entries: u32,
    /// Receive buffers, a power of two.
    pub receive_slots: usize,
    /// Bytes in one receive buffer.
    pub receive_slot_bytes: usize,
    /// Kernel worker threads that may serve this ring (H22).
    pub workers_max: u32,
}

impl Default for RingOptions {
    fn default() -> RingOptions {
        RingOptions { entries: 512, receive_slots: 64, receive_slot_bytes: 128 * 1024, workers_max: 8 }
    }
}

/// The buffer group of the receive pool.
const RECEIVE_GROUP: u16 = 0;
/// User data of a ring message that another engine posted here.
const MESSAGE: u64 = u64::MAX;
/// Files that `hold` can register.
const HELD_FILES_MAX: u32 = 64;

/// An operation that the kernel has, with everything it uses.
#[derive(Debug)]
struct InFlight {
    token: Token,
    work: Work,
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
    Read {
        file: File,
        position: u64,
        into: Vec<u8>,
        done: usize,
    },
    SyncData {
        file: File,
    },
    /// With a thread of `blocking`, which has what it uses.
    Blocking,
    /// The read that other threads' wakes complete.
    Event {
        counter: Box<[u8; 8]>,
    },
    /// A wake sent to another ring; kept to fall back to its event when its queue is full (H30).
    Wake {
        target: Waker,
    },
}

/// Ring-provided receive buffers: the kernel takes entries from the head, we add at the tail.
struct ReceiveRing {
    pool: Pool,
    entries: *mut types::BufRingEntry,
    tail: u16,
    mask: u16,
    free: usize,
}

/// The io_uring engine.
pub struct RingEngine {
    ring: IoUring,
    receive: ReceiveRing,
    in_flight: slab::Slab<InFlight>,
    /// Rises with each operation; the upper half of the user data, so that a late completion never meets a new entry.
    generation: u32,
    /// Entries waiting for room in the submission queue.
    backlog: VecDeque<squeue::Entry>,
    /// Receives that found no buffer; they go on when one returns (H18).
    starved: VecDeque<usize>,
    waker: Waker,
    held: Vec<File>,
    blocking: Blocking,
    /// Results of blocking calls, on their way out.
    finished: Vec<(usize, Done)>,
    random: SplitMix64,
    disk: OsDisk,
    /// Completion queue overflows seen (H20).
    pub overflows: u64,
    scratch: Vec<cqueue::Entry>,
}

impl RingEngine {
    /// Makes the ring on the calling thread, which is the only one that may use it.
    ///
    /// Errors are the kernel's; `probe::explain` says what to change.
    pub fn new(options: RingOptions) -> io::Result<RingEngine> {
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all()
            .setup_cqsize(options.entries * 4)
            .build(options.entries)?;
        ring.submitter().register_iowq_max_workers(&mut [options.workers_max, options.workers_max])?;
        ring.submitter().register_files_sparse(HELD_FILES_MAX)?;
        let receive = ReceiveRing::new(&ring, options.receive_slots, options.receive_slot_bytes)?;
        let event = direct::event()?;
        let message = direct::duplicate(ring.as_raw_fd())?;
        let waker = Waker(Arc::new(WakeTarget { event, ring: Some(message) }));
        let mut engine = RingEngine {
            ring,
            receive,
            in_flight: slab::Slab::with_capacity(256),
            generation: 0,
            backlog: VecDeque::new(),
            starved: VecDeque::new(),
            blocking: Blocking::new(waker.clone(), 1),
            finished: Vec::new(),
            waker,
            held: Vec::new(),
            random: direct::numbers()?,
            disk: OsDisk,
            overflows: 0,
            scratch: Vec::with_capacity(options.entries as usize * 4),
        };
        engine.start(WAKE, Work::Event { counter: Box::new([0; 8]) });
        Ok(engine)
    }

    /// The name of an operation in use that this kernel's ring does not have.
    pub fn missing_operation(&self) -> io::Result<Option<&'static str>> {
        const USED: [(u8, &str); 9] = [
            (opcode::AcceptMulti::CODE, "ACCEPT"),
            (opcode::Connect::CODE, "CONNECT"),
            (opcode::Recv::CODE, "RECV"),
            (opcode::Send::CODE, "SEND"),
            (opcode::PollAdd::CODE, "POLL_ADD"),
            (opcode::Read::CODE, "READ"),
            (opcode::Fsync::CODE, "FSYNC"),
            (opcode::SyncFileRange::CODE, "SYNC_FILE_RANGE"),
            (opcode::MsgRingData::CODE, "MSG_RING"),
        ];
        let mut probe = io_uring::Probe::new();
        self.ring.submitter().register_probe(&mut probe)?;
        Ok(USED.into_iter().find(|(code, _)| !probe.is_supported(*code)).map(|(_, name)| name))
    }

    /// Receive buffers that are with the kernel now; equal to the number of slots when nothing is being handled (H19).
    pub fn receive_buffers_free(&self) -> usize {
        self.receive.free
    }

    fn start(&mut self, token: Token, work: Work) {
        let key = self.in_flight.insert(InFlight { token, work });
        self.queue(key);
    }

    /// Queues the (next part of the) operation under `key`.
    fn queue(&mut self, key: usize) {
        self.generation = self.generation.wrapping_add(1);
        let entry = match &mut self.in_flight[key].work {
            Work::Accept { listener } => opcode::AcceptMulti::new(types::Fd(listener.raw()))
                .flags(libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK)
                .build(),
            Work::Connect { socket, address } => {
                opcode::Connect::new(types::Fd(socket.raw()), address.as_ptr().cast(), address.len()).build()
            }
            Work::Receive { socket } => opcode::Recv::new(types::Fd(socket.raw()), std::ptr::null_mut(), 0)
                .buf_group(RECEIVE_GROUP)
                .build()
                .flags(squeue::Flags::BUFFER_SELECT),
            Work::ReceiveInto { socket, into, filled } => {
                let rest = &mut into[*filled..];
                opcode::Recv::new(types::Fd(socket.raw()), rest.as_mut_ptr(), length32(rest.len())).build()
            }
            Work::Send { socket, bytes, from } => {
                let rest = &bytes[*from..];
                opcode::Send::new(types::Fd(socket.raw()), rest.as_ptr(), length32(rest.len()))
                    .flags(libc::MSG_NOSIGNAL | libc::MSG_WAITALL)
                    .build()
            }
            Work::WaitWritable { socket } => {
                opcode::PollAdd::new(types::Fd(socket.raw()), libc::POLLOUT as u32).build()
            }
            Work::Read { file, position, into, done } => {
                let rest = &mut into[*done..];
                opcode::Read::new(types::Fd(file.raw()), rest.as_mut_ptr(), length32(rest.len()))
                    .offset(*position + *done as u64)
                    .build()
            }
            Work::SyncData { file } => {
                opcode::Fsync::new(types::Fd(file.raw())).flags(types::FsyncFlags::DATASYNC).build()
            }
            Work::Blocking => unreachable!("never queued on the ring"),
            Work::Event { counter } => {
                opcode::Read::new(types::Fd(self.waker.0.event.as_raw_fd()), counter.as_mut_ptr(), 8).build()
            }
            Work::Wake { target } => {
                let ring = target.0.ring.as_ref().expect("only wakers with a ring are woken by message");
                opcode::MsgRingData::new(types::Fd(ring.as_raw_fd()), 0, MESSAGE, None).build()
            }
        };
        let user_data = key as u64 | u64::from(self.generation) << 32;
        self.push(entry.user_data(user_data));
    }

    fn push(&mut self, entry: squeue::Entry) {
        if !self.backlog.is_empty() {
            return self.backlog.push_back(entry);
        }
        // SAFETY: everything the entry points to is owned by `in_flight` (vectors, boxes: their heap memory does not
        // move with the slab) or by the receive pool, and stays there until this operation's completion is taken.
        if unsafe { self.ring.submission().push(&entry) }.is_err() {
            self.backlog.push_back(entry);
        }
    }

    /// Moves waiting entries into the submission queue; true when some are left.
    fn refill(&mut self) -> bool {
        let mut queue = self.ring.submission();
        while let Some(entry) = self.backlog.front() {
            // SAFETY: as in `push`.
            if unsafe { queue.push(entry) }.is_err() {
                return true;
            }
            self.backlog.pop_front();
        }
        false
    }

    /// One system call: submit what is queued and wait for `want` completions at most until `wait` allows.
    fn enter(&mut self, wait: Wait) -> io::Result<()> {
        let result = match wait {
            Wait::Poll => self.ring.submit(),
            Wait::Forever => self.ring.submit_and_wait(1),
            Wait::Until(deadline) => {
                let left = deadline.since(self.now());
                if left.is_zero() {
                    self.ring.submit()
                } else {
                    let timespec = types::Timespec::from(left);
                    let arguments = types::SubmitArgs::new().timespec(&timespec);
                    self.ring.submitter().submit_with_args(1, &arguments)
                }
            }
        };
        match result {
            Ok(_) => Ok(()),
            // Time is up, a signal came, or completions must be taken first (H20): each is an ordinary end of a wait.
            Err(e)
                if matches!(
                    e.raw_os_error(),
                    Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN)
                ) =>
            {
                Ok(())
            }
            Err(e) => Err(e),
        }
    }

    /// Takes every completion there is.
    fn reap(&mut self, out: &mut Vec<Completion>) {
        let mut taken = std::mem::take(&mut self.scratch);
        taken.extend(self.ring.completion());
        for entry in taken.drain(..) {
            self.on_completion(&entry, out);
        }
        self.scratch = taken;
    }

    fn on_completion(&mut self, entry: &cqueue::Entry, out: &mut Vec<Completion>) {
        if entry.user_data() == MESSAGE {
            return out.push(Completion { token: WAKE, done: Done::Woken });
        }
        let key = (entry.user_data() & 0xffff_ffff) as usize;
        let result = entry.result();
        let in_flight = self.in_flight.get_mut(key).expect("a completion belongs to an operation in flight");
        let token = in_flight.token;
        let again = match &mut in_flight.work {
            Work::Accept { .. } => {
                let last = !cqueue::more(entry.flags());
                let result = check(result).map(|fd| Socket::from_fd(direct::adopt(fd)));
                out.push(Completion { token, done: Done::Accepted { result, last } });
                if last {
                    self.in_flight.remove(key);
                }
                return;
            }
            Work::Receive { .. } => {
                if result == -libc::ENOBUFS {
                    return self.starved.push_back(key);
                }
                result == -libc::EINTR
            }
            Work::ReceiveInto { .. } | Work::Connect { .. } | Work::WaitWritable { .. } => {
                result == -libc::EINTR
            }
            Work::Send { bytes, from, .. } => {
                if result > 0 {
                    *from += result as usize;
                }
                result == -libc::EINTR || result > 0 && *from < bytes.len()
            }
            Work::Read { into, done, .. } => {
                if result > 0 {
                    *done += result as usize;
                }
                result == -libc::EINTR || result == -libc::EAGAIN || result > 0 && *done < into.len()
            }
            Work::SyncData { .. } => result == -libc::EINTR,
            Work::Blocking => unreachable!("never queued on the ring"),
            Work::Event { .. } => {
                out.push(Completion { token: WAKE, done: Done::Woken });
                true
            }
            Work::Wake { target } => {
                if result < 0 {
                    target.wake();
                }
                self.in_flight.remove(key);
                return;
            }
        };
        if again {
            return self.queue(key);
        }
        let done = match self.in_flight.remove(key).work {
            Work::Connect { .. } => Done::Connected(check(result).map(|_| ())),
            Work::Receive { .. } => Done::Received(match cqueue::buffer_select(entry.flags()) {
                Some(slot) => {
                    self.receive.free -= 1;
                    let lease = self.receive.pool.lease(slot, result.max(0) as usize);
                    check(result).map(|_| lease)
                }
                None => check(result).map(|_| Vec::new().into()),
            }),
            Work::ReceiveInto { into, .. } => {
                Done::ReceivedInto { into, result: check(result).map(|count| count as usize) }
            }
            Work::Send { bytes, .. } => {
                let result = match check(result) {
                    Ok(0) if !bytes.is_empty() => Err(io::ErrorKind::WriteZero.into()),
                    other => other.map(|_| ()),
                };
                Done::Sent { bytes, result }
            }
            Work::WaitWritable { .. } => Done::Writable(check(result).map(|_| ())),
            Work::Read { mut into, done, .. } => {
                into.truncate(done);
                Done::Read { into, result: check(result).map(|_| done) }
            }
            Work::SyncData { .. } => Done::Flushed(check(result).map(|_| ())),
            Work::Accept { .. } | Work::Event { .. } | Work::Wake { .. } | Work::Blocking => {
                unreachable!("handled above")
            }
        };
        out.push(Completion { token, done });
    }

    /// Has a job done by a thread that may wait.
    fn start_blocking(&mut self, token: Token, job: Job) {
        let key = self.in_flight.insert(InFlight { token, work: Work::Blocking });
        self.blocking.start(key, job);
    }

    fn reap_blocking(&mut self, out: &mut Vec<Completion>) {
        self.blocking.take(&mut self.finished);
        for (key, done) in self.finished.drain(..) {
            let token = self.in_flight.remove(key).token;
            out.push(Completion { token, done });
        }
    }

    /// Gives returned receive buffers to the kernel and lets starved receives go on.
    fn provide(&mut self) {
        self.receive.provide();
        while self.receive.free > 0 {
            let Some(key) = self.starved.pop_front() else { break };
            self.queue(key);
            // At most as many retries as there are buffers; the others wait for the next turn.
            if self.starved.len() >= self.receive.free {
                break;
            }
        }
    }
}

impl Engine for RingEngine {
    fn submit(&mut self, token: Token, operation: Operation) {
        let work = match operation {
            Operation::Accept { listener } => Work::Accept { listener },
            Operation::Connect { socket, address } => {
                Work::Connect { socket, address: Box::new(address.into()) }
            }
            Operation::Receive { socket } => Work::Receive { socket },
            Operation::ReceiveInto { socket, into, filled } => Work::ReceiveInto { socket, into, filled },
            Operation::Send { socket, bytes, from } => Work::Send { socket, bytes, from },
            Operation::WaitWritable { socket } => Work::WaitWritable { socket },
            Operation::Read { file, position, into } => Work::Read { file, position, into, done: 0 },
            Operation::SyncData { file } => Work::SyncData { file },
            Operation::SyncFileSystem { file } => {
                return self.start_blocking(token, Job::SyncFileSystem { file });
            }
            Operation::WriteOut { file, position, length, drop } => {
                return self.start_blocking(token, Job::WriteOut { file, position, length, drop });
            }
        };
        self.start(token, work);
    }

    fn turn(&mut self, wait: Wait, out: &mut Vec<Completion>) -> io::Result<()> {
        let before = out.len();
        self.reap_blocking(out);
        self.provide();
        loop {
            let more = self.refill();
            let idle = out.len() == before && self.ring.completion().is_empty() && !more;
            let queued = !self.ring.submission().is_empty();
            if idle && wait != Wait::Poll {
                self.enter(wait)?;
            } else if queued || more || self.ready() {
                self.enter(Wait::Poll)?;
            }
            if self.ring.completion().overflow() > 0 {
                self.overflows = u64::from(self.ring.completion().overflow());
            }
            self.reap(out);
            if self.backlog.is_empty() {
                break;
            }
        }
        self.reap_blocking(out);
        self.provide();
        Ok(())
    }

    fn ready(&self) -> bool {
        // SAFETY: only this thread uses the queues, and neither shared handle outlives this call.
        let (submission, completion) =
            unsafe { (self.ring.submission_shared(), self.ring.completion_shared()) };
        submission.taskrun() || !completion.is_empty() || self.blocking.is_ready()
    }

    fn in_flight(&self) -> usize {
        self.in_flight.len() - 1
    }

    fn waker(&self) -> Waker {
        self.waker.clone()
    }

    fn wake(&mut self, target: &Waker) {
        if target.0.ring.is_some() {
            self.start(WAKE, Work::Wake { target: target.clone() });
        } else {
            target.wake();
        }
    }

    fn hold(&mut self, file: &File) -> io::Result<()> {
        if self.held.contains(file) {
            return Ok(());
        }
        let slot = self.held.len() as u32;
        if slot >= HELD_FILES_MAX {
            return Err(io::Error::other(format!("more than {HELD_FILES_MAX} log directories")));
        }
        self.ring.submitter().register_files_update(slot, &[file.raw()])?;
        self.held.push(file.clone());
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

impl Drop for RingEngine {
    /// Waits for what is in flight where that can end, so that no memory is freed under the kernel: the ring itself
    /// is closed first, which cancels what is left, and only then are the tables dropped.
    fn drop(&mut self) {
        // Bounded: at shutdown sockets are shut down and disk operations end by themselves.
        let mut out = Vec::new();
        for _ in 0..50 {
            if self.in_flight() == 0 || self.turn(Wait::Until(self.now().after_ms(20)), &mut out).is_err() {
                break;
            }
            out.clear();
        }
        if self.in_flight() > 0 {
            // The kernel may still write there: leaking is the only safe end.
            std::mem::forget(std::mem::take(&mut self.in_flight));
        } else {
            self.in_flight.clear();
        }
    }
}

impl ReceiveRing {
    fn new(ring: &IoUring, slots: usize, slot_bytes: usize) -> io::Result<ReceiveRing> {
        let pool = Pool::new(slots, slot_bytes)?;
        let entries: *mut types::BufRingEntry =
            direct::map_pages(slots * size_of::<types::BufRingEntry>())?.cast();
        // SAFETY: the mapping is page aligned, large enough for `slots` entries and lives as long as the process.
        unsafe {
            ring.submitter().register_buf_ring_with_flags(entries as u64, slots as u16, RECEIVE_GROUP, 0)?;
        }
        let mut receive = ReceiveRing { pool, entries, tail: 0, mask: slots as u16 - 1, free: 0 };
        for slot in 0..slots as u16 {
            receive.add(slot);
        }
        receive.publish();
        Ok(receive)
    }

    fn add(&mut self, slot: u16) {
        // SAFETY: the index is masked to the mapping, and the kernel reads entries only below the published tail.
        let entry = unsafe { &mut *self.entries.add(usize::from(self.tail & self.mask)) };
        entry.set_addr(self.pool.address(slot) as u64);
        entry.set_len(self.pool.slot_bytes() as u32);
        entry.set_bid(slot);
        self.tail = self.tail.wrapping_add(1);
        self.free += 1;
    }

    fn publish(&mut self) {
        // SAFETY: the tail lies in the first entry of the mapping; the kernel reads it with acquire.
        unsafe {
            let tail = types::BufRingEntry::tail(self.entries).cast::<AtomicU16>();
            (*tail).store(self.tail, Ordering::Release);
        }
    }

    fn provide(&mut self) {
        let before = self.tail;
        while let Some(slot) = self.pool.take_returned() {
            self.add(slot);
        }
        if self.tail != before {
            self.publish();
        }
    }
}

/// The kernel's lengths are 32 bits; what is longer is done in several parts.
fn length32(length: usize) -> u32 {
    length.min(1 << 30) as u32
}

fn check(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::from_raw_os_error(-result)) } else { Ok(result) }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    fn engine() -> RingEngine {
        RingEngine::new(RingOptions {
            entries: 8,
            receive_slots: 2,
            receive_slot_bytes: 4096,
            workers_max: 2,
        })
        .unwrap()
    }

    fn run(engine: &mut RingEngine, token: u64) -> Done {
        let mut out = Vec::new();
        for _ in 0..500 {
            let until = engine.now().after_ms(20);
            engine.turn(Wait::Until(until), &mut out).unwrap();
            if let Some(at) = out.iter().position(|completion| completion.token == Token(token)) {
                return out.swap_remove(at).done;
            }
        }
        panic!("operation {token} never completed");
    }

    fn pair(engine: &mut RingEngine) -> (Socket, std::net::TcpStream) {
        let listener = Socket::listen("127.0.0.1:0".parse().unwrap(), 16, None, None, false).unwrap();
        let address = listener.local().unwrap();
        engine.submit(Token(900), Operation::Accept { listener: listener.clone() });
        let peer = std::net::TcpStream::connect(address).unwrap();
        let Done::Accepted { result, last: false } = run(engine, 900) else { panic!("accept ended") };
        listener.shutdown();
        let Done::Accepted { result: Err(_), last: true } = run(engine, 900) else {
            panic!("accept goes on")
        };
        (result.unwrap(), peer)
    }

    #[test]
    fn bytes_come_and_go_in_whole_and_the_buffers_return() {
        let mut engine = engine();
        let (socket, mut peer) = pair(&mut engine);
        engine.submit(Token(1), Operation::Receive { socket: socket.clone() });
        let mut out = Vec::new();
        engine.turn(Wait::Poll, &mut out).unwrap();
        assert!(out.is_empty(), "a receive on an accepted socket waits for bytes: {out:?}");
        peer.write_all(b"hello").unwrap();
        let Done::Received(Ok(lease)) = run(&mut engine, 1) else { panic!() };
        assert_eq!(&lease[..], b"hello");
        assert_eq!(engine.receive_buffers_free(), 1);
        drop(lease);
        // More than the socket's buffers hold: the send goes on after short counts.
        let big = vec![7u8; 8 << 20];
        engine.submit(Token(2), Operation::Send { socket: socket.clone(), bytes: big.clone(), from: 0 });
        let reader = std::thread::spawn(move || {
            let mut got = vec![0; 8 << 20];
            peer.read_exact(&mut got).unwrap();
            (peer, got)
        });
        let Done::Sent { bytes, result: Ok(()) } = run(&mut engine, 2) else { panic!() };
        assert_eq!(bytes.len(), big.len());
        let (mut peer, got) = reader.join().unwrap();
        assert!(got == big);
        assert_eq!(engine.receive_buffers_free(), 2);
        // Straight into the caller's memory, behind what is there.
        let into = vec![1u8; 16];
        engine.submit(Token(3), Operation::ReceiveInto { socket: socket.clone(), into, filled: 4 });
        peer.write_all(b"tail").unwrap();
        let Done::ReceivedInto { into, result: Ok(4) } = run(&mut engine, 3) else { panic!() };
        assert_eq!(&into[..9], b"\x01\x01\x01\x01tail\x01");
        engine.submit(Token(4), Operation::Receive { socket: socket.clone() });
        socket.shutdown();
        let Done::Received(Ok(end)) = run(&mut engine, 4) else { panic!() };
        assert!(end.is_empty());
        assert_eq!(engine.in_flight(), 0);
    }

    #[test]
    fn receives_without_a_buffer_go_on_when_one_returns() {
        let mut engine = engine();
        let pairs: Vec<_> = (0..4).map(|_| pair(&mut engine)).collect();
        for (index, (socket, peer)) in pairs.iter().enumerate() {
            (&*peer).write_all(&[index as u8; 10]).unwrap();
            engine.submit(Token(index as u64), Operation::Receive { socket: socket.clone() });
        }
        let mut out = Vec::new();
        let mut leases = Vec::new();
        for _ in 0..100 {
            let until = engine.now().after_ms(5);
            engine.turn(Wait::Until(until), &mut out).unwrap();
            leases.append(&mut out);
            if leases.len() == 2 {
                break;
            }
        }
        assert_eq!(leases.len(), 2, "two buffers, two receives");
        drop(leases);
        let mut got = 0;
        for _ in 0..100 {
            let until = engine.now().after_ms(5);
            engine.turn(Wait::Until(until), &mut out).unwrap();
            got += out
                .drain(..)
                .filter(|c| matches!(&c.done, Done::Received(Ok(lease)) if lease.len() == 10))
                .count();
        }
        assert_eq!(got, 2);
        assert_eq!(engine.receive_buffers_free(), 2);
    }

    #[test]
    fn files_are_written_flushed_read_and_sent_without_blocking() {
        let mut engine = engine();
        let directory = tempfile::tempdir_in(".").unwrap();
        let file = OsDisk.open(&directory.path().join("file"), crate::reactor::OpenMode::CreateNew).unwrap();
        let content: Vec<u8> = (0..(4u32 << 20)).map(|i| (i / 4096) as u8).collect();
        OsDisk.write_all_at(&file, 0, &content).unwrap();
        engine.submit(Token(1), Operation::SyncData { file: file.clone() });
        assert!(matches!(run(&mut engine, 1), Done::Flushed(Ok(()))));
        engine.submit(
            Token(2),
            Operation::WriteOut { file: file.clone(), position: 0, length: 4 << 20, drop: true },
        );
        assert!(matches!(run(&mut engine, 2), Done::WrittenOut(Ok(()))));
        let into = vec![0; 8192];
        engine.submit(Token(3), Operation::Read { file: file.clone(), position: (4 << 20) - 4096, into });
        let Done::Read { into, result: Ok(4096) } = run(&mut engine, 3) else { panic!() };
        assert_eq!(into, content[(4 << 20) - 4096..]);

        let (socket, mut peer) = pair(&mut engine);
        let mut sent = 0;
        let mut waits = 0;
        let reader = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(50));
            let mut got = Vec::new();
            peer.read_to_end(&mut got).unwrap();
            got
        });
        while sent < content.len() {
            match engine.send_file(&socket, &file, sent as u64, content.len() - sent) {
                Ok(count) => sent += count,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    waits += 1;
                    engine.submit(Token(5), Operation::WaitWritable { socket: socket.clone() });
                    assert!(matches!(run(&mut engine, 5), Done::Writable(Ok(()))));
                }
                Err(e) => panic!("{e}"),
            }
        }
        socket.shutdown();
        assert!(reader.join().unwrap() == content);
        assert!(waits > 0, "4 MiB fit no socket buffer, so at least one call had to say WouldBlock");
    }

    #[test]
    fn another_thread_wakes_a_waiting_engine_by_event_and_by_message() {
        let mut engine = engine();
        let waker = engine.waker();
        std::thread::spawn(move || waker.wake()).join().unwrap();
        assert!(matches!(run(&mut engine, WAKE.0), Done::Woken));
        let waker = engine.waker();
        std::thread::spawn(move || {
            let mut other =
                RingEngine::new(RingOptions { receive_slots: 2, ..RingOptions::default() }).unwrap();
            other.wake(&waker);
            let mut out = Vec::new();
            other.turn(Wait::Poll, &mut out).unwrap();
        })
        .join()
        .unwrap();
        assert!(matches!(run(&mut engine, WAKE.0), Done::Woken));
    }
}
