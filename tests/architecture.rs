//! The shape of the source tree, as a table that fails when code disagrees with it.
//!
//! In: the files of this repository. Out: one line per breach, with file and line.
//! A new word in `MAY_USE` is a design decision: it comes in its own commit, with the reason.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Words know nothing and are known to all.
const WORDS: &[&str] = &["checksum", "clock", "ids", "random"];

/// Who may use whom through `crate::`. The order is the order of reading: a line names only lines above it.
const MAY_USE: &[(&str, &[&str])] = &[
    // edges: bytes, settings, the machine
    ("wire", &[]),
    ("metrics", &[]),
    ("config", &[]),
    ("reactor", &["config", "metrics"]),
    // rules: values and the time in, actions out
    ("producer", &["wire"]),
    ("quota", &[]),
    ("log", &["config", "metrics", "producer", "reactor", "wire"]),
    ("replication", &["log", "wire"]),
    ("transaction", &["producer", "wire"]),
    ("group", &["wire"]),
    ("metadata", &["config", "quota", "reactor", "replication", "wire"]),
    ("controller", &["config", "metadata", "wire"]),
    // threads: they own sockets, files and the metadata store, and drive the rules
    (
        "api",
        &[
            "config",
            "group",
            "log",
            "metadata",
            "metrics",
            "producer",
            "reactor",
            "replication",
            "transaction",
            "wire",
        ],
    ),
    (
        "io_thread",
        &[
            "api",
            "config",
            "group",
            "log",
            "metadata",
            "metrics",
            "producer",
            "reactor",
            "replication",
            "transaction",
            "wire",
        ],
    ),
    (
        "control_thread",
        &[
            "api",
            "config",
            "controller",
            "io_thread",
            "log",
            "metadata",
            "metrics",
            "reactor",
            "replication",
            "wire",
        ],
    ),
    (
        "network_thread",
        &[
            "api",
            "config",
            "control_thread",
            "io_thread",
            "log",
            "metadata",
            "metrics",
            "quota",
            "reactor",
            "wire",
        ],
    ),
    (
        "broker",
        &[
            "api",
            "config",
            "control_thread",
            "controller",
            "io_thread",
            "log",
            "metadata",
            "metrics",
            "network_thread",
            "producer",
            "reactor",
            "replication",
            "wire",
        ],
    ),
    (
        "sim",
        &[
            "api",
            "broker",
            "config",
            "control_thread",
            "controller",
            "group",
            "io_thread",
            "log",
            "metadata",
            "metrics",
            "network_thread",
            "producer",
            "reactor",
            "replication",
            "transaction",
            "wire",
        ],
    ),
    // command-line tools are clients of the protocol, and readers of files
    ("tools", &["config", "log", "metadata", "metrics", "producer", "reactor", "wire"]),
    // the rig: never the broker, because a rig must not know its subject
    ("report", &["metrics"]),
    ("load", &["metrics", "reactor", "wire"]),
    ("rig", &["load", "metrics", "reactor", "report", "wire"]),
];

/// What `main.rs` may reach: it parses arguments and hands over.
const MAIN_MAY_USE: &[&str] =
    &["broker", "config", "load", "metrics", "reactor", "report", "rig", "tools", "wire"];

/// Names that say a thing has no job yet.
const EMPTY_NAMES: &[&str] = &["util", "utils", "helper", "helpers", "common", "manager", "managers"];

#[test]
fn each_folder_uses_only_what_the_table_allows() {
    let table: BTreeMap<&str, &[&str]> = MAY_USE.iter().copied().collect();
    let mut breaches = Vec::new();
    for path in rust_files(&source_root()) {
        if path.file_stem().is_some_and(|stem| stem == "tests") {
            continue; // a test module in a file of its own: it may play both sides
        }
        let folder = folder_of(&path);
        let text = read(&path);
        let code = without_test_modules(&blank_comments_and_strings(&text));
        let allowed: Vec<&str> = match folder.as_str() {
            "lib" => continue, // the map itself: it declares the modules
            "main" => MAIN_MAY_USE.to_vec(),
            word if WORDS.contains(&word) => Vec::new(),
            other => match table.get(other) {
                Some(row) => row.to_vec(),
                None => {
                    breaches.push(format!("{}: the folder `{other}` is not in MAY_USE", shown(&path)));
                    continue;
                }
            },
        };
        let root = if folder == "main" { "ringdaw" } else { "crate" };
        for (line, word) in words_used(&code, root) {
            if word == folder || WORDS.contains(&word.as_str()) || allowed.contains(&word.as_str()) {
                continue;
            }
            if !table.contains_key(word.as_str()) {
                continue; // a macro or an item of the crate root, not a folder
            }
            breaches.push(format!("{}:{line}: `{folder}` may not use `{word}`", shown(&path)));
        }
    }
    assert!(breaches.is_empty(), "\n{}", breaches.join("\n"));
}

