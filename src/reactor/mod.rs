//! The seam between Ringdaw and the world: operations and their completions, direct calls, time, randomness.
//!
//! In: operations, each with the caller's token. Out: completions, in any order, each exactly once. Memory and
//! descriptors that an operation uses move into the engine's in-flight table and come back with the completion, so
//! giving up on an operation can never free what the kernel still uses (`FAULTS.md` H05, H06).
//! `ring` is the io_uring engine, `epoll` the one with plain calls; the test double of `sim` implements the same traits,
//! and `choice` says which of the two serves here. This is the only folder with `unsafe`.

use std::io;

use crate::clock::{Instant, WallMs};

mod blocking;
pub mod buffer;
pub mod choice;
pub mod direct;
pub mod disk;
pub mod epoll;
pub mod limits;
pub mod mailbox;
pub mod pin;
pub mod probe;
pub mod process;
pub mod ring;
pub mod socket;
pub mod storage;

pub use buffer::Lease;
pub use disk::{Disk, File, OpenMode, OsDisk};
pub use socket::Socket;

/// The caller's name for an operation; comes back with its completion. The engine never looks inside.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Token(pub u64);

/// The token that completions of wakes carry.
pub const WAKE: Token = Token(u64::MAX);

/// Something the world is asked to do. "All of it" operations go on after short counts by themselves (H01).
#[derive(Debug)]
pub enum Operation {
    /// Completes once per connection until it fails; stops when the listener is shut down.
    Accept { listener: Socket },
    /// Connects a socket made by `Socket::tcp`. Completes as `Done::Connected`.
    Connect { socket: Socket, address: std::net::SocketAddr },
    /// Receives what is there, at least 1 byte, into a buffer of the engine's pool. Completes as `Done::Received`,
    /// empty at the end of the stream.
    Receive { socket: Socket },
    /// Receives what is there into `into`, behind its first `filled` bytes. Completes as `Done::ReceivedInto`.
    ReceiveInto { socket: Socket, into: Vec<u8>, filled: usize },
    /// Sends all of `bytes` from `from` on. One send at a time per socket (H03). Completes as `Done::Sent`.
    Send { socket: Socket, bytes: Vec<u8>, from: usize },
    /// Completes when the socket can take more bytes, or has failed. `Done::Writable`.
    WaitWritable { socket: Socket },
    /// Reads until `into` is full or the file ends. Completes as `Done::Read`.
    Read { file: File, position: u64, into: Vec<u8> },
    /// `fdatasync`. Completes as `Done::Flushed`.
    SyncData { file: File },
    /// `syncfs` of the file system that holds `file`: one flush for any number of files. Completes as `Done::Flushed`.
    SyncFileSystem { file: File },
    /// Starts write-out of a range and, with `drop`, waits until it has ended and, only where that succeeded (H10), lets
    /// go of its pages. Completes as `Done::WrittenOut`.
    WriteOut { file: File, position: u64, length: u64, drop: bool },
}

/// What an operation came to. Resources go back to the caller.
#[derive(Debug)]
pub enum Done {
    /// `last` says that this accept has ended and must be submitted again to go on (H18).
    Accepted {
        result: io::Result<Socket>,
        last: bool,
    },
    Connected(io::Result<()>),
    Received(io::Result<Lease>),
    /// The buffer with the new bytes behind `filled`; the count of new bytes, 0 at the end of the stream.
    ReceivedInto {
        into: Vec<u8>,
        result: io::Result<usize>,
    },
    Sent {
        bytes: Vec<u8>,
        result: io::Result<()>,
    },
    Writable(io::Result<()>),
    /// The bytes read, cut to what the file had.
    Read {
        into: Vec<u8>,
        result: io::Result<usize>,
    },
    Flushed(io::Result<()>),
    WrittenOut(io::Result<()>),
    /// Another thread called `Waker::wake`.
    Woken,
}

#[derive(Debug)]
pub struct Completion {
    pub token: Token,
    pub done: Done,
}

/// How long `Engine::turn` may wait when nothing has completed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wait {
    /// Not at all.
    Poll,
    /// Until something completes or a waker wakes.
    Forever,
    /// The same, at most until this instant.
    Until(Instant),
}

/// One thread's way to the world. Made on, and used by, one thread (H21).
pub trait Engine {
    /// Queues an operation; it starts with the next `turn`, which submits everything queued at once.
    fn submit(&mut self, token: Token, operation: Operation);

    /// Submits what is queued and takes all completions there are into `out`, waiting as `wait` says for the first.
    /// An error here is one of the engine itself and leaves the thread without a world.
    fn turn(&mut self, wait: Wait, out: &mut Vec<Completion>) -> io::Result<()>;

    /// True when a `turn` with `Wait::Poll` may find a completion: this is what spinning reads. Costs no system call on
    /// the ring, one that waits for nothing on epoll.
    fn ready(&self) -> bool;

    /// Operations submitted and not yet completed.
    fn in_flight(&self) -> usize;

    /// What another thread uses to end this engine's wait.
    fn waker(&self) -> Waker;

    /// Wakes another thread's engine with this turn's submission, where that is cheaper than a system call of its own.
    fn wake(&mut self, target: &Waker);

    /// Keeps `file` open for as long as anything this engine submitted may still touch the disk (H07).
    fn hold(&mut self, file: &File) -> io::Result<()>;

    /// Sends bytes at once, as many as the socket takes; `WouldBlock` when it takes none. `more`: file bytes follow.
    fn send_now(&mut self, socket: &Socket, bytes: &[u8], more: bool) -> io::Result<usize>;

    /// Sends file bytes at once, as many as the socket takes (`sendfile(2)`); `WouldBlock` when it takes none.
    /// 0 means that the file ends there.
    fn send_file(&mut self, socket: &Socket, file: &File, position: u64, length: usize) -> io::Result<usize>;

    /// Files and directories.
    fn disk(&self) -> &dyn Disk;

    /// The monotonic clock.
    fn now(&self) -> Instant;

    /// The date.
    fn wall(&self) -> WallMs;

    /// A random number: for ids and jitter, never for keys.
    fn random(&mut self) -> u64;
}

/// Ends an engine's wait from another thread. Cheap to clone; outlives the engine harmlessly.
#[derive(Clone, Debug)]
pub struct Waker(std::sync::Arc<WakeTarget>);

#[derive(Debug)]
pub(crate) struct WakeTarget {
    event: std::os::fd::OwnedFd,
    /// A descriptor of the target's ring, for ring messages, where it has one.
    ring: Option<std::os::fd::OwnedFd>,
}

impl Waker {
    /// A waker that leaves a count on an event of its own: for engines that are not rings.
    pub fn by_event() -> io::Result<Waker> {
        Ok(Waker(std::sync::Arc::new(WakeTarget { event: direct::event()?, ring: None })))
    }

    /// Ends the target's wait, now or the next one. One system call.
    pub fn wake(&self) {
        let one = 1u64.to_ne_bytes();
        // SAFETY: eight bytes of a local are read. The only failure, a full counter, means that a wake is pending.
        unsafe {
            libc::write(std::os::fd::AsRawFd::as_raw_fd(&self.0.event), one.as_ptr().cast(), one.len())
        };
    }
}
