//! One client connection: bytes in become frames, responses go out in the order of their requests.
//!
//! In: received leases and finished responses. Out: frames, and pieces to send. A connection holds memory only for bytes
//! it has received (at most four times as many, plus 4 KiB, for an unfinished frame), never for a size that a client
//! merely announced (`FAULTS.md` 5.1 rule 4).

use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::api::command::Piece;
use crate::clock::Instant;
use crate::network_thread::throttle::Limited;
use crate::reactor::buffer::Recycler;
use crate::reactor::{Lease, Socket};
use crate::wire::frame::{self, FrameError};

/// What answers a request.
#[derive(Debug)]
pub enum Response {
    /// Nothing is sent (acks=0).
    Nothing,
    Pieces(Vec<Piece>),
    /// The connection ends once what precedes has been sent.
    Close,
}

/// A request that has been taken and not yet been answered.
#[derive(Debug)]
pub struct Pending<S> {
    /// Number within the connection.
    pub number: u32,
    pub received: Instant,
    /// Bytes of the frame.
    pub bytes: usize,
    pub state: S,
    pub response: Option<Response>,
}

/// Which receive operation is out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Receiving {
    Nothing,
    /// Into a buffer of the pool.
    Pool,
    /// Into the unfinished frame.
    Frame,
}

/// The start of a frame whose end has not come yet, its size field included.
#[derive(Debug, Default)]
struct Unfinished {
    /// Its length is the room there is; only the first `filled` bytes count.
    bytes: Vec<u8>,
    filled: usize,
}

/// One client connection; `S` is what a pending request waits for.
#[derive(Debug)]
pub struct Connection<S> {
    pub socket: Socket,
    pub generation: u32,
    pub peer: SocketAddr,
    /// Number of the listener it came by.
    pub listener: u16,
    pub receiving: Receiving,
    unfinished: Unfinished,
    /// Received, and not looked at while the connection is muted.
    held: Option<Lease>,
    held_frame: Option<Lease>,
    pub requests: VecDeque<Pending<S>>,
    pub requests_taken: u32,
    pub out: VecDeque<Piece>,
    /// A send or a wait for room is with the engine.
    pub sending: bool,
    pub last_active: Instant,
    /// What its client is limited to, while somebody is.
    pub limited: Option<Box<Limited>>,
    /// Its client has been too fast: until then no request is taken (contract 1.1).
    pub muted_until: Option<Instant>,
    /// No more requests are taken; it ends when the last response has been sent.
    pub closing: bool,
}

/// Frames this much longer than what is there are received straight into their own memory.
const STRAIGHT_BYTES_MIN: usize = 32 * 1024;
const UNFINISHED_BYTES_MIN: usize = 4096;

impl<S> Connection<S> {
    pub fn new(
        socket: Socket,
        generation: u32,
        peer: SocketAddr,
        listener: u16,
        now: Instant,
    ) -> Connection<S> {
        Connection {
            socket,
            generation,
            peer,
            listener,
            receiving: Receiving::Nothing,
            unfinished: Unfinished::default(),
            held: None,
            held_frame: None,
            requests: VecDeque::new(),
            requests_taken: 0,
            out: VecDeque::new(),
            sending: false,
            last_active: now,
            limited: None,
            muted_until: None,
            closing: false,
        }
    }

    /// Takes what the engine received.
    pub fn take(&mut self, lease: Lease) {
        assert!(self.held.is_none(), "nothing is received while bytes are held");
        self.held = Some(lease);
    }

    /// Takes back the memory of the unfinished frame with `count` more bytes in it.
    pub fn take_into(&mut self, bytes: Vec<u8>, count: usize) {
        self.unfinished.bytes = bytes;
        self.unfinished.filled += count;
    }

    /// Puts a frame back that cannot be handled yet: the next `frame` returns it again.
    pub fn hold_frame(&mut self, frame: Lease) {
        self.held_frame = Some(frame);
    }

