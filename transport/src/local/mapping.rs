//! A shared memory mapping, and the only places that touch it.
//!
//! Every byte of a segment is used in one way for good ([`layout`](super::layout)): as part of an
//! atomic word, or as payload. Only this folder can reach a [`Mapping`], and it asks for words
//! only where the layout has words.

use std::io;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64};

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use super::stream;

/// A whole segment, mapped for reading and writing.
#[derive(Debug)]
pub(super) struct Mapping {
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: the mapping belongs to the value, not to a thread; it stays at its address until drop.
unsafe impl Send for Mapping {}
// SAFETY: shared access is by atomics, or by the `unsafe` functions whose callers prove that no
// payload is written while it is read.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps the first `bytes` bytes of a file, which is at least that long and, being sealed
    /// against shrinking, will remain so: no access can end in a bus error.
    pub(super) fn new(file: BorrowedFd<'_>, bytes: usize) -> io::Result<Self> {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // Populating takes the page faults now instead of in the first collective.
        let flags = MapFlags::SHARED | MapFlags::POPULATE;
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory in use.
        let start = unsafe { mmap(std::ptr::null_mut(), bytes, protection, flags, file, 0)? };
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, bytes })
    }

    fn at(&self, at: usize, length: usize, align: usize) -> *mut u8 {
        let fits = at.checked_add(length).is_some_and(|end| end <= self.bytes);
        assert!(
            fits && at.is_multiple_of(align),
            "{length} bytes at {at} of a segment of {} bytes",
            self.bytes
        );
        // SAFETY: `at` is inside the mapping, as was just checked.
        unsafe { self.start.as_ptr().add(at) }
    }

    /// The 64-bit word at a place.
    pub(super) fn word(&self, at: usize) -> &AtomicU64 {
        // SAFETY: inside the mapping and aligned (checked; the mapping starts at a page), mapped
        // as long as `self` lives, and only ever used atomically (module documentation). Any bits
        // that a peer writes are a valid integer.
        unsafe { AtomicU64::from_ptr(self.at(at, 8, 8).cast()) }
    }

    /// The 32-bit word at a place.
    pub(super) fn half(&self, at: usize) -> &AtomicU32 {
        // SAFETY: as in `word`.
        unsafe { AtomicU32::from_ptr(self.at(at, 4, 4).cast()) }
    }

    /// Payload for reading.
    ///
    /// # Safety
    /// The range is payload by the layout, and nobody writes it as long as the slice lives.
    pub(super) unsafe fn payload(&self, at: usize, length: usize) -> &[u8] {
        // SAFETY: inside the mapping (checked), initialised (a new file is zero), not written by
        // the contract.
        unsafe { std::slice::from_raw_parts(self.at(at, length, 1), length) }
    }

    /// Writes payload at a multiple of 64, past the cache if `streaming`.
    ///
    /// # Safety
    /// The range is payload by the layout, nobody else reads or writes it now, and `bytes` is
    /// other memory.
    pub(super) unsafe fn write(&self, at: usize, bytes: &[u8], streaming: bool) {
        let target = self.at(at, bytes.len(), 64);
        if streaming {
            // SAFETY: inside the mapping and aligned (checked; the mapping starts at a page),
            // exclusive and not overlapping by the contract.
            unsafe { stream::copy(bytes, target) }
        } else {
            // SAFETY: as above.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), target, bytes.len()) }
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: exactly what `new` mapped; every reference into it borrows `self`.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}
