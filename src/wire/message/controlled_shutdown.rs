//! ControlledShutdown (key 7), contract 1.3 and 5.5: request and response as tables of fields. A broker that is about to stop
//! writes it, the controller answers. The header of version 0 has no client id.

use std::borrow::Cow;

use crate::wire::message::{api, message};

api!(7, ControlledShutdownRequest, ControlledShutdownResponse<'a>, versions 0..=3, flexible 3);

message! {
    pub struct ControlledShutdownRequest {
        broker_id: i32 [..];
        broker_epoch: i64 [2.., default -1];
    }

    pub struct ControlledShutdownResponse<'a> {
        error_code: i16 [..];
        remaining_partitions: Vec<ControlledShutdownResponsePartition<'a>> [..];
    }

    pub struct ControlledShutdownResponsePartition<'a> {
        topic_name: Cow<'a, str> [..];
        partition_index: i32 [..];
    }
}
