//! What keys say together: listeners, directories, the id, and the checks between keys.
//!
//! In: values that are right one by one. Out: `Together`, and an error at the key that breaks a rule. A rule
//! is looked at only when every key in it is right by itself, so that one slip is one error.

use std::path::PathBuf;

use crate::config::broker::ZooKeeper;
use crate::config::listener::{self, Listener, ProtocolMap, SecurityProtocol};
use crate::config::load::{Findings, Given};
use crate::config::setting::{self, Part};
use crate::config::topic::{self, Durability};
use crate::config::version::Version;

const LISTENERS: &str = "listeners";
const ADVERTISED: &str = "advertised.listeners";
/// KRaft's controllers listen on these names; a file that has them runs here without them.
const CONTROLLERS: &str = "controller.listener.names";

#[derive(Default)]
pub(super) struct Together {
    pub broker_id: Option<i32>,
    pub listeners: Vec<Listener>,
    pub advertised_listeners: Vec<Listener>,
    pub inter_broker_listener_name: String,
    pub log_dirs: Vec<PathBuf>,
    pub zookeeper: Option<ZooKeeper>,
}

impl Together {
    pub fn new(given: &Given, findings: &mut Findings) -> Together {
        let mut together = Together { broker_id: check_broker_id(given, findings), ..Together::default() };
        together.check_listeners(given, findings);
        together.log_dirs = check_log_dirs(given, findings);
        together.zookeeper = check_zookeeper(given, findings);
        check_times_and_sizes(given, findings);
        check_connection_limits(given, findings);
        check_groups(given, findings);
        check_durability(given, findings);
        check_replication(given, findings);
        check_login(given, &together, findings);
        check_security(given, findings);
        check_roles(given, findings);
        together
    }

    fn check_listeners(&mut self, given: &Given, findings: &mut Findings) {
        const MAP: &str = "listener.security.protocol.map";
        let map = match listener::parse_protocol_map(&given.string(MAP).unwrap_or_default()) {
            Ok(map) => map,
            Err(what) => return given.error(&[MAP], what, findings),
        };
        let Some(mut listeners) = read_listeners(given, LISTENERS, &map, findings) else { return };
        let of_controllers = setting::list(&given.string(CONTROLLERS).unwrap_or_default());
        let of_broker = |listener: &Listener| {
            !of_controllers.iter().any(|name| name.eq_ignore_ascii_case(&listener.name))
        };
        listeners.retain(of_broker);
        if listeners.is_empty() {
            return given.error(
                &[LISTENERS, CONTROLLERS],
                "at least one NAME://host:port to serve clients on",
                findings,
            );
        }
        if let Err(what) = listener::check_ports(&listeners) {
            given.error(&[LISTENERS], what, findings);
        }
        for listener in listeners.iter().filter(|listener| listener.protocol != SecurityProtocol::Plaintext) {
            let Listener { name, protocol, .. } = listener;
            let which = if name == protocol.as_str() { name.clone() } else { format!("{name} ({protocol})") };
            let text =
                format!("only PLAINTEXT listeners for now, because {which} waits for {}", Part::Security);
            given.error(&[LISTENERS], text, findings);
        }
        let advertised = if given.string(ADVERTISED).is_none_or(|text| text.is_empty()) {
            listeners.clone()
        } else {
            let Some(mut advertised) = read_listeners(given, ADVERTISED, &map, findings) else { return };
            advertised.retain(of_broker);
            advertised
        };
        for listener in &advertised {
            if !listeners.iter().any(|known| known.name == listener.name) {
                let text = format!("only names that are in listeners, and {} is not", listener.name);
                given.error(&[ADVERTISED], text, findings);
            }
            if listener.host == "0.0.0.0" {
                let text =
                    "a host that clients can reach in advertised.listeners, and nobody can reach 0.0.0.0";
                given.error(&[ADVERTISED, LISTENERS], text, findings);
            }
        }
        self.listeners = listeners;
        self.advertised_listeners = advertised;
        self.check_inter_broker(given, findings);
        self.check_control_plane(given, findings);
    }

    fn check_inter_broker(&mut self, given: &Given, findings: &mut Findings) {
        const NAME: &str = "inter.broker.listener.name";
        const PROTOCOL: &str = "security.inter.broker.protocol";
        let named = given.string(NAME).filter(|name| !name.is_empty());
        if named.is_some() && given.is_given(PROTOCOL) {
            return given.error(&[NAME], format!("set only one of {NAME} and {PROTOCOL}"), findings);
        }
        let name = match named {
            Some(name) => name.to_uppercase(),
            None => given.string(PROTOCOL).unwrap_or_default(),
        };
        if !self.advertised_listeners.iter().any(|listener| listener.name == name) {
            let text = format!("brokers talk over {name}, so it must be among the advertised listeners");
            given.error(&[NAME, PROTOCOL, ADVERTISED, LISTENERS], text, findings);
        }
        self.inter_broker_listener_name = name;
    }

