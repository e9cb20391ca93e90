//! Numbers with one writer and any number of readers.
//!
//! In: bumps from the owning thread. Out: the value, to anyone, possibly a little old.
//! Only the owner may write. Two writers would lose bumps, nothing worse; readers need no rule at all.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

/// Only ever rises.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub const fn new() -> Counter {
        Counter(AtomicU64::new(0))
    }

    /// A load and a store instead of `fetch_add`: the owner is alone, and a locked instruction costs some
    /// twenty times as much.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    #[inline]
    pub fn increment(&self) {
        self.add(1);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// The present size of something.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    pub const fn new() -> Gauge {
        Gauge(AtomicI64::new(0))
    }

    #[inline]
    pub fn set(&self, value: i64) {
        self.0.store(value, Relaxed);
    }

    #[inline]
    pub fn add(&self, n: i64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    pub fn get(&self) -> i64 {
        self.0.load(Relaxed)
    }
}

/// The largest value so far.
#[derive(Debug, Default)]
pub struct Maximum(AtomicU64);

impl Maximum {
    pub const fn new() -> Maximum {
        Maximum(AtomicU64::new(0))
    }

    #[inline]
    pub fn raise(&self, value: u64) {
        if value > self.0.load(Relaxed) {
            self.0.store(value, Relaxed);
        }
    }

    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn a_reader_on_another_thread_ends_with_every_bump_of_the_owner() {
        let counter = Arc::new(Counter::new());
        let owner = Arc::clone(&counter);
        let thread = std::thread::spawn(move || (0..100_000).for_each(|_| owner.increment()));
        let mut last = 0;
        while !thread.is_finished() {
            let seen = counter.get();
            assert!(seen >= last, "went back from {last} to {seen}");
            last = seen;
        }
        thread.join().expect("the owner only counts");
        assert_eq!(counter.get(), 100_000);
    }

    #[test]
    fn a_maximum_never_falls() {
        let maximum = Maximum::new();
        [3, 9, 4].iter().for_each(|v| maximum.raise(*v));
        assert_eq!(maximum.get(), 9);
    }
}
