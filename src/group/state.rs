//! One group's membership: who is in, which generation it is in, and what it waits for (contract 6.1).
//!
//! In: requests of members, results of appends, timers. Out: replies, records to append, timers to set.
//!
//! ```text
//! Empty ──join──▶ Preparing ──all joined, or time over──▶ Completing ──leader's assignment in the log──▶ Stable
//!   ▲                │  ▲                                     │                                            │
//!   └─ nobody left ──┘  └────────── join, leave, expiry ──────┴────────────────────────────────────────────┘
//! ```
//!
//! A group that holds nothing any more is dropped by its coordinator: that is Kafka's state Dead.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};

use super::coordinator::{Action, Appending, Moment, Out};
use super::member::Member;
use super::offsets::{Committed, Offsets};
use super::record::{self, GroupValue, MemberValue, NewRecord};
use super::request::{
    Commit, Described, Join, Joined, JoinedMember, Leaving, Membership, Reply, Sync, Synced, TopicPartition,
    Why, WhyMember,
};
use super::subscription;
use super::timers::{Timer, What};
use crate::clock::Instant;
use crate::wire::error_code::ErrorCode;

/// How long the join of somebody who was no member yet may wait. It has no id to report with, and nobody notices when its
/// connection ends.
const NEW_MEMBER_JOIN_TIMEOUT_MS: i64 = 300_000;

#[derive(Debug)]
pub(super) enum State {
    Empty,
    Preparing {
        due: Instant,
        /// The group was empty: it waits for others to come, not for those it knows.
        initial: Option<Initial>,
    },
    Completing {
        sync_due: Instant,
    },
    Stable {
        /// `None`: it came from the log.
        sync_due: Option<Instant>,
    },
}

/// The first wait of a group, which goes on while new members come (KIP-134).
#[derive(Clone, Copy, Debug)]
pub(super) struct Initial {
    delay_ms: i64,
    left_ms: i64,
    new_member: bool,
}

impl State {
    /// Its name on the wire.
    pub fn name(&self) -> &'static str {
        match self {
            State::Empty => "Empty",
            State::Preparing { .. } => "PreparingRebalance",
            State::Completing { .. } => "CompletingRebalance",
            State::Stable { .. } => "Stable",
        }
    }
}

#[derive(Debug)]
pub(super) struct Group<T> {
    pub id: Arc<str>,
    /// Tells this group from others that had or will have its name.
    pub serial: u64,
    pub state: State,
    pub generation: i32,
    /// `None`: it has only ever kept offsets.
    pub protocol_type: Option<Arc<str>>,
    pub protocol: Option<Arc<str>>,
    pub leader: Option<Arc<str>>,
    pub members: HashMap<Arc<str>, Member<T>>,
    /// Static members by instance id.
    pub instances: HashMap<Arc<str>, Arc<str>>,
    /// Ids given out to members that have to come back with them, and until when.
    pub pending: HashMap<Arc<str>, Instant>,
    /// How many members know a protocol.
    supported: HashMap<Arc<str>, usize>,
    /// Members whose join waits.
    joining: usize,
    /// Members that have not asked for their assignment in this generation.
    owing_sync: usize,
    next_order: u64,
    /// ms since 1970; `None`: its record was too old to say.
    pub state_since_ms: Option<i64>,
    /// What its consumers read; `None`: it cannot be known.
    pub subscribed: Option<HashSet<Arc<str>>>,
    pub offsets: Offsets,
    /// Commits that are on their way to the log.
    pub commits_in_flight: u32,
}

impl<T: Copy> Group<T> {
    pub fn new(id: Arc<str>, serial: u64) -> Group<T> {
        Group {
            id,
            serial,
            state: State::Empty,
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            members: HashMap::new(),
            instances: HashMap::new(),
            pending: HashMap::new(),
            supported: HashMap::new(),
            joining: 0,
            owing_sync: 0,
            next_order: 0,
            state_since_ms: None,
            subscribed: None,
            offsets: Offsets::default(),
            commits_in_flight: 0,
        }
    }

    pub fn is_empty(&self) -> bool {
        matches!(self.state, State::Empty)
    }

    pub fn is_consumer_group(&self) -> bool {
        self.protocol_type.as_deref() == Some(subscription::CONSUMER)
    }

    /// True when nothing would be lost with it.
    pub fn holds_nothing(&self) -> bool {
        self.is_empty() && self.pending.is_empty() && self.holds_no_offsets()
    }

    pub fn holds_no_offsets(&self) -> bool {
        self.offsets.is_empty() && self.commits_in_flight == 0
    }

    // ---- joining

    pub fn join(&mut self, mut join: Join, to: T, out: &mut Out<'_, T>) {
        keep_first_of_each_name(&mut join.protocols);
        if !self.has_room(&join.member_id, out.settings.size_max) {
            let id = join.member_id.clone();
            self.remove(&id, out);
            let refused = Joined::refused("".into(), ErrorCode::GroupMaxSizeReached);
            out.reply(to, Reply::Join(refused));
        } else if join.member_id.is_empty() {
            self.join_new(join, to, out);
        } else {
            self.join_known(join, to, out);
        }
        self.try_to_begin(out);
    }

    /// Members are let in, those who have not come back yet only while there is room for them (KIP-389).
    fn has_room(&self, member_id: &str, size_max: usize) -> bool {
        match self.state {
            State::Empty => true,
            State::Preparing { .. } => {
                let waits = self.members.get(member_id).is_some_and(|member| member.joining.is_some());
                waits || self.joining < size_max
            }
            State::Completing { .. } | State::Stable { .. } => {
                self.members.contains_key(member_id) || self.members.len() < size_max
            }
        }
    }

    fn supports(&self, join: &Join) -> bool {
        if self.is_empty() {
            return !join.protocol_type.is_empty() && !join.protocols.is_empty();
        }
        let all = self.members.len();
        let by_all = |name: &str| self.supported.get(name).copied().unwrap_or(0) == all;
        self.protocol_type.as_ref() == Some(&join.protocol_type)
            && join.protocols.iter().any(|protocol| by_all(&protocol.name))
    }

