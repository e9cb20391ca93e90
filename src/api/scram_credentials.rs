//! DescribeUserScramCredentials and AlterUserScramCredentials (keys 50, 51): what a server keeps of passwords (KIP-554).
//!
//! In: the state of the metadata, users or changes. Out: mechanisms and iterations, never a key; or the settings to store for each
//! user, in the text that Kafka keeps in ZooKeeper. A client sends the salted password; stored are the two keys made of it
//! (RFC 5802), from which it cannot be had back. They take effect with SASL.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::api::admin::{Refusal, code_and_message, refusal_of};
use crate::config::Overrides;
use crate::metadata::{Change, State, settings_path};
use crate::wire::error_code::ErrorCode;
use crate::wire::message::Message;
use crate::wire::message::alter_user_scram_credentials::{
    AlterUserScramCredentialsRequest, AlterUserScramCredentialsResponse,
    AlterUserScramCredentialsResponseResult,
};
use crate::wire::message::describe_user_scram_credentials::{
    DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse,
    DescribeUserScramCredentialsResponseResult, DescribeUserScramCredentialsResponseResultCredentialInfo,
};
use crate::wire::scram::{ITERATIONS_MIN, Mechanism};

const ITERATIONS_MAX: i32 = 16384;

type Info = DescribeUserScramCredentialsResponseResultCredentialInfo;
type Described = DescribeUserScramCredentialsResponseResult<'static>;

fn path(user: &str) -> String {
    format!("users/{}", settings_path::escape(Some(user)))
}

fn infos(settings: &Overrides) -> Vec<Info> {
    let found = Mechanism::ALL.into_iter().filter_map(|mechanism| {
        let text = settings.get(mechanism.name())?;
        let iterations = text.split(',').find_map(|field| field.strip_prefix("iterations="))?;
        Some(Info { mechanism: mechanism.number(), iterations: iterations.parse().ok()? })
    });
    found.collect()
}

pub fn describe(state: &State, request: &DescribeUserScramCredentialsRequest<'_>, version: i16) -> Vec<u8> {
    let results =
        match &request.users {
            Some(users) if !users.is_empty() => {
                let names: Vec<&str> = users.iter().map(|user| user.name).collect();
                let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
                names.iter().for_each(|name| *counts.entry(name).or_default() += 1);
                let mut said = BTreeSet::new();
                names
                    .iter()
                    .filter(|name| said.insert(**name))
                    .map(|name| described(state, name, counts[name]))
                    .collect()
            }
            // All.
            Some(_) | None => state
                .settings_under("users/")
                .filter_map(|(path, settings)| {
                    let user = settings_path::unescape(path.strip_prefix("users/")?)?;
                    let credential_infos = infos(settings);
                    (!path["users/".len()..].contains('/') && !credential_infos.is_empty())
                        .then(|| Described { user: user.into(), credential_infos, ..Default::default() })
                })
                .collect(),
        };
    let response = DescribeUserScramCredentialsResponse { results, ..Default::default() };
    let mut body = Vec::new();
    response.encode(&mut body, version);
    body
}

fn described(state: &State, user: &str, count: usize) -> Described {
    let refused = |code: ErrorCode, why: String| Described {
        user: user.to_owned().into(),
        error_code: code as i16,
        error_message: Some(why.into()),
        credential_infos: Vec::new(),
    };
    if count > 1 {
        let why =
            format!("Cannot describe SCRAM credentials for the same user twice in a single request: {user}");
        return refused(ErrorCode::DuplicateResource, why);
    }
    let credential_infos = state.settings(&path(user)).map(infos).unwrap_or_default();
    if credential_infos.is_empty() {
        let why = format!("Attempt to describe a user credential that does not exist: {user}");
        return refused(ErrorCode::ResourceNotFound, why);
    }
    Described { user: user.to_owned().into(), credential_infos, ..Default::default() }
}

/// What to store for each user, or why not.
#[derive(Debug)]
pub struct Plan {
    users: Vec<(String, Result<usize, Refusal>)>,
    pub changes: Vec<Change>,
}

pub fn plan(state: &State, request: &AlterUserScramCredentialsRequest<'_>) -> Plan {
    enum Step<'a> {
        Delete,
        Put { iterations: i32, salt: &'a [u8], salted_password: &'a [u8] },
    }
    let deletions = request.deletions.iter().map(|one| (one.name, one.mechanism, Step::Delete));
    let upsertions = request.upsertions.iter().map(|one| {
        let (iterations, salt, salted_password) = (one.iterations, one.salt, one.salted_password);
        (one.name, one.mechanism, Step::Put { iterations, salt, salted_password })
    });
    let steps: Vec<(&str, i8, Step<'_>)> = deletions.chain(upsertions).collect();
    // One answer for each user, and nothing of a user is changed when one of his steps is refused.
    let mut users: BTreeMap<&str, Result<Overrides, Refusal>> = BTreeMap::new();
    let mut seen: BTreeSet<(&str, i8)> = BTreeSet::new();
    for (user, mechanism, step) in &steps {
        let refuse = |code: ErrorCode, why: &str| Err(Refusal::new(code, why));
        let known = Mechanism::of_number(*mechanism);
        let so_far =
            users.entry(user).or_insert_with(|| Ok(state.settings(&path(user)).cloned().unwrap_or_default()));
        let Ok(settings) = so_far else { continue };
        let result = match (known, step) {
            _ if user.is_empty() => refuse(ErrorCode::UnacceptableCredential, "Username must not be empty"),
            (None, _) => refuse(ErrorCode::UnsupportedSaslMechanism, "Unknown SCRAM mechanism"),
            _ if !seen.insert((user, *mechanism)) => refuse(
                ErrorCode::DuplicateResource,
                "A user credential cannot be altered twice in the same request",
            ),
            (Some(known), Step::Delete) => match settings.remove(known.name()) {
                Some(_) => Ok(()),
                None => refuse(
                    ErrorCode::ResourceNotFound,
                    "Attempt to delete a user credential that does not exist",
                ),
            },
            (Some(_), Step::Put { iterations, .. }) if *iterations > ITERATIONS_MAX => {
                refuse(ErrorCode::UnacceptableCredential, "Too many iterations")
            }
            (Some(_), Step::Put { iterations, .. }) if *iterations < ITERATIONS_MIN => {
                refuse(ErrorCode::UnacceptableCredential, "Too few iterations")
            }
            (Some(known), Step::Put { iterations, salt, salted_password }) => {
                settings.insert(known.name().to_owned(), known.kept(*iterations, salt, salted_password));
                Ok(())
            }
        };
        if let Err(refusal) = result {
            users.insert(user, Err(refusal));
        }
    }
    let mut plan = Plan { users: Vec::new(), changes: Vec::new() };
    for (user, result) in users {
        let result = result.map(|settings| {
            plan.changes.push(Change::SettingsSet { path: Arc::from(path(user)), settings });
            plan.changes.len() - 1
        });
        plan.users.push((user.to_owned(), result));
    }
    plan
}

impl Plan {
    /// The answer; `stored` has a result for each of `changes`.
    pub fn respond(&self, version: i16, stored: &[Result<(), Refusal>]) -> Vec<u8> {
        let results = self.users.iter().map(|(user, result)| {
            let (error_code, message) = code_and_message(refusal_of(result, stored));
            AlterUserScramCredentialsResponseResult {
                user: user.as_str().into(),
                error_code,
                error_message: message.map(Into::into),
            }
        });
        let response = AlterUserScramCredentialsResponse { throttle_time_ms: 0, results: results.collect() };
        let mut body = Vec::new();
        response.encode(&mut body, version);
        body
    }
}
