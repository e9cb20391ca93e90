//! One event of a history, and its line of JSON.
//!
//! `{"t":ns,"client":7,"type":"invoke|ok|fail|info","f":"send|poll|assign|subscribe|producer|isr|fault|heal|stop|gone",
//! "part":"orders-3","value":41,"offset":17,"epoch":4,"error":"..."}`. `value` and `offset` are a number, or an array where
//! an operation has several; one offset for several values is the first of consecutive ones. A value is sent once in a
//! history, and one client's values in one partition rise. Beyond the operations of clients:
//! * `producer`: what the client's acknowledgements promise (`idempotent`, and `weak` where a record may go although
//!   nothing but what the scenario does has happened, as with `acks=1`);
//! * `isr`: the in-sync set as ZooKeeper holds it, seen now; `version` is the version of the node;
//! * `fault`, `heal`, `stop`: a fault begins, all is well again, the load ends;
//! * `gone`: the partition's topic is being deleted, and nothing of it needs to be read any more;
//! * `end` at a poll: the end of the partition that the broker named with the answer.
//!
//! A topic that was deleted and made again is `orders#2-3` from then on.

use serde::{Deserialize, Serialize};
use std::sync::Arc;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum When {
    Invoke,
    Ok,
    /// Proven not to have happened.
    Fail,
    /// Anything else.
    Info,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    Producer,
    Send,
    Assign,
    Subscribe,
    Poll,
    Isr,
    Fault,
    Heal,
    Stop,
    Gone,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// ns on a monotonic clock, from any start.
    pub t: u64,
    pub client: u32,
    #[serde(rename = "type")]
    pub when: When,
    #[serde(rename = "f")]
    pub what: What,
    #[serde(default, with = "name", skip_serializing_if = "Option::is_none")]
    pub part: Option<Arc<str>>,
    #[serde(default, rename = "value", with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<u64>,
    #[serde(default, rename = "offset", with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    pub offsets: Vec<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotent: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weak: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Event {
    pub fn new(t: u64, client: u32, when: When, what: What) -> Event {
        Event {
            t,
            client,
            when,
            what,
            part: None,
            values: Vec::new(),
            offsets: Vec::new(),
            end: None,
            epoch: None,
            version: None,
            idempotent: None,
            weak: None,
            error: None,
        }
    }

    pub fn at(mut self, part: &Arc<str>) -> Event {
        self.part = Some(part.clone());
        self
    }

    pub fn of(mut self, values: &[u64], offsets: &[u64]) -> Event {
        self.values = values.to_vec();
        self.offsets = offsets.to_vec();
        self
    }

    pub fn error(mut self, error: impl Into<String>) -> Event {
        self.error = Some(error.into());
        self
    }

    /// Its line, without the end of line.
    pub fn line(&self) -> String {
        serde_json::to_string(self).expect("an event is plain data")
    }

    pub fn parse(line: &str) -> Result<Event, String> {
        serde_json::from_str(line).map_err(|error| format!("{error}: {line}"))
    }
}

mod name {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::sync::Arc;

    pub fn serialize<S: Serializer>(name: &Option<Arc<str>>, to: S) -> Result<S::Ok, S::Error> {
        name.as_deref().serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Arc<str>>, D::Error> {
        Ok(Option::<String>::deserialize(from)?.map(Arc::from))
    }
}

mod one_or_many {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(u64),
        Many(Vec<u64>),
    }

    pub fn serialize<S: Serializer>(numbers: &[u64], to: S) -> Result<S::Ok, S::Error> {
        match numbers {
            [one] => one.serialize(to),
            many => many.serialize(to),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u64>, D::Error> {
        Ok(match OneOrMany::deserialize(from)? {
            OneOrMany::One(one) => vec![one],
            OneOrMany::Many(many) => many,
        })
    }
}
