//! An array inside a request: walked in place when it came from the wire, a vector when we built it.
//!
//! In: the encoded elements, each read once to check them, or a vector. Out: the elements, decoded anew at each walk.
//! Decoding a request therefore allocates nothing, however many elements it has: a topic of a five-byte name costs its
//! five bytes, where a vector of structs would cost 32 to 72 bytes each and refuse honest requests for the budget.
//! Walking twice costs reading twice, so a caller that needs an array more often collects what it needs of it.

use std::fmt;
use std::marker::PhantomData;

use crate::wire::primitive::{DecodeError, Field, Reader, Sink, Version, put_count};

/// Elements of type `T`, in place or owned.
pub struct Array<'a, T>(Elements<'a, T>);

enum Elements<'a, T> {
    InPlace { bytes: &'a [u8], count: usize, version: Version, element: PhantomData<fn() -> T> },
    Owned(Vec<T>),
}

impl<'a, T: Field<'a> + Clone> Array<'a, T> {
    pub fn len(&self) -> usize {
        match &self.0 {
            Elements::InPlace { count, .. } => *count,
            Elements::Owned(elements) => elements.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements by value; what they borrow, they borrow from the frame.
    pub fn iter(&self) -> Iter<'_, 'a, T> {
        match &self.0 {
            Elements::InPlace { bytes, count, version, .. } => {
                Iter(Walk::InPlace { r: Reader::new(bytes), left: *count, version: *version })
            }
            Elements::Owned(elements) => Iter(Walk::Owned(elements.iter())),
        }
    }

    /// The first element.
    pub fn first(&self) -> Option<T> {
        self.iter().next()
    }
}

/// The walk over an `Array`.
pub struct Iter<'s, 'a, T>(Walk<'s, 'a, T>);

enum Walk<'s, 'a, T> {
    InPlace { r: Reader<'a>, left: usize, version: Version },
    Owned(std::slice::Iter<'s, T>),
}

impl<'a, T: Field<'a> + Clone> Iterator for Iter<'_, 'a, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        match &mut self.0 {
            Walk::InPlace { r, left, version } => {
                *left = left.checked_sub(1)?;
                Some(
                    T::read(r, *version, false)
                        .expect("these bytes were read the same way when the array was"),
                )
            }
            Walk::Owned(elements) => elements.next().cloned(),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = match &self.0 {
            Walk::InPlace { left, .. } => *left,
            Walk::Owned(elements) => elements.len(),
        };
        (left, Some(left))
    }
}

impl<'a, T: Field<'a> + Clone> ExactSizeIterator for Iter<'_, 'a, T> {}

impl<'s, 'a, T: Field<'a> + Clone> IntoIterator for &'s Array<'a, T> {
    type Item = T;
    type IntoIter = Iter<'s, 'a, T>;

    fn into_iter(self) -> Iter<'s, 'a, T> {
        self.iter()
    }
}

/// The walk over an `Array` that nobody keeps.
pub struct IntoIter<'a, T>(OwnWalk<'a, T>);

enum OwnWalk<'a, T> {
    InPlace { r: Reader<'a>, left: usize, version: Version },
    Owned(std::vec::IntoIter<T>),
}

impl<'a, T: Field<'a>> Iterator for IntoIter<'a, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        match &mut self.0 {
            OwnWalk::InPlace { r, left, version } => next_in_place(r, left, *version),
            OwnWalk::Owned(elements) => elements.next(),
        }
    }
}

impl<'a, T: Field<'a>> IntoIterator for Array<'a, T> {
    type Item = T;
    type IntoIter = IntoIter<'a, T>;

    fn into_iter(self) -> IntoIter<'a, T> {
        IntoIter(match self.0 {
            Elements::InPlace { bytes, count, version, .. } => {
                OwnWalk::InPlace { r: Reader::new(bytes), left: count, version }
            }
            Elements::Owned(elements) => OwnWalk::Owned(elements.into_iter()),
        })
    }
}

