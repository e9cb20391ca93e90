//! Physical limits (RIG section 9): what memory, checksum, loopback and disk of this machine allow.
//!
//! In: the cores, batch size, connections and file counts of the workload, and a time budget. Out: one `Limit` per
//! figure, measured on the workload's own cores: the receiver and all single-threaded work on the broker's, the other
//! end of a socket on the generator's. A limit that cannot be measured here keeps its row with an empty value.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::interrupt;
use super::page_cache::{Bound, Moved, ScratchFiles, growing_write, window_write};
use crate::reactor::limits::{DirectWriter, send_file};
use crate::reactor::process::{pin_current_thread, thread_cpu_ns};
use crate::reactor::ring::{RingEngine, RingOptions};
use crate::reactor::{Disk, Done, Engine, OpenMode, Operation, OsDisk, Socket, Token, Wait};
use crate::report::run::Limit;
use crate::report::statistics::new_hdr;

/// A produce response without errors, as small as it gets.
const ANSWER_BYTES: usize = 60;
/// Larger than any cache level, small enough to be touched in time on a machine that pays for each new page.
const MEMORY_BYTES: usize = 128 << 20;
/// Written over again and again, past any cache of the device's that matters.
const DIRECT_FILE_BYTES: u64 = 64 << 20;

/// What to measure.
#[derive(Clone, Debug)]
pub struct Measure {
    pub broker_cores: Vec<usize>,
    pub load_cores: Vec<usize>,
    pub batch_bytes: usize,
    pub connections: usize,
    /// File counts of the sweep; the first and the largest are measured.
    pub files: Vec<u64>,
    pub directory: PathBuf,
    /// For all of it together.
    pub budget: Duration,
    /// `start`, `middle`, `end`.
    pub pass: &'static str,
}

/// Weights of the measurements in the budget.
const SHARES: u32 = 20;

/// Measures everything; `say` is told what comes next.
pub fn measure(plan: &Measure, say: &mut dyn FnMut(&str)) -> Vec<Limit> {
    let share = plan.budget / SHARES;
    let batch = plan.batch_bytes as u64;
    let mut limits = Limits { plan, found: Vec::new() };
    let mut files: Vec<u64> = plan.files.iter().copied().min().into_iter().collect();
    files.extend(plan.files.iter().copied().max().filter(|max| Some(max) != files.first()));

    say("memory and checksum");
    let small = l2_bytes() / 2;
    limits.rate("memcpy-l2", None, small as u64, on(&plan.broker_cores, || Ok(memcpy(small, share))));
    limits.rate(
        "memcpy-memory",
        None,
        MEMORY_BYTES as u64,
        on(&plan.broker_cores, || Ok(memcpy(MEMORY_BYTES, share))),
    );
    limits.rate("crc32c", None, batch, on(&plan.broker_cores, || Ok(checksum(plan.batch_bytes, share))));

    say("loopback");
    limits.rate("loopback-one-way", None, batch, one_way(plan, share));
    limits.rate("loopback-one-way-ring", None, batch, one_way_ring(plan, share));
    let pings = ping_pong(plan, share);
    limits.latency("loopback-ping-pong", batch, &pings);

    say("files to sockets");
    limits.rate("sendfile", None, batch, file_to_socket(plan, 2 * share, true));
    limits.rate("read-send", None, batch, file_to_socket(plan, share, false));

    for count in files {
        say("disk");
        let scratch = |name| ScratchFiles::create(&plan.directory, name, count as usize);
        let bound = Bound { bytes: 1 << 30, time: share };
        let piece = plan.batch_bytes;
        let cores = &plan.broker_cores;
        let growing = on(cores, || growing_write(&scratch("growing")?, piece, bound));
        limits.rate("pwrite-grow", Some(count), batch, growing);
        let window = on(cores, || window_write(&scratch("window")?, piece, bound));
        limits.rate("pwrite-window", Some(count), batch, window);
    }
    for depth in [1, 8] {
        let name = if depth == 1 { "direct-write-depth-1" } else { "direct-write-depth-8" };
        limits.rate(name, Some(1), batch, on(&plan.broker_cores, || direct(plan, depth, share)));
    }
    say("flush");
    for batches in [1, 8, 64] {
        let flushes = on(&plan.broker_cores, || flush_latency(plan, batches, share));
        limits.latency(
            if batches == 1 { "fdatasync" } else { "fdatasync-group" },
            batch * batches as u64,
            &flushes,
        );
    }
    limits.found
}

