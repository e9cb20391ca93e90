//! The workload file (RIG section 15): a strict YAML language for what to produce, consume, break and expect.
//!
//! In: text, `--set` overrides. Out: a `Workload`, everything in it checked, or the line and the nearest valid word.
//! The whole language is read here; `scenario` says what of it can run.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::document::{self, Fault, Key, Node, Value, fault, nearest};
use super::durability::Durability;
use super::plan::{self, Comparison, Point, Slo, SloMetric};
use super::value::{
    BYTE_UNITS, COUNT_UNITS, Fields, Located, Rate, bytes32, count32, duration, duration_of, flag, fraction,
    list, one_of, properties, rate, rate_of, scaled, text, whole,
};
use crate::load;

/// A workload as written, every value checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Workload {
    pub name: String,
    pub seed: Option<u64>,
    pub topics: Vec<Topic>,
    pub records: Records,
    pub producers: Vec<Producer>,
    pub consumers: Vec<Consumer>,
    pub phases: Vec<Phase>,
    pub faults: Vec<Located<plan::Fault>>,
    pub durability: Durability,
    pub memory: Located<String>,
    pub slo: Vec<Slo>,
    pub verify: load::VerifyMode,
    pub sweep: Sweep,
    pub blocks: u64,
    /// Settings of the broker under test, for what no topic can set.
    pub broker: Vec<(Key, String)>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Topic {
    pub line: usize,
    pub name: String,
    pub partitions: u32,
    pub replicas: i16,
    pub config: Vec<(String, String)>,
    pub idle: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Records {
    pub bytes: Located<Size>,
    pub key: Option<Located<String>>,
    pub random: f64,
    pub pool: u32,
    pub headers: Located<u64>,
    pub stamp: Located<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Size {
    Fixed(u32),
    Uniform(u32, u32),
    List(PathBuf),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Producer {
    pub line: usize,
    pub name: String,
    pub topic: String,
    pub count: u32,
    pub client: Located<String>,
    pub arrivals: Located<Shape>,
    pub rate: Located<Rate>,
    pub props: Vec<(Key, String)>,
    pub batch_records: Option<u32>,
    pub batches_per_request: u32,
    pub in_flight: Option<u32>,
    pub identity: Located<String>,
}

/// How arrivals are spaced; how many there are is the rate.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    Closed,
    Constant,
    Poisson,
    Burst { on: Duration, off: Duration },
    Ramp { from: Rate, to: Rate },
    Step(Vec<(Duration, Rate)>),
    Trace(PathBuf),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Consumer {
    pub line: usize,
    pub name: String,
    pub topic: String,
    pub group: String,
    pub count: u32,
    pub from: Located<String>,
    pub rate: Located<Rate>,
    pub start: Located<String>,
    pub props: Vec<(Key, String)>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Phase {
    pub line: usize,
    pub name: String,
    pub end: PhaseEnd,
    pub limit: Option<Duration>,
    /// The consumer that begins to read with this phase, if any.
    pub resume: Option<Located<String>>,
    /// `rate`: what this form of the rig cannot do inside a phase.
    pub more: Vec<Key>,
    pub measure: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum PhaseEnd {
    After(Duration),
    Steady,
    /// `backlog(catchup) >= 4GiB`, as written.
    Condition(String),
    /// An action, which ends by itself.
    Action,
}

#[derive(Clone, Debug, PartialEq, Default)]
pub struct Sweep {
    /// Paths and the values they take.
    pub axes: Vec<(String, Vec<Node>)>,
    pub in_order: bool,
    pub anchor_every: usize,
}

const TOP: &[&str] = &[
    "version",
    "name",
    "seed",
    "topics",
    "records",
    "producers",
    "consumers",
    "phases",
    "faults",
    "durability",
    "memory",
    "slo",
    "verify",
    "sweep",
    "repeat",
    "broker",
    "include",
];
const PRODUCER_PROPS: &[&str] = &[
    "acks",
    "batch.size",
    "linger.ms",
    "max.in.flight.requests.per.connection",
    "buffer.memory",
    "compression.type",
    "enable.idempotence",
];
const CONSUMER_PROPS: &[&str] =
    &["fetch.min.bytes", "fetch.max.wait.ms", "fetch.max.bytes", "max.partition.fetch.bytes", "check.crcs"];

/// Reads a file's text. `folder` is where `include` looks.
pub fn parse(text: &str, folder: &Path, sets: &[(String, String)]) -> Result<Workload, Fault> {
    read(tree(text, folder, sets)?)
}

/// The document with its includes and overrides, before it is checked: what a sweep varies.
pub fn tree(text: &str, folder: &Path, sets: &[(String, String)]) -> Result<Node, Fault> {
    let mut root = document::parse(text)?;
    include(&mut root, folder, 0)?;
    for (path, value) in sets {
        document::set(&mut root, path, override_value(path, value)?)?;
    }
    Ok(root)
}
/// The value of `--set PATH=VALUE`: YAML itself, so lists and maps can be given too.
pub fn override_value(path: &str, value: &str) -> Result<Node, Fault> {
    let mut node =
        document::parse(value).map_err(|e| Fault { line: 0, text: format!("{path}: {}", e.text) })?;
    no_lines(&mut node);
    Ok(node)
}

fn no_lines(node: &mut Node) {
    node.line = 0;
    match &mut node.value {
        Value::Scalar(_) => {}
        Value::List(items) => items.iter_mut().for_each(no_lines),
        Value::Map(entries) => entries.iter_mut().for_each(|(key, node)| {
            key.line = 0;
            no_lines(node);
        }),
    }
}

/// The included file's keys are what this one does not say itself.
fn include(root: &mut Node, folder: &Path, depth: usize) -> Result<(), Fault> {
    let Value::Map(entries) = &mut root.value else { return Ok(()) };
    let Some(at) = entries.iter().position(|(key, _)| key.text == "include") else { return Ok(()) };
    let (key, node) = entries.remove(at);
    let Value::Scalar(name) = node.value else { return fault(node.line, "include names one file") };
    if depth >= 8 {
        return fault(key.line, format!("include {name}: files include each other too deeply"));
    }
    let path = folder.join(&name);
    let text = std::fs::read_to_string(&path)
        .map_err(|e| Fault { line: key.line, text: format!("include {}: {e}", path.display()) })?;
    let inside = |fault: Fault| Fault { line: key.line, text: format!("include {name}: {fault}") };
    let mut other = document::parse(&text).map_err(inside)?;
    include(&mut other, path.parent().unwrap_or(folder), depth + 1).map_err(inside)?;
    let Value::Map(others) = other.value else {
        return fault(key.line, format!("include {name}: not a workload"));
    };
    for (key, node) in others {
        if !entries.iter().any(|(own, _)| own.text == key.text) {
            entries.push((key, node));
        }
    }
    Ok(())
}
pub fn read(root: Node) -> Result<Workload, Fault> {
    let top = Fields::of(&root, "the workload", TOP)?;
    let version = top.needed("version")?;
    if text(version)? != "1" {
        return fault(version.line, format!("version {}: this program reads version 1", text(version)?));
    }
    let topics = list(top.needed("topics")?)?.iter().map(topic).collect::<Result<Vec<_>, _>>()?;
    let records = match top.get("records") {
        Some(node) => self::records(node)?,
        None => self::records(&Node { line: root.line, value: Value::Map(Vec::new()) })?,
    };
    let each = |key: &str| top.get(key).map_or(Ok(&[][..]), list);
    let producers = each("producers")?.iter().map(producer).collect::<Result<Vec<_>, _>>()?;
    let consumers = each("consumers")?.iter().map(consumer).collect::<Result<Vec<_>, _>>()?;
    for (line, role, name) in producers
        .iter()
        .map(|p| (p.line, &p.name, &p.topic))
        .chain(consumers.iter().map(|c| (c.line, &c.name, &c.topic)))
    {
        if !topics.iter().any(|topic| topic.name == *name) {
            let names = topics.iter().map(|topic| topic.name.as_str());
            let hint = nearest(name, names).map(|near| format!("; did you mean {near}?")).unwrap_or_default();
            return fault(line, format!("{role} uses the topic {name}, which is not listed{hint}"));
        }
    }
    let repeat = top.get("repeat").map(|node| Fields::of(node, "repeat", &["pairs"])).transpose()?;
    Ok(Workload {
        name: top.or("name", "unnamed".to_owned(), text)?,
        seed: top.get("seed").map(|node| whole(node, COUNT_UNITS, 0..=u64::MAX)).transpose()?,
        topics,
        records,
        producers,
        consumers,
        phases: each("phases")?.iter().map(phase).collect::<Result<_, _>>()?,
        faults: each("faults")?.iter().map(injected).collect::<Result<_, _>>()?,
        durability: top.or("durability", Durability::PageCache, |node| {
            text(node)?.parse().map_err(|text| Fault { line: node.line, text })
        })?,
        memory: top
            .located("memory", "as-is".to_owned(), |node| one_of(node, &["resident", "fresh", "as-is"]))?,
        slo: each("slo")?.iter().map(slo).collect::<Result<_, _>>()?,
        verify: top.or("verify", load::VerifyMode::Full, verify)?,
        sweep: top.or("sweep", Sweep::default(), sweep)?,
        broker: top.or("broker", Vec::new(), |node| properties(node, None))?,
        blocks: repeat
            .map_or(Ok(1), |fields| fields.or("pairs", 1, |node| whole(node, COUNT_UNITS, 1..=10_000)))?,
    })
}

fn topic(node: &Node) -> Result<Topic, Fault> {
    let fields = Fields::of(node, "a topic", &["name", "partitions", "replicas", "config", "idle"])?;
    let config = fields.get("config").map(|node| properties(node, None)).transpose()?.unwrap_or_default();
    Ok(Topic {
        line: node.line,
        name: text(fields.needed("name")?)?,
        partitions: fields
            .or("partitions", 1, |node| whole(node, COUNT_UNITS, 1..=1_000_000).map(|n| n as u32))?,
        replicas: fields.or("replicas", 1, |node| whole(node, COUNT_UNITS, 1..=100).map(|n| n as i16))?,
        config: config
            .into_iter()
            .map(|(key, value)| {
                // Kafka's settings are plain numbers; sizes may be written with their unit here.
                let plain = match scaled(&value, BYTE_UNITS) {
                    Some(bytes) if key.text.ends_with(".bytes") => format!("{bytes:.0}"),
                    _ => value,
                };
                (key.text, plain)
            })
            .collect(),
        idle: fields.or("idle", false, flag)?,
    })
}

fn records(node: &Node) -> Result<Records, Fault> {
    let fields = Fields::of(node, "records", &["bytes", "key", "payload", "headers", "stamp"])?;
    let payload =
        fields.get("payload").map(|node| Fields::of(node, "payload", &["random", "pool"])).transpose()?;
    let key = match fields.get("key") {
        None => None,
        Some(node) => {
            let key = Fields::of(node, "key", &["kind", "count", "bytes"])?;
            key.or("count", 1, count32)?;
            key.or("bytes", 0, bytes32)?;
            let kind = key.or("kind", "none".to_owned(), |node| {
                one_of(node, &["none", "uniform", "zipf", "sequence"])
            })?;
            Some(Located { line: node.line, value: kind })
        }
    };
    let (random, pool) = match &payload {
        Some(payload) => (
            payload.or("random", 1.0, fraction)?,
            payload.or("pool", 32, |node| whole(node, COUNT_UNITS, 1..=65_536).map(|n| n as u32))?,
        ),
        None => (1.0, 32),
    };
    Ok(Records {
        bytes: fields.located("bytes", Size::Fixed(1024), size)?,
        key,
        random,
        pool,
        headers: fields.located("headers", 0, |node| whole(node, COUNT_UNITS, 0..=1000))?,
        stamp: fields.located("stamp", "batch".to_owned(), |node| one_of(node, &["batch", "record"]))?,
    })
}

/// `1Ki`, `uniform:100..2Ki`, `list:FILE`.
fn size(node: &Node) -> Result<Size, Fault> {
    let written = text(node)?;
    if let Some(file) = written.strip_prefix("list:") {
        return Ok(Size::List(PathBuf::from(file)));
    }
    if let Some(range) = written.strip_prefix("uniform:") {
        let ends = range.split_once("..").and_then(|(low, high)| {
            Some((scaled(low, BYTE_UNITS)? as u32, scaled(high, BYTE_UNITS)? as u32))
        });
        return match ends.filter(|(low, high)| low <= high) {
            Some((low, high)) => Ok(Size::Uniform(low, high)),
            None => fault(node.line, format!("{written}: write uniform:100..2Ki")),
        };
    }
    bytes32(node).map(Size::Fixed)
}

fn producer(node: &Node) -> Result<Producer, Fault> {
    let fields = Fields::of(
        node,
        "a producer",
        &[
            "name",
            "topic",
            "count",
            "client",
            "arrivals",
            "rate",
            "props",
            "batch_records",
            "batches_per_request",
            "in_flight",
            "identity",
        ],
    )?;
    let positive = |node: &Node| whole(node, COUNT_UNITS, 1..=65_536).map(|n| n as u32);
    Ok(Producer {
        line: node.line,
        name: text(fields.needed("name")?)?,
        topic: text(fields.needed("topic")?)?,
        count: fields.or("count", 1, count32)?,
        client: fields.located("client", "batch".to_owned(), |node| one_of(node, &["batch", "java"]))?,
        arrivals: fields.located("arrivals", Shape::Constant, shape)?,
        rate: fields.located("rate", Rate::Max, rate)?,
        props: fields.or("props", Vec::new(), |node| properties(node, Some(PRODUCER_PROPS)))?,
        batch_records: fields.get("batch_records").map(positive).transpose()?,
        batches_per_request: fields.or("batches_per_request", 1, positive)?,
        in_flight: fields.get("in_flight").map(positive).transpose()?,
        identity: fields
            .located("identity", "record".to_owned(), |node| one_of(node, &["record", "batch"]))?,
    })
}

/// `constant`, `poisson`, `closed`, `burst:ON/OFF`, `ramp:A..B`, `step:RATE@TIME,...`, `trace:FILE`.
fn shape(node: &Node) -> Result<Shape, Fault> {
    let written = text(node)?;
    let (kind, rest) = written.split_once(':').unwrap_or((&written, ""));
    let bad = |example: &str| fault(node.line, format!("{written}: write {example}"));
    match kind {
        "constant" => Ok(Shape::Constant),
        "poisson" => Ok(Shape::Poisson),
        "closed" => Ok(Shape::Closed),
        "burst" => {
            match rest.split_once('/').and_then(|(on, off)| Some((duration_of(on)?, duration_of(off)?))) {
                Some((on, off)) if !on.is_zero() => Ok(Shape::Burst { on, off }),
                _ => bad("burst:100ms/900ms, time on and time off"),
            }
        }
        "ramp" => match rest.split_once("..").and_then(|(a, b)| Some((rate_of(a)?, rate_of(b)?))) {
            Some((from, to)) if from != Rate::Max && to != Rate::Max => Ok(Shape::Ramp { from, to }),
            _ => bad("ramp:10k/s..80k/s"),
        },
        "step" => {
            let step = |text: &str| {
                let (rate, time) = text.split_once('@')?;
                Some((duration_of(time.trim())?, rate_of(rate.trim()).filter(|rate| *rate != Rate::Max)?))
            };
            match rest.split(',').map(step).collect::<Option<Vec<_>>>() {
                Some(steps) => Ok(Shape::Step(steps)),
                None => bad("step:10k/s@10s,20k/s@10s"),
            }
        }
        "trace" if !rest.is_empty() => Ok(Shape::Trace(PathBuf::from(rest))),
        _ => {
            let known = ["constant", "poisson", "closed", "burst", "ramp", "step", "trace"];
            let hint = nearest(kind, known).map(|near| format!("; did you mean {near}?")).unwrap_or_default();
            fault(node.line, format!("{written} is none of {}{hint}", known.join(", ")))
        }
    }
}

fn consumer(node: &Node) -> Result<Consumer, Fault> {
    let fields = Fields::of(
        node,
        "a consumer",
        &["name", "topic", "group", "count", "from", "rate", "start", "props"],
    )?;
    let name = text(fields.needed("name")?)?;
    Ok(Consumer {
        line: node.line,
        topic: text(fields.needed("topic")?)?,
        group: fields.or("group", name.clone(), text)?,
        name,
        count: fields.or("count", 1, count32)?,
        from: fields.located("from", "latest".to_owned(), |node| one_of(node, &["latest", "earliest"]))?,
        rate: fields.located("rate", Rate::Max, rate)?,
        start: fields.located("start", "running".to_owned(), |node| one_of(node, &["running", "paused"]))?,
        props: fields.or("props", Vec::new(), |node| properties(node, Some(CONSUMER_PROPS)))?,
    })
}

fn phase(node: &Node) -> Result<Phase, Fault> {
    let fields = Fields::of(
        node,
        "a phase",
        &["name", "until", "duration", "limit", "action", "topic", "resume", "measure", "rate"],
    )?;
    if let Some(action) = fields.get("action") {
        one_of(action, &["evict"])?;
    }
    let until = fields.get("until").map(text).transpose()?;
    let end = match (fields.get("duration"), until, fields.get("action")) {
        (Some(node), None, None) => PhaseEnd::After(duration(node)?),
        (None, Some(until), None) if until == "steady" => PhaseEnd::Steady,
        (None, Some(until), None) if until.starts_with("backlog(") => PhaseEnd::Condition(until),
        (None, Some(until), None) => {
            return fault(node.line, format!("until: {until}: write steady or backlog(CONSUMER) >= 4GiB"));
        }
        (None, None, Some(_)) => PhaseEnd::Action,
        (None, None, None) => return fault(node.line, "a phase needs duration, until or action"),
        _ => return fault(node.line, "a phase has one of duration, until and action"),
    };
    let more = fields
        .entries
        .iter()
        .map(|(key, _)| key)
        .filter(|key| matches!(key.text.as_str(), "rate"))
        .cloned()
        .collect();
    Ok(Phase {
        line: node.line,
        name: fields.or("name", "phase".to_owned(), text)?,
        end,
        limit: fields.get("limit").map(duration).transpose()?,
        resume: fields.get("resume").map(resumed).transpose()?.flatten(),
        more,
        measure: fields.or("measure", false, flag)?,
    })
}

/// One name, alone or in a list; `none` is nobody, for a sweep that compares.
fn resumed(node: &Node) -> Result<Option<Located<String>>, Fault> {
    let value = match &node.value {
        Value::List(items) => match &items[..] {
            [] => return Ok(None),
            [one] => text(one)?,
            [_, second, ..] => return fault(second.line, "one consumer begins with a phase, not several"),
        },
        Value::Scalar(_) | Value::Map(_) => text(node)?,
    };
    Ok((value != "none").then_some(Located { line: node.line, value }))
}

fn injected(node: &Node) -> Result<Located<plan::Fault>, Fault> {
    let fields = Fields::of(node, "a fault", &["at", "kind", "duration"])?;
    let at = duration(fields.needed("at")?)?;
    let kind = one_of(fields.needed("kind")?, &["pause", "kill-9", "restart"])?;
    let value = match kind.as_str() {
        "pause" => plan::Fault::Pause { at, duration: duration(fields.needed("duration")?)? },
        _ => plan::Fault::Kill { at },
    };
    Ok(Located { line: node.line, value })
}

fn slo(node: &Node) -> Result<Slo, Fault> {
    let written = text(node)?;
    slo_of(&written).map_or_else(
        || {
            fault(
                node.line,
                format!(
                    "{written}: write e2e_p99 < 5ms, produce_p99_9 <= 20ms, errors == 0 or rate >= 50k/s"
                ),
            )
        },
        Ok,
    )
}

/// `e2e_p99 < 5ms`
pub fn slo_of(written: &str) -> Option<Slo> {
    let at = written.find(['<', '>', '='])?;
    let (metric, rest) = written.split_at(at);
    let (comparison, value) = [
        ("<=", Comparison::AtMost),
        (">=", Comparison::AtLeast),
        ("==", Comparison::Equal),
        ("<", Comparison::Less),
        (">", Comparison::More),
    ]
    .iter()
    .find_map(|(sign, comparison)| Some((*comparison, rest.strip_prefix(sign)?)))?;
    let point = |name: &str| {
        Some(match name {
            "p50" => Point::P50,
            "p90" => Point::P90,
            "p99" => Point::P99,
            "p99_9" | "p99.9" => Point::P99_9,
            "p99_99" | "p99.99" => Point::P99_99,
            "max" => Point::Max,
            _ => return None,
        })
    };
    let (metric, value) = match metric.trim() {
        "errors" => (SloMetric::Errors, value.trim().parse().ok()?),
        "rate" => match rate_of(value.trim())? {
            Rate::Records(rate) => (SloMetric::Rate, rate),
            Rate::Bytes(_) | Rate::Max => return None,
        },
        name => {
            let metric = match name.split_once('_')? {
                ("e2e", at) => SloMetric::E2e(point(at)?),
                ("produce", at) => SloMetric::Produce(point(at)?),
                _ => return None,
            };
            (metric, duration_of(value.trim())?.as_nanos() as f64)
        }
    };
    Some(Slo { metric, comparison, value, text: written.to_owned() })
}

fn verify(node: &Node) -> Result<load::VerifyMode, Fault> {
    match text(node)?.as_str() {
        "full" => Ok(load::VerifyMode::Full),
        "none" => Ok(load::VerifyMode::None),
        other => {
            let one_in = other.strip_prefix("sampled:1/").and_then(|n| n.parse().ok()).filter(|n| *n > 0);
            one_in
                .map(load::VerifyMode::Sampled)
                .map_or_else(|| fault(node.line, format!("{other} is none of full, sampled:1/64, none")), Ok)
        }
    }
}

fn sweep(node: &Node) -> Result<Sweep, Fault> {
    let Value::Map(entries) = &node.value else {
        return fault(node.line, "sweep is a map of paths and lists");
    };
    let mut sweep = Sweep::default();
    for (key, value) in entries {
        match key.text.as_str() {
            "order" => sweep.in_order = one_of(value, &["random", "listed"])? == "listed",
            "anchor_every" => sweep.anchor_every = whole(value, COUNT_UNITS, 0..=1000)? as usize,
            path => sweep.axes.push((path.to_owned(), list(value)?.to_vec())),
        }
    }
    Ok(sweep)
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// The example of the language's own page, every key of it.
    pub const EXAMPLE: &str = r#"
version: 1
name: tail-and-catchup
seed: 42
topics:
  - {name: hot, partitions: 64, replicas: 1, config: {segment.bytes: 256Mi, retention.bytes: -1}}
  - {name: idle, partitions: 2000, replicas: 1, idle: true}
records:
  bytes: 1Ki
  key: {kind: zipf, count: 10000, bytes: 16}
  payload: {random: 0.5, pool: 1000}
  headers: 0
  stamp: record
producers:
  - name: steady
    topic: hot
    count: 4
    client: java
    arrivals: poisson
    rate: 80k/s
    props: {acks: all, batch.size: 128Ki, linger.ms: 1, compression.type: none}
consumers:
  - {name: tail, topic: hot, group: tail, count: 4, from: latest, props: {fetch.max.wait.ms: 5}}
  - {name: catchup, topic: hot, group: catchup, count: 1, from: earliest, rate: max, start: paused}
phases:
  - {name: warmup, until: steady, limit: 120s}
  - {name: backlog, until: "backlog(catchup) >= 4GiB", limit: 300s}
  - {name: cold, action: evict, topic: hot}
  - {name: drain, resume: [catchup], until: "backlog(catchup) == 0", limit: 300s, measure: true}
  - {name: steady, duration: 60s, measure: true}
faults: []
durability: page-cache
memory: resident
slo: ["e2e_p99 < 5ms", "errors == 0"]
verify: full
sweep: {"topics.hot.partitions": [1, 16, 128, 1024], order: random, anchor_every: 4}
repeat: {pairs: 8}
"#;

    pub const SMALL: &str = "version: 1\nname: small\ntopics:\n  - {name: t, partitions: 3}\nproducers:\n  - {name: p, topic: t, rate: 80k/s}\nconsumers:\n  - {name: c, topic: t}\n";

    fn here() -> &'static Path {
        Path::new(".")
    }

    #[test]
    fn the_whole_language_is_read() {
        let workload = parse(EXAMPLE, here(), &[]).unwrap();
        assert_eq!(workload.topics[0].config[0], ("segment.bytes".to_owned(), "268435456".to_owned()));
        assert_eq!(workload.producers[0].rate.value, Rate::Records(80_000.0));
        assert_eq!(workload.phases[1].end, PhaseEnd::Condition("backlog(catchup) >= 4GiB".to_owned()));
        assert_eq!(workload.sweep.axes[0].1.len(), 4);
        assert_eq!((workload.sweep.anchor_every, workload.blocks), (4, 8));
        assert_eq!(workload.slo[0].value, 5e6);
    }

    #[test]
    fn an_unknown_key_names_its_line_and_the_nearest_one() {
        let text = SMALL.replace("partitions: 3", "partitons: 3");
        let error = parse(&text, here(), &[]).unwrap_err();
        assert_eq!(error.to_string(), "line 4: unknown key partitons in a topic; did you mean partitions?");
        let error = parse(&SMALL.replace("80k/s", "80q/s"), here(), &[]).unwrap_err();
        assert_eq!(error.to_string(), "line 6: 80q/s is no rate; write 80k/s, 100MB/s or max");
        let error = parse(SMALL, here(), &[("verfy".to_owned(), "full".to_owned())]).unwrap_err();
        assert_eq!(error.to_string(), "--set: unknown key verfy in the workload; did you mean verify?");
        let error = parse(&SMALL.replace("topic: t, rate", "topic: u, rate"), here(), &[]).unwrap_err();
        assert!(error.to_string().starts_with("line 6: p uses the topic u"), "{error}");
        let error = parse(SMALL, here(), &[("producers.p.props".to_owned(), "{linger.ns: 5}".to_owned())])
            .unwrap_err();
        assert!(error.to_string().contains("did you mean linger.ms?"), "{error}");
    }
}
