//! The machine a run was made on, as `run.json` records it.
//!
//! In: `/proc`, `/sys` and the directory that will hold the data. Out: `report::run::Environment`. What cannot be
//! read stays `None`: nothing here is guessed. Only kernel parameters that bear on speed are kept, since a command
//! line can hold names and keys that are nobody's business.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::Digest;

use crate::reactor::{pin, process};
use crate::report::run::{Binary, Environment, Machine, Storage, SystemLimits};

/// Everything about the machine, with its fingerprint. `directory` is on the file system under test.
pub fn read(directory: &Path) -> Environment {
    let mut environment = Environment {
        fingerprint: None,
        machine: machine(),
        storage: storage(directory),
        limits: limits(),
        binary: binary(),
    };
    environment.seal();
    environment
}

fn machine() -> Machine {
    let memory = Meminfo::read();
    Machine {
        kernel: text("/proc/sys/kernel/osrelease"),
        cmdline: text("/proc/cmdline").map(|line| speed_parameters(&line)),
        hypervisor: hypervisor(),
        cpu_model: cpu_model(),
        cores: Some(pin::usable_cores().len() as u32),
        smt: text("/sys/devices/system/cpu/smt/active").map(|active| active == "1"),
        mitigations: mitigations(),
        governor: text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        clocksource: text("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
        thp: text("/sys/kernel/mm/transparent_hugepage/enabled").map(|line| chosen(&line)),
        numa: text("/sys/devices/system/node/online").map(|nodes| format!("nodes {nodes}")),
        memory_bytes: memory.as_ref().and_then(|m| m.bytes("MemTotal")),
        swap_bytes: memory.as_ref().and_then(|m| m.bytes("SwapTotal")),
        pmu: Some(process::EventCounter::open(process::Event::Cycles, 0).is_ok()),
    }
}

/// One line of text from a file of the kernel; `None` when it is missing or empty.
pub(super) fn text(path: impl AsRef<Path>) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

fn number<T: std::str::FromStr>(path: impl AsRef<Path>) -> Option<T> {
    text(path)?.parse().ok()
}

/// The word in brackets of `always [madvise] never`.
fn chosen(line: &str) -> String {
    line.split_once('[').and_then(|(_, rest)| rest.split_once(']')).map_or(line, |(word, _)| word).to_owned()
}

/// The kernel parameters that change how fast things are, in their order.
fn speed_parameters(line: &str) -> String {
    const PREFIXES: &[&str] = &[
        "mitigations",
        "isolcpus",
        "nohz",
        "rcu_nocb",
        "irqaffinity",
        "idle",
        "intel_idle",
        "intel_pstate",
        "amd_pstate",
        "cpuidle",
        "processor.max_cstate",
        "haltpoll",
        "transparent_hugepage",
        "hugepages",
        "default_hugepagesz",
        "preempt",
        "nosmt",
        "maxcpus",
        "mem",
        "numa",
        "page_reporting",
        "page_poison",
        "init_on",
        "slab",
        "swapaccount",
        "swiotlb",
        "psi",
        "clocksource",
        "tsc",
        "threadirqs",
        "elevator",
        "spectre",
        "spec_",
        "pti",
        "nopti",
        "l1tf",
        "mds",
        "tsx",
        "retbleed",
        "iommu",
        "audit",
        "selinux",
    ];
    // Behind `--` stand arguments of init, which are none of the kernel's.
    let own = line.split(" -- ").next().unwrap_or(line);
    let kept: Vec<&str> =
        own.split_whitespace().filter(|p| PREFIXES.iter().any(|x| p.starts_with(x))).collect();
    kept.join(" ")
}

fn cpuinfo_field(name: &str) -> Option<String> {
    let info = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = info.lines().find(|line| line.split(':').next().is_some_and(|key| key.trim() == name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn cpu_model() -> Option<String> {
    let name = cpuinfo_field("model name").or_else(|| cpuinfo_field("CPU part"))?;
    match (cpuinfo_field("cpu family"), cpuinfo_field("model")) {
        (Some(family), Some(model)) => Some(format!("{name} (family {family}, model {model})")),
        _ => Some(name),
    }
}

/// Who runs the machine: the firmware's vendor where there is one, else that a hypervisor says it is there.
fn hypervisor() -> Option<String> {
    if let Some(kind) = text("/sys/hypervisor/type") {
        return Some(kind);
    }
    let flags = cpuinfo_field("flags")?;
    if !flags.split(' ').any(|flag| flag == "hypervisor") {
        return Some("none".to_owned());
    }
    Some(text("/sys/class/dmi/id/sys_vendor").unwrap_or_else(|| "present, unnamed".to_owned()))
}

/// One phrase per weakness the processor has; those it does not have are left out.
fn mitigations() -> Option<String> {
    let mut entries: Vec<PathBuf> =
        fs::read_dir("/sys/devices/system/cpu/vulnerabilities").ok()?.flatten().map(|e| e.path()).collect();
    entries.sort();
    let phrases = entries.iter().filter_map(|path| {
        let state = text(path)?;
        let name = path.file_name()?.to_string_lossy();
        (state != "Not affected").then(|| format!("{name}: {state}"))
    });
    Some(phrases.collect::<Vec<_>>().join("; "))
}

/// The mount that holds a directory.
pub(super) struct Mount {
    pub filesystem: String,
    pub options: String,
    pub source: String,
    /// `major:minor` as the mount table names it.
    pub device_number: String,
}

/// Finds the longest mount point that is a prefix of `directory`, the last one mounted winning.
pub(super) fn mount_of(directory: &Path) -> Option<Mount> {
    let directory = nearest_existing(directory)?.canonicalize().ok()?;
    let table = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let mut best: Option<(usize, Mount)> = None;
    for line in table.lines() {
        let (own, rest) = line.split_once(" - ")?;
        let own: Vec<&str> = own.split(' ').collect();
        let rest: Vec<&str> = rest.split(' ').collect();
        let (Some(point), Some(device_number), Some(options)) = (own.get(4), own.get(2), own.get(5)) else {
            continue;
        };
        let point = point.replace("\\040", " ");
        let (true, [filesystem, source, ..]) = (directory.starts_with(&point), rest.as_slice()) else {
            continue;
        };
        if best.as_ref().is_none_or(|(length, _)| point.len() >= *length) {
            let mount = Mount {
                filesystem: (*filesystem).to_owned(),
                options: (*options).to_owned(),
                source: (*source).to_owned(),
                device_number: (*device_number).to_owned(),
            };
            best = Some((point.len(), mount));
        }
    }
    best.map(|(_, mount)| mount)
}

/// The directory itself or its nearest parent that is there.
fn nearest_existing(directory: &Path) -> Option<PathBuf> {
    let absolute = std::path::absolute(directory).ok()?;
    absolute.ancestors().find(|path| path.exists()).map(Path::to_owned)
}

/// The `/sys/block/...` folder of the disk behind a mount; a partition leads to its disk.
pub(super) fn block_device(mount: &Mount) -> Option<PathBuf> {
    let link = Path::new("/sys/dev/block").join(&mount.device_number).canonicalize().ok()?;
    if link.join("queue").is_dir() { Some(link) } else { link.parent().map(Path::to_owned) }
}

fn storage(directory: &Path) -> Storage {
    let mount = mount_of(directory);
    let device = mount.as_ref().and_then(block_device);
    let queue = |file: &str| text(device.as_ref()?.join("queue").join(file));
    Storage {
        filesystem: mount.as_ref().map(|m| m.filesystem.clone()),
        mount_options: mount.as_ref().map(|m| m.options.clone()),
        device: device
            .as_ref()
            .and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()))
            .or_else(|| mount.as_ref().map(|m| m.source.clone())),
        scheduler: queue("scheduler").map(|line| chosen(&line)),
        write_cache: queue("write_cache"),
        free_bytes: free_bytes(directory),
        dirty_ratio: number("/proc/sys/vm/dirty_ratio"),
        dirty_background_ratio: number("/proc/sys/vm/dirty_background_ratio"),
    }
}

/// Bytes that may still be written to the file system of `directory`.
pub(super) fn free_bytes(directory: &Path) -> Option<u64> {
    use crate::reactor::{Disk, OsDisk};
    OsDisk.space(&nearest_existing(directory)?).ok().map(|space| space.free)
}

fn limits() -> SystemLimits {
    SystemLimits {
        tcp_rmem: text("/proc/sys/net/ipv4/tcp_rmem").map(|t| t.replace('\t', " ")),
        tcp_wmem: text("/proc/sys/net/ipv4/tcp_wmem").map(|t| t.replace('\t', " ")),
        somaxconn: number("/proc/sys/net/core/somaxconn"),
        memlock_bytes: process::memlock_bytes().ok().flatten(),
        io_uring_disabled: number("/proc/sys/kernel/io_uring_disabled"),
        perf_paranoid: number("/proc/sys/kernel/perf_event_paranoid"),
    }
}

fn binary() -> Binary {
    Binary {
        sha256: std::env::current_exe().ok().and_then(|path| file_sha256(&path)),
        git: git(),
        profile: Some(if cfg!(debug_assertions) { "debug" } else { "release" }.to_owned()),
        target_cpu: Some(target_cpu()),
        allocator: Some("system".to_owned()),
    }
}

/// The instruction sets this build was allowed to use beyond the architecture's base.
fn target_cpu() -> String {
    let mut name = std::env::consts::ARCH.to_owned();
    for (enabled, set) in [
        (cfg!(target_feature = "sse4.2"), "sse4.2"),
        (cfg!(target_feature = "avx2"), "avx2"),
        (cfg!(target_feature = "avx512f"), "avx512f"),
        (cfg!(target_feature = "crc"), "crc"),
    ] {
        if enabled {
            name.push('+');
            name.push_str(set);
        }
    }
    name
}

/// The commit of the source tree this build came from, while it is still there; `+` marks local changes.
fn git() -> Option<String> {
    let run = |arguments: &[&str]| {
        let output = std::process::Command::new("git")
            .arg("-C")
            .arg(env!("CARGO_MANIFEST_DIR"))
            .args(arguments)
            .stderr(std::process::Stdio::null())
            .output()
            .ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let commit = run(&["rev-parse", "--short=12", "HEAD"])?;
    let changed = run(&["status", "--porcelain", "--untracked-files=no"]).is_none_or(|list| !list.is_empty());
    Some(if changed { format!("{commit}+") } else { commit })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// SHA-256 of a text, as hexadecimal digits.
pub(super) fn sha256(text: &str) -> String {
    hex(&sha2::Sha256::digest(text.as_bytes()))
}

fn file_sha256(path: &Path) -> Option<String> {
    let mut file = fs::File::open(path).ok()?;
    let mut hash = sha2::Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer).ok()? {
            0 => return Some(hex(&hash.finalize())),
            count => hash.update(&buffer[..count]),
        }
    }
}

/// `/proc/meminfo`, as one reading.
#[derive(Clone, Debug)]
pub(super) struct Meminfo(String);

impl Meminfo {
    pub fn read() -> Option<Meminfo> {
        fs::read_to_string("/proc/meminfo").ok().map(Meminfo)
    }

    pub fn bytes(&self, name: &str) -> Option<u64> {
        kib_field(&self.0, name)
    }
}

/// The value of a `Name:   123 kB` line, in bytes.
pub(super) fn kib_field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_parameters_that_bear_on_speed_are_kept() {
        let line =
            "mitigations=off console=ttyS0 root=/dev/x isolcpus=3 token=secret init=/x -- mitigations=fake";
        assert_eq!(speed_parameters(line), "mitigations=off isolcpus=3");
    }

    #[test]
    fn the_chosen_word_is_the_one_in_brackets() {
        assert_eq!(chosen("always [madvise] never"), "madvise");
        assert_eq!(chosen("none"), "none");
    }

    #[test]
    fn the_working_directory_is_on_some_file_system() {
        let environment = read(Path::new("not/there/yet"));
        assert!(environment.storage.filesystem.is_some());
        assert!(environment.storage.free_bytes.is_some());
        assert!(environment.fingerprint.is_some());
        assert!(environment.machine.memory_bytes.is_some_and(|bytes| bytes > 1 << 26));
    }

    #[test]
    fn a_memory_line_is_read_in_bytes() {
        assert_eq!(kib_field("Dirty:   12 kB\nWriteback:  3 kB\n", "Writeback"), Some(3072));
        assert_eq!(kib_field("Dirty:   12 kB\n", "Dirt"), None);
    }
}
