//! A run that never happened, from a seed: a queue simulated request by request, so that its histograms, stalls
//! and series hang together as those of a real run do.

use hdrhistogram::Histogram as Hdr;
use ringdaw::metrics::slow::SlowSamples;
use ringdaw::random::SplitMix64;
use ringdaw::report::run::*;
use ringdaw::report::statistics::{encode, new_hdr, stalls};

pub struct Random(SplitMix64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(SplitMix64::new(seed))
    }

    pub fn next(&mut self) -> u64 {
        self.0.next_u64()
    }

    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

const S: u64 = 1_000_000_000;
const RATE: f64 = 210_000.0;
const BATCH: u64 = 16;

/// A run of the default job: four partition counts, a null broker, an anchor.
pub fn bench() -> Run {
    sweep(&[1, 16, 128, 1024], 6)
}

/// As many cells as partition counts times two and the null broker, each measured for `seconds`.
pub fn sweep(partitions: &[u64], seconds: u64) -> Run {
    let mut random = Random::new(42);
    let mut run = Run {
        run_id: "2026-09-03T140506Z-bench-3f9a1c".into(),
        kind: "bench".into(),
        started_at_utc: "2026-09-03T14:05:06Z".into(),
        finished_at_utc: Some("2026-09-03T14:07:04Z".into()),
        duration_s: Some(118.4),
        command: ["ringdaw", "bench", "--seed", "42", "--cores", "broker=0,load=1", "--out", "my results"]
            .map(str::to_owned)
            .into(),
        seed: 42,
        exit_code: Some(0),
        validity_flags: vec!["not-resident".into()],
        environment: environment(),
        subjects: subjects(),
        limits: limits(),
        workloads: vec![Workload {
            sha256: "5e0c6bb0a7f0c1d29f".into(),
            name: Some("partitions".into()),
            text: "version: 1\nname: partitions\nrecords: {bytes: 1Ki}\n".into(),
        }],
        self_tests: Some(SelfTests {
            passed: Some(31),
            failed: Some(0),
            at_utc: Some("2026-09-03T13:40:00Z".into()),
            git: Some("1f2e3d4c".into()),
        }),
        ..Run::default()
    };
    let mut clock = 12 * S;
    for (i, count) in partitions.iter().enumerate() {
        let saturated = 1_140_000.0 * (1.0 - 0.011 * (*count as f64).log2() / 10.0 - 0.02 * random.unit());
        let null = 1_390_000.0 * (1.0 - 0.02 * random.unit());
        let mut cell = base(&format!("null-{count}"), *count, Loop::Closed, Role::NullBroker);
        cell.subject = "null-broker".into();
        cell.null_variant = Some("sendfile+crc".into());
        throughput(&mut cell, null, 1.0);
        cost(&mut cell, 488.0 + 6.0 * random.unit());
        run.cells.push(cell);

        let mut cell = base(&format!("sat-{count}"), *count, Loop::Closed, Role::Sweep);
        throughput(&mut cell, saturated, null / saturated);
        cost(&mut cell, 571.0 + 3.0 * (*count as f64).log2());
        cell.rate_efficiency = Some(saturated / null);
        cell.rate_efficiency_is_upper_bound = Some(i == 0);
        cell.cpu_efficiency = Some(488.0 / (571.0 + 3.0 * (*count as f64).log2()));
        cell.null_variant = Some("sendfile+crc".into());
        cell.syscalls_per_request = Some(0.32 + 0.01 * i as f64);
        cell.ring_operations_per_request = Some(2.9 + 0.2 * i as f64);
        memory(&mut cell, *count);
        clock = measure(&mut run, cell, &mut random, clock, 2, seconds.min(5), saturated);

        let mut cell = base(&format!("rate-{count}"), *count, Loop::Open, Role::Sweep);
        cell.offered_records_per_s = Some(RATE);
        cell.achieved_ratio = Some(1.0);
        throughput(&mut cell, RATE, null / saturated);
        cost(&mut cell, 702.0 + 4.0 * (*count as f64).log2());
        cell.cpu_efficiency = Some(0.81);
        cell.syscalls_per_request = Some(2.1 + 0.1 * i as f64);
        cell.ring_operations_per_request = Some(4.4 + 0.3 * i as f64);
        memory(&mut cell, *count);
        clock = measure(&mut run, cell, &mut random, clock, 2, seconds, RATE);
    }
    let mut anchor = run.cells.iter().find(|cell| cell.id.starts_with("sat-")).expect("the first").clone();
    anchor.id = format!("{}-again", anchor.id);
    anchor.role = Role::Anchor;
    anchor.records_per_s = anchor.records_per_s.map(|v| v * 0.983);
    run.cells.push(anchor);
    let mut total = Verification::default();
    run.cells.iter().filter(|c| c.role != Role::NullBroker).for_each(|c| total.add(&c.verification));
    run.verification = total;
    if let Some(cell) = run.cells.iter_mut().find(|cell| cell.id == "sat-1") {
        cell.flags.push("short: the disk needed longer".into());
    }
    run
}

