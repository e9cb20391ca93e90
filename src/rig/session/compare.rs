//! `bench compare`: two subjects, block beside block, until something may be said about their ratio.
//!
//! In: a [`Contest`]. Out: cells, blocks and comparisons in the run. The order of events is `compare`'s: obtain the
//! subjects, write the plan, pilot blocks (rates, durability, what either serves), a short search for the best
//! settings, then pairs in their order. Every block has a new process on a new directory. What was measured is
//! turned into rows however the run ends.

mod pilot;
mod search;
mod settle;

use std::time::{Duration, Instant};

use self::pilot::{Counted, Pilot};
use super::{DIRTY_BYTES_MAX, Session};
use crate::load::{self, Ended};
use crate::report::figures;
use crate::report::run::{self, Role};
use crate::rig::ballast::Ballast;
use crate::rig::block::{self, Ran, Surroundings};
use crate::rig::cell::{Collected, verification};
use crate::rig::contenders::{Contender, Contest, Load, Memory, Point, View};
use crate::rig::contest::{Member, Pair};
use crate::rig::exit::{Exit, Failure};
use crate::rig::plan::{CellSpec, round_down};
use crate::rig::subject::{Kind, Recipe, Subject};
use crate::rig::turns::{Turn, turns};
use crate::rig::{interrupt, java_kafka, page_cache};

/// A block in which the faster side is done sooner says little.
const FAST_SECONDS_MIN: f64 = 1.0;
/// The slower side gets this many times the planned window to do the same work.
const SLOW_WINDOWS_MAX: u32 = 6;
/// Growth probes of a pair further apart than this: one side had another memory.
const PROBES_APART_MAX: f64 = 0.10;

/// A row while its blocks come in.
struct Open {
    view: View,
    pairing: &'static str,
    point: usize,
    sides: [Contender; 2],
    specs: [CellSpec; 2],
    collected: [Collected; 2],
    pairs: Vec<Pair>,
}

