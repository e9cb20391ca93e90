//! Fetch (key 1), contract 1.3: request and response as tables of fields, the walk over a request's partitions, and
//! the writer of responses whose records come from elsewhere.
//!
//! In: the body of a request; or answers and the lengths of their records. Out: partitions one after the other with
//! nothing allocated; or the bytes of a response with holes for the records, whose size field is already true.

use std::borrow::Cow;

use crate::wire::array::Array;
use crate::wire::frame::FrameStart;
use crate::wire::header;
use crate::wire::message::Message;
use crate::wire::message::{api, message};
use crate::wire::primitive::{Field, Sink, Uuid, Version, put_bytes_length, put_count, put_uvarint};

api!(1, FetchRequest<'a>, FetchResponse<'a>, versions 0..=17, flexible 12);

message! {
    pub struct FetchRequest<'a> {
        cluster_id: Option<&'a str> [12.., null .., tag 0];
        replica_id: i32 [0..=14, default -1];
        replica_state: FetchRequestReplicaState [15.., tag 1];
        max_wait_ms: i32 [..];
        min_bytes: i32 [..];
        max_bytes: i32 [3.., default 0x7fffffff];
        isolation_level: i8 [4..];
        session_id: i32 [7..];
        session_epoch: i32 [7.., default -1];
        topics: Array<'a, FetchRequestTopic<'a>> [..];
        forgotten_topics_data: Array<'a, FetchRequestForgottenTopicsData<'a>> [7..];
        rack_id: &'a str [11..];
    }

    pub struct FetchRequestReplicaState {
        replica_id: i32 [.., default -1];
        replica_epoch: i64 [.., default -1];
    }

    pub struct FetchRequestTopic<'a> {
        topic: &'a str [0..=12];
        topic_id: Uuid [13..];
        partitions: Array<'a, FetchRequestPartition> [..];
    }

    pub struct FetchRequestPartition {
        partition: i32 [..];
        current_leader_epoch: i32 [9.., default -1];
        fetch_offset: i64 [..];
        last_fetched_epoch: i32 [12.., default -1];
        log_start_offset: i64 [5.., default -1];
        partition_max_bytes: i32 [..];
        replica_directory_id: Uuid [17.., tag 0];
    }

    pub struct FetchRequestForgottenTopicsData<'a> {
        topic: &'a str [7..=12];
        topic_id: Uuid [13..];
        partitions: Array<'a, i32> [..];
    }

    pub struct FetchResponse<'a> {
        throttle_time_ms: i32 [1..];
        error_code: i16 [7..];
        session_id: i32 [7..];
        responses: Vec<FetchResponseResult<'a>> [..];
        node_endpoints: Vec<FetchResponseNodeEndpoint<'a>> [16.., tag 0];
    }

    pub struct FetchResponseResult<'a> {
        topic: Cow<'a, str> [0..=12];
        topic_id: Uuid [13..];
        partitions: Vec<FetchResponsePartition<'a>> [..];
    }

    pub struct FetchResponsePartition<'a> {
        partition_index: i32 [..];
        error_code: i16 [..];
        high_watermark: i64 [..];
        last_stable_offset: i64 [4.., default -1];
        log_start_offset: i64 [5.., default -1];
        diverging_epoch: FetchResponseDivergingEpoch [12.., tag 0];
        current_leader: FetchResponseCurrentLeader [12.., tag 1];
        snapshot_id: FetchResponseSnapshotId [12.., tag 2];
        aborted_transactions: Option<Vec<FetchResponseAbortedTransaction>> [4.., null ..];
        preferred_read_replica: i32 [11.., default -1];
        records: Option<&'a [u8]> [.., null ..];
    }

    pub struct FetchResponseDivergingEpoch {
        epoch: i32 [.., default -1];
        end_offset: i64 [.., default -1];
    }

    pub struct FetchResponseCurrentLeader {
        leader_id: i32 [.., default -1];
        leader_epoch: i32 [.., default -1];
    }

    pub struct FetchResponseSnapshotId {
        end_offset: i64 [.., default -1];
        epoch: i32 [.., default -1];
    }

    pub struct FetchResponseAbortedTransaction {
        producer_id: i64 [..];
        first_offset: i64 [..];
    }

    pub struct FetchResponseNodeEndpoint<'a> {
        node_id: i32 [..];
        host: Cow<'a, str> [..];
        port: i32 [..];
        rack: Option<Cow<'a, str>> [.., null ..];
    }
}

/// How a Fetch request names a topic: by name up to version 12, by id from 13.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TopicKey<'a> {
    pub name: &'a str,
    pub id: Uuid,
}

