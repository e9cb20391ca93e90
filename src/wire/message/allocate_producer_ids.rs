//! AllocateProducerIds (key 67), contract 1.3 and 4.3: request and response as tables of fields. A broker at protocol 3.0 or
//! later asks the controller for a block of producer ids.

use crate::wire::message::{api, message};

api!(67, AllocateProducerIdsRequest, AllocateProducerIdsResponse, versions 0..=0, flexible 0);

message! {
    pub struct AllocateProducerIdsRequest {
        broker_id: i32 [..];
        broker_epoch: i64 [.., default -1];
    }

    pub struct AllocateProducerIdsResponse {
        throttle_time_ms: i32 [..];
        error_code: i16 [..];
        producer_id_start: i64 [..];
        producer_id_len: i32 [..];
    }
}
