//! The resident window of a log directory: how much of what was written stays dirty, and how much stays in memory
//! (`DESIGN.md` section 2; H09, H10).
//!
//! In: ranges as they are appended, and what became of the actions. Out: actions, chosen over the whole directory:
//! write out the longest dirty runs, in large pieces, while the dirty budget is exceeded; then drop the oldest written
//! pieces while the resident budget is exceeded, except where a reader is. Pure accounting, O(1) amortised per append,
//! nothing per partition and turn.
//!
//! Small ranges over many files are left alone: writing them out one by one costs more than it saves (`MEASURED.md`),
//! and the kernel gathers them better. An error of a write-out is final: from then on nothing is dropped (H10).

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use crate::ids::Offset;
use crate::reactor::File;

/// One segment file of the directory: a number its owner gave to the log, and the segment's base offset.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SegmentKey {
    pub log: u64,
    pub segment_base: Offset,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WindowLimits {
    /// Bytes not handed to the device yet; write-out begins at half of it.
    pub dirty_bytes_max: u64,
    /// Bytes in memory, dirty ones included.
    pub resident_bytes_max: u64,
    /// No shorter piece is written out, unless the dirty budget is exceeded twice over.
    pub piece_bytes_min: u32,
    /// Write-outs and drops under way at one time.
    pub in_flight_max: usize,
}

impl WindowLimits {
    pub fn new(dirty_bytes_max: u64, resident_bytes_max: u64) -> WindowLimits {
        WindowLimits { dirty_bytes_max, resident_bytes_max, piece_bytes_min: 1 << 20, in_flight_max: 4 }
    }
}

/// The shortest piece that is ever written out, whatever the budgets say.
const PIECE_BYTES_FLOOR: u32 = 64 << 10;
/// The longest: a piece is one operation, and its error covers all of it.
const PIECE_BYTES_MAX: u32 = 2 << 20;
/// Pages are dropped whole.
const PAGE_BYTES: u32 = 4096;

/// What the owner is asked to do. It answers with `on_done` and the same number.
#[derive(Clone, Debug)]
pub enum Action {
    /// Start write-out of a range.
    WriteOut { number: usize, file: File, position: u32, length: u32 },
    /// Wait until write-out of the range has ended, and only when that succeeded drop its pages.
    WaitThenDrop { number: usize, file: File, position: u32, length: u32 },
}

/// Ranges of one file that can be guarded at a time.
const READERS_MAX: usize = 16;

/// The ranges of one file that are being read: position and length in one number, zero where there is none. The owner of the
/// window enters them; whoever ends a read, on whatever thread, clears its place.
#[derive(Debug, Default)]
struct Readers {
    ranges: [AtomicU64; READERS_MAX],
}

impl Readers {
    fn enter(readers: &mut Option<Arc<Readers>>, position: u32, length: u32) -> Option<Reading> {
        let readers = readers.get_or_insert_default();
        // Only this thread makes a place taken, so one that was free stays free until it is stored.
        let place = readers.ranges.iter().position(|range| range.load(Ordering::Relaxed) == 0)?;
        let range = u64::from(position) << 32 | u64::from(length.max(1));
        readers.ranges[place].store(range, Ordering::Relaxed);
        Some(Reading { readers: Arc::clone(readers), place: place as u8 })
    }

    fn any_in(&self, position: u32, length: u32) -> bool {
        self.ranges.iter().any(|range| {
            let range = range.load(Ordering::Acquire);
            let (from, bytes) = (range >> 32, range & 0xffff_ffff);
            bytes > 0 && from < u64::from(position) + u64::from(length) && u64::from(position) < from + bytes
        })
    }
}

/// A range that is being read: it is not dropped until this is.
#[derive(Debug)]
pub struct Reading {
    readers: Arc<Readers>,
    place: u8,
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.readers.ranges[usize::from(self.place)].store(0, Ordering::Release);
    }
}

/// Where a range is, as far as the window knows.
#[derive(Debug)]
pub enum Residency {
    /// In memory, and stays there while the `Reading` lives, if there was a place for one.
    Resident(Option<Reading>),
    /// Being dropped.
    Leaving,
    /// Never in the window, or dropped from it: the kernel has to be asked.
    Unknown,
}

