//! One lane: its queue pair, and what was posted to it.

use std::sync::Arc;
use std::time::Duration;

use onepath_topology::Nanos;

use crate::flow::OutgoingChunk;
use crate::verbs::{
    Access, AckTimeout, AddressHandle, CompletionQueue, FlowLabel, LocalSpan, NotReadyTimer,
    Packet, PathMtu, Payload, PortNumber, PostError, ProtectionDomain, QueuePair, QueuePairError,
    QueuePairLimits, QueuePairNumber, ReceiveRequest, Reception, RemoteSpan, SendOperation,
    SendRequest, SendSlots, Sending,
};

use super::counters::LaneCell;
use super::inbox::Inbox;
use super::life::Life;
use super::memory::Layout;
use super::outbox::{Outbox, What};
use super::problem::{LaneDeath, LaneName};

/// Every so many writes make a completion.
const SIGNALLED: u32 = 8;

/// Places of a send queue that chunks leave to credits and letters.
pub(super) const SPARE_SENDS: u32 = 8;

/// Header and payload of up to so many bytes go into the request itself, where the device can.
pub(super) const INLINE_BYTES: usize = 256;

/// How often a peer whose receive queue is empty is tried again: that cannot be (see
/// [`receives`]), so it is a peer that breaks the rules or has ended.
const NOT_READY_RETRIES: u8 = 6;
const NOT_READY: Duration = Duration::from_millis(1);

/// The depth of a receive queue. **It never runs dry**, whatever this rank does between two polls.
/// Each message of the peer takes one request, and a poll posts as many as it has seen before it
/// posts anything that would allow the peer another message. Not seen yet can be
///
/// - chunks: one for each slot, since a slot is used again only after its credit, which is given
///   when the chunk has been seen;
/// - credits: one for each slot of the other direction, since each names at least one slot, which
///   can be credited again only when this rank has seen the credit and used the slot again;
/// - letters: for each lane that they can be about one of each kind, since the peer says the next
///   of a kind only after an answer; twice that, for one that went over the session as well and was
///   answered before this rank saw it here.
pub(super) fn receives(layout: &Layout) -> u32 {
    2 * u32::from(layout.slots) + 2 * layout.letters() as u32
}

/// The depth of a send queue: as many as the peer has requests for, and room for those that have
/// arrived without this rank knowing it yet.
pub(super) fn sends(layout: &Layout) -> u32 {
    receives(layout) + 2 * SIGNALLED + SPARE_SENDS
}

/// What queue pairs are made from.
#[derive(Debug)]
pub(super) struct Maker {
    pub(super) domain: ProtectionDomain,
    pub(super) port: PortNumber,
    pub(super) layout: Layout,
    pub(super) ack_timeout: AckTimeout,
    pub(super) retries: u8,
}

impl Maker {
    /// A queue pair that can be connected.
    pub(super) fn pair(&self, queue: &CompletionQueue) -> Result<QueuePair, QueuePairError> {
        let limits = QueuePairLimits {
            sends: sends(&self.layout),
            receives: receives(&self.layout),
            send_spans: 2,
            receive_spans: 1,
            inline_bytes: INLINE_BYTES as u32,
        };
        let pair = QueuePair::new(&self.domain, queue, queue, limits);
        // Some devices take less into a request.
        let less = QueuePairLimits { inline_bytes: 0, ..limits };
        let mut pair = pair.or_else(|_| QueuePair::new(&self.domain, queue, queue, less))?;
        pair.initialise(self.port, Access::RemoteWrite)?;
        Ok(pair)
    }
}

/// Which request a completion is of, in the 64 bits that a work request carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RequestId {
    pub(super) peer: u16,
    pub(super) lane: u8,
    /// The low bits.
    pub(super) generation: u16,
    pub(super) receive: bool,
    /// The low bits of a send request's number.
    pub(super) number: u32,
}

const GENERATION_MASK: u32 = 0x7ff;

impl RequestId {
    pub(super) fn pack(self) -> u64 {
        u64::from(self.number)
            | u64::from(self.peer) << 32
            | u64::from(self.lane & 15) << 48
            | u64::from(self.generation) << 52
            | u64::from(self.receive) << 63
    }

