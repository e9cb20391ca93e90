//! Command-line tools: clients of the protocol, and readers of files, with the arguments and the output of Kafka's scripts.

pub mod client;
mod coordinator_records;
pub mod dump_log;
pub mod perf;
pub mod topics;
pub mod verify;
