//! A chunk on its way out or in: the only places where transports touch callers' memory.

use crate::plan::{CombineFn, FinishFn, FlowTag};
use crate::wire::{ChunkHeader, ChunkKind, OperationId, Signature};

use super::table::Slot;

/// A chunk to send, pulled from a queue.
#[derive(Clone, Copy, Debug)]
pub struct OutgoingChunk {
    pub(super) slot: Slot,
    pub(super) send: u32,
    pub(super) operation: OperationId,
    pub(super) tag: FlowTag,
    pub(super) offset: usize,
    pub(super) signature: Signature,
    pub(super) data: *const u8,
    pub(super) length: usize,
}

// SAFETY: an address and plain numbers; dereferencing it is `unsafe` and proved where it is done.
unsafe impl Send for OutgoingChunk {}

impl OutgoingChunk {
    /// Payload bytes.
    pub fn length(&self) -> usize {
        self.length
    }

    /// The header for the subflow's chunk number `chunk`, acknowledging `acknowledged`.
    pub fn header(&self, chunk: u64, acknowledged: u64) -> ChunkHeader {
        ChunkHeader {
            kind: ChunkKind::Data,
            length: self.length as u32,
            operation: self.operation,
            tag: self.tag,
            offset: self.offset as u64,
            signature: self.signature,
            chunk,
            acknowledged,
        }
    }

    /// The operation that it belongs to.
    pub(crate) fn slot(&self) -> Slot {
        self.slot
    }

    /// Index of its flow among the operation's sends.
    pub(crate) fn send(&self) -> u32 {
        self.send
    }

    /// Where the payload is: only for comparing, and for devices.
    pub(crate) fn address(&self) -> *const u8 {
        self.data
    }

    /// The same chunk with its payload read from `data`, which holds a copy of it.
    pub(crate) fn copied_to(mut self, data: *const u8) -> Self {
        self.data = data;
        self
    }

    /// The payload.
    ///
    /// # Safety
    /// The operation has neither been completed, released nor cancelled since this chunk was
    /// pulled, so the caller's buffer is alive and, by the plan's gates, not being written.
    pub unsafe fn payload<'a>(&self) -> &'a [u8] {
        // SAFETY: `data` and `length` are inside the buffer (checked when the plan was posted),
        // alive by the contract above.
        unsafe { std::slice::from_raw_parts(self.data, self.length) }
    }
}

/// A chunk that is arriving, with its place.
#[derive(Clone, Copy, Debug)]
pub struct IncomingChunk {
    pub(super) slot: Slot,
    pub(super) receive: u32,
    pub(super) offset: usize,
    pub(super) length: usize,
    pub(super) target: *mut u8,
    /// `None`: the bytes are stored as they are.
    pub(super) combine: Option<Combine>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Combine {
    pub(super) local: *const u8,
    pub(super) kernel: CombineFn,
    pub(super) finish: Option<FinishFn>,
    pub(super) ranks: u32,
    pub(super) element_bytes: usize,
}

// SAFETY: addresses and plain numbers; dereferencing them is `unsafe` and proved where it is done.
unsafe impl Send for IncomingChunk {}

impl IncomingChunk {
    /// Payload bytes.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Whether the bytes go to the target unchanged, so that a read may land there directly.
    pub fn is_store(&self) -> bool {
        self.combine.is_none()
    }

    /// The part of the target that is not filled after `done` bytes; only for a stored chunk.
    ///
    /// # Safety
    /// The operation has neither been completed, released nor cancelled since the match; `done`
    /// is at most the length; no other reference to these bytes is alive.
    pub unsafe fn window<'a>(&self, done: usize) -> &'a mut [u8] {
        debug_assert!(self.is_store() && done <= self.length);
        // SAFETY: target..target+length lies inside the output or scratch buffer (checked at
        // posting), alive and unaliased by the contract.
        unsafe { std::slice::from_raw_parts_mut(self.target.add(done), self.length - done) }
    }

    /// Places `bytes` behind the first `done` ones and returns how many of them it took: all, or
    /// the whole elements among them.
    ///
    /// # Safety
    /// As [`window`](Self::window).
    pub unsafe fn place(&self, done: usize, bytes: &[u8]) -> usize {
        let take = bytes.len().min(self.length - done);
        let Some(combine) = self.combine else {
            // SAFETY: `done + take` is at most the length; source and target cannot overlap,
            // since the source is the transport's own memory.
            unsafe {
                std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.target.add(done), take);
            }
            return take;
        };
        let elements = take / combine.element_bytes;
        // SAFETY: `done` and `take` stay inside the spans of target and local operand, which were
        // checked to have the flow's length; `bytes` is the transport's own memory.
        unsafe {
            let target = self.target.add(done);
            (combine.kernel)(target, combine.local.add(done), bytes.as_ptr(), elements);
            if let Some(finish) = combine.finish {
                finish(target, elements, combine.ranks);
            }
        }
        elements * combine.element_bytes
    }
}
