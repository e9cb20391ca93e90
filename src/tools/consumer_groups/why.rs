//! `--describe --why`: what groups wait for, since when, and when that ends by itself. Kafka has nothing like it.
//!
//! In: groups. Out: for each a sentence and its members. It is asked with a tag of our own in DescribeGroups; Kafka's brokers
//! do not know it, and that is said. A group without a coordinator is looked into from outside: whether its partition of
//! the offsets topic is there, has a leader, and has been loaded.

use std::io::{self, Write};

use super::{Failure, Options, Streams, chosen};
use crate::tools::client::Client;
use crate::tools::cluster::Broker;
use crate::tools::java;
use crate::wire::error_code::ErrorCode;
use crate::wire::message::describe_configs::{DescribeConfigsRequest, DescribeConfigsRequestResource};
use crate::wire::message::describe_groups::{DescribeGroupsRequest, DescribeGroupsResponseGroup};
use crate::wire::message::find_coordinator::FindCoordinatorRequest;

const OFFSETS_TOPIC: &str = "__consumer_offsets";
const BROKER: i8 = 4;

pub fn describe(client: &mut Client, options: &Options, streams: &mut Streams<'_>) -> Result<(), Failure> {
    let mut names = chosen(client, options)?;
    names.sort();
    for name in &names {
        match coordinator(client, name)? {
            Ok(broker) => at_coordinator(client, name, &broker, streams)?,
            Err(code) => {
                let why = without_coordinator(client, name, code)?;
                writeln!(streams.out, "\nGroup {name} has no coordinator: {why}.")?;
            }
        }
    }
    Ok(())
}

/// The broker that keeps the group, asked for once, or the error code of the answer.
fn coordinator(client: &mut Client, name: &str) -> Result<Result<Broker, i16>, Failure> {
    let request = FindCoordinatorRequest { key: name, key_type: 0, coordinator_keys: vec![name].into() };
    let (code, id, host, port) =
        client.any().call(&request, |response| match response.coordinators.first() {
            Some(found) => (found.error_code, found.node_id, found.host.clone().into_owned(), found.port),
            None => {
                (response.error_code, response.node_id, response.host.clone().into_owned(), response.port)
            }
        })?;
    Ok(if code == 0 { Ok(Broker { id, host, port }) } else { Err(code) })
}

/// What is wrong with the partition that would keep the group.
fn without_coordinator(client: &mut Client, name: &str, code: i16) -> Result<String, Failure> {
    let found = client.leaders(&[OFFSETS_TOPIC], false)?.remove(OFFSETS_TOPIC);
    let Some(Ok(topic)) = found else {
        let alive = client.brokers()?.len();
        let wanted = match broker_setting(client, "offsets.topic.replication.factor")? {
            Some(factor) => format!("offsets.topic.replication.factor asks for {factor} replicas"),
            None => "it takes as many brokers as offsets.topic.replication.factor says".to_owned(),
        };
        return Ok(format!("there is no topic {OFFSETS_TOPIC}, {wanted}, and the brokers alive are {alive}"));
    };
    let count = topic.leaders.len().max(1) as i32;
    let hash = java::string_hash(name) as i32;
    let partition = hash.checked_abs().unwrap_or(0) % count;
    Ok(match topic.leaders.get(&partition) {
        Some(Some(leader)) => format!(
            "{OFFSETS_TOPIC}-{partition}, which keeps it, is led by {leader}, and the answer is {}",
            ErrorCode::from_code(code).name()
        ),
        Some(None) | None => format!(
            "{OFFSETS_TOPIC}-{partition}, which keeps it, has no leader: none of its replicas that may lead is alive"
        ),
    })
}

