//! What waits to be sent to one peer, in what order.
//!
//! **Freedom from deadlock.** Every chunk has an [`Order`]: its operation in the order of posting,
//! its send in the order of the plan, its place in the flow; gates name only smaller ones. Queues
//! are sorted. **The last free slot of a lane may be taken only by the smallest chunk to this peer
//! that may still need a slot**: that waits, is under way without a credit, or was lost with a
//! queue pair. So take the smallest chunk of all ranks that is not delivered:
//!
//! - It is in a slot of its receiver: its gates are open, since all smaller ones were delivered,
//!   and it is placed, whatever is in other slots.
//! - It is under way: it arrives, or its queue pair fails and it is lost.
//! - It waits or was lost: it is the head of its queue. If its lane had no free slot, the last one
//!   would have been taken by a chunk that was the smallest at that time, this one being among
//!   those that it was compared with, or posted later and therefore larger. So that is smaller than
//!   the smallest that is not delivered: it was delivered, and its credit comes back. It comes over
//!   the lane itself, which is open; where the lane is not, its chunks may take any other. (A slot
//!   that is lent is free when its request has completed as well, which is for devices to do. Gates
//!   on sends open likewise: what was delivered completes, or its queue pair fails and its end is
//!   told, for which nobody needs a slot.)
//!
//! What a peer keeps in slots of a closed queue pair needs no slot any more and does not count. Its
//! credits come when the lane is open again, so nothing may wait for them.

use std::collections::VecDeque;

use crate::flow::{FlowTable, OutgoingChunk, Slot};
use crate::tcp::pinned::Sharing;

/// Where a chunk stands among all that are sent to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Order {
    /// Operations are counted as they are posted.
    pub(super) operation: u64,
    /// Index of the send in the plan.
    pub(super) send: u32,
    /// First byte, counted in the flow.
    pub(super) offset: usize,
}

/// Chunks of one send at equal distances.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    pub(super) slot: Slot,
    pub(super) operation: u64,
    pub(super) send: u32,
    /// The next chunk.
    pub(super) offset: usize,
    /// From one chunk to the next.
    pub(super) stride: usize,
    /// All chunks begin before this.
    pub(super) end: usize,
}

impl Segment {
    fn order(&self) -> Order {
        Order { operation: self.operation, send: self.send, offset: self.offset }
    }
}

/// A chunk that was lost with a queue pair: in this staging slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lost {
    pub(super) order: Order,
    pub(super) lane: u8,
    pub(super) slot: u8,
}

/// Where the next chunk of a lane comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// It is sent again.
    Again(Lost),
    /// The lane's own queue.
    Own,
    /// The queue for any lane.
    Any,
    /// The queue of another lane, which is full.
    Other(usize),
}

/// A chunk that may go over a lane.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) source: Source,
    pub(super) order: Order,
    /// Nothing for one that is sent again.
    pub(super) chunk: Option<OutgoingChunk>,
}

/// Whether another lane may be helped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// It has slots of its own.
    Free,
    /// It has none.
    Full,
}

/// Whether a chunk may take one of so many free slots of a lane, where `smallest` finds that of all
/// chunks to this peer that may still need one.
pub(super) fn may_take(free: u32, chunk: Order, smallest: impl FnOnce() -> Option<Order>) -> bool {
    match free {
        0 => false,
        1 => smallest() == Some(chunk),
        _ => true,
    }
}

/// All that waits for one peer.
#[derive(Debug)]
pub(super) struct Queue {
    lanes: Vec<VecDeque<Segment>>,
    any: VecDeque<Segment>,
    /// Sorted.
    again: VecDeque<Lost>,
    sharing: Sharing,
}

impl Queue {
    pub(super) fn new(lanes: usize, slots: u16, sharing: Sharing) -> Self {
        Self {
            lanes: (0..lanes).map(|_| VecDeque::with_capacity(64)).collect(),
            any: VecDeque::with_capacity(64),
            again: VecDeque::with_capacity(lanes * usize::from(slots)),
            sharing,
        }
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.any.is_empty() && self.again.is_empty() && self.lanes.iter().all(VecDeque::is_empty)
    }

