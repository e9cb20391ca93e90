//! Produce (key 0), contract 1.3: request and response as tables of fields, and the walk over a request's batches.
//!
//! In: the body of a request, all of which `decode` has checked. Out: topic, partition and the place of the records in
//! the frame, one after the other, with nothing allocated and nothing copied.

use std::borrow::Cow;
use std::ops::Range;

use crate::wire::array::Array;
use crate::wire::message::{api, message};

api!(0, ProduceRequest<'a>, ProduceResponse<'a>, versions 0..=11, flexible 9);

message! {
    pub struct ProduceRequest<'a> {
        transactional_id: Option<&'a str> [3.., null ..];
        acks: i16 [..];
        timeout_ms: i32 [..];
        topic_data: Array<'a, ProduceRequestTopicData<'a>> [..];
    }

    pub struct ProduceRequestTopicData<'a> {
        name: &'a str [..];
        partition_data: Array<'a, ProduceRequestPartitionData<'a>> [..];
    }

    pub struct ProduceRequestPartitionData<'a> {
        index: i32 [..];
        records: Option<&'a [u8]> [.., null ..];
    }

    pub struct ProduceResponse<'a> {
        responses: Vec<ProduceResponseResult<'a>> [..];
        throttle_time_ms: i32 [1..];
        node_endpoints: Vec<ProduceResponseNodeEndpoint<'a>> [10.., tag 0];
    }

    pub struct ProduceResponseResult<'a> {
        name: Cow<'a, str> [..];
        partition_responses: Vec<ProduceResponsePartitionResponse<'a>> [..];
    }

    pub struct ProduceResponsePartitionResponse<'a> {
        index: i32 [..];
        error_code: i16 [..];
        base_offset: i64 [..];
        log_append_time_ms: i64 [2.., default -1];
        log_start_offset: i64 [5.., default -1];
        record_errors: Vec<ProduceResponseRecordError<'a>> [8..];
        error_message: Option<Cow<'a, str>> [8.., null ..];
        current_leader: ProduceResponseCurrentLeader [10.., tag 0];
    }

    pub struct ProduceResponseRecordError<'a> {
        batch_index: i32 [..];
        batch_index_error_message: Option<Cow<'a, str>> [.., null ..];
    }

    pub struct ProduceResponseCurrentLeader {
        leader_id: i32 [.., default -1];
        leader_epoch: i32 [.., default -1];
    }

    pub struct ProduceResponseNodeEndpoint<'a> {
        node_id: i32 [..];
        host: Cow<'a, str> [..];
        port: i32 [..];
        rack: Option<Cow<'a, str>> [.., null ..];
    }
}

/// One partition of a Produce request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducePartition<'a> {
    pub topic: &'a str,
    pub partition: i32,
    /// Where the records lie in the frame; `None` when the client sent null.
    pub records: Option<Range<usize>>,
}

impl<'a> ProduceRequest<'a> {
    /// The partitions in the order of the request, with the places of their records in `frame`, from which the request
    /// was decoded.
    pub fn partitions(&self, frame: &'a [u8]) -> impl Iterator<Item = ProducePartition<'a>> {
        self.topic_data.iter().flat_map(move |topic| {
            let name = topic.name;
            topic.partition_data.into_iter().map(move |partition| ProducePartition {
                topic: name,
                partition: partition.index,
                records: partition.records.map(|records| place_in(frame, records)),
            })
        })
    }
}

/// Where `part`, which was cut out of `frame`, lies in it.
fn place_in(frame: &[u8], part: &[u8]) -> Range<usize> {
    let start = (part.as_ptr() as usize).wrapping_sub(frame.as_ptr() as usize);
    let place = start..start.wrapping_add(part.len());
    assert!(
        place.end <= frame.len() && place.start <= place.end,
        "the request was decoded from another frame"
    );
    place
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::message::Message;
    use crate::wire::primitive::Reader;

    fn data(index: i32, records: Option<&[u8]>) -> ProduceRequestPartitionData<'_> {
        ProduceRequestPartitionData { index, records }
    }

    #[test]
    fn the_walk_names_each_place_in_the_frame() {
        let request = ProduceRequest {
            topic_data: [
                ProduceRequestTopicData {
                    name: "a",
                    partition_data: [data(3, Some(b"first")), data(4, None)].into(),
                },
                ProduceRequestTopicData { name: "bc", partition_data: [data(0, Some(b"second"))].into() },
            ]
            .into(),
            ..Default::default()
        };
        for version in 3..=11 {
            let mut frame = b"header".to_vec();
            request.encode(&mut frame, version);
            let mut r = Reader::new(&frame);
            r.take(6).unwrap();
            let read = ProduceRequest::decode(&mut r, version).unwrap();
            let seen: Vec<_> = read
                .partitions(&frame)
                .map(|p| (p.topic, p.partition, p.records.map(|place| &frame[place])))
                .collect();
            assert_eq!(seen, [("a", 3, Some(&b"first"[..])), ("a", 4, None), ("bc", 0, Some(b"second"))]);
        }
    }
}
