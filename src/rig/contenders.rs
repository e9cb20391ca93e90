//! Who meets whom in a comparison: subjects with their settings, core views, points, and the settings worth trying.
//!
//! In: what the command line says. Out: plain data; nothing runs here.

use std::time::Duration;

use super::cores::Cores;
use super::durability::Durability;
use super::plan::CellSpec;
use super::subject::Kind;

/// One side under one configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contender {
    pub name: String,
    pub kind: Kind,
    /// `key=value`, on top of the subject's defaults.
    pub overrides: Vec<String>,
    pub pid: Option<u32>,
    /// Of a null broker, for self-tests.
    pub faults: Vec<String>,
}

impl Contender {
    /// The class that its settings ask for, on top of the run's: the last line of each key counts.
    pub fn durability(&self, class: Durability) -> Durability {
        let last = |key: &str| {
            let lines = self.overrides.iter().filter_map(|line| line.split_once('='));
            lines.filter(|(known, _)| known.trim() == key).map(|(_, value)| value.trim()).next_back()
        };
        let number = |key: &str| last(key).and_then(|value| value.parse::<u64>().ok());
        if last("durability") == Some("group-commit") || number("log.flush.interval.messages") == Some(1) {
            return Durability::Sync;
        }
        if let Some(ms) = number("log.flush.interval.ms") {
            return Durability::IntervalMs(ms);
        }
        match last("durability") {
            Some("replicated") => Durability::PageCache,
            _ => class,
        }
    }

    /// The same subject under further settings.
    pub fn with(&self, name: String, settings: &[String]) -> Contender {
        let mut overrides = self.overrides.clone();
        overrides.extend(settings.iter().cloned());
        Contender { name, overrides, ..self.clone() }
    }
}

/// Who has which cores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    pub name: &'static str,
    pub cores: Cores,
}

impl View {
    /// Broker and generator apart.
    pub fn split(cores: Cores) -> View {
        View { name: "split", cores }
    }

    /// Both on all of them.
    pub fn shared(cores: &Cores) -> View {
        let mut all: Vec<usize> = cores.broker.iter().chain(&cores.load).copied().collect();
        all.sort_unstable();
        all.dedup();
        View { name: "shared", cores: Cores { broker: all.clone(), load: all } }
    }
}

/// How a point is loaded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Load {
    /// As fast as answers come.
    Saturation,
    /// This share of what the slowest subject reached at saturation, in the same place.
    Share(f64),
    /// As the workload says.
    AsWritten,
}

/// One point of the comparison, the same for every subject.
#[derive(Clone, Debug)]
pub struct Point {
    pub spec: CellSpec,
    pub load: Load,
}

impl Point {
    /// `1 partition at saturation`, for sentences.
    pub fn place(&self) -> String {
        let partitions = self.spec.load.topic.partitions;
        let count = crate::report::figures::count(u64::from(partitions));
        let word = if partitions == 1 { "partition" } else { "partitions" };
        let rate = |rate: f64| format!("{} records/s", crate::report::figures::si(rate));
        match (self.load, self.spec.offered_records_per_s()) {
            (Load::Saturation, _) | (Load::AsWritten, None) => format!("{count} {word} at saturation"),
            (Load::Share(share), Some(offered)) => {
                format!("{count} {word} at {:.0} % ({})", share * 100.0, rate(offered))
            }
            (Load::AsWritten, Some(offered)) => format!("{count} {word} at {}", rate(offered)),
            (Load::Share(share), None) => format!("{count} {word} at {:.0} %", share * 100.0),
        }
    }
}

/// The state of memory before every block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// Free memory filled with clean cached pages.
    Resident,
    /// Caches dropped, then ten seconds of rest.
    Fresh,
    AsIs,
}

impl std::str::FromStr for Memory {
    type Err = String;

    fn from_str(text: &str) -> Result<Memory, String> {
        match text {
            "resident" => Ok(Memory::Resident),
            "fresh" => Ok(Memory::Fresh),
            "as-is" => Ok(Memory::AsIs),
            _ => Err(format!("{text}: resident, fresh or as-is")),
        }
    }
}

/// Everything `bench compare` decided before it starts.
#[derive(Clone, Debug)]
pub struct Contest {
    pub a: Contender,
    pub b: Contender,
    /// Settings of the best configurations, where they are given and not searched for.
    pub best: [Option<Vec<String>>; 2],
    /// Configurations tried on each side; 0 for no search.
    pub search: u64,
    pub views: Vec<View>,
    pub points: Vec<Point>,
    /// Pairs of each row, and of a subject against itself.
    pub pairs: u64,
    pub floor_pairs: u64,
    pub memory: Memory,
    /// How long a pilot may take to find out when a subject is warm; `None` where the warm-up is given.
    pub warmup_max: Option<Duration>,
    pub allow_unequal: bool,
}

