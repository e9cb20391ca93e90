//! How a broker joins a cluster: the cluster's id, the broker's id, its registration, the election of a controller.
//!
//! In: settings, what `meta.properties` says. Out: a session whose broker is registered, or a sentence that says why it must not
//! be. A ZooKeeper that has lost its data is not taken for a new cluster: whoever has a cluster's id and finds none
//! there is refused, because a new cluster under old logs would give their epochs and producer ids away again.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use crate::config::ZooKeeper as Settings;
use crate::ids::BrokerId;
use crate::metadata::fresh_id::fresh_id;
use crate::metadata::state::Change;
use crate::metadata::store::StoreError;
use crate::metadata::zookeeper::client::Client;
use crate::metadata::zookeeper::jute::{Mode, Operation, ZkError};
use crate::metadata::zookeeper::session::{self, Options};
use crate::metadata::zookeeper::store::{Fence, Terms, ZooKeeper, failed};
use crate::metadata::zookeeper::znode::{self, BrokerNode, ControllerNode};
use crate::reactor::direct;

/// Who is to join, as the settings and the log directories say.
pub struct Applicant {
    pub broker_id: Option<BrokerId>,
    /// An id is made where none is set.
    pub generates_id: bool,
    /// Ids up to this one are set by hand.
    pub reserved_id_max: i32,
    pub cluster_id: Option<String>,
    /// The file that says so.
    pub said_by: String,
}

/// Beyond the session timeout: ZooKeeper looks for sessions that have ended once every tick.
const REGISTRATION_PATIENCE: Duration = Duration::from_secs(2);
/// How often a registration that stands in the way is looked at.
const LOOK_AT_REGISTRATION: Duration = Duration::from_millis(100);

/// A session as the settings say, once it stands. `seed` decides which server is asked first.
pub(super) async fn connect(
    settings: &Settings,
    seed: u64,
) -> Result<(Client, mpsc::UnboundedReceiver<session::Event>), StoreError> {
    let (sender, events) = mpsc::unbounded_channel();
    let options = Options {
        servers: settings.servers.clone(),
        chroot: settings.chroot.clone(),
        session_timeout: Duration::from_millis(settings.session_timeout_ms.into()),
        in_flight_max: settings.max_in_flight_requests as usize,
        seed,
    };
    let client = Client::start(options, sender)
        .map_err(|error| StoreError::Refused(format!("the session with ZooKeeper cannot begin: {error}")))?;
    let patience = Duration::from_millis(settings.connection_timeout_ms.into());
    client.connected(patience).await.map_err(StoreError::Refused)?;
    Ok((client, events))
}

impl ZooKeeper {
    /// Connects and finds out which cluster and which broker this is. `Refused` is a sentence for the operator.
    pub async fn open(
        settings: &Settings,
        applicant: &Applicant,
        mut terms: Terms,
    ) -> Result<ZooKeeper, StoreError> {
        let (client, events) = connect(settings, (terms.random)()).await?;
        let mut store = ZooKeeper::new(client, events, terms);
        let outcome = store.identify(settings, applicant).await;
        if outcome.is_err() {
            store.client.close().await;
        }
        outcome.map(|()| store)
    }

    async fn identify(&mut self, settings: &Settings, applicant: &Applicant) -> Result<(), StoreError> {
        let found = match self.client.data(znode::CLUSTER_ID, false).await {
            Ok((data, _)) => Some(znode::decode_cluster_id(&data.unwrap_or_default())?),
            Err(ZkError::NoNode) => None,
            Err(error) => return Err(failed(znode::CLUSTER_ID, "it cannot be read")(error)),
        };
        let connect = &settings.connect;
        match (&found, &applicant.cluster_id) {
            (None, Some(ours)) => {
                return Err(StoreError::Refused(format!(
                    "{} belongs to cluster {ours}, but ZooKeeper at {connect} holds no cluster at all (it has no \
                     {}). A new cluster is not begun over old logs: if zookeeper.connect names the right servers \
                     and path, their data is lost, and `ringdaw metadata restore` writes it again from the copies \
                     that the brokers keep; if these logs are not wanted, remove that file",
                    applicant.said_by,
                    znode::CLUSTER_ID
                )));
            }
            (Some(theirs), Some(ours)) if theirs != ours => {
                return Err(StoreError::Refused(format!(
                    "{} belongs to cluster {ours}, but ZooKeeper at {connect} holds cluster {theirs}; two clusters \
                     need two paths in zookeeper.connect",
                    applicant.said_by
                )));
            }
            (_, _) => {}
        }
        self.client.ensure_chroot().await.map_err(failed("/", "the chroot cannot be made"))?;
        self.make_persistent_paths().await?;
        let cluster_id = match found {
            Some(id) => id,
            None => self.make_cluster_id().await?,
        };
        let broker_id = match applicant.broker_id {
            Some(id) => id,
            None if applicant.generates_id => self.make_broker_id(applicant.reserved_id_max).await?,
            None => {
                return Err(StoreError::Refused(
                    "broker.id is not set, and broker.id.generation.enable is false".to_owned(),
                ));
            }
        };
        let _ = self.state.apply(&Change::Identity { cluster_id: cluster_id.into(), broker_id })?;
        Ok(())
    }

