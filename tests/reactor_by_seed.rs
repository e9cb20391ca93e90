//! A reactor's two loops over a world without a kernel: sockets cut anywhere, completions in any order, short files.
//!
//! In: produce and fetch requests of several connections, by seed. Out: what the loops sent, read back as a client would.
//! Every acknowledged batch is read once, in order, with the offset its producer was told; a failure prints its seed.

use std::sync::Arc;

use ringdaw::api::list_offsets;
use ringdaw::broker::reactor_thread::{Directive, Message, Parts, Reactor};
use ringdaw::config::{Config, TopicConfig};
use ringdaw::control_thread;
use ringdaw::ids::{BrokerId, Home, LeaderEpoch, ReactorId};
use ringdaw::io_thread::order::{Order, Replica};
use ringdaw::io_thread::{DirectoryState, IoLoop, Surroundings};
use ringdaw::log::window::WindowLimits;
use ringdaw::log::{Log, LogConfig};
use ringdaw::metadata::{Cluster, Difference, Image, Partition, Topic};
use ringdaw::metrics::Registry;
use ringdaw::network_thread::NetworkLoop;
use ringdaw::reactor::Engine as _;
use ringdaw::reactor::mailbox::{Sender, Sleeper, mailbox};
use ringdaw::reactor::{Disk as _, Socket};
use ringdaw::sim::{SimDisk, SimEngine};
use ringdaw::wire::error_code::ErrorCode;
use ringdaw::wire::frame::{self, Front};
use ringdaw::wire::header::{RequestHeader, ResponseHeader, put_request};
use ringdaw::wire::message::Message as _;
use ringdaw::wire::message::fetch::{FetchRequest, FetchRequestPartition, FetchRequestTopic, FetchResponse};
use ringdaw::wire::message::list_offsets::{
    ListOffsetsRequest, ListOffsetsRequestPartition, ListOffsetsRequestTopic, ListOffsetsResponse,
};
use ringdaw::wire::message::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic, OffsetCommitResponse,
};
use ringdaw::wire::message::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestTopic, OffsetFetchResponse,
};
use ringdaw::wire::message::produce::{
    ProduceRequest, ProduceRequestPartitionData, ProduceRequestTopicData, ProduceResponse,
};
use ringdaw::wire::primitive::{Reader, Uuid};
use ringdaw::wire::version::ApiKey;

const PARTITIONS: i32 = 3;
/// When the first record of each partition was made; each that follows is a millisecond later.
const FIRST_MS: i64 = 1_700_000_000_000;
const TOPIC_ID: Uuid = Uuid([7; 16]);

/// The partition of `__consumer_offsets` has the slot behind those of the topic.
const OFFSETS: &str = "__consumer_offsets";
const OFFSETS_ID: Uuid = Uuid([8; 16]);
const OFFSETS_SLOT: u32 = PARTITIONS as u32;
const SLOTS: u32 = OFFSETS_SLOT + 1;

fn replica(slot: u32, topic: &str, partition: i32, log: Log, config: &Arc<TopicConfig>) -> Replica {
    let (topic, config) = (topic.into(), Arc::clone(config));
    Replica { slot, topic, partition, leader_epoch: LeaderEpoch(0), alone: true, config, directory: 0, log }
}

struct World {
    disk: SimDisk,
    engine: SimEngine,
    reactor: Reactor,
    directives: Sender<Directive>,
    config: Arc<Config>,
}

