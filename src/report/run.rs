//! `run.json`, schema 1, and `plan.json`: everything one run of the rig found out, as plain data.
//!
//! In: what the rig measured. Out: JSON text from which every other file of the run folder is rebuilt.
//! Units are part of the name; times are ns since the run's monotonic start unless the name says otherwise.
//! A value that was not measured is `None` here and `null` in the file, never 0: a reader must be able to
//! tell "nothing happened" from "nobody looked". Lists that were not filled are empty.
//!
//! Lookups that every picture needs (which cell belongs to which column) live at the end, so that the table,
//! the page and the CSV cannot disagree about them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The version of the layout below. A file of another schema is refused, not guessed at.
pub const SCHEMA: u32 = 1;

/// `run.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Run {
    pub schema: u32,
    pub run_id: String,
    /// `bench`, `run`, `sweep`, `limits`, `verify`, `compare`, `rate` ...
    pub kind: String,
    /// `2026-09-03T14:05:06Z`.
    pub started_at_utc: String,
    pub finished_at_utc: Option<String>,
    pub duration_s: Option<f64>,
    /// The command line, one argument each; the page prints it as the way to repeat the run.
    pub command: Vec<String>,
    pub seed: u64,
    /// `None` while the run goes on, and in a run that was interrupted.
    pub exit_code: Option<i32>,
    /// Sentences for the top of the page.
    pub verdicts: Vec<String>,
    /// Short words or sentences that limit what the figures mean: `short`, `not-resident`, `debug-build` ...
    pub validity_flags: Vec<String>,
    pub environment: Environment,
    pub subjects: Vec<Subject>,
    pub workloads: Vec<Workload>,
    pub limits: Vec<Limit>,
    /// Of `bench engines` alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub engines: Vec<EngineCell>,
    pub cells: Vec<Cell>,
    pub blocks: Vec<Block>,
    pub verification: Verification,
    pub comparisons: Vec<Comparison>,
    pub calibration: Option<Calibration>,
    pub tuning: Option<Tuning>,
    pub self_tests: Option<SelfTests>,
}

