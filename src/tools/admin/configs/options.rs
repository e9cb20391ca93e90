//! The arguments of kafka-configs.sh: what is read or changed, of whom, and by which way.
//!
//! In: Kafka's arguments. Out: `Command`, or Kafka's sentence about what does not fit together. An entity is named in three
//! ways (`--topic T`, `--entity-type topics --entity-name T`, `--broker-defaults`) and comes out as one.

use std::path::{Path, PathBuf};

use clap::{ArgAction, CommandFactory, FromArgMatches, Parser};

use super::{Failure, Streams, Typed, failed};
use crate::config::properties::Properties;

/// Describe and alter settings of topics, brokers, users, clients, addresses. Speaks to this broker and to Kafka's own.
#[derive(Parser, Debug)]
#[command(
    name = "configs",
    no_binary_name = true,
    infer_long_args = true,
    version,
    override_usage = "configs --bootstrap-server HOST:PORT (--describe | --alter) --topic NAME [OPTIONS]",
    max_term_width = 100
)]
struct Arguments {
    /// The broker to connect to; several with commas between them
    #[arg(long, value_name = "HOST:PORT", action = ArgAction::Append)]
    bootstrap_server: Vec<String>,
    /// The controller of a KRaft cluster
    #[arg(long, value_name = "HOST:PORT", action = ArgAction::Append)]
    bootstrap_controller: Vec<String>,
    /// DEPRECATED: ZooKeeper, for SCRAM credentials, and for settings of brokers that do not run
    #[arg(long, value_name = "CONNECT", action = ArgAction::Append)]
    zookeeper: Vec<String>,
    /// A properties file for the client
    #[arg(long, value_name = "FILE", action = ArgAction::Append)]
    command_config: Vec<PathBuf>,
    /// A file with TLS settings for ZooKeeper
    #[arg(long, value_name = "FILE", action = ArgAction::Append)]
    zk_tls_config_file: Vec<PathBuf>,

    /// Change settings
    #[arg(long, overrides_with = "alter")]
    alter: bool,
    /// Show settings
    #[arg(long, overrides_with = "describe")]
    describe: bool,
    /// With --describe: all settings, not only those that were set
    #[arg(long, overrides_with = "all")]
    all: bool,

    /// topics, clients, users, brokers, broker-loggers, ips or client-metrics
    #[arg(long, value_name = "TYPE", action = ArgAction::Append)]
    entity_type: Vec<String>,
    /// The name of an entity of that type
    #[arg(long, value_name = "NAME", action = ArgAction::Append)]
    entity_name: Vec<String>,
    /// What holds for all that have no settings of their own
    #[arg(long, action = ArgAction::Append, num_args = 0, default_missing_value = "")]
    entity_default: Vec<String>,

    /// Settings to set; a value with commas stands in brackets
    #[arg(long, value_name = "KEY=VALUE,KEY=[VALUE,VALUE],...", action = ArgAction::Append)]
    add_config: Vec<String>,
    /// A properties file with settings to set
    #[arg(long, value_name = "FILE", action = ArgAction::Append)]
    add_config_file: Vec<PathBuf>,
    /// Settings to remove
    #[arg(long, value_name = "KEY,KEY,...", action = ArgAction::Append)]
    delete_config: Vec<String>,
    /// Asks nothing; nothing is asked anyway
    #[arg(long, overrides_with = "force")]
    force: bool,

    /// A topic
    #[arg(long, value_name = "NAME", action = ArgAction::Append)]
    topic: Vec<String>,
    /// A client id
    #[arg(long, value_name = "ID", action = ArgAction::Append)]
    client: Vec<String>,
    /// All clients without limits of their own
    #[arg(long, overrides_with = "client_defaults")]
    client_defaults: bool,
    /// A user
    #[arg(long, value_name = "NAME", action = ArgAction::Append)]
    user: Vec<String>,
    /// All users without limits of their own
    #[arg(long, overrides_with = "user_defaults")]
    user_defaults: bool,
    /// A broker
    #[arg(long, value_name = "ID", action = ArgAction::Append)]
    broker: Vec<String>,
    /// All brokers
    #[arg(long, overrides_with = "broker_defaults")]
    broker_defaults: bool,
    /// The loggers of a broker
    #[arg(long, value_name = "ID", action = ArgAction::Append)]
    broker_logger: Vec<String>,
    /// An address
    #[arg(long, value_name = "ADDRESS", action = ArgAction::Append)]
    ip: Vec<String>,
    /// All addresses without limits of their own
    #[arg(long, overrides_with = "ip_defaults")]
    ip_defaults: bool,
}

