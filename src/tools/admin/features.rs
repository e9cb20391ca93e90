//! `ringdaw features`: levels of features of a cluster, as kafka-features.sh of Kafka 3.9 shows and changes them.
//!
//! In: Kafka's arguments. Out: a line for each feature, and with exit code 1 how many could not be changed. Clusters on
//! ZooKeeper have no features: nothing is listed there, and every change is refused by the controller.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use super::{AdminArgs, Failure, Streams, failed, patience};
use crate::tools::client::Client;
use crate::wire::error_code::ErrorCode;
use crate::wire::message::api_versions::ApiVersionsRequest;
use crate::wire::message::update_features::{UpdateFeaturesRequest, UpdateFeaturesRequestFeatureUpdate};

/// The feature whose levels have names.
const METADATA_VERSION: &str = "metadata.version";
/// Their names, from level 1 on; the first level that a cluster can begin with, and the last that is meant for use.
const METADATA_VERSIONS: [&str; 23] = [
    "3.0-IV1", "3.1-IV0", "3.2-IV0", "3.3-IV0", "3.3-IV1", "3.3-IV2", "3.3-IV3", "3.4-IV0", "3.5-IV0",
    "3.5-IV1", "3.5-IV2", "3.6-IV0", "3.6-IV1", "3.6-IV2", "3.7-IV0", "3.7-IV1", "3.7-IV2", "3.7-IV3",
    "3.7-IV4", "3.8-IV0", "3.9-IV0", "4.0-IV0", "4.0-IV1",
];
const LEVELS_OFFERED: std::ops::RangeInclusive<usize> = 4..=21;

