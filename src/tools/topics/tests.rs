//! `topics` against the administrative APIs over a real socket; the expected output is what Kafka 3.9.1's own tool
//! printed for the same arguments against its own broker.

use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, mpsc};

use tokio::sync::oneshot;

use super::*;
use crate::api::admin::{self, Context, Handled};
use crate::config::{Config, TopicConfig};
use crate::control_thread::{self, ControlHandle, Parts, Reply, Request};
use crate::ids::{BrokerId, Home, LeaderEpoch, ReactorId};
use crate::metadata::embedded::{Embedded, Owner};
use crate::metadata::{Answer, DirectoryFacts, Question};
use crate::metadata::{Broker, Cluster, Endpoint, Image, NewReplica, Replicas, SharedImage};
use crate::reactor::disk::OsDisk;
use crate::replication::{Answered, Term};
use crate::wire::frame;
use crate::wire::header::{RequestHeader, begin_response};
use crate::wire::primitive::Reader;

/// IO threads that always succeed.
#[derive(Default)]
struct Always(Mutex<u32>);

fn answer<T>(value: T) -> oneshot::Receiver<T> {
    let (sender, receiver) = oneshot::channel();
    assert!(sender.send(value).is_ok());
    receiver
}

impl Replicas for Always {
    fn create(&self, replicas: Vec<NewReplica>) -> oneshot::Receiver<Vec<Result<Home, String>>> {
        let mut next = self.0.lock().unwrap();
        let homes = replicas.iter().map(|_| {
            *next += 1;
            Ok(Home { reactor: ReactorId(0), slot: *next })
        });
        answer(homes.collect())
    }

    fn delete(&self, replicas: Vec<Home>) -> oneshot::Receiver<Vec<Result<(), String>>> {
        answer(vec![Ok(()); replicas.len()])
    }

    fn reconfigure(&self, _: Vec<Home>, _: Arc<TopicConfig>) -> oneshot::Receiver<()> {
        answer(())
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
        let nobody = Answer::Refused(ErrorCode::UnknownTopicOrPartition);
        sender.send(vec![nobody; questions.len()]).unwrap();
        receiver
    }

    fn directories(&self) -> Vec<DirectoryFacts> {
        Vec::new()
    }
}

struct To(mpsc::Sender<Vec<u8>>);

impl Reply for To {
    fn send(self: Box<Self>, body: Vec<u8>) {
        self.0.send(body).expect("the connection waits for it");
    }
}

struct Served {
    address: String,
    _dir: tempfile::TempDir,
}

/// A broker of the administrative APIs alone.
fn serve() -> Served {
    let dir = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let config = Arc::new(Config::default());
    let mut n = 3u64;
    let mut random = move || {
        n = n.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        n ^ (n >> 33)
    };
    let dirs = [dir.path().to_owned()];
    let (store, _) = Embedded::open(Arc::new(OsDisk), &dirs, &Owner::default(), &mut random).unwrap();
    let endpoint = Endpoint { listener: "PLAINTEXT".into(), host: "127.0.0.1".into(), port };
    let image = Image::new(Cluster {
        id: "c".into(),
        this_broker: BrokerId(0),
        controller: Some(BrokerId(0)),
        brokers: [Broker { id: BrokerId(0), rack: None, endpoints: vec![endpoint] }].into(),
    })
    .shared();
    let (control, requests) = control_thread::channel();
    let replicas = Box::new(Always::default());
    let parts = Parts {
        store,
        image: image.clone(),
        config: config.clone(),
        replicas,
        random: Box::new(random),
        requests,
        proposals: tokio::sync::mpsc::unbounded_channel().1,
        leaving: tokio::sync::mpsc::channel(1).1,
    };
    control_thread::spawn(parts).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (image, config, control) = (image.clone(), config.clone(), control.clone());
            std::thread::spawn(move || connection(stream.unwrap(), &image, &config, &control));
        }
    });
    Served { address: format!("127.0.0.1:{port}"), _dir: dir }
}

