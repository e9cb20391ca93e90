//! Kafka's error codes (contract 1.4): number, name, whether a client may try again, and a default text.
//!
//! In: codes from the wire, or variants from our rules. Out: the other one. A code nobody knows reads as
//! `UnknownServerError`, as Java clients do.

use std::fmt;

macro_rules! error_codes {
    ($($(#[$attr:meta])? $variant:ident = $code:literal $name:ident $retry:ident $text:literal;)+) => {
        /// What is said to a client when a request, topic, partition or member cannot be served; `as i16` is the
        /// code on the wire.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
        #[repr(i16)]
        pub enum ErrorCode {
            $($(#[$attr])? #[doc = $text] $variant = $code,)+
        }

        impl ErrorCode {
            /// Every code there is, by number.
            pub const ALL: &[ErrorCode] = &[$(ErrorCode::$variant,)+];

            /// The code with this number.
            pub fn known(code: i16) -> Option<ErrorCode> {
                match code {
                    $($code => Some(ErrorCode::$variant),)+
                    _ => None,
                }
            }

            /// Kafka's name for it, as it appears in client logs and tools.
            pub fn name(self) -> &'static str {
                match self {
                    $(ErrorCode::$variant => stringify!($name),)+
                }
            }

            /// What it means in a sentence; the default where a response has room for a message.
            pub fn message(self) -> &'static str {
                match self {
                    $(ErrorCode::$variant => $text,)+
                }
            }

            /// Whether Java clients try again by themselves.
            pub fn is_retriable(self) -> bool {
                match self {
                    $(ErrorCode::$variant => error_codes!(@$retry),)+
                }
            }
        }
    };
    (@retry) => { true };
    (@final) => { false };
}

error_codes! {
    UnknownServerError = -1 UNKNOWN_SERVER_ERROR final "The broker met an error it has no code for.";
    #[default] None = 0 NONE final "No error.";
    OffsetOutOfRange = 1 OFFSET_OUT_OF_RANGE final "The offset lies outside the range of offsets this partition holds.";
    CorruptMessage = 2 CORRUPT_MESSAGE retry "The batch fails its checksum, is larger or smaller than it says, or is otherwise damaged.";
    UnknownTopicOrPartition = 3 UNKNOWN_TOPIC_OR_PARTITION retry "This broker does not host this topic or partition.";
    InvalidFetchSize = 4 INVALID_FETCH_SIZE final "The fetch size is not valid.";
    LeaderNotAvailable = 5 LEADER_NOT_AVAILABLE retry "The partition has no leader at the moment.";
    NotLeaderOrFollower = 6 NOT_LEADER_OR_FOLLOWER retry "This broker is not the leader or a follower of the partition.";
    RequestTimedOut = 7 REQUEST_TIMED_OUT retry "The request was not completed within its time.";
    BrokerNotAvailable = 8 BROKER_NOT_AVAILABLE final "The broker is not available.";
    ReplicaNotAvailable = 9 REPLICA_NOT_AVAILABLE retry "The replica is not available on this broker.";
    MessageTooLarge = 10 MESSAGE_TOO_LARGE final "The batch is larger than the topic allows.";
    StaleControllerEpoch = 11 STALE_CONTROLLER_EPOCH final "The controller has moved to another broker.";
    OffsetMetadataTooLarge = 12 OFFSET_METADATA_TOO_LARGE final "The metadata sent with an offset is too long.";
    NetworkException = 13 NETWORK_EXCEPTION retry "The connection ended before a response arrived.";
    CoordinatorLoadInProgress = 14 COORDINATOR_LOAD_IN_PROGRESS retry "The coordinator is still loading its state.";
    CoordinatorNotAvailable = 15 COORDINATOR_NOT_AVAILABLE retry "The coordinator is not available.";
    NotCoordinator = 16 NOT_COORDINATOR retry "This broker is not the coordinator for the key.";
    InvalidTopicException = 17 INVALID_TOPIC_EXCEPTION final "The topic name is not valid, or the topic may not be used this way.";
    RecordListTooLarge = 18 RECORD_LIST_TOO_LARGE final "The batches together are larger than a segment may be.";
    NotEnoughReplicas = 19 NOT_ENOUGH_REPLICAS retry "Fewer replicas are in sync than the topic requires; nothing was written.";
    NotEnoughReplicasAfterAppend = 20 NOT_ENOUGH_REPLICAS_AFTER_APPEND retry "Written, but fewer replicas are in sync than the topic requires.";
    InvalidRequiredAcks = 21 INVALID_REQUIRED_ACKS final "Required acks must be 0, 1 or -1.";
    IllegalGeneration = 22 ILLEGAL_GENERATION final "The generation of the group is not the one that was sent.";
    InconsistentGroupProtocol = 23 INCONSISTENT_GROUP_PROTOCOL final "The member's protocols do not fit those of the group.";
    InvalidGroupId = 24 INVALID_GROUP_ID final "The group id is not valid.";
    UnknownMemberId = 25 UNKNOWN_MEMBER_ID final "The coordinator does not know this member.";
    InvalidSessionTimeout = 26 INVALID_SESSION_TIMEOUT final "The session timeout lies outside the range the broker allows.";
    RebalanceInProgress = 27 REBALANCE_IN_PROGRESS final "The group is rebalancing; the member must join again.";
    InvalidCommitOffsetSize = 28 INVALID_COMMIT_OFFSET_SIZE final "The offsets of this commit do not fit into one batch.";
    TopicAuthorizationFailed = 29 TOPIC_AUTHORIZATION_FAILED final "Not authorized for this topic.";
    GroupAuthorizationFailed = 30 GROUP_AUTHORIZATION_FAILED final "Not authorized for this group.";
    ClusterAuthorizationFailed = 31 CLUSTER_AUTHORIZATION_FAILED final "Not authorized for this action on the cluster.";
    InvalidTimestamp = 32 INVALID_TIMESTAMP final "The timestamp of the record lies outside the range the topic allows.";
    UnsupportedSaslMechanism = 33 UNSUPPORTED_SASL_MECHANISM final "The broker has no such SASL mechanism.";
    IllegalSaslState = 34 ILLEGAL_SASL_STATE final "The request does not fit the state of the SASL exchange.";
    UnsupportedVersion = 35 UNSUPPORTED_VERSION final "The broker does not support this version of the request.";
    TopicAlreadyExists = 36 TOPIC_ALREADY_EXISTS final "A topic of this name exists already.";
    InvalidPartitions = 37 INVALID_PARTITIONS final "The number of partitions is not valid.";
    InvalidReplicationFactor = 38 INVALID_REPLICATION_FACTOR final "The replication factor is not positive, or larger than the number of brokers.";
    InvalidReplicaAssignment = 39 INVALID_REPLICA_ASSIGNMENT final "The assignment of replicas is not valid.";
    InvalidConfig = 40 INVALID_CONFIG final "The configuration is not valid.";
    NotController = 41 NOT_CONTROLLER retry "This broker is not the controller.";
    InvalidRequest = 42 INVALID_REQUEST final "The request contradicts itself or the rules of its version.";
    UnsupportedForMessageFormat = 43 UNSUPPORTED_FOR_MESSAGE_FORMAT final "The message format of the partition does not support this request.";
    PolicyViolation = 44 POLICY_VIOLATION final "A policy of the broker refuses the request.";
    OutOfOrderSequenceNumber = 45 OUT_OF_ORDER_SEQUENCE_NUMBER final "A batch is missing: its first sequence number does not follow the last one.";
    DuplicateSequenceNumber = 46 DUPLICATE_SEQUENCE_NUMBER final "The batch was written before.";
    InvalidProducerEpoch = 47 INVALID_PRODUCER_EPOCH final "The producer's epoch is older than the one the partition knows.";
    InvalidTxnState = 48 INVALID_TXN_STATE final "The transaction is in a state that does not allow this.";
    InvalidProducerIdMapping = 49 INVALID_PRODUCER_ID_MAPPING final "The producer id is not the one assigned to this transactional id.";
    InvalidTransactionTimeout = 50 INVALID_TRANSACTION_TIMEOUT final "The transaction timeout is not positive, or longer than the broker allows.";
    ConcurrentTransactions = 51 CONCURRENT_TRANSACTIONS retry "The transaction before this one is still being completed.";
    TransactionCoordinatorFenced = 52 TRANSACTION_COORDINATOR_FENCED final "The transaction coordinator that sent this was replaced.";
    TransactionalIdAuthorizationFailed = 53 TRANSACTIONAL_ID_AUTHORIZATION_FAILED final "Not authorized for this transactional id.";
    SecurityDisabled = 54 SECURITY_DISABLED final "Security features are switched off.";
    OperationNotAttempted = 55 OPERATION_NOT_ATTEMPTED final "Not attempted, because another part of the request failed.";
    KafkaStorageError = 56 KAFKA_STORAGE_ERROR retry "The log directory of the partition failed.";
    LogDirNotFound = 57 LOG_DIR_NOT_FOUND final "The log directory is not one of this broker.";
    SaslAuthenticationFailed = 58 SASL_AUTHENTICATION_FAILED final "SASL authentication failed.";
    UnknownProducerId = 59 UNKNOWN_PRODUCER_ID final "The partition holds nothing of this producer id.";
    ReassignmentInProgress = 60 REASSIGNMENT_IN_PROGRESS final "The partition is being reassigned.";
    DelegationTokenAuthDisabled = 61 DELEGATION_TOKEN_AUTH_DISABLED final "Delegation tokens are switched off.";
    DelegationTokenNotFound = 62 DELEGATION_TOKEN_NOT_FOUND final "There is no such delegation token.";
    DelegationTokenOwnerMismatch = 63 DELEGATION_TOKEN_OWNER_MISMATCH final "The delegation token belongs to somebody else.";
    DelegationTokenRequestNotAllowed = 64 DELEGATION_TOKEN_REQUEST_NOT_ALLOWED final "Delegation tokens may not be asked for on this connection.";
    DelegationTokenAuthorizationFailed = 65 DELEGATION_TOKEN_AUTHORIZATION_FAILED final "Not authorized for this delegation token.";
    DelegationTokenExpired = 66 DELEGATION_TOKEN_EXPIRED final "The delegation token has expired.";
    InvalidPrincipalType = 67 INVALID_PRINCIPAL_TYPE final "The type of the principal is not supported.";
    NonEmptyGroup = 68 NON_EMPTY_GROUP final "The group still has members.";
    GroupIdNotFound = 69 GROUP_ID_NOT_FOUND final "There is no such group.";
    FetchSessionIdNotFound = 70 FETCH_SESSION_ID_NOT_FOUND retry "There is no such fetch session.";
    InvalidFetchSessionEpoch = 71 INVALID_FETCH_SESSION_EPOCH retry "The epoch of the fetch session is not the expected one.";
    ListenerNotFound = 72 LISTENER_NOT_FOUND retry "The leader has no endpoint for the listener the request came through.";
    TopicDeletionDisabled = 73 TOPIC_DELETION_DISABLED final "Deleting topics is switched off.";
    FencedLeaderEpoch = 74 FENCED_LEADER_EPOCH retry "The leader epoch of the request is older than the broker's.";
    UnknownLeaderEpoch = 75 UNKNOWN_LEADER_EPOCH retry "The leader epoch of the request is newer than the broker's.";
    UnsupportedCompressionType = 76 UNSUPPORTED_COMPRESSION_TYPE final "The compression type is not supported at this version.";
    StaleBrokerEpoch = 77 STALE_BROKER_EPOCH final "The epoch of the broker is stale.";
    OffsetNotAvailable = 78 OFFSET_NOT_AVAILABLE retry "The leader cannot give this offset yet: its high watermark still has to catch up.";
    MemberIdRequired = 79 MEMBER_ID_REQUIRED final "The member must join again with the member id it was given.";
    PreferredLeaderNotAvailable = 80 PREFERRED_LEADER_NOT_AVAILABLE retry "The preferred leader is not available.";
    GroupMaxSizeReached = 81 GROUP_MAX_SIZE_REACHED final "The group has as many members as it may have.";
    FencedInstanceId = 82 FENCED_INSTANCE_ID final "Another member with the same instance id has taken over.";
    EligibleLeadersNotAvailable = 83 ELIGIBLE_LEADERS_NOT_AVAILABLE retry "No replica that may lead is available.";
    ElectionNotNeeded = 84 ELECTION_NOT_NEEDED retry "No election is needed.";
    NoReassignmentInProgress = 85 NO_REASSIGNMENT_IN_PROGRESS final "The partition is not being reassigned.";
    GroupSubscribedToTopic = 86 GROUP_SUBSCRIBED_TO_TOPIC final "The group still reads this topic.";
    InvalidRecord = 87 INVALID_RECORD final "The broker cannot accept this batch: one of its records or its header breaks a rule.";
    UnstableOffsetCommit = 88 UNSTABLE_OFFSET_COMMIT retry "Some offsets belong to transactions that are still open.";
    ThrottlingQuotaExceeded = 89 THROTTLING_QUOTA_EXCEEDED retry "The quota is used up.";
    ProducerFenced = 90 PRODUCER_FENCED final "A newer producer with the same transactional id has taken over.";
    ResourceNotFound = 91 RESOURCE_NOT_FOUND final "There is no such resource.";
    DuplicateResource = 92 DUPLICATE_RESOURCE final "A resource of this name exists already.";
    UnacceptableCredential = 93 UNACCEPTABLE_CREDENTIAL final "The credential does not meet the requirements.";
    InconsistentVoterSet = 94 INCONSISTENT_VOTER_SET final "The voter sets of the two sides differ.";
    InvalidUpdateVersion = 95 INVALID_UPDATE_VERSION final "The update carries an unexpected version.";
    FeatureUpdateFailed = 96 FEATURE_UPDATE_FAILED final "The finalized features could not be changed.";
    PrincipalDeserializationFailure = 97 PRINCIPAL_DESERIALIZATION_FAILURE final "The principal in the forwarded request could not be read.";
    SnapshotNotFound = 98 SNAPSHOT_NOT_FOUND final "There is no such snapshot.";
    PositionOutOfRange = 99 POSITION_OUT_OF_RANGE final "The position lies outside the snapshot.";
    UnknownTopicId = 100 UNKNOWN_TOPIC_ID retry "This broker knows no topic with this id.";
    DuplicateBrokerRegistration = 101 DUPLICATE_BROKER_REGISTRATION final "A broker with this id is registered already.";
    BrokerIdNotRegistered = 102 BROKER_ID_NOT_REGISTERED final "No broker with this id is registered.";
    InconsistentTopicId = 103 INCONSISTENT_TOPIC_ID retry "The topic id in the log differs from the one in the request.";
    InconsistentClusterId = 104 INCONSISTENT_CLUSTER_ID final "The cluster id differs from the broker's.";
    TransactionalIdNotFound = 105 TRANSACTIONAL_ID_NOT_FOUND final "There is no such transactional id.";
    FetchSessionTopicIdError = 106 FETCH_SESSION_TOPIC_ID_ERROR retry "The fetch session mixes topic ids and topic names.";
    IneligibleReplica = 107 INELIGIBLE_REPLICA final "The new in-sync replica is not eligible.";
    NewLeaderElected = 108 NEW_LEADER_ELECTED final "The change was made, but another leader was elected with it.";
    OffsetMovedToTieredStorage = 109 OFFSET_MOVED_TO_TIERED_STORAGE final "The offset has been moved to tiered storage.";
    FencedMemberEpoch = 110 FENCED_MEMBER_EPOCH final "The epoch of the member was fenced by the coordinator.";
    UnreleasedInstanceId = 111 UNRELEASED_INSTANCE_ID final "The instance id is still in use by another member.";
    UnsupportedAssignor = 112 UNSUPPORTED_ASSIGNOR final "The assignor is not supported by the group.";
    StaleMemberEpoch = 113 STALE_MEMBER_EPOCH final "The epoch of the member is stale.";
    MismatchedEndpointType = 114 MISMATCHED_ENDPOINT_TYPE final "The request was sent to an endpoint of the wrong type.";
    UnsupportedEndpointType = 115 UNSUPPORTED_ENDPOINT_TYPE final "This endpoint type is not supported.";
    UnknownControllerId = 116 UNKNOWN_CONTROLLER_ID final "There is no such controller.";
    UnknownSubscriptionId = 117 UNKNOWN_SUBSCRIPTION_ID final "There is no such telemetry subscription.";
    TelemetryTooLarge = 118 TELEMETRY_TOO_LARGE final "The telemetry is larger than the broker accepts.";
    InvalidRegistration = 119 INVALID_REGISTRATION final "The controller refuses the registration.";
    TransactionAbortable = 120 TRANSACTION_ABORTABLE final "The transaction must be aborted before work can go on.";
    InvalidRecordState = 121 INVALID_RECORD_STATE final "The state of the record does not allow this.";
    ShareSessionNotFound = 122 SHARE_SESSION_NOT_FOUND retry "There is no such share session.";
    InvalidShareSessionEpoch = 123 INVALID_SHARE_SESSION_EPOCH retry "The epoch of the share session is not the expected one.";
    FencedStateEpoch = 124 FENCED_STATE_EPOCH final "The state epoch of the share coordinator is stale.";
    InvalidVoterKey = 125 INVALID_VOTER_KEY final "The key of the voter is not the expected one.";
    DuplicateVoter = 126 DUPLICATE_VOTER final "This voter is in the set already.";
    VoterNotFound = 127 VOTER_NOT_FOUND final "This voter is not in the set.";
}

impl ErrorCode {
    /// The code with this number, or `UnknownServerError` where there is none.
    pub fn from_code(code: i16) -> ErrorCode {
        ErrorCode::known(code).unwrap_or(ErrorCode::UnknownServerError)
    }

    /// The number on the wire.
    pub fn code(self) -> i16 {
        self as i16
    }

    pub fn is_none(self) -> bool {
        self == ErrorCode::None
    }
}

impl From<ErrorCode> for i16 {
    fn from(code: ErrorCode) -> i16 {
        code as i16
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.name(), *self as i16)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_from_minus_one_to_127_is_known_and_comes_back() {
        assert_eq!(ErrorCode::ALL.len(), 129);
        for (number, code) in (-1i16..=127).zip(ErrorCode::ALL) {
            assert_eq!(*code as i16, number);
            assert_eq!(ErrorCode::known(number), Some(*code));
            assert!(!code.message().is_empty());
        }
    }

    #[test]
    fn a_code_of_a_newer_broker_reads_as_unknown_server_error() {
        assert_eq!(ErrorCode::from_code(9_999), ErrorCode::UnknownServerError);
        assert_eq!(ErrorCode::from_code(-2), ErrorCode::UnknownServerError);
    }

    #[test]
    fn names_and_retriable_flags_are_those_of_kafka() {
        assert_eq!(ErrorCode::NotLeaderOrFollower.name(), "NOT_LEADER_OR_FOLLOWER");
        assert!(ErrorCode::NotLeaderOrFollower.is_retriable());
        assert!(!ErrorCode::InvalidRecord.is_retriable());
        assert_eq!(ErrorCode::ALL.iter().filter(|code| code.is_retriable()).count(), RETRIABLE);
    }

    const RETRIABLE: usize = 31;
}
