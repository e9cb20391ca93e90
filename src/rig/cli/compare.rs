//! `bench compare`: what its arguments mean.
//!
//! In: arguments. Out: a [`Contest`], or the sentence that says which argument cannot be meant.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::{Failure, Options, Source, listen_for_signals, prepare, subject_name, usage};
use crate::load::Arrivals;
use crate::reactor::pin;
use crate::report::pairs;
use crate::rig::contenders::{Contender, Contest, Load, Memory, Point, View};
use crate::rig::exit::Exit;
use crate::rig::plan::CellSpec;
use crate::rig::session::Session;
use crate::rig::subject::Kind;

/// Fewest pairs of a row that is to be published.
const PAIRS_MIN: u64 = 8;

#[derive(Args, Debug)]
pub struct CompareArgs {
    /// WORKLOAD.yaml or @NAME (default: the partition counts of bench, at saturation and at shares of it)
    workload: Option<String>,
    /// The other side: java-kafka[:VERSION], ringdaw, null-broker[:VARIANT], HOST:PORT, or a command
    #[arg(long, value_name = "SUBJECT")]
    against: String,
    /// The process behind HOST:PORT of the other side
    #[arg(long, value_name = "PID")]
    against_pid: Option<u32>,
    /// A setting of the other side; KAFKA_HEAP_OPTS=... sets the JVM of a Java broker
    #[arg(long = "against-override", value_name = "KEY=VALUE")]
    against_overrides: Vec<String>,
    /// A setting of this side at its best, instead of a search
    #[arg(long, value_name = "KEY=VALUE")]
    best: Vec<String>,
    /// A setting of the other side at its best, instead of a search
    #[arg(long, value_name = "KEY=VALUE")]
    against_best: Vec<String>,
    /// Configurations tried on each side to find its best; 0 compares the settings as given alone
    #[arg(long, value_name = "N")]
    search: Option<u64>,
    /// Pairs of each row (default: 8, or as many as the number of rows needs)
    #[arg(long, value_name = "N")]
    pairs: Option<u64>,
    /// Pairs of this side against itself, the noise floor; 0 claims nothing
    #[arg(long, value_name = "N")]
    floor_pairs: Option<u64>,
    /// Who has which cores: split (broker and generator apart), shared (both on all)
    #[arg(long, value_name = "VIEW,VIEW", value_delimiter = ',')]
    view: Vec<String>,
    /// Shares of the slower side's saturation at which latency is measured; none leaves it out
    #[arg(long, value_name = "PERCENT,PERCENT", value_delimiter = ',', default_values_t = ["60".to_owned()])]
    loads: Vec<String>,
    /// State of memory before every block: resident, fresh or as-is (default: resident; with --quick as-is)
    #[arg(long, value_name = "STATE")]
    memory: Option<String>,
    /// Longest warm-up: a subject is warm when its rate shows no trend (default: 45s; --warmup sets a fixed time)
    #[arg(long, value_name = "TIME")]
    warmup_max: Option<String>,
    /// Compare although the durability classes differ; the page says so
    #[arg(long)]
    allow_unequal: bool,
    /// Faults for a null broker on the other side
    #[arg(long, hide = true, value_name = "FAULT")]
    against_fault: Vec<String>,
}

pub fn run(options: &Options, args: &CompareArgs) -> Result<Exit, Failure> {
    if options.repeat != 1 {
        return Err(usage("--repeat: bench compare takes --pairs".to_owned()));
    }
    let source = match &args.workload {
        Some(workload) => Source::find(workload)?,
        None => Source {
            text: include_str!("../workloads/bench.yaml").to_owned(),
            folder: PathBuf::from("."),
            shown: "the default workload".to_owned(),
        },
    };
    let (mut settings, cells) = prepare(options, "compare", &source, &[])?;
    settings.null_variant =
        settings.null_variant.filter(|_| !matches!(settings.subject, Kind::NullBroker(_)));
    let points = match &args.workload {
        Some(_) => cells.into_iter().map(|spec| Point { spec, load: Load::AsWritten }).collect(),
        None => points_of_bench(options, args, &cells, &settings.windows)?,
    };
    let contest = contest(options, args, points, &settings)?;
    listen_for_signals()?;
    let mut live = options.live();
    let mut session = Session::begin(settings, live.as_mut())?;
    let result = session.compare(&contest);
    super::finish(session, result)
}

