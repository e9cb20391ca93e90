//! What an acknowledged record survives, and which starts are refused: a real broker, killed and damaged.
//!
//! The producers here keep their own books: what was acknowledged, what is in doubt. After each restart the log
//! must hold every acknowledged record once, in order, and nothing that was never sent.

mod outside;

use outside::batch::{self, Writer};
use outside::client::Client;
use outside::process::{Broker, binary, free_port};
use outside::{Folder, Numbers, is_root, skip};
use std::collections::{BTreeSet, VecDeque};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const NOT_YET: &[i16] = &[3, 5, 6, 7]; // a broker that just started may not lead yet
const STORAGE_ERROR: i16 = 56;

// ---- kill -9 ----------------------------------------------------------------------------------

/// An idempotent producer of one partition. Record n holds the number n, and lands at offset n.
struct Series {
    topic: &'static str,
    partition: i32,
    producer_id: i64,
    next: u64,
    acknowledged: u64,
    in_doubt: VecDeque<(u64, Vec<u8>)>,
    numbers: Numbers,
}

impl Series {
    /// Sends with five requests in flight until `stop`, then waits for the answers. A broken connection ends it:
    /// what is in doubt then is sent again, with the same sequence numbers, by the next call.
    fn run(&mut self, address: SocketAddr, stop: &AtomicBool) -> Result<(), String> {
        // The broker may be gone at any moment: that is the point of the test, so only answers are judged.
        let Ok(mut client) = Client::connect(address) else { return Ok(()) };
        let mut unsent = 0;
        let mut in_flight = 0;
        loop {
            while in_flight < 5 {
                if unsent == self.in_doubt.len() {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    self.make_batch();
                }
                let (_, bytes) = &self.in_doubt[unsent];
                if client.send_produce(self.topic, self.partition, -1, bytes).is_err() {
                    return Ok(());
                }
                unsent += 1;
                in_flight += 1;
            }
            if in_flight == 0 {
                return Ok(());
            }
            let Ok(answer) = client.receive_produced() else { return Ok(()) };
            in_flight -= 1;
            if NOT_YET.contains(&answer.code) {
                std::thread::sleep(Duration::from_millis(20));
                return self.run(address, stop);
            }
            let (first, _) = self.in_doubt.front().expect("an answer belongs to a batch in doubt");
            if answer.code != 0 || answer.base_offset != *first as i64 {
                return Err(format!(
                    "{}-{}: the batch of record {first} got {answer:?}",
                    self.topic, self.partition
                ));
            }
            self.in_doubt.pop_front();
            unsent -= 1;
            self.acknowledged = self.in_doubt.front().map_or(self.next, |(first, _)| *first);
        }
    }

    fn make_batch(&mut self) {
        let count = 1 + self.numbers.below(20);
        let first = self.next;
        let values: Vec<Vec<u8>> =
            (first..first + count).map(|n| value(n, self.numbers.below(300))).collect();
        let writer = Writer { id: self.producer_id, epoch: 0, sequence: first as i32 };
        self.in_doubt.push_back((first, batch::build(writer, now_ms(), &values)));
        self.next += count;
    }

    /// Reads from record `from` on. Out: how many records the log holds.
    fn verify(&self, client: &mut Client, from: u64) -> u64 {
        let at = format!("{}-{}", self.topic, self.partition);
        let batches = client
            .read_batches(self.topic, self.partition, from as i64)
            .unwrap_or_else(|e| panic!("{at}: {e}"));
        let mut expected = batches.first().map_or(from, |first| first.base_offset as u64);
        assert!(expected <= from, "{at}: record {from} is not there: the log begins at {expected}");
        for record in batches.iter().flat_map(|batch| &batch.records) {
            let found = record.value.as_deref().map(number);
            assert_eq!(
                (record.offset as u64, found),
                (expected, Some(expected)),
                "{at}: lost, double or out of order"
            );
            expected += 1;
        }
        assert!(
            expected >= self.acknowledged,
            "{at}: {} records acknowledged, {expected} there",
            self.acknowledged
        );
        assert!(expected <= self.next, "{at}: {} records sent, {expected} there", self.next);
        expected
    }
}

fn value(n: u64, filling: u64) -> Vec<u8> {
    let mut value = n.to_be_bytes().to_vec();
    value.resize(8 + filling as usize, n as u8);
    value
}

fn number(value: &[u8]) -> u64 {
    u64::from_be_bytes(value[..8].try_into().expect("eight bytes of number"))
}

