//! InitProducerId (key 22): an id and epoch for an idempotent producer.
//!
//! In: a request without a transactional id. Out: an id nobody had before, at epoch 0, whatever id the producer had.
//! Transactional ids get COORDINATOR_NOT_AVAILABLE (15), as FindCoordinator says of them.

use crate::ids::ProducerId;
use crate::wire::error_code::ErrorCode;
use crate::wire::message::Message;
use crate::wire::message::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};

/// What can be said before an id is taken.
pub fn check(request: &InitProducerIdRequest<'_>) -> Result<(), ErrorCode> {
    let has_id = request.producer_id != -1;
    let has_epoch = request.producer_epoch != -1;
    if has_id != has_epoch {
        return Err(ErrorCode::InvalidRequest);
    }
    match request.transactional_id {
        None => Ok(()),
        Some("") => Err(ErrorCode::InvalidRequest),
        Some(_) if request.transaction_timeout_ms <= 0 => Err(ErrorCode::InvalidTransactionTimeout),
        Some(_) => Err(ErrorCode::CoordinatorNotAvailable),
    }
}

pub fn respond(version: i16, result: Result<ProducerId, ErrorCode>) -> Vec<u8> {
    let response = match result {
        Ok(id) => InitProducerIdResponse { producer_id: id.0, producer_epoch: 0, ..Default::default() },
        Err(code) => {
            InitProducerIdResponse { error_code: code as i16, producer_epoch: -1, ..Default::default() }
        }
    };
    let mut body = Vec::new();
    response.encode(&mut body, version);
    body
}
