//! From the records of a partition of `__consumer_offsets` to its groups.
//!
//! In: its batches, from the first to the last. Out: groups as they were when the last record was written. The last record
//! of a key counts; what a transaction wrote counts from its marker on. A record that cannot be read is passed over with a
//! line in the log; a damaged batch is an error, because what it said is not known.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};

use super::offsets::Committed;
use super::record::{self, Read};
use super::request::TopicPartition;
use super::state::Group;
use crate::wire::batch::{self, Batch, BatchError, BatchHeader};
use crate::wire::compression::Decompressor;
use crate::wire::legacy::{LegacyError, LegacyMessage};
use crate::wire::record::{RecordError, Records};

/// The most a batch may grow to when it is decompressed.
const PLAIN_BYTES_MAX: usize = 256 << 20;

/// Why a partition cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("the batch at offset {offset}: {reason}")]
    Batch { offset: i64, reason: BatchError },
    #[error("the batch at offset {offset}: its checksum does not match")]
    Checksum { offset: i64 },
    #[error("the batch at offset {offset}: {reason}")]
    Records { offset: i64, reason: RecordError },
    #[error("the batch at offset {offset}: {reason}")]
    Legacy { offset: i64, reason: LegacyError },
    /// Not damage: the first batch does not fit what was read.
    #[error("the batch at offset {offset} takes {bytes} bytes")]
    Cut { offset: i64, bytes: usize },
}

/// What a commit is kept under.
type Key = (Arc<str>, TopicPartition);

#[derive(Debug, Default)]
pub(super) struct Loader {
    offsets: HashMap<Arc<str>, HashMap<TopicPartition, Committed>>,
    /// The last value of each group.
    groups: HashMap<Arc<str>, Vec<u8>>,
    /// Of transactions whose marker has not come, by producer.
    in_transactions: HashMap<i64, HashMap<Key, Option<Committed>>>,
    names: HashSet<Arc<str>>,
    plain: Vec<u8>,
    unreadable: u64,
}

