//! `end-to-end-latency`: Kafka's EndToEndLatency, one record at a time from send to read.
//!
//! In: its arguments, named or in the old order. Out: a running line every thousand records, average and percentiles.

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Parser;

use super::reader::{From, Reader};
use super::settings::{Settings, deprecated};
use super::topology::{self, Topology};
use super::{Ended, failed, read_options};
use crate::tools::client::Connection;
use crate::wire::batch_builder::BatchBuilder;
use crate::wire::compression::Codec;
use crate::wire::error_code::ErrorCode;
use crate::wire::message::produce::{ProduceRequest, ProduceRequestPartitionData, ProduceRequestTopicData};

/// How long a record may take to arrive.
const ARRIVE_MAX: Duration = Duration::from_secs(60);

/// Send a record, wait until it can be read, and so on; report how long that takes.
#[derive(Parser, Debug)]
#[command(
    name = "end-to-end-latency",
    no_binary_name = true,
    args_override_self = true,
    max_term_width = 100
)]
struct Options {
    /// The broker to connect to
    #[arg(long, value_name = "HOST:PORT")]
    bootstrap_server: String,
    /// The topic to write and read
    #[arg(long)]
    topic: String,
    /// How many records
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    num_records: u64,
    /// 1 or all
    #[arg(long)]
    producer_acks: String,
    /// Bytes of each value
    #[arg(long)]
    record_size: usize,
    /// Bytes of each key
    #[arg(long, default_value_t = 0)]
    record_key_size: usize,
    /// Headers of each record
    #[arg(long, default_value_t = 0)]
    num_headers: usize,
    /// Bytes of a header's key
    #[arg(long, default_value_t = 8)]
    record_header_key_size: usize,
    /// Bytes of a header's value
    #[arg(long, default_value_t = 8)]
    record_header_size: usize,
    /// Client settings from a file
    #[arg(long, value_name = "FILE")]
    command_config: Option<PathBuf>,
}

/// The old form, BROKERS TOPIC COUNT ACKS BYTES [FILE], in the words of the new one.
fn modern(arguments: &[OsString], err: &mut dyn Write) -> Result<Vec<OsString>, Ended> {
    let is_named = arguments.first().is_none_or(|first| first.to_string_lossy().starts_with('-'));
    if is_named {
        return Ok(arguments.to_vec());
    }
    const NAMES: [&str; 6] = [
        "--bootstrap-server",
        "--topic",
        "--num-records",
        "--producer-acks",
        "--record-size",
        "--command-config",
    ];
    if !(5..=6).contains(&arguments.len()) {
        return failed(
            "USAGE: end-to-end-latency broker_list topic num_messages producer_acks message_size_bytes [properties_file]",
        );
    }
    deprecated(err, "the form without names", "--bootstrap-server, --topic, ...");
    let named = NAMES.iter().zip(arguments).flat_map(|(name, value)| [OsString::from(name), value.clone()]);
    Ok(named.collect())
}

/// A double as Java's `println` writes it, in the range that latencies have.
fn java_double(value: f64) -> String {
    let shortest = format!("{value}");
    if shortest.contains('.') { shortest } else { format!("{shortest}.0") }
}