/// The arguments, and the names in the order they were given: `--entity-name` and `--entity-default` belong to the
/// `--entity-type` that stands in the same place.
#[derive(Debug)]
pub struct Options {
    arguments: Arguments,
    named: Vec<String>,
}

impl FromArgMatches for Options {
    fn from_arg_matches(matches: &clap::ArgMatches) -> Result<Options, clap::Error> {
        let arguments = Arguments::from_arg_matches(matches)?;
        let places = |id: &str| matches.indices_of(id).into_iter().flatten().collect::<Vec<_>>();
        let mut named: Vec<(usize, String)> = places("entity_name")
            .into_iter()
            .zip(arguments.entity_name.iter().cloned())
            .chain(places("entity_default").into_iter().map(|place| (place, String::new())))
            .collect();
        named.sort_by_key(|(place, _)| *place);
        let named = named.into_iter().map(|(_, name)| name).collect();
        Ok(Options { arguments, named })
    }

    fn update_from_arg_matches(&mut self, matches: &clap::ArgMatches) -> Result<(), clap::Error> {
        *self = Options::from_arg_matches(matches)?;
        Ok(())
    }
}

impl CommandFactory for Options {
    fn command() -> clap::Command {
        Arguments::command()
    }

    fn command_for_update() -> clap::Command {
        Arguments::command_for_update()
    }
}

impl Parser for Options {}

/// What has settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Topic,
    Client,
    User,
    Broker,
    Ip,
    BrokerLogger,
    ClientMetrics,
}

impl Kind {
    /// In the order Kafka names them.
    const ALL: [Kind; 7] = [
        Kind::Topic,
        Kind::Client,
        Kind::User,
        Kind::Broker,
        Kind::Ip,
        Kind::BrokerLogger,
        Kind::ClientMetrics,
    ];

    pub fn plural(self) -> &'static str {
        match self {
            Kind::Topic => "topics",
            Kind::Client => "clients",
            Kind::User => "users",
            Kind::Broker => "brokers",
            Kind::Ip => "ips",
            Kind::BrokerLogger => "broker-loggers",
            Kind::ClientMetrics => "client-metrics",
        }
    }

    /// Kafka drops the last letter.
    pub fn singular(self) -> &'static str {
        let plural = self.plural();
        &plural[..plural.len() - 1]
    }
}

/// How the cluster is reached.
#[derive(Debug, PartialEq, Eq)]
pub enum Way {
    Broker(String),
    Controller(String),
    ZooKeeper(String),
}

/// What to set and what to remove.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Steps {
    pub add: Vec<(String, String)>,
    pub delete: Vec<String>,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    Describe { all: bool },
    Alter,
}

#[derive(Debug)]
pub struct Command {
    pub way: Way,
    pub client_config: Option<PathBuf>,
    pub action: Action,
    pub kinds: Vec<Kind>,
    /// One for each kind, or fewer; the empty name is the default of the kind.
    pub names: Vec<String>,
}

/// The value of an option that takes one.
fn one<'a, T>(name: &str, values: &'a [T]) -> Result<Option<&'a T>, Failure> {
    match values {
        [] => Ok(None),
        [value] => Ok(Some(value)),
        _ => failed(format!("Found multiple arguments for option {name}, but you asked for only one")),
    }
}

fn usage<T>(message: &str) -> Result<T, Failure> {
    Err(Failure::Usage(message.to_owned()))
}