    fn join_new(&mut self, join: Join, to: T, out: &mut Out<'_, T>) {
        if !self.supports(&join) {
            let refused = Joined::refused("".into(), ErrorCode::InconsistentGroupProtocol);
            return out.reply(to, Reply::Join(refused));
        }
        let named_after = join.instance_id.as_deref().unwrap_or(&join.client_id);
        let id: Arc<str> = format!("{named_after}-{}", out.fresh_uuid()).into();
        let known = join.instance_id.as_ref().and_then(|instance| self.instances.get(instance)).cloned();
        if let Some(old) = known {
            self.replace_instance(&old, id, join, to, out);
        } else if join.id_required && join.instance_id.is_none() {
            let until = out.moment.now.after_ms(join.session_timeout_ms.into());
            self.pending.insert(id.clone(), until);
            out.timers.set(until, &self.id, What::Member(id.clone()));
            out.reply(to, Reply::Join(Joined::refused(id, ErrorCode::MemberIdRequired)));
        } else {
            self.add(id, join, to, out);
        }
    }

    fn join_known(&mut self, join: Join, to: T, out: &mut Out<'_, T>) {
        let id = join.member_id.clone();
        if !self.supports(&join) {
            let refused = Joined::refused(id, ErrorCode::InconsistentGroupProtocol);
            return out.reply(to, Reply::Join(refused));
        }
        if join.instance_id.is_none() && self.pending.remove(&id).is_some() {
            return self.add(id, join, to, out);
        }
        if let Err(error) = self.check_member(&id, join.instance_id.as_ref()) {
            return out.reply(to, Reply::Join(Joined::refused(id, error)));
        }
        let unchanged = self.members[&id].protocols == join.protocols;
        let leads = self.leader.as_ref() == Some(&id);
        match self.state {
            State::Preparing { .. } => self.rejoin(&id, join, to, out),
            // It may not have got the answer to its first join.
            State::Completing { .. } if unchanged => {
                let current = self.current(&id, leads, out);
                out.reply(to, Reply::Join(current));
            }
            // The leader comes again when something has changed that only it can see, such as a topic's partitions.
            State::Stable { .. } if unchanged && !leads => {
                let current = self.current(&id, false, out);
                out.reply(to, Reply::Join(current));
            }
            State::Completing { .. } | State::Stable { .. } => self.rejoin(&id, join, to, out),
            State::Empty => {
                out.reply(to, Reply::Join(Joined::refused(id, ErrorCode::UnknownMemberId)));
            }
        }
    }

    /// Whether this is a member, and under this instance.
    pub fn check_member(&self, id: &str, instance_id: Option<&Arc<str>>) -> Result<(), ErrorCode> {
        if let Some(instance_id) = instance_id {
            return match self.instances.get(instance_id) {
                Some(current) if **current == *id => Ok(()),
                Some(_) => Err(ErrorCode::FencedInstanceId),
                None => Err(ErrorCode::UnknownMemberId),
            };
        }
        if self.members.contains_key(id) { Ok(()) } else { Err(ErrorCode::UnknownMemberId) }
    }

    fn check(&self, who: &Membership) -> Result<(), ErrorCode> {
        self.check_member(&who.member_id, who.instance_id.as_ref())?;
        if who.generation == self.generation { Ok(()) } else { Err(ErrorCode::IllegalGeneration) }
    }

    fn add(&mut self, id: Arc<str>, join: Join, to: T, out: &mut Out<'_, T>) {
        if let State::Preparing { initial: Some(initial), .. } = &mut self.state
            && self.generation == 0
        {
            initial.new_member = true;
        }
        self.insert(id.clone(), &join);
        let member = self.members.get_mut(&id).expect("just inserted");
        member.protocols = join.protocols;
        member.is_new = true;
        member.joining = Some(to);
        self.joining += 1;
        self.count_protocols(&id, true);
        self.touch(&id, NEW_MEMBER_JOIN_TIMEOUT_MS, out);
        self.rebalance_if_possible(out);
    }

    /// Puts a member in, without protocols: who calls adds and counts them.
    fn insert(&mut self, id: Arc<str>, join: &Join) {
        if self.members.is_empty() {
            self.protocol_type = Some(join.protocol_type.clone());
        }
        if let Some(instance_id) = &join.instance_id {
            self.instances.insert(instance_id.clone(), id.clone());
        }
        self.leader.get_or_insert_with(|| id.clone());
        let member = Member {
            id: id.clone(),
            instance_id: join.instance_id.clone(),
            client_id: join.client_id.clone(),
            client_host: join.client_host.clone(),
            session_timeout_ms: join.session_timeout_ms,
            rebalance_timeout_ms: join.rebalance_timeout_ms,
            protocols: Vec::new(),
            assignment: Arc::default(),
            order: self.next_order,
            is_new: false,
            joining: None,
            syncing: None,
            owes_sync: false,
            deadline: None,
            timer: None,
        };
        self.next_order += 1;
        self.members.insert(id, member);
    }

    fn count_protocols(&mut self, id: &str, more: bool) {
        for protocol in &self.members[id].protocols {
            let count = self.supported.entry(protocol.name.clone()).or_default();
            if more {
                *count += 1;
            } else {
                *count -= 1;
                if *count == 0 {
                    self.supported.remove(&protocol.name);
                }
            }
        }
    }

    /// A member joins again, perhaps with other protocols.
    fn rejoin(&mut self, id: &Arc<str>, join: Join, to: T, out: &mut Out<'_, T>) {
        self.update(id, join, to, out);
        self.rebalance_if_possible(out);
    }

