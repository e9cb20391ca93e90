//! The hazards of ring and files (`FAULTS.md` section 7), each with what shows that its pattern holds.
//!
//! | row | shown by |
//! |---|---|
//! | H01 short counts | `tests/log/crash.rs`: `short_counts_change_nothing`; `tests/engines.rs`: `all_of_a_send_…`, `bytes_arrive_in_order_…`; here: `a_file_size_limit_…` |
//! | H02 links hide short writes | here: `no_operation_is_linked_cancelled_or_appended` |
//! | H03 chains over two submits, sends cut short | the same; `tests/engines.rs` on a ring of 4 entries, `all_of_a_send_…` |
//! | H04 cancelling is a race | the same: nothing is cancelled; `tests/engines.rs`: `shutting_a_socket_down_completes_what_is_pending` |
//! | H05 memory freed in flight | `tests/engines.rs`: `dropping_an_engine_…`, `without_a_buffer_…`; `reactor::buffer`: a slot leased twice panics |
//! | H06 close does not cancel, numbers are reused | `tests/engines.rs`: `a_socket_stays_open_…`, `a_reused_descriptor_…` |
//! | H07 late writes of a killed process | here: `a_killed_broker_keeps_its_lock_until_its_last_write_has_landed`; `tests/engines.rs`: `a_held_lock_…`; `tests/crash.rs`: `a_second_broker_…` |
//! | H08 a flush error is reported once | `tests/log/crash.rs`: `a_flush_error_is_final_…`; here: `the_first_flush_error_takes_the_directory_…` |
//! | H09 a wait takes the error away | `log::window`: `after_a_failed_write_out_…`; here: `an_error_of_write_out_is_an_error_of_the_flush` |
//! | H13 O_APPEND | here: `no_operation_is_linked_cancelled_or_appended`; F37: `tests/refused_ring.rs`, `reactor::probe` |
//! | H18 multishot ends silently | `tests/engines.rs`: `more_connections_than_a_turn_takes_all_come`, `without_a_buffer_…` |
//! | H19 buffers given back twice, or never | `tests/engines.rs`: `every_buffer_is_back_…`, `without_a_buffer_…`; `reactor::buffer` |
//! | H20 overflow of completions | `tests/engines.rs`: `completions_beyond_the_queue_of_a_ring_…` |
//! | H21 nothing completes unless the owner enters; no blocking call in a turn | `tests/engines.rs`: `readiness_is_seen_without_a_turn`; here: `a_slow_flush_holds_up_only_those_who_wait_for_it`, `a_slow_cold_read_…` |
//! | H22 workers of the kernel | `tests/engines.rs`: `many_flushes_take_no_more_threads_than_allowed`; `reactor::blocking` |
//! | H23 dirty throttling | `log::window`: budgets, large pieces, longest run first |
//! | H25 names are not durable | `sim::disk`: `a_name_is_there_after_a_power_cut_only_when_…`; `tests/log/crash.rs`: `a_power_cut_at_any_call_…`; here: `a_topic_is_on_the_device_before_its_creation_is_answered` |
//! | H26 a checkpoint ahead of its data | `tests/log/crash.rs`: `a_power_cut_at_any_call_…`; `tests/crash.rs`: `indexes_and_checkpoints_…` |
//! | H27 limits, sandboxes, old kernels | `tests/refused_ring.rs` |
//! | H28 tools do not see the ring | `tests/refused_ring.rs`: `epoll_by_name_never_touches_the_ring`; under epoll they do, and the injections here stand on that |
//! | H29 LINK_TIMEOUT | here: `no_operation_is_linked_cancelled_or_appended`; `tests/engines.rs`: `a_deadline_ends_a_wait_and_not_earlier` |
//! | H30 a ring message to a full queue | `tests/engines.rs`: `wakes_beyond_every_queue_lose_nothing`, `engines_of_either_kind_wake_each_other` |
//! | H31 alignment of O_DIRECT | only the rig uses it: here `no_operation_…`; `reactor::limits`: `direct_writes_stay_within_the_file_…` |
//!
//! Faults are injected by strace, which sees the calls of the epoll engine; where it cannot be had they are skipped by name.

mod outside;

use outside::batch::{NOBODY, build};
use outside::client::Client;
use outside::process::{Broker, binary};
use outside::sandbox::limit_file_size;
use outside::{Folder, is_root, skip};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const STORAGE_ERROR: i16 = 56;
const PATIENCE: Duration = Duration::from_secs(30);

