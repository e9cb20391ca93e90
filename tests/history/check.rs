//! The checker: one pass over a history, event by event.
//!
//! In: events as they were recorded. Out: a verdict. Linear in the history. What it holds are sets of intervals, which are
//! as large as their gaps, and what is open: operations without an answer, records acknowledged and not yet read, records
//! that a reader has not passed. What all readers have passed is folded into one sum for each block of offsets; a reader
//! that begins again is held against the sums. What such a reader reads of a block it does not read whole is only held
//! against the set of known values: places that changed within that block are not seen.
//!
//! How the names are told apart, so that one mistake has one name:
//! * an offset that is known with one value and shows another is `inconsistent-offsets`; a value that is known at one
//!   offset and comes at another, unknown one is `duplicate`; nothing else is said of such a record;
//! * a reader's gap is a skip only if someone read a record in it; a record that nobody read is a lost write;
//! * `realtime` is between clients; the same between the sends of one client is `nonmonotonic-send`.

use super::anomaly::{CASES_MAX, Case, Name, Verdict};
use super::event::{Event, What, When};
use super::intervals::Intervals;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

#[derive(Clone, Debug)]
pub struct Rules {
    /// Counted, and no error.
    pub allowed: BTreeSet<Name>,
    /// `min.insync.replicas`, for `acked-below-min-isr`.
    pub in_sync_min: usize,
    /// Without progress for so long after healing is `no-progress`.
    pub patience_ns: u64,
    /// Offsets in a block whose particulars are given up together.
    pub block: u64,
}

impl Default for Rules {
    fn default() -> Self {
        Rules { allowed: BTreeSet::new(), in_sync_min: 1, patience_ns: 30_000_000_000, block: 1024 }
    }
}

/// What a client's acknowledgements promise.
#[derive(Clone, Copy)]
struct Producer {
    idempotent: bool,
    weak: bool,
}

/// Who sends the values of an interval.
struct Owner {
    end: u64,
    part: usize,
    client: u32,
}

/// A send, until it is settled and all of it was read.
struct Operation {
    count: u64,
    client: u32,
    producer: Producer,
    line: u64,
    begun: u64,
    settled: bool,
    read: u64,
    /// Offsets that were acknowledged before it began: to any other client, and to the same one.
    floor_others: Option<u64>,
    floor_own: Option<u64>,
}

/// The largest offset acknowledged so far, and the largest one of another client than that one's.
#[derive(Clone, Copy, Default)]
struct Floor {
    best: Option<(u64, u32)>,
    of_another: Option<u64>,
}

impl Floor {
    fn rise(&mut self, offset: u64, client: u32) {
        match self.best {
            Some((best, holder)) if holder == client => self.best = Some((best.max(offset), client)),
            Some((best, _)) if best >= offset => {
                self.of_another = self.of_another.max(Some(offset));
            }
            Some((best, _)) => {
                self.of_another = Some(best);
                self.best = Some((offset, client));
            }
            None => self.best = Some((offset, client)),
        }
    }

    fn of_others(&self, client: u32) -> Option<u64> {
        match self.best {
            Some((_, holder)) if holder == client => self.of_another,
            Some((best, _)) => Some(best),
            None => None,
        }
    }
}

#[derive(Clone, Copy)]
struct Run {
    value: u64,
    count: u64,
}

/// Which value is at which offset, as runs in which both rise by one.
#[derive(Default)]
struct Places(BTreeMap<u64, Run>);

impl Places {
    fn get(&self, offset: u64) -> Option<u64> {
        let (start, run) = self.0.range(..=offset).next_back()?;
        (offset - start < run.count).then(|| run.value + (offset - start))
    }

    fn put(&mut self, offset: u64, value: u64) {
        if let Some((start, run)) = self.0.range_mut(..=offset).next_back()
            && start + run.count == offset
            && run.value + run.count == value
        {
            run.count += 1;
            return;
        }
        self.0.insert(offset, Run { value, count: 1 });
    }

    /// Gives up everything below `end`, one record after the other.
    fn take_below(&mut self, end: u64, mut taken: impl FnMut(u64, u64)) {
        while let Some((&start, &run)) = self.0.first_key_value() {
            if start >= end {
                break;
            }
            self.0.remove(&start);
            let count = run.count.min(end - start);
            (0..count).for_each(|step| taken(start + step, run.value + step));
            if count < run.count {
                self.0.insert(end, Run { value: run.value + count, count: run.count - count });
            }
        }
    }
}