    /// The next whole frame, without its size field.
    pub fn frame(&mut self, size_max: usize, recycler: &Recycler) -> Result<Option<Lease>, FrameError> {
        if let Some(frame) = self.held_frame.take() {
            return Ok(Some(frame));
        }
        loop {
            if self.unfinished.filled > 0 {
                if let Some(frame) = self.finish(size_max, recycler)? {
                    return Ok(Some(frame));
                }
                if self.held.is_none() {
                    return Ok(None);
                }
                continue;
            }
            let Some(held) = &mut self.held else { return Ok(None) };
            match frame::front(held, size_max)? {
                frame::Front::Whole { used, .. } => {
                    let mut whole = held.split_to(used);
                    if held.is_empty() {
                        self.held = None;
                    }
                    drop(whole.split_to(frame::SIZE_BYTES));
                    return Ok(Some(whole));
                }
                frame::Front::Partial { .. } | frame::Front::Unknown => {
                    let rest = self.held.take().expect("just looked at");
                    if rest.is_empty() {
                        return Ok(None);
                    }
                    self.unfinished.bytes = recycler.take(rest.len().max(UNFINISHED_BYTES_MIN));
                    self.unfinished.bytes[..rest.len()].copy_from_slice(&rest);
                    self.unfinished.filled = rest.len();
                }
            }
        }
    }

    /// Moves held bytes into the unfinished frame; the frame when it is whole.
    fn finish(&mut self, size_max: usize, recycler: &Recycler) -> Result<Option<Lease>, FrameError> {
        loop {
            let whole = match frame::front(&self.unfinished.bytes[..self.unfinished.filled], size_max)? {
                frame::Front::Unknown => frame::SIZE_BYTES,
                frame::Front::Partial { size, .. } => frame::SIZE_BYTES + size,
                frame::Front::Whole { used, .. } => {
                    let unfinished = std::mem::take(&mut self.unfinished);
                    let mut lease = recycler.lease(unfinished.bytes);
                    drop(lease.split_to(frame::SIZE_BYTES));
                    return Ok(Some(lease.split_to(used - frame::SIZE_BYTES)));
                }
            };
            let missing = whole - self.unfinished.filled;
            let Some(held) = &mut self.held else {
                self.reserve(whole, recycler);
                return Ok(None);
            };
            let more = held.split_to(missing.min(held.len()));
            if held.is_empty() {
                self.held = None;
            }
            let filled = self.unfinished.filled;
            if self.unfinished.bytes.len() < filled + more.len() {
                self.grow(filled + more.len(), recycler);
            }
            self.unfinished.bytes[filled..filled + more.len()].copy_from_slice(&more);
            self.unfinished.filled += more.len();
        }
    }

    /// Room for more of a frame of `whole` bytes: all of it once a quarter is there.
    fn reserve(&mut self, whole: usize, recycler: &Recycler) {
        let wanted = whole.min((self.unfinished.filled * 4).max(UNFINISHED_BYTES_MIN));
        if self.unfinished.bytes.len() < wanted {
            self.grow(wanted, recycler);
        }
    }

    fn grow(&mut self, room: usize, recycler: &Recycler) {
        let mut bytes = recycler.take(room);
        let filled = self.unfinished.filled;
        bytes[..filled].copy_from_slice(&self.unfinished.bytes[..filled]);
        recycler.give(std::mem::replace(&mut self.unfinished.bytes, bytes));
    }

    /// What to receive next: the memory of the unfinished frame and how much of it is filled, or `None` for a buffer of
    /// the pool. Only while nothing is held.
    pub fn receive_into(&mut self) -> Option<(Vec<u8>, usize)> {
        let filled = self.unfinished.filled;
        if filled < frame::SIZE_BYTES {
            return None;
        }
        let size = i32::from_be_bytes(self.unfinished.bytes[..4].try_into().expect("four bytes"));
        let whole = frame::SIZE_BYTES + usize::try_from(size).ok()?;
        if whole - filled < STRAIGHT_BYTES_MIN {
            return None;
        }
        let mut bytes = std::mem::take(&mut self.unfinished.bytes);
        // The memory may be a recycled one with more room than the frame needs.
        bytes.truncate(whole);
        Some((bytes, filled))
    }

    /// True when received bytes wait to be looked at.
    pub fn holds_bytes(&self) -> bool {
        self.held.is_some() || self.held_frame.is_some()
    }

    /// Bytes of memory for frames that are not being handled.
    pub fn held_bytes(&self) -> usize {
        self.unfinished.bytes.len()
            + self.held.as_ref().map_or(0, |held| held.len())
            + self.held_frame.as_ref().map_or(0, |frame| frame.len())
    }

