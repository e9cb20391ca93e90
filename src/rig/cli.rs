//! `ringdaw bench ...`: the command line of the rig.
//!
//! In: arguments. Out: an exit code (RIG section 6.3); progress goes to stderr, the table to stdout, everything else
//! into the run folder.

mod compare;
mod engines;

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::cores::{self, Cores};
use super::document::Fault;
use super::durability::Durability;
use super::exit::{Exit, Failure};
use super::interrupt;
use super::kept::Kept;
use super::live::{Live, Plain, Quiet, Screen};
use super::plan::{CellSpec, Windows};
use super::scenario::{self, LIBRARY};
use super::session::{Session, Settings};
use super::subject::Kind;
use super::value::{self, Rate};
use super::workload;
use crate::load::null_broker;
use crate::reactor::{choice, pin};
use crate::report::diff;
use crate::report::folder::{self, Form};
use crate::report::run::{self, Role, Run};

/// Measures a broker: throughput and latency over partition counts, with every acknowledged record verified.
///
/// Without a subcommand it starts a Ringdaw broker on a temporary directory, sweeps 1, 16, 128 and 1024 partitions,
/// prints a table and writes a run folder with a page (results/.../report.html). It takes about two minutes; --quick
/// takes twenty seconds.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  ringdaw bench                                   the main job, about two minutes
  ringdaw bench --quick                           the same in twenty seconds, to see that it works
  ringdaw bench --partitions 1,1000 --repeat 5    other partition counts, with intervals
  ringdaw bench run @stall                        a workload of the library
  ringdaw bench run my.yaml --set producers.steady.rate=50k/s
  ringdaw bench --subject localhost:9092          a broker that is already running
  ringdaw bench compare --against java-kafka:3.9.1  side by side, with intervals and a noise floor

Exit codes: 0 done, 1 service level missed, 2 usage or workload file, 3 verification failed, 4 not valid,
5 the broker failed, 6 subject not available, 130 interrupted.")]
pub struct BenchArgs {
    #[command(subcommand)]
    command: Option<BenchCommand>,
    #[command(flatten)]
    options: Options,
}

#[derive(Subcommand, Debug)]
enum BenchCommand {
    /// Run one workload: a YAML file, or @NAME from the library (an unknown name lists it)
    Run {
        /// WORKLOAD.yaml or @NAME
        workload: String,
    },
    /// Run a workload for every combination of some values
    Sweep {
        /// WORKLOAD.yaml or @NAME
        workload: String,
        /// What to vary: partitions=1,16,256 or record_bytes=100,1Ki or any PATH=VALUE,VALUE of the file
        #[arg(long, value_name = "PATH=VALUES")]
        vary: Vec<String>,
    },
    /// Measure the machine alone: memory, checksum, loopback, disk, and the null broker
    Limits {
        /// Match this workload's batch size, connections and files
        #[arg(long = "match", value_name = "WORKLOAD")]
        matching: Option<String>,
    },
    /// Two subjects side by side, block beside block: Ringdaw against Java Kafka, or any two
    Compare(Box<compare::CompareArgs>),
    /// Read the topics of a run made with --keep again from their start and audit them
    Verify {
        /// A run folder or its run.json
        run: PathBuf,
        /// Load its cells anew, kill the broker without a word at this time, restart it, and audit: kill-9@2s
        #[arg(long, value_name = "kill-9@TIME")]
        crash: Option<String>,
    },
    /// Measure one subject against itself: the floor below which no difference is claimed, and how many pairs one needs
    Calibrate {
        /// WORKLOAD.yaml or @NAME
        #[arg(default_value = "@bench")]
        workload: String,
        /// Pairs of blocks at saturation, and as many at half of it
        #[arg(long, default_value_t = 8)]
        pairs: u64,
    },
    /// Every way of writing files side by side: rate, CPU per GB, time per append, and which one this machine is best served by
    Engines(engines::EnginesArgs),
    /// Find the highest rate that is sustained, what fails first above it, and the latency below it
    Rate {
        /// WORKLOAD.yaml or @NAME; its own rate is ignored
        workload: String,
    },
    /// Compare two stored runs, figure by figure, with intervals
    Diff {
        /// A run folder or its run.json
        a: PathBuf,
        /// The other one
        b: PathBuf,
        /// Also runs of different machines
        #[arg(long)]
        allow_different: bool,
    },
    /// Rebuild table, CSV and page of stored runs from their run.json
    Report {
        /// Run folders or run.json files
        #[arg(required = true)]
        runs: Vec<PathBuf>,
        /// Print the table as Markdown
        #[arg(long, conflicts_with_all = ["csv", "svg"])]
        md: bool,
        /// Print the cells as CSV
        #[arg(long, conflicts_with = "svg")]
        csv: bool,
        /// Write each chart as SVG into this directory
        #[arg(long, value_name = "DIR")]
        svg: Option<PathBuf>,
    },
    /// The null broker as a process: what the rig starts as the roof
    #[command(hide = true)]
    NullBroker {
        #[arg(long)]
        variant: null_broker::Variant,
        #[arg(long)]
        port: u16,
        /// Where partitions are kept
        #[arg(long)]
        files: PathBuf,
        #[arg(long)]
        sync: bool,
        #[arg(long)]
        plant: Vec<null_broker::Fault>,
    },
}

