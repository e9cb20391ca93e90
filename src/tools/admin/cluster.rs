//! `ringdaw cluster`: the id of a cluster, and brokers that left it, as kafka-cluster.sh of Kafka 3.9 has them.
//!
//! Only clusters without ZooKeeper know how to unregister a broker; others are told so, as Kafka's tool does it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use super::{AdminArgs, Failure, Streams, failed, patience};
use crate::tools::client::Client;
use crate::wire::message::metadata::MetadataRequest;

/// UnregisterBroker, which no table of ours has.
const UNREGISTER_BROKER: i16 = 64;

/// The cluster a broker belongs to.
#[derive(Parser, Debug)]
#[command(name = "cluster", no_binary_name = true, infer_long_args = true, version, max_term_width = 100)]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Get information about the ID of a cluster
    ClusterId(Connect),
    /// Unregister a broker
    Unregister {
        #[command(flatten)]
        connect: Connect,
        /// The id of the broker
        #[arg(long, short, value_name = "ID")]
        id: i32,
    },
}

#[derive(clap::Args, Debug)]
struct Connect {
    /// The broker to connect to; several with commas between them
    #[arg(long, short, value_name = "HOST:PORT")]
    bootstrap_server: String,
    /// A properties file for the client
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub fn run(args: &AdminArgs) -> ExitCode {
    super::run(args, "The Kafka cluster tool.", "kafka-cluster: error: ", execute)
}

fn execute(options: &Options, streams: &mut Streams<'_>) -> Result<(), Failure> {
    let (Command::ClusterId(connect) | Command::Unregister { connect, .. }) = &options.command;
    let timeout = patience(connect.config.as_deref(), 60_000)?;
    let mut client = Client::connect(&connect.bootstrap_server, timeout)?;
    match &options.command {
        Command::ClusterId(_) => {
            let none = MetadataRequest { topics: Some(Default::default()), ..Default::default() };
            let id =
                client.any().call(&none, |response| response.cluster_id.as_deref().map(str::to_owned))?;
            match id {
                Some(id) => writeln!(streams.out, "Cluster ID: {id}")?,
                None => writeln!(streams.out, "No cluster ID found. The Kafka version is probably too old.")?,
            }
        }
        Command::Unregister { id, .. } => {
            if client.any().versions().any(|(key, _)| key == UNREGISTER_BROKER) {
                return failed(format!(
                    "broker {id} stays: this tool does not speak UnregisterBroker, which the cluster has"
                ));
            }
            writeln!(streams.out, "The target cluster does not support the broker unregistration API.")?;
        }
    }
    Ok(())
}
