//! Group coordinators, guests of the partitions of `__consumer_offsets` that this loop owns.
//!
//! In: commands for groups, results of appends, the time. Out: replies, and batches that join the turn's writes. A
//! coordinator is loaded from its partition's log by reads of the engine, a piece at a time; until then it says so. Its
//! records are in the log before anybody hears of them.

use std::cmp::Reverse;
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};

use crate::api::command::{GroupCommand, Outcome, ProducePart, ProducedPart, ReplyTo};
use crate::clock::{Instant, WallMs};
use crate::config::Config;
use crate::group::{Action, Append, Coordinator, Listed, Moment, Reply, Settings, TopicPartition};
use crate::ids::Offset;
use crate::io_thread::lookup::{self, InMemory, LookUp};
use crate::io_thread::produce::Asker;
use crate::io_thread::{Due, IoLoop, LOOKUPS_MAX, partition_mut, token, tokens};
use crate::log;
use crate::reactor::{Disk, Engine, Lease, Operation};
use crate::wire::batch_builder::BatchBuilder;
use crate::wire::compression::Codec;
use crate::wire::error_code::ErrorCode;

/// Where an answer goes: a request, and which of the groups it names.
type Ticket = (ReplyTo, u32);

/// The most that is read and taken in at once while loading: a turn must not take long.
const LOAD_BYTES_MAX: u32 = 256 * 1024;
/// Loadings are told apart by what of a token is left beside a slot.
const LOADINGS_MASK: u32 = 0x00ff_ffff;

#[derive(Debug)]
struct Guest {
    coordinator: Coordinator<Ticket>,
    loading: Option<Loading>,
    /// When the loop looks after it next.
    due: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Loading {
    next: Offset,
    /// What was in the log when it began.
    end: Offset,
    began: Instant,
    /// Tells this loading from an earlier one of the same slot, whose reads may still be under way.
    number: u32,
    /// How often in a row what is to be read next could not be told from memory.
    lookups: u8,
}

pub(super) struct Coordinators {
    settings: Arc<Settings>,
    codec: Codec,
    acks: i16,
    commit_timeout_ms: i64,
    load_bytes: u32,
    by_slot: HashMap<u32, Guest>,
    /// Loadings begun.
    loadings: u32,
    /// Of this turn.
    pub commands: Vec<GroupCommand>,
    /// Appends that have ended since the last look.
    ended: Vec<(u32, u32, Result<i64, ErrorCode>)>,
    gone: Vec<Arc<HashSet<TopicPartition>>>,
    actions: Vec<Action<Ticket>>,
}

impl Coordinators {
    pub fn new(config: &Config) -> Coordinators {
        let settings = Settings {
            session_timeout_ms: config.group_min_session_timeout_ms..=config.group_max_session_timeout_ms,
            initial_rebalance_delay_ms: config.group_initial_rebalance_delay_ms.into(),
            size_max: config.group_max_size as usize,
            offset_metadata_max: config.offset_metadata_max_bytes as usize,
            offsets_retention_ms: i64::from(config.offsets_retention_minutes) * 60_000,
            offsets_retention_check_interval_ms: config
                .offsets_retention_check_interval_ms
                .min(i64::MAX as u64) as i64,
        };
        Coordinators {
            settings: Arc::new(settings),
            codec: Codec::from_number(config.offsets_topic_compression_codec).unwrap_or(Codec::None),
            acks: config.offsets_commit_required_acks,
            commit_timeout_ms: config.offsets_commit_timeout_ms.into(),
            load_bytes: config.offsets_load_buffer_size.clamp(4096, LOAD_BYTES_MAX),
            by_slot: HashMap::new(),
            loadings: 0,
            commands: Vec::new(),
            ended: Vec::new(),
            gone: Vec::new(),
            actions: Vec::new(),
        }
    }

    /// A batch of a coordinator is decided.
    pub fn appended(&mut self, slot: u32, append: u32, part: &ProducedPart) {
        let result = match part.error {
            ErrorCode::None => Ok(part.base_offset.0),
            error => Err(error),
        };
        self.ended.push((slot, append, result));
    }

    /// Partitions are gone; the offsets in them go with the next turn's writes.
    pub fn forget(&mut self, partitions: Arc<HashSet<TopicPartition>>) {
        if !self.by_slot.is_empty() {
            self.gone.push(partitions);
        }
    }
}

impl IoLoop {
    /// A partition of `__consumer_offsets` has come to this loop.
    pub(super) fn begin_coordinating(&mut self, slot: u32, engine: &mut dyn Engine) {
        let Some(partition) = partition_mut(&mut self.partitions, slot) else { return };
        let now = engine.now();
        let (next, end) = (partition.log.start_offset(), partition.log.end_offset());
        self.coordinators.loadings = self.coordinators.loadings.wrapping_add(1) & LOADINGS_MASK;
        let number = self.coordinators.loadings;
        let guest = Guest {
            coordinator: Coordinator::new(Arc::clone(&self.coordinators.settings), now),
            loading: Some(Loading { next, end, began: now, number, lookups: 0 }),
            due: None,
        };
        self.coordinators.by_slot.insert(slot, guest);
        self.load_on(slot, engine);
    }

