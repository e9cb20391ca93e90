//! `ringdaw configs`: settings of topics, brokers, loggers, users, clients and addresses, as kafka-configs.sh of Kafka 3.9 shows
//! and changes them.
//!
//! In: Kafka's arguments, and a broker of any make, or ZooKeeper. Out: Kafka's lines in the order of its hash tables. A failure
//! that does not come of the arguments is Kafka's sentence with its first line of the stack trace, and no more of that.

mod clients;
mod options;
mod zookeeper;

use std::process::ExitCode;

use super::{AdminArgs, Failure, Streams, failed, patience};
use crate::metadata::topic_name;
use crate::tools::client::{Client, ClientError, Connection};
use crate::tools::java;
use crate::wire::error_code::ErrorCode;
use crate::wire::message::alter_configs::{
    AlterConfigsRequest, AlterConfigsRequestResource, AlterConfigsRequestResourceConfig,
};
use crate::wire::message::describe_configs::{DescribeConfigsRequest, DescribeConfigsRequestResource};
use crate::wire::message::incremental_alter_configs::{
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsRequestResource,
    IncrementalAlterConfigsRequestResourceConfig,
};
use options::{Action, Command, Kind, Options, Steps, Way};

/// Steps of IncrementalAlterConfigs.
const SET: i8 = 0;
const DELETE: i8 = 1;

pub fn run(args: &AdminArgs) -> ExitCode {
    let about = "This tool helps to manipulate and describe entity config for a topic, client, user, broker, ip or \
                 client-metrics";
    super::run(args, about, "", |options: &Options, streams| {
        let words: Vec<_> = args.arguments.iter().map(|word| word.to_string_lossy()).collect();
        execute(options, &words.join(" "), streams)
    })
}

/// What a failure of the cluster is said with.
struct Typed<'a>(&'a str);

impl Typed<'_> {
    /// Kafka repeats the arguments and goes on with a stack trace; here its first line stands behind them.
    fn error(&self, what: impl std::fmt::Display) -> Failure {
        Failure::Command(format!("Error while executing config command with args '{}'\n{what}", self.0))
    }

    fn refused(&self, code: i16, message: Option<&str>) -> Failure {
        self.error(java::exception_saying(code, message))
    }
}

fn execute(options: &Options, typed: &str, streams: &mut Streams<'_>) -> Result<(), Failure> {
    let command = options.command()?;
    let typed = Typed(typed);
    let bootstrap = match &command.way {
        Way::ZooKeeper(connect) => return zookeeper::execute(&command, options, connect, &typed, streams),
        Way::Controller(_) => {
            return failed(
                "--bootstrap-controller: this tool speaks to brokers only, use --bootstrap-server",
            );
        }
        Way::Broker(bootstrap) => bootstrap,
    };
    let timeout = patience(command.client_config.as_deref(), 60_000)?;
    if command.action == Action::Alter && command.kinds.len() != command.names.len() {
        return failed("An entity name must be specified for every entity type");
    }
    let steps = match command.action {
        Action::Alter => options.steps(&typed, streams)?,
        Action::Describe { .. } => Steps::default(),
    };
    let mut client = Client::connect(bootstrap, timeout)?;
    match (&command.action, command.kinds[0]) {
        (Action::Describe { .. }, Kind::User | Kind::Client | Kind::Ip) => {
            clients::describe(&mut client, &command, &typed, streams)
        }
        (Action::Describe { all }, kind) => describe(&mut client, &command, kind, *all, &typed, streams),
        (Action::Alter, kind) => {
            match kind {
                Kind::User | Kind::Client | Kind::Ip => {
                    clients::alter(&mut client, &command, &steps, &typed)?;
                }
                Kind::Broker => alter_broker(&mut client, &command.names[0], &steps, &typed)?,
                Kind::Topic | Kind::BrokerLogger | Kind::ClientMetrics => {
                    alter_steps(&mut client, kind, &command.names[0], &steps, &typed)?;
                }
            }
            writeln!(streams.out, "{}", done(&command))?;
            Ok(())
        }
    }
}

fn done(command: &Command) -> String {
    let kind = command.kinds[0];
    match command.names[0].as_str() {
        "" => format!("Completed updating default config for {} in the cluster.", kind.plural()),
        name => format!("Completed updating config for {} {name}.", kind.singular()),
    }
}

/// One setting, as a broker describes it.
struct Row {
    name: String,
    value: Option<String>,
    source: i8,
    sensitive: bool,
    synonyms: Vec<String>,
}

impl Kind {
    /// Its number in requests.
    fn resource_type(self) -> i8 {
        match self {
            Kind::Topic => 2,
            Kind::Broker => 4,
            Kind::BrokerLogger => 8,
            Kind::ClientMetrics => 16,
            Kind::User | Kind::Client | Kind::Ip => unreachable!("clients are no resources"),
        }
    }
}

