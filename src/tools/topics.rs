//! `ringdaw topics`: create, list, describe, alter and delete topics, as kafka-topics.sh of Kafka 3.9 does.
//!
//! In: Kafka's arguments, and a broker of any make. Out: Kafka's output on the same streams, exit code 0 or 1.
//! Partitions that are being moved are described without the replicas that come and go.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use crate::tools::client::{Client, ClientError, Connection};
use crate::tools::settings::Settings;
use crate::tools::{java, kafkas_words};
use crate::wire::error_code::ErrorCode;
use crate::wire::message::create_partitions::{
    CreatePartitionsRequest, CreatePartitionsRequestAssignment, CreatePartitionsRequestTopic,
};
use crate::wire::message::create_topics::{
    CreateTopicsRequest, CreateTopicsRequestAssignment, CreateTopicsRequestConfig, CreateTopicsRequestTopic,
};
use crate::wire::message::delete_topics::{DeleteTopicsRequest, DeleteTopicsRequestTopic};
use crate::wire::message::describe_configs::{DescribeConfigsRequest, DescribeConfigsRequestResource};
use crate::wire::message::metadata::{MetadataRequest, MetadataResponse};
use crate::wire::primitive::Uuid;

/// Create, list, describe, alter and delete topics (the arguments of kafka-topics.sh)
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub struct TopicsArgs {
    /// See `topics --help`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTION")]
    arguments: Vec<OsString>,
}

pub fn run(args: TopicsArgs) -> ExitCode {
    let code = run_with(&args.arguments, &mut io::stdout().lock(), &mut io::stderr().lock());
    ExitCode::from(code)
}

/// Create, list, describe, alter and delete topics. Speaks to this broker and to Kafka's own.
#[derive(Parser, Debug)]
#[command(
    name = "topics",
    no_binary_name = true,
    infer_long_args = true,
    args_override_self = true,
    version,
    disable_version_flag = true,
    override_usage = "topics --bootstrap-server HOST:PORT (--create | --list | --describe | --alter | --delete) [OPTIONS]",
    max_term_width = 100
)]
struct Options {
    /// The broker to connect to; several with commas between them
    #[arg(long, value_name = "HOST:PORT")]
    bootstrap_server: Option<String>,
    /// A properties file for the client; of its keys, security.protocol and the two timeouts matter here
    #[arg(long, value_name = "FILE")]
    command_config: Option<PathBuf>,

    /// Create a topic
    #[arg(long)]
    create: bool,
    /// List the topics there are
    #[arg(long)]
    list: bool,
    /// Show topics and their partitions
    #[arg(long)]
    describe: bool,
    /// Give topics more partitions
    #[arg(long)]
    alter: bool,
    /// Delete topics
    #[arg(long)]
    delete: bool,

    /// The topic; a regular expression except with --create
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,
    /// The id of the topic to describe
    #[arg(long, value_name = "ID")]
    topic_id: Option<String>,
    /// How many partitions; the broker's num.partitions when left out
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true)]
    partitions: Option<i32>,
    /// How many replicas of each partition; the broker's default.replication.factor when left out
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true)]
    replication_factor: Option<i32>,
    /// Brokers by hand: replicas with `:` between them, partitions with `,`
    #[arg(long, value_name = "0:1,1:2,...")]
    replica_assignment: Option<String>,
    /// A setting of the new topic; may be given several times
    #[arg(long, value_name = "KEY=VALUE", action = clap::ArgAction::Append)]
    config: Vec<String>,

    /// With --create: a topic that is there already is no error
    #[arg(long)]
    if_not_exists: bool,
    /// With --alter, --delete, --describe: a topic that is not there is no error
    #[arg(long)]
    if_exists: bool,
    /// Leave Kafka's own topics out
    #[arg(long)]
    exclude_internal: bool,
    /// With --describe: only topics with settings of their own
    #[arg(long)]
    topics_with_overrides: bool,
    /// With --describe: only partitions with fewer replicas in sync than they have
    #[arg(long)]
    under_replicated_partitions: bool,
    /// With --describe: only partitions without a leader
    #[arg(long)]
    unavailable_partitions: bool,
    /// With --describe: only partitions with fewer replicas in sync than min.insync.replicas
    #[arg(long)]
    under_min_isr_partitions: bool,
    /// With --describe: only partitions with exactly min.insync.replicas in sync
    #[arg(long)]
    at_min_isr_partitions: bool,

    /// Show the version
    #[arg(long)]
    version: bool,

    // What other releases of the script know.
    #[arg(long, hide = true)]
    zookeeper: Option<String>,
    #[arg(long, hide = true)]
    delete_config: Vec<String>,
    #[arg(long, hide = true)]
    force: bool,
    #[arg(long, hide = true)]
    disable_rack_aware: bool,
    #[arg(long, hide = true)]
    partition_size_limit_per_response: Option<i32>,
}