impl World {
    fn new(seed: u64) -> World {
        let disk = SimDisk::new(seed);
        // In every other world half of what a look-up needs is not in memory.
        disk.set_cold(seed % 2 == 1);
        let engine = SimEngine::new(seed, disk.clone()).expect("an event");
        // Groups are loaded in many pieces.
        let mut config = Config::default();
        config.offsets_load_buffer_size = 4096;
        let config = Arc::new(config);
        let registry = Registry::new();
        let metrics = registry.thread("reactor-0");
        let path = std::path::PathBuf::from("/data");
        disk.create_directory(&path).expect("a directory");
        let directories = vec![DirectoryState::new(path.clone(), 0)];
        let home = |slot| Home { reactor: ReactorId(0), slot };
        let this = BrokerId(0);
        let topic_config = Arc::new(config.topic_defaults.clone());
        let topic = |name: &str, id, slots: std::ops::Range<u32>| {
            let partitions = slots.map(|slot| Partition {
                replica: Some(home(slot)),
                home: Some(home(slot)),
                leader: Some(this),
                leader_epoch: LeaderEpoch(0),
                replicas: [this].into(),
                isr: [this].into(),
            });
            let config = topic_config.clone();
            Difference::Put(Arc::new(Topic::new(
                name.into(),
                id,
                partitions.collect(),
                Arc::default(),
                config,
            )))
        };
        let topics = [topic("t", TOPIC_ID, 0..OFFSETS_SLOT), topic(OFFSETS, OFFSETS_ID, OFFSETS_SLOT..SLOTS)];
        let cluster =
            Cluster { id: "cluster".into(), this_broker: this, controller: Some(this), brokers: [].into() };
        let image = Image::new(cluster).with(topics).shared();
        let (control, _requests) = control_thread::channel();
        let network = NetworkLoop::new(
            ReactorId(0),
            config.clone(),
            image,
            control,
            Box::new(|_, _, _, _| unreachable!("no administrative request is sent")),
            metrics.clone(),
            vec![(None, "PLAINTEXT".into())],
            vec![ReactorId(0)],
            100,
        );
        // A small window, so that write-outs and drops happen.
        let limits = WindowLimits::new(64 << 10, 128 << 10);
        let surroundings = Surroundings {
            reactor: ReactorId(0),
            broker: this,
            directories,
            limits,
            notes: Box::new(|_| {}),
            propose: Box::new(|_| unreachable!("there is one replica of everything")),
        };
        let io = IoLoop::new(
            &config,
            registry,
            "reactor-0".to_owned(),
            metrics.clone(),
            surroundings,
            engine.now(),
        );
        let sleeper = Sleeper::new(engine.waker());
        let (mut directives, inbox) = mailbox(64, sleeper.clone());
        let log_config = Arc::new(LogConfig { segment_bytes: 60_000, ..LogConfig::default() });
        let replicas = (0..SLOTS).map(|slot| {
            let (topic, partition) = if slot < OFFSETS_SLOT {
                ("t", slot as i32)
            } else {
                (OFFSETS, (slot - OFFSETS_SLOT) as i32)
            };
            let path = path.join(format!("{topic}-{partition}"));
            let log = Log::create(&disk, &path, None, log_config.clone(), engine.wall()).expect("a log");
            replica(slot, topic, partition, log, &topic_config)
        });
        directives
            .push(Directive::Order(Order::Adopt { replicas: replicas.collect(), done: Box::new(|()| {}) }));
        directives.flush_by_call();
        let parts = Parts {
            id: ReactorId(0),
            engine: Box::new(engine.clone()),
            network: Some(network),
            io: Some(io),
            peers: Vec::new(),
            directives: inbox,
            sleeper,
            metrics,
            spin_us: 0,
        };
        World { disk, engine, reactor: Reactor::new(parts), directives, config }
    }

    /// A connection, served by the reactor under test.
    fn connect(&mut self) -> Client {
        let socket = self.engine.connect();
        let connection = Message::Connection { listener: 0, socket: socket.clone() };
        self.directives.push(Directive::Deliver(connection));
        self.directives.flush_by_call();
        Client { socket, received: Vec::new(), correlation: 0 }
    }

    fn turn(&mut self) {
        assert!(self.reactor.turn().expect("the engine never fails"));
    }
}

struct Client {
    socket: Socket,
    received: Vec<u8>,
    correlation: i32,
}

impl Client {
    fn send<'m>(&mut self, world: &World, version: i16, request: &impl ringdaw::wire::message::Message<'m>) {
        self.correlation += 1;
        let mut bytes = Vec::new();
        put_request(&mut bytes, version, self.correlation, Some("seeded"), request);
        world.engine.send(&self.socket, &bytes);
    }

    /// The body of the next answer, once it is whole.
    fn answer(&mut self, world: &World) -> Option<Vec<u8>> {
        self.received.extend(world.engine.take_sent(&self.socket));
        let Ok(Front::Whole { frame, used }) = frame::front(&self.received, 1 << 30) else { return None };
        let body = frame.to_vec();
        self.received.drain(..used);
        Some(body)
    }
}

fn batch(first: u64, count: u64) -> Vec<u8> {
    let mut builder =
        ringdaw::wire::batch_builder::BatchBuilder::new(ringdaw::wire::compression::Codec::None);
    for number in first..first + count {
        let mut value = number.to_be_bytes().to_vec();
        value.resize(8 + (number % 700) as usize, number as u8);
        builder.append(FIRST_MS + number as i64, None, Some(&value), &[]);
    }
    builder.build()
}

