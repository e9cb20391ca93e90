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
use super::cores::core_list;
use super::durability::Durability;
use super::{interrupt, java_kafka};
use crate::reactor::process::{self, Signal};
use crate::report::run;

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
    /// A release, or the beginning of one; started through `scripts/java-kafka.sh`, with a ZooKeeper if it needs one.
    JavaKafka(String),
}

/// The release that `java-kafka` without a version means.
const JAVA_KAFKA_NEWEST: &str = "4";

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
        if let Some(rest) = text.strip_prefix("java-kafka") {
            return match rest.strip_prefix(':') {
                Some(version) if !version.is_empty() => Ok(Kind::JavaKafka(version.to_owned())),
                None if rest.is_empty() => Ok(Kind::JavaKafka(JAVA_KAFKA_NEWEST.to_owned())),
                Some(_) | None => Err(format!("{text}: write java-kafka:VERSION")),
            };
        }
        match text.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() && !text.contains(' ') => {
                Ok(Kind::Address(text.to_owned()))
            }
            _ => Err(format!(
                "{text}: a subject is ringdaw, null-broker[:VARIANT], java-kafka[:VERSION], HOST:PORT, or a command that contains {{port}}"
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
    /// Further settings for a Ringdaw or Java broker, `key=value`.
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
    /// It cannot be obtained on this machine; the sentence says what is missing.
    #[error("{text}")]
    Unavailable { text: String },
    #[error("{text}")]
    Script { text: String },
    #[error("interrupted")]
    Interrupted,
}

/// What is known of a subject beside its address.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// The settings file it was started with.
    pub config: Option<String>,
    pub version: Option<String>,
    /// `embedded`, `zookeeper`, `kraft`.
    pub metadata_mode: Option<String>,
    pub jvm_flags: Option<String>,
}

/// A running subject.
#[derive(Debug)]
pub struct Subject {
    recipe: Recipe,
    child: Option<Child>,
    /// The metadata service that the broker needs beside it; started before it and ended after it.
    companion: Option<Child>,
    address: SocketAddr,
    ready_ns: Option<u64>,
    known: Known,
    /// How it was started, for people.
    command: String,
}

impl Subject {
    /// Starts the subject on an empty directory and waits until it answers.
    pub fn start(recipe: Recipe) -> Result<Subject, SubjectError> {
        match recipe.kind {
            Kind::Ringdaw | Kind::NullBroker(_) | Kind::Command(_) | Kind::JavaKafka(_) => {
                let path = recipe.data_directory.clone();
                fs::create_dir_all(&path).map_err(|source| SubjectError::Io { path, source })?;
            }
            Kind::Address(_) => {}
        }
        Subject::run(recipe)
    }

