//! A follower's log: what a leader has, byte for byte, through changes of the leader, kills and power cuts.

use std::path::Path;
use std::sync::Arc;

use ringdaw::ids::{LeaderEpoch, Offset};
use ringdaw::log::{
    AppendBatch, AppendScratch, FlushScope, FollowError, Followed, Log, LogConfig, Outcome, Read,
};
use ringdaw::producer::RememberedBatch;
use ringdaw::reactor::Disk;
use ringdaw::sim::{Random, SimDisk};
use ringdaw::wire::batch::{self, BatchError};

use crate::outside::java;
use crate::support::*;

const PATH: &str = "/data/t-0";

fn small() -> Arc<LogConfig> {
    Arc::new(LogConfig { segment_bytes: 1500, index_interval_bytes: 150, ..LogConfig::default() })
}

struct Replica {
    disk: SimDisk,
    log: Log,
}

impl Replica {
    fn new(seed: u64) -> Replica {
        let disk = SimDisk::new(seed);
        disk.create_directory(Path::new("/data")).unwrap();
        disk.sync_directory(Path::new("/")).unwrap();
        let log = create(&disk, Path::new(PATH), &small());
        Replica { disk, log }
    }

    /// What it would answer to a fetch of a follower.
    fn answer(&mut self, offset: i64, bytes_max: u32) -> Vec<u8> {
        let limit = self.log.end_offset();
        let read = Read { offset: Offset(offset), bytes_max, limit, at_least_one: true };
        let place = self.log.read(&self.disk, read).unwrap();
        bytes_of(&self.disk, &place)
    }

    fn follow(&mut self, answer: &[u8]) -> Result<Followed, FollowError> {
        self.log.append_as_follower(&self.disk, answer, NOW, &mut AppendScratch::default())
    }

    /// Asks until it has what the leader has.
    fn catch_up(&mut self, leader: &mut Replica, random: &mut Random) {
        if self.log.end_offset() < leader.log.start_offset() {
            self.log.restart_from(&self.disk, leader.log.start_offset(), NOW).unwrap();
        }
        while self.log.end_offset() < leader.log.end_offset() {
            let mut answer = leader.answer(self.log.end_offset().0, random.below(2000) as u32);
            // A leader cuts its answer where the room ends, but for the first batch.
            let first = batch::front(&answer).unwrap().total_bytes;
            let cut = first + random.below((answer.len() - first + 1) as u64) as usize;
            if random.coin() {
                answer.truncate(cut);
            }
            let before = self.log.end_offset();
            let followed = self.follow(&answer).unwrap();
            assert!(followed.bytes > 0 && followed.batches > 0 && followed.bytes <= answer.len());
            // More than the end has moved by, when the first batch began below the start.
            assert!(followed.offsets as i64 >= self.log.end_offset().0 - before.0);
        }
        self.log.advance_high_watermark(leader.log.high_watermark());
        self.log.delete_records_before(leader.log.start_offset()).unwrap();
    }

    /// Cuts off what the leader does not have (contract 5.7, by epochs).
    fn truncate_for(&mut self, leader: &Replica) {
        loop {
            let end = self.log.end_offset().0;
            let Some(latest) = self.log.epochs().latest() else { return };
            let theirs = leader.log.epochs().end_offset_of(latest.epoch, leader.log.end_offset().0);
            let Some(theirs) = theirs else {
                // The leader knows of no epoch that old: nothing of it is common.
                let start = self.log.start_offset();
                self.log.truncate_to(&self.disk, start, NOW).unwrap();
                return;
            };
            let ours = self.log.epochs().end_offset_of(theirs.epoch, end).map_or(0, |ours| ours.start_offset);
            let to = ours.min(theirs.start_offset);
            if to >= end {
                return;
            }
            self.log.truncate_to(&self.disk, Offset(to), NOW).unwrap();
        }
    }

