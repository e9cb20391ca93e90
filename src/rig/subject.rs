//! The broker under test: a child process of the rig, or an address somebody else looks after.
//!
//! In: which subject, on which cores, with which durability class, on which directory. Out: an address that answers
//! ApiVersions, and the process ids whose costs count. A child never outlives the rig: it is stopped by its own id
//! (SIGTERM, a grace, SIGKILL) when the subject is dropped, and the kernel kills it if the rig dies first.

use std::fs::{self, File};
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::str::FromStr;
use std::time::{Duration, Instant};

use super::client::Client;
use super::durability::Durability;
use super::interrupt;
use crate::reactor::process::{self, Signal};

/// How long a broker may take until it answers.
const READY_MAX: Duration = Duration::from_secs(60);
/// How long a broker may take to stop by itself.
const STOP_MAX: Duration = Duration::from_secs(15);

/// Which broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    Ringdaw,
    /// With its variant, as `load` names it: `sendfile`, `pwrite+crc` ...
    NullBroker(String),
    /// Started by somebody else.
    Address(String),
    /// A command line with `{data_dir}`, `{port}` and `{cores}` in it.
    Command(String),
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Kind, String> {
        if text == "ringdaw" {
            return Ok(Kind::Ringdaw);
        }
        if let Some(rest) = text.strip_prefix("null-broker") {
            return match rest.strip_prefix(':') {
                Some(variant) => Ok(Kind::NullBroker(variant.to_owned())),
                None if rest.is_empty() => Ok(Kind::NullBroker("sendfile".to_owned())),
                None => Err(format!("{text}: write null-broker:VARIANT")),
            };
        }
        if text.contains("{port}") {
            return Ok(Kind::Command(text.to_owned()));
        }
        if text.starts_with("java-kafka") {
            return Err(format!("{text}: Java Kafka as a subject comes with `bench compare`"));
        }
        match text.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() && !text.contains(' ') => {
                Ok(Kind::Address(text.to_owned()))
            }
            _ => Err(format!(
                "{text}: a subject is ringdaw, null-broker[:VARIANT], HOST:PORT, or a command that contains {{port}}"
            )),
        }
    }
}

/// Everything needed to start a subject, again and again.
#[derive(Clone, Debug)]
pub struct Recipe {
    pub kind: Kind,
    /// Unique in the run; names its log file.
    pub name: String,
    pub cores: Vec<usize>,
    pub durability: Durability,
    /// A directory of its own; made and removed by the rig.
    pub data_directory: PathBuf,
    /// Further settings for a Ringdaw broker, `key=value`.
    pub overrides: Vec<String>,
    /// Where stdout and stderr go.
    pub log_file: PathBuf,
    /// The process behind an address, when the user named it.
    pub pid: Option<u32>,
    /// Faults for the null broker, as `load` names them.
    pub faults: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum SubjectError {
    #[error("{name}: cannot be started: {source}")]
    Spawn { name: String, source: io::Error },
    #[error("{path}: {source}", path = .path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{name} ended before it answered ({status}); its last lines, from {log}:\n{tail}", log = .log.display())]
    Ended { name: String, status: ExitStatus, log: PathBuf, tail: String },
    #[error("{name} did not answer ApiVersions at {address} within {seconds} s: {reason}")]
    Silent { name: String, address: String, seconds: u64, reason: String },
    #[error("{address}: no such host or port")]
    Unknown { address: String },
    #[error("interrupted")]
    Interrupted,
}

/// A running subject.
#[derive(Debug)]
pub struct Subject {
    recipe: Recipe,
    child: Option<Child>,
    address: SocketAddr,
    ready_ns: Option<u64>,
    config: Option<String>,
    command: String,
}

impl Subject {
    /// Starts the subject on an empty directory and waits until it answers.
    pub fn start(recipe: Recipe) -> Result<Subject, SubjectError> {
        if matches!(recipe.kind, Kind::Ringdaw | Kind::NullBroker(_) | Kind::Command(_)) {
            let path = recipe.data_directory.clone();
            fs::create_dir_all(&path).map_err(|source| SubjectError::Io { path, source })?;
        }
        Subject::run(recipe)
    }

