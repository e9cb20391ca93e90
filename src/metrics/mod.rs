//! What a running broker counts about itself, and the text page a scraper reads.
//!
//! In: plain bumps by the thread that owns a thing. Out: Prometheus text under the names Kafka users have.
//! Always: a counter has one writer, so a bump is a load and a store, no lock and no locked instruction;
//! a reader sums what the writers left and may be a few events behind. Nothing on the writing side allocates.
//!
//! How a broker uses it:
//!
//! ```
//! use ringdaw::metrics::{Registry, Timed};
//! use ringdaw::clock::Instant;
//!
//! let registry = Registry::new();                       // one per broker, shared as Arc
//! let thread = registry.thread("network-0");            // once per thread, at its start
//! let topic = registry.topic("network-0", "orders");    // once per topic and thread; keep the Arc
//! let partition = registry.partition("orders", 0);      // once per partition, by its owner
//!
//! thread.requests[0].increment();                       // index is the API key: Produce
//! thread.times(Timed::Produce).total.record(180_000);   // ns
//! topic.messages_in.add(16);
//! topic.bytes_in.add(16_384);
//! partition.log_end_offset.set(16);
//! registry.broker.partition_count.set(1);               // gauges of the control thread
//!
//! let page = registry.page(Instant(0));             // when a scraper asks; the only place with a lock
//! assert!(page.contains("kafka_server_brokertopicmetrics_messagesin_total{topic=\"orders\"} 16\n"));
//! ```
//!
//! Reading order: `counter`, `histogram`, `registry` (who owns which counters), `page` (their public names),
//! `text` (the format). `slow` serves the load generator: it keeps the slowest samples of a run.
pub mod counter;
pub mod histogram;
mod page;
pub mod registry;
pub mod slow;
pub mod text;

pub use counter::{Counter, Gauge, Maximum};
pub use histogram::{Histogram, Snapshot};
pub use registry::{
    BrokerMetrics, PartitionMetrics, Registry, RequestTimes, ThreadMetrics, Timed, TopicMetrics,
};
