//! Groups as pure rules: what members are told in which order, and what holds whatever happens in whatever order.
//!
//! `World` plays the loop that drives a coordinator: it keeps the records in the order of their appends, ends appends when it
//! is told to, and can be killed, which leaves a new coordinator with the records.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::clock::{Instant, WallMs};
use crate::wire::batch;
use crate::wire::batch_builder::BatchBuilder;
use crate::wire::compression::Codec;
use crate::wire::error_code::ErrorCode;
use proptest::prelude::*;

const SECOND: u64 = 1_000_000_000;

fn settings() -> Settings {
    Settings {
        session_timeout_ms: 6_000..=1_800_000,
        initial_rebalance_delay_ms: 3_000,
        size_max: usize::MAX,
        offset_metadata_max: 4096,
        offsets_retention_ms: 7 * 24 * 3_600_000,
        offsets_retention_check_interval_ms: 600_000,
    }
}

struct World {
    settings: Arc<Settings>,
    coordinator: Coordinator<u32>,
    now: Instant,
    /// Batches, as they stand in the log.
    log: Vec<Vec<u8>>,
    next_offset: i64,
    /// Appends that have not ended.
    open: Vec<(u32, i64)>,
    /// End appends at once, as a broker does that need not wait for anybody.
    quick: bool,
    refuse_appends: Option<ErrorCode>,
    replies: BTreeMap<u32, Reply>,
    next_ticket: u32,
    random: u64,
}

impl World {
    fn with(settings: Settings) -> World {
        let settings = Arc::new(settings);
        let mut world = World {
            coordinator: Coordinator::new(settings.clone(), Instant(0)),
            settings,
            now: Instant(1_000 * SECOND),
            log: Vec::new(),
            next_offset: 0,
            open: Vec::new(),
            quick: true,
            refuse_appends: None,
            replies: BTreeMap::new(),
            next_ticket: 0,
            random: 1,
        };
        world.restart();
        world
    }

    fn new() -> World {
        World::with(Settings { initial_rebalance_delay_ms: 0, ..settings() })
    }

    fn moment(&self) -> Moment {
        Moment { now: self.now, wall: WallMs((self.now.0 / 1_000_000) as i64) }
    }

    fn call(
        &mut self,
        f: impl FnOnce(&mut Coordinator<u32>, Moment, &mut dyn FnMut() -> u64, &mut Vec<Action<u32>>),
    ) {
        let moment = self.moment();
        let mut actions = Vec::new();
        let mut random = self.random;
        f(
            &mut self.coordinator,
            moment,
            &mut || {
                random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                random
            },
            &mut actions,
        );
        self.random = random;
        for action in actions {
            match action {
                Action::Reply { to, reply } => {
                    let twice = self.replies.insert(to, reply);
                    assert!(twice.is_none(), "ticket {to} was answered twice");
                }
                Action::Append(append) => self.append(append),
            }
        }
        if self.quick {
            self.end_appends();
        }
        self.coordinator.groups().values().for_each(state::Group::assert_sound);
    }

    fn append(&mut self, append: Append) {
        assert!(!append.records.is_empty());
        if self.refuse_appends.is_none() {
            let mut builder = BatchBuilder::new(Codec::None);
            for record in &append.records {
                builder.append(self.moment().wall.0, Some(&record.key), record.value.as_deref(), &[]);
            }
            let mut bytes = builder.build();
            batch::stamp(&mut bytes, self.next_offset, 0);
            self.log.push(bytes);
        }
        self.open.push((append.id, self.next_offset));
        self.next_offset += append.records.len() as i64;
    }

    fn end_appends(&mut self) {
        while !self.open.is_empty() {
            let (id, offset) = self.open.remove(0);
            let result = self.refuse_appends.map_or(Ok(offset), Err);
            self.call(|c, moment, random, actions| c.on_appended(id, result, moment, random, actions));
        }
    }

    /// A new coordinator on the same records.
    fn restart(&mut self) {
        self.open.clear();
        self.coordinator = Coordinator::new(self.settings.clone(), self.now);
        let log = self.log.concat();
        let end = self.coordinator.load(&log, 0).unwrap();
        assert_eq!(end, self.next_offset);
        self.call(|c, moment, random, actions| c.loaded(moment, random, actions));
    }

