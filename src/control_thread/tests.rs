//! The administrative APIs from request bytes to response bytes, over a real store and IO threads that can fail.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Mutex;

use tokio::sync::oneshot;

use super::*;
use crate::api::admin::{self, Context, Handled};
use crate::config::TopicConfig;
use crate::ids::{BrokerId, Home, LeaderEpoch, ReactorId};
use crate::metadata::embedded::{Embedded, Owner};
use crate::metadata::{Answer, DirectoryFacts, Question};
use crate::metadata::{Broker, Change, Cluster, Endpoint, Image, NewReplica};
use crate::reactor::disk::OsDisk;
use crate::replication::{Answered, Term};
use crate::wire::error_code::ErrorCode;
use crate::wire::header::RequestHeader;
use crate::wire::message::Request as WireRequest;
use crate::wire::message::create_partitions::*;
use crate::wire::message::create_topics::*;
use crate::wire::message::delete_topics::*;
use crate::wire::message::describe_cluster::*;
use crate::wire::message::describe_configs::*;
use crate::wire::message::find_coordinator::*;
use crate::wire::message::init_producer_id::*;
use crate::wire::message::metadata::*;
use crate::wire::primitive::{Reader, Uuid};
use crate::wire::version::ApiKey;

/// Nobody reports to a broker that is alone.
fn reports() -> Reports {
    let (conclude, _) = mpsc::unbounded_channel();
    let (answered, _) = mpsc::unbounded_channel();
    let (tried, _) = mpsc::unbounded_channel();
    Reports { conclude, answered, tried }
}

/// What IO threads would hold: replicas by home. Topics whose name contains `broken` cannot be made from partition
/// 1 on, and those with `stuck` cannot be removed.
#[derive(Clone, Default)]
struct Disks(Arc<Mutex<Slots>>);

#[derive(Default)]
struct Slots {
    next: u32,
    replicas: BTreeMap<u32, NewReplica>,
    reconfigured: Vec<u32>,
}

impl Disks {
    fn names(&self) -> Vec<String> {
        let slots = self.0.lock().unwrap();
        let mut names: Vec<String> =
            slots.replicas.values().map(|r| format!("{}-{}", r.topic, r.partition)).collect();
        names.sort();
        names
    }
}

impl Replicas for Disks {
    fn create(&self, replicas: Vec<NewReplica>) -> oneshot::Receiver<Vec<Result<Home, String>>> {
        let mut slots = self.0.lock().unwrap();
        let made = replicas.into_iter().map(|replica| {
            if replica.topic.contains("broken") && replica.partition > 0 {
                return Err(format!("no room for {}-{}", replica.topic, replica.partition));
            }
            slots.next += 1;
            let slot = slots.next;
            slots.replicas.insert(slot, replica);
            Ok(Home { reactor: ReactorId(0), slot })
        });
        let made = made.collect();
        let (sender, receiver) = oneshot::channel();
        sender.send(made).unwrap();
        receiver
    }

    fn delete(&self, homes: Vec<Home>) -> oneshot::Receiver<Vec<Result<(), String>>> {
        let mut slots = self.0.lock().unwrap();
        let removed = homes.into_iter().map(|home| match slots.replicas.get(&home.slot) {
            Some(replica) if replica.topic.contains("stuck") => Err("it is stuck".to_owned()),
            Some(_) => {
                slots.replicas.remove(&home.slot);
                Ok(())
            }
            None => Err(format!("no replica has the slot {}", home.slot)),
        });
        let removed = removed.collect();
        let (sender, receiver) = oneshot::channel();
        sender.send(removed).unwrap();
        receiver
    }

    fn reconfigure(&self, homes: Vec<Home>, _: Arc<TopicConfig>) -> oneshot::Receiver<()> {
        self.0.lock().unwrap().reconfigured.extend(homes.iter().map(|home| home.slot));
        let (sender, receiver) = oneshot::channel();
        sender.send(()).unwrap();
        receiver
    }

    fn begin_terms(&self, _: Vec<(Home, Term)>) -> oneshot::Receiver<()> {
        unreachable!("a broker that is alone holds no elections")
    }

    fn follow_brokers(&self, _: Arc<[(BrokerId, SocketAddr)]>) {}

    fn answer_proposal(&self, _: Home, _: LeaderEpoch, _: Answered) {
        unreachable!("a broker that is alone proposes nothing")
    }

    fn follow_settings(&self, _: Arc<Config>) {}

    fn ask(&self, questions: Vec<(Home, Question)>) -> oneshot::Receiver<Vec<Answer>> {
        let (sender, receiver) = oneshot::channel();
        let extent = |(home, _): (Home, Question)| Answer::Extent { directory: 0, bytes: home.slot.into() };
        sender.send(questions.into_iter().map(extent).collect()).unwrap();
        receiver
    }

    fn directories(&self) -> Vec<DirectoryFacts> {
        vec![DirectoryFacts { path: "/data".into(), has_failed: false, total_bytes: 9, usable_bytes: 8 }]
    }
}

struct Bed {
    control: Control<Embedded>,
    image: SharedImage,
    config: Arc<Config>,
    listener: Arc<str>,
    disks: Disks,
}

impl Bed {
    fn new(dir: &Path) -> Bed {
        Bed::with(dir, &[])
    }

