//! Consumer groups: who is a member of what, which offsets are committed, and the records that keep both (contract 6).
//!
//! In: requests with tickets, results of appends, records of a partition of `__consumer_offsets`, the time. Out: actions:
//! replies to tickets, and records to append. Nothing here knows a thread, a socket or a clock; who drives a coordinator
//! appends what it asks for, in order, and tells it how that ended.
//!
//! Reading order: `request` (what is asked and answered), `coordinator` (all groups of one partition), `state` (one group's
//! membership), `offsets` (what is committed), `record` (how both look on disk), `load` (from disk to groups).
//!
//! What always holds: nothing is acknowledged before its record is in the log; a group has a leader while it has members;
//! every ticket gets exactly one reply, unless the coordinator goes away with it.

mod coordinator;
mod load;
mod member;
mod offsets;
mod record;
mod request;
mod state;
mod subscription;
#[cfg(test)]
mod tests;
mod timers;

pub use coordinator::{Action, Append, Coordinator, Listed, Moment, Settings};
pub use load::LoadError;
pub use record::NewRecord;
pub use request::{
    Commit, CommitPart, Described, DescribedMember, FetchedOffset, FetchedOffsets, Join, Joined,
    JoinedMember, Leaving, Left, Membership, Protocol, Reply, Request, Sync, Synced, TopicPartition, Why,
    WhyMember,
};

/// The partition of the offsets topic that keeps a group: what Java makes of the hash code of its name.
pub fn partition_of(group: &str, partition_count: i32) -> i32 {
    let hash =
        group.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    // The one value without a positive counterpart counts as 0.
    hash.checked_abs().unwrap_or(0) % partition_count.max(1)
}
