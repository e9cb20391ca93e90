//! ZooKeeper as a tree in memory: what the controller is tested on.
//!
//! In: operations of sessions. Out: what a server would answer, watches that fire, and a log of every transaction that was
//! carried out. Operations are done when they are asked for, one after the other, so a future of it is ready at once (`now`).
//! A hook sees each multi before it is done and may change the tree first, as another session would.

use std::cell::{Cell, RefCell, RefMut};
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::controller::ensemble::{Ensemble, Lost, Node, Outcome};
use crate::metadata::zookeeper::jute::{Mode, Operation, ZkError};

/// The value of a future that waits for nothing.
pub fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("a future of the modelled ZooKeeper waits for something"),
    }
}

#[derive(Clone, Debug)]
struct Held {
    data: Option<Vec<u8>>,
    version: i32,
    czxid: i64,
    /// The session it lives by; 0: it stays.
    owner: i64,
    /// The number of the next sequential child.
    next_child: u32,
}

/// A write that was carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// The session that wrote.
    pub session: i64,
    pub zxid: i64,
    pub operation: Operation,
    /// The version of the node after it.
    pub version: i32,
}

/// Called before each multi of a session with how many came before it.
type Hook = Box<dyn FnMut(&mut Tree, usize)>;

/// The nodes, and who waits for them to change.
#[derive(Default)]
pub struct Tree {
    nodes: BTreeMap<String, Held>,
    zxid: i64,
    log: Vec<Done>,
    watches: BTreeMap<i64, Watches>,
}

#[derive(Default)]
struct Watches {
    data: BTreeSet<String>,
    children: BTreeSet<String>,
    fired: Vec<String>,
}

fn parent(path: &str) -> &str {
    match path.rfind('/') {
        Some(0) | None => "/",
        Some(at) => &path[..at],
    }
}

impl Tree {
    fn has_children(&self, path: &str) -> bool {
        let prefix = format!("{path}/");
        self.nodes.range(prefix.clone()..).next().is_some_and(|(name, _)| name.starts_with(&prefix))
    }

    fn fire(&mut self, path: &str, is_for_parent: bool) {
        let above = parent(path).to_owned();
        for watches in self.watches.values_mut() {
            if watches.data.remove(path) {
                watches.fired.push(path.to_owned());
            }
            if is_for_parent && watches.children.remove(&above) {
                watches.fired.push(above.clone());
            }
        }
    }

    fn check(&self, path: &str, version: i32) -> Result<&Held, ZkError> {
        let held = self.nodes.get(path).ok_or(ZkError::NoNode)?;
        if version != -1 && version != held.version { Err(ZkError::BadVersion) } else { Ok(held) }
    }

    fn apply(&mut self, session: i64, operation: &Operation) -> Result<(Operation, i32), ZkError> {
        match operation {
            Operation::Create { path, data, mode } => {
                let above = parent(path).to_owned();
                let mut path = path.clone();
                if above != "/" {
                    let held = self.nodes.get_mut(&above).ok_or(ZkError::NoNode)?;
                    if *mode == Mode::PersistentSequential {
                        path = format!("{path}{:010}", held.next_child);
                        held.next_child += 1;
                    }
                }
                if self.nodes.contains_key(&path) {
                    return Err(ZkError::NodeExists);
                }
                let owner = if *mode == Mode::Ephemeral { session } else { 0 };
                let held = Held { data: data.clone(), version: 0, czxid: self.zxid, owner, next_child: 0 };
                self.nodes.insert(path.clone(), held);
                Ok((Operation::Create { path, data: data.clone(), mode: *mode }, 0))
            }
            Operation::SetData { path, data, version } => {
                self.check(path, *version)?;
                let held = self.nodes.get_mut(path).ok_or(ZkError::NoNode)?;
                held.data = data.clone();
                held.version += 1;
                Ok((operation.clone(), held.version))
            }
            Operation::Delete { path, version } => {
                self.check(path, *version)?;
                if self.has_children(path) {
                    return Err(ZkError::NotEmpty);
                }
                self.nodes.remove(path);
                Ok((operation.clone(), -1))
            }
            Operation::Check { path, version } => {
                let held = self.check(path, *version)?;
                Ok((operation.clone(), held.version))
            }
        }
    }

