//! CreateTopics (key 19): what is asked for, checked as Kafka checks it, and the answer.
//!
//! In: a request and the image. Out: a plan, which names for each topic either a refusal or what to make; and, when
//! the control thread has done so, the response. Nothing here changes anything.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};

use crate::api::admin::{Context, Refusal, refusal_of};
use crate::config::{Overrides, TopicConfig};
use crate::ids::BrokerId;
use crate::metadata::{Cluster, topic_name};
use crate::wire::array::Array;
use crate::wire::error_code::ErrorCode;
use crate::wire::message::Message;
use crate::wire::message::create_topics::{
    CreateTopicsRequest, CreateTopicsRequestAssignment, CreateTopicsRequestTopic, CreateTopicsResponse,
    CreateTopicsResponseConfig, CreateTopicsResponseTopic,
};
use crate::wire::primitive::Uuid;

/// "The broker's default", for counts.
pub const DEFAULT_COUNT: i32 = -1;

/// Partitions one request may ask for. The answer describes every topic in full, so it is this that bounds it.
pub const PARTITIONS_PER_REQUEST_MAX: i64 = 20_000;
/// Partitions one broker may have: each costs memory and open files.
pub const PARTITIONS_MAX: i64 = 200_000;

/// A topic that may be made.
#[derive(Clone, Debug, PartialEq)]
pub struct NewTopic {
    pub name: Arc<str>,
    pub partition_count: i32,
    /// Replicas of each partition.
    pub replication_factor: i32,
    /// Where the partitions shall live, if somebody said so; otherwise they are spread.
    pub assigned: Option<Vec<Vec<BrokerId>>>,
    pub overrides: Overrides,
    pub config: Arc<TopicConfig>,
}

/// What becomes of a request: one entry for each of its topics, in its order.
#[derive(Debug, Default)]
pub struct Plan {
    entries: Vec<(String, Result<usize, Refusal>)>,
    /// The topics to make; the entries point into it.
    pub topics: Vec<NewTopic>,
}

/// Checks a request against the image.
pub fn plan(ctx: &Context<'_>, request: &CreateTopicsRequest<'_>) -> Plan {
    let mut counts: HashMap<&str, u32> = HashMap::new();
    for topic in &request.topics {
        *counts.entry(topic.name).or_default() += 1;
    }
    let mut planner = Planner::new(ctx);
    let mut plan = Plan::default();
    for topic in &request.topics {
        let result = if counts[topic.name] > 1 {
            Err(Refusal::new(ErrorCode::InvalidRequest, "Found multiple entries for this topic."))
        } else {
            planner.topic(&topic)
        };
        let result = result.map(|topic| {
            plan.topics.push(topic);
            plan.topics.len() - 1
        });
        plan.entries.push((topic.name.to_owned(), result));
    }
    plan
}

/// Checks topics that somebody asked after in Metadata, with the broker's counts and without settings.
pub fn plan_defaults<'a>(ctx: &Context<'_>, names: impl Iterator<Item = &'a str>) -> Plan {
    let mut planner = Planner::new(ctx);
    let mut plan = Plan::default();
    let mut seen: HashSet<&str> = HashSet::new();
    for name in names.filter(|name| seen.insert(name)) {
        let topic = CreateTopicsRequestTopic {
            name,
            num_partitions: DEFAULT_COUNT,
            replication_factor: DEFAULT_COUNT as i16,
            ..Default::default()
        };
        let topic = if name == topic_name::OFFSETS { offsets_topic(ctx) } else { topic };
        let result = planner.topic(&topic).map(|topic| {
            plan.topics.push(topic);
            plan.topics.len() - 1
        });
        plan.entries.push((name.to_owned(), result));
    }
    plan
}

/// The topic that keeps groups and their offsets (contract 6.3).
fn offsets_topic<'a>(ctx: &Context<'_>) -> CreateTopicsRequestTopic<'a> {
    let config = ctx.config;
    // A broker that keeps its metadata itself is the only one there will ever be.
    let replicas = if config.zookeeper.is_some() { config.offsets_topic_replication_factor } else { 1 };
    CreateTopicsRequestTopic {
        name: topic_name::OFFSETS,
        num_partitions: config.offsets_topic_num_partitions,
        replication_factor: i16::try_from(replicas).unwrap_or(i16::MAX),
        ..Default::default()
    }
}

