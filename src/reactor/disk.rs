//! Files and directories as direct calls: the part of the seam that the log stands on.
//!
//! In: paths, positions, bytes. Out: what the file system answered, short counts and errors included.
//! `File` is shared: a segment may be deleted while an operation or a reader still holds it, and its descriptor
//! number is reused only when the last holder lets go (`FAULTS.md` H06).

use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An open file. Clones share it; it closes with the last one.
#[derive(Clone, Debug)]
pub struct File(Arc<Handle>);

#[derive(Debug)]
enum Handle {
    Os(OwnedFd),
    /// A file of a test double: its number, and what tells the double that it was closed.
    Double(u64, #[expect(dead_code, reason = "held for its Drop")] Box<dyn CloseGuard>),
}

/// What a test double hangs on a file to learn that its last holder let go (by `Drop`).
pub trait CloseGuard: Send + Sync + std::fmt::Debug {}

impl File {
    /// Wraps a descriptor of the operating system.
    pub fn from_fd(fd: OwnedFd) -> File {
        File(Arc::new(Handle::Os(fd)))
    }

    /// Wraps a file of a test double.
    pub fn from_double(number: u64, guard: Box<dyn CloseGuard>) -> File {
        File(Arc::new(Handle::Double(number, guard)))
    }

    /// The number within the test double, or `None` for a real file.
    pub fn double(&self) -> Option<u64> {
        match &*self.0 {
            Handle::Double(number, _) => Some(*number),
            Handle::Os(_) => None,
        }
    }

    pub(super) fn raw(&self) -> RawFd {
        match &*self.0 {
            Handle::Os(fd) => fd.as_raw_fd(),
            Handle::Double(..) => -1,
        }
    }
}

impl PartialEq for File {
    fn eq(&self, other: &File) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}
impl Eq for File {}

/// How a file is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OpenMode {
    /// Must exist; reads only.
    Read,
    /// Must exist; reads and writes at explicit positions (H13: nothing is ever opened for appending).
    Write,
    /// Reads and writes; made when missing.
    Create,
    /// Reads and writes; must not exist yet.
    CreateNew,
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub name: String,
    pub is_directory: bool,
    pub bytes: u64,
    /// Last change of its content, ms since 1970.
    pub modified_ms: i64,
}

/// Space on the file system of a directory, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    pub free: u64,
    pub total: u64,
}

/// What of a file range is in memory (`cachestat(2)`), in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Residency {
    pub cached: u64,
    pub dirty: u64,
    pub writeback: u64,
}

