//! Plays a scenario on a subject: a cluster, clients, faults, and at the end the verdict.
//!
//! In: a script, a subject, numbers. Out: one row of the table of faults, and what is wrong, if something is. Phases as in
//! FAULTS.md 2.1: load, faults, heal everything, settle, read every partition to its end, compare the replicas' files.

use crate::history::{Event, Name, Rules, Verdict, What, When};
use crate::load::{Producer, Producing, Reader, Recorder, Shared, Topic};
use crate::outside::client::Client;
use crate::outside::cluster::{Cluster, Glass, Subject};
use crate::outside::{Folder, Numbers};
use crate::script::{From, Script, Step, Who};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Until everything is in sync again once all brokers are up.
const HEALING: Duration = Duration::from_secs(60);
const READING_TO_THE_END: Duration = Duration::from_secs(30);
const TOPIC: &str = "orders";

/// One row of the table.
pub struct Outcome {
    pub scenario: String,
    pub subject: Subject,
    pub faults: u32,
    pub verdict: Verdict,
    /// What the checker cannot see: brokers that ended by themselves, replicas that differ, a partition that did not end.
    pub complaints: Vec<String>,
    pub took: Duration,
    /// What had to be found: the story is one of the rig itself.
    pub planted: Vec<Name>,
}

impl Outcome {
    pub const HEAD: &str = "scenario                      subject      faults  acknowledged  lost  duplicated  reordered  other  unknown  longest gap ms  took s  verdict";

    pub fn row(&self) -> String {
        let lost = self.verdict.count(&[Name::LostWrite, Name::Unseen]) + self.verdict.unproven;
        let duplicated = self.verdict.count(&[Name::Duplicate]);
        let reordered =
            self.verdict.count(&[Name::NonmonotonicSend, Name::IntNonmonotonicSend, Name::Realtime]);
        let other =
            self.verdict.counts.values().sum::<u64>() + self.verdict.unproven - lost - duplicated - reordered;
        format!(
            "{:<29} {:<12} {:>6} {:>13} {lost:>5} {duplicated:>11} {reordered:>10} {other:>6} {:>8} {:>15} {:>7} {:>8}",
            self.scenario,
            self.subject.text(),
            self.faults,
            self.verdict.acknowledged,
            self.verdict.unknown,
            self.verdict.longest_gap.0 / 1_000_000,
            self.took.as_secs(),
            match (self.planted.is_empty(), self.is_as_expected()) {
                (true, true) => "clean",
                (true, false) => "NOT CLEAN",
                (false, true) => "found",
                (false, false) => "NOT FOUND",
            }
        )
    }

    /// Nothing was found; or, where something was planted, it was.
    pub fn is_as_expected(&self) -> bool {
        if !self.planted.is_empty() {
            return self.planted.iter().any(|name| self.verdict.counts.contains_key(name));
        }
        self.verdict.is_clean() && self.complaints.is_empty()
    }
}

struct Stage<'a> {
    script: &'a Script,
    long: bool,
    cluster: Cluster,
    glass: Option<Glass>,
    recorder: Arc<Recorder>,
    shared: Arc<Shared>,
    producers: Vec<JoinHandle<()>>,
    readers: Vec<JoinHandle<()>>,
    /// The topic under each of its names: it may be made again.
    topics: Vec<Topic>,
    old_shared: Vec<Arc<Shared>>,
    numbers: &'a mut Numbers,
    last: Vec<i32>,
    last_zookeepers: Vec<usize>,
    faults: u32,
    until: Instant,
}

