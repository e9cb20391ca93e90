//! A producer with Kafka's batching, for the tools: one caller, one connection per leader, requests in flight.
//!
//! In: records from one thread. Out: for each acknowledged record its two times, through `Acks`, on the thread that reads the
//! connection's answers. The caller waits while `buffer.memory` is full. Nothing is sent a second time: what a broker refuses
//! is counted and named.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::accumulator::{Accumulator, Ready};
use super::settings::Settings;
use super::topology::{self, Topology};
use super::{Ended, failed};
use crate::tools::client::{Client, Connection};
use crate::wire::compression::Codec;
use crate::wire::error_code::ErrorCode;
use crate::wire::frame;
use crate::wire::header::{ResponseHeader, put_request};
use crate::wire::message::Message;
use crate::wire::message::init_producer_id::InitProducerIdRequest;
use crate::wire::message::produce::{
    ProduceRequest, ProduceRequestPartitionData, ProduceRequestTopicData, ProduceResponse,
};
use crate::wire::primitive::Reader;
use crate::wire::version::ApiKey;

/// The highest version whose requests name topics and need nothing else.
const VERSION_MAX: i16 = 9;
const RESPONSE_BYTES_MAX: usize = 64 << 20;

/// Told of records that are done.
pub trait Acks: Send {
    /// Records of one batch, each with when it was due and when it was handed over, at `now_ns`.
    fn acked(&mut self, stamps: &[(u64, u64)], now_ns: u64);
}

/// Kafka's producer settings, as far as they mean something here.
#[derive(Debug, Clone)]
pub struct ProducerSettings {
    acks: i16,
    batch_bytes: usize,
    linger: Duration,
    codec: Codec,
    in_flight: usize,
    buffer_bytes: usize,
    request_bytes: usize,
    idempotent: bool,
    timeout_ms: i32,
}

impl ProducerSettings {
    pub fn of(settings: &Settings) -> Result<ProducerSettings, Ended> {
        let acks = match settings.text("acks").unwrap_or("all") {
            "all" | "-1" => -1,
            "1" => 1,
            "0" => 0,
            other => return failed(format!("acks={other}: all, 1 or 0")),
        };
        let codec = settings.text("compression.type").unwrap_or("none");
        let codec = Codec::from_name(codec).ok_or_else(|| {
            Ended::Failed(format!("compression.type={codec}: none, gzip, snappy, lz4 or zstd"))
        })?;
        let in_flight = settings.number("max.in.flight.requests.per.connection", 5, 1..=1000)? as usize;
        let idempotent = match settings.text("enable.idempotence") {
            Some("true") if acks != -1 => return failed("enable.idempotence=true needs acks=all"),
            Some("true") if in_flight > 5 => {
                return failed(
                    "enable.idempotence=true needs max.in.flight.requests.per.connection of at most 5",
                );
            }
            Some("true") => true,
            Some("false") => false,
            Some(other) => return failed(format!("enable.idempotence={other}: true or false")),
            None => acks == -1 && in_flight <= 5,
        };
        Ok(ProducerSettings {
            acks,
            batch_bytes: settings.number("batch.size", 16_384, 0..=1 << 30)?.max(1) as usize,
            linger: Duration::from_millis(settings.number("linger.ms", 0, 0..=3_600_000)? as u64),
            codec,
            in_flight,
            buffer_bytes: settings.number("buffer.memory", 33_554_432, 1..=1 << 40)? as usize,
            request_bytes: settings.number("max.request.size", 1_048_576, 1..=1 << 30)? as usize,
            idempotent,
            timeout_ms: settings.number("request.timeout.ms", 30_000, 0..=i64::from(i32::MAX))? as i32,
        })
    }
}

/// What caller and readers share.
struct Flow {
    state: Mutex<State>,
    changed: Condvar,
    started: Instant,
}

struct State {
    /// Of records that are sent and not answered.
    bytes: usize,
    /// Requests, by broker.
    in_flight: Vec<usize>,
    refused: u64,
    first_refusal: Option<String>,
    /// A connection ended.
    broken: Option<String>,
}

impl Flow {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn now_ns(&self) -> u64 {
        self.started.elapsed().as_nanos() as u64
    }
}

/// A request that was written.
struct Written {
    correlation_id: i32,
    bytes: usize,
    batches: Vec<(i32, Vec<(u64, u64)>)>,
}

struct Link {
    stream: TcpStream,
    version: i16,
    correlation_id: i32,
    waiting: VecDeque<Ready>,
    written: Sender<Written>,
    reader: std::thread::JoinHandle<()>,
}

