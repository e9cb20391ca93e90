//! What members and tools ask of a coordinator, and what they are told.
//!
//! In: requests as the network loop has read them, owned, so that they can cross a thread and wait. Out: replies without
//! anything of a version: the network loop writes them at the version that was asked.

use std::sync::Arc;

use crate::wire::error_code::ErrorCode;

/// A partition of some topic, as a key of offsets.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    pub topic: Arc<str>,
    pub partition: i32,
}

/// One way of sharing out partitions that a member can, with what it says about itself in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocol {
    pub name: Arc<str>,
    pub metadata: Arc<[u8]>,
}

#[derive(Clone, Debug)]
pub struct Join {
    /// Empty: not a member yet.
    pub member_id: Arc<str>,
    /// Of a static member (KIP-345).
    pub instance_id: Option<Arc<str>>,
    pub client_id: Arc<str>,
    /// As Java shows an address: `/1.2.3.4`.
    pub client_host: Arc<str>,
    pub session_timeout_ms: i32,
    pub rebalance_timeout_ms: i32,
    pub protocol_type: Arc<str>,
    /// In the order of preference.
    pub protocols: Vec<Protocol>,
    /// A dynamic member without an id gets one and has to come back with it (KIP-394, from version 4 on).
    pub id_required: bool,
    /// The member understands `skip_assignment` (KIP-814, from version 9 on).
    pub can_skip_assignment: bool,
}

/// Who somebody claims to be.
#[derive(Clone, Debug)]
pub struct Membership {
    pub member_id: Arc<str>,
    pub instance_id: Option<Arc<str>>,
    pub generation: i32,
}

#[derive(Clone, Debug)]
pub struct Sync {
    pub who: Membership,
    /// From version 5 on; must then be the group's.
    pub protocol_type: Option<Arc<str>>,
    pub protocol: Option<Arc<str>>,
    /// Of the leader; empty from the others.
    pub assignments: Vec<(Arc<str>, Arc<[u8]>)>,
}

#[derive(Clone, Debug)]
pub struct Leaving {
    pub member_id: Arc<str>,
    pub instance_id: Option<Arc<str>>,
}

#[derive(Clone, Debug)]
pub struct CommitPart {
    pub at: TopicPartition,
    pub offset: i64,
    /// -1: unknown.
    pub leader_epoch: i32,
    pub metadata: Option<Arc<str>>,
    /// ms since 1970; `None`: now.
    pub timestamp: Option<i64>,
}

#[derive(Clone, Debug)]
pub struct Commit {
    pub who: Membership,
    /// How long to keep the offsets, in ms, where the request may say so (versions 2 to 4).
    pub retention_ms: Option<i64>,
    pub parts: Vec<CommitPart>,
}

