//! The metadata store of clusters: Kafka's nodes in a ZooKeeper ensemble.
//!
//! | file | what |
//! |---|---|
//! | `jute` | ZooKeeper's bytes |
//! | `session` | the thread that keeps a session: connect, ping, watch, expire, begin anew |
//! | `client` | ZooKeeper's operations as calls |
//! | `znode` | Kafka's paths and JSON |

pub mod client;
pub mod jute;
pub mod session;
pub mod znode;
