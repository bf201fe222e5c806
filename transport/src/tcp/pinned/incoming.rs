//! A connection that a peer made, for its sending to this rank.
//!
//! **Exactly once.** A chunk that the peer sends again comes behind the news that its old
//! connection is lost, on whatever connection it comes; this rank closes the old one first
//! ([`Heard::Lost`]), so nothing that is still in it can land anywhere. If the chunk had been
//! placed wholly, it is passed over ([`FlowTable::is_placed`]). If it had been placed in part, the
//! first bytes of it are passed over ([`Fragment`]): a combined byte must not be combined again.

use std::io::{ErrorKind, IoSliceMut, Read};
use std::ops::Range;

use onepath_topology::{Nanos, Rank};
use socket2::Socket;

use crate::flow::{FlowTable, IncomingChunk, Match};
use crate::plan::FlowTag;
use crate::wire::{ChunkHeader, ChunkKind, HEADER_BYTES, OperationId, Signature, WireError};
use crate::{Activity, TransportError};

/// Reads of one poll, so that sending gets its turn.
const READS_A_POLL: usize = 2;

/// How much a read for a header may bring along.
const HEADER_READ_BYTES: usize = 8 << 10;

/// Chunks placed before an acknowledgement leaves although more bytes are coming.
const CHUNKS_AN_ACK: u64 = 4;

/// A chunk that waits this long for a gate or for its operation is reported as held, again and
/// again, so that the sender does not take the path for dead.
const HELD_REPORT: Nanos = Nanos::millis(25);

/// A chunk of which the first bytes were placed before its connection was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fragment {
    operation: OperationId,
    tag: FlowTag,
    offset: u64,
    done: usize,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// The next bytes are a header.
    Header,
    /// A header has been read whose payload may not be placed yet.
    Held(ChunkHeader),
    /// So many bytes are passed over, then the chunk goes on, or a header follows.
    Skip { left: usize, then: Option<(ChunkHeader, IncomingChunk, usize)> },
    /// `done` bytes of the chunk's payload have been placed.
    Payload { header: ChunkHeader, chunk: IncomingChunk, done: usize },
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The peer closed it in order.
    Closed,
    /// It broke, or the peer gave it up.
    Broken,
}

/// What a poll heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Whether bytes moved.
    Bytes(Activity),
    /// The peer has given up its connection with this index; poll again when that is closed.
    Lost(u16),
}

#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) index: u16,
    socket: Socket,
    staging: Box<[u8]>,
    /// Bytes of `staging` that have been read and not used.
    staged: Range<usize>,
    state: State,
    /// Chunks placed or passed over.
    placed: u64,
    /// The `placed` of the latest acknowledgement.
    reported: u64,
    /// Since when a chunk is held, or was last reported so.
    held: Option<Nanos>,
    /// The peer asked for a sign.
    asked: bool,
    ack: [u8; HEADER_BYTES],
    /// Bytes of `ack` that have not left.
    ack_left: usize,
    end: Option<End>,
}

impl Incoming {
    pub(super) fn new(index: u16, socket: Socket, staging_bytes: usize) -> Self {
        let staging = vec![0; staging_bytes.max(2 * HEADER_BYTES)].into_boxed_slice();
        Self {
            index,
            socket,
            staging,
            staged: 0..0,
            state: State::Header,
            placed: 0,
            reported: 0,
            held: None,
            asked: false,
            ack: [0; HEADER_BYTES],
            ack_left: 0,
            end: None,
        }
    }

    pub(super) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// How it ended, if it has.
    pub(super) fn end(&self) -> Option<End> {
        self.end
    }

    /// Whether reading it makes sense now.
    pub(super) fn may_read(&self) -> bool {
        self.end.is_none() && !matches!(self.state, State::Held(_))
    }

    /// Whether an acknowledgement waits for the socket.
    pub(super) fn is_busy(&self) -> bool {
        self.ack_left > 0 && self.end.is_none()
    }

