//! Kafka as bytes: frames, primitive types, headers, record batches and messages (contract sections 1 and 2).
pub mod message;
pub mod primitive;