    /// Appends chunks for one lane.
    pub(super) fn push(&mut self, lane: usize, segment: Segment) {
        self.lanes[lane].push_back(segment);
    }

    /// Appends chunks for any lane.
    pub(super) fn push_any(&mut self, segment: Segment) {
        self.any.push_back(segment);
    }

    /// A lane is closed: what waits for it may take any.
    pub(super) fn release(&mut self, lane: usize) {
        self.any.extend(self.lanes[lane].drain(..));
        self.any.make_contiguous().sort_unstable_by_key(Segment::order);
    }

    /// Appends what was lost.
    pub(super) fn lose(&mut self, lost: impl Iterator<Item = Lost>) {
        self.again.extend(lost);
        self.again.make_contiguous().sort_unstable_by_key(|lost| lost.order);
    }

    /// The smallest of all that wait.
    pub(super) fn smallest(&self) -> Option<Order> {
        let again = self.again.front().map(|lost| lost.order);
        let waiting = self.lanes.iter().chain([&self.any]).filter_map(VecDeque::front);
        waiting.map(Segment::order).chain(again).min()
    }

    /// What may go over a lane next: the smallest of what is to be sent again, its own and what
    /// may take any, if its gates are open. If there is nothing of these and the lane is `idle`,
    /// a chunk of the lane with the longest queue among those that are full.
    pub(super) fn candidate(
        &self,
        lane: usize,
        idle: bool,
        table: &FlowTable,
        room: impl Fn(usize) -> Room,
    ) -> Option<Candidate> {
        let open = |source, queue: &VecDeque<Segment>| {
            let segment = queue.front()?;
            let chunk = table.chunk_at(segment.slot, segment.send, segment.offset)?;
            Some(Candidate { source, order: segment.order(), chunk: Some(chunk) })
        };
        let again = self.again.front().map(|&lost| Candidate {
            source: Source::Again(lost),
            order: lost.order,
            chunk: None,
        });
        let own = open(Source::Own, &self.lanes[lane]);
        let any = open(Source::Any, &self.any);
        let first = [again, own, any].into_iter().flatten().min_by_key(|found| found.order);
        if first.is_some() || self.sharing == Sharing::Static || !idle {
            return first;
        }
        let others = (0..self.lanes.len()).filter(|&at| at != lane && room(at) == Room::Full);
        let longest = others.max_by_key(|&at| self.left(at))?;
        open(Source::Other(longest), &self.lanes[longest])
    }

    /// Chunks that wait for a lane.
    pub(super) fn left(&self, lane: usize) -> usize {
        let chunks = |segment: &Segment| (segment.end - segment.offset).div_ceil(segment.stride);
        self.lanes[lane].iter().map(chunks).sum()
    }