    fn with(dir: &Path, overrides: &[(&str, &str)]) -> Bed {
        let config = Arc::new(Config::with_overrides(overrides).unwrap());
        let owner = Owner { broker_id: Some(BrokerId(1)), said_by: "test".into(), ..Owner::default() };
        let mut n = 7u64;
        let mut random = move || {
            n = n.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            n ^ (n >> 31)
        };
        let (store, _) = Embedded::open(Arc::new(OsDisk), &[dir.to_owned()], &owner, &mut random).unwrap();
        let endpoint =
            |listener: &str, port| Endpoint { listener: listener.into(), host: "broker".into(), port };
        let broker = Broker {
            id: BrokerId(1),
            rack: Some("r1".into()),
            endpoints: vec![endpoint("PLAINTEXT", 9092), endpoint("INSIDE", 9093)],
        };
        let cluster = Cluster {
            id: store.state().cluster_id().clone(),
            this_broker: BrokerId(1),
            controller: Some(BrokerId(1)),
            brokers: [broker].into(),
        };
        let image = Image::new(cluster).shared();
        let disks = Disks::default();
        let control = Control::new(
            store,
            image.clone(),
            config.clone(),
            Box::new(disks.clone()),
            Box::new(random),
            reports(),
        );
        Bed { control, image, config, listener: "PLAINTEXT".into(), disks }
    }

    fn handle(&self, key: ApiKey, version: i16, body: &[u8]) -> Handled {
        let image = self.image.load_full();
        let ctx = Context { image: &image, config: &self.config, listener: &self.listener };
        let header = RequestHeader { key, version, correlation_id: 1, client_id: None };
        let mut r = Reader::new(body);
        let handled = admin::handle(&ctx, &header, &mut r).unwrap();
        if header.support() == crate::wire::version::Support::Served {
            assert_eq!(r.remaining(), 0, "the body is read to its end");
        }
        handled
    }

    fn call<'a, Q: WireRequest<'a>>(&mut self, version: i16, request: &Q) -> Q::Response<'static> {
        use crate::wire::message::Message;
        let mut body = Vec::new();
        request.encode(&mut body, version);
        let answer = match self.handle(ApiKey::from_key(Q::KEY).unwrap(), version, &body) {
            Handled::Now(answer) => answer,
            Handled::Later(command) => now(self.control.carry_out(&command)),
        };
        let answer: &'static [u8] = answer.leak();
        let mut r = Reader::new(answer);
        let response = <Q::Response<'static> as Message>::decode(&mut r, version).unwrap();
        assert_eq!(r.remaining(), 0, "the answer is of version {version} to its end");
        response
    }

    fn create(
        &mut self,
        version: i16,
        topics: Vec<CreateTopicsRequestTopic<'_>>,
    ) -> Vec<CreateTopicsResponseTopic<'static>> {
        let request = CreateTopicsRequest { topics: topics.into(), timeout_ms: 1000, validate_only: false };
        self.call(version, &request).topics
    }

    /// Code and message of the only topic of an answer.
    fn create_one(&mut self, topic: CreateTopicsRequestTopic<'_>) -> (i16, String) {
        let mut topics = self.create(7, vec![topic]);
        assert_eq!(topics.len(), 1);
        let topic = topics.remove(0);
        (topic.error_code, topic.error_message.unwrap_or_default().into_owned())
    }

    fn metadata(&mut self, version: i16, names: Option<&[&str]>) -> MetadataResponse<'static> {
        let topics = names.map(|names| {
            names.iter().map(|name| MetadataRequestTopic { name: Some(name), ..Default::default() }).collect()
        });
        self.call(version, &MetadataRequest { topics, ..Default::default() })
    }

    fn state(&self) -> &crate::metadata::State {
        self.control.state()
    }
}

fn now<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn topic(name: &str, partitions: i32) -> CreateTopicsRequestTopic<'_> {
    CreateTopicsRequestTopic { name, num_partitions: partitions, replication_factor: 1, ..Default::default() }
}

fn with_config<'a>(name: &'a str, key: &'a str, value: Option<&'a str>) -> CreateTopicsRequestTopic<'a> {
    CreateTopicsRequestTopic {
        configs: [CreateTopicsRequestConfig { name: key, value }].into(),
        ..topic(name, 1)
    }
}

fn assigned<'a>(name: &'a str, replicas: &[(i32, &[i32])]) -> CreateTopicsRequestTopic<'a> {
    let assignments = replicas.iter().map(|(partition, brokers)| CreateTopicsRequestAssignment {
        partition_index: *partition,
        broker_ids: brokers.to_vec().into(),
    });
    CreateTopicsRequestTopic {
        name,
        num_partitions: -1,
        replication_factor: -1,
        assignments: assignments.collect(),
        ..Default::default()
    }
}

fn code(code: ErrorCode) -> i16 {
    code as i16
}

#[test]
fn a_topic_is_created_at_every_version_and_is_there_at_every_version_of_metadata() {
    let dir = tempfile::tempdir().unwrap();
    let mut bed = Bed::new(dir.path());
    for version in 0..=7 {
        let name = format!("t{version}");
        let made = &bed.create(version, vec![topic(&name, 3)])[0];
        assert_eq!(made.error_code, 0, "version {version}: {:?}", made.error_message);
        if version >= 5 {
            assert_eq!((made.num_partitions, made.replication_factor), (3, 1));
            let configs = made.configs.as_ref().unwrap();
            let retention = configs.iter().find(|c| c.name == "retention.ms").unwrap();
            assert_eq!((retention.value.as_deref(), retention.config_source), (Some("604800000"), 5));
        }
        let image = bed.image.load_full();
        let topic = image.topic(&name).unwrap();
        if version >= 7 {
            assert_eq!(made.topic_id, topic.id);
        }
        for metadata_version in 0..=12 {
            let answer = bed.metadata(metadata_version, Some(&[&name]));
            assert_eq!(answer.topics.len(), 1);
            let shown = &answer.topics[0];
            assert_eq!((shown.error_code, shown.name.as_deref()), (0, Some(&*name)));
            assert_eq!(shown.partitions.len(), 3);
            for (number, partition) in shown.partitions.iter().enumerate() {
                assert_eq!((partition.error_code, partition.partition_index), (0, number as i32));
                assert_eq!((partition.leader_id, &partition.replica_nodes), (1, &vec![1]));
                assert_eq!((&partition.isr_nodes, &partition.offline_replicas), (&vec![1], &vec![]));
                assert_eq!(partition.leader_epoch, if metadata_version >= 7 { 0 } else { -1 });
            }
            assert_eq!(answer.controller_id, if metadata_version >= 1 { 1 } else { -1 });
            assert_eq!(answer.cluster_id.is_some(), metadata_version >= 2);
            assert_eq!(answer.brokers[0].rack.is_some(), metadata_version >= 1);
            assert_eq!(shown.topic_id.is_zero(), metadata_version < 10);
        }
    }
    assert_eq!(bed.disks.names().len(), 24);
}

