//! Can this machine run the ring? Asked once at start, answered with what to change.

use std::io;

use crate::reactor::ring::{RingEngine, RingOptions};
use crate::reactor::{Engine, Wait};

/// Why the ring cannot be used here, and what to change.
#[derive(Debug, thiserror::Error)]
#[error("io_uring cannot be used: {reason}. {remedy}")]
pub struct ProbeError {
    pub reason: String,
    pub remedy: String,
}

/// The oldest kernel whose ring has every flag in use (`FAULTS.md` H27).
const KERNEL_FLOOR: (u32, u32) = (6, 1);
/// How long a probe waits for what takes microseconds.
const WAKE_MS_MAX: i64 = 2000;

/// Makes `rings` rings of the given size, all at once, lets each do something, and drops them.
pub fn probe(options: RingOptions, rings: usize) -> Result<(), ProbeError> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    if let Some(error) = too_old(&release) {
        return Err(error);
    }
    // A ring belongs to the thread that made it, so the probe has a thread of its own.
    let made = std::thread::scope(|scope| {
        scope
            .spawn(|| {
                let mut kept = Vec::new();
                for _ in 0..rings {
                    kept.push(try_one(options)?);
                }
                Ok(())
            })
            .join()
    });
    made.unwrap_or_else(|_| {
        Err(ProbeError { reason: "the probe ended early".to_owned(), remedy: "See the log".to_owned() })
    })
}

/// A sandbox may allow the ring to be made and refuse its use, or leave out operations: so a wake goes through it.
fn try_one(options: RingOptions) -> Result<RingEngine, ProbeError> {
    let mut engine = RingEngine::new(options).map_err(|e| explain(&e))?;
    if let Some(name) = engine.missing_operation().map_err(|e| explain(&e))? {
        return Err(ProbeError {
            reason: format!("the kernel's ring has no operation {name}"),
            remedy: "Run a kernel of 6.1 or later, or one that has all of the ring".to_owned(),
        });
    }
    engine.waker().wake();
    let mut out = Vec::new();
    let until = engine.now().after_ms(WAKE_MS_MAX);
    while out.is_empty() && engine.now() < until {
        engine.turn(Wait::Until(until), &mut out).map_err(|e| explain(&e))?;
    }
    if out.is_empty() {
        return Err(ProbeError {
            reason: format!("a read through the ring did not complete within {WAKE_MS_MAX} ms"),
            remedy: "Run a kernel of 6.1 or later".to_owned(),
        });
    }
    Ok(engine)
}

/// What is wrong with a kernel of this release; one whose release cannot be read is asked by using it.
fn too_old(release: &str) -> Option<ProbeError> {
    (kernel_version(release)? < KERNEL_FLOOR).then(|| ProbeError {
        reason: format!("kernel {} is older than {}.{}", release.trim(), KERNEL_FLOOR.0, KERNEL_FLOOR.1),
        remedy: "Run a kernel of 6.1 or later".to_owned(),
    })
}

fn kernel_version(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.trim().split(['.', '-']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// What an error of making a ring means for the one who can change it.
pub fn explain(error: &io::Error) -> ProbeError {
    let disabled = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").unwrap_or_default();
    let remedy = match error.raw_os_error() {
        Some(libc::EPERM) if !matches!(disabled.trim(), "" | "0") => {
            format!("kernel.io_uring_disabled is {}: set it to 0 (sysctl -w kernel.io_uring_disabled=0)", disabled.trim())
        }
        Some(libc::EPERM | libc::EACCES) => "A sandbox refuses it: allow io_uring_setup, io_uring_enter and \
             io_uring_register in the container's seccomp profile"
            .to_owned(),
        Some(libc::ENOSYS) => "The kernel was built without io_uring, or a sandbox hides it: allow io_uring_setup, \
             io_uring_enter and io_uring_register, or use a kernel with CONFIG_IO_URING"
            .to_owned(),
        Some(libc::ENOMEM) => {
            "Not enough locked memory: raise the limit (ulimit -l unlimited, or LimitMEMLOCK=infinity in the unit)".to_owned()
        }
        Some(libc::EMFILE | libc::ENFILE) => "Too many open files: raise the limit (ulimit -n)".to_owned(),
        Some(libc::EINVAL) => "The kernel lacks a flag in use: run a kernel of 6.1 or later".to_owned(),
        _ => "See the error".to_owned(),
    };
    ProbeError { reason: error.to_string(), remedy }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_says_what_to_change() {
        let remedy = |errno| explain(&io::Error::from_raw_os_error(errno)).to_string();
        assert!(remedy(libc::ENOMEM).contains("LimitMEMLOCK"));
        assert!(remedy(libc::ENOSYS).contains("CONFIG_IO_URING"));
        assert!(remedy(libc::EINVAL).contains("6.1"));
        assert_eq!(kernel_version("6.18.44-fc-v657\n"), Some((6, 18)));
        assert_eq!(kernel_version("weird"), None);
    }

    #[test]
    fn a_kernel_below_the_floor_is_named_with_it() {
        for release in ["6.0.19-generic\n", "5.15.0", "4.18.0-553.el8"] {
            let said = too_old(release).expect("too old").to_string();
            assert!(said.contains(release.trim()) && said.contains("older than 6.1"), "{said}");
        }
        for release in ["6.1.0-13-amd64", "6.18.44", "7.0", "weird"] {
            assert!(too_old(release).is_none(), "{release}");
        }
    }
}
