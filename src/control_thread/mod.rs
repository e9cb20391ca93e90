//! The one thread that changes metadata: it owns the store, asks the IO threads for replicas, and swaps the image.
//!
//! In: commands from network threads, through a bounded channel. Out: the body of the response, through the `Reply`
//! that came with the command. Commands are carried out one after the other; each is durable before its reply.

use tokio::sync::mpsc;

use crate::api::admin::Command;

/// Commands that may wait. A connection has at most one on its way, so this is also a number of connections.
const COMMANDS_WAITING_MAX: usize = 4096;

/// Where the response of a command goes: to the network thread that asked.
pub trait Reply: Send {
    /// The response, without its header.
    fn send(self: Box<Self>, body: Vec<u8>);
}

pub struct Request {
    pub command: Command,
    pub reply: Box<dyn Reply>,
}

/// The way to the control thread. It ends when the last of these is dropped.
#[derive(Clone)]
pub struct ControlHandle {
    requests: mpsc::Sender<Request>,
}

impl ControlHandle {
    /// Never waits. The command comes back when too many wait already, or the broker is stopping; `Command::refuse`
    /// makes an answer of it.
    pub fn submit(&self, request: Request) -> Result<(), Box<Request>> {
        self.requests.try_send(request).map_err(|error| Box::new(error.into_inner()))
    }
}

/// The channel to the control thread: requests can be sent before the thread runs.
pub fn channel() -> (ControlHandle, mpsc::Receiver<Request>) {
    let (requests, receiver) = mpsc::channel(COMMANDS_WAITING_MAX);
    (ControlHandle { requests }, receiver)
}
