//! All groups of one partition of `__consumer_offsets`.
//!
//! In: requests with tickets, results of appends, batches while it is loaded, the time. Out: actions, in order. While it is
//! loaded it answers as Kafka does: that it is not ready, or, to members who could not understand that, to go on or to join
//! again. Nothing is walked in a turn but what is due: members by their timers, offsets a slice of groups at a time.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use slab::Slab;

use super::load::{LoadError, Loader};
use super::offsets::Committed;
use super::record::{self, NewRecord};
use super::request::{
    Described, FetchedOffset, FetchedOffsets, Joined, Left, Reply, Request, Synced, TopicPartition,
};
use super::state::{Before, Group, State};
use super::timers::Timers;
use crate::clock::{Instant, WallMs};
use crate::wire::error_code::ErrorCode;

/// The settings of groups (contract 7); times in ms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `group.min.session.timeout.ms` to `group.max.session.timeout.ms`.
    pub session_timeout_ms: std::ops::RangeInclusive<i32>,
    /// `group.initial.rebalance.delay.ms`
    pub initial_rebalance_delay_ms: i64,
    /// `group.max.size`
    pub size_max: usize,
    /// `offset.metadata.max.bytes`, which counts characters, as Kafka does.
    pub offset_metadata_max: usize,
    /// `offsets.retention.minutes`
    pub offsets_retention_ms: i64,
    /// `offsets.retention.check.interval.ms`
    pub offsets_retention_check_interval_ms: i64,
}

/// A point in time by both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    pub now: Instant,
    pub wall: WallMs,
}

/// Records to append as one batch. The coordinator is told by `on_appended` how that ended.
#[derive(Debug)]
pub struct Append {
    pub id: u32,
    pub records: Vec<NewRecord>,
    /// Commits carry sequence 0 without a producer, as Kafka's do (contract 6.3).
    pub of_offsets: bool,
}

/// What a coordinator wants done, in this order.
#[derive(Debug)]
pub enum Action<T> {
    Reply { to: T, reply: Reply },
    Append(Append),
}

/// A line of ListGroups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub group: Arc<str>,
    pub protocol_type: Arc<str>,
    pub state: &'static str,
}

/// Who waits for an append, and with what.
#[derive(Debug)]
pub(super) enum Appending<T> {
    /// Nobody: what it says can be said again.
    Nothing {
        group: Arc<str>,
    },
    /// Offsets, or all of a group. They are there until the records that take them back are in the log.
    Deletion {
        group: Arc<str>,
        serial: u64,
        to: T,
        reply: Reply,
        gone: Vec<TopicPartition>,
        /// The group goes with them.
        whole: bool,
    },
    Commit {
        group: Arc<str>,
        serial: u64,
        to: T,
        answer: Vec<ErrorCode>,
        offsets: Vec<(TopicPartition, Committed)>,
    },
    Assignment {
        group: Arc<str>,
        serial: u64,
        generation: i32,
        assignments: HashMap<Arc<str>, Arc<[u8]>>,
    },
    Instance {
        group: Arc<str>,
        serial: u64,
        member_id: Arc<str>,
        led_before: Option<Arc<str>>,
        can_skip: bool,
        before: Before,
    },
}

/// Where a group's effects go.
pub(super) struct Out<'a, T> {
    pub moment: Moment,
    pub settings: &'a Settings,
    pub timers: &'a mut Timers,
    appends: &'a mut Slab<Appending<T>>,
    actions: &'a mut Vec<Action<T>>,
    random: &'a mut dyn FnMut() -> u64,
}

impl<T> Out<'_, T> {
    pub fn reply(&mut self, to: T, reply: Reply) {
        self.actions.push(Action::Reply { to, reply });
    }

    pub fn append(&mut self, records: Vec<NewRecord>, of_offsets: bool, waits: Appending<T>) {
        let id = self.appends.insert(waits) as u32;
        self.actions.push(Action::Append(Append { id, records, of_offsets }));
    }

    /// The text of a random UUID (version 4).
    pub fn fresh_uuid(&mut self) -> String {
        let high = (self.random)() & 0xffff_ffff_ffff_0fff | 0x4000;
        let low = (self.random)() & 0x3fff_ffff_ffff_ffff | 0x8000_0000_0000_0000;
        format!(
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            high >> 32,
            high >> 16 & 0xffff,
            high & 0xffff,
            low >> 48,
            low & 0xffff_ffff_ffff
        )
    }
}

