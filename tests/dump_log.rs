//! `ringdaw dump-log` beside the tool of Kafka 3.9.1: the same files, the same lines.
//!
//! `golden/java` holds directories of real brokers and what 3.9.1's tool printed of one of them. Where Java can be had,
//! the old formats of a 1.0.0 directory and everything this project writes are compared too.

mod outside;

use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use outside::java::{golden, unpack};
use outside::{Folder, java, skip};
use ringdaw::tools::{dump_log, verify};

fn ours(arguments: &[String]) -> (u8, String, String) {
    let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = dump_log::run_with(&arguments, &mut out, &mut err);
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (code, text(out), text(err))
}

/// The arguments for all files of a replica, in the order of their names.
fn arguments(replica: &Path, more: &[&str]) -> Vec<String> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(replica).expect("a replica").map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|path| {
        let name = path.file_name().expect("a name").to_string_lossy();
        // What is empty says nothing, and was not shown.
        fs::metadata(path).expect("a file").len() > 0
            && [".index", ".log", ".timeindex", ".snapshot", ".txnindex"]
                .iter()
                .any(|end| name.ends_with(end))
    });
    files.sort();
    let files: Vec<String> = files.iter().map(|path| path.display().to_string()).collect();
    let name = replica.file_name().expect("a name").to_string_lossy().into_owned();
    let mut arguments = vec!["--files".to_owned(), files.join(",")];
    arguments.extend(more.iter().map(|text| (*text).to_owned()));
    if name.starts_with("__consumer_offsets") {
        arguments.push("--offsets-decoder".to_owned());
    } else if name.starts_with("__transaction_state") {
        arguments.push("--transaction-log-decoder".to_owned());
    } else {
        arguments.push("--print-data-log".to_owned());
    }
    arguments
}

/// Lines in an order of their own where Java's is that of a hash table.
fn comparable(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = text
        .lines()
        .filter(|line| !line.is_empty())
        .map(|line| match line.split_once("partitions=[") {
            Some((before, rest)) => {
                let (inside, after) = rest.split_once(']').expect("a closing bracket");
                let mut partitions: Vec<&str> = inside.split(',').collect();
                partitions.sort_unstable();
                format!("{before}partitions=[{}]{after}", partitions.join(","))
            }
            None => line.to_owned(),
        })
        .collect();
    // Which complaint of which file comes first is chance too.
    let complaints = lines.iter().position(|line| line.starts_with("Non-consecutive")).unwrap_or(lines.len());
    lines[complaints..].sort();
    lines
}

fn same(ours: &str, java: &str, what: &str) {
    let (ours, java) = (comparable(ours), comparable(java));
    for (number, (ours, java)) in ours.iter().zip(&java).enumerate() {
        assert_eq!(ours, java, "{what}, line {number}");
    }
    assert_eq!(ours.len(), java.len(), "{what}: lines");
}

#[test]
fn a_directory_of_3_9_1_is_shown_as_its_own_tool_shows_it() {
    let folder = Folder::new("dump-golden");
    let data = unpack("disk-k391-clean.tar.gz", folder.path());
    let mut text = String::new();
    let packed = fs::File::open(golden("disk-k391-clean.dump.txt.gz")).expect("the golden dump");
    flate2::read::GzDecoder::new(packed).read_to_string(&mut text).expect("the golden dump");
    let mut compared = 0;
    for section in text.split("=== ").skip(1) {
        let (head, java) = section.split_once('\n').expect("a heading");
        let Some(name) = head.strip_suffix(" dump tool rc=0") else { continue };
        let replica = data.join(name);
        // A replica on its way out has indexes of their full size, which Java's tool was not asked about.
        if !replica.exists() || name.ends_with("-delete") {
            continue;
        }
        let (code, out, err) = ours(&arguments(&replica, &[]));
        assert_eq!(code, 0, "{name}: {err}");
        same(&(out + &err).replace(&data.display().to_string(), "DATA"), java, name);
        compared += 1;
    }
    assert!(compared >= 16, "{compared} replicas");
}