#[derive(Args, Debug, Clone)]
struct Options {
    /// Who is measured: ringdaw, null-broker[:VARIANT], java-kafka[:VERSION], HOST:PORT, or a command with {data_dir} {port} {cores}
    #[arg(long, global = true, default_value = "ringdaw", value_name = "SUBJECT")]
    subject: String,
    /// The process behind HOST:PORT on this machine, so that its cost can be measured
    #[arg(long, global = true, value_name = "PID")]
    pid: Option<u32>,
    /// A broker setting of the Ringdaw under test, as in server.properties
    #[arg(long = "override", global = true, value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// The roof: discard, pwrite, pwrite-grow, sendfile, each with +crc; none leaves it out
    #[arg(long, global = true, default_value = "sendfile", value_name = "VARIANT")]
    null: String,
    /// How the load generator does its input and output: auto, io_uring or epoll; auto takes the ring where the machine allows it
    #[arg(long, global = true, default_value = "auto", value_name = "ENGINE")]
    io: String,
    /// Faults for a null broker under test, to prove that the rig sees them
    #[arg(long, global = true, hide = true, value_name = "FAULT")]
    fault: Vec<String>,
    /// Result of the rig's tests of itself; `none` for those tests
    #[arg(long, global = true, hide = true, value_name = "FILE")]
    self_tests: Option<PathBuf>,
    /// Make each turn of the generator last this long, to prove that the rig does not blame the broker for it
    #[arg(long, global = true, hide = true, value_name = "TIME")]
    slow_generator: Option<String>,
    /// Partition counts of the sweep
    #[arg(long, global = true, value_delimiter = ',', default_values_t = [1, 16, 128, 1024], value_name = "N,N")]
    partitions: Vec<u32>,
    /// Offered rate of the latency cells, records per second (default: half of the lowest saturation)
    #[arg(long, global = true, value_name = "RATE")]
    rate: Option<String>,
    /// Length of the measured windows (default: 5s at saturation, 6s at the fixed rate)
    #[arg(long, global = true, value_name = "TIME")]
    duration: Option<String>,
    /// End each window after this many bytes of records: 64MiB
    #[arg(long, global = true, value_name = "BYTES")]
    bytes: Option<String>,
    /// Length of the warm-up before each window: auto or a time
    #[arg(long, global = true, default_value = "auto", value_name = "TIME")]
    warmup: String,
    /// Blocks per cell; more than one adds intervals
    #[arg(long, global = true, default_value_t = 1, value_name = "N")]
    repeat: u64,
    /// Drives payloads, arrivals and the order of cells
    #[arg(long, global = true, default_value_t = 42)]
    seed: u64,
    /// Which cores serve and which ask: broker=0,load=1 or broker=0-3,load=4-7
    #[arg(long, global = true, value_name = "LIST")]
    cores: Option<String>,
    /// What an acknowledgement promises: page-cache, interval:MS or sync
    #[arg(long, global = true, value_name = "CLASS")]
    durability: Option<String>,
    /// Where brokers keep their data during the run (on the file system to be measured)
    #[arg(long, global = true, default_value = "bench-data", value_name = "DIR")]
    data_dir: PathBuf,
    /// Where the run folder is written
    #[arg(long, global = true, default_value = "results", value_name = "DIR")]
    out: PathBuf,
    /// Change one value of the workload: producers.steady.rate=50k/s
    #[arg(long, global = true, value_name = "PATH=VALUE")]
    set: Vec<String>,
    /// A service level that must hold: "produce_p99 < 5ms"; exit code 1 if it does not
    #[arg(long, global = true, value_name = "EXPR")]
    slo: Vec<String>,
    /// A second opinion on the first cell by a stock client: kafka-java or librdkafka, where it is installed
    #[arg(long, global = true, value_name = "CLIENT")]
    client: Option<String>,
    /// One more block, not measured, under perf: a flame graph of the first cell in profile/
    #[arg(long, global = true)]
    profile: bool,
    /// Leave topics and data after the run, so that `bench verify` can read them again
    #[arg(long, global = true)]
    keep: bool,
    /// A disturbed or client-bound cell makes the run fail (exit code 4)
    #[arg(long, global = true)]
    strict: bool,
    /// Everything short: about twenty seconds, not to be quoted
    #[arg(long, global = true)]
    quick: bool,
    /// Allow data on tmpfs, where no disk is measured
    #[arg(long, global = true)]
    allow_tmpfs: bool,
    /// One line per second instead of the live screen
    #[arg(long, global = true)]
    plain: bool,
    /// No progress, only the result
    #[arg(long, global = true, conflicts_with = "plain")]
    quiet: bool,
}

