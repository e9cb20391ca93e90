//! The metrics page of a real broker, asked by a real HTTP client where there is one.
//!
//! In: a broker with `metrics.listener`, some records. Out: the series a Kafka dashboard looks for, the two probes, and an answer
//! to requests that should not have been sent.

mod outside;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use outside::Folder;
use outside::batch::{NOBODY, build};
use outside::process::{Broker, free_port};

const PATIENCE: Duration = Duration::from_secs(20);

/// Status, headers in lower case, and body.
struct Answered {
    status: u16,
    headers: String,
    body: String,
}

/// By curl; where there is none, by hand.
fn ask(port: u16, method: &str, path: &str) -> Answered {
    let url = format!("http://127.0.0.1:{port}{path}");
    let mut curl = Command::new("curl");
    curl.args(["-s", "-i", "--max-time", "20"]);
    match method {
        "HEAD" => curl.arg("-I"),
        other => curl.args(["-X", other]),
    };
    match curl.arg(&url).output() {
        Ok(done) if done.status.success() => parse(&String::from_utf8_lossy(&done.stdout)),
        Ok(done) => panic!("curl {url}: {}", done.status),
        Err(_) => parse(&raw(
            port,
            format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes(),
        )),
    }
}

fn raw(port: u16, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.write_all(request).expect("a send");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer and an end");
    String::from_utf8_lossy(&answer).into_owned()
}

fn parse(answer: &str) -> Answered {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    let (first, headers) = head.split_once("\r\n").unwrap_or((head, ""));
    let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.unwrap_or_else(|| panic!("no status in {answer:?}"));
    Answered { status, headers: headers.to_lowercase(), body: body.to_owned() }
}

/// The value of each sample, by name and labels as they stand.
fn samples(page: &str) -> BTreeMap<String, f64> {
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no sample: {line}"));
            (name.to_owned(), value.parse().unwrap_or_else(|_| panic!("no number: {line}")))
        })
        .collect()
}

fn broker(name: &str) -> (Folder, Broker, u16) {
    let folder = Folder::new(name);
    let port = free_port();
    let at = format!("127.0.0.1:{port}");
    let broker = Broker::start(folder.path(), &[("metrics.listener", &at)]);
    // The broker answers its clients a moment before it calls itself ready.
    let deadline = Instant::now() + PATIENCE;
    while ask(port, "GET", "/readyz").status != 200 {
        assert!(Instant::now() < deadline, "not ready:\n{}", broker.log());
        std::thread::sleep(Duration::from_millis(5));
    }
    (folder, broker, port)
}

#[test]
fn the_page_has_the_series_that_kafkas_dashboards_look_for() {
    let (_folder, broker, port) = broker("metrics-page");
    let mut client = broker.client().expect("a connection");
    assert_eq!(client.create_topic("orders", 3, &[]).expect("an answer"), 0);
    let batch = build(NOBODY, 1_700_000_000_000, &vec![vec![7; 100]; 10]);
    for _ in 0..5 {
        assert_eq!(client.produce("orders", 1, &batch).expect("an answer").code, 0);
    }
    let read = client.read_batches("orders", 1, 0).expect("the batches");
    assert_eq!(read.len(), 5);
    client.topics().expect("metadata");

    let page = ask(port, "GET", "/metrics");
    assert_eq!(page.status, 200);
    assert!(page.headers.contains("content-type: text/plain; version=0.0.4"), "{}", page.headers);
    let found = samples(&page.body);
    let bytes = (5 * batch.len()) as f64;
    for (name, value) in [
        ("kafka_server_brokertopicmetrics_messagesin_total", 50.0),
        ("kafka_server_brokertopicmetrics_messagesin_total{topic=\"orders\"}", 50.0),
        ("kafka_server_brokertopicmetrics_bytesin_total{topic=\"orders\"}", bytes),
        ("kafka_server_brokertopicmetrics_bytesout_total{topic=\"orders\"}", bytes),
        ("kafka_server_brokertopicmetrics_totalproducerequests_total{topic=\"orders\"}", 5.0),
        ("kafka_server_brokertopicmetrics_failedproducerequests_total{topic=\"orders\"}", 0.0),
        ("kafka_server_replicamanager_partitioncount", 3.0),
        ("kafka_server_replicamanager_leadercount", 3.0),
        ("kafka_server_replicamanager_underreplicatedpartitions", 0.0),
        ("kafka_server_replicamanager_underminisrpartitioncount", 0.0),
        ("kafka_server_replicamanager_offlinereplicacount", 0.0),
        ("kafka_server_replicamanager_isrshrinks_total", 0.0),
        ("kafka_controller_kafkacontroller_activecontrollercount", 1.0),
        ("kafka_controller_kafkacontroller_offlinepartitionscount", 0.0),
        ("kafka_log_logmanager_offlinelogdirectorycount", 0.0),
        ("kafka_network_requestmetrics_requests_total{request=\"Produce\"}", 5.0),
        ("kafka_network_requestmetrics_totaltimems_count{request=\"Produce\"}", 5.0),
        ("kafka_log_log_logendoffset{topic=\"orders\",partition=\"1\"}", 50.0),
        ("kafka_log_log_logstartoffset{topic=\"orders\",partition=\"1\"}", 0.0),
        ("kafka_log_log_size{topic=\"orders\",partition=\"1\"}", bytes),
        ("kafka_log_log_size{topic=\"orders\",partition=\"0\"}", 0.0),
        ("kafka_log_log_numlogsegments{topic=\"orders\",partition=\"1\"}", 1.0),
    ] {
        assert_eq!(found.get(name), Some(&value), "{name} in\n{}", page.body);
    }
    for name in [
        "kafka_network_requestmetrics_totaltimems{request=\"Produce\",quantile=\"0.99\"}",
        "kafka_network_requestmetrics_totaltimems{request=\"FetchConsumer\",quantile=\"0.99\"}",
        "kafka_network_requestmetrics_totaltimems{request=\"Metadata\",quantile=\"0.50\"}",
    ] {
        assert!(found.get(name).is_some_and(|ms| *ms > 0.0 && *ms < 60_000.0), "{name} in\n{}", page.body);
    }

    assert_eq!(client.delete_topic("orders").expect("an answer"), 0);
    let page = ask(port, "GET", "/metrics").body;
    assert!(!page.contains("orders"), "a deleted topic stays on the page:\n{page}");
    broker.stop();
}

