//! Writing a cluster's metadata back into an ensemble that has lost it, and comparing the two.
//!
//! In: copies of the brokers, what their logs know. Out: nodes under which the cluster goes on, with epochs and producer ids
//! that only rise. The id of the cluster is written last: a broker joins nothing before it is there, so a restore that was
//! interrupted is not taken for whole, and is simply done again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use crate::config::version::Version;
use crate::config::{Overrides, ZooKeeper as Settings};
use crate::ids::BrokerId;
use crate::metadata::copy::About;
use crate::metadata::fresh_id::told;
use crate::metadata::settings_path;
use crate::metadata::state::{Change, Led, State, StoredTopic};
use crate::metadata::store::StoreError;
use crate::metadata::zookeeper::client::Client;
use crate::metadata::zookeeper::jute::{Mode, ZkError};
use crate::metadata::zookeeper::membership::connect as begin_session;
use crate::metadata::zookeeper::store::{Terms, ZooKeeper, failed};
use crate::metadata::zookeeper::znode::{self, BrokerNode, ProducerIdBlock, StateNode, TopicNode};

/// Blocks that may have been given away behind the copies' backs are passed over.
const PRODUCER_IDS_SKIPPED: i64 = 1_000_000;
/// Elections that may have happened behind the copies' backs are passed over: of controllers, and of leaders.
const EPOCHS_SKIPPED: i32 = 10;
/// Nodes written at once.
const AT_ONCE: usize = 500;

/// What is written back.
#[derive(Debug)]
pub struct Plan {
    pub state: State,
    pub controller_epoch: i32,
}

/// Of several copies the cluster as it was: each topic and setting as the newest copy that knows it has it, each leader as the
/// copy that saw most of its changes has it. `last_epochs`: of each partition, the last epoch in anybody's log.
pub fn plan(copies: &[State], last_epochs: &BTreeMap<(String, i32), i32>) -> Result<Plan, String> {
    let mut copies: Vec<&State> = copies.iter().collect();
    copies.sort_by_key(|copy| std::cmp::Reverse(About::of(copy).written_ms));
    let newest = *copies.first().ok_or("there is no copy to restore from")?;
    if let Some(other) = copies.iter().find(|copy| copy.cluster_id() != newest.cluster_id()) {
        return Err(format!(
            "the copies are of two clusters, {} and {}",
            newest.cluster_id(),
            other.cluster_id()
        ));
    }
    let mut changes =
        vec![Change::Identity { cluster_id: newest.cluster_id().clone(), broker_id: newest.broker_id() }];
    let below = copies.iter().map(|copy| copy.producer_ids_below()).max().unwrap_or(0);
    if below > 0 {
        changes.push(Change::ProducerIdsBelow(below.saturating_add(PRODUCER_IDS_SKIPPED)));
    }
    let mut controller_epoch = copies.iter().map(|copy| About::of(copy).controller_epoch).max().unwrap_or(0);
    // The newest copy says which topics there are: one that it does not know was deleted.
    for topic in newest.topics() {
        let mut restored = (**topic).clone();
        for number in 0..topic.partition_count() {
            let key = (topic.name.to_string(), number);
            let seen = |copy: &&State| {
                let topic = copy.topic(&topic.id)?;
                let led = topic.placement(number)?.led.clone()?;
                Some((copy.leader_epoch(topic, number).0, led.version, led))
            };
            let last = copies.iter().filter_map(seen).max_by_key(|(epoch, version, _)| (*epoch, *version));
            let logged = last_epochs.get(&key).copied().unwrap_or(-1);
            let (Some((epoch, _, led)), Some(placement)) =
                (last, restored.placements.get_mut(number as usize))
            else {
                continue;
            };
            controller_epoch = controller_epoch.max(led.controller_epoch);
            restored.leader_epochs[number as usize] = epoch.max(logged).saturating_add(EPOCHS_SKIPPED);
            placement.led = Some(Led { version: 0, ..led });
        }
        changes.push(Change::TopicAdded(Arc::new(restored)));
    }
    for (path, settings) in newest.settings_under("").filter(|(path, _)| ***path != *settings_path::COPY) {
        changes.push(Change::SettingsSet { path: path.clone(), settings: settings.clone() });
    }
    let mut state = State::default();
    let _ = state.apply_all(&changes).map_err(|unfit| unfit.to_string())?;
    Ok(Plan { state, controller_epoch: controller_epoch.saturating_add(EPOCHS_SKIPPED) })
}

