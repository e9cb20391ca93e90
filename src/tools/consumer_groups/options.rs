//! The arguments of `consumer-groups`, and which of them go together: Kafka 3.9's rules in Kafka's words.
//!
//! In: words. Out: options that make one command, or the sentence that says why they do not.

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;

use clap::Parser;

use crate::tools::kafkas_words;

/// List, describe, reset and delete consumer groups. Speaks to this broker and to Kafka's own.
#[derive(Parser, Debug, Default)]
#[command(
    name = "consumer-groups",
    no_binary_name = true,
    infer_long_args = true,
    args_override_self = true,
    version,
    disable_version_flag = true,
    override_usage = "consumer-groups --bootstrap-server HOST:PORT (--list | --describe | --reset-offsets | --delete | --delete-offsets) [OPTIONS]",
    max_term_width = 100
)]
pub struct Options {
    /// The broker to connect to; several with commas between them
    #[arg(long, value_name = "HOST:PORT")]
    pub bootstrap_server: Option<String>,
    /// A properties file for the client
    #[arg(long, value_name = "FILE")]
    pub command_config: Option<PathBuf>,
    /// How long to wait for an answer, in milliseconds
    #[arg(long, value_name = "MS")]
    pub timeout: Option<u64>,

    /// List the groups there are
    #[arg(long)]
    pub list: bool,
    /// Show the offsets of a group, or its members, or its state
    #[arg(long)]
    pub describe: bool,
    /// Delete groups without members
    #[arg(long)]
    pub delete: bool,
    /// Set the offsets of groups without members
    #[arg(long)]
    pub reset_offsets: bool,
    /// Delete offsets of topics that a group does not read
    #[arg(long)]
    pub delete_offsets: bool,

    /// The group; may be given several times
    #[arg(long, value_name = "GROUP", action = clap::ArgAction::Append)]
    pub group: Vec<String>,
    /// All groups there are
    #[arg(long)]
    pub all_groups: bool,
    /// A topic, or partitions of one; may be given several times
    #[arg(long, value_name = "TOPIC[:0,1,...]", action = clap::ArgAction::Append)]
    pub topic: Vec<String>,
    /// All topics the group has offsets for
    #[arg(long)]
    pub all_topics: bool,

    /// With --describe: offsets and lag (what it shows anyway)
    #[arg(long)]
    pub offsets: bool,
    /// With --describe: members
    #[arg(long)]
    pub members: bool,
    /// With --describe: what the group waits for, since when, and what ends it. Kafka's tool has no such option
    #[arg(long)]
    pub why: bool,
    /// With --describe: more, such as the partitions of each member
    #[arg(long)]
    pub verbose: bool,
    /// With --describe: the group's state. With --list: the state of each, or only groups in these
    #[arg(long, value_name = "STATES", num_args = 0..=1)]
    pub state: Option<Option<String>>,
    /// With --list: the type of each, or only groups of these
    #[arg(long, value_name = "TYPES", num_args = 0..=1)]
    pub r#type: Option<Option<String>>,

    /// With --reset-offsets: show the plan and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// With --reset-offsets: carry the plan out
    #[arg(long)]
    pub execute: bool,
    /// With --reset-offsets: write the plan as CSV
    #[arg(long)]
    pub export: bool,
    /// To this offset
    #[arg(long, value_name = "OFFSET", allow_negative_numbers = true)]
    pub to_offset: Option<i64>,
    /// To what a CSV file says
    #[arg(long, value_name = "FILE")]
    pub from_file: Option<PathBuf>,
    /// To the first record from this time on
    #[arg(long, value_name = "YYYY-MM-DDTHH:mm:SS.sss")]
    pub to_datetime: Option<String>,
    /// To the first record that is not older than this
    #[arg(long, value_name = "PnDTnHnMnS", allow_hyphen_values = true)]
    pub by_duration: Option<String>,
    /// To the beginning
    #[arg(long)]
    pub to_earliest: bool,
    /// To the end
    #[arg(long)]
    pub to_latest: bool,
    /// To where it is, or to the end where there is no offset
    #[arg(long)]
    pub to_current: bool,
    /// Forward, or back if negative
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true)]
    pub shift_by: Option<i64>,

    /// Show the version
    #[arg(long)]
    pub version: bool,

    // What other releases of the script know, and what people type.
    #[arg(long, hide = true)]
    pub zookeeper: Option<String>,
    #[arg(long, hide = true)]
    pub new_consumer: bool,
    #[arg(long, hide = true)]
    pub lists: bool,
}

