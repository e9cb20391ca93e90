//! Whose limit counts for a client: eight places in a fixed order, the most particular first.
//!
//! In: limits by entity. Out: for a client the limit in force, with the meter of all who share it: the clients of a user, the
//! connections of a client id, or of both.

use std::sync::{Arc, Mutex, PoisonError};

use hashbrown::HashMap;

use crate::clock::Instant;
use crate::quota::meter::{Meter, Windows};

/// One part of an entity.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Part {
    /// Whoever has no limit of his own.
    Default,
    Named(Arc<str>),
}

/// What an entity is allowed, in bytes per second.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Rates {
    pub producer: Option<f64>,
    pub consumer: Option<f64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Direction {
    /// Bytes of produce requests (`producer_byte_rate`).
    Produce,
    /// Bytes of fetch responses (`consumer_byte_rate`).
    Fetch,
}

/// User and client id, as far as they are told apart.
type Sharers = (Direction, Option<Arc<str>>, Option<Arc<str>>);
type Meters = Mutex<HashMap<Sharers, Arc<Mutex<Meter>>>>;

/// All limits. They are made anew when one changes; the meters go on.
#[derive(Debug)]
pub struct Limits {
    windows: Windows,
    /// By user and client id; `None` where the entity says nothing of it.
    by_entity: HashMap<(Option<Part>, Option<Part>), Rates>,
    meters: Arc<Meters>,
}

/// A limit that counts for a client.
#[derive(Clone, Debug)]
pub struct Limit {
    bytes_per_second: f64,
    windows: Windows,
    meter: Arc<Mutex<Meter>>,
}

/// Beyond this many meters those are dropped that nobody uses.
const METERS_KEPT: usize = 1024;

impl Limits {
    /// `before` lends its meters. `None` when there is no limit at all.
    pub fn new(
        windows: Windows,
        entities: impl Iterator<Item = (Option<Part>, Option<Part>, Rates)>,
        before: Option<&Limits>,
    ) -> Option<Limits> {
        let limited = entities.filter(|(_, _, rates)| *rates != Rates::default());
        let by_entity: HashMap<_, _> = limited.map(|(user, client, rates)| ((user, client), rates)).collect();
        let meters = before.map_or_else(Arc::default, |before| Arc::clone(&before.meters));
        (!by_entity.is_empty()).then_some(Limits { windows, by_entity, meters })
    }

    /// What counts for this client. The first entity that limits this direction does, in Kafka's order: user and client id,
    /// user and any client, user; any user and client id, any of both, any user; client id, any client.
    pub fn of(&self, direction: Direction, user: &str, client: &str, now: Instant) -> Option<Limit> {
        let (named_user, named_client) = (Part::Named(user.into()), Part::Named(client.into()));
        let users = [Some(named_user), Some(Part::Default), None];
        let clients = [Some(named_client), Some(Part::Default), None];
        for of_user in &users {
            for of_client in &clients {
                let key = (of_user.clone(), of_client.clone());
                let Some(rates) = self.by_entity.get(&key) else { continue };
                let rate = match direction {
                    Direction::Produce => rates.producer,
                    Direction::Fetch => rates.consumer,
                };
                if let Some(bytes_per_second) = rate {
                    let sharers = (
                        direction,
                        of_user.as_ref().map(|_| user.into()),
                        of_client.as_ref().map(|_| client.into()),
                    );
                    let meter = self.meter(sharers, now);
                    return Some(Limit { bytes_per_second, windows: self.windows, meter });
                }
            }
        }
        None
    }

    fn meter(&self, sharers: Sharers, now: Instant) -> Arc<Mutex<Meter>> {
        let mut meters = self.meters.lock().unwrap_or_else(PoisonError::into_inner);
        if meters.len() >= METERS_KEPT.max(meters.capacity() / 2) && !meters.contains_key(&sharers) {
            let windows = self.windows;
            meters.retain(|_, meter| {
                Arc::strong_count(meter) > 1
                    || !meter.lock().unwrap_or_else(PoisonError::into_inner).is_idle(windows, ms(now))
            });
        }
        Arc::clone(meters.entry(sharers).or_default())
    }
}

