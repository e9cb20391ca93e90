//! ElectLeaders (key 43): an election where there is but one broker, which leads whatever works.
//!
//! In: partitions, or all. Out: ELECTION_NOT_NEEDED where there is a leader; no other replica could become one where there is none.

use crate::api::admin::{Context, Refusal};
use crate::metadata::Partition;
use crate::wire::error_code::ErrorCode;
use crate::wire::message::Message;
use crate::wire::message::elect_leaders::{
    ElectLeadersRequest, ElectLeadersResponse, ElectLeadersResponseReplicaElectionResult,
    ElectLeadersResponseReplicaElectionResultPartitionResult,
};

const PREFERRED: i8 = 0;

type Results<'a> = ElectLeadersResponseReplicaElectionResult<'a>;

pub fn respond(ctx: &Context<'_>, request: &ElectLeadersRequest<'_>, version: i16) -> Vec<u8> {
    let row =
        |partition_id: i32, refusal: Refusal| ElectLeadersResponseReplicaElectionResultPartitionResult {
            partition_id,
            error_code: refusal.code as i16,
            error_message: refusal.message.map(Into::into),
        };
    let results: Vec<Results<'_>> = match &request.topic_partitions {
        Some(topics) => topics
            .iter()
            .map(|asked| {
                let topic = ctx.image.topic(asked.topic);
                let partition_result = asked.partitions.iter().map(|number| {
                    row(
                        number,
                        outcome(topic.and_then(|topic| topic.partition(number)), request.election_type),
                    )
                });
                Results { topic: asked.topic.into(), partition_result: partition_result.collect() }
            })
            .collect(),
        // All: those that need none are left out.
        None => ctx
            .image
            .topics()
            .filter_map(|topic| {
                let needs = (0..).zip(topic.partitions.iter()).filter(|(_, found)| found.leader.is_none());
                let rows: Vec<_> = needs
                    .map(|(number, found)| row(number, outcome(Some(found), request.election_type)))
                    .collect();
                (!rows.is_empty())
                    .then(|| Results { topic: topic.name.to_string().into(), partition_result: rows })
            })
            .collect(),
    };
    let response =
        ElectLeadersResponse { throttle_time_ms: 0, error_code: 0, replica_election_results: results };
    let mut body = Vec::new();
    response.encode(&mut body, version);
    body
}

fn outcome(partition: Option<&Partition>, election_type: i8) -> Refusal {
    match partition {
        None => Refusal::new(ErrorCode::UnknownTopicOrPartition, "The partition does not exist."),
        Some(found) if found.leader.is_some() => {
            Refusal::new(ErrorCode::ElectionNotNeeded, "Leader election not needed for topic partition.")
        }
        Some(_) if election_type == PREFERRED => Refusal::plain(ErrorCode::PreferredLeaderNotAvailable),
        Some(_) => Refusal::plain(ErrorCode::EligibleLeadersNotAvailable),
    }
}
