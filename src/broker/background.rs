//! The broker's one thread for file work that may wait for the disk: making and removing replicas, checkpoint files.
//!
//! In: jobs of the control thread, notes of the IO loops. Out: replicas handed to their IO loops, files written. Work on
//! many replicas shares its flushes, so creating a thousand partitions costs the disk about what one costs.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use hashbrown::HashSet;
use tokio::sync::oneshot;

use crate::broker::cleaner::CleanerPoints;
use crate::broker::reactor_thread::Directive;
use crate::broker::settings::log_config;
use crate::config::{Config, TopicConfig};
use crate::ids::{BrokerId, Home, LeaderEpoch, ReactorId};
use crate::io_thread::order::{Order, Replica, TopicPartition};
use crate::io_thread::{CheckpointNote, DirectoryState};
use crate::log::checkpoint::{self, Checkpoint};
use crate::log::{Log, files};
use crate::metadata::fresh_id::Random;
use crate::metadata::{Answer, DirectoryFacts, NewReplica, Question, Replicas};
use crate::reactor::mailbox::Sender;
use crate::reactor::{Disk, OpenMode, OsDisk, direct};
use crate::replication::{Answered, Term};
use crate::wire::error_code::ErrorCode;

/// Where each served replica is, by topic and partition.
pub type Homes = BTreeMap<(Arc<str>, i32), Home>;

/// The control side's way to a reactor. Locked per directive, never on the data path.
pub type DirectiveSender = Arc<Mutex<Sender<Directive>>>;

/// Sends one directive. A mailbox that is full is waited for: nobody else would send on what did not fit.
pub fn direct_to(sender: &DirectiveSender, directive: Directive) {
    let lock = || sender.lock().unwrap_or_else(PoisonError::into_inner);
    let mut sender = lock();
    sender.push(directive);
    sender.flush_by_call();
    let until = Instant::now() + MAILBOX_PATIENCE;
    while sender.backlog() > 0 && Instant::now() < until {
        drop(sender);
        std::thread::sleep(MAILBOX_PAUSE);
        sender = lock();
        sender.flush_by_call();
    }
}

/// A reactor takes all of its messages in every turn.
const MAILBOX_PAUSE: Duration = Duration::from_micros(200);
/// A reactor that takes nothing for so long has ended, and the broker with it.
const MAILBOX_PATIENCE: Duration = Duration::from_secs(30);

/// Up to this many new replicas are flushed file by file.
const FLUSHED_ONE_BY_ONE_MAX: usize = 8;

/// What the thread is asked to do.
enum Job {
    Create(Vec<NewReplica>, oneshot::Sender<Vec<Result<Home, String>>>),
    Delete(Vec<Home>, oneshot::Sender<Vec<Result<(), String>>>),
    Notes(Vec<CheckpointNote>),
    /// Touch no checkpoint file any more.
    Finish(mpsc::Sender<()>),
}

/// Hands jobs to the thread. Cheap to clone.
#[derive(Clone)]
pub struct Background {
    jobs: mpsc::Sender<Job>,
    reactors: Arc<Vec<(ReactorId, DirectiveSender)>>,
    /// The broker's settings as they are now.
    config: Arc<ArcSwap<Config>>,
    directories: Arc<Vec<Arc<DirectoryState>>>,
}

/// Where an open replica is.
#[derive(Clone, Debug)]
pub struct Known {
    pub topic: Arc<str>,
    pub partition: i32,
    pub directory: u16,
}

struct Worker {
    disk: OsDisk,
    config: Arc<ArcSwap<Config>>,
    directories: Vec<Arc<DirectoryState>>,
    reactors: Arc<Vec<(ReactorId, DirectiveSender)>>,
    /// Open replicas by reactor and slot; slots are never reused.
    known: BTreeMap<Home, Known>,
    by_name: Homes,
    next_slots: Vec<u32>,
    next_reactor: usize,
    /// For names of renamed directories.
    random: Random,
    points: Vec<Points>,
    cleaner_points: Arc<CleanerPoints>,
    /// This broker is all there is: its replicas are alone.
    alone: bool,
    /// Directories whose checkpoint files are behind the notes.
    changed: Vec<u16>,
    finished: bool,
    /// Directories renamed away, and when they go for good.
    doomed: Vec<(Instant, PathBuf)>,
}

