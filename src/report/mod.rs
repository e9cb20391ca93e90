//! What a run found, as files people read: JSON, CSV, tables, pictures.
//!
//! In: a [`run::Run`] that the rig filled. Out: the run folder. `run.json` is the only source: every other
//! file is a pure function of it, so it can be rebuilt at any time, byte for byte.
pub mod run;
pub mod statistics;
