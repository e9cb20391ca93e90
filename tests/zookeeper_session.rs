//! The session against real ZooKeeper servers: what holds through lost connections, a killed leader, an expiry.

mod outside;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use outside::zookeeper::{Ensemble, missing};
use outside::{Folder, skip};
use ringdaw::metadata::zookeeper::client::Client;
use ringdaw::metadata::zookeeper::jute::{Mode, Operation, WatchKind, ZkError};
use ringdaw::metadata::zookeeper::session::{Event, Options};
use tokio::sync::mpsc;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(60);

fn options(connect: &str, chroot: &str, session_ms: u64) -> Options {
    Options {
        servers: connect.split(',').map(str::to_owned).collect(),
        chroot: chroot.to_owned(),
        session_timeout: Duration::from_millis(session_ms),
        in_flight_max: 10,
        seed: 1,
    }
}

fn client(options: Options) -> (Client, mpsc::UnboundedReceiver<Event>) {
    let (events, received) = mpsc::unbounded_channel();
    (Client::start(options, events).expect("a thread"), received)
}

async fn next(events: &mut mpsc::UnboundedReceiver<Event>) -> Event {
    timeout(PATIENCE, events.recv()).await.expect("an event in time").expect("a living session")
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// A door between client and server that can be shut: what goes through it stops, and comes no more.
struct Door {
    address: SocketAddr,
    shut: Arc<AtomicBool>,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Door {
    fn before(port: u16) -> Door {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let shut = Arc::new(AtomicBool::new(false));
        let open: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
        let (is_shut, streams) = (shut.clone(), open.clone());
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let Ok(client) = client else { return };
                if is_shut.load(Ordering::SeqCst) {
                    continue;
                }
                let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { continue };
                for (mut from, mut to) in [
                    (client.try_clone().unwrap(), server.try_clone().unwrap()),
                    (server.try_clone().unwrap(), client.try_clone().unwrap()),
                ] {
                    std::thread::spawn(move || {
                        let mut bytes = [0; 4096];
                        while let Ok(count @ 1..) = from.read(&mut bytes) {
                            if to.write_all(&bytes[..count]).is_err() {
                                break;
                            }
                        }
                        let _ = to.shutdown(Shutdown::Both);
                    });
                }
                streams.lock().unwrap().extend([client, server]);
            }
        });
        Door { address, shut, open }
    }

    fn shut(&self) {
        self.shut.store(true, Ordering::SeqCst);
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn open(&self) {
        self.shut.store(false, Ordering::SeqCst);
    }
}