#[test]
fn the_table_names_only_rows_above_so_it_has_no_circle() {
    let mut above: BTreeSet<&str> = BTreeSet::new();
    for (folder, uses) in MAY_USE {
        for used in *uses {
            assert!(above.contains(used), "row `{folder}` names `{used}`, which is not above it");
        }
        let mut sorted = uses.to_vec();
        sorted.sort_unstable();
        assert_eq!(&sorted[..], *uses, "row `{folder}` is not sorted");
        assert!(above.insert(folder), "row `{folder}` stands twice");
    }
}

#[test]
fn every_source_file_opens_by_saying_what_it_is() {
    let silent: Vec<String> = rust_files(&source_root())
        .into_iter()
        .filter(|path| !opens_with_a_description(&read(path)))
        .map(|path| shown(&path))
        .collect();
    assert!(silent.is_empty(), "these do not open with `//!`:\n{}", silent.join("\n"));
}

#[test]
fn unsafe_stays_in_the_reactor() {
    let mut breaches = Vec::new();
    for path in rust_files(&source_root()) {
        if folder_of(&path) == "reactor" {
            continue;
        }
        let code = blank_comments_and_strings(&read(&path));
        for line in lines_with_word(&code, "unsafe") {
            breaches.push(format!("{}:{line}", shown(&path)));
        }
    }
    assert!(breaches.is_empty(), "`unsafe` outside src/reactor:\n{}", breaches.join("\n"));
}

#[test]
fn no_path_has_an_empty_name_or_the_name_of_the_product() {
    let root = repository_root();
    let mut breaches = Vec::new();
    for path in all_paths(&root) {
        let name = path.file_name().expect("a walked path has a name").to_string_lossy().to_lowercase();
        let inside = path.strip_prefix(&root).expect("walked from the root").display().to_string();
        if name.contains("ringdaw") {
            breaches.push(format!("{inside}: the product's name belongs in no path"));
        }
        if let Some(word) = empty_name_in(&name) {
            breaches.push(format!("{inside}: `{word}` says nothing about what is in it"));
        }
    }
    assert!(breaches.is_empty(), "\n{}", breaches.join("\n"));
}

// ---- the scanner sees what it must see --------------------------------------------------------

#[test]
fn the_scanner_finds_planted_uses_in_every_form() {
    let text = r#"//! A file.
use crate::broker::Broker;
use crate::{
    log::{Log, segment::Segment},
    rig,
};
pub(crate) fn f() { crate::load::go(); } // crate::tools::never
const S: &str = "crate::report::never";
"#;
    let found: Vec<(usize, String)> =
        words_used(&blank_comments_and_strings(text), "crate").into_iter().collect();
    let names: Vec<&str> = found.iter().map(|(_, word)| word.as_str()).collect();
    assert_eq!(names, ["broker", "log", "rig", "load"]);
    assert_eq!(found[0].0, 2);
    assert_eq!(found[3].0, 7);
}

#[test]
fn the_scanner_is_not_fooled_by_comments_strings_and_lifetimes() {
    let text = "fn f<'a>(x: &'a str) -> char { /* unsafe /* nested */ unsafe */ let _ = r#\"unsafe \" \"#; '\\'' }\nunsafe fn g() {}\n";
    let code = blank_comments_and_strings(text);
    assert_eq!(lines_with_word(&code, "unsafe"), [2]);
    assert_eq!(lines_with_word("#![forbid(unsafe_code)]", "unsafe"), [0usize; 0]);
}

