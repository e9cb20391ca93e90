//! One run from its folder to its exit code: environment, limits, blocks in order, the sum of it all.
//!
//! In: settings, cells. Out: `run.json` and what is made from it, and the exit code of RIG section 6.3. What was measured
//! is written down however the run ends. The jobs are in the files beside this one: `bench` is the default one, `sweep`
//! runs any list of cells, `verify` reads back, `compare` puts two subjects side by side.

mod bench;
mod calibrate;
mod compare;
mod engines;
mod rate;
mod sweep;
mod verdict;
mod verify;

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use super::block::{self, Surroundings};
use super::cell::{Collected, Roof};
use super::client::Client;
use super::cores::Cores;
use super::durability::{Durability, Seen};
use super::exit::{Exit, Failure};
use super::interrupt;
use super::kept::{self, Kept};
use super::limits;
use super::live::Live;
use super::page_cache;
use super::plan::{CellSpec, Windows};
use super::sampler::Device;
use super::stock_client::StockClient;
use super::subject::{Kind, Recipe, Subject};
use crate::reactor::{pin, process};
use crate::report::figures;
use crate::report::folder::Folder;
use crate::report::run::{self, Cell, Role, Run};
use crate::report::table;

/// A cell writes at most this much, and never more than half of the free space.
const CELL_BYTES_MAX: u64 = 8 << 30;
/// Dirty data left before a block begins.
const DIRTY_BYTES_MAX: u64 = 8 << 20;

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
    /// Where the rig's tests of itself wrote their result.
    pub self_tests: Option<PathBuf>,
    /// A stock client that writes to the first cell's shape as well.
    pub client: Option<StockClient>,
    /// The first cell once more, under perf.
    pub profile: bool,
    /// Topics and data stay after the run, with what must be in them; the subject as it was written.
    pub keep: Option<String>,
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
    /// Flushes did not bear the durability class out.
    undurable: bool,
    /// What was asked has no answer: nothing held, the generator was the limit, or too many blocks were void.
    unanswered: bool,
    /// Cells that are void or client-bound: what `--strict` looks at.
    doubtful: u64,
    /// CPU of metadata services beside their brokers.
    companion_cpu_ns: u64,
    kept: Vec<kept::Topic>,
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
        verdict::flags_of_the_machine(&mut run, &environment, &settings);
        run.environment = environment;
        run.self_tests = settings.self_tests.as_deref().and_then(super::self_tests::read);
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
            undurable: false,
            unanswered: false,
            doubtful: 0,
            companion_cpu_ns: 0,
            kept: Vec::new(),
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
        let subject = Subject::start(recipe)?;
        if !self.run.subjects.iter().any(|known| known.name == name) {
            self.run.subjects.push(subject.entry());
        }
        if matches!(kind, Kind::Address(_)) {
            self.flag("not-isolated: the subject runs on, with whatever else it does");
        }
        Ok(subject)
    }

    /// How long a block waits for what was written before it. What a short run shows is not to be quoted.
    fn patience(&self) -> Duration {
        Duration::from_millis(if self.settings.short { 200 } else { 1500 })
    }

    /// One block of a cell on a fresh process and directory, added to what the cell has.
    fn block(&mut self, kind: &Kind, collected: &mut Collected) -> Result<(), Failure> {
        if interrupt::requested() {
            return Err(Failure { exit: Exit::Interrupted, text: "interrupted".to_owned() });
        }
        page_cache::settle(DIRTY_BYTES_MAX, self.patience());
        let mut cell = collected.spec().clone();
        let free = super::environment::free_bytes(&self.data_directory).unwrap_or(u64::MAX);
        let bytes_max = CELL_BYTES_MAX.min(free / 2);
        cell.load.bytes_max = Some(cell.load.bytes_max.map_or(bytes_max, |own| own.min(bytes_max)));
        let keep = self.settings.keep.is_some() && cell.role == Role::Sweep;
        cell.load.topic.delete &= !keep;
        let data_directory = self.data_directory.join(format!("broker-{}", self.position));
        let name = cell.subject.clone();
        let mut subject = self.start(kind, &name)?;
        let mut around = Surroundings {
            started_ns: self.started_ns,
            data_directory: self.data_directory.clone(),
            subject_directory: subject.directory().map(std::path::Path::to_owned),
            device: self.device.clone(),
            probe_bytes: if self.settings.short { 8 << 20 } else { 64 << 20 },
            warm_up_bytes: if self.settings.short { 64 << 20 } else { page_cache::WARM_UP_BYTES },
            live: self.live,
        };
        let ran = block::run(&mut subject, &cell, self.position, &mut around);
        self.position += 1;
        if let Some(text) = if keep { subject.stop_and_keep() } else { subject.stop() } {
            self.flag(text);
        }
        let ran = ran?;
        if keep {
            self.keep_topic(&cell, &ran, data_directory)?;
        }
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

    /// Remembers what must be in a topic that stays.
    fn keep_topic(
        &mut self,
        cell: &CellSpec,
        ran: &block::Ran,
        data_directory: PathBuf,
    ) -> Result<(), Failure> {
        self.kept.push(kept::Topic {
            cell: cell.id.clone(),
            name: ran.topic.clone(),
            partitions: cell.load.topic.partitions,
            data_directory: std::path::absolute(&data_directory).unwrap_or(data_directory),
            acknowledged: ran.outcome.ledger.acknowledged(),
        });
        let kept = Kept {
            subject: self.settings.keep.clone().unwrap_or_default(),
            overrides: self.settings.overrides.clone(),
            durability: self.settings.durability.to_string(),
            seed: cell.load.seed,
            topics: self.kept.clone(),
        };
        kept.write(self.opened().path())
            .map_err(|error| Failure { exit: Exit::NotValid, text: format!("kept.json: {error}") })
    }

    /// Runs a cell's blocks and writes the run down; a failed block keeps the blocks before it.
    fn blocks(&mut self, kind: &Kind, collected: &mut Collected) -> Result<(), Failure> {
        for _ in 0..collected.spec().blocks {
            self.block(kind, collected)?;
        }
        Ok(())
    }

    /// All blocks of a cell.
    fn collect(&mut self, kind: &Kind, cell: &CellSpec) -> Result<Collected, Failure> {
        let mut collected = Collected::new(cell, self.settings.cores.broker.len());
        self.blocks(kind, &mut collected)?;
        Ok(collected)
    }

    /// The null broker at each of these points, one block each.
    fn roofs(&mut self, variant: &str, cells: &[CellSpec]) -> Result<Vec<Roof>, Failure> {
        let kind = Kind::NullBroker(variant.to_owned());
        let mut roofs = Vec::new();
        for cell in cells {
            let collected = self.collect(&kind, cell)?;
            let roof = collected.as_roof(variant);
            roofs.push(roof.clone());
            self.keep(&collected, roof.cell);
            self.run.cells.extend(roof.readback);
        }
        Ok(roofs)
    }

    fn keep(&mut self, collected: &Collected, cell: Cell) {
        self.unverified |= !collected.passed();
        self.broken |= collected.broken();
        self.missed_slo |= cell.flags.iter().any(|flag| flag.starts_with("SLO missed"));
        if cell.role == Role::Sweep && (collected.is_void() || cell.client_bound == Some(true)) {
            self.doubtful += 1;
        }
        self.interval(collected, &cell);
        self.live.note(&verdict::summary(&cell));
        self.run.cells.push(cell);
    }

    /// Makes the run folder with `plan.json`, and the data directory. Before the first block. `extra_s` is what the run
    /// takes beside the blocks of its cells and the limits.
    fn open(&mut self, cells: &[&CellSpec], extra_s: f64) -> Result<(), Failure> {
        let order: Vec<String> =
            cells.iter().flat_map(|cell| (0..cell.blocks).map(|_| cell.id.clone())).collect();
        let windows = &self.settings.windows;
        let seconds = cells.iter().map(|cell| cell.duration_s()).sum::<f64>()
            + (windows.limits_start + windows.limits_end).as_secs_f64()
            + extra_s;
        self.open_plan(cells, order, seconds)
    }

    /// The same with an order of its own.
    fn open_plan(&mut self, cells: &[&CellSpec], order: Vec<String>, seconds: f64) -> Result<(), Failure> {
        let steps = order.len();
        let mut plan = run::Plan {
            kind: self.run.kind.clone(),
            command: self.run.command.clone(),
            seed: self.run.seed,
            planned_duration_s: Some(seconds),
            cells: cells.iter().map(|cell| cell.planned()).collect(),
            order,
            ..run::Plan::default()
        };
        let folder = Folder::create(&self.settings.out, &mut plan, SystemTime::now())
            .map_err(|error| Failure::usage(error.to_string()))?;
        self.run.run_id = plan.run_id;
        self.run.started_at_utc = plan.started_at_utc;
        self.data_directory = self.settings.data_parent.join(&self.run.run_id);
        fs::create_dir_all(&self.data_directory).map_err(|e| Failure::directory(&self.data_directory, &e))?;
        self.folder = Some(folder);
        self.live.plan(steps, seconds);
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

    /// What a stock client reaches at a cell's shape, where that was asked for. It is a sentence beside our figures and none
    /// of them; where it cannot be had, a flag says why.
    fn second_opinion(&mut self, kind: &Kind, cell: &CellSpec) -> Result<(), Failure> {
        let Some(client) = self.settings.client.filter(|_| !interrupt::requested()) else { return Ok(()) };
        self.live.step(&format!("second opinion by {}: {}", client.name(), cell.id));
        let mut subject = self.start(kind, &cell.subject.clone())?;
        let topic = format!("{}-{}-{}", cell.id, client.name(), self.position);
        self.position += 1;
        let written = Client::connect(subject.address(), Duration::from_secs(60))
            .and_then(|mut asked| asked.create_topics(&[(topic.clone(), cell.load.topic.partitions)]))
            .map_err(|error| error.to_string())
            .and_then(|()| {
                let (cores, folder) = (&self.settings.cores.load, &self.data_directory);
                client.write(subject.address(), &topic, cell, cores, folder)
            });
        let crashed = subject.crashed();
        subject.stop();
        if let Some(text) = crashed {
            return Err(block::BlockError::Crashed(text).into());
        }
        match written {
            Ok(rate) => {
                let ours = self.run.cells.iter().find(|known| known.id == cell.id);
                let ours = ours
                    .and_then(|known| known.records_per_s)
                    .map_or(String::new(), |ours| format!("; our generator {} records/s", figures::si(ours)));
                let opinion = format!(
                    "second opinion on {}: {} writes {} records/s{ours}",
                    cell.id,
                    client.name(),
                    figures::si(rate)
                );
                self.run.verdicts.push(opinion);
            }
            Err(why) => self.flag(format!("no second opinion by {}: {why}", client.name())),
        }
        Ok(())
    }

    /// A cell once more under perf, where that was asked for. What keeps it from running is a flag, not a failure.
    fn profile_pass(&mut self, kind: &Kind, cell: &CellSpec) -> Result<(), Failure> {
        if !self.settings.profile || interrupt::requested() {
            return Ok(());
        }
        self.live.step(&format!("profiling: {}", cell.id));
        let mut subject = self.start(kind, &cell.subject.clone())?;
        let folder = self.opened().path().join("profile");
        let drawn = block::profile(&mut subject, cell, self.position, &folder);
        self.position += 1;
        subject.stop();
        match drawn? {
            Ok(picture) => self.live.note(&format!("profile of {}: {}", cell.id, picture.display())),
            Err(why) => self.flag(format!("no profile: {why}")),
        }
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
        let counted = block::count(&mut subject, collected.spec(), self.position, window, &self.device);
        self.position += 1;
        subject.stop();
        let counted = counted?;
        let fsyncs = match counted.counts {
            Ok(counts) => {
                let counts_of = &counted.outcome.counts;
                collected.count(counts, counts_of.acked_requests + counts_of.fetches);
                counts.fsyncs
            }
            Err(reason) => {
                self.flag(format!("system calls not counted: {reason}"));
                None
            }
        };
        let producers = &collected.spec().load.producers;
        let seen = Seen {
            window: Duration::from_nanos(counted.outcome.window_ns),
            acked_requests: counted.outcome.counts.acked_requests,
            requests_per_flush_max: u64::from(producers.connections) * u64::from(producers.in_flight),
            fsyncs,
            device_flushes: counted.device_flushes,
        };
        self.judge_durability(&name, &seen);
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
                | Exit::Unavailable
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
        if self.kept.is_empty()
            && let Err(error) = fs::remove_dir_all(&self.data_directory)
        {
            self.flag(format!("{} could not be removed: {error}", self.data_directory.display()));
        }
        // The parent goes too if it is empty: it was made for this run, or nobody will miss it.
        let _ = fs::remove_dir(&self.settings.data_parent);
        let written = folder.finish(&self.run);
        self.live.end();
        written.map_err(|error| Failure { exit: Exit::NotValid, text: error.to_string() })?;
        Ok((table::terminal(&self.run, Some(&folder.page())), exit))
    }
}