/// Direct file calls. Every method may block; the data path uses only `write_at`, `read_at` of resident ranges,
/// `drop_pages` and `residency` in a turn. Counts may be short (H01): `write_all_at` and `read_full_at` go on.
pub trait Disk: Send + Sync {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<File>;
    /// Bytes in the file.
    fn length(&self, file: &File) -> io::Result<u64>;
    /// One positional vectored write; the count may be short.
    fn write_at(&self, file: &File, position: u64, slices: &[IoSlice<'_>]) -> io::Result<usize>;
    /// One positional read; 0 at the end of the file, the count may be short.
    fn read_at(&self, file: &File, position: u64, into: &mut [u8]) -> io::Result<usize>;
    /// Cuts or extends the file.
    /// As `read_at`, without waiting for the disk: `WouldBlock` when the start of the range is not in memory. A file system
    /// that cannot tell reads.
    fn read_resident_at(&self, file: &File, position: u64, into: &mut [u8]) -> io::Result<usize> {
        self.read_at(file, position, into)
    }
    fn truncate(&self, file: &File, length: u64) -> io::Result<()>;
    /// Reserves blocks without changing the file's length. `Unsupported` where the file system cannot.
    fn allocate(&self, file: &File, position: u64, length: u64) -> io::Result<()>;
    /// Data and what is needed to read it back are on the device when this returns Ok (`fdatasync`).
    fn sync_data(&self, file: &File) -> io::Result<()>;
    /// Creations, renames and removals in `directory` are on the device (H25).
    fn sync_directory(&self, directory: &Path) -> io::Result<()>;
    /// Everything of the file system that holds `file` is on the device (`syncfs`).
    fn sync_file_system(&self, file: &File) -> io::Result<()>;
    /// Starts write-out of a range and does not wait.
    fn start_write_out(&self, file: &File, position: u64, length: u64) -> io::Result<()>;
    /// Waits until write-out of a range has ended; its error is an error of the flush (H09).
    fn wait_write_out(&self, file: &File, position: u64, length: u64) -> io::Result<()>;
    /// Lets go of the clean pages of a range. Only after a wait on it, or a flush covering it, returned Ok (H10).
    fn drop_pages(&self, file: &File, position: u64, length: u64) -> io::Result<()>;
    /// What of a range is in memory; `None` where the kernel cannot tell (before 6.5).
    fn residency(&self, file: &File, position: u64, length: u64) -> io::Result<Option<Residency>>;
    /// Last change of the file's content, ms since 1970.
    fn modified_ms(&self, file: &File) -> io::Result<i64>;
    fn set_modified_ms(&self, file: &File, ms: i64) -> io::Result<()>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes a directory and all in it.
    fn remove_directory(&self, path: &Path) -> io::Result<()>;
    /// Creates a directory and its missing parents; Ok when it is there already.
    fn create_directory(&self, path: &Path) -> io::Result<()>;
    /// The entries of a directory in the order of their names. Names that are not UTF-8 are left out.
    fn list(&self, directory: &Path) -> io::Result<Vec<Entry>>;
    fn exists(&self, path: &Path) -> io::Result<bool>;
    fn space(&self, directory: &Path) -> io::Result<Space>;
    /// Takes an exclusive lock on a file, made when missing, for as long as the `File` lives: an open-file-description
    /// lock, which a Java broker's POSIX lock respects and which outlives a SIGKILL until this process's submitted
    /// writes have landed, if the file is also held by every ring (H07). `WouldBlock` when another holds it.
    fn lock(&self, path: &Path) -> io::Result<File>;

    /// Writes all of `bytes`, going on after short counts. Two short counts of 0 in a row are a write error.
    fn write_all_at(&self, file: &File, mut position: u64, mut bytes: &[u8]) -> io::Result<()> {
        let mut zeros = 0;
        while !bytes.is_empty() {
            match self.write_at(file, position, &[IoSlice::new(bytes)]) {
                Ok(0) if zeros == 1 => return Err(io::ErrorKind::WriteZero.into()),
                Ok(0) => zeros += 1,
                Ok(count) => {
                    zeros = 0;
                    position += count as u64;
                    bytes = &bytes[count..];
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Reads until `into` is full or the file ends; the number of bytes read.
    fn read_full_at(&self, file: &File, position: u64, into: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < into.len() {
            match self.read_at(file, position + done as u64, &mut into[done..]) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(done)
    }

    /// The whole of a small file.
    fn read_file(&self, path: &Path) -> io::Result<Vec<u8>> {
        let file = self.open(path, OpenMode::Read)?;
        let mut bytes = vec![0; self.length(&file)? as usize];
        let count = self.read_full_at(&file, 0, &mut bytes)?;
        bytes.truncate(count);
        Ok(bytes)
    }

    /// Replaces a small file so that a crash leaves the old or the new content: `<path>.tmp`, flush, rename, flush of
    /// the directory.
    fn replace_file(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let mut tmp = path.as_os_str().to_owned();
        tmp.push(".tmp");
        let tmp = PathBuf::from(tmp);
        let file = self.open(&tmp, OpenMode::Create)?;
        self.truncate(&file, 0)?;
        self.write_all_at(&file, 0, content)?;
        self.sync_data(&file)?;
        self.rename(&tmp, path)?;
        self.sync_directory(path.parent().unwrap_or(Path::new(".")))
    }
}

/// The operating system's files.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsDisk;

fn c_path(path: &Path) -> io::Result<std::ffi::CString> {
    use std::os::unix::ffi::OsStrExt;
    std::ffi::CString::new(path.as_os_str().as_bytes())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a path contains a zero byte"))
}

fn check(result: i64) -> io::Result<i64> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn zero_is_ok(result: i32) -> io::Result<()> {
    check(i64::from(result)).map(|_| ())
}

/// `struct cachestat_range` and `struct cachestat` of the kernel (6.5).
#[repr(C)]
struct CachestatRange {
    offset: u64,
    length: u64,
}

#[repr(C)]
#[derive(Default)]
struct Cachestat {
    cached: u64,
    dirty: u64,
    writeback: u64,
    evicted: u64,
    recently_evicted: u64,
}

const SYS_CACHESTAT: libc::c_long = 451;
const PAGE_BYTES: u64 = 4096;

impl Disk for OsDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<File> {
        let mut options = std::fs::OpenOptions::new();
        options.read(true);
        match mode {
            OpenMode::Read => &mut options,
            OpenMode::Write => options.write(true),
            OpenMode::Create => options.write(true).create(true).truncate(false),
            OpenMode::CreateNew => options.write(true).create_new(true),
        };
        Ok(File::from_fd(options.open(path)?.into()))
    }

    fn length(&self, file: &File) -> io::Result<u64> {
        Ok(stat(file)?.st_size as u64)
    }

    fn write_at(&self, file: &File, position: u64, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        // IOV_MAX; what is left over is a short count, which every caller handles.
        let slices = &slices[..slices.len().min(1024)];
        // SAFETY: `IoSlice` has the layout of `iovec`, and the slices borrow their bytes until the call returns.
        let count = unsafe {
            libc::pwritev(
                file.raw(),
                slices.as_ptr().cast(),
                slices.len() as libc::c_int,
                position as libc::off_t,
            )
        };
        check(count as i64).map(|count| count as usize)
    }

    fn read_at(&self, file: &File, position: u64, into: &mut [u8]) -> io::Result<usize> {
        // SAFETY: `into` is exclusively borrowed until the call returns, and its own length bounds the write.
        let count =
            unsafe { libc::pread(file.raw(), into.as_mut_ptr().cast(), into.len(), position as libc::off_t) };
        check(count as i64).map(|count| count as usize)
    }

    fn read_resident_at(&self, file: &File, position: u64, into: &mut [u8]) -> io::Result<usize> {
        match super::direct::read_resident(file, position, into) {
            Err(e) if e.kind() == io::ErrorKind::Unsupported => self.read_at(file, position, into),
            result => result,
        }
    }

    fn truncate(&self, file: &File, length: u64) -> io::Result<()> {
        // SAFETY: no memory is passed.
        zero_is_ok(unsafe { libc::ftruncate(file.raw(), length as libc::off_t) })
    }

    fn allocate(&self, file: &File, position: u64, length: u64) -> io::Result<()> {
        // SAFETY: no memory is passed.
        zero_is_ok(unsafe {
            libc::fallocate(
                file.raw(),
                libc::FALLOC_FL_KEEP_SIZE,
                position as libc::off_t,
                length as libc::off_t,
            )
        })
    }

    fn sync_data(&self, file: &File) -> io::Result<()> {
        // SAFETY: no memory is passed.
        zero_is_ok(unsafe { libc::fdatasync(file.raw()) })
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        std::fs::File::open(directory)?.sync_all()
    }

    fn sync_file_system(&self, file: &File) -> io::Result<()> {
        // SAFETY: no memory is passed.
        zero_is_ok(unsafe { libc::syncfs(file.raw()) })
    }

    fn start_write_out(&self, file: &File, position: u64, length: u64) -> io::Result<()> {
        sync_range(file, position, length, libc::SYNC_FILE_RANGE_WRITE)
    }

    fn wait_write_out(&self, file: &File, position: u64, length: u64) -> io::Result<()> {
        let flags = libc::SYNC_FILE_RANGE_WAIT_BEFORE
            | libc::SYNC_FILE_RANGE_WRITE
            | libc::SYNC_FILE_RANGE_WAIT_AFTER;
        sync_range(file, position, length, flags)
    }

    fn drop_pages(&self, file: &File, position: u64, length: u64) -> io::Result<()> {
        // SAFETY: no memory is passed.
        let error = unsafe {
            libc::posix_fadvise(
                file.raw(),
                position as libc::off_t,
                length as libc::off_t,
                libc::POSIX_FADV_DONTNEED,
            )
        };
        if error == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(error)) }
    }

    fn residency(&self, file: &File, position: u64, length: u64) -> io::Result<Option<Residency>> {
        let range = CachestatRange { offset: position, length };
        let mut stat = Cachestat::default();
        // SAFETY: both structs have the kernel's layout and outlive the call, which writes only to `stat`.
        let result =
            unsafe { libc::syscall(SYS_CACHESTAT, file.raw(), &raw const range, &raw mut stat, 0u32) };
        match check(result) {
            Ok(_) => Ok(Some(Residency {
                cached: stat.cached * PAGE_BYTES,
                dirty: stat.dirty * PAGE_BYTES,
                writeback: stat.writeback * PAGE_BYTES,
            })),
            Err(e) if matches!(e.raw_os_error(), Some(libc::ENOSYS | libc::EPERM | libc::EOPNOTSUPP)) => {
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }

    fn modified_ms(&self, file: &File) -> io::Result<i64> {
        let stat = stat(file)?;
        Ok(stat.st_mtime * 1000 + stat.st_mtime_nsec / 1_000_000)
    }

    fn set_modified_ms(&self, file: &File, ms: i64) -> io::Result<()> {
        let time = libc::timespec { tv_sec: ms.div_euclid(1000), tv_nsec: ms.rem_euclid(1000) * 1_000_000 };
        let times = [libc::timespec { tv_sec: 0, tv_nsec: libc::UTIME_OMIT }, time];
        // SAFETY: `times` holds the two values that futimens reads.
        zero_is_ok(unsafe { libc::futimens(file.raw(), times.as_ptr()) })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_dir_all(path)
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        std::fs::create_dir_all(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<Entry>> {
        use std::os::unix::fs::MetadataExt;
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(directory)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let metadata = match entry.metadata() {
                Ok(metadata) => metadata,
                // Removed between the listing and the look: as if it had not been there.
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => return Err(e),
            };
            entries.push(Entry {
                name,
                is_directory: metadata.is_dir(),
                bytes: metadata.len(),
                modified_ms: metadata.mtime() * 1000 + metadata.mtime_nsec() / 1_000_000,
            });
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        path.try_exists()
    }

    fn space(&self, directory: &Path) -> io::Result<Space> {
        let path = c_path(directory)?;
        let mut stat = std::mem::MaybeUninit::<libc::statvfs>::uninit();
        // SAFETY: `path` is a C string and `stat` is large enough; it is read only after success.
        let stat = unsafe {
            zero_is_ok(libc::statvfs(path.as_ptr(), stat.as_mut_ptr()))?;
            stat.assume_init()
        };
        let block = stat.f_frsize as u64;
        Ok(Space { free: stat.f_bavail as u64 * block, total: stat.f_blocks as u64 * block })
    }

    fn lock(&self, path: &Path) -> io::Result<File> {
        let file = self.open(path, OpenMode::Create)?;
        let lock = libc::flock {
            l_type: libc::F_WRLCK as libc::c_short,
            l_whence: libc::SEEK_SET as libc::c_short,
            l_start: 0,
            l_len: 0,
            l_pid: 0,
        };
        // SAFETY: `lock` is a valid flock for the time of the call.
        let result = unsafe { libc::fcntl(file.raw(), libc::F_OFD_SETLK, &raw const lock) };
        match zero_is_ok(result) {
            Ok(()) => Ok(file),
            Err(e) if matches!(e.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => {
                Err(io::ErrorKind::WouldBlock.into())
            }
            Err(e) => Err(e),
        }
    }
}

fn stat(file: &File) -> io::Result<libc::stat> {
    let mut stat = std::mem::MaybeUninit::<libc::stat>::uninit();
    // SAFETY: `stat` is large enough and is read only after success.
    unsafe {
        zero_is_ok(libc::fstat(file.raw(), stat.as_mut_ptr()))?;
        Ok(stat.assume_init())
    }
}

fn sync_range(file: &File, position: u64, length: u64, flags: libc::c_uint) -> io::Result<()> {
    // SAFETY: no memory is passed.
    zero_is_ok(unsafe {
        libc::sync_file_range(file.raw(), position as libc::off64_t, length as libc::off64_t, flags)
    })
}

impl From<std::fs::File> for File {
    fn from(file: std::fs::File) -> File {
        File::from_fd(file.into())
    }
}
