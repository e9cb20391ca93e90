//! Fetch sets and sessions (KIP-227, contract 1.3): what a client reads together, kept on its network loop.
//!
//! In: the partitions a request names. Out: what changed, per owner. A session's partitions are listed once; later
//! requests and answers name only what moved, so a fetch costs what it returns and not what the session holds.

use std::sync::Arc;

use hashbrown::{Equivalent, HashMap};

use crate::api::command::{FetchSetId, FetchUpdate};
use crate::clock::Instant;
use crate::ids::{Home, Offset, ReactorId};
use crate::metadata::{Image, Topic};
use crate::wire::error_code::ErrorCode;
use crate::wire::message::fetch::{FetchRequest, FetchRequestPartition, TopicKey};
use crate::wire::primitive::Uuid;

/// A session that nobody used for this long makes room for a new one.
const UNUSED_MS_MAX: i64 = 120_000;

/// One partition of a set.
#[derive(Clone, Debug)]
pub struct Entry {
    pub topic: Arc<str>,
    pub topic_id: Uuid,
    pub partition: i32,
    /// `None` while the partition is not served here.
    home: Option<Home>,
    offset: Offset,
    max_bytes: i32,
    leader_epoch: i32,
    last_fetched_epoch: i32,
    log_start: Offset,
    live: bool,
}

impl Entry {
    /// Where its client reads.
    pub fn offset(&self) -> Offset {
        self.offset
    }
}

#[derive(PartialEq, Eq, Hash, Debug)]
struct NameKey(Arc<str>, i32);

#[derive(PartialEq, Eq, Hash)]
struct NameLookup<'a>(&'a str, i32);

impl Equivalent<NameKey> for NameLookup<'_> {
    fn equivalent(&self, key: &NameKey) -> bool {
        self.1 == key.1 && *self.0 == *key.0
    }
}

/// What one owner has to be told.
#[derive(Debug)]
pub struct Changes {
    pub owner: ReactorId,
    pub updates: Vec<FetchUpdate>,
    pub removed: Vec<u32>,
}

/// Partitions read together.
#[derive(Debug)]
pub struct FetchSet {
    pub id: FetchSetId,
    pub by_topic_id: bool,
    entries: Vec<Entry>,
    free: Vec<u32>,
    names: HashMap<NameKey, u32, foldhash::fast::RandomState>,
    ids: HashMap<(Uuid, i32), u32, foldhash::fast::RandomState>,
    /// Entries without a home and what each is answered with; looked up again with each request.
    unresolved: Vec<(u32, ErrorCode)>,
    owners: Vec<ReactorId>,
}

impl FetchSet {
    fn new(id: FetchSetId, by_topic_id: bool) -> FetchSet {
        FetchSet {
            id,
            by_topic_id,
            entries: Vec::new(),
            free: Vec::new(),
            names: HashMap::default(),
            ids: HashMap::default(),
            unresolved: Vec::new(),
            owners: Vec::new(),
        }
    }

    /// An entry by its number.
    pub fn entry(&self, number: u32) -> &Entry {
        &self.entries[number as usize]
    }

    /// Every owner that has been told of this set.
    pub fn owners(&self) -> &[ReactorId] {
        &self.owners
    }

    /// Entries whose partition is not served here, and the error each is answered with.
    pub fn unresolved(&self) -> impl Iterator<Item = (u32, ErrorCode)> {
        self.unresolved.iter().copied()
    }

