//! `ringdaw console-producer`: writes the lines of standard input to a topic, as kafka-console-producer.sh of Kafka 3.9 does.
//!
//! In: Kafka's arguments (those of 1.0, too), lines, a broker of any make. Out: records; with `parse.key` and
//! `parse.headers` a line has more than a value. Ends with 1 where arguments are wrong, a line cannot be taken apart, or a
//! record was refused; Kafka's tool ends with 0 in the last case, after it has logged it.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Parser;

use super::perf::producer::{Acks, Producer, ProducerSettings};
use super::settings::Settings;
use super::{Ended, failed, read_options};

/// Write lines of standard input to a topic (the arguments of kafka-console-producer.sh)
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub struct ConsoleProducerArgs {
    /// See `console-producer --help`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTION")]
    arguments: Vec<OsString>,
}

/// Write the lines of standard input to a topic. Speaks to this broker and to Kafka's own.
#[derive(Parser, Debug)]
#[command(
    name = "console-producer",
    no_binary_name = true,
    infer_long_args = true,
    args_override_self = true,
    version,
    disable_version_flag = true,
    override_usage = "console-producer --bootstrap-server HOST:PORT --topic TOPIC [OPTIONS]",
    max_term_width = 100
)]
struct Options {
    /// The broker to connect to; several with commas between them
    #[arg(long, value_name = "HOST:PORT")]
    bootstrap_server: Option<String>,
    /// As --bootstrap-server
    #[arg(long, value_name = "HOST:PORT", hide = true)]
    broker_list: Option<String>,
    /// The topic
    #[arg(long)]
    topic: Option<String>,
    /// Wait for each record's acknowledgement before the next is sent
    #[arg(long)]
    sync: bool,
    /// none, gzip, snappy, lz4 or zstd; without a value gzip
    #[arg(long, value_name = "CODEC", num_args = 0..=1)]
    compression_codec: Option<Option<String>>,
    /// Bytes of a batch
    #[arg(long, value_name = "BYTES")]
    batch_size: Option<i64>,
    /// The same
    #[arg(long, value_name = "BYTES")]
    max_partition_memory_bytes: Option<i64>,
    /// Bytes of records that wait
    #[arg(long, value_name = "BYTES")]
    max_memory_bytes: Option<i64>,
    /// Milliseconds a batch waits for more
    #[arg(long, value_name = "MS")]
    timeout: Option<i64>,
    /// -1, 0, 1 or all
    #[arg(long, value_name = "ACKS", allow_hyphen_values = true)]
    request_required_acks: Option<String>,
    /// Milliseconds the broker may take
    #[arg(long, value_name = "MS")]
    request_timeout_ms: Option<i64>,
    /// How the lines are read: LineMessageReader
    #[arg(long, value_name = "CLASS")]
    line_reader: Option<String>,
    /// A property of the reader, such as parse.key=true; may be given several times
    #[arg(long, value_name = "KEY=VALUE", action = clap::ArgAction::Append)]
    property: Vec<String>,
    /// Properties of the reader from a file
    #[arg(long, value_name = "FILE")]
    reader_config: Option<PathBuf>,
    /// A producer setting; may be given several times
    #[arg(long, value_name = "KEY=VALUE", action = clap::ArgAction::Append)]
    producer_property: Vec<String>,
    /// Producer settings from a file
    #[arg(long = "producer.config", value_name = "FILE")]
    producer_config: Option<PathBuf>,
    /// Show the version
    #[arg(long)]
    version: bool,

    // Taken, and without a meaning here.
    #[arg(long, hide = true)]
    message_send_max_retries: Option<i64>,
    #[arg(long, hide = true)]
    retry_backoff_ms: Option<i64>,
    #[arg(long, hide = true)]
    metadata_expiry_ms: Option<i64>,
    #[arg(long, hide = true)]
    max_block_ms: Option<i64>,
    #[arg(long, hide = true)]
    socket_buffer_size: Option<i64>,
    #[arg(long, hide = true)]
    queue_size: Option<i64>,
    #[arg(long, hide = true)]
    queue_enqueuetimeout_ms: Option<i64>,
    #[arg(long, hide = true)]
    key_serializer: Option<String>,
    #[arg(long, hide = true)]
    value_serializer: Option<String>,
}

