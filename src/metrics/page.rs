//! Kafka's metric names over our counters.
//!
//! In: the registry. Out: the text page. The names are those that the usual JMX exporter rules for Kafka yield,
//! so dashboards and alerts made for Kafka find their series; what Kafka does not have begins with `ringdaw_`.
//! A series exists only when something was counted that it can be computed from.

use std::time::Duration;

use crate::clock::Instant;

use super::registry::{API_KEYS, BrokerMetrics, Known, RequestTimes, ThreadMetrics, Timed, TopicMetrics};
use super::text::{Kind, Text};
use super::{Counter, Gauge, Histogram, Snapshot};

const QUANTILES: [(&str, f64); 6] =
    [("0.50", 0.5), ("0.75", 0.75), ("0.95", 0.95), ("0.98", 0.98), ("0.99", 0.99), ("0.999", 0.999)];

/// Quantiles of everything since the start would hide a bad hour behind a good week.
const WINDOW: Duration = Duration::from_secs(300);

type Part = (&'static str, &'static str, fn(&RequestTimes) -> &Histogram);

const PARTS: [Part; 6] = [
    ("totaltimems", "Milliseconds from the request received to the response sent.", |t| &t.total),
    ("requestqueuetimems", "Milliseconds a request waited to be handled.", |t| &t.request_queue),
    ("localtimems", "Milliseconds a request was being handled.", |t| &t.local),
    ("remotetimems", "Milliseconds a request waited for others.", |t| &t.remote),
    ("responsequeuetimems", "Milliseconds a response waited for its turn.", |t| &t.response_queue),
    ("responsesendtimems", "Milliseconds a response took to be written.", |t| &t.response_send),
];

type TopicCounter = (&'static str, &'static str, fn(&TopicMetrics) -> &Counter);

const TOPIC_COUNTERS: [TopicCounter; 8] = [
    ("messagesin", "Records appended.", |t| &t.messages_in),
    ("bytesin", "Bytes appended.", |t| &t.bytes_in),
    ("bytesout", "Bytes sent to consumers.", |t| &t.bytes_out),
    ("bytesrejected", "Bytes of record batches refused.", |t| &t.bytes_rejected),
    ("totalproducerequests", "Produce requests.", |t| &t.produce_requests),
    ("failedproducerequests", "Produce requests that failed.", |t| &t.produce_requests_failed),
    ("totalfetchrequests", "Fetch requests.", |t| &t.fetch_requests),
    ("failedfetchrequests", "Fetch requests that failed.", |t| &t.fetch_requests_failed),
];

type ThreadCounter = (&'static str, &'static str, fn(&ThreadMetrics) -> &Counter);

const THREAD_COUNTERS: [ThreadCounter; 7] = [
    ("ringdaw_reactor_turns_total", "Turns of the loop.", |t| &t.turns),
    ("ringdaw_direct_calls_total", "System calls made beside the ring.", |t| &t.direct_calls),
    ("ringdaw_decode_refusals_total", "Requests that could not be decoded.", |t| &t.decode_refusals),
    ("ringdaw_flush_errors_total", "Flushes that failed.", |t| &t.flush_errors),
    ("ringdaw_write_out_errors_total", "Write-outs that failed.", |t| &t.write_out_errors),
    ("ringdaw_connections_accepted_total", "Connections accepted.", |t| &t.connections_accepted),
    ("ringdaw_connections_closed_for_error_total", "Connections closed for an error.", |t| {
        &t.connections_closed_for_error
    }),
];

type ThreadHistogram = (&'static str, &'static str, fn(&ThreadMetrics) -> &Histogram);

const THREAD_HISTOGRAMS: [ThreadHistogram; 3] = [
    ("ringdaw_reactor_turn_seconds", "Length of a turn, sleeping aside.", |t| &t.turn),
    ("ringdaw_flush_seconds", "Length of a flush.", |t| &t.flush),
    ("ringdaw_write_out_seconds", "Length of a write-out.", |t| &t.write_out),
];

const HISTOGRAMS: usize = PARTS.len() * Timed::ALL.len() + THREAD_HISTOGRAMS.len();

/// The sums as they were five to ten minutes ago, which the quantiles are counted from.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// Start of the window, and the sums then.
    base: Option<(Instant, Vec<Snapshot>)>,
    /// Becomes the base when it is old enough.
    next: Option<(Instant, Vec<Snapshot>)>,
}

