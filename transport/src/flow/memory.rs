//! The buffers of a call, and local work on them.

use crate::plan::{BufferId, Kernel, LocalAction, Span};

/// The three buffers of a call by address. The type itself allows nothing: every access to the
/// memory is in an `unsafe` function of this module or of `chunk`.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    bases: [*mut u8; 3],
    lengths: [usize; 3],
}

// SAFETY: `Memory` is addresses and lengths; whoever dereferences them proves that the memory may
// be used from its thread (`FlowTable::post` demands it of the caller).
unsafe impl Send for Memory {}

fn index(buffer: BufferId) -> usize {
    match buffer {
        BufferId::Input => 0,
        BufferId::Output => 1,
        BufferId::Scratch => 2,
    }
}

impl Memory {
    /// Buffers by address and length in bytes; `input` is never written through.
    pub fn new(
        input: (*const u8, usize),
        output: (*mut u8, usize),
        scratch: (*mut u8, usize),
    ) -> Self {
        Self {
            bases: [input.0.cast_mut(), output.0, scratch.0],
            lengths: [input.1, output.1, scratch.1],
        }
    }

    /// Whether the span lies inside its buffer.
    pub(super) fn contains(&self, span: Span) -> bool {
        span.offset
            .checked_add(span.length)
            .is_some_and(|end| end <= self.lengths[index(span.buffer)])
    }

    /// The address of the byte `at` of a span.
    ///
    /// # Safety
    /// The span lies inside its buffer, `at` is at most its length, the buffer is alive.
    pub(super) unsafe fn address(&self, span: Span, at: usize) -> *mut u8 {
        // SAFETY: the caller guarantees that offset + at stays inside one live buffer.
        unsafe { self.bases[index(span.buffer)].add(span.offset + at) }
    }

    /// Does one local action.
    ///
    /// # Safety
    /// Its spans lie inside their buffers (checked when the plan was posted), the buffers are
    /// alive and nobody else uses those bytes now.
    pub(super) unsafe fn perform(&self, action: LocalAction, kernel: Option<Kernel>) {
        match action {
            LocalAction::Copy { source, target } => {
                // SAFETY: both spans are inside live buffers by contract; `copy` allows overlap.
                unsafe {
                    let (from, to) = (self.address(source, 0), self.address(target, 0));
                    if from != to {
                        std::ptr::copy(from, to, source.length);
                    }
                }
            }
            LocalAction::Combine { target, local, incoming, finish } => {
                let Some(kernel) = kernel else { return };
                let elements = target.length / kernel.element_bytes;
                // SAFETY: the spans have equal lengths (checked at posting) and lie inside live
                // buffers, so each pointer is valid for `elements` elements.
                unsafe {
                    let out = self.address(target, 0);
                    let (a, b) = (self.address(local, 0), self.address(incoming, 0));
                    (kernel.combine)(out, a, b, elements);
                }
                if finish {
                    // SAFETY: as above.
                    unsafe { self.finish(target, kernel) };
                }
            }
            LocalAction::Finish { target } => {
                if let Some(kernel) = kernel {
                    // SAFETY: the caller's contract is the one of `finish`.
                    unsafe { self.finish(target, kernel) };
                }
            }
        }
    }

    /// # Safety
    /// As `perform`.
    unsafe fn finish(&self, target: Span, kernel: Kernel) {
        if let Some(finish) = kernel.finish {
            // SAFETY: the span lies inside a live buffer by the contract.
            unsafe {
                finish(self.address(target, 0), target.length / kernel.element_bytes, kernel.ranks);
            }
        }
    }
}
