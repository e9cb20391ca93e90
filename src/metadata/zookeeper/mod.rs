//! The metadata store of clusters: Kafka's nodes in a ZooKeeper ensemble.
//!
//! | file | what |
//! |---|---|
//! | `jute` | ZooKeeper's bytes |
//! | `session` | the thread that keeps a session: connect, ping, watch, expire, begin anew |
//! | `client` | ZooKeeper's operations as calls |
//! | `znode` | Kafka's paths and JSON |
//! | `membership` | how a broker joins: ids, registration, the election of a controller |
//! | `store` | the nodes as a state, and changes of it written to them |
//! | `look` | what others changed |
//! | `by_hand` | settings read and written while no broker runs |
//! | `restore` | a lost ensemble written again from copies |

pub mod by_hand;
pub mod client;
pub mod jute;
mod look;
pub mod membership;
pub mod restore;
pub mod session;
pub mod store;
pub mod znode;

pub use membership::Applicant;
pub use store::{Terms, ZooKeeper};
