//! From a file and `--override` arguments to checked values, with every problem found at once.
//!
//! In: a path and `key=value` texts. Out: `Given`, which knows where each value stands, and the notes and
//! errors on the way. An override beats the file; in the file the later line beats the earlier one. A key
//! nobody knows is kept and noted, because Kafka ignores it too.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crate::config::properties::Properties;
use crate::config::setting::{Effect, Setting, Value};
use crate::config::{nearest, settings};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    Line {
        file: Arc<str>,
        line: usize,
    },
    File(Arc<str>),
    Override,
    /// Set while the broker ran.
    Live,
    /// Neither file nor argument says it.
    Default,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Line { file, line } => write!(f, "{file}:{line}"),
            Place::File(file) => f.write_str(file),
            Place::Override => f.write_str("--override"),
            Place::Live => f.write_str("dynamic"),
            Place::Default => f.write_str("default"),
        }
    }
}

/// Something to tell the operator, at the place it is about: `file:line: key = value: text`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    pub place: Place,
    /// Empty when the line could not even be split.
    pub key: String,
    /// Never a secret: those are shown as `[hidden]`.
    pub value: String,
    pub text: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.key.is_empty(), self.value.is_empty()) {
            (true, _) => write!(f, "{}: {}", self.place, self.text),
            (false, true) => write!(f, "{}: {} = : {}", self.place, self.key, self.text),
            (false, false) => write!(f, "{}: {} = {}: {}", self.place, self.key, self.value, self.text),
        }
    }
}

/// Every reason not to start, in the order of the file; and the notes that were found beside them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors {
    pub errors: Vec<Note>,
    pub notes: Vec<Note>,
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub place: Place,
    pub text: String,
    /// `None` when it is wrong, or when nobody knows the key.
    pub value: Option<Value>,
}

/// What was said about each key, and nothing about keys nobody mentioned.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Given {
    pub entries: BTreeMap<String, Entry>,
}

#[derive(Default)]
pub(super) struct Findings {
    pub notes: Vec<Note>,
    pub errors: Vec<Note>,
}

impl Given {
    pub fn read(path: Option<&Path>, overrides: &[String], findings: &mut Findings) -> Given {
        let mut given = Given::default();
        if let Some(path) = path {
            given.read_file(path, findings);
        }
        for argument in overrides {
            given.read_override(argument, findings);
        }
        given.judge(findings);
        given
    }

    /// `broker.id` and `node.id` are one thing: whoever says one says both.
    pub fn share_ids(&mut self) {
        for (one, other) in [("broker.id", "node.id"), ("node.id", "broker.id")] {
            if let (Some(entry), None) = (self.entries.get(one), self.entries.get(other)) {
                self.entries.insert(other.to_owned(), entry.clone());
            }
        }
    }

