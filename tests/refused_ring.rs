//! A machine that refuses the ring (`FAULTS.md` F37, H27): what `auto` does there, and what `io_uring` says.
//!
//! The refusals are those of a real kernel: the broker runs under a seccomp filter, as in a container. Whatever is refused,
//! there is no half-working mode: a complete broker over epoll, or exit 3 with what to change and nothing begun.

mod outside;

use outside::Folder;
use outside::batch::{NOBODY, build};
use outside::bench::SMALL;
use outside::process::{Broker, Refused, binary};
use outside::sandbox::{Refusal, refuse};
use std::path::Path;
use std::process::Command;

const SETUP: i64 = libc::SYS_io_uring_setup;
const ENTER: i64 = libc::SYS_io_uring_enter;
const REGISTER: i64 = libc::SYS_io_uring_register;

/// What a kernel or a sandbox may answer, the words that must name the cause, and those that must name the remedy.
const REFUSALS: &[(i64, i32, &str, &[&str])] = &[
    (SETUP, libc::EPERM, "Operation not permitted", &["io_uring_setup", "seccomp profile"]),
    (SETUP, libc::ENOSYS, "Function not implemented", &["CONFIG_IO_URING"]),
    (SETUP, libc::ENOMEM, "Cannot allocate memory", &["ulimit -l unlimited", "LimitMEMLOCK=infinity"]),
    (SETUP, libc::EMFILE, "Too many open files", &["ulimit -n"]),
    (SETUP, libc::EINVAL, "Invalid argument", &["6.1"]),
    // Made, but not to be used: the probe must go further than the first call.
    (REGISTER, libc::EPERM, "Operation not permitted", &["io_uring_register"]),
    (ENTER, libc::EPERM, "Operation not permitted", &["io_uring_enter"]),
    (ENTER, libc::ENOSYS, "Function not implemented", &["io_uring_enter"]),
];

fn launch(folder: &Path, engine: &str, call: i64, refusal: Refusal) -> Broker {
    Broker::launch_by(Command::new(binary()), folder, &[("reactor.engine", engine)], |command| {
        refuse(command, &[(call, refusal)]);
    })
}

/// Produces, reads back, and stops.
fn serves(broker: Broker) -> String {
    let mut client = broker.client().expect("a connection");
    assert_eq!(client.create_topic("t", 2, &[]).expect("an answer"), 0);
    let batch = build(NOBODY, 1_700_000_000_000, &[b"one".to_vec(), b"two".to_vec()]);
    let produced = client.produce("t", 1, &batch).expect("an answer");
    assert_eq!((produced.code, produced.base_offset), (0, 0));
    let read = client.read_batches("t", 1, 0).expect("the records");
    let values: Vec<_> = read.iter().flat_map(|batch| &batch.records).collect();
    assert_eq!(values.len(), 2);
    let log = broker.log();
    broker.stop();
    log
}

/// The lines that say which engine serves.
fn choices(log: &str) -> Vec<&str> {
    log.lines().filter(|line| line.contains("the threads stand on")).collect()
}

#[test]
fn auto_serves_over_epoll_and_says_in_one_line_what_was_refused() {
    for (call, errno, cause, remedies) in REFUSALS {
        let folder = Folder::new("refused-auto");
        let broker = launch(folder.path(), "auto", *call, Refusal::Error(*errno)).answering();
        let log = serves(broker);
        let [line] = choices(&log)[..] else { panic!("not one line:\n{log}") };
        assert!(line.contains("stand on epoll"), "{line}");
        for words in [cause].into_iter().chain(*remedies) {
            assert!(line.contains(words), "call {call}, errno {errno}: {words:?} is not in: {line}");
        }
    }
}

#[test]
fn io_uring_by_name_ends_with_exit_3_and_what_to_change_and_begins_nothing() {
    for (call, errno, cause, remedies) in REFUSALS {
        let folder = Folder::new("refused-ring");
        let Refused { status, log } =
            launch(folder.path(), "io_uring", *call, Refusal::Error(*errno)).ending();
        assert_eq!(status.code(), Some(3), "call {call}, errno {errno}:\n{log}");
        for words in [cause, "reactor.engine", "epoll"].iter().chain(*remedies) {
            assert!(log.contains(*words), "call {call}, errno {errno}: {words:?} is not in:\n{log}");
        }
        assert!(!log.contains("panicked"), "{log}");
        assert!(!folder.join("data").exists(), "a refused start makes no directory");
    }
}

#[test]
fn epoll_by_name_never_touches_the_ring() {
    for call in [SETUP, ENTER, REGISTER] {
        let folder = Folder::new("epoll-alone");
        // One such call, by any thread at any time until the stop, would end the process.
        let log = serves(launch(folder.path(), "epoll", call, Refusal::Kill).answering());
        assert!(choices(&log)[..].iter().all(|line| line.contains("stand on epoll")), "{log}");
    }
}

#[test]
fn a_machine_with_the_ring_serves_on_it_and_says_so() {
    let folder = Folder::new("ring-there");
    let broker = Broker::launch(folder.path(), &[("reactor.engine", "io_uring")]);
    let probe = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").unwrap_or_default();
    if !matches!(probe.trim(), "" | "0") {
        let Refused { status, log } = broker.ending();
        assert_eq!(status.code(), Some(3), "{log}");
        assert!(log.contains("kernel.io_uring_disabled"), "{log}");
        return;
    }
    let log = serves(broker.answering());
    let [line] = choices(&log)[..] else { panic!("not one line:\n{log}") };
    assert!(line.contains("stand on io_uring"), "{line}");
}

#[test]
fn epoll_serves_where_even_waits_in_nanoseconds_are_refused() {
    for errno in [libc::ENOSYS, libc::EPERM] {
        let folder = Folder::new("coarse-waits");
        let calls = [
            (SETUP, Refusal::Error(libc::ENOSYS)),
            (libc::SYS_epoll_pwait2, Refusal::Error(errno)),
            (libc::SYS_preadv2, Refusal::Error(errno)),
        ];
        let broker = Broker::launch_by(
            Command::new(binary()),
            folder.path(),
            &[("reactor.engine", "auto"), ("log.flush.interval.messages", "1")],
            |command| refuse(command, &calls),
        );
        let log = serves(broker.answering());
        assert!(choices(&log)[..].iter().all(|line| line.contains("stand on epoll")), "{log}");
    }
}

#[test]
fn a_machine_without_the_ring_can_still_be_measured() {
    let folder = Folder::new("refused-bench");
    let file = folder.join("small.yaml");
    std::fs::write(&file, SMALL).expect("a file");
    for subject in ["ringdaw", "null-broker"] {
        let mut command = Command::new(binary());
        command.args(["bench", "run"]).arg(&file).args(["--subject", subject, "--null", "none", "--plain"]);
        command.arg("--data-dir").arg(folder.join("data")).arg("--out").arg(folder.join("results"));
        command.arg("--allow-tmpfs");
        refuse(&mut command, &[(SETUP, Refusal::Error(libc::EPERM))]);
        let done = command.output().expect("the program");
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{subject}: {}: {said}", done.status);
        assert!(said.contains("the load generator stands on epoll: io_uring cannot be used"), "{said}");
    }
}
