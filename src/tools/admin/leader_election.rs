//! `ringdaw leader-election`: asks the controller for elections, as kafka-leader-election.sh of Kafka 3.9 does.
//!
//! In: one partition, a JSON file of them, or all. Out: which were elected, which were in office already, and, with exit
//! code 1, which could not be.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};

use super::{AdminArgs, Failure, Streams, failed, partitions_of_json, patience, twice};
use crate::tools::client::{Client, ClientError};
use crate::tools::cluster::{TopicPartition, by_topic};
use crate::tools::java;
use crate::wire::error_code::ErrorCode;
use crate::wire::message::elect_leaders::{ElectLeadersRequest, ElectLeadersRequestTopicPartition};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Election {
    Preferred,
    Unclean,
}

impl Election {
    fn name(self) -> &'static str {
        match self {
            Election::Preferred => "PREFERRED",
            Election::Unclean => "UNCLEAN",
        }
    }
}

/// Elect leaders of partitions. Speaks to this broker and to Kafka's own.
#[derive(Parser, Debug)]
#[command(
    name = "leader-election",
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
    /// preferred: the first of the replicas; unclean: any that is alive where none is in office
    #[arg(long, value_name = "TYPE", ignore_case = true)]
    election_type: Option<Election>,
    /// The topic of one partition
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,
    /// The number of that partition
    #[arg(long, value_name = "NUMBER")]
    partition: Option<i32>,
    /// {"partitions": [{"topic": "foo", "partition": 1}]}
    #[arg(long, value_name = "FILE")]
    path_to_json_file: Option<PathBuf>,
    /// All partitions that an election is for
    #[arg(long)]
    all_topic_partitions: bool,
    /// A properties file for the client
    #[arg(long = "admin.config", value_name = "FILE")]
    admin_config: Option<PathBuf>,
}

pub fn run(args: &AdminArgs) -> ExitCode {
    let about = "This tool attempts to elect a new leader for a set of topic partitions. The type of elections \
                 supported are preferred replicas and unclean replicas.";
    super::run(args, about, "", execute)
}

fn execute(options: &Options, streams: &mut Streams<'_>) -> Result<(), Failure> {
    let (Some(bootstrap), Some(election)) = (&options.bootstrap_server, options.election_type) else {
        let required = [
            ("bootstrap-server", options.bootstrap_server.is_none()),
            ("election-type", options.election_type.is_none()),
        ];
        let names: Vec<&str> = required.iter().filter(|(_, gone)| *gone).map(|(name, _)| *name).collect();
        return failed(format!("Missing required option(s): {}", names.join(", ")));
    };
    let partitions = chosen(options)?;
    let timeout = patience(options.admin_config.as_deref(), 30_000)?;
    let mut client = Client::connect(bootstrap, timeout)?;
    let outcome = elect(&mut client, election, partitions.as_deref(), timeout.as_millis() as i32)?;
    write(election, outcome, streams)
}

/// The partitions that arguments name; none means all.
fn chosen(options: &Options) -> Result<Option<Vec<TopicPartition>>, Failure> {
    let ways = [options.topic.is_some(), options.all_topic_partitions, options.path_to_json_file.is_some()];
    if ways.iter().filter(|given| **given).count() != 1 {
        return failed(
            "One and only one of the following options is required: topic, all-topic-partitions, path-to-json-file",
        );
    }
    match (&options.topic, options.partition, &options.path_to_json_file) {
        (Some(topic), Some(partition), _) => Ok(Some(vec![TopicPartition::new(topic, partition)])),
        (Some(_), None, _) => failed("Missing required option(s): partition"),
        (None, Some(_), _) => failed("Option partition is only allowed if topic is used"),
        (None, None, None) => Ok(None),
        (None, None, Some(path)) => {
            let text = std::fs::read_to_string(path)
                .map_err(|error| Failure::Command(format!("{}: {error}", path.display())))?;
            let Ok(document) = serde_json::from_str::<serde_json::Value>(&text) else {
                return failed("Replica election data is empty");
            };
            let absent = "Replica election data is missing \"partitions\" field";
            let rows = partitions_of_json(&document, absent, |_| Ok(()))?;
            if let Some(names) = twice(&rows) {
                return failed(format!("Replica election data contains duplicate partitions: [{names}]"));
            }
            Ok(Some(rows.into_iter().map(|(at, ())| at).collect()))
        }
    }
}

