//! Other processes and the machine's clocks, for the rig: CPU clocks, signals, placement, event counters.
//!
//! In: process and thread ids, core numbers. Out: nanoseconds, counts, and errors as the kernel gave them. Nothing
//! here needs a privilege except the event counters, which fail with an error that the rig turns into "not measured".

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::Command;

/// Nanoseconds of a clock that this process may read.
fn read_clock(clock: libc::clockid_t) -> io::Result<u64> {
    let mut time = MaybeUninit::<libc::timespec>::uninit();
    // SAFETY: the kernel fills `time`, a local of the right size, and keeps nothing.
    if unsafe { libc::clock_gettime(clock, time.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: filled, since the call succeeded.
    let time = unsafe { time.assume_init() };
    Ok(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

/// CLOCK_MONOTONIC in nanoseconds: the clock that stamps travel in.
pub fn monotonic_ns() -> u64 {
    read_clock(libc::CLOCK_MONOTONIC).expect("every Linux has CLOCK_MONOTONIC")
}

/// CPU time of the calling thread.
pub fn thread_cpu_ns() -> u64 {
    read_clock(libc::CLOCK_THREAD_CPUTIME_ID).expect("every Linux has a CPU clock per thread")
}

/// CPU time of this process, all threads.
pub fn own_cpu_ns() -> u64 {
    read_clock(libc::CLOCK_PROCESS_CPUTIME_ID).expect("every Linux has a CPU clock per process")
}

/// The CPU clock of any process: nanoseconds over all its threads, those that have ended included.
#[derive(Clone, Copy, Debug)]
pub struct CpuClock(libc::clockid_t);

impl CpuClock {
    pub fn of(pid: u32) -> io::Result<CpuClock> {
        let mut clock = 0;
        // SAFETY: the library writes one number into a local.
        match unsafe { libc::clock_getcpuclockid(pid as libc::pid_t, &mut clock) } {
            0 => Ok(CpuClock(clock)),
            error => Err(io::Error::from_raw_os_error(error)),
        }
    }

    /// Fails once the process has been waited for.
    pub fn now_ns(self) -> io::Result<u64> {
        read_clock(self.0)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signal {
    Terminate,
    Kill,
    /// SIGSTOP: the process stands still until `Continue`.
    Pause,
    Continue,
}

/// Sends a signal to one process.
pub fn signal(pid: u32, signal: Signal) -> io::Result<()> {
    let signal = match signal {
        Signal::Terminate => libc::SIGTERM,
        Signal::Kill => libc::SIGKILL,
        Signal::Pause => libc::SIGSTOP,
        Signal::Continue => libc::SIGCONT,
    };
    // 0 and negative numbers would name groups of processes.
    let pid = libc::pid_t::try_from(pid).ok().filter(|pid| *pid > 1);
    let pid = pid.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not the id of one process"))?;
    // SAFETY: no memory is passed.
    if unsafe { libc::kill(pid, signal) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn core_set(cores: &[usize]) -> libc::cpu_set_t {
    // SAFETY: a set of zero bits is a valid, empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for core in cores.iter().filter(|core| **core < libc::CPU_SETSIZE as usize) {
        // SAFETY: `core` is below CPU_SETSIZE, so the bit lies within `set`.
        unsafe { libc::CPU_SET(*core, &mut set) };
    }
    set
}

/// Keeps the calling thread, and threads and processes it starts later, on `cores`.
pub fn pin_current_thread(cores: &[usize]) -> io::Result<()> {
    let set = core_set(cores);
    // SAFETY: the kernel reads the given size of a local.
    if unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Makes `command` run on `cores` (all of this thread's if empty), in a process group of its own so that Ctrl-C at
/// the terminal reaches only this process, and makes the kernel kill it when the calling *thread* ends: whatever
/// happens to this process, the child is not left behind.
pub fn isolate(command: &mut Command, cores: &[usize]) {
    use std::os::unix::process::CommandExt;
    let set = (!cores.is_empty()).then(|| core_set(cores));
    let parent = std::process::id() as libc::pid_t;
    command.process_group(0);
    // SAFETY: between fork and exec only system calls are made, on values copied into the closure: no allocation,
    // no lock. The error values are plain numbers.
    unsafe {
        command.pre_exec(move || {
            if let Some(set) = &set
                && libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), set) != 0
            {
                return Err(io::Error::last_os_error());
            }
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
                return Err(io::Error::last_os_error());
            }
            // The parent may have died before the line above: then nobody would ever send the signal.
            if libc::getppid() != parent {
                return Err(io::Error::from_raw_os_error(libc::ESRCH));
            }
            Ok(())
        });
    }
}

/// Columns of the terminal behind a descriptor; `None` when it is none.
pub fn terminal_columns(terminal: &impl AsRawFd) -> Option<usize> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the kernel fills a local of the type that this request asks for.
    let result = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) };
    (result == 0 && size.ws_col > 0).then_some(usize::from(size.ws_col))
}

/// Ticks per second in `/proc/PID/stat` and `/proc/stat`.
pub fn ticks_per_s() -> u64 {
    // SAFETY: no memory is passed.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    u64::try_from(ticks).ok().filter(|ticks| *ticks > 0).unwrap_or(100)
}

/// RLIMIT_MEMLOCK, soft; `None` is unlimited.
pub fn memlock_bytes() -> io::Result<Option<u64>> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel fills a local.
    if unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur))
}