impl Session<'_> {
    /// The whole comparison; exit codes as RIG section 6.3 has them.
    pub fn compare(&mut self, contest: &Contest) -> Result<(), Failure> {
        for contender in [&contest.a, &contest.b] {
            if let Kind::JavaKafka(version) = &contender.kind {
                self.live.step(&format!("obtaining Java Kafka {version}"));
                java_kafka::fetch(version)?;
            }
        }
        self.equal_classes(contest)?;
        let plain = contest.plain();
        let pairings = pairings(contest, plain, None);
        // The settings of the best are not known yet; that they will be shown is.
        let sides = [&contest.a, &contest.b].map(|side| side.with(format!("{} best", side.name), &[]));
        let expected = self::pairings(contest, plain, contest.has_best().then_some(&sides));
        let planned = self.rows(contest, &expected);
        self.open_contest(contest, planned)?;
        let windows = self.settings.windows;
        let specs: Vec<CellSpec> = contest.points.iter().map(|point| point.spec.clone()).collect();
        self.limits(&specs, "start", windows.limits_start);

        let mut ballast = None;
        if contest.memory == Memory::Resident {
            self.live.step("filling free memory with cached pages");
            match Ballast::create(&self.data_directory) {
                Ok(made) => ballast = Some(made),
                Err(error) => self.flag(format!("not-resident: the ballast could not be made: {error}")),
            }
        }
        let roofs = self.roofs_of(contest, &mut ballast)?;
        let mut pilots = Vec::new();
        let mut parity = Vec::new();
        self.pilots(contest, &[&contest.a, &contest.b], &mut ballast, &mut pilots, &mut parity)?;
        let best = self.best(contest, &mut ballast, &pilots)?;
        let pairings = match &best {
            Some(best) => {
                let new: Vec<&Contender> =
                    best.iter().filter(|side| **side != contest.a && **side != contest.b).collect();
                self.pilots(contest, &new, &mut ballast, &mut pilots, &mut Vec::new())?;
                self::pairings(contest, plain, Some(best))
            }
            None => pairings,
        };

        let mut rows = self.rows(contest, &pairings);
        for row in &mut rows {
            self.fix_work(contest, row, &pilots);
        }
        let result = self.turns(contest, &mut rows, &mut ballast);
        self.settle_rows(contest, rows, &roofs, parity);
        result?;
        self.limits(&specs, "end", windows.limits_end);
        Ok(())
    }

    /// Both sides must promise the same, or the comparison is of promises.
    fn equal_classes(&mut self, contest: &Contest) -> Result<(), Failure> {
        let class = |side: &Contender| side.durability(self.settings.durability);
        let (a, b) = (class(&contest.a), class(&contest.b));
        if a == b {
            return Ok(());
        }
        let text = format!(
            "unequal durability: an acknowledgement of {} means {a}, one of {} means {b}",
            contest.a.name, contest.b.name
        );
        if contest.allow_unequal {
            self.flag(text);
            return Ok(());
        }
        let text = format!("{text}; give both the same class, or say --allow-unequal");
        Err(Failure { exit: Exit::NotValid, text })
    }

    /// Every row that will run, the floor of each point and view behind its own rows.
    fn rows(&self, contest: &Contest, pairings: &[(&'static str, Contender, Contender)]) -> Vec<Open> {
        let mut rows = Vec::new();
        for view in &contest.views {
            for (number, point) in contest.points.iter().enumerate() {
                for (pairing, a, b) in pairings {
                    rows.push(open(view, pairing, number, point, a, b));
                }
                if contest.floor_pairs > 0 {
                    let mut row = open(view, "floor", number, point, &contest.a, &contest.a);
                    for (spec, side) in row.specs.iter_mut().zip(["first", "second"]) {
                        spec.role = Role::Anchor;
                        spec.id = format!("{}-{side}", spec.id);
                        spec.more.push(("against".to_owned(), "itself".to_owned()));
                    }
                    row.collected = [0, 1].map(|i| Collected::new(&row.specs[i], view.cores.broker.len()));
                    rows.push(row);
                }
            }
        }
        rows
    }

    /// Plan and folder; says first how long it is going to take.
    fn open_contest(&mut self, contest: &Contest, mut rows: Vec<Open>) -> Result<(), Failure> {
        let pairs = self.pair_counts(contest, &rows);
        for (row, pairs) in rows.iter_mut().zip(&pairs) {
            row.specs.iter_mut().for_each(|spec| spec.blocks = *pairs);
        }
        let mut order = Vec::new();
        for turn in turns(&pairs, self.settings.seed) {
            let specs = &rows[turn.row].specs;
            let (first, second) = if turn.a_first { (0, 1) } else { (1, 0) };
            order.extend([specs[first].id.clone(), specs[second].id.clone()]);
        }
        let start_s = |side: &Contender| match side.kind {
            // A JVM, the metadata service beside it, their stop, and a longer warm-up.
            Kind::JavaKafka(_) => contest.warmup_max.map_or(6.0, |longest| 6.0 + longest.as_secs_f64() / 2.0),
            _ => 1.0,
        };
        let probes_s = if self.settings.short { 0.5 } else { 2.5 };
        let block_s = |row: &Open, side: usize| {
            let blocks = row.specs[side].blocks.max(1) as f64;
            row.specs[side].duration_s() / blocks + start_s(&row.sides[side]) + probes_s
        };
        let seconds: f64 =
            rows.iter().zip(&pairs).map(|(row, n)| *n as f64 * (block_s(row, 0) + block_s(row, 1))).sum();
        let closed =
            contest.points.iter().filter(|point| !matches!(point.load, Load::Share(_))).count() as f64;
        let before = closed * contest.views.len() as f64 * (start_s(&contest.a) + start_s(&contest.b) + 8.0)
            + contest.search as f64 * 2.0 * (start_s(&contest.a) + start_s(&contest.b) + 12.0);
        let mut specs: Vec<&CellSpec> = rows.iter().flat_map(|row| row.specs.iter()).collect();
        specs.sort_by(|a, b| a.id.cmp(&b.id));
        specs.dedup_by(|a, b| a.id == b.id);
        let blocks = order.len();
        self.open_plan(&specs, order, seconds + before)?;
        self.live.note(&format!(
            "planned: {blocks} blocks in {} rows, about {}",
            rows.len(),
            minutes(seconds + before)
        ));
        Ok(())
    }

    fn pair_counts(&self, contest: &Contest, rows: &[Open]) -> Vec<u64> {
        let of = |row: &Open| if row.pairing == "floor" { contest.floor_pairs } else { contest.pairs };
        rows.iter().map(of).collect()
    }

    /// One block of a side on a fresh process and directory. `pilot` also counts flushes and asks what is served.
    #[allow(clippy::too_many_arguments)]
    fn member(
        &mut self,
        contest: &Contest,
        side: &Contender,
        view: &View,
        spec: &CellSpec,
        ballast: &mut Option<Ballast>,
        pilot: Option<&mut Counted>,
        roof: bool,
    ) -> Result<(Ran, Option<u64>), Failure> {
        if interrupt::requested() {
            return Err(Failure { exit: Exit::Interrupted, text: "interrupted".to_owned() });
        }
        self.level_memory(contest, ballast);
        let name = subject_name(side, view);
        let recipe = Recipe {
            kind: side.kind.clone(),
            name: name.clone(),
            cores: view.cores.broker.clone(),
            durability: self.settings.durability,
            data_directory: self.data_directory.join(format!("broker-{}", self.position)),
            overrides: side.overrides.clone(),
            log_file: self.opened().log(&name),
            pid: side.pid,
            faults: side.faults.clone(),
        };
        let mut subject = Subject::start(recipe)?;
        if !self.run.subjects.iter().any(|known| known.name == name) {
            let mut entry = subject.entry();
            // A null broker that is a contender is measured like any other.
            entry.is_null_broker = roof;
            entry.durability.class = Some(side.durability(self.settings.durability).to_string());
            self.run.subjects.push(entry);
        }
        if matches!(side.kind, Kind::Address(_)) {
            self.flag("not-isolated: the subject runs on, with whatever else it does");
        }
        let ran = self.run_block(&mut subject, spec);
        let ready = subject.ready_ns();
        let counted = match (&ran, pilot) {
            (Ok(_), Some(counted)) => self.count_flushes(&mut subject, spec, counted),
            _ => Ok(()),
        };
        let failed = |session: &Session<'_>, error: Failure, subject: &mut Subject| match error.exit {
            Exit::SubjectFailed => session.with_last_lines(error, subject),
            _ => error,
        };
        let result = match (ran, counted) {
            (Ok(ran), Ok(())) => Ok(ran),
            (Err(error), _) | (_, Err(error)) => Err(failed(self, error, &mut subject)),
        };
        if let Some(cpu) = subject.companion_cpu_ns() {
            self.companion_cpu_ns += cpu;
        }
        if let Some(text) = subject.stop() {
            self.flag(text);
        }
        result.map(|ran| (ran, ready))
    }

    fn run_block(&mut self, subject: &mut Subject, spec: &CellSpec) -> Result<Ran, Failure> {
        let mut spec = spec.clone();
        let free = crate::rig::environment::free_bytes(&self.data_directory).unwrap_or(u64::MAX);
        let bytes_max = super::CELL_BYTES_MAX.min(free / 2);
        spec.load.bytes_max = Some(spec.load.bytes_max.map_or(bytes_max, |own| own.min(bytes_max)));
        let short = self.settings.short;
        let mut around = Surroundings {
            started_ns: self.started_ns,
            data_directory: self.data_directory.clone(),
            subject_directory: subject.directory().map(std::path::Path::to_owned),
            device: self.device.clone(),
            probe_bytes: if short { 8 << 20 } else { 256 << 20 },
            warm_up_bytes: if short { 64 << 20 } else { page_cache::WARM_UP_BYTES },
            live: self.live,
        };
        let ran = block::run(subject, &spec, self.position, &mut around);
        self.position += 1;
        let ran = ran?;
        if let Ended::Disconnected(why) = &ran.outcome.ended {
            let text = format!("{} ended a connection: {why}", subject.name());
            return Err(Failure { exit: Exit::SubjectFailed, text });
        }
        let checked = verification(&ran.outcome.verification, &spec.id, &ran.topic);
        self.run.verification.add(&checked);
        self.unverified |= !ran.outcome.verification.passed();
        Ok(ran)
    }

    /// A crash names its status; either way the last lines of the log say more than we can.
    fn with_last_lines(&self, error: Failure, subject: &mut Subject) -> Failure {
        let lines = subject.last_lines();
        let text = match subject.crashed() {
            Some(crash) if error.text == crash => crash,
            Some(crash) => format!("{}\n{crash}", error.text),
            None if error.text.contains(&lines) => error.text,
            None => format!("{}; the last lines of {}:\n{lines}", error.text, subject.name()),
        };
        Failure { text, ..error }
    }

    /// Brings memory and disk into the same state before every block.
    fn level_memory(&mut self, contest: &Contest, ballast: &mut Option<Ballast>) {
        let patience = if self.settings.short { 1500 } else { 10_000 };
        page_cache::settle(DIRTY_BYTES_MAX, Duration::from_millis(patience));
        match contest.memory {
            Memory::Resident => {
                if let Some(Err(error)) = ballast.as_mut().map(Ballast::top_up) {
                    self.flag(format!("not-resident: the ballast could not be read: {error}"));
                }
            }
            Memory::Fresh => match std::fs::write("/proc/sys/vm/drop_caches", "3") {
                Ok(()) => {
                    let until = Instant::now() + Duration::from_secs(10);
                    while Instant::now() < until && !interrupt::requested() {
                        std::thread::sleep(Duration::from_millis(50));
                    }
                }
                Err(error) => self.flag(format!("not fresh: caches could not be dropped: {error}")),
            },
            Memory::AsIs => {}
        }
    }

    /// Gives every block of a row the same work: a number of bytes at saturation, one rate at a share of it. Each side
    /// is warmed up for as long as it needs; what follows is equal.
    fn fix_work(&self, contest: &Contest, row: &mut Open, pilots: &[Pilot]) {
        let point = &contest.points[row.point];
        let partitions = point.spec.load.topic.partitions;
        let base = match point.load {
            Load::Share(_) => contest.points.iter().position(|other| {
                other.load == Load::Saturation && other.spec.load.topic.partitions == partitions
            }),
            Load::Saturation | Load::AsWritten => Some(row.point),
        };
        for (spec, side) in row.specs.iter_mut().zip(&row.sides) {
            let pilot = pilots.iter().find(|pilot| {
                pilot.view == row.view.name && Some(pilot.point) == base && pilot.contender == side.name
            });
            // Fewer requests in a second compile less.
            let slower = if let Load::Share(share) = point.load { (1.0 / share).min(2.0) } else { 1.0 };
            if let Some(warmup) = pilot.and_then(|pilot| pilot.warmup) {
                spec.load.warmup = warmup.mul_f64(slower);
            }
        }
        let rates_at = |number: usize| -> Vec<f64> {
            let here = pilots.iter().filter(|pilot| pilot.view == row.view.name && pilot.point == number);
            here.map(|pilot| pilot.records_per_s).filter(|rate| *rate > 0.0).collect()
        };
        let lowest = |rates: &[f64]| rates.iter().copied().min_by(f64::total_cmp);
        match point.load {
            Load::Saturation => {
                // Of the two that meet: a third configuration must not shorten their windows.
                let of = |side: usize| {
                    let name = &row.sides[side].name;
                    pilots.iter().find(|pilot| {
                        pilot.view == row.view.name && pilot.point == row.point && pilot.contender == *name
                    })
                };
                let rates: Vec<f64> =
                    [of(0), of(1)].into_iter().flatten().map(|pilot| pilot.records_per_s).collect();
                let (Some(slow), Some(fast)) = (lowest(&rates), rates.iter().copied().max_by(f64::total_cmp))
                else {
                    return;
                };
                let seconds = point.spec.load.duration.as_secs_f64();
                let records = (slow * seconds).max(fast * FAST_SECONDS_MIN.min(seconds));
                let bytes = records * f64::from(point.spec.load.producers.record_bytes);
                for spec in &mut row.specs {
                    spec.load.window_bytes = Some((bytes as u64).clamp(1, super::CELL_BYTES_MAX));
                    spec.load.duration = point.spec.load.duration * SLOW_WINDOWS_MAX;
                }
            }
            Load::Share(share) => {
                let Some(lowest) = base.and_then(|base| lowest(&rates_at(base))) else { return };
                let records_per_s = round_down(lowest * share);
                for spec in &mut row.specs {
                    spec.load.producers.arrivals = load::Arrivals::Constant { records_per_s };
                }
            }
            Load::AsWritten => {}
        }
        row.collected = [0, 1].map(|i| Collected::new(&row.specs[i], row.view.cores.broker.len()));
    }

    fn turns(
        &mut self,
        contest: &Contest,
        rows: &mut [Open],
        ballast: &mut Option<Ballast>,
    ) -> Result<(), Failure> {
        for turn in turns(&self.pair_counts(contest, rows), self.settings.seed) {
            self.turn(contest, &mut rows[turn.row], turn, ballast)?;
            self.save()?;
        }
        Ok(())
    }

    /// One pair: two blocks, and what makes both of them void.
    fn turn(
        &mut self,
        contest: &Contest,
        row: &mut Open,
        turn: Turn,
        ballast: &mut Option<Ballast>,
    ) -> Result<(), Failure> {
        let mut rans: [Option<(Ran, Option<u64>)>; 2] = [None, None];
        let order = if turn.a_first { [0, 1] } else { [1, 0] };
        for side in order {
            let (spec, contender, view) =
                (row.specs[side].clone(), row.sides[side].clone(), row.view.clone());
            rans[side] = Some(self.member(contest, &contender, &view, &spec, ballast, None, false)?);
        }
        let [Some(mut a), Some(mut b)] = rans else {
            unreachable!("both sides of the order have run");
        };
        let mut reasons = Vec::new();
        if contest.memory != Memory::AsIs {
            let probe = |ran: &Ran| ran.block.page_cache.before.growth_probe_bytes_per_s;
            if let (Some(a), Some(b)) = (probe(&a.0), probe(&b.0))
                && (a / b).max(b / a) > 1.0 + PROBES_APART_MAX
            {
                reasons.push(format!("growth probes apart by {:.0} %", ((a / b).max(b / a) - 1.0) * 100.0));
            }
        }
        let alone = [&a, &b].map(|(ran, _)| !ran.block.void_reasons.is_empty());
        for (side, (ran, _)) in [&mut a, &mut b].into_iter().enumerate() {
            ran.block.void_reasons.extend(reasons.iter().cloned());
            if alone[1 - side] && !alone[side] {
                ran.block.void_reasons.push("its partner is void".to_owned());
            }
        }
        let void = !a.0.block.void_reasons.is_empty();
        let members = [(&a, 0), (&b, 1)].map(|((ran, ready), side)| {
            row.collected[side].add(ran, self.started_ns);
            let mut alone = Collected::new(&row.specs[side], row.view.cores.broker.len());
            alone.add(ran, self.started_ns);
            Member { cell: alone.cell(), ready_ns: *ready, histograms: [None, None] }
        });
        let [of_a, of_b] = members;
        self.live.note(&format!(
            "{:11} pair {:2} {:40} {}{}",
            row.pairing,
            turn.pair + 1,
            format!("{}, {}", place(contest, row), row.view.name),
            sides_text(&of_a, &of_b),
            if void { "  (void)" } else { "" }
        ));
        row.pairs.push(Pair { number: turn.pair, a_first: turn.a_first, void, a: of_a, b: of_b });
        for (ran, _) in [a, b] {
            let mut block = ran.block;
            block.pair = Some(turn.pair);
            if turn.pair > 0 {
                // One pair of each row shows its seconds; the rest would only make the page too large.
                block.series.iter_mut().for_each(|second| second.histograms.clear());
            }
            self.run.blocks.push(block);
        }
        Ok(())
    }
}