    fn check_control_plane(&self, given: &Given, findings: &mut Findings) {
        const NAME: &str = "control.plane.listener.name";
        let Some(name) = given.string(NAME).map(|name| name.to_uppercase()).filter(|name| !name.is_empty())
        else {
            return;
        };
        if name == self.inter_broker_listener_name || !self.listeners.iter().any(|known| known.name == name) {
            let other = &self.inter_broker_listener_name;
            given.error(&[NAME], format!("a name that is in listeners, and not {other}"), findings);
        }
    }
}

fn read_listeners(
    given: &Given,
    key: &str,
    map: &ProtocolMap,
    findings: &mut Findings,
) -> Option<Vec<Listener>> {
    match listener::parse_listeners(&given.string(key).unwrap_or_default(), map) {
        Ok(listeners) => Some(listeners),
        Err(wrong) => {
            for what in wrong {
                given.error(&[key], what, findings);
            }
            None
        }
    }
}

fn check_broker_id(given: &Given, findings: &mut Findings) -> Option<i32> {
    const BROKER: &str = "broker.id";
    const NODE: &str = "node.id";
    const RESERVED: &str = "reserved.broker.max.id";
    const GENERATION: &str = "broker.id.generation.enable";
    let [broker, node, reserved] = [BROKER, NODE, RESERVED].map(|key| given.whole(key));
    if !given.are_right(&[BROKER, NODE, RESERVED, GENERATION]) {
        return None;
    }
    let both = given.is_given(BROKER) && given.is_given(NODE);
    if both && broker != node {
        given.error(&[NODE], format!("the same as broker.id, which is {broker}"), findings);
    }
    let (key, id) = if given.is_given(BROKER) { (BROKER, broker) } else { (NODE, node) };
    if given.flag(GENERATION) {
        if id < -1 || id > reserved {
            let text =
                format!("a whole number from -1 to {RESERVED} ({reserved}) while {GENERATION} is true");
            given.error(&[key, RESERVED], text, findings);
        }
    } else if id < 0 {
        given.error(
            &[key, GENERATION],
            format!("broker.id must be 0 or more while {GENERATION} is false"),
            findings,
        );
    }
    i32::try_from(id).ok().filter(|id| *id >= 0)
}

fn check_log_dirs(given: &Given, findings: &mut Findings) -> Vec<PathBuf> {
    let key = if given.text("log.dirs").is_some() { "log.dirs" } else { "log.dir" };
    let dirs = setting::list(&given.string(key).unwrap_or_default());
    if dirs.is_empty() || dirs.iter().any(String::is_empty) {
        given.error(&[key], "at least one directory, and none empty", findings);
    }
    let dirs: Vec<PathBuf> = dirs.into_iter().map(PathBuf::from).collect();
    for (index, dir) in dirs.iter().enumerate() {
        if !dir.as_os_str().is_empty() && dirs[..index].contains(dir) {
            given.error(
                &[key],
                format!("each directory once, and {} is there twice", dir.display()),
                findings,
            );
        }
    }
    dirs
}

fn check_zookeeper(given: &Given, findings: &mut Findings) -> Option<ZooKeeper> {
    const CONNECT: &str = "zookeeper.connect";
    let connect = given.string(CONNECT).filter(|connect| !connect.is_empty())?;
    let (hosts, chroot) = match connect.find('/') {
        Some(slash) => connect.split_at(slash),
        None => (connect.as_str(), ""),
    };
    let chroot = chroot.trim_end_matches('/');
    if chroot.contains([',', ':']) || chroot.contains("//") {
        given.error(&[CONNECT], "host:port,host:port/path, with one path, at the end", findings);
    }
    let mut servers = Vec::new();
    for server in setting::list(hosts) {
        let (host, port) = server.rsplit_once(':').unwrap_or((&server, "2181"));
        match port.parse::<u16>() {
            Ok(port) if port > 0 && !host.is_empty() => servers.push(format!("{host}:{port}")),
            Ok(_) | Err(_) => given.error(
                &[CONNECT],
                format!("host:port,host:port/path, and `{server}` is not host:port"),
                findings,
            ),
        }
    }
    if servers.is_empty() {
        given.error(&[CONNECT], "at least one host:port", findings);
    }
    let positive = |key: &str, findings: &mut Findings| match given.whole_or_null(key).map(u32::try_from) {
        None => None,
        Some(Ok(ms)) if ms > 0 => Some(ms),
        Some(_) => {
            given.error(&[key], "1 or more", findings);
            None
        }
    };
    let session_timeout_ms = positive("zookeeper.session.timeout.ms", findings).unwrap_or(1);
    let connection_timeout_ms =
        positive("zookeeper.connection.timeout.ms", findings).unwrap_or(session_timeout_ms);
    Some(ZooKeeper {
        chroot: chroot.to_owned(),
        servers,
        session_timeout_ms,
        connection_timeout_ms,
        max_in_flight_requests: u32::try_from(given.whole("zookeeper.max.in.flight.requests")).unwrap_or(1),
        set_acl: given.flag("zookeeper.set.acl"),
        connect,
    })
}

