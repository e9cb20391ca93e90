//! Counts events of the subject that no process file shows: system calls, ring operations, fsyncs.
//!
//! In: a process tree. Out: counts over a window, or the sentence why there are none. Tracepoints slow the subject,
//! so counting has a pass of its own that no timed window overlaps. Two ways, tried in this order: the kernel's event
//! interface with tracepoint numbers from tracefs, and `perf stat`, which mounts tracefs by itself where it may.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::reactor::process::{self, Event, EventCounter, Signal};

const SYSCALLS: &str = "raw_syscalls:sys_enter";
const RING_OPERATIONS: &str = "io_uring:io_uring_submit_req";
/// The calls that put file data on the device; ring flushes show up as ring operations instead, and on the device.
const FSYNCS: [&str; 3] =
    ["syscalls:sys_enter_fsync", "syscalls:sys_enter_fdatasync", "syscalls:sys_enter_syncfs"];

/// What was counted. A missing tracepoint leaves its count empty.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    pub syscalls: Option<u64>,
    pub ring_operations: Option<u64>,
    pub fsyncs: Option<u64>,
}

/// A counting window that is open.
#[derive(Debug)]
pub struct Counting(Way);

#[derive(Debug)]
enum Way {
    /// One set of counters per thread that existed when the window opened; later threads are inherited.
    Kernel {
        syscalls: Vec<EventCounter>,
        ring: Option<Vec<EventCounter>>,
        fsyncs: Option<Vec<EventCounter>>,
    },
    Perf(Child),
}

impl Counting {
    /// Opens the window. `Err` says in one sentence why nothing can be counted here.
    pub fn start(pids: &[u32]) -> Result<Counting, String> {
        match Counting::kernel(pids) {
            Ok(counting) => Ok(counting),
            Err(first) => Counting::perf(pids).map_err(|second| format!("{first}; {second}")),
        }
    }

    fn kernel(pids: &[u32]) -> Result<Counting, String> {
        let roots = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];
        let root = roots.iter().map(Path::new).find(|root| root.join("events").is_dir());
        let root = root.ok_or("tracefs is not mounted or not readable")?;
        let event = |name: &str| {
            let id = fs::read_to_string(root.join("events").join(name.replace(':', "/")).join("id")).ok()?;
            id.trim().parse().ok().map(Event::Tracepoint)
        };
        let threads: Vec<u32> = pids.iter().flat_map(|pid| threads_of(*pid)).collect();
        if threads.is_empty() {
            return Err("the process is gone".to_owned());
        }
        let open = |event| threads.iter().map(|thread| EventCounter::open(event, *thread)).collect();
        let syscalls = event(SYSCALLS).ok_or("the kernel has no raw_syscalls tracepoint")?;
        let syscalls: io::Result<Vec<_>> = open(syscalls);
        let syscalls = syscalls.map_err(|e| format!("tracepoints are not permitted here ({e})"))?;
        let ring = event(RING_OPERATIONS).and_then(|event| open(event).ok());
        let mut fsyncs = Some(Vec::new());
        for name in FSYNCS {
            let more: Option<Vec<_>> = event(name).and_then(|event| open(event).ok());
            fsyncs = fsyncs.zip(more).map(|(mut all, more)| {
                all.extend(more);
                all
            });
        }
        Ok(Counting(Way::Kernel { syscalls, ring, fsyncs }))
    }

    fn perf(pids: &[u32]) -> Result<Counting, String> {
        let list: Vec<String> = pids.iter().map(u32::to_string).collect();
        let mut command = Command::new("perf");
        command.args(["stat", "-x", ",", "-e", SYSCALLS, "-e", RING_OPERATIONS]);
        for name in FSYNCS {
            command.args(["-e", name]);
        }
        command
            .args(["-p", &list.join(",")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        process::isolate(&mut command, &[]);
        let mut child = command.spawn().map_err(|e| format!("perf cannot be started ({e})"))?;
        // It needs a moment to attach, and ends at once when it may not.
        std::thread::sleep(std::time::Duration::from_millis(300));
        if let Ok(Some(_)) = child.try_wait() {
            return Err("perf stat is not permitted here".to_owned());
        }
        Ok(Counting(Way::Perf(child)))
    }

    /// Closes the window.
    pub fn stop(self) -> Counts {
        match self.0 {
            Way::Kernel { syscalls, ring, fsyncs } => {
                let sum = |counters: &[EventCounter]| {
                    counters.iter().map(EventCounter::read).sum::<io::Result<_>>()
                };
                Counts {
                    syscalls: sum(&syscalls).ok(),
                    ring_operations: ring.and_then(|counters| sum(&counters).ok()),
                    fsyncs: fsyncs.and_then(|counters| sum(&counters).ok()),
                }
            }
            Way::Perf(child) => {
                // SIGTERM makes perf print what it has; its own death is told by the exit of the pipe.
                if process::signal(child.id(), Signal::Terminate).is_err() {
                    return Counts::default();
                }
                child
                    .wait_with_output()
                    .map_or(Counts::default(), |output| parse_perf(&String::from_utf8_lossy(&output.stderr)))
            }
        }
    }
}

fn threads_of(pid: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"));
    tasks.into_iter().flatten().flatten().filter_map(|task| task.file_name().to_str()?.parse().ok()).collect()
}

/// Lines of `perf stat -x ,`: count, unit, event and further columns; `<not counted>` instead of a count.
fn parse_perf(text: &str) -> Counts {
    let count = |name: &str| {
        let line = text.lines().find(|line| line.split(',').nth(2) == Some(name))?;
        line.split(',').next()?.parse::<u64>().ok()
    };
    Counts {
        syscalls: count(SYSCALLS),
        ring_operations: count(RING_OPERATIONS),
        fsyncs: FSYNCS.map(count).into_iter().sum(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_perf_are_read_and_what_it_did_not_count_is_missing() {
        let text = "120,,raw_syscalls:sys_enter,1000,100.00,,\n<not counted>,,io_uring:io_uring_submit_req,0,0.00,,\n\
                    3,,syscalls:sys_enter_fsync,1,100.00,,\n4,,syscalls:sys_enter_fdatasync,1,100.00,,\n\
                    5,,syscalls:sys_enter_syncfs,1,100.00,,\n";
        let counts = parse_perf(text);
        assert_eq!(counts, Counts { syscalls: Some(120), ring_operations: None, fsyncs: Some(12) });
    }

    #[test]
    fn system_calls_of_a_child_are_counted_or_the_reason_is_given() {
        let mut command = Command::new("sh");
        command.args(["-c", "while read x; do echo $x; done"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        match Counting::start(&[child.id()]) {
            Ok(counting) => {
                use io::{BufRead, Write};
                child.stdin.as_mut().unwrap().write_all(b"a\n").unwrap();
                let mut line = String::new();
                io::BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
                assert!(counting.stop().syscalls.is_some_and(|count| count >= 2));
            }
            Err(reason) => assert!(!reason.is_empty()),
        }
        drop(child.stdin.take());
        child.wait().unwrap();
    }
}