    /// Ends it, whoever began; the chunk that was placed in part, if there is one.
    pub(super) fn close(&mut self, end: End, table: &mut FlowTable) -> Option<Fragment> {
        self.end.get_or_insert(end);
        let opened = match self.state {
            State::Payload { header, chunk, done } => Some((header, chunk, done)),
            State::Skip { then, .. } => then,
            State::Header | State::Held(_) => None,
        };
        self.state = State::Header;
        self.staged = 0..0;
        // It may be closed already.
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
        let (header, chunk, done) = opened?;
        table.abandon(&chunk);
        let ChunkHeader { operation, tag, offset, .. } = header;
        (done > 0).then_some(Fragment { operation, tag, offset, done })
    }

    /// Uses what is staged, reads more, a bounded number of times. Not to be called after the end.
    pub(super) fn poll(
        &mut self,
        peer: Rank,
        table: &mut FlowTable,
        fragments: &mut Vec<Fragment>,
    ) -> Result<Heard, TransportError> {
        let mut activity = Activity::Idle;
        for reads in 0..=READS_A_POLL {
            match self.consume(peer, table, fragments)? {
                Used::Nothing => {}
                Used::Some => activity = Activity::Moved,
                Used::Lost(index) => return Ok(Heard::Lost(index)),
            }
            if reads == READS_A_POLL || !self.may_read() || !self.read() {
                break;
            }
            activity = Activity::Moved;
        }
        Ok(Heard::Bytes(activity))
    }

    /// Uses staged bytes until they run out or a chunk is held.
    fn consume(
        &mut self,
        peer: Rank,
        table: &mut FlowTable,
        fragments: &mut Vec<Fragment>,
    ) -> Result<Used, TransportError> {
        let mut used = Used::Nothing;
        loop {
            match self.state {
                State::Header => {
                    let Some(bytes) = self.staging[self.staged.clone()].first_chunk() else {
                        return Ok(used);
                    };
                    let protocol = |problem| TransportError::Protocol { peer, problem };
                    let header = ChunkHeader::decode(bytes).map_err(protocol)?;
                    let kind = bytes[3];
                    self.staged.start += HEADER_BYTES;
                    used = Used::Some;
                    match header.kind {
                        ChunkKind::Data | ChunkKind::Resent => self.state = State::Held(header),
                        ChunkKind::Probe => self.asked = true,
                        ChunkKind::Lost => return Ok(Used::Lost(header.chunk as u16)),
                        ChunkKind::Acknowledgement => {
                            return Err(protocol(WireError::Kind { found: kind }));
                        }
                    }
                }
                State::Held(header) => match open(peer, &header, table, fragments)? {
                    Some(state) => {
                        self.state = state;
                        self.held = None;
                        used = Used::Some;
                    }
                    None => return Ok(used),
                },
                State::Skip { .. } => {
                    if !self.skip() {
                        return Ok(used);
                    }
                    used = Used::Some;
                }
                State::Payload { header, chunk, done } => {
                    let staged = &self.staging[self.staged.clone()];
                    // SAFETY: the table keeps the operation until `received` has been called for
                    // every chunk of it, and `cancel` drops this connection; the plan gives these
                    // bytes to this chunk alone, and a connection that carried the same chunk
                    // before was closed before this one was matched.
                    let taken = unsafe { chunk.place(done, staged) };
                    self.staged.start += taken;
                    let done = done + taken;
                    if done < chunk.length() {
                        self.state = State::Payload { header, chunk, done };
                        return Ok(if taken > 0 { Used::Some } else { used });
                    }
                    used = Used::Some;
                    self.state = State::Header;
                    self.placed += 1;
                    table.received(peer, &chunk);
                }
            }
        }
    }

    /// Passes over staged bytes that are not to be placed; whether all of them have come.
    fn skip(&mut self) -> bool {
        let State::Skip { left, then } = self.state else { return true };
        let skipped = left.min(self.staged.len());
        self.staged.start += skipped;
        if skipped < left {
            self.state = State::Skip { left: left - skipped, then };
            return false;
        }
        self.state = match then {
            Some((header, chunk, done)) => State::Payload { header, chunk, done },
            None => State::Header,
        };
        self.placed += u64::from(then.is_none());
        true
    }

