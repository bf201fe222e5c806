//! Copying past the cache.
//!
//! A slot that the peer has just read lies in the cache of its core. Writing it by plain stores
//! fetches every line from there, and reading it fetches them back. When the two cores share no
//! cache that runs at 2 GB/s where this was written; streaming stores write whole lines to memory
//! without fetching them, and the reader's prefetcher brings them in: 8 to 12 GB/s. Where the cores
//! share a cache, plain stores are a little faster.

/// Copies `source` to `target` past the cache, where the processor can.
///
/// # Safety
/// `target` is valid for `source.len()` bytes, aligned to 16, nobody else uses those bytes now, and
/// they do not overlap `source`.
#[cfg(target_arch = "x86_64")]
pub(super) unsafe fn copy(source: &[u8], target: *mut u8) {
    use std::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_sfence, _mm_stream_si128};
    let (lines, rest) = source.as_chunks::<64>();
    let mut at = target.cast::<__m128i>();
    for line in lines {
        let from = line.as_ptr().cast::<__m128i>();
        for part in 0..4 {
            // SAFETY: `line` has 64 bytes, any alignment will do for the load; the targets of all
            // lines together are inside the caller's range, which is aligned for the store. SSE2
            // is part of x86-64.
            unsafe {
                let value = _mm_loadu_si128(from.add(part));
                _mm_stream_si128(at.add(part), value);
            }
        }
        // SAFETY: at most one past the end of the caller's range.
        at = unsafe { at.add(4) };
    }
    // SAFETY: less than a line is left of source and target alike, apart by the contract.
    unsafe { std::ptr::copy_nonoverlapping(rest.as_ptr(), at.cast::<u8>(), rest.len()) };
    // Streaming stores are ordered by this alone: no release store would hold back for them.
    // SAFETY: SSE is part of x86-64.
    unsafe { _mm_sfence() };
}

/// Copies `source` to `target`; this processor has no streaming stores that Rust knows.
///
/// # Safety
/// `target` is valid for `source.len()` bytes, nobody else uses those bytes now, and they do not
/// overlap `source`.
#[cfg(not(target_arch = "x86_64"))]
pub(super) unsafe fn copy(source: &[u8], target: *mut u8) {
    // SAFETY: the caller's contract.
    unsafe { std::ptr::copy_nonoverlapping(source.as_ptr(), target, source.len()) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_and_source_alignment_is_copied_whole_and_no_further() {
        #[repr(align(64))]
        struct Aligned([u8; 512]);
        let source: Vec<u8> = (0..=255).cycle().take(512).collect();
        for length in 0..300 {
            for start in 0..20 {
                let mut target = Aligned([0xEE; 512]);
                let piece = &source[start..start + length];
                // SAFETY: 512 bytes are enough, aligned and ours.
                unsafe { copy(piece, target.0.as_mut_ptr()) };
                assert_eq!(&target.0[..length], piece);
                assert!(target.0[length..].iter().all(|&b| b == 0xEE));
            }
        }
    }
}
