//! Settings: Kafka's `server.properties`, its keys and rules, and Ringdaw's own keys.
//!
//! In: a file, `--override` arguments, the overrides of topics. Out: `Config` and `TopicConfig`, typed and
//! valid, with notes for the operator. `settings` is the one table; everything else reads it.
//!
//! | file | what |
//! |---|---|
//! | `properties` | the syntax of the file |
//! | `setting`, `settings` | what a setting is; the table |
//! | `load` | file and arguments to checked values, with the place of each |
//! | `broker` | `Config`: a typed field for each key the broker acts on |
//! | `together`, `listener` | what keys say together, and the checks between them |
//! | `describe` | every key with its value and where that comes from |
//! | `live` | what was set while the broker ran |
//! | `topic` | `TopicConfig`: overrides over the broker's values |
//! | `nearest` | what an unknown key was meant to be |
//! | `version` | Kafka's release numbers |
//! | `inter_broker` | the request versions that brokers send each other at each of them |

mod broker;
mod describe;
pub mod inter_broker;
mod listener;
mod live;
mod load;
mod nearest;
pub mod properties;
pub mod setting;
pub mod settings;
mod together;
mod topic;
pub mod version;

pub use broker::{
    AppendEngine, Config, FetchEngine, LOG_WINDOW_DIRTY_BYTES, LOG_WINDOW_RESIDENT_BYTES, ReactorEngine,
    ZooKeeper,
};
pub use describe::{Described, Source, Synonym};
pub use listener::{Listener, SecurityProtocol};
pub use live::{check_of_stopped_broker, holds_password};
pub use load::{ConfigErrors, Note, Place};
pub use topic::{
    CleanupPolicy, CompressionType, Durability, Overrides, TimestampType, TopicConfig, TopicConfigError,
};