/// Groups looked at in one slice of a sweep.
const SWEEP_GROUPS: usize = 64;
/// Pause between two slices.
const SWEEP_PAUSE_MS: i64 = 2;

/// All groups of one partition. `T` is a ticket: where an answer goes.
#[derive(Debug)]
pub struct Coordinator<T> {
    settings: Arc<Settings>,
    /// `Some` until everything that was in the log is here.
    loader: Option<Loader>,
    /// What was in the log cannot be read.
    failed: bool,
    groups: HashMap<Arc<str>, Group<T>>,
    timers: Timers,
    appends: Slab<Appending<T>>,
    next_serial: u64,
    next_sweep: Instant,
    /// Groups that the sweep under way has not come to.
    to_sweep: Vec<Arc<str>>,
}

impl<T: Copy> Coordinator<T> {
    /// A coordinator that has yet to be loaded.
    pub fn new(settings: Arc<Settings>, now: Instant) -> Coordinator<T> {
        let next_sweep = now.after_ms(settings.offsets_retention_check_interval_ms);
        Coordinator {
            settings,
            loader: Some(Loader::default()),
            failed: false,
            groups: HashMap::new(),
            timers: Timers::default(),
            appends: Slab::new(),
            next_serial: 0,
            next_sweep,
            to_sweep: Vec::new(),
        }
    }

    pub fn is_loading(&self) -> bool {
        self.loader.is_some() && !self.failed
    }

    /// Takes whole batches of the partition, in order. Says from which offset on it wants more.
    pub fn load(&mut self, batches: &[u8], from: i64) -> Result<i64, LoadError> {
        match &mut self.loader {
            Some(loader) => loader.take(batches, from),
            None => Ok(from),
        }
    }

    /// Everything there was has been taken: groups come up, and their sessions begin.
    pub fn loaded(&mut self, moment: Moment, random: &mut dyn FnMut() -> u64, actions: &mut Vec<Action<T>>) {
        let Some(loader) = self.loader.take() else { return };
        let mut serial = self.next_serial;
        self.groups = loader.into_groups(|| {
            serial += 1;
            serial
        });
        self.next_serial = serial;
        let (groups, mut out) = self.split(moment, random, actions);
        for group in groups.values_mut() {
            group.on_loaded(&mut out);
        }
    }

    /// The partition cannot be read: nothing is answered from what is missing.
    pub fn fail(&mut self) {
        self.failed = true;
    }

    /// Groups that are here, for logs.
    pub fn group_count(&self) -> usize {
        self.groups.len()
    }

