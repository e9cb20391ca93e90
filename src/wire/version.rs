//! The APIs of Kafka in ZooKeeper mode (contract 1.2), in one table: number, name, first flexible version, and the
//! versions we describe, serve and advertise.
//!
//! In: a key and a version from a request header. Out: whether and how we speak it.
//! Served ⊆ described, and an API that is advertised is served or answered with the error the contract names.

use std::ops::RangeInclusive;

/// What we do with a request of a key and version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// Decoded and served.
    Served,
    /// Answered with an error: ApiVersions at a version we do not know, from which a client learns the ones we do.
    Refused,
    /// The connection is closed: no client asks for it that has read our ApiVersions answer.
    None,
}

macro_rules! apis {
    ($($name:ident = $key:literal, flexible $flexible:expr, kafka $kafka:expr $(, ours $ours:expr)?;)+) => {
        /// An API of Kafka; `as i16` is its key.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(i16)]
        pub enum ApiKey {
            $($name = $key,)+
        }

        impl ApiKey {
            /// The API with this key.
            pub fn from_key(key: i16) -> Option<ApiKey> {
                match key {
                    $($key => Some(ApiKey::$name),)+
                    _ => None,
                }
            }

            /// Its row in the table.
            pub fn api(self) -> &'static Api {
                match self {
                    $(ApiKey::$name => const {
                        &Api {
                            key: ApiKey::$name,
                            name: stringify!($name),
                            flexible: $flexible,
                            kafka: $kafka,
                            ours: apis!(@ours $($ours)?),
                        }
                    },)+
                }
            }
        }

        /// All of them, by key.
        pub static APIS: &[ApiKey] = &[$(ApiKey::$name,)+];
    };
    (@ours) => { None };
    (@ours $ours:expr) => { Some($ours) };
}

/// One row of the table.
#[derive(Debug)]
pub struct Api {
    pub key: ApiKey,
    /// Kafka's name, as in its documentation and tools.
    pub name: &'static str,
    /// The first flexible version (KIP-482); `i16::MAX` where there is none.
    pub flexible: i16,
    /// What a Kafka 3.9 broker in ZooKeeper mode advertises; where we have a message table, it describes these.
    pub kafka: RangeInclusive<i16>,
    /// What we do with it; `None` where we do not speak it (yet).
    pub ours: Option<Ours>,
}

/// The versions of an API that we speak.
#[derive(Debug)]
pub struct Ours {
    pub served: RangeInclusive<i16>,
    pub advertised: RangeInclusive<i16>,
}

const fn both(versions: RangeInclusive<i16>) -> Ours {
    Ours { served: *versions.start()..=*versions.end(), advertised: versions }
}