fn check_times_and_sizes(given: &Given, findings: &mut Findings) {
    // Only the key that counts is judged, as in Kafka.
    let retention = ["log.retention.ms", "log.retention.minutes", "log.retention.hours"];
    let counts = retention.into_iter().find(|key| given.whole_or_null(key).is_some());
    if let Some(key) = counts.filter(|key| given.whole(key) == 0) {
        given.error(&[key], "1 or more, or -1 for ever", findings);
    }
    for (key, least) in [
        ("log.roll.ms", 1),
        ("log.roll.jitter.ms", 0),
        ("log.flush.interval.ms", 0),
        ("log.flush.scheduler.interval.ms", 1),
    ] {
        if given.whole_or_null(key).is_some_and(|n| n < least) {
            given.error(&[key], format!("{least} or more"), findings);
        }
    }
    for key in
        ["socket.send.buffer.bytes", "socket.receive.buffer.bytes", "replica.socket.receive.buffer.bytes"]
    {
        if given.whole(key) < -1 || given.whole(key) == 0 {
            given.error(&[key], "1 or more, or -1 for the system's choice", findings);
        }
    }
    let pair = ["queued.max.request.bytes", "socket.request.max.bytes"];
    let [queued, request] = pair.map(|key| given.whole(key));
    if given.are_right(&pair) && queued > 0 && queued < request {
        let text = format!("0 or less, or at least socket.request.max.bytes ({request})");
        given.error(&pair, text, findings);
    }
    const MEMORY: &str = "log.cleaner.dedupe.buffer.size";
    const THREADS: &str = "log.cleaner.threads";
    const EACH: i64 = 1024 * 1024;
    let [memory, threads] = [MEMORY, THREADS].map(|key| given.whole(key));
    let too_little = threads > 0 && memory / threads <= EACH;
    if given.are_right(&[MEMORY, THREADS]) && given.flag("log.cleaner.enable") && too_little {
        let text =
            format!("each of {threads} {THREADS} needs more than 1 MiB of {MEMORY}, which is {memory}");
        given.error(&[MEMORY, THREADS], text, findings);
    }
}

fn check_connection_limits(given: &Given, findings: &mut Findings) {
    const LIMIT: &str = "max.connections.per.ip";
    const OVERRIDES: &str = "max.connections.per.ip.overrides";
    let overrides = setting::list(&given.string(OVERRIDES).unwrap_or_default());
    if given.are_right(&[LIMIT]) && given.whole(LIMIT) == 0 && overrides.is_empty() {
        given.error(
            &[LIMIT],
            format!("0 shuts out everyone, so it needs addresses in {OVERRIDES}"),
            findings,
        );
    }
    for element in overrides {
        let limit = element.rsplit_once(':').filter(|(host, _)| !host.trim().is_empty());
        if limit.is_none_or(|(_, limit)| limit.trim().parse::<u32>().is_err()) {
            given.error(&[OVERRIDES], format!("`{element}` is not address:number"), findings);
        }
    }
}

fn check_groups(given: &Given, findings: &mut Findings) {
    check_order("group.min.session.timeout.ms", "group.max.session.timeout.ms", given, findings);
    let pair = ["offsets.commit.required.acks", "offsets.topic.replication.factor"];
    let [acks, replicas] = pair.map(|key| given.whole(key));
    if given.are_right(&pair) && !(-1..=replicas).contains(&acks) {
        given.error(&pair, format!("from -1 to offsets.topic.replication.factor ({replicas})"), findings);
    }
}

/// The first number may not be above the second; said of the one that somebody wrote.
fn check_order(small: &str, large: &str, given: &Given, findings: &mut Findings) {
    let [least, most] = [small, large].map(|key| given.whole(key));
    if !given.are_right(&[small, large]) || least <= most {
        return;
    }
    if given.is_given(small) {
        given.error(&[small], format!("at most {large} ({most})"), findings);
    } else {
        given.error(&[large], format!("at least {small} ({least})"), findings);
    }
}