    fn ask(&mut self, group: &str, request: Request) -> u32 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let group: Arc<str> = group.into();
        self.call(|c, moment, random, actions| c.handle(&group, request, ticket, moment, random, actions));
        ticket
    }

    fn advance_ms(&mut self, ms: u64) {
        let until = Instant(self.now.0 + ms * 1_000_000);
        while self.coordinator.next_deadline() <= until {
            self.now = self.coordinator.next_deadline().max(self.now);
            self.call(|c, moment, random, actions| c.on_time(moment, random, actions));
        }
        self.now = until;
    }

    fn take(&mut self, ticket: u32) -> Reply {
        self.replies.remove(&ticket).unwrap_or_else(|| panic!("ticket {ticket} has no answer"))
    }

    fn joined(&mut self, ticket: u32) -> Joined {
        match self.take(ticket) {
            Reply::Join(joined) => joined,
            other => panic!("{other:?}"),
        }
    }

    fn synced(&mut self, ticket: u32) -> Synced {
        match self.take(ticket) {
            Reply::Sync(synced) => synced,
            other => panic!("{other:?}"),
        }
    }

    fn heartbeat(&mut self, group: &str, generation: i32, member_id: &Arc<str>) -> ErrorCode {
        let ticket = self.ask(group, Request::Heartbeat(who(generation, member_id, None)));
        match self.take(ticket) {
            Reply::Heartbeat(error) => error,
            other => panic!("{other:?}"),
        }
    }

    fn commit(&mut self, group: &str, who: Membership, offset: i64) -> u32 {
        let part = CommitPart { at: at("t", 0), offset, leader_epoch: -1, metadata: None, timestamp: None };
        self.ask(group, Request::Commit(Commit { who, retention_ms: None, parts: vec![part] }))
    }

    fn committed(&mut self, group: &str, who: Membership, offset: i64) -> ErrorCode {
        let ticket = self.commit(group, who, offset);
        match self.take(ticket) {
            Reply::Commit(codes) => codes[0],
            other => panic!("{other:?}"),
        }
    }

    fn fetched(&mut self, group: &str) -> i64 {
        let wanted = Some(vec![at("t", 0)]);
        let ticket = self.ask(group, Request::FetchOffsets { wanted, stable: false });
        match self.take(ticket) {
            Reply::Offsets(fetched) => fetched.offsets[0].offset,
            other => panic!("{other:?}"),
        }
    }

    fn described(&mut self, group: &str) -> Described {
        let ticket = self.ask(group, Request::Describe);
        match self.take(ticket) {
            Reply::Describe(described) => described,
            other => panic!("{other:?}"),
        }
    }

    fn left(&mut self, group: &str, member_id: &str, instance_id: Option<&str>) -> ErrorCode {
        let leaving = Leaving { member_id: member_id.into(), instance_id: instance_id.map(Into::into) };
        let ticket = self.ask(group, Request::Leave(vec![leaving]));
        match self.take(ticket) {
            Reply::Leave(left) => left.members[0],
            other => panic!("{other:?}"),
        }
    }

    fn deleted(&mut self, group: &str) -> ErrorCode {
        let ticket = self.ask(group, Request::Delete);
        match self.take(ticket) {
            Reply::Delete(error) => error,
            other => panic!("{other:?}"),
        }
    }

    /// A dynamic member that has its id and waits for its generation.
    fn join(&mut self, group: &str) -> (u32, Arc<str>) {
        let ticket = self.ask(group, Request::Join(member()));
        let joined = self.joined(ticket);
        assert_eq!(joined.error, ErrorCode::MemberIdRequired);
        let id = joined.member_id;
        (self.ask(group, Request::Join(Join { member_id: id.clone(), ..member() })), id)
    }

    fn sync(
        &mut self,
        group: &str,
        generation: i32,
        id: &Arc<str>,
        assignments: &[(&Arc<str>, &[u8])],
    ) -> u32 {
        let assignments = assignments.iter().map(|(id, bytes)| ((*id).clone(), Arc::from(*bytes)));
        let sync = Sync {
            who: who(generation, id, None),
            protocol_type: None,
            protocol: None,
            assignments: assignments.collect(),
        };
        self.ask(group, Request::Sync(sync))
    }

    /// A stable group of one.
    fn stable(&mut self, group: &str) -> (Arc<str>, i32) {
        let (ticket, id) = self.join(group);
        let delay = self.settings.initial_rebalance_delay_ms as u64;
        self.advance_ms(delay);
        let joined = self.joined(ticket);
        assert_eq!((joined.error, &joined.leader), (ErrorCode::None, &id));
        let ticket = self.sync(group, joined.generation, &id, &[(&id, b"all")]);
        assert_eq!(&*self.synced(ticket).assignment, b"all");
        (id, joined.generation)
    }
}

fn at(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition { topic: topic.into(), partition }
}

fn who(generation: i32, member_id: &str, instance_id: Option<&str>) -> Membership {
    Membership { member_id: member_id.into(), instance_id: instance_id.map(Into::into), generation }
}

fn nobody() -> Membership {
    who(-1, "", None)
}

/// Metadata of a consumer that reads one topic.
fn subscription(topic: &str) -> Arc<[u8]> {
    let mut bytes = vec![0, 0, 0, 0, 0, 1, 0, topic.len() as u8];
    bytes.extend_from_slice(topic.as_bytes());
    bytes.into()
}

fn protocol(name: &str) -> Protocol {
    Protocol { name: name.into(), metadata: subscription("t") }
}

fn member() -> Join {
    Join {
        member_id: "".into(),
        instance_id: None,
        client_id: "client".into(),
        client_host: "/127.0.0.1".into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 60_000,
        protocol_type: "consumer".into(),
        protocols: vec![protocol("range")],
        id_required: true,
        can_skip_assignment: true,
    }
}

fn static_member(instance: &str) -> Join {
    Join { instance_id: Some(instance.into()), ..member() }
}

#[test]
fn the_partition_of_a_group_is_the_one_java_computes() {
    assert_eq!(partition_of("", 50), 0);
    assert_eq!(partition_of("a", 50), 97 % 50);
    // Negative hash codes count by their size: "console-consumer-16754" has -1297126146.
    assert_eq!(partition_of("hello world", 50), 1_794_106_052 % 50);
    assert_eq!(partition_of("äö", 50), (228 * 31 + 246) % 50);
    // A string whose hash code is the smallest integer.
    assert_eq!(partition_of("polygenelubricants", 50), 0);
}

#[test]
fn a_first_member_gets_an_id_and_comes_back_with_it() {
    let mut world = World::new();
    let ticket = world.ask("g", Request::Join(member()));
    let joined = world.joined(ticket);
    assert_eq!((joined.error, joined.generation), (ErrorCode::MemberIdRequired, -1));
    assert!(joined.member_id.starts_with("client-") && joined.member_id.len() == "client-".len() + 36);
    let ticket = world.ask("g", Request::Join(Join { member_id: joined.member_id.clone(), ..member() }));
    world.advance_ms(0);
    let joined = world.joined(ticket);
    assert_eq!((joined.error, joined.generation, joined.members.len()), (ErrorCode::None, 1, 1));
    assert_eq!((joined.protocol.as_deref(), &joined.leader), (Some("range"), &joined.member_id));
}