#[test]
fn creation_is_refused_with_kafkas_codes_and_words() {
    let dir = tempfile::tempdir().unwrap();
    let mut bed = Bed::new(dir.path());
    assert_eq!(bed.create_one(topic("a.b", 1)).0, 0);
    use ErrorCode::*;
    let refused = [
        (topic("a.b", 1), TopicAlreadyExists, "Topic 'a.b' already exists."),
        (topic("a_b", 1), InvalidTopicException, "Topic 'a_b' collides with existing topics: a.b"),
        (topic("", 1), InvalidTopicException, "Topic name is invalid: the empty string is not allowed"),
        (topic("..", 1), InvalidTopicException, "Topic name is invalid: '..' is not allowed"),
        (
            topic("a b", 1),
            InvalidTopicException,
            "Topic name is invalid: 'a b' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'",
        ),
        (
            topic("__cluster_metadata", 1),
            InvalidRequest,
            "Creation of internal topic __cluster_metadata is prohibited.",
        ),
        (topic("n", 0), InvalidPartitions, "Number of partitions must be larger than 0."),
        (topic("n", -2), InvalidPartitions, "Number of partitions must be larger than 0."),
        (topic("n", i32::MAX), PolicyViolation, "One request can create 20000 partitions, not 2147483647."),
        (
            CreateTopicsRequestTopic { replication_factor: 0, ..topic("n", 1) },
            InvalidReplicationFactor,
            "Replication factor must be larger than 0.",
        ),
        (
            CreateTopicsRequestTopic { replication_factor: 2, ..topic("n", 1) },
            InvalidReplicationFactor,
            "Replication factor: 2 larger than available brokers: 1.",
        ),
        (
            CreateTopicsRequestTopic { num_partitions: 1, ..assigned("n", &[(0, &[1])]) },
            InvalidRequest,
            "Both numPartitions or replicationFactor and replicasAssignments were set. Both cannot be used at the same time.",
        ),
        (
            assigned("n", &[(0, &[1]), (2, &[1])]),
            InvalidReplicaAssignment,
            "partitions should be a consecutive 0-based integer sequence",
        ),
        (
            assigned("n", &[(0, &[1]), (0, &[1])]),
            InvalidReplicaAssignment,
            "partitions should be a consecutive 0-based integer sequence",
        ),
        (
            assigned("n", &[(0, &[])]),
            InvalidReplicaAssignment,
            "Cannot have replication factor of 0 for partition id 0.",
        ),
        (
            assigned("n", &[(0, &[5])]),
            InvalidReplicaAssignment,
            "Unknown broker(s) in replica assignment: 5.",
        ),
        (
            assigned("n", &[(0, &[1, 1])]),
            InvalidReplicaAssignment,
            "Duplicate brokers not allowed in replica assignment: 1 for partition id 0.",
        ),
        (
            with_config("n", "what.is.this", Some("1")),
            InvalidConfig,
            "Unknown topic config name: what.is.this",
        ),
        (
            with_config("n", "retention.ms", Some("-5")),
            InvalidConfig,
            "Invalid value -5 for configuration retention.ms: Value must be at least -1",
        ),
        (
            with_config("n", "retention.ms", Option::None),
            InvalidConfig,
            "Null value not supported for topic configs: retention.ms",
        ),
    ];
    for (topic, expected, message) in refused {
        let name = topic.name.to_owned();
        assert_eq!(bed.create_one(topic), (code(expected), message.to_owned()), "{name}");
    }
    assert_eq!(bed.disks.names(), ["a.b-0"]);
    assert_eq!(bed.state().topics().len(), 1);
}

#[test]
fn a_repeated_name_is_refused_at_each_of_its_entries_and_the_rest_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let mut bed = Bed::new(dir.path());
    let made = bed.create(7, vec![topic("a", 1), topic("b", 1), topic("a", 2)]);
    let codes: Vec<(&str, i16)> = made.iter().map(|t| (&*t.name, t.error_code)).collect();
    assert_eq!(codes, [("a", 42), ("b", 0), ("a", 42)]);
    assert_eq!(made[0].error_message.as_deref(), Some("Found multiple entries for this topic."));
    // Names of one request collide with each other too.
    let made = bed.create(7, vec![topic("x.y", 1), topic("x_y", 1)]);
    assert_eq!((made[0].error_code, made[1].error_code), (0, 17));
}

