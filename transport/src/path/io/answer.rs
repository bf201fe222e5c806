//! What a socket says of its probe: the error queue first, then its state.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::libc::{self, sock_extended_err};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use socket2::Socket;

use crate::path::probe::Answer;
use crate::path::table::{Refusal, Rejection};

/// Control messages of one error: `sock_extended_err` and an address take 64 bytes with headers.
pub(super) const CONTROL_BYTES: usize = 512;

/// ICMP: destination unreachable, its codes "protocol" and "port"; time exceeded, "in transit".
const V4: Numbers = Numbers { unreachable: 3, port_codes: [2, 3], exceeded: 11 };
/// `ICMPv6` (RFC 4443, sections 3.1 and 3.3): its code "port", twice.
const V6: Numbers = Numbers { unreachable: 1, port_codes: [4, 4], exceeded: 3 };

struct Numbers {
    unreachable: u8,
    port_codes: [u8; 2],
    exceeded: u8,
}

/// The answer, if an event on the socket brought one.
pub(super) fn read(
    socket: &Socket,
    destination: SocketAddr,
    readable: bool,
    writable: bool,
    control: &mut Vec<u8>,
) -> Option<Answer> {
    while let Some((error, offender)) = next_error(socket, control) {
        if let Some(answer) = meaning(&error, offender, destination) {
            return Some(answer);
        }
    }
    match socket.take_error() {
        Ok(Some(error)) => Some(of_errno("send a probe", &error)),
        Err(error) => Some(of_errno("read the state of a probe", &error)),
        // Data came, or the connection.
        Ok(None) => {
            let reached = writable || (readable && is_from(socket, destination));
            reached.then_some(Answer::Reached)
        }
    }
}

/// Whether a datagram is of the destination: anybody may send one to a port.
fn is_from(socket: &Socket, destination: SocketAddr) -> bool {
    let mut buffer = [MaybeUninit::uninit(); 1];
    let sender = socket.recv_from(&mut buffer).ok().and_then(|(_, sender)| sender.as_socket());
    sender.is_some_and(|sender| sender.ip() == destination.ip())
}

/// Takes one error from the queue.
fn next_error(
    socket: &Socket,
    control: &mut Vec<u8>,
) -> Option<(sock_extended_err, Option<IpAddr>)> {
    loop {
        let mut payload = [0; 16];
        let mut slices = [IoSliceMut::new(&mut payload)];
        control.resize(CONTROL_BYTES, 0);
        let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
        let message =
            match recvmsg::<()>(socket.as_raw_fd(), &mut slices, Some(&mut control[..]), flags) {
                Err(Errno::EINTR) => continue,
                Err(_) => return None,
                Ok(message) => message,
            };
        let found = message.cmsgs().ok()?.find_map(|control| match control {
            ControlMessageOwned::Ipv4RecvErr(error, address) => {
                let ip = address.map(|at| Ipv4Addr::from(u32::from_be(at.sin_addr.s_addr)).into());
                Some((error, ip))
            }
            ControlMessageOwned::Ipv6RecvErr(error, address) => {
                let ip = address.map(|at| Ipv6Addr::from(at.sin6_addr.s6_addr).into());
                Some((error, ip))
            }
            _ => None,
        });
        if found.is_some() {
            return found;
        }
    }
}

/// What an error says, if it comes from the network.
fn meaning(
    error: &sock_extended_err,
    offender: Option<IpAddr>,
    destination: SocketAddr,
) -> Option<Answer> {
    let numbers = match error.ee_origin {
        libc::SO_EE_ORIGIN_ICMP => &V4,
        libc::SO_EE_ORIGIN_ICMP6 => &V6,
        _ => return None,
    };
    let (by, kind, code) = (offender?, error.ee_type, error.ee_code);
    if kind == numbers.exceeded && code == 0 {
        return Some(Answer::Hop(by));
    }
    let closed = kind == numbers.unreachable && numbers.port_codes.contains(&code);
    if closed || by == destination.ip() {
        return Some(Answer::Reached);
    }
    Some(Answer::Rejected(Rejection { by, kind, code }))
}

/// What an error of a call, or of the socket, says.
pub(super) fn of_errno(action: &'static str, error: &io::Error) -> Answer {
    let errno = error.raw_os_error().unwrap_or_default();
    let refusal = Refusal { action, errno };
    match Errno::from_raw(errno) {
        Errno::EADDRINUSE | Errno::EADDRNOTAVAIL => Answer::PortBusy,
        Errno::ECONNREFUSED | Errno::ECONNRESET => Answer::Reached,
        Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM | Errno::ENOBUFS | Errno::EAGAIN => {
            Answer::Exhausted(refusal)
        }
        _ => Answer::Refused(refusal),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(origin: u8, kind: u8, code: u8) -> sock_extended_err {
        sock_extended_err {
            ee_errno: 0,
            ee_origin: origin,
            ee_type: kind,
            ee_code: code,
            ee_pad: 0,
            ee_info: 0,
            ee_data: 0,
        }
    }

    #[test]
    fn each_icmp_error_has_its_meaning() {
        let (four, six) = (libc::SO_EE_ORIGIN_ICMP, libc::SO_EE_ORIGIN_ICMP6);
        let router = |origin: u8| -> IpAddr {
            if origin == four { [10, 9, 9, 9].into() } else { Ipv6Addr::from_bits(9).into() }
        };
        let rejected = |origin, kind, code| {
            Some(Answer::Rejected(Rejection { by: router(origin), kind, code }))
        };
        for (origin, kind, code, expected) in [
            (four, 11, 0, Some(Answer::Hop(router(four)))),
            (six, 3, 0, Some(Answer::Hop(router(six)))),
            (four, 3, 3, Some(Answer::Reached)),
            (six, 1, 4, Some(Answer::Reached)),
            (four, 3, 13, rejected(four, 3, 13)),
            (four, 11, 1, rejected(four, 11, 1)),
            (six, 1, 1, rejected(six, 1, 1)),
            (libc::SO_EE_ORIGIN_LOCAL, 0, 0, None),
        ] {
            let destination = SocketAddr::from(([10, 0, 0, 1], 7));
            let found = meaning(&error(origin, kind, code), Some(router(origin)), destination);
            assert_eq!(found, expected, "origin {origin}, type {kind}, code {code}");
        }
    }

    #[test]
    fn any_complaint_of_the_destination_shows_that_it_was_reached() {
        let destination = SocketAddr::from(([10, 0, 0, 1], 7));
        let error = error(libc::SO_EE_ORIGIN_ICMP, 3, 10);
        assert_eq!(meaning(&error, Some(destination.ip()), destination), Some(Answer::Reached));
        assert_eq!(meaning(&error, None, destination), None, "an error without a sender");
    }
}
