//! One peer: its connection, the chunks under way to it, and the places of those that come.

use std::sync::Arc;

use onepath_topology::fabric::{LeafId, PathId};
use onepath_topology::{Nanos, Rank};
use socket2::SockAddr;

use crate::TransportError;
use crate::eager::EagerPool;
use crate::flow::{FlowTable, IncomingChunk, Match, OutgoingChunk, SendQueue};
use crate::proto::{
    Body, ChunkInfo, ChunkNumber, CloseReason, Connection, ConnectionError, EarlyBuffer, Entropy,
    Event, IncomingPiece, MAX_HEADER_BYTES, ReceiveError, Transmit,
};

use super::batch::{Batch, Datagram, Payload};
use super::counters::Cell;
use super::lanes::Lanes;

/// How often the last acknowledgement of a call is said again, by a port each, where packets get
/// lost: a peer that does not hear it waits until this rank makes its next call.
const EMPHASIS: u8 = 3;

/// For so many ends of a call a loss counts. (What is lost once, a trial of a size, is not to cost
/// every small call something for ever.)
const REMEMBERED: u8 = 16;

/// A chunk on its way.
#[derive(Debug)]
struct Parcel {
    chunk: OutgoingChunk,
    /// The copy of its payload, if it was copied: its flow was told at once that it has left.
    copy: Option<Box<[u8]>>,
}

/// The paths to a peer, when flows are assigned to them.
#[derive(Debug)]
pub(super) struct Assigned {
    pub(super) leaf: LeafId,
    /// By lane.
    pub(super) paths: Vec<PathId>,
    /// Those in use.
    pub(super) live: Vec<PathId>,
    /// The same, being counted again; kept for its memory.
    counted: Vec<PathId>,
}

impl Assigned {
    pub(super) fn new(leaf: LeafId, paths: Vec<PathId>) -> Self {
        let room = || Vec::with_capacity(paths.len());
        let (live, counted) = (room(), room());
        Self { leaf, paths, live, counted }
    }
}

#[derive(Debug)]
pub(super) struct Peer {
    pub(super) rank: Rank,
    /// Index among the peers.
    index: u32,
    pub(super) address: SockAddr,
    pub(super) connection: Connection,
    /// The socket of each entropy.
    sockets: Box<[u16]>,
    pub(super) assigned: Option<Assigned>,
    lanes: Lanes,
    pub(super) queue: SendQueue,
    /// Chunks handed over whose arrival is not known, by number modulo the chunk window.
    outgoing: Box<[Option<Parcel>]>,
    handed: u64,
    /// Of those, how many there are, and how many were not copied.
    under_way: usize,
    borrowed: usize,
    /// Places of chunks that are arriving, by number modulo the chunk window.
    incoming: Box<[Option<IncomingChunk>]>,
    early: EarlyBuffer,
    /// Something is in the early buffer.
    has_early: bool,
    closed: Option<CloseReason>,
    /// How often the last acknowledgement, which may be the last for long, is to be said again.
    emphasis: u8,
    /// [`Connection::troubles`] at the end of this rank's part in the last call, and how many more
    /// ends are troubled by what came before.
    troubles: u64,
    troubled: u8,
    pub(super) cell: Arc<Cell>,
    /// By entropy: whether it carried data; and how many did.
    used: Box<[bool]>,
    ports_used: u64,
    /// Something was counted since the counters were shown.
    uncounted: bool,
}

/// What a peer is made of.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) rank: Rank,
    pub(super) index: u32,
    pub(super) address: SockAddr,
    pub(super) connection: Connection,
    pub(super) sockets: Box<[u16]>,
    pub(super) assigned: Option<Assigned>,
    pub(super) lanes: Lanes,
    pub(super) chunk_window: usize,
    pub(super) early_bytes: u32,
}

/// Puts a piece of a chunk to its place.
fn place(chunk: &IncomingChunk, offset: u32, bytes: &[u8]) {
    // SAFETY: the table keeps the operation until `received` has been called for every chunk of
    // it, and `cancel` drops this peer; the connection hands over each byte of a chunk once.
    let taken = unsafe { chunk.place(offset as usize, bytes) };
    debug_assert_eq!(taken, bytes.len(), "pieces are whole elements inside their chunk");
}

impl Peer {
    pub(super) fn new(parts: Parts) -> Self {
        let sockets = parts.sockets.len();
        Self {
            rank: parts.rank,
            index: parts.index,
            address: parts.address,
            connection: parts.connection,
            sockets: parts.sockets,
            assigned: parts.assigned,
            lanes: parts.lanes,
            queue: SendQueue::default(),
            outgoing: (0..parts.chunk_window).map(|_| None).collect(),
            handed: 0,
            under_way: 0,
            borrowed: 0,
            incoming: (0..parts.chunk_window).map(|_| None).collect(),
            early: EarlyBuffer::new(parts.early_bytes),
            has_early: false,
            closed: None,
            emphasis: 0,
            troubles: 0,
            troubled: 0,
            cell: Arc::new(Cell::new(parts.rank)),
            used: vec![false; sockets].into_boxed_slice(),
            ports_used: 0,
            uncounted: false,
        }
    }

