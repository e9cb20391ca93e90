//! Kafka's primitive types as bytes (contract 1.1): a bounded reader, a sink, and how each Rust type is read
//! and written at a version.
//!
//! In: untrusted bytes, or values. Out: values that borrow from those bytes, or bytes.
//! Nothing is allocated before `count × smallest encoded element ≤ bytes left` is known, and the bytes a decode
//! may allocate are bounded by its budget: at most 4 × frame length + 4 KiB (`Reader::new`).

use std::borrow::Cow;
use std::fmt;

/// Strings longer than this are refused in both encodings (contract 1.1).
pub const STRING_BYTES_MAX: usize = 32_767;
/// Tagged fields one struct or header may carry; no known client sends more than a handful.
pub const TAGGED_FIELDS_MAX: u32 = 64;

/// A topic id (KIP-516): 16 raw bytes on the wire, zero meaning none.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub struct Uuid(pub [u8; 16]);

impl Uuid {
    /// "No id."
    pub const ZERO: Uuid = Uuid([0; 16]);

    /// True for the reserved value that means "none".
    pub fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }

    /// Reads Kafka's text form: 22 characters of URL-safe base64 without padding.
    pub fn parse(text: &str) -> Option<Uuid> {
        use base64::Engine;
        let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).ok()?;
        Some(Uuid(bytes.try_into().ok()?))
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use base64::Engine;
        f.write_str(&base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why bytes are not the message they claim to be, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {position}")]
pub struct DecodeError {
    /// Bytes from the start of what was being decoded.
    pub position: usize,
    /// The rule that was broken.
    pub what: &'static str,
}

/// The version a message is read or written at, and whether that version is flexible (KIP-482).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    pub number: i16,
    pub flexible: bool,
}

/// A cursor over untrusted bytes with a budget for what decoding them may allocate.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
    budget: usize,
}

impl<'a> Reader<'a> {
    /// A reader over one whole frame (without its size field); the budget follows from its length.
    pub fn new(frame: &'a [u8]) -> Reader<'a> {
        Reader { bytes: frame, position: 0, budget: frame.len().saturating_mul(4).saturating_add(4096) }
    }

    /// A reader over a response. What a client asked for itself may need more memory: a list of short names becomes
    /// structs of 50 to 100 bytes each.
    pub fn response(frame: &'a [u8]) -> Reader<'a> {
        Reader::with_budget(frame, frame.len().saturating_mul(16).saturating_add(64 * 1024))
    }

    /// A reader with a budget of the caller's choice.
    pub fn with_budget(frame: &'a [u8], budget: usize) -> Reader<'a> {
        Reader { bytes: frame, position: 0, budget }
    }

    /// Bytes from the start of the frame to the next unread one.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Bytes not yet read.
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.position
    }

    /// The bytes read since `position` was `start`.
    pub fn since(&self, start: usize) -> &'a [u8] {
        &self.bytes[start..self.position]
    }

    /// An error at the current position.
    pub fn error(&self, what: &'static str) -> DecodeError {
        DecodeError { position: self.position, what }
    }

    /// The next `length` bytes.
    pub fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        if length > self.remaining() {
            return Err(self.error("the frame ends inside a field"));
        }
        let slice = &self.bytes[self.position..self.position + length];
        self.position += length;
        Ok(slice)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let slice = self.take(N)?;
        Ok(slice.try_into().expect("take(N) returns N bytes"))
    }

    /// Charges an allocation of `count` elements of `element_bytes` each against the budget.
    pub fn charge(&mut self, count: usize, element_bytes: usize) -> Result<(), DecodeError> {
        let bytes = count.saturating_mul(element_bytes);
        if bytes > self.budget {
            return Err(self.error("the message would need more memory than its length allows"));
        }
        self.budget -= bytes;
        Ok(())
    }

    pub fn i8(&mut self) -> Result<i8, DecodeError> {
        Ok(i8::from_be_bytes(self.array()?))
    }

    pub fn i16(&mut self) -> Result<i16, DecodeError> {
        Ok(i16::from_be_bytes(self.array()?))
    }

    pub fn i32(&mut self) -> Result<i32, DecodeError> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    pub fn i64(&mut self) -> Result<i64, DecodeError> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    pub fn f64(&mut self) -> Result<f64, DecodeError> {
        Ok(f64::from_be_bytes(self.array()?))
    }

