//! Who answers which request, and how: one file per API, from the decoded request to the response.
//!
//! `admin` is the door to the administrative ones; the rest is reached from the network threads directly.

pub mod admin;
pub mod api_versions;
pub mod command;
pub mod create_partitions;
pub mod create_topics;
pub mod delete_topics;
pub mod describe_cluster;
pub mod describe_configs;
pub mod fetch;
pub mod fetch_session;
pub mod find_coordinator;
pub mod groups;
pub mod init_producer_id;
pub mod list_offsets;
pub mod metadata;
pub mod produce;
