//! All lanes to one peer: what arrives over them, and what leaves.

use onepath_topology::fabric::{LeafId, PathId};
use onepath_topology::{Nanos, Rank};

use crate::TransportError;
use crate::flow::{FlowTable, Match, OutgoingChunk};
use crate::share::Share;
use crate::verbs::{
    AddressHandle, Completion, CompletionError, Done, Payload, RemoteRegion, SendOperation,
};
use crate::wire::{ChunkHeader, ChunkKind, HEADER_BYTES, WireError};

use super::Shared;
use super::control::Control;
use super::counters::LaneCell;
use super::labels::Labels;
use super::lane::{INLINE_BYTES, Lane, Loan, RequestId};
use super::letter::{Letter, LetterError};
use super::memory::{Landing, Layout, Staging};
use super::options::Spread;
use super::outbox::{SlotError, What, members};
use super::problem::{LaneDeath, LaneName, Operation, VerbsProblem};
use super::queue::{Candidate, Lost, Order, Queue, Room, Segment, Source, may_take};
use super::registry::Registry;
use super::word::{Word, WordError};

/// Chunks to one peer in one poll, so that others get their turn.
const CHUNKS_A_POLL: usize = 32;

/// Payloads of at least so many bytes go from registered memory without a copy. That of a shorter
/// one costs less than the wait for a completion.
const LEAST_DIRECT: usize = 1 << 10;

/// Credits that are not given with a chunk go back when they are so many of a lane's slots, or when
/// a poll has moved nothing else.
const CREDIT_PART: u32 = 4;

/// Where the packets of a peer go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Destination {
    /// With the label of lane 0.
    pub(super) address: AddressHandle,
    pub(super) mtu: crate::verbs::PathMtu,
    /// Where this rank writes to.
    pub(super) region: RemoteRegion,
}

#[derive(Debug)]
pub(super) struct Peer {
    pub(super) rank: Rank,
    // Lanes go first: their queue pairs end before the memory that they reach.
    pub(super) lanes: Vec<Lane>,
    pub(super) queue: Queue,
    pub(super) staging: Staging,
    pub(super) landing: Landing,
    pub(super) layout: Layout,
    pub(super) destination: Destination,
    pub(super) labels: Labels,
    pub(super) control: Control,
    /// The leaf of the peer, where paths are known, and the paths that have an open lane.
    pub(super) leaf: LeafId,
    pub(super) live: Vec<PathId>,
    pub(super) spread: Spread,
    /// The lane that sends next.
    pub(super) turn: usize,
    /// The lane that the next flow begins with.
    pub(super) deal_turn: usize,
    /// Since when no lane has been open.
    pub(super) cut_off: Option<Nanos>,
    /// What is wrong if no lane is open.
    pub(super) last_death: (LaneName, LaneDeath),
    /// When the end of the peer was noticed.
    pub(super) left: Option<Nanos>,
    /// Chunks whose loans have ended and of which the table was not told. Never more than there
    /// are slots: it is told before a slot is taken again.
    pub(super) finished: Vec<OutgoingChunk>,
    /// Set when the set of open lanes has changed.
    pub(super) changed: bool,
}

impl Peer {
    pub(super) fn error(&self, problem: impl Into<VerbsProblem>) -> TransportError {
        TransportError::Verbs { peer: self.rank, problem: Box::new(problem.into()) }
    }

    fn slot_error(&self, at: usize, problem: SlotError) -> TransportError {
        self.error(VerbsProblem::Slot { lane: self.lanes[at].name(), problem })
    }

    fn protocol(&self, problem: WireError) -> TransportError {
        TransportError::Protocol { peer: self.rank, problem }
    }

