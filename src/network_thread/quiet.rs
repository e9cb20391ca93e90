//! Log lines about what clients do wrong, at most one of a kind in ten seconds.
//!
//! In: a kind and the time. Out: whether to log now, and how many lines were left out since the last one.

use hashbrown::HashMap;

use crate::clock::Instant;

const QUIET_MS: i64 = 10_000;

/// Counts lines by kind.
#[derive(Debug, Default)]
pub struct RateLimit {
    kinds: HashMap<&'static str, (Instant, u64), foldhash::fast::RandomState>,
}

impl RateLimit {
    /// `Some(suppressed)` when a line of this kind may be written now.
    pub fn pass(&mut self, kind: &'static str, now: Instant) -> Option<u64> {
        match self.kinds.get_mut(kind) {
            Some((until, suppressed)) if now < *until => {
                *suppressed += 1;
                None
            }
            Some((until, suppressed)) => {
                *until = now.after_ms(QUIET_MS);
                Some(std::mem::take(suppressed))
            }
            None => {
                self.kinds.insert(kind, (now.after_ms(QUIET_MS), 0));
                Some(0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_in_ten_seconds_carries_the_count_of_the_others() {
        let mut limit = RateLimit::default();
        let at = |ms| Instant(0).after_ms(ms);
        assert_eq!(limit.pass("a", at(0)), Some(0));
        assert_eq!(limit.pass("a", at(1)), None);
        assert_eq!(limit.pass("b", at(1)), Some(0));
        assert_eq!(limit.pass("a", at(9_999)), None);
        assert_eq!(limit.pass("a", at(10_000)), Some(2));
    }
}
