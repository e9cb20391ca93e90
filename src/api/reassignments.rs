//! AlterPartitionReassignments and ListPartitionReassignments (keys 45, 46) where there is one broker: nothing can move.
//!
//! In: wanted replicas. Out: success for what is as wanted already, else why not; nothing is ever under way.

use crate::api::admin::{Context, Refusal};
use crate::wire::array::Array;
use crate::wire::error_code::ErrorCode;
use crate::wire::message::Message;
use crate::wire::message::alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse,
    AlterPartitionReassignmentsResponseResponse, AlterPartitionReassignmentsResponseResponsePartition,
};
use crate::wire::message::list_partition_reassignments::ListPartitionReassignmentsResponse;

pub fn alter(ctx: &Context<'_>, request: &AlterPartitionReassignmentsRequest<'_>, version: i16) -> Vec<u8> {
    let responses = request.topics.iter().map(|asked| {
        let topic = ctx.image.topic(asked.name);
        let partitions = asked.partitions.iter().map(|partition| {
            let exists = topic.is_some_and(|topic| topic.partition(partition.partition_index).is_some());
            let refusal = if exists {
                check(ctx, partition.replicas.as_ref()).err()
            } else {
                Some(Refusal::new(ErrorCode::UnknownTopicOrPartition, "The partition does not exist."))
            };
            AlterPartitionReassignmentsResponseResponsePartition {
                partition_index: partition.partition_index,
                error_code: refusal.as_ref().map_or(0, |refusal| refusal.code as i16),
                error_message: refusal.and_then(|refusal| refusal.message).map(Into::into),
            }
        });
        AlterPartitionReassignmentsResponseResponse {
            name: asked.name.into(),
            partitions: partitions.collect(),
        }
    });
    let response =
        AlterPartitionReassignmentsResponse { responses: responses.collect(), ..Default::default() };
    let mut body = Vec::new();
    response.encode(&mut body, version);
    body
}

fn check(ctx: &Context<'_>, replicas: Option<&Array<'_, i32>>) -> Result<(), Refusal> {
    let Some(replicas) = replicas else {
        let why = "No partition reassignment is in progress.";
        return Err(Refusal::new(ErrorCode::NoReassignmentInProgress, why));
    };
    let replicas: Vec<i32> = replicas.iter().collect();
    let shown = || format!("[{}]", replicas.iter().map(i32::to_string).collect::<Vec<_>>().join(", "));
    let refuse = |why: String| Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, why));
    if replicas.is_empty() {
        return refuse("Empty replica list specified in partition reassignment.".to_owned());
    }
    if let Some(number) = replicas.iter().find(|number| **number < 0) {
        return refuse(format!("Invalid broker id {number} in replica list."));
    }
    if (1..replicas.len()).any(|at| replicas[..at].contains(&replicas[at])) {
        return refuse(format!("Duplicate replica ids in partition reassignment replica list: {}", shown()));
    }
    let brokers = &ctx.image.cluster().brokers;
    if replicas.iter().any(|number| !brokers.iter().any(|broker| broker.id.0 == *number)) {
        let live: Vec<String> = brokers.iter().map(|broker| broker.id.to_string()).collect();
        return refuse(format!(
            "Replica assignment has brokers that are not alive. Replica list: {}, live broker list: [{}]",
            shown(),
            live.join(", ")
        ));
    }
    Ok(())
}

/// Nothing is under way.
pub fn list(version: i16) -> Vec<u8> {
    let mut body = Vec::new();
    ListPartitionReassignmentsResponse::default().encode(&mut body, version);
    body
}
