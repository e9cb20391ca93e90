//! The fuzz targets of the wire format (T01 to T05, T08 for batches): each one a function of a byte slice.
//!
//! In: any bytes. Out: nothing; a broken promise is a panic. They run as seeded loops and under proptest in
//! `tests/protocol`, and under libFuzzer from this folder (`README.md`).

use std::fmt::Debug;

use ringdaw::wire::batch::{self, Batch, BatchHeader};
use ringdaw::wire::compression::{Codec, Decompressor, compress};
use ringdaw::wire::frame::{self, Front, Splitter};
use ringdaw::wire::header::RequestHeader;
use ringdaw::wire::message::Message;
use ringdaw::wire::message::allocate_producer_ids::{
    AllocateProducerIdsRequest, AllocateProducerIdsResponse,
};
use ringdaw::wire::message::alter_client_quotas::{AlterClientQuotasRequest, AlterClientQuotasResponse};
use ringdaw::wire::message::alter_configs::{AlterConfigsRequest, AlterConfigsResponse};
use ringdaw::wire::message::alter_partition::{AlterPartitionRequest, AlterPartitionResponse};
use ringdaw::wire::message::alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse,
};
use ringdaw::wire::message::alter_user_scram_credentials::{
    AlterUserScramCredentialsRequest, AlterUserScramCredentialsResponse,
};
use ringdaw::wire::message::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use ringdaw::wire::message::controlled_shutdown::{ControlledShutdownRequest, ControlledShutdownResponse};
use ringdaw::wire::message::create_acls::{CreateAclsRequest, CreateAclsResponse};
use ringdaw::wire::message::create_partitions::{CreatePartitionsRequest, CreatePartitionsResponse};
use ringdaw::wire::message::create_topics::{CreateTopicsRequest, CreateTopicsResponse};
use ringdaw::wire::message::delete_acls::{DeleteAclsRequest, DeleteAclsResponse};
use ringdaw::wire::message::delete_groups::{DeleteGroupsRequest, DeleteGroupsResponse};
use ringdaw::wire::message::delete_records::{DeleteRecordsRequest, DeleteRecordsResponse};
use ringdaw::wire::message::delete_topics::{DeleteTopicsRequest, DeleteTopicsResponse};
use ringdaw::wire::message::describe_acls::{DescribeAclsRequest, DescribeAclsResponse};
use ringdaw::wire::message::describe_client_quotas::{
    DescribeClientQuotasRequest, DescribeClientQuotasResponse,
};
use ringdaw::wire::message::describe_cluster::{DescribeClusterRequest, DescribeClusterResponse};
use ringdaw::wire::message::describe_configs::{DescribeConfigsRequest, DescribeConfigsResponse};
use ringdaw::wire::message::describe_groups::{DescribeGroupsRequest, DescribeGroupsResponse};
use ringdaw::wire::message::describe_log_dirs::{DescribeLogDirsRequest, DescribeLogDirsResponse};
use ringdaw::wire::message::describe_producers::{DescribeProducersRequest, DescribeProducersResponse};
use ringdaw::wire::message::describe_user_scram_credentials::{
    DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse,
};
use ringdaw::wire::message::elect_leaders::{ElectLeadersRequest, ElectLeadersResponse};
use ringdaw::wire::message::fetch::{FetchRequest, FetchResponse};
use ringdaw::wire::message::find_coordinator::{FindCoordinatorRequest, FindCoordinatorResponse};
use ringdaw::wire::message::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use ringdaw::wire::message::incremental_alter_configs::{
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
};
use ringdaw::wire::message::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use ringdaw::wire::message::join_group::{JoinGroupRequest, JoinGroupResponse};
use ringdaw::wire::message::leader_and_isr::{LeaderAndIsrRequest, LeaderAndIsrResponse};
use ringdaw::wire::message::leave_group::{LeaveGroupRequest, LeaveGroupResponse};
use ringdaw::wire::message::list_groups::{ListGroupsRequest, ListGroupsResponse};
use ringdaw::wire::message::list_offsets::{ListOffsetsRequest, ListOffsetsResponse};
use ringdaw::wire::message::list_partition_reassignments::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
};
use ringdaw::wire::message::metadata::{MetadataRequest, MetadataResponse};
use ringdaw::wire::message::offset_commit::{OffsetCommitRequest, OffsetCommitResponse};
use ringdaw::wire::message::offset_delete::{OffsetDeleteRequest, OffsetDeleteResponse};
use ringdaw::wire::message::offset_fetch::{OffsetFetchRequest, OffsetFetchResponse};
use ringdaw::wire::message::offset_for_leader_epoch::{
    OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
};
use ringdaw::wire::message::produce::{ProduceRequest, ProduceResponse};
use ringdaw::wire::message::stop_replica::{StopReplicaRequest, StopReplicaResponse};
use ringdaw::wire::message::sync_group::{SyncGroupRequest, SyncGroupResponse};
use ringdaw::wire::message::update_features::{UpdateFeaturesRequest, UpdateFeaturesResponse};
use ringdaw::wire::message::update_metadata::{UpdateMetadataRequest, UpdateMetadataResponse};
use ringdaw::wire::primitive::{DecodeError, Reader};
use ringdaw::wire::record::{RecordRules, Records, validate};
use ringdaw::wire::version::{ApiKey, advertised};

