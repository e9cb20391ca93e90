//! What a coordinator has to do at some time, in the order of the times.
//!
//! In: times with what they are for. Out: those that are due. A timer is never taken back: who set it looks, when it fires,
//! whether it still means something. A member that reports all the time therefore has one timer, not one for each report.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use crate::clock::Instant;

/// What a timer is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// A member, or an id that was given out, may have been silent for too long.
    Member(Arc<str>),
    /// The time to join is over.
    Join,
    /// The time to ask for the assignment is over.
    Sync,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timer {
    pub at: Instant,
    pub group: Arc<str>,
    pub what: What,
}

#[derive(Debug, Default)]
pub struct Timers(BinaryHeap<Reverse<Timer>>);

impl Timers {
    pub fn set(&mut self, at: Instant, group: &Arc<str>, what: What) {
        self.0.push(Reverse(Timer { at, group: group.clone(), what }));
    }

    pub fn next(&self) -> Option<Instant> {
        self.0.peek().map(|Reverse(timer)| timer.at)
    }

    /// The first timer that is due.
    pub fn pop(&mut self, now: Instant) -> Option<Timer> {
        if self.next()? > now {
            return None;
        }
        self.0.pop().map(|Reverse(timer)| timer)
    }
}
