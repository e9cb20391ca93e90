//! The null broker: a server that speaks the protocol and does the least possible work.
//!
//! In: a port, a directory, a variant. Out: what a broker without index, replication, quota, group or recovery rules
//! costs on this machine: the composed roof of every measurement. With faults planted, it is what the generator's
//! verification and latency are tested against.
//! One thread, one ring: a turn takes all requests there are, writes each partition once, and answers.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::atomic::AtomicBool;

use crate::reactor::{Socket, direct, pin};

mod fault;
mod server;
mod store;

pub use fault::Fault;

/// What is done with produced bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variant {
    pub kind: Kind,
    /// The CRC of every batch is checked.
    pub crc: bool,
}

/// How they are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Offsets are assigned and the bytes dropped.
    Discard,
    /// Written to one file per partition, with early write-out and drop-behind.
    Pwrite,
    /// Written, and left to the page cache.
    PwriteGrow,
    /// As `Pwrite`; named apart because fetches are served from the same files.
    Sendfile,
}

impl FromStr for Variant {
    type Err = String;

    fn from_str(text: &str) -> Result<Variant, String> {
        let (name, crc) = match text.strip_suffix("+crc") {
            Some(name) => (name, true),
            None => (text, false),
        };
        let kind = match name {
            "discard" => Kind::Discard,
            "pwrite" => Kind::Pwrite,
            "pwrite-grow" => Kind::PwriteGrow,
            "sendfile" => Kind::Sendfile,
            _ => {
                return Err(format!(
                    "{text}: variants are discard, pwrite, pwrite-grow and sendfile, each with +crc if wanted"
                ));
            }
        };
        Ok(Variant { kind, crc })
    }
}

/// Serve the protocol with the least possible work: the roof that other brokers are measured against
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Port on 127.0.0.1; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    pub port: u16,
    /// Where partitions are kept.
    #[arg(long)]
    pub data_dir: PathBuf,
    /// discard, pwrite, pwrite-grow or sendfile; +crc checks every batch.
    #[arg(long, default_value = "pwrite+crc")]
    pub variant: Variant,
    /// Core to run on.
    #[arg(long)]
    pub core: Option<usize>,
    /// Flush before every acknowledgement.
    #[arg(long)]
    pub sync: bool,
    /// Plant a fault: delay:2%:10ms, drop[:N], duplicate[:N], reorder[:N], wrong-offset[:N], corrupt[:N] (the Nth batch),
    /// ack-then-lose, skip-fsync.
    #[arg(long)]
    pub fault: Vec<Fault>,
    /// Of the choices that faults make.
    #[arg(long, default_value_t = 42)]
    pub seed: u64,
}

/// Why a null broker ended or did not start.
#[derive(Debug, thiserror::Error)]
#[error("null broker: {what}: {source}")]
pub struct NullBrokerError {
    what: String,
    source: std::io::Error,
}

fn failed(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> NullBrokerError {
    let what = what.into();
    move |source| NullBrokerError { what, source }
}

/// A null broker that listens and does not serve yet.
#[derive(Debug)]
pub struct NullBroker {
    options: Options,
    listener: Socket,
    address: SocketAddr,
}

impl NullBroker {
    pub fn bind(options: Options) -> Result<NullBroker, NullBrokerError> {
        let wanted = SocketAddr::from(([127, 0, 0, 1], options.port));
        let listener =
            Socket::listen(wanted, 1024, Some(SEND_BUFFER_BYTES), Some(RECEIVE_BUFFER_BYTES), false)
                .map_err(failed(format!("listening on {wanted}")))?;
        let address = listener.local().map_err(failed("the listening address"))?;
        Ok(NullBroker { options, listener, address })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves on the calling thread until `stop` is set, which it looks at several times a second.
    pub fn serve(self, stop: &AtomicBool) -> Result<(), NullBrokerError> {
        if let Some(core) = self.options.core {
            // A refused pin costs speed and nothing else.
            pin::pin_to(core);
        }
        pin::take_short_slices();
        server::Server::new(self.options, self.listener, self.address)?.serve(stop)
    }
}

const SEND_BUFFER_BYTES: usize = 1 << 20;
const RECEIVE_BUFFER_BYTES: usize = 1 << 20;

/// The subcommand: says where it listens, and serves until the process is ended.
pub fn run(options: Options) -> Result<(), NullBrokerError> {
    // Fewer files than partitions show as an error at creation.
    direct::raise_open_files_limit().map_err(failed("the limit of open files"))?;
    let broker = NullBroker::bind(options)?;
    println!("null broker listens on {}", broker.address());
    broker.serve(&AtomicBool::new(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_are_read_with_and_without_the_suffix() {
        assert_eq!("pwrite+crc".parse(), Ok(Variant { kind: Kind::Pwrite, crc: true }));
        assert_eq!("discard".parse(), Ok(Variant { kind: Kind::Discard, crc: false }));
        let error = "write".parse::<Variant>().unwrap_err();
        assert!(error.starts_with("write: variants are"), "{error}");
    }
}
