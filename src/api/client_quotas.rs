//! DescribeClientQuotas and AlterClientQuotas (keys 48, 49): limits of users, client ids and addresses, kept as Kafka keeps them
//! below `/config` (KIP-546).
//!
//! In: the state of the metadata, filters or changes. Out: entries with their values; or the settings to store for each entity.
//! `producer_byte_rate` and `consumer_byte_rate` are in force at once (`quota`); the others are stored and described.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::api::admin::{Refusal, code_and_message, refusal_of};
use crate::config::Overrides;
use crate::metadata::{Change, State, settings_path};
use crate::wire::error_code::ErrorCode;
use crate::wire::message::Message;
use crate::wire::message::alter_client_quotas::{
    AlterClientQuotasRequest, AlterClientQuotasRequestEntry, AlterClientQuotasResponse,
    AlterClientQuotasResponseEntry, AlterClientQuotasResponseEntryEntity,
};
use crate::wire::message::describe_client_quotas::{
    DescribeClientQuotasRequest, DescribeClientQuotasResponse, DescribeClientQuotasResponseEntry,
    DescribeClientQuotasResponseEntryEntity, DescribeClientQuotasResponseEntryValue,
};

const USER: &str = "user";
const CLIENT: &str = "client-id";
const IP: &str = "ip";

/// Type of each part of an entity, and its name; `None` is the default.
type Entity = BTreeMap<String, Option<String>>;

/// The keys of a limit, and whether only whole numbers will do.
const OF_CLIENTS: &[(&str, bool)] = &[
    ("producer_byte_rate", true),
    ("consumer_byte_rate", true),
    ("request_percentage", false),
    ("controller_mutation_rate", false),
];
const OF_ADDRESSES: &[(&str, bool)] = &[("connection_creation_rate", true)];

fn invalid<T>(why: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::new(ErrorCode::InvalidRequest, why))
}

/// Where the settings of an entity are kept.
fn path(entity: &Entity) -> String {
    let part = |kind: &str| entity.get(kind).map(|name| settings_path::escape(name.as_deref()));
    match (part(USER), part(CLIENT), part(IP)) {
        (Some(user), Some(client), _) => format!("users/{user}/clients/{client}"),
        (Some(user), None, _) => format!("users/{user}"),
        (None, Some(client), _) => format!("clients/{client}"),
        (None, None, ip) => format!("ips/{}", ip.unwrap_or_else(|| settings_path::DEFAULT.to_owned())),
    }
}

fn entity(path: &str) -> Option<Entity> {
    let parts = settings_path::entity(path)?.into_iter().map(|(kind, name)| {
        let kind = match kind {
            settings_path::Kind::User => USER,
            settings_path::Kind::ClientId => CLIENT,
            settings_path::Kind::Address => IP,
        };
        (kind.to_owned(), name)
    });
    Some(parts.collect())
}

/// What a filter asks of one part of an entity.
enum Match {
    Exact(String),
    Default,
    Any,
}

pub fn describe(state: &State, request: &DescribeClientQuotasRequest<'_>, version: i16) -> Vec<u8> {
    let (refusal, entries) = match entries(state, request) {
        Ok(entries) => (None, Some(entries)),
        Err(refusal) => (Some(refusal), None),
    };
    let response = DescribeClientQuotasResponse {
        throttle_time_ms: 0,
        error_code: refusal.as_ref().map_or(0, |refusal| refusal.code as i16),
        error_message: refusal.and_then(|refusal| refusal.message).map(Into::into),
        entries,
    };
    let mut body = Vec::new();
    response.encode(&mut body, version);
    body
}

fn entries(
    state: &State,
    request: &DescribeClientQuotasRequest<'_>,
) -> Result<Vec<DescribeClientQuotasResponseEntry<'static>>, Refusal> {
    let mut filter: BTreeMap<&str, Match> = BTreeMap::new();
    for component in &request.components {
        let kind = component.entity_type;
        if kind.is_empty() {
            return invalid("Unexpected empty filter component entity type");
        }
        if ![USER, CLIENT, IP].contains(&kind) {
            let why = format!("Custom entity type '{kind}' not supported");
            return Err(Refusal::new(ErrorCode::UnsupportedVersion, why));
        }
        let wanted = match (component.match_type, component.r#match) {
            (0, Some(name)) => Match::Exact(name.to_owned()),
            (0, None) => return invalid("Request specified MATCH_TYPE_EXACT, but set match string to null."),
            (1, None) => Match::Default,
            (2, None) => Match::Any,
            (1 | 2, Some(_)) => {
                return invalid("Request specified a match string with a match type that has none.");
            }
            (other, _) => return invalid(format!("Unknown match type {other}")),
        };
        if filter.insert(kind, wanted).is_some() {
            return invalid(format!("Duplicate {kind} filter component entity type"));
        }
    }
    if filter.contains_key(IP) && filter.len() > 1 {
        return invalid(
            "Invalid entity filter component combination, IP filter component should not be used with user or \
             clientId filter component.",
        );
    }
    let all = ["clients/", "ips/", "users/"].into_iter().flat_map(|prefix| state.settings_under(prefix));
    let found = all.filter_map(|(path, settings)| {
        let entity = entity(path)?;
        let fits = filter.iter().all(|(kind, wanted)| match (entity.get(*kind), wanted) {
            (None, _) => false,
            (Some(_), Match::Any) => true,
            (Some(name), Match::Default) => name.is_none(),
            (Some(name), Match::Exact(exact)) => name.as_deref() == Some(exact),
        });
        if !fits || (request.strict && entity.len() != filter.len()) {
            return None;
        }
        let values: Vec<_> = settings
            .iter()
            .filter(|(key, _)| OF_CLIENTS.iter().chain(OF_ADDRESSES).any(|(known, _)| known == key))
            .filter_map(|(key, text)| {
                let value = text.parse().ok()?;
                Some(DescribeClientQuotasResponseEntryValue { key: key.clone().into(), value })
            })
            .collect();
        let entity = entity.into_iter().map(|(kind, name)| DescribeClientQuotasResponseEntryEntity {
            entity_type: kind.into(),
            entity_name: name.map(Into::into),
        });
        (!values.is_empty()).then(|| DescribeClientQuotasResponseEntry { entity: entity.collect(), values })
    });
    Ok(found.collect())
}