    fn update(&mut self, id: &Arc<str>, join: Join, to: T, out: &mut Out<'_, T>) {
        self.count_protocols(id, false);
        let member = self.members.get_mut(id).expect("who calls has looked it up");
        member.protocols = join.protocols;
        member.session_timeout_ms = join.session_timeout_ms;
        member.rebalance_timeout_ms = join.rebalance_timeout_ms;
        match member.joining.replace(to) {
            None => self.joining += 1,
            // Whoever asked before has most likely given up; if not, it may ask again.
            Some(before) => {
                let refused = Joined::refused(id.clone(), ErrorCode::RebalanceInProgress);
                out.reply(before, Reply::Join(refused));
            }
        }
        self.count_protocols(id, true);
    }

    /// A static member has come back without its id: it takes the place of the one that had its instance (KIP-345).
    fn replace_instance(&mut self, old: &Arc<str>, id: Arc<str>, join: Join, to: T, out: &mut Out<'_, T>) {
        let led_before = self.leader.clone();
        let can_skip = join.can_skip_assignment;
        self.rename(old, &id, ErrorCode::FencedInstanceId, out);
        let member = &self.members[&id];
        let before = Before {
            id: old.clone(),
            protocols: member.protocols.clone(),
            session_timeout_ms: member.session_timeout_ms,
            rebalance_timeout_ms: member.rebalance_timeout_ms,
        };
        self.update(&id, join, to, out);
        self.touch_session(&id, out);
        match self.state {
            State::Stable { .. } if self.protocol.is_some() && self.protocol == self.select_protocol() => {
                let record = self.record(|member| member.assignment.clone());
                let waits = Appending::Instance {
                    group: self.id.clone(),
                    serial: self.serial,
                    member_id: id,
                    led_before,
                    can_skip,
                    before,
                };
                out.append(vec![record], false, waits);
            }
            State::Stable { .. } | State::Completing { .. } => self.rebalance_if_possible(out),
            State::Preparing { .. } | State::Empty => {}
        }
    }

    /// Gives a static member another id; whoever waits under the old one is refused with `error`.
    fn rename(&mut self, old: &Arc<str>, id: &Arc<str>, error: ErrorCode, out: &mut Out<'_, T>) {
        let Some(mut member) = self.members.remove(old) else { return };
        if let Some(to) = member.joining.take() {
            self.joining -= 1;
            out.reply(to, Reply::Join(Joined::refused(old.clone(), error)));
        }
        if let Some(to) = member.syncing.take() {
            out.reply(to, Reply::Sync(Synced::refused(error)));
        }
        member.id = id.clone();
        // The old id's timer finds nobody.
        (member.deadline, member.timer) = (None, None);
        if self.leader.as_ref() == Some(old) {
            self.leader = Some(id.clone());
        }
        if let Some(instance_id) = &member.instance_id {
            self.instances.insert(instance_id.clone(), id.clone());
        }
        self.members.insert(id.clone(), member);
    }

    /// The record with a static member's new id is in the log, or is not.
    pub fn on_instance_stored(
        &mut self,
        id: &Arc<str>,
        led_before: Option<Arc<str>>,
        can_skip: bool,
        before: Before,
        result: Result<(), ErrorCode>,
        out: &mut Out<'_, T>,
    ) {
        if !self.members.contains_key(id) {
            return;
        }
        let mut joined = self.current(id, false, out);
        let none = || Arc::from("");
        match result {
            Ok(()) if can_skip => {
                // The leader learns that it leads, and that there is nothing to share out: what it would make of it is not
                // asked for, because the group goes on as it was.
                let leads = self.leader.as_ref() == Some(id);
                joined = self.current(id, leads, out);
                joined.skip_assignment = leads;
                self.answer_join(id, joined, out);
            }
            Ok(()) => {
                // Before KIP-814 a leader could only be kept from sharing out by not telling it that it leads.
                joined.leader = led_before.unwrap_or_else(none);
                self.answer_join(id, joined, out);
            }
            Err(error) => {
                joined.error = error;
                joined.leader = led_before.unwrap_or_else(none);
                joined.member_id = none();
                self.answer_join(id, joined, out);
                self.count_protocols(id, false);
                let member = self.members.get_mut(id).expect("looked up above");
                member.protocols = before.protocols;
                member.session_timeout_ms = before.session_timeout_ms;
                member.rebalance_timeout_ms = before.rebalance_timeout_ms;
                self.count_protocols(id, true);
                self.rename(id, &before.id, ErrorCode::UnknownMemberId, out);
                self.touch_session(&before.id, out);
            }
        }
    }

    /// What a join is told while its generation is the group's.
    fn current(&self, id: &Arc<str>, leads: bool, _: &Out<'_, T>) -> Joined {
        Joined {
            error: ErrorCode::None,
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone().unwrap_or_else(|| "".into()),
            skip_assignment: false,
            member_id: id.clone(),
            members: if leads { self.for_leader() } else { Vec::new() },
        }
    }

    fn for_leader(&self) -> Vec<JoinedMember> {
        let protocol = self.protocol.as_deref().unwrap_or("");
        self.in_order().map(|member| member.for_leader(protocol)).collect()
    }

    /// Members in the order of their coming.
    fn in_order(&self) -> impl Iterator<Item = &Member<T>> {
        let mut members: Vec<&Member<T>> = self.members.values().collect();
        members.sort_unstable_by_key(|member| member.order);
        members.into_iter()
    }

    fn ids_in_order(&self) -> Vec<Arc<str>> {
        self.in_order().map(|member| member.id.clone()).collect()
    }

    fn answer_join(&mut self, id: &Arc<str>, joined: Joined, out: &mut Out<'_, T>) {
        let Some(member) = self.members.get_mut(id) else { return };
        let Some(to) = member.joining.take() else { return };
        self.joining -= 1;
        out.reply(to, Reply::Join(joined));
        // Its session may have ended while it waited.
        self.touch_session(id, out);
    }

