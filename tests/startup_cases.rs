//! The 76 starts on damaged, foreign or left-over directories that were tried with Java Kafka 1.0.0, 2.8.2 and 3.9.1, tried
//! with this broker: what it does, against what the Java broker did.
//!
//! `golden/java/startup-cases.jsonl` holds the Java side. `DIFFERENCES` is the whole list of where we do something else,
//! each with its reason; a difference that is not in it fails, and so does a line of it that is no difference.

mod outside;

use std::fs;
use std::path::Path;

use outside::java::unpack;
use outside::process::{Broker, Refused};
use outside::{Folder, batch};
use serde_json::Value;

/// Case, what we do, and why it is not what Java did.
const DIFFERENCES: &[(&str, &str, &str)] = &[
    (
        "epoch-checkpoint-garbage",
        STARTED,
        "the epochs are in the batches: the file is written anew from them",
    ),
    (
        "hw-checkpoint-wrong-count",
        STARTED,
        "a bad checkpoint counts as empty: more is checked, nothing is refused",
    ),
    (
        "log-start-checkpoint-garbage",
        STARTED,
        "as above; it is said in the log that deleted records may be back",
    ),
    ("recovery-checkpoint-bad-version", STARTED, "as above; everything is checked from the start"),
    ("partition-metadata-garbage", STARTED, "an id that cannot be read counts as missing, and is named"),
    (
        "partition-metadata-other-id",
        STARTED,
        "the store is new and takes the directory's id: nobody contradicts it",
    ),
    ("torn-tail-clean-marker", STARTED, "the tail is cut and said, as after a crash"),
    ("torn-tail-no-marker", STARTED, "1.0.0 exits over the second torn log; the later ones do as we do"),
    ("recovery-checkpoint-lost-no-marker", STARTED, "1.0.0 exits over a range that ends before it begins"),
    ("wrong-cluster-id", STARTED, "without ZooKeeper the directory itself says which cluster this is"),
];

const STARTED: &str = "started, acked codec-none offset 10";

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