pub struct Producer {
    topic: String,
    settings: ProducerSettings,
    leaders: Vec<usize>,
    links: Vec<Link>,
    accumulator: Accumulator,
    flow: Arc<Flow>,
    waiting_bytes: usize,
    ready: Vec<Ready>,
    request: Vec<u8>,
}

impl Producer {
    pub fn connect(
        bootstrap: &str,
        topic: &str,
        settings: ProducerSettings,
        acks: Arc<Mutex<dyn Acks>>,
    ) -> Result<Producer, Ended> {
        let Topology { brokers, leaders, .. } = topology::find(bootstrap, topic)?;
        let identity = if settings.idempotent { Some(producer_id(bootstrap)?) } else { None };
        let flow = Arc::new(Flow {
            state: Mutex::new(State {
                bytes: 0,
                in_flight: vec![0; brokers.len()],
                refused: 0,
                first_refusal: None,
                broken: None,
            }),
            changed: Condvar::new(),
            started: Instant::now(),
        });
        let mut links = Vec::new();
        for (broker, address) in brokers.iter().enumerate() {
            let connection = Connection::open(address, topology::TIMEOUT)?;
            let version = connection.version::<ProduceRequest<'_>>()?.min(VERSION_MAX);
            let stream = connection.into_stream();
            // Answers come when they come; the end of the run ends the connection.
            stream.set_read_timeout(None)?;
            let (written, requests) = channel();
            let reading = Reading {
                stream: stream.try_clone()?,
                version,
                broker,
                unanswered: settings.acks == 0,
                requests,
                flow: Arc::clone(&flow),
                acks: Arc::clone(&acks),
            };
            let reader =
                std::thread::Builder::new().name(format!("answers-{broker}")).spawn(move || reading.run())?;
            links.push(Link {
                stream,
                version,
                correlation_id: 0,
                waiting: VecDeque::new(),
                written,
                reader,
            });
        }
        let linger_ns = settings.linger.as_nanos() as u64;
        let seed = std::process::id().into();
        let accumulator =
            Accumulator::new(leaders.len(), settings.batch_bytes, linger_ns, settings.codec, identity, seed);
        Ok(Producer {
            topic: topic.to_owned(),
            settings,
            leaders,
            links,
            accumulator,
            flow,
            waiting_bytes: 0,
            ready: Vec::new(),
            request: Vec::new(),
        })
    }

    /// The clock of all times here.
    pub fn now_ns(&self) -> u64 {
        self.flow.now_ns()
    }

    /// When that clock began: it goes on after `close`.
    pub fn clock(&self) -> Instant {
        self.flow.started
    }

    /// Hands one record over; waits while `buffer.memory` is full. Times are of `now_ns`.
    pub fn send(&mut self, key: Option<&[u8]>, value: &[u8], due_ns: u64, sent_ns: u64) -> Result<(), Ended> {
        let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let timestamp_ms = wall.map_or(0, |since| since.as_millis() as i64);
        self.accumulator.append(key, value, timestamp_ms, due_ns, sent_ns);
        self.make_room()
    }

