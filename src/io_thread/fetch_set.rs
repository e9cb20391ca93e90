//! A fetch set on the side of its owner: which partitions are read, which of them have news, and the fetch that waits.
//!
//! In: what the client changes, and news of partitions. Out: which entries to look at. A set never walks all its
//! partitions: an append flags the entries that watch it, and a fetch looks at flagged entries only.

use std::collections::VecDeque;

use crate::api::command::{Fetch, FetchUpdate, FetchedPart, ReplyTo};
use crate::clock::Instant;
use crate::ids::{BrokerId, Offset};

/// One partition of the set.
#[derive(Clone, Debug)]
pub struct Entry {
    pub slot: u32,
    pub offset: Offset,
    pub max_bytes: i32,
    /// What the client believes the leader epoch to be; -1 when it does not say.
    pub leader_epoch: i32,
    /// The epoch of the last record that the reader has; -1 when it does not say.
    pub last_fetched_epoch: i32,
    /// What the client was last told; -1 when nothing yet.
    pub told_high_watermark: Offset,
    pub told_log_start: Offset,
    /// What it has is being looked up; nothing can be said of it until that is in memory.
    pub looking_up: bool,
    /// How often in a row something was missing.
    pub lookups: u8,
    /// In `ready`.
    flagged: bool,
    pub live: bool,
}

/// A fetch that has not been answered.
#[derive(Clone, Copy, Debug)]
pub struct Waiting {
    pub reply_to: ReplyTo,
    pub deadline: Instant,
    pub min_bytes: u64,
    pub max_bytes: u64,
    pub full: bool,
    pub alone: bool,
    pub read_committed: bool,
    pub at_least_one: bool,
    /// Tells this wait from an earlier one of the same set.
    pub number: u64,
    /// What the network loop was last told to be available, when it joins several owners.
    pub told_bytes: u64,
}

/// An answer whose cold ranges are being read.
#[derive(Debug)]
pub struct Reading {
    pub reply_to: ReplyTo,
    pub parts: Vec<FetchedPart>,
    pub left: usize,
}

/// Slots, each with the number of the entry that reads there.
pub type Places = Vec<(u32, u32)>;

/// Partitions read together by one client.
#[derive(Debug, Default)]
pub struct FetchSet {
    pub session: bool,
    /// The follower that reads by it.
    pub replica: Option<BrokerId>,
    /// When it last asked.
    pub asked_at: Instant,
    entries: Vec<Entry>,
    ready: VecDeque<u32>,
    pub waiting: Option<Waiting>,
    pub reading: Option<Reading>,
    /// Entries whose look-up is under way.
    pub looking_up: usize,
    /// Queued to be looked at, this turn.
    pub woken: bool,
}

impl FetchSet {
    /// Takes the changes of a fetch. Returns entries that are new here (to be watched) and those that ended.
    pub fn apply(&mut self, fetch: &Fetch) -> (Places, Places) {
        let mut watch = Vec::new();
        let mut unwatch = Vec::new();
        for number in &fetch.removed {
            if let Some(entry) = self.entries.get_mut(*number as usize)
                && std::mem::take(&mut entry.live)
            {
                unwatch.push((entry.slot, *number));
            }
        }
        for update in &fetch.updates {
            self.update(update, &mut watch, &mut unwatch);
        }
        (watch, unwatch)
    }

    fn update(&mut self, update: &FetchUpdate, watch: &mut Places, unwatch: &mut Places) {
        let number = update.entry as usize;
        while self.entries.len() <= number {
            self.entries.push(Entry {
                slot: 0,
                offset: Offset(0),
                max_bytes: 0,
                leader_epoch: -1,
                last_fetched_epoch: -1,
                told_high_watermark: Offset(-1),
                told_log_start: Offset(-1),
                looking_up: false,
                lookups: 0,
                flagged: false,
                live: false,
            });
        }
        let entry = &mut self.entries[number];
        if entry.live && entry.slot != update.slot {
            unwatch.push((entry.slot, update.entry));
            entry.live = false;
        }
        if !entry.live {
            watch.push((update.slot, update.entry));
            entry.told_high_watermark = Offset(-1);
            entry.told_log_start = Offset(-1);
        }
        entry.live = true;
        entry.slot = update.slot;
        entry.offset = update.offset;
        entry.max_bytes = update.max_bytes;
        entry.leader_epoch = update.leader_epoch;
        entry.last_fetched_epoch = update.last_fetched_epoch;
        self.flag(update.entry);
    }

    /// This entry may have something to say. True when it was not flagged before.
    pub fn flag(&mut self, number: u32) -> bool {
        let Some(entry) = self.entries.get_mut(number as usize) else { return false };
        if !entry.live || std::mem::replace(&mut entry.flagged, true) {
            return false;
        }
        self.ready.push_back(number);
        true
    }

    pub fn entry_mut(&mut self, number: u32) -> &mut Entry {
        &mut self.entries[number as usize]
    }

    /// Takes the next flagged entry; the caller flags it again when it has to be looked at another time.
    pub fn next_flagged(&mut self) -> Option<u32> {
        while let Some(number) = self.ready.pop_front() {
            let entry = &mut self.entries[number as usize];
            entry.flagged = false;
            if entry.live {
                return Some(number);
            }
        }
        None
    }

    /// Number of flagged entries, ended ones included.
    pub fn flagged(&self) -> usize {
        self.ready.len()
    }

    /// The look-up of an entry has begun: it is left out until `looked_up`.
    pub fn look_up(&mut self, number: u32) {
        let entry = &mut self.entries[number as usize];
        entry.lookups = entry.lookups.saturating_add(1);
        if !std::mem::replace(&mut entry.looking_up, true) {
            self.looking_up += 1;
        }
    }

    /// What the look-up of an entry wanted is in memory, or cannot be read. The entry may have changed meanwhile.
    pub fn looked_up(&mut self, number: u32) {
        if let Some(entry) = self.entries.get_mut(number as usize)
            && std::mem::take(&mut entry.looking_up)
        {
            self.looking_up -= 1;
            self.flag(number);
        }
    }

    /// Every live entry, with its slot.
    pub fn live(&self) -> impl Iterator<Item = (u32, u32)> {
        self.entries
            .iter()
            .enumerate()
            .filter(|(_, entry)| entry.live)
            .map(|(n, entry)| (n as u32, entry.slot))
    }

    /// The entry was answered without records: what its client knows now.
    pub fn told(&mut self, number: u32, high_watermark: Offset, log_start: Offset) {
        let entry = &mut self.entries[number as usize];
        entry.told_high_watermark = high_watermark;
        entry.told_log_start = log_start;
    }
}
