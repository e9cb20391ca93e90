//! Kafka as bytes: frames, primitive types, headers, record batches and messages (contract sections 1 and 2).
pub mod array;
pub mod error_code;
pub mod frame;
pub mod header;
pub mod message;
pub mod primitive;
pub mod version;