pub fn run(arguments: &[OsString], out: &mut dyn Write, err: &mut dyn Write) -> Result<(), Ended> {
    let arguments = modern(arguments, err)?;
    let options: Options = read_options(&arguments, None)?;
    let acks = match options.producer_acks.as_str() {
        "all" | "-1" => -1,
        "1" => 1,
        _ => return failed("Latency testing requires synchronous acknowledgement. Please use 1 or all"),
    };
    let settings = Settings::read(options.command_config.as_deref(), &[])?;
    settings.warn_of_unused(err);
    let topology: Topology = topology::find(&options.bootstrap_server, &options.topic)?;
    let mut writers = Vec::new();
    for address in &topology.brokers {
        writers.push(Connection::open(address, topology::TIMEOUT)?);
    }
    let mut reader = Reader::open(&options.bootstrap_server, &options.topic, From::End, 1_048_576)?;
    // Letters, as Kafka's tool makes them; the number of the record is in front where it fits.
    let mut value = vec![b'x'; options.record_size];
    let key = (options.record_key_size > 0).then(|| vec![b'k'; options.record_key_size]);
    let (header_key, header_value) =
        ("h".repeat(options.record_header_key_size), vec![b'v'; options.record_header_size]);
    let headers = vec![(header_key.as_str(), Some(&header_value[..])); options.num_headers];
    let mut latencies_ms = Vec::new();
    let mut sum_ns = 0u128;
    for number in 0..options.num_records {
        let text = format!("{number:016}");
        let shown = text.len().min(value.len());
        value[..shown].copy_from_slice(&text.as_bytes()[text.len() - shown..]);
        let partition = (number % topology.leaders.len() as u64) as usize;
        let begin = Instant::now();
        send(
            &mut writers[topology.leaders[partition]],
            &options.topic,
            partition,
            acks,
            key.as_deref(),
            &value,
            &headers,
        )?;
        let (mut found, mut same) = (0, true);
        while found == 0 {
            found = reader.poll(Duration::from_millis(100), |read_key, read| {
                same &= read == Some(&value[..]) && read_key == key.as_deref();
            })?;
            if found == 0 && begin.elapsed() > ARRIVE_MAX {
                return failed(format!(
                    "poll() timed out before finding a result (timeout:[{}])",
                    ARRIVE_MAX.as_millis()
                ));
            }
        }
        let elapsed = begin.elapsed();
        if found != 1 {
            return failed(format!(
                "Only one result was expected during this test. We found [{found}]. Is somebody else writing to {}?",
                options.topic
            ));
        }
        if !same {
            return failed("The message read did not match the message sent");
        }
        if number.is_multiple_of(1000) {
            writeln!(out, "{number}\t{}", java_double(elapsed.as_nanos() as f64 / 1000.0 / 1000.0))?;
        }
        sum_ns += elapsed.as_nanos();
        latencies_ms.push(elapsed.as_millis() as u64);
    }
    latencies_ms.sort_unstable();
    let at = |share: f64| latencies_ms[(latencies_ms.len() as f64 * share) as usize];
    writeln!(out, "Avg latency: {:.4} ms", sum_ns as f64 / options.num_records as f64 / 1e6)?;
    writeln!(out, "Percentiles: 50th = {}, 99th = {}, 99.9th = {}", at(0.5), at(0.99), at(0.999))?;
    out.flush()?;
    Ok(())
}

fn send(
    connection: &mut Connection,
    topic: &str,
    partition: usize,
    acks: i16,
    key: Option<&[u8]>,
    value: &[u8],
    headers: &[(&str, Option<&[u8]>)],
) -> Result<(), Ended> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let mut batch = BatchBuilder::new(Codec::None);
    batch.append(now.map_or(0, |since| since.as_millis() as i64), key, Some(value), headers);
    let bytes = batch.build();
    let data = ProduceRequestPartitionData { index: partition as i32, records: Some(&bytes) };
    let request = ProduceRequest {
        transactional_id: None,
        acks,
        timeout_ms: 30_000,
        topic_data: vec![ProduceRequestTopicData { name: topic, partition_data: vec![data].into() }].into(),
    };
    let error = connection.call(&request, |response| {
        response.responses.first().and_then(|topic| topic.partition_responses.first()).map(|p| p.error_code)
    })?;
    match error {
        Some(0) => Ok(()),
        Some(code) => failed(format!("{topic}-{partition}: {}", ErrorCode::from_code(code).message())),
        None => failed(format!("{topic}-{partition}: the broker's answer leaves it out")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_old_order_becomes_the_named_form() {
        let words = |text: &str| text.split(' ').map(OsString::from).collect::<Vec<_>>();
        let mut said = Vec::new();
        let arguments = modern(&words("h:9092 t 100 all 20"), &mut said).unwrap();
        let options: Options = read_options(&arguments, None).unwrap();
        assert_eq!((options.topic.as_str(), options.num_records, options.record_size), ("t", 100, 20));
        assert!(String::from_utf8(said).unwrap().contains("deprecated"));
        assert!(modern(&words("h:9092 t 100"), &mut Vec::new()).is_err());
    }

    #[test]
    fn doubles_have_a_point_as_in_java() {
        assert_eq!((java_double(1.0), java_double(0.53)), ("1.0".to_owned(), "0.53".to_owned()));
    }
}