/// What is left of a block of offsets that all readers have passed.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Sum {
    records: u64,
    digest: u64,
}

impl Sum {
    fn add(&mut self, offset: u64, value: u64) {
        // splitmix64 of the pair; the sum does not depend on the order.
        let mut mixed =
            offset.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ value.wrapping_add(0x632b_e59b_d9b4_e019);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        self.digest = self.digest.wrapping_add(mixed ^ (mixed >> 31));
        self.records += 1;
    }
}

/// A hole that a reader passed over.
struct Gap {
    end: u64,
    within: bool,
}

/// A reader of one partition.
#[derive(Default)]
struct Reader {
    /// The offset that comes next.
    position: Option<u64>,
    /// The last record of each idempotent producer.
    last: HashMap<u32, (u64, u64)>,
    /// The block that is read again: its number, whether from its first offset on, and the sum so far.
    block: Option<(u64, bool, Sum)>,
}

#[derive(Default)]
struct Partition {
    name: Arc<str>,
    /// The name without the mark of an incarnation.
    plain: String,
    operations: BTreeMap<u64, Operation>,
    /// Sends of several values, first value and count, and of how many the places are held.
    batches: BTreeMap<u64, (u64, u64)>,
    open: u64,
    offsets_known: Intervals,
    values_known: Intervals,
    offsets_read: Intervals,
    values_read: Intervals,
    values_failed: Intervals,
    places: Places,
    closed: Vec<Sum>,
    read_end: u64,
    /// Acknowledged and not yet read, by offset.
    unread: BTreeMap<u64, u64>,
    unread_weak: BTreeSet<u64>,
    /// Acknowledged as duplicates that were there already: the broker named no offset.
    unread_unplaced: BTreeSet<u64>,
    /// Read before they were acknowledged.
    early: BTreeMap<u64, u64>,
    gaps: BTreeMap<u64, Gap>,
    gap_end_max: u64,
    floor: Floor,
    floor_own: HashMap<u32, u64>,
    /// The last acknowledged record of each idempotent producer by value.
    frontier: HashMap<u32, (u64, u64)>,
    /// Sent values behind which a record of the same producer was seen: said once.
    disordered: HashSet<u64>,
    in_conflict: BTreeSet<(u64, u64)>,
    below_min: Option<BelowMin>,
    drained: bool,
    gone: bool,
    waiting_since: Option<u64>,
    unreadable_since: Option<u64>,
    stuck: bool,
    observed: u64,
}

/// The in-sync set is smaller than the minimum.
struct BelowMin {
    version: Option<i32>,
    /// When it had been seen twice.
    since: Option<u64>,
    suspects: Vec<(u64, Option<u64>, u64)>,
}

enum Observed {
    Consistent,
    /// Something was said of it.
    Odd,
}

pub struct Checker {
    rules: Rules,
    parts: Vec<Partition>,
    names: HashMap<Arc<str>, usize>,
    producers: HashMap<u32, Producer>,
    owners: BTreeMap<u64, Owner>,
    readers: HashMap<(u32, usize), Reader>,
    /// Clients whose partitions are given to them by a group.
    subscribed: HashSet<u32>,
    healed_at: Option<u64>,
    now: u64,
    verdict: Verdict,
}

impl Checker {
    pub fn new(rules: Rules) -> Checker {
        assert!(rules.block > 0, "a block holds offsets");
        let verdict = Verdict { allowed: rules.allowed.clone(), ..Default::default() };
        Checker {
            rules,
            parts: Vec::new(),
            names: HashMap::new(),
            producers: HashMap::new(),
            owners: BTreeMap::new(),
            readers: HashMap::new(),
            subscribed: HashSet::new(),
            healed_at: None,
            now: 0,
            verdict,
        }
    }