pub fn play(script: &Script, subject: Subject, long: bool, numbers: &mut Numbers) -> Outcome {
    let begun = Instant::now();
    let folder = Folder::new(&format!("scenario-{}", script.name));
    let (brokers, zookeepers) = (script.brokers, script.zookeepers);
    let cluster =
        Cluster::start(folder.path(), subject, brokers, zookeepers, script.own_network, &settings(script));
    let glass = cluster.glass();
    let allowed = names(&script.allowed).into_iter().collect();
    let rules = Rules { allowed, in_sync_min: script.in_sync_min, ..Default::default() };
    let recorder = Arc::new(Recorder::new(rules, &folder.join("history.jsonl")));
    let shared = shared(&cluster, &recorder);
    // A long run has more of everything; a Java broker on a small machine takes its time to start.
    let limit = script.limit * if long { 40 } else { 1 } * if subject == Subject::Ringdaw { 1 } else { 3 };
    let mut stage = Stage {
        script,
        long,
        cluster,
        glass,
        recorder: recorder.clone(),
        shared,
        producers: Vec::new(),
        readers: Vec::new(),
        topics: Vec::new(),
        old_shared: Vec::new(),
        numbers,
        last: Vec::new(),
        last_zookeepers: Vec::new(),
        faults: 0,
        until: Instant::now() + limit,
    };
    stage.make_topic();
    stage.begin_load();
    let stop_watching = Arc::new(AtomicBool::new(false));
    let watcher = watch_in_sync_sets(&stage, &stop_watching);
    stage.run(&script.steps);
    let mut complaints = stage.end();
    stop_watching.store(true, Ordering::Relaxed);
    watcher.into_iter().for_each(|watcher| watcher.join().expect("the watcher"));
    complaints.extend(stage.cluster.complaints());
    let (faults, partitions) = (stage.faults, script.partitions);
    for id in stage.cluster.up() {
        stage.cluster.node(id).stop();
    }
    complaints.extend(stage.cluster.complaints());
    complaints.extend(stage.cluster.compare_replicas(TOPIC, partitions));
    drop(stage);
    let recorder = Arc::into_inner(recorder).expect("all clients have ended");
    let verdict = recorder.finish();
    let outcome = Outcome {
        scenario: script.name.clone(),
        subject,
        faults,
        verdict,
        complaints,
        took: begun.elapsed(),
        planted: names(&script.planted),
    };
    if !outcome.is_as_expected() {
        let kept = Folder::keep(folder);
        eprintln!("{}: the history and the logs are in {}", script.name, kept.display());
    }
    outcome
}

fn names(texts: &[String]) -> Vec<Name> {
    let parse = |text: &String| Name::parse(text).unwrap_or_else(|| panic!("no anomaly {text}"));
    texts.iter().map(parse).collect()
}

/// Short timers, so that faults are noticed in the time of a test; segments of 1 MiB, so that rolls happen.
fn settings(script: &Script) -> Vec<(String, String)> {
    let replicas = script.replicas.to_string();
    let mut all: Vec<(String, String)> = [
        ("zookeeper.session.timeout.ms", "3000"),
        ("zookeeper.connection.timeout.ms", "30000"),
        ("replica.lag.time.max.ms", "2000"),
        ("log.segment.bytes", "1048576"),
        ("offsets.topic.num.partitions", "3"),
        ("offsets.topic.replication.factor", &replicas),
        ("controlled.shutdown.retry.backoff.ms", "200"),
        ("num.network.threads", "2"),
        ("num.io.threads", "2"),
    ]
    .map(|(key, value)| (key.to_string(), value.to_string()))
    .to_vec();
    all.extend(script.settings.clone());
    if script.zookeepers == 0 {
        all.retain(|(key, _)| !key.starts_with("zookeeper."));
    }
    all
}

fn shared(cluster: &Cluster, recorder: &Arc<Recorder>) -> Arc<Shared> {
    Arc::new(Shared {
        recorder: recorder.clone(),
        bootstrap: cluster.addresses(),
        stop_producing: AtomicBool::new(false),
        stop_reading: AtomicBool::new(false),
        abandon: AtomicBool::new(false),
        cuts: AtomicU64::new(0),
    })
}

/// Tells of the in-sync sets ten times a second, for `acked-below-min-isr`.
fn watch_in_sync_sets(stage: &Stage<'_>, stop: &Arc<AtomicBool>) -> Option<JoinHandle<()>> {
    let glass = stage.cluster.glass()?;
    let (recorder, stop, partitions) = (stage.recorder.clone(), stop.clone(), stage.script.partitions);
    Some(std::thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            for partition in 0..partitions {
                let Some(state) = glass.state(TOPIC, partition) else { continue };
                let members: Vec<u64> = state.in_sync.iter().map(|id| *id as u64).collect();
                let part: Arc<str> = format!("{TOPIC}-{partition}").into();
                let mut event = Event::new(0, 0, When::Info, What::Isr).at(&part).of(&members, &[]);
                event.version = Some(state.version);
                event.epoch = Some(state.leader_epoch);
                recorder.tell(event);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }))
}

