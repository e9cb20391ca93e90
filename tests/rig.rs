//! The rig's self-tests (RIG section 20, step 1): faults are injected and the reading is checked.
//!
//! They run live, against the null broker, through the command line as a user would. What depends on time is judged
//! only in a block that nothing from outside disturbed, and gets three attempts: a busy machine proves nothing.

mod outside;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use outside::bench::{Finished, SMALL};
use ringdaw::reactor::{pin, process};
use serde_json::Value;

const RINGDAW: &str = env!("CARGO_BIN_EXE_ringdaw");

/// A directory of its own on the build's file system: the system's temporary folder may be tmpfs.
struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Bench {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR"));
        Bench { folder: tempfile::tempdir_in(root).expect("a directory beside the build") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(RINGDAW);
        command.arg("bench").args(arguments);
        command.arg("--data-dir").arg(self.path("data")).arg("--out").arg(self.path("results"));
        command.args(["--plain", "--allow-tmpfs", "--self-tests", "none"]);
        command
    }

    fn run(&self, arguments: &[&str]) -> Finished {
        let output = self.command(arguments).stdin(Stdio::null()).output().expect("the program starts");
        self.finished(output)
    }

    /// The small workload against the null broker, without a roof.
    fn run_small(&self, more: &[&str]) -> Finished {
        let file = small(self);
        self.run(&[&["run", &file, "--subject", "null-broker", "--null", "none"], more].concat())
    }

    fn finished(&self, output: Output) -> Finished {
        Finished::new(output, &self.path("results"))
    }
}

impl Finished {
    fn sweep_cell(&self) -> &Value {
        let cells = self.run()["cells"].as_array().expect("cells");
        cells
            .iter()
            .find(|cell| cell["role"] == "sweep")
            .unwrap_or_else(|| panic!("no cell\n{}", self.said()))
    }

    /// Why the blocks of the cell mean nothing, if they do.
    fn void_reasons(&self) -> Vec<String> {
        let id = &self.sweep_cell()["id"];
        let blocks = self.run()["blocks"].as_array().expect("blocks");
        let of_cell = blocks.iter().filter(|block| block["cell"] == *id);
        of_cell
            .flat_map(|block| block["void_reasons"].as_array().cloned().unwrap_or_default())
            .map(|reason| reason.as_str().unwrap_or_default().to_owned())
            .collect()
    }
}

fn ms(value: &Value) -> f64 {
    value.as_f64().unwrap_or(f64::NAN) / 1e6
}

/// One test at a time: on a small machine two of them are each other's competitors. When it ends, its result is written
/// down beside the build, where the rig finds it for the footer of its pages.
struct Alone {
    _turn: std::sync::MutexGuard<'static, ()>,
    name: String,
}

fn alone() -> Alone {
    static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let name = std::thread::current().name().unwrap_or("unnamed").to_owned();
    // A test that failed while it held the lock says nothing about the next one.
    Alone { _turn: TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner), name }
}

impl Drop for Alone {
    fn drop(&mut self) {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("rig-self-tests.json");
        let before = std::fs::read_to_string(&path).ok();
        let mut all: Value =
            before.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_else(|| serde_json::json!({}));
        let git = Command::new("git").args(["rev-parse", "--short", "HEAD"]).output();
        let git = git.ok().filter(|done| done.status.success());
        all["git"] = git.map(|done| String::from_utf8_lossy(&done.stdout).trim().to_owned()).into();
        all["tests"][&self.name] = serde_json::json!({
            "passed": !std::thread::panicking(),
            "at_utc": ringdaw::report::figures::utc(std::time::SystemTime::now()),
        });
        // A footer that cannot be written must not turn a test that passed into one that did not.
        let _ = std::fs::write(&path, all.to_string());
    }
}

/// Three attempts at something that a busy machine can spoil. `attempt` says what was wrong, or that the machine was.
fn three_times(what: &str, attempt: impl Fn() -> Result<(), Judgement>) {
    let mut wrong = Vec::new();
    let mut disturbed = 0;
    for _ in 0..3 {
        match attempt() {
            Ok(()) => return,
            Err(Judgement::Wrong(text)) => wrong.push(text),
            Err(Judgement::Disturbed(text)) => {
                disturbed += 1;
                eprintln!("{what}: not judged, the machine was busy: {text}");
            }
        }
    }
    // A reading that is wrong three times is wrong; a machine that was never quiet proves nothing.
    assert!(disturbed > 0, "{what}: wrong three times:\n{}", wrong.join("\n"));
}