    /// The next event. An error is a mistake of whoever wrote the history, not an anomaly.
    pub fn take(&mut self, event: &Event) -> Result<(), String> {
        self.verdict.events += 1;
        self.now = event.t;
        match event.what {
            What::Producer => {
                let weak = event.weak.unwrap_or(false);
                let producer = Producer { idempotent: event.idempotent.unwrap_or(true), weak };
                self.producers.insert(event.client, producer);
            }
            What::Fault => self.healed_at = None,
            What::Heal => {
                self.healed_at = Some(event.t);
                self.parts.iter_mut().for_each(|part| part.stuck = false);
            }
            What::Stop => {
                // Nothing is sent from here on; what is open may still be answered.
                self.look_for_progress_everywhere();
                for part in &mut self.parts {
                    part.waiting_since = part.waiting_since.filter(|_| part.open > 0);
                }
            }
            What::Send => {
                let part = self.part(event)?;
                self.look_for_progress(part);
                match event.when {
                    When::Invoke => self.on_send(part, event)?,
                    When::Ok => self.on_acknowledged(part, event)?,
                    When::Fail => self.on_failed(part, event)?,
                    When::Info => self.on_unknown(part, event)?,
                }
                self.look_for_progress(part);
            }
            What::Assign => {
                let part = self.part(event)?;
                self.leave_block(event.client, part);
                let position = event.offsets.first().copied();
                let reader = self.readers.entry((event.client, part)).or_default();
                *reader = Reader { position, ..Default::default() };
            }
            What::Subscribe => {
                self.subscribed.insert(event.client);
            }
            What::Poll => {
                let part = self.part(event)?;
                match event.when {
                    When::Invoke => {}
                    When::Ok => self.on_polled(part, event)?,
                    When::Fail | When::Info => self.on_poll_failed(part, event),
                }
                self.look_for_progress(part);
            }
            What::Gone => {
                let part = self.part(event)?;
                self.parts[part].gone = true;
            }
            What::Isr => {
                let part = self.part(event)?;
                self.on_in_sync_set(part, event);
            }
        }
        if self.verdict.events.is_multiple_of(1024) {
            self.verdict.held_max = self.verdict.held_max.max(self.held());
        }
        Ok(())
    }

    pub fn finish(mut self) -> Verdict {
        self.look_for_progress_everywhere();
        let readers: Vec<(u32, usize)> = self.readers.keys().copied().collect();
        for (client, part) in readers {
            self.leave_block(client, part);
        }
        for index in 0..self.parts.len() {
            let part = &mut self.parts[index];
            let unread: Vec<(Option<u64>, u64)> = std::mem::take(&mut part.unread)
                .into_iter()
                .map(|(offset, value)| (Some(offset), value))
                .chain(std::mem::take(&mut part.unread_unplaced).into_iter().map(|value| (None, value)))
                .filter(|(_, value)| !part.values_read.contains(*value))
                // Where another value was seen at its offset, that has been said.
                .filter(|(offset, _)| offset.is_none_or(|offset| !part.has_conflict_at(offset)))
                .collect();
            self.verdict.weak_lost += part.unread_weak.len() as u64;
            self.verdict.unknown +=
                part.operations.values().filter(|o| !o.settled).map(|o| o.count).sum::<u64>();
            let (read_end, drained, gone) = (part.read_end, part.drained, part.gone);
            for (offset, value) in unread {
                if offset.is_some_and(|offset| offset < read_end) {
                    self.found(
                        Name::LostWrite,
                        index,
                        offset,
                        value,
                        "acknowledged, read past, and never read",
                    );
                } else if gone {
                    // Read or not, it was deleted.
                } else if drained {
                    self.found(Name::Unseen, index, offset, value, "acknowledged, and not there at the end");
                } else {
                    self.verdict.unproven += 1;
                }
            }
        }
        self.verdict.held_max = self.verdict.held_max.max(self.held());
        self.verdict
    }

    /// Intervals, runs and open things in memory.
    fn held(&self) -> usize {
        let of_parts: usize = self.parts.iter().map(Partition::held).sum();
        of_parts + self.owners.len()
    }

    // ---- sends --------------------------------------------------------------------------------

    fn on_send(&mut self, part: usize, event: &Event) -> Result<(), String> {
        let (&first, &last) =
            event.values.first().zip(event.values.last()).ok_or("a send without a value")?;
        if last - first + 1 != event.values.len() as u64 {
            return Err("the values of one send are not consecutive".into());
        }
        self.own(part, event.client, first..last + 1)?;
        let producer =
            *self.producers.entry(event.client).or_insert(Producer { idempotent: true, weak: false });
        let at = &mut self.parts[part];
        let operation = Operation {
            count: event.values.len() as u64,
            client: event.client,
            producer,
            line: self.verdict.events,
            begun: event.t,
            settled: false,
            read: 0,
            floor_others: at.floor.of_others(event.client),
            floor_own: at.floor_own.get(&event.client).copied(),
        };
        if operation.count > 1 {
            at.batches.insert(first, (operation.count, operation.count));
        }
        at.operations.insert(first, operation);
        at.open += 1;
        at.drained = false;
        at.waiting_since.get_or_insert(event.t);
        Ok(())
    }