    pub(super) fn unpack(id: u64) -> Self {
        Self {
            peer: (id >> 32) as u16,
            lane: (id >> 48) as u8 & 15,
            generation: (id >> 52) as u16 & GENERATION_MASK as u16,
            receive: id >> 63 == 1,
            number: id as u32,
        }
    }
}

/// A chunk whose payload the device reads from a caller's memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Loan {
    /// To be told to the table when the loan ends.
    pub(super) chunk: OutgoingChunk,
    /// The payload.
    pub(super) span: LocalSpan,
}

/// One lane to one peer.
#[derive(Debug)]
pub(super) struct Lane {
    /// Index of the peer.
    peer: u16,
    pub(super) number: u8,
    pub(super) label: FlowLabel,
    pair: QueuePair,
    /// The first packet that the queue pair sends.
    pub(super) first: Packet,
    requests: SendSlots,
    /// Places of the send queue that we use; devices may give more.
    sends: u32,
    /// Requests posted so far.
    posted: u64,
    /// Of those, how many have ended.
    ended: u64,
    /// Receive requests under way, and how many are missing.
    receiving: u32,
    depth: u32,
    pub(super) out: Outbox,
    /// Of the slots that are lent.
    loans: Box<[Option<Loan>]>,
    pub(super) inbox: Inbox,
    pub(super) life: Life,
    /// The number of the write that tries the lane out.
    pub(super) probe: Option<u64>,
    pub(super) cause: LaneDeath,
    /// When it entered its stage.
    pub(super) since: Nanos,
    /// Failures in a row without a chunk in between.
    pub(super) failures: u32,
    pub(super) cell: Arc<LaneCell>,
}

impl Lane {
    pub(super) fn new(
        (peer, number): (u16, u8),
        label: FlowLabel,
        (pair, first): (QueuePair, Packet),
        layout: &Layout,
        cell: Arc<LaneCell>,
    ) -> Self {
        let sends = sends(layout);
        Self {
            peer,
            number,
            label,
            pair,
            first,
            requests: SendSlots::new(sends, SIGNALLED),
            sends,
            posted: 0,
            ended: 0,
            receiving: 0,
            depth: receives(layout),
            out: Outbox::new(layout.slots, sends),
            loans: vec![None; usize::from(layout.slots)].into(),
            inbox: Inbox::new(layout.slots),
            life: Life::new(),
            probe: None,
            cause: LaneDeath::Told,
            since: Nanos(0),
            failures: 0,
            cell,
        }
    }

    pub(super) fn name(&self) -> LaneName {
        LaneName { lane: self.number, label: self.label }
    }

    /// The number of its queue pair.
    pub(super) fn pair_number(&self) -> QueuePairNumber {
        self.pair.number()
    }

    /// How many bytes fit into a request.
    pub(super) fn inline_bytes(&self) -> usize {
        (self.pair.limits().inline_bytes as usize).min(INLINE_BYTES)
    }

    fn id(&self, receive: bool, number: u64) -> u64 {
        let generation = (self.life.generation() & GENERATION_MASK) as u16;
        let (peer, lane, number) = (self.peer, self.number, number as u32);
        RequestId { peer, lane, generation, receive, number }.pack()
    }

    /// Whether a completion is of its present queue pair.
    pub(super) fn owns(&self, id: RequestId, pair: u32) -> bool {
        u32::from(id.generation) == self.life.generation() & GENERATION_MASK
            && pair == self.pair.number().get()
    }

    /// Connects the queue pair to the peer's and posts receive requests.
    pub(super) fn connect(
        &mut self,
        maker: &Maker,
        address: AddressHandle,
        mtu: PathMtu,
        (peer, first): (QueuePairNumber, Packet),
    ) -> Result<(), QueuePairError> {
        let not_ready = NotReadyTimer::at_least(NOT_READY);
        self.pair.ready_to_receive(&Reception { peer, address, mtu, first, not_ready })?;
        self.pair.ready_to_send(&Sending {
            first: self.first,
            ack_timeout: maker.ack_timeout,
            retries: maker.retries,
            not_ready_retries: Some(NOT_READY_RETRIES),
        })
    }

    /// Posts the receive requests that are missing.
    pub(super) fn replenish(&mut self) -> Result<(), PostError> {
        const BATCH: usize = 16;
        let id = self.id(true, 0);
        let request = ReceiveRequest { id, spans: &[] };
        while self.receiving < self.depth {
            let count = ((self.depth - self.receiving) as usize).min(BATCH);
            self.pair.post_receives(&[request; BATCH][..count])?;
            self.receiving += count as u32;
        }
        Ok(())
    }