pub enum Parsed {
    Options(Box<Options>),
    Shown(String),
    Wrong(String),
}

/// Warnings go to `err`.
pub fn parse(arguments: &[OsString], err: &mut dyn Write) -> Parsed {
    const ABOUT: &str = "This tool helps to list all consumer groups, describe a consumer group, delete consumer \
                         group info, or reset consumer group offsets.";
    if arguments.is_empty() {
        return Parsed::Wrong(ABOUT.to_owned());
    }
    let options = match Options::try_parse_from(arguments) {
        Ok(options) => options,
        Err(error) if error.kind() == clap::error::ErrorKind::DisplayHelp => {
            return Parsed::Shown(error.to_string());
        }
        Err(error) => return Parsed::Wrong(kafkas_words(&error)),
    };
    if options.version {
        return Parsed::Shown(format!("{}\n", env!("CARGO_PKG_VERSION")));
    }
    match check(&options, err) {
        Ok(()) => Parsed::Options(Box::new(options)),
        Err(message) => Parsed::Wrong(message),
    }
}

impl Options {
    /// The ways to choose new offsets, and which of them were given.
    pub fn scenarios(&self) -> [(&'static str, bool); 8] {
        [
            ("to-offset", self.to_offset.is_some()),
            ("to-datetime", self.to_datetime.is_some()),
            ("by-duration", self.by_duration.is_some()),
            ("to-earliest", self.to_earliest),
            ("to-latest", self.to_latest),
            ("to-current", self.to_current),
            ("shift-by", self.shift_by.is_some()),
            ("from-file", self.from_file.is_some()),
        ]
    }
}

fn check(options: &Options, err: &mut dyn Write) -> Result<(), String> {
    let wrong = |message: &str| Err(message.to_owned());
    if options.lists {
        return wrong("lists is not a recognized option; --list shows all groups");
    }
    if options.zookeeper.is_some() {
        return wrong(
            "--zookeeper is no longer an option of this command: brokers answer for their groups, so name one with \
             --bootstrap-server host:port",
        );
    }
    if options.bootstrap_server.is_none() {
        return wrong("Missing required argument \"[bootstrap-server]\"");
    }
    if !options.describe {
        let only_described = [
            ("members", options.members),
            ("why", options.why),
            ("verbose", options.verbose),
            ("offsets", options.offsets),
            ("state", options.state.is_some() && !options.list),
        ];
        if let Some((name, _)) = only_described.iter().find(|(_, given)| *given) {
            return Err(unavailable(name));
        }
    }
    if options.r#type.is_some() && !options.list {
        return Err(unavailable("type"));
    }
    let has_group = !options.group.is_empty() || options.all_groups;
    if options.describe {
        if !has_group {
            return wrong(
                "Option [describe] takes one of these options: [reset-offsets], [describe], [delete], [list]; name the \
                 group with --group, or say --all-groups",
            );
        }
        let one = [options.members, options.offsets, options.state.is_some()];
        if one.iter().filter(|given| **given).count() > 1 {
            return wrong(
                "Option [describe] takes at most one of these options: [members], [offsets], [state]",
            );
        }
        if options.why && one.contains(&true) {
            return wrong("Option [why] is unavailable with [members], [offsets] and [state]");
        }
        if matches!(&options.state, Some(Some(_))) {
            return wrong("Option [describe] does not take a value for [state]");
        }
    }
    if options.delete {
        if !has_group {
            return wrong("Option [delete] takes one of these options: [group], [all-groups]");
        }
        if !options.topic.is_empty() {
            return wrong(
                "The consumer does not support topic-specific offset deletion from a consumer group.",
            );
        }
    }
    if options.delete_offsets && (options.group.is_empty() || options.topic.is_empty()) {
        return wrong("Option [delete-offsets] takes the following options: [group], [topic]");
    }
    let clash =
        |one: &str, other: &str| Err(format!("Option \"[{one}]\" can't be used with option \"[{other}]\""));
    if options.reset_offsets {
        if options.dry_run && options.execute {
            return wrong("Option [reset-offsets] only accepts one of [execute] and [dry-run]");
        }
        if !options.dry_run && !options.execute {
            // The words, and the blank that is missing in them, are Kafka's. A stream that is gone shows later.
            let _ = writeln!(
                err,
                "WARN: No action will be performed as the --execute option is missing.In a future major release, the \
                 default behavior of this command will be to prompt the user before executing the reset rather than \
                 doing a dry run. You should add the --dry-run option explicitly if you are scripting this command and \
                 want to keep the current default behavior without prompting."
            );
        }
        if !has_group {
            return wrong("Option [reset-offsets] takes one of these options: [group], [all-groups]");
        }
        let given: Vec<&str> =
            options.scenarios().into_iter().filter(|(_, given)| *given).map(|(name, _)| name).collect();
        if let [one, other, ..] = given[..] {
            return clash(one, other);
        }
    }
    if !options.group.is_empty() && options.all_groups {
        return clash("group", "all-groups");
    }
    if !options.group.is_empty() && options.list {
        return clash("group", "list");
    }
    if !options.topic.is_empty() && (options.list || options.describe) {
        return clash("topic", if options.list { "list" } else { "describe" });
    }
    let actions =
        [options.list, options.describe, options.delete, options.reset_offsets, options.delete_offsets];
    if actions.iter().filter(|given| **given).count() != 1 {
        return wrong(
            "Command must include exactly one action: --list, --describe, --delete, --reset-offsets, --delete-offsets",
        );
    }
    Ok(())
}