/// Which events to count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// The number in `events/<group>/<name>/id` of tracefs.
    Tracepoint(u64),
    /// Hardware cycles; needs a PMU.
    Cycles,
    ContextSwitches,
    Migrations,
    PageFaults,
}

/// `struct perf_event_attr`, its first published size; later fields read as zero.
///
/// | bytes  | field                                        |
/// |--------|----------------------------------------------|
/// | 0..4   | `kind`: hardware, software, tracepoint       |
/// | 4..8   | `size` of this struct                        |
/// | 8..16  | `config`: which event of that kind           |
/// | 16..40 | sampling, unused                             |
/// | 40..48 | `flags`: bit 1 = threads started later count |
/// | 48..64 | breakpoints, unused                          |
#[repr(C)]
#[derive(Default)]
struct PerfAttributes {
    kind: u32,
    size: u32,
    config: u64,
    unused: [u64; 3],
    flags: u64,
    unused_too: [u64; 2],
}

const _: () = assert!(size_of::<PerfAttributes>() == 64);

/// A running count of one event in one thread and the threads it starts.
#[derive(Debug)]
pub struct EventCounter(OwnedFd);

impl EventCounter {
    /// Counts from now on. `thread` 0 is the caller.
    pub fn open(event: Event, thread: u32) -> io::Result<EventCounter> {
        const INHERIT: u64 = 1 << 1;
        const CLOSE_ON_EXEC: libc::c_ulong = 8;
        let (kind, config) = match event {
            Event::Cycles => (0, 0),
            Event::PageFaults => (1, 2),
            Event::ContextSwitches => (1, 3),
            Event::Migrations => (1, 4),
            Event::Tracepoint(id) => (2, id),
        };
        let size = size_of::<PerfAttributes>() as u32;
        let attributes = PerfAttributes { kind, size, config, flags: INHERIT, ..PerfAttributes::default() };
        // SAFETY: the kernel reads `size` bytes of a local and keeps nothing of it.
        let fd = unsafe {
            libc::syscall(
                libc::SYS_perf_event_open,
                &raw const attributes,
                thread as libc::pid_t,
                -1 as libc::c_int,
                -1 as libc::c_int,
                CLOSE_ON_EXEC,
            )
        };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a descriptor the kernel has just made for us; nobody else knows it.
        Ok(EventCounter(unsafe { OwnedFd::from_raw_fd(fd as i32) }))
    }

    pub fn read(&self) -> io::Result<u64> {
        let mut count = [0u8; 8];
        // SAFETY: at most eight bytes go into a local of eight bytes.
        let got = unsafe { libc::read(self.0.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
        match got {
            8 => Ok(u64::from_ne_bytes(count)),
            -1 => Err(io::Error::last_os_error()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_clock_of_a_child_rises_and_its_group_is_its_own() {
        let mut command = Command::new("sleep");
        command.arg("30");
        let cores = crate::reactor::pin::usable_cores();
        isolate(&mut command, &cores[..1]);
        let mut child = command.spawn().unwrap();
        let clock = CpuClock::of(child.id()).unwrap();
        assert!(clock.now_ns().unwrap() < 10_000_000_000);
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
        let group = stat.rsplit(") ").next().unwrap().split(' ').nth(2).unwrap().parse::<u32>().unwrap();
        assert_eq!(group, child.id());
        signal(child.id(), Signal::Terminate).unwrap();
        assert!(!child.wait().unwrap().success());
    }

    #[test]
    fn a_group_of_processes_is_never_signalled() {
        assert!(signal(0, Signal::Continue).is_err());
        assert!(signal(1, Signal::Continue).is_err());
        assert!(signal(u32::MAX, Signal::Continue).is_err());
    }
}
