//! `ringdaw bench` as a user runs it: what it said, how it ended, and the run it left.

use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;

/// Four partitions, four thousand records of 100 bytes a second, for one second.
pub const SMALL: &str = "version: 1
name: small
topics:
  - {name: small, partitions: 4}
records:
  bytes: 100
producers:
  - {name: steady, topic: small, count: 2, in_flight: 2, batch_records: 4, rate: 4k/s}
consumers:
  - {name: tail, topic: small}
phases:
  - {name: warmup, duration: 200ms}
  - {name: measured, duration: 1s, measure: true}
";

/// A bench that has ended.
pub struct Finished {
    pub output: Output,
    run: Option<Value>,
    pub folder: Option<PathBuf>,
}

impl Finished {
    /// With the newest run folder of `results`, if it left one.
    pub fn new(output: Output, results: &Path) -> Finished {
        // Two runs can begin within one second, and then their names say nothing of the order.
        let changed = |path: &PathBuf| path.metadata().and_then(|about| about.modified()).ok();
        let folder = std::fs::read_dir(results)
            .ok()
            .and_then(|entries| entries.flatten().map(|entry| entry.path()).max_by_key(changed));
        let run = folder.as_ref().and_then(|folder| {
            let text = std::fs::read_to_string(folder.join("run.json")).ok()?;
            Some(serde_json::from_str(&text).expect("run.json is JSON"))
        });
        Finished { output, run, folder }
    }

    pub fn code(&self) -> i32 {
        self.output.status.code().expect("the rig is not killed")
    }

    pub fn expect(&self, code: i32) -> &Finished {
        assert_eq!(self.output.status.code(), Some(code), "{}", self.said());
        self
    }

    pub fn said(&self) -> String {
        format!(
            "exit {:?}\n{}{}",
            self.output.status.code(),
            String::from_utf8_lossy(&self.output.stdout),
            String::from_utf8_lossy(&self.output.stderr)
        )
    }

    pub fn run(&self) -> &Value {
        self.run.as_ref().unwrap_or_else(|| panic!("no run.json\n{}", self.said()))
    }

    pub fn folder(&self) -> &Path {
        self.folder.as_deref().unwrap_or_else(|| panic!("no run folder\n{}", self.said()))
    }
}
