//! Following: what a follower asks its leader, and what it does with the answers (contract 5.7).
//!
//! In: replicas that follow, whole answers of their leaders. Out: logs that are what the leader has, up to its high watermark for
//! whoever reads here. Records go from the receive buffer to the file as they came. An answer to what a replica no longer asks,
//! because it has a new leader or was cut meanwhile, is not taken.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::clock::Instant;
use crate::config::Durability;
use crate::ids::{BrokerId, LeaderEpoch, Offset};
use crate::io_thread::fetcher::{About, Answer, Following, Stage, TopicPlace};
use crate::io_thread::partition::Partition;
use crate::io_thread::{IoLoop, partition_mut};
use crate::log::{self, FlushScope, FollowError};
use crate::reactor::Engine;
use crate::replication::{LeaderSays, next_cut};
use crate::wire::error_code::ErrorCode;
use crate::wire::header::ResponseHeader;
use crate::wire::message::Message;
use crate::wire::message::fetch::{
    FetchRequest, FetchRequestForgottenTopicsData, FetchRequestPartition, FetchRequestReplicaState,
    FetchRequestTopic, FetchResponse, FetchResponsePartition,
};
use crate::wire::message::list_offsets::{
    ListOffsetsRequest, ListOffsetsRequestPartition, ListOffsetsRequestTopic, ListOffsetsResponse,
};
use crate::wire::message::offset_for_leader_epoch::{
    OffsetForLeaderEpochRequest, OffsetForLeaderEpochRequestTopic, OffsetForLeaderEpochRequestTopicPartition,
    OffsetForLeaderEpochResponse,
};
use crate::wire::primitive::{DecodeError, Reader, Uuid};
use crate::wire::version::ApiKey;

/// From this version on topics are named by their ids.
const IDS_VERSION: i16 = 13;
/// From this version on the replica's id has a place of its own.
const REPLICA_STATE_VERSION: i16 = 15;
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;

impl IoLoop {
    /// A replica follows a leader in its term.
    pub(super) fn follow(
        &mut self,
        slot: u32,
        epoch: LeaderEpoch,
        leader: BrokerId,
        engine: &mut dyn Engine,
    ) {
        let Some(partition) = partition_mut(&mut self.partitions, slot) else { return };
        let terms = &self.fetchers.terms;
        let has_epochs = partition.log.epochs().latest().is_some();
        let stage = match () {
            () if terms.truncates_by_fetch && has_epochs => Stage::Fetching,
            () if terms.knows_epochs && !terms.truncates_by_fetch && has_epochs => Stage::Epochs,
            // Nothing tells which leader wrote what: only what is known to be committed is kept.
            () => {
                let upto = partition.log.high_watermark();
                self.cut(slot, upto, engine);
                Stage::Fetching
            }
        };
        self.fetchers.join(slot, leader, epoch, stage, engine.now());
    }

    /// Asks whatever is to be asked next.
    pub(super) fn fetch_on(&mut self, now: Instant, engine: &mut dyn Engine) {
        for leader in self.fetchers.begin_turn(now, engine) {
            if !self.ask_for_epochs(leader, now, engine) && !self.ask_for_offsets(leader, now, engine) {
                self.ask_for_records(leader, now, engine);
            }
        }
    }

    /// The replicas of a leader that are at one of these stages, by topic. Only those that have moved are looked at.
    fn asking(&mut self, leader: BrokerId, stages: &[Stage]) -> BTreeMap<Arc<str>, Vec<u32>> {
        let mut by_topic: BTreeMap<Arc<str>, Vec<u32>> = BTreeMap::new();
        let Some(connection) = self.fetchers.leaders.get(&leader) else { return by_topic };
        for slot in &connection.moved {
            let Some(following) = self.fetchers.following.get(slot) else { continue };
            let Some(Some(partition)) = self.partitions.get(*slot as usize) else { continue };
            if stages.contains(&following.stage) && !partition.log.has_failed() {
                by_topic.entry(Arc::clone(&partition.topic)).or_default().push(*slot);
            }
        }
        by_topic
    }

    fn partition(&self, slot: u32) -> Option<&Partition> {
        self.partitions.get(slot as usize)?.as_deref()
    }

    /// Notes what a replica asks, so that an answer to anything else is not taken.
    fn note_asked(&mut self, slot: u32) -> Option<(LeaderEpoch, Offset)> {
        let end = self.partition(slot)?.log.end_offset();
        let following = self.fetchers.following.get_mut(&slot)?;
        following.asked = Some((following.epoch, end));
        following.asked
    }

