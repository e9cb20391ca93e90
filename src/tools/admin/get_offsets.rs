//! `ringdaw get-offsets`: first, last or timed offsets of partitions, as kafka-get-offsets.sh of Kafka 3.9 writes them.
//!
//! In: patterns of topics and partitions, and a time. Out: `topic:partition:offset` a line, in the order of the names. A
//! partition that cannot be asked is named on the error stream and left out, as one that has no such offset is.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use super::{AdminArgs, Failure, Streams, failed, patience};
use crate::tools::client::Client;
use crate::tools::cluster::{EARLIEST, LATEST, TopicPartition};
use crate::tools::{java, topics};
use crate::wire::error_code::ErrorCode;
use crate::wire::message::list_offsets::ListOffsetsRequest;

/// Offsets of partitions. Speaks to this broker and to Kafka's own.
#[derive(Parser, Debug)]
#[command(
    name = "get-offsets",
    no_binary_name = true,
    infer_long_args = true,
    args_override_self = true,
    version,
    max_term_width = 100
)]
struct Options {
    /// The broker to connect to; several with commas between them
    #[arg(long, value_name = "HOST:PORT")]
    bootstrap_server: Option<String>,
    /// As --bootstrap-server
    #[arg(long, hide = true)]
    broker_list: Option<String>,
    /// A regular expression for the name of the topic
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,
    /// Partitions, with commas between them
    #[arg(long, value_name = "0,1,...")]
    partitions: Option<String>,
    /// Topics with their partitions: a number, or a range without its end
    #[arg(long, value_name = "TOPIC:1,TOPIC:0-3,TOPIC:5-,...")]
    topic_partitions: Option<String>,
    /// A time in milliseconds; or -1, latest; -2, earliest; -3, max-timestamp; -4, earliest-local; -5, latest-tiered
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    time: Option<String>,
    /// A properties file for the client
    #[arg(long, value_name = "FILE")]
    command_config: Option<PathBuf>,
    /// Leave Kafka's own topics out
    #[arg(long)]
    exclude_internal_topics: bool,
}

pub fn run(args: &AdminArgs) -> ExitCode {
    let about = "An interactive shell for getting topic-partition offsets.";
    super::run(args, about, "Error occurred: ", execute)
}

/// One word of --topic-partitions, or all there is of --topic and --partitions.
struct Rule {
    topic: regex::Regex,
    partitions: Partitions,
}

enum Partitions {
    All,
    Listed(BTreeSet<i32>),
    /// From the first up to and without the second.
    Range(i32, i32),
}

impl Rule {
    fn allows(&self, topic: &str, partition: i32) -> bool {
        self.topic.is_match(topic)
            && match &self.partitions {
                Partitions::All => true,
                Partitions::Listed(numbers) => numbers.contains(&partition),
                Partitions::Range(from, to) => (*from..*to).contains(&partition),
            }
    }
}

fn rules(options: &Options) -> Result<Vec<Rule>, Failure> {
    let topic = |text: &str| topics::topic_pattern(text).map_err(Failure::Command);
    if let Some(words) = &options.topic_partitions {
        if options.topic.is_some() || options.partitions.is_some() {
            return failed("--topic-partitions cannot be used with --topic or --partitions");
        }
        return words.split(',').map(rule).collect();
    }
    let partitions = match options.partitions.as_deref() {
        None | Some("") => Partitions::All,
        Some(text) => {
            let numbers: Result<BTreeSet<i32>, _> = text.split(',').map(str::parse).collect();
            Partitions::Listed(numbers.map_err(|_| {
                Failure::Command(format!(
                    "--partitions expects a comma separated list of numeric partition ids, but received: {text}"
                ))
            })?)
        }
    };
    Ok(vec![Rule { topic: topic(options.topic.as_deref().unwrap_or(".*"))?, partitions }])
}

fn rule(word: &str) -> Result<Rule, Failure> {
    let invalid = || Failure::Command(format!("Invalid rule specification: {word}"));
    let (topic, partitions) = word.split_once(':').unwrap_or((word, ""));
    let number = |text: &str, none: i32| {
        if text.is_empty() { Ok(none) } else { text.parse::<u32>().map(|n| n as i32).map_err(|_| invalid()) }
    };
    let partitions = match partitions.split_once('-') {
        None if partitions.is_empty() => Partitions::All,
        None => Partitions::Listed([number(partitions, 0)?].into()),
        Some((from, to)) => Partitions::Range(number(from, 0)?, number(to, i32::MAX)?),
    };
    let topic = if topic.is_empty() { ".*" } else { topic };
    Ok(Rule { topic: topics::topic_pattern(topic).map_err(Failure::Command)?, partitions })
}

