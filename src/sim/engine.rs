//! An engine without a kernel: sockets are queues of bytes, files are those of `SimDisk`, time moves when it is waited for.
//!
//! In: the operations of the loops under test, and bytes a test puts into sockets. Out: completions in any order and as late
//! as the seed says, receives cut anywhere, direct sends that take a part or nothing.

use std::cell::{RefCell, RefMut};
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;

use crate::clock::{Instant, WallMs};
use crate::reactor::{Completion, Disk, Done, Engine, File, Lease, Operation, Socket, Token, Wait, Waker};
use crate::sim::{Random, SimDisk};

/// Bytes one receive brings at most.
const RECEIVE_BYTES_MAX: u64 = 5000;

#[derive(Debug, Default)]
struct Stream {
    /// Sent by the test, not received yet.
    inbound: Vec<u8>,
    /// Sent by the loops.
    outbound: Vec<u8>,
    /// What direct sends may still take before they would block.
    room: usize,
    /// The test's end is closed.
    ended: bool,
}

#[derive(Debug)]
struct World {
    random: Random,
    now: Instant,
    streams: BTreeMap<u64, Stream>,
    pending: Vec<(Token, Operation)>,
}

/// The engine. Clones share it: one goes to the loops, one stays with the test.
#[derive(Clone, Debug)]
pub struct SimEngine {
    world: Rc<RefCell<World>>,
    disk: SimDisk,
    waker: Waker,
}

impl SimEngine {
    /// An engine over a disk; `seed` decides all that chance decides.
    pub fn new(seed: u64, disk: SimDisk) -> io::Result<SimEngine> {
        let world = World {
            random: Random::new(seed),
            now: Instant(1_000_000_000),
            streams: BTreeMap::new(),
            pending: Vec::new(),
        };
        Ok(SimEngine { world: Rc::new(RefCell::new(world)), disk, waker: Waker::by_event()? })
    }

    fn world(&self) -> RefMut<'_, World> {
        self.world.borrow_mut()
    }

    /// A connected socket.
    pub fn connect(&self) -> Socket {
        let mut world = self.world();
        let number = world.streams.len() as u64 + 1;
        world.streams.insert(number, Stream::default());
        Socket::from_double(number)
    }

    /// Sends bytes to the loops.
    pub fn send(&self, socket: &Socket, bytes: &[u8]) {
        self.world().stream(socket).inbound.extend_from_slice(bytes);
    }

    /// Closes the test's end.
    pub fn end(&self, socket: &Socket) {
        self.world().stream(socket).ended = true;
    }

    /// Takes what the loops have sent.
    pub fn take_sent(&self, socket: &Socket) -> Vec<u8> {
        std::mem::take(&mut self.world().stream(socket).outbound)
    }
}

impl World {
    fn stream(&mut self, socket: &Socket) -> &mut Stream {
        let number = socket.double().expect("a socket of this engine");
        self.streams.get_mut(&number).expect("made by connect")
    }

    /// What an operation comes to now; `None` leaves it pending.
    fn complete(&mut self, operation: Operation, disk: &SimDisk) -> Result<Done, Operation> {
        match operation {
            Operation::Receive { socket } => match self.receive(&socket, RECEIVE_BYTES_MAX as usize) {
                Some(bytes) => Ok(Done::Received(Ok(Lease::from(bytes)))),
                None => Err(Operation::Receive { socket }),
            },
            Operation::ReceiveInto { socket, mut into, filled } => {
                match self.receive(&socket, into.len() - filled) {
                    Some(bytes) => {
                        into[filled..filled + bytes.len()].copy_from_slice(&bytes);
                        Ok(Done::ReceivedInto { into, result: Ok(bytes.len()) })
                    }
                    None => Err(Operation::ReceiveInto { socket, into, filled }),
                }
            }
            Operation::Send { socket, bytes, from } => {
                self.stream(&socket).outbound.extend_from_slice(&bytes[from..]);
                Ok(Done::Sent { bytes, result: Ok(()) })
            }
            Operation::WaitWritable { socket } => {
                let room = 1 + self.random.below(3000) as usize;
                self.stream(&socket).room = room;
                Ok(Done::Writable(Ok(())))
            }
            Operation::Read { file, position, mut into } => {
                let result = disk.read_full_at(&file, position, &mut into);
                into.truncate(*result.as_ref().unwrap_or(&0));
                Ok(Done::Read { into, result })
            }
            Operation::SyncData { file } => Ok(Done::Flushed(disk.sync_data(&file))),
            Operation::SyncFileSystem { file } => Ok(Done::Flushed(disk.sync_file_system(&file))),
            Operation::WriteOut { file, position, length, drop: true } => {
                let result = disk.wait_write_out(&file, position, length);
                Ok(Done::WrittenOut(result.and_then(|()| disk.drop_pages(&file, position, length))))
            }
            Operation::WriteOut { file, position, length, drop: false } => {
                Ok(Done::WrittenOut(disk.start_write_out(&file, position, length)))
            }
            // The test makes its connections by `connect`.
            Operation::Accept { .. } | Operation::Connect { .. } => Err(operation),
        }
    }