    fn ask_for_epochs(&mut self, leader: BrokerId, now: Instant, engine: &mut dyn Engine) -> bool {
        let by_topic = self.asking(leader, &[Stage::Epochs]);
        if by_topic.is_empty() {
            return false;
        }
        let mut topics = Vec::new();
        for (topic, slots) in &by_topic {
            let mut partitions = Vec::new();
            for slot in slots {
                let (Some((epoch, _)), Some(partition)) = (self.note_asked(*slot), self.partition(*slot))
                else {
                    continue;
                };
                partitions.push(OffsetForLeaderEpochRequestTopicPartition {
                    partition: partition.number,
                    current_leader_epoch: epoch.0,
                    leader_epoch: partition.log.epochs().latest().map_or(-1, |latest| latest.epoch),
                });
            }
            topics.push(OffsetForLeaderEpochRequestTopic { topic, partitions: partitions.into() });
        }
        let replica_id = self.fetchers.this.0;
        let request = OffsetForLeaderEpochRequest { replica_id, topics: topics.into() };
        let version = self.fetchers.terms.epochs_version;
        self.name_asked(leader, &by_topic);
        self.fetchers.ask(leader, About::Epochs, version, &request, now, engine);
        true
    }

    fn ask_for_offsets(&mut self, leader: BrokerId, now: Instant, engine: &mut dyn Engine) -> bool {
        let by_topic = self.asking(leader, &[Stage::Latest, Stage::Earliest]);
        if by_topic.is_empty() {
            return false;
        }
        let mut topics = Vec::new();
        for (topic, slots) in &by_topic {
            let mut partitions = Vec::new();
            for slot in slots {
                let (Some((epoch, _)), Some(partition)) = (self.note_asked(*slot), self.partition(*slot))
                else {
                    continue;
                };
                let latest = self
                    .fetchers
                    .following
                    .get(slot)
                    .is_some_and(|following| following.stage == Stage::Latest);
                partitions.push(ListOffsetsRequestPartition {
                    partition_index: partition.number,
                    current_leader_epoch: epoch.0,
                    timestamp: if latest { LATEST } else { EARLIEST },
                    ..Default::default()
                });
            }
            topics.push(ListOffsetsRequestTopic { name: topic, partitions: partitions.into() });
        }
        let replica_id = self.fetchers.this.0;
        let request = ListOffsetsRequest { replica_id, topics: topics.into(), ..Default::default() };
        let version = self.fetchers.terms.lists_version;
        self.name_asked(leader, &by_topic);
        self.fetchers.ask(leader, About::Offsets, version, &request, now, engine);
        true
    }

    /// How answers that name topics name these replicas.
    fn name_asked(&mut self, leader: BrokerId, by_topic: &BTreeMap<Arc<str>, Vec<u32>>) {
        for (topic, slots) in by_topic {
            for slot in slots {
                let Some(number) = self.partition(*slot).map(|partition| partition.number) else { continue };
                if let Some(connection) = self.fetchers.leaders.get_mut(&leader) {
                    connection.names.insert((TopicPlace::Name(Arc::clone(topic)), number), *slot);
                }
            }
        }
    }