#[test]
fn an_old_client_is_a_member_at_once() {
    let mut world = World::new();
    let ticket = world.ask("g", Request::Join(Join { id_required: false, ..member() }));
    world.advance_ms(0);
    assert_eq!(world.joined(ticket).error, ErrorCode::None);
}

#[test]
fn a_first_generation_waits_for_more_members_as_long_as_they_keep_coming() {
    let mut world = World::with(settings());
    let (first, _) = world.join("g");
    world.advance_ms(2_900);
    let (second, _) = world.join("g");
    world.advance_ms(2_900);
    assert!(world.replies.is_empty(), "the second member has bought another three seconds");
    world.advance_ms(200);
    assert_eq!((world.joined(first).generation, world.joined(second).generation), (1, 1));
}

#[test]
fn a_first_generation_waits_no_longer_than_a_members_patience() {
    let mut world = World::with(settings());
    let patience = |id: Arc<str>| Join { member_id: id, rebalance_timeout_ms: 7_000, ..member() };
    let mut tickets = Vec::new();
    for _ in 0..5 {
        let ticket = world.ask("g", Request::Join(patience("".into())));
        let id = world.joined(ticket).member_id;
        tickets.push(world.ask("g", Request::Join(patience(id))));
        if !world.replies.is_empty() {
            break;
        }
        world.advance_ms(2_000);
    }
    world.advance_ms(2_000);
    let first = world.joined(tickets[0]);
    assert_eq!(first.error, ErrorCode::None);
}

#[test]
fn a_second_member_makes_the_first_join_again_and_all_get_the_leaders_assignment() {
    let mut world = World::new();
    let (first, generation) = world.stable("g");
    assert_eq!(world.heartbeat("g", generation, &first), ErrorCode::None);
    let (waiting, second) = world.join("g");
    assert_eq!(world.heartbeat("g", generation, &first), ErrorCode::RebalanceInProgress);
    let ticket = world.ask("g", Request::Join(Join { member_id: first.clone(), ..member() }));
    let leader = world.joined(ticket);
    let follower = world.joined(waiting);
    assert_eq!((leader.generation, follower.generation), (2, 2));
    assert_eq!((leader.members.len(), follower.members.len()), (2, 0));
    assert_eq!((&leader.leader, &follower.leader), (&first, &first));
    let waiting = world.sync("g", 2, &second, &[]);
    assert!(!world.replies.contains_key(&waiting));
    let ticket = world.sync("g", 2, &first, &[(&first, b"one"), (&second, b"two")]);
    assert_eq!(&*world.synced(ticket).assignment, b"one");
    assert_eq!(&*world.synced(waiting).assignment, b"two");
    assert_eq!(world.described("g").state, "Stable");
}

#[test]
fn a_member_that_is_silent_is_dropped_when_its_session_ends_and_not_before() {
    let mut world = World::new();
    let (id, generation) = world.stable("g");
    for _ in 0..5 {
        world.advance_ms(9_000);
        assert_eq!(world.heartbeat("g", generation, &id), ErrorCode::None);
    }
    world.advance_ms(9_999);
    assert_eq!(world.described("g").state, "Stable");
    world.advance_ms(1);
    assert_eq!(world.described("g").state, "Empty");
    assert_eq!(world.heartbeat("g", generation, &id), ErrorCode::UnknownMemberId);
}

#[test]
fn who_does_not_join_again_within_the_rebalance_timeout_is_left_behind() {
    let mut world = World::new();
    let (first, generation) = world.stable("g");
    let (waiting, second) = world.join("g");
    for _ in 0..6 {
        world.advance_ms(9_000);
        assert_eq!(world.heartbeat("g", generation, &first), ErrorCode::RebalanceInProgress);
    }
    world.advance_ms(6_000);
    let joined = world.joined(waiting);
    assert_eq!((joined.generation, &joined.leader, joined.members.len()), (2, &second, 1));
    assert_eq!(world.heartbeat("g", generation, &first), ErrorCode::UnknownMemberId);
}

#[test]
fn who_does_not_ask_for_its_assignment_is_dropped() {
    let mut world = World::new();
    let (first, _) = world.stable("g");
    let (waiting, second) = world.join("g");
    let ticket = world.ask("g", Request::Join(Join { member_id: first.clone(), ..member() }));
    assert_eq!((world.joined(ticket).generation, world.joined(waiting).generation), (2, 2));
    let ticket = world.sync("g", 2, &first, &[(&first, b"1"), (&second, b"2")]);
    assert_eq!(world.synced(ticket).error, ErrorCode::None);
    for _ in 0..10 {
        world.advance_ms(5_999);
        world.heartbeat("g", 2, &first);
        world.heartbeat("g", 2, &second);
    }
    world.advance_ms(100);
    assert_eq!(world.heartbeat("g", 2, &second), ErrorCode::UnknownMemberId);
    assert_eq!(world.heartbeat("g", 2, &first), ErrorCode::RebalanceInProgress);
}

#[test]
fn an_id_that_nobody_comes_back_with_holds_nobody_up_for_longer_than_its_session() {
    let mut world = World::new();
    let (first, generation) = world.stable("g");
    let ticket = world.ask("g", Request::Join(member()));
    let pending = world.joined(ticket).member_id;
    // The pending id alone does not disturb.
    assert_eq!(world.heartbeat("g", generation, &first), ErrorCode::None);
    let ticket = world.ask("g", Request::Join(Join { member_id: first.clone(), ..member() }));
    world.advance_ms(9_000);
    assert!(!world.replies.contains_key(&ticket), "the rebalance waits for the pending id");
    world.advance_ms(1_000);
    assert_eq!(world.joined(ticket).generation, 2);
    let ticket = world.ask("g", Request::Join(Join { member_id: pending, ..member() }));
    assert_eq!(world.joined(ticket).error, ErrorCode::UnknownMemberId);
}

