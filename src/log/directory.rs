//! One log directory (an entry of `log.dirs`, contract 3.1): its lock, its identity, what is in it, its clean stop.
//!
//! In: a path. Out: the replicas to open and what the checkpoints say of them, or why the directory must not be used,
//! with both values where two disagree. The lock lives as long as the `LogDirectory`.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::OpenFacts;
use super::checkpoint::{self, Checkpoint, Offsets};
use super::files::{ReplicaDirectory, deleted_directory, parse_directory_name, replica_directory};
use super::segment::remove_if_there;
use crate::clock::{WallMs, date_of};
use crate::ids::Offset;
use crate::reactor::{Disk, File};

const LOCK_FILE: &str = ".lock";
const CLEAN_FILE: &str = ".kafka_cleanshutdown";
const META_FILE: &str = "meta.properties";
/// What 3.9 writes; older brokers look only whether the file is there.
const CLEAN_TEXT: &[u8] = br#"{"version":0,"brokerEpoch":-1}"#;

/// Why a log directory must not be used.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    #[error("{}: {what}: {source}", path.display())]
    Io { path: PathBuf, what: &'static str, source: io::Error },
    #[error("{}: locked by another process: is a broker running on this directory?", path.display())]
    Locked { path: PathBuf },
    #[error(
        "{}: '{name}' is not in the form of topic-partition, nor a partition being deleted, moved or set aside",
        path.display()
    )]
    UnknownDirectory { path: PathBuf, name: String },
    #[error("{}: line {line} {reason}", path.display())]
    BadMeta { path: PathBuf, line: usize, reason: &'static str },
    #[error("{}: version {version} of meta.properties, only 0 is known here (1 is KRaft's)", path.display())]
    MetaVersion { path: PathBuf, version: String },
    #[error("{}: belongs to broker {stored}, this broker is configured as {configured}", path.display())]
    BrokerId { path: PathBuf, stored: i32, configured: i32 },
    #[error("{}: belongs to cluster {stored}, this one is {cluster}", path.display())]
    ClusterId { path: PathBuf, stored: String, cluster: String },
    #[error("{topic}-{partition} is in {} and in {}", first.display(), second.display())]
    DuplicateReplica { topic: String, partition: i32, first: PathBuf, second: PathBuf },
}

fn io_error(path: &Path, what: &'static str) -> impl FnOnce(io::Error) -> DirectoryError + use<> {
    let path = path.to_path_buf();
    move |source| DirectoryError::Io { path, what, source }
}

/// A replica found in a log directory, and what the checkpoints say of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReplicaFound {
    pub topic: String,
    pub partition: i32,
    pub path: PathBuf,
    /// Being moved here; not served.
    pub is_future: bool,
    pub recovery_point: Offset,
    pub log_start: Offset,
    pub high_watermark: Offset,
}

impl ReplicaFound {
    pub fn facts(&self, clean: bool, now: WallMs) -> OpenFacts {
        OpenFacts {
            clean,
            recovery_point: self.recovery_point,
            log_start: self.log_start,
            high_watermark: self.high_watermark,
            now,
        }
    }
}

/// A log directory in use.
#[derive(Debug)]
pub struct LogDirectory {
    path: PathBuf,
    lock: File,
    /// The last stop was clean: logs need not be checked.
    pub clean: bool,
    pub meta: Option<MetaProperties>,
    pub replicas: Vec<ReplicaFound>,
    /// Directories of deleted partitions, to be removed.
    pub deleted: Vec<PathBuf>,
    /// First offsets that compaction has not seen.
    pub cleaner_offsets: Offsets,
    pub warnings: Vec<String>,
}