/// A write-out has failed: the directory has failed (H09).
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("write-out of segment {} at {position} failed", key.segment_base)]
pub struct WriteOutFailed {
    pub key: SegmentKey,
    pub position: u32,
}

/// Of one file: `dropped` ≤ `drop_started` ≤ `started` ≤ `end`. Below `dropped` nothing is in memory, below
/// `drop_started` drops have begun, in order; below `started` write-out has.
#[derive(Debug)]
struct Tracked {
    file: File,
    dropped: u32,
    drop_started: u32,
    started: u32,
    end: u32,
    /// Its place in the bucket of its dirty length, and which bucket.
    bucket: Option<(u8, usize)>,
    /// Made by the first read.
    readers: Option<Arc<Readers>>,
    is_closed: bool,
}

impl Tracked {
    fn dirty(&self) -> u32 {
        self.end - self.started
    }

    fn has_reader_in(&self, position: u32, length: u32) -> bool {
        self.readers.as_ref().is_some_and(|readers| readers.any_in(position, length))
    }

    fn holds(&self, position: u32, length: u32) -> bool {
        self.drop_started <= position && position + length <= self.end
    }
}

#[derive(Clone, Copy, Debug)]
struct Piece {
    key: SegmentKey,
    position: u32,
    length: u32,
}

#[derive(Clone, Copy, Debug)]
enum InFlight {
    Free,
    WritingOut(Piece),
    Dropping(Piece),
}

/// Buckets by the number of bits of a dirty length.
const BUCKETS: usize = 33;

#[derive(Debug)]
pub struct Window {
    limits: WindowLimits,
    files: HashMap<SegmentKey, Tracked, FixedState>,
    buckets: Vec<Vec<SegmentKey>>,
    /// Written out (or being), oldest first.
    written: VecDeque<Piece>,
    in_flight: Vec<InFlight>,
    in_flight_count: usize,
    dirty_bytes: u64,
    resident_bytes: u64,
    /// Of those, what is being dropped.
    dropping_bytes: u64,
    failed: bool,
}

impl Window {
    pub fn new(limits: WindowLimits) -> Window {
        Window {
            limits,
            files: HashMap::default(),
            buckets: vec![Vec::new(); BUCKETS],
            written: VecDeque::new(),
            in_flight: Vec::new(),
            in_flight_count: 0,
            dirty_bytes: 0,
            resident_bytes: 0,
            dropping_bytes: 0,
            failed: false,
        }
    }

    pub fn limits(&self) -> WindowLimits {
        self.limits
    }

    /// Bytes written and not handed to the device, as far as this accounting knows.
    pub fn dirty_bytes(&self) -> u64 {
        self.dirty_bytes
    }

    pub fn resident_bytes(&self) -> u64 {
        self.resident_bytes
    }

    pub fn has_failed(&self) -> bool {
        self.failed
    }

    /// Takes note of an append. Ranges of one file join; a gap (another owner's bytes) begins the file anew.
    pub fn appended(&mut self, key: SegmentKey, file: &File, position: u32, length: u32) {
        if length == 0 {
            return;
        }
        let tracked = self.files.entry(key).or_insert_with(|| Tracked {
            file: file.clone(),
            dropped: position,
            drop_started: position,
            started: position,
            end: position,
            bucket: None,
            readers: None,
            is_closed: false,
        });
        if tracked.end != position {
            // The log was cut or opened anew: what is accounted beyond or below is no longer true.
            self.forget(key);
            return self.appended(key, file, position, length);
        }
        tracked.end += length;
        self.dirty_bytes += u64::from(length);
        self.resident_bytes += u64::from(length);
        self.put_into_bucket(key);
    }

    /// No more appends to this segment: what is left of it is written out when its turn comes, and then forgotten.
    pub fn closed(&mut self, key: SegmentKey) {
        if let Some(tracked) = self.files.get_mut(&key) {
            tracked.is_closed = true;
        }
    }

