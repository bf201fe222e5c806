//! Sockets of probes and of pinned flows: the same but for the time to live, so that switches
//! treat their packets alike.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use nix::libc;
use nix::sys::socket::{SetSockOpt, sockopt};
use socket2::{Domain, Socket, Type};

use crate::path::Protocol;

/// Whether a flow has a random flow label, which is hashed like ports and would send a probe and
/// the flow that it stands for over different paths.
#[derive(Clone, Copy, Debug)]
struct AutoFlowLabel;

/// `IPV6_AUTOFLOWLABEL` of linux/in6.h.
const IPV6_AUTOFLOWLABEL: libc::c_int = 70;

nix::setsockopt_impl!(
    AutoFlowLabel,
    libc::IPPROTO_IPV6,
    IPV6_AUTOFLOWLABEL,
    bool,
    sockopt::SetBool
);

/// A socket that could not be made or bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} for local {local}: {source}")]
pub struct PinError {
    /// What was tried: "open a socket", "bind the port".
    pub action: &'static str,
    /// Address and port.
    pub local: SocketAddr,
    /// The cause; `AddrInUse` when somebody else has the port: try another of the path.
    pub source: io::Error,
}

/// A non-blocking socket bound to a port that takes a known path. Connecting it to the destination
/// of the table (TCP) or sending there (UDP) takes that path.
pub fn pinned_socket(protocol: Protocol, local: SocketAddr) -> Result<Socket, PinError> {
    bound_socket(protocol, local, None)
}

/// The same, whose packets leave and enter by one network interface whatever the routes say, if it
/// is named.
pub(super) fn bound_socket(
    protocol: Protocol,
    local: SocketAddr,
    interface: Option<&str>,
) -> Result<Socket, PinError> {
    let failed = |action| move |source| PinError { action, local, source };
    let kind = match protocol {
        Protocol::Tcp => Type::STREAM,
        Protocol::Udp | Protocol::Roce => Type::DGRAM,
    };
    let socket = Socket::new(Domain::for_address(local), kind.nonblocking().cloexec(), None)
        .map_err(failed("open a socket"))?;
    if protocol == Protocol::Tcp {
        // The same port toward other destinations, and after an earlier connection's end. For UDP
        // it would let others take our datagrams.
        socket.set_reuse_address(true).map_err(failed("set SO_REUSEADDR"))?;
    }
    if local.is_ipv6() {
        socket.set_only_v6(true).map_err(failed("set IPV6_V6ONLY"))?;
        AutoFlowLabel
            .set(&socket, &false)
            .map_err(|errno| failed("switch off flow labels")(errno.into()))?;
    }
    if let Some(interface) = interface {
        // Without a privilege since Linux 5.7.
        let failed = failed("bind to the network interface");
        socket.bind_device(Some(interface.as_bytes())).map_err(failed)?;
    }
    socket.bind(&local.into()).map_err(failed("bind the port"))?;
    Ok(socket)
}

/// Makes a bound socket one of a probe: its packets expire at `hop`, and the errors that come back
/// are kept.
pub(super) fn limit(
    socket: &Socket,
    protocol: Protocol,
    source: IpAddr,
    hop: u8,
) -> io::Result<()> {
    if source.is_ipv4() {
        sockopt::Ipv4RecvErr.set(socket, &true)?;
        socket.set_ttl_v4(u32::from(hop))?;
    } else {
        sockopt::Ipv6RecvErr.set(socket, &true)?;
        socket.set_unicast_hops_v6(u32::from(hop))?;
    }
    if protocol == Protocol::Tcp {
        // A connection that comes about by mistake is reset, and leaves its port free.
        socket.set_linger(Some(Duration::ZERO))?;
    }
    Ok(())
}
