//! Segments that begin and go while a cell runs, as seen in the subject's own directory.
//!
//! In: the directory, the topic, a look now and then. Out: what changed since the look before, in words. It knows no more
//! of a broker than what every one of Kafka's kind does: a folder `TOPIC-NUMBER` with one `.log` file per segment.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::load;

/// With more partitions a look would take time from the generator.
const PARTITIONS_MAX: u32 = 64;

pub struct Segments {
    directory: PathBuf,
    topic: String,
    /// Folder of the partition and name of the file.
    known: BTreeSet<(String, String)>,
}

impl Segments {
    /// For a topic of few partitions; with more of them nothing is ever found.
    pub fn of(directory: &Path, plan: &load::Plan) -> Segments {
        let topic =
            if plan.topic.partitions <= PARTITIONS_MAX { plan.topic.name.clone() } else { String::new() };
        Segments { directory: directory.to_owned(), topic, known: BTreeSet::new() }
    }

    /// Kinds of marks with their texts. The first segment of a partition is no roll.
    pub fn changes(&mut self) -> Vec<(&'static str, String)> {
        let found = self.look();
        let began: Vec<&(String, String)> = found.difference(&self.known).collect();
        let rolls =
            began.iter().filter(|(folder, _)| self.known.iter().any(|(known, _)| known == folder)).count();
        let gone = self.known.difference(&found).count();
        let text =
            |count: usize, what: &str| format!("{count} segment{} {what}", if count == 1 { "" } else { "s" });
        let mut changes = Vec::new();
        if rolls > 0 {
            changes.push(("roll", text(rolls, "began within the second")));
        }
        if gone > 0 {
            changes.push(("retention", text(gone, "removed within the second")));
        }
        self.known = found;
        changes
    }

    fn look(&self) -> BTreeSet<(String, String)> {
        let mut found = BTreeSet::new();
        if self.topic.is_empty() {
            return found;
        }
        let prefix = format!("{}-", self.topic);
        let folders = |of: &Path| fs::read_dir(of).into_iter().flatten().flatten().collect::<Vec<_>>();
        let mut roots = vec![self.directory.clone()];
        roots.extend(folders(&self.directory).iter().map(fs::DirEntry::path).filter(|path| path.is_dir()));
        for folder in roots.iter().flat_map(|root| folders(root)) {
            let name = folder.file_name().to_string_lossy().into_owned();
            let is_ours = name.strip_prefix(&prefix).is_some_and(|number| number.parse::<u32>().is_ok());
            if !is_ours {
                continue;
            }
            for file in folders(&folder.path()) {
                let file = file.file_name().to_string_lossy().into_owned();
                if file.ends_with(".log") {
                    found.insert((name.clone(), file));
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_that_begins_is_a_roll_and_one_that_goes_is_retention() {
        let data = tempfile::tempdir().unwrap();
        let mut plan = load::Plan::default();
        plan.topic.name = "t".to_owned();
        let mut segments = Segments::of(data.path(), &plan);
        assert_eq!(segments.changes(), []);
        let partition = data.path().join("log").join("t-0");
        fs::create_dir_all(&partition).unwrap();
        fs::create_dir_all(data.path().join("log").join("t-other-0")).unwrap();
        fs::write(data.path().join("log").join("t-other-0").join("0.log"), "").unwrap();
        fs::write(partition.join("00.log"), "").unwrap();
        assert_eq!(segments.changes(), [], "a partition's first segment");
        for name in ["10.log", "10.index", "20.log"] {
            fs::write(partition.join(name), "").unwrap();
        }
        assert_eq!(segments.changes(), [("roll", "2 segments began within the second".to_owned())]);
        fs::rename(partition.join("00.log"), partition.join("00.log.deleted")).unwrap();
        assert_eq!(segments.changes(), [("retention", "1 segment removed within the second".to_owned())]);
        plan.topic.partitions = PARTITIONS_MAX + 1;
        assert_eq!(Segments::of(data.path(), &plan).look().len(), 0);
    }
}