    fn ask_for_records(&mut self, leader: BrokerId, now: Instant, engine: &mut dyn Engine) {
        let this = self.fetchers.this.0;
        let Some(connection) = self.fetchers.leaders.get_mut(&leader) else { return };
        let is_new = connection.session_epoch == 0;
        if is_new {
            connection.new_session();
        }
        let by_topic = self.asking(leader, &[Stage::Fetching]);
        let wanted = self.fetchers.terms.fetch_version;
        let version = match is_new {
            false => self.fetchers.leaders.get(&leader).map_or(wanted, |connection| connection.version),
            true => {
                let all = by_topic.values().flatten();
                let have_ids =
                    all.clone().all(|slot| self.partition(*slot).is_some_and(|p| p.log.topic_id().is_some()));
                if have_ids { wanted } else { wanted.min(IDS_VERSION - 1) }
            }
        };
        // A topic without an id has come to a session that names topics by ids.
        let must_rename = version >= IDS_VERSION
            && by_topic
                .values()
                .flatten()
                .any(|slot| self.partition(*slot).is_some_and(|p| p.log.topic_id().is_none()));
        if must_rename {
            if let Some(connection) = self.fetchers.leaders.get_mut(&leader) {
                connection.new_session();
            }
            return self.ask_for_records(leader, now, engine);
        }
        let by_id = version >= IDS_VERSION;
        let mut topics = Vec::new();
        let mut asked = Vec::new();
        for (topic, slots) in &by_topic {
            let mut partitions = Vec::new();
            let mut topic_id = Uuid::ZERO;
            for slot in slots {
                let (Some((epoch, offset)), Some(partition)) =
                    (self.note_asked(*slot), self.partition(*slot))
                else {
                    continue;
                };
                topic_id = partition.log.topic_id().map_or(Uuid::ZERO, Uuid);
                let place =
                    if by_id { TopicPlace::Id(topic_id) } else { TopicPlace::Name(Arc::clone(topic)) };
                asked.push((*slot, place, partition.number));
                partitions.push(FetchRequestPartition {
                    partition: partition.number,
                    current_leader_epoch: epoch.0,
                    fetch_offset: offset.0,
                    last_fetched_epoch: partition.log.epochs().latest().map_or(-1, |latest| latest.epoch),
                    log_start_offset: partition.log.start_offset().0,
                    partition_max_bytes: self.fetchers.terms.partition_bytes_max,
                    ..Default::default()
                });
            }
            let name = if by_id { "" } else { topic };
            topics.push(FetchRequestTopic { topic: name, topic_id, partitions: partitions.into() });
        }
        let Some(connection) = self.fetchers.leaders.get_mut(&leader) else { return };
        if is_new && asked.is_empty() {
            // All of them rest.
            return;
        }
        connection.version = version;
        connection.moved.clear();
        for (slot, place, number) in asked {
            connection.names.insert((place.clone(), number), slot);
            connection.in_session.insert(slot, (place, number));
        }
        // Taken out and put in again since the last request: it stays.
        let gone = std::mem::take(&mut connection.gone);
        let gone: Vec<(TopicPlace, i32)> =
            gone.into_iter().filter(|place| !connection.names.contains_key(place)).collect();
        let forgotten = gone.iter().map(|(place, number)| {
            let (topic, topic_id) = match place {
                TopicPlace::Name(name) => (&**name, Uuid::ZERO),
                TopicPlace::Id(id) => ("", *id),
            };
            FetchRequestForgottenTopicsData { topic, topic_id, partitions: vec![*number].into() }
        });
        let forgotten: Vec<FetchRequestForgottenTopicsData<'_>> = forgotten.collect();
        let (session_id, session_epoch) = (connection.session_id, connection.session_epoch);
        let terms = &self.fetchers.terms;
        let has_state = version >= REPLICA_STATE_VERSION;
        let request = FetchRequest {
            replica_id: if has_state { -1 } else { this },
            replica_state: FetchRequestReplicaState {
                replica_id: if has_state { this } else { -1 },
                replica_epoch: -1,
            },
            max_wait_ms: terms.wait_ms_max,
            min_bytes: terms.bytes_min,
            max_bytes: terms.bytes_max,
            session_id,
            session_epoch,
            topics: topics.into(),
            forgotten_topics_data: forgotten.into(),
            ..Default::default()
        };
        self.fetchers.ask(leader, About::Fetch, version, &request, now, engine);
    }

    pub(super) fn on_leader_received(
        &mut self,
        key: u64,
        into: Vec<u8>,
        result: std::io::Result<usize>,
        engine: &mut dyn Engine,
    ) {
        let Some(answer) = self.fetchers.on_received(key, into, result, engine) else { return };
        let Answer { leader, about, correlation, bytes, used } = answer;
        let frame = &bytes[4..used];
        let taken = match about {
            About::Fetch => self.on_records(leader, frame, correlation, engine),
            About::Epochs => self.on_epochs(leader, frame, correlation, engine),
            About::Offsets => self.on_offsets(leader, frame, correlation, engine),
        };
        match taken {
            Ok(()) => self.fetchers.give_back(leader, bytes),
            Err(error) => {
                self.fetchers.give_up(leader, &format!("an answer makes no sense: {error}"), engine.now())
            }
        }
    }

