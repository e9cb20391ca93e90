//! The administrative APIs behind one door: answered at once from the image, or handed to the control thread.
//!
//! In: a request. Out: the body of the response, or a command that the control thread carries out; an error means
//! that the body cannot be read and the connection must be closed. Bodies come without the response header.

use std::sync::Arc;

use crate::api::{
    acls, api_versions, create_partitions, create_topics, delete_topics, describe_cluster, describe_configs,
    elect_leaders, find_coordinator, init_producer_id, metadata, reassignments, update_features,
};
use crate::config::Config;
use crate::metadata::Image;
use crate::wire::error_code::ErrorCode;
use crate::wire::header::RequestHeader;
use crate::wire::message::Message;
use crate::wire::message::allocate_producer_ids::AllocateProducerIdsRequest;
use crate::wire::message::alter_client_quotas::AlterClientQuotasRequest;
use crate::wire::message::alter_configs::AlterConfigsRequest;
use crate::wire::message::alter_partition::AlterPartitionRequest;
use crate::wire::message::alter_partition_reassignments::AlterPartitionReassignmentsRequest;
use crate::wire::message::alter_user_scram_credentials::AlterUserScramCredentialsRequest;
use crate::wire::message::controlled_shutdown::ControlledShutdownRequest;
use crate::wire::message::create_acls::CreateAclsRequest;
use crate::wire::message::create_partitions::CreatePartitionsRequest;
use crate::wire::message::create_topics::CreateTopicsRequest;
use crate::wire::message::delete_acls::DeleteAclsRequest;
use crate::wire::message::delete_records::DeleteRecordsRequest;
use crate::wire::message::delete_topics::DeleteTopicsRequest;
use crate::wire::message::describe_acls::DescribeAclsRequest;
use crate::wire::message::describe_client_quotas::DescribeClientQuotasRequest;
use crate::wire::message::describe_cluster::DescribeClusterRequest;
use crate::wire::message::describe_configs::DescribeConfigsRequest;
use crate::wire::message::describe_log_dirs::DescribeLogDirsRequest;
use crate::wire::message::describe_producers::DescribeProducersRequest;
use crate::wire::message::describe_user_scram_credentials::DescribeUserScramCredentialsRequest;
use crate::wire::message::elect_leaders::ElectLeadersRequest;
use crate::wire::message::find_coordinator::FindCoordinatorRequest;
use crate::wire::message::incremental_alter_configs::IncrementalAlterConfigsRequest;
use crate::wire::message::init_producer_id::InitProducerIdRequest;
use crate::wire::message::leader_and_isr::LeaderAndIsrRequest;
use crate::wire::message::list_partition_reassignments::ListPartitionReassignmentsRequest;
use crate::wire::message::metadata::MetadataRequest;
use crate::wire::message::offset_for_leader_epoch::OffsetForLeaderEpochRequest;
use crate::wire::message::stop_replica::StopReplicaRequest;
use crate::wire::message::update_features::UpdateFeaturesRequest;
use crate::wire::message::update_metadata::UpdateMetadataRequest;
use crate::wire::primitive::{DecodeError, Reader};
use crate::wire::version::{ApiKey, Support};

/// What an answer is made of besides the request.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    pub image: &'a Image,
    pub config: &'a Config,
    /// The name of the listener the request came by: brokers are named by their addresses there.
    pub listener: &'a Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handled {
    Now(Vec<u8>),
    Later(Command),
}

/// A request that changes metadata, on its way to the control thread. Its body has been decoded once, so it can be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    pub key: ApiKey,
    pub version: i16,
    /// The name of the listener it came by.
    pub listener: Arc<str>,
    pub body: Vec<u8>,
}

/// Why one thing of a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub code: ErrorCode,
    pub message: Option<String>,
}

impl Refusal {
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Refusal {
        Refusal { code, message: Some(message.into()) }
    }

    /// With the general sentence of the code.
    pub fn plain(code: ErrorCode) -> Refusal {
        Refusal { code, message: Some(code.message().to_owned()) }
    }
}