/// Why the command ends with 1.
#[derive(Debug)]
enum Failure {
    /// The arguments do not make a command: shown with the usage, on the error stream.
    Usage(String),
    /// Kafka's sentence on the output stream, and where it comes from on the error stream.
    Command { message: String, cause: String },
}

impl Failure {
    fn illegal(message: impl Into<String>) -> Failure {
        Failure::Command {
            message: message.into(),
            cause: "the arguments or the topics do not allow it".into(),
        }
    }

    /// What a broker answered; a broker that gives no text is given the general one of its code.
    fn of_broker(code: i16, message: Option<&str>) -> Failure {
        let known = ErrorCode::known(code);
        let name = known.map_or("UNKNOWN", ErrorCode::name);
        let general =
            known.map_or("The broker answered with an error this tool does not know.", ErrorCode::message);
        Failure::Command {
            message: message.unwrap_or(general).to_owned(),
            cause: format!("the broker answered {name} ({code})"),
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Failure {
        Failure::Command { message: error.to_string(), cause: "talking to the cluster failed".into() }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Command { message: error.to_string(), cause: "the output cannot be written".into() }
    }
}

/// The whole command; the exit code comes back.
fn run_with(arguments: &[OsString], out: &mut impl Write, err: &mut impl Write) -> u8 {
    let result = match parse(arguments) {
        Parsed::Options(options) => execute(&options, out),
        Parsed::Shown(text) => return u8::from(write!(out, "{text}").is_err()),
        Parsed::Wrong(failure) => Err(failure),
    };
    let written = match result {
        Ok(()) => return u8::from(out.flush().is_err()),
        Err(Failure::Usage(message)) => {
            let usage = <Options as clap::CommandFactory>::command().render_help();
            writeln!(err, "{message}\n\n{usage}")
        }
        Err(Failure::Command { message, cause }) => {
            writeln!(out, "Error while executing topic command : {message}")
                .and_then(|()| out.flush())
                .and_then(|()| writeln!(err, "ERROR {message} ({cause})"))
        }
    };
    // An output stream that is gone cannot be told of; the exit code is 1 either way.
    drop(written);
    1
}

enum Parsed {
    Options(Box<Options>),
    Shown(String),
    Wrong(Failure),
}

fn parse(arguments: &[OsString]) -> Parsed {
    let usage = |message: &str| Parsed::Wrong(Failure::Usage(message.to_owned()));
    if arguments.is_empty() {
        return usage("Create, delete, describe, or change a topic.");
    }
    let options = match Options::try_parse_from(arguments) {
        Ok(options) => options,
        Err(error) if error.kind() == clap::error::ErrorKind::DisplayHelp => {
            return Parsed::Shown(error.to_string());
        }
        Err(error) if error.kind() == clap::error::ErrorKind::UnknownArgument => {
            return usage(&kafkas_words(&error));
        }
        Err(error) => return Parsed::Wrong(Failure::illegal(kafkas_words(&error))),
    };
    if options.version {
        return Parsed::Shown(format!("{}\n", env!("CARGO_PKG_VERSION")));
    }
    match check(&options) {
        Ok(()) => Parsed::Options(Box::new(options)),
        Err(failure) => Parsed::Wrong(failure),
    }
}

fn check(options: &Options) -> Result<(), Failure> {
    let usage = |message: String| Err(Failure::Usage(message));
    if options.zookeeper.is_some() {
        return usage(
            "--zookeeper is no longer an option of this command: brokers answer for their topics, so name one with \
             --bootstrap-server host:port"
                .to_owned(),
        );
    }
    let actions = [
        ("create", options.create),
        ("list", options.list),
        ("alter", options.alter),
        ("describe", options.describe),
        ("delete", options.delete),
    ];
    if actions.iter().filter(|(_, given)| *given).count() != 1 {
        return usage(
            "Command must include exactly one action: --list, --describe, --create, --alter or --delete"
                .to_owned(),
        );
    }
    if options.bootstrap_server.is_none() {
        return usage("--bootstrap-server must be specified".to_owned());
    }
    if options.describe && options.if_exists && options.topic.is_none() && options.topic_id.is_none() {
        return usage("--topic or --topic-id is required to describe a topic".to_owned());
    }
    let missing = |option: &str| usage(format!("Missing required argument \"[{option}]\""));
    if !options.list && !options.describe && options.topic.is_none() {
        return missing("topic");
    }
    if options.alter && !options.config.is_empty() {
        return usage("Option combination \"[bootstrap-server],[config]\" can't be used with option \"[alter]\" (To alter topic configurations, the kafka-configs tool can be used.)".to_owned());
    }
    if options.alter && options.partitions.is_none() {
        return missing("partitions");
    }
    let reports = [
        ("under-replicated-partitions", options.under_replicated_partitions),
        ("under-min-isr-partitions", options.under_min_isr_partitions),
        ("at-min-isr-partitions", options.at_min_isr_partitions),
        ("unavailable-partitions", options.unavailable_partitions),
    ];
    let only_with = [
        ("config", !options.config.is_empty(), &["alter", "create"][..]),
        ("partitions", options.partitions.is_some(), &["alter", "create"]),
        ("replication-factor", options.replication_factor.is_some(), &["create"]),
        ("replica-assignment", options.replica_assignment.is_some(), &["alter", "create"]),
        ("topics-with-overrides", options.topics_with_overrides, &["describe"]),
        ("if-exists", options.if_exists, &["alter", "delete", "describe"]),
        ("if-not-exists", options.if_not_exists, &["create"]),
        ("exclude-internal", options.exclude_internal, &["list", "describe"]),
    ];
    let reports_only = reports.map(|(name, given)| (name, given, &["describe"][..]));
    let clash =
        |one: &str, other: &str| usage(format!("Option \"[{one}]\" can't be used with option \"[{other}]\""));
    for (option, given, with) in only_with.into_iter().chain(reports_only) {
        if let Some((action, _)) = actions.iter().find(|(action, on)| given && *on && !with.contains(action))
        {
            return clash(option, action);
        }
    }
    if options.create && options.replica_assignment.is_some() {
        if options.partitions.is_some() {
            return clash("replica-assignment", "partitions");
        }
        if options.replication_factor.is_some() {
            return clash("replica-assignment", "replication-factor");
        }
    }
    match reports.iter().find(|(_, given)| *given) {
        Some((report, _)) if options.topics_with_overrides => clash(report, "topics-with-overrides"),
        Some(_) | None => Ok(()),
    }
}

fn execute(options: &Options, out: &mut impl Write) -> Result<(), Failure> {
    let timeout = client_timeout(options.command_config.as_deref())?;
    // What can be said of the arguments alone is said before anybody is connected to.
    let assignment = match options.replica_assignment.as_deref() {
        Some(text) if !text.is_empty() => Some(parse_assignment(text)?),
        Some(_) | None => None,
    };
    let configs = parse_configs(&options.config)?;
    let mut client = Client::connect(options.bootstrap_server.as_deref().unwrap_or_default(), timeout)?;
    if options.create {
        create(&mut client, options, assignment, &configs, out)
    } else if options.alter {
        alter(&mut client, options, assignment)
    } else if options.list {
        let topics = wanted(all_topics(&mut client)?, options)?;
        let names: Vec<&str> = topics.iter().map(|topic| &*topic.name).collect();
        Ok(writeln!(out, "{}", names.join("\n"))?)
    } else if options.describe {
        describe(&mut client, options, out)
    } else {
        delete(&mut client, options)
    }
}

/// Of a client's properties, what this client can follow.
fn client_timeout(file: Option<&Path>) -> Result<Duration, Failure> {
    const DEFAULT_MS: u64 = 60_000;
    let settings = Settings::read(file, &[]).and_then(|settings| settings.call_timeout(DEFAULT_MS));
    settings.map_err(|error| Failure::illegal(error.to_string()))
}

fn parse_assignment(text: &str) -> Result<Vec<Vec<i32>>, Failure> {
    let mut partitions: Vec<Vec<i32>> = Vec::new();
    for (number, list) in text.split(',').enumerate() {
        let brokers: Result<Vec<i32>, &str> =
            list.split(':').map(|id| id.trim().parse().map_err(|_| id.trim())).collect();
        let brokers = brokers.map_err(|id| Failure::illegal(format!("For input string: \"{id}\"")))?;
        let mut seen = HashSet::new();
        let twice: Vec<String> = brokers.iter().filter(|id| !seen.insert(**id)).map(i32::to_string).collect();
        if !twice.is_empty() {
            return Err(Failure::illegal(format!(
                "Partition replica lists may not contain duplicate entries: {}",
                twice.join(",")
            )));
        }
        if partitions.first().is_some_and(|first| first.len() != brokers.len()) {
            let list = brokers.iter().map(i32::to_string).collect::<Vec<_>>().join(", ");
            return Err(Failure::illegal(format!(
                "Partition {number} has different replication factor: [{list}]"
            )));
        }
        partitions.push(brokers);
    }
    Ok(partitions)
}

fn parse_configs(pairs: &[String]) -> Result<BTreeMap<String, String>, Failure> {
    let mut configs = BTreeMap::new();
    for pair in pairs {
        // As Java splits: empty parts at the end do not count, and a second `=` makes a third part.
        let mut parts: Vec<&str> = pair.split('=').map(str::trim).collect();
        while parts.last().is_some_and(|part| part.is_empty()) {
            parts.pop();
        }
        let [key, value] = parts[..] else {
            return Err(Failure::illegal(
                "requirement failed: Invalid topic config: all configs to be added must be in the format \"key=val\".",
            ));
        };
        configs.insert(key.to_owned(), value.to_owned());
    }
    Ok(configs)
}

struct TopicInfo {
    name: String,
    id: Uuid,
    is_internal: bool,
    partitions: Vec<PartitionInfo>,
}

struct PartitionInfo {
    number: i32,
    /// `None` also when the leader is not alive.
    leader: Option<i32>,
    replicas: Vec<i32>,
    isr: Vec<i32>,
}

/// Every topic of the cluster, by name.
fn all_topics(client: &mut Client) -> Result<Vec<TopicInfo>, Failure> {
    let broker = client.any();
    // Version 0 knows no null list; its empty one means all.
    let none = broker.version::<MetadataRequest<'_>>()? == 0;
    let request = MetadataRequest {
        topics: none.then(Default::default),
        allow_auto_topic_creation: false,
        ..Default::default()
    };
    let mut topics = broker.call(&request, |response| topic_infos(&response))?;
    topics.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(topics)
}

fn topic_infos(response: &MetadataResponse<'_>) -> Vec<TopicInfo> {
    let alive: HashSet<i32> = response.brokers.iter().map(|broker| broker.node_id).collect();
    let topics = response.topics.iter().filter_map(|topic| {
        let mut partitions: Vec<PartitionInfo> = topic
            .partitions
            .iter()
            .map(|partition| PartitionInfo {
                number: partition.partition_index,
                leader: Some(partition.leader_id).filter(|id| alive.contains(id)),
                replicas: partition.replica_nodes.clone(),
                isr: partition.isr_nodes.clone(),
            })
            .collect();
        partitions.sort_by_key(|partition| partition.number);
        let name = topic.name.as_deref()?.to_owned();
        Some(TopicInfo { name, id: topic.topic_id, is_internal: topic.is_internal, partitions })
    });
    topics.collect()
}

/// The topics that --topic and --exclude-internal leave.
fn wanted(all: Vec<TopicInfo>, options: &Options) -> Result<Vec<TopicInfo>, Failure> {
    let pattern = match options.topic.as_deref() {
        Some(text) => Some(topic_pattern(text).map_err(Failure::illegal)?),
        None => None,
    };
    let is_wanted = |topic: &TopicInfo| {
        !(options.exclude_internal && topic.is_internal)
            && pattern.as_ref().is_none_or(|pattern| pattern.is_match(&topic.name))
    };
    Ok(all.into_iter().filter(is_wanted).collect())
}

/// Kafka's reading of --topic: commas mean "or", blanks and quotes around it nothing, and the whole name must match.
pub(super) fn topic_pattern(text: &str) -> Result<regex::Regex, String> {
    let quotes: &[char] = &['"', '\''];
    let text = text.trim().replace(',', "|").replace(' ', "");
    let text = text.trim_matches(quotes);
    regex::Regex::new(&format!("^(?:{text})$")).map_err(|error| {
        let reason = error.to_string();
        let reason = reason.lines().last().unwrap_or_default().trim_start_matches("error: ");
        format!("{text} is an invalid regex: {reason}")
    })
}

fn ensure_found(found: &[TopicInfo], options: &Options) -> Result<(), Failure> {
    match options.topic.as_deref() {
        Some(topic) if !topic.is_empty() && found.is_empty() && !options.if_exists => {
            Err(Failure::illegal(format!("Topic '{topic}' does not exist as expected")))
        }
        Some(_) | None => Ok(()),
    }
}

fn create(
    client: &mut Client,
    options: &Options,
    assignment: Option<Vec<Vec<i32>>>,
    configs: &BTreeMap<String, String>,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let name = options.topic.as_deref().unwrap_or_default();
    if name.contains(['.', '_']) {
        writeln!(
            out,
            "WARNING: Due to limitations in metric names, topics with a period ('.') or underscore ('_') could \
             collide. To avoid issues it is best to use either, but not both."
        )?;
    }
    let replication_factor = match options.replication_factor {
        None => -1,
        Some(count) => i16::try_from(count).ok().filter(|count| *count >= 1).ok_or_else(|| {
            Failure::illegal("The replication factor must be between 1 and 32767 inclusive")
        })?,
    };
    if options.partitions.is_some_and(|count| count < 1) {
        return Err(Failure::illegal("The partitions must be greater than 0"));
    }
    let assigned = assignment.is_some();
    let assignments = (0..).zip(assignment.into_iter().flatten());
    let assignments = assignments.map(|(partition_index, brokers)| CreateTopicsRequestAssignment {
        partition_index,
        broker_ids: brokers.into(),
    });
    let topic = CreateTopicsRequestTopic {
        name,
        num_partitions: options.partitions.unwrap_or(-1),
        replication_factor,
        assignments: assignments.collect(),
        configs: configs
            .iter()
            .map(|(name, value)| CreateTopicsRequestConfig { name, value: Some(value) })
            .collect(),
    };
    let has_defaults = !assigned && (topic.num_partitions == -1 || topic.replication_factor == -1);
    let request =
        CreateTopicsRequest { topics: [topic].into(), timeout_ms: TIMEOUT_MS, validate_only: false };
    let outcome = at_controller(client, |controller| {
        if has_defaults && controller.version::<CreateTopicsRequest<'_>>()? < 4 {
            return Ok(Outcome(
                ErrorCode::UnsupportedVersion as i16,
                Some(format!(
                    "Creating topics with default partitions/replication factor are only supported in \
                     CreateTopicRequest version 4+. The following topics need values for partitions and replicas: \
                     [{name}]"
                )),
            ));
        }
        controller.call(&request, |response| {
            first(response.topics.iter().map(|t| Outcome::new(t.error_code, t.error_message.as_deref())))
        })
    })?;
    if outcome.0 == ErrorCode::TopicAlreadyExists as i16 && options.if_not_exists {
        return Ok(());
    }
    outcome.into_result()?;
    Ok(writeln!(out, "Created topic {name}.")?)
}

fn alter(client: &mut Client, options: &Options, assignment: Option<Vec<Vec<i32>>>) -> Result<(), Failure> {
    let topics = wanted(all_topics(client)?, options)?;
    ensure_found(&topics, options)?;
    if topics.is_empty() {
        return Ok(());
    }
    let count = options.partitions.unwrap_or_default();
    let requests = topics.iter().map(|topic| {
        // Kafka takes the assignment of all partitions here and sends that of the new ones.
        let assignments = assignment.as_ref().map(|all| {
            let new = all.iter().skip(topic.partitions.len());
            new.map(|brokers| CreatePartitionsRequestAssignment { broker_ids: brokers.clone().into() })
                .collect()
        });
        CreatePartitionsRequestTopic { name: &topic.name, count, assignments }
    });
    let request =
        CreatePartitionsRequest { topics: requests.collect(), timeout_ms: TIMEOUT_MS, validate_only: false };
    let outcome = at_controller(client, |controller| {
        controller.call(&request, |response| {
            first(response.results.iter().map(|r| Outcome::new(r.error_code, r.error_message.as_deref())))
        })
    })?;
    outcome.into_result()
}

fn delete(client: &mut Client, options: &Options) -> Result<(), Failure> {
    let topics = wanted(all_topics(client)?, options)?;
    ensure_found(&topics, options)?;
    if topics.is_empty() {
        return Ok(());
    }
    let by_name = topics
        .iter()
        .map(|topic| DeleteTopicsRequestTopic { name: Some(&*topic.name), topic_id: Uuid::ZERO });
    let request = DeleteTopicsRequest {
        topics: by_name.collect(),
        topic_names: topics.iter().map(|topic| &*topic.name).collect(),
        timeout_ms: TIMEOUT_MS,
    };
    let outcome = at_controller(client, |controller| {
        controller.call(&request, |response| {
            first(response.responses.iter().map(|r| Outcome::new(r.error_code, r.error_message.as_deref())))
        })
    })?;
    outcome.into_result()
}

/// How long the controller may take, as Java's admin client asks for.
const TIMEOUT_MS: i32 = 30_000;

/// The code and text of one thing that was asked for.
struct Outcome(i16, Option<String>);

impl Outcome {
    fn new(code: i16, message: Option<&str>) -> Outcome {
        Outcome(code, message.map(str::to_owned))
    }

