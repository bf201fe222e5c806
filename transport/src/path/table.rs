//! The paths found: which ports take which, for every destination.

use std::fmt;

use core::net::{IpAddr, SocketAddr};

use onepath_topology::Nanos;

use super::{HopRange, Protocol};

/// What tells one path from another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PathId {
    /// Who answered at each hop that names paths; `None` for a hop that stays silent.
    Hops(Vec<Option<IpAddr>>),
    /// A name that an operator gave; probes cannot check it.
    Named(String),
}

impl PathId {
    /// Whether probes cannot tell the two apart: no hop at which both answer differs.
    pub fn agrees(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Hops(ours), Self::Hops(theirs)) => {
                let same = |(our, their): (&Option<IpAddr>, &Option<IpAddr>)| {
                    our.is_none() || their.is_none() || our == their
                };
                ours.len() == theirs.len() && ours.iter().zip(theirs).all(same)
            }
            _ => self == other,
        }
    }

    /// Whether it says more than `other`, of which it may be the same path: `other` is then no
    /// identity of its own. A port of it may as well take a further path, one that is mute at the
    /// hop in question.
    pub(crate) fn says_more_than(&self, other: &Self) -> bool {
        let answered = |id: &Self| match id {
            Self::Hops(hops) => hops.iter().flatten().count(),
            Self::Named(_) => 0,
        };
        answered(self) > answered(other) && self.agrees(other)
    }
}

impl fmt::Display for PathId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => f.write_str(name),
            Self::Hops(hops) => {
                for (index, hop) in hops.iter().enumerate() {
                    f.write_str(if index == 0 { "" } else { ">" })?;
                    match hop {
                        Some(address) => write!(f, "{address}")?,
                        None => f.write_str("*")?,
                    }
                }
                Ok(())
            }
        }
    }
}

/// A local port that takes a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PinnedPort {
    /// The port.
    pub port: u16,
    /// From the probe to the answer of the last hop that names the path; none from a file.
    pub round_trip: Option<Nanos>,
}

/// The ports toward one destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// Address and port of the destination. Both are hashed: the ports hold for no other.
    pub address: SocketAddr,
    /// Ports by path, in the order of [`Leaf::paths`]; empty for a path on which none was found.
    pub ports: Vec<Vec<PinnedPort>>,
    /// How many ports were asked about.
    pub probed_ports: u32,
    /// Ports without any answer: a share that is about that of a path hints at a path on which
    /// packets or answers get lost.
    pub silent_ports: u32,
    /// Whether as many paths and ports were found as was asked for.
    pub complete: bool,
}

/// A leaf with the destinations below it, which share their paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// Addresses of the last router before the destinations, ascending; none if it did not say.
    /// A router may answer with one address for each of its links.
    pub last_hops: Vec<IpAddr>,
    /// The paths to it, ascending.
    pub paths: Vec<PathId>,
    /// The destinations, ascending.
    pub destinations: Vec<Destination>,
}

/// A destination to which no path is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unpinned {
    /// The destination.
    pub destination: SocketAddr,
    /// Why.
    pub reason: UnpinnedReason,
}

/// Which local ports take which path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathTable {
    /// Of the flows for which it holds.
    pub protocol: Protocol,
    /// The local address of these flows.
    pub source: IpAddr,
    /// The hops that name a path.
    pub hops: HopRange,
    /// Leaves by their first destination.
    pub leaves: Vec<Leaf>,
    /// Destinations nearer than the hops that name paths: under the same leaf, or on this host.
    /// There is nothing to choose.
    pub rack_local: Vec<SocketAddr>,
    /// Destinations to which subflows have to go unpinned.
    pub unpinned: Vec<Unpinned>,
}

impl PathTable {
    /// The leaf above a destination and the ports toward it.
    pub fn find(&self, address: SocketAddr) -> Option<(&Leaf, &Destination)> {
        self.leaves.iter().find_map(|leaf| {
            let found = leaf.destinations.iter().find(|at| at.address == address)?;
            Some((leaf, found))
        })
    }

    /// The paths to a destination with the ports that take them, in the order of [`Leaf::paths`];
    /// those without a port are left out. Nothing if the destination is not in the table.
    pub fn ports_by_path(
        &self,
        address: SocketAddr,
    ) -> impl Iterator<Item = (&PathId, impl Iterator<Item = u16>)> {
        let found = self.find(address).into_iter();
        let paths = found.flat_map(|(leaf, at)| leaf.paths.iter().zip(&at.ports));
        let usable = paths.filter(|(_, ports)| !ports.is_empty());
        usable.map(|(path, ports)| (path, ports.iter().map(|pinned| pinned.port)))
    }

    /// Every pinned port with its destination and path.
    pub fn entries(&self) -> impl Iterator<Item = (SocketAddr, &PathId, PinnedPort)> {
        self.leaves.iter().flat_map(|leaf| {
            leaf.destinations.iter().flat_map(move |destination| {
                let paths = leaf.paths.iter().zip(&destination.ports);
                paths.flat_map(move |(path, ports)| {
                    ports.iter().map(move |&port| (destination.address, path, port))
                })
            })
        })
    }
}

/// What came of looking for paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Discovery {
    /// Paths, to all destinations or to some.
    Pinned(PathTable),
    /// No path to any destination: subflows have to be left to chance, and the user told so.
    Unpinned {
        /// Why, of the first destination.
        reason: UnpinnedReason,
    },
}

impl Discovery {
    /// A table with something in it, or the reason why there is nothing.
    pub(crate) fn of(table: PathTable) -> Self {
        let nothing = table.leaves.is_empty() && table.rack_local.is_empty();
        match table.unpinned.first() {
            Some(first) if nothing => Self::Unpinned { reason: first.reason.clone() },
            _ => Self::Pinned(table),
        }
    }
}

/// An ICMP error other than that time was exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Who sent it.
    pub by: IpAddr,
    /// Its type, as ICMP or `ICMPv6` number them.
    pub kind: u8,
    /// Its code.
    pub code: u8,
}

/// A call that the operating system refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What was tried, as in "open a socket".
    pub action: &'static str,
    /// The error number.
    pub errno: i32,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error = std::io::Error::from_raw_os_error(self.errno);
        write!(f, "cannot {}: {error}", self.action)
    }
}

/// Why subflows to a destination cannot be pinned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnpinnedReason {
    /// Nobody answered.
    #[error(
        "no router answered probes from {ports} ports (ICMP is filtered, or the hop does not \
         exist)"
    )]
    NoAnswers {
        /// Ports from which it was tried.
        ports: u32,
    },
    /// A router answered, but not that time was exceeded.
    #[error("{} rejects probes with ICMP type {}, code {}", .0.by, .0.kind, .0.code)]
    Rejected(Rejection),
    /// The operating system does not let us.
    #[error("the operating system refuses probes: {0}")]
    Refused(Refusal),
    /// Others have the ports.
    #[error("all {ports} local ports that were tried are in use")]
    NoFreePorts {
        /// How many.
        ports: u32,
    },
    /// The deadline came before the first answer.
    #[error("time was up before a path was found, after {ports} ports")]
    OutOfTime {
        /// Ports begun.
        ports: u32,
    },
    /// The file of known paths has no entry for it.
    #[error("the path file has no entry for it")]
    NotInFile,
}
