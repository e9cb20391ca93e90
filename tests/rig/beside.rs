//! What is judged by what a run says and leaves, however long it took: these run beside each other.

use std::path::Path;
use std::process::{Command, Stdio};

use ringdaw::reactor::process;
use serde_json::Value;

use crate::outside;
use crate::outside::bench::{Finished, SMALL};
use crate::{Bench, RINGDAW, SHORT, beside_others, small};

#[test]
fn every_planted_anomaly_is_found_and_ends_with_code_3() {
    let _turn = beside_others();
    let planted = [
        ("drop", &["lost-write", "poll-skip"][..]),
        ("duplicate", &["duplicate"]),
        ("reorder", &["reordered"]),
        ("wrong-offset", &["wrong-offset"]),
        ("corrupt", &["corrupt"]),
    ];
    // All at once: what is found does not depend on how fast.
    let running = planted.map(|(fault, kinds)| {
        let bench = Bench::new();
        let mut command = bench.command_small(&["--fault", fault]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().expect("the program starts");
        (fault, kinds, bench, child)
    });
    for (fault, kinds, bench, child) in running {
        let done = bench.finished(child.wait_with_output().expect("our child"));
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
    let _turn = beside_others();
    let bench = Bench::new();
    let file = small(&bench);
    let done = bench.run(&[&["run", &file, "--subject", "null-broker"], SHORT].concat());
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
    let _turn = beside_others();
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
    let _turn = beside_others();
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
fn a_subject_against_itself_gives_a_floor_and_the_pairs_that_a_claim_needs() {
    let _turn = beside_others();
    let bench = Bench::new();
    let file = small(&bench);
    let done = bench.run(&[
        "calibrate",
        &file,
        "--quick",
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
fn storage_engines_are_set_side_by_side_and_each_has_figures_or_a_reason() {
    let _turn = beside_others();
    let bench = Bench::new();
    let points = ["--quick", "--files", "1,20", "--blocks", "1Ki,16Ki", "--per-cell", "256Ki"];
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
    let _turn = beside_others();
    let bench = Bench::new();
    let one = || {
        let done = bench.run_small(&["--duration", "500ms", "--repeat", "4"]);
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
    let _turn = beside_others();
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    const NOBODY: u32 = 65_534;
    let bench = Bench::new();
    let file = small(&bench);
    let arguments = [&["run", &file, "--subject", "null-broker", "--null", "none"], SHORT].concat();
    let done = if outside::is_root() {
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

#[test]
fn after_a_kill_the_audit_finds_everything_or_names_what_was_lost() {
    let _turn = beside_others();
    let bench = Bench::new();
    let first = bench.run_small(&[]);
    assert_eq!(first.code(), 0, "{}", first.said());
    let folder = first.folder().display().to_string();
    let sound = bench.run(&["verify", &folder, "--subject", "ringdaw", "--quick", "--crash", "kill-9@500ms"]);
    assert_eq!(sound.code(), 0, "process death loses nothing that was acknowledged: {}", sound.said());
    assert!(sound.run()["verification"]["acked"].as_u64().is_some_and(|acked| acked > 0), "{}", sound.said());
    let lossy = bench.run(&[
        "verify",
        &folder,
        "--quick",
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
    let _turn = beside_others();
    let bench = Bench::new();
    let file = small(&bench);
    let first = bench.run(&[&["run", &file, "--null", "none", "--keep"], SHORT].concat());
    assert_eq!(first.code(), 0, "{}", first.said());
    let folder = first.folder().to_path_buf();
    let run = folder.display().to_string();
    for _ in 0..2 {
        let again = bench.run(&["verify", &run, "--quick"]);
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
    let missed = bench.run(&["verify", &run, "--quick"]);
    assert_eq!(missed.code(), 3, "{}", missed.said());
    assert_eq!(missed.run()["verification"]["lost"], 3 * 4, "three batches of four records");
    let nothing = bench.run_small(&[]);
    let refused = bench.run(&["verify", &nothing.folder().display().to_string()]);
    assert_eq!(refused.code(), 2, "{}", refused.said());
    assert!(refused.said().contains("run it with --keep"), "{}", refused.said());
}

#[test]
fn a_profile_is_drawn_or_the_run_says_why_not() {
    let _turn = beside_others();
    let bench = Bench::new();
    let file = small(&bench);
    let done = bench.run(&[&["run", &file, "--null", "none", "--profile"], SHORT].concat());
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
    let _turn = beside_others();
    let bench = Bench::new();
    let file = small(&bench);
    let done = bench.run(&[&["run", &file, "--null", "none", "--client", "librdkafka"], SHORT].concat());
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
    let _turn = beside_others();
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

/// A workload of the library in its shortest form, with whatever makes it shorter still.
fn short_run(bench: &Bench, name: &str, more: &[&str]) -> Finished {
    let mut arguments = vec!["run", name, "--null", "none", "--quick"];
    for (option, value) in [("--warmup", "500ms"), ("--duration", "1500ms")] {
        if !more.contains(&option) {
            arguments.extend([option, value]);
        }
    }
    let done = bench.run(&[&arguments, more].concat());
    done.expect(0);
    let verification = &done.run()["verification"];
    assert_eq!(verification["acked"], verification["read"], "{name}: {verification}");
    assert!(verification["acked"].as_u64().is_some_and(|acked| acked > 0), "{name}: {verification}");
    done
}

/// One parameter of each point of the sweep, rising.
fn points(done: &Finished, parameter: &str) -> Vec<u64> {
    let cells = done.run()["cells"].as_array().expect("cells");
    let of_sweep = cells.iter().filter(|cell| cell["role"] == "sweep");
    let mut found: Vec<u64> = of_sweep.filter_map(|cell| cell["parameters"][parameter].as_u64()).collect();
    found.sort_unstable();
    found.dedup();
    found
}

fn marks(done: &Finished, kind: &str) -> Vec<String> {
    let blocks = done.run()["blocks"].as_array().expect("blocks");
    let marks = blocks.iter().flat_map(|block| block["marks"].as_array().cloned().unwrap_or_default());
    let of_kind = marks.filter(|mark| mark["kind"] == kind);
    of_kind.map(|mark| mark["text"].as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn rolls_and_removed_segments_stand_as_marks_beside_the_latency() {
    let _turn = beside_others();
    let small = "topics.rolled.config={segment.bytes: 1Mi}";
    let done = short_run(&Bench::new(), "@roll", &["--set", small, "--rate", "10k/s"]);
    let rolls = marks(&done, "roll");
    assert!(
        !rolls.is_empty() && rolls.iter().all(|text| text.contains("began within the second")),
        "{rolls:?}"
    );
    assert!(marks(&done, "retention").is_empty(), "nothing is too old here");
    let small =
        "topics.kept-short.config={segment.bytes: 1Mi, retention.bytes: 1Mi, file.delete.delay.ms: 0}";
    let bench = Bench::new();
    let done = short_run(&bench, "@retention", &["--set", small, "--rate", "10k/s", "--duration", "4s"]);
    assert!(!marks(&done, "retention").is_empty(), "{}", done.said());
    let page = std::fs::read_to_string(done.folder().join("report.html")).expect("a page");
    assert!(page.contains("removed within the second"), "the page says what happened");
}

#[test]
fn dirty_memory_is_followed_second_by_second_while_it_fills() {
    let _turn = beside_others();
    let bench = Bench::new();
    let done = short_run(&bench, "@writeback", &["--rate", "20k/s"]);
    let series = done.run()["blocks"][0]["series"].as_array().expect("seconds");
    assert!(series.iter().all(|second| second["dirty_bytes"].is_u64()), "{series:?}");
    let page = std::fs::read_to_string(done.folder().join("report.html")).expect("a page");
    assert!(page.contains("dirty, MiB"), "the strip of dirty memory is drawn");
}

#[test]
fn each_workload_of_the_library_varies_what_it_is_about() {
    let _turn = beside_others();
    let ends = |axis: &str, values: &str| format!("sweep={{{axis}: [{values}], order: listed}}");
    let producers = ends("producers.steady.count", "1, 100");
    let done = short_run(
        &Bench::new(),
        "@many-producers",
        &["--duration", "1s", "--rate", "4k/s", "--set", &producers],
    );
    assert_eq!(points(&done, "producers"), [1, 100]);
    let batches = ends("producers.steady.batch_records", "1, 64");
    let done = short_run(
        &Bench::new(),
        "@small-batches",
        &["--duration", "1s", "--set", &batches, "--bytes", "4MiB"],
    );
    assert_eq!((points(&done, "batch_records"), points(&done, "producers")), (vec![1, 64], vec![200]));
    assert_eq!(points(&done, "record_bytes"), [100]);
    let idle = ends("topics.idle.partitions", "1, 500");
    let done = short_run(&Bench::new(), "@idle", &["--duration", "1s", "--rate", "4k/s", "--set", &idle]);
    let cells = done.run()["cells"].as_array().expect("cells");
    assert!(cells.iter().all(|cell| cell["rss_bytes"].is_u64() && cell["parameters"]["topics"] == 2));
    let idle: Vec<&Value> =
        cells.iter().map(|cell| &cell["parameters"]["more"]["topics.idle.partitions"]).collect();
    assert_eq!(idle, ["1", "500"]);
}

#[test]
fn the_class_sync_runs_at_few_and_many_partitions_and_is_verified_or_said_not_to_be() {
    let _turn = beside_others();
    let ends = "sweep={topics.flushed.partitions: [1, 200], order: listed}";
    let done = short_run(&Bench::new(), "@sync", &["--duration", "1s", "--set", ends]);
    assert_eq!(points(&done, "partitions"), [1, 200]);
    let durability = &done.run()["subjects"][0]["durability"];
    assert_eq!(durability["class"], "sync");
    let flags = done.run()["validity_flags"].to_string();
    assert!(
        durability["verified"] == true || flags.contains("declared, not verified"),
        "{durability} {flags}"
    );
}

#[test]
fn history_is_read_from_a_cold_disk_beside_the_tail_and_stands_in_no_latency() {
    let _turn = beside_others();
    let done = short_run(&Bench::new(), "@tail+history", &["--warmup", "2s", "--rate", "10k/s"]);
    let cells = done.run()["cells"].as_array().expect("cells");
    let [alone, beside] = &cells[..] else { panic!("two cells\n{}", done.said()) };
    // Who is not called reads after the window, so that every group sees everything.
    assert_eq!(alone["catch_up_records_per_s"], 0.0, "{alone}");
    let rate = |cell: &Value, name: &str| cell[name].as_f64().unwrap_or_default();
    assert!(rate(beside, "catch_up_records_per_s") > 0.0, "{beside}");
    for cell in [alone, beside] {
        // Two seconds of history lie there: a latency that had it would say so. Requests are counted, of one group.
        let (produced, read) = (&cell["produce_response_ns"]["count"], &cell["e2e_response_ns"]["count"]);
        assert_eq!(produced, read, "{cell}");
    }
    let evicted = marks(&done, "evict");
    assert_eq!(evicted.len(), 2, "each cell begins cold: {evicted:?}");
    let proved = |text: &String| text.contains("are left in memory") || text.contains("not proved");
    assert!(evicted.iter().all(proved), "{evicted:?}");
}
