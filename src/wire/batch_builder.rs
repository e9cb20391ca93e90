//! Makes batches of magic 2: for tools, the load generator, followers' tests and transaction markers.
//!
//! In: records and the producer's identity. Out: the bytes of a sealed batch that `batch::validate_client` accepts,
//! as long as nobody asked for a control batch or another base offset.

use crate::wire::batch::{HEADER_BYTES, LENGTH_END, NO_PRODUCER_ID, NO_TIMESTAMP, seal};
use crate::wire::compression::{Codec, compress};
use crate::wire::record::{put_varint, put_varlong};

/// A header to be written into a record.
pub type HeaderToWrite<'a> = (&'a str, Option<&'a [u8]>);

/// A batch in the making.
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    pub base_offset: i64,
    pub partition_leader_epoch: i32,
    pub codec: Codec,
    /// The codec's own level; `None` its default.
    pub level: Option<i32>,
    pub transactional: bool,
    pub control: bool,
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    records: Vec<u8>,
    record: Vec<u8>,
    record_count: i32,
    base_timestamp: i64,
    max_timestamp: i64,
}

impl Default for BatchBuilder {
    fn default() -> BatchBuilder {
        BatchBuilder {
            base_offset: 0,
            partition_leader_epoch: -1,
            codec: Codec::None,
            level: None,
            transactional: false,
            control: false,
            producer_id: NO_PRODUCER_ID,
            producer_epoch: -1,
            base_sequence: -1,
            records: Vec::new(),
            record: Vec::new(),
            record_count: 0,
            base_timestamp: NO_TIMESTAMP,
            max_timestamp: NO_TIMESTAMP,
        }
    }
}

impl BatchBuilder {
    pub fn new(codec: Codec) -> BatchBuilder {
        BatchBuilder { codec, ..BatchBuilder::default() }
    }

    /// An idempotent producer's batch.
    pub fn producer(mut self, producer_id: i64, producer_epoch: i16, base_sequence: i32) -> BatchBuilder {
        (self.producer_id, self.producer_epoch, self.base_sequence) =
            (producer_id, producer_epoch, base_sequence);
        self
    }

    /// Adds a record. Timestamps count from that of the first one.
    pub fn append(
        &mut self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[HeaderToWrite<'_>],
    ) {
        if self.record_count == 0 {
            self.base_timestamp = timestamp;
        }
        self.max_timestamp = self.max_timestamp.max(timestamp);
        let record = &mut self.record;
        record.clear();
        record.push(0); // attributes
        put_varlong(record, timestamp.wrapping_sub(self.base_timestamp));
        put_varint(record, self.record_count);
        put_field(record, key);
        put_field(record, value);
        put_varint(record, headers.len() as i32);
        for (key, value) in headers {
            put_field(record, Some(key.as_bytes()));
            put_field(record, *value);
        }
        put_varint(&mut self.records, record.len() as i32);
        self.records.extend_from_slice(record);
        self.record_count += 1;
    }

    pub fn record_count(&self) -> i32 {
        self.record_count
    }

    pub fn is_empty(&self) -> bool {
        self.record_count == 0
    }

    /// Bytes of the batch if it is not compressed.
    pub fn plain_bytes(&self) -> usize {
        HEADER_BYTES + self.records.len()
    }

    /// Appends the sealed batch to `out`.
    pub fn finish(&self, out: &mut Vec<u8>) {
        let start = out.len();
        let attributes =
            self.codec as i16 | i16::from(self.transactional) << 4 | i16::from(self.control) << 5;
        out.extend_from_slice(&self.base_offset.to_be_bytes());
        out.extend_from_slice(&[0; 4]); // length, below
        out.extend_from_slice(&self.partition_leader_epoch.to_be_bytes());
        out.push(2); // magic
        out.extend_from_slice(&[0; 4]); // CRC, below
        out.extend_from_slice(&attributes.to_be_bytes());
        out.extend_from_slice(&(self.record_count - 1).to_be_bytes());
        out.extend_from_slice(&self.base_timestamp.to_be_bytes());
        out.extend_from_slice(&self.max_timestamp.to_be_bytes());
        out.extend_from_slice(&self.producer_id.to_be_bytes());
        out.extend_from_slice(&self.producer_epoch.to_be_bytes());
        out.extend_from_slice(&self.base_sequence.to_be_bytes());
        out.extend_from_slice(&self.record_count.to_be_bytes());
        debug_assert_eq!(out.len() - start, HEADER_BYTES);
        compress(self.codec, self.level, &self.records, out);
        let length = (out.len() - start - LENGTH_END) as i32;
        out[start + 8..start + LENGTH_END].copy_from_slice(&length.to_be_bytes());
        seal(&mut out[start..]);
    }

    /// The sealed batch.
    pub fn build(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.plain_bytes());
        self.finish(&mut out);
        out
    }

    /// Forgets the records and keeps their memory; the next batch goes on with the sequence after this one's.
    pub fn restart(&mut self) {
        if self.base_sequence >= 0 {
            self.base_sequence = crate::wire::batch::advance_sequence(self.base_sequence, self.record_count);
        }
        self.records.clear();
        self.record_count = 0;
        (self.base_timestamp, self.max_timestamp) = (NO_TIMESTAMP, NO_TIMESTAMP);
    }
}

fn put_field(out: &mut Vec<u8>, field: Option<&[u8]>) {
    match field {
        Some(bytes) => {
            put_varint(out, bytes.len() as i32);
            out.extend_from_slice(bytes);
        }
        None => put_varint(out, -1),
    }
}
