//! Values of a workload file: numbers with units, words from a list, maps with known keys.
//!
//! In: a node. Out: the value, or the line and what would have been valid.

use std::time::Duration;

use super::document::{Fault, Key, Node, Value, fault, nearest};

/// How much per second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rate {
    Max,
    Records(f64),
    Bytes(f64),
}

/// A value and the line it stands on, for refusals that come later.
#[derive(Clone, Debug, PartialEq)]
pub struct Located<T> {
    pub line: usize,
    pub value: T,
}

/// The keys of a map, all of them known.
pub struct Fields<'a> {
    line: usize,
    what: &'static str,
    pub entries: &'a [(Key, Node)],
}

impl<'a> Fields<'a> {
    pub fn of(node: &'a Node, what: &'static str, known: &[&str]) -> Result<Fields<'a>, Fault> {
        let Value::Map(entries) = &node.value else {
            return fault(node.line, format!("{what} is a map with the keys {}", known.join(", ")));
        };
        for (key, _) in entries {
            if !known.contains(&key.text.as_str()) {
                let hint = nearest(&key.text, known.iter().copied()).map_or_else(
                    || format!("valid are {}", known.join(", ")),
                    |word| format!("did you mean {word}?"),
                );
                return fault(key.line, format!("unknown key {} in {what}; {hint}", key.text));
            }
        }
        Ok(Fields { line: node.line, what, entries })
    }

    pub fn get(&self, key: &str) -> Option<&'a Node> {
        self.entries.iter().find(|(known, _)| known.text == key).map(|(_, node)| node)
    }

    pub fn needed(&self, key: &str) -> Result<&'a Node, Fault> {
        match self.get(key) {
            Some(node) => Ok(node),
            None => fault(self.line, format!("{} has no {key}", self.what)),
        }
    }

    pub fn or<T>(&self, key: &str, default: T, read: impl Fn(&Node) -> Result<T, Fault>) -> Result<T, Fault> {
        self.get(key).map_or(Ok(default), read)
    }

    pub fn located<T>(
        &self,
        key: &str,
        default: T,
        read: impl Fn(&Node) -> Result<T, Fault>,
    ) -> Result<Located<T>, Fault> {
        let line = self.get(key).map_or(self.line, |node| node.line);
        Ok(Located { line, value: self.or(key, default, read)? })
    }
}

pub fn list(node: &Node) -> Result<&[Node], Fault> {
    match &node.value {
        Value::List(items) => Ok(items),
        Value::Scalar(_) | Value::Map(_) => fault(node.line, "a list is needed here"),
    }
}

pub fn text(node: &Node) -> Result<String, Fault> {
    match &node.value {
        Value::Scalar(text) => Ok(text.clone()),
        Value::List(_) | Value::Map(_) => fault(node.line, "a plain value is needed here"),
    }
}

pub fn one_of(node: &Node, known: &[&str]) -> Result<String, Fault> {
    let word = text(node)?;
    if known.contains(&word.as_str()) {
        return Ok(word);
    }
    let hint = nearest(&word, known.iter().copied())
        .map(|near| format!("; did you mean {near}?"))
        .unwrap_or_default();
    fault(node.line, format!("{word} is none of {}{hint}", known.join(", ")))
}

pub fn flag(node: &Node) -> Result<bool, Fault> {
    one_of(node, &["true", "false"]).map(|word| word == "true")
}

/// The unit's factor, and the number in front of it.
pub fn scaled(text: &str, units: &[(&str, f64)]) -> Option<f64> {
    let text = text.trim();
    let at = text.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '_')).unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let number: f64 = number.replace('_', "").parse().ok()?;
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim())?;
    Some(number * factor)
}

