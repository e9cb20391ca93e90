//! Batches encoded once from a seed, and stamped per send at a cost that does not depend on their size.
//!
//! In: the shape of a batch and a seed. Out: encoded batches; a stamp written into one, its CRC corrected; and the CRC
//! a batch must have, given its stamp, which is how a reader knows that it got the very bytes that were sent.
//! No allocation, no random number and no pass over the payload after the pool is built.
//!
//! CRC-32C is linear over GF(2): for equal lengths, `crc(a ^ b ^ c) = crc(a) ^ crc(b) ^ crc(c)`. A stamped batch is the
//! pool's batch (its variable fields zero) XOR the fields alone. The raw CRC of the fields alone, followed by as many
//! zero bytes as follow them in the batch, is the CRC of the few field bytes pushed through a linear map that stands
//! for those zeros: four table look-ups.
//!
//! | bytes  | field of the batch (contract 2.1)                                          | in the CRC  |
//! |--------|----------------------------------------------------------------------------|-------------|
//! | 0..21  | base offset, length, leader epoch, magic, CRC                              | no          |
//! | 21..27 | attributes, last offset delta                                              | fixed       |
//! | 27..57 | base and max timestamp, producer id, producer epoch, base sequence         | variable    |
//! | 57..61 | record count                                                               | fixed       |
//! | stamp  | 32 bytes at the start of the first record's value                          | variable    |
//! | rest   | payloads; each further record begins with its index and the payload number | fixed       |

use crate::load::random::Random;

/// Bytes of the identity in the first record of each batch.
pub const STAMP_BYTES: usize = 32;

/// Bytes of a batch header.
pub const HEADER_BYTES: usize = 61;

const CRC_AT: usize = 17;
/// The first byte the CRC covers.
pub const COVERED_AT: usize = 21;
const FIELDS_AT: usize = 27;
const FIELDS_BYTES: usize = 30;
const COUNT_AT: usize = 57;

const _: () = assert!(FIELDS_AT + FIELDS_BYTES == COUNT_AT);
const _: () = assert!(COUNT_AT + 4 == HEADER_BYTES);

const STAMP_MAGIC: u16 = 0x5244;

/// Who wrote a batch, which one it is, and when.
///
/// | bytes  | field         |                                                     |
/// |--------|---------------|-----------------------------------------------------|
/// | 0..2   | magic         | 0x5244                                              |
/// | 2..4   | `producer`    | the connection                                      |
/// | 4..8   | `run`         | tells runs on one topic apart                       |
/// | 8..12  | `payload`     | which batch of the pool it is                       |
/// | 12..16 | `sequence`    | of the batch, within its producer and partition     |
/// | 16..24 | `intended_ns` | monotonic clock                                     |
/// | 24..32 | `written_ns`  | the turn in which its first byte was handed over    |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Stamp {
    pub producer: u16,
    pub run: u32,
    pub payload: u32,
    pub sequence: u32,
    pub intended_ns: u64,
    pub written_ns: u64,
}

impl Stamp {
    pub fn encode(&self) -> [u8; STAMP_BYTES] {
        let mut bytes = [0; STAMP_BYTES];
        bytes[0..2].copy_from_slice(&STAMP_MAGIC.to_be_bytes());
        bytes[2..4].copy_from_slice(&self.producer.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.run.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.payload.to_be_bytes());
        bytes[12..16].copy_from_slice(&self.sequence.to_be_bytes());
        bytes[16..24].copy_from_slice(&self.intended_ns.to_be_bytes());
        bytes[24..32].copy_from_slice(&self.written_ns.to_be_bytes());
        bytes
    }

    /// `None` when these bytes are no stamp.
    pub fn decode(bytes: &[u8]) -> Option<Stamp> {
        let bytes: &[u8; STAMP_BYTES] = bytes.first_chunk()?;
        if u16::from_be_bytes([bytes[0], bytes[1]]) != STAMP_MAGIC {
            return None;
        }
        Some(Stamp {
            producer: u16::from_be_bytes([bytes[2], bytes[3]]),
            run: be32(bytes, 4),
            payload: be32(bytes, 8),
            sequence: be32(bytes, 12),
            intended_ns: be64(bytes, 16),
            written_ns: be64(bytes, 24),
        })
    }
}

