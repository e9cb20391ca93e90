//! `consumer-perf-test`: kafka-consumer-perf-test.sh of Kafka 3.9 and 4.
//!
//! In: its arguments. Out: header and line, as Kafka prints them. All partitions are read by this process, without a group:
//! what a coordinator would take stands as 0 in `rebalance.time.ms`, apart from finding the topic.

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Parser;

use crate::clock::date_of;

use super::reader::{From, Reader};
use super::settings::{Settings, deprecated};
use super::{Ended, MB, failed, read_options, split};

/// Read records as fast as they come and report how many and how fast.
#[derive(Parser, Debug)]
#[command(
    name = "consumer-perf-test",
    no_binary_name = true,
    args_override_self = true,
    max_term_width = 100
)]
struct Options {
    /// The broker to connect to
    #[arg(long, value_name = "HOST:PORT")]
    bootstrap_server: String,
    /// The topic to read
    #[arg(long)]
    topic: String,
    /// Accepted; this tool reads without a group
    #[arg(long)]
    group: Option<String>,
    /// How many records
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    messages: Option<u64>,
    /// How many records
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    num_records: Option<u64>,
    /// Bytes per partition and fetch
    #[arg(long, default_value_t = 1_048_576, value_parser = clap::value_parser!(i32).range(1..))]
    fetch_size: i32,
    /// Begin at the end of the topic
    #[arg(long)]
    from_latest: bool,
    /// Milliseconds without a record after which it ends
    #[arg(long, default_value_t = 10_000)]
    timeout: u64,
    /// Accepted; the system's own buffers grow by themselves
    #[arg(long, default_value_t = 2_097_152, value_name = "BYTES")]
    socket_buffer_size: u64,
    /// Consumer settings from a file
    #[arg(long = "consumer.config", value_name = "FILE")]
    consumer_config: Option<PathBuf>,
    /// Consumer settings from a file
    #[arg(long, value_name = "FILE")]
    command_config: Option<PathBuf>,
    /// Consumer settings, KEY=VALUE
    #[arg(long, num_args = 1.., value_name = "KEY=VALUE")]
    command_property: Vec<String>,
    /// Print counts of the client at the end
    #[arg(long)]
    print_metrics: bool,
    /// A line per interval instead of one at the end
    #[arg(long)]
    show_detailed_stats: bool,
    /// Milliseconds between those lines
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u64).range(1..))]
    reporting_interval: u64,
    /// How times are written, in letters of Java's SimpleDateFormat; UTC
    #[arg(long, default_value = "yyyy-MM-dd HH:mm:ss:SSS")]
    date_format: String,
    /// Leave the header out
    #[arg(long)]
    hide_header: bool,
}

const HEADER: &str = "data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, nMsg.sec, rebalance.time.ms, fetch.time.ms, \
                      fetch.MB.sec, fetch.nMsg.sec";

/// The letters y M d H m s S and quoted text; anything else stands for itself.
fn formatted(pattern: &str, unix_ms: u64) -> String {
    let seconds = unix_ms / 1000;
    let (year, month, day) = date_of((seconds / 86_400) as i64);
    let mut out = String::new();
    let mut letters = pattern.chars().peekable();
    while let Some(letter) = letters.next() {
        let mut width = 1;
        while letter.is_ascii_alphabetic() && letters.next_if_eq(&letter).is_some() {
            width += 1;
        }
        let value = match letter {
            'y' if width == 2 => (year % 100) as u64,
            'y' => year as u64,
            'M' => u64::from(month),
            'd' => u64::from(day),
            'H' => seconds / 3600 % 24,
            'm' => seconds / 60 % 60,
            's' => seconds % 60,
            'S' => unix_ms % 1000,
            '\'' => {
                out.extend(letters.by_ref().take_while(|letter| *letter != '\''));
                continue;
            }
            other => {
                out.extend(std::iter::repeat_n(other, width));
                continue;
            }
        };
        out.push_str(&format!("{value:0width$}"));
    }
    out
}

fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// `%.4f` of Java, which spells what is not a number its own way.
fn four(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned()
    } else {
        format!("{value:.4}")
    }
}