/// The partition counts of `bench`, each at saturation and at every share.
fn points_of_bench(
    options: &Options,
    args: &CompareArgs,
    cells: &[CellSpec],
    windows: &crate::rig::plan::Windows,
) -> Result<Vec<Point>, Failure> {
    let [base] = cells else {
        return Err(usage("the default workload has no sweep of its own".to_owned()));
    };
    let mut partitions = options.partitions.clone();
    partitions.sort_unstable();
    partitions.dedup();
    if partitions.first().is_none_or(|count| *count == 0) {
        return Err(usage("--partitions: at least 1".to_owned()));
    }
    let mut shares = Vec::new();
    for text in args.loads.iter().filter(|text| *text != "none") {
        let percent = text.trim_end_matches('%').parse::<f64>().ok();
        let percent = percent.filter(|percent| *percent > 0.0 && *percent <= 100.0);
        shares.push(percent.ok_or_else(|| usage(format!("--loads {text}: write 10,60,90 or none")))? / 100.0);
    }
    let rate = options.rate()?;
    let mut points = Vec::new();
    for count in partitions {
        let of = |id: String| {
            let mut spec = base.clone();
            spec.id = id;
            spec.load.topic.partitions = count;
            spec
        };
        let mut spec = of(format!("saturate-p{count}"));
        spec.load.producers.arrivals = Arrivals::Closed;
        (spec.load.warmup, spec.load.duration) = (windows.saturation_warmup, windows.saturation);
        points.push(Point { spec, load: Load::Saturation });
        let loads: Vec<(String, Load)> = match rate {
            Some(rate) => vec![(format!("at-{rate:.0}-p{count}"), Load::AsWritten)],
            None => shares
                .iter()
                .map(|share| (format!("at-{:.0}-percent-p{count}", share * 100.0), Load::Share(*share)))
                .collect(),
        };
        for (id, load) in loads {
            let mut spec = of(id);
            // A share becomes a rate once the pilots have run; until then any open loop says what the point is.
            spec.load.producers.arrivals = Arrivals::Constant { records_per_s: rate.unwrap_or(1.0) };
            (spec.load.warmup, spec.load.duration) = (windows.latency_warmup, windows.latency);
            points.push(Point { spec, load });
        }
    }
    Ok(points)
}

fn contest(
    options: &Options,
    args: &CompareArgs,
    points: Vec<Point>,
    settings: &crate::rig::session::Settings,
) -> Result<Contest, Failure> {
    let kind: Kind = args.against.parse().map_err(|text| usage(format!("--against {text}")))?;
    if let Kind::NullBroker(variant) = &kind {
        variant.parse::<super::null_broker::Variant>().map_err(usage)?;
    }
    for fault in &args.against_fault {
        fault.parse::<super::null_broker::Fault>().map_err(usage)?;
    }
    for (option, lines) in [
        ("--against-override", &args.against_overrides),
        ("--best", &args.best),
        ("--against-best", &args.against_best),
    ] {
        if let Some(line) = lines.iter().find(|line| !line.contains('=')) {
            return Err(usage(format!("{option} {line}: write KEY=VALUE")));
        }
    }
    let a = Contender {
        name: named(&settings.subject, &settings.overrides),
        kind: settings.subject.clone(),
        overrides: settings.overrides.clone(),
        pid: settings.subject_pid,
        faults: settings.null_faults.clone(),
    };
    let mut b = Contender {
        name: named(&kind, &args.against_overrides),
        kind,
        overrides: args.against_overrides.clone(),
        pid: args.against_pid,
        faults: args.against_fault.clone(),
    };
    if a.name == b.name {
        b.name = format!("{} again", b.name);
    }
    if matches!((&a.kind, &b.kind), (Kind::Address(x), Kind::Address(y)) if x == y) {
        return Err(usage(format!("--against {}: that is the subject itself", args.against)));
    }
    let mut views = Vec::new();
    let names: Vec<&str> = match (args.view.is_empty(), options.quick) {
        (false, _) => args.view.iter().map(String::as_str).collect(),
        (true, true) => vec!["split"],
        (true, false) if pin::usable_cores().len() < 2 => vec!["split"],
        (true, false) => vec!["split", "shared"],
    };
    for name in names {
        views.push(match name {
            "split" => View::split(settings.cores.clone()),
            "shared" => View::shared(&settings.cores),
            other => return Err(usage(format!("--view {other}: split or shared"))),
        });
    }
    let memory = match &args.memory {
        Some(text) => text.parse().map_err(|text| usage(format!("--memory {text}")))?,
        None if options.quick => Memory::AsIs,
        None => Memory::Resident,
    };
    let warmup_max = match &args.warmup_max {
        Some(text) => Some(Options::time("warmup-max", text)?),
        None => Some(Duration::from_secs(45)),
    };
    let warmup_max = warmup_max.filter(|_| options.warmup == "auto" && !options.quick);
    // Both sides get a search, or neither: an equal budget is part of the comparison.
    let search = args.search.unwrap_or(if options.quick { 0 } else { 8 });
    let given = |lines: &Vec<String>| (!lines.is_empty()).then(|| lines.clone());
    let best = [given(&args.best), given(&args.against_best)];
    let pairings = if search > 0 || best.iter().any(Option::is_some) { 2 } else { 1 };
    // The largest family of rows that Holm's correction weighs: one measure over all points it exists at.
    let rows = points.len() * views.len() * pairings;
    let needed = PAIRS_MIN.max(pairs::pairs_min(rows)).next_multiple_of(2);
    let pairs = args.pairs.unwrap_or(if options.quick { 2 } else { needed });
    if pairs == 0 {
        return Err(usage("--pairs 0: at least one is needed".to_owned()));
    }
    let pairs = pairs.next_multiple_of(2);
    let floor_pairs = args.floor_pairs.map_or(pairs, |pairs| pairs.next_multiple_of(2));
    Ok(Contest {
        a,
        b,
        best,
        search,
        views,
        points,
        pairs,
        floor_pairs,
        memory,
        warmup_max,
        allow_unequal: args.allow_unequal,
    })
}

/// The subject, and what sets it apart from itself.
fn named(kind: &Kind, overrides: &[String]) -> String {
    let name = subject_name(kind);
    if overrides.is_empty() { name } else { format!("{name} {}", overrides.join(" ")) }
}