#[test]
fn the_scanner_leaves_out_test_modules_and_nothing_else() {
    let text =
        "use crate::a;\n#[cfg(test)]\nmod tests {\n    use crate::b;\n    fn f() { {} }\n}\nuse crate::c;\n";
    let names: Vec<String> =
        words_used(&without_test_modules(text), "crate").into_iter().map(|(_, word)| word).collect();
    assert_eq!(names, ["a", "c"]);
}

#[test]
fn the_scanner_knows_empty_names_and_silent_files() {
    assert_eq!(empty_name_in("string_utils.rs"), Some("utils"));
    assert_eq!(empty_name_in("common"), Some("common"));
    assert_eq!(empty_name_in("commonality.rs"), None);
    assert!(opens_with_a_description("//! It is.\n"));
    assert!(!opens_with_a_description("// It is.\n"));
    assert!(!opens_with_a_description("//!\n"));
}

// ---- how it looks -----------------------------------------------------------------------------

fn repository_root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn source_root() -> PathBuf {
    repository_root().join("src")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn shown(path: &Path) -> String {
    path.strip_prefix(repository_root()).unwrap_or(path).display().to_string()
}

/// Everything that is part of the project: not what builds, downloads and runs leave behind.
fn all_paths(from: &Path) -> Vec<PathBuf> {
    const LEFT_BEHIND: &[&str] = &["target", "node_modules", "bench-data", "results", "__pycache__"];
    let mut found = Vec::new();
    let mut waiting = vec![from.to_path_buf()];
    while let Some(folder) = waiting.pop() {
        let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        for entry in entries {
            let entry = entry.expect("a directory entry");
            let name = entry.file_name().to_string_lossy().into_owned();
            if LEFT_BEHIND.contains(&name.as_str()) || name == ".git" {
                continue;
            }
            if entry.file_type().expect("a file type").is_dir() {
                waiting.push(entry.path());
            }
            found.push(entry.path());
        }
    }
    found.sort();
    found
}

fn rust_files(from: &Path) -> Vec<PathBuf> {
    let files: Vec<PathBuf> =
        all_paths(from).into_iter().filter(|path| path.extension().is_some_and(|end| end == "rs")).collect();
    assert!(!files.is_empty(), "no source under {}", from.display());
    files
}

/// The first name under `src`: the folder, or the file's own name when it stands there alone.
fn folder_of(path: &Path) -> String {
    let inside = path.strip_prefix(source_root()).expect("a file under src");
    let first = inside.iter().next().expect("a name").to_string_lossy();
    first.strip_suffix(".rs").unwrap_or(&first).to_string()
}

fn opens_with_a_description(text: &str) -> bool {
    let first = text.lines().next().unwrap_or("");
    first.strip_prefix("//!").is_some_and(|rest| !rest.trim().is_empty())
}

fn empty_name_in(name: &str) -> Option<&'static str> {
    let stem = name.split('.').next().unwrap_or(name);
    EMPTY_NAMES.iter().copied().find(|empty| stem.split(['_', '-']).any(|part| part == *empty))
}

fn lines_with_word(code: &str, word: &str) -> Vec<usize> {
    let mut lines = Vec::new();
    for (number, line) in code.lines().enumerate() {
        let words = line.split(|c: char| !(c.is_alphanumeric() || c == '_'));
        if words.into_iter().any(|each| each == word) {
            lines.push(number + 1);
        }
    }
    lines
}

/// Line and first path segment of each `ROOT::name` and of each branch of `ROOT::{...}`.
fn words_used(code: &str, root: &str) -> Vec<(usize, String)> {
    let start = format!("{root}::");
    let mut found = Vec::new();
    for (at, _) in code.match_indices(&start) {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
            continue;
        }
        let line = code[..at].matches('\n').count() + 1;
        let rest = &code[at + start.len()..];
        match rest.strip_prefix('{') {
            Some(group) => {
                for branch in first_level(group) {
                    found.push((line, branch));
                }
            }
            None => found.push((line, leading_word(rest))),
        }
    }
    found.retain(|(_, word)| !word.is_empty());
    found
}

