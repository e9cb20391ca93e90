//! What a workload means: the cells it stands for, as far as this form of the rig can run them.
//!
//! In: a checked workload or the document it came from, and what the command line varies. Out: cells, or the line of
//! what comes with a later step. The library of workloads is here too.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::document::{self, Fault, Key, Node, Value, fault};
use super::plan::{self, CellSpec};
use super::value::{BYTE_UNITS, Rate, scaled, text};
use super::workload::{PhaseEnd, Producer, Shape, Size, Topic, Workload, override_value, read};
use crate::load;
use crate::report::run::Role;

/// The library: workloads that come with the program.
pub const LIBRARY: &[(&str, &str)] = &[
    ("bench", include_str!("workloads/bench.yaml")),
    ("partitions", include_str!("workloads/partitions.yaml")),
    ("stall", include_str!("workloads/stall.yaml")),
    ("writeback", include_str!("workloads/writeback.yaml")),
    ("roll", include_str!("workloads/roll.yaml")),
    ("retention", include_str!("workloads/retention.yaml")),
    ("sync", include_str!("workloads/sync.yaml")),
    ("many-producers", include_str!("workloads/many-producers.yaml")),
    ("small-batches", include_str!("workloads/small-batches.yaml")),
    ("idle", include_str!("workloads/idle.yaml")),
    ("tail+history", include_str!("workloads/tail-and-history.yaml")),
];

/// Every combination of the axes' values, as overrides, the first axis slowest.
pub fn combinations(axes: &[(String, Vec<Node>)]) -> Vec<Vec<(String, Node)>> {
    let mut all = vec![Vec::new()];
    for (path, values) in axes {
        all = all
            .into_iter()
            .flat_map(|chosen: Vec<(String, Node)>| {
                values.iter().map(move |value| {
                    let mut next = chosen.clone();
                    next.push((path.clone(), value.clone()));
                    next
                })
            })
            .collect();
    }
    all
}

/// All cells of a workload: one, or one per combination of its sweep and `vary`.
pub fn cells(
    root: &Node,
    vary: &[(String, Vec<Node>)],
    subject: &str,
    seed: u64,
    folder: &Path,
) -> Result<(Workload, Vec<CellSpec>), Fault> {
    let base = read(root.clone())?;
    let mut axes: Vec<(String, Vec<Node>)> = Vec::new();
    for (path, values) in base.sweep.axes.iter().chain(vary) {
        // What the command line varies takes the place of what the file does.
        axes.retain(|(known, _)| known != path);
        axes.push((path.clone(), values.clone()));
    }
    let seed = base.seed.unwrap_or(seed);
    let mut cells = Vec::new();
    for chosen in combinations(&axes) {
        let mut root = root.clone();
        if let Value::Map(entries) = &mut root.value {
            entries.retain(|(key, _)| key.text != "sweep");
        }
        let mut names = Vec::new();
        let mut more = Vec::new();
        for (path, value) in chosen {
            let written = text(&value)?;
            let last = path.rsplit('.').next().unwrap_or(&path).to_owned();
            names.push(format!("{last}-{}", written.replace([':', '/', ' ', '.'], "-")));
            let has_field = ["partitions", "bytes", "batch_records", "batches_per_request", "in_flight"]
                .contains(&last.as_str());
            // The field is that of the busy topic.
            let is_idle = base
                .topics
                .iter()
                .any(|topic| topic.idle && path == format!("topics.{}.partitions", topic.name));
            if !has_field || is_idle {
                more.push((path.clone(), written));
            }
            document::set(&mut root, &path, value)?;
        }
        let workload = read(root)?;
        let id = if names.is_empty() { workload.name.clone() } else { names.join("-") };
        let id = id.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect::<String>();
        let mut cell = workload.cell(&id, subject, seed, folder)?;
        cell.more = more;
        cells.push(cell);
    }
    Ok((base, cells))
}

/// `partitions=1,16` and `record_bytes=100,1Ki` of the command line as paths of the file.
pub fn vary_axis(root: &Node, written: &str) -> Result<(String, Vec<Node>), Fault> {
    let Some((name, values)) = written.split_once('=') else {
        return fault(0, format!("--vary {written}: write PATH=VALUE,VALUE"));
    };
    let path = match name {
        "partitions" => {
            let workload = read(root.clone())?;
            let busy = workload.topics.iter().find(|topic| !topic.idle).map(|topic| topic.name.clone());
            format!("topics.{}.partitions", busy.unwrap_or_default())
        }
        "record_bytes" => "records.bytes".to_owned(),
        path => path.to_owned(),
    };
    let values =
        values.split(',').map(|value| override_value(&path, value.trim())).collect::<Result<_, _>>()?;
    Ok((path, values))
}