impl<'a> FetchRequest<'a> {
    /// The partitions in the order of the request.
    pub fn partitions(&self) -> impl Iterator<Item = (TopicKey<'a>, FetchRequestPartition)> {
        self.topics.iter().flat_map(|topic| {
            let key = TopicKey { name: topic.topic, id: topic.topic_id };
            topic.partitions.into_iter().map(move |partition| (key, partition))
        })
    }

    /// The partitions an incremental request takes out of its session.
    pub fn forgotten(&self) -> impl Iterator<Item = (TopicKey<'a>, i32)> {
        self.forgotten_topics_data.iter().flat_map(|topic| {
            let key = TopicKey { name: topic.topic, id: topic.topic_id };
            topic.partitions.into_iter().map(move |partition| (key, partition))
        })
    }
}

/// Where the records of a partition come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordsFrom<'a> {
    Null,
    /// Copied into the response.
    Here(&'a [u8]),
    /// Sent by another way: this many bytes have to go into the hole that the writer leaves.
    Elsewhere(usize),
}

/// A hole in a response: `bytes` bytes of records belong in front of `out[at]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hole {
    pub at: usize,
    pub bytes: usize,
}

/// Writes a Fetch response front to back. Counts are given up front, so that each byte is written once; the lengths
/// of all records are known when it ends, so that the frame's size is true before its first byte is sent.
pub struct FetchResponseWriter<'o> {
    out: &'o mut Vec<u8>,
    holes: &'o mut Vec<Hole>,
    v: Version,
    start: FrameStart,
    elsewhere: usize,
    topics_left: usize,
    partitions_left: usize,
    in_topic: bool,
}

impl<'o> FetchResponseWriter<'o> {
    /// Starts a frame behind what `out` holds; holes are appended to `holes`.
    pub fn begin(
        out: &'o mut Vec<u8>,
        holes: &'o mut Vec<Hole>,
        version: i16,
        correlation_id: i32,
        head: FetchResponseHead,
    ) -> FetchResponseWriter<'o> {
        let start =
            header::begin_response(out, <FetchResponse<'_> as Message<'_>>::KEY, version, correlation_id);
        let v = <FetchResponse<'_> as Message<'_>>::version(version);
        if version >= 1 {
            out.put(&head.throttle_time_ms.to_be_bytes());
        }
        if version >= 7 {
            out.put(&head.error_code.to_be_bytes());
            out.put(&head.session_id.to_be_bytes());
        }
        put_count(out, v, head.topic_count);
        FetchResponseWriter {
            out,
            holes,
            v,
            start,
            elsewhere: 0,
            topics_left: head.topic_count,
            partitions_left: 0,
            in_topic: false,
        }
    }

    /// Starts the next topic.
    pub fn topic(&mut self, topic: TopicKey<'_>, partition_count: usize) {
        self.end_topic();
        self.topics_left = self.topics_left.checked_sub(1).expect("no more topics than were announced");
        if self.v.number >= 13 {
            topic.id.write(self.out, self.v, false);
        } else {
            topic.name.write(self.out, self.v, false);
        }
        put_count(self.out, self.v, partition_count);
        (self.partitions_left, self.in_topic) = (partition_count, true);
    }

    /// Writes the next partition of the topic. `answer.records` is not looked at: `records` says where they are.
    pub fn partition(&mut self, answer: &FetchResponsePartition<'_>, records: RecordsFrom<'_>) {
        self.partitions_left =
            self.partitions_left.checked_sub(1).expect("no more partitions than were announced");
        let (out, v) = (&mut *self.out, self.v);
        out.put(&answer.partition_index.to_be_bytes());
        out.put(&answer.error_code.to_be_bytes());
        out.put(&answer.high_watermark.to_be_bytes());
        if v.number >= 4 {
            out.put(&answer.last_stable_offset.to_be_bytes());
        }
        if v.number >= 5 {
            out.put(&answer.log_start_offset.to_be_bytes());
        }
        if v.number >= 4 {
            answer.aborted_transactions.write(out, v, true);
        }
        if v.number >= 11 {
            out.put(&answer.preferred_read_replica.to_be_bytes());
        }
        match records {
            RecordsFrom::Null => None::<&[u8]>.write(out, v, true),
            RecordsFrom::Here(bytes) => Some(bytes).write(out, v, true),
            RecordsFrom::Elsewhere(bytes) => {
                put_bytes_length(out, v, bytes);
                if bytes > 0 {
                    self.holes.push(Hole { at: out.len(), bytes });
                    self.elsewhere += bytes;
                }
            }
        }
        if v.flexible {
            let tags = FetchResponsePartitionTags {
                diverging_epoch: answer.diverging_epoch.clone(),
                current_leader: answer.current_leader.clone(),
                snapshot_id: answer.snapshot_id.clone(),
            };
            tags.write(out, v, false);
        }
    }

    /// Ends the frame and returns its bytes, those from elsewhere included.
    pub fn end(mut self, node_endpoints: &[FetchResponseNodeEndpoint<'_>]) -> usize {
        self.end_topic();
        assert_eq!(self.topics_left, 0, "fewer topics than were announced");
        if self.v.flexible {
            if self.v.number >= 16 && !node_endpoints.is_empty() {
                let endpoints = node_endpoints.to_vec();
                FetchResponseTags { node_endpoints: endpoints }.write(self.out, self.v, false);
            } else {
                put_uvarint(self.out, 0);
            }
        }
        self.start.end(self.out, self.elsewhere)
    }

    fn end_topic(&mut self) {
        if self.in_topic {
            assert_eq!(self.partitions_left, 0, "fewer partitions than were announced");
            if self.v.flexible {
                put_uvarint(self.out, 0);
            }
        }
        self.in_topic = false;
    }
}