    /// Unsigned LEB128 of at most 5 bytes.
    pub fn uvarint(&mut self) -> Result<u32, DecodeError> {
        let mut value = 0u32;
        for shift in [0u32, 7, 14, 21, 28] {
            let byte = self.array::<1>()?[0];
            if shift == 28 && byte > 0x0f {
                return Err(self.error("a varint is longer than 5 bytes or exceeds 32 bits"));
            }
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.error("a varint is longer than 5 bytes or exceeds 32 bits"))
    }

    /// The length of a string, bytes or array in the encoding of `v`; `None` is null. Any negative length reads as
    /// null (contract 9).
    fn length(&mut self, v: Version, narrow: bool) -> Result<Option<usize>, DecodeError> {
        if v.flexible {
            Ok(self.uvarint()?.checked_sub(1).map(|length| length as usize))
        } else if narrow {
            Ok(usize::try_from(self.i16()?).ok())
        } else {
            Ok(usize::try_from(self.i32()?).ok())
        }
    }

    /// The element count of an array whose elements take at least `element_min` bytes each; `None` is null.
    pub fn count(&mut self, v: Version, element_min: usize) -> Result<Option<usize>, DecodeError> {
        let Some(count) = self.length(v, false)? else { return Ok(None) };
        if count.saturating_mul(element_min.max(1)) > self.remaining() {
            return Err(self.error("an array announces more elements than the frame can hold"));
        }
        Ok(Some(count))
    }

    /// A string in the encoding of `v`; `None` is null.
    pub fn string(&mut self, v: Version) -> Result<Option<&'a str>, DecodeError> {
        let Some(length) = self.length(v, true)? else { return Ok(None) };
        if length > STRING_BYTES_MAX {
            return Err(self.error("a string is longer than 32767 bytes"));
        }
        let bytes = self.take(length)?;
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(self.error("a string is not UTF-8")),
        }
    }

    /// Bytes in the encoding of `v`; `None` is null.
    pub fn bytes(&mut self, v: Version) -> Result<Option<&'a [u8]>, DecodeError> {
        match self.length(v, false)? {
            None => Ok(None),
            Some(length) => self.take(length).map(Some),
        }
    }

    /// The tagged block that ends a flexible struct. `known` reads a field it knows and returns true; others are
    /// skipped in place, never stored.
    pub fn tagged(
        &mut self,
        mut known: impl FnMut(u32, &mut Reader<'a>) -> Result<bool, DecodeError>,
    ) -> Result<(), DecodeError> {
        let count = self.uvarint()?;
        if count > TAGGED_FIELDS_MAX {
            return Err(self.error("more than 64 tagged fields in one struct"));
        }
        let mut last: Option<u32> = None;
        for _ in 0..count {
            let tag = self.uvarint()?;
            if last.is_some_and(|last| tag <= last) {
                return Err(self.error("tagged fields do not strictly ascend"));
            }
            last = Some(tag);
            let size = self.uvarint()? as usize;
            if size > self.remaining() {
                return Err(self.error("a tagged field is longer than the frame"));
            }
            let end = self.position + size;
            // The field sees its own bytes only, so it cannot read into its neighbour.
            let mut field =
                Reader { bytes: &self.bytes[..end], position: self.position, budget: self.budget };
            if known(tag, &mut field)? && field.position != end {
                return Err(field.error("a tagged field does not fill its announced size"));
            }
            self.budget = field.budget;
            self.position = end;
        }
        Ok(())
    }
}

/// Where encoded bytes go: a vector, or a counter when only the size is asked for.
pub trait Sink {
    fn put(&mut self, bytes: &[u8]);
}

impl Sink for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// Counts bytes instead of keeping them: the size of a message comes from the same code that writes it.
#[derive(Default)]
pub struct Counter(pub usize);

impl Sink for Counter {
    fn put(&mut self, bytes: &[u8]) {
        self.0 += bytes.len();
    }
}

/// Writes an unsigned LEB128.
pub fn put_uvarint(sink: &mut impl Sink, mut value: u32) {
    let mut out = [0u8; 5];
    let mut length = 0;
    loop {
        let byte = (value & 0x7f) as u8;
        value >>= 7;
        out[length] = byte | if value == 0 { 0 } else { 0x80 };
        length += 1;
        if value == 0 {
            return sink.put(&out[..length]);
        }
    }
}