impl Default for Run {
    fn default() -> Run {
        Run {
            schema: SCHEMA,
            run_id: String::new(),
            kind: String::new(),
            started_at_utc: String::new(),
            finished_at_utc: None,
            duration_s: None,
            command: Vec::new(),
            seed: 0,
            exit_code: None,
            verdicts: Vec::new(),
            validity_flags: Vec::new(),
            environment: Environment::default(),
            subjects: Vec::new(),
            workloads: Vec::new(),
            limits: Vec::new(),
            engines: Vec::new(),
            cells: Vec::new(),
            blocks: Vec::new(),
            verification: Verification::default(),
            comparisons: Vec::new(),
            calibration: None,
            tuning: None,
            self_tests: None,
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Environment {
    /// Hash over the fields below that must agree for two runs to be compared. See [`Environment::seal`].
    pub fingerprint: Option<String>,
    pub machine: Machine,
    pub storage: Storage,
    pub limits: SystemLimits,
    pub binary: Binary,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Machine {
    pub kernel: Option<String>,
    pub cmdline: Option<String>,
    pub hypervisor: Option<String>,
    pub cpu_model: Option<String>,
    /// Cores this process may use.
    pub cores: Option<u32>,
    pub smt: Option<bool>,
    pub mitigations: Option<String>,
    pub governor: Option<String>,
    pub clocksource: Option<String>,
    pub thp: Option<String>,
    pub numa: Option<String>,
    pub memory_bytes: Option<u64>,
    pub swap_bytes: Option<u64>,
    /// Hardware cycle counters usable.
    pub pmu: Option<bool>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Storage {
    pub filesystem: Option<String>,
    pub mount_options: Option<String>,
    pub device: Option<String>,
    pub scheduler: Option<String>,
    pub write_cache: Option<String>,
    pub free_bytes: Option<u64>,
    /// Percent of memory, as in `vm.dirty_ratio`.
    pub dirty_ratio: Option<u64>,
    pub dirty_background_ratio: Option<u64>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SystemLimits {
    /// The three figures of `net.ipv4.tcp_rmem`, as the kernel prints them.
    pub tcp_rmem: Option<String>,
    pub tcp_wmem: Option<String>,
    pub somaxconn: Option<u64>,
    pub memlock_bytes: Option<u64>,
    /// `kernel.io_uring_disabled`: 0 allowed, 1 for the privileged, 2 off.
    pub io_uring_disabled: Option<u64>,
    pub perf_paranoid: Option<i64>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Binary {
    pub sha256: Option<String>,
    pub git: Option<String>,
    /// `release` or `debug`.
    pub profile: Option<String>,
    pub target_cpu: Option<String>,
    pub allocator: Option<String>,
}

/// Who ran: a broker, or the null broker (`is_null_broker`).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Subject {
    pub name: String,
    pub version: Option<String>,
    pub command: Option<String>,
    /// The effective configuration, as text; written to `config/<name>.properties`.
    pub config: Option<String>,
    pub config_sha256: Option<String>,
    /// `embedded`, `zookeeper`, `kraft`.
    pub metadata_mode: Option<String>,
    pub jvm_flags: Option<String>,
    /// `0` or `0-3`.
    pub cores: Option<String>,
    pub durability: Durability,
    /// From exec to the first answer.
    pub ready_ns: Option<u64>,
    pub is_null_broker: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Durability {
    /// `page-cache`, `interval:MS`, `sync`.
    pub class: Option<String>,
    /// True when fsyncs and device flushes were counted and fit the class.
    pub verified: Option<bool>,
    pub fsyncs: Option<u64>,
    pub device_flushes: Option<u64>,
}

/// The text of a workload, kept once however many cells ran it; written to `config/`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Workload {
    pub sha256: String,
    pub name: Option<String>,
    pub text: String,
}

/// One physical limit, measured on the run's own cores.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limit {
    /// `memcpy-1GiB`, `crc32c`, `loopback-one-way`, `loopback-ping-pong`, `sendfile`, `pwrite-window` ...
    pub name: String,
    pub files: Option<u64>,
    /// Bytes per operation.
    pub bytes: Option<u64>,
    /// `start`, `middle`, `end`: drift between them is shown.
    pub pass: Option<String>,
    pub value: Option<f64>,
    /// `B/s`, `ns`, `1/s`.
    pub unit: String,
    pub cpu_ns_per_kib: Option<f64>,
}

/// One storage engine at one number of files and one size of block.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EngineCell {
    pub engine: String,
    pub files: u64,
    /// Bytes per append.
    pub block_bytes: u64,
    /// Bytes appended in all.
    pub bytes: Option<u64>,
    /// Until the bytes were taken: in the page cache, or on the device where that is passed by.
    pub bytes_per_s: Option<f64>,
    /// CPU of the process with its kernel workers, until then.
    pub cpu_s_per_gb: Option<f64>,
    /// How long one append kept its caller.
    pub append_ns_p50: Option<u64>,
    pub append_ns_p99: Option<u64>,
    pub append_ns_max: Option<u64>,
    /// The same work with one flush of everything at its end.
    pub flushed_bytes_per_s: Option<f64>,
    pub flushed_cpu_s_per_gb: Option<f64>,
    /// In a pass of its own.
    pub syscalls_per_append: Option<f64>,
    /// Why there is no figure.
    pub refused: Option<String>,
}

/// What a cell is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// A point of the sweep.
    #[default]
    Sweep,
    /// The repetition of an earlier cell, to show drift; never drawn as a point of the sweep.
    Anchor,
    /// The null broker at a point of the sweep.
    NullBroker,
}

/// How requests were issued.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loop {
    /// By an absolute schedule: latency counts from the intended time.
    #[default]
    Open,
    /// As fast as answers come: for saturation only.
    Closed,
}

/// One point: one subject, one workload, one set of parameters.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cell {
    pub id: String,
    pub subject: String,
    pub role: Role,
    pub parameters: Parameters,
    pub workload_sha256: Option<String>,
    /// `batch` or `java`.
    pub client_model: Option<String>,
    #[serde(rename = "loop")]
    pub loop_kind: Loop,

    pub records_per_s: Option<f64>,
    /// Keys and values, without framing.
    pub bytes_per_s: Option<f64>,
    pub wire_bytes_per_s: Option<f64>,
    pub requests_per_s: Option<f64>,
    pub consumed_records_per_s: Option<f64>,
    /// By groups that were held back and catch up, all together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub catch_up_records_per_s: Option<f64>,

    pub offered_records_per_s: Option<f64>,
    pub achieved_ratio: Option<f64>,
    /// Null broker rate over subject rate: below 1.2 the client was the limit.
    pub headroom_ratio: Option<f64>,
    pub client_bound: Option<bool>,
    pub failed_first: Option<String>,

    pub produce_response_ns: Percentiles,
    pub produce_service_ns: Percentiles,
    pub schedule_lag_ns: Percentiles,
    pub e2e_response_ns: Percentiles,
    pub e2e_service_ns: Percentiles,
    pub stalls: Vec<Stall>,

    /// CPU of the subject's process tree.
    pub broker_cpu_ns_per_record: Option<f64>,
    /// The two parts of it; tick resolution.
    pub broker_user_cpu_ns_per_record: Option<f64>,
    pub broker_kernel_cpu_ns_per_record: Option<f64>,
    /// Subject plus CPU outside both processes (soft interrupts, kernel write-back).
    pub system_cpu_ns_per_record: Option<f64>,
    pub generator_cpu_ns_per_record: Option<f64>,

    pub syscalls_per_request: Option<f64>,
    pub ring_operations_per_request: Option<f64>,
    pub switches_per_1000_records: Option<f64>,
    pub disk_bytes_per_byte: Option<f64>,

    pub rss_bytes: Option<u64>,
    pub rss_bytes_max: Option<u64>,
    pub pss_bytes: Option<u64>,

    /// As in [`Block`]: the sum over its blocks, and the longest wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub core_wait_ns: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub core_wait_ns_max: Option<u64>,

    pub rate_efficiency: Option<f64>,
    pub rate_efficiency_is_upper_bound: Option<bool>,
    pub cpu_efficiency: Option<f64>,
    /// `discard`, `pwrite`, `pwrite-grow`, `sendfile`, each with `+crc` where it checks.
    pub null_variant: Option<String>,

    pub verification: Verification,
    /// Flags that concern this cell alone; drawn on its point.
    pub flags: Vec<String>,
}

/// The parameters of a cell. Those the pictures need by name are fields; a sweep over anything else puts it
/// into `more`, under the workload file's path for it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Parameters {
    pub topics: Option<u64>,
    pub partitions: Option<u64>,
    pub record_bytes: Option<u64>,
    pub batch_records: Option<u64>,
    pub batch_bytes: Option<u64>,
    pub batches_per_request: Option<u64>,
    pub producers: Option<u64>,
    pub consumers: Option<u64>,
    pub in_flight: Option<u64>,
    /// `all`, `1`, `0`.
    pub acks: Option<String>,
    pub compression: Option<String>,
    /// `constant`, `poisson`, `closed` ...
    pub arrivals: Option<String>,
    pub replicas: Option<u64>,
    pub durability: Option<String>,
    /// `resident`, `fresh`, `as-is`.
    pub memory: Option<String>,
    pub more: Map<String, Value>,
}

