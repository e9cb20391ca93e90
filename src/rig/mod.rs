//! The rig: measures a broker it knows only by its protocol and by `/proc`.
//!
//! In: a command line, a workload. Out: a run folder (`report`), a table, an exit code.
//!
//! Reading order: `cli` is the way in; `workload` says what to do, `scenario` and `plan` turn it into cells, `session` runs them in
//! order, `block` runs one, `cell` adds its blocks up. `subject` keeps the broker; `sampler`, `counting`, `limits`,
//! `page_cache` and `environment` look at the machine; `live` shows it.

mod ballast;
mod block;
mod cell;
pub mod cli;
mod client;
mod contenders;
mod contest;
mod core_wait;
mod cores;
mod counting;
mod document;
mod durability;
pub mod engines;
mod environment;
mod exit;
mod interrupt;
mod java_kafka;
mod kept;
mod limits;
mod live;
mod page_cache;
mod plan;
mod profile;
mod sampler;
mod scenario;
mod segments;
mod self_tests;
mod session;
mod stock_client;
mod subject;
mod sustain;
mod turns;
mod value;
mod warmup;
mod workload;