#[test]
fn a_static_member_that_restarts_takes_its_place_back_without_a_rebalance() {
    let mut world = World::new();
    let ticket = world.ask("g", Request::Join(static_member("i")));
    world.advance_ms(0);
    let joined = world.joined(ticket);
    let old = joined.member_id.clone();
    assert!(old.starts_with("i-"));
    let ticket = world.sync("g", 1, &old, &[(&old, b"mine")]);
    assert_eq!(world.synced(ticket).error, ErrorCode::None);

    let ticket = world.ask("g", Request::Join(static_member("i")));
    let joined = world.joined(ticket);
    let new = joined.member_id.clone();
    assert_eq!((joined.error, joined.generation, joined.skip_assignment), (ErrorCode::None, 1, true));
    assert_eq!((&joined.leader, joined.members.len()), (&new, 1));
    assert_ne!(new, old);
    let fenced = world.ask("g", Request::Heartbeat(who(1, &old, Some("i"))));
    assert_eq!(world.take(fenced), Reply::Heartbeat(ErrorCode::FencedInstanceId));
    let ticket = world.sync("g", 1, &new, &[]);
    assert_eq!(&*world.synced(ticket).assignment, b"mine");

    // A client from before KIP-814 is told of the leader that is no more, so that it does not share out.
    let ticket = world.ask("g", Request::Join(Join { can_skip_assignment: false, ..static_member("i") }));
    let joined = world.joined(ticket);
    assert_eq!((&joined.leader, joined.skip_assignment, joined.members.len()), (&new, false, 0));
    assert_eq!(world.described("g").state, "Stable");
}

#[test]
fn a_static_member_whose_new_id_cannot_be_written_keeps_the_old_one() {
    let mut world = World::new();
    let ticket = world.ask("g", Request::Join(static_member("i")));
    world.advance_ms(0);
    let old = world.joined(ticket).member_id;
    let ticket = world.sync("g", 1, &old, &[(&old, b"mine")]);
    world.synced(ticket);
    world.refuse_appends = Some(ErrorCode::KafkaStorageError);
    let ticket = world.ask("g", Request::Join(static_member("i")));
    let joined = world.joined(ticket);
    assert_eq!((joined.error, &*joined.member_id), (ErrorCode::NotCoordinator, ""));
    assert_eq!(world.heartbeat("g", 1, &old), ErrorCode::None);
}

#[test]
fn a_session_that_ends_while_the_new_id_is_written_begins_again_with_the_answer() {
    let mut world = World::new();
    let ticket = world.ask("g", Request::Join(static_member("i")));
    world.advance_ms(0);
    let old = world.joined(ticket).member_id;
    let ticket = world.sync("g", 1, &old, &[(&old, b"mine")]);
    world.take(ticket);
    world.quick = false;
    let ticket = world.ask("g", Request::Join(static_member("i")));
    world.advance_ms(10_000);
    assert!(!world.replies.contains_key(&ticket));
    world.end_appends();
    assert_eq!(world.joined(ticket).error, ErrorCode::None);
    world.advance_ms(9_999);
    assert_eq!(world.described("g").state, "Stable");
    world.quick = true;
    world.advance_ms(1);
    assert_eq!(world.described("g").state, "Empty");
}

#[test]
fn an_administrator_removes_a_static_member_by_its_instance() {
    let mut world = World::new();
    let ticket = world.ask("g", Request::Join(static_member("i")));
    world.advance_ms(0);
    let id = world.joined(ticket).member_id;
    assert_eq!(world.left("g", "", Some("other")), ErrorCode::UnknownMemberId);
    assert_eq!(world.left("g", "wrong", Some("i")), ErrorCode::FencedInstanceId);
    assert_eq!(world.left("g", "", Some("i")), ErrorCode::None);
    assert_eq!(world.left("g", &id, None), ErrorCode::UnknownMemberId);
    assert_eq!(world.described("g").state, "Empty");
}

#[test]
fn protocols_have_to_be_shared_by_all_and_the_most_liked_wins() {
    let mut world = World::new();
    let with = |names: &[&str]| Join {
        id_required: false,
        protocols: names.iter().map(|name| protocol(name)).collect(),
        ..member()
    };
    let a = world.ask("g", Request::Join(with(&["x", "y", "z"])));
    let b = world.ask("g", Request::Join(with(&["y", "x"])));
    let c = world.ask("g", Request::Join(with(&["y", "x", "x"])));
    let none_shared = world.ask("g", Request::Join(with(&["z"])));
    let other_type = world.ask("g", Request::Join(Join { protocol_type: "connect".into(), ..with(&["y"]) }));
    world.advance_ms(0);
    for refused in [none_shared, other_type] {
        assert_eq!(world.joined(refused).error, ErrorCode::InconsistentGroupProtocol);
    }
    for ticket in [a, b, c] {
        let joined = world.joined(ticket);
        assert_eq!((joined.error, joined.protocol.as_deref()), (ErrorCode::None, Some("y")));
    }
    let nothing = world.ask("h", Request::Join(with(&[])));
    assert_eq!(world.joined(nothing).error, ErrorCode::InconsistentGroupProtocol);
    assert_eq!(world.described("h").state, "Dead", "a refused join leaves no group behind");
}

#[test]
fn a_full_group_lets_nobody_in_and_its_members_back() {
    let mut world = World::with(Settings { size_max: 1, initial_rebalance_delay_ms: 0, ..settings() });
    let (id, _) = world.stable("g");
    let ticket = world.ask("g", Request::Join(member()));
    assert_eq!(world.joined(ticket).error, ErrorCode::GroupMaxSizeReached);
    let ticket = world.ask("g", Request::Join(Join { member_id: id, ..member() }));
    assert_eq!(world.joined(ticket).error, ErrorCode::None);
}

