//! The controller against a real ZooKeeper: what is read, written under the fence, and watched.

mod outside;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use outside::zookeeper::{Ensemble, missing};
use outside::{Folder, skip};
use ringdaw::config::version::Version;
use ringdaw::controller::{ControlRequest, Controller, Event, Fence, Lost, Terms, ZooKeeperSession};
use ringdaw::ids::BrokerId;
use ringdaw::metadata::zookeeper::client::Client;
use ringdaw::metadata::zookeeper::jute::{Mode, Operation};
use ringdaw::metadata::zookeeper::session::{self, Options};
use ringdaw::metadata::zookeeper::znode::{self, StateNode, TopicNode};
use tokio::sync::mpsc;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(60);

type Events = mpsc::UnboundedReceiver<session::Event>;

async fn connect(ensemble: &Ensemble) -> (Client, Events) {
    let options = Options {
        servers: ensemble.connect().split(',').map(str::to_owned).collect(),
        chroot: "/cluster".to_owned(),
        session_timeout: Duration::from_secs(8),
        in_flight_max: 10,
        seed: 1,
    };
    let (events, received) = mpsc::unbounded_channel();
    let client = Client::start(options, events).expect("a thread");
    client.connected(PATIENCE).await.unwrap();
    client.ensure_chroot().await.unwrap();
    (client, received)
}

async fn make(client: &Client, path: &str, data: Option<&[u8]>) {
    for (end, _) in path.match_indices('/').skip(1) {
        let _ = client.create(&path[..end], None, Mode::Persistent).await; // it may be there
    }
    client.create(path, data, Mode::Persistent).await.unwrap();
}

async fn register(client: &Client, id: i32) {
    let data = format!(
        r#"{{"version":5,"host":"h","port":1,"endpoints":["PLAINTEXT://h{id}:1"],"listener_security_protocol_map":{{"PLAINTEXT":"PLAINTEXT"}},"features":{{}}}}"#
    );
    client.create(&znode::broker(id), Some(data.as_bytes()), Mode::Ephemeral).await.unwrap();
}

async fn elected(client: &Client, id: i32, protocol: &str) -> Controller<ZooKeeperSession> {
    let (data, stat) = client.data(znode::CONTROLLER_EPOCH, false).await.unwrap();
    let epoch = znode::decode_controller_epoch(&data.unwrap()).unwrap() + 1;
    let _ = client.delete(znode::CONTROLLER, -1).await; // there may be none
    let multi = vec![
        Operation::Create { path: znode::CONTROLLER.into(), data: None, mode: Mode::Ephemeral },
        Operation::SetData {
            path: znode::CONTROLLER_EPOCH.into(),
            data: Some(epoch.to_string().into_bytes()),
            version: stat.version,
        },
    ];
    client.multi(multi).await.all().unwrap();
    let mut next = 0;
    let terms = Terms {
        broker_id: BrokerId(id),
        protocol: Version::parse(protocol).unwrap(),
        inter_broker_listener: "PLAINTEXT".into(),
        delete_topic_enable: true,
        unclean_leader_election: false,
        imbalance_percentage: 10,
        random: Box::new(move || {
            next += 1;
            next
        }),
    };
    let fence = Fence { epoch, version: stat.version + 1 };
    Controller::elected(ZooKeeperSession(client.clone()), terms, fence).await.unwrap()
}

/// Hands on what fires until `done`.
async fn until(
    controller: &mut Controller<ZooKeeperSession>,
    events: &mut Events,
    mut done: impl FnMut(&Controller<ZooKeeperSession>) -> bool,
) {
    while !done(controller) {
        let event = timeout(PATIENCE, events.recv()).await.expect("an event in time").expect("a session");
        let session::Event::Node { path, .. } = event else { continue };
        if let Some(event) = Event::of_path(&path) {
            controller.handle(event).await.unwrap();
        }
    }
}