pub fn run(args: ConsoleProducerArgs) -> ExitCode {
    let err = &mut io::stderr();
    let asked = match parse(&args.arguments) {
        Ok(asked) => asked,
        Err(Ended::Shown(text)) => {
            println!("{text}");
            return ExitCode::SUCCESS;
        }
        Err(Ended::Failed(message)) => {
            let usage = <Options as clap::CommandFactory>::command().render_help();
            let _ = writeln!(err, "{message}\n\n{usage}");
            return ExitCode::FAILURE;
        }
    };
    match write(&asked) {
        Ok((0, _)) => ExitCode::SUCCESS,
        Ok((count, why)) => {
            let (topic, why) = (&asked.topic, why.unwrap_or_default());
            let _ =
                writeln!(err, "ERROR Error when sending {count} messages to topic {topic} with error: {why}");
            ExitCode::FAILURE
        }
        Err(ended) => {
            let _ = writeln!(err, "{ended}");
            ExitCode::FAILURE
        }
    }
}

struct Asked {
    bootstrap: String,
    topic: String,
    sync: bool,
    linger: Duration,
    settings: ProducerSettings,
    reader: LineReader,
}

fn parse(arguments: &[OsString]) -> Result<Asked, Ended> {
    let options: Options = read_options(
        arguments,
        Some("This tool helps to read data from standard input and publish it to Kafka."),
    )?;
    if options.version {
        return Err(Ended::Shown(env!("CARGO_PKG_VERSION").to_owned()));
    }
    let Some(bootstrap) = options.bootstrap_server.or(options.broker_list) else {
        return failed("Missing required option(s) [bootstrap-server]");
    };
    let Some(topic) = options.topic else { return failed("Missing required argument \"[topic]\"") };
    let reader = options.line_reader.as_deref().unwrap_or("LineMessageReader");
    if !reader.ends_with("LineMessageReader") {
        return failed(format!("{reader}: no such reader; there is LineMessageReader"));
    }
    let mut settings = Settings::read(options.producer_config.as_deref(), &options.producer_property)?;
    let codec = match options.compression_codec {
        None => Some("none".to_owned()),
        Some(None) => Some("gzip".to_owned()),
        Some(Some(codec)) => Some(codec),
    };
    let numbers = |number: Option<i64>| number.map(|number| number.to_string());
    // What was given on the command line wins, then the properties, then the tool's own defaults.
    let merged = [
        ("compression.type", codec, None),
        ("linger.ms", numbers(options.timeout), Some("1000")),
        ("acks", options.request_required_acks, Some("-1")),
        ("request.timeout.ms", numbers(options.request_timeout_ms), Some("1500")),
        ("buffer.memory", numbers(options.max_memory_bytes), Some("33554432")),
        ("batch.size", numbers(options.max_partition_memory_bytes.or(options.batch_size)), Some("16384")),
    ];
    for (key, given, default) in merged {
        let value = given.or_else(|| default.filter(|_| settings.text(key).is_none()).map(str::to_owned));
        if let Some(value) = value {
            settings.set(key, &value);
        }
    }
    let linger = Duration::from_millis(settings.number("linger.ms", 1000, 0..=3_600_000)? as u64);
    let properties: Vec<String> = options
        .property
        .into_iter()
        .map(|word| if word.contains('=') { word } else { format!("{word}=") })
        .collect();
    let reader = LineReader::new(&Settings::read_verbatim(options.reader_config.as_deref(), &properties)?)?;
    Ok(Asked {
        bootstrap,
        topic,
        sync: options.sync,
        linger,
        settings: ProducerSettings::of(&settings)?,
        reader,
    })
}

/// How a line is taken apart.
#[derive(Debug)]
struct LineReader {
    parse_key: bool,
    parse_headers: bool,
    ignore_error: bool,
    key_separator: String,
    headers_delimiter: String,
    headers_separator: String,
    headers_key_separator: String,
    null_marker: Option<String>,
}

/// Name and value of a header.
type Header<'a> = (&'a str, Option<&'a [u8]>);

/// A record as a line says it.
#[derive(Debug, PartialEq, Eq)]
struct Line<'a> {
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
    headers: Vec<Header<'a>>,
}

