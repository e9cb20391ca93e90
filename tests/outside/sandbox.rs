//! A process that is refused something: system calls, as by the profile of a container, or the size of files. A child takes
//! it upon itself between fork and exec, and its threads and children keep it.
//!
//! In: a command and what it is refused. Out: the command, which runs so.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// What becomes of a refused call.
#[derive(Clone, Copy)]
pub enum Refusal {
    /// It fails with this error.
    Error(i32),
    /// The process ends at once, by SIGSYS.
    Kill,
}

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;

/// Places in `struct seccomp_data`.
const NUMBER_AT: u32 = 0;
const ARCHITECTURE_AT: u32 = 4;

/// Makes `command` run under a filter that refuses the calls and allows all others.
pub fn refuse(command: &mut Command, calls: &[(i64, Refusal)]) {
    let mut program = vec![
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, ARCHITECTURE_AT),
        jump_unless_equal(ARCHITECTURE, 1 + 2 * calls.len() as u8),
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, NUMBER_AT),
    ];
    for (call, refusal) in calls {
        let answer = match refusal {
            Refusal::Error(error) => libc::SECCOMP_RET_ERRNO | *error as u32,
            Refusal::Kill => libc::SECCOMP_RET_KILL_PROCESS,
        };
        program.push(jump_unless_equal(*call as u32, 1));
        program.push(statement(libc::BPF_RET | libc::BPF_K, answer));
    }
    program.push(statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW));
    // SAFETY: between fork and exec only two system calls are made; the kernel copies the program, which the closure
    // owns, and nothing is allocated.
    unsafe {
        command.pre_exec(move || {
            let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_ptr().cast_mut() };
            if libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0
                || libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter, 0, 0) != 0
            {
                return Err(io::Error::last_os_error());
            }
            Ok(())
        });
    }
}

fn statement(code: u32, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt: 0, jf: 0, k }
}

/// Goes on where the value is `k`, else skips `skip` statements.
fn jump_unless_equal(k: u32, skip: u8) -> libc::sock_filter {
    libc::sock_filter { code: (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16, jt: 0, jf: skip, k }
}

/// Makes `command` run with a limit on the size of a file it writes.
pub fn limit_file_size(command: &mut Command, bytes: u64) {
    // SAFETY: between fork and exec one system call is made, on a value copied into the closure.
    unsafe {
        command.pre_exec(move || {
            let limit = libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
            if libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit) != 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(())
        });
    }
}
