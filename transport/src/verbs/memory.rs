//! Memory that a device reads and writes on its own.
//!
//! A device is an agent outside the program: as long as memory is registered for it, a work request
//! of ours or one of the peer's may change its bytes at any moment. So no reference to such bytes
//! is ever made here. They are reached by atomic loads and stores, under which a change by
//! others is a value that nobody can foretell, but no undefined behaviour.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// Pages of 4 KiB: the least alignment at which two regions share no page.
const ALIGNMENT: usize = 4096;

/// Whole pages of zeros, owned.
#[derive(Debug)]
pub(super) struct Pages {
    start: NonNull<u8>,
    layout: Layout,
}

// SAFETY: memory belongs to no thread, and this type gives no access to it.
unsafe impl Send for Pages {}
// SAFETY: as above.
unsafe impl Sync for Pages {}

impl Pages {
    /// At least `bytes` bytes; nothing if so many cannot even be addressed.
    pub(super) fn new(bytes: usize) -> Option<Self> {
        let layout = Layout::from_size_align(bytes.max(1), ALIGNMENT).ok()?;
        let layout = Layout::from_size_align(layout.pad_to_align().size(), ALIGNMENT).ok()?;
        // SAFETY: the size is not zero.
        let start = unsafe { alloc_zeroed(layout) };
        let Some(start) = NonNull::new(start) else { handle_alloc_error(layout) };
        Some(Self { start, layout })
    }

    pub(super) fn start(&self) -> NonNull<u8> {
        self.start
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout, freed once. Who registered it has ended the
        // registration before (`MemoryRegion::drop`).
        unsafe { dealloc(self.start.as_ptr(), self.layout) };
    }
}

/// Splits `length` bytes at an address into those before the first whole 8-byte word, whole words,
/// and the rest.
fn split(start: *const u8, length: usize) -> (usize, usize) {
    let head = start.align_offset(8).min(length);
    (head, (length - head) / 8)
}

/// Copies memory that a device may be changing.
///
/// # Safety
/// `from` is valid for reads of `to.len()` bytes, by atomics, and no reference to them exists.
pub(super) unsafe fn load(from: *mut u8, to: &mut [u8]) {
    let (head, words) = split(from, to.len());
    let byte = |at: usize| {
        // SAFETY: `at` is less than the length; a byte has no alignment.
        unsafe { AtomicU8::from_ptr(from.add(at)) }.load(Ordering::Relaxed)
    };
    let (front, rest) = to.split_at_mut(head);
    for (at, to) in front.iter_mut().enumerate() {
        *to = byte(at);
    }
    let mut chunks = rest.chunks_exact_mut(8);
    for (at, to) in chunks.by_ref().enumerate() {
        debug_assert!(at < words, "as many chunks as words");
        // SAFETY: the word lies inside the range and at a multiple of 8, where `head` ends.
        let word = unsafe { AtomicU64::from_ptr(from.add(head + 8 * at).cast()) };
        to.copy_from_slice(&word.load(Ordering::Relaxed).to_ne_bytes());
    }
    for (at, to) in chunks.into_remainder().iter_mut().enumerate() {
        *to = byte(head + 8 * words + at);
    }
}

/// Copies to memory that a device may be reading or changing.
///
/// # Safety
/// `to` is valid for writes of `from.len()` bytes, by atomics, and no reference to them exists.
pub(super) unsafe fn store(to: *mut u8, from: &[u8]) {
    let (head, words) = split(to, from.len());
    let put = |at: usize, byte: u8| {
        // SAFETY: `at` is less than the length; a byte has no alignment.
        unsafe { AtomicU8::from_ptr(to.add(at)) }.store(byte, Ordering::Relaxed);
    };
    let (front, rest) = from.split_at(head);
    for (at, &byte) in front.iter().enumerate() {
        put(at, byte);
    }
    let chunks = rest.chunks_exact(8);
    for (at, &byte) in chunks.remainder().iter().enumerate() {
        put(head + 8 * words + at, byte);
    }
    for (at, from) in chunks.enumerate() {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(from);
        // SAFETY: the word lies inside the range and at a multiple of 8, where `head` ends.
        let word = unsafe { AtomicU64::from_ptr(to.add(head + 8 * at).cast()) };
        word.store(u64::from_ne_bytes(bytes), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_start_and_length_is_copied_in_and_out_and_touches_nothing_else() {
        let pages = Pages::new(1).expect("one page");
        let start = pages.start().as_ptr();
        let data: Vec<u8> = (1..=64).collect();
        for at in 0..17 {
            for length in 0..40 {
                // SAFETY: the page is ours, and its first 64 bytes are in it.
                unsafe {
                    store(start, &[0; 64]);
                    store(start.add(at), &data[..length]);
                }
                let (mut all, mut part) = ([9; 64], vec![9; length]);
                // SAFETY: as above.
                unsafe {
                    load(start, &mut all);
                    load(start.add(at), &mut part);
                }
                assert_eq!(part, data[..length], "{length} bytes at {at}");
                assert_eq!(all[at..at + length], data[..length]);
                assert!(all[..at].iter().chain(&all[at + length..]).all(|&byte| byte == 0));
            }
        }
    }

    #[test]
    fn pages_are_whole_aligned_and_zero() {
        let pages = Pages::new(4097).expect("two pages");
        assert_eq!(pages.start().as_ptr().addr() % ALIGNMENT, 0);
        assert_eq!(pages.layout.size(), 8192);
        let mut bytes = [1; 8192];
        // SAFETY: the pages have this size.
        unsafe { load(pages.start().as_ptr(), &mut bytes) };
        assert_eq!(bytes, [0; 8192]);
        assert!(Pages::new(usize::MAX).is_none());
    }
}
