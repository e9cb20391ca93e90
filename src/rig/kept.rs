//! What a run with --keep leaves for a later audit: topics on a directory, and what was acknowledged to them.
//!
//! In: blocks that ran. Out: `kept.json` in the run folder; read back, it names the directory each broker served, the topic and
//! the sequences that must be there. The data itself stays where the broker wrote it.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::load::Acknowledged;

const FILE: &str = "kept.json";

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// As on the command line.
    pub subject: String,
    pub overrides: Vec<String>,
    pub durability: String,
    pub seed: u64,
    pub topics: Vec<Topic>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Topic {
    pub cell: String,
    pub name: String,
    pub partitions: u32,
    /// Of the broker.
    pub data_directory: PathBuf,
    pub acknowledged: Acknowledged,
}

#[derive(Debug, thiserror::Error)]
pub enum KeptError {
    #[error("{path}: this run kept no topics to read again: run it with --keep, or use --crash, which loads them anew", path = .0.display())]
    Nothing(PathBuf),
    #[error("{path}: {source}", path = .path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{path}: {source}", path = .path.display())]
    Json { path: PathBuf, source: serde_json::Error },
}

impl Kept {
    pub fn write(&self, folder: &Path) -> std::io::Result<()> {
        fs::write(folder.join(FILE), serde_json::to_vec_pretty(self)?)
    }

    /// `run` is a run folder, or the `run.json` in it.
    pub fn read(run: &Path) -> Result<Kept, KeptError> {
        let folder = if run.is_dir() { run } else { run.parent().unwrap_or(run) };
        let path = folder.join(FILE);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(KeptError::Nothing(run.to_owned()));
            }
            Err(source) => return Err(KeptError::Io { path, source }),
        };
        serde_json::from_slice(&bytes).map_err(|source| KeptError::Json { path, source })
    }
}