fn batch(text: &str, bytes: usize) -> Vec<u8> {
    let mut value = text.as_bytes().to_vec();
    value.resize(bytes.max(text.len()), b'.');
    build(NOBODY, 1_700_000_000_000, &[value])
}

/// The texts of all records, without their filling.
fn read(client: &mut Client, topic: &str, partition: i32) -> Vec<String> {
    let batches = client.read_batches(topic, partition, 0).expect("the records");
    let values = batches.iter().flat_map(|batch| &batch.records).map(|record| record.value.clone());
    values
        .map(|value| {
            String::from_utf8(value.expect("a value")).expect("text").trim_end_matches('.').to_string()
        })
        .collect()
}

// ---- what the source must not contain ---------------------------------------------------------

#[test]
fn no_operation_is_linked_cancelled_or_appended() {
    /// A word, and the files that may have it.
    const ABSENT: &[(&str, &[&str])] = &[
        ("IO_LINK", &[]),
        ("IO_HARDLINK", &[]),
        ("LinkTimeout", &[]),
        ("AsyncCancel", &[]),
        ("opcode::Close", &[]),
        ("O_APPEND", &[]),
        // The rig's own log of a subject and its list of calibrations, of which nothing is read back by place.
        (".append(true)", &["rig/session/calibrate.rs", "rig/subject.rs"]),
        ("SendZc", &[]),
        ("opcode::Splice", &[]),
        ("F_SETLK,", &[]),
        // The rig holds the broker against the device; the broker itself writes through the page cache.
        ("O_DIRECT", &["reactor/limits.rs", "reactor/storage.rs"]),
    ];
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut waiting = vec![source.clone()];
    let mut files = 0;
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(&folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                waiting.push(path);
                continue;
            }
            files += 1;
            let name = path.strip_prefix(&source).expect("inside").display().to_string();
            let text = fs::read_to_string(&path).expect("a file");
            let code: Vec<&str> =
                text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect();
            for (word, allowed) in ABSENT.iter().filter(|(_, allowed)| !allowed.contains(&name.as_str())) {
                let at = code.iter().position(|line| line.contains(word));
                let is_text = |line: &str| line.contains('"') && line.find('"') < line.find(word);
                if let Some(at) = at.filter(|at| !is_text(code[*at])) {
                    panic!("{name}:{}: {word} is allowed in {allowed:?} only", at + 1);
                }
            }
        }
    }
    assert!(files > 100, "{files} files");
}

// ---- limits -----------------------------------------------------------------------------------

#[test]
fn a_file_size_limit_refuses_what_does_not_fit_and_keeps_what_was_acknowledged() {
    const LIMIT: u64 = 300_000;
    let folder = Folder::new("file-size");
    let settings = &[("log.index.size.max.bytes", "4096")];
    // The kernel writes up to the limit and says so with a short count; the rest is EFBIG, and no signal ends the broker.
    let mut command = Command::new(binary());
    limit_file_size(&mut command, LIMIT);
    let mut broker = Broker::launch_by(command, folder.path(), settings, |_| {}).answering();
    let mut client = broker.client().expect("a connection");
    assert_eq!(client.create_topic("t", 1, &[]).expect("an answer"), 0);
    let mut acknowledged = Vec::new();
    let mut refused = false;
    for number in 0..20 {
        match client.produce("t", 0, &batch(&format!("{number}"), 40_000)) {
            Ok(produced) if produced.code == 0 => acknowledged.push(number.to_string()),
            Ok(produced) => {
                assert_eq!(produced.code, STORAGE_ERROR, "{}", broker.log());
                refused = true;
                break;
            }
            Err(_) => {
                // The only directory has failed: a broker without one stops.
                assert_eq!(broker.wait(PATIENCE).code(), Some(1), "{}", broker.log());
                refused = true;
                break;
            }
        }
    }
    assert!(refused && (1..8).contains(&acknowledged.len()), "{} were taken", acknowledged.len());
    assert!(!broker.log().contains("panicked"), "{}", broker.log());
    drop(broker);
    let broker = Broker::start(folder.path(), settings);
    let mut client = broker.client().expect("a connection");
    assert_eq!(read(&mut client, "t", 0), acknowledged);
    broker.stop();
}