/// What the checkpoint files of one directory say.
#[derive(Default)]
struct Points {
    by_partition: BTreeMap<(Arc<str>, i32), Point>,
}

#[derive(Clone, Copy, Default)]
struct Point {
    high_watermark: i64,
    recovery_point: i64,
    log_start: Option<i64>,
}

/// Opened at start, to be handed to IO loops.
pub struct OpenedReplica {
    pub topic: Arc<str>,
    pub partition: i32,
    pub directory: u16,
    pub leader_epoch: LeaderEpoch,
    pub config: Arc<TopicConfig>,
    pub log: Log,
}

impl Background {
    /// Starts the thread and hands it the replicas opened at start; they are with their IO loops when this returns.
    pub fn start(
        config: Arc<Config>,
        directories: Vec<Arc<DirectoryState>>,
        reactors: Vec<(ReactorId, DirectiveSender)>,
        opened: Vec<OpenedReplica>,
        doomed: Vec<PathBuf>,
        cleaner_points: Arc<CleanerPoints>,
        random: Random,
    ) -> std::io::Result<(Background, Homes)> {
        let (jobs, inbox) = mpsc::channel();
        let reactors = Arc::new(reactors);
        let delay =
            Duration::from_millis(config.topic_defaults.file_delete_delay_ms.min(u64::from(u32::MAX)));
        let config = Arc::new(ArcSwap::new(config));
        let all_directories = Arc::new(directories.clone());
        let mut worker = Worker {
            disk: OsDisk,
            config: Arc::clone(&config),
            points: directories.iter().map(|_| Points::default()).collect(),
            cleaner_points,
            alone: config.load().zookeeper.is_none(),
            changed: Vec::new(),
            finished: false,
            directories,
            next_slots: vec![0; reactors.len()],
            reactors: Arc::clone(&reactors),
            known: BTreeMap::new(),
            by_name: BTreeMap::new(),
            next_reactor: 0,
            random,
            doomed: doomed.into_iter().map(|path| (Instant::now() + delay, path)).collect(),
        };
        let homes = worker.adopt(opened);
        std::thread::Builder::new().name("background".to_owned()).spawn(move || worker.run(&inbox))?;
        Ok((Background { jobs, reactors, config, directories: all_directories }, homes))
    }

    fn order(&self, reactor: ReactorId, order: Order) {
        if let Some((_, sender)) = self.reactors.iter().find(|(id, _)| *id == reactor) {
            direct_to(sender, Directive::Order(order));
        }
    }

    /// Takes notes for the checkpoint files.
    pub fn note(&self, notes: Vec<CheckpointNote>) {
        // After the thread has ended there is nothing left to note.
        let _ = self.jobs.send(Job::Notes(notes));
    }

    /// Writes no more checkpoint files: at a clean stop they are somebody else's. Returns when what was asked for before is
    /// done.
    pub fn finish(&self) {
        let (done, wait) = mpsc::channel();
        if self.jobs.send(Job::Finish(done)).is_ok() {
            // An error means that the thread is gone, and its files with it.
            let _ = wait.recv();
        }
    }
}

impl Replicas for Background {
    fn create(&self, replicas: Vec<NewReplica>) -> oneshot::Receiver<Vec<Result<Home, String>>> {
        let (reply, receiver) = oneshot::channel();
        // A dropped job drops its reply, which the receiver sees.
        let _ = self.jobs.send(Job::Create(replicas, reply));
        receiver
    }

    fn delete(&self, replicas: Vec<Home>) -> oneshot::Receiver<Vec<Result<(), String>>> {
        let (reply, receiver) = oneshot::channel();
        let _ = self.jobs.send(Job::Delete(replicas, reply));
        receiver
    }

    fn reconfigure(&self, replicas: Vec<Home>, config: Arc<TopicConfig>) -> oneshot::Receiver<()> {
        let (reply, receiver) = oneshot::channel();
        let log = Arc::new(log_config(&self.config.load(), &config));
        let mut by_reactor: BTreeMap<ReactorId, Vec<u32>> = BTreeMap::new();
        for home in replicas {
            by_reactor.entry(home.reactor).or_default().push(home.slot);
        }
        let gather = Gather::new(by_reactor.len(), move || {
            let _ = reply.send(());
        });
        for (reactor, slots) in by_reactor {
            let Some((_, sender)) = self.reactors.iter().find(|(id, _)| *id == reactor) else { continue };
            let gather = Arc::clone(&gather);
            let order = Order::Reconfigure {
                slots,
                config: Arc::clone(&config),
                log: Arc::clone(&log),
                done: Box::new(move |()| gather.one()),
            };
            direct_to(sender, Directive::Order(order));
        }
        receiver
    }