/// Runs the command and prints what went wrong, if anything did.
pub fn run(args: BenchArgs) -> ExitCode {
    let result = match &args.command {
        Some(BenchCommand::NullBroker { variant, port, files, sync, plant }) => {
            null_broker::run(null_broker::Options {
                port: *port,
                data_dir: files.clone(),
                variant: *variant,
                core: None,
                sync: *sync,
                fault: plant.clone(),
                seed: args.options.seed,
            })
            .map(|()| Exit::Done)
            .map_err(|error| Failure { exit: Exit::SubjectFailed, text: error.to_string() })
        }
        Some(BenchCommand::Report { runs, md, csv, svg }) => {
            let form = match (md, csv, svg) {
                (true, _, _) => Form::Markdown,
                (_, true, _) => Form::Csv,
                (_, _, Some(directory)) => Form::Svg(directory.clone()),
                (false, false, None) => Form::Rebuild,
            };
            report(runs, &form)
        }
        None => bench(&args.options),
        Some(BenchCommand::Run { workload }) => sweep(&args.options, "run", workload, &[]),
        Some(BenchCommand::Sweep { workload, vary }) => sweep(&args.options, "sweep", workload, vary),
        Some(BenchCommand::Compare(contest)) => compare::run(&args.options, contest),
        Some(BenchCommand::Limits { matching }) => limits(&args.options, matching.as_deref()),
        Some(BenchCommand::Calibrate { workload, pairs }) => calibrate(&args.options, workload, *pairs),
        Some(BenchCommand::Engines(arguments)) => engines::run(&args.options, arguments),
        Some(BenchCommand::Rate { workload }) => rate(&args.options, workload),
        Some(BenchCommand::Diff { a, b, allow_different }) => diff(a, b, *allow_different),
        Some(BenchCommand::Verify { run, crash }) => verify(&args.options, run, crash.as_deref()),
    };
    let exit = result.unwrap_or_else(|failure| {
        let _ = writeln!(std::io::stderr(), "ringdaw bench: {}", failure.text);
        failure.exit
    });
    ExitCode::from(exit.code())
}

fn usage(fault: String) -> Failure {
    Failure::usage(fault)
}

/// The text of a workload, where its includes are, and what to call it in messages.
struct Source {
    text: String,
    folder: PathBuf,
    shown: String,
}

