//! Clients that write down what they did: producers that retry as real ones do, readers with partitions assigned.
//!
//! In: addresses to begin with, topics, a recorder. Out: a history. A producer keeps one lane for each partition: up to
//! five batches in flight on the connection of the leader, in order; after an error it waits for the others, then sends all
//! of them again, with the same sequences where it is idempotent. What is answered with an error that proves nothing, or
//! not at all, is in doubt, and what is in doubt when its time is up is `info`, not `fail` (FAULTS.md 3.1).

use crate::history::{Checker, Event, Rules, Verdict, What, When};
use crate::outside::batch::{self, NOBODY, Writer};
use crate::outside::client::{Client, produce_body};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A broker that is silent for so long is given up, and the request is in doubt.
const REQUEST: Duration = Duration::from_secs(3);
/// A batch that is not acknowledged by then is settled as it stands.
const DELIVERY: Duration = Duration::from_secs(60);
const IN_FLIGHT: usize = 5;
const VALUES_OF_A_SERIES: u64 = 1_000_000_000;

/// Errors that prove nothing was appended, if no earlier attempt is in doubt.
const REFUSED: &[i16] = &[2, 3, 10, 18, 19, 29, 32, 87];
/// The producer's sequence is not the one the broker waits for, or its epoch is not.
const SEQUENCE: &[i16] = &[45, 47, 59];
const OUT_OF_RANGE: i16 = 1;
const DUPLICATE_SEQUENCE: i16 = 46;

/// Takes events in the order in which they happened: to a file, and to the checker.
pub struct Recorder {
    begun: Instant,
    inner: Mutex<Inner>,
    clients: AtomicU32,
    series: AtomicU64,
    /// Records acknowledged so far.
    pub acknowledged: AtomicU64,
}

struct Inner {
    checker: Checker,
    file: BufWriter<File>,
    /// Behind the last acknowledged offset of each partition.
    ends: BTreeMap<Arc<str>, i64>,
    weak: BTreeSet<u32>,
}

impl Recorder {
    pub fn new(rules: Rules, path: &Path) -> Recorder {
        let file = BufWriter::new(File::create(path).expect("the history's file"));
        let inner =
            Inner { checker: Checker::new(rules), file, ends: BTreeMap::new(), weak: BTreeSet::new() };
        Recorder {
            begun: Instant::now(),
            inner: Mutex::new(inner),
            clients: AtomicU32::new(1),
            series: AtomicU64::new(1),
            acknowledged: AtomicU64::new(0),
        }
    }

    pub fn tell(&self, mut event: Event) {
        let mut inner = self.inner.lock().expect("no recorder panics");
        event.t = self.begun.elapsed().as_nanos() as u64;
        let line = event.line();
        writeln!(inner.file, "{line}").expect("the history's file");
        inner.checker.take(&event).unwrap_or_else(|why| panic!("{why}: {line}"));
        match (event.what, event.when, &event.part) {
            (What::Producer, _, _) if event.weak == Some(true) => {
                inner.weak.insert(event.client);
            }
            (What::Send, When::Ok, Some(part)) if !inner.weak.contains(&event.client) => {
                let Some(base) = event.offsets.first() else { return };
                let end = (base + event.values.len() as u64) as i64;
                let known = inner.ends.entry(part.clone()).or_insert(end);
                *known = end.max(*known);
            }
            _ => {}
        }
    }

    /// An event of the cluster itself.
    pub fn say(&self, what: What) {
        self.tell(Event::new(0, 0, When::Info, what));
    }

    fn new_client(&self) -> u32 {
        self.clients.fetch_add(1, Ordering::Relaxed)
    }

    /// Behind the last acknowledged offset of each partition.
    pub fn ends(&self) -> BTreeMap<Arc<str>, i64> {
        self.inner.lock().expect("no recorder panics").ends.clone()
    }

    pub fn finish(self) -> Verdict {
        let mut inner = self.inner.into_inner().expect("no recorder panics");
        inner.file.flush().expect("the history's file");
        inner.checker.finish()
    }
}

/// A topic as the clients know it.
#[derive(Clone, Debug)]
pub struct Topic {
    pub name: String,
    /// Partitions are `label-3` in the history: `name`, or `name#2` after it was made again.
    pub label: String,
    pub partitions: i32,
}

