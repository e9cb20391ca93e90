//! Settings that change while the broker runs: two more layers over the file, for this broker and for all.
//!
//! In: the settings of both layers, as a store keeps them. Out: a `Config` with all of them in force, or Kafka's sentence about
//! what cannot be. What a store holds was checked when it was set; what no longer fits is left out at a start, and said.

use crate::config::Config;
use crate::config::load::{Entry, Findings, Given, Place, of_one_listener};
use crate::config::setting::{Kind, Update};
use crate::config::settings;
use crate::config::together::Together;
use crate::config::topic::Overrides;

/// The layers of a broker's settings.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Layers {
    /// What file and arguments say.
    pub file: Given,
    /// For every broker.
    pub of_all: Overrides,
    /// For this broker; counts more.
    pub own: Overrides,
}

/// Kafka changes these on a running broker, and this one takes them from its file at the next start.
const FIXED: &[&str] = &[
    "listeners",
    "advertised.listeners",
    "listener.security.protocol.map",
    "log.cleaner.threads",
    "log.cleaner.dedupe.buffer.size",
    "log.cleaner.io.buffer.size",
    "log.cleaner.io.buffer.load.factor",
    "log.cleaner.io.max.bytes.per.second",
    "log.cleaner.backoff.ms",
];

/// Sizes of thread pools: Kafka lets one step halve or double them.
const POOLS: &[&str] = &[
    "num.network.threads",
    "num.io.threads",
    "background.threads",
    "num.recovery.threads.per.data.dir",
    "num.replica.fetchers",
];

fn named(what: &str, keys: Vec<&str>) -> Result<(), String> {
    match keys.is_empty() {
        true => Ok(()),
        false => Err(format!("{what}: Set({})", keys.join(", "))),
    }
}

/// What can be said of one layer without a broker: whether each key may change in it, and its value; the error is Kafka's
/// sentence. `this_broker`: the layer of one broker, else that of all.
pub fn check_of_stopped_broker(settings: &Overrides, this_broker: bool) -> Result<(), String> {
    let rows = || settings.iter().filter_map(|(key, text)| Some((settings::broker(key)?, text)));
    let read_only = rows().filter(|(row, _)| row.update == Update::ReadOnly).map(|(row, _)| row.key);
    named("Cannot update these configs dynamically", read_only.collect())?;
    for (row, text) in rows() {
        row.parse(text)?;
    }
    if !this_broker {
        let own = rows().filter(|(row, _)| row.update == Update::PerBroker).map(|(row, _)| row.key);
        let what = "Cannot update these configs at default cluster level, broker id must be specified";
        named(what, own.collect())?;
    }
    Ok(())
}

/// Whether the value of a key, also of one listener, is a password.
pub fn holds_password(key: &str) -> bool {
    let of_listener = || of_one_listener(key).map(|(row, _)| row);
    settings::broker(key).or_else(of_listener).is_some_and(|row| row.kind == Kind::Password)
}

impl Config {
    /// What this broker was told while it ran.
    pub fn settings_of_this(&self) -> &Overrides {
        &self.layers.own
    }

    /// What all brokers were told while they ran, without what this one was told.
    pub fn settings_of_all(&self) -> &Overrides {
        &self.layers.of_all
    }

    /// Checks the whole set of one layer as Kafka does before it stores it; the error is its sentence.
    pub fn check_live(&self, settings: &Overrides, this_broker: bool) -> Result<(), String> {
        check_of_stopped_broker(settings, this_broker)?;
        let rows = || settings.keys().filter_map(|key| settings::broker(key));
        let fixed = rows().map(|row| row.key).filter(|key| FIXED.contains(key));
        named("This broker takes these configs from its file when it starts", fixed.collect())?;
        let next = match this_broker {
            true => self.with_live(settings, &self.layers.of_all)?,
            false => self.with_live(&self.layers.own, settings)?,
        };
        for pool in POOLS {
            let (now, then) = (self.given.whole(pool), next.given.whole(pool));
            let failed = format!("Dynamic thread count update validation failed for {pool}={then}");
            if then != now && then < now / 2 {
                return Err(format!("{failed}, value should be at least half the current value {now}"));
            }
            if then != now && then > now * 2 {
                return Err(format!(
                    "{failed}, value should not be greater than double the current value {now}"
                ));
            }
        }
        Ok(())
    }

    /// This configuration with other live layers.
    pub fn with_live(&self, own: &Overrides, of_all: &Overrides) -> Result<Config, String> {
        let mut given = self.layers.file.clone();
        for (key, text) in of_all.iter().chain(own) {
            let value = match settings::broker(key) {
                Some(row) => Some(row.parse(text)?),
                None => None,
            };
            given.entries.insert(key.clone(), Entry { place: Place::Live, text: text.clone(), value });
        }
        let mut findings = Findings::default();
        let together = Together::new(&given, &mut findings);
        if let Some(error) = findings.errors.first() {
            return Err(format!(
                "Invalid value {} for configuration {}: {}",
                error.value, error.key, error.text
            ));
        }
        given.share_ids();
        let layers = Layers { file: self.layers.file.clone(), of_all: of_all.clone(), own: own.clone() };
        Ok(Config::new(given, together, layers))
    }

    /// The same for layers read back from a store: a key that cannot be is left out and named.
    pub fn with_stored(&self, own: &Overrides, of_all: &Overrides) -> (Config, Vec<String>) {
        let (mut own, mut of_all, mut left_out) = (own.clone(), of_all.clone(), Vec::new());
        for layer in [&mut own, &mut of_all] {
            layer.retain(|key, text| {
                let wrong = settings::broker(key).and_then(|row| row.parse(text).err());
                let stays = wrong.is_none();
                left_out.extend(wrong);
                stays
            });
        }
        match self.with_live(&own, &of_all) {
            Ok(config) => (config, left_out),
            Err(why) => {
                left_out.push(why);
                (self.clone(), left_out)
            }
        }
    }
}