    /// A receive request has ended.
    pub(super) fn received(&mut self) {
        self.receiving = self.receiving.saturating_sub(1);
    }

    /// Whether a chunk may be posted, as far as the send queue goes.
    pub(super) fn has_room(&self) -> bool {
        self.life.is_open() && self.requests.free() > SPARE_SENDS
    }

    /// Whether anything may be posted. One place stays free for [`Self::fail`].
    pub(super) fn has_any_room(&self) -> bool {
        self.life.is_open() && self.requests.free() > 1
    }

    /// Posts one write and notes it; its number.
    pub(super) fn post(
        &mut self,
        operation: SendOperation,
        payload: Payload<'_>,
        what: What,
        signalled: bool,
    ) -> Result<u64, PostError> {
        let Some(slot) = self.requests.take(signalled) else {
            return Err(PostError::QueueFull { number: self.pair.number().get(), posted: 0 });
        };
        let id = self.id(false, slot.id);
        let signalled = slot.signalled;
        self.pair.post_send(SendRequest { id, operation, payload, signalled, solicited: false })?;
        self.posted = slot.id + 1;
        self.out.note(slot.id, what);
        Ok(slot.id)
    }

    /// The payload of a chunk that was just taken a slot for is in a caller's memory.
    pub(super) fn lend(&mut self, slot: u8, loan: Loan) {
        self.out.lend(slot);
        self.loans[usize::from(slot)] = Some(loan);
    }

    /// What a slot's payload was lent from.
    pub(super) fn loan(&self, slot: u8) -> Option<Loan> {
        self.loans[usize::from(slot)].filter(|_| self.out.is_lent(slot))
    }

    /// The loan of a slot that is not lent any more.
    pub(super) fn returned(&mut self, slot: u8) -> Option<Loan> {
        self.loans[usize::from(slot)].take()
    }

    /// A send request has ended, and with it those before; its whole number, and the slots whose
    /// loans end so. `well` if it did its work.
    pub(super) fn sent(&mut self, low: u32, well: bool) -> (u64, u64) {
        let number = self.ended + u64::from(low.wrapping_sub(self.ended as u32));
        self.requests.retire(number);
        self.ended = self.ended.max(number + 1);
        (number, if well { self.out.done(number) } else { 0 })
    }

    /// Takes the queue pair to the error state, where the device has not done so. A last request
    /// goes before that: its completion says that all before it have ended, also those without a
    /// completion.
    pub(super) fn fail(&mut self, cause: LaneDeath, target: RemoteSpan, now: Nanos) -> bool {
        if !self.life.is_alive() {
            return false;
        }
        let (last, nothing) = (SendOperation::Write(target), Payload::Registered(&[]));
        // Where it is refused, the lane stays closed and nobody is told anything of it.
        let _ = self.post(last, nothing, What::Silent, true);
        // A device that does not even do that gives completions with errors nevertheless, or none:
        // then nobody is told anything of this lane, and nothing is sent twice.
        let _ = self.pair.fail();
        self.life.fail();
        (self.cause, self.since, self.probe) = (cause, now, None);
        self.failures += 1;
        LaneCell::add(&self.cell.deaths, 1);
        true
    }

    /// Whether every request has ended.
    pub(super) fn is_drained(&self) -> bool {
        self.receiving == 0 && self.ended == self.posted
    }

    /// Puts a new queue pair in the place of one that is drained.
    pub(super) fn replace(&mut self, pair: QueuePair, first: Packet) {
        self.pair = pair;
        self.first = first;
        self.requests = SendSlots::new(self.sends, SIGNALLED);
        (self.posted, self.ended, self.receiving) = (0, 0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_known_by_its_id() {
        for receive in [false, true] {
            let id = RequestId {
                peer: u16::MAX,
                lane: 15,
                generation: 0x7ff,
                receive,
                number: u32::MAX - 1,
            };
            assert_eq!(RequestId::unpack(id.pack()), id);
            let id = RequestId { peer: 3, lane: 0, generation: 1, ..id };
            assert_eq!(RequestId::unpack(id.pack()), id);
        }
    }
}
