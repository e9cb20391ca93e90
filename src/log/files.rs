//! The names of Kafka's files (contract 3.1, 3.2): of the files of a replica, and of replica directories.
//!
//! In: a name. Out: what it says, or `None` when it is not one of these names; nothing here touches a disk.

/// What a file of a replica holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FileKind {
    Log,
    OffsetIndex,
    TimeIndex,
    TransactionIndex,
    Snapshot,
}

impl FileKind {
    pub const ALL: [FileKind; 5] = [
        FileKind::Log,
        FileKind::OffsetIndex,
        FileKind::TimeIndex,
        FileKind::TransactionIndex,
        FileKind::Snapshot,
    ];

    pub fn extension(self) -> &'static str {
        match self {
            FileKind::Log => "log",
            FileKind::OffsetIndex => "index",
            FileKind::TimeIndex => "timeindex",
            FileKind::TransactionIndex => "txnindex",
            FileKind::Snapshot => "snapshot",
        }
    }
}

/// What is added behind the extension while a file comes or goes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Stage {
    /// A file in use.
    Live,
    /// To be removed.
    Deleted,
    /// The cleaner was writing it.
    Cleaned,
    /// The cleaner had finished it and was putting it in place.
    Swap,
}

impl Stage {
    pub fn suffix(self) -> &'static str {
        match self {
            Stage::Live => "",
            Stage::Deleted => ".deleted",
            Stage::Cleaned => ".cleaned",
            Stage::Swap => ".swap",
        }
    }
}

/// The name of one file of a replica.
pub fn file_name(offset: i64, kind: FileKind, stage: Stage) -> String {
    format!("{offset:020}.{}{}", kind.extension(), stage.suffix())
}

/// Reads the name of a file of a replica.
pub fn parse_file_name(name: &str) -> Option<(i64, FileKind, Stage)> {
    let (rest, stage) = [Stage::Deleted, Stage::Cleaned, Stage::Swap]
        .into_iter()
        .find_map(|stage| name.strip_suffix(stage.suffix()).map(|rest| (rest, stage)))
        .unwrap_or((name, Stage::Live));
    let (digits, extension) = rest.split_once('.')?;
    let kind = FileKind::ALL.into_iter().find(|kind| kind.extension() == extension)?;
    if digits.len() != 20 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some((digits.parse().ok()?, kind, stage))
}

/// What a sub-directory of a log directory is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ReplicaDirectory {
    Replica {
        topic: String,
        partition: i32,
    },
    /// Of a deleted partition, waiting for its removal.
    Deleted,
    /// Being moved here from another log directory.
    Future {
        topic: String,
        partition: i32,
    },
    /// Set aside by a newer broker; kept and left alone.
    Stray,
    /// Of a mode of Kafka that has no ZooKeeper; kept and left alone.
    Foreign,
}

/// The longest topic name Kafka allows.
const TOPIC_BYTES_MAX: usize = 249;
/// File systems allow no longer name.
const NAME_BYTES_MAX: usize = 255;

/// Reads the name of a sub-directory; `None` when it is none that belongs in a log directory.
pub fn parse_directory_name(name: &str) -> Option<ReplicaDirectory> {
    if matches!(name, "__cluster_metadata-0" | "remote-log-index-cache") {
        return Some(ReplicaDirectory::Foreign);
    }
    for (suffix, make) in [
        ("-delete", (|_, _| ReplicaDirectory::Deleted) as fn(String, i32) -> ReplicaDirectory),
        ("-future", |topic, partition| ReplicaDirectory::Future { topic, partition }),
        ("-stray", |_, _| ReplicaDirectory::Stray),
    ] {
        // `<topic>-<partition>.<32 hex><suffix>`; without the unique part it is a topic that is called so.
        let Some(rest) = name.strip_suffix(suffix) else { continue };
        let Some((front, unique)) = rest.rsplit_once('.') else { continue };
        if unique.len() != 32 || !unique.bytes().all(|b| b.is_ascii_hexdigit()) {
            continue;
        }
        // Of a deleted replica the topic's name may have been cut, so its name need not parse.
        return match parse_topic_partition(front) {
            Some((topic, partition)) => Some(make(topic, partition)),
            None if suffix == "-delete" => Some(ReplicaDirectory::Deleted),
            None => None,
        };
    }
    let (topic, partition) = parse_topic_partition(name)?;
    Some(ReplicaDirectory::Replica { topic, partition })
}

