//! Histories: what clients did and were told, and the checker that says what must not have happened.
//!
//! In: events in the order they were recorded, one JSON line each. Out: a verdict with every anomaly by name. Nothing
//! here knows a broker: a run on real processes, a Java cluster or a simulator may have written the history.

// Each test program uses a part of it.
#![allow(dead_code)]

pub mod anomaly;
pub mod check;
pub mod event;
pub mod generate;
pub mod intervals;

pub use anomaly::{Name, Verdict};
pub use check::{Checker, Rules};
pub use event::{Event, What, When};

/// The verdict on a whole history.
pub fn judge(rules: Rules, events: &[Event]) -> Verdict {
    let mut checker = Checker::new(rules);
    for event in events {
        checker.take(event).unwrap_or_else(|why| panic!("{why}: {}", event.line()));
    }
    checker.finish()
}