    /// Whether there is something to be sent or acknowledged to this rank.
    pub(super) fn has_work(&self) -> bool {
        !self.queue.is_empty() || self.borrowed > 0
    }

    /// Whether data are under way to this rank or wait to be.
    pub(super) fn is_sending(&self) -> bool {
        !self.queue.is_empty() || self.under_way > 0
    }

    /// Whether no operation in flight has anything to do with this rank.
    pub(super) fn is_settled(&self) -> bool {
        !self.has_work() && self.incoming.iter().all(Option::is_none)
    }

    /// Whether copied payloads are not acknowledged.
    pub(super) fn has_copies(&self) -> bool {
        self.closed.is_none() && self.under_way > 0
    }

    fn failed(&self, error: ConnectionError) -> TransportError {
        let peer = self.rank;
        match error {
            ConnectionError::Closed { .. } => TransportError::Closed { peer },
            problem => TransportError::Connection { peer, problem },
        }
    }

    /// Takes in a datagram that names this peer's connection; whether it was of use. One whose tag
    /// is wrong, or that is damaged, is passed over.
    pub(super) fn receive(
        &mut self,
        datagram: &[u8],
        marked: bool,
        now: Nanos,
        (table, batch, eager): (&mut FlowTable, &mut Batch, &mut EagerPool),
    ) -> Result<bool, TransportError> {
        self.uncounted = true;
        match self.connection.handle_datagram(now, marked, datagram) {
            Ok(Some((piece, payload))) => self.take(&piece, payload, now, table)?,
            Ok(None) => {}
            Err(ReceiveError::Packet(_)) => return Ok(false),
            Err(ReceiveError::Connection(ConnectionError::Closed { reason })) => {
                self.end(reason, table, batch, eager);
            }
            Err(ReceiveError::Connection(error)) => return Err(self.failed(error)),
        }
        while let Some(event) = self.connection.poll_event() {
            if let Event::ChunkArrived { token } = event {
                self.arrived(token, table, batch, eager);
            }
        }
        Ok(true)
    }

    /// The peer has all bytes of a chunk: its memory is the caller's again.
    fn arrived(
        &mut self,
        token: u64,
        table: &mut FlowTable,
        batch: &mut Batch,
        eager: &mut EagerPool,
    ) {
        let at = (token % self.outgoing.len() as u64) as usize;
        let Some(parcel) = self.outgoing[at].take() else { return };
        batch.forget(self.index, token);
        self.under_way -= 1;
        if parcel.copy.is_some() {
            eager.give_back(parcel.copy);
        } else {
            self.borrowed -= 1;
            table.sent(&parcel.chunk);
        }
    }

    /// The peer has closed. If it had nothing more to do, it needs no chunk that is under way any
    /// more: either it has that, or it left without asking for it.
    fn end(
        &mut self,
        reason: CloseReason,
        table: &mut FlowTable,
        batch: &mut Batch,
        eager: &mut EagerPool,
    ) {
        if self.closed.replace(reason).is_some() || reason != CloseReason::Finished {
            return;
        }
        for token in self.handed.saturating_sub(self.outgoing.len() as u64)..self.handed {
            self.arrived(token, table, batch, eager);
        }
    }

    /// The peer has left in good order, as the control plane says: its own goodbye, a datagram
    /// that nobody repeats, may be lost like its last acknowledgement. As long as something is
    /// expected of it, that may still come.
    pub(super) fn left(&mut self, table: &mut FlowTable, batch: &mut Batch, eager: &mut EagerPool) {
        if self.closed.is_none() && self.has_work() && !table.expects(self.rank) {
            self.connection.close(CloseReason::Finished);
            self.end(CloseReason::Finished, table, batch, eager);
        }
    }

    /// An error if the peer is gone and something is expected of it.
    pub(super) fn check(&self, table: &FlowTable) -> Result<(), TransportError> {
        let Some(reason) = self.closed else { return Ok(()) };
        // What it sent before it left in good order may still be waiting for a gate.
        let may_have_all = self.has_early && reason == CloseReason::Finished;
        let expects = table.expects(self.rank) && !may_have_all;
        if self.has_work() || expects {
            return Err(TransportError::Closed { peer: self.rank });
        }
        Ok(())
    }

