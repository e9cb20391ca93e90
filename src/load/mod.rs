//! The load generator: a client of the protocol that depends on no broker's code.
//!
//! In: a `Plan`. Out: an `Outcome`: what it cost, how long it took, and whether every acknowledged record arrived
//! once, in order and unchanged.
//! Latency counts from the instant the schedule calls for a request, which no answer can move.
//!
//! Reading order: `plan`, `schedule`, `batch_pool`, `worker`, `verify`, `outcome`; `null_broker` is the server that
//! does the least possible work.

use std::ops::ControlFlow;

pub mod batch_pool;
pub mod outcome;
pub mod plan;
pub mod verify;

pub use outcome::{Anomaly, AnomalyKind, Ended, Histogram, Outcome, Phase, Progress, Second, Verification};
pub use plan::{Acks, Arrivals, Consumers, Plan, Producers, Topic, VerifyMode};
pub use verify::Ledger;

/// Why a run could not be made. What the broker did wrong during a run is in the outcome instead.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("{0}")]
    Plan(String),
    #[error("{what}: {source}")]
    Io { what: String, source: std::io::Error },
    /// The broker answered with an error.
    #[error("{api} of {what}: the broker answers {code} ({})", .code.message())]
    Refused { api: &'static str, what: String, code: crate::wire::error_code::ErrorCode },
    /// The broker's bytes are not what the protocol allows.
    #[error("{what}: {reason}")]
    Protocol { what: String, reason: String },
    #[error("{what}: no success within {seconds} s")]
    Timeout { what: String, seconds: u64 },
    #[error("a worker of the generator ended with a panic: {0}")]
    Panic(String),
}

/// Runs the plan to its end: creates the topic, loads, drains, verifies, deletes the topic.
///
/// `progress` is called on the calling thread, when a phase begins and once a second; `Break` ends the run early and
/// in order. The broker's misbehaviour is in the outcome; an error means that there is no outcome.
pub fn run(plan: &Plan, mut progress: impl FnMut(Progress) -> ControlFlow<()>) -> Result<Outcome, LoadError> {
    plan.check()?;
    let _ = progress(Progress::Phase { phase: Phase::Prepare, at_ns: 0 });
    Err(LoadError::Plan("the workers of the generator are not part of this build".into()))
}

/// Reads the whole topic again, for instance after the broker was killed and started again, and holds it against what
/// was acknowledged. `complete` in the answer says whether the end was reached.
pub fn audit(plan: &Plan, _ledger: &Ledger) -> Result<Verification, LoadError> {
    plan.check()?;
    Err(LoadError::Plan("the workers of the generator are not part of this build".into()))
}