/// What step 1 of the rig cannot run, said where it stands.
fn later<T>(line: usize, what: &str, step: u32) -> Result<T, Fault> {
    fault(line, format!("{what} comes with step {step} of the rig; this form of it cannot run that"))
}

impl Workload {
    /// The one cell this workload is, `id`entified by the caller.
    pub fn cell(&self, id: &str, subject: &str, seed: u64, folder: &Path) -> Result<CellSpec, Fault> {
        let busy: Vec<&Topic> = self.topics.iter().filter(|topic| !topic.idle).collect();
        let [topic] = busy[..] else {
            let line = busy.get(1).map_or(1, |topic| topic.line);
            return if busy.is_empty() {
                fault(1, "every topic is idle")
            } else {
                later(line, "a second busy topic", 3)
            };
        };
        if let Some(topic) = self.topics.iter().find(|topic| topic.replicas > 1) {
            return later(topic.line, "replication", 3);
        }
        if self.memory.value != "as-is" {
            return later(self.memory.line, &format!("memory: {}", self.memory.value), 2);
        }
        let record_bytes = match &self.records.bytes.value {
            Size::Fixed(bytes) => *bytes,
            Size::Uniform(..) | Size::List(_) => {
                return later(self.records.bytes.line, "a mix of record sizes", 2);
            }
        };
        if let Some(key) = self.records.key.as_ref().filter(|key| key.value != "none") {
            return later(key.line, "a record key", 2);
        }
        if self.records.headers.value > 0 {
            return later(self.records.headers.line, "record headers", 2);
        }
        if self.records.stamp.value == "record" {
            return later(self.records.stamp.line, "stamp: record", 2);
        }
        let (warmup, until_steady, duration) = self.windows()?;
        let evict = self.phases.iter().any(|phase| phase.end == PhaseEnd::Action);
        let producers = self.load_producers(record_bytes, folder)?;
        let consumers = self.load_consumers()?;
        let mut faults = Vec::new();
        for fault in &self.faults {
            match &fault.value {
                plan::Fault::Pause { at, duration: length } if *at + *length < duration => {
                    faults.push(fault.value.clone());
                }
                plan::Fault::Pause { .. } => {
                    return self::fault(fault.line, "the pause does not end within the measured window");
                }
                plan::Fault::Kill { .. } => {
                    return self::fault(
                        fault.line,
                        "killing the subject inside a window comes with step 3 of the rig; `bench verify --crash` kills it after one",
                    );
                }
            }
        }
        let plan = load::Plan {
            topic: load::Topic {
                name: topic.name.clone(),
                partitions: topic.partitions,
                replicas: topic.replicas,
                config: topic.config.clone(),
                ..load::Topic::default()
            },
            producers,
            consumers,
            warmup,
            until_steady,
            duration,
            seed,
            verify: self.verify,
            ..load::Plan::default()
        };
        plan.check().map_err(|error| Fault { line: topic.line, text: error.to_string() })?;
        let idle = self.topics.iter().filter(|topic| topic.idle);
        Ok(CellSpec {
            id: id.to_owned(),
            role: Role::Sweep,
            subject: subject.to_owned(),
            load: plan,
            more: Vec::new(),
            memory: self.memory.value.clone(),
            durability: self.durability.to_string(),
            faults,
            slo: self.slo.clone(),
            evict,
            idle_topics: idle.map(|topic| (topic.name.clone(), topic.partitions)).collect(),
            workload_sha256: None,
            blocks: self.blocks,
        })
    }

