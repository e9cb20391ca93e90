//! The APIs of consumer groups: who coordinates what is asked for, and what the client is told (contract 6).
//!
//! In: a request. Out: one command for each group it names, to the owner of the partition of `__consumer_offsets` that keeps
//! the group, and the response when all have answered. What the coordinator decides is in `group`; here is what differs from
//! version to version.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::api::admin::ENTRIES_MAX;
use crate::api::command::{Command, GroupCommand, ReplyTo};
use crate::group::{
    self, Commit, CommitPart, FetchedOffset, Join, Leaving, Listed, Membership, Protocol, Reply, Request,
    Sync, TopicPartition,
};
use crate::ids::{Home, ReactorId};
use crate::metadata::{Image, topic_name};
use crate::wire::error_code::ErrorCode;
use crate::wire::header::{RequestHeader, put_response};
use crate::wire::message::Message;
use crate::wire::message::delete_groups::{
    DeleteGroupsRequest, DeleteGroupsResponse, DeleteGroupsResponseResult,
};
use crate::wire::message::describe_groups::{
    DescribeGroupsRequest, DescribeGroupsResponse, DescribeGroupsResponseGroup, DescribeGroupsResponseMember,
    DescribeGroupsResponseWhy, DescribeGroupsResponseWhyMember,
};
use crate::wire::message::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use crate::wire::message::join_group::{JoinGroupRequest, JoinGroupResponse, JoinGroupResponseMember};
use crate::wire::message::leave_group::{LeaveGroupRequest, LeaveGroupResponse, LeaveGroupResponseMember};
use crate::wire::message::list_groups::{ListGroupsRequest, ListGroupsResponse, ListGroupsResponseGroup};
use crate::wire::message::offset_commit::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use crate::wire::message::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteResponse, OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use crate::wire::message::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestTopic, OffsetFetchResponse, OffsetFetchResponseGroup,
    OffsetFetchResponsePartition, OffsetFetchResponseTopic,
};
use crate::wire::message::sync_group::{SyncGroupRequest, SyncGroupResponse};
use crate::wire::primitive::{DecodeError, Reader};
use crate::wire::version::ApiKey;

/// Without an authorizer everybody may do all there is to do with a group, as bits of the operations' numbers: read 3,
/// delete 6, describe 8.
const GROUP_OPERATIONS: i32 = 0b1_0100_1000;
/// All groups are of this type: those of KIP-848 are not offered.
const TYPE: &str = "classic";

fn put_why(why: &group::Why) -> DescribeGroupsResponseWhy<'_> {
    let members = why.members.iter().map(|member| DescribeGroupsResponseWhyMember {
        is_waited_for: member.is_waited_for,
        session_timeout_ms: member.session_timeout_ms,
        rebalance_timeout_ms: member.rebalance_timeout_ms,
        heard_ms_ago: member.heard_ms_ago.unwrap_or(-1),
    });
    let (ends_in_ms, ends_by) = why.ends.unwrap_or((-1, ""));
    DescribeGroupsResponseWhy {
        reason: why.reason.into(),
        for_ms: why.for_ms.unwrap_or(-1),
        ends_in_ms,
        ends_by: ends_by.into(),
        pending: why.pending as i32,
        members: members.collect(),
    }
}

/// What the network loop knows about a request.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    pub reply_to: ReplyTo,
    pub peer: SocketAddr,
    pub image: &'a Image,
}

/// A request whose coordinators have not all answered.
#[derive(Debug)]
pub struct PendingGroups {
    key: ApiKey,
    version: i16,
    correlation_id: i32,
    asked: Asked,
    replies: Vec<Option<Reply>>,
    listed: Vec<Listed>,
    /// A coordinator is still being loaded: the list may lack groups.
    list_is_short: bool,
    left: usize,
}

/// A topic and, for each of its partitions that was named, what is known of it before anybody is asked.
type TopicCodes = (Arc<str>, Vec<(i32, ErrorCode)>);

