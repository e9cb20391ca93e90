//! What an unknown key may have been meant to be.
//!
//! In: a key that is in no row of the broker's table. Out: a sentence: it belongs to a client or to a
//! topic, or this is the key that is spelled most like it, or nobody knows it.

use crate::config::settings;

/// The settings of clients that people put into a broker's file, by whose they are.
const PRODUCER: &[&str] = &[
    "acks",
    "batch.size",
    "buffer.memory",
    "delivery.timeout.ms",
    "enable.idempotence",
    "key.serializer",
    "linger.ms",
    "max.block.ms",
    "max.in.flight.requests.per.connection",
    "max.request.size",
    "metadata.max.idle.ms",
    "partitioner.adaptive.partitioning.enable",
    "partitioner.availability.timeout.ms",
    "partitioner.class",
    "partitioner.ignore.keys",
    "retries",
    "transaction.timeout.ms",
    "transactional.id",
    "value.serializer",
];

const CONSUMER: &[&str] = &[
    "allow.auto.create.topics",
    "auto.commit.interval.ms",
    "auto.offset.reset",
    "check.crcs",
    "client.rack",
    "enable.auto.commit",
    "exclude.internal.topics",
    "fetch.max.wait.ms",
    "fetch.min.bytes",
    "group.id",
    "group.instance.id",
    "group.protocol",
    "group.remote.assignor",
    "heartbeat.interval.ms",
    "isolation.level",
    "key.deserializer",
    "max.partition.fetch.bytes",
    "max.poll.interval.ms",
    "max.poll.records",
    "partition.assignment.strategy",
    "session.timeout.ms",
    "value.deserializer",
];

const CLIENT: &[&str] = &[
    "bootstrap.servers",
    "client.dns.lookup",
    "client.id",
    "default.api.timeout.ms",
    "enable.metrics.push",
    "interceptor.classes",
    "metadata.max.age.ms",
    "metadata.recovery.strategy",
    "receive.buffer.bytes",
    "reconnect.backoff.max.ms",
    "reconnect.backoff.ms",
    "retry.backoff.max.ms",
    "retry.backoff.ms",
    "sasl.mechanism",
    "security.protocol",
    "send.buffer.bytes",
];

pub(super) fn unknown(key: &str) -> String {
    if key.is_empty() {
        return "a line without a key, ignored as Kafka does".to_owned();
    }
    for (keys, whose) in [(PRODUCER, "a producer"), (CONSUMER, "a consumer"), (CLIENT, "a client")] {
        if keys.contains(&key) {
            return format!("a setting of {whose}, without effect on a broker, here as in Kafka");
        }
    }
    if let Some(setting) = settings::topic(key) {
        return match setting.synonyms.first() {
            Some(broker_key) => format!("a setting of a topic; the broker's is {broker_key}"),
            None => "a setting of a topic, without effect on a broker".to_owned(),
        };
    }
    match nearest(key, settings::BROKER.iter().map(|setting| setting.key)) {
        Some(near) => format!("unknown, and ignored as Kafka does; did you mean {near}?"),
        None => "unknown, and ignored as Kafka does".to_owned(),
    }
}

/// Keys nobody knows can still carry secrets of plug-ins, and a log line must not show one.
pub(super) fn may_be_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    ["password", "secret", "jaas", "token", "credential"].iter().any(|word| key.contains(word))
}

/// The candidate with the fewest single-letter changes, if those are few enough to be a slip.
pub fn nearest<'a>(key: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let key = key.to_lowercase().replace(['_', '-'], ".");
    let enough = if key.len() < 5 { 1 } else { (key.len() / 5).clamp(2, 4) };
    candidates
        .map(|candidate| (distance(&key, candidate), candidate))
        .filter(|(distance, _)| *distance <= enough)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Letters to add, drop, replace or swap with the next one.
fn distance(one: &str, other: &str) -> usize {
    let one: Vec<char> = one.chars().collect();
    let other: Vec<char> = other.chars().collect();
    let width = other.len() + 1;
    let mut before: Vec<usize> = vec![0; width];
    let mut row: Vec<usize> = (0..width).collect();
    for i in 1..=one.len() {
        let mut next = vec![i; width];
        for j in 1..width {
            let same = usize::from(one[i - 1] != other[j - 1]);
            next[j] = (row[j - 1] + same).min(row[j] + 1).min(next[j - 1] + 1);
            if i > 1 && j > 1 && one[i - 1] == other[j - 2] && one[i - 2] == other[j - 1] {
                next[j] = next[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut row, next);
    }
    row[width - 1]
}