    fn on_records(
        &mut self,
        leader: BrokerId,
        frame: &[u8],
        correlation: i32,
        engine: &mut dyn Engine,
    ) -> Result<(), DecodeError> {
        let version = self.fetchers.leaders.get(&leader).map_or(0, |connection| connection.version);
        let response: FetchResponse<'_> = decode(frame, ApiKey::Fetch, version, correlation)?;
        let Some(connection) = self.fetchers.leaders.get_mut(&leader) else { return Ok(()) };
        if response.error_code != 0 {
            // The session is not known any more, or never was: the next fetch asks for a new one.
            connection.new_session();
            return Ok(());
        }
        match (connection.session_epoch, response.session_id) {
            // No session was to be had: each fetch names everything.
            (_, 0) => (connection.session_id, connection.session_epoch) = (0, 0),
            (0, id) => (connection.session_id, connection.session_epoch) = (id, 1),
            (i32::MAX, _) => connection.session_epoch = 1,
            (epoch, _) => connection.session_epoch = epoch + 1,
        }
        for topic in &response.responses {
            let place = match version >= IDS_VERSION {
                true => TopicPlace::Id(topic.topic_id),
                false => TopicPlace::Name(Arc::from(&*topic.topic)),
            };
            for part in &topic.partitions {
                let found = self.fetchers.leaders.get(&leader);
                let key = (place.clone(), part.partition_index);
                let Some(slot) = found.and_then(|connection| connection.names.get(&key).copied()) else {
                    continue;
                };
                self.on_fetched(slot, leader, part, engine);
            }
        }
        Ok(())
    }

    /// What a replica asked, if it still follows this leader in the term it asked in, and its log still ends there.
    fn still_asks(&self, slot: u32, leader: BrokerId) -> Option<&Following> {
        let end = self.partition(slot)?.log.end_offset();
        self.fetchers
            .following
            .get(&slot)
            .filter(|following| following.leader == leader && following.asked == Some((following.epoch, end)))
    }

    fn on_fetched(
        &mut self,
        slot: u32,
        leader: BrokerId,
        answer: &FetchResponsePartition<'_>,
        engine: &mut dyn Engine,
    ) {
        let asks = self.still_asks(slot, leader).is_some_and(|following| following.stage == Stage::Fetching);
        if !asks {
            return self.fetchers.moved(slot);
        }
        let now = engine.now();
        match ErrorCode::from_code(answer.error_code) {
            ErrorCode::None => {}
            ErrorCode::OffsetOutOfRange => return self.set_stage(slot, Stage::Latest),
            error => {
                self.say_trouble(slot, leader, error);
                return self.fetchers.rest(slot, now);
            }
        }
        if answer.diverging_epoch.epoch >= 0 {
            let says = LeaderSays::EpochEnd {
                epoch: answer.diverging_epoch.epoch,
                end: Offset(answer.diverging_epoch.end_offset),
            };
            self.cut_as(slot, says, engine);
            return self.fetchers.moved(slot);
        }
        let records = answer.records.unwrap_or_default();
        if !records.is_empty() && !self.append_followed(slot, records, engine) {
            return;
        }
        self.fetchers.went_well(slot);
        let Some(partition) = partition_mut(&mut self.partitions, slot) else { return };
        let committed = Offset(answer.high_watermark).min(partition.log.end_offset());
        self.commit(slot, committed);
        let Some(partition) = partition_mut(&mut self.partitions, slot) else { return };
        let start = Offset(answer.log_start_offset).min(partition.log.high_watermark());
        if start > partition.log.start_offset() {
            match partition.log.delete_records_before(start) {
                Ok(()) => partition.show(),
                Err(error) => {
                    tracing::error!(topic = %partition.topic, partition = partition.number, %error, "the log's start cannot follow the leader's");
                }
            }
        }
    }

