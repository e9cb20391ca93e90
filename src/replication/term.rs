//! What a broker is to one of its replicas, as the controller decided it, and what it asks the controller for in turn.
//!
//! In: decisions (LeaderAndIsr, contract 5.6). Out: proposals for the in-sync set (contract 5.7). Plain values, handed from thread
//! to thread.

use std::sync::Arc;

use crate::ids::{BrokerId, Home, LeaderEpoch};
use crate::wire::primitive::Uuid;

/// A leader's term, from the point of view of one of the replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    pub epoch: LeaderEpoch,
    /// The topic's id, for a replica that was made before there were any; zero where there is none.
    pub topic_id: Uuid,
    pub duty: Duty,
}

/// What the replica does during the term.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Duty {
    Lead {
        /// In the order of the assignment, this broker among them.
        replicas: Arc<[BrokerId]>,
        isr: Arc<[BrokerId]>,
        /// The version of the partition's state.
        partition_epoch: i32,
    },
    Follow {
        leader: BrokerId,
    },
    /// Nobody leads, or nobody has said who.
    Wait,
}

/// An in-sync set that a leader asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InSyncProposal {
    /// Which replica asks, for the answer to find it.
    pub home: Home,
    pub topic: Arc<str>,
    pub partition: i32,
    pub leader_epoch: LeaderEpoch,
    /// In the order of the assignment.
    pub isr: Vec<BrokerId>,
    /// The version of the partition's state that it changes.
    pub partition_epoch: i32,
}
