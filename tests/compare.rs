//! `bench compare` from the command line, as a user would: what it claims, what it refuses, and what it leaves behind.
//!
//! Everything runs in its short form: these tests hold the order of events and the sentences, never a speed.

mod outside;

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use outside::bench::Finished;
use outside::{Folder, java, skip};
use ringdaw::reactor::process::{self, Signal};
use serde_json::Value;

const RINGDAW: &str = env!("CARGO_BIN_EXE_ringdaw");
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/java-kafka.sh");

/// One test at a time: on a small machine two of them are each other's competitors.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Bench {
    folder: Folder,
}

impl Bench {
    fn new() -> Bench {
        Bench { folder: Folder::new("compare") }
    }

    /// The short form: one point, two pairs, nothing searched.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(RINGDAW);
        command.current_dir(env!("CARGO_MANIFEST_DIR")).args(["bench", "compare", "--quick"]);
        command.args(["--plain", "--allow-tmpfs", "--partitions", "2", "--null", "none"]);
        command.arg("--data-dir").arg(self.folder.join("data")).arg("--out").arg(self.folder.join("results"));
        command.args(arguments).stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Finished {
        self.finished(self.command(arguments).output().expect("the program starts"))
    }

    fn finished(&self, output: Output) -> Finished {
        Finished::new(output, &self.folder.join("results"))
    }

    /// Whatever happened, everything is in the run folder.
    fn left_nothing_behind(&self) {
        assert!(!self.folder.join("data").exists(), "data is left behind");
    }
}

impl Finished {
    /// The rows of the verdict table.
    fn rows(&self) -> Vec<&Value> {
        let all = self.run()["comparisons"].as_array().expect("comparisons");
        all.iter().filter(|comparison| !comparison["versus"].is_null()).collect()
    }

    fn claimed(&self) -> Vec<String> {
        let claims = self.rows().into_iter().filter(|row| {
            let outcome = &row["versus"]["outcome"];
            outcome == "better" || outcome == "worse"
        });
        claims.map(|row| row["claim"].as_str().unwrap_or_default().to_owned()).collect()
    }
}

#[test]
fn a_null_broker_against_itself_claims_nothing_in_eight_pairs() {
    let _alone = alone();
    let mut claims = Vec::new();
    // One in twenty rows may err; the same row three times in a row may not.
    for _ in 0..3 {
        let bench = Bench::new();
        let done = bench.run(&[
            "--subject",
            "null-broker",
            "--against",
            "null-broker",
            "--loads",
            "none",
            "--pairs",
            "8",
            "--duration",
            "300ms",
            "--warmup",
            "100ms",
        ]);
        done.expect(0);
        bench.left_nothing_behind();
        let rows = done.rows();
        assert!(rows.len() >= 10, "two rows for each of five measures: {}", done.said());
        let floors = rows.iter().filter(|row| row["versus"]["pairing"] == "floor").count();
        assert_eq!(floors * 2, rows.len());
        let found = done.claimed();
        if found.is_empty() {
            return;
        }
        claims.push(found);
    }
    panic!("a subject was told apart from itself three times: {claims:?}");
}

#[test]
fn ringdaw_against_itself_runs_in_fours_and_says_why_two_pairs_are_too_few() {
    let _alone = alone();
    let bench = Bench::new();
    let done = bench.run(&["--against", "ringdaw", "--loads", "60"]);
    done.expect(0);
    bench.left_nothing_behind();
    assert!(done.claimed().is_empty(), "{:?}", done.claimed());
    for row in done.rows() {
        let claim = row["claim"].as_str().expect("every row has a sentence");
        assert!(claim.contains("no claim") || claim.contains("not measured"), "{claim}");
    }
    // The plan was written before the first block, and what ran is what it says: ABBA or BAAB.
    let folder = done.folder.as_ref().expect("a folder");
    let plan: Value =
        serde_json::from_str(&std::fs::read_to_string(folder.join("plan.json")).expect("plan.json"))
            .expect("JSON");
    let order: Vec<&str> =
        plan["order"].as_array().expect("order").iter().filter_map(Value::as_str).collect();
    assert_eq!(order.len(), 2 * 2 * 2 * 2, "two points, with a floor each, two pairs of two blocks");
    for four in order.chunks(4) {
        assert!(four[0] == four[3] && four[1] == four[2] && four[0] != four[1], "{four:?}");
    }
    let mut blocks: Vec<&Value> = done.run()["blocks"].as_array().expect("blocks").iter().collect();
    blocks.sort_by_key(|block| block["position"].as_u64());
    let ran: Vec<&str> = blocks.iter().filter_map(|block| block["cell"].as_str()).collect();
    assert_eq!(ran, order);
    // Both sides asked the same: fixed work at saturation, one rate at the share.
    let cells = done.run()["cells"].as_array().expect("cells");
    let rates: Vec<f64> = cells
        .iter()
        .filter(|cell| cell["loop"] == "open" && cell["role"] == "sweep")
        .filter_map(|cell| cell["offered_records_per_s"].as_f64())
        .collect();
    assert!(rates.len() == 2 && rates[0] == rates[1] && rates[0] > 1.0, "{rates:?}");
}

