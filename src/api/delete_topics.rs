//! DeleteTopics (key 20): which topics a request means, and the answer.
//!
//! In: names, or ids from version 6 on. Out: for each entry the topic it means or a refusal; and, when the control
//! thread has done so, the response. A topic named twice is deleted once and both entries say so.

use hashbrown::HashMap;

use crate::api::admin::{Context, Refusal, code_and_message, refusal_of};
use crate::metadata::fresh_id::told;
use crate::wire::error_code::ErrorCode;
use crate::wire::message::Message;
use crate::wire::message::delete_topics::{
    DeleteTopicsRequest, DeleteTopicsResponse, DeleteTopicsResponseResult,
};
use crate::wire::primitive::Uuid;

#[derive(Debug)]
struct Entry {
    name: Option<String>,
    id: Uuid,
    target: Result<usize, Refusal>,
}

#[derive(Debug, Default)]
pub struct Plan {
    entries: Vec<Entry>,
    /// The topics to delete, each once; the entries point into it.
    pub topics: Vec<Uuid>,
}

pub fn plan(ctx: &Context<'_>, request: &DeleteTopicsRequest<'_>, version: i16) -> Plan {
    let mut plan = Plan::default();
    let mut places: HashMap<Uuid, usize> = HashMap::new();
    for (name, id) in asked_for(request) {
        let topic = if !ctx.config.delete_topic_enable {
            let code = if version < 3 { ErrorCode::InvalidRequest } else { ErrorCode::TopicDeletionDisabled };
            Err(Refusal::new(code, "Topic deletion is disabled."))
        } else {
            match (name, id.is_zero()) {
                (Some(_), false) => Err(Refusal::new(
                    ErrorCode::InvalidRequest,
                    "Topic name and topic ID can not both be specified.",
                )),
                (None, true) => {
                    Err(Refusal::new(ErrorCode::InvalidRequest, "Neither topic name nor id were specified."))
                }
                (Some(name), true) => {
                    ctx.image.topic(name).ok_or_else(|| Refusal::plain(ErrorCode::UnknownTopicOrPartition))
                }
                (None, false) => {
                    ctx.image.topic_by_id(&id).ok_or_else(|| Refusal::plain(ErrorCode::UnknownTopicId))
                }
            }
        };
        let (known_name, id) = match &topic {
            Ok(topic) => (Some(topic.name.to_string()), told(topic.id)),
            Err(_) => (name.map(str::to_owned), id),
        };
        let target = topic.map(|topic| {
            *places.entry(topic.id).or_insert_with(|| {
                plan.topics.push(topic.id);
                plan.topics.len() - 1
            })
        });
        plan.entries.push(Entry { name: known_name, id, target });
    }
    plan
}

impl Plan {
    /// The answer; `deleted` has a result for each of `topics`.
    pub fn respond(&self, version: i16, deleted: &[Result<(), Refusal>]) -> Vec<u8> {
        let responses = self
            .entries
            .iter()
            .map(|entry| result(entry.name.as_deref(), entry.id, refusal_of(&entry.target, deleted)));
        encode(responses.collect(), version)
    }
}

/// The same answer for every topic.
pub fn refuse_all(request: &DeleteTopicsRequest<'_>, version: i16, refusal: &Refusal) -> Vec<u8> {
    encode(asked_for(request).map(|(name, id)| result(name, id, Some(refusal))).collect(), version)
}

/// Up to version 5 there are names alone; of the two lists one is always empty.
fn asked_for<'s, 'a: 's>(
    request: &'s DeleteTopicsRequest<'a>,
) -> impl Iterator<Item = (Option<&'a str>, Uuid)> + 's {
    let by_name = request.topic_names.iter().map(|name| (Some(name), Uuid::ZERO));
    by_name.chain(request.topics.iter().map(|topic| (topic.name, topic.topic_id)))
}

fn result(name: Option<&str>, id: Uuid, refusal: Option<&Refusal>) -> DeleteTopicsResponseResult<'static> {
    let (error_code, message) = code_and_message(refusal);
    DeleteTopicsResponseResult {
        name: name.map(|name| name.to_owned().into()),
        topic_id: id,
        error_code,
        error_message: message.map(|message| message.to_owned().into()),
    }
}

fn encode(responses: Vec<DeleteTopicsResponseResult<'static>>, version: i16) -> Vec<u8> {
    let response = DeleteTopicsResponse { throttle_time_ms: 0, responses };
    let mut body = Vec::new();
    response.encode(&mut body, version);
    body
}