    fn own(&mut self, part: usize, client: u32, values: Range<u64>) -> Result<(), String> {
        let before = self.owners.range(..values.end).next_back();
        if before.is_some_and(|(_, owner)| owner.end > values.start) {
            return Err(format!("value {} was sent before", values.start));
        }
        if let Some((_, owner)) = self.owners.range_mut(..values.start).next_back()
            && (owner.end, owner.part, owner.client) == (values.start, part, client)
        {
            owner.end = values.end;
            return Ok(());
        }
        self.owners.insert(values.start, Owner { end: values.end, part, client });
        Ok(())
    }

    /// The client and the partition a value was sent by and to.
    fn owner(&self, value: u64) -> Option<(u32, usize)> {
        let (_, owner) = self.owners.range(..=value).next_back()?;
        (value < owner.end).then_some((owner.client, owner.part))
    }

    fn settle(&mut self, part: usize, event: &Event) -> Result<(u64, u64), String> {
        let first = *event.values.first().ok_or("a send without a value")?;
        let at = &mut self.parts[part];
        let operation = at.operations.get_mut(&first).filter(|o| !o.settled && o.client == event.client);
        let operation = operation.ok_or_else(|| format!("no send of value {first} is open"))?;
        operation.settled = true;
        let count = operation.count;
        if operation.read == count {
            at.operations.remove(&first);
        }
        at.open -= 1;
        (first..first + count).for_each(|value| {
            at.early.remove(&value);
        });
        Ok((first, count))
    }

    fn on_acknowledged(&mut self, part: usize, event: &Event) -> Result<(), String> {
        let first = *event.values.first().ok_or("a send without a value")?;
        let operation = self.parts[part].operations.get(&first).ok_or("an answer to no send")?;
        let (producer, begun) = (operation.producer, operation.begun);
        let (floor_others, floor_own) = (operation.floor_others, operation.floor_own);
        let (first, count) = self.settle(part, event)?;
        self.verdict.acknowledged += count;
        let at = &mut self.parts[part];
        if let Some(since) = at.waiting_since {
            let gap = event.t - since;
            if gap > self.verdict.longest_gap.0 {
                self.verdict.longest_gap = (gap, at.name.to_string());
            }
            at.waiting_since = (at.open > 0).then_some(event.t);
        }
        if producer.weak {
            let unread = (first..first + count).filter(|value| !at.values_read.contains(*value));
            at.unread_weak.extend(unread.collect::<Vec<_>>());
            return Ok(());
        }
        if let Some(below) = &mut at.below_min
            && below.since.is_some_and(|since| begun >= since)
        {
            below.suspects.push((self.verdict.events, event.offsets.first().copied(), first));
        }
        if event.offsets.is_empty() {
            let unread = (first..first + count).filter(|value| !at.values_read.contains(*value));
            at.unread_unplaced.extend(unread.collect::<Vec<_>>());
            return Ok(());
        }
        let mut before: Option<u64> = None;
        for step in 0..count {
            let value = first + step;
            let offset = match event.offsets[..] {
                [base] => base + step,
                ref each => *each.get(step as usize).ok_or("fewer offsets than values")?,
            };
            let odd = matches!(self.observe(part, offset, value, event.client, producer), Observed::Odd);
            if !odd {
                if before.is_some_and(|before| offset <= before) {
                    self.disorder(Name::IntNonmonotonicSend, part, offset, value);
                } else {
                    self.check_floors(part, (offset, value), producer, floor_others, floor_own);
                    self.check_frontier(part, event.client, offset, value, producer);
                }
            }
            before = before.max(Some(offset));
            let at = &mut self.parts[part];
            if !odd && !at.values_read.contains(value) {
                at.unread.insert(offset, value);
            }
            at.floor.rise(offset, event.client);
            let own = at.floor_own.entry(event.client).or_insert(offset);
            *own = (*own).max(offset);
        }
        Ok(())
    }

