//! Batches encoded once and stamped per send.

/// Bytes of the identity in the first record of each batch.
pub const STAMP_BYTES: usize = 32;
