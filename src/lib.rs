//! Ringdaw: a Kafka broker for Linux on io_uring, one pinned thread per core, and the rig that measures it.
pub mod api;
pub mod checksum;
pub mod clock;
pub mod config;
pub mod control_thread;
pub mod ids;
pub mod load;
pub mod log;
pub mod metadata;
pub mod metrics;
pub mod producer;
pub mod reactor;
pub mod report;
pub mod rig;
pub mod wire;
