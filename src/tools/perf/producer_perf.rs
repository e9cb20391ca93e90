//! `producer-perf-test`: kafka-producer-perf-test.sh of Kafka 3.9 and 4.
//!
//! In: its arguments. Out: an interval line every five seconds and the summary, as Kafka prints them.

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use clap::Parser;
use hdrhistogram::Histogram;

use super::producer::{Acks, Producer, ProducerSettings};
use super::settings::{Settings, deprecated};
use super::{Ended, MB, failed, read_options, split};

/// Kafka keeps at most this many latencies.
const SAMPLES_MAX: u64 = 500_000;

/// Write records at a rate and report how long their acknowledgements took.
#[derive(Parser, Debug)]
#[command(
    name = "producer-perf-test",
    no_binary_name = true,
    args_override_self = true,
    max_term_width = 100
)]
struct Options {
    /// Produce to this topic
    #[arg(long)]
    topic: String,
    /// How many records
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    num_records: u64,
    /// Bytes of each record's value; instead of --payload-file or --payload-monotonic
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1 << 30))]
    record_size: Option<u32>,
    /// Records per second to keep to; -1 is as fast as it goes
    #[arg(long, allow_hyphen_values = true)]
    throughput: f64,
    /// Take values from this file, in random order
    #[arg(long, value_name = "FILE")]
    payload_file: Option<PathBuf>,
    /// What stands between the values of the file; \n is a line end
    #[arg(long, default_value = "\\n")]
    payload_delimiter: String,
    /// Values are the numbers from 0
    #[arg(long)]
    payload_monotonic: bool,
    /// Producer settings, KEY=VALUE
    #[arg(long, num_args = 1.., value_name = "KEY=VALUE")]
    producer_props: Vec<String>,
    /// Producer settings from a file
    #[arg(long = "producer.config", value_name = "FILE")]
    producer_config: Option<PathBuf>,
    /// Producer settings, KEY=VALUE
    #[arg(long, num_args = 1.., value_name = "KEY=VALUE")]
    command_property: Vec<String>,
    /// Producer settings from a file
    #[arg(long, value_name = "FILE")]
    command_config: Option<PathBuf>,
    /// The broker to connect to
    #[arg(long, value_name = "HOST:PORT")]
    bootstrap_server: Option<String>,
    /// Print the client's settings and counts at the end
    #[arg(long)]
    print_metrics: bool,
    #[arg(long, hide = true)]
    transactional_id: Option<String>,
    #[arg(long, hide = true, value_name = "MS")]
    transaction_duration_ms: Option<u64>,
    /// Records at the start that do not count
    #[arg(long, default_value_t = 0)]
    warmup_records: u64,
    /// Milliseconds between interval lines
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u64).range(1..))]
    reporting_interval: u64,
}

/// Kafka's statistics: whole milliseconds from the send call, a line per interval.
struct Statistics {
    record_bytes: u64,
    sampling: u64,
    interval_ns: u64,
    warmup: u64,
    seen: u64,
    count: u64,
    latency_ms_sum: u64,
    latency_ms_max: u64,
    /// One of `sampling`.
    latencies_ms: Vec<u64>,
    window_count: u64,
    window_sum: u64,
    window_max: u64,
    window_start_ns: u64,
    started_ns: u64,
    /// Of all records, ns: from the schedule, and from the send call.
    response: Histogram<u64>,
    service: Histogram<u64>,
    lines: Vec<String>,
}

fn histogram() -> Histogram<u64> {
    let mut histogram = Histogram::new(3).expect("three significant digits are possible");
    histogram.auto(true);
    histogram
}

impl Statistics {
    fn new(records: u64, warmup: u64, record_bytes: u64, interval_ms: u64) -> Statistics {
        Statistics {
            record_bytes,
            sampling: records / records.clamp(1, SAMPLES_MAX),
            interval_ns: interval_ms * 1_000_000,
            warmup,
            seen: 0,
            count: 0,
            latency_ms_sum: 0,
            latency_ms_max: 0,
            latencies_ms: Vec::new(),
            window_count: 0,
            window_sum: 0,
            window_max: 0,
            window_start_ns: 0,
            started_ns: 0,
            response: histogram(),
            service: histogram(),
            lines: Vec::new(),
        }
    }

    fn one(&mut self, due_ns: u64, sent_ns: u64, now_ns: u64) {
        self.seen += 1;
        if self.seen <= self.warmup {
            (self.started_ns, self.window_start_ns) = (now_ns, now_ns);
            return;
        }
        let latency_ms = (now_ns / 1_000_000).saturating_sub(sent_ns / 1_000_000);
        if self.count.is_multiple_of(self.sampling) {
            self.latencies_ms.push(latency_ms);
        }
        self.count += 1;
        self.latency_ms_sum += latency_ms;
        self.latency_ms_max = self.latency_ms_max.max(latency_ms);
        self.window_count += 1;
        self.window_sum += latency_ms;
        self.window_max = self.window_max.max(latency_ms);
        let takes = "a histogram that resizes itself takes every value";
        self.response.record(now_ns.saturating_sub(due_ns)).expect(takes);
        self.service.record(now_ns.saturating_sub(sent_ns)).expect(takes);
        if now_ns - self.window_start_ns >= self.interval_ns {
            let line = self.window(now_ns);
            self.lines.push(line);
            (self.window_count, self.window_sum, self.window_max, self.window_start_ns) = (0, 0, 0, now_ns);
        }
    }

