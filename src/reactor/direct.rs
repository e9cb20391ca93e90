//! The few direct system calls of the data path and of start-up.
//!
//! Each does one thing and returns what the kernel said; nothing here keeps state.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use crate::clock::{Instant, WallMs};
use crate::random::SplitMix64;
use crate::reactor::{File, Socket};

fn check(result: isize) -> io::Result<usize> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as usize) }
}

/// The monotonic clock.
pub fn now() -> Instant {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is written by the call and cannot fail with this clock.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    Instant(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

/// The date.
pub fn wall() -> WallMs {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: as above.
    unsafe { libc::clock_gettime(libc::CLOCK_REALTIME, &raw mut time) };
    WallMs(time.tv_sec * 1000 + time.tv_nsec / 1_000_000)
}

/// A random seed from the kernel.
pub fn random() -> io::Result<u64> {
    let mut bytes = [0u8; 8];
    // SAFETY: eight bytes of a local are written.
    check(unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) })?;
    Ok(u64::from_ne_bytes(bytes))
}

/// `send(2)` that takes what fits now.
pub(super) fn send(socket: &Socket, bytes: &[u8], more: bool) -> io::Result<usize> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL | if more { libc::MSG_MORE } else { 0 };
    // SAFETY: the bytes are borrowed until the call returns.
    check(unsafe { libc::send(socket.raw(), bytes.as_ptr().cast(), bytes.len(), flags) })
}

/// `recv(2)` of what is there now, into `length` bytes at `into`.
///
/// # Safety
/// The range is writable, and nobody else uses it during the call.
pub(super) unsafe fn receive(socket: &Socket, into: *mut u8, length: usize) -> io::Result<usize> {
    // SAFETY: the caller vouches for the range; the kernel keeps nothing of it.
    check(unsafe { libc::recv(socket.raw(), into.cast(), length, libc::MSG_DONTWAIT) })
}

/// `accept4(2)` of a non-blocking listener.
pub(super) fn accept(listener: &Socket) -> io::Result<Socket> {
    // SAFETY: no memory is passed; the descriptor is new and owned by nobody else.
    unsafe {
        let (none, length) = (std::ptr::null_mut(), std::ptr::null_mut());
        let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        let fd = check(libc::accept4(listener.raw(), none, length, flags) as isize)?;
        Ok(Socket::from_fd(OwnedFd::from_raw_fd(fd as RawFd)))
    }
}

/// `connect(2)`; asked again, it tells how far a non-blocking connection has come.
pub(super) fn connect(socket: &Socket, address: &socket2::SockAddr) -> io::Result<()> {
    // SAFETY: the address is borrowed until the call returns.
    let result = unsafe { libc::connect(socket.raw(), address.as_ptr().cast(), address.len()) };
    check(result as isize).map(|_| ())
}

/// True when the socket takes bytes now, or has failed (`poll(2)` without waiting).
pub(super) fn is_writable(socket: &Socket) -> io::Result<bool> {
    poll(socket.raw(), libc::POLLOUT)
}

/// True when the descriptor has one of `events`, an error or an end, now.
pub(super) fn poll(fd: RawFd, events: libc::c_short) -> io::Result<bool> {
    let mut poll = libc::pollfd { fd, events, revents: 0 };
    // SAFETY: one entry, a local, is read and written.
    check(unsafe { libc::poll(&raw mut poll, 1, 0) } as isize).map(|ready| ready > 0)
}

/// Reads what of a range is in memory, without waiting for the disk: `WouldBlock` when its start is not there,
/// `Unsupported` where the file system cannot tell.
pub(super) fn read_resident(file: &File, position: u64, into: &mut [u8]) -> io::Result<usize> {
    let slice = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
    // SAFETY: `slice` is the exclusively borrowed `into`, which outlives the call.
    check(unsafe {
        libc::preadv2(file.raw(), &raw const slice, 1, position as libc::off_t, libc::RWF_NOWAIT)
    })
}

/// `sendfile(2)` that takes what fits now: accepted sockets are non-blocking.
pub(super) fn send_file(socket: &Socket, file: &File, position: u64, length: usize) -> io::Result<usize> {
    let mut position = position as libc::off_t;
    // SAFETY: the kernel updates `position`, a local.
    check(unsafe { libc::sendfile(socket.raw(), file.raw(), &raw mut position, length) })
}

/// Numbers for ids and jitter, from a seed of the kernel.
pub(super) fn numbers() -> io::Result<SplitMix64> {
    random().map(SplitMix64::new)
}

/// An event counter for wakes.
pub(super) fn event() -> io::Result<OwnedFd> {
    // SAFETY: no memory is passed; the descriptor is new and owned by nobody else.
    unsafe {
        let fd = check(libc::eventfd(0, libc::EFD_CLOEXEC) as isize)?;
        Ok(OwnedFd::from_raw_fd(fd as RawFd))
    }
}

/// A second descriptor of the same file.
pub(super) fn duplicate(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: no memory is passed; the descriptor is new and owned by nobody else.
    unsafe {
        let fd = check(libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 0) as isize)?;
        Ok(OwnedFd::from_raw_fd(fd as RawFd))
    }
}

/// Takes over a descriptor that the kernel returned with a completion.
pub(super) fn adopt(fd: RawFd) -> OwnedFd {
    // SAFETY: the completion hands the descriptor to exactly one taker, this call.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Zeroed pages that are never unmapped.
pub(super) fn map_pages(bytes: usize) -> io::Result<*mut u8> {
    // SAFETY: an anonymous private mapping at an address of the kernel's choice aliases nothing.
    let memory = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            bytes,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    if memory == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(memory.cast()) }
}

/// The open-files limit: raises the soft limit to the hard one and returns it.
pub fn raise_open_files_limit() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is written by the first call and read by the second.
    unsafe {
        check(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) as isize)?;
        limit.rlim_cur = limit.rlim_max;
        check(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) as isize)?;
    }
    Ok(limit.rlim_cur)
}

/// Ignores SIGXFSZ, so that a file-size limit is an error of the write and not the end of the process.
pub fn ignore_file_size_signal() {
    // SAFETY: SIG_IGN runs no code of ours.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}
