//! The bare loop: bytes to the next rank and from the one before at once, nothing else.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread::available_parallelism;

use onepath_collectives::Communicator;
use onepath_topology::Rank;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::ring::Ring;
use super::{LimitError, MAX_CONNECTIONS, Way};
use crate::measure::Timed;

/// Rounds without progress before the loop sleeps, if there is a core for every rank.
const SPINS: u32 = 2000;

/// How long nothing may move.
const STALL_SECONDS: i64 = 60;

/// One exchange.
#[derive(Debug)]
pub(super) struct Exchange<'a> {
    ring: &'a Ring,
    source: &'a mut [u8],
    target: &'a mut [u8],
    moved: usize,
    way: Way,
    spins: u32,
}

/// The bytes of one direction of one connection: from `at` up to `end`.
#[derive(Clone, Copy, Debug, Default)]
struct Share {
    at: usize,
    end: usize,
}

type Shares = [Share; MAX_CONNECTIONS];

impl<'a> Exchange<'a> {
    /// `moved` bytes from `source`, and as many to `target`, each from the beginning again at its
    /// end.
    pub(super) fn new(
        ring: &'a Ring,
        source: &'a mut [u8],
        target: &'a mut [u8],
        moved: usize,
        way: Way,
    ) -> Self {
        let cores = available_parallelism().map_or(1, usize::from);
        let spins = if cores >= ring.ranks { SPINS } else { 0 };
        Self { ring, source, target, moved, way, spins }
    }

    fn shares(&self) -> Shares {
        let connections = self.way.connections;
        std::array::from_fn(|index| {
            let border = |number: usize| self.moved * number.min(connections) / connections;
            Share { at: border(index), end: border(index + 1) }
        })
    }

    /// One chunk of every connection in both directions; whether anything moved.
    fn pass(&mut self, out: &mut Shares, into: &mut Shares) -> Result<bool, LimitError> {
        let mut progress = false;
        for (connection, share) in out.iter_mut().enumerate() {
            let piece = piece(*share, self.way, self.source.len());
            if !piece.is_empty() {
                let mut stream: &TcpStream = &self.ring.outgoing[connection];
                let sent = moved(stream.write(&self.source[piece]), self.ring.next)?;
                share.at += sent;
                progress |= sent > 0;
            }
        }
        for (connection, share) in into.iter_mut().enumerate() {
            let piece = piece(*share, self.way, self.target.len());
            if !piece.is_empty() {
                let mut stream: &TcpStream = &self.ring.incoming[connection];
                let got = moved(stream.read(&mut self.target[piece]), self.ring.previous)?;
                share.at += got;
                progress |= got > 0;
            }
        }
        Ok(progress)
    }

    /// Sleeps until a connection that has something to move is ready.
    fn wait(&self, out: &Shares, into: &Shares) -> Result<(), LimitError> {
        let wanted = |share: &Share, flag| {
            if share.at < share.end { flag } else { PollFlags::empty() }
        };
        let mut ready: [PollFd<'_>; 2 * MAX_CONNECTIONS] = std::array::from_fn(|index| {
            let connection = index % MAX_CONNECTIONS;
            if index < MAX_CONNECTIONS {
                let flags = wanted(&out[connection], PollFlags::OUT);
                PollFd::new(&self.ring.outgoing[connection], flags)
            } else {
                let flags = wanted(&into[connection], PollFlags::IN);
                PollFd::new(&self.ring.incoming[connection], flags)
            }
        });
        let limit = Timespec { tv_sec: STALL_SECONDS, tv_nsec: 0 };
        match poll(&mut ready, Some(&limit)) {
            Ok(0) => Err(LimitError::Stalled { rank: self.ring.rank, seconds: STALL_SECONDS }),
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(LimitError::system("wait")(error.into())),
        }
    }
}

/// What of a share the next system call moves.
fn piece(share: Share, way: Way, buffer: usize) -> std::ops::Range<usize> {
    let from = if buffer == 0 { 0 } else { share.at % buffer };
    let length = (share.end - share.at).min(way.chunk_bytes).min(buffer - from);
    from..from + length
}

fn moved(result: std::io::Result<usize>, peer: Rank) -> Result<usize, LimitError> {
    match result {
        Ok(0) => Err(LimitError::Closed(peer)),
        Ok(bytes) => Ok(bytes),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
            Ok(0)
        }
        Err(cause) => Err(LimitError::System { what: "move bytes", cause }),
    }
}

impl Timed for Exchange<'_> {
    type Error = LimitError;

    fn prepare(&mut self) {
        self.source.fill(1);
    }

    fn call(&mut self, _: &Communicator) -> Result<(), LimitError> {
        let (mut out, mut into) = (self.shares(), self.shares());
        let open = |shares: &Shares| shares.iter().any(|share| share.at < share.end);
        let mut idle = 0;
        while open(&out) || open(&into) {
            if self.pass(&mut out, &mut into)? {
                idle = 0;
            } else if idle < self.spins {
                idle += 1;
            } else {
                self.wait(&out, &into)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_chunks_that_begin_again_at_the_end_of_the_buffer() {
        let way = Way { chunk_bytes: 10, connections: 1 };
        assert_eq!(piece(Share { at: 0, end: 30 }, way, 16), 0..10);
        assert_eq!(piece(Share { at: 10, end: 30 }, way, 16), 10..16);
        assert_eq!(piece(Share { at: 16, end: 18 }, way, 16), 0..2);
        assert!(piece(Share { at: 30, end: 30 }, way, 16).is_empty());
    }
}
