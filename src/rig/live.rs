//! What the user sees while a run goes on.
//!
//! In: phases, seconds, notes. Out: one screen that is redrawn (a terminal), one line per second (`--plain`, or no
//! terminal), or nothing (`--quiet`). It only shows: no figure is made here.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::time::Instant;

use crate::report::figures;

/// One second of a block.
#[derive(Clone, Debug, Default)]
pub struct Status {
    pub phase: &'static str,
    pub offered_records_per_s: f64,
    pub achieved_records_per_s: f64,
    pub bytes_per_s: f64,
    pub consumed_records_per_s: f64,
    pub in_flight: u64,
    pub waiting_records: u64,
    pub backlog_records: Option<u64>,
    pub p50_ns: Option<u64>,
    pub p99_ns: Option<u64>,
    pub p99_9_ns: Option<u64>,
    pub max_ns: Option<u64>,
    pub broker_cores: Option<f64>,
    pub generator_cores: Option<f64>,
    pub rss_bytes: Option<u64>,
    pub steal_ratio: Option<f64>,
    pub anomalies: u64,
    pub errors: u64,
}

pub trait Live {
    /// The plan is known: this many steps, about so many seconds.
    fn plan(&mut self, steps: usize, seconds: f64);
    /// A step that is no block: limits, counting, starting.
    fn step(&mut self, text: &str);
    /// A block begins.
    fn begin(&mut self, cell: &str, subject: &str);
    fn phase(&mut self, phase: &str);
    fn second(&mut self, status: &Status);
    /// Something worth keeping on the screen: a finished cell, a warning.
    fn note(&mut self, text: &str);
    /// The run is over; the terminal is as it was.
    fn end(&mut self);
}

/// `--quiet`: only notes that are warnings matter, and those are in the report.
pub struct Quiet;

impl Live for Quiet {
    fn plan(&mut self, _: usize, _: f64) {}
    fn step(&mut self, _: &str) {}
    fn begin(&mut self, _: &str, _: &str) {}
    fn phase(&mut self, _: &str) {}
    fn second(&mut self, _: &Status) {}
    fn note(&mut self, _: &str) {}
    fn end(&mut self) {}
}

fn ms(ns: Option<u64>) -> String {
    ns.map_or("-".to_owned(), |ns| figures::ms(ns as f64))
}

fn cores(share: Option<f64>) -> String {
    share.map_or("-".to_owned(), |share| format!("{:.0} %", share * 100.0))
}

/// One line per second, for logs and pipes.
pub struct Plain {
    started: Instant,
    cell: String,
}

impl Plain {
    pub fn new() -> Plain {
        Plain { started: Instant::now(), cell: String::new() }
    }

    fn line(&self, text: &str) {
        // A closed pipe is no reason to stop measuring.
        let _ = writeln!(io::stderr(), "{:>6.1} s  {text}", self.started.elapsed().as_secs_f64());
    }
}

impl Live for Plain {
    fn plan(&mut self, steps: usize, seconds: f64) {
        self.line(&format!("{steps} steps, about {seconds:.0} s"));
    }

    fn step(&mut self, text: &str) {
        self.line(text);
    }

    fn begin(&mut self, cell: &str, subject: &str) {
        self.cell = cell.to_owned();
        self.line(&format!("{cell}: {subject}"));
    }

    fn phase(&mut self, _: &str) {}

    fn second(&mut self, s: &Status) {
        let mut text = format!(
            "{} {:8}  {:>7}/s  {:>10}  p50 {} p99 {} max {} ms  in flight {}  broker {}  generator {}",
            self.cell,
            s.phase,
            figures::si(s.achieved_records_per_s),
            figures::bytes_per_s(s.bytes_per_s),
            ms(s.p50_ns),
            ms(s.p99_ns),
            ms(s.max_ns),
            s.in_flight,
            cores(s.broker_cores),
            cores(s.generator_cores),
        );
        if s.waiting_records > 0 {
            text.push_str(&format!("  waiting {}", figures::si(s.waiting_records as f64)));
        }
        if let Some(backlog) = s.backlog_records {
            text.push_str(&format!("  backlog {}", figures::si(backlog as f64)));
        }
        if s.anomalies > 0 {
            text.push_str(&format!("  ANOMALIES {}", s.anomalies));
        }
        if s.errors > 0 {
            text.push_str(&format!("  errors {}", s.errors));
        }
        self.line(&text);
    }

    fn note(&mut self, text: &str) {
        self.line(text);
    }

    fn end(&mut self) {}
}

/// The screen: finished cells scroll up, the current block stands below them and is redrawn in place.
pub struct Screen {
    started: Instant,
    steps: usize,
    done: usize,
    seconds: f64,
    cell: String,
    subject: String,
    phase: String,
    status: Option<Status>,
    rates: VecDeque<f64>,
    drawn_lines: usize,
}

/// Seconds in the sparkline.
const SPARKS: usize = 40;