// ---- injected by strace -----------------------------------------------------------------------

/// A strace that is attached to every thread of a process, and follows those to come.
struct Tracer {
    child: Child,
    output: PathBuf,
}

impl Tracer {
    /// `None`, said by name, where strace cannot be had or cannot attach.
    fn attach(test: &str, folder: &Path, pid: u32, inject: &[&str], path: Option<&Path>) -> Option<Tracer> {
        Tracer::attach_to(test, folder, pid, "", inject, path)
    }

    /// The same for those threads only whose names begin with `name`.
    fn attach_to(
        test: &str,
        folder: &Path,
        pid: u32,
        name: &str,
        inject: &[&str],
        path: Option<&Path>,
    ) -> Option<Tracer> {
        let output = folder.join("strace.out");
        let said = folder.join("strace.err");
        let mut command = Command::new("strace");
        command.args(["-q", "-o"]).arg(&output);
        for fault in inject {
            command.args(["-e", &format!("inject={fault}")]);
        }
        if let Some(path) = path {
            command.arg("-P").arg(path);
        } else {
            let calls: Vec<&str> = inject.iter().filter_map(|fault| fault.split(':').next()).collect();
            command.args(["-e", &format!("trace={}", calls.join(","))]);
        }
        if name.is_empty() {
            command.args(["-f", "-p", &pid.to_string()]);
        } else {
            for thread in threads_named(pid, name) {
                command.arg("-p").arg(thread.file_name().expect("a number"));
            }
        }
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(fs::File::create(&said).expect("a file"));
        let child = match command.spawn() {
            Ok(child) => child,
            Err(error) => {
                skip(test, &format!("strace: {error}"));
                return None;
            }
        };
        let mut tracer = Tracer { child, output };
        let deadline = Instant::now() + PATIENCE;
        loop {
            let threads = threads_named(pid, name);
            // A thread may end meanwhile.
            let traced = |path: &PathBuf| {
                let status = fs::read_to_string(path.join("status"));
                status.map_or(true, |status| !status.contains("TracerPid:\t0\n"))
            };
            if threads.iter().all(traced) {
                return Some(tracer);
            }
            if tracer.child.try_wait().expect("a status").is_some() {
                skip(test, &format!("strace: {}", fs::read_to_string(&said).unwrap_or_default().trim()));
                return None;
            }
            assert!(Instant::now() < deadline, "strace does not attach");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn output(&self) -> String {
        fs::read_to_string(&self.output).unwrap_or_default()
    }
}

/// The threads of a process whose names begin so, each as its directory; at least one.
fn threads_named(pid: u32, name: &str) -> Vec<PathBuf> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the process");
    let named = |path: &PathBuf| fs::read_to_string(path.join("comm")).is_ok_and(|own| own.starts_with(name));
    let found: Vec<PathBuf> = tasks.flatten().map(|task| task.path()).filter(named).collect();
    assert!(!found.is_empty(), "no thread {name}");
    found
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // On SIGTERM it lets its processes go on without it.
        outside::process::terminate(self.child.id());
        let _ = self.child.wait();
    }
}

const EPOLL: (&str, &str) = ("reactor.engine", "epoll");

fn segment(replica: &Path) -> PathBuf {
    replica.join("00000000000000000000.log")
}

/// A second connection that is served while something else is slow.
fn is_served(broker: &Broker, topic: &str) {
    let mut client = broker.client().expect("a connection");
    for number in 0..20 {
        client.api_versions().expect("an answer");
        let produced = client.produce(topic, 0, &batch(&format!("{number}"), 100)).expect("an answer");
        assert_eq!(produced.code, 0);
        assert_eq!(client.fetch(topic, 0, number, 0).expect("an answer").code, 0);
    }
}

/// True when an answer has not come yet.
fn waits(client: &Client) -> bool {
    !client.has_answer().expect("a connection")
}