    /// The text of a key if it was given and is not wrong.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.entries.get(key).filter(|entry| entry.value.is_some()).map(|entry| entry.text.as_str())
    }

    pub fn is_given(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// Whether none of these keys has a value that is wrong by itself.
    pub fn are_right(&self, keys: &[&str]) -> bool {
        keys.iter().all(|key| self.entries.get(*key).is_none_or(|entry| entry.value.is_some()))
    }

    /// The value in force for a broker key: given, else the default; `None` is Kafka's null.
    pub fn value(&self, key: &str) -> Option<Value> {
        let setting =
            settings::broker(key).unwrap_or_else(|| panic!("{key} has no row in the table of settings"));
        let given = self.entries.get(key).and_then(|entry| entry.value.clone());
        given.or_else(|| setting.default_value())
    }

    pub fn whole(&self, key: &str) -> i64 {
        self.whole_or_null(key).unwrap_or_else(|| panic!("{key} has no default"))
    }

    pub fn whole_or_null(&self, key: &str) -> Option<i64> {
        match self.value(key) {
            Some(Value::Whole(n)) => Some(n),
            None => None,
            Some(other) => panic!("{key} is no whole number but {other:?}"),
        }
    }

    pub fn double(&self, key: &str) -> f64 {
        match self.value(key) {
            Some(Value::Double(number)) => number,
            other => panic!("{key} is no number but {other:?}"),
        }
    }

    pub fn flag(&self, key: &str) -> bool {
        match self.value(key) {
            Some(Value::Boolean(flag)) => flag,
            other => panic!("{key} is no boolean but {other:?}"),
        }
    }

    pub fn string(&self, key: &str) -> Option<String> {
        match self.value(key) {
            Some(Value::Text(text)) => Some(text),
            None => None,
            Some(other) => panic!("{key} is no text but {other:?}"),
        }
    }

    pub fn list(&self, key: &str) -> Vec<String> {
        match self.value(key) {
            Some(Value::List(elements)) => elements,
            other => panic!("{key} is no list but {other:?}"),
        }
    }

    /// An error at the first of these keys that somebody wrote.
    pub fn error(&self, keys: &[&str], text: impl Into<String>, findings: &mut Findings) {
        findings.errors.push(self.remark(keys, text.into()));
    }

    pub fn note(&self, keys: &[&str], text: impl Into<String>, findings: &mut Findings) {
        findings.notes.push(self.remark(keys, text.into()));
    }

    fn remark(&self, keys: &[&str], text: String) -> Note {
        for key in keys {
            if let Some(entry) = self.entries.get(*key) {
                return remark_at(&entry.place, key, &entry.text, text);
            }
        }
        let key = keys[0];
        let value = settings::broker(key).and_then(|setting| setting.default).unwrap_or("").to_owned();
        Note { place: Place::Default, key: key.to_owned(), value, text }
    }

    fn read_file(&mut self, path: &Path, findings: &mut Findings) {
        let file: Arc<str> = path.display().to_string().into();
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) => {
                let text = format!("cannot be read: {error}");
                findings.errors.push(Note {
                    place: Place::File(file),
                    key: String::new(),
                    value: String::new(),
                    text,
                });
                return;
            }
        };
        let properties = Properties::parse(&bytes);
        for error in properties.errors {
            let place = Place::Line { file: file.clone(), line: error.line };
            findings.errors.push(Note { place, key: String::new(), value: String::new(), text: error.what });
        }
        for property in properties.entries {
            let place = Place::Line { file: file.clone(), line: property.line };
            let text = property.value.trim().to_owned();
            let entry = Entry { place: place.clone(), text, value: None };
            if let Some(Entry { place: Place::Line { line, .. }, .. }) = self.entries.get(&property.key) {
                let text = format!("also on line {line}; the later line counts");
                findings.notes.push(remark_at(&place, &property.key, &entry.text, text));
            }
            self.entries.insert(property.key, entry);
        }
    }

    fn read_override(&mut self, argument: &str, findings: &mut Findings) {
        match argument.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => {
                let entry = Entry { place: Place::Override, text: value.trim().to_owned(), value: None };
                self.entries.insert(key.trim().to_owned(), entry);
            }
            Some(_) | None => {
                let text = format!("`{argument}` is not key=value");
                findings.errors.push(Note {
                    place: Place::Override,
                    key: String::new(),
                    value: String::new(),
                    text,
                });
            }
        }
    }

    fn judge(&mut self, findings: &mut Findings) {
        for (key, entry) in &mut self.entries {
            let Some(setting) = settings::broker(key) else {
                if let Some((setting, said)) = of_one_listener(key) {
                    entry.value = setting.parse(&entry.text).ok();
                    match entry.value {
                        Some(_) => findings.notes.push(remark_at(&entry.place, key, &entry.text, said)),
                        None => findings.errors.push(remark_at(
                            &entry.place,
                            key,
                            &entry.text,
                            setting.allowed_text(),
                        )),
                    }
                    continue;
                }
                let text = nearest::unknown(key);
                findings.notes.push(remark_at(&entry.place, key, &entry.text, text));
                continue;
            };
            // Kafka drops a removed key unread, so its value cannot be wrong.
            if let Effect::Removed(why) = setting.effect {
                findings.notes.push(remark_at(
                    &entry.place,
                    key,
                    &entry.text,
                    format!("has no effect: {why}"),
                ));
                continue;
            }
            match setting.parse(&entry.text) {
                Ok(value) => entry.value = Some(value),
                Err(_) => {
                    let text = setting.allowed_text();
                    findings.errors.push(remark_at(&entry.place, key, &entry.text, text));
                    continue;
                }
            }
            if let Some(text) = effect_text(setting) {
                findings.notes.push(remark_at(&entry.place, key, &entry.text, text));
            }
        }
    }
}

impl Findings {
    /// In the order a reader meets them: the file from top to bottom, then the arguments.
    pub fn sort(&mut self) {
        let order = |note: &Note| match &note.place {
            Place::File(_) => (0, 0),
            Place::Line { line, .. } => (1, *line),
            Place::Override => (2, 0),
            Place::Live => (3, 0),
            Place::Default => (4, 0),
        };
        self.notes.sort_by_key(order);
        self.errors.sort_by_key(order);
    }
}

/// `listener.name.<listener>.<key>` is the key for one listener, and between the two a login mechanism may
/// stand. Out: the key's row, and what to say of it.
pub(super) fn of_one_listener(key: &str) -> Option<(&'static Setting, String)> {
    let (_, rest) = key.strip_prefix("listener.name.")?.split_once('.')?;
    let setting = settings::broker(rest).or_else(|| settings::broker(rest.split_once('.')?.1))?;
    let text = match setting.effect {
        Effect::Waits(part) => format!("no effect yet: it waits for {part}"),
        Effect::Nothing(why) | Effect::Removed(why) => format!("has no effect: {why}"),
        Effect::Works => format!("has no effect: {} holds for all listeners", setting.key),
    };
    Some((setting, text))
}

fn effect_text(setting: &Setting) -> Option<String> {
    match setting.effect {
        Effect::Works => None,
        Effect::Waits(part) => Some(format!("no effect yet: it waits for {part}")),
        Effect::Nothing(why) | Effect::Removed(why) => Some(format!("has no effect: {why}")),
    }
}

fn remark_at(place: &Place, key: &str, value: &str, text: String) -> Note {
    let of_listener = || of_one_listener(key).map(|(setting, _)| setting);
    let sensitive = match settings::broker(key).or_else(of_listener) {
        Some(setting) => setting.is_sensitive(),
        None => nearest::may_be_secret(key),
    };
    let value = if sensitive && !value.is_empty() { "[hidden]".to_owned() } else { value.to_owned() };
    Note { place: place.clone(), key: key.to_owned(), value, text }
}