impl LineReader {
    fn new(settings: &Settings) -> Result<LineReader, Ended> {
        let flag =
            |key: &str| settings.text(key).is_some_and(|text| text.trim().eq_ignore_ascii_case("true"));
        let text = |key: &str, default: &str| settings.text(key).unwrap_or(default).to_owned();
        let reader = LineReader {
            parse_key: flag("parse.key"),
            parse_headers: flag("parse.headers"),
            ignore_error: flag("ignore.error"),
            key_separator: text("key.separator", "\t"),
            headers_delimiter: text("headers.delimiter", "\t"),
            headers_separator: text("headers.separator", ","),
            headers_key_separator: text("headers.key.separator", ":"),
            null_marker: settings.text("null.marker").map(str::to_owned),
        };
        let same = |one: &str, other: &str, names: &str| {
            if one == other { failed(format!("{names} may not be equal")) } else { Ok(()) }
        };
        same(
            &reader.headers_separator,
            &reader.headers_key_separator,
            "headers.separator and headers.key.separator",
        )?;
        if reader.parse_headers {
            same(
                &reader.headers_delimiter,
                &reader.headers_separator,
                "headers.delimiter and headers.separator",
            )?;
            same(
                &reader.headers_delimiter,
                &reader.headers_key_separator,
                "headers.delimiter and headers.key.separator",
            )?;
        }
        Ok(reader)
    }

    fn read<'a>(&self, line: &'a [u8], number: u64) -> Result<Line<'a>, Ended> {
        let shown = || String::from_utf8_lossy(line).into_owned();
        let mut rest = line;
        // Takes what stands before a separator; with ignore.error a line without it is all value.
        let mut front = |separator: &str, demand: &str| -> Result<Option<&'a [u8]>, Ended> {
            match find(rest, separator.as_bytes()) {
                Some(at) => {
                    let (taken, after) = rest.split_at(at);
                    rest = &after[separator.len()..];
                    Ok(Some(taken))
                }
                None if self.ignore_error => Ok(None),
                None => failed(format!("No {demand} found on line number {number}: '{}'", shown())),
            }
        };
        let headers =
            if self.parse_headers { front(&self.headers_delimiter, "headers delimiter")? } else { None };
        let key = if self.parse_key { front(&self.key_separator, "key separator")? } else { None };
        let headers = match headers {
            Some(bytes) if self.null_marker.as_deref().is_none_or(|null| null.as_bytes() != bytes) => {
                self.headers(bytes, number)?
            }
            Some(_) | None => Vec::new(),
        };
        let or_null = |bytes: &'a [u8]| {
            let is_null = self.null_marker.as_deref().is_some_and(|null| null.as_bytes() == bytes);
            (!is_null).then_some(bytes)
        };
        Ok(Line { key: key.and_then(or_null), value: or_null(rest), headers })
    }

    fn headers<'a>(&self, bytes: &'a [u8], number: u64) -> Result<Vec<Header<'a>>, Ended> {
        let wrong = |pair: &[u8]| {
            Ended::Failed(format!(
                "No header key separator found in pair '{}' on line number {number}",
                String::from_utf8_lossy(pair)
            ))
        };
        let mut headers = Vec::new();
        let mut rest = Some(bytes);
        while let Some(left) = rest {
            let pair = match find(left, self.headers_separator.as_bytes()) {
                Some(at) => {
                    rest = Some(&left[at + self.headers_separator.len()..]);
                    &left[..at]
                }
                None => {
                    rest = None;
                    left
                }
            };
            let Some(at) = find(pair, self.headers_key_separator.as_bytes()) else {
                if self.ignore_error {
                    headers.push((std::str::from_utf8(pair).map_err(|_| wrong(pair))?, None));
                    continue;
                }
                return Err(wrong(pair));
            };
            let name = std::str::from_utf8(&pair[..at]).map_err(|_| wrong(pair))?;
            let value = &pair[at + self.headers_key_separator.len()..];
            let is_null = self.null_marker.as_deref().is_some_and(|null| null.as_bytes() == value);
            headers.push((name, (!is_null).then_some(value)));
        }
        Ok(headers)
    }
}

fn find(bytes: &[u8], separator: &[u8]) -> Option<usize> {
    match separator {
        [] => None,
        [one] => bytes.iter().position(|byte| byte == one),
        many => bytes.windows(many.len()).position(|window| window == many),
    }
}

/// Nobody is told of single records here.
struct Untold;

impl Acks for Untold {
    fn acked(&mut self, _: &[(u64, u64)], _: u64) {}
}

/// Blocks of whole lines.
type Block = io::Result<Vec<u8>>;

