//! What a setting is: its key, type, default, allowed values, and what it does here.
//!
//! The rows are in `settings`. A value is text until `Setting::parse`; the errors are Kafka's own words
//! behind `Invalid value V for configuration K:`, and `Setting::allowed_text` says it for an operator.

use std::fmt;

use crate::config::version;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Boolean,
    String,
    Int,
    Short,
    Long,
    Double,
    List,
    Class,
    Password,
}

impl Kind {
    /// The number DescribeConfigs uses for the type.
    pub fn code(self) -> i8 {
        match self {
            Kind::Boolean => 1,
            Kind::String => 2,
            Kind::Int => 3,
            Kind::Short => 4,
            Kind::Long => 5,
            Kind::Double => 6,
            Kind::List => 7,
            Kind::Class => 8,
            Kind::Password => 9,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Allowed {
    Any,
    AtLeast(i64),
    Between(i64, i64),
    Fraction(f64, f64),
    /// -1 for the codec's own default, or 1 to 9.
    GzipLevel,
    OneOf(&'static [&'static str]),
    OneOfAnyCase(&'static [&'static str]),
    /// A list, each element one of these.
    EachOf(&'static [&'static str]),
    NotEmpty,
    /// A release number of Kafka, such as `2.8` or `2.8-IV1`.
    Version,
    /// `partition:broker` pairs, or `*`.
    ThrottledReplicas,
    /// `auto`, or a number of bytes from this on.
    AutoOrBytes(u64),
    /// `host:port`; no host means all interfaces.
    Address,
    /// Core ids and ranges: `0,2,4-7`; empty means all.
    Cores,
}

/// Whether and how a setting changes while the broker runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Update {
    ReadOnly,
    PerBroker,
    ClusterWide,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Importance {
    High,
    Medium,
    Low,
}

/// A part of Ringdaw that does not exist yet; settings that need it are accepted and say so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Transactions,
    Cluster,
    Security,
    Quotas,
    ConnectionLimits,
    AppendEngines,
    MemoryBudget,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Part::Transactions => "transactions",
            Part::Cluster => "clusters (ZooKeeper and replication)",
            Part::Security => "security (TLS, SASL, ACLs)",
            Part::Quotas => "quotas",
            Part::ConnectionLimits => "connection limits",
            Part::AppendEngines => "a second way to write batches",
            Part::MemoryBudget => "a bound on the memory of all requests together",
        })
    }
}

/// What setting the key does here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Works,
    Waits(Part),
    /// Checked and described as Kafka does, but nothing here depends on it; the text says why.
    Nothing(&'static str),
    /// A key that Kafka itself has dropped; the text says since when and what to use.
    Removed(&'static str),
}

#[derive(Clone, Copy, Debug)]
pub struct Setting {
    pub key: &'static str,
    pub kind: Kind,
    /// As DescribeConfigs prints it; `None` is Kafka's null.
    pub default: Option<&'static str>,
    pub allowed: Allowed,
    pub update: Update,
    pub importance: Importance,
    pub effect: Effect,
    /// Kafka keeps it out of DescribeConfigs unless it is set.
    pub internal: bool,
    /// Other keys for the same thing in falling precedence, this one included: `log.retention.ms`,
    /// `.minutes`, `.hours`. Of a topic key: the broker keys it falls back to.
    pub synonyms: &'static [&'static str],
    pub meaning: &'static str,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Boolean(bool),
    Whole(i64),
    Double(f64),
    Text(String),
    List(Vec<String>),
}

impl Value {
    /// As Kafka prints it.
    pub fn to_text(&self) -> String {
        match self {
            Value::Boolean(flag) => flag.to_string(),
            Value::Whole(n) => n.to_string(),
            Value::Double(n) if *n != 0.0 && !(1e-3..1e7).contains(&n.abs()) => {
                let scientific = format!("{n:E}");
                if scientific.contains('.') { scientific } else { scientific.replace('E', ".0E") }
            }
            Value::Double(n) => format!("{n:?}"),
            Value::Text(text) => text.clone(),
            Value::List(elements) => elements.join(","),
        }
    }
}

impl Setting {
    pub fn is_sensitive(&self) -> bool {
        self.kind == Kind::Password
    }

    pub fn default_value(&self) -> Option<Value> {
        self.default.map(|text| {
            self.parse(text).unwrap_or_else(|why| panic!("the default of {} is wrong: {why}", self.key))
        })
    }

    /// Reads and checks a value; the error is Kafka's whole sentence.
    pub fn parse(&self, text: &str) -> Result<Value, String> {
        let text = text.trim();
        let sentence =
            |shown: &str, why: String| format!("Invalid value {shown} for configuration {}: {why}", self.key);
        let value = self.read(text).map_err(|why| sentence(text, why))?;
        self.check(&value).map_err(|why| sentence(&self.shown(text, &value), why))?;
        Ok(value)
    }

