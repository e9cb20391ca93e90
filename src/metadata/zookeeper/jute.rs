//! ZooKeeper's own bytes (jute): requests written, replies read.
//!
//! In: operations with absolute paths. Out: the body of a frame, and what a reply says. A buffer of length -1 is "no data",
//! which Kafka's nodes tell from "empty". A reply that does not fit its request is an error that ends the connection.
//!
//! | request | xid i32, type i32, then the operation's fields |
//! |---|---|
//! | reply | xid i32, zxid i64, error i32, then the result's fields if the error is 0 |

use std::fmt;

pub const XID_WATCH: i32 = -1;
pub const XID_PING: i32 = -2;
pub const XID_SET_WATCHES: i32 = -8;

const OP_CREATE: i32 = 1;
const OP_DELETE: i32 = 2;
const OP_EXISTS: i32 = 3;
const OP_GET_DATA: i32 = 4;
const OP_SET_DATA: i32 = 5;
const OP_SYNC: i32 = 9;
const OP_PING: i32 = 11;
const OP_GET_CHILDREN_2: i32 = 12;
const OP_CHECK: i32 = 13;
const OP_MULTI: i32 = 14;
const OP_SET_WATCHES: i32 = 101;
const OP_CLOSE: i32 = -11;
const OP_ERROR: i32 = -1;

/// Why an operation was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ZkError {
    #[error("there is no such node")]
    NoNode,
    #[error("the node exists already")]
    NodeExists,
    #[error("the node was changed by somebody else (bad version)")]
    BadVersion,
    #[error("the node has children")]
    NotEmpty,
    #[error("not allowed by the node's access list")]
    NoAuth,
    /// An operation of a multi that was not tried, or undone, because another one failed.
    #[error("another operation of the same multi failed")]
    RolledBack,
    /// The session has ended; a new one is being made, and nothing of the old one holds.
    #[error("the session with ZooKeeper has expired")]
    SessionExpired,
    /// This side closed the session.
    #[error("the session with ZooKeeper is closed")]
    Closed,
    #[error("ZooKeeper error {0}")]
    Other(i32),
}

impl ZkError {
    fn from_code(code: i32) -> ZkError {
        match code {
            -2 | 0 => ZkError::RolledBack,
            -101 => ZkError::NoNode,
            -102 => ZkError::NoAuth,
            -103 => ZkError::BadVersion,
            -110 => ZkError::NodeExists,
            -111 => ZkError::NotEmpty,
            -112 => ZkError::SessionExpired,
            other => ZkError::Other(other),
        }
    }
}

/// Bytes that are not what the protocol says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a reply of ZooKeeper cannot be read: {}", self.0)
    }
}

/// What ZooKeeper knows of a node besides its data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// The transaction that made the node; of `/brokers/ids/N` it is the broker epoch.
    pub czxid: i64,
    pub mzxid: i64,
    /// When it was made, in ms since 1970 by the clock of ZooKeeper's leader.
    pub ctime_ms: i64,
    /// How often the data was set.
    pub version: i32,
    pub cversion: i32,
    /// The session an ephemeral node lives by; 0 of a persistent one.
    pub ephemeral_owner: i64,
    pub child_count: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Persistent,
    Ephemeral,
    /// ZooKeeper appends a rising number of ten digits to the name.
    PersistentSequential,
}

/// An operation that may be part of a multi. `version` -1 means any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    Create { path: String, data: Option<Vec<u8>>, mode: Mode },
    Delete { path: String, version: i32 },
    SetData { path: String, data: Option<Vec<u8>>, version: i32 },
    Check { path: String, version: i32 },
}

/// What an operation of a multi did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    Created(String),
    Deleted,
    Set(Stat),
    Checked,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    One(Operation),
    Exists { path: String, watch: bool },
    Data { path: String, watch: bool },
    Children { path: String, watch: bool },
    Sync { path: String },
    Multi(Vec<Operation>),
    Close,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    Done(Done),
    Stat(Stat),
    Data(Option<Vec<u8>>, Stat),
    Children(Vec<String>, Stat),
    Synced,
    Multi(Vec<Result<Done, ZkError>>),
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchKind {
    Created,
    Deleted,
    DataChanged,
    ChildrenChanged,
}

pub(super) struct Out(pub Vec<u8>);

impl Out {
    /// A frame whose length is filled in by `finish`.
    pub fn frame() -> Out {
        Out(vec![0; 4])
    }

    pub fn finish(mut self) -> Vec<u8> {
        let length = (self.0.len() - 4) as i32;
        self.0[..4].copy_from_slice(&length.to_be_bytes());
        self.0
    }

    pub fn int(&mut self, value: i32) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    pub fn long(&mut self, value: i64) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    pub fn bool(&mut self, value: bool) {
        self.0.push(u8::from(value));
    }

    pub fn buffer(&mut self, value: Option<&[u8]>) {
        match value {
            None => self.int(-1),
            Some(bytes) => {
                self.int(bytes.len() as i32);
                self.0.extend_from_slice(bytes);
            }
        }
    }

    fn string(&mut self, value: &str) {
        self.buffer(Some(value.as_bytes()));
    }