/// Three record sizes beside the partition counts: lines that differ in more than their subject.
pub fn matrix() -> Run {
    let mut whole = sweep(&[1, 16, 1024], 2);
    whole.cells.retain(|cell| cell.role != Role::Anchor);
    let (cells, blocks) = (std::mem::take(&mut whole.cells), std::mem::take(&mut whole.blocks));
    for (bytes, factor) in [(100, 0.62), (1024, 1.0), (10_240, 1.31)] {
        let name = |id: &str| format!("{id}-{bytes}");
        for cell in &cells {
            let mut cell = Cell { id: name(&cell.id), ..cell.clone() };
            cell.parameters.record_bytes = Some(bytes);
            cell.parameters.batch_bytes = Some(bytes * BATCH);
            let records = cell.records_per_s.expect("all have one") * factor * 1024.0 / bytes as f64;
            cell.records_per_s = Some(records);
            cell.bytes_per_s = Some(records * bytes as f64);
            whole.cells.push(cell);
        }
        whole.blocks.extend(blocks.iter().map(|block| Block { cell: name(&block.cell), ..block.clone() }));
    }
    whole
}

fn base(id: &str, partitions: u64, loop_kind: Loop, role: Role) -> Cell {
    Cell {
        id: id.into(),
        subject: "ringdaw".into(),
        role,
        loop_kind,
        client_model: Some("batch".into()),
        parameters: Parameters {
            topics: Some(1),
            partitions: Some(partitions),
            record_bytes: Some(1024),
            batch_records: Some(BATCH),
            batch_bytes: Some(16_384),
            batches_per_request: Some(1),
            producers: Some(4),
            consumers: Some(1),
            in_flight: Some(5),
            acks: Some("all".into()),
            compression: Some("none".into()),
            arrivals: Some(if loop_kind == Loop::Open { "constant" } else { "closed" }.into()),
            replicas: Some(1),
            durability: Some("page-cache".into()),
            memory: Some("as-is".into()),
            ..Parameters::default()
        },
        ..Cell::default()
    }
}

fn throughput(cell: &mut Cell, records_per_s: f64, headroom: f64) {
    cell.records_per_s = Some(records_per_s);
    cell.bytes_per_s = Some(records_per_s * 1024.0);
    cell.wire_bytes_per_s = Some(records_per_s * 1036.0);
    cell.requests_per_s = Some(records_per_s / BATCH as f64);
    cell.consumed_records_per_s = Some(records_per_s);
    cell.headroom_ratio = (cell.role == Role::Sweep).then_some(headroom);
    cell.client_bound = Some(cell.role == Role::Sweep && headroom < 1.2);
}

