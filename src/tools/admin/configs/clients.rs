//! Limits of users, clients and addresses, and credentials of users.
//!
//! In: entities and steps. Out: Kafka's lines, in the order of its hash tables. Of a password only what is made of it is sent.

use super::options::{Command, Kind, Steps};
use super::{Typed, check_removed, finish};
use crate::tools::admin::{Failure, Streams, failed};
use crate::tools::client::Client;
use crate::tools::java;
use crate::wire::error_code::ErrorCode;
use crate::wire::message::alter_client_quotas::{
    AlterClientQuotasRequest, AlterClientQuotasRequestEntry, AlterClientQuotasRequestEntryEntity,
    AlterClientQuotasRequestEntryOp,
};
use crate::wire::message::alter_user_scram_credentials::{
    AlterUserScramCredentialsRequest, AlterUserScramCredentialsRequestDeletion,
    AlterUserScramCredentialsRequestUpsertion,
};
use crate::wire::message::describe_client_quotas::{
    DescribeClientQuotasRequest, DescribeClientQuotasRequestComponent,
};
use crate::wire::message::describe_user_scram_credentials::{
    DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsRequestUser,
};
use crate::wire::scram::{ITERATIONS_MIN, Mechanism};

const QUOTAS: [&str; 4] =
    ["producer_byte_rate", "consumer_byte_rate", "request_percentage", "controller_mutation_rate"];
const QUOTAS_OF_ADDRESSES: [&str; 1] = ["connection_creation_rate"];

/// Which names a part of a filter fits.
const EXACT: i8 = 0;
const DEFAULT: i8 = 1;
const ANY: i8 = 2;

impl Kind {
    /// What requests call it.
    fn entity_type(self) -> &'static str {
        match self {
            Kind::User => "user",
            Kind::Client => "client-id",
            Kind::Ip => "ip",
            Kind::Topic | Kind::Broker | Kind::BrokerLogger | Kind::ClientMetrics => {
                unreachable!("options tell clients from resources")
            }
        }
    }
}

/// An entity with its limits.
struct Entry {
    entity: Vec<(String, Option<String>)>,
    values: Vec<(String, f64)>,
}

impl Entry {
    /// `ClientQuotaEntity.hashCode()`
    fn hash(&self) -> u32 {
        let entries = self.entity.iter().map(|(kind, name)| {
            java::string_hash(kind) ^ name.as_ref().map_or(0, |name| java::string_hash(name))
        });
        31u32.wrapping_add(entries.fold(0, u32::wrapping_add))
    }