impl Source {
    /// That of `bench` without arguments.
    fn of_bench() -> Source {
        Source {
            text: include_str!("workloads/bench.yaml").to_owned(),
            folder: PathBuf::from("."),
            shown: "the default workload".to_owned(),
        }
    }

    fn find(workload: &str) -> Result<Source, Failure> {
        if let Some(name) = workload.strip_prefix('@') {
            let found = LIBRARY.iter().find(|(known, _)| *known == name);
            let Some((_, text)) = found else {
                let names: Vec<String> = LIBRARY.iter().map(|(name, _)| format!("@{name}")).collect();
                return Err(usage(format!(
                    "{workload} is not in the library; there is {}",
                    names.join(", ")
                )));
            };
            return Ok(Source {
                text: (*text).to_owned(),
                folder: PathBuf::from("."),
                shown: workload.to_owned(),
            });
        }
        let path = Path::new(workload);
        let text = std::fs::read_to_string(path).map_err(|e| usage(format!("{workload}: {e}")))?;
        let folder = path.parent().map(Path::to_owned).unwrap_or_default();
        Ok(Source { text, folder, shown: workload.to_owned() })
    }

    fn fault(&self, fault: &Fault) -> Failure {
        match fault.line {
            0 => usage(fault.to_string()),
            line => usage(format!("{}:{line}: {}", self.shown, fault.text)),
        }
    }

    fn stored(&self, name: &str) -> run::Workload {
        run::Workload {
            sha256: super::environment::sha256(&self.text),
            name: Some(name.to_owned()),
            text: self.text.clone(),
        }
    }
}

impl Options {
    fn sets(&self) -> Result<Vec<(String, String)>, Failure> {
        let split = |set: &String| {
            let (path, value) =
                set.split_once('=').ok_or_else(|| usage(format!("--set {set}: write PATH=VALUE")))?;
            Ok((path.to_owned(), value.to_owned()))
        };
        self.set.iter().map(split).collect()
    }

    fn time(name: &str, text: &str) -> Result<Duration, Failure> {
        value::duration_of(text)
            .filter(|time| !time.is_zero())
            .ok_or_else(|| usage(format!("--{name} {text}: write 500ms, 10s or 2m")))
    }

    fn rate(&self) -> Result<Option<f64>, Failure> {
        let Some(text) = &self.rate else { return Ok(None) };
        match value::rate_of(text) {
            Some(Rate::Records(rate)) => Ok(Some(rate)),
            Some(Rate::Bytes(_) | Rate::Max) | None => Err(usage(format!("--rate {text}: write 100k/s"))),
        }
    }

    fn cores(&self) -> Result<Cores, Failure> {
        let usable = pin::usable_cores();
        let Some(text) = &self.cores else { return Ok(Cores::split(&usable)) };
        let bad = |why: String| usage(format!("--cores {text}: {why}"));
        let mut cores = Cores { broker: Vec::new(), load: Vec::new() };
        let mut side = None;
        for part in text.split(',') {
            let list = match part.split_once('=') {
                Some(("broker", list)) => {
                    side = Some(true);
                    list
                }
                Some(("load", list)) => {
                    side = Some(false);
                    list
                }
                Some((other, _)) => return Err(bad(format!("{other} is neither broker nor load"))),
                None => part,
            };
            let (first, last) = list.split_once('-').unwrap_or((list, list));
            let range = first.parse::<usize>().ok().zip(last.parse::<usize>().ok()).filter(|(a, b)| a <= b);
            let (Some((first, last)), Some(broker)) = (range, side) else {
                return Err(bad("write broker=0,load=1".to_owned()));
            };
            let into = if broker { &mut cores.broker } else { &mut cores.load };
            into.extend(first..=last);
        }
        if cores.broker.is_empty() || cores.load.is_empty() {
            return Err(bad("both sides need a core".to_owned()));
        }
        if let Some(core) = cores.broker.iter().chain(&cores.load).find(|core| !usable.contains(core)) {
            let usable = cores::core_list(&usable);
            return Err(bad(format!("core {core} is not usable here; {usable} are")));
        }
        Ok(cores)
    }

