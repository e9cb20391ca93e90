//! The IO loop of a reactor: partitions, their files, and whoever waits for them.
//!
//! In: commands of network loops, orders of the control thread, completions of flushes, cold reads and look-ups. Out: outcomes. All
//! produce commands of a turn for one partition become one vectored write. Reading order: `on_command`, `end_turn`
//! (`append_pending`, then `look`), then `on_completion`; `housekeeping` for what happens now and then.
//!
//! Nothing here is O(partitions) in a turn: appends touch the partitions that got batches, fetches the entries that were
//! flagged, housekeeping a slice at a time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use crossbeam_utils::CachePadded;
use hashbrown::HashMap;

use crate::api::command::{Command, FetchSetId, Outcome, ProducedPart};
use crate::clock::Instant;
use crate::config::{Config, Durability, FetchEngine};
use crate::ids::{BrokerId, LeaderEpoch, ReactorId};
use crate::log::window::{Window, WindowLimits};
use crate::log::{self, AppendScratch, CloseFlush, FlushScope};
use crate::metadata::topic_name;
use crate::metrics::{Registry, ThreadMetrics};
use crate::reactor::{Completion, Done, Engine, Token};
use crate::wire::error_code::ErrorCode;

mod answer;
mod cleaning;
mod coordinators;
mod directory;
mod fetch;
mod fetch_set;
mod fetcher;
mod flush;
mod follow;
mod housekeeping;
mod lists;
mod lookup;
pub mod order;
mod partition;
mod produce;
mod role;
mod write_out;

use coordinators::Coordinators;
pub use directory::DirectoryState;
use fetch::ColdRead;
use fetch_set::FetchSet;
use fetcher::Fetchers;
use flush::FlushRound;
use housekeeping::Housekeeping;
pub use housekeeping::{CheckpointNote, NoteTaker};
use lists::Listing;
use lookup::LookUp;
use order::{Closed, Order, Replica};
use partition::{Partition, Role};
use produce::WaitingProduce;
use role::Cluster;
pub use role::ProposalTaker;
use write_out::WindowWork;

/// The upper byte of this loop's tokens.
pub mod tokens {
    pub const FLUSH: u8 = 16;
    pub const COLD_READ: u8 = 17;
    pub const WRITE_OUT: u8 = 18;
    pub const LOAD: u8 = 19;
    pub const LOOK_UP: u8 = 20;
    /// Of the connections to leaders.
    pub const CONNECT: u8 = 21;
    pub const SEND: u8 = 22;
    pub const RECEIVE: u8 = 23;
}

/// A cold range is read in one piece up to this long; a longer one is cut, as a fetch may be.
const COLD_BYTES_MAX: u32 = 1 << 20;
/// A read whose look-up has been kept waiting this often in a row waits in its turn: memory is too short for more patience.
const LOOKUPS_MAX: u8 = 16;
/// Up to this many files of a round are flushed one by one.
const FLUSH_FILES_MAX: usize = 8;

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Fetch { set: (u16, u32), number: u64 },
    Produce { key: u32, reply: (u32, u32, u32) },
    Flush { slot: u32 },
    Coordinator { slot: u32 },
}

/// The IO loop.
pub struct IoLoop {
    reactor: ReactorId,
    registry: Arc<Registry>,
    thread_name: String,
    metrics: Arc<CachePadded<ThreadMetrics>>,
    partitions: Vec<Option<Box<Partition>>>,
    directories: Vec<Arc<DirectoryState>>,
    /// This loop's share of the resident window of each directory.
    windows: Vec<Window>,
    /// Something was written or has ended since the windows were last asked.
    windows_changed: bool,
    window_work: slab::Slab<WindowWork>,
    /// Partitions with batches of this turn.
    dirty: Vec<u32>,
    produces: slab::Slab<WaitingProduce>,
    sets: HashMap<FetchSetId, FetchSet, foldhash::fast::RandomState>,
    /// Sets to look at this turn.
    woken: Vec<FetchSetId>,
    waits: u64,
    due: BinaryHeap<Reverse<(Instant, Due)>>,
    cold_reads: slab::Slab<ColdRead>,
    /// Look-ups under way.
    lookups: slab::Slab<LookUp>,
    /// Requests for offsets that are not answered.
    listings: slab::Slab<Listing>,
    /// Those to go on with this turn.
    lists: Vec<usize>,
    /// At most one per directory.
    rounds: slab::Slab<FlushRound>,
    /// Partitions that want a flush and are in no round.
    flush_queue: Vec<(u32, FlushScope)>,
    outcomes: Vec<(ReactorId, Outcome)>,
    scratch: AppendScratch,
    housekeeping: Housekeeping,
    fetch_engine: FetchEngine,
    coordinators: Coordinators,
    cluster: Cluster,
    fetchers: Fetchers,
}

