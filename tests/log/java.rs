//! What Java brokers of 1.0.0, 2.8.2 and 3.9.1 wrote, read by us: after kill -9 and after a clean stop.
//!
//! The archives hold whole log directories; the dumps beside them are what the release's own tool printed.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ringdaw::ids::Offset;
use ringdaw::log::checkpoint::{self, Checkpoint};
use ringdaw::log::files::{ReplicaDirectory, parse_directory_name};
use ringdaw::log::{Log, LogConfig, OpenFacts, Recovered};
use ringdaw::reactor::{Disk, OsDisk};
use ringdaw::wire::batch::{Batch, batches};

use crate::outside::java;
use crate::support::*;

const RELEASES: [&str; 3] = ["k100", "k282", "k391"];

struct Java {
    _directory: tempfile::TempDir,
    data: PathBuf,
    clean: bool,
}

fn unpacked(release: &str, clean: bool) -> Java {
    let directory = tempfile::tempdir().unwrap();
    let state = if clean { "clean" } else { "kill9" };
    let data = java::unpack(&format!("disk-{release}-{state}.tar.gz"), directory.path());
    Java { _directory: directory, data, clean }
}

impl Java {
    fn replicas(&self) -> Vec<(String, i32)> {
        let mut replicas = Vec::new();
        for entry in OsDisk.list(&self.data).unwrap().iter().filter(|entry| entry.is_directory) {
            match parse_directory_name(&entry.name) {
                Some(ReplicaDirectory::Replica { topic, partition }) => replicas.push((topic, partition)),
                Some(_) => {}
                None => panic!("{} is no replica directory", entry.name),
            }
        }
        replicas
    }

    fn offsets(&self, checkpoint: Checkpoint, key: &(String, i32)) -> i64 {
        let mut warnings = Vec::new();
        let offsets = checkpoint::read(&OsDisk, &self.data, checkpoint, &mut warnings).unwrap();
        assert_eq!(warnings, [] as [String; 0]);
        offsets.get(key).copied().unwrap_or(0)
    }

    fn open(&self, key: &(String, i32)) -> (Log, Recovered) {
        let facts = OpenFacts {
            clean: self.clean,
            recovery_point: Offset(self.offsets(Checkpoint::RecoveryPoint, key)),
            log_start: Offset(self.offsets(Checkpoint::LogStart, key)),
            high_watermark: Offset(self.offsets(Checkpoint::HighWatermark, key)),
            now: NOW,
        };
        let path = self.data.join(format!("{}-{}", key.0, key.1));
        Log::open(&OsDisk, &path, Arc::new(LogConfig::default()), facts).unwrap()
    }
}

#[test]
fn clean_directories_open_without_a_repair_and_end_where_java_said() {
    for release in RELEASES {
        let java = unpacked(release, true);
        let replicas = java.replicas();
        assert!(replicas.len() >= 15, "{release}: {replicas:?}");
        for key in replicas {
            let (mut log, recovered) = java.open(&key);
            assert_eq!(recovered, Recovered::default(), "{release} {key:?}");
            assert_eq!(
                log.end_offset().0,
                java.offsets(Checkpoint::RecoveryPoint, &key),
                "{release} {key:?}"
            );
            assert_eq!(log.high_watermark(), log.end_offset(), "{release} {key:?}");
            let start = log.start_offset().0;
            read_all(&mut log, &OsDisk, start, 4096);
        }
    }
}

#[test]
fn batches_are_those_of_javas_own_dump() {
    for release in RELEASES {
        let java = unpacked(release, true);
        for (key, expected) in dumped_batches(release) {
            if !java.replicas().contains(&key) {
                continue;
            }
            let (mut log, _) = java.open(&key);
            let start = log.start_offset().0;
            let mut found = Vec::new();
            for (_, bytes) in read_all(&mut log, &OsDisk, start, 1 << 20) {
                for item in batches(&bytes) {
                    if let (_, Batch::Current { header, .. }) = item.unwrap() {
                        let base = header.base_offset();
                        found.push((base, header.last_offset(), header.crc(), header.producer_id()));
                    }
                }
            }
            let expected: Vec<_> = expected.into_iter().filter(|batch| batch.1 >= start).collect();
            assert_eq!(found, expected, "{release} {key:?}");
        }
    }
}