#[derive(Clone, Debug)]
pub enum Request {
    Join(Join),
    Sync(Sync),
    Heartbeat(Membership),
    Leave(Vec<Leaving>),
    Commit(Commit),
    FetchOffsets {
        /// `None`: all there are.
        wanted: Option<Vec<TopicPartition>>,
        /// Offsets that an open transaction may change are not given (KIP-447).
        stable: bool,
    },
    Describe,
    Delete,
    DeleteOffsets(Vec<TopicPartition>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct JoinedMember {
    pub member_id: Arc<str>,
    pub instance_id: Option<Arc<str>>,
    pub metadata: Arc<[u8]>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Joined {
    pub error: ErrorCode,
    pub generation: i32,
    pub protocol_type: Option<Arc<str>>,
    pub protocol: Option<Arc<str>>,
    pub leader: Arc<str>,
    pub skip_assignment: bool,
    pub member_id: Arc<str>,
    /// All members, told to the leader alone.
    pub members: Vec<JoinedMember>,
}

impl Joined {
    pub fn refused(member_id: Arc<str>, error: ErrorCode) -> Joined {
        Joined {
            error,
            generation: -1,
            protocol_type: None,
            protocol: None,
            leader: "".into(),
            skip_assignment: false,
            member_id,
            members: Vec::new(),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Synced {
    pub error: ErrorCode,
    pub protocol_type: Option<Arc<str>>,
    pub protocol: Option<Arc<str>>,
    pub assignment: Arc<[u8]>,
}

impl Synced {
    pub fn refused(error: ErrorCode) -> Synced {
        Synced { error, protocol_type: None, protocol: None, assignment: Arc::default() }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Left {
    pub error: ErrorCode,
    /// One for each member that was named, unless the whole request failed.
    pub members: Vec<ErrorCode>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct FetchedOffset {
    pub at: TopicPartition,
    /// -1: none.
    pub offset: i64,
    pub leader_epoch: i32,
    pub metadata: Option<Arc<str>>,
    pub error: ErrorCode,
}

#[derive(Clone, Debug, PartialEq)]
pub struct FetchedOffsets {
    pub error: ErrorCode,
    pub offsets: Vec<FetchedOffset>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct DescribedMember {
    pub member_id: Arc<str>,
    pub instance_id: Option<Arc<str>>,
    pub client_id: Arc<str>,
    pub client_host: Arc<str>,
    pub metadata: Arc<[u8]>,
    pub assignment: Arc<[u8]>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Described {
    pub error: ErrorCode,
    pub state: &'static str,
    pub protocol_type: Arc<str>,
    pub protocol: Arc<str>,
    pub members: Vec<DescribedMember>,
    /// `None` of a group that is not there.
    pub why: Option<Why>,
}

/// What a group waits for, and until when.
#[derive(Clone, Debug, PartialEq)]
pub struct Why {
    pub reason: &'static str,
    /// How long the group has been in its state.
    pub for_ms: Option<i64>,
    /// When the wait ends by itself, and by which setting.
    pub ends: Option<(i64, &'static str)>,
    /// Ids that were given out and have not come back.
    pub pending: usize,
    /// In the order of the group's members.
    pub members: Vec<WhyMember>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WhyMember {
    pub is_waited_for: bool,
    pub session_timeout_ms: i32,
    pub rebalance_timeout_ms: i32,
    /// Since it was last heard of; `None` while it waits for an answer itself.
    pub heard_ms_ago: Option<i64>,
}

impl Described {
    /// A description without anything in it, in this state.
    pub fn nothing(error: ErrorCode, state: &'static str) -> Described {
        let (protocol_type, protocol): (Arc<str>, Arc<str>) = ("".into(), "".into());
        Described { error, state, protocol_type, protocol, members: Vec::new(), why: None }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    Join(Joined),
    Sync(Synced),
    Heartbeat(ErrorCode),
    Leave(Left),
    /// One for each part.
    Commit(Vec<ErrorCode>),
    Offsets(FetchedOffsets),
    Describe(Described),
    Delete(ErrorCode),
    /// The group's error, or one for each partition.
    DeleteOffsets(Result<Vec<ErrorCode>, ErrorCode>),
}

impl Request {
    /// The answer when the whole request is refused.
    pub fn refuse(&self, error: ErrorCode) -> Reply {
        match self {
            Request::Join(join) => Reply::Join(Joined::refused(join.member_id.clone(), error)),
            Request::Sync(_) => Reply::Sync(Synced::refused(error)),
            Request::Heartbeat(_) => Reply::Heartbeat(error),
            Request::Leave(_) => Reply::Leave(Left { error, members: Vec::new() }),
            Request::Commit(commit) => Reply::Commit(vec![error; commit.parts.len()]),
            Request::FetchOffsets { .. } => Reply::Offsets(FetchedOffsets { error, offsets: Vec::new() }),
            Request::Describe => Reply::Describe(Described::nothing(error, "")),
            Request::Delete => Reply::Delete(error),
            Request::DeleteOffsets(_) => Reply::DeleteOffsets(Err(error)),
        }
    }

    /// True for what may be asked of the group without a name, which only keeps offsets (contract 6.1).
    pub fn allows_empty_group(&self) -> bool {
        match self {
            Request::Commit(_) | Request::FetchOffsets { .. } | Request::Describe | Request::Delete => true,
            Request::Join(_)
            | Request::Sync(_)
            | Request::Heartbeat(_)
            | Request::Leave(_)
            | Request::DeleteOffsets(_) => false,
        }
    }
}
