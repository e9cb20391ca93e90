//! From settings to logs that can serve: directories, metadata, recovery.
//!
//! In: settings. Out: everything the threads need, or a sentence with the path and an exit code. Logs are opened in
//! parallel; after a clean stop no data is read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::broker::background::OpenedReplica;
use crate::broker::settings::log_config;
use crate::config::{self, Config, Overrides, SecurityProtocol, TopicConfig};
use crate::ids::{BrokerId, LeaderEpoch};
use crate::io_thread::DirectoryState;
use crate::log::directory::{DirectoryError, LogDirectory, ReplicaFound, check_duplicates};
use crate::log::{Log, Recovered, directory_facts};
use crate::metadata::embedded::{Embedded, Opened, Owner};
use crate::metadata::fresh_id::{Random, told};
use crate::metadata::reconcile::{Found, Plan, reconcile};
use crate::metadata::settings_path;
use crate::metadata::store::{Store, StoreError};
use crate::metadata::zookeeper::znode::BrokerNode;
use crate::metadata::zookeeper::{Applicant, Terms, ZooKeeper};
use crate::metadata::{Change, Endpoint, State};
use crate::random;
use crate::reactor::{Disk, OsDisk, direct};

/// Why the broker does not start, for the one who can change it.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Settings or usage.
    #[error("{0}")]
    Settings(String),
    /// The machine: ring, limits, kernel.
    #[error("{0}")]
    Machine(String),
    /// A log directory is locked or not ours.
    #[error("{0}")]
    Directory(String),
    /// Anything else: a port in use, no permission, no space.
    #[error("{0}")]
    Runtime(String),
}

impl StartError {
    /// The exit code (`FAULTS.md` section 10).
    pub fn exit_code(&self) -> u8 {
        match self {
            StartError::Runtime(_) => 1,
            StartError::Settings(_) => 2,
            StartError::Machine(_) => 3,
            StartError::Directory(_) => 4,
        }
    }
}

impl From<DirectoryError> for StartError {
    fn from(error: DirectoryError) -> StartError {
        match &error {
            DirectoryError::Locked { .. }
            | DirectoryError::UnknownDirectory { .. }
            | DirectoryError::BadMeta { .. }
            | DirectoryError::MetaVersion { .. }
            | DirectoryError::BrokerId { .. }
            | DirectoryError::ClusterId { .. }
            | DirectoryError::DuplicateReplica { .. } => StartError::Directory(error.to_string()),
            DirectoryError::Io { .. } => StartError::Runtime(error.to_string()),
        }
    }
}

/// What is on disk, opened.
pub struct Prepared<S> {
    pub log_directories: Vec<LogDirectory>,
    /// The same, as the threads know them.
    pub directories: Vec<Arc<DirectoryState>>,
    pub store: S,
    pub opened: Vec<OpenedReplica>,
    pub doomed: Vec<PathBuf>,
    /// The settings with what was set while earlier runs ran.
    pub config: Arc<Config>,
}

/// The name of the file the metadata of a broker without ZooKeeper is in says whose it is; a new one gets this id.
const BROKER_ID_DEFAULT: i32 = 0;

/// How long a directory may stay locked by a broker that has ended: its lock is free only when the last write it
/// had submitted has landed (H07), some tens of milliseconds after a kill, seconds on a slow disk.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);