    /// Starts the process on the directory as it is.
    fn run(recipe: Recipe) -> Result<Subject, SubjectError> {
        let mut companion = None;
        let (mut command, address, known) = match &recipe.kind {
            Kind::Address(text) => {
                let address = text.to_socket_addrs().ok().and_then(|mut all| all.next());
                let address = address.ok_or_else(|| SubjectError::Unknown { address: text.clone() })?;
                let command = text.clone();
                let mut subject = Subject {
                    recipe,
                    child: None,
                    companion: None,
                    address,
                    ready_ns: None,
                    known: Known::default(),
                    command,
                };
                subject.wait_until_ready()?;
                subject.ready_ns = None;
                return Ok(subject);
            }
            Kind::Ringdaw => ringdaw(&recipe)?,
            Kind::NullBroker(variant) => null_broker(&recipe, variant)?,
            Kind::Command(line) => command(&recipe, line)?,
            Kind::JavaKafka(version) => {
                let (prepared, zookeeper) = java_kafka(&recipe, version)?;
                companion = zookeeper;
                prepared
            }
        };
        let (name, log) = (recipe.name.clone(), recipe.log_file.clone());
        let shown = shown(&command);
        // From here on a failure drops the subject, and with it the companion.
        let mut subject =
            Subject { recipe, child: None, companion, address, ready_ns: None, known, command: shown };
        let started = Instant::now();
        subject.child = Some(spawn(&mut command, &name, &log, &subject.recipe.cores)?);
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

    /// Where it keeps its data; None for a subject that somebody else looks after.
    pub fn directory(&self) -> Option<&Path> {
        (!matches!(self.recipe.kind, Kind::Address(_))).then_some(self.recipe.data_directory.as_path())
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From exec to the first answer; None for a broker we did not start.
    pub fn ready_ns(&self) -> Option<u64> {
        self.ready_ns
    }

    /// As `run.json` lists it. The null broker flushes before every answer or never.
    pub fn entry(&self) -> run::Subject {
        let is_null_broker = matches!(self.recipe.kind, Kind::NullBroker(_));
        let class = match self.recipe.durability {
            Durability::IntervalMs(_) if is_null_broker => Durability::PageCache,
            class => class,
        };
        let known = self.known.clone();
        run::Subject {
            name: self.recipe.name.clone(),
            version: known.version,
            command: Some(self.command.clone()),
            config_sha256: known.config.as_deref().map(super::environment::sha256),
            config: known.config,
            metadata_mode: known.metadata_mode,
            jvm_flags: known.jvm_flags,
            cores: Some(core_list(&self.recipe.cores)),
            durability: run::Durability { class: Some(class.to_string()), ..run::Durability::default() },
            ready_ns: self.ready_ns,
            is_null_broker,
        }
    }

    /// CPU that the metadata service beside the broker has used since it started.
    pub fn companion_cpu_ns(&self) -> Option<u64> {
        super::sampler::cpu_ns(&[self.companion.as_ref()?.id()])
    }

    /// The processes whose cost is the subject's, the broker first. Empty when nobody told us.
    pub fn pids(&self) -> Vec<u32> {
        let broker = self.child.as_ref().map(Child::id).or(self.recipe.pid);
        let companion = self.companion.as_ref().map(Child::id);
        broker.into_iter().chain(companion).flat_map(super::sampler::process_tree).collect()
    }

    /// A child that has ended by itself, with its status and last lines.
    pub fn crashed(&mut self) -> Option<String> {
        let name = &self.recipe.name;
        let ended = |child: &mut Option<Child>| {
            let status = child.as_mut()?.try_wait().ok()??;
            *child = None;
            Some(status)
        };
        if let Some(status) = ended(&mut self.child) {
            return Some(format!("{name} ended during the run ({status}):\n{}", self.last_lines()));
        }
        let status = ended(&mut self.companion)?;
        let log = companion_log(&self.recipe.log_file);
        Some(format!("the ZooKeeper of {name} ended during the run ({status}):\n{}", tail(&log)))
    }

    /// The end of what it wrote, for a message about it.
    pub fn last_lines(&self) -> String {
        tail(&self.recipe.log_file)
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
        for mut child in [self.child.take(), self.companion.take()].into_iter().flatten() {
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

    /// Stops the process and leaves its data.
    pub fn stop_and_keep(mut self) -> Option<String> {
        self.end()
    }

    fn end(&mut self) -> Option<String> {
        let name = &self.recipe.name;
        let late = self.child.take().and_then(|child| end(child, name));
        let companion =
            self.companion.take().and_then(|child| end(child, &format!("the ZooKeeper of {name}")));
        late.or(companion)
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
        if self.child.is_some() || self.companion.is_some() {
            self.end();
            self.remove_data();
        }
    }
}

/// The sentence says when it had to be killed.
fn end(mut child: Child, name: &str) -> Option<String> {
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
    Some(format!("{name} did not stop within {} s of SIGTERM and was killed", STOP_MAX.as_secs()))
}

fn spawn(command: &mut Command, name: &str, log: &Path, cores: &[usize]) -> Result<Child, SubjectError> {
    let file = || {
        File::options()
            .create(true)
            .append(true)
            .open(log)
            .map_err(|source| SubjectError::Io { path: log.to_owned(), source })
    };
    command.stdin(Stdio::null()).stdout(file()?).stderr(file()?);
    process::isolate(command, cores);
    command.spawn().map_err(|source| SubjectError::Spawn { name: name.to_owned(), source })
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

type Prepared = (Command, SocketAddr, Known);

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
    let known = Known {
        config: Some(text),
        version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        metadata_mode: Some("embedded".to_owned()),
        jvm_flags: None,
    };
    Ok((command, local(port), known))
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
    let known = Known { version: Some(env!("CARGO_PKG_VERSION").to_owned()), ..Known::default() };
    Ok((command, local(port), known))
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
    Ok((command, local(port), Known::default()))
}

fn companion_log(log: &Path) -> PathBuf {
    log.with_extension("zookeeper.log")
}

/// The broker, and its ZooKeeper already running where the release needs one.
fn java_kafka(recipe: &Recipe, version: &str) -> Result<(Prepared, Option<Child>), SubjectError> {
    let mut companion = None;
    let mut address = None;
    if java_kafka::Prepared::needs_zookeeper(version) {
        let port = free_port()?;
        let mut prepared = java_kafka::zookeeper(recipe, version, port)?;
        let (name, log) = (format!("the ZooKeeper of {}", recipe.name), companion_log(&recipe.log_file));
        let child = spawn(&mut prepared.command, &name, &log, &recipe.cores)?;
        wait_for_port(child, &name, &log, local(port)).map(|child| companion = Some(child))?;
        address = Some(local(port));
    }
    let port = free_port()?;
    let mut settings = vec![("auto.create.topics.enable", "false".to_owned())];
    settings.extend(recipe.durability.properties());
    match java_kafka::broker(recipe, version, port, address, &settings) {
        Ok(prepared) => {
            let known = Known {
                config: Some(prepared.config),
                version: Some(prepared.version),
                metadata_mode: Some(prepared.metadata_mode),
                jvm_flags: Some(prepared.jvm_flags),
            };
            Ok(((prepared.command, local(port), known), companion))
        }
        Err(error) => {
            companion.and_then(|child| end(child, "ZooKeeper"));
            Err(error)
        }
    }
}

/// Waits until somebody listens; a child that does not get there is ended.
fn wait_for_port(
    mut child: Child,
    name: &str,
    log: &Path,
    address: SocketAddr,
) -> Result<Child, SubjectError> {
    let deadline = Instant::now() + READY_MAX;
    loop {
        let connected = std::net::TcpStream::connect_timeout(&address, Duration::from_secs(1));
        let Err(reason) = connected else { return Ok(child) };
        if let Some(status) = child.try_wait().ok().flatten() {
            let (name, log) = (name.to_owned(), log.to_owned());
            return Err(SubjectError::Ended { name, status, tail: tail(&log), log });
        }
        let given_up = Instant::now() > deadline;
        if given_up || interrupt::requested() {
            end(child, name);
            return Err(if given_up {
                SubjectError::Silent {
                    name: name.to_owned(),
                    address: address.to_string(),
                    seconds: READY_MAX.as_secs(),
                    reason: reason.to_string(),
                }
            } else {
                SubjectError::Interrupted
            });
        }
        std::thread::sleep(Duration::from_millis(20));
    }
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
        assert_eq!("java-kafka:3.9.1".parse(), Ok(Kind::JavaKafka("3.9.1".to_owned())));
        assert_eq!("java-kafka".parse(), Ok(Kind::JavaKafka("4".to_owned())));
        assert!("java-kafka-4".parse::<Kind>().is_err() && "java-kafka:".parse::<Kind>().is_err());
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