    /// All of them or none.
    pub fn multi(&mut self, session: i64, operations: &[Operation]) -> Result<(), (usize, ZkError)> {
        let before: Vec<(String, Option<Held>)> = operations
            .iter()
            .flat_map(|operation| {
                let (Operation::Create { path, .. }
                | Operation::SetData { path, .. }
                | Operation::Delete { path, .. }
                | Operation::Check { path, .. }) = operation;
                [path.clone(), parent(path).to_owned()]
            })
            .map(|path| (path.clone(), self.nodes.get(&path).cloned()))
            .collect();
        self.zxid += 1;
        let mut done = Vec::with_capacity(operations.len());
        for (index, operation) in operations.iter().enumerate() {
            match self.apply(session, operation) {
                Ok(one) => done.push(one),
                Err(error) => {
                    for (path, held) in before.into_iter().rev() {
                        match held {
                            Some(held) => self.nodes.insert(path, held),
                            None => self.nodes.remove(&path),
                        };
                    }
                    return Err((index, error));
                }
            }
        }
        for (operation, version) in done {
            match &operation {
                Operation::Create { path, .. } | Operation::Delete { path, .. } => self.fire(path, true),
                Operation::SetData { path, .. } => self.fire(path, false),
                Operation::Check { .. } => continue,
            }
            self.log.push(Done { session, zxid: self.zxid, operation, version });
        }
        Ok(())
    }

    /// Makes a node and those above it that are missing, or writes over it.
    pub fn put(&mut self, session: i64, path: &str, data: &[u8]) {
        for (at, _) in path.match_indices('/').skip(1) {
            if !self.nodes.contains_key(&path[..at]) {
                self.create(session, &path[..at], None, Mode::Persistent).expect("a node above");
            }
        }
        let (path, data) = (path.to_owned(), Some(data.to_vec()));
        let operation = match self.nodes.contains_key(&path) {
            true => Operation::SetData { path, data, version: -1 },
            false => Operation::Create { path, data, mode: Mode::Persistent },
        };
        self.multi(session, &[operation]).expect("a write without a condition");
    }

    pub fn create(
        &mut self,
        session: i64,
        path: &str,
        data: Option<&[u8]>,
        mode: Mode,
    ) -> Result<(), ZkError> {
        let operation = Operation::Create { path: path.to_owned(), data: data.map(<[u8]>::to_vec), mode };
        self.multi(session, &[operation]).map_err(|(_, error)| error)
    }

    pub fn delete(&mut self, session: i64, path: &str) -> Result<(), ZkError> {
        let operation = Operation::Delete { path: path.to_owned(), version: -1 };
        self.multi(session, &[operation]).map_err(|(_, error)| error)
    }

    pub fn get(&self, path: &str) -> Option<Node> {
        let held = self.nodes.get(path)?;
        Some(Node { data: held.data.clone().unwrap_or_default(), version: held.version, czxid: held.czxid })
    }

    /// Every path, in order.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.nodes.keys().map(String::as_str)
    }

    /// The session ends: its ephemeral nodes go, and so do its watches.
    pub fn end(&mut self, session: i64) {
        let theirs: Vec<String> = self
            .nodes
            .iter()
            .filter(|(_, held)| held.owner == session)
            .map(|(path, _)| path.clone())
            .collect();
        for path in theirs {
            self.delete(session, &path).expect("an ephemeral node has no children");
        }
        self.watches.remove(&session);
    }

    /// The next transaction has this number.
    pub fn continue_at(&mut self, zxid: i64) {
        self.zxid = zxid - 1;
    }

    /// What was written since the last call, in order.
    pub fn take_log(&mut self) -> Vec<Done> {
        std::mem::take(&mut self.log)
    }
}