    /// An offset below one that was acknowledged before the send began.
    fn check_floors(
        &mut self,
        part: usize,
        (offset, value): (u64, u64),
        producer: Producer,
        floor_others: Option<u64>,
        floor_own: Option<u64>,
    ) {
        if floor_own.is_some_and(|floor| offset <= floor) && !producer.idempotent {
            self.disorder(Name::NonmonotonicSend, part, offset, value);
        } else if floor_others.is_some_and(|floor| offset <= floor) {
            self.disorder(Name::Realtime, part, offset, value);
        }
    }

    /// An idempotent producer's records lie in the order in which they were sent.
    fn check_frontier(&mut self, part: usize, client: u32, offset: u64, value: u64, producer: Producer) {
        if !producer.idempotent {
            return;
        }
        let frontier = self.parts[part].frontier.entry(client).or_insert((offset, value));
        let (known_offset, known_value) = *frontier;
        if value > known_value {
            *frontier = (offset, value);
        }
        if (value > known_value && offset < known_offset) || (value < known_value && offset > known_offset) {
            self.disorder(Name::NonmonotonicSend, part, offset, value);
        }
    }

    fn disorder(&mut self, name: Name, part: usize, offset: u64, value: u64) {
        if self.parts[part].disordered.insert(value) {
            let why = match name {
                Name::Realtime => "its offset is below one that was acknowledged before its send began",
                Name::IntNonmonotonicSend => "out of order within its send",
                _ => "out of order with another send of its producer",
            };
            self.found(name, part, Some(offset), value, why);
        }
    }

    fn on_failed(&mut self, part: usize, event: &Event) -> Result<(), String> {
        let (first, count) = self.settle(part, event)?;
        self.verdict.failed += count;
        for value in first..first + count {
            let at = &mut self.parts[part];
            at.values_failed.insert(value);
            if at.values_read.contains(value) {
                self.found(Name::G1a, part, None, value, "read, and then refused for good");
            }
        }
        self.parts[part].operations.remove(&first);
        self.parts[part].batches.remove(&first);
        Ok(())
    }

    fn on_unknown(&mut self, part: usize, event: &Event) -> Result<(), String> {
        let (_, count) = self.settle(part, event)?;
        self.verdict.unknown += count;
        Ok(())
    }

    // ---- polls --------------------------------------------------------------------------------

    fn on_polled(&mut self, part: usize, event: &Event) -> Result<(), String> {
        self.parts[part].unreadable_since = None;
        if event.offsets.len() != event.values.len() {
            return Err("a poll has one offset for each value".into());
        }
        let by_group = self.subscribed.contains(&event.client);
        let mut between = true;
        for (&offset, &value) in event.offsets.iter().zip(&event.values) {
            let reader = self.readers.entry((event.client, part)).or_default();
            let position = reader.position.replace(offset + 1);
            match position {
                Some(next) if offset < next && !(between && by_group) => {
                    let name = if between { Name::NonmonotonicPoll } else { Name::IntNonmonotonicPoll };
                    self.found(name, part, Some(offset), value, &format!("{next} was to be read next"));
                }
                Some(next) if offset > next && !(between && by_group) => {
                    self.passed_over(part, next..offset, !between)
                }
                Some(_) | None => {}
            }
            let came_from = position.unwrap_or(offset);
            self.on_read(part, event.client, came_from, offset, value);
            between = false;
        }
        let position = self.readers.get(&(event.client, part)).and_then(|reader| reader.position);
        let at = &mut self.parts[part];
        if let Some(end) = event.end
            && at.open == 0
            && position.unwrap_or(0) >= end
        {
            at.drained = true;
        }
        Ok(())
    }

    fn passed_over(&mut self, part: usize, hole: Range<u64>, within: bool) {
        let at = &mut self.parts[part];
        if at.offsets_read.any_in(hole.clone()) {
            self.skipped(part, hole, within);
            return;
        }
        at.gap_end_max = at.gap_end_max.max(hole.end);
        let gap = at.gaps.entry(hole.start).or_insert(Gap { end: hole.end, within });
        gap.end = gap.end.max(hole.end);
    }

    fn skipped(&mut self, part: usize, hole: Range<u64>, within: bool) {
        let name = if within { Name::IntPollSkip } else { Name::PollSkip };
        let why = format!("a reader went from {} to {}, others read what is between", hole.start, hole.end);
        self.note(name, part, Some(hole.start), None, &why);
    }