#[test]
fn requests_are_refused_in_kafkas_words() {
    let mut world = World::new();
    let ticket = world.ask("g", Request::Join(Join { session_timeout_ms: 5_999, ..member() }));
    assert_eq!(world.joined(ticket).error, ErrorCode::InvalidSessionTimeout);
    let ticket = world.ask("", Request::Join(member()));
    assert_eq!(world.joined(ticket).error, ErrorCode::InvalidGroupId);
    assert_eq!(world.heartbeat("", 1, &"m".into()), ErrorCode::InvalidGroupId);
    assert_eq!(world.heartbeat("none", 1, &"m".into()), ErrorCode::UnknownMemberId);
    assert_eq!(world.left("none", "m", None), ErrorCode::UnknownMemberId);
    assert_eq!(world.deleted("none"), ErrorCode::GroupIdNotFound);
    assert_eq!(world.described("none").state, "Dead");
    let ticket = world.ask("none", Request::Join(Join { member_id: "m".into(), ..member() }));
    assert_eq!(world.joined(ticket).error, ErrorCode::UnknownMemberId);

    let (id, generation) = world.stable("g");
    assert_eq!(world.heartbeat("g", generation + 1, &id), ErrorCode::IllegalGeneration);
    assert_eq!(world.heartbeat("g", generation, &"other".into()), ErrorCode::UnknownMemberId);
    let ticket = world.ask("g", Request::Heartbeat(who(generation, &id, Some("i"))));
    assert_eq!(world.take(ticket), Reply::Heartbeat(ErrorCode::UnknownMemberId));
    let sync = Sync {
        who: who(generation, &id, None),
        protocol_type: Some("consumer".into()),
        protocol: Some("sticky".into()),
        assignments: Vec::new(),
    };
    let ticket = world.ask("g", Request::Sync(sync));
    assert_eq!(world.synced(ticket).error, ErrorCode::InconsistentGroupProtocol);
    assert_eq!(world.deleted("g"), ErrorCode::NonEmptyGroup);
}

#[test]
fn offsets_are_kept_for_members_and_for_those_who_need_no_group() {
    let mut world = World::new();
    assert_eq!(world.committed("simple", nobody(), 5), ErrorCode::None);
    assert_eq!(world.committed("", nobody(), 6), ErrorCode::None);
    assert_eq!((world.fetched("simple"), world.fetched(""), world.fetched("none")), (5, 6, -1));
    assert_eq!(world.committed("none", who(0, "m", None), 1), ErrorCode::IllegalGeneration);
    let (id, generation) = world.stable("g");
    assert_eq!(world.committed("g", who(generation, &id, None), 7), ErrorCode::None);
    assert_eq!(world.committed("g", nobody(), 8), ErrorCode::UnknownMemberId);
    assert_eq!(world.committed("g", who(generation + 1, &id, None), 8), ErrorCode::IllegalGeneration);
    assert_eq!(world.committed("g", who(generation, "other", None), 8), ErrorCode::UnknownMemberId);
    assert_eq!(world.fetched("g"), 7);
    let ticket = world.ask("g", Request::Join(Join { member_id: id.clone(), ..member() }));
    assert_eq!(world.joined(ticket).generation, 2);
    assert_eq!(world.committed("g", who(2, &id, None), 8), ErrorCode::RebalanceInProgress);
}

#[test]
fn metadata_that_is_too_long_is_refused_alone() {
    let mut world = World::new();
    let part = |partition, metadata: String| CommitPart {
        at: at("t", partition),
        offset: 1,
        leader_epoch: -1,
        metadata: Some(metadata.into()),
        timestamp: None,
    };
    // Characters count, not bytes.
    let parts = vec![part(0, "x".repeat(4097)), part(1, "é".repeat(4096))];
    let ticket = world.ask("g", Request::Commit(Commit { who: nobody(), retention_ms: None, parts }));
    let codes = vec![ErrorCode::OffsetMetadataTooLarge, ErrorCode::None];
    assert_eq!(world.take(ticket), Reply::Commit(codes));
}

#[test]
fn nothing_is_told_before_it_is_in_the_log() {
    let mut world = World::new();
    world.quick = false;
    let ticket = world.commit("g", nobody(), 5);
    assert!(!world.replies.contains_key(&ticket));
    assert_eq!(world.fetched("g"), -1);
    world.end_appends();
    assert_eq!(world.take(ticket), Reply::Commit(vec![ErrorCode::None]));
    assert_eq!(world.fetched("g"), 5);

    let (ticket, id) = world.join("m");
    world.advance_ms(0);
    world.joined(ticket);
    let ticket = world.sync("m", 1, &id, &[(&id, b"x")]);
    assert!(!world.replies.contains_key(&ticket));
    assert_eq!(world.described("m").state, "CompletingRebalance");
    world.end_appends();
    assert_eq!(&*world.synced(ticket).assignment, b"x");
}

#[test]
fn what_the_log_refuses_is_told_in_the_words_of_groups() {
    let told = [
        (ErrorCode::KafkaStorageError, ErrorCode::NotCoordinator, ErrorCode::NotCoordinator),
        (
            ErrorCode::NotEnoughReplicas,
            ErrorCode::CoordinatorNotAvailable,
            ErrorCode::CoordinatorNotAvailable,
        ),
        (ErrorCode::MessageTooLarge, ErrorCode::InvalidCommitOffsetSize, ErrorCode::UnknownServerError),
        (ErrorCode::RequestTimedOut, ErrorCode::RequestTimedOut, ErrorCode::RebalanceInProgress),
    ];
    for (from_log, to_commit, to_sync) in told {
        let mut world = World::new();
        let (ticket, id) = world.join("g");
        world.advance_ms(0);
        world.joined(ticket);
        world.refuse_appends = Some(from_log);
        let ticket = world.sync("g", 1, &id, &[(&id, b"x")]);
        assert_eq!(world.synced(ticket).error, to_sync, "{from_log}");
        assert_eq!(world.described("g").state, "PreparingRebalance");
        assert_eq!(world.committed("simple", nobody(), 5), to_commit, "{from_log}");
        assert_eq!(world.fetched("simple"), -1);
    }
}

