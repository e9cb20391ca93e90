//! ZooKeeper's operations as calls: paths under the chroot, outcomes as values.
//!
//! In: paths as Kafka writes them, `/brokers/ids/1`. Out: what ZooKeeper answered. A call waits as long as there is no
//! connection and fails only when ZooKeeper says no, the session expires, or it is closed; whoever needs a limit puts
//! one around it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use crate::metadata::zookeeper::jute::{Done, Mode, Operation, Request, Response, Stat, ZkError};
use crate::metadata::zookeeper::session::{self, Call, Event, Joined, Options, Outcome, Status};

/// A handle on the session; clones share it.
#[derive(Clone)]
pub struct Client {
    calls: mpsc::UnboundedSender<Call>,
    status: watch::Receiver<Status>,
    chroot: Arc<str>,
    servers: Arc<str>,
    thread: Arc<Joined>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Client({}{})", self.servers, self.chroot)
    }
}

impl Client {
    /// Starts to connect. Errors: no thread, no event loop.
    pub fn start(options: Options, events: mpsc::UnboundedSender<Event>) -> io::Result<Client> {
        let (chroot, servers) = (Arc::from(options.chroot.as_str()), options.servers.join(",").into());
        let running = session::start(options, events)?;
        let thread = Joined::new(running.thread);
        Ok(Client { calls: running.calls, status: running.status, chroot, servers, thread })
    }

    /// Waits for a connection; a sentence for the operator if there is none in time.
    pub async fn connected(&self, within: Duration) -> Result<(), String> {
        let mut status = self.status.clone();
        let outcome = tokio::time::timeout(
            within,
            status.wait_for(|status| matches!(status, Status::Connected { .. } | Status::Closed)),
        )
        .await;
        match outcome {
            Ok(Ok(status)) if matches!(*status, Status::Connected { .. }) => Ok(()),
            Ok(_) => Err("the session with ZooKeeper is closed".to_owned()),
            Err(_) => {
                let why = match &*self.status.borrow() {
                    Status::Connecting { why } => why.clone(),
                    Status::Connected { .. } | Status::Closed => "it came too late".to_owned(),
                };
                Err(format!(
                    "no ZooKeeper server of {} could be reached within {} ms \
                     (zookeeper.connection.timeout.ms); the last one said: {why}",
                    self.servers,
                    within.as_millis()
                ))
            }
        }
    }

    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// The session's id, while connected.
    pub fn session(&self) -> Option<i64> {
        match *self.status.borrow() {
            Status::Connected { session, .. } => Some(session),
            Status::Connecting { .. } | Status::Closed => None,
        }
    }

    /// Ends the session, so that its ephemeral nodes go at once, and the thread.
    pub async fn close(&self) {
        // Where there is no connection there is nobody to tell, and the session ends by its timeout.
        let _ = self.call(Request::Close).await;
        self.thread.join();
    }

    fn at(&self, path: &str) -> String {
        match (&*self.chroot, path) {
            ("", path) => path.to_owned(),
            (chroot, "/") => chroot.to_owned(),
            (chroot, path) => format!("{chroot}{path}"),
        }
    }

    async fn call(&self, request: Request) -> Outcome {
        let (reply, outcome) = oneshot::channel();
        let closed = Outcome { result: Err(ZkError::Closed), resent: false };
        if self.calls.send(Call::new(request, reply)).is_err() {
            return closed;
        }
        outcome.await.unwrap_or(closed)
    }