fn cost(cell: &mut Cell, ns: f64) {
    cell.broker_cpu_ns_per_record = Some(ns);
    if cell.role == Role::Sweep {
        cell.broker_user_cpu_ns_per_record = Some(ns * 0.29);
        cell.broker_kernel_cpu_ns_per_record = Some(ns * 0.71);
        cell.switches_per_1000_records = Some(0.4);
        cell.disk_bytes_per_byte = Some(1.003);
    }
    cell.system_cpu_ns_per_record = Some(ns + 84.0);
    cell.generator_cpu_ns_per_record = Some(610.0);
}

fn memory(cell: &mut Cell, partitions: u64) {
    let rss = 14_400_000 + partitions * 17_600;
    cell.rss_bytes = Some(rss);
    cell.rss_bytes_max = Some(rss + 3_100_000);
    cell.pss_bytes = Some(rss - 2_300_000);
    (cell.core_wait_ns, cell.core_wait_ns_max) = (Some(61_000_000), Some(48_000_000));
}

/// One block, simulated: requests on a schedule, a server with a jittered service time and rare pauses.
fn measure(
    run: &mut Run,
    mut cell: Cell,
    random: &mut Random,
    start_ns: u64,
    warmup: u64,
    seconds: u64,
    records_per_s: f64,
) -> u64 {
    let requests_per_s = records_per_s / BATCH as f64;
    // Every fourth request is followed: the shape stays, and the test is fast.
    let step_ns = 4.0 * 1e9 / requests_per_s;
    let open = cell.loop_kind == Loop::Open;
    let pause_at = start_ns + (warmup + 2) * S + 371_000_000;
    let pause_ns = 11_000_000 + 900_000 * cell.parameters.partitions.unwrap_or(1).ilog2() as u64;
    let mut whole: [Hdr<u64>; 5] = std::array::from_fn(|_| new_hdr());
    let mut slow = SlowSamples::new(4096);
    let mut series = Vec::new();
    let mut free_at = start_ns as f64;
    let mut due = start_ns as f64;
    for second in 0..warmup + seconds + 1 {
        let begin = start_ns + second * S;
        let phase = match second {
            s if s < warmup => "warmup",
            s if s < warmup + seconds => "measure",
            _ => "drain",
        };
        let mut hdr: [Hdr<u64>; 2] = std::array::from_fn(|_| new_hdr());
        let mut n = 0u64;
        while due < (begin + S) as f64 && phase != "drain" {
            let jitter = (-random.unit().max(1e-12).ln()).powf(1.6);
            let service = 62_000.0 + 31_000.0 * jitter + if random.unit() < 0.004 { 900_000.0 } else { 0.0 };
            let mut begin_service = free_at.max(due);
            if open && (pause_at as f64) < begin_service && begin_service < (pause_at + pause_ns) as f64 {
                begin_service = (pause_at + pause_ns) as f64;
            }
            free_at = begin_service + step_ns * 0.45;
            let done = begin_service + service;
            let from = if open { due } else { begin_service };
            let response = (done - from) as u64;
            let e2e = response + 96_000 + (70_000.0 * random.unit()) as u64;
            if phase == "measure" {
                let lag = (begin_service - due) as u64;
                for (place, value) in
                    [response, service as u64, if open { lag } else { 0 }, e2e, service as u64 + 130_000]
                        .into_iter()
                        .enumerate()
                {
                    whole[place].record(value).expect("grows");
                }
                slow.record(from as u64, response);
            }
            hdr[0].record(response).expect("grows");
            hdr[1].record(e2e).expect("grows");
            n += 4;
            due += step_ns;
        }
        let any = n > 0;
        series.push(Second {
            start_ns: begin,
            duration_ns: S,
            phase: phase.into(),
            offered_records_per_s: (open && phase != "drain").then_some(records_per_s),
            achieved_records_per_s: Some((n * BATCH) as f64),
            consumed_records_per_s: Some((n * BATCH) as f64 * (0.997 + 0.006 * random.unit())),
            catch_up_records_per_s: None,
            response_p50_ns: any.then(|| hdr[0].value_at_quantile(0.5)),
            response_p99_ns: any.then(|| hdr[0].value_at_quantile(0.99)),
            response_max_ns: any.then(|| hdr[0].max()),
            backlog_records: Some((40.0 + 900.0 * random.unit().powi(6)) as u64),
            broker_cpu_cores: Some((n * BATCH) as f64 * 640e-9),
            generator_cpu_cores: Some((n * BATCH) as f64 * 610e-9),
            rss_bytes: cell.rss_bytes,
            steal_ratio: Some(0.003 * random.unit()),
            dirty_bytes: Some(((30.0 + 60.0 * random.unit()) * 1048576.0) as u64),
            histograms: if any && phase == "measure" {
                vec![encode(PRODUCE_RESPONSE, &hdr[0]), encode(E2E_RESPONSE, &hdr[1])]
            } else {
                Vec::new()
            },
        });
    }
    let metrics = if open { &METRICS[..] } else { &[PRODUCE_SERVICE, E2E_SERVICE][..] };
    let of = |metric: &str| METRICS.iter().position(|m| *m == metric).expect("a known metric");
    let histograms = metrics.iter().map(|metric| encode(metric, &whole[of(metric)])).collect();
    if open {
        cell.produce_response_ns = Percentiles::of(&whole[0]);
        cell.schedule_lag_ns = Percentiles::of(&whole[2]);
        cell.e2e_response_ns = Percentiles::of(&whole[3]);
        let threshold = cell.produce_response_ns.p99_9.unwrap_or(u64::MAX);
        cell.stalls = stalls(slow.samples(), threshold, 1_000_000);
    }
    cell.produce_service_ns = Percentiles::of(&whole[1]);
    cell.e2e_service_ns = Percentiles::of(&whole[4]);
    let acked = (records_per_s * (warmup + seconds) as f64) as u64;
    cell.verification = Verification {
        mode: Some("full".into()),
        acked: Some(acked),
        read: Some(acked),
        lost: Some(0),
        duplicated: Some(0),
        reordered: Some(0),
        corrupt: Some(0),
        wrong_offset: Some(0),
        unacked_seen: Some(0),
        first_anomalies: Vec::new(),
    };
    run.blocks.push(Block {
        cell: cell.id.clone(),
        position: Some(run.blocks.len() as u64),
        warmup_s: Some(warmup as f64),
        memory_state: Some("not-resident".into()),
        start_ns: Some(start_ns + warmup * S),
        duration_ns: Some(seconds * S),
        page_cache: PageCache {
            before: CacheState {
                free_bytes: Some(19 << 30),
                cached_bytes: Some(2 << 30),
                dirty_bytes: Some(3 << 20),
                writeback_bytes: Some(0),
                growth_probe_bytes_per_s: Some(0.34e9),
                growth_probe_cpu_ns_per_kib: Some(2_900.0),
            },
            after: CacheState { free_bytes: Some(17 << 30), ..CacheState::default() },
        },
        steal_ratio: Some(0.0021),
        cpu_pressure_ratio: Some(0.01),
        generator_turn_ns_max: Some(412_000),
        series,
        marks: if open {
            let roll = Mark {
                at_ns: start_ns + (warmup + 4) * S,
                kind: "roll".into(),
                text: Some("segment 0".into()),
                duration_ns: None,
            };
            let wait = Mark {
                at_ns: start_ns + (warmup + 5) * S,
                kind: "core-wait".into(),
                text: Some("others had the core of thread reactor-0 for 48.0 ms".into()),
                duration_ns: Some(48_000_000),
            };
            vec![roll, wait]
        } else {
            Vec::new()
        },
        histograms,
        ..Block::default()
    });
    run.cells.push(cell);
    start_ns + (warmup + seconds + 2) * S
}

