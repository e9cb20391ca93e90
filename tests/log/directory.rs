//! A log directory as a whole: lock, identity, contents, clean stop.

use ringdaw::clock::WallMs;
use ringdaw::ids::Offset;
use ringdaw::log::directory::{DirectoryError, LogDirectory, check_duplicates};
use ringdaw::log::{CloseFlush, Log};
use ringdaw::reactor::{Disk, OsDisk};

use crate::support::*;

#[test]
fn a_directory_in_use_is_refused_by_the_path_of_its_lock() {
    let place = tempfile::tempdir().unwrap();
    let first = LogDirectory::open(&OsDisk, place.path()).unwrap();
    let error = LogDirectory::open(&OsDisk, place.path()).unwrap_err();
    assert!(matches!(&error, DirectoryError::Locked { path } if path.ends_with(".lock")), "{error}");
    drop(first);
    LogDirectory::open(&OsDisk, place.path()).unwrap();
}

#[test]
fn a_clean_stop_is_believed_once() {
    let place = tempfile::tempdir().unwrap();
    let mut directory = LogDirectory::open(&OsDisk, place.path()).unwrap();
    assert!(!directory.clean && directory.meta.is_none());
    directory.claim(&OsDisk, 1, "cluster", NOW).unwrap();
    let mut log = create(&OsDisk, &directory.replica_path("t", 0), &config());
    for _ in 0..5 {
        append_one(&mut log, &OsDisk, batch(&["value"]));
    }
    log.close(&OsDisk, CloseFlush::ByCaller, NOW).unwrap();
    let recovery = log.recovery_point(&OsDisk).unwrap().0;
    let none = || [].into_iter();
    directory
        .stop_clean(&OsDisk, [("t", 0, recovery)].into_iter(), [("t", 0, 5)].into_iter(), none())
        .unwrap();
    let marker = std::fs::read_to_string(place.path().join(".kafka_cleanshutdown")).unwrap();
    assert_eq!(marker, r#"{"version":0,"brokerEpoch":-1}"#);
    drop((directory, log));

    let directory = LogDirectory::open(&OsDisk, place.path()).unwrap();
    assert!(directory.clean);
    let [replica] = &directory.replicas[..] else { panic!("{:?}", directory.replicas) };
    assert_eq!((replica.topic.as_str(), replica.partition), ("t", 0));
    let facts = replica.facts(directory.clean, NOW);
    let (log, recovered) = Log::open(&OsDisk, &replica.path, config(), facts).unwrap();
    assert_eq!((log.end_offset(), log.high_watermark(), recovered.checked_bytes), (Offset(5), Offset(5), 0));
    drop(directory);
    assert!(!LogDirectory::open(&OsDisk, place.path()).unwrap().clean, "the mark is gone after one start");
}

#[test]
fn another_brokers_or_clusters_directory_is_refused_with_both_values() {
    let place = tempfile::tempdir().unwrap();
    let mut directory = LogDirectory::open(&OsDisk, place.path()).unwrap();
    directory.claim(&OsDisk, 1, "cluster-a", WallMs(0)).unwrap();
    let error = directory.claim(&OsDisk, 2, "cluster-a", WallMs(0)).unwrap_err().to_string();
    assert!(error.contains("broker 1") && error.contains("as 2"), "{error}");
    let error = directory.claim(&OsDisk, 1, "cluster-b", WallMs(0)).unwrap_err().to_string();
    assert!(error.contains("cluster-a") && error.contains("cluster-b"), "{error}");
    let text = std::fs::read_to_string(place.path().join("meta.properties")).unwrap();
    assert_eq!(text, "#\n#Thu Jan 01 00:00:00 UTC 1970\nversion=0\nbroker.id=1\ncluster.id=cluster-a\n");
}

#[test]
fn an_unknown_subdirectory_is_refused_by_name_and_files_are_ignored() {
    let place = tempfile::tempdir().unwrap();
    std::fs::write(place.path().join("notes.txt"), "x").unwrap();
    std::fs::create_dir(place.path().join("a-0")).unwrap();
    std::fs::create_dir(place.path().join("gone-0.a0bf4f0342c44809a2b0f37eed89eda7-delete")).unwrap();
    let directory = LogDirectory::open(&OsDisk, place.path()).unwrap();
    assert_eq!((directory.replicas.len(), directory.deleted.len()), (1, 1));
    drop(directory);
    std::fs::create_dir(place.path().join("foo")).unwrap();
    let error = LogDirectory::open(&OsDisk, place.path()).unwrap_err().to_string();
    assert!(error.contains("'foo'"), "{error}");
}

#[test]
fn a_partition_in_two_directories_is_refused_with_both_paths() {
    let places = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    for place in &places {
        std::fs::create_dir(place.path().join("t-3")).unwrap();
    }
    let directories: Vec<_> =
        places.iter().map(|place| LogDirectory::open(&OsDisk, place.path()).unwrap()).collect();
    let error = check_duplicates(&directories).unwrap_err().to_string();
    for place in &places {
        assert!(error.contains(place.path().to_str().unwrap()), "{error}");
    }
}

#[test]
fn a_bad_checkpoint_counts_as_empty_and_is_named() {
    let place = tempfile::tempdir().unwrap();
    std::fs::create_dir(place.path().join("t-0")).unwrap();
    std::fs::write(place.path().join("recovery-point-offset-checkpoint"), "0\n7\nt 0 5\n").unwrap();
    std::fs::write(place.path().join("replication-offset-checkpoint"), "0\n1\nt 0 5\n").unwrap();
    let directory = LogDirectory::open(&OsDisk, place.path()).unwrap();
    let replica = &directory.replicas[0];
    assert_eq!((replica.recovery_point, replica.high_watermark), (Offset(0), Offset(5)));
    assert_eq!(directory.warnings.len(), 1);
    assert!(directory.warnings[0].contains("recovery-point-offset-checkpoint"), "{:?}", directory.warnings);
}

#[test]
fn a_retired_replica_makes_room_for_a_new_one_of_its_name() {
    let place = tempfile::tempdir().unwrap();
    let directory = LogDirectory::open(&OsDisk, place.path()).unwrap();
    create(&OsDisk, &directory.replica_path("t", 0), &config());
    let gone = directory.retire_replica(&OsDisk, "t", 0, "a0bf4f0342c44809a2b0f37eed89eda7").unwrap();
    assert!(!directory.replica_path("t", 0).exists() && gone.exists());
    create(&OsDisk, &directory.replica_path("t", 0), &config());
    OsDisk.remove_directory(&gone).unwrap();
    assert!(!gone.exists());
}