    fn read(&self, text: &str) -> Result<Value, String> {
        match self.kind {
            Kind::Boolean if text.eq_ignore_ascii_case("true") => Ok(Value::Boolean(true)),
            Kind::Boolean if text.eq_ignore_ascii_case("false") => Ok(Value::Boolean(false)),
            Kind::Boolean => Err("Expected value to be either true or false".to_owned()),
            Kind::Int => whole(text, i32::MIN.into(), i32::MAX.into(), "INT"),
            Kind::Short => whole(text, i16::MIN.into(), i16::MAX.into(), "SHORT"),
            Kind::Long => whole(text, i64::MIN, i64::MAX, "LONG"),
            Kind::Double => match text.parse::<f64>() {
                Ok(number) if !number.is_nan() => Ok(Value::Double(number)),
                Ok(_) | Err(_) => Err("Not a number of type DOUBLE".to_owned()),
            },
            Kind::List => Ok(Value::List(list(text))),
            Kind::String | Kind::Class | Kind::Password => Ok(Value::Text(text.to_owned())),
        }
    }

    /// Kafka names the one element that is wrong, or prints the whole list in brackets.
    fn shown(&self, text: &str, value: &Value) -> String {
        match (self.allowed, value) {
            (Allowed::EachOf(words), Value::List(elements)) => {
                let wrong = elements.iter().find(|element| !words.contains(&element.as_str()));
                wrong.cloned().unwrap_or_default()
            }
            (_, Value::List(elements)) => format!("[{}]", elements.join(", ")),
            (_, Value::Boolean(_) | Value::Whole(_) | Value::Double(_) | Value::Text(_)) => text.to_owned(),
        }
    }

    fn check(&self, value: &Value) -> Result<(), String> {
        match (self.allowed, value) {
            (Allowed::Any, _) => Ok(()),
            (Allowed::AtLeast(least), Value::Whole(n)) => at_least(*n, least),
            (Allowed::Between(least, most), Value::Whole(n)) => {
                at_least(*n, least)?;
                if *n > most { Err(format!("Value must be no more than {most}")) } else { Ok(()) }
            }
            (Allowed::Fraction(least, most), Value::Double(n)) => {
                if *n < least {
                    Err(format!("Value must be at least {least}"))
                } else if *n > most {
                    Err(format!("Value must be no more than {most}"))
                } else {
                    Ok(())
                }
            }
            (Allowed::GzipLevel, Value::Whole(n)) => match n {
                -1 | 1..=9 => Ok(()),
                _ => Err("Value must be between 1 and 9 or equal to -1".to_owned()),
            },
            (Allowed::OneOf(words), Value::Text(text)) => one_of(words.contains(&text.as_str()), words),
            (Allowed::OneOfAnyCase(words), Value::Text(text)) => {
                one_of(words.iter().any(|word| word.eq_ignore_ascii_case(text)), words)
            }
            (Allowed::EachOf(words), Value::List(elements)) => {
                one_of(elements.iter().all(|element| words.contains(&element.as_str())), words)
            }
            (Allowed::NotEmpty, Value::Text(text)) if text.is_empty() => {
                Err("String must be non-empty".to_owned())
            }
            (Allowed::NotEmpty, Value::List(elements)) if elements.is_empty() => {
                Err("Configuration value must not be empty.".to_owned())
            }
            (Allowed::NotEmpty, _) => Ok(()),
            (Allowed::Version, Value::Text(text)) => match version::Version::parse(text) {
                Some(_) => Ok(()),
                None => Err(format!("Version {text} is not a valid version")),
            },
            (Allowed::ThrottledReplicas, Value::List(elements)) => {
                let pair = |element: &String| {
                    element
                        .split_once(':')
                        .is_some_and(|(partition, broker)| is_digits(partition) && is_digits(broker))
                };
                let all = elements.len() == 1 && elements[0] == "*";
                if all || elements.iter().all(pair) {
                    Ok(())
                } else {
                    Err(format!(
                        "{} must be the literal '*' or a list of replicas in the following format: \
                         [partitionId]:[brokerId],[partitionId]:[brokerId],...",
                        self.key
                    ))
                }
            }
            (Allowed::AutoOrBytes(least), Value::Text(text)) => {
                let enough =
                    text.parse::<u64>().is_ok_and(|bytes| bytes >= least && bytes <= i64::MAX as u64);
                if text == "auto" || enough { Ok(()) } else { Err(self.allowed_text()) }
            }
            (Allowed::Address, Value::Text(text)) => {
                if text.is_empty() || address(text).is_some() {
                    Ok(())
                } else {
                    Err(self.allowed_text())
                }
            }
            (Allowed::Cores, Value::List(elements)) => {
                cores(elements).map(|_| ()).ok_or_else(|| self.allowed_text())
            }
            (allowed, value) => unreachable!("{}: {allowed:?} cannot judge {value:?}", self.key),
        }
    }

