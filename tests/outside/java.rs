//! Java Kafka beside the broker, as a judge of files and as the next or the last owner of a data directory.
//!
//! Everything goes through `scripts/java-kafka.sh`. Where Java, Maven or the repository is missing the script
//! says so with status 6, and tests skip by name.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub const VERSION: &str = "3.9.1";

fn script() -> Command {
    Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/java-kafka.sh"))
}

/// A file that Java wrote, kept in `tests/golden/java`.
pub fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/java").join(name)
}

/// Unpacks one of them; the log directory in it, which is the archive's content or one directory of it.
pub fn unpack(name: &str, into: &Path) -> PathBuf {
    let done = Command::new("tar").arg("-xzf").arg(golden(name)).arg("-C").arg(into).status().expect("tar");
    assert!(done.success(), "{name}");
    let mut data = into.to_path_buf();
    while !data.join("meta.properties").exists() {
        let entries = std::fs::read_dir(&data).expect("a directory");
        let mut inside = entries.map(|entry| entry.expect("an entry").path());
        data = inside.find(|path| path.is_dir()).expect("a log directory in the archive");
    }
    data
}

/// Why Java Kafka cannot be had, if so.
pub fn missing() -> Option<String> {
    missing_release(VERSION)
}

pub fn missing_release(version: &str) -> Option<String> {
    let done = script().args(["fetch", version]).output().expect("scripts/java-kafka.sh");
    let said = String::from_utf8_lossy(&done.stderr).trim().to_string();
    match done.status.code() {
        Some(0) => None,
        Some(6) => Some(said),
        _ => panic!("java-kafka.sh fetch: {}: {said}", done.status),
    }
}

/// A class of that release, run to its end; its output, and it must succeed.
pub fn run(class: &str, arguments: &[&str], input: &str) -> String {
    run_of(VERSION, class, arguments, input)
}

pub fn run_of(version: &str, class: &str, arguments: &[&str], input: &str) -> String {
    let mut child = script()
        .args(["run", version, class])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("scripts/java-kafka.sh");
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("its input");
    let done = child.wait_with_output().expect("its output");
    let out = String::from_utf8_lossy(&done.stdout).into_owned();
    let err = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{class} {arguments:?}: {}\n{out}\n{err}", done.status);
    out + &err
}

/// What a tool of Kafka's did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    pub status: i32,
    pub out: String,
    pub err: String,
}

/// Kafka's command-line tools, run one after the other in one JVM by `tests/tools/Judge.java`.
pub struct Judge {
    child: std::process::Child,
    answers: std::io::BufReader<std::process::ChildStdout>,
}

impl Judge {
    pub fn start() -> Judge {
        let mut child = script()
            .args(["run", VERSION, concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tools/Judge.java")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("scripts/java-kafka.sh");
        let answers = std::io::BufReader::new(child.stdout.take().expect("a pipe"));
        Judge { child, answers }
    }

    pub fn run(&mut self, class: &str, arguments: &[&str]) -> Judged {
        use std::io::{BufRead, Read};
        let line = std::iter::once(&class).chain(arguments).copied().collect::<Vec<_>>().join("\t");
        let input = self.child.stdin.as_mut().expect("a pipe");
        writeln!(input, "{line}").and_then(|()| input.flush()).expect("the judge takes a command");
        let mut head = String::new();
        self.answers.read_line(&mut head).expect("the judge answers");
        let numbers: Vec<i32> =
            head.split_whitespace().skip(1).map(|number| number.parse().expect("a number")).collect();
        let [status, out, err] = numbers[..] else { panic!("the judge said {head:?} to {line}") };
        let mut text = |bytes: i32| {
            let mut text = vec![0; bytes as usize];
            self.answers.read_exact(&mut text).expect("the judge's answer");
            String::from_utf8(text).expect("text")
        };
        let (out, err) = (text(out), text(err));
        if status >= 0 {
            return Judged { status, out, err };
        }
        // The tool ended the JVM.
        let status = self.child.wait().expect("its status").code().expect("no signal");
        *self = Judge::start();
        Judged { status, out, err }
    }
}

impl Drop for Judge {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// A Java broker with its ZooKeeper; its data directory is `folder/data`.
pub struct Broker {
    folder: PathBuf,
    pub address: SocketAddr,
}

/// ZooKeeper alone, so that nodes can be put there before a broker starts. Ended with the broker of its folder.
pub struct ZooKeeper {
    folder: PathBuf,
    /// `host:port`
    pub address: String,
}

impl ZooKeeper {
    pub fn start(folder: &Path) -> Self {
        let folder = folder.to_path_buf();
        let said = output(script().args(["zookeeper", VERSION]).arg(&folder));
        let address = field(&said, "zookeeper");
        Self { folder, address }
    }

    /// Makes nodes, parents first.
    pub fn create(&self, nodes: &[(String, String)]) {
        let commands: String = nodes.iter().map(|(path, data)| format!("create {path} '{data}'\n")).collect();
        let said = run("org.apache.zookeeper.ZooKeeperMain", &["-server", &self.address], &commands);
        for (path, _) in nodes {
            assert!(
                said.lines().any(|line| line.ends_with(&format!("Created {path}"))),
                "{path} was not made:\n{said}"
            );
        }
    }

    pub fn start_broker(self, overrides: &[(&str, &str)]) -> Broker {
        let mut command = script();
        command.args(["start", VERSION]).arg(&self.folder);
        for (key, value) in overrides {
            command.arg("--override").arg(format!("{key}={value}"));
        }
        let said = output(&mut command);
        let folder = self.folder.clone();
        std::mem::forget(self); // the broker's value ends both
        Broker { folder, address: field(&said, "bootstrap").parse().expect("an address") }
    }
}

impl Drop for ZooKeeper {
    fn drop(&mut self) {
        end(&self.folder);
    }
}

impl Broker {
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("kafka.log")).unwrap_or_default()
    }

    /// A clean stop.
    pub fn stop(self) {
        output(script().args(["stop", VERSION]).arg(&self.folder));
        std::mem::forget(self);
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        end(&self.folder);
    }
}

fn end(folder: &Path) {
    let _ = script().args(["stop", VERSION]).arg(folder).arg("--kill").status();
}

fn output(command: &mut Command) -> String {
    // Not through pipes: a broker that is started would inherit and hold them.
    let out = tempfile::NamedTempFile::new().expect("a file for the output");
    let file = || out.reopen().expect("a file for the output");
    let status =
        command.stdin(Stdio::null()).stdout(file()).stderr(file()).status().expect("scripts/java-kafka.sh");
    let said = std::fs::read_to_string(out.path()).expect("the output");
    assert!(status.success(), "{command:?}: {status}\n{said}");
    said
}

fn field(said: &str, name: &str) -> String {
    let start = format!("{name}=");
    let line = said.lines().find_map(|line| line.strip_prefix(&start));
    line.unwrap_or_else(|| panic!("no {name} in:\n{said}")).to_string()
}
