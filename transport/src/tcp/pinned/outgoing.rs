//! A connection that this rank made, for its own sending over one path.

use std::collections::VecDeque;
use std::io::{ErrorKind, IoSlice, Read};
use std::sync::Arc;

use onepath_topology::{Nanos, Rank};
use socket2::Socket;

use crate::eager::EagerPool;
use crate::flow::{FlowTable, OutgoingChunk};
use crate::plan::FlowTag;
use crate::wire::{ChunkHeader, ChunkKind, HEADER_BYTES, OperationId, Signature, WireError};
use crate::{Activity, TransportError};

use super::counters::PathCell;
use super::deal::{Deal, Loads, Order, Origin, Parcel};
use super::kernel::KernelView;
use super::paths::{PathDeath, PinnedOptions};
use super::vital::{Verdict, Vital};

/// Frames that one gathered write takes at most.
const BATCH_FRAMES: usize = 8;

/// Chunks of one connection that are not acknowledged, at most.
const MAX_UNACKED: usize = 128;

/// Acknowledgements read at once.
const ACK_FRAMES: usize = 16;

/// Why a connection ended.
#[derive(Debug)]
pub(super) enum Fault {
    /// The path failed; the peer may be well.
    Path(PathDeath),
    /// The peer breaks the protocol.
    Peer(TransportError),
}

/// What a connection works with, apart from itself.
#[derive(Debug)]
pub(super) struct Work<'a> {
    pub(super) peer: Rank,
    pub(super) lane: usize,
    pub(super) table: &'a mut FlowTable,
    pub(super) deal: &'a mut Deal,
    pub(super) loads: &'a mut Loads,
    pub(super) eager: &'a mut EagerPool,
    /// Indices of the connections to this peer that were given up, in order.
    pub(super) lost: &'a [u16],
    pub(super) options: &'a PinnedOptions,
    pub(super) now: Nanos,
}

impl Work<'_> {
    /// Bytes under way on the path of this connection, to all peers.
    fn under_way(&mut self) -> &mut usize {
        &mut self.loads.0[self.deal.lanes[self.lane].links]
    }
}

#[derive(Debug)]
struct Unacked {
    parcel: Parcel,
    /// When its last byte was taken by the kernel.
    left: Option<Nanos>,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) index: u16,
    socket: Socket,
    headers: [[u8; HEADER_BYTES]; BATCH_FRAMES],
    /// The chunk number of each frame of the batch; nothing for a frame without payload.
    frames: [Option<u64>; BATCH_FRAMES],
    count: usize,
    /// Frames of the batch that have wholly left.
    gone: usize,
    /// Bytes of frame `gone` that have left.
    partial: usize,
    /// Number of the latest chunk.
    number: u64,
    /// Number of the latest chunk that has wholly left.
    left: u64,
    acknowledged: u64,
    unacked: VecDeque<Unacked>,
    unacked_bytes: usize,
    /// How many of the lost connections the peer has been told of over this one.
    announced: usize,
    acks: [u8; HEADER_BYTES * ACK_FRAMES],
    filled: usize,
    vital: Vital,
    /// Whether the peer is to be asked for a sign that it reads.
    probe: bool,
    /// Bytes acknowledged since the last look at the clock.
    recent: u64,
    cell: Opened,
}

/// Counters that know of one open connection more, as long as this lives.
#[derive(Debug)]
struct Opened(Arc<PathCell>);

impl Drop for Opened {
    fn drop(&mut self) {
        PathCell::take_one(&self.0.open);
    }
}

impl Outgoing {
    pub(super) fn new(index: u16, socket: Socket, vital: Vital, cell: Arc<PathCell>) -> Self {
        PathCell::add(&cell.opened, 1);
        PathCell::add(&cell.open, 1);
        Self {
            index,
            socket,
            headers: [[0; HEADER_BYTES]; BATCH_FRAMES],
            frames: [None; BATCH_FRAMES],
            count: 0,
            gone: 0,
            partial: 0,
            number: 0,
            left: 0,
            acknowledged: 0,
            unacked: VecDeque::with_capacity(MAX_UNACKED),
            unacked_bytes: 0,
            announced: 0,
            acks: [0; HEADER_BYTES * ACK_FRAMES],
            filled: 0,
            vital,
            probe: false,
            recent: 0,
            cell: Opened(cell),
        }
    }

    pub(super) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Whether a batch waits for the socket.
    pub(super) fn is_busy(&self) -> bool {
        self.gone < self.count
    }

    /// Whether chunks wait for their acknowledgement.
    pub(super) fn is_awaiting(&self) -> bool {
        !self.unacked.is_empty()
    }

    /// Whether nothing of an operation that may be in flight is under way: only copies are.
    pub(super) fn is_settled(&self) -> bool {
        !self.is_busy() && self.unacked.iter().all(|unacked| unacked.parcel.told)
    }