impl Options {
    /// The flags that name an entity of one kind, with the kind and their values.
    fn flags(&self) -> [(&'static str, Kind, &[String]); 6] {
        let given = &self.arguments;
        [
            ("topic", Kind::Topic, &given.topic),
            ("client", Kind::Client, &given.client),
            ("user", Kind::User, &given.user),
            ("broker", Kind::Broker, &given.broker),
            ("broker-logger", Kind::BrokerLogger, &given.broker_logger),
            ("ip", Kind::Ip, &given.ip),
        ]
    }

    fn default_flags(&self) -> impl Iterator<Item = Kind> + use<> {
        let given = &self.arguments;
        let all = [
            (Kind::Client, given.client_defaults),
            (Kind::User, given.user_defaults),
            (Kind::Broker, given.broker_defaults),
            (Kind::Ip, given.ip_defaults),
        ];
        all.into_iter().filter(|(_, given)| *given).map(|(kind, _)| kind)
    }

    fn flagged(&self) -> impl Iterator<Item = Kind> + use<> {
        let named = self.flags().map(|(_, kind, values)| (!values.is_empty()).then_some(kind));
        named.into_iter().flatten().chain(self.default_flags())
    }

    /// The types as they were typed; one that there is not is found out later.
    fn types(&self) -> Vec<&str> {
        let typed = self.arguments.entity_type.iter().map(String::as_str);
        typed.chain(self.flagged().map(|kind| -> &str { kind.plural() })).collect()
    }

    fn names(&self) -> Result<Vec<String>, Failure> {
        let mut names = self.named.clone();
        for (flag, _, values) in self.flags() {
            names.extend(one(flag, values)?.cloned());
        }
        names.extend(self.default_flags().map(|_| String::new()));
        Ok(names)
    }

    /// Checks what was given as Kafka's tool does, in its order.
    pub fn command(&self) -> Result<Command, Failure> {
        let given = &self.arguments;
        let action = match (given.alter, given.describe) {
            (true, false) => Action::Alter,
            (false, true) => Action::Describe { all: given.all },
            _ => return usage("Command must include exactly one action: --describe, --alter"),
        };
        if given.describe {
            for (name, values) in [("add-config", &given.add_config), ("delete-config", &given.delete_config)]
            {
                if !values.is_empty() {
                    return usage(&format!("Option \"[describe]\" can't be used with option \"[{name}]\""));
                }
            }
        }
        let kinds = self.kinds()?;
        if (!given.entity_name.is_empty()
            || !given.entity_type.is_empty()
            || !given.entity_default.is_empty())
            && self.flagged().next().is_some()
        {
            return failed(
                "--entity-{type,name,default} should not be used in conjunction with specific entity flags",
            );
        }
        let names = self.names()?;
        let way = self.way()?;
        self.check_names(&kinds, &names)?;
        if given.alter {
            self.check_alter(&kinds, &names)?;
        }
        let client_config = one("command-config", &given.command_config)?.cloned();
        Ok(Command { way, client_config, action, kinds, names })
    }

    fn kinds(&self) -> Result<Vec<Kind>, Failure> {
        let given = &self.arguments;
        let types = self.types();
        let mut seen = Vec::new();
        let mut again = Vec::new();
        for kind in &types {
            if seen.contains(kind) { again.push(*kind) } else { seen.push(*kind) }
        }
        if !again.is_empty() {
            return failed(format!("Duplicate entity type(s) specified: {}", again.join(",")));
        }
        let by_broker = !given.bootstrap_server.is_empty() || !given.bootstrap_controller.is_empty();
        let (allowed, with) = match by_broker {
            true => (&Kind::ALL[..], "--bootstrap-server or --bootstrap-controller"),
            false => (&[Kind::User, Kind::Broker][..], "--zookeeper"),
        };
        let mut kinds = Vec::new();
        for name in types {
            let Some(kind) = allowed.iter().find(|kind| kind.plural() == name) else {
                let allowed = allowed.iter().map(|kind| kind.plural()).collect::<Vec<_>>().join(", ");
                return failed(format!(
                    "Invalid entity type {name}, the entity type must be one of {allowed} with a {with} argument"
                ));
            };
            kinds.push(*kind);
        }
        if kinds.is_empty() {
            return failed("At least one entity type must be specified");
        }
        if kinds.len() > 1 && !kinds.iter().all(|kind| matches!(kind, Kind::User | Kind::Client)) {
            return failed("Only 'users' and 'clients' entity types may be specified together");
        }
        Ok(kinds)
    }

    fn way(&self) -> Result<Way, Failure> {
        let given = &self.arguments;
        let ways = [&given.bootstrap_server, &given.bootstrap_controller, &given.zookeeper];
        match ways.iter().filter(|way| !way.is_empty()).count() {
            0 => {
                return failed(
                    "One of the required --bootstrap-server, --boostrap-controller, or --zookeeper arguments must \
                     be specified",
                );
            }
            1 => {}
            _ => {
                return failed(
                    "Only one of --bootstrap-server, --boostrap-controller, and --zookeeper can be specified",
                );
            }
        }
        if given.all && !given.zookeeper.is_empty() {
            return failed("--bootstrap-server must be specified for --all");
        }
        if !given.zk_tls_config_file.is_empty() && given.zookeeper.is_empty() {
            return failed("Only the --zookeeper option can be used with the --zk-tls-config-file option.");
        }
        if !given.zk_tls_config_file.is_empty() {
            return failed("--zk-tls-config-file: this tool speaks to ZooKeeper without TLS only");
        }
        if let Some(address) = one("bootstrap-server", &given.bootstrap_server)? {
            return Ok(Way::Broker(address.clone()));
        }
        if let Some(address) = one("bootstrap-controller", &given.bootstrap_controller)? {
            return Ok(Way::Controller(address.clone()));
        }
        let connect = one("zookeeper", &given.zookeeper)?.cloned();
        Ok(Way::ZooKeeper(connect.unwrap_or_default()))
    }

    fn check_names(&self, kinds: &[Kind], names: &[String]) -> Result<(), Failure> {
        let given = &self.arguments;
        let has_name = names.iter().any(|name| !name.is_empty());
        let kind = kinds[0];
        let asked = |flags: &[(&str, &[String])]| -> Result<Vec<String>, Failure> {
            let mut all = Vec::new();
            for (flag, values) in flags {
                all.extend(one(flag, values)?.cloned());
            }
            Ok(all)
        };
        if has_name && kinds.iter().any(|kind| matches!(kind, Kind::Broker | Kind::BrokerLogger)) {
            let ids = asked(&[
                ("entity-name", &given.entity_name),
                ("broker", &given.broker),
                ("broker-logger", &given.broker_logger),
            ])?;
            if let Some(id) = ids.iter().find(|id| id.parse::<i32>().is_err()) {
                return failed(format!(
                    "The entity name for {} must be a valid integer broker id, but it is: {id}",
                    kind.plural()
                ));
            }
        }
        if has_name && kinds.contains(&Kind::Ip) {
            let addresses = asked(&[("entity-name", &given.entity_name), ("ip", &given.ip)])?;
            let is_known = |address: &str| {
                use std::net::{IpAddr, ToSocketAddrs};
                address.parse::<IpAddr>().is_ok() || (address, 0).to_socket_addrs().is_ok()
            };
            if let Some(address) = addresses.iter().find(|address| !is_known(address)) {
                return failed(format!(
                    "The entity name for {} must be a valid IP or resolvable host, but it is: {address}",
                    kind.plural()
                ));
            }
        }
        if given.describe && kinds.contains(&Kind::BrokerLogger) && !has_name {
            return failed(format!(
                "an entity name must be specified with --describe of {}",
                self.types().join(",")
            ));
        }
        Ok(())
    }

    fn check_alter(&self, kinds: &[Kind], names: &[String]) -> Result<(), Failure> {
        let given = &self.arguments;
        let has_defaults =
            kinds.iter().any(|kind| matches!(kind, Kind::User | Kind::Client | Kind::Broker | Kind::Ip));
        if has_defaults && names.is_empty() {
            return failed(
                "an entity-name or default entity must be specified with --alter of users, clients, brokers or ips",
            );
        }
        if !has_defaults && names.iter().all(String::is_empty) {
            return failed(format!(
                "an entity name must be specified with --alter of {}",
                self.types().join(",")
            ));
        }
        if !given.add_config.is_empty() && !given.add_config_file.is_empty() {
            return failed("Only one of --add-config or --add-config-file must be specified");
        }
        if given.add_config.is_empty() && given.add_config_file.is_empty() && given.delete_config.is_empty() {
            return failed(
                "At least one of --add-config, --add-config-file, or --delete-config must be specified with --alter",
            );
        }
        Ok(())
    }

    /// What to change; a file is read now.
    pub fn steps(&self, typed: &Typed<'_>, streams: &mut Streams<'_>) -> Result<Steps, Failure> {
        const FORMAT: &str = "message.format.version";
        let given = &self.arguments;
        let mut add = match one("add-config-file", &given.add_config_file)? {
            Some(path) => of_file(path).map_err(|why| typed.error(why))?,
            None => Vec::new(),
        };
        if let Some(text) = one("add-config", &given.add_config)? {
            add = pairs(text)?;
        }
        if let Some((_, value)) = add.iter().find(|(key, _)| key == FORMAT) {
            writeln!(
                streams.out,
                "WARNING: The configuration {FORMAT}={value} is specified. This configuration will be ignored if the \
                 version is newer than the inter.broker.protocol.version specified in the broker or if the \
                 inter.broker.protocol.version is 3.0 or newer. This configuration is deprecated and it will be removed \
                 in Apache Kafka 4.0."
            )?;
        }
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if let Some((key, _)) = add.iter().find(|(key, _)| !key.bytes().all(known)) {
            return failed(format!("Invalid character found for config key: {key}"));
        }
        let delete = given.delete_config.iter().flat_map(|text| text.split(','));
        let delete = delete.filter(|key| !key.is_empty()).map(|key| key.trim().to_owned()).collect();
        Ok(Steps { add, delete })
    }
}

fn of_file(path: &Path) -> Result<Vec<(String, String)>, String> {
    let bytes = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let properties = Properties::parse(&bytes);
    if let Some(error) = properties.errors.first() {
        return Err(format!("{}:{}: {}", path.display(), error.line, error.what));
    }
    let mut all: Vec<(String, String)> = Vec::new();
    for entry in properties.entries {
        put(&mut all, entry.key, entry.value);
    }
    Ok(all)
}

/// The last value of a key counts.
fn put(all: &mut Vec<(String, String)>, key: String, value: String) {
    match all.iter_mut().find(|(known, _)| *known == key) {
        Some((_, old)) => *old = value,
        None => all.push((key, value)),
    }
}

/// Whether what follows lies outside of brackets.
fn is_outside(rest: &str) -> bool {
    rest.find(']').is_none_or(|close| rest[..close].contains('['))
}

/// The parts between separators that stand outside of brackets.
fn split(text: &str, separator: char) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut from = 0;
    for (at, _) in text.match_indices(separator) {
        if is_outside(&text[at + 1..]) {
            parts.push(&text[from..at]);
            from = at + 1;
        }
    }
    parts.push(&text[from..]);
    parts
}