fn connection(mut stream: TcpStream, image: &SharedImage, config: &Config, control: &ControlHandle) {
    let listener: Arc<str> = "PLAINTEXT".into();
    let mut size = [0; 4];
    while stream.read_exact(&mut size).is_ok() {
        let mut bytes = vec![0; i32::from_be_bytes(size) as usize];
        stream.read_exact(&mut bytes).unwrap();
        let mut r = Reader::new(&bytes);
        let header = RequestHeader::decode(&mut r).unwrap();
        let image = image.load_full();
        let handled =
            admin::handle(&Context { image: &image, config, listener: &listener }, &header, &mut r).unwrap();
        let body = match handled {
            Handled::Now(body) => body,
            Handled::Later(command) => {
                let (sender, answers) = mpsc::channel();
                assert!(control.submit(Request { command, reply: Box::new(To(sender)) }).is_ok());
                answers.recv().unwrap()
            }
        };
        let mut out = Vec::new();
        let start: frame::FrameStart =
            begin_response(&mut out, header.key as i16, header.version, header.correlation_id);
        out.extend_from_slice(&body);
        start.end(&mut out, 0);
        stream.write_all(&out).unwrap();
    }
}

fn topics(arguments: &[&str]) -> (u8, String, String) {
    let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = run_with(&arguments, &mut out, &mut err);
    (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

/// The same text with every topic id replaced.
fn without_ids(text: &str) -> String {
    regex::Regex::new("TopicId: [A-Za-z0-9_-]{22}\t").unwrap().replace_all(text, "TopicId: ID\t").into_owned()
}

const WARNING: &str = "WARNING: Due to limitations in metric names, topics with a period ('.') or underscore ('_') could collide. To avoid issues it is best to use either, but not both.\n";

#[test]
fn the_output_is_kafkas_from_creation_to_deletion() {
    let served = serve();
    let run = |arguments: &str| {
        let mut all = vec!["--bootstrap-server", &*served.address];
        all.extend(arguments.split(' '));
        let (code, out, err) = topics(&all);
        assert_eq!(err.is_empty(), code == 0, "{arguments}: {err}");
        (code, without_ids(&out))
    };
    let ok = |out: &str| (0, out.to_owned());
    let error = |message: &str| (1, format!("Error while executing topic command : {message}\n"));
    // The two settings share a place in Java's map and come in the order in which the broker names them.
    let first = "Topic: first\tTopicId: ID\tPartitionCount: 2\tReplicationFactor: 1\tConfigs: retention.ms=1000,segment.bytes=2048\n";
    let dotted = "Topic: a.b\tTopicId: ID\tPartitionCount: 1\tReplicationFactor: 1\tConfigs: \n";
    let line = |topic: &str, number: i32| {
        format!(
            "\tTopic: {topic}\tPartition: {number}\tLeader: 0\tReplicas: 0\tIsr: 0\tElr: N/A\tLastKnownElr: N/A\n"
        )
    };
    let all_of_first = format!("{first}{}{}", line("first", 0), line("first", 1));
    let both = format!("{dotted}{}{all_of_first}", line("a.b", 0));

    assert_eq!(run("--list"), ok("\n"));
    assert_eq!(
        run(
            "--create --topic first --partitions 2 --replication-factor 1 --config retention.ms=1000 --config segment.bytes=2048"
        ),
        ok("Created topic first.\n")
    );
    assert_eq!(run("--create --topic first --partitions 2"), error("Topic 'first' already exists."));
    assert_eq!(run("--create --topic first --partitions 2 --if-not-exists"), ok(""));
    assert_eq!(run("--create --topic a.b"), ok(&format!("{WARNING}Created topic a.b.\n")));
    let (code, out) = run("--create --topic a_b");
    assert_eq!(
        (code, out),
        (
            1,
            format!(
                "{WARNING}Error while executing topic command : Topic 'a_b' collides with existing topics: a.b\n"
            )
        )
    );
    let refused = [
        (
            "--create --topic rf --replication-factor 3",
            "Replication factor: 3 larger than available brokers: 1.",
        ),
        ("--create --topic cfg --config nope=1", "Unknown topic config name: nope"),
        (
            "--create --topic cfg --config retention.ms=abc",
            "Invalid value abc for configuration retention.ms: Not a number of type LONG",
        ),
        (
            "--create --topic cfg --config retention.ms",
            "requirement failed: Invalid topic config: all configs to be added must be in the format \"key=val\".",
        ),
        ("--create --topic zero --partitions 0", "The partitions must be greater than 0"),
        (
            "--create --topic rf --replication-factor 0",
            "The replication factor must be between 1 and 32767 inclusive",
        ),
        (
            "--create --topic dup --replica-assignment 0:0",
            "Partition replica lists may not contain duplicate entries: 0",
        ),
        (
            "--create --topic dup --replica-assignment 0,0:2",
            "Partition 1 has different replication factor: [0, 2]",
        ),
        ("--create --topic unk --replica-assignment x", "For input string: \"x\""),
        // Kafka lets this one pass and then times out.
        ("--create --topic unk --replica-assignment 7", "Unknown broker(s) in replica assignment: 7."),
    ];
    for (arguments, message) in refused {
        assert_eq!(run(arguments), error(message), "{arguments}");
    }
    assert_eq!(run("--list"), ok("a.b\nfirst\n"));
    assert_eq!(run("--list --topic f.*"), ok("first\n"));
    assert_eq!(run("--list --topic 'a.b,first'"), ok("a.b\nfirst\n"));
    assert_eq!(run("--list --topic fir"), ok("\n"));
    assert_eq!(run("--describe"), ok(&both));
    assert_eq!(run("--describe --topic first|a.b"), ok(&both));
    assert_eq!(run("--describe --topic first"), ok(&all_of_first));
    assert_eq!(run("--describe --topic nope"), error("Topic 'nope' does not exist as expected"));
    assert_eq!(run("--describe --topic nope --if-exists"), ok(""));
    assert_eq!(run("--describe --topics-with-overrides"), ok(first));
    assert_eq!(run("--describe --under-replicated-partitions"), ok(""));
    assert_eq!(run("--describe --unavailable-partitions"), ok(""));
    assert_eq!(run("--describe --under-min-isr-partitions"), ok(""));
    assert_eq!(
        run("--describe --at-min-isr-partitions --topic first"),
        ok(&format!("{}{}", line("first", 0), line("first", 1)))
    );
    assert_eq!(run("--alter --topic first --partitions 4"), ok(""));
    assert_eq!(run("--alter --topic first --partitions 4"), error("Topic already has 4 partitions."));
    assert_eq!(
        run("--alter --topic first --partitions 2"),
        error("Topic currently has 4 partitions, which is higher than the requested 2.")
    );
    assert_eq!(run("--alter --topic first --partitions 5 --replica-assignment 0,0,0,0,0"), ok(""));
    assert_eq!(run("--describe --topic first").1.lines().count(), 6);
    assert_eq!(run("--alter --topic nope --partitions 2"), error("Topic 'nope' does not exist as expected"));
    assert_eq!(run("--alter --topic nope --partitions 2 --if-exists"), ok(""));
    assert_eq!(run("--delete --topic nope"), error("Topic 'nope' does not exist as expected"));
    assert_eq!(run("--delete --topic nope --if-exists"), ok(""));
    assert_eq!(run("--delete --topic a.*"), ok(""));
    assert_eq!(run("--list"), ok("first\n"));
}

#[test]
fn a_topic_is_described_by_its_id_and_internal_ones_can_be_left_out() {
    let served = serve();
    let run = |arguments: &[&str]| topics(&[&["--bootstrap-server", &*served.address], arguments].concat());
    assert_eq!(run(&["--create", "--topic", "t"]).0, 0);
    assert_eq!(run(&["--create", "--topic", "__consumer_offsets"]).0, 0);
    let (_, out, _) = run(&["--describe", "--topic", "t"]);
    let id = out.split('\t').nth(1).unwrap().strip_prefix("TopicId: ").unwrap().to_owned();
    assert_eq!(run(&["--describe", "--topic-id", &id]).1, out);
    let (code, out, _) = run(&["--describe", "--topic-id", "AAAAAAAAAAAAAAAAAAAAAQ"]);
    assert_eq!(code, 1);
    assert!(out.ends_with("TopicId 'AAAAAAAAAAAAAAAAAAAAAQ' does not exist as expected\n"), "{out}");
    assert_eq!(run(&["--list"]).1, "__consumer_offsets\nt\n");
    assert_eq!(run(&["--list", "--exclude-internal"]).1, "t\n");
}

#[test]
fn arguments_that_make_no_command_are_refused_on_the_error_stream_with_the_usage() {
    let refused = [
        ("", "Create, delete, describe, or change a topic."),
        ("--list", "--bootstrap-server must be specified"),
        (
            "--bootstrap-server x:1",
            "Command must include exactly one action: --list, --describe, --create, --alter or --delete",
        ),
        (
            "--bootstrap-server x:1 --list --create",
            "Command must include exactly one action: --list, --describe, --create, --alter or --delete",
        ),
        ("--bootstrap-server x:1 --create", "Missing required argument \"[topic]\""),
        ("--bootstrap-server x:1 --alter --topic t", "Missing required argument \"[partitions]\""),
        (
            "--bootstrap-server x:1 --list --partitions 3",
            "Option \"[partitions]\" can't be used with option \"[list]\"",
        ),
        (
            "--bootstrap-server x:1 --create --topic q --if-exists",
            "Option \"[if-exists]\" can't be used with option \"[create]\"",
        ),
        (
            "--bootstrap-server x:1 --create --topic q --replica-assignment 1 --partitions 1",
            "Option \"[replica-assignment]\" can't be used with option \"[partitions]\"",
        ),
        (
            "--bootstrap-server x:1 --describe --topics-with-overrides --unavailable-partitions",
            "Option \"[unavailable-partitions]\" can't be used with option \"[topics-with-overrides]\"",
        ),
        ("--zookeeper localhost:2181 --list", "--zookeeper is no longer an option of this command"),
    ];
    for (arguments, message) in refused {
        let all: Vec<&str> = arguments.split(' ').filter(|argument| !argument.is_empty()).collect();
        let (code, out, err) = topics(&all);
        assert_eq!((code, &*out), (1, ""), "{arguments}");
        assert!(err.starts_with(message), "{arguments}: {err}");
        assert!(err.contains("--replica-assignment <"), "the usage follows: {err}");
    }
}

#[test]
fn arguments_that_cannot_be_parsed_are_refused_in_kafkas_words() {
    let refused = [
        ("--create --topic q --partitions x", "Cannot parse argument 'x' of option partitions"),
        ("--create --topic", "Option topic requires an argument"),
    ];
    for (arguments, message) in refused {
        let all: Vec<&str> = arguments.split(' ').collect();
        let (code, out, _) = topics(&all);
        assert_eq!((code, out), (1, format!("Error while executing topic command : {message}\n")));
    }
    let (code, out, err) = topics(&["--frob"]);
    assert_eq!((code, &*out), (1, ""));
    assert!(err.starts_with("frob is not a recognized option\n"), "{err}");
}

#[test]
fn a_broker_that_is_not_there_is_named() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let (code, out, _) = topics(&["--bootstrap-server", &closed, "--list"]);
    assert_eq!(code, 1);
    assert!(
        out.starts_with(&format!("Error while executing topic command : {closed}: cannot be connected")),
        "{out}"
    );
    let (_, out, _) = topics(&["--bootstrap-server", "nohost", "--list"]);
    assert_eq!(out, "Error while executing topic command : `nohost` is not host:port\n");
}

#[test]
fn a_client_file_that_asks_for_more_than_plaintext_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("client.properties");
    let run = |content: &str| {
        std::fs::write(&path, content).unwrap();
        topics(&["--bootstrap-server", "nohost", "--list", "--command-config", path.to_str().unwrap()]).1
    };
    assert!(run("security.protocol=SASL_SSL\n").contains("this tool speaks PLAINTEXT only"));
    assert!(run("request.timeout.ms=soon\n").contains("request.timeout.ms=soon: a whole number from 1"));
    assert!(run("security.protocol=PLAINTEXT\nrequest.timeout.ms=5\n").contains("`nohost` is not host:port"));
}

#[test]
fn a_pattern_that_is_none_says_what_is_wrong_with_it() {
    let message = topic_pattern("a[").unwrap_err();
    assert!(message.starts_with("a[ is an invalid regex"), "{message}");
    assert!(topic_pattern("\"a.*, b\"").unwrap().is_match("b"));
    assert!(!topic_pattern("a|b").unwrap().is_match("ab"));
}