    fn split<'a>(
        &'a mut self,
        moment: Moment,
        random: &'a mut dyn FnMut() -> u64,
        actions: &'a mut Vec<Action<T>>,
    ) -> (&'a mut HashMap<Arc<str>, Group<T>>, Out<'a, T>) {
        let out = Out {
            moment,
            settings: &self.settings,
            timers: &mut self.timers,
            appends: &mut self.appends,
            actions,
            random,
        };
        (&mut self.groups, out)
    }

    /// Answers a request, now or when what it waits for has come.
    pub fn handle(
        &mut self,
        group: &Arc<str>,
        request: Request,
        to: T,
        moment: Moment,
        random: &mut dyn FnMut() -> u64,
        actions: &mut Vec<Action<T>>,
    ) {
        if let Some(reply) = self.refusal(group, &request) {
            return actions.push(Action::Reply { to, reply });
        }
        if let Request::Delete = request {
            return self.delete(group, to, actions);
        }
        if !self.groups.contains_key(group) {
            if !creates_group(&request) {
                return actions.push(Action::Reply { to, reply: of_unknown_group(&request) });
            }
            self.next_serial += 1;
            self.groups.insert(group.clone(), Group::new(group.clone(), self.next_serial));
        }
        let (groups, mut out) = self.split(moment, random, actions);
        let group = groups.get_mut(group).expect("just looked up");
        match request {
            Request::Join(join) => group.join(join, to, &mut out),
            Request::Sync(sync) => group.sync(sync, to, &mut out),
            Request::Heartbeat(who) => {
                let error = group.heartbeat(&who, &mut out);
                out.reply(to, Reply::Heartbeat(error));
            }
            Request::Leave(leaving) => {
                let members = leaving.iter().map(|leaving| group.leave(leaving, &mut out)).collect();
                out.reply(to, Reply::Leave(Left { error: ErrorCode::None, members }));
            }
            Request::Commit(commit) => group.commit(commit, to, &mut out),
            Request::FetchOffsets { wanted, stable } => {
                let offsets = fetch(group, wanted, stable);
                out.reply(to, Reply::Offsets(FetchedOffsets { error: ErrorCode::None, offsets }));
            }
            Request::Describe => out.reply(to, Reply::Describe(group.describe(out.moment))),
            Request::DeleteOffsets(partitions) => delete_offsets(group, &partitions, to, &mut out),
            Request::Delete => unreachable!("taken out above"),
        }
        // A refused join has left nothing that anybody could ask for.
        if group.holds_nothing() && group.generation == 0 {
            let id = group.id.clone();
            self.groups.remove(&id);
        }
    }

    /// Why nothing can be answered now, in the words this kind of request understands.
    fn refusal(&self, group: &str, request: &Request) -> Option<Reply> {
        if group.is_empty() && !request.allows_empty_group() {
            return Some(request.refuse(ErrorCode::InvalidGroupId));
        }
        if self.failed {
            return Some(request.refuse(ErrorCode::CoordinatorNotAvailable));
        }
        if self.loader.is_some() {
            return Some(match request {
                Request::Heartbeat(_) => Reply::Heartbeat(ErrorCode::None),
                Request::Sync(_) => Reply::Sync(Synced::refused(ErrorCode::RebalanceInProgress)),
                Request::Join(_)
                | Request::Leave(_)
                | Request::Commit(_)
                | Request::FetchOffsets { .. }
                | Request::Describe
                | Request::Delete
                | Request::DeleteOffsets(_) => request.refuse(ErrorCode::CoordinatorLoadInProgress),
            });
        }
        match request {
            Request::Join(join) if !self.settings.session_timeout_ms.contains(&join.session_timeout_ms) => {
                let refused = Joined::refused(join.member_id.clone(), ErrorCode::InvalidSessionTimeout);
                Some(Reply::Join(refused))
            }
            _ => None,
        }
    }

    /// An append has ended: with the offset of its first record, or with what the log said.
    pub fn on_appended(
        &mut self,
        id: u32,
        result: Result<i64, ErrorCode>,
        moment: Moment,
        random: &mut dyn FnMut() -> u64,
        actions: &mut Vec<Action<T>>,
    ) {
        let Some(waits) = self.appends.try_remove(id as usize) else { return };
        let (groups, mut out) = self.split(moment, random, actions);
        fn find<'g, T>(
            groups: &'g mut HashMap<Arc<str>, Group<T>>,
            name: &str,
            serial: u64,
        ) -> Option<&'g mut Group<T>> {
            groups.get_mut(name).filter(|group| group.serial == serial)
        }
        match waits {
            Appending::Nothing { group } => {
                if let Err(error) = result {
                    tracing::warn!(%group, %error, "a record of the group could not be written; it will be tried again");
                }
            }
            Appending::Deletion { group: name, serial, to, mut reply, gone, whole } => {
                match (result, &mut reply) {
                    (Ok(base_offset), _) => {
                        if let Some(group) = find(groups, &name, serial) {
                            gone.iter().for_each(|at| group.offsets.remove_before(at, base_offset));
                            if whole && group.is_empty() && group.holds_no_offsets() {
                                groups.remove(&name);
                            }
                        }
                    }
                    (Err(error), Reply::DeleteOffsets(answer)) => *answer = Err(commit_error(error)),
                    (Err(error), reply) => *reply = Reply::Delete(commit_error(error)),
                }
                out.reply(to, reply);
            }
            Appending::Commit { group, serial, to, mut answer, offsets } => {
                match result {
                    Ok(base_offset) => {
                        if let Some(group) = find(groups, &group, serial) {
                            for ((at, committed), log_offset) in offsets.into_iter().zip(base_offset..) {
                                group.offsets.put(at, Committed { log_offset, ..committed });
                            }
                        }
                    }
                    Err(error) => {
                        let error = commit_error(error);
                        answer.iter_mut().filter(|code| code.is_none()).for_each(|code| *code = error);
                    }
                }
                if let Some(group) = find(groups, &group, serial) {
                    group.commits_in_flight -= 1;
                }
                out.reply(to, Reply::Commit(answer));
            }
            Appending::Assignment { group, serial, generation, assignments } => {
                if let Some(group) = find(groups, &group, serial) {
                    let result = result.map(|_| ()).map_err(group_error);
                    group.on_assignment_stored(generation, assignments, result, &mut out);
                }
            }
            Appending::Instance { group, serial, member_id, led_before, can_skip, before } => {
                if let Some(group) = find(groups, &group, serial) {
                    let result = result.map(|_| ()).map_err(group_error);
                    group.on_instance_stored(&member_id, led_before, can_skip, before, result, &mut out);
                }
            }
        }
    }

    /// When `on_time` has something to do next.
    pub fn next_deadline(&self) -> Instant {
        self.timers.next().map_or(self.next_sweep, |next| next.min(self.next_sweep))
    }

    /// Does what is due.
    pub fn on_time(&mut self, moment: Moment, random: &mut dyn FnMut() -> u64, actions: &mut Vec<Action<T>>) {
        while let Some(timer) = self.timers.pop(moment.now) {
            let (groups, mut out) = self.split(moment, random, actions);
            if let Some(group) = groups.get_mut(&timer.group) {
                group.on_timer(&timer, &mut out);
            }
        }
        if self.next_sweep <= moment.now {
            self.sweep(moment, random, actions);
        }
    }

    /// Removes offsets that have had their time and groups that hold nothing, some groups at a time.
    fn sweep(&mut self, moment: Moment, random: &mut dyn FnMut() -> u64, actions: &mut Vec<Action<T>>) {
        if self.loader.is_some() || self.failed {
            self.next_sweep = moment.now.after_ms(self.settings.offsets_retention_check_interval_ms);
            return;
        }
        if self.to_sweep.is_empty() {
            self.to_sweep = self.groups.keys().cloned().collect();
        }
        let rest = self.to_sweep.len().saturating_sub(SWEEP_GROUPS);
        for name in self.to_sweep.split_off(rest) {
            let retention_ms = self.settings.offsets_retention_ms;
            let (groups, mut out) = self.split(moment, random, actions);
            let Some(group) = groups.get_mut(&name) else { continue };
            let expired = group.expired_offsets(moment.wall.0, retention_ms);
            if drop_offsets(group, &expired, &mut out) {
                groups.remove(&name);
            }
        }
        let pause_ms = match self.to_sweep.is_empty() {
            true => self.settings.offsets_retention_check_interval_ms,
            false => SWEEP_PAUSE_MS,
        };
        self.next_sweep = moment.now.after_ms(pause_ms);
    }

    /// Partitions are gone, and with them the offsets in them.
    pub fn forget(
        &mut self,
        partitions: &HashSet<TopicPartition>,
        moment: Moment,
        random: &mut dyn FnMut() -> u64,
        actions: &mut Vec<Action<T>>,
    ) {
        let (groups, mut out) = self.split(moment, random, actions);
        groups.retain(|_, group| {
            let there = group.offsets.iter().map(|(at, _)| at);
            let gone: Vec<TopicPartition> = there.filter(|at| partitions.contains(*at)).cloned().collect();
            gone.is_empty() || !drop_offsets(group, &gone, &mut out)
        });
    }

    /// A transaction has ended: what it committed counts, or does not.
    pub fn end_transaction(&mut self, producer_id: i64, commit: bool) {
        self.groups.values_mut().for_each(|group| group.offsets.end_transaction(producer_id, commit));
    }

    /// The partition goes away: whoever waits is told to look for the group elsewhere.
    pub fn unload(&mut self, actions: &mut Vec<Action<T>>) {
        for group in self.groups.values_mut() {
            group.unload(actions);
        }
        for waits in self.appends.drain() {
            match waits {
                Appending::Commit { to, mut answer, .. } => {
                    let open = answer.iter_mut().filter(|code| code.is_none());
                    open.for_each(|code| *code = ErrorCode::NotCoordinator);
                    actions.push(Action::Reply { to, reply: Reply::Commit(answer) });
                }
                // What is gone with the partition is deleted.
                Appending::Deletion { to, reply, .. } => actions.push(Action::Reply { to, reply }),
                Appending::Nothing { .. } | Appending::Assignment { .. } | Appending::Instance { .. } => {}
            }
        }
        self.groups.clear();
    }

    fn delete(&mut self, name: &Arc<str>, to: T, actions: &mut Vec<Action<T>>) {
        let mut answer = |error| actions.push(Action::Reply { to, reply: Reply::Delete(error) });
        let Some(group) = self.groups.get(name) else { return answer(ErrorCode::GroupIdNotFound) };
        if !group.is_empty() {
            return answer(ErrorCode::NonEmptyGroup);
        }
        let mut gone: Vec<TopicPartition> = group.offsets.iter().map(|(at, _)| at.clone()).collect();
        if group.commits_in_flight > 0 {
            // What is on its way to the log will stand in front of these records.
            for (_, waits) in &self.appends {
                if let Appending::Commit { group: of, serial, offsets, .. } = waits
                    && of == name
                    && *serial == group.serial
                {
                    gone.extend(offsets.iter().map(|(at, _)| at.clone()));
                }
            }
            gone.sort_unstable();
            gone.dedup();
        }
        let mut records: Vec<NewRecord> = gone.iter().map(|at| record::no_offset(name, at)).collect();
        if group.generation > 0 {
            records.push(record::no_group(name));
        }
        if records.is_empty() {
            answer(ErrorCode::None);
            self.groups.remove(name);
            return;
        }
        let serial = group.serial;
        let reply = Reply::Delete(ErrorCode::None);
        let waits = Appending::Deletion { group: name.clone(), serial, to, reply, gone, whole: true };
        let id = self.appends.insert(waits) as u32;
        actions.push(Action::Append(Append { id, records, of_offsets: false }));
    }

    /// Adds the groups that are here to `into`. False while more may come from the log.
    pub fn list(&self, into: &mut Vec<Listed>) -> bool {
        into.extend(self.groups.values().map(|group| Listed {
            group: group.id.clone(),
            protocol_type: group.protocol_type.clone().unwrap_or_else(|| "".into()),
            state: group.state.name(),
        }));
        !self.is_loading()
    }

    #[cfg(test)]
    pub(super) fn groups(&self) -> &HashMap<Arc<str>, Group<T>> {
        &self.groups
    }
}