    /// Where a partition is served, or the answer for it.
    fn resolve<'i>(
        &self,
        topic: TopicKey<'_>,
        partition: i32,
        image: &'i Image,
    ) -> (Option<&'i Arc<Topic>>, Result<Home, ErrorCode>) {
        let (known, unknown) = match self.by_topic_id {
            true => (image.topic_by_id(&topic.id), ErrorCode::UnknownTopicId),
            false => (image.topic(topic.name), ErrorCode::UnknownTopicOrPartition),
        };
        (known, known.ok_or(unknown).and_then(|topic| image.home(topic, partition)))
    }

    /// The owner of an entry says that the partition is gone: it is looked up again with the next request.
    pub fn lost(&mut self, number: u32) {
        let entry = &mut self.entries[number as usize];
        if entry.live && entry.home.take().is_some() {
            let error = match self.by_topic_id {
                true => ErrorCode::UnknownTopicId,
                false => ErrorCode::UnknownTopicOrPartition,
            };
            self.unresolved.push((number, error));
        }
    }

    /// Adds, changes and removes what the request names; what each owner has to be told.
    pub fn apply(&mut self, request: &FetchRequest<'_>, image: &Image) -> Vec<Changes> {
        let mut changes: Vec<Changes> = Vec::new();
        let retry = std::mem::take(&mut self.unresolved);
        for (topic, partition) in request.forgotten() {
            self.remove(topic, partition, &mut changes);
        }
        for (topic, partition) in request.partitions() {
            let number = self.put(topic, &partition, image);
            self.tell(number, &mut changes);
        }
        for (number, _) in retry {
            let entry = &self.entries[number as usize];
            let resolved = self.unresolved.iter().any(|(other, _)| *other == number);
            if !entry.live || entry.home.is_some() || resolved {
                continue;
            }
            let key = TopicKey { name: &entry.topic, id: entry.topic_id };
            match self.resolve(key, entry.partition, image).1 {
                Ok(home) => {
                    self.entries[number as usize].home = Some(home);
                    self.tell(number, &mut changes);
                }
                Err(error) => self.unresolved.push((number, error)),
            }
        }
        changes
    }

    fn number(&self, topic: TopicKey<'_>, partition: i32) -> Option<u32> {
        if self.by_topic_id {
            self.ids.get(&(topic.id, partition)).copied()
        } else {
            self.names.get(&NameLookup(topic.name, partition)).copied()
        }
    }

    /// Adds or changes one partition. A partition named twice in a request is one entry: it is answered once.
    fn put(&mut self, topic: TopicKey<'_>, wanted: &FetchRequestPartition, image: &Image) -> u32 {
        let TopicKey { name, id } = topic;
        if let Some(number) = self.number(topic, wanted.partition) {
            let entry = &mut self.entries[number as usize];
            entry.offset = Offset(wanted.fetch_offset);
            entry.max_bytes = wanted.partition_max_bytes;
            entry.leader_epoch = wanted.current_leader_epoch;
            entry.last_fetched_epoch = wanted.last_fetched_epoch;
            entry.log_start = Offset(wanted.log_start_offset);
            return number;
        }
        let (known, home) = self.resolve(topic, wanted.partition, image);
        let entry = Entry {
            topic: known.map_or_else(|| Arc::from(name), |topic| Arc::clone(&topic.name)),
            topic_id: known.map_or(id, |topic| topic.id),
            partition: wanted.partition,
            home: home.ok(),
            offset: Offset(wanted.fetch_offset),
            max_bytes: wanted.partition_max_bytes,
            leader_epoch: wanted.current_leader_epoch,
            last_fetched_epoch: wanted.last_fetched_epoch,
            log_start: Offset(wanted.log_start_offset),
            live: true,
        };
        let number = self.free.pop().unwrap_or(self.entries.len() as u32);
        if self.by_topic_id {
            self.ids.insert((id, entry.partition), number);
        } else {
            self.names.insert(NameKey(Arc::clone(&entry.topic), entry.partition), number);
        }
        if let Err(error) = home {
            self.unresolved.push((number, error));
        }
        match self.entries.get_mut(number as usize) {
            Some(place) => *place = entry,
            None => self.entries.push(entry),
        }
        number
    }

    fn remove(&mut self, topic: TopicKey<'_>, partition: i32, changes: &mut Vec<Changes>) {
        let removed = if self.by_topic_id {
            self.ids.remove(&(topic.id, partition))
        } else {
            self.names.remove(&NameLookup(topic.name, partition))
        };
        let Some(number) = removed else { return };
        let entry = &mut self.entries[number as usize];
        entry.live = false;
        self.free.push(number);
        if let Some(home) = entry.home.take() {
            self.changes_of(home.reactor, changes).removed.push(number);
        }
    }

    fn tell(&mut self, number: u32, changes: &mut Vec<Changes>) {
        let entry = &self.entries[number as usize];
        let Some(home) = entry.home else { return };
        let update = FetchUpdate {
            entry: number,
            slot: home.slot,
            offset: entry.offset,
            max_bytes: entry.max_bytes,
            leader_epoch: entry.leader_epoch,
            last_fetched_epoch: entry.last_fetched_epoch,
            log_start: entry.log_start,
        };
        let updates = &mut self.changes_of(home.reactor, changes).updates;
        // Named twice in one request: the last one counts, as in Kafka.
        match updates.iter_mut().rev().take(4).find(|earlier| earlier.entry == number) {
            Some(earlier) => *earlier = update,
            None => updates.push(update),
        }
    }

    fn changes_of<'c>(&mut self, owner: ReactorId, changes: &'c mut Vec<Changes>) -> &'c mut Changes {
        if !self.owners.contains(&owner) {
            self.owners.push(owner);
        }
        let at = match changes.iter().position(|change| change.owner == owner) {
            Some(at) => at,
            None => {
                changes.push(Changes { owner, updates: Vec::new(), removed: Vec::new() });
                changes.len() - 1
            }
        };
        &mut changes[at]
    }
}

