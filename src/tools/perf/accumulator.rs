//! Kafka's producer batching, as a rule: which partition a record goes to, and when a batch is ready.
//!
//! In: sizes of records and the time. Out: a partition for each, and batches that are full or old enough. No socket, no
//! clock. A record without a key goes where the ones before it went until `batch.size` bytes are there, then the next
//! partition is drawn (KIP-480, KIP-794).

use crate::random::SplitMix64;
use crate::wire::batch_builder::BatchBuilder;
use crate::wire::compression::Codec;

/// What a record adds to its batch besides key and value, at most.
const RECORD_OVERHEAD_BYTES: usize = 21;

/// One batch that is being filled.
#[derive(Debug)]
pub struct Open {
    pub builder: BatchBuilder,
    /// When the batch was begun.
    pub opened_ns: u64,
    /// Of each record: when it was due, and when it was handed over.
    pub stamps: Vec<(u64, u64)>,
}

/// A batch to be sent.
#[derive(Debug)]
pub struct Ready {
    pub partition: usize,
    pub bytes: Vec<u8>,
    pub stamps: Vec<(u64, u64)>,
}

/// MurmurHash2 with the seed of Java's client: the same key goes to the same partition whoever writes it.
pub fn murmur2(bytes: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c ^ bytes.len() as u32;
    let (words, rest) = bytes.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    for (at, byte) in rest.iter().enumerate() {
        hash ^= u32::from(*byte) << (8 * at);
    }
    if !rest.is_empty() {
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[derive(Debug)]
pub struct Accumulator {
    batch_bytes: usize,
    linger_ns: u64,
    codec: Codec,
    open: Vec<Option<Open>>,
    sticky: usize,
    sticky_bytes: usize,
    random: SplitMix64,
    /// Per partition: producer id, epoch and next sequence; none without idempotence.
    identity: Option<(i64, i16)>,
    sequences: Vec<i32>,
    ready: Vec<Ready>,
}

impl Accumulator {
    pub fn new(
        partitions: usize,
        batch_bytes: usize,
        linger_ns: u64,
        codec: Codec,
        identity: Option<(i64, i16)>,
        seed: u64,
    ) -> Accumulator {
        let mut accumulator = Accumulator {
            batch_bytes,
            linger_ns,
            codec,
            open: (0..partitions).map(|_| None).collect(),
            sticky: 0,
            sticky_bytes: 0,
            random: SplitMix64::new(seed),
            identity,
            sequences: vec![0; partitions],
            ready: Vec::new(),
        };
        accumulator.sticky = accumulator.draw();
        accumulator
    }

    fn draw(&mut self) -> usize {
        self.random.below(self.open.len())
    }

    /// Takes one record without a partition of its own. `due_ns` is when it should have been sent.
    pub fn append(&mut self, key: Option<&[u8]>, value: &[u8], timestamp_ms: i64, due_ns: u64, now_ns: u64) {
        self.append_whole(None, key, Some(value), &[], timestamp_ms, (due_ns, now_ns));
    }

    /// The partition that Java's producer chooses for a key.
    pub fn partition_of(&self, key: &[u8]) -> usize {
        (murmur2(key) & 0x7fff_ffff) as usize % self.open.len()
    }

    /// Takes one record; `stamp` is when it was due and when it was handed over.
    pub fn append_whole(
        &mut self,
        partition: Option<usize>,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&str, Option<&[u8]>)],
        timestamp_ms: i64,
        stamp: (u64, u64),
    ) {
        let of_headers = headers.iter().map(|(name, value)| name.len() + value.map_or(0, <[u8]>::len) + 10);
        let bytes = key.map_or(0, <[u8]>::len)
            + value.map_or(0, <[u8]>::len)
            + of_headers.sum::<usize>()
            + RECORD_OVERHEAD_BYTES;
        if let Some(partition) = partition {
            return self.put(partition, bytes, key, value, headers, timestamp_ms, stamp);
        }
        let mut partition = self.sticky;
        let full = |open: &Open| open.builder.plain_bytes() + bytes > self.batch_bytes;
        if self.open[partition].as_ref().is_some_and(|open| !open.builder.is_empty() && full(open)) {
            self.close(partition);
            if self.sticky_bytes >= self.batch_bytes {
                self.sticky = self.draw();
                self.sticky_bytes = 0;
                partition = self.sticky;
            }
        }
        self.sticky_bytes += bytes;
        self.put(partition, bytes, key, value, headers, timestamp_ms, stamp);
    }

    #[allow(clippy::too_many_arguments)] // the parts of one record
    fn put(
        &mut self,
        partition: usize,
        bytes: usize,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&str, Option<&[u8]>)],
        timestamp_ms: i64,
        stamp: (u64, u64),
    ) {
        if self.open[partition]
            .as_ref()
            .is_some_and(|open| open.builder.plain_bytes() + bytes > self.batch_bytes)
        {
            self.close(partition);
        }
        let codec = self.codec;
        let open = self.open[partition].get_or_insert_with(|| Open {
            builder: BatchBuilder::new(codec),
            opened_ns: stamp.1,
            stamps: Vec::new(),
        });
        open.builder.append(timestamp_ms, key, value, headers);
        open.stamps.push(stamp);
        if open.builder.plain_bytes() >= self.batch_bytes {
            self.close(partition);
        }
    }

    fn close(&mut self, partition: usize) {
        let Some(mut open) = self.open[partition].take() else { return };
        if let Some((id, epoch)) = self.identity {
            let sequence = &mut self.sequences[partition];
            let count = open.builder.record_count();
            open.builder = open.builder.producer(id, epoch, *sequence);
            *sequence = crate::wire::batch::advance_sequence(*sequence, count);
        }
        self.ready.push(Ready { partition, bytes: open.builder.build(), stamps: open.stamps });
    }

    /// Batches that are full, or whose first record has waited for `linger.ms`; all of them if `flush`.
    pub fn take_ready(&mut self, now_ns: u64, flush: bool, out: &mut Vec<Ready>) {
        for partition in 0..self.open.len() {
            let due = self.open[partition]
                .as_ref()
                .is_some_and(|open| flush || now_ns.saturating_sub(open.opened_ns) >= self.linger_ns);
            if due {
                self.close(partition);
            }
        }
        out.append(&mut self.ready);
    }

    /// Batches that are full, and no others: while nothing can be sent, the rest goes on filling.
    pub fn take_full(&mut self, out: &mut Vec<Ready>) {
        out.append(&mut self.ready);
    }

    /// Whether a batch is full.
    pub fn has_full(&self) -> bool {
        !self.ready.is_empty()
    }

    /// When the oldest unfinished batch has lingered long enough.
    pub fn linger_ends_ns(&self) -> Option<u64> {
        self.open.iter().flatten().map(|open| open.opened_ns + self.linger_ns).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_hashed_as_javas_client_hashes_them() {
        // The values of Kafka's own test of `Utils.murmur2`.
        for (key, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()) as i32, hash, "{key}");
        }
    }
    use crate::wire::batch::{BatchHeader, validate_client};

    fn headers(ready: &[Ready]) -> Vec<(usize, i32, i32)> {
        ready
            .iter()
            .map(|ready| {
                let header: BatchHeader = validate_client(&ready.bytes).unwrap();
                assert_eq!(ready.stamps.len() as i32, header.record_count());
                (ready.partition, header.record_count(), header.base_sequence())
            })
            .collect()
    }

    #[test]
    fn batches_fill_up_to_their_size_and_partitions_change_between_them() {
        let mut accumulator = Accumulator::new(8, 1000, 0, Codec::None, Some((7, 0)), 1);
        let mut ready = Vec::new();
        for number in 0..400u64 {
            accumulator.append(None, &[0; 100], 1, number, number);
        }
        accumulator.take_ready(1000, true, &mut ready);
        let found = headers(&ready);
        assert_eq!(found.iter().map(|(_, count, _)| count).sum::<i32>(), 400);
        assert!(ready.iter().all(|ready| ready.bytes.len() <= 1000), "no batch is larger than batch.size");
        let whole = found.iter().filter(|(_, count, _)| *count >= 7).count();
        assert!(whole + 8 >= found.len(), "all but the last ones are full: {found:?}");
        let used: std::collections::BTreeSet<usize> =
            found.iter().map(|(partition, ..)| *partition).collect();
        assert!(used.len() >= 6, "{used:?}");
        for partition in used {
            let mut next = 0;
            for (_, count, sequence) in found.iter().filter(|(p, ..)| *p == partition) {
                assert_eq!(*sequence, next, "sequences of a partition have no gap");
                next += count;
            }
        }
    }

    #[test]
    fn a_batch_waits_for_its_linger_and_no_longer() {
        let mut accumulator = Accumulator::new(1, 16_384, 5_000_000, Codec::None, None, 1);
        let mut ready = Vec::new();
        accumulator.append(None, b"a", 1, 0, 1_000_000);
        accumulator.take_ready(2_000_000, false, &mut ready);
        assert!(ready.is_empty());
        assert_eq!(accumulator.linger_ends_ns(), Some(6_000_000));
        accumulator.append(None, b"b", 1, 0, 3_000_000);
        accumulator.take_ready(6_000_000, false, &mut ready);
        assert_eq!(headers(&ready), [(0, 2, -1)]);
        assert_eq!(accumulator.linger_ends_ns(), None);
    }

    #[test]
    fn a_record_larger_than_a_batch_gets_one_of_its_own() {
        let mut accumulator = Accumulator::new(1, 100, 0, Codec::None, None, 1);
        let mut ready = Vec::new();
        accumulator.append(None, &[0; 10], 1, 0, 0);
        accumulator.append(None, &[0; 1000], 1, 0, 0);
        accumulator.append(None, &[0; 10], 1, 0, 0);
        accumulator.take_ready(0, true, &mut ready);
        assert_eq!(headers(&ready).iter().map(|(_, count, _)| *count).collect::<Vec<_>>(), [1, 1, 1]);
    }
}