impl Topic {
    pub fn part(&self, partition: i32) -> Arc<str> {
        format!("{}-{partition}", self.label).into()
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Producing {
    pub acks: i16,
    pub idempotent: bool,
    /// An acknowledged record may go with a broker.
    pub weak: bool,
    /// Refused batches are given up at once, so that the history has some.
    pub retries: bool,
    /// Between two batches of one partition.
    pub pause: Duration,
}

/// What all clients of a run share.
pub struct Shared {
    pub recorder: Arc<Recorder>,
    pub bootstrap: Vec<SocketAddr>,
    pub stop_producing: AtomicBool,
    pub stop_reading: AtomicBool,
    /// The topic is gone: what is open is settled as it stands.
    pub abandon: AtomicBool,
    /// Raised by one each time the clients are to cut their connections.
    pub cuts: AtomicU64,
}

// ---- connections ------------------------------------------------------------------------------

/// Who leads what, and connections to them.
struct Leaders {
    topic: String,
    brokers: BTreeMap<i32, SocketAddr>,
    leaders: BTreeMap<i32, i32>,
    fresh_at: Option<Instant>,
    asked: usize,
}

impl Leaders {
    fn new(topic: &str) -> Leaders {
        Leaders {
            topic: topic.to_string(),
            brokers: BTreeMap::new(),
            leaders: BTreeMap::new(),
            fresh_at: None,
            asked: 0,
        }
    }

    /// Asks again, unless the answer is fresh.
    fn suspect(&mut self) {
        self.fresh_at = self.fresh_at.filter(|at| at.elapsed() < Duration::from_millis(50));
    }

    /// Asks one broker after the other, one at a call.
    fn refresh(&mut self, bootstrap: &[SocketAddr]) {
        if self.fresh_at.is_some_and(|at| at.elapsed() < Duration::from_secs(5)) {
            return;
        }
        let address = bootstrap[self.asked % bootstrap.len()];
        self.asked += 1;
        let asked = Client::connect_within(address, Duration::from_secs(1))
            .and_then(|mut client| client.metadata(&self.topic));
        if let Ok((brokers, led)) = asked
            && led.iter().all(|led| led.partition >= 0)
        {
            self.brokers = brokers;
            self.leaders = led.iter().filter(|l| l.leader >= 0).map(|l| (l.partition, l.leader)).collect();
            self.fresh_at = Some(Instant::now());
        } else {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn leader(&self, partition: i32) -> Option<(i32, SocketAddr)> {
        let leader = *self.leaders.get(&partition)?;
        Some((leader, *self.brokers.get(&leader)?))
    }
}

// ---- producers --------------------------------------------------------------------------------

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Waiting,
    InFlight,
}

struct Out {
    values: Vec<u64>,
    bytes: Vec<u8>,
    place: Place,
    /// An attempt ended without a proof that it did nothing.
    doubt: bool,
    begun: Instant,
}

/// One partition, as one producer writes it.
struct Lane {
    topic: Topic,
    partition: i32,
    part: Arc<str>,
    client: u32,
    writer: Option<Writer>,
    next_value: u64,
    batches: VecDeque<Out>,
    /// Something was refused: all answers are awaited before anything is sent again.
    held: bool,
    not_before: Instant,
}

impl Lane {
    /// A new client: of the old one's sends nothing is promised any more.
    fn begin_again(&mut self, how: Producing, recorder: &Recorder) {
        self.client = recorder.new_client();
        self.next_value = recorder.series.fetch_add(1, Ordering::Relaxed) * VALUES_OF_A_SERIES;
        self.writer = (!how.idempotent).then_some(NOBODY);
        self.held = false;
        let mut event = Event::new(0, self.client, When::Info, What::Producer);
        event.idempotent = Some(how.idempotent);
        event.weak = Some(how.weak);
        recorder.tell(event);
    }

    fn is_waited_for(&self) -> bool {
        self.batches.iter().any(|out| out.place == Place::InFlight)
    }
}

struct Connection {
    client: Client,
    /// Lane and first value of each request, in order, with the time of the oldest.
    in_flight: VecDeque<(usize, u64, Instant)>,
}

pub struct Producer<'a> {
    shared: &'a Shared,
    how: Producing,
    lanes: Vec<Lane>,
    leaders: Vec<Leaders>,
    connections: BTreeMap<i32, Connection>,
    cuts_seen: u64,
    count: u64,
}

impl<'a> Producer<'a> {
    pub fn new(shared: &'a Shared, how: Producing, topics: &[Topic]) -> Producer<'a> {
        let mut producer = Producer {
            shared,
            how,
            lanes: Vec::new(),
            leaders: topics.iter().map(|topic| Leaders::new(&topic.name)).collect(),
            connections: BTreeMap::new(),
            cuts_seen: shared.cuts.load(Ordering::Relaxed),
            count: 0,
        };
        for topic in topics {
            for partition in 0..topic.partitions {
                let mut lane = Lane {
                    topic: topic.clone(),
                    partition,
                    part: topic.part(partition),
                    client: 0,
                    writer: None,
                    next_value: 0,
                    batches: VecDeque::new(),
                    held: false,
                    not_before: Instant::now(),
                };
                lane.begin_again(how, &shared.recorder);
                producer.lanes.push(lane);
            }
        }
        producer
    }

    /// Until it is stopped and everything is settled.
    pub fn run(mut self) {
        loop {
            let stopping = self.shared.stop_producing.load(Ordering::Relaxed);
            if stopping && self.lanes.iter().all(|lane| lane.batches.is_empty()) {
                return;
            }
            if self.shared.abandon.load(Ordering::Relaxed) {
                let until = Instant::now() + REQUEST;
                while self.lanes.iter().any(Lane::is_waited_for) && Instant::now() < until {
                    self.receive();
                    std::thread::sleep(Duration::from_millis(1));
                }
                (0..self.lanes.len()).for_each(|lane| self.give_up(lane, "abandoned"));
                return;
            }
            self.leaders.iter_mut().for_each(|leaders| leaders.refresh(&self.shared.bootstrap));
            self.cut_if_told();
            let mut busy = false;
            for lane in 0..self.lanes.len() {
                busy |= self.fill(lane, stopping);
                busy |= self.send(lane);
            }
            busy |= self.receive();
            self.settle_overdue();
            if !busy {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }

    /// Connections end with requests in flight, one of them in the middle of a request.
    fn cut_if_told(&mut self) {
        let cuts = self.shared.cuts.load(Ordering::Relaxed);
        if cuts == self.cuts_seen {
            return;
        }
        self.cuts_seen = cuts;
        let ids: Vec<i32> = self.connections.keys().copied().collect();
        for (number, id) in ids.into_iter().enumerate() {
            if number.is_multiple_of(2)
                && let Some(connection) = self.connections.get_mut(&id)
                && let Some(lane) = self.lanes.iter().find(|lane| !lane.batches.is_empty())
            {
                let body =
                    produce_body(&lane.topic.name, lane.partition, self.how.acks, &lane.batches[0].bytes);
                let _ = connection.client.send_half(0, 7, &body);
            }
            self.lose(id);
        }
    }

    fn fill(&mut self, lane: usize, stopping: bool) -> bool {
        let at = &mut self.lanes[lane];
        if stopping || at.held || at.batches.len() >= IN_FLIGHT || at.not_before > Instant::now() {
            return false;
        }
        if at.writer.is_none() {
            let Some(id) = new_producer_id(&self.shared.bootstrap, self.count) else {
                self.count += 1;
                at.not_before = Instant::now() + Duration::from_millis(20);
                return false;
            };
            at.writer = Some(Writer { id, epoch: 0, sequence: 0 });
        }
        self.count += 1;
        let records = 1 + (self.count * 7 % 5);
        let values: Vec<u64> = (at.next_value..at.next_value + records).collect();
        at.next_value += records;
        let writer = at.writer.as_mut().expect("it was just made");
        let texts: Vec<Vec<u8>> = values.iter().map(|value| text_of(*value)).collect();
        let bytes = batch::build(*writer, now_ms(), &texts);
        if self.how.idempotent {
            writer.sequence += records as i32;
        }
        at.not_before = Instant::now() + self.how.pause;
        let event = Event::new(0, at.client, When::Invoke, What::Send).at(&at.part).of(&values, &[]);
        self.shared.recorder.tell(event);
        at.batches.push_back(Out {
            values,
            bytes,
            place: Place::Waiting,
            doubt: false,
            begun: Instant::now(),
        });
        true
    }

    fn leaders_of(&mut self, lane: usize) -> &mut Leaders {
        let topic = &self.lanes[lane].topic.name;
        self.leaders.iter_mut().find(|leaders| leaders.topic == *topic).expect("each topic has its leaders")
    }

    fn send(&mut self, lane: usize) -> bool {
        if self.lanes[lane].held && self.lanes[lane].is_waited_for() {
            return false;
        }
        self.lanes[lane].held = false;
        if self.lanes[lane].batches.iter().all(|out| out.place == Place::InFlight) {
            return false;
        }
        let partition = self.lanes[lane].partition;
        let Some((leader, address)) = self.leaders_of(lane).leader(partition) else {
            self.leaders_of(lane).suspect();
            return false;
        };
        if !self.connections.contains_key(&leader) {
            let Ok(client) = Client::connect_within(address, REQUEST) else {
                self.leaders_of(lane).suspect();
                return false;
            };
            self.connections.insert(leader, Connection { client, in_flight: VecDeque::new() });
        }
        let connection = self.connections.get_mut(&leader).expect("it was just made");
        let at = &mut self.lanes[lane];
        let mut lost = false;
        let mut settled = Vec::new();
        for out in at.batches.iter_mut().filter(|out| out.place == Place::Waiting) {
            if connection.client.send_produce(&at.topic.name, partition, self.how.acks, &out.bytes).is_err() {
                out.doubt = true;
                lost = true;
                break;
            }
            if self.how.acks == 0 {
                settled.push(out.values.clone());
                continue;
            }
            out.place = Place::InFlight;
            connection.in_flight.push_back((lane, out.values[0], Instant::now()));
        }
        for values in settled {
            at.batches.retain(|out| out.values[0] != values[0]);
            let event = Event::new(0, at.client, When::Info, What::Send).at(&at.part).of(&values, &[]);
            self.shared.recorder.tell(event.error("acks=0"));
        }
        if lost {
            self.lose(leader);
        }
        true
    }

    /// The connection is gone, and with it what was to be answered.
    fn lose(&mut self, broker: i32) {
        let Some(connection) = self.connections.remove(&broker) else { return };
        for (lane, first, _) in connection.in_flight {
            let at = &mut self.lanes[lane];
            at.held = true;
            if let Some(out) = at.batches.iter_mut().find(|out| out.values[0] == first) {
                out.place = Place::Waiting;
                out.doubt = true;
            }
        }
        self.leaders.iter_mut().for_each(Leaders::suspect);
    }

    fn receive(&mut self) -> bool {
        let mut busy = false;
        let ids: Vec<i32> = self.connections.keys().copied().collect();
        for id in ids {
            while let Some(connection) = self.connections.get_mut(&id) {
                let Some((lane, first, since)) = connection.in_flight.front().copied() else { break };
                match connection.client.has_answer() {
                    Ok(false) if since.elapsed() < REQUEST => break,
                    Ok(true) => {}
                    Ok(false) | Err(_) => {
                        self.lose(id);
                        break;
                    }
                }
                busy = true;
                let Ok(answer) = connection.client.receive_produced() else {
                    self.lose(id);
                    break;
                };
                connection.in_flight.pop_front();
                self.on_answer(lane, first, answer.code, answer.base_offset);
            }
        }
        busy
    }

    fn on_answer(&mut self, lane: usize, first: u64, code: i16, base: i64) {
        let at = &mut self.lanes[lane];
        let Some(position) = at.batches.iter().position(|out| out.values[0] == first) else {
            return; // settled since
        };
        let is_head = position == 0;
        let out = &mut at.batches[position];
        if code == 0 || code == DUPLICATE_SEQUENCE {
            let offsets: &[u64] = if base >= 0 { &[base as u64] } else { &[] };
            let event = Event::new(0, at.client, When::Ok, What::Send).at(&at.part).of(&out.values, offsets);
            self.shared.recorder.tell(event);
            self.shared.recorder.acknowledged.fetch_add(out.values.len() as u64, Ordering::Relaxed);
            at.batches.remove(position);
            return;
        }
        out.place = Place::Waiting;
        let refused = REFUSED.contains(&code);
        let out_of_sequence = SEQUENCE.contains(&code);
        out.doubt |= !refused && !out_of_sequence;
        at.held = true;
        at.not_before = Instant::now() + Duration::from_millis(20);
        if refused && !self.how.retries && !out.doubt {
            let event = Event::new(0, at.client, When::Fail, What::Send).at(&at.part).of(&out.values, &[]);
            self.shared.recorder.tell(event.error(code.to_string()));
            at.batches.remove(position);
            self.leaders_of(lane).suspect();
            return;
        }
        // A later batch is out of sequence because an earlier one is on its way again; the first one is not.
        if out_of_sequence && is_head {
            self.give_up(lane, &format!("error {code}"));
        }
        self.leaders_of(lane).suspect();
    }

    /// All that is open is settled as it stands, and the lane begins again as another producer.
    fn give_up(&mut self, lane: usize, why: &str) {
        let at = &mut self.lanes[lane];
        for out in std::mem::take(&mut at.batches) {
            let unknown = out.doubt || out.place == Place::InFlight;
            let when = if unknown { When::Info } else { When::Fail };
            let event = Event::new(0, at.client, when, What::Send).at(&at.part).of(&out.values, &[]);
            self.shared.recorder.tell(event.error(why));
        }
        at.begin_again(self.how, &self.shared.recorder);
    }

    fn settle_overdue(&mut self) {
        for lane in 0..self.lanes.len() {
            let overdue = self.lanes[lane].batches.front().is_some_and(|out| out.begun.elapsed() > DELIVERY);
            if overdue {
                self.give_up(lane, "delivery timeout");
            }
        }
    }
}

fn new_producer_id(bootstrap: &[SocketAddr], asked: u64) -> Option<i64> {
    let address = bootstrap[(asked % bootstrap.len() as u64) as usize];
    Client::connect_within(address, REQUEST).ok()?.new_producer_id().ok()
}

/// The value's number, and filling of a length that differs from record to record.
fn text_of(value: u64) -> Vec<u8> {
    let mut text = format!("{value} ").into_bytes();
    text.resize(text.len() + (value % 97) as usize, b'.');
    text
}

/// `None`: the record is not one of ours.
fn value_of(record: &batch::Record) -> Option<u64> {
    let text = std::str::from_utf8(record.value.as_deref()?).ok()?;
    text.split(' ').next()?.parse().ok()
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_millis() as i64)
}

// ---- readers ----------------------------------------------------------------------------------

struct ReadLane {
    topic: Topic,
    partition: i32,
    part: Arc<str>,
    position: i64,
    /// The last poll failed, and that was told.
    troubled: bool,
    /// When it was last found to be at the end.
    at_end: Option<Instant>,
    not_before: Instant,
}

pub struct Reader<'a> {
    shared: &'a Shared,
    client: u32,
    lanes: Vec<ReadLane>,
    leaders: Vec<Leaders>,
    connections: BTreeMap<i32, Client>,
}

impl<'a> Reader<'a> {
    /// From the first offset of every partition.
    pub fn new(shared: &'a Shared, topics: &[Topic]) -> Reader<'a> {
        let client = shared.recorder.new_client();
        let mut lanes = Vec::new();
        for topic in topics {
            for partition in 0..topic.partitions {
                let part = topic.part(partition);
                shared.recorder.tell(Event::new(0, client, When::Ok, What::Assign).at(&part).of(&[], &[0]));
                let not_before = Instant::now();
                let topic = topic.clone();
                lanes.push(ReadLane {
                    topic,
                    partition,
                    part,
                    position: 0,
                    troubled: false,
                    at_end: None,
                    not_before,
                });
            }
        }
        let leaders = topics.iter().map(|topic| Leaders::new(&topic.name)).collect();
        Reader { shared, client, lanes, leaders, connections: BTreeMap::new() }
    }

    /// Until it is stopped.
    pub fn run(mut self) {
        while !self.shared.stop_reading.load(Ordering::Relaxed) {
            if !self.round() {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }

    /// Until every partition is read to its end; what did not end in time.
    pub fn run_to_the_end(mut self, ends: &BTreeMap<Arc<str>, i64>, patience: Duration) -> Vec<String> {
        let until = Instant::now() + patience;
        loop {
            if !self.round() {
                std::thread::sleep(Duration::from_millis(2));
            }
            // The watermark may lag behind for a moment after a change of leader.
            let done = |lane: &ReadLane| {
                lane.at_end.is_some() && lane.position >= ends.get(&lane.part).copied().unwrap_or(0)
            };
            if self.lanes.iter().all(done) {
                return Vec::new();
            }
            if Instant::now() > until {
                let open = self.lanes.iter().filter(|lane| !done(lane));
                return open.map(|lane| format!("{} at offset {}", lane.part, lane.position)).collect();
            }
        }
    }

    /// Whether something was read.
    fn round(&mut self) -> bool {
        self.leaders.iter_mut().for_each(|leaders| leaders.refresh(&self.shared.bootstrap));
        let mut busy = false;
        for lane in 0..self.lanes.len() {
            if self.lanes[lane].not_before <= Instant::now() {
                busy |= self.poll(lane);
            }
        }
        busy
    }

    fn poll(&mut self, lane: usize) -> bool {
        let at = &self.lanes[lane];
        let leaders =
            self.leaders.iter().find(|leaders| leaders.topic == at.topic.name).expect("its leaders");
        let Some((leader, address)) = leaders.leader(at.partition) else {
            self.trouble(lane, "no leader");
            return false;
        };
        let mut connection = match self.connections.remove(&leader) {
            Some(connection) => connection,
            None => match Client::connect_within(address, REQUEST) {
                Ok(client) => client,
                Err(error) => {
                    self.trouble(lane, &error.to_string());
                    return false;
                }
            },
        };
        let at = &self.lanes[lane];
        let fetched = connection.fetch(&at.topic.name, at.partition, at.position, 0);
        let fetched = match fetched {
            Ok(fetched) => fetched,
            Err(error) => {
                let wrong =
                    error.kind() == io::ErrorKind::InvalidData && error.to_string().contains("checksum");
                self.trouble(lane, if wrong { "bad-crc".to_string() } else { error.to_string() }.as_str());
                return false;
            }
        };
        self.connections.insert(leader, connection);
        if fetched.code == OUT_OF_RANGE {
            // What it has read is gone: it begins again, and the checker sees what is there now.
            self.trouble(lane, "1");
            let at = &mut self.lanes[lane];
            let start = fetched.log_start.max(0);
            at.position = start;
            let event =
                Event::new(0, self.client, When::Ok, What::Assign).at(&at.part).of(&[], &[start as u64]);
            self.shared.recorder.tell(event);
            return false;
        }
        if fetched.code != 0 {
            self.trouble(lane, &fetched.code.to_string());
            return false;
        }
        let at = &mut self.lanes[lane];
        let (mut values, mut offsets) = (Vec::new(), Vec::new());
        for record in fetched.batches.iter().filter(|batch| !batch.control).flat_map(|batch| &batch.records) {
            if record.offset >= at.position {
                values.push(value_of(record).unwrap_or(u64::MAX - 1));
                offsets.push(record.offset as u64);
            }
        }
        if let Some(last) = fetched.batches.last() {
            at.position = at.position.max(last.last_offset + 1);
        }
        let is_end = at.position >= fetched.high_watermark;
        let news = !values.is_empty() || at.troubled || (is_end && at.at_end.is_none());
        at.at_end = is_end.then(Instant::now);
        at.troubled = false;
        if values.is_empty() {
            at.not_before = Instant::now() + Duration::from_millis(10);
        }
        if news {
            let mut event =
                Event::new(0, self.client, When::Ok, What::Poll).at(&at.part).of(&values, &offsets);
            event.end = Some(fetched.high_watermark.max(0) as u64);
            self.shared.recorder.tell(event);
        }
        !values.is_empty()
    }

    fn trouble(&mut self, lane: usize, why: &str) {
        let at = &mut self.lanes[lane];
        if !std::mem::replace(&mut at.troubled, true) || why == "bad-crc" {
            self.shared
                .recorder
                .tell(Event::new(0, self.client, When::Info, What::Poll).at(&at.part).error(why));
        }
        at.not_before = Instant::now() + Duration::from_millis(20);
        at.at_end = None;
        let topic = at.topic.name.clone();
        if let Some(leaders) = self.leaders.iter_mut().find(|leaders| leaders.topic == topic) {
            leaders.suspect();
        }
    }
}
