//! The wire format against its judges: golden bytes written by Java, a second codec, and hostile bytes.
//!
//! `golden` and `batches` read what `tests/golden/make.sh` wrote; `holes` has the named regressions; `hostile` runs the
//! fuzz targets of `tests/fuzz` over seeds that a failure prints. Allocation is counted in all of them.

#[path = "../fuzz/targets.rs"]
mod targets;

mod batches;
mod corpus;
mod debug_text;
mod golden;
mod holes;
mod hostile;
mod oracle;
mod verdicts;
