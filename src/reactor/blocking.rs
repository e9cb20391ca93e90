//! A thread for the system call that the ring does not have: `syncfs`.
//!
//! In: files. Out: results, and a wake of the engine that asked. Started with the first request.

use std::io;
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};

use crate::reactor::{Disk, File, OsDisk, Waker};

/// A key, and what its flush came to.
pub(super) type Flushed = (usize, io::Result<()>);

/// The thread, seen from its engine.
#[derive(Debug)]
pub(super) struct Blocking {
    requests: mpsc::Sender<(usize, File)>,
    done: Arc<Mutex<Vec<Flushed>>>,
}

impl Blocking {
    pub fn start(waker: Waker) -> io::Result<Blocking> {
        let (requests, inbox) = mpsc::channel::<(usize, File)>();
        let done = Arc::new(Mutex::new(Vec::new()));
        let results = Arc::clone(&done);
        std::thread::Builder::new().name("syncfs".to_owned()).spawn(move || {
            while let Ok((key, file)) = inbox.recv() {
                let result = OsDisk.sync_file_system(&file);
                results.lock().unwrap_or_else(PoisonError::into_inner).push((key, result));
                waker.wake();
            }
        })?;
        Ok(Blocking { requests, done })
    }

    /// Asks for a flush of the file system of `file`; the answer comes under `key`.
    pub fn sync_file_system(&self, key: usize, file: File) {
        if self.requests.send((key, file)).is_err() {
            let gone = io::Error::other("the flush thread has ended");
            self.done.lock().unwrap_or_else(PoisonError::into_inner).push((key, Err(gone)));
        }
    }

    /// Results since the last call.
    pub fn take(&self, into: &mut Vec<Flushed>) {
        into.append(&mut self.done.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
