//! Changes of metadata under kill -9 (`FAULTS.md` F17): what was acknowledged is there after the restart, what was in
//! doubt is there whole or not at all, and no topic is left that can be neither used nor deleted.

mod outside;

use outside::client::Client;
use outside::process::Broker;
use outside::{Folder, Numbers};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

const ROUNDS: u64 = 12;
const NAMES: u64 = 6;

/// What a topic may be, by its name: `None` is "not there", `Some` its number of partitions. More than one value
/// means that a change was on its way when the broker was killed.
type Books = BTreeMap<String, BTreeSet<Option<usize>>>;

#[test]
fn creation_deletion_and_growth_survive_kill_9_at_any_moment() {
    let folder = Folder::new("metadata-crash");
    let mut numbers = Numbers::seeded("creation_deletion_and_growth_survive_kill_9_at_any_moment");
    let mut books: Books = (0..NAMES).map(|n| (format!("t{n}"), BTreeSet::from([None]))).collect();
    let mut last_producer_id = -1;
    let mut acknowledged = 0;
    for round in 0..ROUNDS {
        let broker = Broker::start(folder.path(), &[]);
        settle(&mut books, broker.address, &folder.join("data"), round);
        let address = broker.address;
        let seed = numbers.below(u64::MAX >> 34);
        let changer = std::thread::spawn(move || change_until_killed(address, books, seed));
        std::thread::sleep(Duration::from_millis(20 + numbers.below(400)));
        let id = broker.client().and_then(|mut client| client.new_producer_id()).expect("a producer id");
        assert!(id > last_producer_id, "producer id {id} was given away before, in round {round}");
        last_producer_id = id;
        broker.kill();
        let (returned, done) = changer.join().expect("the changing thread");
        books = returned;
        acknowledged += done;
    }
    let broker = Broker::start(folder.path(), &[]);
    settle(&mut books, broker.address, &folder.join("data"), ROUNDS);
    assert!(acknowledged > ROUNDS, "only {acknowledged} changes were acknowledged in {ROUNDS} rounds");
    // Whatever the crashes left, it can be deleted, and then nothing remains.
    let mut client = broker.client().expect("a connection");
    for name in client.topics().expect("the topics").keys() {
        assert_eq!(client.delete_topic(name).expect("an answer"), 0, "{name}");
    }
    broker.stop();
    assert_eq!(replica_directories(&folder.join("data")), BTreeSet::new());
}

/// Compares a started broker with the books, and the directories with both; afterwards nothing is in doubt.
fn settle(books: &mut Books, address: SocketAddr, data: &Path, round: u64) {
    let mut client = Client::connect(address).expect("a connection");
    let topics = client.topics().expect("the topics");
    let mut directories = BTreeSet::new();
    for (name, possible) in books.iter_mut() {
        let seen = topics.get(name).copied();
        assert!(possible.contains(&seen), "round {round}: {name} is {seen:?}, but only {possible:?} can be");
        *possible = BTreeSet::from([seen]);
        for partition in 0..seen.unwrap_or(0) {
            let (code, end) = client.offset_at(name, partition as i32, -1).expect("an offset");
            assert_eq!((code, end), (0, 0), "round {round}: {name}-{partition}");
            directories.insert(format!("{name}-{partition}"));
        }
    }
    assert_eq!(topics.len(), books.values().filter(|possible| !possible.contains(&None)).count());
    assert_eq!(replica_directories(data), directories, "round {round}");
}

/// Directories of replicas that are served: those renamed for deletion wait for their files to go.
fn replica_directories(data: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(data).expect("the data directory");
    let entries = entries.map(|entry| entry.expect("an entry"));
    let directories = entries.filter(|entry| entry.file_type().expect("its type").is_dir());
    directories
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| !name.ends_with("-delete"))
        .collect()
}

/// Changes topics until the connection breaks; the books come back with what was in doubt then.
fn change_until_killed(address: SocketAddr, mut books: Books, seed: u64) -> (Books, u64) {
    let mut numbers = Numbers::from(seed);
    let mut done = 0;
    let Ok(mut client) = Client::connect(address) else { return (books, done) };
    loop {
        let name = format!("t{}", numbers.below(NAMES));
        let possible = books.get_mut(&name).expect("a name of the books");
        let now = *possible.first().expect("a topic is something");
        let (next, answer) = match now {
            None => {
                let count = 1 + numbers.below(20) as usize;
                possible.insert(Some(count));
                (Some(count), client.create_topic(&name, count as i32, &[("retention.ms", "1000000")]))
            }
            Some(count) if count < 60 && numbers.below(3) == 0 => {
                let more = count + 1 + numbers.below(10) as usize;
                possible.insert(Some(more));
                (Some(more), grow(&mut client, &name, more))
            }
            Some(_) => {
                possible.insert(None);
                (None, client.delete_topic(&name))
            }
        };
        let Ok(code) = answer else { return (books, done) };
        assert_eq!(code, 0, "{name} from {now:?} to {next:?}");
        *possible = BTreeSet::from([next]);
        done += 1;
    }
}

/// CreatePartitions at version 0.
fn grow(client: &mut Client, name: &str, count: usize) -> io::Result<i16> {
    let mut body = 1i32.to_be_bytes().to_vec();
    body.extend_from_slice(&(name.len() as i16).to_be_bytes());
    body.extend_from_slice(name.as_bytes());
    body.extend_from_slice(&(count as i32).to_be_bytes());
    body.extend_from_slice(&(-1i32).to_be_bytes()); // the broker chooses the replicas
    body.extend_from_slice(&30_000i32.to_be_bytes());
    body.push(0);
    client.send(37, 0, &body)?;
    let answer = client.receive()?;
    // Throttle time, one result, its name: then the code.
    let at = 8 + 2 + name.len();
    let code = answer.get(at..at + 2).ok_or_else(|| io::Error::other("an answer is cut short"))?;
    Ok(i16::from_be_bytes([code[0], code[1]]))
}

/// More orders than a reactor's mailbox holds: those that did not fit were once left lying, and the broker with them.
#[test]
fn a_topic_of_thousands_of_partitions_is_made_and_deleted() {
    let folder = Folder::new("thousands");
    let broker = Broker::start(folder.path(), &[]);
    let mut client = broker.client().expect("a connection");
    assert_eq!(client.create_topic("big", 3000, &[]).expect("CreateTopics"), 0);
    assert_eq!(client.delete_topic("big").expect("DeleteTopics"), 0);
    assert_eq!(client.create_topic("big", 3, &[]).expect("CreateTopics"), 0);
    assert_eq!(client.topics().expect("Metadata").get("big"), Some(&3));
    broker.stop();
}
