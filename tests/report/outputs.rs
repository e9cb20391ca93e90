//! Every output follows from `run.json` alone, byte for byte, and names nothing outside itself.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use ringdaw::report::folder::{Folder, Form, rebuild, report};
use ringdaw::report::run::{Anomaly, Cell, Comparison, Loop, Plan, Role, Run};
use ringdaw::report::{csv, page, picture, table};

use crate::synthetic;

fn written(run: &Run, results: &Path) -> PathBuf {
    let mut plan = Plan { kind: run.kind.clone(), seed: run.seed, ..Plan::default() };
    let folder =
        Folder::create(results, &mut plan, UNIX_EPOCH + Duration::from_secs(1_788_444_306)).expect("created");
    folder.finish(run).expect("written");
    folder.path().to_owned()
}

fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(&directory).expect("readable") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                waiting.push(path);
            } else {
                found.insert(
                    path.strip_prefix(folder).expect("inside").to_owned(),
                    fs::read(&path).expect("read"),
                );
            }
        }
    }
    found
}

#[test]
fn rebuilding_from_the_stored_run_gives_every_file_again_byte_for_byte() {
    let results = tempfile::tempdir().expect("a directory");
    let folder = written(&synthetic::bench(), results.path());
    let before = files(&folder);
    for name in
        ["plan.json", "run.json", "cells.csv", "series.csv", "report.html", "config/ringdaw.properties"]
    {
        assert!(before.contains_key(Path::new(name)), "{name} is missing");
    }
    assert!(before.contains_key(Path::new("hdr/rate-16-ringdaw-produce_response_ns.hlog")));
    for name in before.keys().filter(|name| !name.ends_with("run.json") && !name.ends_with("plan.json")) {
        fs::remove_file(folder.join(name)).expect("removed");
    }
    let run = rebuild(&folder).expect("rebuilt");
    assert_eq!(run, synthetic::bench());
    let after = files(&folder);
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
    for (name, bytes) in &before {
        assert!(bytes == &after[name], "{} differs", name.display());
    }
}

#[test]
fn the_page_of_the_stored_run_has_not_changed_unnoticed() {
    // The stored run is small and never regenerated: it stands for runs that people keep.
    let stored = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/report/stored/run.json");
    let run = Run::read(&stored).expect("readable");
    assert_eq!(
        run.to_json(),
        fs::read_to_string(&stored).expect("readable"),
        "reading and writing changed it"
    );
    assert_eq!(csv::cells(&run), fs::read_to_string(stored.with_file_name("cells.csv")).expect("readable"));
    assert_eq!(csv::series(&run), fs::read_to_string(stored.with_file_name("series.csv")).expect("readable"));
    assert_eq!(page::html(&run, &stored).expect("drawn"), page::html(&run, &stored).expect("drawn"));
}

#[test]
fn nothing_on_the_page_or_in_a_picture_points_outside() {
    let run = synthetic::bench();
    let source = Path::new("run.json");
    let mut texts = vec![("page".to_owned(), page::html(&run, source).expect("drawn"))];
    texts.extend(picture::all(&run, source).expect("drawn"));
    assert!(texts.len() > 20, "pictures are missing: {}", texts.len());
    for (name, text) in texts {
        // The name of the SVG language is a name, not an address: no browser fetches it.
        let text = text.replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
        for sign in ["http:", "https:", "//", "url(", "@import", "<link rel=\"stylesheet", "src=", "<iframe"]
        {
            assert!(!text.contains(sign), "{name} contains {sign}");
        }
    }
}

#[test]
fn the_page_forbids_itself_every_address() {
    let html = page::html(&synthetic::bench(), Path::new("run.json")).expect("drawn");
    assert!(
        html.contains("Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'")
    );
}

#[test]
fn every_picture_names_its_unit_and_durability_class() {
    let source = Path::new("run.json");
    let mut pictures = picture::pictures(&synthetic::bench(), source).expect("drawn");
    pictures.extend(picture::pictures(&synthetic::matrix(), source).expect("drawn"));
    for picture in pictures {
        assert!(picture.title.ends_with("(page-cache)"), "{}", picture.title);
        let unit = ["records/s", "ms", "ns", "%", "MB/s", "MiB", "count"];
        let timeline = picture.name.starts_with("timeline-"); // five strips, each with its own unit beside it
        assert!(timeline || unit.iter().any(|unit| picture.title.contains(unit)), "{}", picture.title);
        assert!(!picture.rows.is_empty(), "{} has no figures", picture.name);
        assert!(picture.rows.iter().all(|row| row.len() == picture.head.len()), "{}", picture.name);
    }
}

#[test]
fn pictures_have_names_of_their_own() {
    let pictures = picture::pictures(&synthetic::matrix(), Path::new("run.json")).expect("drawn");
    let mut names: Vec<_> = pictures.iter().map(|picture| &picture.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), pictures.len());
}

