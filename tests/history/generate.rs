//! Good histories from a seed, and mutations of them that must be noticed under one name.
//!
//! In: numbers. Out: a history of a cluster that keeps its promises, with what makes histories hard: batches, five sends
//! in flight, retries, unknown sends that appear late, holes in the offsets, readers that begin again, groups, a topic made
//! again; and the same history with one thing wrong.

use super::anomaly::Name;
use super::event::{Event, What, When};
use crate::outside::Numbers;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

const STEP_NS: u64 = 1_000_000;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Idempotent,
    Plain,
    Weak,
}

struct Send {
    values: Vec<u64>,
    /// Appended by then: its first offset.
    placed: Option<u64>,
}

struct Writer {
    client: u32,
    part: usize,
    kind: Kind,
    next: u64,
    open: VecDeque<Send>,
    /// Unknown to its client, and on its way; then the writer is done.
    late: Option<Vec<u64>>,
    done: bool,
}

struct Reading {
    client: u32,
    part: usize,
    position: u64,
    by_group: bool,
}

pub struct History {
    pub events: Vec<Event>,
    pub parts: Vec<Arc<str>>,
}

/// The log of one partition: what is at each offset, nothing where a marker is.
type Log = Vec<Option<u64>>;

pub fn good(numbers: &mut Numbers) -> History {
    let mut parts: Vec<Arc<str>> = (0..1 + numbers.below(3)).map(|n| format!("a-{n}").into()).collect();
    if numbers.below(3) == 0 {
        parts.push("a#2-0".into());
    }
    let mut world = World {
        logs: vec![Vec::new(); parts.len()],
        history: History { events: Vec::new(), parts },
        now: 0,
        series: 0,
    };
    world.run(numbers);
    world.history
}

struct World {
    history: History,
    logs: Vec<Log>,
    now: u64,
    series: u64,
}

impl World {
    fn tell(&mut self, client: u32, when: When, what: What, part: usize, values: &[u64], offsets: &[u64]) {
        self.now += STEP_NS;
        let part = self.history.parts[part].clone();
        self.history.events.push(Event::new(self.now, client, when, what).at(&part).of(values, offsets));
    }

    fn say(&mut self, what: What) {
        self.now += STEP_NS;
        self.history.events.push(Event::new(self.now, 0, When::Info, what));
    }

    fn writer(&mut self, numbers: &mut Numbers, part: usize, client: u32) -> Writer {
        let kind = [Kind::Idempotent, Kind::Idempotent, Kind::Plain, Kind::Weak][numbers.below(4) as usize];
        self.now += STEP_NS;
        let mut event = Event::new(self.now, client, When::Info, What::Producer);
        event.idempotent = Some(kind == Kind::Idempotent);
        event.weak = Some(kind == Kind::Weak);
        self.history.events.push(event);
        self.series += 1;
        Writer {
            client,
            part,
            kind,
            next: self.series * 1_000_000,
            open: VecDeque::new(),
            late: None,
            done: false,
        }
    }

