//! Which version of each request brokers and controllers send each other, by `inter.broker.protocol.version` (contract 5.9).
//!
//! In: the protocol. Out: a request version. These requests are not negotiated: a sender takes what the protocol says, so a
//! cluster whose members disagree about the protocol does not work. AlterPartition and AllocateProducerIds are not in here,
//! because their senders ask the controller with ApiVersions first; `alters_partitions` and `asks_for_producer_ids` say from
//! when on they are sent at all.

use crate::config::version::Version;

/// First protocol and the version it brings, oldest first.
type Steps = &'static [(&'static str, i16)];

const LEADER_AND_ISR: Steps = &[
    ("1.0-IV0", 1),
    ("2.2-IV0", 2),
    ("2.4-IV0", 3),
    ("2.4-IV1", 4),
    ("2.8-IV1", 5),
    ("3.2-IV0", 6),
    ("3.4-IV0", 7),
];
const UPDATE_METADATA: Steps = &[
    ("0.9.0", 1),
    ("0.10.0-IV1", 2),
    ("0.10.2-IV0", 3),
    ("1.0-IV0", 4),
    ("2.2-IV0", 5),
    ("2.4-IV1", 6),
    ("2.8-IV1", 7),
    ("3.4-IV0", 8),
];
const STOP_REPLICA: Steps = &[("2.2-IV0", 1), ("2.4-IV1", 2), ("2.6-IV0", 3), ("3.4-IV0", 4)];
const CONTROLLED_SHUTDOWN: Steps = &[("0.9.0", 1), ("2.2-IV0", 2), ("2.4-IV1", 3)];
const FETCH: Steps = &[
    ("0.9.0", 1),
    ("0.10.0-IV0", 2),
    ("0.10.1-IV1", 3),
    ("0.11.0-IV0", 4),
    ("0.11.0-IV1", 5),
    ("1.1-IV0", 7),
    ("2.0-IV1", 8),
    ("2.1-IV2", 10),
    ("2.3-IV1", 11),
    ("2.7-IV1", 12),
    ("3.1-IV0", 13),
    ("3.5-IV0", 14),
    ("3.5-IV1", 15),
    ("3.7-IV4", 16),
    ("3.9-IV0", 17),
];
const LIST_OFFSETS: Steps = &[
    ("0.10.1-IV2", 1),
    ("0.11.0-IV0", 2),
    ("2.0-IV1", 3),
    ("2.1-IV1", 4),
    ("2.2-IV1", 5),
    ("2.8-IV0", 6),
    ("3.0-IV1", 7),
    ("3.5-IV0", 8),
    ("3.9-IV0", 9),
];
const OFFSET_FOR_LEADER_EPOCH: Steps = &[("2.0-IV0", 1), ("2.1-IV1", 2), ("2.3-IV1", 3), ("2.8-IV0", 4)];
const WRITE_TXN_MARKERS: Steps = &[("2.8-IV0", 1)];

fn version(steps: Steps, protocol: Version) -> i16 {
    let begun = |&&(first, _): &&(&str, i16)| Version::parse(first).is_some_and(|first| first <= protocol);
    steps.iter().rev().find(begun).map_or(0, |(_, version)| *version)
}

pub fn leader_and_isr(protocol: Version) -> i16 {
    version(LEADER_AND_ISR, protocol)
}

pub fn update_metadata(protocol: Version) -> i16 {
    version(UPDATE_METADATA, protocol)
}

pub fn stop_replica(protocol: Version) -> i16 {
    version(STOP_REPLICA, protocol)
}

pub fn controlled_shutdown(protocol: Version) -> i16 {
    version(CONTROLLED_SHUTDOWN, protocol)
}

/// Of a replica fetcher. From 13 on topics go by id, and a session with a topic that has none stays at 12.
pub fn fetch(protocol: Version) -> i16 {
    version(FETCH, protocol)
}

/// Of a replica fetcher that asks where its leader's log begins or ends.
pub fn list_offsets(protocol: Version) -> i16 {
    version(LIST_OFFSETS, protocol)
}

/// Of a replica fetcher below `truncates_by_fetch`.
pub fn offset_for_leader_epoch(protocol: Version) -> i16 {
    version(OFFSET_FOR_LEADER_EPOCH, protocol)
}