    /// Whether it has something to say apart from chunks.
    pub(super) fn has_news(&self, lost: &[u16]) -> bool {
        self.probe || self.announced < lost.len()
    }

    /// Asks the peer for a sign that it reads, if nothing else is under way that would bring one.
    pub(super) fn ask(&mut self) {
        self.probe = self.unacked.is_empty();
    }

    /// Bytes under way that are not acknowledged.
    pub(super) fn unacked_bytes(&self) -> usize {
        self.unacked_bytes
    }

    /// Bytes acknowledged since this was last called.
    pub(super) fn take_recent(&mut self) -> u64 {
        std::mem::take(&mut self.recent)
    }

    /// Patience with the connection that follows this one.
    pub(super) fn next_backoff(&self) -> u32 {
        self.vital.next_backoff()
    }

    /// Whether the path is alive; `peer_read` is when the peer was last seen reading.
    pub(super) fn judge(&mut self, now: Nanos, peer_read: Nanos) -> Verdict {
        if self.unacked.is_empty() || !self.vital.is_quiet(now) {
            return Verdict::Alive;
        }
        let view = KernelView::of(&self.socket);
        self.vital.judge(now, peer_read, view)
    }

    /// Gives up the connection, at once and without a word, and hands over what was not
    /// acknowledged.
    pub(super) fn bury(self) -> impl Iterator<Item = Parcel> {
        // A reset instead of an orderly end: bytes under way are of no use any more. A failure
        // changes nothing, since the peer learns of it over another connection.
        let _ = self.socket.set_linger(Some(std::time::Duration::ZERO));
        self.unacked.into_iter().map(|unacked| unacked.parcel)
    }

    /// Reads acknowledgements; whether there were any.
    pub(super) fn poll_acks(&mut self, work: &mut Work<'_>) -> Result<bool, Fault> {
        match (&self.socket).read(&mut self.acks[self.filled..]) {
            Ok(0) => return Err(Fault::Path(PathDeath::Closed)),
            Ok(read) => self.filled += read,
            Err(error) => return failed(&error).map(|()| false),
        }
        let whole = self.filled / HEADER_BYTES * HEADER_BYTES;
        let peer = work.peer;
        let problem = |problem| Fault::Peer(TransportError::Protocol { peer, problem });
        for at in (0..whole).step_by(HEADER_BYTES) {
            let mut bytes = [0; HEADER_BYTES];
            bytes.copy_from_slice(&self.acks[at..at + HEADER_BYTES]);
            let header = ChunkHeader::decode(&bytes).map_err(problem)?;
            if header.kind != ChunkKind::Acknowledgement {
                return Err(problem(WireError::Kind { found: bytes[3] }));
            }
            if !(self.acknowledged..=self.left).contains(&header.acknowledged) {
                return Err(problem(WireError::Acknowledged { found: header.acknowledged }));
            }
            self.acknowledge(header.acknowledged, work);
        }
        self.acks.copy_within(whole..self.filled, 0);
        self.filled -= whole;
        self.vital.moved(work.now);
        Ok(whole > 0)
    }

    fn acknowledge(&mut self, up_to: u64, work: &mut Work<'_>) {
        while self.acknowledged < up_to {
            let Some(Unacked { parcel, left }) = self.unacked.pop_front() else { return };
            self.acknowledged += 1;
            self.unacked_bytes -= parcel.chunk.length();
            *work.under_way() -= parcel.chunk.length();
            self.recent += parcel.chunk.length() as u64;
            if let Some(left) = left {
                self.vital.sample(work.now.since(left));
            }
            if !parcel.told {
                work.table.sent(&parcel.chunk);
            }
            work.eager.give_back(parcel.copy);
        }
    }

    /// Writes what the socket takes, once.
    pub(super) fn poll_send(&mut self, work: &mut Work<'_>) -> Result<Activity, Fault> {
        if !self.is_busy() {
            self.fill(work);
            if self.count == 0 {
                return Ok(Activity::Idle);
            }
        }
        let mut slices = [IoSlice::new(&[]); 2 * BATCH_FRAMES];
        let mut used = 0;
        let mut skip = self.partial;
        for at in self.gone..self.count {
            let payload = match self.frames[at] {
                // SAFETY: the operation is not complete before `acknowledge` above, or `leave`
                // below for a chunk with a copy, has told the table of this chunk, and `cancel`
                // drops this connection; a copy is alive as long as its parcel is in `unacked`.
                Some(number) => unsafe { self.chunk(number).payload() },
                None => &[],
            };
            for part in [&self.headers[at][..], payload] {
                let rest = &part[skip.min(part.len())..];
                skip -= part.len() - rest.len();
                if !rest.is_empty() {
                    slices[used] = IoSlice::new(rest);
                    used += 1;
                }
            }
        }
        match self.socket.send_vectored(&slices[..used]) {
            Ok(written) => self.advance(written, work),
            Err(error) => return failed(&error).map(|()| Activity::Idle),
        }
        Ok(Activity::Moved)
    }