#[test]
fn kill_nine_under_load_loses_nothing_that_was_acknowledged() {
    const KILLS: usize = 20;
    const PARTITIONS: i32 = 4;
    let settings: &[(&str, &str)] = &[("log.segment.bytes", "262144")];
    let folder = Folder::new("kill-nine");
    let mut numbers = Numbers::seeded("kill_nine");
    let broker = Broker::start(folder.path(), settings);
    let mut client = broker.client().expect("a connection");
    assert_eq!(client.create_topic("series", PARTITIONS, &[]).expect("create"), 0);
    let mut producer_ids = BTreeSet::new();
    let mut all: Vec<Series> = (0..PARTITIONS)
        .map(|partition| {
            let producer_id = client.new_producer_id().expect("a producer id");
            assert!(producer_ids.insert(producer_id), "producer id {producer_id} was given out twice");
            Series {
                topic: "series",
                partition,
                producer_id,
                next: 0,
                acknowledged: 0,
                in_doubt: VecDeque::new(),
                numbers: Numbers::from(numbers.below(u64::MAX >> 34)),
            }
        })
        .collect();
    drop(client);

    let mut broker = Some(broker);
    for kill in 0..KILLS {
        let running = broker.take().unwrap_or_else(|| Broker::start(folder.path(), settings));
        let mut client = running.client().expect("a connection");
        for series in &all {
            let from = series.acknowledged.saturating_sub(500); // the whole log is read at the end
            series.verify(&mut client, from);
        }
        let new = client.new_producer_id().expect("a producer id");
        assert!(producer_ids.insert(new), "producer id {new} was given out twice, after {kill} kills");
        let wait = Duration::from_millis(30 + numbers.below(400));
        let before: u64 = all.iter().map(|series| series.acknowledged).sum();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let address = running.address;
            let stop = &stop;
            let workers: Vec<_> =
                all.iter_mut().map(|series| scope.spawn(move || series.run(address, stop))).collect();
            std::thread::sleep(wait);
            running.kill();
            stop.store(true, Ordering::Relaxed);
            for worker in workers {
                worker.join().expect("a producer").expect("answers");
            }
        });
        let now: u64 = all.iter().map(|series| series.acknowledged).sum();
        eprintln!("kill {kill} after {wait:?}: {} acknowledged", now - before);
        if kill % 5 == 4 {
            // A crash while it recovers from a crash.
            let starting = Broker::launch(folder.path(), settings);
            std::thread::sleep(Duration::from_millis(numbers.below(40)));
            starting.kill();
        }
    }

    let last = Broker::start(folder.path(), settings);
    let stop = AtomicBool::new(true); // nothing new: only what is in doubt
    for series in &mut all {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !series.in_doubt.is_empty() {
            assert!(Instant::now() < deadline, "records stay in doubt");
            series.run(last.address, &stop).expect("answers");
        }
    }
    let mut client = last.client().expect("a connection");
    for series in &all {
        assert!(series.acknowledged > 0, "partition {} took nothing in {KILLS} rounds", series.partition);
        assert_eq!(series.verify(&mut client, 0), series.next, "each record once");
    }
    last.stop();

    // A clean stop changes nothing.
    let again = Broker::start(folder.path(), settings);
    let mut client = again.client().expect("a connection");
    for series in &all {
        assert_eq!(series.verify(&mut client, 0), series.next);
    }
    again.stop();
}

#[test]
fn topics_made_and_deleted_before_a_kill_stay_made_and_deleted() {
    let folder = Folder::new("topics");
    let mut wanted = BTreeSet::new();
    for round in 0..8 {
        let broker = Broker::start(folder.path(), &[]);
        let mut client = broker.client().expect("a connection");
        let known: BTreeSet<String> = client.topics().expect("topics").into_keys().collect();
        assert_eq!(known, wanted, "after {round} kills");
        let name = format!("topic-{round}");
        assert_eq!(client.create_topic(&name, 3, &[("segment.bytes", "100000")]).expect("create"), 0);
        wanted.insert(name);
        if round % 2 == 1 {
            let gone = format!("topic-{}", round - 1);
            assert_eq!(client.delete_topic(&gone).expect("delete"), 0);
            wanted.remove(&gone);
        }
        broker.kill();
    }
    let broker = Broker::start(folder.path(), &[]);
    let mut client = broker.client().expect("a connection");
    for (name, partitions) in client.topics().expect("topics") {
        assert!(wanted.contains(&name) && partitions == 3, "{name} has {partitions} partitions");
        let produced = client.produce(&name, 2, &one_batch(&["after"])).expect("produce");
        assert_eq!((produced.code, produced.base_offset), (0, 0), "{name}");
    }
    broker.stop();
}

