//! A member of a group: what it said of itself, what it waits for, and until when it is believed alive.

use std::sync::Arc;

use super::request::{DescribedMember, JoinedMember, Protocol};
use crate::clock::Instant;

#[derive(Debug)]
pub struct Member<T> {
    pub id: Arc<str>,
    pub instance_id: Option<Arc<str>>,
    pub client_id: Arc<str>,
    pub client_host: Arc<str>,
    pub session_timeout_ms: i32,
    pub rebalance_timeout_ms: i32,
    pub protocols: Vec<Protocol>,
    pub assignment: Arc<[u8]>,
    /// Rises with every member of the group that is added.
    pub order: u64,
    /// Has not been in a generation yet.
    pub is_new: bool,
    /// The join that waits for the generation to begin.
    pub joining: Option<T>,
    /// The sync that waits for the leader's assignment.
    pub syncing: Option<T>,
    /// Has not asked for its assignment in this generation.
    pub owes_sync: bool,
    /// When its session ends; `None` once that time has passed while it waited for an answer.
    pub deadline: Option<Instant>,
    /// The timer that will look after it.
    pub timer: Option<Instant>,
}

impl<T> Member<T> {
    pub fn metadata(&self, protocol: &str) -> Arc<[u8]> {
        let found = self.protocols.iter().find(|own| &*own.name == protocol);
        found.map(|own| own.metadata.clone()).unwrap_or_default()
    }

    /// True when it waits for an answer, and so cannot report.
    pub fn waits(&self) -> bool {
        self.joining.is_some() || self.syncing.is_some()
    }

    pub fn for_leader(&self, protocol: &str) -> JoinedMember {
        JoinedMember {
            member_id: self.id.clone(),
            instance_id: self.instance_id.clone(),
            metadata: self.metadata(protocol),
        }
    }

    /// With metadata and assignment only where there is a protocol (contract 6.4).
    pub fn described(&self, protocol: Option<&str>) -> DescribedMember {
        DescribedMember {
            member_id: self.id.clone(),
            instance_id: self.instance_id.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            metadata: protocol.map(|protocol| self.metadata(protocol)).unwrap_or_default(),
            assignment: protocol.map(|_| self.assignment.clone()).unwrap_or_default(),
        }
    }
}
