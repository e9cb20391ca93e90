//! Every setting with its value and where the value comes from, as DescribeConfigs tells it.
//!
//! In: a `Config`, and the overrides of a topic. Out: one `Described` for each key, by name. A secret's value
//! is never in it, and neither is the value of a key nobody knows.

use std::collections::BTreeMap;

use crate::config::live::Layers;
use crate::config::load::Given;
use crate::config::setting::{Effect, Setting, Update};
use crate::config::topic::{self, Overrides};
use crate::config::{Config, settings};

/// Who set a value; the highest of several counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Topic,
    DynamicBroker,
    DynamicDefaultBroker,
    StaticBroker,
    Default,
}

impl Source {
    /// The number DescribeConfigs uses.
    pub fn code(self) -> i8 {
        match self {
            Source::Topic => 1,
            Source::DynamicBroker => 2,
            Source::DynamicDefaultBroker => 3,
            Source::StaticBroker => 4,
            Source::Default => 5,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    pub name: String,
    /// `None` is null: unset, or secret.
    pub value: Option<String>,
    pub source: Source,
    pub sensitive: bool,
    pub read_only: bool,
    /// The type as DescribeConfigs numbers it; 0 for a key nobody knows.
    pub kind_code: i8,
    /// All that could have set the value, the one that did first.
    pub synonyms: Vec<Synonym>,
    pub documentation: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synonym {
    pub name: String,
    pub value: Option<String>,
    pub source: Source,
}

impl Config {
    /// The broker's settings, by name.
    pub fn describe_broker(&self) -> Vec<Described> {
        let mut all: BTreeMap<&str, Described> = BTreeMap::new();
        for setting in settings::BROKER {
            let shown = match setting.effect {
                Effect::Removed(_) => self.given.is_given(setting.key),
                Effect::Works | Effect::Waits(_) | Effect::Nothing(_) => {
                    !setting.internal || self.given.is_given(setting.key)
                }
            };
            if shown {
                all.insert(setting.key, describe_broker_key(&self.given, &self.layers, setting));
            }
        }
        for key in self.given.entries.keys().filter(|key| settings::broker(key).is_none()) {
            let synonym = Synonym { name: key.clone(), value: None, source: Source::StaticBroker };
            all.insert(
                key,
                Described {
                    name: key.clone(),
                    value: None,
                    source: Source::StaticBroker,
                    sensitive: true,
                    read_only: true,
                    kind_code: 0,
                    synonyms: vec![synonym],
                    documentation: "",
                },
            );
        }
        all.into_values().collect()
    }

    /// What all brokers were told while they ran, by name.
    pub fn describe_of_all(&self) -> Vec<Described> {
        let of_all = self.layers.of_all.iter();
        of_all
            .map(|(key, text)| {
                let row = settings::broker(key);
                // The value of a key that nobody knows could be a secret.
                let sensitive = row.is_none_or(Setting::is_sensitive);
                let value = Some(text.clone()).filter(|_| !sensitive);
                let source = Source::DynamicDefaultBroker;
                Described {
                    name: key.clone(),
                    value: value.clone(),
                    source,
                    sensitive,
                    read_only: row.is_none(),
                    kind_code: row.map_or(0, |row| row.kind.code()),
                    synonyms: vec![Synonym { name: key.clone(), value, source }],
                    documentation: row.map_or("", |row| row.meaning),
                }
            })
            .collect()
    }

    /// The settings of a topic with these overrides, by name.
    pub fn describe_topic(&self, overrides: &Overrides) -> Vec<Described> {
        let mut all: Vec<Described> = settings::TOPIC
            .iter()
            .map(|setting| {
                let own = overrides.get(setting.key).map(|text| match setting.parse(text) {
                    Ok(value) => value.to_text(),
                    Err(_) => text.clone(),
                });
                let inherited = || topic::inherited(&self.given, setting.key).map(|value| value.to_text());
                let mut synonyms = Vec::new();
                if let Some(value) = &own {
                    let name = setting.key.to_owned();
                    synonyms.push(Synonym { name, value: Some(value.clone()), source: Source::Topic });
                }
                if let Some(first) = setting.synonyms.first() {
                    synonyms.extend(broker_synonyms(&self.layers, first, setting.synonyms));
                }
                Described {
                    name: setting.key.to_owned(),
                    value: own.or_else(inherited),
                    source: source_of(&synonyms),
                    sensitive: false,
                    read_only: false,
                    kind_code: setting.kind.code(),
                    synonyms,
                    documentation: setting.meaning,
                }
            })
            .collect();
        all.sort_by(|one, other| one.name.cmp(&other.name));
        all
    }
}

fn describe_broker_key(given: &Given, layers: &Layers, setting: &'static Setting) -> Described {
    let sensitive = setting.is_sensitive();
    let itself = [setting.key];
    let names = if setting.synonyms.is_empty() { &itself } else { setting.synonyms };
    let synonyms = broker_synonyms(layers, setting.key, names);
    let value = match setting.effect {
        Effect::Removed(_) => given.entries.get(setting.key).map(|entry| entry.text.clone()),
        Effect::Works | Effect::Waits(_) | Effect::Nothing(_) => {
            given.value(setting.key).map(|value| value.to_text())
        }
    };
    Described {
        name: setting.key.to_owned(),
        value: value.filter(|_| !sensitive),
        source: source_of(&synonyms),
        sensitive,
        read_only: setting.update == Update::ReadOnly,
        kind_code: setting.kind.code(),
        synonyms,
        documentation: setting.meaning,
    }
}

/// First what was set while the broker ran, then what the file says for any of the names, then the defaults; what precedes the first mention of
/// `key` itself is left out, as Kafka leaves it out: so `log.retention.ms` shows nothing when only the
/// hours are set.
fn broker_synonyms(layers: &Layers, key: &str, names: &[&'static str]) -> Vec<Synonym> {
    let mut all = Vec::new();
    for source in [Source::DynamicBroker, Source::DynamicDefaultBroker, Source::StaticBroker] {
        for name in names {
            let text = match source {
                Source::DynamicBroker => layers.own.get(*name),
                Source::DynamicDefaultBroker => layers.of_all.get(*name),
                _ => layers.file.entries.get(*name).map(|entry| &entry.text),
            };
            if let Some(text) = text {
                let sensitive = settings::broker(name).is_some_and(Setting::is_sensitive);
                let value = Some(text.clone()).filter(|_| !sensitive);
                all.push(Synonym { name: (*name).to_owned(), value, source });
            }
        }
    }
    for name in names {
        if let Some(default) = settings::broker(name).and_then(|setting| setting.default) {
            let value = Some(default.to_owned());
            all.push(Synonym { name: (*name).to_owned(), value, source: Source::Default });
        }
    }
    let start = all.iter().position(|synonym| synonym.name == key).unwrap_or(all.len());
    all.split_off(start)
}

fn source_of(synonyms: &[Synonym]) -> Source {
    synonyms.first().map_or(Source::Default, |synonym| synonym.source)
}
