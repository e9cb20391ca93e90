//! The embedded store against a disk that stops at every byte and fails at every call.

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::sync::atomic::{AtomicI64, Ordering};

use proptest::prelude::*;

use super::*;
use crate::config::Overrides;
use crate::metadata::state::StoredTopic;
use crate::reactor::disk::{Entry, OsDisk, Residency, Space};
use crate::wire::primitive::Uuid;

fn now<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(value) => value,
        std::task::Poll::Pending => panic!("the embedded store never waits"),
    }
}

fn random() -> impl FnMut() -> u64 {
    let mut n = 0x9e37_79b9_7f4a_7c15u64;
    move || {
        n = n.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        n ^ (n >> 29)
    }
}

fn open_in(dir: &Path) -> Result<(Embedded, Opened), StoreError> {
    let owner = Owner { said_by: "test".into(), ..Owner::default() };
    Embedded::open(Arc::new(OsDisk), &[dir.to_owned()], &owner, &mut random())
}

fn topic(n: u8, name: &str, partitions: usize) -> Change {
    Change::TopicAdded(Arc::new(StoredTopic {
        id: Uuid([n; 16]),
        name: name.into(),
        leader_epochs: vec![0; partitions],
        since: 0,
        overrides: [("retention.ms".to_owned(), format!("{n}"))].into(),
        placements: Vec::new(),
    }))
}

#[test]
fn a_new_store_has_a_cluster_id_that_the_next_start_reads_back() {
    let dir = tempfile::tempdir().unwrap();
    let (store, opened) = open_in(dir.path()).unwrap();
    assert_eq!(opened, Opened::New);
    let cluster_id = store.state().cluster_id().clone();
    assert_eq!(Uuid::parse(&cluster_id).unwrap().to_string(), *cluster_id);
    let (store, opened) = open_in(dir.path()).unwrap();
    assert_eq!(opened, Opened::Read { cut: None });
    assert_eq!(*store.state().cluster_id(), cluster_id);
}

#[test]
fn a_store_of_another_broker_or_cluster_is_refused_with_both_values() {
    let dir = tempfile::tempdir().unwrap();
    let dirs = [dir.path().to_owned()];
    let owner = |broker_id, cluster_id: Option<&str>| Owner {
        broker_id: Some(BrokerId(broker_id)),
        cluster_id: cluster_id.map(str::to_owned),
        said_by: "meta.properties".into(),
        ..Owner::default()
    };
    let open = |owner: &Owner| {
        Embedded::open(Arc::new(OsDisk), &dirs, owner, &mut random()).map(|_| ()).map_err(|e| e.to_string())
    };
    open(&owner(3, Some("mine"))).unwrap();
    open(&owner(3, None)).unwrap();
    let error = open(&owner(4, None)).unwrap_err();
    assert!(error.ends_with("broker.id is 3, but meta.properties says 4"), "{error}");
    let error = open(&owner(3, Some("other"))).unwrap_err();
    assert!(error.ends_with("cluster.id is mine, but meta.properties says other"), "{error}");
}

#[test]
fn the_store_is_found_when_the_order_of_directories_changes_and_two_are_refused() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    open_in(b.path()).unwrap();
    let dirs = [a.path().to_owned(), b.path().to_owned()];
    let owner = Owner::default();
    let (store, _) = Embedded::open(Arc::new(OsDisk), &dirs, &owner, &mut random()).unwrap();
    assert_eq!(store.path(), b.path().join(FILE_NAME));
    open_in(a.path()).unwrap();
    let refused = Embedded::open(Arc::new(OsDisk), &dirs, &owner, &mut random());
    assert!(matches!(refused, Err(StoreError::Twice { .. })));
}

/// The bytes of the store after each of some commits, and the state each led to.
fn history() -> Vec<(Vec<u8>, State)> {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open_in(dir.path()).unwrap();
    let id = Uuid([1; 16]);
    let commits = [
        vec![topic(1, "a", 3), topic(2, "b", 1)],
        vec![Change::ProducerIdsBelow(1000)],
        vec![Change::PartitionsAdded { id, leader_epochs: vec![0; 40], placements: Vec::new() }],
        vec![Change::DeleteBegun { id }, topic(3, "a", 1)],
        vec![Change::DeleteDone { id }],
    ];
    let mut seen = vec![(std::fs::read(store.path()).unwrap(), store.state().clone())];
    for changes in commits {
        now(store.commit(changes)).unwrap();
        seen.push((std::fs::read(store.path()).unwrap(), store.state().clone()));
    }
    seen
}

