//! Leased memory: slots of one receive pool, or a vector of its own for a frame larger than a slot.
//!
//! A `Lease` owns its bytes exclusively and can be split; the pieces are disjoint and travel apart, also to another
//! thread. The memory returns to its owner when the last piece is dropped, wherever that happens.

use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crossbeam_utils::CachePadded;

use crate::reactor::mailbox::Stack;

/// The receive memory of one engine: `slots` pieces of `slot_bytes` each, mapped once and never moved.
#[derive(Debug)]
pub struct Pool {
    shared: Arc<Slots>,
}

#[derive(Debug)]
pub(super) struct Slots {
    memory: NonNull<u8>,
    slot_bytes: usize,
    slots: usize,
    /// Pieces alive of each slot.
    pieces: Box<[CachePadded<AtomicU32>]>,
    /// Slots whose last piece was dropped and that the owner has not taken back yet.
    returned: Stack,
}

// SAFETY: the memory is reached only through leases, which own disjoint ranges, and through the kernel, which gets a
// slot only while no lease of it exists; the counters are atomic.
unsafe impl Send for Slots {}
// SAFETY: as above; nothing here hands out a reference to the memory itself.
unsafe impl Sync for Slots {}

impl Drop for Slots {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `Pool::new` with this length; no lease is left, since each holds an `Arc`.
        unsafe { libc::munmap(self.memory.as_ptr().cast(), self.slot_bytes * self.slots) };
    }
}

impl Pool {
    /// Maps the memory. `slots` is a power of two up to 32,768. Fails when the machine has no memory left.
    pub fn new(slots: usize, slot_bytes: usize) -> std::io::Result<Pool> {
        assert!(slots.is_power_of_two() && slots <= 32_768, "{slots} slots");
        // SAFETY: an anonymous private mapping at an address of the kernel's choice aliases nothing.
        let memory = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                slots * slot_bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if memory == libc::MAP_FAILED {
            return Err(std::io::Error::last_os_error());
        }
        let memory = NonNull::new(memory.cast()).expect("mmap without MAP_FIXED never returns page zero");
        let pieces = (0..slots).map(|_| CachePadded::new(AtomicU32::new(0))).collect();
        let returned = Stack::new(slots);
        Ok(Pool { shared: Arc::new(Slots { memory, slot_bytes, slots, pieces, returned }) })
    }

    /// Bytes in one slot.
    pub fn slot_bytes(&self) -> usize {
        self.shared.slot_bytes
    }

    /// Number of slots.
    pub fn slots(&self) -> usize {
        self.shared.slots
    }

    /// The address of a slot, for the kernel.
    pub(super) fn address(&self, slot: u16) -> *mut u8 {
        assert!(usize::from(slot) < self.shared.slots);
        // SAFETY: the slot lies within the mapping.
        unsafe { self.shared.memory.as_ptr().add(usize::from(slot) * self.shared.slot_bytes) }
    }

    /// The lease of the first `length` bytes of a slot that the kernel has just filled.
    pub(super) fn lease(&self, slot: u16, length: usize) -> Lease {
        assert!(length <= self.shared.slot_bytes);
        let before = self.shared.pieces[usize::from(slot)].swap(1, Ordering::Relaxed);
        assert_eq!(before, 0, "slot {slot} was leased twice");
        Lease {
            store: Store::Slot { slots: Arc::clone(&self.shared), slot },
            start: self.address(slot),
            length,
        }
    }

    /// Takes back a slot whose last piece was dropped.
    pub(super) fn take_returned(&self) -> Option<u16> {
        self.shared.returned.pop()
    }
}

#[derive(Debug)]
enum Store {
    Slot { slots: Arc<Slots>, slot: u16 },
    Own(Arc<Own>),
}

/// A vector whose bytes are leased: kept apart so that pieces can share its end of life.
#[derive(Debug)]
struct Own {
    memory: NonNull<u8>,
    length: usize,
    capacity: usize,
    /// Where the vector goes when the last piece is dropped; `None` frees it.
    home: Option<Arc<Spare>>,
}

// SAFETY: `Own` is only memory and two numbers; access goes through leases, which own disjoint ranges.
unsafe impl Send for Own {}
// SAFETY: as above.
unsafe impl Sync for Own {}

impl Drop for Own {
    fn drop(&mut self) {
        // SAFETY: these are the parts of a `Vec<u8>` taken apart in `Lease::own`, put together once.
        let bytes = unsafe { Vec::from_raw_parts(self.memory.as_ptr(), self.length, self.capacity) };
        if let Some(home) = &self.home {
            home.give(bytes);
        }
    }
}

/// Bytes owned exclusively, in memory that returns to its owner when the last piece is dropped.
#[derive(Debug)]
pub struct Lease {
    store: Store,
    start: *mut u8,
    length: usize,
}

// SAFETY: a lease owns its range exclusively, like a `Box<[u8]>`.
unsafe impl Send for Lease {}
// SAFETY: a shared lease gives shared access to the bytes only.
unsafe impl Sync for Lease {}