    fn reopen(&mut self, random: &mut Random) {
        let point = self.log.recovery_point(&self.disk).unwrap();
        let start = self.log.start_offset();
        let power = random.coin();
        if power {
            self.disk.power_cut()
        } else {
            self.disk.restart_process()
        }
        if !self.disk.exists(Path::new(PATH)).unwrap() {
            assert!(power);
            self.log = create(&self.disk, Path::new(PATH), &small());
            return;
        }
        let facts = ringdaw::log::OpenFacts { log_start: start, ..facts(false, point.0) };
        self.log = open(&self.disk, Path::new(PATH), &small(), facts).0;
    }

    fn flush(&mut self) {
        let mut files = Vec::new();
        if self.log.begin_flush(&self.disk, FlushScope::All, &mut files).unwrap().is_some() {
            files.iter().for_each(|file| self.disk.sync_data(file).unwrap());
            self.log.on_flushed(Ok(()), NOW).unwrap();
        }
    }
}

/// Appends as the leader of this epoch, with whatever producers there are.
fn lead(leader: &mut Replica, epoch: i32, sequences: &mut [i32; 2], open: &mut bool, random: &mut Random) {
    let count = 1 + random.below(4) as usize;
    let value = "v".repeat(random.below(300) as usize);
    let values = vec![value.as_str(); count];
    let next = |sequence: &mut i32| {
        *sequence += count as i32;
        *sequence - count as i32
    };
    let mut bytes = match random.below(4) {
        0 => batch(&values),
        1 => idempotent(4, 0, next(&mut sequences[0]), &values),
        2 => {
            *open = true;
            transactional(5, 0, next(&mut sequences[1]), &values)
        }
        _ if *open => {
            *open = false;
            marker(5, 0, 0, random.coin())
        }
        _ => batch(&values),
    };
    let mut batches = [AppendBatch::new(&mut bytes)];
    let mut scratch = AppendScratch::default();
    leader.log.append(&leader.disk, &mut batches, LeaderEpoch(epoch), NOW, &mut scratch).unwrap();
    assert!(matches!(batches[0].outcome, Outcome::Appended { .. }), "{:?}", batches[0].outcome);
}

/// The producers go on where this log says they stand.
fn stand(log: &Log, sequences: &mut [i32; 2], open: &mut bool) {
    for (id, sequence) in (4..).zip(sequences) {
        let last = log.producers().get(id).and_then(|producer| producer.last_batch().copied());
        *sequence = last.map_or(0, |last| last.last_sequence + 1);
    }
    *open = log.producers().first_unstable().is_some();
}

fn assert_alike(a: &mut Replica, b: &mut Replica) {
    assert_eq!((a.log.start_offset(), a.log.end_offset()), (b.log.start_offset(), b.log.end_offset()));
    let start = a.log.start_offset();
    assert!(read_all(&mut a.log, &a.disk, start.0, 700) == read_all(&mut b.log, &b.disk, start.0, 700));
    // A log without records that was begun anew has heard of no epoch.
    if start < a.log.end_offset() {
        assert_eq!(a.log.epochs().entries(), b.log.epochs().entries());
    }
    // Each knows the last batch of each producer; of those before it, who was cut or came late knows fewer (a snapshot has
    // one a producer).
    for (one, other) in [(&a.log, &b.log), (&b.log, &a.log)] {
        for (id, producer) in one.producers().sorted() {
            let Some(last) = producer.last_batch().filter(|last| last.first_offset() >= start.0) else {
                continue;
            };
            let known = other.producers().get(id).expect("both have its last batch");
            assert_eq!(Some(last), known.last_batch(), "{id}");
            assert_eq!(producer.epoch, known.epoch);
            // Where a transaction began that reaches back before the start, only who was there then knows.
            match (producer.transaction_first, known.transaction_first) {
                (Some(one), Some(other)) => assert!(one == other || one.min(other) < start.0),
                (one, other) => assert_eq!(one, other),
            }
            let common = producer.batches().len().min(known.batches().len());
            let newest = |batches: &[RememberedBatch]| batches[batches.len() - common..].to_vec();
            assert_eq!(newest(producer.batches()), newest(known.batches()), "{id}");
        }
    }
    let (from, to) = (a.log.start_offset(), a.log.end_offset());
    let aborted = |replica: &Replica| replica.log.aborted_transactions(&replica.disk, from, to).unwrap();
    let both = [aborted(a), aborted(b)];
    for (one, other) in [(&both[0], &both[1]), (&both[1], &both[0])] {
        for ended in one.iter().filter(|ended| ended.first_offset >= start.0) {
            let known = other.iter().find(|known| known.last_offset == ended.last_offset);
            let known = known.expect("both have what the transaction wrote");
            assert!(known.first_offset == ended.first_offset || known.first_offset < start.0, "{known:?}");
        }
    }
}

