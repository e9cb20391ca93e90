//! Which engine serves here: what the setting says, or what the machine allows.
//!
//! In: `reactor.engine`, and how many engines there will be. Out: the kind, and one line that says why; or what to change.

use std::io;

use crate::config::ReactorEngine;
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

    /// Makes an engine on the calling thread, which is the only one that may use it (H21).
    pub fn engine(self) -> io::Result<Box<dyn Engine>> {
        Ok(match self {
            Kind::IoUring => Box::new(RingEngine::new(RingOptions::default())?),
            Kind::Epoll => Box::new(EpollEngine::new(EpollOptions::default())?),
        })
    }
}

impl Kind {
    /// What an error of `engine` means for the one who can change it.
    pub fn explain(self, error: &io::Error) -> String {
        match self {
            Kind::IoUring => explain(error).to_string(),
            Kind::Epoll => format!("an epoll engine cannot be made: {error}"),
        }
    }
}

/// A kind, and why it was chosen.
#[derive(Debug)]
pub struct Choice {
    pub kind: Kind,
    pub why: String,
}

/// Chooses the kind of `engines` engines. An error only where the ring was asked for by name and is refused: there is no
/// half-working mode, either all of them are rings with everything in use, or all are epoll (`FAULTS.md` H27).
pub fn choose(wanted: ReactorEngine, engines: usize) -> Result<Choice, ProbeError> {
    let options = RingOptions::default();
    Ok(match wanted {
        ReactorEngine::Epoll => Choice { kind: Kind::Epoll, why: "reactor.engine asks for it".to_owned() },
        ReactorEngine::IoUring => {
            probe(options, engines)?;
            Choice {
                kind: Kind::IoUring,
                why: "reactor.engine asks for it, and this machine has it".to_owned(),
            }
        }
        ReactorEngine::Auto => match probe(options, engines) {
            Ok(()) => {
                Choice { kind: Kind::IoUring, why: "this machine has all of it that is in use".to_owned() }
            }
            Err(error) => Choice { kind: Kind::Epoll, why: error.to_string() },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epoll_is_taken_where_it_is_asked_for_without_a_look_at_the_ring() {
        let choice = choose(ReactorEngine::Epoll, 1).unwrap();
        assert_eq!((choice.kind, choice.kind.word()), (Kind::Epoll, "epoll"));
        assert_eq!(choice.kind.engine().unwrap().in_flight(), 0);
    }

    #[test]
    fn auto_agrees_with_the_probe_and_says_why() {
        let choice = choose(ReactorEngine::Auto, 2).unwrap();
        match probe(RingOptions::default(), 2) {
            Ok(()) => assert_eq!(choice.kind, Kind::IoUring),
            Err(error) => {
                assert_eq!(choice.kind, Kind::Epoll);
                assert_eq!(choice.why, error.to_string());
            }
        }
    }
}
