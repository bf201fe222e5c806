//! The table of operations in flight.

use std::collections::VecDeque;

use onepath_topology::{Nanos, Rank, WorldSize};

use crate::plan::{After, FlowTag, Kernel, Plan, Span};
use crate::share::Share;
use crate::wire::{ChunkHeader, OperationId, Signature};

use super::chunk::{IncomingChunk, OutgoingChunk};
use super::memory::Memory;
use super::operation::Operation;

/// How many operations of one communicator may be in flight.
pub const MAX_IN_FLIGHT: usize = 128;

/// Place of an operation in the table. One that was released is recognised as such, whatever is in
/// its place now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    index: u32,
    /// How often the place was given back before.
    generation: u32,
}

impl Slot {
    fn at(self) -> usize {
        self.index as usize
    }
}

/// An operation to start.
#[derive(Clone, Copy, Debug)]
pub struct Posting<'a> {
    /// Its number.
    pub id: OperationId,
    /// What the caller asked for, to be compared with what peers say.
    pub signature: Signature,
    /// What to do.
    pub plan: &'a Plan,
    /// On which memory.
    pub memory: Memory,
    /// How to combine; needed when the plan combines.
    pub kernel: Option<Kernel>,
    /// Size of all chunks but each flow's last; the same on all ranks, a multiple of the element.
    pub chunk_bytes: usize,
    /// The time, for finding late operations.
    pub now: Nanos,
}

/// Why an operation was not started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PostError {
    /// [`MAX_IN_FLIGHT`] operations are in flight.
    #[error("{MAX_IN_FLIGHT} operations are in flight, which is the limit: wait for one first")]
    TooMany,
    /// A span of the plan leaves its buffer.
    #[error("the plan's {span:?} leaves its buffer")]
    SpanOutOfRange {
        /// The span.
        span: Span,
    },
    /// The plan writes the input.
    #[error("the plan writes {span:?} of the input")]
    InputWritten {
        /// The span.
        span: Span,
    },
    /// Spans that belong together have different lengths.
    #[error("{one:?} and {other:?} should have one length")]
    LengthsDiffer {
        /// The first.
        one: Span,
        /// The second.
        other: Span,
    },
    /// A gate names a flow that the plan does not have.
    #[error("the gate {after:?} names no flow of the plan")]
    GateUnknown {
        /// The gate.
        after: After,
    },
    /// The plan combines, but no kernel was given.
    #[error("the plan combines but no kernel was given")]
    NoKernel,
}

/// What became of an incoming header.
#[derive(Clone, Copy, Debug)]
pub enum Match {
    /// This rank has not posted the operation: leave the bytes where they are.
    NotPosted,
    /// A gate is closed: leave the bytes where they are.
    Closed,
    /// Place the payload there.
    Open(IncomingChunk),
}

/// A header that contradicts what this rank is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MatchError {
    /// The peer made another call.
    #[error("the peer's call differs: {theirs:?}, not {ours:?}")]
    CallsDiffer {
        /// The operation.
        operation: OperationId,
        /// This rank's call.
        ours: Signature,
        /// The peer's.
        theirs: Signature,
    },
    /// The call is the same but the plan has no such flow or chunk.
    #[error("no chunk at {offset} with {length} bytes is expected in flow {tag:?}")]
    ChunkUnknown {
        /// The flow.
        tag: FlowTag,
        /// Position in the flow.
        offset: u64,
        /// Payload bytes.
        length: u32,
    },
    /// The operation ended on this rank before the chunk came.
    #[error("the operation {operation:?} is over on this rank")]
    OperationOver {
        /// The operation.
        operation: OperationId,
        /// The peer's call, which may be another than this rank's was.
        theirs: Signature,
    },
}

/// Flows to one peer, in the order in which their chunks leave.
#[derive(Debug, Default)]
pub struct SendQueue(VecDeque<(Slot, u32)>);

impl SendQueue {
    /// Whether nothing is left to send.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Appends send flow `index` of an operation.
    pub fn push(&mut self, slot: Slot, index: u32) {
        self.0.push_back((slot, index));
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Free,
    Active,
    Complete,
}

/// All operations in flight of one communicator on one rank.
#[derive(Debug)]
pub struct FlowTable {
    operations: Vec<Operation>,
    states: Vec<State>,
    generations: Vec<u32>,
    /// Slots in use, oldest first.
    active: Vec<Slot>,
    /// Per peer: receive flows that are not complete.
    expected: Vec<u32>,
    /// Collectives below this number have been posted.
    next_collective: u64,
    /// Per peer: receiving transfers below this number have been posted.
    next_transfers: Vec<u64>,
    /// See [`changes`](Self::changes).
    changes: u64,
}

impl FlowTable {
    /// An empty table for a world of this size.
    pub fn new(world: WorldSize) -> Self {
        Self {
            operations: (0..MAX_IN_FLIGHT).map(|_| Operation::vacant()).collect(),
            states: vec![State::Free; MAX_IN_FLIGHT],
            generations: vec![0; MAX_IN_FLIGHT],
            active: Vec::with_capacity(MAX_IN_FLIGHT),
            expected: vec![0; world.get()],
            next_collective: 0,
            next_transfers: vec![0; world.get()],
            changes: 0,
        }
    }

