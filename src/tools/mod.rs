//! Command-line tools: clients of the protocol with the arguments and the output of Kafka's scripts.

pub mod client;
pub mod perf;
pub mod topics;