#[test]
fn operations_watches_and_multis_mean_what_zookeeper_says() {
    if let Some(why) = missing() {
        return skip("operations_watches_and_multis_mean_what_zookeeper_says", &why);
    }
    let folder = Folder::new("zk-operations");
    let ensemble = Ensemble::start(folder.path(), 1);
    block_on(async {
        let (zk, mut events) = client(options(&ensemble.connect(), "/kafka/one", 4000));
        zk.connected(PATIENCE).await.unwrap();
        zk.ensure_chroot().await.unwrap();
        zk.ensure_chroot().await.unwrap();
        let Event::Session { id } = next(&mut events).await else { panic!("no session") };
        // Null and empty data are two things, and a chroot is invisible.
        assert_eq!(zk.create("/a", None, Mode::Persistent).await, Ok("/a".to_owned()));
        assert_eq!(zk.create("/b", Some(b""), Mode::Persistent).await, Ok("/b".to_owned()));
        assert_eq!(zk.create("/a", None, Mode::Persistent).await, Err(ZkError::NodeExists));
        assert_eq!(zk.create("/no/parent", None, Mode::Persistent).await, Err(ZkError::NoNode));
        assert_eq!(zk.data("/a", false).await.unwrap().0, None);
        assert_eq!(zk.data("/b", false).await.unwrap().0, Some(vec![]));
        let children: BTreeSet<String> = zk.children("/", false).await.unwrap().into_iter().collect();
        assert_eq!(children, BTreeSet::from(["a".to_owned(), "b".to_owned()]));
        let (plain, _) = client(options(&ensemble.connect(), "", 4000));
        assert!(plain.exists("/kafka/one/a", false).await.unwrap().is_some());
        // Ephemeral nodes belong to the session, sequential ones get ten digits.
        zk.create("/e", Some(b"x"), Mode::Ephemeral).await.unwrap();
        assert_eq!(zk.exists("/e", false).await.unwrap().unwrap().ephemeral_owner, id);
        let sequential = zk.create("/a/n_", None, Mode::PersistentSequential).await.unwrap();
        assert_eq!(sequential, "/a/n_0000000000");
        assert_eq!(zk.delete("/a", -1).await, Err(ZkError::NotEmpty));
        // Conditional writes.
        assert_eq!(zk.set_data("/b", Some(b"1"), 0).await.unwrap().version, 1);
        assert_eq!(zk.set_data("/b", Some(b"2"), 0).await, Err(ZkError::BadVersion));
        // Watches fire once.
        assert_eq!(zk.exists("/new", true).await, Ok(None));
        zk.data("/b", true).await.unwrap();
        zk.children("/a", true).await.unwrap();
        plain.create("/kafka/one/new", None, Mode::Persistent).await.unwrap();
        plain.set_data("/kafka/one/b", Some(b"3"), -1).await.unwrap();
        plain.create("/kafka/one/a/c", None, Mode::Persistent).await.unwrap();
        for (kind, path) in
            [(WatchKind::Created, "/new"), (WatchKind::DataChanged, "/b"), (WatchKind::ChildrenChanged, "/a")]
        {
            assert_eq!(next(&mut events).await, Event::Node { kind, path: path.to_owned() });
        }
        plain.set_data("/kafka/one/b", Some(b"4"), -1).await.unwrap();
        zk.sync().await.unwrap();
        assert!(events.try_recv().is_err(), "a watch fired twice");
        // A multi happens whole or not at all, and names what failed.
        let check = |version| Operation::Check { path: "/b".into(), version };
        let create = |path: &str| Operation::Create { path: path.into(), data: None, mode: Mode::Persistent };
        let refused = zk.multi(vec![create("/m1"), check(99), create("/m2")]).await.all();
        assert_eq!(refused, Err((1, ZkError::BadVersion)));
        assert_eq!(zk.exists("/m1", false).await, Ok(None));
        let made = zk.multi(vec![check(3), create("/m1"), create("/m2")]).await.all().unwrap();
        assert_eq!(made.len(), 3);
        assert!(zk.exists("/m2", false).await.unwrap().is_some());
        // Many at once come back in order, however few may be on their way.
        let reads = (0..500).map(|_| zk.data("/b", false));
        for read in reads {
            assert_eq!(read.await.unwrap().0, Some(b"4".to_vec()));
        }
        // A closed session takes its ephemeral nodes along at once.
        zk.close().await;
        assert_eq!(zk.exists("/b", false).await, Err(ZkError::Closed));
        assert_eq!(plain.exists("/kafka/one/e", false).await, Ok(None));
    });
}

#[test]
fn a_session_lives_through_a_lost_connection_and_its_watches_too() {
    if let Some(why) = missing() {
        return skip("a_session_lives_through_a_lost_connection_and_its_watches_too", &why);
    }
    let folder = Folder::new("zk-reconnect");
    let ensemble = Ensemble::start(folder.path(), 1);
    let door = Door::before(ensemble.servers[0].port);
    block_on(async {
        let (zk, mut events) = client(options(&door.address.to_string(), "/k", 10_000));
        zk.connected(PATIENCE).await.unwrap();
        zk.ensure_chroot().await.unwrap();
        let Event::Session { id } = next(&mut events).await else { panic!("no session") };
        zk.create("/e", None, Mode::Ephemeral).await.unwrap();
        zk.create("/d", None, Mode::Persistent).await.unwrap();
        zk.data("/d", true).await.unwrap();
        zk.exists("/x", true).await.unwrap();
        zk.children("/", true).await.unwrap();
        let (other, _) = client(options(&ensemble.connect(), "/k", 10_000));
        door.shut();
        // While nobody listens, three things change; a call made meanwhile waits.
        other.set_data("/d", Some(b"1"), -1).await.unwrap();
        other.create("/x", None, Mode::Persistent).await.unwrap();
        let waits = tokio::spawn({
            let zk = zk.clone();
            async move { zk.create("/late", Some(b"l"), Mode::Ephemeral).await }
        });
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert!(!waits.is_finished());
        door.open();
        let mut fired = BTreeSet::new();
        for _ in 0..3 {
            let Event::Node { kind, path } = next(&mut events).await else { panic!("the session went") };
            fired.insert(format!("{kind:?} {path}"));
        }
        let wanted = ["ChildrenChanged /", "Created /x", "DataChanged /d"];
        assert_eq!(fired.iter().map(String::as_str).collect::<Vec<_>>(), wanted);
        assert_eq!(waits.await.unwrap(), Ok("/late".to_owned()));
        assert_eq!(zk.exists("/e", false).await.unwrap().unwrap().ephemeral_owner, id);
    });
}

