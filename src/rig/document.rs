//! A YAML document as a tree that knows its lines, for a language that is strict about keys.
//!
//! In: text. Out: nodes with the line they stand on and scalars as they were written (`1Ki` stays `1Ki`). Aliases,
//! tags and several documents are refused: a workload file is plain.

use saphyr_parser::{Event, Parser};

/// What is wrong, and on which line, from 1. Line 0 is a place outside the file (`--set`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub line: usize,
    pub text: String,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            0 => write!(f, "--set: {}", self.text),
            line => write!(f, "line {line}: {}", self.text),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub line: usize,
    pub value: Value,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Scalar(String),
    List(Vec<Node>),
    /// In the order written; keys are distinct.
    Map(Vec<(Key, Node)>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    pub line: usize,
    pub text: String,
}

pub fn fault<T>(line: usize, text: impl Into<String>) -> Result<T, Fault> {
    Err(Fault { line, text: text.into() })
}

/// Nesting no workload needs; deeper input is refused before it costs stack.
const DEPTH_MAX: usize = 32;

/// Reads one document.
pub fn parse(text: &str) -> Result<Node, Fault> {
    let mut events = Vec::new();
    for event in Parser::new_from_str(text) {
        match event {
            Ok((event, span)) => events.push((event, span.start.line())),
            Err(error) => return fault(error.marker().line(), error.info()),
        }
    }
    let mut reader = Events { events, next: 0 };
    let mut documents = Vec::new();
    while let Some((event, line)) = reader.take() {
        match event {
            Event::DocumentStart(_) if !documents.is_empty() => {
                return fault(line, "a second document: a workload file holds one");
            }
            Event::DocumentStart(_) => documents.push(reader.node(0)?),
            Event::StreamStart | Event::StreamEnd | Event::DocumentEnd | Event::Nothing => {}
            _ => return fault(line, "unexpected content"),
        }
    }
    documents.pop().map_or_else(|| fault(1, "the file is empty"), Ok)
}

struct Events<'a> {
    events: Vec<(Event<'a>, usize)>,
    next: usize,
}

impl<'a> Events<'a> {
    fn take(&mut self) -> Option<(Event<'a>, usize)> {
        let event = self.events.get(self.next).cloned();
        self.next += 1;
        event
    }

    fn node(&mut self, depth: usize) -> Result<Node, Fault> {
        let Some((event, line)) = self.take() else { return fault(1, "the document ends too early") };
        if depth > DEPTH_MAX {
            return fault(line, "nested too deeply");
        }
        let value = match event {
            Event::Scalar(text, _, _, None) => Value::Scalar(text.into_owned()),
            Event::Scalar(..) => return fault(line, "tags (!name) are not part of the language"),
            Event::Alias(_) => return fault(line, "aliases (*name) are not part of the language"),
            Event::SequenceStart(..) => {
                let mut items = Vec::new();
                while !matches!(self.peek(), Some(Event::SequenceEnd)) {
                    items.push(self.node(depth + 1)?);
                }
                self.next += 1;
                Value::List(items)
            }
            Event::MappingStart(..) => {
                let mut entries: Vec<(Key, Node)> = Vec::new();
                while !matches!(self.peek(), Some(Event::MappingEnd)) {
                    let key = self.node(depth + 1)?;
                    let Value::Scalar(text) = key.value else {
                        return fault(key.line, "a key must be a word");
                    };
                    if entries.iter().any(|(known, _)| known.text == text) {
                        return fault(key.line, format!("{text} stands here twice"));
                    }
                    entries.push((Key { line: key.line, text }, self.node(depth + 1)?));
                }
                self.next += 1;
                Value::Map(entries)
            }
            _ => return fault(line, "unexpected content"),
        };
        Ok(Node { line, value })
    }

    fn peek(&self) -> Option<&Event<'a>> {
        self.events.get(self.next).map(|(event, _)| event)
    }
}

/// Sets the value at a path such as `producers.steady.rate`. In a list, an item is found by its `name` or its number.
/// A key that is not there yet is added; whether it may be is the language's business.
pub fn set(root: &mut Node, path: &str, value: Node) -> Result<(), Fault> {
    let parts: Vec<&str> = path.split('.').collect();
    place(root, &parts, value, path, false)
}

