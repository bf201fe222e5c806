//! The connection of the session with one peer, over which letters go as well: when no lane is
//! open it is the only way. Its end is how a peer's end is noticed.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

use socket2::Socket;

use super::letter::{LETTER_BYTES, Letter};

/// Letters that wait for the socket at most; one behind them is not taken, and is said again later.
const MOST_WAITING: usize = 64;

#[derive(Debug)]
pub(super) struct Control {
    socket: Socket,
    out: Vec<u8>,
    bytes: [u8; LETTER_BYTES],
    filled: usize,
    ended: bool,
}

impl Control {
    /// Over a connected socket that does not block.
    pub(super) fn new(socket: Socket) -> Self {
        let out = Vec::with_capacity(MOST_WAITING * LETTER_BYTES);
        Self { socket, out, bytes: [0; LETTER_BYTES], filled: 0, ended: false }
    }

    /// Whether the peer has closed it.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Whether letters wait for the socket.
    pub(super) fn is_busy(&self) -> bool {
        !self.ended && !self.out.is_empty()
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Sends a letter, now or when the socket has room.
    pub(super) fn send(&mut self, letter: &Letter) {
        if !self.ended && self.out.len() < MOST_WAITING * LETTER_BYTES {
            self.out.extend_from_slice(&letter.encode());
            self.flush();
        }
    }

    /// Writes what waits.
    pub(super) fn flush(&mut self) {
        while self.is_busy() {
            match (&self.socket).write(&self.out) {
                Ok(written) => {
                    self.out.drain(..written);
                }
                Err(error) => return self.judge(&error),
            }
        }
    }

    /// The bytes of the next letter, if it is there.
    pub(super) fn receive(&mut self) -> Option<[u8; LETTER_BYTES]> {
        while !self.ended {
            match (&self.socket).read(&mut self.bytes[self.filled..]) {
                Ok(0) => self.ended = true,
                Ok(read) => {
                    self.filled += read;
                    if self.filled == LETTER_BYTES {
                        self.filled = 0;
                        return Some(self.bytes);
                    }
                }
                Err(error) => {
                    self.judge(&error);
                    return None;
                }
            }
        }
        None
    }

    fn judge(&mut self, error: &io::Error) {
        if !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) {
            self.ended = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use socket2::{Domain, Type};

    use super::*;
    use crate::verbs::transport::letter::Matter;

    #[test]
    fn letters_arrive_whole_and_the_end_is_noticed() {
        let (a, b) = Socket::pair(Domain::UNIX, Type::STREAM, None).expect("a pair");
        a.set_nonblocking(true).expect("an option");
        b.set_nonblocking(true).expect("an option");
        let (mut a, mut b) = (Control::new(a), Control::new(b));
        assert_eq!((b.receive(), b.has_ended()), (None, false));
        let letter = |lane| Letter { lane, generation: 1, matter: Matter::Ready };
        for lane in 0..3 {
            a.send(&letter(lane));
        }
        for lane in 0..3 {
            assert_eq!(b.receive(), Some(letter(lane).encode()));
        }
        drop(a);
        assert_eq!((b.receive(), b.has_ended()), (None, true));
        b.send(&letter(0));
        assert!(!b.is_busy());
    }
}
