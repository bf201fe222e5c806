//! Receives many datagrams with one system call.
//!
//! Neither `nix` nor `rustix` can do this: the first forgets the room for control messages after
//! the first call, the second does not know those of UDP.

use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::{array, mem, ptr};

/// Messages of one call; each is one datagram, or several of one sender that the kernel has put
/// together.
const MESSAGES: usize = 16;

/// Room for one message: no UDP payload is longer.
const MESSAGE_BYTES: usize = 1 << 16;

/// Room for control messages: segment size and traffic class, 24 bytes each.
const CONTROL_BYTES: usize = 64;

/// Aligned as the kernel's `cmsghdr`.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; CONTROL_BYTES]);

/// What is known of a message beside its bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Message {
    length: usize,
    /// Bytes of each of its datagrams but the last; 0 if it is one datagram.
    segment: usize,
    marked: bool,
}

/// Buffers for arriving datagrams.
#[derive(Debug)]
pub(super) struct Intake {
    buffers: Box<[u8]>,
    messages: [Message; MESSAGES],
}

impl Intake {
    pub(super) fn new() -> Self {
        let buffers = vec![0; MESSAGES * MESSAGE_BYTES].into_boxed_slice();
        Self { buffers, messages: [Message::default(); MESSAGES] }
    }

    /// Receives what is there; how many messages, 0 if nothing is. Whether there may be more is
    /// told by [`is_full`](Self::is_full).
    pub(super) fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        let mut controls = [Control([0; CONTROL_BYTES]); MESSAGES];
        let mut rooms = self.buffers.chunks_exact_mut(MESSAGE_BYTES);
        let mut vectors: [libc::iovec; MESSAGES] = array::from_fn(|_| {
            let room = rooms.next().unwrap_or_default();
            libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() }
        });
        let mut headers: [libc::mmsghdr; MESSAGES] = array::from_fn(|at| {
            // SAFETY: zeros are a valid value of this plain structure.
            let mut header: libc::mmsghdr = unsafe { mem::zeroed() };
            header.msg_hdr.msg_iov = &raw mut vectors[at];
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_control = controls[at].0.as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = CONTROL_BYTES as _;
            header
        });
        // SAFETY: there are MESSAGES headers; each names one vector of its own and CONTROL_BYTES
        // of control room of its own, and each vector a part of `buffers` of its own. All of them
        // live until the end of this function, and nothing else refers to them during the call.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                MESSAGES as libc::c_uint,
                libc::MSG_DONTWAIT as _,
                ptr::null_mut(),
            )
        };
        let Ok(count) = usize::try_from(count) else {
            let error = io::Error::last_os_error();
            return match error.kind() {
                // Errors of what was sent concern no receiver.
                ErrorKind::WouldBlock
                | ErrorKind::Interrupted
                | ErrorKind::ConnectionRefused
                | ErrorKind::HostUnreachable
                | ErrorKind::NetworkUnreachable => Ok(0),
                _ => Err(error),
            };
        };
        for (message, header) in self.messages.iter_mut().zip(&headers[..count]) {
            // SAFETY: the kernel has filled in this header, and its control room is alive.
            *message = unsafe { described(header) };
        }
        Ok(count)
    }

    /// Whether a call that brought so many messages may have left some.
    pub(super) fn is_full(count: usize) -> bool {
        count == MESSAGES
    }

    /// The datagrams of one of the messages that came last, and whether they were marked.
    pub(super) fn datagrams(&self, at: usize) -> (impl Iterator<Item = &[u8]>, bool) {
        let Message { length, segment, marked } = self.messages[at];
        let bytes = &self.buffers[at * MESSAGE_BYTES..][..length];
        let segment = if segment == 0 { MESSAGE_BYTES } else { segment };
        (bytes.chunks(segment), marked)
    }
}

/// Reads what the kernel says of a message.
///
/// # Safety
/// The kernel has filled in the header, whose control room is alive and was not touched since.
unsafe fn described(header: &libc::mmsghdr) -> Message {
    let length = (header.msg_len as usize).min(MESSAGE_BYTES);
    let mut message = Message { length, segment: 0, marked: false };
    // SAFETY: by the contract the header's control room holds what the kernel wrote.
    let mut control = unsafe { libc::CMSG_FIRSTHDR(&raw const header.msg_hdr) };
    while !control.is_null() {
        // SAFETY: the macros give headers that lie wholly inside the control room, which is
        // aligned for them.
        let (level, kind, data) =
            unsafe { ((*control).cmsg_level, (*control).cmsg_type, libc::CMSG_DATA(control)) };
        match (level, kind) {
            (libc::SOL_UDP, libc::UDP_GRO) => {
                // SAFETY: the kernel gives an int here.
                let segment = unsafe { data.cast::<libc::c_int>().read_unaligned() };
                message.segment = usize::try_from(segment).unwrap_or(0);
            }
            (libc::IPPROTO_IP, libc::IP_TOS) => {
                // SAFETY: the kernel gives one byte here.
                message.marked = is_marked(unsafe { data.read() });
            }
            (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
                // SAFETY: the kernel gives an int here.
                let class = unsafe { data.cast::<libc::c_int>().read_unaligned() };
                message.marked = is_marked(class as u8);
            }
            _ => {}
        }
        // SAFETY: as for the first one.
        control = unsafe { libc::CMSG_NXTHDR(&raw const header.msg_hdr, control) };
    }
    message
}

/// "Congestion experienced" (RFC 3168, section 5).
fn is_marked(class: u8) -> bool {
    class & 0b11 == 0b11
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsFd;

    use super::*;
    use crate::spray::sockets::ReceivePort;

    fn came(intake: &Intake, count: usize) -> Vec<(Vec<u8>, bool)> {
        let one = |at| {
            let (datagrams, marked) = intake.datagrams(at);
            datagrams.map(move |bytes| (bytes.to_vec(), marked)).collect::<Vec<_>>()
        };
        (0..count).flat_map(one).collect()
    }

    #[test]
    fn datagrams_come_with_their_bounds_and_marks() {
        let loopback = "127.0.0.1".parse().expect("an address");
        let port = ReceivePort::bind(loopback, 1 << 20).expect("loopback can be bound");
        let sender = UdpSocket::bind("127.0.0.1:0").expect("loopback can be bound");
        let sender = socket2::Socket::from(sender);
        let mut intake = Intake::new();
        assert_eq!(intake.receive(port.socket.as_fd()).expect("nothing is no error"), 0);
        for round in 0..3_u8 {
            for (length, class) in [(1, 2), (9_000, 3), (0, 2), (77, 0)] {
                sender.set_tos_v4(class).expect("the class can be set");
                let bytes = vec![round; length];
                sender.send_to(&bytes, &port.address().into()).expect("loopback takes it");
            }
            let count = intake.receive(port.socket.as_fd()).expect("they are there");
            let lengths = [(1, false), (9_000, true), (77, false)];
            let expected = lengths.map(|(length, marked)| (vec![round; length], marked));
            assert_eq!(came(&intake, count), expected);
        }
    }
}
