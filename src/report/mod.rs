//! What a run found, as files people read: JSON, CSV, tables, pictures.
//!
//! In: a [`run::Run`] that the rig filled. Out: the run folder. `run.json` is the only source: every other
//! file is a pure function of it, so it can be rebuilt at any time, byte for byte.
//!
//! Reading order: `run` (the data), `lines` (which cells belong together), `statistics` (what samples support), `pairs` (what two subjects show),
//! `table`, `csv` and `page` (the outputs), `picture` with `svg` and `style` (the drawings), `folder` (the files).
pub mod csv;
pub mod diff;
pub mod engines;
pub mod figures;
pub mod flame;
pub mod folder;
pub mod lines;
pub mod page;
pub mod pairs;
pub mod picture;
pub mod run;
pub mod statistics;
mod style;
mod svg;
pub mod table;
pub mod unpaired;
pub mod verdict;
