//! What a run costs: CPU, memory, switches and disk bytes of processes and of the machine.
//!
//! In: process ids. Out: readings whose differences are costs. A reading that the kernel refuses is `None`, and so is
//! every difference made from it: a missing figure must never turn into a small one.
//!
//! CPU comes from the process CPU clock (ns, no privilege); only the split into user and kernel has tick resolution.

use std::fs;
use std::path::PathBuf;

use super::environment::{Meminfo, block_device, kib_field, mount_of, text};
use crate::reactor::process::{self, CpuClock};

/// A process and its descendants at one instant; all figures are sums over them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    pub cpu_ns: Option<u64>,
    /// Ticks turned into ns.
    pub user_ns: Option<u64>,
    pub kernel_ns: Option<u64>,
    /// Time spent runnable and waiting for a core.
    pub run_delay_ns: Option<u64>,
    pub switches: Option<u64>,
    pub disk_written_bytes: Option<u64>,
    pub rss_bytes: Option<u64>,
    pub rss_bytes_max: Option<u64>,
    pub pss_bytes: Option<u64>,
}

fn plus(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    Some(a? + b?)
}

fn minus(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    Some(a?.saturating_sub(b?))
}

impl Usage {
    /// `pids` is a process tree; it is read as far as it still exists. None when the first one is gone.
    pub fn of(pids: &[u32]) -> Option<Usage> {
        let (first, rest) = pids.split_first()?;
        let mut sum = Usage::of_one(*first)?;
        for usage in rest.iter().filter_map(|pid| Usage::of_one(*pid)) {
            sum = Usage {
                cpu_ns: plus(sum.cpu_ns, usage.cpu_ns),
                user_ns: plus(sum.user_ns, usage.user_ns),
                kernel_ns: plus(sum.kernel_ns, usage.kernel_ns),
                run_delay_ns: plus(sum.run_delay_ns, usage.run_delay_ns),
                switches: plus(sum.switches, usage.switches),
                disk_written_bytes: plus(sum.disk_written_bytes, usage.disk_written_bytes),
                rss_bytes: plus(sum.rss_bytes, usage.rss_bytes),
                rss_bytes_max: plus(sum.rss_bytes_max, usage.rss_bytes_max),
                pss_bytes: plus(sum.pss_bytes, usage.pss_bytes),
            };
        }
        Some(sum)
    }

    fn of_one(pid: u32) -> Option<Usage> {
        let folder = PathBuf::from(format!("/proc/{pid}"));
        let stat = fs::read_to_string(folder.join("stat")).ok()?;
        let ns_per_tick = 1_000_000_000 / process::ticks_per_s();
        // The name in brackets can hold anything, so fields are counted behind it: 11 and 12 are utime and stime.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
        let ticks = |field: Option<&str>| Some(field?.parse::<u64>().ok()? * ns_per_tick);
        let (user_ns, kernel_ns) = (ticks(fields.next()), ticks(fields.next()));
        let status = fs::read_to_string(folder.join("status")).unwrap_or_default();
        let memory = fs::read_to_string(folder.join("smaps_rollup")).unwrap_or_default();
        let io = fs::read_to_string(folder.join("io")).unwrap_or_default();
        let (switches, run_delay_ns) = threads(&folder);
        Some(Usage {
            cpu_ns: CpuClock::of(pid).and_then(CpuClock::now_ns).ok(),
            user_ns,
            kernel_ns,
            run_delay_ns,
            switches,
            disk_written_bytes: plain_field(&io, "write_bytes"),
            rss_bytes: kib_field(&memory, "Rss").or_else(|| kib_field(&status, "VmRSS")),
            rss_bytes_max: kib_field(&status, "VmHWM"),
            pss_bytes: kib_field(&memory, "Pss"),
        })
    }

    /// What was used between `before` and this reading. Memory figures are this reading's.
    pub fn since(&self, before: &Usage) -> Usage {
        Usage {
            cpu_ns: minus(self.cpu_ns, before.cpu_ns),
            user_ns: minus(self.user_ns, before.user_ns),
            kernel_ns: minus(self.kernel_ns, before.kernel_ns),
            run_delay_ns: minus(self.run_delay_ns, before.run_delay_ns),
            switches: minus(self.switches, before.switches),
            disk_written_bytes: minus(self.disk_written_bytes, before.disk_written_bytes),
            ..*self
        }
    }
}

/// CPU of a process tree alone: cheap enough for every second of a window.
pub fn cpu_ns(pids: &[u32]) -> Option<u64> {
    let mut sum = None;
    for pid in pids {
        if let Ok(ns) = CpuClock::of(*pid).and_then(CpuClock::now_ns) {
            sum = Some(sum.unwrap_or(0) + ns);
        }
    }
    sum
}