    /// False when nothing more is to be asked for now.
    fn append_followed(&mut self, slot: u32, records: &[u8], engine: &mut dyn Engine) -> bool {
        let wall = engine.wall();
        let now = engine.now();
        let Some(partition) = partition_mut(&mut self.partitions, slot) else { return false };
        let active_before = partition.log.active_segment().0;
        let result = partition.log.append_as_follower(engine.disk(), records, wall, &mut self.scratch);
        let directory = partition.directory;
        let group_commit = partition.config.durability == Durability::GroupCommit;
        partition.show();
        let closed = active_before != partition.log.active_segment().0;
        let due = match &result {
            Ok(_) if group_commit => Some(FlushScope::All),
            Ok(_) if closed => Some(partition.log.flush_due(wall).unwrap_or(FlushScope::ClosedSegments)),
            Ok(_) => partition.log.flush_due(wall),
            Err(_) => None,
        };
        if let Some(scope) = due
            && !std::mem::replace(&mut partition.flush_wanted, true)
        {
            self.flush_queue.push((slot, scope));
        }
        self.metrics.direct_calls.add(self.scratch.written.len() as u64);
        self.note_written(slot, directory);
        if closed {
            self.note_closed(slot, directory, active_before);
        }
        match result {
            Ok(_) => {
                self.fetchers.moved(slot);
                if group_commit {
                    self.fetchers.wait_for_flush(slot);
                }
                true
            }
            Err(FollowError::Log(error)) => {
                let full = matches!(&error, log::LogError::Io { source, .. } if log::is_no_space(source));
                if full {
                    tracing::error!(%error, "a follower has no room: it goes on when there is");
                } else {
                    self.directory_failed(directory, &error);
                }
                self.fetchers.rest(slot, now);
                false
            }
            Err(error) => {
                if let Some(partition) = self.partition(slot) {
                    tracing::error!(topic = %partition.topic, partition = partition.number, "the leader's records are not taken: {error}");
                }
                self.fetchers.rest(slot, now);
                false
            }
        }
    }

    fn set_stage(&mut self, slot: u32, stage: Stage) {
        if let Some(following) = self.fetchers.following.get_mut(&slot) {
            following.stage = stage;
        }
        self.fetchers.moved(slot);
    }

    fn say_trouble(&self, slot: u32, leader: BrokerId, error: ErrorCode) {
        // At an election these pass by themselves.
        let passes = matches!(
            error,
            ErrorCode::NotLeaderOrFollower
                | ErrorCode::FencedLeaderEpoch
                | ErrorCode::UnknownLeaderEpoch
                | ErrorCode::UnknownTopicOrPartition
                | ErrorCode::UnknownTopicId
        );
        if let Some(partition) = self.partition(slot) {
            let (topic, number, leader) = (&partition.topic, partition.number, leader.0);
            match passes {
                true => {
                    tracing::debug!(%topic, partition = number, leader, "the leader answers {}", error.name())
                }
                false => {
                    tracing::warn!(%topic, partition = number, leader, "the leader answers {}", error.name())
                }
            }
        }
    }

    fn on_epochs(
        &mut self,
        leader: BrokerId,
        frame: &[u8],
        correlation: i32,
        engine: &mut dyn Engine,
    ) -> Result<(), DecodeError> {
        let version = self.fetchers.terms.epochs_version;
        let response: OffsetForLeaderEpochResponse<'_> =
            decode(frame, ApiKey::OffsetForLeaderEpoch, version, correlation)?;
        for topic in &response.topics {
            for answer in &topic.partitions {
                let Some(slot) = self.named(leader, &topic.topic, answer.partition) else { continue };
                let asks =
                    self.still_asks(slot, leader).is_some_and(|following| following.stage == Stage::Epochs);
                if !asks {
                    self.fetchers.moved(slot);
                    continue;
                }
                match ErrorCode::from_code(answer.error_code) {
                    ErrorCode::None => {}
                    error => {
                        self.say_trouble(slot, leader, error);
                        self.fetchers.rest(slot, engine.now());
                        continue;
                    }
                }
                let says = match (answer.end_offset, answer.leader_epoch) {
                    (end, _) if end < 0 => LeaderSays::Nothing,
                    (end, _) if version == 0 => LeaderSays::End(Offset(end)),
                    (end, epoch) => LeaderSays::EpochEnd { epoch, end: Offset(end) },
                };
                let is_final = self.cut_as(slot, says, engine);
                self.set_stage(slot, if is_final { Stage::Fetching } else { Stage::Epochs });
            }
        }
        Ok(())
    }