fn life(seed: u64) {
    let mut random = Random::new(seed);
    let (mut leader, mut follower) = (Replica::new(seed ^ 0xa), Replica::new(seed ^ 0xb));
    let (mut epoch, mut sequences, mut open) = (0, [0; 2], false);
    for _ in 0..100 {
        match random.below(12) {
            0..5 => lead(&mut leader, epoch, &mut sequences, &mut open, &mut random),
            5..8 => {
                follower.catch_up(&mut leader, &mut random);
                assert_alike(&mut leader, &mut follower);
            }
            8 => follower.flush(),
            9 => {
                // It comes back with less, and goes on from there.
                follower.reopen(&mut random);
                follower.truncate_for(&leader);
            }
            10 => {
                leader.log.advance_high_watermark(follower.log.end_offset());
                let start = Offset(random.below(leader.log.high_watermark().0 as u64 + 1) as i64);
                leader.log.delete_records_before(start).unwrap();
            }
            _ => {
                // The follower leads from now on, whatever it lacks.
                if follower.log.start_offset() != leader.log.start_offset() {
                    continue;
                }
                std::mem::swap(&mut leader, &mut follower);
                epoch += 1 + random.below(2) as i32;
                stand(&leader.log, &mut sequences, &mut open);
                if random.coin() {
                    lead(&mut leader, epoch, &mut sequences, &mut open, &mut random);
                }
                follower.truncate_for(&leader);
            }
        }
    }
    follower.catch_up(&mut leader, &mut random);
    assert_alike(&mut leader, &mut follower);
}

/// All seeds, or the one in `SEED`.
#[test]
fn a_follower_has_what_its_leaders_have() {
    let one = std::env::var("SEED").ok().and_then(|seed| seed.parse::<u64>().ok());
    for seed in one.map_or(0..200, |seed| seed..seed + 1) {
        let result = std::panic::catch_unwind(|| life(seed));
        assert!(result.is_ok(), "again with: SEED={seed} cargo test --test log follow");
    }
}

/// A leader with these values, each a batch.
fn leader_of(values: &[&str]) -> Replica {
    let mut leader = Replica::new(1);
    for value in values {
        append_one(&mut leader.log, &leader.disk, batch(&[value, value]));
    }
    leader
}

#[test]
fn one_bad_batch_and_nothing_of_the_answer_is_appended() {
    let mut leader = leader_of(&["a", "b", "c"]);
    let good = leader.answer(0, 1 << 20);
    let second = batch::front(&good).unwrap().total_bytes;
    let mut follower = Replica::new(2);

    let mut flipped = good.clone();
    flipped[second + 70] ^= 1;
    let refused = follower.follow(&flipped).unwrap_err();
    let FollowError::Batch { position, reason: BatchError::Crc { .. } } = refused else {
        panic!("{refused}")
    };
    assert_eq!(position, second);

    let mut no_batch = good.clone();
    no_batch[second + 16] = 9;
    let refused = follower.follow(&no_batch).unwrap_err();
    assert!(
        matches!(refused, FollowError::Batch { reason: BatchError::Magic { magic: 9 }, .. }),
        "{refused}"
    );

    let twice = [&good[..second], &good[..second]].concat();
    let refused = follower.follow(&twice).unwrap_err();
    assert!(matches!(refused, FollowError::OutOfOrder { first: 0, last: 1, expected: 2 }), "{refused}");

    let refused = follower.follow(&good[..second - 1]).unwrap_err();
    assert!(matches!(refused, FollowError::Batch { reason: BatchError::Incomplete { .. }, .. }), "{refused}");

    assert_eq!((follower.log.end_offset(), follower.log.bytes()), (Offset(0), 0));
    assert_eq!(follower.follow(&[]).unwrap(), Followed::default());
    follower.follow(&good).unwrap();
    assert_alike(&mut leader, &mut follower);
}