    pub(super) fn stop_coordinating(&mut self, slot: u32) {
        let Some(mut guest) = self.coordinators.by_slot.remove(&slot) else { return };
        let mut actions = std::mem::take(&mut self.coordinators.actions);
        guest.coordinator.unload(&mut actions);
        self.carry_out(slot, &mut actions, Instant(0), WallMs(0));
        self.coordinators.actions = actions;
    }

    /// Reads the next piece, or begins to answer when there is none.
    fn load_on(&mut self, slot: u32, engine: &mut dyn Engine) {
        let Some(guest) = self.coordinators.by_slot.get_mut(&slot) else { return };
        let Some(loading) = &mut guest.loading else { return };
        let Some(partition) = partition_mut(&mut self.partitions, slot) else { return };
        let Loading { began, number, .. } = *loading;
        if loading.next < loading.end {
            let wanted = log::Read {
                offset: loading.next,
                bytes_max: self.coordinators.load_bytes,
                limit: loading.end,
                at_least_one: true,
            };
            let in_memory = InMemory(engine.disk());
            let search: &dyn Disk = if loading.lookups < LOOKUPS_MAX { &in_memory } else { engine.disk() };
            match partition.log.read(search, wanted) {
                Ok(place) if place.length > 0 => {
                    loading.lookups = 0;
                    let (file, position) = (place.file, u64::from(place.position));
                    let into = vec![0; place.length as usize];
                    let token = token(tokens::LOAD, (number as usize) << 32 | slot as usize);
                    return engine.submit(token, Operation::Read { file, position, into });
                }
                // Compaction has left nothing up to the end.
                Ok(_) => {}
                Err(error) => {
                    let Some(missing) = lookup::missing(&error) else {
                        let next = loading.next;
                        return self.loading_failed(slot, next, &error.to_string());
                    };
                    loading.lookups += 1;
                    return self.look_up(LookUp::Load { slot, number }, missing.clone(), engine);
                }
            }
        }
        guest.loading = None;
        let moment = Moment { now: engine.now(), wall: engine.wall() };
        let mut actions = std::mem::take(&mut self.coordinators.actions);
        guest.coordinator.loaded(moment, &mut || engine.random(), &mut actions);
        if guest.coordinator.group_count() > 0 {
            tracing::info!(
                partition = partition.number,
                groups = guest.coordinator.group_count(),
                ms = moment.now.since(began).as_millis() as u64,
                "groups are loaded"
            );
        }
        self.carry_out(slot, &mut actions, moment.now, moment.wall);
        self.coordinators.actions = actions;
        self.look_after(slot);
    }

    fn loading_failed(&mut self, slot: u32, offset: Offset, reason: &str) {
        let Some(guest) = self.coordinators.by_slot.get_mut(&slot) else { return };
        guest.loading = None;
        guest.coordinator.fail();
        if let Some(partition) = partition_mut(&mut self.partitions, slot) {
            tracing::error!(topic = %partition.topic, partition = partition.number, offset = offset.0, "groups cannot be loaded, and those kept here are not served: {reason}");
        }
    }

    /// What the next read needs to know is in memory.
    pub(super) fn load_looked_up(&mut self, slot: u32, number: u32, engine: &mut dyn Engine) {
        let loading = self.coordinators.by_slot.get(&slot).and_then(|guest| guest.loading.as_ref());
        if loading.is_some_and(|loading| loading.number == number) {
            self.load_on(slot, engine);
        }
    }