enum Judgement {
    Wrong(String),
    Disturbed(String),
}

fn small(bench: &Bench) -> String {
    let path = bench.path("small.yaml");
    std::fs::write(&path, SMALL).expect("a file");
    path.display().to_string()
}

#[test]
fn a_pause_of_the_subject_stands_in_the_percentiles_as_arithmetic_says() {
    let _alone = alone();
    // Response time at quantile q: S - (1-q) * T * (1 - R/C), for a pause S in a window T at load R of capacity C.
    const STALL_MS: f64 = 200.0;
    const WINDOW_MS: f64 = 10_000.0;
    const RATE: f64 = 2000.0;
    three_times("pause", || {
        let bench = Bench::new();
        let capacity = bench.run(&[
            "run",
            "@stall",
            "--subject",
            "null-broker",
            "--null",
            "none",
            "--quick",
            "--set",
            "faults=[]",
            "--set",
            "producers.steady.arrivals=closed",
            "--set",
            "producers.steady.in_flight=20",
        ]);
        assert_eq!(capacity.code(), 0, "{}", capacity.said());
        let capacity = capacity.sweep_cell()["records_per_s"].as_f64().expect("a rate");
        let bench = Bench::new();
        let done =
            bench.run(&["run", "@stall", "--subject", "null-broker", "--null", "none", "--cores", &cores()]);
        assert_eq!(done.code(), 0, "{}", done.said());
        let cell = done.sweep_cell();
        if !done.void_reasons().is_empty() {
            return Err(Judgement::Disturbed(done.void_reasons().join("; ")));
        }
        let response = &cell["produce_response_ns"];
        let mut wrong = Vec::new();
        for (name, quantile) in [("p99", 0.99), ("p99_9", 0.999)] {
            let expected = STALL_MS - (1.0 - quantile) * WINDOW_MS * (1.0 - RATE / capacity);
            let seen = ms(&response[name]);
            let error = (seen - expected).abs();
            if error.is_nan() || error > (expected * 0.05).max(2.0) {
                wrong.push(format!(
                    "{name} is {seen:.1} ms, expected {expected:.1} (capacity {capacity:.0}/s)"
                ));
            }
        }
        let max = ms(&response["max"]);
        if max < 199.0 {
            wrong.push(format!("max is {max:.1} ms"));
        }
        let long = cell["stalls"].as_array().expect("stalls");
        let long = long.iter().filter(|stall| ms(&stall["duration_ns"]) > 100.0).count();
        if long != 1 {
            wrong.push(format!("{long} long stalls instead of one: {}", cell["stalls"]));
        }
        if wrong.is_empty() { Ok(()) } else { Err(Judgement::Wrong(wrong.join("; "))) }
    });
}

/// The first core serves, the last one asks; on one core both do.
fn cores() -> String {
    let usable = pin::usable_cores();
    format!("broker={},load={}", usable[0], usable[usable.len() - 1])
}

#[test]
fn the_closed_loop_hides_the_same_pause_from_all_but_the_maximum() {
    let _alone = alone();
    three_times("closed loop", || {
        let bench = Bench::new();
        let done = bench.run(&[
            "run",
            "@stall",
            "--subject",
            "null-broker",
            "--null",
            "none",
            "--set",
            "producers.steady.arrivals=closed",
            "--set",
            "producers.steady.in_flight=1",
            "--duration",
            "4s",
            "--set",
            "faults=[{at: 2s, kind: pause, duration: 200ms}]",
        ]);
        assert_eq!(done.code(), 0, "{}", done.said());
        if !done.void_reasons().is_empty() {
            return Err(Judgement::Disturbed(done.void_reasons().join("; ")));
        }
        let service = &done.sweep_cell()["produce_service_ns"];
        assert_eq!(
            done.sweep_cell()["produce_response_ns"]["p99"],
            Value::Null,
            "a closed loop has no response time"
        );
        let (p99, max) = (ms(&service["p99"]), ms(&service["max"]));
        if p99 < 50.0 && max >= 199.0 {
            Ok(())
        } else {
            Err(Judgement::Wrong(format!("p99 {p99:.1} ms, max {max:.1} ms")))
        }
    });
}