#[test]
fn a_large_sweep_stays_below_five_megabytes() {
    let counts: Vec<u64> = (0..60).map(|i| 1 + i * 17).collect();
    let html = page::html(&synthetic::sweep(&counts, 20), Path::new("run.json")).expect("drawn");
    assert!(html.len() < 5_000_000, "{} bytes", html.len());
}

#[test]
fn an_empty_run_still_makes_a_page_a_table_and_valid_csv() {
    let run = Run { kind: "bench".into(), ..Run::default() };
    let html = page::html(&run, Path::new("run.json")).expect("drawn");
    assert!(html.contains("Unverified"));
    assert!(html.contains("not finished"));
    assert!(table::terminal(&run, None).contains("UNVERIFIED"));
    assert_eq!(csv::cells(&run).lines().count(), 1);
}

#[test]
fn a_run_of_limits_alone_shows_them() {
    let run = Run { kind: "limits".into(), limits: synthetic::bench().limits, ..Run::default() };
    let html = page::html(&run, Path::new("run.json")).expect("drawn");
    assert!(html.contains("id=\"roofs\"") && html.contains("loopback-ping-pong"));
    assert!(table::terminal(&run, None).contains("limit     memcpy, 1 GiB"));
}

#[test]
fn a_failed_audit_takes_the_throughput_off_every_output() {
    let mut run = synthetic::bench();
    let cell = run.cells.iter_mut().find(|cell| cell.id == "sat-16").expect("there");
    let shown = cell.records_per_s.expect("measured");
    cell.verification.lost = Some(3);
    let anomaly = Anomaly {
        kind: "lost-write".into(),
        topic: Some("<t>".into()),
        partition: Some(7),
        offset: Some(99),
        ..Anomaly::default()
    };
    cell.verification.first_anomalies.push(anomaly.clone());
    run.verification.lost = Some(3);
    run.verification.first_anomalies.push(anomaly);
    let text = table::terminal(&run, None);
    assert!(text.contains("FAIL: 3 anomalies"), "{text}");
    assert!(text.contains("lost-write: <t>, partition 7, offset 99"), "{text}");
    let html = page::html(&run, Path::new("run.json")).expect("drawn");
    assert!(html.contains("class=\"verdict bad\""));
    assert!(html.contains("&lt;t&gt;") && !html.contains("<t>"));
    let digits = format!("{shown:.0}");
    assert!(!html.contains(&digits) && !text.contains(&digits));
    assert!(!csv::cells(&run).contains(&format!("sat-16,,ringdaw,records_per_s,1/s,{shown}")));
}

#[test]
fn an_interval_over_blocks_is_drawn_as_a_band_and_said_in_words() {
    let mut run = synthetic::bench();
    let without = picture::pictures(&run, Path::new("run.json")).expect("drawn");
    let bands = |pictures: &[picture::Picture]| pictures[0].inline().matches("band f").count();
    assert_eq!((without[0].name.as_str(), bands(&without)), ("throughput", 0));
    for cell in ["sat-1", "sat-16"] {
        run.comparisons.push(Comparison {
            metric: "records_per_s".into(),
            cell: cell.into(),
            ci_low: Some(1.0e6),
            ci_high: Some(1.2e6),
            claim: Some(format!("{cell}: 1.1 M records/s [1 M, 1.2 M], 5 blocks")),
            ..Comparison::default()
        });
    }
    assert_eq!(bands(&picture::pictures(&run, Path::new("run.json")).expect("drawn")), 1);
    assert!(table::terminal(&run, None).contains("[1 M, 1.2 M], 5 blocks"));
}

#[test]
fn the_terminal_table_has_the_columns_in_line_and_a_row_per_partition_count() {
    let text = table::terminal(&synthetic::bench(), Some(Path::new("results/x/report.html")));
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].contains("at saturation"), "{text}");
    assert!(lines[0].contains("at 210 k records/s: produce ms"), "{text}");
    assert!(lines[1].starts_with("partitions"), "{text}");
    let end =
        |line: &str, part: &str| line.find(part).map(|at| line[..at].chars().count() + part.chars().count());
    let column = end(lines[1], "records/s").expect("a column");
    for (line, partitions) in lines[2..6].iter().zip(["1", "16", "128", "1,024"]) {
        assert!(line.trim_start().starts_with(partitions), "{line}");
        let upto: String = line.chars().take(column).collect();
        assert!(upto.ends_with(|c: char| c.is_ascii_digit()), "{upto}|");
        let next = line.chars().nth(column);
        assert_eq!(next, Some(' '), "{line}");
    }
    assert!(lines[0].contains("others had its core"), "{text}");
    assert!(text.contains("drift"));
    assert!(text.trim_end().ends_with("results/x/report.html"));
}