pub const COUNT_UNITS: &[(&str, f64)] = &[
    ("", 1.0),
    ("k", 1e3),
    ("M", 1e6),
    ("G", 1e9),
    ("Ki", 1024.0),
    ("Mi", 1_048_576.0),
    ("Gi", 1_073_741_824.0),
];
pub const BYTE_UNITS: &[(&str, f64)] = &[
    ("", 1.0),
    ("B", 1.0),
    ("k", 1e3),
    ("kB", 1e3),
    ("M", 1e6),
    ("MB", 1e6),
    ("G", 1e9),
    ("GB", 1e9),
    ("Ki", 1024.0),
    ("KiB", 1024.0),
    ("Mi", 1_048_576.0),
    ("MiB", 1_048_576.0),
    ("Gi", 1_073_741_824.0),
    ("GiB", 1_073_741_824.0),
];
const TIME_UNITS: &[(&str, f64)] =
    &[("ns", 1e-9), ("us", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("min", 60.0), ("h", 3600.0)];

pub fn whole(node: &Node, units: &[(&str, f64)], range: std::ops::RangeInclusive<u64>) -> Result<u64, Fault> {
    let written = text(node)?;
    let value = scaled(&written, units).filter(|value| value.fract() == 0.0 && *value < 1.8e19);
    let Some(value) = value else {
        let names: Vec<&str> = units.iter().map(|(name, _)| *name).filter(|name| !name.is_empty()).collect();
        return fault(node.line, format!("{written} is no whole number; units are {}", names.join(", ")));
    };
    let value = value as u64;
    if !range.contains(&value) {
        return fault(node.line, format!("{written} is outside {} to {}", range.start(), range.end()));
    }
    Ok(value)
}

pub fn count32(node: &Node) -> Result<u32, Fault> {
    whole(node, COUNT_UNITS, 0..=u64::from(u32::MAX)).map(|n| n as u32)
}

pub fn bytes32(node: &Node) -> Result<u32, Fault> {
    whole(node, BYTE_UNITS, 0..=u64::from(u32::MAX)).map(|n| n as u32)
}

pub fn fraction(node: &Node) -> Result<f64, Fault> {
    let written = text(node)?;
    let value = written.parse::<f64>().ok().filter(|value| (0.0..=1.0).contains(value));
    value.map_or_else(|| fault(node.line, format!("{written} is not between 0 and 1")), Ok)
}

/// `200ms`, `10s`, `2m`.
pub fn duration_of(text: &str) -> Option<Duration> {
    let seconds = scaled(text, TIME_UNITS)?;
    (0.0..1e9).contains(&seconds).then(|| Duration::from_secs_f64(seconds))
}

pub fn duration(node: &Node) -> Result<Duration, Fault> {
    let written = text(node)?;
    duration_of(&written)
        .map_or_else(|| fault(node.line, format!("{written} is no time; write 200ms, 10s or 2m")), Ok)
}

/// `80k/s` or `80k` records, `100MB/s` bytes, `max`.
pub fn rate_of(text: &str) -> Option<Rate> {
    if text == "max" {
        return Some(Rate::Max);
    }
    let per_second = text.strip_suffix("/s").map(str::trim);
    let number = per_second.unwrap_or(text);
    if let Some(records) = scaled(number, COUNT_UNITS) {
        return (records > 0.0).then_some(Rate::Records(records));
    }
    let bytes = per_second.and_then(|number| scaled(number, BYTE_UNITS))?;
    (bytes > 0.0).then_some(Rate::Bytes(bytes))
}

pub fn rate(node: &Node) -> Result<Rate, Fault> {
    let written = text(node)?;
    rate_of(&written)
        .map_or_else(|| fault(node.line, format!("{written} is no rate; write 80k/s, 100MB/s or max")), Ok)
}

pub fn properties(node: &Node, known: Option<&[&str]>) -> Result<Vec<(Key, String)>, Fault> {
    let Value::Map(entries) = &node.value else {
        return fault(node.line, "settings are a map of key and value");
    };
    let mut found = Vec::new();
    for (key, value) in entries {
        if let Some(known) = known.filter(|known| !known.contains(&key.text.as_str())) {
            let hint = nearest(&key.text, known.iter().copied()).map_or_else(
                || format!("valid are {}", known.join(", ")),
                |word| format!("did you mean {word}?"),
            );
            return fault(key.line, format!("unknown setting {}; {hint}", key.text));
        }
        found.push((key.clone(), text(value)?));
    }
    Ok(found)
}
