//! The log as a whole: appends, reads, stops and starts on real files, on a simulated disk, and on what Java wrote.
mod basic;
mod compaction;
mod crash;
mod directory;
mod follow;
mod java;
mod model;
#[path = "../outside/mod.rs"]
mod outside;
mod support;