#[test]
fn markdown_and_csv_of_several_runs_follow_each_other() {
    let results = tempfile::tempdir().expect("a directory");
    let folders =
        [written(&synthetic::bench(), results.path()), written(&synthetic::sweep(&[4], 2), results.path())];
    let text = report(&folders, &Form::Csv).expect("printed");
    assert_eq!(text.matches("run,cell,block").count(), 1);
    let text = report(&folders, &Form::Markdown).expect("printed");
    assert_eq!(text.matches("## bench").count(), 2);
    let svg = results.path().join("svg");
    let listed = report(&folders[..1], &Form::Svg(svg.clone())).expect("printed");
    assert!(svg.join("headline.svg").is_file());
    assert!(listed.lines().all(|line| Path::new(line).is_file()));
    let table = report(&[folders[0].join("run.json")], &Form::Rebuild).expect("printed");
    assert!(table.contains("at saturation"));
}

#[test]
fn the_interval_log_and_the_percentile_text_can_be_read_by_others() {
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
    let results = tempfile::tempdir().expect("a directory");
    let folder = written(&synthetic::bench(), results.path());
    let log = fs::read(folder.join("hdr/rate-1-ringdaw-produce_response_ns.hlog")).expect("readable");
    let mut intervals = 0;
    for entry in IntervalLogIterator::new(&log) {
        if let LogEntry::Interval(interval) = entry.expect("valid") {
            assert_eq!(interval.tag().map(|tag| tag.as_str().to_owned()), Some("ringdaw".to_owned()));
            intervals += 1;
        }
    }
    assert_eq!(intervals, 6, "one per measured second");
    let text =
        fs::read_to_string(folder.join("hdr/rate-1-ringdaw-produce_response_ns.hgrm")).expect("readable");
    assert!(text.contains("1/(1-Percentile)") && text.contains("#[Max"));
}

#[test]
fn a_damaged_run_is_refused_with_its_path_and_the_reason() {
    let results = tempfile::tempdir().expect("a directory");
    let path = results.path().join("run.json");
    fs::write(&path, "{\"schema\": 1, \"cells\": [").expect("written");
    let error = rebuild(results.path()).expect_err("refused").to_string();
    assert!(error.contains("run.json") && error.contains("not a run of the rig"), "{error}");
    fs::remove_file(&path).expect("removed");
    assert!(rebuild(results.path()).expect_err("refused").to_string().contains("run.json"));
    let mut run = synthetic::sweep(&[4], 1);
    run.blocks[0].histograms[0].hdr_v2_deflate = "AAAA".into();
    fs::write(&path, run.to_json()).expect("written");
    let error = rebuild(results.path()).expect_err("refused").to_string();
    assert!(error.contains("sat-4") && error.contains("produce_service_ns"), "{error}");
}

#[test]
fn a_name_that_is_markup_stays_text_everywhere() {
    let mut run = synthetic::sweep(&[4], 1);
    let evil = "</script><script>alert(1)</script>";
    run.subjects[0].config = Some(evil.into());
    run.validity_flags.push(evil.into());
    run.command.push(evil.into());
    run.cells.push(Cell {
        id: evil.into(),
        subject: evil.into(),
        role: Role::Sweep,
        loop_kind: Loop::Closed,
        flags: vec![evil.into()],
        records_per_s: Some(1.0),
        ..Cell::default()
    });
    let html = page::html(&run, Path::new("run.json")).expect("drawn");
    assert_eq!(html.matches("<script>").count(), 1);
    for (name, svg) in picture::all(&run, Path::new("run.json")).expect("drawn") {
        assert!(!svg.contains("<script"), "{name}");
    }
}

#[test]
#[ignore = "writes a folder for people to look at: target/tmp/look"]
fn a_run_to_look_at() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("look");
    fs::create_dir_all(&folder).expect("made");
    fs::write(folder.join("run.json"), synthetic::bench().to_json()).expect("written");
    println!("{}", report(std::slice::from_ref(&folder), &Form::Rebuild).expect("rebuilt"));
    report(std::slice::from_ref(&folder), &Form::Svg(folder.join("svg"))).expect("drawn");
    let small = folder.join("small");
    fs::create_dir_all(&small).expect("made");
    fs::write(small.join("run.json"), synthetic::sweep(&[1, 16], 2).to_json()).expect("written");
    rebuild(&small).expect("rebuilt");
    let matrix = folder.join("matrix");
    fs::create_dir_all(&matrix).expect("made");
    fs::write(matrix.join("run.json"), synthetic::matrix().to_json()).expect("written");
    println!("{}", report(&[matrix], &Form::Rebuild).expect("rebuilt"));
}