/// A group begins with somebody who is not a member yet, or with offsets of somebody who needs no members.
fn creates_group(request: &Request) -> bool {
    match request {
        Request::Join(join) => join.member_id.is_empty(),
        Request::Commit(commit) => commit.who.generation < 0,
        Request::Sync(_)
        | Request::Heartbeat(_)
        | Request::Leave(_)
        | Request::FetchOffsets { .. }
        | Request::Describe
        | Request::Delete
        | Request::DeleteOffsets(_) => false,
    }
}

fn of_unknown_group(request: &Request) -> Reply {
    match request {
        Request::Join(_) | Request::Sync(_) | Request::Heartbeat(_) => {
            request.refuse(ErrorCode::UnknownMemberId)
        }
        Request::Leave(leaving) => Reply::Leave(Left {
            error: ErrorCode::None,
            members: vec![ErrorCode::UnknownMemberId; leaving.len()],
        }),
        Request::Commit(_) => request.refuse(ErrorCode::IllegalGeneration),
        Request::FetchOffsets { wanted, .. } => {
            let offsets = wanted.iter().flatten().map(|at| no_offset(at, ErrorCode::None)).collect();
            Reply::Offsets(FetchedOffsets { error: ErrorCode::None, offsets })
        }
        Request::Describe => Reply::Describe(Described::nothing(ErrorCode::None, "Dead")),
        Request::Delete | Request::DeleteOffsets(_) => request.refuse(ErrorCode::GroupIdNotFound),
    }
}