/// What of a request its answer repeats.
#[derive(Debug)]
enum Asked {
    /// Nothing.
    Alone,
    /// LeaveGroup.
    Members(Vec<Leaving>),
    /// Groups by name, in the order of the replies.
    Groups { names: Vec<Arc<str>>, with_operations: bool, why: bool },
    /// Topics with their partitions; a partition without an error has the next place in the reply.
    Partitions(Vec<TopicCodes>),
    /// Of OffsetFetch: each group, and what was asked of it.
    Offsets(Vec<(Arc<str>, Option<Vec<TopicPartition>>)>),
    /// Of ListGroups, in lower case; empty ones let everything pass.
    Filters { states: Vec<String>, types: Vec<String> },
}

/// True for the APIs that `start` knows.
pub fn handles(key: ApiKey) -> bool {
    matches!(
        key,
        ApiKey::JoinGroup
            | ApiKey::SyncGroup
            | ApiKey::Heartbeat
            | ApiKey::LeaveGroup
            | ApiKey::OffsetCommit
            | ApiKey::OffsetFetch
            | ApiKey::DescribeGroups
            | ApiKey::ListGroups
            | ApiKey::DeleteGroups
            | ApiKey::OffsetDelete
    )
}

/// The partition of `__consumer_offsets` that keeps a group, if there is one.
pub fn partition_of(image: &Image, group: &str) -> Option<i32> {
    Some(group::partition_of(group, image.topic(topic_name::OFFSETS)?.spread_over))
}

fn home_of(image: &Image, group: &str) -> Option<Home> {
    image.topic(topic_name::OFFSETS)?.partition(partition_of(image, group)?)?.home
}

/// A request on its way to the coordinators.
struct Starting<'a> {
    context: Context<'a>,
    pending: PendingGroups,
    commands: Vec<(ReactorId, Command)>,
}

impl Starting<'_> {
    /// Asks the coordinator of `group`, or refuses where there is none.
    fn ask(&mut self, group: Arc<str>, request: Request) {
        let entry = self.pending.replies.len() as u32;
        match home_of(self.context.image, &group) {
            Some(home) => {
                let reply_to = self.context.reply_to;
                let command = GroupCommand { reply_to, entry, slot: home.slot, group, request };
                self.commands.push((home.reactor, Command::Group(command)));
                self.pending.replies.push(None);
                self.pending.left += 1;
            }
            None => {
                let refused = match group.is_empty() && !request.allows_empty_group() {
                    true => ErrorCode::InvalidGroupId,
                    false => ErrorCode::NotCoordinator,
                };
                self.pending.replies.push(Some(request.refuse(refused)));
            }
        }
    }

    fn refuse(&mut self, request: &Request, code: ErrorCode) {
        self.pending.replies.push(Some(request.refuse(code)));
    }
}

/// A request that names more than it could mean gets no answer.
fn bounded(r: &Reader<'_>, entries: usize) -> Result<(), DecodeError> {
    if entries > ENTRIES_MAX {
        return Err(r.error("the request names more things than a broker can have"));
    }
    Ok(())
}

fn text(text: &str) -> Arc<str> {
    text.into()
}

