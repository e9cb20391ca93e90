//! The generator against the null broker, live: what is right passes, and each planted fault is found and named.
//!
//! No test here depends on how fast the machine is: they count records and anomalies, not time.

use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use ringdaw::load::null_broker::{NullBroker, Options};
use ringdaw::load::{self, Acks, AnomalyKind, Arrivals, Ended, Outcome, Phase, Plan, Progress, VerifyMode};

/// A null broker on a thread of its own; it ends with its owner.
struct Subject {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Subject {
    fn start(directory: &Path, variant: &str, faults: &[&str]) -> Subject {
        Subject::start_on(directory, variant, faults, None)
    }

    fn start_on(directory: &Path, variant: &str, faults: &[&str], core: Option<usize>) -> Subject {
        let options = Options {
            port: 0,
            data_dir: directory.to_owned(),
            variant: variant.parse().unwrap(),
            core,
            sync: false,
            fault: faults.iter().map(|fault| fault.parse().unwrap()).collect(),
            seed: 1,
        };
        let broker = NullBroker::bind(options).unwrap();
        let address = broker.address();
        let stop = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stop);
        let thread = std::thread::spawn(move || broker.serve(&flag).unwrap());
        Subject { address, stop, thread: Some(thread) }
    }

    fn stop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        self.stop();
    }
}

fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn plan(subject: &Subject) -> Plan {
    let mut plan = Plan { address: subject.address, ..Plan::default() };
    plan.warmup = Duration::from_millis(100);
    plan.duration = Duration::from_millis(400);
    plan.consumers.max_wait = Duration::from_millis(50);
    plan.producers.record_bytes = 200;
    plan
}

fn go(plan: &Plan) -> Outcome {
    load::run(plan, |_| ControlFlow::Continue(())).unwrap()
}

fn passed(outcome: &Outcome) {
    assert_eq!(outcome.ended, Ended::Completed);
    assert!(outcome.verification.passed(), "{:?}", outcome.verification);
    assert!(outcome.verification.acked > 0);
    assert_eq!(outcome.verification.read, outcome.verification.acked + outcome.verification.unacked_seen);
    assert!(outcome.counts.errors.is_empty(), "{:?}", outcome.counts.errors);
}

#[test]
fn a_closed_loop_over_one_partition_arrives_whole() {
    let directory = directory();
    let subject = Subject::start(directory.path(), "sendfile+crc", &[]);
    let outcome = go(&plan(&subject));
    passed(&outcome);
    let counts = &outcome.counts;
    assert_eq!(counts.records_per_request(), Some(16.0));
    assert_eq!(counts.offered_records, None);
    assert_eq!(outcome.produce_response.len(), 0, "a closed loop has no response time");
    assert!(!outcome.produce_service.is_empty() && !outcome.e2e_service.is_empty());
    assert!(counts.acked_records > 0 && counts.consumed_records > 0 && counts.fetches > 0);
    assert!(outcome.series.iter().any(|second| second.phase == Phase::Warmup));
    assert!(outcome.generator.turns > 0 && outcome.generator.turn_ns_max > 0);
}

#[test]
fn an_open_loop_over_many_partitions_offers_what_its_schedule_says() {
    let directory = directory();
    let subject = Subject::start(directory.path(), "sendfile+crc", &[]);
    let mut plan = plan(&subject);
    plan.topic.partitions = 100;
    plan.producers.arrivals = Arrivals::Constant { records_per_s: 16_000.0 };
    plan.producers.batches_per_request = 2;
    plan.producers.idempotent = true;
    plan.consumers.connections = 3;
    let mut phases = Vec::new();
    let outcome = load::run(&plan, |progress| {
        if let Progress::Phase { phase, .. } = progress {
            phases.push(phase);
        }
        ControlFlow::Continue(())
    })
    .unwrap();
    passed(&outcome);
    assert_eq!(phases, [Phase::Prepare, Phase::Warmup, Phase::Measure, Phase::Drain]);
    // 0.4 s at 500 requests of 32 records.
    assert_eq!(outcome.counts.offered_records, Some(6_400));
    assert_eq!(outcome.produce_response.len(), 200);
    assert_eq!(outcome.schedule_lag.len(), 200);
    assert_eq!(outcome.verification.acked, 8_000, "warm-up and window, whatever the machine does");
}

#[test]
fn two_groups_and_two_workers_see_the_same_log() {
    let directory = directory();
    let subject = Subject::start(directory.path(), "sendfile", &[]);
    let mut plan = plan(&subject);
    plan.topic.partitions = 7;
    plan.consumers.groups = 2;
    plan.consumers.connections = 2;
    plan.cores = vec![0, 1];
    let outcome = go(&plan);
    passed(&outcome);
    assert_eq!(outcome.generator.workers, 2);
}