/// The disk rows as jobs for `fio`, to be run in an empty directory of the file system under test.
pub fn fio_jobs(plan: &Measure) -> String {
    let core = plan.broker_cores.first().copied().unwrap_or(0);
    let seconds = (plan.budget / SHARES).as_secs_f64().ceil().max(1.0);
    let bytes = plan.batch_bytes;
    let direct = bytes.next_multiple_of(crate::reactor::limits::DIRECT_ALIGNMENT);
    let mut text = format!(
        "[global]\nrw=write\nthread\ntime_based\nruntime={seconds:.0}\nsize=1g\ncpus_allowed={core}\nstonewall\n"
    );
    let mut files: Vec<u64> = plan.files.clone();
    files.sort_unstable();
    files.dedup();
    for count in [files.first(), files.last().filter(|_| files.len() > 1)].into_iter().flatten() {
        text.push_str(&format!(
            "\n[pwrite-grow-{count}]\nioengine=psync\nbs={bytes}\nnrfiles={count}\nfile_service_type=roundrobin\n"
        ));
    }
    for depth in [1, 8] {
        text.push_str(&format!(
            "\n[direct-write-depth-{depth}]\nioengine=io_uring\ndirect=1\niodepth={depth}\nbs={direct}\n"
        ));
    }
    text.push_str(&format!("\n[fdatasync]\nioengine=psync\nbs={bytes}\nfdatasync=1\n"));
    text
}

struct Limits<'a> {
    plan: &'a Measure,
    found: Vec<Limit>,
}

impl Limits<'_> {
    fn rate(&mut self, name: &str, files: Option<u64>, bytes: u64, moved: io::Result<Moved>) {
        let moved = moved.ok();
        self.found.push(Limit {
            name: name.to_owned(),
            files,
            bytes: Some(bytes),
            pass: Some(self.plan.pass.to_owned()),
            value: moved.and_then(|m| m.bytes_per_s()),
            unit: "B/s".to_owned(),
            cpu_ns_per_kib: moved.and_then(|m| m.cpu_ns_per_kib()),
        });
    }

    /// Two rows: median and p99, the latter only with enough samples behind it.
    fn latency(&mut self, name: &str, bytes: u64, latencies: &io::Result<Latencies>) {
        let latencies = latencies.as_ref().ok();
        let rows = [("p50", 0.5), ("p99", 0.99)];
        for (suffix, quantile) in rows {
            let value = latencies.and_then(|l| {
                let above = l.histogram.len() as f64 * (1.0 - quantile);
                (above >= 10.0).then(|| l.histogram.value_at_quantile(quantile) as f64)
            });
            self.found.push(Limit {
                name: format!("{name}-{suffix}"),
                files: None,
                bytes: Some(bytes),
                pass: Some(self.plan.pass.to_owned()),
                value,
                unit: "ns".to_owned(),
                cpu_ns_per_kib: latencies.map(|l| l.cpu_ns as f64 / (l.bytes.max(1) as f64 / 1024.0)),
            });
        }
    }
}

/// A distribution in ns, and what its requests cost.
struct Latencies {
    histogram: Histogram<u64>,
    cpu_ns: u64,
    bytes: u64,
}

impl Latencies {
    fn new() -> Latencies {
        Latencies { histogram: new_hdr(), cpu_ns: 0, bytes: 0 }
    }
}

impl Latencies {
    fn record(&mut self, asked: Instant) {
        let ns = asked.elapsed().as_nanos() as u64;
        self.histogram.record(ns).expect("a histogram that resizes takes every value");
    }
}