/// Takes a request apart.
pub fn start(
    header: &RequestHeader<'_>,
    r: &mut Reader<'_>,
    context: Context<'_>,
) -> Result<(PendingGroups, Vec<(ReactorId, Command)>), DecodeError> {
    let (key, version) = (header.key, header.version);
    let pending = PendingGroups {
        key,
        version,
        correlation_id: header.correlation_id,
        asked: Asked::Alone,
        replies: Vec::new(),
        listed: Vec::new(),
        list_is_short: false,
        left: 0,
    };
    let mut starting = Starting { context, pending, commands: Vec::new() };
    match key {
        ApiKey::JoinGroup => {
            let request = JoinGroupRequest::decode(r, version)?;
            bounded(r, request.protocols.len())?;
            let protocols = request.protocols.iter();
            let join = Join {
                member_id: text(request.member_id),
                instance_id: request.group_instance_id.map(text),
                client_id: text(&header.client_id_text()),
                client_host: host_text(context.peer.ip()).into(),
                session_timeout_ms: request.session_timeout_ms,
                // Version 0 has one timeout for both.
                rebalance_timeout_ms: match version {
                    0 => request.session_timeout_ms,
                    _ => request.rebalance_timeout_ms,
                },
                protocol_type: text(request.protocol_type),
                protocols: protocols
                    .map(|own| Protocol { name: text(own.name), metadata: own.metadata.into() })
                    .collect(),
                id_required: version >= 4,
                can_skip_assignment: version >= 9,
            };
            starting.ask(text(request.group_id), Request::Join(join));
        }
        ApiKey::SyncGroup => {
            let request = SyncGroupRequest::decode(r, version)?;
            bounded(r, request.assignments.len())?;
            let assignments = request.assignments.iter();
            let sync = Request::Sync(Sync {
                who: Membership {
                    member_id: text(request.member_id),
                    instance_id: request.group_instance_id.map(text),
                    generation: request.generation_id,
                },
                protocol_type: request.protocol_type.map(text),
                protocol: request.protocol_name.map(text),
                assignments: assignments.map(|one| (text(one.member_id), one.assignment.into())).collect(),
            });
            // From version 5 on both have to be there.
            if version >= 5 && (request.protocol_type.is_none() || request.protocol_name.is_none()) {
                starting.refuse(&sync, ErrorCode::InconsistentGroupProtocol);
            } else {
                starting.ask(text(request.group_id), sync);
            }
        }
        ApiKey::Heartbeat => {
            let request = HeartbeatRequest::decode(r, version)?;
            let who = Membership {
                member_id: text(request.member_id),
                instance_id: request.group_instance_id.map(text),
                generation: request.generation_id,
            };
            starting.ask(text(request.group_id), Request::Heartbeat(who));
        }
        ApiKey::LeaveGroup => {
            let request = LeaveGroupRequest::decode(r, version)?;
            bounded(r, request.members.len())?;
            let leaving: Vec<Leaving> = match version {
                0..=2 => vec![Leaving { member_id: text(request.member_id), instance_id: None }],
                _ => {
                    let members = request.members.iter();
                    members
                        .map(|one| Leaving {
                            member_id: text(one.member_id),
                            instance_id: one.group_instance_id.map(text),
                        })
                        .collect()
                }
            };
            starting.pending.asked = Asked::Members(leaving.clone());
            starting.ask(text(request.group_id), Request::Leave(leaving));
        }
        ApiKey::OffsetCommit => start_commit(&OffsetCommitRequest::decode(r, version)?, r, &mut starting)?,
        ApiKey::OffsetFetch => start_fetch(&OffsetFetchRequest::decode(r, version)?, r, &mut starting)?,
        ApiKey::DescribeGroups => {
            let request = DescribeGroupsRequest::decode(r, version)?;
            bounded(r, request.groups.len())?;
            let names: Vec<Arc<str>> = request.groups.iter().map(text).collect();
            for name in &names {
                starting.ask(name.clone(), Request::Describe);
            }
            let with_operations = request.include_authorized_operations;
            starting.pending.asked = Asked::Groups { names, with_operations, why: request.why };
        }
        ApiKey::ListGroups => {
            let request = ListGroupsRequest::decode(r, version)?;
            bounded(r, request.states_filter.len() + request.types_filter.len())?;
            let lower = |name: &str| name.to_lowercase();
            starting.pending.asked = Asked::Filters {
                states: request.states_filter.iter().map(lower).collect(),
                types: request.types_filter.iter().map(lower).collect(),
            };
            let topic = context.image.topic(topic_name::OFFSETS);
            let homes = topic.iter().flat_map(|topic| topic.partitions.iter()).filter_map(|p| p.home);
            let mut owners: Vec<ReactorId> = homes.map(|home| home.reactor).collect();
            owners.sort_unstable();
            owners.dedup();
            starting.pending.left = owners.len();
            let reply_to = context.reply_to;
            starting.commands =
                owners.into_iter().map(|owner| (owner, Command::ListGroups { reply_to })).collect();
        }
        ApiKey::DeleteGroups => {
            let request = DeleteGroupsRequest::decode(r, version)?;
            bounded(r, request.groups_names.len())?;
            let mut names: Vec<Arc<str>> = request.groups_names.iter().map(text).collect();
            names.sort_unstable();
            names.dedup();
            for name in &names {
                starting.ask(name.clone(), Request::Delete);
            }
            starting.pending.asked = Asked::Groups { names, with_operations: false, why: false };
        }
        ApiKey::OffsetDelete => {
            let request = OffsetDeleteRequest::decode(r, version)?;
            let mut topics = Vec::with_capacity(request.topics.len());
            let mut wanted = Vec::new();
            for topic in &request.topics {
                bounded(r, wanted.len() + topic.partitions.len())?;
                let partitions = topic.partitions.iter().map(|partition| partition.partition_index);
                let (name, partitions) = known(context.image, topic.name, partitions);
                for (partition, _) in partitions.iter().filter(|(_, code)| code.is_none()) {
                    wanted.push(TopicPartition { topic: name.clone(), partition: *partition });
                }
                topics.push((name, partitions));
            }
            starting.pending.asked = Asked::Partitions(topics);
            starting.ask(text(request.group_id), Request::DeleteOffsets(wanted));
        }
        other => unreachable!("{other:?} is not of groups; `handles` says so"),
    }
    Ok((starting.pending, starting.commands))
}

