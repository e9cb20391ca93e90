//! One reactor: a pinned thread that drives its engine and its loops.
//!
//! In: completions, messages of other reactors and of the control thread. Out: the same for others. A turn takes all
//! there is, lets the loops work, and submits once. Wakes are sent only to threads that sleep.

use std::io;
use std::sync::Arc;

use crossbeam_utils::CachePadded;

use crate::api::command::{Command, Outcome, ReplyTo};
use crate::clock::Instant;
use crate::ids::ReactorId;
use crate::io_thread::order::Order;
use crate::io_thread::{self, IoLoop};
use crate::metrics::ThreadMetrics;
use crate::network_thread::{NetworkLoop, token_kind};
use crate::reactor::mailbox::{Receiver, Sender, Sleeper};
use crate::reactor::{Completion, Engine, Socket, WAKE, Wait};

/// Between reactors.
pub enum Message {
    Command(Command),
    Outcome(Outcome),
    /// A connection accepted on another reactor.
    Connection {
        listener: u16,
        socket: Socket,
    },
}

/// From the control thread.
pub enum Directive {
    Order(Order),
    /// The response frame of a request that the control thread carried out.
    Answer {
        reply_to: ReplyTo,
        frame: Vec<u8>,
    },
    /// Everything is there: take connections.
    Accept,
    /// A message from nowhere: for tests, which have no second reactor.
    Deliver(Message),
    /// Take no more connections and requests; told when the last connection has gone.
    Drain(Box<dyn FnOnce() + Send>),
    /// Close what connections are left and end the thread.
    Quit,
}

/// Another reactor, as this one sees it.
pub struct Peer {
    pub id: ReactorId,
    pub to: Sender<Message>,
    pub from: Receiver<Message>,
}

/// Everything a reactor runs with.
pub struct Parts {
    pub id: ReactorId,
    pub engine: Box<dyn Engine>,
    pub network: Option<NetworkLoop>,
    pub io: Option<IoLoop>,
    pub peers: Vec<Peer>,
    pub directives: Receiver<Directive>,
    pub sleeper: Arc<Sleeper>,
    pub metrics: Arc<CachePadded<ThreadMetrics>>,
    /// How long to look for work before sleeping, in microseconds.
    pub spin_us: u64,
}

/// A reactor between two turns.
pub struct Reactor {
    id: ReactorId,
    engine: Box<dyn Engine>,
    network: Option<NetworkLoop>,
    io: Option<IoLoop>,
    peers: Vec<Peer>,
    directives: Receiver<Directive>,
    sleeper: Arc<Sleeper>,
    metrics: Arc<CachePadded<ThreadMetrics>>,
    spin_us: u64,
    completions: Vec<Completion>,
    commands: Vec<(ReactorId, Command)>,
    outcomes: Vec<(ReactorId, Outcome)>,
    /// Told when the last connection has gone.
    draining: Option<Box<dyn FnOnce() + Send>>,
    /// The last turn left work that must not wait.
    busy: bool,
}

/// Local exchanges between the two loops in one turn; what is left goes on in the next.
const EXCHANGES_MAX: usize = 4;
/// Messages taken from one peer in a turn.
const MESSAGES_MAX: usize = 4096;

impl Reactor {
    pub fn new(parts: Parts) -> Reactor {
        let Parts { id, engine, network, io, peers, directives, sleeper, metrics, spin_us } = parts;
        Reactor {
            id,
            engine,
            network,
            io,
            peers,
            directives,
            sleeper,
            metrics,
            spin_us,
            completions: Vec::new(),
            commands: Vec::new(),
            outcomes: Vec::new(),
            draining: None,
            busy: true,
        }
    }

    /// Runs until told to quit. An error is one of the engine: the thread has lost its world.
    pub fn run(mut self) -> io::Result<()> {
        while self.turn()? {}
        Ok(())
    }

    /// One turn: waits for something to do, does all there is, submits once with the next turn. False when told to quit.
    pub fn turn(&mut self) -> io::Result<bool> {
        let wait = self.wait(self.busy);
        let mut completions = std::mem::take(&mut self.completions);
        self.engine.turn(wait, &mut completions)?;
        self.sleeper.awake();
        let now = self.engine.now();
        for completion in completions.drain(..) {
            self.on_completion(completion, now);
        }
        self.completions = completions;
        self.take_messages(now);
        let quit = self.take_directives();
        if let Some(network) = &mut self.network
            && network.next_deadline() <= now
        {
            network.on_time(now, &mut *self.engine);
        }
        if let Some(io) = &mut self.io
            && io.next_deadline() <= now
        {
            io.on_time(now, &mut *self.engine);
        }
        self.busy = false;
        for _ in 0..EXCHANGES_MAX {
            self.busy = self.exchange(now);
            if !self.busy {
                break;
            }
        }
        for peer in &mut self.peers {
            peer.to.flush(&mut *self.engine);
            self.busy |= peer.to.backlog() > 0;
        }
        self.metrics.turns.increment();
        self.metrics.turn.record(self.engine.now().since(now).as_nanos() as u64);
        if self.network.as_ref().is_none_or(NetworkLoop::is_empty)
            && let Some(done) = self.draining.take()
        {
            done();
        }
        Ok(!quit)
    }

