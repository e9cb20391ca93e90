//! A scenario as text: a head of `key: value` lines, then one step a line, blocks by indentation.
//!
//! In: a file of `tests/scenarios`. Out: what to start, what to do. `README.md` beside the files lists the words.

use std::time::Duration;

#[derive(Clone, Debug, Default)]
pub struct Script {
    pub name: String,
    /// The first comment.
    pub title: String,
    pub brokers: usize,
    pub zookeepers: usize,
    /// Also with one broker that keeps its metadata itself.
    pub alone: bool,
    /// In namespaces, so that it can be cut.
    pub own_network: bool,
    /// What must be found: a story of the rig itself.
    pub planted: Vec<String>,
    pub partitions: i32,
    pub replicas: i16,
    pub in_sync_min: usize,
    pub settings: Vec<(String, String)>,
    pub producers: Vec<Producers>,
    pub readers: usize,
    pub allowed: Vec<String>,
    pub limit: Duration,
    pub steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Producers {
    pub count: usize,
    pub idempotent: bool,
    pub acks: i16,
    pub retries: bool,
    /// Acknowledgements are held against the subject although they promise less.
    pub promised: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    Broker(i32),
    LeaderOfAny,
    FollowerOfAny,
    Controller,
    Any,
    Every,
    /// Those of the step before.
    It,
    ZooKeeper(usize),
    LeadingZooKeeper,
    EveryZooKeeper,
}

/// What somebody no longer reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    OtherBrokers,
    ZooKeepers,
    Broker(i32),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Wait(Duration, Duration),
    Repeat {
        times: u32,
        long: u32,
        steps: Vec<Step>,
    },
    Kill(Who),
    Stop(Who),
    /// Started, and answering.
    Start(Who),
    /// Started, and not waited for.
    Launch(Who),
    Pause(Who),
    Resume(Who),
    PauseFor(Who, Duration),
    Wipe(Who),
    UntilInSync,
    UntilLed,
    UntilOutOfSync(Who),
    UntilRegistered,
    StartZooKeepers,
    CutClients,
    Cut {
        who: Who,
        from: From,
        one_way: bool,
    },
    HealNetwork,
    /// Topics that come and go beside the load.
    Administer,
    DeleteAndMakeAgain,
}

