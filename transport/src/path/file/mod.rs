//! Paths from a file: for fabrics where the operator knows, and to save what was discovered.
//!
//! ```toml
//! # Which local ports take which path.
//! protocol = "tcp"              # or "udp", "roce": the protocol is hashed
//! source = "10.0.0.2"           # optional: only for flows from this address
//! hops = "2"                    # optional: which hops name a path, as in "2" or "1-3"
//!
//! [[destination]]
//! to = "10.1.0.2:29500"         # an address with a port, an address, or a prefix: "10.1.0.0/16"
//! last_hops = ["10.201.1.1"]    # optional: who answers last before it; the same for one leaf
//!
//! [[destination.path]]
//! hops = ["10.200.0.1"]         # who answers at these hops, "*" for nobody
//! ports = [20001, 20007]        # local ports that take this path
//!
//! [[destination.path]]
//! name = "second spine"         # instead of hops; probes cannot check it
//! ports = [20002, 20004]
//! ```
//!
//! The longest prefix that fits a destination counts, an entry with its port before all.
//! Destinations of one entry, and those with a last hop in common, are below one leaf.
//!
//! Of `"roce"`, ports are UDP source ports of queue pairs, 49152 more than their flow labels, and a
//! destination with a port has 4791.

mod check;
mod error;
mod raw;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use core::net::{IpAddr, SocketAddr};

use super::leaves::{self, Found, Mark};
use super::table::{Discovery, PathId, PathTable, PinnedPort, Unpinned, UnpinnedReason};
use super::{HopRange, Protocol};

pub use error::PathFileError;

/// The longest file that is read.
pub const MAX_FILE_BYTES: usize = 4 << 20;
/// The most entries of a file.
pub const MAX_ENTRIES: usize = 4096;

/// For which destinations an entry holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum To {
    /// One address and port.
    Port(SocketAddr),
    /// All ports of the addresses whose first `bits` bits are those of `network`.
    Prefix {
        /// The first address.
        network: IpAddr,
        /// Bits that count.
        bits: u8,
    },
}

/// The paths to some destinations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Which destinations.
    pub to: To,
    /// Addresses of the last router before them.
    pub last_hops: Vec<IpAddr>,
    /// Paths, each with its local ports.
    pub paths: Vec<(PathId, Vec<u16>)>,
}

/// A file of known paths, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathFile {
    protocol: Protocol,
    source: Option<IpAddr>,
    hops: HopRange,
    entries: Vec<Entry>,
}

impl To {
    /// How well it fits a destination, if it does: more bits fit better, a port best.
    fn fit(self, destination: SocketAddr) -> Option<u8> {
        match self {
            Self::Port(address) => (address == destination).then_some(u8::MAX),
            Self::Prefix { network, bits } => {
                let inside = prefix(destination.ip(), bits) == Some(network);
                inside.then_some(bits)
            }
        }
    }
}

impl fmt::Display for To {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(address) => write!(f, "{address}"),
            Self::Prefix { network, bits } => write!(f, "{network}/{bits}"),
        }
    }
}

/// The first `bits` bits of an address, the rest zero; none if it has fewer.
fn prefix(address: IpAddr, bits: u8) -> Option<IpAddr> {
    let shift = u32::from(if address.is_ipv4() { 32 } else { 128_u8 }.checked_sub(bits)?);
    Some(match address {
        IpAddr::V4(ip) => {
            let mask = u32::MAX.checked_shl(shift).unwrap_or(0);
            IpAddr::V4((ip.to_bits() & mask).into())
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX.checked_shl(shift).unwrap_or(0);
            IpAddr::V6((ip.to_bits() & mask).into())
        }
    })
}

impl PathFile {
    /// Reads the text of a file.
    pub fn parse(text: &str) -> Result<Self, PathFileError> {
        if text.len() > MAX_FILE_BYTES {
            return Err(PathFileError::TooLong(text.len()));
        }
        let raw = toml::from_str(text).map_err(|error| PathFileError::syntax(text, &error))?;
        check::file(raw)
    }

    /// What a table says, to be saved.
    pub fn of(table: &PathTable) -> Self {
        let mut entries = Vec::new();
        for leaf in &table.leaves {
            for destination in &leaf.destinations {
                let paths = leaf.paths.iter().zip(&destination.ports);
                let paths = paths.filter(|(_, ports)| !ports.is_empty());
                let plain = |ports: &[PinnedPort]| ports.iter().map(|pinned| pinned.port).collect();
                entries.push(Entry {
                    to: To::Port(destination.address),
                    last_hops: leaf.last_hops.clone(),
                    paths: paths.map(|(id, ports)| (id.clone(), plain(ports))).collect(),
                });
            }
        }
        Self { protocol: table.protocol, source: Some(table.source), hops: table.hops, entries }
    }

    /// Of the flows for which it holds.
    pub const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The only local address for which it holds; none if it holds for all.
    pub const fn source(&self) -> Option<IpAddr> {
        self.source
    }

    /// The entries.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The paths from `source` to `destinations`. Without an entry that fits, a destination is
    /// unpinned, and all of them if the file is for another source.
    pub fn table(&self, source: IpAddr, destinations: &[SocketAddr]) -> Discovery {
        let (mut found, mut unpinned) = (Vec::new(), Vec::new());
        let ours = self.source.is_none_or(|only| only == source);
        for &destination in destinations.iter().collect::<BTreeSet<_>>() {
            match self.entry(destination).filter(|_| ours) {
                Some(index) => found.push(self.found(index, destination)),
                None => unpinned.push(Unpinned { destination, reason: UnpinnedReason::NotInFile }),
            }
        }
        Discovery::of(PathTable {
            protocol: self.protocol,
            source,
            hops: self.hops,
            leaves: leaves::merge(found),
            rack_local: Vec::new(),
            unpinned,
        })
    }

    /// The entry that fits best.
    fn entry(&self, destination: SocketAddr) -> Option<usize> {
        let fits = self.entries.iter().enumerate();
        let fits = fits.filter_map(|(index, entry)| Some((entry.to.fit(destination)?, index)));
        fits.max().map(|(_, index)| index)
    }

    fn found(&self, index: usize, address: SocketAddr) -> Found {
        let Entry { last_hops, paths, .. } = &self.entries[index];
        let pinned = |port: &u16| PinnedPort { port: *port, round_trip: None };
        let path = |(id, ports): &(PathId, Vec<u16>)| {
            (id.clone(), ports.iter().map(pinned).collect::<Vec<PinnedPort>>())
        };
        let paths: BTreeMap<_, _> = paths.iter().map(path).collect();
        let routers = last_hops.iter().map(|&router| Mark::Router(router));
        Found {
            address,
            paths,
            marks: routers.chain([Mark::Entry(index as u32)]).collect(),
            probed_ports: 0,
            silent_ports: 0,
            complete: true,
        }
    }
}

impl fmt::Display for PathFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("# Which local ports take which path.\n")?;
        f.write_str(&toml::to_string(&raw::RawFile::of(self)).map_err(|_| fmt::Error)?)
    }
}
