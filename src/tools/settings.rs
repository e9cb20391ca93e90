//! Client settings of the tools: Kafka's keys, from a file and from the command line.
//!
//! In: a properties file and `key=value` words, the later one wins. Out: values with Kafka's defaults. Keys that mean
//! nothing to this client are named once on stderr; those that would change what is measured are refused.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use crate::config::properties::Properties;
use crate::tools::{Ended, failed};

#[derive(Debug, Default)]
pub struct Settings {
    values: BTreeMap<String, String>,
    asked: std::cell::RefCell<Vec<String>>,
}

/// Known to Kafka's clients and without a meaning here; nobody needs to be told.
const QUIET: &[&str] =
    &["key.serializer", "value.serializer", "key.deserializer", "value.deserializer", "client.id"];

impl Settings {
    pub fn read(file: Option<&Path>, words: &[String]) -> Result<Settings, Ended> {
        let mut settings = Settings::default();
        if let Some(path) = file {
            let bytes =
                std::fs::read(path).map_err(|error| Ended::Failed(format!("{}: {error}", path.display())))?;
            let properties = Properties::parse(&bytes);
            if let Some(error) = properties.errors.first() {
                return failed(format!("{}:{}: {}", path.display(), error.line, error.what));
            }
            for entry in properties.entries {
                settings.values.insert(entry.key, entry.value.trim_end().to_owned());
            }
        }
        for word in words.iter().filter(|word| !word.is_empty()) {
            let Some((key, value)) = word.split_once('=') else {
                return failed(format!("Invalid property: {word}"));
            };
            settings.values.insert(key.trim().to_owned(), value.trim().to_owned());
        }
        settings.plaintext()
    }

    /// As `read`, for what is no client's setting: a blank is a value, too.
    pub fn read_verbatim(file: Option<&Path>, words: &[String]) -> Result<Settings, Ended> {
        let mut settings = Settings::read(file, &[])?;
        for word in words {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            settings.values.insert(key.trim().to_owned(), value.to_owned());
        }
        Ok(settings)
    }

    fn plaintext(self) -> Result<Settings, Ended> {
        let settings = self;
        let protocol = settings.text("security.protocol").unwrap_or("PLAINTEXT");
        if !protocol.eq_ignore_ascii_case("plaintext") {
            return failed(format!("security.protocol={protocol}: this tool speaks PLAINTEXT only"));
        }
        Ok(settings)
    }

    pub fn set(&mut self, key: &str, value: &str) {
        self.values.insert(key.to_owned(), value.to_owned());
    }

    pub fn text(&self, key: &str) -> Option<&str> {
        self.asked.borrow_mut().push(key.to_owned());
        self.values.get(key).map(String::as_str)
    }

    /// A whole number within `range`, or the default.
    pub fn number(
        &self,
        key: &str,
        default: i64,
        range: std::ops::RangeInclusive<i64>,
    ) -> Result<i64, Ended> {
        let Some(text) = self.text(key) else { return Ok(default) };
        match text.parse() {
            Ok(value) if range.contains(&value) => Ok(value),
            Ok(_) | Err(_) => {
                failed(format!("{key}={text}: a whole number from {} to {}", range.start(), range.end()))
            }
        }
    }

    /// `true` or `false`, or the default.
    pub fn flag(&self, key: &str, default: bool) -> Result<bool, Ended> {
        match self.text(key) {
            None => Ok(default),
            Some(text) if text.eq_ignore_ascii_case("true") => Ok(true),
            Some(text) if text.eq_ignore_ascii_case("false") => Ok(false),
            Some(text) => failed(format!("{key}={text}: true or false")),
        }
    }

    /// How long a call may take: `default.api.timeout.ms`, else `request.timeout.ms`, else `default_ms`.
    pub fn call_timeout(&self, default_ms: u64) -> Result<std::time::Duration, Ended> {
        let request = self.number("request.timeout.ms", default_ms as i64, 1..=i64::from(i32::MAX))?;
        let call = self.number("default.api.timeout.ms", request, 1..=i64::from(i32::MAX))?;
        Ok(std::time::Duration::from_millis(call as u64))
    }

    /// Names the keys that nobody asked for.
    pub fn warn_of_unused(&self, err: &mut dyn Write) {
        let asked = self.asked.borrow();
        for key in self.values.keys() {
            if !asked.contains(key) && !QUIET.contains(&key.as_str()) {
                let _ = writeln!(err, "WARNING: {key} has no effect in this tool");
            }
        }
    }
}

/// Says that an option goes by another name now.
pub fn deprecated(err: &mut dyn Write, old: &str, new: &str) {
    let _ = writeln!(err, "WARNING: {old} is deprecated, use {new}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_wins_over_the_file_and_unused_keys_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("client.properties");
        std::fs::write(&path, "acks=1\nlinger.ms=7\nretries=3\n").unwrap();
        let settings =
            Settings::read(Some(&path), &["acks=all".to_owned(), "batch.size=100".to_owned()]).unwrap();
        assert_eq!(settings.text("acks"), Some("all"));
        assert_eq!(settings.number("linger.ms", 0, 0..=100).unwrap(), 7);
        assert!(settings.number("batch.size", 0, 200..=300).is_err());
        let mut said = Vec::new();
        settings.warn_of_unused(&mut said);
        assert_eq!(String::from_utf8(said).unwrap(), "WARNING: retries has no effect in this tool\n");
        assert!(Settings::read(None, &["security.protocol=SSL".to_owned()]).is_err());
        assert!(Settings::read(None, &["nonsense".to_owned()]).is_err());
    }
}