impl Script {
    pub fn parse(name: &str, text: &str) -> Result<Script, String> {
        let mut script = Script {
            name: name.to_string(),
            brokers: 3,
            zookeepers: 1,
            partitions: 6,
            replicas: 3,
            in_sync_min: 2,
            readers: 2,
            limit: Duration::from_secs(90),
            ..Default::default()
        };
        let mut lines: Vec<(usize, usize, &str)> = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let content = line.trim();
            if let Some(comment) = content.strip_prefix('#') {
                if script.title.is_empty() {
                    script.title = comment.trim().to_string();
                }
            } else if !content.is_empty() {
                lines.push((number + 1, line.len() - line.trim_start().len(), content));
            }
        }
        let mut lines = lines.into_iter().peekable();
        while let Some((number, _, line)) = lines.next_if(|(_, _, line)| is_head(line)) {
            script.head(line).map_err(|why| format!("{name}:{number}: {why}"))?;
        }
        let rest: Vec<_> = lines.collect();
        script.steps = block(&rest, 0).map_err(|(number, why)| format!("{name}:{number}: {why}"))?;
        if script.steps.is_empty() || script.title.is_empty() || script.producers.is_empty() {
            return Err(format!("{name}: a title in a comment, producers and steps are needed"));
        }
        Ok(script)
    }

    fn head(&mut self, line: &str) -> Result<(), String> {
        let (key, value) = line.split_once(':').ok_or("key: value")?;
        let value = value.trim();
        match key {
            "brokers" => self.brokers = number(value)?,
            "zookeepers" => self.zookeepers = number(value)?,
            "network" => self.own_network = value == "own",
            "plant" => self.planted.extend(value.split(',').map(|name| name.trim().to_string())),
            "alone" => self.alone = value == "too",
            "topic" => {
                for piece in value.split(',').map(str::trim) {
                    match piece.split_once(' ').ok_or("a topic has partitions, replicas, in sync")? {
                        (count, "partitions") => self.partitions = number(count)?,
                        (count, "replicas") => self.replicas = number(count)?,
                        (count, "in sync") => self.in_sync_min = number(count)?,
                        (_, what) => return Err(format!("a topic has no {what}")),
                    }
                }
            }
            "set" => {
                let (key, value) = value.split_once('=').ok_or("set: key=value")?;
                self.settings.push((key.to_string(), value.to_string()));
            }
            "producers" => {
                let mut words = value.split(',').map(str::trim);
                let (count, kind) =
                    words.next().and_then(|w| w.split_once(' ')).ok_or("producers: 2 idempotent")?;
                let mut producers = Producers {
                    count: number(count)?,
                    idempotent: match kind {
                        "idempotent" => true,
                        "plain" => false,
                        other => return Err(format!("producers are idempotent or plain, not {other}")),
                    },
                    acks: -1,
                    retries: true,
                    promised: false,
                };
                for word in words {
                    match word {
                        "acks all" => producers.acks = -1,
                        "acks 1" => producers.acks = 1,
                        "acks 0" => producers.acks = 0,
                        "promised" => producers.promised = true,
                        "no retries" => producers.retries = false,
                        other => return Err(format!("a producer knows no {other}")),
                    }
                }
                if producers.idempotent && (producers.acks != -1 || !producers.retries) {
                    return Err("an idempotent producer has acks all, and retries".into());
                }
                self.producers.push(producers);
            }
            "readers" => self.readers = number(value)?,
            "allow" => self.allowed.extend(value.split(',').map(|name| name.trim().to_string())),
            "limit" => self.limit = duration(value)?,
            _ => return Err(format!("no head line {key}")),
        }
        Ok(())
    }

    /// As with one broker that keeps its metadata itself.
    pub fn made_alone(mut self) -> Script {
        (self.brokers, self.zookeepers, self.replicas, self.in_sync_min) = (1, 0, 1, 1);
        self
    }
}

fn is_head(line: &str) -> bool {
    line.split_once(':').is_some_and(|(key, value)| !key.contains(' ') && !value.is_empty())
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.trim().parse().map_err(|_| format!("{text} is no number"))
}

fn duration(text: &str) -> Result<Duration, String> {
    let (count, unit) = text.split_once(' ').ok_or_else(|| format!("{text}: a number and a unit"))?;
    let count: u64 = number(count)?;
    match unit {
        "ms" => Ok(Duration::from_millis(count)),
        "second" | "seconds" => Ok(Duration::from_secs(count)),
        "minute" | "minutes" => Ok(Duration::from_secs(60 * count)),
        other => Err(format!("no unit {other}")),
    }
}

type Lines<'a> = [(usize, usize, &'a str)];

fn block(lines: &Lines<'_>, indent: usize) -> Result<Vec<Step>, (usize, String)> {
    let mut steps = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let (number, depth, line) = lines[at];
        if depth != indent {
            return Err((number, "indented for no reason".into()));
        }
        at += 1;
        if let Some(head) = line.strip_suffix(':') {
            let inner = lines[at..].iter().take_while(|(_, depth, _)| *depth > indent).count();
            let inside = &lines[at..at + inner];
            let deeper = inside.first().ok_or((number, "repeats nothing".to_string()))?.1;
            let (times, long) = repeat(head).map_err(|why| (number, why))?;
            steps.push(Step::Repeat { times, long, steps: block(inside, deeper)? });
            at += inner;
        } else {
            steps.push(step(line).map_err(|why| (number, why))?);
        }
    }
    Ok(steps)
}