#[test]
fn a_slow_flush_holds_up_only_those_who_wait_for_it() {
    let test = "a_slow_flush_holds_up_only_those_who_wait_for_it";
    let folder = Folder::new("slow-flush");
    let broker = Broker::start(folder.path(), &[EPOLL]);
    let mut client = broker.client().expect("a connection");
    assert_eq!(client.create_topic("flushed", 1, &[("flush.messages", "1")]).expect("an answer"), 0);
    assert_eq!(client.create_topic("plain", 1, &[]).expect("an answer"), 0);
    let path = segment(&folder.join("data/flushed-0"));
    // Far longer than all that is asked meanwhile.
    let slow = ["fdatasync:delay_enter=6000000", "syncfs:delay_enter=6000000"];
    let Some(tracer) = Tracer::attach(test, folder.path(), broker.pid(), &slow, Some(&path)) else { return };
    client.send_produce("flushed", 0, -1, &batch("slow", 1000)).expect("a send");
    is_served(&broker, "plain");
    assert!(waits(&client), "the flush was not waited for:\n{}", tracer.output());
    assert_eq!(client.receive_produced().expect("an answer").code, 0);
    assert!(tracer.output().contains("fdatasync"), "{}", tracer.output());
    drop(tracer);
    broker.stop();
}

#[test]
fn a_slow_cold_read_holds_up_only_its_reader() {
    let test = "a_slow_cold_read_holds_up_only_its_reader";
    let folder = Folder::new("slow-read");
    // A small window: what lies behind it may have left memory, and is asked about.
    let window = [("log.window.dirty.bytes", "1048576"), ("log.window.resident.bytes", "1048576")];
    let broker = Broker::start(folder.path(), &[EPOLL, window[0], window[1]]);
    let mut client = broker.client().expect("a connection");
    assert_eq!(client.create_topic("cold", 1, &[("flush.messages", "1")]).expect("an answer"), 0);
    assert_eq!(client.create_topic("hot", 1, &[]).expect("an answer"), 0);
    for number in 0..40 {
        let produced = client.produce("cold", 0, &batch(&format!("{number}"), 500_000)).expect("an answer");
        assert_eq!(produced.code, 0);
    }
    evict(&segment(&folder.join("data/cold-0")));
    // The flushes have started a thread, and it is idle: it is the one that is slow from here on, and no other is.
    let slow = ["pread64:delay_enter=6000000"];
    let Some(tracer) = Tracer::attach_to(test, folder.path(), broker.pid(), "blocking-", &slow, None) else {
        return;
    };
    client.send_fetch("cold", 0, 0, 500).expect("a send");
    is_served(&broker, "hot");
    assert!(waits(&client), "nothing had to be read from the disk:\n{}", tracer.output());
    let fetched = client.receive_fetched().expect("an answer");
    assert_eq!(fetched.code, 0);
    let first = fetched.batches.first().and_then(|batch| batch.records.first()).expect("a record");
    assert!(first.value.as_ref().is_some_and(|value| value.starts_with(b"0.")));
    assert!(tracer.output().contains("pread64("), "{}", tracer.output());
    drop(tracer);
    broker.stop();
}

/// Takes a file out of memory.
fn evict(path: &Path) {
    use ringdaw::reactor::{Disk, OpenMode, OsDisk};
    let file = OsDisk.open(path, OpenMode::Read).expect("the file");
    OsDisk.drop_pages(&file, 0, 0).expect("a drop");
}

/// Two directories with a topic in each; the topic's name and partition, by directory.
fn in_two_directories(folder: &Folder, settings: &[(&str, &str)]) -> (Broker, [i32; 2]) {
    let directories = [folder.join("a"), folder.join("b")];
    let both = directories.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(",");
    let mut all = vec![EPOLL, ("log.dirs", both.as_str())];
    all.extend_from_slice(settings);
    let broker = Broker::start(folder.path(), &all);
    let mut client = broker.client().expect("a connection");
    assert_eq!(client.create_topic("t", 4, &[]).expect("an answer"), 0);
    let there = |directory: &Path| {
        let found = (0..4).find(|partition| directory.join(format!("t-{partition}")).is_dir());
        found.expect("each directory gets partitions")
    };
    let partitions = [there(&directories[0]), there(&directories[1])];
    (broker, partitions)
}

/// After the fault: the partition of the failed directory is refused for good, the other one goes on.
fn one_directory_is_lost(broker: &Broker, partitions: [i32; 2], acknowledged: u64) {
    let mut client = broker.client().expect("a connection");
    for _ in 0..3 {
        let produced = client.produce("t", partitions[0], &batch("after", 100)).expect("an answer");
        assert_eq!(produced.code, STORAGE_ERROR, "a later call would succeed, and must not be asked");
        let fetched = client.fetch("t", partitions[0], 0, 0).expect("an answer");
        assert_eq!((fetched.code, fetched.batches.len()), (STORAGE_ERROR, 0), "nothing of it is served");
    }
    let produced = client.produce("t", partitions[1], &batch("other", 100)).expect("an answer");
    assert_eq!((produced.code, produced.base_offset), (0, acknowledged as i64));
    assert!(broker.log().contains("/a"), "the log names the directory:\n{}", broker.log());
}

