//! How a run ends: the exit codes, and what may keep a run from its figures.
//!
//! In: errors of subjects and blocks. Out: a code of RIG section 6.3 and one sentence.

use std::path::Path;

use super::block::BlockError;
use super::subject::SubjectError;
use crate::load;

/// Exit codes of the rig.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Done,
    SloMissed,
    Usage,
    VerificationFailed,
    NotValid,
    SubjectFailed,
    /// A subject cannot be obtained on this machine.
    Unavailable,
    Interrupted,
}

impl Exit {
    pub fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::SloMissed => 1,
            Exit::Usage => 2,
            Exit::VerificationFailed => 3,
            Exit::NotValid => 4,
            Exit::SubjectFailed => 5,
            Exit::Unavailable => 6,
            Exit::Interrupted => 130,
        }
    }
}

/// Why a run ends without its figures.
#[derive(Debug)]
pub struct Failure {
    pub exit: Exit,
    pub text: String,
}

impl Failure {
    pub fn usage(text: impl Into<String>) -> Failure {
        Failure { exit: Exit::Usage, text: text.into() }
    }

    pub fn directory(path: &Path, error: &std::io::Error) -> Failure {
        Failure::usage(format!("{}: {error}", path.display()))
    }
}

impl From<SubjectError> for Failure {
    fn from(error: SubjectError) -> Failure {
        let exit = match error {
            SubjectError::Interrupted => Exit::Interrupted,
            SubjectError::Unavailable { .. } => Exit::Unavailable,
            SubjectError::Spawn { .. }
            | SubjectError::Io { .. }
            | SubjectError::Script { .. }
            | SubjectError::Ended { .. }
            | SubjectError::Silent { .. }
            | SubjectError::Unknown { .. } => Exit::SubjectFailed,
        };
        Failure { exit, text: error.to_string() }
    }
}

impl From<BlockError> for Failure {
    fn from(error: BlockError) -> Failure {
        let exit = match &error {
            BlockError::Interrupted | BlockError::Subject(SubjectError::Interrupted) => Exit::Interrupted,
            BlockError::Subject(SubjectError::Unavailable { .. }) => Exit::Unavailable,
            BlockError::Load(load::LoadError::Plan(_)) => Exit::Usage,
            BlockError::Load(load::LoadError::Panic(_)) | BlockError::Directory(_) => Exit::NotValid,
            BlockError::Load(_) | BlockError::Crashed(_) | BlockError::Subject(_) => Exit::SubjectFailed,
        };
        Failure { exit, text: error.to_string() }
    }
}