/// Runs `work` on a thread of its own that is pinned to `cores`.
fn on<T: Send>(cores: &[usize], work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            pin_current_thread(cores)?;
            work()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn l2_bytes() -> usize {
    let text = super::environment::text("/sys/devices/system/cpu/cpu0/cache/index2/size");
    let kib = text.and_then(|text| text.strip_suffix('K')?.parse::<usize>().ok());
    kib.unwrap_or(1024) << 10
}

/// Copies one half of a buffer over the other, again and again.
fn memcpy(bytes: usize, time: Duration) -> Moved {
    let half = bytes / 2;
    let mut buffer = vec![1u8; 2 * half];
    let (from, to) = buffer.split_at_mut(half);
    let mut moved = Moved::default();
    let (started, cpu) = (Instant::now(), thread_cpu_ns());
    while moved.elapsed < time {
        to.copy_from_slice(from);
        std::hint::black_box(&mut *to);
        moved.bytes += half as u64;
        moved.elapsed = started.elapsed();
    }
    moved.cpu_ns = thread_cpu_ns() - cpu;
    moved
}

fn checksum(bytes: usize, time: Duration) -> Moved {
    let buffer: Vec<u8> = (0..bytes).map(|i| (i * 31) as u8).collect();
    let mut moved = Moved::default();
    let (started, cpu) = (Instant::now(), thread_cpu_ns());
    while moved.elapsed < time {
        for _ in 0..64 {
            std::hint::black_box(crc32c::crc32c(std::hint::black_box(&buffer)));
        }
        moved.bytes += 64 * bytes as u64;
        moved.elapsed = started.elapsed();
    }
    moved.cpu_ns = thread_cpu_ns() - cpu;
    moved
}

/// Connected pairs over loopback: ends for the generator's side and for the broker's.
fn pairs(count: usize) -> io::Result<Vec<(TcpStream, TcpStream)>> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let address = listener.local_addr()?;
    let pair = |_| {
        let near = TcpStream::connect(address)?;
        let (far, _) = listener.accept()?;
        near.set_nodelay(true)?;
        far.set_nodelay(true)?;
        Ok((near, far))
    };
    (0..count).map(pair).collect()
}

/// N connections, one blocking writer and one blocking reader each: writers on the generator's cores. CPU is the
/// readers'.
fn one_way(plan: &Measure, time: Duration) -> io::Result<Moved> {
    let pairs = pairs(plan.connections.max(1))?;
    let stop = AtomicBool::new(false);
    let size = plan.batch_bytes;
    std::thread::scope(|scope| {
        let mut readers = Vec::new();
        let started = Instant::now();
        for (mut near, mut far) in pairs {
            let stop = &stop;
            scope.spawn(move || {
                // A thread that cannot be pinned measures another machine than the broker's; the reader says so.
                if pin_current_thread(&plan.load_cores).is_err() {
                    return;
                }
                let piece = vec![7; size];
                while !stop.load(Ordering::Relaxed) && near.write_all(&piece).is_ok() {}
            });
            readers.push(scope.spawn(move || -> io::Result<Moved> {
                pin_current_thread(&plan.broker_cores)?;
                let mut buffer = vec![0; size.max(64 << 10)];
                let mut moved = Moved::default();
                let cpu = thread_cpu_ns();
                loop {
                    let count = far.read(&mut buffer)?;
                    moved.elapsed = started.elapsed();
                    moved.cpu_ns = thread_cpu_ns() - cpu;
                    moved.bytes += count as u64;
                    if count == 0 {
                        return Ok(moved);
                    }
                }
            }));
        }
        std::thread::sleep(time);
        stop.store(true, Ordering::Relaxed);
        let mut sum = Moved::default();
        for reader in readers {
            let moved = reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            sum.bytes += moved.bytes;
            sum.cpu_ns += moved.cpu_ns;
            sum.elapsed = sum.elapsed.max(moved.elapsed);
        }
        Ok(sum)
    })
}

