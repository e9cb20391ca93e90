//! One connection that speaks the protocol at versions without compact fields.
//!
//! In: calls. Out: what the broker answered, error codes as they came. A closed connection, a timeout and an
//! answer that cannot be read are `io::Error`.

use super::batch::{self, Batch};
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

pub const PATIENCE: Duration = Duration::from_secs(30);

pub struct Client {
    stream: TcpStream,
    correlation: i32,
    id: &'static str,
}

#[derive(Debug, PartialEq)]
pub struct Produced {
    pub code: i16,
    pub base_offset: i64,
}

/// Who leads a partition, as a broker's metadata says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Led {
    pub code: i16,
    pub partition: i32,
    /// -1: nobody.
    pub leader: i32,
    pub in_sync: Vec<i32>,
}

#[derive(Debug)]
pub struct Fetched {
    pub code: i16,
    pub high_watermark: i64,
    pub log_start: i64,
    pub batches: Vec<Batch>,
}

impl Client {
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        Client::connect_as("test", address)
    }

    /// With less patience, for a broker that may be gone or silent.
    pub fn connect_within(address: SocketAddr, patience: Duration) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, patience)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, correlation: 0, id: "test" })
    }

    /// With a client id of its own.
    pub fn connect_as(id: &'static str, address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, correlation: 0, id })
    }

    /// Sends without waiting; answers come in the order of the requests.
    pub fn send(&mut self, key: i16, version: i16, body: &[u8]) -> io::Result<()> {
        self.correlation += 1;
        let mut frame = Vec::with_capacity(body.len() + 20);
        frame.extend_from_slice(&((body.len() + 10 + self.id.len()) as i32).to_be_bytes());
        frame.extend_from_slice(&key.to_be_bytes());
        frame.extend_from_slice(&version.to_be_bytes());
        frame.extend_from_slice(&self.correlation.to_be_bytes());
        put_string(&mut frame, self.id);
        frame.extend_from_slice(body);
        self.stream.write_all(&frame)
    }

    /// Half of a request, after which the connection is of no use.
    pub fn send_half(&mut self, key: i16, version: i16, body: &[u8]) -> io::Result<()> {
        let mut frame = Vec::with_capacity(body.len() / 2 + 20);
        frame.extend_from_slice(&((body.len() + 10 + self.id.len()) as i32).to_be_bytes());
        frame.extend_from_slice(&key.to_be_bytes());
        frame.extend_from_slice(&version.to_be_bytes());
        frame.extend_from_slice(&(self.correlation + 1).to_be_bytes());
        put_string(&mut frame, self.id);
        frame.extend_from_slice(&body[..body.len() / 2]);
        self.stream.write_all(&frame)
    }

    /// Whether an answer, or the end of the connection, has come.
    pub fn has_answer(&self) -> io::Result<bool> {
        self.stream.set_nonblocking(true)?;
        let peeked = self.stream.peek(&mut [0]);
        self.stream.set_nonblocking(false)?;
        match peeked {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The body of the next answer.
    pub fn receive(&mut self) -> io::Result<Vec<u8>> {
        let mut head = [0; 8];
        self.stream.read_exact(&mut head)?;
        let size = i32::from_be_bytes(head[..4].try_into().expect("four bytes"));
        let length = usize::try_from(size - 4).map_err(|_| unreadable("frame size"))?;
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok(body)
    }

    pub fn call(&mut self, key: i16, version: i16, body: &[u8]) -> io::Result<Vec<u8>> {
        self.send(key, version, body)?;
        self.receive()
    }

    pub fn api_versions(&mut self) -> io::Result<BTreeMap<i16, (i16, i16)>> {
        let body = self.call(18, 0, &[])?;
        let mut answer = Answer(&body);
        expect_no_error("ApiVersions", answer.i16()?)?;
        let mut versions = BTreeMap::new();
        for _ in 0..answer.count()? {
            versions.insert(answer.i16()?, (answer.i16()?, answer.i16()?));
        }
        Ok(versions)
    }

    pub fn create_topic(&mut self, name: &str, partitions: i32, configs: &[(&str, &str)]) -> io::Result<i16> {
        self.create_replicated(name, partitions, 1, configs)
    }

    /// `create_topic` on a broker that has just started: one of Java's answers before its controller counts it among the
    /// living, and refuses until then (INVALID_REPLICATION_FACTOR, 38).
    pub fn create_topic_once_alive(
        &mut self,
        name: &str,
        partitions: i32,
        configs: &[(&str, &str)],
    ) -> io::Result<i16> {
        let deadline = std::time::Instant::now() + PATIENCE;
        loop {
            match self.create_topic(name, partitions, configs)? {
                38 if std::time::Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(100));
                }
                code => return Ok(code),
            }
        }
    }

    pub fn delete_topic(&mut self, name: &str) -> io::Result<i16> {
        let mut body = Vec::new();
        put_i32(&mut body, 1);
        put_string(&mut body, name);
        put_i32(&mut body, 30_000);
        let body = self.call(20, 1, &body)?;
        let mut answer = Answer(&body);
        answer.i32()?;
        answer.count()?;
        answer.string()?;
        answer.i16()
    }

    /// The brokers' addresses by id, and (error, leader, in-sync set) of each of the topic's partitions; an error of the
    /// topic itself is one of a partition -1.
    pub fn metadata(&mut self, topic: &str) -> io::Result<(BTreeMap<i32, SocketAddr>, Vec<Led>)> {
        let mut body = Vec::new();
        put_i32(&mut body, 1);
        put_string(&mut body, topic);
        let body = self.call(3, 1, &body)?;
        let mut answer = Answer(&body);
        let mut brokers = BTreeMap::new();
        for _ in 0..answer.count()? {
            let id = answer.i32()?;
            let host = answer.string()?;
            let port = answer.i32()?;
            answer.nullable()?; // rack
            let address = format!("{host}:{port}").parse();
            brokers.insert(id, address.map_err(|_| unreadable("a broker's address"))?);
        }
        answer.i32()?; // controller
        let mut led = Vec::new();
        for _ in 0..answer.count()? {
            let code = answer.i16()?;
            answer.string()?;
            answer.take(1)?;
            if code != 0 {
                led.push(Led { code, partition: -1, leader: -1, in_sync: Vec::new() });
            }
            for _ in 0..answer.count()? {
                let code = answer.i16()?;
                let partition = answer.i32()?;
                let leader = answer.i32()?;
                for _ in 0..answer.count()? {
                    answer.i32()?;
                }
                let in_sync = (0..answer.count()?).map(|_| answer.i32()).collect::<io::Result<_>>()?;
                led.push(Led { code, partition, leader, in_sync });
            }
        }
        Ok((brokers, led))
    }

    /// `create_topic` with replicas.
    pub fn create_replicated(
        &mut self,
        name: &str,
        partitions: i32,
        replicas: i16,
        configs: &[(&str, &str)],
    ) -> io::Result<i16> {
        let mut body = Vec::new();
        put_i32(&mut body, 1);
        put_string(&mut body, name);
        put_i32(&mut body, partitions);
        put_i16(&mut body, replicas);
        put_i32(&mut body, 0); // assignments
        put_i32(&mut body, configs.len() as i32);
        for (key, value) in configs {
            put_string(&mut body, key);
            put_string(&mut body, value);
        }
        put_i32(&mut body, 30_000); // timeout
        body.push(0); // not only validate
        let body = self.call(19, 2, &body)?;
        let mut answer = Answer(&body);
        answer.i32()?; // throttle
        answer.count()?;
        answer.string()?;
        answer.i16()
    }

    /// Every topic with its number of partitions.
    pub fn topics(&mut self) -> io::Result<BTreeMap<String, usize>> {
        let mut body = Vec::new();
        put_i32(&mut body, -1);
        let body = self.call(3, 1, &body)?;
        let mut answer = Answer(&body);
        for _ in 0..answer.count()? {
            answer.i32()?;
            answer.string()?;
            answer.i32()?;
            answer.string()?;
        }
        answer.i32()?; // controller
        let mut topics = BTreeMap::new();
        for _ in 0..answer.count()? {
            let code = answer.i16()?;
            let name = answer.string()?;
            answer.take(1)?;
            let partitions = answer.count()?;
            for _ in 0..partitions {
                answer.i16()?;
                answer.i32()?;
                answer.i32()?;
                for _ in 0..2 {
                    for _ in 0..answer.count()? {
                        answer.i32()?;
                    }
                }
            }
            if code == 0 {
                topics.insert(name, partitions);
            }
        }
        Ok(topics)
    }

    pub fn new_producer_id(&mut self) -> io::Result<i64> {
        let mut body = Vec::new();
        put_i16(&mut body, -1); // no transactional id
        put_i32(&mut body, 60_000);
        let body = self.call(22, 0, &body)?;
        let mut answer = Answer(&body);
        answer.i32()?;
        expect_no_error("InitProducerId", answer.i16()?)?;
        answer.i64()
    }

    pub fn send_produce(&mut self, topic: &str, partition: i32, acks: i16, batch: &[u8]) -> io::Result<()> {
        self.send(0, 7, &produce_body(topic, partition, acks, batch))
    }

    pub fn receive_produced(&mut self) -> io::Result<Produced> {
        let body = self.receive()?;
        let mut answer = Answer(&body);
        answer.count()?;
        answer.string()?;
        answer.count()?;
        answer.i32()?;
        Ok(Produced { code: answer.i16()?, base_offset: answer.i64()? })
    }

    pub fn produce(&mut self, topic: &str, partition: i32, batch: &[u8]) -> io::Result<Produced> {
        self.send_produce(topic, partition, -1, batch)?;
        self.receive_produced()
    }

    pub fn fetch(
        &mut self,
        topic: &str,
        partition: i32,
        offset: i64,
        max_wait_ms: i32,
    ) -> io::Result<Fetched> {
        self.send_fetch(topic, partition, offset, max_wait_ms)?;
        self.receive_fetched()
    }

    pub fn send_fetch(
        &mut self,
        topic: &str,
        partition: i32,
        offset: i64,
        max_wait_ms: i32,
    ) -> io::Result<()> {
        let mut body = Vec::new();
        put_i32(&mut body, -1); // a consumer
        put_i32(&mut body, max_wait_ms);
        put_i32(&mut body, 1); // min bytes
        put_i32(&mut body, 50 << 20);
        body.push(0); // read uncommitted
        put_i32(&mut body, 0); // no session
        put_i32(&mut body, -1);
        put_i32(&mut body, 1);
        put_string(&mut body, topic);
        put_i32(&mut body, 1);
        put_i32(&mut body, partition);
        put_i32(&mut body, -1); // leader epoch
        body.extend_from_slice(&offset.to_be_bytes());
        body.extend_from_slice(&(-1i64).to_be_bytes());
        put_i32(&mut body, 4 << 20);
        put_i32(&mut body, 0); // nothing forgotten
        self.send(1, 10, &body)
    }

    pub fn receive_fetched(&mut self) -> io::Result<Fetched> {
        let body = self.receive()?;
        let mut answer = Answer(&body);
        answer.i32()?; // throttle
        expect_no_error("Fetch", answer.i16()?)?;
        answer.i32()?; // session
        if answer.count()? != 1 {
            return Err(unreadable("Fetch: not one topic"));
        }
        answer.string()?;
        answer.count()?;
        answer.i32()?;
        let code = answer.i16()?;
        let high_watermark = answer.i64()?;
        answer.i64()?; // last stable offset
        let log_start = answer.i64()?;
        for _ in 0..answer.count()? {
            answer.i64()?;
            answer.i64()?;
        }
        let length = answer.i32()?.max(0) as usize;
        let records = answer.take(length)?;
        let batches = batch::parse_all(records).map_err(|why| unreadable(&format!("Fetch: {why}")))?;
        Ok(Fetched { code, high_watermark, log_start, batches })
    }

    /// -1 asks for the end, -2 for the start, else for the first offset at or after that time.
    pub fn offset_at(&mut self, topic: &str, partition: i32, timestamp: i64) -> io::Result<(i16, i64)> {
        let mut body = Vec::new();
        put_i32(&mut body, -1);
        put_i32(&mut body, 1);
        put_string(&mut body, topic);
        put_i32(&mut body, 1);
        put_i32(&mut body, partition);
        body.extend_from_slice(&timestamp.to_be_bytes());
        let body = self.call(2, 1, &body)?;
        let mut answer = Answer(&body);
        answer.count()?;
        answer.string()?;
        answer.count()?;
        answer.i32()?;
        let code = answer.i16()?;
        answer.i64()?; // timestamp
        Ok((code, answer.i64()?))
    }

    /// Every batch from `offset` up to the end the broker names.
    pub fn read_batches(&mut self, topic: &str, partition: i32, mut offset: i64) -> io::Result<Vec<Batch>> {
        let (code, end) = self.offset_at(topic, partition, -1)?;
        expect_no_error("ListOffsets", code)?;
        let deadline = Instant::now() + PATIENCE;
        let mut batches = Vec::new();
        while offset < end {
            let fetched = self.fetch(topic, partition, offset, 500)?;
            expect_no_error("Fetch", fetched.code)?;
            if let Some(last) = fetched.batches.last() {
                offset = last.last_offset + 1;
            } else if Instant::now() > deadline {
                return Err(unreadable(&format!(
                    "{topic}-{partition}: nothing at {offset}, the end is {end}"
                )));
            }
            batches.extend(fetched.batches);
        }
        Ok(batches)
    }
}