fn put_length(sink: &mut impl Sink, v: Version, narrow: bool, length: Option<usize>) {
    if v.flexible {
        put_uvarint(sink, length.map_or(0, |length| length as u32 + 1));
    } else if narrow {
        sink.put(&length.map_or(-1, |length| length as i16).to_be_bytes());
    } else {
        sink.put(&length.map_or(-1, |length| length as i32).to_be_bytes());
    }
}

/// Writes the element count of an array that the caller streams itself.
pub fn put_count(sink: &mut impl Sink, v: Version, count: usize) {
    put_length(sink, v, false, Some(count));
}

/// Writes a non-null string. One that is longer than a string may be is cut at a character: only texts for people
/// (error messages that quote what a client sent) can come to that.
pub fn put_string(sink: &mut impl Sink, v: Version, text: &str) {
    let cut = (0..=text.len().min(STRING_BYTES_MAX)).rev().find(|&at| text.is_char_boundary(at));
    let text = &text[..cut.expect("the start of a text is a boundary")];
    put_length(sink, v, true, Some(text.len()));
    sink.put(text.as_bytes());
}

/// Writes the length of a records field whose bytes follow by another way (a file sent to a socket).
pub fn put_bytes_length(sink: &mut impl Sink, v: Version, length: usize) {
    put_length(sink, v, false, Some(length));
}

/// A value that has a place in a message: how it is read and written at a version.
pub trait Field<'a>: Sized {
    /// The fewest bytes an encoded value takes; bounds what an array count may claim.
    fn encoded_min(v: Version) -> usize;

    /// Reads the value. `nullable` says whether this version allows null here.
    fn read(r: &mut Reader<'a>, v: Version, nullable: bool) -> Result<Self, DecodeError>;

    /// Writes the value. A null where the version knows none is written as the empty value.
    fn write<S: Sink>(&self, s: &mut S, v: Version, nullable: bool);
}

macro_rules! fixed_width {
    ($($ty:ty, $read:ident);+) => {$(
        impl<'a> Field<'a> for $ty {
            fn encoded_min(_: Version) -> usize {
                size_of::<$ty>()
            }
            fn read(r: &mut Reader<'a>, _: Version, _: bool) -> Result<Self, DecodeError> {
                r.$read()
            }
            fn write<S: Sink>(&self, s: &mut S, _: Version, _: bool) {
                s.put(&self.to_be_bytes());
            }
        }
    )+};
}
fixed_width!(i8, i8; i16, i16; i32, i32; i64, i64; f64, f64);

impl<'a> Field<'a> for bool {
    fn encoded_min(_: Version) -> usize {
        1
    }
    fn read(r: &mut Reader<'a>, _: Version, _: bool) -> Result<Self, DecodeError> {
        Ok(r.i8()? != 0)
    }
    fn write<S: Sink>(&self, s: &mut S, _: Version, _: bool) {
        s.put(&[u8::from(*self)]);
    }
}

impl<'a> Field<'a> for Uuid {
    fn encoded_min(_: Version) -> usize {
        16
    }
    fn read(r: &mut Reader<'a>, _: Version, _: bool) -> Result<Self, DecodeError> {
        Ok(Uuid(r.array()?))
    }
    fn write<S: Sink>(&self, s: &mut S, _: Version, _: bool) {
        s.put(&self.0);
    }
}

/// The fewest bytes of a string: an empty or null one.
fn string_min(v: Version) -> usize {
    if v.flexible { 1 } else { 2 }
}

/// The fewest bytes of bytes or an array: an empty or null one.
fn array_min(v: Version) -> usize {
    if v.flexible { 1 } else { 4 }
}

