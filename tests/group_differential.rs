//! The same sequence of group requests to this broker and to a living Kafka 3.9.1: every answer is the same, field by field.
//!
//! A seed chooses requests of members that behave and of members that do not: wrong generations, unknown ids, names that are
//! taken, protocols that do not fit, in any order. Ids that are random are told apart by when they were first seen. No
//! timeout ends in a sequence, so that no answer depends on a clock.
//!
//! Short as it stands; `RINGDAW_GROUP_SEEDS=N` plays N seeds, `RINGDAW_TEST_SEED` one.

mod outside;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use outside::client::{Answer, Client, put_i16, put_i32, put_string};
use outside::group::{Who, subscription};
use outside::java::{self, ZooKeeper};
use outside::process::Broker;
use outside::{Folder, Numbers, skip};

const STEPS: usize = 250;
/// Requests of one side that may wait for others at the same time.
const WAITING_MAX: usize = 8;
const SETTINGS: [(&str, &str); 4] = [
    ("group.initial.rebalance.delay.ms", "0"),
    ("group.max.size", "5"),
    ("offsets.topic.num.partitions", "3"),
    ("auto.create.topics.enable", "false"),
];

/// Kafka takes for a leader that left whoever comes first in a hash table of random ids: there a seed ends.
const BY_CHANCE: &str = "another leader";

/// One field of an answer after the other, as text; ids that a broker made up are replaced.
type Fields = Vec<String>;

/// What a member is known as on both sides.
#[derive(Clone, Debug)]
struct Member {
    /// `m0`, `m1`, in the order they were first seen; what a broker calls it is in `Side::ids`.
    name: String,
    group: &'static str,
    instance: Option<&'static str>,
    generation: i32,
    leads: bool,
    waits: bool,
    /// Of the last join, when this one led: whom it must give something.
    others: Vec<String>,
}

/// A request that has not been answered.
#[derive(Clone, Debug)]
struct Waiting {
    connection: usize,
    kind: Kind,
    group: &'static str,
    /// Who asked, where it had an id.
    member: Option<String>,
    instance: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Join(i16),
    Sync,
}

struct Side {
    what: &'static str,
    control: Client,
    connections: Vec<Client>,
    /// What the broker calls a member.
    ids: BTreeMap<String, String>,
}

impl Side {
    fn new(what: &'static str, address: std::net::SocketAddr) -> Side {
        let client = || Client::connect(address).expect("a connection");
        let connections = (0..WAITING_MAX).map(|_| client()).collect();
        Side { what, control: client(), connections, ids: BTreeMap::new() }
    }

    /// The broker's own id for a member's name; a name nobody gave stands for itself.
    fn id(&self, name: &str) -> String {
        self.ids.get(name).cloned().unwrap_or_else(|| name.to_owned())
    }

    fn name(&self, id: &str) -> String {
        const UUID: usize = 36;
        match self.ids.iter().find(|(_, known)| *known == id) {
            Some((name, _)) => name.clone(),
            // Of a member whose first join waits.
            None if id.len() > UUID => "a new one".to_owned(),
            None => id.to_owned(),
        }
    }

    fn who(&self, member: &Who) -> Who {
        Who { member: self.id(&member.member), ..member.clone() }
    }
}

/// What a join's answer says, before ids are replaced.
struct Joined {
    code: i16,
    generation: i32,
    protocol: Option<String>,
    leader: String,
    member: String,
    members: Vec<(String, Option<String>, Vec<u8>)>,
}

fn read_joined(body: &[u8], version: i16) -> Joined {
    let mut answer = Answer(body);
    let mut read = || -> std::io::Result<Joined> {
        if version >= 2 {
            answer.i32()?;
        }
        let (code, generation) = (answer.i16()?, answer.i32()?);
        let (protocol, leader, member) = (answer.nullable()?, answer.string()?, answer.string()?);
        let mut members = Vec::new();
        for _ in 0..answer.count()? {
            let id = answer.string()?;
            let instance = if version >= 5 { answer.nullable()? } else { None };
            members.push((id, instance, answer.bytes()?.to_vec()));
        }
        Ok(Joined { code, generation, protocol, leader, member, members })
    };
    read().expect("JoinGroup")
}