/// A topic's name as the image has it, and which of the partitions exist.
fn known(
    image: &Image,
    name: &str,
    partitions: impl Iterator<Item = i32>,
) -> (Arc<str>, Vec<(i32, ErrorCode)>) {
    let topic = image.topic(name);
    let code = |partition: i32| match topic.and_then(|topic| topic.partition(partition)) {
        Some(_) => ErrorCode::None,
        None => ErrorCode::UnknownTopicOrPartition,
    };
    let partitions = partitions.map(|partition| (partition, code(partition))).collect();
    (topic.map_or_else(|| text(name), |topic| topic.name.clone()), partitions)
}

fn start_commit(
    request: &OffsetCommitRequest<'_>,
    r: &Reader<'_>,
    starting: &mut Starting<'_>,
) -> Result<(), DecodeError> {
    let version = starting.pending.version;
    let mut parts: Vec<CommitPart> = Vec::new();
    let mut topics = Vec::with_capacity(request.topics.len());
    let mut count = 0;
    for topic in &request.topics {
        count += topic.partitions.len();
        bounded(r, count)?;
        let indexes = topic.partitions.iter().map(|partition| partition.partition_index);
        let (name, mut partitions) = known(starting.context.image, topic.name, indexes);
        for (asked, (_, code)) in topic.partitions.iter().zip(&mut partitions) {
            if version == 0 {
                // These live in ZooKeeper, and this broker has none.
                *code = ErrorCode::UnsupportedVersion;
            }
            if !code.is_none() {
                continue;
            }
            parts.push(CommitPart {
                at: TopicPartition { topic: name.clone(), partition: asked.partition_index },
                offset: asked.committed_offset,
                leader_epoch: asked.committed_leader_epoch,
                metadata: asked.committed_metadata.map(text),
                timestamp: Some(asked.commit_timestamp).filter(|ms| *ms != -1),
            });
        }
        topics.push((name, partitions));
    }
    starting.pending.asked = Asked::Partitions(topics);
    let commit = Request::Commit(Commit {
        who: Membership {
            member_id: text(request.member_id),
            instance_id: request.group_instance_id.map(text),
            generation: request.generation_id_or_member_epoch,
        },
        retention_ms: Some(request.retention_time_ms).filter(|ms| *ms != -1),
        parts,
    });
    match &commit {
        // Nothing is left to ask for.
        Request::Commit(commit) if commit.parts.is_empty() => {
            starting.pending.replies.push(Some(Reply::Commit(Vec::new())));
        }
        _ => starting.ask(text(request.group_id), commit),
    }
    Ok(())
}