impl Stage<'_> {
    fn run(&mut self, steps: &[Step]) {
        for step in steps {
            assert!(
                Instant::now() < self.until,
                "{}: stuck: the limit is over before {step:?}",
                self.script.name
            );
            self.step(step);
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Repeat { times, long, steps } => {
                for _ in 0..if self.long { *long } else { *times } {
                    self.run(steps);
                }
            }
            Step::Wait(from, to) => {
                let between = (*to - *from).as_millis() as u64;
                std::thread::sleep(*from + Duration::from_millis(self.numbers.below(between + 1)));
            }
            Step::Kill(who) => {
                self.fault();
                for id in self.pick(who) {
                    self.cluster.node(id).kill();
                }
                for index in self.last_zookeepers.clone().into_iter().filter(|_| is_zookeeper(who)) {
                    self.zookeeper(index).kill();
                }
            }
            Step::Stop(who) => {
                self.fault();
                for id in self.pick(who) {
                    self.cluster.node(id).stop();
                }
            }
            Step::Start(who) => {
                let ids = self.pick(who);
                ids.iter().for_each(|id| self.launch(*id));
                ids.iter().for_each(|id| self.cluster.wait_for_answer(*id));
            }
            Step::Launch(who) => self.pick(who).into_iter().for_each(|id| self.launch(id)),
            Step::Pause(who) => {
                self.fault();
                self.pick(who).into_iter().for_each(|id| self.cluster.node(id).pause());
            }
            Step::Resume(who) => self.pick(who).into_iter().for_each(|id| self.cluster.node(id).resume()),
            Step::PauseFor(who, time) => {
                self.fault();
                let ids = self.pick(who);
                ids.iter().for_each(|id| self.cluster.node(*id).pause());
                std::thread::sleep(*time);
                ids.iter().for_each(|id| self.cluster.node(*id).resume());
            }
            Step::Wipe(who) => {
                let _ = self.pick(who);
                for index in self.last_zookeepers.clone() {
                    self.zookeeper(index).wipe();
                }
            }
            Step::UntilInSync => {
                self.wait("every partition is in sync", |stage| stage.not_in_sync().is_none())
            }
            Step::UntilLed => self.wait("every partition is led", |stage| {
                (0..stage.script.partitions).all(|p| stage.state(p).is_none_or(|state| state.leader >= 0))
            }),
            Step::UntilRegistered => self.wait("every broker is registered", |stage| {
                let Some(glass) = &stage.glass else { return true };
                glass.registered().len() == stage.script.brokers
            }),
            Step::UntilOutOfSync(who) => {
                let ids = self.pick(who);
                self.wait("they are out of sync", |stage| {
                    (0..stage.script.partitions).all(|partition| {
                        stage.state(partition).is_some_and(|s| ids.iter().all(|id| !s.in_sync.contains(id)))
                    })
                });
            }
            Step::StartZooKeepers => self.start_zookeepers(),
            Step::Cut { who, from, one_way } => {
                self.fault();
                self.cut(who, *from, *one_way);
            }
            Step::HealNetwork => self.network().heal(),
            Step::CutClients => {
                self.fault();
                self.shared.cuts.fetch_add(1, Ordering::Relaxed);
            }
            Step::Administer => self.administer(),
            Step::DeleteAndMakeAgain => self.delete_and_make_again(),
        }
    }

    fn fault(&mut self) {
        self.faults += 1;
        self.recorder.say(What::Fault);
    }

    fn start_zookeepers(&mut self) {
        let Some(ensemble) = &mut self.cluster.ensemble else { return };
        ensemble.servers.iter_mut().filter(|server| !server.is_up()).for_each(|server| server.start());
        ensemble.servers.iter().for_each(|server| server.wait());
    }

    fn launch(&mut self, id: i32) {
        if !self.cluster.node(id).is_up() {
            self.cluster.launch(id);
        }
    }

    fn zookeeper(&mut self, index: usize) -> &mut crate::outside::zookeeper::Server {
        let ensemble = self.cluster.ensemble.as_mut().expect("a scenario with ZooKeeper");
        &mut ensemble.servers[index]
    }

    fn network(&mut self) -> &mut crate::outside::network::Network {
        self.cluster.network.as_mut().expect("a scenario with a network of its own")
    }

    fn cut(&mut self, who: &Who, from: From, one_way: bool) {
        let servers = self.cluster.ensemble.as_ref().map_or(0, |ensemble| ensemble.servers.len());
        let ids: Vec<i32> = self.cluster.nodes.iter().map(|node| node.id).collect();
        for id in self.pick(who) {
            let others: Vec<String> = match from {
                From::OtherBrokers => ids.iter().filter(|o| **o != id).map(|o| format!("b{o}")).collect(),
                From::Broker(other) => vec![format!("b{other}")],
                From::ZooKeepers => (1..=servers).map(|n| format!("z{n}")).collect(),
            };
            for other in others {
                self.network().cut(&format!("b{id}"), &other);
                if !one_way {
                    self.network().cut(&other, &format!("b{id}"));
                }
            }
        }
    }

    /// The brokers meant; `last` and `last_zookeepers` remember them.
    fn pick(&mut self, who: &Who) -> Vec<i32> {
        let servers = self.cluster.ensemble.as_ref().map_or(0, |ensemble| ensemble.servers.len());
        match who {
            Who::It => return self.last.clone(),
            Who::ZooKeeper(number) => self.last_zookeepers = vec![number - 1],
            Who::LeadingZooKeeper => {
                let leader = self.cluster.ensemble.as_ref().map(|ensemble| ensemble.leader());
                self.last_zookeepers = leader.into_iter().collect();
            }
            Who::EveryZooKeeper => self.last_zookeepers = (0..servers).collect(),
            Who::Broker(_)
            | Who::LeaderOfAny
            | Who::FollowerOfAny
            | Who::Controller
            | Who::Any
            | Who::Every => self.last_zookeepers.clear(),
        }
        let up = self.cluster.up();
        let partition = self.numbers.below(self.script.partitions as u64) as i32;
        self.last = match who {
            Who::It | Who::ZooKeeper(_) | Who::LeadingZooKeeper | Who::EveryZooKeeper => Vec::new(),
            Who::Broker(id) => vec![*id],
            Who::Every => self.cluster.nodes.iter().map(|node| node.id).collect(),
            Who::Any => vec![up[self.numbers.below(up.len() as u64) as usize]],
            Who::Controller if self.glass.is_some() => {
                vec![self.awaited("a controller", |glass| glass.controller().filter(|id| up.contains(id)))]
            }
            Who::LeaderOfAny if self.glass.is_some() => vec![self.awaited("a leader", |glass| {
                glass.state(TOPIC, partition).map(|state| state.leader).filter(|id| up.contains(id))
            })],
            Who::FollowerOfAny if self.glass.is_some() => vec![self.awaited("a follower", |glass| {
                let state = glass.state(TOPIC, partition)?;
                up.iter().copied().find(|id| *id != state.leader)
            })],
            Who::Controller | Who::LeaderOfAny | Who::FollowerOfAny => vec![up[0]],
        };
        self.last.clone()
    }

    fn awaited<T>(&self, what: &str, look: impl Fn(&Glass) -> Option<T>) -> T {
        let glass = self.glass.as_ref().expect("a scenario with ZooKeeper");
        let until = Instant::now() + HEALING;
        loop {
            if let Some(found) = look(glass) {
                return found;
            }
            assert!(Instant::now() < until, "{}: waited for {what}", self.script.name);
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn wait(&self, what: &str, holds: impl Fn(&Stage<'_>) -> bool) {
        let until = Instant::now() + HEALING;
        while !holds(self) {
            if Instant::now() > until {
                let states: Vec<_> = (0..self.script.partitions).map(|p| (p, self.state(p))).collect();
                panic!("{}: waited {HEALING:?} until {what}: {states:?}", self.script.name);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn state(&self, partition: i32) -> Option<crate::outside::cluster::State> {
        self.glass.as_ref()?.state(TOPIC, partition)
    }

    fn not_in_sync(&self) -> Option<i32> {
        self.glass.as_ref()?;
        (0..self.script.partitions).find(|partition| {
            self.state(*partition)
                .is_none_or(|state| state.leader < 0 || state.in_sync.len() < self.script.replicas as usize)
        })
    }

    // ---- topics and clients -------------------------------------------------------------------

    /// Asks one broker after the other until one does it.
    fn ask<T>(&self, what: &str, ask: impl Fn(&mut Client) -> std::io::Result<Option<T>>) -> T {
        let until = Instant::now() + HEALING;
        loop {
            for address in self.cluster.addresses() {
                let asked =
                    Client::connect_within(address, Duration::from_secs(10)).and_then(|mut c| ask(&mut c));
                if let Ok(Some(done)) = asked {
                    return done;
                }
            }
            assert!(Instant::now() < until, "{}: no broker could {what}", self.script.name);
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn make_topic(&mut self) {
        let number = self.topics.len() + 1;
        let label = if number == 1 { TOPIC.to_string() } else { format!("{TOPIC}#{number}") };
        let minimum = self.script.in_sync_min.to_string();
        let configs = [("min.insync.replicas", minimum.as_str())];
        let (partitions, replicas) = (self.script.partitions, self.script.replicas);
        self.ask("create the topic", |client| {
            // Another one may have been asked and answered too late: it is there then (36).
            let code = client.create_replicated(TOPIC, partitions, replicas, &configs)?;
            Ok([0, 36].contains(&code).then_some(()))
        });
        self.ask("name the topic's leaders", |client| {
            let (_, led) = client.metadata(TOPIC)?;
            let all = led.len() == partitions as usize && led.iter().all(|led| led.leader >= 0);
            Ok(all.then_some(()))
        });
        self.topics.push(Topic { name: TOPIC.to_string(), label, partitions });
    }

    fn begin_load(&mut self) {
        let topic = self.topics.last().expect("a topic").clone();
        for _ in 0..self.script.readers {
            let (shared, topic) = (self.shared.clone(), topic.clone());
            self.readers.push(std::thread::spawn(move || Reader::new(&shared, &[topic]).run()));
        }
        for producers in &self.script.producers {
            for _ in 0..producers.count {
                let (shared, topic) = (self.shared.clone(), topic.clone());
                let how = Producing {
                    acks: producers.acks,
                    idempotent: producers.idempotent,
                    weak: producers.acks != -1 && self.script.brokers > 1 && !producers.promised,
                    retries: producers.retries,
                    pause: Duration::from_millis(10),
                };
                self.producers.push(std::thread::spawn(move || Producer::new(&shared, how, &[topic]).run()));
            }
        }
    }

    fn administer(&mut self) {
        let name = format!("passing-{}", self.numbers.below(1 << 30));
        // One broker may be down, and then there are not as many to choose from.
        let replicas = self.script.replicas.min(self.script.brokers as i16 - 1).max(1);
        self.ask("create a topic", |client| {
            let code = client.create_replicated(&name, 2, replicas, &[("retention.ms", "60000")])?;
            Ok([0, 36].contains(&code).then_some(()))
        });
        self.ask("delete a topic", |client| {
            let code = client.delete_topic(&name)?;
            Ok([0, 3].contains(&code).then_some(()))
        });
    }

    /// The old topic's producers end before there is a new one: what they send after that would rightly be in it.
    fn delete_and_make_again(&mut self) {
        self.faults += 1;
        let deadline = Instant::now() + HEALING;
        let old = self.topics.last().expect("a topic").clone();
        for partition in 0..old.partitions {
            self.recorder.tell(Event::new(0, 0, When::Info, What::Gone).at(&old.part(partition)));
        }
        self.ask("delete the topic", |client| {
            let code = client.delete_topic(TOPIC)?;
            Ok([0, 3].contains(&code).then_some(()))
        });
        self.shared.abandon.store(true, Ordering::Relaxed);
        self.shared.stop_reading.store(true, Ordering::Relaxed);
        let ended = self.producers.drain(..).chain(self.readers.drain(..));
        ended.for_each(|thread| thread.join().expect("a client"));
        if let Some(glass) = &self.glass {
            while glass.get(&format!("/brokers/topics/{TOPIC}")).is_some() {
                assert!(Instant::now() < deadline, "{}: the topic is not deleted", self.script.name);
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        let fresh = shared(&self.cluster, &self.recorder);
        self.old_shared.push(std::mem::replace(&mut self.shared, fresh));
        self.make_topic();
        self.begin_load();
    }

    // ---- the end ------------------------------------------------------------------------------

    /// Heal everything, settle, read every partition to its end.
    fn end(&mut self) -> Vec<String> {
        if let Some(network) = &mut self.cluster.network {
            network.heal();
        }
        self.start_zookeepers();
        let ids: Vec<i32> = self.cluster.nodes.iter().map(|node| node.id).collect();
        for id in &ids {
            self.cluster.node(*id).resume_if_paused();
            self.launch(*id);
        }
        ids.iter().for_each(|id| self.cluster.wait_for_answer(*id));
        self.recorder.say(What::Heal);
        self.step(&Step::UntilInSync);
        std::thread::sleep(Duration::from_secs(if self.long { 10 } else { 3 }));
        self.recorder.say(What::Stop);
        self.shared.stop_producing.store(true, Ordering::Relaxed);
        self.producers.drain(..).for_each(|thread| thread.join().expect("a producer"));
        let topic = self.topics.last().expect("a topic").clone();
        let last = Reader::new(&self.shared, &[topic]);
        let open = last.run_to_the_end(&self.recorder.ends(), READING_TO_THE_END);
        self.shared.stop_reading.store(true, Ordering::Relaxed);
        self.readers.drain(..).for_each(|thread| thread.join().expect("a reader"));
        open.into_iter().map(|what| format!("not read to its end: {what}")).collect()
    }
}

fn is_zookeeper(who: &Who) -> bool {
    matches!(who, Who::ZooKeeper(_) | Who::LeadingZooKeeper | Who::EveryZooKeeper)
}
