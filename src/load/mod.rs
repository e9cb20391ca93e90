//! The load generator: a client of the protocol that depends on no broker's code.
//!
//! In: a `Plan`. Out: an `Outcome`: what it cost, how long it took, and whether every acknowledged record arrived
//! once, in order and unchanged.
//! Latency counts from the instant the schedule calls for a request, which no answer can move.
//!
//! Reading order: `plan`, `schedule`, `batch_pool`, `worker`, `verify`, `outcome`; `null_broker` is the server that
//! does the least possible work.

pub mod batch_pool;
mod consumer;
pub mod control;
mod fetch_stream;
pub mod null_broker;
pub mod outcome;
pub mod plan;
mod producer;
pub mod random;
mod run;
pub mod schedule;
mod steady;
pub mod verify;
mod worker;

pub use outcome::{Anomaly, AnomalyKind, Ended, Histogram, Outcome, Phase, Progress, Second, Verification};
pub use plan::{Acks, Arrivals, Consumers, Plan, Producers, Topic, VerifyMode};
pub use run::{audit, run};
pub use verify::{Acknowledged, Ledger};

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