/// A session that is nobody's broker.
pub(super) async fn connect(settings: &Settings) -> Result<ZooKeeper, StoreError> {
    let (client, events) = begin_session(settings, 0).await?;
    let nobody = BrokerNode {
        host: None,
        port: -1,
        jmx_port: -1,
        timestamp: 0,
        endpoints: Vec::new(),
        protocols: Vec::new(),
        rack: None,
        features: serde_json::Map::new(),
    };
    let terms = Terms {
        // Below 2.8, so that a topic without an id is read as it is and given none.
        protocol: Version::parse("2.7").ok_or_else(|| StoreError::Refused("no protocol 2.7".to_owned()))?,
        delete_topic_enable: false,
        node: nobody,
        session_timeout: Duration::from_millis(settings.session_timeout_ms.into()),
        random: Box::new(|| 0),
        copy_in: None,
    };
    Ok(ZooKeeper::new(client, events, terms))
}

/// What a living ensemble holds. Nothing is written there.
pub async fn read(settings: &Settings) -> Result<State, StoreError> {
    let mut store = connect(settings).await?;
    let outcome = read_with(&mut store, settings).await;
    store.client.close().await;
    outcome.map(|()| store.state)
}

async fn read_with(store: &mut ZooKeeper, settings: &Settings) -> Result<(), StoreError> {
    let cluster_id = match store.client.data(znode::CLUSTER_ID, false).await {
        Ok((data, _)) => znode::decode_cluster_id(&data.unwrap_or_default())?,
        Err(ZkError::NoNode) => {
            return Err(StoreError::Refused(format!(
                "ZooKeeper at {} holds no cluster: it has no {}",
                settings.connect,
                znode::CLUSTER_ID
            )));
        }
        Err(error) => return Err(failed(znode::CLUSTER_ID, "it cannot be read")(error)),
    };
    let identity = Change::Identity { cluster_id: cluster_id.into(), broker_id: BrokerId(-1) };
    let _ = store.state.apply(&identity)?;
    store.load().await
}

/// Writes a plan into an ensemble that holds no cluster.
pub async fn restore(settings: &Settings, plan: &Plan, protocol: Version) -> Result<(), StoreError> {
    let store = connect(settings).await?;
    let outcome = write(&store, settings, plan, protocol).await;
    store.client.close().await;
    outcome
}

async fn write(
    store: &ZooKeeper,
    settings: &Settings,
    plan: &Plan,
    protocol: Version,
) -> Result<(), StoreError> {
    let client = &store.client;
    if client
        .exists(znode::CLUSTER_ID, false)
        .await
        .map_err(failed(znode::CLUSTER_ID, "it cannot be read"))?
        .is_some()
    {
        return Err(StoreError::Refused(format!(
            "ZooKeeper at {} holds a cluster already; only an ensemble that has lost everything is written to",
            settings.connect
        )));
    }
    client.ensure_chroot().await.map_err(failed("/", "the chroot cannot be made"))?;
    let has_topic_ids = Version::parse("2.8-IV0").is_some_and(|first| protocol >= first);
    let mut nodes: Vec<(String, Option<Vec<u8>>)> =
        znode::PERSISTENT.iter().map(|path| ((*path).to_owned(), None)).collect();
    nodes.push((znode::CONTROLLER_EPOCH.to_owned(), Some(plan.controller_epoch.to_string().into_bytes())));
    let below = plan.state.producer_ids_below();
    if below > 0 {
        let block =
            ProducerIdBlock { broker_id: plan.state.broker_id().0, first: below - 1, last: below - 1 };
        nodes.push((znode::PRODUCER_ID_BLOCK.to_owned(), Some(block.encode())));
    }
    for (path, settings) in plan.state.settings_under("") {
        nodes.push((format!("/config/{path}"), Some(znode::encode_config(settings))));
    }
    for topic in plan.state.topics() {
        nodes.push((znode::topic_config(&topic.name), Some(znode::encode_config(&topic.overrides))));
        nodes.push((znode::topic(&topic.name), Some(topic_node(topic, has_topic_ids).encode())));
        nodes.extend(state_nodes(&plan.state, topic));
    }
    // Their parents, by depth, and then all of them; each is made or, after an interrupted restore, written over.
    let mut parents: BTreeSet<(usize, String)> = BTreeSet::new();
    for (path, _) in &nodes {
        for (depth, (end, _)) in path.match_indices('/').enumerate().skip(1) {
            parents.insert((depth, path[..end].to_owned()));
        }
    }
    let mut by_depth: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for (depth, path) in parents {
        by_depth.entry(depth).or_default().push(path);
    }
    for paths in by_depth.values().flat_map(|paths| paths.chunks(AT_ONCE)) {
        for made in join_all(paths.iter().map(|path| put(client, path, None))).await {
            made?;
        }
    }
    for nodes in nodes.chunks(AT_ONCE) {
        for made in join_all(nodes.iter().map(|(path, data)| put(client, path, data.as_deref()))).await {
            made?;
        }
    }
    raise_broker_sequence(client, &plan.state).await?;
    put(client, "/cluster", None).await?;
    let id = znode::encode_cluster_id(plan.state.cluster_id());
    put(client, znode::CLUSTER_ID, Some(&id)).await
}

