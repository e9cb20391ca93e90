//! Whether the broker lives and whether it may be sent work, as `/livez` and `/readyz` say it.
//!
//! In: what the start and the stop say of themselves, and the turns that each reactor has counted. Out: yes, or a sentence.
//! A reactor looks around at least once a second, so one whose count stands still for five is stuck.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::metrics::Registry;

/// After this time without a turn a reactor counts as stuck.
pub const STUCK_AFTER: Duration = Duration::from_secs(5);

/// Where the broker is between start and stop.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    Starting(&'static str),
    Ready,
    Stopping,
}

/// Shared by whoever starts and stops the broker and whoever is asked.
#[derive(Debug)]
pub struct Health {
    phase: Mutex<Phase>,
    registry: Arc<Registry>,
    /// Of each thread: its turns, and since when they are that many.
    turns: Mutex<BTreeMap<String, (u64, Instant)>>,
}

impl Health {
    pub fn new(registry: Arc<Registry>) -> Arc<Health> {
        Arc::new(Health {
            phase: Mutex::new(Phase::Starting("the settings have been read")),
            registry,
            turns: Mutex::default(),
        })
    }

    /// What the start is busy with.
    pub fn starting(&self, with: &'static str) {
        self.set(Phase::Starting(with));
    }

    pub fn ready(&self) {
        self.set(Phase::Ready);
    }

    pub fn stopping(&self) {
        self.set(Phase::Stopping);
    }

    fn set(&self, phase: Phase) {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner) = phase;
    }

    /// `Err` says why the broker should get no requests.
    pub fn is_ready(&self) -> Result<(), String> {
        match &*self.phase.lock().unwrap_or_else(PoisonError::into_inner) {
            Phase::Ready => Ok(()),
            Phase::Starting(with) => Err(format!("not ready: starting: {with}")),
            Phase::Stopping => Err("not ready: stopping".to_owned()),
        }
    }

    /// `Err` names the reactors that are stuck. Call it at least every few seconds: a count is compared with the last one seen.
    pub fn is_live(&self, now: Instant) -> Result<(), String> {
        let mut seen = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        let mut stuck = Vec::new();
        for (name, turns) in self.registry.turns() {
            let (last, since) = seen.entry(name.clone()).or_insert((turns, now));
            if *last != turns {
                (*last, *since) = (turns, now);
            } else if now.saturating_duration_since(*since) >= STUCK_AFTER {
                stuck.push(format!(
                    "{name} has made no turn for {} s",
                    now.saturating_duration_since(*since).as_secs()
                ));
            }
        }
        if stuck.is_empty() { Ok(()) } else { Err(format!("not live: {}", stuck.join("; "))) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reactor_whose_turns_stand_still_for_five_seconds_is_named() {
        let registry = Registry::new();
        let (steady, stuck) = (registry.thread("reactor-0"), registry.thread("reactor-1"));
        let health = Health::new(registry);
        let start = Instant::now();
        for second in 0..5 {
            steady.turns.increment();
            assert_eq!(health.is_live(start + Duration::from_secs(second)), Ok(()));
        }
        steady.turns.increment();
        let said = health.is_live(start + STUCK_AFTER).expect_err("reactor-1 stands still");
        assert_eq!(said, "not live: reactor-1 has made no turn for 5 s");
        stuck.turns.increment();
        assert_eq!(health.is_live(start + STUCK_AFTER), Ok(()));
    }

    #[test]
    fn a_broker_is_ready_between_its_start_and_its_stop() {
        let health = Health::new(Registry::new());
        health.starting("logs are being recovered");
        assert_eq!(health.is_ready(), Err("not ready: starting: logs are being recovered".to_owned()));
        health.ready();
        assert_eq!(health.is_ready(), Ok(()));
        health.stopping();
        assert_eq!(health.is_ready(), Err("not ready: stopping".to_owned()));
    }
}