impl LogDirectory {
    /// Takes the lock and looks at what is there. From here on the directory counts as not cleanly stopped.
    pub fn open(disk: &dyn Disk, path: &Path) -> Result<LogDirectory, DirectoryError> {
        if !disk.exists(path).map_err(io_error(path, "look for"))? {
            disk.create_directory(path).map_err(io_error(path, "create"))?;
            let above = path.parent().unwrap_or(Path::new("/"));
            disk.sync_directory(above).map_err(io_error(above, "flush directory"))?;
        }
        let lock_path = path.join(LOCK_FILE);
        let lock = disk.lock(&lock_path).map_err(|source| match source.kind() {
            io::ErrorKind::WouldBlock => DirectoryError::Locked { path: lock_path.clone() },
            _ => DirectoryError::Io { path: lock_path.clone(), what: "lock", source },
        })?;
        let meta = MetaProperties::read(disk, path)?;
        let clean_path = path.join(CLEAN_FILE);
        let clean = disk.exists(&clean_path).map_err(io_error(&clean_path, "look for"))?;
        if clean {
            remove_if_there(disk, &clean_path).map_err(io_error(&clean_path, "remove"))?;
            disk.sync_directory(path).map_err(io_error(path, "flush directory"))?;
        } else {
            // What is read back must be durable: a crash may have left it in memory only (H07).
            disk.sync_file_system(&lock).map_err(io_error(path, "flush"))?;
        }
        let mut directory = LogDirectory {
            path: path.to_path_buf(),
            lock,
            clean,
            meta,
            replicas: Vec::new(),
            deleted: Vec::new(),
            cleaner_offsets: Offsets::new(),
            warnings: Vec::new(),
        };
        directory.find_replicas(disk)?;
        Ok(directory)
    }