    fn run(&mut self, numbers: &mut Numbers) {
        let parts = self.logs.len();
        let mut client = 1;
        let mut writers = Vec::new();
        for part in 0..parts {
            for _ in 0..1 + numbers.below(3) {
                writers.push(self.writer(numbers, part, client));
                client += 1;
            }
        }
        let mut readers = Vec::new();
        for reader in 0..2 + numbers.below(2) {
            let by_group = reader > 1;
            let client = 100 + reader as u32;
            if by_group {
                self.now += STEP_NS;
                self.history.events.push(Event::new(self.now, client, When::Info, What::Subscribe));
            }
            for part in 0..parts {
                if !by_group {
                    self.tell(client, When::Ok, What::Assign, part, &[], &[0]);
                }
                readers.push(Reading { client, part, position: 0, by_group });
            }
        }
        for _ in 0..60 + numbers.below(200) {
            match numbers.below(40) {
                0..14 => {
                    let at = numbers.below(writers.len() as u64) as usize;
                    self.begin(numbers, &mut writers[at]);
                }
                14..26 => {
                    let at = numbers.below(writers.len() as u64) as usize;
                    self.answer(numbers, &mut writers[at]);
                    if writers[at].done && writers[at].late.is_none() && numbers.below(2) == 0 {
                        let part = writers[at].part;
                        writers[at] = self.writer(numbers, part, client);
                        client += 1;
                    }
                }
                26..38 => {
                    let at = numbers.below(readers.len() as u64) as usize;
                    self.poll(numbers, &mut readers[at]);
                }
                38 => {
                    let at = numbers.below(readers.len() as u64) as usize;
                    let reader = &mut readers[at];
                    reader.position = numbers.below(reader.position + 1);
                    if !reader.by_group {
                        let (client, part, position) = (reader.client, reader.part, reader.position);
                        self.tell(client, When::Ok, What::Assign, part, &[], &[position]);
                    }
                }
                _ => {
                    let what = [What::Fault, What::Heal][numbers.below(2) as usize];
                    self.say(what);
                }
            }
        }
        self.say(What::Heal);
        for writer in &mut writers {
            while !writer.open.is_empty() {
                self.answer(numbers, writer);
            }
            self.place_late(writer);
        }
        self.say(What::Stop);
        for part in 0..parts {
            let mut last = Reading { client: 200, part, position: 0, by_group: false };
            self.tell(200, When::Ok, What::Assign, part, &[], &[0]);
            for reader in readers.iter_mut().filter(|reader| reader.part == part).chain([&mut last]) {
                while reader.position < self.logs[part].len() as u64 {
                    self.poll(numbers, reader);
                }
                self.poll(numbers, reader);
            }
        }
    }

    fn begin(&mut self, numbers: &mut Numbers, writer: &mut Writer) {
        if writer.open.len() == 5 || writer.done {
            return;
        }
        let values: Vec<u64> = (0..1 + numbers.below(4)).map(|step| writer.next + step).collect();
        writer.next += values.len() as u64;
        self.tell(writer.client, When::Invoke, What::Send, writer.part, &values, &[]);
        writer.open.push_back(Send { values, placed: None });
    }

    fn place(&mut self, numbers: &mut Numbers, part: usize, values: &[u64]) -> u64 {
        let log = &mut self.logs[part];
        if numbers.below(12) == 0 {
            log.push(None);
        }
        let base = log.len() as u64;
        log.extend(values.iter().map(|value| Some(*value)));
        base
    }

    fn place_late(&mut self, writer: &mut Writer) {
        if let Some(values) = writer.late.take() {
            self.logs[writer.part].extend(values.iter().map(|value| Some(*value)));
        }
    }

    /// Something becomes of the writer's open sends.
    fn answer(&mut self, numbers: &mut Numbers, writer: &mut Writer) {
        if writer.late.is_some() && numbers.below(3) == 0 {
            self.place_late(writer);
        }
        if writer.open.is_empty() {
            return;
        }
        // Without idempotence sends in flight overtake each other.
        let at = if writer.kind == Kind::Idempotent {
            0
        } else {
            numbers.below(writer.open.len() as u64) as usize
        };
        let (client, part) = (writer.client, writer.part);
        if writer.open[at].placed.is_none() {
            let values = writer.open[at].values.clone();
            match numbers.below(20) {
                0 => {
                    self.tell(client, When::Fail, What::Send, part, &values, &[]);
                    writer.open.remove(at);
                    return;
                }
                1 => {
                    self.tell(client, When::Info, What::Send, part, &values, &[]);
                    writer.open.remove(at);
                    return;
                }
                2 if writer.open.len() == 1 => {
                    self.tell(client, When::Info, What::Send, part, &values, &[]);
                    writer.open.clear();
                    writer.late = Some(values);
                    writer.done = true;
                    return;
                }
                _ => {}
            }
            if writer.kind == Kind::Weak && numbers.below(8) == 0 {
                let base = self.logs[part].len() as u64;
                self.tell(client, When::Ok, What::Send, part, &values, &[base]);
                writer.open.remove(at);
                return;
            }
            let base = self.place(numbers, part, &values);
            if writer.kind != Kind::Idempotent && numbers.below(10) == 0 {
                self.place(numbers, part, &values);
            }
            writer.open[at].placed = Some(base);
            if numbers.below(3) == 0 {
                return; // it is there, and not yet acknowledged
            }
        }
        let send = writer.open.remove(at).expect("it is open");
        let base = send.placed.expect("it was placed");
        match numbers.below(16) {
            0 => self.tell(client, When::Info, What::Send, part, &send.values, &[]),
            1 if writer.kind == Kind::Idempotent => {
                self.tell(client, When::Ok, What::Send, part, &send.values, &[]);
            }
            _ => self.tell(client, When::Ok, What::Send, part, &send.values, &[base]),
        }
    }