apis! {
    Produce = 0, flexible 9, kafka 0..=11, ours both(0..=11);
    Fetch = 1, flexible 12, kafka 0..=17, ours both(0..=17);
    ListOffsets = 2, flexible 6, kafka 0..=9, ours both(1..=9);
    Metadata = 3, flexible 9, kafka 0..=12, ours both(0..=12);
    LeaderAndIsr = 4, flexible 4, kafka 0..=7, ours both(0..=7);
    StopReplica = 5, flexible 2, kafka 0..=4, ours both(0..=4);
    UpdateMetadata = 6, flexible 6, kafka 0..=8, ours both(0..=8);
    ControlledShutdown = 7, flexible 3, kafka 0..=3, ours both(0..=3);
    OffsetCommit = 8, flexible 8, kafka 0..=9, ours both(0..=9);
    OffsetFetch = 9, flexible 6, kafka 0..=9, ours both(0..=9);
    FindCoordinator = 10, flexible 3, kafka 0..=6, ours both(0..=6);
    JoinGroup = 11, flexible 6, kafka 0..=9, ours both(0..=9);
    Heartbeat = 12, flexible 4, kafka 0..=4, ours both(0..=4);
    LeaveGroup = 13, flexible 4, kafka 0..=5, ours both(0..=5);
    SyncGroup = 14, flexible 4, kafka 0..=5, ours both(0..=5);
    DescribeGroups = 15, flexible 5, kafka 0..=5, ours both(0..=5);
    ListGroups = 16, flexible 3, kafka 0..=5, ours both(0..=5);
    SaslHandshake = 17, flexible i16::MAX, kafka 0..=1;
    ApiVersions = 18, flexible 3, kafka 0..=4, ours both(0..=4);
    CreateTopics = 19, flexible 5, kafka 0..=7, ours both(0..=7);
    DeleteTopics = 20, flexible 4, kafka 0..=6, ours both(0..=6);
    DeleteRecords = 21, flexible 2, kafka 0..=2, ours both(0..=2);
    InitProducerId = 22, flexible 2, kafka 0..=5, ours both(0..=5);
    OffsetForLeaderEpoch = 23, flexible 4, kafka 0..=4, ours both(0..=4);
    AddPartitionsToTxn = 24, flexible 3, kafka 0..=5;
    AddOffsetsToTxn = 25, flexible 3, kafka 0..=4;
    EndTxn = 26, flexible 3, kafka 0..=4;
    WriteTxnMarkers = 27, flexible 1, kafka 0..=1;
    TxnOffsetCommit = 28, flexible 3, kafka 0..=4;
    DescribeAcls = 29, flexible 2, kafka 0..=3, ours both(0..=3);
    CreateAcls = 30, flexible 2, kafka 0..=3, ours both(0..=3);
    DeleteAcls = 31, flexible 2, kafka 0..=3, ours both(0..=3);
    DescribeConfigs = 32, flexible 4, kafka 0..=4, ours both(0..=4);
    AlterConfigs = 33, flexible 2, kafka 0..=2, ours both(0..=2);
    AlterReplicaLogDirs = 34, flexible 2, kafka 0..=2;
    DescribeLogDirs = 35, flexible 2, kafka 0..=4, ours both(0..=4);
    SaslAuthenticate = 36, flexible 2, kafka 0..=2;
    CreatePartitions = 37, flexible 2, kafka 0..=3, ours both(0..=3);
    CreateDelegationToken = 38, flexible 2, kafka 0..=3;
    RenewDelegationToken = 39, flexible 2, kafka 0..=2;
    ExpireDelegationToken = 40, flexible 2, kafka 0..=2;
    DescribeDelegationToken = 41, flexible 2, kafka 0..=3;
    DeleteGroups = 42, flexible 2, kafka 0..=2, ours both(0..=2);
    ElectLeaders = 43, flexible 2, kafka 0..=2, ours both(0..=2);
    IncrementalAlterConfigs = 44, flexible 1, kafka 0..=1, ours both(0..=1);
    AlterPartitionReassignments = 45, flexible 0, kafka 0..=0, ours both(0..=0);
    ListPartitionReassignments = 46, flexible 0, kafka 0..=0, ours both(0..=0);
    OffsetDelete = 47, flexible i16::MAX, kafka 0..=0, ours both(0..=0);
    DescribeClientQuotas = 48, flexible 1, kafka 0..=1, ours both(0..=1);
    AlterClientQuotas = 49, flexible 1, kafka 0..=1, ours both(0..=1);
    DescribeUserScramCredentials = 50, flexible 0, kafka 0..=0, ours both(0..=0);
    AlterUserScramCredentials = 51, flexible 0, kafka 0..=0, ours both(0..=0);
    AlterPartition = 56, flexible 0, kafka 0..=3, ours both(0..=3);
    UpdateFeatures = 57, flexible 0, kafka 0..=1, ours both(0..=1);
    Envelope = 58, flexible 0, kafka 0..=0;
    DescribeCluster = 60, flexible 0, kafka 0..=1, ours both(0..=1);
    DescribeProducers = 61, flexible 0, kafka 0..=0, ours both(0..=0);
    DescribeTransactions = 65, flexible 0, kafka 0..=0;
    ListTransactions = 66, flexible 0, kafka 0..=1;
    AllocateProducerIds = 67, flexible 0, kafka 0..=0, ours both(0..=0);
}