    /// Makes the nodes of the chroot that are missing.
    pub async fn ensure_chroot(&self) -> Result<(), ZkError> {
        let ends = self.chroot.match_indices('/').map(|(at, _)| at).skip(1).chain([self.chroot.len()]);
        for end in ends.filter(|end| *end > 0) {
            let path = self.chroot[..end].to_owned();
            let create = Operation::Create { path, data: None, mode: Mode::Persistent };
            match self.call(Request::One(create)).await.result {
                Ok(_) | Err(ZkError::NodeExists) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The path that was made, without the chroot; that of a sequential node has its number.
    pub async fn create(&self, path: &str, data: Option<&[u8]>, mode: Mode) -> Result<String, ZkError> {
        let create = Operation::Create { path: self.at(path), data: data.map(<[u8]>::to_vec), mode };
        let outcome = self.call(Request::One(create)).await;
        match outcome.result {
            Ok(Response::Done(Done::Created(made))) => {
                Ok(made.strip_prefix(&*self.chroot).unwrap_or(&made).to_owned())
            }
            // The first try was carried out and its reply lost, if what is there is what we wrote.
            Err(ZkError::NodeExists) if outcome.resent && mode != Mode::PersistentSequential => {
                match self.data(path, false).await {
                    Ok((found, stat)) if found.as_deref() == data && self.owns(&stat, mode) => {
                        Ok(path.to_owned())
                    }
                    _ => Err(ZkError::NodeExists),
                }
            }
            Err(error) => Err(error),
            Ok(_) => Err(ZkError::Other(0)),
        }
    }

    fn owns(&self, stat: &Stat, mode: Mode) -> bool {
        match mode {
            Mode::Ephemeral => self.session() == Some(stat.ephemeral_owner),
            Mode::Persistent | Mode::PersistentSequential => stat.ephemeral_owner == 0,
        }
    }

    /// `version` -1 deletes any version. A delete that was sent twice and finds nothing has succeeded.
    pub async fn delete(&self, path: &str, version: i32) -> Result<(), ZkError> {
        let outcome = self.call(Request::One(Operation::Delete { path: self.at(path), version })).await;
        match outcome.result {
            Err(ZkError::NoNode) if outcome.resent => Ok(()),
            result => result.map(|_| ()),
        }
    }

    /// `None` when there is no such node; a watch then waits for it to be made.
    pub async fn exists(&self, path: &str, watch: bool) -> Result<Option<Stat>, ZkError> {
        match self.call(Request::Exists { path: self.at(path), watch }).await.result {
            Ok(Response::Stat(stat)) => Ok(Some(stat)),
            Err(ZkError::NoNode) => Ok(None),
            Err(error) => Err(error),
            Ok(_) => Err(ZkError::Other(0)),
        }
    }

    pub async fn data(&self, path: &str, watch: bool) -> Result<(Option<Vec<u8>>, Stat), ZkError> {
        match self.call(Request::Data { path: self.at(path), watch }).await.result {
            Ok(Response::Data(data, stat)) => Ok((data, stat)),
            Err(error) => Err(error),
            Ok(_) => Err(ZkError::Other(0)),
        }
    }

    /// `version` -1 sets whatever version is there. A conditional write that was sent twice and finds its own data has
    /// succeeded.
    pub async fn set_data(&self, path: &str, data: Option<&[u8]>, version: i32) -> Result<Stat, ZkError> {
        let set = Operation::SetData { path: self.at(path), data: data.map(<[u8]>::to_vec), version };
        let outcome = self.call(Request::One(set)).await;
        match outcome.result {
            Ok(Response::Done(Done::Set(stat))) => Ok(stat),
            Err(ZkError::BadVersion) if outcome.resent => match self.data(path, false).await {
                Ok((found, stat)) if found.as_deref() == data && stat.version == version + 1 => Ok(stat),
                _ => Err(ZkError::BadVersion),
            },
            Err(error) => Err(error),
            Ok(_) => Err(ZkError::Other(0)),
        }
    }

    /// Names, in no order.
    pub async fn children(&self, path: &str, watch: bool) -> Result<Vec<String>, ZkError> {
        match self.call(Request::Children { path: self.at(path), watch }).await.result {
            Ok(Response::Children(names, _)) => Ok(names),
            Err(error) => Err(error),
            Ok(_) => Err(ZkError::Other(0)),
        }
    }

    /// What was written anywhere before this call is seen by reads after it.
    pub async fn sync(&self) -> Result<(), ZkError> {
        self.call(Request::Sync { path: self.at("/") }).await.result.map(|_| ())
    }

    /// All of them or none. The outer error is of the whole; the inner ones say which operation failed.
    pub async fn multi(&self, operations: Vec<Operation>) -> MultiOutcome {
        let operations = operations.into_iter().map(|mut operation| {
            let (Operation::Create { path, .. }
            | Operation::Delete { path, .. }
            | Operation::SetData { path, .. }
            | Operation::Check { path, .. }) = &mut operation;
            *path = self.at(path);
            operation
        });
        let Outcome { result, resent } = self.call(Request::Multi(operations.collect())).await;
        let results = match result {
            Ok(Response::Multi(results)) => Ok(results),
            Err(error) => Err(error),
            Ok(_) => Err(ZkError::Other(0)),
        };
        MultiOutcome { results, resent }
    }
}

/// What a multi did. `resent`: it may have been done by an earlier try whose reply was lost.
#[derive(Debug)]
pub struct MultiOutcome {
    pub results: Result<Vec<Result<Done, ZkError>>, ZkError>,
    pub resent: bool,
}

impl MultiOutcome {
    /// The results if all were done, else the error that counts and the index of its operation.
    pub fn all(self) -> Result<Vec<Done>, (usize, ZkError)> {
        let results = self.results.map_err(|error| (0, error))?;
        let failed = |r: &Result<Done, ZkError>| matches!(r, Err(error) if *error != ZkError::RolledBack);
        let first = results.iter().position(failed).or_else(|| results.iter().position(Result::is_err));
        match first.map(|index| (index, results[index].clone())) {
            Some((index, Err(error))) => Err((index, error)),
            Some((_, Ok(_))) | None => Ok(results.into_iter().filter_map(Result::ok).collect()),
        }
    }
}
