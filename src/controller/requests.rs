//! What clients and brokers ask a controller for besides what the other files answer: elections, and producer ids.
//!
//! In: requests as they were decoded, and `/admin/preferred_replica_election`. Out: responses to encode.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::controller::Controller;
use crate::controller::context::TopicPartition;
use crate::controller::ensemble::{Ensemble, Lost};
use crate::controller::machines::{Rule, Unelected};
use crate::ids::BrokerId;
use crate::metadata::store::PRODUCER_ID_BLOCK;
use crate::metadata::zookeeper::jute::{Operation, ZkError};
use crate::metadata::zookeeper::znode::{self, ProducerIdBlock};
use crate::wire::error_code::ErrorCode;
use crate::wire::message::allocate_producer_ids::{AllocateProducerIdsRequest, AllocateProducerIdsResponse};
use crate::wire::message::elect_leaders::{
    ElectLeadersRequest, ElectLeadersResponse, ElectLeadersResponseReplicaElectionResult,
    ElectLeadersResponseReplicaElectionResultPartitionResult,
};

/// An answer to ElectLeaders, and whom it elected: Kafka answers when its own broker knows of them, or after the timeout.
#[derive(Clone, Debug, PartialEq)]
pub struct Elected {
    pub response: ElectLeadersResponse<'static>,
    pub leaders: Vec<(TopicPartition, BrokerId)>,
}