    fn poll(&mut self, numbers: &mut Numbers, reader: &mut Reading) {
        let log = &self.logs[reader.part];
        let end = log.len() as u64;
        let most = 1 + numbers.below(6);
        let (mut values, mut offsets) = (Vec::new(), Vec::new());
        while reader.position < end && (values.len() as u64) < most {
            if let Some(value) = log[reader.position as usize] {
                values.push(value);
                offsets.push(reader.position);
            }
            reader.position += 1;
        }
        let (client, part) = (reader.client, reader.part);
        self.tell(client, When::Ok, What::Poll, part, &values, &offsets);
        // A marker at the end is passed without a record: only a reader that is past all records knows the end.
        let last = log_end(&self.logs[part]);
        self.history.events.last_mut().expect("it was just told").end = Some(last);
    }
}

fn log_end(log: &Log) -> u64 {
    log.iter().rposition(Option::is_some).map_or(0, |last| last as u64 + 1)
}

// ---- mutations --------------------------------------------------------------------------------

/// Where a record was told of: the event, and its place among the event's values.
#[derive(Clone, Copy)]
struct Spot {
    event: usize,
    at: usize,
}

/// What a history says of its records.
struct Index {
    /// Polls of (partition, value) by readers with partitions assigned.
    polled: BTreeMap<(Arc<str>, u64), Vec<Spot>>,
    /// Strong acknowledgements: value, offset, event of the answer, event of the send.
    acknowledged: Vec<Acknowledged>,
    producers: BTreeMap<u32, (bool, bool)>,
    grouped: Vec<u32>,
}

#[derive(Clone)]
struct Acknowledged {
    part: Arc<str>,
    client: u32,
    values: Vec<u64>,
    base: u64,
    sent: usize,
    answered: usize,
}

impl Index {
    fn of(history: &History) -> Index {
        let mut index = Index {
            polled: BTreeMap::new(),
            acknowledged: Vec::new(),
            producers: BTreeMap::new(),
            grouped: Vec::new(),
        };
        let mut sends = BTreeMap::new();
        for (number, event) in history.events.iter().enumerate() {
            match (event.what, event.when) {
                (What::Producer, _) => {
                    let kind = (event.idempotent == Some(true), event.weak == Some(true));
                    index.producers.insert(event.client, kind);
                }
                (What::Subscribe, _) => index.grouped.push(event.client),
                (What::Send, When::Invoke) => {
                    sends.insert(event.values[0], number);
                }
                (What::Send, When::Ok) if !index.producers[&event.client].1 => {
                    let Some(&base) = event.offsets.first() else { continue };
                    index.acknowledged.push(Acknowledged {
                        part: part_of(event),
                        client: event.client,
                        values: event.values.clone(),
                        base,
                        sent: sends[&event.values[0]],
                        answered: number,
                    });
                }
                (What::Poll, When::Ok) => {
                    for (at, value) in event.values.iter().enumerate() {
                        let spots = index.polled.entry((part_of(event), *value)).or_default();
                        spots.push(Spot { event: number, at });
                    }
                }
                _ => {}
            }
        }
        index
    }

    fn spots(&self, part: &Arc<str>, value: u64) -> &[Spot] {
        self.polled.get(&(part.clone(), value)).map_or(&[], Vec::as_slice)
    }

    fn pick<'a>(&'a self, numbers: &mut Numbers) -> Option<&'a Acknowledged> {
        let count = self.acknowledged.len() as u64;
        (count > 0).then(|| &self.acknowledged[numbers.below(count) as usize])
    }
}

fn part_of(event: &Event) -> Arc<str> {
    event.part.clone().expect("it names a partition")
}

