//! Who owns which counters, and the one place that knows them all.
//!
//! In: a thread, topic or partition appears or goes. Out: its counters as an `Arc` that the owner keeps and
//! bumps; on request, the page that sums them.
//! The lock is taken when something appears or goes and when the page is written, never to count.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_utils::CachePadded;

use crate::clock::Instant;

use super::page::Window;
use super::{Counter, Gauge, Histogram};

/// API keys below this are counted each; the rest share the last place.
pub const API_KEYS: usize = 76;

/// Requests whose time is measured. Kafka tells consumers' fetches from followers'.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timed {
    Produce,
    FetchConsumer,
    FetchFollower,
    Metadata,
}

impl Timed {
    pub const ALL: [Timed; 4] = [Timed::Produce, Timed::FetchConsumer, Timed::FetchFollower, Timed::Metadata];

    /// Kafka's value of the `request` label.
    pub fn name(self) -> &'static str {
        match self {
            Timed::Produce => "Produce",
            Timed::FetchConsumer => "FetchConsumer",
            Timed::FetchFollower => "FetchFollower",
            Timed::Metadata => "Metadata",
        }
    }
}

/// Where the time of a request went, in ns. A broker records the parts it can tell apart; a part that was never
/// recorded is left out of the page.
#[derive(Debug, Default)]
pub struct RequestTimes {
    /// From the last byte received to the last byte of the response sent.
    pub total: Histogram,
    /// Waiting to be handled.
    pub request_queue: Histogram,
    /// Being handled by the owner.
    pub local: Histogram,
    /// Waiting for others: replicas, or for data to arrive.
    pub remote: Histogram,
    /// The response waiting for its turn on the connection.
    pub response_queue: Histogram,
    /// Being written to the socket.
    pub response_send: Histogram,
}

/// The counters of one reactor thread.
#[derive(Debug)]
pub struct ThreadMetrics {
    /// Requests answered, by API key. See [`ThreadMetrics::count_request`] for keys that may be any number.
    pub requests: [Counter; API_KEYS],
    times: [RequestTimes; Timed::ALL.len()],

    pub connections: Gauge,
    pub connections_accepted: Counter,
    pub connections_closed_for_error: Counter,
    /// Requests that could not be decoded, or not within their budget.
    pub decode_refusals: Counter,

    pub turns: Counter,
    /// One turn of the loop, sleeping aside: the longest bounds what a neighbour on the thread can wait.
    pub turn: Histogram,
    /// System calls made beside the ring (direct reads, writes, sendfile).
    pub direct_calls: Counter,

    pub flush: Histogram,
    pub flush_errors: Counter,
    pub write_out: Histogram,
    pub write_out_errors: Counter,
}

impl Default for ThreadMetrics {
    fn default() -> ThreadMetrics {
        ThreadMetrics {
            requests: [const { Counter::new() }; API_KEYS],
            times: Default::default(),
            connections: Gauge::new(),
            connections_accepted: Counter::new(),
            connections_closed_for_error: Counter::new(),
            decode_refusals: Counter::new(),
            turns: Counter::new(),
            turn: Histogram::default(),
            direct_calls: Counter::new(),
            flush: Histogram::default(),
            flush_errors: Counter::new(),
            write_out: Histogram::default(),
            write_out_errors: Counter::new(),
        }
    }
}

impl ThreadMetrics {
    #[inline]
    pub fn count_request(&self, api_key: i16) {
        let place = usize::try_from(api_key).map_or(API_KEYS - 1, |key| key.min(API_KEYS - 1));
        self.requests[place].increment();
    }

    #[inline]
    pub fn times(&self, request: Timed) -> &RequestTimes {
        &self.times[request as usize]
    }
}

/// What one thread did for one topic.
#[derive(Debug, Default)]
pub struct TopicMetrics {
    pub messages_in: Counter,
    pub bytes_in: Counter,
    pub bytes_out: Counter,
    pub bytes_rejected: Counter,
    pub produce_requests: Counter,
    pub produce_requests_failed: Counter,
    pub fetch_requests: Counter,
    pub fetch_requests_failed: Counter,
}

/// The present state of one partition's log; set by its owner.
#[derive(Debug, Default)]
pub struct PartitionMetrics {
    pub log_start_offset: Gauge,
    pub log_end_offset: Gauge,
    pub log_bytes: Gauge,
    pub segments: Gauge,
}

/// The broker as a whole; set by the control thread.
#[derive(Debug, Default)]
pub struct BrokerMetrics {
    pub partition_count: Gauge,
    pub leader_count: Gauge,
    pub under_replicated_partitions: Gauge,
    pub under_min_isr_partitions: Gauge,
    pub offline_replicas: Gauge,
    pub isr_shrinks: Counter,
    pub isr_expands: Counter,
    pub active_controllers: Gauge,
    pub offline_partitions: Gauge,
    pub offline_log_directories: Gauge,
    pub topics: Gauge,
    /// Offsets that recovery cut off because their batches were torn.
    pub offsets_cut_by_recovery: Counter,
}

#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) threads: BTreeMap<String, Arc<CachePadded<ThreadMetrics>>>,
    /// By topic, then by thread.
    pub(super) topics: BTreeMap<String, BTreeMap<String, Arc<CachePadded<TopicMetrics>>>>,
    pub(super) partitions: BTreeMap<(String, i32), Arc<CachePadded<PartitionMetrics>>>,
    pub(super) window: Window,
}

#[derive(Debug, Default)]
pub struct Registry {
    pub broker: BrokerMetrics,
    known: Mutex<Known>,
}

impl Registry {
    pub fn new() -> Arc<Registry> {
        Arc::new(Registry::default())
    }

    /// The counters of the thread of that name, made when it is the first time.
    pub fn thread(&self, name: &str) -> Arc<CachePadded<ThreadMetrics>> {
        Arc::clone(self.known().threads.entry(name.to_owned()).or_default())
    }

    /// The counters of one topic on one thread. Each thread has its own: there is one writer.
    pub fn topic(&self, thread: &str, topic: &str) -> Arc<CachePadded<TopicMetrics>> {
        let mut known = self.known();
        let by_thread = known.topics.entry(topic.to_owned()).or_default();
        Arc::clone(by_thread.entry(thread.to_owned()).or_default())
    }

    pub fn partition(&self, topic: &str, partition: i32) -> Arc<CachePadded<PartitionMetrics>> {
        Arc::clone(self.known().partitions.entry((topic.to_owned(), partition)).or_default())
    }

    /// The turns of each thread so far.
    pub fn turns(&self) -> Vec<(String, u64)> {
        self.known().threads.iter().map(|(name, thread)| (name.clone(), thread.turns.get())).collect()
    }

    /// Takes a removed partition off the page, and its topic with the last one. Owners may still hold their counters.
    pub fn forget_partition(&self, topic: &str, partition: i32) {
        let mut known = self.known();
        known.partitions.remove(&(topic.to_owned(), partition));
        let all = (topic.to_owned(), i32::MIN)..=(topic.to_owned(), i32::MAX);
        if known.partitions.range(all).next().is_none() {
            known.topics.remove(topic);
        }
    }

    /// The page as it is at `now`. Quantiles cover the last five to ten minutes.
    pub fn page(&self, now: Instant) -> String {
        super::page::write(&self.broker, &mut self.known(), now)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        // A panic while the lock was held leaves maps that are still whole: they hold only counters.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
