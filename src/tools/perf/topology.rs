//! Where the partitions of a topic are: leaders, and connections to them.
//!
//! In: brokers to start from, a topic. Out: addresses of leaders, in the order of partitions. A topic that is not there is
//! made by a broker that makes topics by itself, as with Kafka's clients.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::{Ended, failed};
use crate::tools::client::Client;
use crate::wire::error_code::ErrorCode;
use crate::wire::message::metadata::{MetadataRequest, MetadataRequestTopic};
use crate::wire::primitive::Uuid;

/// How long a topic may be without a leader.
const LEADER_MAX: Duration = Duration::from_secs(60);
pub const TIMEOUT: Duration = Duration::from_secs(60);

/// A topic's partitions; each names one of `brokers`.
#[derive(Debug, Clone)]
pub struct Topology {
    pub topic_id: Uuid,
    /// `host:port`
    pub brokers: Vec<String>,
    /// Index into `brokers`, by partition.
    pub leaders: Vec<usize>,
}

enum Found {
    Whole(Topology),
    NotYet(String),
    Never(String),
}

/// Asks until every partition has a leader.
pub fn find(bootstrap: &str, topic: &str) -> Result<Topology, Ended> {
    let mut client = Client::connect(bootstrap, TIMEOUT)?;
    let deadline = Instant::now() + LEADER_MAX;
    loop {
        let topics = vec![MetadataRequestTopic { name: Some(topic), ..Default::default() }];
        let request = MetadataRequest {
            topics: Some(topics.into()),
            allow_auto_topic_creation: true,
            ..MetadataRequest::default()
        };
        let found = client.any().call(&request, |response| {
            let hosts: HashMap<i32, String> =
                response.brokers.iter().map(|b| (b.node_id, format!("{}:{}", b.host, b.port))).collect();
            let Some(found) = response.topics.first() else {
                return Found::NotYet("no answer about it".to_owned());
            };
            match ErrorCode::known(found.error_code) {
                Some(ErrorCode::None) => {}
                Some(
                    code @ (ErrorCode::UnknownTopicOrPartition
                    | ErrorCode::LeaderNotAvailable
                    | ErrorCode::NotLeaderOrFollower),
                ) => return Found::NotYet(code.message().to_owned()),
                Some(code) => return Found::Never(code.message().to_owned()),
                None => return Found::Never(format!("error {}", found.error_code)),
            }
            let mut topology = Topology {
                topic_id: found.topic_id,
                brokers: Vec::new(),
                leaders: vec![0; found.partitions.len()],
            };
            for partition in &found.partitions {
                let (Some(host), Some(place)) = (
                    hosts.get(&partition.leader_id),
                    usize::try_from(partition.partition_index)
                        .ok()
                        .and_then(|at| topology.leaders.get_mut(at)),
                ) else {
                    return Found::NotYet(format!("partition {} has no leader", partition.partition_index));
                };
                *place = topology.brokers.iter().position(|known| known == host).unwrap_or_else(|| {
                    topology.brokers.push(host.clone());
                    topology.brokers.len() - 1
                });
            }
            Found::Whole(topology)
        })?;
        match found {
            Found::Whole(topology) if !topology.leaders.is_empty() => return Ok(topology),
            Found::Whole(_) => return failed(format!("topic {topic} has no partitions")),
            Found::Never(why) => return failed(format!("topic {topic}: {why}")),
            Found::NotYet(why) if Instant::now() >= deadline => {
                return failed(format!("topic {topic}: {why}"));
            }
            Found::NotYet(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}