#[test]
fn what_nobody_read_during_the_run_is_read_afterwards() {
    let directory = directory();
    let subject = Subject::start(directory.path(), "pwrite+crc", &[]);
    let mut plan = plan(&subject);
    plan.topic.partitions = 5;
    plan.consumers.connections = 0;
    passed(&go(&plan));
}

#[test]
fn without_acknowledgements_everything_sent_is_seen_once() {
    let directory = directory();
    let subject = Subject::start(directory.path(), "sendfile", &[]);
    let mut plan = plan(&subject);
    plan.producers.acks = Acks::None;
    plan.producers.arrivals = Arrivals::Constant { records_per_s: 16_000.0 };
    let outcome = go(&plan);
    assert!(outcome.verification.passed(), "{:?}", outcome.verification);
    assert_eq!((outcome.verification.acked, outcome.verification.unacked_seen), (0, 8_000));
}

#[test]
fn samples_and_no_verification_say_so() {
    let directory = directory();
    let subject = Subject::start(directory.path(), "sendfile", &[]);
    let mut sampled = plan(&subject);
    sampled.verify = VerifyMode::Sampled(64);
    let outcome = go(&sampled);
    passed(&outcome);
    assert_eq!(outcome.verification.mode, "sampled:1/64");
    let discard = Subject::start(directory.path(), "discard+crc", &[]);
    let mut unverified = plan(&discard);
    unverified.verify = VerifyMode::None;
    unverified.consumers.connections = 0;
    let outcome = go(&unverified);
    assert_eq!((outcome.verification.mode.as_str(), outcome.verification.acked), ("none", 0));
    assert!(outcome.counts.acked_records > 0);
}

#[test]
fn each_planted_fault_is_found_with_its_partition_and_sequence() {
    for (fault, kind) in [
        ("drop:40", AnomalyKind::LostWrite),
        ("duplicate:40", AnomalyKind::Duplicate),
        ("reorder:40", AnomalyKind::Reordered),
        ("wrong-offset:40", AnomalyKind::WrongOffset),
        ("corrupt:40", AnomalyKind::Corrupt),
    ] {
        let directory = directory();
        let subject = Subject::start(directory.path(), "sendfile+crc", &[fault]);
        let mut plan = plan(&subject);
        // One producer per partition, so that a fault shows as itself alone.
        plan.producers.connections = 1;
        plan.topic.partitions = 3;
        let outcome = go(&plan);
        let verification = &outcome.verification;
        assert!(!verification.passed() && verification.complete, "{fault}: {verification:?}");
        assert_eq!(verification.anomalies(), 16, "{fault}: one batch, and nothing else: {verification:?}");
        let [anomaly] = &verification.first_anomalies[..] else { panic!("{fault}: {verification:?}") };
        // The 40th batch, counted from 0 over three partitions in turn.
        assert_eq!((anomaly.kind, anomaly.partition), (kind, 0), "{fault}");
        assert_eq!((anomaly.producer, anomaly.sequence), (Some(0), Some(13)), "{fault}");
        assert!(anomaly.offset.is_some(), "{fault}");
    }
}

#[test]
fn a_fault_among_many_producers_is_found_too() {
    let directory = directory();
    let subject = Subject::start(directory.path(), "sendfile", &["corrupt:200", "drop:300", "duplicate:400"]);
    let outcome = go(&plan(&subject));
    let verification = &outcome.verification;
    assert_eq!((verification.corrupt, verification.lost, verification.duplicated), (16, 16, 16));
}

#[test]
fn a_delay_shows_in_the_response_time_and_not_in_the_verification() {
    let directory = directory();
    let subject = Subject::start(directory.path(), "sendfile", &["delay:10%:30ms"]);
    let mut plan = plan(&subject);
    plan.producers.arrivals = Arrivals::Poisson { records_per_s: 16_000.0 };
    plan.duration = Duration::from_secs(1);
    let outcome = go(&plan);
    passed(&outcome);
    // A lower bound holds on any machine: one request in ten waits for 30 ms at least.
    assert!(outcome.produce_response.value_at_quantile(0.95) >= 30_000_000);
    assert!(!outcome.slow.is_empty());
}