    /// Puts a new piece to its place, if that is known, or keeps it.
    fn take(
        &mut self,
        piece: &IncomingPiece,
        payload: &[u8],
        now: Nanos,
        table: &mut FlowTable,
    ) -> Result<(), TransportError> {
        let at = (piece.chunk.0 % self.incoming.len() as u64) as usize;
        if piece.open {
            if let Some(chunk) = &self.incoming[at] {
                place(chunk, piece.offset, payload);
            }
        } else if self.is_first(piece) {
            let Some(chunk) = self.find(piece.chunk, table)? else {
                self.keep(piece, payload);
                return Ok(());
            };
            place(&chunk, piece.offset, payload);
            self.connection.open(piece.chunk);
            self.incoming[at] = Some(chunk);
        } else {
            // Found again with what is there already.
            self.keep(piece, payload);
            return Ok(());
        }
        if piece.complete { self.deliver(piece.chunk, now, table) } else { Ok(()) }
    }

    fn keep(&mut self, piece: &IncomingPiece, payload: &[u8]) {
        self.early.store(piece, payload);
        self.has_early = true;
    }

    /// Whether nothing else of the chunk has come.
    fn is_first(&self, piece: &IncomingPiece) -> bool {
        let (from, to) = (piece.offset, piece.offset + piece.length);
        let only = self.connection.present(piece.chunk, 0).map(|(run, _)| run) == Some(from..to);
        only && self.connection.present(piece.chunk, to).is_none()
    }

    /// The place of a chunk, if its operation is posted and its gates are open.
    fn find(
        &self,
        chunk: ChunkNumber,
        table: &mut FlowTable,
    ) -> Result<Option<IncomingChunk>, TransportError> {
        let Some(header) = self.connection.header(chunk) else { return Ok(None) };
        match table.match_chunk(self.rank, &header) {
            Ok(Match::Open(chunk)) => Ok(Some(chunk)),
            Ok(Match::NotPosted | Match::Closed) => Ok(None),
            Err(problem) => Err(TransportError::Mismatch { peer: self.rank, problem }),
        }
    }

    fn deliver(
        &mut self,
        number: ChunkNumber,
        now: Nanos,
        table: &mut FlowTable,
    ) -> Result<(), TransportError> {
        let at = (number.0 % self.incoming.len() as u64) as usize;
        if let Some(chunk) = self.incoming[at].take() {
            table.received(self.rank, &chunk);
        }
        if !table.expects(self.rank) {
            // The caller may not come back for long.
            self.connection.acknowledge_now();
            self.emphasis = if self.is_troubled() { EMPHASIS } else { 0 };
        }
        self.connection.deliver(number, now).map_err(|error| self.failed(error))
    }

    /// Whether something was lost lately, at the end of this rank's part in a call.
    fn is_troubled(&mut self) -> bool {
        let before = std::mem::replace(&mut self.troubles, self.connection.troubles());
        self.troubled =
            if self.troubles > before { REMEMBERED } else { self.troubled.saturating_sub(1) };
        self.troubled > 0
    }

    /// Looks again for the places of what came early; whether any was found. To be called when
    /// operations were posted or gates may have opened.
    pub(super) fn open_early(
        &mut self,
        now: Nanos,
        table: &mut FlowTable,
    ) -> Result<bool, TransportError> {
        if !self.has_early {
            return Ok(false);
        }
        let (mut any, mut left) = (false, false);
        let mut from = ChunkNumber(0);
        while let Some(number) = self.connection.next_early(from) {
            from = ChunkNumber(number.0 + 1);
            let Some(chunk) = self.find(number, table)? else {
                left = true;
                continue;
            };
            any = true;
            let mut done = 0;
            while let Some((run, position)) = self.connection.present(number, done) {
                let [one, two] = self.early.load(position, run.end - run.start);
                place(&chunk, run.start, one);
                place(&chunk, run.start + one.len() as u32, two);
                done = run.end;
            }
            self.connection.open(number);
            self.incoming[(number.0 % self.incoming.len() as u64) as usize] = Some(chunk);
            if self.connection.is_complete(number) {
                self.deliver(number, now, table)?;
            }
        }
        self.has_early = left;
        Ok(any)
    }

    /// Shows what was counted.
    pub(super) fn count(&mut self) {
        if std::mem::take(&mut self.uncounted) {
            self.cell.store(self.connection.stats(), self.ports_used);
        }
    }

    /// Acts on the time.
    pub(super) fn on_time(&mut self, now: Nanos) -> Result<(), TransportError> {
        if self.connection.poll_timeout().is_some_and(|at| at <= now) {
            self.connection.handle_timeout(now).map_err(|error| self.failed(error))?;
        }
        Ok(())
    }