    fn answer_sync(&mut self, id: &Arc<str>, error: ErrorCode, out: &mut Out<'_, T>) {
        let (protocol_type, protocol) = (self.protocol_type.clone(), self.protocol.clone());
        let Some(member) = self.members.get_mut(id) else { return };
        let Some(to) = member.syncing.take() else { return };
        let synced = match error {
            ErrorCode::None => {
                Synced { error, protocol_type, protocol, assignment: member.assignment.clone() }
            }
            _ => Synced::refused(error),
        };
        out.reply(to, Reply::Sync(synced));
        self.touch_session(id, out);
    }

    // ---- rebalancing

    fn rebalance_if_possible(&mut self, out: &mut Out<'_, T>) {
        match self.state {
            State::Empty | State::Completing { .. } | State::Stable { .. } => self.prepare(out),
            State::Preparing { .. } => {}
        }
    }

    fn rebalance_timeout_ms(&self) -> i64 {
        self.members.values().map(|member| i64::from(member.rebalance_timeout_ms)).max().unwrap_or(0).max(0)
    }

    /// Everybody has to join anew.
    pub fn prepare(&mut self, out: &mut Out<'_, T>) {
        if let State::Completing { .. } = self.state {
            self.take_assignments_back(ErrorCode::RebalanceInProgress, out);
        }
        self.owing_sync = 0;
        let timeout_ms = self.rebalance_timeout_ms();
        let initial = self.is_empty().then(|| {
            let delay_ms = out.settings.initial_rebalance_delay_ms;
            Initial { delay_ms, left_ms: (timeout_ms - delay_ms).max(0), new_member: false }
        });
        let wait_ms = initial.map_or(timeout_ms, |initial| initial.delay_ms);
        self.wait_for_joins(wait_ms, initial, out);
        self.try_to_begin(out);
    }

    fn wait_for_joins(&mut self, wait_ms: i64, initial: Option<Initial>, out: &mut Out<'_, T>) {
        let due = out.moment.now.after_ms(wait_ms);
        if !matches!(self.state, State::Preparing { .. }) {
            self.state_since_ms = Some(out.moment.wall.0);
        }
        self.state = State::Preparing { due, initial };
        out.timers.set(due, &self.id, What::Join);
    }

    fn take_assignments_back(&mut self, error: ErrorCode, out: &mut Out<'_, T>) {
        for id in self.ids_in_order() {
            if let Some(member) = self.members.get_mut(&id) {
                member.assignment = Arc::default();
            }
            self.answer_sync(&id, error, out);
        }
    }

    /// Begins the generation when everybody is there.
    fn try_to_begin(&mut self, out: &mut Out<'_, T>) {
        if let State::Preparing { initial: None, .. } = self.state
            && self.joining == self.members.len()
            && self.pending.is_empty()
        {
            self.begin(out);
        }
    }

    /// The time to join is over, or all have joined.
    fn begin(&mut self, out: &mut Out<'_, T>) {
        let late: Vec<Arc<str>> = self
            .in_order()
            .filter(|member| member.joining.is_none() && member.instance_id.is_none())
            .map(|member| member.id.clone())
            .collect();
        for id in late {
            tracing::debug!(group = %self.id, member = %id, "did not join again in time");
            self.remove(&id, out);
        }
        if !self.members.is_empty() && !self.elect_leader() {
            // Only static members are left, and none has come: their sessions decide.
            let timeout_ms = self.rebalance_timeout_ms();
            return self.wait_for_joins(timeout_ms, None, out);
        }
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        if self.members.is_empty() {
            self.protocol = None;
            self.become_empty(out);
            return;
        }
        self.protocol = self.select_protocol();
        self.subscribed = self.subscribed_topics();
        let sync_due = out.moment.now.after_ms(self.rebalance_timeout_ms());
        self.state = State::Completing { sync_due };
        self.state_since_ms = Some(out.moment.wall.0);
        out.timers.set(sync_due, &self.id, What::Sync);
        tracing::debug!(group = %self.id, generation = self.generation, members = self.members.len(), "a generation begins");
        for id in self.ids_in_order() {
            let leads = self.leader.as_ref() == Some(&id);
            let current = self.current(&id, leads, out);
            self.answer_join(&id, current, out);
            let member = self.members.get_mut(&id).expect("listed above");
            member.is_new = false;
            member.owes_sync = true;
            self.owing_sync += 1;
            self.touch_session(&id, out);
        }
    }

    fn become_empty(&mut self, out: &mut Out<'_, T>) {
        self.state = State::Empty;
        self.state_since_ms = Some(out.moment.wall.0);
        self.leader = None;
        self.subscribed = self.subscribed_topics();
        let record = self.record(|member| member.assignment.clone());
        // Should the record get lost, the last generation comes back with the next start, and its sessions end.
        out.append(vec![record], false, Appending::Nothing { group: self.id.clone() });
    }

    /// The leader stays if it has come back; else anybody who has. False when nobody has.
    fn elect_leader(&mut self) -> bool {
        let has_joined = |id: &Arc<str>| self.members.get(id).is_some_and(|member| member.joining.is_some());
        if self.leader.as_ref().is_some_and(has_joined) {
            return true;
        }
        let joined = self.members.values().filter(|member| member.joining.is_some());
        let first = joined.min_by_key(|member| member.order).map(|member| member.id.clone());
        if first.is_some() {
            self.leader = first;
            return true;
        }
        false
    }

    /// Each member votes for the first protocol it has of those that all have; the one with the most votes, and among
    /// equals the one that was voted for first.
    fn select_protocol(&self) -> Option<Arc<str>> {
        let all = self.members.len();
        let by_all = |name: &str| self.supported.get(name).copied() == Some(all);
        let mut votes: Vec<(Arc<str>, usize)> = Vec::new();
        for member in self.in_order() {
            let Some(own) = member.protocols.iter().find(|own| by_all(&own.name)) else { continue };
            match votes.iter_mut().find(|(name, _)| *name == own.name) {
                Some((_, count)) => *count += 1,
                None => votes.push((own.name.clone(), 1)),
            }
        }
        let most = votes.iter().map(|(_, count)| *count).max()?;
        votes.into_iter().find(|(_, count)| *count == most).map(|(name, _)| name)
    }