async fn state(client: &Client, topic: &str, partition: i32) -> (StateNode, i32) {
    let path = znode::partition_state(topic, partition);
    let (data, stat) = client.data(&path, false).await.unwrap();
    (StateNode::decode(&path, &data.unwrap()).unwrap(), stat.version)
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

async fn prepare(client: &Client) {
    for path in znode::PERSISTENT {
        make(client, path, None).await;
    }
    make(client, znode::CONTROLLER_EPOCH, Some(b"0")).await;
}

#[test]
fn topics_brokers_and_a_successor_are_seen_through_a_real_ensemble() {
    if let Some(why) = missing() {
        return skip("topics_brokers_and_a_successor_are_seen_through_a_real_ensemble", &why);
    }
    let folder = Folder::new("controller");
    let ensemble = Ensemble::start(folder.path(), 1);
    block_on(async {
        let (one, mut events) = connect(&ensemble).await;
        let (two, mut events_of_two) = connect(&ensemble).await;
        prepare(&one).await;
        register(&one, 1).await;
        register(&two, 2).await;
        let mut controller = elected(&one, 1, "3.9").await;
        assert_eq!(controller.brokers().len(), 2);
        assert!(two.exists(znode::FEATURE, false).await.unwrap().is_some());
        // Somebody makes a topic, another one is there already and has no id.
        let node = TopicNode {
            partitions: BTreeMap::from([(0, vec![2, 1]), (1, vec![1, 2])]),
            ..TopicNode::default()
        };
        make(&two, "/brokers/topics/t", Some(&node.encode())).await;
        until(&mut controller, &mut events, |it| it.context().topic("t").is_some()).await;
        let (found, version) = state(&two, "t", 0).await;
        assert_eq!((found.leader, found.leader_epoch, &*found.isr, version), (2, 0, &[2, 1][..], 0));
        let (data, _) = two.data("/brokers/topics/t", false).await.unwrap();
        assert!(TopicNode::decode("/t", &data.unwrap()).unwrap().topic_id.is_some());
        let kinds: Vec<char> = controller
            .take_outbox()
            .iter()
            .map(|outgoing| match outgoing.request {
                ControlRequest::LeaderAndIsr(_) => 'L',
                ControlRequest::UpdateMetadata(_) => 'M',
                ControlRequest::StopReplica(_) => 'S',
            })
            .collect();
        assert_eq!(kinds, ['M', 'M', 'L', 'L', 'M', 'M']);
        // Preferred leaders are asked for by a node that was not there when it was watched.
        let wish = znode::encode_partitions(&[("t".to_owned(), 0)]);
        make(&two, znode::PREFERRED_ELECTION, Some(&wish)).await;
        let handled = timeout(PATIENCE, async {
            loop {
                let Some(session::Event::Node { path, .. }) = events.recv().await else { continue };
                let Some(event) = Event::of_path(&path) else { continue };
                controller.handle(event.clone()).await.unwrap();
                if event == Event::PreferredElection {
                    return;
                }
            }
        });
        handled.await.expect("the watch fires");
        assert_eq!(two.exists(znode::PREFERRED_ELECTION, false).await, Ok(None));
        // Another one is elected: this one is refused, and says so.
        let mut successor = elected(&two, 2, "3.9").await;
        // A registration that is damaged later leaves its broker where it was.
        two.set_data(&znode::broker(2), Some(b"{}"), -1).await.unwrap();
        assert_eq!(controller.check_balance().await, Ok(()), "nothing is written");
        make(&two, "/brokers/topics/u", Some(&node.encode())).await;
        assert_eq!(controller.handle(Event::Topics).await, Err(Lost::Deposed));
        drop(controller);
        // The broker of the first goes, and the second moves what it led.
        one.close().await;
        until(&mut successor, &mut events_of_two, |it| it.brokers().len() == 1).await;
        let (found, _) = state(&two, "t", 1).await;
        assert_eq!((found.leader, found.controller_epoch, &*found.isr), (2, 2, &[2][..]));
        // A session that ends takes the office along.
        two.close().await;
        assert!(matches!(successor.handle(Event::Topics).await, Err(Lost::Away { .. })));
    });
}

/// What a failover costs, printed: a tenth of it in every run, all of it when asked for.
fn fail_over(partitions: i32) {
    let folder = Folder::new("controller-failover");
    let ensemble = Ensemble::start(folder.path(), 1);
    block_on(async {
        let (one, _) = connect(&ensemble).await;
        let (two, _) = connect(&ensemble).await;
        prepare(&two).await;
        for id in [2, 3] {
            register(&two, id).await;
        }
        let topics = partitions / 100;
        let create = |path: String, data| Operation::Create { path, data, mode: Mode::Persistent };
        for topic in 0..topics {
            let name = format!("t{topic}");
            let node = TopicNode {
                partitions: (0..100)
                    .map(|number| (number, vec![1 + number % 3, 1 + (number + 1) % 3]))
                    .collect(),
                topic_id: Some(ringdaw::wire::primitive::Uuid([topic as u8 + 1; 16])),
                ..TopicNode::default()
            };
            let mut multi = vec![
                create(znode::topic(&name), Some(node.encode())),
                create(format!("{}/partitions", znode::topic(&name)), None),
            ];
            for (number, replicas) in &node.partitions {
                let state = StateNode {
                    controller_epoch: 0,
                    leader: replicas[0],
                    leader_epoch: 0,
                    isr: replicas.clone(),
                    recovering: false,
                };
                let path = znode::partition_state(&name, *number);
                multi.push(create(path.trim_end_matches("/state").to_owned(), None));
                multi.push(create(path, Some(state.encode())));
            }
            two.multi(multi).await.all().unwrap();
        }
        one.close().await;
        let begun = Instant::now();
        let mut controller = elected(&two, 2, "3.9").await;
        let sent = controller.take_outbox();
        let mut bytes = Vec::new();
        let protocol = Version::parse("3.9").unwrap();
        sent.iter().for_each(|outgoing| outgoing.request.encode(&mut bytes, protocol));
        let took = begun.elapsed();
        println!(
            "{partitions} partitions, a third led by a dead broker: {took:?}, {} bytes to say",
            bytes.len()
        );
        let leaders = controller.context().all_partitions().filter_map(|(_, it)| it.lead.as_ref()?.leader);
        assert_eq!(leaders.count() as i32, partitions);
        two.close().await;
    });
}

#[test]
fn partitions_of_a_dead_broker_are_led_again_by_a_new_controller() {
    match missing() {
        Some(why) => skip("partitions_of_a_dead_broker_are_led_again_by_a_new_controller", &why),
        None => fail_over(1_000),
    }
}

#[test]
#[ignore = "prints what a failover of 10,000 partitions costs"]
fn ten_thousand_partitions_fail_over() {
    match missing() {
        Some(why) => skip("ten_thousand_partitions_fail_over", &why),
        None => fail_over(10_000),
    }
}