#[test]
fn counts_of_minus_one_are_the_brokers_and_an_assignment_counts_itself() {
    let dir = tempfile::tempdir().unwrap();
    let mut bed = Bed::with(dir.path(), &[("num.partitions", "6")]);
    let default = CreateTopicsRequestTopic { replication_factor: -1, ..topic("d", -1) };
    assert_eq!(bed.create(7, vec![default])[0].num_partitions, 6);
    let by_hand = assigned("h", &[(1, &[1]), (0, &[1])]);
    assert_eq!(bed.create(7, vec![by_hand])[0].num_partitions, 2);
}

#[test]
fn validate_only_says_what_would_happen_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut bed = Bed::new(dir.path());
    for version in 1..=7 {
        let request =
            CreateTopicsRequest { topics: [topic("v", 4)].into(), timeout_ms: 1, validate_only: true };
        let made = &bed.call(version, &request).topics[0];
        assert_eq!((made.error_code, made.topic_id), (0, Uuid::ZERO));
    }
    assert!(bed.image.load().topic("v").is_none());
    assert_eq!((bed.state().topics().len(), bed.disks.names().len()), (0, 0));
}

#[test]
fn a_topic_whose_replicas_cannot_all_be_made_leaves_nothing_and_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let mut bed = Bed::new(dir.path());
    let made = bed.create(7, vec![topic("broken", 3), topic("fine", 2)]);
    assert_eq!((made[0].error_code, made[1].error_code), (code(ErrorCode::KafkaStorageError), 0));
    assert_eq!(made[0].error_message.as_deref(), Some("no room for broken-1"));
    assert_eq!(bed.disks.names(), ["fine-0", "fine-1"]);
    assert_eq!((bed.state().topics().len(), bed.state().deleting().len()), (1, 0));
    assert!(bed.image.load().topic("broken").is_none());
}

#[test]
fn a_topic_is_deleted_by_name_or_id_at_every_version_and_its_name_is_free() {
    let dir = tempfile::tempdir().unwrap();
    let mut bed = Bed::new(dir.path());
    let mut ids = Vec::new();
    for version in 0..=6 {
        let id = bed.create(7, vec![topic("t", 2)])[0].topic_id;
        assert!(!ids.contains(&id), "a name that comes back is another topic");
        ids.push(id);
        let request = if version < 6 {
            DeleteTopicsRequest { topic_names: ["t"].into(), ..Default::default() }
        } else {
            let by_id = DeleteTopicsRequestTopic { name: None, topic_id: id };
            DeleteTopicsRequest { topics: [by_id].into(), ..Default::default() }
        };
        let answer = &bed.call(version, &request).responses[0];
        assert_eq!((answer.error_code, answer.name.as_deref()), (0, Some("t")), "version {version}");
        assert!(bed.image.load().topic("t").is_none());
        assert_eq!((bed.disks.names().len(), bed.state().deleting().len()), (0, 0));
        let again = &bed.call(version, &request).responses[0];
        let expected =
            if version < 6 { ErrorCode::UnknownTopicOrPartition } else { ErrorCode::UnknownTopicId };
        assert_eq!(again.error_code, code(expected));
    }
}

#[test]
fn deletion_that_is_switched_off_or_unclear_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut bed = Bed::with(dir.path(), &[("delete.topic.enable", "false")]);
    bed.create(7, vec![topic("t", 1)]);
    let request = DeleteTopicsRequest { topic_names: ["t"].into(), ..Default::default() };
    assert_eq!(bed.call(2, &request).responses[0].error_code, 42);
    assert_eq!(bed.call(3, &request).responses[0].error_code, 73);
    let dir = tempfile::tempdir().unwrap();
    let mut bed = Bed::new(dir.path());
    let id = bed.create(7, vec![topic("t", 1)])[0].topic_id;
    let both = DeleteTopicsRequestTopic { name: Some("t"), topic_id: id };
    let neither = DeleteTopicsRequestTopic::default();
    let request = DeleteTopicsRequest { topics: [both, neither].into(), ..Default::default() };
    let answer = bed.call(6, &request);
    assert_eq!(answer.responses.iter().map(|r| r.error_code).collect::<Vec<_>>(), [42, 42]);
    let twice = DeleteTopicsRequest { topic_names: ["t", "t"].into(), ..Default::default() };
    let answer = bed.call(5, &twice);
    assert_eq!(answer.responses.iter().map(|r| r.error_code).collect::<Vec<_>>(), [0, 0]);
}

#[test]
fn a_replica_that_cannot_be_removed_keeps_the_deletion_open_for_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let mut bed = Bed::new(dir.path());
    bed.create(7, vec![topic("stuck", 1)]);
    let request = DeleteTopicsRequest { topic_names: ["stuck"].into(), ..Default::default() };
    let answer = &bed.call(5, &request).responses[0];
    assert_eq!(answer.error_code, code(ErrorCode::KafkaStorageError));
    assert!(bed.image.load().topic("stuck").is_none());
    assert_eq!(bed.state().deleting().len(), 1);
}