/// An entity as it was named.
type Parts = Vec<(String, Option<String>)>;

/// What to store for each entry, or why not.
#[derive(Debug)]
pub struct Plan {
    entries: Vec<(Parts, Result<Option<usize>, Refusal>)>,
    pub changes: Vec<Change>,
}

pub fn plan(state: &State, request: &AlterClientQuotasRequest<'_>) -> Plan {
    let mut plan = Plan { entries: Vec::new(), changes: Vec::new() };
    for entry in &request.entries {
        let shown: Parts = entry
            .entity
            .iter()
            .map(|part| (part.entity_type.to_owned(), part.entity_name.map(str::to_owned)))
            .collect();
        let result = change(state, &entry, &shown).map(|change| {
            (!request.validate_only).then(|| {
                plan.changes.push(change);
                plan.changes.len() - 1
            })
        });
        plan.entries.push((shown, result));
    }
    plan
}

fn change(
    state: &State,
    entry: &AlterClientQuotasRequestEntry<'_>,
    parts: &[(String, Option<String>)],
) -> Result<Change, Refusal> {
    if parts.is_empty() {
        return invalid("Invalid empty client quota entity");
    }
    let mut entity = Entity::new();
    for (kind, name) in parts {
        if ![USER, CLIENT, IP].contains(&kind.as_str()) {
            return invalid(format!("Unhandled client quota entity type: {kind}"));
        }
        if name.as_ref().is_some_and(String::is_empty) {
            return invalid(format!("Empty {kind} not supported"));
        }
        if entity.insert(kind.clone(), name.clone()).is_some() {
            return invalid(format!("Duplicate entity type {kind} in a client quota entity"));
        }
    }
    if entity.contains_key(IP) && entity.len() > 1 {
        return invalid(
            "Invalid quota entity combination, IP entity should not be used with user/client ID entity.",
        );
    }
    if let Some(Some(ip)) = entity.get(IP)
        && ip.parse::<std::net::IpAddr>().is_err()
    {
        return invalid(format!("{ip} is not a valid IP or resolvable host."));
    }
    let keys = if entity.contains_key(IP) { OF_ADDRESSES } else { OF_CLIENTS };
    let path: Arc<str> = path(&entity).into();
    let mut settings = state.settings(&path).cloned().unwrap_or_default();
    apply(&mut settings, entry, keys)?;
    Ok(Change::SettingsSet { path, settings })
}

fn apply(
    settings: &mut Overrides,
    entry: &AlterClientQuotasRequestEntry<'_>,
    keys: &[(&str, bool)],
) -> Result<(), Refusal> {
    for op in &entry.ops {
        let Some((key, whole)) = keys.iter().find(|(key, _)| *key == op.key) else {
            return invalid(format!("Invalid configuration key {}", op.key));
        };
        if op.remove {
            settings.remove(*key);
            continue;
        }
        // Kafka's own tolerance for what a double makes of a whole number.
        const EPSILON: f64 = 1e-6;
        if *whole {
            let near = op.value.round();
            if !op.value.is_finite() || (op.value - near).abs() > EPSILON || near.abs() > 9e15 {
                return invalid(format!("Configuration {key} must be a Long value"));
            }
            settings.insert((*key).to_owned(), (near as i64).to_string());
        } else {
            settings.insert((*key).to_owned(), format!("{:?}", op.value));
        }
        if op.value.is_nan() || op.value <= 0.0 {
            return invalid(format!(
                "Invalid value {} for configuration {key}: Value must be at least 1",
                op.value
            ));
        }
    }
    Ok(())
}

impl Plan {
    /// The answer; `stored` has a result for each of `changes`.
    pub fn respond(&self, version: i16, stored: &[Result<(), Refusal>]) -> Vec<u8> {
        let entries = self.entries.iter().map(|(entity, result)| {
            let (error_code, message) = code_and_message(refusal_of(result, stored));
            let entity = entity.iter().map(|(kind, name)| AlterClientQuotasResponseEntryEntity {
                entity_type: kind.as_str().into(),
                entity_name: name.as_deref().map(Into::into),
            });
            AlterClientQuotasResponseEntry {
                error_code,
                error_message: message.map(Into::into),
                entity: entity.collect(),
            }
        });
        let response = AlterClientQuotasResponse { throttle_time_ms: 0, entries: entries.collect() };
        let mut body = Vec::new();
        response.encode(&mut body, version);
        body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entity_comes_back_from_its_path() {
        for parts in [
            vec![(USER, Some("alice"))],
            vec![(USER, None)],
            vec![(USER, Some("a/b")), (CLIENT, None)],
            vec![(CLIENT, Some("<default>"))],
            vec![(IP, Some("::1"))],
        ] {
            let one: Entity =
                parts.into_iter().map(|(kind, name)| (kind.to_owned(), name.map(str::to_owned))).collect();
            assert_eq!(entity(&path(&one)).as_ref(), Some(&one), "{}", path(&one));
        }
        assert_eq!(entity("brokers/1"), None);
    }
}
