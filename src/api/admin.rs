//! The administrative APIs behind one door: answered at once from the image, or handed to the control thread.
//!
//! In: a request. Out: the body of the response, or a command that the control thread carries out.

use std::sync::Arc;

use crate::wire::version::ApiKey;

/// A request that changes metadata, on its way to the control thread. Its body has been decoded once, so it can be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    pub key: ApiKey,
    pub version: i16,
    /// The name of the listener it came by.
    pub listener: Arc<str>,
    pub body: Vec<u8>,
}