impl Window {
    /// Each histogram's samples since the window's start; moves the window on.
    fn advance(&mut self, now: Instant, sums: &[Snapshot]) -> Vec<Snapshot> {
        let due = self.next.as_ref().is_none_or(|(at, _)| now.since(*at) >= WINDOW);
        if due {
            self.base = self.next.take();
            self.next = Some((now, sums.to_vec()));
        }
        match &self.base {
            Some((_, base)) => sums.iter().zip(base).map(|(sum, base)| sum.since(base)).collect(),
            None => sums.to_vec(),
        }
    }
}

pub(super) fn write(broker: &BrokerMetrics, known: &mut Known, now: Instant) -> String {
    let mut text = Text::with_capacity(16 * 1024 + known.partitions.len() * 320);
    topics(&mut text, known);
    requests(&mut text, known);
    times(&mut text, known, now);
    gauges(&mut text, broker);
    partitions(&mut text, known);
    threads(&mut text, known);
    text.finish()
}

fn topics(text: &mut Text, known: &Known) {
    for (name, help, counter) in TOPIC_COUNTERS {
        let name = format!("kafka_server_brokertopicmetrics_{name}_total");
        let mut family = text.family(&name, Kind::Counter, help);
        let by_topic: Vec<(&str, u64)> = known
            .topics
            .iter()
            .map(|(topic, threads)| (topic.as_str(), threads.values().map(|t| counter(t).get()).sum()))
            .collect();
        // Kafka's own page has the sum over all topics as a series without the label.
        family.sample(&[], by_topic.iter().map(|(_, value)| value).sum::<u64>());
        for (topic, value) in by_topic {
            family.sample(&[("topic", topic)], value);
        }
    }
}

fn requests(text: &mut Text, known: &Known) {
    let mut family =
        text.family("kafka_network_requestmetrics_requests_total", Kind::Counter, "Requests answered.");
    for key in 0..API_KEYS {
        let count: u64 = known.threads.values().map(|t| t.requests[key].get()).sum();
        if count > 0 {
            family.sample(&[("request", request_name(key))], count);
        }
    }
}

fn times(text: &mut Text, known: &mut Known, now: Instant) {
    let mut sums = vec![Snapshot::default(); HISTOGRAMS];
    for thread in known.threads.values() {
        let mut place = sums.iter_mut();
        for (_, _, part) in PARTS {
            for request in Timed::ALL {
                part(thread.times(request)).add_to(place.next().expect("HISTOGRAMS counts them"));
            }
        }
        for (_, _, histogram) in THREAD_HISTOGRAMS {
            histogram(thread).add_to(place.next().expect("HISTOGRAMS counts them"));
        }
    }
    let recent = known.window.advance(now, &sums);
    let mut place = sums.iter().zip(&recent);
    for (name, help, _) in PARTS {
        let rows: Vec<_> =
            Timed::ALL.iter().zip(place.by_ref()).filter(|(_, (sum, _))| sum.count() > 0).collect();
        if rows.is_empty() {
            continue;
        }
        let name = format!("kafka_network_requestmetrics_{name}");
        let mut family = text.family(&name, Kind::Gauge, help);
        for (request, (_, recent)) in &rows {
            quantiles(&mut family, &[("request", request.name())], recent, 1e6);
        }
        let count = format!("{name}_count");
        let mut family = text.family(&count, Kind::Counter, "Requests the times above come from.");
        for (request, (sum, _)) in &rows {
            family.sample(&[("request", request.name())], sum.count());
        }
    }
    for ((name, help, _), (sum, recent)) in THREAD_HISTOGRAMS.iter().zip(place) {
        if sum.count() == 0 {
            continue;
        }
        quantiles(&mut text.family(name, Kind::Gauge, help), &[], recent, 1e9);
        let max = format!("{name}_max");
        text.family(&max, Kind::Gauge, "The longest since the start.").sample(&[], sum.max_ns() as f64 / 1e9);
        let count = format!("{name}_count");
        text.family(&count, Kind::Counter, "How many there were.").sample(&[], sum.count());
    }
}

fn quantiles(family: &mut super::text::Family, labels: &[(&str, &str)], recent: &Snapshot, ns_per_unit: f64) {
    for (label, q) in QUANTILES {
        if let Some(ns) = recent.quantile_ns(q) {
            let mut labels = labels.to_vec();
            labels.push(("quantile", label));
            family.sample(&labels, ns as f64 / ns_per_unit);
        }
    }
}