/// Resident memory of a process tree from `statm`: cheap enough for every second.
pub fn rss_bytes(pids: &[u32]) -> Option<u64> {
    let mut sum = None;
    for pid in pids {
        let pages =
            text(format!("/proc/{pid}/statm")).and_then(|line| line.split(' ').nth(1)?.parse::<u64>().ok());
        if let Some(pages) = pages {
            sum = Some(sum.unwrap_or(0) + pages * 4096);
        }
    }
    sum
}

fn plain_field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?.trim().parse().ok()
}

/// Context switches and run delay over all threads of a process.
fn threads(folder: &std::path::Path) -> (Option<u64>, Option<u64>) {
    let Ok(tasks) = fs::read_dir(folder.join("task")) else { return (None, None) };
    let (mut switches, mut delay) = (None, None);
    for task in tasks.flatten() {
        let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
        let own = plus(
            plain_field(&status, "voluntary_ctxt_switches"),
            plain_field(&status, "nonvoluntary_ctxt_switches"),
        );
        if let Some(own) = own {
            switches = Some(switches.unwrap_or(0) + own);
        }
        let waited = text(task.path().join("schedstat"))
            .and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
        if let Some(waited) = waited {
            delay = Some(delay.unwrap_or(0) + waited);
        }
    }
    (switches, delay)
}

/// A process and everything it started, itself first.
pub fn process_tree(pid: u32) -> Vec<u32> {
    let mut tree = vec![pid];
    let mut next = 0;
    while next < tree.len() {
        let Ok(tasks) = fs::read_dir(format!("/proc/{}/task", tree[next])) else {
            next += 1;
            continue;
        };
        for task in tasks.flatten() {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            tree.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        }
        next += 1;
    }
    tree
}

/// The machine at one instant.
#[derive(Clone, Copy, Debug, Default)]
pub struct System {
    /// All cores, everything but idle, waiting for IO, and steal.
    pub busy_ns: Option<u64>,
    pub steal_ns: Option<u64>,
    /// Busy, idle, waiting and stolen together.
    pub total_ns: Option<u64>,
    /// Time in which some task waited for a core (PSI `cpu some`), in ns.
    pub cpu_pressure_ns: Option<u64>,
    pub swapped_pages: Option<u64>,
}

impl System {
    pub fn read() -> System {
        let mut system = System::default();
        if let Some((busy, steal, total)) = cpu_line() {
            system.busy_ns = Some(busy);
            system.steal_ns = Some(steal);
            system.total_ns = Some(total);
        }
        system.cpu_pressure_ns = fs::read_to_string("/proc/pressure/cpu").ok().and_then(|text| {
            let some = text.lines().find(|line| line.starts_with("some"))?;
            Some(some.rsplit_once("total=")?.1.trim().parse::<u64>().ok()? * 1000)
        });
        system.swapped_pages = fs::read_to_string("/proc/vmstat").ok().and_then(|text| {
            let field = |name: &str| {
                let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
                line.parse::<u64>().ok()
            };
            plus(field("pswpin"), field("pswpout"))
        });
        system
    }

    pub fn since(&self, before: &System) -> System {
        System {
            busy_ns: minus(self.busy_ns, before.busy_ns),
            steal_ns: minus(self.steal_ns, before.steal_ns),
            total_ns: minus(self.total_ns, before.total_ns),
            cpu_pressure_ns: minus(self.cpu_pressure_ns, before.cpu_pressure_ns),
            swapped_pages: minus(self.swapped_pages, before.swapped_pages),
        }
    }

    /// Share of all core time taken by the host.
    pub fn steal_ratio(&self) -> Option<f64> {
        let total = self.total_ns.filter(|total| *total > 0)?;
        Some(self.steal_ns? as f64 / total as f64)
    }
}

/// Busy, stolen and total time of all cores, in ns.
fn cpu_line() -> Option<(u64, u64, u64)> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let ticks: Vec<u64> = stat
        .lines()
        .next()?
        .strip_prefix("cpu ")?
        .split_whitespace()
        .filter_map(|t| t.parse().ok())
        .collect();
    // user nice system idle iowait irq softirq steal; guest time is inside user already.
    let [user, nice, kernel, idle, io_wait, irq, soft_irq, steal, ..] = ticks[..] else { return None };
    let ns = 1_000_000_000 / process::ticks_per_s();
    let busy = user + nice + kernel + irq + soft_irq;
    Some((busy * ns, steal * ns, (busy + idle + io_wait + steal) * ns))
}