impl Screen {
    pub fn new() -> Screen {
        Screen {
            started: Instant::now(),
            steps: 0,
            done: 0,
            seconds: 0.0,
            cell: String::new(),
            subject: String::new(),
            phase: String::new(),
            status: None,
            rates: VecDeque::new(),
            drawn_lines: 0,
        }
    }

    fn lines(&self) -> Vec<String> {
        let elapsed = self.started.elapsed().as_secs_f64();
        let left = match self.seconds - elapsed {
            left if left >= 1.0 => format!("about {left:.0} s left"),
            _ if self.done < self.steps => "longer than planned".to_owned(),
            _ => "almost done".to_owned(),
        };
        let share = if self.seconds > 0.0 { (elapsed / self.seconds).min(1.0) } else { 0.0 };
        let filled = (share * 30.0).round() as usize;
        let mut lines = vec![format!(
            "{}{}  {elapsed:.0} s, {left}  (block {} of {})",
            "█".repeat(filled),
            "░".repeat(30 - filled),
            self.done.min(self.steps),
            self.steps,
        )];
        lines.push(match self.cell.as_str() {
            "" => self.phase.clone(),
            cell => format!("{cell}  {}  {}", self.subject, self.phase),
        });
        let Some(s) = &self.status else { return lines };
        lines.push(format!(
            "  records/s   offered {:>8}   achieved {:>8}   read {:>8}   {}",
            figures::si(s.offered_records_per_s),
            figures::si(s.achieved_records_per_s),
            figures::si(s.consumed_records_per_s),
            figures::bytes_per_s(s.bytes_per_s),
        ));
        lines.push(format!(
            "  produce ms  p50 {}   p99 {}   p99.9 {}   max {}",
            ms(s.p50_ns),
            ms(s.p99_ns),
            ms(s.p99_9_ns),
            ms(s.max_ns),
        ));
        lines.push(format!(
            "  in flight {}   waiting {}   backlog {}",
            s.in_flight,
            figures::si(s.waiting_records as f64),
            s.backlog_records.map_or("-".to_owned(), |b| figures::si(b as f64)),
        ));
        lines.push(format!(
            "  CPU   broker {}   generator {}   steal {}   RSS {} MiB",
            cores(s.broker_cores),
            cores(s.generator_cores),
            cores(s.steal_ratio),
            s.rss_bytes.map_or("-".to_owned(), |b| figures::mib(b as f64)),
        ));
        lines.push(format!("  {}", self.sparkline()));
        if s.anomalies > 0 || s.errors > 0 {
            lines.push(format!("  ANOMALIES {}   errors {}", s.anomalies, s.errors));
        }
        lines
    }

    fn sparkline(&self) -> String {
        const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
        let top = self.rates.iter().copied().fold(0.0, f64::max);
        let bar = |rate: &f64| match top {
            top if top > 0.0 => BARS[((rate / top) * 7.0).round() as usize],
            _ => BARS[0],
        };
        self.rates.iter().map(bar).collect()
    }

    /// The text that takes the cursor back over what was drawn and clears it.
    fn erase(&mut self) -> String {
        let text = match self.drawn_lines {
            0 => "\r\x1b[J".to_owned(),
            lines => format!("\r\x1b[{lines}A\x1b[J"),
        };
        self.drawn_lines = 0;
        text
    }

    fn draw(&mut self) {
        let width = crate::reactor::process::terminal_columns(&io::stderr()).unwrap_or(80);
        let mut text = self.erase();
        let lines = self.lines();
        for line in &lines {
            text.extend(line.chars().take(width.saturating_sub(1)));
            text.push('\n');
        }
        self.drawn_lines = lines.len();
        let mut out = io::stderr().lock();
        let _ = out.write_all(text.as_bytes());
        let _ = out.flush();
    }
}

impl Live for Screen {
    fn plan(&mut self, steps: usize, seconds: f64) {
        self.steps = steps;
        self.seconds = seconds;
        self.draw();
    }

    fn step(&mut self, text: &str) {
        self.cell.clear();
        self.phase = text.to_owned();
        self.status = None;
        self.draw();
    }

    fn begin(&mut self, cell: &str, subject: &str) {
        self.done += 1;
        self.cell = cell.to_owned();
        self.subject = subject.to_owned();
        self.phase = "memory".to_owned();
        self.status = None;
        self.rates.clear();
        self.draw();
    }

    fn phase(&mut self, phase: &str) {
        self.phase = phase.to_owned();
        self.draw();
    }

    fn second(&mut self, status: &Status) {
        if self.rates.len() == SPARKS {
            self.rates.pop_front();
        }
        self.rates.push_back(status.achieved_records_per_s);
        self.status = Some(status.clone());
        self.draw();
    }

    fn note(&mut self, text: &str) {
        let erase = self.erase();
        let _ = writeln!(io::stderr(), "{erase}{text}");
        self.draw();
    }

    fn end(&mut self) {
        let erase = self.erase();
        let _ = write!(io::stderr(), "{erase}");
        let _ = io::stderr().flush();
    }
}
