//! What the broker knows of the cluster: topics, partitions, brokers, their settings.
//!
//! In: changes. Out: two forms of the same knowledge. `State` is what a `Store` keeps, durable before anybody is
//! told; `Image` is what requests are answered from, immutable and swapped whole. A change goes into the store,
//! then to the replicas, then into the image, in this order, so that nothing is served that a crash could forget.
//!
//! | file | what |
//! |---|---|
//! | `image` | `Image`: topics by name and by id, brokers and their endpoints |
//! | `state` | `State` and `Change`: what is stored, and how it advances |
//! | `store` | the trait behind which an embedded store and ZooKeeper look alike |
//! | `embedded` | one broker's own file |
//! | `copy` | a broker's own copy of a cluster's metadata, for the day ZooKeeper loses it |
//! | `document` | metadata as JSON |
//! | `fresh_id` | new ids for clusters and topics |
//! | `publish` | what a stored topic means here: its replicas, and how the image shows it |
//! | `reconcile` | what a start makes of the state and the directories it finds |
//! | `replicas` | the trait through which IO threads are asked to open, remove and reconfigure replicas |
//! | `settings_path` | where the settings of brokers, users, clients and addresses are kept |
//! | `topic_name` | which names are legal, which collide, which are Kafka's own |
//! | `zookeeper` | the store of clusters |

pub mod copy;
pub mod document;
pub mod embedded;
pub mod fresh_id;
pub mod image;
pub mod publish;
pub mod reconcile;
pub mod replicas;
pub mod settings_path;
pub mod state;
pub mod store;
pub mod topic_name;
pub mod zookeeper;

pub use image::{Broker, Cluster, Difference, Endpoint, Image, Partition, SharedImage, Topic};
pub use replicas::{Answer, DirectoryFacts, NewReplica, Question, RememberedProducer, Replicas};
pub use state::{Change, Led, NewLead, Placement, State, StoredTopic};
pub use store::{Event, Store, StoreError};