/// A request that is sent to both sides, with members by name.
#[derive(Clone, Debug)]
enum Step {
    Join {
        version: i16,
        group: &'static str,
        who: Who,
        instance: Option<&'static str>,
        session_ms: i32,
        kind: &'static str,
        protocols: Vec<(&'static str, Vec<u8>)>,
    },
    Sync {
        group: &'static str,
        who: Who,
        given: Vec<(String, Vec<u8>)>,
    },
    Heartbeat {
        group: &'static str,
        who: Who,
    },
    Leave {
        group: &'static str,
        members: Vec<Who>,
    },
    Commit {
        group: &'static str,
        who: Who,
        topic: &'static str,
        partition: i32,
        offset: i64,
        metadata: usize,
    },
    Committed {
        group: &'static str,
    },
    Describe {
        group: &'static str,
    },
    List {
        of: u64,
    },
    DeleteGroup {
        group: &'static str,
    },
    DeleteOffset {
        group: &'static str,
        topic: &'static str,
        partition: i32,
    },
}

struct Play {
    sides: [Side; 2],
    groups: [&'static str; 4],
    seed: u64,
    numbers: Numbers,
    members: Vec<Member>,
    waiting: Vec<Waiting>,
    named: usize,
    compared: usize,
    story: Vec<String>,
}

fn pick<T: Copy>(numbers: &mut Numbers, all: &[T]) -> T {
    all[numbers.below(all.len() as u64) as usize]
}

impl Play {
    fn one_in(&mut self, n: u64) -> bool {
        self.numbers.below(n) == 0
    }

    /// A member of any group, with which generation it speaks and whom it says it is.
    fn someone(&mut self) -> (Option<usize>, &'static str, Who) {
        if self.members.is_empty() || self.one_in(12) {
            let group = pick(&mut self.numbers, &self.groups);
            let who = Who { member: "nobody".to_owned(), generation: 1, instance: None };
            return (None, group, who);
        }
        let at = self.numbers.below(self.members.len() as u64) as usize;
        let member = self.members[at].clone();
        let mut who = Who {
            member: member.name,
            generation: member.generation,
            instance: member.instance.map(str::to_owned),
        };
        match self.numbers.below(24) {
            0 => who.generation += 1,
            1 => who.generation -= 1,
            2 => who.instance = Some("i9".to_owned()),
            3 => who.instance = Some("i0".to_owned()),
            4 => who.instance = None,
            _ => {}
        }
        (Some(at), member.group, who)
    }

    fn protocols(&mut self) -> Vec<(&'static str, Vec<u8>)> {
        let topics: &[&str] = pick(&mut self.numbers, &[&["t0"][..], &["t0", "t1"], &["t1"]]);
        let metadata = subscription(topics);
        let names: &[&'static str] = match self.numbers.below(16) {
            0 => &["other"],
            1 => &[],
            2..=5 => &["roundrobin"],
            6..=8 => &["range"],
            _ => &["range", "roundrobin"],
        };
        names.iter().map(|name| (*name, metadata.clone())).collect()
    }

    fn choose(&mut self) -> Step {
        // Somebody must be able to end the waiting of others.
        let is_full = self.waiting.len() >= WAITING_MAX;
        let kind = match self.numbers.below(100) {
            0..=29 if !is_full => 0,
            30..=54 if !is_full => 1,
            55..=62 => 2,
            63..=72 => 3,
            73..=82 => 4,
            83..=86 => 5,
            87..=91 => 6,
            92..=93 => 7,
            94..=96 => 8,
            97..=99 => 9,
            _ => 3,
        };
        match kind {
            0 => self.choose_join(),
            1 => self.choose_sync(),
            2 => {
                let (_, group, who) = self.someone();
                Step::Heartbeat { group, who }
            }
            3 => {
                let (_, group, who) = self.someone();
                // Kafka never answers the sync of a member that leaves while it waits; here it is told that it is none.
                if self.waiting.iter().any(|waiting| waiting.kind == Kind::Sync && waiting.group == group) {
                    return Step::Heartbeat { group, who };
                }
                let mut members = vec![Who { generation: 0, ..who }];
                if self.one_in(4) {
                    let (_, _, other) = self.someone();
                    members.push(Who { generation: 0, ..other });
                }
                Step::Leave { group, members }
            }
            4 => {
                let (_, group, mut who) = self.someone();
                if self.one_in(4) {
                    who = Who { generation: -1, ..Who::default() };
                }
                let topic = pick(&mut self.numbers, &["t0", "t1"]);
                let metadata = if self.one_in(12) { 4097 } else { self.numbers.below(3) as usize };
                let partition = self.numbers.below(3) as i32;
                let offset = self.numbers.below(1000) as i64;
                Step::Commit { group, who, topic, partition, offset, metadata }
            }
            5 => Step::Committed { group: pick(&mut self.numbers, &self.groups) },
            6 => Step::Describe { group: pick(&mut self.numbers, &self.groups) },
            7 => Step::List { of: self.seed },
            8 => Step::DeleteGroup { group: pick(&mut self.numbers, &self.groups) },
            _ => Step::DeleteOffset {
                group: pick(&mut self.numbers, &self.groups),
                topic: pick(&mut self.numbers, &["t0", "t1", "none"]),
                partition: self.numbers.below(3) as i32,
            },
        }
    }