#[test]
fn every_planted_anomaly_is_found_and_ends_with_code_3() {
    let _alone = alone();
    for (fault, kinds) in [
        ("drop", &["lost-write", "poll-skip"][..]),
        ("duplicate", &["duplicate"]),
        ("reorder", &["reordered"]),
        ("wrong-offset", &["wrong-offset"]),
        ("corrupt", &["corrupt"]),
    ] {
        let bench = Bench::new();
        let done = bench.run_small(&["--fault", fault]);
        assert_eq!(done.code(), 3, "{fault}: {}", done.said());
        let anomalies = done.run()["verification"]["first_anomalies"].as_array().expect("anomalies");
        let found =
            anomalies.iter().find(|anomaly| kinds.contains(&anomaly["kind"].as_str().unwrap_or_default()));
        let found = found.unwrap_or_else(|| panic!("{fault}: none of {kinds:?} in {anomalies:?}"));
        assert!(found["partition"].is_i64(), "{fault}: {found}");
        assert!(found["offset"].is_i64(), "{fault}: {found}");
        assert_eq!(done.run()["exit_code"], 3);
        assert!(String::from_utf8_lossy(&done.output.stdout).contains("FAIL"), "{fault}: {}", done.said());
    }
}

#[test]
fn a_sound_run_is_verified_and_leaves_everything_in_its_folder() {
    let _alone = alone();
    let bench = Bench::new();
    let file = small(&bench);
    let done = bench.run(&["run", &file, "--subject", "null-broker"]);
    assert_eq!(done.code(), 0, "{}", done.said());
    let verification = &done.run()["verification"];
    assert_eq!(verification["acked"], verification["read"], "{verification}");
    assert_eq!(verification["lost"], 0);
    for file in ["plan.json", "run.json", "cells.csv", "series.csv", "report.html"] {
        assert!(done.folder().join(file).is_file(), "{file} is missing");
    }
    assert!(!bench.path("data").exists(), "data is left behind");
}

#[test]
fn an_unknown_key_ends_with_code_2_its_line_and_the_nearest_key() {
    let _alone = alone();
    let bench = Bench::new();
    let path = bench.path("typo.yaml");
    std::fs::write(&path, SMALL.replace("partitions: 4", "partitons: 4")).expect("a file");
    let done = bench.run(&["run", &path.display().to_string()]);
    assert_eq!(done.code(), 2);
    let said = String::from_utf8_lossy(&done.output.stderr);
    assert!(
        said.contains("typo.yaml:4: unknown key partitons in a topic; did you mean partitions?"),
        "{said}"
    );
    assert!(done.folder.is_none(), "nothing runs and nothing is written");
}

#[test]
fn rebuilding_a_stored_run_gives_the_same_bytes_and_the_page_needs_no_network() {
    let _alone = alone();
    let bench = Bench::new();
    let done = bench.run_small(&[]);
    assert_eq!(done.code(), 0, "{}", done.said());
    let read = |name: &str| std::fs::read(done.folder().join(name)).expect(name);
    let names = ["cells.csv", "series.csv", "report.html"];
    let before = names.map(read);
    for name in names {
        std::fs::remove_file(done.folder().join(name)).expect(name);
    }
    let rebuilt =
        Command::new(RINGDAW).args(["bench", "report"]).arg(done.folder()).output().expect("starts");
    assert!(rebuilt.status.success(), "{}", String::from_utf8_lossy(&rebuilt.stderr));
    for (name, before) in names.iter().zip(before) {
        assert_eq!(read(name), before, "{name} differs");
    }
    let page = String::from_utf8(read("report.html")).expect("text");
    for start in ["http://", "https://"] {
        for (at, _) in page.match_indices(start) {
            let address: String = page[at..].chars().take_while(|c| !"\"'<> )".contains(*c)).collect();
            assert_eq!(address, "http://www.w3.org/2000/svg", "an external address in the page");
        }
    }
}