#[test]
fn a_recreated_topic_holds_nothing_of_the_old_one_even_after_a_kill() {
    let folder = Folder::new("recreated");
    let broker = Broker::start(folder.path(), &[]);
    let mut client = broker.client().expect("a connection");
    assert_eq!(client.create_topic("again", 1, &[]).expect("create"), 0);
    assert_eq!(client.produce("again", 0, &one_batch(&["old", "old"])).expect("produce").code, 0);
    assert_eq!(client.delete_topic("again").expect("delete"), 0);
    assert_eq!(client.create_topic("again", 1, &[]).expect("create"), 0);
    assert_eq!(client.produce("again", 0, &one_batch(&["new"])).expect("produce").base_offset, 0);
    broker.kill();
    let broker = Broker::start(folder.path(), &[]);
    let mut client = broker.client().expect("a connection");
    assert_eq!(values(&mut client, "again"), ["new"]);
    broker.stop();
}

// ---- damage -----------------------------------------------------------------------------------

#[test]
fn a_torn_or_foreign_tail_is_cut_and_what_was_whole_is_kept() {
    let whole = one_batch(&["never acknowledged"]);
    let mut wrong_checksum = whole.clone();
    *wrong_checksum.last_mut().expect("a batch has bytes") ^= 1;
    let mut wrong_offset = whole.clone();
    wrong_offset[..8].copy_from_slice(&1i64.to_be_bytes()); // an offset the log has passed
    let mut huge_length = whole.clone();
    huge_length[8..12].copy_from_slice(&i32::MAX.to_be_bytes());
    let tails: &[(&str, Vec<u8>)] = &[
        ("zeros", vec![0; 4096]),
        ("one byte", vec![7]),
        ("noise", (0..5000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect()),
        ("half a header", whole[..30].to_vec()),
        ("all but the last byte", whole[..whole.len() - 1].to_vec()),
        ("wrong checksum", wrong_checksum),
        ("offset of the past", wrong_offset),
        ("length beyond the file", huge_length),
    ];
    let folder = Folder::new("torn");
    let mut wanted: Vec<String> = Vec::new();
    let broker = Broker::start(folder.path(), &[]);
    assert_eq!(broker.client().and_then(|mut c| c.create_topic("torn", 1, &[])).expect("create"), 0);
    broker.stop();
    for (name, tail) in tails {
        let broker = Broker::start(folder.path(), &[]);
        let mut client = broker.client().expect("a connection");
        for i in 0..3 {
            let text = format!("{name} {i}");
            let produced = client.produce("torn", 0, &one_batch(&[&text])).expect("produce");
            assert_eq!((produced.code, produced.base_offset), (0, wanted.len() as i64), "before {name}");
            wanted.push(text);
        }
        broker.kill();
        let segment = active_segment(&folder.join("data/torn-0"));
        let before = fs::metadata(&segment).expect("the active segment").len();
        append(&segment, tail);

        let broker = Broker::start(folder.path(), &[]);
        let mut client = broker.client().expect("a connection");
        assert_eq!(values(&mut client, "torn"), wanted, "after {name}");
        let after = fs::metadata(&segment).expect("the active segment").len();
        assert_eq!(after, before, "{name}: the file ends where its last whole batch ends");
        broker.stop();
    }
}

#[test]
fn damage_inside_the_last_batch_cuts_that_batch_and_no_other() {
    let folder = Folder::new("inside");
    let broker = Broker::start(folder.path(), &[]);
    let mut client = broker.client().expect("a connection");
    assert_eq!(client.create_topic("torn", 1, &[]).expect("create"), 0);
    for text in ["first", "second", "third"] {
        assert_eq!(client.produce("torn", 0, &one_batch(&[text])).expect("produce").code, 0);
    }
    broker.kill();
    let segment = active_segment(&folder.join("data/torn-0"));
    let mut bytes = fs::read(&segment).expect("the active segment");
    let at = bytes.len() - 3;
    bytes[at] ^= 0x40;
    fs::write(&segment, &bytes).expect("the active segment");

    let broker = Broker::start(folder.path(), &[]);
    let mut client = broker.client().expect("a connection");
    assert_eq!(values(&mut client, "torn"), ["first", "second"]);
    let produced = client.produce("torn", 0, &one_batch(&["again"])).expect("produce");
    assert_eq!(
        (produced.code, produced.base_offset),
        (0, 2),
        "the next record takes the offset that is free"
    );
    assert_eq!(values(&mut client, "torn"), ["first", "second", "again"]);
    broker.stop();
}

#[test]
fn indexes_and_checkpoints_that_are_lost_or_damaged_are_made_again() {
    let settings: &[(&str, &str)] = &[("log.segment.bytes", "20000"), ("log.index.interval.bytes", "500")];
    let folder = Folder::new("indexes");
    let mut wanted = Vec::new();
    let broker = Broker::start(folder.path(), settings);
    assert_eq!(broker.client().and_then(|mut c| c.create_topic("indexed", 1, &[])).expect("create"), 0);
    broker.stop();
    let data = folder.join("data");
    type Damage = fn(&Path);
    let damages: &[(&str, Damage)] = &[
        ("all indexes are gone", |data| {
            files_ending(data, &["index"]).iter().for_each(|f| fs::remove_file(f).expect("remove"))
        }),
        ("all indexes are noise", |data| {
            files_ending(data, &["index"]).iter().for_each(|f| fs::write(f, [0xa5; 100]).expect("write"));
        }),
        ("snapshots are gone", |data| {
            files_ending(data, &["snapshot"]).iter().for_each(|f| fs::remove_file(f).expect("remove"))
        }),
        ("snapshots are noise", |data| {
            files_ending(data, &["snapshot"]).iter().for_each(|f| fs::write(f, [0x5a; 33]).expect("write"));
        }),
        ("checkpoints are gone", |data| {
            for name in [
                "recovery-point-offset-checkpoint",
                "replication-offset-checkpoint",
                "log-start-offset-checkpoint",
            ] {
                let _ = fs::remove_file(data.join(name)); // not each exists at each moment
            }
        }),
    ];
    for (name, damage) in damages {
        let broker = Broker::start(folder.path(), settings);
        let mut client = broker.client().expect("a connection");
        for i in 0..60 {
            let text = format!("{name} {i} {}", "x".repeat(1000));
            assert_eq!(client.produce("indexed", 0, &one_batch(&[&text])).expect("produce").code, 0);
            wanted.push(text);
        }
        broker.kill();
        damage(&data);
        let broker = Broker::start(folder.path(), settings);
        let mut client = broker.client().expect("a connection");
        assert_eq!(values(&mut client, "indexed"), wanted, "after {name}");
        let middle = wanted.len() as i64 / 2;
        let found = client.fetch("indexed", 0, middle, 500).expect("fetch");
        let first = found.batches.first().expect("records from the middle");
        assert!(
            first.base_offset <= middle && middle <= first.last_offset,
            "after {name}: {first:?} for {middle}"
        );
        broker.stop();
    }
}

// ---- refusals ---------------------------------------------------------------------------------

#[test]
fn a_second_broker_on_the_same_directory_is_refused_and_the_first_goes_on() {
    let folder = Folder::new("locked");
    let data = folder.join("data").display().to_string();
    let first = Broker::start(&folder.join("first"), &[("log.dirs", &data)]);
    let second = Broker::refused(&folder.join("second"), &[("log.dirs", &data)]);
    assert_eq!(second.status.code(), Some(4), "{}", second.log);
    assert!(second.log.contains(&data), "the directory is not named:\n{}", second.log);
    let mut client = first.client().expect("a connection");
    assert_eq!(client.create_topic("still-here", 1, &[]).expect("create"), 0);
    first.stop();
    // The lock ends with its owner.
    Broker::start(&folder.join("second"), &[("log.dirs", &data)]).stop();
}

#[test]
fn a_directory_of_another_broker_id_is_refused_with_both_ids() {
    let folder = Folder::new("other-id");
    Broker::start(folder.path(), &[("broker.id", "71")]).stop();
    let refused = Broker::refused(folder.path(), &[("broker.id", "82")]);
    assert_eq!(refused.status.code(), Some(4), "{}", refused.log);
    for part in ["71", "82", "meta.properties"] {
        assert!(refused.log.contains(part), "{part} is not named:\n{}", refused.log);
    }
    let mine = fs::read_to_string(folder.join("data/meta.properties")).expect("meta.properties");
    assert!(mine.contains("broker.id=71"), "it was overwritten: {mine}");
    Broker::start(folder.path(), &[("broker.id", "71")]).stop();
}

#[test]
fn a_port_in_use_is_said_with_its_address() {
    let folder = Folder::new("port");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let refused = Broker::refused(folder.path(), &[("listeners", &format!("PLAINTEXT://{address}"))]);
    assert!(!refused.status.success(), "{}", refused.log);
    assert!(refused.status.code().is_some(), "ended by a signal: {}", refused.log);
    assert!(refused.log.contains(&address), "{address} is not named:\n{}", refused.log);
    assert!(!refused.log.contains("panicked at"), "{}", refused.log);
}

#[test]
fn a_directory_that_cannot_be_written_is_said_with_its_path() {
    let folder = Folder::new("read-only");
    let data = folder.join("data");
    fs::create_dir(&data).expect("create");
    let _mounted = if is_root() {
        match Mount::tmpfs(&data, "ro,size=1m") {
            Ok(mounted) => Some(mounted),
            Err(why) => return skip("a_directory_that_cannot_be_written_is_said_with_its_path", &why),
        }
    } else {
        let read_only = std::os::unix::fs::PermissionsExt::from_mode(0o555);
        fs::set_permissions(&data, read_only).expect("permissions");
        None
    };
    let refused = Broker::refused(folder.path(), &[]);
    assert!(refused.status.code().is_some_and(|code| code != 0), "{}", refused.log);
    assert!(refused.log.contains(&data.display().to_string()), "the path is not named:\n{}", refused.log);
    assert!(!refused.log.contains("panicked at"), "{}", refused.log);
}

#[test]
fn a_file_in_place_of_the_directory_is_said_with_its_path() {
    let folder = Folder::new("a-file");
    let path = folder.join("data");
    fs::write(&path, "not a directory").expect("write");
    let refused = Broker::refused(folder.path(), &[]);
    assert!(refused.status.code().is_some_and(|code| code != 0), "{}", refused.log);
    assert!(refused.log.contains(&path.display().to_string()), "the path is not named:\n{}", refused.log);
    assert_eq!(fs::read_to_string(&path).expect("read"), "not a directory");
}

#[test]
fn a_bad_settings_file_reports_all_its_problems_with_their_lines() {
    let folder = Folder::new("settings");
    let path = folder.join("server.properties");
    let data = folder.join("data").display().to_string();
    let text = format!(
        "broker.id=1\nlog.dirs={data}\nnum.io.threads=many\nlisteners=PLAINTEXT://127.0.0.1:{}\nlog.segment.bytes=3\n",
        free_port()
    );
    fs::write(&path, text).expect("write");
    let done = Command::new(binary()).arg("broker").arg(&path).output().expect("the binary");
    let said = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(2), "{said}");
    for part in ["server.properties:3", "num.io.threads", "many", "server.properties:5", "log.segment.bytes"]
    {
        assert!(said.contains(part), "{part} is not named:\n{said}");
    }
    assert!(!Path::new(&data).exists(), "a refused start made its directory");
}