    /// Starts the process on the directory as it is.
    fn run(recipe: Recipe) -> Result<Subject, SubjectError> {
        let (mut command, address, config) = match &recipe.kind {
            Kind::Address(text) => {
                let address = text.to_socket_addrs().ok().and_then(|mut all| all.next());
                let address = address.ok_or_else(|| SubjectError::Unknown { address: text.clone() })?;
                let command = text.clone();
                let mut subject =
                    Subject { recipe, child: None, address, ready_ns: None, config: None, command };
                subject.wait_until_ready()?;
                subject.ready_ns = None;
                return Ok(subject);
            }
            Kind::Ringdaw => ringdaw(&recipe)?,
            Kind::NullBroker(variant) => null_broker(&recipe, variant)?,
            Kind::Command(line) => command(&recipe, line)?,
        };
        let log = || {
            let path = &recipe.log_file;
            File::options()
                .create(true)
                .append(true)
                .open(path)
                .map_err(|source| SubjectError::Io { path: path.clone(), source })
        };
        command.stdin(Stdio::null()).stdout(log()?).stderr(log()?);
        process::isolate(&mut command, &recipe.cores);
        let shown = shown(&command);
        let started = Instant::now();
        let child =
            command.spawn().map_err(|source| SubjectError::Spawn { name: recipe.name.clone(), source })?;
        let mut subject =
            Subject { recipe, child: Some(child), address, ready_ns: None, config, command: shown };
        subject.wait_until_ready()?;
        subject.ready_ns = Some(started.elapsed().as_nanos() as u64);
        Ok(subject)
    }

    fn wait_until_ready(&mut self) -> Result<(), SubjectError> {
        let deadline = Instant::now() + READY_MAX;
        loop {
            let asked =
                Client::connect(self.address, Duration::from_secs(2)).and_then(|mut c| c.api_versions());
            let Err(error) = asked else { return Ok(()) };
            if let Some(status) = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten()) {
                self.child = None;
                return Err(SubjectError::Ended {
                    name: self.recipe.name.clone(),
                    status,
                    tail: tail(&self.recipe.log_file),
                    log: self.recipe.log_file.clone(),
                });
            }
            if interrupt::requested() {
                return Err(SubjectError::Interrupted);
            }
            // Nobody else's broker is going to appear while we wait.
            if self.child.is_none() || Instant::now() > deadline {
                return Err(SubjectError::Silent {
                    name: self.recipe.name.clone(),
                    address: self.address.to_string(),
                    seconds: if self.child.is_none() { 2 } else { READY_MAX.as_secs() },
                    reason: error.to_string(),
                });
            }
            // Short, since the time to the first answer is a figure of its own.
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    pub fn name(&self) -> &str {
        &self.recipe.name
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From exec to the first answer; None for a broker we did not start.
    pub fn ready_ns(&self) -> Option<u64> {
        self.ready_ns
    }

    /// The settings file it was started with.
    pub fn config(&self) -> Option<&str> {
        self.config.as_deref()
    }

    /// How it was started, for people.
    pub fn command(&self) -> &str {
        &self.command
    }

    /// The processes whose cost is the subject's, the broker first. Empty when nobody told us.
    pub fn pids(&self) -> Vec<u32> {
        let pid = self.child.as_ref().map(Child::id).or(self.recipe.pid);
        pid.map(super::sampler::process_tree).unwrap_or_default()
    }

    /// A child that has ended by itself, with its status and last lines.
    pub fn crashed(&mut self) -> Option<String> {
        let status = self.child.as_mut()?.try_wait().ok()??;
        self.child = None;
        Some(format!(
            "{} ended during the run ({status}):\n{}",
            self.recipe.name,
            tail(&self.recipe.log_file)
        ))
    }

    /// Lets the subject stand still or go on.
    pub fn pause(&self, paused: bool) -> io::Result<()> {
        let signal = if paused { Signal::Pause } else { Signal::Continue };
        self.pids().into_iter().try_for_each(|pid| process::signal(pid, signal))
    }

    /// Sends SIGKILL to the broker; `crash_and_restart` or `crashed` finds it gone.
    pub fn kill_now(&self) {
        if let Some(child) = &self.child {
            // It fails only when the process is gone already, which is what was asked for.
            let _ = process::signal(child.id(), Signal::Kill);
        }
    }

    /// Kills the process without a word and starts it again on the same directory.
    pub fn crash_and_restart(&mut self) -> Result<(), SubjectError> {
        self.kill();
        let recipe = self.recipe.clone();
        *self = Subject::run(recipe)?;
        Ok(())
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Both fail only when the process is gone already.
            let _ = process::signal(child.id(), Signal::Kill);
            let _ = child.wait();
        }
    }

    /// Stops the process and removes its data. The sentence says when it had to be killed.
    pub fn stop(mut self) -> Option<String> {
        let late = self.end();
        self.remove_data();
        late
    }

    fn end(&mut self) -> Option<String> {
        let mut child = self.child.take()?;
        let _ = process::signal(child.id(), Signal::Continue);
        let _ = process::signal(child.id(), Signal::Terminate);
        let deadline = Instant::now() + STOP_MAX;
        while Instant::now() < deadline {
            match child.try_wait() {
                Ok(None) => std::thread::sleep(Duration::from_millis(5)),
                Ok(Some(_)) | Err(_) => return None,
            }
        }
        let _ = process::signal(child.id(), Signal::Kill);
        let _ = child.wait();
        Some(format!(
            "{} did not stop within {} s of SIGTERM and was killed",
            self.recipe.name,
            STOP_MAX.as_secs()
        ))
    }

    fn remove_data(&self) {
        if !matches!(self.recipe.kind, Kind::Address(_)) {
            // A directory that cannot be removed is named by the run's own clean-up.
            let _ = fs::remove_dir_all(&self.recipe.data_directory);
        }
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.end();
            self.remove_data();
        }
    }
}

/// A port nobody listens on. Another process may take it before the subject does; the subject then says so and ends.
fn free_port() -> Result<u16, SubjectError> {
    let listen = || TcpListener::bind(("127.0.0.1", 0))?.local_addr();
    let address =
        listen().map_err(|source| SubjectError::Io { path: PathBuf::from("127.0.0.1:0"), source })?;
    Ok(address.port())
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn own_executable() -> Result<PathBuf, SubjectError> {
    std::env::current_exe()
        .map_err(|source| SubjectError::Io { path: PathBuf::from("/proc/self/exe"), source })
}

type Prepared = (Command, SocketAddr, Option<String>);

fn ringdaw(recipe: &Recipe) -> Result<Prepared, SubjectError> {
    let port = free_port()?;
    let threads = recipe.cores.len().max(1).to_string();
    let mut settings = vec![
        ("broker.id", "0".to_owned()),
        ("listeners", format!("PLAINTEXT://127.0.0.1:{port}")),
        ("log.dirs", recipe.data_directory.join("log").display().to_string()),
        ("num.network.threads", threads.clone()),
        ("num.io.threads", threads),
        ("auto.create.topics.enable", "false".to_owned()),
    ];
    settings.extend(recipe.durability.properties());
    let mut text: String = settings.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
    for line in &recipe.overrides {
        text.push_str(line);
        text.push('\n');
    }
    let path = recipe.data_directory.join("server.properties");
    fs::write(&path, &text).map_err(|source| SubjectError::Io { path: path.clone(), source })?;
    let mut command = Command::new(own_executable()?);
    command.arg("broker").arg(&path);
    Ok((command, local(port), Some(text)))
}

fn null_broker(recipe: &Recipe, variant: &str) -> Result<Prepared, SubjectError> {
    let port = free_port()?;
    let mut command = Command::new(own_executable()?);
    command.args(["bench", "null-broker", "--variant", variant, "--port", &port.to_string()]);
    if recipe.durability == Durability::Sync {
        command.arg("--sync");
    }
    command.arg("--files").arg(recipe.data_directory.join("log"));
    for fault in &recipe.faults {
        command.args(["--plant", fault]);
    }
    Ok((command, local(port), None))
}

fn command(recipe: &Recipe, line: &str) -> Result<Prepared, SubjectError> {
    let port = free_port()?;
    let cores: Vec<String> = recipe.cores.iter().map(usize::to_string).collect();
    let line = line
        .replace("{data_dir}", &quoted(&recipe.data_directory))
        .replace("{port}", &port.to_string())
        .replace("{cores}", &cores.join(","));
    let mut command = Command::new("sh");
    // `exec` makes a simple command the child itself, so that signals reach it and not a shell in between.
    command.arg("-c").arg(format!("exec {line}"));
    Ok((command, local(port), None))
}

fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', "'\\''"))
}

/// The command line, without the folder the executable happens to be in.
fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let mut line = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned();
    for argument in command.get_args() {
        line.push(' ');
        line.push_str(&argument.to_string_lossy());
    }
    line
}