    /// Records the response of request `number`, and moves every response whose turn has come to `out`. True when there
    /// is something new to send or to do.
    pub fn respond(&mut self, number: u32, response: Response) -> bool {
        let Some(front) = self.requests.front() else { return false };
        let place = number.wrapping_sub(front.number) as usize;
        let Some(pending) = self.requests.get_mut(place) else { return false };
        pending.response = Some(response);
        if place > 0 {
            return false;
        }
        while let Some(Pending { response: Some(_), .. }) = self.requests.front() {
            let done = self.requests.pop_front().expect("just looked at");
            match done.response.expect("just matched") {
                Response::Nothing => {}
                Response::Pieces(pieces) => {
                    for piece in pieces {
                        self.add(piece);
                    }
                }
                Response::Close => {
                    self.closing = true;
                    self.requests.clear();
                }
            }
        }
        true
    }

    fn add(&mut self, piece: Piece) {
        match (self.out.back_mut(), piece) {
            // Small answers of one turn leave as one send.
            (Some(Piece::Bytes(last)), Piece::Bytes(bytes)) if last.len() + bytes.len() <= 64 * 1024 => {
                last.extend_from_slice(&bytes);
            }
            (_, piece) => self.out.push_back(piece),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection() -> Connection<()> {
        Connection::new(Socket::from_double(1), 1, "127.0.0.1:1".parse().unwrap(), 0, Instant(0))
    }

    fn frames(stream: &[u8], cut: usize) -> Vec<Vec<u8>> {
        let recycler = Recycler::new(1 << 20);
        let mut connection = connection();
        let mut seen = Vec::new();
        let mut rest = stream;
        while !rest.is_empty() {
            let piece;
            match connection.receive_into() {
                Some((mut bytes, filled)) => {
                    let count = cut.min(rest.len()).min(bytes.len() - filled);
                    (piece, rest) = rest.split_at(count);
                    bytes[filled..filled + count].copy_from_slice(piece);
                    connection.take_into(bytes, count);
                }
                None => {
                    (piece, rest) = rest.split_at(cut.min(rest.len()));
                    connection.take(Lease::from(piece.to_vec()));
                }
            }
            while let Some(frame) = connection.frame(1 << 20, &recycler).unwrap() {
                seen.push(frame.to_vec());
            }
        }
        assert_eq!(connection.unfinished.filled, 0);
        seen
    }

    #[test]
    fn the_same_frames_come_out_however_the_stream_is_cut() {
        let wanted: Vec<Vec<u8>> = [5usize, 1, 100_000, 4, 70_000, 300, 5000]
            .iter()
            .enumerate()
            .map(|(i, n)| vec![i as u8; *n])
            .collect();
        let mut stream = Vec::new();
        for frame in &wanted {
            stream.extend_from_slice(&(frame.len() as i32).to_be_bytes());
            stream.extend_from_slice(frame);
        }
        for cut in [1, 2, 3, 5, 7, 100, 1000, 4096, 33_333, 65_536, 131_072, 1 << 20] {
            assert_eq!(frames(&stream, cut), wanted, "cut every {cut} bytes");
        }
    }

    #[test]
    fn an_announced_size_reserves_no_more_than_four_times_what_came() {
        let recycler = Recycler::new(1 << 20);
        let mut connection = connection();
        let mut first = (50i32 << 20).to_be_bytes().to_vec();
        first.push(1);
        connection.take(Lease::from(first));
        assert!(connection.frame(100 << 20, &recycler).unwrap().is_none());
        assert!(connection.held_bytes() <= 8192, "{}", connection.held_bytes());
    }

    #[test]
    fn responses_leave_in_the_order_of_their_requests() {
        let mut connection = connection();
        for number in 0..3 {
            connection.requests.push_back(Pending {
                number,
                received: Instant(0),
                bytes: 1,
                state: (),
                response: None,
            });
        }
        let answer = |text: &[u8]| Response::Pieces(vec![Piece::Bytes(text.to_vec())]);
        assert!(!connection.respond(2, answer(b"c")));
        assert!(!connection.respond(1, Response::Nothing));
        assert!(connection.out.is_empty());
        assert!(connection.respond(0, answer(b"a")));
        assert!(matches!(&connection.out.make_contiguous()[..], [Piece::Bytes(sent)] if sent == b"ac"));
        assert!(connection.requests.is_empty());
        assert!(!connection.respond(0, answer(b"late")), "a late answer finds nothing");
    }
}