    fn begin_terms(&self, terms: Vec<(Home, Term)>) -> oneshot::Receiver<()> {
        let (reply, receiver) = oneshot::channel();
        let mut by_reactor: BTreeMap<ReactorId, Vec<(u32, Term)>> = BTreeMap::new();
        for (home, term) in terms {
            by_reactor.entry(home.reactor).or_default().push((home.slot, term));
        }
        let gather = Gather::new(by_reactor.len(), move || {
            let _ = reply.send(());
        });
        for (reactor, terms) in by_reactor {
            let gather = Arc::clone(&gather);
            let done = Box::new(move |()| gather.one());
            self.order(reactor, Order::BeginTerms { terms, done });
        }
        receiver
    }

    fn follow_brokers(&self, brokers: Arc<[(BrokerId, SocketAddr)]>) {
        for (_, sender) in self.reactors.iter() {
            direct_to(sender, Directive::Order(Order::Brokers(Arc::clone(&brokers))));
        }
    }

    fn answer_proposal(&self, home: Home, term: LeaderEpoch, answered: Answered) {
        self.order(home.reactor, Order::AnswerProposal { slot: home.slot, term, answered });
    }

    fn follow_settings(&self, config: Arc<Config>) {
        self.config.store(config);
    }

    fn ask(&self, questions: Vec<(Home, Question)>) -> oneshot::Receiver<Vec<Answer>> {
        let (reply, receiver) = oneshot::channel();
        // For each reactor the places of the answers, and what is asked.
        type Share = (Vec<usize>, Vec<(u32, Question)>);
        let mut by_reactor: BTreeMap<ReactorId, Share> = BTreeMap::new();
        for (place, (home, question)) in questions.iter().enumerate() {
            let (places, asked) = by_reactor.entry(home.reactor).or_default();
            places.push(place);
            asked.push((home.slot, *question));
        }
        let nobody = Answer::Refused(ErrorCode::UnknownTopicOrPartition);
        let answers = Arc::new(Answers { all: Mutex::new(vec![nobody; questions.len()]) });
        let together = Arc::clone(&answers);
        let gather = Gather::new(by_reactor.len(), move || {
            let all = std::mem::take(&mut *together.all.lock().unwrap_or_else(PoisonError::into_inner));
            let _ = reply.send(all);
        });
        for (reactor, (places, questions)) in by_reactor {
            let Some((_, sender)) = self.reactors.iter().find(|(id, _)| *id == reactor) else { continue };
            let (gather, answers) = (Arc::clone(&gather), Arc::clone(&answers));
            let done = Box::new(move |here: Vec<Answer>| {
                let mut all = answers.all.lock().unwrap_or_else(PoisonError::into_inner);
                for (place, answer) in places.into_iter().zip(here) {
                    all[place] = answer;
                }
                drop(all);
                gather.one();
            });
            direct_to(sender, Directive::Order(Order::Ask { questions, done }));
        }
        receiver
    }