    /// Takes in what became of a work request.
    pub(super) fn complete(
        &mut self,
        id: RequestId,
        completion: &Completion,
        table: &mut FlowTable,
        shared: &mut Shared,
    ) -> Result<(), TransportError> {
        let at = usize::from(id.lane);
        let owned = self.lanes.get(at).is_some_and(|lane| lane.owns(id, completion.queue_pair));
        if !owned {
            // Of a queue pair that was replaced after all of its own were seen, or of nobody.
            return Ok(());
        }
        let lane = &mut self.lanes[at];
        let operation = match (id.receive, completion.outcome) {
            (true, Ok(Done::WriteArrived { bytes, immediate })) => {
                lane.received();
                lane.inbox.count();
                return self.arrived(at, bytes, immediate, table, shared);
            }
            (true, outcome) => {
                lane.received();
                if outcome.is_ok() {
                    return Err(self.error(WordError { found: 0 }));
                }
                Operation::Receive
            }
            (false, outcome) => {
                let (number, returned) = lane.sent(id.number, outcome.is_ok());
                match (outcome.is_ok(), lane.probe == Some(number)) {
                    (true, true) => self.proved(at),
                    (true, false) => lane.failures = 0,
                    (false, _) => {}
                }
                self.end_loans(at, returned);
                Operation::Write
            }
        };
        match completion.outcome {
            Ok(_) => Ok(()),
            Err(status) => self.broke(at, operation, status, shared.now),
        }
    }

    /// Loans of a lane have ended: the device does not read these payloads any more.
    pub(super) fn end_loans(&mut self, at: usize, slots: u64) {
        let lane = &mut self.lanes[at];
        let loans = members(slots).filter_map(|slot| lane.returned(slot));
        self.finished.extend(loans.map(|loan| loan.chunk));
    }

    /// Tells the table of loans that have ended; whether there were any.
    pub(super) fn settle(&mut self, table: &mut FlowTable) -> bool {
        let any = !self.finished.is_empty();
        self.finished.drain(..).for_each(|chunk| table.sent(&chunk));
        any
    }

    /// Whether the device may read memory of callers.
    pub(super) fn has_loans(&self) -> bool {
        self.lanes.iter().any(|lane| lane.out.lent() != 0)
    }

    /// The peer has left, so that nobody acknowledges any more: queue pairs with loans are closed,
    /// and the loans end when the device has let go of everything.
    pub(super) fn take_back(&mut self, now: Nanos) {
        for at in 0..self.lanes.len() {
            if self.lanes[at].out.lent() == 0 {
                continue;
            }
            self.close(at, LaneDeath::Told, now);
            if self.lanes[at].is_drained() {
                let slots = self.lanes[at].out.take_back();
                self.end_loans(at, slots);
            }
        }
    }

    /// A work request failed: its lane is closed, if another path may do better.
    fn broke(
        &mut self,
        at: usize,
        operation: Operation,
        status: CompletionError,
        now: Nanos,
    ) -> Result<(), TransportError> {
        let of_lane = status.is_of_the_path() || status == CompletionError::ReceiverNotReady;
        let first = self.lanes[at].life.is_alive();
        if first && !of_lane && self.left.is_none() {
            let lane = self.lanes[at].name();
            return Err(self.error(VerbsProblem::Failed { lane, operation, status }));
        }
        self.close(at, LaneDeath::Status(operation, status), now);
        Ok(())
    }

    /// A lane's queue pair is of no use any more.
    pub(super) fn close(&mut self, at: usize, cause: LaneDeath, now: Nanos) {
        let Ok(target) = self.destination.region.span(0, 0) else { return };
        let lane = &mut self.lanes[at];
        if lane.fail(cause, target, now) {
            self.last_death = (lane.name(), cause);
            self.queue.release(at);
            self.changed = true;
        }
    }