type Refusal = (ErrorCode, Option<&'static str>);

impl<Z: Ensemble> Controller<Z> {
    /// `/admin/preferred_replica_election`. `at_start`: the node is removed whether it is there or not, as Kafka does.
    pub(super) async fn preferred_leaders_by_node(&mut self, at_start: bool) -> Result<(), Lost> {
        let path = znode::PREFERRED_ELECTION;
        let read = self.ensemble.data(vec![path.to_owned()], true).await?.pop().flatten();
        let asked = match &read {
            None if at_start => Vec::new(),
            None => return Ok(()),
            Some(node) => match znode::decode_partitions(path, &node.data) {
                Ok(partitions) => partitions,
                Err(wrong) => {
                    tracing::error!("{wrong}; the request is dropped");
                    Vec::new()
                }
            },
        };
        let asked = asked.into_iter().map(|(topic, partition)| TopicPartition::new(topic, partition));
        let (elect, _) = self.sort_out(asked.collect(), Rule::Preferred);
        self.partitions_online(elect, Rule::Preferred).await?;
        let delete = Operation::Delete { path: path.to_owned(), version: -1 };
        self.write_one(path, vec![delete], &[ZkError::NoNode]).await?;
        self.ensemble.data(vec![path.to_owned()], true).await?; // hears of the next one
        Ok(())
    }

    /// Those that need an election, and why others do not.
    fn sort_out(
        &self,
        partitions: BTreeSet<TopicPartition>,
        rule: Rule,
    ) -> (Vec<TopicPartition>, BTreeMap<TopicPartition, Refusal>) {
        let (mut elect, mut refused) = (Vec::new(), BTreeMap::new());
        for at in partitions {
            let Some(partition) = self.context.partition(&at) else {
                let refusal = (ErrorCode::UnknownTopicOrPartition, Some("The partition does not exist."));
                refused.insert(at, refusal);
                continue;
            };
            if self.context.is_to_be_deleted(&at.topic) {
                refused.insert(at, (ErrorCode::InvalidTopicException, Some("The topic is being deleted")));
                continue;
            }
            let leader = partition.lead.as_ref().and_then(|lead| lead.leader);
            let is_well_led = match rule {
                Rule::Preferred => {
                    leader.is_some() && leader == partition.assignment.replicas.first().copied()
                }
                Rule::Offline { .. } | Rule::Reassigned | Rule::ControlledShutdown => {
                    leader.is_some_and(|leader| self.context.brokers().contains_key(&leader))
                }
            };
            match is_well_led {
                true => {
                    refused.insert(at, (ErrorCode::ElectionNotNeeded, None));
                }
                false => elect.push(at),
            }
        }
        (elect, refused)
    }

    /// ElectLeaders at this version. Of all partitions, where none are named; then those that need no election are left out
    /// of the answer.
    ///
    /// Error codes: INVALID_REQUEST (an unknown type); of a partition: UNKNOWN_TOPIC_OR_PARTITION, INVALID_TOPIC_EXCEPTION
    /// (it is being deleted), ELECTION_NOT_NEEDED, PREFERRED_LEADER_NOT_AVAILABLE, ELIGIBLE_LEADERS_NOT_AVAILABLE.
    pub async fn elect_leaders(
        &mut self,
        request: &ElectLeadersRequest<'_>,
        version: i16,
    ) -> Result<Elected, Lost> {
        let (rule, unavailable) = match if version == 0 { 0 } else { request.election_type } {
            0 => (Rule::Preferred, ErrorCode::PreferredLeaderNotAvailable),
            1 => (Rule::Offline { unclean: true }, ErrorCode::EligibleLeadersNotAvailable),
            _ => {
                let error_code = ErrorCode::InvalidRequest.code();
                let response = ElectLeadersResponse { error_code, ..ElectLeadersResponse::default() };
                return Ok(Elected { response, leaders: Vec::new() });
            }
        };
        let partitions: BTreeSet<TopicPartition> = match &request.topic_partitions {
            None => self.context.all_partitions().map(|(at, _)| at).collect(),
            Some(topics) => topics
                .iter()
                .flat_map(|topic| {
                    let at = |partition| TopicPartition::new(topic.topic, partition);
                    topic.partitions.iter().map(at).collect::<Vec<_>>()
                })
                .collect(),
        };
        let (elect, mut results) = self.sort_out(partitions, rule);
        let mut leaders = Vec::new();
        for (at, outcome) in self.partitions_online(elect, rule).await? {
            match outcome {
                Ok(()) => {
                    leaders.extend(self.context.lead(&at).and_then(|lead| Some((at.clone(), lead.leader?))));
                    results.insert(at, (ErrorCode::None, None));
                }
                Err(Unelected::NobodyMayLead | Unelected::NoState) => {
                    results
                        .insert(at, (unavailable, Some("No replica that may lead it is alive and in sync.")));
                }
            }
        }
        if request.topic_partitions.is_none() {
            results.retain(|_, (error, _)| *error != ErrorCode::ElectionNotNeeded);
        }
        let mut topics: Vec<ElectLeadersResponseReplicaElectionResult<'static>> = Vec::new();
        for (at, (error, message)) in results {
            let result = ElectLeadersResponseReplicaElectionResultPartitionResult {
                partition_id: at.partition,
                error_code: error.code(),
                error_message: message.map(Cow::Borrowed),
            };
            match topics.last_mut().filter(|topic| *topic.topic == *at.topic) {
                Some(topic) => topic.partition_result.push(result),
                None => topics.push(ElectLeadersResponseReplicaElectionResult {
                    topic: Cow::Owned(at.topic.to_string()),
                    partition_result: vec![result],
                }),
            }
        }
        let response =
            ElectLeadersResponse { replica_election_results: topics, ..ElectLeadersResponse::default() };
        Ok(Elected { response, leaders })
    }

    /// The next block of producer ids, for a broker that asks (AllocateProducerIds, from protocol 3.0 on).
    ///
    /// Error codes: BROKER_ID_NOT_REGISTERED, STALE_BROKER_EPOCH, UNKNOWN_SERVER_ERROR (no ids are left, or the node that
    /// counts them cannot be read).
    pub async fn allocate_producer_ids(
        &mut self,
        request: &AllocateProducerIdsRequest,
    ) -> Result<AllocateProducerIdsResponse, Lost> {
        let refused = |error: ErrorCode| AllocateProducerIdsResponse {
            error_code: error.code(),
            ..AllocateProducerIdsResponse::default()
        };
        match self.context.brokers().get(&BrokerId(request.broker_id)) {
            None => return Ok(refused(ErrorCode::BrokerIdNotRegistered)),
            Some(member) if member.epoch != request.broker_epoch => {
                return Ok(refused(ErrorCode::StaleBrokerEpoch));
            }
            Some(_) => {}
        }
        let path = znode::PRODUCER_ID_BLOCK.to_owned();
        loop {
            let node = self.ensemble.data(vec![path.clone()], false).await?.pop().flatten();
            let Some(node) = node else {
                return Err(Lost::Node { path, source: ZkError::NoNode });
            };
            let first = match node.data.is_empty() {
                true => Ok(0),
                false => ProducerIdBlock::decode(&node.data).map(|block| block.last.saturating_add(1)),
            };
            let first = match first {
                Ok(first) if first.checked_add(PRODUCER_ID_BLOCK).is_some() => first,
                Ok(_) => {
                    tracing::error!("{path}: there are no producer ids left");
                    return Ok(refused(ErrorCode::UnknownServerError));
                }
                Err(wrong) => {
                    tracing::error!("{wrong}; no producer ids are given away until it can be read");
                    return Ok(refused(ErrorCode::UnknownServerError));
                }
            };
            let block =
                ProducerIdBlock { broker_id: request.broker_id, first, last: first + PRODUCER_ID_BLOCK - 1 };
            // Not under the fence, as in Kafka: the version alone keeps two writers apart.
            let set =
                Operation::SetData { path: path.clone(), data: Some(block.encode()), version: node.version };
            match self.ensemble.multi(vec![vec![set]]).await?.pop() {
                Some(Err((_, ZkError::BadVersion))) => {} // somebody was faster
                Some(Err((_, source))) => return Err(Lost::Node { path, source }),
                Some(Ok(())) | None => {
                    return Ok(AllocateProducerIdsResponse {
                        producer_id_start: first,
                        producer_id_len: PRODUCER_ID_BLOCK as i32,
                        ..AllocateProducerIdsResponse::default()
                    });
                }
            }
        }
    }
}