pub const MUTATIONS: &[&str] = &[
    "a record is dropped everywhere",
    "a record is dropped from one poll",
    "two records of a poll are swapped",
    "the values of a poll are shifted",
    "a record is there again",
    "an acknowledged offset is shifted",
    "an acknowledged send was refused",
    "two records of a producer are swapped",
    "two records of two clients are swapped",
    "a poll begins with the last record again",
    "a poll repeats a record",
    "a send is acknowledged below the minimum",
    "an answer after healing is late",
    "a checksum is wrong",
    "a record of another topic appears",
    "a record appears",
];

/// The history with one thing wrong, and the name it must be flagged with; `None` where this one has no place for it.
/// Where blocks are `closed`, a reader that begins or ends within one is not held against it, so changed values are put
/// into the polls of the last reader, which reads everything.
pub fn mutate(
    history: &History,
    mutation: usize,
    closed: bool,
    numbers: &mut Numbers,
) -> Option<(Vec<Event>, Name)> {
    let index = Index::of(history);
    let mut events = history.events.clone();
    let name = match mutation {
        0 => drop_everywhere(&mut events, &index, numbers)?,
        1 => drop_once(&mut events, &index, numbers)?,
        2 | 3 => change_values(&mut events, &index, mutation == 3, closed, numbers)?,
        4 => {
            let again = index.pick(numbers)?.clone();
            if !index.producers[&again.client].0 || index.spots(&again.part, again.values[0]).is_empty() {
                return None;
            }
            append_read(&mut events, &again.part, again.values[0])?;
            Name::Duplicate
        }
        5 => {
            // Behind everything, so that the offset is nobody's.
            let shifted = index.pick(numbers)?.clone();
            let idempotent = index.producers[&shifted.client].0;
            let [value] = shifted.values[..] else { return None };
            let is_last = events.iter().skip(shifted.answered + 1).all(|event| {
                event.what != What::Send
                    || event.part.as_ref() != Some(&shifted.part)
                    || (event.when != When::Invoke && event.client != shifted.client)
            });
            if !idempotent || !is_last || index.spots(&shifted.part, value).is_empty() {
                return None;
            }
            events[shifted.answered].offsets = vec![100_000];
            Name::Duplicate
        }
        6 => {
            let refused = index.pick(numbers)?.clone();
            if index.spots(&refused.part, refused.values[0]).is_empty() {
                return None;
            }
            events[refused.answered].when = When::Fail;
            events[refused.answered].offsets.clear();
            Name::G1a
        }
        7 | 8 => {
            // Neighbours that will do are rare.
            (0..40).find_map(|_| swap_in_log(&mut events, &index, mutation == 8, numbers))?
        }
        9 | 10 => read_again(&mut events, &index, mutation == 10, numbers)?,
        11 => {
            let told = index.pick(numbers)?.clone();
            let look = |t: u64| {
                let mut event = Event::new(t, 0, When::Info, What::Isr).at(&told.part).of(&[1], &[]);
                event.version = Some(7);
                event
            };
            let (begun, ended) = (events[told.sent].t, events[told.answered].t);
            events.insert(told.answered + 1, look(ended));
            events.insert(told.sent, look(begun));
            events.insert(told.sent, look(begun));
            Name::AckedBelowMinIsr
        }
        12 => {
            let told = index.pick(numbers)?.clone();
            let t = events[told.answered].t;
            events[told.answered..].iter_mut().for_each(|event| event.t += 31_000_000_000);
            events.insert(told.answered, Event::new(t, 0, When::Info, What::Heal));
            Name::NoProgress
        }
        13 => {
            let at = numbers.below(events.len() as u64 + 1) as usize;
            let t = at.checked_sub(1).map_or(0, |before| events[before].t);
            let event = Event::new(t, 100, When::Fail, What::Poll).at(&history.parts[0]).error("bad-crc");
            events.insert(at, event);
            Name::BadCrc
        }
        14 => {
            let new = history.parts.iter().find(|part| part.contains('#'))?.clone();
            let old = index.acknowledged.iter().find(|told| &*told.part == "a-0")?;
            append_read(&mut events, &new, old.values[0])?;
            Name::StaleTopic
        }
        15 => {
            append_read(&mut events, &history.parts[0], 999)?;
            Name::NeverSent
        }
        other => panic!("no mutation {other}"),
    };
    Some((events, name))
}