/// Where a value comes from: what Kafka calls it, by number.
fn source_name(source: i8) -> &'static str {
    match source {
        1 => "DYNAMIC_TOPIC_CONFIG",
        2 => "DYNAMIC_BROKER_CONFIG",
        3 => "DYNAMIC_DEFAULT_BROKER_CONFIG",
        4 => "STATIC_BROKER_CONFIG",
        5 => "DEFAULT_CONFIG",
        6 => "DYNAMIC_BROKER_LOGGER_CONFIG",
        7 => "DYNAMIC_CLIENT_METRICS_CONFIG",
        _ => "UNKNOWN",
    }
}

/// Which rows were set while the cluster ran; none means that all count.
fn dynamic_source(kind: Kind, name: &str) -> Option<i8> {
    match kind {
        Kind::Topic => Some(1),
        Kind::Broker if name.is_empty() => Some(3),
        Kind::Broker => Some(2),
        Kind::ClientMetrics => Some(7),
        Kind::BrokerLogger | Kind::User | Kind::Client | Kind::Ip => None,
    }
}

/// Whoever knows the settings of an entity: a broker its own, any broker the others.
fn whom<'c>(
    client: &'c mut Client,
    kind: Kind,
    name: &str,
    typed: &Typed<'_>,
) -> Result<&'c mut Connection, Failure> {
    if name.is_empty() || !matches!(kind, Kind::Broker | Kind::BrokerLogger) {
        return Ok(client.any());
    }
    let brokers = client.brokers().map_err(|error| typed.error(error))?;
    let found = brokers.iter().find(|broker| broker.id.to_string() == name);
    let Some(broker) = found else {
        return Err(typed.error(format!("broker {name} is not one of the brokers that are alive")));
    };
    client.to(&broker.address()).map_err(|error| typed.error(error))
}

/// The settings of one entity, by name.
fn rows(
    client: &mut Client,
    kind: Kind,
    name: &str,
    all: bool,
    typed: &Typed<'_>,
) -> Result<Vec<Row>, Failure> {
    if kind == Kind::Topic
        && let Err(why) = topic_name::check(name)
    {
        return Err(typed.refused(ErrorCode::InvalidTopicException as i16, Some(&why.to_string())));
    }
    let resource = DescribeConfigsRequestResource {
        resource_type: kind.resource_type(),
        resource_name: name,
        configuration_keys: None,
    };
    let request =
        DescribeConfigsRequest { resources: [resource].into(), include_synonyms: true, ..Default::default() };
    let read = |row: &crate::wire::message::describe_configs::DescribeConfigsResponseConfig<'_>| {
        let shown = |value: Option<&str>| value.unwrap_or("null").to_owned();
        let synonyms = row.synonyms.iter();
        let synonyms =
            synonyms.map(|s| format!("{}:{}={}", source_name(s.source), s.name, shown(s.value.as_deref())));
        Row {
            name: row.name.clone().into_owned(),
            value: row.value.clone().map(|value| value.into_owned()),
            source: row.config_source,
            sensitive: row.is_sensitive,
            synonyms: synonyms.collect(),
        }
    };
    let answer = whom(client, kind, name, typed)?.call(&request, |response| {
        response.results.first().map(|result| {
            let rows: Vec<Row> = result.configs.iter().map(read).collect();
            (result.error_code, result.error_message.clone().map(|text| text.into_owned()), rows)
        })
    });
    let (code, message, mut rows) = match answer.map_err(|error| typed.error(error))? {
        Some(answer) => answer,
        None => return Err(typed.error("the answer names no resource")),
    };
    if code != 0 {
        return Err(typed.refused(code, message.as_deref()));
    }
    if let Some(source) = dynamic_source(kind, name).filter(|_| !all) {
        rows.retain(|row| row.source == source);
    }
    rows.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(rows)
}

fn describe(
    client: &mut Client,
    command: &Command,
    kind: Kind,
    all: bool,
    typed: &Typed<'_>,
    streams: &mut Streams<'_>,
) -> Result<(), Failure> {
    let names = match (command.names.first(), kind) {
        (Some(name), _) => vec![name.clone()],
        (None, Kind::Topic) => {
            let mut topics = client.all_topics().map_err(|error| typed.error(error))?;
            java::in_hash_order(&mut topics, |(name, _)| java::string_hash(name));
            topics.into_iter().map(|(name, _)| name).collect()
        }
        (None, Kind::ClientMetrics) => {
            let what = "The node does not support LIST_CLIENT_METRICS_RESOURCES";
            return Err(typed.refused(ErrorCode::UnsupportedVersion as i16, Some(what)));
        }
        (None, _) => {
            let brokers = client.brokers().map_err(|error| typed.error(error))?;
            brokers.iter().map(|broker| broker.id.to_string()).chain([String::new()]).collect()
        }
    };
    for name in names {
        match (name.as_str(), all) {
            ("", _) => writeln!(streams.out, "Default configs for {} in the cluster are:", kind.plural())?,
            (_, true) => writeln!(streams.out, "All configs for {} {name} are:", kind.singular())?,
            (_, false) => writeln!(streams.out, "Dynamic configs for {} {name} are:", kind.singular())?,
        }
        for row in rows(client, kind, &name, all, typed)? {
            writeln!(
                streams.out,
                "  {}={} sensitive={} synonyms={{{}}}",
                row.name,
                row.value.as_deref().unwrap_or("null"),
                row.sensitive,
                row.synonyms.join(", ")
            )?;
        }
    }
    Ok(())
}