fn leading_word(text: &str) -> String {
    text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// The leading words of a brace group's own branches; `group` starts behind the opening brace.
fn first_level(group: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut depth = 0;
    let mut branch_start = 0;
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                words.push(leading_word(&group[branch_start..at]));
                branch_start = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    words
}

/// Tests may reach for a double or an oracle the code itself must not know.
fn without_test_modules(code: &str) -> String {
    let mut kept = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(at) = rest.find("#[cfg(test)]") {
        let behind = &rest[at..];
        let open = behind.find('{');
        let semicolon = behind.find(';');
        kept.push_str(&rest[..at]);
        let end = match (open, semicolon) {
            (Some(open), semicolon) if semicolon.is_none_or(|semicolon| open < semicolon) => {
                matching_brace(behind, open)
            }
            (_, Some(semicolon)) => semicolon + 1,
            _ => behind.len(),
        };
        kept.extend(behind[..end].chars().filter(|c| *c == '\n'));
        rest = &behind[end..];
    }
    kept.push_str(rest);
    kept
}

/// Just past the brace that closes the one at `open`.
fn matching_brace(code: &str, open: usize) -> usize {
    let mut depth = 0;
    for (at, c) in code[open..].char_indices() {
        match c {
            '{' => depth += 1,
            '}' => {
                depth -= 1;
                if depth == 0 {
                    return open + at + 1;
                }
            }
            _ => {}
        }
    }
    code.len()
}

/// The same text, with comments, strings and characters blanked; line breaks stay.
fn blank_comments_and_strings(text: &str) -> String {
    let source: Vec<char> = text.chars().collect();
    let mut out: Vec<char> = Vec::with_capacity(source.len());
    let mut at = 0;
    while at < source.len() {
        let end = match source[at] {
            '/' if source.get(at + 1) == Some(&'/') => end_of_line(&source, at),
            '/' if source.get(at + 1) == Some(&'*') => end_of_block_comment(&source, at),
            '"' => end_of_string(&source, at),
            'r' | 'b' if starts_word(&source, at) => end_of_prefixed_string(&source, at).unwrap_or(at),
            '\'' => end_of_character(&source, at),
            _ => at,
        };
        if end == at {
            out.push(source[at]);
            at += 1;
            continue;
        }
        out.extend(source[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
        at = end;
    }
    out.into_iter().collect()
}

fn starts_word(source: &[char], at: usize) -> bool {
    at == 0 || !(source[at - 1].is_alphanumeric() || source[at - 1] == '_')
}

fn end_of_line(source: &[char], at: usize) -> usize {
    source[at..].iter().position(|c| *c == '\n').map_or(source.len(), |length| at + length)
}

fn end_of_block_comment(source: &[char], mut at: usize) -> usize {
    let mut depth = 0;
    while at < source.len() {
        match (source[at], source.get(at + 1)) {
            ('/', Some('*')) => {
                depth += 1;
                at += 2;
            }
            ('*', Some('/')) => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    at
}

fn end_of_string(source: &[char], open: usize) -> usize {
    let mut at = open + 1;
    while at < source.len() {
        match source[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    source.len()
}

/// `b"..."`, `r"..."`, `br##"..."##`; a `b'x'` is left to the character rule.
fn end_of_prefixed_string(source: &[char], start: usize) -> Option<usize> {
    let mut at = start;
    if source[at] == 'b' {
        at += 1;
    }
    let raw = source.get(at) == Some(&'r');
    if raw {
        at += 1;
    }
    let hashes_from = at;
    while raw && source.get(at) == Some(&'#') {
        at += 1;
    }
    if source.get(at) != Some(&'"') {
        return None;
    }
    if !raw {
        return Some(end_of_string(source, at));
    }
    let hashes = at - hashes_from;
    at += 1;
    while at < source.len() {
        let closes = source[at] == '"'
            && source[at + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes;
        if closes {
            return Some(at + 1 + hashes);
        }
        at += 1;
    }
    Some(source.len())
}

/// A character literal; a lifetime is left as it is.
fn end_of_character(source: &[char], open: usize) -> usize {
    if source.get(open + 1) == Some(&'\\') {
        let mut at = open + 3;
        while at < source.len() && source[at] != '\'' {
            at += 1;
        }
        return (at + 1).min(source.len());
    }
    if source.get(open + 2) == Some(&'\'') { open + 3 } else { open }
}