    /// Warm-up, whether it ends by itself, and measured window: at most one phase of each kind in this form.
    fn windows(&self) -> Result<(Duration, bool, Duration), Fault> {
        /// Of a warm-up until steady without a limit of its own.
        const LIMIT: Duration = Duration::from_secs(30);
        let mut until_steady = false;
        let (mut warmup, mut measured) = (None, None);
        let last = self.phases.len().saturating_sub(1);
        let marked = self.phases.iter().any(|phase| phase.measure);
        for (index, phase) in self.phases.iter().enumerate() {
            if let Some(key) = phase.more.first() {
                return later(key.line, &format!("{} in a phase", key.text), 3);
            }
            let measure = if marked { phase.measure } else { index == last };
            if let Some(resume) = phase.resume.as_ref().filter(|_| !measure) {
                return later(resume.line, "resume outside the measured phase", 3);
            }
            let time = match &phase.end {
                PhaseEnd::After(time) => *time,
                PhaseEnd::Steady if !measure => {
                    until_steady = true;
                    phase.limit.unwrap_or(LIMIT)
                }
                PhaseEnd::Steady => return fault(phase.line, "a measured phase needs a duration"),
                PhaseEnd::Condition(text) => return later(phase.line, &format!("until: {text}"), 3),
                PhaseEnd::Action if measure || measured.is_some() || until_steady => {
                    return fault(
                        phase.line,
                        "evict stands between a warm-up of known length and the measured phase",
                    );
                }
                PhaseEnd::Action => continue,
            };
            let place = if measure { &mut measured } else { &mut warmup };
            if place.replace(time).is_some() || (!measure && measured.is_some()) {
                return later(phase.line, "more than a warm-up and one measured phase", 3);
            }
        }
        Ok((
            warmup.unwrap_or(Duration::from_secs(2)),
            until_steady,
            measured.unwrap_or(Duration::from_secs(10)),
        ))
    }

    fn load_producers(&self, record_bytes: u32, folder: &Path) -> Result<load::Producers, Fault> {
        let mut producers = load::Producers {
            record_bytes,
            pool: self.records.pool,
            random: self.records.random,
            ..load::Producers::default()
        };
        let role = match &self.producers[..] {
            [] => {
                producers.connections = 0;
                return Ok(producers);
            }
            [role] => role,
            [_, second, ..] => return later(second.line, "a second producer role", 3),
        };
        if role.client.value == "java" {
            return later(role.client.line, "client: java", 2);
        }
        if role.identity.value == "batch" {
            return later(role.identity.line, "identity: batch", 2);
        }
        producers.connections = role.count;
        producers.batches_per_request = role.batches_per_request;
        for (key, value) in &role.props {
            let number = || {
                let value = scaled(value, BYTE_UNITS).filter(|n| n.fract() == 0.0 && *n >= 1.0 && *n <= 2e9);
                value.map_or_else(
                    || {
                        fault(
                            key.line,
                            format!("{}: {} is no count", key.text, self::shown(&role.props, &key.text)),
                        )
                    },
                    |n| Ok(n as u32),
                )
            };
            match key.text.as_str() {
                "acks" => {
                    producers.acks = match value.as_str() {
                        "all" | "-1" => load::Acks::All,
                        "1" => load::Acks::Leader,
                        "0" => load::Acks::None,
                        other => return fault(key.line, format!("acks: {other} is none of all, 1, 0")),
                    }
                }
                "batch.size" => {
                    // Preformed batches have whole records only.
                    let record = record_bytes + 8;
                    producers.batch_records = (number()? / record.max(1)).clamp(1, 65_536);
                }
                "max.in.flight.requests.per.connection" => producers.in_flight = number()?,
                "enable.idempotence" => producers.idempotent = value == "true",
                "compression.type" if value == "none" => {}
                "compression.type" => return later(key.line, "compression", 2),
                "linger.ms" if value == "0" => {}
                "linger.ms" | "buffer.memory" => {
                    return later(key.line, &format!("{} (the java client model)", key.text), 2);
                }
                other => return fault(key.line, format!("unknown setting {other}")),
            }
        }
        if let Some(records) = role.batch_records {
            producers.batch_records = records;
        }
        if let Some(in_flight) = role.in_flight {
            producers.in_flight = in_flight;
        }
        producers.arrivals = arrivals(role, record_bytes, &producers, folder)?;
        Ok(producers)
    }

