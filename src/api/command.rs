//! What network loops ask of IO loops, and what comes back.
//!
//! One command per request and owner, whatever the number of partitions; the same vectors travel there and back.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::clock::Instant;
use crate::group::{Listed, Reply, Request};
use crate::ids::{BrokerId, LeaderEpoch, Offset, ReactorId};
use crate::log::window::Reading;
use crate::reactor::{File, Lease};
use crate::wire::error_code::ErrorCode;

/// Which request of which connection an outcome belongs to. A connection's slot is reused; its generation is not.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ReplyTo {
    pub reactor: ReactorId,
    pub connection: u32,
    pub generation: u32,
    /// Number of the request within the connection.
    pub request: u32,
}

/// A piece of an outgoing stream.
#[derive(Debug)]
pub enum Piece {
    Bytes(Vec<u8>),
    /// `reading` keeps the range in memory until it has been sent.
    File {
        file: File,
        position: u64,
        length: u64,
        reading: Option<Reading>,
    },
}

/// From a network loop to the IO loop that owns the partitions named in it.
#[derive(Debug)]
pub enum Command {
    Produce(Produce),
    Fetch(Fetch),
    /// Answer the waiting fetch of this set with what there is: another owner has enough, or the client has gone.
    Collect(FetchSetId),
    /// The session is closed or evicted; an unanswered fetch of it is dropped.
    Forget(FetchSetId),
    ListOffsets(ListOffsets),
    Group(GroupCommand),
    /// All groups that the loop's coordinators have.
    ListGroups {
        reply_to: ReplyTo,
    },
}

/// From an IO loop back to the network loop.
#[derive(Debug)]
pub enum Outcome {
    Produced(Produced),
    Fetched(Fetched),
    /// A waiting fetch, one of several owners' parts, has this many bytes ready.
    Available {
        reply_to: ReplyTo,
        set: FetchSetId,
        bytes: u64,
    },
    ListedOffsets {
        reply_to: ReplyTo,
        parts: Vec<ListOffsetsPart>,
    },
    /// One of the groups a request names has been answered for.
    Group {
        reply_to: ReplyTo,
        entry: u32,
        reply: Reply,
    },
    ListedGroups {
        reply_to: ReplyTo,
        groups: Vec<Listed>,
        /// False while a coordinator is being loaded.
        complete: bool,
    },
}

/// A request to the coordinator of one group.
#[derive(Debug)]
pub struct GroupCommand {
    pub reply_to: ReplyTo,
    /// Place of the group in the request.
    pub entry: u32,
    /// Slot of the partition of `__consumer_offsets` that keeps the group.
    pub slot: u32,
    pub group: Arc<str>,
    pub request: Request,
}

/// One batch for one partition, checked on the network loop: structure, CRC, size.
#[derive(Debug)]
pub struct ProducePart {
    /// Place of the partition in the response.
    pub entry: u32,
    /// Slot of the partition on the owner.
    pub slot: u32,
    /// The whole batch; the owner stamps offset and epoch into it.
    pub batch: Lease,
}

#[derive(Debug)]
pub struct Produce {
    pub reply_to: ReplyTo,
    /// 0, 1 or -1 (contract 2.6).
    pub acks: i16,
    /// When the client stops waiting.
    pub deadline: Instant,
    pub peer: SocketAddr,
    pub parts: Vec<ProducePart>,
}

/// What became of one part of a produce request.
#[derive(Clone, Debug)]
pub struct ProducedPart {
    pub entry: u32,
    pub error: ErrorCode,
    /// What is wrong, for versions that carry it.
    pub message: Option<String>,
    /// Records that break a rule of the topic: place in the batch and what is wrong (KIP-467).
    pub record_errors: Vec<(i32, &'static str)>,
    /// First offset of the batch; -1 on error.
    pub base_offset: Offset,
    /// ms since 1970 when the topic stamps append time, else -1.
    pub log_append_time_ms: i64,
    pub log_start_offset: Offset,
}

impl ProducedPart {
    /// A part that was refused.
    pub fn refused(entry: u32, error: ErrorCode, message: Option<String>) -> ProducedPart {
        ProducedPart {
            entry,
            error,
            message,
            record_errors: Vec::new(),
            base_offset: Offset(-1),
            log_append_time_ms: -1,
            log_start_offset: Offset(-1),
        }
    }
}

#[derive(Debug)]
pub struct Produced {
    pub reply_to: ReplyTo,
    pub parts: Vec<ProducedPart>,
}

/// A set of partitions read together: a fetch session, or one fetch without a session. Numbered by its network loop.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FetchSetId {
    pub reactor: ReactorId,
    pub number: u32,
}