// ---- a full disk ------------------------------------------------------------------------------

#[test]
fn a_full_disk_refuses_and_loses_nothing_that_was_acknowledged() {
    const NAME: &str = "a_full_disk_refuses_and_loses_nothing_that_was_acknowledged";
    if !is_root() {
        return skip(NAME, "mounting needs root");
    }
    let folder = Folder::new("full");
    let data = folder.join("data");
    fs::create_dir(&data).expect("create");
    let mounted = match Mount::tmpfs(&data, "size=12m") {
        Ok(mounted) => mounted,
        Err(why) => return skip(NAME, &why),
    };
    let settings: &[(&str, &str)] = &[("log.segment.bytes", "1048576"), ("log.index.size.max.bytes", "4096")];
    let mut broker = Broker::start(folder.path(), settings);
    let mut client = broker.client().expect("a connection");
    assert_eq!(client.create_topic("filling", 1, &[]).expect("create"), 0);
    let mut acknowledged = 0u64;
    let mut refusal = None;
    for n in 0..400 {
        match client.produce("filling", 0, &batch::build(batch::NOBODY, now_ms(), &[value(n, 60_000)])) {
            Ok(answer) if answer.code == 0 => {
                assert_eq!(answer.base_offset, n as i64);
                acknowledged = n + 1;
            }
            Ok(answer) => {
                refusal = Some(answer.code);
                break;
            }
            Err(_) => break, // the last directory is lost: a broker may also end
        }
    }
    assert!((1..400).contains(&acknowledged), "{acknowledged} records of 60 kB fitted into 12 MiB");
    if let Some(code) = refusal {
        assert_eq!(code, STORAGE_ERROR, "the client is told what it is:\n{}", broker.log());
        let mut client = broker.client().expect("it still takes connections");
        let first = client.fetch("filling", 0, 0, 500).expect("fetch");
        assert!(
            first.code == 0 || first.code == STORAGE_ERROR,
            "reads are served or refused, code {}",
            first.code
        );
        broker.kill();
    } else {
        let status = broker.wait(Duration::from_secs(30));
        assert_eq!(status.code(), Some(1), "{}", broker.log());
        assert!(!broker.log().contains("panicked at"), "{}", broker.log());
    }

    mounted.resize("64m");
    let broker = Broker::start(folder.path(), settings);
    let mut client = broker.client().expect("a connection");
    let read = client.read_batches("filling", 0, 0).expect("read");
    let found: Vec<u64> =
        read.iter().flat_map(|b| &b.records).map(|r| number(r.value.as_deref().expect("a value"))).collect();
    assert_eq!(found[..acknowledged as usize], (0..acknowledged).collect::<Vec<_>>());
    let next = found.len() as u64;
    let answer = client
        .produce("filling", 0, &batch::build(batch::NOBODY, now_ms(), &[value(next, 60_000)]))
        .expect("produce");
    assert_eq!(
        (answer.code, answer.base_offset),
        (0, next as i64),
        "with space again, it takes records again"
    );
    broker.stop();
}