#[test]
fn a_group_that_is_deleted_stays_deleted_even_with_a_commit_on_its_way() {
    let mut world = World::new();
    assert_eq!(world.committed("g", nobody(), 5), ErrorCode::None);
    world.quick = false;
    let ticket = world.commit("g", nobody(), 6);
    let deletion = world.ask("g", Request::Delete);
    assert!(!world.replies.contains_key(&deletion));
    world.end_appends();
    assert_eq!(world.take(deletion), Reply::Delete(ErrorCode::None));
    assert_eq!(world.take(ticket), Reply::Commit(vec![ErrorCode::None]));
    assert_eq!(world.fetched("g"), -1);
    world.restart();
    assert_eq!((world.fetched("g"), world.described("g").state), (-1, "Dead"));
}

#[test]
fn everything_comes_back_after_a_restart_and_members_go_on() {
    let mut world = World::new();
    let (id, generation) = world.stable("g");
    assert_eq!(world.committed("g", who(generation, &id, None), 7), ErrorCode::None);
    assert_eq!(world.committed("simple", nobody(), 8), ErrorCode::None);
    let before = world.described("g");
    world.restart();
    assert_eq!(world.described("g"), before);
    assert_eq!((world.fetched("g"), world.fetched("simple")), (7, 8));
    assert_eq!(world.heartbeat("g", generation, &id), ErrorCode::None);
    assert_eq!(world.committed("g", who(generation, &id, None), 9), ErrorCode::None);
    // Sessions run from the restart on.
    world.restart();
    world.advance_ms(10_000);
    assert_eq!(world.described("g").state, "Empty");
    world.restart();
    assert_eq!((world.described("g").state, world.fetched("g")), ("Empty", 9));
}

#[test]
fn a_coordinator_that_loads_says_so_and_lets_members_wait() {
    let mut world = World::new();
    world.coordinator = Coordinator::new(world.settings.clone(), world.now);
    assert_eq!(world.heartbeat("g", 1, &"m".into()), ErrorCode::None);
    let ticket = world.sync("g", 1, &"m".into(), &[]);
    assert_eq!(world.synced(ticket).error, ErrorCode::RebalanceInProgress);
    let ticket = world.ask("g", Request::Join(member()));
    assert_eq!(world.joined(ticket).error, ErrorCode::CoordinatorLoadInProgress);
    assert_eq!(world.committed("g", nobody(), 1), ErrorCode::CoordinatorLoadInProgress);
    assert_eq!(world.described("g").error, ErrorCode::CoordinatorLoadInProgress);
    assert!(!world.coordinator.list(&mut Vec::new()));
}

#[test]
fn offsets_end_when_their_group_has_been_empty_for_long_enough() {
    let day = 24 * 3_600_000;
    let mut world = World::new();
    let (id, generation) = world.stable("g");
    assert_eq!(world.committed("g", who(generation, &id, None), 7), ErrorCode::None);
    // While it reads the topic, however long ago it committed.
    for _ in 0..(8 * 24 * 360) {
        world.advance_ms(10_000 - 1);
        assert_eq!(world.heartbeat("g", generation, &id), ErrorCode::None);
    }
    assert_eq!(world.fetched("g"), 7);
    assert_eq!(world.left("g", &id, None), ErrorCode::None);
    world.advance_ms(7 * day - 1);
    assert_eq!(world.fetched("g"), 7);
    world.advance_ms(700_000);
    assert_eq!((world.fetched("g"), world.described("g").state), (-1, "Dead"));
    world.restart();
    assert_eq!((world.fetched("g"), world.described("g").state), (-1, "Dead"));
}

#[test]
fn offsets_of_a_topic_in_use_cannot_be_deleted_and_others_can() {
    let mut world = World::new();
    let (id, generation) = world.stable("g");
    let parts = ["t", "u"].map(|topic| CommitPart {
        at: at(topic, 0),
        offset: 1,
        leader_epoch: -1,
        metadata: None,
        timestamp: None,
    });
    let commit = Commit { who: who(generation, &id, None), retention_ms: None, parts: parts.into() };
    let ticket = world.ask("g", Request::Commit(commit));
    world.take(ticket);
    let ticket = world.ask("g", Request::DeleteOffsets(vec![at("t", 0), at("u", 0), at("u", 1)]));
    let codes = vec![ErrorCode::GroupSubscribedToTopic, ErrorCode::None, ErrorCode::None];
    assert_eq!(world.take(ticket), Reply::DeleteOffsets(Ok(codes)));
    world.restart();
    let ticket = world.ask("g", Request::FetchOffsets { wanted: None, stable: false });
    let Reply::Offsets(fetched) = world.take(ticket) else { panic!() };
    assert_eq!(fetched.offsets.iter().map(|one| &*one.at.topic).collect::<Vec<_>>(), ["t"]);
}

#[test]
fn a_thousand_members_settle_in_one_rebalance() {
    let mut world = World::with(settings());
    let tickets: Vec<u32> = (0..1000).map(|_| world.join("g").0).collect();
    world.advance_ms(6_000);
    let joined: Vec<Joined> = tickets.into_iter().map(|ticket| world.joined(ticket)).collect();
    assert!(joined.iter().all(|joined| joined.generation == 1 && joined.error.is_none()));
    assert_eq!(joined.iter().map(|joined| joined.members.len()).max(), Some(1000));
}

