//! FindCoordinator (key 10): who coordinates a group or a transactional id.
//!
//! In: keys. Out: for a group the leader of the partition of `__consumer_offsets` that keeps it. The first who asks makes
//! that topic: the request then goes to the control thread first. Transactional ids have no coordinator yet; who asks for
//! one is told to try again (15), so producers without transactions are not touched.

use hashbrown::HashSet;

use crate::api::admin::{Context, Refusal};
use crate::api::groups;
use crate::metadata::topic_name;
use crate::wire::error_code::ErrorCode;
use crate::wire::message::Message;
use crate::wire::message::find_coordinator::{
    FindCoordinatorRequest, FindCoordinatorResponse, FindCoordinatorResponseCoordinator,
};

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;

/// True when the answer has to wait for the topic that keeps groups to be made.
pub fn creates_topic(ctx: &Context<'_>, request: &FindCoordinatorRequest<'_>) -> bool {
    request.key_type == GROUP && ctx.image.topic(topic_name::OFFSETS).is_none()
}

/// The answer; `refusal` says why the topic that keeps groups could not be made.
pub fn respond(
    ctx: &Context<'_>,
    request: &FindCoordinatorRequest<'_>,
    version: i16,
    refusal: Option<&Refusal>,
) -> Vec<u8> {
    let find = |key: &str| -> Result<(i32, String, u16), (ErrorCode, String)> {
        match request.key_type {
            GROUP => find_group(ctx, key, refusal),
            TRANSACTION => Err((
                ErrorCode::CoordinatorNotAvailable,
                "This broker does not coordinate transactions yet; idempotent producers are served."
                    .to_owned(),
            )),
            _ => Err((
                ErrorCode::InvalidRequest,
                "Only groups (0) and transactions (1) have coordinators.".to_owned(),
            )),
        }
    };
    let coordinator = |key: &str| match find(key) {
        Ok((node_id, host, port)) => FindCoordinatorResponseCoordinator {
            key: key.to_owned().into(),
            node_id,
            host: host.into(),
            port: port.into(),
            error_code: 0,
            // What Kafka's table of errors says of none.
            error_message: Some(if version < 4 { "NONE" } else { "" }.into()),
        },
        Err((code, message)) => FindCoordinatorResponseCoordinator {
            key: key.to_owned().into(),
            node_id: -1,
            host: "".into(),
            port: -1,
            error_code: code as i16,
            error_message: Some(message.into()),
        },
    };
    let response = if version < 4 {
        let found = coordinator(request.key);
        FindCoordinatorResponse {
            error_code: found.error_code,
            error_message: found.error_message,
            node_id: found.node_id,
            host: found.host,
            port: found.port,
            ..Default::default()
        }
    } else {
        let mut seen: HashSet<&str> = HashSet::new();
        let keys = request.coordinator_keys.iter().filter(|key| seen.insert(key));
        FindCoordinatorResponse { coordinators: keys.map(coordinator).collect(), ..Default::default() }
    };
    let mut body = Vec::new();
    response.encode(&mut body, version);
    body
}

fn find_group(
    ctx: &Context<'_>,
    group: &str,
    refusal: Option<&Refusal>,
) -> Result<(i32, String, u16), (ErrorCode, String)> {
    let not_available = |why: &str| (ErrorCode::CoordinatorNotAvailable, why.to_owned());
    let topic = ctx.image.topic(topic_name::OFFSETS).ok_or_else(|| {
        let why = refusal.and_then(|refusal| refusal.message.as_deref());
        not_available(why.unwrap_or(ErrorCode::CoordinatorNotAvailable.message()))
    })?;
    let leader = groups::partition_of(ctx.image, group)
        .and_then(|number| topic.partition(number))
        .and_then(|partition| partition.leader)
        .and_then(|leader| ctx.image.cluster().broker(leader));
    let leader = leader.ok_or_else(|| not_available("The partition that keeps the group has no leader."))?;
    let endpoint = leader
        .endpoint(ctx.listener)
        .ok_or_else(|| not_available("The coordinator cannot be reached by this listener."))?;
    Ok((leader.id.0, endpoint.host.to_string(), endpoint.port))
}