    /// Takes a candidate out.
    pub(super) fn take(&mut self, lane: usize, source: Source) {
        let queue = match source {
            Source::Again(_) => {
                self.again.pop_front();
                return;
            }
            Source::Own => &mut self.lanes[lane],
            Source::Any => &mut self.any,
            Source::Other(other) => &mut self.lanes[other],
        };
        let Some(segment) = queue.front_mut() else { return };
        segment.offset += segment.stride;
        if segment.offset >= segment.end {
            queue.pop_front();
            return;
        }
        // Its next chunk may be behind the first one of those that follow.
        let mut at = 0;
        while queue.get(at + 1).is_some_and(|next| next.order() < queue[at].order()) {
            queue.swap(at, at + 1);
            at += 1;
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use onepath_topology::{Nanos, Rank, WorldSize};

    use super::*;
    use crate::flow::{Memory, Posting};
    use crate::plan::{After, BufferId, FlowTag, Plan, SendFlow, Span};
    use crate::wire::{OperationId, Signature};

    pub(in super::super) const CHUNK: usize = 8;
    static INPUT: [u8; 16 * CHUNK] = [0; 16 * CHUNK];

    /// A call that sends all of `input` to rank 1, in chunks of [`CHUNK`] bytes.
    pub(in super::super) fn posted(input: &'static [u8]) -> (FlowTable, Slot) {
        let source = Span::new(BufferId::Input, 0, input.len());
        let peer = Rank::new(1);
        let flow = SendFlow { step: 0, peer, tag: FlowTag(0), source, after: After::NOTHING };
        let plan = Plan { sends: vec![flow], ..Plan::default() };
        let nothing = (std::ptr::null_mut(), 0);
        let posting = Posting {
            id: OperationId::collective(0),
            signature: Signature([0; 2]),
            plan: &plan,
            memory: Memory::new((input.as_ptr(), input.len()), nothing, nothing),
            kernel: None,
            chunk_bytes: CHUNK,
            now: Nanos(0),
        };
        let mut table = FlowTable::new(WorldSize::new(2).expect("two ranks"));
        // SAFETY: the input is static, and nobody writes anything.
        let slot = unsafe { table.post(&posting) }.expect("the plan is right");
        (table, slot)
    }

    fn dealt(sharing: Sharing) -> (FlowTable, Queue) {
        let (table, slot) = posted(&INPUT);
        let mut queue = Queue::new(2, 4, sharing);
        for lane in 0..2 {
            let (offset, stride, end) = (lane * CHUNK, 2 * CHUNK, INPUT.len());
            queue.push(lane, Segment { slot, operation: 0, send: 0, offset, stride, end });
        }
        (table, queue)
    }

    fn take(queue: &mut Queue, table: &FlowTable, lane: usize) -> Option<(usize, Source)> {
        let found = queue.candidate(lane, true, table, |_| Room::Full)?;
        queue.take(lane, found.source);
        Some((found.order.offset / CHUNK, found.source))
    }

    #[test]
    fn lanes_carry_every_other_chunk_and_a_dry_one_helps() {
        let (table, mut queue) = dealt(Sharing::Shared);
        let first: Vec<usize> =
            (0..8).filter_map(|_| take(&mut queue, &table, 0)).map(|(at, _)| at).collect();
        assert_eq!(first, [0, 2, 4, 6, 8, 10, 12, 14]);
        assert_eq!(take(&mut queue, &table, 0), Some((1, Source::Other(1))));
        assert_eq!(take(&mut queue, &table, 1), Some((3, Source::Own)));
        let (table, mut queue) = dealt(Sharing::Static);
        (0..8).for_each(|_| assert!(take(&mut queue, &table, 0).is_some()));
        assert_eq!(take(&mut queue, &table, 0), None);
    }

    #[test]
    fn what_waited_for_a_closed_lane_goes_in_order() {
        let (table, mut queue) = dealt(Sharing::Static);
        queue.release(0);
        queue.release(1);
        assert_eq!(queue.smallest().map(|order| order.offset), Some(0));
        let all: Vec<usize> =
            (0..16).filter_map(|_| take(&mut queue, &table, 1)).map(|(at, _)| at).collect();
        assert_eq!(all, (0..16).collect::<Vec<_>>());
        assert!(queue.is_empty());
    }

    #[test]
    fn what_was_lost_goes_before_larger_ones() {
        let (table, mut queue) = dealt(Sharing::Static);
        for _ in 0..2 {
            take(&mut queue, &table, 0);
        }
        let order = Order { operation: 0, send: 0, offset: 2 * CHUNK };
        let lost = Lost { order, lane: 0, slot: 3 };
        queue.lose([lost].into_iter());
        assert_eq!(take(&mut queue, &table, 1), Some((1, Source::Own)));
        assert_eq!(take(&mut queue, &table, 1), Some((2, Source::Again(lost))));
        assert_eq!(take(&mut queue, &table, 1), Some((3, Source::Own)));
    }
}
