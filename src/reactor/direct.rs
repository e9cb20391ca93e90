//! The few direct system calls of the data path and of start-up.
//!
//! Each does one thing and returns what the kernel said; nothing here keeps state.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use crate::clock::{Instant, WallMs};
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

/// `sendfile(2)` that takes what fits now: accepted sockets are non-blocking.
pub(super) fn send_file(socket: &Socket, file: &File, position: u64, length: usize) -> io::Result<usize> {
    let mut position = position as libc::off_t;
    // SAFETY: the kernel updates `position`, a local.
    check(unsafe { libc::sendfile(socket.raw(), file.raw(), &raw mut position, length) })
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