#[test]
fn killed_directories_recover_to_what_java_recovered_them_to() {
    for release in RELEASES {
        let killed = unpacked(release, false);
        let clean = unpacked(release, true);
        let mut seen = 0;
        for key in killed.replicas() {
            let (mut log, recovered) = killed.open(&key);
            assert_eq!(recovered.cut_bytes, 0, "{release} {key:?}: {recovered:?}");
            let start = log.start_offset().0;
            let ours = read_all(&mut log, &OsDisk, start, 1 << 20);
            if !clean.replicas().contains(&key) {
                continue;
            }
            // After recovery the Java broker wrote on: what we found must be the beginning of what it has now. It
            // had compacted some topics meanwhile, and internal topics begin alike.
            let (mut after, _) = clean.open(&key);
            if key.0.starts_with("compact") {
                assert!(after.end_offset() >= log.end_offset(), "{release} {key:?}");
                continue;
            }
            let start = after.start_offset().0;
            let theirs = read_all(&mut after, &OsDisk, start, 1 << 20);
            let ours: Vec<_> = ours.into_iter().filter(|(offset, _)| *offset >= start).collect();
            let common = theirs.iter().filter(|(offset, _)| *offset < log.end_offset().0).count();
            assert!(ours.len() >= common, "{release} {key:?}");
            assert_eq!(ours[..common], theirs[..common], "{release} {key:?}");
            assert_eq!(ours.len(), common, "{release} {key:?}");
            seen += 1;
        }
        assert!(seen >= 8, "{release}: {seen} logs compared");
    }
}

#[test]
fn our_recovery_writes_the_indexes_javas_recovery_wrote() {
    // 1.0 stores the first offset of an append in an entry, so only the newer ones are byte for byte the same.
    for release in ["k282", "k391"] {
        let killed = unpacked(release, false);
        let clean = unpacked(release, true);
        let mut compared = 0;
        for topic in ["roll", "roll-idem", "codec-none", "appendtime"] {
            let key = (topic.to_owned(), 0);
            let (mut log, _) = killed.open(&key);
            log.close(&OsDisk, ringdaw::log::CloseFlush::Each, NOW).unwrap();
            let directory = format!("{topic}-0");
            for entry in OsDisk.list(&killed.data.join(&directory)).unwrap() {
                if !entry.name.ends_with("index") {
                    continue;
                }
                let ours = std::fs::read(killed.data.join(&directory).join(&entry.name)).unwrap();
                let name = entry.name.split('.').next().unwrap();
                let log_name = format!("{name}.log");
                let same_log = std::fs::read(killed.data.join(&directory).join(&log_name)).ok()
                    == std::fs::read(clean.data.join(&directory).join(&log_name)).ok();
                let theirs = std::fs::read(clean.data.join(&directory).join(&entry.name)).unwrap();
                if same_log {
                    assert_eq!(ours, theirs, "{release} {directory}/{}", entry.name);
                    compared += 1;
                }
            }
        }
        assert!(compared >= 8, "{release}: {compared} index files compared");
    }
}

#[test]
fn snapshots_are_rewritten_byte_for_byte() {
    for release in RELEASES {
        let java = unpacked(release, true);
        let mut compared = 0;
        for key in java.replicas() {
            let directory = java.data.join(format!("{}-{}", key.0, key.1));
            for entry in OsDisk.list(&directory).unwrap() {
                if !entry.name.ends_with(".snapshot") {
                    continue;
                }
                let bytes = std::fs::read(directory.join(&entry.name)).unwrap();
                let producers = ringdaw::producer::Producers::from_snapshot(&bytes).unwrap();
                let again = ringdaw::producer::Producers::from_snapshot(&producers.to_snapshot()).unwrap();
                assert_eq!(again.sorted(), producers.sorted(), "{release} {directory:?} {}", entry.name);
                if producers.len() <= 1 {
                    assert_eq!(producers.to_snapshot(), bytes, "{release} {directory:?} {}", entry.name);
                }
                compared += 1;
            }
        }
        assert!(compared >= 15, "{release}: {compared} snapshots");
    }
}

#[test]
fn aborted_transactions_are_those_java_wrote_and_recovery_finds_them_again() {
    for release in RELEASES {
        let clean = unpacked(release, true);
        let key = ("txn".to_owned(), 0);
        let path = clean.data.join("txn-0/00000000000000000002.txnindex");
        let before = std::fs::read(&path).unwrap();
        assert!(!before.is_empty() && before.len().is_multiple_of(34), "{release}");
        let (log, _) = clean.open(&key);
        let aborted = log.aborted_transactions(&OsDisk, Offset(0), log.end_offset()).unwrap();
        assert_eq!(aborted.len(), before.len() / 34, "{release}");
        drop(log);
        // Recovery removes the index and writes it anew from the markers.
        let unclean = Java { clean: false, ..clean };
        std::fs::remove_file(unclean.data.join("recovery-point-offset-checkpoint")).unwrap();
        unclean.open(&key);
        assert_eq!(std::fs::read(&path).unwrap(), before, "{release}");
    }
}