/// What refused an entry of a request: the check before, or the store. An entry says where its result stands in `stored`;
/// one without a place needed no change.
pub fn refusal_of<'a, P: Copy + Into<Option<usize>>, T>(
    entry: &'a Result<P, Refusal>,
    stored: &'a [Result<T, Refusal>],
) -> Option<&'a Refusal> {
    match entry {
        Ok(place) => (*place).into().and_then(|place: usize| stored[place].as_ref().err()),
        Err(refusal) => Some(refusal),
    }
}

/// The error fields of an answer: 0 and no message where nothing was refused.
pub fn code_and_message(refusal: Option<&Refusal>) -> (i16, Option<&str>) {
    (refusal.map_or(0, |refusal| refusal.code as i16), refusal.and_then(|refusal| refusal.message.as_deref()))
}

/// Things one request may name. A broker has no more partitions than this, so nobody who asks for them needs more; and
/// an answer takes many times the memory of the few bytes that ask for it.
pub const ENTRIES_MAX: usize = create_topics::PARTITIONS_MAX as usize;

/// A request that names more than it could mean gets no answer: its connection is closed, as for one that cannot be read.
fn bounded(r: &Reader<'_>, entries: usize) -> Result<(), DecodeError> {
    if entries > ENTRIES_MAX {
        return Err(r.error("the request names more things than a broker can have"));
    }
    Ok(())
}

/// True for the APIs that `handle` knows.
pub fn handles(key: ApiKey) -> bool {
    matches!(
        key,
        ApiKey::Metadata
            | ApiKey::ApiVersions
            | ApiKey::FindCoordinator
            | ApiKey::CreateTopics
            | ApiKey::DeleteTopics
            | ApiKey::InitProducerId
            | ApiKey::DescribeConfigs
            | ApiKey::CreatePartitions
            | ApiKey::DescribeCluster
            | ApiKey::DeleteRecords
            | ApiKey::OffsetForLeaderEpoch
            | ApiKey::DescribeAcls
            | ApiKey::CreateAcls
            | ApiKey::DeleteAcls
            | ApiKey::AlterConfigs
            | ApiKey::DescribeLogDirs
            | ApiKey::ElectLeaders
            | ApiKey::IncrementalAlterConfigs
            | ApiKey::AlterPartitionReassignments
            | ApiKey::ListPartitionReassignments
            | ApiKey::DescribeClientQuotas
            | ApiKey::AlterClientQuotas
            | ApiKey::DescribeUserScramCredentials
            | ApiKey::AlterUserScramCredentials
            | ApiKey::DescribeProducers
            | ApiKey::UpdateFeatures
            | ApiKey::LeaderAndIsr
            | ApiKey::UpdateMetadata
            | ApiKey::StopReplica
            | ApiKey::ControlledShutdown
            | ApiKey::AlterPartition
            | ApiKey::AllocateProducerIds
    )
}