    fn chunk(&self, number: u64) -> &OutgoingChunk {
        &self.unacked[(number - self.acknowledged - 1) as usize].parcel.chunk
    }

    fn fill(&mut self, work: &mut Work<'_>) {
        let mut bytes = 0;
        (self.count, self.gone, self.partial) = (0, 0, 0);
        while self.count < BATCH_FRAMES && bytes < work.options.batch_bytes {
            if let Some(&lost) = work.lost.get(self.announced) {
                self.announced += 1;
                self.put(control(ChunkKind::Lost, u64::from(lost)), None);
                continue;
            }
            if std::mem::take(&mut self.probe) {
                self.put(control(ChunkKind::Probe, 0), None);
                continue;
            }
            let full = self.unacked.len() == MAX_UNACKED
                || self.unacked_bytes >= work.options.window_bytes;
            let behind = self.unacked.back().map(|unacked| unacked.parcel.order);
            let parcel = if full { None } else { Self::next(behind, work) };
            let Some(parcel) = parcel else { return };
            bytes += parcel.chunk.length();
            *work.under_way() += parcel.chunk.length();
            self.send(parcel, work.now);
        }
    }

    /// The next chunk, copied if its call need not wait for it.
    fn next(behind: Option<Order>, work: &mut Work<'_>) -> Option<Parcel> {
        let mut parcel = work.deal.next(work.lane, behind, work.table, work.loads)?;
        if parcel.eager && parcel.copy.is_none() && !parcel.told {
            // SAFETY: it was pulled in this moment, and the table has not been told of it.
            let payload = unsafe { parcel.chunk.payload() };
            parcel.copy = work.eager.copy(payload);
            if let Some(copy) = &parcel.copy {
                parcel.chunk = parcel.chunk.copied_to(copy.as_ptr());
            }
        }
        Some(parcel)
    }

    fn send(&mut self, parcel: Parcel, now: Nanos) {
        self.number += 1;
        let mut header = parcel.chunk.header(self.number, 0);
        if parcel.origin == Origin::Resent {
            header.kind = ChunkKind::Resent;
            PathCell::add(&self.cell.0.resends, 1);
        }
        PathCell::add(&self.cell.0.used, u64::from(self.number == 1));
        PathCell::add(&self.cell.0.chunks, 1);
        PathCell::add(&self.cell.0.taken, u64::from(parcel.origin == Origin::Taken));
        PathCell::add(&self.cell.0.bytes, parcel.chunk.length() as u64);
        self.put(header, Some(self.number));
        if self.unacked.is_empty() {
            self.vital.moved(now);
        }
        self.unacked_bytes += parcel.chunk.length();
        self.unacked.push_back(Unacked { parcel, left: None });
    }

    fn put(&mut self, header: ChunkHeader, number: Option<u64>) {
        header.encode(&mut self.headers[self.count]);
        self.frames[self.count] = number;
        self.count += 1;
    }

    fn advance(&mut self, written: usize, work: &mut Work<'_>) {
        self.partial += written;
        while self.gone < self.count {
            let number = self.frames[self.gone];
            let payload = number.map_or(0, |number| self.chunk(number).length());
            if self.partial < HEADER_BYTES + payload {
                return;
            }
            self.partial -= HEADER_BYTES + payload;
            self.gone += 1;
            if let Some(number) = number {
                self.leave(number, work);
            }
        }
    }

    fn leave(&mut self, number: u64, work: &mut Work<'_>) {
        self.left = number;
        let unacked = &mut self.unacked[(number - self.acknowledged - 1) as usize];
        unacked.left = Some(work.now);
        if unacked.parcel.copy.is_some() && !unacked.parcel.told {
            unacked.parcel.told = true;
            work.table.sent(&unacked.parcel.chunk);
        }
    }
}

fn control(kind: ChunkKind, chunk: u64) -> ChunkHeader {
    ChunkHeader {
        kind,
        length: 0,
        operation: OperationId::collective(0),
        tag: FlowTag(0),
        offset: 0,
        signature: Signature::default(),
        chunk,
        acknowledged: 0,
    }
}

/// What an error of a socket means: nothing, or that the path has failed.
pub(super) fn failed(error: &std::io::Error) -> Result<(), Fault> {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::Interrupted => Ok(()),
        ErrorKind::TimedOut | ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
            Err(Fault::Path(PathDeath::Silent))
        }
        _ => Err(Fault::Path(PathDeath::Closed)),
    }
}
