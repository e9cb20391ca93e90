//! Frames (contract 1.1): a TCP stream cut into `i32 size` + `size` bytes.
//!
//! In: bytes as a socket delivers them, cut anywhere. Out: whole frames without their size field, in order.
//! What is kept grows with bytes received, never with an announced size. After an error nothing of the stream can be
//! trusted: the connection has to be closed.

/// Bytes of the size field in front of every frame.
pub const SIZE_BYTES: usize = 4;

/// A size field no connection survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("a frame announces {size} bytes")]
    Negative { size: i32 },
    #[error("a frame announces no bytes: there is no request of size 0")]
    Zero,
    #[error("a frame announces {size} bytes, allowed are {size_max} (socket.request.max.bytes)")]
    TooLarge { size: usize, size_max: usize },
}

/// What the front of a byte stream holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Front<'a> {
    /// A whole frame. `used` bytes of the stream belong to it, the size field included.
    Whole { frame: &'a [u8], used: usize },
    /// The size is known, and more bytes are needed: `missing` of them.
    Partial { size: usize, missing: usize },
    /// Not even the size field is there.
    Unknown,
}

/// Looks at the front of `stream` without taking anything.
pub fn front(stream: &[u8], size_max: usize) -> Result<Front<'_>, FrameError> {
    let Some((size, rest)) = stream.split_first_chunk::<SIZE_BYTES>() else { return Ok(Front::Unknown) };
    let size = checked_size(i32::from_be_bytes(*size), size_max)?;
    match rest.get(..size) {
        Some(frame) => Ok(Front::Whole { frame, used: SIZE_BYTES + size }),
        None => Ok(Front::Partial { size, missing: size - rest.len() }),
    }
}

/// The size field as a length, or why no frame can have it.
pub fn checked_size(size: i32, size_max: usize) -> Result<usize, FrameError> {
    match usize::try_from(size) {
        Err(_) => Err(FrameError::Negative { size }),
        Ok(0) => Err(FrameError::Zero),
        Ok(size) if size > size_max => Err(FrameError::TooLarge { size, size_max }),
        Ok(size) => Ok(size),
    }
}

/// Cuts a stream into frames and keeps the unfinished rest; for those who have no buffers of their own to keep it in.
#[derive(Debug)]
pub struct Splitter {
    size_max: usize,
    kept: Vec<u8>,
}

impl Splitter {
    pub fn new(size_max: usize) -> Splitter {
        Splitter { size_max, kept: Vec::new() }
    }

    /// Bytes kept of a frame that has not arrived whole.
    pub fn kept_bytes(&self) -> usize {
        self.kept.len()
    }

    /// Takes the next piece of the stream and hands each frame that it completes to `on_frame`.
    pub fn feed(&mut self, mut piece: &[u8], mut on_frame: impl FnMut(&[u8])) -> Result<(), FrameError> {
        // The frame begun earlier takes exactly what it misses, so that later frames are not copied.
        while !self.kept.is_empty() && !piece.is_empty() {
            let wanted = match front(&self.kept, self.size_max)? {
                Front::Unknown => SIZE_BYTES - self.kept.len(),
                Front::Partial { missing, .. } => missing,
                Front::Whole { .. } => 0,
            };
            let (more, rest) = piece.split_at(wanted.min(piece.len()));
            self.kept.extend_from_slice(more);
            piece = rest;
            if let Front::Whole { frame, .. } = front(&self.kept, self.size_max)? {
                on_frame(frame);
                self.kept.clear();
            }
        }
        while let Front::Whole { frame, used } = front(piece, self.size_max)? {
            on_frame(frame);
            piece = &piece[used..];
        }
        self.kept.extend_from_slice(piece);
        Ok(())
    }
}

/// Starts a frame in `out`; `end` fills in its size.
pub fn begin(out: &mut Vec<u8>) -> FrameStart {
    let start = FrameStart(out.len());
    out.extend_from_slice(&[0; SIZE_BYTES]);
    start
}

/// Where a frame that is being written begins.
#[derive(Clone, Copy, Debug)]
#[must_use = "a frame without its size is not a frame"]
pub struct FrameStart(usize);

impl FrameStart {
    /// Ends the frame: its size counts what was appended since `begin`, and `elsewhere` bytes that follow by another
    /// way (file ranges sent to the socket). Returns the bytes of the whole frame, its size field included.
    pub fn end(self, out: &mut [u8], elsewhere: usize) -> usize {
        let whole = out.len() - self.0 + elsewhere;
        let size = i32::try_from(whole - SIZE_BYTES).expect("a response is planned to stay below 2 GiB");
        out[self.0..self.0 + SIZE_BYTES].copy_from_slice(&size.to_be_bytes());
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(frames: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        for frame in frames {
            let start = begin(&mut out);
            out.extend_from_slice(frame);
            start.end(&mut out, 0);
        }
        out
    }

    #[test]
    fn the_same_frames_come_out_however_the_stream_is_cut() {
        let frames: [&[u8]; 4] = [b"a", b"some longer frame", b"xy", &[7; 300]];
        let whole = stream(&frames);
        for step in 1..whole.len() {
            let mut splitter = Splitter::new(1000);
            let mut seen: Vec<Vec<u8>> = Vec::new();
            for piece in whole.chunks(step) {
                splitter.feed(piece, |frame| seen.push(frame.to_vec())).unwrap();
            }
            assert_eq!(seen, frames, "cut every {step} bytes");
            assert_eq!(splitter.kept_bytes(), 0);
        }
    }

    #[test]
    fn size_zero_negative_or_above_the_limit_is_an_error() {
        assert_eq!(front(&[0, 0, 0, 0], 10), Err(FrameError::Zero));
        assert_eq!(front(&[0xff; 4], 10), Err(FrameError::Negative { size: -1 }));
        assert_eq!(front(&[0, 0, 0, 11], 10), Err(FrameError::TooLarge { size: 11, size_max: 10 }));
        assert_eq!(front(&[0, 0, 0, 10], 10), Ok(Front::Partial { size: 10, missing: 10 }));
        assert_eq!(front(&[0, 0], 10), Ok(Front::Unknown));
    }

    #[test]
    fn an_announced_size_reserves_nothing() {
        let mut splitter = Splitter::new(100 << 20);
        splitter.feed(&(100i32 << 20).to_be_bytes(), |_| panic!("nothing is whole yet")).unwrap();
        splitter.feed(&[1, 2, 3], |_| panic!("nothing is whole yet")).unwrap();
        assert!(splitter.kept.capacity() < 64);
    }
}