    fn load_consumers(&self) -> Result<load::Consumers, Fault> {
        let mut consumers = load::Consumers { connections: 0, groups: 0, ..load::Consumers::default() };
        let mut groups: Vec<&str> = Vec::new();
        for role in &self.consumers {
            if role.start.value == "paused" {
                consumers.held_groups += 1;
            } else if consumers.held_groups > 0 {
                return fault(role.line, "consumers that start paused stand behind those that run");
            }
            if role.rate.value != Rate::Max {
                return later(role.rate.line, "a rate limit on a consumer", 3);
            }
            if groups.contains(&role.group.as_str()) {
                return later(role.line, "two roles in one group", 3);
            }
            if !groups.is_empty() && role.count != consumers.connections {
                return later(role.line, "groups of different sizes", 3);
            }
            groups.push(&role.group);
            consumers.connections = role.count;
            for (key, value) in &role.props {
                let number =
                    scaled(value, BYTE_UNITS).filter(|n| n.fract() == 0.0 && *n >= 0.0 && *n < 2.2e9);
                let number = || {
                    number.map_or_else(
                        || fault(key.line, format!("{}: {value} is no count", key.text)),
                        |n| Ok(n as u32),
                    )
                };
                match key.text.as_str() {
                    "fetch.min.bytes" => consumers.min_bytes = number()?,
                    "fetch.max.wait.ms" => consumers.max_wait = Duration::from_millis(u64::from(number()?)),
                    "fetch.max.bytes" => consumers.max_bytes = number()?,
                    "max.partition.fetch.bytes" => consumers.partition_max_bytes = number()?,
                    "check.crcs" if value == "true" => {}
                    "check.crcs" => return fault(key.line, "check.crcs: the rig always checks; see verify"),
                    other => return fault(key.line, format!("unknown setting {other}")),
                }
            }
        }
        consumers.groups = groups.len() as u32;
        let resumed = self.phases.iter().find_map(|phase| phase.resume.as_ref());
        if let Some(resume) = resumed {
            let paused = self.consumers.iter().filter(|role| role.start.value == "paused");
            let names: Vec<&str> = paused.map(|role| role.name.as_str()).collect();
            if names != [resume.value.as_str()] {
                let known = if names.is_empty() { "nobody does".to_owned() } else { names.join(", ") };
                return fault(
                    resume.line,
                    format!("resume: {}: one consumer that starts paused is needed; {known}", resume.value),
                );
            }
        }
        // Who is not called reads at the end: every group sees everything.
        consumers.held_until = if resumed.is_some() { load::Phase::Measure } else { load::Phase::Drain };
        Ok(consumers)
    }
}

fn shown(props: &[(Key, String)], key: &str) -> String {
    props.iter().find(|(known, _)| known.text == key).map(|(_, value)| value.clone()).unwrap_or_default()
}

