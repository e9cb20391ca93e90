//! The syntax of properties files, as facts.

use std::collections::BTreeMap;

use proptest::prelude::*;
use ringdaw::config::properties::{Properties, line_of};

fn pairs(text: &str) -> Vec<(String, String)> {
    let properties = Properties::parse(text.as_bytes());
    assert_eq!(properties.errors, []);
    properties.entries.into_iter().map(|entry| (entry.key, entry.value)).collect()
}

fn one(text: &str) -> (String, String) {
    let all = pairs(text);
    assert_eq!(all.len(), 1, "{all:?}");
    all.into_iter().next().expect("one entry")
}

fn pair(key: &str, value: &str) -> (String, String) {
    (key.to_owned(), value.to_owned())
}

#[test]
fn equals_sign_colon_and_blank_separate() {
    for text in ["a=b", "a:b", "a b", "a\tb", "a = b", "a : b", "  a\x0c=\t b", "a=b\r\n", "a=b\r"] {
        assert_eq!(one(text), pair("a", "b"), "{text:?}");
    }
}

#[test]
fn only_the_first_separator_counts() {
    assert_eq!(one("a==b"), pair("a", "=b"));
    assert_eq!(one("a = :b"), pair("a", ":b"));
    assert_eq!(one("a b=c"), pair("a", "b=c"));
    assert_eq!(one("listeners=PLAINTEXT://:9092"), pair("listeners", "PLAINTEXT://:9092"));
}

#[test]
fn a_key_alone_has_an_empty_value() {
    for text in ["a", "a=", "a :", "a  "] {
        assert_eq!(one(text), pair("a", ""), "{text:?}");
    }
}

#[test]
fn comments_and_blank_lines_are_no_entries() {
    assert_eq!(pairs("# a=b\n ! c=d\n\n \t\n#这三项都配置\n###x\n"), []);
    assert_eq!(one("a=b # no comment"), pair("a", "b # no comment"));
    assert_eq!(one("a=#b"), pair("a", "#b"));
}

#[test]
fn a_backslash_at_the_end_joins_the_next_line_without_its_indent() {
    assert_eq!(one("dirs=/a,\\\n    /b,\\\r\n\t/c"), pair("dirs", "/a,/b,/c"));
    assert_eq!(one("a=b\\\n# no comment"), pair("a", "b# no comment"));
    assert_eq!(pairs("a=b\\\\\nc=d"), [pair("a", "b\\"), pair("c", "d")]);
    assert_eq!(one("a=b\\"), pair("a", "b"));
    assert_eq!(one("a=b\\\n"), pair("a", "b"));
}

#[test]
fn a_comment_does_not_continue() {
    assert_eq!(one("# a\\\nb=c"), pair("b", "c"));
}

#[test]
fn escapes_are_undone_in_keys_and_values() {
    assert_eq!(one(r"a\=b\:c\ d=e"), pair("a=b:c d", "e"));
    assert_eq!(one(r"a=\t\n\r\f\\\q\#"), pair("a", "\t\n\r\x0c\\q#"));
    assert_eq!(one(r"a=\u0041\u4e2D\uD83D\uDE00"), pair("a", "A中😀"));
}

#[test]
fn a_bad_escape_names_its_line_and_spares_the_others() {
    let properties = Properties::parse(b"a=1\nb=\\u12G4\nc=\\u12\nd=\\uD800\ne=5\n");
    let lines: Vec<usize> = properties.errors.iter().map(|error| error.line).collect();
    assert_eq!(lines, [2, 3, 4]);
    assert!(properties.errors[0].what.contains("four hexadecimal digits"), "{:?}", properties.errors[0]);
    assert_eq!(properties.entries.len(), 2);
}

#[test]
fn an_entry_knows_the_line_it_starts_on() {
    let properties = Properties::parse(b"# one\na=\\\n  b\n\nc=d\n");
    let lines: Vec<usize> = properties.entries.iter().map(|entry| entry.line).collect();
    assert_eq!(lines, [2, 5]);
}

#[test]
fn repeated_keys_are_all_kept_and_the_last_is_the_value() {
    let properties = Properties::parse(b"a=1\na=2\n");
    assert_eq!(properties.entries.len(), 2);
    assert_eq!(properties.get("a"), Some("2"));
    assert_eq!(properties.get("b"), None);
}

#[test]
fn blanks_after_a_value_belong_to_it() {
    assert_eq!(one("a=b  \n"), pair("a", "b  "));
}

#[test]
fn bytes_that_are_not_utf8_are_latin1_and_a_byte_order_mark_is_no_key() {
    let latin = Properties::parse(b"name=caf\xE9");
    assert_eq!(latin.get("name"), Some("café"));
    assert_eq!(Properties::parse("\u{feff}a=中".as_bytes()).get("a"), Some("中"));
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(entries in prop::collection::vec((any::<String>(), any::<String>()), 0..8)) {
        let entries: Vec<_> = entries.into_iter().filter(|(key, _)| !key.is_empty()).collect();
        let text: String = entries.iter().map(|(key, value)| line_of(key, value) + "\n").collect();
        prop_assert!(text.is_ascii());
        let properties = Properties::parse(text.as_bytes());
        prop_assert_eq!(&properties.errors, &[]);
        let read: Vec<_> = properties.entries.into_iter().map(|entry| (entry.key, entry.value)).collect();
        prop_assert_eq!(read, entries);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let lines = bytes.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count() + 1;
        let properties = Properties::parse(&bytes);
        prop_assert!(properties.entries.iter().all(|entry| (1..=lines).contains(&entry.line)));
    }
}

fn text_of(hex: &str) -> String {
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal");
    String::from_utf8((0..hex.len()).step_by(2).map(byte).collect()).expect("UTF-8")
}

/// `config/properties-java.tsv` was printed by `config/PropertiesCases.java`.
#[test]
fn java_reads_the_same_keys_and_values() {
    let mut compared = 0;
    for line in include_str!("config/properties-java.tsv").lines() {
        let mut fields = line.split('\t');
        let text = text_of(fields.next().expect("a text"));
        let rest: Vec<&str> = fields.collect();
        let properties = Properties::parse(text.as_bytes());
        if rest == ["error"] {
            assert_ne!(properties.errors, [], "{text:?}");
            continue;
        }
        assert_eq!(properties.errors, [], "{text:?}");
        let mut expected: BTreeMap<String, String> =
            rest.chunks(2).map(|pair| (text_of(pair[0]), text_of(pair[1]))).collect();
        if text.ends_with(['\\', '\n', '\r']) && expected.get("").is_some_and(String::is_empty) {
            expected.remove(""); // Java makes an entry of a lone backslash at the very end, by a slip
        }
        let read: BTreeMap<String, String> =
            properties.entries.into_iter().map(|entry| (entry.key, entry.value)).collect();
        assert_eq!(read, expected, "{text:?}");
        compared += 1;
    }
    assert!(compared > 300, "{compared}");
}