impl Plan {
    /// Why the first topic was not made, if so.
    pub fn refusal(&self, made: &[Result<Uuid, Refusal>]) -> Option<Refusal> {
        let (_, entry) = self.entries.first()?;
        refusal_of(entry, made).cloned()
    }

    /// What was refused, and what was planned but could not be made, by name.
    pub fn failures<'s>(
        &'s self,
        made: &'s [Result<Uuid, Refusal>],
    ) -> impl Iterator<Item = (&'s str, ErrorCode)> {
        self.entries.iter().filter_map(|(name, entry)| Some((&**name, refusal_of(entry, made)?.code)))
    }

    /// The answer; `made` has a result for each of `topics`. For a request that only validates, all are the zero id.
    pub fn respond(&self, ctx: &Context<'_>, version: i16, made: &[Result<Uuid, Refusal>]) -> Vec<u8> {
        let topics = self.entries.iter().map(|(name, result)| {
            let outcome = result.as_ref().map_err(|refusal| refusal.clone());
            match outcome.and_then(|index| made[*index].clone().map(|id| (&self.topics[*index], id))) {
                Ok((topic, id)) => created(ctx, version, topic, id),
                Err(refusal) => refused(name, &refusal),
            }
        });
        let response = CreateTopicsResponse { throttle_time_ms: 0, topics: topics.collect() };
        let mut body = Vec::with_capacity(response.size(version));
        response.encode(&mut body, version);
        body
    }
}

/// The same answer for every topic.
pub fn refuse_all(request: &CreateTopicsRequest<'_>, version: i16, refusal: &Refusal) -> Vec<u8> {
    let topics = request.topics.iter().map(|topic| refused(topic.name, refusal));
    let response = CreateTopicsResponse { throttle_time_ms: 0, topics: topics.collect() };
    let mut body = Vec::new();
    response.encode(&mut body, version);
    body
}

fn created(
    ctx: &Context<'_>,
    version: i16,
    topic: &NewTopic,
    id: Uuid,
) -> CreateTopicsResponseTopic<'static> {
    // Described only for versions that have room for it.
    let described = if version >= 5 { ctx.config.describe_topic(&topic.overrides) } else { Vec::new() };
    let configs = described.into_iter().map(|row| CreateTopicsResponseConfig {
        name: row.name.into(),
        value: row.value.map(Into::into),
        read_only: row.read_only,
        config_source: row.source.code(),
        is_sensitive: row.sensitive,
    });
    CreateTopicsResponseTopic {
        name: topic.name.to_string().into(),
        topic_id: id,
        num_partitions: topic.partition_count,
        replication_factor: i16::try_from(topic.replication_factor).unwrap_or(i16::MAX),
        configs: Some(configs.collect()),
        ..Default::default()
    }
}

fn refused(name: &str, refusal: &Refusal) -> CreateTopicsResponseTopic<'static> {
    CreateTopicsResponseTopic {
        name: name.to_owned().into(),
        error_code: refusal.code as i16,
        error_message: refusal.message.clone().map(Into::into),
        configs: Some(Vec::new()),
        ..Default::default()
    }
}

/// Checks topics one after the other; what it let pass counts for those that follow.
struct Planner<'s> {
    ctx: &'s Context<'s>,
    partitions_planned: i64,
    /// Names of the image and of the plan, by the form in which they collide; made when the first name asks for it.
    collision_forms: Option<HashMap<String, Vec<String>>>,
    names_planned: Vec<String>,
}