fn pairings(
    contest: &Contest,
    plain: &'static str,
    best: Option<&[Contender; 2]>,
) -> Vec<(&'static str, Contender, Contender)> {
    let mut out = vec![(plain, contest.a.clone(), contest.b.clone())];
    if let Some([a, b]) = best {
        out.push(("best", a.clone(), b.clone()));
    }
    out
}

fn open(
    view: &View,
    pairing: &'static str,
    number: usize,
    point: &Point,
    a: &Contender,
    b: &Contender,
) -> Open {
    let sides = [a.clone(), b.clone()];
    let specs = [0, 1].map(|side| {
        let mut spec = point.spec.clone();
        spec.subject = subject_name(&sides[side], view);
        spec.role = Role::Sweep;
        spec.load.cores = view.cores.load.clone();
        let word = ["a", "b"][side];
        spec.id = format!("{}-{}-{pairing}-{word}", point.spec.id, view.name);
        spec
    });
    let collected = [0, 1].map(|side| Collected::new(&specs[side], view.cores.broker.len()));
    Open { view: view.clone(), pairing, point: number, sides, specs, collected, pairs: Vec::new() }
}

/// Cells of one subject under two views are two lines of a chart.
fn subject_name(side: &Contender, view: &View) -> String {
    if view.name == "split" { side.name.clone() } else { format!("{} ({})", side.name, view.name) }
}

/// Where a row stands, with the rate it got.
fn place(contest: &Contest, row: &Open) -> String {
    let point = Point { spec: row.specs[0].clone(), load: contest.points[row.point].load };
    point.place()
}

fn view_number(contest: &Contest, view: &View) -> usize {
    contest.views.iter().position(|known| known == view).unwrap_or(0)
}

fn sides_text(a: &Member, b: &Member) -> String {
    let one = |member: &Member| {
        let p99 = member.cell.produce_response_ns.p99;
        match (member.cell.loop_kind, p99, member.cell.records_per_s) {
            (run::Loop::Open, Some(ns), _) => format!("p99 {}", figures::duration(ns as f64)),
            (_, _, Some(rate)) => format!("{} records/s", figures::si(rate)),
            _ => "nothing".to_owned(),
        }
    };
    format!("{} : {}", one(a), one(b))
}

fn minutes(seconds: f64) -> String {
    if seconds < 120.0 { format!("{seconds:.0} s") } else { format!("{:.0} minutes", seconds / 60.0) }
}