fn pairs(text: &str) -> Result<Vec<(String, String)>, Failure> {
    let mut elements = split(text, ',');
    // As Java splits: empty parts at the end do not count.
    while elements.len() > 1 && elements.last().is_some_and(|element| element.is_empty()) {
        elements.pop();
    }
    let mut all = Vec::new();
    for element in elements {
        let [key, value] = split(element, '=')[..] else {
            return failed(
                "requirement failed: Invalid entity config: all configs to be added must be in the format \"key=val\".",
            );
        };
        put(&mut all, key.trim().to_owned(), value.replace(['[', ']'], "").trim().to_owned());
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &str) -> Options {
        Options::try_parse_from(words.split(' ')).expect("arguments")
    }

    #[test]
    fn names_keep_the_order_in_which_they_were_given() {
        let words = "--alter --bootstrap-server x --entity-type users --entity-default --entity-type clients \
                     --entity-name c --add-config a=b";
        let command = read(words).command().unwrap();
        assert_eq!(command.kinds, [Kind::User, Kind::Client]);
        assert_eq!(command.names, ["", "c"]);
        let command = read("--describe --bootstrap-server x --user u --client c").command().unwrap();
        assert_eq!(
            (command.kinds, command.names),
            (vec![Kind::Client, Kind::User], vec!["c".into(), "u".into()])
        );
    }

    #[test]
    fn commas_and_equals_in_brackets_belong_to_the_value() {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(
            pairs("a=1,SCRAM-SHA-256=[iterations=8192,password=x], b = [x,y] ,c=").unwrap(),
            [
                pair("a", "1"),
                pair("SCRAM-SHA-256", "iterations=8192,password=x"),
                pair("b", "x,y"),
                pair("c", "")
            ]
        );
        for wrong in ["a", "a=b=c", ",a=b", "a=1,b"] {
            assert!(matches!(pairs(wrong), Err(Failure::Command(_))), "{wrong}");
        }
    }
}
