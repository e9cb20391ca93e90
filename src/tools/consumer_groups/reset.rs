//! `--reset-offsets`: new offsets for groups without members, as a plan, as CSV, or carried out.
//!
//! In: one of eight ways to choose offsets, and partitions. Out: the plan, in the order of Java's table. Offsets outside
//! what a partition holds are moved to its nearer end, and that is said on the error stream.

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use super::moment::{datetime_ms, duration_ms};
use super::{Failure, Options, Streams, chosen, committed, describe, partitions_of};
use crate::tools::client::Client;
use crate::tools::cluster::{Committer, EARLIEST, LATEST, TopicPartition};
use crate::tools::java;
use crate::wire::error_code::ErrorCode;

type Offsets = Vec<(TopicPartition, i64)>;

/// How offsets are chosen.
pub enum Plan {
    ToOffset(i64),
    ToEarliest,
    ToLatest,
    ToCurrent,
    ShiftBy(i64),
    ToTime(i64),
    /// Of each group its own.
    FromFile(HashMap<String, Offsets>),
    /// No way was given; said when a group could be reset, as Kafka does.
    Missing,
}

impl Plan {
    /// What can be said of the arguments alone is said before anybody is connected to.
    pub fn of(options: &Options) -> Result<Plan, Failure> {
        let now_ms =
            || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
        Ok(if let Some(offset) = options.to_offset {
            Plan::ToOffset(offset)
        } else if options.to_earliest {
            Plan::ToEarliest
        } else if options.to_latest {
            Plan::ToLatest
        } else if options.to_current {
            Plan::ToCurrent
        } else if let Some(count) = options.shift_by {
            Plan::ShiftBy(count)
        } else if let Some(text) = &options.to_datetime {
            Plan::ToTime(datetime_ms(text).map_err(Failure::Command)?)
        } else if let Some(text) = &options.by_duration {
            Plan::ToTime(now_ms().saturating_sub(duration_ms(text).map_err(Failure::Command)?))
        } else if let Some(path) = &options.from_file {
            let shown = path.display();
            let text = std::fs::read_to_string(path)
                .map_err(|error| Failure::Command(format!("{shown}: {error}")))?;
            let only = match &options.group[..] {
                [only] => Some(only.as_str()),
                _ => None,
            };
            let plan = parse_plan(&text, only);
            Plan::FromFile(plan.map_err(|why| Failure::Command(format!("{shown}:{why}")))?)
        } else {
            Plan::Missing
        })
    }
}

/// Lines of `topic,partition,offset` for the one group that was named, or `group,topic,partition,offset`.
fn parse_plan(text: &str, only: Option<&str>) -> Result<HashMap<String, Offsets>, String> {
    let mut groups: HashMap<String, Offsets> = HashMap::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let wrong = |what: &str| {
            let expected =
                if only.is_some() { "topic,partition,offset" } else { "group,topic,partition,offset" };
            format!("{}: {what}; a line is {expected}", number + 1)
        };
        let fields = csv_fields(line).ok_or_else(|| wrong("a quote that does not end"))?;
        let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
        let (group, topic, partition, offset) = match (&fields[..], only) {
            ([topic, partition, offset], Some(only)) => (only, topic, partition, offset),
            ([group, topic, partition, offset], _) => (*group, topic, partition, offset),
            _ => return Err(wrong(&format!("{} fields", fields.len()))),
        };
        let partition = partition.trim().parse().map_err(|_| wrong(&format!("partition `{partition}`")))?;
        let offset = offset.trim().parse().map_err(|_| wrong(&format!("offset `{offset}`")))?;
        let at = TopicPartition::new(*topic, partition);
        let plan = groups.entry(group.to_owned()).or_default();
        match plan.iter_mut().find(|(known, _)| *known == at) {
            Some((_, known)) => *known = offset,
            None => plan.push((at, offset)),
        }
    }
    Ok(groups)
}

fn csv_fields(line: &str) -> Option<Vec<String>> {
    let mut fields = vec![String::new()];
    let mut letters = line.trim_end_matches('\r').chars().peekable();
    let mut quoted = false;
    while let Some(letter) = letters.next() {
        let field = fields.last_mut().expect("one from the start");
        match letter {
            '"' if quoted && letters.next_if_eq(&'"').is_some() => field.push('"'),
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            other => field.push(other),
        }
    }
    (!quoted).then_some(fields)
}