    /// Starts an operation; then give the slot to [`crate::Transport::post`].
    ///
    /// # Safety
    /// Until the operation is complete, or the transports that it was given to are cancelled, the
    /// buffers of `posting.memory` stay alive at their addresses, nobody else writes them, and
    /// nobody else reads the output and scratch buffers. The kernel works as its type demands.
    pub unsafe fn post(&mut self, posting: &Posting<'_>) -> Result<Slot, PostError> {
        let free = self.states.iter().position(|&s| s == State::Free).ok_or(PostError::TooMany)?;
        let slot = Slot { index: free as u32, generation: self.generations[free] };
        // SAFETY: the caller's contract is the one of `begin`.
        unsafe { self.operations[free].begin(posting)? };
        self.states[free] = State::Active;
        self.changes += 1;
        self.active.push(slot);
        for peer in self.operations[free].receive_peers() {
            self.expected[peer.index()] += 1;
            if posting.id.is_point_to_point() {
                self.next_transfers[peer.index()] = posting.id.number() + 1;
            }
        }
        if !posting.id.is_point_to_point() {
            self.next_collective = posting.id.number() + 1;
        }
        self.settle(slot);
        Ok(slot)
    }

    /// The send flows of an operation in plan order: index and peer. A transport pushes those of
    /// the peers that it serves to their queues.
    pub fn sends(&self, slot: Slot) -> impl Iterator<Item = (u32, Rank)> + '_ {
        self.operations[slot.at()].send_peers()
    }

    /// The next chunk for the peer of `queue`, unless there is none or its gates are closed.
    pub fn pull(&mut self, queue: &mut SendQueue) -> Option<OutgoingChunk> {
        let &(slot, index) = queue.0.front()?;
        let (chunk, last) = self.operations[slot.at()].pull(slot, index)?;
        if last {
            queue.0.pop_front();
        }
        Some(chunk)
    }

    /// Which bytes of an operation's sends take which path, sorted by send and offset.
    pub fn shares(&self, slot: Slot) -> &[Share] {
        self.operations[slot.at()].shares()
    }

    /// Bytes of send flow `index` of an operation.
    pub fn send_bytes(&self, slot: Slot, index: u32) -> usize {
        self.operations[slot.at()].send_bytes(index)
    }

    /// Size of all chunks of an operation but each flow's last.
    pub(crate) fn chunk_bytes(&self, slot: Slot) -> usize {
        self.operations[slot.at()].chunk_bytes()
    }

    /// The chunk of send flow `index` that begins at `offset`, unless its gates are closed: for a
    /// transport that cuts flows itself. Each chunk is to be sent once, and told by `sent`.
    pub fn chunk_at(&self, slot: Slot, index: u32, offset: usize) -> Option<OutgoingChunk> {
        self.operations[slot.at()].chunk_at(slot, index, offset)
    }

    /// Counts postings and ended chunks: where it stands still, no gate has opened.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// Notes that a pulled chunk has left and its memory may be written again.
    pub fn sent(&mut self, chunk: &OutgoingChunk) {
        self.changes += 1;
        if self.holds(chunk.slot) && self.operations[chunk.slot.at()].sent(chunk) {
            self.settle(chunk.slot);
        }
    }

    /// Finds the place of an incoming chunk. An open one is the caller's to place, and matches
    /// nobody else until it is [abandoned](Self::abandon).
    pub fn match_chunk(&mut self, peer: Rank, header: &ChunkHeader) -> Result<Match, MatchError> {
        let Some(slot) = self.find(peer, header.operation) else {
            let over = !header.operation.is_point_to_point()
                && header.operation.number() < self.next_collective;
            return if over {
                Err(MatchError::OperationOver {
                    operation: header.operation,
                    theirs: header.signature,
                })
            } else {
                Ok(Match::NotPosted)
            };
        };
        let operation = &self.operations[slot.at()];
        if operation.signature != header.signature {
            return Err(MatchError::CallsDiffer {
                operation: header.operation,
                ours: operation.signature,
                theirs: header.signature,
            });
        }
        let unknown = MatchError::ChunkUnknown {
            tag: header.tag,
            offset: header.offset,
            length: header.length,
        };
        let length = header.length as usize;
        let index = operation.find(peer, header.tag).ok_or(unknown)?;
        if !operation.is_chunk(index, header.offset, length) {
            return Err(unknown);
        }
        let Some(chunk) = operation.place(slot, index, header.offset as usize, length) else {
            return Ok(Match::Closed);
        };
        self.operations[slot.at()].claim(&chunk);
        Ok(Match::Open(chunk))
    }

