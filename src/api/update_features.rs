//! UpdateFeatures (key 57): a cluster on ZooKeeper supports no feature that has a level (KIP-584), so none can be changed.
//!
//! In: levels for features. Out: for each why it stays, in the order and the words of Kafka 3.9's controller.

use hashbrown::HashSet;

use crate::api::admin::{Context, Refusal};
use crate::wire::error_code::ErrorCode;
use crate::wire::message::Message;
use crate::wire::message::update_features::{
    UpdateFeaturesRequest, UpdateFeaturesRequestFeatureUpdate, UpdateFeaturesResponse,
    UpdateFeaturesResponseResult,
};

const UPGRADE: i8 = 1;
const SAFE_DOWNGRADE: i8 = 2;
const UNSAFE_DOWNGRADE: i8 = 3;

pub fn respond(ctx: &Context<'_>, request: &UpdateFeaturesRequest<'_>, version: i16) -> Vec<u8> {
    let cluster = ctx.image.cluster();
    let response = if cluster.controller == Some(cluster.this_broker) {
        let mut seen: HashSet<&str> = HashSet::new();
        let updates = request.feature_updates.iter().filter(|update| seen.insert(update.feature));
        let results = updates.map(|update| UpdateFeaturesResponseResult {
            feature: update.feature.into(),
            error_code: ErrorCode::InvalidRequest as i16,
            error_message: Some(refusal(&update, version).into()),
        });
        UpdateFeaturesResponse { results: results.collect(), ..Default::default() }
    } else {
        let Refusal { code, message } = Refusal::plain(ErrorCode::NotController);
        UpdateFeaturesResponse {
            error_code: code as i16,
            error_message: message.map(Into::into),
            ..Default::default()
        }
    };
    let mut body = Vec::with_capacity(response.size(version));
    response.encode(&mut body, version);
    body
}

fn refusal(update: &UpdateFeaturesRequestFeatureUpdate<'_>, version: i16) -> String {
    let kind = match version {
        0 if update.allow_downgrade => SAFE_DOWNGRADE,
        0 => UPGRADE,
        _ => update.upgrade_type,
    };
    let level = update.max_version_level;
    if update.feature.is_empty() {
        "Feature name can not be empty.".to_owned()
    } else if !(UPGRADE..=UNSAFE_DOWNGRADE).contains(&kind) {
        "Received unknown upgrade type.".to_owned()
    } else if level < 1 && kind != UPGRADE {
        "Can not delete non-existing finalized feature.".to_owned()
    } else if level < 1 {
        format!(
            "Can not provide versionLevel: {level} less than 1 without setting the SAFE downgradeType in the request."
        )
    } else {
        "Could not apply finalized feature update because the provided feature is not supported.".to_owned()
    }
}
