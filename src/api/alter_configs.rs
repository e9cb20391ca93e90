//! AlterConfigs and IncrementalAlterConfigs (keys 33, 44): other settings for topics and for this broker, checked as Kafka
//! checks them with ZooKeeper.
//!
//! In: resources, each with its whole new set or with steps from the present one. Out: for each the set to store, or a refusal;
//! and, when the control thread has stored them, the response. One resource does not depend on another.

use hashbrown::HashSet;

use crate::api::admin::{Context, Refusal, code_and_message, refusal_of};
use crate::config::setting::{Kind, Setting};
use crate::config::{Overrides, TopicConfig, settings};
use crate::wire::error_code::ErrorCode;
use crate::wire::message::Message;
use crate::wire::message::alter_configs::{
    AlterConfigsRequest, AlterConfigsResponse, AlterConfigsResponseResponse,
};
use crate::wire::message::incremental_alter_configs::{
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse, IncrementalAlterConfigsResponseResponse,
};
use crate::wire::primitive::Uuid;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const BROKER_LOGGER: i8 = 8;

/// What is to be stored for one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    Topic {
        id: Uuid,
        overrides: Overrides,
    },
    /// Of this broker, or of all brokers.
    Broker {
        own: bool,
        settings: Overrides,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Set,
    Delete,
    Append,
    Subtract,
}

struct Resource<'a> {
    kind: i8,
    name: &'a str,
    /// `Err`: an operation that there is not.
    steps: Vec<(&'a str, Result<Step, i8>, Option<&'a str>)>,
    /// The steps start from nothing.
    whole: bool,
}

#[derive(Debug)]
pub struct Plan {
    entries: Vec<(i8, String, Result<Option<usize>, Refusal>)>,
    /// What to store; the entries point into it. Empty when the request only asks whether it could be.
    pub targets: Vec<Target>,
}

pub fn plan(ctx: &Context<'_>, request: &AlterConfigsRequest<'_>) -> Plan {
    let resources = request.resources.iter().map(|resource| Resource {
        kind: resource.resource_type,
        name: resource.resource_name,
        steps: resource.configs.iter().map(|config| (config.name, Ok(Step::Set), config.value)).collect(),
        whole: true,
    });
    plan_all(ctx, resources.collect(), request.validate_only)
}

pub fn plan_incremental(ctx: &Context<'_>, request: &IncrementalAlterConfigsRequest<'_>) -> Plan {
    let step = |operation: i8| match operation {
        0 => Ok(Step::Set),
        1 => Ok(Step::Delete),
        2 => Ok(Step::Append),
        3 => Ok(Step::Subtract),
        other => Err(other),
    };
    let resources = request.resources.iter().map(|resource| Resource {
        kind: resource.resource_type,
        name: resource.resource_name,
        steps: resource.configs.iter().map(|c| (c.name, step(c.config_operation), c.value)).collect(),
        whole: false,
    });
    plan_all(ctx, resources.collect(), request.validate_only)
}

fn plan_all(ctx: &Context<'_>, resources: Vec<Resource<'_>>, validate_only: bool) -> Plan {
    let mut once: HashSet<(i8, &str)> = HashSet::new();
    let twice: HashSet<(i8, &str)> =
        resources.iter().map(|r| (r.kind, r.name)).filter(|key| !once.insert(*key)).collect();
    let mut plan = Plan { entries: Vec::with_capacity(resources.len()), targets: Vec::new() };
    for resource in &resources {
        let target = if twice.contains(&(resource.kind, resource.name)) {
            invalid("Each resource must appear at most once.")
        } else {
            target(ctx, resource)
        };
        let entry = target.map(|target| {
            (!validate_only).then(|| {
                plan.targets.push(target);
                plan.targets.len() - 1
            })
        });
        plan.entries.push((resource.kind, resource.name.to_owned(), entry));
    }
    plan
}

fn invalid<T>(why: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::new(ErrorCode::InvalidRequest, why))
}