    /// Hands over a record with all it may have; one with a key goes where Java's producer puts it.
    pub fn send_whole(
        &mut self,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&str, Option<&[u8]>)],
        timestamp_ms: i64,
    ) -> Result<(), Ended> {
        let now_ns = self.now_ns();
        let partition = key.map(|key| self.accumulator.partition_of(key));
        self.accumulator.append_whole(partition, key, value, headers, timestamp_ms, (now_ns, now_ns));
        self.make_room()
    }

    /// Writes what is due, and the answers of all that was written are there when it returns.
    pub fn flush(&mut self) -> Result<(), Ended> {
        loop {
            self.pump(true)?;
            let idle = self.flow.lock().in_flight.iter().all(|count| *count == 0);
            if idle && self.links.iter().all(|link| link.waiting.is_empty()) {
                return Ok(());
            }
            self.wait(Duration::from_millis(100))?;
        }
    }

    /// How many records were refused so far, and why the first was.
    pub fn refused(&self) -> (u64, Option<String>) {
        let state = self.flow.lock();
        (state.refused, state.first_refusal.clone())
    }

    fn make_room(&mut self) -> Result<(), Ended> {
        if self.accumulator.has_full() || self.settings.linger.is_zero() {
            self.pump(false)?;
        }
        while self.is_full() {
            self.wait(Duration::from_millis(100))?;
            self.pump(false)?;
        }
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.flow.lock().bytes + self.waiting_bytes > self.settings.buffer_bytes
    }

    /// Until an answer comes, at most so long.
    fn wait(&self, at_most: Duration) -> Result<(), Ended> {
        let state = self.flow.lock();
        let (state, _) =
            self.flow.changed.wait_timeout(state, at_most).unwrap_or_else(std::sync::PoisonError::into_inner);
        match &state.broken {
            Some(why) => failed(why.clone()),
            None => Ok(()),
        }
    }

    /// Sleeps until `until_ns`, sending what becomes due meanwhile.
    pub fn idle_until(&mut self, until_ns: u64) -> Result<(), Ended> {
        loop {
            self.pump(false)?;
            let now_ns = self.now_ns();
            if now_ns >= until_ns {
                return Ok(());
            }
            let next = self.accumulator.linger_ends_ns().unwrap_or(u64::MAX).min(until_ns);
            let waiting = self.links.iter().any(|link| !link.waiting.is_empty());
            let at_most = Duration::from_nanos(next.saturating_sub(now_ns).max(1_000));
            if waiting {
                self.wait(at_most.min(Duration::from_millis(1)))?;
            } else {
                std::thread::sleep(at_most);
            }
        }
    }

    /// Writes what is ready and allowed. While a window is full, batches go on filling, as with Kafka's producer.
    fn pump(&mut self, flush: bool) -> Result<(), Ended> {
        let now_ns = self.now_ns();
        let free = {
            let state = self.flow.lock();
            if let Some(why) = &state.broken {
                return failed(why.clone());
            }
            state.in_flight.iter().any(|count| *count < self.settings.in_flight)
        };
        if free || flush {
            self.accumulator.take_ready(now_ns, flush, &mut self.ready);
        } else {
            self.accumulator.take_full(&mut self.ready);
        }
        for ready in self.ready.drain(..) {
            self.waiting_bytes += ready.bytes.len();
            self.links[self.leaders[ready.partition]].waiting.push_back(ready);
        }
        for broker in 0..self.links.len() {
            while !self.links[broker].waiting.is_empty()
                && self.flow.lock().in_flight[broker] < self.settings.in_flight
            {
                self.write(broker)?;
            }
        }
        Ok(())
    }

    /// One request: at most one batch per partition, up to `max.request.size`.
    fn write(&mut self, broker: usize) -> Result<(), Ended> {
        let link = &mut self.links[broker];
        let mut chosen: Vec<Ready> = Vec::new();
        let mut rest = VecDeque::new();
        let mut bytes = 0;
        while let Some(ready) = link.waiting.pop_front() {
            let taken = chosen.iter().chain(&rest).any(|other: &Ready| other.partition == ready.partition);
            if !taken && (chosen.is_empty() || bytes + ready.bytes.len() <= self.settings.request_bytes) {
                bytes += ready.bytes.len();
                chosen.push(ready);
            } else {
                rest.push_back(ready);
            }
        }
        link.waiting = rest;
        let partitions: Vec<_> = chosen
            .iter()
            .map(|ready| ProduceRequestPartitionData {
                index: ready.partition as i32,
                records: Some(&ready.bytes),
            })
            .collect();
        let request = ProduceRequest {
            transactional_id: None,
            acks: self.settings.acks,
            timeout_ms: self.settings.timeout_ms,
            topic_data: vec![ProduceRequestTopicData {
                name: &self.topic,
                partition_data: partitions.into(),
            }]
            .into(),
        };
        link.correlation_id = link.correlation_id.wrapping_add(1) & i32::MAX;
        self.request.clear();
        put_request(&mut self.request, link.version, link.correlation_id, Some("ringdaw-perf"), &request);
        let batches: Vec<_> =
            chosen.into_iter().map(|ready| (ready.partition as i32, ready.stamps)).collect();
        self.waiting_bytes -= bytes;
        {
            let mut state = self.flow.lock();
            state.bytes += bytes;
            state.in_flight[broker] += 1;
        }
        // The reader must know of the request before its answer can come; it ends only with the connection.
        let _ = link.written.send(Written { correlation_id: link.correlation_id, bytes, batches });
        link.stream.write_all(&self.request)?;
        Ok(())
    }

    /// Sends everything and waits for the answers. The number of records that were refused, and the first reason.
    pub fn close(mut self) -> Result<(u64, Option<String>), Ended> {
        self.flush()?;
        for link in self.links {
            // Fails only where the broker has closed it already.
            let _ = link.stream.shutdown(Shutdown::Both);
            drop(link.written);
            if link.reader.join().is_err() {
                return failed("the thread that reads answers panicked");
            }
        }
        let state = self.flow.lock();
        Ok((state.refused, state.first_refusal.clone()))
    }
}