async fn put(client: &Client, path: &str, data: Option<&[u8]>) -> Result<(), StoreError> {
    match client.create(path, data, Mode::Persistent).await {
        Ok(_) => Ok(()),
        Err(ZkError::NodeExists) if data.is_none() => Ok(()),
        Err(ZkError::NodeExists) => {
            let written = client.set_data(path, data, -1).await;
            written.map(|_| ()).map_err(failed(path, "it cannot be written"))
        }
        Err(error) => Err(failed(path, "it cannot be made")(error)),
    }
}

/// Ids that were made for brokers are not made again (contract 4.3: the id is the node's version and the highest reserved one).
async fn raise_broker_sequence(client: &Client, state: &State) -> Result<(), StoreError> {
    const RESERVED_MAX: i32 = 1000;
    let replicas =
        state.topics().flat_map(|topic| topic.placements.iter()).flat_map(|place| place.replicas.iter());
    let highest = replicas.copied().chain([state.broker_id()]).map(|id| id.0).max().unwrap_or(0);
    let path = znode::BROKER_SEQUENCE;
    for _ in 0..(highest - RESERVED_MAX).clamp(0, 100_000) {
        let stat =
            client.set_data(path, Some(b""), -1).await.map_err(failed(path, "it cannot be written"))?;
        if stat.version >= highest - RESERVED_MAX {
            break;
        }
    }
    Ok(())
}

fn topic_node(topic: &StoredTopic, has_topic_ids: bool) -> TopicNode {
    let id = told(topic.id);
    TopicNode {
        partitions: (0..)
            .zip(&topic.placements)
            .map(|(number, place)| (number, place.replicas.iter().map(|id| id.0).collect()))
            .collect(),
        topic_id: (has_topic_ids && !id.is_zero()).then_some(id),
        ..TopicNode::default()
    }
}

fn state_nodes<'a>(
    state: &'a State,
    topic: &'a StoredTopic,
) -> impl Iterator<Item = (String, Option<Vec<u8>>)> + 'a {
    (0..).zip(&topic.placements).filter_map(move |(number, placement)| {
        let led = placement.led.as_ref()?;
        let node = StateNode {
            controller_epoch: led.controller_epoch,
            leader: led.leader.map_or(-1, |leader| leader.0),
            leader_epoch: state.leader_epoch(topic, number).0,
            isr: led.isr.iter().map(|id| id.0).collect(),
            recovering: led.recovering,
        };
        Some((znode::partition_state(&topic.name, number), Some(node.encode())))
    })
}

/// Where an ensemble and a copy differ, a line for each difference.
pub fn differences(ensemble: &State, copy: &State) -> Vec<String> {
    let mut all = Vec::new();
    if ensemble.cluster_id() != copy.cluster_id() {
        all.push(format!(
            "cluster: {} in ZooKeeper, {} in the copy",
            ensemble.cluster_id(),
            copy.cluster_id()
        ));
    }
    if ensemble.producer_ids_below() < copy.producer_ids_below() {
        all.push(format!(
            "producer ids: below {} are given away in ZooKeeper, and below {} in the copy",
            ensemble.producer_ids_below(),
            copy.producer_ids_below()
        ));
    }
    let names: BTreeSet<&Arc<str>> =
        ensemble.topics().chain(copy.topics()).map(|topic| &topic.name).collect();
    for name in names {
        match (ensemble.topic_named(name), copy.topic_named(name)) {
            (None, Some(_)) => all.push(format!("topic {name}: not in ZooKeeper")),
            (Some(_), None) => all.push(format!("topic {name}: not in the copy")),
            (Some(there), Some(here)) => topic_differences(ensemble, there, copy, here, &mut all),
            (None, None) => {}
        }
    }
    let settings = |state: &State| -> BTreeMap<Arc<str>, Overrides> {
        let kept = state.settings_under("").filter(|(path, _)| ***path != *settings_path::COPY);
        kept.map(|(path, settings)| (path.clone(), settings.clone())).collect()
    };
    let (here, there) = (settings(copy), settings(ensemble));
    let paths: BTreeSet<_> = here.keys().chain(there.keys()).collect();
    for path in paths {
        if here.get(path) != there.get(path) {
            all.push(format!("settings of {path}: not the same"));
        }
    }
    all
}