/// The two directions of an API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Request,
    Response,
}

/// `with!(Request, Response)` for the API of `$key`; `None` where there is no table.
macro_rules! each_api {
    ($key:expr, $with:ident) => {
        Some(match $key {
            ApiKey::Produce => $with!(ProduceRequest, ProduceResponse),
            ApiKey::Fetch => $with!(FetchRequest, FetchResponse),
            ApiKey::ListOffsets => $with!(ListOffsetsRequest, ListOffsetsResponse),
            ApiKey::Metadata => $with!(MetadataRequest, MetadataResponse),
            ApiKey::FindCoordinator => $with!(FindCoordinatorRequest, FindCoordinatorResponse),
            ApiKey::ApiVersions => $with!(ApiVersionsRequest, ApiVersionsResponse),
            ApiKey::CreateTopics => $with!(CreateTopicsRequest, CreateTopicsResponse),
            ApiKey::DeleteTopics => $with!(DeleteTopicsRequest, DeleteTopicsResponse),
            ApiKey::InitProducerId => $with!(InitProducerIdRequest, InitProducerIdResponse),
            ApiKey::DescribeConfigs => $with!(DescribeConfigsRequest, DescribeConfigsResponse),
            ApiKey::CreatePartitions => $with!(CreatePartitionsRequest, CreatePartitionsResponse),
            ApiKey::DescribeCluster => $with!(DescribeClusterRequest, DescribeClusterResponse),
            ApiKey::OffsetCommit => $with!(OffsetCommitRequest, OffsetCommitResponse),
            ApiKey::OffsetFetch => $with!(OffsetFetchRequest, OffsetFetchResponse),
            ApiKey::JoinGroup => $with!(JoinGroupRequest, JoinGroupResponse),
            ApiKey::Heartbeat => $with!(HeartbeatRequest, HeartbeatResponse),
            ApiKey::LeaveGroup => $with!(LeaveGroupRequest, LeaveGroupResponse),
            ApiKey::SyncGroup => $with!(SyncGroupRequest, SyncGroupResponse),
            ApiKey::DescribeGroups => $with!(DescribeGroupsRequest, DescribeGroupsResponse),
            ApiKey::ListGroups => $with!(ListGroupsRequest, ListGroupsResponse),
            ApiKey::DeleteGroups => $with!(DeleteGroupsRequest, DeleteGroupsResponse),
            ApiKey::OffsetDelete => $with!(OffsetDeleteRequest, OffsetDeleteResponse),
            ApiKey::DeleteRecords => $with!(DeleteRecordsRequest, DeleteRecordsResponse),
            ApiKey::OffsetForLeaderEpoch => $with!(OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse),
            ApiKey::DescribeAcls => $with!(DescribeAclsRequest, DescribeAclsResponse),
            ApiKey::CreateAcls => $with!(CreateAclsRequest, CreateAclsResponse),
            ApiKey::DeleteAcls => $with!(DeleteAclsRequest, DeleteAclsResponse),
            ApiKey::AlterConfigs => $with!(AlterConfigsRequest, AlterConfigsResponse),
            ApiKey::DescribeLogDirs => $with!(DescribeLogDirsRequest, DescribeLogDirsResponse),
            ApiKey::ElectLeaders => $with!(ElectLeadersRequest, ElectLeadersResponse),
            ApiKey::IncrementalAlterConfigs => {
                $with!(IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse)
            }
            ApiKey::AlterPartitionReassignments => {
                $with!(AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse)
            }
            ApiKey::ListPartitionReassignments => {
                $with!(ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse)
            }
            ApiKey::DescribeClientQuotas => $with!(DescribeClientQuotasRequest, DescribeClientQuotasResponse),
            ApiKey::AlterClientQuotas => $with!(AlterClientQuotasRequest, AlterClientQuotasResponse),
            ApiKey::DescribeUserScramCredentials => {
                $with!(DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse)
            }
            ApiKey::AlterUserScramCredentials => {
                $with!(AlterUserScramCredentialsRequest, AlterUserScramCredentialsResponse)
            }
            ApiKey::DescribeProducers => $with!(DescribeProducersRequest, DescribeProducersResponse),
            ApiKey::LeaderAndIsr => $with!(LeaderAndIsrRequest, LeaderAndIsrResponse),
            ApiKey::StopReplica => $with!(StopReplicaRequest, StopReplicaResponse),
            ApiKey::UpdateFeatures => $with!(UpdateFeaturesRequest, UpdateFeaturesResponse),
            ApiKey::UpdateMetadata => $with!(UpdateMetadataRequest, UpdateMetadataResponse),
            ApiKey::ControlledShutdown => $with!(ControlledShutdownRequest, ControlledShutdownResponse),
            ApiKey::AlterPartition => $with!(AlterPartitionRequest, AlterPartitionResponse),
            ApiKey::AllocateProducerIds => $with!(AllocateProducerIdsRequest, AllocateProducerIdsResponse),
            _ => return None,
        })
    };
}
pub(crate) use each_api;

