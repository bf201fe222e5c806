//! The links of a leaf-spine fabric, one direction each.

use std::fmt;

use super::{HostId, LeafId, RailId, SpineId};

/// One direction of a cable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Link {
    /// From a host's NIC to its leaf.
    HostUp(HostId, RailId),
    /// From a leaf to a spine: an uplink.
    Up(LeafId, SpineId, RailId),
    /// From a spine to a leaf: a downlink.
    Down(SpineId, LeafId, RailId),
    /// From a leaf to a host's NIC.
    HostDown(HostId, RailId),
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HostUp(host, rail) => write!(f, "host {host} to leaf, rail {rail}"),
            Self::Up(leaf, spine, rail) => write!(f, "leaf {leaf} to spine {spine}, rail {rail}"),
            Self::Down(spine, leaf, rail) => {
                write!(f, "spine {spine} to leaf {leaf}, rail {rail}")
            }
            Self::HostDown(host, rail) => write!(f, "leaf to host {host}, rail {rail}"),
        }
    }
}
