//! The rules of a replicated partition: who is in sync, what is committed, and where a follower cuts (contract 5.6, 5.7).
//!
//! In: fetches of followers, decisions of the controller, the time. Out: the high watermark, changes of the in-sync set to ask
//! for, offsets to truncate to. No thread, socket or file is known here; the owner of the log acts.

mod follower;
mod leader;
mod term;

pub use follower::{Cut, LeaderSays, next_cut};
pub use leader::{Answered, Leader, NotAReplica, Proposal, Rules};
pub use term::{Duty, InSyncProposal, Term};
