//! Client quotas: whose limit counts for a client, how fast it is, and how long it has to wait (KIP-13, KIP-55, KIP-219).
//!
//! In: limits as they are stored, bytes as they pass, the time. Out: a time to be silent. Several threads may serve one client:
//! they share its meter. Where nobody is limited nothing in here is asked.

mod limits;
mod meter;

pub use limits::{Direction, Limit, Limits, Part, Rates};
pub use meter::{Meter, Windows};

/// Who a connection without authentication is (contract 1.2).
pub const ANONYMOUS: &str = "ANONYMOUS";