/// The last reader finds one record more at the end.
fn append_read(events: &mut Vec<Event>, part: &Arc<str>, value: u64) -> Option<()> {
    let end = events
        .iter()
        .filter(|event| event.part.as_ref() == Some(part))
        .filter_map(|event| event.end)
        .max()?;
    let position = last_position(events, part)?;
    let t = events.last()?.t + STEP_NS;
    let mut event = Event::new(t, 200, When::Ok, What::Poll).at(part).of(&[value], &[position.max(end)]);
    event.end = Some(position.max(end) + 1);
    events.push(event);
    Some(())
}

fn last_position(events: &[Event], part: &Arc<str>) -> Option<u64> {
    let polls = events.iter().rev().filter(|event| event.client == 200 && event.what == What::Poll);
    let mut offsets =
        polls.filter(|event| event.part.as_ref() == Some(part)).filter_map(|event| event.offsets.last());
    Some(offsets.next().map_or(0, |last| last + 1))
}

fn drop_everywhere(events: &mut [Event], index: &Index, numbers: &mut Numbers) -> Option<Name> {
    let told = index.pick(numbers)?;
    let step = numbers.below(told.values.len() as u64);
    let (value, offset) = (told.values[step as usize], told.base + step);
    if index.spots(&told.part, value).len() < 2 {
        return None;
    }
    // Without idempotence it may lie at several offsets.
    let mut offsets: Vec<u64> = Vec::new();
    for event in
        events.iter_mut().filter(|event| event.what == What::Poll && event.part.as_ref() == Some(&told.part))
    {
        while let Some(at) = event.values.iter().position(|found| *found == value) {
            event.values.remove(at);
            offsets.push(event.offsets.remove(at));
        }
    }
    let in_part =
        || events.iter().filter(|event| event.what == What::Poll && event.part.as_ref() == Some(&told.part));
    let read_end = in_part().filter_map(|event| event.offsets.last()).max().map_or(0, |last| last + 1);
    if offset < read_end {
        return Some(Name::LostWrite);
    }
    let part = told.part.clone();
    for event in events.iter_mut().filter(|event| event.part.as_ref() == Some(&part)) {
        event.end = event.end.map(|end| end.min(read_end));
    }
    Some(Name::Unseen)
}

/// The next poll of the same reader and partition that has records, unless it was sent elsewhere before.
fn next_poll(events: &[Event], from: usize) -> Option<usize> {
    let (client, part) = (events[from].client, events[from].part.clone());
    let mut later = events.iter().enumerate().skip(from + 1);
    let (number, event) = later.find(|(_, event)| {
        event.client == client
            && event.part == part
            && (event.what == What::Assign || (event.what == What::Poll && !event.values.is_empty()))
    })?;
    (event.what == What::Poll).then_some(number)
}

fn drop_once(events: &mut [Event], index: &Index, numbers: &mut Numbers) -> Option<Name> {
    let told = index.pick(numbers)?;
    let spots = index.spots(&told.part, told.values[0]);
    let spot = *spots.get(numbers.below(spots.len().max(1) as u64) as usize)?;
    let offset = events[spot.event].offsets[spot.at];
    let read_by_others =
        spots.iter().filter(|other| events[other.event].offsets[other.at] == offset).count() > 1;
    let last = spot.at + 1 == events[spot.event].values.len();
    let is_grouped = index.grouped.contains(&events[spot.event].client);
    if !read_by_others || is_grouped || (last && next_poll(events, spot.event).is_none()) {
        return None;
    }
    let within = spot.at > 0 && !last;
    events[spot.event].values.remove(spot.at);
    events[spot.event].offsets.remove(spot.at);
    Some(if within { Name::IntPollSkip } else { Name::PollSkip })
}

