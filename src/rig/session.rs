//! One run from its folder to its exit code: environment, limits, blocks in order, the sum of it all.
//!
//! In: settings, cells. Out: `run.json` and what is made from it, and the exit code of RIG section 6.3. `bench` is the
//! default job; `sweep` runs any list of cells the same way. What was measured is written down however the run ends.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use super::block::{self, BlockError, Surroundings};
use super::cell::{Collected, Roof, ratio};
use super::interrupt;
use super::limits;
use super::live::Live;
use super::page_cache;
use super::plan::{CellSpec, Sequence, Windows, common_rate};
use super::sampler::Device;
use super::subject::{Durability, Kind, Recipe, Subject, SubjectError};
use crate::load;
use crate::reactor::{pin, process};
use crate::report::figures;
use crate::report::folder::Folder;
use crate::report::run::{self, Cell, Comparison, Role, Run};
use crate::report::table;

/// A cell writes at most this much, and never more than half of the free space.
const CELL_BYTES_MAX: u64 = 8 << 30;
/// Dirty data left before a block begins.
const DIRTY_BYTES_MAX: u64 = 8 << 20;
/// What `bench` may take before its windows shrink.
const BENCH_SECONDS_MAX: f64 = 180.0;

/// Exit codes of the rig. Code 6, a subject that cannot be obtained, comes with `bench compare`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Done,
    SloMissed,
    Usage,
    VerificationFailed,
    NotValid,
    SubjectFailed,
    Interrupted,
}

impl Exit {
    pub fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::SloMissed => 1,
            Exit::Usage => 2,
            Exit::VerificationFailed => 3,
            Exit::NotValid => 4,
            Exit::SubjectFailed => 5,
            Exit::Interrupted => 130,
        }
    }
}

/// Why a run ends without its figures.
#[derive(Debug)]
pub struct Failure {
    pub exit: Exit,
    pub text: String,
}

impl Failure {
    pub fn usage(text: impl Into<String>) -> Failure {
        Failure { exit: Exit::Usage, text: text.into() }
    }

    fn directory(path: &Path, error: &std::io::Error) -> Failure {
        Failure::usage(format!("{}: {error}", path.display()))
    }
}

impl From<SubjectError> for Failure {
    fn from(error: SubjectError) -> Failure {
        let exit = match error {
            SubjectError::Interrupted => Exit::Interrupted,
            SubjectError::Spawn { .. }
            | SubjectError::Io { .. }
            | SubjectError::Ended { .. }
            | SubjectError::Silent { .. }
            | SubjectError::Unknown { .. } => Exit::SubjectFailed,
        };
        Failure { exit, text: error.to_string() }
    }
}

impl From<BlockError> for Failure {
    fn from(error: BlockError) -> Failure {
        let exit = match &error {
            BlockError::Interrupted | BlockError::Subject(SubjectError::Interrupted) => Exit::Interrupted,
            BlockError::Load(load::LoadError::Plan(_)) => Exit::Usage,
            BlockError::Load(load::LoadError::Panic(_)) | BlockError::Directory(_) => Exit::NotValid,
            BlockError::Load(_) | BlockError::Crashed(_) | BlockError::Subject(_) => Exit::SubjectFailed,
        };
        Failure { exit, text: error.to_string() }
    }
}

/// Which cores serve and which ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cores {
    pub broker: Vec<usize>,
    pub load: Vec<usize>,
}

impl Cores {
    /// Half of the usable cores for each side; the broker's first. One core serves both, and the run is flagged.
    pub fn split(usable: &[usize]) -> Cores {
        let half = usable.len() / 2;
        match usable {
            [] => Cores { broker: vec![0], load: vec![0] },
            [one] => Cores { broker: vec![*one], load: vec![*one] },
            _ => Cores { broker: usable[..half].to_vec(), load: usable[half..].to_vec() },
        }
    }

    fn overlap(&self) -> bool {
        self.broker.iter().any(|core| self.load.contains(core))
    }
}

/// Core numbers as `0-3,6`.
pub fn core_list(cores: &[usize]) -> String {
    let mut parts: Vec<(usize, usize)> = Vec::new();
    for core in cores {
        match parts.last_mut() {
            Some((_, last)) if *last + 1 == *core => *last = *core,
            _ => parts.push((*core, *core)),
        }
    }
    let text = |(first, last): &(usize, usize)| {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    };
    parts.iter().map(text).collect::<Vec<_>>().join(",")
}

/// What the command line decided.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `bench`, `run`, `sweep`, `limits`.
    pub kind: &'static str,
    pub command: Vec<String>,
    pub seed: u64,
    pub subject: Kind,
    pub subject_pid: Option<u32>,
    /// `key=value` for a Ringdaw broker.
    pub overrides: Vec<String>,
    pub null_variant: Option<String>,
    pub null_faults: Vec<String>,
    pub cores: Cores,
    pub durability: Durability,
    pub data_parent: PathBuf,
    pub out: PathBuf,
    pub allow_tmpfs: bool,
    pub strict: bool,
    pub short: bool,
    pub windows: Windows,
    pub repeat: u64,
    pub workloads: Vec<run::Workload>,
}