fn produce(partition: i32, records: &[u8]) -> ProduceRequest<'_> {
    let data = ProduceRequestPartitionData { index: partition, records: Some(records) };
    ProduceRequest {
        transactional_id: None,
        acks: -1,
        timeout_ms: 30_000,
        topic_data: vec![ProduceRequestTopicData { name: "t", partition_data: vec![data].into() }].into(),
    }
}

fn fetch<'a>(session: (i32, i32), offsets: &[(i32, i64)]) -> FetchRequest<'a> {
    let partitions: Vec<FetchRequestPartition> = offsets
        .iter()
        .map(|(partition, offset)| FetchRequestPartition {
            partition: *partition,
            fetch_offset: *offset,
            partition_max_bytes: 40_000,
            ..Default::default()
        })
        .collect();
    let topics = if partitions.is_empty() {
        Vec::new()
    } else {
        vec![FetchRequestTopic { topic_id: TOPIC_ID, partitions: partitions.into(), ..Default::default() }]
    };
    FetchRequest {
        max_wait_ms: 20,
        min_bytes: 1,
        max_bytes: 100_000,
        session_id: session.0,
        session_epoch: session.1,
        topics: topics.into(),
        ..Default::default()
    }
}

/// Produces and consumes until everything acknowledged has been read. Returns how often a look-up lacked something: of a
/// fetch, and of a request for offsets.
fn run(seed: u64) -> [u64; 2] {
    let mut world = World::new(seed);
    let mut producers: Vec<Client> = (0..PARTITIONS).map(|_| world.connect()).collect();
    let mut consumer = world.connect();
    const BATCHES: u64 = 60;
    const RECORDS: u64 = 10;
    let mut sent = [0u64; PARTITIONS as usize];
    let mut acknowledged = [0u64; PARTITIONS as usize];
    let mut read = [0u64; PARTITIONS as usize];
    let mut session = (0, 0);
    let mut asked = false;
    let mut moved: Vec<(i32, i64)> = (0..PARTITIONS).map(|partition| (partition, 0)).collect();
    for turn in 0.. {
        assert!(turn < 200_000, "seed {seed}: nothing moves: {sent:?} {acknowledged:?} {read:?}");
        for (partition, producer) in producers.iter_mut().enumerate() {
            // Up to five requests in flight, their bytes arriving in pieces.
            while sent[partition] < BATCHES && sent[partition] - acknowledged[partition] < 5 {
                let records = batch(sent[partition] * RECORDS, RECORDS);
                producer.send(&world, 9, &produce(partition as i32, &records));
                sent[partition] += 1;
            }
            while let Some(body) = producer.answer(&world) {
                let mut reader = Reader::new(&body);
                ResponseHeader::decode(&mut reader, ApiKey::Produce, 9).expect("a header");
                let response = ProduceResponse::decode(&mut reader, 9).expect("a response");
                let topic = response.responses.first().expect("the topic");
                let part = topic.partition_responses.first().expect("the partition");
                assert_eq!(part.error_code, 0, "seed {seed}: {:?}", part.error_message);
                assert_eq!(part.base_offset, (acknowledged[partition] * RECORDS) as i64, "seed {seed}");
                acknowledged[partition] += 1;
            }
        }
        if !asked {
            consumer.send(&world, 13, &fetch(session, &moved));
            moved.clear();
            asked = true;
        }
        if let Some(body) = consumer.answer(&world) {
            asked = false;
            session = (take_fetched(&body, seed, &mut read, &mut moved), session.1 + 1);
        }
        if read == [BATCHES * RECORDS; PARTITIONS as usize] {
            break;
        }
        world.turn();
    }
    // Who comes late has everything looked up, by fetches that wait and by fetches that do not.
    let mut late = world.connect();
    let mut read = [0u64; PARTITIONS as usize];
    for turn in 0.. {
        assert!(turn < 200_000, "seed {seed}: nothing moves: {read:?}");
        if turn == 0
            || late.answer(&world).is_some_and(|body| {
                take_fetched(&body, seed, &mut read, &mut Vec::new());
                true
            })
        {
            if read == [BATCHES * RECORDS; PARTITIONS as usize] {
                break;
            }
            let from = read.iter().enumerate().map(|(partition, read)| (partition as i32, *read as i64 + 3));
            let from: Vec<(i32, i64)> = from.filter(|(_, from)| *from < (BATCHES * RECORDS) as i64).collect();
            let mut request = fetch((0, -1), &from);
            request.max_bytes = 9_000;
            request.max_wait_ms = if seed % 4 < 2 { 0 } else { 20 };
            late.send(&world, 13, &request);
        }
        world.turn();
    }
    let of_fetches = world.disk.missing();
    // And who asks by time: two at once, each over all partitions, one of them for the newest record now and then.
    let last = (BATCHES * RECORDS) as i64 - 1;
    let mut askers = [world.connect(), world.connect()];
    for step in 0..10 {
        let wanted = |asker: usize| (step * 83 + asker as i64 * 47 + seed as i64) % (last + 1);
        let newest = |asker: usize| asker == 1 && step % 2 == 0;
        for (asker, client) in askers.iter_mut().enumerate() {
            let time = if newest(asker) { list_offsets::MAX_TIMESTAMP } else { FIRST_MS + wanted(asker) };
            client.send(&world, 7, &list(time));
        }
        let mut left = askers.len();
        for turn in 0.. {
            assert!(turn < 200_000, "seed {seed}: {left} of the requests are not answered");
            for (asker, client) in askers.iter_mut().enumerate() {
                let Some(body) = client.answer(&world) else { continue };
                let found = if newest(asker) { last } else { wanted(asker) };
                assert_eq!(listed(&body), [(found, FIRST_MS + found); PARTITIONS as usize], "seed {seed}");
                left -= 1;
            }
            if left == 0 {
                break;
            }
            world.turn();
        }
    }
    [of_fetches, world.disk.missing() - of_fetches]
}

