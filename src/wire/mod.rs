//! Kafka as bytes: frames, primitive types, headers, record batches and messages (contract sections 1 and 2).
//!
//! In: bytes from clients, brokers and disks, none of them trusted. Out: values that borrow from them, and bytes again.
//! Nothing in here knows a socket, a file or a topic; nothing panics on what a stranger can send; and decoding a frame
//! allocates at most four times its length plus 4 KiB: a request nothing at all.
//!
//! The way of a request: `frame` cuts the stream, `header` says which API it is, `version` whether we speak it,
//! `message` has its fields (of `primitive` types, arrays in place), `error_code` the answer when it fails. The way of a
//! batch: `batch` checks and stamps it, `record` looks inside where that is asked for, `compression` opens it, `convert`
//! gives it another form; `legacy` reads what brokers before 0.11 wrote, `scram` knows what
//! is kept of a password, `batch_builder` makes batches for tools and tests.
pub mod array;
pub mod batch;
pub mod batch_builder;
pub mod compression;
pub mod convert;
pub mod error_code;
pub mod frame;
pub mod header;
pub mod legacy;
pub mod message;
pub mod primitive;
pub mod record;
pub mod scram;
pub mod version;