    async fn make_persistent_paths(&self) -> Result<(), StoreError> {
        for path in znode::PERSISTENT {
            match self.client.create(path, None, Mode::Persistent).await {
                Ok(_) | Err(ZkError::NodeExists) => continue,
                Err(ZkError::NoNode) => {}
                Err(error) => return Err(failed(path, "it cannot be made")(error)),
            }
            self.ensure_parents(path).await?;
            match self.client.create(path, None, Mode::Persistent).await {
                Ok(_) | Err(ZkError::NodeExists) => {}
                Err(error) => return Err(failed(path, "it cannot be made")(error)),
            }
        }
        Ok(())
    }

    /// The first broker makes it; who comes second reads what the first one made.
    async fn make_cluster_id(&mut self) -> Result<String, StoreError> {
        let id = fresh_id(&mut self.terms.random).to_string();
        self.ensure_parents(znode::CLUSTER_ID).await?;
        let data = znode::encode_cluster_id(&id);
        match self.client.create(znode::CLUSTER_ID, Some(&data), Mode::Persistent).await {
            Ok(_) => Ok(id),
            Err(ZkError::NodeExists) => {
                let read = self.client.data(znode::CLUSTER_ID, false).await;
                let (data, _) = read.map_err(failed(znode::CLUSTER_ID, "it cannot be read"))?;
                Ok(znode::decode_cluster_id(&data.unwrap_or_default())?)
            }
            Err(error) => Err(failed(znode::CLUSTER_ID, "it cannot be made")(error)),
        }
    }

    /// ZooKeeper counts: each write of the node raises its version by one (contract 4.3).
    async fn make_broker_id(&self, reserved_id_max: i32) -> Result<BrokerId, StoreError> {
        let path = znode::BROKER_SEQUENCE;
        let stat =
            self.client.set_data(path, Some(b""), -1).await.map_err(failed(path, "it cannot be written"))?;
        let id = reserved_id_max.checked_add(stat.version);
        id.map(BrokerId).ok_or_else(|| StoreError::Refused(format!("{path}: there are no broker ids left")))
    }

    /// Registers the broker and stands for election. A registration of its id that belongs to another session is waited for
    /// as long as a session lives, because it may be what a killed broker left; Java Kafka ends at once.
    pub(super) async fn join(&mut self) -> Result<(), StoreError> {
        let patience = self.terms.session_timeout + REGISTRATION_PATIENCE;
        let path = znode::broker(self.state.broker_id().0);
        let until = Instant::now() + patience;
        let mut said = false;
        while !self.register().await? {
            let standing = self.client.data(&path, false).await.ok();
            if Instant::now() >= until {
                let id = self.state.broker_id();
                let whose = standing.map_or_else(String::new, |(data, _)| {
                    let node = BrokerNode::decode(&path, &data.unwrap_or_default());
                    node.map_or_else(|_| String::new(), |node| format!(" by {}", node.endpoints.join(",")))
                });
                return Err(StoreError::Refused(format!(
                    "broker.id {id} is taken: {path} is registered{whose}, and was still so after {} ms",
                    patience.as_millis()
                )));
            }
            if !said {
                tracing::warn!(
                    path,
                    ms_max = patience.as_millis() as u64,
                    "registered already: waiting in case it is what a killed broker left behind"
                );
                said = true;
            }
            sleep(LOOK_AT_REGISTRATION).await;
        }
        // Settings were read, and are watched, since `load`.
        self.elect().await
    }

