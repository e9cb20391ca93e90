//! FindCoordinator (key 10): who coordinates a group or a transactional id.
//!
//! In: keys. Out: COORDINATOR_NOT_AVAILABLE (15) for each, with a sentence, because this build has no coordinators
//! yet. Clients try again until their own time is over, so a group member waits and says why, and producers and
//! consumers that assign their partitions themselves are not touched.

use hashbrown::HashSet;

use crate::wire::error_code::ErrorCode;
use crate::wire::message::Message;
use crate::wire::message::find_coordinator::{
    FindCoordinatorRequest, FindCoordinatorResponse, FindCoordinatorResponseCoordinator,
};

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;

pub fn respond(request: &FindCoordinatorRequest<'_>, version: i16) -> Vec<u8> {
    let (code, message) = match request.key_type {
        GROUP => (
            ErrorCode::CoordinatorNotAvailable,
            "This broker does not coordinate consumer groups yet; assign partitions in the consumer instead.",
        ),
        TRANSACTION => (
            ErrorCode::CoordinatorNotAvailable,
            "This broker does not coordinate transactions yet; idempotent producers are served.",
        ),
        _ => (ErrorCode::InvalidRequest, "Only groups (0) and transactions (1) have coordinators."),
    };
    let nobody = |key: &str| FindCoordinatorResponseCoordinator {
        key: key.to_owned().into(),
        node_id: -1,
        host: "".into(),
        port: -1,
        error_code: code as i16,
        error_message: Some(message.into()),
    };
    let mut seen: HashSet<&str> = HashSet::new();
    let keys = request.coordinator_keys.iter().filter(|key| seen.insert(key));
    let response = FindCoordinatorResponse {
        error_code: code as i16,
        error_message: Some(message.into()),
        node_id: -1,
        port: -1,
        coordinators: keys.map(nobody).collect(),
        ..Default::default()
    };
    let mut body = Vec::new();
    response.encode(&mut body, version);
    body
}