/// Levels of features. Speaks to this broker and to Kafka's own.
#[derive(Parser, Debug)]
#[command(
    name = "features",
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
    /// The controller of a KRaft cluster
    #[arg(long, value_name = "HOST:PORT")]
    bootstrap_controller: Option<String>,
    /// A properties file for the client
    #[arg(long, value_name = "FILE")]
    command_config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// The features there are, and their levels
    Describe,
    /// Raise levels
    Upgrade {
        #[command(flatten)]
        wanted: Wanted,
    },
    /// Lower levels
    Downgrade {
        #[command(flatten)]
        wanted: Wanted,
        /// Also where metadata may be lost
        #[arg(long = "unsafe")]
        lossy: bool,
    },
    /// Switch features off
    Disable {
        /// A feature; may be given several times
        #[arg(long, value_name = "NAME")]
        feature: Vec<String>,
        /// Also where metadata may be lost
        #[arg(long = "unsafe")]
        lossy: bool,
        /// Ask whether it could be, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(clap::Args, Debug)]
struct Wanted {
    /// The level of the metadata by its release, such as 3.3-IV3
    #[arg(long, value_name = "RELEASE")]
    metadata: Option<String>,
    /// A feature and its level; may be given several times
    #[arg(long, value_name = "NAME=LEVEL")]
    feature: Vec<String>,
    /// Ask whether it could be, and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// Kinds of a change, by number.
const UPGRADE: i8 = 1;
const SAFE_DOWNGRADE: i8 = 2;
const UNSAFE_DOWNGRADE: i8 = 3;

fn downgrade(is_unsafe: bool) -> i8 {
    if is_unsafe { UNSAFE_DOWNGRADE } else { SAFE_DOWNGRADE }
}

pub fn run(args: &AdminArgs) -> ExitCode {
    super::run(args, &wrong("too few arguments"), "", execute)
}

fn wrong(what: &str) -> String {
    format!("kafka-features: error: {what}")
}

fn execute(options: &Options, streams: &mut Streams<'_>) -> Result<(), Failure> {
    let Some(command) = &options.command else {
        return Err(Failure::Usage(wrong("too few arguments")));
    };
    let bootstrap = match (&options.bootstrap_server, &options.bootstrap_controller) {
        (Some(bootstrap), None) => bootstrap,
        (None, Some(_)) => {
            return failed(
                "--bootstrap-controller: this tool speaks to brokers only, use --bootstrap-server",
            );
        }
        (Some(_), Some(_)) => {
            let what = "argument --bootstrap-server: not allowed with argument --bootstrap-controller";
            return Err(Failure::Usage(wrong(what)));
        }
        (None, None) => {
            let what = "one of the arguments --bootstrap-server --bootstrap-controller is required";
            return Err(Failure::Usage(wrong(what)));
        }
    };
    let timeout = patience(options.command_config.as_deref(), 60_000)?;
    let connect = || Client::connect(bootstrap, timeout);
    match command {
        Command::Describe => describe(&mut connect()?, streams),
        Command::Upgrade { wanted } => {
            let update = Update { name: "upgrade", kind: UPGRADE, dry_run: wanted.dry_run };
            update.send(&levels(wanted, update.kind)?, connect, streams)
        }
        Command::Downgrade { wanted, lossy } => {
            let update = Update { name: "downgrade", kind: downgrade(*lossy), dry_run: wanted.dry_run };
            update.send(&levels(wanted, update.kind)?, connect, streams)
        }
        Command::Disable { feature, lossy, dry_run } => {
            let mut levels = BTreeMap::new();
            for name in feature {
                put(&mut levels, name, 0, downgrade(*lossy))?;
            }
            let update = Update { name: "disable", kind: downgrade(*lossy), dry_run: *dry_run };
            update.send(&levels, connect, streams)
        }
    }
}

/// A level as people read it.
fn shown(feature: &str, level: i16) -> String {
    if feature != METADATA_VERSION {
        return level.to_string();
    }
    let at = usize::try_from(level).ok().and_then(|level| level.checked_sub(1));
    match at.and_then(|at| METADATA_VERSIONS.get(at)) {
        Some(name) => (*name).to_owned(),
        None => format!("UNKNOWN {level}"),
    }
}

/// The level of a release, `3.5-IV2` or `3.5`, which means its last; below 3.0-IV1 there were none.
fn level_of(release: &str) -> Option<i16> {
    let mut parts = release.split('.');
    let short: Vec<&str> = parts.by_ref().take(if release.starts_with("0.") { 3 } else { 2 }).collect();
    let name = short.join(".");
    let named = METADATA_VERSIONS.iter().rposition(|known| {
        *known == name || known.split_once("-IV").is_some_and(|(release, _)| release == name)
    });
    match named {
        Some(at) => Some(at as i16 + 1),
        None => crate::config::version::Version::parse(&name).map(|_| -1),
    }
}

fn put(levels: &mut BTreeMap<String, i16>, name: &str, level: i16, kind: i8) -> Result<(), Failure> {
    if level == 0 && kind == UPGRADE {
        return failed(
            "The upgradeType flag should be set to SAFE_DOWNGRADE or UNSAFE_DOWNGRADE when the provided \
             maxVersionLevel:0 is < 1.",
        );
    }
    if level < 0 {
        return failed("Cannot specify a negative version level.");
    }
    match levels.insert(name.to_owned(), level) {
        None => Ok(()),
        Some(_) => failed(format!("Feature {name} was specified more than once.")),
    }
}

fn levels(wanted: &Wanted, kind: i8) -> Result<BTreeMap<String, i16>, Failure> {
    let mut levels = BTreeMap::new();
    if let Some(release) = &wanted.metadata {
        let Some(level) = level_of(release) else {
            let offered = METADATA_VERSIONS[LEVELS_OFFERED.start() - 1..*LEVELS_OFFERED.end()].join(", ");
            return failed(format!(
                "Unsupported metadata.version {release}. Supported metadata.version are {offered}"
            ));
        };
        put(&mut levels, METADATA_VERSION, level, kind)?;
    }
    for text in &wanted.feature {
        let Some((name, level)) = text.split_once('=') else {
            return failed(format!("Can't parse feature=level string {text}: equals sign not found."));
        };
        let (name, level) = (name.trim(), level.trim());
        let Ok(level) = level.parse() else {
            return failed(format!(
                "Can't parse feature=level string {text}: unable to parse {level} as a short."
            ));
        };
        put(&mut levels, name, level, kind)?;
    }
    Ok(levels)
}

fn describe(client: &mut Client, streams: &mut Streams<'_>) -> Result<(), Failure> {
    let lines = client.any().call(&ApiVersionsRequest::default(), |response| {
        let finalized: BTreeMap<&str, i16> =
            response.finalized_features.iter().map(|f| (&*f.name, f.max_version_level)).collect();
        let epoch = match response.finalized_features_epoch {
            known @ 0.. => known.to_string(),
            _ => "-".to_owned(),
        };
        let mut features: Vec<_> = response.supported_features.iter().collect();
        features.sort_by(|one, other| one.name.cmp(&other.name));
        let lines = features.into_iter().map(|feature| {
            let name = &*feature.name;
            format!(
                "Feature: {name}\tSupportedMinVersion: {}\tSupportedMaxVersion: {}\tFinalizedVersionLevel: {}\tEpoch: \
                 {epoch}",
                shown(name, feature.min_version),
                shown(name, feature.max_version),
                shown(name, finalized.get(name).copied().unwrap_or(0)),
            )
        });
        lines.collect::<Vec<_>>()
    })?;
    for line in lines {
        writeln!(streams.out, "{line}")?;
    }
    Ok(())
}

struct Update {
    name: &'static str,
    kind: i8,
    dry_run: bool,
}

impl Update {
    fn send(
        &self,
        levels: &BTreeMap<String, i16>,
        connect: impl FnOnce() -> Result<Client, crate::tools::client::ClientError>,
        streams: &mut Streams<'_>,
    ) -> Result<(), Failure> {
        if levels.is_empty() {
            return failed(format!("You must specify at least one feature to {}", self.name));
        }
        if levels.keys().any(|name| name.trim().is_empty()) {
            return failed("Provided feature can not be empty.");
        }
        let errors = self.ask(levels, &mut connect()?)?;
        for (feature, level) in levels {
            let refused = errors.get(feature).and_then(Option::as_ref);
            match (refused, self.name) {
                (Some(why), name) => {
                    let could = if self.dry_run { "Can not" } else { "Could not" };
                    let to = if name == "disable" { String::new() } else { format!(" to {level}") };
                    writeln!(streams.out, "{could} {name} {feature}{to}. {why}")?;
                }
                (None, "disable") => writeln!(streams.out, "{feature}{} disabled.", self.verb())?,
                (None, name) => writeln!(streams.out, "{feature}{} {name}d to {level}.", self.verb())?,
            }
        }
        match errors.values().flatten().count() {
            0 => Ok(()),
            failures => failed(format!("{failures} out of {} operation(s) failed.", levels.len())),
        }
    }

    fn verb(&self) -> &'static str {
        if self.dry_run { " can be" } else { " was" }
    }

    /// Of each feature, why the controller refused it.
    fn ask(
        &self,
        levels: &BTreeMap<String, i16>,
        client: &mut Client,
    ) -> Result<BTreeMap<String, Option<String>>, Failure> {
        let updates = levels.iter().map(|(feature, level)| UpdateFeaturesRequestFeatureUpdate {
            feature,
            max_version_level: *level,
            allow_downgrade: self.kind != UPGRADE,
            upgrade_type: self.kind,
        });
        let request = UpdateFeaturesRequest {
            timeout_ms: client.timeout.as_millis() as i32,
            feature_updates: updates.collect(),
            validate_only: self.dry_run,
        };
        let said = |code: i16, message: Option<&str>| {
            message.map_or_else(|| ErrorCode::from_code(code).message().to_owned(), str::to_owned)
        };
        let outcome = client.until_answered(|client| {
            let mut controller = client.controller()?;
            controller.call(&request, |response| match response.error_code {
                0 => {
                    let rows = response.results.iter().map(|row| {
                        let why =
                            (row.error_code != 0).then(|| said(row.error_code, row.error_message.as_deref()));
                        (row.feature.clone().into_owned(), why)
                    });
                    Ok(rows.collect::<BTreeMap<_, _>>())
                }
                code if code == ErrorCode::NotController as i16 => {
                    let code = ErrorCode::NotController;
                    Err(crate::tools::client::ClientError::Refused { what: "features".to_owned(), code })
                }
                code => {
                    let why = said(code, response.error_message.as_deref());
                    Ok(levels.keys().map(|feature| (feature.clone(), Some(why.clone()))).collect())
                }
            })
        })?;
        Ok(outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_has_a_level_from_3_0_iv1_on() {
        let levels = ["3.0-IV1", "3.7", "3.9", "3.5-IV2", "2.8", "3.9.1", "x"].map(level_of);
        assert_eq!(levels, [Some(1), Some(19), Some(21), Some(11), Some(-1), Some(21), None]);
        assert_eq!((shown(METADATA_VERSION, 21), shown("x", 21)), ("3.9-IV0".to_owned(), "21".to_owned()));
        assert_eq!(shown(METADATA_VERSION, 0), "UNKNOWN 0");
    }
}
