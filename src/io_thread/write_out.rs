//! The resident window at work: what was appended is handed to the disk steadily, and what lies behind the window leaves
//! memory once it is written (`log::window` decides, this carries out).
//!
//! In: what each append wrote. Out: write-outs and drops, done by a thread that may wait. An error of a write-out is an error of the flush
//! (H09): the directory has failed, and nothing of it is dropped any more (H10).

use crate::ids::Offset;
use crate::io_thread::{IoLoop, token, tokens};
use crate::log::window::{Action, SegmentKey};
use crate::log::{self, LogError};
use crate::reactor::{Engine, Operation};

/// A write-out under way.
#[derive(Debug)]
pub(super) struct WindowWork {
    directory: u16,
    number: usize,
}

impl IoLoop {
    /// Takes note of what the last append wrote.
    pub(super) fn note_written(&mut self, slot: u32, directory: u16) {
        let window = &mut self.windows[usize::from(directory)];
        for written in &self.scratch.written {
            let key = SegmentKey { log: u64::from(slot), segment_base: written.segment_base };
            window.appended(key, &written.file, written.position, written.length);
        }
        self.windows_changed = true;
    }

    /// The log of a slot goes on in another segment, or has ended.
    pub(super) fn note_closed(&mut self, slot: u32, directory: u16, segment_base: Offset) {
        let key = SegmentKey { log: u64::from(slot), segment_base };
        self.windows[usize::from(directory)].closed(key);
    }

    /// The log of a slot is being removed.
    pub(super) fn note_removed(&mut self, slot: u32, directory: u16, log: &log::Log) {
        for (segment_base, _) in log.segments() {
            self.windows[usize::from(directory)].forget(SegmentKey { log: u64::from(slot), segment_base });
        }
    }

    /// Starts what the windows ask for.
    pub(super) fn start_write_outs(&mut self, engine: &mut dyn Engine) {
        if !std::mem::take(&mut self.windows_changed) {
            return;
        }
        let mut actions = Vec::new();
        for directory in 0..self.windows.len() {
            self.windows[directory].plan(&mut actions);
            for action in actions.drain(..) {
                let (number, file, position, length, drop) = match action {
                    Action::WriteOut { number, file, position, length } => {
                        (number, file, position, length, false)
                    }
                    Action::WaitThenDrop { number, file, position, length } => {
                        (number, file, position, length, true)
                    }
                };
                let (position, length) = (u64::from(position), u64::from(length));
                let work = WindowWork { directory: directory as u16, number };
                let token = token(tokens::WRITE_OUT, self.window_work.insert(work));
                engine.submit(token, Operation::WriteOut { file, position, length, drop });
            }
        }
    }

    pub(super) fn on_written_out(&mut self, key: usize, result: std::io::Result<()>) {
        let WindowWork { directory, number } = self.window_work.remove(key);
        self.windows_changed = true;
        if self.windows[usize::from(directory)].on_done(number, result.is_ok()).is_err() {
            self.metrics.write_out_errors.increment();
            let error = LogError::Io {
                path: self.directories[usize::from(directory)].path.clone(),
                what: "write out",
                position: 0,
                source: result.err().unwrap_or_else(|| std::io::Error::other("write-out failed")),
            };
            self.directory_failed(directory, &error);
        }
    }
}