/// A distribution in ns. A percentile is `None` when fewer than ten requests lie above it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Percentiles {
    pub p50: Option<u64>,
    pub p90: Option<u64>,
    pub p99: Option<u64>,
    pub p99_9: Option<u64>,
    pub p99_99: Option<u64>,
    pub max: Option<u64>,
    pub mean: Option<f64>,
    /// Requests, not records: all records of a request share its fate.
    pub count: Option<u64>,
}

/// One episode in which requests were slower than p99.9.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Stall {
    pub start_ns: u64,
    pub duration_ns: u64,
    pub requests: u64,
}

/// One timed repetition of a cell.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Block {
    /// `Cell::id`.
    pub cell: String,
    pub pair: Option<u64>,
    /// Place in the run's order, from 0.
    pub position: Option<u64>,
    pub void_reasons: Vec<String>,
    pub warmup_s: Option<f64>,
    /// `resident`, `fresh`, `not-resident`, `as-is`.
    pub memory_state: Option<String>,
    /// The measured window.
    pub start_ns: Option<u64>,
    pub duration_ns: Option<u64>,
    pub page_cache: PageCache,
    pub steal_ratio: Option<f64>,
    pub cpu_pressure_ratio: Option<f64>,
    pub generator_turn_ns_max: Option<u64>,
    /// Time in which a working thread of the subject was ready to run and others had its core, of the thread that lost most;
    /// and the longest single wait of any (`rig::core_wait`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub core_wait_ns: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub core_wait_ns_max: Option<u64>,
    pub series: Vec<Second>,
    pub marks: Vec<Mark>,
    /// The measured window, one histogram per metric.
    pub histograms: Vec<Histogram>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PageCache {
    pub before: CacheState,
    pub after: CacheState,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CacheState {
    pub free_bytes: Option<u64>,
    pub cached_bytes: Option<u64>,
    pub dirty_bytes: Option<u64>,
    pub writeback_bytes: Option<u64>,
    pub growth_probe_bytes_per_s: Option<f64>,
    pub growth_probe_cpu_ns_per_kib: Option<f64>,
}

/// One second of a block, warm-up included.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Second {
    /// Since the run's start.
    pub start_ns: u64,
    /// Usually 10^9; the last one of a window can be shorter.
    pub duration_ns: u64,
    /// `warmup`, `measure`, `drain`.
    pub phase: String,
    pub offered_records_per_s: Option<f64>,
    pub achieved_records_per_s: Option<f64>,
    pub consumed_records_per_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub catch_up_records_per_s: Option<f64>,
    pub response_p50_ns: Option<u64>,
    pub response_p99_ns: Option<u64>,
    pub response_max_ns: Option<u64>,
    /// Records acknowledged and not yet read by the slowest consumer.
    pub backlog_records: Option<u64>,
    /// Cores busy: 1.0 is one core.
    pub broker_cpu_cores: Option<f64>,
    pub generator_cpu_cores: Option<f64>,
    pub rss_bytes: Option<u64>,
    pub steal_ratio: Option<f64>,
    pub dirty_bytes: Option<u64>,
    /// This second's histograms, for the heat map and the interval log. May be empty.
    pub histograms: Vec<Histogram>,
}