fn unavailable(option: &str) -> String {
    format!("Option(s) [{option}] are unavailable given other options on the command line")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(line: &str) -> String {
        let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        match parse(&words, &mut Vec::new()) {
            Parsed::Wrong(message) => message,
            Parsed::Options(options) => panic!("{line} is taken as {options:?}"),
            Parsed::Shown(text) => panic!("{line} shows {text}"),
        }
    }

    #[test]
    fn what_does_not_go_together_is_refused_in_kafkas_words() {
        let b = "--bootstrap-server b:1";
        assert!(wrong("").starts_with("This tool helps to list all consumer groups"));
        assert_eq!(wrong("--list"), "Missing required argument \"[bootstrap-server]\"");
        assert_eq!(
            wrong(&format!("{b} --lists")),
            "lists is not a recognized option; --list shows all groups"
        );
        assert_eq!(wrong(&format!("{b} --nonsense")), "nonsense is not a recognized option");
        assert_eq!(
            wrong(&format!("{b} --list --describe --group g")),
            "Option \"[group]\" can't be used with option \"[list]\""
        );
        assert_eq!(
            wrong(&format!("{b} --group g")),
            "Command must include exactly one action: --list, --describe, --delete, --reset-offsets, --delete-offsets"
        );
        assert_eq!(
            wrong(&format!("{b} --group g --reset-offsets --to-earliest --to-latest --topic t")),
            "Option \"[to-earliest]\" can't be used with option \"[to-latest]\""
        );
        assert_eq!(
            wrong(&format!("{b} --group g --reset-offsets --to-offset x --topic t")),
            "Cannot parse argument 'x' of option to-offset"
        );
        assert_eq!(
            wrong(&format!("{b} --list --members")),
            "Option(s) [members] are unavailable given other options on the command line"
        );
        assert!(wrong("--zookeeper z:1 --list").contains("--bootstrap-server"));
    }

    #[test]
    fn an_option_may_be_shortened_and_a_state_may_have_no_value() {
        let words = ["--bootstrap", "b:1", "--list", "--state"].map(OsString::from);
        let Parsed::Options(options) = parse(&words, &mut Vec::new()) else { panic!("a command") };
        assert_eq!((options.bootstrap_server.as_deref(), &options.state), (Some("b:1"), &Some(None)));
    }
}