#[test]
fn an_expired_session_fails_what_waits_and_is_followed_by_a_new_one() {
    if let Some(why) = missing() {
        return skip("an_expired_session_fails_what_waits_and_is_followed_by_a_new_one", &why);
    }
    let folder = Folder::new("zk-expiry");
    let ensemble = Ensemble::start(folder.path(), 1);
    let door = Door::before(ensemble.servers[0].port);
    block_on(async {
        let (zk, mut events) = client(options(&door.address.to_string(), "", 1000));
        zk.connected(PATIENCE).await.unwrap();
        let Event::Session { id: first } = next(&mut events).await else { panic!("no session") };
        zk.create("/e", None, Mode::Ephemeral).await.unwrap();
        zk.exists("/w", true).await.unwrap();
        let (other, mut others) = client(options(&ensemble.connect(), "", 10_000));
        assert!(matches!(next(&mut others).await, Event::Session { .. }));
        other.exists("/e", true).await.unwrap();
        door.shut();
        let waits = tokio::spawn({
            let zk = zk.clone();
            async move { zk.create("/stale", None, Mode::Ephemeral).await }
        });
        // The servers decide when a session is over.
        let gone = Event::Node { kind: WatchKind::Deleted, path: "/e".to_owned() };
        assert_eq!(next(&mut others).await, gone);
        door.open();
        assert_eq!(next(&mut events).await, Event::Expired);
        let Event::Session { id: second } = next(&mut events).await else { panic!("no new session") };
        assert_ne!(first, second);
        assert_eq!(waits.await.unwrap(), Err(ZkError::SessionExpired));
        assert_eq!(zk.exists("/stale", false).await, Ok(None));
        // The old session's watch is gone with it.
        other.create("/w", None, Mode::Persistent).await.unwrap();
        zk.sync().await.unwrap();
        assert!(events.try_recv().is_err());
    });
}

#[test]
fn the_loss_of_the_leader_of_three_costs_a_pause_and_no_session() {
    const NAME: &str = "the_loss_of_the_leader_of_three_costs_a_pause_and_no_session";
    if let Some(why) = missing() {
        return skip(NAME, &why);
    }
    let folder = Folder::new("zk-ensemble");
    let mut ensemble = Ensemble::start(folder.path(), 3);
    block_on(async {
        let (zk, mut events) = client(options(&ensemble.connect(), "/kafka", 10_000));
        zk.connected(PATIENCE).await.unwrap();
        zk.ensure_chroot().await.unwrap();
        let Event::Session { id } = next(&mut events).await else { panic!("no session") };
        zk.create("/e", None, Mode::Ephemeral).await.unwrap();
        let mut made = Vec::new();
        for round in 0..2 {
            let leader = ensemble.leader();
            let writer = tokio::spawn({
                let zk = zk.clone();
                async move {
                    let mut made = Vec::new();
                    for number in 0..200 {
                        let path = format!("/n-{round}-{number}");
                        assert_eq!(
                            zk.create(&path, Some(path.as_bytes()), Mode::Persistent).await,
                            Ok(path.clone())
                        );
                        made.push(path);
                        tokio::time::sleep(Duration::from_millis(2)).await;
                    }
                    made
                }
            });
            tokio::time::sleep(Duration::from_millis(100)).await;
            ensemble.servers[leader].kill();
            made.extend(timeout(PATIENCE, writer).await.expect("in time").unwrap());
            ensemble.servers[leader].start();
            ensemble.servers[leader].wait();
        }
        // Every acknowledged write is there, and the session is the same.
        for path in made {
            assert_eq!(zk.data(&path, false).await.unwrap().0, Some(path.into_bytes()));
        }
        assert_eq!(zk.exists("/e", false).await.unwrap().unwrap().ephemeral_owner, id);
        assert!(events.try_recv().is_err());
        zk.close().await;
    });
}

#[test]
fn no_server_is_one_sentence_that_names_them_and_the_reason() {
    let port = outside::process::free_port();
    block_on(async {
        let (zk, _events) = client(options(&format!("127.0.0.1:{port}"), "", 6000));
        let why = zk.connected(Duration::from_millis(400)).await.unwrap_err();
        let wanted = format!("no ZooKeeper server of 127.0.0.1:{port} could be reached within 400 ms");
        assert!(why.starts_with(&wanted), "{why}");
        assert!(why.contains("refused"), "{why}");
        zk.close().await;
    });
}
