//! Clients that are too fast: what counts for a connection, and its silence (contract 1.1, KIP-219).
//!
//! In: the client id of a request, bytes that passed. Out: the throttle time for its answer; the connection takes no request until
//! then. The answer itself goes out at once, as since Kafka 2.0. What counts is looked up when a connection's client id or the
//! limits change; where nobody is limited it is one question to the image.

use std::cmp::Reverse;
use std::sync::Arc;

use crate::clock::Instant;
use crate::network_thread::NetworkLoop;
use crate::quota::{ANONYMOUS, Direction, Limit, Limits};

/// What was found for a connection.
#[derive(Debug)]
pub struct Limited {
    /// In which it was found.
    limits: Arc<Limits>,
    client_id: Box<[u8]>,
    pub produce: Option<Limit>,
    pub fetch: Option<Limit>,
}

impl Limited {
    /// What counts now, if `known` does not say it already.
    pub fn find(
        known: Option<Box<Limited>>,
        limits: Option<&Arc<Limits>>,
        client_id: Option<&[u8]>,
        now: Instant,
    ) -> Option<Box<Limited>> {
        let limits = limits?;
        let client_id = client_id.unwrap_or_default();
        if let Some(known) = known
            && Arc::ptr_eq(&known.limits, limits)
            && *known.client_id == *client_id
        {
            return Some(known);
        }
        let name = String::from_utf8_lossy(client_id);
        let of = |direction| limits.of(direction, ANONYMOUS, &name, now);
        Some(Box::new(Limited {
            limits: Arc::clone(limits),
            client_id: client_id.into(),
            produce: of(Direction::Produce),
            fetch: of(Direction::Fetch),
        }))
    }
}

impl NetworkLoop {
    /// Counts what passed; for how many milliseconds the connection is silent from now on.
    pub(super) fn throttle(&mut self, slot: u32, direction: Direction, bytes: u64, now: Instant) -> i32 {
        let connection = &mut self.connections[slot as usize];
        let Some(limited) = &connection.limited else { return 0 };
        let limit = match direction {
            Direction::Produce => &limited.produce,
            Direction::Fetch => &limited.fetch,
        };
        let Some(limit) = limit else { return 0 };
        let silent_ms = i32::try_from(limit.pass(bytes, now)).unwrap_or(i32::MAX);
        if silent_ms > 0 {
            let until = now.after_ms(i64::from(silent_ms));
            if connection.muted_until.is_none_or(|muted| muted < until) {
                connection.muted_until = Some(until);
                self.muted.push(Reverse((until, slot, connection.generation)));
            }
        }
        silent_ms
    }

    /// Lets connections speak again whose silence is over.
    pub(super) fn unmute(&mut self, now: Instant) {
        while let Some(Reverse((until, slot, generation))) = self.muted.peek().copied() {
            if until > now {
                break;
            }
            self.muted.pop();
            let Some(connection) = self.connections.get_mut(slot as usize) else { continue };
            // A later end may have been set since, which has an entry of its own.
            if connection.generation == generation && connection.muted_until == Some(until) {
                connection.muted_until = None;
                connection.last_active = now;
                self.dirty.push(slot);
            }
        }
    }
}