/// What is done with a message of whatever type.
pub trait Use {
    type Out;
    fn with<'a, M: Message<'a> + Debug>(self, r: &mut Reader<'a>, version: i16) -> Self::Out;
}

/// Calls `user` with the message type of `key` and `kind`; `None` where we have no table.
pub fn dispatch<U: Use>(
    key: ApiKey,
    kind: Kind,
    version: i16,
    r: &mut Reader<'_>,
    user: U,
) -> Option<U::Out> {
    macro_rules! with {
        ($request:ident, $response:ident) => {
            match kind {
                Kind::Request => user.with::<$request>(r, version),
                Kind::Response => user.with::<$response>(r, version),
            }
        };
    }
    each_api!(key, with)
}

/// Runs `decode` and holds it to the budget for `frame_bytes`.
pub fn within_budget<T>(frame_bytes: usize, decode: impl FnOnce() -> T) -> T {
    let mut out = None;
    let used = allocation_counter::measure(|| out = Some(decode()));
    let budget = 4 * frame_bytes as u64 + 4096;
    assert!(used.bytes_total <= budget, "{} bytes allocated for {frame_bytes}", used.bytes_total);
    out.expect("decode has run")
}

/// T01: the same frames, or the same error, however the stream is cut.
pub fn frames(data: &[u8]) {
    const SIZE_MAX: usize = 4096;
    let Some((step, stream)) = data.split_first() else { return };
    let mut whole: Vec<&[u8]> = Vec::new();
    let mut rest = stream;
    let error = loop {
        match frame::front(rest, SIZE_MAX) {
            Ok(Front::Whole { frame, used }) => {
                whole.push(frame);
                rest = &rest[used..];
            }
            Ok(Front::Partial { .. } | Front::Unknown) => break None,
            Err(error) => break Some(error),
        }
    };
    let mut splitter = Splitter::new(SIZE_MAX);
    let mut cut: Vec<Vec<u8>> = Vec::new();
    let mut failed = None;
    for piece in stream.chunks(usize::from(*step).max(1)) {
        if let Err(error) = splitter.feed(piece, |frame| cut.push(frame.to_vec())) {
            failed = Some(error);
            break;
        }
    }
    assert_eq!(whole, cut);
    assert_eq!(error, failed);
}

/// T02: a request header is refused, or reads back what it writes.
pub fn headers(data: &[u8]) {
    let mut r = Reader::new(data);
    let decoded = within_budget(data.len(), || RequestHeader::decode(&mut r));
    if let Ok(header) = decoded {
        let mut bytes = Vec::new();
        header.encode(&mut bytes);
        assert_eq!(RequestHeader::decode(&mut Reader::new(&bytes)), Ok(header));
    }
}

/// Decodes a message within the budget and encodes it again.
pub struct ReEncode {
    pub frame_bytes: usize,
}

impl Use for ReEncode {
    type Out = Result<Vec<u8>, DecodeError>;