    fn arrived(
        &mut self,
        at: usize,
        bytes: u32,
        immediate: u32,
        table: &mut FlowTable,
        shared: &mut Shared,
    ) -> Result<(), TransportError> {
        match Word::decode(immediate).map_err(|problem| self.error(problem))? {
            Word::Data { slot } => self.chunk(at, slot, bytes, table),
            Word::Credit { slots } => {
                let credited = self.lanes[at].out.credit(slots);
                credited.map_err(|problem| self.slot_error(at, problem))
            }
            Word::Letter { place } => {
                if usize::from(place) >= self.layout.letters() {
                    return Err(self.error(WordError { found: immediate }));
                }
                let letter = self.landing.letter(place).map_err(|problem| self.error(problem))?;
                match Letter::decode(&letter) {
                    Ok(letter) => self.hear(&letter, shared),
                    // The next one is being written to its place, and its own word follows.
                    Err(LetterError::Check { .. }) => Ok(()),
                    Err(problem) => Err(self.error(problem)),
                }
            }
        }
    }

    fn chunk(
        &mut self,
        at: usize,
        slot: u8,
        bytes: u32,
        table: &mut FlowTable,
    ) -> Result<(), TransportError> {
        let lane = &mut self.lanes[at];
        lane.inbox.check(slot).map_err(|problem| self.slot_error(at, problem))?;
        let header = self.landing.header(at as u8, slot).map_err(|problem| self.error(problem))?;
        let kind = header[3];
        let header = ChunkHeader::decode(&header).map_err(|problem| self.protocol(problem))?;
        if header.kind != ChunkKind::Data {
            return Err(self.protocol(WireError::Kind { found: kind }));
        }
        let expected = HEADER_BYTES as u64 + u64::from(header.length);
        if u64::from(bytes) != expected {
            let lane = self.lanes[at].name();
            return Err(self.error(VerbsProblem::Length { lane, found: bytes, expected }));
        }
        let credited = self.lanes[at].out.credit(header.acknowledged);
        credited.map_err(|problem| self.slot_error(at, problem))?;
        if !self.place(at, slot, &header, table)? {
            self.lanes[at].inbox.hold(slot, header);
        }
        Ok(())
    }

    /// Places a chunk from its slot, unless it must wait; whether it did.
    fn place(
        &mut self,
        at: usize,
        slot: u8,
        header: &ChunkHeader,
        table: &mut FlowTable,
    ) -> Result<bool, TransportError> {
        let peer = self.rank;
        let chunk = match table.match_chunk(peer, header) {
            Ok(Match::Open(chunk)) => chunk,
            Ok(Match::NotPosted | Match::Closed) => return Ok(false),
            Err(problem) => return Err(TransportError::Mismatch { peer, problem }),
        };
        let whole = self.landing.place((at as u8, slot), &chunk);
        // The table has checked that the length is that of a chunk, which has whole elements.
        let whole = whole.map_err(|problem| self.error(problem))?;
        debug_assert!(whole, "a chunk ends inside an element");
        self.lanes[at].inbox.empty(slot);
        table.received(peer, &chunk);
        Ok(true)
    }

    /// Looks for places of what is held; whether there were any.
    pub(super) fn look(&mut self, table: &mut FlowTable) -> Result<bool, TransportError> {
        let mut any = false;
        for at in 0..self.lanes.len() {
            for slot in self.lanes[at].inbox.held() {
                let Some(header) = self.lanes[at].inbox.header(slot) else { continue };
                any |= self.place(at, slot, &header, table)?;
            }
        }
        Ok(any)
    }

    /// Posts the receive requests that are missing: before anything is sent, see
    /// [`super::lane::receives`].
    pub(super) fn replenish(&mut self) -> Result<(), TransportError> {
        for at in 0..self.lanes.len() {
            let lane = &mut self.lanes[at];
            if !lane.life.is_alive() {
                continue;
            }
            if let Err(source) = lane.replenish() {
                let lane = lane.name();
                return Err(self.error(VerbsProblem::Post { lane, source }));
            }
        }
        Ok(())
    }