    fn windows(&self) -> Result<Windows, Failure> {
        let mut windows = if self.quick { Windows::quick() } else { Windows::full() };
        if let Some(text) = &self.duration {
            let time = Options::time("duration", text)?;
            (windows.saturation, windows.latency) = (time, time);
            windows.null = windows.null.min(time);
        }
        if self.warmup != "auto" {
            let time = Options::time("warmup", &self.warmup)?;
            (windows.saturation_warmup, windows.latency_warmup) = (time, time);
            windows.null_warmup = windows.null_warmup.min(time);
        }
        Ok(windows)
    }

    /// What the generator stands on. Where the ring is refused and nothing was asked for by name, that is said.
    fn io(&self) -> Result<choice::Kind, Failure> {
        let named = (self.io != "auto").then_some(&self.io);
        let wanted = named.map(|word| word.parse()).transpose();
        let wanted = wanted.map_err(|text: String| usage(format!("--io {text}")))?;
        let choice = choice::choose(wanted, 1).map_err(|error| usage(format!("--io io_uring: {error}")))?;
        if wanted.is_none() && choice.kind == choice::Kind::Epoll {
            let _ = writeln!(std::io::stderr(), "the load generator stands on epoll: {}", choice.why);
        }
        Ok(choice.kind)
    }

    fn live(&self) -> Box<dyn Live> {
        if self.quiet {
            Box::new(Quiet)
        } else if self.plain || !std::io::stderr().is_terminal() {
            Box::new(Plain::new())
        } else {
            Box::new(Screen::new())
        }
    }

    fn settings(
        &self,
        kind: &'static str,
        workloads: Vec<run::Workload>,
        durability: Durability,
    ) -> Result<Settings, Failure> {
        if self.repeat == 0 {
            return Err(usage("--repeat 0: at least one block is needed".to_owned()));
        }
        let extras = [("profile", self.profile), ("client", self.client.is_some()), ("keep", self.keep)];
        if let Some((option, _)) = extras.iter().find(|(_, given)| *given)
            && !["bench", "run", "sweep"].contains(&kind)
        {
            return Err(usage(format!(
                "--{option}: bench, bench run and bench sweep have it, bench {kind} has not"
            )));
        }
        let subject: Kind = self.subject.parse().map_err(|text| usage(format!("--subject {text}")))?;
        let variants = (self.null != "none").then_some(&self.null);
        let own = if let Kind::NullBroker(variant) = &subject { Some(variant) } else { None };
        for variant in variants.into_iter().chain(own) {
            variant.parse::<null_broker::Variant>().map_err(usage)?;
        }
        for fault in &self.fault {
            fault.parse::<null_broker::Fault>().map_err(usage)?;
        }
        for line in &self.overrides {
            if !line.contains('=') {
                return Err(usage(format!("--override {line}: write KEY=VALUE")));
            }
        }
        let mut command: Vec<String> = std::env::args().collect();
        if let Some(program) = command.first_mut() {
            *program = Path::new(program)
                .file_name()
                .map_or_else(|| "ringdaw".to_owned(), |name| name.to_string_lossy().into_owned());
        }
        let windows = self.windows()?;
        Ok(Settings {
            kind,
            command,
            seed: self.seed,
            subject,
            subject_pid: self.pid,
            overrides: self.overrides.clone(),
            null_variant: (self.null != "none").then(|| self.null.clone()),
            null_faults: self.fault.clone(),
            cores: self.cores()?,
            durability: match &self.durability {
                Some(text) => text.parse().map_err(|text| usage(format!("--durability {text}")))?,
                None => durability,
            },
            data_parent: self.data_dir.clone(),
            out: self.out.clone(),
            allow_tmpfs: self.allow_tmpfs,
            strict: self.strict,
            short: self.quick || windows.saturation < Duration::from_secs(2),
            windows,
            repeat: self.repeat,
            workloads,
            profile: self.profile,
            client: match &self.client {
                Some(text) => Some(text.parse().map_err(|text| usage(format!("--client {text}")))?),
                None => None,
            },
            keep: self.keep.then(|| self.subject.clone()),
            self_tests: self.self_tests.clone().or_else(super::self_tests::path),
        })
    }

