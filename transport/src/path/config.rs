//! What is probed, how often and how long.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use core::net::{IpAddr, SocketAddr};

use onepath_topology::Nanos;

use super::Protocol;
use crate::verbs::{FlowLabel, ROCE_UDP_PORT};

/// The most destinations of one discovery.
pub const MAX_DESTINATIONS: usize = 4096;
/// The most hops that name a path.
pub const MAX_HOPS: usize = 16;
/// The most ports that are wanted on one path.
pub const MAX_PORTS_PER_PATH: u16 = 256;
/// The most paths to one destination; further ones are left out.
pub const MAX_PATHS: usize = 256;
/// The most probes in flight, each with a socket.
pub const MAX_IN_FLIGHT: u16 = 4096;
/// The most tries of one probe; the time-out doubles with each.
pub const MAX_TRIES: u8 = 8;
/// Ports below are for servers and need a privilege.
pub const FIRST_PORT: u16 = 1024;

/// The hops (values of time to live) whose answers together name a path.
///
/// Under a leaf, hop 1 is the leaf and hop 2 the spine, which names the path through a leaf-spine
/// fabric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HopRange {
    first: u8,
    last: u8,
}

impl HopRange {
    /// The second hop alone.
    pub const SPINE: Self = Self { first: 2, last: 2 };

    /// Hops `first` to `last`: 1 ≤ first ≤ last ≤ 64, at most [`MAX_HOPS`] of them.
    pub const fn new(first: u8, last: u8) -> Option<Self> {
        let right = first >= 1 && first <= last && last <= 64;
        if right && (last - first) < MAX_HOPS as u8 { Some(Self { first, last }) } else { None }
    }

    /// The first.
    pub const fn first(self) -> u8 {
        self.first
    }

    /// The last.
    pub const fn last(self) -> u8 {
        self.last
    }

    /// The hop of the last router before the destination, when the way down has as many hops as
    /// the way up to [`last`](Self::last): 3 for the spines of a leaf-spine, 5 for the cores of
    /// three layers.
    pub(crate) const fn leaf_hop(self) -> u8 {
        2 * self.last - 1
    }
}

impl fmt::Display for HopRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

/// A text that is no hop and no range of hops.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no hop: a number from 1 to 64 as in 2, or at most 16 as in 1-3")]
pub struct HopRangeError(String);

impl FromStr for HopRange {
    type Err = HopRangeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let hop = |text: &str| text.parse::<u8>().ok();
        let range = hop(first).zip(hop(last)).and_then(|(first, last)| Self::new(first, last));
        range.ok_or_else(|| {
            HopRangeError(text.chars().take(32).flat_map(char::escape_debug).collect())
        })
    }
}

/// How paths are looked for.
#[derive(Clone, Debug, PartialEq)]
pub struct ProbeConfig {
    /// What is probed and pinned.
    pub protocol: Protocol,
    /// Which hops name a path.
    pub hops: HopRange,
    /// How many local ports are wanted on each path: those of the subflows and spare ones.
    pub ports_per_path: u16,
    /// How many paths there are, where that is known: the search ends when they are found.
    pub expected_paths: Option<u16>,
    /// Where local ports are taken from. The default, 16384 to 32767, lies below the range from
    /// which Linux gives ports to others.
    pub local_ports: RangeInclusive<u16>,
    /// The most ports tried toward one destination.
    pub port_budget: u32,
    /// The most probes in flight. Fewer are, while answers get lost: routers limit their rate.
    pub in_flight: u16,
    /// How often a probe without an answer is sent.
    pub tries: u8,
    /// How long the first try waits; each further one twice as long.
    pub timeout: Nanos,
    /// The probability that a path stays unseen, when all are equally likely and their number is
    /// not known: see [`answers_to_exclude`](super::probe::answers_to_exclude).
    pub miss_probability: f64,
    /// After how many ports without any answer a destination is given up.
    pub silent_limit: u16,
    /// Whether to ask for the last router before each destination, so that destinations under one
    /// leaf are found to be so.
    pub find_leaves: bool,
    /// Decides the order of ports. Sources with different seeds do not march in step.
    pub seed: u64,
}

impl Default for ProbeConfig {
    fn default() -> Self {
        Self {
            protocol: Protocol::Tcp,
            hops: HopRange::SPINE,
            ports_per_path: 4,
            expected_paths: None,
            local_ports: 16_384..=32_767,
            port_budget: 2048,
            in_flight: 128,
            tries: 3,
            timeout: Nanos::millis(200),
            miss_probability: 0.001,
            silent_limit: 16,
            find_leaves: true,
            seed: 0,
        }
    }
}