/// The kind of a mark: a thread of the subject was ready to run and something else had its core.
pub const CORE_WAIT: &str = "core-wait";

/// Something that happened and may explain the latency beside it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Mark {
    pub at_ns: u64,
    /// `roll`, `retention`, `evict`, `flush`, `gc`, `pause`, `void`, `fault`, or [`CORE_WAIT`].
    pub kind: String,
    pub text: Option<String>,
    /// Of what lasted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_ns: Option<u64>,
}

/// A mergeable distribution: base64 of HdrHistogram's V2 encoding, deflated. Values are ns.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Histogram {
    /// A name from [`METRICS`].
    pub metric: String,
    pub hdr_v2_deflate: String,
}

pub const PRODUCE_RESPONSE: &str = "produce_response_ns";
pub const PRODUCE_SERVICE: &str = "produce_service_ns";
pub const SCHEDULE_LAG: &str = "schedule_lag_ns";
pub const E2E_RESPONSE: &str = "e2e_response_ns";
pub const E2E_SERVICE: &str = "e2e_service_ns";

/// The metrics that have histograms, in the order they are listed everywhere.
pub const METRICS: [&str; 5] = [PRODUCE_RESPONSE, PRODUCE_SERVICE, SCHEDULE_LAG, E2E_RESPONSE, E2E_SERVICE];

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Verification {
    /// `full`, `sampled:1/64`, `none`.
    pub mode: Option<String>,
    pub acked: Option<u64>,
    pub read: Option<u64>,
    pub lost: Option<u64>,
    pub duplicated: Option<u64>,
    pub reordered: Option<u64>,
    pub corrupt: Option<u64>,
    pub wrong_offset: Option<u64>,
    pub unacked_seen: Option<u64>,
    pub first_anomalies: Vec<Anomaly>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Anomaly {
    /// `lost-write`, `duplicate`, `reordered`, `nonmonotonic-poll`, `poll-skip`, `wrong-offset`, `corrupt`, `unseen`.
    pub kind: String,
    pub cell: Option<String>,
    pub topic: Option<String>,
    pub partition: Option<i32>,
    pub offset: Option<i64>,
    pub producer: Option<u64>,
    pub sequence: Option<u64>,
    pub text: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Comparison {
    pub metric: String,
    pub cell: String,
    pub a: Option<String>,
    pub b: Option<String>,
    pub ratio: Option<f64>,
    pub ci_low: Option<f64>,
    pub ci_high: Option<f64>,
    pub pairs: Option<u64>,
    pub voids: Option<u64>,
    pub floor_ratio: Option<f64>,
    pub p_holm: Option<f64>,
    pub claim: Option<String>,
    pub parity: Vec<String>,
    /// Of two subjects; what stands in a row of the verdict table. Empty where one cell stands alone.
    pub versus: Option<Versus>,
}

/// Two subjects side by side: what a [`Comparison`] says beyond its ratio.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Versus {
    /// `split`, `shared`: who had which cores.
    pub view: String,
    /// `default`, `best`, or `floor` for a subject against itself.
    pub pairing: String,
    /// What was done: `1 partition at saturation`.
    pub place: String,
    /// What was measured, in words: `records/s`, `produce p99`.
    pub what: String,
    /// `1/s`, `ns`, `B`.
    pub unit: String,
    pub lower_is_better: bool,
    pub a_value: Option<f64>,
    pub b_value: Option<f64>,
    /// Of the signed-rank test, before the correction.
    pub p: Option<f64>,
    pub outcome: Outcome,
    pub effects: Vec<Effect>,
    pub partitions: Option<u64>,
    pub offered_records_per_s: Option<f64>,
}

/// What a comparison may say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// A is better than B.
    Better,
    Worse,
    NotShown,
    /// No floor, too few pairs, or nothing measured.
    #[default]
    NoClaim,
}