    fn slo(&self) -> Result<Vec<super::plan::Slo>, Failure> {
        let read = |text: &String| {
            workload::slo_of(text).ok_or_else(|| {
                usage(format!(
                    "--slo {text}: write e2e_p99 < 5ms, produce_p99_9 <= 20ms, errors == 0 or rate >= 50k/s"
                ))
            })
        };
        self.slo.iter().map(read).collect()
    }
}

/// The subject's name in cells and files.
fn subject_name(kind: &Kind) -> String {
    match kind {
        Kind::Ringdaw => "ringdaw".to_owned(),
        Kind::NullBroker(variant) => format!("null-broker {variant}"),
        Kind::Address(address) => address.clone(),
        Kind::JavaKafka(version) => format!("java-kafka {version}"),
        Kind::Command(line) => {
            line.split(' ').next().unwrap_or("command").rsplit('/').next().unwrap_or("command").to_owned()
        }
    }
}

fn listen_for_signals() -> Result<(), Failure> {
    interrupt::listen().map_err(|e| Failure::usage(format!("signals cannot be received: {e}")))
}

/// The main job.
fn bench(options: &Options) -> Result<Exit, Failure> {
    let source = Source::of_bench();
    let rate = options.rate()?;
    let mut partitions = options.partitions.clone();
    partitions.sort_unstable();
    partitions.dedup();
    if partitions.is_empty() || partitions[0] == 0 {
        return Err(usage("--partitions: at least 1".to_owned()));
    }
    let (settings, cells) = prepare(options, "bench", &source, &[])?;
    let [base] = &cells[..] else {
        return Err(usage("bench has no sweep of its own: use bench sweep".to_owned()));
    };
    listen_for_signals()?;
    let mut live = options.live();
    let mut session = Session::begin(settings, live.as_mut())?;
    let result = session.bench(base, &partitions, rate);
    finish(session, result)
}

/// Settings and cells of a workload, options applied.
fn prepare(
    options: &Options,
    kind: &'static str,
    source: &Source,
    vary: &[String],
) -> Result<(Settings, Vec<CellSpec>), Failure> {
    let sets = options.sets()?;
    let fault = |fault: Fault| source.fault(&fault);
    let root = workload::tree(&source.text, &source.folder, &sets).map_err(fault)?;
    let axes = vary
        .iter()
        .map(|axis| scenario::vary_axis(&root, axis))
        .collect::<Result<Vec<_>, _>>()
        .map_err(fault)?;
    let subject: Kind = options.subject.parse().map_err(|text| usage(format!("--subject {text}")))?;
    let name = subject_name(&subject);
    let (workload, mut cells) =
        scenario::cells(&root, &axes, &name, options.seed, &source.folder).map_err(fault)?;
    let stored = source.stored(&workload.name);
    let mut settings = options.settings(kind, vec![stored.clone()], workload.durability)?;
    // What the command line says stands behind, where it counts.
    let own = workload.broker.iter().map(|(key, value)| format!("{}={value}", key.text));
    settings.overrides = own.chain(settings.overrides).collect();
    let slo = options.slo()?;
    let io = options.io()?;
    for cell in &mut cells {
        cell.load.io = io;
        cell.workload_sha256 = Some(stored.sha256.clone());
        cell.durability = settings.durability.to_string();
        cell.load.cores = settings.cores.load.clone();
        cell.load.own_cores = !settings.cores.overlap();
        if let Some(text) = &options.slow_generator {
            cell.load.turn_delay = Options::time("slow-generator", text)?;
        }
        if let Some(text) = &options.bytes {
            let bytes = value::scaled(text, value::BYTE_UNITS).filter(|bytes| *bytes >= 1.0);
            let bytes = bytes.ok_or_else(|| usage(format!("--bytes {text}: write 64MiB or 2GB")))?;
            cell.load.bytes_max = Some(bytes as u64);
        }
        cell.slo.extend(slo.iter().cloned());
        if options.repeat > 1 {
            cell.blocks = options.repeat;
        }
        if kind != "bench" {
            if options.duration.is_some() || options.quick {
                cell.load.duration = settings.windows.latency;
            }
            if options.warmup != "auto" || options.quick {
                cell.load.warmup = settings.windows.latency_warmup;
                cell.load.until_steady = false;
            }
            if let Some(rate) = options.rate()? {
                cell.load.producers.arrivals = crate::load::Arrivals::Constant { records_per_s: rate };
            }
        }
    }
    Ok((settings, cells))
}