#[test]
fn metadata_that_lies_about_its_length_harms_nobody() {
    let mut world = World::new();
    let lie =
        Protocol { name: "range".into(), metadata: Arc::from([0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 9, b'x']) };
    let ticket = world.ask("g", Request::Join(Join { protocols: vec![lie], id_required: false, ..member() }));
    world.advance_ms(0);
    let liar = world.joined(ticket);
    let ticket = world.sync("g", 1, &liar.member_id, &[(&liar.member_id, &[0xff; 3])]);
    assert_eq!(world.synced(ticket).error, ErrorCode::None);
    let (other, generation) = world.stable("other");
    world.restart();
    assert_eq!(world.heartbeat("g", 1, &liar.member_id), ErrorCode::None);
    assert_eq!(world.heartbeat("other", generation, &other), ErrorCode::None);
    // Nobody can say what it reads, so nothing of it is deleted from under it.
    let ticket = world.ask("g", Request::DeleteOffsets(vec![at("t", 0)]));
    let refused = vec![ErrorCode::GroupSubscribedToTopic];
    assert_eq!(world.take(ticket), Reply::DeleteOffsets(Ok(refused)));
}

#[test]
fn a_record_that_cannot_be_read_is_passed_over_and_a_damaged_batch_is_an_error() {
    let mut world = World::new();
    assert_eq!(world.committed("g", nobody(), 5), ErrorCode::None);
    let mut builder = BatchBuilder::new(Codec::None);
    builder.append(1, Some(&[0, 1, 0x7f, 0xff]), Some(b"x"), &[]);
    builder.append(1, Some(&[0, 9]), Some(b"from the future"), &[]);
    builder.append(1, None, Some(b"no key"), &[]);
    let mut bytes = builder.build();
    batch::stamp(&mut bytes, world.next_offset, 0);
    world.next_offset += 3;
    world.log.push(bytes);
    world.restart();
    assert_eq!(world.fetched("g"), 5);
    let mut bytes = world.log.concat();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    let mut coordinator: Coordinator<u32> = Coordinator::new(world.settings.clone(), world.now);
    assert!(matches!(coordinator.load(&bytes, 0), Err(LoadError::Checksum { offset: 1 })));
}

/// What somebody may do to a group of up to four.
#[derive(Clone, Debug)]
enum Step {
    Join { who: usize, instance: bool, protocol: u8 },
    Rejoin { who: usize },
    Sync { who: usize, skew: i32 },
    Heartbeat { who: usize, skew: i32 },
    Commit { who: usize, anonymous: bool },
    Leave { who: usize },
    Delete,
    Wait { ms: u64 },
    EndAppends,
    Fail(bool),
    Kill,
}

fn step() -> impl Strategy<Value = Step> {
    let who = 0..4usize;
    prop_oneof![
        4 => (who.clone(), any::<bool>(), 0..3u8).prop_map(|(who, instance, protocol)| Step::Join { who, instance, protocol }),
        6 => who.clone().prop_map(|who| Step::Rejoin { who }),
        6 => (who.clone(), prop_oneof![9 => Just(0), 1 => -1..=1]).prop_map(|(who, skew)| Step::Sync { who, skew }),
        3 => (who.clone(), prop_oneof![9 => Just(0), 1 => -1..=1]).prop_map(|(who, skew)| Step::Heartbeat { who, skew }),
        3 => (who.clone(), any::<bool>()).prop_map(|(who, anonymous)| Step::Commit { who, anonymous }),
        2 => who.prop_map(|who| Step::Leave { who }),
        1 => Just(Step::Delete),
        4 => prop_oneof![Just(0), Just(1), 0..20_000u64, 0..400_000u64].prop_map(|ms| Step::Wait { ms }),
        6 => Just(Step::EndAppends),
        1 => any::<bool>().prop_map(Step::Fail),
        1 => Just(Step::Kill),
    ]
}

#[derive(Clone, Default)]
struct Somebody {
    id: Option<Arc<str>>,
    instance: Option<Arc<str>>,
    generation: i32,
    /// Joins and syncs that have no answer.
    waiting: Vec<u32>,
}