/// One pair.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Effect {
    pub pair: u64,
    /// A over B; `None` where either was not measured.
    pub ratio: Option<f64>,
    pub a_first: bool,
    pub void: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Calibration {
    pub metric: Option<String>,
    pub floor_ratio: Option<f64>,
    pub pairs: Option<u64>,
    pub machine: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tuning {
    pub knobs: Vec<Value>,
    pub trace: Vec<Value>,
    pub front: Vec<Value>,
    pub winner: Option<Value>,
}

/// The last result of the rig's self-tests, for the page's footer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SelfTests {
    pub passed: Option<u64>,
    pub failed: Option<u64>,
    pub at_utc: Option<String>,
    pub git: Option<String>,
}

/// `plan.json`: what was going to run. Written before the first block, so that nothing can be left out later.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Plan {
    pub schema: u32,
    pub run_id: String,
    pub kind: String,
    pub started_at_utc: String,
    pub command: Vec<String>,
    pub seed: u64,
    /// Further seeds by purpose (`order`, `payload`, `arrivals`), when they differ from `seed`.
    pub seeds: BTreeMap<String, u64>,
    pub planned_duration_s: Option<f64>,
    pub cells: Vec<PlannedCell>,
    /// Cell ids in the order their blocks run.
    pub order: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PlannedCell {
    pub id: String,
    pub subject: String,
    pub role: Role,
    #[serde(rename = "loop")]
    pub loop_kind: Loop,
    pub parameters: Parameters,
    pub blocks: u64,
    pub warmup_s: Option<f64>,
    pub duration_s: Option<f64>,
}

