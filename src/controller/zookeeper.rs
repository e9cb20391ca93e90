//! A ZooKeeper session as the controller's `Ensemble`.
//!
//! In: reads and multis. Out: what ZooKeeper says. All calls of one kind are handed to the session before the first answer
//! is waited for; the session keeps `zookeeper.max.in.flight.requests` of them on their way, and their order. A call waits
//! as long as there is no connection, and fails when the session is over: the office is lost with it.

use futures_util::future::join_all;

use crate::controller::ensemble::{Ensemble, Lost, Node, Outcome};
use crate::metadata::zookeeper::client::Client;
use crate::metadata::zookeeper::jute::{Operation, Stat, ZkError};

/// A session; clones share it.
#[derive(Clone, Debug)]
pub struct ZooKeeperSession(pub Client);

fn failed(path: &str, source: ZkError) -> Lost {
    match source {
        ZkError::SessionExpired | ZkError::Closed => Lost::Away { why: source.to_string() },
        _ => Lost::Node { path: path.to_owned(), source },
    }
}

fn node((data, stat): (Option<Vec<u8>>, Stat)) -> Node {
    Node { data: data.unwrap_or_default(), version: stat.version, czxid: stat.czxid }
}

impl ZooKeeperSession {
    async fn read(&self, path: &str, watch: bool) -> Result<Option<Node>, Lost> {
        loop {
            match self.0.data(path, watch).await {
                Ok(read) => return Ok(Some(node(read))),
                Err(ZkError::NoNode) if !watch => return Ok(None),
                Err(ZkError::NoNode) => {}
                Err(error) => return Err(failed(path, error)),
            }
            // A read of what is not there leaves no watch; asking whether it is there does.
            match self.0.exists(path, true).await {
                Ok(None) => return Ok(None),
                Ok(Some(_)) => {} // made between the two
                Err(error) => return Err(failed(path, error)),
            }
        }
    }
}

impl Ensemble for ZooKeeperSession {
    async fn data(&mut self, paths: Vec<String>, watch: bool) -> Result<Vec<Option<Node>>, Lost> {
        join_all(paths.iter().map(|path| self.read(path, watch))).await.into_iter().collect()
    }

    async fn children(&mut self, path: &str, watch: bool) -> Result<Vec<String>, Lost> {
        match self.0.children(path, watch).await {
            Ok(names) => Ok(names),
            Err(ZkError::NoNode) => Ok(Vec::new()),
            Err(error) => Err(failed(path, error)),
        }
    }

    async fn multi(&mut self, multis: Vec<Vec<Operation>>) -> Result<Vec<Outcome>, Lost> {
        let outcomes = join_all(multis.into_iter().map(|operations| self.0.multi(operations))).await;
        let outcomes = outcomes.into_iter().map(|outcome| match outcome.all() {
            Ok(_) => Ok(Ok(())),
            Err((_, error @ (ZkError::SessionExpired | ZkError::Closed))) => Err(failed("", error)),
            Err(refused) => Ok(Err(refused)),
        });
        outcomes.collect()
    }
}