#[test]
fn partitions_are_added_at_every_version_and_only_ever_added() {
    let dir = tempfile::tempdir().unwrap();
    let mut bed = Bed::new(dir.path());
    bed.create(7, vec![topic("t", 1), topic("broken", 1)]);
    let ask = |name: &'static str, count, assignments| CreatePartitionsRequest {
        topics: [CreatePartitionsRequestTopic { name, count, assignments }].into(),
        timeout_ms: 1000,
        validate_only: false,
    };
    for version in 0..=3 {
        let count = 2 + i32::from(version);
        let homes_before: Vec<_> = bed.image.load().topic("t").unwrap().partitions.to_vec();
        let answer = bed.call(version, &ask("t", count, None));
        assert_eq!(answer.results[0].error_code, 0, "{:?}", answer.results[0].error_message);
        let image = bed.image.load_full();
        let topic = image.topic("t").unwrap();
        assert_eq!(topic.partitions.len(), count as usize);
        assert_eq!(topic.partitions[..homes_before.len()], homes_before, "old partitions stay as they are");
        assert!(topic.partitions.iter().all(|p| p.leader_epoch.0 == 0 && p.home.is_some()));
    }
    let brokers = |ids: &[&[i32]]| {
        let all = ids.iter().map(|ids| CreatePartitionsRequestAssignment { broker_ids: ids.to_vec().into() });
        Some(all.collect())
    };
    let refused = [
        (ask("t", 5, None), 37, "Topic already has 5 partitions."),
        (ask("t", 4, None), 37, "Topic currently has 5 partitions, which is higher than the requested 4."),
        (ask("t", -1, None), 37, "Topic currently has 5 partitions, which is higher than the requested -1."),
        (ask("none", 5, None), 3, "The topic 'none' does not exist."),
        (
            ask("t", 7, brokers(&[&[1]])),
            39,
            "Increasing the number of partitions by 2 but 1 assignments provided.",
        ),
        (ask("t", 6, brokers(&[&[8]])), 39, "Unknown broker(s) in replica assignment: 8."),
        (ask("broken", 3, None), 56, "no room for broken-1"),
    ];
    for (request, error, message) in refused {
        let answer = bed.call(3, &request);
        let result = &answer.results[0];
        assert_eq!((result.error_code, result.error_message.as_deref()), (error, Some(message)));
    }
    assert_eq!(bed.call(3, &ask("t", 6, brokers(&[&[1]]))).results[0].error_code, 0);
    let broken = bed.state().topic_named("broken").unwrap();
    assert_eq!(broken.partition_count(), 1);
    assert_eq!(bed.image.load().topic("broken").unwrap().partitions.len(), 1);
    let only = CreatePartitionsRequest { validate_only: true, ..ask("t", 9, None) };
    assert_eq!(bed.call(3, &only).results[0].error_code, 0);
    assert_eq!(bed.image.load().topic("t").unwrap().partitions.len(), 6);
}

#[test]
fn metadata_of_all_none_and_unknown_topics_follows_the_version() {
    let dir = tempfile::tempdir().unwrap();
    let mut bed = Bed::with(dir.path(), &[("auto.create.topics.enable", "false")]);
    bed.create(7, vec![topic("a", 1), topic("b", 1), topic("__consumer_offsets", 1)]);
    assert_eq!(bed.metadata(0, Some(&[])).topics.len(), 3);
    for version in 1..=12 {
        let all = bed.metadata(version, None).topics;
        let internal: Vec<&str> =
            all.iter().filter(|t| t.is_internal).filter_map(|t| t.name.as_deref()).collect();
        assert_eq!((all.len(), &internal[..]), (3, &["__consumer_offsets"][..]));
        assert_eq!(bed.metadata(version, Some(&[])).topics.len(), 0);
        let some = bed.metadata(version, Some(&["nope", "a", "a", "bad name"])).topics;
        let codes: Vec<i16> = some.iter().map(|t| t.error_code).collect();
        assert_eq!(codes, [3, 0, 17], "each name once, at version {version}");
    }
}

#[test]
fn metadata_by_id_needs_version_12_and_finds_topics_under_their_ids() {
    let dir = tempfile::tempdir().unwrap();
    let mut bed = Bed::new(dir.path());
    let id = bed.create(7, vec![topic("a", 1)])[0].topic_id;
    let ids = [id, Uuid([9; 16]), id];
    let topics = ids.iter().map(|id| MetadataRequestTopic { topic_id: *id, name: None });
    let request = MetadataRequest { topics: Some(topics.collect()), ..Default::default() };
    let answer = bed.call(12, &request);
    let seen: Vec<_> = answer.topics.iter().map(|t| (t.error_code, t.name.as_deref(), t.topic_id)).collect();
    assert_eq!(seen, [(0, Some("a"), id), (100, None, Uuid([9; 16]))]);
    for version in 10..=11 {
        let answer = bed.call(version, &request);
        assert!(answer.topics.iter().all(|topic| topic.error_code == 42), "version {version}");
    }
}

#[test]
fn asking_creates_a_topic_where_that_is_allowed_and_names_its_leader_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut bed = Bed::with(dir.path(), &[("num.partitions", "2")]);
    for version in 0..=12 {
        let name = format!("auto{version}");
        let answer = bed.metadata(version, Some(&[&name, "bad name", "__transaction_state", &name]));
        let codes: Vec<i16> = answer.topics.iter().map(|t| t.error_code).collect();
        assert_eq!(codes, [0, 17, 3], "version {version}");
        assert_eq!(answer.topics[0].partitions[1].leader_id, 1);
    }
    let topics = Some([MetadataRequestTopic { name: Some("no"), ..Default::default() }].into());
    let request = MetadataRequest { topics, allow_auto_topic_creation: false, ..Default::default() };
    assert_eq!(bed.call(4, &request).topics[0].error_code, 3);
    assert_eq!(bed.call(3, &request).topics[0].error_code, 0, "version 3 cannot say no");
}

#[test]
fn asking_for_a_topic_that_cannot_be_made_says_which_and_why() {
    let dir = tempfile::tempdir().unwrap();
    let mut bed = Bed::with(dir.path(), &[("default.replication.factor", "3"), ("num.partitions", "2")]);
    assert_eq!(bed.metadata(12, Some(&["t"])).topics[0].error_code, 38);
    let dir = tempfile::tempdir().unwrap();
    let mut bed = Bed::with(dir.path(), &[("num.partitions", "2")]);
    let answer = bed.metadata(12, Some(&["broken", "fine"]));
    assert_eq!(answer.topics.iter().map(|t| t.error_code).collect::<Vec<_>>(), [56, 0]);
}

