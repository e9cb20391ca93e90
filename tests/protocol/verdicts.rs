//! Java's broker and we take the same batches of producers, store the same bytes, and refuse the rest alike.

use std::collections::BTreeMap;

use ringdaw::wire::batch;
use ringdaw::wire::compression::Decompressor;
use ringdaw::wire::error_code::ErrorCode;
use ringdaw::wire::record::{RecordFacts, RecordRules, validate};

use crate::corpus::verdicts;

/// Our verdict, with a look at the records.
fn ours(sent: &[u8]) -> Result<RecordFacts, (ErrorCode, String)> {
    let header = batch::validate_client(sent).map_err(|error| (error.code(), error.to_string()))?;
    let rules = RecordRules {
        key_required: false,
        timestamp_min: i64::MIN,
        timestamp_max: i64::MAX,
        output_max: 1 << 20,
    };
    validate(sent, &header, &rules, &mut Decompressor::new())
        .map_err(|error| (error.code(), format!("{error:?}")))
}

#[test]
fn what_java_takes_we_take_and_store_byte_by_byte() {
    let mut taken = 0;
    for verdict in verdicts() {
        let Some(java) = &verdict.stored else { continue };
        let Ok(facts) = ours(&verdict.sent) else { continue };
        let mut stored = verdict.sent.clone();
        batch::stamp(&mut stored, 1000, 17);
        batch::stamp_create_time(&mut stored, facts.max_timestamp);
        assert!(stored == *java, "{}", verdict.name);
        taken += 1;
    }
    assert!(taken > 1_000, "only {taken} batches were taken");
}

/// Where the verdicts differ, each with its reason; nothing else may.
#[test]
fn the_verdicts_differ_only_where_this_list_says_so() {
    let mut differences: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for verdict in verdicts() {
        let difference = match ours(&verdict.sent) {
            Ok(_) if verdict.code == 0 => continue,
            // Java stumbles over its own error text when the offset deltas of compressed records do not count up, and
            // answers -1; of plain records it stores them as sent, and so do we of both.
            Ok(_) if verdict.reason.contains("key is skipped in PartialDefaultRecord") => "offset deltas",
            Ok(_) => panic!("{}: we take it, Java says {} {}", verdict.name, verdict.code, verdict.reason),
            // Of compressed records Java does not check the length when it is negative; no consumer could read them.
            Err((_, text)) if verdict.code == 0 && text.starts_with("Unreadable(Length") => "record length",
            // Java ignores flags that gzip does not define.
            Err((_, text)) if verdict.code == 0 && text.contains("Gzip") => "gzip flags",
            Err((_, text)) if verdict.code == 0 => panic!("{}: Java takes it, we say {text}", verdict.name),
            // What Java has no code for is an invalid or a corrupt batch to us: -1 makes clients try again.
            Err((code, _)) if verdict.code == -1 => {
                assert!(
                    matches!(code, ErrorCode::InvalidRecord | ErrorCode::CorruptMessage),
                    "{}",
                    verdict.name
                );
                continue;
            }
            Err((code, text)) => {
                assert_eq!(
                    code as i16, verdict.code,
                    "{}: Java: {}, we: {text}",
                    verdict.name, verdict.reason
                );
                continue;
            }
        };
        differences.entry(difference).or_default().push(verdict.name.clone());
    }
    let counts: Vec<(&str, usize)> = differences.iter().map(|(what, names)| (*what, names.len())).collect();
    assert_eq!(counts, [("gzip flags", 1), ("offset deltas", 9), ("record length", 9)], "{differences:#?}");
}
