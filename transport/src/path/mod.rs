//! Which local port takes which path: discovery, pinning, and files of known paths.
//!
//! Switches choose among equal paths by a hash of the five-tuple. The hash is not known, but it is
//! a function: a packet with the same addresses, ports and protocol takes the same path. So each
//! local port is asked about by a packet of the very flow, with a limited time to live; the router
//! where it expires names the path in its ICMP error. A table of ports by path comes out, and a
//! flow is **pinned** to a path by binding its socket to one of that path's ports.
//!
//! | module | what it holds |
//! |---|---|
//! | [`config`] | what is probed, how often, how long |
//! | [`table`] | the paths found: [`Discovery`], [`PathTable`] |
//! | [`probe`] | the state machines, without sockets and clock: [`Prober`], [`Verifier`] |
//! | [`io`] | sockets: [`discover`], [`verify`], [`pinned_socket`] |
//! | [`roce`] | the same for queue pairs, whose UDP source port is chosen by a flow label |
//! | [`file`](mod@file) | tables as TOML, for operators who know and for saving |
//!
//! What does not work, and why it is not tried: a UDP probe says nothing of a TCP flow (the
//! protocol is hashed), and on an established connection the error queue stays empty.

pub mod config;
pub mod file;
pub mod io;
mod leaves;
pub mod probe;
pub mod roce;
pub mod table;

use std::fmt;
use std::str::FromStr;

pub use config::{ConfigError, HopRange, ProbeConfig};
pub use file::{PathFile, PathFileError};
pub use io::{DiscoverError, PinError, discover, pinned_socket, verify};
pub use probe::{Check, Prober, Verifier};
pub use table::{
    Destination, Discovery, Leaf, PathId, PathTable, PinnedPort, Unpinned, UnpinnedReason,
};

/// What the probes and the pinned flows are. Switches hash the protocol, so each has a table of
/// its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// SYN segments; connections are predicted.
    Tcp,
    /// Empty datagrams; datagrams are predicted.
    Udp,
    /// Empty datagrams to the UDP port of RoCE v2; what queue pairs send is predicted. Local ports
    /// are those that flow labels choose ([`SOURCE_PORTS`](crate::verbs::FlowLabel::SOURCE_PORTS)).
    Roce,
}

impl Protocol {
    /// `tcp`, `udp` or `roce`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Roce => "roce",
        }
    }

    /// Whether its probes are datagrams.
    pub(crate) const fn is_datagram(self) -> bool {
        matches!(self, Self::Udp | Self::Roce)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Neither `tcp` nor `udp` nor `roce`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no protocol of probes: tcp, udp or roce")]
pub struct ProtocolError(String);

impl FromStr for Protocol {
    type Err = ProtocolError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "tcp" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            "roce" => Ok(Self::Roce),
            _ => Err(ProtocolError(text.chars().take(32).flat_map(char::escape_debug).collect())),
        }
    }
}