impl Limit {
    /// Counts bytes that passed: for how many milliseconds its client must be silent.
    pub fn pass(&self, bytes: u64, now: Instant) -> u32 {
        let mut meter = self.meter.lock().unwrap_or_else(PoisonError::into_inner);
        meter.pass(bytes, self.bytes_per_second, self.windows, ms(now))
    }

    /// The most that one answer may hold, so that it can be made up for.
    pub fn bytes_max(&self) -> u64 {
        self.windows.bytes_max(self.bytes_per_second)
    }
}

fn ms(now: Instant) -> i64 {
    (now.0 / 1_000_000) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOWS: Windows = Windows { count: 11, length_ms: 1000 };
    const NOW: Instant = Instant(0);

    fn part(name: &str) -> Option<Part> {
        match name {
            "-" => None,
            "*" => Some(Part::Default),
            name => Some(Part::Named(name.into())),
        }
    }

    fn limits(entities: &[(&str, &str, f64)], before: Option<&Limits>) -> Option<Limits> {
        let entities = entities.iter().map(|(user, client, rate)| {
            (part(user), part(client), Rates { producer: Some(*rate), consumer: None })
        });
        Limits::new(WINDOWS, entities, before)
    }

    #[test]
    fn the_most_particular_entity_counts_in_kafkas_order() {
        let order = [
            ("alice", "app"),
            ("alice", "*"),
            ("alice", "-"),
            ("*", "app"),
            ("*", "*"),
            ("*", "-"),
            ("-", "app"),
            ("-", "*"),
        ];
        for first in 0..order.len() {
            let entities: Vec<_> = order[first..]
                .iter()
                .zip(first..)
                .map(|((user, client), n)| (*user, *client, n as f64 + 1.0))
                .collect();
            let found = limits(&entities, None).unwrap().of(Direction::Produce, "alice", "app", NOW).unwrap();
            assert_eq!(found.bytes_per_second, first as f64 + 1.0);
        }
        let others = limits(&[("alice", "app", 1.0), ("-", "other", 2.0)], None).unwrap();
        assert!(others.of(Direction::Produce, "bob", "app", NOW).is_none());
        assert!(others.of(Direction::Fetch, "alice", "app", NOW).is_none());
    }

    #[test]
    fn a_users_clients_share_and_so_do_the_connections_of_a_client_id() {
        let all = limits(&[("alice", "-", 1000.0), ("bob", "*", 1000.0), ("-", "*", 1000.0)], None).unwrap();
        let pass = |user, client| all.of(Direction::Produce, user, client, NOW).unwrap().pass(10_000, NOW);
        assert_eq!((pass("alice", "a"), pass("alice", "b")), (0, 10_000));
        assert_eq!((pass("bob", "a"), pass("bob", "b"), pass("bob", "a")), (0, 0, 10_000));
        assert_eq!((pass("carol", "a"), pass("dave", "a"), pass("dave", "b")), (0, 10_000, 0));
    }

    #[test]
    fn a_change_keeps_what_was_measured_and_the_last_limit_ends_it_all() {
        let first = limits(&[("-", "app", 1000.0)], None).unwrap();
        assert_eq!(first.of(Direction::Produce, "u", "app", NOW).unwrap().pass(11_000, NOW), 1000);
        let second = limits(&[("-", "app", 2000.0)], Some(&first)).unwrap();
        assert_eq!(second.of(Direction::Produce, "u", "app", NOW).unwrap().pass(11_000, NOW), 1000);
        assert!(limits(&[], Some(&second)).is_none());
    }

    #[test]
    fn clients_that_come_and_go_leave_no_meters_behind() {
        let all = limits(&[("-", "*", 1000.0)], None).unwrap();
        for n in 0..100_000u64 {
            let now = Instant(n * 1_000_000_000);
            all.of(Direction::Produce, "u", &format!("client-{n}"), now).unwrap().pass(1, now);
        }
        assert!(all.meters.lock().unwrap().len() <= 4 * METERS_KEPT);
    }
}