    fn choose_join(&mut self) -> Step {
        let kind = if self.one_in(20) { pick(&mut self.numbers, &["connect", ""]) } else { "consumer" };
        let session_ms = if self.one_in(30) { 1000 } else { 300_000 };
        let protocols = self.protocols();
        let is_new = self.members.len() < 4 || self.one_in(4);
        if is_new {
            let instance = match self.numbers.below(4) {
                0 => Some(pick(&mut self.numbers, &["i0", "i1"])),
                _ => None,
            };
            let version = if instance.is_some() { 5 } else { 1 + self.numbers.below(5) as i16 };
            let group = pick(&mut self.numbers, &self.groups);
            let who = Who { member: String::new(), generation: -1, instance: instance.map(str::to_owned) };
            return Step::Join { version, group, who, instance, session_ms, kind, protocols };
        }
        let (at, group, who) = self.someone();
        // A second join of who waits already would leave the first without an answer for good.
        if at.is_some_and(|at| self.members[at].waits) {
            return Step::Heartbeat { group, who };
        }
        let instance = at.and_then(|at| self.members[at].instance);
        let mut who = who;
        // An id given to a member without a name, used with one, is an error inside of Kafka (-1), and 25 here.
        if instance.is_none() && who.generation < 0 {
            who.instance = None;
        }
        let version = if who.instance.is_some() { 5 } else { 4 + self.numbers.below(2) as i16 };
        Step::Join { version, group, who, instance, session_ms, kind, protocols }
    }

    fn choose_sync(&mut self) -> Step {
        let (at, group, who) = self.someone();
        let Some(member) = at.map(|at| self.members[at].clone()) else {
            return Step::Sync { group, who, given: Vec::new() };
        };
        if member.waits {
            return Step::Heartbeat { group, who };
        }
        let mut given: Vec<(String, Vec<u8>)> = Vec::new();
        if member.leads {
            for name in &member.others {
                if !self.one_in(6) {
                    given.push((name.clone(), vec![self.numbers.below(256) as u8; 5]));
                }
            }
        }
        Step::Sync { group, who, given }
    }