impl Lease {
    /// Splits off the first `at` bytes; `self` keeps the rest. Panics when `at` lies behind the end.
    pub fn split_to(&mut self, at: usize) -> Lease {
        assert!(at <= self.length, "split at {at} of {}", self.length);
        let store = match &self.store {
            Store::Slot { slots, slot } => {
                slots.pieces[usize::from(*slot)].fetch_add(1, Ordering::Relaxed);
                Store::Slot { slots: Arc::clone(slots), slot: *slot }
            }
            Store::Own(own) => Store::Own(Arc::clone(own)),
        };
        let front = Lease { store, start: self.start, length: at };
        // SAFETY: `at <= length`, so the result stays within, or one past, the range this lease owns.
        self.start = unsafe { self.start.add(at) };
        self.length -= at;
        front
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Store::Slot { slots, slot } = &self.store {
            // Release pairs with the acquire of the last piece: its owner sees every access to the bytes as done.
            if slots.pieces[usize::from(*slot)].fetch_sub(1, Ordering::AcqRel) == 1 {
                slots.returned.push(*slot);
            }
        }
    }
}

impl Deref for Lease {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: the range is initialised (mapped zero, or received, or of a vector) and owned by this lease.
        unsafe { std::slice::from_raw_parts(self.start, self.length) }
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above; pieces of one slot never overlap, so exclusive access to the lease is enough.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.length) }
    }
}

impl Lease {
    fn own(bytes: Vec<u8>, home: Option<Arc<Spare>>) -> Lease {
        let mut bytes = std::mem::ManuallyDrop::new(bytes);
        let memory = NonNull::new(bytes.as_mut_ptr()).expect("a vector's pointer is never null");
        let own = Own { memory, length: bytes.len(), capacity: bytes.capacity(), home };
        Lease { start: memory.as_ptr(), length: own.length, store: Store::Own(Arc::new(own)) }
    }
}

impl From<Vec<u8>> for Lease {
    fn from(bytes: Vec<u8>) -> Lease {
        Lease::own(bytes, None)
    }
}

/// Vectors for frames larger than a receive buffer, kept for the next one: memory fresh from the system costs a page
/// fault every 4 KiB. Their bytes are initialised once and never shrunk, so taking one is free of that too.
#[derive(Clone, Debug)]
pub struct Recycler(Arc<Spare>);

#[derive(Debug)]
struct Spare {
    bytes_max: usize,
    kept: std::sync::Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    vectors: Vec<Vec<u8>>,
    bytes: usize,
}

impl Spare {
    /// Keeps the vector while there is room; a lock per large frame, uncontended on all but the way back from another
    /// thread.
    fn give(&self, bytes: Vec<u8>) {
        let mut kept = self.kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if bytes.len() >= 4096 && kept.bytes + bytes.len() <= self.bytes_max {
            kept.bytes += bytes.len();
            kept.vectors.push(bytes);
        }
    }
}

impl Recycler {
    /// Keeps at most `bytes_max` bytes.
    pub fn new(bytes_max: usize) -> Recycler {
        Recycler(Arc::new(Spare { bytes_max, kept: std::sync::Mutex::default() }))
    }

    /// A vector of at least `bytes` bytes, whatever they are.
    pub fn take(&self, bytes: usize) -> Vec<u8> {
        {
            let mut kept = self.0.kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let fits = |vector: &Vec<u8>| vector.len() >= bytes && vector.len() / 4 <= bytes.max(4096);
            if let Some(at) = kept.vectors.iter().rposition(fits) {
                let vector = kept.vectors.swap_remove(at);
                kept.bytes -= vector.len();
                return vector;
            }
        }
        vec![0; bytes]
    }

    /// Takes a vector back.
    pub fn give(&self, bytes: Vec<u8>) {
        self.0.give(bytes);
    }

    /// Leases a vector; it comes back here with the last piece.
    pub fn lease(&self, bytes: Vec<u8>) -> Lease {
        Lease::own(bytes, Some(Arc::clone(&self.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_returns_when_its_last_piece_is_dropped_on_any_thread() {
        let pool = Pool::new(2, 4096).unwrap();
        let mut lease = pool.lease(1, 10);
        lease.copy_from_slice(b"0123456789");
        let front = lease.split_to(4);
        assert_eq!((&front[..], &lease[..]), (&b"0123"[..], &b"456789"[..]));
        assert_eq!(pool.take_returned(), None);
        drop(front);
        assert_eq!(pool.take_returned(), None);
        std::thread::spawn(move || drop(lease)).join().unwrap();
        assert_eq!(pool.take_returned(), Some(1));
        assert_eq!(pool.take_returned(), None);
    }

    #[test]
    fn a_vector_is_leased_split_and_changed() {
        let mut lease = Lease::from(b"headbody".to_vec());
        let mut head = lease.split_to(4);
        head[0] = b'H';
        lease[0] = b'B';
        assert_eq!((&head[..], &lease[..]), (&b"Head"[..], &b"Body"[..]));
        let nothing = lease.split_to(0);
        assert!(nothing.is_empty());
    }
}