fn start_fetch(
    request: &OffsetFetchRequest<'_>,
    r: &Reader<'_>,
    starting: &mut Starting<'_>,
) -> Result<(), DecodeError> {
    let mut count = 0;
    let image = starting.context.image;
    let mut wanted = |topics: Option<crate::wire::array::Array<'_, OffsetFetchRequestTopic<'_>>>| {
        let Some(topics) = topics else { return Ok(None) };
        let mut wanted: Vec<TopicPartition> = Vec::new();
        for topic in &topics {
            count += topic.partition_indexes.len();
            bounded(r, count)?;
            let name = image.topic(topic.name).map_or_else(|| text(topic.name), |topic| topic.name.clone());
            let each = topic.partition_indexes.iter();
            wanted.extend(each.map(|partition| TopicPartition { topic: name.clone(), partition }));
        }
        Ok(Some(wanted))
    };
    let mut groups = Vec::new();
    if starting.pending.version < 8 {
        groups.push((text(request.group_id), wanted(request.topics.clone())?));
    } else {
        bounded(r, request.groups.len())?;
        for group in &request.groups {
            groups.push((text(group.group_id), wanted(group.topics)?));
        }
    }
    for (name, wanted) in &groups {
        let request = Request::FetchOffsets { wanted: wanted.clone(), stable: request.require_stable };
        if starting.pending.version == 0 {
            starting.refuse(&request, ErrorCode::UnsupportedVersion);
        } else {
            starting.ask(name.clone(), request);
        }
    }
    starting.pending.asked = Asked::Offsets(groups);
    Ok(())
}

/// An address as Java shows it in group descriptions.
fn host_text(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(v4) => format!("/{v4}"),
        IpAddr::V6(v6) => {
            let parts: Vec<String> = v6.segments().iter().map(|part| format!("{part:x}")).collect();
            format!("/{}", parts.join(":"))
        }
    }
}

fn shared(text: &Arc<str>) -> Cow<'_, str> {
    Cow::Borrowed(text)
}

fn optional(text: &Option<Arc<str>>) -> Option<Cow<'_, str>> {
    text.as_ref().map(shared)
}

impl PendingGroups {
    /// True when nothing is outstanding.
    pub fn is_complete(&self) -> bool {
        self.left == 0
    }

    /// Takes one coordinator's answer.
    pub fn take(&mut self, entry: u32, reply: Reply) {
        if let Some(place) = self.replies.get_mut(entry as usize)
            && place.replace(reply).is_none()
        {
            self.left -= 1;
        }
    }

    /// Takes one owner's groups; `complete` says whether all its coordinators are loaded.
    pub fn take_list(&mut self, groups: Vec<Listed>, complete: bool) {
        self.listed.extend(groups);
        self.list_is_short |= !complete;
        self.left -= 1;
    }