impl<'s> Planner<'s> {
    fn new(ctx: &'s Context<'s>) -> Planner<'s> {
        Planner { ctx, partitions_planned: 0, collision_forms: None, names_planned: Vec::new() }
    }

    fn topic(&mut self, topic: &CreateTopicsRequestTopic<'_>) -> Result<NewTopic, Refusal> {
        let name = topic.name;
        if name == topic_name::CLUSTER_METADATA {
            let why = format!("Creation of internal topic {name} is prohibited.");
            return Err(Refusal::new(ErrorCode::InvalidRequest, why));
        }
        if self.ctx.image.topic(name).is_some() {
            return Err(Refusal::new(
                ErrorCode::TopicAlreadyExists,
                format!("Topic '{name}' already exists."),
            ));
        }
        let mut overrides = overrides(topic)?;
        if name == topic_name::OFFSETS {
            // As Kafka makes it; whoever creates it by hand may have other wishes.
            let segment_bytes = self.ctx.config.offsets_topic_segment_bytes.to_string();
            let own = [
                ("cleanup.policy", "compact"),
                ("compression.type", "producer"),
                ("segment.bytes", &segment_bytes),
            ];
            for (key, value) in own {
                overrides.entry(key.to_owned()).or_insert_with(|| value.to_owned());
            }
        }
        let (partition_count, replication_factor) = self.counts(topic)?;
        let assigned = (!topic.assignments.is_empty()).then(|| assigned(&topic.assignments));
        topic_name::check(name).map_err(|why| Refusal::new(ErrorCode::InvalidTopicException, why))?;
        self.check_collision(name)?;
        let config = TopicConfig::resolve(self.ctx.config, &overrides)
            .map_err(|error| Refusal::new(ErrorCode::InvalidConfig, error.message))?;
        self.check_room(partition_count)?;
        self.note(name);
        let (name, config) = (name.into(), Arc::new(config));
        Ok(NewTopic { name, partition_count, replication_factor, assigned, overrides, config })
    }

    /// Partitions, and replicas of each.
    fn counts(&self, topic: &CreateTopicsRequestTopic<'_>) -> Result<(i32, i32), Refusal> {
        let (partitions, replicas) = (topic.num_partitions, i32::from(topic.replication_factor));
        if !topic.assignments.is_empty() {
            if partitions != DEFAULT_COUNT || replicas != DEFAULT_COUNT {
                return Err(Refusal::new(
                    ErrorCode::InvalidRequest,
                    "Both numPartitions or replicationFactor and replicasAssignments were set. Both cannot be \
                     used at the same time.",
                ));
            }
            let partitions = assigned_count(self.ctx.image.cluster(), &topic.assignments)?;
            let replicas = topic.assignments.first().map_or(0, |first| first.broker_ids.len());
            return Ok((partitions, i32::try_from(replicas).unwrap_or(i32::MAX)));
        }
        let or_default = |count: i32, default: i32| if count == DEFAULT_COUNT { default } else { count };
        let partitions = or_default(partitions, self.ctx.config.num_partitions);
        let replicas = or_default(replicas, self.ctx.config.default_replication_factor);
        if partitions <= 0 {
            return Err(Refusal::new(
                ErrorCode::InvalidPartitions,
                "Number of partitions must be larger than 0.",
            ));
        }
        let brokers = self.ctx.image.cluster().brokers.len();
        if replicas <= 0 {
            return Err(Refusal::new(
                ErrorCode::InvalidReplicationFactor,
                "Replication factor must be larger than 0.",
            ));
        }
        if replicas as usize > brokers {
            let why = format!("Replication factor: {replicas} larger than available brokers: {brokers}.");
            return Err(Refusal::new(ErrorCode::InvalidReplicationFactor, why));
        }
        Ok((partitions, replicas))
    }

    fn check_room(&mut self, partition_count: i32) -> Result<(), Refusal> {
        let planned = self.partitions_planned + i64::from(partition_count);
        let total = self.ctx.image.partition_count() as i64 + planned;
        let why = if planned > PARTITIONS_PER_REQUEST_MAX {
            format!("One request can create {PARTITIONS_PER_REQUEST_MAX} partitions, not {planned}.")
        } else if total > PARTITIONS_MAX {
            format!("A broker can have {PARTITIONS_MAX} partitions, and this would make {total}.")
        } else {
            self.partitions_planned = planned;
            return Ok(());
        };
        Err(Refusal::new(ErrorCode::PolicyViolation, why))
    }

    fn check_collision(&mut self, name: &str) -> Result<(), Refusal> {
        if !topic_name::has_collision_chars(name) {
            return Ok(());
        }
        let forms = self.collision_forms.get_or_insert_with(|| {
            let existing = self.ctx.image.topics().map(|topic| topic.name.to_string());
            let mut forms: HashMap<String, Vec<String>> = HashMap::new();
            for other in existing.chain(self.names_planned.drain(..)) {
                if topic_name::has_collision_chars(&other) {
                    forms.entry(topic_name::collision_form(&other)).or_default().push(other);
                }
            }
            forms
        });
        match forms.get_mut(&topic_name::collision_form(name)) {
            Some(others) => {
                others.sort_unstable();
                let why = format!("Topic '{name}' collides with existing topics: {}", others.join(", "));
                Err(Refusal::new(ErrorCode::InvalidTopicException, why))
            }
            None => Ok(()),
        }
    }

    fn note(&mut self, name: &str) {
        match &mut self.collision_forms {
            Some(forms) if topic_name::has_collision_chars(name) => {
                forms.entry(topic_name::collision_form(name)).or_default().push(name.to_owned());
            }
            Some(_) => {}
            None => self.names_planned.push(name.to_owned()),
        }
    }
}