    /// Sends a step to one side; its answer, if it does not wait for others.
    fn send(side: &mut Side, step: &Step, connection: usize) -> Option<Fields> {
        let text = |value: &dyn std::fmt::Debug| format!("{value:?}");
        Some(match step {
            Step::Join { version, group, who, session_ms, kind, protocols, .. } => {
                let mut body = Vec::new();
                put_string(&mut body, group);
                put_i32(&mut body, *session_ms);
                put_i32(&mut body, 300_000);
                put_string(&mut body, &side.id(&who.member));
                if *version >= 5 {
                    match &who.instance {
                        Some(instance) => put_string(&mut body, instance),
                        None => put_i16(&mut body, -1),
                    }
                }
                put_string(&mut body, kind);
                put_i32(&mut body, protocols.len() as i32);
                for (name, metadata) in protocols {
                    put_string(&mut body, name);
                    put_i32(&mut body, metadata.len() as i32);
                    body.extend_from_slice(metadata);
                }
                side.connections[connection].send(11, *version, &body).expect("JoinGroup");
                return None;
            }
            Step::Sync { group, who, given } => {
                let given: Vec<_> =
                    given.iter().map(|(name, bytes)| (side.id(name), bytes.clone())).collect();
                let who = side.who(who);
                side.connections[connection].send_sync(group, &who, &given).expect("SyncGroup");
                return None;
            }
            Step::Heartbeat { group, who } => {
                let who = side.who(who);
                vec![text(&side.control.heartbeat(group, &who).expect("Heartbeat"))]
            }
            Step::Leave { group, members } => {
                let members: Vec<Who> = members.iter().map(|who| side.who(who)).collect();
                vec![text(&side.control.leave(group, &members).expect("LeaveGroup"))]
            }
            Step::Commit { group, who, topic, partition, offset, metadata } => {
                let who = side.who(who);
                let metadata = "x".repeat(*metadata);
                let code = side.control.commit_with(group, &who, (topic, *partition), *offset, &metadata);
                vec![text(&code.expect("OffsetCommit"))]
            }
            Step::Committed { group } => {
                let (code, rows) = side.control.committed(group).expect("OffsetFetch");
                [text(&code)].into_iter().chain(rows.iter().map(|row| text(row))).collect()
            }
            Step::Describe { group } => {
                let found = side.control.describe_group(group).expect("DescribeGroups");
                let mut members: Vec<_> = found.members.clone();
                members.iter_mut().for_each(|member| member.0 = side.name(&member.0));
                members.sort();
                let mut fields =
                    vec![text(&found.code), found.state.clone(), found.kind.clone(), found.protocol.clone()];
                fields.extend(members.iter().map(|member| text(member)));
                fields
            }
            Step::List { of } => {
                let (code, mut groups) = side.control.list_groups().expect("ListGroups");
                groups.retain(|(name, _)| name.starts_with(&format!("s{of}-")));
                vec![text(&code), text(&groups)]
            }
            Step::DeleteGroup { group } => {
                vec![text(&side.control.delete_group(group).expect("DeleteGroups"))]
            }
            Step::DeleteOffset { group, topic, partition } => {
                let codes = side.control.delete_offset(group, topic, *partition).expect("OffsetDelete");
                vec![text(&codes)]
            }
        })
    }

    fn same(&mut self, what: &str, a: &Fields, b: &Fields) -> Result<(), String> {
        self.compared += 1;
        if a == b {
            self.story.push(format!("  {what}: {}", a.join(" ")));
            return Ok(());
        }
        let [one, other] = [self.sides[0].what, self.sides[1].what];
        Err(format!("{what}\n    {one}: {}\n    {other}: {}", a.join(" "), b.join(" ")))
    }

    fn play(&mut self, step: Step) -> Result<(), String> {
        self.story.push(format!("{step:?}"));
        let busy: Vec<usize> = self.waiting.iter().map(|waiting| waiting.connection).collect();
        let connection = (0..WAITING_MAX).find(|free| !busy.contains(free)).unwrap_or(0);
        let [a, b] = &mut self.sides;
        let answers = (Play::send(a, &step, connection), Play::send(b, &step, connection));
        let mut waiting = |kind, group, who: &Who, instance| {
            let known = self.members.iter_mut().find(|member| member.name == who.member);
            if let Some(member) = known {
                member.waits = true;
            }
            let member = Some(who.member.clone()).filter(|name| !name.is_empty());
            self.waiting.push(Waiting { connection, kind, group, member, instance });
        };
        match &step {
            Step::Join { version, group, who, instance, .. } => {
                waiting(Kind::Join(*version), group, who, *instance);
            }
            Step::Sync { group, who, .. } => waiting(Kind::Sync, group, who, None),
            _ => {}
        }
        if let (Some(a), Some(b)) = answers {
            self.same("answered", &a, &b)?;
        }
        match step {
            Step::Join { .. } | Step::Sync { .. } | Step::Leave { .. } => self.settle(),
            _ => Ok(()),
        }
    }

