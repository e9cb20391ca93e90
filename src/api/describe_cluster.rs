//! DescribeCluster (key 60): the cluster's id, its controller, and the brokers a client of this listener can reach.
//!
//! In: the image. Out: the same brokers as Metadata names; controllers of a KRaft quorum there are none.

use crate::api::admin::Context;
use crate::api::metadata::CLUSTER_OPERATIONS;
use crate::wire::error_code::ErrorCode;
use crate::wire::message::Message;
use crate::wire::message::describe_cluster::{
    DescribeClusterRequest, DescribeClusterResponse, DescribeClusterResponseBroker,
};

const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

pub fn respond(ctx: &Context<'_>, request: &DescribeClusterRequest, version: i16) -> Vec<u8> {
    let error = match request.endpoint_type {
        BROKERS => None,
        CONTROLLERS => {
            Some((ErrorCode::MismatchedEndpointType, "This endpoint is a broker's, not a controller's."))
        }
        _ => Some((ErrorCode::UnsupportedEndpointType, "Only endpoints of brokers (1) can be described.")),
    };
    let response = match error {
        Some((code, message)) => DescribeClusterResponse {
            error_code: code as i16,
            error_message: Some(message.into()),
            ..Default::default()
        },
        None => {
            let cluster = ctx.image.cluster();
            let brokers = cluster.brokers.iter().filter_map(|broker| {
                let endpoint = broker.endpoint(ctx.listener)?;
                Some(DescribeClusterResponseBroker {
                    broker_id: broker.id.0,
                    host: (&*endpoint.host).into(),
                    port: endpoint.port.into(),
                    rack: broker.rack.as_deref().map(Into::into),
                })
            });
            DescribeClusterResponse {
                cluster_id: (&*cluster.id).into(),
                controller_id: cluster.controller.map_or(-1, |id| id.0),
                brokers: brokers.collect(),
                cluster_authorized_operations: if request.include_cluster_authorized_operations {
                    CLUSTER_OPERATIONS
                } else {
                    i32::MIN
                },
                ..Default::default()
            }
        }
    };
    let mut body = Vec::new();
    response.encode(&mut body, version);
    body
}
