//! DescribeConfigs (key 32): the settings of topics and of this broker, with where each value comes from.
//!
//! In: resources, each with the keys asked for or all. Out: the rows of `config::describe`, cut to what the version
//! and the request have room for. Values of secrets are null.

use hashbrown::{HashMap, HashSet};

use crate::api::admin::{Context, Refusal};
use crate::config::{Described, Source};
use crate::metadata::topic_name;
use crate::wire::error_code::ErrorCode;
use crate::wire::message::Message;
use crate::wire::message::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsRequestResource, DescribeConfigsResponse,
    DescribeConfigsResponseConfig, DescribeConfigsResponseResult, DescribeConfigsResponseSynonym,
};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const BROKER_LOGGER: i8 = 8;

pub fn respond(ctx: &Context<'_>, request: &DescribeConfigsRequest<'_>, version: i16) -> Vec<u8> {
    // Each resource once: an answer is thousands of times as long as its question.
    let mut seen: HashSet<(i8, &str)> = HashSet::new();
    let resources = request.resources.iter().filter(|r| seen.insert((r.resource_type, r.resource_name)));
    let results = resources.map(|resource| {
        let (refusal, configs) = match describe(ctx, &resource) {
            Ok(all) => (None, shown(all, &resource, request)),
            Err(refusal) => (Some(refusal), Vec::new()),
        };
        let (code, message) = match refusal {
            Some(refusal) => (refusal.code, refusal.message),
            None => (ErrorCode::None, None),
        };
        DescribeConfigsResponseResult {
            error_code: code as i16,
            error_message: message.map(Into::into),
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.into(),
            configs,
        }
    });
    let response = DescribeConfigsResponse { throttle_time_ms: 0, results: results.collect() };
    let mut body = Vec::with_capacity(response.size(version));
    response.encode(&mut body, version);
    body
}

fn describe(
    ctx: &Context<'_>,
    resource: &DescribeConfigsRequestResource<'_>,
) -> Result<Vec<Described>, Refusal> {
    let name = resource.resource_name;
    match resource.resource_type {
        TOPIC => {
            topic_name::check(name).map_err(|why| Refusal::new(ErrorCode::InvalidTopicException, why))?;
            match ctx.image.topic(name) {
                Some(topic) => Ok(ctx.config.describe_topic(&topic.overrides)),
                None => Err(Refusal::plain(ErrorCode::UnknownTopicOrPartition)),
            }
        }
        // The empty name means what all brokers were told while they ran.
        BROKER if name.is_empty() => Ok(ctx.config.describe_of_all()),
        BROKER => {
            let this = ctx.image.cluster().this_broker;
            let invalid = |why: String| Err(Refusal::new(ErrorCode::InvalidRequest, why));
            match name.parse::<i32>() {
                Ok(id) if id == this.0 => Ok(ctx.config.describe_broker()),
                Ok(_) => invalid(format!(
                    "Unexpected broker id, expected {this} or empty string, but received {name}"
                )),
                Err(_) => invalid(format!("Broker id must be an integer, but it is: {name}")),
            }
        }
        BROKER_LOGGER => Err(Refusal::new(
            ErrorCode::InvalidRequest,
            "This broker has no log levels of single loggers to describe.",
        )),
        other => Err(Refusal::new(ErrorCode::InvalidRequest, format!("Unknown resource type {other}"))),
    }
}

fn shown(
    all: Vec<Described>,
    resource: &DescribeConfigsRequestResource<'_>,
    request: &DescribeConfigsRequest<'_>,
) -> Vec<DescribeConfigsResponseConfig<'static>> {
    let keys = resource.configuration_keys.as_ref().filter(|keys| !keys.is_empty());
    // By row: there are a few hundred of them, and a request may name millions of keys.
    let asked_for: Option<Vec<bool>> = keys.map(|keys| {
        let places: HashMap<&str, usize> =
            all.iter().enumerate().map(|(place, row)| (&*row.name, place)).collect();
        let mut asked_for = vec![false; all.len()];
        for place in keys.iter().filter_map(|key| places.get(key)) {
            asked_for[*place] = true;
        }
        asked_for
    });
    let rows = all.into_iter().enumerate();
    let rows = rows.filter(|(place, _)| asked_for.as_ref().is_none_or(|asked_for| asked_for[*place]));
    rows.map(|(_, row)| {
        let synonyms = row.synonyms.into_iter().filter(|_| request.include_synonyms);
        DescribeConfigsResponseConfig {
            name: row.name.into(),
            value: row.value.map(Into::into),
            read_only: row.read_only,
            is_default: row.source == Source::Default,
            config_source: row.source.code(),
            is_sensitive: row.sensitive,
            synonyms: synonyms
                .map(|synonym| DescribeConfigsResponseSynonym {
                    name: synonym.name.into(),
                    value: synonym.value.map(Into::into),
                    source: synonym.source.code(),
                })
                .collect(),
            config_type: row.kind_code,
            documentation: request.include_documentation.then(|| row.documentation.into()),
        }
    })
    .collect()
}