    /// The segment was flushed up to `position`: nothing of it is left to write out, and it may be dropped.
    pub fn flushed(&mut self, key: SegmentKey, position: u32) {
        let Some(tracked) = self.files.get_mut(&key) else { return };
        let upto = position.min(tracked.end);
        if upto <= tracked.started {
            return;
        }
        let piece = Piece { key, position: tracked.started, length: upto - tracked.started };
        tracked.started = upto;
        self.dirty_bytes -= u64::from(piece.length);
        self.written.push_back(piece);
        self.put_into_bucket(key);
    }

    /// The segment is being deleted or was cut.
    pub fn forget(&mut self, key: SegmentKey) {
        let Some(tracked) = self.files.remove(&key) else { return };
        self.dirty_bytes -= u64::from(tracked.dirty());
        self.resident_bytes -= u64::from(tracked.end - tracked.dropped);
        if let Some(place) = tracked.bucket {
            self.take_from_bucket(place);
        }
        // Its pieces in `written` find nothing when their turn comes.
    }

    /// Whether a range can be sent without waiting for the disk.
    pub fn is_resident(&self, key: SegmentKey, position: u32, length: u32) -> bool {
        self.files.get(&key).is_some_and(|tracked| tracked.holds(position, length))
    }

    /// What the window knows of a range that is about to be read; one that it holds is not dropped while the `Reading`
    /// lives, wherever that is. With more than `READERS_MAX` of one file at a time the rest read unguarded: what is dropped
    /// under one of them comes from the disk again.
    pub fn begin_read(&mut self, key: SegmentKey, position: u32, length: u32) -> Residency {
        let Some(tracked) = self.files.get_mut(&key) else { return Residency::Unknown };
        if tracked.holds(position, length) {
            Residency::Resident(Readers::enter(&mut tracked.readers, position, length))
        } else if tracked.dropped <= position && position < tracked.drop_started {
            Residency::Leaving
        } else {
            Residency::Unknown
        }
    }

    /// Asks for what should be done now. Cheap when nothing should.
    pub fn plan(&mut self, actions: &mut Vec<Action>) {
        if self.failed {
            return;
        }
        while self.in_flight_count < self.limits.in_flight_max {
            let piece_bytes_min = if self.dirty_bytes > 2 * self.limits.dirty_bytes_max {
                PIECE_BYTES_FLOOR
            } else {
                self.limits.piece_bytes_min.max(PIECE_BYTES_FLOOR)
            };
            if self.dirty_bytes <= self.limits.dirty_bytes_max / 2
                || !self.write_out(piece_bytes_min, actions)
            {
                break;
            }
        }
        let mut kept = 0;
        while self.in_flight_count < self.limits.in_flight_max
            && self.resident_bytes > self.limits.resident_bytes_max + self.dropping_bytes
        {
            // Each piece is asked once per plan: pieces with readers go to the back.
            if kept > self.written.len() {
                break;
            }
            match self.written.pop_front() {
                Some(piece) => kept += usize::from(!self.drop_piece(piece, actions)),
                // What is being written out can be dropped next.
                None if self.in_flight.iter().any(|slot| matches!(slot, InFlight::WritingOut(_))) => break,
                // All that is left is dirty: writing it out is the way to drop it.
                None if self.write_out(PIECE_BYTES_FLOOR, actions) => {}
                None => break,
            }
        }
    }

    /// Starts write-out of the longest dirty run, if it is long enough.
    fn write_out(&mut self, piece_bytes_min: u32, actions: &mut Vec<Action>) -> bool {
        let Some(key) = self.buckets.iter().rev().find_map(|bucket| bucket.first().copied()) else {
            return false;
        };
        let tracked = self.files.get_mut(&key).expect("a bucket holds tracked files only");
        if tracked.dirty() < piece_bytes_min {
            return false;
        }
        let mut length = tracked.dirty().min(PIECE_BYTES_MAX);
        if !tracked.is_closed && length == tracked.dirty() {
            // The page that is being filled stays: it would be written out again and again.
            let end = (tracked.started + length) / PAGE_BYTES * PAGE_BYTES;
            length = end.saturating_sub(tracked.started);
        }
        if length == 0 {
            return false;
        }
        let piece = Piece { key, position: tracked.started, length };
        tracked.started += length;
        let file = tracked.file.clone();
        self.dirty_bytes -= u64::from(length);
        self.put_into_bucket(key);
        let number = self.start(InFlight::WritingOut(piece));
        actions.push(Action::WriteOut { number, file, position: piece.position, length });
        true
    }