#[test]
fn a_run_without_its_broker_keeps_what_was_acknowledged_and_the_audit_finds_what_was_lost() {
    for (fault, lost) in [(&[][..], false), (&["ack-then-lose"][..], true)] {
        let directory = directory();
        let mut subject = Subject::start(directory.path(), "sendfile", fault);
        let mut plan = plan(&subject);
        plan.duration = Duration::from_secs(60);
        plan.topic.partitions = 2;
        plan.topic.delete = false;
        plan.consumers.connections = 0;
        // The subject goes away while requests are open.
        let (stop, acked) = (Arc::clone(&subject.stop), std::cell::Cell::new(0));
        let outcome = load::run(&plan, |progress| {
            if let Progress::Second(second) = progress {
                acked.set(acked.get() + second.acked_records);
                if acked.get() > 16 * 500 {
                    stop.store(true, Ordering::Release);
                }
            }
            ControlFlow::Continue(())
        })
        .unwrap();
        assert!(matches!(outcome.ended, Ended::Disconnected(_)), "{:?}", outcome.ended);
        assert!(outcome.ledger.acked_records() > 16 * 500);
        subject.stop();
        let again = Subject::start(directory.path(), "sendfile", &[]);
        plan.address = again.address;
        let verification = load::audit(&plan, &outcome.ledger).unwrap();
        assert!(verification.complete);
        assert_eq!(verification.passed(), !lost, "{verification:?}");
        if lost {
            // Both partitions keep 64 batches back; the last of them may not have been answered.
            assert!((1..=2 * 64 * 16).contains(&verification.lost), "{verification:?}");
            assert!(verification.first_anomalies.iter().all(|a| a.kind == AnomalyKind::LostWrite));
        }
    }
}

#[test]
fn a_limit_of_bytes_and_a_caller_end_the_window_early_and_in_order() {
    let directory = directory();
    let subject = Subject::start(directory.path(), "sendfile", &[]);
    let mut limited = plan(&subject);
    limited.duration = Duration::from_secs(60);
    limited.bytes_max = Some(5 << 20);
    let outcome = go(&limited);
    assert_eq!(outcome.ended, Ended::BytesMax);
    assert!(outcome.verification.passed(), "{:?}", outcome.verification);
    assert!(
        (5 << 20..6 << 20).contains(&(outcome.verification.acked * 200)),
        "{}",
        outcome.verification.acked
    );
    let mut long = plan(&subject);
    long.duration = Duration::from_secs(60);
    let outcome = load::run(&long, |progress| match progress {
        Progress::Second(second) if second.phase == Phase::Measure => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    })
    .unwrap();
    assert_eq!(outcome.ended, Ended::Interrupted);
    assert!(outcome.verification.passed(), "{:?}", outcome.verification);
}

#[test]
fn errors_name_what_failed() {
    let directory = directory();
    let mut subject = Subject::start(directory.path(), "sendfile", &[]);
    let mut plan = plan(&subject);
    plan.topic.delete = false;
    go(&plan);
    let error = load::run(&plan, |_| ControlFlow::Continue(())).unwrap_err().to_string();
    assert!(error.starts_with("CreateTopics of bench: the broker answers TOPIC_ALREADY_EXISTS"), "{error}");
    subject.stop();
    let error = load::run(&plan, |_| ControlFlow::Continue(())).unwrap_err().to_string();
    assert!(error.starts_with("connecting to 127.0.0.1:"), "{error}");
}

/// Not a check: prints what a core of generator and a core of null broker do on this machine.
/// `cargo test --release --test load -- --ignored --nocapture`
#[test]
#[ignore = "prints figures that depend on the machine"]
fn figures_of_this_machine() {
    let seconds = std::env::var("SECONDS_EACH").ok().and_then(|text| text.parse().ok()).unwrap_or(2);
    for (variant, partitions, consumers) in [
        ("discard", 1, 0),
        ("discard+crc", 1, 0),
        ("pwrite+crc", 1, 0),
        ("sendfile+crc", 1, 1),
        ("sendfile+crc", 128, 1),
    ] {
        let directory = directory();
        let subject = Subject::start_on(directory.path(), variant, &[], Some(0));
        let mut plan = Plan { address: subject.address, ..Plan::default() };
        plan.warmup = Duration::from_millis(500);
        plan.duration = Duration::from_secs(seconds);
        plan.topic.partitions = partitions;
        plan.consumers.connections = consumers;
        plan.cores = vec![1];
        plan.verify = if consumers > 0 { VerifyMode::Full } else { VerifyMode::None };
        let outcome = go(&plan);
        let records = outcome.counts.acked_records.max(1);
        println!(
            "{variant} {partitions} partitions: {:.0} records/s acked, {:.0} read, generator {:.0} ns/record, {:.0} % busy, \
             service p50 {:.0} us p99 {:.0} us, longest turn {} us, {} records a turn, {}",
            outcome.records_per_s(),
            outcome.consumed_records_per_s(),
            outcome.generator.cpu_ns.unwrap_or(0) as f64 / records as f64,
            outcome.generator.busy_ratio(outcome.window_ns).unwrap_or(0.0) * 100.0,
            outcome.produce_service.value_at_quantile(0.5) as f64 / 1e3,
            outcome.produce_service.value_at_quantile(0.99) as f64 / 1e3,
            outcome.generator.turn_ns_max / 1000,
            records / outcome.generator.turns.max(1),
            if outcome.verification.passed() { "verified" } else { "NOT VERIFIED" },
        );
    }
}