    /// Anybody may do anything: what Kafka's nodes have unless `zookeeper.set.acl` asks for more.
    fn open_acl(&mut self) {
        self.int(1);
        self.int(31);
        self.string("world");
        self.string("anyone");
    }

    fn operation(&mut self, operation: &Operation) {
        match operation {
            Operation::Create { path, data, mode } => {
                self.string(path);
                self.buffer(data.as_deref());
                self.open_acl();
                self.int(match mode {
                    Mode::Persistent => 0,
                    Mode::Ephemeral => 1,
                    Mode::PersistentSequential => 2,
                });
            }
            Operation::Delete { path, version } | Operation::Check { path, version } => {
                self.string(path);
                self.int(*version);
            }
            Operation::SetData { path, data, version } => {
                self.string(path);
                self.buffer(data.as_deref());
                self.int(*version);
            }
        }
    }
}

fn operation_type(operation: &Operation) -> i32 {
    match operation {
        Operation::Create { .. } => OP_CREATE,
        Operation::Delete { .. } => OP_DELETE,
        Operation::SetData { .. } => OP_SET_DATA,
        Operation::Check { .. } => OP_CHECK,
    }
}

/// A whole frame.
pub(super) fn encode(xid: i32, request: &Request) -> Vec<u8> {
    let mut out = Out::frame();
    out.int(xid);
    match request {
        Request::One(operation) => {
            out.int(operation_type(operation));
            out.operation(operation);
        }
        Request::Exists { path, watch } => {
            out.int(OP_EXISTS);
            out.string(path);
            out.bool(*watch);
        }
        Request::Data { path, watch } => {
            out.int(OP_GET_DATA);
            out.string(path);
            out.bool(*watch);
        }
        Request::Children { path, watch } => {
            out.int(OP_GET_CHILDREN_2);
            out.string(path);
            out.bool(*watch);
        }
        Request::Sync { path } => {
            out.int(OP_SYNC);
            out.string(path);
        }
        Request::Multi(operations) => {
            out.int(OP_MULTI);
            for operation in operations {
                multi_header(&mut out, operation_type(operation), false);
                out.operation(operation);
            }
            multi_header(&mut out, OP_ERROR, true);
        }
        Request::Close => out.int(OP_CLOSE),
    }
    out.finish()
}

fn multi_header(out: &mut Out, kind: i32, done: bool) {
    out.int(kind);
    out.bool(done);
    out.int(-1);
}

pub(super) fn ping() -> Vec<u8> {
    let mut out = Out::frame();
    out.int(XID_PING);
    out.int(OP_PING);
    out.finish()
}

/// Asks a new server to go on watching; it fires at once for what changed since `zxid`.
pub(super) fn set_watches(zxid: i64, data: &[&str], exists: &[&str], children: &[&str]) -> Vec<u8> {
    let mut out = Out::frame();
    out.int(XID_SET_WATCHES);
    out.int(OP_SET_WATCHES);
    out.long(zxid);
    for paths in [data, exists, children] {
        out.int(paths.len() as i32);
        paths.iter().for_each(|path| out.string(path));
    }
    out.finish()
}

pub(super) struct In<'a>(pub &'a [u8]);