/// The header fields that differ from send to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fields {
    /// Of all records of the batch.
    pub timestamp_ms: i64,
    /// -1 without idempotence.
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
}

impl Fields {
    fn encode(&self) -> [u8; FIELDS_BYTES] {
        let mut bytes = [0; FIELDS_BYTES];
        bytes[0..8].copy_from_slice(&self.timestamp_ms.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.timestamp_ms.to_be_bytes());
        bytes[16..24].copy_from_slice(&self.producer_id.to_be_bytes());
        bytes[24..26].copy_from_slice(&self.producer_epoch.to_be_bytes());
        bytes[26..30].copy_from_slice(&self.base_sequence.to_be_bytes());
        bytes
    }
}

/// What every batch of a pool has in common.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    pub records: u32,
    pub record_bytes: u32,
    /// Share of the payload that is random; the rest is zero bytes.
    pub random: f64,
}

/// The batches of a run.
#[derive(Debug)]
pub struct BatchPool {
    shape: Shape,
    seed: u64,
    batch_bytes: usize,
    stamp_at: usize,
    bodies: Vec<Box<[u8]>>,
    /// CRCs of the bodies, their variable fields being zero.
    crcs: Vec<u32>,
    behind_fields: Zeros,
    behind_stamp: Zeros,
}

impl BatchPool {
    /// Encodes `payloads` different batches. `shape.record_bytes` is at least `STAMP_BYTES`.
    pub fn new(shape: Shape, payloads: u32, seed: u64) -> BatchPool {
        assert!(shape.record_bytes as usize >= STAMP_BYTES && shape.records > 0 && payloads > 0);
        let mut first_value_at = 0;
        let bodies: Vec<Box<[u8]>> = (0..payloads)
            .map(|payload| {
                let (body, value_at) = encode(shape, payload, seed);
                first_value_at = value_at;
                body.into_boxed_slice()
            })
            .collect();
        let batch_bytes = bodies[0].len();
        let crcs = bodies.iter().map(|body| crc32c::crc32c(&body[COVERED_AT..])).collect();
        BatchPool {
            shape,
            seed,
            batch_bytes,
            stamp_at: first_value_at,
            bodies,
            crcs,
            behind_fields: Zeros::new(batch_bytes - FIELDS_AT - FIELDS_BYTES),
            behind_stamp: Zeros::new(batch_bytes - first_value_at - STAMP_BYTES),
        }
    }

    /// Bytes of every batch.
    pub fn batch_bytes(&self) -> usize {
        self.batch_bytes
    }

    /// Bytes from the start of a batch to the end of its stamp.
    pub fn stamp_end(&self) -> usize {
        self.stamp_at + STAMP_BYTES
    }

    pub fn shape(&self) -> Shape {
        self.shape
    }

    pub fn payloads(&self) -> u32 {
        self.bodies.len() as u32
    }

    /// The encoded batch, not stamped.
    pub fn body(&self, payload: u32) -> &[u8] {
        &self.bodies[payload as usize]
    }

    /// Writes identity and header fields into a copy of `body(stamp.payload)`, and the CRC that fits them.
    pub fn stamp(&self, batch: &mut [u8], fields: &Fields, stamp: &Stamp) {
        let (fields, bytes) = (fields.encode(), stamp.encode());
        let crc = self.crc(stamp.payload, &fields, &bytes).expect("the payload is one of this pool");
        batch[CRC_AT..COVERED_AT].copy_from_slice(&crc.to_be_bytes());
        batch[FIELDS_AT..FIELDS_AT + FIELDS_BYTES].copy_from_slice(&fields);
        batch[self.stamp_at..self.stamp_at + STAMP_BYTES].copy_from_slice(&bytes);
    }

    fn crc(&self, payload: u32, fields: &[u8; FIELDS_BYTES], stamp: &[u8; STAMP_BYTES]) -> Option<u32> {
        let fixed = self.crcs.get(payload as usize)?;
        Some(fixed ^ self.behind_fields.push(raw(fields)) ^ self.behind_stamp.push(raw(stamp)))
    }

