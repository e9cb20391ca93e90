//! Drop-ins for Kafka's performance tools: their arguments, and on stdout their lines and nothing else.
//!
//! In: arguments as kafka-producer-perf-test.sh, kafka-consumer-perf-test.sh and EndToEndLatency take them. Out: figures by
//! Kafka's definitions, from the send call and in whole milliseconds, so that parsers and old results stay comparable.
//! What those definitions leave out, the wait before a send, stands on stderr in ns resolution.
//!
//! Reading order: `accumulator` and `producer` (a client with Kafka's batching), `reader`, then the three tools.

mod accumulator;
mod consumer_perf;
mod end_to_end_latency;
pub(super) mod producer;
mod producer_perf;
mod reader;
mod topology;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use super::{Ended, failed, read_options, settings};

/// MB of these tools.
const MB: f64 = 1024.0 * 1024.0;

/// Arguments go to the tool as they are.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub struct PerfArgs {
    /// See --help of the tool itself
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTION")]
    arguments: Vec<OsString>,
}

/// Which of the three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    ProducerPerfTest,
    ConsumerPerfTest,
    EndToEndLatency,
}

/// Runs a tool; exit code 0 or 1, as Kafka's.
pub fn run(tool: Tool, args: &PerfArgs) -> ExitCode {
    let (out, err) = (&mut io::stdout(), &mut io::stderr());
    let result = match tool {
        Tool::ProducerPerfTest => producer_perf::run(&args.arguments, out, err),
        Tool::ConsumerPerfTest => consumer_perf::run(&args.arguments, out, err),
        Tool::EndToEndLatency => end_to_end_latency::run(&args.arguments, out, err),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Ended::Shown(text)) => {
            let _ = writeln!(out, "{text}");
            ExitCode::SUCCESS
        }
        Err(Ended::Failed(text)) => {
            let _ = writeln!(err, "{text}");
            ExitCode::FAILURE
        }
    }
}

/// Properties may stand in one word, with commas between them.
fn split(words: &[String]) -> Vec<String> {
    words.iter().flat_map(|word| word.split(',')).map(str::to_owned).collect()
}
