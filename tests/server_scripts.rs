//! Kafka's command names in `scripts/`, used as Kafka's documentation uses them.

mod outside;

use outside::Folder;
use outside::client::Client;
use outside::process::{binary, free_port, write_properties};
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

fn script(name: &str, logs: &Path) -> Command {
    let mut command = Command::new(format!("{}/scripts/{name}", env!("CARGO_MANIFEST_DIR")));
    command.env("RINGDAW_BIN", binary()).env("LOG_DIR", logs);
    command
}

fn said(done: &Output) -> String {
    String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr)
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}: not within a minute");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn answers(port: u16) -> bool {
    Client::connect(([127, 0, 0, 1], port).into()).and_then(|mut client| client.api_versions()).is_ok()
}

/// Stops what a failed test leaves running.
struct Running<'a>(&'a Path);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let _ = script("kafka-server-stop.sh", self.0).output();
    }
}

#[test]
fn a_broker_is_started_used_and_stopped_by_the_scripts_and_no_other_is_touched() {
    let folder = Folder::new("scripts");
    let logs = folder.join("logs");
    let other_logs = folder.join("other-logs");
    let (port, other_port) = (free_port(), free_port());
    let settings = write_properties(&folder.join("one"), port, &[]);
    let other_settings = write_properties(&folder.join("other"), other_port, &[]);
    let _running = (Running(&logs), Running(&other_logs));

    for (settings, logs) in [(&settings, &logs), (&other_settings, &other_logs)] {
        let started = script("kafka-server-start.sh", logs)
            .args(["-daemon"])
            .arg(settings)
            .args(["--override", "num.partitions=7"])
            .output()
            .expect("the script");
        assert!(started.status.success(), "{}", said(&started));
    }
    until("both brokers answer", || answers(port) && answers(other_port));

    let to = ["--bootstrap-server", &format!("127.0.0.1:{port}")];
    let topics = |arguments: &[&str]| {
        let done = script("kafka-topics.sh", &logs).args(to).args(arguments).output().expect("the script");
        (done.status.success(), said(&done))
    };
    let (made, text) =
        topics(&["--create", "--topic", "by-script", "--partitions", "2", "--replication-factor", "1"]);
    assert!(made && text.contains("Created topic by-script."), "{text}");
    let (made, text) = topics(&["--create", "--topic", "with-defaults"]);
    assert!(made, "{text}");
    let (_, text) = topics(&["--list"]);
    assert_eq!(text.lines().collect::<Vec<_>>(), ["by-script", "with-defaults"]);
    let (_, text) = topics(&["--describe", "--topic", "with-defaults"]);
    assert!(text.contains("PartitionCount: 7"), "--override num.partitions=7 has taken effect: {text}");
    let (again, text) = topics(&["--create", "--topic", "by-script"]);
    assert!(!again && text.contains("already exists"), "{text}");
    let (deleted, text) = topics(&["--delete", "--topic", "by-script"]);
    assert!(deleted, "{text}");
    let (missing, text) = topics(&["--describe", "--topic", "by-script"]);
    assert!(!missing && text.contains("does not exist"), "{text}");

    let stopped = script("kafka-server-stop.sh", &logs).output().expect("the script");
    assert!(stopped.status.success(), "{}", said(&stopped));
    until("the broker is gone", || !answers(port));
    until("it stopped cleanly", || folder.join("one/data/.kafka_cleanshutdown").exists());
    assert!(answers(other_port), "the other broker still runs");
    let nothing = script("kafka-server-stop.sh", &logs).output().expect("the script");
    assert_eq!(nothing.status.code(), Some(1), "{}", said(&nothing));
    let stopped =
        script("kafka-server-stop.sh", &other_logs).arg(&other_settings).output().expect("the script");
    assert!(stopped.status.success(), "{}", said(&stopped));
    until("the other broker is gone", || !answers(other_port));
}

#[test]
fn a_start_without_a_settings_file_shows_how_to_use_it() {
    let folder = Folder::new("usage");
    let done = script("kafka-server-start.sh", folder.path()).output().expect("the script");
    assert_eq!(done.status.code(), Some(1));
    assert!(said(&done).contains("server.properties [--override property=value]"), "{}", said(&done));
}

/// Ends what a failed test leaves running.
struct Up<'a>(&'a Path);

impl Drop for Up<'_> {
    fn drop(&mut self) {
        let _ = cluster(self.0, &["down"]);
    }
}

fn cluster(folder: &Path, arguments: &[&str]) -> Output {
    script("cluster.sh", folder)
        .env("CLUSTER_DIR", folder)
        .env("BROKERS", "1")
        .env("ZOOKEEPERS", "1")
        .args(arguments)
        .output()
        .expect("the script")
}

#[test]
fn a_cluster_is_started_killed_and_ended_by_its_script() {
    const NAME: &str = "a_cluster_is_started_killed_and_ended_by_its_script";
    if let Some(why) = outside::zookeeper::missing() {
        return outside::skip(NAME, &why);
    }
    let folder = Folder::new("cluster-script");
    let place = folder.path();
    let _up = Up(place);
    let does = |arguments: &[&str]| {
        let done = cluster(place, arguments);
        assert!(done.status.success(), "{arguments:?}: {}", said(&done));
        said(&done)
    };
    assert!(does(&["up"]).starts_with("brokers 127.0.0.1:"));
    let port = fs::read_to_string(place.join("broker-1.port")).expect("its port");
    let port: u16 = port.trim().parse().expect("a port");
    assert!(answers(port));
    let status = does(&["status"]);
    let line = status.lines().find(|line| line.starts_with("broker 1 ")).expect("its line").to_string();
    assert!(line.ends_with(" up") && status.contains("zookeeper 1  "), "{status}");
    assert!(does(&["zkCli", "get", "/controller"]).contains("\"brokerid\":1"));
    does(&["kill", "1"]);
    assert!(!answers(port));
    assert!(does(&["status"]).contains(&format!("broker 1     127.0.0.1:{port:<5}  pid -        down")));
    does(&["start", "1"]);
    assert!(answers(port));
    let unknown = cluster(place, &["kill", "2"]);
    assert!(!unknown.status.success() && said(&unknown).contains("brokers are 1 to 1"), "{}", said(&unknown));
    does(&["down"]);
    assert!(!answers(port));
    assert_eq!(fs::read_dir(place).expect("its files").filter(is_pid_file).count(), 0);
}

fn is_pid_file(entry: &std::io::Result<fs::DirEntry>) -> bool {
    entry.as_ref().is_ok_and(|entry| entry.path().extension().is_some_and(|extension| extension == "pid"))
}
