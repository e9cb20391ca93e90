//! Who answers which request, and how: one file per API, from the decoded request to the response.
//!
//! `admin` is the door to the administrative ones; the rest is reached from the network threads directly.

pub mod acls;
pub mod admin;
pub mod alter_configs;
pub mod api_versions;
pub mod client_quotas;
pub mod command;
pub mod create_partitions;
pub mod create_topics;
pub mod delete_records;
pub mod delete_topics;
pub mod describe_cluster;
pub mod describe_configs;
pub mod describe_log_dirs;
pub mod describe_producers;
pub mod elect_leaders;
pub mod fetch;
pub mod fetch_session;
pub mod find_coordinator;
pub mod groups;
pub mod init_producer_id;
pub mod list_offsets;
pub mod metadata;
pub mod offset_for_leader_epoch;
pub mod partition_questions;
pub mod produce;
pub mod reassignments;
pub mod scram_credentials;
pub mod told;
pub mod update_features;