    /// Starts the drop of a written piece. False when it has to stay for now.
    fn drop_piece(&mut self, piece: Piece, actions: &mut Vec<Action>) -> bool {
        let Some(tracked) = self.files.get_mut(&piece.key) else { return true };
        if piece.position < tracked.drop_started || piece.position + piece.length > tracked.started {
            return true; // of an earlier life of this key
        }
        // In order, so that what is in memory of a file is always its newest part.
        if piece.position > tracked.drop_started || tracked.has_reader_in(piece.position, piece.length) {
            self.written.push_back(piece);
            return false;
        }
        tracked.drop_started = piece.position + piece.length;
        let file = tracked.file.clone();
        self.dropping_bytes += u64::from(piece.length);
        let number = self.start(InFlight::Dropping(piece));
        actions.push(Action::WaitThenDrop { number, file, position: piece.position, length: piece.length });
        true
    }

    fn start(&mut self, what: InFlight) -> usize {
        self.in_flight_count += 1;
        match self.in_flight.iter().position(|slot| matches!(slot, InFlight::Free)) {
            Some(number) => {
                self.in_flight[number] = what;
                number
            }
            None => {
                self.in_flight.push(what);
                self.in_flight.len() - 1
            }
        }
    }

    /// An action has ended. An error says that the directory has failed.
    pub fn on_done(&mut self, number: usize, ok: bool) -> Result<(), WriteOutFailed> {
        let what = std::mem::replace(&mut self.in_flight[number], InFlight::Free);
        let (InFlight::WritingOut(piece) | InFlight::Dropping(piece)) = what else {
            return Ok(()); // answered twice: the first answer counted
        };
        self.in_flight_count -= 1;
        if let InFlight::Dropping(piece) = &what {
            self.dropping_bytes -= u64::from(piece.length);
        }
        if !ok {
            self.failed = true;
            return Err(WriteOutFailed { key: piece.key, position: piece.position });
        }
        match what {
            InFlight::WritingOut(piece) => self.written.push_back(piece),
            InFlight::Dropping(piece) => self.dropped(piece),
            InFlight::Free => {}
        }
        Ok(())
    }

    fn dropped(&mut self, piece: Piece) {
        let Some(tracked) = self.files.get_mut(&piece.key) else { return };
        let upto = piece.position + piece.length;
        if tracked.dropped >= upto || upto > tracked.drop_started {
            return; // of an earlier life of this key, or a later piece was answered first
        }
        let gone = upto - tracked.dropped;
        tracked.dropped = upto;
        self.resident_bytes -= u64::from(gone);
        if tracked.is_closed && tracked.dropped == tracked.end {
            self.forget(piece.key);
        }
    }

    /// Moves a file to the bucket of its dirty length.
    fn put_into_bucket(&mut self, key: SegmentKey) {
        let Some(tracked) = self.files.get(&key) else { return };
        let dirty = tracked.dirty();
        let wanted = (dirty > 0).then_some((u32::BITS - dirty.leading_zeros()) as u8);
        let current = tracked.bucket;
        if current.map(|(bucket, _)| bucket) == wanted {
            return;
        }
        if let Some(place) = current {
            self.take_from_bucket(place);
        }
        let place = wanted.map(|bucket| {
            let keys = &mut self.buckets[usize::from(bucket)];
            keys.push(key);
            (bucket, keys.len() - 1)
        });
        self.files.get_mut(&key).expect("looked up above").bucket = place;
    }