/// Whether `id` is what a static member is called after `before`: both are named after its instance.
fn is_successor(before: &str, id: &str) -> bool {
    let instance = |id: &str| {
        id.strip_prefix('i').and_then(|rest| rest.split_once('-')).map(|(number, _)| number.to_owned())
    };
    instance(before).is_some_and(|before| instance(id) == Some(before))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// In any order of events: no ticket is answered twice, a generation has one leader and one protocol, generations only
    /// rise, what was told as committed is there after a kill, and whoever waits is answered in the end.
    #[test]
    fn groups_keep_their_promises_in_any_order_of_events(steps in proptest::collection::vec(step(), 1..120)) {
        let mut world = World::with(Settings { size_max: 3, ..settings() });
        world.quick = false;
        let mut all: Vec<Somebody> = vec![Somebody::default(); 4];
        // Commits in the order of their requests; what is told and in the log may not be lost.
        let mut commits: Vec<(u32, i64)> = Vec::new();
        let mut acknowledged: Option<i64> = None;
        let mut leaders: BTreeMap<i32, Arc<str>> = BTreeMap::new();
        let mut next_offset = 1;
        for step in steps {
            match step {
                Step::Join { who, instance, protocol: number } => {
                    let name = format!("p{number}");
                    let join = Join {
                        instance_id: instance.then(|| format!("i{who}").into()),
                        protocols: vec![protocol("p0"), protocol(&name)],
                        ..member()
                    };
                    all[who].instance = join.instance_id.clone();
                    all[who].id = None;
                    let ticket = world.ask("g", Request::Join(join));
                    all[who].waiting.push(ticket);
                }
                Step::Rejoin { who } => {
                    let Some(id) = all[who].id.clone() else { continue };
                    let join = Join {
                        member_id: id,
                        instance_id: all[who].instance.clone(),
                        protocols: vec![protocol("p0")],
                        ..member()
                    };
                    let ticket = world.ask("g", Request::Join(join));
                    all[who].waiting.push(ticket);
                }
                Step::Sync { who: number, skew } => {
                    let Some(id) = all[number].id.clone() else { continue };
                    let sync = Sync {
                        who: who(all[number].generation + skew, &id, all[number].instance.as_deref()),
                        protocol_type: None,
                        protocol: None,
                        assignments: all.iter().filter_map(|one| Some((one.id.clone()?, Arc::from(*b"part")))).collect(),
                    };
                    let ticket = world.ask("g", Request::Sync(sync));
                    all[number].waiting.push(ticket);
                }
                Step::Heartbeat { who: number, skew } => {
                    let Some(id) = all[number].id.clone() else { continue };
                    let member = who(all[number].generation + skew, &id, all[number].instance.as_deref());
                    let ticket = world.ask("g", Request::Heartbeat(member));
                    prop_assert!(world.replies.remove(&ticket).is_some(), "a heartbeat waits");
                }
                Step::Commit { who: number, anonymous } => {
                    let member = match (&all[number].id, anonymous) {
                        (Some(id), false) => who(all[number].generation, id, all[number].instance.as_deref()),
                        _ => nobody(),
                    };
                    let ticket = world.commit("g", member, next_offset);
                    commits.push((ticket, next_offset));
                    next_offset += 1;
                }
                Step::Leave { who: number } => {
                    let Some(id) = all[number].id.clone() else { continue };
                    world.left("g", &id, all[number].instance.as_deref());
                }
                Step::Delete => {
                    world.end_appends();
                    let ticket = world.ask("g", Request::Delete);
                    world.end_appends();
                    if world.take(ticket) == Reply::Delete(ErrorCode::None) {
                        acknowledged = None;
                        commits.clear();
                        leaders.clear();
                    }
                }
                Step::Wait { ms } => world.advance_ms(ms),
                Step::EndAppends => world.end_appends(),
                Step::Fail(on) => {
                    world.end_appends();
                    world.refuse_appends = on.then_some(ErrorCode::KafkaStorageError);
                }
                Step::Kill => {
                    // Connections end with the broker.
                    all.iter_mut().for_each(|one| one.waiting.clear());
                    world.replies.clear();
                    // What was on its way may or may not be told; only what was told counts.
                    commits.clear();
                    leaders.clear();
                    world.refuse_appends = None;
                    world.next_offset = world.log.iter().map(|bytes| batch::BatchHeader::peek(bytes).unwrap().next_offset()).max().unwrap_or(0);
                    world.restart();
                    // What was in the log and not told yet may be there too: it is newer.
                    let found = world.fetched("g");
                    prop_assert!(found >= acknowledged.unwrap_or(-1), "an acknowledged offset is gone");
                    acknowledged = (found >= 0).then_some(found);
                }
            }
            commits.retain(|(ticket, offset)| match world.replies.remove(ticket) {
                Some(Reply::Commit(codes)) => {
                    if codes == [ErrorCode::None] {
                        acknowledged = Some(*offset);
                    }
                    false
                }
                Some(_) | None => true,
            });
            for one in &mut all {
                for ticket in std::mem::take(&mut one.waiting) {
                    match world.replies.remove(&ticket) {
                        None => one.waiting.push(ticket),
                        Some(Reply::Join(joined)) => match joined.error {
                            ErrorCode::None => {
                                one.id = Some(joined.member_id.clone());
                                prop_assert!(joined.generation >= 1);
                                one.generation = joined.generation;
                                // Who joins is counted; a static member that has not come back yet is there besides (KIP-389).
                                let dynamic = joined.members.iter().filter(|member| member.instance_id.is_none());
                                prop_assert!(dynamic.count() <= 3);
                                if !joined.members.is_empty() {
                                    prop_assert_eq!(&joined.leader, &joined.member_id);
                                    let known = leaders.insert(joined.generation, joined.leader.clone());
                                    let same = known.as_ref().is_none_or(|known| {
                                        *known == joined.leader || is_successor(known, &joined.leader)
                                    });
                                    prop_assert!(same, "two leaders in {}", joined.generation);
                                }
                            }
                            ErrorCode::MemberIdRequired => one.id = Some(joined.member_id),
                            ErrorCode::UnknownMemberId | ErrorCode::FencedInstanceId => one.id = None,
                            _ => {}
                        },
                        Some(Reply::Sync(_)) => {}
                        Some(other) => prop_assert!(false, "{:?}", other),
                    }
                }
            }
            if world.open.is_empty() && let Some(offset) = acknowledged {
                prop_assert_eq!(world.fetched("g"), offset, "an acknowledged offset is gone");
            }
            // An empty group without offsets is forgotten by the retention check: its name begins anew, at generation 0.
            if world.coordinator.groups().get("g").is_none_or(|group| group.generation == 0) {
                leaders.clear();
            }
        }
        // Nobody waits for ever: timers end every wait.
        world.refuse_appends = None;
        world.quick = true;
        world.end_appends();
        for _ in 0..4 {
            world.advance_ms(400_000);
        }
        let waiting = all.iter().flat_map(|one| one.waiting.iter());
        for ticket in waiting {
            prop_assert!(world.replies.contains_key(ticket), "ticket {ticket} waits for ever");
        }
    }
}