    fn named(&self) -> String {
        let part = |kind: &str, shown: &str| {
            let (_, name) = self.entity.iter().find(|(known, _)| known == kind)?;
            Some(match name {
                Some(name) => format!("{shown} '{name}'"),
                None => format!("the default {shown}"),
            })
        };
        let parts = [part("user", "user-principal"), part("client-id", "client-id"), part("ip", "ip")];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

/// The entities that are exactly of these kinds, with these names where there are any.
fn entries(client: &mut Client, command: &Command, typed: &Typed<'_>) -> Result<Vec<Entry>, Failure> {
    if command.names.len() > command.kinds.len() {
        return failed("More entity names specified than entity types");
    }
    let names = command.names.iter().map(Some).chain(std::iter::repeat(None));
    let components = command.kinds.iter().zip(names).map(|(kind, name)| {
        let (match_type, name) = match name.map(String::as_str) {
            None => (ANY, None),
            Some("") => (DEFAULT, None),
            Some(name) => (EXACT, Some(name)),
        };
        DescribeClientQuotasRequestComponent { entity_type: kind.entity_type(), match_type, r#match: name }
    });
    let request = DescribeClientQuotasRequest { components: components.collect(), strict: true };
    let answer = client.any().call(&request, |response| {
        if response.error_code != 0 {
            return Err(typed.refused(response.error_code, response.error_message.as_deref()));
        }
        let entries = response.entries.iter().flatten().map(|entry| {
            let entity = entry.entity.iter();
            let entity = entity.map(|part| {
                (
                    part.entity_type.clone().into_owned(),
                    part.entity_name.clone().map(|name| name.into_owned()),
                )
            });
            let values = entry.values.iter().map(|value| (value.key.clone().into_owned(), value.value));
            let mut values: Vec<_> = values.collect();
            java::in_sized_hash_order(&mut values, |(key, _)| java::string_hash(key));
            Entry { entity: entity.collect(), values }
        });
        let mut entries: Vec<Entry> = entries.collect();
        java::in_sized_hash_order(&mut entries, Entry::hash);
        Ok(entries)
    });
    answer.map_err(|error| typed.error(error))?
}

pub fn describe(
    client: &mut Client,
    command: &Command,
    typed: &Typed<'_>,
    streams: &mut Streams<'_>,
) -> Result<(), Failure> {
    for entry in entries(client, command, typed)? {
        let values = entry.values.iter().map(|(key, value)| format!("{key}={}", java::double(*value)));
        let values = values.collect::<Vec<_>>().join(", ");
        writeln!(streams.out, "Quota configs for {} are {values}", entry.named())?;
    }
    if command.kinds != [Kind::User] || command.names.iter().any(String::is_empty) {
        return Ok(());
    }
    let users = command.names.iter().map(|name| DescribeUserScramCredentialsRequestUser { name });
    let request = DescribeUserScramCredentialsRequest { users: Some(users.collect()) };
    let answer = client.any().call(&request, |response| {
        if response.error_code != 0 {
            return Err(typed.refused(response.error_code, response.error_message.as_deref()));
        }
        let not_found = ErrorCode::ResourceNotFound as i16;
        let users = response.results.iter().filter(|result| result.error_code != not_found);
        let lines = users.map(|result| match result.error_code {
            0 => {
                let infos = result.credential_infos.iter().map(|info| {
                    let name = Mechanism::of_number(info.mechanism).map_or("UNKNOWN", Mechanism::name);
                    format!("{name}=iterations={}", info.iterations)
                });
                let infos = infos.collect::<Vec<_>>().join(", ");
                format!("SCRAM credential configs for user-principal '{}' are {infos}", result.user)
            }
            code => format!(
                "Error retrieving SCRAM credential configs for user-principal '{}': {}",
                result.user,
                java::exception_saying(code, result.error_message.as_deref())
            ),
        });
        Ok(lines.collect::<Vec<_>>())
    });
    for line in answer.map_err(|error| typed.error(error))?? {
        writeln!(streams.out, "{line}")?;
    }
    Ok(())
}

pub fn alter(
    client: &mut Client,
    command: &Command,
    steps: &Steps,
    typed: &Typed<'_>,
) -> Result<(), Failure> {
    if command.kinds[0] == Kind::Ip {
        let keys = steps.add.iter().map(|(key, _)| key).chain(&steps.delete);
        let unknown: Vec<&str> =
            keys.map(String::as_str).filter(|key| !QUOTAS_OF_ADDRESSES.contains(key)).collect();
        if !unknown.is_empty() {
            return failed(format!(
                "Only connection quota configs can be added for 'ips' using --bootstrap-server. Unexpected config \
                 names: {}",
                unknown.join(",")
            ));
        }
        return alter_quotas(client, command, steps, typed);
    }
    let is_quota = |key: &&str| QUOTAS.contains(key);
    let is_scram = |key: &&str| Mechanism::of_name(key).is_some();
    let added = || steps.add.iter().map(|(key, _)| key.as_str());
    let deleted = || steps.delete.iter().map(String::as_str);
    let of_users = command.kinds == [Kind::User];
    let allowed = |key: &&str| is_quota(key) || (of_users && is_scram(key));
    let (what, whose) = match of_users {
        true => ("quota and SCRAM credential configs", "users"),
        false => ("quota configs", "clients"),
    };
    let unknown: Vec<&str> = added().filter(|key| !allowed(key)).collect();
    if !unknown.is_empty() {
        return failed(format!(
            "Only {what} can be added for '{whose}' using --bootstrap-server. Unexpected config names: {}",
            java::set(&unknown)
        ));
    }
    let unknown: Vec<&str> = deleted().filter(|key| !allowed(key)).collect();
    if !unknown.is_empty() {
        return failed(format!(
            "Only {what} can be deleted for '{whose}' using --bootstrap-server. Unexpected config names: \
             ArrayBuffer({})",
            unknown.join(", ")
        ));
    }
    let has_quotas = added().chain(deleted()).any(|key| is_quota(&key));
    if added().chain(deleted()).any(|key| is_scram(&key)) {
        if command.names.iter().any(String::is_empty) {
            return failed(
                "The use of --entity-default or --user-defaults is not allowed with User SCRAM Credentials using \
                 --bootstrap-server.",
            );
        }
        if has_quotas {
            return failed(
                "Cannot alter both quota and SCRAM credential configs simultaneously for 'users' using \
                 --bootstrap-server.",
            );
        }
    }
    if has_quotas {
        alter_quotas(client, command, steps, typed)
    } else {
        alter_credentials(client, &command.names[0], steps, typed)
    }
}

/// A number as Java reads it.
fn double(text: &str) -> Option<f64> {
    let text = text.trim();
    let digits = text.strip_suffix(['d', 'D', 'f', 'F']).unwrap_or(text);
    match digits.trim_start_matches(['+', '-']) {
        "NaN" | "Infinity" => digits.parse().ok(),
        plain if plain.starts_with(|c: char| c.is_ascii_digit() || c == '.') => digits.parse().ok(),
        _ => None,
    }
}

fn alter_quotas(
    client: &mut Client,
    command: &Command,
    steps: &Steps,
    typed: &Typed<'_>,
) -> Result<(), Failure> {
    let old = entries(client, command, typed)?;
    let old = old.first().map_or(&[][..], |entry| &entry.values);
    let present: Vec<&str> = old.iter().map(|(key, _)| key.as_str()).collect();
    check_removed(steps, &present, "Invalid config(s)")?;
    let mut ops = Vec::new();
    for (key, text) in &steps.add {
        let Some(value) = double(text) else {
            return failed(format!("Cannot parse quota configuration value for {key}: {text}"));
        };
        ops.push(AlterClientQuotasRequestEntryOp { key, value, remove: false });
    }
    let removed = steps.delete.iter();
    ops.extend(removed.map(|key| AlterClientQuotasRequestEntryOp { key, value: 0.0, remove: true }));
    let entity = command.kinds.iter().zip(&command.names);
    let entity = entity.map(|(kind, name)| AlterClientQuotasRequestEntryEntity {
        entity_type: kind.entity_type(),
        entity_name: Some(name.as_str()).filter(|name| !name.is_empty()),
    });
    let entry = AlterClientQuotasRequestEntry { entity: entity.collect(), ops: ops.into() };
    let request = AlterClientQuotasRequest { entries: [entry].into(), validate_only: false };
    let outcome = client.any().call(&request, |response| {
        let row = response.entries.first();
        row.map(|row| (row.error_code, row.error_message.clone().map(|text| text.into_owned())))
    });
    finish(outcome, typed)
}

/// `iterations=N,password=P`, of which the iterations may be left out; `signed`: -1 means the least number, too.
pub fn credential(mechanism: Mechanism, text: &str, signed: bool) -> Result<(i32, &str), Failure> {
    let numbered = text.strip_prefix("iterations=").and_then(|rest| rest.split_once(",password="));
    let digits = |text: &str| {
        text.trim_start_matches(if signed { "-" } else { "" }).bytes().all(|b| b.is_ascii_digit())
    };
    let (iterations, password) = match (numbered, text.strip_prefix("password=")) {
        (Some((iterations, password)), _) if digits(iterations) => (Some(iterations), password),
        (_, Some(password)) => (None, password),
        (_, None) => {
            let name = mechanism.name().replace('-', "_");
            return failed(format!("Invalid credential property {name}={text}"));
        }
    };
    match iterations {
        None => Ok((ITERATIONS_MIN, password)),
        Some("-1") if signed => Ok((ITERATIONS_MIN, password)),
        Some(number) => match number.parse() {
            Ok(iterations) => Ok((iterations, password)),
            Err(_) => failed(format!("For input string: \"{number}\"")),
        },
    }
}

pub fn too_few<T>(iterations: i32, name: &str) -> Result<T, Failure> {
    failed(format!("Iterations {iterations} is less than the minimum {ITERATIONS_MIN} required for {name}"))
}

/// Characters nobody can guess.
pub fn fresh_salt() -> std::io::Result<Vec<u8>> {
    use std::io::Read;
    let mut bytes = [0; 26];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    const DIGITS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
    Ok(bytes.iter().map(|byte| DIGITS[usize::from(byte % 32)]).collect())
}

fn alter_credentials(
    client: &mut Client,
    user: &str,
    steps: &Steps,
    typed: &Typed<'_>,
) -> Result<(), Failure> {
    let mut made = Vec::new();
    for (key, text) in &steps.add {
        let Some(mechanism) = Mechanism::of_name(key) else { continue };
        let (iterations, password) = credential(mechanism, text, true)?;
        if iterations < ITERATIONS_MIN {
            return too_few(iterations, mechanism.name());
        }
        made.push((mechanism, iterations, password));
    }
    if made.iter().any(|(_, _, password)| password.is_empty()) {
        let code = ErrorCode::UnacceptableCredential as i16;
        return Err(typed.refused(code, Some("Password must not be empty")));
    }
    let mut salted = Vec::new();
    for (mechanism, iterations, password) in made {
        let salt = fresh_salt().map_err(|error| typed.error(error))?;
        // Brokers take at most 16,384 rounds and say so; the work of more would be for nothing.
        let rounds = iterations.min(1 << 20);
        let salted_password = mechanism.salted_password(password.as_bytes(), &salt, rounds);
        salted.push((mechanism, iterations, salt, salted_password));
    }
    let deletions = steps.delete.iter().filter_map(|key| {
        let mechanism = Mechanism::of_name(key)?.number();
        Some(AlterUserScramCredentialsRequestDeletion { name: user, mechanism })
    });
    let upsertions = salted.iter().map(|(mechanism, iterations, salt, salted_password)| {
        AlterUserScramCredentialsRequestUpsertion {
            name: user,
            mechanism: mechanism.number(),
            iterations: *iterations,
            salt,
            salted_password,
        }
    });
    let request =
        AlterUserScramCredentialsRequest { deletions: deletions.collect(), upsertions: upsertions.collect() };
    let mut controller = client.controller().map_err(|error| typed.error(error))?;
    let outcome = controller.call(&request, |response| {
        let row = response.results.first();
        row.map(|row| (row.error_code, row.error_message.clone().map(|text| text.into_owned())))
    });
    finish(outcome, typed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_says_its_iterations_or_takes_the_least() {
        let read = |text| credential(Mechanism::Sha256, text, true).ok();
        assert_eq!(read("iterations=8192,password=a,b"), Some((8192, "a,b")));
        assert_eq!(read("iterations=-1,password=x"), Some((4096, "x")));
        assert_eq!(read("password=x"), Some((4096, "x")));
        for wrong in ["x", "iterations=12", "iterations=x,password=y", "iterations=,password=y"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn numbers_are_read_as_java_reads_them() {
        assert_eq!([double("12.5"), double(" 1e3 "), double("7d")], [Some(12.5), Some(1000.0), Some(7.0)]);
        assert_eq!([double("x"), double("inf"), double("")], [None, None, None]);
        assert!(double("NaN").unwrap().is_nan());
    }
}