fn csv_field(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

pub fn reset(
    client: &mut Client,
    options: &Options,
    plan: Plan,
    streams: &mut Streams<'_>,
) -> Result<(), Failure> {
    let mut plans: Vec<(String, Offsets)> = Vec::new();
    for name in chosen(client, options)? {
        let state = describe::group(client, &name)?.state;
        if !matches!(state.as_str(), "Empty" | "Dead") {
            streams.error(&format!(
                "Assignments can only be reset if the group '{name}' is inactive, but the current state is {state}."
            ))?;
            plans.push((name, Vec::new()));
            continue;
        }
        let partitions = partitions_to_reset(client, options, &name)?;
        let mut offsets = new_offsets(client, &name, &plan, partitions, streams)?;
        java::in_hash_order(&mut offsets, |(at, _)| java::topic_partition_hash(&at.topic, at.partition));
        if options.execute {
            commit(client, &name, &offsets)?;
        }
        plans.push((name, offsets));
    }
    if options.export {
        let with_group = options.group.len() != 1;
        for (name, offsets) in &plans {
            for (at, offset) in offsets {
                if with_group {
                    write!(streams.out, "{},", csv_field(name))?;
                }
                writeln!(streams.out, "{},{},{offset}", csv_field(&at.topic), at.partition)?;
            }
        }
        return Ok(writeln!(streams.out)?);
    }
    if !plans.is_empty() {
        writeln!(streams.out, "\n{:<30} {:<30} {:<10} {:<15}", "GROUP", "TOPIC", "PARTITION", "NEW-OFFSET")?;
    }
    for (name, offsets) in &plans {
        for (at, offset) in offsets {
            writeln!(streams.out, "{name:<30} {:<30} {:<10} {offset:<15}", at.topic, at.partition)?;
        }
    }
    Ok(())
}

fn partitions_to_reset(
    client: &mut Client,
    options: &Options,
    group: &str,
) -> Result<Vec<TopicPartition>, Failure> {
    if options.all_topics {
        return Ok(committed(client, group)?.into_iter().map(|(at, _)| at).collect());
    }
    if !options.topic.is_empty() {
        let (mut partitions, unknown) = partitions_of(client, &options.topic)?;
        if let Some((_, code)) = unknown.first() {
            let reason = java::exception(*code);
            return Err(Failure::Command(format!("java.util.concurrent.ExecutionException: {reason}")));
        }
        let mut seen = std::collections::HashSet::new();
        partitions.retain(|at| seen.insert(at.clone()));
        return Ok(partitions);
    }
    if options.from_file.is_none() {
        return Err(Failure::Usage(
            "One of the reset scopes should be defined: --all-topics, --topic.".to_owned(),
        ));
    }
    Ok(Vec::new())
}

fn new_offsets(
    client: &mut Client,
    group: &str,
    plan: &Plan,
    partitions: Vec<TopicPartition>,
    streams: &mut Streams<'_>,
) -> Result<Offsets, Failure> {
    match plan {
        Plan::ToOffset(offset) => {
            let wanted = partitions.into_iter().map(|at| (at, *offset)).collect();
            within_range(client, wanted, streams)
        }
        Plan::ToEarliest => ends(client, partitions, EARLIEST),
        Plan::ToLatest => ends(client, partitions, LATEST),
        Plan::ToTime(ms) => at_time(client, partitions, *ms, streams),
        Plan::ShiftBy(count) => {
            let current: HashMap<TopicPartition, i64> = committed(client, group)?.into_iter().collect();
            let wanted = partitions.into_iter().map(|at| match current.get(&at) {
                Some(offset) => Ok((at, offset.saturating_add(*count))),
                None => Err(Failure::Usage(format!(
                    "Cannot shift offset for partition {at} since there is no current committed offset"
                ))),
            });
            let wanted = wanted.collect::<Result<_, _>>()?;
            within_range(client, wanted, streams)
        }
        Plan::ToCurrent => {
            let current: HashMap<TopicPartition, i64> = committed(client, group)?.into_iter().collect();
            let (with, without): (Vec<_>, Vec<_>) =
                partitions.into_iter().partition(|at| current.contains_key(at));
            let mut offsets: Offsets = with.into_iter().map(|at| (at.clone(), current[&at])).collect();
            offsets.extend(ends(client, without, LATEST)?);
            Ok(offsets)
        }
        Plan::FromFile(plans) => match plans.get(group) {
            None => {
                streams.error(&format!("No reset plan for group {group} found"))?;
                Ok(Vec::new())
            }
            Some(offsets) => within_range(client, offsets.clone(), streams),
        },
        Plan::Missing => Err(Failure::Usage(
            "Option '[reset-offsets]' requires one of the following scenarios: [to-offset], [to-datetime], \
             [by-duration], [to-earliest], [to-latest], [to-current], [shift-by], [from-file]"
                .to_owned(),
        )),
    }
}

/// The first or the last offset of partitions.
fn ends(client: &mut Client, partitions: Vec<TopicPartition>, which: i64) -> Result<Offsets, Failure> {
    let asked: Offsets = partitions.into_iter().map(|at| (at, which)).collect();
    let found = client.offsets(&asked, 0)?;
    let of = |at: TopicPartition| match found.get(&at) {
        Some(Ok(offset)) => Ok((at, *offset)),
        Some(Err(code)) => Err(Failure::of_code(*code)),
        None => Err(Failure::of_code(ErrorCode::UnknownServerError as i16)),
    };
    asked.into_iter().map(|(at, _)| of(at)).collect()
}

fn at_time(
    client: &mut Client,
    mut partitions: Vec<TopicPartition>,
    ms: i64,
    streams: &mut Streams<'_>,
) -> Result<Offsets, Failure> {
    java::in_hash_order(&mut partitions, |at| java::topic_partition_hash(&at.topic, at.partition));
    let found = ends(client, partitions, ms)?;
    let (found, none): (Offsets, Offsets) = found.into_iter().partition(|(_, offset)| *offset != -1);
    for (at, _) in &none {
        writeln!(
            streams.out,
            "\nWarn: Partition {} from topic {} is empty. Falling back to latest known offset.",
            at.partition, at.topic
        )?;
    }
    let mut offsets = found;
    offsets.extend(ends(client, none.into_iter().map(|(at, _)| at).collect(), LATEST)?);
    Ok(offsets)
}

/// Moves offsets to the nearer end of what their partition holds.
fn within_range(
    client: &mut Client,
    mut wanted: Offsets,
    streams: &mut Streams<'_>,
) -> Result<Offsets, Failure> {
    java::in_hash_order(&mut wanted, |(at, _)| java::topic_partition_hash(&at.topic, at.partition));
    let partitions = || wanted.iter().map(|(at, _)| at.clone()).collect();
    let first: HashMap<_, _> = ends(client, partitions(), EARLIEST)?.into_iter().collect();
    let last: HashMap<_, _> = ends(client, partitions(), LATEST)?.into_iter().collect();
    let mut offsets = Offsets::new();
    for (at, offset) in wanted {
        let (first, last) = (first[&at], last[&at]);
        let beyond = match offset {
            _ if offset > last => Some(("higher than latest", last)),
            _ if offset < first => Some(("lower than earliest", first)),
            _ => None,
        };
        if let Some((side, end)) = beyond {
            writeln!(
                streams.err,
                "WARN New offset ({offset}) is {side} offset for topic partition {at}. Value will be set to {end}"
            )?;
        }
        offsets.push((at, beyond.map_or(offset, |(_, end)| end)));
    }
    Ok(offsets)
}

fn commit(client: &mut Client, group: &str, offsets: &Offsets) -> Result<(), Failure> {
    if offsets.is_empty() {
        return Ok(());
    }
    let nobody = Committer { group, generation: -1, member: "", instance: None };
    let (code, ()) =
        client.at_coordinator(group, |connection| Ok((nobody.commit(connection, offsets)?, ())))?;
    if code == 0 {
        return Ok(());
    }
    let reason = java::exception(code);
    Err(Failure::Command(format!("java.util.concurrent.ExecutionException: {reason}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_in_a_file_is_read_with_and_without_groups() {
        let one = parse_plan("t,0,5\n\"a,\"\"b\",1,6\r\nt,0,7\n", Some("g")).unwrap();
        let at = TopicPartition::new;
        assert_eq!(one["g"], [(at("t", 0), 7), (at("a,\"b", 1), 6)]);
        let two = parse_plan("g,t,0,5\nh,t,0,6\n", None).unwrap();
        assert_eq!((two["g"].len(), two["h"][0].1), (1, 6));
        for (text, why) in [
            ("t,0", "1: 2 fields; a line is topic,partition,offset"),
            ("t,0,5\nt,x,5", "2: partition `x`; a line is topic,partition,offset"),
            ("t,0,y", "1: offset `y`; a line is topic,partition,offset"),
            ("\"t,0,5", "1: a quote that does not end; a line is topic,partition,offset"),
        ] {
            assert_eq!(parse_plan(text, Some("g")).unwrap_err(), why);
        }
        assert_eq!(csv_field("a,\"b"), "\"a,\"\"b\"");
    }
}