    /// Puts what may leave now into the batch; whether there was room for all of it.
    pub(super) fn transmit(
        &mut self,
        now: Nanos,
        table: &mut FlowTable,
        batch: &mut Batch,
        eager: &mut EagerPool,
        eager_bytes: usize,
    ) -> bool {
        loop {
            if !batch.has_room() {
                return false;
            }
            self.feed(table, eager, eager_bytes);
            match self.connection.poll_transmit(now) {
                Some(transmit) => self.seal(&transmit, batch),
                None if self.emphasis > 0 => {
                    self.emphasis -= 1;
                    self.connection.acknowledge_now();
                }
                None => return true,
            }
        }
    }

    /// Hands chunks over while the connection wants them and gates are open.
    fn feed(&mut self, table: &mut FlowTable, eager: &mut EagerPool, eager_bytes: usize) {
        while !self.queue.is_empty() && self.connection.wants_chunk() {
            let Some(mut chunk) = table.pull(&mut self.queue) else { return };
            let in_use = |lane| self.connection.is_in_use(Entropy(lane));
            let lane = self.lanes.next(table, &chunk, in_use);
            let mut copy = None;
            if table.send_bytes(chunk.slot(), chunk.send()) <= eager_bytes {
                // SAFETY: the chunk was pulled just now, and its operation is not complete.
                copy = eager.copy(unsafe { chunk.payload() });
            }
            if let Some(copy) = &copy {
                table.sent(&chunk);
                chunk = chunk.copied_to(copy.as_ptr());
            } else {
                self.borrowed += 1;
            }
            let header = chunk.header(0, 0);
            let info = ChunkInfo {
                operation: header.operation,
                tag: header.tag,
                offset: header.offset,
                length: header.length,
                signature: header.signature,
            };
            let token = self.handed;
            let pushed = self.connection.push_chunk(&info, lane, token);
            debug_assert_eq!(pushed.map(|number| number.0), Ok(token), "it wanted one");
            let at = (token % self.outgoing.len() as u64) as usize;
            self.outgoing[at] = Some(Parcel { chunk, copy });
            self.handed += 1;
            self.under_way += 1;
        }
    }

    fn seal(&mut self, transmit: &Transmit, batch: &mut Batch) {
        let payload = match transmit.piece {
            Some(piece) => {
                let at = (piece.token % self.outgoing.len() as u64) as usize;
                let Some(parcel) = &self.outgoing[at] else {
                    debug_assert!(false, "a chunk that has arrived is sent again");
                    return;
                };
                let (offset, length) = (piece.offset as usize, piece.length as usize);
                Payload::Piece { chunk: parcel.chunk, token: piece.token, offset, length }
            }
            None => match transmit.packet.payload_bytes() {
                0 => Payload::Padding(0),
                trial => Payload::Trial(trial),
            },
        };
        let mut header = [0; MAX_HEADER_BYTES];
        // SAFETY: chunks stay in `outgoing` only until they have arrived, before which their
        // operation is not complete; a cancelled transport drops this peer.
        let bytes = unsafe { payload.bytes() };
        let header_bytes = self.connection.seal(&transmit.packet, bytes, &mut header);
        let at = usize::from(transmit.entropy.0) % self.sockets.len();
        let socket = self.sockets[at];
        if transmit.piece.is_some() {
            self.ports_used += u64::from(!std::mem::replace(&mut self.used[at], true));
        }
        self.uncounted = true;
        batch.push(socket, self.index, Datagram { header, header_bytes, payload });
    }

    /// Says goodbye: the last datagram, by several sockets, since nobody acknowledges it.
    pub(super) fn close(&mut self, reason: CloseReason, copies: usize, batch: &mut Batch) {
        if self.closed.is_some() {
            return;
        }
        self.connection.close(reason);
        let Some(transmit) = self.connection.poll_transmit(Nanos(0)) else { return };
        debug_assert!(matches!(transmit.packet.body, Body::Close { .. }));
        let mut header = [0; MAX_HEADER_BYTES];
        let header_bytes = self.connection.seal(&transmit.packet, &[], &mut header);
        // Not over paths that are known to be dead.
        let entropies = self.connection.path_stats().zip(&self.sockets);
        let in_use = entropies.filter(|(path, _)| path.in_use).map(|(_, &socket)| socket);
        for socket in in_use.take(copies) {
            let payload = Payload::Padding(0);
            if batch.has_room() {
                batch.push(socket, self.index, Datagram { header, header_bytes, payload });
            }
        }
    }

    /// Counts the paths that are in use again; whether they have changed.
    pub(super) fn recount(&mut self) -> bool {
        let Some(assigned) = &mut self.assigned else { return false };
        let in_use = self.connection.path_stats().map(|path| path.in_use);
        let used = assigned.paths.iter().zip(in_use).filter(|&(_, used)| used);
        assigned.counted.clear();
        assigned.counted.extend(used.map(|(&path, _)| path));
        assigned.counted.sort_unstable();
        let changed = assigned.counted != assigned.live;
        std::mem::swap(&mut assigned.counted, &mut assigned.live);
        changed
    }
}