    pub(super) fn on_load_read(
        &mut self,
        key: u64,
        bytes: &[u8],
        result: std::io::Result<usize>,
        engine: &mut dyn Engine,
    ) {
        let (slot, number) = (key as u32, (key >> 32) as u32);
        let Some(guest) = self.coordinators.by_slot.get_mut(&slot) else { return };
        let Some(loading) = guest.loading.as_mut().filter(|loading| loading.number == number) else { return };
        let from = loading.next;
        let taken = match result {
            Ok(_) => guest.coordinator.load(bytes, from.0).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match taken {
            Ok(next) if next > from.0 => {
                loading.next = Offset(next);
                self.load_on(slot, engine);
            }
            Ok(_) => self.loading_failed(slot, from, "the log ends inside a batch"),
            Err(reason) => self.loading_failed(slot, from, &reason),
        }
    }

    /// Lets coordinators answer what came this turn; what they append joins the turn's writes.
    pub(super) fn coordinate(&mut self, now: Instant, engine: &mut dyn Engine) {
        if self.coordinators.commands.is_empty() && self.coordinators.gone.is_empty() {
            return;
        }
        let moment = Moment { now, wall: engine.wall() };
        let mut actions = std::mem::take(&mut self.coordinators.actions);
        for command in std::mem::take(&mut self.coordinators.commands) {
            let GroupCommand { reply_to, entry, slot, group, request } = command;
            let to = (reply_to, entry);
            match self.coordinators.by_slot.get_mut(&slot) {
                Some(guest) => {
                    let random = &mut || engine.random();
                    guest.coordinator.handle(&group, request, to, moment, random, &mut actions);
                }
                None => {
                    let reply = request.refuse(ErrorCode::NotCoordinator);
                    actions.push(Action::Reply { to, reply });
                }
            }
            self.carry_out(slot, &mut actions, now, moment.wall);
            self.look_after(slot);
        }
        for partitions in std::mem::take(&mut self.coordinators.gone) {
            let slots: Vec<u32> = self.coordinators.by_slot.keys().copied().collect();
            for slot in slots {
                let Some(guest) = self.coordinators.by_slot.get_mut(&slot) else { continue };
                guest.coordinator.forget(&partitions, moment, &mut || engine.random(), &mut actions);
                self.carry_out(slot, &mut actions, now, moment.wall);
            }
        }
        self.coordinators.actions = actions;
    }

    /// Tells coordinators how their appends have ended. True when there is more to append.
    pub(super) fn settle_appends(&mut self, now: Instant, engine: &mut dyn Engine) -> bool {
        if self.coordinators.ended.is_empty() {
            return false;
        }
        let moment = Moment { now, wall: engine.wall() };
        let mut actions = std::mem::take(&mut self.coordinators.actions);
        for (slot, append, result) in std::mem::take(&mut self.coordinators.ended) {
            let Some(guest) = self.coordinators.by_slot.get_mut(&slot) else { continue };
            let random = &mut || engine.random();
            guest.coordinator.on_appended(append, result, moment, random, &mut actions);
            self.carry_out(slot, &mut actions, now, moment.wall);
            self.look_after(slot);
        }
        self.coordinators.actions = actions;
        !self.dirty.is_empty() || !self.coordinators.ended.is_empty()
    }

    pub(super) fn on_coordinator_due(
        &mut self,
        slot: u32,
        at: Instant,
        now: Instant,
        engine: &mut dyn Engine,
    ) {
        let Some(guest) = self.coordinators.by_slot.get_mut(&slot) else { return };
        // It was called for an earlier time meanwhile.
        if guest.due != Some(at) {
            return;
        }
        guest.due = None;
        let moment = Moment { now, wall: engine.wall() };
        let mut actions = std::mem::take(&mut self.coordinators.actions);
        guest.coordinator.on_time(moment, &mut || engine.random(), &mut actions);
        self.carry_out(slot, &mut actions, now, moment.wall);
        self.coordinators.actions = actions;
        self.look_after(slot);
    }

    /// Sees to it that the loop comes back when the coordinator has something to do.
    fn look_after(&mut self, slot: u32) {
        let Some(guest) = self.coordinators.by_slot.get_mut(&slot) else { return };
        let next = guest.coordinator.next_deadline();
        if guest.due.is_none_or(|due| due > next) {
            guest.due = Some(next);
            self.due.push(Reverse((next, Due::Coordinator { slot })));
        }
    }

    fn carry_out(&mut self, slot: u32, actions: &mut Vec<Action<Ticket>>, now: Instant, wall: WallMs) {
        for action in actions.drain(..) {
            match action {
                Action::Reply { to, reply } => self.reply_to_group(to, reply),
                Action::Append(append) => self.append_records(slot, append, now, wall),
            }
        }
    }

    fn reply_to_group(&mut self, (reply_to, entry): Ticket, reply: Reply) {
        self.outcomes.push((reply_to.reactor, Outcome::Group { reply_to, entry, reply }));
    }

    fn append_records(&mut self, slot: u32, append: Append, now: Instant, wall: WallMs) {
        let mut builder = BatchBuilder::new(self.coordinators.codec);
        if append.of_offsets {
            builder.base_sequence = 0;
        }
        for record in &append.records {
            builder.append(wall.0, Some(&record.key), record.value.as_deref(), &[]);
        }
        let part = ProducePart { entry: 0, slot, batch: Lease::from(builder.build()) };
        let deadline = now.after_ms(self.coordinators.commit_timeout_ms);
        let asker = Asker::Coordinator { slot, append: append.id };
        self.queue(asker, self.coordinators.acks, deadline, vec![part]);
    }

    pub(super) fn list_groups(&mut self, reply_to: ReplyTo) {
        let mut groups: Vec<Listed> = Vec::new();
        let mut complete = true;
        for guest in self.coordinators.by_slot.values() {
            complete &= guest.coordinator.list(&mut groups);
        }
        self.outcomes.push((reply_to.reactor, Outcome::ListedGroups { reply_to, groups, complete }));
    }
}