#[test]
fn what_an_index_says_and_the_log_does_not_is_told() {
    let folder = Folder::new("dump-damage");
    let data = unpack("disk-k391-clean.tar.gz", folder.path());
    let file = |name: &str| data.join("roll-0").join(name);
    let args = |name: &str, more: &[&str]| {
        let mut all = vec!["--files".to_owned(), file(name).display().to_string()];
        all.extend(more.iter().map(|text| (*text).to_owned()));
        all
    };
    let index = "00000000000000000000.index";
    let (code, out, err) = ours(&args(index, &["--verify-index-only"]));
    assert_eq!((code, out.lines().count(), err.as_str()), (0, 1, ""));
    let (_, out, _) = ours(&args(index, &["--index-sanity-check"]));
    assert!(out.ends_with("passed sanity check.\n"), "{out}");

    let mut bytes = fs::read(file(index)).expect("the index");
    bytes[3] += 1;
    fs::write(file(index), &bytes).expect("the index");
    let (code, _, err) = ours(&args(index, &["--verify-index-only"]));
    assert_eq!(code, 0);
    assert!(err.starts_with("Mismatches in :") && err.contains(", log offset: "), "{err}");

    let log = "00000000000000000036.log";
    let mut bytes = fs::read(file(log)).expect("the log");
    let whole = bytes.len();
    bytes.truncate(whole - 5);
    fs::write(file(log), &bytes).expect("the log");
    let (code, out, _) = ours(&args(log, &[]));
    assert_eq!(code, 0);
    assert!(out.contains(" invalid bytes at the end of 00000000000000000036.log"), "{out}");
    bytes[80] ^= 1;
    fs::write(file(log), &bytes).expect("the log");
    let (_, out, _) = ours(&args(log, &["--deep-iteration"]));
    assert_eq!(out.matches("isvalid: false").count(), 1);
    let (code, _, err) = ours(&args("missing.log", &[]));
    assert_eq!(code, 1);
    assert!(err.contains("missing.log"), "{err}");
    let (code, _, err) = ours(&["--files".to_owned()]);
    assert_eq!(code, 1);
    assert!(!err.is_empty());
}

#[test]
fn java_shows_the_old_formats_as_we_do() {
    if let Some(why) = java::missing() {
        return skip("java_shows_the_old_formats_as_we_do", &why);
    }
    let folder = Folder::new("dump-java");
    let data = unpack("disk-k100-clean.tar.gz", folder.path());
    let mut compared = 0;
    for entry in fs::read_dir(&data).expect("the directory") {
        let replica = entry.expect("an entry").path();
        let name = replica.file_name().expect("a name").to_string_lossy().into_owned();
        if !replica.is_dir() || !name.starts_with("legacy-") && name != "txn-0" && name != "compact-keep-0" {
            continue;
        }
        let arguments = arguments(&replica, &[]);
        let (_, out, err) = ours(&arguments);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let java = java::run("kafka.tools.DumpLogSegments", &arguments, "");
        let java: String =
            java.lines().filter(|line| !line.contains("log4j")).fold(String::new(), |t, l| t + l + "\n");
        same(&(out + &err), &java, &name);
        compared += 1;
    }
    assert!(compared >= 6, "{compared} replicas");
}

#[test]
fn verify_finds_nothing_wrong_in_what_java_left_and_every_damage_in_it() {
    let folder = Folder::new("verify");
    for (number, name) in ["k100", "k282", "k391"].iter().enumerate() {
        for ending in ["clean", "kill9"] {
            let into = folder.join(&format!("{number}-{ending}"));
            fs::create_dir_all(&into).expect("a folder");
            let data = unpack(&format!("disk-{name}-{ending}.tar.gz"), &into);
            let (mut out, mut err) = (Vec::new(), Vec::new());
            let code = verify::verify(&data, true, &mut out, &mut err);
            let out = String::from_utf8(out).expect("text");
            let wrong: Vec<&str> = out.lines().filter(|line| !line.ends_with("deals with it)")).collect();
            assert_eq!((code, err.len()), (0, 0), "{name} {ending}:\n{}", wrong.join("\n"));
        }
    }
    type Damage = fn(&mut Vec<u8>);
    let damages: [(&str, &str, Damage); 8] = [
        ("roll-0", "00000000000000000000.log", |bytes| bytes[100] ^= 1),
        ("roll-0", "00000000000000000018.log", |bytes| bytes.truncate(200)),
        ("roll-0", "00000000000000000000.index", |bytes| bytes[7] ^= 1),
        ("roll-0", "00000000000000000000.timeindex", |bytes| bytes[7] ^= 1),
        ("txn-0", "00000000000000000002.txnindex", |bytes| bytes.truncate(40)),
        ("roll-idem-0", "00000000000000000018.snapshot", |bytes| bytes[12] ^= 1),
        ("roll-0", "leader-epoch-checkpoint", |bytes| bytes[0] = b'x'),
        ("", "recovery-point-offset-checkpoint", |bytes| bytes.extend(b"junk")),
    ];
    for (number, (replica, file, damage)) in damages.into_iter().enumerate() {
        let into = folder.join(&format!("damage-{number}"));
        fs::create_dir_all(&into).expect("a folder");
        let data = unpack("disk-k391-clean.tar.gz", &into);
        let path = data.join(replica).join(file);
        let mut bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        damage(&mut bytes);
        fs::write(&path, &bytes).expect("the damaged file");
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = verify::verify(&data, true, &mut out, &mut err);
        let out = String::from_utf8(out).expect("text");
        assert_eq!(code, 1, "{file}:\n{out}");
        assert!(out.contains(file), "{file}:\n{out}");
    }
}