/// Answers a request whose header has been read; `r` stands at the body.
pub fn handle<'a>(
    ctx: &Context<'_>,
    header: &RequestHeader<'_>,
    r: &mut Reader<'a>,
) -> Result<Handled, DecodeError> {
    let version = header.version;
    let start = r.position();
    let later = |body: &[u8]| {
        let listener = ctx.listener.clone();
        Handled::Later(Command { key: header.key, version, listener, body: body.to_vec() })
    };
    // Metadata is this broker's own, and there is nobody to ask.
    let is_alone = ctx.config.zookeeper.is_none();
    Ok(match header.key {
        // The body at an unknown version cannot be known either, so it is not looked at.
        ApiKey::ApiVersions if header.support() == Support::Refused => {
            Handled::Now(api_versions::unknown_version())
        }
        ApiKey::ApiVersions => Handled::Now(api_versions::respond(version, r)?),
        ApiKey::Metadata => {
            let request = MetadataRequest::decode(r, version)?;
            bounded(r, request.topics.as_ref().map_or(0, |topics| topics.len()))?;
            if metadata::creates_topics(ctx, &request, version) {
                later(r.since(start))
            } else {
                Handled::Now(metadata::respond(ctx, &request, version, &metadata::NotCreated::default()))
            }
        }
        ApiKey::FindCoordinator => {
            let request = FindCoordinatorRequest::decode(r, version)?;
            bounded(r, request.coordinator_keys.len())?;
            if find_coordinator::creates_topic(ctx, &request) {
                later(r.since(start))
            } else {
                Handled::Now(find_coordinator::respond(ctx, &request, version, None))
            }
        }
        ApiKey::DescribeConfigs => {
            let request = DescribeConfigsRequest::decode(r, version)?;
            bounded(r, request.resources.len())?;
            Handled::Now(describe_configs::respond(ctx, &request, version))
        }
        ApiKey::DescribeCluster => {
            let request = DescribeClusterRequest::decode(r, version)?;
            Handled::Now(describe_cluster::respond(ctx, &request, version))
        }
        ApiKey::ControlledShutdown => {
            ControlledShutdownRequest::decode(r, version)?;
            later(r.since(start))
        }
        ApiKey::AlterPartition => {
            AlterPartitionRequest::decode(r, version)?;
            later(r.since(start))
        }
        ApiKey::AllocateProducerIds => {
            AllocateProducerIdsRequest::decode(r, version)?;
            later(r.since(start))
        }
        ApiKey::LeaderAndIsr => {
            LeaderAndIsrRequest::decode(r, version)?;
            later(r.since(start))
        }
        ApiKey::UpdateMetadata => {
            UpdateMetadataRequest::decode(r, version)?;
            later(r.since(start))
        }
        ApiKey::StopReplica => {
            StopReplicaRequest::decode(r, version)?;
            later(r.since(start))
        }
        ApiKey::InitProducerId => {
            let request = InitProducerIdRequest::decode(r, version)?;
            match init_producer_id::check(&request) {
                Ok(()) => later(r.since(start)),
                Err(code) => Handled::Now(init_producer_id::respond(version, Err(code))),
            }
        }
        ApiKey::CreateTopics => {
            let request = CreateTopicsRequest::decode(r, version)?;
            bounded(r, request.topics.len())?;
            later(r.since(start))
        }
        ApiKey::DeleteTopics => {
            let request = DeleteTopicsRequest::decode(r, version)?;
            bounded(r, request.topics.len() + request.topic_names.len())?;
            later(r.since(start))
        }
        ApiKey::CreatePartitions => {
            let request = CreatePartitionsRequest::decode(r, version)?;
            bounded(r, request.topics.len())?;
            later(r.since(start))
        }
        ApiKey::DeleteRecords => {
            let request = DeleteRecordsRequest::decode(r, version)?;
            bounded(r, request.topics.iter().map(|topic| 1 + topic.partitions.len()).sum())?;
            later(r.since(start))
        }
        ApiKey::OffsetForLeaderEpoch => {
            let request = OffsetForLeaderEpochRequest::decode(r, version)?;
            bounded(r, request.topics.iter().map(|topic| 1 + topic.partitions.len()).sum())?;
            later(r.since(start))
        }
        ApiKey::DescribeProducers => {
            let request = DescribeProducersRequest::decode(r, version)?;
            bounded(r, request.topics.iter().map(|topic| 1 + topic.partition_indexes.len()).sum())?;
            later(r.since(start))
        }
        ApiKey::DescribeLogDirs => {
            let request = DescribeLogDirsRequest::decode(r, version)?;
            bounded(
                r,
                request
                    .topics
                    .as_ref()
                    .map_or(0, |topics| topics.iter().map(|t| 1 + t.partitions.len()).sum()),
            )?;
            later(r.since(start))
        }
        ApiKey::AlterConfigs => {
            let request = AlterConfigsRequest::decode(r, version)?;
            bounded(r, request.resources.iter().map(|resource| 1 + resource.configs.len()).sum())?;
            later(r.since(start))
        }
        ApiKey::IncrementalAlterConfigs => {
            let request = IncrementalAlterConfigsRequest::decode(r, version)?;
            bounded(r, request.resources.iter().map(|resource| 1 + resource.configs.len()).sum())?;
            later(r.since(start))
        }
        ApiKey::DescribeClientQuotas => {
            let request = DescribeClientQuotasRequest::decode(r, version)?;
            bounded(r, request.components.len())?;
            later(r.since(start))
        }
        ApiKey::AlterClientQuotas => {
            let request = AlterClientQuotasRequest::decode(r, version)?;
            bounded(r, request.entries.iter().map(|entry| entry.entity.len() + entry.ops.len()).sum())?;
            later(r.since(start))
        }
        ApiKey::DescribeUserScramCredentials => {
            let request = DescribeUserScramCredentialsRequest::decode(r, version)?;
            bounded(r, request.users.as_ref().map_or(0, |users| users.len()))?;
            later(r.since(start))
        }
        ApiKey::AlterUserScramCredentials => {
            let request = AlterUserScramCredentialsRequest::decode(r, version)?;
            bounded(r, request.deletions.len() + request.upsertions.len())?;
            later(r.since(start))
        }
        ApiKey::DescribeAcls => {
            DescribeAclsRequest::decode(r, version)?;
            Handled::Now(acls::describe(version))
        }
        ApiKey::CreateAcls => {
            let request = CreateAclsRequest::decode(r, version)?;
            bounded(r, request.creations.len())?;
            Handled::Now(acls::create(&request, version))
        }
        ApiKey::DeleteAcls => {
            let request = DeleteAclsRequest::decode(r, version)?;
            bounded(r, request.filters.len())?;
            Handled::Now(acls::delete(&request, version))
        }
        ApiKey::ElectLeaders => {
            let request = ElectLeadersRequest::decode(r, version)?;
            bounded(
                r,
                request
                    .topic_partitions
                    .as_ref()
                    .map_or(0, |topics| topics.iter().map(|t| 1 + t.partitions.len()).sum()),
            )?;
            match is_alone {
                true => Handled::Now(elect_leaders::respond(ctx, &request, version)),
                false => later(r.since(start)),
            }
        }
        ApiKey::AlterPartitionReassignments => {
            let request = AlterPartitionReassignmentsRequest::decode(r, version)?;
            bounded(r, request.topics.iter().map(|topic| 1 + topic.partitions.len()).sum())?;
            match is_alone {
                true => Handled::Now(reassignments::alter(ctx, &request, version)),
                false => later(r.since(start)),
            }
        }
        ApiKey::UpdateFeatures => {
            let request = UpdateFeaturesRequest::decode(r, version)?;
            bounded(r, request.feature_updates.len())?;
            Handled::Now(update_features::respond(ctx, &request, version))
        }
        ApiKey::ListPartitionReassignments => {
            let request = ListPartitionReassignmentsRequest::decode(r, version)?;
            let named = request.topics.as_ref();
            bounded(r, named.map_or(0, |topics| topics.iter().map(|t| 1 + t.partition_indexes.len()).sum()))?;
            match is_alone {
                true => Handled::Now(reassignments::list(version)),
                false => later(r.since(start)),
            }
        }
        other => unreachable!("{other:?} is not one of the administrative APIs; `handles` says so"),
    })
}

