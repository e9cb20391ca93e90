//! The one thread that changes metadata: it owns the store, asks the IO threads for replicas, and swaps the image.
//!
//! In: commands from network threads, through a bounded channel. Out: the body of the response, through the `Reply`
//! that came with the command. Commands are carried out one after the other; each is durable before its reply.

mod control;
pub mod health;
pub mod metrics_page;

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};

use crate::api::admin::Command;
use crate::config::Config;
use crate::metadata::fresh_id::Random;
use crate::metadata::{Replicas, SharedImage, Store};

use control::Control;

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

/// What the control thread works with.
pub struct Parts<S> {
    /// Opened; what its state names has been opened or made, and is in the image.
    pub store: S,
    pub image: SharedImage,
    pub config: Arc<Config>,
    pub replicas: Box<dyn Replicas>,
    pub random: Random,
    pub requests: mpsc::Receiver<Request>,
}

/// Starts the thread. It ends when every `ControlHandle` is gone and the commands that wait are carried out. The receiver
/// hears when what happened up to now has been followed.
pub fn spawn<S: Store + Send + 'static>(
    parts: Parts<S>,
) -> io::Result<(JoinHandle<()>, oneshot::Receiver<()>)> {
    let (caught_up, receiver) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    std::thread::Builder::new()
        .name("control".to_owned())
        .spawn(move || runtime.block_on(run(parts, caught_up)))
        .map(|thread| (thread, receiver))
}

async fn run<S: Store>(parts: Parts<S>, caught_up: oneshot::Sender<()>) {
    let Parts { store, image, config, replicas, random, mut requests } = parts;
    let mut control = Control::new(store, image, config, replicas, random);
    control.follow_news().await;
    // Nobody waits where the start has failed.
    let _ = caught_up.send(());
    loop {
        tokio::select! {
            request = requests.recv() => match request {
                Some(Request { command, reply }) => reply.send(control.carry_out(&command).await),
                None => break,
            },
            () = control.stirred() => control.follow_news().await,
        }
    }
    control.leave().await;
}

#[cfg(test)]
mod tests;
