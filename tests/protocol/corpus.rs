//! The golden files as the tests want them.

use std::io::Read;
use std::path::Path;
use std::sync::OnceLock;

use base64::Engine;
use ringdaw::wire::version::ApiKey;
use serde_json::Value;

use crate::targets::Kind;

/// A request or response as Java wrote it: header and body, without the size field.
pub struct GoldenMessage {
    pub key: ApiKey,
    pub kind: Kind,
    pub version: i16,
    pub case: String,
    pub correlation_id: i32,
    pub bytes: Vec<u8>,
    /// What Java shows of the body.
    pub values: Value,
}

/// Batches as Java wrote them, and what Java reads in them.
pub struct GoldenBatches {
    pub name: String,
    pub bytes: Vec<u8>,
    pub batches: Value,
}

/// Every line of `messages.jsonl.gz`.
pub fn messages() -> &'static [GoldenMessage] {
    static ALL: OnceLock<Vec<GoldenMessage>> = OnceLock::new();
    ALL.get_or_init(|| {
        let lines = lines("messages.jsonl.gz");
        lines
            .into_iter()
            .map(|mut line| GoldenMessage {
                key: ApiKey::from_key(number(&line["key"]) as i16).expect("an API of Kafka"),
                kind: if line["kind"] == "request" { Kind::Request } else { Kind::Response },
                version: number(&line["version"]) as i16,
                case: line["case"].as_str().expect("case is a string").to_owned(),
                correlation_id: number(&line["correlation_id"]) as i32,
                bytes: bytes(&line["bytes"]).expect("bytes are not null"),
                values: line["values"].take(),
            })
            .collect()
    })
}

/// Every line of `batches.jsonl.gz`: what a client writes.
pub fn batches() -> &'static [GoldenBatches] {
    static ALL: OnceLock<Vec<GoldenBatches>> = OnceLock::new();
    ALL.get_or_init(|| golden_batches("batches.jsonl.gz"))
}

/// Every line of `segments.jsonl.gz`: whole segments that real brokers left on disk, compacted ones among them.
pub fn segments() -> &'static [GoldenBatches] {
    static ALL: OnceLock<Vec<GoldenBatches>> = OnceLock::new();
    ALL.get_or_init(|| golden_batches("segments.jsonl.gz"))
}

/// A producer's batch as sent, and what Java's broker says to it.
pub struct Verdict {
    pub name: String,
    pub sent: Vec<u8>,
    /// 0: taken.
    pub code: i16,
    pub reason: String,
    /// What Java stores at offset 1000, leader epoch 17, with producer timestamps.
    pub stored: Option<Vec<u8>>,
}

/// Every line of `verdicts.jsonl.gz`.
pub fn verdicts() -> &'static [Verdict] {
    static ALL: OnceLock<Vec<Verdict>> = OnceLock::new();
    ALL.get_or_init(|| {
        lines("verdicts.jsonl.gz")
            .into_iter()
            .map(|line| Verdict {
                name: line["name"].as_str().expect("name is a string").to_owned(),
                sent: bytes(&line["sent"]).expect("a batch was sent"),
                code: number(&line["code"]) as i16,
                reason: line["reason"].as_str().unwrap_or_default().to_owned(),
                stored: bytes(&line["stored"]),
            })
            .collect()
    })
}

fn golden_batches(name: &str) -> Vec<GoldenBatches> {
    lines(name)
        .into_iter()
        .map(|mut line| GoldenBatches {
            name: line["name"].as_str().expect("name is a string").to_owned(),
            bytes: bytes(&line["bytes"]).expect("bytes are not null"),
            batches: line["batches"].take(),
        })
        .collect()
}

pub fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or_else(|| panic!("{value} is not a number"))
}

/// Base64, or `None` for null.
pub fn bytes(value: &Value) -> Option<Vec<u8>> {
    let text = value.as_str()?;
    Some(base64::engine::general_purpose::STANDARD.decode(text).expect("golden bytes are base64"))
}

fn lines(name: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    let packed = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut text = String::new();
    flate2::read::GzDecoder::new(&packed[..]).read_to_string(&mut text).expect("golden files are gzip");
    text.lines().map(|line| serde_json::from_str(line).expect("golden lines are JSON")).collect()
}

/// Writes the golden bytes as seeds for libFuzzer, one folder a target, when `RINGDAW_FUZZ_CORPUS` names where.
#[test]
fn corpus_is_written_where_the_environment_asks_for_it() {
    let Ok(folder) = std::env::var("RINGDAW_FUZZ_CORPUS") else { return };
    let write = |target: &str, name: String, bytes: &[u8]| {
        let folder = Path::new(&folder).join(target);
        std::fs::create_dir_all(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let path = folder.join(name);
        std::fs::write(&path, bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    };
    let chosen: Vec<(ApiKey, i16)> = ringdaw::wire::version::advertised()
        .flat_map(|(key, versions)| versions.clone().map(move |version| (key, version)))
        .collect();
    for (at, golden) in messages().iter().enumerate() {
        write("headers", format!("{at}"), &golden.bytes);
        write(
            "frames",
            format!("{at}"),
            &[&[7], &(golden.bytes.len() as i32).to_be_bytes()[..], &golden.bytes].concat(),
        );
        if let Some(choice) = chosen.iter().position(|chosen| *chosen == (golden.key, golden.version)) {
            let kind = u8::from(golden.kind == Kind::Response);
            write(
                "messages",
                format!("{at}"),
                &[&[choice as u8, kind], crate::hostile::body(golden)].concat(),
            );
        }
    }
    for (at, golden) in batches().iter().chain(segments()).enumerate() {
        write("log_scan", format!("{at}"), &golden.bytes);
        write("batches", format!("{at}"), &golden.bytes);
        if golden.bytes[16] == 2 {
            write("codecs", format!("{at}"), &[&[golden.bytes[22] & 7], &golden.bytes[61..]].concat());
        }
    }
}