#[test]
fn a_restart_shows_what_the_logs_hold() {
    let (folder, broker, _) = broker("metrics-restart");
    let mut client = broker.client().expect("a connection");
    assert_eq!(client.create_topic("kept", 1, &[]).expect("an answer"), 0);
    let batch = build(NOBODY, 1_700_000_000_000, &[vec![7; 100]]);
    assert_eq!(client.produce("kept", 0, &batch).expect("an answer").code, 0);
    broker.stop();
    let port = free_port();
    let broker = Broker::start(folder.path(), &[("metrics.listener", &format!("127.0.0.1:{port}"))]);
    let found = samples(&ask(port, "GET", "/metrics").body);
    assert_eq!(found["kafka_log_log_logendoffset{topic=\"kept\",partition=\"0\"}"], 1.0);
    assert_eq!(found["kafka_log_log_size{topic=\"kept\",partition=\"0\"}"], batch.len() as f64);
    broker.stop();
}

#[test]
fn the_probes_answer_and_other_paths_and_methods_are_told_what_there_is() {
    let (_folder, broker, port) = broker("metrics-probes");
    for path in ["/livez", "/readyz"] {
        let answered = ask(port, "GET", path);
        assert_eq!((answered.status, answered.body.as_str()), (200, "ok\n"), "{path}");
    }
    let head = ask(port, "HEAD", "/metrics");
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    let unknown = ask(port, "GET", "/jmx");
    assert_eq!((unknown.status, unknown.body.as_str()), (404, "there are /metrics, /livez and /readyz\n"));
    let posted = ask(port, "POST", "/metrics");
    assert_eq!(posted.status, 405);
    assert!(posted.headers.contains("allow: get, head"), "{}", posted.headers);
    broker.stop();
}

#[test]
fn bytes_that_are_no_request_are_answered_and_the_page_lives_on() {
    let (_folder, broker, port) = broker("metrics-hostile");
    for bytes in
        [&b"\x00\x00\x00\x20kafka\r\n\r\n"[..], b"GET /metrics\r\n\r\n", b"GET /metrics HTTP/9.9\r\n\r\n"]
    {
        let answer = raw(port, bytes);
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer:?} to {bytes:?}");
    }
    let long = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(1 << 20));
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    // It may be closed before all of it is sent.
    let _ = stream.write_all(long.as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer:?}");
    // A client that says nothing holds nobody up.
    let silent: Vec<TcpStream> =
        (0..8).map(|_| TcpStream::connect(("127.0.0.1", port)).expect("a connection")).collect();
    assert_eq!(ask(port, "GET", "/livez").status, 200);
    drop(silent);
    broker.stop();
}

#[test]
fn an_address_in_use_ends_the_start_with_its_name() {
    let folder = Folder::new("metrics-in-use");
    let held = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let at = held.local_addr().expect("an address").to_string();
    let refused = Broker::refused(folder.path(), &[("metrics.listener", &at)]);
    assert_eq!(refused.status.code(), Some(1), "{}", refused.log);
    assert!(refused.log.contains(&format!("cannot listen on metrics.listener ({at})")), "{}", refused.log);
}