fn no_offset(at: &TopicPartition, error: ErrorCode) -> FetchedOffset {
    FetchedOffset { at: at.clone(), offset: -1, leader_epoch: -1, metadata: None, error }
}

fn fetch<T: Copy>(group: &Group<T>, wanted: Option<Vec<TopicPartition>>, stable: bool) -> Vec<FetchedOffset> {
    let one = |at: &TopicPartition, committed: Option<&Committed>| match committed {
        _ if stable && group.offsets.is_unstable(at) => no_offset(at, ErrorCode::UnstableOffsetCommit),
        None => no_offset(at, ErrorCode::None),
        Some(committed) => FetchedOffset {
            at: at.clone(),
            offset: committed.offset,
            leader_epoch: committed.leader_epoch,
            metadata: committed.metadata.clone(),
            error: ErrorCode::None,
        },
    };
    match wanted {
        Some(wanted) => wanted.iter().map(|at| one(at, group.offsets.get(at))).collect(),
        None => {
            let mut all: Vec<FetchedOffset> =
                group.offsets.iter().map(|(at, committed)| one(at, Some(committed))).collect();
            all.sort_unstable_by(|a, b| a.at.cmp(&b.at));
            all
        }
    }
}

fn delete_offsets<T: Copy>(group: &mut Group<T>, partitions: &[TopicPartition], to: T, out: &mut Out<'_, T>) {
    let may = match group.state {
        State::Empty => |_: &Group<T>, _: &str| true,
        State::Preparing { .. } | State::Completing { .. } | State::Stable { .. } => {
            if !group.is_consumer_group() {
                return out.reply(to, Reply::DeleteOffsets(Err(ErrorCode::NonEmptyGroup)));
            }
            |group: &Group<T>, topic: &str| !group.reads(topic)
        }
    };
    let codes = partitions.iter().map(|at| match may(group, &at.topic) {
        true => ErrorCode::None,
        false => ErrorCode::GroupSubscribedToTopic,
    });
    let codes: Vec<ErrorCode> = codes.collect();
    let gone = partitions.iter().zip(&codes).filter(|(_, code)| code.is_none());
    let gone = gone.filter(|(at, _)| group.offsets.get(at).is_some());
    let gone: Vec<TopicPartition> = gone.map(|(at, _)| at.clone()).collect();
    let reply = Reply::DeleteOffsets(Ok(codes));
    let mut records: Vec<NewRecord> = gone.iter().map(|at| record::no_offset(&group.id, at)).collect();
    // With its last offset goes a group that nobody is in, as Kafka has it.
    let whole = group.is_empty()
        && group.pending.is_empty()
        && group.commits_in_flight == 0
        && group.offsets.iter().all(|(at, _)| gone.contains(at));
    if whole && group.generation > 0 {
        records.push(record::no_group(&group.id));
    }
    if records.is_empty() {
        return out.reply(to, reply);
    }
    let (id, serial) = (group.id.clone(), group.serial);
    let waits = Appending::Deletion { group: id, serial, to, reply, gone, whole };
    out.append(records, false, waits);
}

