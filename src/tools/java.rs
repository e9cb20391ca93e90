//! What Kafka's tools show of Java: the order in which its hash tables are walked, and the names of its exceptions.
//!
//! In: keys, or an error code. Out: an order, or a sentence. Whoever compares the output of one of Kafka's tools with
//! ours should find nothing, and the order of rows is part of it.

use crate::wire::error_code::ErrorCode;

/// `String.hashCode()`.
pub fn string_hash(text: &str) -> u32 {
    text.encode_utf16().fold(0, |hash: u32, unit| hash.wrapping_mul(31).wrapping_add(unit.into()))
}

/// `TopicPartition.hashCode()`.
pub fn topic_partition_hash(topic: &str, partition: i32) -> u32 {
    (31u32.wrapping_add(partition as u32)).wrapping_mul(31).wrapping_add(string_hash(topic))
}

/// Which bucket of a table of `capacity` buckets keeps a key.
fn bucket(hash: u32, capacity: usize) -> u32 {
    (hash ^ (hash >> 16)) & (capacity as u32 - 1)
}

/// Where a `HashMap` that was made for so many entries keeps a key.
pub fn bucket_presized(hash: u32, entries: usize) -> u32 {
    bucket(hash, (entries * 4).div_ceil(3).next_power_of_two().max(16))
}

/// Puts items into the order in which a `HashMap` is walked that began empty and got them one by one.
pub fn in_hash_order<T>(items: &mut [T], hash: impl Fn(&T) -> u32) {
    let mut capacity = 16;
    while items.len() > capacity / 4 * 3 {
        capacity *= 2;
    }
    items.sort_by_key(|item| bucket(hash(item), capacity));
}

/// What `Throwable.toString()` gives for the exception that Java's client makes of an error code.
pub fn exception(code: i16) -> String {
    let (class, text) = match ErrorCode::known(code) {
        Some(ErrorCode::UnknownServerError) | None => (
            "UnknownServerException",
            "The server experienced an unexpected error when processing the request.",
        ),
        Some(ErrorCode::UnknownTopicOrPartition) => {
            ("UnknownTopicOrPartitionException", "This server does not host this topic-partition.")
        }
        Some(ErrorCode::OffsetOutOfRange) => (
            "OffsetOutOfRangeException",
            "The requested offset is not within the range of offsets maintained by the server.",
        ),
        Some(ErrorCode::PreferredLeaderNotAvailable) => {
            ("PreferredLeaderNotAvailableException", "The preferred leader was not available.")
        }
        Some(ErrorCode::EligibleLeadersNotAvailable) => {
            ("EligibleLeadersNotAvailableException", "Eligible topic partition leaders are not available.")
        }
        Some(ErrorCode::KafkaStorageError) => {
            ("KafkaStorageException", "Disk error when trying to access log file on the disk.")
        }
        Some(ErrorCode::RequestTimedOut) => ("TimeoutException", "The request timed out."),
        Some(ErrorCode::CoordinatorLoadInProgress) => (
            "CoordinatorLoadInProgressException",
            "The coordinator is loading and hence can't process requests.",
        ),
        Some(ErrorCode::CoordinatorNotAvailable) => {
            ("CoordinatorNotAvailableException", "The coordinator is not available.")
        }
        Some(ErrorCode::NotCoordinator) => {
            ("NotCoordinatorException", "This is not the correct coordinator.")
        }
        Some(ErrorCode::InvalidTopicException) => {
            ("InvalidTopicException", "The request attempted to perform an operation on an invalid topic.")
        }
        Some(ErrorCode::IllegalGeneration) => {
            ("IllegalGenerationException", "Specified group generation id is not valid.")
        }
        Some(ErrorCode::InvalidGroupId) => ("InvalidGroupIdException", "The configured groupId is invalid."),
        Some(ErrorCode::UnknownMemberId) => {
            ("UnknownMemberIdException", "The coordinator is not aware of this member.")
        }
        Some(ErrorCode::RebalanceInProgress) => {
            ("RebalanceInProgressException", "The group is rebalancing, so a rejoin is needed.")
        }
        Some(ErrorCode::TopicAuthorizationFailed) => {
            ("TopicAuthorizationException", "Topic authorization failed.")
        }
        Some(ErrorCode::GroupAuthorizationFailed) => {
            ("GroupAuthorizationException", "Group authorization failed.")
        }
        Some(ErrorCode::UnsupportedVersion) => {
            ("UnsupportedVersionException", "The version of API is not supported.")
        }
        Some(ErrorCode::NonEmptyGroup) => ("GroupNotEmptyException", "The group is not empty."),
        Some(ErrorCode::GroupIdNotFound) => ("GroupIdNotFoundException", "The group id does not exist."),
        Some(ErrorCode::GroupSubscribedToTopic) => (
            "GroupSubscribedToTopicException",
            "Deleting offsets of a topic is forbidden while the consumer group is actively subscribed to it.",
        ),
        Some(other) => return format!("{}: {}", other.name(), other.message()),
    };
    format!("org.apache.kafka.common.errors.{class}: {text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_stand_in_the_order_that_javas_table_gives_them() {
        // Seen in the output of Kafka 3.9.1.
        let mut partitions = vec![0, 1, 2];
        in_hash_order(&mut partitions, |partition| topic_partition_hash("s2", *partition));
        assert_eq!(partitions, [0, 2, 1]);
        let mut groups = vec!["g1", "nope"];
        in_hash_order(&mut groups, |group| string_hash(group));
        assert_eq!(groups, ["nope", "g1"]);
    }

    #[test]
    fn a_table_grows_when_it_is_three_quarters_full() {
        let order = |count: u32| {
            let mut items: Vec<u32> = (0..count).rev().collect();
            in_hash_order(&mut items, |item| item * 16);
            items
        };
        // 12 items in 16 buckets: all fall into one, in the order they came. 13 make it 32 buckets: two.
        assert_eq!(order(12), (0..12).rev().collect::<Vec<_>>());
        assert_eq!(order(13), [12, 10, 8, 6, 4, 2, 0, 11, 9, 7, 5, 3, 1]);
    }

    #[test]
    fn exceptions_are_called_as_javas_client_calls_them() {
        assert_eq!(
            exception(68),
            "org.apache.kafka.common.errors.GroupNotEmptyException: The group is not empty."
        );
        assert!(exception(9999).contains("UnknownServerException"));
    }
}