    fn find_replicas(&mut self, disk: &dyn Disk) -> Result<(), DirectoryError> {
        let path = self.path.clone();
        let mut read = |checkpoint| {
            checkpoint::read(disk, &path, checkpoint, &mut self.warnings)
                .map_err(io_error(&path.join(Checkpoint::file_name(checkpoint)), "read"))
        };
        let recovery_points = read(Checkpoint::RecoveryPoint)?;
        let high_watermarks = read(Checkpoint::HighWatermark)?;
        let log_starts = read(Checkpoint::LogStart)?;
        self.cleaner_offsets = read(Checkpoint::Cleaner)?;
        for entry in disk.list(&path).map_err(io_error(&path, "list"))? {
            if !entry.is_directory {
                continue;
            }
            let (topic, partition, is_future) = match parse_directory_name(&entry.name) {
                Some(ReplicaDirectory::Replica { topic, partition }) => (topic, partition, false),
                Some(ReplicaDirectory::Future { topic, partition }) => (topic, partition, true),
                Some(ReplicaDirectory::Deleted) => {
                    self.deleted.push(path.join(&entry.name));
                    continue;
                }
                Some(ReplicaDirectory::Stray | ReplicaDirectory::Foreign) => continue,
                // Made by mkfs; a log directory may be a file system of its own.
                None if entry.name == "lost+found" => continue,
                None => return Err(DirectoryError::UnknownDirectory { path, name: entry.name }),
            };
            let key = (topic, partition);
            let of = |offsets: &Offsets| Offset(offsets.get(&key).copied().unwrap_or(0));
            let (recovery_point, log_start, high_watermark) =
                (of(&recovery_points), of(&log_starts), of(&high_watermarks));
            self.replicas.push(ReplicaFound {
                path: path.join(&entry.name),
                topic: key.0,
                partition,
                is_future,
                recovery_point,
                log_start,
                high_watermark,
            });
        }
        Ok(())
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The locked file. Every ring holds it too, so that the lock outlives submitted writes (H07).
    pub fn lock(&self) -> &File {
        &self.lock
    }

    /// Where the replica of a partition is, or goes.
    pub fn replica_path(&self, topic: &str, partition: i32) -> PathBuf {
        self.path.join(replica_directory(topic, partition))
    }

    /// Compares what is stored with what is configured, then writes what is missing or new.
    pub fn claim(
        &mut self,
        disk: &dyn Disk,
        broker_id: i32,
        cluster_id: &str,
        now: WallMs,
    ) -> Result<(), DirectoryError> {
        let path = self.path.join(META_FILE);
        let stored = self.meta.clone().unwrap_or_default();
        if let Some(stored) = stored.broker_id.filter(|stored| *stored != broker_id) {
            return Err(DirectoryError::BrokerId { path, stored, configured: broker_id });
        }
        if let Some(stored) = stored.cluster_id.clone().filter(|stored| stored != cluster_id) {
            return Err(DirectoryError::ClusterId { path, stored, cluster: cluster_id.to_owned() });
        }
        let wanted = MetaProperties {
            broker_id: Some(broker_id),
            cluster_id: Some(cluster_id.to_owned()),
            ..stored.clone()
        };
        if self.meta.as_ref() != Some(&wanted) {
            disk.replace_file(&path, wanted.to_text(now).as_bytes()).map_err(io_error(&path, "write"))?;
            self.meta = Some(wanted);
        }
        Ok(())
    }

    /// The clean stop, when every log of the directory was closed without an error: checkpoints, one flush of the
    /// whole file system, and only then the mark.
    pub fn stop_clean<'a>(
        &self,
        disk: &dyn Disk,
        recovery_points: impl ExactSizeIterator<Item = (&'a str, i32, i64)>,
        high_watermarks: impl ExactSizeIterator<Item = (&'a str, i32, i64)>,
        log_starts: impl ExactSizeIterator<Item = (&'a str, i32, i64)>,
    ) -> Result<(), DirectoryError> {
        disk.sync_file_system(&self.lock).map_err(io_error(&self.path, "flush"))?;
        let io = |checkpoint: Checkpoint| io_error(&self.path.join(checkpoint.file_name()), "write");
        checkpoint::write(disk, &self.path, Checkpoint::RecoveryPoint, recovery_points)
            .map_err(io(Checkpoint::RecoveryPoint))?;
        checkpoint::write(disk, &self.path, Checkpoint::HighWatermark, high_watermarks)
            .map_err(io(Checkpoint::HighWatermark))?;
        checkpoint::write(disk, &self.path, Checkpoint::LogStart, log_starts)
            .map_err(io(Checkpoint::LogStart))?;
        let path = self.path.join(CLEAN_FILE);
        disk.replace_file(&path, CLEAN_TEXT).map_err(io_error(&path, "write"))
    }

    /// Takes a deleted partition's directory out of use; its path waits for `Disk::remove_directory`. `unique` is 32
    /// hexadecimal digits.
    pub fn retire_replica(
        &self,
        disk: &dyn Disk,
        topic: &str,
        partition: i32,
        unique: &str,
    ) -> Result<PathBuf, DirectoryError> {
        let from = self.replica_path(topic, partition);
        let to = self.path.join(deleted_directory(topic, partition, unique));
        disk.rename(&from, &to).map_err(io_error(&from, "rename"))?;
        disk.sync_directory(&self.path).map_err(io_error(&self.path, "flush directory"))?;
        Ok(to)
    }
}

/// Refuses a partition that two directories hold, unless one of the two is on its way there.
pub fn check_duplicates(directories: &[LogDirectory]) -> Result<(), DirectoryError> {
    let mut seen: BTreeMap<(&str, i32), &Path> = BTreeMap::new();
    for replica in directories.iter().flat_map(|d| &d.replicas).filter(|replica| !replica.is_future) {
        if let Some(first) = seen.insert((&replica.topic, replica.partition), &replica.path) {
            return Err(DirectoryError::DuplicateReplica {
                topic: replica.topic.clone(),
                partition: replica.partition,
                first: first.to_path_buf(),
                second: replica.path.clone(),
            });
        }
    }
    Ok(())
}

/// `meta.properties`: whose directory this is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MetaProperties {
    pub broker_id: Option<i32>,
    pub cluster_id: Option<String>,
    /// Some brokers from 3.7 on write one; kept as it is.
    pub directory_id: Option<String>,
}

impl MetaProperties {
    /// `None`: the directory has no such file.
    pub fn read(disk: &dyn Disk, directory: &Path) -> Result<Option<MetaProperties>, DirectoryError> {
        let path = directory.join(META_FILE);
        let bytes = match disk.read_file(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(io_error(&path, "read")(e)),
        };
        let text = String::from_utf8_lossy(&bytes);
        MetaProperties::parse(&text, &path).map(Some)
    }

    fn parse(text: &str, path: &Path) -> Result<MetaProperties, DirectoryError> {
        let mut meta = MetaProperties::default();
        let mut version = None;
        for (index, line) in text.lines().enumerate() {
            let line_number = index + 1;
            let line = line.trim_start();
            if line.is_empty() || line.starts_with(['#', '!']) {
                continue;
            }
            let bad =
                |reason| DirectoryError::BadMeta { path: path.to_path_buf(), line: line_number, reason };
            let (key, value) = line.split_once(['=', ':']).ok_or_else(|| bad("is not a key and a value"))?;
            let value = value.trim();
            match key.trim() {
                "version" => version = Some(value.to_owned()),
                "broker.id" => {
                    let id = value.parse().map_err(|_| bad("does not hold a broker id"))?;
                    meta.broker_id = Some(id);
                }
                "cluster.id" => meta.cluster_id = Some(value.to_owned()),
                "directory.id" => meta.directory_id = Some(value.to_owned()),
                _ => {}
            }
        }
        match version.as_deref() {
            Some("0") => Ok(meta),
            Some(version) => {
                Err(DirectoryError::MetaVersion { path: path.to_path_buf(), version: version.to_owned() })
            }
            None => Err(DirectoryError::BadMeta {
                path: path.to_path_buf(),
                line: text.lines().count() + 1,
                reason: "comes without a version before it",
            }),
        }
    }

    fn to_text(&self, now: WallMs) -> String {
        let mut text = format!("#\n#{}\nversion=0\n", java_date(now));
        if let Some(id) = self.broker_id {
            text += &format!("broker.id={id}\n");
        }
        if let Some(id) = &self.cluster_id {
            text += &format!("cluster.id={id}\n");
        }
        if let Some(id) = &self.directory_id {
            text += &format!("directory.id={id}\n");
        }
        text
    }
}

/// A date as Java writes it into property files: `Mon Nov 23 23:29:36 UTC 2026`.
fn java_date(now: WallMs) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let seconds = now.0.div_euclid(1000);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = date_of(days);
    format!(
        "{} {} {day:02} {:02}:{:02}:{:02} UTC {year}",
        DAYS[days.rem_euclid(7) as usize],
        MONTHS[month as usize - 1],
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_java_writes() {
        for (ms, expected) in [
            (0, "Thu Jan 01 00:00:00 UTC 1970"),
            (1_795_476_576_000, "Mon Nov 23 23:29:36 UTC 2026"),
            (951_782_400_000, "Tue Feb 29 00:00:00 UTC 2000"),
            (-1000, "Wed Dec 31 23:59:59 UTC 1969"),
        ] {
            assert_eq!(java_date(WallMs(ms)), expected);
        }
    }

    #[test]
    fn meta_properties_read_back_and_unknown_keys_are_ignored() {
        let meta = MetaProperties {
            broker_id: Some(3),
            cluster_id: Some("wlvVlCNnSGyua8fejYgM5Q".into()),
            directory_id: None,
        };
        let text = meta.to_text(WallMs(0)) + "something=else\n";
        assert_eq!(MetaProperties::parse(&text, Path::new("m")).unwrap(), meta);
    }

    #[test]
    fn bad_meta_properties_are_named_with_their_line() {
        let parse = |text| MetaProperties::parse(text, Path::new("m")).unwrap_err().to_string();
        assert_eq!(parse("version=0\nbroker.id=x\n"), "m: line 2 does not hold a broker id");
        assert_eq!(parse("version=0\nnonsense\n"), "m: line 2 is not a key and a value");
        assert!(parse("version=1\nnode.id=1\n").contains("version 1"));
        assert!(parse("broker.id=1\n").contains("without a version"));
    }
}
