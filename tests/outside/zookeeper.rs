//! A real ZooKeeper: one server or an ensemble of three, from Debian's package, on ports of its own.
//!
//! In: a folder. Out: addresses that answer. Each server ends with the value that stands for it, by its own pid. Where
//! Java or the package is missing, tests skip by name.

use super::network::Network;
use super::process::free_port;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const JAR: &str = "/usr/share/java/zookeeper.jar";
const START: Duration = Duration::from_secs(60);

/// Why there is no ZooKeeper here, if so.
pub fn missing() -> Option<String> {
    if !Path::new(JAR).exists() {
        return Some(format!("{JAR} is missing (Debian package zookeeper)"));
    }
    match Command::new("java").arg("-version").output() {
        Ok(done) if done.status.success() => None,
        Ok(_) | Err(_) => Some("no java on PATH".to_string()),
    }
}

pub struct Server {
    pub port: u16,
    host: Ipv4Addr,
    /// What its command begins with: where it runs.
    place: Vec<String>,
    folder: PathBuf,
    child: Option<Child>,
}

impl Server {
    fn launch(folder: PathBuf, host: Ipv4Addr, port: u16, place: Vec<String>) -> Server {
        let mut server = Server { port, host, place, folder, child: None };
        server.start();
        server
    }

    /// Started on its data, as it is; the ensemble is waited for by `wait`.
    pub fn start(&mut self) {
        let log = File::options().create(true).append(true).open(self.folder.join("zookeeper.log"));
        let log = log.expect("zookeeper.log");
        let words = self.place.iter().map(String::as_str).chain(["java"]).collect::<Vec<_>>();
        let child = Command::new(words[0])
            .args(&words[1..])
            .args([
                "-Xmx128m",
                "-XX:+UseSerialGC",
                "-XX:TieredStopAtLevel=1",
                "-Dzookeeper.4lw.commands.whitelist=*",
            ])
            .args(["-cp", JAR, "org.apache.zookeeper.server.quorum.QuorumPeerMain"])
            .arg(self.folder.join("zoo.cfg"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .expect("java");
        self.child = Some(child);
    }

    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("a signal to our own child");
            child.wait().expect("its end");
        }
    }

    pub fn is_up(&self) -> bool {
        self.child.is_some()
    }

    /// A four-letter word's answer.
    pub fn ask(&self, word: &str) -> Option<String> {
        let mut stream = TcpStream::connect((self.host, self.port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        stream.write_all(word.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    /// `leader`, `follower` or `standalone`, once it serves.
    pub fn role(&self) -> Option<String> {
        let answer = self.ask("srvr")?;
        answer.lines().find_map(|line| line.strip_prefix("Mode: ")).map(str::to_string)
    }

    pub fn wait(&self) {
        let until = Instant::now() + START;
        while self.role().is_none() {
            assert!(Instant::now() < until, "no ZooKeeper on port {} within {START:?}", self.port);
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Everything in it is gone, as after the loss of its disk.
    pub fn wipe(&self) {
        fs::remove_dir_all(self.folder.join("data/version-2")).expect("its data");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

pub struct Ensemble {
    pub servers: Vec<Server>,
}

impl Ensemble {
    /// Ticks of 500 ms: sessions of 1 to 10 seconds.
    pub fn start(folder: &Path, count: usize) -> Ensemble {
        Ensemble::start_in(folder, count, None)
    }

    /// The same, server n at the node `zn` of a network.
    pub fn start_in(folder: &Path, count: usize, network: Option<&Network>) -> Ensemble {
        let host = |index: usize| {
            network.map_or(Ipv4Addr::LOCALHOST, |network| network.address(&format!("z{}", index + 1)))
        };
        let ports: Vec<[u16; 3]> = (0..count).map(|_| [free_port(), free_port(), free_port()]).collect();
        let mut members = String::new();
        if count > 1 {
            for (index, [_, peer, election]) in ports.iter().enumerate() {
                members += &format!("server.{}={}:{peer}:{election}\n", index + 1, host(index));
            }
        }
        let servers = ports.iter().enumerate().map(|(index, [port, _, _])| {
            let folder = folder.join(format!("zookeeper-{}", index + 1));
            let data = folder.join("data");
            fs::create_dir_all(&data).expect("its folder");
            fs::write(data.join("myid"), format!("{}\n", index + 1)).expect("myid");
            let text = format!(
                "tickTime=500\ninitLimit=20\nsyncLimit=10\ndataDir={}\nclientPort={port}\n\
                 clientPortAddress={}\nadmin.enableServer=false\nmaxClientCnxns=0\n\
                 forceSync=no\n{members}",
                data.display(),
                host(index)
            );
            fs::write(folder.join("zoo.cfg"), text).expect("zoo.cfg");
            let place = network.map_or(Vec::new(), |network| network.words(&format!("z{}", index + 1)));
            Server::launch(folder, host(index), *port, place)
        });
        let ensemble = Ensemble { servers: servers.collect() };
        ensemble.servers.iter().for_each(Server::wait);
        ensemble
    }

    /// `host:port,...` of all servers.
    pub fn connect(&self) -> String {
        let all: Vec<String> = self.servers.iter().map(|s| format!("{}:{}", s.host, s.port)).collect();
        all.join(",")
    }

    pub fn leader(&self) -> usize {
        let until = Instant::now() + START;
        loop {
            let leads = |server: &Server| server.is_up() && server.role().as_deref() == Some("leader");
            if let Some(index) = self.servers.iter().position(leads) {
                return index;
            }
            assert!(Instant::now() < until, "no leader within {START:?}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}
