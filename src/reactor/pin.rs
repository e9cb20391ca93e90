//! Which cores this process may use, pinning a thread to one, and how the scheduler treats it.

/// Core numbers this process may run on, ascending; at least one.
pub fn usable_cores() -> Vec<usize> {
    let mut cores: Vec<usize> =
        core_affinity::get_core_ids().unwrap_or_default().into_iter().map(|core| core.id).collect();
    cores.sort_unstable();
    if cores.is_empty() {
        cores.push(0);
    }
    cores
}

/// Pins the calling thread; false when the system refuses, which costs speed and nothing else.
pub fn pin_to(core: usize) -> bool {
    core_affinity::set_for_current(core_affinity::CoreId { id: core })
}

/// Lets the calling thread run wherever the process's first thread may, though the thread that started it is pinned.
pub fn roam() {
    // SAFETY: the set is plain memory that outlives both calls, and its size is passed.
    unsafe {
        let mut cores: libc::cpu_set_t = std::mem::zeroed();
        if libc::sched_getaffinity(libc::getpid(), size_of::<libc::cpu_set_t>(), &raw mut cores) == 0 {
            libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const cores);
        }
    }
}

/// Sets the calling thread's share of a busy core: 19 gives way to all, -20 goes before all ordinary threads. False when
/// the kernel refuses, which it does below 0 without privilege.
pub fn set_nice(nice: i32) -> bool {
    // SAFETY: no memory is passed. On Linux the id 0 names the calling thread alone.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) == 0 }
}

/// `struct sched_attr` of `sched_setattr(2)`, first version.
#[repr(C)]
struct SchedAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime_ns: u64,
    deadline_ns: u64,
    period_ns: u64,
}

/// Asks for short slices on the calling thread's core: when it wakes it goes first, before threads that run longer at a
/// time (Linux 6.12 and later; earlier kernels take no notice). False when the kernel refuses, which costs latency and
/// nothing else.
pub fn take_short_slices() -> bool {
    const SLICE_NS: u64 = 100_000;
    // SAFETY: no memory is passed. The library gives the thread's nice value.
    let nice = unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
    let attr = SchedAttr {
        size: size_of::<SchedAttr>() as u32,
        policy: libc::SCHED_OTHER as u32,
        flags: 0,
        nice,
        priority: 0,
        runtime_ns: SLICE_NS,
        deadline_ns: 0,
        period_ns: 0,
    };
    // SAFETY: `attr` has the kernel's layout, says its own size, and outlives the call.
    unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attr, 0u32) == 0 }
}