/// From outside, nothing tells a lock whose owner was killed a moment ago from one whose owner runs: both are
/// waited for, and the second is refused after that time.
fn open_directory(disk: &OsDisk, path: &Path) -> Result<LogDirectory, DirectoryError> {
    let begun = Instant::now();
    let mut said = false;
    loop {
        match LogDirectory::open(disk, path) {
            Err(DirectoryError::Locked { .. }) if begun.elapsed() < LOCK_PATIENCE => {
                if !said {
                    tracing::info!(path = %path.display(), seconds = LOCK_PATIENCE.as_secs(), "locked: waiting in case its owner has just ended");
                    said = true;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            outcome => return outcome,
        }
    }
}

/// Opens the log directories, and says whose they are.
pub fn open_directories(config: &Config) -> Result<(Vec<LogDirectory>, Owner), StartError> {
    let disk = OsDisk;
    let mut directories = Vec::new();
    for path in &config.log_dirs {
        directories.push(open_directory(&disk, path)?);
    }
    for warning in directories.iter().flat_map(|directory| &directory.warnings) {
        tracing::warn!("{warning}");
    }
    check_duplicates(&directories)?;
    let owner = identity(config, &directories)?;
    Ok((directories, owner))
}

/// Opens this broker's own metadata; true when it was made just now.
pub fn open_embedded(config: &Config, owner: &Owner) -> Result<(Embedded, bool), StartError> {
    let mut random = random_numbers()?;
    let (store, found) = Embedded::open(Arc::new(OsDisk), &config.log_dirs, owner, &mut random)
        .map_err(|error| StartError::Directory(error.to_string()))?;
    if let Opened::Read { cut: Some(cut) } = &found {
        tracing::warn!(path = %store.path().display(), position = cut.position, bytes = cut.bytes, "the metadata ended inside a record that nobody was told of; it was cut off");
    }
    Ok((store, found == Opened::New))
}

/// Connects to ZooKeeper and reads the cluster's metadata. `endpoints` is where clients shall reach this broker.
pub async fn open_zookeeper(
    config: &Config,
    settings: &config::ZooKeeper,
    owner: &Owner,
    endpoints: &[Endpoint],
) -> Result<ZooKeeper, StartError> {
    if settings.set_acl {
        return Err(StartError::Settings(
            "zookeeper.set.acl is true, but this build makes its nodes open to everybody: leave it out, or guard \
             ZooKeeper by its network"
                .to_owned(),
        ));
    }
    let applicant = Applicant {
        broker_id: owner.broker_id,
        generates_id: config.broker_id_generation_enable,
        reserved_id_max: config.reserved_broker_max_id,
        cluster_id: owner.cluster_id.clone(),
        said_by: owner.cluster_said_by.clone(),
    };
    let terms = Terms {
        protocol: config.inter_broker_protocol_version,
        delete_topic_enable: config.delete_topic_enable,
        node: broker_node(config, endpoints),
        session_timeout: Duration::from_millis(settings.session_timeout_ms.into()),
        random: random_numbers()?,
        copy_in: config.log_dirs.first().cloned(),
    };
    let mut store = ZooKeeper::open(settings, &applicant, terms).await.map_err(store_error)?;
    store.load().await.map_err(store_error)?;
    Ok(store)
}

pub fn store_error(error: StoreError) -> StartError {
    StartError::Runtime(error.to_string())
}

/// This broker as it registers itself (contract 4.3).
fn broker_node(config: &Config, endpoints: &[Endpoint]) -> BrokerNode {
    let protocol = |endpoint: &Endpoint| {
        let listener =
            config.advertised_listeners.iter().find(|listener| *listener.name == *endpoint.listener);
        listener.map_or(SecurityProtocol::Plaintext, |listener| listener.protocol)
    };
    let plain = endpoints.iter().find(|endpoint| protocol(endpoint) == SecurityProtocol::Plaintext);
    let text = |Endpoint { listener, host, port }: &Endpoint| match host.contains(':') {
        true => format!("{listener}://[{host}]:{port}"),
        false => format!("{listener}://{host}:{port}"),
    };
    BrokerNode {
        host: plain.map(|endpoint| endpoint.host.to_string()),
        port: plain.map_or(-1, |endpoint| endpoint.port.into()),
        jmx_port: -1,
        timestamp: direct::wall().0,
        endpoints: endpoints.iter().map(text).collect(),
        protocols: endpoints
            .iter()
            .map(|endpoint| (endpoint.listener.to_string(), protocol(endpoint).as_str().to_owned()))
            .collect(),
        rack: config.broker_rack.clone(),
        features: serde_json::Map::new(),
    }
}

/// Opens the logs of what the metadata says. `is_new`: the store was made just now, so topics that the directories hold are of
/// an earlier broker.
pub async fn prepare<S: Store>(
    config: &Config,
    mut directories: Vec<LogDirectory>,
    mut store: S,
    is_new: bool,
) -> Result<Prepared<S>, StartError> {
    let disk = OsDisk;
    let mut random = random_numbers()?;
    let broker_id = store.state().broker_id().0;
    let config = &with_stored_settings(config, store.state());
    let cluster_id = Arc::clone(store.state().cluster_id());
    for directory in &mut directories {
        directory.claim(&disk, broker_id, &cluster_id, direct::wall())?;
    }
    let all_clean = directories.iter().all(|directory| directory.clean || directory.replicas.is_empty());
    if !S::SHARED && !is_new && !all_clean {
        // Offsets behind the last flush may be gone: a new epoch lets clients that saw them find out.
        let incarnation = store.state().incarnation() + 1;
        commit(&mut store, vec![Change::Incarnation(incarnation)]).await?;
    }
    let plan = plan::<S>(&disk, &directories, store.state(), is_new, &mut random)?;
    if !plan.adopt.is_empty() {
        tracing::info!(
            topics = plan.adopt.len(),
            "the log directories hold topics of an earlier broker: they are taken over"
        );
        commit(&mut store, plan.adopt.clone()).await?;
    }
    let replicas = served(&directories);
    let mut doomed: Vec<PathBuf> =
        directories.iter().flat_map(|directory| directory.deleted.clone()).collect();
    for index in &plan.remove {
        let (number, found) = replicas[*index];
        let unique = format!("{:016x}{index:016x}", random());
        doomed.push(directories[number].retire_replica(&disk, &found.topic, found.partition, &unique)?);
    }
    if !plan.deleted.is_empty() {
        commit(&mut store, plan.deleted.clone()).await?;
    }
    for index in &plan.unknown {
        let (_, found) = replicas[*index];
        tracing::warn!(path = %found.path.display(), "no topic of this broker: left alone");
    }
    let opened = open_logs(config, &directories, store.state(), &plan, &replicas)?;
    let states = directories
        .iter()
        .map(|directory| {
            let path = directory.path();
            DirectoryState::new(path.to_path_buf(), headroom(config, &disk, path))
        })
        .collect();
    let config = Arc::clone(config);
    Ok(Prepared { log_directories: directories, directories: states, store, opened, doomed, config })
}

/// Random numbers of the kernel. A machine that has none at the start is refused, because ids of topics and clusters come
/// from them; one that has none later goes on from what it had.
pub(super) fn random_numbers() -> Result<Random, StartError> {
    let drawn = direct::random().map_err(|error| {
        StartError::Machine(format!("the kernel gives no random numbers (getrandom): {error}"))
    })?;
    let mut state = drawn;
    Ok(Box::new(move || {
        // Stepped and mixed, so that a kernel that has none any more still gives new numbers.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15) ^ direct::random().unwrap_or(0);
        random::mix(state)
    }))
}

/// The settings with both layers that the store holds over them.
fn with_stored_settings(config: &Config, state: &State) -> Arc<Config> {
    let none = Overrides::new();
    let own = state.settings(&settings_path::broker(state.broker_id())).unwrap_or(&none);
    let of_all = state.settings(settings_path::ALL_BROKERS).unwrap_or(&none);
    let (config, left_out) = config.with_stored(own, of_all);
    for why in left_out {
        tracing::warn!("a setting that was made while the broker ran is left out: {why}");
    }
    Arc::new(config)
}

/// Every replica that may be served, with the number of its directory.
fn served(directories: &[LogDirectory]) -> Vec<(usize, &ReplicaFound)> {
    directories
        .iter()
        .enumerate()
        .flat_map(|(number, directory)| directory.replicas.iter().map(move |replica| (number, replica)))
        .filter(|(_, replica)| !replica.is_future)
        .collect()
}

async fn commit<S: Store>(store: &mut S, changes: Vec<Change>) -> Result<(), StartError> {
    store.commit(changes).await.map_err(|error| StartError::Runtime(error.to_string()))
}

/// Free space below which produce requests are refused: the larger of two segments and one percent, at most an eighth of
/// the file system, so that a small one is of use at all (`FAULTS.md` section 8).
fn headroom(config: &Config, disk: &OsDisk, path: &std::path::Path) -> u64 {
    if let Some(bytes) = config.log_headroom_bytes {
        return bytes;
    }
    let total = disk.space(path).map_or(0, |space| space.total);
    (2 * u64::from(config.topic_defaults.segment_bytes)).max(total / 100).min(total / 8)
}

/// Whose metadata it is to be: the setting, or what the directories say.
fn identity(config: &Config, directories: &[LogDirectory]) -> Result<Owner, StartError> {
    let mut owner = Owner {
        broker_id: config.broker_id.map(BrokerId),
        cluster_id: None,
        said_by: "broker.id".to_owned(),
        cluster_said_by: String::new(),
        broker_id_default: BROKER_ID_DEFAULT,
    };
    for directory in directories {
        let path = || directory.path().join("meta.properties");
        let Some(meta) = &directory.meta else { continue };
        match (meta.broker_id, owner.broker_id) {
            (Some(stored), Some(ours)) if ours.0 != stored => {
                return Err(DirectoryError::BrokerId { path: path(), stored, configured: ours.0 }.into());
            }
            (Some(stored), None) => {
                owner.broker_id = Some(BrokerId(stored));
                owner.said_by = path().display().to_string();
            }
            (Some(_), Some(_)) | (None, _) => {}
        }
        match (&meta.cluster_id, &owner.cluster_id) {
            (Some(stored), Some(ours)) if ours != stored => {
                let (stored, cluster) = (stored.clone(), ours.clone());
                return Err(DirectoryError::ClusterId { path: path(), stored, cluster }.into());
            }
            (Some(stored), _) => {
                owner.cluster_id = Some(stored.clone());
                owner.cluster_said_by = path().display().to_string();
            }
            (None, _) => {}
        }
    }
    Ok(owner)
}

fn plan<S: Store>(
    disk: &OsDisk,
    directories: &[LogDirectory],
    state: &State,
    is_new: bool,
    random: &mut dyn FnMut() -> u64,
) -> Result<Plan, StartError> {
    let mut found = Vec::new();
    for (_, replica) in served(directories) {
        let facts = directory_facts(disk, &replica.path)
            .map_err(|e| StartError::Runtime(format!("{}: {e}", replica.path.display())))?;
        found.push(Found {
            topic: replica.topic.clone(),
            partition: replica.partition,
            topic_id: facts.topic_id.map(crate::wire::primitive::Uuid),
            last_epoch: facts.last_epoch.map(LeaderEpoch),
            path: replica.path.display().to_string(),
        });
    }
    let mut plan = reconcile(state, &found, is_new, random);
    let foreign = std::mem::take(&mut plan.foreign);
    if S::SHARED {
        for why in foreign {
            tracing::error!("{why}: it is left alone, and this broker has no replica of that partition");
        }
    } else {
        plan.conflicts.extend(foreign);
    }
    if plan.conflicts.is_empty() { Ok(plan) } else { Err(StartError::Directory(plan.conflicts.join("\n"))) }
}

/// Opens the logs of a plan, `num.recovery.threads.per.data.dir` at a time for each directory.
fn open_logs(
    config: &Config,
    directories: &[LogDirectory],
    state: &State,
    plan: &Plan,
    replicas: &[(usize, &ReplicaFound)],
) -> Result<Vec<OpenedReplica>, StartError> {
    let began = std::time::Instant::now();
    let mut configs: BTreeMap<Arc<str>, (Arc<TopicConfig>, Arc<crate::log::LogConfig>)> = BTreeMap::new();
    for topic in state.topics() {
        let (resolved, left_out) = TopicConfig::resolve_stored(config, &topic.overrides);
        for error in left_out {
            tracing::warn!(topic = %topic.name, key = error.key, "a stored setting is left out: {}", error.message);
        }
        let log = Arc::new(log_config(config, &resolved));
        configs.insert(Arc::clone(&topic.name), (Arc::new(resolved), log));
    }
    let next = AtomicUsize::new(0);
    let results = Mutex::new((Vec::new(), Vec::new(), Recovered::default()));
    let threads = (config.num_recovery_threads_per_data_dir * directories.len())
        .clamp(1, 64)
        .min(plan.open.len().max(1));
    let open_one = |index: usize| -> Result<(OpenedReplica, Recovered), String> {
        let (number, found) = replicas[plan.open[index]];
        let topic =
            state.topic_named(&found.topic).ok_or_else(|| format!("{}: unknown topic", found.topic))?;
        let (topic_config, log_config) = &configs[&topic.name];
        let facts = found.facts(directories[number].clean, direct::wall());
        let (mut log, recovered) = Log::open(&OsDisk, &found.path, Arc::clone(log_config), facts)
            .map_err(|error| error.to_string())?;
        if log.topic_id().is_none() && !told(topic.id).is_zero() {
            log.set_topic_id(&OsDisk, topic.id.0).map_err(|error| error.to_string())?;
        }
        let name = (found.topic.clone(), found.partition);
        if let Some(offset) = directories[number].cleaner_offsets.get(&name) {
            log.set_first_dirty(*offset);
        }
        let replica = OpenedReplica {
            topic: Arc::clone(&topic.name),
            partition: found.partition,
            directory: number as u16,
            leader_epoch: state.leader_epoch(topic, found.partition),
            config: Arc::clone(topic_config),
            log,
        };
        Ok((replica, recovered))
    };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= plan.open.len() {
                        return;
                    }
                    let result = open_one(index);
                    let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
                    match result {
                        Ok((replica, recovered)) => {
                            for warning in &recovered.warnings {
                                tracing::warn!("{warning}");
                            }
                            results.2.checked_bytes += recovered.checked_bytes;
                            results.2.cut_bytes += recovered.cut_bytes;
                            results.2.indexes_rebuilt += recovered.indexes_rebuilt;
                            results.0.push(replica);
                        }
                        Err(error) => results.1.push(error),
                    }
                }
            });
        }
    });
    let (mut opened, errors, total) = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    if !errors.is_empty() {
        return Err(StartError::Runtime(errors.join("\n")));
    }
    opened.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
    tracing::info!(
        replicas = opened.len(),
        clean = directories.iter().all(|directory| directory.clean),
        checked_bytes = total.checked_bytes,
        cut_bytes = total.cut_bytes,
        indexes_rebuilt = total.indexes_rebuilt,
        ms = began.elapsed().as_millis() as u64,
        "logs opened"
    );
    Ok(opened)
}
