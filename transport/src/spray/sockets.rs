//! The sockets of a rank: one to receive, one for each source port to send.

use std::io::{self, ErrorKind, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};

use nix::libc;
use nix::sys::socket::{SetSockOpt, sockopt};
use socket2::{Domain, SockAddr, Socket};

use crate::path::{Protocol, pinned_socket};

/// Never fragment, and take the device's word for the size, not the path's: the protocol finds
/// out by itself (RFC 8899, section 3).
#[derive(Clone, Copy, Debug)]
struct MtuDiscover4;
/// The same for IPv6.
#[derive(Clone, Copy, Debug)]
struct MtuDiscover6;

nix::setsockopt_impl!(
    MtuDiscover4,
    libc::IPPROTO_IP,
    libc::IP_MTU_DISCOVER,
    usize,
    sockopt::SetUsize
);
nix::setsockopt_impl!(
    MtuDiscover6,
    libc::IPPROTO_IPV6,
    libc::IPV6_MTU_DISCOVER,
    usize,
    sockopt::SetUsize
);

/// The two ECN bits of the traffic class: this transport reacts to marks (RFC 3168, ECT(0)).
const ECN_CAPABLE: u32 = 0b10;

/// Bytes of the buffer of a sending socket.
const SEND_BYTES: usize = 1 << 20;

/// A socket that could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} for datagrams on {local}: {source}")]
pub struct SocketError {
    /// What was tried: "bind a socket", "set the ECN bits".
    pub action: &'static str,
    /// The local address; port 0 for any.
    pub local: SocketAddr,
    /// The cause.
    pub source: io::Error,
}

fn bound(local: SocketAddr) -> Result<Socket, SocketError> {
    pinned_socket(Protocol::Udp, local).map_err(|error| SocketError {
        action: "bind a socket",
        local,
        source: error.source,
    })
}

/// The socket where datagrams of all peers arrive.
#[derive(Debug)]
pub struct ReceivePort {
    pub(super) socket: Socket,
    address: SocketAddr,
    receive_bytes: u32,
}

impl ReceivePort {
    /// On a port of this address that the system chooses, with a buffer of `receive_bytes` or as
    /// much of that as the system allows.
    pub fn bind(ip: IpAddr, receive_bytes: usize) -> Result<Self, SocketError> {
        let local = SocketAddr::new(ip, 0);
        let failed = |action| move |source| SocketError { action, local, source };
        let socket = bound(local)?;
        // Only the privileged may go beyond the system's limit.
        if sockopt::RcvBufForce.set(&socket, &receive_bytes).is_err() {
            socket.set_recv_buffer_size(receive_bytes).map_err(failed("set SO_RCVBUF"))?;
        }
        let room = socket.recv_buffer_size().map_err(failed("read SO_RCVBUF"))?;
        let marks = if ip.is_ipv4() {
            socket.set_recv_tos_v4(true)
        } else {
            socket.set_recv_tclass_v6(true)
        };
        marks.map_err(failed("have ECN marks reported"))?;
        // Kernels without it give every datagram by itself.
        let _ = sockopt::UdpGroSegment.set(&socket, &true);
        let address = socket.local_addr().map_err(failed("read the address"))?.as_socket();
        let unknown = || failed("read the address")(ErrorKind::Unsupported.into());
        Ok(Self {
            address: address.ok_or_else(unknown)?,
            // The kernel counts its own bookkeeping: twice what was asked for.
            receive_bytes: u32::try_from(room / 2).unwrap_or(u32::MAX),
            socket,
        })
    }

    /// Where it receives.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Bytes that it keeps.
    pub fn receive_bytes(&self) -> u32 {
        self.receive_bytes
    }
}

/// What became of a run of datagrams.
#[derive(Debug)]
pub(super) enum Sending {
    /// It left.
    Sent,
    /// The socket's buffer is full: try again later.
    Blocked,
    /// It did not leave, as if the network had lost it.
    Lost,
    /// The kernel does not cut datagrams by itself: send them one by one.
    NoSegments,
}

/// A socket that sends: one entropy value for all peers.
#[derive(Debug)]
pub(super) struct SendPort {
    socket: Socket,
    /// The size at which the kernel cuts what it is given; 0 if it does not.
    segment: usize,
}

impl SendPort {
    /// On this port of this address; 0 for one that the system chooses.
    pub(super) fn bind(ip: IpAddr, port: u16) -> Result<Self, SocketError> {
        let local = SocketAddr::new(ip, port);
        let failed = |action| move |source| SocketError { action, local, source };
        let socket = bound(local)?;
        socket.set_send_buffer_size(SEND_BYTES).map_err(failed("set SO_SNDBUF"))?;
        let (probe, marks) = match Domain::for_address(local) {
            Domain::IPV4 => (
                MtuDiscover4.set(&socket, &(libc::IP_PMTUDISC_PROBE as usize)),
                socket.set_tos_v4(ECN_CAPABLE),
            ),
            _ => (
                MtuDiscover6.set(&socket, &(libc::IPV6_PMTUDISC_PROBE as usize)),
                socket.set_tclass_v6(ECN_CAPABLE),
            ),
        };
        probe.map_err(|errno| failed("forbid fragments")(errno.into()))?;
        marks.map_err(failed("set the ECN bits"))?;
        Ok(Self { socket, segment: 0 })
    }

    /// The local port.
    pub(super) fn port(&self) -> Option<u16> {
        self.socket.local_addr().ok()?.as_socket().map(|address| address.port())
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Sends `bytes` bytes in `slices`: `count` datagrams, all but the last of `segment` bytes.
    pub(super) fn send(
        &mut self,
        slices: &[IoSlice<'_>],
        (count, segment, bytes): (usize, usize, usize),
        to: &SockAddr,
    ) -> io::Result<Sending> {
        let wanted = if count > 1 { segment } else { 0 };
        let cuts_wrongly = count == 1 && self.segment > 0 && bytes > self.segment;
        if (count > 1 && self.segment != segment) || cuts_wrongly {
            if sockopt::UdpGsoSegment.set(&self.socket, &(wanted as libc::c_int)).is_err() {
                return Ok(Sending::NoSegments);
            }
            self.segment = wanted;
        }
        loop {
            let Err(error) = self.socket.send_to_vectored(slices, to) else {
                return Ok(Sending::Sent);
            };
            return match error.kind() {
                ErrorKind::Interrupted => continue,
                ErrorKind::WouldBlock => Ok(Sending::Blocked),
                // A device that cannot checksum, or whose MTU is smaller than a segment.
                ErrorKind::InvalidInput if count > 1 => Ok(Sending::NoSegments),
                _ if count > 1 && error.raw_os_error() == Some(libc::EIO) => {
                    Ok(Sending::NoSegments)
                }
                _ if is_loss(&error) => Ok(Sending::Lost),
                _ => Err(error),
            };
        }
    }
}

/// What the network may do at any time, and gets over: a full queue, a size that a device does not
/// take, a link or route that is away, an answer that nobody listens.
fn is_loss(error: &io::Error) -> bool {
    let errno = error.raw_os_error().unwrap_or(0);
    [
        libc::ENOBUFS,
        libc::EMSGSIZE,
        libc::ENETDOWN,
        libc::ENETUNREACH,
        libc::EHOSTDOWN,
        libc::EHOSTUNREACH,
        libc::ECONNREFUSED,
        libc::EPERM,
    ]
    .contains(&errno)
}
