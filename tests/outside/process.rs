//! A broker process: started on a folder, waited for, ended by its own pid.
//!
//! In: settings. Out: an address that answers, or the status and the log of a start that was refused. A broker
//! never outlives the value that stands for it.

use super::client::Client;
use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const START: Duration = Duration::from_secs(60);
const STOP: Duration = Duration::from_secs(60);

pub struct Broker {
    child: Child,
    pub address: SocketAddr,
    log: PathBuf,
}

/// A start that ended by itself.
#[derive(Debug)]
pub struct Refused {
    pub status: ExitStatus,
    pub log: String,
}

/// The program these tests were built with, or another build of it that RINGDAW_TEST_BROKER names.
pub fn binary() -> PathBuf {
    std::env::var_os("RINGDAW_TEST_BROKER")
        .map_or(PathBuf::from(env!("CARGO_BIN_EXE_ringdaw")), PathBuf::from)
}

/// The engine that every broker of the tests stands on: `reactor.engine`, where RINGDAW_TEST_ENGINE names one.
pub fn engine() -> Option<String> {
    std::env::var("RINGDAW_TEST_ENGINE").ok().filter(|engine| !engine.is_empty())
}

/// A port nobody listens on, below the range the kernel hands out: else a client that tries to reach a broker that is down
/// may get the broker's own port for its end, and connect to itself.
pub fn free_port() -> u16 {
    static ASKED: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.subsec_nanos());
    let mut number = now ^ std::process::id().wrapping_mul(0x9e37_79b9);
    for _ in 0..1000 {
        number = number.wrapping_mul(0x01f1_23bb).wrapping_add(ASKED.fetch_add(1, Ordering::Relaxed) | 1);
        let port = 10_000 + (number >> 8) as u16 % 20_000;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no free port from 10000 to 29999");
}

/// `folder` gets `server.properties` and `broker.log`; data lives in `folder/data` unless settings say otherwise.
pub fn write_properties(folder: &Path, port: u16, settings: &[(&str, &str)]) -> PathBuf {
    fs::create_dir_all(folder).expect("the broker's folder");
    let mut lines = vec![
        ("broker.id".to_string(), "1".to_string()),
        ("listeners".to_string(), format!("PLAINTEXT://127.0.0.1:{port}")),
        ("log.dirs".to_string(), folder.join("data").display().to_string()),
        ("auto.create.topics.enable".to_string(), "false".to_string()),
    ];
    lines.extend(engine().map(|engine| ("reactor.engine".to_string(), engine)));
    for (key, value) in settings {
        lines.retain(|(known, _)| known != key);
        lines.push((key.to_string(), value.to_string()));
    }
    let path = folder.join("server.properties");
    let text: String = lines.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
    fs::write(&path, text).expect("server.properties");
    path
}

impl Broker {
    /// Started, and not yet waited for.
    pub fn launch(folder: &Path, settings: &[(&str, &str)]) -> Self {
        Self::launch_by(Command::new(binary()), folder, settings, |_| {})
    }

    /// The same by another program, which is given the broker's arguments, or with more said about its process.
    pub fn launch_by(
        mut command: Command,
        folder: &Path,
        settings: &[(&str, &str)],
        prepare: impl FnOnce(&mut Command),
    ) -> Self {
        let port = free_port();
        let properties = write_properties(folder, port, settings);
        let log = folder.join("broker.log");
        let out = File::create(&log).expect("the broker's log");
        prepare(&mut command);
        let child = command
            .arg("broker")
            .arg(&properties)
            .stdin(Stdio::null())
            .stdout(out.try_clone().expect("the broker's log"))
            .stderr(out)
            .spawn()
            .expect("the broker's binary");
        Self { child, address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)), log }
    }

    /// Started, and answering.
    pub fn start(folder: &Path, settings: &[(&str, &str)]) -> Self {
        Self::launch(folder, settings).answering()
    }

    /// Once it answers.
    pub fn answering(mut self) -> Self {
        match self.wait_until_it_serves() {
            None => self,
            Some(Refused { status, log }) => panic!("the broker ended with {status}:\n{log}"),
        }
    }

    /// Waits for an answer, or for the end of a broker that does not start.
    pub fn wait_until_it_serves(&mut self) -> Option<Refused> {
        let deadline = Instant::now() + START;
        loop {
            if self.client().and_then(|mut client| client.api_versions()).is_ok() {
                return None;
            }
            if let Some(status) = self.child.try_wait().expect("the broker's status") {
                return Some(Refused { status, log: self.log() });
            }
            assert!(Instant::now() < deadline, "the broker does not answer:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Started with the expectation that it will not serve.
    pub fn refused(folder: &Path, settings: &[(&str, &str)]) -> Refused {
        Self::launch(folder, settings).ending()
    }

    /// Once it has ended by itself.
    pub fn ending(mut self) -> Refused {
        let status = self.wait(START);
        Refused { status, log: self.log() }
    }

    pub fn client(&self) -> io::Result<Client> {
        Client::connect(self.address)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_else(|error| format!("{}: {error}", self.log.display()))
    }

    /// kill -9, as a crash of the process.
    pub fn kill(mut self) {
        self.child.kill().expect("kill");
        self.child.wait().expect("wait");
        let log = self.log();
        assert!(!log.contains("panicked at"), "the broker panicked before it was killed:\n{log}");
    }

    /// SIGTERM, as an operator stops it: status 0, and no panic on the way.
    pub fn stop(mut self) {
        terminate(self.child.id());
        let status = self.wait(STOP);
        let log = self.log();
        assert!(status.success(), "the broker ended with {status} on SIGTERM:\n{log}");
        assert!(!log.contains("panicked at"), "the broker panicked:\n{log}");
    }

    /// The status of a broker that ends by itself.
    pub fn wait(&mut self, patience: Duration) -> ExitStatus {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait().expect("the broker's status") {
                return status;
            }
            assert!(Instant::now() < deadline, "the broker does not end:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

pub fn terminate(pid: u32) {
    signal("-TERM", pid);
}

/// Stops a process where it stands, as a long pause of its machine does.
pub fn pause(pid: u32) {
    signal("-STOP", pid);
}

pub fn resume(pid: u32) {
    signal("-CONT", pid);
}

fn signal(name: &str, pid: u32) {
    let status = Command::new("kill").args([name, &pid.to_string()]).status().expect("the kill command");
    assert!(status.success(), "kill {name} {pid}: {status}");
}