    fn take_from_bucket(&mut self, (bucket, at): (u8, usize)) {
        let keys = &mut self.buckets[usize::from(bucket)];
        keys.swap_remove(at);
        if let Some(moved) = keys.get(at).copied() {
            self.files.get_mut(&moved).expect("a bucket holds tracked files only").bucket =
                Some((bucket, at));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reactor::disk::CloseGuard;

    #[derive(Debug)]
    struct NoGuard;
    impl CloseGuard for NoGuard {}

    const MIB: u32 = 1 << 20;

    fn file() -> File {
        File::from_double(1, Box::new(NoGuard))
    }

    fn key(log: u64) -> SegmentKey {
        SegmentKey { log, segment_base: Offset(0) }
    }

    fn window(dirty: u32, resident: u32) -> Window {
        Window::new(WindowLimits::new(u64::from(dirty), u64::from(resident)))
    }

    /// Does everything asked for until nothing more is; what it was.
    fn settle(window: &mut Window) -> Vec<(&'static str, u32, u32)> {
        let mut done = Vec::new();
        loop {
            let mut actions = Vec::new();
            window.plan(&mut actions);
            if actions.is_empty() {
                return done;
            }
            for action in actions {
                let number = match action {
                    Action::WriteOut { number, position, length, .. } => {
                        done.push(("write out", position, length));
                        number
                    }
                    Action::WaitThenDrop { number, position, length, .. } => {
                        done.push(("drop", position, length));
                        number
                    }
                };
                window.on_done(number, true).unwrap();
            }
        }
    }

    #[test]
    fn below_its_budgets_a_window_does_nothing() {
        let mut window = window(8 * MIB, 64 * MIB);
        window.appended(key(1), &file(), 0, 4 * MIB);
        assert_eq!(settle(&mut window), []);
        assert!(window.is_resident(key(1), 0, 4 * MIB));
    }

    #[test]
    fn one_file_is_written_out_in_large_pieces_and_dropped_behind_the_window() {
        let mut window = window(8 * MIB, 16 * MIB);
        let file = file();
        let mut dropped = 0;
        for step in 0..256 {
            window.appended(key(1), &file, step * MIB, MIB);
            for (what, position, length) in settle(&mut window) {
                assert!(length >= MIB, "{what} {position} {length}");
                if what == "drop" {
                    assert_eq!(position, dropped, "oldest first, without gaps");
                    dropped = position + length;
                }
            }
            assert!(window.dirty_bytes() <= 8 << 20 && window.resident_bytes() <= 17 << 20);
        }
        assert!(dropped >= 239 * MIB);
        assert!(!window.is_resident(key(1), dropped - 1, 1) && window.is_resident(key(1), dropped, 1));
    }

    #[test]
    fn the_longest_dirty_run_goes_first() {
        let mut window = window(8 * MIB, 640 * MIB);
        window.appended(key(1), &file(), 0, 2 * MIB);
        window.appended(key(2), &file(), 0, 7 * MIB);
        window.appended(key(3), &file(), 0, MIB);
        let pieces = [0, 2].map(|at| ("write out", at * MIB, 2 * MIB));
        assert_eq!(settle(&mut window)[..2], pieces, "no longer than a piece may be");
        assert!(window.dirty_bytes() <= 4 << 20);
    }

    #[test]
    fn tiny_runs_over_many_files_are_left_to_the_kernel() {
        let mut window = window(8 * MIB, 64 * MIB);
        for log in 0..600 {
            window.appended(key(log), &file(), 0, 16 << 10);
        }
        assert!(window.dirty_bytes() > 8 << 20);
        assert_eq!(settle(&mut window), []);
        for log in 600..10_000 {
            window.appended(key(log), &file(), 0, 16 << 10);
        }
        assert_eq!(settle(&mut window), [], "far above both budgets, still not one by one");
    }

    #[test]
    fn a_range_with_a_reader_is_not_dropped_until_he_leaves() {
        let mut window = window(2 * MIB, 4 * MIB);
        window.appended(key(1), &file(), 0, 4 * MIB);
        let Residency::Resident(Some(reading)) = window.begin_read(key(1), MIB, MIB) else {
            panic!("what was just appended is in the window")
        };
        let file = window.files[&key(1)].file.clone();
        window.appended(key(1), &file, 4 * MIB, 2 * MIB);
        let done = settle(&mut window);
        assert!(
            done.iter().all(|(what, position, _)| *what == "write out" || *position >= 2 * MIB),
            "{done:?}"
        );
        assert!(matches!(window.begin_read(key(1), 5 * MIB, 2 * MIB), Residency::Unknown));
        // On another thread, as it is when a socket has taken the range.
        std::thread::spawn(move || drop(reading)).join().unwrap();
        window.appended(key(1), &file, 6 * MIB, 2 * MIB);
        let done = settle(&mut window);
        assert!(done.iter().any(|(what, ..)| *what == "drop"), "{done:?}");
        assert!(window.resident_bytes() <= 4 << 20);
    }

    #[test]
    fn a_range_that_is_being_dropped_is_not_called_resident() {
        let mut window = window(2 * MIB, MIB);
        window.appended(key(1), &file(), 0, 4 * MIB);
        let mut actions = Vec::new();
        window.plan(&mut actions);
        for action in std::mem::take(&mut actions) {
            let Action::WriteOut { number, .. } = action else { panic!("{action:?}") };
            window.on_done(number, true).unwrap();
        }
        window.plan(&mut actions);
        let drops = actions.iter().filter(|action| matches!(action, Action::WaitThenDrop { .. }));
        assert!(drops.count() > 0, "{actions:?}");
        assert!(matches!(window.begin_read(key(1), 0, MIB), Residency::Leaving));
        assert!(!window.is_resident(key(1), 0, MIB));
    }

    #[test]
    fn more_readers_than_places_read_unguarded_and_a_place_is_used_again() {
        let mut window = window(2 * MIB, 64 * MIB);
        window.appended(key(1), &file(), 0, MIB);
        let mut read = || match window.begin_read(key(1), 0, MIB) {
            Residency::Resident(reading) => reading,
            other => panic!("{other:?}"),
        };
        let mut readings: Vec<Reading> = std::iter::from_fn(&mut read).take(2 * READERS_MAX).collect();
        assert_eq!(readings.len(), READERS_MAX);
        assert!(read().is_none());
        readings.pop();
        assert!(read().is_some());
    }

    #[test]
    fn after_a_failed_write_out_nothing_is_dropped_any_more() {
        let mut window = window(2 * MIB, 2 * MIB);
        window.appended(key(1), &file(), 0, 8 * MIB);
        let mut actions = Vec::new();
        window.plan(&mut actions);
        let Some(Action::WriteOut { number, .. }) = actions.first() else { panic!("{actions:?}") };
        let failed = window.on_done(*number, false).unwrap_err();
        assert_eq!(failed, WriteOutFailed { key: key(1), position: 0 });
        actions.clear();
        window.plan(&mut actions);
        assert!(actions.is_empty() && window.has_failed());
    }

    #[test]
    fn a_closed_segment_is_forgotten_when_its_last_page_is_dropped() {
        let mut window = window(MIB, MIB);
        window.appended(key(1), &file(), 0, MIB + 100);
        window.closed(key(1));
        window.appended(key(2), &file(), 0, MIB);
        let done = settle(&mut window);
        assert!(!window.files.contains_key(&key(1)), "{done:?}");
        assert_eq!(window.resident_bytes(), u64::from(MIB), "{done:?}");
        assert_eq!(window.resident_bytes(), u64::from(MIB));
    }

    #[test]
    fn a_flush_makes_bytes_clean_and_a_deletion_makes_them_nothing() {
        let mut window = window(2 * MIB, 64 * MIB);
        window.appended(key(1), &file(), 0, MIB);
        window.flushed(key(1), MIB / 2);
        assert_eq!(window.dirty_bytes(), u64::from(MIB / 2));
        window.forget(key(1));
        assert_eq!((window.dirty_bytes(), window.resident_bytes()), (0, 0));
        assert_eq!(settle(&mut window), []);
        assert!(window.buckets.iter().all(Vec::is_empty));
    }
}