    fn window(&self, now_ns: u64) -> String {
        let seconds = (now_ns - self.window_start_ns) as f64 / 1e9;
        let rate = self.window_count as f64 / seconds;
        format!(
            "{} records sent, {:.1} records/sec ({:.2} MB/sec), {:.1} ms avg latency, {:.1} ms max latency.",
            self.window_count,
            rate,
            rate * self.record_bytes as f64 / MB,
            self.window_sum as f64 / self.window_count as f64,
            self.window_max as f64
        )
    }

    fn total(&mut self, now_ns: u64) -> String {
        let seconds = (now_ns - self.started_ns) as f64 / 1e9;
        let rate = self.count as f64 / seconds;
        self.latencies_ms.sort_unstable();
        let at = |share: f64| {
            let index = (share * self.latencies_ms.len() as f64) as usize;
            self.latencies_ms.get(index).or(self.latencies_ms.last()).copied().unwrap_or(0)
        };
        format!(
            "{} records sent, {:.1} records/sec ({:.2} MB/sec), {:.2} ms avg latency, {:.2} ms max latency, {} ms 50th, \
             {} ms 95th, {} ms 99th, {} ms 99.9th.",
            self.count,
            rate,
            rate * self.record_bytes as f64 / MB,
            self.latency_ms_sum as f64 / self.count.max(1) as f64,
            self.latency_ms_max as f64,
            at(0.5),
            at(0.95),
            at(0.99),
            at(0.999)
        )
    }
}

impl Acks for Statistics {
    fn acked(&mut self, stamps: &[(u64, u64)], now_ns: u64) {
        for (due_ns, sent_ns) in stamps {
            self.one(*due_ns, *sent_ns, now_ns);
        }
    }
}

/// Where values come from.
enum Payload {
    /// Letters, as Kafka's tool makes them.
    Random(Vec<u8>),
    File(Vec<Vec<u8>>),
    Monotonic,
}

fn payload(options: &Options) -> Result<Payload, Ended> {
    let chosen = [options.record_size.is_some(), options.payload_file.is_some(), options.payload_monotonic];
    if chosen.into_iter().filter(|chosen| *chosen).count() != 1 {
        return failed("one of --record-size, --payload-file and --payload-monotonic is needed");
    }
    if let Some(path) = &options.payload_file {
        let text =
            std::fs::read(path).map_err(|error| Ended::Failed(format!("{}: {error}", path.display())))?;
        let delimiter = options.payload_delimiter.replace("\\n", "\n").replace("\\t", "\t");
        let text = String::from_utf8_lossy(&text).into_owned();
        let values: Vec<Vec<u8>> = text
            .split(&delimiter)
            .filter(|value| !value.is_empty())
            .map(|value| value.as_bytes().to_vec())
            .collect();
        if values.is_empty() {
            return failed(format!("File does not exist or empty file provided: {}", path.display()));
        }
        return Ok(Payload::File(values));
    }
    let Some(bytes) = options.record_size else { return Ok(Payload::Monotonic) };
    let mut random = 0u64;
    let letters = (0..bytes).map(|_| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        b'A' + ((random >> 33) % 26) as u8
    });
    Ok(Payload::Random(letters.collect()))
}

