//! Kafka as bytes: frames, primitive types, headers, record batches and messages (contract sections 1 and 2).
pub mod array;
pub mod batch;
pub mod batch_builder;
pub mod compression;
pub mod error_code;
pub mod frame;
pub mod header;
pub mod legacy;
pub mod message;
pub mod primitive;
pub mod record;
pub mod version;
