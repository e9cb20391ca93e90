//! What the checker can find, by name, and its verdict.
//!
//! The names are Jepsen's (`jepsen.tests.kafka`) where it has one. Those of `NOT_YET` need transactions, groups or
//! compaction in the history, and no history has them yet.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Name {
    LostWrite,
    Unseen,
    InconsistentOffsets,
    Duplicate,
    G1a,
    NonmonotonicSend,
    IntNonmonotonicSend,
    PollSkip,
    NonmonotonicPoll,
    IntPollSkip,
    IntNonmonotonicPoll,
    Realtime,
    AckedBelowMinIsr,
    BadCrc,
    StaleTopic,
    /// A record that nobody sent to any partition of this name.
    NeverSent,
    NoProgress,
}

pub const NOT_YET: &[&str] = &[
    "precommitted-read",
    "G1c",
    "G0",
    "int-send-skip",
    "torn-txn",
    "hung-txn",
    "fenced-commit",
    "offset-regress",
    "commit-lost",
    "double-owner",
    "last-value-lost",
];

impl Name {
    pub const ALL: [Name; 17] = [
        Name::LostWrite,
        Name::Unseen,
        Name::InconsistentOffsets,
        Name::Duplicate,
        Name::G1a,
        Name::NonmonotonicSend,
        Name::IntNonmonotonicSend,
        Name::PollSkip,
        Name::NonmonotonicPoll,
        Name::IntPollSkip,
        Name::IntNonmonotonicPoll,
        Name::Realtime,
        Name::AckedBelowMinIsr,
        Name::BadCrc,
        Name::StaleTopic,
        Name::NeverSent,
        Name::NoProgress,
    ];

    pub fn text(self) -> &'static str {
        match self {
            Name::LostWrite => "lost-write",
            Name::Unseen => "unseen",
            Name::InconsistentOffsets => "inconsistent-offsets",
            Name::Duplicate => "duplicate",
            Name::G1a => "G1a",
            Name::NonmonotonicSend => "nonmonotonic-send",
            Name::IntNonmonotonicSend => "int-nonmonotonic-send",
            Name::PollSkip => "poll-skip",
            Name::NonmonotonicPoll => "nonmonotonic-poll",
            Name::IntPollSkip => "int-poll-skip",
            Name::IntNonmonotonicPoll => "int-nonmonotonic-poll",
            Name::Realtime => "realtime",
            Name::AckedBelowMinIsr => "acked-below-min-isr",
            Name::BadCrc => "bad-crc",
            Name::StaleTopic => "stale-topic",
            Name::NeverSent => "never-sent",
            Name::NoProgress => "no-progress",
        }
    }

    pub fn parse(text: &str) -> Option<Name> {
        Name::ALL.into_iter().find(|name| name.text() == text)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.pad(self.text())
    }
}

/// One find. Lines count from 1.
#[derive(Clone, Debug)]
pub struct Case {
    pub name: Name,
    pub part: String,
    pub offset: Option<u64>,
    pub value: Option<u64>,
    /// The line that showed it.
    pub line: u64,
    /// The line where the value's send began, while that is known.
    pub sent_at: Option<u64>,
    pub why: String,
}

impl fmt::Display for Case {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{}: {}", self.name, self.part)?;
        if let Some(offset) = self.offset {
            write!(to, " offset {offset}")?;
        }
        if let Some(value) = self.value {
            write!(to, " value {value}")?;
        }
        write!(to, ": {} (line {}", self.why, self.line)?;
        if let Some(line) = self.sent_at {
            write!(to, ", sent at line {line}")?;
        }
        write!(to, ")")
    }
}

/// Cases of one kind that are kept with their particulars.
pub const CASES_MAX: usize = 10;

#[derive(Clone, Debug, Default)]
pub struct Verdict {
    pub counts: BTreeMap<Name, u64>,
    pub cases: Vec<Case>,
    pub allowed: BTreeSet<Name>,
    /// Records, not operations.
    pub acknowledged: u64,
    /// Acknowledged with a weak promise and never read: not an anomaly.
    pub weak_lost: u64,
    pub failed: u64,
    pub unknown: u64,
    /// Records read for the first time.
    pub read: u64,
    /// Acknowledged, never read, and nobody read that far: neither proven lost nor proven there.
    pub unproven: u64,
    /// Duplicates of producers without idempotence.
    pub repeated: u64,
    /// The longest time in which a partition acknowledged nothing although something waited: ns, and where.
    pub longest_gap: (u64, String),
    pub events: u64,
    /// The most intervals, runs and open operations that were held at once.
    pub held_max: usize,
}

impl Verdict {
    pub fn errors(&self) -> BTreeMap<Name, u64> {
        let errors = self.counts.iter().filter(|(name, _)| !self.allowed.contains(name));
        errors.map(|(name, count)| (*name, *count)).collect()
    }

    pub fn is_clean(&self) -> bool {
        self.errors().is_empty() && self.unproven == 0
    }

    pub fn count(&self, names: &[Name]) -> u64 {
        names.iter().filter_map(|name| self.counts.get(name)).sum()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            to,
            "{} events: {} records acknowledged, {} read, {} refused, {} unknown, {} unproven",
            self.events, self.acknowledged, self.read, self.failed, self.unknown, self.unproven
        )?;
        for (name, count) in &self.counts {
            let note = if self.allowed.contains(name) { " (allowed here)" } else { "" };
            writeln!(to, "{name}: {count}{note}")?;
        }
        self.cases.iter().try_for_each(|case| writeln!(to, "  {case}"))
    }
}