pub struct Session<'a> {
    settings: Settings,
    run: Run,
    /// There once the plan is written.
    folder: Option<Folder>,
    data_directory: PathBuf,
    started: Instant,
    started_ns: u64,
    device: Device,
    position: u64,
    missed_slo: bool,
    unverified: bool,
    /// The subject ended a connection.
    broken: bool,
    /// Cells that are void or client-bound: what `--strict` looks at.
    doubtful: u64,
    live: &'a mut dyn Live,
}

impl<'a> Session<'a> {
    /// Looks at the machine. Nothing is written until the plan is.
    pub fn begin(settings: Settings, live: &'a mut dyn Live) -> Result<Session<'a>, Failure> {
        let environment = super::environment::read(&settings.data_parent);
        if environment.storage.filesystem.as_deref() == Some("tmpfs") && !settings.allow_tmpfs {
            return Err(Failure::usage(format!(
                "{} is on tmpfs, where nothing is written to a disk: choose --data-dir, or say --allow-tmpfs",
                settings.data_parent.display()
            )));
        }
        let mut run = Run {
            kind: settings.kind.to_owned(),
            command: settings.command.clone(),
            seed: settings.seed,
            workloads: settings.workloads.clone(),
            ..Run::default()
        };
        flags_of_the_machine(&mut run, &environment, &settings);
        run.environment = environment;
        // The main thread samples; it must not do so on the broker's core. A core that is neither's is best.
        let usable = pin::usable_cores();
        let spare: Vec<usize> = usable
            .into_iter()
            .filter(|core| !settings.cores.broker.contains(core) && !settings.cores.load.contains(core))
            .collect();
        let own = if spare.is_empty() { &settings.cores.load } else { &spare };
        if process::pin_current_thread(own).is_err() {
            run.validity_flags.push("not pinned: this process may not choose its cores".to_owned());
        }
        Ok(Session {
            device: Device::under(&settings.data_parent),
            data_directory: settings.data_parent.clone(),
            settings,
            run,
            folder: None,
            started: Instant::now(),
            started_ns: process::monotonic_ns(),
            position: 0,
            missed_slo: false,
            unverified: false,
            broken: false,
            doubtful: 0,
            live,
        })
    }

    fn flag(&mut self, text: impl Into<String>) {
        let text = text.into();
        if !self.run.validity_flags.contains(&text) {
            self.run.validity_flags.push(text);
        }
    }

    /// Physical limits on the workload's cores.
    pub fn limits(&mut self, cells: &[CellSpec], pass: &'static str, budget: Duration) {
        if budget.is_zero() || interrupt::requested() {
            return;
        }
        let shape = cells.first().map(|cell| cell.load.producers.clone()).unwrap_or_default();
        let measure = limits::Measure {
            broker_cores: self.settings.cores.broker.clone(),
            load_cores: self.settings.cores.load.clone(),
            batch_bytes: (shape.batch_records * shape.record_bytes).max(4096) as usize,
            connections: shape.connections.clamp(1, 16) as usize,
            files: cells.iter().map(|cell| u64::from(cell.load.topic.partitions).min(4096)).collect(),
            directory: self.data_directory.clone(),
            budget,
            pass,
        };
        // For those who want a second opinion on the disk rows.
        let jobs = self.opened().path().join("config").join("disk.fio");
        if let Err(error) = fs::write(&jobs, limits::fio_jobs(&measure)) {
            self.flag(format!("{} could not be written: {error}", jobs.display()));
        }
        let live = &mut self.live;
        let found = limits::measure(&measure, &mut |what| live.step(&format!("limits: {what}")));
        self.run.limits.extend(found);
    }

    fn recipe(&self, kind: Kind, name: &str) -> Recipe {
        Recipe {
            kind,
            name: name.to_owned(),
            cores: self.settings.cores.broker.clone(),
            durability: self.settings.durability,
            data_directory: self.data_directory.join(format!("broker-{}", self.position)),
            overrides: self.settings.overrides.clone(),
            log_file: self.opened().log(name),
            pid: self.settings.subject_pid,
            faults: self.settings.null_faults.clone(),
        }
    }

    fn start(&mut self, kind: &Kind, name: &str) -> Result<Subject, Failure> {
        let recipe = self.recipe(kind.clone(), name);
        let is_null_broker = matches!(kind, Kind::NullBroker(_));
        let subject = Subject::start(recipe)?;
        if !self.run.subjects.iter().any(|known| known.name == name) {
            self.run.subjects.push(run::Subject {
                name: name.to_owned(),
                version: matches!(kind, Kind::Ringdaw | Kind::NullBroker(_))
                    .then(|| env!("CARGO_PKG_VERSION").to_owned()),
                command: Some(subject.command().to_owned()),
                config: subject.config().map(str::to_owned),
                config_sha256: subject.config().map(super::environment::sha256),
                metadata_mode: matches!(kind, Kind::Ringdaw).then(|| "embedded".to_owned()),
                jvm_flags: None,
                cores: Some(core_list(&self.settings.cores.broker)),
                durability: run::Durability {
                    // The null broker flushes before every answer or never.
                    class: Some(match (is_null_broker, self.settings.durability) {
                        (true, Durability::IntervalMs(_)) => Durability::PageCache.to_string(),
                        (_, class) => class.to_string(),
                    }),
                    ..run::Durability::default()
                },
                ready_ns: subject.ready_ns(),
                is_null_broker,
            });
        }
        if matches!(kind, Kind::Address(_)) {
            self.flag("not-isolated: the subject runs on, with whatever else it does");
        }
        Ok(subject)
    }

    /// One block of a cell on a fresh process and directory, added to what the cell has.
    fn block(&mut self, kind: &Kind, collected: &mut Collected) -> Result<(), Failure> {
        if interrupt::requested() {
            return Err(Failure { exit: Exit::Interrupted, text: "interrupted".to_owned() });
        }
        page_cache::settle(DIRTY_BYTES_MAX, Duration::from_millis(1500));
        let mut cell = collected.spec().clone();
        let free = super::environment::free_bytes(&self.data_directory).unwrap_or(u64::MAX);
        let bytes_max = CELL_BYTES_MAX.min(free / 2);
        cell.load.bytes_max = Some(cell.load.bytes_max.map_or(bytes_max, |own| own.min(bytes_max)));
        let name = cell.subject.clone();
        let mut subject = self.start(kind, &name)?;
        let mut around = Surroundings {
            started_ns: self.started_ns,
            data_directory: self.data_directory.clone(),
            device: self.device.clone(),
            probe_bytes: if self.settings.short { 8 << 20 } else { 64 << 20 },
            warm_up_bytes: if self.settings.short { 64 << 20 } else { page_cache::WARM_UP_BYTES },
            live: self.live,
        };
        let ran = block::run(&mut subject, &cell, self.position, &mut around);
        self.position += 1;
        if let Some(text) = subject.stop() {
            self.flag(text);
        }
        let ran = ran?;
        if let (Some(flushes), Some(entry)) =
            (ran.window.device.flushes, self.run.subjects.iter_mut().find(|known| known.name == name))
        {
            entry.durability.device_flushes = Some(entry.durability.device_flushes.unwrap_or(0) + flushes);
        }
        collected.add(&ran, self.started_ns);
        self.run.verification.add(&super::cell::verification(
            &ran.outcome.verification,
            &cell.id,
            &ran.topic,
        ));
        self.run.blocks.push(ran.block);
        self.save()
    }

    /// Runs a cell's blocks and writes the run down; a failed block keeps the blocks before it.
    fn blocks(&mut self, kind: &Kind, collected: &mut Collected) -> Result<(), Failure> {
        for _ in 0..collected.spec().blocks {
            self.block(kind, collected)?;
        }
        Ok(())
    }

    fn keep(&mut self, collected: &Collected, cell: Cell) {
        self.unverified |= !collected.passed();
        self.broken |= collected.broken();
        self.missed_slo |= cell.flags.iter().any(|flag| flag.starts_with("SLO missed"));
        if cell.role == Role::Sweep && (collected.is_void() || cell.client_bound == Some(true)) {
            self.doubtful += 1;
        }
        self.interval(collected, &cell);
        self.live.note(&summary(&cell));
        self.run.cells.push(cell);
    }

    /// With several blocks, the 95 % interval of the rate: Student's t over blocks.
    fn interval(&mut self, collected: &Collected, cell: &Cell) {
        let rates = collected.rates();
        let Some((low, high)) = interval95(&rates) else { return };
        let mean = rates.iter().sum::<f64>() / rates.len() as f64;
        self.run.comparisons.push(Comparison {
            metric: "records_per_s".to_owned(),
            cell: cell.id.clone(),
            a: Some(cell.subject.clone()),
            ci_low: Some(low),
            ci_high: Some(high),
            pairs: Some(rates.len() as u64),
            claim: Some(format!(
                "{}: {} records/s [{}, {}], {} blocks",
                cell.id,
                figures::si(mean),
                figures::si(low),
                figures::si(high),
                rates.len()
            )),
            ..Comparison::default()
        });
    }

    /// Makes the run folder with `plan.json`, and the data directory. Before the first block.
    pub fn open(&mut self, cells: &[&CellSpec], order: &[String], seconds: f64) -> Result<(), Failure> {
        let mut plan = run::Plan {
            kind: self.run.kind.clone(),
            command: self.run.command.clone(),
            seed: self.run.seed,
            planned_duration_s: Some(seconds),
            cells: cells.iter().map(|cell| cell.planned()).collect(),
            order: order.to_vec(),
            ..run::Plan::default()
        };
        let folder = Folder::create(&self.settings.out, &mut plan, SystemTime::now())
            .map_err(|error| Failure::usage(error.to_string()))?;
        self.run.run_id = plan.run_id;
        self.run.started_at_utc = plan.started_at_utc;
        self.data_directory = self.settings.data_parent.join(&self.run.run_id);
        fs::create_dir_all(&self.data_directory).map_err(|e| Failure::directory(&self.data_directory, &e))?;
        self.folder = Some(folder);
        self.live.plan(order.len(), seconds);
        self.save()
    }

    fn opened(&self) -> &Folder {
        self.folder.as_ref().expect("the plan is written before anything runs")
    }

    /// Writes down what there is, so that an interruption loses one block at most.
    fn save(&self) -> Result<(), Failure> {
        self.opened()
            .save(&self.run)
            .map_err(|error| Failure { exit: Exit::NotValid, text: error.to_string() })
    }

    /// The default job: null broker, saturation, latency at one rate, counts, the anchor.
    pub fn bench(&mut self, base: &CellSpec, partitions: &[u32], rate: Option<f64>) -> Result<(), Failure> {
        let seed = self.settings.seed;
        let mut windows = self.settings.windows;
        let variant = self.settings.null_variant.clone();
        let subject = self.settings.subject.clone();
        let of = |role, prefix: &str, subject: &str, count: u32| {
            let mut cell = base.clone();
            cell.role = role;
            cell.subject = subject.to_owned();
            cell.id = format!("{prefix}-p{count}");
            cell.load.topic.partitions = count;
            cell
        };
        let mut roofs = Vec::new();
        let (mut saturation, mut latency) = (Vec::new(), Vec::new());
        for count in partitions {
            if variant.is_some() {
                let mut cell = of(Role::NullBroker, "null", "null-broker", *count);
                cell.blocks = 1;
                (cell.load.warmup, cell.load.duration) = (windows.null_warmup, windows.null);
                cell.load.producers.arrivals = load::Arrivals::Closed;
                roofs.push(cell);
            }
            let mut cell = of(Role::Sweep, "saturate", &base.subject, *count);
            (cell.load.warmup, cell.load.duration) = (windows.saturation_warmup, windows.saturation);
            cell.load.producers.arrivals = load::Arrivals::Closed;
            saturation.push(cell);
            let mut cell = of(Role::Sweep, "at-rate", &base.subject, *count);
            (cell.load.warmup, cell.load.duration) = (windows.latency_warmup, windows.latency);
            // The rate is known after saturation; until then any open loop says what the cell is.
            cell.load.producers.arrivals = load::Arrivals::Constant { records_per_s: rate.unwrap_or(1.0) };
            latency.push(cell);
        }
        Sequence::new(seed, "null order").shuffle(&mut roofs);
        Sequence::new(seed, "saturation order").shuffle(&mut saturation);
        Sequence::new(seed, "latency order").shuffle(&mut latency);
        let mut anchor = saturation[0].clone();
        anchor.role = Role::Anchor;
        anchor.id = format!("anchor-p{}", anchor.load.topic.partitions);
        anchor.blocks = 1;

        let all: Vec<&CellSpec> = roofs.iter().chain(&saturation).chain(&latency).chain([&anchor]).collect();
        let order: Vec<String> =
            all.iter().flat_map(|cell| (0..cell.blocks).map(|_| cell.id.clone())).collect();
        let seconds = all.iter().map(|cell| cell.duration_s()).sum::<f64>()
            + (windows.limits_start + windows.limits_end).as_secs_f64()
            + latency.len() as f64 * (windows.counting.as_secs_f64() + 0.6)
            + 3.0;
        self.open(&all, &order, seconds)?;
        self.limits(&saturation, "start", windows.limits_start);

        let mut roofs_seen: Vec<Roof> = Vec::new();
        if let Some(variant) = &variant {
            for cell in &roofs {
                let mut collected = Collected::new(cell, self.settings.cores.broker.len());
                self.blocks(&Kind::NullBroker(variant.clone()), &mut collected)?;
                let roof = collected.as_roof(variant);
                roofs_seen.push(roof.clone());
                self.keep(&collected, roof.cell);
                self.run.cells.extend(roof.readback);
            }
        }
        let roof = |partitions: u32| {
            roofs_seen.iter().find(|roof| roof.cell.parameters.partitions == Some(u64::from(partitions)))
        };
        let mut rates = Vec::new();
        for cell in &saturation {
            let mut collected = Collected::new(cell, self.settings.cores.broker.len());
            self.blocks(&subject, &mut collected)?;
            let cell = collected.against(roof(cell.load.topic.partitions));
            rates.extend(cell.records_per_s);
            self.keep(&collected, cell);
        }
        let rate = rate.or_else(|| common_rate(rates.iter().copied()));
        let Some(rate) = rate else {
            self.flag("no rate: nothing was acknowledged at saturation");
            return Ok(());
        };
        // A disk that took longer than planned leaves less time for the rest.
        let left = BENCH_SECONDS_MAX - self.started.elapsed().as_secs_f64();
        let needed = latency.iter().map(CellSpec::duration_s).sum::<f64>() + anchor.duration_s() + 8.0;
        if left < needed && self.settings.kind == "bench" && self.settings.repeat == 1 {
            let share = (left / needed).clamp(0.25, 1.0);
            windows.latency = windows.latency.mul_f64(share);
            windows.saturation = windows.saturation.mul_f64(share);
            anchor.load.duration = windows.saturation;
            self.flag("short: windows were cut to stay within three minutes");
        }
        for cell in &mut latency {
            cell.load.producers.arrivals = load::Arrivals::Constant { records_per_s: rate };
            cell.load.duration = windows.latency.min(cell.load.duration);
        }
        let mut open = Vec::new();
        let mut result = Ok(());
        for cell in &latency {
            let mut collected = Collected::new(cell, self.settings.cores.broker.len());
            result = self.blocks(&subject, &mut collected);
            if result.is_err() {
                break;
            }
            open.push(collected);
        }
        for collected in &mut open {
            if result.is_ok() {
                result = self.counting_pass(&subject, collected, windows.counting);
            }
        }
        // What was measured is kept, however the rest went.
        for collected in &open {
            let cell = collected.against(roof(collected.spec().load.topic.partitions));
            self.keep(collected, cell);
        }
        result?;
        let mut collected = Collected::new(&anchor, self.settings.cores.broker.len());
        self.blocks(&subject, &mut collected)?;
        let cell = collected.against(roof(anchor.load.topic.partitions));
        self.keep(&collected, cell);
        self.limits(&saturation, "end", windows.limits_end);
        Ok(())
    }

    /// Runs each cell once more, reads its topic back from the start and audits it; with `crash`, after the broker was
    /// killed at that time of the window and started again on the same directory.
    pub fn verify(&mut self, cells: &[CellSpec], crash: Option<Duration>) -> Result<(), Failure> {
        let all: Vec<&CellSpec> = cells.iter().collect();
        let order: Vec<String> = cells.iter().map(|cell| cell.id.clone()).collect();
        self.open(&all, &order, all.iter().map(|cell| cell.duration_s() + 1.0).sum())?;
        let kind = self.settings.subject.clone();
        if crash.is_some() && matches!(kind, Kind::Address(_)) {
            return Err(Failure::usage("--crash needs a broker that the rig starts itself"));
        }
        for cell in cells {
            let mut subject = self.start(&kind, &cell.subject)?;
            let audited = block::audit(&mut subject, cell, self.position, crash, self.live);
            self.position += 1;
            if let Some(text) = subject.stop() {
                self.flag(text);
            }
            let audited = audited?;
            let verification = super::cell::verification(&audited.verification, &cell.id, &audited.topic);
            self.unverified |= !audited.verification.passed();
            self.live.note(&format!(
                "{:14} {:11} {} acknowledged in the window, {} read back{}: {}",
                cell.id,
                cell.subject,
                figures::count(audited.acked_records),
                figures::count(audited.verification.read),
                if crash.is_some() { " after kill -9 and a restart" } else { "" },
                if audited.verification.passed() { "verified" } else { "FAIL" },
            ));
            self.run.verification.add(&verification);
            self.run.cells.push(Cell {
                id: cell.id.clone(),
                subject: cell.subject.clone(),
                parameters: cell.parameters(),
                loop_kind: cell.loop_kind(),
                workload_sha256: cell.workload_sha256.clone(),
                client_model: Some("batch".to_owned()),
                verification,
                ..Cell::default()
            });
            self.save()?;
        }
        Ok(())
    }

    /// The machine alone: limits twice, and between them every variant of the null broker.
    pub fn limits_only(&mut self, cells: &[CellSpec]) -> Result<(), Failure> {
        let windows = self.settings.windows;
        let mut roofs = Vec::new();
        if let (Some(_), Some(cell)) = (&self.settings.null_variant, cells.first()) {
            for variant in ["discard", "discard+crc", "pwrite", "pwrite+crc", "pwrite-grow", "sendfile"] {
                let mut roof = cell.clone();
                roof.role = Role::NullBroker;
                roof.subject = format!("null-broker {variant}");
                roof.id = format!("null-{variant}");
                roof.blocks = 1;
                (roof.load.warmup, roof.load.duration) = (windows.null_warmup, windows.null);
                roof.load.producers.arrivals = load::Arrivals::Closed;
                roof.faults.clear();
                roof.slo.clear();
                if variant != "sendfile" {
                    // Only `sendfile` keeps what it is given, so only there can anything be read back.
                    roof.load.consumers.connections = 0;
                    roof.load.verify = load::VerifyMode::None;
                }
                roofs.push((variant, roof));
            }
        }
        let order: Vec<String> = roofs.iter().map(|(_, roof)| roof.id.clone()).collect();
        let all: Vec<&CellSpec> = roofs.iter().map(|(_, roof)| roof).collect();
        let seconds = all.iter().map(|cell| cell.duration_s()).sum::<f64>()
            + (windows.limits_start + windows.limits_end).as_secs_f64();
        self.open(&all, &order, seconds)?;
        self.limits(cells, "start", windows.limits_start);
        for (variant, roof) in &roofs {
            let mut collected = Collected::new(roof, self.settings.cores.broker.len());
            self.blocks(&Kind::NullBroker((*variant).to_owned()), &mut collected)?;
            let cell = collected.as_roof(variant).cell;
            self.keep(&collected, cell);
        }
        self.limits(cells, "end", windows.limits_end);
        Ok(())
    }

    /// System calls and ring operations of a cell, in a short run of its own.
    fn counting_pass(
        &mut self,
        kind: &Kind,
        collected: &mut Collected,
        window: Duration,
    ) -> Result<(), Failure> {
        if window.is_zero() {
            return Ok(());
        }
        self.live.step(&format!("counting system calls: {}", collected.spec().id));
        let name = collected.spec().subject.clone();
        let mut subject = self.start(kind, &name)?;
        if subject.pids().is_empty() {
            self.flag("system calls not counted: the subject's process is not known");
            return Ok(());
        }
        let counted = block::count(&mut subject, collected.spec(), self.position, window);
        self.position += 1;
        subject.stop();
        let counted = counted?;
        match counted.counts {
            Ok(counts) => {
                let counts_of = &counted.outcome.counts;
                collected.count(counts, counts_of.acked_requests + counts_of.fetches);
                if let (Some(fsyncs), Some(entry)) =
                    (counts.fsyncs, self.run.subjects.iter_mut().find(|subject| subject.name == name))
                {
                    entry.durability.fsyncs = Some(entry.durability.fsyncs.unwrap_or(0) + fsyncs);
                }
            }
            Err(reason) => self.flag(format!("system calls not counted: {reason}")),
        }
        Ok(())
    }

    /// Any list of cells, each with a null broker at its shape, in seeded order with an anchor every so often.
    pub fn sweep(
        &mut self,
        mut cells: Vec<CellSpec>,
        random: bool,
        anchor_every: usize,
    ) -> Result<(), Failure> {
        let mut windows = self.settings.windows;
        let variant = self.settings.null_variant.clone();
        let subject = self.settings.subject.clone();
        // A short run does not spend longer on the machine than on its subject.
        let cells_s = cells.iter().map(CellSpec::duration_s).sum::<f64>();
        windows.limits_start = windows.limits_start.min(Duration::from_secs_f64(0.3 * cells_s));
        windows.limits_end = windows.limits_end.min(Duration::from_secs_f64(0.15 * cells_s));
        if random {
            Sequence::new(self.settings.seed, "cell order").shuffle(&mut cells);
        }
        let mut roofs: Vec<CellSpec> = Vec::new();
        if variant.is_some() {
            for cell in &cells {
                let mut roof = cell.clone();
                roof.id = format!("null-{}", cell.id);
                roof.role = Role::NullBroker;
                roof.subject = "null-broker".to_owned();
                roof.blocks = 1;
                (roof.load.warmup, roof.load.duration) = (windows.null_warmup, windows.null);
                roof.load.producers.arrivals = load::Arrivals::Closed;
                roof.faults.clear();
                roof.slo.clear();
                if variant.as_deref().is_some_and(|variant| variant.starts_with("discard")) {
                    // What is dropped cannot be read, neither during the window nor after it.
                    roof.load.consumers.connections = 0;
                    roof.load.verify = load::VerifyMode::None;
                }
                roofs.push(roof);
            }
        }
        let mut steps: Vec<CellSpec> = Vec::new();
        let mut anchors = 0;
        for (index, cell) in cells.iter().enumerate() {
            steps.push(cell.clone());
            if anchor_every > 0 && (index + 1) % anchor_every == 0 && cells.len() > 1 {
                anchors += 1;
                let mut anchor = cells[0].clone();
                anchor.role = Role::Anchor;
                anchor.id = format!("anchor-{anchors}-{}", anchor.id);
                anchor.blocks = 1;
                steps.push(anchor);
            }
        }
        let all: Vec<&CellSpec> = roofs.iter().chain(&steps).collect();
        let order: Vec<String> =
            all.iter().flat_map(|cell| (0..cell.blocks).map(|_| cell.id.clone())).collect();
        let seconds = all.iter().map(|cell| cell.duration_s()).sum::<f64>()
            + (windows.limits_start + windows.limits_end).as_secs_f64()
            + steps.len() as f64 * windows.counting.as_secs_f64();
        self.open(&all, &order, seconds)?;
        self.limits(&cells, "start", windows.limits_start);
        let mut roofs_seen: Vec<Roof> = Vec::new();
        if let Some(variant) = &variant {
            for cell in &roofs {
                let mut collected = Collected::new(cell, self.settings.cores.broker.len());
                self.blocks(&Kind::NullBroker(variant.clone()), &mut collected)?;
                let roof = collected.as_roof(variant);
                roofs_seen.push(roof.clone());
                self.keep(&collected, roof.cell);
                self.run.cells.extend(roof.readback);
            }
        }
        for cell in &steps {
            let mut collected = Collected::new(cell, self.settings.cores.broker.len());
            self.blocks(&subject, &mut collected)?;
            if cell.role == Role::Sweep {
                self.counting_pass(&subject, &mut collected, windows.counting)?;
            }
            let original = cell.id.strip_prefix("anchor-").and_then(|rest| Some(rest.split_once('-')?.1));
            let id = format!("null-{}", original.unwrap_or(&cell.id));
            let roof = roofs_seen.iter().find(|roof| roof.cell.id == id);
            let cell = collected.against(roof);
            self.keep(&collected, cell);
            if let Some(mut cell) = collected.readback() {
                if let Some(roof) = roof.and_then(|roof| roof.readback.as_ref()) {
                    cell.null_variant = roof.null_variant.clone();
                    cell.rate_efficiency = ratio(cell.records_per_s, roof.records_per_s);
                    cell.cpu_efficiency = ratio(roof.broker_cpu_ns_per_record, cell.broker_cpu_ns_per_record);
                }
                self.live.note(&summary(&cell));
                self.run.cells.push(cell);
            }
        }
        self.limits(&cells, "end", windows.limits_end);
        Ok(())
    }

    /// Ends the run: verdicts, exit code, all files. The table is for stdout.
    pub fn end(mut self, result: Result<(), Failure>) -> Result<(String, Exit), Failure> {
        let failure = result.err();
        let Some(folder) = self.folder.take() else {
            self.live.end();
            return match failure {
                Some(failure) => Err(failure),
                None => Ok((String::new(), Exit::Done)),
            };
        };
        if let Some(failure) = &failure {
            let verdict = match failure.exit {
                Exit::Interrupted => "INTERRUPTED: only the cells that had finished are here".to_owned(),
                Exit::Done
                | Exit::SloMissed
                | Exit::Usage
                | Exit::VerificationFailed
                | Exit::NotValid
                | Exit::SubjectFailed => format!("the run ended early: {}", failure.text),
            };
            self.run.verdicts.push(verdict);
        }
        let exit = self.exit(failure.as_ref());
        self.verdicts();
        self.run.exit_code = Some(i32::from(exit.code()));
        self.run.finished_at_utc = Some(figures::utc(SystemTime::now()));
        self.run.duration_s = Some(self.started.elapsed().as_secs_f64());
        self.live.step("writing the report");
        if let Err(error) = fs::remove_dir_all(&self.data_directory) {
            self.flag(format!("{} could not be removed: {error}", self.data_directory.display()));
        }
        // The parent goes too if it is empty: it was made for this run, or nobody will miss it.
        let _ = fs::remove_dir(&self.settings.data_parent);
        let written = folder.finish(&self.run);
        self.live.end();
        written.map_err(|error| Failure { exit: Exit::NotValid, text: error.to_string() })?;
        Ok((table::terminal(&self.run, Some(&folder.page())), exit))
    }

    /// 3 before 5 before 4 before 1; an interruption says nothing about the rest.
    fn exit(&self, failure: Option<&Failure>) -> Exit {
        if self.unverified {
            return Exit::VerificationFailed;
        }
        match failure.map(|failure| failure.exit) {
            Some(exit) => exit,
            None if self.broken => Exit::SubjectFailed,
            None if self.settings.strict && self.doubtful > 0 => Exit::NotValid,
            None if self.missed_slo => Exit::SloMissed,
            None => Exit::Done,
        }
    }

    fn verdicts(&mut self) {
        if self.unverified {
            let first = self.run.verification.first_anomalies.first().map(anomaly_text).unwrap_or_default();
            self.run.verdicts.insert(0, format!("FAIL: verification found anomalies; the first: {first}"));
        }
        let claims: Vec<String> =
            self.run.comparisons.iter().filter_map(|comparison| comparison.claim.clone()).collect();
        self.run.verdicts.extend(claims);
        let missed = self.run.cells.iter().flat_map(|cell| {
            let missed = cell.flags.iter().filter(|flag| flag.starts_with("SLO missed"));
            missed.map(|flag| format!("{}: {flag}", cell.id))
        });
        let missed: Vec<String> = missed.collect();
        self.run.verdicts.extend(missed);
        let bound =
            self.run.cells.iter().filter(|c| c.client_bound == Some(true) && c.role == Role::Sweep).count();
        if bound > 0 {
            self.flag(format!(
                "client-bound: in {bound} cells the generator was the limit, so rates read \">=\""
            ));
        }
    }
}

fn anomaly_text(anomaly: &run::Anomaly) -> String {
    let field =
        |name: &str, value: Option<String>| value.map(|value| format!(" {name} {value}")).unwrap_or_default();
    format!(
        "{} in {}:{}{}{}{}{}",
        anomaly.kind,
        anomaly.cell.as_deref().unwrap_or("?"),
        field("partition", anomaly.partition.map(|n| n.to_string())),
        field("offset", anomaly.offset.map(|n| n.to_string())),
        field("producer", anomaly.producer.map(|n| n.to_string())),
        field("sequence", anomaly.sequence.map(|n| n.to_string())),
        anomaly.text.as_ref().map(|text| format!(" ({text})")).unwrap_or_default(),
    )
}

fn flags_of_the_machine(run: &mut Run, environment: &run::Environment, settings: &Settings) {
    let mut flag = |text: String| run.validity_flags.push(text);
    if environment.binary.profile.as_deref() == Some("debug") {
        flag("debug-build: the figures say nothing about a release build".to_owned());
    }
    if settings.short {
        flag("short: windows too small to quote".to_owned());
    }
    if settings.cores.overlap() {
        flag("shared-core: broker and generator take time from each other".to_owned());
    }
    if environment.storage.filesystem.as_deref() == Some("tmpfs") {
        flag("tmpfs: nothing is written to a disk".to_owned());
    }
    if environment.machine.pmu == Some(false) {
        flag("no PMU: cycles and cache misses are not measured".to_owned());
    }
}

/// One line for the screen when a cell is done.
fn summary(cell: &Cell) -> String {
    let rate =
        cell.records_per_s.map_or("no records".to_owned(), |rate| format!("{} records/s", figures::si(rate)));
    let bytes = cell.bytes_per_s.map(|b| format!(", {}", figures::bytes_per_s(b))).unwrap_or_default();
    let cpu = cell.broker_cpu_ns_per_record.map(|ns| format!(", {ns:.0} ns CPU/record")).unwrap_or_default();
    let percentiles = match cell.loop_kind {
        run::Loop::Open => cell.produce_response_ns,
        run::Loop::Closed => cell.produce_service_ns,
    };
    let p99 = percentiles.p99.map(|ns| format!(", p99 {} ms", figures::ms(ns as f64))).unwrap_or_default();
    let flags = if cell.flags.is_empty() { String::new() } else { format!("  ({})", cell.flags.join("; ")) };
    format!("{:14} {:11} {rate}{bytes}{cpu}{p99}{flags}", cell.id, cell.subject)
}

/// Mean plus and minus Student's t, 95 %; needs two blocks.
fn interval95(values: &[f64]) -> Option<(f64, f64)> {
    const T: [f64; 30] = [
        12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145,
        2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048,
        2.045, 2.042,
    ];
    let n = values.len();
    if n < 2 {
        return None;
    }
    let mean = values.iter().sum::<f64>() / n as f64;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1) as f64;
    let t = T.get(n - 2).copied().unwrap_or(1.96);
    let half = t * (variance / n as f64).sqrt();
    Some((mean - half, mean + half))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_cores_serve_and_ask_apart_and_one_does_both() {
        assert_eq!(Cores::split(&[0, 1]), Cores { broker: vec![0], load: vec![1] });
        assert!(Cores::split(&[3]).overlap());
        assert_eq!(Cores::split(&[0, 1, 2, 3, 4]), Cores { broker: vec![0, 1], load: vec![2, 3, 4] });
    }

    #[test]
    fn a_core_list_is_written_in_ranges() {
        assert_eq!(core_list(&[0, 1, 2, 6]), "0-2,6");
        assert_eq!(core_list(&[]), "");
    }

    #[test]
    fn an_interval_needs_two_blocks_and_covers_their_mean() {
        assert_eq!(interval95(&[1.0]), None);
        let (low, high) = interval95(&[9.0, 10.0, 11.0]).unwrap();
        assert!(low < 10.0 && high > 10.0 && (high - 10.0 - 2.484).abs() < 0.01, "{low} {high}");
    }
}
