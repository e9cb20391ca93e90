//! Parses the command line and calls the library.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use ringdaw::broker;
use ringdaw::config::Config;
use ringdaw::tools::admin::{self, AdminArgs};
use ringdaw::tools::perf::{self, PerfArgs, Tool};

/// A Kafka broker for Linux on io_uring, one pinned thread per core, and the rig that measures it.
///
/// Start with `ringdaw bench` (measures this machine in about two minutes) or `ringdaw broker` (serves Kafka clients on
/// port 9092, data in /tmp/kafka-logs unless the settings say otherwise).
#[derive(Parser)]
#[command(name = "ringdaw", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Broker(BrokerArguments),
    Topics(ringdaw::tools::topics::TopicsArgs),
    ConsoleConsumer(ringdaw::tools::console_consumer::ConsoleConsumerArgs),
    ConsoleProducer(ringdaw::tools::console_producer::ConsoleProducerArgs),
    ConsumerGroups(ringdaw::tools::consumer_groups::ConsumerGroupsArgs),
    /// Offsets of partitions (the arguments of kafka-get-offsets.sh)
    GetOffsets(AdminArgs),
    /// Settings of topics, brokers, users, clients and addresses (kafka-configs.sh)
    Configs(AdminArgs),
    /// Levels of features (kafka-features.sh)
    Features(AdminArgs),
    /// Delete records before an offset (kafka-delete-records.sh)
    DeleteRecords(AdminArgs),
    /// Elect leaders of partitions (kafka-leader-election.sh)
    LeaderElection(AdminArgs),
    /// What lies in log directories (kafka-log-dirs.sh)
    LogDirs(AdminArgs),
    /// The id of a cluster (kafka-cluster.sh)
    Cluster(AdminArgs),
    /// The requests that brokers serve (kafka-broker-api-versions.sh)
    BrokerApiVersions(AdminArgs),
    DumpLog(ringdaw::tools::dump_log::DumpLogArgs),
    Verify(ringdaw::tools::verify::VerifyArgs),
    Metadata(ringdaw::tools::metadata::MetadataArgs),
    Bench(Box<ringdaw::rig::cli::BenchArgs>),
    /// Write records at a rate (the arguments and lines of kafka-producer-perf-test.sh)
    ProducerPerfTest(PerfArgs),
    /// Read records as fast as they come (kafka-consumer-perf-test.sh)
    ConsumerPerfTest(PerfArgs),
    /// One record at a time from send to read (EndToEndLatency)
    EndToEndLatency(PerfArgs),
}

/// Serve Kafka clients: one broker that keeps its metadata in its own log directory, or in ZooKeeper
#[derive(clap::Args)]
struct BrokerArguments {
    /// Kafka's server.properties; without it every setting has its default
    properties: Option<PathBuf>,
    /// Set one key, as in the file; may be given several times and wins over the file
    #[arg(long = "override", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Cores to run on, such as 0,2,3; the same as --override reactor.cores=...
    #[arg(long, value_name = "CORES")]
    cores: Option<String>,
    /// Check the settings, print what would be used, and stop
    #[arg(long)]
    check_config: bool,
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Broker(arguments) => run_broker(&arguments),
        Command::Topics(arguments) => ringdaw::tools::topics::run(arguments),
        Command::ConsoleConsumer(arguments) => ringdaw::tools::console_consumer::run(arguments),
        Command::ConsoleProducer(arguments) => ringdaw::tools::console_producer::run(arguments),
        Command::ConsumerGroups(arguments) => ringdaw::tools::consumer_groups::run(arguments),
        Command::GetOffsets(arguments) => admin::get_offsets::run(&arguments),
        Command::Configs(arguments) => admin::configs::run(&arguments),
        Command::Features(arguments) => admin::features::run(&arguments),
        Command::DeleteRecords(arguments) => admin::delete_records::run(&arguments),
        Command::LeaderElection(arguments) => admin::leader_election::run(&arguments),
        Command::LogDirs(arguments) => admin::log_dirs::run(&arguments),
        Command::Cluster(arguments) => admin::cluster::run(&arguments),
        Command::BrokerApiVersions(arguments) => admin::broker_api_versions::run(&arguments),
        Command::DumpLog(arguments) => ringdaw::tools::dump_log::run(arguments),
        Command::Verify(arguments) => ringdaw::tools::verify::run(arguments),
        Command::Metadata(arguments) => {
            start_logging("warn");
            ringdaw::tools::metadata::run(arguments)
        }
        Command::Bench(arguments) => ringdaw::rig::cli::run(*arguments),
        Command::ProducerPerfTest(arguments) => perf::run(Tool::ProducerPerfTest, &arguments),
        Command::ConsumerPerfTest(arguments) => perf::run(Tool::ConsumerPerfTest, &arguments),
        Command::EndToEndLatency(arguments) => perf::run(Tool::EndToEndLatency, &arguments),
    }
}

/// Log lines to stderr; `RUST_LOG` chooses what is written, `level` and above unless it says otherwise.
fn start_logging(level: &str) {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .init();
}

fn run_broker(arguments: &BrokerArguments) -> ExitCode {
    start_logging("info");
    let mut overrides = arguments.overrides.clone();
    overrides.extend(arguments.cores.iter().map(|cores| format!("reactor.cores={cores}")));
    match Config::load(arguments.properties.as_deref(), &overrides) {
        Ok((config, notes)) => {
            for note in &notes {
                tracing::warn!("{note}");
            }
            if arguments.check_config {
                println!("the settings are valid");
                return ExitCode::SUCCESS;
            }
            ExitCode::from(broker::run(config))
        }
        Err(errors) => {
            eprintln!("{errors}");
            ExitCode::from(2)
        }
    }
}
