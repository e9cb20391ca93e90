//! `--describe`: offsets and lag, members, state.
//!
//! In: groups. Out: Kafka's tables. A group that is empty or rebalancing is named on the error stream, and its rows are
//! written all the same.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{self, Write};

use super::{Failure, Options, Streams, chosen, committed};
use crate::tools::client::Client;
use crate::tools::cluster::{Broker, Kind, LATEST, TopicPartition};
use crate::tools::java;
use crate::wire::message::consumer_protocol::Assignment;
use crate::wire::message::describe_groups::DescribeGroupsRequest;

const MISSING: &str = "-";

pub struct Member {
    id: String,
    instance_id: String,
    host: String,
    client_id: String,
    assigned: Vec<TopicPartition>,
}

/// What the coordinator of a group says of it.
pub struct Group {
    coordinator: Broker,
    pub state: String,
    strategy: String,
    members: Vec<Member>,
}

/// Asks the coordinator.
pub fn group(client: &mut Client, name: &str) -> Result<Group, Failure> {
    let coordinator = client.coordinator(name, Kind::Group)?;
    let (code, found) = client.at_coordinator(name, |connection| {
        let request = DescribeGroupsRequest { groups: vec![name].into(), ..Default::default() };
        connection.call(&request, |response| match response.groups.first() {
            None => (-1, Err("the coordinator did not answer for it".to_owned())),
            Some(group) => (group.error_code, read(group, name, coordinator.clone())),
        })
    })?;
    if code != 0 {
        return Err(Failure::of_code(code));
    }
    found.map_err(Failure::Command)
}

fn read(
    group: &crate::wire::message::describe_groups::DescribeGroupsResponseGroup<'_>,
    name: &str,
    coordinator: Broker,
) -> Result<Group, String> {
    if !matches!(&*group.protocol_type, "" | "consumer") {
        let kind = &group.protocol_type;
        return Err(format!(
            "java.lang.IllegalArgumentException: GroupId {name} is not a consumer group ({kind})."
        ));
    }
    let members = group.members.iter().map(|member| {
        let assignment = Assignment::decode(&member.member_assignment)
            .map_err(|error| format!("the assignment of member {}: {error}", member.member_id))?;
        let mut assigned: Vec<TopicPartition> =
            assignment.partitions().map(|(topic, partition)| TopicPartition::new(topic, partition)).collect();
        let mut seen = HashSet::new();
        assigned.retain(|at| seen.insert(at.clone()));
        Ok(Member {
            id: member.member_id.clone().into_owned(),
            instance_id: member.group_instance_id.clone().unwrap_or_default().into_owned(),
            host: member.client_host.clone().into_owned(),
            client_id: member.client_id.clone().into_owned(),
            assigned,
        })
    });
    Ok(Group {
        coordinator,
        state: group.group_state.clone().into_owned(),
        strategy: group.protocol_data.clone().into_owned(),
        members: members.collect::<Result<_, String>>()?,
    })
}

pub fn describe(client: &mut Client, options: &Options, streams: &mut Streams<'_>) -> Result<(), Failure> {
    let mut names = chosen(client, options)?;
    names.sort();
    // All are asked before the first is written, as Kafka does: one that cannot be described leaves nothing written.
    let groups: BTreeMap<String, Group> = names
        .into_iter()
        .map(|name| group(client, &name).map(|found| (name, found)))
        .collect::<Result<_, _>>()?;
    if options.members {
        for (name, group) in &groups {
            write_members(name, group, options.verbose, streams)?;
        }
    } else if options.state.is_some() {
        for (name, group) in &groups {
            if has_rows(name, group, 1, streams)? {
                write_state(name, group, streams.out)?;
            }
        }
    } else {
        let rows: Vec<Vec<Row>> =
            groups.iter().map(|(name, group)| rows_of(client, name, group)).collect::<Result<_, _>>()?;
        for ((name, group), rows) in groups.iter().zip(rows) {
            if has_rows(name, group, rows.len(), streams)? {
                write_offsets(name, &rows, streams.out)?;
            }
        }
    }
    Ok(())
}

