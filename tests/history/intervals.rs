//! A set of numbers as disjoint, non-adjacent intervals: as large as its gaps, however many numbers it holds.

use std::collections::BTreeMap;
use std::ops::Range;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Intervals {
    /// Start to end, the end not included.
    ends: BTreeMap<u64, u64>,
    /// The interval with the largest numbers, kept out of the map: most insertions extend it.
    last: Option<(u64, u64)>,
}

impl Intervals {
    /// Whether it was not there before.
    pub fn insert(&mut self, number: u64) -> bool {
        let Some((start, end)) = self.last else {
            self.last = Some((number, number + 1));
            return true;
        };
        if number == end {
            self.last = Some((start, end + 1));
        } else if number > end {
            self.ends.insert(start, end);
            self.last = Some((number, number + 1));
        } else if number >= start {
            return false;
        } else if number + 1 == start {
            self.last = Some((number, end));
            self.join_last();
        } else {
            return self.insert_below(number);
        }
        true
    }

    fn insert_below(&mut self, number: u64) -> bool {
        let before = self.ends.range(..=number).next_back().map(|(start, end)| (*start, *end));
        let mut start = number;
        if let Some((found, end)) = before {
            if number < end {
                return false;
            }
            if end == number {
                start = found;
            }
        }
        let end = self.ends.remove(&(number + 1)).unwrap_or(number + 1);
        self.ends.insert(start, end);
        true
    }

    fn join_last(&mut self) {
        let Some((start, end)) = self.last else { return };
        if let Some((&before, &before_end)) = self.ends.last_key_value()
            && before_end == start
        {
            self.ends.remove(&before);
            self.last = Some((before, end));
        }
    }

    pub fn contains(&self, number: u64) -> bool {
        self.any_in(number..number + 1)
    }

    /// Whether one of the numbers is in the set.
    pub fn any_in(&self, range: Range<u64>) -> bool {
        if range.is_empty() {
            return false;
        }
        if self.last.is_some_and(|(start, end)| start < range.end && range.start < end) {
            return true;
        }
        self.ends.range(..range.end).next_back().is_some_and(|(_, end)| range.start < *end)
    }

    /// How many intervals it takes.
    pub fn pieces(&self) -> usize {
        self.ends.len() + usize::from(self.last.is_some())
    }

    pub fn len(&self) -> u64 {
        self.ends.iter().map(|(start, end)| end - start).sum::<u64>() + self.last.map_or(0, |(s, e)| e - s)
    }

    pub fn is_empty(&self) -> bool {
        self.last.is_none()
    }
}
