//! Command-line tools: clients of the protocol, and readers of files, with the arguments and the output of Kafka's scripts.
//!
//! One client serves them all: `client` (a connection, a request, its answer), `cluster` on top of it (leaders,
//! coordinators, what is asked again), `settings` (Kafka's keys for clients). What the tools say of wrong arguments is
//! said here, in the words of Kafka's parser.

pub mod admin;
pub mod client;
mod cluster;
pub mod console_consumer;
pub mod console_producer;
mod consumer;
pub mod consumer_groups;
mod coordinator_records;
pub mod dump_log;
mod java;
pub mod metadata;
pub mod perf;
mod settings;
pub mod topics;
pub mod verify;

use std::ffi::OsString;

/// Why a tool ends before its figures.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Help or version, which somebody asked for.
    Shown(String),
    Failed(String),
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Ended::Shown(text) | Ended::Failed(text) => f.write_str(text),
        }
    }
}

impl<E: std::error::Error> From<E> for Ended {
    fn from(error: E) -> Ended {
        Ended::Failed(error.to_string())
    }
}

pub(crate) fn failed<T>(text: impl Into<String>) -> Result<T, Ended> {
    Err(Ended::Failed(text.into()))
}

/// The options of a tool, read in Kafka's words; help is an ending of its own. `about`: what the tool says when it is given
/// none, where none are no command.
pub(crate) fn read_options<T: clap::Parser>(arguments: &[OsString], about: Option<&str>) -> Result<T, Ended> {
    use clap::error::ErrorKind;
    if let Some(about) = about.filter(|_| arguments.is_empty()) {
        return failed(about);
    }
    T::try_parse_from(arguments).map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            Ended::Shown(error.to_string().trim_end().to_owned())
        }
        _ => Ended::Failed(kafkas_words(&error)),
    })
}

/// What Kafka's parser says of an argument it cannot take, where the two parsers know the same case.
pub(crate) fn kafkas_words(error: &clap::Error) -> String {
    use clap::error::{ContextKind, ContextValue, ErrorKind};
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.trim_start_matches('-').to_owned(),
        _ => String::new(),
    };
    let option = || {
        let named = context(ContextKind::InvalidArg);
        named.split([' ', '=']).next().unwrap_or_default().to_owned()
    };
    match error.kind() {
        ErrorKind::UnknownArgument => format!("{} is not a recognized option", option()),
        ErrorKind::InvalidValue if context(ContextKind::InvalidValue).is_empty() => {
            format!("Option {} requires an argument", option())
        }
        ErrorKind::ValueValidation | ErrorKind::InvalidValue => {
            let value = context(ContextKind::InvalidValue);
            format!("Cannot parse argument '{value}' of option {}", option())
        }
        _ => error.render().to_string().trim().to_owned(),
    }
}