/// Brokers forget idle producers and old segments by the records' own times.
fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_millis() as i64
}

// ---- ways to look and to harm -----------------------------------------------------------------

fn one_batch(texts: &[&str]) -> Vec<u8> {
    let values: Vec<Vec<u8>> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    batch::build(batch::NOBODY, now_ms(), &values)
}

/// All values of partition 0, with their offsets checked to count from 0.
fn values(client: &mut Client, topic: &str) -> Vec<String> {
    let batches = client.read_batches(topic, 0, 0).unwrap_or_else(|error| panic!("{topic}: {error}"));
    let mut found = Vec::new();
    for record in batches.into_iter().flat_map(|batch| batch.records) {
        assert_eq!(record.offset, found.len() as i64, "{topic}: offsets count up");
        found.push(String::from_utf8(record.value.expect("a value")).expect("text"));
    }
    found
}

fn active_segment(replica: &Path) -> PathBuf {
    let mut segments: Vec<PathBuf> = fs::read_dir(replica)
        .unwrap_or_else(|error| panic!("{}: {error}", replica.display()))
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|end| end == "log"))
        .collect();
    segments.sort();
    segments.pop().expect("a segment")
}

/// Files of all replicas whose extension ends so: `index` is both indexes.
fn files_ending(data: &Path, ends: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for replica in fs::read_dir(data).expect("the data directory") {
        let replica = replica.expect("an entry").path();
        if !replica.is_dir() {
            continue;
        }
        for file in fs::read_dir(&replica).expect("a replica") {
            let file = file.expect("an entry").path();
            let extension = file.extension().unwrap_or_default().to_string_lossy().into_owned();
            if ends.iter().any(|end| extension.ends_with(end)) {
                found.push(file);
            }
        }
    }
    assert!(!found.is_empty(), "no file ends with {ends:?} under {}", data.display());
    found
}

fn append(file: &Path, bytes: &[u8]) {
    let write = || -> io::Result<()> { OpenOptions::new().append(true).open(file)?.write_all(bytes) };
    write().unwrap_or_else(|error| panic!("{}: {error}", file.display()));
}

/// A file system in memory, unmounted with its owner.
struct Mount(PathBuf);

impl Mount {
    fn tmpfs(at: &Path, options: &str) -> Result<Self, String> {
        run(Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(at))?;
        Ok(Self(at.to_path_buf()))
    }

    fn resize(&self, size: &str) {
        let options = format!("remount,size={size}");
        run(Command::new("mount").args(["-o", &options]).arg(&self.0)).expect("remount");
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily: a broker that the test failed on may still hold files for a moment.
        if let Err(why) = run(Command::new("umount").arg("-l").arg(&self.0)) {
            eprintln!("{why}");
        }
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let done = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if done.status.success() {
        Ok(())
    } else {
        Err(format!("{command:?}: {}", String::from_utf8_lossy(&done.stderr).trim()))
    }
}
