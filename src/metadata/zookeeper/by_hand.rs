//! Settings of users and brokers read and written without a broker, as kafka-configs.sh does it with `--zookeeper`.
//!
//! In: an ensemble; entities such as `users/alice` and `brokers/<default>`. Out: their settings; nodes, and the notes that
//! make every broker read them (contract 4.3). Whether a broker runs is asked here, not decided.

use crate::config::{Overrides, ZooKeeper as Settings};
use crate::metadata::store::StoreError;
use crate::metadata::zookeeper::jute::ZkError;
use crate::metadata::zookeeper::restore::connect;
use crate::metadata::zookeeper::store::{ZooKeeper, failed};
use crate::metadata::zookeeper::znode;

/// A session of nobody's broker.
#[derive(Debug)]
pub struct ByHand {
    store: ZooKeeper,
}

impl ByHand {
    pub async fn connect(settings: &Settings) -> Result<ByHand, StoreError> {
        Ok(ByHand { store: connect(settings).await? })
    }

    pub async fn close(self) {
        self.store.client.close().await;
    }

    /// The ids of the brokers that run.
    pub async fn running(&self) -> Result<Vec<String>, StoreError> {
        self.children(znode::BROKER_IDS).await
    }

    /// The names below a kind of entity, such as `users`, escaped and in ZooKeeper's order.
    pub async fn names(&self, kind: &str) -> Result<Vec<String>, StoreError> {
        self.children(&format!("/config/{kind}")).await
    }

    async fn children(&self, path: &str) -> Result<Vec<String>, StoreError> {
        match self.store.client.children(path, false).await {
            Err(ZkError::NoNode) => Ok(Vec::new()),
            outcome => outcome.map_err(failed(path, "it cannot be read")),
        }
    }

    /// None where there is no node.
    pub async fn settings(&self, entity: &str) -> Result<Overrides, StoreError> {
        let path = format!("/config/{entity}");
        match self.store.client.data(&path, false).await {
            Ok((Some(data), _)) if !data.is_empty() => Ok(znode::decode_config(&path, &data)?),
            Ok(_) | Err(ZkError::NoNode) => Ok(Overrides::new()),
            Err(error) => Err(failed(&path, "it cannot be read")(error)),
        }
    }

    /// Replaces the settings of an entity.
    pub async fn set(&mut self, entity: &str, settings: &Overrides) -> Result<(), StoreError> {
        self.store.ensure_parents(&format!("{}/note", znode::CONFIG_CHANGES)).await?;
        self.store.write_settings(entity, settings).await
    }
}
