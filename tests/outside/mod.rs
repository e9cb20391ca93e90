//! What a user outside the process has: a broker to start and end, and a small client of the protocol.
//!
//! The client is written by hand from the protocol's tables, with nothing of this crate, so that a mistake the
//! broker and its own codec share cannot hide here. Everything waits for a bounded time.

// Each test program uses a part of it.
#![allow(dead_code)]

pub mod batch;
pub mod bench;
pub mod client;
pub mod cluster;
pub mod group;
pub mod java;
pub mod network;
pub mod process;
pub mod sandbox;
pub mod zookeeper;
pub mod zookeeper_cluster;

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Says by name that a test cannot run here; the script that runs the tests counts these lines.
pub fn skip(test: &str, reason: &str) {
    eprintln!("skipped {test}: {reason}");
    if let Ok(path) = std::env::var("RINGDAW_TEST_SKIPS") {
        let mut file =
            OpenOptions::new().create(true).append(true).open(&path).expect("the file that counts skips");
        writeln!(file, "{test}: {reason}").expect("the file that counts skips");
    }
}

pub fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0)
}

/// A new folder that goes away with its owner, unless the test failed: then it stays for a look.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let made = tempfile::Builder::new()
            .prefix(&format!("{name}-"))
            .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
            .expect("a new folder in the target directory");
        Self(made.keep())
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// It stays for a look.
    pub fn keep(self) -> PathBuf {
        let path = self.0.clone();
        std::mem::forget(self);
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("kept for a look: {}", self.0.display());
        } else {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

/// Repeatable numbers: the seed is printed, and RINGDAW_TEST_SEED replays it.
pub struct Numbers(u64);

impl Numbers {
    pub fn seeded(test: &str) -> Self {
        let seed = match std::env::var("RINGDAW_TEST_SEED") {
            Ok(text) => text.parse().expect("RINGDAW_TEST_SEED is a number"),
            Err(_) => {
                SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_nanos() as u64
            }
        };
        eprintln!("{test}: RINGDAW_TEST_SEED={seed}");
        Self::from(seed)
    }

    pub fn from(seed: u64) -> Self {
        Self(seed ^ 0x9e37_79b9_7f4a_7c15)
    }

    /// From 0 to `end` - 1.
    pub fn below(&mut self, end: u64) -> u64 {
        // xorshift64*, its high bits
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % end
    }
}
