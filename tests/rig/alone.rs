//! What is judged by time: one test at a time, and none of the others beside it.

use std::process::{Command, Stdio};

use ringdaw::reactor::{pin, process};
use serde_json::Value;

use crate::outside;
use crate::outside::bench::{Finished, SMALL};
use crate::{Bench, Judgement, SHORT, alone, cores, ms, small, three_times};

#[test]
fn a_pause_of_the_subject_stands_in_the_percentiles_as_arithmetic_says() {
    let _turn = alone();
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
        let done = bench.run(&[
            "run",
            "@stall",
            "--subject",
            "null-broker",
            "--null",
            "none",
            "--quick",
            "--duration",
            "10s",
            "--cores",
            &cores(),
        ]);
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

#[test]
fn the_closed_loop_hides_the_same_pause_from_all_but_the_maximum() {
    let _turn = alone();
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
            "--quick",
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
fn a_competitor_on_either_core_makes_the_block_void_and_never_a_slow_broker() {
    let _turn = alone();
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

/// Takes the broker's core as a kernel thread does: nobody gets it back for some 50 ms, three times a second. It counts
/// instead of looking at the time, and ends by itself: whatever would have to stop it could wait for its core.
fn hog(core: usize) -> std::process::Child {
    const SCRIPT: &str = "n=0; while [ $n -lt 20 ]; do n=$((n+1)); \
                          i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done; sleep 0.3; done";
    let mut command = Command::new("chrt");
    command.args(["--fifo", "1", "sh", "-c", SCRIPT]).stdin(Stdio::null());
    process::isolate(&mut command, &[core]);
    command.spawn().expect("chrt is there: it was looked for")
}

/// Whether this machine lets us run before everything else on a core.
fn may_hog() -> bool {
    let mut trial = Command::new("chrt");
    trial.args(["--fifo", "1", "true"]).stdout(Stdio::null()).stderr(Stdio::null());
    outside::is_root() && trial.status().is_ok_and(|status| status.success())
}

#[test]
fn what_takes_the_brokers_core_is_drawn_counted_and_named_where_it_explains_p99() {
    let _turn = alone();
    if !may_hog() {
        outside::skip(
            "rig, a taken core",
            "real-time priority is refused: nothing can hold a core as the kernel does",
        );
        return;
    }
    three_times("core taken", || {
        let bench = Bench::new();
        let mut hog = hog(pin::usable_cores()[0]);
        let done = bench.run_small(&["--cores", &cores(), "--duration", "3s"]);
        // It may have ended by itself.
        let _ = hog.kill();
        hog.wait().expect("the hog is ours");
        assert_eq!(done.code(), 0, "a core that is taken voids no run by itself: {}", done.said());
        let cell = done.sweep_cell();
        let (sum, max) = (cell["core_wait_ns"].as_u64(), cell["core_wait_ns_max"].as_u64());
        assert!(sum.zip(max).is_some_and(|(sum, max)| sum >= max && max > 0), "{cell}");
        let marks = done.run()["blocks"][0]["marks"].as_array().expect("marks");
        let stretches: Vec<&Value> = marks.iter().filter(|mark| mark["kind"] == "core-wait").collect();
        assert!(stretches.iter().all(|mark| mark["duration_ns"].as_u64() >= Some(1_000_000)), "{marks:?}");
        let said = done.said();
        assert!(said.contains("others had its core"), "a column of the table: {said}");
        let page = std::fs::read_to_string(done.folder().join("report.html")).expect("a page");
        assert_eq!(page.contains("class=\"taken\""), !stretches.is_empty());
        let flags = cell["flags"].to_string();
        if !stretches.is_empty() && flags.contains("is explained by others on the broker's core") {
            return Ok(());
        }
        let why =
            format!("{} stretches, {flags}, p99 {}", stretches.len(), cell["produce_response_ns"]["p99"]);
        match done.void_reasons().into_iter().find(|reason| !reason.contains("other processes")) {
            Some(reason) => Err(Judgement::Disturbed(format!("{reason}: {why}"))),
            None => Err(Judgement::Wrong(why)),
        }
    });
}

#[test]
fn a_generator_that_is_too_slow_is_found_out_and_the_broker_is_not_blamed() {
    let _turn = alone();
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
    let _turn = alone();
    let sync = |fault: &[&str]| {
        let bench = Bench::new();
        let file = small(&bench);
        let mut arguments =
            vec!["run", &file, "--subject", "null-broker:pwrite", "--null", "none", "--durability", "sync"];
        arguments.extend_from_slice(SHORT);
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
    let _turn = alone();
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
fn a_rate_is_found_below_saturation_and_what_fails_above_it_is_named() {
    let _turn = alone();
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
fn a_delay_of_some_answers_is_read_at_its_quantile_and_nowhere_below() {
    let _turn = alone();
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
                "--quick",
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