/// A session: a set that lives on between requests.
#[derive(Debug)]
pub struct Session {
    pub set: FetchSet,
    /// The epoch the next request must carry.
    epoch: i32,
    last_used: Instant,
}

/// The sessions of one network loop.
#[derive(Debug)]
pub struct Sessions {
    reactor: ReactorId,
    slots_max: usize,
    next_set: u32,
    by_id: HashMap<i32, Session, foldhash::fast::RandomState>,
}

/// How a fetch request stands to the sessions.
#[derive(Debug)]
pub enum Opened {
    /// No session, or none to be had: a set for this request alone.
    Alone(FetchSet),
    /// A new session was made for it.
    New(i32),
    /// The request goes on with this session.
    Known(i32),
}

impl Sessions {
    pub fn new(reactor: ReactorId, slots_max: usize) -> Sessions {
        Sessions { reactor, slots_max, next_set: 0, by_id: HashMap::default() }
    }

    /// Finds or makes what the request reads by. `closed` takes sets whose sessions ended, for their owners to forget.
    pub fn open(
        &mut self,
        version: i16,
        request: &FetchRequest<'_>,
        now: Instant,
        random: u64,
        closed: &mut Vec<FetchSet>,
    ) -> Result<Opened, ErrorCode> {
        let by_topic_id = version >= 13;
        let (id, epoch) = (request.session_id, request.session_epoch);
        if version < 7 || epoch == -1 || epoch == 0 {
            if id != 0 {
                closed.extend(self.by_id.remove(&id).map(|session| session.set));
            }
            let set = FetchSet::new(self.number(), by_topic_id);
            if version < 7 || epoch == -1 || !self.make_room(now, closed) {
                return Ok(Opened::Alone(set));
            }
            let mut id = (random & 0x7fff_ffff) as i32;
            while id == 0 || self.by_id.contains_key(&id) {
                id = (id.wrapping_add(1)) & 0x7fff_ffff;
            }
            self.by_id.insert(id, Session { set, epoch: 1, last_used: now });
            return Ok(Opened::New(id));
        }
        let Some(session) = self.by_id.get_mut(&id) else { return Err(ErrorCode::FetchSessionIdNotFound) };
        if session.epoch != epoch {
            return Err(ErrorCode::InvalidFetchSessionEpoch);
        }
        if session.set.by_topic_id != by_topic_id {
            return Err(ErrorCode::FetchSessionTopicIdError);
        }
        session.epoch = if epoch == i32::MAX { 1 } else { epoch + 1 };
        session.last_used = now;
        Ok(Opened::Known(id))
    }

    pub fn get_mut(&mut self, id: i32) -> Option<&mut Session> {
        self.by_id.get_mut(&id)
    }

    fn number(&mut self) -> FetchSetId {
        self.next_set = self.next_set.wrapping_add(1);
        FetchSetId { reactor: self.reactor, number: self.next_set }
    }

    /// True when there is room for one more, after letting go of the longest unused one if that is long enough.
    fn make_room(&mut self, now: Instant, closed: &mut Vec<FetchSet>) -> bool {
        if self.by_id.len() < self.slots_max {
            return true;
        }
        let oldest =
            self.by_id.iter().min_by_key(|(_, session)| session.last_used).map(|(id, s)| (*id, s.last_used));
        match oldest {
            Some((id, last_used)) if last_used.after_ms(UNUSED_MS_MAX) <= now => {
                closed.extend(self.by_id.remove(&id).map(|session| session.set));
                true
            }
            Some(_) | None => false,
        }
    }
}