#[test]
fn a_stop_at_any_byte_of_a_commit_leaves_the_state_before_it_and_a_file_that_goes_on() {
    let history = history();
    for pair in history.windows(2) {
        let [(before, state_before), (after, state_after)] = pair else { unreachable!() };
        for length in before.len()..=after.len() {
            // The file may have its new length already while its last pages are still zeros.
            for padded in [false, true] {
                let dir = tempfile::tempdir().unwrap();
                let mut bytes = after[..length].to_vec();
                if padded {
                    bytes.resize(after.len(), 0);
                }
                std::fs::write(dir.path().join(FILE_NAME), &bytes).unwrap();
                let (mut store, opened) = open_in(dir.path()).unwrap();
                let whole = bytes == *after; // a record may end in zeros
                assert_eq!(store.state(), if whole { state_after } else { state_before });
                let torn = bytes.len() - before.len();
                let cut =
                    (!whole && torn > 0).then_some(Cut { position: before.len() as u64, bytes: torn as u64 });
                assert_eq!(opened, Opened::Read { cut });
                now(store.commit(vec![Change::ProducerIdsBelow(9000)])).unwrap();
                let expected = store.state().clone();
                let (store, opened) = open_in(dir.path()).unwrap();
                assert_eq!((store.state(), opened), (&expected, Opened::Read { cut: None }));
            }
        }
    }
}

#[test]
fn damage_before_a_whole_record_is_refused_with_its_position() {
    let history = history();
    let (whole, _) = history.last().unwrap();
    let last_start = history[history.len() - 2].0.len();
    for position in 0..last_start {
        let dir = tempfile::tempdir().unwrap();
        let mut bytes = whole.clone();
        bytes[position] ^= 0x10;
        let path = dir.path().join(FILE_NAME);
        std::fs::write(&path, &bytes).unwrap();
        match open_in(dir.path()) {
            Err(StoreError::Corrupt { path: named, position: at, .. }) => {
                assert_eq!(named, path);
                assert!(at <= position as u64, "damage at {position} reported at {at}");
            }
            Err(StoreError::Version { .. }) => assert!((8..10).contains(&position)),
            other => panic!("damage at {position}: {:?}", other.map(|(_, opened)| opened)),
        }
        assert_eq!(std::fs::read(&path).unwrap(), bytes, "a refused file is left as it was");
    }
}

#[test]
fn a_file_of_a_later_version_and_a_foreign_file_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE_NAME);
    std::fs::write(&path, b"").unwrap();
    assert!(matches!(open_in(dir.path()), Err(StoreError::Corrupt { position: 0, .. })));
    std::fs::write(&path, b"something else, long enough for a header").unwrap();
    let error = open_in(dir.path()).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("the first 8 bytes are not `metadata`"), "{error}");
    let mut header = record::header(24);
    header[9] = 2;
    std::fs::write(&path, header).unwrap();
    assert!(matches!(open_in(dir.path()), Err(StoreError::Version { found: 2, known: 1, .. })));
}

#[test]
fn a_snapshot_replaces_the_file_when_records_outgrow_the_state() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open_in(dir.path()).unwrap();
    now(store.commit(vec![topic(1, "a", 1)])).unwrap();
    let overrides: Overrides = [("x".to_owned(), "y".repeat(30_000))].into();
    for _ in 0..100 {
        now(store.commit(vec![Change::OverridesSet { id: Uuid([1; 16]), overrides: overrides.clone() }]))
            .unwrap();
    }
    let bytes = std::fs::metadata(store.path()).unwrap().len();
    assert!(bytes < TAIL_BYTES_MIN + 100_000, "{bytes} bytes for one topic");
    let expected = store.state().clone();
    let (store, opened) = open_in(dir.path()).unwrap();
    assert_eq!((store.state(), opened), (&expected, Opened::Read { cut: None }));
    // Damage in the last record of a snapshot is no torn tail: the file was written whole.
    let mut bytes = std::fs::read(store.path()).unwrap();
    let record::Header::Known { snapshot_bytes } = record::read_header(&bytes) else { panic!() };
    bytes.truncate(snapshot_bytes as usize - 1);
    std::fs::write(store.path(), &bytes).unwrap();
    assert!(matches!(open_in(dir.path()), Err(StoreError::Corrupt { .. })));
}

