//! Datagrams that are about to leave, and runs of them that leave together.
//!
//! Datagrams of one size for one peer by one socket leave with one system call: the kernel cuts
//! what it is given at that size (generic segmentation offload). Payloads are read where they are.

use std::io::{self, IoSlice};

use socket2::SockAddr;

use crate::flow::OutgoingChunk;
use crate::proto::MAX_HEADER_BYTES;

use super::sockets::{SendPort, Sending};

/// Datagrams that wait at most.
const DATAGRAMS: usize = 256;

/// Datagrams of one run: `UDP_MAX_SEGMENTS` of older kernels.
const RUN: usize = 64;

/// Bytes of one run: the kernel takes no longer UDP payload.
const RUN_BYTES: usize = 65_000;

static ZEROS: [u8; 1 << 16] = [0; 1 << 16];

/// What follows the header.
#[derive(Clone, Copy, Debug)]
pub(super) enum Payload {
    /// So many zeros.
    Padding(usize),
    /// A piece of a chunk, of which the peer's connection knows by this token.
    Piece { chunk: OutgoingChunk, token: u64, offset: usize, length: usize },
}

impl Payload {
    fn length(&self) -> usize {
        match *self {
            Self::Padding(length) | Self::Piece { length, .. } => length,
        }
    }

    /// The bytes.
    ///
    /// # Safety
    /// As [`OutgoingChunk::payload`].
    pub(super) unsafe fn bytes<'a>(&self) -> &'a [u8] {
        match *self {
            Self::Padding(length) => &ZEROS[..length],
            Self::Piece { chunk, offset, length, .. } => {
                // SAFETY: by the contract of this function.
                let bytes: &'a [u8] = unsafe { chunk.payload() };
                &bytes[offset..offset + length]
            }
        }
    }
}

/// A sealed datagram.
#[derive(Debug)]
pub(super) struct Datagram {
    pub(super) header: [u8; MAX_HEADER_BYTES],
    pub(super) header_bytes: usize,
    pub(super) payload: Payload,
}

/// Where a datagram goes, for finding runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Route {
    socket: u16,
    peer: u32,
    bytes: u32,
    /// It has left or is not wanted any more.
    done: bool,
}

/// Datagrams that wait to leave, in order.
#[derive(Debug)]
pub(super) struct Batch {
    routes: Vec<Route>,
    datagrams: Vec<Datagram>,
    /// By socket: its buffer is full.
    blocked: Vec<bool>,
    /// Whether the kernel cuts runs.
    segments: bool,
}

/// A socket refused a datagram to this peer.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) peer: u32,
    pub(super) error: io::Error,
}

impl Batch {
    pub(super) fn new(sockets: usize) -> Self {
        Self {
            routes: Vec::with_capacity(DATAGRAMS),
            datagrams: Vec::with_capacity(DATAGRAMS),
            blocked: vec![false; sockets],
            segments: true,
        }
    }

    pub(super) fn has_room(&self) -> bool {
        self.routes.len() < DATAGRAMS
    }

    /// Adds a datagram; room was asked for before.
    pub(super) fn push(&mut self, socket: u16, peer: u32, datagram: Datagram) {
        let bytes = (datagram.header_bytes + datagram.payload.length()) as u32;
        self.routes.push(Route { socket, peer, bytes, done: false });
        self.datagrams.push(datagram);
    }

    /// The chunk's memory is about to be somebody else's: nothing of it may leave any more. (What
    /// would is a repetition of bytes that have arrived.)
    pub(super) fn forget(&mut self, peer: u32, arrived: u64) {
        for (route, datagram) in self.routes.iter_mut().zip(&self.datagrams) {
            let Payload::Piece { token, .. } = datagram.payload else { continue };
            route.done |= route.peer == peer && token == arrived;
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.routes.clear();
        self.datagrams.clear();
    }

    /// Sockets whose buffers are full.
    pub(super) fn blocked(&self) -> impl Iterator<Item = usize> + '_ {
        (0..).zip(&self.blocked).filter(|&(_, &blocked)| blocked).map(|(at, _)| at)
    }

