//! `ringdaw consumer-groups`: list, describe, reset and delete consumer groups, as kafka-consumer-groups.sh of Kafka 3.9.
//!
//! In: Kafka's arguments, and a broker of any make. Out: Kafka's columns and sentences on the same streams. A refusal that
//! Kafka's tool prints as an answer ends with 0 as there; wrong arguments end with 1.
//! Three differences: the last line ends as the others do; each row of a plan has a line of its own, which Kafka 3.9 lost
//! and 4.0 has again; and a cluster that cannot be asked ends with 1, where Kafka's tool prints a stack trace and ends
//! with 0.
//!
//! Reading order: `options`, this file, `describe`, `why`, `reset` with `moment`.

mod describe;
mod moment;
mod options;
mod reset;
mod why;

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use self::options::{Options, Parsed};
use super::client::{Client, ClientError};
use super::cluster::{TopicPartition, by_topic};
use super::java;
use super::settings::Settings;
use crate::wire::error_code::ErrorCode;
use crate::wire::message::delete_groups::DeleteGroupsRequest;
use crate::wire::message::list_groups::ListGroupsRequest;
use crate::wire::message::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};

/// List, describe, reset and delete consumer groups (the arguments of kafka-consumer-groups.sh)
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub struct ConsumerGroupsArgs {
    /// See `consumer-groups --help`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTION")]
    arguments: Vec<OsString>,
}

pub fn run(args: ConsumerGroupsArgs) -> ExitCode {
    let code = run_with(&args.arguments, &mut io::stdout().lock(), &mut io::stderr().lock());
    ExitCode::from(code)
}

/// Why the command ends with 1.
#[derive(Debug)]
enum Failure {
    /// The arguments do not make a command: shown with the usage.
    Usage(String),
    /// The command could not be carried out.
    Command(String),
}

impl Failure {
    /// The exception Java's client would name.
    fn of_code(code: i16) -> Failure {
        Failure::Command(java::exception(code))
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Failure {
        match error {
            ClientError::Refused { code, .. } => Failure::of_code(code as i16),
            other => Failure::Command(other.to_string()),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Command(format!("the output cannot be written: {error}"))
    }
}

/// Where answers and warnings go.
struct Streams<'a> {
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
}

impl Streams<'_> {
    /// A refusal that is an answer.
    fn error(&mut self, message: &str) -> io::Result<()> {
        writeln!(self.out, "\nError: {message}")
    }
}

/// The whole command; the exit code comes back.
fn run_with(arguments: &[OsString], out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let result = match options::parse(arguments, err) {
        Parsed::Options(options) => execute(&options, &mut Streams { out, err }),
        Parsed::Shown(text) => return u8::from(write!(out, "{text}").is_err()),
        Parsed::Wrong(message) => Err(Failure::Usage(message)),
    };
    let written = match result {
        Ok(()) => return u8::from(out.flush().is_err()),
        Err(Failure::Usage(message)) => {
            writeln!(err, "{message}\n\n{}", <Options as clap::CommandFactory>::command().render_help())
        }
        Err(Failure::Command(reason)) => {
            writeln!(out, "\nError: Executing consumer group command failed due to {reason}")
                .and_then(|()| out.flush())
                .and_then(|()| writeln!(err, "{reason}"))
        }
    };
    // An output stream that is gone cannot be told of; the exit code is 1 either way.
    drop(written);
    1
}

fn execute(options: &Options, streams: &mut Streams<'_>) -> Result<(), Failure> {
    let settings = Settings::read(options.command_config.as_deref(), &[]);
    let settings = settings.map_err(|error| Failure::Command(error.to_string()))?;
    let timeout = match options.timeout {
        Some(ms) => std::time::Duration::from_millis(ms.max(1)),
        None => settings.call_timeout(5000).map_err(|error| Failure::Command(error.to_string()))?,
    };
    let plan = reset::Plan::of(options)?;
    let mut client = Client::connect(options.bootstrap_server.as_deref().unwrap_or_default(), timeout)?;
    if options.list {
        list(&mut client, options, streams)
    } else if options.describe {
        match options.why {
            true => why::describe(&mut client, options, streams),
            false => describe::describe(&mut client, options, streams),
        }
    } else if options.delete {
        delete(&mut client, options, streams)
    } else if options.delete_offsets {
        delete_offsets(&mut client, options, streams)
    } else {
        reset::reset(&mut client, options, plan, streams)
    }
}