fn topic_differences(
    ensemble: &State,
    there: &StoredTopic,
    copy: &State,
    here: &StoredTopic,
    all: &mut Vec<String>,
) {
    let name = &there.name;
    if there.id != here.id {
        all.push(format!("topic {name}: id {} in ZooKeeper, {} in the copy", there.id, here.id));
    }
    if there.overrides != here.overrides {
        all.push(format!("topic {name}: its settings are not the same"));
    }
    if there.partition_count() != here.partition_count() {
        let (there, here) = (there.partition_count(), here.partition_count());
        all.push(format!("topic {name}: {there} partitions in ZooKeeper, {here} in the copy"));
    }
    for number in 0..there.partition_count().min(here.partition_count()) {
        let (Some(a), Some(b)) = (there.placement(number), here.placement(number)) else { continue };
        if a.replicas != b.replicas {
            all.push(format!("partition {name}-{number}: its replicas are not the same"));
        }
        let seen = |led: &Option<Led>| led.as_ref().map(|led| led.version);
        let a = (ensemble.leader_epoch(there, number).0, seen(&a.led));
        let b = (copy.leader_epoch(here, number).0, seen(&b.led));
        if a < b {
            all.push(format!("partition {name}-{number}: leader epoch {} in ZooKeeper, {} in the copy: ZooKeeper is behind", a.0, b.0));
        } else if a > b {
            all.push(format!(
                "partition {name}-{number}: leader epoch {} in ZooKeeper, {} in the copy: the copy is behind",
                a.0, b.0
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::state::Placement;
    use crate::wire::primitive::Uuid;

    fn copy(broker: i32, written_ms: i64, leads: &[(i32, i32, i32)], settings: &str) -> State {
        let led = |leader: i32, version| Led {
            leader: Some(BrokerId(leader)),
            isr: [BrokerId(leader)].into(),
            controller_epoch: written_ms as i32,
            recovering: false,
            version,
        };
        let topic = StoredTopic {
            id: Uuid([7; 16]),
            name: "t".into(),
            leader_epochs: leads.iter().map(|lead| lead.1).collect(),
            since: 0,
            overrides: [("retention.ms".to_owned(), settings.to_owned())].into(),
            placements: leads
                .iter()
                .map(|(leader, _, version)| Placement {
                    replicas: [BrokerId(1), BrokerId(1002)].into(),
                    led: Some(led(*leader, *version)),
                })
                .collect(),
        };
        let changes = [
            Change::Identity { cluster_id: "c".into(), broker_id: BrokerId(broker) },
            Change::ProducerIdsBelow(1000 * i64::from(broker)),
            About { written_ms, controller_epoch: 3 }.change(),
            Change::TopicAdded(Arc::new(topic)),
        ];
        let mut state = State::default();
        let _ = state.apply_all(&changes).unwrap();
        state
    }

    #[test]
    fn leaders_are_those_of_the_copy_that_saw_most_and_epochs_only_rise() {
        let newer = copy(1, 9, &[(1, 4, 7), (1, 2, 2)], "new");
        let older = copy(2, 5, &[(1002, 4, 8), (1002, 1, 9)], "old");
        let logged = BTreeMap::from([(("t".to_owned(), 1), 30)]);
        let plan = plan(&[older, newer], &logged).unwrap();
        let topic = plan.state.topic_named("t").unwrap();
        let leader = |n: i32| topic.placement(n).unwrap().led.as_ref().unwrap().leader.unwrap().0;
        assert_eq!((leader(0), leader(1)), (1002, 1));
        assert_eq!(topic.leader_epochs, [4 + EPOCHS_SKIPPED, 30 + EPOCHS_SKIPPED]);
        assert_eq!(topic.overrides["retention.ms"], "new");
        assert_eq!(plan.state.producer_ids_below(), 2000 + PRODUCER_IDS_SKIPPED);
        assert_eq!(plan.controller_epoch, 9 + EPOCHS_SKIPPED);
    }

    #[test]
    fn copies_of_two_clusters_are_not_mixed() {
        let mut other = State::default();
        let _ = other.apply(&Change::Identity { cluster_id: "d".into(), broker_id: BrokerId(1) }).unwrap();
        let said = plan(&[copy(1, 1, &[(1, 0, 0)], ""), other], &BTreeMap::new());
        assert!(said.is_err());
        assert!(plan(&[], &BTreeMap::new()).unwrap_err().contains("no copy"));
    }

    #[test]
    fn differences_name_what_differs_and_who_is_behind() {
        let (a, b) = (copy(1, 1, &[(1, 4, 7)], "1"), copy(1, 1, &[(1, 5, 7)], "2"));
        let all = differences(&a, &b);
        assert_eq!(all.len(), 2, "{all:?}");
        assert!(all[0].contains("settings") && all[1].contains("ZooKeeper is behind"), "{all:?}");
        assert!(differences(&b, &a)[1].contains("the copy is behind"));
        assert_eq!(differences(&a, &a), [""; 0]);
    }
}