    fn with<'a, M: Message<'a> + Debug>(self, r: &mut Reader<'a>, version: i16) -> Self::Out {
        let message = within_budget(self.frame_bytes, || M::decode(r, version))?;
        let mut bytes = Vec::new();
        message.encode(&mut bytes, version);
        assert_eq!(message.size(version), bytes.len(), "{message:?}");
        Ok(bytes)
    }
}

/// The key, version and kind that the first two bytes choose among all we advertise.
fn choose(data: &[u8]) -> Option<(ApiKey, i16, Kind, &[u8])> {
    let ([choice, kind], body) = data.split_first_chunk()?;
    let all: usize = advertised().map(|(_, versions)| versions.clone().count()).sum();
    let mut at = usize::from(*choice) % all;
    for (key, versions) in advertised() {
        let count = versions.clone().count();
        if at < count {
            let kind = if kind & 1 == 0 { Kind::Request } else { Kind::Response };
            return Some((key, versions.start() + at as i16, kind, body));
        }
        at -= count;
    }
    None
}

/// T03: a message of any key and version is refused within the budget, or what it encodes to reads back the same.
pub fn messages(data: &[u8]) {
    if let Some((key, version, kind, body)) = choose(data) {
        message(key, version, kind, body);
    }
}

/// T03 with the choice made.
pub fn message(key: ApiKey, version: i16, kind: Kind, body: &[u8]) {
    let reencode = ReEncode { frame_bytes: body.len() };
    let first = dispatch(key, kind, version, &mut Reader::new(body), reencode);
    let Ok(first) = first.expect("every advertised API has a table") else { return };
    let mut r = Reader::with_budget(&first, usize::MAX);
    // Unknown tagged fields are gone from the copy, so it may have less budget than the original had.
    let again = ReEncode { frame_bytes: body.len().max(first.len()) };
    let second = dispatch(key, kind, version, &mut r, again).expect("the same table");
    assert_eq!(second.as_ref(), Ok(&first), "{key:?} {version} {kind:?} reads back differently");
    assert_eq!(r.remaining(), 0);
}

/// The most that records may become in these targets.
const OUTPUT_MAX: usize = 1 << 20;

/// T04: a batch is refused, or its header and bytes agree; its records are read alike in place and when walked.
pub fn batches(data: &[u8]) {
    let validated = within_budget(0, || batch::validate_client(data));
    if let Ok(header) = validated {
        assert_eq!(header.total_bytes(), data.len());
        assert_eq!(header.next_offset(), i64::from(header.record_count()));
        assert!(header.crc_matches(data));
    }
    // Past the CRC too: records are read from disk and by tools whether or not anybody checked.
    if let Ok(header) = BatchHeader::parse(data) {
        records(data, &header);
    }
    if let Ok(Batch::Legacy(entry)) = Batch::parse(data) {
        let mut messages = 0u32;
        let read = entry.messages(&mut Decompressor::new(), &mut Vec::new(), OUTPUT_MAX, |_| messages += 1);
        assert!(read.is_err() || messages > 0);
    }
}

fn records(data: &[u8], header: &BatchHeader) {
    let (mut decompressor, mut plain) = (Decompressor::new(), Vec::new());
    let in_place = Records::of(data, header, &mut decompressor, &mut plain, OUTPUT_MAX).and_then(|records| {
        let mut seen = 0;
        for record in records {
            let record = record?;
            assert_eq!(record.headers.iter().count(), record.headers.len());
            seen += 1;
        }
        Ok(seen)
    });
    let rules = RecordRules {
        key_required: false,
        timestamp_min: i64::MIN,
        timestamp_max: i64::MAX,
        output_max: OUTPUT_MAX,
    };
    let walked = validate(data, header, &rules, &mut Decompressor::new());
    assert_eq!(in_place.is_ok(), walked.is_ok(), "in place {in_place:?}, walked {walked:?}");
    if let Ok(seen) = in_place {
        assert_eq!(seen, header.record_count().max(0));
    }
}

/// T05: what a codec makes of any bytes is bounded, and what it made itself it gives back.
pub fn codecs(data: &[u8]) {
    let Some((choice, input)) = data.split_first() else { return };
    let codec = Codec::ALL[usize::from(*choice) % Codec::ALL.len()];
    let mut decompressor = Decompressor::new();
    let mut out = Vec::new();
    let ours = decompressor.into_vec(codec, input, OUTPUT_MAX, &mut out);
    assert!(out.len() <= OUTPUT_MAX);
    if let (Ok(()), Some(reference)) = (ours, reference(codec, input)) {
        assert!(out == reference, "{codec} differs from its reference decoder");
    }
    let mut compressed = Vec::new();
    compress(codec, None, input, &mut compressed);
    out.clear();
    decompressor.into_vec(codec, &compressed, input.len(), &mut out).expect("its own output");
    assert!(out == input, "{codec}");
}

/// What another decoder of the same format makes of `input`, where it accepts it.
fn reference(codec: Codec, input: &[u8]) -> Option<Vec<u8>> {
    use std::io::Read;
    let mut out = Vec::new();
    let limit = OUTPUT_MAX as u64 + 1;
    let read = match codec {
        Codec::None => return Some(input.to_vec()),
        Codec::Gzip => flate2::read::MultiGzDecoder::new(input).take(limit).read_to_end(&mut out),
        Codec::Lz4 => lz4_flex::frame::FrameDecoder::new(input).take(limit).read_to_end(&mut out),
        Codec::Zstd => zstd::stream::read::Decoder::new(input).ok()?.take(limit).read_to_end(&mut out),
        Codec::Snappy => {
            // It believes the length that stands in front.
            let wanted = snap::raw::decompress_len(input).ok().filter(|wanted| *wanted <= OUTPUT_MAX)?;
            let mut out = vec![0; wanted];
            return snap::raw::Decoder::new().decompress(input, &mut out).ok().map(|_| out);
        }
    };
    read.ok().map(|_| out)
}

/// T08, the part that is batches: a walk over any bytes ends, and its batches lie one behind the other inside them.
pub fn log_scan(data: &[u8]) {
    let mut walk = batch::batches(data);
    let mut expected = 0;
    for item in walk.by_ref() {
        let Ok((position, found)) = item else { break };
        assert_eq!(position, expected);
        expected += found.bytes().len();
        assert!(expected <= data.len());
        let _: bool = found.crc_matches();
        assert!(found.base_offset() <= found.last_offset() || found.magic() == 2);
    }
    assert_eq!(walk.position(), expected);
    assert!(walk.next().is_none());
}