#[test]
fn a_log_begun_inside_a_batch_takes_that_batch_whole() {
    let mut leader = leader_of(&["a", "b", "c"]);
    leader.log.delete_records_before(Offset(3)).unwrap();
    let mut follower = Replica::new(2);
    follower.log.restart_from(&follower.disk, Offset(3), NOW).unwrap();
    let answer = leader.answer(3, 1 << 20);
    assert_eq!(batch::front(&answer).unwrap().offset, 2);
    assert_eq!(follower.follow(&answer).unwrap().batches, 2);
    assert_alike(&mut leader, &mut follower);
}

#[test]
fn a_batch_larger_than_a_segment_gets_one_of_its_own() {
    let mut follower = Replica::new(2);
    let large = "x".repeat(4000);
    let mut answer = Vec::new();
    for (base, value) in [(0, "a"), (1, large.as_str()), (2, "c")] {
        let mut bytes = batch(&[value]);
        batch::stamp(&mut bytes, base, 3);
        answer.extend(bytes);
    }
    assert_eq!(follower.follow(&answer).unwrap().batches, 3);
    let bases: Vec<i64> = follower.log.segments().map(|(base, _)| base.0).collect();
    assert_eq!(bases, [0, 1, 2]);
    assert_eq!(follower.log.epochs().entries().len(), 1);
}

#[test]
fn no_space_appends_nothing_and_the_next_attempt_does() {
    let mut leader = leader_of(&["a", "b"]);
    let answer = leader.answer(0, 1 << 20);
    let mut follower = Replica::new(2);
    follower.disk.set_free_bytes(Some(40));
    let refused = follower.follow(&answer).unwrap_err();
    assert!(matches!(refused, FollowError::Log(ringdaw::log::LogError::NoSpace { .. })), "{refused}");
    assert_eq!(follower.log.end_offset(), Offset(0));
    assert!(!follower.log.has_failed());
    follower.disk.set_free_bytes(None);
    follower.follow(&answer).unwrap();
    assert_alike(&mut leader, &mut follower);
}

#[test]
fn what_java_wrote_in_every_format_is_followed_byte_for_byte() {
    for release in ["k100", "k282", "k391"] {
        let folder = tempfile::tempdir().unwrap();
        let data = java::unpack(&format!("disk-{release}-clean.tar.gz"), folder.path());
        for entry in std::fs::read_dir(&data).unwrap() {
            let path = entry.unwrap().path();
            if !path.is_dir() {
                continue;
            }
            let disk = ringdaw::reactor::OsDisk;
            let (mut theirs, _) = Log::open(&disk, &path, config(), facts(true, 0)).unwrap();
            let mut ours = Replica::new(3);
            let start = theirs.start_offset();
            ours.log.restart_from(&ours.disk, start, NOW).unwrap();
            while ours.log.end_offset() < theirs.end_offset() {
                let read = Read {
                    offset: ours.log.end_offset(),
                    bytes_max: 5000,
                    limit: theirs.end_offset(),
                    at_least_one: true,
                };
                let place = theirs.read(&disk, read).unwrap();
                let followed = ours.follow(&bytes_of(&disk, &place)).unwrap();
                assert!(followed.batches > 0, "{}", path.display());
            }
            let (from, to) = (start.0, 1 << 20);
            let same =
                read_all(&mut theirs, &disk, from, to) == read_all(&mut ours.log, &ours.disk, from, to);
            assert!(same, "{}", path.display());
        }
    }
}
