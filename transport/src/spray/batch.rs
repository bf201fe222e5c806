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
    /// So many zeros, to try a size.
    Trial(usize),
    /// A piece of a chunk, of which the peer's connection knows by this token.
    Piece { chunk: OutgoingChunk, token: u64, offset: usize, length: usize },
}

impl Payload {
    fn length(&self) -> usize {
        match *self {
            Self::Padding(length) | Self::Trial(length) | Self::Piece { length, .. } => length,
        }
    }

    /// The bytes.
    ///
    /// # Safety
    /// As [`OutgoingChunk::payload`].
    pub(super) unsafe fn bytes<'a>(&self) -> &'a [u8] {
        match *self {
            Self::Padding(length) | Self::Trial(length) => &ZEROS[..length],
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
    /// It may be longer than what devices take, and must leave or fail by itself.
    alone: bool,
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
        let alone = matches!(datagram.payload, Payload::Trial(_));
        self.routes.push(Route { socket, peer, bytes, alone, done: false });
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
    /// and one more if that is shorter. How many, and how long they are together. A trial of a size
    /// leaves alone: the kernel refuses a whole run for a segment that the device does not take.
    fn run(&self, first: usize, run: &mut [u16; RUN]) -> (usize, usize) {
        let head = self.routes[first];
        let (mut count, mut bytes) = (1, head.bytes as usize);
        run[0] = first as u16;
        if !self.segments || head.alone {
            return (count, bytes);
        }
        for (at, route) in self.routes.iter().enumerate().skip(first + 1) {
            if route.done || route.socket != head.socket || route.peer != head.peer {
                continue;
            }
            let fits = !route.alone
                && route.bytes <= head.bytes
                && bytes + route.bytes as usize <= RUN_BYTES;
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

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::time::Duration;

    use onepath_topology::{Nanos, Rank, WorldSize};

    use super::*;
    use crate::flow::{FlowTable, Memory, Posting, SendQueue};
    use crate::plan::{After, BufferId, FlowTag, Plan, SendFlow, Span};
    use crate::wire::{OperationId, Signature};

    fn padded(first: u8, bytes: usize) -> Datagram {
        let payload = Payload::Padding(bytes - 1);
        Datagram { header: [first; MAX_HEADER_BYTES], header_bytes: 1, payload }
    }

    fn ports(count: usize) -> Vec<SendPort> {
        let bind = |_| SendPort::bind("127.0.0.1".parse().expect("an address"), 0);
        (0..count).map(|port| bind(port).expect("loopback can be bound")).collect()
    }

    fn receiver() -> (UdpSocket, SockAddr) {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback can be bound");
        socket.set_read_timeout(Some(Duration::from_secs(5))).expect("a time-out can be set");
        let address = socket.local_addr().expect("a bound socket has an address");
        (socket, address.into())
    }

    /// First byte and length of the next datagrams.
    fn next(socket: &UdpSocket, count: usize) -> Vec<(u8, usize)> {
        let mut buffer = [0; 4_096];
        let mut one = |_| {
            let length = socket.recv(&mut buffer).expect("it was sent");
            (buffer[0], length)
        };
        (0..count).map(&mut one).collect()
    }

    #[test]
    fn datagrams_keep_their_bounds_with_and_without_the_kernel_s_cutting() {
        let sizes = [1_000, 1_000, 700, 1_000, 50, 2_000, 1_000, 1, 1, 1];
        for segments in [true, false] {
            let (socket, address) = receiver();
            let mut batch = Batch { segments, ..Batch::new(1) };
            for (number, bytes) in (0..).zip(sizes) {
                batch.push(0, 0, padded(number, bytes));
            }
            let sent = batch.flush(&mut ports(1), |_| Some(address.clone()));
            assert!(sent.expect("loopback takes it") && batch.routes.is_empty());
            let expected: Vec<(u8, usize)> = (0..).zip(sizes).collect();
            assert_eq!(next(&socket, sizes.len()), expected);
        }
    }

    #[test]
    fn a_trial_of_a_size_is_in_no_run() {
        let mut batch = Batch::new(1);
        batch.push(0, 0, padded(0, 2_000));
        batch.push(0, 0, Datagram { payload: Payload::Trial(1_999), ..padded(1, 1) });
        batch.push(0, 0, padded(2, 1_000));
        batch.push(0, 0, padded(3, 1_000));
        let mut run = [0; RUN];
        assert_eq!(batch.run(0, &mut run), (1, 2_000));
        assert_eq!(batch.run(1, &mut run), (1, 2_000));
        assert_eq!((batch.run(2, &mut run), run[0], run[1]), ((2, 2_000), 2, 3));
    }

    #[test]
    fn each_peer_gets_its_own_in_order_by_any_socket() {
        let (one, to_one) = receiver();
        let (two, to_two) = receiver();
        let mut batch = Batch::new(2);
        for number in 0..100_u8 {
            let (socket, peer) = (u16::from(number % 2), u32::from(number / 2 % 2));
            batch.push(socket, peer, padded(number, 500));
        }
        let address = |peer| Some(if peer == 0 { to_one.clone() } else { to_two.clone() });
        batch.flush(&mut ports(2), address).expect("loopback takes it");
        for (peer, socket) in [(0, &one), (1, &two)] {
            let came = next(socket, 50);
            for source in 0..2 {
                let mine = came.iter().map(|&(number, _)| number).filter(|n| n % 2 == source);
                let numbers: Vec<u8> = mine.collect();
                assert_eq!(numbers.len(), 25);
                assert!(numbers.is_sorted() && numbers.iter().all(|n| n / 2 % 2 == peer));
            }
        }
    }

    #[test]
    fn nothing_leaves_of_a_chunk_that_has_arrived() {
        let world = WorldSize::new(2).expect("two ranks");
        let (input, peer) = (vec![7_u8; 64], Rank::new(1));
        let source = Span::new(BufferId::Input, 0, input.len());
        let flow = SendFlow { step: 0, peer, tag: FlowTag(0), source, after: After::NOTHING };
        let plan = Plan { sends: vec![flow], ..Plan::default() };
        let nothing = (std::ptr::null_mut(), 0);
        let mut table = FlowTable::new(world);
        let posting = Posting {
            id: OperationId::collective(0),
            signature: Signature([0; 2]),
            plan: &plan,
            memory: Memory::new((input.as_ptr(), input.len()), nothing, nothing),
            kernel: None,
            chunk_bytes: 32,
            now: Nanos(0),
        };
        // SAFETY: the input outlives the table.
        let slot = unsafe { table.post(&posting) }.expect("the plan is right");
        let mut queue = SendQueue::default();
        queue.push(slot, 0);
        let mut batch = Batch::new(1);
        for token in 0..2 {
            let chunk = table.pull(&mut queue).expect("there are two chunks");
            let payload = Payload::Piece { chunk, token, offset: 0, length: 32 };
            let header = [token as u8; MAX_HEADER_BYTES];
            batch.push(0, 0, Datagram { header, header_bytes: 1, payload });
        }
        batch.forget(0, 0);
        batch.forget(1, 1);
        batch.push(0, 0, padded(2, 9));
        let (socket, address) = receiver();
        batch.flush(&mut ports(1), |_| Some(address.clone())).expect("loopback takes it");
        assert_eq!(next(&socket, 2), [(1, 33), (2, 9)]);
    }
}
