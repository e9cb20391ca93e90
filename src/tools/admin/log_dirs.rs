//! `ringdaw log-dirs`: what lies in the log directories of brokers, as kafka-log-dirs.sh of Kafka 3.9 writes it.
//!
//! In: brokers and topics, all where none are named. Out: two lines, and one of JSON whose members stand in the order of
//! Java's tables.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use serde_json::{Map, Value, json};

use super::{AdminArgs, Failure, Streams, failed, missing, patience};
use crate::tools::client::{Client, ClientError};
use crate::tools::java;
use crate::wire::message::describe_log_dirs::{DescribeLogDirsRequest, DescribeLogDirsResponseResult};

/// Sizes of logs. Speaks to this broker and to Kafka's own.
#[derive(Parser, Debug)]
#[command(
    name = "log-dirs",
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
    /// Describe log directories: the only thing this tool does
    #[arg(long)]
    describe: bool,
    /// Only these topics
    #[arg(long, value_name = "TOPIC,...", default_value = "")]
    topic_list: String,
    /// Only these brokers
    #[arg(long, value_name = "ID,...", default_value = "")]
    broker_list: String,
    /// A properties file for the client
    #[arg(long, value_name = "FILE")]
    command_config: Option<PathBuf>,
}

pub fn run(args: &AdminArgs) -> ExitCode {
    let about = "This tool helps to query log directory usage on the specified brokers.";
    super::run(args, about, "", execute)
}

fn execute(options: &Options, streams: &mut Streams<'_>) -> Result<(), Failure> {
    let Some(bootstrap) = &options.bootstrap_server else { return missing("bootstrap-server") };
    if !options.describe {
        return missing("describe");
    }
    let words = |text: &str| {
        text.split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect::<BTreeSet<String>>()
    };
    let topics = words(&options.topic_list);
    let mut asked = BTreeSet::new();
    for word in words(&options.broker_list) {
        match word.parse::<i32>() {
            Ok(id) => asked.insert(id),
            Err(_) => return failed(format!("For input string: \"{word}\"")),
        };
    }
    let mut client = Client::connect(bootstrap, patience(options.command_config.as_deref(), 60_000)?)?;
    let mut brokers = client.brokers()?;
    let ids = |ids: &[i32]| ids.iter().map(i32::to_string).collect::<Vec<_>>().join(",");
    let all: Vec<i32> = brokers.iter().map(|broker| broker.id).collect();
    let strangers: Vec<i32> = asked.iter().copied().filter(|id| !all.contains(id)).collect();
    if !strangers.is_empty() {
        return failed(format!(
            "ERROR: The given brokers do not exist from --broker-list: {}. Current existent brokers: {}",
            ids(&strangers),
            ids(&all)
        ));
    }
    brokers.retain(|broker| asked.is_empty() || asked.contains(&broker.id));
    writeln!(streams.out, "Querying brokers for log directories information")?;
    let mut rows = Vec::new();
    for broker in &brokers {
        let directories = directories(&mut client, &broker.address(), &topics)?;
        let directories = directories.map_err(|code| Failure::Command(java::exception(code)))?;
        rows.push(object([("broker", json!(broker.id)), ("logDirs", directories)]));
    }
    let asked: Vec<i32> = brokers.iter().map(|broker| broker.id).collect();
    writeln!(streams.out, "Received log directory information from brokers {}", ids(&asked))?;
    writeln!(streams.out, "{}", object([("version", json!(1)), ("brokers", Value::Array(rows))]))?;
    Ok(())
}

/// The log directories of one broker, or why it does not tell.
fn directories(
    client: &mut Client,
    address: &str,
    topics: &BTreeSet<String>,
) -> Result<Result<Value, i16>, ClientError> {
    client.to(address)?.call(&DescribeLogDirsRequest { topics: None }, |response| {
        if response.error_code != 0 {
            return Err(response.error_code);
        }
        let mut results: Vec<_> = response.results.iter().collect();
        java::in_hash_order(&mut results, |result| java::string_hash(&result.log_dir));
        Ok(results.into_iter().map(|result| directory(result, topics)).collect())
    })
}

fn directory(result: &DescribeLogDirsResponseResult<'_>, topics: &BTreeSet<String>) -> Value {
    let wanted = result.topics.iter().filter(|topic| topics.is_empty() || topics.contains(&*topic.name));
    let mut logs: Vec<_> =
        wanted.flat_map(|topic| topic.partitions.iter().map(move |partition| (topic, partition))).collect();
    java::in_hash_order(&mut logs, |(topic, p)| java::topic_partition_hash(&topic.name, p.partition_index));
    let logs = logs.into_iter().map(|(topic, partition)| {
        object([
            ("partition", json!(format!("{}-{}", topic.name, partition.partition_index))),
            ("size", json!(partition.partition_size)),
            ("offsetLag", json!(partition.offset_lag)),
            ("isFuture", json!(partition.is_future_key)),
        ])
    });
    // Kafka names the class of the exception alone.
    let error = (result.error_code != 0).then(|| java::exception(result.error_code));
    let error = error.as_deref().map(|text| text.split(": ").next().unwrap_or_default());
    object([("logDir", json!(result.log_dir)), ("error", json!(error)), ("partitions", logs.collect())])
}

/// An object whose members stand in the order of Java's table.
fn object<const N: usize>(mut members: [(&str, Value); N]) -> Value {
    java::in_hash_order(&mut members, |(name, _)| java::string_hash(name));
    Value::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>())
}