pub fn run(arguments: &[OsString], out: &mut dyn Write, err: &mut dyn Write) -> Result<(), Ended> {
    let options: Options = read_options(arguments, None)?;
    if options.messages.is_some() {
        deprecated(err, "--messages", "--num-records");
    }
    if options.consumer_config.is_some() {
        deprecated(err, "--consumer.config", "--command-config");
    }
    let Some(wanted) = options.num_records.or(options.messages) else {
        return failed("--num-records is needed");
    };
    let file = options.command_config.as_deref().or(options.consumer_config.as_deref());
    let settings = Settings::read(file, &split(&options.command_property))?;
    settings.warn_of_unused(err);
    let line = |out: &mut dyn Write, text: &str| writeln!(out, "{text}");
    if !options.hide_header {
        let first = if options.show_detailed_stats { "time, threadId" } else { "start.time, end.time" };
        line(out, &format!("{first}, {HEADER}"))?;
    }
    let (started, start_unix_ms) = (Instant::now(), unix_ms());
    let from = if options.from_latest { From::End } else { From::Beginning };
    let mut reader = Reader::open(&options.bootstrap_server, &options.topic, from, options.fetch_size)?;
    let join_ms = started.elapsed().as_millis() as u64;
    let (mut records, mut bytes) = (0u64, 0u64);
    let (mut last_record, mut last_line) = (Instant::now(), Instant::now());
    let (mut line_records, mut line_bytes, mut line_join_ms) = (0, 0, join_ms);
    while records < wanted {
        let timeout = Duration::from_millis(options.timeout);
        if last_record.elapsed() > timeout {
            let _ = writeln!(
                err,
                "WARNING: Exiting before consuming the expected number of messages: timeout ({} ms) exceeded. You can use \
                 the --timeout option to increase the timeout.",
                options.timeout
            );
            break;
        }
        let found = reader.poll(Duration::from_millis(100), |key, value| {
            bytes += (key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len)) as u64;
        })?;
        records += found;
        if found > 0 {
            last_record = Instant::now();
        }
        let elapsed = last_line.elapsed();
        if options.show_detailed_stats && elapsed.as_millis() as u64 >= options.reporting_interval {
            let ms = elapsed.as_millis() as u64;
            let mb = (bytes - line_bytes) as f64 / MB;
            let fetch_ms = ms.saturating_sub(line_join_ms);
            let text = format!(
                "{}, 0, {:.4}, {}, {records}, {}, {line_join_ms}, {fetch_ms}, {}, {}",
                formatted(&options.date_format, unix_ms()),
                bytes as f64 / MB,
                four(mb * 1000.0 / ms as f64),
                four((records - line_records) as f64 * 1000.0 / ms as f64),
                four(mb * 1000.0 / fetch_ms as f64),
                four((records - line_records) as f64 * 1000.0 / fetch_ms as f64),
            );
            line(out, &text)?;
            (line_records, line_bytes, line_join_ms, last_line) = (records, bytes, 0, Instant::now());
        }
    }
    let total_ms = started.elapsed().as_millis() as u64;
    if !options.show_detailed_stats {
        let (seconds, fetch_ms) = (total_ms as f64 / 1000.0, total_ms.saturating_sub(join_ms));
        let mb = bytes as f64 / MB;
        let text = format!(
            "{}, {}, {mb:.4}, {}, {records}, {}, {join_ms}, {fetch_ms}, {}, {}",
            formatted(&options.date_format, start_unix_ms),
            formatted(&options.date_format, start_unix_ms + total_ms),
            four(mb / seconds),
            four(records as f64 / seconds),
            four(mb / (fetch_ms as f64 / 1000.0)),
            four(records as f64 / (fetch_ms as f64 / 1000.0)),
        );
        line(out, &text)?;
    }
    out.flush()?;
    if options.print_metrics {
        let _ = writeln!(err, "records {records}, bytes {bytes}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_java_writes_them() {
        // 2026-11-25T04:05:06.007Z
        let ms = 1_795_579_506_007;
        assert_eq!(formatted("yyyy-MM-dd HH:mm:ss:SSS", ms), "2026-11-25 04:05:06:007");
        assert_eq!(formatted("d.M.yy 'at' H", ms), "25.11.26 at 4");
        assert_eq!(date_of(0), (1970, 1, 1));
        assert_eq!(date_of(11_016), (2000, 2, 29));
        assert_eq!([four(f64::NAN), four(1.0 / 0.0), four(2.0)], ["NaN", "Infinity", "2.0000"]);
    }
}