#[test]
fn a_client_sees_brokers_under_the_addresses_of_its_own_listener() {
    let dir = tempfile::tempdir().unwrap();
    let mut bed = Bed::new(dir.path());
    bed.create(7, vec![topic("a", 1)]);
    bed.listener = "INSIDE".into();
    assert_eq!(bed.metadata(9, None).brokers[0].port, 9093);
    assert_eq!(bed.call(0, &DescribeClusterRequest::default()).brokers[0].port, 9093);
    bed.listener = "ELSEWHERE".into();
    for (version, expected) in [(0, 5), (5, 5), (6, 72), (12, 72)] {
        let answer = bed.metadata(version, Some(&["a"]));
        assert_eq!(answer.brokers.len(), 0);
        let partition = &answer.topics[0].partitions[0];
        assert_eq!((partition.error_code, partition.leader_id), (expected, -1), "version {version}");
    }
}

#[test]
fn operations_are_told_to_those_who_ask() {
    let dir = tempfile::tempdir().unwrap();
    let mut bed = Bed::new(dir.path());
    bed.create(7, vec![topic("a", 1)]);
    for version in 8..=12 {
        let mut request = MetadataRequest { topics: None, ..Default::default() };
        let silent = bed.call(version, &request);
        assert_eq!(silent.topics[0].topic_authorized_operations, i32::MIN);
        assert_eq!(silent.cluster_authorized_operations, i32::MIN);
        request.include_topic_authorized_operations = true;
        request.include_cluster_authorized_operations = true;
        let told = bed.call(version, &request);
        assert_eq!(told.topics[0].topic_authorized_operations, 3576);
        let expected = if version <= 10 { 8096 } else { i32::MIN };
        assert_eq!(told.cluster_authorized_operations, expected);
    }
}

#[test]
fn settings_are_described_at_every_version_with_what_it_has_room_for() {
    let dir = tempfile::tempdir().unwrap();
    let mut bed = Bed::with(dir.path(), &[("broker.id", "1"), ("log.retention.ms", "1000")]);
    bed.create(7, vec![with_config("t", "segment.bytes", Some("2048"))]);
    let resource = |resource_type, resource_name, configuration_keys| DescribeConfigsRequestResource {
        resource_type,
        resource_name,
        configuration_keys,
    };
    for version in 0..=4 {
        let request = DescribeConfigsRequest {
            resources: [
                resource(2, "t", Some(["segment.bytes", "retention.ms", "flush.ms"].into())),
                resource(4, "1", None),
                resource(4, "", None),
                resource(4, "2", None),
                resource(4, "x", None),
                resource(2, "none", None),
                resource(32, "g", None),
                resource(4, "1", None),
            ]
            .into(),
            include_synonyms: true,
            include_documentation: true,
        };
        let answer = bed.call(version, &request);
        let codes: Vec<i16> = answer.results.iter().map(|result| result.error_code).collect();
        assert_eq!(codes, [0, 0, 0, 42, 42, 3, 42], "each resource once");
        assert_eq!(
            answer.results[3].error_message.as_deref(),
            Some("Unexpected broker id, expected 1 or empty string, but received 2")
        );
        assert_eq!(answer.results[6].error_message.as_deref(), Some("Unknown resource type 32"));
        let rows = &answer.results[0].configs;
        assert_eq!(rows.len(), 3);
        let row = |name: &str| rows.iter().find(|row| row.name == name).unwrap();
        assert_eq!(row("segment.bytes").value.as_deref(), Some("2048"));
        assert_eq!(row("retention.ms").value.as_deref(), Some("1000"));
        if version == 0 {
            assert_eq!((row("segment.bytes").is_default, row("flush.ms").is_default), (false, true));
        } else {
            assert_eq!(
                ["segment.bytes", "retention.ms", "flush.ms"].map(|name| row(name).config_source),
                [1, 4, 5]
            );
            assert_eq!(row("segment.bytes").synonyms[0].source, 1);
        }
        assert_eq!(row("segment.bytes").documentation.is_some(), version >= 3);
        assert_eq!(row("segment.bytes").config_type, if version >= 3 { 3 } else { 0 });
        assert!(answer.results[1].configs.len() > 100);
        assert_eq!(answer.results[2].configs.len(), 0);
    }
    let quiet = DescribeConfigsRequest { resources: [resource(2, "t", None)].into(), ..Default::default() };
    let answer = bed.call(4, &quiet);
    assert!(
        answer.results[0].configs.iter().all(|row| row.synonyms.is_empty() && row.documentation.is_none())
    );
}

#[test]
fn the_cluster_is_described_and_controllers_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut bed = Bed::new(dir.path());
    for version in 0..=1 {
        let answer = bed.call(version, &DescribeClusterRequest { endpoint_type: 1, ..Default::default() });
        assert_eq!((answer.error_code, answer.controller_id, answer.brokers.len()), (0, 1, 1));
        assert_eq!(answer.cluster_id, **bed.state().cluster_id());
        assert_eq!(answer.cluster_authorized_operations, i32::MIN);
    }
    let of =
        |endpoint_type| DescribeClusterRequest { endpoint_type, include_cluster_authorized_operations: true };
    assert_eq!(bed.call(1, &of(1)).cluster_authorized_operations, 8096);
    assert_eq!(bed.call(1, &of(2)).error_code, 114);
    assert_eq!(bed.call(1, &of(3)).error_code, 115);
}