    /// Appends the response, frame and all.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match (&self.asked, self.replies.first()) {
            (Asked::Alone, Some(Some(Reply::Join(joined)))) => {
                let members = joined.members.iter().map(|member| JoinGroupResponseMember {
                    member_id: shared(&member.member_id),
                    group_instance_id: optional(&member.instance_id),
                    metadata: Cow::Borrowed(&member.metadata),
                });
                self.put(
                    out,
                    &JoinGroupResponse {
                        throttle_time_ms: 0,
                        error_code: joined.error as i16,
                        generation_id: joined.generation,
                        protocol_type: optional(&joined.protocol_type),
                        protocol_name: optional(&joined.protocol),
                        leader: shared(&joined.leader),
                        skip_assignment: joined.skip_assignment,
                        member_id: shared(&joined.member_id),
                        members: members.collect(),
                    },
                );
            }
            (Asked::Alone, Some(Some(Reply::Sync(synced)))) => self.put(
                out,
                &SyncGroupResponse {
                    throttle_time_ms: 0,
                    error_code: synced.error as i16,
                    protocol_type: optional(&synced.protocol_type),
                    protocol_name: optional(&synced.protocol),
                    assignment: Cow::Borrowed(&synced.assignment),
                },
            ),
            (Asked::Alone, Some(Some(Reply::Heartbeat(error)))) => {
                self.put(out, &HeartbeatResponse { throttle_time_ms: 0, error_code: *error as i16 });
            }
            (Asked::Members(members), Some(Some(Reply::Leave(left)))) => self.put_left(out, members, left),
            (Asked::Groups { names, with_operations, why }, _) => match self.key {
                ApiKey::DeleteGroups => self.put_deleted(out, names),
                _ => self.put_described(out, names, *with_operations, *why),
            },
            (Asked::Partitions(topics), Some(Some(reply))) => self.put_partitions(out, topics, reply),
            (Asked::Offsets(groups), _) => self.put_offsets(out, groups),
            (Asked::Filters { states, types }, _) => self.put_list(out, states, types),
            (Asked::Alone | Asked::Members(_) | Asked::Partitions(_), other) => {
                unreachable!("{:?} is not answered by {other:?}", self.key)
            }
        }
    }

    fn put<'m, M: Message<'m>>(&self, out: &mut Vec<u8>, response: &M) {
        put_response(out, self.version, self.correlation_id, response);
    }

    fn put_left(&self, out: &mut Vec<u8>, members: &[Leaving], left: &group::Left) {
        let first = left.members.first().copied().unwrap_or(ErrorCode::None);
        // Up to version 2 the only member's error is the request's.
        let error = if self.version < 3 && left.error.is_none() { first } else { left.error };
        let members = members.iter().zip(&left.members).map(|(member, code)| LeaveGroupResponseMember {
            member_id: shared(&member.member_id),
            group_instance_id: optional(&member.instance_id),
            error_code: *code as i16,
        });
        let response =
            LeaveGroupResponse { throttle_time_ms: 0, error_code: error as i16, members: members.collect() };
        self.put(out, &response);
    }

    fn put_deleted(&self, out: &mut Vec<u8>, names: &[Arc<str>]) {
        let results = names.iter().zip(&self.replies).map(|(name, reply)| DeleteGroupsResponseResult {
            group_id: shared(name),
            error_code: match reply {
                Some(Reply::Delete(error)) => *error as i16,
                other => unreachable!("Delete is not answered by {other:?}"),
            },
        });
        self.put(out, &DeleteGroupsResponse { throttle_time_ms: 0, results: results.collect() });
    }

    fn put_described(&self, out: &mut Vec<u8>, names: &[Arc<str>], with_operations: bool, why: bool) {
        let groups = names.iter().zip(&self.replies).map(|(name, reply)| {
            let Some(Reply::Describe(described)) = reply else {
                unreachable!("Describe is not answered by {reply:?}")
            };
            let members = described.members.iter().map(|member| DescribeGroupsResponseMember {
                member_id: shared(&member.member_id),
                group_instance_id: optional(&member.instance_id),
                client_id: shared(&member.client_id),
                client_host: shared(&member.client_host),
                member_metadata: Cow::Borrowed(&member.metadata),
                member_assignment: Cow::Borrowed(&member.assignment),
            });
            let told = with_operations && described.error.is_none();
            DescribeGroupsResponseGroup {
                error_code: described.error as i16,
                group_id: shared(name),
                group_state: Cow::Borrowed(described.state),
                protocol_type: shared(&described.protocol_type),
                protocol_data: shared(&described.protocol),
                members: members.collect(),
                authorized_operations: if told { GROUP_OPERATIONS } else { i32::MIN },
                why: described.why.iter().filter(|_| why).map(put_why).collect(),
            }
        });
        self.put(out, &DescribeGroupsResponse { throttle_time_ms: 0, groups: groups.collect() });
    }

    fn put_partitions(&self, out: &mut Vec<u8>, topics: &[TopicCodes], reply: &Reply) {
        let codes = match reply {
            Reply::Commit(codes) | Reply::DeleteOffsets(Ok(codes)) => codes.as_slice(),
            Reply::DeleteOffsets(Err(error)) => {
                let response = OffsetDeleteResponse { error_code: *error as i16, ..Default::default() };
                return self.put(out, &response);
            }
            other => unreachable!("offsets are not changed by {other:?}"),
        };
        let mut codes = codes.iter().copied();
        let mut code_of = |known: ErrorCode| match known {
            ErrorCode::None => codes.next().unwrap_or(ErrorCode::UnknownServerError) as i16,
            refused => refused as i16,
        };
        if self.key == ApiKey::OffsetDelete {
            let topics = topics.iter().map(|(name, partitions)| OffsetDeleteResponseTopic {
                name: shared(name),
                partitions: partitions
                    .iter()
                    .map(|(partition_index, known)| OffsetDeleteResponsePartition {
                        partition_index: *partition_index,
                        error_code: code_of(*known),
                    })
                    .collect(),
            });
            let topics = topics.collect();
            return self.put(out, &OffsetDeleteResponse { error_code: 0, throttle_time_ms: 0, topics });
        }
        let topics = topics.iter().map(|(name, partitions)| OffsetCommitResponseTopic {
            name: shared(name),
            partitions: partitions
                .iter()
                .map(|(partition_index, known)| OffsetCommitResponsePartition {
                    partition_index: *partition_index,
                    error_code: code_of(*known),
                })
                .collect(),
        });
        let topics = topics.collect();
        self.put(out, &OffsetCommitResponse { throttle_time_ms: 0, topics });
    }

    fn put_offsets(&self, out: &mut Vec<u8>, groups: &[(Arc<str>, Option<Vec<TopicPartition>>)]) {
        let mut answered = groups.iter().zip(&self.replies).map(|((name, wanted), reply)| {
            let Some(Reply::Offsets(fetched)) = reply else {
                unreachable!("OffsetFetch is not answered by {reply:?}")
            };
            // Versions 0 and 1 have no place for the group's error but with each partition.
            let per_partition = self.version < 2 && !fetched.error.is_none();
            let refused: Vec<FetchedOffset> = match wanted {
                Some(wanted) if per_partition => {
                    let each = wanted.iter();
                    each.map(|at| FetchedOffset {
                        at: at.clone(),
                        offset: -1,
                        leader_epoch: -1,
                        metadata: None,
                        error: fetched.error,
                    })
                    .collect()
                }
                Some(_) | None => Vec::new(),
            };
            (name, fetched, refused)
        });
        if self.version >= 8 {
            let groups = answered.map(|(name, fetched, _)| OffsetFetchResponseGroup {
                group_id: shared(name),
                topics: topics_of(&fetched.offsets),
                error_code: fetched.error as i16,
            });
            let response = OffsetFetchResponse { groups: groups.collect(), ..Default::default() };
            return self.put(out, &response);
        }
        let Some((_, fetched, refused)) = answered.next() else { return };
        let offsets = if refused.is_empty() { &fetched.offsets } else { &refused };
        let response = OffsetFetchResponse {
            topics: topics_of(offsets),
            error_code: fetched.error as i16,
            ..Default::default()
        };
        self.put(out, &response);
    }

    fn put_list(&self, out: &mut Vec<u8>, states: &[String], types: &[String]) {
        let passes = |group: &&Listed| {
            (states.is_empty() || states.contains(&group.state.to_lowercase()))
                && (types.is_empty() || types.iter().any(|name| name == TYPE))
        };
        let groups = self.listed.iter().filter(passes).map(|group| ListGroupsResponseGroup {
            group_id: shared(&group.group),
            protocol_type: shared(&group.protocol_type),
            group_state: Cow::Borrowed(group.state),
            group_type: Cow::Borrowed(TYPE),
        });
        let error = match self.list_is_short {
            true => ErrorCode::CoordinatorLoadInProgress,
            false => ErrorCode::None,
        };
        let response =
            ListGroupsResponse { throttle_time_ms: 0, error_code: error as i16, groups: groups.collect() };
        self.put(out, &response);
    }
}

/// Offsets by topic, in their order.
fn topics_of(offsets: &[FetchedOffset]) -> Vec<OffsetFetchResponseTopic<'_>> {
    let by_topic = offsets.chunk_by(|a, b| a.at.topic == b.at.topic);
    let topics = by_topic.map(|offsets| OffsetFetchResponseTopic {
        name: shared(&offsets[0].at.topic),
        partitions: offsets
            .iter()
            .map(|fetched| OffsetFetchResponsePartition {
                partition_index: fetched.at.partition,
                committed_offset: fetched.offset,
                committed_leader_epoch: fetched.leader_epoch,
                metadata: Some(fetched.metadata.as_deref().unwrap_or("").into()),
                error_code: fetched.error as i16,
            })
            .collect(),
    });
    topics.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_look_as_java_shows_them() {
        assert_eq!(host_text("10.1.2.3".parse().unwrap()), "/10.1.2.3");
        assert_eq!(host_text("::ffff:10.1.2.3".parse().unwrap()), "/10.1.2.3");
        assert_eq!(host_text("::1".parse().unwrap()), "/0:0:0:0:0:0:0:1");
    }
}