fn sweep(options: &Options, kind: &'static str, workload: &str, vary: &[String]) -> Result<Exit, Failure> {
    let source = Source::find(workload)?;
    let (settings, cells) = prepare(options, kind, &source, vary)?;
    let root =
        workload::parse(&source.text, &source.folder, &options.sets()?).map_err(|f| source.fault(&f))?;
    let anchor_every = if root.sweep.anchor_every > 0 { root.sweep.anchor_every } else { 4 };
    listen_for_signals()?;
    let mut live = options.live();
    let mut session = Session::begin(settings, live.as_mut())?;
    let result = session.sweep(cells, !root.sweep.in_order, anchor_every);
    finish(session, result)
}

fn limits(options: &Options, matching: Option<&str>) -> Result<Exit, Failure> {
    let source = match matching {
        Some(workload) => Source::find(workload)?,
        None => Source::of_bench(),
    };
    let (settings, cells) = prepare(options, "limits", &source, &[])?;
    listen_for_signals()?;
    let mut live = options.live();
    let mut session = Session::begin(settings, live.as_mut())?;
    let result = session.limits_only(&cells);
    finish(session, result)
}

/// One subject against itself.
fn calibrate(options: &Options, workload: &str, pairs: u64) -> Result<Exit, Failure> {
    if pairs < 2 {
        return Err(usage(format!("--pairs {pairs}: a floor needs at least 2")));
    }
    let source = Source::find(workload)?;
    let (settings, cells) = prepare(options, "calibrate", &source, &[])?;
    let [base] = &cells[..] else {
        return Err(usage(format!("{workload}: a floor is measured for one cell, and this is a sweep")));
    };
    listen_for_signals()?;
    let mut live = options.live();
    let mut session = Session::begin(settings, live.as_mut())?;
    let result = session.calibrate(base, pairs);
    finish(session, result)
}

/// The highest sustainable rate of one workload.
fn rate(options: &Options, workload: &str) -> Result<Exit, Failure> {
    let source = Source::find(workload)?;
    let (settings, cells) = prepare(options, "rate", &source, &[])?;
    let [base] = &cells[..] else {
        return Err(usage(format!("{workload}: a rate is searched for one cell, and this is a sweep")));
    };
    listen_for_signals()?;
    let mut live = options.live();
    let mut session = Session::begin(settings, live.as_mut())?;
    let result = session.rate(base);
    finish(session, result)
}

/// Two stored runs side by side.
fn diff(a: &Path, b: &Path, allow_different: bool) -> Result<Exit, Failure> {
    let read = |path: &Path| Run::read(path).map_err(|error| usage(error.to_string()));
    let (a, b) = (read(a)?, read(b)?);
    if let Some(why) = diff::differing_machines(&a, &b).filter(|_| !allow_different) {
        return Err(usage(format!(
            "the runs are of different machines ({why}); --allow-different compares them anyway"
        )));
    }
    let rows = diff::rows(&a, &b);
    print(&diff::text(&a, &b, &rows));
    Ok(Exit::Done)
}

/// Writes everything and prints the table.
fn finish(session: Session<'_>, result: Result<(), Failure>) -> Result<Exit, Failure> {
    let text = result.as_ref().err().map(|failure| failure.text.clone());
    let (table, exit) = session.end(result)?;
    print(&table);
    if let Some(text) = text {
        let _ = writeln!(std::io::stderr(), "ringdaw bench: {text}");
    }
    Ok(exit)
}

/// A closed pipe does not change what a run found, so it is no error.
fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes());
    let _ = out.flush();
}

fn report(runs: &[PathBuf], form: &Form) -> Result<Exit, Failure> {
    let text = folder::report(runs, form).map_err(|error| usage(error.to_string()))?;
    print(&text);
    Ok(Exit::Done)
}

