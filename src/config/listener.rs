//! Listener addresses: `NAME://host:port`, and which security protocol a name stands for.
//!
//! In: the text of `listeners`, `advertised.listeners` and `listener.security.protocol.map`. Out: a
//! `Listener` for each, or a sentence for each that is wrong. An empty host stays empty: for a listener it
//! means all interfaces, for an advertised one the name of the machine.

use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SecurityProtocol {
    Plaintext,
    Ssl,
    SaslPlaintext,
    SaslSsl,
}

impl SecurityProtocol {
    pub const ALL: [SecurityProtocol; 4] = [
        SecurityProtocol::Plaintext,
        SecurityProtocol::Ssl,
        SecurityProtocol::SaslPlaintext,
        SecurityProtocol::SaslSsl,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            SecurityProtocol::Plaintext => "PLAINTEXT",
            SecurityProtocol::Ssl => "SSL",
            SecurityProtocol::SaslPlaintext => "SASL_PLAINTEXT",
            SecurityProtocol::SaslSsl => "SASL_SSL",
        }
    }

    fn named(name: &str) -> Option<SecurityProtocol> {
        SecurityProtocol::ALL.into_iter().find(|protocol| protocol.as_str().eq_ignore_ascii_case(name))
    }
}

impl fmt::Display for SecurityProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Listener {
    /// In capitals, as Kafka keeps names.
    pub name: String,
    pub host: String,
    /// 0 lets the system choose one.
    pub port: u16,
    pub protocol: SecurityProtocol,
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "{}://[{}]:{}", self.name, self.host, self.port)
        } else {
            write!(f, "{}://{}:{}", self.name, self.host, self.port)
        }
    }
}

pub type ProtocolMap = Vec<(String, SecurityProtocol)>;

/// `NAME:PROTOCOL,...`; names come out in capitals.
pub fn parse_protocol_map(text: &str) -> Result<ProtocolMap, String> {
    let mut map = ProtocolMap::new();
    for pair in super::setting::list(text) {
        let Some((name, protocol)) = pair.split_once(':') else {
            return Err(format!("`{pair}` is not NAME:PROTOCOL"));
        };
        let (name, protocol) = (name.trim().to_uppercase(), protocol.trim());
        let Some(known) = SecurityProtocol::named(protocol) else {
            return Err(format!("`{protocol}` is not one of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL"));
        };
        if name.is_empty() {
            return Err(format!("`{pair}` has no name"));
        }
        if map.iter().any(|(other, _)| *other == name) {
            return Err(format!("{name} is there twice"));
        }
        map.push((name, known));
    }
    Ok(map)
}

/// All listeners of a list, or what is wrong with each that cannot be read.
pub fn parse_listeners(text: &str, map: &ProtocolMap) -> Result<Vec<Listener>, Vec<String>> {
    let mut listeners: Vec<Listener> = Vec::new();
    let mut wrong = Vec::new();
    for element in super::setting::list(text) {
        match parse_listener(&element, map) {
            Ok(listener) if listeners.iter().any(|other| other.name == listener.name) => {
                wrong.push(format!("each name once, and {} is there twice", listener.name));
            }
            Ok(listener) => listeners.push(listener),
            Err(what) => wrong.push(what),
        }
    }
    if wrong.is_empty() { Ok(listeners) } else { Err(wrong) }
}

/// Two listeners cannot share a port, except one of IPv4 and one of IPv6; 0 is any free port.
pub fn check_ports(listeners: &[Listener]) -> Result<(), String> {
    for (index, one) in listeners.iter().enumerate() {
        for other in &listeners[..index] {
            if one.port == 0 || one.port != other.port {
                continue;
            }
            let both_addresses =
                one.host.parse::<std::net::IpAddr>().ok().zip(other.host.parse::<std::net::IpAddr>().ok());
            if both_addresses.is_none_or(|(one, other)| one.is_ipv4() == other.is_ipv4()) {
                return Err(format!(
                    "a port of its own for each, and {} and {} both have {}",
                    other.name, one.name, one.port
                ));
            }
        }
    }
    Ok(())
}

fn parse_listener(element: &str, map: &ProtocolMap) -> Result<Listener, String> {
    let shape = || format!("`{element}` is not NAME://host:port");
    let (name, address) = element.split_once("://").ok_or_else(shape)?;
    let (host, port) = address.rsplit_once(':').ok_or_else(shape)?;
    let port: u16 =
        port.parse().map_err(|_| format!("the port of `{element}` is not a number from 0 to 65535"))?;
    let bracketed = host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']'));
    let host = bracketed.unwrap_or(host);
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '%' | '.' | '_' | ':');
    if name.is_empty() || !host.chars().all(allowed) {
        return Err(shape());
    }
    let name = name.to_uppercase();
    let protocol = map.iter().find(|(known, _)| *known == name).map(|(_, protocol)| *protocol);
    let protocol = protocol.ok_or_else(|| {
        format!("no security protocol is known for {name}; add {name}:PLAINTEXT or another to listener.security.protocol.map")
    })?;
    Ok(Listener { name, host: host.to_owned(), port, protocol })
}