/// `settings`: the node holds settings of Kafka or paths, whose keys have dots in their names.
fn place(node: &mut Node, parts: &[&str], value: Node, path: &str, settings: bool) -> Result<(), Fault> {
    if parts.is_empty() {
        *node = value;
        return Ok(());
    }
    match &mut node.value {
        Value::Map(entries) => {
            let length = if settings { parts.len() } else { 1 };
            let key = parts[..length].join(".");
            let at = entries.iter().position(|(known, _)| known.text == key).unwrap_or_else(|| {
                let empty = Node { line: 0, value: Value::Map(Vec::new()) };
                entries.push((Key { line: 0, text: key.clone() }, empty));
                entries.len() - 1
            });
            let settings = matches!(key.as_str(), "broker" | "props" | "config" | "sweep");
            place(&mut entries[at].1, &parts[length..], value, path, settings)
        }
        Value::List(items) => {
            let wanted = parts[0];
            let names: Vec<String> = items.iter().filter_map(name_of).collect();
            let found = items
                .iter()
                .position(|item| name_of(item).as_deref() == Some(wanted))
                .or_else(|| wanted.parse::<usize>().ok().filter(|index| *index < items.len()));
            match found {
                Some(index) => place(&mut items[index], &parts[1..], value, path, false),
                None => fault(
                    0,
                    format!("{path}: nothing here is called {wanted}; there is {}", names.join(", ")),
                ),
            }
        }
        Value::Scalar(_) => fault(0, format!("{path}: there is nothing below a plain value")),
    }
}

fn name_of(node: &Node) -> Option<String> {
    let Value::Map(entries) = &node.value else { return None };
    let (_, node) = entries.iter().find(|(key, _)| key.text == "name")?;
    match &node.value {
        Value::Scalar(text) => Some(text.clone()),
        Value::List(_) | Value::Map(_) => None,
    }
}

/// The word of `known` that is nearest to `word` by edits, if any is near at all.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let best = known.into_iter().map(|candidate| (distance(word, candidate), candidate)).min()?;
    (best.0 <= 2.max(word.chars().count() / 2)).then_some(best.1)
}

/// Levenshtein, one row at a time.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(root: &Node, path: &[&str]) -> String {
        let mut node = root;
        for part in path {
            node = match &node.value {
                Value::Map(entries) => &entries.iter().find(|(key, _)| key.text == *part).unwrap().1,
                Value::List(items) => &items[part.parse::<usize>().unwrap()],
                Value::Scalar(_) => panic!("nothing below {part}"),
            };
        }
        match &node.value {
            Value::Scalar(text) => text.clone(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn a_document_keeps_lines_and_the_text_of_scalars() {
        let root = parse("a: 1Ki\nb:\n  - {name: x, c: 80k/s}\n").unwrap();
        assert_eq!(text(&root, &["a"]), "1Ki");
        assert_eq!(text(&root, &["b", "0", "c"]), "80k/s");
        let Value::Map(entries) = &root.value else { panic!() };
        assert_eq!(entries[1].0.line, 2);
    }

    #[test]
    fn what_is_not_plain_is_refused_with_its_line() {
        assert_eq!(parse("a: 1\na: 2\n").unwrap_err().to_string(), "line 2: a stands here twice");
        assert!(parse("a: &x 1\nb: *x\n").unwrap_err().text.contains("aliases"));
        assert!(parse("a: 1\n---\nb: 2\n").unwrap_err().text.contains("second document"));
        assert!(parse("a: [1\n").is_err());
        assert!(parse("").is_err());
        let deep = format!("{}1{}", "[".repeat(60), "]".repeat(60));
        assert!(parse(&deep).unwrap_err().text.contains("deep"));
    }

    #[test]
    fn a_path_finds_list_items_by_name_and_keys_with_dots() {
        let mut root =
            parse("producers:\n  - name: steady\n    rate: 1\n    props: {batch.size: 1}\nseed: 1\n")
                .unwrap();
        let value = |text: &str| Node { line: 0, value: Value::Scalar(text.to_owned()) };
        set(&mut root, "producers.steady.rate", value("50k/s")).unwrap();
        set(&mut root, "producers.0.props.batch.size", value("2")).unwrap();
        set(&mut root, "producers.steady.props.linger.ms", value("5")).unwrap();
        set(&mut root, "seed", value("7")).unwrap();
        assert_eq!(text(&root, &["producers", "0", "rate"]), "50k/s");
        assert_eq!(text(&root, &["producers", "0", "props", "batch.size"]), "2");
        assert_eq!(text(&root, &["producers", "0", "props", "linger.ms"]), "5");
        assert_eq!(text(&root, &["seed"]), "7");
        let error = set(&mut root, "producers.quick.rate", value("1")).unwrap_err();
        assert!(error.to_string().contains("there is steady"), "{error}");
    }

    #[test]
    fn the_nearest_word_is_near() {
        assert_eq!(nearest("partitons", ["partitions", "producers"]), Some("partitions"));
        assert_eq!(nearest("zzzzzz", ["seed", "name"]), None);
    }
}