    fn on_read(&mut self, part: usize, client: u32, came_from: u64, offset: u64, value: u64) {
        let owner = self.owner(value);
        let (sender, producer) = match owner {
            Some((sender, to)) if to == part => (sender, self.producers[&sender]),
            Some((_, to)) if self.parts[to].plain == self.parts[part].plain => {
                return self.found(
                    Name::StaleTopic,
                    part,
                    Some(offset),
                    value,
                    "sent to a topic that was deleted",
                );
            }
            Some((_, to)) => {
                let why = format!("it was sent to {}", self.parts[to].name);
                return self.found(Name::NeverSent, part, Some(offset), value, &why);
            }
            None => return self.found(Name::NeverSent, part, Some(offset), value, "nobody sent it"),
        };
        self.follow_block(client, part, came_from, offset);
        let is_closed = self.parts[part].is_closed(offset, self.rules.block);
        let seen = self.observe(part, offset, value, sender, producer);
        let block = offset / self.rules.block;
        let at = &mut self.parts[part];
        let newly_read_offset = at.offsets_read.insert(offset);
        at.read_end = at.read_end.max(offset + 1);
        if is_closed {
            if newly_read_offset {
                at.closed[block as usize].add(offset, value);
            }
            if let Some(Reader { block: Some((_, _, sum)), .. }) = self.readers.get_mut(&(client, part)) {
                sum.add(offset, value);
            }
        }
        let at = &mut self.parts[part];
        if newly_read_offset && offset < at.gap_end_max {
            let holes: Vec<u64> =
                at.gaps.range(..=offset).filter(|(_, gap)| offset < gap.end).map(|(s, _)| *s).collect();
            for start in holes {
                let gap = self.parts[part].gaps.remove(&start).expect("it was just found");
                self.skipped(part, start..gap.end, gap.within);
            }
        }
        let at = &mut self.parts[part];
        let first_time = at.values_read.insert(value);
        at.unread_weak.remove(&value);
        at.unread_unplaced.remove(&value);
        if at.unread.get(&offset) == Some(&value) {
            at.unread.remove(&offset);
        }
        let mut in_operation = None;
        if let Some((&first, operation)) = at.operations.range_mut(..=value).next_back()
            && value < first + operation.count
        {
            in_operation = Some((first, operation.floor_others, operation.floor_own, operation.settled));
        }
        if first_time {
            self.verdict.read += 1;
            if self.parts[part].values_failed.contains(value) {
                self.found(Name::G1a, part, Some(offset), value, "its send was refused for good");
            }
        }
        if matches!(seen, Observed::Consistent) {
            self.check_order(client, part, (offset, value), (sender, producer), is_closed);
            if let Some((_, others, own, _)) = in_operation.filter(|_| first_time && !producer.weak) {
                self.check_floors(part, (offset, value), producer, others, own);
            }
        }
        let at = &mut self.parts[part];
        if let Some((first, _, _, settled)) = in_operation.filter(|_| first_time) {
            let operation = at.operations.get_mut(&first).expect("it was just found");
            operation.read += 1;
            if settled && operation.read == operation.count {
                at.operations.remove(&first);
            } else if !settled {
                at.early.insert(value, offset);
            }
        }
        at.observed += 1;
        if at.observed.is_multiple_of(self.rules.block) {
            self.close(part);
        }
    }

    /// The order of one producer's records in the log, as this reader saw them.
    fn check_order(
        &mut self,
        client: u32,
        part: usize,
        (offset, value): (u64, u64),
        (sender, producer): (u32, Producer),
        is_closed: bool,
    ) {
        if !producer.idempotent {
            return;
        }
        let Some(reader) = self.readers.get_mut(&(client, part)) else { return };
        let (last_offset, last_value) = *reader.last.entry(sender).or_insert((offset, value));
        if offset <= last_offset {
            return;
        }
        if value > last_value {
            reader.last.insert(sender, (offset, value));
        } else if !is_closed {
            let batch = self.parts[part].batches.range(..=value).next_back();
            let within = batch.is_some_and(|(first, (count, _))| last_value < first + count);
            let name = if within { Name::IntNonmonotonicSend } else { Name::NonmonotonicSend };
            self.disorder(name, part, offset, value);
        }
    }

