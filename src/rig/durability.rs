//! What an acknowledgement promises, and whether the counts of flushes bear it out.
//!
//! In: a durability class, and what a counting window saw: acknowledged requests, flush calls of the subject, flushes of
//! the device. Out: settings for the subject; proven, refuted, or not to be known here.

use std::str::FromStr;
use std::time::Duration;

/// What an acknowledgement promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    PageCache,
    IntervalMs(u64),
    Sync,
}

/// What was seen in one window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub window: Duration,
    pub acked_requests: u64,
    /// Requests that can be waiting for one flush together: all that may be in flight.
    pub requests_per_flush_max: u64,
    /// Flush calls of the subject; flushes it hands to a ring are not among them.
    pub fsyncs: Option<u64>,
    /// Of the whole machine: an upper bound.
    pub device_flushes: Option<u64>,
}

impl Durability {
    /// Whether the window bears the class out. `None`: nothing was acknowledged, or nothing could be counted.
    ///
    /// An acknowledgement of `sync` needs a flush that began after its write, and one flush can serve at most what is in
    /// flight. So there is a least number of flushes; a subject that skips them stays far below it. Flushes of the device
    /// count for the subject, since a ring's do not pass through calls: they can hide a few that are missing, not all.
    pub fn is_kept(self, seen: &Seen) -> Option<bool> {
        let least = match self {
            Durability::PageCache => 0,
            Durability::IntervalMs(ms) => (seen.window.as_millis() as u64 / ms.max(1)).saturating_sub(1),
            Durability::Sync => seen.acked_requests / seen.requests_per_flush_max.max(1),
        };
        let found = match (seen.fsyncs, seen.device_flushes) {
            (Some(calls), Some(flushes)) => calls.max(flushes),
            // Calls alone refute nothing: the flushes may have gone through a ring.
            (Some(calls), None) if calls >= least => calls,
            (None, Some(flushes)) => flushes,
            (Some(_), None) | (None, None) => return None,
        };
        (seen.acked_requests > 0).then_some(found >= least)
    }

    /// Kafka's own settings for the class: every broker that speaks the protocol understands them.
    pub fn properties(self) -> Vec<(&'static str, String)> {
        match self {
            Durability::PageCache => Vec::new(),
            Durability::IntervalMs(ms) => vec![
                ("log.flush.interval.ms", ms.to_string()),
                ("log.flush.scheduler.interval.ms", ms.to_string()),
            ],
            Durability::Sync => vec![("log.flush.interval.messages", "1".to_owned())],
        }
    }
}

impl FromStr for Durability {
    type Err = String;

    fn from_str(text: &str) -> Result<Durability, String> {
        match text {
            "page-cache" => Ok(Durability::PageCache),
            "sync" => Ok(Durability::Sync),
            _ => {
                let ms = text.strip_prefix("interval:").and_then(|ms| ms.parse().ok()).filter(|ms| *ms > 0);
                ms.map(Durability::IntervalMs)
                    .ok_or_else(|| format!("{text}: page-cache, interval:MS or sync"))
            }
        }
    }
}

impl std::fmt::Display for Durability {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Durability::PageCache => f.write_str("page-cache"),
            Durability::IntervalMs(ms) => write!(f, "interval:{ms}"),
            Durability::Sync => f.write_str("sync"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_durability_class_survives_its_text() {
        for text in ["page-cache", "interval:250", "sync"] {
            assert_eq!(text.parse::<Durability>().unwrap().to_string(), text);
        }
        assert!("interval:0".parse::<Durability>().is_err());
    }

    #[test]
    fn acknowledgements_without_flushes_refute_sync_and_nothing_else() {
        let seen = |fsyncs, device_flushes| Seen {
            window: Duration::from_secs(1),
            acked_requests: 2000,
            requests_per_flush_max: 20,
            fsyncs,
            device_flushes,
        };
        let sync = Durability::Sync;
        assert_eq!(sync.is_kept(&seen(Some(0), Some(3))), Some(false), "a journal flushes now and then");
        assert_eq!(sync.is_kept(&seen(Some(0), Some(150))), Some(true), "through a ring");
        assert_eq!(sync.is_kept(&seen(Some(100), None)), Some(true), "each for all that was in flight");
        assert_eq!(
            sync.is_kept(&seen(Some(0), None)),
            None,
            "there may have been flushes that nobody could see"
        );
        assert_eq!(sync.is_kept(&seen(None, None)), None);
        assert_eq!(Durability::PageCache.is_kept(&seen(Some(0), Some(0))), Some(true));
        assert_eq!(Durability::IntervalMs(100).is_kept(&seen(Some(2), Some(2))), Some(false));
        assert_eq!(sync.is_kept(&Seen { acked_requests: 0, ..seen(Some(0), Some(0)) }), None);
    }
}