    /// Reads once; whether anything came.
    fn read(&mut self) -> bool {
        if self.staged.is_empty() {
            self.staged = 0..0;
        } else if self.staged.end == self.staging.len() {
            self.staging.copy_within(self.staged.clone(), 0);
            self.staged = 0..self.staged.len();
        }
        let most = match self.state {
            State::Payload { chunk, .. } if chunk.is_store() => HEADER_BYTES,
            State::Payload { .. } | State::Skip { .. } => usize::MAX,
            State::Header | State::Held(_) => HEADER_READ_BYTES,
        };
        let end = self.staging.len().min(self.staged.end.saturating_add(most));
        let free = &mut self.staging[self.staged.end..end];
        let result = match self.state {
            State::Payload { header, chunk, done } if chunk.is_store() => {
                // SAFETY: as in `consume`; the reference ends with this read.
                let window = unsafe { chunk.window(done) };
                let room = window.len();
                let mut slices = [IoSliceMut::new(window), IoSliceMut::new(free)];
                (&self.socket).read_vectored(&mut slices).inspect(|&read| {
                    self.state = State::Payload { header, chunk, done: done + read.min(room) };
                    self.staged.end += read.saturating_sub(room);
                })
            }
            _ => (&self.socket).read(free).inspect(|&read| self.staged.end += read),
        };
        let between = matches!(self.state, State::Header) && self.staged.is_empty();
        match result {
            Ok(0) => self.end = Some(if between { End::Closed } else { End::Broken }),
            Ok(_) => return true,
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::Interrupted => {}
                _ => self.end = Some(End::Broken),
            },
        }
        false
    }

    /// Sends an acknowledgement if it is time: after some chunks, when nothing more is there
    /// (`pause`), when the peer asked, and now and then while a chunk is held.
    pub(super) fn poll_ack(&mut self, pause: bool, now: Nanos) {
        if self.ack_left == 0 {
            let held = matches!(self.state, State::Held(_));
            let since = *self.held.get_or_insert(now);
            if !held {
                self.held = None;
            }
            let still = held && now.since(since) >= HELD_REPORT;
            let new = self.placed - self.reported;
            let due = new >= CHUNKS_AN_ACK || (new > 0 && pause) || self.asked || still;
            if !due || self.end.is_some() {
                return;
            }
            if still {
                self.held = Some(now);
            }
            self.asked = false;
            self.reported = self.placed;
            self.header(held).encode(&mut self.ack);
            self.ack_left = HEADER_BYTES;
        }
        // An error is seen again when reading.
        if let Ok(written) = self.socket.send(&self.ack[HEADER_BYTES - self.ack_left..]) {
            self.ack_left -= written;
        }
    }

    fn header(&self, held: bool) -> ChunkHeader {
        ChunkHeader {
            kind: ChunkKind::Acknowledgement,
            length: 0,
            operation: OperationId::collective(0),
            tag: FlowTag(0),
            offset: 0,
            signature: Signature::default(),
            chunk: self.placed + u64::from(held),
            acknowledged: self.placed,
        }
    }
}

/// What was used of the staged bytes.
enum Used {
    Nothing,
    Some,
    Lost(u16),
}

/// How a chunk goes on whose header has been read; nothing if it must wait.
fn open(
    peer: Rank,
    header: &ChunkHeader,
    table: &mut FlowTable,
    fragments: &mut Vec<Fragment>,
) -> Result<Option<State>, TransportError> {
    if header.kind == ChunkKind::Resent && table.is_placed(peer, header) {
        return Ok(Some(State::Skip { left: header.length as usize, then: None }));
    }
    let mismatch = |problem| TransportError::Mismatch { peer, problem };
    let Match::Open(chunk) = table.match_chunk(peer, header).map_err(mismatch)? else {
        return Ok(None);
    };
    let is_it = |f: &Fragment| {
        (f.operation, f.tag, f.offset) == (header.operation, header.tag, header.offset)
    };
    let before = fragments.iter().position(is_it).map(|at| fragments.swap_remove(at).done);
    Ok(Some(match before {
        Some(done) => State::Skip { left: done, then: Some((*header, chunk, done)) },
        None => State::Payload { header: *header, chunk, done: 0 },
    }))
}