    /// The CRC of the batch that this pool sent with the fields and the stamp found in `head` (the first `stamp_end()`
    /// bytes of a batch), and the stamp. `None` when there is no stamp, or none of this pool.
    ///
    /// A batch whose bytes have this CRC is the batch that was sent: a change of up to 32 bits in a row is always seen,
    /// any other with a chance of 1 in 2^32 to pass, which is what the protocol itself trusts. A broker that changes
    /// bytes and computes the CRC anew is caught as well, because this value does not come from the bytes read.
    pub fn expected(&self, head: &[u8]) -> Option<(u32, Stamp)> {
        let fields = head.get(FIELDS_AT..)?.first_chunk()?;
        let bytes = head.get(self.stamp_at..)?.first_chunk()?;
        let stamp = Stamp::decode(bytes)?;
        Some((self.crc(stamp.payload, fields, bytes)?, stamp))
    }

    /// The seed the payloads come from.
    pub fn seed(&self) -> u64 {
        self.seed
    }
}

/// The batch with all variable fields zero, and where the first record's value begins.
fn encode(shape: Shape, payload: u32, seed: u64) -> (Vec<u8>, usize) {
    let mut random = Random::new(seed, u64::from(payload) + 1);
    let mut batch = vec![0u8; HEADER_BYTES];
    let mut value = vec![0u8; shape.record_bytes as usize];
    let mut first_value_at = 0;
    for index in 0..shape.records {
        let noise = (value.len() as f64 * shape.random).round() as usize;
        random.fill(&mut value[..noise]);
        if index == 0 {
            value[..STAMP_BYTES].fill(0);
        } else {
            value[0..4].copy_from_slice(&index.to_be_bytes());
            value[4..8].copy_from_slice(&payload.to_be_bytes());
        }
        let mut front = vec![0, 0]; // attributes, timestamp delta
        put_varint(&mut front, i64::from(index));
        put_varint(&mut front, -1); // no key
        put_varint(&mut front, value.len() as i64);
        put_varint(&mut batch, (front.len() + value.len() + 1) as i64);
        batch.extend_from_slice(&front);
        if index == 0 {
            first_value_at = batch.len();
        }
        batch.extend_from_slice(&value);
        batch.push(0); // no headers
    }
    let length = (batch.len() - 12) as i32;
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    batch[12..16].copy_from_slice(&(-1i32).to_be_bytes());
    batch[16] = 2;
    batch[23..27].copy_from_slice(&(shape.records as i32 - 1).to_be_bytes());
    batch[COUNT_AT..HEADER_BYTES].copy_from_slice(&(shape.records as i32).to_be_bytes());
    (batch, first_value_at)
}

