//! Reads a topic without a group: all partitions, from the beginning, the end, or where it stands.
//!
//! In: a topology. Out: records, in the order of each partition. One request at a time per leader.

use std::time::Duration;

use super::topology::{self, Topology};
use super::{Ended, failed};
use crate::tools::client::Connection;
use crate::wire::batch::{self, Batch};
use crate::wire::compression::Decompressor;
use crate::wire::error_code::ErrorCode;
use crate::wire::message::fetch::{FetchRequest, FetchRequestPartition, FetchRequestTopic};
use crate::wire::message::list_offsets::{
    ListOffsetsRequest, ListOffsetsRequestPartition, ListOffsetsRequestTopic,
};
use crate::wire::record::Records;

/// What a batch may become when it is decompressed.
const PLAIN_BYTES_MAX: usize = 1 << 30;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    Beginning,
    End,
}

pub struct Reader {
    topic: String,
    topology: Topology,
    connections: Vec<Connection>,
    positions: Vec<i64>,
    partition_bytes: i32,
    decompressor: Decompressor,
    plain: Vec<u8>,
    next: usize,
}

impl Reader {
    /// `partition_bytes` is `max.partition.fetch.bytes`.
    pub fn open(bootstrap: &str, topic: &str, from: From, partition_bytes: i32) -> Result<Reader, Ended> {
        let topology = topology::find(bootstrap, topic)?;
        let mut connections = Vec::new();
        for address in &topology.brokers {
            connections.push(Connection::open(address, topology::TIMEOUT)?);
        }
        let mut positions = vec![0; topology.leaders.len()];
        let timestamp = match from {
            From::Beginning => -2,
            From::End => -1,
        };
        for (broker, connection) in connections.iter_mut().enumerate() {
            let led = |(at, leader): (usize, &usize)| (*leader == broker).then_some(at as i32);
            let partitions: Vec<_> = topology
                .leaders
                .iter()
                .enumerate()
                .filter_map(led)
                .map(|index| ListOffsetsRequestPartition {
                    partition_index: index,
                    current_leader_epoch: -1,
                    timestamp,
                    max_num_offsets: 1,
                })
                .collect();
            let request = ListOffsetsRequest {
                replica_id: -1,
                isolation_level: 0,
                topics: vec![ListOffsetsRequestTopic { name: topic, partitions: partitions.into() }].into(),
            };
            let found = connection.call(&request, |response| {
                let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
                partitions.map(|p| (p.partition_index, p.error_code, p.offset)).collect::<Vec<_>>()
            })?;
            for (partition, error, offset) in found {
                if error != 0 {
                    let text = ErrorCode::from_code(error).message();
                    return failed(format!("offsets of {topic}-{partition}: {text}"));
                }
                if let Some(position) = usize::try_from(partition).ok().and_then(|at| positions.get_mut(at)) {
                    *position = offset;
                }
            }
        }
        Ok(Reader {
            topic: topic.to_owned(),
            topology,
            connections,
            positions,
            partition_bytes,
            decompressor: Decompressor::new(),
            plain: Vec::new(),
            next: 0,
        })
    }

    /// One fetch of the next leader in turn; `each` gets key and value of every record. The number of records.
    pub fn poll(
        &mut self,
        max_wait: Duration,
        mut each: impl FnMut(Option<&[u8]>, Option<&[u8]>),
    ) -> Result<u64, Ended> {
        let broker = self.next;
        self.next = (self.next + 1) % self.connections.len();
        let partitions: Vec<_> = (self.topology.leaders.iter().enumerate())
            .filter(|(_, leader)| **leader == broker)
            .map(|(at, _)| FetchRequestPartition {
                partition: at as i32,
                fetch_offset: self.positions[at],
                partition_max_bytes: self.partition_bytes,
                ..FetchRequestPartition::default()
            })
            .collect();
        // Waiting at one leader would keep the others waiting.
        let max_wait = if self.connections.len() > 1 { max_wait / 10 } else { max_wait };
        let request = FetchRequest {
            max_wait_ms: max_wait.as_millis() as i32,
            min_bytes: 1,
            max_bytes: 52_428_800,
            session_epoch: -1,
            topics: vec![FetchRequestTopic {
                topic: &self.topic,
                topic_id: self.topology.topic_id,
                partitions: partitions.into(),
            }]
            .into(),
            ..FetchRequest::default()
        };
        let (positions, decompressor, plain) = (&mut self.positions, &mut self.decompressor, &mut self.plain);
        let topic = &self.topic;
        self.connections[broker].call(&request, |response| {
            let mut count = 0;
            if response.error_code != 0 {
                return failed(format!(
                    "fetching {topic}: {}",
                    ErrorCode::from_code(response.error_code).message()
                ));
            }
            for partition in response.responses.iter().flat_map(|topic| &topic.partitions) {
                let place = format!("{topic}-{}", partition.partition_index);
                if partition.error_code != 0 {
                    let text = ErrorCode::from_code(partition.error_code).message();
                    return failed(format!("fetching {place}: {text}"));
                }
                let index = usize::try_from(partition.partition_index).ok();
                let Some(position) = index.and_then(|at| positions.get_mut(at)) else {
                    return failed(format!("fetching: the broker sent {place}, which nobody asked for"));
                };
                for found in batch::batches(partition.records.unwrap_or_default()) {
                    // The last batch may be cut off where the answer was full.
                    let Ok((_, found)) = found else { break };
                    let Batch::Current { header, bytes } = found else {
                        return failed(format!(
                            "{place} at {position}: records of a format before Kafka 0.11"
                        ));
                    };
                    if !header.is_control() {
                        let unreadable = |error: &dyn std::fmt::Display| {
                            Ended::Failed(format!("{place} at {}: {error}", header.base_offset()))
                        };
                        let records = Records::of(bytes, &header, decompressor, plain, PLAIN_BYTES_MAX)
                            .map_err(|error| unreadable(&error))?;
                        for record in records {
                            let record = record.map_err(|error| unreadable(&error))?;
                            // A batch can begin before what was asked for.
                            if record.offset(&header) >= *position {
                                each(record.key, record.value);
                                count += 1;
                            }
                        }
                    }
                    *position = (*position).max(header.next_offset());
                }
            }
            Ok(count)
        })?
    }
}