/// The cells of a stored run, with their parameters as they ran, loaded and audited again.
fn verify(options: &Options, path: &Path, crash: Option<&str>) -> Result<Exit, Failure> {
    let crash = crash
        .map(|text| {
            let time = text.strip_prefix("kill-9@").and_then(value::duration_of);
            time.ok_or_else(|| usage(format!("--crash {text}: write kill-9@2s, a time within the window")))
        })
        .transpose()?;
    let stored = Run::read(path).map_err(|error| usage(error.to_string()))?;
    let Some(text) = stored.workloads.first() else {
        return Err(usage(format!("{}: this run keeps no workload to run again", path.display())));
    };
    let source =
        Source { text: text.text.clone(), folder: PathBuf::from("."), shown: path.display().to_string() };
    if crash.is_none() {
        return read_again(options, path, &stored, &source);
    }
    let (settings, base) = prepare(options, "verify", &source, &["partitions=1".to_owned()])?;
    let mut cells = Vec::new();
    for stored in stored.cells.iter().filter(|cell| cell.role == Role::Sweep) {
        let mut cell = base[0].clone();
        replay(&mut cell, stored);
        if options.duration.is_none() {
            cell.load.duration = cell
                .load
                .duration
                .min(crash.map_or(Duration::from_secs(3), |at| at + Duration::from_secs(1)));
        }
        if crash.is_some_and(|at| at >= cell.load.duration) {
            return Err(usage(
                "--crash: the time lies behind the window; give a longer --duration".to_owned(),
            ));
        }
        cells.push(cell);
    }
    if cells.is_empty() {
        return Err(usage(format!("{}: this run has no cells to run again", path.display())));
    }
    listen_for_signals()?;
    let mut live = options.live();
    let mut session = Session::begin(settings, live.as_mut())?;
    let result = session.verify(&cells, crash);
    finish(session, result)
}

/// The topics that a run kept, read from their start.
fn read_again(options: &Options, path: &Path, stored: &Run, source: &Source) -> Result<Exit, Failure> {
    let kept = Kept::read(path).map_err(|error| usage(error.to_string()))?;
    let options = Options {
        subject: kept.subject.clone(),
        overrides: kept.overrides.clone(),
        durability: Some(kept.durability.clone()),
        seed: kept.seed,
        keep: false,
        ..options.clone()
    };
    let (settings, base) = prepare(&options, "verify", source, &["partitions=1".to_owned()])?;
    let mut cells = Vec::new();
    for topic in &kept.topics {
        let Some(stored) = stored.cells.iter().find(|cell| cell.id == topic.cell) else {
            return Err(usage(format!("{}: cell {} is not in its run.json", path.display(), topic.cell)));
        };
        let mut cell = base[0].clone();
        replay(&mut cell, stored);
        cell.load.seed = kept.seed;
        cells.push(cell);
    }
    listen_for_signals()?;
    let mut live = options.live();
    let mut session = Session::begin(settings, live.as_mut())?;
    let result = session.read_again(&cells, &kept.topics);
    finish(session, result)
}

/// Gives a cell the parameters that a stored one had.
fn replay(cell: &mut CellSpec, stored: &run::Cell) {
    let parameters = &stored.parameters;
    let set = |to: &mut u32, from: Option<u64>| {
        if let Some(value) = from.and_then(|value| u32::try_from(value).ok()) {
            *to = value;
        }
    };
    cell.id = stored.id.clone();
    cell.blocks = 1;
    cell.faults.clear();
    let plan = &mut cell.load;
    set(&mut plan.topic.partitions, parameters.partitions);
    set(&mut plan.producers.connections, parameters.producers);
    set(&mut plan.producers.record_bytes, parameters.record_bytes);
    set(&mut plan.producers.batch_records, parameters.batch_records);
    set(&mut plan.producers.batches_per_request, parameters.batches_per_request);
    set(&mut plan.producers.in_flight, parameters.in_flight);
    plan.verify = crate::load::VerifyMode::Full;
    plan.producers.arrivals = match (stored.loop_kind, stored.offered_records_per_s) {
        (run::Loop::Open, Some(rate)) => crate::load::Arrivals::Constant { records_per_s: rate },
        _ => crate::load::Arrivals::Closed,
    };
}