#[test]
fn a_competitor_on_either_core_makes_the_block_void_and_never_a_slow_broker() {
    let _alone = alone();
    let usable = pin::usable_cores();
    for core in [usable[0], usable[usable.len() - 1]] {
        let mut competitor = Command::new("sh");
        competitor.args(["-c", "while :; do :; done"]).stdin(Stdio::null());
        process::isolate(&mut competitor, &[core]);
        let mut competitor = competitor.spawn().expect("a shell");
        let bench = Bench::new();
        let done = bench.run_small(&["--cores", &cores(), "--strict"]);
        competitor.kill().expect("the competitor is ours");
        competitor.wait().expect("the competitor is ours");
        let reasons = done.void_reasons();
        assert!(
            reasons.iter().any(|reason| reason.contains("other processes")),
            "{reasons:?}\n{}",
            done.said()
        );
        assert_eq!(done.code(), 4, "--strict turns a void block into a failed run: {}", done.said());
    }
}

#[test]
fn a_generator_that_is_too_slow_is_found_out_and_the_broker_is_not_blamed() {
    let _alone = alone();
    three_times("slow generator", || {
        let bench = Bench::new();
        let done = bench.run_small(&["--cores", &cores(), "--slow-generator", "2ms", "--strict"]);
        let reasons = done.void_reasons();
        let late = reasons.iter().any(|reason| reason.contains("the generator was late"));
        if (late || done.sweep_cell()["client_bound"] == true) && done.code() == 4 {
            Ok(())
        } else if reasons.is_empty() {
            Err(Judgement::Wrong(done.said()))
        } else {
            Err(Judgement::Disturbed(reasons.join("; ")))
        }
    });
}

#[test]
fn a_broker_that_claims_to_flush_and_does_not_is_found_by_counting() {
    let _alone = alone();
    let sync = |fault: &[&str]| {
        let bench = Bench::new();
        let file = small(&bench);
        let mut arguments =
            vec!["run", &file, "--subject", "null-broker:pwrite", "--null", "none", "--durability", "sync"];
        arguments.extend_from_slice(fault);
        bench.run(&arguments)
    };
    let honest = sync(&[]);
    assert_eq!(honest.code(), 0, "{}", honest.said());
    let durability = |done: &Finished| done.run()["subjects"][0]["durability"].clone();
    let verified = durability(&honest)["verified"].clone();
    let lying = sync(&["--fault", "skip-fsync"]);
    if verified.is_null() || durability(&lying)["verified"].is_null() {
        // Nothing can be counted here: then the class must read as declared and no more.
        let flags = lying.run()["validity_flags"].to_string();
        assert!(flags.contains("declared, not verified"), "{flags}");
        return;
    }
    assert_eq!(verified, true, "{}", honest.said());
    assert_eq!(durability(&lying)["verified"], false, "{}", lying.said());
    assert_eq!(lying.code(), 4, "{}", lying.said());
    assert!(lying.run()["verdicts"].to_string().contains("NOT VALID"), "{}", lying.run()["verdicts"]);
}

#[test]
fn a_warm_up_until_steady_ends_by_itself_or_says_that_it_did_not() {
    let _alone = alone();
    let bench = Bench::new();
    let path = bench.path("steady.yaml");
    let text = SMALL.replace("{name: warmup, duration: 200ms}", "{name: warmup, until: steady, limit: 9s}");
    std::fs::write(&path, text).expect("a file");
    let done = bench.run(&["run", &path.display().to_string(), "--subject", "null-broker", "--null", "none"]);
    assert_eq!(done.code(), 0, "{}", done.said());
    let cell = done.sweep_cell();
    let block = &done.run()["blocks"][0];
    let warmup_s = block["warmup_s"].as_f64().expect("a time");
    let flagged = cell["flags"].to_string().contains("the warm-up reached its limit");
    // Three seconds are looked at, and the window begins with a whole one.
    assert!(if flagged { warmup_s == 9.0 } else { (4.0..9.0).contains(&warmup_s) }, "{warmup_s} s {flagged}");
    // The schedule of the window is whole wherever it begins.
    assert!(cell["achieved_ratio"].as_f64().is_some_and(|ratio| (0.98..1.02).contains(&ratio)), "{cell}");
    assert_eq!(block["duration_ns"], 1_000_000_000, "{block}");
    assert_eq!(done.run()["verification"]["acked"], done.run()["verification"]["read"]);
}

