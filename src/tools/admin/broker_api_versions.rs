//! `ringdaw broker-api-versions`: which requests each broker serves, as kafka-broker-api-versions.sh of Kafka 3.9 shows.
//!
//! `usable` is the highest version that Kafka 3.9's clients would choose, so that the lines are those of its tool.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use super::{AdminArgs, Failure, Streams, missing, patience};
use crate::tools::client::Client;
use crate::wire::message::metadata::MetadataRequest;
use crate::wire::version::APIS;

/// The APIs of Kafka 3.9's clients that only brokers without ZooKeeper serve, and the last version of each.
const WITHOUT_ZOOKEEPER: [(i16, &str, i16); 19] = [
    (55, "DescribeQuorum", 2),
    (64, "UnregisterBroker", 0),
    (68, "ConsumerGroupHeartbeat", 0),
    (69, "ConsumerGroupDescribe", 0),
    (71, "GetTelemetrySubscriptions", 0),
    (72, "PushTelemetry", 0),
    (74, "ListClientMetricsResources", 0),
    (75, "DescribeTopicPartitions", 0),
    (76, "ShareGroupHeartbeat", 0),
    (77, "ShareGroupDescribe", 0),
    (78, "ShareFetch", 0),
    (79, "ShareAcknowledge", 0),
    (80, "AddRaftVoter", 0),
    (81, "RemoveRaftVoter", 0),
    (83, "InitializeShareGroupState", 0),
    (84, "ReadShareGroupState", 0),
    (85, "WriteShareGroupState", 0),
    (86, "DeleteShareGroupState", 0),
    (87, "ReadShareGroupStateSummary", 0),
];

/// The requests that brokers serve. Speaks to this broker and to Kafka's own.
#[derive(Parser, Debug)]
#[command(
    name = "broker-api-versions",
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
    /// A properties file for the client
    #[arg(long, value_name = "FILE")]
    command_config: Option<PathBuf>,
}

pub fn run(args: &AdminArgs) -> ExitCode {
    super::run(args, "This tool helps to retrieve broker version information.", "", execute)
}

fn execute(options: &Options, streams: &mut Streams<'_>) -> Result<(), Failure> {
    let Some(bootstrap) = &options.bootstrap_server else { return missing("bootstrap-server") };
    let mut client = Client::connect(bootstrap, patience(options.command_config.as_deref(), 5000)?)?;
    let none = MetadataRequest { topics: Some(Default::default()), ..Default::default() };
    let mut brokers = client.any().call(&none, |response| {
        let brokers = response.brokers.iter();
        let rows = brokers.map(|b| {
            let rack = b.rack.as_deref().unwrap_or("null").to_owned();
            (b.node_id, format!("{}:{}", b.host, b.port), rack)
        });
        rows.collect::<Vec<_>>()
    })?;
    brokers.sort();
    for (id, address, rack) in brokers {
        write!(streams.out, "{address} (id: {id} rack: {rack}) -> ")?;
        match client.to(&address) {
            Ok(broker) => {
                let served = broker.versions().map(|(key, versions)| (key, versions.clone())).collect();
                writeln!(streams.out, "(\n\t{}\n)", lines(&served).join(",\n\t"))?;
            }
            Err(error) => writeln!(streams.out, "ERROR: {error}")?,
        }
    }
    Ok(())
}

/// A line for each request that clients know or the broker serves, by key.
fn lines(served: &BTreeMap<i16, RangeInclusive<i16>>) -> Vec<String> {
    let mut known: BTreeMap<i16, (&str, RangeInclusive<i16>)> =
        APIS.iter().map(|key| (*key as i16, (key.api().name, key.api().kafka.clone()))).collect();
    known.extend(WITHOUT_ZOOKEEPER.iter().map(|(key, name, last)| (*key, (*name, 0..=*last))));
    let keys: std::collections::BTreeSet<i16> = known.keys().chain(served.keys()).copied().collect();
    let line = |key: i16| {
        let Some(theirs) = served.get(&key) else {
            return format!("{}({key}): UNSUPPORTED", known.get(&key).map_or("UNKNOWN", |(name, _)| *name));
        };
        let (first, last) = (theirs.start(), theirs.end());
        let range = if first == last { first.to_string() } else { format!("{first} to {last}") };
        match known.get(&key) {
            None => format!("UNKNOWN({key}): {range}"),
            Some((name, ours)) if ours.end() < first => {
                format!("{name}({key}): {range} [unusable: node too new]")
            }
            Some((name, ours)) if last < ours.start() => {
                format!("{name}({key}): {range} [unusable: node too old]")
            }
            Some((name, ours)) => format!("{name}({key}): {range} [usable: {}]", last.min(ours.end())),
        }
    };
    keys.into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_is_served_and_what_of_it_can_be_used() {
        let served = [(0, 0..=11), (3, 13..=14), (75, 0..=0), (99, 1..=2)].into();
        let lines = lines(&served);
        let of = |start: &str| lines.iter().find(|line| line.starts_with(start)).expect("a line").as_str();
        assert_eq!(of("Produce"), "Produce(0): 0 to 11 [usable: 11]");
        assert_eq!(of("Metadata"), "Metadata(3): 13 to 14 [unusable: node too new]");
        assert_eq!(of("Fetch"), "Fetch(1): UNSUPPORTED");
        assert_eq!(of("DescribeTopicPartitions"), "DescribeTopicPartitions(75): 0 [usable: 0]");
        assert_eq!(of("UNKNOWN"), "UNKNOWN(99): 1 to 2");
    }
}