    fn directories(&self) -> Vec<DirectoryFacts> {
        let facts = self.directories.iter().map(|state| {
            let space = OsDisk.space(&state.path).ok();
            let bytes =
                |value: Option<u64>| value.map_or(-1, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
            DirectoryFacts {
                path: std::path::absolute(&state.path)
                    .unwrap_or_else(|_| state.path.clone())
                    .display()
                    .to_string(),
                has_failed: state.has_failed(),
                total_bytes: bytes(space.map(|space| space.total)),
                usable_bytes: bytes(space.map(|space| space.free)),
            }
        });
        facts.collect()
    }
}

/// The answers of several IO loops, put together in the order of the questions.
struct Answers {
    all: Mutex<Vec<Answer>>,
}

/// Calls something once, when the last of several answers has come.
struct Gather {
    left: std::sync::atomic::AtomicUsize,
    then: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Gather {
    fn new(left: usize, then: impl FnOnce() + Send + 'static) -> Arc<Gather> {
        let gather = Arc::new(Gather {
            left: std::sync::atomic::AtomicUsize::new(left.max(1)),
            then: Mutex::new(Some(Box::new(then))),
        });
        if left == 0 {
            gather.one();
        }
        gather
    }

    fn one(&self) {
        if self.left.fetch_sub(1, std::sync::atomic::Ordering::AcqRel) > 1 {
            return;
        }
        let then = self.then.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(then) = then {
            then();
        }
    }
}

impl Worker {
    fn run(mut self, inbox: &mpsc::Receiver<Job>) {
        loop {
            let next = self.doomed.iter().map(|(when, _)| *when).min();
            let wait =
                next.map_or(Duration::from_secs(3600), |when| when.saturating_duration_since(Instant::now()));
            match inbox.recv_timeout(wait) {
                Ok(job) => self.carry_out(job),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
            }
            // Several loops report at about the same time: one write serves them.
            while let Ok(job) = inbox.try_recv() {
                self.carry_out(job);
            }
            for directory in std::mem::take(&mut self.changed) {
                self.write(directory);
            }
            self.remove_doomed();
        }
    }

    fn carry_out(&mut self, job: Job) {
        // Whoever asked may have gone; what was done stays done.
        match job {
            Job::Create(replicas, reply) => {
                let results = self.create(replicas);
                let _ = reply.send(results);
            }
            Job::Delete(homes, reply) => {
                let results = self.delete(&homes);
                let _ = reply.send(results);
            }
            Job::Notes(notes) => self.note(notes),
            Job::Finish(done) => {
                self.finished = true;
                let _ = done.send(());
            }
        }
    }

    /// Gives each replica a slot on a reactor and hands it over; returns when all are served.
    fn adopt(&mut self, opened: Vec<OpenedReplica>) -> Homes {
        let mut homes = BTreeMap::new();
        let mut by_reactor: Vec<Vec<Replica>> = self.reactors.iter().map(|_| Vec::new()).collect();
        for replica in opened {
            let index = self.next_reactor % self.reactors.len();
            self.next_reactor += 1;
            let slot = self.next_slots[index];
            self.next_slots[index] += 1;
            let home = Home { reactor: self.reactors[index].0, slot };
            let OpenedReplica { topic, partition, directory, leader_epoch, config, log } = replica;
            homes.insert((Arc::clone(&topic), partition), home);
            self.by_name.insert((Arc::clone(&topic), partition), home);
            self.known.insert(home, Known { topic: Arc::clone(&topic), partition, directory });
            let point = Point {
                high_watermark: log.high_watermark().0,
                recovery_point: log.flushed_offset().0,
                log_start: log.start_for_checkpoint().map(|offset| offset.0),
            };
            self.points[usize::from(directory)].by_partition.insert((Arc::clone(&topic), partition), point);
            let alone = self.alone;
            by_reactor[index].push(Replica {
                slot,
                topic,
                partition,
                leader_epoch,
                alone,
                config,
                directory,
                log,
            });
        }
        let (done, wait) = mpsc::channel();
        let mut expected = 0;
        for (index, replicas) in by_reactor.into_iter().enumerate() {
            if replicas.is_empty() {
                continue;
            }
            expected += 1;
            let done = done.clone();
            let order = Order::Adopt {
                replicas,
                done: Box::new(move |()| {
                    let _ = done.send(());
                }),
            };
            direct_to(&self.reactors[index].1, Directive::Order(order));
        }
        drop(done);
        for _ in 0..expected {
            // An error means that a reactor has ended, and the broker with it.
            if wait.recv().is_err() {
                break;
            }
        }
        homes
    }

