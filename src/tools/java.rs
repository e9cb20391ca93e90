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

/// Puts items into the order in which a `new HashMap<>(n)` is walked that got just `n` of them, one by one.
pub fn in_sized_hash_order<T>(items: &mut [T], hash: impl Fn(&T) -> u32) {
    let mut capacity = items.len().next_power_of_two();
    if items.len() * 4 > capacity * 3 {
        capacity *= 2;
    }
    items.sort_by_key(|item| bucket(hash(item), capacity));
}

/// `Set.toString()` of Scala.
pub fn set(names: &[&str]) -> String {
    format!("{}({})", if names.len() > 4 { "HashSet" } else { "Set" }, names.join(", "))
}

/// `Double.toString(double)`.
pub fn double(value: f64) -> String {
    if !value.is_finite() {
        return if value.is_nan() { "NaN".to_owned() } else { format!("{value}").replace("inf", "Infinity") };
    }
    if value == 0.0 || (1e-3..1e7).contains(&value.abs()) {
        return format!("{value:?}");
    }
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let point = if digits.contains('.') { "" } else { ".0" };
    format!("{digits}{point}E{exponent}")
}

/// The same with what the broker said of it, where it said something.
pub fn exception_saying(code: i16, message: Option<&str>) -> String {
    let general = exception(code);
    match (message, general.split_once(": ")) {
        (Some(message), Some((class, _))) => format!("{class}: {message}"),
        (Some(_), None) | (None, _) => general,
    }
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
        // Their classes are called as our words are.
        Some(
            other @ (ErrorCode::InvalidRequest
            | ErrorCode::InvalidConfig
            | ErrorCode::PolicyViolation
            | ErrorCode::NotController
            | ErrorCode::ResourceNotFound
            | ErrorCode::DuplicateResource
            | ErrorCode::UnacceptableCredential
            | ErrorCode::UnsupportedSaslMechanism
            | ErrorCode::ClusterAuthorizationFailed),
        ) => {
            let class = match other {
                ErrorCode::InvalidConfig => "InvalidConfiguration".to_owned(),
                ErrorCode::ClusterAuthorizationFailed => "ClusterAuthorization".to_owned(),
                other => camel(other.name()),
            };
            return format!("org.apache.kafka.common.errors.{class}Exception: {}", other.message());
        }
        Some(other) => return format!("{}: {}", other.name(), other.message()),
    };
    format!("org.apache.kafka.common.errors.{class}: {text}")
}

/// `INVALID_REQUEST` as `InvalidRequest`.
fn camel(name: &str) -> String {
    let words = name.split('_').map(|word| {
        let (first, rest) = word.split_at(word.len().min(1));
        first.to_owned() + &rest.to_ascii_lowercase()
    });
    words.collect()
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
    fn numbers_are_written_as_java_writes_them() {
        let shown = [1000.0, 12.5, 9_999_999.0, 1e7, 20_000_000.0, 123_456_789.0, 0.001, 0.000_5, 0.0];
        let shown: Vec<String> = shown.into_iter().map(double).collect();
        assert_eq!(
            shown,
            ["1000.0", "12.5", "9999999.0", "1.0E7", "2.0E7", "1.23456789E8", "0.001", "5.0E-4", "0.0"]
        );
    }

    #[test]
    fn exceptions_are_called_as_javas_client_calls_them() {
        assert_eq!(
            exception(68),
            "org.apache.kafka.common.errors.GroupNotEmptyException: The group is not empty."
        );
        assert!(exception(9999).contains("UnknownServerException"));
        assert_eq!(
            exception_saying(42, Some("no")),
            "org.apache.kafka.common.errors.InvalidRequestException: no"
        );
    }
}
