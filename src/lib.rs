//! Ringdaw.
pub mod wire;