impl Command {
    /// Its answer when the control thread cannot take it: nothing was changed, and the client may try again. `None` where the
    /// API has no such answer: the connection is closed.
    pub fn refuse(&self, ctx: &Context<'_>) -> Option<Vec<u8>> {
        const WHY: &str = "too many requests that change metadata are waiting, or the broker is stopping";
        let refusal = Refusal::new(ErrorCode::RequestTimedOut, WHY);
        let (version, mut r) = (self.version, Reader::new(&self.body));
        let answer = match self.key {
            ApiKey::Metadata => MetadataRequest::decode(&mut r, version).map(|request| {
                metadata::respond(
                    ctx,
                    &request,
                    version,
                    &metadata::NotCreated::all(ErrorCode::LeaderNotAvailable),
                )
            }),
            ApiKey::FindCoordinator => FindCoordinatorRequest::decode(&mut r, version)
                .map(|request| find_coordinator::respond(ctx, &request, version, Some(&refusal))),
            ApiKey::CreateTopics => CreateTopicsRequest::decode(&mut r, version)
                .map(|request| create_topics::refuse_all(&request, version, &refusal)),
            ApiKey::DeleteTopics => DeleteTopicsRequest::decode(&mut r, version)
                .map(|request| delete_topics::refuse_all(&request, version, &refusal)),
            ApiKey::CreatePartitions => CreatePartitionsRequest::decode(&mut r, version)
                .map(|request| create_partitions::refuse_all(&request, version, &refusal)),
            // Not 7: clients take it for a lost answer to a transaction.
            ApiKey::InitProducerId => {
                Ok(init_producer_id::respond(version, Err(ErrorCode::CoordinatorLoadInProgress)))
            }
            _ => return None,
        };
        Some(answer.expect("the body was decoded before it became a command"))
    }
}