    fn into_result(self) -> Result<(), Failure> {
        match self.0 {
            0 => Ok(()),
            code => Err(Failure::of_broker(code, self.1.as_deref())),
        }
    }
}

/// The first failure, or success.
fn first(mut outcomes: impl Iterator<Item = Outcome>) -> Outcome {
    outcomes.find(|outcome| outcome.0 != 0).unwrap_or(Outcome(0, None))
}

/// Asks the controller, and its successor when it has just lost the office.
fn at_controller(
    client: &mut Client,
    mut ask: impl FnMut(&mut Connection) -> Result<Outcome, ClientError>,
) -> Result<Outcome, Failure> {
    const ATTEMPTS: u32 = 10;
    let mut attempt = 1;
    loop {
        let outcome = ask(&mut client.controller()?)?;
        if outcome.0 != ErrorCode::NotController as i16 || attempt == ATTEMPTS {
            return Ok(outcome);
        }
        attempt += 1;
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn describe(client: &mut Client, options: &Options, out: &mut impl Write) -> Result<(), Failure> {
    let all = all_topics(client)?;
    let topics = match options.topic_id.as_deref() {
        Some(text) => {
            let id =
                Uuid::parse(text).ok_or_else(|| Failure::illegal(format!("`{text}` is not a topic id")))?;
            let found: Vec<TopicInfo> = all.into_iter().filter(|topic| topic.id == id).collect();
            if found.is_empty() && !options.if_exists {
                return Err(Failure::illegal(format!("TopicId '{id}' does not exist as expected")));
            }
            found
        }
        None => {
            let found = wanted(all, options)?;
            ensure_found(&found, options)?;
            found
        }
    };
    let settings = describe_settings(client, &topics)?;
    let reports = options.under_replicated_partitions
        || options.unavailable_partitions
        || options.under_min_isr_partitions
        || options.at_min_isr_partitions;
    for topic in &topics {
        let none = TopicSettings::default();
        let own = settings.get(&topic.name).unwrap_or(&none);
        if !reports && (!options.topics_with_overrides || !own.shown.is_empty()) {
            write_topic(out, topic, &own.shown)?;
        }
        if options.topics_with_overrides {
            continue;
        }
        for partition in &topic.partitions {
            if !reports || is_reported(options, partition, own.min_insync_replicas) {
                write_partition(out, topic, partition)?;
            }
        }
    }
    Ok(())
}

/// Of a topic's settings, what is shown and what is counted with.
#[derive(Default)]
struct TopicSettings {
    /// `key=value` of each that somebody set, on the topic or in the broker's file.
    shown: Vec<String>,
    min_insync_replicas: usize,
}

/// The settings of these topics, asked for in pieces: an answer for thousands of topics would be very large.
fn describe_settings(
    client: &mut Client,
    topics: &[TopicInfo],
) -> Result<HashMap<String, TopicSettings>, Failure> {
    const TOPIC: i8 = 2;
    const DEFAULT_CONFIG: i8 = 5;
    const TOPICS_PER_REQUEST: usize = 200;
    let mut settings = HashMap::new();
    for piece in topics.chunks(TOPICS_PER_REQUEST) {
        let resources = piece.iter().map(|topic| DescribeConfigsRequestResource {
            resource_type: TOPIC,
            resource_name: &topic.name,
            configuration_keys: None,
        });
        let request = DescribeConfigsRequest { resources: resources.collect(), ..Default::default() };
        let broker = client.any();
        let has_sources = broker.version::<DescribeConfigsRequest<'_>>()? > 0;
        broker.call(&request, |response| {
            for result in &response.results {
                Outcome::new(result.error_code, result.error_message.as_deref()).into_result()?;
                let mut own = TopicSettings { shown: Vec::new(), min_insync_replicas: 1 };
                let mut rows: Vec<_> = result.configs.iter().collect();
                rows.sort_by_key(|row| {
                    java::bucket_presized(java::string_hash(&row.name), result.configs.len())
                });
                for row in rows {
                    let value = row.value.as_deref();
                    if row.name == "min.insync.replicas" {
                        own.min_insync_replicas = value.and_then(|text| text.parse().ok()).unwrap_or(1);
                    }
                    let is_default =
                        if has_sources { row.config_source == DEFAULT_CONFIG } else { row.is_default };
                    if !is_default {
                        own.shown.push(format!("{}={}", row.name, value.unwrap_or("null")));
                    }
                }
                settings.insert(result.resource_name.clone().into_owned(), own);
            }
            Ok::<(), Failure>(())
        })??;
    }
    Ok(settings)
}

fn is_reported(options: &Options, partition: &PartitionInfo, min_insync_replicas: usize) -> bool {
    let in_sync = partition.isr.len();
    let has_leader = partition.leader.is_some();
    (options.under_replicated_partitions && in_sync < partition.replicas.len())
        || (options.unavailable_partitions && !has_leader)
        || (options.under_min_isr_partitions && (!has_leader || in_sync < min_insync_replicas))
        || (options.at_min_isr_partitions && in_sync == min_insync_replicas)
}

fn write_topic(out: &mut impl Write, topic: &TopicInfo, settings: &[String]) -> io::Result<()> {
    write!(out, "Topic: {}", topic.name)?;
    if !topic.id.is_zero() {
        write!(out, "\tTopicId: {}", topic.id)?;
    }
    let replication_factor = topic.partitions.first().map_or(0, |partition| partition.replicas.len());
    writeln!(
        out,
        "\tPartitionCount: {}\tReplicationFactor: {replication_factor}\tConfigs: {}",
        topic.partitions.len(),
        settings.join(",")
    )
}

fn write_partition(out: &mut impl Write, topic: &TopicInfo, partition: &PartitionInfo) -> io::Result<()> {
    let ids = |ids: &[i32]| ids.iter().map(i32::to_string).collect::<Vec<_>>().join(",");
    let leader = partition.leader.map_or("none".to_owned(), |id| id.to_string());
    writeln!(
        out,
        "\tTopic: {}\tPartition: {}\tLeader: {leader}\tReplicas: {}\tIsr: {}\tElr: N/A\tLastKnownElr: N/A",
        topic.name,
        partition.number,
        ids(&partition.replicas),
        ids(&partition.isr)
    )
}

#[cfg(test)]
mod tests;