/// Dirty bytes waiting for write-out, of the whole machine.
pub fn dirty_bytes() -> Option<u64> {
    Meminfo::read()?.bytes("Dirty")
}

/// Bytes and flushes the disk under a directory has taken so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct DeviceCounts {
    pub written_bytes: Option<u64>,
    pub flushes: Option<u64>,
}

/// The disk under a directory, or nothing where there is none (tmpfs, overlay).
#[derive(Clone, Debug, Default)]
pub struct Device(Option<PathBuf>);

impl Device {
    pub fn under(directory: &std::path::Path) -> Device {
        Device(mount_of(directory).as_ref().and_then(block_device))
    }

    pub fn counts(&self) -> DeviceCounts {
        let Some(line) = self.0.as_ref().and_then(|path| text(path.join("stat"))) else {
            return DeviceCounts::default();
        };
        let fields: Vec<u64> = line.split_whitespace().filter_map(|field| field.parse().ok()).collect();
        // Sectors are 512 bytes whatever the device's block size.
        DeviceCounts {
            written_bytes: fields.get(6).map(|sectors| sectors * 512),
            flushes: fields.get(15).copied(),
        }
    }
}

impl DeviceCounts {
    pub fn since(&self, before: &DeviceCounts) -> DeviceCounts {
        DeviceCounts {
            written_bytes: minus(self.written_bytes, before.written_bytes),
            flushes: minus(self.flushes, before.flushes),
        }
    }
}

/// CPU of every user process that is neither subject nor generator. Kernel threads are left out: what they do is
/// mostly the subject's own writing, and the system figure has it.
#[derive(Clone, Debug, Default)]
pub struct Strangers(std::collections::HashMap<u32, u64>);

impl Strangers {
    pub fn read(subject: &[u32], own: u32) -> Strangers {
        const KERNEL_THREAD: u64 = 0x0020_0000;
        let mut found = std::collections::HashMap::new();
        let ns_per_tick = 1_000_000_000 / process::ticks_per_s();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
                continue;
            };
            if pid == own || subject.contains(&pid) {
                continue;
            }
            let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
            let Some((_, rest)) = stat.rsplit_once(')') else { continue };
            let fields: Vec<&str> = rest.split_whitespace().collect();
            let field = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok());
            if let (Some(flags), Some(user), Some(kernel)) = (field(6), field(11), field(12))
                && flags & KERNEL_THREAD == 0
            {
                found.insert(pid, (user + kernel) * ns_per_tick);
            }
        }
        Strangers(found)
    }

    /// CPU used since `before`. Processes that ended in between are missed; new ones count whole. None where no other
    /// process can be seen at all.
    pub fn since(&self, before: &Strangers) -> Option<u64> {
        if self.0.is_empty() && before.0.is_empty() {
            return None;
        }
        Some(self.0.iter().map(|(pid, ns)| ns.saturating_sub(before.0.get(pid).copied().unwrap_or(0))).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_every_figure_that_needs_no_privilege() {
        let before = Usage::of(&[std::process::id()]).unwrap();
        let mut sum = 0u64;
        while process::own_cpu_ns() < before.cpu_ns.unwrap() + 1_000_000 {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        let used = Usage::of(&[std::process::id()]).unwrap().since(&before);
        assert!(used.cpu_ns.is_some_and(|ns| ns >= 1_000_000));
        assert!(used.rss_bytes.is_some_and(|bytes| bytes > 0));
        assert!(used.switches.is_some());
        assert!(used.user_ns.is_some() && used.kernel_ns.is_some());
    }

    #[test]
    fn a_process_that_is_gone_has_no_usage() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id();
        child.wait().unwrap();
        assert!(Usage::of(&[pid]).is_none());
        assert!(cpu_ns(&[pid]).is_none());
    }

    #[test]
    fn a_missing_reading_makes_a_missing_difference() {
        let with = Usage { cpu_ns: Some(5), ..Usage::default() };
        assert_eq!(with.since(&Usage::default()).cpu_ns, None);
    }

    #[test]
    fn the_tree_of_a_shell_holds_its_child() {
        let mut command = std::process::Command::new("sh");
        command.args(["-c", "sleep 30 & read x"]).stdin(std::process::Stdio::piped());
        let mut shell = command.spawn().unwrap();
        let mut tree = Vec::new();
        for _ in 0..200 {
            tree = process_tree(shell.id());
            if tree.len() == 2 {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        assert_eq!(tree.len(), 2, "{tree:?}");
        process::signal(tree[1], process::Signal::Kill).unwrap();
        drop(shell.stdin.take());
        shell.wait().unwrap();
    }
}