/// One row of a list.
struct Listed {
    group: String,
    state: String,
    kind: String,
}

/// The consumer groups of all brokers, in the order of Java's table. Empty filters mean all.
fn all_groups(client: &mut Client, states: &[String], kinds: &[String]) -> Result<Vec<Listed>, Failure> {
    let mut found: Vec<Listed> = Vec::new();
    for broker in client.brokers()? {
        let (code, groups) = client.until_answered(|client| {
            let connection = client.to(&broker.address())?;
            let version = connection.version::<ListGroupsRequest<'_>>()?;
            if (version < 4 && !states.is_empty()) || (version < 5 && !kinds.is_empty()) {
                return Err(ClientError::Refused {
                    what: "the filter".to_owned(),
                    code: ErrorCode::UnsupportedVersion,
                });
            }
            let request = ListGroupsRequest {
                states_filter: states.iter().map(String::as_str).collect(),
                types_filter: kinds.iter().map(String::as_str).collect(),
            };
            let (code, groups) = connection.call(&request, |response| {
                let of_consumers = response
                    .groups
                    .iter()
                    .filter(|group| matches!(&*group.protocol_type, "" | "consumer"))
                    .map(|group| Listed {
                        group: group.group_id.clone().into_owned(),
                        state: group.group_state.clone().into_owned(),
                        kind: group.group_type.clone().into_owned(),
                    });
                (response.error_code, of_consumers.collect::<Vec<_>>())
            })?;
            Ok(match ErrorCode::from_code(code) {
                again @ (ErrorCode::CoordinatorLoadInProgress | ErrorCode::CoordinatorNotAvailable) => {
                    Err(ClientError::Refused { what: "the list of groups".to_owned(), code: again })
                }
                _ => Ok((code, groups)),
            })
        })?;
        if code != 0 {
            return Err(Failure::of_code(code));
        }
        found.extend(groups);
    }
    let mut seen = BTreeSet::new();
    found.retain(|listed| seen.insert(listed.group.clone()));
    java::in_hash_order(&mut found, |listed| java::string_hash(&listed.group));
    Ok(found)
}

/// The groups that --group and --all-groups name, in the order of Java's table, each once.
fn chosen(client: &mut Client, options: &Options) -> Result<Vec<String>, Failure> {
    let mut groups: Vec<String> = if options.all_groups {
        all_groups(client, &[], &[])?.into_iter().map(|listed| listed.group).collect()
    } else {
        options.group.clone()
    };
    let mut seen = BTreeSet::new();
    groups.retain(|group| seen.insert(group.clone()));
    java::in_hash_order(&mut groups, |group| java::string_hash(group));
    Ok(groups)
}

const STATES: [&str; 7] =
    ["PreparingRebalance", "CompletingRebalance", "Stable", "Dead", "Empty", "Assigning", "Reconciling"];
const TYPES: [&str; 2] = ["Consumer", "Classic"];

/// The names of a list with commas, as Kafka writes them.
fn names_of(text: &str, known: &[&str], what: &str) -> Result<Vec<String>, Failure> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let names: Option<BTreeSet<String>> = text
        .split(',')
        .map(|name| known.iter().find(|k| k.eq_ignore_ascii_case(name.trim())).map(|k| (*k).to_owned()))
        .collect();
    let valid = || known.join(", ");
    names.map(|names| names.into_iter().collect()).ok_or_else(|| {
        Failure::Usage(format!("Invalid {what} list '{text}'. Valid {what}s are: {}", valid()))
    })
}

