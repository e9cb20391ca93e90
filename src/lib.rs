//! Ringdaw: a Kafka broker for Linux on io_uring, one pinned thread per core, and the rig that measures it.
//!
//! This is the map. A reactor is one pinned thread with one ring; it runs a network loop, an IO loop, or both.
//!
//! ```text
//! clients --> network_thread (own sockets) --> io_thread (own partitions and their files) --> disk
//!                   ^       <-- outcome --           |
//!            metadata::Image                         +-- log, producer: the rules, pure
//!                   ^
//!            control_thread (owns the metadata store: its own file, or ZooKeeper)
//! ```
//!
//! **One produce request.** `reactor::ring` receives into a pool; `network_thread::connection` cuts frames;
//! `api::produce` checks batches while they are in the cache and sends one command per owner; `io_thread::produce` gathers
//! the commands of a turn; `log` stamps offsets in place and writes once per partition; the outcome goes back and
//! `api::produce` encodes the response.
//!
//! **One fetch.** `api::fetch_session` keeps what a client reads; `io_thread::fetch` answers with places in files, or waits
//! until an append flags one of them; `api::fetch` copies small ranges and leaves large ones to `sendfile`; cold ones are
//! read and checked by their owner.
//!
//! **Reading order**: `broker` (start and stop), `broker::reactor_thread` (a turn), `network_thread`, `api`, `io_thread`,
//! `log`; then `metadata` and `control_thread`; `reactor` when you want to know what is under all of it: two engines, `ring`
//! and `epoll`, behind one seam. The rig is separate: `rig`, `load`, `report`.
//!
//! **Who may use whom**: words (`ids`, `clock`, `checksum`, `random`) <- edges (`config`, `wire`, `reactor`, `metrics`) <- rules
//! (`log`, `producer`, `quota`, `replication`, `metadata`, `controller`) <- threads (`api`, `io_thread`, `network_thread`, `control_thread`) <- `broker` <- `main`.
//! `load` and `rig` use only edges: a rig must not know its subject. `tests/architecture.rs` holds the table.
//!
//! **Where this differs from the first design.** Receives are single-shot and take a pool buffer only when bytes are there,
//! so muting a connection is not asking for more and nothing is cancelled. One reactor accepts and deals connections out.
//! Up to sixteen produce requests of one connection are in work together, in order. Fetch sets are flagged by appends, so
//! neither side walks a session. Metadata is one `State` that two stores advance by the same changes; a ZooKeeper session is
//! ours, not a crate's, for the reasons in `metadata::zookeeper::session`. A shared flush of many logs is one `syncfs`.
pub mod api;
pub mod broker;
pub mod checksum;
pub mod clock;
pub mod config;
pub mod control_thread;
pub mod controller;
pub mod group;
pub mod ids;
pub mod io_thread;
pub mod load;
pub mod log;
pub mod metadata;
pub mod metrics;
pub mod network_thread;
pub mod producer;
pub mod quota;
pub mod random;
pub mod reactor;
pub mod replication;
pub mod report;
pub mod rig;
pub mod sim;
pub mod tools;
pub mod wire;
