//! Doubles of the world, driven by a seed: what the rules are tested on.
//!
//! In: the same calls as the real thing gets. Out: what a real machine could answer at its worst, the same again for the
//! same seed.

pub mod disk;
pub mod engine;
mod random;
pub mod zookeeper;

pub use disk::{Fault, SimDisk};
pub use engine::SimEngine;
pub use random::Random;
pub use zookeeper::ModelledZooKeeper;