    /// `None` when a member's metadata is not what consumers send: then nobody can say what it reads.
    fn subscribed_topics(&self) -> Option<HashSet<Arc<str>>> {
        if !self.is_consumer_group() {
            return None;
        }
        let mut topics: HashSet<Arc<str>> = HashSet::new();
        if self.members.is_empty() {
            return Some(topics);
        }
        let protocol = self.protocol.as_deref()?;
        for member in self.members.values() {
            let own = member.protocols.iter().find(|own| &*own.name == protocol)?;
            let each = |topic: &str| {
                topics.get_or_insert_with(topic, |topic| Arc::from(topic));
            };
            subscription::topics(&own.metadata, each).ok()?;
        }
        Some(topics)
    }

    // ---- leaving and silence

    /// Takes a member out of all places; whoever waits under its id is told that there is none.
    fn remove(&mut self, id: &str, out: &mut Out<'_, T>) {
        self.pending.remove(id);
        if !self.members.contains_key(id) {
            return;
        }
        self.count_protocols(id, false);
        let mut member = self.members.remove(id).expect("just looked up");
        if let Some(to) = member.joining.take() {
            self.joining -= 1;
            out.reply(to, Reply::Join(Joined::refused("".into(), ErrorCode::UnknownMemberId)));
        }
        if let Some(to) = member.syncing.take() {
            out.reply(to, Reply::Sync(Synced::refused(ErrorCode::UnknownMemberId)));
        }
        if member.owes_sync {
            self.owing_sync = self.owing_sync.saturating_sub(1);
        }
        if let Some(instance_id) = &member.instance_id
            && self.instances.get(instance_id).is_some_and(|current| **current == *id)
        {
            self.instances.remove(instance_id);
        }
        if self.leader.as_deref() == Some(id) {
            self.leader =
                self.members.values().min_by_key(|member| member.order).map(|member| member.id.clone());
        }
    }

    fn remove_and_rebalance(&mut self, id: &str, out: &mut Out<'_, T>) {
        self.remove(id, out);
        match self.state {
            State::Empty => {}
            State::Completing { .. } | State::Stable { .. } => self.prepare(out),
            State::Preparing { .. } => self.try_to_begin(out),
        }
    }

    pub fn leave(&mut self, leaving: &Leaving, out: &mut Out<'_, T>) -> ErrorCode {
        let id = &leaving.member_id;
        if id.is_empty() {
            // An administrator names the instance alone.
            let known =
                leaving.instance_id.as_ref().and_then(|instance| self.instances.get(instance)).cloned();
            let Some(id) = known else { return ErrorCode::UnknownMemberId };
            self.remove_and_rebalance(&id, out);
            return ErrorCode::None;
        }
        if self.pending.remove(id).is_some() {
            self.try_to_begin(out);
            return ErrorCode::None;
        }
        match self.check_member(id, leaving.instance_id.as_ref()) {
            Ok(()) => {
                self.remove_and_rebalance(id, out);
                ErrorCode::None
            }
            Err(error) => error,
        }
    }

    /// Begins a member's session, or the time it may wait, anew.
    pub fn touch(&mut self, id: &Arc<str>, timeout_ms: i64, out: &mut Out<'_, T>) {
        let Some(member) = self.members.get_mut(id) else { return };
        let deadline = out.moment.now.after_ms(timeout_ms);
        member.deadline = Some(deadline);
        if member.timer.is_none_or(|at| at > deadline) {
            member.timer = Some(deadline);
            out.timers.set(deadline, &self.id, What::Member(id.clone()));
        }
    }

    fn touch_session(&mut self, id: &Arc<str>, out: &mut Out<'_, T>) {
        let Some(session_ms) = self.members.get(id).map(|member| member.session_timeout_ms) else { return };
        self.touch(id, session_ms.into(), out);
    }

    pub fn on_timer(&mut self, timer: &Timer, out: &mut Out<'_, T>) {
        match &timer.what {
            What::Member(id) => self.on_member_timer(id, timer.at, out),
            What::Join => match self.state {
                State::Preparing { due, initial } if due == timer.at => self.on_join_due(initial, out),
                State::Preparing { .. } | State::Empty | State::Completing { .. } | State::Stable { .. } => {}
            },
            What::Sync => match self.state {
                State::Completing { sync_due } if sync_due == timer.at => self.on_sync_due(out),
                State::Stable { sync_due } if sync_due == Some(timer.at) => self.on_sync_due(out),
                State::Completing { .. } | State::Stable { .. } | State::Empty | State::Preparing { .. } => {}
            },
        }
    }

    fn on_member_timer(&mut self, id: &Arc<str>, at: Instant, out: &mut Out<'_, T>) {
        let now = out.moment.now;
        if self.pending.get(id).is_some_and(|until| *until <= now) {
            self.pending.remove(id);
            return self.try_to_begin(out);
        }
        let Some(member) = self.members.get_mut(id) else { return };
        if member.timer != Some(at) {
            return;
        }
        member.timer = None;
        match member.deadline {
            None => {}
            Some(deadline) if deadline > now => {
                member.timer = Some(deadline);
                out.timers.set(deadline, &self.id, What::Member(id.clone()));
            }
            // It waits for us, so it cannot report; its answer begins its session anew.
            Some(_) if !member.is_new && member.waits() => member.deadline = None,
            Some(_) => {
                tracing::debug!(group = %self.id, member = %id, "was silent for too long");
                self.remove_and_rebalance(id, out);
            }
        }
    }

    fn on_join_due(&mut self, initial: Option<Initial>, out: &mut Out<'_, T>) {
        match initial {
            Some(Initial { delay_ms, left_ms, new_member: true }) if left_ms != 0 => {
                let next_ms = out.settings.initial_rebalance_delay_ms.min(left_ms);
                let left_ms = (left_ms - delay_ms).max(0);
                let initial = Initial { delay_ms: next_ms, left_ms, new_member: false };
                self.wait_for_joins(next_ms, Some(initial), out);
            }
            Some(_) | None => self.begin(out),
        }
    }

