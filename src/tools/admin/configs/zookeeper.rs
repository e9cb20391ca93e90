//! `--zookeeper`: credentials of users, and settings of brokers that do not run, read and written in ZooKeeper itself.
//!
//! In: a checked command. Out: Kafka's lines. What a running broker would check is checked here; settings that hold passwords
//! are refused, because Kafka keeps them encrypted with a secret and this tool has no such cipher.

use super::clients::{credential, fresh_salt, too_few};
use super::options::{Action, Command, Kind, Options, Steps};
use super::{Typed, check_removed};
use crate::config::{Config, Overrides, ZooKeeper as Settings, check_of_stopped_broker, holds_password};
use crate::metadata::settings_path;
use crate::metadata::zookeeper::by_hand::ByHand;
use crate::tools::admin::{Failure, Streams, failed};
use crate::tools::java;
use crate::wire::scram::{ITERATIONS_MIN, Mechanism};

pub fn execute(
    command: &Command,
    options: &Options,
    connect: &str,
    typed: &Typed<'_>,
    streams: &mut Streams<'_>,
) -> Result<(), Failure> {
    writeln!(
        streams.out,
        "Warning: --zookeeper is deprecated and will be removed in a future version of Kafka.\n\
         Use --bootstrap-server instead to specify a broker to connect to."
    )?;
    let settings = settings(connect).map_err(|why| typed.error(why))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.map_err(|error| typed.error(error))?;
    runtime.block_on(async {
        let mut ensemble = ByHand::connect(&settings).await.map_err(|error| typed.error(error))?;
        let outcome = match command.action {
            Action::Alter => match options.steps(typed, streams) {
                Ok(steps) => alter(&mut ensemble, command, steps, typed, streams).await,
                Err(failure) => Err(failure),
            },
            Action::Describe { .. } => describe(&ensemble, command, typed, streams).await,
        };
        ensemble.close().await;
        outcome
    })
}

fn settings(connect: &str) -> Result<Settings, String> {
    let config = Config::with_overrides(&[
        ("zookeeper.connect", connect),
        ("zookeeper.connection.timeout.ms", "30000"),
    ])
    .map_err(|errors| errors.to_string())?;
    config.zookeeper.ok_or_else(|| "--zookeeper names no server".to_owned())
}

/// The part of the path that names the entity; none where all are meant.
fn escaped(command: &Command) -> Option<String> {
    let name = command.names.first()?;
    Some(match (name.as_str(), command.kinds[0]) {
        ("", _) => settings_path::DEFAULT.to_owned(),
        (name, Kind::User) => settings_path::escape(Some(name)),
        (name, _) => name.to_owned(),
    })
}

/// What Kafka calls an entity.
fn shown(kind: Kind, escaped: &str) -> String {
    let type_name = if kind == Kind::User { "user-principal" } else { kind.plural() };
    match settings_path::unescape(escaped) {
        None => format!("default {type_name}"),
        Some(name) => format!("{type_name} '{name}'"),
    }
}

fn pairs<'a>(settings: impl Iterator<Item = (&'a str, &'a str)>, between: &str) -> String {
    let mut settings: Vec<(&str, &str)> = settings.collect();
    java::in_hash_order(&mut settings, |(key, _)| java::string_hash(key));
    settings.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(between)
}

async fn check_not_running(
    ensemble: &ByHand,
    escaped: &str,
    what: &str,
    typed: &Typed<'_>,
) -> Result<(), Failure> {
    let why = "Broker configuration operations using ZooKeeper are only supported if the affected broker(s) are not \
               running.";
    let running = || ensemble.running();
    if escaped == settings_path::DEFAULT {
        let count = running().await.map_err(|error| typed.error(error))?.len();
        return match count {
            0 => Ok(()),
            _ => failed(format!("requirement failed: {what} - {count} brokers are running. {why}")),
        };
    }
    if escaped.parse::<i32>().is_err() {
        return failed(format!(
            "Error parsing broker {escaped}. The broker's Entity Name must be a single integer value"
        ));
    }
    let all = running().await.map_err(|error| typed.error(error))?;
    match all.iter().any(|id| id == escaped) {
        true => failed(format!("requirement failed: {what} - broker {escaped} is running. {why}")),
        false => Ok(()),
    }
}