#[test]
fn ringdaw_against_the_null_broker_prints_every_row_and_a_page_with_its_parity_box() {
    let _alone = alone();
    let bench = Bench::new();
    let done = bench.run(&["--against", "null-broker", "--override", "reactor.spin.us=0"]);
    done.expect(0);
    bench.left_nothing_behind();
    let out = String::from_utf8_lossy(&done.output.stdout).into_owned();
    assert!(out.contains("given: A is ringdaw reactor.spin.us=0, B is null-broker sendfile"), "{out}");
    for word in ["records/s", "CPU per record", "produce p99", "resident memory", "time to first answer"] {
        assert!(out.contains(word), "{word} has no row:\n{out}");
    }
    let verification = &done.run()["verification"];
    assert_eq!(verification["acked"], verification["read"], "{verification}");
    let page =
        std::fs::read_to_string(done.folder.as_ref().expect("a folder").join("report.html")).expect("a page");
    for part in
        ["Parity: what either side did", "checks no CRC", "Configurations side by side", "Pairs: records/s"]
    {
        assert!(page.contains(part), "{part} is not on the page");
    }
    let elsewhere = page.replace("http://www.w3.org/2000/svg", "");
    assert!(!elsewhere.contains("http://") && !elsewhere.contains("https://"), "the page names an address");
    assert!(page.len() < 5_000_000);
}

#[test]
fn unequal_durability_is_refused_before_anything_runs_unless_it_is_wanted() {
    let _alone = alone();
    let bench = Bench::new();
    let done = bench.run(&["--against", "ringdaw", "--against-override", "log.flush.interval.messages=1"]);
    done.expect(4);
    assert!(
        done.said().contains("unequal durability") && done.said().contains("--allow-unequal"),
        "{}",
        done.said()
    );
    assert!(done.folder.is_none(), "nothing was going to run");
    let done = bench.run(&[
        "--against",
        "ringdaw",
        "--against-override",
        "log.flush.interval.messages=1",
        "--allow-unequal",
        "--loads",
        "none",
        "--floor-pairs",
        "0",
    ]);
    done.expect(0);
    let flags = done.run()["validity_flags"].to_string();
    assert!(flags.contains("unequal durability"), "{flags}");
    for row in done.rows() {
        assert!(
            row["claim"]
                .as_str()
                .is_some_and(|claim| claim.contains("no noise floor") || claim.contains("not measured"))
        );
    }
}

#[test]
fn a_subject_that_claims_to_flush_and_does_not_is_refused() {
    let _alone = alone();
    let bench = Bench::new();
    let done = bench.run(&[
        "--against",
        "null-broker",
        "--against-fault",
        "skip-fsync",
        "--durability",
        "sync",
        "--loads",
        "none",
    ]);
    let counted = done.run()["subjects"].as_array().expect("subjects").iter().any(|subject| {
        !subject["durability"]["fsyncs"].is_null() || !subject["durability"]["device_flushes"].is_null()
    });
    if !counted {
        return skip(
            "a_subject_that_claims_to_flush_and_does_not_is_refused",
            "flushes cannot be counted here",
        );
    }
    done.expect(4);
    assert!(done.said().contains("durability class not verified"), "{}", done.said());
    bench.left_nothing_behind();
}

#[test]
fn a_rival_that_does_not_start_is_named_with_its_last_words() {
    let _alone = alone();
    let bench = Bench::new();
    let done = bench.run(&["--against", "sh -c 'echo no luck at {port} >&2; exit 3'"]);
    done.expect(5);
    let said = done.said();
    assert!(said.contains("exit status: 3") && said.contains("no luck at"), "{said}");
    assert_eq!(done.run()["exit_code"], 5);
    assert!(done.run()["verdicts"].to_string().contains("ended early"), "{}", done.run()["verdicts"]);
    bench.left_nothing_behind();
}