    /// Members that did not ask for their assignment are not there any more.
    fn on_sync_due(&mut self, out: &mut Out<'_, T>) {
        if self.owing_sync == 0 {
            return;
        }
        let gone: Vec<Arc<str>> =
            self.in_order().filter(|member| member.owes_sync).map(|member| member.id.clone()).collect();
        for id in gone {
            tracing::debug!(group = %self.id, member = %id, "did not ask for its assignment in time");
            self.remove(&id, out);
        }
        self.prepare(out);
    }

    // ---- assignments

    pub fn sync(&mut self, sync: Sync, to: T, out: &mut Out<'_, T>) {
        if let Err(error) = self.check_sync(&sync) {
            return out.reply(to, Reply::Sync(Synced::refused(error)));
        }
        let id = sync.who.member_id.clone();
        match self.state {
            State::Empty => {
                out.reply(to, Reply::Sync(Synced::refused(ErrorCode::UnknownMemberId)));
            }
            State::Preparing { .. } => {
                out.reply(to, Reply::Sync(Synced::refused(ErrorCode::RebalanceInProgress)));
            }
            State::Completing { .. } => {
                self.has_synced(&id);
                let member = self.members.get_mut(&id).expect("checked above");
                if let Some(before) = member.syncing.replace(to) {
                    let refused = Synced::refused(ErrorCode::RebalanceInProgress);
                    out.reply(before, Reply::Sync(refused));
                }
                if self.leader.as_ref() == Some(&id) {
                    self.store_assignments(sync.assignments, out);
                }
            }
            State::Stable { .. } => {
                self.has_synced(&id);
                let member = self.members.get_mut(&id).expect("checked above");
                let before = member.syncing.replace(to);
                debug_assert!(before.is_none(), "nobody waits for an assignment that is there");
                self.answer_sync(&id, ErrorCode::None, out);
            }
        }
    }