/// Takes offsets out of a group and its records out of the log. True when the group holds nothing any more and is to go.
fn drop_offsets<T: Copy>(group: &mut Group<T>, gone: &[TopicPartition], out: &mut Out<'_, T>) -> bool {
    let removed = gone.iter().filter(|at| group.offsets.remove(at));
    let mut records: Vec<NewRecord> = removed.map(|at| record::no_offset(&group.id, at)).collect();
    let ends = group.holds_nothing();
    if ends && group.generation > 0 {
        records.push(record::no_group(&group.id));
    }
    if !records.is_empty() {
        out.append(records, false, Appending::Nothing { group: group.id.clone() });
    }
    ends
}

/// What a member is told when the record of its commit could not be written (contract 6.1).
fn commit_error(error: ErrorCode) -> ErrorCode {
    match error {
        ErrorCode::UnknownTopicOrPartition
        | ErrorCode::NotEnoughReplicas
        | ErrorCode::NotEnoughReplicasAfterAppend => ErrorCode::CoordinatorNotAvailable,
        ErrorCode::NotLeaderOrFollower | ErrorCode::KafkaStorageError => ErrorCode::NotCoordinator,
        ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge | ErrorCode::InvalidFetchSize => {
            ErrorCode::InvalidCommitOffsetSize
        }
        other => other,
    }
}

/// The same for a group's own record.
fn group_error(error: ErrorCode) -> ErrorCode {
    match error {
        ErrorCode::RequestTimedOut => ErrorCode::RebalanceInProgress,
        other => match commit_error(other) {
            ErrorCode::InvalidCommitOffsetSize => ErrorCode::UnknownServerError,
            other => other,
        },
    }
}