/// The real disk, of which one call that changes something fails: a write after half of its bytes, others without
/// having done anything. With `for_good`, everything after it fails too.
struct Failing {
    calls_left: AtomicI64,
    for_good: bool,
}

impl Failing {
    fn fails(&self) -> bool {
        let left = self.calls_left.fetch_sub(1, Ordering::Relaxed);
        left == 0 || (left < 0 && self.for_good)
    }

    fn or_fail<T>(&self, call: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        if self.fails() { Err(io::Error::from_raw_os_error(5)) } else { call() }
    }
}

impl Disk for Failing {
    fn write_at(&self, file: &File, position: u64, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        if !self.fails() {
            return OsDisk.write_at(file, position, slices);
        }
        let half = &slices[0][..slices[0].len() / 2];
        OsDisk.write_all_at(file, position, half)?;
        Err(io::Error::from_raw_os_error(28))
    }
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<File> {
        self.or_fail(|| OsDisk.open(path, mode))
    }
    fn truncate(&self, file: &File, length: u64) -> io::Result<()> {
        self.or_fail(|| OsDisk.truncate(file, length))
    }
    fn sync_data(&self, file: &File) -> io::Result<()> {
        self.or_fail(|| OsDisk.sync_data(file))
    }
    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        self.or_fail(|| OsDisk.sync_directory(directory))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.or_fail(|| OsDisk.rename(from, to))
    }
    fn length(&self, file: &File) -> io::Result<u64> {
        OsDisk.length(file)
    }
    fn read_at(&self, file: &File, position: u64, into: &mut [u8]) -> io::Result<usize> {
        OsDisk.read_at(file, position, into)
    }
    fn allocate(&self, file: &File, position: u64, length: u64) -> io::Result<()> {
        OsDisk.allocate(file, position, length)
    }
    fn sync_file_system(&self, file: &File) -> io::Result<()> {
        OsDisk.sync_file_system(file)
    }
    fn start_write_out(&self, file: &File, position: u64, length: u64) -> io::Result<()> {
        OsDisk.start_write_out(file, position, length)
    }
    fn wait_write_out(&self, file: &File, position: u64, length: u64) -> io::Result<()> {
        OsDisk.wait_write_out(file, position, length)
    }
    fn drop_pages(&self, file: &File, position: u64, length: u64) -> io::Result<()> {
        OsDisk.drop_pages(file, position, length)
    }
    fn residency(&self, file: &File, position: u64, length: u64) -> io::Result<Option<Residency>> {
        OsDisk.residency(file, position, length)
    }
    fn modified_ms(&self, file: &File) -> io::Result<i64> {
        OsDisk.modified_ms(file)
    }
    fn set_modified_ms(&self, file: &File, ms: i64) -> io::Result<()> {
        OsDisk.set_modified_ms(file, ms)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        OsDisk.remove_file(path)
    }
    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        OsDisk.remove_directory(path)
    }
    fn create_directory(&self, path: &Path) -> io::Result<()> {
        OsDisk.create_directory(path)
    }
    fn list(&self, directory: &Path) -> io::Result<Vec<Entry>> {
        OsDisk.list(directory)
    }
    fn exists(&self, path: &Path) -> io::Result<bool> {
        OsDisk.exists(path)
    }
    fn space(&self, directory: &Path) -> io::Result<Space> {
        OsDisk.space(directory)
    }
    fn lock(&self, path: &Path) -> io::Result<File> {
        OsDisk.lock(path)
    }
}