    /// Deals a flow of an operation to lanes.
    pub(super) fn deal<'a>(
        &mut self,
        flow: Segment,
        mut shares: std::iter::Peekable<impl Iterator<Item = &'a Share>>,
    ) {
        let chunk = flow.stride;
        let open = self.lanes.iter().filter(|lane| lane.life.is_open()).count();
        if self.spread == Spread::Spray || open == 0 {
            return self.queue.push_any(flow);
        }
        if shares.peek().is_some() {
            let mut offset = 0;
            for share in shares {
                let end = share.offset + share.length;
                let part = Segment { offset: share.offset, end, ..flow };
                match self.lane_of(share.path) {
                    Some(lane) => self.queue.push(lane, part),
                    None => self.queue.push_any(part),
                }
                offset = end;
            }
            if offset < flow.end {
                self.queue.push_any(Segment { offset, ..flow });
            }
            return;
        }
        let chunks = flow.end.div_ceil(chunk);
        let ready = self.lanes.iter().enumerate().filter(|(_, lane)| lane.life.is_open());
        for (turn, (lane, _)) in ready.enumerate() {
            let first = (turn + open - self.deal_turn % open) % open;
            if first < chunks {
                let (offset, stride) = (first * chunk, open * chunk);
                self.queue.push(lane, Segment { offset, stride, ..flow });
            }
        }
        self.deal_turn = (self.deal_turn + chunks) % open;
    }

    /// The open lane of a path with the least before it.
    fn lane_of(&self, path: PathId) -> Option<usize> {
        let lanes = (0..self.lanes.len()).filter(|&at| self.lanes[at].life.is_open());
        let lanes = lanes.filter(|&at| self.labels.path(at as u8) == Some(path));
        lanes.min_by_key(|&at| self.queue.left(at))
    }

    /// Sends what may leave now; whether anything left.
    pub(super) fn send(
        &mut self,
        table: &mut FlowTable,
        registry: &Registry,
    ) -> Result<bool, TransportError> {
        let count = self.lanes.len();
        let (mut sent, mut passed) = (0, 0);
        while passed < count && sent < CHUNKS_A_POLL && !self.queue.is_empty() {
            let lane = self.turn;
            self.turn = (self.turn + 1) % count;
            if !self.is_left_over(lane) && self.send_over(lane, table, registry)? {
                (sent, passed) = (sent + 1, 0);
            } else {
                passed += 1;
            }
        }
        Ok(sent > 0)
    }

    /// Whether a lane is left out so that spraying loads all paths alike. It serves when no other
    /// is open.
    fn is_left_over(&self, lane: usize) -> bool {
        let left_over = |at: usize| self.labels.is_left_over(at as u8);
        self.spread == Spread::Spray
            && left_over(lane)
            && (0..lane).any(|at| !left_over(at) && self.lanes[at].life.is_open())
    }

    /// Sends one chunk over a lane, if one may go.
    fn send_over(
        &mut self,
        at: usize,
        table: &mut FlowTable,
        registry: &Registry,
    ) -> Result<bool, TransportError> {
        let lane = &self.lanes[at];
        if !lane.has_room() {
            return Ok(false);
        }
        let idle = 2 * lane.out.under_way() <= u32::from(self.layout.slots);
        let room = |other: usize| {
            let other = &self.lanes[other];
            let full = other.life.is_open() && other.out.free() <= 1;
            if full { Room::Full } else { Room::Free }
        };
        let Some(found) = self.queue.candidate(at, idle, table, room) else { return Ok(false) };
        let here = |lost: Lost| usize::from(lost.lane) == at;
        let has_slot = matches!(found.source, Source::Again(lost) if here(lost));
        if !has_slot && !may_take(lane.out.free(), found.order, || self.smallest()) {
            return Ok(false);
        }
        match (found.chunk, found.source) {
            (Some(chunk), _) => self.send_fresh((at, registry), &found, &chunk, table)?,
            (None, Source::Again(lost)) => self.send_again(at, lost)?,
            (None, _) => return Ok(false),
        }
        Ok(true)
    }

    /// The smallest chunk that may still need a slot.
    fn smallest(&self) -> Option<Order> {
        let under_way = self.lanes.iter().filter_map(|lane| lane.out.smallest());
        under_way.chain(self.queue.smallest()).min()
    }

    fn send_fresh(
        &mut self,
        (at, registry): (usize, &Registry),
        found: &Candidate,
        chunk: &OutgoingChunk,
        table: &mut FlowTable,
    ) -> Result<(), TransportError> {
        let most = self.layout.slot_bytes - HEADER_BYTES;
        if chunk.length() > most {
            return Err(self.error(VerbsProblem::Chunk { found: chunk.length(), most }));
        }
        let bytes = (HEADER_BYTES + chunk.length()) as u32;
        let long = chunk.length() >= LEAST_DIRECT;
        let direct = if long { registry.find(chunk.address(), chunk.length()) } else { None };
        let lane = &mut self.lanes[at];
        let Some(slot) = lane.out.take(found.order, bytes) else { return Ok(()) };
        self.queue.take(at, found.source);
        let credits = lane.inbox.take_credits();
        let mut header = [0; HEADER_BYTES];
        chunk.header(u64::from(slot), credits).encode(&mut header);
        if let Some(span) = direct {
            let filled = self.staging.head((at as u8, slot), &header);
            filled.map_err(|problem| self.error(problem))?;
            // The table is told when the loan ends.
            self.lanes[at].lend(slot, Loan { chunk: *chunk, span });
            LaneCell::add(&self.lanes[at].cell.direct, 1);
        } else {
            let filled = self.staging.fill((at as u8, slot), &header, chunk);
            filled.map_err(|problem| self.error(problem))?;
            // The staging slot has a copy, from which it would be sent again.
            table.sent(chunk);
        }
        let taken = matches!(found.source, Source::Other(_));
        let cell = &self.lanes[at].cell;
        LaneCell::add(&cell.taken, u64::from(taken));
        self.write(at, slot, credits)
    }

    fn send_again(&mut self, at: usize, lost: Lost) -> Result<(), TransportError> {
        let from = usize::from(lost.lane);
        let bytes = self.lanes[from].out.bytes(lost.slot);
        let slot = if from == at {
            self.lanes[at].out.again(lost.slot);
            lost.slot
        } else {
            let Some(slot) = self.lanes[at].out.take(lost.order, bytes) else { return Ok(()) };
            let loan = self.lanes[from].loan(lost.slot);
            let there = if loan.is_some() { HEADER_BYTES as u32 } else { bytes };
            let copied = self.staging.copy((lost.lane, lost.slot), (at as u8, slot), there);
            copied.map_err(|problem| self.error(problem))?;
            self.lanes[from].out.moved(lost.slot);
            if let Some(loan) = loan {
                self.lanes[from].returned(lost.slot);
                self.lanes[at].lend(slot, loan);
            }
            slot
        };
        self.queue.take(at, Source::Again(lost));
        let credits = self.lanes[at].inbox.take_credits();
        let patched = self.staging.patch((at as u8, slot), credits);
        patched.map_err(|problem| self.error(problem))?;
        LaneCell::add(&self.lanes[at].cell.resends, 1);
        self.write(at, slot, credits)
    }

    /// Writes a staging slot to the slot of the peer.
    fn write(&mut self, at: usize, slot: u8, credits: u64) -> Result<(), TransportError> {
        let number = at as u8;
        let bytes = self.lanes[at].out.bytes(slot);
        let place = self.layout.slot(number, slot) as u64;
        let target = self.destination.region.span(place, bytes.into());
        let target = target.map_err(|problem| self.error(problem))?;
        let operation = SendOperation::WriteWithImmediate(target, Word::Data { slot }.encode());
        let what = What::Data { slot, credits };
        let lane = &mut self.lanes[at];
        let length = bytes as usize;
        let mut buffer = [0; INLINE_BYTES];
        let posted = if let Some(loan) = lane.loan(slot) {
            let head = self.staging.span(number, slot, HEADER_BYTES as u32);
            let head = head.map_err(|problem| self.error(problem))?;
            // Its completion ends the loan, for which a gate or the end of the call may wait.
            let spans = [head, loan.span];
            self.lanes[at].post(operation, Payload::Registered(&spans), what, true)
        } else if length <= lane.inline_bytes() {
            let read = self.staging.read((number, slot), &mut buffer[..length]);
            read.map_err(|problem| self.error(problem))?;
            self.lanes[at].post(operation, Payload::Inline(&buffer[..length]), what, false)
        } else {
            let span = self.staging.span(number, slot, bytes);
            let span = span.map_err(|problem| self.error(problem))?;
            self.lanes[at].post(operation, Payload::Registered(&[span]), what, false)
        };
        let cell = &self.lanes[at].cell;
        LaneCell::add(&cell.chunks, 1);
        LaneCell::add(&cell.packets, length.div_ceil(self.destination.mtu.bytes()) as u64);
        LaneCell::add(&cell.bytes, u64::from(bytes) - HEADER_BYTES as u64);
        posted.map(|_| ()).map_err(|source| {
            let lane = self.lanes[at].name();
            self.error(VerbsProblem::Post { lane, source })
        })
    }

    /// Gives credits back that no chunk has taken along: all, or where there are many.
    pub(super) fn give_credits(&mut self, all: bool) -> Result<(), TransportError> {
        let many = u32::from(self.layout.slots) / CREDIT_PART;
        for at in 0..self.lanes.len() {
            let credits = self.lanes[at].inbox.credits();
            if credits == 0 || (!all && credits < many.max(1)) {
                continue;
            }
            while self.lanes[at].inbox.credits() > 0 && self.lanes[at].has_any_room() {
                let slots = self.lanes[at].inbox.take_word();
                let target = self.destination.region.span(0, 0);
                let target = target.map_err(|problem| self.error(problem))?;
                let word = Word::Credit { slots }.encode();
                let operation = SendOperation::WriteWithImmediate(target, word);
                let what = What::Credit { slots };
                let nothing = Payload::Registered(&[]);
                if let Err(source) = self.lanes[at].post(operation, nothing, what, false) {
                    let lane = self.lanes[at].name();
                    return Err(self.error(VerbsProblem::Post { lane, source }));
                }
            }
        }
        Ok(())
    }

    /// Whether a chunk waits, or may have to be sent again.
    pub(super) fn has_work(&self) -> bool {
        !self.queue.is_empty() || self.lanes.iter().any(|lane| lane.out.is_unsure())
    }

    /// Whether a queue pair is being replaced.
    pub(super) fn is_ill(&self) -> bool {
        self.lanes.iter().any(|lane| !lane.life.is_open())
    }
}