/// The brokers of each partition, by its number.
fn assigned(assignments: &Array<'_, CreateTopicsRequestAssignment<'_>>) -> Vec<Vec<BrokerId>> {
    let mut by_number: Vec<(i32, Vec<BrokerId>)> = assignments
        .iter()
        .map(|one| (one.partition_index, one.broker_ids.iter().map(BrokerId).collect()))
        .collect();
    by_number.sort_by_key(|(number, _)| *number);
    by_number.into_iter().map(|(_, brokers)| brokers).collect()
}

/// More settings than there are keys can only be a mistake.
const OVERRIDES_MAX: usize = 1000;

fn overrides(topic: &CreateTopicsRequestTopic<'_>) -> Result<Overrides, Refusal> {
    if topic.configs.len() > OVERRIDES_MAX {
        let why = format!("{} settings for one topic; there are fewer keys.", topic.configs.len());
        return Err(Refusal::new(ErrorCode::InvalidConfig, why));
    }
    let nulls: Vec<&str> =
        topic.configs.iter().filter(|config| config.value.is_none()).map(|config| config.name).collect();
    if !nulls.is_empty() {
        let why = format!("Null value not supported for topic configs: {}", nulls.join(","));
        return Err(Refusal::new(ErrorCode::InvalidConfig, why));
    }
    let pairs = topic.configs.iter().filter_map(|config| Some((config.name, config.value?)));
    Ok(pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
}

/// The partition count of an assignment by hand, if it is one that the brokers there are can keep.
fn assigned_count(
    cluster: &Cluster,
    assignments: &Array<'_, CreateTopicsRequestAssignment<'_>>,
) -> Result<i32, Refusal> {
    let invalid = |why: String| Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, why));
    let mut numbers: Vec<i32> = Vec::with_capacity(assignments.len());
    let mut replica_count: Option<usize> = None;
    for assignment in assignments {
        let number = assignment.partition_index;
        numbers.push(number);
        check_replicas(cluster, number, &assignment.broker_ids)?;
        if replica_count.is_some_and(|count| count != assignment.broker_ids.len()) {
            return invalid("All partitions should have the same number of replicas".to_owned());
        }
        replica_count = Some(assignment.broker_ids.len());
    }
    numbers.sort_unstable();
    if !numbers.iter().copied().eq(0..numbers.len() as i32) {
        return invalid("partitions should be a consecutive 0-based integer sequence".to_owned());
    }
    Ok(numbers.len() as i32)
}

/// Kafka lets unknown brokers and empty lists pass here, and the request then ends in a timeout.
pub fn check_replicas(cluster: &Cluster, partition: i32, brokers: &Array<'_, i32>) -> Result<(), Refusal> {
    let invalid = |why: String| Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, why));
    if brokers.is_empty() {
        return invalid(format!("Cannot have replication factor of 0 for partition id {partition}."));
    }
    // An unknown broker ends the walk, so this never holds more than the brokers there are.
    let mut seen: Vec<i32> = Vec::new();
    for id in brokers {
        if seen.contains(&id) {
            return invalid(format!(
                "Duplicate brokers not allowed in replica assignment: {id} for partition id {partition}."
            ));
        }
        if cluster.broker(BrokerId(id)).is_none() {
            return invalid(format!("Unknown broker(s) in replica assignment: {id}."));
        }
        seen.push(id);
    }
    Ok(())
}
