//! Whether every acknowledged record was read once, in order, unchanged and at the offset it was acknowledged with.

/// What was acknowledged and read so far, per partition and producer.
#[derive(Clone, Debug, Default)]
pub struct Ledger {}
