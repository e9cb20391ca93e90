//! How a record is written: Kafka's formatters, by the names of their classes, old and new.
//!
//! In: a record. Out: its bytes on the output. The formatters of Kafka's own topics write JSON, a record a line; those of
//! the offsets topic leave out what is no offset.

use std::io::Write;

use crate::tools::consumer::fetcher::Fetched;
use crate::tools::coordinator_records::{self, Decoded};
use crate::tools::settings::Settings;
use crate::tools::{Ended, failed};

/// What bytes are taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Bytes,
    Short,
    Integer,
    Long,
    Float,
    Double,
}

#[derive(Debug)]
pub enum Format {
    Default(Plain),
    /// As `Default`, and a line for each on the error stream.
    Logging(Plain),
    Nothing,
    Offsets,
    Groups,
    Transactions,
}

/// Which parts of a record are written, and what stands between them.
#[derive(Debug)]
pub struct Plain {
    timestamp: bool,
    partition: bool,
    offset: bool,
    headers: bool,
    key: bool,
    value: bool,
    key_separator: String,
    line_separator: String,
    headers_separator: String,
    null: String,
    key_kind: Kind,
    value_kind: Kind,
    headers_kind: Kind,
}

impl Format {
    pub fn new(class: Option<&str>, settings: &Settings, err: &mut dyn Write) -> Result<Format, Ended> {
        let class = class.unwrap_or("DefaultMessageFormatter");
        let name = class.rsplit(['.', '$']).next().unwrap_or_default();
        if class.starts_with("kafka.") {
            let _ = writeln!(
                err,
                "WARNING: {class} is deprecated and will be removed in the next major release. Please use \
                 org.apache.kafka.tools.consumer.{name} instead"
            );
        }
        Ok(match name {
            "DefaultMessageFormatter" => Format::Default(Plain::new(settings, err)),
            "LoggingMessageFormatter" => Format::Logging(Plain::new(settings, err)),
            "NoOpMessageFormatter" => Format::Nothing,
            "OffsetsMessageFormatter" => Format::Offsets,
            "GroupMetadataMessageFormatter" => Format::Groups,
            "TransactionLogMessageFormatter" => Format::Transactions,
            _ => {
                return failed(format!(
                    "{class}: no such formatter; there are Default-, Logging-, NoOp-, Offsets-, GroupMetadata- and \
                     TransactionLogMessageFormatter"
                ));
            }
        })
    }

    /// Appends a record to `out`.
    pub fn write(&self, fetched: &Fetched<'_>, out: &mut Vec<u8>) -> Result<(), String> {
        match self {
            Format::Default(plain) => plain.write(fetched, out),
            Format::Logging(plain) => {
                plain.write(fetched, out)?;
                let text = |bytes: Option<&[u8]>| {
                    bytes.map_or("null".to_owned(), |bytes| String::from_utf8_lossy(bytes).into_owned())
                };
                let record = fetched.record;
                let kind = if fetched.batch.is_log_append_time() { "LogAppendTime" } else { "CreateTime" };
                eprintln!(
                    "INFO {kind}:{}, key:{}, value:{}",
                    record.timestamp(fetched.batch),
                    text(record.key),
                    text(record.value)
                );
                Ok(())
            }
            Format::Nothing => Ok(()),
            Format::Offsets => json(fetched, out, &[0, 1], coordinator_records::group_record),
            Format::Groups => json(fetched, out, &[2], coordinator_records::group_record),
            Format::Transactions => {
                json(fetched, out, &[0], |key, value, _| coordinator_records::transaction_record(key, value))
            }
        }
    }
}

/// Writes a record of Kafka's own topics, if its key has one of these versions.
fn json(
    fetched: &Fetched<'_>,
    out: &mut Vec<u8>,
    versions: &[i16],
    decode: impl Fn(&[u8], Option<&[u8]>, i64) -> Result<Decoded, coordinator_records::Malformed>,
) -> Result<(), String> {
    let record = fetched.record;
    let Some(key) = record.key else { return Ok(()) };
    let version = key.first_chunk().map(|bytes| i16::from_be_bytes(*bytes));
    if version.is_none_or(|version| !versions.contains(&version)) {
        return Ok(());
    }
    let offset = record.offset(fetched.batch);
    let (key, value) =
        decode(key, record.value, offset).map_err(|error| format!("offset {offset}: {error}"))?;
    let with_number = |text: &str| -> Result<serde_json::Value, String> {
        let mut parsed: serde_json::Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let map = parsed.as_object_mut().ok_or("no object")?;
        let version = map.shift_remove("type").or_else(|| map.shift_remove("version"));
        let number = version.as_ref().and_then(|v| v.as_str()).and_then(|text| text.parse::<i64>().ok());
        map.shift_insert(0, "version".to_owned(), number.into());
        Ok(parsed)
    };
    let value = match (record.value, value) {
        (Some(_), Some(text)) => with_number(&text)?,
        (None, _) | (_, None) => serde_json::Value::Null,
    };
    let mut whole = serde_json::Map::new();
    whole.insert("key".to_owned(), with_number(&key)?);
    whole.insert("value".to_owned(), value);
    writeln!(out, "{}", serde_json::Value::from(whole)).map_err(|error| error.to_string())
}

