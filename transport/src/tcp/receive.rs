//! The receiving half of a subflow.
//!
//! Bytes to be combined go through the staging buffer and are combined from there, in whatever
//! pieces the kernel gives; bytes to be stored are read straight to their place, with the staging
//! buffer behind them for the next header, in one scattered read.

use std::io::{ErrorKind, IoSliceMut, Read};
use std::ops::Range;

use onepath_topology::Rank;

use crate::flow::{FlowTable, IncomingChunk, Match};
use crate::wire::{ChunkHeader, ChunkKind, HEADER_BYTES, WireError};
use crate::{Activity, TransportError};

/// Reads of one poll, so that sending gets its turn.
const READS_A_POLL: usize = 2;

/// How much a read for a header may bring along: small messages whole, but little of a large
/// chunk, whose payload is better read straight to its place.
const HEADER_READ_BYTES: usize = 8 << 10;

#[derive(Clone, Copy, Debug)]
enum State {
    /// The next bytes are a header.
    Header,
    /// A header has been read whose payload may not be placed yet.
    Held(ChunkHeader),
    /// `done` bytes of the chunk's payload have been placed.
    Payload { chunk: IncomingChunk, done: usize },
}

#[derive(Debug)]
pub(super) struct Receiver {
    staging: Box<[u8]>,
    /// Bytes of `staging` that have been read and not used.
    staged: Range<usize>,
    state: State,
    placed: u64,
    /// The peer closed this subflow between two chunks.
    ended: bool,
}

impl Receiver {
    pub(super) fn new(staging_bytes: usize) -> Self {
        let staging = vec![0; staging_bytes.max(2 * HEADER_BYTES)].into_boxed_slice();
        Self { staging, staged: 0..0, state: State::Header, placed: 0, ended: false }
    }

    /// Chunks placed so far.
    pub(super) fn placed(&self) -> u64 {
        self.placed
    }

    /// Whether a chunk waits for an operation to be posted or for a gate.
    pub(super) fn is_held(&self) -> bool {
        matches!(self.state, State::Held(_))
    }

    /// Whether the peer closed this subflow between two chunks: what it sent before may still be on
    /// other subflows.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Uses what is staged, reads more, a bounded number of times.
    pub(super) fn poll(
        &mut self,
        peer: Rank,
        mut socket: impl Read,
        table: &mut FlowTable,
    ) -> Result<Activity, TransportError> {
        let mut activity = Activity::Idle;
        for _ in 0..READS_A_POLL {
            if self.consume(peer, table)? {
                activity = Activity::Moved;
            }
            if self.is_held() || self.ended || !table.expects(peer) {
                return Ok(activity);
            }
            let asked = self.read(peer, &mut socket)?;
            match asked {
                Arrived::Nothing => return Ok(activity),
                Arrived::Some => activity = Activity::Moved,
            }
        }
        if self.consume(peer, table)? {
            activity = Activity::Moved;
        }
        Ok(activity)
    }

    /// Uses staged bytes until they run out or a chunk is held; whether anything was used.
    fn consume(&mut self, peer: Rank, table: &mut FlowTable) -> Result<bool, TransportError> {
        let mut used = false;
        loop {
            match self.state {
                State::Header => {
                    let Some(bytes) = self.staging[self.staged.clone()].first_chunk() else {
                        return Ok(used);
                    };
                    let header = ChunkHeader::decode(bytes)
                        .map_err(|problem| TransportError::Protocol { peer, problem })?;
                    let kind = bytes[3];
                    self.staged.start += HEADER_BYTES;
                    used = true;
                    match header.kind {
                        ChunkKind::Data => self.state = State::Held(header),
                        ChunkKind::Acknowledgement => {}
                        ChunkKind::Resent | ChunkKind::Lost | ChunkKind::Probe => {
                            let problem = WireError::Kind { found: kind };
                            return Err(TransportError::Protocol { peer, problem });
                        }
                    }
                }
                State::Held(header) => match table.match_chunk(peer, &header) {
                    Ok(Match::Open(chunk)) => {
                        self.state = State::Payload { chunk, done: 0 };
                        used = true;
                    }
                    Ok(Match::NotPosted | Match::Closed) => return Ok(used),
                    Err(problem) => return Err(TransportError::Mismatch { peer, problem }),
                },
                State::Payload { chunk, done } => {
                    let staged = &self.staging[self.staged.clone()];
                    // SAFETY: the table keeps the operation until `received` has been called for
                    // every chunk of it, and `cancel` drops this receiver; the plan gives these
                    // bytes to this chunk alone.
                    let taken = unsafe { chunk.place(done, staged) };
                    self.staged.start += taken;
                    used |= taken > 0;
                    if done + taken == chunk.length() {
                        self.state = State::Header;
                        self.placed += 1;
                        table.received(peer, &chunk);
                    } else {
                        self.state = State::Payload { chunk, done: done + taken };
                        return Ok(used);
                    }
                }
            }
        }
    }

    fn read(&mut self, peer: Rank, socket: &mut impl Read) -> Result<Arrived, TransportError> {
        if self.staged.is_empty() {
            self.staged = 0..0;
        } else if self.staged.end == self.staging.len() {
            // Less than a header or an element is left: move it to the front.
            self.staging.copy_within(self.staged.clone(), 0);
            self.staged = 0..self.staged.len();
        }
        let most = match self.state {
            State::Payload { chunk, .. } if chunk.is_store() => HEADER_BYTES,
            State::Payload { .. } => usize::MAX,
            State::Header | State::Held(_) => HEADER_READ_BYTES,
        };
        let end = self.staging.len().min(self.staged.end.saturating_add(most));
        let free = &mut self.staging[self.staged.end..end];
        let result = match self.state {
            State::Payload { chunk, done } if chunk.is_store() => {
                // SAFETY: as in `consume`; the reference ends with this read.
                let window = unsafe { chunk.window(done) };
                let room = window.len();
                let mut slices = [IoSliceMut::new(window), IoSliceMut::new(free)];
                socket.read_vectored(&mut slices).inspect(|&read| {
                    self.state = State::Payload { chunk, done: done + read.min(room) };
                    self.staged.end += read.saturating_sub(room);
                })
            }
            _ => socket.read(free).inspect(|&read| self.staged.end += read),
        };
        match result {
            Ok(0) if matches!(self.state, State::Header) && self.staged.is_empty() => {
                self.ended = true;
                Ok(Arrived::Nothing)
            }
            Ok(0) => Err(TransportError::Closed { peer }),
            Ok(_) => Ok(Arrived::Some),
            Err(error) => failed(peer, error),
        }
    }
}

/// What a read brought.
enum Arrived {
    Nothing,
    Some,
}

fn failed(peer: Rank, source: std::io::Error) -> Result<Arrived, TransportError> {
    match source.kind() {
        ErrorKind::WouldBlock | ErrorKind::Interrupted => Ok(Arrived::Nothing),
        ErrorKind::ConnectionReset => Err(TransportError::Closed { peer }),
        _ => Err(TransportError::Io { peer, action: "receive from", source }),
    }
}