    fn on_completion(&mut self, completion: Completion, now: Instant) {
        if completion.token == WAKE {
            return;
        }
        if token_kind(completion.token) >= io_thread::tokens::FLUSH {
            if let Some(io) = &mut self.io {
                io.on_completion(completion, &mut *self.engine);
            }
        } else if let Some(network) = &mut self.network {
            network.on_completion(completion, now, &mut *self.engine);
        }
    }

    fn take_messages(&mut self, now: Instant) {
        for peer in &mut self.peers {
            for _ in 0..MESSAGES_MAX {
                let Some(message) = peer.from.pop() else { break };
                deliver(peer.id, message, &mut self.network, &mut self.io, &mut *self.engine, now);
            }
        }
    }

    /// True when told to quit.
    fn take_directives(&mut self) -> bool {
        let mut quit = false;
        while let Some(directive) = self.directives.pop() {
            match (directive, &mut self.network, &mut self.io) {
                (Directive::Order(order), _, Some(io)) => io.on_order(order, &mut *self.engine),
                (Directive::Answer { reply_to, frame }, Some(network), _) => {
                    network.on_answer(reply_to, frame);
                }
                (Directive::Deliver(message), network, io) => {
                    let now = self.engine.now();
                    deliver(self.id, message, network, io, &mut *self.engine, now);
                }
                (Directive::Accept, Some(network), _) => network.start(&mut *self.engine),
                (Directive::Accept, None, _) => {}
                (Directive::Drain(done), Some(network), _) => {
                    network.stop();
                    self.draining = Some(done);
                }
                (Directive::Drain(done), None, _) => done(),
                (Directive::Quit, _, _) => quit = true,
                (Directive::Order(_), _, None) => {
                    unreachable!("an order for a reactor without an IO loop")
                }
                (Directive::Answer { .. }, None, _) => {
                    unreachable!("an answer for a reactor without connections")
                }
            }
        }
        quit
    }

    /// Lets the two loops answer each other once. True when there is more to exchange.
    fn exchange(&mut self, now: Instant) -> bool {
        if let Some(network) = &mut self.network {
            network.take_commands(&mut self.commands);
        }
        for (to, command) in self.commands.drain(..) {
            if to == self.id {
                self.io.as_mut().expect("a home is a reactor with an IO loop").on_command(command, now);
            } else {
                peer(&mut self.peers, to).to.push(Message::Command(command));
            }
        }
        if let Some(io) = &mut self.io {
            io.end_turn(now, &mut *self.engine);
            io.take_outcomes(&mut self.outcomes);
        }
        for (to, outcome) in self.outcomes.drain(..) {
            if to == self.id {
                let network = self.network.as_mut().expect("an outcome goes where the command came from");
                network.on_outcome(to, outcome, &mut *self.engine);
            } else {
                peer(&mut self.peers, to).to.push(Message::Outcome(outcome));
            }
        }
        let Some(network) = &mut self.network else { return false };
        network.end_turn(now, &mut *self.engine);
        for (to, listener, socket) in network.take_handovers() {
            peer(&mut self.peers, to).to.push(Message::Connection { listener, socket });
        }
        network.has_commands()
    }

    /// How to wait for the next turn: not at all while there is work, else after a bounded spin.
    fn wait(&mut self, busy: bool) -> Wait {
        if busy {
            return Wait::Poll;
        }
        if self.spin_us > 0 {
            let until = self.engine.now().0 + self.spin_us * 1000;
            loop {
                if self.engine.ready() || self.has_messages() {
                    return Wait::Poll;
                }
                if self.engine.now().0 >= until {
                    break;
                }
                std::hint::spin_loop();
            }
        }
        self.sleeper.fall_asleep();
        // Whoever sent before the flag was up did not wake us.
        if self.has_messages() {
            return Wait::Poll;
        }
        let network = self.network.as_ref().map_or(Instant(u64::MAX), NetworkLoop::next_deadline);
        let io = self.io.as_ref().map_or(Instant(u64::MAX), IoLoop::next_deadline);
        Wait::Until(network.min(io))
    }

    fn has_messages(&self) -> bool {
        !self.directives.is_empty() || self.peers.iter().any(|peer| !peer.from.is_empty())
    }
}

/// Hands a message to the loop it is for.
fn deliver(
    from: ReactorId,
    message: Message,
    network: &mut Option<NetworkLoop>,
    io: &mut Option<IoLoop>,
    engine: &mut dyn Engine,
    now: Instant,
) {
    match (message, network, io) {
        (Message::Command(command), _, Some(io)) => io.on_command(command, now),
        (Message::Outcome(outcome), Some(network), _) => network.on_outcome(from, outcome, engine),
        (Message::Connection { listener, socket }, Some(network), _) => {
            network.add_connection(listener, socket, now);
        }
        // A message for a loop that this reactor does not run is a bug of placement.
        (Message::Command(_), _, None) => unreachable!("a command for a reactor without an IO loop"),
        (Message::Outcome(_) | Message::Connection { .. }, None, _) => {
            unreachable!("an outcome for a reactor without a network loop")
        }
    }
}

fn peer(peers: &mut [Peer], id: ReactorId) -> &mut Peer {
    peers.iter_mut().find(|peer| peer.id == id).expect("every reactor is a peer of every other")
}