/// What stands in front of the topics of a Fetch response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FetchResponseHead {
    pub throttle_time_ms: i32,
    pub error_code: i16,
    pub session_id: i32,
    pub topic_count: usize,
}

// The tagged fields behind the records, as tables of their own.
message! {
    struct FetchResponsePartitionTags {
        diverging_epoch: FetchResponseDivergingEpoch [12.., tag 0];
        current_leader: FetchResponseCurrentLeader [12.., tag 1];
        snapshot_id: FetchResponseSnapshotId [12.., tag 2];
    }

    struct FetchResponseTags<'a> {
        node_endpoints: Vec<FetchResponseNodeEndpoint<'a>> [16.., tag 0];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(index: i32) -> FetchResponsePartition<'static> {
        FetchResponsePartition {
            partition_index: index,
            high_watermark: 1_000,
            last_stable_offset: 990,
            log_start_offset: 3,
            aborted_transactions: (index == 1)
                .then(|| vec![FetchResponseAbortedTransaction { producer_id: 4, first_offset: 900 }]),
            preferred_read_replica: -1,
            current_leader: if index == 2 {
                FetchResponseCurrentLeader { leader_id: 1, leader_epoch: 7 }
            } else {
                Default::default()
            },
            ..Default::default()
        }
    }

    #[test]
    fn the_writer_and_the_table_give_the_same_bytes_at_every_version() {
        let id = Uuid([9; 16]);
        let endpoints = vec![FetchResponseNodeEndpoint { node_id: 1, port: 9092, ..Default::default() }];
        for version in 0..=17 {
            let partition = |index, records| FetchResponsePartition { records, ..answer(index) };
            let table = FetchResponse {
                throttle_time_ms: 5,
                error_code: 0,
                session_id: 77,
                responses: vec![
                    FetchResponseResult {
                        topic: "one".into(),
                        topic_id: id,
                        partitions: vec![
                            partition(0, Some(&b"copied"[..])),
                            partition(1, Some(b"from a file")),
                        ],
                    },
                    FetchResponseResult {
                        topic: "two".into(),
                        topic_id: id,
                        partitions: vec![partition(2, None), partition(3, Some(b""))],
                    },
                ],
                node_endpoints: endpoints.clone(),
            };
            let mut expected = Vec::new();
            header::put_response(&mut expected, version, 42, &table);

            let (mut out, mut holes) = (b"earlier".to_vec(), Vec::new());
            let head =
                FetchResponseHead { throttle_time_ms: 5, error_code: 0, session_id: 77, topic_count: 2 };
            let mut writer = FetchResponseWriter::begin(&mut out, &mut holes, version, 42, head);
            writer.topic(TopicKey { name: "one", id }, 2);
            writer.partition(&answer(0), RecordsFrom::Here(b"copied"));
            writer.partition(&answer(1), RecordsFrom::Elsewhere(11));
            writer.topic(TopicKey { name: "two", id }, 2);
            writer.partition(&answer(2), RecordsFrom::Null);
            writer.partition(&answer(3), RecordsFrom::Elsewhere(0));
            let bytes = writer.end(&endpoints);

            assert_eq!(bytes, expected.len(), "version {version}");
            let [hole] = holes[..] else { panic!("one hole, not {holes:?}") };
            let sent = [&out[7..hole.at], b"from a file", &out[hole.at..]].concat();
            assert!(sent == expected, "version {version}");
        }
    }

    #[test]
    fn an_empty_answer_has_no_holes() {
        let (mut out, mut holes) = (Vec::new(), Vec::new());
        let head = FetchResponseHead { error_code: 70, ..Default::default() };
        let bytes = FetchResponseWriter::begin(&mut out, &mut holes, 12, 1, head).end(&[]);
        assert_eq!((bytes, out.len(), holes.len()), (out.len(), bytes, 0));
    }
}