#[test]
fn a_rival_that_dies_under_load_is_named_with_its_last_words() {
    let _alone = alone();
    let bench = Bench::new();
    // A real broker that somebody ends two seconds after its start; `exec` makes the shell's child ours.
    let rival = format!(
        "sh -c 'echo last words >&2; {RINGDAW} bench null-broker --variant sendfile --port {{port}} --files {{data_dir}}/log & \
         b=$!; sleep 2; kill -9 $b; wait $b; exit 7'"
    );
    let done = bench.run(&["--against", &rival, "--loads", "none", "--duration", "3s"]);
    done.expect(5);
    let said = done.said();
    assert!(said.contains("last words"), "{said}");
    bench.left_nothing_behind();
}

#[test]
fn a_rival_that_breaks_the_protocol_ends_the_run_with_code_5() {
    let _alone = alone();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address").to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = stream;
            let mut bytes = [0; 256];
            // A frame of eight bytes that answers nobody.
            if stream.read(&mut bytes).is_ok() {
                let _ = stream.write_all(&[0, 0, 0, 8, 0xde, 0xad, 0xbe, 0xef, 0, 0, 0, 0]);
            }
        }
    });
    let bench = Bench::new();
    let done = bench.run(&["--against", &address]);
    done.expect(5);
    assert!(done.said().contains(&address), "{}", done.said());
    bench.left_nothing_behind();
}

#[test]
fn an_interrupt_keeps_and_marks_the_partial_run_and_ends_every_child() {
    let _alone = alone();
    let bench = Bench::new();
    let mut command = bench.command(&["--against", "null-broker", "--loads", "none", "--pairs", "40"]);
    command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().expect("the program starts");
    let pid = child.id();
    let results = bench.folder.join("results");
    let saved_a_pair = || {
        let folder = std::fs::read_dir(&results).ok()?.flatten().next()?.path();
        let run: Value =
            serde_json::from_str(&std::fs::read_to_string(folder.join("run.json")).ok()?).ok()?;
        (run["blocks"].as_array()?.len() >= 2).then_some(())
    };
    let begun = Instant::now();
    while saved_a_pair().is_none() {
        assert!(begun.elapsed() < Duration::from_secs(120), "no pair was saved");
        std::thread::sleep(Duration::from_millis(50));
    }
    process::signal(pid, Signal::Terminate).expect("our child");
    let done = bench.finished(child.wait_with_output().expect("its end"));
    done.expect(130);
    assert_eq!(done.run()["exit_code"], 130);
    assert!(done.run()["verdicts"].to_string().contains("INTERRUPTED"), "{}", done.run()["verdicts"]);
    assert!(!done.rows().is_empty(), "the pairs that ran are rows");
    assert!(done.folder.as_ref().is_some_and(|folder| folder.join("report.html").is_file()));
    bench.left_nothing_behind();
    nobody_uses(bench.folder.path());
}

