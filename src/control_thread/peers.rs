//! Connections from the control thread to other brokers: what a controller tells them, what a leader asks the controller.
//!
//! In: requests, one after another for each broker. Out: answers, through one channel. One request is under way at a time on a
//! connection; what a controller tells is sent again until it is answered or the broker is gone (contract 5.2).

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::ids::BrokerId;
use crate::wire::frame;
use crate::wire::header::{RequestHeader, ResponseHeader};
use crate::wire::primitive::Reader;
use crate::wire::version::ApiKey;

/// Between two tries of a controller.
const RETRY: Duration = Duration::from_millis(100);
/// More than any answer among brokers holds.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// A request to another broker.
#[derive(Clone, Debug)]
pub(super) struct Outgoing {
    pub key: ApiKey,
    pub version: i16,
    pub body: Vec<u8>,
    /// Comes back with the answer.
    pub tag: u64,
}

/// The body of an answer.
#[derive(Debug)]
pub(super) struct Answered {
    pub broker: BrokerId,
    /// Tells one life of a channel from the next.
    pub life: u64,
    pub tag: u64,
    pub body: Vec<u8>,
}

/// A connection that is made when it is first needed, and anew after an error.
#[derive(Debug)]
pub(super) struct Line {
    pub address: SocketAddr,
    client_id: String,
    patience: Duration,
    stream: Option<TcpStream>,
    correlation: i32,
}

impl Line {
    pub fn new(address: SocketAddr, client_id: String, patience: Duration) -> Line {
        Line { address, client_id, patience, stream: None, correlation: 0 }
    }

    /// Sends one request and waits for the body of its answer.
    pub async fn call(&mut self, key: ApiKey, version: i16, body: &[u8]) -> io::Result<Vec<u8>> {
        let patience = self.patience;
        let outcome = match timeout(patience, self.call_patiently(key, version, body)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time")),
        };
        if outcome.is_err() {
            self.stream = None;
        }
        outcome
    }

    async fn call_patiently(&mut self, key: ApiKey, version: i16, body: &[u8]) -> io::Result<Vec<u8>> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            empty => {
                let stream = TcpStream::connect(self.address).await?;
                stream.set_nodelay(true)?;
                self.correlation = 0;
                empty.insert(stream)
            }
        };
        let mut request = Vec::with_capacity(body.len() + 64);
        let start = frame::begin(&mut request);
        let correlation_id = self.correlation;
        self.correlation = self.correlation.wrapping_add(1) & i32::MAX;
        let client_id = Some(self.client_id.as_bytes());
        RequestHeader { key, version, correlation_id, client_id }.encode(&mut request);
        request.extend_from_slice(body);
        start.end(&mut request, 0);
        stream.write_all(&request).await?;
        let size = stream.read_i32().await?;
        let size = frame::checked_size(size, ANSWER_BYTES_MAX).map_err(io::Error::other)?;
        let mut answer = vec![0; size];
        stream.read_exact(&mut answer).await?;
        let mut reader = Reader::new(&answer);
        let header = ResponseHeader::decode(&mut reader, key, version).map_err(io::Error::other)?;
        if header.correlation_id != correlation_id {
            return Err(io::Error::other("the answer is to another request"));
        }
        let at = reader.position();
        answer.drain(..at);
        Ok(answer)
    }
}

/// The channels of a controller, one for each broker that is alive. Dropping one ends it.
#[derive(Debug)]
pub(super) struct Channels {
    client_id: String,
    patience: Duration,
    lives: u64,
    by_broker: BTreeMap<BrokerId, Channel>,
    answers: mpsc::UnboundedSender<Answered>,
}

#[derive(Debug)]
struct Channel {
    life: u64,
    requests: mpsc::UnboundedSender<Outgoing>,
    task: JoinHandle<()>,
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Channels {
    pub fn new(this: BrokerId, patience: Duration, answers: mpsc::UnboundedSender<Answered>) -> Channels {
        Channels { client_id: this.to_string(), patience, lives: 0, by_broker: BTreeMap::new(), answers }
    }

    /// Opens a channel, a new one if there is one already.
    pub fn open(&mut self, broker: BrokerId, address: SocketAddr) {
        self.lives += 1;
        let life = self.lives;
        let (requests, queue) = mpsc::unbounded_channel();
        let line = Line::new(address, self.client_id.clone(), self.patience);
        let task = tokio::spawn(send_all(broker, life, line, queue, self.answers.clone()));
        self.by_broker.insert(broker, Channel { life, requests, task });
    }

    pub fn close(&mut self, broker: BrokerId) {
        self.by_broker.remove(&broker);
    }

    /// Whether the answer is of a channel that is still open.
    pub fn is_open(&self, answered: &Answered) -> bool {
        self.by_broker.get(&answered.broker).is_some_and(|channel| channel.life == answered.life)
    }

    /// False when there is no channel to that broker.
    pub fn send(&self, broker: BrokerId, outgoing: Outgoing) -> bool {
        self.by_broker.get(&broker).is_some_and(|channel| channel.requests.send(outgoing).is_ok())
    }
}

async fn send_all(
    broker: BrokerId,
    life: u64,
    mut line: Line,
    mut queue: mpsc::UnboundedReceiver<Outgoing>,
    answers: mpsc::UnboundedSender<Answered>,
) {
    while let Some(outgoing) = queue.recv().await {
        let mut failures = 0u32;
        let body = loop {
            match line.call(outgoing.key, outgoing.version, &outgoing.body).await {
                Ok(body) => break body,
                Err(error) => {
                    if failures == 0 {
                        tracing::warn!(broker = broker.0, address = %line.address, key = ?outgoing.key, %error, "a broker does not answer its controller; it is asked again");
                    }
                    failures = failures.saturating_add(1);
                    sleep(RETRY).await;
                }
            }
        };
        if answers.send(Answered { broker, life, tag: outgoing.tag, body }).is_err() {
            return;
        }
    }
}