/// A partition added to a set, or changed in it.
#[derive(Clone, Debug)]
pub struct FetchUpdate {
    /// Number of the partition within the set; the owner's answer names it.
    pub entry: u32,
    pub slot: u32,
    pub offset: Offset,
    pub max_bytes: i32,
    /// The epoch the client believes in; -1 when it does not say (contract 1.3).
    pub leader_epoch: i32,
    /// The epoch of the last record that the reader has; -1 when it does not say (KIP-595).
    pub last_fetched_epoch: i32,
    /// Where the log of a follower begins; -1 when it does not say.
    pub log_start: Offset,
}

#[derive(Debug)]
pub struct Fetch {
    pub reply_to: ReplyTo,
    pub set: FetchSetId,
    /// The follower that asks; `None` for a consumer.
    pub replica: Option<BrokerId>,
    /// The set lives on after the answer.
    pub session: bool,
    /// Answer every partition of the set, with or without data (a full fetch).
    pub full: bool,
    pub updates: Vec<FetchUpdate>,
    pub removed: Vec<u32>,
    /// When the answer is due whatever there is.
    pub deadline: Instant,
    pub min_bytes: u64,
    pub max_bytes: u64,
    pub read_committed: bool,
    /// The only owner asked: it decides by itself when there is enough.
    pub alone: bool,
    /// A first batch larger than the limits is given all the same (KIP-74; from version 3 on).
    pub at_least_one: bool,
}

/// Bytes of whole batches.
#[derive(Debug)]
pub enum Records {
    None,
    /// Resident in the page cache: sent from the file.
    Place {
        file: File,
        position: u64,
        length: u32,
        /// Keeps the range in memory; `None` where nobody would drop it.
        reading: Option<Reading>,
    },
    /// Read and checked by the owner.
    Bytes(Vec<u8>),
}

impl Records {
    pub fn length(&self) -> usize {
        match self {
            Records::None => 0,
            Records::Place { length, .. } => *length as usize,
            Records::Bytes(bytes) => bytes.len(),
        }
    }
}

/// A transaction that a `read_committed` reader must skip.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AbortedTransaction {
    pub producer_id: i64,
    pub first_offset: Offset,
}

/// One partition's part of a fetch.
#[derive(Debug)]
pub struct FetchedPart {
    pub entry: u32,
    pub error: ErrorCode,
    pub high_watermark: Offset,
    pub last_stable_offset: Offset,
    pub log_start_offset: Offset,
    /// `None` for `read_uncommitted`.
    pub aborted: Option<Vec<AbortedTransaction>>,
    /// The reader's log parts from this one at the end of this epoch: epoch and end offset (KIP-595).
    pub diverging: Option<(i32, Offset)>,
    pub records: Records,
}

impl FetchedPart {
    /// Nothing is known of the partition yet.
    pub fn empty(entry: u32) -> FetchedPart {
        FetchedPart {
            entry,
            error: ErrorCode::None,
            high_watermark: Offset(-1),
            last_stable_offset: Offset(-1),
            log_start_offset: Offset(-1),
            aborted: None,
            diverging: None,
            records: Records::None,
        }
    }
}

#[derive(Debug)]
pub struct Fetched {
    pub reply_to: ReplyTo,
    pub set: FetchSetId,
    pub parts: Vec<FetchedPart>,
}

#[derive(Clone, Debug)]
pub struct ListOffsetsPart {
    pub entry: u32,
    pub slot: u32,
    /// -1 latest, -2 earliest, -3 the record with the largest timestamp, -4 earliest local, else ms since 1970.
    pub timestamp: i64,
    pub leader_epoch: i32,
    pub read_committed: bool,
    /// A follower asks, to whom what is not committed yet counts too.
    pub of_replica: bool,
    /// Filled in by the owner.
    pub answer: ListedOffset,
}

#[derive(Clone, Copy, Debug)]
pub struct ListedOffset {
    pub error: ErrorCode,
    pub timestamp: i64,
    pub offset: Offset,
    pub leader_epoch: LeaderEpoch,
}

impl Default for ListedOffset {
    fn default() -> ListedOffset {
        ListedOffset {
            error: ErrorCode::None,
            timestamp: -1,
            offset: Offset(-1),
            leader_epoch: LeaderEpoch(-1),
        }
    }
}

#[derive(Debug)]
pub struct ListOffsets {
    pub reply_to: ReplyTo,
    pub parts: Vec<ListOffsetsPart>,
}
