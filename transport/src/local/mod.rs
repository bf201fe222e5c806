//! Shared memory between the ranks of one host.
//!
//! Each rank owns one memory file with a ring for what each local peer sends it. A sender copies a
//! chunk into slots that stay in the caches, the receiver combines or stores straight out of them.
//!
//! | file | what it holds |
//! |---|---|
//! | `host` | [`HostId`]: which ranks can share memory |
//! | `address` | [`SegmentAddress`]: how peers find a segment |
//! | `segment` | [`Segment`]: making one, opening a peer's |
//! | `layout` | where everything lies in a segment, and [`LocalOptions`] |
//! | `mapping` | the mapped memory (`unsafe`) |
//! | `stream` | copying past the cache (`unsafe`) |
//! | `pace` | when to do so: [`SlotCopy`] |
//! | `slots` | one ring's memory (`unsafe`) |
//! | `ring` | the order of publishing and freeing slots |
//! | `tiny` | payloads of one word, in the header |
//! | `doorbell` | sleeping and waking |
//! | `send`, `receive` | chunks to slots and back |
mod address;
mod doorbell;
mod error;
mod host;
mod layout;
#[cfg(all(test, loom))]
mod loom_tests;
mod mapping;
mod pace;
mod receive;
mod ring;
mod segment;
mod send;
mod slots;
mod stream;
#[cfg(test)]
mod tests;
mod tiny;

use std::time::Duration;

use onepath_topology::{Rank, WorldSize};

use crate::flow::{FlowTable, SendQueue, Slot};
use crate::{Activity, Transport, TransportError};

pub use address::SegmentAddress;
pub use error::SegmentError;
pub use host::{HostId, HostIdError};
pub use layout::{LEAST_SLOT_BYTES, LEAST_SLOTS, LocalOptions, MOST_RING_BYTES, MOST_SLOT_BYTES};
pub use pace::SlotCopy;
pub use segment::Segment;

use receive::Receiver;
use segment::Shared;
use send::Sender;

/// Slots that one poll fills or empties for one peer, so that the other direction and the other
/// peers get their turn while these bytes are in the cache.
const BURST: usize = 4;

#[derive(Debug)]
struct Peer {
    rank: Rank,
    queue: SendQueue,
    remote: Shared,
    sender: Sender,
    receiver: Receiver,
}

/// Shared memory to the peers of this host.
#[derive(Debug)]
pub struct LocalTransport {
    peers: Vec<Peer>,
    /// Index in `peers` by rank.
    by_rank: Vec<Option<u32>>,
    segment: Segment,
    /// Something changed since the last idle poll.
    is_fresh: bool,
}

impl LocalTransport {
    /// Opens the segments of the peers. `segment` was made for this many peers, and its address
    /// given to all of them; every rank of the host gives the same set, itself left out.
    pub fn connect(
        world: WorldSize,
        own: Rank,
        segment: Segment,
        peers: &[(Rank, SegmentAddress)],
    ) -> Result<Self, SegmentError> {
        let mut by_rank = vec![None; world.get()];
        let below = |of: Rank| peers.iter().filter(|(rank, _)| *rank < of).count();
        let mut connected = Vec::with_capacity(peers.len());
        for (rank, address) in peers {
            let rank = *rank;
            let remote = Shared::open(rank, address)?;
            // In a segment of the peer, ranks are counted without the peer itself.
            let there = below(own) - usize::from(rank < own);
            let here = below(rank);
            let outbound = remote.attach(rank, there, own)?;
            let no_ring = SegmentError::NoSuchRing { peer: own, ring: here };
            let inbound = segment.shared().ring(here).ok_or(no_ring)?;
            by_rank[rank.index()] = Some(connected.len() as u32);
            connected.push(Peer {
                rank,
                queue: SendQueue::default(),
                remote,
                sender: Sender::new(outbound, segment.copy()),
                receiver: Receiver::new(inbound),
            });
        }
        Ok(Self { peers: connected, by_rank, segment, is_fresh: false })
    }

    /// Whether this transport reaches the rank.
    pub fn serves(&self, rank: Rank) -> bool {
        self.by_rank.get(rank.index()).is_some_and(Option::is_some)
    }

    /// Whether anything that is under way could move by a peer's doing.
    pub(crate) fn is_waiting(&self, table: &FlowTable) -> bool {
        self.peers.iter().any(|p| p.sender.is_busy(&p.queue) || table.expects(p.rank))
    }

    fn close(&mut self) {
        self.segment.shared().close();
        for peer in &self.peers {
            doorbell::ring(peer.remote.doorbell());
        }
        self.peers.clear();
        self.by_rank.fill(None);
    }
}

impl Peer {
    fn poll(&mut self, table: &mut FlowTable) -> Result<Activity, TransportError> {
        let mut activity = Activity::Idle;
        if self.sender.is_busy(&self.queue) {
            let (queue, remote) = (&mut self.queue, &self.remote);
            activity = self.sender.poll(self.rank, remote, queue, table, BURST)?;
        }
        if table.expects(self.rank) {
            let received = self.receiver.poll(self.rank, &self.remote, table, BURST)?;
            activity = activity.or(received);
        }
        Ok(activity)
    }

    /// Whether a poll would do something, or fail.
    fn may_move(&self, table: &FlowTable) -> bool {
        let (expects, busy) = (table.expects(self.rank), self.sender.is_busy(&self.queue));
        let closed = self.remote.is_closed();
        (expects && self.receiver.may_move(closed))
            || self.sender.may_move(&self.queue)
            || (busy && closed)
    }
}

impl crate::sealed::Sealed for LocalTransport {}

impl Transport for LocalTransport {
    fn post(&mut self, table: &FlowTable, slot: Slot) {
        for (index, rank) in table.sends(slot) {
            if let Some(at) = self.by_rank[rank.index()] {
                self.peers[at as usize].queue.push(slot, index);
            }
        }
        // It may also be what a held chunk waits for.
        self.is_fresh = true;
    }

    fn poll(&mut self, table: &mut FlowTable) -> Result<Activity, TransportError> {
        let mut activity = Activity::Idle;
        for peer in &mut self.peers {
            activity = activity.or(peer.poll(table)?);
        }
        // A chunk that moved may have opened the gate of another peer's.
        self.is_fresh = activity == Activity::Moved;
        Ok(activity)
    }

    fn wait(&mut self, table: &FlowTable, limit: Duration) {
        if self.is_fresh {
            return;
        }
        let bell = self.segment.shared().doorbell();
        let is_idle = || !self.peers.iter().any(|p| p.may_move(table));
        doorbell::sleep(bell, is_idle, limit);
    }

    fn cancel(&mut self) {
        self.close();
    }
}

impl Drop for LocalTransport {
    fn drop(&mut self) {
        self.close();
    }
}