    /// A matched chunk will not be placed, at least not by whom it was matched for, who must not
    /// touch its place any more.
    pub fn abandon(&mut self, chunk: &IncomingChunk) {
        if self.holds(chunk.slot) {
            self.operations[chunk.slot.at()].unclaim(chunk);
        }
    }

    /// Whether a chunk that was sent again has been placed before, in an operation that may have
    /// ended since.
    pub fn is_placed(&self, peer: Rank, header: &ChunkHeader) -> bool {
        let id = header.operation;
        if let Some(slot) = self.find(peer, id) {
            let operation = &self.operations[slot.at()];
            let receive = operation.find(peer, header.tag);
            return receive.is_some_and(|index| operation.has_chunk(index, header.offset));
        }
        let posted = if id.is_point_to_point() {
            self.next_transfers[peer.index()]
        } else {
            self.next_collective
        };
        id.number() < posted
    }

    /// Notes that a matched chunk has been placed.
    pub fn received(&mut self, peer: Rank, chunk: &IncomingChunk) {
        self.changes += 1;
        if self.holds(chunk.slot) && self.operations[chunk.slot.at()].received(chunk) {
            self.expected[peer.index()] -= 1;
            self.settle(chunk.slot);
        }
    }

    /// Whether bytes from `peer` are expected by an operation in flight.
    pub fn expects(&self, peer: Rank) -> bool {
        self.expected[peer.index()] > 0
    }

    /// How many receive flows from `peer` are not complete.
    pub fn expected_flows(&self, peer: Rank) -> u32 {
        self.expected[peer.index()]
    }

    /// Whether the operation has ended.
    pub fn is_complete(&self, slot: Slot) -> bool {
        !self.holds(slot) || self.states[slot.at()] == State::Complete
    }

    /// Whether the slot has not been released.
    fn holds(&self, slot: Slot) -> bool {
        self.generations[slot.at()] == slot.generation
    }

    /// Gives the slot back, after completion or after every transport was cancelled. Without
    /// effect if that was done before.
    pub fn release(&mut self, slot: Slot) {
        if self.holds(slot) {
            self.states[slot.at()] = State::Free;
            self.generations[slot.at()] = slot.generation.wrapping_add(1);
            self.active.retain(|&s| s != slot);
        }
    }

    /// Gives back every slot, as `release` does.
    pub fn release_all(&mut self) {
        while let Some(&slot) = self.active.last() {
            self.release(slot);
        }
        self.expected.fill(0);
    }

    /// Operations that have not been released, oldest first.
    pub fn held(&self) -> impl Iterator<Item = Slot> + '_ {
        self.active.iter().copied()
    }

    /// Operations in flight that are not complete, oldest first.
    pub fn pending(&self) -> impl Iterator<Item = Slot> + '_ {
        self.active.iter().copied().filter(|s| self.states[s.at()] == State::Active)
    }

    /// When an operation was posted.
    pub fn posted_at(&self, slot: Slot) -> Nanos {
        self.operations[slot.at()].posted
    }

    /// An operation's number and call.
    pub fn identity(&self, slot: Slot) -> (OperationId, Signature) {
        let operation = &self.operations[slot.at()];
        (operation.id, operation.signature)
    }

    /// Ranks from which bytes are missing; may name a rank more than once.
    pub fn waiting_for(&self, slot: Slot) -> impl Iterator<Item = Rank> + '_ {
        self.operations[slot.at()].waiting_for()
    }

    fn find(&self, peer: Rank, id: OperationId) -> Option<Slot> {
        self.active.iter().copied().find(|slot| {
            let at = slot.at();
            let operation = &self.operations[at];
            operation.id == id
                && self.states[at] == State::Active
                && (!id.is_point_to_point() || operation.receive_peers().any(|p| p == peer))
        })
    }

    fn settle(&mut self, slot: Slot) {
        let at = slot.at();
        if self.states[at] == State::Active && self.operations[at].is_drained() {
            // SAFETY: every flow has ended, so no chunk is under way; the buffers are ours until
            // the state says complete.
            unsafe { self.operations[at].end() };
            self.states[at] = State::Complete;
        }
    }
}
