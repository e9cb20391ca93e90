//! ElectLeaders (key 43), contract 1.3: request and response as tables of fields.

use std::borrow::Cow;

use crate::wire::array::Array;
use crate::wire::message::{api, message};

api!(43, ElectLeadersRequest<'a>, ElectLeadersResponse<'a>, versions 0..=2, flexible 2);

message! {
    pub struct ElectLeadersRequest<'a> {
        election_type: i8 [1..];
        topic_partitions: Option<Array<'a, ElectLeadersRequestTopicPartition<'a>>> [.., null ..];
        timeout_ms: i32 [.., default 60000];
    }

    pub struct ElectLeadersRequestTopicPartition<'a> {
        topic: &'a str [..];
        partitions: Array<'a, i32> [..];
    }

    pub struct ElectLeadersResponse<'a> {
        throttle_time_ms: i32 [..];
        error_code: i16 [1..];
        replica_election_results: Vec<ElectLeadersResponseReplicaElectionResult<'a>> [..];
    }

    pub struct ElectLeadersResponseReplicaElectionResult<'a> {
        topic: Cow<'a, str> [..];
        partition_result: Vec<ElectLeadersResponseReplicaElectionResultPartitionResult<'a>> [..];
    }

    pub struct ElectLeadersResponseReplicaElectionResultPartitionResult<'a> {
        partition_id: i32 [..];
        error_code: i16 [..];
        error_message: Option<Cow<'a, str>> [.., null ..];
    }
}