/// Values of a poll at each other's offsets, where the right ones are known already.
fn change_values(
    events: &mut [Event],
    index: &Index,
    shift: bool,
    closed: bool,
    numbers: &mut Numbers,
) -> Option<Name> {
    let told = index.pick(numbers)?;
    let spots = index.spots(&told.part, told.values[0]);
    let spot = *spots.get(numbers.below(spots.len().max(1) as u64) as usize)?;
    let event = &events[spot.event];
    if event.values.len() < 2 || (closed && event.client != 200) {
        return None;
    }
    let all_known = event.values.iter().zip(&event.offsets).all(|(value, offset)| {
        index
            .spots(&told.part, *value)
            .iter()
            .any(|other| other.event < spot.event && events[other.event].offsets[other.at] == *offset)
    });
    if !all_known {
        return None;
    }
    let mut values = event.values.clone();
    if shift {
        values.rotate_left(1);
    } else {
        values.swap(0, 1);
    }
    if values == event.values {
        return None;
    }
    events[spot.event].values = values;
    Some(Name::InconsistentOffsets)
}

/// Two neighbours in the log change places, for everyone.
fn swap_in_log(events: &mut [Event], index: &Index, of_two: bool, numbers: &mut Numbers) -> Option<Name> {
    let first = index.pick(numbers)?;
    let at = numbers.below(first.values.len() as u64);
    let (value, offset) = (first.values[at as usize], first.base + at);
    let second = index.acknowledged.iter().find(|other| {
        other.part == first.part
            && (other.base..other.base + other.values.len() as u64).contains(&(offset + 1))
    })?;
    let other_value = second.values[(offset + 1 - second.base) as usize];
    let places = |value: u64| index.spots(&first.part, value).to_vec();
    let once = |value: u64| {
        let spots = places(value);
        !spots.is_empty()
            && spots.iter().all(|s| [offset, offset + 1].contains(&events[s.event].offsets[s.at]))
    };
    let sent = first.sent.max(second.sent);
    if [value, other_value].into_iter().any(|value| places(value).iter().any(|spot| spot.event < sent)) {
        return None; // a value would be read before it was sent
    }
    if !once(value) || !once(other_value) {
        return None;
    }
    let name = if of_two {
        if first.client == second.client || first.answered > second.sent {
            return None;
        }
        Name::Realtime
    } else if first.sent == second.sent {
        Name::IntNonmonotonicSend
    } else if first.client == second.client && index.producers[&first.client].0 {
        Name::NonmonotonicSend
    } else {
        return None;
    };
    let (first, second) = (first.clone(), second.clone());
    for told in [&first, &second] {
        let each: Vec<u64> = (told.base..told.base + told.values.len() as u64).collect();
        events[told.answered].offsets = each;
    }
    let of_first = (value - first.values[0]) as usize;
    let of_second = (other_value - second.values[0]) as usize;
    events[first.answered].offsets[of_first] = offset + 1;
    events[second.answered].offsets[of_second] = offset;
    for event in events.iter_mut().filter(|e| e.what == What::Poll && e.part.as_ref() == Some(&first.part)) {
        for at in 0..event.values.len() {
            match event.offsets[at] {
                found if found == offset => event.values[at] = other_value,
                found if found == offset + 1 => event.values[at] = value,
                _ => {}
            }
        }
    }
    Some(name)
}

fn read_again(events: &mut [Event], index: &Index, within: bool, numbers: &mut Numbers) -> Option<Name> {
    let told = index.pick(numbers)?;
    let spots = index.spots(&told.part, told.values[0]);
    let spot = *spots.get(numbers.below(spots.len().max(1) as u64) as usize)?;
    if within {
        let event = &mut events[spot.event];
        let (value, offset) = (event.values[spot.at], event.offsets[spot.at]);
        event.values.insert(spot.at, value);
        event.offsets.insert(spot.at, offset);
        return Some(Name::IntNonmonotonicPoll);
    }
    if index.grouped.contains(&events[spot.event].client) {
        return None;
    }
    let (value, offset) = {
        let event = &events[spot.event];
        (*event.values.last()?, *event.offsets.last()?)
    };
    let next = next_poll(events, spot.event)?;
    events[next].values.insert(0, value);
    events[next].offsets.insert(0, offset);
    Some(Name::NonmonotonicPoll)
}