impl<'a> In<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Malformed("it ends too early"))?;
        self.0 = rest;
        Ok(taken)
    }

    pub fn int(&mut self) -> Result<i32, Malformed> {
        let bytes = self.take(4)?;
        Ok(i32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    pub fn long(&mut self) -> Result<i64, Malformed> {
        let (high, low) = (self.int()?, self.int()?);
        Ok(i64::from(high) << 32 | i64::from(low as u32))
    }

    pub fn bool(&mut self) -> Result<bool, Malformed> {
        Ok(self.take(1)?[0] != 0)
    }

    pub fn buffer(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        match usize::try_from(self.int()?) {
            Ok(length) => self.take(length).map(Some),
            Err(_) => Ok(None),
        }
    }

    pub fn string(&mut self) -> Result<String, Malformed> {
        let bytes = self.buffer()?.unwrap_or_default();
        String::from_utf8(bytes.to_vec()).map_err(|_| Malformed("a path is not UTF-8"))
    }

    fn stat(&mut self) -> Result<Stat, Malformed> {
        let (czxid, mzxid) = (self.long()?, self.long()?);
        let (ctime_ms, _mtime) = (self.long()?, self.long()?);
        let (version, cversion, _acl_version) = (self.int()?, self.int()?, self.int()?);
        let ephemeral_owner = self.long()?;
        let (_bytes, child_count, _pzxid) = (self.int()?, self.int()?, self.long()?);
        Ok(Stat { czxid, mzxid, ctime_ms, version, cversion, ephemeral_owner, child_count })
    }

    /// Each name takes at least its length's four bytes, so the count is bounded by what is there.
    fn names(&mut self) -> Result<Vec<String>, Malformed> {
        let count = usize::try_from(self.int()?).unwrap_or(0);
        if count > self.0.len() / 4 {
            return Err(Malformed("more names than bytes"));
        }
        (0..count).map(|_| self.string()).collect()
    }
}

/// What the header of a frame says: whose reply it is.
pub(super) struct ReplyHeader {
    pub xid: i32,
    pub zxid: i64,
    pub error: i32,
}

pub(super) fn reply_header(r: &mut In<'_>) -> Result<ReplyHeader, Malformed> {
    Ok(ReplyHeader { xid: r.int()?, zxid: r.long()?, error: r.int()? })
}

/// A watch that fired, and the absolute path; `None` for words about the connection, which it knows itself.
pub(super) fn watch_event(r: &mut In<'_>) -> Result<Option<(WatchKind, String)>, Malformed> {
    let (kind, _state, path) = (r.int()?, r.int()?, r.string()?);
    let kind = match kind {
        1 => WatchKind::Created,
        2 => WatchKind::Deleted,
        3 => WatchKind::DataChanged,
        4 => WatchKind::ChildrenChanged,
        _ => return Ok(None),
    };
    Ok(Some((kind, path)))
}

/// The reply to `request`.
pub(super) fn decode(
    r: &mut In<'_>,
    error: i32,
    request: &Request,
) -> Result<Result<Response, ZkError>, Malformed> {
    // A multi that failed carries the error of each operation behind the header's.
    let has_results = matches!(request, Request::Multi(_)) && !r.0.is_empty();
    if error != 0 && !has_results {
        return Ok(Err(ZkError::from_code(error)));
    }
    let response = match request {
        Request::One(operation) => Response::Done(done(r, operation_type(operation))?),
        Request::Exists { .. } => Response::Stat(r.stat()?),
        Request::Data { .. } => {
            let data = r.buffer()?.map(<[u8]>::to_vec);
            Response::Data(data, r.stat()?)
        }
        Request::Children { .. } => {
            let names = r.names()?;
            Response::Children(names, r.stat()?)
        }
        Request::Sync { .. } => Response::Synced,
        Request::Multi(operations) => {
            let mut results = Vec::with_capacity(operations.len());
            loop {
                let (kind, end, _error) = (r.int()?, r.bool()?, r.int()?);
                if end {
                    break;
                }
                if results.len() == operations.len() {
                    return Err(Malformed("a multi has more results than operations"));
                }
                results.push(if kind == OP_ERROR {
                    Err(ZkError::from_code(r.int()?))
                } else {
                    Ok(done(r, kind)?)
                });
            }
            if results.len() < operations.len() {
                return Err(Malformed("a multi has fewer results than operations"));
            }
            Response::Multi(results)
        }
        Request::Close => Response::Closed,
    };
    Ok(Ok(response))
}

fn done(r: &mut In<'_>, kind: i32) -> Result<Done, Malformed> {
    Ok(match kind {
        OP_CREATE => Done::Created(r.string()?),
        OP_DELETE => Done::Deleted,
        OP_SET_DATA => Done::Set(r.stat()?),
        OP_CHECK => Done::Checked,
        _ => return Err(Malformed("a result of an operation that was not asked for")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_create_is_laid_out_as_zookeeper_reads_it() {
        let create = Operation::Create { path: "/a".into(), data: None, mode: Mode::Ephemeral };
        let frame = encode(7, &Request::One(create));
        let mut wanted = vec![0, 0, 0, 49, 0, 0, 0, 7, 0, 0, 0, 1, 0, 0, 0, 2, b'/', b'a'];
        wanted.extend([255, 255, 255, 255, 0, 0, 0, 1, 0, 0, 0, 31, 0, 0, 0, 5]);
        wanted.extend(b"world");
        wanted.extend([0, 0, 0, 6]);
        wanted.extend(b"anyone");
        wanted.extend([0, 0, 0, 1]);
        assert_eq!(frame.len() - 4, 49);
        assert_eq!(frame, wanted);
    }

    #[test]
    fn a_failed_multi_names_the_operation_that_failed() {
        let mut out = Out(Vec::new());
        for code in [0, -103, -2] {
            multi_header(&mut out, OP_ERROR, false);
            out.int(code);
        }
        multi_header(&mut out, OP_ERROR, true);
        let check = |n: i32| Operation::Check { path: "/a".into(), version: n };
        let request = Request::Multi(vec![check(1), check(2), check(3)]);
        let decoded = decode(&mut In(&out.0), -103, &request).unwrap().unwrap();
        let wanted = vec![Err(ZkError::RolledBack), Err(ZkError::BadVersion), Err(ZkError::RolledBack)];
        assert_eq!(decoded, Response::Multi(wanted));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200), which in 0usize..6) {
            let path = || "/a".to_owned();
            let requests = [
                Request::Exists { path: path(), watch: true },
                Request::Data { path: path(), watch: true },
                Request::Children { path: path(), watch: true },
                Request::Sync { path: path() },
                Request::Multi(vec![Operation::Delete { path: path(), version: -1 }]),
                Request::One(Operation::SetData { path: path(), data: None, version: 0 }),
            ];
            let _ = decode(&mut In(&bytes), 0, &requests[which]);
            let _ = watch_event(&mut In(&bytes));
            let _ = reply_header(&mut In(&bytes));
        }
    }
}