fn subjects() -> Vec<Subject> {
    vec![
        Subject {
            name: "ringdaw".into(),
            version: Some("0.1.0".into()),
            command: Some("ringdaw broker --override num.io.threads=1".into()),
            config: Some(
                "broker.id=0\nnum.network.threads=1\nnum.io.threads=1\nlog.dirs=/data/<a&b>\n".into(),
            ),
            config_sha256: Some("9c1a".into()),
            metadata_mode: Some("embedded".into()),
            cores: Some("0".into()),
            durability: Durability { class: Some("page-cache".into()), ..Durability::default() },
            ready_ns: Some(21_000_000),
            ..Subject::default()
        },
        Subject {
            name: "null-broker".into(),
            version: Some("0.1.0".into()),
            cores: Some("0".into()),
            durability: Durability { class: Some("page-cache".into()), ..Durability::default() },
            is_null_broker: true,
            ..Subject::default()
        },
    ]
}

fn limits() -> Vec<Limit> {
    let mut out = Vec::new();
    for (name, files, bytes, value, unit, cpu) in [
        ("memcpy", None, Some(1 << 30), 6.9e9, "B/s", Some(148.0)),
        ("memcpy", None, Some(1 << 20), 14.2e9, "B/s", Some(72.0)),
        ("crc32c", None, Some(16_384), 11.8e9, "B/s", Some(87.0)),
        ("loopback-one-way", None, Some(16_384), 3.1e9, "B/s", Some(210.0)),
        ("sendfile-loopback", Some(1), Some(16_384), 4.4e9, "B/s", Some(160.0)),
        ("pwrite-window", Some(1), Some(16_384), 1.62e9, "B/s", Some(390.0)),
        ("pwrite-window", Some(1024), Some(16_384), 1.44e9, "B/s", Some(431.0)),
        ("pwrite-growing", Some(1), Some(16_384), 0.34e9, "B/s", Some(2_900.0)),
        ("o-direct-qd8", Some(1), Some(1 << 20), 1.9e9, "B/s", Some(60.0)),
        ("loopback-ping-pong", None, Some(16_384), 21_000.0, "ns", None),
        ("fdatasync", Some(1), Some(16_384), 1_900_000.0, "ns", None),
    ] {
        for (pass, factor) in [("start", 1.0), ("end", 0.97)] {
            out.push(Limit {
                name: name.into(),
                files,
                bytes,
                pass: Some(pass.into()),
                value: Some(value * factor),
                unit: unit.into(),
                cpu_ns_per_kib: cpu,
            });
        }
    }
    out
}

