//! The newest offset of each key, in memory of a fixed size (contract 3.5): what compaction compares records with.
//!
//! In: keys with their offsets, in the order of the log. Out: the newest offset of a key. A key is known by 128 bits of
//! a keyed hash only, so an entry has a fixed size; two keys with one hash would be one key, and since the hash keys
//! are drawn per map and never told, nobody can make such a pair on purpose.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

/// Bytes of one entry: 16 of hash, 8 of offset.
pub const ENTRY_BYTES: usize = size_of::<Entry>();

#[derive(Clone, Copy, Default, Debug)]
struct Entry {
    hash: [u64; 2],
    /// Offset plus one, so that memory fresh from the system is an empty map.
    after: i64,
}

#[derive(Debug)]
pub struct OffsetMap {
    entries: Vec<Entry>,
    keys_max: usize,
    keys: usize,
    hashing: [RandomState; 2],
    latest: i64,
}

impl OffsetMap {
    /// A map within `bytes_max`, at most `load_factor` full, and no larger than `keys_wanted` keys need.
    pub fn new(bytes_max: usize, load_factor: f64, keys_wanted: u64) -> OffsetMap {
        let load_factor = load_factor.clamp(0.01, 0.99);
        let wanted = (keys_wanted as f64 / load_factor).min(u32::MAX as f64) as usize + 1;
        // One place always stays empty: where a search ends.
        let slots = (bytes_max / ENTRY_BYTES).min(wanted).max(2);
        OffsetMap {
            entries: vec![Entry::default(); slots],
            keys_max: ((slots as f64 * load_factor) as usize).clamp(1, slots - 1),
            keys: 0,
            hashing: [RandomState::new(), RandomState::new()],
            latest: -1,
        }
    }

    pub fn len(&self) -> usize {
        self.keys
    }

    pub fn is_empty(&self) -> bool {
        self.keys == 0
    }

    /// Bytes it takes.
    pub fn bytes(&self) -> usize {
        self.entries.len() * ENTRY_BYTES
    }

    /// All records up to this offset are in the map; -1 at first.
    pub fn latest(&self) -> i64 {
        self.latest
    }

    pub fn set_latest(&mut self, offset: i64) {
        self.latest = self.latest.max(offset);
    }

    fn hash(&self, key: &[u8]) -> [u64; 2] {
        [self.hashing[0].hash_one(key), self.hashing[1].hash_one(key)]
    }

    /// The place of a key, or the empty place where it belongs.
    fn place(&self, hash: [u64; 2]) -> usize {
        let slots = self.entries.len();
        let mut at = ((u128::from(hash[0]) * slots as u128) >> 64) as usize;
        loop {
            let entry = &self.entries[at];
            if entry.after == 0 || entry.hash == hash {
                return at;
            }
            at = if at + 1 == slots { 0 } else { at + 1 };
        }
    }

    /// Notes a record. False, and nothing noted, when the key is new and the map is full.
    pub fn put(&mut self, key: &[u8], offset: i64) -> bool {
        let hash = self.hash(key);
        let at = self.place(hash);
        if self.entries[at].after == 0 {
            if self.keys >= self.keys_max {
                return false;
            }
            self.keys += 1;
        }
        self.entries[at] = Entry { hash, after: offset.saturating_add(1) };
        true
    }

    /// The newest offset of a key.
    pub fn get(&self, key: &[u8]) -> Option<i64> {
        let entry = &self.entries[self.place(self.hash(key))];
        (entry.after != 0).then(|| entry.after - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn it_says_of_every_key_what_a_plain_map_says() {
        let mut map = OffsetMap::new(1 << 20, 0.9, 5_000);
        let mut plain = BTreeMap::new();
        let mut state = 7u64;
        for offset in 0..20_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let key = (state >> 52).to_string();
            assert!(map.put(key.as_bytes(), offset));
            plain.insert(key, offset);
        }
        assert_eq!(map.len(), plain.len());
        for (key, offset) in &plain {
            assert_eq!(map.get(key.as_bytes()), Some(*offset));
        }
        assert_eq!(map.get(b"never"), None);
    }

    #[test]
    fn it_stays_within_its_memory_and_says_when_it_is_full() {
        let mut map = OffsetMap::new(100 * ENTRY_BYTES, 0.9, u64::MAX);
        assert_eq!(map.bytes(), 100 * ENTRY_BYTES);
        let taken = (0..200).take_while(|n| map.put(format!("key {n}").as_bytes(), *n)).count();
        assert_eq!((taken, map.len()), (90, 90));
        // Known keys still move on.
        assert!(map.put(b"key 3", 1_000));
        assert_eq!(map.get(b"key 3"), Some(1_000));
        assert_eq!(map.get(b"key 150"), None);
    }

    #[test]
    fn it_is_no_larger_than_the_keys_there_can_be() {
        assert!(OffsetMap::new(128 << 20, 0.9, 90).bytes() <= 102 * ENTRY_BYTES);
        let mut smallest = OffsetMap::new(1, 0.9, 0);
        assert!(smallest.put(b"", 0) && smallest.get(b"") == Some(0));
    }
}
