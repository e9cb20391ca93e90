//! Cluster stories: each `.txt` beside this file is played on a subject, and its history goes to the checker.
//!
//! In CI the stories that one broker can play, and short. The rest is played by `scripts/test.sh --long`, or one by one:
//! `RINGDAW_SCENARIO=f01 cargo test --test scenarios -- --ignored --nocapture cluster`, on Java Kafka with `... java`.
//! RINGDAW_SCENARIO_LONG=1 takes the counts of a long run, RINGDAW_SCENARIO_TABLE=FILE appends the rows to a file.

#[path = "../history/mod.rs"]
mod history;
mod load;
#[path = "../outside/mod.rs"]
mod outside;
mod play;
mod script;

use outside::cluster::Subject;
use outside::{Numbers, java, network, skip, zookeeper};
use play::Outcome;
use script::Script;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;

/// All stories whose name begins with RINGDAW_SCENARIO, in order.
fn scripts() -> Vec<Script> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let wanted = std::env::var("RINGDAW_SCENARIO").unwrap_or_default();
    let mut found: Vec<Script> = fs::read_dir(folder)
        .expect("the stories")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .map(|path| {
            let name = path.file_stem().and_then(|name| name.to_str()).expect("a name").to_string();
            let text = fs::read_to_string(&path).expect("a story");
            Script::parse(&name, &text).unwrap_or_else(|why| panic!("{why}"))
        })
        .filter(|script| script.name.starts_with(&wanted))
        .collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

fn is_long() -> bool {
    std::env::var_os("RINGDAW_SCENARIO_LONG").is_some()
}

/// Plays them one after another.
fn play_all(test: &str, subject: Subject, scripts: &[Script]) {
    let mut numbers = Numbers::seeded(test);
    let mut outcomes = Vec::new();
    for script in scripts {
        if let Some(why) = script.own_network.then(network::missing).flatten() {
            skip(&script.name, &why);
            continue;
        }
        eprintln!("{}: {}", script.name, script.title);
        let outcome = play::play(script, subject, is_long(), &mut numbers);
        eprintln!("{}\n{}", Outcome::HEAD, outcome.row());
        outcomes.push(outcome);
    }
    judge_all(&outcomes);
}

/// The table, and what is not clean.
fn judge_all(outcomes: &[Outcome]) {
    let mut failures = String::new();
    let rows: Vec<String> = outcomes.iter().map(Outcome::row).collect();
    for outcome in outcomes.iter().filter(|outcome| !outcome.is_as_expected()) {
        let complaints = outcome.complaints.join("\n");
        writeln!(failures, "{}:\n{}{complaints}", outcome.scenario, outcome.verdict).expect("memory");
    }
    eprintln!("\n{}\n{}", Outcome::HEAD, rows.join("\n"));
    if let Ok(path) = std::env::var("RINGDAW_SCENARIO_TABLE") {
        let mut file = fs::OpenOptions::new().create(true).append(true).open(path).expect("the table's file");
        writeln!(file, "{}", rows.join("\n")).expect("the table's file");
    }
    assert!(failures.is_empty(), "{failures}");
}

#[test]
fn every_scenario_can_be_read() {
    assert!(!scripts().is_empty());
    for (text, why) in [
        ("# a\nproducers: 1 idempotent\nfly away", "no step fly away"),
        ("# a\nproducers: 1 idempotent\n  wait 1 second", "indented for no reason"),
        ("# a\nproducers: 1 idempotent\nrepeat 2 times:\nwait 1 second", "repeats nothing"),
        ("# a\nproducers: 1 idempotent\nkill the postman", "nobody is the postman"),
        ("# a\nproducers: 1 idempotent, acks 1\nwait 1 second", "acks all"),
        ("producers: 1 idempotent\nwait 1 second", "a title"),
    ] {
        let refused = Script::parse("x", text).expect_err(text);
        assert!(refused.contains(why), "{refused}");
    }
}

#[test]
fn one_broker_keeps_its_promises() {
    let alone = scripts().into_iter().filter(|script| script.alone).map(Script::made_alone);
    let mut numbers = Numbers::seeded("one_broker_keeps_its_promises");
    // Each has a broker of its own, and waits most of the time.
    let played: Vec<_> = alone
        .map(|script| {
            let mut numbers = Numbers::from(numbers.below(1 << 30));
            std::thread::spawn(move || play::play(&script, Subject::Ringdaw, is_long(), &mut numbers))
        })
        .collect();
    let ended = played.into_iter().map(|thread| thread.join().expect("a scenario that came to its end"));
    judge_all(&ended.collect::<Vec<_>>());
}

/// The stories of a cluster that are short enough for CI.
#[test]
fn three_brokers_keep_their_promises_when_leaders_are_killed_and_all_are_restarted() {
    const NAME: &str = "three_brokers_keep_their_promises_when_leaders_are_killed_and_all_are_restarted";
    if let Some(why) = zookeeper::missing() {
        return skip(NAME, &why);
    }
    let short = ["f01-leader-killed", "f04-rolling-restart"];
    let scripts: Vec<Script> =
        scripts().into_iter().filter(|script| short.contains(&&*script.name)).collect();
    assert_eq!(scripts.len(), short.len());
    play_all(NAME, Subject::Ringdaw, &scripts);
}

#[test]
#[ignore = "minutes; scripts/test.sh --long plays it"]
fn a_cluster_keeps_its_promises() {
    const NAME: &str = "a_cluster_keeps_its_promises";
    if let Some(why) = zookeeper::missing() {
        return skip(NAME, &why);
    }
    play_all(NAME, Subject::Ringdaw, &scripts());
}

#[test]
#[ignore = "minutes; scripts/test.sh --long plays it"]
fn java_keeps_its_promises() {
    const NAME: &str = "java_keeps_its_promises";
    if let Some(why) = zookeeper::missing().or_else(java::missing) {
        return skip(NAME, &why);
    }
    play_all(NAME, Subject::Java(java::VERSION), &scripts());
}