fn put_varint(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

pub(super) fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

pub(super) fn be64(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// The CRC register after `bytes`, having started from zero: linear in the bytes.
fn raw(bytes: &[u8]) -> u32 {
    !crc32c::crc32c_append(!0, bytes)
}

/// What a number of zero bytes does to the CRC register: a linear map, as four tables of 256.
#[derive(Debug)]
struct Zeros(Box<[[u32; 256]; 4]>);

impl Zeros {
    fn new(count: usize) -> Zeros {
        let zeros = vec![0u8; count];
        let mut tables = Box::new([[0u32; 256]; 4]);
        for (byte, table) in tables.iter_mut().enumerate() {
            for bit in 0..8 {
                let image = !crc32c::crc32c_append(!(1u32 << (8 * byte + bit)), &zeros);
                for (value, entry) in table.iter_mut().enumerate() {
                    if value & 1 << bit != 0 {
                        *entry ^= image;
                    }
                }
            }
        }
        Zeros(tables)
    }

    fn push(&self, register: u32) -> u32 {
        let [a, b, c, d] = register.to_le_bytes();
        let tables = &*self.0;
        tables[0][a as usize] ^ tables[1][b as usize] ^ tables[2][c as usize] ^ tables[3][d as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp_of(random: &mut Random, payloads: u32) -> (Fields, Stamp) {
        let fields = Fields {
            timestamp_ms: random.number() as i64,
            producer_id: random.number() as i64,
            producer_epoch: random.number() as i16,
            base_sequence: random.number() as i32,
        };
        let stamp = Stamp {
            producer: random.number() as u16,
            run: random.number() as u32,
            payload: (random.number() % u64::from(payloads)) as u32,
            sequence: random.number() as u32,
            intended_ns: random.number(),
            written_ns: random.number(),
        };
        (fields, stamp)
    }

    #[test]
    fn a_million_stamps_have_the_crc_of_a_full_recomputation() {
        let pool = BatchPool::new(Shape { records: 3, record_bytes: 50, random: 1.0 }, 4, 7);
        let mut batches: Vec<Vec<u8>> = (0..4).map(|payload| pool.body(payload).to_vec()).collect();
        let mut random = Random::new(1, 2);
        for round in 0..1_000_000 {
            let (fields, stamp) = stamp_of(&mut random, 4);
            let batch = &mut batches[stamp.payload as usize];
            pool.stamp(batch, &fields, &stamp);
            let crc = crc32c::crc32c(&batch[COVERED_AT..]);
            assert_eq!(be32(batch, CRC_AT), crc, "round {round}");
            assert_eq!(pool.expected(&batch[..pool.stamp_end()]), Some((crc, stamp)));
        }
    }

    #[test]
    fn large_batches_are_stamped_as_well() {
        let pool = BatchPool::new(Shape { records: 16, record_bytes: 1024, random: 0.5 }, 2, 7);
        let mut random = Random::new(3, 4);
        for _ in 0..2_000 {
            let (fields, stamp) = stamp_of(&mut random, 2);
            let mut batch = pool.body(stamp.payload).to_vec();
            pool.stamp(&mut batch, &fields, &stamp);
            assert_eq!(be32(&batch, CRC_AT), crc32c::crc32c(&batch[COVERED_AT..]));
        }
    }

    #[test]
    fn a_payload_byte_changed_with_its_crc_recomputed_does_not_have_the_expected_crc() {
        let pool = BatchPool::new(Shape { records: 16, record_bytes: 100, random: 1.0 }, 1, 7);
        let mut batch = pool.body(0).to_vec();
        let (fields, mut stamp) = stamp_of(&mut Random::new(5, 6), 1);
        stamp.payload = 0;
        pool.stamp(&mut batch, &fields, &stamp);
        for at in pool.stamp_end()..batch.len() {
            batch[at] ^= 1;
            let (expected, _) = pool.expected(&batch).unwrap();
            assert_ne!(expected, crc32c::crc32c(&batch[COVERED_AT..]), "byte {at}");
            batch[at] ^= 1;
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_batches_and_another_one_does_not() {
        let shape = Shape { records: 2, record_bytes: 64, random: 1.0 };
        let (a, b, c) =
            (BatchPool::new(shape, 3, 1), BatchPool::new(shape, 3, 1), BatchPool::new(shape, 3, 2));
        assert_eq!(a.body(2), b.body(2));
        assert_ne!(a.body(2), c.body(2));
        assert_ne!(a.body(1), a.body(2));
    }

    #[test]
    fn another_client_reads_the_records_of_a_stamped_batch() {
        use kafka_protocol::records::RecordBatchDecoder;
        let pool = BatchPool::new(Shape { records: 16, record_bytes: 1024, random: 0.25 }, 1, 9);
        let fields =
            Fields { timestamp_ms: 1_700_000_000_123, producer_id: 77, producer_epoch: 1, base_sequence: 5 };
        let stamp = Stamp { producer: 3, run: 4, payload: 0, sequence: 5, intended_ns: 6, written_ns: 7 };
        let mut batch = pool.body(0).to_vec();
        pool.stamp(&mut batch, &fields, &stamp);
        let set = RecordBatchDecoder::decode(&mut bytes::Bytes::from(batch)).expect("a valid batch");
        assert_eq!(set.records.len(), 16);
        for (index, record) in set.records.iter().enumerate() {
            assert_eq!((record.offset, record.timestamp), (index as i64, 1_700_000_000_123));
            assert_eq!((record.producer_id, record.sequence), (77, 5 + index as i32));
            let value = record.value.as_ref().expect("a value");
            assert_eq!(value.len(), 1024);
            assert!(value[256..].iter().all(|byte| *byte == 0), "three quarters are zero");
        }
        assert_eq!(Stamp::decode(set.records[0].value.as_ref().unwrap()), Some(stamp));
    }
}
