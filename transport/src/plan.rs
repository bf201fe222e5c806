//! What one rank does in one collective: the flows it sends and receives, as plain data.
//!
//! A [`Plan`] names buffers, not addresses, so that it can be computed once, checked without any
//! transport, and used for every call of the same shape.
//!
//! **Order and freedom from deadlock.** A transport carries the sends to one peer in the order of
//! [`Plan::sends`], chunk after chunk, and operations in the order of their numbers. Every gate of
//! a flow of step `s` names a flow of a smaller step, or a flow earlier in the same list. All ranks
//! number steps alike. So the undelivered chunk that is smallest by (operation, step) is always at
//! the head of its connection with its gates open, and can move.

use onepath_topology::Rank;

use crate::share::Shares;

/// Which buffer of a call a [`Span`] lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BufferId {
    /// What the caller gave to read; the same memory as `Output` for a call in place.
    Input,
    /// What the caller gave to write.
    Output,
    /// Memory of the communicator, [`Plan::scratch_bytes`] long, contents undefined at the start.
    Scratch,
}

/// A range of bytes of one buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The buffer.
    pub buffer: BufferId,
    /// First byte.
    pub offset: usize,
    /// Number of bytes; a whole number of elements.
    pub length: usize,
}

impl Span {
    /// `length` bytes of `buffer` from `offset` on.
    pub const fn new(buffer: BufferId, offset: usize, length: usize) -> Self {
        Self { buffer, offset, length }
    }

    /// One past the last byte.
    pub const fn end(self) -> usize {
        self.offset + self.length
    }
}

/// Tells the flows between two ranks apart inside one operation; sender and receiver use the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowTag(pub u32);

/// What must be finished before a chunk may move.
///
/// Gates work byte by byte: a chunk that covers bytes `lo..hi` of its buffer waits until the named
/// flow has finished those of its own bytes that lie below `hi` (in the same buffer's offsets).
/// Bytes of the named flow at or above `hi` are not waited for, which is what makes a chain of
/// steps a pipeline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct After {
    /// Index in [`Plan::receives`]: those bytes have been placed (and combined).
    pub receive: Option<u32>,
    /// Index in [`Plan::sends`]: those bytes have left and their memory may be written again. That
    /// is when they were copied, or, where they are not, when nobody will read them any more.
    pub send: Option<u32>,
}

impl After {
    /// Nothing to wait for.
    pub const NOTHING: Self = Self { receive: None, send: None };

    /// Wait for a receive flow.
    pub const fn receive(index: u32) -> Self {
        Self { receive: Some(index), send: None }
    }

    /// Wait for a send flow.
    pub const fn send(index: u32) -> Self {
        Self { receive: None, send: Some(index) }
    }
}

/// Bytes that this rank sends to one peer in one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendFlow {
    /// Step of the algorithm; flows of one step start together.
    pub step: u32,
    /// The receiver.
    pub peer: Rank,
    /// Unique for this peer and direction within the plan, rising with the position in the list.
    pub tag: FlowTag,
    /// Where the bytes are.
    pub source: Span,
    /// What each chunk waits for.
    pub after: After,
}

/// What happens to the bytes of a [`ReceiveFlow`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// They are written to the target.
    Store,
    /// The target becomes (bytes at `local`) combined with the incoming ones; `local` has the
    /// target's length and may be the target itself.
    Combine {
        /// The local operand.
        local: Span,
        /// Whether this completes the result, so that the kernel's finish (the division of `avg`)
        /// applies at once, while the bytes are in cache.
        finish: bool,
    },
}

/// Bytes that this rank receives from one peer in one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceiveFlow {
    /// Step of the algorithm.
    pub step: u32,
    /// The sender.
    pub peer: Rank,
    /// As the sender's flow has it.
    pub tag: FlowTag,
    /// Where the bytes go; as long as the sender's source.
    pub target: Span,
    /// Written or combined.
    pub placement: Placement,
    /// What each chunk waits for before it is placed.
    pub after: After,
}

/// Work on local memory alone, before any flow starts or after the last one has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocalAction {
    /// Copies `source` to `target` (no effect when they are the same memory).
    Copy {
        /// Read.
        source: Span,
        /// Written.
        target: Span,
    },
    /// `target` becomes `local` combined with `incoming`, finished if `finish`.
    Combine {
        /// Written.
        target: Span,
        /// First operand; may be the target.
        local: Span,
        /// Second operand.
        incoming: Span,
        /// Whether the kernel's finish applies.
        finish: bool,
    },
    /// The kernel's finish alone.
    Finish {
        /// Read and written.
        target: Span,
    },
}

/// All that one rank does in one operation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Done in order before any flow starts.
    pub prologue: Vec<LocalAction>,
    /// In the order in which chunks leave, per peer; steps never fall.
    pub sends: Vec<SendFlow>,
    /// Steps never fall; tags to one peer rise.
    pub receives: Vec<ReceiveFlow>,
    /// Done in order after the last flow has ended.
    pub epilogue: Vec<LocalAction>,
    /// How long the scratch buffer must be.
    pub scratch_bytes: usize,
    /// Which bytes of the sends take which path, once a transport has said so.
    pub shares: Shares,
}

/// Combines elements: `target[i] = local[i] ⊕ incoming[i]` for `elements` elements.
///
/// # Safety
/// Each pointer is valid for that many elements; `local` may equal `target`, `incoming` overlaps
/// neither. No alignment is required.
pub type CombineFn =
    unsafe fn(target: *mut u8, local: *const u8, incoming: *const u8, elements: usize);

/// Finishes elements in place: what `avg` does to a sum over `ranks` ranks.
///
/// # Safety
/// `target` is valid for that many elements. No alignment is required.
pub type FinishFn = unsafe fn(target: *mut u8, elements: usize, ranks: u32);

/// How the elements of a call are combined.
#[derive(Clone, Copy, Debug)]
pub struct Kernel {
    /// Size of one element.
    pub element_bytes: usize,
    /// The operation.
    pub combine: CombineFn,
    /// The last act, if there is one.
    pub finish: Option<FinishFn>,
    /// How many ranks contribute, for `finish`.
    pub ranks: u32,
}