/// The name of a replica's directory.
pub fn replica_directory(topic: &str, partition: i32) -> String {
    format!("{topic}-{partition}")
}

/// The name a replica's directory gets when its partition is deleted. `unique` is 32 hexadecimal digits.
pub fn deleted_directory(topic: &str, partition: i32, unique: &str) -> String {
    let tail = format!("-{partition}.{unique}-delete");
    let topic_bytes = topic.len().min(NAME_BYTES_MAX.saturating_sub(tail.len()));
    format!("{}{tail}", topic.get(..topic_bytes).unwrap_or(topic))
}

fn parse_topic_partition(name: &str) -> Option<(String, i32)> {
    let (topic, partition) = name.rsplit_once('-')?;
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if topic.is_empty() || topic.len() > TOPIC_BYTES_MAX || !topic.bytes().all(legal) {
        return None;
    }
    if partition.is_empty() || !partition.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some((topic.to_owned(), partition.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_read_back_as_what_they_were_made_of() {
        for kind in FileKind::ALL {
            for stage in [Stage::Live, Stage::Deleted, Stage::Cleaned, Stage::Swap] {
                let name = file_name(1234, kind, stage);
                assert_eq!(parse_file_name(&name), Some((1234, kind, stage)), "{name}");
            }
        }
        assert_eq!(file_name(0, FileKind::Log, Stage::Live), "00000000000000000000.log");
    }

    #[test]
    fn other_names_are_not_files_of_a_replica() {
        for name in [
            "leader-epoch-checkpoint",
            "partition.metadata",
            "12.log",
            "00000000000000000000.logx",
            "0000000000000000000x.log",
            "99999999999999999999.log",
            "",
            ".log",
        ] {
            assert_eq!(parse_file_name(name), None, "{name}");
        }
    }

    #[test]
    fn directories_say_topic_partition_and_state() {
        let replica = |topic: &str, partition| ReplicaDirectory::Replica { topic: topic.into(), partition };
        assert_eq!(parse_directory_name("a-b-12"), Some(replica("a-b", 12)));
        assert_eq!(parse_directory_name("x-0-delete"), None);
        let unique = "a0bf4f0342c44809a2b0f37eed89eda7";
        assert_eq!(parse_directory_name(&format!("gone-0.{unique}-delete")), Some(ReplicaDirectory::Deleted));
        assert_eq!(
            parse_directory_name(&format!("moved-3.{unique}-future")),
            Some(ReplicaDirectory::Future { topic: "moved".into(), partition: 3 })
        );
        assert_eq!(parse_directory_name(&format!("odd-3.{unique}-stray")), Some(ReplicaDirectory::Stray));
        assert_eq!(parse_directory_name("__cluster_metadata-0"), Some(ReplicaDirectory::Foreign));
        for name in ["foo", "foo-", "-1", "foo-x", "fo o-1", "foo-99999999999", "lost+found"] {
            assert_eq!(parse_directory_name(name), None, "{name}");
        }
    }

    #[test]
    fn the_name_of_a_deleted_directory_fits_the_file_system() {
        let topic = "t".repeat(TOPIC_BYTES_MAX);
        let name = deleted_directory(&topic, 7, "a0bf4f0342c44809a2b0f37eed89eda7");
        assert_eq!(name.len(), NAME_BYTES_MAX);
        assert_eq!(parse_directory_name(&name), Some(ReplicaDirectory::Deleted));
    }
}