/// A partition with the error code of its election and what the controller said of it.
type Outcome = (TopicPartition, i16, Option<String>);

fn elect(
    client: &mut Client,
    election: Election,
    partitions: Option<&[TopicPartition]>,
    timeout_ms: i32,
) -> Result<Vec<Outcome>, Failure> {
    let topics = partitions.map(|all| by_topic(all.iter().map(|at| (at.clone(), ()))));
    let topics: Option<Vec<(String, Vec<i32>)>> = topics.map(|topics| {
        let numbers = |rows: Vec<(i32, ())>| rows.into_iter().map(|(number, ())| number).collect();
        topics.into_iter().map(|(name, rows)| (name, numbers(rows))).collect()
    });
    let (code, outcome) = client.until_answered(|client| {
        let asked = topics.as_ref().map(|topics| {
            let rows = topics.iter().map(|(topic, numbers)| ElectLeadersRequestTopicPartition {
                topic,
                partitions: numbers.clone().into(),
            });
            rows.collect()
        });
        let request =
            ElectLeadersRequest { election_type: election as i8, topic_partitions: asked, timeout_ms };
        let mut controller = client.controller()?;
        let (code, outcome) = controller.call(&request, |response| {
            let rows = response.replica_election_results.iter().flat_map(|topic| {
                topic.partition_result.iter().map(|p| {
                    let at = TopicPartition::new(&*topic.topic, p.partition_id);
                    (at, p.error_code, p.error_message.as_deref().map(str::to_owned))
                })
            });
            (response.error_code, rows.collect::<Vec<Outcome>>())
        })?;
        Ok(match ErrorCode::from_code(code) {
            again @ ErrorCode::NotController => {
                Err(ClientError::Refused { what: "the election".to_owned(), code: again })
            }
            _ => Ok((code, outcome)),
        })
    })?;
    match ErrorCode::from_code(code) {
        ErrorCode::None => Ok(outcome),
        ErrorCode::RequestTimedOut => failed("Timeout waiting for election results"),
        ErrorCode::ClusterAuthorizationFailed => failed("Not authorized to perform leader election"),
        _ => failed(java::exception(code)),
    }
}

fn write(election: Election, mut outcome: Vec<Outcome>, streams: &mut Streams<'_>) -> Result<(), Failure> {
    java::in_hash_order(&mut outcome, |(at, ..)| java::topic_partition_hash(&at.topic, at.partition));
    let names = |wanted: ErrorCode| {
        let rows = outcome.iter().filter(|(_, code, _)| *code == wanted as i16);
        rows.map(|(at, ..)| at.to_string()).collect::<Vec<_>>().join(", ")
    };
    let elected = names(ErrorCode::None);
    if !elected.is_empty() {
        let kind = election.name();
        writeln!(streams.out, "Successfully completed leader election ({kind}) for partitions {elected}")?;
    }
    let in_office = names(ErrorCode::ElectionNotNeeded);
    if !in_office.is_empty() {
        writeln!(streams.out, "Valid replica already elected for partitions {in_office}")?;
    }
    let mut failures = 0;
    for (at, code, message) in &outcome {
        if matches!(ErrorCode::from_code(*code), ErrorCode::None | ErrorCode::ElectionNotNeeded) {
            continue;
        }
        let general = java::exception(*code);
        let reason = match (message, general.split_once(": ")) {
            (Some(message), Some((class, _))) => format!("{class}: {message}"),
            _ => general,
        };
        let kind = election.name();
        writeln!(streams.out, "Error completing leader election ({kind}) for partition: {at}: {reason}")?;
        failures += 1;
    }
    if failures > 0 {
        return failed(format!("{failures} replica(s) could not be elected"));
    }
    Ok(())
}