/// What an IO loop is told at its start about the broker around it.
pub struct Surroundings {
    pub reactor: ReactorId,
    pub broker: BrokerId,
    pub directories: Vec<Arc<DirectoryState>>,
    pub limits: WindowLimits,
    pub notes: NoteTaker,
    pub propose: ProposalTaker,
}

fn token(kind: u8, key: usize) -> Token {
    Token(u64::from(kind) << 56 | key as u64)
}

impl IoLoop {
    pub fn new(
        config: &Config,
        registry: Arc<Registry>,
        thread_name: String,
        metrics: Arc<CachePadded<ThreadMetrics>>,
        surroundings: Surroundings,
        now: Instant,
    ) -> IoLoop {
        let Surroundings { reactor, broker, directories, limits, notes, propose } = surroundings;
        let housekeeping = Housekeeping::new(config, notes, now);
        let cluster = Cluster {
            this: broker,
            lag_ms_max: config.replica_lag_time_max_ms,
            live: Vec::new(),
            propose,
            proposals: Vec::new(),
        };
        IoLoop {
            reactor,
            fetchers: Fetchers::new(config, broker, reactor),
            cluster,
            registry,
            thread_name,
            metrics,
            partitions: Vec::new(),
            windows: directories.iter().map(|_| Window::new(limits)).collect(),
            windows_changed: false,
            window_work: slab::Slab::new(),
            directories,
            dirty: Vec::new(),
            produces: slab::Slab::new(),
            sets: HashMap::default(),
            woken: Vec::new(),
            waits: 0,
            due: BinaryHeap::new(),
            cold_reads: slab::Slab::new(),
            lookups: slab::Slab::new(),
            listings: slab::Slab::new(),
            lists: Vec::new(),
            rounds: slab::Slab::new(),
            flush_queue: Vec::new(),
            outcomes: Vec::new(),
            scratch: AppendScratch::default(),
            housekeeping,
            fetch_engine: config.fetch_engine,
            coordinators: Coordinators::new(config),
        }
    }

    /// Outcomes gathered since the last call, each for one network loop.
    pub fn take_outcomes(&mut self, into: &mut Vec<(ReactorId, Outcome)>) {
        into.append(&mut self.outcomes);
    }

    /// When `on_time` has something to do next.
    pub fn next_deadline(&self) -> Instant {
        let due = self.due.peek().map_or(Instant(u64::MAX), |Reverse((due, _))| *due);
        due.min(self.housekeeping.next()).min(self.fetchers.next_deadline())
    }

    pub fn on_order(&mut self, order: Order, engine: &mut dyn Engine) {
        match order {
            Order::Adopt { replicas, done } => {
                for replica in replicas {
                    self.adopt(replica, engine);
                }
                done(());
            }
            Order::Release { slot, done } => done(self.release(slot)),
            Order::Forget { partitions } => self.coordinators.forget(partitions),
            Order::Reconfigure { slots, config, log, done } => {
                for slot in slots {
                    if let Some(partition) = partition_mut(&mut self.partitions, slot) {
                        partition.config = Arc::clone(&config);
                        partition.log.set_config(Arc::clone(&log));
                        // A partition that no longer flushes before it answers owes what it has appended.
                        if config.durability != Durability::GroupCommit {
                            let end = partition.log.end_offset();
                            self.advance(slot, engine.now());
                            self.settle_alone(slot, end);
                        }
                    }
                }
                done(());
            }
            Order::BeginTerms { terms, done } => {
                self.begin_terms(terms, engine);
                done(());
            }
            Order::Brokers(brokers) => self.on_brokers(&brokers, engine.now()),
            Order::AnswerProposal { slot, term, answered } => {
                self.on_proposal_answered(slot, term, answered, engine.now());
            }
            Order::OfferCleaning { every_ms, take } => self.offer_cleaning(every_ms, take, engine.now()),
            Order::PlanCleaning { slot, done } => done(self.plan_cleaning(slot, engine)),
            Order::TakeCleaned { slot, group, done } => done(self.take_cleaned(slot, &group)),
            Order::NameCleaned { slot, base_offset, done } => {
                done(self.name_cleaned(slot, base_offset, engine));
            }
            Order::EndCleaning { slot, first_dirty, done } => {
                self.end_cleaning(slot, first_dirty);
                done(());
            }
            Order::Ask { questions, done } => {
                let answers =
                    questions.into_iter().map(|(slot, question)| self.answer_question(slot, question));
                done(answers.collect());
            }
            Order::Stop { done } => done(self.stop(engine)),
        }
    }