/// Asks each partition for its first record of this time or later.
fn list<'a>(timestamp: i64) -> ListOffsetsRequest<'a> {
    let partitions: Vec<ListOffsetsRequestPartition> = (0..PARTITIONS)
        .map(|partition_index| ListOffsetsRequestPartition {
            partition_index,
            current_leader_epoch: -1,
            timestamp,
            ..Default::default()
        })
        .collect();
    let topic = ListOffsetsRequestTopic { name: "t", partitions: partitions.into() };
    ListOffsetsRequest { replica_id: -1, topics: vec![topic].into(), ..Default::default() }
}

/// Offsets and timestamps of an answer, in its order.
fn listed(body: &[u8]) -> Vec<(i64, i64)> {
    let mut reader = Reader::new(body);
    ResponseHeader::decode(&mut reader, ApiKey::ListOffsets, 7).expect("a header");
    let response = ListOffsetsResponse::decode(&mut reader, 7).expect("a response");
    let parts = response.topics.iter().flat_map(|topic| topic.partitions.iter());
    parts
        .map(|part| (part.error_code, part.offset, part.timestamp))
        .map(|(error, offset, time)| {
            assert_eq!(error, 0);
            (offset, time)
        })
        .collect()
}

/// Takes note of the records of a fetch's answer. Returns its session.
fn take_fetched(body: &[u8], seed: u64, read: &mut [u64], moved: &mut Vec<(i32, i64)>) -> i32 {
    let mut reader = Reader::new(body);
    ResponseHeader::decode(&mut reader, ApiKey::Fetch, 13).expect("a header");
    let response = FetchResponse::decode(&mut reader, 13).expect("a response");
    assert_eq!(response.error_code, 0, "seed {seed}");
    for topic in response.responses.iter() {
        for part in topic.partitions.iter() {
            assert_eq!(part.error_code, 0, "seed {seed}");
            let partition = part.partition_index as usize;
            for found in ringdaw::wire::batch::batches(part.records.unwrap_or_default()) {
                let (_, found) = found.expect("whole batches only");
                assert!(found.crc_matches(), "seed {seed}");
                assert_eq!(found.base_offset(), read[partition] as i64, "seed {seed}: once and in order");
                read[partition] = found.last_offset() as u64 + 1;
            }
            moved.push((part.partition_index, read[partition] as i64));
        }
    }
    response.session_id
}