#[test]
fn the_first_flush_error_takes_the_directory_and_only_that() {
    let test = "the_first_flush_error_takes_the_directory_and_only_that";
    let folder = Folder::new("flush-error");
    let (broker, partitions) = in_two_directories(&folder, &[("log.flush.interval.messages", "1")]);
    let mut client = broker.client().expect("a connection");
    for partition in partitions {
        assert_eq!(client.produce("t", partition, &batch("good", 100)).expect("an answer").code, 0);
    }
    let path = segment(&folder.join(&format!("a/t-{}", partitions[0])));
    let once = ["fdatasync:error=EIO:when=1"];
    let Some(tracer) = Tracer::attach(test, folder.path(), broker.pid(), &once, Some(&path)) else { return };
    let produced = client.produce("t", partitions[0], &batch("never flushed", 100)).expect("an answer");
    assert_eq!(produced.code, STORAGE_ERROR, "nothing the failed flush covers is acknowledged");
    one_directory_is_lost(&broker, partitions, 1);
    assert_eq!(tracer.output().matches("INJECTED").count(), 1, "{}", tracer.output());
    drop(tracer);
    broker.kill();
    // What was acknowledged before is there again; the rest is a suffix that may be.
    let both = format!("{},{}", folder.join("a").display(), folder.join("b").display());
    let broker = Broker::start(folder.path(), &[EPOLL, ("log.dirs", &both)]);
    let mut client = broker.client().expect("a connection");
    assert_eq!(read(&mut client, "t", partitions[0])[..1], ["good"]);
    assert_eq!(read(&mut client, "t", partitions[1]), ["good", "other"]);
    broker.stop();
}

#[test]
fn an_error_of_write_out_is_an_error_of_the_flush() {
    let test = "an_error_of_write_out_is_an_error_of_the_flush";
    let folder = Folder::new("write-out-error");
    let window = [("log.window.dirty.bytes", "1048576"), ("log.window.resident.bytes", "4194304")];
    let (broker, partitions) = in_two_directories(&folder, &window);
    let path = segment(&folder.join(&format!("a/t-{}", partitions[0])));
    let once = ["sync_file_range:error=EIO:when=1"];
    let Some(tracer) = Tracer::attach(test, folder.path(), broker.pid(), &once, Some(&path)) else { return };
    let mut client = broker.client().expect("a connection");
    // Until the window has written out something, and that has failed.
    let mut taken = 0;
    while client.produce("t", partitions[0], &batch("filling", 300_000)).expect("an answer").code == 0 {
        taken += 1;
        assert!(taken < 1000, "nothing is written out:\n{}", tracer.output());
    }
    one_directory_is_lost(&broker, partitions, 0);
    drop(tracer);
    broker.kill();
}

#[test]
fn a_topic_is_on_the_device_before_its_creation_is_answered() {
    let test = "a_topic_is_on_the_device_before_its_creation_is_answered";
    let folder = Folder::new("directory-sync");
    let broker = Broker::start(folder.path(), &[EPOLL]);
    let watched =
        ["fsync:delay_exit=1", "fdatasync:delay_exit=1", "rename:delay_exit=1", "sendto:delay_exit=1"];
    let Some(tracer) = Tracer::attach(test, folder.path(), broker.pid(), &watched, None) else { return };
    let mut client = broker.client().expect("a connection");
    assert_eq!(client.create_topic("t", 1, &[]).expect("an answer"), 0);
    let output = tracer.output();
    let answer = output.rfind("sendto(").expect("the answer");
    // The change of the metadata, and the directory that has the new replica's name.
    let before = &output[..answer];
    assert!(before.contains("fdatasync("), "{output}");
    assert!(before.contains("fsync("), "{output}");
    drop(tracer);
    broker.stop();
}

// ---- a killed process whose write has not landed ----------------------------------------------