    fn on_poll_failed(&mut self, part: usize, event: &Event) {
        self.parts[part].unreadable_since.get_or_insert(event.t);
        if event.error.as_deref() == Some("bad-crc") {
            self.note(
                Name::BadCrc,
                part,
                event.offsets.first().copied(),
                None,
                "bytes with a wrong checksum were served",
            );
        }
    }

    // ---- places -------------------------------------------------------------------------------

    /// A value seen at an offset, by an acknowledgement or a reader.
    fn observe(
        &mut self,
        part: usize,
        offset: u64,
        value: u64,
        _sender: u32,
        producer: Producer,
    ) -> Observed {
        let closed = self.parts[part].is_closed(offset, self.rules.block);
        let at = &mut self.parts[part];
        let value_known = at.values_known.contains(value);
        let conflict = if closed && at.offsets_known.contains(offset) {
            // Which value it was is known only to the block's sum.
            !value_known
        } else {
            match at.places.get(offset).filter(|_| !closed) {
                Some(known) if known == value => return Observed::Consistent,
                Some(_) => true,
                None => false,
            }
        };
        if conflict {
            at.values_known.insert(value);
            if at.in_conflict.insert((offset, value)) {
                self.found(
                    Name::InconsistentOffsets,
                    part,
                    Some(offset),
                    value,
                    "another value was seen at this offset",
                );
            }
            return Observed::Odd;
        }
        let again = value_known && !at.offsets_known.contains(offset);
        at.values_known.insert(value);
        if at.offsets_known.insert(offset) && !closed {
            at.places.put(offset, value);
        }
        if !again {
            return Observed::Consistent;
        }
        if producer.idempotent {
            self.found(Name::Duplicate, part, Some(offset), value, "the value is at another offset already");
        } else {
            self.verdict.repeated += 1;
        }
        Observed::Odd
    }

    /// Gives up the particulars of blocks that nobody will be held against again.
    fn close(&mut self, part: usize) {
        let positions =
            self.readers.iter().filter(|((_, of), _)| *of == part).map(|(_, reader)| reader.position);
        let Some(position) = positions.map(|position| position.unwrap_or(0)).min() else { return };
        let at = &mut self.parts[part];
        let unread = at.unread.first_key_value().map_or(u64::MAX, |(offset, _)| *offset);
        let early = at.early.values().min().copied().unwrap_or(u64::MAX);
        let floor = position.min(unread).min(early) / self.rules.block;
        while (at.closed.len() as u64) < floor {
            let end = (at.closed.len() as u64 + 1) * self.rules.block;
            let mut sum = Sum::default();
            let batches = &mut at.batches;
            at.places.take_below(end, |offset, value| {
                sum.add(offset, value);
                if let Some((&first, (count, left))) = batches.range_mut(..=value).next_back()
                    && value < first + *count
                {
                    *left -= 1;
                    if *left == 0 {
                        batches.remove(&first);
                    }
                }
            });
            at.closed.push(sum);
        }
    }

    /// Begins and ends the sums of a reader that is in closed blocks.
    fn follow_block(&mut self, client: u32, part: usize, came_from: u64, offset: u64) {
        let block = offset / self.rules.block;
        let is_closed = self.parts[part].is_closed(offset, self.rules.block);
        let reader = self.readers.get_mut(&(client, part)).expect("a poll has made it");
        if reader.block.as_ref().is_some_and(|(number, _, _)| *number == block) {
            return;
        }
        let before = reader.block.take();
        if is_closed {
            reader.block = Some((block, came_from <= block * self.rules.block, Sum::default()));
        }
        if let Some((number, whole, sum)) = before
            && offset >= (number + 1) * self.rules.block
        {
            self.compare_block(part, number, whole, sum);
        }
    }

    /// A reader goes elsewhere: a block it has read whole is compared.
    fn leave_block(&mut self, client: u32, part: usize) {
        let block = self.rules.block;
        let Some(reader) = self.readers.get_mut(&(client, part)) else { return };
        let position = reader.position.unwrap_or(0);
        if let Some((number, whole, sum)) = reader.block.take()
            && position >= (number + 1) * block
        {
            self.compare_block(part, number, whole, sum);
        }
    }

    fn compare_block(&mut self, part: usize, number: u64, whole: bool, sum: Sum) {
        let known = self.parts[part].closed[number as usize];
        // Fewer records are a skip, which has been said.
        if whole && sum.records == known.records && sum.digest != known.digest {
            let why = format!(
                "of the {} offsets from here on some have other values than before",
                self.rules.block
            );
            self.note(Name::InconsistentOffsets, part, Some(number * self.rules.block), None, &why);
        }
    }