#[test]
fn acknowledged_batches_are_read_once_and_in_order_whatever_the_world_does() {
    let first: u64 = std::env::var("RINGDAW_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let missing = (first..first + 40).map(run).fold([0, 0], |sum, run| [sum[0] + run[0], sum[1] + run[1]]);
    assert!(missing.iter().all(|of_one_kind| *of_one_kind > 0), "look-ups that lacked nothing: {missing:?}");
}

#[test]
fn a_client_that_leaves_in_the_middle_of_a_frame_harms_nobody() {
    for seed in 0..20 {
        let mut world = World::new(seed);
        let mut leaver = world.connect();
        let mut witness = world.connect();
        let records = batch(0, 5);
        let mut bytes = Vec::new();
        let header = RequestHeader { key: ApiKey::Produce, version: 9, correlation_id: 1, client_id: None };
        header.encode(&mut bytes);
        world.engine.send(&leaver.socket, &(bytes.len() as i32 + 500).to_be_bytes());
        world.engine.send(&leaver.socket, &bytes);
        for _ in 0..20 {
            world.turn();
        }
        world.engine.end(&leaver.socket);
        witness.send(&world, 9, &produce(1, &records));
        let answered = (0..2000).any(|_| {
            world.turn();
            witness.answer(&world).is_some()
        });
        assert!(answered, "seed {seed}");
        assert!(leaver.answer(&world).is_none(), "seed {seed}");
    }
}

/// What one request of this client is answered.
fn ask<'m, Q: ringdaw::wire::message::Message<'m>>(
    world: &mut World,
    client: &mut Client,
    version: i16,
    request: &Q,
) -> Vec<u8> {
    client.send(world, version, request);
    for _ in 0..200_000 {
        world.turn();
        if let Some(body) = client.answer(world) {
            return body;
        }
    }
    panic!("no answer to {:?}", Q::KEY);
}

#[test]
fn groups_are_loaded_from_a_cold_disk_again_and_again_with_every_offset_they_had() {
    let (mut loads_seen, mut lacked) = (0, 0);
    for seed in 1..=12 {
        let mut world = World::new(seed);
        let mut client = world.connect();
        let mut committed = [-1i64; 40];
        for step in 0..400i64 {
            let group = (step * 7 % 40) as usize;
            let part = OffsetCommitRequestPartition {
                partition_index: 0,
                committed_offset: step,
                committed_metadata: Some("a few words of the client, so that the log has some length"),
                ..Default::default()
            };
            let topic = OffsetCommitRequestTopic { name: "t", partitions: vec![part].into() };
            let name = format!("group-{group}");
            let request = OffsetCommitRequest {
                group_id: &name,
                generation_id_or_member_epoch: -1,
                topics: vec![topic].into(),
                ..Default::default()
            };
            let body = ask(&mut world, &mut client, 7, &request);
            let mut reader = Reader::new(&body);
            ResponseHeader::decode(&mut reader, ApiKey::OffsetCommit, 7).expect("a header");
            let response = OffsetCommitResponse::decode(&mut reader, 7).expect("a response");
            assert_eq!(response.topics[0].partitions[0].error_code, 0, "seed {seed}");
            committed[group] = step;
        }
        let lacked_before = world.disk.missing();
        // The partition leaves and comes back, the second time while it is still being loaded.
        for turns_between in [50, 1, 0] {
            let (give, log) = std::sync::mpsc::channel();
            let done = Box::new(move |log| give.send(log).expect("the test waits"));
            world.directives.push(Directive::Order(Order::Release { slot: OFFSETS_SLOT, done }));
            world.directives.flush_by_call();
            let log = (0..100).find_map(|_| {
                world.turn();
                log.try_recv().ok()
            });
            let log = log.expect("it is given up").expect("it was there");
            let replica =
                replica(OFFSETS_SLOT, OFFSETS, 0, log, &Arc::new(world.config.topic_defaults.clone()));
            let order = Order::Adopt { replicas: vec![replica], done: Box::new(|()| {}) };
            world.directives.push(Directive::Order(order));
            world.directives.flush_by_call();
            for _ in 0..turns_between {
                world.turn();
            }
        }
        for (group, offset) in committed.iter().enumerate() {
            let name = format!("group-{group}");
            let topic = OffsetFetchRequestTopic { name: "t", partition_indexes: vec![0].into() };
            let request = OffsetFetchRequest {
                group_id: &name,
                topics: Some(vec![topic].into()),
                ..Default::default()
            };
            let found = loop {
                let body = ask(&mut world, &mut client, 5, &request);
                let mut reader = Reader::new(&body);
                ResponseHeader::decode(&mut reader, ApiKey::OffsetFetch, 5).expect("a header");
                let response = OffsetFetchResponse::decode(&mut reader, 5).expect("a response");
                if response.error_code == 0 {
                    break response.topics[0].partitions[0].committed_offset;
                }
                assert_eq!(response.error_code, ErrorCode::CoordinatorLoadInProgress as i16, "seed {seed}");
                loads_seen += 1;
            };
            assert_eq!(found, *offset, "seed {seed}: {name}");
        }
        lacked += world.disk.missing() - lacked_before;
    }
    assert!(loads_seen > 0, "nobody was told that groups are being loaded");
    assert!(lacked > 0, "every loading found all it needed in memory");
}