impl Plain {
    fn new(settings: &Settings, err: &mut dyn Write) -> Plain {
        let flag = |key: &str, default: bool| {
            settings.text(key).map_or(default, |text| text.trim().eq_ignore_ascii_case("true"))
        };
        let text = |key: &str, default: &str| settings.text(key).unwrap_or(default).to_owned();
        let mut kind = |key: &str| {
            let class = settings.text(key).unwrap_or("ByteArrayDeserializer");
            match class.rsplit('.').next().unwrap_or_default() {
                "ByteArrayDeserializer" | "StringDeserializer" | "BytesDeserializer" => Kind::Bytes,
                "ShortDeserializer" => Kind::Short,
                "IntegerDeserializer" => Kind::Integer,
                "LongDeserializer" => Kind::Long,
                "FloatDeserializer" => Kind::Float,
                "DoubleDeserializer" => Kind::Double,
                _ => {
                    let _ = writeln!(err, "ERROR Unable to instantiate a deserializer from {class}");
                    Kind::Bytes
                }
            }
        };
        Plain {
            timestamp: flag("print.timestamp", false),
            partition: flag("print.partition", false),
            offset: flag("print.offset", false),
            headers: flag("print.headers", false),
            key: flag("print.key", false),
            value: flag("print.value", true),
            key_separator: text("key.separator", "\t"),
            line_separator: text("line.separator", "\n"),
            headers_separator: text("headers.separator", ","),
            null: text("null.literal", "null"),
            key_kind: kind("key.deserializer"),
            value_kind: kind("value.deserializer"),
            headers_kind: kind("headers.deserializer"),
        }
    }

    fn write(&self, fetched: &Fetched<'_>, out: &mut Vec<u8>) -> Result<(), String> {
        let record = fetched.record;
        let separator = |out: &mut Vec<u8>, more: bool| {
            let text = if more { &self.key_separator } else { &self.line_separator };
            out.extend_from_slice(text.as_bytes());
        };
        let rest = self.key || self.value;
        if self.timestamp {
            let timestamp = record.timestamp(fetched.batch);
            let kind = if fetched.batch.is_log_append_time() { "LogAppendTime" } else { "CreateTime" };
            out.extend_from_slice(format!("{kind}:{timestamp}").as_bytes());
            separator(out, self.offset || self.partition || self.headers || rest);
        }
        if self.partition {
            out.extend_from_slice(format!("Partition:{}", fetched.partition).as_bytes());
            separator(out, self.offset || self.headers || rest);
        }
        if self.offset {
            out.extend_from_slice(format!("Offset:{}", record.offset(fetched.batch)).as_bytes());
            separator(out, self.headers || rest);
        }
        if self.headers {
            if record.headers.is_empty() {
                out.extend_from_slice(b"NO_HEADERS");
            }
            for (at, (name, value)) in record.headers.iter().enumerate() {
                if at > 0 {
                    out.extend_from_slice(self.headers_separator.as_bytes());
                }
                out.extend_from_slice(name);
                out.push(b':');
                self.put(out, self.headers_kind, value)?;
            }
            separator(out, rest);
        }
        if self.key {
            self.put(out, self.key_kind, record.key)?;
            separator(out, self.value);
        }
        if self.value {
            self.put(out, self.value_kind, record.value)?;
            separator(out, false);
        }
        Ok(())
    }

    fn put(&self, out: &mut Vec<u8>, kind: Kind, bytes: Option<&[u8]>) -> Result<(), String> {
        let Some(bytes) = bytes else {
            out.extend_from_slice(self.null.as_bytes());
            return Ok(());
        };
        let wrong = |kind: &str, size: usize| {
            format!(
                "org.apache.kafka.common.errors.SerializationException: Size of data received by {kind}Deserializer is \
                 not {size}"
            )
        };
        macro_rules! number {
            ($type:ty, $name:literal) => {{
                let bytes = bytes.try_into().map_err(|_| wrong($name, size_of::<$type>()))?;
                <$type>::from_be_bytes(bytes)
            }};
        }
        let text = match kind {
            Kind::Bytes => {
                out.extend_from_slice(bytes);
                return Ok(());
            }
            Kind::Short => number!(i16, "Short").to_string(),
            Kind::Integer => number!(i32, "Integer").to_string(),
            Kind::Long => number!(i64, "Long").to_string(),
            Kind::Float => format!("{:?}", number!(f32, "Float")),
            Kind::Double => format!("{:?}", number!(f64, "Double")),
        };
        out.extend_from_slice(text.as_bytes());
        Ok(())
    }
}