impl Api {
    /// What we do with a request at `version`.
    pub fn support(&self, version: i16) -> Support {
        match &self.ours {
            Some(ours) if ours.served.contains(&version) => Support::Served,
            Some(ours) if ours.advertised.contains(&version) => Support::Refused,
            Some(_) if self.key == ApiKey::ApiVersions => Support::Refused,
            Some(_) | None => Support::None,
        }
    }

    /// The version of the header in front of a request: 0 without client id, 1 with it, 2 with tagged fields too.
    pub fn request_header_version(&self, version: i16) -> i16 {
        if self.key == ApiKey::ControlledShutdown && version == 0 {
            0
        } else if version >= self.flexible {
            2
        } else {
            1
        }
    }

    /// The version of the header in front of a response. ApiVersions always uses 0, because its reader does not know
    /// yet what the broker speaks.
    pub fn response_header_version(&self, version: i16) -> i16 {
        i16::from(version >= self.flexible && self.key != ApiKey::ApiVersions)
    }
}

/// What an ApiVersions answer lists: every API we speak with the versions we advertise, by key.
pub fn advertised() -> impl Iterator<Item = (ApiKey, &'static RangeInclusive<i16>)> {
    APIS.iter().filter_map(|key| key.api().ours.as_ref().map(|ours| (*key, &ours.advertised)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn we_serve_and_advertise_nothing_that_kafka_does_not_know() {
        for key in APIS {
            let api = key.api();
            assert_eq!(api.key, *key);
            assert_eq!(ApiKey::from_key(*key as i16), Some(*key));
            let Some(ours) = &api.ours else { continue };
            for range in [&ours.served, &ours.advertised] {
                assert!(api.kafka.contains(range.start()) && api.kafka.contains(range.end()), "{}", api.name);
            }
            assert!(ours.advertised.contains(ours.served.start()), "{}", api.name);
            assert!(ours.advertised.contains(ours.served.end()), "{}", api.name);
        }
    }

    #[test]
    fn produce_is_advertised_from_0_because_librdkafka_turns_compression_off_otherwise() {
        let produce = ApiKey::Produce.api();
        assert_eq!(produce.support(0), Support::Served);
        assert_eq!(produce.support(3), Support::Served);
        assert_eq!(produce.support(12), Support::None);
        assert!(advertised().any(|(key, versions)| key == ApiKey::Produce && *versions == (0..=11)));
    }

    #[test]
    fn an_unknown_version_of_api_versions_is_answered_and_of_others_is_not() {
        assert_eq!(ApiKey::ApiVersions.api().support(99), Support::Refused);
        assert_eq!(ApiKey::ApiVersions.api().support(-1), Support::Refused);
        assert_eq!(ApiKey::Metadata.api().support(99), Support::None);
        assert_eq!(ApiKey::EndTxn.api().support(0), Support::None);
    }

    #[test]
    fn header_versions_follow_the_first_flexible_version() {
        assert_eq!(ApiKey::ControlledShutdown.api().request_header_version(0), 0);
        assert_eq!(ApiKey::ControlledShutdown.api().request_header_version(1), 1);
        assert_eq!(ApiKey::Fetch.api().request_header_version(11), 1);
        assert_eq!(ApiKey::Fetch.api().request_header_version(12), 2);
        assert_eq!(ApiKey::Fetch.api().response_header_version(12), 1);
        assert_eq!(ApiKey::ApiVersions.api().request_header_version(3), 2);
        assert_eq!(ApiKey::ApiVersions.api().response_header_version(3), 0);
        assert_eq!(ApiKey::OffsetDelete.api().request_header_version(0), 1);
    }
}
