//! The codecs of record batches (contract 2.3): compression, and decompression that is streamed, counted and bounded.
//!
//! In: compressed bytes from a stranger, and the most they may become. Out: pieces of the plain bytes, one after the
//! other, never all of them at once; or what is wrong with them.
//! No announced size is trusted: memory for a piece is bounded by the codec's own block size, or by what the
//! compressed bytes could at most become.

use std::fmt;

use flate2::{Decompress, FlushDecompress, Status};
use zstd::zstd_safe;

use crate::checksum::xxh32;
use crate::wire::error_code::ErrorCode;

/// How the records of a batch are compressed; `as u8` is the number in the attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum Codec {
    #[default]
    None = 0,
    Gzip = 1,
    Snappy = 2,
    Lz4 = 3,
    Zstd = 4,
}

impl Codec {
    pub const ALL: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

    /// The codec with this number; 5 to 7 name none.
    pub fn from_number(number: u8) -> Option<Codec> {
        Codec::ALL.into_iter().find(|codec| *codec as u8 == number)
    }

    /// The codec with the name that `compression.type` uses.
    pub fn from_name(name: &str) -> Option<Codec> {
        Codec::ALL.into_iter().find(|codec| codec.name() == name)
    }

    pub fn name(self) -> &'static str {
        match self {
            Codec::None => "none",
            Codec::Gzip => "gzip",
            Codec::Snappy => "snappy",
            Codec::Lz4 => "lz4",
            Codec::Zstd => "zstd",
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why bytes cannot be decompressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompressionError {
    #[error("{codec}: the compressed bytes end too early")]
    Truncated { codec: Codec },
    #[error("{codec}: {what}")]
    Broken { codec: Codec, what: &'static str },
    #[error("{codec}: more than {output_max} bytes come out (max.decompressed.message.bytes)")]
    TooLarge { codec: Codec, output_max: usize },
}

impl CompressionError {
    /// What the client is told.
    pub fn code(&self) -> ErrorCode {
        match self {
            CompressionError::TooLarge { .. } => ErrorCode::MessageTooLarge,
            CompressionError::Truncated { .. } | CompressionError::Broken { .. } => ErrorCode::InvalidRecord,
        }
    }
}

/// zstd frames may ask for a window of 2 to this power, as zstd itself allows by default.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;
/// Bytes of one piece where the codec has no blocks of its own.
const PIECE_BYTES: usize = 64 * 1024;
/// Three bytes of snappy copy at most 64 bytes.
const SNAPPY_RATIO_MAX: usize = 22;

/// Memory for pieces that is kept from one use to the next: the largest block of LZ4. A snappy block can be larger.
const PIECE_KEPT_BYTES: usize = 4 << 20;

const SNAPPY_MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const SNAPPY_HEADER_BYTES: usize = 16;
const SNAPPY_BLOCK_BYTES: usize = 32 * 1024;

const LZ4_MAGIC: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];
const LZ4_BLOCK_BYTES: usize = 64 * 1024;
const LZ4_UNCOMPRESSED: u32 = 0x8000_0000;

/// Decompresses one thing at a time and keeps its memory for the next: one per thread that needs it.
#[derive(Default)]
pub struct Decompressor {
    piece: Vec<u8>,
    gzip: Option<Decompress>,
    zstd: Option<zstd_safe::DCtx<'static>>,
    lz4_header_unchecked: bool,
}

impl Decompressor {
    pub fn new() -> Decompressor {
        Decompressor::default()
    }

    /// Whether the header checksum of LZ4 frames is ignored: messages of magic 0 carry a wrong one by tradition.
    pub fn lz4_header_unchecked(&mut self, unchecked: bool) -> &mut Decompressor {
        self.lz4_header_unchecked = unchecked;
        self
    }

    /// Starts decompressing `input`, of which at most `output_max` bytes may come out.
    pub fn start<'d, 'i>(
        &'d mut self,
        codec: Codec,
        input: &'i [u8],
        output_max: usize,
    ) -> Result<Decompression<'d, 'i>, CompressionError> {
        if self.piece.len() > PIECE_KEPT_BYTES {
            self.piece = Vec::new();
        }
        let mut input = input;
        let state = match codec {
            Codec::None => State::Plain,
            Codec::Gzip => {
                self.gzip.get_or_insert_with(|| Decompress::new_gzip(15)).reset(true);
                State::Gzip
            }
            Codec::Snappy => match input.strip_prefix(&SNAPPY_MAGIC) {
                Some(rest) => {
                    input = rest
                        .get(SNAPPY_HEADER_BYTES - SNAPPY_MAGIC.len()..)
                        .ok_or(CompressionError::Truncated { codec })?;
                    State::SnappyStream
                }
                None => State::SnappyBlock,
            },
            Codec::Lz4 => {
                let unchecked = std::mem::take(&mut self.lz4_header_unchecked);
                let (frame, rest) = Lz4Frame::parse(input, unchecked)?;
                input = rest;
                State::Lz4(frame)
            }
            Codec::Zstd => {
                let context = self.zstd.get_or_insert_with(zstd_safe::DCtx::create);
                context.reset(zstd_safe::ResetDirective::SessionOnly).map_err(zstd_error)?;
                context
                    .set_parameter(zstd_safe::DParameter::WindowLogMax(ZSTD_WINDOW_LOG_MAX))
                    .map_err(zstd_error)?;
                State::Zstd { inside: true }
            }
        };
        Ok(Decompression {
            memory: self,
            codec,
            state,
            input,
            piece: 0..0,
            plain: 0..0,
            produced: 0,
            output_max,
            ended: false,
        })
    }

    /// Decompresses all of `input` behind what `output` holds.
    pub fn into_vec(
        &mut self,
        codec: Codec,
        input: &[u8],
        output_max: usize,
        output: &mut Vec<u8>,
    ) -> Result<(), CompressionError> {
        let mut decompression = self.start(codec, input, output_max)?;
        loop {
            let piece = decompression.fill()?;
            if piece.is_empty() {
                return Ok(());
            }
            output.extend_from_slice(piece);
            let bytes = piece.len();
            decompression.consume(bytes);
        }
    }
}

/// A decompression under way; `fill` shows the plain bytes that are ready, `consume` passes over them.
pub struct Decompression<'d, 'i> {
    memory: &'d mut Decompressor,
    codec: Codec,
    state: State,
    input: &'i [u8],
    /// What is ready in `memory.piece` and not consumed.
    piece: std::ops::Range<usize>,
    /// The same for the codec that is none: the input itself.
    plain: std::ops::Range<usize>,
    produced: usize,
    output_max: usize,
    ended: bool,
}

enum State {
    Plain,
    Gzip,
    /// Blocks with their length in front, as Java and most clients write it.
    SnappyStream,
    /// One bare block, as some clients write it.
    SnappyBlock,
    Lz4(Lz4Frame),
    Zstd {
        inside: bool,
    },
}

impl Decompression<'_, '_> {
    /// The plain bytes that are ready; empty at the end. Never more than the limit has come out before an error does.
    pub fn fill(&mut self) -> Result<&[u8], CompressionError> {
        if let State::Plain = self.state {
            if !self.ended {
                self.ended = true;
                self.count(self.input.len())?;
                self.plain = 0..self.input.len();
            }
            return Ok(&self.input[self.plain.clone()]);
        }
        while self.piece.is_empty() && !self.ended {
            let bytes = match &mut self.state {
                State::Plain => unreachable!("answered above"),
                State::Gzip => self.gzip_piece()?,
                State::SnappyStream => self.snappy_piece()?,
                State::SnappyBlock => {
                    self.ended = true;
                    let block = std::mem::take(&mut self.input);
                    self.snappy_block(block)?
                }
                State::Lz4(_) => self.lz4_piece()?,
                State::Zstd { .. } => self.zstd_piece()?,
            };
            self.count(bytes)?;
            self.piece = 0..bytes;
        }
        Ok(&self.memory.piece[self.piece.clone()])
    }

    /// Passes over `bytes` of what `fill` showed.
    pub fn consume(&mut self, bytes: usize) {
        let ready = if let State::Plain = self.state { &mut self.plain } else { &mut self.piece };
        assert!(bytes <= ready.len(), "consumed {bytes} of {} ready bytes", ready.len());
        ready.start += bytes;
    }

    /// Plain bytes that have come out so far.
    pub fn produced(&self) -> usize {
        self.produced
    }

    fn count(&mut self, bytes: usize) -> Result<(), CompressionError> {
        self.produced = self.produced.saturating_add(bytes);
        if self.produced > self.output_max {
            return Err(CompressionError::TooLarge { codec: self.codec, output_max: self.output_max });
        }
        Ok(())
    }

    fn truncated(&self) -> CompressionError {
        CompressionError::Truncated { codec: self.codec }
    }

    fn broken(&self, what: &'static str) -> CompressionError {
        CompressionError::Broken { codec: self.codec, what }
    }

    /// Room for `bytes` in the piece, whose content is then overwritten.
    fn room(&mut self, bytes: usize) {
        if self.memory.piece.len() < bytes {
            self.memory.piece.resize(bytes, 0);
        }
    }

    fn take(&mut self, bytes: usize) -> Result<&'_ [u8], CompressionError> {
        let (front, rest) = self.input.split_at_checked(bytes).ok_or(self.truncated())?;
        self.input = rest;
        Ok(front)
    }

    fn gzip_piece(&mut self) -> Result<usize, CompressionError> {
        self.room(PIECE_BYTES);
        let Decompressor { gzip, piece, .. } = &mut *self.memory;
        let gzip = gzip.as_mut().expect("start() made it");
        let (before_in, before_out) = (gzip.total_in(), gzip.total_out());
        let status = gzip.decompress(self.input, &mut piece[..PIECE_BYTES], FlushDecompress::None);
        let read = (gzip.total_in() - before_in) as usize;
        let written = (gzip.total_out() - before_out) as usize;
        self.input = &self.input[read..];
        match status {
            Ok(Status::StreamEnd) => {
                // Members may follow one another; what is no member is ignored, as Java's reader does.
                if self.input.starts_with(&[0x1f, 0x8b]) { gzip.reset(true) } else { self.ended = true }
            }
            Ok(Status::Ok | Status::BufError) if read == 0 && written == 0 => return Err(self.truncated()),
            Ok(Status::Ok | Status::BufError) => {}
            Err(_) => return Err(self.broken("not a gzip stream, or a damaged one")),
        }
        Ok(written)
    }

    fn snappy_piece(&mut self) -> Result<usize, CompressionError> {
        // Fewer bytes than a length takes are no block: Java's reader takes them for the end too.
        if self.input.len() < 4 {
            self.ended = true;
            return Ok(0);
        }
        // Streams may follow one another, each with its header.
        if self.input.starts_with(&SNAPPY_MAGIC) {
            self.take(SNAPPY_HEADER_BYTES)?;
            return Ok(0);
        }
        let length = i32::from_be_bytes(self.take(4)?.try_into().expect("take(4) returns 4 bytes"));
        let length = usize::try_from(length).map_err(|_| self.broken("a block of negative length"))?;
        let (block, rest) = self.input.split_at_checked(length).ok_or(self.truncated())?;
        self.input = rest;
        self.snappy_block(block)
    }

    fn snappy_block(&mut self, block: &[u8]) -> Result<usize, CompressionError> {
        let announced = snap::raw::decompress_len(block)
            .map_err(|_| self.broken("a block does not begin with its size"))?;
        if announced > block.len().saturating_mul(SNAPPY_RATIO_MAX) {
            return Err(self.broken("a block announces more bytes than it can hold"));
        }
        if announced > self.output_max - self.produced {
            return Err(CompressionError::TooLarge { codec: self.codec, output_max: self.output_max });
        }
        self.room(announced);
        snap::raw::Decoder::new()
            .decompress(block, &mut self.memory.piece[..announced])
            .map_err(|_| self.broken("a damaged block"))
    }

    fn lz4_piece(&mut self) -> Result<usize, CompressionError> {
        let State::Lz4(frame) = &self.state else { unreachable!("called in this state only") };
        let Lz4Frame { block_bytes_max, block_checksum, content_checksum } = *frame;
        let word = u32::from_le_bytes(self.take(4)?.try_into().expect("take(4) returns 4 bytes"));
        let length = (word & !LZ4_UNCOMPRESSED) as usize;
        if length == 0 {
            // The checksum of the content is not verified, as in Java; nothing behind the end mark is read.
            if content_checksum {
                self.take(4)?;
            }
            self.ended = true;
            return Ok(0);
        }
        if length > block_bytes_max {
            return Err(self.broken("a block is larger than the frame allows"));
        }
        let (block, rest) = self.input.split_at_checked(length).ok_or(self.truncated())?;
        self.input = rest;
        if block_checksum {
            let found = u32::from_le_bytes(self.take(4)?.try_into().expect("take(4) returns 4 bytes"));
            if found != xxh32(block) {
                return Err(self.broken("a block fails its checksum"));
            }
        }
        self.room(block_bytes_max);
        if word & LZ4_UNCOMPRESSED != 0 {
            self.memory.piece[..length].copy_from_slice(block);
            return Ok(length);
        }
        lz4_flex::block::decompress_into(block, &mut self.memory.piece[..block_bytes_max])
            .map_err(|_| self.broken("a damaged block"))
    }

    fn zstd_piece(&mut self) -> Result<usize, CompressionError> {
        let State::Zstd { inside } = &mut self.state else { unreachable!("called in this state only") };
        if self.input.is_empty() && !*inside {
            self.ended = true;
            return Ok(0);
        }
        if self.memory.piece.len() < PIECE_BYTES {
            self.memory.piece.resize(PIECE_BYTES, 0);
        }
        let Decompressor { zstd, piece, .. } = &mut *self.memory;
        let zstd = zstd.as_mut().expect("start() made it");
        let mut output = zstd_safe::OutBuffer::around(&mut piece[..PIECE_BYTES]);
        let mut input = zstd_safe::InBuffer::around(self.input);
        let hint = zstd.decompress_stream(&mut output, &mut input).map_err(zstd_error)?;
        let (read, written) = (input.pos(), output.pos());
        // 0: the frame is complete and all of it has come out; another one may follow.
        *inside = hint != 0;
        self.input = &self.input[read..];
        if hint != 0 && read == 0 && written == 0 {
            return Err(self.truncated());
        }
        Ok(written)
    }
}

fn zstd_error(code: zstd_safe::ErrorCode) -> CompressionError {
    CompressionError::Broken { codec: Codec::Zstd, what: zstd_safe::get_error_name(code) }
}

/// The header of an LZ4 frame, as far as it matters behind it.
///
/// | bytes | field     |                                                                           |
/// |-------|-----------|---------------------------------------------------------------------------|
/// | 0..4  | magic     | 04 22 4d 18                                                               |
/// | 4     | FLG       | bits 7-6 version 1, 5 independent blocks, 4 block checksums, 3 size,      |
/// |       |           | 2 content checksum, 1 zero, 0 dictionary id                               |
/// | 5     | BD        | bits 6-4 block size: 4 = 64 KiB, 5 = 256 KiB, 6 = 1 MiB, 7 = 4 MiB        |
/// | 6..14 | size      | only with FLG bit 3                                                       |
/// | last  | HC        | second byte of the XXH32 of FLG to here                                   |
#[derive(Clone, Copy)]
struct Lz4Frame {
    block_bytes_max: usize,
    block_checksum: bool,
    content_checksum: bool,
}

impl Lz4Frame {
    fn parse(input: &[u8], header_unchecked: bool) -> Result<(Lz4Frame, &[u8]), CompressionError> {
        let codec = Codec::Lz4;
        let broken = |what| CompressionError::Broken { codec, what };
        let truncated = CompressionError::Truncated { codec };
        let descriptor = input.strip_prefix(&LZ4_MAGIC).ok_or(broken("not an LZ4 frame"))?;
        let [flg, bd, ..] = *descriptor else { return Err(truncated) };
        if flg >> 6 != 1 {
            return Err(broken("an LZ4 frame of an unknown version"));
        }
        if flg & 0x20 == 0 {
            return Err(broken("dependent blocks are not supported"));
        }
        if flg & 0x03 != 0 {
            return Err(broken("dictionaries are not supported"));
        }
        if bd & 0x8f != 0 || bd >> 4 < 4 {
            return Err(broken("an undefined block size"));
        }
        let descriptor_bytes = if flg & 0x08 != 0 { 10 } else { 2 };
        let checksum = *descriptor.get(descriptor_bytes).ok_or(truncated)?;
        if !header_unchecked && checksum != (xxh32(&descriptor[..descriptor_bytes]) >> 8) as u8 {
            return Err(broken("the frame header fails its checksum"));
        }
        let frame = Lz4Frame {
            block_bytes_max: 1 << (8 + 2 * (bd >> 4)),
            block_checksum: flg & 0x10 != 0,
            content_checksum: flg & 0x04 != 0,
        };
        Ok((frame, &descriptor[descriptor_bytes + 1..]))
    }
}

/// Appends `input`, compressed, to `out`, framed as Java frames it. `level` is the codec's own; `None` its default.
pub fn compress(codec: Codec, level: Option<i32>, input: &[u8], out: &mut Vec<u8>) {
    match codec {
        Codec::None => out.extend_from_slice(input),
        Codec::Gzip => {
            let level = level
                .and_then(|level| u32::try_from(level).ok())
                .map_or(flate2::Compression::default(), |level| flate2::Compression::new(level.min(9)));
            let mut encoder = flate2::write::GzEncoder::new(&mut *out, level);
            std::io::Write::write_all(&mut encoder, input).expect("a vector takes all that is written to it");
            encoder.finish().expect("a vector takes all that is written to it");
        }
        Codec::Snappy => {
            out.extend_from_slice(&SNAPPY_MAGIC);
            out.extend_from_slice(&1i32.to_be_bytes());
            out.extend_from_slice(&1i32.to_be_bytes());
            let mut encoder = snap::raw::Encoder::new();
            for block in input.chunks(SNAPPY_BLOCK_BYTES) {
                let at = out.len();
                out.resize(at + 4 + snap::raw::max_compress_len(block.len()), 0);
                let length =
                    encoder.compress(block, &mut out[at + 4..]).expect("there is room for the worst case");
                out[at..at + 4].copy_from_slice(&(length as i32).to_be_bytes());
                out.truncate(at + 4 + length);
            }
        }
        Codec::Lz4 => {
            const DESCRIPTOR: [u8; 2] = [0x60, 0x40];
            out.extend_from_slice(&LZ4_MAGIC);
            out.extend_from_slice(&DESCRIPTOR);
            out.push((xxh32(&DESCRIPTOR) >> 8) as u8);
            for block in input.chunks(LZ4_BLOCK_BYTES) {
                let at = out.len();
                out.resize(at + 4 + lz4_flex::block::get_maximum_output_size(block.len()), 0);
                let length = lz4_flex::block::compress_into(block, &mut out[at + 4..])
                    .expect("there is room for the worst case");
                let word = if length < block.len() {
                    out.truncate(at + 4 + length);
                    length as u32
                } else {
                    out.truncate(at + 4);
                    out.extend_from_slice(block);
                    block.len() as u32 | LZ4_UNCOMPRESSED
                };
                out[at..at + 4].copy_from_slice(&word.to_le_bytes());
            }
            out.extend_from_slice(&0u32.to_le_bytes());
        }
        Codec::Zstd => {
            let at = out.len();
            out.resize(at + zstd_safe::compress_bound(input.len()), 0);
            let level = level.unwrap_or(zstd_safe::CLEVEL_DEFAULT);
            let length =
                zstd_safe::compress(&mut out[at..], input, level).expect("there is room for the worst case");
            out.truncate(at + length);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 64 << 20;

    fn decompress(codec: Codec, input: &[u8], output_max: usize) -> Result<Vec<u8>, CompressionError> {
        let mut out = Vec::new();
        Decompressor::new().into_vec(codec, input, output_max, &mut out).map(|()| out)
    }

    fn compressed(codec: Codec, input: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        compress(codec, None, input, &mut out);
        out
    }

    fn sample(bytes: usize) -> Vec<u8> {
        (0..bytes).map(|i| if i % 97 < 40 { b'a' } else { (i * i / 7) as u8 }).collect()
    }

    #[test]
    fn every_codec_gives_back_what_it_took_at_every_size() {
        let mut decompressor = Decompressor::new();
        for codec in Codec::ALL {
            for bytes in [0, 1, 100, 32 * 1024, 64 * 1024 + 1, 700_000] {
                let plain = sample(bytes);
                let mut out = b"kept".to_vec();
                decompressor.into_vec(codec, &compressed(codec, &plain), LIMIT, &mut out).unwrap();
                assert!(out.starts_with(b"kept") && out[4..] == plain[..], "{codec}, {bytes} bytes");
            }
        }
    }

    #[test]
    fn a_decompressor_is_clean_after_a_failure() {
        let mut decompressor = Decompressor::new();
        for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            let plain = sample(200_000);
            let whole = compressed(codec, &plain);
            for cut in [whole.len() / 2, whole.len() - 1] {
                let mut out = Vec::new();
                assert!(decompressor.into_vec(codec, &whole[..cut], LIMIT, &mut out).is_err(), "{codec} cut");
                out.clear();
                decompressor.into_vec(codec, &whole, LIMIT, &mut out).unwrap();
                assert!(out == plain, "{codec}");
            }
        }
    }

    #[test]
    fn exactly_the_limit_passes_and_one_byte_more_does_not() {
        let plain = sample(100_000);
        for codec in Codec::ALL {
            let input = compressed(codec, &plain);
            assert!(decompress(codec, &input, 100_000).is_ok(), "{codec}");
            assert_eq!(
                decompress(codec, &input, 99_999),
                Err(CompressionError::TooLarge { codec, output_max: 99_999 })
            );
        }
    }

    #[test]
    fn gzip_members_may_follow_one_another_and_what_is_no_member_is_ignored() {
        let mut input = compressed(Codec::Gzip, b"one ");
        input.extend(compressed(Codec::Gzip, b"two"));
        input.extend(b"garbage");
        assert_eq!(decompress(Codec::Gzip, &input, LIMIT).unwrap(), b"one two");
    }

    #[test]
    fn zstd_frames_may_follow_one_another() {
        let mut input = compressed(Codec::Zstd, b"one ");
        input.extend(compressed(Codec::Zstd, b"two"));
        assert_eq!(decompress(Codec::Zstd, &input, LIMIT).unwrap(), b"one two");
    }

    #[test]
    fn a_bare_snappy_block_is_read() {
        let input = snap::raw::Encoder::new().compress_vec(b"bare bare bare").unwrap();
        assert_eq!(decompress(Codec::Snappy, &input, LIMIT).unwrap(), b"bare bare bare");
    }

    #[test]
    fn memory_for_a_huge_block_is_not_kept() {
        let mut decompressor = Decompressor::new();
        let block = snap::raw::Encoder::new().compress_vec(&vec![0; PIECE_KEPT_BYTES + 1]).unwrap();
        decompressor.into_vec(Codec::Snappy, &block, LIMIT, &mut Vec::new()).unwrap();
        decompressor
            .into_vec(Codec::Snappy, &compressed(Codec::Snappy, b"small"), LIMIT, &mut Vec::new())
            .unwrap();
        assert!(decompressor.piece.len() < PIECE_KEPT_BYTES);
    }

    #[test]
    fn an_lz4_frame_with_size_and_checksums_is_read_and_its_block_checksum_verified() {
        let block = lz4_flex::block::compress(b"checked checked checked");
        let mut frame = LZ4_MAGIC.to_vec();
        let mut descriptor = vec![0x7c, 0x70];
        descriptor.extend(23u64.to_le_bytes());
        frame.extend(&descriptor);
        frame.push((xxh32(&descriptor) >> 8) as u8);
        frame.extend((block.len() as u32).to_le_bytes());
        frame.extend(&block);
        frame.extend(xxh32(&block).to_le_bytes());
        frame.extend([0; 4]);
        frame.extend([9; 4]); // the content checksum, which nobody verifies
        assert_eq!(decompress(Codec::Lz4, &frame, LIMIT).unwrap(), b"checked checked checked");
        let checksum_at = frame.len() - 9;
        frame[checksum_at] ^= 1;
        assert_eq!(
            decompress(Codec::Lz4, &frame, LIMIT),
            Err(CompressionError::Broken { codec: Codec::Lz4, what: "a block fails its checksum" })
        );
    }

    #[test]
    fn the_wrong_header_checksum_of_magic_0_is_accepted_where_it_is_expected() {
        let mut frame = compressed(Codec::Lz4, b"old");
        frame[6] ^= 0xff;
        assert!(decompress(Codec::Lz4, &frame, LIMIT).is_err());
        let mut out = Vec::new();
        Decompressor::new().lz4_header_unchecked(true).into_vec(Codec::Lz4, &frame, LIMIT, &mut out).unwrap();
        assert_eq!(out, b"old");
    }
}