fn gauges(text: &mut Text, broker: &BrokerMetrics) {
    let gauges: [(&str, &str, &Gauge); 9] = [
        ("kafka_server_replicamanager_partitioncount", "Partitions here.", &broker.partition_count),
        ("kafka_server_replicamanager_leadercount", "Partitions led from here.", &broker.leader_count),
        (
            "kafka_server_replicamanager_underreplicatedpartitions",
            "Led partitions with replicas out of sync.",
            &broker.under_replicated_partitions,
        ),
        (
            "kafka_server_replicamanager_underminisrpartitioncount",
            "Led partitions below min.insync.replicas.",
            &broker.under_min_isr_partitions,
        ),
        (
            "kafka_server_replicamanager_offlinereplicacount",
            "Replicas in failed directories.",
            &broker.offline_replicas,
        ),
        (
            "kafka_controller_kafkacontroller_activecontrollercount",
            "1 where the controller is.",
            &broker.active_controllers,
        ),
        (
            "kafka_controller_kafkacontroller_offlinepartitionscount",
            "Partitions without a leader.",
            &broker.offline_partitions,
        ),
        ("kafka_controller_kafkacontroller_globaltopiccount", "Topics.", &broker.topics),
        (
            "kafka_log_logmanager_offlinelogdirectorycount",
            "Log directories that failed.",
            &broker.offline_log_directories,
        ),
    ];
    for (name, help, gauge) in gauges {
        text.family(name, Kind::Gauge, help).sample(&[], gauge.get());
    }
    let counters: [(&str, &str, &Counter); 3] = [
        (
            "kafka_server_replicamanager_isrshrinks_total",
            "Replicas taken out of an in-sync set.",
            &broker.isr_shrinks,
        ),
        (
            "kafka_server_replicamanager_isrexpands_total",
            "Replicas taken into an in-sync set.",
            &broker.isr_expands,
        ),
        (
            "ringdaw_offsets_cut_by_recovery_total",
            "Offsets cut off because their batches were torn.",
            &broker.offsets_cut_by_recovery,
        ),
    ];
    for (name, help, counter) in counters {
        text.family(name, Kind::Counter, help).sample(&[], counter.get());
    }
}

fn partitions(text: &mut Text, known: &Known) {
    type PartitionGauge = (&'static str, &'static str, fn(&super::PartitionMetrics) -> &Gauge);
    let gauges: [PartitionGauge; 4] = [
        ("kafka_log_log_logstartoffset", "First offset.", |p| &p.log_start_offset),
        ("kafka_log_log_logendoffset", "Offset of the next record.", |p| &p.log_end_offset),
        ("kafka_log_log_size", "Bytes in the log.", |p| &p.log_bytes),
        ("kafka_log_log_numlogsegments", "Segments in the log.", |p| &p.segments),
    ];
    for (name, help, gauge) in gauges {
        let mut family = text.family(name, Kind::Gauge, help);
        for ((topic, partition), metrics) in &known.partitions {
            family.sample(&[("topic", topic), ("partition", &partition.to_string())], gauge(metrics).get());
        }
    }
}

fn threads(text: &mut Text, known: &Known) {
    let mut family = text.family(
        "kafka_server_socketservermetrics_connection_count",
        Kind::Gauge,
        "Connections open, by thread.",
    );
    for (name, thread) in &known.threads {
        family.sample(&[("networkprocessor", name)], thread.connections.get());
    }
    for (name, help, counter) in THREAD_COUNTERS {
        let mut family = text.family(name, Kind::Counter, help);
        for (thread, metrics) in &known.threads {
            family.sample(&[("thread", thread)], counter(metrics).get());
        }
    }
}

/// Kafka's name of an API, as its `request` label has it.
fn request_name(api_key: usize) -> &'static str {
    const NAMES: [&str; 69] = [
        "Produce",
        "Fetch",
        "ListOffsets",
        "Metadata",
        "LeaderAndIsr",
        "StopReplica",
        "UpdateMetadata",
        "ControlledShutdown",
        "OffsetCommit",
        "OffsetFetch",
        "FindCoordinator",
        "JoinGroup",
        "Heartbeat",
        "LeaveGroup",
        "SyncGroup",
        "DescribeGroups",
        "ListGroups",
        "SaslHandshake",
        "ApiVersions",
        "CreateTopics",
        "DeleteTopics",
        "DeleteRecords",
        "InitProducerId",
        "OffsetForLeaderEpoch",
        "AddPartitionsToTxn",
        "AddOffsetsToTxn",
        "EndTxn",
        "WriteTxnMarkers",
        "TxnOffsetCommit",
        "DescribeAcls",
        "CreateAcls",
        "DeleteAcls",
        "DescribeConfigs",
        "AlterConfigs",
        "AlterReplicaLogDirs",
        "DescribeLogDirs",
        "SaslAuthenticate",
        "CreatePartitions",
        "CreateDelegationToken",
        "RenewDelegationToken",
        "ExpireDelegationToken",
        "DescribeDelegationToken",
        "DeleteGroups",
        "ElectLeaders",
        "IncrementalAlterConfigs",
        "AlterPartitionReassignments",
        "ListPartitionReassignments",
        "OffsetDelete",
        "DescribeClientQuotas",
        "AlterClientQuotas",
        "DescribeUserScramCredentials",
        "AlterUserScramCredentials",
        "Vote",
        "BeginQuorumEpoch",
        "EndQuorumEpoch",
        "DescribeQuorum",
        "AlterPartition",
        "UpdateFeatures",
        "Envelope",
        "FetchSnapshot",
        "DescribeCluster",
        "DescribeProducers",
        "BrokerRegistration",
        "BrokerHeartbeat",
        "UnregisterBroker",
        "DescribeTransactions",
        "ListTransactions",
        "AllocateProducerIds",
        "ConsumerGroupHeartbeat",
    ];
    NAMES.get(api_key).copied().unwrap_or("Other")
}

