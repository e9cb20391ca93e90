//! `ringdaw metadata`: what is left of a cluster's metadata when ZooKeeper has lost it, shown, compared and written back.
//!
//! In: copies that brokers keep beside their logs, or documents that `export` wrote. Out: a document; the differences to a
//! living ensemble; an ensemble that had lost everything, written again. Nothing but `restore` writes anywhere.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::config::version::Version;
use crate::config::{Config, ZooKeeper};
use crate::log::directory_facts;
use crate::metadata::zookeeper::restore;
use crate::metadata::{State, copy, document, embedded};
use crate::reactor::OsDisk;
use crate::tools::{Ended, failed};

/// Show, compare and restore the metadata of a cluster from the copies that brokers keep beside their logs
#[derive(Args)]
pub struct MetadataArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write a copy as a JSON document
    Export(ExportArgs),
    /// Compare a copy with a living ensemble: a line for each difference, and status 1 if there is one
    Check(CheckArgs),
    /// Write the metadata back into an ensemble that has lost everything, from the copies of all brokers
    Restore(RestoreArgs),
}

#[derive(Args)]
struct ExportArgs {
    /// A log directory, the copy in one (metadata.copy), or a document
    place: PathBuf,
    /// Where to write; standard output if not given
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Args)]
struct CheckArgs {
    /// A log directory, the copy in one (metadata.copy), or a document
    place: PathBuf,
    /// The ensemble and path, as in zookeeper.connect
    #[arg(long, value_name = "CONNECT")]
    zookeeper: String,
}

#[derive(Args)]
struct RestoreArgs {
    /// Log directories, copies (metadata.copy) and documents: of every broker, if they can be had. Of a log directory, the last
    /// leader epochs in its logs count too
    #[arg(required = true)]
    places: Vec<PathBuf>,
    /// The ensemble and path, as in zookeeper.connect
    #[arg(long, value_name = "CONNECT")]
    zookeeper: String,
    /// inter.broker.protocol.version of the cluster: from 2.8 on topics have ids
    #[arg(long, value_name = "VERSION", default_value = "3.9")]
    protocol: String,
}

pub fn run(arguments: MetadataArgs) -> ExitCode {
    let outcome = match arguments.command {
        Command::Export(arguments) => export(&arguments),
        Command::Check(arguments) => check(&arguments),
        Command::Restore(arguments) => restore(&arguments),
    };
    match outcome {
        Ok(code) => code,
        Err(ended) => {
            eprintln!("{ended}");
            ExitCode::FAILURE
        }
    }
}

fn export(arguments: &ExportArgs) -> Result<ExitCode, Ended> {
    let Some(state) = read(&arguments.place)? else {
        return failed(nothing_in(&arguments.place));
    };
    let text = document::write(&state) + "\n";
    match &arguments.output {
        None => std::io::stdout().write_all(text.as_bytes())?,
        Some(path) => std::fs::write(path, text)
            .map_err(|error| Ended::Failed(format!("{}: cannot be written: {error}", path.display())))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn check(arguments: &CheckArgs) -> Result<ExitCode, Ended> {
    let Some(copy) = read(&arguments.place)? else {
        return failed(nothing_in(&arguments.place));
    };
    let settings = settings(&arguments.zookeeper)?;
    let ensemble = block_on(restore::read(&settings))??;
    let all = restore::differences(&ensemble, &copy);
    for line in &all {
        println!("{line}");
    }
    if !all.is_empty() {
        return Ok(ExitCode::FAILURE);
    }
    println!(
        "{} and ZooKeeper at {} agree: cluster {}, {} topics",
        arguments.place.display(),
        settings.connect,
        ensemble.cluster_id(),
        ensemble.topics().len()
    );
    Ok(ExitCode::SUCCESS)
}

fn restore(arguments: &RestoreArgs) -> Result<ExitCode, Ended> {
    let Some(protocol) = Version::parse(&arguments.protocol) else {
        return failed(format!("--protocol {}: no such release", arguments.protocol));
    };
    let settings = settings(&arguments.zookeeper)?;
    let mut copies = Vec::new();
    let mut epochs = BTreeMap::new();
    for place in &arguments.places {
        copies.extend(read(place)?);
        if place.is_dir() {
            last_epochs(place, &mut epochs)?;
        }
    }
    let plan = restore::plan(&copies, &epochs).map_err(Ended::Failed)?;
    block_on(restore::restore(&settings, &plan, protocol))??;
    println!(
        "restored cluster {} into ZooKeeper at {}: {} topics, controller epoch {}, producer ids from {}",
        plan.state.cluster_id(),
        settings.connect,
        plan.state.topics().len(),
        plan.controller_epoch,
        plan.state.producer_ids_below()
    );
    Ok(ExitCode::SUCCESS)
}

fn nothing_in(place: &Path) -> String {
    format!("{}: there is no {} in it", place.display(), copy::FILE_NAME)
}

/// What a place holds; `None` of a log directory without metadata.
fn read(place: &Path) -> Result<Option<State>, Ended> {
    let is_document = || std::fs::read(place).is_ok_and(|bytes| bytes.first() == Some(&b'{'));
    if place.is_file() && is_document() {
        let text = std::fs::read_to_string(place)?;
        return match document::read(&text) {
            Ok(state) => Ok(Some(state)),
            Err(why) => failed(format!("{}: {why}", place.display())),
        };
    }
    if !place.is_dir() || place.join(copy::FILE_NAME).exists() {
        return Ok(Some(copy::read(&OsDisk, place)?.1));
    }
    let own = place.join(embedded::FILE_NAME);
    if !own.exists() {
        return Ok(None);
    }
    // The metadata of a broker that kept it itself: through a document its topics get their places.
    let (_, state) = copy::read(&OsDisk, &own)?;
    document::read(&document::write(&state)).map(Some).map_err(Ended::Failed)
}

/// The last leader epoch that each replica of a log directory has records of.
fn last_epochs(directory: &Path, into: &mut BTreeMap<(String, i32), i32>) -> Result<(), Ended> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let Some((topic, number)) = name.rsplit_once('-') else { continue };
        let Ok(partition) = number.parse::<i32>() else { continue };
        if !path.is_dir() {
            continue;
        }
        let facts = directory_facts(&OsDisk, &path)
            .map_err(|error| Ended::Failed(format!("{}: {error}", path.display())))?;
        if let Some(epoch) = facts.last_epoch {
            let last = into.entry((topic.to_owned(), partition)).or_insert(epoch);
            *last = epoch.max(*last);
        }
    }
    Ok(())
}

fn settings(connect: &str) -> Result<ZooKeeper, Ended> {
    let config = Config::with_overrides(&[("zookeeper.connect", connect)])
        .map_err(|errors| Ended::Failed(errors.to_string()))?;
    match config.zookeeper {
        Some(settings) => Ok(settings),
        None => failed("--zookeeper names no server"),
    }
}

fn block_on<T>(work: impl Future<Output = T>) -> Result<T, Ended> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    Ok(runtime.block_on(work))
}