/// Reads standard input apart from the producer, which has batches to send while nothing comes.
fn read_blocks(mut input: impl Read, blocks: &SyncSender<Block>) {
    const BLOCK_BYTES: usize = 1 << 16;
    let mut held = Vec::new();
    loop {
        let start = held.len();
        held.resize(start + BLOCK_BYTES, 0);
        match input.read(&mut held[start..]) {
            Ok(0) => {
                held.truncate(start);
                if !held.is_empty() {
                    let _ = blocks.send(Ok(held));
                }
                return;
            }
            Ok(count) => {
                held.truncate(start + count);
                let Some(end) = held[start..].iter().rposition(|byte| *byte == b'\n') else { continue };
                let rest = held.split_off(start + end + 1);
                // Fails only when the producer has ended, which says why itself.
                if blocks.send(Ok(std::mem::replace(&mut held, rest))).is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => held.truncate(start),
            Err(error) => {
                let _ = blocks.send(Err(error));
                return;
            }
        }
    }
}

fn write(asked: &Asked) -> Result<(u64, Option<String>), Ended> {
    let acks = Arc::new(Mutex::new(Untold));
    let mut producer = Producer::connect(&asked.bootstrap, &asked.topic, asked.settings.clone(), acks)?;
    let (sender, blocks): (_, Receiver<Block>) = sync_channel(4);
    let spawned = std::thread::Builder::new().name("lines".to_owned());
    // It ends with the process: a read of a terminal cannot be broken off.
    spawned.spawn(move || read_blocks(io::stdin().lock(), &sender))?;
    let mut number = 0;
    loop {
        let block = match blocks.recv_timeout(asked.linger.max(Duration::from_millis(1))) {
            Ok(block) => block?,
            Err(RecvTimeoutError::Timeout) => {
                producer.flush()?;
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => break,
        };
        for line in block.split_inclusive(|byte| *byte == b'\n') {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            number += 1;
            let record = match asked.reader.read(line, number) {
                Ok(record) => record,
                Err(error) => {
                    // What was read before is sent, as Kafka's tool does.
                    producer.close()?;
                    return Err(error);
                }
            };
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            let timestamp_ms = now.map_or(0, |since| since.as_millis() as i64);
            producer.send_whole(record.key, record.value, &record.headers, timestamp_ms)?;
            if asked.sync {
                producer.flush()?;
                let refused = producer.refused();
                if refused.0 > 0 {
                    return Ok(refused);
                }
            }
        }
    }
    producer.close()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(properties: &[&str]) -> LineReader {
        let words: Vec<String> = properties.iter().map(|word| (*word).to_owned()).collect();
        LineReader::new(&Settings::read_verbatim(None, &words).unwrap()).unwrap()
    }

    #[test]
    fn a_line_is_headers_key_and_value_as_the_properties_say() {
        let plain = reader(&[]);
        let line = plain.read(b"a\tb", 1).unwrap();
        assert_eq!((line.key, line.value), (None, Some(&b"a\tb"[..])));
        let keyed = reader(&["parse.key=true", "key.separator=::"]);
        let line = keyed.read(b"k::v::w", 1).unwrap();
        assert_eq!((line.key, line.value), (Some(&b"k"[..]), Some(&b"v::w"[..])));
        assert_eq!(
            keyed.read(b"kv", 7).unwrap_err().to_string(),
            "No key separator found on line number 7: 'kv'"
        );
        let whole = reader(&["parse.key=true", "parse.headers=true", "null.marker=NULL"]);
        let line = whole.read(b"h1:v1,h2:NULL\tNULL\tNULL", 1).unwrap();
        assert_eq!((line.key, line.value), (None, None));
        assert_eq!(line.headers, [("h1", Some(&b"v1"[..])), ("h2", None)]);
        assert_eq!(
            whole.read(b"h1\tk\tv", 2).unwrap_err().to_string(),
            "No header key separator found in pair 'h1' on line number 2"
        );
        let lenient = reader(&["parse.key=true", "ignore.error=true"]);
        assert_eq!(lenient.read(b"kv", 1).unwrap().value, Some(&b"kv"[..]));
    }

    #[test]
    fn blocks_end_with_a_line_and_the_last_one_needs_no_line_end() {
        let (sender, blocks) = sync_channel(100);
        let text: Vec<u8> = (0..30_000).flat_map(|n| format!("{n}\n").into_bytes()).chain(*b"end").collect();
        read_blocks(&text[..], &sender);
        drop(sender);
        let all: Vec<Vec<u8>> = blocks.iter().map(|block| block.unwrap()).collect();
        assert!(all.len() > 1 && all[..all.len() - 1].iter().all(|block| block.ends_with(b"\n")));
        assert_eq!(all.concat(), text);
    }
}
