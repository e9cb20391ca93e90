//! The smaller administrative tools, one file each: what they share is how arguments are read and how a command ends.
//!
//! In: Kafka's arguments. Out: what the tool writes, and an exit code: 0, or 1 with one sentence on the error stream in
//! Kafka's words. Where Kafka's tools add a stack trace, these end with the sentence.

pub mod broker_api_versions;
pub mod cluster;
pub mod configs;
pub mod delete_records;
pub mod features;
pub mod get_offsets;
pub mod leader_election;
pub mod log_dirs;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::Value;

use super::client::ClientError;
use super::cluster::TopicPartition;
use super::settings::Settings;
use super::{Ended, kafkas_words};

/// The arguments of a tool, read by its own parser.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub struct AdminArgs {
    /// See `--help` of the tool
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTION")]
    arguments: Vec<OsString>,
}

/// Why a command ends with 1.
#[derive(Debug)]
enum Failure {
    /// The arguments do not make a command: shown with the usage.
    Usage(String),
    Command(String),
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Failure {
        Failure::Command(error.to_string())
    }
}

impl From<Ended> for Failure {
    fn from(error: Ended) -> Failure {
        Failure::Command(error.to_string())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Command(format!("the output cannot be written: {error}"))
    }
}

fn failed<T>(text: impl Into<String>) -> Result<T, Failure> {
    Err(Failure::Command(text.into()))
}

fn missing<T>(option: &str) -> Result<T, Failure> {
    Err(Failure::Usage(format!("Missing required argument \"[{option}]\"")))
}

/// Where answers and warnings go.
struct Streams<'a> {
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
}

/// Reads the arguments and carries the command out. `about` is what Kafka's tool says when there are none, `before` what
/// stands in front of a failure.
fn run<T: clap::Parser>(
    args: &AdminArgs,
    about: &str,
    before: &str,
    execute: impl FnOnce(&T, &mut Streams<'_>) -> Result<(), Failure>,
) -> ExitCode {
    let (out, err) = (&mut io::stdout().lock(), &mut io::stderr().lock());
    let result = if args.arguments.is_empty() {
        Err(Failure::Usage(about.to_owned()))
    } else {
        match T::try_parse_from(&args.arguments) {
            Ok(options) => execute(&options, &mut Streams { out, err }),
            Err(error) => match error.kind() {
                clap::error::ErrorKind::DisplayHelp | clap::error::ErrorKind::DisplayVersion => {
                    return ExitCode::from(u8::from(write!(out, "{error}").is_err()));
                }
                _ => Err(Failure::Command(kafkas_words(&error))),
            },
        }
    };
    let said = match result.and_then(|()| Ok(out.flush()?)) {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Usage(message)) => writeln!(err, "{message}\n\n{}", T::command().render_help()),
        Err(Failure::Command(message)) => out.flush().and_then(|()| writeln!(err, "{before}{message}")),
    };
    // An error stream that is gone cannot be told of; the exit code is 1 either way.
    drop(said);
    ExitCode::FAILURE
}

/// How long answers may take, by the properties of a client.
fn patience(file: Option<&Path>, default_ms: u64) -> Result<Duration, Failure> {
    Ok(Settings::read(file, &[])?.call_timeout(default_ms)?)
}

/// The `partitions` of a JSON document, each with `topic`, `partition` and whatever `more` reads of it. `absent` is said
/// when the document has none.
fn partitions_of_json<T>(
    document: &Value,
    absent: &str,
    more: impl Fn(&serde_json::Map<String, Value>) -> Result<T, Failure>,
) -> Result<Vec<(TopicPartition, T)>, Failure> {
    let Some(object) = document.as_object() else {
        return failed(format!("Expected JSON object, received {document}"));
    };
    let Some(rows) = object.get("partitions") else { return failed(absent) };
    let Some(rows) = rows.as_array() else { return failed(format!("Expected JSON array, received {rows}")) };
    let rows = rows.iter().map(|row| {
        let Some(row) = row.as_object() else {
            return failed(format!("Expected JSON object, received {row}"));
        };
        let topic = field(row, "topic")?;
        let Some(name) = topic.as_str() else {
            return failed(format!("Expected `String` value, received {topic}"));
        };
        Ok((TopicPartition::new(name, whole_number(row, "partition")?), more(row)?))
    });
    rows.collect()
}

fn field<'v>(row: &'v serde_json::Map<String, Value>, name: &str) -> Result<&'v Value, Failure> {
    row.get(name).map_or_else(|| failed(format!("No such field exists: `{name}`")), Ok)
}

fn whole_number<N: TryFrom<i64>>(row: &serde_json::Map<String, Value>, name: &str) -> Result<N, Failure> {
    let value = field(row, name)?;
    let number = value.as_i64().and_then(|number| N::try_from(number).ok());
    number.map_or_else(|| failed(format!("Expected a whole number in `{name}`, received {value}")), Ok)
}

/// The partitions that are named more than once, with commas between them.
fn twice<T>(rows: &[(TopicPartition, T)]) -> Option<String> {
    let mut seen = std::collections::BTreeSet::new();
    let again: std::collections::BTreeSet<String> =
        rows.iter().filter(|(at, _)| !seen.insert(at)).map(|(at, _)| at.to_string()).collect();
    (!again.is_empty()).then(|| again.into_iter().collect::<Vec<_>>().join(","))
}