/// Says what the state of a group means for its rows, and whether they are written.
fn has_rows(name: &str, group: &Group, rows: usize, streams: &mut Streams<'_>) -> Result<bool, Failure> {
    match group.state.as_str() {
        "Dead" => {
            streams.error(&format!("Consumer group '{name}' does not exist."))?;
            return Ok(false);
        }
        "Empty" => {
            streams.out.flush()?;
            writeln!(streams.err, "\nConsumer group '{name}' has no active members.")?;
        }
        "PreparingRebalance" | "CompletingRebalance" | "Assigning" | "Reconciling" => {
            streams.out.flush()?;
            writeln!(streams.err, "\nWarning: Consumer group '{name}' is rebalancing.")?;
        }
        "Stable" => {}
        _ => {
            return Err(Failure::Command(
                "Expected a valid consumer group state, but found 'Unknown'.".to_owned(),
            ));
        }
    }
    Ok(rows > 0)
}

struct Row {
    at: TopicPartition,
    offset: Option<i64>,
    end: Option<i64>,
    consumer: String,
    host: String,
    client: String,
}

fn rows_of(client: &mut Client, name: &str, group: &Group) -> Result<Vec<Row>, Failure> {
    let offsets: HashMap<TopicPartition, i64> = committed(client, name)?.into_iter().collect();
    let mut members: Vec<&Member> = group.members.iter().filter(|m| !m.assigned.is_empty()).collect();
    members.sort_by_key(|member| std::cmp::Reverse(member.assigned.len()));
    let assigned: HashSet<&TopicPartition> = members.iter().flat_map(|member| &member.assigned).collect();
    let mut parts: Vec<(Vec<TopicPartition>, [&str; 3])> = members
        .iter()
        .map(|m| (m.assigned.clone(), [m.id.as_str(), m.host.as_str(), m.client_id.as_str()]))
        .collect();
    let unassigned: Vec<TopicPartition> =
        offsets.keys().filter(|at| !assigned.contains(at)).cloned().collect();
    parts.push((unassigned, [MISSING; 3]));
    let wanted: Vec<(TopicPartition, i64)> =
        parts.iter().flat_map(|(partitions, _)| partitions).map(|at| (at.clone(), LATEST)).collect();
    let ends = client.offsets(&wanted, 0)?;
    let mut rows = Vec::new();
    for (mut partitions, [consumer, host, client]) in parts {
        partitions.sort();
        partitions.sort_by_key(|at| at.partition);
        java::in_hash_order(&mut partitions, |at| java::topic_partition_hash(&at.topic, at.partition));
        for at in partitions {
            rows.push(Row {
                offset: offsets.get(&at).copied(),
                // A partition that is gone has no end.
                end: ends.get(&at).and_then(|end| end.ok()),
                at,
                consumer: consumer.to_owned(),
                host: host.to_owned(),
                client: client.to_owned(),
            });
        }
    }
    Ok(rows)
}

fn width<'a>(texts: impl Iterator<Item = &'a str>, least: usize) -> usize {
    texts.map(|text| text.chars().count()).max().unwrap_or(0).max(least)
}