impl Peer {
    /// The paths that have an open lane, if their set has changed; whether it has.
    pub(super) fn recount(&mut self) -> bool {
        let changed = std::mem::take(&mut self.changed);
        if changed {
            self.live.clear();
            let open = self.lanes.iter().filter(|lane| lane.life.is_open());
            self.live.extend(open.filter_map(|lane| self.labels.path(lane.number)));
            self.live.sort_unstable();
            self.live.dedup();
        }
        changed
    }

    /// Posts on each open lane a write that makes a completion, which stands for all before it.
    pub(super) fn ask_for_completions(&mut self) {
        let Ok(target) = self.destination.region.span(0, 0) else { return };
        for lane in &mut self.lanes {
            if lane.out.is_unsure() && lane.has_any_room() {
                let nothing = Payload::Registered(&[]);
                // Without it the wait is as long as it may be.
                let _ = lane.post(SendOperation::Write(target), nothing, What::Silent, true);
            }
        }
    }

    /// Notes the end of a request of a queue pair that is given up.
    pub(super) fn discard(&mut self, id: RequestId, completion: &Completion) {
        let Some(lane) = self.lanes.get_mut(usize::from(id.lane)) else { return };
        if !lane.owns(id, completion.queue_pair) {
            return;
        }
        if id.receive {
            lane.received();
        } else {
            lane.sent(id.number, false);
        }
    }
}
