//! The sending half towards one peer: chunks cut into slots of the peer's ring.

use std::time::Instant;

use onepath_topology::Rank;

use crate::flow::{FlowTable, OutgoingChunk, SendQueue};
use crate::wire::WireError;
use crate::{Activity, TransportError};

use super::doorbell;
use super::pace::{Pace, SlotCopy};
use super::ring::Producer;
use super::segment::Shared;
use super::slots::RingMemory;
use super::tiny;

/// What sending waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waits {
    /// For the next poll only.
    Nothing,
    /// For a free slot.
    Slot,
    /// For a gate, or for something to send: another chunk must end or an operation be posted.
    Flow,
}

#[derive(Debug)]
pub(super) struct Sender {
    ring: Producer<RingMemory>,
    /// A chunk of which some slots have been published, and how many bytes those took.
    partial: Option<(OutgoingChunk, usize)>,
    waits: Waits,
    pace: Pace,
}

impl Sender {
    pub(super) fn new(ring: RingMemory, copy: SlotCopy) -> Self {
        Self {
            ring: Producer::new(ring),
            partial: None,
            waits: Waits::Nothing,
            pace: Pace::new(copy),
        }
    }

    /// Whether there is something to send.
    pub(super) fn is_busy(&self, queue: &SendQueue) -> bool {
        self.partial.is_some() || !queue.is_empty()
    }

    /// Whether a poll might send something now, as far as the ring tells.
    pub(super) fn may_move(&self, queue: &SendQueue) -> bool {
        self.is_busy(queue)
            && match self.waits {
                Waits::Nothing => true,
                Waits::Slot => self.ring.may_claim(),
                Waits::Flow => false,
            }
    }

    /// Fills at most `burst` slots.
    pub(super) fn poll(
        &mut self,
        peer: Rank,
        remote: &Shared,
        queue: &mut SendQueue,
        table: &mut FlowTable,
        burst: usize,
    ) -> Result<Activity, TransportError> {
        let mut activity = Activity::Idle;
        self.waits = Waits::Nothing;
        for _ in 0..burst {
            if !self.is_busy(queue) {
                break;
            }
            if remote.is_closed() {
                return Err(TransportError::Closed { peer });
            }
            let claimed = self.ring.claim().map_err(|count| {
                let problem = WireError::RingCount { found: count.0 };
                TransportError::Protocol { peer, problem }
            })?;
            let Some(slot) = claimed else {
                self.waits = Waits::Slot;
                break;
            };
            let pulled = || table.pull(queue).map(|chunk| (chunk, 0));
            let Some(next) = self.partial.take().or_else(pulled) else {
                self.waits = Waits::Flow;
                break;
            };
            self.fill(slot, next, table);
            activity = Activity::Moved;
        }
        // Once for all slots: a bell costs a full fence.
        if activity == Activity::Moved {
            doorbell::ring(remote.doorbell());
        }
        Ok(activity)
    }

    /// Writes the next piece of a chunk to a claimed slot and publishes it.
    fn fill(&mut self, slot: usize, (chunk, done): (OutgoingChunk, usize), table: &mut FlowTable) {
        let cells = self.ring.cells();
        // SAFETY: the table keeps the operation until `sent` below has been called for every chunk
        // of it, and `cancel` drops this sender.
        let payload = unsafe { chunk.payload() };
        if let Some(word) = tiny::pack(payload) {
            cells.write_header(slot, &chunk.header(self.ring.number(), word));
            self.ring.publish();
            table.sent(&chunk);
            return;
        }
        if done == 0 {
            cells.write_header(slot, &chunk.header(self.ring.number(), 0));
        }
        let end = payload.len().min(done + cells.slot_bytes());
        let piece = &payload[done..end];
        let choice = self.pace.choose(piece.len());
        let start = choice.timed.then(Instant::now);
        // SAFETY: `claim` gave this slot, `publish` comes after; callers' buffers lie in no
        // segment.
        unsafe { cells.write_payload(slot, piece, choice.streaming) };
        self.ring.publish();
        if let Some(start) = start {
            self.pace.note(choice, piece.len(), start.elapsed());
        }
        if end == payload.len() {
            table.sent(&chunk);
        } else {
            self.partial = Some((chunk, end));
        }
    }
}
