//! `ringdaw delete-records`: moves the beginning of partitions, as kafka-delete-records.sh of Kafka 3.9 does.
//!
//! In: a JSON file with an offset for each partition. Out: a line for each with its new beginning, or why it stays. A
//! partition that nobody leads is reported at once, where Kafka's tool tries for a minute.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use super::{
    AdminArgs, Failure, Streams, failed, missing, partitions_of_json, patience, twice, whole_number,
};
use crate::tools::client::Client;
use crate::tools::cluster::{TopicPartition, by_topic};
use crate::tools::java;
use crate::wire::error_code::ErrorCode;
use crate::wire::message::delete_records::{
    DeleteRecordsRequest, DeleteRecordsRequestTopic, DeleteRecordsRequestTopicPartition,
};

/// Delete records before an offset. Speaks to this broker and to Kafka's own.
#[derive(Parser, Debug)]
#[command(
    name = "delete-records",
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
    /// {"partitions": [{"topic": "foo", "partition": 1, "offset": 1}], "version": 1}; offset -1 means all records
    #[arg(long, value_name = "FILE")]
    offset_json_file: Option<PathBuf>,
    /// A properties file for the client
    #[arg(long, value_name = "FILE")]
    command_config: Option<PathBuf>,
}

pub fn run(args: &AdminArgs) -> ExitCode {
    let about = "This tool helps to delete records of the given partitions down to the specified offset.";
    super::run(args, about, "", execute)
}

fn execute(options: &Options, streams: &mut Streams<'_>) -> Result<(), Failure> {
    let Some(bootstrap) = &options.bootstrap_server else { return missing("bootstrap-server") };
    let Some(path) = &options.offset_json_file else { return missing("offset-json-file") };
    let timeout = patience(options.command_config.as_deref(), 60_000)?;
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::Command(format!("{}: {error}", path.display())))?;
    let mut rows = parse(&text)?;
    java::in_hash_order(&mut rows, |(at, _)| java::topic_partition_hash(&at.topic, at.partition));
    let mut client = Client::connect(bootstrap, timeout)?;
    writeln!(streams.out, "Executing records delete operation")?;
    let outcome = delete(&mut client, &rows, timeout.as_millis() as i32)?;
    writeln!(streams.out, "Records delete operation completed:")?;
    for (at, _) in rows {
        match outcome.get(&at).copied().unwrap_or(Err(ErrorCode::UnknownTopicOrPartition as i16)) {
            Ok(low) => writeln!(streams.out, "partition: {at}\tlow_watermark: {low}")?,
            Err(code) => writeln!(streams.out, "partition: {at}\terror: {}", java::exception(code))?,
        }
    }
    Ok(())
}

fn parse(text: &str) -> Result<Vec<(TopicPartition, i64)>, Failure> {
    let Ok(document) = serde_json::from_str::<serde_json::Value>(text) else {
        return failed("The input string is not a valid JSON");
    };
    match document.get("version") {
        None => {}
        Some(version) if version.as_i64() == Some(1) => {}
        Some(version) => return failed(format!("Not supported version field value {version}")),
    }
    let rows = partitions_of_json(&document, "Missing partitions field", |row| whole_number(row, "offset"))?;
    match twice(&rows) {
        Some(names) => failed(format!("Offset json file contains duplicate topic partitions: {names}")),
        None => Ok(rows),
    }
}

/// The new beginning of each partition, or its error code; those without a leader are left out.
fn delete(
    client: &mut Client,
    rows: &[(TopicPartition, i64)],
    timeout_ms: i32,
) -> Result<HashMap<TopicPartition, Result<i64, i16>>, Failure> {
    let mut names: Vec<&str> = rows.iter().map(|(at, _)| &*at.topic).collect();
    names.sort_unstable();
    names.dedup();
    let leaders = client.leaders(&names, false)?;
    let mut by_leader: HashMap<&str, Vec<(TopicPartition, i64)>> = HashMap::new();
    for (at, offset) in rows {
        let topic = leaders.get(&at.topic).and_then(|found| found.as_ref().ok());
        if let Some(Some(address)) = topic.and_then(|topic| topic.leaders.get(&at.partition)) {
            by_leader.entry(address).or_default().push((at.clone(), *offset));
        }
    }
    let mut outcome = HashMap::new();
    for (address, partitions) in by_leader {
        let topics = by_topic(partitions);
        let topics = topics.iter().map(|(name, partitions)| DeleteRecordsRequestTopic {
            name,
            partitions: partitions
                .iter()
                .map(|(partition_index, offset)| DeleteRecordsRequestTopicPartition {
                    partition_index: *partition_index,
                    offset: *offset,
                })
                .collect(),
        });
        let request = DeleteRecordsRequest { topics: topics.collect(), timeout_ms };
        client.to(address)?.call(&request, |response| {
            for topic in &response.topics {
                for p in &topic.partitions {
                    let answer = if p.error_code == 0 { Ok(p.low_watermark) } else { Err(p.error_code) };
                    outcome.insert(TopicPartition::new(&*topic.name, p.partition_index), answer);
                }
            }
        })?;
    }
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_file_is_said_in_kafkas_words() {
        let wrong = |text: &str| match parse(text) {
            Err(Failure::Command(message) | Failure::Usage(message)) => message,
            Ok(rows) => panic!("{text} is taken as {rows:?}"),
        };
        assert_eq!(wrong("nonsense"), "The input string is not a valid JSON");
        assert_eq!(wrong("{}"), "Missing partitions field");
        assert_eq!(wrong(r#"{"version": 2, "partitions": []}"#), "Not supported version field value 2");
        let row = r#"{"topic": "t", "partition": 0, "offset": 1}"#;
        assert_eq!(
            wrong(&format!(r#"{{"partitions": [{row}, {row}]}}"#)),
            "Offset json file contains duplicate topic partitions: t-0"
        );
        assert_eq!(wrong(r#"{"partitions": [{"topic": "t"}]}"#), "No such field exists: `partition`");
        let rows = parse(&format!(r#"{{"partitions": [{row}], "version": 1}}"#)).unwrap();
        assert_eq!(rows, [(TopicPartition::new("t", 0), 1)]);
    }
}
