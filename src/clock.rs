//! Time as values: a monotonic instant in nanoseconds and wall time in milliseconds.
//!
//! Rules take these as arguments; only `reactor` reads the real clocks.

use std::time::Duration;

/// Year, month (1 to 12) and day (1 to 31) of a day counted from 1970-01-01, in the Gregorian calendar.
pub fn date_of(days: i64) -> (i64, u32, u32) {
    // Years begin in March here, so that the leap day is the last of a year; 146,097 days are 400 years.
    let from_march_0000 = days + 719_468;
    let (era, day_of_era) = (from_march_0000.div_euclid(146_097), from_march_0000.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month as u32, day as u32)
}

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