/// `repeat 3 times` or `repeat 3 times, 100 in a long run`.
fn repeat(head: &str) -> Result<(u32, u32), String> {
    let rest = head.strip_prefix("repeat ").ok_or_else(|| format!("{head}: repeat N times"))?;
    let (times, long) = rest.split_once(',').unwrap_or((rest, ""));
    let times = number(times.strip_suffix("times").ok_or("repeat N times")?)?;
    let long = match long.trim() {
        "" => times,
        long => number(long.strip_suffix("in a long run").ok_or("N in a long run")?)?,
    };
    Ok((times, long))
}

fn step(line: &str) -> Result<Step, String> {
    let fixed = match line {
        "wait until every partition is in sync" => Some(Step::UntilInSync),
        "wait until every partition is led" => Some(Step::UntilLed),
        "wait until every broker is registered" => Some(Step::UntilRegistered),
        "start the zookeepers that are down" => Some(Step::StartZooKeepers),
        "heal the network" => Some(Step::HealNetwork),
        "cut the clients" => Some(Step::CutClients),
        "create, change and delete a topic" => Some(Step::Administer),
        "delete the topic and make it again" => Some(Step::DeleteAndMakeAgain),
        _ => None,
    };
    if let Some(step) = fixed {
        return Ok(step);
    }
    if let Some(rest) = line.strip_prefix("wait until ") {
        let who = rest.strip_suffix(" is out of sync").ok_or_else(|| format!("nobody waits until {rest}"))?;
        return Ok(Step::UntilOutOfSync(who_of(who)?));
    }
    let (verb, rest) = line.split_once(' ').ok_or_else(|| format!("no step {line}"))?;
    match verb {
        // A range is drawn from: `wait 10 to 200 ms`.
        "wait" => match rest.split_once(" to ") {
            Some((from, to)) => {
                let to_at = duration(to)?;
                let unit = to.split_once(' ').map_or("", |(_, unit)| unit);
                Ok(Step::Wait(duration(&format!("{from} {unit}"))?, to_at))
            }
            None => duration(rest).map(|time| Step::Wait(time, time)),
        },
        "cut" => {
            let (rest, one_way) = rest.strip_suffix(" one way").map_or((rest, false), |rest| (rest, true));
            let (who, from) = rest.split_once(" from ").ok_or("cut WHO from WHOM")?;
            let from = match from {
                "every other broker" => From::OtherBrokers,
                "every zookeeper" => From::ZooKeepers,
                one => From::Broker(number(one.strip_prefix("broker ").ok_or("cut from broker N")?)?),
            };
            Ok(Step::Cut { who: who_of(who)?, from, one_way })
        }
        "kill" => Ok(Step::Kill(who_of(rest)?)),
        "stop" => Ok(Step::Stop(who_of(rest)?)),
        "start" => Ok(Step::Start(who_of(rest)?)),
        "launch" => Ok(Step::Launch(who_of(rest)?)),
        "resume" => Ok(Step::Resume(who_of(rest)?)),
        "wipe" => Ok(Step::Wipe(who_of(rest)?)),
        "pause" => match rest.split_once(" for ") {
            Some((who, time)) => Ok(Step::PauseFor(who_of(who)?, duration(time)?)),
            None => Ok(Step::Pause(who_of(rest)?)),
        },
        _ => Err(format!("no step {line}")),
    }
}

fn who_of(text: &str) -> Result<Who, String> {
    Ok(match text {
        "the leader of a random partition" => Who::LeaderOfAny,
        "a follower of a random partition" => Who::FollowerOfAny,
        "the controller" => Who::Controller,
        "a random broker" => Who::Any,
        "every broker" => Who::Every,
        "it" | "them" => Who::It,
        "the leading zookeeper" => Who::LeadingZooKeeper,
        "every zookeeper" => Who::EveryZooKeeper,
        other => match other.split_once(' ') {
            Some(("broker", id)) => Who::Broker(number(id)?),
            Some(("zookeeper", id)) => Who::ZooKeeper(number(id)?),
            _ => return Err(format!("nobody is {other}")),
        },
    })
}