    fn adopt(&mut self, replica: Replica, engine: &mut dyn Engine) {
        let topic_metrics = self.registry.topic(&self.thread_name, &replica.topic);
        let metrics = self.registry.partition(&replica.topic, replica.partition);
        let mut partition = Box::new(Partition {
            topic: replica.topic,
            number: replica.partition,
            leader_epoch: replica.leader_epoch,
            role: if replica.alone { Role::Alone } else { Role::Follows },
            config: replica.config,
            directory: replica.directory,
            log: replica.log,
            pending: Vec::new(),
            unacknowledged: Default::default(),
            watchers: Vec::new(),
            flush_wanted: false,
            noted_high_watermark: -1,
            noted_recovery_point: -1,
            noted_log_start: None,
            topic_metrics,
            metrics,
        });
        partition.noted_log_start = partition.log.start_for_checkpoint().map(|offset| offset.0);
        if replica.alone {
            // One replica is all there is: everything in the log is committed.
            let end = partition.log.end_offset();
            partition.log.advance_high_watermark(end);
        }
        partition.show();
        let slot = replica.slot as usize;
        if self.partitions.len() <= slot {
            self.partitions.resize_with(slot + 1, || None);
        }
        let coordinates = replica.alone && *partition.topic == *topic_name::OFFSETS;
        self.partitions[slot] = Some(partition);
        if coordinates {
            self.begin_coordinating(slot as u32, engine);
        }
    }

    fn release(&mut self, slot: u32) -> Option<log::Log> {
        let mut partition = self.partitions.get_mut(slot as usize)?.take()?;
        self.stop_coordinating(slot);
        self.fetchers.leave(slot);
        for pending in partition.pending.drain(..) {
            let part = ProducedPart::refused(pending.entry, ErrorCode::UnknownTopicOrPartition, None);
            self.produced(pending.produce, part);
        }
        for waiting in std::mem::take(&mut partition.unacknowledged) {
            let part = ProducedPart::refused(waiting.entry, ErrorCode::UnknownTopicOrPartition, None);
            self.produced(waiting.produce, part);
        }
        // Whoever waits there is told now.
        for (set, entry) in std::mem::take(&mut partition.watchers) {
            self.flag(set, entry);
        }
        self.note_removed(slot, partition.directory, &partition.log);
        self.registry.forget_partition(&partition.topic, partition.number);
        Some(partition.log)
    }

    pub fn on_command(&mut self, command: Command, now: Instant) {
        match command {
            Command::Produce(produce) => self.on_produce(produce),
            Command::Fetch(fetch) => self.on_fetch(&fetch, now),
            Command::Collect(id) => {
                if let Some(set) = self.sets.get_mut(&id)
                    && let Some(waiting) = &mut set.waiting
                {
                    waiting.deadline = Instant(0);
                    self.wake(id);
                }
            }
            Command::Forget(id) => self.forget(id),
            Command::ListOffsets(request) => self.on_list_offsets(request),
            Command::Group(command) => self.coordinators.commands.push(command),
            Command::ListGroups { reply_to } => self.list_groups(reply_to),
        }
    }

    /// End of a turn: appends, flushes, then answers.
    pub fn end_turn(&mut self, now: Instant, engine: &mut dyn Engine) {
        self.coordinate(now, engine);
        self.append_pending(now, engine);
        while self.settle_appends(now, engine) {
            self.append_pending(now, engine);
        }
        self.start_flushes(now, engine);
        self.start_write_outs(engine);
        self.fetch_on(now, engine);
        self.send_proposals();
        self.answer_lists(engine);
        while let Some(id) = self.woken.pop() {
            self.look(id, now, engine);
        }
    }

