//! How buffers are cut into segments and blocks.

use onepath_transport::plan::{BufferId, Span};

use super::{Call, Shape};

/// A buffer cut into one segment a rank; the first `count % n` are one element longer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segments {
    element_bytes: usize,
    /// Elements of the shorter segments.
    short: usize,
    /// How many segments have one more.
    longer: usize,
}

impl Segments {
    pub(super) fn of(call: &Call, shape: Shape) -> Self {
        let (short, longer) = (call.count / shape.n(), call.count % shape.n());
        Self { element_bytes: call.element_bytes, short, longer }
    }

    /// One segment of a buffer.
    pub(super) fn span(self, buffer: BufferId, segment: usize) -> Span {
        let start = segment * self.short + segment.min(self.longer);
        let elements = self.short + usize::from(segment < self.longer);
        Span::new(buffer, start * self.element_bytes, elements * self.element_bytes)
    }
}

/// Enough for a few chunks of any transport, so that a block is a pipeline, and so small that two
/// blocks stay in a core's cache between being combined and being sent.
const BLOCK_BYTES: usize = 1 << 20;

/// `length` bytes cut into blocks, for algorithms that keep partial results in two slots of
/// scratch in turn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Blocks {
    length: usize,
    block: usize,
}

impl Blocks {
    /// Two blocks fit into `scratch_limit` bytes, which must be room for two elements.
    pub(super) fn new(length: usize, element_bytes: usize, scratch_limit: usize) -> Self {
        let room = BLOCK_BYTES.min(scratch_limit / 2);
        let block = (room / element_bytes).max(1) * element_bytes;
        Self { length, block: block.min(length) }
    }

    /// All in one block, for plans in which no rank needs scratch.
    pub(super) fn one(length: usize) -> Self {
        Self { length, block: length }
    }

    /// Bytes of the longest block.
    pub(super) fn longest(self) -> usize {
        self.block
    }

    /// Offset and length of each block.
    pub(super) fn iter(self) -> impl Iterator<Item = (usize, usize)> {
        (0..self.length)
            .step_by(self.block.max(1))
            .map(move |at| (at, self.block.min(self.length - at)))
    }
}

/// Two slots of scratch that are used in turn. A slot is filled again only when what was in it has
/// been sent: each use is gated on the send two uses earlier, which is in a smaller step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slots {
    block: usize,
    uses: usize,
    /// The send that last read each slot.
    emptied_by: [Option<u32>; 2],
}

impl Slots {
    pub(super) fn new(block: usize) -> Self {
        Self { block, uses: 0, emptied_by: [None; 2] }
    }

    /// The next slot with room for `length` bytes, and the send that its first writer waits for.
    pub(super) fn fill(&mut self, length: usize) -> (Span, Option<u32>) {
        let slot = self.uses % 2;
        self.uses += 1;
        (Span::new(BufferId::Scratch, slot * self.block, length), self.emptied_by[slot])
    }

    /// Notes which send reads the slot that was filled last.
    pub(super) fn emptied(&mut self, send: Option<u32>) {
        self.emptied_by[(self.uses + 1) % 2] = send;
    }
}