impl Loader {
    /// Takes the whole batches in `bytes`, those before `from` left out. The offset from which more is wanted.
    pub fn take(&mut self, bytes: &[u8], from: i64) -> Result<i64, LoadError> {
        let mut next = from;
        let mut first = true;
        for found in batch::batches(bytes) {
            let batch = match found {
                Ok((_, batch)) => batch,
                Err(BatchError::Incomplete { announced, .. }) if first => {
                    return Err(LoadError::Cut { offset: next, bytes: announced });
                }
                Err(BatchError::Incomplete { .. } | BatchError::Empty) => break,
                Err(reason) => return Err(LoadError::Batch { offset: next, reason }),
            };
            first = false;
            if batch.last_offset() < from {
                continue;
            }
            let offset = batch.base_offset();
            if !batch.crc_matches() {
                return Err(LoadError::Checksum { offset });
            }
            match batch {
                Batch::Current { header, bytes } => self.take_batch(&header, bytes)?,
                Batch::Legacy(entry) => {
                    let mut plain = std::mem::take(&mut self.plain);
                    let each = |message: LegacyMessage<'_>| {
                        if let Some(key) = message.key {
                            self.take_record(key, message.value, message.offset, None);
                        }
                    };
                    let done = entry.messages(&mut Decompressor::new(), &mut plain, PLAIN_BYTES_MAX, each);
                    self.plain = plain;
                    done.map_err(|reason| LoadError::Legacy { offset, reason })?;
                }
            }
            next = batch.last_offset() + 1;
        }
        Ok(next)
    }

    fn take_batch(&mut self, header: &BatchHeader, bytes: &[u8]) -> Result<(), LoadError> {
        let offset = header.base_offset();
        let unreadable = |reason| LoadError::Records { offset, reason };
        let mut plain = std::mem::take(&mut self.plain);
        let mut decompressor = Decompressor::new();
        let records = Records::of(bytes, header, &mut decompressor, &mut plain, PLAIN_BYTES_MAX);
        for record in records.map_err(unreadable)? {
            let record = record.map_err(unreadable)?;
            let Some(key) = record.key else { continue };
            if header.is_control() {
                // A marker: version, then 0 for abort and 1 for commit.
                if let [_, _, 0, kind @ (0 | 1)] = *key {
                    self.end_transaction(header.producer_id(), kind == 1);
                }
                continue;
            }
            let producer = header.is_transactional().then(|| header.producer_id());
            self.take_record(key, record.value, record.offset(header), producer);
        }
        self.plain = plain;
        Ok(())
    }

    fn take_record(&mut self, key: &[u8], value: Option<&[u8]>, offset: i64, producer: Option<i64>) {
        match record::read(key, value) {
            Ok(Read::Offset(key, value)) => {
                let at = TopicPartition { topic: self.name(key.topic), partition: key.partition };
                let group = self.name(key.group);
                let committed = value.map(|value| record::committed(&value, offset));
                match producer {
                    Some(id) => {
                        self.in_transactions.entry(id).or_default().insert((group, at), committed);
                    }
                    None => self.put(group, at, committed),
                }
            }
            Ok(Read::Group(key, Some(_))) => {
                let group = self.name(key.group);
                self.groups.insert(group, value.unwrap_or_default().to_vec());
            }
            Ok(Read::Group(key, None)) => {
                self.groups.remove(key.group);
            }
            Ok(Read::Unknown) => {}
            Err(error) => {
                self.unreadable += 1;
                tracing::warn!(offset, %error, "a record of the offsets topic cannot be read and is passed over");
            }
        }
    }

    fn put(&mut self, group: Arc<str>, at: TopicPartition, committed: Option<Committed>) {
        match committed {
            Some(committed) => {
                self.offsets.entry(group).or_default().insert(at, committed);
            }
            None => {
                if let Some(offsets) = self.offsets.get_mut(&group) {
                    offsets.remove(&at);
                    if offsets.is_empty() {
                        self.offsets.remove(&group);
                    }
                }
            }
        }
    }

    fn end_transaction(&mut self, producer: i64, commit: bool) {
        let Some(offsets) = self.in_transactions.remove(&producer) else { return };
        for ((group, at), committed) in offsets.into_iter().filter(|_| commit) {
            let place = self.offsets.get(&group).and_then(|offsets| offsets.get(&at));
            // What was committed outside the transaction later on stays.
            let later =
                |there: &Committed| committed.as_ref().is_some_and(|c| c.log_offset < there.log_offset);
            if !place.is_some_and(later) {
                self.put(group, at, committed);
            }
        }
    }

    /// One copy of each name, however many records have it.
    fn name(&mut self, name: &str) -> Arc<str> {
        self.names.get_or_insert_with(name, |name| Arc::from(name)).clone()
    }

    /// The groups, each with a number from `serial`.
    pub fn into_groups<T: Copy>(mut self, mut serial: impl FnMut() -> u64) -> HashMap<Arc<str>, Group<T>> {
        let mut groups: HashMap<Arc<str>, Group<T>> = HashMap::new();
        for (id, value) in std::mem::take(&mut self.groups) {
            let mut group = Group::new(id.clone(), serial());
            // It was read once when it was taken; only the key is needed again.
            let key = record::no_group(&id).key;
            if let Ok(Read::Group(_, Some(value))) = record::read(&key, Some(&value)) {
                group.restore(&value);
            }
            groups.insert(id, group);
        }
        for (id, offsets) in self.offsets {
            let group = groups.entry(id.clone()).or_insert_with(|| Group::new(id, serial()));
            offsets.into_iter().for_each(|(at, committed)| group.offsets.put(at, committed));
        }
        for (producer, offsets) in self.in_transactions {
            for ((id, at), committed) in offsets {
                if let Some(committed) = committed {
                    let group = groups.entry(id.clone()).or_insert_with(|| Group::new(id, serial()));
                    group.offsets.put_in_transaction(producer, at, committed);
                }
            }
        }
        groups
    }
}