async fn describe(
    ensemble: &ByHand,
    command: &Command,
    typed: &Typed<'_>,
    streams: &mut Streams<'_>,
) -> Result<(), Failure> {
    let kind = command.kinds[0];
    let named = escaped(command);
    if kind == Kind::Broker {
        let what = "--bootstrap-server option must be specified to describe brokers";
        check_not_running(ensemble, named.as_deref().unwrap_or_default(), what, typed).await?;
    }
    let names = match &named {
        Some(name) => vec![name.clone()],
        None => ensemble.names(kind.plural()).await.map_err(|error| typed.error(error))?,
    };
    for name in names {
        let entity = format!("{}/{name}", kind.plural());
        let settings = ensemble.settings(&entity).await.map_err(|error| typed.error(error))?;
        // A user may have a node for the limits of his clients alone.
        if named.is_some() || !settings.is_empty() {
            let settings = pairs(settings.iter().map(|(key, value)| (&**key, &**value)), ",");
            writeln!(streams.out, "Configs for {} are {settings}", shown(kind, &name))?;
        }
    }
    Ok(())
}

async fn alter(
    ensemble: &mut ByHand,
    command: &Command,
    mut steps: Steps,
    typed: &Typed<'_>,
    streams: &mut Streams<'_>,
) -> Result<(), Failure> {
    let kind = command.kinds[0];
    if command.names.len() != command.kinds.len() {
        return failed(
            "--entity-name or --entity-default must be specified with each --entity-type for --alter",
        );
    }
    let name = escaped(command).unwrap_or_default();
    let delete = match steps.delete.as_slice() {
        [] => "List()".to_owned(),
        keys => format!("ArrayBuffer({})", keys.join(", ")),
    };
    let add = pairs(steps.add.iter().map(|(key, value)| (&**key, &**value)), ", ");
    let what = format!(
        "--bootstrap-server option must be specified to update {} configs: {{add: {{{add}}}, delete: {delete}}}",
        kind.plural()
    );
    let is_empty = steps.add.is_empty() && steps.delete.is_empty();
    match kind {
        Kind::User => {
            let mut keys = steps.add.iter().map(|(key, _)| key).chain(&steps.delete);
            if !keys.all(|key| Mechanism::of_name(key).is_some()) {
                return failed(format!(
                    "requirement failed: {what}. User configuration updates using ZooKeeper are only supported for \
                     SCRAM credential updates."
                ));
            }
            make_credentials(&mut steps, typed)?;
        }
        _ if is_empty => {}
        _ => {
            check_not_running(ensemble, &name, &what, typed).await?;
            check_broker_settings(&mut steps, name != settings_path::DEFAULT, typed)?;
        }
    }
    let entity = format!("{}/{name}", kind.plural());
    let mut settings = ensemble.settings(&entity).await.map_err(|error| typed.error(error))?;
    let present: Vec<&str> = settings.keys().map(|key| &**key).collect();
    check_removed(&steps, &present, "Invalid config(s)")?;
    settings.extend(steps.add);
    settings.retain(|key, _| !steps.delete.contains(key));
    ensemble.set(&entity, &settings).await.map_err(|error| typed.error(error))?;
    writeln!(streams.out, "Completed updating config for entity: {}.", shown(kind, &name))?;
    Ok(())
}

/// Puts in the place of each password what is kept of it.
fn make_credentials(steps: &mut Steps, typed: &Typed<'_>) -> Result<(), Failure> {
    for (key, text) in &mut steps.add {
        let Some(mechanism) = Mechanism::of_name(key) else { continue };
        let (iterations, password) = credential(mechanism, text, false)?;
        if iterations < ITERATIONS_MIN {
            return too_few(iterations, &mechanism.name().replace('-', "_"));
        }
        let salt = fresh_salt().map_err(|error| typed.error(error))?;
        let salted = mechanism.salted_password(password.as_bytes(), &salt, iterations);
        *text = mechanism.kept(iterations, &salt, &salted);
    }
    Ok(())
}

fn check_broker_settings(steps: &mut Steps, of_one: bool, typed: &Typed<'_>) -> Result<(), Failure> {
    steps.add.retain(|(key, _)| !key.starts_with("password.encoder."));
    let settings: Overrides = steps.add.iter().cloned().collect();
    if let Err(why) = check_of_stopped_broker(&settings, of_one) {
        return Err(typed.error(format!("org.apache.kafka.common.config.ConfigException: {why}")));
    }
    let secrets: Vec<&str> = settings.keys().map(|key| &**key).filter(|key| holds_password(key)).collect();
    if secrets.is_empty() {
        return Ok(());
    }
    failed(format!(
        "{}: this tool stores no passwords in ZooKeeper, where Kafka encrypts them; use --bootstrap-server",
        java::set(&secrets)
    ))
}