/// No process has this folder on its command line.
fn nobody_uses(folder: &Path) {
    let needle = folder.display().to_string();
    let users = || -> Vec<String> {
        std::fs::read_dir("/proc")
            .expect("/proc")
            .flatten()
            .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
            .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
            .filter(|line| line.contains(&needle))
            .collect()
    };
    // A killed process may take a moment to disappear.
    let until = Instant::now() + Duration::from_secs(10);
    while !users().is_empty() {
        assert!(Instant::now() < until, "still running: {:?}", users());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn java_kafka_with_its_zookeeper_is_a_rival_like_any_other() {
    let _alone = alone();
    let name = "java_kafka_with_its_zookeeper_is_a_rival_like_any_other";
    if let Some(why) = java::missing() {
        return skip(name, &why);
    }
    let bench = Bench::new();
    let done = bench.run(&[
        "--against",
        "java-kafka:3.9.x",
        "--loads",
        "none",
        "--floor-pairs",
        "0",
        "--against-override",
        "KAFKA_HEAP_OPTS=-Xms256M -Xmx256M",
    ]);
    done.expect(0);
    bench.left_nothing_behind();
    nobody_uses(bench.folder.path());
    let subjects = done.run()["subjects"].as_array().expect("subjects");
    let java = subjects.iter().find(|subject| subject["version"] == java::VERSION).expect("Java Kafka");
    assert_eq!(java["metadata_mode"], "zookeeper");
    let flags = java["jvm_flags"].as_str().expect("flags");
    for flag in ["-Xmx256M", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-Xlog:gc*"] {
        assert!(flags.contains(flag), "{flag} is not in {flags}");
    }
    assert!(java["config"].as_str().is_some_and(|config| config.contains("zookeeper.connect=127.0.0.1:")));
    let parity = done.run()["comparisons"].to_string();
    for fact in ["ZooKeeper used", "Metadata: ringdaw embedded", "Only java-kafka"] {
        assert!(parity.contains(fact), "{fact} is not in the parity box");
    }
    let verification = &done.run()["verification"];
    assert_eq!(verification["acked"], verification["read"], "{verification}");
    let logs = done.folder.as_ref().expect("a folder").join("logs");
    let names: Vec<String> = std::fs::read_dir(&logs)
        .expect("logs")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    for part in [".gc.log", ".zookeeper.log"] {
        assert!(names.iter().any(|name| name.ends_with(part)), "{part} is not in {names:?}");
    }
}

/// A folder of commands that has all of the system's but one.
fn path_without(folder: &Folder, left_out: &str) -> PathBuf {
    let bin = folder.join("bin");
    std::fs::create_dir(&bin).expect("a folder");
    for from in ["/usr/local/bin", "/usr/bin", "/bin"] {
        for entry in std::fs::read_dir(from).into_iter().flatten().flatten() {
            if entry.file_name() != left_out {
                // The first of a name wins, as on a PATH.
                let _ = std::os::unix::fs::symlink(entry.path(), bin.join(entry.file_name()));
            }
        }
    }
    bin
}

#[test]
fn where_java_or_maven_is_missing_the_rig_says_so_and_ends_with_code_6() {
    let _alone = alone();
    for (left_out, sentence) in [("java", "no java on PATH"), ("mvn", "no mvn (Maven) on PATH")] {
        let bench = Bench::new();
        let mut command = bench.command(&["--against", "java-kafka:3.9.1"]);
        command
            .env("PATH", path_without(&bench.folder, left_out))
            .env("RINGDAW_JAVA_KAFKA", bench.folder.join("empty"))
            .env_remove("RINGDAW_KAFKA_HOME");
        let done = bench.finished(command.output().expect("the program starts"));
        done.expect(6);
        let said = done.said();
        assert!(said.contains(sentence) && said.contains("RINGDAW_KAFKA_HOME"), "{said}");
        assert!(done.folder.is_none(), "nothing was going to run");
    }
}

#[test]
fn once_fetched_a_release_needs_neither_maven_nor_a_network_and_an_installed_one_needs_no_fetching() {
    let _alone = alone();
    let name =
        "once_fetched_a_release_needs_neither_maven_nor_a_network_and_an_installed_one_needs_no_fetching";
    if let Some(why) = java::missing() {
        return skip(name, &why);
    }
    let folder = Folder::new("java-kafka");
    let bin = path_without(&folder, "mvn");
    let ask = |arguments: &[&str]| {
        let mut command = Command::new(SCRIPT);
        command.args(arguments).env("PATH", &bin);
        command
    };
    let again = ask(&["fetch", java::VERSION]).output().expect("the script");
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));

    // An installed Kafka is a folder with libs; nothing is fetched, and nothing in it is checked against our sums.
    let home = folder.join("kafka");
    std::fs::create_dir_all(home.join("libs")).expect("a folder");
    let directory = folder.join("run").display().to_string();
    let arguments = ["command", "3.7.2", &directory, "--port", "19092", "--zookeeper", "127.0.0.1:1"];
    let done = ask(&arguments).env("RINGDAW_KAFKA_HOME", &home).output().expect("the script");
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(said.contains(&format!("classpath={}/libs/*", home.display())), "{said}");
    assert!(said.contains("word=kafka.Kafka") && said.contains("metadata=zookeeper"), "{said}");

    let unknown = Command::new(SCRIPT).args(["fetch", "0.7"]).env_remove("RINGDAW_KAFKA_HOME").output();
    let unknown = unknown.expect("the script");
    let said = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(!unknown.status.success() && said.contains("1.0.0 3.9.1 4.3.0"), "{said}");
}