    fn create(&mut self, replicas: Vec<NewReplica>) -> Vec<Result<Home, String>> {
        let mut results: Vec<Result<Home, String>> = Vec::with_capacity(replicas.len());
        let mut opened = Vec::new();
        let mut counts: Vec<usize> = self.directories.iter().map(|_| 0).collect();
        for known in self.known.values() {
            counts[usize::from(known.directory)] += 1;
        }
        let mut log_configs: Vec<(Arc<TopicConfig>, Arc<crate::log::LogConfig>)> = Vec::new();
        for replica in &replicas {
            if let Some(home) = self.by_name.get(&(Arc::clone(&replica.topic), replica.partition)) {
                results.push(Ok(*home));
                continue;
            }
            // A new replica goes to the directory with the fewest, as in Kafka.
            let alive = (0..counts.len()).filter(|index| !self.directories[*index].has_failed());
            let Some(directory) = alive.min_by_key(|index| counts[*index]) else {
                results.push(Err("every log directory has failed".to_owned()));
                continue;
            };
            counts[directory] += 1;
            let log_config = match log_configs.iter().find(|(config, _)| Arc::ptr_eq(config, &replica.config))
            {
                Some((_, log_config)) => Arc::clone(log_config),
                None => {
                    let log_config = Arc::new(log_config(&self.config.load(), &replica.config));
                    log_configs.push((Arc::clone(&replica.config), Arc::clone(&log_config)));
                    log_config
                }
            };
            let path =
                self.directories[directory].path.join(format!("{}-{}", replica.topic, replica.partition));
            let id = (!replica.topic_id.is_zero()).then_some(replica.topic_id.0);
            match Log::create(&self.disk, &path, id, log_config, direct::wall()) {
                Ok(log) => {
                    opened.push(OpenedReplica {
                        topic: Arc::clone(&replica.topic),
                        partition: replica.partition,
                        directory: directory as u16,
                        leader_epoch: replica.leader_epoch,
                        config: Arc::clone(&replica.config),
                        log,
                    });
                    // Filled in below, when it is durable and served.
                    results.push(Err(String::new()));
                }
                Err(error) => results.push(Err(error.to_string())),
            }
        }
        let failed = self.flush_made(&opened);
        opened.retain(|replica| !failed.contains(&replica.directory));
        let homes = self.adopt(opened);
        for (replica, result) in replicas.iter().zip(&mut results) {
            if result.as_ref().is_err_and(String::is_empty) {
                *result = homes
                    .get(&(Arc::clone(&replica.topic), replica.partition))
                    .copied()
                    .ok_or_else(|| "the log directory has failed".to_owned());
            }
        }
        results
    }

    /// What was made must survive a power cut before anyone is told (H25). A few replicas are flushed file by file: a flush of
    /// the file system waits for whatever else is being written there. Many share one. The directories that failed.
    fn flush_made(&self, opened: &[OpenedReplica]) -> Vec<u16> {
        let mut directories: Vec<u16> = opened.iter().map(|replica| replica.directory).collect();
        directories.sort_unstable();
        directories.dedup();
        let mut failed = Vec::new();
        for directory in directories {
            let state = &self.directories[usize::from(directory)];
            let here = opened.iter().filter(|replica| replica.directory == directory);
            let flushed = if here.clone().count() > FLUSHED_ONE_BY_ONE_MAX {
                self.disk.open(&state.path, OpenMode::Read).and_then(|file| self.disk.sync_file_system(&file))
            } else {
                here.map(|replica| replica.log.directory())
                    .try_for_each(|path| self.flush_new(path))
                    .and_then(|()| self.disk.sync_directory(&state.path))
            };
            if let Err(error) = flushed {
                state.fail(&format!("flush after creating replicas: {error}"));
                failed.push(directory);
            }
        }
        failed
    }

    /// Flushes the files of a new replica and its directory.
    fn flush_new(&self, path: &std::path::Path) -> std::io::Result<()> {
        for entry in self.disk.list(path)? {
            let file = self.disk.open(&path.join(&entry.name), OpenMode::Read)?;
            self.disk.sync_data(&file)?;
        }
        self.disk.sync_directory(path)
    }

    /// Tells every coordinator which partitions are gone.
    fn forget_offsets(&self, homes: &[Home]) {
        let gone = homes.iter().filter_map(|home| self.known.get(home));
        let gone =
            gone.map(|known| TopicPartition { topic: Arc::clone(&known.topic), partition: known.partition });
        let partitions = Arc::new(gone.collect::<HashSet<TopicPartition>>());
        for (_, sender) in self.reactors.iter() {
            direct_to(sender, Directive::Order(Order::Forget { partitions: Arc::clone(&partitions) }));
        }
    }