/// The next of `left` elements, all of which were read once when the array was.
fn next_in_place<'a, T: Field<'a>>(r: &mut Reader<'a>, left: &mut usize, version: Version) -> Option<T> {
    *left = left.checked_sub(1)?;
    Some(T::read(r, version, false).expect("these bytes were read the same way when the array was"))
}

impl<T> From<Vec<T>> for Array<'_, T> {
    fn from(elements: Vec<T>) -> Self {
        Array(Elements::Owned(elements))
    }
}

impl<T, const N: usize> From<[T; N]> for Array<'_, T> {
    fn from(elements: [T; N]) -> Self {
        Array(Elements::Owned(elements.into()))
    }
}

impl<T> FromIterator<T> for Array<'_, T> {
    fn from_iter<I: IntoIterator<Item = T>>(elements: I) -> Self {
        Array(Elements::Owned(elements.into_iter().collect()))
    }
}

impl<T> Default for Array<'_, T> {
    fn default() -> Self {
        Array(Elements::Owned(Vec::new()))
    }
}

impl<T: Clone> Clone for Array<'_, T> {
    fn clone(&self) -> Self {
        Array(match &self.0 {
            Elements::InPlace { bytes, count, version, .. } => {
                Elements::InPlace { bytes, count: *count, version: *version, element: PhantomData }
            }
            Elements::Owned(elements) => Elements::Owned(elements.clone()),
        })
    }
}

impl<'a, T: Field<'a> + Clone + PartialEq> PartialEq for Array<'a, T> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl<'a, T: Field<'a> + Clone + fmt::Debug> fmt::Debug for Array<'a, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a, T: Field<'a> + Clone> Field<'a> for Array<'a, T> {
    fn encoded_min(v: Version) -> usize {
        Vec::<T>::encoded_min(v)
    }

    fn read(r: &mut Reader<'a>, v: Version, _: bool) -> Result<Self, DecodeError> {
        match <Option<Array<'a, T>>>::read(r, v, true)? {
            Some(elements) => Ok(elements),
            None => Err(r.error("null in an array that may not be null")),
        }
    }

    fn write<S: Sink>(&self, s: &mut S, v: Version, _: bool) {
        put_count(s, v, self.len());
        match &self.0 {
            Elements::InPlace { .. } => self.iter().for_each(|element| element.write(s, v, false)),
            Elements::Owned(elements) => elements.iter().for_each(|element| element.write(s, v, false)),
        }
    }
}

impl<'a, T: Field<'a> + Clone> Field<'a> for Option<Array<'a, T>> {
    fn encoded_min(v: Version) -> usize {
        Vec::<T>::encoded_min(v)
    }

    fn read(r: &mut Reader<'a>, v: Version, nullable: bool) -> Result<Self, DecodeError> {
        let Some(count) = r.count(v, T::encoded_min(v))? else {
            return if nullable { Ok(None) } else { Err(r.error("null in an array that may not be null")) };
        };
        let start = r.position();
        for _ in 0..count {
            T::read(r, v, false)?;
        }
        let bytes = r.since(start);
        Ok(Some(Array(Elements::InPlace { bytes, count, version: v, element: PhantomData })))
    }

    fn write<S: Sink>(&self, s: &mut S, v: Version, nullable: bool) {
        match self {
            Some(elements) => elements.write(s, v, false),
            None => Option::<Vec<T>>::None.write(s, v, nullable),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::message::Message;
    use crate::wire::message::metadata::{MetadataRequest, MetadataRequestTopic};

    #[test]
    fn twenty_thousand_topics_of_three_characters_are_read_within_the_budget() {
        let names: Vec<String> = (0..20_000).map(|i| format!("{i:03x}")).collect();
        let topics = names.iter().map(|name| MetadataRequestTopic { name: Some(name), ..Default::default() });
        let request = MetadataRequest { topics: Some(topics.collect()), ..Default::default() };
        for version in 0..=9 {
            let mut bytes = Vec::new();
            request.encode(&mut bytes, version);
            let read = MetadataRequest::decode(&mut Reader::new(&bytes), version).unwrap();
            assert_eq!(read.topics, request.topics);
            let mut again = Vec::new();
            read.encode(&mut again, version);
            assert_eq!(again, bytes);
        }
    }
}