/// What is wrong with a configuration: field, value, and what would be right.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ConfigError {
    /// A number out of its range.
    #[error("{field} is {value}: from {least} to {most} it would be right")]
    Range {
        /// The field.
        field: &'static str,
        /// Its value.
        value: u64,
        /// The smallest right value.
        least: u64,
        /// The largest.
        most: u64,
    },
    /// A probability that is none, or promises what cannot be kept.
    #[error("miss_probability is {0}: above 0, at least 1e-12, and at most 0.5 it would be right")]
    Probability(f64),
    /// Ports that no probe may use.
    #[error("local_ports is {first} to {last}: a range from {FIRST_PORT} on that is not empty")]
    Ports {
        /// The first.
        first: u16,
        /// The last.
        last: u16,
    },
    /// Ports that no flow label chooses.
    #[error(
        "local_ports is {first} to {last}: flow labels choose UDP source ports from {} to {}",
        FlowLabel::SOURCE_PORTS.start(), FlowLabel::SOURCE_PORTS.end()
    )]
    Labels {
        /// The first.
        first: u16,
        /// The last.
        last: u16,
    },
    /// A destination to which RoCE does not go.
    #[error("destination {0}: RoCE v2 goes to UDP port {ROCE_UDP_PORT}")]
    NotRoce(SocketAddr),
    /// No destinations or too many.
    #[error("{0} destinations: from 1 to {MAX_DESTINATIONS} it would be right")]
    Destinations(usize),
    /// An address to which nothing can be sent.
    #[error("destination {0}: a unicast address with a port that is not 0 would be right")]
    Destination(SocketAddr),
    /// The same destination twice.
    #[error("destination {0} is named twice: once is enough")]
    Twice(SocketAddr),
    /// IPv4 and IPv6 mixed.
    #[error(
        "destination {destination} cannot be reached from source {source_address}: both IPv4 or \
         both IPv6 would be right"
    )]
    Family {
        /// The source.
        source_address: IpAddr,
        /// The destination.
        destination: SocketAddr,
    },
}

impl ProbeConfig {
    /// The default for RoCE v2: ports 49153 to 65535, each of which is 49152 more than the flow
    /// label that chooses it.
    pub fn roce() -> Self {
        let first = FlowLabel::SOURCE_PORTS.start() + 1;
        let local_ports = first..=*FlowLabel::SOURCE_PORTS.end();
        Self { protocol: Protocol::Roce, local_ports, ..Self::default() }
    }

    /// Whether every field is in its range.
    pub fn check(&self) -> Result<(), ConfigError> {
        let expected = self.expected_paths.unwrap_or(1);
        let timeout_us = self.timeout.get() / 1000;
        for (field, value, least, most) in [
            ("ports_per_path", u64::from(self.ports_per_path), 1, u64::from(MAX_PORTS_PER_PATH)),
            ("expected_paths", u64::from(expected), 1, MAX_PATHS as u64),
            ("port_budget", u64::from(self.port_budget), 1, 65_536),
            ("in_flight", u64::from(self.in_flight), 1, u64::from(MAX_IN_FLIGHT)),
            ("tries", u64::from(self.tries), 1, u64::from(MAX_TRIES)),
            ("timeout in microseconds", timeout_us, 1, 60_000_000),
            ("silent_limit", u64::from(self.silent_limit), 1, 65_535),
        ] {
            if !(least..=most).contains(&value) {
                return Err(ConfigError::Range { field, value, least, most });
            }
        }
        if !(1e-12..=0.5).contains(&self.miss_probability) {
            return Err(ConfigError::Probability(self.miss_probability));
        }
        let (first, last) = (*self.local_ports.start(), *self.local_ports.end());
        if self.local_ports.is_empty() || first < FIRST_PORT {
            return Err(ConfigError::Ports { first, last });
        }
        if self.protocol == Protocol::Roce && !FlowLabel::SOURCE_PORTS.contains(&first) {
            return Err(ConfigError::Labels { first, last });
        }
        Ok(())
    }

    /// Whether all of `destinations` can be probed from `source` by a protocol.
    pub(crate) fn check_destinations(
        protocol: Protocol,
        source: IpAddr,
        destinations: &[SocketAddr],
    ) -> Result<(), ConfigError> {
        if destinations.is_empty() || destinations.len() > MAX_DESTINATIONS {
            return Err(ConfigError::Destinations(destinations.len()));
        }
        let mut sorted = destinations.to_vec();
        sorted.sort_unstable();
        if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(ConfigError::Twice(pair[0]));
        }
        for &destination in destinations {
            let ip = destination.ip();
            let broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
            let nobody = ip.is_unspecified() || ip.is_multicast() || broadcast;
            if nobody || destination.port() == 0 {
                return Err(ConfigError::Destination(destination));
            }
            if protocol == Protocol::Roce && destination.port() != ROCE_UDP_PORT {
                return Err(ConfigError::NotRoce(destination));
            }
            if source.is_ipv4() != ip.is_ipv4() {
                return Err(ConfigError::Family { source_address: source, destination });
            }
        }
        Ok(())
    }
}
