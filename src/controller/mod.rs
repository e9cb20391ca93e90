//! The rules by which a controller decides: pure functions of what it knows.
//!
//! In: brokers, assignments, in-sync sets. Out: assignments, leaders and in-sync sets. Nothing here reads a clock, a node of
//! ZooKeeper or a socket; what is chosen at random comes in as a number.
//!
//! | file | what |
//! |---|---|
//! | `assignment` | on which brokers the partitions of a topic live |
//! | `election` | who leads a partition, and who stays in its in-sync set |

pub mod assignment;
pub mod election;
