//! The rig's self-tests (RIG section 20, step 1): faults are injected and the reading is checked.
//!
//! They run live, against the null broker, through the command line as a user would. What depends on time is judged
//! only in a block that nothing from outside disturbed, and gets three attempts: a busy machine proves nothing. Those
//! tests are in `alone` and run one by one, before all that is in `beside`.

mod alone;
mod beside;
#[path = "../outside/mod.rs"]
mod outside;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use outside::bench::{Finished, SMALL};
use ringdaw::reactor::pin;
use serde_json::Value;

const RINGDAW: &str = env!("CARGO_BIN_EXE_ringdaw");

/// What surrounds a block is short as well: these runs are not to be quoted.
const SHORT: &[&str] = &["--quick", "--duration", "1s"];

/// A directory of its own on the build's file system: the system's temporary folder may be tmpfs.
struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Bench {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR"));
        Bench { folder: tempfile::tempdir_in(root).expect("a directory beside the build") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(RINGDAW);
        command.arg("bench").args(arguments);
        command.arg("--data-dir").arg(self.path("data")).arg("--out").arg(self.path("results"));
        command.args(["--plain", "--allow-tmpfs", "--self-tests", "none"]);
        command
    }

    fn run(&self, arguments: &[&str]) -> Finished {
        let output = self.command(arguments).stdin(Stdio::null()).output().expect("the program starts");
        self.finished(output)
    }

    /// The small workload against the null broker, without a roof.
    fn run_small(&self, more: &[&str]) -> Finished {
        self.finished(self.command_small(more).output().expect("the program starts"))
    }

    fn command_small(&self, more: &[&str]) -> Command {
        let file = small(self);
        let arguments = ["run", &file, "--subject", "null-broker", "--null", "none"];
        let short = if more.contains(&"--duration") { &SHORT[..1] } else { SHORT };
        let mut command = self.command(&[&arguments, short, more].concat());
        command.stdin(Stdio::null());
        command
    }

    fn finished(&self, output: Output) -> Finished {
        Finished::new(output, &self.path("results"))
    }
}

impl Finished {
    fn sweep_cell(&self) -> &Value {
        let cells = self.run()["cells"].as_array().expect("cells");
        cells
            .iter()
            .find(|cell| cell["role"] == "sweep")
            .unwrap_or_else(|| panic!("no cell\n{}", self.said()))
    }

    /// Why the blocks of the cell mean nothing, if they do.
    fn void_reasons(&self) -> Vec<String> {
        let id = &self.sweep_cell()["id"];
        let blocks = self.run()["blocks"].as_array().expect("blocks");
        let of_cell = blocks.iter().filter(|block| block["cell"] == *id);
        of_cell
            .flat_map(|block| block["void_reasons"].as_array().cloned().unwrap_or_default())
            .map(|reason| reason.as_str().unwrap_or_default().to_owned())
            .collect()
    }
}

fn ms(value: &Value) -> f64 {
    value.as_f64().unwrap_or(f64::NAN) / 1e6
}

/// A test's turn. When it ends, its result is written down beside the build, where the rig finds it for the footer of
/// its pages.
struct Turn {
    _held: Held,
    name: String,
    since: std::time::Instant,
}

enum Held {
    Alone { _turn: RwLockWriteGuard<'static, ()> },
    Beside { _turn: RwLockReadGuard<'static, ()> },
}

static TURNS: RwLock<()> = RwLock::new(());

/// On a small machine two tests that measure are each other's competitors.
fn alone() -> Turn {
    // A test that failed while it held the lock says nothing about the next one.
    Turn::begin(Held::Alone { _turn: TURNS.write().unwrap_or_else(PoisonError::into_inner) })
}

/// For a test that asserts nothing of a measurement.
fn beside_others() -> Turn {
    Turn::begin(Held::Beside { _turn: TURNS.read().unwrap_or_else(PoisonError::into_inner) })
}

impl Turn {
    fn begin(held: Held) -> Turn {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("unnamed");
        let name = name.rsplit("::").next().unwrap_or(name).to_owned();
        Turn { _held: held, name, since: std::time::Instant::now() }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        static RESULTS: Mutex<()> = Mutex::new(());
        let _one_at_a_time = RESULTS.lock().unwrap_or_else(PoisonError::into_inner);
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("rig-self-tests.json");
        let before = std::fs::read_to_string(&path).ok();
        let mut all: Value =
            before.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_else(|| serde_json::json!({}));
        let git = Command::new("git").args(["rev-parse", "--short", "HEAD"]).output();
        let git = git.ok().filter(|done| done.status.success());
        all["git"] = git.map(|done| String::from_utf8_lossy(&done.stdout).trim().to_owned()).into();
        all["tests"][&self.name] = serde_json::json!({
            "passed": !std::thread::panicking(),
            "at_utc": ringdaw::report::figures::utc(std::time::SystemTime::now()),
            "seconds": self.since.elapsed().as_secs(),
        });
        // A footer that cannot be written must not turn a test that passed into one that did not.
        let _ = std::fs::write(&path, all.to_string());
    }
}

/// Three attempts at something that a busy machine can spoil. `attempt` says what was wrong, or that the machine was.
fn three_times(what: &str, attempt: impl Fn() -> Result<(), Judgement>) {
    let mut wrong = Vec::new();
    let mut disturbed = 0;
    for _ in 0..3 {
        match attempt() {
            Ok(()) => return,
            Err(Judgement::Wrong(text)) => wrong.push(text),
            Err(Judgement::Disturbed(text)) => {
                disturbed += 1;
                eprintln!("{what}: not judged, the machine was busy: {text}");
            }
        }
    }
    // A reading that is wrong three times is wrong; a machine that was never quiet proves nothing.
    assert!(disturbed > 0, "{what}: wrong three times:\n{}", wrong.join("\n"));
}

enum Judgement {
    Wrong(String),
    Disturbed(String),
}

fn small(bench: &Bench) -> String {
    let path = bench.path("small.yaml");
    std::fs::write(&path, SMALL).expect("a file");
    path.display().to_string()
}

/// The first core serves, the last one asks; on one core both do.
pub fn cores() -> String {
    let usable = pin::usable_cores();
    format!("broker={},load={}", usable[0], usable[usable.len() - 1])
}