fn environment() -> Environment {
    let mut environment = Environment {
        machine: Machine {
            kernel: Some("6.12.8".into()),
            cmdline: Some("root=/dev/vda ro quiet".into()),
            hypervisor: Some("kvm".into()),
            cpu_model: Some("AMD EPYC 7B13".into()),
            cores: Some(2),
            smt: Some(true),
            mitigations: Some("spectre_v2: retpolines".into()),
            clocksource: Some("tsc".into()),
            thp: Some("madvise".into()),
            memory_bytes: Some(24 << 30),
            swap_bytes: Some(0),
            pmu: Some(false),
            ..Machine::default()
        },
        storage: Storage {
            filesystem: Some("ext4".into()),
            mount_options: Some("rw,relatime".into()),
            device: Some("vda".into()),
            scheduler: Some("none".into()),
            write_cache: Some("write back".into()),
            free_bytes: Some(80 << 30),
            dirty_ratio: Some(20),
            dirty_background_ratio: Some(10),
        },
        limits: SystemLimits {
            tcp_rmem: Some("4096 131072 6291456".into()),
            tcp_wmem: Some("4096 16384 4194304".into()),
            somaxconn: Some(4096),
            memlock_bytes: Some(8 << 20),
            io_uring_disabled: Some(0),
            perf_paranoid: Some(2),
        },
        binary: Binary {
            sha256: Some("a1b2c3".into()),
            git: Some("1f2e3d4c5b6a".into()),
            profile: Some("release".into()),
            target_cpu: Some("x86-64".into()),
            allocator: Some("system".into()),
        },
        ..Environment::default()
    };
    environment.seal();
    environment
}