pub fn run(arguments: &[OsString], out: &mut dyn Write, err: &mut dyn Write) -> Result<(), Ended> {
    let options: Options = read_options(arguments, None)?;
    for (given, old, new) in [
        (!options.producer_props.is_empty(), "--producer-props", "--command-property"),
        (options.producer_config.is_some(), "--producer.config", "--command-config"),
    ] {
        if given {
            deprecated(err, old, new);
        }
    }
    if options.transactional_id.is_some() || options.transaction_duration_ms.is_some() {
        return failed("--transactional-id and --transaction-duration-ms: this tool has no transactions yet");
    }
    if options.throughput == 0.0 || options.throughput.is_nan() {
        return failed("--throughput 0 sends nothing: -1 is as fast as it goes");
    }
    if options.warmup_records >= options.num_records {
        return failed("--warmup-records must be fewer than --num-records");
    }
    let words: Vec<String> =
        options.producer_props.iter().chain(&options.command_property).cloned().collect();
    let file = options.command_config.as_deref().or(options.producer_config.as_deref());
    let mut settings = Settings::read(file, &split(&words))?;
    if let Some(server) = &options.bootstrap_server {
        settings.set("bootstrap.servers", server);
    }
    let Some(bootstrap) = settings.text("bootstrap.servers").map(str::to_owned) else {
        return failed("--bootstrap-server is needed, or bootstrap.servers among the settings");
    };
    let producer_settings = ProducerSettings::of(&settings)?;
    settings.warn_of_unused(err);
    let payload = payload(&options)?;
    let record_bytes = match &payload {
        Payload::Random(value) => value.len(),
        Payload::File(values) => values.iter().map(Vec::len).sum::<usize>() / values.len(),
        Payload::Monotonic => options.num_records.to_string().len(),
    };
    let statistics = Arc::new(Mutex::new(Statistics::new(
        options.num_records - options.warmup_records,
        options.warmup_records,
        record_bytes as u64,
        options.reporting_interval,
    )));
    let shared: Arc<Mutex<dyn Acks>> = statistics.clone();
    let mut producer = Producer::connect(&bootstrap, &options.topic, producer_settings.clone(), shared)?;
    let lock = || statistics.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let start_ns = producer.now_ns();
    {
        let mut statistics = lock();
        (statistics.started_ns, statistics.window_start_ns) = (start_ns, start_ns);
    }
    let mut number = String::new();
    for record in 0..options.num_records {
        // The schedule is absolute: what a stall held up stays due when it was.
        let due_ns = if options.throughput > 0.0 {
            start_ns + (record as f64 * 1e9 / options.throughput) as u64
        } else {
            producer.now_ns()
        };
        let mut now_ns = producer.now_ns();
        if now_ns < due_ns {
            producer.idle_until(due_ns)?;
            now_ns = producer.now_ns();
        }
        let value: &[u8] = match &payload {
            Payload::Random(value) => value,
            // As good as random for a broker, and the same in each run.
            Payload::File(values) => {
                &values[(record.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33) as usize % values.len()]
            }
            Payload::Monotonic => {
                number.clear();
                let _ = std::fmt::Write::write_fmt(&mut number, format_args!("{record}"));
                number.as_bytes()
            }
        };
        producer.send(None, value, due_ns.min(now_ns), now_ns)?;
        if record.is_multiple_of(1024) || options.throughput > 0.0 {
            let lines = std::mem::take(&mut lock().lines);
            for line in lines {
                writeln!(out, "{line}")?;
            }
        }
    }
    let flow = producer.clock();
    let (refused, why) = producer.close()?;
    let mut statistics = lock();
    for line in std::mem::take(&mut statistics.lines) {
        writeln!(out, "{line}")?;
    }
    let now_ns = flow.elapsed().as_nanos() as u64;
    writeln!(out, "{}", statistics.total(now_ns))?;
    out.flush()?;
    let ms = |histogram: &Histogram<u64>, quantile| histogram.value_at_quantile(quantile) as f64 / 1e6;
    for (what, of) in [
        ("response, from the schedule", &statistics.response),
        ("service, from the send call", &statistics.service),
    ] {
        let _ = writeln!(
            err,
            "{what}: p50 {:.3} ms, p99 {:.3} ms, p99.9 {:.3} ms, max {:.3} ms",
            ms(of, 0.5),
            ms(of, 0.99),
            ms(of, 0.999),
            of.max() as f64 / 1e6
        );
    }
    if options.print_metrics {
        let _ = writeln!(err, "settings: {producer_settings:?}");
    }
    match why {
        Some(why) => failed(format!("{refused} records were refused; the first: {why}")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_are_kafkas() {
        let mut statistics = Statistics::new(4, 1, 1024, 5000);
        for (sent_ms, now_ms) in [(0, 900), (0, 1000), (1000, 1010), (5000, 6001)] {
            statistics.one(sent_ms * 1_000_000, sent_ms * 1_000_000, now_ms * 1_000_000);
        }
        assert_eq!(
            statistics.lines,
            ["3 records sent, 0.6 records/sec (0.00 MB/sec), 670.3 ms avg latency, 1001.0 ms max latency."]
        );
        assert_eq!(
            statistics.total(6_900_000_000),
            "3 records sent, 0.5 records/sec (0.00 MB/sec), 670.33 ms avg latency, 1001.00 ms max latency, 1000 ms 50th, \
             1001 ms 95th, 1001 ms 99th, 1001 ms 99.9th."
        );
    }

    #[test]
    fn arguments_of_both_ages_are_read_and_contradictions_are_refused() {
        let words = |text: &str| text.split(' ').map(OsString::from).collect::<Vec<_>>();
        let old = "--topic t --num-records 10 --record-size 100 --throughput -1 --producer-props bootstrap.servers=h:1 acks=1";
        let options: Options = read_options(&words(old), None).unwrap();
        assert_eq!((options.throughput, options.producer_props.len()), (-1.0, 2));
        let both = "--topic t --num-records 10 --record-size 100 --payload-monotonic --throughput 5";
        assert!(payload(&read_options(&words(both), None).unwrap()).is_err());
        assert!(matches!(read_options::<Options>(&words("--help"), None), Err(Ended::Shown(_))));
    }
}