macro_rules! text {
    ($($ty:ty),+) => {$(
        impl<'a> Field<'a> for $ty {
            fn encoded_min(v: Version) -> usize {
                string_min(v)
            }
            fn read(r: &mut Reader<'a>, v: Version, _: bool) -> Result<Self, DecodeError> {
                match r.string(v)? {
                    Some(text) => Ok(text.into()),
                    None => Err(r.error("null in a string that may not be null")),
                }
            }
            fn write<S: Sink>(&self, s: &mut S, v: Version, _: bool) {
                put_string(s, v, self);
            }
        }

        impl<'a> Field<'a> for Option<$ty> {
            fn encoded_min(v: Version) -> usize {
                string_min(v)
            }
            fn read(r: &mut Reader<'a>, v: Version, nullable: bool) -> Result<Self, DecodeError> {
                match r.string(v)? {
                    Some(text) => Ok(Some(text.into())),
                    None if nullable => Ok(None),
                    None => Err(r.error("null in a string that may not be null")),
                }
            }
            fn write<S: Sink>(&self, s: &mut S, v: Version, nullable: bool) {
                match self {
                    Some(text) => put_string(s, v, text),
                    None if nullable => put_length(s, v, true, None),
                    None => put_length(s, v, true, Some(0)),
                }
            }
        }
    )+};
}
text!(&'a str, Cow<'a, str>);

impl<'a> Field<'a> for Option<&'a [u8]> {
    fn encoded_min(v: Version) -> usize {
        array_min(v)
    }
    fn read(r: &mut Reader<'a>, v: Version, _: bool) -> Result<Self, DecodeError> {
        r.bytes(v)
    }
    fn write<S: Sink>(&self, s: &mut S, v: Version, _: bool) {
        put_length(s, v, false, self.map(<[u8]>::len));
        s.put(self.unwrap_or_default());
    }
}

macro_rules! blob {
    ($($ty:ty),+) => {$(
        impl<'a> Field<'a> for $ty {
            fn encoded_min(v: Version) -> usize {
                array_min(v)
            }
            fn read(r: &mut Reader<'a>, v: Version, _: bool) -> Result<Self, DecodeError> {
                match r.bytes(v)? {
                    Some(bytes) => Ok(bytes.into()),
                    None => Err(r.error("null in bytes that may not be null")),
                }
            }
            fn write<S: Sink>(&self, s: &mut S, v: Version, _: bool) {
                put_length(s, v, false, Some(self.len()));
                s.put(self);
            }
        }
    )+};
}
blob!(&'a [u8], Cow<'a, [u8]>);

impl<'a, T: Field<'a>> Field<'a> for Vec<T> {
    fn encoded_min(v: Version) -> usize {
        array_min(v)
    }
    fn read(r: &mut Reader<'a>, v: Version, _: bool) -> Result<Self, DecodeError> {
        match <Option<Vec<T>>>::read(r, v, true)? {
            Some(elements) => Ok(elements),
            None => Err(r.error("null in an array that may not be null")),
        }
    }
    fn write<S: Sink>(&self, s: &mut S, v: Version, _: bool) {
        put_count(s, v, self.len());
        for element in self {
            element.write(s, v, false);
        }
    }
}

impl<'a, T: Field<'a>> Field<'a> for Option<Vec<T>> {
    fn encoded_min(v: Version) -> usize {
        array_min(v)
    }
    fn read(r: &mut Reader<'a>, v: Version, nullable: bool) -> Result<Self, DecodeError> {
        let Some(count) = r.count(v, T::encoded_min(v))? else {
            return if nullable { Ok(None) } else { Err(r.error("null in an array that may not be null")) };
        };
        r.charge(count, size_of::<T>())?;
        let mut elements = Vec::with_capacity(count);
        for _ in 0..count {
            elements.push(T::read(r, v, false)?);
        }
        Ok(Some(elements))
    }
    fn write<S: Sink>(&self, s: &mut S, v: Version, nullable: bool) {
        match self {
            Some(elements) => elements.write(s, v, false),
            None if nullable => put_length(s, v, false, None),
            None => put_count(s, v, 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NARROW: Version = Version { number: 0, flexible: false };

    #[test]
    fn a_text_too_long_for_a_string_is_cut_at_a_character() {
        let text = "é".repeat(20_000);
        let mut bytes = Vec::new();
        put_string(&mut bytes, NARROW, &text);
        let read = Reader::new(&bytes).string(NARROW).unwrap().unwrap();
        assert_eq!(read.len(), 32_766);
        assert!(text.starts_with(read));
    }

    #[test]
    fn a_topic_id_prints_as_kafka_prints_it_and_reads_back() {
        let id = Uuid([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255]);
        assert_eq!(id.to_string(), "AAECAwQFBgcICQoLDA0O_w");
        assert_eq!(Uuid::parse("AAECAwQFBgcICQoLDA0O_w"), Some(id));
        assert_eq!(Uuid::parse("AAECAwQFBgcICQoLDA0O"), None);
    }
}