/// Why a stored run cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("{path}: {source}", path = .path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{path}: not a run of the rig: {source}", path = .path.display())]
    Json { path: PathBuf, source: serde_json::Error },
    #[error("{path}: schema {found}, but this program reads schema {SCHEMA} only", path = .path.display())]
    Schema { path: PathBuf, found: u64 },
    #[error("{path}: cell {cell}, {metric}: {reason}", path = .path.display())]
    Histogram { path: PathBuf, cell: String, metric: String, reason: String },
}

impl Run {
    /// The text of `run.json`. Equal runs give equal bytes.
    pub fn to_json(&self) -> String {
        to_json(self)
    }

    /// Reads a `run.json`. `path` is named in errors only.
    pub fn from_json(text: &str, path: &Path) -> Result<Run, RunError> {
        #[derive(Deserialize)]
        struct Head {
            schema: u64,
        }
        let json = |source| RunError::Json { path: path.to_owned(), source };
        // The schema is looked at alone and first: a newer file may fail to parse in ways that say nothing.
        let head: Head = serde_json::from_str(text).map_err(json)?;
        if head.schema != u64::from(SCHEMA) {
            return Err(RunError::Schema { path: path.to_owned(), found: head.schema });
        }
        serde_json::from_str(text).map_err(json)
    }

    /// `path` is a run folder or the `run.json` in it.
    pub fn read(path: &Path) -> Result<Run, RunError> {
        let file = if path.is_dir() { path.join("run.json") } else { path.to_owned() };
        let text =
            std::fs::read_to_string(&file).map_err(|source| RunError::Io { path: file.clone(), source })?;
        Run::from_json(&text, &file)
    }

    pub fn cell(&self, id: &str) -> Option<&Cell> {
        self.cells.iter().find(|cell| cell.id == id)
    }

    pub fn subject(&self, name: &str) -> Option<&Subject> {
        self.subjects.iter().find(|subject| subject.name == name)
    }

    pub fn blocks_of<'a>(&'a self, cell: &'a str) -> impl Iterator<Item = &'a Block> {
        self.blocks.iter().filter(move |block| block.cell == cell)
    }

    /// The subjects under test, without null brokers, in the order they were named.
    pub fn tested(&self) -> impl Iterator<Item = &Subject> {
        self.subjects.iter().filter(|subject| !subject.is_null_broker)
    }

    /// The durability class for titles: of the first tested subject; "undeclared" when nobody said.
    pub fn durability_class(&self) -> &str {
        self.tested().find_map(|subject| subject.durability.class.as_deref()).unwrap_or("undeclared")
    }
}

impl Cell {
    /// The five distributions, under their names in [`METRICS`].
    pub fn latencies(&self) -> [(&'static str, Percentiles); 5] {
        [
            (PRODUCE_RESPONSE, self.produce_response_ns),
            (PRODUCE_SERVICE, self.produce_service_ns),
            (SCHEDULE_LAG, self.schedule_lag_ns),
            (E2E_RESPONSE, self.e2e_response_ns),
            (E2E_SERVICE, self.e2e_service_ns),
        ]
    }
}

impl Verification {
    /// Anomalies counted, of any kind. `None` when nothing was verified.
    pub fn anomalies(&self) -> Option<u64> {
        let counts = [self.lost, self.duplicated, self.reordered, self.corrupt, self.wrong_offset];
        counts.iter().any(Option::is_some).then(|| counts.iter().flatten().sum())
    }