pub fn write_txn_markers(protocol: Version) -> i16 {
    version(WRITE_TXN_MARKERS, protocol)
}

/// Whether a follower learns from the fetch itself where its log parts from its leader's (KIP-595), and asks nothing before.
pub fn truncates_by_fetch(protocol: Version) -> bool {
    fetch(protocol) >= 12
}

/// Whether a leader asks the controller to change an in-sync set (KIP-497); below, it writes to ZooKeeper itself.
pub fn alters_partitions(protocol: Version) -> bool {
    version(&[("2.7-IV2", 1)], protocol) == 1
}

/// Whether a broker asks the controller for producer ids; below, it claims its blocks in ZooKeeper itself.
pub fn asks_for_producer_ids(protocol: Version) -> bool {
    version(&[("3.0-IV0", 1)], protocol) == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Version {
        Version::parse(text).expect("a protocol of Kafka")
    }

    /// What brokers of 1.0.0, 2.8.2 and 3.9.1 were seen to send each other, the last at sixteen protocols. -1: nothing was seen.
    #[test]
    fn versions_are_those_that_javas_clusters_were_seen_to_send() {
        // protocol, LeaderAndIsr, UpdateMetadata, StopReplica, ControlledShutdown, WriteTxnMarkers, Fetch, OffsetForLeaderEpoch
        let seen = [
            ("1.0", [1, 4, 0, 1, 0, 5, 0]),
            ("1.1", [1, 4, 0, 1, 0, 7, 0]),
            ("2.0", [1, 4, 0, 1, 0, 8, 1]),
            ("2.1", [1, 4, 0, 1, 0, 10, 2]),
            ("2.2", [2, 5, 1, 2, 0, 10, 2]),
            ("2.3", [2, 5, 1, 2, 0, 11, 3]),
            ("2.4", [4, 6, 2, 3, 0, 11, 3]),
            ("2.6", [4, 6, 3, 3, 0, 11, 3]),
            ("2.7", [4, 6, 3, 3, 0, 12, -1]),
            ("2.8", [5, 7, 3, 3, 1, 12, -1]),
            ("3.0", [5, 7, 3, 3, 1, 12, -1]),
            ("3.2", [6, 7, 3, 3, 1, 13, -1]),
            ("3.4", [7, 8, 4, 3, 1, 13, -1]),
            ("3.5", [7, 8, 4, 3, 1, 15, -1]),
            ("3.7", [7, 8, 4, 3, 1, 16, -1]),
            ("3.9", [7, 8, 4, 3, 1, 17, -1]),
        ];
        for (protocol, versions) in seen {
            let p = at(protocol);
            let truncation = if truncates_by_fetch(p) { -1 } else { offset_for_leader_epoch(p) };
            let ours = [
                leader_and_isr(p),
                update_metadata(p),
                stop_replica(p),
                controlled_shutdown(p),
                write_txn_markers(p),
                fetch(p),
                truncation,
            ];
            assert_eq!(ours, versions, "{protocol}");
        }
    }

    #[test]
    fn every_step_names_a_known_protocol_and_rises() {
        let tables = [
            LEADER_AND_ISR,
            UPDATE_METADATA,
            STOP_REPLICA,
            CONTROLLED_SHUTDOWN,
            FETCH,
            LIST_OFFSETS,
            OFFSET_FOR_LEADER_EPOCH,
            WRITE_TXN_MARKERS,
        ];
        for steps in tables {
            assert!(steps.is_sorted_by(|one, next| at(one.0) < at(next.0) && one.1 < next.1), "{steps:?}");
        }
    }

    #[test]
    fn what_changes_hands_with_a_protocol_does_so_at_its_own_level() {
        assert!(!truncates_by_fetch(at("2.7-IV0")) && truncates_by_fetch(at("2.7-IV1")));
        assert!(!alters_partitions(at("2.7-IV1")) && alters_partitions(at("2.7-IV2")));
        assert!(!asks_for_producer_ids(at("2.8")) && asks_for_producer_ids(at("3.0-IV0")));
        assert_eq!((fetch(at("1.0")), fetch(at("2.0-IV0")), fetch(at("3.7-IV3"))), (5, 7, 15));
        assert_eq!((leader_and_isr(at("0.11.0")), stop_replica(at("0.11.0"))), (0, 0));
    }
}