fn remove(path: &Path) {
    fs::remove_file(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

fn add_zeros(log: &Path) {
    let mut bytes = fs::read(log).expect("a log");
    bytes.extend([0; 100]);
    fs::write(log, &bytes).expect("a log");
}

fn change_line(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).expect("a text");
    assert!(text.contains(from), "{}: no {from}", path.display());
    write(path, &text.replace(from, to));
}

/// Does to a clean directory what the case is called after.
fn damage(data: &Path, case: &str) {
    let log = "00000000000000000000.log";
    let marker = data.join(".kafka_cleanshutdown");
    let one = data.join("codec-none-0");
    match case {
        "control" => {}
        "no-clean-marker" | "recover-zstd-log" => remove(&marker),
        "checkpoints-missing" => {
            for name in fs::read_dir(data).expect("the directory") {
                let path = name.expect("an entry").path();
                if path.is_file() && path.to_string_lossy().ends_with("-checkpoint") {
                    remove(&path);
                }
            }
        }
        "recovery-checkpoint-lost-no-marker" => {
            remove(&marker);
            remove(&data.join("recovery-point-offset-checkpoint"));
        }
        "recovery-checkpoint-bad-version" => {
            write(&data.join("recovery-point-offset-checkpoint"), "7\n0\n");
        }
        "log-start-checkpoint-garbage" => write(&data.join("log-start-offset-checkpoint"), "garbage\n"),
        "hw-checkpoint-wrong-count" => {
            write(&data.join("replication-offset-checkpoint"), "0\n5\ncodec-none 0 10\n");
        }
        "epoch-checkpoint-garbage" => write(&one.join("leader-epoch-checkpoint"), "garbage\n"),
        "epoch-checkpoint-missing" => remove(&one.join("leader-epoch-checkpoint")),
        "partition-metadata-garbage" => write(&one.join("partition.metadata"), "garbage\n"),
        "partition-metadata-other-id" => {
            write(&one.join("partition.metadata"), "version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAQ");
        }
        "index-corrupt-clean" => {
            let path = data.join("roll-0/00000000000000000000.index");
            let bytes = fs::read(&path).expect("an index").len();
            fs::write(&path, vec![0; bytes]).expect("an index");
        }
        "index-missing-clean" => remove(&data.join("roll-0/00000000000000000000.index")),
        "snapshot-missing-clean" => {
            for name in fs::read_dir(data.join("roll-idem-0")).expect("the replica") {
                let path = name.expect("an entry").path();
                if path.extension().is_some_and(|end| end == "snapshot") {
                    remove(&path);
                }
            }
        }
        "leftover-suffixes" => {
            for name in [
                "00000000000000000099.index",
                "00000000000000000099.log.deleted",
                "00000000000000000099.log.cleaned",
                "00000000000000000099.index.swap",
            ] {
                write(&one.join(name), "");
            }
        }
        "plain-file" => write(&data.join("a-plain-file"), "text"),
        "stray-partition" => {
            let stray = data.join("nobody-knows-it-0");
            fs::create_dir(&stray).expect("a directory");
            fs::copy(one.join(log), stray.join(log)).expect("a copy");
        }
        "unparsable-subdir" => fs::create_dir(data.join("foo")).expect("a directory"),
        "torn-tail-clean-marker" => add_zeros(&one.join(log)),
        "torn-tail-no-marker" | "torn-tail-no-marker-one-log" => {
            remove(&marker);
            add_zeros(&one.join(log));
            if case == "torn-tail-no-marker" {
                add_zeros(&data.join("codec-gzip-0").join(log));
            }
        }
        "wrong-broker-id" => change_line(&data.join("meta.properties"), "broker.id=1", "broker.id=7"),
        "wrong-cluster-id" => {
            let path = data.join("meta.properties");
            let text = fs::read_to_string(&path).expect("meta.properties");
            let id = text.lines().find(|line| line.starts_with("cluster.id=")).expect("an id").to_owned();
            change_line(&path, &id, "cluster.id=AAAAAAAAAAAAAAAAAAAAAA");
        }
        other => panic!("{other}: an unknown case"),
    }
}

/// What this broker does: as text, to be compared.
fn ours(release: &str, case: &str) -> String {
    let folder = Folder::new("startup");
    let name = match release {
        "1.0.0" => "k100",
        "2.8.2" => "k282",
        "3.9.1" => "k391",
        other => panic!("{other}: an unknown release"),
    };
    let data = unpack(&format!("disk-{name}-clean.tar.gz"), folder.path());
    damage(&data, case);
    let data = data.display().to_string();
    // The records are old: they are not to go before they are looked at.
    let settings = [("log.dirs", data.as_str()), ("log.retention.ms", "-1")];
    let mut broker = Broker::launch(folder.path(), &settings);
    if let Some(Refused { status, log }) = broker.wait_until_it_serves() {
        assert!(!status.success() && log.contains("does not start"), "{case} on {release}: {status}\n{log}");
        return "exited".to_owned();
    }
    let mut client = broker.client().expect("a connection");
    let values = [b"after".to_vec()];
    let produced = client.produce("codec-none", 0, &batch::build(batch::NOBODY, 1_700_000_000_000, &values));
    let produced = produced.expect("an answer");
    let said = match produced.code {
        0 => format!("started, acked codec-none offset {}", produced.base_offset),
        code => format!("started, code {code}"),
    };
    broker.stop();
    said
}

#[test]
fn each_start_ends_as_it_did_with_java_or_as_the_table_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/java/startup-cases.jsonl");
    let text = fs::read_to_string(path).expect("the golden file");
    let (mut wrong, mut used) = (Vec::new(), Vec::new());
    let mut tried = 0;
    for line in text.lines() {
        let row: Value = serde_json::from_str(line).expect("a line of JSON");
        let field = |name: &str| row[name].as_str().map(str::to_owned);
        let (case, release) = (field("case").expect("a case"), field("release").expect("a release"));
        let directory = field("directory").expect("a directory");
        let java = match (field("result").as_deref(), field("produce")) {
            (Some("started"), Some(acked)) => format!("started, {acked}"),
            (Some("started"), None) => "started, and serves no produce request".to_owned(),
            (Some(result), _) => result.to_owned(),
            (None, _) => panic!("{line}"),
        };
        let ours = ours(&directory, &case);
        tried += 1;
        if ours == java {
            continue;
        }
        match DIFFERENCES.iter().find(|(name, ..)| *name == case) {
            Some((name, expected, _)) if *expected == ours => used.push(*name),
            Some(_) | None => {
                wrong.push(format!("{case}, {release} on {directory}: we: {ours}, Java: {java}"));
            }
        }
    }
    assert_eq!(tried, 76);
    assert!(wrong.is_empty(), "{} differences that no line explains:\n{}", wrong.len(), wrong.join("\n"));
    let idle: Vec<&str> =
        DIFFERENCES.iter().map(|(name, ..)| *name).filter(|name| !used.contains(name)).collect();
    assert!(idle.is_empty(), "no differences: {idle:?}");
}