/// A file system of its own, which can be frozen: a write to it then waits, uninterruptibly, as on a disk that hangs.
struct Freezer {
    at: PathBuf,
    frozen: bool,
}

impl Freezer {
    fn new(folder: &Folder) -> Result<Freezer, String> {
        let image = folder.join("image");
        let file = fs::File::create(&image).map_err(|e| e.to_string())?;
        file.set_len(256 << 20).map_err(|e| e.to_string())?;
        run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image))?;
        let at = folder.join("mount");
        fs::create_dir(&at).map_err(|e| e.to_string())?;
        run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&at))?;
        Ok(Freezer { at, frozen: false })
    }

    fn freeze(&mut self) -> Result<(), String> {
        run(Command::new("fsfreeze").arg("-f").arg(&self.at))?;
        self.frozen = true;
        Ok(())
    }

    fn thaw(&mut self) {
        run(Command::new("fsfreeze").arg("-u").arg(&self.at)).expect("a thaw");
        self.frozen = false;
    }
}

impl Drop for Freezer {
    fn drop(&mut self) {
        if self.frozen {
            let _ = run(Command::new("fsfreeze").arg("-u").arg(&self.at));
        }
        if let Err(why) = run(Command::new("umount").arg("-l").arg(&self.at)) {
            eprintln!("{why}");
        }
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let done = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if done.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&done.stderr).trim()))
}

/// Whether another process holds a lock on a file, asked without opening it for writing.
fn is_locked(path: &Path) -> bool {
    let inode = std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).expect("the lock's file"));
    let locks = fs::read_to_string("/proc/locks").expect("the kernel's locks");
    locks.lines().any(|line| line.contains("OFDLCK") && line.contains(&format!(":{inode} ")))
}

#[test]
fn a_killed_broker_keeps_its_lock_until_its_last_write_has_landed() {
    let test = "a_killed_broker_keeps_its_lock_until_its_last_write_has_landed";
    if !is_root() {
        return skip(test, "mounting needs root");
    }
    let folder = Folder::new("late-write");
    let mut freezer = match Freezer::new(&folder) {
        Ok(freezer) => freezer,
        Err(why) => return skip(test, &why),
    };
    let data = freezer.at.join("data");
    let data_text = data.display().to_string();
    let settings = [("log.dirs", data_text.as_str())];
    let broker = Broker::start(folder.path(), &settings);
    let mut client = broker.client().expect("a connection");
    assert_eq!(client.create_topic("t", 1, &[]).expect("an answer"), 0);
    assert_eq!(client.produce("t", 0, &batch("acknowledged", 1000)).expect("an answer").code, 0);
    if let Err(why) = freezer.freeze() {
        return skip(test, &why);
    }
    let lock = data.join(".lock");
    let log = segment(&data.join("t-0"));
    let before = fs::metadata(&log).expect("the log").len();
    assert!(is_locked(&lock), "a broker that runs holds its lock");
    client.send_produce("t", 0, -1, &batch("in doubt", 1000)).expect("a send");
    wait_for("the write to wait for the disk", || stuck_threads(broker.pid()) > 0);
    let pid = broker.pid();
    let reaper = std::thread::spawn(move || broker.kill());
    wait_for("the kill to reach the process", || {
        fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|status| status.contains("Z (zombie)"))
            || stuck_threads(pid) > 0
    });
    assert!(is_locked(&lock), "its write has not landed, so its lock is not free");
    // The next broker waits for it; it does not open the log under the late write.
    let next = Broker::launch(folder.path(), &settings);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(fs::metadata(&log).expect("the log").len(), before);
    freezer.thaw();
    reaper.join().expect("the kill");
    let next = next.answering();
    let mut client = next.client().expect("a connection");
    let found = read(&mut client, "t", 0);
    assert!(found == ["acknowledged"] || found == ["acknowledged", "in doubt"], "{found:?}");
    let owned = fs::read(&log).expect("the log");
    assert_eq!(read(&mut client, "t", 0), found);
    assert!(fs::read(&log).expect("the log") == owned, "no byte changes in a log the new process owns");
    next.stop();
}

fn wait_for(what: &str, mut happened: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !happened() {
        assert!(Instant::now() < deadline, "no sign of {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Threads in a wait that no signal ends.
fn stuck_threads(pid: u32) -> usize {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return 0 };
    tasks
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("stat")).ok())
        .filter(|stat| stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('D')))
        .count()
}