fn check_durability(given: &Given, findings: &mut Findings) {
    const INTERVAL: &str = "log.flush.interval.ms";
    const SCHEDULER: &str = "log.flush.scheduler.interval.ms";
    const MESSAGES: &str = "log.flush.interval.messages";
    if !given.are_right(&["durability", INTERVAL, SCHEDULER, MESSAGES]) {
        return;
    }
    let interval = given.whole_or_null(INTERVAL);
    let scheduled = given.whole(SCHEDULER) < i64::MAX;
    match given.text("durability") {
        Some("interval") if interval.is_none() && !scheduled && given.whole(MESSAGES) == i64::MAX => {
            given.error(&["durability"], format!("interval needs {INTERVAL}"), findings);
        }
        Some("interval") => {}
        Some(mode) => {
            for key in [MESSAGES, INTERVAL, SCHEDULER] {
                if given.is_given(key) {
                    given.note(&[key], format!("has no effect: durability = {mode} decides"), findings);
                }
            }
        }
        None if interval.is_some() && topic::durability(given) == Durability::Replicated => {
            let text = format!(
                "has no effect unless {SCHEDULER} is set too, as in Kafka; durability = interval does without it"
            );
            given.note(&[INTERVAL], text, findings);
        }
        None => {}
    }
}

fn check_replication(given: &Given, findings: &mut Findings) {
    check_order("replica.fetch.wait.max.ms", "replica.socket.timeout.ms", given, findings);
    check_order("replica.fetch.wait.max.ms", "replica.lag.time.max.ms", given, findings);
    const PROTOCOL: &str = "inter.broker.protocol.version";
    const FORMAT: &str = "log.message.format.version";
    const CODEC: &str = "offsets.topic.compression.codec";
    let version = |key: &str| given.string(key).as_deref().and_then(Version::parse);
    let from =
        |release: &str, protocol: Version| Version::parse(release).is_some_and(|first| protocol >= first);
    let Some(protocol) = version(PROTOCOL).filter(|_| given.are_right(&[PROTOCOL, FORMAT, CODEC])) else {
        return;
    };
    // From 3.0 on Kafka no longer reads the format.
    if given.is_given(FORMAT) && !from("3.0", protocol) && version(FORMAT) > Some(protocol) {
        given.error(&[FORMAT], format!("at most {PROTOCOL} ({protocol})"), findings);
    }
    if given.whole(CODEC) == 4 && !from("2.1-IV0", protocol) {
        given.error(
            &[CODEC, PROTOCOL],
            format!("4 (zstd) needs {PROTOCOL} 2.1 or later, not {protocol}"),
            findings,
        );
    }
}

fn check_login(given: &Given, listeners: &Together, findings: &mut Findings) {
    const MECHANISM: &str = "sasl.mechanism.inter.broker.protocol";
    const ENABLED: &str = "sasl.enabled.mechanisms";
    let between_brokers = &listeners.inter_broker_listener_name;
    let uses_sasl = listeners.advertised_listeners.iter().any(|listener| {
        let with_sasl =
            matches!(listener.protocol, SecurityProtocol::SaslPlaintext | SecurityProtocol::SaslSsl);
        with_sasl && listener.name == *between_brokers
    });
    let mechanism = given.string(MECHANISM).unwrap_or_default();
    if uses_sasl && !given.list(ENABLED).contains(&mechanism) {
        given.error(
            &[MECHANISM, ENABLED],
            format!("{MECHANISM}, {mechanism}, must be among {ENABLED}"),
            findings,
        );
    }
}

/// Where ignoring a key would open what somebody meant to shut, a broker that cannot obey must not start.
fn check_security(given: &Given, findings: &mut Findings) {
    const AUTHORIZER: &str = "authorizer.class.name";
    if given.string(AUTHORIZER).is_some_and(|name| !name.is_empty()) {
        let text =
            format!("empty, because it waits for {}, and ignoring it would let everyone in", Part::Security);
        given.error(&[AUTHORIZER], text, findings);
    }
    for (key, entry) in &given.entries {
        let placeholder = entry
            .text
            .find("${")
            .is_some_and(|at| entry.text[at..].contains(':') && entry.text[at..].contains('}'));
        if placeholder && given.is_given("config.providers") {
            let text = format!("the value itself: config.providers waits for {}", Part::Security);
            given.error(&[key], text, findings);
        }
    }
}

fn check_roles(given: &Given, findings: &mut Findings) {
    const ROLES: &str = "process.roles";
    let roles = if given.are_right(&[ROLES]) { given.list(ROLES) } else { Vec::new() };
    if !roles.is_empty() && !roles.iter().any(|role| role == "broker") {
        given.error(&[ROLES], "broker, or not set at all: Ringdaw has no controller of KRaft", findings);
    }
}