    /// Sends all that the sockets take; whether anything left.
    pub(super) fn flush(
        &mut self,
        sockets: &mut [SendPort],
        address: impl Fn(u32) -> Option<SockAddr>,
    ) -> Result<bool, Refused> {
        self.blocked.fill(false);
        let mut any = false;
        for first in 0..self.routes.len() {
            let Route { socket, peer, done, .. } = self.routes[first];
            if done || self.blocked[usize::from(socket)] {
                continue;
            }
            let port = &mut sockets[usize::from(socket)];
            let Some(to) = address(peer) else {
                self.routes[first].done = true;
                continue;
            };
            match self.send_run(first, port, &to).map_err(|error| Refused { peer, error })? {
                Sending::Sent | Sending::Lost => any = true,
                Sending::Blocked => self.blocked[usize::from(socket)] = true,
                Sending::NoSegments => {}
            }
        }
        self.compact();
        Ok(any)
    }

    /// Sends the longest run that begins with a datagram. When the kernel does not cut, the rest of
    /// the run is sent by later calls.
    fn send_run(
        &mut self,
        first: usize,
        port: &mut SendPort,
        to: &SockAddr,
    ) -> io::Result<Sending> {
        let mut run = [0_u16; RUN];
        let (count, bytes) = self.run(first, &mut run);
        let sending = self.send_these(&run[..count], bytes, port, to)?;
        let sending = match sending {
            Sending::NoSegments => {
                self.segments = false;
                let bytes = self.routes[first].bytes as usize;
                let sending = self.send_these(&run[..1], bytes, port, to)?;
                return Ok(self.finish(&run[..1], sending));
            }
            other => other,
        };
        Ok(self.finish(&run[..count], sending))
    }

    fn finish(&mut self, run: &[u16], sending: Sending) -> Sending {
        if matches!(sending, Sending::Sent | Sending::Lost) {
            for &at in run {
                self.routes[usize::from(at)].done = true;
            }
        }
        sending
    }

    fn send_these(
        &self,
        run: &[u16],
        bytes: usize,
        port: &mut SendPort,
        to: &SockAddr,
    ) -> io::Result<Sending> {
        let mut slices = [IoSlice::new(&[]); 2 * RUN];
        for (pair, &at) in slices.chunks_exact_mut(2).zip(run) {
            let datagram = &self.datagrams[usize::from(at)];
            pair[0] = IoSlice::new(&datagram.header[..datagram.header_bytes]);
            // SAFETY: whoever is told that a chunk has arrived, whose memory changes hands by
            // that, calls `forget` first, and a cancelled transport drops the batch.
            pair[1] = IoSlice::new(unsafe { datagram.payload.bytes() });
        }
        let segment = self.routes[usize::from(run[0])].bytes as usize;
        port.send(&slices[..2 * run.len()], (run.len(), segment, bytes), to)
    }

    /// Datagrams that may leave with the one at `first`: by its socket, to its peer, of its size,
    /// and one more if that is shorter. How many, and how long they are together.
    fn run(&self, first: usize, run: &mut [u16; RUN]) -> (usize, usize) {
        let head = self.routes[first];
        let (mut count, mut bytes) = (1, head.bytes as usize);
        run[0] = first as u16;
        if !self.segments {
            return (count, bytes);
        }
        for (at, route) in self.routes.iter().enumerate().skip(first + 1) {
            if route.done || route.socket != head.socket || route.peer != head.peer {
                continue;
            }
            let fits = route.bytes <= head.bytes && bytes + route.bytes as usize <= RUN_BYTES;
            if !fits || count == RUN {
                break;
            }
            run[count] = at as u16;
            count += 1;
            bytes += route.bytes as usize;
            if route.bytes < head.bytes {
                break;
            }
        }
        (count, bytes)
    }

    /// Forgets what has left; the rest keeps its order.
    fn compact(&mut self) {
        if self.routes.iter().all(|route| route.done) {
            self.routes.clear();
            self.datagrams.clear();
            return;
        }
        let mut kept = 0;
        for at in 0..self.routes.len() {
            if !self.routes[at].done {
                self.routes.swap(kept, at);
                self.datagrams.swap(kept, at);
                kept += 1;
            }
        }
        self.routes.truncate(kept);
        self.datagrams.truncate(kept);
    }
}