fn write_offsets(name: &str, rows: &[Row], out: &mut dyn Write) -> io::Result<()> {
    let group_width = width(std::iter::once(name), 15);
    let topic_width = width(rows.iter().map(|row| &*row.at.topic), 15);
    let consumer_width = width(rows.iter().map(|row| &*row.consumer), 15);
    let host_width = width(rows.iter().map(|row| &*row.host), 15);
    writeln!(out)?;
    let mut line = |cells: [&str; 9]| {
        let [group, topic, partition, offset, end, lag, consumer, host, client] = cells;
        writeln!(
            out,
            "{group:<group_width$} {topic:<topic_width$} {partition:<10} {offset:<15} {end:<15} {lag:<15} \
             {consumer:<consumer_width$} {host:<host_width$} {client}"
        )
    };
    line([
        "GROUP",
        "TOPIC",
        "PARTITION",
        "CURRENT-OFFSET",
        "LOG-END-OFFSET",
        "LAG",
        "CONSUMER-ID",
        "HOST",
        "CLIENT-ID",
    ])?;
    for row in rows {
        let text = |number: Option<i64>| number.map_or(MISSING.to_owned(), |number| number.to_string());
        let lag = row.offset.filter(|offset| *offset != -1).zip(row.end).map(|(offset, end)| end - offset);
        let partition = row.at.partition.to_string();
        line([
            name,
            &row.at.topic,
            &partition,
            &text(row.offset),
            &text(row.end),
            &text(lag),
            &row.consumer,
            &row.host,
            &row.client,
        ])?;
    }
    Ok(())
}

fn write_members(name: &str, group: &Group, verbose: bool, streams: &mut Streams<'_>) -> Result<(), Failure> {
    let members = &group.members;
    let (mut group_width, mut id_width, mut instance_width, mut host_width, mut client_width) =
        (15, 15, 17, 15, 15);
    let has_instances = members.iter().any(|member| !member.instance_id.is_empty());
    if has_rows(name, group, members.len(), streams)? {
        group_width = width(std::iter::once(name), 15);
        id_width = width(members.iter().map(|member| &*member.id), 15);
        instance_width = width(members.iter().map(|member| &*member.instance_id), 17);
        host_width = width(members.iter().map(|member| &*member.host), 15);
        client_width = width(members.iter().map(|member| &*member.client_id), 15);
    }
    writeln!(streams.out)?;
    let mut line = |[group, id, instance, host, client, count, assignment]: [&str; 7]| {
        write!(streams.out, "{group:<group_width$} {id:<id_width$} ")?;
        if has_instances {
            write!(streams.out, "{instance:<instance_width$} ")?;
        }
        write!(streams.out, "{host:<host_width$} {client:<client_width$} {count:<15} ")?;
        writeln!(streams.out, "{}", if verbose { assignment } else { "" })
    };
    line(["GROUP", "CONSUMER-ID", "GROUP-INSTANCE-ID", "HOST", "CLIENT-ID", "#PARTITIONS", "ASSIGNMENT"])?;
    for member in members {
        let count = member.assigned.len().to_string();
        let assignment = assignment_text(&member.assigned);
        line([name, &member.id, &member.instance_id, &member.host, &member.client_id, &count, &assignment])?;
    }
    Ok(())
}

/// `topic(0,1), other(3)`; numbers stand in the order of their text, as Kafka's tool has them.
fn assignment_text(assigned: &[TopicPartition]) -> String {
    if assigned.is_empty() {
        return MISSING.to_owned();
    }
    let mut topics: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for at in assigned {
        topics.entry(&at.topic).or_default().push(at.partition.to_string());
    }
    let texts = topics.into_iter().map(|(topic, mut partitions)| {
        partitions.sort();
        format!("{topic}({})", partitions.join(","))
    });
    texts.collect::<Vec<_>>().join(", ")
}

fn write_state(name: &str, group: &Group, out: &mut dyn Write) -> io::Result<()> {
    let Broker { id, host, port } = &group.coordinator;
    let coordinator = format!("{host}:{port}  ({id})");
    let width = width(std::iter::once(&*coordinator), 25);
    let mut line = |[group, coordinator, strategy, state, members]: [&str; 5]| {
        write!(out, "\n{group:<width$} {coordinator:<25} {strategy:<20} {state:<15} {members}")
    };
    line(["GROUP", "COORDINATOR (ID)", "ASSIGNMENT-STRATEGY", "STATE", "#MEMBERS"])?;
    let members = group.members.len().to_string();
    line([name, &coordinator, &group.strategy, &group.state, &members])?;
    writeln!(out)
}