    fn delete(&mut self, homes: &[Home]) -> Vec<Result<(), String>> {
        let mut results = Vec::with_capacity(homes.len());
        let (released, wait) = mpsc::channel();
        for home in homes {
            if let Some((_, sender)) = self.reactors.iter().find(|(id, _)| *id == home.reactor) {
                let released = released.clone();
                let home = *home;
                let order = Order::Release {
                    slot: home.slot,
                    done: Box::new(move |log| {
                        let _ = released.send((home, log.is_some()));
                    }),
                };
                direct_to(sender, Directive::Order(order));
            }
        }
        drop(released);
        while wait.recv().is_ok() {}
        self.forget_offsets(homes);
        self.cleaner_points.leave(homes);
        let gone = homes.iter().filter_map(|home| self.known.get(home));
        self.cleaner_points.forget(gone.map(|known| (known.directory, &*known.topic, known.partition)));
        let mut parents = Vec::new();
        for home in homes {
            let Some(known) = self.known.remove(home) else {
                results.push(Ok(()));
                continue;
            };
            let state = Arc::clone(&self.directories[usize::from(known.directory)]);
            let from = state.path.join(format!("{}-{}", known.topic, known.partition));
            let unique = format!("{:016x}{:016x}", (self.random)(), home.slot);
            let to = state.path.join(files::deleted_directory(&known.topic, known.partition, &unique));
            self.by_name.remove(&(Arc::clone(&known.topic), known.partition));
            self.points[usize::from(known.directory)].by_partition.remove(&(known.topic, known.partition));
            match self.disk.rename(&from, &to) {
                Ok(()) => {
                    let delay_ms =
                        self.config.load().topic_defaults.file_delete_delay_ms.min(u64::from(u32::MAX));
                    self.doomed.push((Instant::now() + Duration::from_millis(delay_ms), to));
                    if !parents.contains(&known.directory) {
                        parents.push(known.directory);
                    }
                    results.push(Ok(()));
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => results.push(Ok(())),
                Err(error) => results.push(Err(format!("{}: {error}", from.display()))),
            }
        }
        for directory in parents {
            let state = &self.directories[usize::from(directory)];
            if let Err(error) = self.disk.sync_directory(&state.path) {
                state.fail(&format!("flush after removing replicas: {error}"));
            }
            self.write(directory);
        }
        results
    }

    fn remove_doomed(&mut self) {
        let now = Instant::now();
        let disk = self.disk;
        self.doomed.retain(|(when, path)| {
            if *when > now {
                return true;
            }
            match disk.remove_directory(path) {
                Ok(()) => tracing::info!(path = %path.display(), "a deleted replica's files are gone"),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "a deleted replica's files could not be removed");
                }
            }
            false
        });
    }

    fn note(&mut self, notes: Vec<CheckpointNote>) {
        for note in notes {
            let points = &mut self.points[usize::from(note.directory)];
            // A replica that was deleted meanwhile has no entry and gets none.
            let Some(point) = points.by_partition.get_mut(&(note.topic, note.partition)) else { continue };
            point.high_watermark = note.high_watermark;
            if let Some(recovery_point) = note.recovery_point {
                point.recovery_point = recovery_point;
            }
            if let Some(log_start) = note.log_start {
                point.log_start = log_start;
            }
            if !self.changed.contains(&note.directory) {
                self.changed.push(note.directory);
            }
        }
    }

    /// Replaces the checkpoint files of a directory.
    fn write(&self, directory: u16) {
        let state = &self.directories[usize::from(directory)];
        if state.has_failed() || self.finished {
            return;
        }
        let points = &self.points[usize::from(directory)].by_partition;
        let all = |value: fn(&Point) -> i64| -> Vec<(&str, i32, i64)> {
            points.iter().map(|((topic, partition), point)| (&**topic, *partition, value(point))).collect()
        };
        let starts: Vec<(&str, i32, i64)> = points
            .iter()
            .filter_map(|((topic, partition), point)| Some((&**topic, *partition, point.log_start?)))
            .collect();
        let written = checkpoint::write(
            &self.disk,
            &state.path,
            Checkpoint::RecoveryPoint,
            all(|p| p.recovery_point).into_iter(),
        )
        .and_then(|()| {
            checkpoint::write(
                &self.disk,
                &state.path,
                Checkpoint::HighWatermark,
                all(|p| p.high_watermark).into_iter(),
            )
        })
        .and_then(|()| checkpoint::write(&self.disk, &state.path, Checkpoint::LogStart, starts.into_iter()));
        if let Err(error) = written {
            state.fail(&format!("checkpoint: {error}"));
        }
    }
}