/// An id of the broker's, so that it drops what comes twice.
fn producer_id(bootstrap: &str) -> Result<(i64, i16), Ended> {
    let mut client = Client::connect(bootstrap, topology::TIMEOUT)?;
    let deadline = Instant::now() + topology::TIMEOUT;
    loop {
        let request = InitProducerIdRequest {
            transactional_id: None,
            transaction_timeout_ms: 60_000,
            producer_id: -1,
            producer_epoch: -1,
        };
        let (code, id, epoch) = client.any().call(&request, |response| {
            (response.error_code, response.producer_id, response.producer_epoch)
        })?;
        match ErrorCode::from_code(code) {
            ErrorCode::None => return Ok((id, epoch)),
            ErrorCode::CoordinatorLoadInProgress | ErrorCode::CoordinatorNotAvailable
                if Instant::now() < deadline =>
            {
                std::thread::sleep(Duration::from_millis(100));
            }
            other => return failed(format!("a producer id: {}", other.message())),
        }
    }
}

/// The thread that takes the answers of one connection.
struct Reading {
    stream: TcpStream,
    version: i16,
    broker: usize,
    /// acks=0
    unanswered: bool,
    requests: Receiver<Written>,
    flow: Arc<Flow>,
    acks: Arc<Mutex<dyn Acks>>,
}

impl Reading {
    fn run(mut self) {
        let mut input = Vec::new();
        while let Ok(written) = self.requests.recv() {
            let answer = self.answer(&written, &mut input);
            let now_ns = self.flow.now_ns();
            let mut refused = (0, None);
            match &answer {
                Ok(errors) => {
                    let mut acks = self.acks.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    for (partition, stamps) in &written.batches {
                        match errors.iter().find(|(at, _)| at == partition) {
                            None => acks.acked(stamps, now_ns),
                            Some((_, error)) => {
                                refused.0 += stamps.len() as u64;
                                let known = ErrorCode::from_code(*error);
                                refused.1.get_or_insert_with(|| {
                                    format!("partition {partition}: {} ({})", known.name(), known.message())
                                });
                            }
                        }
                    }
                }
                Err(why) => {
                    refused = (written.batches.iter().map(|(_, s)| s.len() as u64).sum(), Some(why.clone()))
                }
            }
            let mut state = self.flow.lock();
            state.bytes -= written.bytes;
            state.in_flight[self.broker] -= 1;
            state.refused += refused.0;
            if let Some(why) = refused.1 {
                state.first_refusal.get_or_insert(why);
            }
            if let Err(why) = answer {
                state.broken.get_or_insert(why);
            }
            drop(state);
            self.flow.changed.notify_all();
        }
    }

    /// The partitions that were refused. With acks=0 nothing is answered.
    fn answer(&mut self, written: &Written, input: &mut Vec<u8>) -> Result<Vec<(i32, i16)>, String> {
        if self.unanswered {
            return Ok(Vec::new());
        }
        let lost = |error: std::io::Error| format!("the connection to the broker ended: {error}");
        let mut size = [0; frame::SIZE_BYTES];
        self.stream.read_exact(&mut size).map_err(lost)?;
        let size =
            frame::checked_size(i32::from_be_bytes(size), RESPONSE_BYTES_MAX).map_err(|e| e.to_string())?;
        input.clear();
        (&mut self.stream).take(size as u64).read_to_end(input).map_err(lost)?;
        let mut reader = Reader::response(input);
        let unreadable =
            |error: crate::wire::primitive::DecodeError| format!("an answer cannot be read: {error}");
        let header =
            ResponseHeader::decode(&mut reader, ApiKey::Produce, self.version).map_err(unreadable)?;
        if header.correlation_id != written.correlation_id {
            return Err(format!(
                "answer {} came to request {}",
                header.correlation_id, written.correlation_id
            ));
        }
        let response = ProduceResponse::decode(&mut reader, self.version).map_err(unreadable)?;
        let partitions = response.responses.iter().flat_map(|topic| &topic.partition_responses);
        Ok(partitions.filter(|p| p.error_code != 0).map(|p| (p.index, p.error_code)).collect())
    }
}