    /// Waits until nothing more is answered, which both sides must agree about.
    fn settle(&mut self) -> Result<(), String> {
        const QUIET: Duration = Duration::from_millis(30);
        let begun = Instant::now();
        let mut quiet_since = begun;
        let mut before = (Vec::new(), Vec::new());
        loop {
            let answered = |side: &mut Side, waiting: &[Waiting]| -> Vec<usize> {
                let mut there = waiting.iter().map(|waiting| waiting.connection);
                there
                    .by_ref()
                    .filter(|at| side.connections[*at].has_answer().expect("a connection"))
                    .collect()
            };
            let [a, b] = &mut self.sides;
            let now = (answered(a, &self.waiting), answered(b, &self.waiting));
            if now != before {
                quiet_since = Instant::now();
                before = now;
            } else if before.0 == before.1 && quiet_since.elapsed() > QUIET {
                return self.take(&before.0);
            } else if before.0 != before.1 && begun.elapsed() > Duration::from_secs(5) {
                let [one, other] = [self.sides[0].what, self.sides[1].what];
                return Err(format!(
                    "of {:?} {one} answers {:?}, and {other} {:?}",
                    self.waiting, before.0, before.1
                ));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Reads what was answered and compares it.
    fn take(&mut self, connections: &[usize]) -> Result<(), String> {
        let (answered, rest): (Vec<Waiting>, Vec<Waiting>) =
            self.waiting.drain(..).partition(|waiting| connections.contains(&waiting.connection));
        self.waiting = rest;
        let mut joins = Vec::new();
        for waiting in answered {
            if let Some(name) = &waiting.member
                && let Some(member) = self.members.iter_mut().find(|member| member.name == *name)
            {
                member.waits = false;
            }
            let bodies = self
                .sides
                .each_mut()
                .map(|side| side.connections[waiting.connection].receive().expect("an answer"));
            match waiting.kind {
                Kind::Sync => {
                    let read = |body: &Vec<u8>| -> std::io::Result<Fields> {
                        let mut answer = Answer(body);
                        answer.i32()?;
                        Ok(vec![format!("{:?}", (answer.i16()?, answer.bytes()?))])
                    };
                    let [a, b] = bodies.each_ref().map(|body| read(body).expect("SyncGroup"));
                    self.same(&format!("SyncGroup of {:?}", waiting.member), &a, &b)?;
                }
                Kind::Join(version) => {
                    let both = bodies.each_ref().map(|body| read_joined(body, version));
                    // Ids made for this answer get a name before anybody reads of them.
                    let own = both.each_ref().map(|joined| joined.member.clone());
                    let is_known = self.sides[0].ids.values().any(|id| *id == own[0]);
                    if !own[0].is_empty() && !own[1].is_empty() && !is_known && own[0] != "nobody" {
                        let name = format!("m{}", self.named);
                        self.named += 1;
                        for (side, id) in self.sides.iter_mut().zip(own) {
                            side.ids.insert(name.clone(), id);
                        }
                    }
                    joins.push((waiting, both));
                }
            }
        }
        for (waiting, both) in joins {
            let sides = &self.sides;
            let fields = |at: usize| {
                let joined: &Joined = &both[at];
                let mut members: Vec<_> = joined.members.clone();
                members.iter_mut().for_each(|member| member.0 = sides[at].name(&member.0));
                members.sort();
                let (leader, member) = (sides[at].name(&joined.leader), sides[at].name(&joined.member));
                let head = (joined.code, joined.generation, &joined.protocol, leader, member);
                [format!("{head:?}")].into_iter().chain(members.iter().map(|m| format!("{m:?}"))).collect()
            };
            let (a, b): (Fields, Fields) = (fields(0), fields(1));
            let head = |joined: &Joined| (joined.code, joined.generation, joined.protocol.clone());
            let leads = [0, 1].map(|at: usize| sides[at].name(&both[at].leader));
            if a != b && head(&both[0]) == head(&both[1]) && both[0].code == 0 && leads[0] != leads[1] {
                return Err(BY_CHANCE.to_owned());
            }
            self.same(&format!("JoinGroup of {:?}", waiting.member), &a, &b)?;
            self.remember(&waiting, &both[0]);
        }
        Ok(())
    }

    /// What members know after an answer.
    fn remember(&mut self, waiting: &Waiting, joined: &Joined) {
        let name = self.sides[0].name(&joined.member);
        if !matches!(joined.code, 0 | 79) || !self.sides[0].ids.contains_key(&name) {
            return;
        }
        let others: Vec<String> = joined.members.iter().map(|(id, ..)| self.sides[0].name(id)).collect();
        let at = match self.members.iter().position(|member| member.name == name) {
            Some(at) => at,
            None => {
                self.members.push(Member {
                    name: name.clone(),
                    group: waiting.group,
                    instance: waiting.instance,
                    generation: -1,
                    leads: false,
                    waits: false,
                    others: Vec::new(),
                });
                self.members.len() - 1
            }
        };
        let member = &mut self.members[at];
        member.generation = joined.generation;
        member.leads = joined.code == 0 && joined.leader == joined.member;
        member.others = others;
        // The oldest are forgotten by whoever plays them; they stay where they are until somebody lets them leave.
        if self.members.len() > 16
            && let Some(idle) = self.members.iter().position(|member| !member.waits)
        {
            self.members.remove(idle);
        }
    }
}

/// Makes a group, if it is not there. The one difference that stays is of groups that are not: with Kafka a join that is
/// refused leaves an empty group behind for ten minutes, and here it leaves nothing.
fn offset_of_nobody(group: &'static str) -> Step {
    let who = Who { generation: -1, ..Who::default() };
    Step::Commit { group, who, topic: "t0", partition: 0, offset: 1, metadata: 0 }
}

fn play(seed: u64, addresses: [std::net::SocketAddr; 2]) -> usize {
    let [ours, javas] = addresses;
    // A seed whose members Kafka chose among by chance leaves something behind: each has groups of its own.
    let groups = [0, 1, 2, 3].map(|at| &*format!("s{seed}-{at}").leak());
    let mut play = Play {
        sides: [Side::new("Ringdaw", ours), Side::new("Kafka 3.9.1", javas)],
        groups,
        seed,
        numbers: Numbers::from(seed),
        members: Vec::new(),
        waiting: Vec::new(),
        named: 0,
        compared: 0,
        story: Vec::new(),
    };
    let mut steps = || -> Result<(), String> {
        for group in groups {
            play.play(offset_of_nobody(group))?;
        }
        for _ in 0..STEPS {
            let step = play.choose();
            let may_be_gone = match &step {
                Step::DeleteGroup { group } | Step::DeleteOffset { group, .. } => Some(*group),
                _ => None,
            };
            play.play(step)?;
            if let Some(group) = may_be_gone {
                play.play(offset_of_nobody(group))?;
            }
        }
        for group in groups {
            play.play(Step::Describe { group })?;
            play.play(Step::Committed { group })?;
        }
        // Everybody leaves, so that the next seed finds nothing.
        for member in play.members.clone() {
            let who = Who { member: member.name, generation: 0, instance: None };
            play.play(Step::Leave { group: member.group, members: vec![who] })?;
        }
        play.play(Step::List { of: seed })
    };
    let outcome = steps();
    if let Err(difference) = outcome
        && difference != BY_CHANCE
    {
        let last = play.story.len().saturating_sub(60);
        let story = play.story[last..].join("\n");
        panic!("RINGDAW_TEST_SEED={seed}, after {} answers alike:\n{story}\n{difference}", play.compared);
    }
    play.compared
}

/// Seeds that are played when nobody asks for others.
const SEEDS: [u64; 3] = [1, 2, 22];

#[test]
fn every_answer_to_a_seed_of_group_requests_is_kafkas() {
    if let Some(why) = java::missing() {
        return skip("every_answer_to_a_seed_of_group_requests_is_kafkas", &why);
    }
    let number = |key: &str| std::env::var(key).ok().map(|text| text.parse::<u64>().expect("a number"));
    let seeds: Vec<u64> = match (number("RINGDAW_TEST_SEED"), number("RINGDAW_GROUP_SEEDS")) {
        (Some(seed), _) => vec![seed],
        (None, Some(count)) => (1..=count).collect(),
        (None, None) => SEEDS.to_vec(),
    };
    let folder = Folder::new("group-differential");
    let mut compared = 0;
    let mut all = 0;
    let zookeeper = ZooKeeper::start(&folder.join("java"));
    let javas = zookeeper.start_broker(&SETTINGS);
    let ours = Broker::start(&folder.join("ours"), &SETTINGS);
    for address in [ours.address, javas.address] {
        let mut client = Client::connect(address).expect("a connection");
        for topic in ["t0", "t1"] {
            assert_eq!(client.create_topic_once_alive(topic, 3, &[]).expect("create"), 0);
        }
        // Three partitions, each with a coordinator of its own.
        ["a", "b", "c", "d", "e", "f"].iter().for_each(|group| client.await_coordinator(group));
    }
    for seed in seeds {
        compared += play(seed, [ours.address, javas.address]);
        all += 1;
    }
    eprintln!("{compared} answers of {all} seeds compared, none differs");
    javas.stop();
    ours.stop();
}