#[test]
fn a_subject_against_itself_gives_a_floor_and_the_pairs_that_a_claim_needs() {
    let _alone = alone();
    let bench = Bench::new();
    let file = small(&bench);
    let done = bench.run(&[
        "calibrate",
        &file,
        "--pairs",
        "3",
        "--subject",
        "null-broker",
        "--null",
        "none",
        "--duration",
        "500ms",
        "--warmup",
        "100ms",
    ]);
    let comparisons = done.run()["comparisons"].as_array().expect("comparisons");
    if comparisons.is_empty() {
        // All pairs void: then the run must say that it proves nothing.
        assert_eq!(done.code(), 4, "{}", done.said());
        return;
    }
    for comparison in comparisons {
        assert_eq!(comparison["a"], comparison["b"], "{comparison}");
        let claim = comparison["claim"].as_str().expect("a sentence");
        assert!(claim.contains(" pairs, spread ") && claim.contains("a difference of 2 % needs"), "{claim}");
    }
    assert!(bench.path("results").join("calibration.jsonl").is_file());
}

#[test]
fn a_rate_is_found_below_saturation_and_what_fails_above_it_is_named() {
    let _alone = alone();
    let bench = Bench::new();
    let file = small(&bench);
    // Four requests of four records are open at most, and each takes 4 ms: no more than 4,000 records a second.
    let slow = ["--subject", "null-broker", "--fault", "delay:100%:4ms"];
    let short = ["--quick", "--duration", "250ms", "--warmup", "50ms"];
    let done = bench.run(&[&["rate", &file], &slow[..], &short].concat());
    let run = done.run();
    let said = run["verdicts"].to_string();
    // A busy machine may let nothing hold, or end at the generator; then the run says so with its code.
    if said.contains("no rate") || said.contains(">= ") {
        assert_eq!(done.code(), 4, "{}", done.said());
        return;
    }
    assert!(said.contains("sustainable: ") && said.contains("3 blocks"), "{said}");
    let cells = run["cells"].as_array().expect("cells");
    let rate_of = |id: &str| {
        let cell = cells.iter().find(|cell| cell["id"] == id).unwrap_or_else(|| panic!("no cell {id}"));
        cell["offered_records_per_s"].as_f64().or(cell["records_per_s"].as_f64()).expect("a rate")
    };
    assert!(rate_of("load-99") <= 4_100.0, "{said}");
    assert!((rate_of("load-50") * 1.8 - rate_of("load-90")).abs() < 1.0);
    assert!(
        cells.iter().all(|cell| !cell["id"].as_str().unwrap_or_default().starts_with("search")),
        "{said}"
    );
    let trace = std::fs::read_to_string(done.folder().join("logs").join("rate.txt")).expect("a trace");
    assert!(trace.contains("search ") && trace.contains("confirm ") && trace.contains("above "), "{trace}");
}

#[test]
fn storage_engines_are_set_side_by_side_and_each_has_figures_or_a_reason() {
    let _alone = alone();
    let bench = Bench::new();
    let points = ["--files", "1,20", "--blocks", "1Ki,16Ki", "--per-cell", "256Ki"];
    let done = bench.run(&[&["engines"], &points[..]].concat());
    done.expect(0);
    let cells = done.run()["engines"].as_array().expect("engines");
    assert_eq!(cells.len(), 4 * 10, "four points, ten engines");
    for cell in cells {
        let measured = ["bytes_per_s", "cpu_s_per_gb", "append_ns_max", "flushed_bytes_per_s"];
        assert!(measured.iter().all(|name| cell[*name].is_null() != cell["refused"].is_null()), "{cell}");
    }
    let plain =
        cells.iter().filter(|cell| cell["engine"].as_str().is_some_and(|name| name.starts_with("pwrite")));
    assert!(plain.clone().count() == 12 && plain.clone().all(|cell| cell["refused"].is_null()));
    assert!(done.run()["verdicts"].to_string().contains("least CPU per GB"), "{}", done.said());
    let rows = std::fs::read_to_string(done.folder().join("engines.csv")).expect("engines.csv");
    assert_eq!(rows.lines().count(), 41);
    let page = std::fs::read_to_string(done.folder().join("report.html")).expect("a page");
    assert!(page.contains("id=\"engines-1024\"") && page.contains("Storage engines"));
    let left = bench.path("data").read_dir().map_or(0, |entries| entries.count());
    assert_eq!(left, 0, "no file is left behind");
    for bad in [["--files", "0"], ["--files", "10001"], ["--blocks", "1000"], ["--blocks", "2Mi"]] {
        assert_eq!(bench.run(&[&["engines"], &bad[..]].concat()).code(), 2, "{bad:?}");
    }
}