/// The last lines of a log, enough to see why something ended.
fn tail(path: &Path) -> String {
    let text = fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let last = &lines[lines.len().saturating_sub(12)..];
    if last.is_empty() {
        "  (it wrote nothing)".to_owned()
    } else {
        last.iter().map(|l| format!("  {l}")).collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_known_by_its_text() {
        assert_eq!("ringdaw".parse(), Ok(Kind::Ringdaw));
        assert_eq!("null-broker:pwrite+crc".parse(), Ok(Kind::NullBroker("pwrite+crc".to_owned())));
        assert_eq!("h:9092".parse(), Ok(Kind::Address("h:9092".to_owned())));
        assert_eq!("x --port {port}".parse(), Ok(Kind::Command("x --port {port}".to_owned())));
        assert!("redpanda".parse::<Kind>().unwrap_err().contains("HOST:PORT"));
    }

    #[test]
    fn a_command_that_ends_at_once_is_reported_with_its_last_words() {
        let folder = tempfile::tempdir().unwrap();
        let recipe = Recipe {
            kind: Kind::Command("sh -c 'echo no luck at {port} >&2; exit 3'".to_owned()),
            name: "unlucky".to_owned(),
            cores: Vec::new(),
            durability: Durability::PageCache,
            data_directory: folder.path().join("data"),
            overrides: Vec::new(),
            log_file: folder.path().join("log"),
            pid: None,
            faults: Vec::new(),
        };
        let text = Subject::start(recipe).unwrap_err().to_string();
        assert!(text.contains("exit status: 3") && text.contains("no luck at"), "{text}");
    }
}
