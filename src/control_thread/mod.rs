//! The one thread that changes metadata: it owns the store, asks the IO threads for replicas, and swaps the image.
//!
//! In: commands from network threads, through a bounded channel. Out: the body of the response, through the `Reply`
//! that came with the command. Commands are carried out one after the other; each is durable before its reply.

mod control;
mod hand_over;
pub mod health;
mod in_sync;
pub mod metrics_page;
mod office;
mod peers;
mod told;

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};

use crate::api::admin::Command;
use crate::config::Config;
use crate::metadata::fresh_id::Random;
use crate::metadata::{Replicas, SharedImage, Store};
use crate::replication::InSyncProposal;

use control::{Control, Reports};

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
    /// In-sync sets that leaders here ask for.
    pub proposals: mpsc::UnboundedReceiver<Vec<InSyncProposal>>,
    /// The wish to stop: whoever sends it hears when others lead what this broker led.
    pub leaving: mpsc::Receiver<oneshot::Sender<()>>,
}

/// Starts the thread. It ends when every `ControlHandle` is gone and the commands that wait are carried out. The receiver
/// hears when what happened up to now has been followed.
pub fn spawn<S: Store + Send + 'static>(
    parts: Parts<S>,
) -> io::Result<(JoinHandle<()>, oneshot::Receiver<()>)> {
    let (caught_up, receiver) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new()
        .name("control".to_owned())
        .spawn(move || runtime.block_on(run(parts, caught_up)))
        .map(|thread| (thread, receiver))
}

async fn run<S: Store>(parts: Parts<S>, caught_up: oneshot::Sender<()>) {
    let Parts { store, image, config, replicas, random, mut requests, mut proposals, mut leaving } = parts;
    let (conclude, mut concluded) = mpsc::unbounded_channel();
    let (answered, mut answers) = mpsc::unbounded_channel();
    let (tried, mut tries) = mpsc::unbounded_channel();
    let reports = Reports { conclude, answered, tried };
    let mut control = Control::new(store, image, config, replicas, random, reports);
    control.follow_news().await;
    // Nobody waits where the start has failed.
    let _ = caught_up.send(());
    loop {
        let (next_note, next_balance) = (control.in_sync.next_check, control.next_balance());
        let (next_hand_over, next_missed) = (control.next_hand_over(), control.next_missed());
        tokio::select! {
            request = requests.recv() => match request {
                Some(Request { command, reply }) => reply.send(control.carry_out(&command).await),
                None => break,
            },
            Some(proposed) = proposals.recv() => control.propose(proposed).await,
            Some(concluded) = concluded.recv() => control.conclude(concluded).await,
            Some(answered) = answers.recv() => control.on_answered(answered).await,
            () = at(next_note) => control.check_notes().await,
            () = at(next_balance) => control.balance().await,
            () = at(next_missed) => control.on_fired(&[]).await,
            Some(done) = leaving.recv() => control.begin_hand_over(done).await,
            () = at(next_hand_over) => control.hand_over().await,
            Some(tried) = tries.recv() => control.on_hand_over(tried),
            () = control.stirred() => control.follow_news().await,
        }
    }
    control.leave().await;
}

/// Completes then; never without a time.
async fn at(when: Option<tokio::time::Instant>) {
    match when {
        Some(when) => tokio::time::sleep_until(when).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