    fn receive(&mut self, socket: &Socket, bytes_max: usize) -> Option<Vec<u8>> {
        let there = self.stream(socket).inbound.len().min(bytes_max);
        if there == 0 {
            return self.stream(socket).ended.then(Vec::new);
        }
        let count = 1 + self.random.below(there as u64) as usize;
        Some(self.stream(socket).inbound.drain(..count).collect())
    }

    /// Takes what fits of a direct send.
    fn take_room(&mut self, socket: &Socket, wanted: usize) -> io::Result<usize> {
        let stream = self.stream(socket);
        let count = stream.room.min(wanted);
        if count == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        stream.room -= count;
        Ok(count)
    }
}

impl Engine for SimEngine {
    fn submit(&mut self, token: Token, operation: Operation) {
        self.world().pending.push((token, operation));
    }

    fn turn(&mut self, wait: Wait, out: &mut Vec<Completion>) -> io::Result<()> {
        let mut world = self.world.borrow_mut();
        let mut waiting = std::mem::take(&mut world.pending);
        let before = out.len();
        while !waiting.is_empty() {
            let at = world.random.below(waiting.len() as u64) as usize;
            let (token, operation) = waiting.swap_remove(at);
            let held = world.random.one_in(4);
            let result = if held { Err(operation) } else { world.complete(operation, &self.disk) };
            match result {
                Ok(done) => out.push(Completion { token, done }),
                Err(operation) => world.pending.push((token, operation)),
            }
        }
        if out.len() == before
            && let Wait::Until(until) = wait
        {
            // Nothing happened: time passes, at most to the deadline.
            let step = Instant(world.now.0 + 1_000_000);
            world.now = step.min(until).max(world.now);
        }
        Ok(())
    }

    fn ready(&self) -> bool {
        false
    }

    fn in_flight(&self) -> usize {
        self.world.borrow().pending.len()
    }

    fn waker(&self) -> Waker {
        self.waker.clone()
    }

    fn wake(&mut self, target: &Waker) {
        target.wake();
    }

    fn hold(&mut self, _: &File) -> io::Result<()> {
        Ok(())
    }

    fn send_now(&mut self, socket: &Socket, bytes: &[u8], _: bool) -> io::Result<usize> {
        let mut world = self.world();
        let count = world.take_room(socket, bytes.len())?;
        world.stream(socket).outbound.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn send_file(&mut self, socket: &Socket, file: &File, position: u64, length: usize) -> io::Result<usize> {
        let mut world = self.world();
        let count = world.take_room(socket, length)?;
        let mut bytes = vec![0; count];
        let read = self.disk.read_full_at(file, position, &mut bytes)?;
        world.stream(socket).outbound.extend_from_slice(&bytes[..read]);
        Ok(read)
    }

    fn disk(&self) -> &dyn Disk {
        &self.disk
    }

    fn now(&self) -> Instant {
        self.world.borrow().now
    }

    fn wall(&self) -> WallMs {
        WallMs(1_700_000_000_000 + (self.now().0 / 1_000_000) as i64)
    }

    fn random(&mut self) -> u64 {
        self.world().random.next_u64()
    }
}
