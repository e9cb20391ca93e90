//! Time as values: a monotonic instant in nanoseconds and wall time in milliseconds.
//!
//! Rules take these as arguments; only `reactor` reads the real clocks.

use std::time::Duration;

/// A point on the monotonic clock, in nanoseconds. Never goes back; says nothing about the date.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Instant(pub u64);

impl Instant {
    /// The instant `duration` later, saturating.
    pub fn after(self, duration: Duration) -> Instant {
        Instant(self.0.saturating_add(duration.as_nanos().min(u128::from(u64::MAX)) as u64))
    }

    /// The instant `ms` milliseconds later; a negative `ms` counts as none.
    pub fn after_ms(self, ms: i64) -> Instant {
        self.after(Duration::from_millis(ms.max(0) as u64))
    }

    /// Time since `earlier`; zero when that is not in the past.
    pub fn since(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Wall time in milliseconds since 1970, as Kafka's timestamps are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct WallMs(pub i64);