fn arrivals(
    role: &Producer,
    record_bytes: u32,
    producers: &load::Producers,
    folder: &Path,
) -> Result<load::Arrivals, Fault> {
    let records = |rate: Rate| match rate {
        Rate::Records(rate) => Some(rate),
        Rate::Bytes(bytes) => Some(bytes / f64::from(record_bytes.max(1))),
        Rate::Max => None,
    };
    let rate = records(role.rate.value);
    let needed = || {
        rate.map_or_else(|| fault(role.line, format!("{} needs a rate for these arrivals", role.name)), Ok)
    };
    Ok(match &role.arrivals.value {
        Shape::Closed => load::Arrivals::Closed,
        Shape::Constant | Shape::Poisson if rate.is_none() => load::Arrivals::Closed,
        Shape::Constant => load::Arrivals::Constant { records_per_s: needed()? },
        Shape::Poisson => load::Arrivals::Poisson { records_per_s: needed()? },
        Shape::Burst { on, off } => load::Arrivals::Burst { records_per_s: needed()?, on: *on, off: *off },
        Shape::Ramp { from, to } => match (records(*from), records(*to)) {
            (Some(from), Some(to)) => load::Arrivals::Ramp { from_records_per_s: from, to_records_per_s: to },
            _ => return fault(role.arrivals.line, "a ramp goes from one rate to another"),
        },
        Shape::Step(steps) => load::Arrivals::Step {
            steps: steps.iter().filter_map(|(time, rate)| Some((*time, records(*rate)?))).collect(),
        },
        Shape::Trace(file) => {
            let path = folder.join(file);
            let line = role.arrivals.line;
            let text = std::fs::read_to_string(&path)
                .map_err(|e| Fault { line, text: format!("trace {}: {e}", path.display()) })?;
            let mut due = Vec::new();
            for (number, row) in text.lines().enumerate().filter(|(_, row)| !row.trim().is_empty()) {
                let seconds = row.trim().parse::<f64>().ok().filter(|s| *s >= 0.0 && *s < 1e9);
                let Some(seconds) = seconds else {
                    return fault(
                        line,
                        format!("trace {}:{}: {row} is no time in seconds", path.display(), number + 1),
                    );
                };
                due.push(Duration::from_secs_f64(seconds));
            }
            due.sort_unstable();
            if due.is_empty() || producers.connections == 0 {
                return fault(line, format!("trace {}: nothing is due", path.display()));
            }
            load::Arrivals::Trace { due: Arc::from(due) }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::workload::tests::{EXAMPLE, SMALL};
    use super::super::workload::tree;
    use super::*;

    fn here() -> &'static Path {
        Path::new(".")
    }

    fn one(text: &str, sets: &[(&str, &str)]) -> Result<CellSpec, Fault> {
        let sets: Vec<(String, String)> = sets.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect();
        let root = tree(text, here(), &sets)?;
        let (_, mut cells) = cells(&root, &[], "ringdaw", 1, here())?;
        Ok(cells.remove(0))
    }

    #[test]
    fn what_cannot_run_yet_is_refused_by_name_and_line() {
        let steps = [
            ("memory", "as-is", "line 33: memory: resident comes with step 2"),
            ("records.key", "{kind: none}", "line 10: a record key comes with step 2"),
            ("records.stamp", "batch", "line 13: stamp: record comes with step 2"),
            ("phases", "[{duration: 5s}]", "line 27: until: backlog(catchup) >= 4GiB comes with step 3"),
            ("producers.steady.client", "batch", "line 18: client: java comes with step 2"),
        ];
        let mut sets: Vec<(&str, &str)> = Vec::new();
        for (path, value, message) in steps {
            let error = one(EXAMPLE, &sets).unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
            sets.push((path, value));
        }
    }

    #[test]
    fn a_small_workload_becomes_a_plan() {
        let cell =
            one(SMALL, &[("producers.p.props", "{acks: 1, batch.size: 64Ki}"), ("records.bytes", "100")])
                .unwrap();
        assert_eq!(cell.load.topic.partitions, 3);
        assert_eq!(cell.load.producers.acks, load::Acks::Leader);
        assert_eq!(cell.load.producers.batch_records, 65_536 / 108);
        assert_eq!(cell.offered_records_per_s(), Some(80_000.0));
        assert_eq!(cell.load.consumers.groups, 1);
        let by_bytes = one(SMALL, &[("producers.p.rate", "100MB/s")]).unwrap();
        assert_eq!(by_bytes.offered_records_per_s(), Some(1e8 / 1024.0));
        let closed = one(SMALL, &[("producers.p.rate", "max")]).unwrap();
        assert!(closed.load.producers.arrivals.is_closed());
    }

    #[test]
    fn a_sweep_is_every_combination_and_the_command_line_wins() {
        let root =
            tree(SMALL, here(), &[("sweep".to_owned(), "{topics.t.partitions: [1, 2]}".to_owned())]).unwrap();
        let vary = [
            vary_axis(&root, "partitions=1,16,256").unwrap(),
            vary_axis(&root, "record_bytes=100,1Ki").unwrap(),
        ];
        let (_, cells) = cells(&root, &vary, "ringdaw", 1, here()).unwrap();
        assert_eq!(cells.len(), 6);
        assert_eq!(cells[1].id, "partitions-1-bytes-1Ki");
        assert_eq!(cells[5].load.topic.partitions, 256);
        assert_eq!(cells[4].load.producers.record_bytes, 100);
    }

    #[test]
    fn the_library_is_valid() {
        for (name, text) in LIBRARY {
            let root = tree(text, here(), &[]).unwrap_or_else(|e| panic!("@{name}: {e}"));
            let (_, cells) =
                cells(&root, &[], "ringdaw", 1, here()).unwrap_or_else(|e| panic!("@{name}: {e}"));
            assert!(!cells.is_empty());
        }
    }

    #[test]
    fn a_pause_must_end_within_the_window() {
        let error = one(SMALL, &[("faults", "[{at: 9900ms, kind: pause, duration: 200ms}]")]).unwrap_err();
        assert!(error.text.contains("does not end within"), "{error}");
    }
}