/// The same with one reader for all connections, on a ring.
fn one_way_ring(plan: &Measure, time: Duration) -> io::Result<Moved> {
    let pairs = pairs(plan.connections.max(1))?;
    let stop = AtomicBool::new(false);
    let size = plan.batch_bytes;
    let (nears, fars): (Vec<TcpStream>, Vec<TcpStream>) = pairs.into_iter().unzip();
    std::thread::scope(|scope| {
        for mut near in nears {
            let stop = &stop;
            scope.spawn(move || {
                if pin_current_thread(&plan.load_cores).is_err() {
                    return;
                }
                let piece = vec![7; size];
                while !stop.load(Ordering::Relaxed) && near.write_all(&piece).is_ok() {}
            });
        }
        let reader = scope.spawn(move || -> io::Result<Moved> {
            pin_current_thread(&plan.broker_cores)?;
            let mut engine = RingEngine::new(RingOptions::default())?;
            let sockets: Vec<Socket> = fars.into_iter().map(|far| Socket::from_fd(far.into())).collect();
            for (number, socket) in sockets.iter().enumerate() {
                engine.submit(Token(number as u64), Operation::Receive { socket: socket.clone() });
            }
            let mut moved = Moved::default();
            let mut done = Vec::new();
            let (started, cpu) = (Instant::now(), thread_cpu_ns());
            let mut open = sockets.len();
            while open > 0 {
                engine.turn(Wait::Forever, &mut done)?;
                for completion in done.drain(..) {
                    let Done::Received(received) = completion.done else { continue };
                    let count = received?.len();
                    if count == 0 {
                        open -= 1;
                        continue;
                    }
                    moved.bytes += count as u64;
                    let socket = sockets[completion.token.0 as usize].clone();
                    engine.submit(completion.token, Operation::Receive { socket });
                }
                moved.elapsed = started.elapsed();
            }
            moved.cpu_ns = thread_cpu_ns() - cpu;
            Ok(moved)
        });
        std::thread::sleep(time);
        stop.store(true, Ordering::Relaxed);
        reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// One connection, one request in flight: a batch in, a short answer out. The floor of every produce latency.
fn ping_pong(plan: &Measure, time: Duration) -> io::Result<Latencies> {
    let (mut near, mut far) = pairs(1)?.remove(0);
    let size = plan.batch_bytes;
    std::thread::scope(|scope| {
        let server = scope.spawn(move || -> io::Result<u64> {
            pin_current_thread(&plan.broker_cores)?;
            let (mut request, answer) = (vec![0; size], [0; ANSWER_BYTES]);
            let cpu = thread_cpu_ns();
            while far.read_exact(&mut request).is_ok() {
                far.write_all(&answer)?;
            }
            Ok(thread_cpu_ns() - cpu)
        });
        let client = scope.spawn(move || -> io::Result<Latencies> {
            pin_current_thread(&plan.load_cores)?;
            let (request, mut answer) = (vec![0; size], [0; ANSWER_BYTES]);
            let mut latencies = Latencies::new();
            let started = Instant::now();
            while started.elapsed() < time && !interrupt::requested() {
                let asked = Instant::now();
                near.write_all(&request)?;
                near.read_exact(&mut answer)?;
                latencies.record(asked);
                latencies.bytes += size as u64;
            }
            Ok(latencies)
        });
        let latencies = client.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let cpu_ns = server.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        latencies.map(|latencies| Latencies { cpu_ns, ..latencies })
    })
}

/// A file that is resident, sent in pieces of the batch size: by `sendfile`, or by read and send.
fn file_to_socket(plan: &Measure, time: Duration, direct: bool) -> io::Result<Moved> {
    const FILE_BYTES: u64 = 64 << 20;
    let scratch = ScratchFiles::create(&plan.directory, "served", 1)?;
    growing_write(&scratch, 1 << 20, Bound { bytes: FILE_BYTES, time: Duration::from_secs(10) })?;
    let file = File::open(scratch.path(0))?;
    let length = file.metadata()?.len();
    let size = (plan.batch_bytes as u64).min(length);
    let (mut near, mut far) = pairs(1)?.remove(0);
    std::thread::scope(|scope| {
        let reader = scope.spawn(move || -> io::Result<()> {
            pin_current_thread(&plan.load_cores)?;
            let mut buffer = vec![0; 256 << 10];
            while near.read(&mut buffer)? > 0 {}
            Ok(())
        });
        let sender = scope.spawn(move || -> io::Result<Moved> {
            pin_current_thread(&plan.broker_cores)?;
            let mut buffer = vec![0; size as usize];
            let mut moved = Moved::default();
            let mut position = 0;
            let (started, cpu) = (Instant::now(), thread_cpu_ns());
            while moved.elapsed < time {
                if position + size > length {
                    position = 0;
                }
                let mut done = 0;
                if direct {
                    while done < size {
                        done += send_file(&far, &file, position + done, (size - done) as usize)? as u64;
                    }
                } else {
                    std::os::unix::fs::FileExt::read_exact_at(&file, &mut buffer, position)?;
                    far.write_all(&buffer)?;
                }
                position += size;
                moved.bytes += size;
                moved.elapsed = started.elapsed();
            }
            moved.cpu_ns = thread_cpu_ns() - cpu;
            Ok(moved)
        });
        let moved = sender.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let read = reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        read.and(moved)
    })
}

fn direct(plan: &Measure, depth: usize, time: Duration) -> io::Result<Moved> {
    let scratch = ScratchFiles::create(&plan.directory, "direct", 0)?;
    let mut writer = DirectWriter::open(&scratch.path(0), plan.batch_bytes, depth, DIRECT_FILE_BYTES)?;
    let mut moved = Moved::default();
    let (started, cpu) = (Instant::now(), thread_cpu_ns());
    while started.elapsed() < time {
        moved.bytes += writer.step()?;
    }
    moved.bytes += writer.settle()?;
    moved.elapsed = started.elapsed();
    moved.cpu_ns = thread_cpu_ns() - cpu;
    Ok(moved)
}

/// Appends a group of batches and flushes it; the flush alone is timed.
fn flush_latency(plan: &Measure, batches: usize, time: Duration) -> io::Result<Latencies> {
    let scratch = ScratchFiles::create(&plan.directory, "flushed", 0)?;
    let file = OsDisk.open(&scratch.path(0), OpenMode::CreateNew)?;
    let group = vec![3; plan.batch_bytes * batches];
    let mut latencies = Latencies::new();
    let (started, cpu) = (Instant::now(), thread_cpu_ns());
    while started.elapsed() < time && !interrupt::requested() {
        OsDisk.write_all_at(&file, latencies.bytes, &group)?;
        latencies.bytes += group.len() as u64;
        let asked = Instant::now();
        OsDisk.sync_data(&file)?;
        latencies.record(asked);
    }
    latencies.cpu_ns = thread_cpu_ns() - cpu;
    Ok(latencies)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_has_a_row_and_those_that_need_nothing_special_have_a_value() {
        let folder = tempfile::tempdir().unwrap();
        let cores = crate::reactor::pin::usable_cores();
        let plan = Measure {
            broker_cores: vec![cores[0]],
            load_cores: vec![*cores.last().unwrap()],
            batch_bytes: 16 << 10,
            connections: 2,
            files: vec![1, 3],
            directory: folder.path().to_owned(),
            budget: Duration::from_millis(40 * u64::from(SHARES)),
            pass: "start",
        };
        let limits = measure(&plan, &mut |_| {});
        for name in [
            "memcpy-l2",
            "memcpy-memory",
            "crc32c",
            "loopback-one-way",
            "sendfile",
            "read-send",
            "pwrite-grow",
        ] {
            let row = limits.iter().find(|limit| limit.name == name).unwrap();
            assert!(row.value.is_some_and(|value| value > 0.0), "{name}");
        }
        assert_eq!(limits.iter().filter(|limit| limit.name == "pwrite-window").count(), 2);
        assert!(limits.iter().any(|limit| limit.name == "direct-write-depth-8"));
        assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none());
    }
}
