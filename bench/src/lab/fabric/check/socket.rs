//! Sockets of hosts. They are opened in the host's namespace and stay there, whoever uses them.

use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::sockopt::Ipv4RecvErr;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, setsockopt};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::super::Fabric;
use super::super::route::FiveTuple;
use super::super::spec::{Host, Spine, spine_at};
use super::CheckError;

/// Enough for a packet to the spine and no further: the leaf takes one, the spine the other.
const TTL_TO_SPINE: u32 = 2;

/// Far more than a packet takes that is not lost; a lost one is not waited for.
const PROBE_PATIENCE: Duration = Duration::from_millis(500);

impl Fabric {
    fn open<T: Send>(
        &self,
        host: Host,
        action: &'static str,
        open: impl FnOnce(Ipv4Addr) -> io::Result<T> + Send,
    ) -> Result<T, CheckError> {
        let address = self.spec().address(host);
        let opened = self.host(host).run(|| open(address))?;
        opened.map_err(|cause| CheckError::Socket { host, action, cause })
    }

    /// A UDP socket of a host.
    pub(super) fn udp(&self, host: Host, port: u16) -> Result<UdpSocket, CheckError> {
        self.open(host, "opening a UDP socket", |address| UdpSocket::bind((address, port)))
    }

    /// A connected UDP socket of a flow. It holds one packet at a time and then waits, so that none
    /// is lost at the sender's own queue.
    pub(super) fn udp_sender(&self, flow: &FiveTuple) -> Result<UdpSocket, CheckError> {
        let to = (self.spec().address(flow.to), flow.to_port);
        self.open(flow.from, "opening a UDP socket", |address| {
            let socket = UdpSocket::bind((address, flow.from_port))?;
            SockRef::from(&socket).set_send_buffer_size(1)?;
            socket.connect(to)?;
            Ok(socket)
        })
    }

    /// A host that takes connections; the kernel completes them though nobody accepts them.
    pub(super) fn listen(&self, host: Host, port: u16) -> Result<TcpListener, CheckError> {
        self.open(host, "listening", |address| TcpListener::bind((address, port)))
    }

    /// The spine that answers a SYN of this flow whose TTL ends there; none if nobody answers.
    pub(super) fn probe(&self, flow: &FiveTuple) -> Result<Option<Spine>, CheckError> {
        let to = SocketAddrV4::new(self.spec().address(flow.to), flow.to_port);
        self.open(flow.from, "probing with a TTL", |address| {
            let socket = tcp(SocketAddrV4::new(address, flow.from_port))?;
            socket.set_ttl_v4(TTL_TO_SPINE)?;
            setsockopt(&socket, Ipv4RecvErr, &true)?;
            match socket.connect_timeout(&to.into(), PROBE_PATIENCE) {
                Ok(()) => Ok(None),
                Err(_) => Ok(sender_of_error(&socket)?.and_then(spine_at)),
            }
        })
    }

    /// The connection of a flow, if it is made in time.
    pub(super) fn connect(
        &self,
        flow: &FiveTuple,
        patience: Duration,
    ) -> Result<io::Result<Socket>, CheckError> {
        let to = SocketAddrV4::new(self.spec().address(flow.to), flow.to_port);
        self.open(flow.from, "opening a TCP socket", |address| {
            let socket = tcp(SocketAddrV4::new(address, flow.from_port))?;
            Ok(socket.connect_timeout(&to.into(), patience).map(|()| socket))
        })
    }
}

fn tcp(from: SocketAddrV4) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&from.into())?;
    Ok(socket)
}

/// Who sent the ICMP error that is first in a socket's error queue.
fn sender_of_error(socket: &Socket) -> io::Result<Option<Ipv4Addr>> {
    let mut data = [0_u8; 64];
    let mut parts = [IoSliceMut::new(&mut data)];
    let mut space = nix::cmsg_space!(libc::sock_extended_err, libc::sockaddr_in);
    let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
    let message = recvmsg::<SockaddrIn>(socket.as_raw_fd(), &mut parts, Some(&mut space), flags);
    let message = match message {
        Err(Errno::EAGAIN) => return Ok(None),
        other => other?,
    };
    Ok(message.cmsgs()?.find_map(|part| match part {
        ControlMessageOwned::Ipv4RecvErr(_, Some(sender)) => {
            Some(Ipv4Addr::from(u32::from_be(sender.sin_addr.s_addr)))
        }
        _ => None,
    }))
}