#[test]
fn old_message_sets_are_read_as_they_are() {
    let java = unpacked("k100", true);
    let legacy: Vec<_> =
        java.replicas().into_iter().filter(|(topic, _)| topic.starts_with("legacy")).collect();
    assert!(legacy.len() >= 6, "{legacy:?}");
    for key in legacy {
        for clean in [true, false] {
            let java = unpacked("k100", true);
            let java = Java { clean, ..java };
            let (mut log, recovered) = java.open(&key);
            assert_eq!(recovered.cut_bytes, 0, "{key:?} {recovered:?}");
            let all = read_all(&mut log, &OsDisk, 0, 1 << 20);
            assert!(all.iter().any(|(_, bytes)| bytes[16] < 2), "{key:?} holds old messages");
            let end = log.end_offset();
            for timestamp in [0, 1_700_000_000_000] {
                log.offset_for_timestamp(&OsDisk, timestamp, end).unwrap();
            }
            assert!(log.end_offset().0 > 0);
        }
    }
}

/// (base, last, crc, producer id) of each magic-2 batch, by partition, from the text of the dump tool.
type DumpedBatch = (i64, i64, u32, i64);

fn dumped_batches(release: &str) -> BTreeMap<(String, i32), Vec<DumpedBatch>> {
    let path = java::golden(&format!("disk-{release}-clean.dump.txt.gz"));
    let packed = std::fs::File::open(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut text = String::new();
    flate2::read::GzDecoder::new(packed).read_to_string(&mut text).unwrap();
    let mut dumped: BTreeMap<(String, i32), Vec<DumpedBatch>> = BTreeMap::new();
    let mut key = None;
    for line in text.lines() {
        if let Some(path) = line.strip_prefix("Dumping ") {
            key = None;
            if path.ends_with(".log") {
                let directory = path.rsplit('/').nth(1).unwrap();
                if let Some(ReplicaDirectory::Replica { topic, partition }) = parse_directory_name(directory)
                {
                    key = Some((topic, partition));
                    dumped.entry(key.clone().unwrap()).or_default();
                }
            }
            continue;
        }
        let Some(key) = &key else { continue };
        if !line.starts_with("baseOffset:") {
            continue;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        let field = |name: &str| {
            let at = words.iter().position(|word| *word == name)?;
            words.get(at + 1)?.parse::<i64>().ok()
        };
        if field("magic:") != Some(2) {
            continue;
        }
        let crc = field("crc:").unwrap() as u32;
        let batch = (
            field("baseOffset:").unwrap(),
            field("lastOffset:").unwrap(),
            crc,
            field("producerId:").unwrap(),
        );
        dumped.get_mut(key).unwrap().push(batch);
    }
    assert!(
        dumped.values().map(Vec::len).sum::<usize>() > 0 || release == "k100",
        "{release}: nothing dumped"
    );
    dumped
}

/// A clean directory of 3.9.1 in which something is damaged or missing before we open it.
fn damaged(topic: &str, damage: impl FnOnce(&Path)) -> (Log, Recovered, Opened) {
    let java = unpacked("k391", true);
    let path = java.data.join(format!("{topic}-0"));
    damage(&path);
    let (mut log, recovered) = java.open(&(topic.to_owned(), 0));
    let sound_java = unpacked("k391", true);
    let (mut sound, _) = sound_java.open(&(topic.to_owned(), 0));
    assert_eq!(log.end_offset(), sound.end_offset());
    assert!(
        read_all(&mut log, &OsDisk, 0, 1 << 20) == read_all(&mut sound, &OsDisk, 0, 1 << 20),
        "{topic}: records differ"
    );
    // A snapshot keeps the newest batch of each producer, a replay finds the last five.
    let newest = |log: &Log| -> Vec<_> {
        let producers = log.producers().sorted();
        producers
            .into_iter()
            .map(|(id, producer)| (id, producer.epoch, producer.last_batch().copied()))
            .collect()
    };
    assert_eq!(newest(&log), newest(&sound));
    assert_eq!(log.epochs().entries(), sound.epochs().entries());
    (log, recovered, Opened { _java: java, path })
}

/// The replica's directory, there as long as this is.
struct Opened {
    _java: Java,
    path: PathBuf,
}

fn remove(path: &Path) {
    std::fs::remove_file(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
}

#[test]
fn missing_and_short_indexes_are_built_anew_as_they_were() {
    let sound = unpacked("k391", true);
    let expected = |name: &str| std::fs::read(sound.data.join("roll-0").join(name)).unwrap();
    for name in ["00000000000000000018.index", "00000000000000000036.timeindex"] {
        for cut in [false, true] {
            let (_, recovered, opened) = damaged("roll", |path| {
                if cut {
                    let bytes = std::fs::read(path.join(name)).unwrap();
                    std::fs::write(path.join(name), &bytes[..bytes.len() - 1]).unwrap();
                } else {
                    remove(&path.join(name));
                }
            });
            assert_eq!(recovered.indexes_rebuilt, 1, "{name}");
            assert_eq!(std::fs::read(opened.path.join(name)).unwrap(), expected(name), "{name}");
        }
    }
}

#[test]
fn an_index_that_points_nowhere_hides_no_records() {
    damaged("roll", |path| {
        let index = path.join("00000000000000000000.index");
        let mut bytes = std::fs::read(&index).unwrap();
        for position in bytes.chunks_exact_mut(8) {
            position[7] = position[7].wrapping_add(13);
        }
        std::fs::write(index, bytes).unwrap();
    });
}

#[test]
fn a_missing_or_bad_epoch_file_is_rebuilt_from_the_batches() {
    damaged("codec-none", |path| remove(&path.join("leader-epoch-checkpoint")));
    let (_, recovered, _) = damaged("codec-none", |path| {
        std::fs::write(path.join("leader-epoch-checkpoint"), "garbage").unwrap();
    });
    assert!(recovered.warnings.iter().any(|w| w.contains("leader-epoch-checkpoint")), "{recovered:?}");
}

#[test]
fn a_bad_snapshot_is_removed_and_its_state_found_in_the_log() {
    let (_, recovered, opened) = damaged("roll-idem", |path| {
        let newest = path.join("00000000000000000050.snapshot");
        let mut bytes = std::fs::read(&newest).unwrap();
        bytes[20] ^= 1;
        std::fs::write(newest, bytes).unwrap();
    });
    assert!(recovered.warnings.iter().any(|w| w.contains("00000000000000000050.snapshot")), "{recovered:?}");
    assert!(!opened.path.join("00000000000000000050.snapshot").exists());
}

#[test]
fn a_bad_topic_id_counts_as_missing_and_is_named() {
    let (log, recovered, _) = damaged("codec-none", |path| {
        std::fs::write(path.join("partition.metadata"), "version: 0\ntopic_id: short").unwrap();
    });
    assert_eq!(log.topic_id(), None);
    assert!(recovered.warnings.iter().any(|w| w.contains("partition.metadata")), "{recovered:?}");
}

#[test]
fn a_torn_tail_under_a_clean_mark_is_cut_instead_of_refused() {
    let (_, recovered, opened) = damaged("codec-none", |path| {
        let log = path.join("00000000000000000000.log");
        let mut bytes = std::fs::read(&log).unwrap();
        bytes.extend([0; 100]);
        std::fs::write(log, bytes).unwrap();
    });
    assert_eq!(recovered.cut_bytes, 100);
    assert_eq!(std::fs::metadata(opened.path.join("00000000000000000000.log")).unwrap().len(), 1388);
}

#[test]
fn leftovers_of_deletion_and_compaction_go_and_a_finished_swap_is_completed() {
    let (_, recovered, opened) = damaged("roll", |path| {
        for name in [
            "00000000000000000000.log.deleted",
            "00000000000000000000.index.deleted",
            "00000000000000000040.log.cleaned",
            "00000000000000000040.log.swap",
            "00000000000000000099.index",
        ] {
            std::fs::write(path.join(name), b"left behind").unwrap();
        }
        // The cleaner had finished the first segment: the swap takes the place of the live one.
        let live = path.join("00000000000000000000.log");
        std::fs::copy(&live, path.join("00000000000000000000.log.swap")).unwrap();
        std::fs::write(&live, b"what the cleaner replaced").unwrap();
    });
    assert!(recovered.warnings.iter().any(|w| w.contains("00000000000000000000.log.swap")), "{recovered:?}");
    let names: Vec<String> = OsDisk.list(&opened.path).unwrap().into_iter().map(|entry| entry.name).collect();
    let left = |name: &&String| {
        name.ends_with(".deleted")
            || name.ends_with(".cleaned")
            || name.ends_with(".swap")
            || name.contains("99.")
    };
    assert_eq!(names.iter().filter(left).count(), 0, "{names:?}");
}