fn broker_setting(client: &mut Client, key: &str) -> Result<Option<String>, Failure> {
    let Some(broker) = client.brokers()?.into_iter().next() else { return Ok(None) };
    let name = broker.id.to_string();
    let resource = DescribeConfigsRequestResource {
        resource_type: BROKER,
        resource_name: &name,
        configuration_keys: Some(vec![key].into()),
    };
    let request = DescribeConfigsRequest { resources: [resource].into(), ..Default::default() };
    let value = client.to(&broker.address())?.call(&request, |response| {
        let rows = response.results.iter().flat_map(|result| &result.configs);
        let row = rows.into_iter().find(|row| row.name == key);
        row.and_then(|row| row.value.clone()).map(|value| value.into_owned())
    })?;
    Ok(value)
}

fn at_coordinator(
    client: &mut Client,
    name: &str,
    broker: &Broker,
    streams: &mut Streams<'_>,
) -> Result<(), Failure> {
    let connection = client.to(&broker.address())?;
    let request =
        DescribeGroupsRequest { groups: vec![name].into(), include_authorized_operations: false, why: true };
    let address = broker.address();
    connection.call(&request, |response| match response.groups.first() {
        Some(group) => match ErrorCode::from_code(group.error_code) {
            ErrorCode::None => write(name, group, streams.out).map_err(Failure::from),
            ErrorCode::CoordinatorLoadInProgress => {
                let what = "is still reading what was kept of it; nobody can join until that is done";
                Ok(writeln!(
                    streams.out,
                    "\nGroup {name} waits for its coordinator: broker {address} {what}."
                )?)
            }
            _ => Err(Failure::of_code(group.error_code)),
        },
        None => Err(Failure::Command(format!("broker {address} did not answer for group {name}"))),
    })?
}

fn seconds(ms: i64) -> String {
    format!("{}.{:03} s", ms / 1000, ms % 1000)
}

fn write(name: &str, group: &DescribeGroupsResponseGroup<'_>, out: &mut dyn Write) -> io::Result<()> {
    let state = &group.group_state;
    let Some(why) = group.why.first() else {
        let what = match &**state {
            "Dead" => "does not exist",
            _ => "is kept by a broker that does not say what it waits for",
        };
        return writeln!(out, "\nGroup {name} {what}.");
    };
    write!(out, "\nGroup {name} is {state}")?;
    if why.for_ms >= 0 {
        write!(out, " for {}", seconds(why.for_ms))?;
    }
    writeln!(out, ". It waits for {}.", why.reason)?;
    if why.ends_in_ms >= 0 {
        let late = why.members.iter().filter(|member| member.is_waited_for).count();
        let whom = if late == 0 { String::new() } else { format!(", without the {late} it waits for") };
        writeln!(
            out,
            "That ends by itself in {}{whom}: {} is the setting.",
            seconds(why.ends_in_ms),
            why.ends_by
        )?;
    }
    if why.pending > 0 {
        writeln!(
            out,
            "{} were given an id and have not joined with it: they are forgotten after their session.timeout.ms.",
            why.pending
        )?;
    }
    if group.members.is_empty() {
        return Ok(());
    }
    let width = |texts: &mut dyn Iterator<Item = usize>| texts.max().unwrap_or(0).max(15);
    let ids = width(&mut group.members.iter().map(|member| member.member_id.chars().count()));
    let hosts = width(&mut group.members.iter().map(|member| member.client_host.chars().count()));
    let mut line = |[id, host, waited, session, rebalance, heard]: [&str; 6]| {
        writeln!(out, "{id:<ids$} {host:<hosts$} {waited:<12} {session:<19} {rebalance:<21} {heard}")
    };
    line([
        "CONSUMER-ID",
        "HOST",
        "WAITED-FOR",
        "SESSION-TIMEOUT-MS",
        "REBALANCE-TIMEOUT-MS",
        "HEARD-MS-AGO",
    ])?;
    for (member, why) in group.members.iter().zip(&why.members) {
        let heard = if why.heard_ms_ago < 0 { "-".to_owned() } else { why.heard_ms_ago.to_string() };
        line([
            &member.member_id,
            &member.client_host,
            if why.is_waited_for { "yes" } else { "no" },
            &why.session_timeout_ms.to_string(),
            &why.rebalance_timeout_ms.to_string(),
            &heard,
        ])?;
    }
    Ok(())
}
