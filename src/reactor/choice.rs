//! Which engine serves here: what the setting says, or what the machine allows.
//!
//! In: the kind that was asked for, if one was, and how many engines there will be. Out: the kind, and one line that says why;
//! or what to change.

use std::io;

use crate::reactor::Engine;
use crate::reactor::epoll::{EpollEngine, EpollOptions};
use crate::reactor::probe::{ProbeError, explain, probe};
use crate::reactor::ring::{RingEngine, RingOptions};

/// A complete engine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    IoUring,
    Epoll,
}

impl Kind {
    /// The word that `reactor.engine` has for it.
    pub fn word(self) -> &'static str {
        match self {
            Kind::IoUring => "io_uring",
            Kind::Epoll => "epoll",
        }
    }

    /// Makes an engine on the calling thread, which is the only one that may use it (H21). `options` are for the ring; epoll
    /// takes from it what it has too.
    pub fn engine(self, options: RingOptions) -> io::Result<Box<dyn Engine>> {
        Ok(match self {
            Kind::IoUring => Box::new(RingEngine::new(options)?),
            Kind::Epoll => Box::new(EpollEngine::new(EpollOptions {
                receive_slots: options.receive_slots,
                receive_slot_bytes: options.receive_slot_bytes,
                threads_max: options.workers_max as usize,
            })?),
        })
    }

    /// What an error of `engine` means for the one who can change it.
    pub fn explain(self, error: &io::Error) -> String {
        match self {
            Kind::IoUring => explain(error).to_string(),
            Kind::Epoll => format!("an epoll engine cannot be made: {error}"),
        }
    }
}

impl std::str::FromStr for Kind {
    type Err = String;
    fn from_str(word: &str) -> Result<Kind, String> {
        [Kind::IoUring, Kind::Epoll]
            .into_iter()
            .find(|kind| kind.word() == word)
            .ok_or_else(|| format!("{word} is no engine; there are io_uring and epoll"))
    }
}

/// A kind, and why it was chosen.
#[derive(Debug)]
pub struct Choice {
    pub kind: Kind,
    pub why: String,
}

/// Chooses the kind of `engines` engines; `None` takes the ring where the machine allows it. An error only where the ring was
/// asked for by name and is refused: there is no half-working mode, either all of them are rings with everything in use, or
/// all are epoll (`FAULTS.md` H27).
pub fn choose(wanted: Option<Kind>, engines: usize) -> Result<Choice, ProbeError> {
    let choice = |kind, why: &str| Choice { kind, why: why.to_owned() };
    Ok(match wanted {
        Some(Kind::Epoll) => choice(Kind::Epoll, "asked for by name"),
        Some(Kind::IoUring) => {
            probe(RingOptions::default(), engines)?;
            choice(Kind::IoUring, "asked for by name, and this machine has all of it that is in use")
        }
        None => match probe(RingOptions::default(), engines) {
            Ok(()) => choice(Kind::IoUring, "this machine has all of it that is in use"),
            Err(error) => Choice { kind: Kind::Epoll, why: error.to_string() },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epoll_is_taken_where_it_is_asked_for_without_a_look_at_the_ring() {
        let choice = choose(Some(Kind::Epoll), 1).unwrap();
        assert_eq!((choice.kind, choice.kind.word()), (Kind::Epoll, "epoll"));
        assert_eq!(choice.kind.engine(RingOptions::default()).unwrap().in_flight(), 0);
    }

    #[test]
    fn auto_agrees_with_the_probe_and_says_why() {
        let choice = choose(None, 2).unwrap();
        match probe(RingOptions::default(), 2) {
            Ok(()) => assert_eq!(choice.kind, Kind::IoUring),
            Err(error) => {
                assert_eq!(choice.kind, Kind::Epoll);
                assert_eq!(choice.why, error.to_string());
            }
        }
    }
}