    // ---- the cluster --------------------------------------------------------------------------

    fn on_in_sync_set(&mut self, part: usize, event: &Event) {
        let below = event.values.len() < self.rules.in_sync_min;
        let at = &mut self.parts[part];
        let mut confirmed = Vec::new();
        match &mut at.below_min {
            Some(known) if below && known.version == event.version => {
                known.since.get_or_insert(event.t);
                confirmed = std::mem::take(&mut known.suspects);
            }
            state => {
                *state =
                    below.then(|| BelowMin { version: event.version, since: None, suspects: Vec::new() });
            }
        }
        for (line, offset, value) in confirmed {
            let why = format!(
                "acknowledged at line {line} while {} were in sync and {} must be",
                event.values.len(),
                self.rules.in_sync_min
            );
            self.found(Name::AckedBelowMinIsr, part, offset, value, &why);
        }
    }

    fn look_for_progress_everywhere(&mut self) {
        (0..self.parts.len()).for_each(|part| self.look_for_progress(part));
    }

    fn look_for_progress(&mut self, part: usize) {
        let Some(healed) = self.healed_at else { return };
        let at = &mut self.parts[part];
        if at.gone {
            return;
        }
        let waits = |since: Option<u64>| {
            since.is_some_and(|since| self.now.saturating_sub(since.max(healed)) > self.rules.patience_ns)
        };
        let (sends, polls) = (waits(at.waiting_since), waits(at.unreadable_since));
        if (sends || polls) && !std::mem::replace(&mut at.stuck, true) {
            let what = if sends { "acknowledged" } else { "readable" };
            let why =
                format!("nothing {what} for {} s after healing", self.rules.patience_ns / 1_000_000_000);
            self.note(Name::NoProgress, part, None, None, &why);
        }
    }

    // ---- words --------------------------------------------------------------------------------

    fn part(&mut self, event: &Event) -> Result<usize, String> {
        let name = event.part.as_ref().ok_or("no partition is named")?;
        if let Some(index) = self.names.get(name) {
            return Ok(*index);
        }
        let (topic, number) = name.rsplit_once('-').ok_or("a partition's name is topic-number")?;
        let topic = topic.split('#').next().unwrap_or(topic);
        let plain = format!("{topic}-{number}");
        self.parts.push(Partition { name: name.clone(), plain, ..Default::default() });
        self.names.insert(name.clone(), self.parts.len() - 1);
        Ok(self.parts.len() - 1)
    }

    fn found(&mut self, name: Name, part: usize, offset: Option<u64>, value: u64, why: &str) {
        self.note(name, part, offset, Some(value), why);
    }

    fn note(&mut self, name: Name, part: usize, offset: Option<u64>, value: Option<u64>, why: &str) {
        let count = self.verdict.counts.entry(name).or_default();
        *count += 1;
        if *count > CASES_MAX as u64 {
            return;
        }
        let at = &self.parts[part];
        let operation =
            value.and_then(|value| at.operations.range(..=value).next_back().map(|found| (value, found)));
        let sent_at =
            operation.filter(|(value, (first, o))| value - **first < o.count).map(|(_, (_, o))| o.line);
        let line = self.verdict.events;
        let case =
            Case { name, part: at.name.to_string(), offset, value, line, sent_at, why: why.to_string() };
        self.verdict.cases.push(case);
    }
}

impl Partition {
    fn has_conflict_at(&self, offset: u64) -> bool {
        self.in_conflict.range((offset, 0)..=(offset, u64::MAX)).next().is_some()
    }

    fn is_closed(&self, offset: u64, block: u64) -> bool {
        offset / block < self.closed.len() as u64
    }

    fn held(&self) -> usize {
        let sets = [
            &self.offsets_known,
            &self.values_known,
            &self.offsets_read,
            &self.values_read,
            &self.values_failed,
        ];
        sets.iter().map(|set| set.pieces()).sum::<usize>()
            + self.operations.len()
            + self.batches.len()
            + self.places.0.len()
            + self.unread.len()
            + self.unread_weak.len()
            + self.unread_unplaced.len()
            + self.early.len()
            + self.gaps.len()
            + self.closed.len()
    }
}
