//! A log directory as an IO loop sees it: whether it may be written, and what of it is in memory.
//!
//! In: errors, free space. Out: refusals with their reason. A failure is final until the broker starts again; a full
//! directory refuses only produce requests and recovers by itself (`FAULTS.md` section 8).

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::log::Place;
use crate::log::window::{Reading, Residency, SegmentKey, Window};
use crate::reactor::Disk;

/// What all IO loops know of one directory.
#[derive(Debug)]
pub struct DirectoryState {
    pub path: PathBuf,
    failed: AtomicBool,
    full: AtomicBool,
    free_bytes: AtomicU64,
    /// Below this much free space produce requests are refused.
    headroom_bytes: u64,
}

impl DirectoryState {
    pub fn new(path: PathBuf, headroom_bytes: u64) -> Arc<DirectoryState> {
        Arc::new(DirectoryState {
            path,
            failed: AtomicBool::new(false),
            full: AtomicBool::new(false),
            free_bytes: AtomicU64::new(u64::MAX),
            headroom_bytes,
        })
    }

    /// Marks the directory as failed; true for the first one to say so.
    pub fn fail(&self, reason: &str) -> bool {
        let first = !self.failed.swap(true, Ordering::AcqRel);
        if first {
            tracing::error!(directory = %self.path.display(), "the log directory goes offline until the broker starts again: {reason}");
        }
        first
    }

    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// Takes note of the free space; refusals begin and end with it.
    pub fn set_free(&self, free_bytes: u64) {
        self.free_bytes.store(free_bytes, Ordering::Relaxed);
        let full = free_bytes < self.headroom_bytes;
        if self.full.swap(full, Ordering::AcqRel) != full {
            let (free, headroom) = (free_bytes, self.headroom_bytes);
            if full {
                tracing::error!(directory = %self.path.display(), free, headroom, "the log directory is full: produce requests are refused until there is room (log.headroom.bytes)");
            } else {
                tracing::info!(directory = %self.path.display(), free, headroom, "the log directory has room again");
            }
        }
    }

    /// Why nothing can be appended now; `None` when it can.
    pub fn refuses_produce(&self) -> Option<String> {
        if self.has_failed() {
            return Some("the log directory of this partition has failed".to_owned());
        }
        if self.full.load(Ordering::Acquire) {
            return Some(format!(
                "the log directory is full: {} bytes free, {} needed",
                self.free_bytes.load(Ordering::Relaxed),
                self.headroom_bytes
            ));
        }
        None
    }
}

/// Whether a range can be sent without waiting for the disk, and what keeps it so: the window knows of what it holds, of the
/// rest the kernel is asked (`cachestat`). `None`, also where the kernel cannot tell: it is to be read.
pub fn resident(disk: &dyn Disk, window: &mut Window, slot: u32, place: &Place) -> Option<Option<Reading>> {
    let key = SegmentKey { log: u64::from(slot), segment_base: place.segment_base };
    match window.begin_read(key, place.position, place.length) {
        Residency::Resident(reading) => return Some(reading),
        Residency::Leaving => return None,
        Residency::Unknown => {}
    }
    match disk.residency(&place.file, u64::from(place.position), u64::from(place.length)) {
        // Whole pages are counted, so a resident range counts at least its own length.
        Ok(Some(residency)) if residency.cached >= u64::from(place.length) => Some(None),
        Ok(_) | Err(_) => None,
    }
}