    fn check_sync(&self, sync: &Sync) -> Result<(), ErrorCode> {
        self.check(&sync.who)?;
        let differs = |named: &Option<Arc<str>>, own: &Option<Arc<str>>| named.is_some() && named != own;
        if differs(&sync.protocol_type, &self.protocol_type) || differs(&sync.protocol, &self.protocol) {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        Ok(())
    }

    fn has_synced(&mut self, id: &str) {
        if let Some(member) = self.members.get_mut(id)
            && std::mem::replace(&mut member.owes_sync, false)
        {
            self.owing_sync = self.owing_sync.saturating_sub(1);
        }
    }

    fn store_assignments(&mut self, assignments: Vec<(Arc<str>, Arc<[u8]>)>, out: &mut Out<'_, T>) {
        let assignments: HashMap<Arc<str>, Arc<[u8]>> =
            assignments.into_iter().filter(|(id, _)| self.members.contains_key(id)).collect();
        let record = self.record(|member| assignments.get(&member.id).cloned().unwrap_or_default());
        let waits = Appending::Assignment {
            group: self.id.clone(),
            serial: self.serial,
            generation: self.generation,
            assignments,
        };
        out.append(vec![record], false, waits);
    }

    /// The leader's assignment is in the log, or is not. Meanwhile the group may have moved on.
    pub fn on_assignment_stored(
        &mut self,
        generation: i32,
        mut assignments: HashMap<Arc<str>, Arc<[u8]>>,
        result: Result<(), ErrorCode>,
        out: &mut Out<'_, T>,
    ) {
        let State::Completing { sync_due } = self.state else { return };
        if generation != self.generation {
            return;
        }
        if let Err(error) = result {
            self.take_assignments_back(error, out);
            return self.prepare(out);
        }
        self.state = State::Stable { sync_due: Some(sync_due) };
        self.state_since_ms = Some(out.moment.wall.0);
        for id in self.ids_in_order() {
            let member = self.members.get_mut(&id).expect("listed just now");
            member.assignment = assignments.remove(&id).unwrap_or_default();
            self.answer_sync(&id, ErrorCode::None, out);
        }
    }

    /// The group's record, with what `assignment` says of each member.
    pub fn record(&self, assignment: impl Fn(&Member<T>) -> Arc<[u8]>) -> NewRecord {
        let protocol = self.protocol.as_deref().unwrap_or("");
        let members: Vec<_> =
            self.in_order().map(|member| (member, member.metadata(protocol), assignment(member))).collect();
        let members = members.iter().map(|(member, metadata, assignment)| MemberValue {
            member_id: &member.id,
            group_instance_id: member.instance_id.as_deref(),
            client_id: &member.client_id,
            client_host: &member.client_host,
            rebalance_timeout: member.rebalance_timeout_ms,
            session_timeout: member.session_timeout_ms,
            subscription: metadata,
            assignment,
        });
        let value = GroupValue {
            protocol_type: self.protocol_type.as_deref().unwrap_or(""),
            generation: self.generation,
            protocol: self.protocol.as_deref(),
            leader: self.leader.as_deref(),
            current_state_timestamp: self.state_since_ms.unwrap_or(-1),
            members: members.collect(),
        };
        record::group(&self.id, &value)
    }

    // ---- the rest

    pub fn heartbeat(&mut self, who: &Membership, out: &mut Out<'_, T>) -> ErrorCode {
        if let Err(error) = self.check(who) {
            return error;
        }
        match self.state {
            State::Empty => ErrorCode::UnknownMemberId,
            State::Completing { .. } | State::Stable { .. } => {
                self.touch_session(&who.member_id, out);
                ErrorCode::None
            }
            State::Preparing { .. } => {
                self.touch_session(&who.member_id, out);
                ErrorCode::RebalanceInProgress
            }
        }
    }

    /// Whether somebody may commit (contract 6.2).
    fn check_commit(&mut self, who: &Membership, out: &mut Out<'_, T>) -> Result<(), ErrorCode> {
        let anonymous = who.generation < 0 && who.member_id.is_empty() && who.instance_id.is_none();
        if self.is_empty() && who.generation < 0 {
            return Ok(());
        }
        if anonymous {
            return Err(ErrorCode::UnknownMemberId);
        }
        self.check(who)?;
        match self.state {
            State::Empty => Ok(()),
            State::Completing { .. } => Err(ErrorCode::RebalanceInProgress),
            State::Preparing { .. } | State::Stable { .. } => {
                self.touch_session(&who.member_id, out);
                Ok(())
            }
        }
    }

    pub fn commit(&mut self, commit: Commit, to: T, out: &mut Out<'_, T>) {
        let count = commit.parts.len();
        if let Err(error) = self.check_commit(&commit.who, out) {
            return out.reply(to, Reply::Commit(vec![error; count]));
        }
        let now_ms = out.moment.wall.0;
        let mut answer = vec![ErrorCode::None; count];
        let mut offsets: Vec<(TopicPartition, Committed)> = Vec::with_capacity(count);
        let mut records = Vec::with_capacity(count);
        for (part, answer) in commit.parts.into_iter().zip(&mut answer) {
            // Kafka counts characters as Java does.
            let metadata_length = part.metadata.as_ref().map_or(0, |text| text.encode_utf16().count());
            if metadata_length > out.settings.offset_metadata_max {
                *answer = ErrorCode::OffsetMetadataTooLarge;
                continue;
            }
            let committed = Committed {
                offset: part.offset,
                leader_epoch: part.leader_epoch,
                metadata: part.metadata.filter(|text| !text.is_empty()),
                committed_ms: part.timestamp.unwrap_or(now_ms),
                expires_ms: commit.retention_ms.map(|ms| now_ms.saturating_add(ms)),
                log_offset: -1,
            };
            records.push(record::offset(&self.id, &part.at, &committed));
            offsets.push((part.at, committed));
        }
        if records.is_empty() {
            return out.reply(to, Reply::Commit(answer));
        }
        self.commits_in_flight += 1;
        let waits = Appending::Commit { group: self.id.clone(), serial: self.serial, to, answer, offsets };
        out.append(records, true, waits);
    }

    pub fn describe(&self, moment: Moment) -> Described {
        let stable = matches!(self.state, State::Stable { .. });
        let protocol = self.protocol.as_deref().filter(|_| stable);
        Described {
            error: ErrorCode::None,
            state: self.state.name(),
            protocol_type: self.protocol_type.clone().unwrap_or_else(|| "".into()),
            protocol: protocol.unwrap_or("").into(),
            members: self.in_order().map(|member| member.described(protocol)).collect(),
            why: Some(self.why(moment)),
        }
    }

    /// What it waits for. A wait for members ends when the time to join is over, or when the last of them is believed dead.
    fn why(&self, moment: Moment) -> Why {
        let left_ms = |until: Instant| until.since(moment.now).as_millis() as i64;
        let leader_owes = || {
            let leader = self.leader.as_ref().and_then(|id| self.members.get(id));
            leader.is_some_and(|leader| leader.syncing.is_none())
        };
        let is_waited_for = |member: &Member<T>| match &self.state {
            State::Empty => false,
            State::Preparing { initial, .. } => initial.is_none() && member.joining.is_none(),
            State::Completing { .. } => self.leader.as_ref() == Some(&member.id) && member.syncing.is_none(),
            State::Stable { .. } => member.owes_sync,
        };
        let members: Vec<WhyMember> = self
            .in_order()
            .map(|member| WhyMember {
                is_waited_for: is_waited_for(member),
                session_timeout_ms: member.session_timeout_ms,
                rebalance_timeout_ms: member.rebalance_timeout_ms,
                heard_ms_ago: member
                    .deadline
                    .filter(|_| !member.waits())
                    .map(|deadline| (i64::from(member.session_timeout_ms) - left_ms(deadline)).max(0)),
            })
            .collect();
        let sessions = self.in_order().filter(|member| is_waited_for(member)).map(|member| member.deadline);
        let dead_ms =
            sessions.collect::<Option<Vec<Instant>>>().and_then(|all| all.into_iter().max()).map(left_ms);
        let earlier = |due: Instant| match dead_ms {
            Some(dead_ms) if dead_ms < left_ms(due) => (dead_ms, "session.timeout.ms"),
            Some(_) | None => (left_ms(due), "max.poll.interval.ms"),
        };
        let (reason, ends) = match &self.state {
            State::Empty if self.pending.is_empty() => ("nothing: it has no members", None),
            State::Empty => ("members that were given an id and have not joined with it", None),
            State::Preparing { due, initial: Some(_) } => {
                let ends = (left_ms(*due), "group.initial.rebalance.delay.ms");
                ("members that may still come: it was empty", Some(ends))
            }
            State::Preparing { due, initial: None } => ("members to join again", Some(earlier(*due))),
            State::Completing { sync_due } if leader_owes() => {
                ("the assignment that its leader makes", Some(earlier(*sync_due)))
            }
            State::Completing { .. } => ("its assignment to be written to __consumer_offsets", None),
            State::Stable { sync_due: Some(due) } if self.owing_sync > 0 => {
                ("members to fetch their assignment", Some(earlier(*due)))
            }
            State::Stable { .. } => ("nothing: it is stable", None),
        };
        let for_ms = self.state_since_ms.map(|since| (moment.wall.0 - since).max(0));
        Why { reason, for_ms, ends, pending: self.pending.len(), members }
    }

    /// True when a consumer of the group reads the topic, or nobody can say.
    pub fn reads(&self, topic: &str) -> bool {
        self.subscribed.as_ref().is_none_or(|topics| topics.contains(topic))
    }

    /// Partitions whose offset has had its time (contract 6.2).
    pub fn expired_offsets(&self, now_ms: i64, retention_ms: i64) -> Vec<TopicPartition> {
        let by_commit = |committed: &Committed| committed.committed_ms;
        match (&self.protocol_type, &self.state) {
            (None, _) => self.offsets.expired(now_ms, retention_ms, by_commit, |_| false),
            (Some(_), State::Empty) => {
                let since = self.state_since_ms;
                let since = |committed: &Committed| since.unwrap_or(committed.committed_ms);
                self.offsets.expired(now_ms, retention_ms, since, |_| false)
            }
            (Some(_), State::Stable { .. }) if self.is_consumer_group() && self.subscribed.is_some() => {
                self.offsets.expired(now_ms, retention_ms, by_commit, |topic| self.reads(topic))
            }
            (Some(_), State::Stable { .. } | State::Preparing { .. } | State::Completing { .. }) => {
                Vec::new()
            }
        }
    }

    // ---- from the log

    /// Brings a group back as its record says it was: its members have their sessions from now on.
    pub fn restore(&mut self, value: &GroupValue<'_>) {
        let text = |text: &str| -> Arc<str> { text.into() };
        self.generation = value.generation;
        self.protocol_type = Some(value.protocol_type).filter(|name| !name.is_empty()).map(text);
        self.protocol = value.protocol.map(text);
        self.state_since_ms = Some(value.current_state_timestamp).filter(|ms| *ms != -1);
        for member in &value.members {
            let join = Join {
                member_id: "".into(),
                instance_id: member.group_instance_id.map(text),
                client_id: member.client_id.into(),
                client_host: member.client_host.into(),
                session_timeout_ms: member.session_timeout,
                // Version 0 has one timeout for both.
                rebalance_timeout_ms: if member.rebalance_timeout < 0 {
                    member.session_timeout
                } else {
                    member.rebalance_timeout
                },
                protocol_type: value.protocol_type.into(),
                protocols: Vec::new(),
                id_required: false,
                can_skip_assignment: false,
            };
            let id = text(member.member_id);
            if self.members.contains_key(&id) {
                continue;
            }
            self.insert(id.clone(), &join);
            let restored = self.members.get_mut(&id).expect("just inserted");
            restored.assignment = member.assignment.into();
            if let Some(name) = &self.protocol {
                let metadata = member.subscription.into();
                restored.protocols = vec![super::request::Protocol { name: name.clone(), metadata }];
            }
            self.count_protocols(&id, true);
        }
        if let Some(leader) = value.leader.and_then(|leader| self.members.get(leader)) {
            self.leader = Some(leader.id.clone());
        }
        self.subscribed = self.subscribed_topics();
        if !self.members.is_empty() {
            self.state = State::Stable { sync_due: None };
        }
    }

    /// Whoever waits for this group has to look for it elsewhere.
    pub fn unload(&mut self, actions: &mut Vec<Action<T>>) {
        for member in self.members.values_mut() {
            if let Some(to) = member.joining.take() {
                let refused = Joined::refused(member.id.clone(), ErrorCode::NotCoordinator);
                actions.push(Action::Reply { to, reply: Reply::Join(refused) });
            }
            if let Some(to) = member.syncing.take() {
                let refused = Synced::refused(ErrorCode::NotCoordinator);
                actions.push(Action::Reply { to, reply: Reply::Sync(refused) });
            }
        }
        self.joining = 0;
    }

    /// Sessions of a group that came from the log begin.
    pub fn on_loaded(&mut self, out: &mut Out<'_, T>) {
        for id in self.ids_in_order() {
            self.touch_session(&id, out);
        }
        if self.members.len() > out.settings.size_max {
            self.prepare(out);
        }
    }

    /// What must hold between any two requests.
    #[cfg(test)]
    pub fn assert_sound(&self) {
        assert_eq!(self.joining, self.members.values().filter(|member| member.joining.is_some()).count());
        assert_eq!(self.members.is_empty(), self.leader.is_none(), "{self:?}", self = self.state.name());
        assert!(self.leader.as_ref().is_none_or(|leader| self.members.contains_key(leader)));
        let statics = self.members.values().filter(|member| member.instance_id.is_some()).count();
        assert_eq!(statics, self.instances.len());
        for (instance_id, id) in &self.instances {
            assert_eq!(self.members[id].instance_id.as_ref(), Some(instance_id));
        }
        let mut supported: HashMap<Arc<str>, usize> = HashMap::new();
        for member in self.members.values() {
            for protocol in &member.protocols {
                *supported.entry(protocol.name.clone()).or_default() += 1;
            }
            assert!(member.deadline.is_some() || member.waits(), "{} has no end", member.id);
            assert!(member.deadline.is_none() || member.timer.is_some(), "nobody looks after {}", member.id);
        }
        assert_eq!(supported, self.supported);
        match self.state {
            State::Empty => assert!(self.members.is_empty()),
            State::Completing { .. } | State::Stable { .. } => {
                assert!(!self.members.is_empty() && self.protocol.is_some());
                let owing = self.members.values().filter(|member| member.owes_sync).count();
                assert_eq!(owing, self.owing_sync);
            }
            State::Preparing { .. } => {
                assert!(self.members.values().all(|member| member.syncing.is_none()));
            }
        }
        if let State::Stable { .. } = self.state {
            assert!(self.members.values().all(|member| member.syncing.is_none()));
        }
    }
}

/// What a static member was before another took its place.
#[derive(Debug)]
pub(super) struct Before {
    id: Arc<str>,
    protocols: Vec<super::request::Protocol>,
    session_timeout_ms: i32,
    rebalance_timeout_ms: i32,
}

/// A name that is there twice would count twice.
fn keep_first_of_each_name(protocols: &mut Vec<super::request::Protocol>) {
    let mut seen: HashSet<Arc<str>> = HashSet::with_capacity(protocols.len());
    protocols.retain(|protocol| seen.insert(protocol.name.clone()));
}