/// An ensemble, and one session with it; `session` opens another one.
#[derive(Clone)]
pub struct ModelledZooKeeper {
    tree: Rc<RefCell<Tree>>,
    hook: Rc<RefCell<Option<Hook>>>,
    multis: Rc<Cell<usize>>,
    resends: Rc<Cell<usize>>,
    session: i64,
}

impl std::fmt::Debug for ModelledZooKeeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ModelledZooKeeper(session {})", self.session)
    }
}

impl ModelledZooKeeper {
    /// An empty tree, seen by this session.
    pub fn new(session: i64) -> ModelledZooKeeper {
        let tree = Rc::new(RefCell::new(Tree::default()));
        ModelledZooKeeper {
            tree,
            hook: Rc::default(),
            multis: Rc::default(),
            resends: Rc::default(),
            session,
        }
    }

    /// Another session with the same tree.
    pub fn session(&self, session: i64) -> ModelledZooKeeper {
        ModelledZooKeeper { session, hook: Rc::default(), multis: Rc::default(), ..self.clone() }
    }

    pub fn id(&self) -> i64 {
        self.session
    }

    pub fn tree(&self) -> RefMut<'_, Tree> {
        self.tree.borrow_mut()
    }

    /// Called before each multi of this session, with its number from 0 on.
    pub fn before_each_multi(&self, hook: impl FnMut(&mut Tree, usize) + 'static) {
        *self.hook.borrow_mut() = Some(Box::new(hook));
        self.multis.set(0);
    }

    /// Of every session of this tree, each `every`th multi is sent twice, because the connection broke before the first
    /// answer came. 0: none is.
    pub fn resend_each(&self, every: usize) {
        self.resends.set(every);
    }

    /// How many multis this session sent since it began, or since the hook was set.
    pub fn multi_count(&self) -> usize {
        self.multis.get()
    }

    /// The paths whose watches of this session fired, in the order they did.
    pub fn take_fired(&self) -> Vec<String> {
        self.tree().watches.get_mut(&self.session).map_or_else(Vec::new, |it| std::mem::take(&mut it.fired))
    }
}

impl Ensemble for ModelledZooKeeper {
    async fn data(&mut self, paths: Vec<String>, watch: bool) -> Result<Vec<Option<Node>>, Lost> {
        let mut tree = self.tree();
        let nodes = paths.iter().map(|path| tree.get(path)).collect();
        if watch {
            tree.watches.entry(self.session).or_default().data.extend(paths);
        }
        Ok(nodes)
    }

    async fn children(&mut self, path: &str, watch: bool) -> Result<Vec<String>, Lost> {
        let mut tree = self.tree();
        let prefix = format!("{path}/");
        let below = tree.nodes.range(prefix.clone()..).map(|(name, _)| name);
        let names = below
            .take_while(|name| name.starts_with(&prefix))
            .map(|name| &name[prefix.len()..])
            .filter(|name| !name.contains('/'))
            .map(str::to_owned)
            .collect();
        if watch {
            tree.watches.entry(self.session).or_default().children.insert(path.to_owned());
        }
        Ok(names)
    }

    async fn multi(&mut self, multis: Vec<Vec<Operation>>) -> Result<Vec<Outcome>, Lost> {
        let mut outcomes = Vec::with_capacity(multis.len());
        for operations in multis {
            let number = self.multis.get();
            self.multis.set(number + 1);
            if let Some(hook) = self.hook.borrow_mut().as_mut() {
                hook(&mut self.tree.borrow_mut(), number);
            }
            let mut outcome = self.tree().multi(self.session, &operations);
            if self.resends.get() > 0 && number.is_multiple_of(self.resends.get()) {
                outcome = self.tree().multi(self.session, &operations);
            }
            outcomes.push(outcome);
        }
        Ok(outcomes)
    }
}