fn target(ctx: &Context<'_>, resource: &Resource<'_>) -> Result<Target, Refusal> {
    let mut names = HashSet::new();
    if !resource.steps.iter().all(|(name, ..)| names.insert(*name)) {
        return invalid("Error due to duplicate config keys");
    }
    let without_value: Vec<&str> = resource
        .steps
        .iter()
        .filter(|(_, step, value)| *step != Ok(Step::Delete) && value.is_none())
        .map(|(name, ..)| *name)
        .collect();
    if !without_value.is_empty() {
        return invalid(format!("Null value not supported for : {}", without_value.join(", ")));
    }
    let name = resource.name;
    match resource.kind {
        TOPIC if name.is_empty() => invalid("Default topic resources are not allowed."),
        TOPIC => {
            let Some(topic) = ctx.image.topic(name) else {
                let why = format!("The topic '{name}' does not exist.");
                return Err(Refusal::new(ErrorCode::UnknownTopicOrPartition, why));
            };
            let overrides = apply(&topic.overrides, resource, settings::topic)?;
            match TopicConfig::resolve(ctx.config, &overrides) {
                Ok(_) => Ok(Target::Topic { id: topic.id, overrides }),
                Err(error) if settings::topic(&error.key).is_none() => {
                    Err(Refusal::new(ErrorCode::InvalidConfig, error.message))
                }
                Err(error) => {
                    let what = format!("ConfigResource(type=TOPIC, name='{name}')");
                    let why = format!("Invalid config value for resource {what}: {}", error.message);
                    Err(Refusal::new(ErrorCode::InvalidConfig, why))
                }
            }
        }
        BROKER => {
            let own = !name.is_empty();
            if own {
                check_broker(ctx, name)?;
            }
            let present = if own { ctx.config.settings_of_this() } else { ctx.config.settings_of_all() };
            let settings = apply(present, resource, settings::broker)?;
            match ctx.config.check_live(&settings, own) {
                Ok(()) => Ok(Target::Broker { own, settings }),
                Err(why) => invalid(why),
            }
        }
        BROKER_LOGGER => invalid("This broker has no log levels of single loggers to change."),
        other => invalid(format!("Unknown resource type {other}")),
    }
}

fn check_broker(ctx: &Context<'_>, name: &str) -> Result<(), Refusal> {
    let this = ctx.image.cluster().this_broker;
    match name.parse::<i32>() {
        Ok(id) if id == this.0 => Ok(()),
        Ok(id) => invalid(format!("Unexpected broker id, expected {this}, but received {id}")),
        Err(_) => invalid(format!("Node id must be an integer, but it is: {name}")),
    }
}

/// The set after the steps.
fn apply(
    present: &Overrides,
    resource: &Resource<'_>,
    row: fn(&str) -> Option<&'static Setting>,
) -> Result<Overrides, Refusal> {
    let mut set = if resource.whole { Overrides::new() } else { present.clone() };
    for (name, step, value) in &resource.steps {
        let value = value.unwrap_or_default();
        match step {
            Ok(Step::Set) => {
                set.insert((*name).to_owned(), value.to_owned());
            }
            Ok(Step::Delete) => {
                set.remove(*name);
            }
            Ok(Step::Append) => {
                let mut elements = list(&set, name, row, "append")?;
                for element in value.split(',') {
                    if !elements.iter().any(|known| known == element) {
                        elements.push(element.to_owned());
                    }
                }
                set.insert((*name).to_owned(), elements.join(","));
            }
            Ok(Step::Subtract) => {
                let mut elements = list(&set, name, row, "subtract")?;
                elements.retain(|known| !value.split(',').any(|element| element == known));
                set.insert((*name).to_owned(), elements.join(","));
            }
            Err(operation) => {
                return invalid(format!("Unknown operation type {operation} for config {name}"));
            }
        }
    }
    Ok(set)
}

/// The elements of a list as they are now.
fn list(
    set: &Overrides,
    name: &str,
    row: fn(&str) -> Option<&'static Setting>,
    what: &str,
) -> Result<Vec<String>, Refusal> {
    let refuse = |why: String| Err(Refusal::new(ErrorCode::InvalidConfig, why));
    let Some(setting) = row(name) else {
        return refuse(format!("Unknown config name: {name}"));
    };
    if setting.kind != Kind::List {
        return refuse(format!("Config value {what} is not allowed for config key: {name}"));
    }
    let text = set.get(name).map(String::as_str).or(setting.default).unwrap_or_default();
    Ok(text.split(',').filter(|element| !element.is_empty()).map(str::to_owned).collect())
}

impl Plan {
    /// The answer; `stored` has a result for each of `targets`.
    pub fn respond(&self, version: i16, stored: &[Result<(), Refusal>]) -> Vec<u8> {
        let responses =
            self.rows(stored).map(|(kind, name, error_code, message)| AlterConfigsResponseResponse {
                error_code,
                error_message: message.map(Into::into),
                resource_type: kind,
                resource_name: name.into(),
            });
        let response = AlterConfigsResponse { throttle_time_ms: 0, responses: responses.collect() };
        let mut body = Vec::new();
        response.encode(&mut body, version);
        body
    }

    pub fn respond_incremental(&self, version: i16, stored: &[Result<(), Refusal>]) -> Vec<u8> {
        let responses = self.rows(stored).map(|(kind, name, error_code, message)| {
            IncrementalAlterConfigsResponseResponse {
                error_code,
                error_message: message.map(Into::into),
                resource_type: kind,
                resource_name: name.into(),
            }
        });
        let response =
            IncrementalAlterConfigsResponse { throttle_time_ms: 0, responses: responses.collect() };
        let mut body = Vec::new();
        response.encode(&mut body, version);
        body
    }

    fn rows<'a>(
        &'a self,
        stored: &'a [Result<(), Refusal>],
    ) -> impl Iterator<Item = (i8, &'a str, i16, Option<&'a str>)> {
        self.entries.iter().map(|(kind, name, entry)| {
            let (code, message) = code_and_message(refusal_of(entry, stored));
            (*kind, name.as_str(), code, message)
        })
    }
}
