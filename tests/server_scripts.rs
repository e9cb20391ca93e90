//! Kafka's command names in `scripts/`, used as Kafka's documentation uses them.

mod outside;

use outside::Folder;
use outside::client::Client;
use outside::process::{binary, free_port, write_properties};
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