/// The timestamp that ListOffsets knows, and the version of it that does first.
fn timestamp(text: &str) -> Result<(i64, i16), Failure> {
    let timestamp = match text {
        "latest" => LATEST,
        "earliest" => EARLIEST,
        "max-timestamp" => -3,
        "earliest-local" => -4,
        "latest-tiered" => -5,
        other => match other.parse() {
            Ok(timestamp) => timestamp,
            Err(_) => {
                return failed(format!(
                    "Malformed time argument {other}. Please use -1 or latest / -2 or earliest / -3 or max-timestamp / \
                     -4 or earliest-local / -5 or latest-tiered, or a specified long format timestamp"
                ));
            }
        },
    };
    let since = match timestamp {
        -3 => 7,
        -4 => 8,
        -5 => 9,
        _ => 0,
    };
    Ok((timestamp, since))
}

fn execute(options: &Options, streams: &mut Streams<'_>) -> Result<(), Failure> {
    let Some(bootstrap) = options.bootstrap_server.as_ref().or(options.broker_list.as_ref()) else {
        return failed("Missing required option(s) [bootstrap-server]");
    };
    let (timestamp, since) = timestamp(options.time.as_deref().unwrap_or("latest"))?;
    let rules = rules(options)?;
    let mut client = Client::connect(bootstrap, patience(options.command_config.as_deref(), 60_000)?)?;
    let topics = client.all_topics()?;
    let named: Vec<&str> = topics
        .iter()
        .filter(|(_, is_internal)| !(*is_internal && options.exclude_internal_topics))
        .map(|(name, _)| &**name)
        .filter(|name| rules.iter().any(|rule| rule.topic.is_match(name)))
        .collect();
    let mut wanted = Vec::new();
    let found = client.leaders(&named, false)?;
    for name in named {
        match found.get(name) {
            Some(Ok(topic)) => {
                let numbers = topic.leaders.keys().copied();
                let numbers = numbers.filter(|number| rules.iter().any(|rule| rule.allows(name, *number)));
                wanted.extend(numbers.map(|number| TopicPartition::new(name, number)));
            }
            Some(Err(code)) => return failed(java::exception(*code)),
            // Deleted in the meantime.
            None => {}
        }
    }
    if wanted.is_empty() {
        return failed("Could not match any topic-partitions with the specified filters");
    }
    wanted.sort_by_key(TopicPartition::to_string);
    let is_known = client.any().version::<ListOffsetsRequest<'_>>()? >= since;
    let asked: Vec<(TopicPartition, i64)> = wanted.iter().map(|at| (at.clone(), timestamp)).collect();
    let offsets = if is_known { client.offsets(&asked, 0)? } else { Default::default() };
    for at in wanted {
        let missing = Err(ErrorCode::UnsupportedVersion as i16);
        match offsets.get(&at).copied().unwrap_or(missing) {
            Ok(-1) => {}
            Ok(offset) => writeln!(streams.out, "{}:{}:{offset}", at.topic, at.partition)?,
            Err(code) => writeln!(
                streams.err,
                "Skip getting offsets for topic-partition {at} due to error: {}",
                java::exception(code)
            )?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_a_topic_with_a_number_a_range_or_all_partitions() {
        let allowed = |word: &str| {
            let rule = rule(word).unwrap();
            (0..7).filter(|number| rule.allows("orders", *number)).collect::<Vec<i32>>()
        };
        assert_eq!(allowed("orders"), [0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(allowed("order"), [0; 0]);
        assert_eq!(allowed("ord.*:3"), [3]);
        assert_eq!(allowed(":1-3"), [1, 2]);
        assert_eq!(allowed("orders:5-"), [5, 6]);
        assert_eq!(allowed("orders:-2"), [0, 1]);
        assert!(rule("orders:x").is_err() && rule("orders:1:2").is_err());
    }

    #[test]
    fn a_time_is_a_name_or_a_number() {
        assert_eq!(timestamp("max-timestamp").unwrap(), (-3, 7));
        assert_eq!(timestamp("1700000000000").unwrap(), (1_700_000_000_000, 0));
        assert!(timestamp("yesterday").is_err());
    }
}