#[test]
fn the_first_who_asks_for_a_coordinator_makes_the_topic_that_keeps_groups() {
    let dir = tempfile::tempdir().unwrap();
    let mut bed = Bed::new(dir.path());
    for version in 0..=6 {
        let of = |key_type| FindCoordinatorRequest {
            key: "g",
            key_type,
            coordinator_keys: ["g", "h", "g"].into(),
        };
        let answer = bed.call(version, &of(0));
        let transaction = bed.call(version, &of(1));
        if version < 4 {
            assert_eq!((answer.error_code, answer.node_id, answer.port), (0, 1, 9092));
            // Version 0 knows no types: all keys are groups.
            if version > 0 {
                assert_eq!((transaction.error_code, transaction.node_id), (15, -1));
                assert!(transaction.error_message.is_some());
            }
        } else {
            let keys: Vec<&str> = answer.coordinators.iter().map(|c| &*c.key).collect();
            assert_eq!(keys, ["g", "h"]);
            assert!(answer.coordinators.iter().all(|c| c.error_code == 0 && c.node_id == 1));
            assert!(transaction.coordinators.iter().all(|c| c.error_code == 15 && c.error_message.is_some()));
        }
    }
    let image = bed.image.load_full();
    let topic = image.topic("__consumer_offsets").unwrap();
    assert_eq!((topic.partitions.len(), topic.is_internal), (50, true));
    let set = |key: &str| topic.overrides.get(key).map(String::as_str);
    assert_eq!(set("cleanup.policy"), Some("compact"));
    assert_eq!(set("compression.type"), Some("producer"));
    assert_eq!(set("segment.bytes"), Some("104857600"));
    let share = FindCoordinatorRequest { key_type: 2, coordinator_keys: ["g"].into(), ..Default::default() };
    assert_eq!(bed.call(6, &share).coordinators[0].error_code, 42);
}

#[test]
fn producer_ids_rise_and_are_never_given_twice_across_starts() {
    let dir = tempfile::tempdir().unwrap();
    let mut last = -1;
    for _ in 0..3 {
        let mut bed = Bed::new(dir.path());
        for round in 0..1100 {
            let request = InitProducerIdRequest { transaction_timeout_ms: 1, ..Default::default() };
            let answer = bed.call(round % 6, &request);
            assert_eq!((answer.error_code, answer.producer_epoch), (0, 0));
            assert!(answer.producer_id > last);
            last = answer.producer_id;
        }
    }
    let mut bed = Bed::new(dir.path());
    assert_eq!(bed.call(4, &InitProducerIdRequest::default()).producer_id, 6000);
}

#[test]
fn transactional_ids_and_half_given_producers_are_refused_honestly() {
    let dir = tempfile::tempdir().unwrap();
    let mut bed = Bed::new(dir.path());
    let of = |transactional_id, transaction_timeout_ms| InitProducerIdRequest {
        transactional_id,
        transaction_timeout_ms,
        ..Default::default()
    };
    for version in 0..=5 {
        assert_eq!(bed.call(version, &of(Some(""), 1000)).error_code, 42);
        assert_eq!(bed.call(version, &of(Some("t"), 0)).error_code, 50);
        let answer = bed.call(version, &of(Some("t"), 1000));
        assert_eq!((answer.error_code, answer.producer_id, answer.producer_epoch), (15, -1, -1));
    }
    let half = InitProducerIdRequest { producer_id: 5, ..Default::default() };
    assert_eq!(bed.call(3, &half).error_code, 42);
    let whole = InitProducerIdRequest { producer_id: 5, producer_epoch: 2, ..Default::default() };
    assert_eq!(bed.call(3, &whole).error_code, 0);
}

#[test]
fn api_versions_lists_what_is_advertised_and_an_unknown_version_gets_version_0_with_key_18() {
    use crate::wire::message::Message;
    use crate::wire::message::api_versions::*;
    let dir = tempfile::tempdir().unwrap();
    let mut bed = Bed::new(dir.path());
    for version in 0..=4 {
        let request = ApiVersionsRequest { client_software_name: "x/y \"", client_software_version: "" };
        let answer = bed.call(version, &request);
        assert_eq!(answer.error_code, 0);
        let produce = answer.api_keys.iter().find(|key| key.api_key == 0).unwrap();
        assert_eq!((produce.min_version, produce.max_version), (0, 11));
        assert_eq!(answer.finalized_features_epoch, if version >= 3 { 0 } else { -1 });
    }
    for version in [5, 99, -1] {
        let Handled::Now(body) = bed.handle(ApiKey::ApiVersions, version, &[0xff; 3]) else { panic!() };
        let answer = ApiVersionsResponse::decode(&mut Reader::new(&body), 0).unwrap();
        let only = ApiVersionsResponseApiKey { api_key: 18, min_version: 0, max_version: 4 };
        assert_eq!((answer.error_code, answer.api_keys), (35, vec![only]));
    }
}