    pub fn on_completion(&mut self, completion: Completion, engine: &mut dyn Engine) {
        let kind = (completion.token.0 >> 56) as u8;
        let key = completion.token.0 & 0x00ff_ffff_ffff_ffff;
        match completion.done {
            Done::Flushed(result) if kind == tokens::FLUSH => self.on_flushed(key as usize, result, engine),
            Done::WrittenOut(result) if kind == tokens::WRITE_OUT => {
                self.on_written_out(key as usize, result);
            }
            Done::Read { into, result } if kind == tokens::COLD_READ => {
                self.on_cold_read(key as usize, into, result, engine)
            }
            // Found or not, the next look tells.
            Done::Read { .. } if kind == tokens::LOOK_UP => self.on_looked_up(key as usize, engine),
            Done::Read { into, result } if kind == tokens::LOAD => {
                self.on_load_read(key, &into, result, engine);
            }
            Done::Connected(result) if kind == tokens::CONNECT => {
                self.fetchers.on_connected(key, result, engine)
            }
            Done::Sent { bytes, result } if kind == tokens::SEND => {
                self.fetchers.on_sent(key, bytes, result, engine.now());
            }
            Done::ReceivedInto { into, result } if kind == tokens::RECEIVE => {
                self.on_leader_received(key, into, result, engine);
            }
            Done::Accepted { .. }
            | Done::Connected(_)
            | Done::Received(_)
            | Done::ReceivedInto { .. }
            | Done::Sent { .. }
            | Done::Writable(_)
            | Done::Read { .. }
            | Done::Flushed(_)
            | Done::WrittenOut(_)
            | Done::Woken => {}
        }
    }

    pub fn on_time(&mut self, now: Instant, engine: &mut dyn Engine) {
        while let Some(Reverse((at, _))) = self.due.peek() {
            if *at > now {
                break;
            }
            let Some(Reverse((at, due))) = self.due.pop() else { break };
            match due {
                Due::Fetch { set: (reactor, number), number: wait } => {
                    let id = FetchSetId { reactor: ReactorId(reactor), number };
                    if self.sets.get(&id).is_some_and(|set| set.waiting.is_some_and(|w| w.number == wait)) {
                        self.wake(id);
                    }
                }
                Due::Produce { key, reply } => self.on_produce_late(key, reply),
                Due::Flush { slot } => self.flush_queue.push((slot, FlushScope::All)),
                Due::Coordinator { slot } => self.on_coordinator_due(slot, at, now, engine),
            }
        }
        self.keep_house(now, engine);
    }

    /// Closes every log for good. The caller flushes the file systems afterwards, once for all logs.
    fn stop(&mut self, engine: &mut dyn Engine) -> Vec<Closed> {
        // What came in this turn is appended and answered first.
        let now = engine.now();
        self.coordinate(now, engine);
        self.append_pending(now, engine);
        while self.settle_appends(now, engine) {
            self.append_pending(now, engine);
        }
        let wall = engine.wall();
        let disk = engine.disk();
        let mut closed = Vec::new();
        for partition in self.partitions.iter_mut().filter_map(Option::take) {
            let Partition { topic, number, directory, mut log, .. } = *partition;
            let clean = match log.close(disk, CloseFlush::ByCaller, wall) {
                Ok(()) => true,
                Err(error) => {
                    tracing::error!(%topic, partition = number, %error, "a log could not be closed");
                    false
                }
            };
            closed.push(Closed {
                directory,
                topic,
                partition: number,
                clean,
                recovery_point: log.end_offset().0,
                high_watermark: log.high_watermark().0,
                log_start: log.start_for_checkpoint().map(|offset| offset.0),
            });
        }
        closed
    }
}

fn partition_mut(partitions: &mut [Option<Box<Partition>>], slot: u32) -> Option<&mut Partition> {
    partitions.get_mut(slot as usize)?.as_deref_mut()
}

/// What is wrong with the epoch a client believes in (KIP-320).
fn epoch_error(believed: i32, actual: LeaderEpoch) -> Option<ErrorCode> {
    match believed.cmp(&actual.0) {
        _ if believed < 0 => None,
        std::cmp::Ordering::Less => Some(ErrorCode::FencedLeaderEpoch),
        std::cmp::Ordering::Equal => None,
        std::cmp::Ordering::Greater => Some(ErrorCode::UnknownLeaderEpoch),
    }
}
