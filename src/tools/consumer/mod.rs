//! A consumer for the tools: one thread, one request at a time.
//!
//! In: topics or partitions, Kafka's consumer settings. Out: records, in the order of each partition. `fetcher` reads
//! partitions, `membership` is a member of a group, `assignor` shares partitions out when this member leads it; the parts
//! meet in `Consumer`. Between two polls no more time may pass than `session.timeout.ms`.

pub mod assignor;
pub mod fetcher;
pub mod membership;

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use self::assignor::Assignor;
use self::fetcher::{Fetched, Fetcher, Flow};
use self::membership::Membership;
use super::client::Client;
use super::cluster::{EARLIEST, LATEST, TopicPartition};
use super::settings::Settings;
use super::{Ended, failed};

/// Kafka's consumer settings, as far as they mean something here.
#[derive(Clone, Debug)]
pub struct ConsumerSettings {
    pub group: Option<String>,
    pub instance: Option<String>,
    pub assignors: Vec<Assignor>,
    pub session_ms: i32,
    pub rebalance_ms: i32,
    pub heartbeat: Duration,
    pub auto_commit: Option<Duration>,
    /// Where to begin without an offset; `None`: that is an error.
    pub reset: Option<i64>,
    pub read_committed: bool,
    pub client_id: String,
    pub fetch_wait: Duration,
    pub fetch_bytes_min: i32,
    pub fetch_bytes_max: i32,
    pub partition_bytes_max: i32,
    pub exclude_internal: bool,
}

impl ConsumerSettings {
    pub fn of(settings: &Settings) -> Result<ConsumerSettings, Ended> {
        let whole = |key: &str, default: i64| settings.number(key, default, 0..=i64::from(i32::MAX));
        let reset = match settings.text("auto.offset.reset").unwrap_or("latest") {
            "latest" | "largest" => Some(LATEST),
            "earliest" | "smallest" => Some(EARLIEST),
            "none" => None,
            other => {
                return failed(format!(
                    "Invalid value {other} for configuration auto.offset.reset: latest, earliest or none"
                ));
            }
        };
        let assignors = match settings.text("partition.assignment.strategy") {
            None => vec![Assignor::Range, Assignor::CooperativeSticky],
            Some(names) => names
                .split(',')
                .map(|name| {
                    Assignor::from_class(name.trim()).ok_or_else(|| {
                        Ended::Failed(format!(
                            "partition.assignment.strategy={name}: range, roundrobin, sticky or cooperative-sticky"
                        ))
                    })
                })
                .collect::<Result<_, _>>()?,
        };
        let isolation = settings.text("isolation.level").unwrap_or("read_uncommitted");
        let auto_commit = settings.flag("enable.auto.commit", true)?;
        let auto_commit_ms = whole("auto.commit.interval.ms", 5000)?;
        Ok(ConsumerSettings {
            group: settings.text("group.id").filter(|id| !id.is_empty()).map(str::to_owned),
            instance: settings.text("group.instance.id").map(str::to_owned),
            assignors,
            session_ms: whole("session.timeout.ms", 45_000)? as i32,
            rebalance_ms: whole("max.poll.interval.ms", 300_000)? as i32,
            heartbeat: Duration::from_millis(whole("heartbeat.interval.ms", 3000)? as u64),
            auto_commit: auto_commit.then(|| Duration::from_millis(auto_commit_ms as u64)),
            reset,
            read_committed: match isolation {
                "read_committed" => true,
                "read_uncommitted" => false,
                other => {
                    return failed(format!("isolation.level={other}: read_committed or read_uncommitted"));
                }
            },
            client_id: settings.text("client.id").unwrap_or("console-consumer").to_owned(),
            fetch_wait: Duration::from_millis(whole("fetch.max.wait.ms", 500)? as u64),
            fetch_bytes_min: whole("fetch.min.bytes", 1)? as i32,
            fetch_bytes_max: whole("fetch.max.bytes", 52_428_800)? as i32,
            partition_bytes_max: whole("max.partition.fetch.bytes", 1_048_576)? as i32,
            exclude_internal: settings.flag("exclude.internal.topics", true)?,
        })
    }
}

/// What is read.
#[derive(Clone, Debug)]
pub enum Subscription {
    Topic(String),
    Pattern(regex::Regex),
    /// One partition from an offset, or from `EARLIEST` or `LATEST`; without a group.
    Partition(TopicPartition, i64),
}