/// Produce version 7 of one batch.
pub fn produce_body(topic: &str, partition: i32, acks: i16, batch: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(batch.len() + 64);
    put_i16(&mut body, -1);
    put_i16(&mut body, acks);
    put_i32(&mut body, 30_000);
    put_i32(&mut body, 1);
    put_string(&mut body, topic);
    put_i32(&mut body, 1);
    put_i32(&mut body, partition);
    put_i32(&mut body, batch.len() as i32);
    body.extend_from_slice(batch);
    body
}

fn expect_no_error(what: &str, code: i16) -> io::Result<()> {
    if code == 0 { Ok(()) } else { Err(io::Error::other(format!("{what}: error code {code}"))) }
}

fn unreadable(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

pub fn put_i16(out: &mut Vec<u8>, value: i16) {
    out.extend_from_slice(&value.to_be_bytes());
}

pub fn put_i32(out: &mut Vec<u8>, value: i32) {
    out.extend_from_slice(&value.to_be_bytes());
}

pub fn put_string(out: &mut Vec<u8>, text: &str) {
    put_i16(out, text.len() as i16);
    out.extend_from_slice(text.as_bytes());
}

pub struct Answer<'a>(pub &'a [u8]);

impl<'a> Answer<'a> {
    pub fn take(&mut self, count: usize) -> io::Result<&'a [u8]> {
        let (taken, rest) =
            self.0.split_at_checked(count).ok_or_else(|| unreadable("an answer is cut short"))?;
        self.0 = rest;
        Ok(taken)
    }

    pub fn i16(&mut self) -> io::Result<i16> {
        Ok(i16::from_be_bytes(self.take(2)?.try_into().expect("two bytes")))
    }

    pub fn i32(&mut self) -> io::Result<i32> {
        Ok(i32::from_be_bytes(self.take(4)?.try_into().expect("four bytes")))
    }

    pub fn i64(&mut self) -> io::Result<i64> {
        Ok(i64::from_be_bytes(self.take(8)?.try_into().expect("eight bytes")))
    }

    /// An array's length; a null array is empty.
    pub fn count(&mut self) -> io::Result<usize> {
        Ok(self.i32()?.max(0) as usize)
    }

    pub fn string(&mut self) -> io::Result<String> {
        let length = self.i16()?.max(0) as usize;
        Ok(String::from_utf8_lossy(self.take(length)?).into_owned())
    }

    pub fn bytes(&mut self) -> io::Result<&'a [u8]> {
        let length = self.i32()?.max(0) as usize;
        self.take(length)
    }

    pub fn nullable(&mut self) -> io::Result<Option<String>> {
        match self.i16()? {
            length if length < 0 => Ok(None),
            length => Ok(Some(String::from_utf8_lossy(self.take(length as usize)?).into_owned())),
        }
    }
}