#[test]
fn a_command_that_cannot_be_taken_is_answered_so_that_the_client_tries_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut bed = Bed::new(dir.path());
    let image = bed.image.load_full();
    let config = bed.config.clone();
    let listener = bed.listener.clone();
    let ctx = Context { image: &image, config: &config, listener: &listener };
    use crate::wire::message::Message;
    let later = |bed: &mut Bed, key, version, body: Vec<u8>| match bed.handle(key, version, &body) {
        Handled::Later(command) => {
            command.refuse(&ctx).expect("these APIs have one").leak() as &'static [u8]
        }
        Handled::Now(_) => panic!("{key:?} was answered at once"),
    };
    let mut body = Vec::new();
    CreateTopicsRequest { topics: [topic("t", 1)].into(), ..Default::default() }.encode(&mut body, 7);
    let answer = later(&mut bed, ApiKey::CreateTopics, 7, body);
    let answer = CreateTopicsResponse::decode(&mut Reader::new(answer), 7).unwrap();
    assert_eq!((&*answer.topics[0].name, answer.topics[0].error_code), ("t", 7));
    let mut body = Vec::new();
    let topics = Some([MetadataRequestTopic { name: Some("t"), ..Default::default() }].into());
    MetadataRequest { topics, ..Default::default() }.encode(&mut body, 9);
    let answer = later(&mut bed, ApiKey::Metadata, 9, body);
    assert_eq!(MetadataResponse::decode(&mut Reader::new(answer), 9).unwrap().topics[0].error_code, 5);
    let mut body = Vec::new();
    InitProducerIdRequest::default().encode(&mut body, 4);
    let answer = later(&mut bed, ApiKey::InitProducerId, 4, body);
    assert_eq!(InitProducerIdResponse::decode(&mut Reader::new(answer), 4).unwrap().error_code, 14);
}

#[test]
fn a_body_that_cannot_be_read_is_an_error_and_never_a_command() {
    let dir = tempfile::tempdir().unwrap();
    let bed = Bed::new(dir.path());
    let image = bed.image.load_full();
    let ctx = Context { image: &image, config: &bed.config, listener: &bed.listener };
    for (key, versions) in crate::wire::version::advertised() {
        if !admin::handles(key) {
            continue;
        }
        for version in versions.clone() {
            let header = RequestHeader { key, version, correlation_id: 1, client_id: None };
            let handled = admin::handle(&ctx, &header, &mut Reader::new(&[0x7f; 3]));
            let reads_nothing = key == ApiKey::ApiVersions && version < 3;
            assert_eq!(handled.is_err(), !reads_nothing, "{key:?} {version}");
        }
    }
}

#[test]
fn a_request_that_names_more_than_a_broker_can_have_is_not_answered() {
    use crate::wire::message::Message;
    let dir = tempfile::tempdir().unwrap();
    let bed = Bed::new(dir.path());
    let image = bed.image.load_full();
    let ctx = Context { image: &image, config: &bed.config, listener: &bed.listener };
    let ask = |count: usize| {
        let topics = vec![MetadataRequestTopic { name: Some("same"), ..Default::default() }; count];
        let request = MetadataRequest {
            topics: Some(topics.into()),
            allow_auto_topic_creation: false,
            ..Default::default()
        };
        let mut body = Vec::new();
        request.encode(&mut body, 12);
        let header = RequestHeader { key: ApiKey::Metadata, version: 12, correlation_id: 1, client_id: None };
        admin::handle(&ctx, &header, &mut Reader::new(&body))
    };
    let Ok(Handled::Now(answer)) = ask(admin::ENTRIES_MAX) else { panic!("it is answered") };
    assert!(answer.len() < 200, "one name is answered once");
    let refused = ask(admin::ENTRIES_MAX + 1).unwrap_err();
    assert_eq!(refused.what, "the request names more things than a broker can have");
}

#[test]
fn new_settings_of_a_topic_reach_its_replicas_and_the_image() {
    let dir = tempfile::tempdir().unwrap();
    let mut bed = Bed::new(dir.path());
    let id = bed.create(7, vec![topic("t", 2)])[0].topic_id;
    let overrides = [("segment.bytes".to_owned(), "4096".to_owned())].into();
    assert_eq!(now(bed.control.commit_and_follow(vec![Change::OverridesSet { id, overrides }])), [Ok(())]);
    let image = bed.image.load_full();
    assert_eq!(image.topic("t").unwrap().config.segment_bytes, 4096);
    assert_eq!(bed.disks.0.lock().unwrap().reconfigured.len(), 2);
}

#[test]
fn the_thread_answers_what_was_sent_and_ends_with_the_last_handle() {
    struct To(std::sync::mpsc::Sender<Vec<u8>>);
    impl Reply for To {
        fn send(self: Box<Self>, body: Vec<u8>) {
            self.0.send(body).unwrap();
        }
    }
    use crate::wire::message::Message;
    let dir = tempfile::tempdir().unwrap();
    let bed = Bed::new(dir.path());
    let (handle, requests) = channel();
    let Bed { control, image, config, listener, disks } = bed;
    let store = control.into_store();
    let parts = Parts {
        store,
        image: image.clone(),
        config,
        replicas: Box::new(disks),
        random: Box::new({
            let mut n = 0u64;
            move || {
                n = n.wrapping_add(0x1234_5678_9abc_def1);
                n
            }
        }),
        requests,
        proposals: tokio::sync::mpsc::unbounded_channel().1,
        leaving: tokio::sync::mpsc::channel(1).1,
    };
    let (thread, _) = spawn(parts).unwrap();
    let (sender, answers) = std::sync::mpsc::channel();
    for number in 0..20 {
        let mut body = Vec::new();
        let name = format!("t{number}");
        CreateTopicsRequest { topics: [topic(&name, 1)].into(), ..Default::default() }.encode(&mut body, 7);
        let command = Command { key: ApiKey::CreateTopics, version: 7, listener: listener.clone(), body };
        let request = Request { command, reply: Box::new(To(sender.clone())) };
        assert!(handle.submit(request).is_ok());
    }
    drop(handle);
    thread.join().unwrap();
    drop(sender);
    let codes: Vec<i16> = answers
        .iter()
        .map(|body| CreateTopicsResponse::decode(&mut Reader::new(&body), 7).unwrap().topics[0].error_code)
        .collect();
    assert_eq!(codes, [0; 20]);
    assert_eq!(image.load().topic_count(), 20);
}