fn list(client: &mut Client, options: &Options, streams: &mut Streams<'_>) -> Result<(), Failure> {
    let (state, kind) = (options.state.as_ref(), options.r#type.as_ref());
    let text = |given: Option<&Option<String>>| given.and_then(Clone::clone).unwrap_or_default();
    let states = names_of(&text(state), &STATES, "state")?;
    let kinds = text(kind);
    let kinds = match names_of(&kinds, &TYPES, "types") {
        Ok(kinds) => kinds,
        Err(_) => {
            let valid = TYPES.join(", ");
            return Err(Failure::Usage(format!("Invalid types list '{kinds}'. Valid types are: {valid}")));
        }
    };
    let groups = all_groups(client, &states, &kinds)?;
    if state.is_none() && kind.is_none() {
        for listed in groups {
            writeln!(streams.out, "{}", listed.group)?;
        }
        return Ok(());
    }
    let width = groups.iter().map(|l| l.group.chars().count()).max().unwrap_or(0).max(15) + 10;
    let mut row = |group: &str, of_type: &str, of_state: &str| {
        write!(streams.out, "{group:<width$}")?;
        if kind.is_some() {
            write!(streams.out, " {of_type:<20}")?;
        }
        if state.is_some() {
            write!(streams.out, " {of_state:<20}")?;
        }
        writeln!(streams.out)
    };
    let shown = |text: &str, known: &[&str]| {
        let found = known.iter().find(|name| name.eq_ignore_ascii_case(text));
        found.map_or_else(|| "Unknown".to_owned(), |name| (*name).to_owned())
    };
    row("GROUP", "TYPE", "STATE")?;
    for listed in &groups {
        row(&listed.group, &shown(&listed.kind, &TYPES), &shown(&listed.state, &STATES))?;
    }
    Ok(())
}

/// The committed offsets of a group.
fn committed(client: &mut Client, group: &str) -> Result<Vec<(TopicPartition, i64)>, Failure> {
    client.committed(group)?.map_err(Failure::of_code)
}

/// Partitions that arguments name, and topics that cannot be asked for theirs, each with its error code.
type Named = (Vec<TopicPartition>, Vec<(String, i16)>);

/// `topic` or `topic:0,1`; the partitions of a whole topic are the cluster's, or its error code.
fn partitions_of(client: &mut Client, arguments: &[String]) -> Result<Named, Failure> {
    let (mut named, mut unknown) = (Vec::new(), Vec::new());
    for argument in arguments.iter().filter(|argument| argument.contains(':')) {
        // As Java splits: empty parts at the end do not count.
        let mut parts: Vec<&str> = argument.split(':').collect();
        while parts.last().is_some_and(|part| part.is_empty()) {
            parts.pop();
        }
        let [topic, partitions] = parts[..] else {
            return Err(Failure::Usage(format!(
                "Invalid topic arg '{argument}', expected topic name and partitions"
            )));
        };
        for partition in partitions.split(',') {
            let partition = partition.parse().map_err(|_| {
                Failure::Usage(format!(
                    "Invalid partition '{partition}' specified in topic arg '{argument}''"
                ))
            })?;
            named.push(TopicPartition::new(topic, partition));
        }
    }
    let mut whole: Vec<&str> =
        arguments.iter().filter(|argument| !argument.contains(':')).map(String::as_str).collect();
    java::in_hash_order(&mut whole, |topic| java::string_hash(topic));
    if !whole.is_empty() {
        let mut topics = client.leaders(&whole, false)?;
        for topic in whole {
            match topics.remove(topic) {
                Some(Ok(found)) => {
                    named
                        .extend(found.leaders.keys().map(|partition| TopicPartition::new(topic, *partition)));
                }
                Some(Err(code)) => unknown.push((topic.to_owned(), code)),
                None => unknown.push((topic.to_owned(), ErrorCode::UnknownTopicOrPartition as i16)),
            }
        }
    }
    Ok((named, unknown))
}

fn delete(client: &mut Client, options: &Options, streams: &mut Streams<'_>) -> Result<(), Failure> {
    let (mut deleted, mut failed) = (Vec::new(), Vec::new());
    for group in chosen(client, options)? {
        let (code, ()) = client.at_coordinator(&group, |connection| {
            let request = DeleteGroupsRequest { groups_names: vec![&*group].into() };
            connection.call(&request, |response| {
                let unknown = ErrorCode::UnknownServerError as i16;
                (response.results.first().map_or(unknown, |result| result.error_code), ())
            })
        })?;
        if code == 0 { deleted.push(group) } else { failed.push((group, code)) }
    }
    if failed.is_empty() {
        writeln!(
            streams.out,
            "Deletion of requested consumer groups ('{}') was successful.",
            deleted.join(", ")
        )?;
        return Ok(());
    }
    streams.error("Deletion of some consumer groups failed:")?;
    for (group, code) in failed {
        let reason = java::exception(code);
        writeln!(
            streams.out,
            "* Group '{group}' could not be deleted due to: java.util.concurrent.ExecutionException: {reason}"
        )?;
    }
    if !deleted.is_empty() {
        let names = deleted.join("'");
        writeln!(streams.out, "\nThese consumer groups were deleted successfully: '{names}', '")?;
    }
    Ok(())
}

fn delete_offsets(client: &mut Client, options: &Options, streams: &mut Streams<'_>) -> Result<(), Failure> {
    let group = options.group.first().map_or("", String::as_str);
    let (partitions, unknown) = partitions_of(client, &options.topic)?;
    let topics = by_topic(partitions.iter().map(|at| (at.clone(), ())));
    let (code, mut codes) = client.at_coordinator(group, |connection| {
        let topics = topics.iter().map(|(name, partitions)| OffsetDeleteRequestTopic {
            name,
            partitions: partitions
                .iter()
                .map(|(partition_index, ())| OffsetDeleteRequestPartition {
                    partition_index: *partition_index,
                })
                .collect(),
        });
        let request = OffsetDeleteRequest { group_id: group, topics: topics.collect() };
        connection.call(&request, |response| {
            let rows = response.topics.iter().flat_map(|topic| {
                let rows = topic.partitions.iter();
                rows.map(|p| (TopicPartition::new(&*topic.name, p.partition_index), p.error_code))
            });
            (response.error_code, rows.collect::<HashMap<_, _>>())
        })
    })?;
    let in_parts = partitions.iter().find_map(|at| codes.get(at).copied().filter(|code| *code != 0));
    let top = if code == 0 { in_parts.unwrap_or(0) } else { code };
    match ErrorCode::from_code(top) {
        ErrorCode::None => {
            let topics = options.topic.join(", ");
            writeln!(streams.out, "Request succeed for deleting offsets with topic {topics} group {group}")?;
        }
        ErrorCode::InvalidGroupId => streams.error(&format!("'{group}' is not valid."))?,
        ErrorCode::GroupIdNotFound => streams.error(&format!("'{group}' does not exist."))?,
        ErrorCode::GroupAuthorizationFailed => {
            streams.error(&format!("Access to '{group}' is not authorized."))?;
        }
        ErrorCode::NonEmptyGroup => streams.error(&format!(
            "Deleting offsets of a consumer group '{group}' is forbidden if the group is not empty."
        ))?,
        ErrorCode::GroupSubscribedToTopic
        | ErrorCode::TopicAuthorizationFailed
        | ErrorCode::UnknownTopicOrPartition => {
            streams.error("Encounter some partition level error, see the follow-up details:")?;
        }
        other => streams.error(&format!("Encounter some unknown error: {}", other.name()))?,
    }
    if code != 0 {
        codes = partitions.iter().map(|at| (at.clone(), code)).collect();
    }
    let mut rows: Vec<(String, i32, i16)> = partitions
        .into_iter()
        .map(|at| {
            let code = codes.get(&at).copied().unwrap_or(ErrorCode::UnknownServerError as i16);
            (at.topic, at.partition, code)
        })
        .chain(unknown.into_iter().map(|(topic, code)| (topic, -1, code)))
        .collect();
    rows.sort_by_key(|(topic, partition, _)| format!("{topic}{partition}"));
    writeln!(streams.out, "\n{:<30} {:<15} {:<15}", "TOPIC", "PARTITION", "STATUS")?;
    for (topic, partition, code) in rows {
        let partition = if partition < 0 { "Not Provided".to_owned() } else { partition.to_string() };
        let status =
            if code == 0 { "Successful".to_owned() } else { format!("Error: :{}", java::exception(code)) };
        writeln!(streams.out, "{topic:<30} {partition:<15} {status:<15}")?;
    }
    Ok(())
}