    /// True when the node stands and is this session's. Made and then written, as Kafka does, so that its version is 1.
    pub(super) async fn register(&mut self) -> Result<bool, StoreError> {
        let path = znode::broker(self.state.broker_id().0);
        self.terms.node.timestamp = direct::wall().0;
        let data = Some(self.terms.node.encode(self.terms.protocol));
        let operations = vec![
            Operation::Create { path: path.clone(), data: None, mode: Mode::Ephemeral },
            Operation::SetData { path: path.clone(), data, version: 0 },
        ];
        match self.client.multi(operations).await.all() {
            Ok(_) | Err((_, ZkError::NodeExists)) => {}
            Err((_, error)) => return Err(failed(&path, "it cannot be registered")(error)),
        }
        // The node may be there because an earlier try was carried out and its answer lost.
        let stat = self.client.exists(&path, false).await.map_err(failed(&path, "it cannot be read"))?;
        match stat {
            Some(stat) if Some(stat.ephemeral_owner) == self.client.session() => {
                if self.broker_epoch != stat.czxid {
                    tracing::info!(path, broker_epoch = stat.czxid, "registered with ZooKeeper");
                }
                self.broker_epoch = stat.czxid;
                self.registered_in = Some(stat.ephemeral_owner);
                Ok(true)
            }
            Some(_) | None => Ok(false),
        }
    }

    /// Stands for election, or learns who was elected; either way the node is watched from here on (contract 5.2).
    pub(super) async fn elect(&mut self) -> Result<(), StoreError> {
        let path = znode::CONTROLLER;
        loop {
            match self.client.data(path, true).await {
                Ok((data, stat)) => {
                    let node = ControllerNode::decode(&data.unwrap_or_default())?;
                    let is_ours = Some(stat.ephemeral_owner) == self.client.session();
                    if is_ours && self.fence.is_none() {
                        self.fence = Some(self.read_fence().await?);
                        self.elected = true;
                    }
                    if !is_ours && self.fence.is_some() {
                        tracing::warn!(controller = node.broker_id, "another broker is the controller now");
                        self.lose_office();
                    }
                    self.controller = Some(BrokerId(node.broker_id));
                    return Ok(());
                }
                Err(ZkError::NoNode) => {}
                Err(error) => return Err(failed(path, "it cannot be read")(error)),
            }
            self.lose_office();
            self.controller = None;
            self.stand().await?;
        }
    }

    /// One try to become the controller. Who is elected meanwhile is found by the caller.
    async fn stand(&mut self) -> Result<(), StoreError> {
        let fence = self.read_fence().await?;
        let epoch = fence.epoch.checked_add(1).ok_or_else(|| {
            StoreError::Refused(format!("{}: there are no epochs left", znode::CONTROLLER_EPOCH))
        })?;
        let broker_id = self.state.broker_id().0;
        let node = ControllerNode { broker_id, timestamp: direct::wall().0 };
        let operations = vec![
            Operation::Create {
                path: znode::CONTROLLER.to_owned(),
                data: Some(node.encode()),
                mode: Mode::Ephemeral,
            },
            Operation::SetData {
                path: znode::CONTROLLER_EPOCH.to_owned(),
                data: Some(epoch.to_string().into_bytes()),
                version: fence.version,
            },
        ];
        match self.client.multi(operations).await.all() {
            Ok(_) => {
                tracing::info!(epoch, "this broker is the controller");
                self.fence = Some(Fence { epoch, version: fence.version + 1 });
                self.controller_epoch = epoch;
                self.elected = true;
                Ok(())
            }
            Err((_, ZkError::NodeExists | ZkError::BadVersion)) => Ok(()),
            Err((_, error)) => Err(failed(znode::CONTROLLER, "it cannot be made")(error)),
        }
    }

    /// The last epoch, and the version of its node; made with 0 in a new cluster.
    pub(super) async fn read_fence(&mut self) -> Result<Fence, StoreError> {
        let path = znode::CONTROLLER_EPOCH;
        loop {
            match self.client.data(path, false).await {
                Ok((data, stat)) => {
                    let epoch = znode::decode_controller_epoch(&data.unwrap_or_default())?;
                    self.controller_epoch = self.controller_epoch.max(epoch);
                    return Ok(Fence { epoch, version: stat.version });
                }
                Err(ZkError::NoNode) => {}
                Err(error) => return Err(failed(path, "it cannot be read")(error)),
            }
            match self.client.create(path, Some(b"0"), Mode::Persistent).await {
                Ok(_) | Err(ZkError::NodeExists) => {}
                Err(error) => return Err(failed(path, "it cannot be made")(error)),
            }
        }
    }
}
