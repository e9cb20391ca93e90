//! Messages between pinned threads: one ring per pair of sender and receiver, and a flag that says who sleeps.
//!
//! A sender wakes the receiver only when it sleeps, because a wake costs far more than the hop (`MEASURED.md`). The
//! data is in the mailbox before the wake, and the receiver looks once more after it has raised its flag, so a wake
//! that is lost or late loses nothing (`FAULTS.md` H30).

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering, fence};

use crate::reactor::{Engine, Waker};

/// A bounded stack of slot numbers that any thread pushes to and one thread pops from, without a lock.
///
/// Each number may be in it once, so there is one link per number and pushing cannot fail.
#[derive(Debug)]
pub(super) struct Stack {
    /// Number + 1 of the top; 0 when empty.
    top: AtomicU32,
    next: Box<[AtomicU32]>,
}

impl Stack {
    pub(super) fn new(numbers: usize) -> Stack {
        Stack { top: AtomicU32::new(0), next: (0..numbers).map(|_| AtomicU32::new(0)).collect() }
    }

    pub(super) fn push(&self, number: u16) {
        let mut top = self.top.load(Ordering::Relaxed);
        loop {
            self.next[usize::from(number)].store(top, Ordering::Relaxed);
            let new = u32::from(number) + 1;
            match self.top.compare_exchange_weak(top, new, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => top = now,
            }
        }
    }

    /// Only one thread pops, so a number read as top cannot be popped and pushed again in between by another.
    pub(super) fn pop(&self) -> Option<u16> {
        let mut top = self.top.load(Ordering::Acquire);
        loop {
            let number = top.checked_sub(1)?;
            let next = self.next[number as usize].load(Ordering::Relaxed);
            match self.top.compare_exchange_weak(top, next, Ordering::Acquire, Ordering::Acquire) {
                Ok(_) => return Some(number as u16),
                Err(now) => top = now,
            }
        }
    }
}

/// Whether a thread sleeps, and how to wake it.
#[derive(Debug)]
pub struct Sleeper {
    asleep: AtomicBool,
    waker: Waker,
}

impl Sleeper {
    pub fn new(waker: Waker) -> Arc<Sleeper> {
        Arc::new(Sleeper { asleep: AtomicBool::new(false), waker })
    }

    /// Called by the owner before it waits; it must look into its mailboxes once more afterwards.
    pub fn fall_asleep(&self) {
        self.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Called by the owner when it is awake again.
    pub fn awake(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }

    /// Wakes the owner if it sleeps, by a system call: for threads without a ring.
    pub fn wake(&self) {
        if self.claim() {
            self.waker.wake();
        }
    }

    /// Wakes the owner if it sleeps, by way of `engine`.
    pub fn wake_by(&self, engine: &mut dyn Engine) {
        if self.claim() {
            engine.wake(&self.waker);
        }
    }

    /// True for the one caller that has to wake the owner.
    fn claim(&self) -> bool {
        fence(Ordering::SeqCst);
        self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::Relaxed)
    }
}

/// The sending end. What does not fit waits in order on the sender's side: `flush` moves it on.
#[derive(Debug)]
pub struct Sender<T> {
    ring: rtrb::Producer<T>,
    overflow: VecDeque<T>,
    receiver: Arc<Sleeper>,
    pushed: bool,
}

/// The receiving end.
#[derive(Debug)]
pub struct Receiver<T> {
    ring: rtrb::Consumer<T>,
}

/// A mailbox of `capacity` messages for the thread behind `receiver`.
pub fn mailbox<T>(capacity: usize, receiver: Arc<Sleeper>) -> (Sender<T>, Receiver<T>) {
    let (producer, consumer) = rtrb::RingBuffer::new(capacity);
    (
        Sender { ring: producer, overflow: VecDeque::new(), receiver, pushed: false },
        Receiver { ring: consumer },
    )
}

impl<T> Sender<T> {
    /// Adds a message; the receiver learns of it with the next `flush`.
    pub fn push(&mut self, message: T) {
        self.pushed = true;
        if self.overflow.is_empty() {
            match self.ring.push(message) {
                Ok(()) => {}
                Err(rtrb::PushError::Full(message)) => self.overflow.push_back(message),
            }
        } else {
            self.overflow.push_back(message);
        }
    }

    /// Moves on what had not fitted and wakes the receiver if it sleeps. Once per turn.
    pub fn flush(&mut self, engine: &mut dyn Engine) {
        if self.advance() {
            self.receiver.wake_by(engine);
        }
    }

    /// As `flush`, for a thread without an engine.
    pub fn flush_by_call(&mut self) {
        if self.advance() {
            self.receiver.wake();
        }
    }

    /// Messages that still wait on this side: the sender must not sleep for long while there are any.
    pub fn backlog(&self) -> usize {
        self.overflow.len()
    }

    fn advance(&mut self) -> bool {
        while let Some(message) = self.overflow.pop_front() {
            if let Err(rtrb::PushError::Full(message)) = self.ring.push(message) {
                self.overflow.push_front(message);
                break;
            }
            self.pushed = true;
        }
        std::mem::take(&mut self.pushed)
    }
}

impl<T> Receiver<T> {
    pub fn pop(&mut self) -> Option<T> {
        self.ring.pop().ok()
    }

    pub fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }
}
