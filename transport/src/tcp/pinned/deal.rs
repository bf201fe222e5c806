//! What waits to be sent to one peer: by path, and what may take any path.
//!
//! **Order and freedom from deadlock.** Every chunk has an [`Order`]: its operation in the order
//! of posting, then its send in the order of the plan; gates name only smaller ones. A connection
//! never carries a chunk behind a larger one *that is not acknowledged*. So the smallest
//! undelivered chunk is at the head of its connection, or nothing larger is under way before it;
//! its gates are open, since all smaller ones were delivered; and it can be placed. The queue of
//! each path and the queue for any path are sorted, so the smallest chunk that was not sent is at
//! the head of one of them. Chunks of a dead path go to the front ([`Deal::bury`]): a connection
//! with larger chunks under way waits for their acknowledgement before it takes them. Where these
//! wait in turn for the very chunks that are to be sent again, the connection that replaces the
//! dead one takes them: it is empty. (Only if that cannot be made either, after all its tries, such
//! an operation waits for its time-out.)

use std::collections::VecDeque;

use crate::flow::{FlowTable, OutgoingChunk, Slot};

use super::paths::Sharing;

/// Where a chunk stands among all that are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Order {
    /// Operations are counted as they are posted.
    pub(super) operation: u64,
    /// Index of the send in the plan.
    pub(super) send: u32,
}

/// Chunks of one send that follow each other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    pub(super) slot: Slot,
    pub(super) order: Order,
    pub(super) offset: usize,
    pub(super) end: usize,
    /// Whether the flow is short enough for its payload to be copied.
    pub(super) eager: bool,
}

impl Segment {
    fn bytes(&self) -> usize {
        self.end - self.offset
    }
}

/// Why a chunk goes over the connection that it goes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// It was assigned to this path, or to none.
    Fresh,
    /// It was assigned to another path that would have been later.
    Taken,
    /// It was sent before over a connection that died.
    Resent,
}

/// A chunk on its way over a connection.
#[derive(Debug)]
pub(super) struct Parcel {
    pub(super) chunk: OutgoingChunk,
    pub(super) order: Order,
    pub(super) origin: Origin,
    /// The payload is to be copied.
    pub(super) eager: bool,
    /// The copy, if the chunk was copied.
    pub(super) copy: Option<Box<[u8]>>,
    /// The table knows that it has left.
    pub(super) told: bool,
}

/// Bytes of all peers together that are under way on each path and not acknowledged: paths of one
/// number share this rank's uplink.
#[derive(Clone, Debug, Default)]
pub(super) struct Loads(pub(super) Vec<usize>);

/// Only from a path with so much under way are chunks taken: with less, it waits for gates and not
/// for its links.
const BUSY_FROM: usize = 128 << 10;

/// The queue of one path.
#[derive(Debug, Default)]
pub(super) struct Lane {
    queue: VecDeque<Segment>,
    bytes: usize,
    /// Index in [`Loads`].
    pub(super) links: usize,
    /// Bytes acknowledged in a while, for comparing lanes.
    pub(super) rate: u64,
    /// Whether it has a connection.
    pub(super) open: bool,
}

/// All that waits for one peer.
#[derive(Debug)]
pub(super) struct Deal {
    pub(super) lanes: Vec<Lane>,
    /// For any path, sorted.
    any: VecDeque<Segment>,
    /// Sent, perhaps in part, over connections that died; sorted.
    again: VecDeque<Parcel>,
    sharing: Sharing,
}

/// Where the next chunk comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    Again,
    Own,
    Any,
    Other(usize),
}

impl Deal {
    /// Lanes over these links.
    pub(super) fn new(links: impl Iterator<Item = usize>, sharing: Sharing) -> Self {
        let lane = |links| Lane { links, queue: VecDeque::with_capacity(64), ..Lane::default() };
        Self {
            lanes: links.map(lane).collect(),
            any: VecDeque::with_capacity(64),
            again: VecDeque::new(),
            sharing,
        }
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.any.is_empty() && self.again.is_empty() && self.lanes.iter().all(|l| l.bytes == 0)
    }

    /// Appends chunks for any path.
    pub(super) fn push_any(&mut self, segment: Segment) {
        self.any.push_back(segment);
    }