#[cfg(test)]
mod tests {
    use super::super::Registry;
    use super::*;

    #[test]
    fn threads_are_summed_under_kafkas_names() {
        let registry = Registry::new();
        for name in ["network-0", "network-1"] {
            let thread = registry.thread(name);
            thread.count_request(0);
            thread.count_request(-7);
            thread.times(Timed::Produce).total.record(2_000_000);
            registry.topic(name, "orders").messages_in.add(5);
        }
        registry.partition("orders", 3).log_end_offset.set(10);
        registry.broker.partition_count.set(4);
        let page = registry.page(Instant(7));
        for line in [
            "kafka_network_requestmetrics_requests_total{request=\"Produce\"} 2",
            "kafka_network_requestmetrics_requests_total{request=\"Other\"} 2",
            "kafka_network_requestmetrics_totaltimems_count{request=\"Produce\"} 2",
            "kafka_server_brokertopicmetrics_messagesin_total 10",
            "kafka_server_brokertopicmetrics_messagesin_total{topic=\"orders\"} 10",
            "kafka_log_log_logendoffset{topic=\"orders\",partition=\"3\"} 10",
            "kafka_server_replicamanager_partitioncount 4",
        ] {
            assert!(page.lines().any(|found| found == line), "missing: {line}\n{page}");
        }
        assert!(!page.contains("remotetimems"), "nothing was recorded there");
    }

    #[test]
    fn every_sample_follows_the_announcement_of_its_family_and_no_family_comes_twice() {
        let registry = Registry::new();
        registry.thread("t").times(Timed::FetchConsumer).remote.record(1);
        registry.thread("t").flush.record(1);
        registry.topic("t", "a");
        registry.partition("a", 0);
        let page = registry.page(Instant(7));
        let mut announced = std::collections::BTreeSet::new();
        let mut current = "";
        for line in page.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                current = rest.split(' ').next().expect("a name");
                assert!(announced.insert(current), "{current} announced twice");
            } else if !line.starts_with('#') {
                let name = line.split(['{', ' ']).next().expect("a name");
                assert_eq!(name, current, "sample outside its family");
            }
        }
    }

    #[test]
    fn quantiles_forget_what_is_older_than_the_window() {
        let registry = Registry::new();
        let thread = registry.thread("t");
        let start = Instant(7);
        let slow = "kafka_network_requestmetrics_totaltimems{request=\"Produce\",quantile=\"0.99\"}";
        let p99 = |page: String| -> f64 {
            let line = page.lines().find(|l| l.starts_with(slow)).expect("the series").to_owned();
            line.rsplit(' ').next().and_then(|v| v.parse().ok()).expect("a number")
        };
        thread.times(Timed::Produce).total.record(900_000_000);
        assert!(p99(registry.page(start)) >= 900.0);
        thread.times(Timed::Produce).total.record(1_000_000);
        assert!(p99(registry.page(start.after(WINDOW / 2))) >= 900.0, "still inside the window");
        let later = p99(registry.page(start.after(WINDOW)));
        assert!((1.0..1.1).contains(&later), "{later}");
    }

    #[test]
    fn a_deleted_topic_leaves_the_page_and_its_neighbour_stays() {
        let registry = Registry::new();
        for topic in ["a", "ab"] {
            registry.topic("t", topic).bytes_in.add(1);
            registry.partition(topic, 0);
        }
        registry.forget_partition("a", 0);
        let page = registry.page(Instant(7));
        assert!(!page.contains("topic=\"a\""));
        assert!(page.contains("kafka_log_log_size{topic=\"ab\",partition=\"0\"} 0"));
    }
}