#[test]
fn whatever_call_fails_what_was_acknowledged_is_read_back_and_a_refused_commit_changes_nothing() {
    let large: Overrides = (0..40).map(|n| (format!("k{n}"), "v".repeat(30_000))).collect();
    let id = Uuid([1; 16]);
    let commits = [
        vec![topic(1, "a", 3)],
        vec![Change::ProducerIdsBelow(1000)],
        vec![Change::OverridesSet { id, overrides: large }], // makes a snapshot due
        vec![topic(2, "b", 1), Change::DeleteBegun { id }],
        vec![Change::DeleteDone { id }],
    ];
    for for_good in [false, true] {
        let mut failures = 0;
        for call in 0.. {
            let dir = tempfile::tempdir().unwrap();
            open_in(dir.path()).unwrap();
            let disk = Arc::new(Failing { calls_left: AtomicI64::new(call), for_good });
            let dirs = [dir.path().to_owned()];
            let opened = Embedded::open(disk.clone(), &dirs, &Owner::default(), &mut random());
            let Ok((mut store, _)) = opened else {
                failures += 1;
                continue; // refused before anything was asked of it
            };
            let mut acknowledged = store.state().clone();
            let mut possible = Vec::new();
            let mut was_refused = false;
            for changes in &commits {
                let mut next: State = acknowledged.clone();
                let fits = next.apply_all(changes).is_ok();
                match now(store.commit(changes.clone())) {
                    Ok(()) => {
                        acknowledged = next;
                        possible.clear();
                    }
                    Err(StoreError::Unfit(_)) => assert!(!fits && was_refused),
                    Err(error) => {
                        was_refused = true;
                        possible.push(next);
                        let stopped = matches!(error, StoreError::Stopped { .. });
                        assert!(stopped || matches!(error, StoreError::Io { .. }), "{error}");
                    }
                }
                assert_eq!(store.state(), &acknowledged, "call {call}");
            }
            failures += i64::from(was_refused);
            let (mut store, _) = open_in(dir.path()).unwrap();
            let read = store.state().clone();
            assert!(read == acknowledged || possible.contains(&read), "call {call}: {read:?}");
            now(store.commit(vec![Change::ProducerIdsBelow(5000)])).unwrap();
            if disk.calls_left.load(Ordering::Relaxed) > 0 {
                break; // there was no such call
            }
        }
        assert!(failures > 10, "only {failures} calls failed");
    }
}

fn change() -> impl Strategy<Value = Change> {
    let id = (1u8..6).prop_map(|n| Uuid([n; 16]));
    prop_oneof![
        4 => (1u8..6, 0u8..4, 1usize..5).prop_map(|(n, name, count)| topic(n, &format!("t{name}"), count)),
        2 => (id.clone(), proptest::collection::vec(-3i32..3, 1..4))
            .prop_map(|(id, leader_epochs)| Change::PartitionsAdded { id, leader_epochs, placements: Vec::new() }),
        1 => (id.clone(), 0i32..6).prop_map(|(id, partition_count)| Change::PartitionsTakenBack { id, partition_count }),
        2 => (id.clone(), proptest::collection::btree_map("[a-z]{0,5}", ".{0,5}", 0..3))
            .prop_map(|(id, overrides)| Change::OverridesSet { id, overrides }),
        1 => ("[a-z]{1,2}", proptest::collection::btree_map("[a-z]{0,5}", ".{0,5}", 0..3))
            .prop_map(|(path, settings)| Change::SettingsSet { path: path.into(), settings }),
        2 => id.clone().prop_map(|id| Change::DeleteBegun { id }),
        1 => id.prop_map(|id| Change::DeleteDone { id }),
        1 => (0i64..5).prop_map(|n| Change::ProducerIdsBelow(n * 1000)),
        1 => (0i32..5).prop_map(Change::Incarnation),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_was_committed_is_what_is_read_back(commits in proptest::collection::vec(proptest::collection::vec(change(), 1..4), 1..20)) {
        let dir = tempfile::tempdir().unwrap();
        let (mut store, _) = open_in(dir.path()).unwrap();
        let mut model = store.state().clone();
        let mut names: BTreeMap<String, Uuid> = BTreeMap::new();
        for (index, changes) in commits.into_iter().enumerate() {
            let mut next = model.clone();
            let fits = next.apply_all(&changes).is_ok();
            prop_assert_eq!(now(store.commit(changes)).is_ok(), fits);
            if fits {
                model = next;
            }
            prop_assert_eq!(store.state(), &model);
            if index % 3 == 2 {
                store = open_in(dir.path()).unwrap().0;
                prop_assert_eq!(store.state(), &model);
            }
        }
        names.extend(model.topics().map(|topic| (topic.name.to_string(), topic.id)));
        prop_assert_eq!(names.len(), model.topics().len());
        for (name, id) in names {
            prop_assert_eq!(model.topic_named(&name).unwrap().id, id);
        }
        let (store, _) = open_in(dir.path()).unwrap();
        prop_assert_eq!(store.state(), &model);
    }
}