#[test]
fn two_stored_runs_are_set_side_by_side_without_claiming_more_than_they_show() {
    let _alone = alone();
    let bench = Bench::new();
    let one = || {
        let done = bench.run_small(&["--quick", "--repeat", "4"]);
        assert_eq!(done.code(), 0, "{}", done.said());
        done.folder().to_path_buf()
    };
    let (a, b) = (one(), one());
    let stored = |folder: &Path| -> Value {
        let text = std::fs::read_to_string(folder.join("run.json")).expect("a run");
        serde_json::from_str(&text).expect("JSON")
    };
    // Whether the machine was quiet is no matter here, and void blocks do not count.
    let quiet = |folder: &Path| {
        let mut run = stored(folder);
        for block in run["blocks"].as_array_mut().expect("blocks") {
            block["void_reasons"] = serde_json::json!([]);
        }
        std::fs::write(folder.join("run.json"), run.to_string()).expect("a file");
    };
    quiet(&a);
    quiet(&b);
    let diff = |a: &Path, b: &Path| {
        Command::new(RINGDAW).args(["bench", "diff"]).arg(a).arg(b).output().expect("the program starts")
    };
    let done = diff(&a, &b);
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(said.contains("broker_cpu_ns_per_record"), "{said}");
    assert!(!said.contains(" differs"), "without a floor nothing is claimed:\n{said}");
    let other = bench.path("other.json");
    let mut run = stored(&b);
    run["environment"]["machine"]["kernel"] = "1.0".into();
    run["environment"]["fingerprint"] = "other".into();
    std::fs::write(&other, run.to_string()).expect("a file");
    let refused = diff(&a, &other);
    assert_eq!(refused.status.code(), Some(2));
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(why.contains("different machines (kernel") && why.contains("--allow-different"), "{why}");
}

#[test]
fn without_privileges_the_run_passes_and_missing_figures_are_null() {
    let _alone = alone();
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    const NOBODY: u32 = 65_534;
    let bench = Bench::new();
    let file = small(&bench);
    let arguments = ["run", &file, "--subject", "null-broker", "--null", "none"];
    let done = if is_root() {
        // The program and the directory must be reachable for somebody without rights.
        let program = bench.path("program");
        std::fs::copy(RINGDAW, &program).expect("a copy");
        let open = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("our own file");
        };
        open(&program, 0o755);
        open(bench.folder.path(), 0o777);
        let mut command = bench.command(&arguments);
        let mut unprivileged = Command::new(&program);
        unprivileged.args(command.get_args()).uid(NOBODY).gid(NOBODY).current_dir(bench.folder.path());
        match unprivileged.stdin(Stdio::null()).output() {
            Ok(output) if output.status.code() != Some(127) => bench.finished(output),
            // A parent folder is closed to others: then it runs with the rights it has.
            _ => bench.finished(command.stdin(Stdio::null()).output().expect("starts")),
        }
    } else {
        bench.run(&arguments)
    };
    assert_eq!(done.code(), 0, "{}", done.said());
    let machine = &done.run()["environment"]["machine"];
    if machine["pmu"] == false {
        let flags = done.run()["validity_flags"].to_string();
        assert!(flags.contains("no PMU"), "{flags}");
    }
    let cell = done.sweep_cell();
    assert!(cell["broker_cpu_ns_per_record"].is_f64(), "the CPU clock needs no privilege");
    if cell["syscalls_per_request"].is_null() {
        let flags = done.run()["validity_flags"].to_string();
        assert!(flags.contains("not counted"), "{flags}");
    }
}

