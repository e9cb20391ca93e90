//! DescribeCluster (key 60), contract 1.3: request and response as tables of fields.

use std::borrow::Cow;

use crate::wire::message::{api, message};

api!(60, DescribeClusterRequest, DescribeClusterResponse<'a>, versions 0..=1, flexible 0);

message! {
    pub struct DescribeClusterRequest {
        include_cluster_authorized_operations: bool [..];
        endpoint_type: i8 [1.., default 1];
    }

    pub struct DescribeClusterResponse<'a> {
        throttle_time_ms: i32 [..];
        error_code: i16 [..];
        error_message: Option<Cow<'a, str>> [.., null ..];
        endpoint_type: i8 [1.., default 1];
        cluster_id: Cow<'a, str> [..];
        controller_id: i32 [.., default -1];
        brokers: Vec<DescribeClusterResponseBroker<'a>> [..];
        cluster_authorized_operations: i32 [.., default -2147483648];
    }

    pub struct DescribeClusterResponseBroker<'a> {
        broker_id: i32 [..];
        host: Cow<'a, str> [..];
        port: i32 [..];
        rack: Option<Cow<'a, str>> [.., null ..];
    }
}