    /// The counts of several verifications added up; the mode is the one they share, else the weakest named.
    pub fn add(&mut self, other: &Verification) {
        fn plus(a: &mut Option<u64>, b: Option<u64>) {
            if let Some(b) = b {
                *a = Some(a.unwrap_or(0) + b);
            }
        }
        fn strength(mode: Option<&str>) -> u8 {
            match mode {
                Some("full") => 2,
                Some("none") | None => 0,
                Some(_) => 1,
            }
        }
        if self.mode.is_none() && self.acked.is_none()
            || strength(other.mode.as_deref()) < strength(self.mode.as_deref())
        {
            self.mode = other.mode.clone();
        }
        plus(&mut self.acked, other.acked);
        plus(&mut self.read, other.read);
        plus(&mut self.lost, other.lost);
        plus(&mut self.duplicated, other.duplicated);
        plus(&mut self.reordered, other.reordered);
        plus(&mut self.corrupt, other.corrupt);
        plus(&mut self.wrong_offset, other.wrong_offset);
        plus(&mut self.unacked_seen, other.unacked_seen);
        for anomaly in &other.first_anomalies {
            if self.first_anomalies.len() < 10 {
                self.first_anomalies.push(anomaly.clone());
            }
        }
    }
}

impl Environment {
    /// Sets `fingerprint` from what must be equal before two runs may stand side by side: the machine, the
    /// storage (free space aside) and the system's limits. The binary is what is being compared, so it is out.
    pub fn seal(&mut self) {
        let mut storage = self.storage.clone();
        storage.free_bytes = None;
        let text = to_json(&(&self.machine, &storage, &self.limits));
        self.fingerprint = Some(format!("{:016x}", fnv1a(text.as_bytes())));
    }
}

impl Plan {
    pub fn to_json(&self) -> String {
        to_json(self)
    }
}

fn to_json<T: Serialize>(value: &T) -> String {
    let mut text =
        serde_json::to_string_pretty(value).expect("plain data with text keys always has a JSON form");
    text.push('\n');
    text
}

/// FNV-1a, 64 bits: enough to tell machines apart, and the same on every build.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_measured_is_null_and_not_zero() {
        let text = Run { cells: vec![Cell::default()], ..Run::default() }.to_json();
        let value: Value = serde_json::from_str(&text).expect("valid JSON");
        let cell = &value["cells"][0];
        assert_eq!(cell["records_per_s"], Value::Null);
        assert_eq!(cell["produce_response_ns"]["p99_9"], Value::Null);
        assert_eq!(cell["loop"], "open");
        assert!(cell.as_object().is_some_and(|cell| cell.contains_key("rss_bytes")));
    }

    #[test]
    fn a_figure_that_is_not_a_number_becomes_null() {
        let cell = Cell { records_per_s: Some(f64::NAN), ..Cell::default() };
        let run = Run { cells: vec![cell], ..Run::default() };
        let read = Run::from_json(&run.to_json(), Path::new("run.json")).expect("readable");
        assert_eq!(read.cells[0].records_per_s, None);
    }

    #[test]
    fn another_schema_is_refused_with_both_numbers() {
        let error = Run::from_json(r#"{"schema": 7}"#, Path::new("a/run.json")).expect_err("refused");
        assert_eq!(error.to_string(), "a/run.json: schema 7, but this program reads schema 1 only");
    }

    #[test]
    fn every_float_survives_the_file() {
        let values = [0.1 + 0.2, 1.0 / 3.0, 586_123.456_789_012_3, 5e-324, 1.797_693_134_862_315_7e308];
        for value in values {
            let cell = Cell { records_per_s: Some(value), ..Cell::default() };
            let run = Run { cells: vec![cell], ..Run::default() };
            let read = Run::from_json(&run.to_json(), Path::new("run.json")).expect("readable");
            assert_eq!(read, run);
        }
    }

    #[test]
    fn adding_verifications_keeps_the_weakest_mode() {
        let mut sum = Verification::default();
        sum.add(&Verification {
            mode: Some("full".into()),
            acked: Some(3),
            lost: Some(0),
            ..Default::default()
        });
        sum.add(&Verification { mode: Some("none".into()), acked: Some(4), ..Default::default() });
        assert_eq!((sum.mode.as_deref(), sum.acked, sum.lost), (Some("none"), Some(7), Some(0)));
        assert_eq!(sum.anomalies(), Some(0));
    }

    #[test]
    fn the_fingerprint_ignores_free_space_and_the_binary() {
        let mut a = Environment::default();
        a.machine.kernel = Some("6.12".into());
        let mut b = a.clone();
        b.storage.free_bytes = Some(1);
        b.binary.git = Some("abc".into());
        a.seal();
        b.seal();
        assert_eq!(a.fingerprint, b.fingerprint);
        b.machine.kernel = Some("6.13".into());
        b.seal();
        assert_ne!(a.fingerprint, b.fingerprint);
    }
}