fn is_root() -> bool {
    std::fs::read_to_string("/proc/self/status")
        .is_ok_and(|status| status.lines().any(|line| line.starts_with("Uid:\t0\t")))
}

#[test]
fn a_delay_of_some_answers_is_read_at_its_quantile_and_nowhere_below() {
    let _alone = alone();
    three_times("delay", || {
        let bench = Bench::new();
        let file = small(&bench);
        let run = |fault: &[&str]| {
            let mut arguments = vec![
                "run",
                &file,
                "--subject",
                "null-broker",
                "--null",
                "none",
                "--duration",
                "4s",
                "--set",
                "producers.steady.count=200",
                "--set",
                "producers.steady.batch_records=1",
                "--set",
                "producers.steady.in_flight=5",
                "--rate",
                "4k/s",
            ];
            arguments.extend_from_slice(fault);
            let done = bench.run(&arguments);
            assert_eq!(done.code(), 0, "{}", done.said());
            done
        };
        let plain = run(&[]);
        let delayed = run(&["--fault", "delay:2%:10ms"]);
        for done in [&plain, &delayed] {
            if !done.void_reasons().is_empty() {
                return Err(Judgement::Disturbed(done.void_reasons().join("; ")));
            }
        }
        let of = |done: &Finished, name: &str| ms(&done.sweep_cell()["produce_response_ns"][name]);
        let (p90, p90_before) = (of(&delayed, "p90"), of(&plain, "p90"));
        let (p99, p50_before) = (of(&delayed, "p99"), of(&plain, "p50"));
        if (p99 - p50_before - 10.0).abs() <= 0.5 && (p90 - p90_before).abs() <= 0.5 {
            Ok(())
        } else {
            Err(Judgement::Wrong(format!(
                "p90 {p90:.2} (was {p90_before:.2}), p99 {p99:.2} (p50 was {p50_before:.2}) ms"
            )))
        }
    });
}

#[test]
fn after_a_kill_the_audit_finds_everything_or_names_what_was_lost() {
    let _alone = alone();
    let bench = Bench::new();
    let first = bench.run_small(&[]);
    assert_eq!(first.code(), 0, "{}", first.said());
    let folder = first.folder().display().to_string();
    let sound = bench.run(&["verify", &folder, "--subject", "ringdaw", "--crash", "kill-9@500ms"]);
    assert_eq!(sound.code(), 0, "process death loses nothing that was acknowledged: {}", sound.said());
    assert!(sound.run()["verification"]["acked"].as_u64().is_some_and(|acked| acked > 0), "{}", sound.said());
    let lossy = bench.run(&[
        "verify",
        &folder,
        "--subject",
        "null-broker:pwrite",
        "--durability",
        "sync",
        "--fault",
        "ack-then-lose",
        "--crash",
        "kill-9@500ms",
    ]);
    assert_eq!(lossy.code(), 3, "{}", lossy.said());
    assert!(lossy.run()["verification"]["lost"].as_u64().is_some_and(|lost| lost > 0), "{}", lossy.said());
}

#[test]
fn kept_topics_are_read_again_and_what_is_gone_from_them_is_missed() {
    let _alone = alone();
    let bench = Bench::new();
    let file = small(&bench);
    let first = bench.run(&["run", &file, "--null", "none", "--keep"]);
    assert_eq!(first.code(), 0, "{}", first.said());
    let folder = first.folder().to_path_buf();
    let run = folder.display().to_string();
    for _ in 0..2 {
        let again = bench.run(&["verify", &run]);
        assert_eq!(again.code(), 0, "{}", again.said());
        let verification = &again.run()["verification"];
        assert_eq!(verification["acked"], first.run()["verification"]["acked"], "{verification}");
        assert_eq!(verification["acked"], verification["read"], "{verification}");
    }
    // More is claimed than was written: the audit misses it.
    let kept = folder.join("kept.json");
    let mut claims: Value =
        serde_json::from_str(&std::fs::read_to_string(&kept).expect("kept.json")).expect("JSON");
    let end = &mut claims["topics"][0]["acknowledged"]["sequences"][0][2];
    *end = (end.as_u64().expect("a number") + 3).into();
    std::fs::write(&kept, claims.to_string()).expect("a file");
    let missed = bench.run(&["verify", &run]);
    assert_eq!(missed.code(), 3, "{}", missed.said());
    assert_eq!(missed.run()["verification"]["lost"], 3 * 4, "three batches of four records");
    let nothing = bench.run(&["run", &file, "--subject", "null-broker", "--null", "none"]);
    let refused = bench.run(&["verify", &nothing.folder().display().to_string()]);
    assert_eq!(refused.code(), 2, "{}", refused.said());
    assert!(refused.said().contains("run it with --keep"), "{}", refused.said());
}

