//! A network of namespaces that the test makes itself: one for each node, on one bridge, with no route out.
//!
//! In: names of nodes. Out: addresses, commands that run there, and one-way cuts. A node no longer reaches another one when
//! it is told a hardware address nobody has: its packets leave and are lost, and nothing else is needed but `ip`. The test
//! itself stands on the bridge, too. Everything is removed with the value.

use super::is_root;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

const NOBODY: &str = "02:00:00:00:00:99";

pub struct Network {
    prefix: String,
    third: u8,
    names: Vec<String>,
    cuts: Vec<(usize, usize)>,
}

/// Why there can be none, if so.
pub fn missing() -> Option<String> {
    if !is_root() {
        return Some("needs root for network namespaces".to_string());
    }
    let done = Command::new("ip").arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status();
    match done {
        Ok(status) if status.success() => None,
        Ok(_) | Err(_) => Some("needs ip (Debian package iproute2)".to_string()),
    }
}

fn ip(arguments: &str) {
    let done = Command::new("ip").args(arguments.split_whitespace()).output().expect("ip");
    assert!(done.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&done.stderr));
}

impl Network {
    pub fn new(names: &[String]) -> Network {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let pid = std::process::id();
        let mut network = Network {
            prefix: format!("rdw{pid}x{number}"),
            third: ((pid.wrapping_mul(7) + number) % 250) as u8,
            names: Vec::new(),
            cuts: Vec::new(),
        };
        let switch = network.switch();
        ip(&format!("netns add {switch}"));
        ip(&format!("-n {switch} link add br0 type bridge"));
        ip(&format!("-n {switch} link set br0 up"));
        for (index, name) in names.iter().enumerate() {
            network.names.push(name.clone());
            let (space, address) = (network.space(index), network.address_of(index));
            ip(&format!("netns add {space}"));
            ip(&format!("link add v0 netns {space} type veth peer name n{index} netns {switch}"));
            ip(&format!("-n {space} addr add {address}/24 dev v0"));
            ip(&format!("-n {space} link set lo up"));
            ip(&format!("-n {space} link set v0 up"));
            ip(&format!("-n {switch} link set n{index} master br0 up"));
        }
        let own = network.own();
        ip(&format!("link add {own} type veth peer name host netns {switch}"));
        ip(&format!("addr add 10.77.{}.254/24 dev {own}", network.third));
        ip(&format!("link set {own} up"));
        ip(&format!("-n {switch} link set host master br0 up"));
        network
    }

    fn switch(&self) -> String {
        format!("{}-sw", self.prefix)
    }

    /// The test's own end; a name of a device has at most 15 letters.
    fn own(&self) -> String {
        self.prefix.clone()
    }

    fn space(&self, index: usize) -> String {
        format!("{}-{index}", self.prefix)
    }

    fn index(&self, name: &str) -> usize {
        self.names.iter().position(|known| known == name).unwrap_or_else(|| panic!("no node {name}"))
    }

    fn address_of(&self, index: usize) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, self.third, index as u8 + 1)
    }

    pub fn address(&self, name: &str) -> Ipv4Addr {
        self.address_of(self.index(name))
    }

    /// What runs a command at the node; it becomes the command, under the same pid.
    pub fn words(&self, name: &str) -> Vec<String> {
        ["ip", "netns", "exec", &self.space(self.index(name))].map(str::to_string).to_vec()
    }

    /// `from` no longer reaches `to`.
    pub fn cut(&mut self, from: &str, to: &str) {
        let (from, to) = (self.index(from), self.index(to));
        if !self.cuts.contains(&(from, to)) {
            let (space, address) = (self.space(from), self.address_of(to));
            ip(&format!("-n {space} neigh replace {address} lladdr {NOBODY} dev v0 nud permanent"));
            self.cuts.push((from, to));
        }
    }

    pub fn heal(&mut self) {
        for (from, to) in std::mem::take(&mut self.cuts) {
            let (space, address) = (self.space(from), self.address_of(to));
            ip(&format!("-n {space} neigh del {address} dev v0"));
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for space in (0..self.names.len()).map(|index| self.space(index)).chain([self.switch()]) {
            let _ = Command::new("ip").args(["netns", "del", &space]).stderr(Stdio::null()).status();
        }
    }
}