    /// What an operator may write, for a message.
    pub fn allowed_text(&self) -> String {
        let number = match self.kind {
            Kind::Int => Some((i64::from(i32::MIN), i64::from(i32::MAX))),
            Kind::Short => Some((i64::from(i16::MIN), i64::from(i16::MAX))),
            Kind::Long => Some((i64::MIN, i64::MAX)),
            Kind::Boolean | Kind::String | Kind::Double | Kind::List | Kind::Class | Kind::Password => None,
        };
        match (self.allowed, number) {
            (Allowed::AtLeast(least), Some((_, max))) if max == i64::MAX => {
                format!("a whole number, at least {least}")
            }
            (Allowed::AtLeast(least), Some((_, max))) => format!("a whole number from {least} to {max}"),
            (Allowed::Between(least, most), _) => format!("a whole number from {least} to {most}"),
            (Allowed::GzipLevel, _) => "-1 (the codec's default) or a whole number from 1 to 9".to_owned(),
            (Allowed::Fraction(least, most), _) => format!("a number from {least} to {most}"),
            (Allowed::OneOf(words) | Allowed::OneOfAnyCase(words), _) => {
                format!("one of {}", words.join(", "))
            }
            (Allowed::EachOf(words), _) => format!("a comma-separated list of {}", words.join(", ")),
            (Allowed::NotEmpty, _) => "not empty".to_owned(),
            (Allowed::Version, _) => "a release of Kafka, such as 2.8 or 3.9-IV0".to_owned(),
            (Allowed::ThrottledReplicas, _) => "* or a list of partition:broker pairs".to_owned(),
            (Allowed::AutoOrBytes(least), _) => format!("auto, or a number of bytes, at least {least}"),
            (Allowed::Address, _) => "host:port, such as 127.0.0.1:9308 or :9308; empty for none".to_owned(),
            (Allowed::Cores, _) => "a list of core ids and ranges, such as 0,2,4-7, each once".to_owned(),
            (Allowed::Any, Some((_, max))) if max == i64::MAX => "a whole number".to_owned(),
            (Allowed::Any, Some((_, max))) => format!("a whole number, at most {max}"),
            (Allowed::Any | Allowed::AtLeast(_), None) => match self.kind {
                Kind::Boolean => "true or false".to_owned(),
                Kind::Double => "a number".to_owned(),
                Kind::List => "a comma-separated list".to_owned(),
                Kind::Class => "the name of a class".to_owned(),
                Kind::String | Kind::Password | Kind::Int | Kind::Short | Kind::Long => "any text".to_owned(),
            },
        }
    }
}

/// A list as Kafka splits it: at commas, blanks around each element dropped; empty text is an empty list.
pub fn list(text: &str) -> Vec<String> {
    let text = text.trim();
    if text.is_empty() {
        return Vec::new();
    }
    text.split(',').map(|element| element.trim().to_owned()).collect()
}

/// Host and port of `host:port` or `[::1]:port`; the host may be empty.
pub fn address(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok()?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    match bare {
        Some(inner) => Some((inner.to_owned(), port)),
        // More colons without brackets could be cut anywhere.
        None if host.contains(':') || host.contains('/') => None,
        None => Some((host.to_owned(), port)),
    }
}

/// Core ids of `0,2,4-7`; `None` when it cannot be read or names a core twice.
pub fn cores(elements: &[String]) -> Option<Vec<usize>> {
    const CORE_MAX: usize = 4095;
    let mut all = Vec::new();
    for element in elements {
        let (first, last) = element.split_once('-').unwrap_or((element, element));
        let (first, last) = (first.trim().parse::<usize>().ok()?, last.trim().parse::<usize>().ok()?);
        if first > last || last > CORE_MAX {
            return None;
        }
        for core in first..=last {
            if all.contains(&core) {
                return None;
            }
            all.push(core);
        }
    }
    Some(all)
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn whole(text: &str, min: i64, max: i64, kind: &str) -> Result<Value, String> {
    let number = text.parse::<i64>().ok().filter(|number| (min..=max).contains(number));
    number.map(Value::Whole).ok_or_else(|| format!("Not a number of type {kind}"))
}

fn at_least(n: i64, least: i64) -> Result<(), String> {
    if n < least { Err(format!("Value must be at least {least}")) } else { Ok(()) }
}

fn one_of(is: bool, words: &[&str]) -> Result<(), String> {
    if is { Ok(()) } else { Err(format!("String must be one of: {}", words.join(", "))) }
}
