//! Raw calls for measuring what the machine allows: writes that bypass the page cache, and blocking `sendfile`.
//!
//! In: a path, sizes, a queue depth. Out: bytes moved. Nothing of the broker uses this: the rig holds the broker
//! against it.

use std::fs::File;
use std::io::{self, Read};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::ptr::NonNull;

use io_uring::{IoUring, opcode, types};

/// What O_DIRECT asks of addresses, positions and lengths; enough for every device with pages of 4 KiB.
pub const DIRECT_ALIGNMENT: usize = 4096;

/// Zeroed memory at a multiple of `DIRECT_ALIGNMENT`.
struct Aligned {
    memory: NonNull<u8>,
    layout: std::alloc::Layout,
}

impl Aligned {
    fn new(bytes: usize) -> Aligned {
        let bytes = bytes.next_multiple_of(DIRECT_ALIGNMENT);
        let layout = std::alloc::Layout::from_size_align(bytes, DIRECT_ALIGNMENT)
            .expect("a power of two, and a size far below the address space");
        // SAFETY: the size is not zero for any `bytes` above zero, which `DirectWriter::open` asserts.
        let memory = unsafe { std::alloc::alloc_zeroed(layout) };
        Aligned {
            memory: NonNull::new(memory).unwrap_or_else(|| std::alloc::handle_alloc_error(layout)),
            layout,
        }
    }
}

impl Drop for Aligned {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout, freed once.
        unsafe { std::alloc::dealloc(self.memory.as_ptr(), self.layout) };
    }
}

/// Writes over a file with O_DIRECT, `depth` writes at a time, from its start to its end and again. Its blocks are
/// there and written before: growing a file would measure the file system's locks instead of the device.
pub struct DirectWriter {
    // Declared first, so dropped first: the ring is gone before the memory and the file it works on.
    ring: IoUring,
    file: File,
    /// The same bytes for every write; the device does not look at them.
    buffer: Aligned,
    write_bytes: usize,
    depth: usize,
    position: u64,
    file_bytes: u64,
    in_flight: usize,
}

impl DirectWriter {
    /// Makes a file of about `file_bytes`. Fails with `InvalidInput` where the file system knows no O_DIRECT.
    pub fn open(path: &Path, write_bytes: usize, depth: usize, file_bytes: u64) -> io::Result<DirectWriter> {
        assert!(write_bytes > 0 && depth > 0);
        let write_bytes = write_bytes.next_multiple_of(DIRECT_ALIGNMENT);
        let file_bytes = file_bytes.next_multiple_of(write_bytes as u64);
        let mut filled = File::create(path)?;
        io::copy(&mut io::repeat(0x5a).take(file_bytes), &mut filled)?;
        filled.sync_all()?;
        let file = std::fs::OpenOptions::new().write(true).custom_flags(libc::O_DIRECT).open(path)?;
        Ok(DirectWriter {
            ring: IoUring::new(depth.next_power_of_two() as u32)?,
            file,
            buffer: Aligned::new(write_bytes),
            write_bytes,
            depth,
            position: 0,
            file_bytes,
            in_flight: 0,
        })
    }

    pub fn write_bytes(&self) -> usize {
        self.write_bytes
    }

    /// Keeps `depth` writes in flight until one completes; the number of bytes that completed ones wrote.
    pub fn step(&mut self) -> io::Result<u64> {
        while self.in_flight < self.depth {
            let length = self.write_bytes as u32;
            let entry =
                opcode::Write::new(types::Fd(self.file.as_raw_fd()), self.buffer.memory.as_ptr(), length)
                    .offset(self.position)
                    .build();
            // SAFETY: the kernel only reads the buffer, and `settle` in `Drop` waits for every write before the
            // buffer and the file go away.
            if unsafe { self.ring.submission().push(&entry) }.is_err() {
                break;
            }
            self.position = (self.position + self.write_bytes as u64) % self.file_bytes;
            self.in_flight += 1;
        }
        self.ring.submit_and_wait(1)?;
        self.take()
    }

    fn take(&mut self) -> io::Result<u64> {
        let mut done = 0;
        let mut failed = None;
        for completion in self.ring.completion() {
            self.in_flight -= 1;
            match completion.result() {
                error if error < 0 => failed = Some(io::Error::from_raw_os_error(-error)),
                count => done += count as u64,
            }
        }
        failed.map_or(Ok(done), Err)
    }

    /// Waits for everything in flight.
    pub fn settle(&mut self) -> io::Result<u64> {
        let mut done = 0;
        while self.in_flight > 0 {
            self.ring.submit_and_wait(1)?;
            done += self.take()?;
        }
        Ok(done)
    }
}

impl Drop for DirectWriter {
    fn drop(&mut self) {
        while self.in_flight > 0 {
            let before = self.in_flight;
            // An error of a write is no reason to stop waiting for the others; one of the ring itself is.
            if self.settle().is_err() && self.in_flight == before {
                std::process::abort();
            }
        }
    }
}

/// `sendfile(2)` on a blocking socket; short counts happen.
pub fn send_file(stream: &TcpStream, file: &File, position: u64, length: usize) -> io::Result<usize> {
    let mut position = position as libc::off_t;
    // SAFETY: the kernel reads and writes one local number; both descriptors are borrowed for the call.
    let sent = unsafe { libc::sendfile(stream.as_raw_fd(), file.as_raw_fd(), &mut position, length) };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(sent as usize) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn direct_writes_stay_within_the_file_and_are_counted() {
        // The system's temporary folder may be tmpfs, which knows no O_DIRECT on older kernels.
        let folder = tempfile::tempdir_in(".").unwrap();
        let path = folder.path().join("direct");
        let mut writer = match DirectWriter::open(&path, 5000, 4, 5 * 8192) {
            Ok(writer) => writer,
            Err(e) if matches!(e.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS | libc::EPERM)) => return,
            Err(e) => panic!("{e}"),
        };
        let mut done = 0;
        while done < 20 * 8192 {
            done += writer.step().unwrap();
        }
        done += writer.settle().unwrap();
        assert!(done.is_multiple_of(8192) && done >= 20 * 8192, "{done}");
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 5 * 8192);
    }
}