/// Kafka removes nothing that is not there.
fn check_removed(steps: &Steps, present: &[&str], what: &str) -> Result<(), Failure> {
    let missing: Vec<&str> =
        steps.delete.iter().map(String::as_str).filter(|key| !present.contains(key)).collect();
    if missing.is_empty() { Ok(()) } else { failed(format!("{what}: {}", missing.join(","))) }
}

fn alter_steps(
    client: &mut Client,
    kind: Kind,
    name: &str,
    steps: &Steps,
    typed: &Typed<'_>,
) -> Result<(), Failure> {
    let old = rows(client, kind, name, false, typed)?;
    let present: Vec<&str> = old.iter().map(|row| &*row.name).collect();
    if kind == Kind::BrokerLogger {
        let added = steps.add.iter().map(|(key, _)| key.clone());
        let touched = Steps { delete: steps.delete.iter().cloned().chain(added).collect(), add: Vec::new() };
        check_removed(&touched, &present, "Invalid broker logger(s)")?;
    } else {
        check_removed(steps, &present, "Invalid config(s)")?;
    }
    let step = IncrementalAlterConfigsRequestResourceConfig::default();
    let set = steps.add.iter().map(|(key, value)| IncrementalAlterConfigsRequestResourceConfig {
        name: key,
        config_operation: SET,
        value: Some(value),
    });
    let delete = steps.delete.iter().map(|key| IncrementalAlterConfigsRequestResourceConfig {
        name: key,
        config_operation: DELETE,
        ..step.clone()
    });
    let resource = IncrementalAlterConfigsRequestResource {
        resource_type: kind.resource_type(),
        resource_name: name,
        configs: set.chain(delete).collect(),
    };
    let request = IncrementalAlterConfigsRequest { resources: [resource].into(), validate_only: false };
    let outcome = whom(client, kind, name, typed)?.call(&request, |response| {
        let row = response.responses.first();
        row.map(|row| (row.error_code, row.error_message.clone().map(|text| text.into_owned())))
    });
    finish(outcome, typed)
}

/// Kafka's tool sends the whole new set of a broker's settings.
fn alter_broker(client: &mut Client, name: &str, steps: &Steps, typed: &Typed<'_>) -> Result<(), Failure> {
    let old = rows(client, Kind::Broker, name, false, typed)?;
    let present: Vec<&str> = old.iter().map(|row| &*row.name).collect();
    check_removed(steps, &present, "Invalid config(s)")?;
    let mut set: Vec<(&str, Option<&str>)> =
        old.iter().map(|row| (&*row.name, row.value.as_deref())).collect();
    for (key, value) in &steps.add {
        match set.iter_mut().find(|(known, _)| known == key) {
            Some((_, old)) => *old = Some(value),
            None => set.push((key, Some(value))),
        }
    }
    set.retain(|(key, _)| !steps.delete.iter().any(|gone| gone == key));
    let hidden: Vec<&str> = set.iter().filter(|(_, value)| value.is_none()).map(|(key, _)| *key).collect();
    if !hidden.is_empty() {
        return failed(format!(
            "All sensitive broker config entries must be specified for --alter, missing entries: {}",
            java::set(&hidden)
        ));
    }
    let configs = set.iter().map(|(name, value)| AlterConfigsRequestResourceConfig { name, value: *value });
    let resource = AlterConfigsRequestResource {
        resource_type: Kind::Broker.resource_type(),
        resource_name: name,
        configs: configs.collect(),
    };
    let request = AlterConfigsRequest { resources: [resource].into(), validate_only: false };
    let outcome = whom(client, Kind::Broker, name, typed)?.call(&request, |response| {
        let row = response.responses.first();
        row.map(|row| (row.error_code, row.error_message.clone().map(|text| text.into_owned())))
    });
    finish(outcome, typed)
}

/// What the first row of an answer says of a change.
fn finish(
    outcome: Result<Option<(i16, Option<String>)>, ClientError>,
    typed: &Typed<'_>,
) -> Result<(), Failure> {
    match outcome.map_err(|error| typed.error(error))? {
        Some((0, _)) => Ok(()),
        Some((code, message)) => Err(typed.refused(code, message.as_deref())),
        None => Err(typed.error("the answer names no entity")),
    }
}