    /// Appends chunks for one path.
    pub(super) fn push(&mut self, lane: usize, segment: Segment) {
        let lane = &mut self.lanes[lane];
        lane.queue.push_back(segment);
        lane.bytes += segment.bytes();
    }

    /// The lane has lost its connection: what waits in it may take any path, what was under way
    /// (`parcels`) is sent again.
    pub(super) fn bury(&mut self, lane: usize, parcels: impl Iterator<Item = Parcel>) {
        let lane = &mut self.lanes[lane];
        lane.open = false;
        lane.rate = 0;
        lane.bytes = 0;
        self.any.extend(lane.queue.drain(..));
        self.any.make_contiguous().sort_by_key(|segment| (segment.order, segment.offset));
        self.again.extend(parcels.map(|parcel| Parcel { origin: Origin::Resent, ..parcel }));
        self.again.make_contiguous().sort_by_key(|parcel| parcel.order);
    }

    /// The next chunk for the connection of `lane`, on which nothing larger than `behind` waits for
    /// its acknowledgement; nothing if there is none, its gates are closed, or it must wait.
    pub(super) fn next(
        &mut self,
        lane: usize,
        behind: Option<Order>,
        table: &FlowTable,
        loads: &Loads,
    ) -> Option<Parcel> {
        let (from, order, chunk) = self.candidate(lane, table, loads)?;
        if behind.is_some_and(|largest| order < largest) {
            return None;
        }
        let Some(chunk) = chunk else { return self.again.pop_front() };
        let (queue, share) = match from {
            From::Own => self.queue(lane),
            From::Other(victim) => self.queue(victim),
            From::Any | From::Again => (&mut self.any, None),
        };
        let segment = queue.front_mut()?;
        let eager = segment.eager;
        segment.offset += chunk.length();
        if segment.offset == segment.end {
            queue.pop_front();
        }
        if let Some(bytes) = share {
            *bytes -= chunk.length();
        }
        let taken = matches!(from, From::Other(_));
        let origin = if taken { Origin::Taken } else { Origin::Fresh };
        Some(Parcel { chunk, order, origin, eager, copy: None, told: false })
    }

    fn queue(&mut self, lane: usize) -> (&mut VecDeque<Segment>, Option<&mut usize>) {
        let lane = &mut self.lanes[lane];
        (&mut lane.queue, Some(&mut lane.bytes))
    }

    /// The smallest chunk that may go: to be sent again, of the own queue, for any path; if there
    /// is nothing of these, another lane's. The chunk is missing for one to be sent again.
    fn candidate(
        &self,
        lane: usize,
        table: &FlowTable,
        loads: &Loads,
    ) -> Option<(From, Order, Option<OutgoingChunk>)> {
        let open = |from, queue: &VecDeque<Segment>| {
            let segment = queue.front()?;
            let chunk = table.chunk_at(segment.slot, segment.order.send, segment.offset)?;
            Some((from, segment.order, Some(chunk)))
        };
        let again = self.again.front().map(|parcel| (From::Again, parcel.order, None));
        let own = open(From::Own, &self.lanes[lane].queue);
        let any = open(From::Any, &self.any);
        let first = [again, own, any].into_iter().flatten().min_by_key(|&(_, order, _)| order);
        if first.is_some() || self.sharing == Sharing::Static {
            return first;
        }
        // Of the other lanes with a chunk that may go, the one that would be the last to finish.
        let time = |lane: &Lane| lane.bytes as u64 / (lane.rate / 1_024 + 1);
        let others =
            (0..self.lanes.len()).filter(|&at| at != lane && self.has_room(lane, at, loads));
        let open = others.filter_map(|at| open(From::Other(at), &self.lanes[at].queue));
        open.max_by_key(|&(from, ..)| match from {
            From::Other(at) => (time(&self.lanes[at]), self.lanes[at].bytes),
            _ => (0, 0),
        })
    }

    /// Whether a lane's path may carry a chunk of another's: the other one is busy, and it is much
    /// less so, with all that either carries to other peers. Else the assignment counts on it.
    fn has_room(&self, lane: usize, other: usize, loads: &Loads) -> bool {
        let [here, there] = [lane, other].map(|lane| loads.0[self.lanes[lane].links]);
        there >= BUSY_FROM && 2 * here < there
    }
}