#[test]
fn a_profile_is_drawn_or_the_run_says_why_not() {
    let _alone = alone();
    let bench = Bench::new();
    let file = small(&bench);
    let done = bench.run(&["run", &file, "--null", "none", "--profile"]);
    assert_eq!(done.code(), 0, "{}", done.said());
    let picture = done.folder().join("profile").join("small.svg");
    let flags = done.run()["validity_flags"].to_string();
    assert!(picture.is_file() != flags.contains("no profile: "), "one of both: {flags}");
    if picture.is_file() {
        let drawn = std::fs::read_to_string(&picture).expect("text");
        assert!(drawn.contains("samples</title>"), "{drawn}");
        assert!(picture.with_extension("folded").is_file());
    }
    assert_eq!(done.run()["blocks"].as_array().map(Vec::len), Some(1), "the profiled block is no figure");
}

#[test]
fn a_stock_client_gives_its_opinion_or_the_run_says_why_not() {
    let _alone = alone();
    let bench = Bench::new();
    let file = small(&bench);
    let done = bench.run(&["run", &file, "--null", "none", "--client", "librdkafka"]);
    assert_eq!(done.code(), 0, "{}", done.said());
    let (verdicts, flags) = (done.run()["verdicts"].to_string(), done.run()["validity_flags"].to_string());
    let given = verdicts.contains("librdkafka writes") && verdicts.contains("our generator");
    assert!(given != flags.contains("no second opinion by librdkafka: "), "{verdicts} {flags}");
    assert_eq!(bench.run(&["run", &file, "--client", "nobody"]).code(), 2);
    let elsewhere = bench.run(&["rate", &file, "--client", "librdkafka"]);
    assert!(elsewhere.expect(2).said().contains("bench rate has not"), "{}", elsewhere.said());
}

#[test]
fn an_interrupt_keeps_the_folder_marks_it_and_leaves_no_child_behind() {
    let _alone = alone();
    let bench = Bench::new();
    let file = small(&bench);
    let mut child = bench
        .command(&["run", &file, "--subject", "null-broker", "--null", "none", "--duration", "60s"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    // Wait for the subject, so that there is a child to leave behind.
    let children = format!("/proc/{0}/task/{0}/children", child.id());
    let mut subject = None;
    for _ in 0..600 {
        std::thread::sleep(std::time::Duration::from_millis(50));
        let list = std::fs::read_to_string(&children).unwrap_or_default();
        subject = list.split_whitespace().next().and_then(|pid| pid.parse::<u32>().ok());
        if subject.is_some() && bench.path("results").exists() {
            break;
        }
        assert!(child.try_wait().expect("our child").is_none(), "it ended by itself");
    }
    let subject = subject.expect("the rig started its subject");
    std::thread::sleep(std::time::Duration::from_millis(500));
    process::signal(child.id(), process::Signal::Terminate).expect("our child");
    let output = child.wait_with_output().expect("our child");
    let done = bench.finished(output);
    assert_eq!(done.code(), 130, "{}", done.said());
    assert_eq!(done.run()["exit_code"], 130);
    assert!(done.run()["verdicts"].to_string().contains("INTERRUPTED"), "{}", done.run()["verdicts"]);
    let stat = std::fs::read_to_string(format!("/proc/{subject}/stat")).unwrap_or_default();
    assert!(!stat.contains("(ringdaw)"), "the subject is still there: {stat}");
}