impl Contest {
    /// Whether either side is also shown at its best.
    pub fn has_best(&self) -> bool {
        self.search > 0 || self.best.iter().any(Option::is_some)
    }

    /// How the plain configurations are called.
    pub fn plain(&self) -> &'static str {
        if self.a.overrides.is_empty() && self.b.overrides.is_empty() { "default" } else { "given" }
    }
}

/// A setting and what is tried for it; each try may set several keys.
pub type Knob = (&'static str, Vec<Vec<String>>);

/// What is worth trying on a subject that has this many cores. Empty where nothing can be set.
pub fn knobs(kind: &Kind, cores: usize) -> Vec<Knob> {
    let tries = |name, values: &[&[&str]]| {
        (name, values.iter().map(|keys| keys.iter().map(|key| (*key).to_owned()).collect()).collect())
    };
    let threads = cores.max(1);
    match kind {
        Kind::JavaKafka(_) => vec![
            tries(
                "segment.index.bytes",
                &[&["log.index.size.max.bytes=65536"], &["log.index.size.max.bytes=1048576"]],
            ),
            tries(
                "heap",
                &[
                    &["KAFKA_HEAP_OPTS=-Xms2G -Xmx2G -XX:+AlwaysPreTouch"],
                    &["KAFKA_HEAP_OPTS=-Xms4G -Xmx4G -XX:+AlwaysPreTouch"],
                ],
            ),
            (
                "threads",
                vec![
                    vec![format!("num.network.threads={threads}"), format!("num.io.threads={threads}")],
                    vec![format!("num.network.threads={threads}"), format!("num.io.threads={}", 2 * threads)],
                ],
            ),
            tries(
                "socket buffers",
                &[
                    &["socket.receive.buffer.bytes=1048576", "socket.send.buffer.bytes=1048576"],
                    &["socket.receive.buffer.bytes=-1", "socket.send.buffer.bytes=-1"],
                ],
            ),
        ],
        Kind::Ringdaw => vec![
            tries(
                "resident window",
                &[
                    &["log.window.dirty.bytes=16777216", "log.window.resident.bytes=268435456"],
                    &["log.window.dirty.bytes=268435456", "log.window.resident.bytes=4294967296"],
                ],
            ),
            tries("spin", &[&["reactor.spin.us=20"], &["reactor.spin.us=100"]]),
            (
                "threads",
                vec![
                    vec![format!("num.network.threads={threads}"), "num.io.threads=1".to_owned()],
                    vec!["num.network.threads=1".to_owned(), format!("num.io.threads={threads}")],
                ],
            ),
            tries(
                "socket buffers",
                &[
                    &["socket.receive.buffer.bytes=1048576", "socket.send.buffer.bytes=1048576"],
                    &["socket.receive.buffer.bytes=-1", "socket.send.buffer.bytes=-1"],
                ],
            ),
        ],
        Kind::NullBroker(_) | Kind::Address(_) | Kind::Command(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_brokers_get_as_many_tries() {
        let count = |kind: &Kind| knobs(kind, 1).iter().map(|(_, tries)| tries.len()).sum::<usize>();
        assert_eq!(count(&Kind::Ringdaw), count(&Kind::JavaKafka("4".into())));
        assert_eq!(count(&Kind::Address("h:1".into())), 0);
    }

    #[test]
    fn the_settings_of_either_broker_name_its_class() {
        let of = |lines: &[&str]| {
            let contender = Contender {
                name: "a".into(),
                kind: Kind::Ringdaw,
                overrides: lines.iter().map(|line| (*line).to_owned()).collect(),
                pid: None,
                faults: Vec::new(),
            };
            contender.durability(Durability::PageCache)
        };
        assert_eq!(of(&[]), Durability::PageCache);
        assert_eq!(of(&["log.flush.interval.messages=1"]), Durability::Sync);
        assert_eq!(of(&["durability=group-commit"]), Durability::Sync);
        assert_eq!(of(&["log.flush.interval.ms=50"]), Durability::IntervalMs(50));
        let last_counts = ["log.flush.interval.messages=1", "log.flush.interval.messages=9"];
        assert_eq!(of(&last_counts), Durability::PageCache);
    }

    #[test]
    fn the_shared_view_gives_all_cores_to_both() {
        let view = View::shared(&Cores { broker: vec![1, 0], load: vec![1, 2] });
        assert_eq!(view.cores, Cores { broker: vec![0, 1, 2], load: vec![0, 1, 2] });
    }
}
