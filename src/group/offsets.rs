//! The offsets that a group has committed, and when they end (contract 6.2).
//!
//! In: commits that are in the log, the date. Out: offsets, and those that have had their time.

use std::sync::Arc;

use hashbrown::{Equivalent, HashMap};

use super::request::TopicPartition;

/// A committed offset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    pub offset: i64,
    /// -1: unknown.
    pub leader_epoch: i32,
    pub metadata: Option<Arc<str>>,
    /// ms since 1970.
    pub committed_ms: i64,
    /// Set by requests that say how long to keep it.
    pub expires_ms: Option<i64>,
    /// Where its record stands; -1 until that is known.
    pub log_offset: i64,
}

/// A key without an owner, to look up with.
#[derive(Hash)]
struct At<'a> {
    topic: &'a str,
    partition: i32,
}

impl Equivalent<TopicPartition> for At<'_> {
    fn equivalent(&self, key: &TopicPartition) -> bool {
        self.partition == key.partition && *self.topic == *key.topic
    }
}

#[derive(Debug, Default)]
pub struct Offsets {
    committed: HashMap<TopicPartition, Committed>,
    /// Committed inside transactions that are open, by producer.
    in_transactions: HashMap<i64, HashMap<TopicPartition, Committed>>,
}

impl Offsets {
    pub fn is_empty(&self) -> bool {
        self.committed.is_empty() && self.in_transactions.is_empty()
    }

    pub fn get(&self, at: &TopicPartition) -> Option<&Committed> {
        self.committed.get(&At { topic: &at.topic, partition: at.partition })
    }

    pub fn iter(&self) -> impl Iterator<Item = (&TopicPartition, &Committed)> {
        self.committed.iter()
    }

    /// True when an open transaction has an offset for this partition.
    pub fn is_unstable(&self, at: &TopicPartition) -> bool {
        self.in_transactions.values().any(|offsets| offsets.contains_key(at))
    }

    /// A commit is in the log. Of two the one further back in the log counts, whatever was told first.
    pub fn put(&mut self, at: TopicPartition, committed: Committed) {
        match self.committed.get_mut(&at) {
            Some(there) if there.log_offset > committed.log_offset => {}
            Some(there) => *there = committed,
            None => {
                self.committed.insert(at, committed);
            }
        }
    }

    pub fn remove(&mut self, at: &TopicPartition) -> bool {
        self.committed.remove(at).is_some()
    }

    /// A record that takes a commit back stands at `log_offset`; what was committed behind it stays.
    pub fn remove_before(&mut self, at: &TopicPartition, log_offset: i64) {
        if self.committed.get(at).is_some_and(|committed| committed.log_offset < log_offset) {
            self.committed.remove(at);
        }
    }

    /// A commit of a transaction is in the log.
    pub fn put_in_transaction(&mut self, producer_id: i64, at: TopicPartition, committed: Committed) {
        self.in_transactions.entry(producer_id).or_default().insert(at, committed);
    }

    /// The transaction has ended.
    pub fn end_transaction(&mut self, producer_id: i64, commit: bool) {
        let Some(offsets) = self.in_transactions.remove(&producer_id) else { return };
        if commit {
            offsets.into_iter().for_each(|(at, committed)| self.put(at, committed));
        }
    }

    /// Partitions whose offset has had its time: `since` says from when an offset is counted that does not say itself when
    /// it ends, and `keep` which topics are in use.
    pub fn expired(
        &self,
        now_ms: i64,
        retention_ms: i64,
        since: impl Fn(&Committed) -> i64,
        keep: impl Fn(&str) -> bool,
    ) -> Vec<TopicPartition> {
        let over = |committed: &Committed| match committed.expires_ms {
            Some(expires_ms) => now_ms >= expires_ms,
            None => now_ms.saturating_sub(since(committed)) >= retention_ms,
        };
        let old = self.committed.iter().filter(|(at, committed)| over(committed) && !keep(&at.topic));
        old.map(|(at, _)| at.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(partition: i32) -> TopicPartition {
        TopicPartition { topic: "t".into(), partition }
    }

    fn committed(offset: i64, log_offset: i64) -> Committed {
        Committed { offset, log_offset, ..Default::default() }
    }

    #[test]
    fn the_commit_further_back_in_the_log_counts() {
        let mut offsets = Offsets::default();
        offsets.put(at(0), committed(5, 10));
        offsets.put(at(0), committed(4, 9));
        assert_eq!(offsets.get(&at(0)).unwrap().offset, 5);
        offsets.put(at(0), committed(1, 11));
        assert_eq!(offsets.get(&at(0)).unwrap().offset, 1);
    }

    #[test]
    fn a_transaction_shows_its_offsets_when_it_commits_and_forgets_them_when_it_aborts() {
        let mut offsets = Offsets::default();
        offsets.put(at(0), committed(1, 1));
        offsets.put_in_transaction(7, at(0), committed(2, 2));
        offsets.put_in_transaction(8, at(1), committed(3, 3));
        assert!(offsets.is_unstable(&at(0)) && offsets.is_unstable(&at(1)) && !offsets.is_unstable(&at(2)));
        assert_eq!(offsets.get(&at(0)).unwrap().offset, 1);
        offsets.end_transaction(7, true);
        offsets.end_transaction(8, false);
        assert_eq!(offsets.get(&at(0)).unwrap().offset, 2);
        assert!(offsets.get(&at(1)).is_none() && !offsets.is_unstable(&at(1)));
    }

    #[test]
    fn an_offset_that_says_when_it_ends_ends_then() {
        let mut offsets = Offsets::default();
        offsets.put(at(0), Committed { expires_ms: Some(100), ..committed(1, 1) });
        offsets.put(at(1), Committed { committed_ms: 50, ..committed(1, 2) });
        let expired = |now| {
            let mut found: Vec<i32> = offsets
                .expired(now, 1000, |committed| committed.committed_ms, |_| false)
                .iter()
                .map(|at| at.partition)
                .collect();
            found.sort_unstable();
            found
        };
        assert_eq!(expired(99), [0; 0]);
        assert_eq!(expired(100), [0]);
        assert_eq!(expired(1049), [0]);
        assert_eq!(expired(1050), [0, 1]);
        assert!(offsets.expired(9999, 1000, |c| c.committed_ms, |topic| topic == "t").is_empty());
    }
}