pub struct Consumer {
    client: Client,
    settings: ConsumerSettings,
    subscription: Subscription,
    fetcher: Fetcher,
    membership: Option<Membership>,
    last_commit: Instant,
    last_look: Instant,
}

/// How often topics are looked for that a pattern names, and partitions that came.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);

impl Consumer {
    pub fn open(
        mut client: Client,
        subscription: Subscription,
        settings: ConsumerSettings,
    ) -> Result<Consumer, Ended> {
        client.set_client_id(&settings.client_id);
        let mut fetcher = Fetcher::new(&settings);
        let membership = match (&subscription, &settings.group) {
            (Subscription::Partition(at, from), _) => {
                fetcher.assign(&mut client, &[(at.clone(), *from)])?;
                None
            }
            (_, Some(group)) => Some(Membership::new(group, &settings)),
            (_, None) => return failed("group.id is needed where no partition is named"),
        };
        let now = Instant::now();
        Ok(Consumer { client, settings, subscription, fetcher, membership, last_commit: now, last_look: now })
    }

    fn topics(&mut self) -> Result<Vec<String>, Ended> {
        Ok(match &self.subscription {
            Subscription::Topic(topic) => vec![topic.clone()],
            Subscription::Partition(at, _) => vec![at.topic.clone()],
            Subscription::Pattern(pattern) => {
                let hidden = self.settings.exclude_internal;
                let all = self.client.all_topics()?;
                all.into_iter()
                    .filter(|(name, is_internal)| !(hidden && *is_internal) && pattern.is_match(name))
                    .map(|(name, _)| name)
                    .collect()
            }
        })
    }

    /// Takes part in the group's rebalance when there is one, and reads once. `each` says whether to go on.
    pub fn poll(
        &mut self,
        at_most: Duration,
        each: &mut dyn FnMut(&Fetched<'_>) -> Result<Flow, Ended>,
    ) -> Result<(), Ended> {
        self.stay_in_group()?;
        if self.fetcher.is_empty() {
            std::thread::sleep(at_most.min(Duration::from_millis(100)));
            return Ok(());
        }
        self.fetcher.poll(&mut self.client, at_most, each)
    }

    fn stay_in_group(&mut self) -> Result<(), Ended> {
        if self.membership.is_none() {
            return Ok(());
        }
        let look = self.last_look.elapsed() >= LOOK_INTERVAL;
        let is_member = self.membership.as_ref().is_some_and(Membership::is_member);
        if look || !is_member {
            self.last_look = Instant::now();
            let topics = self.topics()?;
            if let Some(membership) = &mut self.membership {
                membership.subscribe(topics, &mut self.client)?;
            }
        }
        if self.settings.auto_commit.is_some_and(|interval| self.last_commit.elapsed() >= interval) {
            self.commit()?;
        }
        let Some(membership) = &mut self.membership else { return Ok(()) };
        membership.heartbeat(&mut self.client)?;
        while !membership.is_member() {
            // Eager members give everything back first; cooperative ones what they are told to.
            if self.settings.auto_commit.is_some() {
                membership.commit(&mut self.client, &self.fetcher.consumed())?;
            }
            let assigned = membership.join(&mut self.client)?;
            let held: BTreeSet<TopicPartition> = self.fetcher.partitions().into_iter().collect();
            let new: BTreeSet<TopicPartition> = assigned.into_iter().collect();
            let kept = if membership.is_cooperative() { &held & &new } else { BTreeSet::new() };
            let committed: HashMap<TopicPartition, i64> = self
                .client
                .committed(membership.group())?
                .map_err(|code| Ended::Failed(super::java::exception(code)))?
                .into_iter()
                .collect();
            let mut begin = Vec::new();
            for at in &new - &kept {
                match committed.get(&at).copied().or(self.settings.reset) {
                    Some(from) => begin.push((at, from)),
                    None => {
                        return failed(format!(
                            "Undefined offset with no reset policy for partitions: [{at}]"
                        ));
                    }
                }
            }
            self.fetcher.keep(&kept);
            self.fetcher.assign(&mut self.client, &begin)?;
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), Ended> {
        self.last_commit = Instant::now();
        if let Some(membership) = &mut self.membership {
            membership.commit(&mut self.client, &self.fetcher.consumed())?;
        }
        Ok(())
    }

    /// Commits what was read, where that is asked for, and leaves the group.
    pub fn close(mut self) -> Result<(), Ended> {
        if self.settings.auto_commit.is_some() {
            self.commit()?;
        }
        match &mut self.membership {
            Some(membership) => membership.leave(&mut self.client),
            None => Ok(()),
        }
    }
}