    /// The leader's log is not where this replica looked: it is shorter, or begins later.
    fn on_offsets(
        &mut self,
        leader: BrokerId,
        frame: &[u8],
        correlation: i32,
        engine: &mut dyn Engine,
    ) -> Result<(), DecodeError> {
        let version = self.fetchers.terms.lists_version;
        let response: ListOffsetsResponse<'_> = decode(frame, ApiKey::ListOffsets, version, correlation)?;
        for topic in &response.topics {
            for answer in &topic.partitions {
                let Some(slot) = self.named(leader, &topic.name, answer.partition_index) else { continue };
                let Some(stage) = self.still_asks(slot, leader).map(|following| following.stage) else {
                    self.fetchers.moved(slot);
                    continue;
                };
                if answer.error_code != 0 {
                    self.say_trouble(slot, leader, ErrorCode::from_code(answer.error_code));
                    self.fetchers.rest(slot, engine.now());
                    continue;
                }
                let offset = Offset(match version {
                    0 => answer.old_style_offsets.first().copied().unwrap_or(0),
                    _ => answer.offset,
                });
                let Some(partition) = self.partition(slot) else { continue };
                let end = partition.log.end_offset();
                match stage {
                    Stage::Latest if offset < end => {
                        tracing::warn!(topic = %partition.topic, partition = partition.number, from = offset.0, upto = end.0, "the leader's log is shorter: these offsets are removed here");
                        self.cut(slot, offset, engine);
                        self.set_stage(slot, Stage::Fetching);
                    }
                    Stage::Latest => self.set_stage(slot, Stage::Earliest),
                    Stage::Earliest => {
                        if offset > end {
                            tracing::warn!(topic = %partition.topic, partition = partition.number, end = end.0, start = offset.0, "the leader's log begins later: this one begins anew there");
                            self.restart(slot, offset, engine);
                        }
                        self.set_stage(slot, Stage::Fetching);
                    }
                    Stage::Fetching | Stage::Epochs | Stage::Resting { .. } => self.fetchers.moved(slot),
                }
            }
        }
        Ok(())
    }

    fn named(&self, leader: BrokerId, topic: &str, number: i32) -> Option<u32> {
        let connection = self.fetchers.leaders.get(&leader)?;
        connection.names.get(&(TopicPlace::Name(Arc::from(topic)), number)).copied()
    }

    /// Cuts as the leader's epochs say. True when that was the last cut.
    fn cut_as(&mut self, slot: u32, says: LeaderSays, engine: &mut dyn Engine) -> bool {
        let Some(partition) = self.partition(slot) else { return true };
        let log = &partition.log;
        let cut = next_cut(says, log.epochs(), log.end_offset(), log.high_watermark());
        self.cut(slot, cut.to, engine);
        cut.is_final
    }

    fn cut(&mut self, slot: u32, to: Offset, engine: &mut dyn Engine) {
        let Some(partition) = partition_mut(&mut self.partitions, slot) else { return };
        if to >= partition.log.end_offset() {
            return;
        }
        tracing::info!(topic = %partition.topic, partition = partition.number, from = to.0, upto = partition.log.end_offset().0, high_watermark = partition.log.high_watermark().0, "what the leader does not have is removed");
        self.change_log(slot, engine, |log, disk, wall| log.truncate_to(disk, to, wall).map(|_| ()));
    }

    fn restart(&mut self, slot: u32, at: Offset, engine: &mut dyn Engine) {
        self.change_log(slot, engine, |log, disk, wall| log.restart_from(disk, at, wall));
    }

    /// Segments go or are cut: the window forgets all of this log first.
    fn change_log(
        &mut self,
        slot: u32,
        engine: &mut dyn Engine,
        change: impl FnOnce(
            &mut log::Log,
            &dyn crate::reactor::Disk,
            crate::clock::WallMs,
        ) -> Result<(), log::LogError>,
    ) {
        let wall = engine.wall();
        let Some(partition) = partition_mut(&mut self.partitions, slot) else { return };
        let directory = partition.directory;
        for (segment_base, _) in partition.log.segments() {
            let key = log::window::SegmentKey { log: u64::from(slot), segment_base };
            self.windows[usize::from(directory)].forget(key);
        }
        let result = change(&mut partition.log, engine.disk(), wall);
        partition.show();
        if let Err(error) = result {
            self.directory_failed(directory, &error);
        }
        self.flag_watchers(slot);
    }
}

/// The body of an answer to the request of this number.
fn decode<'a, M: Message<'a>>(
    frame: &'a [u8],
    key: ApiKey,
    version: i16,
    correlation: i32,
) -> Result<M, DecodeError> {
    let mut reader = Reader::response(frame);
    let header = ResponseHeader::decode(&mut reader, key, version)?;
    if header.correlation_id != correlation {
        return Err(reader.error("the answer is to another request"));
    }
    M::decode(&mut reader, version)
}
