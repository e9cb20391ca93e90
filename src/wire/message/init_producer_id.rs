//! InitProducerId (key 22), contract 1.3: request and response as tables of fields.

use crate::wire::message::{api, message};

api!(22, InitProducerIdRequest<'a>, InitProducerIdResponse, versions 0..=5, flexible 2);

message! {
    pub struct InitProducerIdRequest<'a> {
        transactional_id: Option<&'a str> [.., null ..];
        transaction_timeout_ms: i32 [..];
        producer_id: i64 [3.., default -1];
        producer_epoch: i16 [3.., default -1];
    }

    pub struct InitProducerIdResponse {
        throttle_time_ms: i32 [..];
        error_code: i16 [..];
        producer_id: i64 [.., default -1];
        producer_epoch: i16 [..];
    }
}
